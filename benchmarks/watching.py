"""What a person does with a page in Chromium, and how long it takes until the page is drawn, measured inside of it."""

import time
from collections.abc import Callable

from playwright.sync_api import Browser, Page

from benchmarks.visitors import random_picture

QUIET_MS = 700  # without any change: then the page is drawn
TIMEOUT_S = 120

# Every change below the page and the sidebar counts, in components too, and every picture that has been decoded. The
# sign of work in the corner does not: it goes on its own time. Nor do Streamlit's marks of what a running script has
# not drawn again yet: their style, "opacity 1s ease-in 0.5s", shows nothing for half a second. `rest` counts them too.
# `main` is the last change outside of the sidebar, where an uploader says how far it is.
WATCH = """() => {
  const bench = (window.bench ??= { start: 0, last: 0, main: 0, rest: 0, seen: new WeakSet() });
  const shows = ({ type, attributeName, target }) => type !== "attributes"
    || !["class", "data-stale"].includes(attributeName) || !target.matches("[data-stale], [role=tablist]");
  const watch = (root) => {
    if (bench.seen.has(root)) return;
    bench.seen.add(root);
    const aside = (root.host ?? root).closest("[data-testid=stSidebar]");
    const now = () => {
      bench.last = bench.rest = performance.now();
      if (!aside) bench.main = bench.last;
    };
    new MutationObserver((records) => {
      if (records.some(shows)) now();
      bench.rest = performance.now();
      for (const record of records) record.addedNodes.forEach(components);
    }).observe(root, { subtree: true, childList: true, attributes: true, characterData: true });
    root.addEventListener("load", now, true);
  };
  const components = (node) => {
    const inside = node.querySelectorAll ? [node, ...node.querySelectorAll("*")] : [];
    for (const element of inside) if (element.shadowRoot) watch(element.shadowRoot);
  };
  document.querySelectorAll("[data-testid=stMain], [data-testid=stSidebar]").forEach(watch);
  components(document.body);
}"""
SETTLED = """quiet => document.querySelector("[data-testid=stApp]")?.dataset.testScriptState === "notRunning"
  && !document.querySelector("[data-testid=stSkeleton]") && document.documentElement.dataset.viewer !== "busy"
  && window.bench.last > window.bench.start && performance.now() - window.bench.rest > quiet"""
DRAWN = """() => document.querySelector("[data-testid=stApp]")?.dataset.testScriptState === "notRunning"
  && !document.querySelector("[data-testid=stSkeleton]")"""


def inside(selector: str) -> str:
    """The first element of a component that fits, in JavaScript."""
    return f"""[...document.querySelectorAll("*")]
      .map(each => each.shadowRoot?.querySelector("{selector}")).find(Boolean)"""


STRIP = inside(".strip")

AGAIN = "document.querySelector('[data-testid=stButton] button').click()"
NEXT = f"{inside('.bar .next')}.click()"


def layer_of(strip: int) -> str:
    """Another layer in the strip of that network, one after the other: no click meets the chosen one."""
    return f"""const all = [...{STRIP}.querySelectorAll('button[data-place^="{strip}/cam/"]')].filter(
        each => /^stages\\.[0-9]+\\.[0-9]+,/.test(each.ariaLabel));
      window.turn = ((window.turn ?? 0) + 5) % all.length;
      [window.before, window.chosen] = [window.chosen, all[window.turn]];
      window.chosen.click();"""


BEFORE = "[window.before, window.chosen] = [window.chosen, window.before]; window.chosen.click();"
"""The layer before that one, whose data the browser has."""


# The tile after the chosen one, on the first sheet of feature maps.
CHANNEL = f"""const tiles = [...{inside("div.tiles")}.querySelectorAll("button")];
  tiles[(tiles.findIndex(each => each.ariaPressed === "true") + 1) % tiles.length].click();"""
SCALE = f"""const all = [...{inside(".scopes")}.querySelectorAll("input")];
  all[(all.findIndex(each => each.checked) + 1) % all.length].click();"""
# To another factor each time: 30 of them, before one comes again.
DIAL = f"""const dial = {inside("#factor")};
  window.moves = (window.moves ?? 0) + 7;
  dial.value = String(-1 + (window.moves % 30) / 10);
  dial.dispatchEvent(new Event("input"));"""
CHANGES = {"another layer": layer_of(1), "another channel": CHANNEL, "another colour scale": SCALE}


# What a person drops: these bytes as a file.
CARRIED = """bytes => {
  const carried = new DataTransfer();
  carried.items.add(new File([Uint8Array.from(bytes)], "dropped.png", { type: "image/png" }));
  return carried;
}"""
DROPPED = 10_000  # numbers of the pictures that are dropped: none of them was chosen before


def opened(browser: Browser, url: str, owner: str = "") -> Page:
    """The page of a new visitor, or of that owner of a run, drawn."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(TIMEOUT_S * 1000)
    if owner:
        context.add_cookies([{"name": "explorer_owner", "value": owner, "url": url}])
    page = context.new_page()
    page.goto(url)
    page.wait_for_function(DRAWN, polling=50)
    page.evaluate(WATCH)
    page.wait_for_timeout(2000)  # until what is loaded lately is there
    return page


def seconds_to_draw(page: Page, act: str) -> tuple[float, float]:
    """From the click to the last change of the page, or the last picture that was loaded; and until all is at rest."""
    page.bring_to_front()
    page.evaluate(WATCH)
    page.evaluate("act => { bench.start = performance.now(); new Function(act)(); }", act)
    return _drawn(page)


def seconds_to_answer(page: Page, act: Callable[[], object]) -> float:
    """The same up to the last change, of what only a real keyboard does."""
    page.evaluate(WATCH)
    page.evaluate("bench.start = performance.now()")
    act()
    return _drawn(page)[0]


def seconds_to_explain(page: Page, number: int, *, dropped: bool = False) -> float:
    """From the choice of a file, or from its drop, to the last change outside of the sidebar: the last chart of it."""
    page.bring_to_front()
    if number == 0 and not dropped:
        page.locator("button.picture").click()
        page.wait_for_timeout(2000)
    page.evaluate(WATCH)
    page.evaluate("bench.start = Infinity")
    box = page.locator(".zone" if dropped else ".st-key-bar input[type=file]")
    begin = "(box, kind) => box.addEventListener(kind, () => (bench.start = performance.now()), { once: true })"
    box.evaluate(begin, "drop" if dropped else "change")  # outside of its component nobody hears of a change
    if dropped:
        carried = page.evaluate_handle(CARRIED, [*random_picture(DROPPED + number)])
        box.dispatch_event("drop", {"dataTransfer": carried})
    else:
        box.set_input_files({"name": f"{number}.png", "mimeType": "image/png", "buffer": random_picture(number)})
    _drawn(page)
    return float(page.evaluate("bench.main - bench.start")) / 1000


def _drawn(page: Page) -> tuple[float, float]:
    page.wait_for_function(SETTLED, arg=QUIET_MS, polling=50)
    drawn, rest = page.evaluate("[bench.last - bench.start, bench.rest - bench.start]")
    return drawn / 1000, rest / 1000


def seconds_to_open(page: Page, url: str, what: str = "") -> float:
    """Until the page is drawn and shows `what`, a selector; without one, the depth strip."""
    page.bring_to_front()
    started = time.perf_counter()
    page.goto(url)
    there = f"document.querySelector('{what}')" if what else STRIP
    page.wait_for_function(f"() => {there} && ({DRAWN})()", polling="raf")
    return time.perf_counter() - started
