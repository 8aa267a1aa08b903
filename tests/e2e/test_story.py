"""A newcomer's way: from a bare address to the answer, with one pair of networks and one picture on every page."""

import re

from playwright.sync_api import Page, expect

from driving.accessibility import assert_accessible, violations
from driving.actions import choose, click, no_sideways_scroll, turn, visit, wait_until_ready

PAGES = ("Compare", "Gradients", "Experiments", "Build & train", "In class", "Explore", "Models")


def pair(page: Page) -> tuple[str, ...]:
    """The networks and the picture in the bar."""
    bar = page.locator(".st-key-bar")
    boxes = [bar.get_by_role("combobox", name=f"{place} network") for place in ("First", "Second")]
    picture = page.get_by_role("button", name=re.compile("^Image: "))
    return (*(box.input_value() for box in boxes), str(picture.get_attribute("aria-label")))


def test_the_first_view_shows_twins_that_part_and_two_links_lead_to_the_answer(page: Page) -> None:
    visit(page, "/")
    expect(page.get_by_text("✗ wrong")).to_have_count(1)
    expect(page.get_by_text("✓ right")).to_have_count(1)
    finding = page.get_by_text(re.compile(r"^ResNet-56 is right \(\w+\), and plain-56 is wrong \(\w+\)\.$"))
    expect(finding).to_have_count(2)  # under the images, and at the end
    expect(page.locator(".st-key-finding").get_by_text(finding.first.inner_text())).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Test accuracy against depth"))).to_be_visible()
    for dark in (False, True):
        turn(page, dark=dark)
        assert_accessible(page, "the first view")
    opened, seen = page.url, pair(page)
    assert seen[:2] == ("shapes-plain-56", "shapes-resnet-56") and "test image" in seen[2]
    page.get_by_role("link", name="On how many images do they differ").click()
    expect(page.get_by_text("overfitting is not the reason")).to_be_visible()
    wait_until_ready(page)
    assert pair(page) == seen
    page.get_by_role("link", name="What reaches the first layer?").click()
    expect(page.get_by_role("heading", name="Why is the deep plain network hard to train?")).to_be_visible()
    wait_until_ready(page)
    assert pair(page) == seen
    while page.url != opened:
        page.go_back()
        wait_until_ready(page)
        assert pair(page) == seen, page.url


def test_the_pair_and_the_picture_travel_with_every_change_of_page(page: Page) -> None:
    visit(page)
    choose(page, "First network", "plain-8 · Shapes")
    click(page, "button", "Next")
    wait_until_ready(page)
    seen = pair(page)
    assert seen == ("shapes-plain-8", "shapes-resnet-8", "Image: star, background 7"), "twins stay twins"
    for name in PAGES:
        click(page, "link", name)
        assert pair(page) == seen, name
        assert no_sideways_scroll(page), name
        page.set_viewport_size({"width": 390, "height": 844})
        wait_until_ready(page)
        assert no_sideways_scroll(page) and not violations(page), f"{name}, narrow"
        page.set_viewport_size({"width": 1440, "height": 900})
    page.reload()
    wait_until_ready(page)
    assert pair(page) == seen, "the link names it"
    page.locator(".st-key-bar").get_by_role("combobox", name="First network").select_option("shapes-plain-20")
    wait_until_ready(page)
    assert pair(page)[:2] == ("shapes-plain-20", "shapes-resnet-20")
    page.go_back()
    wait_until_ready(page)
    assert pair(page) == seen
    click(page, "link", "Explore")
    assert pair(page) == seen
