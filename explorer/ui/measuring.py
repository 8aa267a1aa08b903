"""What takes long on a page: asked for by a click, with its cost before, progress, the time left and Stop."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, TypeVar

import streamlit as st

from explorer.ui import resources
from explorer.ui.markdown import as_text

T = TypeVar("T")
Work = Iterator[tuple[float, T | None]]
"""Shares 0..1 of what is done, each with None, and at the end 1 with the result."""
MOST_KEPT = 24
DRAW_EVERY = 0.2  # seconds between two drawings of the progress


def measure(
    key: str, label: str, work: Callable[[], Work[T]], draw: Callable[[T], None], *, seconds: float | None = None
) -> None:
    """A button `label` that starts `work`; what comes of it is drawn, and kept for the session under `key`, which
    must hold everything that the result depends on. `seconds` is what it is expected to take.

    It is a fragment: the rest of the page stays as it is meanwhile. Stop, or any other click, ends the work between
    two shares. A ValueError of `work` is shown as its sentence.
    """
    st.fragment(_measure)(key, label, work, draw, seconds)


def _measure(
    key: str, label: str, work: Callable[[], Work[T]], draw: Callable[[T], None], seconds: float | None
) -> None:
    if key in _kept():
        draw(_kept()[key])
        return
    place = st.empty()
    cost = f" (about {duration(seconds)})" if seconds is not None else ""
    if not place.button(f"{label}{cost}", key=f"measure-{key}"):
        return
    try:
        result = _followed(place, key, work)
    except ValueError as error:
        place.error(as_text(str(error)))
        return
    place.empty()
    if result is not None:
        keep(key, result)
        draw(result)


def _followed(place: Any, key: str, work: Callable[[], Work[T]]) -> T | None:
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text="Starting")
        st.button("Stop", key=f"stop-{key}")  # any click ends this run of the script, and with it the work
    started = drawn = time.monotonic()
    with closing(work()) as steps:  # type: ignore[type-var]  # all of ours are generators
        while True:
            with resources.PASSES:  # step by step, so that others get their turn between two
                share, result = next(steps, (1.0, None))
            now = time.monotonic()
            if share >= 1:
                return result
            if now - drawn > DRAW_EVERY:
                drawn = now
                left = (now - started) / max(share, 1e-3) * (1 - share)
                bar.progress(min(1.0, share), text=f"{share:.0%}, {duration(left)} left")


def result_of(key: str) -> Any:
    """What was measured under that key in this session, or None."""
    return _kept().get(key)


def keep(key: str, result: object) -> None:
    """Keeps a result, and drops the oldest where there are too many."""
    kept = _kept()
    kept.pop(key, None)
    kept[key] = result
    while len(kept) > MOST_KEPT:
        del kept[next(iter(kept))]


def _kept() -> dict[str, Any]:
    return st.session_state.setdefault("measured", {})


def duration(seconds: float) -> str:
    """8 s, 3 min, 1.5 h."""
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
