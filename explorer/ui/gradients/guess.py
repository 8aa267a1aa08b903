"""`Try it`: a setting, a guess of what the gradient does, and then the measurement."""

from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from explorer.experiments.gradient_grid import ACTIVATIONS, DEPTHS, INITIALISATIONS, NORMS
from explorer.experiments.gradient_summary import Guess, verdict
from explorer.labels import GUESSES, capital, duration, label
from explorer.ui.gradients import controls, flow_measurements
from explorer.ui.gradients.flow_measurements import MeasurementPlan
from explorer.ui.gradients.state import GradientsState
from explorer.ui.markdown import as_text
from explorer.ui.session import session

_FACTORS = {
    "depth": (DEPTHS, 20),
    "norm": (NORMS, "none"),
    "initialisation": (INITIALISATIONS, "he"),
    "activation": (ACTIVATIONS, "relu"),
}
"""The choices of each factor and the first one: no card shows this setting, and it takes seconds."""


def show_guess(state: GradientsState) -> None:
    """A setting of twins before their training, with buttons for the guesses; each of them measures and shows it."""
    st.subheader("Try it", anchor=False)
    with st.container(horizontal=True, gap="medium"):
        chosen: dict[str, Any] = {
            f"{factor}s": (
                st.segmented_control(
                    capital(factor),
                    options,
                    default=first,
                    key=f"guess_{factor}",
                    format_func=partial(label, factor),
                    required=True,
                ),
            )
            for factor, (options, first) in _FACTORS.items()
        }
    wanted = replace(
        state,
        **chosen,
        source="initial",
        what="weights",
        scale="relative",
        shortcuts=("none", "identity"),
    )
    plan, name = flow_measurements.grid_plan(wanted), wanted.specs()[0].name
    cost = f" Measuring it takes about {duration(plan.seconds)}." if plan else ""
    st.markdown(f"**Your guess:** from its last layer to its first, what does the gradient of {name} do?{cost}")
    with st.container(horizontal=True, gap="small"):
        for guess, words in GUESSES.items():
            st.button(words, key=f"guess_{guess}", on_click=_guess, args=(wanted, guess, plan))
    guessed = st.session_state.get("guessed")
    if guessed and guessed[0] == wanted and (found := flow_measurements.measured_grid(wanted)):
        if found[0].spec.shortcut == "none":
            st.info(as_text(verdict(found[0], guessed[1])), icon=":material/fact_check:")


def _guess(wanted: GradientsState, guess: Guess, plan: MeasurementPlan | None) -> None:
    """Shows the setting below, and measures what it lacks."""
    st.session_state["guessed"] = (wanted, guess)
    controls.write(wanted.to_query())
    session().requested_task = plan.key if plan else ""
