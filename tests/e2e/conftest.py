"""The app as a user meets it: `server` runs it, `page` shows it in Chromium.

A page fails its test when a request leaves this machine, when the browser's console shows an error, when Streamlit
shows an exception, or when the server prints anything besides its welcome. It fails, and never skips, without Chromium.
"""

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, expect, sync_playwright

from driving.actions import PENDING_WORK_JS, listen
from driving.chromium import BROWSER_ARGUMENTS, DEAD_PROXY, MISSING, SHELL, find_chromium, launch_browser
from driving.server_process import ROOT, served
from tests.conftest import keep_speed
from tests.made_runs import taken_queue

SCREENSHOTS = ROOT / "test-results"
TIMEOUT_S = 60
PATIENCE = 180_000  # milliseconds for what a machine has to compute: a training, a measurement

WELCOME = re.compile(
    r"\s*(|You can now view your Streamlit app in your browser\.|URL: http://\S+|Stopping\.\.\."
    r"|\S+ \S+ Uvicorn server started on \S+)\s*"
)

# For pages that are opened often and live for seconds.
ARGUMENTS = [
    *BROWSER_ARGUMENTS,
    # With site isolation each new page has a new process. Without it one process keeps the scripts and fonts for all.
    "--disable-site-isolation-trials",
    # The scripts come compiled out of the browser's cache; without the first two flags threads compile them once more.
    # No page lives long enough for optimised code to pay.
    "--js-flags=--no-script-streaming --no-concurrent-cache-deserialization --no-opt --no-maglev --single-threaded-gc",
    # What pages ask for need not go through a process of its own, which takes a twelfth of the browser's work. The
    # other features are those that Playwright asks for, whose list this one replaces.
    "--enable-features=NetworkServiceInProcess2,CDPScreenshotNewSurface,SkipListAccountsWithoutGaiaCookies",
    # A camera that shows a moving test image, and is given without a question.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]

HAS_FAILED = pytest.StashKey[bool]()


@dataclass(frozen=True)
class Server:
    url: str
    log: TextIO
    data: Path
    begun: list[str] = field(default_factory=list)  # a line of the log that has no end yet

    def complaints(self, *, at_the_end: bool = False) -> list[str]:
        """What it printed since the last call, without the welcome: warnings and tracebacks, in whole lines until the
        end."""
        *lines, rest = "".join([*self.begun, self.log.read()]).split("\n")
        self.begun[:] = [rest]
        if at_the_end:
            lines.append(rest)
        return [f"server: {line}" for line in lines if not WELCOME.fullmatch(line)]


@dataclass(frozen=True)
class Visit:
    """One visitor's browser, which is kept for the tests to come, and what was wrong in it."""

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    def leave(self) -> None:
        for page in self.context.pages[1:]:  # the first stays: with the last one Chromium would end
            page.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[HAS_FAILED] = True
    return report


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on a free port, with the repository's own Streamlit settings, an empty home and an empty data folder.

    Its way into the network is a port at which nobody answers, so that a download fails at once on every machine.
    """
    home = tmp_path_factory.mktemp("home")
    data = tmp_path_factory.mktemp("data")
    keep_speed(data)
    scratch = tmp_path_factory.mktemp("tmp")
    log = tmp_path_factory.mktemp("server") / "log.txt"
    # What is kept of a session that has gone may go after 5 seconds; else Streamlit waits for 2 minutes.
    environment = {"HOME": str(home), "TMPDIR": str(scratch), "EXPLORER_PICTURES": "", "https_proxy": DEAD_PROXY}
    environment["EXPLORER_DOWNLOAD_PAUSES"] = ""  # who does not answer is asked once
    log.touch()
    with log.open(errors="replace") as reader:
        try:
            with served(data, "--server.disconnectedSessionTTL=5", log=log, environment=environment) as app:
                running = Server(app.url, reader, data)
                yield running
                for run in data.glob("runs/*/request.json"):
                    run.with_name("stop").touch()  # a training outlives the app
        except RuntimeError as error:
            pytest.fail(str(error), pytrace=False)
        if complaints := running.complaints(at_the_end=True):
            pytest.fail("\n".join(complaints), pytrace=False)


@pytest.fixture
def queue_is_taken(server: Server) -> Iterator[None]:
    """Runs of this test wait and do not train."""
    with taken_queue(server.data):
        yield


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        expect.set_options(timeout=TIMEOUT_S * 1000)
        yield playwright


@pytest.fixture(scope="package")
def chromium() -> str:
    executable = find_chromium()
    if executable is None:
        pytest.fail(MISSING.format(SHELL), pytrace=False)
    return executable


@pytest.fixture(scope="package")
def browsers(
    playwright: Playwright, chromium: str, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], BrowserContext]]:
    """`browsers(number)`: the browser of the first visitor of every test, of the second and so on. Streamlit's code
    comes out of its cache and is compiled already, which is a quarter of the work of showing a page. The first has a
    profile on the disk, and each other one its own cookies, storage and cache in the memory of the same process."""
    kept: list[BrowserContext] = []

    def launch() -> BrowserContext:
        if kept:
            assert kept[0].browser
            return kept[0].browser.new_context(**_screen(server))
        return playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=chromium, args=ARGUMENTS, **_screen(server)
        )

    def browser(number: int) -> BrowserContext:
        while number >= len(kept):
            kept.append(launch_browser(launch))
            kept[-1].add_init_script(path=PENDING_WORK_JS)
        return kept[number]

    yield browser
    for context in reversed(kept):
        context.close()


@pytest.fixture
def open_page(
    browsers: Callable[[int], BrowserContext], server: Server, request: pytest.FixtureRequest
) -> Iterator[Callable[[], Page]]:
    """`open_page()`: another visitor, with an own session and own cookies, and a light desktop screen of 1440x900.
    Give paths alone to `page.goto`."""
    visits: list[Visit] = []

    def open_page() -> Page:
        visit = Visit(browsers(len(visits)))
        visits.append(visit)
        return _enter(visit, server)

    yield open_page

    complaints = [complaint for visit in visits for complaint in [*visit.complaints, *_exceptions_on(visit)]]
    complaints += server.complaints()
    if complaints or request.node.stash.get(HAS_FAILED, False):
        _take_screenshots(visits, request.node.name)
    for visit in visits:
        visit.leave()
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


@pytest.fixture
def page(open_page: Callable[[], Page]) -> Page:
    """A visitor with a light desktop screen of 1440x900, nothing opened yet: `visit(page)` does."""
    return open_page()


def _screen(server: Server) -> dict[str, Any]:
    return {
        "base_url": server.url,
        "viewport": {"width": 1440, "height": 900},
        "color_scheme": "light",
        "reduced_motion": "reduce",
        "ignore_https_errors": True,  # proxies of tests sign their own certificates
    }


def _enter(visit: Visit, server: Server) -> Page:
    """A page of that visitor, who has never been here. It is listened to from now on."""
    visit.context.set_default_timeout(TIMEOUT_S * 1000)
    page = visit.context.new_page()
    visit.context.clear_cookies()
    storage = visit.context.new_cdp_session(page)
    storage.send("Storage.clearDataForOrigin", {"origin": server.url, "storageTypes": "local_storage"})
    storage.detach()
    listen(page, server.url, visit.complaints.append)
    return page


def _exceptions_on(visit: Visit) -> list[str]:
    return [
        f"exception on {page.url}: {text}"
        for page in visit.context.pages
        for text in page.get_by_test_id("stException").all_inner_texts()
    ]


def _take_screenshots(visits: list[Visit], test: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    stem = re.sub(r"[^\w.-]+", "_", test)
    pages = [page for visit in visits for page in visit.context.pages if page.url != "about:blank"]
    for number, page in enumerate(pages, start=1):
        page.screenshot(path=SCREENSHOTS / f"{stem}-{number}.png", full_page=True)
