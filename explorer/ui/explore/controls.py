"""The widgets that edit an `AppState`.

The URL alone holds the state. A widget gets its value from the state; its callback writes the user's change into the
URL, where the next run reads it.
"""

from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.ui import missing, network_registry, selection, url_query
from explorer.ui.services.explore_state import SELECTION_FIELDS, AppState
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.pickers import class_select, second_network_select


def load_state() -> AppState:
    """The state in the URL, with available and comparable networks; an old link may name others."""
    state = selection.apply(AppState.from_query(url_query.read()))
    names = network_registry.network_names()
    if not names:
        return state
    first, second = state.first, state.second
    if not network_registry.is_network(first):
        if second is not None and network_registry.is_network(second):
            beside = missing.substitute(second)
            first, second = (beside, second) if beside else (second, None)
        else:
            first = AppState.first if AppState.first in names else names[0]
    return replace(state, first=first, second=_comparable_network(first, second))


def missing_networks() -> dict[str, str]:
    """The missing networks of the URL by their places."""
    state = AppState.from_query(url_query.read())
    return missing.missing_networks((state.first, state.second))


def _comparable_network(first: str, second: str | None) -> str | None:
    """`second` where it has the classes of `first`, else the twin of `first`; None stays None."""
    fits = second is not None and second != first and network_registry.is_network(second)
    if second is None or (fits and network_registry.same_classes(first, second)):
        return second
    return network_registry.twin_name(first)


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


def network_selects(state: AppState) -> None:
    names = list(network_registry.network_names())
    names += [name for name in (state.first, state.second) if name and name not in names]  # of a link
    labels = network_registry.unique_labels(names)
    bound(
        st.selectbox,
        "First network",
        names,
        key="first",
        value=state.first,
        write=lambda name: set_first_network(name, load_state().second),
        format_func=labels.__getitem__,
    )
    known = network_registry.class_names(state.first)
    alike = [name for name in names if name != state.first and network_registry.class_names(name) == known]
    second_network_select(
        "second",
        state.second,
        alike,
        labels,
        update_state,
        help="Only networks that know the same classes can be compared.",
    )


def set_first_network(first: str, second: str | None) -> None:
    """Shows `first` with `second`, or with its twin. A target belongs to the classes that it was chosen from."""
    changes = {"first": first, "second": _comparable_network(first, second)}
    if not network_registry.same_classes(first, load_state().first):
        changes["target"] = None
    update_state(**changes)


def target_select(state: AppState, class_names: tuple[str, ...]) -> None:
    class_select("target", state.target, range(len(class_names)), class_names, update_state)


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


def layers_toggle(state: AppState) -> None:
    bound(
        st.toggle,
        "All layers",
        key="all_layers",
        value=state.layers == "all",
        write=lambda on: update_state(layers="all" if on else "main"),
        help="Also norms, activations, sums and pooling; otherwise convolutions, shortcuts and blocks.",
    )
