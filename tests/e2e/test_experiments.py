"""Experiments in a real browser: a question asked and answered, another one by keyboard, and its link."""

import re

from playwright.sync_api import Page, expect

from driving.actions import no_sideways_scroll, visit, wait_until_ready, windows
from tests.e2e.accessibility import assert_accessible, assert_keyboard_goes_everywhere
from tests.e2e.conftest import PATIENCE


def test_a_question_is_asked_answered_and_sent(page: Page) -> None:
    visit(page, "/experiments?first=shapes-plain-8&second=shapes-resnet-8&n=50")
    expect(page.get_by_text("This takes 4 changed networks on 50 images.")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Measure")).click()
    answer = page.get_by_text(re.compile("^ResNet-8 is right for"))
    expect(answer.first).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    for window in windows(page):
        assert no_sideways_scroll(page), window
        if window.width == 1440:
            assert_accessible(page, window)
    asked = page.url
    assert "measure=yes" in asked
    page.get_by_role("radio", name="Which blocks can a network do without?").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("heading", name="How small a change misleads a network?")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Measure")).click()
    expect(page.get_by_text(re.compile("^Under PGD of 10 steps within 4/255 plain-8")).first).to_be_visible(
        timeout=PATIENCE
    )
    expect(page.get_by_role("img", name="the change × 10")).to_be_visible()
    assert_keyboard_goes_everywhere(page)
    page.goto(asked)
    expect(answer.first, "a link shows what was measured").to_be_visible(timeout=PATIENCE)
