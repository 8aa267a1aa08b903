"""Sessions without a browser: the app's own protocol over its websocket, as many at once as one likes."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 120.0
_COMPLAINT = re.compile(r"Something went wrong|Traceback")


class SessionError(RuntimeError):
    """The app answered with an exception, or with the sentence that stands for one."""


class Session:
    """One visitor. `rerun` shows a view, as a browser does whose URL has changed, and waits for the whole answer."""

    def __init__(self, url: str) -> None:
        self.socket: ClientConnection = connect(
            url.replace("http:", "ws:") + "/_stcore/stream",
            origin=Origin(url),
            subprotocols=[Subprotocol("streamlit"), Subprotocol("PLACEHOLDER_AUTH_TOKEN")],
            max_size=None,
        )
        self.received = 0

    def rerun(self, page: str = "", **query: str) -> float:
        """Seconds until the script has run to its end and everything it drew is here. Raises SessionError."""
        message = BackMsg()
        message.rerun_script.query_string = urlencode(query)
        message.rerun_script.page_name = page
        started = time.perf_counter()
        self.socket.send(message.SerializeToString())
        while True:
            content = self.socket.recv(TIMEOUT_S)
            assert isinstance(content, bytes)
            self.received += len(content)
            answer = ForwardMsg.FromString(content)
            if answer.WhichOneof("type") == "delta" and _COMPLAINT.search(str(answer.delta)):
                raise SessionError(str(answer.delta)[:300])
            if answer.WhichOneof("type") == "script_finished":
                return time.perf_counter() - started

    def close(self) -> None:
        self.socket.close()


@contextmanager
def served(data: Path) -> Iterator[tuple[str, int]]:
    """(URL, process id) of the app on a free port, with its own data directory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true", f"--server.port={port}"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "EXPLORER_DATA": str(data)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1) as answer:
                    if answer.read() == b"ok":
                        break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError("the app did not start") from None
                time.sleep(0.1)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(20)
