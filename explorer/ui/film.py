"""The film of a training on the pages that the server draws: a slider along the kept steps, and a button.

While it plays, its steps stand in no address: the page shows them one after the other, and Back leads to the view
before. The step at which it rests goes into the address. On Explore the viewer does the same without a run of the page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from explorer.ui import network_registry, url_query
from explorer.ui.api.film import COLOURS
from explorer.ui.api.film import film as film_of
from explorer.ui.services.explore_state import AppState
from explorer.ui.session import session
from explorer.ui.viewer import place

_KEY = "paged_film"
_place = place(_KEY, "<div class='paged'><section class='film' hidden></section></div>", ("film.css",), "film.js")


@dataclass(frozen=True)
class _Frame:
    """A step that a film shows at the moment, while the page was entered `entries` times and has that `query`."""

    step: int | None
    query: dict[str, str]
    entries: int


def shown_step(written: int | None) -> int | None:
    """The step that the page shows: that of the film while it plays, else the one `written` in the address."""
    frame: _Frame | None = st.session_state.get("film_frame")
    if frame and frame == _Frame(frame.step, url_query.read(), session().entries):
        return frame.step
    return written


def show(names: Sequence[str], step: int | None, rest: Callable[[int | None], None], scale: str = COLOURS) -> None:
    """Draws the film of these networks at that step, or nothing where no weights of the past are kept of any. `rest` is
    called with the step at which a person rests; `scale` says what all steps share."""
    offered = network_registry.offered_networks(names)
    if not offered.film(names):
        return
    heard = st.session_state.get("film_heard", 0)
    data = {"film": film_of(offered.beside(names), offered, scale), "step": step, "heard": heard}
    _place(data=data, on_step_change=lambda: _take(st.session_state[_KEY]["step"], rest))


def _take(received: Any, rest: Callable[[int | None], None]) -> None:
    """What comes from the browser, which may be anything."""
    match received:
        case {"step": int() | None as step, "plays": bool(plays), "number": int(number)}:
            pass
        case _:
            return
    st.session_state["film_heard"] = number
    try:
        AppState(step=step)
    except ValueError:
        return
    if plays:
        st.session_state["film_frame"] = _Frame(step, url_query.read(), session().entries)
        return
    st.session_state.pop("film_frame", None)
    rest(step)
