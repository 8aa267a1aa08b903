"""Charts of a study: errors and differences as small multiples on shared scales, each mean with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.figures.charts import DASHES, GREY, LEGEND, Series, add_line
from explorer.figures.text_escaping import escape_html
from explorer.intervals import Mean

COLUMNS = 2  # of small multiples
ROW_PX, TOP_PX, BOTTOM_PX = 250, 64, 50
_SYMBOLS = dict(zip(DASHES, ("circle", "diamond", "square", "x"), strict=True))
THEIRS = ("star", "x")  # marks of published lines
_SHIFT = 0.08  # of the distance of two values: intervals stand beside each other


@dataclass(frozen=True, eq=False)
class StudyLine:
    """The means of one kind of network at each value of the axis; None where nothing is measured."""

    series: Series
    means: Sequence[Mean | None]


@dataclass(frozen=True, eq=False)
class StudyPanel:
    """One of the small multiples: its title, "" of a single one, and its lines. `published` are lines of somebody
    else's values, drawn in grey, each with its source as title."""

    title: str
    lines: Sequence[StudyLine]
    published: Sequence[tuple[str, Sequence[Mean | None]]] = ()


def study_chart(panels: Sequence[StudyPanel], values: Sequence[str], axis: str, quantity: str) -> go.Figure:
    """Errors, 0..1, over the `values` of the axis, in the order given; all panels share the scale, which begins at 0.

    Whiskers are the 95 % intervals; a mean of one value has none.
    """
    figure = _panels(panels, values, axis, quantity)
    tops = [end for span in _means(panels) for end in (span.value, span.high) if not math.isnan(end)]
    figure.update_yaxes(range=[0, min(1.02, 1.08 * max(tops, default=0.95))], tickformat=".0%")
    return figure


def difference_chart(panels: Sequence[StudyPanel], values: Sequence[str], axis: str, quantity: str) -> go.Figure:
    """Differences of errors in percentage points on one scale, with a line at 0; above it the second is better."""
    figure = _panels(panels, values, axis, f"{quantity} (points)", scale=100)
    ends = [100 * end for each in _means(panels) for end in (each.value, each.low, each.high)]
    ends = [end for end in ends if not math.isnan(end)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    room = 0.08 * max(high - low, 1.0)
    figure.update_yaxes(range=[low - room, high + room])
    figure.add_hline(y=0, line={"color": GREY, "width": 1.5, "dash": "dash"})
    return figure


def _means(panels: Sequence[StudyPanel]) -> list[Mean]:
    rows = [line.means for panel in panels for line in panel.lines]
    rows += [line for panel in panels for _, line in panel.published]
    return [found for row in rows for found in row if found]


def _panels(
    panels: Sequence[StudyPanel], values: Sequence[str], axis: str, quantity: str, scale: float = 1
) -> go.Figure:
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    titles = [escape_html(panel.title) for panel in panels]
    gap = 0.24 / max(1, rows - 1) if rows > 1 else 0.0
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=titles if any(titles) else None,
        shared_yaxes="all", horizontal_spacing=0.03, vertical_spacing=min(0.2, gap),
    )  # fmt: skip
    named: set[str] = set()
    for number, panel in enumerate(panels):
        row, column = number // columns + 1, number % columns + 1
        for mark, (name, published) in zip(cycle(THEIRS), panel.published, strict=False):
            shift = len(panel.lines) * _SHIFT  # beside all lines
            theirs = [(index, found) for index, found in enumerate(published) if found]
            figure.add_scatter(
                x=[index + shift for index, _ in theirs], y=[scale * found.value for _, found in theirs],
                mode="lines+markers", row=row, col=column, error_y=_whiskers([found for _, found in theirs], scale),
                name=escape_html(name), legendgroup=name, showlegend=name not in named,
                line={"color": GREY, "width": 1.5, "dash": "dot"}, marker={"size": 8, "symbol": mark, "color": GREY},
                customdata=[escape_html(f"{values[index]}: {_stated(found)}, {name}") for index, found in theirs],
                hovertemplate="%{customdata}<extra></extra>",
            )  # fmt: skip
            named.add(name)
        for index, line in enumerate(panel.lines):
            _add(figure, line, values, (index - (len(panel.lines) - 1) / 2) * _SHIFT, scale, row, column, named)
    ticks = {"tickvals": [*range(len(values))], "ticktext": [escape_html(value) for value in values]}
    figure.update_xaxes(range=[-0.5, len(values) - 0.5], fixedrange=True, showgrid=False, **ticks)
    figure.update_yaxes(fixedrange=True, automargin=True)
    figure.update_yaxes(title={"text": escape_html(quantity)}, col=1)
    for number in range(len(panels)):
        row, column = number // columns + 1, number % columns + 1
        if number + columns >= len(panels):  # the lowest of its column
            figure.update_xaxes(title={"text": escape_html(axis)}, row=row, col=column)
    legend = LEGEND | {"y": 1 + (34 if any(titles) else 8) / (ROW_PX * rows)}
    figure.update_layout(
        height=ROW_PX * rows + TOP_PX + BOTTOM_PX, margin={"l": 0, "r": 0, "t": TOP_PX, "b": BOTTOM_PX},
        legend=legend, showlegend=True, hovermode="closest",
    )  # fmt: skip
    return figure


def _add(
    figure: go.Figure, line: StudyLine, values: Sequence[str], shift: float, scale: float, row: int, column: int,
    named: set[str],
) -> None:  # fmt: skip
    shown = [(index, found) for index, found in enumerate(line.means) if found]
    add_line(
        figure, line.series, [index + shift for index, _ in shown], [scale * found.value for _, found in shown],
        "%{customdata}", customdata=[escape_html(f"{values[index]}: {mean_words(found)}") for index, found in shown],
        error_y=_whiskers([found for _, found in shown], scale),
        marker={"size": 8, "symbol": _SYMBOLS[line.series.dash], "color": line.series.colour},
        legendgroup=line.series.title, showlegend=line.series.title not in named, row=row, col=column,
    )  # fmt: skip
    named.add(line.series.title)


def _whiskers(means: Sequence[Mean], scale: float) -> dict[str, object]:
    above = [scale * (found.high - found.value) if found.has_interval else 0 for found in means]
    below = [scale * (found.value - found.low) if found.has_interval else 0 for found in means]
    return {"type": "data", "array": above, "arrayminus": below, "thickness": 1.5, "width": 5}


def _stated(found: Mean) -> str:
    """A published value, with as many digits as it has."""
    return mean_words(found) if found.has_interval else f"{found.value:.2%}"


def mean_words(found: Mean) -> str:
    """In per cent: "12.5 (10.1 to 14.9, n = 3)"; without an interval "12.5 (n = 1)"."""
    span = f"{100 * found.low:.1f} to {100 * found.high:.1f}, " if found.has_interval else ""
    return f"{100 * found.value:.1f} ({span}n = {found.n})"
