"""The server around the pages: what it answers beside Streamlit's own addresses, and the browser that it opens."""

import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import streamlit as st
from starlette.routing import Route

from explorer.ui import drawings

EVERYWHERE = ("0.0.0.0", "::")  # addresses to listen on, which no browser can open


def routes() -> list[Route]:
    """The addresses beside Streamlit's own."""
    return [Route(f"{_base()}/{drawings.NAME}", drawings.answer, methods=["POST"])]


@asynccontextmanager
async def opened(_: st.App) -> AsyncIterator[dict[str, Any] | None]:
    """Opens a browser, as `streamlit run` does of itself where no app of ours stands around the pages."""
    if not st.get_option("server.headless"):
        threading.Thread(target=webbrowser.open, args=[_url()], daemon=True).start()
    yield None


def _url() -> str:
    scheme = "https" if st.get_option("server.sslCertFile") else "http"
    listens = st.get_option("server.address")
    host = "localhost" if not listens or listens in EVERYWHERE else listens
    return f"{scheme}://{host}:{st.get_option('server.port')}{_base()}/"


def _base() -> str:
    """The folder that the app is served in, "" at the top."""
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""
