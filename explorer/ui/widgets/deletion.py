"""A button that deletes after a second click."""

from collections.abc import Callable

import streamlit as st

_ASKED = "asked_to_delete"


def delete_button(name: str, delete: Callable[[], None], *, key: str, what: str = "") -> None:
    """Delete, and once it was clicked "Yes, delete" and "Keep". `name` is that of the thing, of all that can be deleted
    there; `what` follows "delete" in the question."""
    if st.session_state.get(_ASKED) == name:
        st.button(f"Yes, delete{what}", key=f"{key}_yes", type="primary", on_click=_confirm, args=(delete,))
        st.button("Keep", key=f"{key}_keep", on_click=_forget)
    else:
        st.button("Delete", key=key, on_click=lambda: st.session_state.update({_ASKED: name}))


def _confirm(delete: Callable[[], None]) -> None:
    _forget()
    delete()


def _forget() -> None:
    st.session_state.pop(_ASKED, None)
