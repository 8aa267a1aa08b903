"""`execute`: the work of a run's process when its turn has come."""

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from explorer.errors import user_message
from explorer.machine import disk, memory
from explorer.runs.directory import STOP_GRACE_S, Run, RunOutcome, StopRequested
from explorer.runs.log import LogWriter
from explorer.runs.queue import POLL_S, write_end

WATCHED_SHARE = 0.9
"""Of the free memory, where it can only be watched: a run takes some more before it is seen."""
_LOG = "the run's log"


def execute(run: Run) -> RunOutcome:
    """Trains the run's request, from the saved state where there is one, and returns how it ended.

    Every outcome is written into the metrics file. Raises OSError only where even that is impossible. The run may take
    the memory that is free when it starts and no more, so that it fails and not the app beside it.
    """
    turn = threading.Lock()
    ended: list[RunOutcome] = []  # the first writer wins, the training or the thread that watches for a stop

    def end(outcome: RunOutcome, message: str = "", **values: Any) -> RunOutcome:
        with turn:
            if not ended:
                write_end(run, outcome, message, **values)
                ended.append(outcome)
            return ended[0]

    # Before torch is imported: that takes seconds, and a stop must not wait for it.
    threading.Thread(target=_stop_in_time, args=(run, end), daemon=True).start()
    try:
        with closing(LogWriter(run.metrics)) as log:
            log.write("phase", phase="starting", time=time.time())
            request = run.request()
            gc.disable()  # imported objects stay; a collection of all of them takes a tenth of the time
            from explorer.runs.fitting import fit_run
            from explorer.training import joined

            gc.freeze()
            gc.enable()
            _limit_memory(run, request.device, end)
            with joined() as processes:
                outcome = end("finished", **fit_run(run, request, log, None, processes))
            log.sync()
        disk.remove(run.state)  # a finished run is not resumed
        return outcome
    except StopRequested:
        return end("stopped")
    except Exception as error:
        return end("failed", _message(run, error))


def execute_beside(run: Run) -> int:
    """Takes part in the training that another process of `torchrun` executes: 0 where it ended as asked, else 1. The
    first process alone waits for the run's turn, writes the files and says why a training failed."""
    try:
        request = run.request()
        from explorer.runs.fitting import fit_beside
        from explorer.training import joined

        _limit_memory(run, request.device)
        with joined() as processes:
            fit_beside(run, request, processes)
    except Exception as error:
        if run.stop_mark.exists():  # the first process did not wait for the end of a step
            return 0
        print(f"explorer: {_message(run, error)} The run's page has the first process's reason.", file=sys.stderr)
        return 1
    return 0


def _message(run: Run, error: Exception) -> str:
    """Why the run failed and what to do, for its page."""
    saved = run.state.exists()
    if isinstance(error, OSError) and error.errno in disk.NO_SPACE:
        kept = "The last saved state is kept" if saved else "Nothing was saved yet"
        return f"The disk is full. {kept}; free some space, for example by deleting runs, and resume."
    if memory.is_out_of_memory(error):
        batch = run.request().config.get("batch_size", 2)
        smaller = f"a batch size of {batch // 2} or less, or with " if batch >= 4 else ""
        return f"It ran out of memory with {batch} images a step. Start it again with {smaller}a smaller network."
    if isinstance(error, RuntimeError) and str(error).lstrip().startswith(("CUDA", "HIP", "cuDNN", "MPS")):
        kept = "The last saved state is kept: resume when it is back, or" if saved else "When it is back,"
        return f"The GPU no longer answers. {kept} start the training again; without a GPU it runs on the CPU."
    return user_message(error, f"{_LOG} has the rest", _LOG)


def _limit_memory(run: Run, device: str, end: Callable[..., RunOutcome] | None = None) -> None:
    """Limits this process to the memory that is free now, so that a larger request fails in it, with a message. Where
    the system has no such limit, `end` tells how the run ended once it takes more, and the process ends."""
    memory.be_killed_first()
    # A GPU's driver reserves address space in ways that the limit does not allow.
    if device != "cpu" or memory.limit_to(memory.free_memory()) or end is None:
        return
    limit = memory.used() + int(WATCHED_SHARE * memory.free_memory())

    def watch() -> None:
        memory.wait_until_exceeded(limit)
        try:
            end("failed", _message(run, MemoryError()))
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stop_in_time(run: Run, end: Callable[..., RunOutcome]) -> None:
    """Ends the process where a step, a download or a test outlasts the grace of a stop."""
    while not run.stop_mark.exists():
        time.sleep(POLL_S)
    time.sleep(STOP_GRACE_S)
    try:
        end("stopped")
    finally:
        os._exit(0)
