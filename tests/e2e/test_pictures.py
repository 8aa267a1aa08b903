"""Every picture fills the screen and is saved as a PNG with its colour bar and caption. One comes from the camera."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from driving.actions import click, query, turn, visit, wait_until_ready
from tests.e2e.accessibility import assert_accessible
from tests.e2e.conftest import SCREENSHOTS
from tests.e2e.exploring import open_pictures


def saved(page: Page, name: str) -> tuple[str, np.ndarray]:
    """The name and the pixels of the file that the button of that picture saves."""
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save as PNG: {name}", exact=True).click()
    content = download.value.path().read_bytes()
    SCREENSHOTS.mkdir(exist_ok=True)
    (SCREENSHOTS / f"saved-{download.value.suggested_filename}").write_bytes(content)
    return download.value.suggested_filename, np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


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


def test_the_pictures_of_explore(page: Page) -> None:
    visit(page, "/?second=shapes-resnet-20#layer=stages.1.0&channel=5&scope=both")
    name, overlay = saved(page, "Grad-CAM of plain-20")
    assert name.startswith("Grad-CAM-of-stages.1.0-of-plain-20-over-the-image") and name.endswith(".png")
    canvas = page.get_by_role("img", name="Grad-CAM of stages.1.0 over the image").first
    pixels = canvas.evaluate("canvas => [...canvas.getContext('2d').getImageData(0, 0, 320, 320).data]")
    shown = np.array(pixels, np.uint8).reshape(320, 320, 4)[..., :3]
    np.testing.assert_array_equal(
        overlay[32 : 32 + 640 : 2, 32 : 32 + 640 : 2], shown, "two pixels for each of the page"
    )
    assert (overlay[:32] == 255).all(), "on the background of the page"
    assert (overlay[672:] != 255).any(), "the bar and the caption"

    for picture in ("feature maps of ResNet-20", "chosen feature map of ResNet-20"):
        name, pixels = saved(page, picture)
        assert "stages.1.0-of-ResNet-20" in name and min(pixels.shape[:2]) >= 624
    name, strip = saved(page, "all layers")
    assert name.startswith("All-layers-of-plain-20-explaining-")
    band = page.locator(".strip .grid")
    size = band.evaluate("grid => [grid.offsetHeight, grid.offsetWidth]")
    assert strip.shape[0] > 2 * size[0] and strip.shape[1] == pytest.approx(2 * size[1] + 64, abs=2)
    assert colours(strip) > 500, "maps, lines and words"
    for picture in ("all layers", "Grad-CAM of ResNet-20", "feature maps of plain-20"):
        fills_the_screen(page, picture)


def test_the_pictures_of_a_training(page: Page) -> None:
    visit(page, "/build?replay=shapes-56")
    page.get_by_role("slider", name="Training step").focus()
    page.keyboard.press("End")
    for picture, start in {
        "loss and accuracy": "Loss-and-accuracy",
        "gradient map": "Size-of-the-weight-gradient",
        "Grad-CAM of the test images": "Where-they-look",
        "predictions of the test images": "The-same-test-images",
    }.items():
        name, pixels = saved(page, picture)
        assert name.startswith(start)
        assert colours(pixels) > 200
    fills_the_screen(page, "loss and accuracy")


def test_the_strip_of_compare(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    visit(page, "/compare?networks=shapes-plain-8,shapes-resnet-8")
    name, pixels = saved(page, "aligned maps")
    assert name.startswith("What-plain-8-and-ResNet-8-see")
    assert (pixels[:32] < 64).all() and (pixels[-200:] > 200).any(), "bright words on the dark page"
    assert colours(pixels) > 500
    fills_the_screen(page, "aligned maps")


CAMERA = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
  setInterval(() => canvas.getContext("2d").fillRect(Math.random() * 100, 20, 40, 60), 40);
  navigator.mediaDevices.getUserMedia = async () => {
    if (window.denied) throw new DOMException("denied", "NotAllowedError");
    return (window.stream = canvas.captureStream());
  };
}"""


def test_a_photographed_picture_is_drawn_and_the_camera_goes_off_with_its_place(page: Page) -> None:
    visit(page)
    page.evaluate(CAMERA)
    open_pictures(page)
    click(page, "button", "Use the camera")
    page.get_by_role("button", name="Take a photo").click()
    expect(page.get_by_text("Original, 160×120")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["picture"][0].startswith("upload-")
    for dark in (True, False):
        turn(page, dark=dark)
        assert_accessible(page, "the camera")
    click(page, "button", "Switch the camera off")
    page.wait_for_function("() => stream.getTracks().every(track => track.readyState === 'ended')")
    page.evaluate("window.denied = true")
    click(page, "button", "Use the camera")
    expect(page.get_by_text("The browser gives no camera.")).to_be_visible()
    expect(page.get_by_role("button", name="Take a photo")).to_be_disabled()
