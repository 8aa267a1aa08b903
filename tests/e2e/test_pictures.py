"""Every picture fills the screen and is saved as PNG and SVG, with its colour bar and caption: those of Explore and
Compare. `test_replay.py` has those of a training."""

import numpy as np
import pytest
from playwright.sync_api import Page

from driving.actions import visit
from tests.e2e.exploring import colours, drawn, fills_the_screen, painted, saved


def test_the_pictures_of_explore(page: Page) -> None:
    visit(page, "/?second=shapes-resnet-20#layer=stages.1.0&channel=5&scope=both")
    name, overlay = saved(page, "Grad-CAM of plain-20")
    assert name.startswith("Grad-CAM-of-stages.1.0-of-plain-20-over-the-image") and name.endswith(".png")
    canvas = page.get_by_role("img", name="Grad-CAM of stages.1.0 over the image").first
    shown = painted(canvas)
    assert shown.shape == (320, 320, 3)
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
