"""Charts of lesions: accuracies without some blocks, beside that of the whole network."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.figures.charts import GREY, Series, add_line, empty_chart, translucent
from explorer.figures.text_escaping import escape_html
from explorer.intervals import Accuracy

Span = tuple[float, float, float]
"""A value, and its interval from the lower to the upper end."""
Lesion = tuple[Series, Span, Mapping[str, Span]]
"""A network: its line, its value as it is, and its values without each block, or with two blocks swapped."""

_ACCURACY = {"title": {"text": "test accuracy"}, "tickformat": ".0%", "range": [0, 1.02]}


def lesion_chart(lesions: Sequence[Lesion], places: Sequence[str], what: str, chance: float) -> go.Figure:
    """Accuracy without each of `places`, in execution order, with 95 % intervals. Dashed lines are the whole networks,
    the grey one is `chance`. A network has a gap where it has no such place."""
    figure = _chart(lesions, places, what, _ACCURACY, ".1%")
    _mark_chance(figure, chance)
    return figure


def lesion_loss_chart(lesions: Sequence[Lesion], places: Sequence[str], what: str) -> go.Figure:
    """The same of the loss, >= 0."""
    return _chart(lesions, places, what, {"title": {"text": "test loss"}, "rangemode": "tozero"}, ".3f")


def _chart(
    lesions: Sequence[Lesion], places: Sequence[str], what: str, yaxis: Mapping[str, Any], style: str
) -> go.Figure:
    numbers = {name: index for index, name in enumerate(places)}
    stages = [_stage(name) for name in places]
    starts = [index for index, stage in enumerate(stages) if not index or stage != stages[index - 1]]
    xaxis = {
        "title": {"text": what},
        "range": [-0.6, len(places) - 0.4],
        "tickvals": starts if len(places) > 12 else list(numbers.values()),
        "ticktext": [escape_html(places[index]) for index in (starts if len(places) > 12 else numbers.values())],
        "showgrid": False,
    }
    figure = empty_chart(380, (0, 34, 40), xaxis, yaxis, hovermode="closest")
    for index, (series, whole, without) in enumerate(lesions):
        shift = (index - (len(lesions) - 1) / 2) * 0.12  # so that intervals stand beside each other
        shown = [(number + shift, name, without.get(name)) for name, number in numbers.items()]
        values = [each[0] if each else None for _, _, each in shown]
        above = [each[2] - each[0] if each else 0 for _, _, each in shown]
        below = [each[0] - each[1] if each else 0 for _, _, each in shown]
        texts = [f"{escape_html(name)}: {_text(each, style)}" if each else "" for _, name, each in shown]
        bars = {"type": "data", "array": above, "arrayminus": below, "thickness": 1, "width": 0}
        add_line(
            figure, series, [at for at, _, _ in shown], values, "%{customdata}", customdata=texts, error_y=bars,
            marker={"size": 6},
        )  # fmt: skip
        figure.add_hline(y=whole[0], line={"color": series.colour, "dash": "dash", "width": 1.5})
    return figure


def pairs_chart(accuracies: Mapping[tuple[str, str], Accuracy], places: Sequence[str], title: str) -> go.Figure:
    """The accuracy without each two of `places`, as cells below the diagonal; on a scale of 0 to 1."""
    numbers = {name: index for index, name in enumerate(places)}
    values = np.full((len(places), len(places)), np.nan)
    hover = np.full(values.shape, "", dtype=object)
    for pair, each in accuracies.items():
        column, row = sorted(numbers[name] for name in pair)
        values[row, column] = each.share
        span = _text((each.share, each.low, each.high))
        hover[row, column] = f"without {escape_html(places[column])} and {escape_html(places[row])}: {span}"
    ticks = {"tickvals": list(numbers.values()), "ticktext": list(map(escape_html, places))}
    if len(places) > 12:
        starts = [at for at, name in enumerate(places) if not at or _stage(name) != _stage(places[at - 1])]
        ticks = {"tickvals": starts, "ticktext": [escape_html(places[at]) for at in starts]}
    plain = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    figure = empty_chart(420, (0, 34, 40), {**ticks, **plain}, {**ticks, **plain, "autorange": "reversed"})
    figure.update_yaxes(scaleanchor="x")
    figure.add_heatmap(
        z=values, customdata=hover, hovertemplate="%{customdata}<extra></extra>", zmin=0, zmax=1, colorscale="Cividis",
        colorbar={"title": {"text": "accuracy"}, "tickformat": ".0%", "thickness": 12}, hoverongaps=False,
    )  # fmt: skip
    figure.update_layout(title={"text": escape_html(title), "font": {"size": 14}})
    return figure


def sets_chart(lines: Sequence[tuple[Series, Mapping[int, Sequence[float]]]], chance: float) -> go.Figure:
    """The accuracies without k blocks: the median of the random sets, and a band from the lowest to the highest."""
    sizes = sorted({size for _, found in lines for size in found})
    xaxis = {"title": {"text": "blocks that are left out"}, "tickvals": sizes, "range": [-0.4, max(sizes) + 0.6]}
    figure = empty_chart(380, (0, 34, 40), xaxis, _ACCURACY, hovermode="closest")
    for series, found in lines:
        sizes = sorted(found)
        high, low = ([end(found[size]) for size in sizes] for end in (max, min))
        figure.add_scatter(
            x=[*sizes, *reversed(sizes)], y=[*high, *reversed(low)], fill="toself", line={"width": 0},
            fillcolor=translucent(series.colour, 0.2), hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        middle = [float(np.median(found[size])) for size in sizes]
        texts = [
            f"{size} left out: {at:.1%}, {least:.1%} to {most:.1%}"
            for size, at, least, most in zip(sizes, middle, low, high, strict=True)
        ]
        add_line(figure, series, sizes, middle, "%{customdata}", customdata=texts, marker={"size": 6})
    _mark_chance(figure, chance)
    return figure


def _mark_chance(figure: go.Figure, chance: float) -> None:
    note = {"text": f"chance: {chance:.1%}", "xanchor": "right", "yanchor": "bottom", "showarrow": False}
    figure.add_hline(y=chance, line={"color": GREY, "dash": "dot", "width": 1.5}, annotation=note)


def _stage(name: str) -> str:
    return name.rpartition(".")[0]


def _text(span: Span, style: str = ".1%") -> str:
    value, low, high = (format(each, style) for each in span)
    return f"{value}, {low} to {high}"


def all_places(names: Sequence[Sequence[str]]) -> list[str]:
    """The places of several networks in one order, "stages.0.9" before "stages.0.10" and "stages.1.0"; names without
    numbers keep the order of the first network, with the others' own behind."""
    found = list(dict.fromkeys(itertools.chain.from_iterable(names)))
    if not all(re.fullmatch(r"[a-z]+(\.\d+)+", name) for name in found):
        return found
    return sorted(found, key=lambda name: [int(part) for part in name.split(".")[1:]])
