"""What the viewer owns: layer, channel, scale and opacity. It keeps them in the fragment of the address.

The server needs them where it draws a panel about the chosen layer. The viewer then sends them. A link from before the
viewer, or from another page, holds them in the query: the server sends them once, as the `initial` selection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from explorer.ui.services.explore_state import SELECTION_FIELDS, AppState
from explorer.ui.session import session


@dataclass
class _Selection:
    """`entry` counts the selections that the server sent to the viewer: `initial`, None where the viewer keeps its own.
    `page` counts the visits. `linked` is that of the query, `values` that which the server knows. `confirmed`: the
    viewer has sent its selection since a panel of the server is open. It sends nothing to the Layer tab."""

    entry: int
    page: int
    linked: dict[str, Any]
    initial: dict[str, Any] | None
    values: dict[str, Any]
    confirmed: bool


def apply(state: AppState) -> AppState:
    """The state with the selection that the viewer has, as far as the server knows."""
    current = _current(state)
    if state.tab == "layer":
        current.confirmed = False
    return replace(state, **current.values)


def change(state: AppState, **changes: Any) -> None:
    """The server changes the selection: the viewer follows at the next run. Raises ValueError or TypeError for what is
    none."""
    current = _current(state)
    changed = replace(state, **current.values | changes)
    current.entry += 1
    current.initial = current.values = of(changed)


def take(told: Any) -> None:
    """Stores the selection that the browser sends, which may be anything."""
    current: _Selection | None = st.session_state.get("selection")
    if current is None or not isinstance(told, Mapping):
        return
    current.confirmed = True
    try:
        current.values = of(replace(AppState(), **{name: told[name] for name in SELECTION_FIELDS if name in told}))
    except (ValueError, TypeError):
        return


def is_known() -> bool:
    """Whether the viewer has sent its selection to the open panel, after `apply` in the same run. Without a browser
    there is none."""
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
    linked, page = of(state), session().entries
    is_default = linked == of(AppState())
    if current and page != current.page and is_default and session().entered_again:
        current = replace(current, entry=current.entry + 1, page=page, initial=None)
    elif current is None or page != current.page or (linked != current.linked and not is_default):
        current = _Selection(current.entry + 1 if current else 1, page, linked, linked, linked, confirmed=False)
    current.linked = linked
    st.session_state["selection"] = current
    return current
