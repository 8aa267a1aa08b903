"""Experiments: questions to the networks that need a hand on them, each with its cost, its answer and its limits."""

import streamlit as st

from explorer.checkpoints import CheckpointError
from explorer.errors import user_message
from explorer.ui import lesson, navigation, network_registry
from explorer.ui.experiments import (
    along_time,
    controls,
    folding,
    lesions,
    pictures,
    robust,
    study,
    surface,
    trust,
    units,
)
from explorer.ui.experiments.question import Question
from explorer.ui.experiments.state import ExperimentsState, QuestionName
from explorer.ui.markdown import as_sentence
from explorer.ui.missing import NO_NETWORK
from explorer.ui.parts import draw
from explorer.ui.question import offer, show_limits, take_home

QUESTIONS: dict[QuestionName, Question] = {
    "lesions": lesions.question(),
    "shift": pictures.shift_question(),
    "dial": pictures.dial_question(),
    "attack": pictures.attack_question(),
    "robust": robust.question(),
    "trust": trust.question(),
    "fold": folding.question(),
    "unit": units.question(),
    "time": along_time.question(),
}


def show() -> None:
    st.header("Experiments", anchor=False)
    state = controls.load_state()
    if state.question != "study" and not network_registry.network_names():
        st.info(NO_NETWORK)
        return
    try:
        _show(state)
    except (CheckpointError, ValueError) as error:  # damaged since its name was listed, or data that cannot be read
        st.error(as_sentence(user_message(error)))


def _show(state: ExperimentsState) -> None:
    if not lesson.hides("controls"):
        titles = {name: each.title for name, each in QUESTIONS.items()}
        controls.choose_question(state, titles | {"surface": surface.TITLE, "study": study.TITLE})
    if state.question == "study":  # it trains networks of its own
        study.show(state)
        return
    if state.question == "surface":  # a process of its own measures it
        surface.show(state)
        return
    question = QUESTIONS[state.question]
    networks = controls.asked_networks(state)
    network_registry.load_visibly(each.name for each in networks)
    st.subheader(question.title, anchor=False)
    lesson.explain(question.method)
    if not lesson.hides("controls"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            question.controls(state, networks)
            if not question.of_one:
                controls.choose_others(state, networks)
    controls.show_changes(question.own_dials and question.own_dials(state), question.takes_attack)
    plan = question.plan(state, networks)
    parts = plan.answer(plan.known) if plan and plan.known is not None else []
    place = st.container()
    if plan:
        draw(parts, f"experiments-{state.question}", plan.source)
        plan.links()
    show_limits(question.limits)
    if plan and parts:
        stem = f"{question.title.rstrip('?').lower().replace(' ', '-')}-{'-'.join(each.name for each in networks)}"[:80]
        take_home(question.title, question.method, question.limits, plan, parts, stem, "experiments")
    finding = next((part for part in parts if isinstance(part, str)), "")
    navigation.ending(finding, "build", "How deep can you train?")
    if plan:
        with place:  # last: what is known stands on the page while the rest is measured
            offer(plan, "experiments", state.measure, lambda: controls.update_state(measure=True))
