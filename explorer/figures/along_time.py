"""Charts of CKA along a training: every layer with its end, and one layer between all steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.figures.raster import SIZE_COLOURS
from explorer.figures.text_escaping import escape_html

_BAR = {"title": {"text": "CKA"}, "thickness": 12, "tickvals": [0, 0.25, 0.5, 0.75, 1]}


def settling_chart(values: np.ma.MaskedArray, layers: Sequence[str], steps: Sequence[int]) -> go.Figure:
    """CKA of each layer (from top to bottom) with its end, at each step (from left to right): a masked array (L, T) on
    the scale 0..1. Masked values are a gap."""
    figure = _cells(values, [f"step {step:,}" for step in steps], list(map(escape_html, layers)))
    figure.update_xaxes(
        title="training step", tickvals=list(range(len(steps))), ticktext=[f"{step:,}" for step in steps]
    )
    every = max(1, len(layers) // 14)
    places = list(range(0, len(layers), every))
    figure.update_yaxes(
        tickvals=places,
        ticktext=[escape_html(layers[place]) for place in places],
        autorange="reversed",
        automargin=True,
    )
    figure.update_layout(height=max(260, min(620, 110 + 13 * len(layers))))
    return figure


def steps_chart(values: np.ma.MaskedArray, steps: Sequence[int]) -> go.Figure:
    """CKA of one layer between all pairs of steps, a masked array (T, T) on the scale 0..1."""
    names = [f"step {step:,}" for step in steps]
    figure = _cells(values, names, names)
    figure.update_xaxes(title="training step", **_ticks(steps))
    figure.update_yaxes(title="training step", autorange="reversed", automargin=True, **_ticks(steps))
    figure.update_layout(width=520, height=460)
    return figure


def _ticks(steps: Sequence[int]) -> dict[str, Any]:
    """Steps at equal distances: those that are kept are spaced by ratio."""
    return {"tickvals": list(range(len(steps))), "ticktext": [f"{step:,}" for step in steps]}


def _cells(values: np.ma.MaskedArray, columns: Sequence[str], rows: Sequence[str]) -> go.Figure:
    shown = np.ma.filled(values.astype(np.float64), np.nan)
    texts = [["not defined" if np.isnan(value) else f"{value:.3f}" for value in row] for row in shown]
    hover = [
        [f"{row}, {column}: {text}" for column, text in zip(columns, line, strict=True)]
        for row, line in zip(rows, texts, strict=True)
    ]
    cells = [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in shown]
    figure = go.Figure()
    figure.add_heatmap(
        z=cells, text=hover, hovertemplate="%{text}<extra></extra>", coloraxis="coloraxis", hoverongaps=False
    )
    figure.update_xaxes(fixedrange=True)
    figure.update_yaxes(fixedrange=True)
    scale = {"colorscale": SIZE_COLOURS, "cmin": 0, "cmax": 1, "colorbar": _BAR}
    figure.update_layout(margin={"l": 0, "r": 0, "t": 8, "b": 50}, coloraxis=scale)
    return figure
