"""The user's browser: its secret, and whether it is light or dark."""

import secrets
from typing import Literal

import streamlit as st

from explorer import runs
from explorer.ui.session import session

OWNER_COOKIE = "explorer_owner"


def owner() -> str:
    """The secret that owns the user's runs and shared networks: that of the browser's cookie, which `server` sets.

    A browser without cookies has one for the session.
    """
    data = session()
    if not data.owner:
        cookie = st.context.cookies.get(OWNER_COOKIE)
        is_valid = isinstance(cookie, str) and runs.OWNER.fullmatch(cookie)
        data.owner = cookie if cookie and is_valid else secrets.token_hex(16)
    return data.owner


def theme() -> Literal["light", "dark"]:
    return "dark" if st.context.theme.type == "dark" else "light"
