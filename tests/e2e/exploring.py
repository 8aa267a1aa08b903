"""What tests of Explore do and look at, and the files that pages save."""

import io
import re
from collections.abc import Callable

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from driving.actions import upload
from tests.e2e.conftest import SCREENSHOTS

EXPLAIN = "**/api/explain"
COMPLETE = "document.documentElement.dataset.viewer === 'complete'"  # all layers have been fetched


class Line:
    """The connection over which the page hears from its browser; while it `is_held`, it hears of nothing. To be made
    before the page is opened."""

    def __init__(self, page: Page) -> None:
        self.is_held = False
        self.held: list[str | bytes] = []
        self._send: list[Callable[[str | bytes], None]] = []
        page.route_web_socket(re.compile("/_stcore/stream"), self._connect)

    def release(self) -> None:
        self.is_held = False
        held, self.held = self.held, []
        for message in held:
            self._send[-1](message)

    def _connect(self, browser: WebSocketRoute) -> None:
        server = browser.connect_to_server()
        self._send.append(server.send)
        server.on_message(browser.send)
        browser.on_message(lambda message: self.held.append(message) if self.is_held else server.send(message))


def photo(width: int = 300, height: int = 200, orientation: int = 1) -> bytes:
    """A JPEG like a camera's: a bright disc on a gradient, with an EXIF orientation."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], axis=-1)
    pixels[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2] = (240, 200, 60)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue()


def open_pictures(page: Page) -> None:
    """Where shapes, files and the camera are chosen."""
    button = page.get_by_role("button", name=re.compile("^Image: "))
    if button.get_attribute("aria-expanded") == "false":
        button.click()


def strip_button(page: Page, layer: str, network: str, row: str = "Grad-CAM") -> Locator:
    return page.get_by_role("button", name=f"{layer}, {network}, {row}", exact=True)


def give_photo(page: Page, name: str, content: bytes) -> None:
    open_pictures(page)
    upload(page, "bar", name, "image/jpeg", content)


def downloaded(page: Page, kind: str, name: str) -> tuple[str, bytes]:
    """The name and the content of the file that the button of that picture saves."""
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save as {kind}: {name}", exact=True).click()
    content = download.value.path().read_bytes()
    SCREENSHOTS.mkdir(exist_ok=True)
    (SCREENSHOTS / f"saved-{download.value.suggested_filename}").write_bytes(content)
    return download.value.suggested_filename, content


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def saved(page: Page, name: str) -> tuple[str, np.ndarray]:
    """The name of the PNG and its pixels."""
    name, content = downloaded(page, "PNG", name)
    return name, pixels_of(content)


def works_at(page: Page, url: str) -> None:
    """A page of the app below that address draws, answers, takes a file and leads to another one."""
    page.goto(f"{url}/?layers=main")
    expect(page.get_by_text("drawn star, number 6", exact=True)).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("drawn star, number 7", exact=True)).to_be_visible()
    strip_button(page, "stages.1.0.conv2", "ResNet-20").click()
    expect(page.get_by_role("heading", name="Layer stages.1.0.conv2", exact=True)).to_be_visible()
    open_pictures(page)
    upload(page, "bar", "a.jpg", "image/jpeg", photo(120, 80), wait=False)
    expect(page.get_by_text("Original, 120×80")).to_be_visible()
    page.goto(f"{url}/compare?picture=sample-6-6")
    page.get_by_role("link", name="Explore").click()
    expect(page.get_by_text("drawn star, number 6", exact=True)).to_be_visible()
