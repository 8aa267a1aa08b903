"""Memory: what is free, limits for a process that may ask for too much, and what the allocator keeps."""

import ctypes
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import psutil  # type: ignore[import-untyped]

from explorer.machine.processes import end_all, family
from explorer.machine.system import is_portable

try:
    import resource
except ImportError:  # Windows, where the portable path is taken
    resource = None  # type: ignore[assignment]

LEAST_FREE = 2**29  # bytes
WATCH_S = 0.05
"""Between two looks at the memory of a process that is watched."""
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory", "bad_alloc")
"""Parts of the messages of torch, of a GPU's driver, of C++ and of the system."""


def _malloc_environment() -> Mapping[str, str]:
    """A run keeps the memory that a step has freed for the next one. By default glibc returns it to the system, which
    clears it again in each step: at 56 layers on a CPU a fifth of the time. Before 2.35 glibc takes only one of the two
    values, which would be worse than none."""
    library, version = platform.libc_ver()
    if library != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 35):
        return {}
    return {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**34)}


MALLOC_ENV = _malloc_environment()
"""Environment of a process that trains. Other allocators have no such variables."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed() -> None:
    """Asks of this process what `MALLOC_ENV` asks of a new one: a command that measures for minutes calls it. Does
    nothing where that is empty."""
    if MALLOC_ENV:
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 2**30)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)  # the most that its argument holds


# glibc keeps what is freed: messages of a megabyte leave holes, which it hands back only when asked.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def hand_back() -> None:
    """Gives freed memory back to the system, where the allocator keeps it until it is asked."""
    if _trim:
        _trim(0)


def free_memory() -> int:
    """Bytes that a new process could take, of the machine and, on Linux, its control group; at least `LEAST_FREE`."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    for limit, used, file_cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),  # version 1
    ):
        with suppress(OSError, ValueError, StopIteration):  # no limit
            lines = (group / limit).with_name("memory.stat").read_text(encoding="utf-8").splitlines()
            # Files that were read count as used, but are dropped when memory is needed.
            droppable = next(int(line.split()[1]) for line in lines if line.startswith(f"{file_cache} "))
            limits, uses = ((group / name).read_text(encoding="utf-8") for name in (limit, used))
            free = min(free, int(limits) - int(uses) + droppable)
    return max(free, LEAST_FREE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a request for memory has failed, in Python, in torch or in the system."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


# --- the memory of this process --------------------------------------------------------------------------------------


def limit_to(more: int) -> bool:
    """Lets this process take so many bytes more than it has; a larger request then fails in it. False where the system
    keeps no such limit: then `wait_until_exceeded` watches."""
    if is_portable() or resource is None:
        return False
    with suppress(OSError, ValueError, StopIteration), open("/proc/self/status", encoding="utf-8") as file:
        taken = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData:"))
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([more + taken, *limits]), hard))
        return True
    return False  # macOS


def wait_until_exceeded(limit: int) -> None:
    """Returns once this process uses more than so many bytes."""
    process = psutil.Process()
    while _used(process) <= limit:
        time.sleep(WATCH_S)


def used() -> int:
    """Bytes that this process uses."""
    return _used(psutil.Process())


def _used(process: psutil.Process) -> int:
    """Bytes of the process: on Windows all that it reserved for itself, elsewhere what lies in memory."""
    info = process.memory_info()
    return int(getattr(info, "private", info.rss))


def be_killed_first() -> None:
    """Lets Linux kill this process before others when memory runs out. Does nothing elsewhere."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
        file.write("800")


# --- a child that is not trusted -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """Of a process: its address space, its memory where only that can be watched, and what it writes, in bytes; its
    time, in seconds of a processor and of the clock."""

    address_space: int
    memory: int
    written: int
    cpu_seconds: int
    wall_seconds: float

    def apply_here(self) -> None:
        """Limits this process, as far as its system can; `wait` watches the rest."""
        if is_portable() or resource is None:
            return
        for kind, limit in (
            (resource.RLIMIT_AS, self.address_space),
            (resource.RLIMIT_CPU, self.cpu_seconds),
            (resource.RLIMIT_FSIZE, self.written),
            (resource.RLIMIT_CORE, 0),
        ):
            try:
                resource.setrlimit(kind, (limit, limit))
            except (OSError, ValueError):
                if sys.platform == "linux":
                    raise

    def wait(self, process: "subprocess.Popen[bytes]", answer: BinaryIO) -> bool:
        """Waits for the end of a detached process, which writes into `answer`. Whether it kept the limits; else it is
        killed. Nothing of it lives afterwards; on the portable path that is all that was ever seen below it."""
        seen: set[Any] = set()
        try:
            if sys.platform == "linux" and not is_portable():
                process.wait(self.wall_seconds)
                return True
            return self._watch(process, answer, seen)
        except subprocess.TimeoutExpired:
            return False
        finally:
            end_all(process, seen)

    def _watch(self, process: "subprocess.Popen[bytes]", answer: BinaryIO, seen: set[Any]) -> bool:
        """As `wait`, without the end. Adds to `seen` the processes of psutil that it finds."""
        deadline = time.monotonic() + self.wall_seconds
        while process.poll() is None:
            found = family(process.pid)
            seen.update(found)
            memory, seconds = _uses(found)
            written = os.fstat(answer.fileno()).st_size
            if memory > self.memory or seconds > self.cpu_seconds or written > self.written:
                return False
            if time.monotonic() > deadline:
                return False
            with suppress(subprocess.TimeoutExpired):
                process.wait(WATCH_S)
        return True


def _uses(found: Iterable[Any]) -> tuple[int, float]:
    """(bytes, seconds of a processor) that these processes use now: one and all below it. An interpreter of a virtual
    environment on Windows is a child of the one that was started."""
    memory, seconds = 0, 0.0
    for each in found:
        with suppress(psutil.Error):
            memory += _used(each)
            times = each.cpu_times()
            seconds += times.user + times.system
    return memory, seconds
