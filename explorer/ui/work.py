"""What takes long on a page: asked for by a click, with its cost before, progress, the time left and Stop."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

import streamlit as st

from explorer.attribution import Share
from explorer.errors import user_message
from explorer.ui.markdown import as_sentence
from explorer.ui.passes import PASSES
from explorer.ui.session import session

T = TypeVar("T")
Work = Iterator[tuple[float, T | None] | Share[T]]
"""Shares 0..1 of what is done, each with None, and at the end 1 with the result: as pairs, or each as a `Share`."""
DRAW_EVERY = 0.2  # seconds between two drawings of the progress


def measure(
    key: str, label: str, work: Callable[[], Work[T]], draw: Callable[[T], None], *, seconds: float | None = None
) -> None:
    """A button `label` that starts `work`; what comes of it is drawn, and kept for the session under `key`, which
    must hold everything that the result depends on. `seconds` is what it is expected to take.

    Stop, or any other click, ends the work between two shares. It is no fragment: a click in one waits until the
    script that runs has ended (`_fragment_run_should_not_preempt_script` in Streamlit 1.67), so its Stop would stop
    nothing. A ValueError of `work` is shown as its sentence.
    """
    if (known := session().results.find(key)) is not None:
        draw(known)
        return
    place = st.empty()
    if session().asked == key:
        session().asked = ""  # before the work, so that it is over when a click has ended it
        try:
            result = _followed(place, key, work)
        except ValueError as error:
            place.empty()
            st.error(as_sentence(user_message(error)))
            result = None
        if result is not None:
            place.empty()
            session().results.keep(key, result)
            draw(result)
            return
    cost = f" (about {duration(seconds)})" if seconds is not None else ""
    place.button(f"{label}{cost}", key=f"measure-{key}", on_click=_ask, args=(key,))


def _ask(key: str) -> None:
    session().asked = key


def _followed(place: Any, key: str, work: Callable[[], Work[T]]) -> T | None:
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text="Starting")
        st.button("Stop", key=f"stop-{key}")  # any click ends this run of the script, and with it the work
    started = drawn = time.monotonic()
    with closing(work()) as steps:  # type: ignore[type-var]  # all of ours are generators
        while True:
            with PASSES:  # step by step, so that others get their turn between two
                step = next(steps, None)
            if step is None:
                return None
            share, result = (step.share, step.result) if isinstance(step, Share) else step
            if result is not None:
                return result
            now = time.monotonic()
            if now - drawn > DRAW_EVERY:
                drawn = now
                left = (now - started) / max(share, 1e-3) * (1 - share)
                bar.progress(min(1.0, share), text=f"{share:.0%}, {duration(left)} left")


def in_turn(works: Sequence[Callable[[], Work[Any]]]) -> Generator[Share[list[Any]], None, None]:
    """One work after the other, as one: last the list of their results. Closing it ends the one that is going on."""
    results: list[Any] = []
    for index, work in enumerate(works):
        with closing(work()) as steps:  # type: ignore[type-var]  # all of ours are generators
            for step in steps:
                share, result = (step.share, step.result) if isinstance(step, Share) else step
                if result is not None:
                    results.append(result)
                    break
                yield Share((index + min(share, 1.0)) / len(works))
    yield Share(1.0, results)


def result_of(key: str) -> Any:
    """What was measured under that key in this session, or None."""
    return session().results.find(key)


def duration(seconds: float) -> str:
    """8 s, 3 min, 1.5 h."""
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
