"""Colours of the networks, the lines of a chart as values, and how every chart begins."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go

from explorer.figures.text_escaping import escape_html, escape_template, shortened

# Light and dark variants of Okabe and Ito's vermilion and blue: people with any common colour blindness can tell them
# apart.
NETWORK_COLOURS = {
    "light": {"plain": "#C2540A", "residual": "#0A6CB0"},
    "dark": {"plain": "#F0883E", "residual": "#58AEE8"},
}
# Streamlit would write the text of a chart in a grey of less than 4.5:1.
TEXT_COLOURS = {"light": "#10171A", "dark": "#FFFFFF"}
GREY = "#80868A"  # 3:1 against the background of both themes, as WCAG asks of graphics, and in no palette
LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": {"text": ""}}
LEGEND |= {"itemclick": False, "itemdoubleclick": False}
STILL = {"hovermode": "closest", "dragmode": False, "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}
_TYPE_PX, _TITLE_PX = 12, 14  # on the page, where a chart says nothing
_SIDE_ROOM_PX = 16  # for larger labels at the ends of an axis
_LONGEST = 60  # letters of a network's title in a legend
DASHES = ("solid", "dash", "dot", "dashdot")  # tell networks of one family, and so of one colour, apart


@dataclass(frozen=True)
class Series:
    """One network in a chart; `dash` is one of `DASHES`."""

    title: str
    colour: str
    dash: str = "solid"


def network_colour(shortcut: str, theme: Literal["light", "dark"]) -> str:
    """The colour of a network with these shortcuts ("none" makes it plain) in `theme`."""
    return NETWORK_COLOURS[theme]["plain" if shortcut == "none" else "residual"]


def empty_chart(
    height: int, margin: tuple[int, int, int], xaxis: Mapping[str, Any], yaxis: Mapping[str, Any], **layout: Any
) -> go.Figure:
    """A chart without lines that cannot be zoomed; its margins are those on the right, at the top and at the bottom."""
    right, top, bottom = margin
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 0, "r": right, "t": top, "b": bottom},
            "xaxis": {"fixedrange": True, **xaxis},
            "yaxis": {"fixedrange": True, "automargin": True, **yaxis},
            "legend": LEGEND,
            **layout,
        }
    )


def enlarged(figure: go.Figure, factor: float) -> go.Figure:
    """The same chart with larger type, and more height and margins for it."""
    large = go.Figure(figure)
    layout = large.layout
    bars = [each.colorbar for each in (layout.coloraxis, *large.data) if "colorbar" in each and each.colorbar]
    owners = [*large.select_xaxes(), *large.select_yaxes(), *bars]
    others = [each.font for each in (layout, layout.legend, layout.hoverlabel, *layout.annotations)]
    others += [each.textfont for each in large.data if "textfont" in each]
    titles = [each.title.font for each in owners]
    # Each by itself: the theme of the page has sizes for all of them.
    for fonts, usual in ((titles, _TITLE_PX), ([*(each.tickfont for each in owners), *others], _TYPE_PX)):
        for font in fonts:
            font.size = (font.size or usual) * factor
    for side in "lrtb":
        room = _SIDE_ROOM_PX if side in "lr" else 0
        layout.margin[side] = None if layout.margin[side] is None else layout.margin[side] * factor + room
    for bar in bars:
        if bar.orientation == "h":
            bar.ypad = _TYPE_PX / 2  # its title is above it
    layout.height = layout.height and layout.height * factor
    return large


def log_axis(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis with ticks at 1, 2 and 5 of each decade between two sizes, or at powers of ten alone where
    there would be too many. Each is written out: Plotly's own ticks between two powers say "2" and "5" alone."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, math.ceil(len(decades) / 6))
    digits = (1, 2, 5) if len(decades) <= 3 else (1,)
    ticks = [float(f"{digit}e{decade}") for decade in decades[::every] for digit in digits]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:.3g}" for tick in ticks]}


def log_axis_of(sizes: Sequence[float | None]) -> dict[str, Any]:
    """The same for all sizes that are finite and above zero."""
    found = [size for size in sizes if size is not None and 0 < size < math.inf]
    return log_axis(min(found, default=1.0), max(found, default=1.0))


def add_line(figure: go.Figure, series: Series, x: Iterable[Any], y: Iterable[Any], hover: str, **more: Any) -> None:
    """Draws a line with markers; hovering shows `hover`, a template of Plotly, and the title of the network."""
    figure.add_scatter(
        x=list(x),
        y=list(y),
        line={"color": series.colour, "dash": series.dash, "width": 2},
        hovertemplate=f"{hover}<extra>{escape_template(series.title)}</extra>",
        **{"mode": "lines+markers", "name": escape_html(shortened(series.title, _LONGEST))} | more,
    )


def translucent(colour: str, opacity: float) -> str:
    """`#RRGGBB` with that opacity, as CSS."""
    red, green, blue = bytes.fromhex(colour[1:])
    return f"rgba({red},{green},{blue},{opacity})"
