"""Tables in, charts out: the probabilities of classes; the lines of a training as values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import plotly.graph_objects as go

from explorer.figures.names import escaped, shortened

# One colour a network on every page. Light and dark variants of Okabe and Ito's vermilion and blue, which people with
# any common colour blindness can tell apart.
NETWORK_COLOURS = {
    "light": {"plain": "#C2540A", "residual": "#0A6CB0"},
    "dark": {"plain": "#F0883E", "residual": "#58AEE8"},
}
# Text on the page's own background, where Streamlit would write in a grey of less than 4.5:1.
TEXT_COLOURS = {"light": "#10171A", "dark": "#FFFFFF"}
DASHES = ("solid", "dash", "dot", "dashdot")  # tell networks of one family, and so of one colour, apart
_WIDEST = 28  # letters of a class name beside a bar


@dataclass(frozen=True)
class Series:
    """One network in a chart; `dash` is one of `DASHES`."""

    title: str
    colour: str
    dash: str = "solid"


def network_colour(shortcut: str, theme: Literal["light", "dark"]) -> str:
    """The colour of a network with these shortcuts ("none" makes it plain) in `theme`."""
    return NETWORK_COLOURS[theme]["plain" if shortcut == "none" else "residual"]


def classes_chart(names: Sequence[str], probabilities: Sequence[float], colour: str, target: str) -> go.Figure:
    """Horizontal bars of probabilities, the most probable on top; an arrow marks the explained class."""
    shown_names = [escaped(shortened(name, _WIDEST)) for name in names]
    labels = [f"<b>▸ {text}</b>" if name == target else text for name, text in zip(names, shown_names, strict=True)]
    return go.Figure(
        go.Bar(
            x=list(probabilities),
            y=labels,
            orientation="h",
            marker={"color": colour, "opacity": [1.0 if name == target else 0.55 for name in names]},
            text=[f"{value:.1%}" for value in probabilities],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        ),
        layout=dict(
            height=28 * len(names) + 34,
            margin={"l": 0, "r": 60, "t": 4, "b": 24},
            xaxis={"range": [0, 1], "tickformat": ".0%", "tickvals": [0, 0.5, 1], "tickangle": 0, "fixedrange": True},
            yaxis={"autorange": "reversed", "automargin": True, "fixedrange": True, "ticks": ""},
            bargap=0.25,
            showlegend=False,
        ),
    )
