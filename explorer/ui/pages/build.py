"""Build & train: a form that is a network and its training, and the run that comes of it."""

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer import figures, runs
from explorer.architectures import ArchitectureSpec, describe
from explorer.architectures.words import variant_words
from explorer.datasets import shapes
from explorer.errors import user_message
from explorer.figures import Chapter, Chart, Table
from explorer.runs import Request, Run
from explorer.training import choose_device, training_memory
from explorer.ui import client, dataset_access, forecasts, lesson, navigation
from explorer.ui.build import (
    budget,
    classes,
    dataset_panel,
    ending,
    form,
    kept_weights,
    replay,
    run_view,
    training_form,
    widgets,
)
from explorer.ui.build_state import BuildState
from explorer.ui.charts import chart
from explorer.ui.markdown import as_sentence, table
from explorer.ui.network_text import dataset_title
from explorer.ui.session import session

DEBOUNCE_S = 10.0  # seconds in which the same form is started once: a busy machine answers a click late


def show() -> None:
    state = widgets.load_state()
    if state.run is not None:
        run_view.show_run(state, state.run)
    elif state.replay is not None:
        replay.show_replay(state.replay)
    else:
        _show_form(state)
    run_view.show_earlier_runs(state)
    ending.show_ending(state)


def _tabs() -> Any:
    """Those of the form; another page may say which one is open."""
    if tab := session().build_tab:
        st.session_state["build_tab"] = tab
        session().build_tab = None
    return st.tabs(["Network", "Training", "Data"], key="build_tab", on_change="rerun")


def _show_form(state: BuildState) -> None:
    st.header("Build a network and train it", anchor=False)
    lesson.explain(
        "Change anything: the drawing follows. With its **twin**, the same network without (or with) shortcuts, it "
        "starts from the same weights and sees the same images. The shortcuts alone make the difference."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        budget.offer_forms(state)
        replay.offer_replay()
    left, right = st.columns([6, 8], gap="medium")
    with left:
        parts = (
            (form.choose_preset, form.choose_network),
            (training_form.offer_settings, training_form.choose_training, kept_weights.choose_number),
            (dataset_panel.choose_data,),
        )
        for tab, widgets_of_tab in zip(_tabs(), parts, strict=True):
            if tab.open:
                with tab:
                    for choose in widgets_of_tab:
                        choose(state)
    with right:
        specs = _networks(state)
        if specs:
            _start_button(state, specs)
            _show_networks(state, specs)
    forecasts.measure_beside()  # when the page is drawn, so that neither slows the other down


def _networks(state: BuildState) -> tuple[ArchitectureSpec, ...]:
    """The network of the form, and its twin where it is wished; nothing, and a user_message, where it cannot exist."""
    try:
        spec = state.network(*dataset_access.data_shape(state.data))
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
            disabled=bool(missing) or not dataset_access.can_train_on(state.data),
        )
        widgets.edit(
            st.toggle,
            "Train its twin too",
            key="twin",
            value=state.twin,
            new=lambda before, on: replace(before, twin=on),
            help="Both start from identical weights and see identical batches, step by step.",
        )
    if not dataset_access.can_train_on(state.data):
        st.info("Upload your images first, in the tab Data.")
    if missing:
        st.error(as_sentence(missing))
    budget.show_budget(state, specs)
    kept_weights.show_size(state, specs)
    if pressed:
        _start(state, specs)


def _missing_pictures(state: BuildState) -> str:
    """Which uploaded pictures a training lacks, in one sentence; empty where it lacks none, or the file is damaged."""
    if not state.data.startswith("stored-") or not dataset_access.is_available(state.data):
        return ""
    try:
        return classes.missing_pictures(dataset_access.summary(state.data))
    except ValueError:  # the forecast says it
        return ""


def _start(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> None:
    """Starts the run and opens it. A second click before the page has changed opens the run of the first."""
    # Written in place: the second click ends this script at its next use of the session's state, not before.
    started: dict[str, Any] = st.session_state.setdefault("started", {"form": None, "run": "", "at": 0.0})
    if started["form"] != state or time.monotonic() - started["at"] > DEBOUNCE_S:
        try:
            run = start_run(state, specs)
        except ValueError as error:
            st.error(as_sentence(user_message(error)))
            return
        started.update(form=state, run=run.id, at=time.monotonic())
    widgets.save_state(replace(state, run=started["run"]))
    st.rerun()


def start_run(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> Run:
    """Queues the training of that form. Raises ValueError with one sentence for the page."""
    data: dict[str, Any] = {"kind": state.data}
    if drawn := shapes.named(state.data):
        data = drawn.request
    elif state.data.startswith("stored-"):
        data = {"kind": "stored", "number": state.data.removeprefix("stored-")}
    request = Request(
        specs=tuple(spec.to_dict() for spec in specs),
        config=state.training().to_dict(),
        data=data,
        device=choose_device().type,
        owner=client.owner(),
        created=time.time(),
        names=tuple(spec.name for spec in specs),
        snapshots=kept_weights.number_of(state, specs),
    )
    try:
        return runs.submit(request, secrets.token_hex(16))
    except OSError as error:
        raise ValueError(
            f"the run cannot be started ({error.strerror}); free some space on the disk, for example by deleting runs."
        ) from None


def _show_networks(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> None:
    names = [spec.name.replace("-", "\u2011") for spec in specs]  # a hyphen that keeps a name in one line
    facts = [_facts(state, spec) for spec in specs]
    # A column for each network: two columns fit into a phone.
    rows = [["", *names], *([f"**{fact}**", *(each[fact] for each in facts)] for fact in facts[0])]
    heads, *cells = [[f":small[{cell}]" for cell in row] for row in rows]
    st.markdown(table(heads, cells, len(heads)))
    theme = client.theme()
    explained = next((index for index, spec in enumerate(specs) if spec.shortcut != "none"), 0)
    for index, spec in enumerate(specs):
        st.markdown(f"**{spec.name}**" + (", the twin" if index else ""))
        drawing = figures.network_drawing(describe(spec), theme=theme, legend=index == explained)
        words = "".join(f", {word}" for word in variant_words(spec))
        chart(drawing, f"drawing_{index}", f"Drawing of {spec.name}: {len(spec.stages)} stages{words}")
    with st.expander(f"All layers of {specs[0].name}, and what the numbers mean"):
        st.caption(
            "The number in a name is the depth: weighted layers on the main path, as the papers count. MACs are "
            "multiply-accumulates for one image. The receptive field is the side of the square that one value of "
            "the last feature map can depend on. Memory is about what a training step with this batch size takes."
        )
        st.dataframe(_layers(specs[0]), hide_index=True, key="layer_table")
    stem = "-and-".join(spec.name for spec in specs)
    navigation.report_button(" and ".join(names), lambda: _chapters(state, specs), f"networks-{stem}", "form-report")


def _layers(spec: ArchitectureSpec) -> list[dict[str, str | int | None]]:
    return [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "output": " × ".join(map(str, layer.output_shape)),
            "parameters": layer.parameters,
            "MACs": layer.macs,
            "receptive field": layer.receptive_field,
        }
        for layer in describe(spec).layers
    ]


def _chapters(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> list[Chapter]:
    """The networks of the form and their settings, for a report."""

    def rows(values: Mapping[str, object]) -> list[list[str]]:
        return [[name, str(value)] for name, value in values.items()]

    networks = []
    for spec in specs:
        layers = _layers(spec)
        cells = [["" if value is None else str(value) for value in layer.values()] for layer in layers]
        drawing = Chart(figures.network_drawing(describe(spec)), spec.name, "Input, stem, stages and head.")
        facts = Table(["", spec.name], rows(_facts(state, spec)))
        networks.append(Chapter(spec.name, [facts, drawing, Table([*layers[0]], cells, texts=3)]))
    settings = state.training().to_dict() | {"data": dataset_title(state.data)}
    return [*networks, Chapter("Training", [Table(["setting", "value"], rows(settings))])]


def _facts(state: BuildState, spec: ArchitectureSpec) -> dict[str, str]:
    """Size and cost of a network by their titles."""
    built = describe(spec)
    config = state.training()
    memory = training_memory(built.parameters, built.activation_bytes, config.batch_size, config.optimizer)
    fields = [layer.receptive_field for layer in built.layers if layer.kind in ("conv", "block")]
    return {
        "Parameters": f"{built.parameters:,}",
        "MACs": _short(built.macs),
        "Receptive field": f"{fields[-1]:,}\u00a0px",
        "Memory": _bytes(memory),
    }


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}\u00a0{unit}"  # a space that keeps them in one line
    return f"{number:.0f}"


def _bytes(number: float) -> str:
    return f"{number / 2**30:,.1f}\u00a0GiB" if number >= 2**30 else f"{number / 2**20:,.0f}\u00a0MiB"
