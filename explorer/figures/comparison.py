"""Several networks in one picture: the lines of their trainings, what they say, how alike their maps are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.figures.charts import DASHES, Series
from explorer.figures.names import in_template, shortened

_PATTERNS = dict(zip(DASHES, ("", "/", ".", "x"), strict=True))
_WIDEST = 28  # letters of a class name beside its bars
_LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": {"text": ""}, "itemclick": False}
_LEGEND |= {"itemdoubleclick": False}

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
class Says:
    """What one network says: a probability, 0..1, for each of the classes of the chart, and the class that is
    explained."""

    series: Series
    probabilities: Sequence[float]
    target: str


@dataclass(frozen=True, eq=False)
class Alike:
    """How alike two networks' maps are along `depths`: the correlation, -1..1, and the overlap of their regions
    (intersection over union, 0..1); None where it could not be computed. `notes` say what was compared."""

    series: Series
    depths: Sequence[float]
    correlations: Sequence[float | None]
    overlaps: Sequence[float | None]
    notes: Sequence[str]


@dataclass(frozen=True, eq=False)
class SizeLine:
    """How large one network's activations and the gradients of its score are, >= 0, in each of `layers`, which lie at
    the relative `depths`."""

    series: Series
    layers: Sequence[str]
    depths: Sequence[float]
    activations: Sequence[float]
    gradients: Sequence[float]


def training_chart(lines: Sequence[TrainingLine]) -> go.Figure:
    """Loss on the left, share of right predictions on the right, over epochs: lines of the training pictures, dots of
    the validation pictures."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=("Loss", "Accuracy"), horizontal_spacing=0.09)
    for line in lines:
        name = _escaped(line.series.title)
        for pictures, points in (("training", line.train), ("validation", line.validation)):
            if all(loss is None and share is None for loss, share in points):
                continue
            for place, unit in ((0, ".3g"), (1, ".1%")):
                figure.add_scatter(
                    x=list(line.epochs),
                    y=[point[place] for point in points],
                    mode="lines" if pictures == "training" and len(points) > 1 else "markers",
                    line={"color": line.series.colour, "dash": line.series.dash, "width": 2},
                    marker={"color": line.series.colour, "size": 7, "symbol": _symbol(line.series.dash)},
                    name=name,
                    legendgroup=name,
                    showlegend=pictures == "training" and not place,
                    hovertemplate=f"{name}, {pictures}<br>epoch %{{x:.3g}}: %{{y:{unit}}}<extra></extra>",
                    row=1,
                    col=place + 1,
                )
    figure.update_xaxes(title="epochs", rangemode="tozero", fixedrange=True)
    figure.update_yaxes(fixedrange=True, rangemode="tozero")
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], col=2)
    figure.update_layout(height=340, margin={"l": 0, "r": 0, "t": 70, "b": 40}, legend=_LEGEND | {"y": 1.12})
    return figure


def probabilities_chart(names: Sequence[str], networks: Sequence[Says]) -> go.Figure:
    """For each class a group of horizontal bars, one for each network, the first class on top; an arrow marks the
    classes that are explained."""
    explained = {network.target for network in networks}
    rows = [f"<b>▸ {_escaped(name, _WIDEST)}</b>" if name in explained else _escaped(name, _WIDEST) for name in names]
    return go.Figure(
        [
            go.Bar(
                x=list(network.probabilities),
                y=rows,
                orientation="h",
                name=_escaped(network.series.title),
                marker={
                    "color": network.series.colour,
                    "pattern": {"shape": _PATTERNS[network.series.dash], "fgopacity": 0.8},
                },
                text=[f"{value:.1%}" for value in network.probabilities],
                textposition="outside",
                cliponaxis=False,
                hovertemplate=f"{_escaped(network.series.title)}, %{{y}}: %{{x:.4f}}<extra></extra>",
            )
            for network in networks
        ],
        layout=dict(
            height=(14 + 18 * len(networks)) * len(names) + 76,
            margin={"l": 0, "r": 60, "t": 36, "b": 30},
            xaxis={"range": [0, 1], "tickformat": ".0%", "tickvals": [0, 0.5, 1], "tickangle": 0, "fixedrange": True},
            yaxis={"autorange": "reversed", "automargin": True, "fixedrange": True, "ticks": ""},
            barmode="group",
            bargap=0.2,
            legend=_LEGEND,
            showlegend=True,
        ),
    )


def alike_chart(pairs: Sequence[Alike], chosen: float) -> go.Figure:
    """Correlation on the left, intersection over union on the right, over relative depth; a line at the chosen one."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=("Correlation", "Intersection over union"), horizontal_spacing=0.09
    )
    for pair in pairs:
        for column, values in enumerate((pair.correlations, pair.overlaps), start=1):
            figure.add_scatter(
                x=list(pair.depths),
                y=list(values),
                mode="lines+markers",
                line={"color": pair.series.colour, "dash": pair.series.dash, "width": 2},
                marker={"color": pair.series.colour, "size": 6, "symbol": _symbol(pair.series.dash)},
                name=_escaped(pair.series.title),
                legendgroup=_escaped(pair.series.title),
                showlegend=column == 1,
                customdata=[_escaped(note) for note in pair.notes],
                hovertemplate=f"{_escaped(pair.series.title)}<br>%{{customdata}}: %{{y:.2f}}<extra></extra>",
                row=1,
                col=column,
            )
    figure.add_vline(x=chosen, line={"color": "#869096", "width": 1, "dash": "dot"})
    figure.update_xaxes(title="relative depth, input to output", range=[-0.02, 1.02], fixedrange=True)
    figure.update_yaxes(fixedrange=True, zeroline=True)
    figure.update_yaxes(range=[-1.05, 1.05], col=1)
    figure.update_yaxes(range=[-0.05, 1.05], col=2)
    figure.update_layout(height=300, margin={"l": 0, "r": 0, "t": 70, "b": 40}, legend=_LEGEND | {"y": 1.14})
    figure.update_layout(showlegend=True)
    return figure


def sizes_chart(lines: Sequence[SizeLine]) -> go.Figure:
    """Activation size on the left, gradient size on the right, over relative depth, on logarithmic axes. Zero has no
    logarithm: it is a cross on a line at the bottom, a decade below the smallest size."""
    titles = ("Activation size", "Gradient size")
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.09)
    for column, sizes in enumerate(([line.activations for line in lines], [line.gradients for line in lines]), start=1):
        found = [size for line in sizes for size in line if 0 < size < math.inf]
        floor = 10.0 ** (math.floor(math.log10(min(found, default=1.0))) - 1)
        ticks = _log_ticks(min(found, default=1.0), max(found, default=1.0))
        figure.update_yaxes(tickvals=ticks, ticktext=[f"{tick:.3g}" for tick in ticks], col=column)
        if any(size == 0 for line in sizes for size in line):
            figure.add_hline(y=floor, line={"color": "#869096", "width": 1}, row=1, col=column)
        for line, values in zip(lines, sizes, strict=True):
            name = _escaped(line.series.title)
            hover = [f"{_escaped(layer)}: {size:.3g}" for layer, size in zip(line.layers, values, strict=True)]
            figure.add_scatter(
                x=list(line.depths),
                y=[floor if size == 0 else size for size in values],
                mode="lines+markers",
                line={"color": line.series.colour, "dash": line.series.dash, "width": 2},
                marker={
                    "color": line.series.colour,
                    "symbol": [_symbol(line.series.dash) if size else "x" for size in values],
                }
                | {"size": [4 if size else 8 for size in values]},
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                customdata=hover,
                hovertemplate=f"{name}<br>%{{customdata}}<extra></extra>",
                row=1,
                col=column,
            )
    figure.update_xaxes(title="relative depth, input to output", range=[-0.02, 1.02], fixedrange=True)
    figure.update_yaxes(type="log", fixedrange=True)
    figure.update_layout(height=300, margin={"l": 0, "r": 0, "t": 70, "b": 40}, legend=_LEGEND | {"y": 1.14})
    figure.update_layout(showlegend=True)
    return figure


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade between two sizes, or powers of ten alone where there would be too many: each written
    out, since Plotly's own ticks between two powers say "2" and "5" and nothing else."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, math.ceil(len(decades) / 6))
    digits = (1, 2, 5) if len(decades) <= 3 else (1,)
    return [float(f"{digit}e{decade}") for decade in decades[::every] for digit in digits]


def cells(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`values` (h, w) at `size` (height, width) with each of their cells as a rectangle of one value: nothing is made
    up between two of them."""
    rows, columns = (np.arange(side) * count // side for side, count in zip(size, values.shape, strict=True))
    return values[np.ix_(rows, columns)]


def _symbol(dash: str) -> str:
    return {"solid": "circle", "dash": "diamond", "dot": "square", "dashdot": "x"}[dash]


def _escaped(text: str, longest: int = 60) -> str:
    """As Plotly writes it: it reads tags, and a network or a class may have any name."""
    return in_template(shortened(text, longest))
