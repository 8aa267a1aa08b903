"""The widgets that edit an `AppState`.

The URL alone holds the state. A widget gets its value from the state; its callback writes the user's change into the
URL, where the next run reads it.
"""

from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.ui import bar, missing, network_registry, selection, url_query
from explorer.ui.services.explore_state import SELECTION_FIELDS, AppState
from explorer.ui.widgets.bound import bound


def load_state() -> AppState:
    """The state in the URL, with available and comparable networks; an old link may name others."""
    state = selection.apply(AppState.from_query(url_query.read()))
    if not network_registry.network_names():
        return state
    first, second = network_registry.pair(state.first, state.second)
    return replace(state, first=first, second=second)


def missing_networks() -> dict[str, str]:
    """The missing networks of the URL by their places."""
    state = AppState.from_query(url_query.read())
    return missing.missing_networks((state.first, state.second))


def update_state(**changes: Any) -> None:
    """Writes the state with these changes into the URL, or tells the viewer, which owns the selection. The URL goes on
    naming missing networks until the user chooses others, since the user may bring them."""
    state, before = load_state(), AppState.from_query(url_query.read())
    if not {"first", "second"} & set(changes) and missing_networks():
        state = replace(state, first=before.first, second=before.second)
    selected = {name: changes.pop(name) for name in SELECTION_FIELDS if name in changes}
    if selected:
        selection.change(before, **selected)
    changed = replace(state, **changes)
    url_query.write(replace(changed, **selection.of(AppState())).to_query())


def take_choice(received: Any) -> None:
    """Shows what was chosen in the viewer."""
    if changes := bar.parse_choice(received):
        update_state(**changes)


def unit_query(state: AppState, unit: Any) -> dict[str, str] | None:
    """The query of the page of a unit, {"layer", "channel", "network"} with the place of the network in the pair; None
    for anything else."""
    match unit:
        case {"layer": str(layer), "channel": int(channel), "network": 0 | 1 as network}:
            pair = {name: value for name, value in state.to_query().items() if name in bar.fields_of("experiments")}
            place = ("first", "second")[network]
            return pair | {"question": "unit", "layer": layer, "channel": str(channel), "network": place}
    return None


def channel_input(key: str, channel: int | None, channels: int, strongest: int, help: str) -> int:
    """The number of a channel, that of the `strongest` where the user has chosen none."""
    return int(
        bound(
            st.number_input,
            "Channel",
            0,
            channels - 1,
            key=key,
            value=channel if channel is not None and channel < channels else min(strongest, channels - 1),
            write=lambda chosen: update_state(channel=chosen),
            help=help,
            width=140,
        )
    )
