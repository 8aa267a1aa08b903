"""What trainings cost around the training itself: through Ray, in files, and to the page that follows a study."""

import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]

from benchmarks.rows import HEAD, Row, machine
from explorer import runs
from explorer.presets import cifar
from explorer.runs import Run
from explorer.runs.log import parsed
from explorer.studies.ray_engine import RayEngine
from explorer.training import TrainingConfig

STARTS, SECONDS, ROUNDS = 4, 40.0, 20


def cluster_lines() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EXPLORER_DATA"] = folder
        yield HEAD
        yield from map(str, cluster_rows())
    yield ""
    load = psutil.getloadavg()[-1]
    yield f"Medians over n, seed 0. {machine()}, at a load average of {load:.1f} in the last 15 minutes."


def cluster_rows() -> Iterator[Row]:
    clock = time.perf_counter()
    engine = RayEngine(places=1)
    yield Row("From a call to a Ray of its own", f"{time.perf_counter() - clock:.1f} s", 1)
    try:
        yield _start_row(engine, shared=True)
        yield _start_row(engine, shared=False)
        run = _prepared(56, SECONDS)
        engine.start(run)
        largest, used, asked = 0, time.process_time(), time.perf_counter()
        while not engine.wait(0.5):
            largest = max(largest, run.state.stat().st_size if run.state.exists() else 0)
        share = (time.process_time() - used) / (time.perf_counter() - asked)
        yield Row("Core of the study's process while one carried run goes on", f"{share:.3f}", 1)
        yield Row("Saved state of twins of 56 layers", f"{largest / 1e6:.1f} MB", 1)
        yield from _log_rows(run)
    finally:
        engine.close()


def _prepared(depth: int, seconds: float) -> Run:
    specs = (cifar(depth, "none"), cifar(depth))
    request = runs.Request(
        specs=tuple(spec.to_dict() for spec in specs),
        config=TrainingConfig(seconds=seconds, batch_size=64).to_dict(),
        data={"kind": "shapes", "size": 32},
        names=tuple(spec.name for spec in specs),
        threads=2,
    )
    return runs.prepare(request, secrets.token_hex(16))


def _start_row(engine: RayEngine, shared: bool) -> Row:
    """Seconds from the request to the process of a run, which then still has to import torch; stopped there."""
    engine.shared_disk = shared
    taken = []
    for _ in range(STARTS):
        run = _prepared(8, 3600.0)
        clock = time.perf_counter()
        engine.start(run)
        while runs.status(run).log.phase is None:
            engine.wait(0.02)
        taken.append(time.perf_counter() - clock)
        engine.kill(run)
        while not engine.wait(1.0):
            pass
    words = "with a shared disk" if shared else "carried to its node"
    measured = f"{statistics.median(taken):.1f} s ({min(taken):.1f} to {max(taken):.1f})"
    return Row(f"From a free place to the process of a run, {words}", measured, STARTS)


def _log_rows(run: Run) -> Iterator[Row]:
    """The size of a run's log, and what the page of a study takes to read it again."""
    content = run.metrics.read_bytes()
    taken = []
    for _ in range(ROUNDS):
        clock = time.perf_counter()
        parsed(content)
        taken.append(time.perf_counter() - clock)
    per = statistics.median(taken) / len(content) * 1e9
    yield Row(f"Log of twins of 56 layers after {SECONDS:.0f} s", f"{len(content) / 1e3:.0f} kB", 1)
    yield Row("Reading a log", f"{per:.0f} ms a MB", ROUNDS)
