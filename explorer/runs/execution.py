"""`execute`: the work of a run's process when its turn has come."""

import errno
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from explorer.errors import user_message
from explorer.runs.directory import STOP_GRACE_S, Run, RunOutcome, StopRequested
from explorer.runs.log import LogWriter
from explorer.runs.queue import POLL_S, write_end

_LOG = "the run's log"
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory", "bad_alloc")


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
            _limit_memory(request.device)
            with joined() as processes:
                outcome = end("finished", **fit_run(run, request, log, None, processes))
            log.sync()
        run.state.unlink(missing_ok=True)  # a finished run is not resumed
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

        _limit_memory(request.device)
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
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        kept = "The last saved state is kept" if saved else "Nothing was saved yet"
        return f"The disk is full. {kept}; free some space, for example by deleting runs, and resume."
    if isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY):
        batch = run.request().config.get("batch_size", 2)
        smaller = f"a batch size of {batch // 2} or less, or with " if batch >= 4 else ""
        return f"It ran out of memory with {batch} images a step. Start it again with {smaller}a smaller network."
    if isinstance(error, RuntimeError) and str(error).lstrip().startswith(("CUDA", "HIP", "cuDNN", "MPS")):
        kept = "The last saved state is kept: resume when it is back, or" if saved else "When it is back,"
        return f"The GPU no longer answers. {kept} start the training again; without a GPU it runs on the CPU."
    return user_message(error, f"{_LOG} has the rest", _LOG)


def _limit_memory(device: str) -> None:
    """Limits this process to the memory that is free now, so that a larger request fails in it, with a message."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # should memory run out all the same: this one goes first
            file.write("800")
        if device != "cpu":
            return  # a GPU's driver reserves address space in ways that this limit does not allow
        import resource

        with open("/proc/self/status") as file:
            taken = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData:"))
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([free_memory() + taken, *limits]), hard))
    except (OSError, ImportError, ValueError):
        pass  # no Linux


def free_memory() -> int:
    """Bytes that a new process could take, of the machine and of its control group."""
    with open("/proc/meminfo") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file if line.split()[1].isdigit()}
    free = sizes["MemAvailable"]
    group = Path("/sys/fs/cgroup")
    for limit, used, file_cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),  # version 1
    ):
        try:
            lines = (group / limit).with_name("memory.stat").read_text().splitlines()
            # Files that were read count as used, but are dropped when memory is needed.
            droppable = next(int(line.split()[1]) for line in lines if line.startswith(f"{file_cache} "))
            free = min(free, int((group / limit).read_text()) - int((group / used).read_text()) + droppable)
        except (OSError, ValueError, StopIteration):
            pass  # no limit
    return max(free, 2**29)


def _stop_in_time(run: Run, end: Callable[..., RunOutcome]) -> None:
    """Ends the process where a step, a download or a test outlasts the grace of a stop."""
    while not run.stop_mark.exists():
        time.sleep(POLL_S)
    time.sleep(STOP_GRACE_S)
    try:
        end("stopped")
    finally:
        os._exit(0)
