"""The question of a study: a ready-made one or one of your own, its cost, and its start."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import streamlit as st

from explorer import studies
from explorer.errors import user_message
from explorer.labels import ENGINES
from explorer.studies import Axis, EngineError, Study, driver
from explorer.studies.analysis import field_words
from explorer.studies.cost import cost
from explorer.studies.local import default_places
from explorer.studies.ray_connection import check_version, is_elsewhere, is_installed
from explorer.studies.ready_made import READY_MADE, ready_made
from explorer.training import choose_device
from explorer.ui import client, forecasts, lesson
from explorer.ui.experiments import study_view
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.state import MOST_AT_ONCE, MOST_EPOCHS, MOST_SEEDS, ExperimentsState
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.session import session
from explorer.ui.widgets.bound import bound, choice
from explorer.ui.widgets.callback_errors import report_errors, show_error

TITLE = "What do many trainings say?"
METHOD = (
    "A study trains every combination of its axes with every seed. Twins of one seed start from the same weights and "
    "see the same batches, so their difference is a paired one."
)
EXAMPLES = {
    "depth": "8, 20, 56", "shortcut": "none, identity", "norm": "batch, none", "activation": "relu, gelu",
    "init": "he, pytorch", "width": "8, 16", "block": "basic, bottleneck", "data": "shapes-16, shapes-32",
    "size": "16, 32", "preactivation": "no, yes", "shortcut_gain": "1, 0.5", "stochastic_depth": "0, 0.2",
    "learning_rate": "0.03, 0.1", "batch_size": "32, 64", "epochs": "3, 6", "optimizer": "sgd, adam",
    "momentum": "0, 0.9", "nesterov": "no, yes", "weight_decay": "0, 0.0005", "schedule": "constant, one_cycle",
    "label_smoothing": "0, 0.1", "clip": "1, 5", "class_weights": "no, yes", "augment": "no, yes",
    "precision": "float32, bfloat16",
}  # fmt: skip
"""The axes that the page offers, and values to begin with."""
_SWITCHES = {"yes": True, "no": False}
MOST_LISTED = 12  # earlier studies
_BETWEEN = "|"  # values in the URL: a shortcut of its own for each stage has commas


def show(state: ExperimentsState) -> None:
    """The study of the URL, or the form of a new one."""
    st.subheader(TITLE, anchor=False)
    lesson.explain(METHOD)
    if state.study:
        study_view.show(state.study)
        return
    if lesson.hides("controls"):
        return
    show_error()
    _choose(state)
    try:
        study = asked(state)
        study.check_size()
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
    else:
        _offer(state, study)
    _earlier()


def asked(state: ExperimentsState) -> Study:
    """The study that the form describes. Raises ValueError for impossible axes."""
    study = ready_made(state.ready)
    if state.axes:
        study = replace(study, name=f"{study.name} (changed)", axes=parse_axes(state.axes))
    if state.seeds is not None:
        study = replace(study, seeds=tuple(range(state.seeds)))
    if state.epochs is not None:
        study = replace(study, config={**study.config, "epochs": state.epochs, "seconds": None})
    return study


def axes_text(axes: Sequence[Axis]) -> str:
    """The axes as the URL has them, the inverse of `parse_axes`: "depth:8|20;shortcut:none|identity"."""
    return ";".join(f"{axis.field}:{_BETWEEN.join(map(_text, axis.values))}" for axis in axes)


def parse_axes(text: str) -> tuple[Axis, ...]:
    """Raises ValueError."""
    made = []
    for part in filter(None, text.split(";")):
        field, _, values = part.partition(":")
        made.append(Axis(field, tuple(_value(value.strip()) for value in values.split(_BETWEEN) if value.strip())))
    return tuple(made)


def _value(text: str) -> Any:
    """A number or "yes" or "no" where it is one, else the text."""
    if text in _SWITCHES:
        return _SWITCHES[text]
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, int | float) and not isinstance(found, bool) else text


def _text(value: Any) -> str:
    """What `_value` reads as that value."""
    return next((text for text, switch in _SWITCHES.items() if switch is value), str(value))


def _choose(state: ExperimentsState) -> None:
    bound(
        st.selectbox, "Study", list(READY_MADE), key="study_ready", value=state.ready,
        write=lambda name: update_state(ready=name, axes="", seeds=None, epochs=None),
        format_func=lambda name: READY_MADE[name].title, width=420,
    )  # fmt: skip
    chosen = READY_MADE[state.ready]
    lesson.explain(f"**{as_text(chosen.question)}** {as_text(chosen.note)}")
    base = chosen.make()
    try:
        axes = parse_axes(state.axes) or base.axes
    except ValueError:  # said below the form
        axes = base.axes
    with st.expander("Axes, seeds and training", expanded=bool(state.axes)):
        with st.container(horizontal=True):
            for axis in axes:
                _values(axes, axis)
        present = {axis.field for axis in axes}
        offered = [field for field in EXAMPLES if field not in present]
        bound(
            st.selectbox, "Add an axis", offered, key="study_add", value=None, index=None,
            write=lambda field: _add(axes, field), format_func=field_words, width=240,
        )  # fmt: skip
        with st.container(horizontal=True):
            _number("seeds", "Seeds", state.seeds or len(base.seeds), MOST_SEEDS)
            _number("epochs", "Epochs", state.epochs or int(base.config["epochs"]), MOST_EPOCHS)
            _choose_engine(state, base)


def _choose_engine(state: ExperimentsState, base: Study) -> None:
    """This machine or, where it is installed, Ray, and how many runs go on at once."""
    if is_installed() or state.engine == "ray":
        choice(state, "engine", "Trained by", ENGINES, prefix="study", change=partial(update_state, places=None))
    if state.engine == "ray":
        number = partial(_number, least=0, help="0: as many as Ray has cores or GPUs for.")
        number("places", "Runs at once", state.places or 0, MOST_AT_ONCE)
    else:
        _number("places", "Runs at once", _places(state, base), MOST_AT_ONCE)


def _number(field: str, label: str, value: int, most: int, least: int = 1, **more: Any) -> None:
    bound(
        st.number_input, label, least, most, key=f"study_{field}", value=value, width=160,
        write=lambda number: update_state(**{field: int(number) or None}), **more,
    )  # fmt: skip


def _values(axes: Sequence[Axis], axis: Axis) -> None:
    between = ";" if axis.field == "shortcut" and any("," in str(value) for value in axis.values) else ","
    written = f"{between} ".join(map(_text, axis.values))

    def write(text: str) -> None:
        values = [part.strip() for part in text.replace(_BETWEEN, between).split(between) if part.strip()]
        with report_errors():
            new = [Axis(axis.field, tuple(map(_value, values)))] if values else []
            changed = [each for old in axes for each in (new if old.field == axis.field else [old])]
            update_state(axes=axes_text(changed))

    bound(
        st.text_input, f"Values of {field_words(axis.field)}", key=f"study_axis_{axis.field}", value=written,
        write=write, width=300, max_chars=120, help="Empty it to leave the axis out.",
    )  # fmt: skip


def _add(axes: Sequence[Axis], field: str | None) -> None:
    if field:
        values = tuple(_value(part.strip()) for part in EXAMPLES[field].split(","))
        with report_errors():
            update_state(axes=axes_text([*axes, Axis(field, values)]))


def _places(state: ExperimentsState, study: Study) -> int:
    """Runs at once, whose number a Ray elsewhere decides: 0."""
    usual = 0 if is_elsewhere(state.engine) else default_places(choose_device(study.device).type)  # type: ignore[arg-type]
    return state.places or usual


def _offer(state: ExperimentsState, study: Study) -> None:
    """The cost, and the button that starts it; a refusal with its number instead."""
    places, elsewhere = _places(state, study), is_elsewhere(state.engine)
    refused = False
    try:
        if state.engine == "ray":
            check_version()
            whose = "the Ray at the address that this server was given" if elsewhere else "a Ray on this machine"
            st.caption(f"The study's own process hands its runs to {whose}.")
        speed = forecasts.speed()
        if speed is None:
            forecasts.measure_beside()
            forecasts.rerun_when_known(
                f"{study.runs:,} runs. Measuring how fast this machine trains, for some seconds. "
                "Then the cost stands here."
            )
            return
        key = f"study-cost/{places}/{elsewhere}/{speed.measured}/{json.dumps(asdict(study), sort_keys=True)}"
        expected = session().results.find(key)
        if expected is None:
            expected = cost(study, speed, places, elsewhere)
            session().results.put(key, expected)
        st.markdown(as_sentence(expected.sentence))
        expected.check()
    except (ValueError, EngineError) as error:
        refused = True
        st.error(as_sentence(str(error) if isinstance(error, EngineError) else user_message(error)))
    wished = state.places or 0 if state.engine == "ray" else places  # Ray knows how many it has
    st.button(
        "Start", key="study_start", type="primary", on_click=_start, args=(study, state.engine, wished),
        disabled=refused,
    )  # fmt: skip


def _start(study: Study, engine: str, places: int) -> None:
    with report_errors("The study cannot be kept"):
        study_view.check_engine(engine)  # before a directory is made
        place = studies.create(study, owner=client.owner(), engine=engine, places=places)
        driver.start(place)
        update_state(study=place.id)


def _earlier() -> None:
    """The last studies of this user."""
    mine = studies.list_studies(client.owner())[:MOST_LISTED]
    if not mine:
        return
    st.markdown("**Your studies**")
    for place in mine:
        found = studies.progress(place)
        label = f"{place.study().name} · {found.count('finished')} of {len(found.trials)} runs · {found.state}"
        st.button(as_text(label), key=f"study_{place.id}", on_click=update_state, kwargs={"study": place.id})
