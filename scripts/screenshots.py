"""The pictures of the app in docs/pictures/, taken in Chromium: `make screenshots`.

The app runs as in the browser tests, on a free port, with the repository's settings, and an empty home and data folder,
so that the pictures show what a newcomer sees and nothing of this machine.
"""

import io
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page

from driving.actions import PENDING_WORK_JS, turn, visit, wait_until_ready
from driving.server_process import chromium, served

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 1440, 900
MOST = 1600  # pixels of height: a picture is looked at whole
PADDING = 12  # pixels of a button around its text
QUALITY = 84  # of WebP: text stays sharp
LARGEST = 150_000  # bytes of a picture, so that README and the site open fast
PATIENCE_S = 120


@dataclass(frozen=True)
class View:
    """What a picture holds of a page: from the heading `first`, or from the page's own top, to above the text `after`.
    The window is made as high as that, so that nothing is cut. Without `after` it is `height` pixels high."""

    name: str
    path: str
    after: str | None = None
    first: str | None = None
    themes: tuple[str, ...] = ("light",)
    height: int = HEIGHT


VIEWS = (
    View("explore", "/", after="All layers, input to output", themes=("light", "dark")),
    View("build", "/build", height=1050),
    View("compare", "/compare", after="Where they disagree"),
    View("gradients", "/gradients", after="All layers"),
    View("models", "/models"),
    View("experiments", "/experiments", height=MOST),
    View("class", "/class", height=1000),
)


def take(page: Page, view: View, dark: bool) -> bytes:
    """A PNG of that view. Raises RuntimeError where the page no longer has it."""
    turn(page, dark=dark)
    menu = page.get_by_test_id("stHeader").evaluate("menu => menu.getBoundingClientRect().bottom")
    height = _top(page.get_by_text(view.after).first) - PADDING if view.after else view.height
    first = page.get_by_role("heading", name=view.first, exact=True) if view.first else None
    if first:
        height += menu - _top(first)
    if not menu < height <= MOST:
        raise RuntimeError(f"{view.name}: {view.after!r} stands {height} pixels below the picture's top.")
    page.set_viewport_size({"width": WIDTH, "height": round(height)})
    wait_until_ready(page, quiet_ms=1000)
    if first:
        # The menu lies over what is scrolled to the window's top, and Streamlit leaves it no margin.
        first.evaluate(
            "(heading, menu) => { heading.style.scrollMarginTop = `${menu}px`; heading.scrollIntoView(); }", menu
        )
        if abs(_top(first) - menu) > 1:
            raise RuntimeError(f"{view.name}: {view.first!r} does not stand below the menu.")
    wait_until_ready(page, quiet_ms=1000)
    page.mouse.move(WIDTH - 4, height - 4)  # over nothing that answers
    return page.screenshot(animations="disabled", caret="hide")


def _top(element: Locator) -> float:
    """Where it begins below the window's top."""
    box = element.bounding_box()
    if box is None:
        raise RuntimeError(f"{element} is not to be seen.")
    return box["y"]


def main() -> int:
    """Takes all of them, or those whose names follow."""
    try:
        return retaken(sys.argv[1:])
    except RuntimeError as error:  # no Chromium, the app did not start, or a page has changed
        print(error, file=sys.stderr)
        return 1


def retaken(names: list[str]) -> int:
    """Takes those of these names, or all; 1 where one is too large."""
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = {"HOME": str(home), "EXPLORER_PICTURES": ""}
        app = stack.enter_context(served(home / "data", log=home / "log.txt", environment=environment))
        browser = stack.enter_context(chromium())
        page = browser.new_page(
            base_url=app.url, viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", reduced_motion="reduce"
        )
        page.add_init_script(path=PENDING_WORK_JS)
        page.set_default_timeout(PATIENCE_S * 1000)
        for view in (view for view in VIEWS if view.name in names or not names):
            visit(page, view.path)
            for theme in view.themes:
                path = FOLDER / f"{view.name}-{theme}.webp"
                picture = Image.open(io.BytesIO(take(page, view, theme == "dark"))).convert("RGB")
                picture.save(path, "WEBP", quality=QUALITY, method=6)
                size = path.stat().st_size
                print(f"{path.relative_to(ROOT)}: {picture.width}x{picture.height}, {size:,} bytes", flush=True)
                if size > LARGEST:
                    print(f"That is more than {LARGEST:,} bytes: lower QUALITY in {__file__}.", file=sys.stderr)
                    return 1
            turn(page, dark=False)
            page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    return 0


if __name__ == "__main__":
    sys.exit(main())
