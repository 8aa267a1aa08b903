"""The pictures of the app in docs/, taken in Chromium: `make screenshots`.

The app runs as in the browser tests, on a free port, with the repository's settings, and an empty home and data folder,
so that the pictures show what a newcomer sees and nothing of this machine.
"""

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.e2e.chromium import MISSING, find_chromium
from tests.e2e.verbs import turn, visit, wait_until_ready

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WIDTH, HEIGHT = 1440, 900
QUALITY = 88  # of WebP: text stays sharp
LARGEST = 300_000  # bytes of a picture, so that README opens fast
PATIENCE_S = 120


@dataclass(frozen=True)
class View:
    """A page, scrolled so that the element stands at the top of the window; None for the page's own top."""

    name: str
    path: str
    at_top: str | None = None


VIEWS = (
    View("explore", "/", at_top="Depth strip"),
    View("compare", "/compare", at_top=None),
    View("gradients", "/gradients", at_top=None),
)


@contextmanager
def app(folder: Path) -> Iterator[str]:
    """The address of a running app that has its home and data in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HOME": str(folder), "EXPLORER_DATA": str(folder / "data"), "EXPLORER_PICTURES": ""}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true", f"--server.port={port}"]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not is_healthy(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"The app did not start:\n{(folder / 'log.txt').read_text()}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1) as answer:
            return bool(answer.read() == b"ok")
    except OSError:
        return False


def take(page: Page, view: View, dark: bool) -> bytes:
    """A PNG of that view."""
    turn(page, dark=dark)
    if view.at_top:
        heading = page.get_by_role("heading", name=view.at_top, exact=True)
        heading.evaluate("heading => heading.scrollIntoView()")  # below the menu: Streamlit gives headings the margin
    wait_until_ready(page, quiet_ms=1000)
    page.mouse.move(WIDTH - 4, HEIGHT - 4)  # over nothing that answers
    return page.screenshot(animations="disabled", caret="hide")


def main() -> int:
    executable = find_chromium()
    if executable is None:
        print(MISSING, file=sys.stderr)
        return 1
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, app(Path(folder)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--disable-gpu"])
        page = browser.new_page(
            base_url=address, viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", reduced_motion="reduce"
        )
        page.set_default_timeout(PATIENCE_S * 1000)
        for view in VIEWS:
            visit(page, view.path)
            for theme in ("light", "dark"):
                path = DOCS / f"{view.name}-{theme}.webp"
                picture = Image.open(io.BytesIO(take(page, view, theme == "dark"))).convert("RGB")
                picture.save(path, "WEBP", quality=QUALITY, method=6)
                size = path.stat().st_size
                print(f"{path.relative_to(ROOT)}: {picture.width}x{picture.height}, {size:,} bytes", flush=True)
                if size > LARGEST:
                    print(f"That is more than {LARGEST:,} bytes: lower QUALITY in {__file__}.", file=sys.stderr)
                    return 1
            turn(page, dark=False)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
