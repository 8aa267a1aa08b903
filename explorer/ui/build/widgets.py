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

New = Callable[[BuildState, Any], BuildState]
"""The state with the value that a widget has now."""


def load_state() -> BuildState:
    """The state in the URL; that of the first form where the URL says nothing of this page."""
    query = url_query.read()
    if not any(field.name in query for field in dataclasses.fields(BuildState)):
        return forecasts.first_form()
    return BuildState.from_query(query)


def save_state(state: BuildState) -> None:
    """Puts it into the URL, which every widget then shows."""
    url_query.write(state.to_query())


def update_state(**changes: Any) -> None:
    save_state(dataclasses.replace(load_state(), **changes))


def edit(widget: Callable[..., Any], label: str, *options: Any, new: New, **more: Any) -> None:
    """A widget whose value goes through `new` into the state of that moment."""
    bound(widget, label, *options, write=lambda value: save_state(new(load_state(), value)), **more)


def select(label: str, key: str, options: Sequence[Any], value: Any, new: New, **more: Any) -> None:
    more.setdefault("format_func", partial(label_of, key))
    edit(st.selectbox, label, options, key=key, value=value, new=new, **more)


def number(
    label: str, key: str, value: float, new: New, limits: tuple[float, float] | None = None, **more: Any
) -> None:
    """A number within `limits`, by default those of the field `key`."""
    low, high = limits or LIMITS[key]
    if isinstance(low, float):
        more.setdefault("format", "%g")
    edit(st.number_input, label, low, high, key=key, value=type(low)(value), new=new, **more)


def toggle(label: str, key: str, value: bool, new: New) -> None:
    edit(st.toggle, label, key=key, value=value, new=new)


def of_spec(field: str) -> New:
    return lambda state, value: state.with_spec(**{field: value})


def of_config(field: str) -> New:
    return lambda state, value: state.with_config(**{field: value})
