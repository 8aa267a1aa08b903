"""What the app remembers of one visitor beside the address of the page: each value that more than one file uses.

A key of `st.session_state` that one file alone uses, as of a widget, stays in that file.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from explorer.experiments.gradient_flow import GradientFlow
from explorer.ui.build_state import BuildState
from explorer.ui.passes import Pictures
from explorer.ui.services.caches import CACHES, LruCache

_KEY = "session"
_first = threading.Lock()  # a run and the one that replaces it may come at once: both get the same object


@dataclass(frozen=True)
class Awaited:
    """A link that waits for the network `name`, which its `query` names: it opens `page` when the network is here."""

    page: str
    query: dict[str, str]
    name: str


@dataclass(eq=False)
class SessionData:
    """One object for each session. A run that was replaced may still hold it beside the run that replaced it: each
    change begins with a call of `session`, where Streamlit ends a run that was replaced."""

    owner: str = ""
    """The visitor's secret, as long as the browser has not sent it in a cookie."""
    page: str = ""
    """The name of the page that is shown."""
    pages: dict[str, st.Page] = field(default_factory=dict)
    """All pages by name."""
    views: dict[str, dict[str, str]] = field(default_factory=dict)
    """The query of the address that each page had last, by its name."""
    entries: int = 0
    """How often the visitor has entered a page."""
    entered_again: bool = False
    """Whether the page was entered by the menu, and shows what it showed before."""
    first_form: BuildState | None = None
    """The form of Build & train before the visitor has chosen anything, once it is known."""
    build_tab: str | None = None
    """The tab that Build & train opens at its next run."""
    awaited: Awaited | None = None
    titles: dict[str, str] = field(default_factory=dict)
    """What the visitor calls the uploaded networks, by name."""
    pictures: Pictures = field(default_factory=Pictures)
    asked: str = ""
    """The key of the measurement that a click has just asked for."""
    results: LruCache[Any] = field(default_factory=lambda: LruCache(CACHES["ui.session.SessionData.results"]))
    """What was measured, by the keys of `work.measure`."""
    flows: LruCache[GradientFlow] = field(default_factory=lambda: LruCache(CACHES["ui.session.SessionData.flows"]))
    """The gradients that were measured, by network, seed and data."""

    def view(self, page: str) -> dict[str, str]:
        """The query that the page of that name had last, empty where it was not shown yet."""
        return self.views.get(page, {})


def session() -> SessionData:
    """This session's own."""
    try:
        return st.session_state[_KEY]
    except KeyError:
        with _first:
            return st.session_state.setdefault(_KEY, SessionData())
