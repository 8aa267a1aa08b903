"""A lesson in a real browser: its link, its presentation, and the sheet of questions."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from driving.accessibility import nameless_pictures, violations
from driving.actions import choose, click, no_sideways_scroll, query, turn, visit, wait_until_ready, windows
from explorer.ui.streamlit_internals import PRESENTED
from tests.e2e.exploring import saved
from tests.e2e.test_compare import TWINS

# The text of a chart, and where its drawing ends: in pixels of the screen.
CUT = """() => [...document.querySelectorAll('[data-testid=stPlotlyChart]')].flatMap(chart => {
    const {left, right, top, bottom} = chart.getBoundingClientRect();
    const texts = [...chart.querySelectorAll('svg text')];
    return texts.filter(each => each.textContent.trim() && each.checkVisibility()).flatMap(each => {
        const box = each.getBoundingClientRect();
        const isIn = box.left >= left - 1 && box.right <= right + 1 && box.top >= top - 1 && box.bottom <= bottom + 1;
        return isIn ? [] : [each.textContent];
    });
})"""
SIZES = """() => {
    const size = each => parseFloat(getComputedStyle(each).fontSize) * each.currentCSSZoom;
    return {
        chart: Math.min(...[...document.querySelectorAll('[data-testid=stPlotlyChart] .xtick text')].map(size)),
        text: size(document.querySelector('[data-testid=stMain] [data-testid=stMarkdownContainer] p')),
    };
}"""


def test_a_lesson_link_hides_the_same_on_every_way(page: Page) -> None:
    visit(page, "/class")
    choose(page, "Page, as you saw it last", "Compare")
    for part in ("The settings", "Explanations and findings"):
        click(page, "button", part)
    link = page.locator(".st-key-class_form code").inner_text()
    visit(page, link)
    hides = "controls,text"
    assert query(page)["networks"] == ["shapes-plain-56,shapes-resnet-56"]
    expect(page.get_by_text(TWINS)).to_be_hidden()
    for name, path in (("", "/compare"), ("Gradients", "/gradients"), ("Explore", "/")):
        if name:
            click(page, "link", name)
        assert urlsplit(page.url).path == path and query(page)["hide"] == [hides]
        expect(page.get_by_test_id("stSidebar")).to_be_hidden()
        expect(page.locator(".st-key-bar")).to_have_count(0)
        expect(page.get_by_text("One colour scale for each", exact=True).filter(visible=True)).to_have_count(0)
        assert not page.locator(".finding").filter(visible=True).all_inner_texts()
    for step in (page.go_back, page.go_back, page.go_forward, page.reload):
        step()
        wait_until_ready(page)
        assert query(page)["hide"] == [hides]
        expect(page.get_by_test_id("stSidebar")).to_be_hidden()
    menu = page.get_by_role("link", name="Models")
    menu.focus()  # as who copies its address, or opens it in another tab, does
    assert urlsplit(menu.evaluate("link => link.href")).query == "hide=controls%2Ctext"
    click(page, "button", "Show everything")
    assert "hide" not in query(page)
    expect(page.locator(".st-key-bar")).to_be_visible()
    expect(page.locator(".finding").filter(visible=True).first).to_be_visible()
    assert not urlsplit(menu.evaluate("link => link.href")).query


def test_a_presentation_is_larger_has_no_menu_and_ends_with_escape(page: Page) -> None:
    visit(page, "/compare?networks=shapes-plain-8,shapes-resnet-8")
    before = page.evaluate(SIZES)
    click(page, "button", "Present")
    for window in windows(page):
        after = page.evaluate(SIZES)
        assert (
            after["text"] >= PRESENTED * before["text"] - 0.01 and after["chart"] >= PRESENTED * before["chart"] - 0.01
        )
        assert not page.evaluate(CUT), window
        assert no_sideways_scroll(page), window
        for hidden in ("stSidebar", "stHeader", "stTopNavLink"):
            assert not page.get_by_test_id(hidden).first.is_visible(), (hidden, window)
    strip = page.locator(".aligned .grid")
    _, pixels = saved(page, "aligned maps")
    assert pixels.shape[1] == pytest.approx(2 * strip.evaluate("grid => grid.offsetWidth") + 64, abs=2), "no zoom"
    point = page.locator("[data-testid=stPlotlyChart] .points path.point").first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator(".hoverlayer .hovertext").first).to_be_visible()
    assert not violations(page), "in the dark"
    turn(page, dark=False)
    assert not violations(page), "in the light"
    page.get_by_role("combobox", name="Test images").focus()
    page.keyboard.press("Escape")  # is that of the list
    assert query(page)["present"] == ["1"]
    page.get_by_role("heading", name="Compare two networks").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Present")).to_be_visible()
    wait_until_ready(page)
    assert "present" not in query(page) and page.evaluate(SIZES) == before


def test_in_class_is_for_every_window_and_for_paper(page: Page) -> None:
    visit(page, "/class")
    page.locator(".st-key-class_answer_6 summary").focus()
    page.keyboard.press("Enter")
    answer = page.get_by_text("of its 10 shapes for another one")
    expect(answer).to_be_visible()
    wait_until_ready(page)
    for window in windows(page):
        assert no_sideways_scroll(page), window
        assert not violations(page), window
    page.set_viewport_size({"width": 390, "height": 844})
    wait_until_ready(page)
    assert no_sideways_scroll(page) and not violations(page) and not nameless_pictures(page)
    page.set_viewport_size({"width": 794, "height": 1123})
    page.emulate_media(media="print")
    expect(page.get_by_text("Which background from 1 to 20")).to_be_visible()
    for hidden in (answer, page.get_by_text("A link for your lesson"), page.get_by_role("button", name="Present")):
        expect(hidden).to_be_hidden()
    assert page.pdf(format="A4").count(b"/Type /Page\n") == 1
    page.emulate_media(media="screen")
    turn(page, dark=False)
