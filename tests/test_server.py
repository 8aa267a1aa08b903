"""The server around the pages, without one: what it does while it runs."""

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send
from streamlit.runtime.session_manager import ActiveSessionInfo
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager

from explorer import runs
from explorer.images import PHOTOS
from explorer.ui import origin, server, streamlit_internals, viewer


def test_uploaded_data_that_has_had_its_day_goes_when_the_app_starts_and_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    monkeypatch.setattr(server, "SWEEP_INTERVAL_S", 0.01)
    old, fresh = (runs.stored_data(digit * 64) for digit in "12")
    old.parent.mkdir()
    fresh.touch()

    async def is_swept() -> None:
        until = time.monotonic() + 30
        while old.exists() and time.monotonic() < until:
            await asyncio.sleep(0.01)
        assert not old.exists()

    async def run() -> None:
        old.touch()
        os.utime(old, (1e9, 1e9))
        async with server.lifespan(None):  # type: ignore[arg-type]
            await is_swept()
            old.touch()
            await asyncio.sleep(0.05)
            assert old.exists(), "somebody has just brought it"
            os.utime(old, (1e9, 1e9))
            await is_swept()

    asyncio.run(run())
    assert fresh.exists()


def test_a_disk_that_cannot_be_swept_is_logged_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []

    def fails() -> None:
        tried.append(len(tried))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(runs, "sweep_stored_data", fails)
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    monkeypatch.setattr(server, "SWEEP_INTERVAL_S", 0.0)

    async def run() -> None:
        async with server.lifespan(None):  # type: ignore[arg-type]
            while len(tried) < 2:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert "could not be swept" in caplog.text


@dataclass
class Named:
    id: str


def test_an_answer_goes_to_the_connection_of_its_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's loop waits between two sessions, and meanwhile another one may come back over a new connection."""
    monkeypatch.setattr(WebsocketSessionManager, "list_active_sessions", WebsocketSessionManager.list_active_sessions)
    streamlit_internals.patch_session_iteration()
    manager = WebsocketSessionManager(*([None] * 4))  # type: ignore[arg-type]
    here = manager._active_session_info_by_id
    for name in "abc":
        here[name] = ActiveSessionInfo(f"old {name}", Named(name))  # type: ignore[arg-type]
    assert manager.num_active_sessions() == 3
    sent = []
    for known in manager.list_active_sessions():
        sent.append(known.client)
        if known.session.id == "a":
            here["b"] = ActiveSessionInfo("new b", Named("b"))  # type: ignore[arg-type]
            del here["c"]
            here["d"] = ActiveSessionInfo("d", Named("d"))  # type: ignore[arg-type]
    assert sent == ["old a", "new b"], "who has gone gets nothing, and who has just come is in the next round"


def answered(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and content of what the addresses beside Streamlit's own answer."""
    sent: list[Message] = []

    coming: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not coming:
            await asyncio.sleep(60)  # whoever listens for the end of the connection hears nothing
        return coming.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    app = Starlette(routes=server.routes(), middleware=server.middleware())
    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "query_string": b"", "headers": named}
    with ThreadPoolExecutor(1) as elsewhere:  # Playwright leaves an event loop in the thread of the tests
        elsewhere.submit(lambda: asyncio.run(app(scope, receive, send))).result()
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:])


OPTIONS = {
    "server.baseUrlPath": "",
    "server.corsAllowedOrigins": [],
    "server.enableCORS": True,
    "server.xsrfCookieSameSite": "lax",
}


def set_options(monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    """As `config.toml` has them, but for these."""
    monkeypatch.setattr(st, "get_option", {**OPTIONS, **options}.__getitem__)


LAB = "http://lab.example:8080"


@pytest.mark.parametrize(
    ("page", "headers", "told"),
    [
        (LAB, {"host": "lab.example:8080"}, ""),
        ("https://lab.example", {"host": "lab.example"}, ""),
        ("https://lab.example", {"host": "lab.example:443"}, ""),
        (LAB, {"host": "lab.example", "x-forwarded-host": "lab.example:8080"}, ""),
        (LAB, {"host": "127.0.0.1:8501", "x-forwarded-host": "lab.example:8080, inner"}, ""),
        (LAB, {"host": "lab.example", "x-forwarded-port": "8080"}, ""),
        ("https://lab.example", {"host": "lab.example", "x-forwarded-proto": "https, http"}, ""),
        ("https://lab.example", {"host": "lab.example", "x-forwarded-proto": "http"}, ""),  # of an inner proxy
        ("http://lab.example", {"host": "lab.example", "x-forwarded-proto": "http"}, ""),
        (
            "http://lab.example",
            {"host": "lab.example", "x-forwarded-proto": "https"},
            "`Host` names 'lab.example' and `X-Forwarded-Proto` names 'https'.",
        ),
        (LAB, {"host": "lab.example:8080", "x-forwarded-proto": "wss"}, "`X-Forwarded-Proto` names 'wss'."),
        ("https://named.example", {"host": "lab.example"}, ""),
        (LAB, {"host": "lab.example"}, "`Host` names 'lab.example'."),
        (LAB, {"host": "lab.example:1", "x-forwarded-port": "8080"}, "`Host` names 'lab.example:1'."),
        (LAB, {"host": "a", "x-forwarded-host": "b"}, "`Host` names 'a' and `X-Forwarded-Host` names 'b'."),
        ("http://localhost@lab.example:8080", {"host": "lab.example:8080"}, "`Host` names"),
        ("http://lab.example:80x", {"host": "lab.example"}, "`Host` names"),
        ("null", {"host": "null"}, "`Host` names 'null'."),
        ("null", {}, "`Host` names ''."),
    ],
)
def test_a_page_behind_a_proxy_is_known_by_its_headers_or_the_one_that_does_not_fit_is_named(
    monkeypatch: pytest.MonkeyPatch, page: str, headers: dict[str, str], told: str
) -> None:
    set_options(monkeypatch, **{"server.corsAllowedOrigins": ["https://named.example"]})
    said = origin.refusal(page, Headers(headers))
    assert bool(said) == bool(told) and told in said and len(said) < 600
    assert not told or (repr(page) in said and "proxy_set_header Host $http_host;" in said)


def test_streamlit_hears_of_no_other_origin_than_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a page behind a proxy it would ask checkip.amazonaws.com whether it is one of its own."""
    seen: list[Headers] = []

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(Headers(scope=scope))

    set_options(monkeypatch, **{"server.corsAllowedOrigins": ["https://named.example"]})
    named = [(b"host", b"lab.example"), (b"origin", b"https://named.example")]
    scope = {"type": "websocket", "path": "/", "headers": named}
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(lambda: asyncio.run(server.SessionMiddleware(page)(scope, None, None))).result()  # type: ignore[arg-type]
    assert seen[0]["origin"] == "https://lab.example"


def test_a_browser_that_asks_for_the_servers_health_is_told_why_no_session_will_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_options(monkeypatch)
    monkeypatch.setattr(streamlit_internals, "is_host_allowed", lambda host: host.startswith("lab"))
    server._log_once.cache_clear()
    health = "/below/_stcore/health"
    for headers in ({}, {"referer": f"{LAB}/compare", "host": "lab.example:8080"}, {"host": "10.0.0.7"}):
        assert answered(health, **headers)[0] == 404, "which is another one's to answer"
    for _ in range(3):
        status, _headers, content = answered(health, referer=f"{LAB}/compare", host="lab.example")
        assert max(map(len, json.loads(content).splitlines())) <= 52
        said = " ".join(json.loads(content).split())
        assert status == 400 and said.startswith(f"No session opens for a page at '{LAB}': the header")
    assert caplog.text.count("`Host` names 'lab.example'") == 1
    status, _headers, content = answered(health, referer="https://other.example/", host="other.example")
    assert status == 400 and "under the name 'other.example'. Start the app with this name in" in " ".join(
        json.loads(content).split()
    )


def cookies_of_both(*headers: tuple[bytes, bytes]) -> list[str]:
    """Those that a session and a page get: the owner's, Streamlit's and another one."""
    sent: list[Message] = []

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "headers": []})
        else:
            cookies = [b"_streamlit_xsrf=a; Path=/; SameSite=None; Secure", b"b=c; SameSite=Lax"]
            await send({"type": "http.response.start", "headers": [(b"set-cookie", each) for each in cookies]})

    async def send(message: Message) -> None:
        sent.append(message)

    async def both() -> None:
        for kind in ("websocket", "http"):
            scope: Scope = {"type": kind, "method": "GET", "path": "/", "headers": [*headers]}
            await server.SessionMiddleware(page)(scope, None, send)  # type: ignore[arg-type]

    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(lambda: asyncio.run(both())).result()
    return [value.decode() for message in sent for _name, value in message["headers"]]


@pytest.mark.parametrize("same_site", ["lax", "none"])
def test_cookies_are_for_frames_of_other_sites_where_streamlits_is(
    monkeypatch: pytest.MonkeyPatch, same_site: str
) -> None:
    set_options(monkeypatch, **{"server.xsrfCookieSameSite": same_site})
    owner, xsrf, other = cookies_of_both()
    assert owner.endswith("SameSite=None; Secure; Partitioned") == (same_site == "none")
    assert xsrf.endswith("SameSite=None; Secure; Partitioned") == (same_site == "none")
    assert other == "b=c; SameSite=Lax"


@pytest.mark.parametrize(
    ("prefix", "folder", "place"),
    [
        ("", "", "/"),
        ("/", "", "/"),
        ("/explorer", "", "/explorer/"),
        ("/a/b-c.d/", "", "/a/b-c.d/"),
        ("", "explorer", "/explorer/"),
        ("/explorer", "explorer", "/explorer/"),  # named, and not removed
        ("explorer", "", "/"),
        ("//elsewhere", "", "/"),
        ("/a; Domain=example", "", "/"),
        ("/a\tb", "", "/"),
        ("/é", "", "/"),
        ("/a" * 9, "", "/"),
    ],
)
def test_cookies_are_for_the_path_of_the_app_alone(
    monkeypatch: pytest.MonkeyPatch, prefix: str, folder: str, place: str
) -> None:
    set_options(monkeypatch, **{"server.baseUrlPath": folder})
    owner, xsrf, other = cookies_of_both((b"x-forwarded-prefix", prefix.encode("latin-1")))
    assert f"; Path={place}; " in owner and xsrf == f"_streamlit_xsrf=a; Path={place}; SameSite=None; Secure"
    assert other == "b=c; SameSite=Lax"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_cookie_of_a_page_that_came_by_https_is_for_https_alone(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    set_options(monkeypatch)
    owner, *_ = cookies_of_both((b"origin", f"{scheme}://lab.example".encode()), (b"host", b"lab.example"))
    assert ("Secure" in owner.split("; ")) == (scheme == "https")


OWNER = "0123456789abcdef" * 2
STRANGER = OWNER[::-1]


@pytest.mark.parametrize(
    ("cookie", "kept"),
    [
        (f"explorer_owner={OWNER}", True),
        (f"_streamlit_xsrf=a; explorer_owner={OWNER}; b=c", True),
        ("", False),
        ("_streamlit_xsrf=a", False),
        ("explorer_owner=../x", False),
        (f"explorer_owner={OWNER}; explorer_owner={STRANGER}", True),  # the first one is for the longer path
        (f"explorer_owner=../x; a=b; explorer_owner={OWNER}", True),
    ],
)
def test_a_session_opens_with_the_owner_of_its_browser_or_a_new_one(cookie: str, kept: bool) -> None:
    """The session and its browser get the same one. No script of a page can read it."""
    seen: list[dict[str, str]] = []
    headers: list[list[tuple[bytes, bytes]]] = []

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(HTTPConnection(scope).cookies)
        headers.append(scope["headers"])
        await send({"type": "websocket.accept", "headers": [(b"x", b"y")]})
        await send({"type": "websocket.send", "text": "a"})

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/", "headers": [(b"cookie", cookie.encode())] if cookie else []}
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(lambda: asyncio.run(server.SessionMiddleware(page)(scope, None, send))).result()  # type: ignore[arg-type]
    assert [name for name, _ in headers[0] if name == b"cookie"] == [b"cookie"]
    owner = seen[0]["explorer_owner"]
    assert runs.OWNER.fullmatch(owner) and (owner == OWNER) == kept
    assert seen[0].get("_streamlit_xsrf") == ("a" if "xsrf" in cookie else None)
    accepted, message = sent
    (given,) = [value.decode() for name, value in accepted["headers"] if name == b"set-cookie"]
    value, *attributes = given.split("; ")
    assert value == f"explorer_owner={owner}" and {"HttpOnly", "SameSite=Lax", "Path=/"} <= {*attributes}
    assert (b"x", b"y") in accepted["headers"] and message == {"type": "websocket.send", "text": "a"}


@pytest.mark.parametrize("folder", ["", "explorer", "/deep/explorer/"])
def test_the_viewer_and_its_addresses_are_in_the_folder_of_the_app(
    monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    set_options(monkeypatch, **{"server.baseUrlPath": folder})
    base = f"/{folder.strip('/')}" if folder else ""
    for file in sorted(viewer.STATIC.rglob("*.js")):
        path = f"{base}/{viewer.ROUTE}/{viewer.HASH}/{file.relative_to(viewer.STATIC).as_posix()}"
        status, headers, content = answered(path)
        assert (status, content) == (200, file.read_bytes())
        assert "javascript" in headers["content-type"] and "immutable" in headers["cache-control"]
    for route in ("api/explain", "api/arrays"):
        assert answered(f"{base}/{route}", "POST")[0] == 404, "of no session"
        assert answered(f"{base}/{route}", "POST", origin="http://here", host="here")[0] == 404
        assert answered(f"{base}/{route}", "POST", origin="http://elsewhere", host="here")[0] == 403
        assert answered(f"{base}/{route}")[0] == 405
    for name, photo in PHOTOS.items():
        status, headers, content = answered(f"{base}/api/photo/{name}")
        assert (status, headers["content-type"], content) == (200, "image/jpeg", photo.file.read_bytes())
    for name in ("scene-", "..%2f..%2fphotos.py", "ship.jpg"):
        assert answered(f"{base}/api/photo/{name}")[0] == 404
    for path in (f"{base}/viewer/{'0' * 12}/main.js", f"{base}/viewer/{viewer.HASH}/../__init__.py", "/elsewhere"):
        assert answered(path)[0] == 404


def test_another_module_has_another_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A browser keeps what lies under a path for ever."""
    monkeypatch.setattr(viewer, "STATIC", tmp_path)
    (tmp_path / "views").mkdir()
    seen = set()
    for name, text in (("main.js", "1"), ("main.js", "2"), ("views/main.js", "2"), ("views/a.js", ""), ("b.js", "")):
        (tmp_path / name).write_text(text)
        seen.add(viewer._hash())
    assert len(seen) == 5
