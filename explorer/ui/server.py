"""The server around the pages: what it answers beside Streamlit's own addresses, the browser that it opens, and what
it throws away."""

import asyncio
import logging
import threading
import webbrowser
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import streamlit as st
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose
from streamlit.runtime.session_manager import ActiveSessionInfo
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager

from explorer import runs
from explorer.ui import viewer
from explorer.ui.api import explain
from explorer.ui.services import process_tuning

SWEEP_EVERY = 3600.0  # seconds between two looks for uploaded data that has had its day
EVERYWHERE = ("0.0.0.0", "::")  # addresses to listen on, which no browser can open


def routes() -> list[BaseRoute]:
    """The addresses beside Streamlit's own."""
    modules = _Immutable(directory=viewer.STATIC)
    return [
        Route(f"{_base()}/{explain.ROUTE}", explain.handle_explain, methods=["POST"]),
        Route(f"{_base()}/{explain.ARRAYS_ROUTE}", explain.handle_arrays, methods=["POST"]),
        Mount(f"{_base()}/{viewer.ROUTE}/{viewer.HASH}", modules),
    ]


class _Immutable(StaticFiles):
    """Files under a path that names their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        if path.endswith(".js"):  # some systems call it plain text, which no browser imports
            response.headers["Content-Type"] = "text/javascript; charset=utf-8"
        return response


class OwnPages:
    """Opens a session, and answers a POST, for pages of this server, for origins that `server.corsAllowedOrigins`
    names, and for programs, which name no origin.

    Streamlit refuses a page from elsewhere too, but only after it has asked checkip.amazonaws.com for the address of
    this machine, with everybody waiting; and it lets in the pages of any other server on this machine.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        opens_session = scope["type"] == "websocket"
        checked = opens_session or (scope["type"] == "http" and scope["method"] == "POST")
        headers = Headers(scope=scope) if checked else Headers()
        origin = headers.get("origin")
        if origin is None or _is_ours(origin, headers.get("host")):
            await self._app(scope, receive, send)
        elif opens_session:
            logging.getLogger(__name__).warning("Refused a session to a page of %r.", origin)
            await WebSocketClose(1008)(scope, receive, send)
        else:
            message = "Only a page of this server may ask for this."
            await JSONResponse({"code": "origin", "message": message}, 403)(scope, receive, send)


def middleware() -> list[Middleware]:
    """What stands before every request."""
    return [Middleware(OwnPages)]


def _is_ours(origin: str, host: str | None) -> bool:
    allowed = {each.strip() for each in st.get_option("server.corsAllowedOrigins")}
    ours = origin.partition("://")[2] == host
    return ours or origin in allowed or not st.get_option("server.enableCORS")


@asynccontextmanager
async def opened(_: st.App) -> AsyncIterator[dict[str, Any] | None]:
    """Tunes the process; opens a browser, as `streamlit run` does of itself where no app of ours stands around the
    pages; and sweeps uploaded data while the server runs, whoever comes."""
    process_tuning.tune()
    keep_answers()
    if not st.get_option("server.headless"):
        threading.Thread(target=webbrowser.open, args=[_url()], daemon=True).start()
    sweeping = asyncio.create_task(_sweep())
    yield None
    sweeping.cancel()


class _AsTheyAre(list[ActiveSessionInfo]):
    """The sessions that have a connection, each with the one that it has when its turn comes."""

    def __init__(self, sessions: Mapping[str, ActiveSessionInfo]) -> None:
        super().__init__(sessions.values())
        self._sessions = sessions

    def __iter__(self) -> Iterator[ActiveSessionInfo]:
        for known in super().__iter__():
            if now := self._sessions.get(known.session.id):
                yield now


def keep_answers() -> None:
    """Streamlit 1.67 sends what pages are to show to one session after the other, from a list that it made before
    (`Runtime._loop_coroutine`). With many visitors that takes seconds, and a page that lost its connection is back
    sooner: its answer then goes to the connection that is gone, and the page waits for ever."""
    WebsocketSessionManager.list_active_sessions = _as_they_are  # type: ignore[assignment]


def _as_they_are(manager: WebsocketSessionManager) -> list[ActiveSessionInfo]:
    return _AsTheyAre(manager._active_session_info_by_id)


async def _sweep() -> None:
    while True:
        try:
            await asyncio.to_thread(runs.sweep_stored_data)  # it may have to wait for a lock
        except OSError:
            logging.getLogger(__name__).exception("Uploaded data could not be swept.")
        await asyncio.sleep(SWEEP_EVERY)


def _url() -> str:
    scheme = "https" if st.get_option("server.sslCertFile") else "http"
    listens = st.get_option("server.address")
    host = "localhost" if not listens or listens in EVERYWHERE else listens
    return f"{scheme}://{host}:{st.get_option('server.port')}{_base()}/"


def _base() -> str:
    """The folder that the app is served in, "" at the top."""
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""
