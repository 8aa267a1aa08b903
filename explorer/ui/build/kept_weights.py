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
    number = weight_snapshots.usual_number(specs) if state.snapshots is None else state.snapshots
    try:
        weight_snapshots.check_space(specs, number, client.owner())
    except ValueError:
        if state.snapshots is not None:
            raise
        return 0
    return number


def choose_number(state: BuildState) -> None:
    """The field of the form; it shows the usual number until another one is chosen."""
    try:
        specs = forecasts.specs_of(state)
        usual = weight_snapshots.usual_number(specs)
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
        each = f"{planned.each_bytes / 1e6:,.1f} MB"
        st.caption(f"Keeps no weights of the past: they take {each} a step. The tab Training has a field for it.")
