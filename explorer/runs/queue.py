"""The queue: first come first served on each device, by locks that end with their process.

A run takes one of the `places` of its request: by default the whole device, so that one run goes on at a time; runs
of a study may share it. A run starts once the shares of all before it leave room for its own.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from explorer.installation import data_folder
from explorer.machine import disk, locks
from explorer.machine.locks import Lock, guard, inherited, is_held, take
from explorer.machine.memory import MALLOC_ENV
from explorer.machine.processes import await_later
from explorer.runs.command import start_command
from explorer.runs.directory import (
    DATA_ID,
    ID,
    Request,
    Run,
    RunOutcome,
    all_runs,
    find,
    list_runs,
    runs_folder,
    stored_data,
)
from explorer.runs.log import LogWriter, RunLog, read

if TYPE_CHECKING:
    from explorer.datasets import Dataset

MAX_WAITING = 10
LOCK_ENV = "EXPLORER_RUN_LOCK"
"""Environment variable that tells a run's process which lock was passed on to it."""
POLL_S = 0.2
"""Between two looks of a waiting run at the queue, and of a running one for a request to stop."""

State = Literal["queued", "running", "finished", "stopped", "failed", "interrupted"]
RESUMABLE: tuple[State, ...] = ("stopped", "failed", "interrupted")


class QueueFull(ValueError):
    """`MAX_WAITING` runs wait already."""


@dataclass(frozen=True)
class Ticket:
    """The place of a run in the queue of its device; `places` as in its request."""

    number: int
    device: str
    places: int

    @property
    def share(self) -> Fraction:
        """Of the device."""
        return Fraction(1, self.places) if self.places else Fraction(0)


@dataclass(frozen=True)
class Status:
    """The state of a run, the number of runs before it in the queue, and its log."""

    state: State
    queue_position: int
    log: RunLog


def submit(request: Request, run_id: str) -> Run:
    """Makes the run's directory and starts its process, which waits for its turn.

    Raises QueueFull where `MAX_WAITING` runs wait already, ValueError where its snapshots of weights do not fit, and
    OSError where the disk is full.
    """
    run = _new(run_id)
    with _queue_lock():
        _check_room(request)
        _check_snapshots(request)
        run.folder.mkdir(mode=0o700)
        try:
            run.write_request(request)
            _start(run, request)
        except BaseException:
            run.remove()
            raise
    return run


def prepare(request: Request, run_id: str) -> Run:
    """Makes the run's directory, or takes the one that is there; `resume` starts it. Raises OSError where the disk is
    full."""
    run = _new(run_id)
    if find(run_id) is None:
        run.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        run.write_request(request)
    return run


def _new(run_id: str) -> Run:
    if not ID.fullmatch(run_id):
        raise ValueError("the id of a run must be 32 hexadecimal digits.")
    return Run(runs_folder() / run_id)


def resume(run: Run) -> None:
    """Starts the process of a run that ended early; it continues from the saved state, or from the beginning.

    Raises ValueError where the run is finished or alive, too many runs wait, or its snapshots of weights do not fit.
    """
    with _queue_lock():
        request = _resumable_request(run, "resume")
        _check_room(request)
        _check_snapshots(request, run)
        _start(run, request)


def _resumable_request(run: Run, verb: str) -> Request:
    state = status(run).state
    if state not in RESUMABLE:
        raise ValueError(f"the run is {state}, there is nothing to {verb}.")
    return run.request()


def stop(run: Run) -> None:
    """Asks the run to stop; it does so within 5 seconds and can be resumed."""
    try:
        run.stop_mark.touch()
    except FileNotFoundError:
        pass  # the run was deleted
    except OSError:  # the disk is full
        disk.remove(run.reserve)
        run.stop_mark.touch()


def delete(run: Run) -> None:
    """Removes the run and all its files. Raises ValueError while it waits or runs."""
    with _queue_lock():  # no process resumes it meanwhile
        if is_alive(run):
            raise ValueError("the run is still going on; stop it first.")
        run.remove()


def store_dataset(dataset: "Dataset") -> str:
    """Stores the dataset for runs and returns its number: 256 random bits, because the number gives access to it.

    `sweep_stored_data` removes it once it is a day old and no run uses it. Raises ValueError where the disk is full.
    """
    from explorer.datasets import stored  # here: a waiting run needs neither numpy nor anything that this imports

    number = secrets.token_hex(32)
    path = stored_data(number)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep_stored_data()
        stored.save(dataset, path)
    except OSError as error:
        raise ValueError(f"the images cannot be kept ({error.strerror}); free some space on the disk.") from None
    return number


def sweep_stored_data(older_than: float = 86_400.0) -> None:
    """Removes uploaded data that no run uses and that is older than so many seconds."""
    folder = data_folder() / "data"
    if not folder.is_dir():
        return
    with suppress(OSError):
        disk.make_private(folder)  # pictures of users, closed to the other accounts of this machine
    with _queue_lock():  # no run starts with it meanwhile
        used = {run.request().data.get("number") for run in list_runs()} | _named_by_studies()
        for path in folder.iterdir():
            with suppress(OSError):
                if path.name not in used and time.time() - path.stat().st_mtime > older_than:
                    disk.remove(path)


def _named_by_studies() -> set[str]:
    """The numbers of uploaded data on which a study trains or will train."""
    named: set[str] = set()
    for path in data_folder().glob("studies/*/study.json"):
        with suppress(OSError, ValueError):
            named |= {*DATA_ID.findall(path.read_text(encoding="utf-8"))}
    return named


def status(run: Run) -> Status:
    alive = is_alive(run)  # first: events of its last moment are then read too
    log = read(run.metrics)
    if alive:
        return Status("running", 0, log) if log.phase else Status("queued", len(_ahead(run)), log)
    return Status(log.end.get("outcome", "failed") if log.end else "interrupted", 0, log)


def is_alive(run: Run) -> bool:
    """Whether a process holds the run, waiting or working."""
    return is_held(run.lock)


def any_alive() -> bool:
    """Whether a run waits or works, on any device."""
    return bool(_living())


def wait_for_turn(run: Run) -> bool:
    """True once the earlier runs of this device leave room for this one; False where it is stopped first.

    Called by the run's own process before it imports torch, so that ten waiting processes are small.
    """
    ahead = _ahead(run)  # later runs have later tickets: this list only gets shorter
    while not run.stop_mark.exists():
        ahead = [other for other in ahead if _is_ahead(other, run)]
        if _fits(run, ahead):
            return True
        time.sleep(POLL_S)
    write_end(run, "stopped")
    return False


def write_end(run: Run, outcome: RunOutcome, message: str = "", **values: Any) -> None:
    """Writes how the run ended, on a full disk into the reserve. Raises OSError where even that is taken."""
    disk.remove(run.reserve)
    for wait in (0.05, 0.1, 0.2, 0.4, None):  # some file systems free deleted space a moment later
        try:
            with closing(LogWriter(run.metrics)) as log:
                log.write("end", outcome=outcome, message=message, time=time.time(), **values)
            return
        except OSError:
            if wait is None:
                raise
            time.sleep(wait)


def _living() -> list[Run]:
    """Every run that a process holds."""
    return [run for run in all_runs() if is_alive(run)]


def _ahead(run: Run) -> list[Run]:
    """The living runs of the same device with an earlier ticket."""
    return [other for other in _living() if _is_ahead(other, run)]


def _is_ahead(other: Run, run: Run) -> bool:
    """Whether `other` lives and has an earlier ticket of the same device; a resumed run gets a new ticket."""
    ticket = _ticket(run)
    try:
        earlier = _ticket(other)
    except OSError:  # unknown, so this run waits for it
        return True
    return (
        other.id != run.id
        and earlier.device == ticket.device
        and earlier.number < ticket.number
        and min(earlier.places, ticket.places) > 0
        and is_alive(other)
    )


def _fits(run: Run, ahead: Iterable[Run]) -> bool:
    """Whether the shares of the runs ahead, waiting or working, leave room for this one's."""
    taken = _ticket(run).share
    for other in ahead:
        try:
            taken += _ticket(other).share
        except OSError:
            return False
    return taken <= 1


def _ticket(run: Run) -> Ticket:
    """The run's place in the queue; one that is just being queued has the last place."""
    try:
        values = json.loads(run.lock.read_text(encoding="utf-8"))
        return Ticket(int(values["ticket"]), str(values["device"]), int(values.get("places", 1)))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Ticket(sys.maxsize, "", 1)


def _check_room(request: Request) -> None:
    """Raises QueueFull."""
    tickets = [ticket for ticket in map(_ticket, _living()) if ticket.device == request.device and ticket.places]
    shares = accumulate(ticket.share for ticket in sorted(tickets, key=lambda ticket: ticket.number))
    if request.places and sum(taken > 1 for taken in shares) >= MAX_WAITING:  # each of the first ones has its place
        raise QueueFull(f"{MAX_WAITING} runs wait for this device already; try again when one has ended.")


def _check_snapshots(request: Request, besides: Run | None = None) -> None:
    """Raises ValueError where the weights that the run keeps do not fit beside those of the owner's other runs."""
    if request.snapshots:
        from explorer.runs.weight_snapshots import check_request  # here: it imports torch, which no waiting run needs

        check_request(request, besides)


def _start(run: Run, request: Request) -> None:
    """Starts the run's process and passes the lock on to it: there is no moment in which no process holds it."""
    lock = _enqueue(run, request)
    try:
        process = start_process(run, lock)
    finally:
        lock.close()
    await_later(process)


def start_process(
    run: Run, lock: Lock, environment: Mapping[str, str] | None = None, ends_with: bool = False
) -> "subprocess.Popen[bytes]":
    """Starts the process of a run, passes its lock on to it, and returns it; the caller awaits its end.

    `environment` is added to this process's own. With `ends_with` the run's process ends when this one does.
    """
    environment = {**MALLOC_ENV, **os.environ, **(environment or {})}
    return start_command("train", run.folder, run.log_text, lock, LOCK_ENV, environment, ends_with)


def hold(run: Run) -> Lock:
    """Takes the lock of a run that ended early and that an engine places: it waits for no other one. Returns the lock.

    Raises ValueError where the run is finished or alive, and OSError where the disk is full.
    """
    with _queue_lock():
        return _enqueue(run, replace(_resumable_request(run, "resume"), places=0))


def take_lock(run: Run) -> None:
    """Makes this process the one that executes the run, until it ends: it takes over the lock that it inherited or,
    started by hand, joins the queue. Raises ValueError where another process holds the run, and OSError where the disk
    is full."""
    if inherited(run.lock, LOCK_ENV, _queue_file()) is not None:
        return
    found = find(run.id)
    if found is None or not found.folder.samefile(run.folder):  # else other processes would not see it in the queue
        raise ValueError(f"a run is executed where it was made, in `{runs_folder()}`; set EXPLORER_DATA accordingly.")
    with _queue_lock():
        _enqueue(run, _resumable_request(run, "do"))  # its lock stays open for as long as this process lives


def _enqueue(run: Run, request: Request) -> Lock:
    """Takes the lock of a run that no process holds, and a place in the queue, and returns the lock."""
    disk.remove(run.stop_mark)  # before the run becomes visible, so that later requests to stop are kept
    lock = take(run.lock)
    if lock is None:
        raise ValueError("the run is still going on; stop it first.")
    try:
        run.clear_temporaries()
        run.write_reserve()
        # One more than the last ticket, not the time of day: a clock that is set back would let two run.
        others = [_ticket(other).number for other in _living() if other.id != run.id]
        ticket = {"ticket": 1 + max(others, default=0), "device": request.device, "places": request.places}
        locks.write(run.lock, json.dumps(ticket).encode())
        with closing(LogWriter(run.metrics)) as log:
            log.write("queued", time=time.time())
    except BaseException:
        disk.remove(run.reserve)
        lock.close()
        raise
    return lock


@contextmanager
def _queue_lock() -> Iterator[None]:
    """One submission at a time, over all processes that use this data directory."""
    # Closed to the other accounts of this machine: a run's id gives access to it.
    runs_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with guard(_queue_file()):
        yield


def _queue_file() -> Path:
    return runs_folder() / ".queue"
