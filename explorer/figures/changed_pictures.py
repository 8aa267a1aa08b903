"""Charts of one picture that is changed: over a dial, over shifts, and by an attack."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from explorer.figures.charts import GREY, Series, add_line, empty_chart
from explorer.figures.text_escaping import escape_html
from explorer.intervals import Accuracy
from explorer.numbers import finite

_PROBABILITY = {"tickformat": ".0%", "range": [-0.02, 1.02]}


def dial_chart(
    lines: Sequence[tuple[Series, np.ndarray, np.ndarray]], values: Sequence[float], rest: float | None, unit: str
) -> go.Figure:
    """The probability of the answer to the untouched picture for each of `values` of a dial, (values,) of each network,
    and bool (values,), where that class is still predicted. Open markers are other answers. The grey line is the dial
    at `rest`, if it has such a value."""
    xaxis = {"title": {"text": unit}, "range": _range(values)}
    yaxis = {"title": {"text": "probability of its first answer"}, **_PROBABILITY}
    figure = empty_chart(340, (0, 34, 40), xaxis, yaxis, hovermode="closest")
    for series, probabilities, kept in lines:
        texts = [
            f"at {value:g}: {share:.1%}{'' if is_kept else ', another class is more probable'}"
            for value, share, is_kept in zip(values, probabilities, kept, strict=True)
        ]
        marker = {"size": 6, "symbol": ["circle" if each else "circle-open" for each in kept]}
        add_line(figure, series, values, probabilities.tolist(), "%{customdata}", customdata=texts, marker=marker)
    if rest is not None:
        figure.add_vline(x=rest, line={"color": GREY, "dash": "dash", "width": 1.5})
    return figure


def shift_chart(probabilities: np.ndarray, predicted: Sequence[Sequence[str]], answer: str) -> go.Figure:
    """The probability of `answer` for shifts of -r..r pixels, (2r + 1, 2r + 1), rows down; a cross marks each shift at
    which another class is predicted. The scale is always 0 to 1."""
    reach = len(probabilities) // 2
    sides = list(range(-reach, reach + 1))
    hover = [
        [
            f"{x:+d} right, {y:+d} down: {answer} {probabilities[row, column]:.1%}, predicted {predicted[row][column]}"
            for column, x in enumerate(sides)
        ]
        for row, y in enumerate(sides)
    ]
    hover = [[escape_html(text) for text in row] for row in hover]
    plain = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    figure = empty_chart(
        380,
        (0, 8, 40),
        {"title": {"text": "pixels to the right"}, "range": [-reach - 0.5, reach + 0.5], **plain},
        {"title": {"text": "pixels down"}, "autorange": "reversed", "scaleanchor": "x", **plain},
        showlegend=False,
        width=460,
    )
    figure.add_heatmap(
        x=sides, y=sides, z=probabilities, customdata=hover, hovertemplate="%{customdata}<extra></extra>", zmin=0,
        zmax=1, colorscale="Cividis", colorbar={"tickformat": ".0%", "thickness": 12},
    )  # fmt: skip
    crossed = [
        (x, y) for row, y in enumerate(sides) for column, x in enumerate(sides) if predicted[row][column] != answer
    ]
    marker = {"symbol": "x-thin", "size": 7, "line": {"width": 1.5, "color": "#FFFFFF"}}
    figure.add_scatter(
        x=[x for x, _ in crossed], y=[y for _, y in crossed], mode="markers", marker=marker, hoverinfo="skip"
    )
    ring = {"symbol": "circle-open", "size": 12, "color": "#FFFFFF", "line": {"width": 2}}
    figure.add_scatter(x=[0], y=[0], mode="markers", marker=ring, hoverinfo="skip")
    return figure


def distance_chart(lines: Sequence[tuple[Series, Sequence[float], Sequence[str], np.ma.MaskedArray]]) -> go.Figure:
    """How far two passes of each network are apart along relative depth, 0..1: at which depth, in which layer, and
    ‖a - a'‖ / ‖a‖."""
    xaxis = {"title": {"text": "relative depth, input 0 → output 1"}, "range": [-0.02, 1.02]}
    yaxis = {"title": {"text": "relative distance of the passes"}, "rangemode": "tozero"}
    figure = empty_chart(320, (0, 34, 40), xaxis, yaxis, hovermode="closest")
    for series, depths, layers, distances in lines:
        shown = finite(distances.filled(np.nan))
        texts = [
            f"{escape_html(name)}: {'-' if at is None else f'{at:.3g}'}" for name, at in zip(layers, shown, strict=True)
        ]
        add_line(figure, series, depths, shown, "%{customdata}", customdata=texts, marker={"size": 5})
    return figure


def robust_chart(lines: Sequence[tuple[Series, Sequence[float], Sequence[Accuracy]]]) -> go.Figure:
    """The share of images that stay right within each ε, in levels of 255, with 95 % intervals."""
    levels = [255 * epsilon for epsilon in lines[0][1]]
    xaxis = {"title": {"text": "ε in levels of 255 (L∞)"}, "tickvals": levels, "range": _range(levels)}
    yaxis = {"title": {"text": "accuracy under attack"}, **_PROBABILITY}
    figure = empty_chart(340, (0, 34, 40), xaxis, yaxis, hovermode="closest")
    for series, epsilons, right in lines:
        texts = [
            f"ε = {255 * epsilon:.3g}/255: {each.share:.1%}, {each.low:.1%} to {each.high:.1%}"
            for epsilon, each in zip(epsilons, right, strict=True)
        ]
        above, below = ([each.high - each.share for each in right], [each.share - each.low for each in right])
        bars = {"type": "data", "array": above, "arrayminus": below, "thickness": 1, "width": 0}
        add_line(
            figure, series, [255 * each for each in epsilons], [each.share for each in right], "%{customdata}",
            customdata=texts, error_y=bars, marker={"size": 6},
        )  # fmt: skip
    return figure


def _range(values: Sequence[float]) -> list[float]:
    room = 0.03 * (max(values) - min(values))
    return [min(values) - room, max(values) + room]
