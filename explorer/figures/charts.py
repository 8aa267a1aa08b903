"""Tables in, charts out: probabilities, predictions of sample pictures, the lines of a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from explorer.figures.names import escaped, shortened
from explorer.figures.tiles import data_uri, shown

# One colour a network on every page. Light and dark variants of Okabe and Ito's vermilion and blue, which people with
# any common colour blindness can tell apart.
NETWORK_COLOURS = {
    "light": {"plain": "#C2540A", "residual": "#0A6CB0"},
    "dark": {"plain": "#F0883E", "residual": "#58AEE8"},
}
# Text on the page's own background, where Streamlit would write in a grey of less than 4.5:1.
TEXT_COLOURS = {"light": "#10171A", "dark": "#FFFFFF"}
_SIDE = 72  # pixels of a sample picture
_LINE = 16  # pixels of a line below it
_WIDEST = 28  # letters of a class name beside a bar
_LONGEST = 13  # letters of a class name that fit beside its mark and probability; hovering shows all


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


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a training chart. `points` marks single measurements (validation at the end of an epoch) with dots;
    a running value has none. `dashed` tells the second network of a family from the first."""

    name: str
    colour: str
    steps: Sequence[int]
    values: Sequence[float | None]
    dashed: bool = False
    points: bool = False


@dataclass(frozen=True)
class Prediction:
    """What a network says about one picture: a class and its probability, None where it is not a number."""

    label: str
    probability: float | None


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one network says about each of some pictures."""

    title: str
    colour: str
    predictions: Sequence[Prediction]


def predictions_chart(
    pictures: Sequence[np.ndarray],
    labels: Sequence[str],
    networks: Sequence[Predictions],
    *,
    theme: Literal["light", "dark"] = "light",
    columns: int = 6,
) -> go.Figure:
    """Pictures, uint8 (H, W, 3), in rows of `columns`; under each its label and a line for each network in its colour.

    A line is ✓ or ✗, the predicted class and its probability; above all of them stands how many each network has
    right. For `st.plotly_chart(figure, config={"displayModeBar": False})`.
    """
    rows = -(-len(pictures) // columns)
    step = _SIDE + _LINE * (len(networks) + 1) + 12
    top = _LINE + 10
    x = [index % columns + 0.5 for index in range(len(pictures))]
    y = [top + index // columns * step for index in range(len(pictures))]
    texts = []
    for line, network in enumerate([None, *networks]):
        lines = [
            f"<b>{_cut(label)}</b>" if network is None else _line(network.predictions[index], label)
            for index, label in enumerate(labels)
        ]
        hover = [
            escaped(label if network is None else f"{network.title}: {network.predictions[index].label}, label {label}")
            for index, label in enumerate(labels)
        ]
        font = {"size": 11, "color": TEXT_COLOURS[theme] if network is None else network.colour}
        at = [value + _SIDE + _LINE * (line + 0.75) for value in y]
        text = {"mode": "text", "text": lines, "textfont": font, "hovertext": hover, "hoverinfo": "text"}
        texts.append(go.Scatter(x=x, y=at, showlegend=False, **text))
    place = {"sizex": 1, "sizey": _SIDE, "xref": "x", "yref": "y", "xanchor": "center", "yanchor": "top"}
    images = [
        {"source": data_uri(shown(pixels, _SIDE)), "x": x[index], "y": y[index], "sizing": "contain", **place}
        for index, pixels in enumerate(pictures)
    ]
    scores = [
        f'<span style="color:{network.colour}"><b>{escaped(network.title)}</b>: {_right(network, labels)} of '
        f"{len(labels)} right</span>"
        for network in networks
    ]
    score: dict[str, Any] = {"text": "     ".join(scores), "x": 0, "y": 0, "xref": "paper", "yref": "y"}
    score |= {"xanchor": "left", "yanchor": "top", "showarrow": False}
    height = top + rows * step
    axis: dict[str, Any] = {"visible": False, "fixedrange": True}
    return go.Figure(
        texts,
        layout=dict(
            height=height,
            margin={"l": 0, "r": 0, "t": 0, "b": 0},
            xaxis={**axis, "range": [0, columns]},
            yaxis={**axis, "range": [height, 0]},
            images=images,
            annotations=[score],
            hovermode="closest",
            hoverlabel={"font": {"color": TEXT_COLOURS[theme]}},
            dragmode=False,
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
        ),
    )


def _cut(label: str) -> str:
    """As Plotly writes it: it reads tags, and a class may have any name."""
    return escaped(shortened(label, _LONGEST))


def _line(prediction: Prediction, label: str) -> str:
    share = "not a number" if prediction.probability is None else f"{prediction.probability:.0%}"
    return f"{'✓' if prediction.label == label else '✗'} {_cut(prediction.label)} {share}"


def _right(network: Predictions, labels: Sequence[str]) -> int:
    return sum(prediction.label == label for prediction, label in zip(network.predictions, labels, strict=True))
