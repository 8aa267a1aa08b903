"""Experiments: questions to the networks that need a hand on them, each with its cost, its answer and its limits."""

from collections.abc import Sequence

import streamlit as st

from explorer.checkpoints import CheckpointError
from explorer.errors import user_message
from explorer.figures import Chapter, Part
from explorer.files import csv_text
from explorer.ui import lesson, navigation, network_registry
from explorer.ui.experiments import controls, lesions, pictures, robust, trust
from explorer.ui.experiments.question import AskedNetwork, Plan, Question
from explorer.ui.experiments.state import ExperimentsState, QuestionName
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.parts import draw
from explorer.ui.session import session
from explorer.ui.widgets.long_task import long_task

QUESTIONS: dict[QuestionName, Question] = {
    "lesions": lesions.question(),
    "shift": pictures.shift_question(),
    "dial": pictures.dial_question(),
    "attack": pictures.attack_question(),
    "robust": robust.question(),
    "trust": trust.question(),
}
STARTS_BY_ITSELF = 30.0  # seconds of what a link may measure without a click


def show() -> None:
    st.header("Experiments", anchor=False)
    if not network_registry.network_names():
        st.info("No network is here; train one on Build & train, or upload one on Models.")
        return
    try:
        _show(controls.load_state())
    except (CheckpointError, ValueError) as error:  # damaged since its name was listed, or data that cannot be read
        st.error(as_sentence(user_message(error)))


def _show(state: ExperimentsState) -> None:
    question = QUESTIONS[state.question]
    if not lesson.hides("controls"):
        controls.choose_question(state, {name: each.title for name, each in QUESTIONS.items()})
    networks = controls.asked_networks(state)
    network_registry.load_visibly(each.name for each in networks)
    st.subheader(question.title, anchor=False)
    lesson.explain(question.method)
    if not lesson.hides("controls"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            question.controls(state, networks)
            controls.choose_others(state, networks)
    controls.show_changes(question.own_dials and question.own_dials(state), question.takes_attack)
    plan = question.plan(state, networks)
    parts = plan.answer(plan.known) if plan and plan.known is not None else []
    if plan:
        _offer(state, plan)
        _draw(state, plan, parts)
    if not lesson.hides("text"):
        with st.expander("What this does not show"):
            st.markdown("\n".join(f"- {each}" for each in question.limits))
    if plan and parts:
        _take_home(question, plan, parts, networks)
    finding = next((part for part in parts if isinstance(part, str)), "")
    navigation.ending(finding, "build", "How deep can you train?")


def _offer(state: ExperimentsState, plan: Plan) -> None:
    """The button that measures what is not known yet. A link that asks for it starts it, once, where that is quick. Of
    answers that were measured before the page says so, and they can be measured again."""
    if plan.kept:
        st.caption(as_text(plan.kept))
    if not plan.seconds:
        if plan.again:
            key, work, seconds = plan.again
            long_task(key, "Measure again", work, lambda _: _run_anew(key), seconds=seconds)
        return
    starts = (
        state.measure and plan.seconds <= STARTS_BY_ITSELF and st.session_state.get("experiments_started") != plan.key
    )

    def ask() -> None:
        st.session_state["experiments_started"] = plan.key
        controls.update_state(measure=True)

    if starts:
        st.session_state["experiments_started"] = plan.key
    st.caption(f"This takes {plan.cost}.")
    long_task(
        plan.key, "Measure", plan.work, lambda _: _run_anew(plan.key), seconds=plan.seconds, start=starts, on_click=ask
    )


def _run_anew(key: str) -> None:
    session().results.remove(key)  # what was measured is kept network by network
    st.rerun()


def _draw(state: ExperimentsState, plan: Plan, parts: Sequence[Part]) -> None:
    draw(parts, f"experiments-{state.question}", plan.source)


def _take_home(question: Question, plan: Plan, parts: Sequence[Part], networks: Sequence[AskedNetwork]) -> None:
    stem = f"{question.title.rstrip('?').lower().replace(' ', '-')}-{'-'.join(each.name for each in networks)}"[:80]
    with st.container(horizontal=True):
        navigation.download_button(
            "Results (CSV)",
            data=lambda: b"\xef\xbb\xbf" + csv_text(plan.rows(plan.known)).encode("utf-8", "replace"),
            file_name=f"{stem}.csv",
            mime="text/csv",
            key="experiments-csv",
        )
        chapters = [Chapter(question.title, [question.method, *parts, plan.source, *question.limits])]
        navigation.report_button(question.title, lambda: chapters, stem, "experiments-report")
