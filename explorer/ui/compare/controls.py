"""The widgets of Compare. Those of a `CompareState` write into the URL, the only place where the state lives."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from explorer.labels import SCOPES
from explorer.ui import dataset_access, network_registry
from explorer.ui.compare import measurements
from explorer.ui.compare.comparison import ComparedNetwork, load_state, update_state
from explorer.ui.compare.measurements import Request
from explorer.ui.compare.state import FEWEST, MOST, CompareState
from explorer.ui.widgets import long_task
from explorer.ui.widgets.bound import bound, choice

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
        st.warning("A comparison takes two networks, so the last two stay. Add another one first.")


def _change_networks(chosen: list[str]) -> None:
    before = load_state()
    if len(chosen) < FEWEST or before is None:
        st.session_state["compare_too_few"] = True
        return
    same = network_registry.class_names(chosen[0]) == network_registry.class_names(before.networks[0])
    update_state(networks=tuple(chosen), **({} if same else {"target": None}))


def choose_view(state: CompareState) -> None:
    choose = partial(choice, state, prefix="compare", change=update_state)
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
        write=lambda depth: update_state(depth=round(depth, 4)),
        width=320,
        help="0 is the input, 1 the output. Of each network the layer nearest to it is shown.",
    )


# --- measurements on a dataset ---------------------------------------------------------------------------------------


def choose_data(options: Sequence[str], kind: str) -> str:
    return st.selectbox(
        "Pictures",
        list(options),
        key=f"many-{kind}-data",
        format_func=lambda data: f"test pictures of {dataset_access.data_title(data)}",
        persist_state="session",
        width=300,
    )


def choose_count(data: str, counts: Sequence[int], default: int, kind: str, everything: bool = False) -> int:
    """One of `counts` that are fewer than the test images; with `everything` also all of them."""
    total = measurements.test_count(data)
    options = [count for count in counts if count < total]
    if everything or not options:
        options.append(total)
    chosen = default if default in options else options[-1]
    return st.selectbox(
        "How many",
        options,
        index=options.index(chosen),
        key=f"many-{kind}-n-{data}-{options[-1]}",
        format_func=lambda count: f"all {count:,}" if count == total else f"{count:,}",
        persist_state="session",
        width=140,
    )


def measure(request: Request, compared: Sequence[ComparedNetwork], draw: Callable[[dict[str, Any]], None]) -> None:
    """Draws the results of all networks by name; a button measures those that are not known yet."""
    lacking = measurements.networks_to_measure(request, compared)
    if not lacking:
        draw({network.name: measurements.find_result(request, network.name) for network in compared})
        return
    count = "1 network" if len(lacking) == 1 else f"{len(lacking)} networks"
    long_task.long_task(
        request.key(*(network.name for network in compared)),
        f"Measure {count} on {request.n:,} pictures",
        lambda: measurements.run(request, compared),
        draw,
        seconds=measurements.seconds(request, lacking),
    )
