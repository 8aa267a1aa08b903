"""Who looks at the page: a secret of their browser, and whether it is light or dark."""

import secrets
from typing import Literal

import streamlit as st

from explorer import runs

COOKIE = "explorer_owner"


def owner() -> str:
    """Who this person is: a secret that their browser keeps in a cookie, so that they find their runs again."""
    known = _known_owner()
    if known:
        return known
    if "owner" not in st.session_state:
        st.session_state["owner"] = secrets.token_hex(16)
    return st.session_state["owner"]


def _known_owner() -> str | None:
    cookie = st.context.cookies.get(COOKIE)
    return cookie if isinstance(cookie, str) and runs.OWNER.fullmatch(cookie) else None


def remember_owner() -> None:
    """Gives the browser its secret, where it has none yet."""
    if not _known_owner():
        _cookie(key="cookie", data=f"{COOKIE}={owner()}; path=/; max-age=31536000; SameSite=Strict", height=0)


_cookie = st.components.v2.component(
    "cookie", js="export default function (component) {\n  document.cookie = component.data;\n}\n"
)


def theme() -> Literal["light", "dark"]:
    return "dark" if st.context.theme.type == "dark" else "light"
