"""Explore in a real browser, as a newcomer, a person with a photo, and a person with a link use it."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page, WebSocketRoute, expect
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from driving.accessibility import assert_accessible, assert_keyboard_goes_everywhere
from driving.actions import choose, click, no_sideways_scroll, query, turn, upload, visit, wait_until_ready, windows
from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, Stage
from explorer.datasets import shapes
from explorer.images import to_input
from tests.e2e.conftest import PATIENCE, Server
from tests.e2e.exploring import SMALL, give_photo, open_pictures, photo, strip_button
from tests.test_pages import kept_run


def test_first_visit_explains_a_picture_and_a_click_or_the_keyboard_choose_a_layer(page: Page) -> None:
    """Which is still chosen after another page."""
    visit(page, "/?first=shapes-plain-20")
    for network in ("plain-20", "ResNet-20"):
        expect(page.get_by_text(re.compile(rf"^{network}, test accuracy [\d.]+% \(n\s=\s4,000\)$"))).to_be_visible()
        expect(strip_button(page, "stem.conv", network)).to_be_visible()
        expect(strip_button(page, "stages.0.0.conv1", network)).to_have_count(0)
        expect(strip_button(page, "stages.2.2", network, "most active channel")).to_be_visible()
    expect(page.get_by_role("heading", name="Layer stages.2.2")).to_be_visible()
    expect(page.get_by_text(re.compile("Grad-CAM on the object, which covers"))).to_be_visible()
    expect(page.get_by_text(re.compile("know only: circle, ring"))).to_be_visible()
    assert query(page) == {"first": ["shapes-plain-20"]}, "a visit adds nothing to the URL"

    choose(page, "Layers", "Convolutions too")
    expect(strip_button(page, "stages.0.0.conv1", "plain-20")).to_be_visible()
    expect(strip_button(page, "stages.0.0.shortcut", "ResNet-20")).to_be_visible()
    expect(strip_button(page, "stages.0.0.shortcut", "plain-20")).to_have_count(0)
    strip_button(page, "stages.1.0.conv2", "ResNet-20").click()
    expect(page.get_by_role("heading", name="Layer stages.1.0.conv2")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["layer"] == ["stages.1.0.conv2"]

    strip_button(page, "stages.1.0.conv2", "ResNet-20").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Layer stages.1.0.shortcut")).to_be_visible()
    expect(page.get_by_text("plain-20 has no layer stages.1.0.shortcut; choose")).to_be_visible()
    page.get_by_role("combobox", name="Layer", exact=True).select_option("stages.0.1")
    expect(page.get_by_role("heading", name="Layer stages.0.1", exact=True)).to_be_visible()
    # The layer that was clicked last, again: a strip that remembered it would not tell the page.
    strip_button(page, "stages.1.0.shortcut", "ResNet-20").click()
    expect(page.get_by_role("heading", name="Layer stages.1.0.shortcut")).to_be_visible()
    # A row that lacks the chosen layer still has one stop of the Tab key.
    stops = page.locator("button[aria-label*='plain-20, Grad-CAM'][tabindex='0']")
    expect(stops).to_have_count(1)
    wait_until_ready(page)
    click(page, "link", "Models")
    click(page, "link", "Explore")
    expect(page.get_by_role("heading", name="Layer stages.1.0.shortcut")).to_be_visible()


def test_a_click_enlarges_a_feature_map_whose_numbers_download_and_whose_page_opens(page: Page) -> None:
    """The button of the numbers stands on a part of the page that another picture leaves alone: they are of the picture
    that is shown."""
    visit(page, "/?layer=stages.1.0.conv1&second=none&first=shapes-resnet-20")
    page.get_by_role("group", name=re.compile("^Feature maps of")).get_by_role("button").nth(3).click()
    expect(page.get_by_text(re.compile("Its Grad-CAM weight is")).first).to_be_visible()
    wait_until_ready(page)
    assert query(page)["channel"] == ["3"]

    with page.expect_download() as waiting:
        page.get_by_role("button", name="Raw numbers of ResNet-20 (npz)").click()
    with np.load(waiting.value.path()) as arrays:
        activation, gradient = arrays["activations/stages.1.0.conv1"], arrays["gradients/stages.1.0.conv1"]
        assert activation.shape == gradient.shape == (32, 16, 16)
        cam = np.maximum(np.tensordot(gradient.mean((1, 2)), activation, 1), 0)
        np.testing.assert_allclose(arrays["cams/stages.1.0.conv1"], cam, rtol=1e-4, atol=1e-6)

    open_pictures(page)
    click(page, "button", "ring")
    expect(page.get_by_text("drawn ring, number 6", exact=True)).to_be_visible()
    expect(page.locator(".waiting")).to_have_count(0)
    wait_until_ready(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Raw numbers of ResNet-20 (npz)").click()
    loaded = checkpoints.load_pretrained("shapes-resnet-20")
    wanted = to_input(shapes.sample(1, 6)[0], (32, 32), loaded.mean, loaded.std)
    with np.load(waiting.value.path()) as arrays:
        np.testing.assert_array_equal(arrays["image"], wanted)

    page.evaluate("() => { window.document_of_the_session = true; }")
    page.get_by_role("link", name="Page of this unit").click()
    page.wait_for_url("**/experiments?**")
    wait_until_ready(page)
    assert page.evaluate("document_of_the_session"), "a new session would have lost its uploads"
    unit = {"question": ["unit"], "layer": ["stages.1.0.conv1"], "channel": ["3"], "network": ["first"]}
    assert query(page).items() >= unit.items()


def test_a_copied_link_shows_the_same_view_to_another_visitor(page: Page) -> None:
    visit(page)
    open_pictures(page)
    click(page, "button", "heart")
    choose(page, "Class to explain", "ring")
    page.get_by_text("all", exact=True).click()
    strip_button(page, "stages.1.1", "plain-20").click()
    expect(page.get_by_role("heading", name="Layer stages.1.1")).to_be_visible()
    page.get_by_role("spinbutton", name="Channel", exact=True).first.fill("3")
    page.keyboard.press("Enter")
    page.get_by_role("button", name=re.compile("^Pixels of channel 3 of stages.1.1 of plain-20: none")).focus()
    page.keyboard.press("ArrowRight")  # the middle
    page.keyboard.press("ArrowRight")
    number = re.compile(r"^stages\.1\.1, channel 3, row 8, column 9\. plain-20: [\d.e-]+\. ResNet-20: [\d.e-]+$")
    expect(page.get_by_text(number)).to_be_visible()
    page.get_by_role("switch", name="Effective receptive field").check()
    wait_until_ready(page)
    link = page.url
    assert query(page)["at"] == ["8,9"] and query(page)["field"] == ["effective"]
    checked = page.get_by_text(re.compile("^Recomputed from these numbers in float64")).all_inner_texts()
    within = re.compile(r"largest difference ([\d.e-]+) \(as a share of the value .+ above 1\), within 1e-5\.$")
    differences = [match[1] for text in checked if (match := within.search(text))]
    assert len(differences) == len(checked) == 2 and max(map(float, differences)) <= 1e-5
    texts = [
        page.get_by_text(number).inner_text(),
        page.get_by_text(re.compile("^Grad-CAM: 0 to")).inner_text(),
        *page.get_by_text(re.compile("explaining")).all_inner_texts(),
    ]
    assert texts[1] and any("ring" in text for text in texts)

    page.context.clear_cookies()  # another visitor: nothing but the link is known of this one
    visit(page, link)
    expect(page.get_by_role("heading", name="Layer stages.1.1")).to_be_visible()
    expect(page.get_by_text("drawn heart, number 6")).to_be_visible()
    expect(page.get_by_text(number)).to_be_visible()
    expect(page.get_by_role("img", name="Effective receptive field")).to_have_count(2)
    assert texts == [
        page.get_by_text(number).inner_text(),
        page.get_by_text(re.compile("^Grad-CAM: 0 to")).inner_text(),
        *page.get_by_text(re.compile("explaining")).all_inner_texts(),
    ]


def test_a_photo_is_shown_upright_and_each_kind_of_picture_is_offered_networks_that_know_it(page: Page) -> None:
    visit(page, f"{SMALL}&picture=sample-6-41")
    expect(page.get_by_text("drawn star, number 41", exact=True)).to_be_visible()
    give_photo(page, "holiday.jpg", photo(orientation=6))
    expect(page.get_by_text("Original, 200×300")).to_be_visible()  # 300×200 turned by its EXIF
    expect(page.get_by_text("As the network sees it, 32×32")).to_be_visible()
    click(page, "button", "Look with the CIFAR-10 twins")
    expect(page.get_by_text(re.compile("know only: airplane, automobile"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"\(n\s=\s10,000\)$"))).to_have_count(2)
    for kind in ("CIFAR-10", "shapes"):
        expect(page.get_by_role("button", name=f"Look with the {kind} twins")).to_have_count(0)
    expect(page.get_by_text("Original, 200×300")).to_be_visible()
    link = page.url

    # The gallery keeps its scene meanwhile.
    choose(page, "Class to explain", "cat")
    open_pictures(page)
    scene = page.get_by_role("spinbutton", name="Background")
    expect(scene).to_have_value("41")
    expect(page.get_by_role("button", name="heart")).to_have_attribute("aria-pressed", "false")
    scene.fill("")  # left empty, it means nothing
    page.keyboard.press("Tab")
    expect(scene).to_have_value("41")
    open_pictures(page)
    click(page, "button", "heart")
    expect(page.get_by_text("drawn heart, number 41", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Look with the shapes twins")).to_be_visible()
    give_photo(page, "good.jpg", photo())
    expect(page.get_by_text("Original, 300×200")).to_be_visible()
    expect(page.get_by_role("button", name="Look with the shapes twins")).to_have_count(0)

    page.context.clear_cookies()
    visit(page, link)  # a stranger, who does not have the photo
    expect(page.get_by_text(re.compile("made with an uploaded image"))).to_be_visible()
    expect(page.get_by_text("The image of the link")).to_be_visible()  # where to upload it again
    expect(page.get_by_text(re.compile("know only: airplane, automobile"))).to_be_visible()
    expect(page.get_by_text("Original, 200×300")).to_have_count(0)


def test_what_is_said_in_the_place_of_a_page_stands_below_the_menu(
    page: Page, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(server.data))
    run = kept_run(ArchitectureSpec((Stage(1, 16, 8, 31, "valid"),), block="conv", shortcut="none"), number="0a" * 16)
    visit(page, f"/?first=run-{run.id}-net-0&second=none")
    alert, menu = page.get_by_role("alert").bounding_box(), page.get_by_test_id("stHeader").bounding_box()
    assert alert is not None and menu is not None
    assert alert["y"] >= menu["y"] + menu["height"]
    run.remove()


def test_a_link_whose_uploads_are_gone_says_which_below_its_heading(page: Page) -> None:
    visit(page, "/?first=mine-0123456789abcdef&second=cifar10jpeg-resnet-8&picture=upload-0123456789abcdef")
    box = page.locator(".st-key-gone")
    expect(box.get_by_text("First network", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(r"^ResNet-8, test accuracy [0-9.]+% \(n\s=\s10,000"))).to_be_visible()
    heading, shown = page.get_by_role("heading", name="One image, two networks").bounding_box(), box.bounding_box()
    assert heading is not None and shown is not None and shown["y"] >= heading["y"] + heading["height"]
    assert_accessible(page, "a box of what is gone")
    upload(page, "upload_again", "a.jpg", "image/jpeg", photo())
    expect(page.get_by_text("Original, 300×200")).to_be_visible()
    expect(box.get_by_text("made with an uploaded image")).to_have_count(0)
    assert query(page)["first"] == ["mine-0123456789abcdef"]


def _a_pixel_of_the_block_is_chosen(page: Page) -> None:
    page.get_by_role("button", name=re.compile(r"^Pixels of F\(x\) of ResNet-8")).press("ArrowDown")
    wait_until_ready(page)
    assert "at=stages.1.0.norm2:3,8,8" in page.url


def _a_pixel_of_the_strip_is_chosen(page: Page) -> None:
    """And a number of a window marks its pixel on the strip."""
    page.get_by_role("button", name="Choose none").click()
    row = page.locator(".strip button[data-place^='1/map/']")
    row.and_(page.get_by_label("stages.0.0, ResNet-8")).click(modifiers=["Shift"], position={"x": 9, "y": 9})
    wait_until_ready(page)
    assert re.search(r"#layer=stages\.0\.0&channel=\d+&at=\d+,\d+$", page.url)
    row.and_(page.get_by_label("stages.1.0, ResNet-8")).press("Enter")
    page.locator(".strip .choose").click()
    row.and_(page.get_by_label("stages.1.0.conv1, ResNet-8")).click()
    wait_until_ready(page)
    before = page.locator(".strip .pixel").count()
    page.locator(".arithmetic section").last.locator("td button").first.hover()
    expect(page.locator(".strip .pixel")).to_have_count(before + 1)


TABS: tuple[tuple[str, str | None, str, Callable[[Page], None] | None], ...] = (
    ("Channels", "channels", "Kernels of the first layer", None),
    ("Can I trust this map?", "trust", "Do these pixels matter", None),
    ("Block", "block", "The two parts sum to the whole", _a_pixel_of_the_block_is_chosen),
    ("Layer", None, "Grad-CAM on the object", _a_pixel_of_the_strip_is_chosen),
    ("More methods", "methods", "How much of the score each pixel contributes", None),
)


def test_the_detail_opens_tab_by_tab_is_accessible_and_a_method_runs(page: Page) -> None:
    visit(page, "/?first=shapes-plain-8&second=shapes-resnet-8&layer=stages.1.0.conv2&channel=3&at=0,5")
    is_dark = False
    for tab, name, words, use in TABS:
        click(page, "tab", tab)
        for dark in (is_dark, not is_dark):  # each tab is drawn once in the theme of the one before
            turn(page, dark=dark)
            where = f"{tab}, {'dark' if dark else 'light'}"
            expect(page.get_by_text(re.compile(words)).first, where).to_be_visible()
            assert query(page).get("tab") == ([name] if name else None), where
            assert no_sideways_scroll(page), where
            assert_accessible(page, where, "[data-testid=stTabs]")
        is_dark = not is_dark
        if use:
            use(page)
    page.get_by_role("button", name=re.compile("^Run Integrated Gradients")).click()
    exceeds = page.get_by_text(re.compile("The score of the image exceeds that of the baseline"))
    expect(exceeds).to_have_count(2, timeout=PATIENCE)
    expect(page.get_by_alt_text("Integrated Gradients of ResNet-8 over the image")).to_be_visible()
    wait_until_ready(page)
    with page.expect_download() as waiting:
        page.locator("[class*=st-key-npz_method] button").first.click()
    with np.load(waiting.value.path()) as arrays:
        total = float(arrays["values"].sum(dtype=np.float64))
        assert total == pytest.approx(float(arrays["difference"] + arrays["delta"]), abs=1e-3)
        np.testing.assert_allclose(arrays["map"], arrays["values"].sum(axis=0), rtol=1e-5, atol=1e-6)


def test_a_long_occlusion_is_stopped_and_the_page_goes_on(page: Page) -> None:
    visit(
        page,
        "/?first=shapes-plain-56&second=shapes-resnet-56&tab=methods&method=occlusion"
        "&parameters=%7B%22stride%22%3A1%2C%22window%22%3A16%7D",
    )
    start = page.get_by_role("button", name=re.compile("^Run Occlusion"))
    start.click()
    page.locator("[class*=st-key-stop-] button").click()
    expect(start).to_be_visible()
    wait_until_ready(page)
    expect(page.get_by_alt_text(re.compile("^Occlusion of"))).to_have_count(0)
    choose(page, "Method", "Input × gradient")
    page.get_by_role("button", name=re.compile("^Run Input")).click()
    expect(page.get_by_alt_text("Input × gradient of plain-56 alone", exact=False)).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)


def test_the_page_fits_its_window_and_everybody_can_use_it(page: Page) -> None:
    visit(page, "/?first=shapes-resnet-20&layers=all")
    for window in windows(page):
        expect(strip_button(page, "stages.0.0.norm1", "ResNet-20"), str(window)).to_be_visible()
        assert no_sideways_scroll(page), window
        assert_accessible(page, window)
    assert_keyboard_goes_everywhere(page)
    page.evaluate("document.querySelector('[data-testid=stMainBlockContainer]').style.minWidth = '3000px'")
    assert not no_sideways_scroll(page), "the check itself must see a page that is too wide"


def test_the_browsers_back_takes_back_what_was_switched_off(page: Page) -> None:
    """By click and by keyboard; `test_address.py` has all other choices."""
    visit(page, "/?layers=main&target=1")
    bars, said = page.get_by_role("group", name=re.compile("^The five most")), page.locator(".effects")
    untouched = bars.all_inner_texts()
    page.get_by_role("button", name="stages.0.1 of ResNet-20, with a shortcut", exact=True).click()
    expect(page.get_by_role("heading", name="Layer stages.0.1")).to_be_visible()
    click(page, "button", "Switch off")
    page.get_by_role("button", name=re.compile(r"^stages\.0\.1 of ResNet-20.*branch off$")).press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Layer stages.1.0")).to_be_visible()
    page.get_by_role("slider", name="Multiply by").focus()
    for _ in range(4):  # faster than the server
        page.keyboard.press("ArrowLeft")
    wait_until_ready(page)
    view = {"layers": ["main"], "target": ["1"], "layer": ["stages.1.0"]}
    both = view | {"change": ["stages.0.1@branch:off,stages.1.0@branch:0.6"]}
    assert query(page) == both
    expect(said).to_contain_text(re.compile(r"So stages\.1\.0@branch:0\.6 is left out\..*ResNet-20: ring ", re.DOTALL))
    expect(page.get_by_role("button", name="stages.0.1, ResNet-20, Grad-CAM, changed")).to_be_visible()
    assert_accessible(page, "networks with changes")
    shown = bars.all_inner_texts()
    assert shown != untouched
    page.reload()
    wait_until_ready(page)
    assert (bars.all_inner_texts(), query(page)) == (shown, both)
    page.get_by_role("button", name="Put back stages.1.0: branch × 0.6").press("Enter")
    wait_until_ready(page)
    expect(said).to_contain_text(re.compile("plain-20: ring .*ResNet-20: ring ", re.DOTALL))
    page.go_back()
    wait_until_ready(page)
    assert (bars.all_inner_texts(), query(page)) == (shown, both)
    click(page, "button", "Put all back")
    assert (bars.all_inner_texts(), query(page)) == (untouched, view)


def _ends_a_run(message: str | bytes) -> bool:
    return isinstance(message, bytes) and ForwardMsg.FromString(message).HasField("script_finished")


def test_two_choices_over_a_slow_connection_are_both_kept(page: Page) -> None:
    """The second is told before the browser has heard what came of the first."""
    held: list[str | bytes] = []
    ways: list[WebSocketRoute] = []
    slow = False

    def connect(browser: WebSocketRoute) -> None:
        ways.append(browser)
        server = browser.connect_to_server()
        browser.on_message(server.send)
        server.on_message(lambda message: held.append(message) if slow else browser.send(message))

    page.route_web_socket(re.compile("/_stcore/stream"), connect)
    visit(page, f"{SMALL}&layers=main")
    slow = True
    for label, option in (("Second network", "None"), ("Class to explain", "ring")):
        answered = len(held)
        page.get_by_role("combobox", name=label).select_option(label=option)
        while not any(map(_ends_a_run, held[answered:])):
            page.wait_for_timeout(20)  # the server answers, and nobody hears it
    slow = False
    for message in held:
        ways[-1].send(message)
    expect(page.get_by_role("heading", name="One image, one network")).to_be_visible()
    wait_until_ready(page)
    kept = {"second": ["none"], "target": ["1"]}
    assert query(page) == {"first": ["shapes-plain-8"], "layers": ["main"], **kept}
