"""Sizes of weight gradients, layer by step, and their colours on one scale for all networks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.figures.charts import Series, add_line, empty_chart, log_axis_of, translucent
from explorer.figures.raster import SEQUENTIAL, ColourScale
from explorer.figures.text_escaping import escape_html

ZERO = (128, 134, 138)  # a grey, which the palette of sizes does not have


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


def gradient_map_chart(maps: Sequence[GradientMap]) -> go.Figure:
    """Layer by step, one map for each network side by side, the size as colour on one logarithmic scale."""
    layers = list(dict.fromkeys(layer for each in maps for layer in each.layers))
    steps = sorted({step for each in maps for step in each.steps})
    low, high = decades(maps)
    ticks = list(range(low, high + 1, max(1, math.ceil((high - low) / 5))))
    figure = make_subplots(cols=len(maps), subplot_titles=[escape_html(each.title) for each in maps], shared_yaxes=True)
    for column, each in enumerate(maps, start=1):
        sizes = size_table(each, layers, steps)
        with np.errstate(divide="ignore", invalid="ignore"):
            powers = np.where(sizes > 0, np.log10(sizes), np.nan)
        names = [escape_html(layer) for layer in layers]
        texts = [[f"{size:.3g}" for size in row] for row in sizes]
        hover = "%{y}, step %{x}: %{text}<extra></extra>"
        heat = {"coloraxis": "coloraxis", "text": texts, "hovertemplate": hover, "hoverongaps": False}
        figure.add_heatmap(z=powers, x=list(map(str, steps)), y=names, row=1, col=column, **heat)
    figure.update_xaxes(type="category", title="training step", fixedrange=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True)
    bar = {"title": "L2 norm", "tickvals": ticks, "ticktext": [f"1e{tick}" for tick in ticks]}
    scale = {"colorscale": SEQUENTIAL, "cmin": low, "cmax": high, "colorbar": bar}
    margin = {"l": 0, "r": 0, "t": 30, "b": 50}
    figure.update_layout(coloraxis=scale, height=max(320, 12 * len(layers) + 90), margin=margin)
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
