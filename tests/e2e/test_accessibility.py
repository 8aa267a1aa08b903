"""The checks of accessibility themselves: they see what is wrong in a page that is wrong."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page

from driving.accessibility import nameless_pictures, tab_through, violations
from explorer.ui.streamlit_internals import THEME_SYNC_JS

DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
GOOD = f"""<!doctype html><html lang="en"><title>A page</title>
    <style>a, button, label {{ display: block; margin: 2rem }}</style><main><h1>A page</h1>
    <img src="{DOT}" alt="A dot"> <button aria-label="A dot"><img src="{DOT}" alt=""></button>
    <p>Words</p> <button>First</button> <a href="#second">Second</a>
    <div role="radiogroup" aria-label="Kind"><label><input type="radio" name="kind">A</label>
    <label><input type="radio" name="kind">B</label></div></main></html>"""


@pytest.fixture
def alone(browsers: Callable[[int], BrowserContext]) -> Iterator[Page]:
    """A page without the app."""
    page = browsers(0).new_page()
    yield page
    page.close()


def test_a_good_page_has_no_fault(alone: Page) -> None:
    alone.set_content(GOOD)
    assert violations(alone) == [] and nameless_pictures(alone) == [] and tab_through(alone) == []


@pytest.mark.parametrize(
    ("good", "bad", "fault"),
    [
        ("<p>", "<p style='color: #888'>", "color-contrast"),
        ('<html lang="en">', "<html>", "html-has-lang"),
        ('alt="A dot"', "", "image-alt"),
    ],
)
def test_axe_sees(alone: Page, good: str, bad: str, fault: str) -> None:
    assert good in GOOD
    alone.set_content(GOOD.replace(good, bad))
    (found,) = violations(alone)
    assert found.startswith(fault)


def test_in_the_dark_axe_sees_the_contrast_alone(alone: Page) -> None:
    alone.set_content(GOOD.replace("<p>", "<p style='color: #888'>").replace('<html lang="en">', "<html>"))
    assert len(violations(alone)) == 2
    alone.emulate_media(color_scheme="dark")
    (found,) = violations(alone)
    assert found.startswith("color-contrast")


def test_a_picture_without_a_name_is_seen_also_in_a_shadow_root(alone: Page) -> None:
    alone.set_content(GOOD.replace('alt="A dot"', 'alt=" "').replace('aria-label="A dot"', ""))
    alone.evaluate(
        """dot => { const root = document.querySelector('p').attachShadow({mode: 'open'});
                    root.innerHTML = `<img src="${dot}">`; }""",
        DOT,
    )
    assert len(nameless_pictures(alone)) == 3


@pytest.mark.parametrize(
    ("good", "bad", "fault"),
    [
        ("<button>First", "<button style='outline: none'>First", "'button First' does not show that it has the focus"),
        ("<button>First", "<button onfocus='this.blur()'>First", "the Tab key does not reach 'button First'"),
        ("<a href", "<a tabindex='1' href", "the Tab key goes back to"),
    ],
)
def test_tab_sees(alone: Page, good: str, bad: str, fault: str) -> None:
    assert good in GOOD
    alone.set_content(GOOD.replace(good, bad))
    faults = tab_through(alone)
    assert any(found.startswith(fault) for found in faults), faults


def test_a_theme_that_the_server_missed_is_told_again(page: Page) -> None:
    """A run may begin before Streamlit has told it of the evening; and where its theme stays another, nobody is asked
    for ever."""
    page.goto("about:blank")
    page.set_content("<div data-testid='stApp' data-test-script-state='notRunning' style='color-scheme: light'></div>")
    page.evaluate(
        """async code => {
            const { default: run } = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
            globalThis.told = [];
            const parentElement = document.createElement("div");
            const setTriggerValue = (_, scheme) => told.push(scheme);
            globalThis.ran = data => { run({ data, parentElement, setTriggerValue }); };
            globalThis.turned = scheme => { document.querySelector("[data-testid]").style.colorScheme = scheme; };
        }""",
        THEME_SYNC_JS,
    )
    page.evaluate("() => { ran('light'); turned('dark'); ran('light'); }")
    assert page.evaluate("told") == ["dark"]
    page.evaluate("ran('light')")  # too early
    assert page.evaluate("told") == ["dark", "dark"]
    page.evaluate("ran('dark')")
    page.evaluate("() => { turned('light'); ran('dark'); ran('light'); }")
    assert page.evaluate("told") == ["dark", "dark", "light"]
    page.evaluate("() => { turned('dark'); for (let run = 0; run < 9; run += 1) ran('light'); }")
    assert page.evaluate("told") == ["dark", "dark", "light", "dark", "dark", "dark"]
