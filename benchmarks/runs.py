"""A run beside the page: how soon it takes its first step, and how quick the page stays while it trains."""

import os
import random
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks.rows import Row, at_most, percentile
from driving.protocol_client import Session
from driving.server_process import served
from explorer import runs
from explorer.architectures import ArchitectureSpec
from explorer.presets import cifar
from explorer.training import TrainingConfig

FIRST_STEP_BOUND, RERUN_BOUND = 6.0, 1.5
STARTS, SESSIONS, RERUNS = 5, 5, 12
GOING = ("queued", "running")


def run_rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EXPLORER_DATA"] = folder
        return [first_step_row(), *rerun_rows(Path(folder))]


@contextmanager
def trained(*specs: ArchitectureSpec, seconds: float = 3600) -> Iterator[runs.Run]:
    """A run of these networks on the shapes, started as the page's button does it, once it has taken its first step;
    ended afterwards, whatever happens. Raises RuntimeError where it ends before that."""
    request = runs.Request(
        specs=tuple(spec.to_dict() for spec in specs),
        config=TrainingConfig(seconds=seconds, batch_size=64).to_dict(),
        data={"kind": "shapes", "size": 32},
        created=time.time(),
        names=tuple(spec.name for spec in specs),
    )
    run = runs.submit(request, secrets.token_hex(16))
    try:
        while not runs.status(run).log.progress:
            if runs.status(run).state not in GOING:
                raise RuntimeError(f"The run ended before its first step: {runs.status(run).log.end}")
            time.sleep(0.02)
        yield run
    finally:
        end(run)


def first_step_row() -> Row:
    taken = []
    for _ in range(STARTS):
        clock = time.perf_counter()
        with trained(cifar(20), cifar(20, "none")):
            taken.append(time.perf_counter() - clock)
    middle = statistics.median(taken)
    measured = f"{middle:.1f} s ({min(taken):.1f} to {max(taken):.1f})"
    figure = "From the click to the first training step, twins of 20 layers"
    return Row(figure, measured, STARTS, at_most(middle, FIRST_STEP_BOUND, " s"))


def end(run: runs.Run) -> None:
    runs.stop(run)
    while runs.status(run).state in GOING:
        time.sleep(0.1)


def rerun_rows(folder: Path) -> list[Row]:
    """Re-runs of sessions that think a second or two between them, without and with a training beside."""
    rows = []
    with served(folder) as (url, _):
        for busy in (False, True):
            with trained(cifar(20), cifar(20, "none")) if busy else nullcontext():
                taken = visits(url)
            measured = f"{percentile(taken, 0.5):.2f} s, p95 {percentile(taken, 0.95):.2f} s"
            figure = f"Re-run of Explore, a new picture, {SESSIONS} sessions" + (" while a run trains" if busy else "")
            bound = at_most(percentile(taken, 0.95), RERUN_BOUND, " s", "p95") if busy else None
            rows.append(Row(figure, measured, len(taken), bound))
    return rows


def visits(url: str) -> list[float]:
    taken: list[float] = []
    errors: list[Exception] = []

    def visit(number: int) -> None:
        dice = random.Random(number)
        try:
            session = Session(url)
            session.rerun()
            for _ in range(RERUNS):
                time.sleep(dice.uniform(0.5, 2.0))
                taken.append(session.rerun(picture=f"sample-{dice.randrange(10)}-{dice.randrange(1_000_000)}"))
            session.close()
        except Exception as error:  # shown below: a thread's own would only be printed
            errors.append(error)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return taken
