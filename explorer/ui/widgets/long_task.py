"""A task that takes long: a button with its expected time, then progress, the time left and Stop."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar, cast

import streamlit as st

from explorer.attribution import Share
from explorer.errors import user_message
from explorer.labels import duration
from explorer.ui.markdown import as_sentence
from explorer.ui.services.inference import INFERENCE_SLOTS
from explorer.ui.session import session

T = TypeVar("T")
TaskSteps = Iterator[tuple[float, T | None] | Share[T]]
"""Fractions 0..1 of the task, each with None, and at the end 1 with the result: as pairs, or each as a `Share`."""
PROGRESS_INTERVAL_S = 0.2


def long_task(
    key: str,
    label: str,
    work: Callable[[], TaskSteps[T]],
    draw: Callable[[T], None],
    *,
    seconds: float | None = None,
    start: bool = False,
    on_click: Callable[[], None] = lambda: None,
) -> None:
    """A button `label` that starts `work` and draws its result. The session keeps the result under `key`, which names
    all that it depends on. `seconds` is the expected time. With `start` the work starts without a click; `on_click` is
    called at one.

    Stop, or any other click, ends the work between two steps. This is no fragment: Streamlit does not interrupt a
    script for a click in a fragment. A ValueError of `work` is shown as its sentence.
    """
    if (known := session().results.find(key)) is not None:
        draw(known)
        return
    place = st.empty()
    if start or session().requested_task == key:
        session().requested_task = ""  # before the work: a click ends this run in the middle of it
        try:
            result = _run_with_progress(place, key, work)
        except ValueError as error:
            place.empty()
            st.error(as_sentence(user_message(error)))
            result = None
        if result is not None:
            place.empty()
            session().results.put(key, result)
            draw(result)
            return
    cost = f" (about {duration(seconds)})" if seconds is not None else ""
    place.button(f"{label}{cost}", key=f"measure-{key}", on_click=_request, args=(key, on_click))


def _request(key: str, on_click: Callable[[], None]) -> None:
    session().requested_task = key
    on_click()


def _run_with_progress(place: Any, key: str, work: Callable[[], TaskSteps[T]]) -> T | None:
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text="Starting")
        st.button("Stop", key=f"stop-{key}")  # any click ends this run of the script, and with it the work
    started = drawn = time.monotonic()
    with closing(work()) as steps:  # type: ignore[type-var]  # all of ours are generators
        while True:
            with INFERENCE_SLOTS:  # for each step alone, so that other sessions get one between two
                step = next(steps, None)
            if step is None:
                return None
            fraction, result = _fraction_and_result(step)
            if result is not None:
                return cast(T, result)
            now = time.monotonic()
            if now - drawn > PROGRESS_INTERVAL_S:
                drawn = now
                left = (now - started) / max(fraction, 1e-3) * (1 - fraction)
                bar.progress(min(1.0, fraction), text=f"{fraction:.0%}, {duration(left)} left")


def _fraction_and_result(step: tuple[float, Any] | Share[Any]) -> tuple[float, Any]:
    return (step.share, step.result) if isinstance(step, Share) else step


def run_sequentially(works: Sequence[Callable[[], TaskSteps[Any]]]) -> Generator[Share[list[Any]], None, None]:
    """All of them as one task, whose result is the list of theirs. Closing it closes the one that runs."""
    results: list[Any] = []
    for index, work in enumerate(works):
        with closing(work()) as steps:  # type: ignore[type-var]  # all of ours are generators
            for step in steps:
                fraction, result = _fraction_and_result(step)
                if result is not None:
                    results.append(result)
                    break
                yield Share((index + min(fraction, 1.0)) / len(works))
    yield Share(1.0, results)


def cached_result(key: str) -> Any:
    """The result of that task in this session, or None."""
    return session().results.find(key)
