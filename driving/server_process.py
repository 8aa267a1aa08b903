"""The app as a process of its own on a free port, and a Chromium for it."""

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, sync_playwright

from driving.chromium import MISSING, SHELL, WHOLE, find_chromium, launch_browser

ROOT = Path(__file__).parents[1]
START_S = 120.0
ADDRESS = re.compile(r"\bhttp://127\.0\.0\.1:\d+(?:/\w+)?(?=\s)")  # printed once the server listens
_INCIDENT = re.compile(rb"incident [0-9a-f]{8}|Traceback")


class ServerHandle(NamedTuple):
    """The app's URL, and the id of its process."""

    url: str
    process: int


@contextmanager
def served(
    data: Path,
    *options: str,
    log: Path | None = None,
    script: str = "app.py",
    environment: Mapping[str, str] | None = None,
) -> Iterator[ServerHandle]:
    """The app with its own data directory, further options of Streamlit and additions to its environment. Options of
    Streamlit in the caller's environment do not reach it.

    Its output goes into `log`; without one, its errors go to the terminal. Raises RuntimeError where it does not start.
    """
    # The app takes a free port itself: one that is free now may be taken before it starts.
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless=true", "--server.port=0"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAMLIT_")}
    with tempfile.TemporaryDirectory() as folder:
        printed = log or Path(folder, "printed.txt")
        with printed.open("wb") as output:
            process = subprocess.Popen(
                [*command, *options],
                cwd=ROOT,
                env=inherited | {"EXPLORER_DATA": str(data), "NO_COLOR": "1", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if log else None,
            )
        try:
            url = started(process, printed)
            if url is None:
                raise RuntimeError(f"The app did not start. {printed.read_text(encoding='utf-8', errors='replace')}")
            yield ServerHandle(url, process.pid)
        finally:
            end(process)


def started(process: subprocess.Popen[bytes], printed: Path) -> str | None:
    """The URL that the server has printed, once it answers; None where it ends before, or takes too long."""
    found: list[str] = []

    def has_come() -> bool:
        addresses = ADDRESS.findall(printed.read_text(encoding="utf-8", errors="replace"))
        if addresses and is_healthy(addresses[0]):
            found.append(addresses[0])
        return bool(found) or process.poll() is not None

    wait_for(has_come, START_S)
    return found[0] if found else None


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def logged_errors(log: Path) -> list[str]:
    """The lines of the server's log with an unexpected error."""
    lines = log.read_bytes().splitlines()
    return [f"the server's log: {line.decode(errors='replace')}" for line in lines if _INCIDENT.search(line)]


def is_healthy(url: str) -> bool:
    """Whether the app answers at that URL."""
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=10) as answer:
            return bool(answer.read() == b"ok")  # an unknown path answers 200 too, with the page
    except OSError:
        return False


def wait_for(done: Callable[[], bool], seconds: float, every: float = 0.1) -> bool:
    """Whether `done` becomes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


@contextmanager
def chromium(*arguments: str, whole: bool = False) -> Iterator[Browser]:
    """A browser without a window and without a GPU; `whole` as in `find_chromium`. Raises RuntimeError where none
    starts."""
    executable = find_chromium(whole=whole)
    if executable is None:
        raise RuntimeError(MISSING.format(WHOLE if whole else SHELL))
    with sync_playwright() as playwright:
        options = ["--disable-gpu", *arguments]
        browser = launch_browser(lambda: playwright.chromium.launch(executable_path=executable, args=options))
        yield browser
        browser.close()
