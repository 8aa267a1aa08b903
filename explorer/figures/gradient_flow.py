"""Sizes of gradients along depth, a line for each network, on a log axis with places for 0 and for not finite."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.experiments.gradient_grid import GradientBand
from explorer.figures.charts import GREY, LEGEND, STILL, TEXT_COLOURS, translucent
from explorer.figures.gradients import enclosing_decades
from explorer.figures.text_escaping import escape_html, escape_template
from explorer.numbers import finite

_TALL, _SHORT = 430, 290  # pixels of a panel that is alone in its column, and of one of several
_LINE = 15  # pixels between two labels
_TICKS = 8


@dataclass(frozen=True, eq=False)
class FlowLine:
    """The gradient of one network along its depth. `label` stands at the line's end, `name` in its hovering text. Lines
    of one `panel` are drawn into one chart."""

    name: str
    label: str
    colour: str
    band: GradientBand
    dashed: bool = False
    squares: bool = False
    width: float = 2.0
    panel: str = ""


@dataclass(frozen=True)
class FlowKey:
    """One entry of the legend: the meaning of a colour, a dash or a mark."""

    text: str
    colour: str = GREY
    dashed: bool = False
    squares: bool = False


def flow_span(lines: Sequence[FlowLine]) -> tuple[int, int]:
    """The powers of ten that enclose every size above zero of all lines, at least one decade."""
    return enclosing_decades([size for line in lines for size in (line.band.low, line.band.median, line.band.high)])


@dataclass(frozen=True)
class _Axis:
    """Decades from `low` to `high`, with the line of zeros below them and that of values that are not finite above."""

    low: int
    high: int
    has_top: bool

    @property
    def gap(self) -> float:
        return max(0.35, 0.08 * (self.high - self.low))

    @property
    def zero(self) -> float:
        return self.low - self.gap

    @property
    def top(self) -> float:
        return self.high + self.gap

    @property
    def range(self) -> list[float]:
        return [self.zero - 0.4 * self.gap, self.top + 0.4 * self.gap if self.has_top else self.high + 0.3 * self.gap]

    def place(self, sizes: np.ndarray) -> np.ndarray:
        """Heights (L,) of sizes: zeros on the line of zeros, NaN where there is no finite size."""
        with np.errstate(divide="ignore", invalid="ignore"):
            heights = np.where(sizes == 0, self.zero, np.log10(sizes))
        return np.where(np.isfinite(heights), heights, np.nan)

    def ticks(self) -> dict[str, list]:
        step = max(1, math.ceil((self.high - self.low) / _TICKS))
        digits = (1, 2, 5) if self.high - self.low <= 2 else (1,)
        marks = [
            (digit, power)
            for power in range(self.low, self.high + 1, step)
            for digit in digits
            if power < self.high or digit == 1
        ]
        places = [self.zero, *(power + math.log10(digit) for digit, power in marks), *([self.top] * self.has_top)]
        texts = ["exactly 0", *(f"{digit}e{power}" for digit, power in marks), *(["not finite"] * self.has_top)]
        return {"tickvals": places, "ticktext": texts}


def gradient_flow_chart(
    lines: Sequence[FlowLine],
    keys: Sequence[FlowKey],
    *,
    size: str,
    sample: str = "seed",
    span: tuple[int, int] | None = None,
    theme: Literal["light", "dark"] = "light",
) -> go.Figure:
    """Size against relative depth, from the first layer on the left to the last on the right.

    A line is the median of the n, a band reaches from the smallest to the largest. Sizes of exactly 0 lie on a dotted
    line below the decades, and those that are not finite on one above. All panels share both axes; `span` fixes the
    decades, so that several figures share them. `size` names the measured value, `sample` the n.
    """
    panels = list(dict.fromkeys(line.panel for line in lines)) or [""]
    columns = 1 if len(panels) == 1 else 3 if len(panels) in (3, 5, 6) else 2
    rows = -(-len(panels) // columns)
    low, high = flow_span(lines) if span is None else span
    axis = _Axis(low, high, any(line.band.not_finite.any() for line in lines))
    figure = make_subplots(
        rows=rows,
        cols=columns,
        shared_yaxes=True,
        shared_xaxes=True,
        subplot_titles=[escape_html(panel) for panel in panels] if len(panels) > 1 else None,
        horizontal_spacing=0.02,
        vertical_spacing=0.24 / rows,
    )
    height = _TALL if rows == 1 else _SHORT
    for number, panel in enumerate(panels):
        place = {"row": number // columns + 1, "col": number % columns + 1}
        own = [line for line in lines if line.panel == panel]
        for line in own:
            figure.add_traces(_traces(line, axis, sample), rows=place["row"], cols=place["col"])
        figure.add_trace(_labels(own, axis, height), **place)
        for y in [axis.zero, axis.top] if axis.has_top else [axis.zero]:
            figure.add_hline(y=y, line={"color": GREY, "width": 1, "dash": "dot"}, **place)
    for key in keys:
        mark = {"symbol": "square", "size": 6, "color": key.colour}
        line_style = {"color": key.colour, "width": 2, "dash": "dash" if key.dashed else "solid"}
        mode, name = "lines+markers" if key.squares else "lines", escape_html(key.text)
        figure.add_scatter(
            x=[None], y=[None], mode=mode, marker=mark, line=line_style, name=name, showlegend=True, row=1, col=1
        )
    word = TEXT_COLOURS[theme]
    figure.update_xaxes(
        range=[-(0.03 + 0.014 * columns * max((len(line.label) for line in lines), default=0)), 1.02],
        tickvals=[0, 0.25, 0.5, 0.75, 1] if columns == 1 else [0, 0.5, 1],
        ticktext=["0<br>first", "0.25", "0.5", "0.75", "1<br>last"] if columns == 1 else ["0", "0.5", "1"],
        tickangle=0,
        showticklabels=True,
        fixedrange=True,
        zeroline=False,
        showgrid=False,
        tickfont={"color": word},
    )
    figure.update_yaxes(range=axis.range, **axis.ticks(), fixedrange=True, zeroline=False, tickfont={"color": word})
    depth = "relative depth" if columns > 1 else "relative depth: 0 is the first layer, 1 the last"
    figure.update_xaxes(title={"text": depth, "standoff": 4, "font": {"color": word}}, row=rows)
    figure.update_annotations(font={"size": 12, "color": word})
    words = escape_html(size) if rows == 1 else escape_html(size).replace(", ", ",<br>")
    figure.update_yaxes(title={"text": words, "font": {"color": word}}, row=(rows + 1) // 2, col=1)
    figure.update_layout(
        height=height * rows + 90,
        margin={"l": 0, "r": 8, "t": 30 if len(panels) > 1 else 8, "b": 60},
        legend=LEGEND | {"y": -86 / (height * rows), "yanchor": "top", "font": {"size": 12, "color": word}},
        hoverlabel={"font": {"color": word}},
        **STILL,
    )
    return figure


def _traces(line: FlowLine, axis: _Axis, sample: str) -> list[go.Scatter]:
    """The band and the line of one network, and its marks where sizes are 0 or not finite."""
    band = line.band
    common: dict[str, Any] = {"hovertemplate": f"<b>{escape_template(line.name)}</b><br>%{{customdata}}<extra></extra>"}
    common |= {"showlegend": False}
    layers = [escape_html(layer) for layer in band.layers]
    texts = [f"{layer}<br>{size:.3g}" for layer, size in zip(layers, band.median, strict=True)]
    if band.n > 1:
        texts = [
            f"{text}, median of {band.n} {sample}s<br>{low:.3g} to {high:.3g}"
            for text, low, high in zip(texts, band.low, band.high, strict=True)
        ]
    traces = [
        *(_bands(line, axis) if band.n > 1 else []),
        go.Scatter(
            x=list(band.depth),
            y=finite(axis.place(band.median)),
            mode="lines+markers" if line.squares or len(layers) < 3 else "lines",
            marker={"symbol": "square", "size": 6, "color": line.colour},
            line={"color": line.colour, "width": line.width, "dash": "dash" if line.dashed else "solid"},
            name=line.name,
            customdata=texts,
            **common,
        ),
    ]
    marks = ((band.zeros, axis.zero, "exactly 0", "circle-open"), (band.not_finite, axis.top, "not finite", "x-open"))
    for counts, y, words, symbol in marks:
        if found := np.flatnonzero(counts).tolist():
            traces.append(
                go.Scatter(
                    x=[float(band.depth[index]) for index in found],
                    y=[y] * len(found),
                    mode="markers",
                    marker={"symbol": symbol, "size": 8, "color": line.colour, "line": {"width": 1.5}},
                    name=f"{line.name}, {words}",
                    customdata=[f"{layers[at]}<br>{words} in {counts[at]} of {band.n} {sample}s" for at in found],
                    cliponaxis=False,
                    **common,
                )
            )
    return traces


def _bands(line: FlowLine, axis: _Axis) -> list[go.Scatter]:
    """One closed shape for each run of layers that have a finite size."""
    low, high = axis.place(line.band.low), axis.place(line.band.high)
    there = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    runs = np.split(there, np.flatnonzero(np.diff(there) > 1) + 1) if len(there) else []
    return [
        go.Scatter(
            x=[*map(float, line.band.depth[run]), *map(float, line.band.depth[run[::-1]])],
            y=[*map(float, high[run]), *map(float, low[run[::-1]])],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=translucent(line.colour, 0.18),
            hoverinfo="skip",
            name=f"{line.name}, band",
            showlegend=False,
        )
        for run in runs
    ]


def _labels(lines: Sequence[FlowLine], axis: _Axis, height: int) -> go.Scatter:
    """The labels left of the lines, pushed apart where they would cover each other."""
    starts = []
    for line in lines:
        heights = axis.place(line.band.median)
        known = heights[np.isfinite(heights)]
        starts.append((float(known[0]) if len(known) else axis.top, line))
    starts.sort(key=lambda start: start[0])
    apart = _LINE / height * (axis.range[1] - axis.range[0])
    places: list[float] = []
    for wanted, _ in starts:
        places.append(max(wanted, places[-1] + apart) if places else wanted)
    limit = axis.range[1] - apart / 2
    for index in reversed(range(len(places))):
        places[index] = min(places[index], limit)
        limit = places[index] - apart
    return go.Scatter(
        x=[-0.012] * len(starts),
        y=places,
        mode="text",
        text=[escape_html(line.label) for _, line in starts],
        textposition="middle left",
        textfont={"size": 12, "color": [line.colour for _, line in starts]},
        hoverinfo="skip",
        cliponaxis=False,
        name="labels",
        showlegend=False,
    )
