"""Every page in its states, in Chromium: `make walk`. What is wrong is printed, and pictures lie in test-results/walk/.

Each state is opened by its link in an app with an empty data folder. Looked for are the faults of axe-core in the light
and in the dark, pictures without a name, pale words of charts, what is wider than its window, errors of the browser's
console, and requests that leave this machine. The pictures show each state light, dark and on a phone, and the states
of `COLOURED` also as people with three kinds of colour blindness see them.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Error, Page, expect

from driving.accessibility import nameless_pictures, pale_words, violations
from driving.actions import PENDING_WORK_JS, listen, no_sideways_scroll, turn, wait_until_ready
from driving.server_process import chromium, logged_errors, served

FOLDER = Path(__file__).parents[1] / "test-results" / "walk"
WIDTHS = (1440, 1024, 390)
HEIGHT, MOST_HEIGHT = 900, 4000
PATIENCE_MS = 300_000
DEFICIENCIES = ("protanopia", "deuteranopia", "tritanopia")
SMALL = "first=shapes-plain-8&second=shapes-resnet-8"
DEEP = "first=shapes-plain-56&second=shapes-resnet-56"
ASKED = f"{SMALL}&n=50&measure=yes"

STATES = {
    "first-view": "/",
    "explore-all-operations": "/?layers=all",
    "explore-rows": "/?layers=main&rows=probe,dead,distance,cka",
    "explore-block": "/?tab=block&first=shapes-resnet-20&second=shapes-plain-20",
    "explore-methods": "/?tab=methods",
    "explore-channels": "/?tab=channels",
    "explore-trust": "/?tab=trust",
    "explore-changed": "/?change=stages.1.0@branch:off&dials=rotation20",
    "explore-attack": "/?attack=epsilon4_second",
    "explore-one-network": "/?first=shapes-resnet-20&second=",
    "explore-wrong-link": "/?layers=wrong",
    "explore-gone": "/?first=mine-0000",
    "build": "/build",
    "build-data": "/build?data=cifar10",
    "compare": "/compare",
    "compare-four": "/compare?networks=shapes-plain-8,shapes-resnet-8,shapes-plain-20,shapes-resnet-20",
    "compare-layers": "/compare?tab=layers",
    "compare-object": "/compare?tab=object",
    "compare-methods": "/compare?tab=methods",
    "compare-ensemble": "/compare?tab=ensemble",
    "compare-settings": "/compare?tab=settings",
    "gradients": "/gradients",
    "gradients-depths": "/gradients?depths=20,56",
    "gradients-trained": "/gradients?source=checkpoint",
    "gradients-record": "/gradients?source=record",
    "gradients-slow": f"/gradients?{SMALL}&slow_take=yes",
    "gradients-geometry": "/gradients?geometry=shattering",
    "models": "/models",
    "models-one": "/models?model=shapes-resnet-20",
    "class": "/class",
    "lesson": "/?hide=menu,text",
    "presentation": "/?present=1",
    "lesions": f"/experiments?question=lesions&{ASKED}",
    "shift": f"/experiments?question=shift&{ASKED}",
    "dial": f"/experiments?question=dial&{ASKED}",
    "attack": f"/experiments?question=attack&{ASKED}",
    "robust": f"/experiments?question=robust&{ASKED}",
    "trust": f"/experiments?question=trust&{SMALL}&n=10&measure=yes",
    "fold": f"/experiments?question=fold&{ASKED}",
    "unit": f"/experiments?question=unit&{ASKED}",
    "time": f"/experiments?question=time&{SMALL}",
    "surface": f"/experiments?question=surface&{DEEP}",
    "surface-two": f"/experiments?question=surface&along=2&{DEEP}",
    "study": "/experiments?question=study",
}
COLOURED = ("first-view", "compare", "gradients", "lesions", "surface", "surface-two", "build")


def main() -> int:
    """Walks through all states, or those whose names follow; 1 where something is wrong."""
    names = sys.argv[1:] or [*STATES]
    if unknown := {*names} - {*STATES}:
        print(f"There is no {', '.join(sorted(unknown))}; there are {', '.join(STATES)}.", file=sys.stderr)
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    faults = 0
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data, log = home / "data", home / "log.txt"
        app = stack.enter_context(served(data, log=log, environment={"HOME": str(home), "EXPLORER_PICTURES": ""}))
        browser = stack.enter_context(chromium())
        for name in names:
            context = browser.new_context(
                base_url=app.url, viewport={"width": WIDTHS[0], "height": HEIGHT}, reduced_motion="reduce"
            )
            context.add_init_script(path=PENDING_WORK_JS)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            try:
                found = [*walked(page, name, app.url)]
            except (AssertionError, Error) as error:
                found = [f"did not come to rest: {str(error).splitlines()[0][:300]}"]
            print(f"{name}: {'in order' if not found else f'{len(found)} faults'}", flush=True)
            print(*(f"    {fault}" for fault in found), sep="\n", end="\n" if found else "", flush=True)
            faults += len(found)
            context.close()
        for line in logged_errors(log):
            print(f"server: {line}")
            faults += 1
    print(f"{len(names)} states, {faults} faults; pictures in {FOLDER.relative_to(Path.cwd())}/")
    return 1 if faults else 0


def walked(page: Page, name: str, url: str) -> Iterator[str]:
    """Opens the state, takes its pictures and yields its faults."""
    heard: list[str] = []
    listen(page, url, heard.append)
    page.goto(STATES[name])
    wait_until_ready(page, quiet_ms=1000)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    for dark in (False, True):
        turn(page, dark=dark)
        shown = "dark" if dark else "light"
        for fault in [*violations(page), *nameless_pictures(page), *pale_words(page)]:
            yield f"{shown}: {fault}"
        _picture(page, f"{name}-{shown}")
    turn(page, dark=False)
    if name in COLOURED:
        emulation = page.context.new_cdp_session(page)
        for kind in DEFICIENCIES:
            emulation.send("Emulation.setEmulatedVisionDeficiency", {"type": kind})
            _picture(page, f"{name}-{kind}")
        emulation.send("Emulation.setEmulatedVisionDeficiency", {"type": "none"})
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        wait_until_ready(page)
        if not no_sideways_scroll(page):
            yield f"is wider than a window of {width} pixels"
    _picture(page, f"{name}-phone")
    yield from heard


def _picture(page: Page, name: str) -> None:
    """Of the whole page: Streamlit scrolls a part of it, so the window is made as high as that."""
    size = page.viewport_size or {"width": WIDTHS[0], "height": HEIGHT}
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": min(MOST_HEIGHT, max(HEIGHT, height))})
    wait_until_ready(page)
    page.screenshot(path=FOLDER / f"{name}.png", animations="disabled", caret="hide")
    page.set_viewport_size(size)


if __name__ == "__main__":
    sys.exit(main())
