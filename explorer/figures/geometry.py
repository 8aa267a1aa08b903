"""Charts of the geometry of gradients: autocorrelations, branches beside shortcuts, lengths of paths."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.figures.charts import GREY, Series, add_line, empty_chart, log_axis_of, translucent
from explorer.figures.text_escaping import escape_html
from explorer.intervals import Mean
from explorer.numbers import finite

_MARGIN = (0, 34, 40)
_DOTS = ("dot", "dash")  # of the two references, which are grey


def correlation_chart(
    lines: Sequence[tuple[Series, np.ndarray]], references: Mapping[str, np.ndarray], pictures: int
) -> go.Figure:
    """Autocorrelation over lags, (seeds, lags + 1) of each network: the mean, with a band over all seeds. `references`
    are grey, by their names; `pictures` are on the line."""
    lags = max((values.shape[1] for _, values in lines), default=1)
    xaxis = {"title": {"text": f"lag in pictures, of {pictures} on the line"}, "range": [-0.5, lags - 0.5]}
    yaxis = {"title": {"text": "autocorrelation of the gradient"}, "range": [-0.25, 1.04]}
    figure = empty_chart(380, _MARGIN, xaxis, yaxis, hovermode="closest")
    for dash, (name, values) in zip(_DOTS, references.items(), strict=False):
        add_line(
            figure, Series(name, GREY, dash), range(values.shape[1]), finite(values.mean(axis=0)),
            "lag %{x}: %{y:.3f}", mode="lines",
        )  # fmt: skip
    for series, values in lines:
        _add_band(figure, series, list(range(values.shape[1])), values)
        texts = _texts(values, ".3f")
        add_line(
            figure, series, range(values.shape[1]), _mean(values), "lag %{x}: %{customdata}", customdata=texts,
            marker={"size": 4},
        )  # fmt: skip
    return figure


def neighbours_chart(
    lines: Sequence[tuple[Series, Mapping[int, Mean | None]]], what: str, references: Mapping[str, float]
) -> go.Figure:
    """The correlation of neighbours over a whole number that `what` names, on a logarithmic axis, with 95 %
    intervals; `references` are grey, by their names."""
    numbers = sorted({number for _, found in lines for number in found})
    xaxis = {"title": {"text": what}, "type": "log", "tickvals": numbers, "ticktext": [f"{each:,}" for each in numbers]}
    yaxis = {"title": {"text": "correlation of neighbours"}, "range": [-0.25, 1.04]}
    figure = empty_chart(340, _MARGIN, xaxis, yaxis, hovermode="closest")
    for dash, (name, value) in zip(_DOTS, references.items(), strict=False):
        add_line(figure, Series(name, GREY, dash), numbers, [value] * len(numbers), "%{y:.3f}", mode="lines")
    for series, found in lines:
        shown = {number: of for number, of in found.items() if of is not None}
        ends = [(of.high - of.value, of.value - of.low) if of.n > 1 else (0.0, 0.0) for of in shown.values()]
        bars = {"type": "data", "array": [a for a, _ in ends], "arrayminus": [b for _, b in ends]}
        texts = [_span(of.value, of.low, of.high, ".3f") for of in shown.values()]
        add_line(
            figure, series, shown, [of.value for of in shown.values()], "%{x}: %{customdata}", customdata=texts,
            error_y={**bars, "thickness": 1, "width": 3}, marker={"size": 6},
        )  # fmt: skip
    return figure


def branch_chart(
    lines: Sequence[tuple[Series, Sequence[str], np.ndarray]], roots: Sequence[tuple[str, np.ndarray]]
) -> go.Figure:
    """The size of each branch over that of its shortcut, (seeds, B) of each network with the names of its blocks, on a
    logarithmic axis. `roots` are the theory of some of them, in grey, by their names."""
    most = max((len(names) for _, names, _ in lines), default=1)
    sizes = [float(each) for _, _, ratios in lines for each in ratios.flat] + [float(x) for _, r in roots for x in r]
    xaxis = {"title": {"text": "residual block, from the input"}, "range": [0.4, most + 0.6]}
    shown = [size for size in sizes if 0 < size < math.inf] or [1.0]
    span = [math.log10(min(shown) / 1.2), math.log10(max(shown) * 1.2)]
    yaxis = {"title": {"text": "size of branch / size of shortcut"}, **log_axis_of(sizes), "range": span}
    figure = empty_chart(380, _MARGIN, xaxis, yaxis, hovermode="closest")
    for index, (name, root) in enumerate(roots):
        series = Series(name, GREY, _DOTS[index % 2])
        add_line(figure, series, range(1, len(root) + 1), finite(root), "block %{x}: %{y:.3g}", mode="lines")
    for series, names, ratios in lines:
        at = list(range(1, len(names) + 1))
        _add_band(figure, series, at, ratios)
        texts = [f"{escape_html(name)}: {text}" for name, text in zip(names, _texts(ratios, ".3g"), strict=True)]
        add_line(figure, series, at, _mean(ratios), "%{customdata}", customdata=texts, marker={"size": 5})
    return figure


def path_chart(lines: Sequence[tuple[Series, np.ndarray]]) -> go.Figure:
    """The share of the gradient by the number of branches on its path, (seeds, B + 1) of each network."""
    yaxis = {"title": {"text": "share of the summed gradient"}, "tickformat": ".0%", "rangemode": "tozero"}
    figure = empty_chart(340, _MARGIN, _lengths(lines), yaxis, hovermode="closest")
    _add_paths(figure, lines, ".2%")
    return figure


def path_size_chart(lines: Sequence[tuple[Series, np.ndarray]]) -> go.Figure:
    """The gradient through one path of each length, on a logarithmic axis. Zero has no place there, so it is a gap."""
    sizes = [float(each) for _, values in lines for each in values.flat]
    yaxis = {"title": {"text": "gradient through one path (L2)"}, **log_axis_of(sizes)}
    figure = empty_chart(340, _MARGIN, _lengths(lines), yaxis, hovermode="closest")
    _add_paths(figure, [(series, np.where(values > 0, values, np.nan)) for series, values in lines], ".3g")
    return figure


def _lengths(lines: Sequence[tuple[Series, np.ndarray]]) -> dict[str, Any]:
    most = max((values.shape[1] for _, values in lines), default=1)
    return {"title": {"text": "branches on the path"}, "range": [-0.5, most - 0.5]}


def _add_paths(figure: go.Figure, lines: Sequence[tuple[Series, np.ndarray]], style: str) -> None:
    for series, values in lines:
        at = list(range(values.shape[1]))
        _add_band(figure, series, at, values)
        texts = _texts(values, style)
        add_line(
            figure, series, at, _mean(values), "%{x} branches: %{customdata}", customdata=texts, marker={"size": 5}
        )


def _mean(values: np.ndarray) -> Any:
    """Of the seeds, None where one is not finite."""
    return finite(np.mean(values, axis=0))


def _add_band(figure: go.Figure, series: Series, at: Sequence[int], values: np.ndarray) -> None:
    """From the smallest to the largest of several seeds."""
    if len(values) < 2 or not np.isfinite(values).all():
        return
    low, high = values.min(axis=0).tolist(), values.max(axis=0).tolist()
    figure.add_scatter(
        x=[*at, *reversed(at)], y=[*high, *reversed(low)], fill="toself", line={"width": 0}, mode="lines",
        fillcolor=translucent(series.colour, 0.18), hoverinfo="skip", showlegend=False,
    )  # fmt: skip


def _texts(values: np.ndarray, style: str) -> list[str]:
    """The mean over the seeds, and the smallest to the largest."""
    low, high = values.min(axis=0), values.max(axis=0)
    spans = zip(values.mean(axis=0).tolist(), low.tolist(), high.tolist(), strict=True)
    return [_span(value, least, most, style) for value, least, most in spans]


def _span(value: float, low: float, high: float, style: str) -> str:
    """The value alone where the ends are no numbers, or both the value."""
    text = format(value, style)
    return f"{text}, {format(low, style)} to {format(high, style)}" if low < high else text
