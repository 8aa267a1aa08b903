"""The query of the page's URL, which holds the state of every page: read and written here alone.

The browser sends its query with every request. Requests sent before it has received our change still carry the old
query; applying it would undo the change.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from explorer.ui import streamlit_internals

MAX_SUPERSEDED = 50  # queries
STALE_AFTER_S = 10.0  # a superseded query that comes later counts as Back


@dataclass
class _PendingQuery:
    """The query that this session wrote last, when, and those that it superseded. The user can only return to these
    through Back or Forward. Streamlit reports Back, unless another request comes at that moment."""

    now: dict[str, str]
    at: float
    superseded: list[dict[str, str]]


def read() -> dict[str, str]:
    """The query of the URL, or the one that the browser is about to receive."""
    received = st.query_params.to_dict()
    pending = _pending()
    if pending is None or received == pending.now:
        return received
    is_stale = received in pending.superseded and time.monotonic() - pending.at <= STALE_AFTER_S
    if not is_stale or streamlit_internals.is_history_navigation():
        reset()
        return received
    st.query_params.from_dict(pending.now)
    return dict(pending.now)


def write(query: Mapping[str, str]) -> None:
    before, now = read(), dict(query)
    pending = _pending()
    superseded = [*(pending.superseded if pending else ()), before]
    superseded = [each for each in superseded if each != now][-MAX_SUPERSEDED:]
    st.session_state["url_query"] = _PendingQuery(now, time.monotonic(), superseded)
    st.query_params.from_dict(now)


def reset() -> None:
    """Forgets what this session wrote: the URL is that of another page."""
    st.session_state.pop("url_query", None)


def _pending() -> _PendingQuery | None:
    return st.session_state.get("url_query")
