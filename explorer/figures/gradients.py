"""Sizes of weight gradients, layer by step, and their colours on one scale for all networks."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.figures.charts import Series, add_line, empty_chart, log_axis_of, translucent
from explorer.figures.raster import SIZE_COLOURS, ColourScale
from explorer.figures.text_escaping import escape_html

ZERO = (128, 134, 138)  # a grey, which the palette of sizes does not have
_COLUMNS = 2  # of gradient maps
_TITLE_LETTERS = 14  # on a line
_LINE_PX, _TICKS_PX, _SCALE_PX = 18, 34, 64


@dataclass(frozen=True, eq=False)
class GradientMap:
    """Sizes of the weight gradient of one network: `norms` has one row for each of `steps`, each with one value for
    each of `layers`, from input to output; None or a value that is not finite where nothing was measured."""

    title: str
    colour: str
    layers: Sequence[str]
    steps: Sequence[int]
    norms: Sequence[Sequence[float | None]]


@dataclass(frozen=True, eq=False)
class SizeLine:
    """Sizes along the relative depths of `layers`: the median, and the band from `low` to `high`."""

    series: Series
    layers: Sequence[str]
    depths: Sequence[float]
    low: Sequence[float]
    median: Sequence[float]
    high: Sequence[float]


def size_chart(lines: Sequence[SizeLine], title: str) -> go.Figure:
    """Sizes over relative depth on a logarithmic axis. Zero has no place there, so it is a gap."""
    xaxis = {"title": "relative depth, first layer to last", "range": [-0.02, 1.02]}
    yaxis = log_axis_of([size for line in lines for each in (line.low, line.high) for size in each])
    figure = empty_chart(360, (8, 40, 50), xaxis, yaxis | {"title": title}, showlegend=True)
    for line in lines:
        low, median, high = (
            [size if 0 < size < math.inf else None for size in each] for each in (line.low, line.median, line.high)
        )
        if list(line.low) != list(line.high) and None not in (*low, *high):
            band = {"fill": "toself", "fillcolor": translucent(line.series.colour, 0.15), "line": {"width": 0}}
            edges = [*line.depths, *reversed(line.depths)], [*high, *reversed(low)]
            figure.add_scatter(x=edges[0], y=edges[1], hoverinfo="skip", showlegend=False, mode="lines", **band)
        layers = [escape_html(layer) for layer in line.layers]
        add_line(figure, line.series, line.depths, median, "%{customdata}: %{y:.3g}", customdata=layers)
    return figure


def update_chart(lines: Sequence[tuple[Series, Sequence[float], float]], shares: Sequence[float]) -> go.Figure:
    """The loss at those shares of an update, of each network, and dashed the line of its change to first order, which
    is cut off where it leaves the losses by more than their span."""
    losses = [loss for _, path, _ in lines for loss in path if math.isfinite(loss)] or [0.0, 1.0]
    span = max(max(losses) - min(losses), 1e-3)
    low = min([*losses, *(path[0] + change for _, path, change in lines)])
    yaxis = {"title": "mean loss", "range": [max(low, min(losses) - span) - 0.05 * span, max(losses) + 0.05 * span]}
    figure = empty_chart(340, (8, 40, 50), {"title": "share of the update", "tickformat": ".0%"}, yaxis)
    for series, path, change in lines:
        add_line(figure, series, shares, [loss if math.isfinite(loss) else None for loss in path], "%{x:.0%}: %{y:.4g}")
        predicted = Series(series.title, series.colour, "dot")
        ends = [path[0], path[0] + change]
        add_line(figure, predicted, [0, 1], ends, "predicted: %{y:.4g}", mode="lines", showlegend=False)
    return figure


def gradient_map_chart(maps: Sequence[GradientMap]) -> go.Figure:
    """Layer by step, one map for each network, two beside each other, the size as colour on one logarithmic scale."""
    layers = list(dict.fromkeys(layer for each in maps for layer in each.layers))
    steps = sorted({step for each in maps for step in each.steps})
    low, high = decades(maps)
    ticks = list(range(low, high + 1, max(1, math.ceil((high - low) / 5))))
    # Two columns, narrow titles and a scale above them fit a telephone, where a map is about 100 px wide.
    columns = min(_COLUMNS, len(maps))
    rows = math.ceil(len(maps) / columns)
    titles = [textwrap.wrap(each.title, _TITLE_LETTERS) for each in maps]
    head = _LINE_PX * max(1, *map(len, titles))
    each_px, gap = max(230, 12 * len(layers)), head + _TICKS_PX
    inside = rows * each_px + (rows - 1) * gap
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=["<br>".join(map(escape_html, lines)) for lines in titles],
        shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=gap / inside if rows > 1 else None,
    )  # fmt: skip
    figure.update_annotations(font={"size": 13})
    for number, each in enumerate(maps):
        place = {"row": number // columns + 1, "col": number % columns + 1}
        sizes = size_table(each, layers, steps)
        with np.errstate(divide="ignore", invalid="ignore"):
            powers = np.where(sizes > 0, np.log10(sizes), np.nan)
        names = [escape_html(layer) for layer in layers]
        texts = [[f"{size:.3g}" for size in row] for row in sizes]
        hover = "%{y}, step %{x}: %{text}<extra></extra>"
        heat = {"coloraxis": "coloraxis", "text": texts, "hovertemplate": hover, "hoverongaps": False}
        figure.add_heatmap(z=powers, x=list(map(str, steps)), y=names, **place, **heat)
        if number + columns >= len(maps):  # the lowest of its column
            figure.update_xaxes(title={"text": "training step", "font": {"size": 13}}, **place)
    figure.update_xaxes(type="category", fixedrange=True, nticks=3, tickangle=0)
    figure.update_yaxes(autorange="reversed", fixedrange=True, ticks="")
    bar: dict[str, Any] = {"title": {"text": "L2 norm", "side": "top"}, "tickvals": ticks}
    bar |= {"ticktext": [f"1e{tick}" for tick in ticks], "tickangle": 0, "orientation": "h", "thickness": 10}
    bar |= {"len": 0.8, "x": 0, "xanchor": "left", "xpad": 0, "y": 1, "yref": "container", "yanchor": "top", "ypad": 0}
    margin = {"l": 0, "r": 0, "t": _SCALE_PX + head, "b": 50}
    scale = {"colorscale": SIZE_COLOURS, "cmin": low, "cmax": high, "colorbar": bar}
    figure.update_layout(coloraxis=scale, height=inside + margin["t"] + margin["b"], margin=margin)
    return figure


def enclosing_decades(sizes: Sequence[np.ndarray]) -> tuple[int, int]:
    """The powers of ten that enclose every finite size above zero, at least one decade; -1 and 0 without any."""
    values = np.concatenate([np.ravel(each) for each in sizes] or [np.zeros(0)])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return -1, 0
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    return low, max(high, low + 1)


def decades(maps: Sequence[GradientMap]) -> tuple[int, int]:
    """The decades of all maps: their shared scale."""
    rows = [np.array(row, dtype=np.float64) for gradients in maps for row in gradients.norms]  # None becomes NaN
    return enclosing_decades(rows)


def paint_gradients(
    gradients: GradientMap, layers: Sequence[str], steps: Sequence[int], low: int, high: int
) -> np.ndarray:
    """uint8 (layers, steps, 4): the colour of log10 of each size between the decades `low` and `high`.

    Zero is grey, and values that were not measured are transparent.
    """
    sizes = size_table(gradients, layers, steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        colours = ColourScale(low, high).paint(np.where(sizes > 0, np.log10(sizes), low))
    colours[sizes == 0] = ZERO
    opacity = np.where(np.isfinite(sizes), 255, 0).astype(np.uint8)
    return np.concatenate([colours, opacity[..., None]], axis=-1)


def size_table(gradients: GradientMap, layers: Sequence[str], steps: Sequence[int]) -> np.ndarray:
    """float64 (layers, steps), NaN where this network has no such layer or did not measure at that step."""
    rows = {name: row for row, name in enumerate(layers)}
    columns = {step: column for column, step in enumerate(steps)}
    table = np.full((len(layers), len(steps)), np.nan)
    for step, norms in zip(gradients.steps, gradients.norms, strict=True):
        for name, size in zip(gradients.layers, norms, strict=True):
            if size is not None and math.isfinite(size):
                table[rows[name], columns[step]] = size
    return table
