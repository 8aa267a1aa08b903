"""What goes wrong in the callback of a widget stands on the page at its next run."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from explorer.errors import user_message
from explorer.labels import capital
from explorer.ui.markdown import as_sentence

_KEY = "callback_error"


@contextmanager
def report_errors(failure: str = "", remedy: str = "free some space on the disk") -> Iterator[None]:
    """Around the work of a callback; `failure` and `remedy` are for a full disk."""
    try:
        yield
    except OSError as error:
        st.session_state[_KEY] = f"{failure} ({error.strerror}); {remedy}."
    except ValueError as error:
        st.session_state[_KEY] = user_message(error)


def show_error() -> None:
    """The sentence of the last callback, where it has failed, once."""
    if _KEY in st.session_state:
        st.error(as_sentence(capital(st.session_state.pop(_KEY))))
