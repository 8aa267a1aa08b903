"""Build & train: a form that is a network and its training, and the run that comes of it."""

import re
import time
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer import figures
from explorer.architectures import ArchitectureSpec, describe
from explorer.errors import user_message
from explorer.ui import client, trainings
from explorer.ui.build import budget, classes, data, fields, follow, form, replay, settings
from explorer.ui.build_state import BuildState
from explorer.ui.charts import chart
from explorer.ui.markdown import as_sentence, table
from explorer.ui.session import session

SAME_CLICK = 10.0  # seconds in which the same form is started once: a busy machine answers a click late


def show() -> None:
    state = fields.read()
    if state.run is not None:
        follow.show_run(state, state.run)
    elif state.replay is not None:
        replay.show_replay(state.replay)
    else:
        _show_form(state)
    follow.show_earlier_runs(state)


def _tabs() -> Any:
    """Those of the form; another page may say which one is open."""
    if tab := session().build_tab:
        st.session_state["build_tab"] = tab
        session().build_tab = None
    return st.tabs(["Network", "Training", "Data"], key="build_tab", on_change="rerun")


def _show_form(state: BuildState) -> None:
    st.header("Build a network and train it", anchor=False)
    st.markdown(
        "Change anything: the drawing follows. With its **twin**, the same network without (or with) shortcuts, it "
        "starts from the same weights and sees the same pictures, so the difference is made by the shortcuts alone."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        budget.offer_forms(state)
        replay.offer_replay()
    left, right = st.columns([6, 8], gap="medium")
    with left:
        network_tab, training_tab, data_tab = _tabs()
        if network_tab.open:
            with network_tab:
                form.choose_preset(state)
                form.choose_network(state)
        if training_tab.open:
            with training_tab:
                settings.offer_settings(state)
                settings.choose_training(state)
        if data_tab.open:
            with data_tab:
                data.choose_data(state)
    with right:
        specs = _networks(state)
        if specs:
            _start_button(state, specs)
            _show_networks(state, specs)


def _networks(state: BuildState) -> tuple[ArchitectureSpec, ...]:
    """The network of the form, and its twin where it is wished; nothing, and a user_message, where it cannot exist."""
    try:
        spec = state.network(*trainings.data_shape(state.data))
    except ValueError as error:
        st.error(f"This network cannot exist: {as_sentence(_as_counted(error))}")
        return ()
    if not state.twin:
        return (spec,)
    try:
        return spec, spec.twin()
    except ValueError as error:
        st.warning(f"This network has no twin: {as_sentence(_as_counted(error))} It is trained alone.")
        return (spec,)


def _as_counted(error: ValueError) -> str:
    """The sentence with stages counted from 1, as the form and the drawing count them, and not from 0 as names do."""
    return re.sub(r"\bstage (\d+)", lambda match: f"stage {int(match[1]) + 1}", user_message(error))


def _start_button(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> None:
    missing = _missing_pictures(state)
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Train " + " and ".join(spec.name for spec in specs),
            key="start",
            type="primary",
            disabled=bool(missing) or not trainings.can_start(state.data),
        )
        fields.edit(
            st.toggle,
            "Train its twin too",
            key="twin",
            value=state.twin,
            new=lambda before, on: replace(before, twin=on),
            help="Both start from identical weights and see identical batches, step by step.",
        )
    if not trainings.can_start(state.data):
        st.info("Upload your pictures first, in the tab Data.")
    if missing:
        st.error(as_sentence(missing))
    budget.show_budget(state, specs)
    if pressed:
        _start(state, specs)


def _missing_pictures(state: BuildState) -> str:
    """Which uploaded pictures a training lacks, in one sentence; empty where it lacks none, or the file is damaged."""
    if not state.data.startswith("stored-") or not trainings.is_ready(state.data):
        return ""
    try:
        return classes.missing_pictures(trainings.card(state.data))
    except ValueError:  # the forecast says it
        return ""


def _start(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> None:
    """Starts the run and opens it. A second click before the page has changed opens the run of the first."""
    # Written in place: the second click ends this script at its next use of the session's state, not before.
    started: dict[str, Any] = st.session_state.setdefault("started", {"form": None, "run": "", "at": 0.0})
    if started["form"] != state or time.monotonic() - started["at"] > SAME_CLICK:
        try:
            run = trainings.start_run(state, specs)
        except ValueError as error:
            st.error(as_sentence(user_message(error)))
            return
        started.update(form=state, run=run.id, at=time.monotonic())
    fields.write(replace(state, run=started["run"]))
    st.rerun()


def _show_networks(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> None:
    names = [spec.name.replace("-", "\u2011") for spec in specs]  # a hyphen that keeps a name in one line
    rows = [{"": f"**{name}**"} | trainings.numbers(state, spec) for name, spec in zip(names, specs, strict=True)]
    heads, *cells = [[f":small[{cell}]" for cell in row] for row in (rows[0], *(row.values() for row in rows))]
    st.markdown(table(heads, cells, len(heads)))
    theme = client.theme()
    explained = next((index for index, spec in enumerate(specs) if spec.shortcut != "none"), 0)
    for index, spec in enumerate(specs):
        st.markdown(f"**{spec.name}**" + (", the twin" if index else ""))
        drawing = figures.network_drawing(describe(spec), theme=theme, legend=index == explained)
        chart(drawing, f"drawing_{index}", f"Drawing of {spec.name}: {len(spec.stages)} stages")
    with st.expander(f"All layers of {specs[0].name}, and what the numbers mean"):
        st.caption(
            "The number in a name is the depth: weighted layers on the main path, as the papers count. MACs are "
            "multiply-accumulates for one picture. The receptive field is the side of the square that one value of "
            "the last feature map can depend on. Memory is about what a training step with this batch size takes."
        )
        st.dataframe(
            [
                {
                    "layer": layer.name,
                    "kind": layer.kind,
                    "output": " × ".join(map(str, layer.output_shape)),
                    "parameters": layer.parameters,
                    "MACs": layer.macs,
                    "receptive field": layer.receptive_field,
                }
                for layer in describe(specs[0]).layers
            ],
            hide_index=True,
            key="layer_table",
        )
