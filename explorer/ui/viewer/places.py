"""The places of the viewer on the page, which Streamlit mounts, and the values that the browser sends from them."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from explorer.ui.viewer import place

_LEAD = """
<div class="lead"><h3>All layers, input to output</h3><p><b>Grad-CAM</b>: where this layer's channels
support the explained class; the bar under it is its largest value. <b>Most active channel</b>: its feature map.
Look for where the object appears and how strong it is there. Does the gradient keep its size on the way back to the
input? Click a layer for its detail.</p></div>
"""
_connection = place("connection", "", ())
introduction = place("introduction", "<div class='introduction'></div>", ("introduction.css",))
overview = place(  # predictions and depth strip
    "overview",
    "<div class='overview'><p class='error' role='alert' hidden></p>"
    "<p class='loading' aria-hidden='true'></p>"
    f"<div class='looking'><div class='own-input'></div><div class='around'></div></div>{_LEAD}"
    "<div class='strip'></div><div class='rows'></div></div>",
    ("scale.css", "own_input.css", "predictions.css", "strip.css", "rows.css", "picture_tools.css", "loading.css"),
)
film = place("film", "<section class='film' aria-label='Step of the training' hidden></section>", ("film.css",))
changes_panel = place(
    "changes", "<section class='changes' aria-label='Changes of the networks'></section>", ("changes.css",)
)
layer_header = place("header", "<div class='head'></div>", ("detail.css",))
layer_panel = place("layers", "<div class='layers'></div>", ("scale.css", "detail.css", "picture_tools.css"))
arithmetic_panel = place(
    "arithmetic", "<div class='arithmetic'></div>", ("scale.css", "detail.css", "arithmetic.css", "picture_tools.css")
)
block_maps = place("blockmaps", "<div class='maps'></div>", ("block_maps.css",))
ending = place("ending", "<div class='around'><p class='finding'></p></div>", ("predictions.css",))
_bar = place("bar", "<div class='bar'></div>", ("bar.css", "gallery.css", "upload.css", "sheet.css", "loading.css"))


def connection(data: Mapping[str, Any], on_choice: Callable[[Any], None], on_selection: Callable[[Any], None]) -> Any:
    """Shows nothing: sends the viewer its view (`RunData` in types.d.ts). The browser sends what was chosen there, and
    the selection where a panel of the server needs it; both may be anything, as may the unit whose page is to be
    opened, which is returned: {"layer", "channel", "network"}, or None."""
    return _connection(
        data=data,
        height=0,
        on_choice_change=lambda: on_choice(st.session_state["connection"]["choice"]),
        on_selection_change=lambda: on_selection(st.session_state["connection"]["selection"]),
        on_unit_change=lambda: None,
    ).unit


def bar(data: Mapping[str, Any], on_choice: Callable[[Any], None]) -> None:
    """The bar above every page (`BarData` in types.d.ts). On a page without the viewer the browser sends what was
    chosen there, which may be anything."""
    _bar(data=data, on_choice_change=lambda: on_choice(st.session_state["bar"]["choice"]))
