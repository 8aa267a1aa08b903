"""Processes: started apart from this one, told from others of the same number, watched, ended, and of low priority."""

import ctypes
import getpass
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from explorer.machine.system import is_portable

NICE = 10
"""How far the priority of a training lies below the page's: the page then waits as if no run trained."""
PARENT_ENV = "EXPLORER_ENDS_WITH"
"""Environment variable that names the process with whose end this one ends too, on the portable path."""
WATCH_S = 0.5
SAME_START_S = 0.01 if sys.platform == "win32" else 1.5
"""The start of a process, as Linux tells it, may differ by a second between two looks: the clock is corrected."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


@dataclass(frozen=True)
class Identity:
    """A process: its number, which another one may get after its end, and its start in seconds since 1970."""

    pid: int
    started: float

    def __str__(self) -> str:
        return f"{self.pid} {self.started!r}"


def identity() -> Identity:
    """The identity of this process."""
    return Identity(os.getpid(), psutil.Process().create_time())


def identity_of(process: "subprocess.Popen[bytes]") -> Identity:
    """The identity of a process that this one started and did not await; its start is 0 where it has ended already."""
    try:
        return Identity(process.pid, psutil.Process(process.pid).create_time())
    except psutil.Error:
        return Identity(process.pid, 0.0)


def is_running(other: Identity) -> bool:
    """Whether that very process lives; one that has ended and was not awaited does not."""
    try:
        process = psutil.Process(other.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return bool(abs(process.create_time() - other.started) < SAME_START_S)
    except psutil.AccessDenied:  # of another account: there is a process of that number, and no more is known
        return True
    except psutil.Error:
        return False


def detached() -> dict[str, Any]:
    """Options of `subprocess.Popen`: a closed terminal or Ctrl-C ends the app and not the new process."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def start(
    command: Sequence[str], environment: Mapping[str, str], ends_with: bool = False, **rest: Any
) -> "subprocess.Popen[bytes]":
    """Starts a detached process and returns it; the caller awaits its end. `rest` are options of `subprocess.Popen`.

    With `ends_with` the new process ends when this one does, for whatever reason. On the portable path and on macOS its
    program has to call `end_with_parent` for that. Raises OSError.
    """
    environment = dict(environment)
    environment.pop(PARENT_ENV, None)
    if ends_with and (is_portable() or sys.platform != "linux"):
        environment[PARENT_ENV] = str(identity())
    elif ends_with:
        rest["preexec_fn"] = _die_with_parent()
    return subprocess.Popen(command, env=environment, **detached(), **rest)


def await_later(process: "subprocess.Popen[bytes]") -> None:
    """Awaits the end of the process in a thread: until it is awaited, an ended process stays as a zombie."""
    threading.Thread(target=process.wait, daemon=True).start()


def _die_with_parent() -> Callable[[], None]:
    """For the new process before its program starts: Linux kills it when this one dies."""
    libc, parent = ctypes.CDLL(None), os.getpid()

    def prepare() -> None:
        libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it died before that call
            os._exit(1)

    return prepare


def end_with_parent() -> None:
    """Ends this process soon after the one that started it with `ends_with`; does nothing in any other."""
    try:
        pid, started = os.environ.pop(PARENT_ENV, "").split()
        parent = Identity(int(pid), float(started))
    except ValueError:
        return

    def watch() -> None:
        while is_running(parent):
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_all(process: "subprocess.Popen[bytes]", seen: Iterable[Any] = ()) -> None:
    """Kills a detached process and its children, and awaits it. `seen` are processes of psutil that were found below it
    before: on the portable path, the children of a process that has ended are found no more."""
    if sys.platform != "win32" and not is_portable():
        # On macOS a group whose processes have all ended and were not awaited may not be killed.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        for each in {*seen, *(family(process.pid) if process.poll() is None else ())}:
            with suppress(psutil.Error):  # it ended, also if another one has its number now, or is another account's
                each.kill()
        process.kill()
    process.wait()


def family(pid: int) -> list[Any]:
    """The process and all below it, of psutil."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def give_way() -> None:
    """Lowers the priority of this process, for good. `EXPLORER_GIVE_WAY=0` keeps it, on a machine for trainings."""
    if os.environ.get("EXPLORER_GIVE_WAY") == "0":
        return
    if is_portable():
        process = psutil.Process()
        with suppress(OSError, psutil.Error):
            process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else min(19, process.nice() + NICE))
        return
    with suppress(OSError):
        os.nice(NICE)
    # Where Linux groups processes by session, a process's priority counts inside of its group only.
    with suppress(OSError):
        if os.getsid(0) == os.getpid():  # the group is this process's own
            Path("/proc/self/autogroup").write_text(str(NICE), encoding="utf-8", newline="\n")


def launched() -> tuple[int, int]:
    """(rank, count) of the processes that `torchrun` started together for one training; (0, 1) without it."""
    try:
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return 0, 1
    return (rank, count) if 0 <= rank < count else (0, 1)


def account() -> str:
    """A name of this account of the machine, for folders beside those of others."""
    return getpass.getuser() if sys.platform == "win32" else str(os.getuid())
