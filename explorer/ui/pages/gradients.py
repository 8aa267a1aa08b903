"""Gradients: how large the gradient is from the first layer to the last, at initial weights, now, and in a training."""

from dataclasses import replace

import streamlit as st

from explorer import figures
from explorer.checkpoints import CheckpointError
from explorer.errors import user_message
from explorer.ui import dataset_access, missing, network_registry
from explorer.ui.gradients import controls, flow_measurements
from explorer.ui.gradients.flow_measurements import MeasurementPlan
from explorer.ui.gradients.flow_view import FlowComparison, flow_lines, show_flows
from explorer.ui.gradients.state import SMALL_GRID, GradientsState
from explorer.ui.markdown import as_sentence
from explorer.ui.session import session
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.long_task import duration, long_task


def show() -> None:
    try:
        state = controls.load_state()
    except CheckpointError as error:  # damaged since its name was listed
        st.error(as_sentence(user_message(error)))
        return
    with st.sidebar:
        st.markdown("#### CNN & ResNet Explorer")
        if state.source == "initial":
            controls.choose_grid(state)
        else:
            controls.choose_networks(state)
    st.header("How large is the gradient, layer by layer?", anchor=False)
    controls.choose(state, "source", "Of which networks", controls.SOURCES, label_visibility="collapsed")
    if state.source != "initial":
        missing.show_missing(controls.lost(), state.networks, False, controls.update_state)
    try:
        {"initial": _at_initialisation, "checkpoint": _as_it_is, "record": _during_a_training}[state.source](state)
    except (CheckpointError, ValueError) as error:
        st.error(as_sentence(user_message(error)))


# --- the three sources ------------------------------------------------------------------------------------------------


def _at_initialisation(state: GradientsState) -> None:
    st.markdown(
        "Networks that have learned nothing yet, each with several seeds. The input is on the left, the output on the "
        "right. Look for whether a line falls, rises or stays level on its way back to the input."
    )
    pictures = flow_measurements.batch(state.grid_data, dataset_access.data_shape(state.grid_data)[0][1])
    found = flow_measurements.measured_grid(state)
    show_flows(state, FlowComparison(found, pictures.words), lambda: _offer_grid(state))


def _offer_grid(state: GradientsState) -> None:
    """Buttons that measure the missing networks of the grid, and the small grid of the textbooks."""
    plan = flow_measurements.grid_plan(state)
    if plan is not None:
        _offer(plan, f"Measure the {_passes(plan)} that {'are' if plan.passes > 1 else 'is'} still missing")
    small = replace(state, **SMALL_GRID)
    if small != state:
        plan = flow_measurements.grid_plan(small)
        networks = "plain and ResNet, depth 20 and 56, with BatchNorm and without"
        label = f"Measure {networks} (about {duration(plan.seconds)})" if plan else f"Show {networks}"
        st.button(label, key="gradients_small", on_click=_show_small, args=(plan,))
        if plan:
            _say_cost(plan)


def _show_small(plan: MeasurementPlan | None) -> None:
    """Shows the small grid, and measures what it lacks as its own button would."""
    controls.update_state(**SMALL_GRID)
    session().requested_task = plan.key if plan else ""


def _passes(plan: MeasurementPlan) -> str:
    return "1 pass" if plan.passes == 1 else f"{plan.passes:,} passes"


def _offer(plan: MeasurementPlan, label: str) -> None:
    """The button; the page shows each flow that was measured, whether the work was stopped or not."""

    def show_all(_: object) -> None:
        session().results.remove(plan.key)
        st.rerun()

    long_task(plan.key, label, plan.work, show_all, seconds=plan.seconds)
    _say_cost(plan)


def _say_cost(plan: MeasurementPlan) -> None:
    if plan.seconds > 60:
        st.caption(
            f"{_passes(plan).capitalize()} of one batch; the longest takes about {duration(plan.longest)}, which is "
            f"how long Stop may have to wait, and holds {plan.held_bytes / 2**30:.1f} GiB. What was measured until "
            "then is kept."
        )


def _as_it_is(state: GradientsState) -> None:
    st.markdown(
        "The gradient of the loss for one batch of labelled pictures, in networks with the weights that they have now. "
        "Look for where the line rises or falls, and compare it with that at initialisation."
    )
    if not controls.names_for(state):
        st.info("No network is here; train one on Build & train, or upload one on Models.")
        return
    data = flow_measurements.data_of(state)
    if not data:
        spec = network_registry.checkpoint(state.first).spec
        st.info(
            f"No labelled pictures for this network are here: it takes {spec.input_shape[1]}×{spec.input_shape[2]} "
            f"pixels and knows {spec.classes:,} classes. Bring such data on Build & train, in the tab Data, or choose "
            "another network."
        )
        return
    name = state.data if state.data in data else data[0]
    pictures = flow_measurements.batch(name, network_registry.checkpoint(state.first).spec.input_shape[1])
    if sorted(pictures.class_names) != sorted(network_registry.class_names(state.first)):
        st.warning(
            "The classes of these pictures have other names than those of the network: the gradient is that of labels "
            "which may mean something else to it."
        )
    plan = flow_measurements.networks_plan(state, name)
    found = flow_measurements.measured_networks(state, name)
    when = "after training" if network_registry.checkpoint(state.first).record else "as it is"
    view = FlowComparison(found, pictures.words, when, "batch")
    show_flows(state, view, lambda: _offer(plan, "Measure") if plan else None)


def _during_a_training(state: GradientsState) -> None:
    st.markdown(
        "What a training wrote down while it ran: the gradient of each layer's weights, for the batch of that step. "
        "Move the slider from the initial weights on, and look for where the line changes its slope."
    )
    records = {name: found for name in state.networks if (found := flow_measurements.recorded(name)) is not None}
    if not records:
        st.info("No network here has a record of its training; train one on Build & train.")
        return
    state = replace(state, what="weights")
    steps = flow_measurements.steps_of(list(records.values()))
    if not steps:
        st.info("These two trainings recorded no step in common; choose another second network, or none.")
        return
    step = max((each for each in steps if each <= state.step), default=steps[0])
    if len(steps) > 1:
        bound(
            st.select_slider,
            "Step of the training",
            steps,
            key="gradients_step",
            value=step,
            write=lambda chosen: controls.update_state(step=chosen),
            help="The steps that were recorded. Step 0 is the first batch, before any weight has changed.",
        )
    sizes = sorted({str(each.batch_size) for each in records.values() if each.batch_size})
    pictures = f"the training batch of that step{', ' + ' and '.join(sizes) + ' pictures' if sizes else ''}"
    whole = [flow_lines(flow_measurements.measured_records(records, each), state, "run") for each in steps]
    span = figures.flow_span([line for lines in whole for line in lines])
    when = f"at step {step:,} of the training"
    at_step = flow_measurements.measured_records(records, step)
    show_flows(state, FlowComparison(at_step, pictures, when, "run", span, step), lambda: None)
