"""What the budget of the form buys on this machine, and forms for which a minute suffices."""

import streamlit as st

from explorer.architectures import ArchitectureSpec
from explorer.errors import user_message
from explorer.training import unused_device
from explorer.training.proposal import LEAST_PASSES
from explorer.ui import forecasts
from explorer.ui.build import fields
from explorer.ui.build_state import BuildState
from explorer.ui.markdown import as_sentence


def offer_forms(state: BuildState) -> None:
    """Buttons that set the whole form."""
    machine, classroom = forecasts.first_form(), forecasts.form_of(forecasts.CLASSROOM)
    st.button(
        "Proposal for this machine",
        key="proposal",
        disabled=state == machine,
        on_click=lambda: fields.write(machine),
        help="The deepest pair that learns in a minute here, by the measured speed.",
    )
    st.button(
        "Classroom",
        key="classroom",
        disabled=state == classroom,
        on_click=lambda: fields.write(classroom),
        help="What the proposal is on a slow machine: a pair that learns in a minute on two old cores.",
    )


def show_budget(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> None:
    """How far the training comes; where that is too little to learn, what would be enough, as buttons."""
    try:
        measured = forecasts.speed()
        found = forecasts.forecast(state, specs, measured)
        enough = forecasts.remedies(state, found, measured)
    except ValueError as error:  # the data is here, but damaged
        st.error(as_sentence(user_message(error)))
        return
    st.caption(as_sentence(forecasts.sentence(state, specs, found)))
    proposed = forecasts.what_is_proposed(state, found)
    if proposed:
        st.caption(as_sentence(proposed))
    if unused := unused_device():
        st.caption(as_sentence(unused))
    if not enough:
        return
    st.warning(
        as_sentence(
            f"Too little to learn: fewer than {LEAST_PASSES:g} passes through the data end near guessing. Each of "
            "these alone is enough, and so is the proposal for this machine:"
        )
    )
    with st.container(horizontal=True):
        for number, remedy in enumerate(enough):
            st.button(remedy.label, key=f"enough_{number}", on_click=fields.write, args=(remedy.form,))
