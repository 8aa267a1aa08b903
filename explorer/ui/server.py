"""The server around the pages: routes of our own, middleware, and the tasks of its lifetime."""

import asyncio
import logging
import re
import secrets
import textwrap
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from explorer import runs
from explorer.images import PHOTOS
from explorer.ui import client, origin, streamlit_internals, viewer
from explorer.ui.api import explain, rows
from explorer.ui.services import process_tuning

SWEEP_INTERVAL_S = 3600.0  # between two removals of expired uploaded data
_LETTERS = 52  # in a line of what Streamlit shows where no session opens
WILDCARD_ADDRESSES = ("0.0.0.0", "::")  # addresses to listen on, which no browser can open
_PREFIX = re.compile(r"(?:/[\w.~-]{1,64}){1,8}", re.ASCII)  # of a header, so nothing that a cookie could not hold


def routes() -> list[BaseRoute]:
    """Those beside Streamlit's own."""
    modules = _Immutable(directory=viewer.STATIC)
    return [
        Route(f"{_base()}/{explain.ROUTE}", explain.handle_explain, methods=["POST"]),
        Route(f"{_base()}/{explain.ARRAYS_ROUTE}", explain.handle_arrays, methods=["POST"]),
        Route(f"{_base()}/{explain.REPORT_ROUTE}", explain.handle_report, methods=["POST"]),
        Route(f"{_base()}/{explain.PICTURE_ROUTE}", explain.handle_picture, methods=["POST"]),
        Route(f"{_base()}/{explain.CLASSIFY_ROUTE}", explain.handle_classify, methods=["POST"]),
        Route(f"{_base()}/{rows.ROUTE}", rows.handle_rows, methods=["POST"]),
        Route(f"{_base()}/api/photo/{{name}}", _photo),
        Mount(f"{_base()}/{viewer.ROUTE}/{viewer.HASH}", modules),
    ]


async def _photo(request: Request) -> Response:
    """The file of that name in `PHOTOS`, which is no path."""
    photo = PHOTOS.get(request.path_params["name"])
    if photo is None:
        return JSONResponse({"code": "picture", "message": "There is no such photo."}, 404)
    return FileResponse(photo.file, media_type="image/jpeg", headers={"Cache-Control": "public, max-age=86400"})


class _Immutable(StaticFiles):
    """Files under a path that names their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        if path.endswith(".js"):  # some systems' tables say plain text, which no browser imports
            response.headers["Content-Type"] = "text/javascript; charset=utf-8"
        return response


class SessionMiddleware:
    """Opens a session, and answers a POST, for pages of this server, for origins that `server.corsAllowedOrigins`
    names, and for programs, which name no origin. A browser gets its owner cookie as its session opens.

    Streamlit refuses a page from elsewhere too, but only after it has asked checkip.amazonaws.com for the address of
    this machine, with everybody waiting; and it lets in the pages of any other server on this machine. So it is told
    that a page is of this server where that is so behind a proxy.

    A browser asks for the server's health before it opens a session, and shows what is wrong with it. A page whose
    session would be refused gets the reason there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = self._app
        if scope["type"] == "websocket":
            answer = self._session
        elif scope["type"] == "http":
            send = _for_this_app(scope, send)
            if scope["method"] == "POST":
                answer = self._post
            elif scope["path"].endswith(streamlit_internals.HEALTH):
                answer = self._health
        await answer(scope, receive, send)

    async def _session(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = MutableHeaders(scope=scope)
        page = headers.get("origin")
        if page and (refused := origin.refusal(page, headers)):
            _log().warning("Refused a session to %s", refused)
            await WebSocketClose(1008)(scope, receive, send)
            return
        if page and "host" in headers:
            headers["origin"] = f"{page.partition('://')[0]}://{headers['host']}"
        await self._app(scope, receive, _with_owner(scope, send))

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        page = headers.get("origin")
        refused = origin.refusal(page, headers) if page else ""
        answer = JSONResponse({"code": "origin", "message": f"The server answers no request of {refused}"}, 403)
        await (answer if refused else self._app)(scope, receive, send)

    async def _health(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        parts = urlsplit(headers.get("referer", ""))
        refused = _session_refusal(f"{parts.scheme}://{parts.netloc}", headers) if parts.netloc else ""
        if refused:
            _log_once(refused)
        # Streamlit's page shows JSON alone, and as code, whose lines do not break.
        lines = textwrap.fill(refused, _LETTERS, break_long_words=False, break_on_hyphens=False)
        answer = JSONResponse(lines, 400, {"Cache-Control": "no-store"})
        await (answer if refused else self._app)(scope, receive, send)


def _session_refusal(page: str, headers: Headers) -> str:
    """Why no session would open for a page of that origin; "" where one would."""
    if refused := origin.refusal(page, headers):
        return f"No session opens for {refused}"
    host = headers.get("host", "")
    if streamlit_internals.is_host_allowed(host):
        return ""
    name = urlsplit(f"//{host}").hostname or host
    return f"No session opens under the name {name[:100]!r}. Start the app with this name in `--server.allowedHosts`."


def _log() -> logging.Logger:
    return logging.getLogger(__name__)


@lru_cache(maxsize=64)
def _log_once(refused: str) -> None:
    """A browser asks again and again."""
    _log().warning("%s", refused)


def middleware() -> list[Middleware]:
    return [Middleware(SessionMiddleware)]


def _with_owner(scope: Scope, send: Send) -> Send:
    """Makes sure that the request has one valid owner cookie, and returns a `send` that gives it to the browser for a
    year. No script can read it, and a page that came by HTTPS gets it for HTTPS alone."""
    headers = MutableHeaders(scope=scope)
    pairs = [each.strip() for line in headers.getlist("cookie") for each in line.split(";") if each.strip()]
    given = [each for each in pairs if each.partition("=")[0] == client.OWNER_COOKIE]
    # Of two, the first is for the longer path: the other one is that of an app at the root of this host.
    valid = (value for _, _, value in (each.partition("=") for each in given) if runs.OWNER.fullmatch(value))
    owner = next(valid, "") or secrets.token_hex(16)
    headers["cookie"] = "; ".join([*(each for each in pairs if each not in given), f"{client.OWNER_COOKIE}={owner}"])
    where = "Lax; Secure" if headers.get("origin", "").startswith("https://") else "Lax"
    where = "None; Secure; Partitioned" if _is_for_frames() else where
    cookie = f"{client.OWNER_COOKIE}={owner}; Path={_place(headers)}; Max-Age=31536000; HttpOnly; SameSite={where}"

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "websocket.accept":
            MutableHeaders(scope=message).append("set-cookie", cookie)
        await send(message)

    return send_with_cookie


def _is_for_frames() -> bool:
    """Whether cookies are kept where another site shows the app in a frame, which needs HTTPS."""
    return str(st.get_option("server.xsrfCookieSameSite")).lower() == "none"


def _place(headers: Headers) -> str:
    """The path of the app on its host, for cookies: other apps of that host get none of them. A proxy that removes a
    path names it in `X-Forwarded-Prefix`."""
    prefix = headers.get("x-forwarded-prefix", "").rstrip("/")
    return f"{prefix if _PREFIX.fullmatch(prefix) else _base()}/"


def _for_this_app(scope: Scope, send: Send) -> Send:
    """A `send` that gives Streamlit's cookie the path of the app, and keeps it for each site that shows the app in a
    frame: browsers that refuse all other cookies of frames take such ones."""
    place = _place(Headers(scope=scope)).encode()

    def changed(cookie: bytes) -> bytes:
        cookie = re.sub(rb"; Path=/(?=;|$)", b"; Path=" + place, cookie)
        return cookie + b"; Partitioned" if _is_for_frames() and b"SameSite=None" in cookie else cookie

    async def send_changed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (name, changed(value) if name == b"set-cookie" else value) for name, value in message["headers"]
            ]
        await send(message)

    return send_changed


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any] | None]:
    """Tunes the process, opens a browser, as `streamlit run` does for a script without an `st.App`, and removes expired
    uploaded data while the server runs."""
    process_tuning.tune()
    streamlit_internals.patch_session_iteration()
    if not st.get_option("server.headless"):
        threading.Thread(target=webbrowser.open, args=[_url()], daemon=True).start()
    sweeping = asyncio.create_task(_sweep())
    yield None
    sweeping.cancel()


async def _sweep() -> None:
    while True:
        try:
            await asyncio.to_thread(runs.sweep_stored_data)  # it may wait for a lock
        except OSError:
            logging.getLogger(__name__).exception("Uploaded data could not be swept.")
        await asyncio.sleep(SWEEP_INTERVAL_S)


def _url() -> str:
    scheme = "https" if st.get_option("server.sslCertFile") else "http"
    listens = st.get_option("server.address")
    host = "localhost" if not listens or listens in WILDCARD_ADDRESSES else listens
    return f"{scheme}://{host}:{st.get_option('server.port')}{_base()}/"


def _base() -> str:
    """The path prefix of the app, "" without one."""
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""
