"""The pictures of the app in docs/, taken in Chromium: `make screenshots`.

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
from playwright.sync_api import Page

from driving.serving import chromium, served
from driving.verbs import UNANSWERED, turn, visit, wait_until_ready

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
    try:
        return retaken()
    except RuntimeError as error:  # no Chromium, or the app did not start
        print(error, file=sys.stderr)
        return 1


def retaken() -> int:
    """Takes them all; 1 where one is too large."""
    DOCS.mkdir(exist_ok=True)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = {"HOME": str(home), "EXPLORER_PICTURES": ""}
        app = stack.enter_context(served(home / "data", log=home / "log.txt", environment=environment))
        browser = stack.enter_context(chromium())
        page = browser.new_page(
            base_url=app.url, viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", reduced_motion="reduce"
        )
        page.add_init_script(path=UNANSWERED)
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
