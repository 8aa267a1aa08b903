"""Compare in a real browser: two networks, a third one, another scale, the true grid, another depth."""

import re

from playwright.sync_api import Locator, Page, expect

from driving.accessibility import assert_accessible, assert_keyboard_goes_everywhere
from driving.actions import choose, click, no_sideways_scroll, query, visit, wait_until_ready, windows
from tests.e2e.conftest import PATIENCE
from tests.e2e.exploring import open_pictures

TWINS = "they started from the same weights"
UNMEASURED = "n=1000"  # images of which a visit knows no confusion matrices, whose drawing takes half of its time


def map_button(page: Page, layer: str, network: str, depth: str) -> Locator:
    return page.get_by_role("button", name=f"{layer}, {network}, relative depth {depth}", exact=True)


def images(page: Page) -> list[str]:
    """What the thumbnails show."""
    found = page.locator("button[aria-label*='relative depth']")
    return found.evaluate_all("buttons => buttons.map(button => button.style.backgroundImage)")


def test_another_picture_of_the_gallery_a_third_network_another_scale_the_true_grid_and_another_depth(
    page: Page,
) -> None:
    twins = "shapes-plain-8,shapes-resnet-8"
    visit(page, f"/compare?networks={twins}&{UNMEASURED}")
    expect(page.get_by_role("heading", name="Compare two networks")).to_be_visible()
    expect(map_button(page, "stages.2.0", "plain-8", "1.00")).to_have_attribute("aria-pressed", "true")
    assert query(page) == {"networks": [twins], "n": ["1000"]}, "a visit adds nothing to the URL"

    open_pictures(page)
    click(page, "button", "heart")
    click(page, "button", "Next")
    wait_until_ready(page)
    assert query(page)["picture"] == ["sample-7-7"]
    expect(page.get_by_role("button", name="heart", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("spinbutton", name="Background")).to_have_value("7")
    expect(page.get_by_text(re.compile("predicts heart")).first).to_be_visible()

    click(page, "button", "+ Another network")
    choose(page, "Third network", "ResNet-20 · Shapes")
    expect(page.get_by_role("heading", name="Compare three networks")).to_be_visible()
    expect(map_button(page, "stages.2.2", "ResNet-20", "1.00")).to_be_visible()
    wait_until_ready(page)
    assert query(page) == {"networks": [f"{twins},shapes-resnet-20"], "n": ["1000"], "picture": ["sample-7-7"]}
    layer_scale = images(page)
    assert len(layer_scale) == 36

    click(page, "radio", "all")
    expect(page.get_by_text(re.compile(r"^Grad-CAM: 0 to [\d.e-]+, everywhere$"))).to_be_visible()
    one_scale = images(page)
    assert one_scale != layer_scale
    click(page, "radio", "true grid")
    true_grid = images(page)
    assert all(before != after for before, after in zip(one_scale, true_grid, strict=True))
    sides = page.evaluate(
        """async image => { const picture = new Image(); picture.src = image.slice(5, -2); await picture.decode();
                            return [picture.naturalWidth, picture.naturalHeight]; }""",
        true_grid[11],
    )
    assert sides == [8, 8], "8×8 is shown as 8×8"
    assert no_sideways_scroll(page)
    a_click_and_the_keyboard_choose_a_depth(page)


def a_click_and_the_keyboard_choose_a_depth(page: Page) -> None:
    map_button(page, "stages.0.1", "ResNet-20", "0.27").click()
    expect(page.get_by_role("heading", name="At relative depth 0.27")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["depth"] == ["0.2727"]
    expect(page.get_by_text("stages.0.0.conv1", exact=True).first).to_be_visible()  # ResNet-8's nearest layer

    map_button(page, "stages.0.1", "ResNet-20", "0.27").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="At relative depth 0.36")).to_be_visible()
    slider = page.get_by_role("slider", name="Relative depth")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="At relative depth 0.37")).to_be_visible()
    wait_until_ready(page)
    click(page, "button", "Open in Explore, with every layer and its feature maps")
    expect(page.get_by_role("heading", name="All layers, input to output")).to_be_visible()
    assert query(page)["second"] == ["shapes-resnet-8"]


def test_the_first_visit_shows_the_verdict_in_every_window(page: Page) -> None:
    visit(page, "/compare")
    expect(page.get_by_text(TWINS)).to_be_visible()
    for window in windows(page):
        expect(page.get_by_test_id("stMetricValue").first, str(window)).to_have_text("30.0%")
        expect(page.get_by_text("overfitting is not the reason"), str(window)).to_be_visible()
        assert no_sideways_scroll(page), window
        assert_accessible(page, window)
    click(page, "tab", "Representations (CKA)")
    expect(page.get_by_text("Most similar are")).to_be_visible()
    assert query(page)["tab"] == ["layers"]
    expect(page.get_by_role("button", name=re.compile("^(Measure|Compare all)"))).to_have_count(0)
    page.get_by_role("link", name="What reaches the first layer?").click()
    wait_until_ready(page)
    assert query(page)["first"] == ["shapes-plain-56"] and query(page)["second"] == ["shapes-resnet-56"]


def test_many_images_are_measured_stopped_and_open_in_explore(page: Page) -> None:
    visit(page, "/compare?networks=shapes-plain-8,shapes-plain-56&n=1000&tab=settings")
    button = page.get_by_role("button", name=re.compile(r"^Measure 2 networks on 1,000 images")).first
    button.click()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(button).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    wait_until_ready(page)
    matrices = page.get_by_text("Confusion matrices.")
    expect(matrices).to_have_count(0)

    choose(page, "How many", "200")
    wait_until_ready(page)
    page.get_by_role("button", name=re.compile(r"^Measure 2 networks on 200 images")).first.click()
    expect(matrices).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    assert query(page)["measured"] == ["said"] and query(page)["n"] == ["200"]
    page.get_by_text("Intervals, McNemar's test and CSV").click()
    expect(page.get_by_text("McNemar's exact test")).to_be_visible()
    wait_until_ready(page)
    assert_accessible(page, "what was measured")  # the first visit's verdict has the same colours in the dark
    page.reload()
    expect(matrices).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    picture = page.get_by_role("img", name=re.compile(r"^Test image \d+$")).first
    number = (picture.get_attribute("alt") or "").removeprefix("Test image ")
    click(page, "button", "Explore")
    expect(page.get_by_role("heading", name="All layers, input to output")).to_be_visible()
    assert query(page)["first"] == ["shapes-plain-8"] and query(page)["second"] == ["shapes-plain-56"]
    expect(page.get_by_text(f"test image {number}: ").first).to_be_visible()


def test_four_networks_fit_a_narrow_window_and_everybody_can_use_the_page(page: Page) -> None:
    visit(page, "/compare?networks=shapes-plain-20,cifar10jpeg-resnet-20,shapes-plain-56,shapes-resnet-56&grid=true")
    for window in windows(page):
        expect(page.get_by_role("heading", name="Compare four networks"), str(window)).to_be_visible()
        expect(page.get_by_text("know different classes"), str(window)).to_be_visible()
        assert no_sideways_scroll(page), window
        strip = page.locator(".scroller").first
        assert strip.evaluate("box => box.scrollWidth <= box.clientWidth"), f"{window}: every column is seen at once"
        assert_accessible(page, window)
    assert_keyboard_goes_everywhere(page)
