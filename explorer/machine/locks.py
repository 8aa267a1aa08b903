"""Locks of files that end with the process that holds them, however it ends.

`guard` lets one process at a time decide something; a library has it for every system. A `Lock` says for hours that a
process executes a run or a study, and is passed on to the process that does. Where the system has `flock`, the new
process inherits it. The portable path keeps the number of the holder and the time of its start beside the file: a
killed process is known to be gone, and another one that got its number is not taken for it.
"""

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from explorer.machine import disk, processes
from explorer.machine.processes import Identity, identity, identity_of, is_running
from explorer.machine.system import is_portable

try:
    import fcntl
except ImportError:  # Windows, where the portable path is taken
    fcntl = None  # type: ignore[assignment]

_TOKEN = re.compile(r"[0-9a-f]{32}")
GUARD_POLL_S = 0.02
"""Between two looks of one that waits for its turn."""


class Lock(Protocol):
    """A lock that this process holds until it closes it, passes it on or ends."""

    def passed(self) -> tuple[str, dict[str, Any]]:
        """What a new process that shall hold it needs: a text for `inherited`, and options of `subprocess.Popen`."""

    def started(self, process: "subprocess.Popen[bytes]") -> None:
        """Makes that process a holder too. Raises OSError where the disk is full."""

    def close(self) -> None:
        """Lets it go here. A process that it was passed on to keeps it."""


@contextmanager
def guard(path: Path) -> Iterator[None]:
    """One process at a time, of all that name the same file. Waits for its turn; a process that dies has none any
    more. Raises OSError where the file cannot be made."""
    from filelock import FileLock  # here: a run that waits needs no guard, and is small

    with FileLock(path, poll_interval=GUARD_POLL_S):
        yield


@contextmanager
def guard_unless(path: Path, gives_up: Callable[[], bool], poll_s: float) -> Iterator[bool]:
    """As `guard`: True in its turn, False where `gives_up` says so before that comes. `poll_s` are the seconds between
    two looks."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, blocking=False)
    while not gives_up():
        try:
            lock.acquire()
        except Timeout:
            time.sleep(poll_s)
            continue
        try:
            yield True
        finally:
            lock.release()
        return
    yield False


def take(path: Path) -> Lock | None:
    """The lock of the file, which is made where it is missing; None where another process holds it.

    Those who take the same lock take turns by a `guard`. Raises OSError where the disk is full.
    """
    return _take_holder(path) if is_portable() else _take_flock(path)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of that file."""
    return _is_held_by_holder(path) if is_portable() else _is_flocked(path)


def inherited(path: Path, variable: str, turns: Path) -> Lock | None:
    """The lock of the file that another process passed on to this one, as the environment `variable` says; else None.

    `turns` is the guard of those who take it. Raises OSError where the disk is full.
    """
    passed = os.environ.pop(variable, "")
    if is_portable():
        return _inherited_holder(path, passed, turns)
    return _inherited_flock(path, passed)


def start(
    lock: Lock,
    command: Sequence[str],
    variable: str,
    environment: Mapping[str, str],
    ends_with: bool = False,
    **rest: Any,
) -> "subprocess.Popen[bytes]":
    """Starts a process that holds the lock too, until it ends; `inherited` gives it there. The environment `variable`
    tells it which one. The other arguments are those of `processes.start`. Raises OSError."""
    text, options = lock.passed()
    process = processes.start(command, {**environment, variable: text}, ends_with, **options, **rest)
    try:
        lock.started(process)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


def write(path: Path, content: bytes) -> None:
    """Makes that the content of the file of a lock, which stays held. Raises OSError where the disk is full."""
    with path.open("r+b", buffering=0) as file:
        file.truncate()
        file.write(content)


# --- flock -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Flock:
    """Held until every copy of the descriptor is closed."""

    descriptor: int

    def passed(self) -> tuple[str, dict[str, Any]]:
        return str(self.descriptor), {"pass_fds": [self.descriptor]}

    def started(self, process: "subprocess.Popen[bytes]") -> None:
        """The new process has a copy of the descriptor."""

    def close(self) -> None:
        os.close(self.descriptor)


def _flock(descriptor: int, shared: bool = False) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take_flock(path: Path) -> Lock | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(100):  # a process that checks whether it is held takes the lock for a moment
        if _flock(descriptor):
            return _Flock(descriptor)
        time.sleep(0.01)
    os.close(descriptor)
    return None


def _is_flocked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return not _flock(file.fileno(), shared=True)  # two processes that check at once do not see each other
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # as with too many open files: unknown, so no process may start or delete it
        return True


def _inherited_flock(path: Path, passed: str) -> Lock | None:
    with suppress(ValueError, OSError):
        descriptor = int(passed)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            os.set_inheritable(descriptor, False)
            return _Flock(descriptor)
    return None


# --- by the holder's number ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Holder:
    """Held as long as the process lives that the file beside `path` names; `token` is the secret of this holding."""

    path: Path
    token: str

    def passed(self) -> tuple[str, dict[str, Any]]:
        return self.token, {}

    def started(self, process: "subprocess.Popen[bytes]") -> None:
        self.name(identity_of(process))

    def name(self, holder: Identity) -> None:
        """Names the process that holds it. Raises OSError where the disk is full."""
        place = _holder_file(self.path)
        written = place.with_name(f"{place.name}-{secrets.token_hex(4)}")
        try:
            with open(written, "x", encoding="utf-8", opener=disk.private) as file:
                json.dump({"pid": holder.pid, "started": holder.started, "token": self.token}, file)
            disk.replace(written, place)
        except BaseException:
            written.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        with suppress(OSError):  # a reader on Windows that stays: this process's end lets it go
            named = _holder(self.path)
            # Not by the start, which may differ between two looks: the token is this holding's alone.
            if named and (named[0].pid, named[1]) == (os.getpid(), self.token):
                disk.remove(_holder_file(self.path))


def _holder_file(path: Path) -> Path:
    return path.with_name(f"{path.name}-holder")


def _holder(path: Path) -> tuple[Identity, str] | None:
    """The process that was named last, and the secret of its holding; None where there is none, or half of a file.
    Raises OSError where the file cannot be read."""
    try:
        values = json.loads(_holder_file(path).read_text(encoding="utf-8"))
        return Identity(int(values["pid"]), float(values["started"])), str(values["token"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _is_held_by_holder(path: Path) -> bool:
    try:
        found = _holder(path)
    except OSError:  # unknown, so no process may start or delete it
        return True
    return found is not None and is_running(found[0])


def _take_holder(path: Path) -> Lock | None:
    if _is_held_by_holder(path):
        return None
    for left in path.parent.glob(f"{_holder_file(path).name}-*"):  # half written by a killed process
        with suppress(OSError):  # a reader on Windows may hold it: the next `take` removes it
            disk.remove(left)
    with open(path, "ab", opener=disk.private):
        pass
    lock = _Holder(path, secrets.token_hex(16))
    lock.name(identity())
    return lock


def _inherited_holder(path: Path, passed: str, turns: Path) -> Lock | None:
    if not _TOKEN.fullmatch(passed):
        return None
    with guard(turns):  # whoever takes it while the process that passed it on is dead already comes before or after
        found = _holder(path)
        if found is None or found[1] != passed:
            return None
        lock = _Holder(path, passed)
        lock.name(identity())  # an interpreter of a virtual environment on Windows is a child of the one started
        return lock
