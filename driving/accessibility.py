"""Whether everybody can use a page: the rules of axe-core, names of pictures, and the way of the Tab key."""

import itertools
from dataclasses import dataclass
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.sync_api import Page

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "resultTypes": ["violations"],
    "preload": False,  # of style sheets from other servers, of which there are none
}
# The dark theme changes colours only: names, roles and order of the same view were checked in the light.
RULES_IN_THE_DARK = RULES | {"runOnly": {"type": "rule", "values": ["color-contrast"]}}


@dataclass(frozen=True)
class Streamlits:
    """What Streamlit does wrong and nothing of ours reaches: an axe rule, at elements that a selector finds."""

    rule: str
    selector: str
    reason: str


EXCEPTIONS = (
    Streamlits(
        "color-contrast",
        "[data-testid=stElementContainer]:has(:disabled, [aria-disabled=true]) [data-testid=stWidgetLabel] p",
        "WCAG 1.4.3 exempts the name of a control that is switched off; it is not tied to it in a way that axe sees",
    ),
)

# What a run is about to replace is drawn pale, and colours change slowly: neither is what a visitor reads.
STILL = """() => {
    const moving = document.getAnimations().filter(each => each.effect.getComputedTiming().endTime !== Infinity);
    for (const each of moving) each.finish();
    return !moving.length && !document.querySelector('[data-stale=true]');
}"""

# What an exception excuses is asked of the element itself, within the shadow root that it stands in. A page that runs
# by itself may begin to replace something meanwhile.
AXE = """async ([within, rules, exceptions]) => {
    const find = target => [target].flat().reduce((root, selector) =>
        (root.shadowRoot ?? root).querySelector(selector), document);
    const solid = new CSSStyleSheet();
    solid.replaceSync('[data-stale=true] { opacity: 1 !important; transition: none !important }');
    document.adoptedStyleSheets.push(solid);
    const {violations} = await axe.run(within, rules).finally(() => {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter(sheet => sheet !== solid);
    });
    return violations.flatMap(({id, help, nodes}) => nodes
        .filter(({target}) => !exceptions.some(({rule, selector}) => rule === id && find(target)?.matches(selector)))
        .map(({html, any, all, none}) => `${id} (${help}): ${html.slice(0, 200)}: ` +
            [...any, ...all, ...none].map(({message}) => message).join('; ')));
}"""


def violations(page: Page, within: str = "html") -> list[str]:
    """What axe-core finds against WCAG 2.2 A and AA there, contrast included, each as a line; not the `EXCEPTIONS`. In
    the dark theme the contrast alone."""
    if not page.evaluate("'axe' in window"):  # half a megabyte is sent once
        page.evaluate("script => { window.eval(script) }", AXE_SCRIPT)
    page.wait_for_function(STILL)
    exceptions = [{"rule": each.rule, "selector": each.selector} for each in EXCEPTIONS]
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    return page.evaluate(AXE, [within, RULES_IN_THE_DARK if is_dark else RULES, exceptions])


# A picture inside of something that has a name itself, as a button or a grid of buttons has, needs none.
NAMELESS = """() => {
    const found = [];
    const walk = root => {
        for (const each of root.querySelectorAll('*')) {
            if (each.shadowRoot) walk(each.shadowRoot);
            const isPicture = each.matches('img, [role=img], [data-testid=stPlotlyChart]');
            const within = each.parentElement?.closest('a, button, [role=img], [role=group]');
            const isNamed = [each.getAttribute('alt'), each.getAttribute('aria-label'),
                within?.getAttribute('aria-label')].some(name => name?.trim());
            if (isPicture && !isNamed && !each.closest('[aria-hidden=true]')) found.push(each.outerHTML.slice(0, 200));
        }
    };
    walk(document);
    return found;
}"""


def nameless_pictures(page: Page) -> list[str]:
    """Pictures and charts without a name that a screen reader could read out."""
    return page.evaluate(NAMELESS)


# axe-core leaves the text of drawings out, in shadow roots too. Text inside of a bar or a cell stands on another colour
# than the page's.
PALE = """() => {
    const light = ([red, green, blue]) => [red, green, blue]
        .map(value => value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const page = numbers(getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor);
    const texts = [...document.querySelectorAll('[data-testid=stPlotlyChart] text')];
    const walk = root => {
        for (const {shadowRoot} of root.querySelectorAll('*')) {
            if (!shadowRoot) continue;
            texts.push(...shadowRoot.querySelectorAll('svg text'));
            walk(shadowRoot);
        }
    };
    walk(document);
    const chartOf = text => text.closest('[data-testid=stPlotlyChart]');
    const isInCell = text => text.closest('.textpoint') && chartOf(text)?.querySelector('.hm, .heatmaplayer *');
    return texts
        .filter(text => text.textContent.trim() && text.checkVisibility() && !text.matches('.bartext-inside') &&
            !text.closest('.hm, .heatmaplayer') && !isInCell(text))
        .map(text => {
            const {fill, fillOpacity, opacity} = getComputedStyle(text);
            const [red, green, blue, alpha = 1] = numbers(fill);
            const share = alpha * fillOpacity * opacity;
            const mixed = [red, green, blue].map((value, place) => value * share + page[place] * (1 - share));
            const [darker, lighter] = [light(mixed), light(page)].sort((one, other) => one - other);
            const ratio = (lighter + 0.05) / (darker + 0.05);
            return {ratio, line: `${text.textContent} has ${ratio.toFixed(2)}:1 in the chart ` +
                (chartOf(text) ?? text.closest('svg')).getAttribute('aria-label')};
        }).filter(({ratio}) => ratio < 4.5).map(({line}) => line);
}"""


def pale_words(page: Page) -> list[str]:
    """Words of charts with a contrast of less than 4.5:1 to the page, each as a line."""
    return page.evaluate(PALE)


# A group of radio buttons, tabs or tiles is one stop: inside of it the arrow keys move. Whether the focus is seen is
# asked of the nearest box that is large enough to be seen, of what is in it and of what it is in: the look of these
# differs with and without the focus. A table is drawn on a canvas, and draws a frame around the cell itself.
STOPS = """within => {
    const style = document.createElement('style');
    style.textContent = '* { transition: none !important; caret-color: transparent }';
    document.head.append(style);
    const groups = '[role=radiogroup], [role=tablist], [role=toolbar]';
    const unitOf = each => each.closest(groups) ?? each;
    const focusable = 'a[href], button, input, select, textarea, summary, [tabindex]';
    const isSeen = each => each.checkVisibility({visibilityProperty: true}) && !each.closest('[inert]');
    const units = [];
    const walk = root => {
        for (const each of root.querySelectorAll('*')) {
            if (each.matches(focusable) && each.tabIndex >= 0 && !each.disabled && isSeen(each) &&
                !units.includes(unitOf(each))) units.push(unitOf(each));
            if (each.shadowRoot) walk(each.shadowRoot);
        }
    };
    walk(document.querySelector(within));
    const name = each => `${each.tagName.toLowerCase()} ` + (each.getAttribute('aria-label') || each.placeholder ||
        each.innerText || each.closest('[data-testid]')?.innerText || '').trim().slice(0, 60);
    const boxOf = each => {
        let box = each;
        while (box.parentElement && box.clientWidth * box.clientHeight < 100) box = box.parentElement;
        return box;
    };
    const look = each => {
        const box = boxOf(each);
        const around = [box, ...[...box.querySelectorAll('*')].slice(0, 40), box.parentElement,
            box.parentElement?.parentElement, box.parentElement?.parentElement?.parentElement].filter(Boolean);
        return around.map(part => {
            const {outline, boxShadow, borderColor, backgroundColor, color, textDecoration} = getComputedStyle(part);
            return [outline, boxShadow, borderColor, backgroundColor, color, textDecoration].join();
        }).join('|');
    };
    const passed = [];
    document.activeElement?.blur();
    window.stops = {
        names: units.map(name),
        step: async () => {
            await new Promise(requestAnimationFrame);  // React has drawn what has the focus
            let at = document.activeElement;
            while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
            at = at.closest('canvas') ?? at;  // a table's cells are elements within its canvas, which draws their frame
            const isOut = at === document.body;
            if (!isOut) passed.push({at, look: look(at)});
            return {place: units.indexOf(unitOf(at)), name: name(at), isOut};
        },
        unseen: async () => {
            document.activeElement?.blur();
            await new Promise(done => setTimeout(done, 100));  // React draws what has lost the focus
            return passed.filter(each => each.at.tagName !== 'CANVAS' && look(each.at) === each.look)
                .map(each => name(each.at));
        },
    };
    return window.stops.names;
}"""


def tab_through(page: Page, within: str = "html") -> list[str]:
    """The faults for a visitor who uses the Tab key, a line each: what is never reached, what is reached out of order,
    and what does not show that it has the focus. `within` is a part of the page; what was clicked last must be in it or
    right in front of it."""
    names = page.evaluate(STOPS, within)
    assert names, within
    steps: list[dict[str, Any]] = []
    for _ in range(2 * len(names) + 20):
        page.keyboard.press("Tab")
        steps.append(page.evaluate("stops.step()"))
        if within != "html" and steps[-1]["place"] < 0:
            break
        # It begins at what was clicked last, leaves the page at its end, and comes in again at its beginning.
        came_back = len(steps) > 1 and steps[-1]["place"] == steps[0]["place"] != steps[-2]["place"]
        if came_back and any(step["isOut"] for step in steps):
            break
    places = [step["place"] for step in steps]
    back = [names[after] for before, after in itertools.pairwise(places) if 0 <= after < before]
    return [
        *(f"the Tab key does not reach {name!r}" for place, name in enumerate(names) if place not in places),
        *(f"the Tab key goes back to {name!r}" for name in back),
        *(f"{name!r} does not show that it has the focus" for name in page.evaluate("stops.unseen()")),
    ]


def assert_accessible(page: Page, where: object, within: str = "html") -> None:
    """axe-core finds nothing there, every picture and chart of the page has a name, and words in charts are legible."""
    faults = [*violations(page, within), *(f"no name: {picture}" for picture in nameless_pictures(page))]
    faults += pale_words(page)
    assert not faults, "\n".join([f"{where}:", *faults])


def assert_keyboard_goes_everywhere(page: Page, within: str = "html") -> None:
    faults = tab_through(page, within)
    assert not faults, "\n".join(faults)
