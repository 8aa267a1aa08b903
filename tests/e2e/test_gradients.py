"""Gradients in a real browser: three results, a guess, a wider grid measured and stopped, and a training in steps."""

import csv
import io
import re
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page, expect

from driving.accessibility import assert_accessible, assert_keyboard_goes_everywhere
from driving.actions import choose, click, no_sideways_scroll, query, visit, wait_until_ready, windows
from tests.e2e.conftest import PATIENCE

CHART = ".live .stage"


def button(page: Page, words: str | re.Pattern[str]) -> Locator:
    """One of the page, beside the step in slow motion and the questions on the geometry of gradients, which measure by
    buttons of their own."""
    elsewhere = page.locator(":not(.st-key-gradients_geometry *, .st-key-gradients_slow *)")
    return page.get_by_role("button").and_(elsewhere).filter(has_text=words)


OPENED = "/gradients?second=shapes-resnet-20"  # a link that names the usual pair


def wait_for_sentence(page: Page, sentence: Locator) -> None:
    """A machine that would measure it for longer than a moment asks first."""
    measure = button(page, "Measure (about")
    expect(sentence.or_(measure)).to_be_visible()
    if measure.is_visible():
        measure.click()
    expect(sentence).to_be_visible(timeout=PATIENCE)


def test_the_first_visit_shows_three_results_to_everybody_each_a_link_with_its_numbers_folded(page: Page) -> None:
    visit(page, OPENED)
    cards = page.locator("article")
    expect(cards).to_have_count(3)
    for card, title in zip(cards.all(), ("Vanishes", "Explodes", "Stays level"), strict=True):
        expect(card.get_by_role("link", name=title)).to_be_visible()
        for name in ("plain-56", "ResNet-56"):
            expect(card.locator("svg").get_by_text(name, exact=True)).to_be_visible()
        assert card.bounding_box()["y"] + card.bounding_box()["height"] <= 900, "in the first window"  # type: ignore[index]
    expect(button(page, "Measure")).to_have_count(0)
    expect(
        page.get_by_text(re.compile("^Before training, the gradient of plain-56 vanishes or explodes"))
    ).to_be_visible()
    expect(page.get_by_role("link", name="How deep can you train?")).to_be_visible()
    assert query(page) == {"second": ["shapes-resnet-20"]}
    a_card_leads_to_its_view(page)
    its_numbers_are_folded(page)
    for window in windows(page):
        expect(page.locator(CHART), str(window)).to_be_visible()
        assert no_sideways_scroll(page), window
        assert_accessible(page, window)
    assert_keyboard_goes_everywhere(page)
    page.set_viewport_size({"width": 390, "height": 844})
    wait_until_ready(page)
    assert no_sideways_scroll(page)


CARD = {"source": ["initial"], "depths": ["56"], "scale": ["relative"]}


def assert_explodes(page: Page) -> None:
    """The view of that card, whose sentence the page repeats."""
    finding = page.locator("article.shown .finding").inner_text()
    expect(page.get_by_test_id("stMarkdown").get_by_text(finding)).to_be_visible()
    expect(page.get_by_role("link", name="Explodes")).to_have_attribute("aria-current", "true")


def a_card_leads_to_its_view(page: Page) -> None:
    """And back."""
    page.get_by_role("link", name="Explodes").focus()
    page.keyboard.press("Enter")
    wait_until_ready(page)
    assert query(page) == CARD
    assert_explodes(page)
    expect(page.get_by_role("heading", name="All layers")).to_be_in_viewport()
    page.go_back()
    wait_until_ready(page)
    expect(page.get_by_role("link", name="Vanishes")).to_have_attribute("aria-current", "true")


def its_numbers_are_folded(page: Page) -> None:
    card = page.locator("article").nth(2)
    card.get_by_text("Table and CSV").click()
    expect(card.get_by_role("row")).to_have_count(3)
    expect(card.get_by_text("n = 1 batch, 64 shapes, evaluation mode, float32.")).to_be_visible()
    with page.expect_download() as waiting:
        card.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text())))
    assert len(rows) == 2 * 55 and {row["network"] for row in rows} == {"plain-56", "ResNet-56"}
    assert query(page) == {"second": ["shapes-resnet-20"]}, "the fold is no part of the link"


def test_a_card_is_opened_a_guess_is_answered_and_another_visitor_gets_what_was_chosen_then(page: Page) -> None:
    visit(page, "/gradients?" + urlencode(CARD, doseq=True))  # as somebody who got the address of a card
    assert_explodes(page)
    page.locator(".st-key-guess_depth").get_by_text("8", exact=True).click()
    wait_until_ready(page)
    click(page, "button", "It rises")
    expect(page.get_by_text(re.compile("^Your guess, rises, is (right|wrong)"))).to_be_visible(timeout=PATIENCE)
    assert query(page) == {"source": ["initial"], "depths": ["8"], "norms": ["none"], "scale": ["relative"]}
    expect(page.locator(CHART).get_by_text("plain-8", exact=True)).to_be_visible()

    click(page, "radio", "In a trained network")
    choose(page, "First network", "plain-8 · Shapes")
    click(page, "radio", "blocks")
    sentence = page.get_by_text(re.compile(r"^Toward the input, .* in plain-8 \(first block"))
    wait_for_sentence(page, sentence)
    said = sentence.inner_text()
    page.context.clear_cookies()  # another visitor: nothing but the link is known of this one
    visit(page, page.url)
    wait_for_sentence(page, page.get_by_text(said))


def test_a_grid_is_widened_measured_and_downloaded(page: Page) -> None:
    """The link starts what takes a moment."""
    visit(page, "/gradients?depths=8&shortcuts=none&seeds=2&initialisations=pytorch&activations=sigmoid&norms=none")
    expect(page.get_by_text(re.compile(r"in plain-8 \(first layer"))).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    page.get_by_text("Compare several settings", exact=True).click()
    wait_until_ready(page)
    page.locator(".st-key-gradients_shortcuts").get_by_text("identity", exact=True).click()
    expect(button(page, "Measure 2 passes")).to_be_visible()  # those of plain-8 are kept
    button(page, "Measure 2 passes").click()
    expect(page.get_by_text(re.compile("in ResNet-8 "))).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    expect(button(page, "Measure")).to_have_count(0)
    assert "shortcuts" not in query(page)  # that is the default
    page.get_by_test_id("stExpander").get_by_text("Table and CSV", exact=True).click()
    wait_until_ready(page)  # while it opens, what is in it moves from under the pointer
    with page.expect_download() as waiting:
        page.get_by_role("button", name="All layers as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text())))
    assert len(rows) == 2 * 2 * 7 and {row["network"] for row in rows} == {"plain-8", "ResNet-8"}
    assert all(float(row["size"]) > 0 for row in rows)


def test_a_measurement_is_stopped_and_what_it_found_is_kept(page: Page) -> None:
    page.goto("/gradients?depths=8&seeds=10&norms=batch,none&activations=tanh,sigmoid,relu&what=blocks")
    offer = button(page, re.compile(r"^Measure \d+ passes"))
    stop = page.get_by_role("button", name="Stop", exact=True)
    expect(offer.or_(stop)).to_be_visible()
    if offer.is_visible():  # a slow machine asks first
        offer.click()
    expect(page.get_by_text(re.compile(r"[1-9]\d?%, .* left"))).to_be_visible()
    stop.click()
    expect(stop).to_have_count(0)
    expect(offer).to_be_visible()
    wait_until_ready(page)
    assert 0 < int(re.search(r"Measure (\d+) passes", offer.inner_text())[1]) < 120  # type: ignore[index]
    expect(page.locator(CHART)).to_be_visible()
    expect(page.get_by_text(re.compile(r"plain-8 \(first block")).first).to_be_visible()


def test_the_steps_of_a_training_are_drawn_without_a_run_and_the_address_follows(page: Page) -> None:
    visit(page, "/gradients?source=record&first=shapes-plain-56&second=shapes-resnet-56&scale=relative")
    slider = page.get_by_role("slider", name="Training step")
    expect(slider).to_have_attribute(
        "aria-valuetext", re.compile("^step 0: Toward the input, the gradient explodes in p")
    )
    runs = page.evaluate(
        """() => {
            window.runs = 0;
            const app = document.querySelector('[data-testid="stApp"]');
            new MutationObserver(() => { window.runs += app.dataset.testScriptState === 'running'; })
                .observe(app, {attributes: true, attributeFilter: ['data-test-script-state']});
            return window.runs;
        }"""
    )
    slider.focus()
    page.keyboard.press("End")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^step 192: .* validation 1"))
    expect(page.get_by_text(re.compile(r"Accuracy: plain-56, train .*ResNet-56, validation"))).to_be_visible()
    page.wait_for_url("**/gradients?*step=192*")
    wait_until_ready(page)
    assert page.evaluate("window.runs") <= runs + 2, "one when the slider rests, not one for each place"
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^step 192:"))
    page.reload()
    wait_until_ready(page)
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^step 192:"))
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^step 768:"), timeout=30_000)
    for window in windows(page):
        expect(page.locator(CHART).first, str(window)).to_be_visible()
        assert no_sideways_scroll(page), window
        assert_accessible(page, window)


def test_a_step_goes_forward_and_back_by_keys_and_buttons(page: Page) -> None:
    visit(page, "/gradients?slow=initial&slow_take=yes&slow_pictures=4&first=shapes-plain-8&second=shapes-resnet-8")
    slider = page.get_by_role("slider", name="Place in the training step")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^Batch: Both networks get the same 4 images"))
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^Forward: Forward to layer 1 of 8\. .* stem.conv "))
    page.get_by_role("button", name="Backward", exact=True).click()
    told = page.locator(".slow .told")
    expect(told).to_have_text(re.compile(r"^Back to layer 8 of 8\. .* plain-8 head.fc .* ResNet-8 head.fc "))
    page.get_by_role("button", name="One place on").click()
    expect(told).to_have_text(re.compile(r"^Back to layer 7 of 8\."))
    page.get_by_role("button", name="Update", exact=True).click()
    expect(page.get_by_role("group", name="The rule in plain-8")).to_contain_text("Δw = −0.01")
    page.wait_for_url("**/gradients?*slow_at=18*")
    wait_until_ready(page)
    page.reload()
    wait_until_ready(page)
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^Update: "))
    page.keyboard.press("Tab")
    for window in windows(page):
        assert no_sideways_scroll(page), window
        assert_accessible(page, window)
