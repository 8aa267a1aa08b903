"""What tests of Explore do and look at, and the files that pages save."""

import base64
import io
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from driving.actions import upload
from tests.e2e.conftest import SCREENSHOTS

EXPLAIN = "**/api/explain"
SMALL = "/?first=shapes-plain-8&second=shapes-resnet-8"  # where depth is not the subject
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


def pixels_of(content: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert(mode))


def painted(canvas: Locator, mode: str = "RGB") -> np.ndarray:
    """uint8 (H, W, channels of `mode`) of what a canvas shows. As a PNG: numbers take Playwright seconds."""
    address = canvas.evaluate("canvas => canvas.toDataURL()")
    return pixels_of(base64.b64decode(address.partition(",")[2]), mode)


def saved(page: Page, name: str) -> tuple[str, np.ndarray]:
    """The name of the PNG and its pixels."""
    name, content = downloaded(page, "PNG", name)
    return name, pixels_of(content)


def drawn(page: Page, name: str) -> tuple[str, str, list[np.ndarray]]:
    """The name of the SVG, its words, and the pixels of the pictures in it. Nothing in it is elsewhere."""
    name, content = downloaded(page, "SVG", name)
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(content)
    words = " ".join("".join(each.itertext()) for each in root.iter(f"{svg}text"))
    addresses = [value for each in root.iter(f"{svg}image") for key, value in each.items() if key.endswith("href")]
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    return name, words, [pixels_of(base64.b64decode(address.partition(",")[2])) for address in addresses]


def colours(pixels: np.ndarray) -> int:
    """How many different colours a picture has."""
    return len(Image.fromarray(pixels).getcolors(pixels.size) or [])


def fills_the_screen(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=f"Full screen: {name}", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(button).to_be_focused()


def works_at(page: Page, url: str) -> None:
    """A page of the app below that address draws, answers, takes a file and leads to another one."""
    page.goto(f"{url}{SMALL}&layers=main")
    expect(page.get_by_text("drawn star, number 6", exact=True)).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("drawn star, number 7", exact=True)).to_be_visible()
    strip_button(page, "stages.1.0.conv2", "ResNet-8").click()
    expect(page.get_by_role("heading", name="Layer stages.1.0.conv2", exact=True)).to_be_visible()
    open_pictures(page)
    upload(page, "bar", "a.jpg", "image/jpeg", photo(120, 80), wait=False)
    expect(page.get_by_text("Original, 120×80")).to_be_visible()
    page.goto(f"{url}/models?picture=sample-6-6")
    page.get_by_role("link", name="Explore").click()
    expect(page.get_by_text("drawn star, number 6", exact=True)).to_be_visible()
