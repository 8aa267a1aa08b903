"""What Explore draws in the browser: the pixels of the library, and a choice at once, without the rest of the page.

One file for the one page.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Request, Route, expect

from driving.accessibility import assert_accessible
from driving.actions import choose, click, query, turn, upload, visit, wait_until_ready
from driving.messages import unpack
from explorer import checkpoints, figures, runs
from explorer.architectures import build
from explorer.attribution import enlarge, grad_cam, profile
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.figures import ColourScale
from explorer.images import to_input, to_pixels
from explorer.presets import cifar
from explorer.tracing import STRIP_KINDS, trace
from explorer.training import TrainingConfig
from tests.e2e.conftest import Server
from tests.e2e.exploring import COMPLETE, EXPLAIN, SMALL, Line, give_photo, open_pictures, painted, photo, strip_button


def test_the_browser_paints_what_the_library_paints(page: Page) -> None:
    """The overlay and the feature maps of a layer, against `figures` on the same pass."""
    layer, opacity = "stages.1.0.conv2", 40
    visit(page, f"/?layer={layer}&opacity={opacity}&channel=5&scope=network")
    pixels, _ = shapes.sample(6, 6)
    for name, title in (("shapes-plain-20", "plain-20"), ("shapes-resnet-20", "ResNet-20")):
        loaded = checkpoints.load_pretrained(name)
        passed = trace(loaded.network, to_input(pixels, (32, 32), loaded.mean, loaded.std), None, STRIP_KINDS)
        columns = profile(passed)
        seen = figures.upscale_nearest(to_pixels(passed.image, loaded.mean, loaded.std), 320)
        top = max(float(column.cam.max()) for column in columns)
        heat = np.clip(enlarge(grad_cam(passed[layer]), seen.shape[:2]) / top, 0, 1)
        section = page.locator(".columns section").filter(has_text=title)
        canvas = section.get_by_role("img", name=f"Grad-CAM of {layer} over the image")
        difference = np.abs(painted(canvas).astype(int) - figures.overlay(seen, heat, opacity / 100))
        assert difference.max() <= 6 and difference.mean() < 0.5, (title, difference.max(), difference.mean())
        scale = ColourScale.signed(max(column.peak for column in columns))
        section = page.locator(".columns section").filter(
            has=page.locator(f"[aria-label='Feature maps of {layer} of {title}']")
        )
        maps = section.locator("canvas.sheet")
        difference = np.abs(painted(maps).astype(int) - figures.sheet(scale.paint(passed[layer].activation), 8, 44))
        assert difference.max() <= 8 and difference.mean() < 1, (title, difference.max(), difference.mean())
        large = section.get_by_role("img", name="Feature map of channel 5")
        assert np.array_equal(painted(large), painted(maps)[:16, 80:96])
    # Of both signs, drawn by the browser alone, as the library does.
    page.get_by_role("switch", name="Signed Grad-CAM").check()
    expect(page).to_have_url(re.compile("evidence=signed"))
    tops = max(float(np.abs(column.signed_cam).max()) for column in columns)
    heat = enlarge(grad_cam(passed[layer], relu=False), seen.shape[:2])
    canvas = page.get_by_role("img", name=f"Signed Grad-CAM of {layer} over the image").last
    difference = np.abs(painted(canvas).astype(int) - figures.signed_overlay(seen, heat, tops, opacity / 100))
    assert difference.max() <= 8 and difference.mean() < 1, (difference.max(), difference.mean())


def test_in_deep_networks_bars_say_how_strong_a_layer_is_and_a_layer_too_large_to_be_sent_ahead_follows(
    page: Page,
) -> None:
    with page.expect_response(EXPLAIN) as waiting:
        visit(
            page,
            "/?layers=main&layer=stages.0.0.conv1&first=shapes-plain-56&second=shapes-resnet-56&picture=sample-6-3",
        )
    networks = unpack(waiting.value.body())[0]["networks"]
    tops = [[cell["largest"] if cell else 0 for cell in network["cells"]] for network in networks]
    bars = [painted(page.locator("canvas.strengths").nth(which)) for which in range(2)]
    strongest = max(map(max, tops))
    for row, picture in zip(tops, bars, strict=True):
        tile = picture.shape[1] // len(row)
        tall = [int(picture[:, tile * place + tile // 2].any(axis=1).sum()) for place in range(len(row))]
        assert all((top > 0) == (found > 0) for top, found in zip(row, tall, strict=True))
        found = np.array(tall) / len(picture)
        np.testing.assert_allclose(found, np.array(row) / strongest, atol=1 / len(picture))
    assert max(int(bar.any(axis=(1, 2)).sum()) for bar in bars) == len(bars[0]), "the longest is as tall as its row"
    expect(page.get_by_text(re.compile("a weak layer glows like a strong one"))).to_be_visible()
    for layer in ("stages.1.3.conv1", "stages.2.8"):
        strip_button(page, layer, "ResNet-56").click()
        expect(page.get_by_role("group", name=f"Feature maps of {layer} of ResNet-56")).to_be_visible()
        expect(page.locator(".waiting")).to_have_count(0)
        expect(page.get_by_text("channels that are 0 everywhere")).to_be_visible()
        wait_until_ready(page)
        assert query(page)["layer"] == [layer]
    page.get_by_text("all", exact=True).click()
    expect(page.get_by_text(re.compile("a weak layer glows like a strong one"))).to_have_count(0)


def test_another_picture_comes_with_the_overview_alone(page: Page) -> None:
    """By tile, "Next", number and keyboard, while the rest of the page stays; another tab draws all of it."""
    visit(page, SMALL)
    gallery = page.get_by_role("group", name="The ten drawn shapes on this background")
    for tab in ("Layer", "Channels"):
        if tab != "Layer":
            click(page, "tab", tab)
        open_pictures(page)
        click(page, "button", "heart")
        expect(page.get_by_text("drawn heart, number 6", exact=True), tab).to_be_visible()
        expect(gallery.get_by_role("button", name="heart")).to_have_attribute("aria-pressed", "true")
        click(page, "button", "Next")
        expect(page.get_by_text("drawn heart, number 7", exact=True), tab).to_be_visible()
        expect(page.get_by_role("spinbutton", name="Background")).to_have_value("7")
        page.get_by_role("spinbutton", name="Background").fill("41")
        page.keyboard.press("Enter")
        expect(page.get_by_text("drawn heart, number 41", exact=True), tab).to_be_visible()
        wait_until_ready(page)
        gallery.get_by_role("button", name="heart").focus()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(page.get_by_text("drawn triangle, number 41", exact=True), tab).to_be_visible()
        expect(gallery.get_by_role("button", name="triangle")).to_be_focused()
        wait_until_ready(page)
        assert query(page)["picture"] == ["sample-3-41"], tab
        click(page, "button", "star")
        page.get_by_role("spinbutton", name="Background").fill("6")
        page.keyboard.press("Enter")
        expect(page.get_by_text("drawn star, number 6", exact=True), tab).to_be_visible()
        wait_until_ready(page)
        assert "picture" not in query(page), tab
    for _ in range(3):  # faster than the server
        page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("drawn star, number 9", exact=True)).to_be_visible()
    wait_until_ready(page)
    assert query(page)["picture"] == ["sample-6-9"]


DROP = """([zone, ...files]) => {
    const carried = new DataTransfer();
    files.forEach((bytes, index) => carried.items.add(new File([Uint8Array.from(bytes)], `dropped-${index}.jpg`)));
    (zone ?? document).dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""
PASTE = """bytes => {
    const carried = new DataTransfer();
    carried.items.add(new File([Uint8Array.from(bytes)], "pasted.jpg", { type: "image/jpeg" }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: carried }));
}"""


def test_choices_pictures_and_files_are_drawn_before_the_server_hears_of_them(page: Page) -> None:
    """Another layer, channel, scale and opacity without any request; another picture, to the pixel; and a file, however
    it comes. The link of that file gives another session the same view of it."""
    line = Line(page)
    visit(page, "/?layers=main")
    page.wait_for_function(COMPLETE)  # what might be chosen next has been fetched
    wait_until_ready(page)
    line.is_held = True  # the page hears of nothing
    layer_channel_scale_and_opacity(page, line)
    a_picture(page, line)
    files(page, line)


def layer_channel_scale_and_opacity(page: Page, line: Line) -> None:
    heard: list[str] = []

    def hear(request: Request) -> None:
        heard.append(request.url)

    page.on("request", hear)
    strip_button(page, "stages.1.0.conv2", "ResNet-20").click()
    expect(page.get_by_role("heading", name="Layer stages.1.0.conv2")).to_be_visible()
    expect(page.get_by_role("img", name="Grad-CAM of stages.1.0.conv2 over the image")).to_have_count(2)
    expect(strip_button(page, "stages.1.0.conv2", "ResNet-20")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("group", name=re.compile("^Feature maps of")).first.get_by_role("button").nth(3).click()
    expect(page.get_by_role("img", name="Feature map of channel 3")).to_have_count(2)
    page.get_by_text("network", exact=True).click()
    expect(page.get_by_text(re.compile(r"^Grad-CAM: 0 to [\d.e-]+ \(plain-20\), 0 to"))).to_be_visible()
    canvas = page.get_by_role("img", name="Grad-CAM of stages.1.0.conv2 over the image").last
    seen = painted(canvas)
    page.get_by_label("Opacity of the overlay, %").fill("0")
    bare = painted(canvas)
    assert (bare != seen).any() and len(np.unique(bare.reshape(-1, 3), axis=0)) <= 32 * 32
    wait_until_ready(page)
    assert heard == [] and line.held == [], "the server would hear of it"
    page.remove_listener("request", hear)
    chosen = {"layer": ["stages.1.0.conv2"], "channel": ["3"], "scope": ["network"], "opacity": ["0"]}
    assert query(page) == {"layers": ["main"], **chosen}


def a_picture(page: Page, line: Line) -> None:
    open_pictures(page)
    page.get_by_role("button", name="heart").click()
    expect(page.get_by_text("drawn heart, number 6", exact=True)).to_be_visible()
    page.wait_for_timeout(300)
    assert line.held and "picture" not in query(page)
    label = shapes.CLASS_NAMES.index("heart")
    loaded = checkpoints.load_pretrained("shapes-resnet-20")
    image = to_input(shapes.sample(label, 6)[0], (32, 32), loaded.mean, loaded.std)
    passed = trace(loaded.network, image, None, STRIP_KINDS)
    column = next(column for column in profile(passed) if column.name == "stages.1.0.conv2")
    largest = page.locator(".layers tr").filter(has_text="largest Grad-CAM value").locator("td").last
    expect(largest).to_have_text(f"{column.cam.max():.3g}")
    line.release()
    wait_until_ready(page)
    assert query(page)["picture"] == [f"sample-{label}-6"]


def files(page: Page, line: Line) -> None:
    """Chosen, dropped and pasted; and then nothing is drawn again, and the view has its picture."""
    ways = {
        (300, 200): lambda content: upload(page, "bar", "one.jpg", "image/jpeg", content, wait=False),
        (90, 60): lambda content: page.evaluate(DROP, [page.locator(".zone").element_handle(), [*content]]),
        (120, 80): lambda content: page.evaluate(PASTE, [*content]),
    }
    for (width, height), give in ways.items():
        line.is_held = True
        give(photo(width, height))
        expect(page.get_by_text(f"Original, {width}×{height}")).to_be_visible()
        line.release()
        wait_until_ready(page)
        assert query(page)["picture"][0].startswith("upload-")
    largest = page.locator(".layers tr").filter(has_text="largest Grad-CAM value").locator("td").last
    before = largest.inner_text()
    page.reload()  # another session, which does not have it
    expect(page.get_by_text("This link was made with an uploaded image")).to_be_visible()
    wait_until_ready(page)
    upload(page, "bar", "three.jpg", "image/jpeg", photo(120, 80))
    expect(page.get_by_text("Original, 120×80")).to_be_visible()
    expect(largest).to_have_text(before)


BROKEN = {
    "broken.jpg": photo()[:700],
    "not-a-picture.jpg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "empty.jpg": b"",
}


def a_file_that_is_broken_or_too_large_is_one_sentence(page: Page) -> None:
    """And loses nothing. What is too large is not sent."""
    open_pictures(page)
    page.wait_for_function(COMPLETE)
    heard: list[str] = []
    page.on("request", lambda request: heard.append(request.url))
    sparse = """input => {
        const file = new File([new Uint8Array(65 * 2 ** 20)], "large.jpg", { type: "image/jpeg" });
        const carried = new DataTransfer();
        carried.items.add(file);
        input.files = carried.files;
        input.dispatchEvent(new Event("change"));
    }"""
    page.locator(".st-key-bar input[type=file]").evaluate(sparse)
    expect(page.get_by_text("and the limit is 64")).to_be_visible()
    assert not [url for url in heard if url.endswith(EXPLAIN.removeprefix("**"))]
    for name, content in BROKEN.items():
        give_photo(page, name, content)
        expect(page.get_by_role("alert").filter(has_text=name), name).to_be_visible()
        expect(page.get_by_text("drawn star, number 6"), name).to_be_visible()
        expect(page.get_by_role("heading", name="Layer stages.1.0"), name).to_be_visible()
    page.wait_for_function(COMPLETE)  # what a refused file interrupted goes on


def test_of_two_files_the_later_one_stays_and_what_is_no_picture_changes_nothing(page: Page) -> None:
    visit(page, f"{SMALL}&layer=stages.1.0")
    a_file_that_is_broken_or_too_large_is_one_sentence(page)
    box = page.locator(".st-key-bar input[type=file]")
    files = [{"name": f"{side}.jpg", "mimeType": "image/jpeg", "buffer": photo(side, side)} for side in (101, 102, 103)]
    for file in files:  # faster than the server
        box.set_input_files(file)  # type: ignore[arg-type]
    expect(page.get_by_text("Original, 103×103")).to_be_visible()
    wait_until_ready(page)
    expect(page.get_by_text("Original, 103×103")).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text=".jpg")).to_have_count(0)
    upload(page, "bar", "note.jpg", "image/jpeg", b"just text")
    expect(page.get_by_text("The image that was shown stays.")).to_be_visible()
    for dark in (False, True):
        turn(page, dark=dark)
        assert_accessible(page, "what is no image")
    expect(page.get_by_text("Original, 103×103")).to_be_visible()

    # The frame of what the networks get: keys and the pointer.
    square = page.get_by_role("button", name=re.compile("^Frame of what the networks get: "))
    square.focus()
    for _ in range(5):
        page.keyboard.press("-")
    wait_until_ready(page)
    assert query(page)["frame"] == ["0.2514,0.2514,0.4972"]
    expect(square).to_be_focused()
    bounds = square.bounding_box()
    assert bounds is not None
    page.mouse.move(bounds["x"] + bounds["width"] / 2, bounds["y"] + bounds["height"] / 2)
    page.mouse.down()
    page.mouse.move(bounds["x"] + bounds["width"] / 2 + 20, bounds["y"] + bounds["height"] / 2 - 30, steps=3)
    page.mouse.up()
    wait_until_ready(page)
    (framed,) = query(page)["frame"]
    left, top, side = map(float, framed.split(","))
    width = bounds["width"] / side
    assert (left, top, side) == pytest.approx((0.2514 + 20 / width, 0.2514 - 30 / width, 0.4972), abs=0.01)
    expect(page.get_by_text("Dark: not seen by the networks.")).to_be_visible()

    # Several at once: a contact sheet, of which one opens, and Back returns to it.
    page.evaluate(DROP, [None, *([*photo(side, side)] for side in (51, 52, 53, 54)), [*b"just text"]])
    wait_until_ready(page)
    sheet = page.get_by_role("region", name="Contact sheet")
    tiles = sheet.get_by_role("listitem").get_by_role("button")
    expect(tiles).to_have_count(4)
    expect(sheet.get_by_text("Left out: dropped-4.jpg could not be read.")).to_be_visible()
    assert_accessible(page, "the contact sheet")
    tiles.nth(2).click()
    expect(page.get_by_text("Original, 53×53")).to_be_visible()
    wait_until_ready(page)
    expect(sheet).to_be_hidden()
    assert not {"frame", "sheet"} & {*query(page)}, "a frame is of its picture"
    page.go_back()
    wait_until_ready(page)
    expect(tiles.nth(2)).to_be_focused()
    assert (query(page)["sheet"], query(page)["frame"]) == (["open"], [framed])
    expect(page.get_by_text("Original, 103×103")).to_be_visible()


def answering(**answer: Any) -> Callable[[Route], None]:
    return lambda route: route.fulfill(**answer)


def test_where_nothing_answers_the_viewer_goes_on_and_what_it_changes_is_all_that_changes_in_the_link(
    page: Page,
) -> None:
    visit(page, f"{SMALL}&layers=main")
    nothing_answers(page)
    a_link_changes_by_what_is_changed_alone(page)


def nothing_answers(page: Page) -> None:
    """What was shown stays, and the next choice tries again."""
    page.evaluate("globalThis.before = globalThis.fetch")
    ways = {
        "fails": None,
        "is empty": answering(status=204),
        "is a page": answering(content_type="text/html", body="<p>No</p>"),  # of a proxy
    }
    alert = page.get_by_role("alert").filter(has_text=re.compile("server"))
    for scene, (way, answer) in zip((6, 8, 10), ways.items(), strict=True):
        if answer:
            page.route(EXPLAIN, answer)
        else:
            page.evaluate("() => { globalThis.fetch = () => Promise.reject(new TypeError('no connection')); }")
        page.get_by_role("button", name="Next").click()
        expect(alert, way).to_be_visible()
        expect(page.get_by_text(f"drawn star, number {scene}", exact=True), way).to_be_visible()
        wait_until_ready(page)
        assert query(page)["picture"] == [f"sample-6-{scene + 1}"], way
        page.unroute(EXPLAIN)
        page.evaluate("() => { globalThis.fetch = globalThis.before; }")
        click(page, "button", "Next")
        expect(page.get_by_text(f"drawn star, number {scene + 2}", exact=True), way).to_be_visible()
        expect(alert, way).to_have_count(0)
    held: list[Route] = []
    page.route(EXPLAIN, lambda route: held.append(route))
    page.get_by_role("combobox", name="First network").select_option("shapes-plain-20")
    status = page.get_by_role("status").filter(has_text="Loading plain-20 · Shapes and ResNet-20 · Shapes …")
    expect(status).to_be_visible()
    held[0].continue_()
    page.unroute(EXPLAIN)
    expect(status).to_have_count(0)
    wait_until_ready(page)


def a_link_changes_by_what_is_changed_alone(page: Page) -> None:
    before = query(page)
    page.get_by_label("Opacity of the overlay, %").fill("20")
    page.get_by_text("all", exact=True).click()
    expect(page.get_by_text("One scale for everything; weak layers then look empty.")).to_be_visible()
    wait_until_ready(page)
    assert query(page) == {**before, "opacity": ["20"], "scope": ["both"]}
    choose(page, "First network", "ResNet-56 · Shapes")
    expect(page.get_by_role("heading", name="Layer stages.2.8", exact=True)).to_be_visible()
    # Two things at once: neither takes the other back.
    strip_button(page, "stages.1.4.conv1", "ResNet-56").click()
    page.get_by_role("button", name="Next").click()
    wait_until_ready(page)
    expect(page.get_by_role("heading", name="Layer stages.1.4.conv1", exact=True)).to_be_visible()
    expect(page.locator(".waiting")).to_have_count(0)
    assert query(page)["layer"] == ["stages.1.4.conv1"] and query(page)["picture"] == ["sample-6-13"]


def test_many_channels_take_pages_and_the_keyboard_stays_on_them(page: Page, server: Server) -> None:
    """A network of 64 pixels and 128 channels, whose detail goes ahead with whole maps."""
    number, spec = "a" * 32, cifar(8, size=64, width=32)
    home = server.data / "runs" / number
    home.mkdir(parents=True)
    network = build(spec, seed=0).freeze()
    checkpoints.save(
        Checkpoint(network, shapes.CLASS_NAMES, (0.5,) * 3, (0.25,) * 3, "shapes-v1-64"), home / "resnet-8.safetensors"
    )
    config = TrainingConfig(seconds=60).to_dict()
    runs.Run(home).write_request(runs.Request((spec.to_dict(),), config, {"kind": "shapes", "size": 64}))
    visit(page, f"/?first=run-{number}-resnet-8&second=none&layer=stages.2.0&channel=100")
    page.wait_for_function(COMPLETE)
    expect(page.get_by_text("Feature maps 64–127 of 128. Click one to enlarge it.")).to_be_visible()
    page.get_by_role("button", name="Page 1", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Feature maps 0–63 of 128. Click one to enlarge it.")).to_be_visible()
    expect(page.get_by_role("button", name="Page 1", exact=True)).to_be_focused()
    page.get_by_role("group", name=re.compile("^Feature maps of")).get_by_role("button").nth(9).click()
    expect(page.get_by_role("spinbutton", name="Channel", exact=True)).to_have_value("9")
    wait_until_ready(page)
    assert query(page)["channel"] == ["9"]
    strip_button(page, "stem.conv", "ResNet-8").click()
    page.get_by_role("spinbutton", name="Channel", exact=True).fill("999")
    page.keyboard.press("Enter")
    large = page.get_by_role("img", name="Feature map of channel 31")
    expect(large).to_be_visible()
    assert painted(large).shape == (64, 64, 3), "whole, not reduced"
    wait_until_ready(page)
    assert query(page) | {"first": [], "second": []} == {
        "first": [],
        "second": [],
        "layer": ["stem.conv"],
        "channel": ["31"],
    }
