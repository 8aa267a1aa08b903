"""The diagram of a network, from the input on the left to the logits on the right."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import plotly.graph_objects as go

from explorer.architectures import Description
from explorer.figures.charts import GREY, LEGEND, STILL, TEXT_COLOURS, network_colour
from explorer.figures.network_layout import JUMP, LARGEST, DiagramLayout, Group, layout_network, times
from explorer.labels import SHORTCUTS_OF_BLOCKS

_FAINT = "rgba(128,140,146,0.12)"
_BAND = (-LARGEST / 2 - 9, LARGEST / 2 + JUMP + 9)  # bottom and top of the band behind a stage, in pixels
_LINE = 15  # pixels of a line of small print above it
_ROW = 17  # pixels of a row of the legend; a phone has room for two entries in it
_NARROWEST_PAGE = 310  # pixels of the drawing on a phone: decides how the labels are broken into lines
_ONE_LINE, _NAME = 60, 48  # pixels that a shape takes, as 16×32×32, and a name, as stage 1

# In the order of the legend; the share is how much of the network's colour its box takes.
_KINDS = {
    "conv": ("convolution", 0.35),
    "block": ("block", 0.5),
    "norm": ("BatchNorm", 0.12),
    "activation": ("activation", 0.9),
    "gain": ("gain", 0.6),
    "pool": ("pooling", 0.4),
    "linear": ("fully connected", 0.8),
}


@dataclass(frozen=True)
class _Palette:
    """A network's colour in one theme. Fills are opaque, so that the line of the main path ends at a box."""

    colour: str
    base: str
    word: str

    def fill(self, kind: str) -> str:
        if kind not in _KINDS:
            return self.base
        share = _KINDS[kind][1]
        parts = zip(bytes.fromhex(self.line(kind)[1:]), bytes.fromhex(self.base[1:]), strict=True)
        return "#" + "".join(f"{round(share * own + (1 - share) * other):02X}" for own, other in parts)

    def line(self, kind: str) -> str:
        """Grey outside of the blocks, where plain and residual networks are the same."""
        return self.colour if kind in ("conv", "block", "norm", "activation", "gain") else GREY


_BASES = {"light": "#FFFFFF", "dark": "#0D1113"}


@lru_cache(maxsize=32)
def network_drawing(
    description: Description, *, theme: Literal["light", "dark"] = "light", legend: bool = True
) -> go.Figure:
    """The network from left to right: input, stem, stages, head; blocks with their shortcut and sum; shapes above.

    Up to `CONVOLUTIONS_SHOWN` convolutions each has a box, with its BatchNorm and activation as slim boxes behind it;
    above that each block is one box. A box is the taller the more pixels its output has. Every layer of the
    description has one point that answers to hovering with its name, kind, output shape, parameters, MACs and
    receptive field.

    Horizontal places do not depend on the shortcut, so twins under each other stand layer above layer. The background
    is transparent; `theme` decides the colours of network and text. The figure is kept: do not change it.
    """
    drawn = layout_network(description)
    spec = description.spec
    palette = _Palette(network_colour(spec.shortcut, theme), _BASES[theme], TEXT_COLOURS[theme])
    names = {kind: name for kind, (name, _) in _KINDS.items()}
    names["activation"] = spec.activation_name
    labels = [_label(group, drawn.width) for group in drawn.groups]
    top = _BAND[1] + 7 + _LINE * max(label.count("<br>") + 1 for label in labels)
    axis = {"visible": False, "fixedrange": True}
    traces = [
        _bands(drawn),
        _main_path(drawn),
        *_boxes(drawn, palette, names, legend),
        *_shortcuts(drawn, palette, legend),
        *_shortcut_gains(drawn, palette, spec.shortcut_gain, legend),
        _labels(drawn, labels, palette),
        _points(drawn, names),
    ]
    entries = sum(bool(trace.showlegend) for trace in traces)
    below = 8 + _ROW * math.ceil(entries / 2) if legend else 0
    return go.Figure(
        traces,
        layout=dict(
            height=round(top - _BAND[0]) + below,
            margin={"l": 4, "r": 4, "t": 0, "b": below},
            xaxis={**axis, "range": [0, round(drawn.width, 3)]},
            yaxis={**axis, "range": [_BAND[0], top]},
            annotations=[_word(x, text, palette) for x, text in drawn.words],
            legend=LEGEND | {"y": 0, "yanchor": "top", "font": {"size": 10}},
            hoverdistance=30,
            hoverlabel={"font": {"color": palette.word}},
            **STILL,
        ),
    )


def _bands(drawn: DiagramLayout) -> go.Scatter:
    """A faint band behind the stem, each stage and the head."""
    low, high = _BAND
    x: list[float | None] = []
    for group in drawn.groups[1:]:
        left, right = round(group.x, 3), round(group.x + group.width, 3)
        x += [left, right, right, left, left, None]
    y = [low, low, high, high, low, None] * (len(drawn.groups) - 1)
    return _silent(x, y, fill="toself", fillcolor=_FAINT, line={"width": 0})


def _main_path(drawn: DiagramLayout) -> go.Scatter:
    ends = [round(group.x + group.width / 2, 3) for group in (drawn.groups[0], drawn.groups[-1])]
    return _silent(ends, [0, 0], line={"color": GREY, "width": 1.5})


def _boxes(drawn: DiagramLayout, palette: _Palette, names: dict[str, str], legend: bool) -> list[go.Scatter]:
    """One trace for each kind of box, in the order of the legend."""
    return [
        _silent(
            *drawn.boxes[kind],
            fill="toself",
            fillcolor=palette.fill(kind),
            line={"color": palette.line(kind), "width": 1},
            name=names.get(kind, kind),
            showlegend=legend and kind in names,
        )
        for kind in [*names, *(kind for kind in drawn.boxes if kind not in names)]
        if kind in drawn.boxes
    ]


def _shortcuts(drawn: DiagramLayout, palette: _Palette, legend: bool) -> list[go.Scatter]:
    """Solid for the identity, dotted where it takes pixels away and adds channels of zeros, a square on projections."""
    traces = []
    for kind, (name, _) in SHORTCUTS_OF_BLOCKS.items():
        if kind in drawn.shortcuts:
            dash = "3px,3px" if kind == "padded" else "solid"
            line = {"color": palette.colour, "width": 2 if drawn.detailed else 1.5, "dash": dash}
            own = legend and kind != "projection"
            traces.append(_silent(*drawn.shortcuts[kind], line=line, name=name, showlegend=own))
    if drawn.projections:
        # None between them: no line is drawn from square to square, but the legend shows both line and square.
        gapped = [point for place in drawn.projections for point in (place, (None, None))]
        traces.append(
            _silent(
                [x for x, _ in gapped],
                [y for _, y in gapped],
                mode="lines+markers",
                marker={"symbol": "square", "color": palette.colour, "size": 9 if drawn.detailed else 7},
                line={"color": palette.colour, "width": 2},
                name=SHORTCUTS_OF_BLOCKS["projection"].short,
                showlegend=legend,
            )
        )
    if drawn.sums:
        marker = {
            "symbol": "circle-cross" if drawn.detailed else "circle",
            "size": 12 if drawn.detailed else 5,
            "color": palette.base,
            "line": {"color": palette.colour, "width": 1.5},
        }
        zeros = [0] * len(drawn.sums)
        traces.append(_silent(drawn.sums, zeros, mode="markers", marker=marker, name="sum", showlegend=legend))
    return traces


def _shortcut_gains(drawn: DiagramLayout, palette: _Palette, gain: float, legend: bool) -> list[go.Scatter]:
    """A diamond on each shortcut that is multiplied by a number."""
    if not drawn.gains:
        return []
    x, y = zip(*drawn.gains, strict=True)
    marker = {
        "symbol": "diamond",
        "size": 10 if drawn.detailed else 6,
        "color": palette.base,
        "line": {"color": palette.colour, "width": 1.5},
    }
    return [_silent([*x], [*y], mode="markers", marker=marker, name=f"shortcut × {gain:g}", showlegend=legend)]


def _labels(drawn: DiagramLayout, labels: Sequence[str], palette: _Palette) -> go.Scatter:
    """Its label above each group."""
    return _silent(
        [round(group.x + group.width / 2, 3) for group in drawn.groups],
        [_BAND[1] + 3] * len(drawn.groups),
        mode="text",
        text=labels,
        textposition="top center",
        textfont={"size": 11, "color": palette.word},
        cliponaxis=False,
    )


def _label(group: Group, total: float) -> str:
    """The group's name, its output's channels × height × width, and how many blocks it has, in lines that do not reach
    into the next group on a phone."""
    name, (shape, *blocks) = group.name, group.lines
    pixels = group.width / total * _NARROWEST_PAGE
    shape = shape.replace(" × ", "×")
    if pixels < _ONE_LINE:
        shape = shape.replace("×", "×<br>", 1 if len(shape) < len("16×112×112") else 2)
    if pixels < _NAME:
        name, shape, blocks = name.replace(" ", "<br>"), shape.replace(" classes", "<br>classes"), []
    return "<br>".join([f"<b>{name}</b>", shape, *blocks])


def _word(x: float, text: str, palette: _Palette) -> dict[str, Any]:
    font = {"size": 10, "color": palette.word}
    return {"x": round(x, 3), "y": 0, "text": text, "textangle": -90, "showarrow": False, "font": font}


def _points(drawn: DiagramLayout, names: dict[str, str]) -> go.Scatter:
    """One invisible point a layer."""
    return go.Scatter(
        x=[round(x, 3) for x, _, _ in drawn.points],
        y=[round(y, 1) for _, y, _ in drawn.points],
        mode="markers",
        marker={"size": 10, "opacity": 0, "color": GREY},
        customdata=[
            [
                layer.name,
                names.get(layer.kind, layer.kind),
                times(layer.output_shape),
                layer.parameters,
                layer.macs,
                layer.receptive_field,
            ]
            for _, _, layer in drawn.points
        ],
        hovertemplate=(
            "<b>%{customdata[0]}</b> (%{customdata[1]})<br>output %{customdata[2]}<br>%{customdata[3]:,} parameters"
            "<br>%{customdata[4]:,} MACs<br>sees %{customdata[5]} × %{customdata[5]} input pixels<extra></extra>"
        ),
        name="layers",
        showlegend=False,
    )


def _silent(x: list[Any], y: list[Any], **rest: Any) -> go.Scatter:
    """A trace that does not answer to hovering and stays out of the legend unless asked in."""
    return go.Scatter(x=x, y=y, **{"mode": "lines", "hoverinfo": "skip", "showlegend": False} | rest)
