"""The widgets that edit a `CompareState`. As in `explore/controls.py`, the state lives in the URL alone."""

from functools import partial

import streamlit as st

from explorer.labels import SCOPES
from explorer.ui import network_registry
from explorer.ui.compare.compared import change, read
from explorer.ui.compare.state import FEWEST, MOST, CompareState
from explorer.ui.widgets.bound import bound, choice
from explorer.ui.widgets.pickers import class_select

GRIDS = {"smooth": "smooth", "true": "true grid"}


def choose_networks(state: CompareState) -> None:
    names = network_registry.unique_labels([*dict.fromkeys([*network_registry.network_names(), *state.networks])])
    bound(
        st.multiselect,
        "Networks",
        list(names),
        key="compare_networks",
        value=list(state.networks),
        write=_change_networks,
        format_func=names.__getitem__,
        max_selections=MOST,
        help="Two to four. The first is the one that the others are compared with. More are on the page Models.",
    )
    if st.session_state.pop("compare_too_few", False):
        st.warning("It takes two networks to compare, so the last two stay: add another one first.")


def _change_networks(chosen: list[str]) -> None:
    before = read()
    if len(chosen) < FEWEST or before is None:
        st.session_state["compare_too_few"] = True
        return
    same = network_registry.class_names(chosen[0]) == network_registry.class_names(before.networks[0])
    change(networks=tuple(chosen), **({} if same else {"target": None}))


def choose_target(state: CompareState) -> None:
    first, *others = (network_registry.class_names(name) for name in state.networks)
    shared = [index for index, name in enumerate(first) if all(name in names for names in others)]
    more = {"disabled": not shared, "help": "A class that all of these networks know."}
    class_select("compare_target", state.target, shared, first, change, **more)


def choose_view(state: CompareState) -> None:
    choose = partial(choice, state, prefix="compare", change=change)
    choose(
        "scope",
        "One colour scale for each",
        SCOPES,
        help="Layer: the networks can be compared at one relative depth. Network: the layers of one network can be "
        "compared. All: one scale for everything; weak maps then look empty.",
    )
    choose(
        "grid",
        "Draw the maps",
        GRIDS,
        help="True grid: a map of 8×8 is drawn as 8×8 squares, which is all that the layer knows. Smooth: enlarged "
        "with values in between, which is easier to read and looks finer than it is.",
    )


def choose_depth(state: CompareState) -> None:
    bound(
        st.slider,
        "Relative depth",
        0.0,
        1.0,
        step=0.01,
        key="compare_depth",
        value=state.depth,
        write=lambda depth: change(depth=round(depth, 4)),
        width=320,
        help="0 is the input, 1 the output. Of each network the layer nearest to it is shown.",
    )
