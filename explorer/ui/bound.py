"""A widget that shows a value which lives elsewhere, as in the URL."""

from collections.abc import Callable
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
    """Draws the widget with `value`. What a person chooses instead is handed to `write` before the page runs again."""
    st.session_state[key] = value
    return widget(label, *options, key=key, on_change=lambda: write(st.session_state[key]), **more)
