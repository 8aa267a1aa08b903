"""What the budget of the form buys on this machine, and forms for which a minute suffices."""

import streamlit as st

from explorer.architectures import ArchitectureSpec
from explorer.errors import user_message
from explorer.training import unused_device
from explorer.training.proposal import LEAST_PASSES
from explorer.ui import forecasts
from explorer.ui.build import widgets
from explorer.ui.build_state import BuildState
from explorer.ui.markdown import as_sentence


def offer_forms(state: BuildState) -> None:
    """Buttons that set the whole form."""
    classroom = "What the proposal is on a slow machine: a pair that learns in a minute on two old cores."
    proposal = "The deepest pair that learns in a minute here, by the measured speed."
    for key, label, form, about in (
        ("proposal", "Proposal for this machine", forecasts.proposal(), proposal),
        ("classroom", "Classroom", forecasts.form_of(forecasts.CLASSROOM), classroom),
    ):
        is_shown = form is None or form == state
        st.button(label, key=key, disabled=is_shown, on_click=widgets.save_state, args=(form,), help=about)


def show_budget(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> None:
    """How far the training comes; where that is too little to learn, what would be enough, as buttons."""
    try:
        measured = forecasts.speed()
        if measured is None:
            forecasts.rerun_when_known(
                "Measuring how fast this machine trains, once, for some seconds. Then the forecast stands here."
            )
            return
        found = forecasts.forecast(state, specs, measured)
        enough = forecasts.remedies(state, found, measured)
    except ValueError as error:  # the speed cannot be measured, or the data is here, but damaged
        st.error(as_sentence(user_message(error)))
        return
    for words in (forecasts.sentence(state, specs, found), forecasts.what_is_proposed(state, found), unused_device()):
        if words:
            st.caption(as_sentence(words))
    if not enough:
        return
    st.warning(
        as_sentence(
            f"Too little to learn: fewer than {LEAST_PASSES:g} passes through the data end near guessing. Each of "
            "these alone is enough, and so is the proposal for this machine:"
        )
    )
    with st.container(horizontal=True):
        for number, (label, form) in enumerate(enough.items()):
            st.button(label, key=f"enough_{number}", on_click=widgets.save_state, args=(form,))
