"""Colours of the networks, the lines of a chart as values, and how every chart begins."""

from collections.abc import Iterable, Mapping
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
_TYPE_PX = 12  # of Plotly, where a chart says nothing
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
    large = figure.to_dict()
    layout: dict[str, Any] = large["layout"]
    layout["font"] = {"size": _TYPE_PX} | layout.get("font", {})
    _enlarge_fonts(large, factor)
    sizes = [(layout, "height"), *((layout.get("margin", {}), side) for side in "lrtb")]
    for owner, name in sizes:
        if name in owner:
            owner[name] = round(owner[name] * factor)
    return go.Figure(large)


def _enlarge_fonts(part: Any, factor: float) -> None:
    children = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list | tuple) else ()
    for name, child in children:
        if str(name).endswith("font") and isinstance(child, dict) and "size" in child:
            child["size"] *= factor
        elif name != "template":
            _enlarge_fonts(child, factor)


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
