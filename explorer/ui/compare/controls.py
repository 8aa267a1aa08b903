"""The widgets that edit a `CompareState`. As in `ui/controls.py`, the URL is the only place where the state lives."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from explorer.ui import resources
from explorer.ui.compare.compared import change, read
from explorer.ui.compare.state import FEWEST, MOST, CompareState
from explorer.ui.controls import PREDICTED, class_label

SCOPES = {"layer": "layer", "network": "network", "both": "all"}
GRIDS = {"smooth": "smooth", "true": "true grid"}


def _on_change(key: str, field: str, convert: Callable[[Any], Any] = lambda value: value) -> Callable[[], None]:
    return lambda: change(**{field: convert(st.session_state[key])})


def choose_networks(state: CompareState) -> None:
    names = resources.labels([*dict.fromkeys([*resources.network_names(), *state.networks])])
    st.session_state["compare_networks"] = list(state.networks)
    st.multiselect(
        "Networks",
        list(names),
        key="compare_networks",
        format_func=lambda name: names[name],
        max_selections=MOST,
        on_change=_on_networks,
        help="Two to four. The first is the one that the others are compared with. More are on the page Models.",
    )
    if st.session_state.pop("compare_too_few", False):
        st.warning("It takes two networks to compare, so the last two stay: add another one first.")


def _on_networks() -> None:
    chosen = tuple(st.session_state["compare_networks"])
    before = read()
    if len(chosen) < FEWEST or before is None:
        st.session_state["compare_too_few"] = True
        return
    same = resources.class_names(chosen[0]) == resources.class_names(before.networks[0])
    change(networks=chosen, **({} if same else {"target": None}))


def choose_target(state: CompareState) -> None:
    first, *others = (resources.class_names(name) for name in state.networks)
    shared = [index for index, name in enumerate(first) if all(name in names for names in others)]
    st.session_state["compare_target"] = state.target if state.target in shared else PREDICTED
    st.selectbox(
        "Class to explain",
        [PREDICTED, *shared],
        key="compare_target",
        format_func=lambda index: class_label(index, first),
        on_change=_on_change("compare_target", "target", lambda index: None if index == PREDICTED else index),
        disabled=not shared,
        help="A class that all of these networks know.",
    )


def choose_view(state: CompareState) -> None:
    st.session_state["compare_scope"] = state.scope
    st.segmented_control(
        "One colour scale for each",
        list(SCOPES),
        key="compare_scope",
        format_func=lambda scope: SCOPES[scope],
        on_change=_on_change("compare_scope", "scope"),
        required=True,
        help="Layer: the networks can be compared at one relative depth. Network: the layers of one network can be "
        "compared. All: one scale for everything; weak maps then look empty.",
    )
    st.session_state["compare_grid"] = state.grid
    st.segmented_control(
        "Draw the maps",
        list(GRIDS),
        key="compare_grid",
        format_func=lambda grid: GRIDS[grid],
        on_change=_on_change("compare_grid", "grid"),
        required=True,
        help="True grid: a map of 8×8 is drawn as 8×8 squares, which is all that the layer knows. Smooth: enlarged "
        "with values in between, which is easier to read and looks finer than it is.",
    )


def choose_depth(state: CompareState) -> None:
    st.session_state["compare_depth"] = state.depth
    st.slider(
        "Relative depth",
        0.0,
        1.0,
        step=0.01,
        key="compare_depth",
        on_change=_on_change("compare_depth", "depth", lambda depth: round(depth, 4)),
        width=320,
        help="0 is the input, 1 the output. Of each network the layer nearest to it is shown.",
    )
