"""One field of Build & train as a widget: it shows what the URL says, and its change is written there."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from explorer.labels import label as label_of
from explorer.ui import forecasts, url_query
from explorer.ui.build_state import LIMITS, BuildState
from explorer.ui.widgets.bound import bound


def read() -> BuildState:
    """The state in the URL; that of the first proposal where the URL says nothing of this page."""
    query = url_query.read()
    if not any(field.name in query for field in dataclasses.fields(BuildState)):
        return forecasts.first_form()
    return BuildState.from_query(query)


def write(state: BuildState) -> None:
    """Puts it into the URL, which every widget then shows."""
    url_query.write(state.to_query())


def edit(
    widget: Callable[..., Any], label: str, *options: Any, new: Callable[[BuildState, Any], BuildState], **more: Any
) -> None:
    """A widget whose value goes through `new` into the state of that moment."""
    bound(widget, label, *options, write=lambda value: write(new(read(), value)), **more)


def select(
    label: str, key: str, options: Sequence[Any], value: Any, new: Callable[[BuildState, Any], BuildState], **more: Any
) -> None:
    words = more.pop("format_func", partial(label_of, key))
    edit(st.selectbox, label, options, key=key, value=value, new=new, format_func=words, **more)


def number(
    label: str,
    key: str,
    low: float,
    high: float,
    value: float,
    new: Callable[[BuildState, Any], BuildState],
    **more: Any,
) -> None:
    kind = float if isinstance(low, float) else int
    edit(st.number_input, label, low, high, key=key, value=kind(value), new=new, **more)


def limited(label: str, field: str, value: float, new: Callable[[BuildState, Any], BuildState], **more: Any) -> None:
    """A number with the limits of its field."""
    low, high = LIMITS[field]
    number(label, field, low, high, value, new, **({"format": "%g"} if isinstance(low, float) else {}), **more)


def toggle(label: str, key: str, value: bool, new: Callable[[BuildState, Any], BuildState]) -> None:
    edit(st.toggle, label, key=key, value=value, new=new)


def of_spec(field: str) -> Callable[[BuildState, Any], BuildState]:
    return lambda state, value: state.with_spec(**{field: value})


def of_config(field: str) -> Callable[[BuildState, Any], BuildState]:
    return lambda state, value: state.with_config(**{field: value})
