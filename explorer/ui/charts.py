"""Charts on a page, and the scale of colours beside maps."""

from functools import cache
from typing import Any

import streamlit as st

from explorer import figures
from explorer.figures import Series
from explorer.ui import lesson
from explorer.ui.services.inference import NetworkResult
from explorer.ui.streamlit_internals import PRESENTED
from explorer.ui.viewer import place

_tools = place("figure", "<div class='figure'></div>", ("picture_tools.css",), "figure.js")


def series_of(network: NetworkResult) -> Series:
    return Series(network.title, network.colour, "dash" if network.dashed else "solid")


def chart(figure: Any, key: str, alt: str, *, name: str = "", source: str = "") -> None:
    """Draws a Plotly figure, and buttons that save it as PNG and SVG as the page shows it.

    `alt` is the text for those who cannot see it, and stands below it in the file, with the `source`: networks,
    picture, n and seed. `name` is what the buttons call it, by default `alt` up to its first full stop.
    """
    if lesson.is_presented():
        figure = figures.enlarged(figure, PRESENTED)
    with st.container(key=f"figure-{key}", gap=None):
        # Plotly's own bar of tools saves one kind of file, without a title, and no key reaches it.
        st.plotly_chart(figure, key=key, config={"displayModeBar": False, "scrollZoom": False}, alt=alt)
        caption = " ".join(filter(None, (f"{alt.rstrip('. ')}.", source)))
        _tools(key=f"{key}-tools", data={"name": name or alt.partition(". ")[0], "caption": caption})


@cache
def _bar(palette: str) -> bytes:
    """The bar as a PNG file: it is the same at every rerun."""
    return figures.png(figures.colour_bar(palette))


def colour_bar(palette: str, words: str) -> None:
    with st.container(width="content"):
        st.image(_bar(palette), output_format="PNG", alt=f"Colour scale. {words}")
        st.caption(words)
