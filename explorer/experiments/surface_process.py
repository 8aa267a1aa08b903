"""`run_process`: what the process of a `SurfaceRun` does: it waits for its turn, measures, and keeps what it has.

Surfaces wait for each other: each one takes all cores. A waiting process imports neither torch nor numpy.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from explorer.errors import user_message
from explorer.experiments.surface_runs import AskedSurface, SurfaceRun, load, share_done, surfaces_folder, take_lock
from explorer.files import npz, write_atomically
from explorer.machine import disk, give_way, memory
from explorer.machine.locks import guard_unless

if TYPE_CHECKING:
    from explorer.experiments.loss_surface import Surface

POLL_S = 0.3
KEEP_S = 2.0  # between two times that the process keeps what it has
STOP_GRACE_S = 10.0  # after that the process ends as it stands


def run_process(run: SurfaceRun) -> int:
    """Waits for the run's turn and measures it: 0 where it ended as asked, 1 where it failed, 2 where another process
    holds it."""
    lock = take_lock(run)
    if lock is None:
        print("explorer: this surface is being measured already, in another process.", file=sys.stderr)
        return 2
    give_way()  # before torch starts threads, which inherit it
    end = _End(run)
    threading.Thread(target=_stop_in_time, args=(run, end), daemon=True).start()
    try:
        with _turn(run) as has_come:
            outcome = _measure(run) if has_come else "stopped"
        end.write(outcome)
    except Exception as error:
        no_memory = memory.is_out_of_memory(error)
        end.write("failed", "The memory was not enough. Take fewer images." if no_memory else user_message(error))
        return 1
    finally:
        lock.close()
    return 0


def _measure(run: SurfaceRun) -> str:
    _keep_share(run, share_done(run, [load(run, number) for number in range(len(run.surfaces()))]))
    left = _left(run)
    if left and not _measure_rest(run, left):
        return "stopped"
    for number in range(len(run.networks())):
        disk.remove(run.network_file(number))  # a finished run needs none of them
    for images in run.folder.glob("images-*.npz"):
        disk.remove(images)
    return "finished"


_Left = list[tuple[int, AskedSurface, "Surface | None"]]


def _left(run: SurfaceRun) -> _Left:
    """Number, request and what is known of each surface that is not complete. Those that were measured before, on these
    images with these weights, are kept with the run."""
    from explorer import stored_results
    from explorer.experiments.loss_surface import stored

    left: _Left = []
    for number, each in enumerate(run.surfaces()):
        known = load(run, number)
        if each.key and not (known and known.is_complete):
            known = stored.load(each.key) or known or stored.begun(each.key)
            if known is not None:
                write_atomically(run.surface_file(number), npz(stored_results.pack(known)))
        if known is None or not known.is_complete:
            left.append((number, each, known))
    return left


def _measure_rest(run: SurfaceRun, left: _Left) -> bool:
    """Whether all of them were measured before the run was stopped."""
    import numpy as np

    from explorer import checkpoints, stored_results
    from explorer.datasets import Split
    from explorer.experiments.loss_surface import cost, measure, stored
    from explorer.experiments.loss_surface.cost import passes, share_known

    request, facts, settings = run.request(), run.networks(), left[0][1].settings
    loaded = [checkpoints.load(run.network_file(number)) for number in range(len(facts))]
    splits: dict[str, Split] = {}
    for name in settings.splits:
        with np.load(run.images_file(name)) as file:
            splits[name] = Split(file["images"], file["labels"])
    kept = [stored.steps_of(of.run) for of in facts]
    specs = [(loaded[each.network].spec, each.settings) for _, each, _ in left]
    cost(specs, 1e12, [kept[each.network] for _, each, _ in left]).check()  # the memory that is free now
    snapshots = [partial(stored.snapshots_of, of.run, of.file) for of in facts]
    span = stored.shared_span(loaded, snapshots, settings)
    asked = [each.settings for each in run.surfaces()]
    done = [passes(each) for each in asked]  # passes; a surface that is not left is complete
    total = sum(done)
    for number, each, known in left:
        done[number] *= share_known([each.settings], [known])
    for number, each, known in left:
        kept_at = 0.0
        steps = measure(
            loaded[each.network], splits, request["class_names"], each.settings,
            snapshots=snapshots[each.network](), span=span, known=known,
        )  # fmt: skip
        with closing(steps):
            for step in steps:
                stopping = run.stop_mark.exists()
                if stopping or step.share == 1 or time.monotonic() - kept_at > KEEP_S:
                    kept_at = time.monotonic()
                    write_atomically(run.surface_file(number), npz(stored_results.pack(step.surface)))
                    done[number] = step.share * passes(each.settings)
                    _keep_share(run, sum(done) / total)
                if stopping and step.share < 1:
                    return False
        if each.key:
            stored.store(each.key, step.surface)
    return True


def _keep_share(run: SurfaceRun, share: float) -> None:
    write_atomically(run.progress_file, json.dumps({"share": share}).encode())


class _End:
    """How the run ended: of the thread that measures and the one that watches for a stop, the first writes it."""

    def __init__(self, run: SurfaceRun) -> None:
        self.run, self.is_written, self._turn = run, False, threading.Lock()

    def write(self, outcome: str, message: str = "") -> bool:
        """Whether this call wrote it, on a full disk nothing: the run is "interrupted" then. Waits for another call."""
        with self._turn:
            if self.is_written:
                return False
            self.is_written = True
            with suppress(OSError):
                write_atomically(self.run.end_file, json.dumps({"outcome": outcome, "message": message}).encode())
            return True


def _stop_in_time(run: SurfaceRun, end: _End) -> None:
    """Ends the process where a part outlasts the grace of a stop; what was kept last stays."""
    while not run.stop_mark.exists():
        time.sleep(POLL_S)
        if end.is_written:
            return
    time.sleep(STOP_GRACE_S)
    if end.write("stopped"):
        os._exit(0)


@contextmanager
def _turn(run: SurfaceRun) -> Iterator[bool]:
    """True once no other surface of this server is measured; False where the run is stopped first."""
    with guard_unless(surfaces_folder() / ".turn", run.stop_mark.exists, POLL_S) as has_come:
        yield has_come and not run.stop_mark.exists()
