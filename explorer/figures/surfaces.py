"""Loss surfaces: curves along one direction, contours over two, and all of them in one scene in space."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.figures.charts import GREY, Series, add_line, empty_chart, log_axis_of
from explorer.figures.raster import SIZE_COLOURS
from explorer.figures.text_escaping import escape_html, escape_template
from explorer.numbers import finite

Quantity = Literal["loss", "error", "ratio"]
"""Loss and the eigenvalue ratio have logarithmic scales."""

_COLUMNS = 2
_TITLE_LETTERS = 14  # on a line
_PANEL_PX, _SCALE_PX, _LINE_PX, _TICKS_PX = 270, 64, 18, 40
_BETWEEN = 0.35  # of a surface's width, between two in one scene
_PATH = "#D55E00"  # in no palette of sizes
_LEVELS = 12
_TICK_ROW = 0.05  # of a chart's height: the ticks of one network's path
_WORDS = {"loss": "loss, log scale", "error": "error", "ratio": "|λmin / λmax|, log scale"}


@dataclass(frozen=True, eq=False)
class SurfacePanel:
    """One surface: `values` (Y, X) over `xs` and `ys`, NaN where there is none; `path` (P, 3) has step, x and y of a
    training, and may be empty."""

    title: str
    xs: np.ndarray
    ys: np.ndarray
    values: np.ndarray
    path: np.ndarray


def surface_curves(
    lines: Sequence[tuple[Series, np.ndarray, np.ndarray]],
    quantity: Quantity,
    paths: Sequence[tuple[Series, np.ndarray]] = (),
) -> go.Figure:
    """Loss on a logarithmic axis, or error, along one direction: (line, steps, values) of each. A value that is NaN is
    a gap, and so is a loss of 0 on that axis. Ticks at the bottom are the `paths` of trainings, (P, 3): step, x, y."""
    losses = [float(value) for _, _, values in lines for value in values if np.isfinite(value)]
    yaxis = log_axis_of(losses) if quantity != "error" else {"tickformat": ".0%", "range": [-0.02, 1.02]}
    figure = empty_chart(
        360, (8, 34, 44), {"title": {"text": "steps along the direction"}},
        yaxis | {"title": {"text": _WORDS[quantity]}}, hovermode="closest",
    )  # fmt: skip
    style = _style(quantity)
    for series, xs, values in lines:
        shown = [None if not np.isfinite(value) or (quantity != "error" and value <= 0) else value for value in values]
        add_line(figure, series, xs.tolist(), shown, f"%{{x:.3g}}: %{{y:{style}}}", marker={"size": 5})
    drawn = [(series, path) for series, path in paths if len(path)]
    for number, (series, path) in enumerate(drawn):
        figure.add_scatter(
            x=path[:, 1], y=np.full(len(path), _TICK_ROW * (number + 0.5)), yaxis="y2", mode="markers",
            marker={"symbol": "line-ns-open", "size": 9, "color": series.colour}, showlegend=False,
            customdata=[f"step {step:,.0f}" for step in path[:, 0]],
            hovertemplate=f"%{{customdata}}: %{{x:.3g}}<extra>{escape_template(series.title)}</extra>",
        )  # fmt: skip
    if drawn:
        figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})
    figure.add_vline(x=0, line={"color": GREY, "dash": "dash", "width": 1.5})
    return figure


def surface_maps(panels: Sequence[SurfacePanel], quantity: Quantity) -> go.Figure:
    """Contours of every surface beside each other, on one scale of colours. A cross marks the network itself, a line
    the training's path; a gap has no value."""
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    titles = [textwrap.wrap(panel.title, _TITLE_LETTERS) for panel in panels]
    head = _LINE_PX * max(1, *map(len, titles))
    inside = rows * _PANEL_PX + (rows - 1) * (head + _TICKS_PX)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=["<br>".join(map(escape_html, lines)) for lines in titles],
        horizontal_spacing=0.1, vertical_spacing=(head + _TICKS_PX) / inside if rows > 1 else None,
    )  # fmt: skip
    figure.update_annotations(font={"size": 13})
    low, high = _span(panels, quantity)
    for number, panel in enumerate(panels):
        place = {"row": number // columns + 1, "col": number % columns + 1}
        lines = {"start": low, "end": high, "size": (high - low) / _LEVELS or 1.0}
        figure.add_contour(
            x=panel.xs, y=panel.ys, z=_heights(panel.values, quantity), coloraxis="coloraxis", contours=lines,
            line={"width": 0.6}, customdata=_texts(panel, quantity), connectgaps=False,
            hovertemplate="%{customdata}<extra></extra>", **place,
        )  # fmt: skip
        if len(panel.path):
            figure.add_scatter(
                x=panel.path[:, 1], y=panel.path[:, 2], mode="lines+markers", line={"color": _PATH, "width": 2},
                marker={"size": 5}, customdata=[f"step {step:,.0f}" for step in panel.path[:, 0]], showlegend=False,
                hovertemplate="%{customdata}<extra></extra>", **place,
            )  # fmt: skip
        figure.add_scatter(
            x=[0], y=[0], mode="markers", marker={"symbol": "cross", "size": 9, "color": _PATH}, showlegend=False,
            hovertemplate="the network itself<extra></extra>", **place,
        )  # fmt: skip
    figure.update_xaxes(fixedrange=True, nticks=5)
    figure.update_yaxes(fixedrange=True, nticks=5)
    margin = {"l": 0, "r": 0, "t": _SCALE_PX + head, "b": 30}
    bar = {"title": {"text": _WORDS[quantity], "side": "top"}, "orientation": "h", "thickness": 10, "len": 0.8, "x": 0}
    bar |= {"xanchor": "left", "xpad": 0, "y": 1, "yref": "container", "yanchor": "top", "ypad": 0}
    scale = {"colorscale": SIZE_COLOURS, "cmin": low, "cmax": high, "colorbar": bar | _ticks(low, high, quantity)}
    figure.update_layout(
        coloraxis=scale, height=inside + margin["t"] + margin["b"], margin=margin, dragmode=False, hovermode="closest"
    )
    return figure


def surface_scene(panels: Sequence[SurfacePanel], quantity: Quantity) -> go.Figure:
    """All surfaces in one scene, two beside each other, on one scale of heights and colours: what turns one turns all.
    Loss is on a logarithmic height. A hole has no value."""
    low, high = _span(panels, quantity)
    figure = go.Figure()
    width = max(float(np.ptp(panel.xs)) for panel in panels)
    depth = max(float(np.ptp(panel.ys)) for panel in panels) or width
    marks = []
    for number, panel in enumerate(panels):
        right = (number % _COLUMNS) * width * (1 + _BETWEEN)
        back = -(number // _COLUMNS) * depth * (1 + 2 * _BETWEEN)
        heights = _heights(panel.values, quantity)
        xs, ys = panel.xs - panel.xs[0] + right, panel.ys - panel.ys[0] + back
        figure.add_surface(
            x=xs, y=ys, z=heights, coloraxis="coloraxis", customdata=_texts(panel, quantity),
            hovertemplate=f"{escape_html(panel.title)}<br>%{{customdata}}<extra></extra>", connectgaps=False,
        )  # fmt: skip
        if len(panel.path):
            places = panel.path[:, 1:] - (panel.xs[0], panel.ys[0]) + (right, back)
            over = [_above(panel, heights, x, y, (high - low) * 0.04) for x, y in panel.path[:, 1:]]
            figure.add_scatter3d(
                x=places[:, 0], y=places[:, 1], z=over, mode="lines+markers", line={"color": _PATH, "width": 5},
                marker={"size": 3, "color": _PATH}, showlegend=False, hoverinfo="skip",
            )  # fmt: skip
        title = "<br>".join(map(escape_html, textwrap.wrap(panel.title, _TITLE_LETTERS)))
        top = float(np.nanmax(heights)) if np.isfinite(heights).any() else high
        mark = {"x": float(xs.mean()), "y": float(ys[-1]), "z": top, "text": title}
        marks.append(mark | {"showarrow": False, "yanchor": "bottom"})
    hidden = {"showticklabels": False, "title": {"text": ""}, "showspikes": False, "showgrid": False, "zeroline": False}
    rows = math.ceil(len(panels) / _COLUMNS)
    scene: dict[str, Any] = {"xaxis": hidden, "yaxis": hidden, "annotations": marks, "dragmode": "turntable"}
    scene |= {"zaxis": {"title": {"text": quantity}, "range": [low, high], **_ticks(low, high, quantity)}}
    across = min(_COLUMNS, len(panels))
    scene |= {"aspectmode": "manual", "aspectratio": {"x": 0.52 * across, "y": 0.6 * rows, "z": 0.4}}
    scene |= {"camera": {"eye": {"x": 0.1, "y": -1.35, "z": 0.95}, "center": {"x": 0, "y": 0, "z": -0.06}}}
    scale = {"colorscale": SIZE_COLOURS, "cmin": low, "cmax": high, "showscale": False}
    figure.update_layout(
        height=440, margin={"l": 0, "r": 0, "t": 0, "b": 0}, scene=scene, coloraxis=scale,
        paper_bgcolor="rgba(0,0,0,0)",
    )  # fmt: skip
    return figure


def _heights(values: np.ndarray, quantity: Quantity) -> np.ndarray:
    """log10 of a loss, or the error; NaN where there is none."""
    if quantity == "error":
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > 0, np.log10(values), np.nan)


def _span(panels: Sequence[SurfacePanel], quantity: Quantity) -> tuple[float, float]:
    """The shared scale."""
    if quantity == "error":
        return 0.0, 1.0
    heights = np.concatenate([_heights(panel.values, quantity).ravel() for panel in panels])
    heights = heights[np.isfinite(heights)]
    if not len(heights):
        return 0.0, 1.0
    low, high = float(heights.min()), float(heights.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float, quantity: Quantity) -> dict[str, Any]:
    if quantity == "error":
        return {"tickvals": [0, 0.25, 0.5, 0.75, 1], "ticktext": ["0 %", "25 %", "50 %", "75 %", "100 %"]}
    digits = (1, 3) if high - low < 4 else (1,)
    found = [(math.log10(digit) + power, digit * 10.0**power)
             for power in range(math.floor(low), math.ceil(high) + 1) for digit in digits]  # fmt: skip
    inside = [(place, value) for place, value in found if low <= place <= high] or [(low, 10**low), (high, 10**high)]
    every = max(1, math.ceil(len(inside) / 7))
    return {
        "tickvals": [place for place, _ in inside[::every]],
        "ticktext": [f"{value:.3g}" for _, value in inside[::every]],
    }


def _style(quantity: Quantity) -> str:
    return ".1%" if quantity == "error" else ".3g"


def _texts(panel: SurfacePanel, quantity: Quantity) -> list[list[str]]:
    style = _style(quantity)
    return [
        [
            f"({x:.2g}, {y:.2g}): {quantity} {format(value, style) if finite(float(value)) is not None else 'none'}"
            for x, value in zip(panel.xs, row, strict=True)
        ]
        for y, row in zip(panel.ys, panel.values, strict=True)
    ]


def _above(panel: SurfacePanel, heights: np.ndarray, x: float, y: float, by: float) -> float | None:
    """The height at the nearest point and `by` more, so that it is seen; None where there is none."""
    height = heights[int(np.abs(panel.ys - y).argmin()), int(np.abs(panel.xs - x).argmin())]
    return float(height) + by if np.isfinite(height) else None
