"""The frame of a question that has to be measured: its plan, its button, its limits and its downloads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from explorer.figures import Chapter, Part
from explorer.files import csv_bytes
from explorer.ui import lesson, navigation
from explorer.ui.markdown import as_text
from explorer.ui.session import session
from explorer.ui.widgets.long_task import TaskSteps, long_task

STARTS_BY_ITSELF = 30.0  # seconds of what a link may measure without a click


@dataclass(frozen=True, eq=False)
class Plan:
    """One measurement of some networks: `key` names all that it depends on.

    `cost` says in words what has to be computed; it takes about `seconds`, 0 where all of it is known. `work` measures
    what is not known yet. `known` is what is known, None where nothing is. Of that, `answer` gives sentences first,
    then charts and tables, and `rows` those of a CSV file. Downloads are made outside of the session.
    `kept` says in a sentence whose answers were measured before, "" for none, and `again` is the key, the work and the
    seconds of measuring them once more. `links` draws links below the answer.
    """

    key: str
    cost: str
    seconds: float
    work: Callable[[], TaskSteps[Any]]
    known: Any
    answer: Callable[[Any], Sequence[Part]]
    rows: Callable[[Any], Sequence[Sequence[str]]]
    source: str
    kept: str = ""
    again: tuple[str, Callable[[], TaskSteps[Any]], float] | None = None
    links: Callable[[], None] = lambda: None


def offer(plan: Plan, page: str, is_asked: bool, ask: Callable[[], None]) -> None:
    """The button that measures what is not known yet. A link that asks for it (`is_asked`) starts it, once, where that
    is quick; a click calls `ask`, which puts that into the link. Of answers that were measured before the page says so,
    and they can be measured again. Keys of widgets begin with `page`."""
    if plan.kept:
        st.caption(as_text(plan.kept))
    if not plan.seconds:
        if plan.again:
            key, work, seconds = plan.again
            _measure(key, "Measure again", work, seconds)
        return
    started = f"{page}_started"
    starts = is_asked and plan.seconds <= STARTS_BY_ITSELF and st.session_state.get(started) != plan.key

    def begin() -> None:
        st.session_state[started] = plan.key
        ask()

    if starts:
        st.session_state[started] = plan.key
    st.caption(f"This takes {plan.cost}.")
    _measure(plan.key, "Measure", plan.work, plan.seconds, start=starts, on_click=begin)


def _measure(key: str, label: str, work: Callable[[], TaskSteps[Any]], seconds: float, **options: Any) -> None:
    """A task whose work keeps its results itself, network by network. The task's own result only says that it ended,
    under a key that no result of a network has: with one network both may have the same words."""
    task = f"task/{key}"

    def run_anew(_: object) -> None:
        session().results.remove(task)
        st.rerun()

    long_task(task, label, work, run_anew, seconds=seconds, **options)


def show_limits(limits: Sequence[str]) -> None:
    """What the answer does not show, where a lesson does not hide it."""
    if not lesson.hides("text"):
        with st.expander("What this does not show"):
            st.markdown("\n".join(f"- {each}" for each in limits))


def take_home(
    title: str, method: str, limits: Sequence[str], plan: Plan, parts: Sequence[Part], stem: str, page: str
) -> None:
    """The CSV file and the report of an answer, whose files begin with `stem`."""
    with st.container(horizontal=True):
        navigation.download_button(
            "Results (CSV)",
            data=lambda: csv_bytes(plan.rows(plan.known)),
            file_name=f"{stem}.csv",
            mime="text/csv",
            key=f"{page}-csv",
        )
        chapters = [Chapter(title, [method, *parts, plan.source, *limits])]
        navigation.report_button(title, lambda: chapters, stem, f"{page}-report")
