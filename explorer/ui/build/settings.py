"""The part of the form that is a `TrainingConfig`."""

from dataclasses import replace
from typing import get_args

import streamlit as st

from explorer.presets import PRESETS
from explorer.training.config import Optimizer, Precision, Schedule
from explorer.ui.build.fields import edit, limited, of_config, read, select, toggle, write
from explorer.ui.build_state import QUICK, BuildState


def choose_training(state: BuildState) -> None:
    """Every field of the config but those that follow from the machine."""
    fields = state.config_fields()
    budget = "epochs" if fields["epochs"] else "seconds"
    left, right = st.columns(2)
    with left:
        choices = ["seconds", "epochs"]
        edit(st.segmented_control, "Budget", choices, key="budget", value=budget, new=_with_budget, required=True)
    with right:
        limited(budget.capitalize(), budget, fields[budget], of_config(budget), step=30.0 if budget == "seconds" else 1)
    left, right = st.columns(2)
    with left:
        select("Optimiser", "optimizer", get_args(Optimizer), fields["optimizer"], _with_optimizer)
        select("Schedule", "schedule", get_args(Schedule), fields["schedule"], of_config("schedule"))
        limited("Batch size", "batch_size", fields["batch_size"], of_config("batch_size"), step=16)
        smoothing = fields["label_smoothing"]
        limited("Label smoothing", "label_smoothing", smoothing, of_config("label_smoothing"), step=0.05)
        limited("Seed", "seed", fields["seed"], of_config("seed"))
    with right:
        limited(
            "Learning rate, highest", "learning_rate", fields["learning_rate"], of_config("learning_rate"), step=0.01
        )
        limited("Weight decay", "weight_decay", fields["weight_decay"], of_config("weight_decay"), step=1e-4)
        if fields["optimizer"] == "sgd":
            limited("Momentum", "momentum", fields["momentum"], of_config("momentum"), step=0.05)
        limited(
            "Clipping, 0 is none",
            "clip",
            fields["clip"] or 0.0,
            lambda before, value: before.with_config(clip=value or None),
            step=0.5,
        )
        select("Precision", "precision", get_args(Precision), fields["precision"], of_config("precision"))
    if fields["schedule"] == "step":
        shares = " and ".join(f"{share:.0%}" for share in fields["milestones"])
        st.caption(f"The rate is multiplied by {fields['step_factor']:g} after {shares} of the training.")
    if fields["optimizer"] == "sgd":
        toggle("Nesterov's momentum", "nesterov", fields["nesterov"], of_config("nesterov"))
    weights = "Class weights: rare classes count as much in the loss as common ones"
    toggle(weights, "class_weights", fields["class_weights"], of_config("class_weights"))
    augment = "Augmentation: random crops of the picture padded by 4, and flips"
    toggle(augment, "augment", fields["augment"], of_config("augment"))


def offer_settings(state: BuildState) -> None:
    """A minute, or what the textbook says."""
    with st.container(horizontal=True):
        st.button(
            "Textbook settings",
            key="textbook",
            on_click=lambda: write(read().with_textbook()),
            disabled=state.with_textbook().config == state.config,
            help=f"{PRESETS[state.preset].training}. What the source leaves open stays as it is in the quick settings.",
        )
        st.button(
            "Quick settings",
            key="quick",
            on_click=lambda: write(replace(read(), config="{}")),
            disabled=state.config == "{}",
            help=f"{QUICK['seconds']:g} seconds with a one-cycle schedule.",
        )
    st.caption(f"Textbook: {PRESETS[state.preset].training}.")


def _with_budget(state: BuildState, budget: str) -> BuildState:
    if budget == "epochs":
        return state.with_config(seconds=None, epochs=5)
    return state.with_config(seconds=QUICK["seconds"], epochs=None)


def _with_optimizer(state: BuildState, optimizer: str) -> BuildState:
    """Each with a rate that it usually learns with: Adam's steps are as large as its rate, whatever the gradient."""
    rates = {"sgd": QUICK["learning_rate"], "adam": 0.001}
    return state.with_config(optimizer=optimizer, learning_rate=rates[optimizer])
