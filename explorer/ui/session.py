"""What the app remembers of one session beside the URL: each value that several files use.

A key of `st.session_state` that one file alone uses, as of a widget, stays in that file.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from explorer.experiments.gradient_flow import GradientFlow
from explorer.ui.api.explore_session import SESSIONS, ExploreSession
from explorer.ui.build_state import BuildState
from explorer.ui.services import input_images
from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import InferenceCache
from explorer.ui.services.input_images import InputImage, UploadStore

_KEY = "session"
_creation_lock = threading.Lock()  # a run and the one that supersedes it may come at once and need the same object


@dataclass(frozen=True)
class PendingLink:
    """A link whose network `name` is missing. It opens `page` with `query` once the network is available."""

    page: str
    query: dict[str, str]
    name: str


@dataclass(eq=False)
class SessionData:
    """One object for each session. A superseded run may still hold it beside its successor, so each change begins with
    a call of `session`, where Streamlit ends a superseded run."""

    owner: str = ""
    """The user's secret, once it was needed."""
    page: str = ""
    """The name of the page that is shown."""
    pages: dict[str, st.Page] = field(default_factory=dict)
    """All pages by name."""
    pair: dict[str, str] = field(default_factory=dict)
    """The networks, the picture and the class of the bar, as fields of a query, without what is as by default."""
    views: dict[str, dict[str, str]] = field(default_factory=dict)
    """The last query of each page, by its name."""
    entries: int = 0
    """How often the user has entered a page."""
    entered_again: bool = False
    """Whether the user entered the page by the menu, so that it shows its last view."""
    heard: int = 0
    """The number of the last choice in the viewer that a run has heard of."""
    first_form: BuildState | None = None
    """The form of Build & train before the user has chosen anything, once it was shown."""
    proposal: BuildState | None = None
    """The form that Build & train proposes for this machine, once its speed is known."""
    build_tab: str | None = None
    """The tab that Build & train opens at its next run."""
    pending_link: PendingLink | None = None
    uploads: UploadStore = field(default_factory=UploadStore)
    requested_task: str = ""
    """The key of the `long_task` that the last click started."""
    results: LruCache[Any] = field(default_factory=lambda: LruCache(CACHES["ui.session.SessionData.results"]))
    """Results by the keys of `long_task`."""
    flows: LruCache[GradientFlow] = field(default_factory=lambda: LruCache(CACHES["ui.session.SessionData.flows"]))
    """The gradients that were measured, by network, seed and data."""
    geometry: LruCache[Any] = field(default_factory=lambda: LruCache(CACHES["ui.session.SessionData.geometry"]))
    """The results of `gradient_geometry.measure`, by question, network, seed and data."""

    def view(self, page: str) -> dict[str, str]:
        """The last query of that page, empty before its first run."""
        return self.views.get(page, {})


def session() -> SessionData:
    """This session's own."""
    try:
        return st.session_state[_KEY]
    except KeyError:
        with _creation_lock:
            return st.session_state.setdefault(_KEY, SessionData())


@st.cache_resource(show_spinner=False, scope="session")
def inference_cache() -> InferenceCache:
    """This session's own. It goes as soon as the connection is lost, unlike `SessionData`."""
    return InferenceCache()


@st.cache_resource(show_spinner=False, scope="session")
def explore_session() -> ExploreSession:
    """What the browser of this session may ask for."""
    own = ExploreSession(inference_cache(), session().uploads)
    SESSIONS[own.token] = own
    return own


def find_image(state: AppState) -> InputImage | None:
    """The image of the view, None where another session uploaded it."""
    return input_images.find_image(state, session().uploads)
