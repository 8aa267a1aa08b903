"""The app as a process of its own, on a free port; and the Chromium that looks at it."""

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

from driving.chromium import MISSING, SHELL, WHOLE, find_chromium, launched

ROOT = Path(__file__).parents[1]
START_S = 120.0
ADDRESS = re.compile(r"\bhttp://127\.0\.0\.1:\d+(?:/\w+)?(?=\s)")  # as it prints it, once it listens there
_INCIDENT = re.compile(rb"incident [0-9a-f]{8}|Traceback")


class Serving(NamedTuple):
    """Where it answers, and its process."""

    url: str
    process: int


@contextmanager
def served(
    data: Path,
    *options: str,
    log: Path | None = None,
    script: str = "app.py",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Serving]:
    """The app with its own data directory, further options of Streamlit and what else is set in its environment, where
    options of Streamlit come from nowhere else: whoever measures or tests may have some set for their own work.

    All that it prints goes into `log`; without one, what it complains of goes to the terminal. Raises RuntimeError
    where it does not start.
    """
    # It takes a free port itself: one that is found free here may be taken when it comes to it, even by another app.
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
                raise RuntimeError(f"The app did not start. {printed.read_text(errors='replace')}")
            yield Serving(url, process.pid)
        finally:
            end(process)


def started(process: subprocess.Popen[bytes], printed: Path) -> str | None:
    """Where that server answers, by what it has printed there; None where it ends before, or takes too long."""
    found: list[str] = []

    def has_come() -> bool:
        addresses = ADDRESS.findall(printed.read_text(errors="replace"))
        if addresses and _is_healthy(addresses[0]):
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


def complaints(log: Path) -> list[str]:
    """The lines in which the server's log names an unexpected error."""
    lines = log.read_bytes().splitlines()
    return [f"the server's log: {line.decode(errors='replace')}" for line in lines if _INCIDENT.search(line)]


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=10) as answer:
            return bool(answer.read() == b"ok")  # an unknown path answers 200 too, with the page
    except OSError:
        return False


def wait_for(done: Callable[[], bool], seconds: float, every: float = 0.1) -> bool:
    """Whether that came true within so many seconds; looked at every so often."""
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
        browser = launched(lambda: playwright.chromium.launch(executable_path=executable, args=options))
        yield browser
        browser.close()
