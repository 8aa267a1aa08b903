"""Your own input in a real browser: dials, an attack, a drawing, a brush, and Chromium's own fake camera; and two
visitors at once, who see nothing of each other."""

import re
from collections.abc import Callable

import numpy as np
from playwright.sync_api import Locator, Page, Request, expect

from driving.accessibility import assert_accessible
from driving.actions import click, query, turn, visit, wait_until_ready
from tests.e2e.exploring import EXPLAIN, SMALL, open_pictures, painted, strip_button

COLOUR = (0xF2, 0xC1, 0x4E)  # with which the brush begins
BEHIND = "This tab is in the background: what you see is of the last image before."
LOST = "The camera was lost. What you see is of its last image."

# Chromium's headless shell hides no tab. So the page is told that it is hidden, and gets no frames meanwhile.
HIDE = """() => {
  window.held = [];
  window.unheld = window.requestAnimationFrame;
  window.requestAnimationFrame = (call) => window.held.push(call);
  Object.defineProperty(document, "hidden", { value: true, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
SHOW = """() => {
  window.requestAnimationFrame = window.unheld;
  delete document.hidden;
  document.dispatchEvent(new Event("visibilitychange"));
  window.held.forEach((call) => window.requestAnimationFrame(call));
}"""


def answers(page: Page) -> str:
    """What both networks say, beside the hand."""
    return page.locator(".own-input .answers").inner_text()


def by_dial(page: Page) -> None:
    page.get_by_text("Change the image").click()
    page.get_by_role("slider", name="Rotation").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_text("drawn star, number 6. Rotation 3.")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["dials"] == ["rotation3"]
    expect(page.get_by_role("slider", name="Rotation")).to_be_focused()
    page.get_by_text("Draw or paint").click()


def by_attack(page: Page) -> None:
    """The attack by keyboard, on what the dial changed: each step is answered, the strip has its row, and the link
    makes it again."""
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
        assert_accessible(page, "dials, drawing and attack")
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
    click(page, "button", "Reset")
    assert "dials" not in query(page)


def stroke(page: Page, canvas: Locator, *places: tuple[float, float]) -> None:
    """The mouse goes over these pixels (x, y) of the canvas, and stays down."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    for index, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + box["width"] * x / 32, box["y"] + box["height"] * y / 32, steps=5 if index else 1)
        if not index:
            page.mouse.down()


def by_drawing(page: Page, canvas: Locator) -> str:
    """A shape with its mask. Returns its `picture`."""
    stroke(page, canvas, (16, 5), (26, 26), (6, 26))
    expect(page.get_by_role("img", name="your drawing")).to_be_visible()
    assert "picture" not in query(page), "the hand is still at work"
    page.mouse.up()
    wait_until_ready(page)
    drawn = query(page)["picture"][0]
    assert drawn.startswith("upload-")
    assert tuple(painted(canvas)[20, 16]) == COLOUR, "the shape is filled"
    expect(page.get_by_role("button", name="Image: your drawing")).to_be_visible()
    expect(page.get_by_role("row", name="Grad-CAM on the object").first).to_be_visible()
    click(page, "button", "Eraser")
    canvas.focus()
    page.keyboard.press("Space")
    page.wait_for_function("before => !location.search.includes(before)", arg=drawn)
    click(page, "button", "Undo")
    assert query(page)["picture"] == [drawn]
    return drawn


def by_brush(page: Page, canvas: Locator) -> None:
    """Paints over an image, and erases to the image's own mean colour."""
    click(page, "button", "Paint over this image")
    before, said = painted(canvas), answers(page)
    click(page, "button", "Brush")
    stroke(page, canvas, (4, 12), (28, 12))
    page.mouse.up()
    wait_until_ready(page)
    after = painted(canvas)
    assert (after[12, 6:26] == COLOUR).all() and (after[22:] == before[22:]).all()
    assert answers(page) != said, "the networks look at what is painted"
    expect(page.get_by_text("Painted over an image: no object is marked.")).to_be_visible()
    expect(page.get_by_role("row", name="Grad-CAM on the object")).to_have_count(0)
    click(page, "button", "Eraser")
    stroke(page, canvas, (4, 12), (28, 12))
    page.mouse.up()
    wait_until_ready(page)
    assert np.abs(painted(canvas)[12, 6:26] - before.mean(axis=(0, 1))).max() <= 1


def by_camera(page: Page) -> None:
    """The camera as a loop, in a tab in the background, and lost: the last true answer stays."""
    kept = query(page)["picture"]
    page.get_by_text("Live camera").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.get_by_role("img", name="your camera image")).to_be_visible()
    assert query(page)["picture"] == kept, "the server keeps none of these"
    page.get_by_role("combobox", name="Second network").select_option(label="None")
    expect(page.get_by_role("group", name="The five most probable classes of ")).to_have_count(1)

    asked: list[Request] = []
    flying: set[Request] = set()
    page.on("request", lambda request: asked.append(request))
    page.on("request", lambda request: flying.add(request))
    for end in ("requestfinished", "requestfailed"):
        page.on(end, lambda request: flying.discard(request))
    with page.expect_response(EXPLAIN):
        pass
    page.evaluate(HIDE)
    expect(page.get_by_text(BEHIND)).to_be_visible()
    page.wait_for_function("window.held.length > 0", polling=50)
    while flying:  # the answers that were under way
        page.wait_for_timeout(50)
    said, before = answers(page), len(asked)
    page.wait_for_timeout(400)
    assert said and answers(page) == said and len(asked) == before
    with page.expect_response(EXPLAIN):
        page.evaluate(SHOW)
    expect(page.get_by_text("Both networks follow the camera.")).to_be_visible()

    browser = page.context.new_cdp_session(page)
    lost = {"permission": {"name": "camera"}, "origin": page.evaluate("location.origin")}
    browser.send("Browser.setPermission", {**lost, "setting": "denied"})
    expect(page.get_by_text(LOST)).to_be_visible()
    browser.send("Browser.setPermission", {**lost, "setting": "granted"})
    browser.detach()
    wait_until_ready(page)
    assert query(page)["picture"] != kept and answers(page).startswith("plain-8: ")
    expect(page.get_by_role("button", name="Image: your camera image")).to_be_visible()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.get_by_role("button", name="Stop the camera")).to_be_visible()
    with page.expect_response(EXPLAIN):
        pass  # an image of the camera
    click(page, "button", "Next")
    expect(page.get_by_text("The camera is off: another image was chosen.")).to_be_visible()
    assert query(page)["picture"][0].startswith("sample-")


def switched_off(page: Page, block: str) -> str:
    """What the networks say without that block."""
    strip_button(page, block, "plain-8").click()
    click(page, "button", "Switch off")
    assert query(page)["change"] == [f"{block}@branch:off"]
    return answers(page)


def test_your_own_input_is_followed_and_two_visitors_see_nothing_of_each_other(
    page: Page, open_page: Callable[[], Page]
) -> None:
    visit(page, SMALL)
    by_dial(page)
    by_attack(page)
    canvas = page.get_by_role("application", name="Drawing canvas")
    drawn = by_drawing(page, canvas)
    link, said = page.url, answers(page)
    by_brush(page, canvas)
    for _ in range(5):  # over what was painted
        if query(page)["picture"] != [drawn]:
            page.go_back()
            wait_until_ready(page)
    assert page.url == link and answers(page) == said, "the session keeps the drawing under its link"
    by_camera(page)

    other = open_page()
    visit(other, link)
    expect(other.get_by_text(re.compile("an uploaded image, which never leaves the session"))).to_be_visible()
    expect(other.get_by_role("button", name="Image: star, background 6")).to_be_visible()
    expect(other.get_by_role("img", name="your drawing")).to_have_count(0)
    own = switched_off(page, "stages.0.0")
    others = switched_off(other, "stages.1.0")
    for each in (page, other):
        click(each, "button", "Put all back")
    assert switched_off(other, "stages.1.0") == others != own == switched_off(page, "stages.0.0")
    assert "upload" not in page.url and query(other)["picture"] == [drawn]


def test_a_photo_of_the_camera_is_an_image_and_the_camera_goes_off_with_its_place(page: Page) -> None:
    visit(page, SMALL)
    open_pictures(page)
    click(page, "button", "Ship at sea")
    expect(page.get_by_text("Original, 480×360")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["picture"] == ["scene-ship"]
    loaded = "pictures => pictures.every(picture => picture.complete && picture.naturalWidth)"
    assert page.locator(".photos img").evaluate_all(loaded)
    click(page, "button", "Use the camera")
    page.get_by_role("button", name="Take a photo").click()
    expect(page.get_by_text("Original, 640×480")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["picture"][0].startswith("upload-")
    for dark in (False, True):
        turn(page, dark=dark)
        assert_accessible(page, "the camera")
    track = page.locator("video").first.evaluate_handle("video => video.srcObject.getTracks()[0]")
    click(page, "button", "Switch the camera off")
    page.wait_for_function("track => track.readyState === 'ended'", arg=track)
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('denied'); }; }")
    click(page, "button", "Use the camera")
    expect(page.get_by_text("The browser gives no camera.")).to_be_visible()
    expect(page.get_by_role("button", name="Take a photo")).to_be_disabled()
