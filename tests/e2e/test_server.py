"""The server itself: who may open a session, who gets a drawing, and that it opens no browser where it is told so."""

import http.client
import json
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import requests

from driving.messages import unpack
from driving.protocol_client import Session, SessionError
from driving.server_process import ROOT, served
from tests.e2e.conftest import Server
from tests.e2e.exploring import photo


@pytest.mark.parametrize(("host", "status"), [("localhost", 101), ("127.0.0.1", 101), ("example.org", 403)])
def test_a_session_opens_under_the_names_of_this_machine_alone(server: Server, host: str, status: int) -> None:
    """Else a page from elsewhere whose name leads to 127.0.0.1 could talk to the app."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    connection.putrequest("GET", "/_stcore/stream", skip_host=True)
    for name, value in (
        ("Host", host),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ):
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()
    refused = ["Rejecting WebSocket connection" in line for line in server.complaints()]
    assert refused == ([] if status == 101 else [True]), "and the log says so, nothing else"


@pytest.fixture
def two_sessions(server: Server) -> Iterator[list[Session]]:
    with closing(Session(server.url)) as one, closing(Session(server.url)) as other:
        one.rerun()
        other.rerun(first="cifar10jpeg-plain-20", second="cifar10jpeg-resnet-20")
        yield [one, other]
    assert not server.complaints()


def test_only_who_knows_a_token_gets_a_message(two_sessions: list[Session], server: Server) -> None:
    tokens = [session.token for session in two_sessions]
    assert len({*tokens}) == 2
    names = [["shapes-plain-20"], ["cifar10jpeg-plain-20"]]

    def ask(token: str, **asked: object) -> requests.Response:
        content = json.dumps(
            {"picture": "sample-3-4", "networks": names[tokens.index(token) if token in tokens else 0]} | asked
        )
        return requests.post(f"{server.url}/api/explain", content, headers={"X-Explorer-Token": token}, timeout=20)

    answers = [ask(token) for token in tokens]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [unpack(answer.content)[0]["networks"][0]["title"] for answer in answers] == ["plain-20"] * 2
    assert ask("0" * 32).status_code == ask("").status_code == 404
    assert ask(tokens[0], networks=["mine-0123456789abcdef"]).json()["code"] == "networks", "only what its page offers"
    for strange in ({"networks": "a"}, {"networks": None}, {"picture": "../app.py"}, {"layer": "a/b"}, {"only": "all"}):
        assert ask(tokens[0], **strange).status_code == 400, strange
    assert ask(tokens[0], picture="upload-0123456789abcdef").status_code == 404
    assert ask(tokens[0], layer="x" * 9000).status_code == 413

    def give(token: str, content: bytes) -> requests.Response:
        line = json.dumps({"name": "a.jpg", "networks": names[tokens.index(token) if token in tokens else 0]}).encode()
        headers = {"X-Explorer-Token": token}
        return requests.post(f"{server.url}/api/explain", line + b"\n" + content, headers=headers, timeout=60)

    shown = give(tokens[0], photo())
    assert shown.status_code == 200
    picture = unpack(shown.content)[0]["picture"]
    assert ask(tokens[0], picture=picture).headers["Content-Type"] == "application/octet-stream"
    assert ask(tokens[1], picture=picture).status_code == 404, "it belongs to the other session"
    refused = give(tokens[1], b"just text")
    assert refused.status_code == 200 and "`a.jpg`" in refused.json()["message"]
    assert give("0" * 32, photo()).status_code == 404
    assert give(tokens[1], photo() + bytes(64 * 2**20)).status_code == 413


BROWSER = """#!{python}
import pathlib, sys
opened = pathlib.Path({file!r})
written = opened.with_name("written.txt")
written.write_text(sys.argv[1])
written.rename(opened)
"""


def stand_in_browser(folder: Path) -> tuple[Path, Path]:
    """A program that stands for the system's browser, and the file that it writes when it is opened."""
    program, opened = folder / "browser", folder / "opened.txt"
    program.write_text(BROWSER.format(python=sys.executable, file=str(opened)))
    program.chmod(0o755)
    return program, opened


FAILING = """
import streamlit as st
from explorer.ui import navigation

if __name__ == "__main__":
    def fail():
        raise KeyError("a secret")

    st.button("Fail", key="fail", on_click=fail)
    navigation.download_button("File", fail, file_name="a.txt", key="broken")
    navigation.download_button("File", lambda: b"whole", file_name="b.txt", key="whole")
else:
    app = st.App(__file__, on_script_error=navigation.on_script_error)
"""


class Failing(NamedTuple):
    url: str
    log: Path
    opened: Path


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failing]:
    """A server of that page, which was told to open no browser."""
    folder = tmp_path_factory.mktemp("failing")
    script, log = folder / "failing.py", folder / "log.txt"
    script.write_text(FAILING)
    program, opened = stand_in_browser(folder)
    environment = {"BROWSER": str(program), "HOME": str(folder)}
    with served(folder, script=str(script), log=log, environment=environment) as (url, _):
        yield Failing(url, log, opened)


def test_a_callback_that_fails_is_a_sentence_with_an_id_that_is_in_the_log(failing: Failing) -> None:
    """It runs before the page, and so outside of the boundary around every page."""
    assert "on_script_error=navigation.on_script_error" in (ROOT / "app.py").read_text()
    before = len(failing.log.read_text())
    session = Session(failing.url)
    session.rerun()
    with pytest.raises(SessionError, match="Something went wrong that should not have") as said:
        session.press("fail")
    session.close()
    assert not any(b"secret" in message or b"KeyError" in message for message in session.answer)
    number, log = re.search(r"incident ([0-9a-f]{8})", str(said.value)), failing.log.read_text()[before:]
    assert number and f"incident {number[1]}" in log and "a secret" in log


def test_a_download_that_fails_is_a_sentence_and_has_an_id_in_the_log(failing: Failing) -> None:
    """It is made outside of any run of a page. The sentence is Streamlit's own, which knows no id."""
    before = len(failing.log.read_text())
    session = Session(failing.url)
    session.rerun()
    assert session.download("whole") == b"whole"
    with pytest.raises(SessionError) as said:
        session.download("broken")
    session.close()
    assert str(said.value) == "Failed to generate file for download"
    log = failing.log.read_text()[before:]
    assert re.search(r"incident [0-9a-f]{8}", log) and "a secret" in log
    unwrapped = [path for path in (ROOT / "explorer").rglob("*.py") if "st.download_button(" in path.read_text()]
    assert [path.name for path in unwrapped] == ["navigation.py"]


def test_a_server_that_is_told_so_opens_no_browser(failing: Failing) -> None:
    session = Session(failing.url)
    session.rerun()
    session.close()
    assert not failing.opened.exists(), failing.log.read_text()
