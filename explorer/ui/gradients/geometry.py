"""The geometry of gradients on the page Gradients: its four questions, their networks and their measurement."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import streamlit as st

from explorer.architectures import ArchitectureSpec
from explorer.errors import user_message
from explorer.experiments import gradient_geometry
from explorer.experiments.gradient_geometry import GeometryQuestion
from explorer.experiments.gradient_geometry.measurement import specs_of
from explorer.experiments.gradient_geometry.names import names_of
from explorer.experiments.gradient_geometry.verdicts import MeasuredGeometry
from explorer.figures import Part
from explorer.ui import dataset_access, forecasts, lesson, url_query
from explorer.ui.gradients import flow_measurements, geometry_answers
from explorer.ui.gradients.controls import choose_factors
from explorer.ui.gradients.geometry_state import FACTORS, MOST_SEEDS, GeometryState
from explorer.ui.markdown import as_sentence
from explorer.ui.parts import draw
from explorer.ui.question import Plan, offer, show_limits, take_home
from explorer.ui.session import session
from explorer.ui.widgets.bound import bound

MOST_NETWORKS = 8
"""In one chart; more lines cannot be told apart."""

_AT_START = "These are initial weights. What training makes of them is not told."


@dataclass(frozen=True)
class _Question:
    """Its `title`, a sentence on how it is answered, and what the answer does not show."""

    title: str
    method: str
    limits: tuple[str, ...]


QUESTIONS: dict[GeometryQuestion, _Question] = {
    "shattering": _Question(
        "Do neighbouring pictures agree on the gradient?",
        "256 pictures lie on a line between two pictures of different classes. For each, the gradient of one logit by "
        "the pixels is computed. An autocorrelation of 1 means that it changes slowly along the line, 0 that "
        "neighbours have no more in common than others.",
        (
            _AT_START,
            "Each seed draws other weights and takes another line. Pictures off these lines may differ.",
            "BatchNorm holds still: it keeps the means and variances of 32 pictures. In a training step they also move "
            "with the batch.",
            "The mean gradient over the line is taken out first: the correlation is that of what is left.",
        ),
    ),
    "widths": _Question(
        "Do more channels help neighbours to agree?",
        "Each network is measured with a quarter, half, once and twice its channels, as in the first question.",
        (
            _AT_START,
            "Four widths suggest a law; they do not prove one.",
            "More channels also cost more parameters and time; a comparison at equal cost may end otherwise.",
        ),
    ),
    "blocks": _Question(
        "How much does a residual block add at the start?",
        "In one pass of 32 pictures, the size of each branch is divided by that of its shortcut. De and Smith (2020, "
        "arXiv 2002.10444): with BatchNorm, block ℓ adds about 1/√ℓ of the path.",
        (
            _AT_START,
            "1/√ℓ is for many blocks without a ReLU behind the sum. Such a ReLU and the first blocks change that.",
            "The size says nothing about what the branch adds.",
        ),
    ),
    "paths": _Question(
        "How long are the paths of the gradient?",
        "Of each length, random paths are taken, one for each of 16 pictures. The gradient goes back through the "
        "branches of the path and past all others. Its size is multiplied by the number of such paths.",
        (
            "These are initial weights. Veit, Wilber and Belongie (2016, arXiv 1605.06431) measured a trained "
            "ResNet-110, most of whose gradient comes from paths of 10 to 34 layers.",
            "Gradients of different paths may cancel, so sizes do not add up to the size of the whole gradient.",
            "Paths are a way to count: one network computes them all, and they share their weights.",
        ),
    ),
}  # fmt: skip


def load_state() -> GeometryState:
    """The question in the URL, with data that is here."""
    state = GeometryState.from_query(url_query.read())
    return state if dataset_access.is_available(state.geometry_data) else replace(state, geometry_data="shapes-32")


def update_state(**changes: Any) -> None:
    """Puts the question with these changes into the URL, beside what else the page shows; the link asks for a
    measurement only after one was asked for."""
    state = replace(load_state(), **{"measure": False} | changes)
    url_query.write(GeometryState.without(url_query.read()) | state.to_query())


def show() -> None:
    """The open question: its networks, its cost, and as far as it is measured its answer."""
    state = load_state()
    st.subheader("The geometry of gradients", anchor=False)
    if not lesson.hides("controls"):
        bound(
            st.radio,
            "Question on the geometry of gradients",
            list(QUESTIONS),
            key="geometry_question",
            value=state.geometry,
            write=lambda question: update_state(geometry=question),
            format_func=lambda question: QUESTIONS[question].title,
            label_visibility="collapsed",
        )
    question = QUESTIONS[state.geometry]
    lesson.explain(question.method)
    if not lesson.hides("controls"):
        _choose_networks(state)
    try:
        plan = _plan(state)
    except ValueError as error:  # data of other pictures, or damaged files
        st.error(as_sentence(user_message(error)))
        return
    parts: Sequence[Part] = plan.answer(plan.known) if plan and plan.known else []
    if plan:
        offer(plan, "geometry", state.measure, lambda: update_state(measure=True))
        draw(parts, f"geometry-{state.geometry}", plan.source)
    show_limits(question.limits)
    if plan and parts:
        stem = f"geometry-{state.geometry}"
        take_home(question.title, question.method, question.limits, plan, parts, stem, "geometry")


def _choose_networks(state: GeometryState) -> None:
    with st.container(horizontal=True, gap="medium"):
        choose_factors(state, FACTORS, update_state)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        bound(
            st.slider,
            "Seeds",
            1,
            MOST_SEEDS,
            key="geometry_seeds",
            value=state.geometry_seeds,
            write=lambda seeds: update_state(geometry_seeds=seeds),
            help="Each seed draws other initial weights and takes another two pictures.",
            width=260,
        )
        names = flow_measurements.grid_data()
        names += [state.geometry_data] if state.geometry_data not in names else []
        bound(
            st.selectbox,
            "Images",
            names,
            key="geometry_data",
            value=state.geometry_data,
            write=lambda data: update_state(geometry_data=data),
            format_func=dataset_access.data_title,
            width=260,
        )


# --- the measurement --------------------------------------------------------------------------------------------------


def _plan(state: GeometryState) -> Plan | None:
    """The measurement of the open question; None where the page has said why there is none."""
    question, data = state.geometry, state.geometry_data
    chosen = [spec for spec in state.specs() if gradient_geometry.has_an_answer(question, spec)]
    if not chosen:
        st.info("Plain networks have no residual blocks: nothing goes around a branch. Choose a shortcut above.")
        return None
    if len(chosen) > MOST_NETWORKS:
        st.info(f"{len(chosen)} networks cannot be told apart in one chart; choose up to {MOST_NETWORKS}.")
        return None
    specs = specs_of(question, chosen)
    pictures = flow_measurements.batch(data, specs[0].input_shape[1])
    seeds = range(state.geometry_seeds)
    asked = [(spec, seed) for seed in seeds for spec in specs]  # stopped early, there are fewer seeds
    found = {each: _find(state, *each) for each in asked}
    missing = [each for each in asked if found[each] is None]
    known = [
        MeasuredGeometry(spec, name, tuple(of), tuple(of.values()))
        for spec, name in zip(specs, names_of(specs), strict=True)
        if (of := {seed: found[spec, seed] for seed in seeds if found[spec, seed] is not None})
    ]
    macs = sum(gradient_geometry.cost(question, spec, len(pictures.labels)) for spec, _ in missing)
    networks = len({spec for spec, _ in missing})
    one = gradient_geometry.PICTURES if question in ("shattering", "widths") else None
    of_each = f", {one} pictures each" if one else ""
    plain = len(state.specs()) - len(chosen)
    if plain:
        st.caption("Plain networks have no residual blocks, so they are left out.")
    return Plan(
        key="/".join(["geometry", question, data, str(seeds.stop), *(spec.fingerprint for spec in specs)]),
        cost=f"{_count(networks, 'network')}, {_count(len(missing), 'set')} of initial weights in all{of_each}",
        seconds=macs / 3 / forecasts.macs_a_second(),
        work=lambda: _measure(state, missing),
        known=known or None,
        answer=partial(geometry_answers.answer, question),
        rows=partial(geometry_answers.rows, question),
        source=f"Initial weights of seeds 0 to {seeds.stop - 1}; {pictures.words}; float32.",
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def _measure(state: GeometryState, missing: Sequence[tuple[ArchitectureSpec, int]]) -> Iterator[tuple[float, Any]]:
    """Each result is kept at once."""
    yield 0.0, None  # so that the bar is there while the pictures are read
    pictures = flow_measurements.batch(state.geometry_data, missing[0][0].input_shape[1])
    for step in gradient_geometry.measure(state.geometry, missing, pictures):
        if step.spec is not None and step.result is not None:
            session().geometry.put(_key(state, step.spec, step.seed), step.result)
            if stored := _stored_key(state, step.spec, step.seed):
                gradient_geometry.store(stored, step.result)
        yield min(step.share, 0.999), None
    yield 1.0, True


def _key(state: GeometryState, spec: ArchitectureSpec, seed: int) -> str:
    kind = gradient_geometry.QUESTIONS[state.geometry].__name__
    return f"{kind}/{spec.fingerprint}/{seed}/{state.geometry_data}"


def _stored_key(state: GeometryState, spec: ArchitectureSpec, seed: int) -> str | None:
    """None for data of a user, whose results stay in the session."""
    if state.geometry_data.startswith("stored-"):
        return None
    pictures = flow_measurements.batch(state.geometry_data, spec.input_shape[1])
    return gradient_geometry.key(state.geometry, spec, seed, pictures)


def _find(state: GeometryState, spec: ArchitectureSpec, seed: int) -> Any:
    """The result in the session or on the server; None where it was not measured yet."""
    kept, key = session().geometry, _key(state, spec, seed)
    found = kept.find(key)
    if found is None and (stored := _stored_key(state, spec, seed)):
        found = gradient_geometry.load(state.geometry, stored)
        if found is not None:
            kept.put(key, found)
    return found
