"""What SECURITY.md promises of the server, asked of running ones over their sockets.

`app` is the app. `guarded` and `unguarded` serve one small page, the first with the settings of
`.streamlit/config.toml`, the second with options that turn the protections off: what differs between their answers is
what a setting protects from. The user of all three has turned them off as well, for every app: those of an app come
first.

One file, since all of it asks the same three servers.
"""

import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
import pytest
import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.isolation import Owner
from benchmarks.visitors import PAGES
from driving.protocol_client import Session, SessionError
from driving.server_process import served, wait_for
from tests.conftest import keep_speed

ROOT = Path(__file__).parents[1]
MIB = 2**20
ELSEWHERE = "https://elsewhere.example"
HERE = ("127.0.0.1", "::1")

PAGE = """
import streamlit as st

st.file_uploader("File", key="file")
if st.button("Fail", key="fail"):
    raise KeyError("a secret")
"""
OFF: dict[str, Any] = {
    "server.enableXsrfProtection": False,
    "server.enableCORS": False,
    "server.corsAllowedOrigins": [ELSEWHERE],
    "server.enableAgentApi": True,
    "server.maxUploadSize": 1,
    "browser.gatherUsageStats": True,
    "client.showErrorDetails": "full",
    "client.allowedOrigins": [ELSEWHERE],
}
# Python imports it first of all, in the server and in every process that it starts. Whoever asks for a name or a way
# out of this machine is written down and gets no further.
SITECUSTOMIZE = """
import os, sys

def hear(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto", "socket.sendmsg"):
        whom = arguments[0] if event.startswith("socket.get") else arguments[1]
        host = whom[0] if isinstance(whom, tuple) else whom
        leaves = host not in ({here}, "localhost", None) and not (isinstance(whom, (str, bytes)) and "connect" in event)
        note("leaves" if leaves else "stays", event, host)
        if leaves:
            raise OSError("this test lets nothing leave the machine")

def note(*words):
    descriptor = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (" ".join(map(str, words)) + "\\n").encode())
    os.close(descriptor)

sys.addaudithook(hear)
note("begins", os.getpid(), *sys.orig_argv[1:4])
"""


class Server(NamedTuple):
    url: str
    process: int
    data: Path
    calls: Path  # what SITECUSTOMIZE wrote down

    def leaving(self) -> list[str]:
        return leaving(self.calls)


def leaving(calls: Path) -> list[str]:
    return [line for line in calls.read_text().splitlines() if line.startswith("leaves")]


def write_hook(folder: Path, calls: Path) -> None:
    """Writes `SITECUSTOMIZE` into the folder; `calls` is the file that it writes into."""
    hook = SITECUSTOMIZE.replace("{here}", repr(HERE)[1:-1]).replace("{log!r}", repr(str(calls)))
    (folder / "sitecustomize.py").write_text(hook)


@contextmanager
def listened(folder: Path, *options: str, script: str = "app.py") -> Iterator[Server]:
    """A server without a proxy, whose ways out are listened to and whose user wants no protection."""
    calls, data, home = folder / "calls.txt", folder / "data", folder / "home"
    data.mkdir()
    keep_speed(data)  # `test_forecasts.py` listens to the process that measures it
    (home / ".streamlit").mkdir(parents=True)
    wanted = [f"{option} = {json.dumps(value)}" for option, value in {**OFF, "server.address": "0.0.0.0"}.items()]
    (home / ".streamlit" / "config.toml").write_text("\n".join(wanted))
    (folder / "python").mkdir()
    write_hook(folder / "python", calls)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        patch.setenv("HOME", str(home))
        patch.setenv("PYTHONPATH", str(folder / "python"))
        with served(data, *options, log=folder / "log.txt", script=script) as (url, process):
            yield Server(url, process, data, calls)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with listened(tmp_path_factory.mktemp("app")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "page.py").write_text(PAGE)
    with listened(folder, script=str(folder / "page.py")) as server:
        yield server


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("unguarded")
    (folder / "page.py").write_text(PAGE)
    values = {option: value[0] if isinstance(value, list) else value for option, value in OFF.items()}
    options = [f"--{option}={value}" for option, value in values.items()]
    with listened(folder, *options, script=str(folder / "page.py")) as server:
        yield server


# --- what leaves the machine ------------------------------------------------------------------------------------------


def connections(process: int) -> list[tuple[str, str, str]]:
    """(status, address here, address there) of the process and of those that it started; of one's own processes anybody
    may ask that."""
    found = []
    for each in (psutil.Process(process), *psutil.Process(process).children(recursive=True)):
        try:
            seen = each.net_connections(kind="inet")
        except psutil.NoSuchProcess:  # it ended meanwhile
            continue
        found += [(one.status, one.laddr.ip, one.raddr.ip if one.raddr else "") for one in seen]
    return found


def test_only_this_machine_is_listened_to(app: Server) -> None:
    listening = [here for status, here, _ in connections(app.process) if status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]


def test_nothing_leaves_the_machine_by_itself(app: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server starts, shows every page, trains, reads somebody's weights and picture, and is left. No process of it
    looks up a name, connects or sends to anything but this machine: by Python's own audit events, which miss no short
    one, and by the system's list for what does not pass through Python."""
    monkeypatch.setenv("EXPLORER_DATA", str(app.data))  # for the owner to find the run
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            seen.update(there for _, _, there in connections(app.process))

    watch = threading.Thread(target=look)
    watch.start()
    try:
        visitor = Owner(app.url, 0)
        visitor.move_in()
        visitor.explore({"tab": "methods"})
        for page in PAGES:
            visitor.session.rerun(page)
        visitor.end_run()
        visitor.session.close()
        time.sleep(1)
    finally:
        over.set()
        watch.join()
    calls = app.calls.read_text()
    assert f"begins {app.process} " in calls and "explorer train" in calls, "the hook is in the server and in the run"
    assert app.leaving() == []
    assert seen - {""} == {"127.0.0.1"}, "the visitor's own connection, so the list is not empty for want of rights"


def test_what_leaves_is_heard(tmp_path: Path, app: Server) -> None:
    """Of the hook: names and addresses elsewhere are written down and not reached, those of this machine are."""
    code = """
import socket, sys
for host, port in (("elsewhere.example", 80), ("192.0.2.1", 80), ("127.0.0.1", int(sys.argv[1]))):
    try:
        socket.create_connection((host, port), 5).close()
        print(host)
    except OSError as error:
        print(error)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 80))
"""
    calls = tmp_path / "calls.txt"
    write_hook(tmp_path, calls)
    said = subprocess.run(
        [sys.executable, "-c", code, str(urlsplit(app.url).port)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert said.stdout.splitlines() == ["this test lets nothing leave the machine"] * 2 + ["127.0.0.1"]
    assert leaving(calls) == [
        "leaves socket.getaddrinfo elsewhere.example",
        "leaves socket.getaddrinfo 192.0.2.1",
        "leaves socket.sendto 192.0.2.1",
    ]


def usage_statistics(server: Server) -> bool:
    """Whether the browser is told to send them: it and not the server would."""
    session = Session(server.url)
    session.rerun()
    session.close()
    messages = [ForwardMsg.FromString(message) for message in session.answer]
    [beginning] = [each.new_session for each in messages if each.WhichOneof("type") == "new_session"]
    return beginning.config.gather_usage_stats


def test_no_browser_is_asked_for_usage_statistics(guarded: Server, unguarded: Server) -> None:
    assert not usage_statistics(guarded)
    assert usage_statistics(unguarded)


# --- pages from elsewhere ---------------------------------------------------------------------------------------------


def handshake(server: Server, origin: str | None) -> int:
    """The status that the server answers a browser with that wants a session for a page of that origin."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    connection.putrequest("GET", "/_stcore/stream")
    for name, value in (
        ("Origin", origin),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ):
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


FOREIGN = (
    ELSEWHERE,
    "http://127.0.0.1.elsewhere.example",
    "http://localhost@elsewhere.example",
    "http://localhost:1",
    "null",
)


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_from_elsewhere_opens_no_session(app: Server, unguarded: Server, origin: str) -> None:
    assert handshake(app, origin) == 403
    assert handshake(unguarded, origin) == 101


def test_own_pages_and_programs_open_sessions(app: Server) -> None:
    for origin in (None, app.url):
        assert handshake(app, origin) == 101, origin


def test_a_page_from_elsewhere_makes_the_server_ask_nobody(app: Server) -> None:
    """Streamlit itself would ask checkip.amazonaws.com for its own address first, and answer nobody for so long."""
    before = app.leaving()
    assert handshake(app, "https://another.example") == 403
    assert app.leaving() == before


METRICS = "_stcore/metrics?families=active_sessions"  # without the one of `stored`
READ = ("_stcore/health", "_stcore/host-config", METRICS, "_stcore/agent/openapi.json", "media/x", "")


def test_a_page_from_elsewhere_reads_no_answer(app: Server, guarded: Server, unguarded: Server) -> None:
    """Its browser hands an answer over where a header allows its origin: none does."""
    for server in (app, guarded, unguarded):
        allowed = {}
        for path in READ:
            answer = requests.get(f"{server.url}/{path}", headers={"Origin": ELSEWHERE}, timeout=20)
            allowed[path] = answer.headers.get("Access-Control-Allow-Origin")
        if server is unguarded:
            assert allowed["_stcore/health"] == allowed[METRICS] == "*"
        else:
            assert set(allowed.values()) == {None}, allowed


def test_a_page_from_elsewhere_gets_no_explanation(app: Server) -> None:
    """Its browser asks first whether it may send the token's header, which nothing here allows. And it tells where the
    page is from."""
    session = Session(app.url)
    session.rerun()
    parts = [ForwardMsg.FromString(message).delta.new_element.bidi_component for message in session.answer]
    [told] = [json.loads(part.json) for part in parts if part.component_name.endswith("connection")]
    view = {"picture": "sample-3-4", "networks": told["view"]["networks"]}

    def ask(route: str, token: str | None, **headers: str) -> requests.Response:
        headers |= {"X-Explorer-Token": token} if token else {}
        return requests.post(f"{app.url}/{route}", data=json.dumps(view), headers=headers, timeout=20)

    for route in ("api/explain", "api/arrays", "api/rows"):
        for origin in FOREIGN:
            for token in (told["token"], secrets.token_hex(16), None):
                answer = ask(route, token, Origin=origin, Cookie=f"explorer_owner={session.owner}")
                assert (answer.status_code, answer.json()["code"]) == (403, "origin")
                assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        for token in (secrets.token_hex(16), None):  # a form, whose token would be in the body
            assert ask(route, token, **{"Content-Type": "text/plain"}).status_code == 404
        for own in ({}, {"Origin": app.url}):
            assert ask(route, told["token"], **own).status_code == 200
        asked = {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "x-explorer-token"
        before = requests.options(f"{app.url}/{route}", headers=asked, timeout=20)
        assert before.status_code == 405 and "Access-Control-Allow-Origin" not in before.headers
    session.close()


def test_no_page_around_the_app_commands_it(guarded: Server, unguarded: Server) -> None:
    """Streamlit's own list is of all apps on streamlit.app: one that shows this app in a frame could run it again, stop
    it, and lead its uploads elsewhere."""

    def commanding(server: Server) -> list[str]:
        return requests.get(f"{server.url}/_stcore/host-config", timeout=20).json()["allowedOrigins"]

    assert commanding(guarded) == []
    assert commanding(unguarded) == [ELSEWHERE]


def test_no_program_drives_the_app_without_a_session(guarded: Server, unguarded: Server) -> None:
    """Streamlit's agent API answers that it is off."""
    for server, off in ((guarded, True), (unguarded, False)):
        for path in ("interact", "mcp"):
            answer = requests.post(f"{server.url}/_stcore/agent/{path}", json={}, timeout=60)
            assert ("This app does not serve the agent API" in answer.text) == off, answer.text[:300]
            assert off <= (answer.status_code >= 400)


# --- uploads ----------------------------------------------------------------------------------------------------------


def place(session: Session) -> str:
    """The address that the server gives the session for one file."""
    request = BackMsg()
    request.file_urls_request.request_id = secrets.token_hex(8)
    request.file_urls_request.session_id = session.id
    request.file_urls_request.file_names.append("file.bin")
    session.socket.send(request.SerializeToString())
    while True:
        content = session.socket.recv(20)
        assert isinstance(content, bytes)
        answer = ForwardMsg.FromString(content)
        if answer.WhichOneof("type") == "file_urls_response":
            return session.url + answer.file_urls_response.file_urls[0].upload_url


@contextmanager
def visiting(server: Server) -> Iterator[Session]:
    session = Session(server.url)
    session.rerun()
    yield session
    session.close()


def token(server: Server) -> str:
    """A new one, as a page gets it."""
    return requests.get(f"{server.url}/_stcore/health", timeout=20).cookies["_streamlit_xsrf"] or ""


def put(address: str, size: int, cookie: str | None = None, header: str | None = None, way: str = "PUT") -> int:
    """The status of an upload of so many bytes."""
    headers = {"Cookie": f"_streamlit_xsrf={cookie}"} if cookie else {}
    headers |= {"X-Xsrftoken": header} if header else {}
    file = {"file": ("file.bin", bytes(size), "application/octet-stream")}
    return requests.request(way, address, files=file, headers=headers, timeout=20).status_code


def stored(server: Server) -> int:
    """Bytes of all uploads that it holds, as it counted them at most five seconds ago."""
    said = requests.get(f"{server.url}/_stcore/metrics", timeout=20).text
    return sum(map(int, re.findall(r'cache_memory_bytes\{cache_type="UploadedFileManager".*\} (\d+)', said)))


def test_an_upload_needs_a_session_and_the_token_of_its_page(guarded: Server, unguarded: Server) -> None:
    """In the cookie and, as only a page of the same origin can read that, in a header too."""
    one, other = token(guarded), token(guarded)
    with visiting(guarded) as session:
        for cookie, header in ((None, None), (one, None), (None, one), (one, other), (one, "x"), ("x", "x")):
            assert put(place(session), 1000, cookie, header) == 403, (cookie, header)
        address = place(session)
        assert put(address, 3000, one, one) == 204
        assert put(address, 0, one, None, "DELETE") == 403
        assert put(address.replace(session.id, str(uuid.UUID(int=0))), 1000, one, one) == 400, "of no session"
        assert wait_for(lambda: stored(guarded) > 0, 10)
        assert stored(guarded) == 3000, "what was accepted and nothing else"
    with visiting(unguarded) as session:
        assert put(place(session), 1000) == 204


def begun(address: str, one: str, *headers: tuple[str, str]) -> http.client.HTTPConnection:
    """An upload of which the head is sent."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    connection.putrequest("PUT", parts.path)
    form = ("Content-Type", "multipart/form-data; boundary=part")
    for name, value in (("Cookie", f"_streamlit_xsrf={one}"), ("X-Xsrftoken", one), form, *headers):
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def test_a_larger_upload_is_refused_before_it_is_read(guarded: Server, unguarded: Server) -> None:
    """413 at the head that tells its length. One that tells none is cut off at the limit and one MiB for the form
    around the file; until then it waits on the disk, and the server's memory does not grow with it."""
    one = token(guarded)
    with visiting(guarded) as session:
        told = begun(place(session), one, ("Content-Length", str(256 * MIB + 1)))
        assert told.getresponse().status == 413
        told.close()

        process = psutil.Process(guarded.process)
        before = most = process.memory_info().rss
        untold = begun(place(session), one, ("Transfer-Encoding", "chunked"))
        head = b'--part\r\nContent-Disposition: form-data; name="file"; filename="file.bin"\r\n\r\n'
        untold.send(b"%x\r\n%b\r\n" % (len(head), head))
        zeros, left = bytes(MIB), 257 * MIB + 1 - len(head)
        while left:
            piece = zeros[:left]
            untold.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            left -= len(piece)
            most = max(most, process.memory_info().rss)
        assert untold.getresponse().status == 413
        untold.close()
        print(f"the server's memory grew by {(most - before) / MIB:.0f} MiB")
        assert most - before < 64 * MIB
        assert put(place(session), MIB + 1, one, one) == 204
    with visiting(unguarded) as session:  # where the limit is 1
        assert put(place(session), MIB) == 413, "the form around it counts"
        assert put(place(session), MIB - 1000) == 204


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_outside_of_our_own_boundaries_tells_nothing(guarded: Server, unguarded: Server) -> None:
    """Where neither the boundary around every page nor that of callbacks stands, which have tests of their own."""
    for server, told in ((guarded, False), (unguarded, True)):
        with visiting(server) as session:
            with pytest.raises(SessionError):
                session.press("fail")
            whole = b"".join(session.answer)
        assert [word in whole for word in (b"a secret", b"KeyError", b"in <module>")] == [told] * 3


# --- the text ---------------------------------------------------------------------------------------------------------


def test_every_test_that_security_names_is_there() -> None:
    named = set(re.findall(r"\btest_\w+", (ROOT / "SECURITY.md").read_text()))
    files = [*ROOT.glob("tests/**/test_*.py")]
    defined = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}
    assert named and named <= defined, named - defined
