"""The weights of the past that a run keeps: how many steps, what they take, and the field of the form for it."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from explorer.architectures import ArchitectureSpec
from explorer.errors import user_message
from explorer.runs import weight_snapshots
from explorer.runs.directory import MOST_SNAPSHOTS
from explorer.ui import client, forecasts
from explorer.ui.build.widgets import edit
from explorer.ui.build_state import BuildState
from explorer.ui.markdown import as_sentence


def number_of(state: BuildState, specs: Sequence[ArchitectureSpec]) -> int:
    """How many snapshots the run of that form keeps: those that the user chose, else the usual number where it fits.

    Raises ValueError, one sentence with the numbers, where the user chose more than fit.
    """
    if state.snapshots is None:
        return _usual(specs)[0]
    weight_snapshots.check_space(specs, state.snapshots, client.owner())
    return state.snapshots


def _usual(specs: Sequence[ArchitectureSpec]) -> tuple[int, str]:
    """The number where nobody has chosen one, and a sentence that says why it is 0 where the usual one does not fit."""
    number = weight_snapshots.usual_number(specs)
    try:
        weight_snapshots.check_space(specs, number, client.owner())
    except ValueError as error:
        return 0, as_sentence(user_message(error))
    return number, ""


def choose_number(state: BuildState) -> None:
    """The field of the form; it shows what the run keeps until another number is chosen."""
    try:
        usual, _ = _usual(forecasts.specs_of(state))
    except ValueError:  # the page says why these networks cannot exist
        usual = weight_snapshots.USUAL_NUMBER
    edit(
        st.number_input,
        "Weight snapshots (0 = none)",
        0,
        MOST_SNAPSHOTS,
        key="snapshots",
        value=usual if state.snapshots is None else state.snapshots,
        new=lambda before, number: replace(before, snapshots=None if number == usual else number),
        help="The run keeps its weights at so many steps, spaced by ratio, the first and the last one too. Explore, "
        "Compare and Gradients then show the networks at each of them.",
    )


def show_size(state: BuildState, specs: Sequence[ArchitectureSpec]) -> None:
    """Number and size of the snapshots of that form, or why there are none."""
    try:
        number = number_of(state, specs)
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        return
    planned = weight_snapshots.plan(specs, number or 2)
    size = f"{planned.bytes / 1e6:,.1f} MB"
    if number:
        st.caption(f"Keeps the weights of {planned.number} steps, {size}: the training can be looked at as a film.")
    elif state.snapshots is None:
        if refused := _usual(specs)[1]:
            st.info(f"{refused} As no number is chosen, this run keeps 0.")
            return
        each = f"{planned.each_bytes / 1e6:,.1f} MB"
        st.caption(f"Keeps no weights of the past: they take {each} a step. The tab Training has a field for it.")
