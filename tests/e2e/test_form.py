"""The form of Build & train in a real browser: downloads that fail, windows of any size, and the keyboard alone."""

import re

import pytest
from playwright.sync_api import Page, expect

from driving.accessibility import assert_accessible, assert_keyboard_goes_everywhere
from driving.actions import choose, click, no_sideways_scroll, visit, wait_until_ready, windows
from tests.e2e.conftest import PATIENCE, Server
from tests.e2e.test_build import button
from tests.fuzz.laws import check_discreet


def test_without_a_network_a_download_is_one_clear_sentence(page: Page, server: Server) -> None:
    visit(page, "/build?preset=resnet-8&data=cifar10")
    click(page, "tab", "Data")
    button(page, "Download CIFAR-10").click()
    alert = page.get_by_test_id("stAlert").filter(has_text="CIFAR-10 cannot be downloaded because")
    expect(alert).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    expect(alert).to_contain_text("or use the shapes, which need no network")
    expect(button(page, "Cancel")).to_have_count(0)
    check_discreet(alert.inner_text())
    why, told = server.complaints()
    assert "download of CIFAR-10: URLError" in why
    assert f"into `{server.data / 'downloads'}` by hand" in told, "whoever runs the app finds the place there"
    choose(page, "Data", "Fashion-MNIST")
    expect(button(page, "Download Fashion-MNIST")).to_be_visible()
    expect(alert).to_have_count(0)
    expect(button(page, "Train ResNet-8 and plain-8")).to_be_enabled()


CUT_OFF = """() => {
    const main = document.querySelector('[data-testid=stMain]');
    const names = box => `${box.tagName} ${box.getAttribute('aria-label')}: ${box.value ?? box.textContent}`;
    return [
        ...[...main.querySelectorAll('input, button p')].filter(box => box.scrollWidth > box.clientWidth + 1),
        ...[...main.querySelectorAll('table')].filter(box => box.offsetWidth > box.parentElement.clientWidth + 1),
    ].map(names);
}"""


def test_the_form_fits_its_window_and_everybody_can_use_it(page: Page) -> None:
    visit(page, "/build?preset=growing-resnet")
    expect(button(page, "Train ResNet-12 and plain-12")).to_be_visible()
    tabs = ["Data", "Training", "Network"]
    inside = "[data-testid=stMain] [data-testid=stTabs] [role=tabpanel]:not([hidden])"
    for window in windows(page):
        for place, tab in enumerate(tabs):
            click(page, "tab", tab)
            where = f"{tab}, {window}"
            assert no_sideways_scroll(page), where
            assert page.evaluate(CUT_OFF) == [], where
            # What is around the tabs once.
            assert_accessible(page, where, "[data-testid=stTabs]" if place else "html")
            if window.dark:  # the same in the light
                assert_keyboard_goes_everywhere(page, inside if place < 2 else "html")
        tabs.reverse()  # the next window begins with the tab that is open
    page.evaluate(
        "document.querySelector('[data-testid=stMain] [role=combobox]').style.cssText = 'flex: none; width: 9px'"
    )
    assert page.evaluate(CUT_OFF), "the check itself must see what is cut off"


FOCUSED = """() => {
    let at = document.activeElement;
    while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    return at.getAttribute('aria-label') || at.innerText || at.textContent || '';
}"""


def tab_to(page: Page, name: str) -> None:
    """Presses Tab until the focus is on what is called that."""
    passed = []
    for _ in range(60):
        page.keyboard.press("Tab")
        passed.append(page.evaluate(FOCUSED).strip())
        if passed[-1].startswith(name):
            return
    raise AssertionError(f"the Tab key does not reach {name!r}; it passes {passed}")


@pytest.mark.usefixtures("queue_is_taken")
def test_the_keyboard_leads_from_the_preset_to_a_training_and_stops_it(page: Page) -> None:
    visit(page, "/build?preset=resnet-8")
    tab_to(page, "Start from")
    page.keyboard.type("Plain-8")
    page.keyboard.press("Enter")
    expect(button(page, "Train plain-8 and ResNet-8")).to_be_visible()
    wait_until_ready(page)
    tab_to(page, "Depth, weighted layers")
    page.keyboard.press("ArrowRight")
    expect(button(page, "Train plain-14 and ResNet-14")).to_be_visible()
    wait_until_ready(page)
    tab_to(page, "Train plain-14 and ResNet-14")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="plain-14 and ResNet-14", exact=True)).to_be_visible()
    expect(page.get_by_text("Queued, 1 ahead.")).to_be_visible()
    tab_to(page, "Stop")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"^Stopped\."))).to_be_visible(timeout=PATIENCE)
