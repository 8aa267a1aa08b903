"""What all parts of a layer's detail share: its head, which says which layer it is, and the tabs under it."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st

from explorer.ui import controls
from explorer.ui.explore.explained import Explained
from explorer.ui.explore.strip import StripRow, axis_of
from explorer.ui.packing import STORE
from explorer.ui.passes import Looked
from explorer.ui.state import AppState, Tab

TABS: Mapping[Tab, str] = {
    "layer": "Layer",
    "block": "Block",
    "methods": "More methods",
    "channels": "Channels",
    "trust": "Can I trust this map?",
}
VIEW = ("layer", "channel", "scope", "opacity")  # what the browser changes by itself; for a picture it has to ask

_HERE = Path(__file__).parent
SCALE = (_HERE / "scale.css").read_text()  # of the components that show a scale of colours

_head = st.components.v2.component(
    "layer_head",
    html="<div class='head'></div>",
    css=(_HERE / "detail.css").read_text(),
    js=STORE + (_HERE / "head.js").read_text(),
)


def rows_of(looked: list[Looked]) -> list[StripRow]:
    return [StripRow(network.title, network.colour, network.dashed, network.profiles) for network in looked]


def selected_layer(state: AppState, looked: list[Looked]) -> str:
    """The layer of the state where a network has it, else the last block: the deepest layer with feature maps."""
    axis = axis_of(rows_of(looked))
    if state.layer in axis:
        return state.layer
    if not axis:
        raise ValueError("no layer of these networks has maps of at least two pixels, so there is no depth to show.")
    blocks = [column.name for column in looked[0].profiles if column.kind == "block"]
    return blocks[-1] if blocks else axis[-1]


def detail_head(explained: Explained) -> None:
    """The name of the layer, and what all tabs share: which layer, how opaque an overlay is, and which maps share a
    scale. A change is drawn in the browser at once; then it comes here, and goes into the URL."""
    data = {"layers": list(axis_of(rows_of(explained.looked))), **view(explained, last_change())}
    _head(key="head", data=data, on_view_change=lambda: take_view("head"))


def last_change() -> int | None:
    """The number of the last change that the browser told of."""
    number: int | None = st.session_state.get("view_id")
    return number


def view(explained: Explained, change: int | None) -> dict[str, Any]:
    """What the browser is told of the view, and the last change that is in it."""
    state = explained.state
    shown = {name: getattr(state, name) for name in VIEW} | {"layer": selected_layer(state, explained.looked)}
    return {"drawing": explained.drawing, "id": change, "view": shown}


def take_view(key: str) -> None:
    """Puts into the URL what the browser says was changed in that component, which may be anything."""
    said = st.session_state[key]["view"]
    if not isinstance(said, dict):
        return
    number = said.get("id")
    st.session_state["view_id"] = number if isinstance(number, int) else None  # else what is refused is told again
    with suppress(ValueError, TypeError):
        controls.change(**{name: said[name] for name in (*VIEW, "picture") if name in said})


def open_tab(state: AppState) -> tuple[Tab, Any]:
    """The tab that is open, and the place for its content; the others stay empty and cost nothing."""
    st.session_state["tab"] = TABS[state.tab]
    titles = {title: tab for tab, title in TABS.items()}
    places = st.tabs(list(titles), key="tab", on_change=lambda: _open(titles[st.session_state["tab"]]))
    return next((tab, place) for tab, place in zip(TABS, places, strict=True) if place.open)


def _open(tab: Tab) -> None:
    controls.change(tab=tab)
