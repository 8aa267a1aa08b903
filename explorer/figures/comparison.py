"""Charts of several networks: their dataset_access, class probabilities, similarity of maps, sizes along depth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.figures.charts import DASHES, GREY, LEGEND, Series, add_line, empty_chart, log_axis
from explorer.figures.text_escaping import escape_template, shortened
from explorer.labels import ACTIVATION_RMS, GRADIENT_RMS

_PATTERNS = dict(zip(DASHES, ("", "/", ".", "x"), strict=True))
_SYMBOLS = dict(zip(DASHES, ("circle", "diamond", "square", "x"), strict=True))
_WIDEST = 28  # letters of a class name beside its bars

Point = tuple[float | None, float | None]


@dataclass(frozen=True, eq=False)
class TrainingLine:
    """How one network's training went: at each of `epochs`, in times through its training pictures, the mean loss and
    the share of right predictions over the training pictures and over the validation pictures; None was not
    measured."""

    series: Series
    epochs: Sequence[float]
    train: Sequence[Point]
    validation: Sequence[Point]


@dataclass(frozen=True, eq=False)
class StepLine:
    """One value of a network at each of `steps`; None was no finite number. `points` are not connected."""

    series: Series
    steps: Sequence[int]
    values: Sequence[float | None]
    points: bool


@dataclass(frozen=True, eq=False)
class ClassProbabilities:
    """A network's probability, 0..1, of each class of the chart, and the class that is explained."""

    series: Series
    probabilities: Sequence[float]
    target: str


@dataclass(frozen=True, eq=False)
class DepthCurves:
    """Two values at each of `layers`, which lie at the relative `depths`: one for the chart on the left, one for that
    on the right. NaN is not defined."""

    series: Series
    layers: Sequence[str]
    depths: Sequence[float]
    left: Sequence[float]
    right: Sequence[float]


def training_chart(lines: Sequence[TrainingLine], stacked: bool = False) -> go.Figure:
    """Loss on the left, or with `stacked` above, and accuracy over epochs: lines of the training images, dots of the
    validation images. The chart is shared: it is not to be changed."""
    kept = tuple((line.series, tuple(line.epochs), tuple(line.train), tuple(line.validation)) for line in lines)
    return _training_chart(kept, stacked)


@lru_cache(maxsize=32)  # as `confusion_chart`
def _training_chart(
    kept: tuple[tuple[Series, tuple[float, ...], tuple[Point, ...], tuple[Point, ...]], ...], stacked: bool
) -> go.Figure:
    lines = [TrainingLine(*line) for line in kept]
    figure = _two_charts(("Loss", "Accuracy"), "epochs")
    for line in lines:
        for pictures, points in (("training", line.train), ("validation", line.validation)):
            if all(point == (None, None) for point in points):
                continue
            for column, unit in ((1, ".3g"), (2, ".1%")):
                values = [point[column - 1] for point in points]
                hover = f"{pictures}, epoch %{{x:.3g}}: %{{y:{unit}}}"
                mode = "lines" if pictures == "training" and len(points) > 1 else "markers"
                in_legend = pictures == "training" and column == 1
                _add_line(figure, column, line.series, line.epochs, values, hover, mode=mode, showlegend=in_legend)
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], col=2)
    figure.update_layout(height=340)
    if stacked:
        tops = (1.0, 0.42)
        for title, top in zip(figure.layout.annotations, tops, strict=True):
            title.update(x=0.5, y=top)
        figure.update_xaxes(domain=[0, 1])
        figure.update_xaxes(title=None, col=1)
        figure.update_layout(height=470, yaxis_domain=[0.6, tops[0]], yaxis2_domain=[0, tops[1]])
    return figure


def step_chart(panels: Sequence[tuple[str, Sequence[StepLine]]], marks: Sequence[tuple[int, str]] = ()) -> go.Figure:
    """Loss on the left, accuracy, 0..1, on the right, over training steps: (title, lines) each. Each of `marks`, (step,
    text), is an upright line through both with its text along it."""
    figure = _two_charts((panels[0][0], panels[1][0]), "training step")
    for column, (_, lines) in enumerate(panels, start=1):
        for line in lines:
            mode = "markers" if line.points else "lines"
            hover = f"step %{{x}}: %{{y:{'.3g' if column == 1 else '.1%'}}}"
            _add_line(figure, column, line.series, line.steps, line.values, hover, mode=mode)
    for step, text in marks:
        label = {"textangle": -90, "xanchor": "right", "yanchor": "top", "font": {"size": 10}}
        upright = {"color": GREY, "width": 1, "dash": "dash"}
        figure.add_vline(x=step, line=upright, annotation_text=text, annotation=label)
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], col=2)
    return figure


def probabilities_chart(names: Sequence[str], networks: Sequence[ClassProbabilities]) -> go.Figure:
    """For each class a group of horizontal bars, one for each network, the first class on top. An arrow marks the
    classes that are explained, and each network's bar of its own one is the strongest."""
    explained = {network.target for network in networks}
    rows = [_name(name, _WIDEST) for name in names]
    rows = [f"<b>▸ {row}</b>" if name in explained else row for name, row in zip(names, rows, strict=True)]
    height = (14 + 18 * len(networks)) * len(names) + 76
    xaxis = {"range": [0, 1], "tickformat": ".0%", "tickvals": [0, 0.5, 1], "tickangle": 0}
    yaxis = {"autorange": "reversed", "ticks": ""}
    figure = empty_chart(height, (60, 36, 30), xaxis, yaxis, showlegend=len(networks) > 1)
    figure.update_layout(barmode="group", bargap=0.2)
    for network in networks:
        figure.add_bar(
            x=list(network.probabilities),
            y=rows,
            orientation="h",
            name=_name(network.series.title),
            marker={
                "color": network.series.colour,
                "opacity": [1.0 if name == network.target else 0.55 for name in names],
                "pattern": {"shape": _PATTERNS[network.series.dash], "fgopacity": 0.8},
            },
            text=[f"{value:.1%}" for value in network.probabilities],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"{_name(network.series.title)}, %{{y}}: %{{x:.4f}}<extra></extra>",
        )
    return figure


def map_similarity_chart(pairs: Sequence[DepthCurves], chosen: float) -> go.Figure:
    """Correlation of two networks' maps, -1..1, on the left, intersection over union, 0..1, on the right, over
    relative depth; a line at the chosen depth."""
    figure = _two_charts(("Correlation", "Intersection over union"), "relative depth")
    for pair in pairs:
        for column, values in enumerate((pair.left, pair.right), start=1):
            layers = [_name(layer) for layer in pair.layers]
            hover = "%{customdata}: %{y:.2f}"
            _add_line(figure, column, pair.series, pair.depths, values, hover, customdata=layers)
    figure.add_vline(x=chosen, line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_xaxes(range=[-0.02, 1.02])
    figure.update_yaxes(range=[-1.05, 1.05], zeroline=True, col=1)
    figure.update_yaxes(range=[-0.05, 1.05], zeroline=True, col=2)
    return figure


def sizes_chart(lines: Sequence[DepthCurves]) -> go.Figure:
    """Activation size on the left, gradient size on the right, over relative depth, on logarithmic axes. Zero has no
    logarithm: it is a cross on a line at the bottom, a decade below the smallest size."""
    figure = _two_charts((ACTIVATION_RMS, GRADIENT_RMS), "relative depth")
    for column, sizes in enumerate(([line.left for line in lines], [line.right for line in lines]), start=1):
        found = [size for line in sizes for size in line if 0 < size < math.inf]
        low, high = min(found, default=1.0), max(found, default=1.0)
        floor = 10.0 ** (math.floor(math.log10(low)) - 1)
        figure.update_yaxes(log_axis(low, high), col=column)
        if any(size == 0 for line in sizes for size in line):
            figure.add_hline(y=floor, line={"color": GREY, "width": 1}, row=1, col=column)
        for line, values in zip(lines, sizes, strict=True):
            heights = [size or floor for size in values]
            texts = [f"{_name(layer)}: {size:.3g}" for layer, size in zip(line.layers, values, strict=True)]
            symbols = [_SYMBOLS[line.series.dash] if size else "x" for size in values]
            marker = {"symbol": symbols, "size": [4 if size else 8 for size in values]}
            hover = "%{customdata}"
            _add_line(figure, column, line.series, line.depths, heights, hover, customdata=texts, marker=marker)
    figure.update_xaxes(range=[-0.02, 1.02])
    return figure


def _two_charts(titles: tuple[str, str], x_title: str) -> go.Figure:
    """Two empty charts side by side, with one legend above them."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.09)
    below, beside = {"title": {"text": x_title}, "fixedrange": True}, {"fixedrange": True}
    axes = {"xaxis": below, "xaxis2": below, "yaxis": beside, "yaxis2": beside}
    margin = {"l": 0, "r": 0, "t": 70, "b": 40}
    figure.update_layout(axes, height=300, margin=margin, legend=LEGEND | {"y": 1.14}, showlegend=True)
    return figure


def _add_line(
    figure: go.Figure, column: int, series: Series, x: Sequence[float], y: Sequence[Any], hover: str, **more: Any
) -> None:
    marker = {"color": series.colour, "size": 6, "symbol": _SYMBOLS[series.dash]} | more.pop("marker", {})
    more = {"marker": marker, "legendgroup": series.title, "showlegend": column == 1} | more
    add_line(figure, series, x, y, hover, row=1, col=column, **more)


def _name(text: str, longest: int = 60) -> str:
    """A name of a network or a class as Plotly writes it: Plotly reads tags and variables of templates."""
    return escape_template(shortened(text, longest))
