"""Many visitors at once: how long they wait, what fails, and what the server keeps of them afterwards.

`python -m benchmarks load` (or `make load`) runs stages of visitors over the websocket with a few Chromium tabs beside
them, a training and a loss surface beside five visitors, and two soaks: many interactions, and many sessions that come
and vanish.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

from benchmarks.films import Film, write_films
from benchmarks.rows import Bound, Report, Row, at_most, machine, percentile
from benchmarks.runs import RERUN_BOUND, SESSIONS, trained, visits
from benchmarks.visitors import PAGES, TABS, THINK, Tally, Visitor, crowd, random_picture
from driving.protocol_client import Session
from driving.server_process import logged_errors, served
from explorer.checkpoints import load_pretrained
from explorer.datasets.shapes import Drawn
from explorer.experiments import surface_runs
from explorer.experiments.loss_surface import SurfaceSettings, stored
from explorer.presets import cifar

P95_BOUNDS = {20: 3.0, 40: 10.0}  # seconds, by sessions
RECOVERED_S, RECOVERY_BOUND = 1.0, 60.0
INTERACTIONS, INTERACTIONS_BOUND = 500, 50.0  # MB
VANISHING, VANISHING_BOUND = 200, 100.0  # MB
CEILING_BOUND = 2500.0  # MB
# More than before, after everyone has left. The pools of asyncio (processors + 4) and of anyio keep idle threads.
THREADS_BOUND, DESCRIPTORS_BOUND = 16, 8
TTL = 10  # seconds for which the server keeps a session that lost its connection
BUSY_S = 45.0  # in which visitors of all kinds come while everything goes on
AT_ONCE = 8  # of the sessions that come and vanish

Found = tuple[list[Row], list[str]]  # and what went wrong


class Taking(NamedTuple):
    """What a process takes."""

    megabytes: float
    threads: int
    descriptors: int


class Watch:
    """Looks at what a process takes; `peak` is the largest of each that was seen since `watching` began."""

    def __init__(self, process: int) -> None:
        self._process = psutil.Process(process)
        self.peak = Taking(0.0, 0, 0)

    def cpu_seconds(self) -> float:
        """Processor time that it has taken so far, its own and the system's for it."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def now(self) -> Taking:
        process = self._process
        seen = Taking(process.memory_info().rss / 1e6, process.num_threads(), process.num_fds())
        most = self.peak
        self.peak = Taking(
            max(most.megabytes, seen.megabytes),
            max(most.threads, seen.threads),
            max(most.descriptors, seen.descriptors),
        )
        return seen

    @contextmanager
    def watching(self) -> Iterator[None]:
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.25):
                self.now()

        thread = threading.Thread(target=look)
        self.peak = Taking(0.0, 0, 0)
        self.now()
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.now()


def warm_up(url: str) -> None:
    """Every page and every part of a layer's detail once: what is imported and cached then belongs to nobody."""
    visitor = Visitor(url, 0)
    for page in PAGES:
        visitor.session.rerun(page)
    for tab in dict.fromkeys(TABS):
        visitor.explore({"tab": tab, "layers": "all"})
    visitor.look_at(random_picture(0), "photo.png")
    visitor.session.close()


def settle(url: str, watch: Watch, ttl: float = TTL) -> Taking:
    """What the process takes after every session that is gone has been forgotten.

    Streamlit forgets those whose time is over when it stores the next, so one more comes and goes, which it keeps;
    script threads and what their sessions held end a little later.
    """
    time.sleep(ttl + 1.5)
    last = Session(url)
    last.rerun("models")
    last.close()
    time.sleep(2)
    return watch.now()


def recovery(url: str) -> float:
    """Seconds until a session's re-run with a new picture takes at most a second again."""
    session, dice, start = Session(url), random.Random(1), time.monotonic()
    session.rerun()
    while True:
        taken = session.rerun(picture=f"sample-{dice.randrange(10)}-{dice.randrange(1_000_000)}")
        if taken <= RECOVERED_S or time.monotonic() - start > 2 * RECOVERY_BOUND:
            session.close()
            return time.monotonic() - start
        time.sleep(0.5)


def stage_rows(
    url: str,
    watch: Watch,
    sessions: int,
    seconds: float,
    tabs: int,
    think: tuple[float, float],
    films: Sequence[Film] = (),
) -> Found:
    """One stage: so many sessions for so long, what they waited, and what is left of them afterwards."""
    tally, before, spent = Tally(), watch.now(), watch.cpu_seconds()
    with watch.watching():
        crowd(url, sessions, seconds, tally, think=think, tabs=tabs, whole=True, films=films)
    spent = watch.cpu_seconds() - spent
    peak, recovered = watch.peak, recovery(url)
    count = sum(map(len, tally.taken.values()))
    rows = time_rows(f"{sessions} sessions", tally, P95_BOUNDS.get(sessions))
    rows.append(Row(f"{sessions} sessions: processor time an interaction", f"{spent / max(1, count):.2f} s", count))
    figure = f"{sessions} sessions: until one session's re-run takes ≤ {RECOVERED_S:g} s again"
    rows.append(Row(figure, f"{recovered:.1f} s", 1, at_most(recovered, RECOVERY_BOUND, " s")))
    return rows + kept_rows(f"{sessions} sessions", before, peak, settle(url, watch)), tally.errors


def time_rows(title: str, tally: Tally, bound: float | None) -> list[Row]:
    rows = [Row(f"{title}: {kind}", _percentiles(taken), len(taken)) for kind, taken in sorted(tally.taken.items())]
    taken = tally.waited()
    if taken:
        within = None if bound is None else at_most(percentile(taken, 0.95), bound, " s", "p95")
        rows.append(Row(f"{title}: **all**", _percentiles(taken), len(taken), within))
    return [*rows, _errors_row(title, tally, sum(map(len, tally.taken.values())))]


def _errors_row(title: str, tally: Tally, n: int) -> Row:
    return Row(f"{title}: errors", str(len(tally.errors)), n, Bound("0", not tally.errors))


def _percentiles(taken: Sequence[float]) -> str:
    values = [*taken]
    return " / ".join(f"{percentile(values, share):.2f}" for share in (0.5, 0.95, 0.99)) + " s"


def kept_rows(title: str, before: Taking, peak: Taking, after: Taking) -> list[Row]:
    """What the server takes: before, at its peak, and after everyone has left."""
    memory = f"{before.megabytes:,.0f} / {peak.megabytes:,.0f} / {after.megabytes:,.0f} MB"
    within = at_most(peak.megabytes, CEILING_BOUND, " MB", "peak")
    rows = [Row(f"{title}: memory before / peak / after", memory, 1, within)]
    for some, bound in (("threads", THREADS_BOUND), ("descriptors", DESCRIPTORS_BOUND)):
        first, highest, last = (getattr(each, some) for each in (before, peak, after))
        within = Bound(f"after ≤ before + {bound}", last <= first + bound)
        rows.append(Row(f"{title}: {some} before / peak / after", f"{first} / {highest} / {last}", 1, within))
    return rows


def training_rows(url: str, films: Sequence[Film] = ()) -> Found:
    """Five visitors who ask for one picture after the other while a run trains beside them, while a loss surface is
    measured, and while both go on; then visitors of all kinds, with `films`, while both go on."""
    rows, tally = [], Tally()
    try:
        for words, trains, measures in (
            ("while a run trains", True, False),
            ("while a loss surface is measured", False, True),
            ("while a run trains and a loss surface is measured", True, True),
        ):
            with (
                trained(cifar(20), cifar(20, "none")) if trains else nullcontext(),
                measured_surface() if measures else nullcontext(),
            ):
                taken = visits(url)
                if trains and measures:
                    crowd(url, SESSIONS, BUSY_S, tally, think=THINK, films=films)
            within = at_most(percentile(taken, 0.95), RERUN_BOUND, " s", "p95")
            rows.append(Row(f"{SESSIONS} sessions {words}", _percentiles(taken), len(taken), within))
    except RuntimeError as error:  # a SessionError is one too
        return rows, [f"{words}: {error}"]
    return [*rows, *time_rows(f"{SESSIONS} sessions, both going on", tally, None)], tally.errors


@contextmanager
def measured_surface() -> Iterator[None]:
    """A surface of plain-56 that its own process measures meanwhile, as the page's button starts it; deleted
    afterwards. Raises RuntimeError where it ends before it is measured."""
    checkpoint = load_pretrained("shapes-plain-56")
    settings = SurfaceSettings(2, 51, n=1000, splits=("train",), directions=0)
    facts = surface_runs.NetworkFacts(checkpoint.spec.name, "shapes-plain-56", "none", checkpoint.spec.classes)
    images = stored.images(Drawn.read(checkpoint.data), settings)
    asked = [surface_runs.AskedSurface(0, settings)]
    run = surface_runs.create("load", "", [(facts, checkpoint)], images, checkpoint.class_names, asked)
    try:
        surface_runs.start(run)
        while (state := surface_runs.progress(run).state) != "measuring":
            if state not in ("new", "waiting"):
                raise RuntimeError(f"The surface is {state} before its first point.")
            time.sleep(0.1)
        yield
    finally:
        surface_runs.stop(run)
        while surface_runs.progress(run).state in ("waiting", "measuring"):
            time.sleep(0.1)
        surface_runs.delete(run)


def soak_rows(url: str, watch: Watch, interactions: int, vanishing: int, films: Sequence[Film] = ()) -> Found:
    """What stays in memory of many interactions of a few sessions, and of many sessions that came and vanished."""
    rows, tally = [], Tally()
    # The first views of everything fill what all share; how much that is belongs to no interaction.
    crowd(url, SESSIONS, 3600, tally, think=(0.0, 0.0), most=interactions // 2, films=films)
    before = settle(url, watch)
    with watch.watching():
        crowd(url, SESSIONS, 3600, tally, think=(0.0, 0.0), most=interactions, films=films)
    after = settle(url, watch)
    rows.append(_growth_row(f"{interactions} interactions", before, after, INTERACTIONS_BOUND, interactions))
    rows += kept_rows(f"{interactions} interactions", before, watch.peak, after)
    with watch.watching():
        come_and_vanish(url, vanishing, tally)
    after, before = settle(url, watch), after
    rows.append(_growth_row(f"{vanishing} sessions opened and dropped", before, after, VANISHING_BOUND, vanishing))
    rows += kept_rows(f"{vanishing} sessions opened and dropped", before, watch.peak, after)
    return [*rows, _errors_row("Soak", tally, interactions + vanishing)], tally.errors


def _growth_row(figure: str, before: Taking, after: Taking, bound: float, n: int) -> Row:
    grown = after.megabytes - before.megabytes
    return Row(f"{figure}: memory that stays", f"{grown:+,.0f} MB", n, Bound(f"≤ +{bound:g} MB", grown <= bound))


def come_and_vanish(url: str, sessions: int, tally: Tally) -> None:
    """So many sessions, a few at a time: each looks at a picture of its own and loses its connection."""

    def come(first: int) -> None:
        for number in range(first, sessions, AT_ONCE):
            try:
                visitor = Visitor(url, number)
                visitor.explore({})
                visitor.look_at(random_picture(number), f"photo {number}.png")
                visitor.session.drop_connection()
            except Exception as error:
                tally.fail("vanishing", error)

    threads = [threading.Thread(target=come, args=(first,)) for first in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks load", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="*", default=[*P95_BOUNDS], help="of each stage (default: 20 40)")
    parser.add_argument("--seconds", type=float, default=120, help="of each stage (default: 120)")
    parser.add_argument("--tabs", type=int, default=2, help="Chromium tabs beside the sessions (default: 2)")
    parser.add_argument(
        "--think", type=float, nargs=2, default=THINK, help=f"seconds between interactions (default: {THINK})"
    )
    parser.add_argument("--interactions", type=int, default=INTERACTIONS, help=f"of the soak (default: {INTERACTIONS})")
    parser.add_argument("--vanishing", type=int, default=VANISHING, help=f"sessions (default: {VANISHING})")
    parser.add_argument("--only", choices=["stages", "training", "soak"], help="one part of it")
    parser.add_argument("--write", action="store_true", help="write the table to docs/load.md")
    options = parser.parse_args(arguments)
    errors: list[str] = []
    report = Report()

    def show(found: Found) -> None:
        rows, wrong = found
        errors.extend(wrong)
        for line in wrong:
            print(line, file=sys.stderr, flush=True)
        report.show(rows)

    with tempfile.TemporaryDirectory() as folder:
        os.environ["EXPLORER_DATA"] = folder
        log = Path(folder, "log.txt")
        with served(Path(folder), f"--server.disconnectedSessionTTL={TTL}", log=log) as (url, process):
            watch = Watch(process)
            films = write_films(Path(folder), max([SESSIONS, *options.sessions]))
            warm_up(url)
            if options.only in (None, "stages"):
                for sessions in options.sessions:
                    show(stage_rows(url, watch, sessions, options.seconds, options.tabs, tuple(options.think), films))
            if options.only in (None, "training"):
                show(training_rows(url, films))
            if options.only in (None, "soak"):
                show(soak_rows(url, watch, options.interactions, options.vanishing, films))
        show(([], logged_errors(log)))
    report.end(
        f"Seconds are p50 / p95 / p99 of n answers. Visitors think {options.think[0]:g} to {options.think[1]:g} s "
        f"between two interactions, in the soaks not at all; {options.seconds:g} s a stage. {machine(browser=True)}."
    )
    if options.write:
        report.write("load")
    return 1 if errors or report.missed else 0
