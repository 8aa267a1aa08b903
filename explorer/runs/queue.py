"""The queue: one run at a time on a device, first come first served, by locks that end with their process."""

import json
import os
import platform
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from explorer.runs.directory import ID, Ending, Request, Run, data_folder, find, listed, runs_folder, stored_data
from explorer.runs.log import LogWriter, RunLog, read

if TYPE_CHECKING:
    from explorer.datasets import Dataset

try:
    import fcntl
except ImportError:  # Windows: the app runs there, but has no such locks
    fcntl = None  # type: ignore[assignment]

MAX_WAITING = 10
INHERITED = "EXPLORER_RUN_LOCK"
"""Environment variable that tells a run's process which descriptor is its lock."""
POLL_S = 0.2
"""How often a waiting run looks whether it is its turn, and a running one whether it is asked to stop."""

# A run keeps the memory that a step has freed for the next one. By default glibc hands it back to the system, which
# clears it anew in each step: at 56 layers on a CPU a fifth of the time. Before 2.35 glibc takes one of the two values
# only, which would be worse than none.
_LIBRARY, _VERSION = platform.libc_ver()
KEEP_MEMORY = (
    {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
    if _LIBRARY == "glibc" and tuple(map(int, _VERSION.split(".")[:2])) >= (2, 35)
    else {}
)

State = Literal["queued", "running", "finished", "stopped", "failed", "interrupted"]
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
    if not ID.fullmatch(run_id):
        raise ValueError("the id of a run must be 32 hexadecimal digits.")
    run = Run(runs_folder() / run_id)
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
    try:
        run.stop_mark.touch()
    except FileNotFoundError:
        pass  # somebody has deleted it
    except OSError:  # the disk is full
        run.reserve.unlink(missing_ok=True)
        run.stop_mark.touch()


def delete(run: Run) -> None:
    """Removes the run and all its files. Raises ValueError while it waits or runs."""
    with _queue_lock():  # nobody resumes it meanwhile
        if is_alive(run):
            raise ValueError("the run is still going on; stop it first.")
        run.remove()


def keep_data(dataset: "Dataset") -> str:
    """Stores the dataset for runs to train on, and returns its number: 256 random bits, since who knows it may use it.

    It goes once it is a day old and no run uses it (`sweep_stored_data`, which the server calls every hour, and each
    call of this). Raises ValueError where the disk does not take it.
    """
    from explorer.datasets import stored  # here: what waits in the queue needs neither numpy nor what it brings

    number = secrets.token_hex(32)
    path = stored_data(number)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep_stored_data()
        stored.save(dataset, path)
    except OSError as error:
        raise ValueError(f"the pictures cannot be kept ({error.strerror}); free some space on the disk.") from None
    return number


def sweep_stored_data(older_than: float = 86_400.0) -> None:
    """Removes uploaded data that no run uses any more and that nobody has touched for a day."""
    folder = data_folder() / "data"
    if not folder.is_dir():
        return
    with suppress(OSError):
        folder.chmod(0o700)  # somebody's own pictures, and none of the business of other users of this machine
    with _queue_lock():  # nobody starts a run with it meanwhile
        used = {run.request().data.get("number") for run in listed()}
        for path in folder.iterdir():
            with suppress(OSError):
                if path.name not in used and time.time() - path.stat().st_mtime > older_than:
                    path.unlink()


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
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # as with too many open files: nobody can tell, so nobody may start or delete it
        return True


def wait_for_turn(run: Run) -> bool:
    """Returns True when every run of this device that came earlier has ended; False where this one is stopped first.

    Called by the run's own process, before it imports torch: ten that wait are small.
    """
    ahead = _ahead(run)  # whoever comes later has a later ticket: this list only gets shorter
    while not run.stop_mark.exists():
        ahead = [other for other in ahead if _is_ahead(other, run)]
        if not ahead:
            return True
        time.sleep(POLL_S)
    write_end(run, "stopped")
    return False


def write_end(run: Run, outcome: Ending, message: str = "", **values: Any) -> None:
    """Says how the run ended, on a full disk in the space that was kept back for it. Raises OSError where even that
    is taken."""
    run.reserve.unlink(missing_ok=True)
    for wait in (0.05, 0.1, 0.2, 0.4, None):  # some file systems give back what was deleted a moment later
        try:
            with closing(LogWriter(run.metrics)) as log:
                log.write("end", outcome=outcome, message=message, time=time.time(), **values)
            return
        except OSError:
            if wait is None:
                raise
            time.sleep(wait)


def _ahead(run: Run) -> list[Run]:
    """The living runs of the same device with an earlier ticket."""
    return [other for other in _living() if _is_ahead(other, run)]


def _is_ahead(other: Run, run: Run) -> bool:
    """Whether `other` lives and has an earlier ticket of the same device; one that is resumed gets a new ticket."""
    number, device = _ticket(run)
    try:
        earlier, its_device = _ticket(other)
    except OSError:  # nobody can tell, so it is waited for
        return True
    return other.id != run.id and its_device == device and earlier < number and is_alive(other)


def _living() -> list[Run]:
    """Every run that a process holds."""
    folder = runs_folder()
    found = (find(path.name) for path in folder.iterdir()) if folder.is_dir() else iter(())
    return [run for run in found if run is not None and is_alive(run)]


def any_alive() -> bool:
    """Whether a run waits or works, on any device."""
    return bool(_living())


def _ticket(run: Run) -> tuple[int, str]:
    """(number, device) of the run's place in the queue; one that is just being queued has the last place."""
    try:
        values = json.loads(run.lock.read_text())
        return int(values["ticket"]), str(values["device"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return sys.maxsize, ""


def _check_locks() -> None:
    if fcntl is None:
        raise ValueError("training in the browser needs Linux or macOS; `python -m explorer train` works here too.")


def _check_room(device: str) -> None:
    living = [run for run in _living() if _ticket(run)[1] == device]
    if len(living) > MAX_WAITING:  # one of them does not wait, it runs
        raise ValueError(f"{MAX_WAITING} runs wait for this device already; try again when one has ended.")


def _start(run: Run, request: Request) -> None:
    """Starts the run's process. It inherits the lock, so that there is no moment in which nobody holds it."""
    descriptor = _enqueue(run, request)
    try:
        with run.log_text.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "explorer", "train", str(run.folder)],
                cwd=Path(__file__).resolve().parents[2],
                env={**KEEP_MEMORY, **os.environ, INHERITED: str(descriptor), "EXPLORER_DATA": str(data_folder())},
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
    with, or, started by hand, joins the queue. Raises ValueError where another process holds the run, and OSError
    where the disk takes nothing more."""
    try:
        descriptor = int(os.environ.pop(INHERITED, ""))
        if os.path.samestat(os.fstat(descriptor), run.lock.stat()):
            os.set_inheritable(descriptor, False)
            return
    except (ValueError, OSError):
        pass
    _check_locks()
    found = find(run.id)
    if found is None or not found.folder.samefile(run.folder):  # else the others would not see it in the queue
        raise ValueError(f"a run is executed where it was made, in `{runs_folder()}`; set EXPLORER_DATA accordingly.")
    with _queue_lock():
        state = status(run).state
        if state not in RESUMABLE:
            raise ValueError(f"the run is {state}, there is nothing to do.")
        _enqueue(run, run.request())  # its lock stays open for as long as this process lives


def _enqueue(run: Run, request: Request) -> int:
    """Takes the lock of a run that nobody holds, and a place in the queue, and returns the lock's descriptor."""
    run.stop_mark.unlink(missing_ok=True)  # before it is seen to live: whoever asks it to stop from then on is heard
    descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(100):  # someone may be looking whether it is alive, which takes the lock for a moment
            if _try_lock(descriptor):
                break
            time.sleep(0.01)
        else:
            raise ValueError("the run is still going on; stop it first.")
        run.clear_temporaries()
        run.write_reserve()
        # One more than the last of those who wait, not the time of day: a clock that is set back would let two run.
        others = [_ticket(other)[0] for other in _living() if other.id != run.id]
        ticket = json.dumps({"ticket": 1 + max(others, default=0), "device": request.device})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, ticket.encode(), 0)
        with closing(LogWriter(run.metrics)) as log:
            log.write("queued", time=time.time())
    except BaseException:
        run.reserve.unlink(missing_ok=True)
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
    # Closed to the other users of this machine: who knows a run's id can look at it.
    runs_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with runs_folder().joinpath(".queue").open("ab") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def newest(owner: str, count: int) -> list[Run]:
    """The last `count` runs of that owner, the newest first."""
    return listed(owner)[:count]
