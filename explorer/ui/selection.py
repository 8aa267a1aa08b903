"""What the viewer owns: layer, channel, scale and opacity. It keeps them in the fragment of the address.

The server needs them where it draws a panel about the chosen layer. The viewer then tells it. A link from before the
viewer, or from another page, holds them in the query: the viewer is told once, as the `initial` selection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from explorer.ui.services.explore_state import SELECTION_FIELDS, AppState
from explorer.ui.session import session


@dataclass
class _Selection:
    """`entry` counts what the server told the viewer: `initial`, None where the viewer keeps what it has. `page` counts
    the visits, `linked` is what the query held, `values` what the server knows of the selection. `confirmed`: the
    viewer has told its selection in this visit, which the fragment of a link may hold."""

    entry: int
    page: int
    linked: dict[str, Any]
    initial: dict[str, Any] | None
    values: dict[str, Any]
    confirmed: bool


def apply(state: AppState) -> AppState:
    """The state with the selection that the viewer has, as far as the server knows."""
    return replace(state, **_current(state).values)


def change(state: AppState, **changes: Any) -> None:
    """The server changes the selection: the viewer follows at the next run. Raises ValueError or TypeError for what is
    none."""
    current = _current(state)
    changed = replace(state, **current.values | changes)
    current.entry += 1
    current.initial = current.values = of(changed)


def take(told: Any) -> None:
    """What the browser tells of its selection, which may be anything."""
    current: _Selection | None = st.session_state.get("selection")
    if current is None or not isinstance(told, Mapping):
        return
    current.confirmed = True
    try:
        current.values = of(replace(AppState(), **{name: told[name] for name in SELECTION_FIELDS if name in told}))
    except (ValueError, TypeError):
        return


def is_known() -> bool:
    """Whether the viewer has told its selection, after `apply` in the same run. Without a browser there is none."""
    return st.session_state["selection"].confirmed or st.context.url is None


def for_viewer() -> dict[str, Any]:
    """The fields of the viewer's data that concern the selection, after `apply` in the same run."""
    current: _Selection = st.session_state["selection"]
    told = {"entry": current.entry, "initial": current.initial, "selection": current.values}
    return {"visit": current.page, "confirmed": current.confirmed, **told}


def of(state: AppState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in SELECTION_FIELDS}


def _current(state: AppState) -> _Selection:
    """That of this visit of the page: a link that was opened begins anew, a page that is entered again goes on."""
    current: _Selection | None = st.session_state.get("selection")
    linked = of(state)
    page = session().entries
    is_default = linked == of(AppState())
    if current is None or page != current.page or (linked != current.linked and not is_default):
        again = current is not None and is_default and session().entered_again
        values = current.values if again and current else linked
        entry = current.entry + 1 if current else 1
        confirmed = bool(again and current and current.confirmed)
        current = _Selection(entry, page, linked, None if again else linked, values, confirmed)
        st.session_state["selection"] = current
    current.linked = linked
    return current
