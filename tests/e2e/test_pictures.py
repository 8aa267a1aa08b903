"""Every picture fills the screen and is saved as PNG and SVG, with its colour bar and caption."""

import base64
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from driving.actions import visit
from tests.e2e.exploring import downloaded, pixels_of, saved


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

    name, words, pictures = drawn(page, "Grad-CAM of plain-20")
    assert name.startswith("Grad-CAM-of-stages.1.0-of-plain-20-over-the-image") and name.endswith(".svg")
    np.testing.assert_array_equal(pictures[0], shown, "all its values")
    for part in ("Grad-CAM 0", "explaining star", "plain-20 (shapes-v1-32, seed 0)", "drawn star, number 6; n = 1"):
        assert part in words, words

    for picture in ("feature maps of ResNet-20", "chosen feature map of ResNet-20"):
        name, pixels = saved(page, picture)
        assert "stages.1.0-of-ResNet-20" in name and min(pixels.shape[:2]) >= 624
    name, strip = saved(page, "all layers")
    assert name.startswith("All-layers-of-plain-20-explaining-")
    band = page.locator(".strip .grid")
    size = band.evaluate("grid => [grid.offsetHeight, grid.offsetWidth]")
    assert strip.shape[0] > 2 * size[0] and strip.shape[1] == pytest.approx(2 * size[1] + 64, abs=2)
    assert colours(strip) > 500, "maps, lines and words"
    name, words, pictures = drawn(page, "all layers")
    assert len(pictures) == 8, "two rows and the bars of both networks, and two scales"
    for part in ("plain-20", "ResNet-20", "stage 3", "1e-2", "activation", "n = 1"):
        assert part in words, words
    with page.expect_download() as download:
        page.get_by_role("button", name="Report (HTML)", exact=True).click()
    assert download.value.suggested_filename == "Report-of-plain-20-and-ResNet-20-on-drawn-star-number-6.html"
    text = download.value.path().read_text()
    for part in ("Layer stages.1.0", "channel 5 of ResNet-20", "?second=shapes-resnet-20#layer=stages.1.0"):
        assert part in text, "the view of the browser"
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
    _, words, _ = drawn(page, "loss and accuracy")
    assert "Accuracy" in words and "plain-56 and ResNet-56" in words and "seed 0" in words
    fills_the_screen(page, "loss and accuracy")


def test_the_strip_of_compare(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    visit(page, "/compare?networks=shapes-plain-8,shapes-resnet-8")
    name, pixels = saved(page, "aligned maps")
    assert name.startswith("What-plain-8-and-ResNet-8-see")
    assert (pixels[:32] < 64).all() and (pixels[-200:] > 200).any(), "bright words on the dark page"
    assert colours(pixels) > 500
    fills_the_screen(page, "aligned maps")
    _, chart = saved(page, "Confusion matrix of plain-8")
    assert colours(chart[:200]) > 100, "the scale, whose colours another drawing of the chart defines"
    name, words, _ = drawn(page, "Training curves")
    assert name.startswith("Training-curves") and "plain-8-shapes-v1-32-seed-0" in name
    for part in ("Loss", "Accuracy", "epochs", "plain-8", "ResNet-8", "n = 20,000", "seed 0"):
        assert part in words, words
