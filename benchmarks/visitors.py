"""Visitors who look around at random, over the websocket or in tabs of Chromium, and what they tell of it."""

import io
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from PIL import Image
from playwright.sync_api import Page
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.films import Film
from driving.actions import PENDING_WORK_JS, REST_MS, listen, upload, wait_until_ready
from driving.messages import unpack
from driving.protocol_client import Session, SessionError
from driving.server_process import chromium

THINK = (1.0, 5.0)  # seconds between an answer and the next interaction
# Of a hundred interactions. "drawing" is what "Next" does, and "upload" what a chosen file does: the drawing by its own
# address, then a run of the page that is told of it; "picture" is what a link to another picture does. "stroke" is a
# frame of a drawing by hand, and "block off" switches a block off or back on. A connection is lost between two runs or
# in one. "film" is some steps of the training of one's own run, and then a run of the page.
MIX = {
    "drawing": 18, "picture": 10, "view": 17, "stroke": 10, "block off": 10, "upload": 10, "page": 15, "film": 5,
    "reconnect": 2, "reconnect in a run": 3,
}  # fmt: skip
WITHOUT_RUN = {kind: share for kind, share in MIX.items() if kind != "film"}
FRAMES = 4  # of a film that somebody looks at
STROKE_SIDE = 64  # pixels
TOLD = ", then the page"  # behind the name of such a drawing: the run
PAGES = ("", "build", "compare", "gradients", "models")
TABS = ("layer", "layer", "block", "channels", "trust", "methods")
AWAY_S = (0.25, 0.5)  # for which Streamlit's page waits before it asks whether the server is there again
ASKED = ("/_stcore/health", "/_stcore/host-config")  # what it asks for then


@dataclass
class Tally:
    """Seconds of each interaction by its kind, and what went wrong; visitors of all threads write into one."""

    taken: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, seconds: float) -> None:
        with self._lock:
            self.taken.setdefault(kind, []).append(seconds)

    def fail(self, kind: str, error: BaseException) -> None:
        with self._lock:
            self.errors.append(f"{kind}: {error}")

    def waited(self) -> list[float]:
        """What visitors waited for, over the websocket and in tabs. The run that the page makes after a drawing has a
        row of its own: nobody waits for it, and as it is quick it would only make the whole look better."""
        return [seconds for kind, taken in self.taken.items() if not kind.endswith(TOLD) for seconds in taken]


class _CutError(Exception):
    """The connection was lost in a run."""


class Tab(Session):
    """A session that loses its connection and comes back as Streamlit's page does in a browser.

    Streamlit 1.67 waits a moment, asks whether the server is there, connects with the session's id, and asks for a run
    of the whole page only where one had begun and not ended (`handleConnectionStateChanged`). It asks once: where that
    answer goes to the connection that is gone, the page waits until somebody clicks, so here that is an error.
    """

    def __init__(self, url: str, owner: str | None = None) -> None:
        super().__init__(url, owner)
        self._cut_after: int | None = None  # messages of a run
        self._run = ""  # the last that began
        self._cut = ""  # the run that the lost connection was to hear of

    def come_back(self) -> None:
        """Loses the connection without a word and is there again, as the same session; nothing is asked for."""
        self._drop()
        time.sleep(random.uniform(*AWAY_S))
        for address in ASKED:
            self.file(address)
        self._connect()

    def rerun_cut(self, messages: int, page: str = "", **query: str) -> float:
        """Shows a view, and loses the connection after so many messages of the answer: seconds from then until the
        whole answer to what the page asks for when it is back is here; of an answer that is no longer, all of it."""
        before, self._cut_after = self.id, messages
        try:
            return self.rerun(page, **query)
        except _CutError:
            started = time.perf_counter()
        finally:
            self._cut_after = None
        self.come_back()
        self._request(self._state(""))
        if before not in ("", self.id):
            raise SessionError(f"session {before} came back as {self.id}")
        return time.perf_counter() - started

    def _receive(self) -> ForwardMsg:
        while True:
            message = super()._receive()
            kind, run = message.WhichOneof("type"), message.metadata.run.script_run_id
            if kind == "script_finished" and run and run == self._cut:
                continue  # what was still to be told of it; it says nothing of the run that was asked for since
            if kind == "new_session":
                self._run = run
            if self._cut_after is not None and kind != "script_finished" and len(self.answer) >= self._cut_after:
                self._cut = self._run
                raise _CutError
            return message


class Visitor:
    """Somebody who looks around at random: pictures, layers, scales, classes, uploads, pages, lost connections.

    After a drawing or a film, `told` is how the browser lets the page know of it.
    """

    def __init__(self, url: str, number: int, owner: str | None = None, film: Film | None = None) -> None:
        """The owner of the `film`, if any, is this visitor."""
        self.dice = random.Random(number)
        self.session = Tab(url, film.owner if film else owner)
        self.film = film
        self.query: dict[str, str] = {}  # of Explore
        self.page = ""
        self.told: Callable[[], float] | None = None

    def act(self, kind: str) -> float:
        """Seconds until the page has answered. `kind` is one of MIX, "film" of who has one. Raises SessionError."""
        self.told = None
        if kind.startswith("reconnect"):
            return self._come_back(in_a_run=kind != "reconnect")
        if kind == "page":
            self.page = self.dice.choice([page for page in PAGES if page != self.page])
            return self.session.rerun(self.page)
        if kind == "upload":
            return self.show(random_picture(self.dice.randrange(2**32)), f"photo {self.dice.randrange(1000)}.png")
        if kind == "drawing":
            return self._draw()
        if kind == "stroke":
            return self._stroke()
        if kind == "block off":
            return self._switch()
        if kind == "film":
            return self._watch()
        changes = self._another_view() if kind == "view" else {"picture": self._drawn()}
        return self.explore(self.query | changes)

    def _come_back(self, in_a_run: bool) -> float:
        """Loses the connection; seconds until another view is here, which was asked for before or is so at once."""
        if self.page:
            self.explore(self.query)  # the page asks for the page that it shows, not for the one it was to turn to
        view = self.query | self._another_view()
        started = time.perf_counter()
        if in_a_run:
            self.query = view
            return self.session.rerun_cut(self.dice.randint(2, 30), **view)
        self.session.come_back()
        self.explore(view)
        return time.perf_counter() - started

    def _draw(self) -> float:
        """Another drawn shape, which the browser asks for before the page hears of it."""
        if self.page:
            self.explore(self.query)
        picture = self._drawn()
        taken = self.session.explain(picture=picture)
        self.query = {**self.query, "picture": picture}
        self.told = lambda: self.session.rerun(**self.query)
        return taken

    def _stroke(self) -> float:
        """A drawing by hand with one more stroke. The session keeps none of it, and the page never hears of it."""
        if self.page:
            self.explore(self.query)
        pixels = np.full((STROKE_SIDE, STROKE_SIDE, 3), 255, np.uint8)
        row, column = (self.dice.randrange(STROKE_SIDE - 3) for _ in range(2))
        pixels[row : row + 3, column:] = self.dice.randrange(200)
        drawing = {"kind": "drawing", "size": [STROKE_SIDE, STROKE_SIDE], "mask": False}
        return self.session.explain(pixels.tobytes(), drawing=drawing)

    def _switch(self) -> float:
        """One block switched off, or all of them back on; the browser keeps that in its address by itself."""
        if self.page:
            self.explore(self.query)
        block = f"stages.{self.dice.randrange(3)}.{self.dice.randint(1, 2)}"
        return self.session.explain(change=self.dice.choice(["", f"{block}:off", f"{block}:off"]))

    def _watch(self) -> float:
        """Seconds of the slowest of some frames of the film. Each is asked for once the one before is here, and of the
        steps that a hand passed meanwhile the newest alone. The last step is where it rests."""
        assert self.film is not None
        before, (first, second) = self.query, self.film.networks
        view = {"first": first, "second": second, "picture": self._drawn()}
        self.explore(view)
        self.page, self.query = "film", before  # whatever follows leads back to the view before
        steps = sorted(self.dice.sample(self.film.steps[:-1], FRAMES))
        taken = max(self.session.explain(step=step) for step in steps)
        self.told = lambda: self.session.rerun(**view, step=str(steps[-1]))
        return taken

    def tell(self) -> float:
        """Lets the page know of the last picture; seconds until it has run, for which nobody waits."""
        assert self.told is not None
        told, self.told = self.told, None
        return told()

    def explore(self, query: dict[str, str]) -> float:
        """Shows that view: a run of the page, and then what its viewer asks for."""
        self.page, self.query = "", query
        taken = self.session.rerun(**query)
        return taken + self.session.explain(with_run=True)

    def show(self, content: bytes, name: str) -> float:
        """Gives a file to Explore, which is drawn before the page hears of it."""
        if self.page:
            self.explore(self.query)
        taken = self.session.explain(content, name=name)
        self.query = {**self.query, "picture": picture_of(self.session.answer[0])}
        self.told = lambda: self.session.rerun(**self.query)
        return taken

    def look_at(self, content: bytes, name: str) -> float:
        """The same with the run of the page."""
        return self.show(content, name) + self.tell()

    def _drawn(self) -> str:
        return f"sample-{self.dice.randrange(10)}-{self.dice.randrange(1_000_000)}"

    def _another_view(self) -> dict[str, str]:
        dice = self.dice
        layer = f"stages.{dice.randrange(3)}.{dice.randrange(3)}.conv{dice.randint(1, 2)}"
        return dice.choice(
            [
                {"layer": layer},
                {"layer": layer, "tab": dice.choice(TABS)},
                {"scope": dice.choice(["layer", "network", "both"])},
                {"target": str(dice.randrange(10))},
                {"layers": dice.choice(["blocks", "main", "all"])},
            ]
        )


def picture_of(message: bytes) -> str:
    """How a view names the picture that the message shows."""
    return str(unpack(message)[0]["picture"])


def random_picture(seed: int, side: int = 240) -> bytes:
    """A PNG of coloured squares, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).save(content, "PNG")
    return content.getvalue()


def crowd(
    url: str,
    sessions: int,
    seconds: float,
    tally: Tally,
    *,
    think: tuple[float, float] = THINK,
    tabs: int = 0,
    whole: bool = False,
    most: int | None = None,
    each_kind: bool = False,
    films: Sequence[Film] = (),
) -> None:
    """So many visitors for so long, or until all together have had `most` interactions; and Chromium tabs beside. With
    `each_kind` the first interactions of all together are one of each kind, in place of chance. Of the `films` each
    visitor has one; without any nobody watches one."""
    until = time.monotonic() + seconds
    left = [most if most is not None else sys.maxsize]
    mix = MIX if films else WITHOUT_RUN
    due = [*mix] if each_kind else []
    lock = threading.Lock()

    def goes_on() -> bool:
        with lock:
            left[0] -= 1
            return left[0] >= 0 and time.monotonic() < until

    def following(dice: random.Random) -> str:
        with lock:
            return due.pop() if due else dice.choices([*mix], [*mix.values()])[0]

    def visit(number: int) -> None:
        dice, visitor = random.Random(1000 + number), None
        time.sleep(dice.uniform(0, think[1]))  # nobody opens a page at the same moment
        while goes_on():
            kind = "first view"
            try:
                if visitor is None:
                    visitor = Visitor(url, number, film=films[number] if films else None)
                    tally.add(kind, visitor.explore({}))
                else:
                    kind = following(dice)
                    tally.add(kind, visitor.act(kind))
                    if visitor.told:
                        kind += TOLD
                        tally.add(kind, visitor.tell())
            except SessionError as error:
                tally.fail(kind, error)
                if visitor:
                    visitor.session.close()
                visitor = None
            except Exception as error:  # a thread's own would only be printed, and the stage would look well
                tally.fail(kind, error)
                raise
            time.sleep(dice.uniform(*think))
        if visitor:
            visitor.session.close()

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(sessions)]
    if tabs:
        threads.append(threading.Thread(target=browse, args=(url, tabs, until, tally, think, whole, each_kind)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def browse(
    url: str, tabs: int, until: float, tally: Tally, think: tuple[float, float], whole: bool, each_kind: bool
) -> None:
    """Real tabs of Chromium, each with a session of its own, that take turns. `whole` as in `find_chromium`."""
    dice = random.Random(0)
    try:
        with chromium("--no-first-run", whole=whole) as browser:
            pages = []
            for _ in range(tabs):
                page = browser.new_context(base_url=url, reduced_motion="reduce").new_page()
                page.add_init_script(path=PENDING_WORK_JS)
                page.set_default_timeout(120_000)
                listen(page, url, lambda words: tally.fail("tab", SessionError(words)))
                pages.append(page)
            for number, page in enumerate(pages):
                _timed(tally, "tab, first view", page, partial(page.goto, "/"))
                page.locator("button.picture").click()
                name, content = f"photo {number}.png", random_picture(number)
                _timed(tally, "tab, upload", page, partial(upload, page, "bar", name, "image/png", content))
                if not page.get_by_text(name).count():
                    tally.fail("tab, upload", SessionError(f"{name} is nowhere on the page"))
            if each_kind:
                _timed(tally, "tab, reload", pages[0], pages[0].reload)
                _timed(tally, "tab, page", pages[0], partial(pages[0].goto, "/"))
                following = pages[0].get_by_role("button", name="Next", exact=True)
                _timed(tally, "tab, picture", pages[0], following.click)
            while time.monotonic() < until:
                page = dice.choice(pages)
                following = page.get_by_role("button", name="Next", exact=True)
                ways: dict[str, Callable[[], object]] = {
                    "tab, page": partial(page.goto, "/" + dice.choice(PAGES)),
                    "tab, reload": page.reload,
                }
                if following.count():  # on the pages that have a picture
                    ways["tab, picture"] = following.click
                kind = dice.choice([*ways])
                _timed(tally, kind, page, ways[kind])
                time.sleep(dice.uniform(*think) / tabs)
    except Exception as error:
        tally.fail("tab", error)


def _timed(tally: Tally, kind: str, page: Page, act: Callable[[], object]) -> None:
    start = time.perf_counter()
    act()
    wait_until_ready(page)
    tally.add(kind, time.perf_counter() - start - REST_MS / 1000)
    if page.get_by_text("Something went wrong").count():
        tally.fail(kind, SessionError(page.get_by_text("Something went wrong").first.inner_text()))
