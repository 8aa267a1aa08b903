"""Gradients: what gradient reaches the first layer, before the training, after it and during it."""

from dataclasses import replace

import streamlit as st

from explorer.checkpoints import CheckpointError
from explorer.errors import user_message
from explorer.labels import duration, listed
from explorer.ui import dataset_access, film, lesson, missing, navigation, network_registry
from explorer.ui.gradients import controls, flow_measurements, geometry, slow_step
from explorer.ui.gradients.flow_measurements import MeasuredFlow, MeasurementPlan
from explorer.ui.gradients.flow_view import FlowView, origin_of, show_flows
from explorer.ui.gradients.guess import show_guess
from explorer.ui.gradients.results import show_answer, show_results
from explorer.ui.gradients.state import GradientsState
from explorer.ui.gradients.steps import records_of, show_steps, words_for
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.question import STARTS_BY_ITSELF
from explorer.ui.session import session
from explorer.ui.widgets.download import offer_labelled_images
from explorer.ui.widgets.long_task import long_task


def show() -> None:
    try:
        state = controls.load_state()
    except CheckpointError as error:  # damaged since its name was listed
        st.error(as_sentence(user_message(error)))
        return
    st.header("What gradient reaches the first layer?", anchor=False)
    arrives = st.session_state.get("gradients_entry") != session().entries and not session().entered_again
    st.session_state["gradients_entry"] = session().entries
    views = show_results(state)
    if not lesson.hides("controls"):
        show_guess(state)
    with st.container(key="gradients_below"):
        st.subheader("All layers", anchor=False)
        controls.choose_source(state)
        if state.source != "initial":
            missing.show_missing(controls.lost(), state.networks, False, controls.update_state)
        try:
            network_registry.load_visibly(() if state.source == "initial" else state.networks)
            below: FlowView | None
            if state.source == "initial":
                below = _at_initialisation(state, arrives)
            else:
                below = {"checkpoint": _trained, "record": _during_training}[state.source](state)
            _offer_report(state, [*views, *([below] if below else [])])
        except (CheckpointError, ValueError) as error:
            st.error(as_sentence(user_message(error)))
    with st.container(key="gradients_slow"):
        slow_step.show(film.shown_step(state.step) if state.source == "checkpoint" else None)
    with st.container(key="gradients_geometry"):
        geometry.show()
    if not lesson.hides("text"):
        show_answer(views)


def _offer_report(state: GradientsState, views: list[FlowView]) -> None:
    """The three results and the view below them, as far as they are measured."""
    measured = [view for view in views if view.found]
    if measured:
        stem = f"gradients-{state.source}-{state.what}"
        title = "What gradient reaches the first layer?"
        navigation.report_button(title, lambda: [view.chapter() for view in measured], stem, "gradients-report")


# --- the three sources ------------------------------------------------------------------------------------------------


def _at_initialisation(state: GradientsState, arrives: bool) -> FlowView:
    """A link that `arrives` starts the measurement that it asks for, where that takes seconds."""
    if not lesson.hides("controls"):
        with st.expander("Compare several settings"):
            controls.choose_grid(state)
        controls.choose_view(state)
    pictures = flow_measurements.batch(state.grid_data, dataset_access.data_shape(state.grid_data)[0][1])
    found = flow_measurements.measured_grid(state)
    show_flows(state, found, pictures.words, lambda: _offer_grid(state, found, arrives))
    return FlowView("All layers, at initialisation", state, found, pictures.words, origin_of(state))


def _offer_grid(state: GradientsState, found: list[MeasuredFlow], starts: bool) -> None:
    """The button that measures what the grid lacks."""
    plan = flow_measurements.grid_plan(state)
    if plan is None:
        return
    if starts and plan.seconds <= STARTS_BY_ITSELF:
        session().requested_task = plan.key
    seeds = state.seeds - min((len(each.flows) for each in found), default=0)
    is_seeds = len(found) == len(state.specs()) and plan.passes == seeds * len(found)
    what = f"{seeds} more seed{'s' * (seeds > 1)}" if is_seeds else _passes(plan)
    _offer(plan, f"Measure {what}")


def _passes(plan: MeasurementPlan) -> str:
    return "1 pass" if plan.passes == 1 else f"{plan.passes:,} passes"


def _offer(plan: MeasurementPlan, label: str) -> None:
    """The button; the page shows each flow that was measured, whether the work was stopped or not."""

    def show_all(_: object) -> None:
        session().results.remove(plan.key)
        st.rerun()

    long_task(plan.key, label, plan.work, show_all, seconds=plan.seconds)
    if plan.seconds > 60:
        st.caption(
            f"{_passes(plan).capitalize()} of one batch; the longest takes about {duration(plan.longest)}, which is "
            f"how long Stop may have to wait, and holds {plan.held_bytes / 2**30:.1f} GiB. What was measured until "
            "then is kept."
        )


def _trained(state: GradientsState) -> FlowView | None:
    if not network_registry.network_names():
        st.info(missing.NO_NETWORK)
        return None
    sizes = [network_registry.spec(name).input_shape[1:] for name in state.networks]
    if sizes[0] != sizes[-1]:
        first, second = (f"{height}×{width}" for height, width in sizes)
        st.info(f"The second network takes {second} pixels and the first {first}: no batch fits both. It is left out.")
        state = replace(state, second=None)
    if not lesson.hides("controls"):
        controls.choose_batch(state)
        controls.choose_view(state)
    state = replace(state, step=film.shown_step(state.step))
    axis = "The axis holds every step that was measured."
    film.show(state.networks, state.step, lambda step: controls.update_state(step=step), axis)
    data = flow_measurements.data_of(state)
    spec, class_names = network_registry.checkpoint(state.first).spec, network_registry.class_names(state.first)
    if not data:
        offer_labelled_images(
            f"No labelled images for this network are here: it takes {spec.input_shape[1]}×{spec.input_shape[2]} "
            f"pixels and knows {spec.classes:,} classes.",
            [(spec, class_names)],
            "Bring such data on Build & train, in the tab Data, or choose another network.",
        )
        return None
    name = state.data if state.data in data else data[0]
    pictures = flow_measurements.batch(name, spec.input_shape[1])
    if sorted(pictures.class_names) != sorted(class_names):
        offer_labelled_images(
            "The labels of these images have other names than the network's classes, so the gradient may mean little.",
            [(spec, class_names)],
            "Bring images of its own classes on Build & train, in the tab Data.",
        )
    plan = flow_measurements.networks_plan(state, name)
    found = flow_measurements.measured_networks(state, name)
    beside = flow_measurements.measured_steps(state, name)
    show_flows(state, found, pictures.words, lambda: _offer(plan, "Measure") if plan else None, beside)
    return FlowView("All layers, after training", state, found, pictures.words, origin_of(state))


def _during_training(state: GradientsState) -> FlowView | None:
    records = records_of(state)
    unknown = [as_text(network_registry.title(name)) for name in state.networks if name not in records]
    if unknown:
        st.info(
            f"Without a record of its training: {listed(unknown)}. Choose a network in the bar that was trained here "
            "or comes with the app."
        )
    if not records:
        return None
    state = replace(state, what="weights")
    if not lesson.hides("controls"):
        controls.choose_view(state)
    steps = flow_measurements.steps_of(list(records.values()))
    if not steps:
        st.info("These two trainings recorded no step in common; choose another second network in the bar, or none.")
        return None
    show_steps(state, records, steps)
    st.caption(
        f"Weight gradient for {words_for(records)}, in training mode; n = 1 run each. Step 0 is the first batch, "
        "before any weight has changed."
    )
    step = max((step for step in steps if step <= (state.step or 0)), default=steps[0])
    found = flow_measurements.measured_records(records, step)
    return FlowView(f"All layers, at step {step:,} of the training", state, found, words_for(records), origin_of(state))
