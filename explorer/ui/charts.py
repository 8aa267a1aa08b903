"""Charts on a page, and the scale of colours beside maps."""

from functools import cache
from typing import Any

import streamlit as st

from explorer import figures
from explorer.figures import Series
from explorer.ui import lesson
from explorer.ui.services.inference import NetworkResult
from explorer.ui.streamlit_internals import PRESENTED


def series_of(network: NetworkResult) -> Series:
    return Series(network.title, network.colour, "dash" if network.dashed else "solid")


def chart(figure: Any, key: str, alt: str) -> None:
    """Draws a Plotly figure without its bar of tools; `alt` is the text for those who cannot see it."""
    if lesson.is_presented():
        figure = figures.enlarged(figure, PRESENTED)
    st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=alt)


@cache
def _bar(palette: str) -> bytes:
    """The bar as a PNG file: it is the same at every rerun."""
    return figures.png(figures.colour_bar(palette))


def colour_bar(palette: str, words: str) -> None:
    with st.container(width="content"):
        st.image(_bar(palette), output_format="PNG", alt=f"Colour scale. {words}")
        st.caption(words)
