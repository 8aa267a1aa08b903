"""Locks of files that end with the process that holds them, for runs and studies."""

import os
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: the app runs there, but has no such locks
    fcntl = None  # type: ignore[assignment]

THERE = fcntl is not None


def try_lock(descriptor: int, shared: bool = False) -> bool:
    """Takes the lock if it is free; it is held until every copy of the descriptor is closed."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(descriptor: int) -> None:
    """Takes the lock as soon as it is free."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of that file."""
    try:
        with path.open("rb") as file:
            return not try_lock(file.fileno(), shared=True)  # two processes that check at once do not see each other
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # as with too many open files: unknown, so no process may start or delete it
        return True


def take(path: Path) -> int | None:
    """The descriptor of the file's lock, which this process and those that inherit it hold; None where another one
    does. Raises OSError where the disk is full."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(100):  # a process that checks whether it is held takes the lock for a moment
        if try_lock(descriptor):
            return descriptor
        time.sleep(0.01)
    os.close(descriptor)
    return None


def inherited(path: Path, variable: str) -> int | None:
    """The descriptor of the file's lock that the process inherited, as the environment `variable` says; else None."""
    try:
        descriptor = int(os.environ.pop(variable, ""))
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            os.set_inheritable(descriptor, False)
            return descriptor
    except (ValueError, OSError):
        pass
    return None
