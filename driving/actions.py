"""What a user does with the app. Each action ends when the page is ready."""

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import ConsoleMessage, Page, expect

SETTINGS = Path(__file__).parents[1] / ".streamlit" / "config.toml"

# "Not running" is also true for a moment between a click and its rerun, so no work may be pending, as `pending_work.js`
# says, and that has to last. A skeleton stands where the browser still loads the code of an element. Explore's viewer
# says whether it waits. An image that loads after the next run would be a 404. On a busy machine the time may be over
# before the browser has drawn what arrived: it has to have drawn twice, and to have been asked several times.
SETTLED = """milliseconds => {
    const app = document.querySelector('[data-testid="stApp"]');
    const running = !app || app.dataset.testScriptState !== 'notRunning' || globalThis.hasPendingWork() ||
        app.dataset.testConnectionState !== 'CONNECTED' || document.querySelector('[data-testid="stSkeleton"]') ||
        document.documentElement.dataset.viewer === 'busy' ||
        [...document.images].some(image => !image.complete && image.loading !== 'lazy');
    if (running) {
        delete window.quiet;
        return false;
    }
    if (!window.quiet) {
        const quiet = window.quiet = {since: performance.now(), looks: 0, drawn: false};
        requestAnimationFrame(() => requestAnimationFrame(() => { quiet.drawn = true; }));
    }
    window.quiet.looks += 1;
    return performance.now() - window.quiet.since >= milliseconds && window.quiet.looks > 3 && window.quiet.drawn;
}"""
# Streamlit looks for these two below the page's own path before it finds them at the root.
_HARMLESS_404 = re.compile(r"/[^/]+/_stcore/(health|host-config)")
PENDING_WORK_JS = Path(__file__).with_name("pending_work.js")
REST_MS = 100


def wait_until_ready(page: Page, *, quiet_ms: int = REST_MS) -> None:
    """Waits until the script has ended and no work is pending for a while. Fails at once on an exception, and in a
    browser without PENDING_WORK_JS. Not for a page that reruns itself."""
    page.evaluate("delete window.quiet")
    page.wait_for_function(SETTLED, arg=quiet_ms, polling=25)
    expect(page.get_by_test_id("stException")).to_have_count(0, timeout=1)


def visit(page: Page, path: str = "/?layers=main") -> None:
    page.goto(path)
    wait_until_ready(page)


def click(page: Page, role: str, name: str) -> None:
    """Click a "button", "link", "radio", "checkbox" or "tab" by the name that a user reads."""
    page.get_by_role(role, name=name, exact=True).first.click()  # type: ignore[arg-type]
    wait_until_ready(page)


def choose(page: Page, label: str, option: str) -> None:
    """Pick an option of a list by the names that a user reads: one of the browser's own, or one of Streamlit."""
    box = page.get_by_role("combobox", name=label).first
    if box.evaluate("box => box.tagName") == "SELECT":
        box.select_option(label=option)
        wait_until_ready(page)
        return
    box.click()
    page.keyboard.insert_text(option)  # a long list holds only the options near the chosen one until it is filtered
    page.get_by_role("option", name=option, exact=True).click()
    wait_until_ready(page)


def fill(page: Page, label: str, value: str) -> None:
    """Type into a text or number field and press Enter."""
    box = page.get_by_label(label, exact=True).first
    box.fill(value)
    box.press("Enter")
    wait_until_ready(page)


def upload(page: Page, key: str, name: str, mime_type: str, content: bytes, *, wait: bool = True) -> None:
    """Give a file to the uploader with this widget key."""
    page.locator(f".st-key-{key} input[type=file]").set_input_files(
        {"name": name, "mimeType": mime_type, "buffer": content}
    )
    if wait:
        wait_until_ready(page)


def no_sideways_scroll(page: Page) -> bool:
    """Whether the page fits its window's width, as it must at 1024."""
    return bool(
        page.evaluate(
            """() => [document.documentElement, ...document.querySelectorAll('[data-testid="stMain"]')]
                .every(box => box.scrollWidth <= box.clientWidth)"""
        )
    )


def listen(page: Page, url: str, complain: Callable[[str], None]) -> None:
    """Complains of errors of the page and its console, and of requests that leave the machine of the app at `url`."""
    local = (f"{url}/", "data:", "blob:", url.replace("http:", "ws:") + "/")

    def see(kind: str, asked: str) -> None:
        if not asked.startswith(local):
            complain(f"{kind} left this machine: {asked}")

    def hear(message: ConsoleMessage) -> None:
        source = message.location.get("url", "")
        harmless = "404" in message.text and _HARMLESS_404.fullmatch(urlsplit(source).path)
        if message.type == "error" and not harmless:
            complain(f"console: {message.text} ({source})")

    page.on("request", lambda request: see("request", request.url))
    page.on("websocket", lambda socket: see("connection", socket.url))
    page.on("console", hear)
    page.on("pageerror", lambda error: complain(f"page error: {error}"))


@dataclass(frozen=True)
class Window:
    width: int
    dark: bool

    def __str__(self) -> str:
        return f"{self.width} pixels, {'dark' if self.dark else 'light'}"


FOLLOWED = """([theme, background]) => {
    const app = document.querySelector('[data-testid="stApp"]');
    return app.dataset.drawn === theme && getComputedStyle(app).backgroundColor === background;
}"""


def turn(page: Page, *, dark: bool) -> None:
    """Changes the browser's colour scheme, and waits until the page has followed."""
    theme: Literal["dark", "light"] = "dark" if dark else "light"
    background = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))["theme"][theme]["backgroundColor"]
    red, green, blue = bytes.fromhex(background.removeprefix("#"))
    page.emulate_media(color_scheme=theme)
    page.wait_for_function(FOLLOWED, arg=[theme, f"rgb({red}, {green}, {blue})"])
    wait_until_ready(page)


def windows(page: Page) -> Iterator[Window]:
    """The page as before, and narrow and dark, as it then stays: no theme changes a width, no width a colour, and each
    other width or theme draws the page anew."""
    for width, dark in ((1440, False), (1024, True)):
        page.set_viewport_size({"width": width, "height": 900})
        turn(page, dark=dark)
        yield Window(width, dark)


def widths(page: Page) -> Iterator[int]:
    """The page in a wide window, and in a narrow one as it then stays."""
    for width in (1440, 1024):
        page.set_viewport_size({"width": width, "height": 900})
        wait_until_ready(page)
        yield width


def query(page: Page) -> dict[str, list[str]]:
    """The fields of the URL: of its query, and of the viewer's fragment."""
    url = urlsplit(page.url)
    return parse_qs(url.query) | parse_qs(url.fragment)
