"""A recorded training in a real browser: it plays, is moved by mouse and keys, and draws what was recorded."""

import base64
import re

import numpy as np
from playwright.sync_api import Locator, Page, expect

from driving.accessibility import assert_accessible, assert_keyboard_goes_everywhere
from driving.actions import click, turn, visit, wait_until_ready
from explorer import figures, recordings
from explorer.runs.log import parsed
from explorer.ui.build import replay
from explorer.views import enlarge
from tests.e2e.exploring import colours, drawn, fills_the_screen, painted, saved

LINK = "/build?replay=shapes-56"
SIDE = 96  # of a painted map
OPACITY = 0.7


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Training step")


def step(page: Page) -> int:
    return int(slider(page).input_value())


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def over(canvas: Locator) -> np.ndarray:
    """The painted map over grey, as the browser shows it: (SIDE, SIDE, 3)."""
    pixels = painted(canvas, "RGBA").astype(float)
    assert pixels.shape == (SIDE, SIDE, 4)
    alpha = pixels[..., 3:] / 255
    return 128 * (1 - alpha) + pixels[..., :3] * alpha


def its_pictures_are_saved_and_fill_the_screen(page: Page) -> None:
    """At the end of the training."""
    slider(page).focus()
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


def test_a_recorded_training_plays_is_moved_by_hand_and_its_pictures_are_saved(page: Page) -> None:
    visit(page, "/build")
    click(page, "button", "Watch plain-56 and ResNet-56")
    # This visitor's system asks for little motion, so that it waits for the person.
    expect(button(page, "Play")).to_be_visible()
    assert "replay=shapes-56" in page.url and step(page) == 1
    last = int(slider(page).get_attribute("max") or 0)
    recording = recordings.load("shapes-56")
    parts = replay.parts("shapes-56", "light")
    assert last == parts["last"] > 100

    button(page, "Play").click()
    expect(button(page, "Pause")).to_be_visible()
    page.wait_for_function(
        "before => Number(document.activeElement.shadowRoot.querySelector('input').value) > before", arg=3
    )
    button(page, "Pause").click()
    expect(button(page, "Play")).to_be_visible()
    reached = step(page)
    assert 3 < reached < last

    # By mouse, and by keys.
    box = slider(page).bounding_box()
    assert box
    page.mouse.move(box["x"] + 3, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    middle = step(page)
    assert abs(middle - last / 2) < last / 20
    slider(page).focus()
    page.keyboard.press("ArrowRight")
    assert step(page) == middle + 1
    page.keyboard.press("End")
    expect(button(page, "Play again")).to_be_visible()
    assert step(page) == last
    page.keyboard.press("Home")
    assert step(page) == 1
    expect(slider(page)).to_have_attribute("aria-valuetext", re.compile(rf"^step 1 of {last}"))

    # What is drawn is what was recorded up to there.
    frames = parts["cams"]["frames"]
    frame = frames[len(frames) // 2]
    slider(page).fill(str(frame["step"]))
    expect(
        page.get_by_text(
            f"Where they look: Grad-CAM for the true class at the block stages.2.8, now at step {frame['step']}"
        )
    ).to_be_visible()
    top = max(top for network in frame["networks"] for top in network["tops"])
    shown = page.locator(".cams li")
    for index in range(3):
        for which, network in enumerate(frame["networks"]):
            canvas = shown.nth(index).locator("canvas").nth(which)
            steps = np.frombuffer(base64.b64decode(network["maps"][index]), np.uint8).reshape(network["size"])
            cam = steps.astype(np.float32) * (network["tops"][index] / 255)
            grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
            heated = np.clip(enlarge(cam, (SIDE, SIDE)) / top, 0, 1)
            expected = figures.overlay(grey, heated, OPACITY).astype(float)
            assert np.abs(over(canvas) - expected).max() <= 3
    line = next(line for line in parts["curves"]["panels"][0]["lines"] if line["name"] == "ResNet-56")
    counts = [len(re.findall("[ML]", path.get_attribute("d") or "")) for path in page.locator("g path.running").all()]
    assert sum(x <= frame["step"] for x in line["x"]) in counts
    said = [each for each in parts["predictions"]["frames"] if each["step"] <= frame["step"]][-1]
    names, labels = parts["predictions"]["names"], parts["predictions"]["labels"]
    for which, title in enumerate(("plain-56", "ResNet-56")):
        classes, shares = said["networks"][which]
        lines = page.locator(f".sheet [data-network='{title}']").all_inner_texts()
        assert [text[2:].rsplit(" ", 2)[0] for text in lines] == [names[index] for index in classes]
        assert [text[0] == "✓" for text in lines] == [
            index == label for index, label in zip(classes, labels, strict=True)
        ]
        right = sum(index == label for index, label in zip(classes, labels, strict=True))
        expect(page.get_by_text(f"{title}: {right} of 12 right")).to_be_visible()

    its_pictures_are_saved_and_fill_the_screen(page)
    slider(page).fill(str(frame["step"]))
    for dark in (False, True):
        turn(page, dark=dark)
        assert step(page) == frame["step"], "another theme draws the same step"
        assert_accessible(page, f"a replay, {'dark' if dark else 'light'}")
    assert_keyboard_goes_everywhere(page)

    # The link alone leads here, and plays by itself where the visitor's system has nothing against it.
    page.emulate_media(reduced_motion="no-preference")
    page.goto(LINK)
    expect(button(page, "Pause")).to_be_visible()
    page.emulate_media(reduced_motion="reduce")
    button(page, "Pause").click()
    click(page, "button", "Explore these two networks")
    wait_until_ready(page)
    assert "first=shapes-plain-56" in page.url and "second=shapes-resnet-56" in page.url
    assert parsed(recording.metrics).end
