"""Gradients in a real browser: the first look, a wider grid measured and stopped, and a training step by step."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from driving.actions import choose, click, no_sideways_scroll, query, visit, wait_until_ready, windows
from tests.e2e.accessibility import assert_accessible, assert_keyboard_goes_everywhere
from tests.e2e.conftest import PATIENCE

CHART = "[data-testid=stPlotlyChart]"


def button(page: Page, words: str):
    return page.get_by_role("button").filter(has_text=words)


def wait_for_sentence(page: Page, sentence: Locator) -> None:
    """A machine that would measure it for longer than a moment asks first."""
    measure = button(page, "Measure (about")
    expect(sentence.or_(measure)).to_be_visible()
    if measure.is_visible():
        measure.click()
    expect(sentence).to_be_visible(timeout=PATIENCE)


def test_the_first_visit_shows_a_chart_and_a_measured_sentence_to_everybody(page: Page) -> None:
    page.set_default_timeout(PATIENCE)  # the page measures before it answers
    visit(page, "/gradients")
    expect(page.get_by_text(re.compile(r"n = 1 seed, 64 shapes, training mode, float32"))).to_be_visible()
    expect(page.locator(CHART)).to_be_visible()
    expect(page.locator(CHART).get_by_text("exactly 0")).to_be_visible()
    expect(button(page, "depth 20 and 56, with BatchNorm and without")).to_be_visible()
    assert query(page) == {}
    for window in windows(page):
        expect(page.locator(CHART), str(window)).to_be_visible()
        assert no_sideways_scroll(page), window
        if window.width == 1440:
            assert_accessible(page, window)
    assert_keyboard_goes_everywhere(page)


def test_a_grid_is_widened_measured_and_downloaded(page: Page) -> None:
    visit(page, "/gradients?depths=8&shortcuts=none&seeds=2&initialisations=pytorch&activations=sigmoid&norms=none")
    expect(page.get_by_text("Nothing of this is measured yet")).to_be_visible()
    button(page, "Measure the 2 passes").click()
    expect(page.get_by_text(re.compile("plain-8's first convolution receives"))).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    page.locator(".st-key-gradients_shortcuts").get_by_text("identity", exact=True).click()
    expect(button(page, "Measure the 2 passes")).to_be_visible()  # those of plain-8 are kept
    button(page, "Measure the 2 passes").click()
    expect(page.get_by_text(re.compile("ResNet-8's"))).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    expect(button(page, "still missing")).to_have_count(0)
    assert "shortcuts" not in query(page)  # that is the default
    page.get_by_text("The numbers", exact=True).click()
    wait_until_ready(page)  # while it opens, what is in it moves from under the pointer
    with page.expect_download() as waiting:
        page.get_by_role("button", name="All layers as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text())))
    assert len(rows) == 2 * 2 * 7 and {row["network"] for row in rows} == {"plain-8", "ResNet-8"}
    assert all(float(row["size"]) > 0 for row in rows)


def test_a_measurement_is_stopped_and_what_it_found_is_kept(page: Page) -> None:
    visit(page, "/gradients?depths=8&seeds=10&norms=batch,none&activations=tanh,sigmoid,relu")
    button(page, "Measure the 120 passes").click()
    expect(page.get_by_text(re.compile(r"[1-9]\d?%, .* left"))).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    rest = button(page, "still missing")
    expect(rest).to_be_visible()
    wait_until_ready(page)
    assert 0 < int(re.search(r"the (\d+) passes", rest.inner_text())[1]) < 120  # type: ignore[index]
    expect(page.locator(CHART)).to_be_visible()
    expect(page.get_by_text(re.compile(r"first convolution receives")).first).to_be_visible()


def test_the_steps_of_a_training_answer_to_the_keyboard(page: Page) -> None:
    visit(page, "/gradients")
    click(page, "radio", "During a training")
    expect(page.get_by_text(re.compile("At step 0 of the training"))).to_be_visible()
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    expect(page.get_by_text(re.compile("At step 768 of the training"))).to_be_visible()
    wait_until_ready(page)
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_text(re.compile("At step 512 of the training"))).to_be_visible()
    wait_until_ready(page)
    assert query(page) == {"source": ["record"], "step": ["512"]}

    visit(page, "/gradients?source=record&first=shapes-plain-56&second=shapes-resnet-56")
    for window in windows(page):
        expect(page.locator(CHART), str(window)).to_be_visible()
        assert no_sideways_scroll(page), window
        if window.width == 1440:
            assert_accessible(page, window)


def test_a_copied_link_shows_the_same_view_to_another_visitor(page: Page, open_page: Callable[..., Page]) -> None:
    visit(page, "/gradients")
    click(page, "radio", "A network as it is")
    choose(page, "First network", "plain-8 · Shapes")
    click(page, "radio", "block outputs")
    click(page, "radio", "relative to last layer")
    sentence = page.get_by_text(re.compile("After training, .*plain-8's first block receives"))
    wait_for_sentence(page, sentence)
    stranger = open_page()
    visit(stranger, page.url)
    wait_for_sentence(stranger, stranger.get_by_text(sentence.inner_text()))
