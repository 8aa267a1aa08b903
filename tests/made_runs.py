"""Runs of tests that are not about a run's own process: they wait in their queue, or are trained in this process."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import torch

from explorer import checkpoints, runs
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.machine.locks import take, write
from explorer.presets import cifar
from explorer.runs import Request, Run
from explorer.runs.directory import file_stem
from explorer.runs.fitting import fit_run
from explorer.runs.log import LogWriter
from explorer.runs.queue import write_end
from explorer.runs.weight_snapshots import Schedule, WeightSnapshots, snapshot
from explorer.training import choose_device

FIRST = "9c" * 16


@contextmanager
def taken_queue(data: Path) -> Iterator[None]:
    """The runs of that data folder wait until the end and are stopped then. A run that waits is a process of some
    megabytes that starts in a moment; one that trains imports torch first, which takes seconds.

    The first place is held by a run of this process, whose damaged request keeps it out of every list.
    """
    first = Run(data / "runs" / FIRST)
    first.folder.mkdir(parents=True)
    first.folder.joinpath("request.json").touch()
    lock = take(first.lock)
    assert lock
    write(first.lock, json.dumps({"ticket": 0, "device": choose_device().type}).encode())
    yield
    for path in data.glob("runs/*/request.json"):
        if path.parent != first.folder:
            end(Run(path.parent))
    lock.close()
    first.remove()


def processes_of(text: str) -> list[int]:
    """The processes that execute runs and have the text in their command; zombies have none."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (path / "cmdline").read_bytes()
            if b"-m\0explorer\0train\0" in command and text.encode() in command:
                found.append(int(path.name))
    return found


@contextmanager
def paused(run: Run) -> Iterator[None]:
    """The run, which trains, stands still meanwhile and takes no core from the test that looks at it."""
    (process,) = processes_of(run.id)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def end(run: Run) -> None:
    """Stops the run, whose process is gone then."""
    runs.stop(run)
    deadline = time.monotonic() + 60
    while runs.status(run).state in ("queued", "running"):
        assert time.monotonic() < deadline, "a run must stop within seconds"
        time.sleep(0.05)


def finish(run: Run) -> None:
    """Trains a run that no process holds, as its own process would, to its end."""
    run.stop_mark.unlink(missing_ok=True)
    with closing(LogWriter(run.metrics)) as log:
        found = fit_run(run, run.request(), log)
    write_end(run, "finished", **found)
    run.state.unlink(missing_ok=True)


FOUR = ("ring", "cross", "star", "arrow")
FILM_STEPS = (0, 1, 3, 12, 40)


def write_film(data: Path, letter: str = "ab", finished_at: int = 40) -> list[str]:
    """Writes a finished run of twins that know four shapes of 16 pixels, as if it had kept weights at FILM_STEPS, and
    returns the names of its networks. It ended at `finished_at`: a run that was asked for so many steps has these
    weights, as they are kept, at its end."""
    run = Run(data / "runs" / (letter * 16))
    run.folder.mkdir(parents=True)
    specs = [cifar(8, shortcut, classes=4, size=16) for shortcut in ("none", "identity")]
    run.write_request(Request(tuple(spec.to_dict() for spec in specs), {}, shapes.Drawn(16, FOUR).request))
    networks = [build(spec, seed=0) for spec in specs]
    kept = WeightSnapshots(run.weights, networks, Schedule(len(FILM_STEPS), FILM_STEPS[-1]))
    random = torch.Generator().manual_seed(1)
    for step in FILM_STEPS:
        if step:  # each step moves all weights
            for network in networks:
                for parameter in network.parameters():
                    parameter.data += (
                        0.1 * parameter.data.std().nan_to_num() * torch.randn(parameter.shape, generator=random)
                    )
        kept.take_last(step)
        if step == finished_at:
            break
    for spec in specs:
        name = file_stem(spec.name)
        network = snapshot(run, name, finished_at)
        known = Checkpoint(network, FOUR, (0.5,) * 3, (0.25,) * 3, shapes.Drawn(16, FOUR).name, seed=0)
        checkpoints.save(known, run.network_file(name))
    return [f"run-{run.id}-{file_stem(spec.name)}" for spec in specs]
