"""The queue: one run at a time on a device, first come first served, by locks that end with their process."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from explorer.runs.directory import Request, Run, find, listed, runs_folder
from explorer.runs.log import LogWriter, RunLog, read

try:
    import fcntl
except ImportError:  # Windows: the app runs there, but has no such locks
    fcntl = None  # type: ignore[assignment]

MAX_WAITING = 10
INHERITED = "EXPLORER_RUN_LOCK"
"""Environment variable that tells a run's process which descriptor is its lock."""
POLL_S = 0.2
"""How often a waiting run looks whether it is its turn, and a running one whether it is asked to stop."""

State = Literal["queued", "running", "finished", "diverged", "stopped", "failed", "interrupted"]
OVER: tuple[State, ...] = ("finished", "diverged")
RESUMABLE: tuple[State, ...] = ("stopped", "failed", "interrupted")


@dataclass(frozen=True)
class Status:
    """Where a run stands: its state, how many runs are ahead of it in the queue, and all that it has said."""

    state: State
    ahead: int
    log: RunLog


def submit(request: Request, run_id: str) -> Run:
    """Makes the run's directory and starts its process, which waits for its turn.

    Raises ValueError where `MAX_WAITING` runs wait already, and OSError where the disk takes nothing more.
    """
    _check_locks()
    folder = runs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder / run_id)
    with _queue_lock():
        _check_room(request.device)
        run.folder.mkdir(mode=0o700)
        try:
            run.write_request(request)
            _start(run, request)
        except BaseException:
            run.remove()
            raise
    return run


def resume(run: Run) -> None:
    """Starts the process of a run that ended before its end; it continues from the saved state, or from the beginning.

    Raises ValueError where the run is finished or still going on, or too many runs wait.
    """
    _check_locks()
    with _queue_lock():
        state = status(run).state
        if state not in RESUMABLE:
            raise ValueError(f"the run is {state}, there is nothing to resume.")
        request = run.request()
        _check_room(request.device)
        _start(run, request)


def stop(run: Run) -> None:
    """Asks the run to stop; it does so within 5 seconds, wherever it is, and can be resumed."""
    run.stop_mark.touch()


def delete(run: Run) -> None:
    """Removes the run and all its files. Raises ValueError while it waits or runs."""
    if is_alive(run):
        raise ValueError("the run is still going on; stop it first.")
    run.remove()


def status(run: Run) -> Status:
    """Where the run stands now."""
    alive = is_alive(run)  # first: what it says in its last moment is then read too
    log = read(run.metrics)
    if log.end is not None and not alive:
        return Status(log.end.get("outcome", "failed"), 0, log)
    if not alive:
        return Status("interrupted", 0, log)
    if log.phase is None:
        return Status("queued", len(_ahead(run)), log)
    return Status("running", 0, log)


def is_alive(run: Run) -> bool:
    """Whether a process holds the run, waiting or working."""
    try:
        with run.lock.open("rb") as file:
            return not _try_lock(file.fileno(), shared=True)  # two who look at once do not see each other
    except OSError:
        return False


def wait_for_turn(run: Run) -> bool:
    """Returns True when every run of this device that came earlier has ended; False where this one is stopped first.

    Called by the run's own process, before it imports torch: ten that wait are small.
    """
    while not run.stop_mark.exists():
        if not _ahead(run):
            return True
        time.sleep(POLL_S)
    LogWriter(run.metrics).write("end", outcome="stopped", message="", time=time.time())
    return False


def _ahead(run: Run) -> list[Run]:
    """The living runs of the same device with an earlier ticket."""
    ticket, device = _ticket(run)
    return [
        other
        for other in listed_living()
        if other.id != run.id and _ticket(other)[1] == device and _ticket(other)[0] < ticket
    ]


def listed_living() -> list[Run]:
    """Every run that a process holds."""
    folder = runs_folder()
    found = (find(path.name) for path in folder.iterdir()) if folder.is_dir() else iter(())
    return [run for run in found if run is not None and is_alive(run)]


def _ticket(run: Run) -> tuple[int, str]:
    """(number, device) of the run's place in the queue; a run that just ends has the last place."""
    try:
        values = json.loads(run.lock.read_text())
        return int(values["ticket"]), str(values["device"])
    except (OSError, ValueError, KeyError, TypeError):
        return sys.maxsize, ""


def _check_locks() -> None:
    if fcntl is None:
        raise ValueError("training in the browser needs Linux or macOS; `python -m explorer train` works here too.")


def _check_room(device: str) -> None:
    waiting = [run for run in listed_living() if _ticket(run)[1] == device and read(run.metrics).phase is None]
    if len(waiting) >= MAX_WAITING:
        raise ValueError(f"{MAX_WAITING} runs wait for this device already; try again when one has ended.")


def _start(run: Run, request: Request) -> None:
    """Starts the run's process. It inherits the lock, so that there is no moment in which nobody holds it."""
    descriptor = _enqueue(run, request)
    try:
        with run.log_text.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "explorer", "train", str(run.folder)],
                cwd=Path(__file__).resolve().parents[2],
                env={**os.environ, INHERITED: str(descriptor)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[descriptor],
                start_new_session=True,  # what ends the app, a closed terminal or Ctrl-C, does not end the run
            )
    finally:
        os.close(descriptor)
    threading.Thread(target=process.wait, daemon=True).start()  # a process that nobody waits for stays as a zombie


def hold(run: Run) -> None:
    """Makes this process the one that executes the run, until it ends: it takes over the lock that it was started
    with, or, started by hand, joins the queue. Raises ValueError where another process holds the run."""
    try:
        descriptor = int(os.environ.pop(INHERITED, ""))
        if os.path.samestat(os.fstat(descriptor), run.lock.stat()):
            os.set_inheritable(descriptor, False)
            return
    except (ValueError, OSError):
        pass
    _check_locks()
    with _queue_lock():
        state = status(run).state
        if state not in RESUMABLE:
            raise ValueError(f"the run is {state}, there is nothing to do.")
        _enqueue(run, run.request())  # its lock stays open for as long as this process lives


def _enqueue(run: Run, request: Request) -> int:
    """Takes the run's lock and a place in the queue, and returns the lock's descriptor."""
    descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(100):  # someone may be looking whether it is alive, which takes the lock for a moment
            if _try_lock(descriptor):
                break
            time.sleep(0.01)
        else:
            raise ValueError("the run is still going on; stop it first.")
        run.clear_temporaries()
        run.stop_mark.unlink(missing_ok=True)
        run.write_reserve()
        ticket = json.dumps({"ticket": time.time_ns(), "device": request.device})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, ticket.encode(), 0)
        log = LogWriter(run.metrics)
        try:
            log.write("queued", time=time.time())
        finally:
            log.close()
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _try_lock(descriptor: int, shared: bool = False) -> bool:
    """Takes the lock if nobody holds it; it is held until every copy of the descriptor is closed."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _queue_lock() -> Iterator[None]:
    """One submission at a time, over all processes that use this data directory."""
    with runs_folder().joinpath(".queue").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def newest(owner: str, count: int) -> list[Run]:
    """The last `count` runs of that owner, the newest first."""
    return listed(owner)[:count]
