"""Rows of the strip in a browser: a switch, a chart on the strip's columns, the address, and the values as a file."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from driving.accessibility import assert_accessible
from driving.actions import visit, wait_until_ready
from tests.e2e.exploring import SMALL, strip_button


def test_a_row_is_switched_on_by_keyboard_and_is_in_the_link(page: Page) -> None:
    visit(page, SMALL)
    page.get_by_text("More rows along the depth").focus()
    page.keyboard.press("Enter")
    switch = page.get_by_role("checkbox", name=re.compile("Receptive field"))
    expect(switch).to_have_accessible_name(re.compile(r"about \d+ s|measured"), timeout=30_000)
    switch.focus()
    page.keyboard.press("Space")
    wait_until_ready(page)
    assert page.url.endswith("#rows=field")
    chart = page.get_by_role("img", name=re.compile("^receptive field, pixels of each layer on an axis from 0 to 32"))
    expect(chart).to_be_visible()
    values = page.locator(".rows .values")
    expect(values).to_contain_text(re.compile(r"stages\.2\.0, receptive field, pixels: plain-8: \d"))
    strip_button(page, "stages.0.0", "plain-8").click()
    expect(values).to_contain_text("stages.0.0, receptive field")
    assert_accessible(page, "rows of the strip")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Values (CSV)").click()
    text = Path(saved.value.path()).read_text()
    assert text.startswith("layer,") and len(text.splitlines()) == 5
    switch.click()
    expect(chart).to_have_count(0)
    assert "rows" not in page.url


def test_a_link_with_rows_opens_them_and_other_networks_get_their_own(page: Page) -> None:
    visit(page, f"{SMALL}#rows=field,distance")
    expect(page.get_by_role("img", name=re.compile("^distance of the networks"))).to_be_visible()
    expect(page.get_by_role("checkbox", name=re.compile("Distance to the twin"))).to_be_checked()
    visit(page, "/?first=shapes-resnet-8&second=none#rows=field,distance")
    expect(page.locator(".rows .words")).to_contain_text("A distance needs two networks.")
    expect(page.get_by_role("img", name=re.compile("^receptive field"))).to_be_visible()
