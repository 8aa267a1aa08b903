"""What the other tests wait for: that a page has answered is seen, and that it has not is seen too."""

import pytest
from playwright.sync_api import Page

from tests.e2e.verbs import visit, wait_until_ready

ASK = "const asked = new XMLHttpRequest(); asked.open('GET', '_stcore/health'); asked.send()"
SOON = """async () => {
    for (let turns = 0; turns < 20 && !unanswered(); turns += 1) await new Promise(done => setTimeout(done, 0));
    return unanswered();
}"""  # React tells the server a moment after the click
BEGUN = {
    "a widget": "[...document.querySelectorAll('[data-testid=stSidebar] [role=radio]')].at(-1).click()",
    "a request": "fetch('_stcore/health')",
    "a request of the old kind": ASK,
    "a timer": "setTimeout(() => {}, 250)",
}


@pytest.mark.parametrize("act", BEGUN.values(), ids=BEGUN)
def test_what_is_begun_is_unanswered_until_it_ends(page: Page, act: str) -> None:
    visit(page)
    assert page.evaluate("unanswered()") is False
    assert page.evaluate(f"async () => {{ {act}; return await ({SOON})(); }}") is True
    wait_until_ready(page)
    assert page.evaluate("unanswered()") is False
