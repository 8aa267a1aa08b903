"""Cores that this process may use, by its affinity and the quotas of its control groups; its priority; its fellows."""

import math
import os
import time
from contextlib import suppress
from pathlib import Path, PurePosixPath

NICE = 10
"""How far the priority of a training lies below the page's: the page then waits as if no run trained."""
_SYSTEM = Path("/")


def core_limit(system: Path = _SYSTEM) -> float:
    """Cores that this process may use together, above 0: 0.5 where a control group allows half of one.

    The smallest of the processors that its affinity allows and the quotas of its own control group and of all above
    it (`cpu.max`; `cpu.cfs_quota_us` of version 1). A container often has all processors of the machine and a quota.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([float(allowed), *_quotas(system)])


def cores(system: Path = _SYSTEM) -> int:
    """Whole cores for threads that compute, at least 1: more threads than the quota has cores wait for each other."""
    return max(1, math.floor(core_limit(system) + 1e-6))


def idle_cores(seconds: float = 0.3, system: Path = _SYSTEM) -> float:
    """Cores that were idle during so many `seconds`, from 0; infinite where the system does not say."""
    try:
        before = _ticks(system)
        time.sleep(seconds)
        idle, passed = (after - earlier for after, earlier in zip(_ticks(system), before, strict=True))
    except (OSError, ValueError):
        return math.inf  # no Linux
    return idle / passed * (os.cpu_count() or 1) if passed > 0 else math.inf


def _ticks(system: Path) -> tuple[int, int]:
    """(idle, all) ticks of all processors since the machine started. Ticks of processes that wait for a disk count as
    idle, and those of lower priority: measurements of the speed, and trainings, which wait for each other."""
    name, *ticks = (system / "proc/stat").read_text().partition("\n")[0].split()
    if name != "cpu" or len(ticks) < 8:
        raise ValueError("no ticks of processors")
    values = [int(tick) for tick in ticks[:8]]  # guests of a virtual machine count in the first two
    return values[1] + values[3] + values[4], sum(values)


def give_way() -> None:
    """Lowers the priority of this process, for good. `EXPLORER_GIVE_WAY=0` keeps it, on a machine for trainings."""
    if os.environ.get("EXPLORER_GIVE_WAY") == "0":
        return
    with suppress(OSError, AttributeError):  # AttributeError: Windows has no such priorities
        os.nice(NICE)
    # Where Linux groups processes by session, a process's priority counts inside of its group only.
    with suppress(OSError, AttributeError):
        if os.getsid(0) == os.getpid():  # the group is this process's own
            Path("/proc/self/autogroup").write_text(str(NICE))


def launched() -> tuple[int, int]:
    """(rank, count) of the processes that `torchrun` started together for one training; (0, 1) without it."""
    try:
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return 0, 1
    return (rank, count) if 0 <= rank < count else (0, 1)


def _quotas(system: Path) -> list[float]:
    """The quota of each control group around this process that has one, in cores."""
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []  # no Linux
    found = []
    mounts = system / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has one tree, beside version 1 in a folder of its own; in a container the group of the container
        # may be the top of the tree while `path` still has its name outside.
        names = (controllers, "cpu") if controllers else ("", "unified")
        parts = [part for part in PurePosixPath(path.lstrip("/")).parts if part != ".."]
        for name in names:
            for depth in range(len(parts) + 1):
                found.append(_quota(mounts / name / Path(*parts[:depth])))
    return [quota for quota in found if quota]


def _quota(group: Path) -> float | None:
    """Cores, or None where the group has no limit or is not there."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # "max" is no number: there is no limit
        return None
