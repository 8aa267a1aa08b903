"""`LocalEngine`: the runs of a study in the queue of this machine, some at once."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from explorer import runs
from explorer.machine import cores
from explorer.machine.memory import MALLOC_ENV, free_memory
from explorer.machine.processes import end_all, start
from explorer.runs import Run

POLL_S = 0.2
CORES_A_PLACE = 2  # twins take one thread each
MEMORY_A_PLACE = 3 * 2**29  # bytes; a run of small networks takes about 0.7 GB, most of it torch itself
WORTH = 1.1  # a further place has to raise the total speed by a tenth
MOST_PLACES = 64
TIMEOUT_S = 300.0  # of one measurement of the speed


class LocalEngine:
    """Up to `places` runs at once on a device of this machine.

    Each takes one of so many places in the queue of its device, so runs of other studies and of Build & train have
    their turns too. Raises ValueError for a number of places that is not in 1..64.
    """

    def __init__(self, places: int = 1) -> None:
        if isinstance(places, bool) or not 1 <= places <= MOST_PLACES:
            raise ValueError(f"the number of places must be a whole number from 1 to {MOST_PLACES}, received {places}.")
        self.places = places
        self._started: dict[str, Run] = {}

    def start(self, run: Run) -> bool:
        if not runs.is_alive(run) and runs.status(run).state != "finished":
            request = run.request()
            if request.places != self.places:
                run.write_request(replace(request, places=self.places))
            try:
                runs.resume(run)
            except runs.QueueFull:
                return False
        self._started[run.id] = run
        return True

    def wait(self, seconds: float) -> tuple[Run, ...]:
        until = time.monotonic() + seconds
        while not (ended := [run for run in self._started.values() if not runs.is_alive(run)]):
            left = until - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(POLL_S, left))
        for run in ended:
            del self._started[run.id]
        return tuple(ended)

    def kill(self, run: Run) -> None:
        runs.stop(run)  # it ends by itself within seconds, whatever it does

    def close(self) -> None:
        pass


def default_places(device: str = "cpu") -> int:
    """The number of runs that this machine should train at once on that device: one for every two cores, as far as
    the free memory suffices; on a GPU 1, until `measure_places` has found more."""
    if device != "cpu":
        return 1
    return max(1, min(cores() // CORES_A_PLACE, free_memory() // MEMORY_A_PLACE, MOST_PLACES))


def measure_places(most: int = 8) -> tuple[int, Mapping[int, float]]:
    """The number of runs at once that trains fastest on "auto", and the measured speed of 1, 2, 4, … `most` processes
    together, in steps a second. Takes about 10 seconds for each.

    Raises ValueError where this machine cannot train.
    """
    measured: dict[int, float] = {}
    count = 1
    while count <= most and (count == 1 or measured[count // 2] >= WORTH * measured.get(count // 4, 0.0)):
        measured[count] = _steps_a_second(count)
        count *= 2
    return best_places(measured), measured


def best_places(measured: Mapping[int, float]) -> int:
    """The smallest number of places after which doubling does not raise the speed by a tenth."""
    best = min(measured)
    for count in sorted(measured)[1:]:
        if measured[count] < WORTH * measured[best]:
            break
        best = count
    return best


def _steps_a_second(count: int) -> float:
    """Steps a second of so many processes together, each of which measures the speed of this machine."""
    command = [sys.executable, "-m", "explorer", "speed", "--json"]
    folder, pipe, none = Path(__file__).resolve().parents[2], subprocess.PIPE, subprocess.DEVNULL
    until = time.monotonic() + TIMEOUT_S
    processes = []
    try:
        with ExitStack() as held:
            for _ in range(count):
                environment = {**MALLOC_ENV, **os.environ}
                process = start(command, environment, cwd=folder, stdin=none, stdout=pipe, stderr=none)
                processes.append(held.enter_context(process))
                held.callback(end_all, process)
            answers = [process.communicate(timeout=until - time.monotonic())[0] for process in processes]
        speeds = [json.loads(answer)["speed"] for answer in answers]
        # A step of 32 pictures through 10 million multiply-accumulates and 30 layers: a ResNet-20 at 32 pixels is more.
        return sum(1 / (speed["step"] + 30 * speed["layer"] + 32 * 1e7 * speed["mac"]) for speed in speeds)
    except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError, subprocess.SubprocessError):
        raise ValueError("the places of this machine could not be measured; give their number.") from None
