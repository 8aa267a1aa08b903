"""The query of the page's address, where the state of every page lives: read and written here alone.

A browser tells its address with every request. What it asks for before it has heard that a run changed the address
still tells the old one: over a slow connection two quick choices, or a choice and what the page itself asks for. Taken
at its word, it would take the change back.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

KEPT = 50  # queries
LATE_S = 10.0  # after a change; who tells an older address later than that has been back there


@dataclass
class _Written:
    """The query that this session wrote last, when, and those that it replaced: to them nobody comes back but by the
    browser's own Back and Forward. Streamlit tells of these, unless something else is asked for at that moment."""

    now: dict[str, str]
    at: float
    replaced: list[dict[str, str]]


def query() -> dict[str, str]:
    """What stands in the address after the question mark, or will, as soon as the browser hears of it."""
    told = st.query_params.to_dict()
    written: _Written | None = st.session_state.get("address")
    if written is None or told == written.now:
        return told
    if told not in written.replaced or _has_gone_back() or time.monotonic() - written.at > LATE_S:
        forget()
        return told
    st.query_params.from_dict(written.now)
    return dict(written.now)


def write(changed: Mapping[str, str]) -> None:
    """Puts that there instead."""
    before, now = query(), dict(changed)
    written: _Written | None = st.session_state.get("address")
    replaced = [*(written.replaced if written else ()), before]
    st.session_state["address"] = _Written(now, time.monotonic(), [each for each in replaced if each != now][-KEPT:])
    st.query_params.from_dict(now)


def forget() -> None:
    """The address was changed by somebody else: another page, or a step back."""
    st.session_state.pop("address", None)


def _has_gone_back() -> bool:
    run = get_script_run_ctx()
    return run is not None and run.is_history_navigation
