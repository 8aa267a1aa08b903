"""The film of a training in a real browser: moved by keys, played, left and found again, on Explore and Compare."""

import re

from playwright.sync_api import Locator, Page, expect

from driving.accessibility import assert_accessible
from driving.actions import no_sideways_scroll, query, visit, wait_until_ready
from tests.e2e.conftest import Server
from tests.made_runs import write_film


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Step of the training")


def at(page: Page, words: str) -> None:
    expect(slider(page)).to_have_attribute("aria-valuetext", words)


def press(page: Page, key: str) -> None:
    slider(page).press(key)
    wait_until_ready(page)


def test_a_film_is_moved_and_played_and_its_link_opens_the_step(page: Page, server: Server) -> None:
    names = write_film(server.data)
    pair = f"first={names[0]}&second={names[1]}&picture=sample-6-6"
    visit(page, f"/?{pair}&step=3")
    at(page, "Step 3 of 40")
    probabilities = page.locator(".overview .around").inner_text()
    press(page, "ArrowRight")
    at(page, "Step 12 of 40")
    assert query(page)["step"] == ["12"]
    assert page.locator(".overview .around").inner_text() != probabilities
    page.go_back()
    wait_until_ready(page)
    at(page, "Step 3 of 40")
    assert page.locator(".overview .around").inner_text() == probabilities
    page.reload()
    wait_until_ready(page)
    at(page, "Step 3 of 40")
    assert page.locator(".overview .around").inner_text() == probabilities
    press(page, "Home")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or "") if "explain" in request.url else None)
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_role("button", name="Play again")).to_be_visible()
    wait_until_ready(page)
    at(page, "Step 40: the finished network")
    assert "step" not in query(page)
    steps = [found[1] for each in asked if (found := re.search(r'"step":(\w+)', each)) and '"only"' not in each]
    assert list(dict.fromkeys(steps)) == ["1", "12", "null"], "one after the other; the browser still had step 3"
    page.go_back()
    wait_until_ready(page)
    at(page, "Step 0 of 40")
    page.set_viewport_size({"width": 390, "height": 844})
    wait_until_ready(page)
    assert no_sideways_scroll(page)
    page.set_viewport_size({"width": 1440, "height": 900})
    slider(page).fill("2")  # two steps that play by themselves are left
    wait_until_ready(page)
    page.get_by_role("link", name="Compare", exact=True).click()  # the step travels with its pair
    wait_until_ready(page)
    at(page, "Step 3 of 40")
    assert query(page)["step"] == ["3"]
    assert_accessible(page, {"width": 1440, "height": 900})
    words = page.locator(".aligned").inner_text()
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_role("button", name="Play again")).to_be_visible()
    wait_until_ready(page)
    assert "step" not in query(page) and page.locator(".aligned").inner_text() != words
    page.go_back()
    wait_until_ready(page)
    at(page, "Step 3 of 40")
    assert page.locator(".aligned").inner_text() == words
