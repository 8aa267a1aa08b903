"""The user's browser: its secret, whether it keeps cookies, and whether it is light or dark."""

import secrets
from typing import Literal

import streamlit as st

from explorer import runs
from explorer.ui import streamlit_internals
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


def keeps_cookies() -> bool:
    """False where the browser has not sent back the cookie that it got before its session opened, as in a frame of
    another site: the server would refuse its uploads, and a reload makes it a new owner. True for programs."""
    if not st.get_option("server.enableXsrfProtection") or "Origin" not in st.context.headers:
        return True
    return streamlit_internals.XSRF_COOKIE in st.context.cookies


def theme() -> Literal["light", "dark"]:
    return "dark" if st.context.theme.type == "dark" else "light"
