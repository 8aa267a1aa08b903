"""Widgets whose value is stored elsewhere, as in the URL."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st


def bound(
    widget: Callable[..., Any],
    label: str,
    *options: Any,
    key: str,
    value: Any,
    write: Callable[[Any], None],
    **more: Any,
) -> Any:
    """Draws the widget with `value`. A new choice of the user goes to `write` before the page runs again."""
    st.session_state[key] = value
    return widget(label, *options, key=key, on_change=lambda: write(st.session_state[key]), **more)


def choice(
    state: Any,
    field: str,
    label: str,
    words: Mapping[Any, str],
    *,
    prefix: str,
    change: Callable[..., None],
    **more: Any,
) -> None:
    """One of `words` for a field of the page's state; `change(field=value)` puts the choice into it."""
    bound(
        st.segmented_control,
        label,
        list(words),
        key=f"{prefix}_{field}",
        value=getattr(state, field),
        write=lambda value: change(**{field: value}),
        format_func=words.__getitem__,
        required=True,
        **more,
    )
