"""The chart of the trust table: how often each map points at the object, with its interval."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from explorer.figures.charts import GREY, Series, add_line, empty_chart
from explorer.figures.text_escaping import escape_html

Span = tuple[float, float, float]
"""A share, and its interval from the lower to the upper end."""
_ROW_PX = 24


def pointing_chart(networks: Sequence[tuple[Series, Mapping[str, Span]]], centre: str, covered: float) -> go.Figure:
    """The share of pictures whose largest value lies on the object, by the title of the map, from top to bottom in the
    order of the first network. A dashed line is each network's own map called `centre`, the grey one the object's mean
    share of the picture, `covered`."""
    names = list(dict.fromkeys(name for _, shares in networks for name in shares))
    places = {name: len(names) - 1 - index for index, name in enumerate(names)}
    xaxis = {"title": {"text": "share of the images"}, "tickformat": ".0%", "range": [0, 1.02]}
    yaxis = {
        "tickvals": list(places.values()),
        "ticktext": list(map(escape_html, places)),
        "range": [-0.6, len(names) - 0.4],
        "zeroline": False,
    }
    figure = empty_chart(90 + _ROW_PX * len(names), (20, 34, 40), xaxis, yaxis, hovermode="closest")
    for index, (series, shares) in enumerate(networks):
        shift = ((len(networks) - 1) / 2 - index) * 0.26  # so that intervals stand beside each other
        values, lows, highs = zip(*shares.values(), strict=True)
        bars = {
            "type": "data",
            "array": [high - value for value, high in zip(values, highs, strict=True)],
            "arrayminus": [value - low for value, low in zip(values, lows, strict=True)],
            "thickness": 1.5,
            "width": 0,
        }
        texts = [
            f"{escape_html(name)}: {value:.1%}, {low:.1%} to {high:.1%}" for name, (value, low, high) in shares.items()
        ]
        add_line(
            figure, series, values, [places[name] + shift for name in shares], "%{customdata}", mode="markers",
            customdata=texts, error_x=bars, marker={"size": 7, "color": series.colour, "symbol": _SYMBOLS[index]},
        )  # fmt: skip
        if centre in shares:
            figure.add_vline(x=shares[centre][0], line={"color": series.colour, "dash": "dash", "width": 1.5})
    note = {"text": f"chance: {covered:.1%}", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    figure.add_vline(x=covered, line={"color": GREY, "dash": "dot", "width": 1.5}, annotation=note)
    return figure


_SYMBOLS = ("circle", "diamond", "square", "cross")  # no network by colour alone
