"""The query of the page's URL, which holds the state of every page: read and written here alone.

The browser sends its query with every request. Requests sent before it has received our change still carry the old
query; applying it would undo the change.

Some fields belong to no page. They travel: each view has them until `travel` takes them out.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from explorer.ui import streamlit_internals

TRAVELLING = ("hide", "present")
"""The fields that travel; `lesson` says what they mean."""

MAX_FIELD = 200  # characters
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
    """The query of the URL, or the one that the browser is about to receive, with all that travels."""
    received = st.query_params.to_dict()
    pending = _pending()
    if pending is not None and received != pending.now:
        is_stale = received in pending.superseded and time.monotonic() - pending.at <= STALE_AFTER_S
        if is_stale and not streamlit_internals.is_history_navigation():
            st.query_params.from_dict(pending.now)
            return dict(pending.now)
        st.session_state.pop("url_query")
    for name in {*TRAVELLING} & {*received}:
        _carry(name, received[name])
    between = st.session_state.get("between")
    return (between[1] if between and between[0] == _own(received) else _own(received)) | travelling()


def stands_for(query: Mapping[str, str]) -> None:
    """Lets the present address, which no page has written, mean that query. Writing it would add to the history, so
    that Back would never get past it."""
    st.session_state["between"] = (_own(st.query_params.to_dict()), _own(query))


def is_default() -> bool:
    """Whether this session has written an address without fields on this page, which then means the defaults."""
    return bool(st.session_state.get("wrote_defaults"))


def write(query: Mapping[str, str]) -> None:
    """Changes all fields but those that travel."""
    before = read()
    if not _own(query):
        st.session_state["wrote_defaults"] = True
        st.session_state.pop("between", None)
    _supersede(before, _own(query) | travelling())


def travelling() -> dict[str, str]:
    """The fields of the present view that travel."""
    return dict(st.session_state.get("travelling", {}))


def travel(name: str, value: str) -> None:
    """Changes a field that travels; "" takes it out."""
    before = read()
    _carry(name, value)
    _supersede(before, _own(before) | travelling())


def _supersede(before: dict[str, str], now: dict[str, str]) -> None:
    pending = _pending()
    # The browser adds what travels to an address that lacks it, so it may tell either.
    superseded = [*(pending.superseded if pending else ()), st.query_params.to_dict(), before]
    superseded = [each for each in superseded if each != now][-MAX_SUPERSEDED:]
    st.session_state["url_query"] = _PendingQuery(now, time.monotonic(), superseded)
    st.query_params.from_dict(now)


def _carry(name: str, value: str) -> None:
    kept = {**travelling(), name: value[:MAX_FIELD]}
    st.session_state["travelling"] = {name: kept[name] for name in TRAVELLING if kept.get(name)}


def _own(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if name not in TRAVELLING}


def reset() -> None:
    """Forgets what this session wrote: the URL is that of another page."""
    for key in ("url_query", "between", "wrote_defaults"):
        st.session_state.pop(key, None)


def _pending() -> _PendingQuery | None:
    return st.session_state.get("url_query")
