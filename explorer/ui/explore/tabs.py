"""The tabs under the depth strip."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from explorer.ui.explore import controls
from explorer.ui.services.explore_state import AppState, Tab

TABS: Mapping[Tab, str] = {
    "layer": "Layer",
    "block": "Block",
    "methods": "More methods",
    "channels": "Channels",
    "trust": "Can I trust this map?",
}


def open_tab(state: AppState) -> tuple[Tab, Any]:
    """The tab that is open, and the place for its content; the others stay empty and cost nothing."""
    st.session_state["tab"] = TABS[state.tab]
    titles = {title: tab for tab, title in TABS.items()}
    places = st.tabs(list(titles), key="tab", on_change=lambda: _open(titles[st.session_state["tab"]]))
    return next((tab, place) for tab, place in zip(TABS, places, strict=True) if place.open)


def _open(tab: Tab) -> None:
    controls.update_state(tab=tab)
