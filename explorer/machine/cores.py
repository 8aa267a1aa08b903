"""Cores that this process may use, by its affinity and the quotas of its control groups, and those that are idle."""

import math
import os
import sys
import time
from pathlib import Path, PurePosixPath

import psutil  # type: ignore[import-untyped]

from explorer.machine.system import is_portable

_SYSTEM = Path("/")


def core_limit(system: Path = _SYSTEM) -> float:
    """Cores that this process may use together, above 0: 0.5 where a control group allows half of one.

    The smallest of the processors that its affinity allows and the quotas of its own control group and of all above
    it (`cpu.max`; `cpu.cfs_quota_us` of version 1). A container often has all processors of the machine and a quota.
    """
    return min([float(_allowed()), *_quotas(system)])


def _allowed() -> int:
    """Processors that the affinity of this process allows; all where the system has none, as macOS."""
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else os.cpu_count() or 1


def cores(system: Path = _SYSTEM) -> int:
    """Whole cores for threads that compute, at least 1: more threads than the quota has cores wait for each other."""
    return max(1, math.floor(core_limit(system) + 1e-6))


def idle_cores(seconds: float = 0.3, system: Path = _SYSTEM) -> float:
    """Cores that were idle during so many `seconds`, from 0; infinite where the system does not say."""
    look = _shares if system == _SYSTEM and (is_portable() or sys.platform != "linux") else _ticks
    try:
        before = look(system)
        time.sleep(seconds)
        idle, passed = (after - earlier for after, earlier in zip(look(system), before, strict=True))
    except (OSError, ValueError):
        return math.inf
    return idle / passed * (os.cpu_count() or 1) if passed > 0 else math.inf


def _ticks(system: Path) -> tuple[float, float]:
    """(idle, all) ticks of all processors since the machine started. Ticks of processes that wait for a disk count as
    idle, and those of lower priority: measurements of the speed, and trainings, which wait for each other."""
    name, *ticks = (system / "proc/stat").read_text(encoding="utf-8").partition("\n")[0].split()
    if name != "cpu" or len(ticks) < 8:
        raise ValueError("no ticks of processors")
    values = [int(tick) for tick in ticks[:8]]  # guests of a virtual machine count in the first two
    return values[1] + values[3] + values[4], sum(values)


def _shares(_: Path) -> tuple[float, float]:
    """(idle, all) seconds of all processors, as `_ticks`, by the library. Windows counts processes of lower priority as
    all others."""
    times = psutil.cpu_times()._asdict()
    for part in ("guest", "guest_nice", "interrupt", "dpc"):  # they count in others already
        times.pop(part, None)
    return sum(times.get(kind, 0.0) for kind in ("idle", "iowait", "nice")), sum(times.values())


def _quotas(system: Path) -> list[float]:
    """The quota of each control group around this process that has one, in cores."""
    try:
        lines = (system / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
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
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # "max" is no number: there is no limit
        return None
