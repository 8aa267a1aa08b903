"""The part of the form that is a `TrainingConfig`."""

from typing import Any, get_args, get_type_hints

import streamlit as st

from explorer.presets import PRESETS
from explorer.training import TrainingConfig
from explorer.ui.build.widgets import edit, load_state, number, of_config, save_state, select, toggle, update_state
from explorer.ui.build_state import QUICK_TRAINING, BuildState

OPTIONS = {field: get_args(hint) for field, hint in get_type_hints(TrainingConfig).items()}


def choose_training(state: BuildState) -> None:
    """Every field of the config but those that follow from the machine."""
    fields = state.config_fields()

    def choose_number(label: str, field: str, step: float = 1) -> None:
        number(label, field, fields[field], of_config(field), step=step)

    def choose_option(label: str, field: str, new: Any = None) -> None:
        select(label, field, OPTIONS[field], fields[field], new or of_config(field))

    budget = "epochs" if fields["epochs"] else "seconds"
    left, right = st.columns(2)
    with left:
        choices = ["seconds", "epochs"]
        edit(st.segmented_control, "Budget", choices, key="budget", value=budget, new=_with_budget, required=True)
    with right:
        choose_number(budget.capitalize(), budget, 30.0 if budget == "seconds" else 1)
    left, right = st.columns(2)
    with left:
        choose_option("Optimiser", "optimizer", _with_optimizer)
        choose_option("Schedule", "schedule")
        choose_number("Batch size", "batch_size", 16)
        choose_number("Label smoothing", "label_smoothing", 0.05)
        choose_number("Seed", "seed")
    with right:
        choose_number("Peak learning rate", "learning_rate", 0.01)
        choose_number("Weight decay", "weight_decay", 1e-4)
        if fields["optimizer"] == "sgd":
            choose_number("Momentum", "momentum", 0.05)
        number("Gradient clipping (0 = off)", "clip", fields["clip"] or 0.0, _with_clip, step=0.5)
        choose_option("Precision", "precision")
    if fields["schedule"] == "step":
        shares = " and ".join(f"{share:.0%}" for share in fields["milestones"])
        st.caption(f"The rate is multiplied by {fields['step_factor']:g} after {shares} of the training.")
    toggles = {
        "nesterov": "Nesterov's momentum",
        "class_weights": "Class weights: rare classes count as much in the loss as common ones",
        "augment": "Augmentation: random crops of the image padded by 4, and flips",
    }
    for field, label in toggles.items():
        if field != "nesterov" or fields["optimizer"] == "sgd":
            toggle(label, field, fields[field], of_config(field))


def offer_settings(state: BuildState) -> None:
    """Buttons for a training of a minute and for that of the textbook."""
    textbook = PRESETS[state.preset].training
    with st.container(horizontal=True):
        st.button(
            "Textbook settings",
            key="textbook",
            on_click=lambda: save_state(load_state().with_textbook()),
            disabled=state.with_textbook().config == state.config,
            help=f"{textbook}. What the source leaves open stays as it is in the quick settings.",
        )
        st.button(
            "Quick settings",
            key="quick",
            on_click=lambda: update_state(config="{}"),
            disabled=state.config == "{}",
            help=f"{QUICK_TRAINING['seconds']:g} seconds with a one-cycle schedule.",
        )
    st.caption(f"Textbook: {textbook}.")


def _with_budget(state: BuildState, budget: str) -> BuildState:
    if budget == "epochs":
        return state.with_config(seconds=None, epochs=5)
    return state.with_config(seconds=QUICK_TRAINING["seconds"], epochs=None)


def _with_clip(state: BuildState, clip: float) -> BuildState:
    return state.with_config(clip=clip or None)


def _with_optimizer(state: BuildState, optimizer: str) -> BuildState:
    """Each with a rate that it usually learns with: Adam's steps are as large as its rate, whatever the gradient."""
    rates = {"sgd": QUICK_TRAINING["learning_rate"], "adam": 0.001}
    return state.with_config(optimizer=optimizer, learning_rate=rates[optimizer])
