"""A scale of colours beside the maps that it is of, as a picture."""

from functools import cache

import streamlit as st

from explorer import figures


@cache
def _bar(palette: str) -> bytes:
    """The bar as a PNG file: it is the same at every rerun."""
    return figures.png(figures.colour_bar(palette))


def colour_bar(palette: str, words: str) -> None:
    with st.container(width="content"):
        st.image(_bar(palette), output_format="PNG", alt=f"Colour scale. {words}")
        st.caption(words)
