"""Every picture fills the screen and is saved as PNG and SVG, with its colour bar and caption; and the camera."""

import base64
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from driving.actions import click, query, turn, visit, wait_until_ready
from tests.e2e.accessibility import assert_accessible
from tests.e2e.exploring import downloaded, open_pictures, pixels_of, saved


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


CAMERA = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
  setInterval(() => canvas.getContext("2d").fillRect(Math.random() * 100, 20, 40, 60), 40);
  navigator.mediaDevices.getUserMedia = async () => {
    if (window.denied) throw new DOMException("denied", "NotAllowedError");
    return (window.stream = canvas.captureStream());
  };
}"""


def attacked(page: Page) -> None:
    """The attack by keyboard: each step is answered, the strip has its row, and the link makes it again."""
    page.get_by_text("Attack the image").click()
    page.get_by_role("slider", name="ε, the largest change").focus()
    for _ in range(16):
        page.keyboard.press("ArrowRight")
    page.get_by_role("combobox", name="Method").select_option("pgd")
    page.get_by_role("combobox", name="Made against").select_option("1")
    said = page.get_by_text(re.compile("^Under PGD of 10 steps within 4/255 ResNet-"))
    expect(said).to_be_visible()
    expect(page.get_by_role("img", name="The change of the image, ten times as large, on mid-grey")).to_be_visible()
    expect(page.get_by_text(re.compile("^distance from the clean pass, up to "))).to_have_count(2)
    wait_until_ready(page)
    assert query(page)["attack"] == ["epsilon4_steps10_second"]
    for dark in (False, True):
        turn(page, dark=dark)
        assert_accessible(page, "the attack")
    bars = page.get_by_role("group", name="The five most probable classes of ")
    answers, sentences = bars.all_inner_texts(), said.all_inner_texts()
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_role("group", name="The five most probable classes of ")).to_have_count(2)
    other.get_by_text("Attack the image").click()
    expect(other.get_by_text(sentences[0])).to_be_visible()
    assert other.get_by_role("group", name="The five most probable classes of ").all_inner_texts() == answers
    other.close()
    click(page, "button", "No attack")
    assert "attack" not in query(page)


def own_input(page: Page) -> None:
    """A dial and an attack by keyboard, a drawing with the mouse, and the camera as a loop."""
    page.get_by_text("Change the image").click()
    page.get_by_role("slider", name="Rotation").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_text("drawn star, number 6. Rotation 3.")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["dials"] == ["rotation3"]
    expect(page.get_by_role("slider", name="Rotation")).to_be_focused()
    page.get_by_text("Draw or paint").click()
    for dark in (False, True):
        turn(page, dark=dark)
        assert_accessible(page, "dials and drawing")
    click(page, "button", "Reset")
    assert "dials" not in query(page)

    attacked(page)
    canvas = page.get_by_role("application", name="Drawing canvas")
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 60, box["y"] + box["height"] - 60, steps=5)
    page.mouse.move(box["x"] + 60, box["y"] + box["height"] - 60, steps=5)
    expect(page.get_by_role("img", name="your drawing")).to_be_visible()
    assert "picture" not in query(page), "the hand is still at work"
    page.mouse.up()
    wait_until_ready(page)
    drawn = query(page)["picture"]
    assert drawn[0].startswith("upload-")
    expect(page.get_by_role("button", name="Image: your drawing")).to_be_visible()
    expect(page.get_by_role("row", name="Grad-CAM on the object").first).to_be_visible()
    click(page, "button", "Eraser")
    canvas.focus()
    page.keyboard.press("Space")
    page.wait_for_function("before => !location.search.includes(before)", arg=drawn[0])
    click(page, "button", "Undo")
    assert query(page)["picture"] == drawn

    page.get_by_text("Live camera").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.get_by_role("img", name="your camera image")).to_be_visible()
    assert query(page)["picture"] == drawn, "the server keeps none of these"
    page.get_by_role("combobox", name="Second network").select_option(label="None")
    expect(page.get_by_role("group", name="The five most probable classes of ")).to_have_count(1)
    page.evaluate("stream.getTracks().forEach(track => { track.stop(); track.dispatchEvent(new Event('ended')); })")
    expect(page.get_by_text("The camera was lost. What you see is of its last image.")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["picture"] != drawn
    expect(page.get_by_role("button", name="Image: your camera image")).to_be_visible()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.get_by_role("button", name="Stop the camera")).to_be_visible()
    page.wait_for_timeout(500)  # some images of the camera
    click(page, "button", "Next")
    expect(page.get_by_text("The camera is off: another image was chosen.")).to_be_visible()
    assert query(page)["picture"][0].startswith("sample-")


def test_your_own_input_is_followed_and_the_camera_goes_off_with_its_place(page: Page) -> None:
    visit(page)
    page.evaluate(CAMERA)
    own_input(page)
    open_pictures(page)
    click(page, "button", "Ship at sea")
    expect(page.get_by_text("Original, 480×360")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["picture"] == ["scene-ship"]
    loaded = "pictures => pictures.every(picture => picture.complete && picture.naturalWidth)"
    assert page.locator(".photos img").evaluate_all(loaded)
    click(page, "button", "Use the camera")
    page.get_by_role("button", name="Take a photo").click()
    expect(page.get_by_text("Original, 160×120")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["picture"][0].startswith("upload-")
    for dark in (False, True):
        turn(page, dark=dark)
        assert_accessible(page, "the camera")
    click(page, "button", "Switch the camera off")
    page.wait_for_function("() => stream.getTracks().every(track => track.readyState === 'ended')")
    page.evaluate("window.denied = true")
    click(page, "button", "Use the camera")
    expect(page.get_by_text("The browser gives no camera.")).to_be_visible()
    expect(page.get_by_role("button", name="Take a photo")).to_be_disabled()
