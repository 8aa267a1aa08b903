"""Laws of `machine`: affinity and quotas, of both versions of control groups, and priorities."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from explorer import machine
from explorer.machine import memory
from explorer.training import choose_device, device, use_threads

PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def system(folder: Path, groups: str, files: dict[str, str]) -> Path:
    """A Linux whose process lies in these groups, with these files below /sys/fs/cgroup."""
    for name, text in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {}, math.inf),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),  # a container sees its own group as the top
        ("0::/app/web\n", {"app/web/cpu.max": "max 100000\n", "app/cpu.max": "75000 50000\n"}, 1.5),
        ("0::/app/web\n", {"app/web/cpu.max": "20000 100000\n", "app/cpu.max": "75000 50000\n"}, 0.2),
        ("0::/../../gone\n", {"cpu.max": "100000 100000\n"}, 1.0),
        ("5:memory:/x\n1:cpu,cpuacct:/x\n", {"cpu,cpuacct/x/cpu.cfs_quota_us": "100000",
                                              "cpu,cpuacct/x/cpu.cfs_period_us": "100000"}, 1.0),
        ("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("1:cpu:/docker/7f\n", {"cpu/cpu.cfs_quota_us": "90000", "cpu/cpu.cfs_period_us": "100000"}, 0.9),
        ("5:memory:/x\n", {"memory/x/cpu.max": "1 100000"}, math.inf),  # not a group of processors
        ("0::/\n", {"cpu.max": "what is this\n"}, math.inf),
        ("0::/\n", {"cpu.max": "0 100000\n"}, math.inf),
    ],
)  # fmt: skip
def test_the_limit_is_the_smallest_of_affinity_and_quotas(
    groups: str, files: dict[str, str], quota: float, tmp_path: Path
):
    folder = system(tmp_path, groups, files)
    assert machine.core_limit(folder) == min(PROCESSORS, quota)
    assert machine.cores(folder) == max(1, math.floor(min(PROCESSORS, quota)))


def test_a_system_without_control_groups_has_the_cores_of_the_affinity(tmp_path: Path):
    assert machine.core_limit(tmp_path) == PROCESSORS
    assert machine.idle_cores(0, tmp_path) == math.inf


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_affinity_of_the_process_counts():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); from explorer import machine; "
    result = subprocess.run([sys.executable, "-c", code + "print(machine.cores())"], capture_output=True, text=True)
    assert result.stdout == "1\n", result.stderr


def test_idle_cores_lie_between_none_and_all():
    assert 0 <= machine.idle_cores(0.1) <= (os.cpu_count() or 1) + 0.5


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system has no priorities")
@pytest.mark.parametrize("session", [True, False])
@pytest.mark.parametrize("way", ["", "0"])
def test_a_process_that_gives_way_lowers_its_own_priority_and_no_other(session: bool, way: str):
    """Where Linux groups processes by session, only a group that is this process's own."""
    group = Path("/proc/self/autogroup")
    before = group.read_text() if group.exists() else ""
    code = (
        "import os; from pathlib import Path; from explorer import machine; machine.give_way(); "
        "print(os.nice(0)); p = Path('/proc/self/autogroup'); print(p.read_text().split()[-1] if p.exists() else '')"
    )
    environment = os.environ | {"EXPLORER_GIVE_WAY": way}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=session, env=environment
    )
    priority, of_group = result.stdout.split("\n")[:2]
    lowered = 0 if way == "0" else machine.NICE
    assert int(priority) == min(19, os.nice(0) + lowered), result.stderr
    if before and session:
        assert of_group == str(lowered)
    assert not group.exists() or group.read_text() == before


def test_a_gpu_that_cannot_compute_is_left_alone_with_its_reason(monkeypatch: pytest.MonkeyPatch):
    """A torch without CUDA that says it had it fails as an old GPU does: only when it computes."""
    if torch.version.cuda and torch.cuda.is_available():
        pytest.skip("this machine has a GPU that computes")
    assert device.unused_device() == "" or "Apple" in device.unused_device()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert choose_device().type == "cpu"
    sentence = device.unused_device()
    assert sentence.startswith("The GPU of this machine is not used: ") and sentence.endswith("CPU computes instead.")
    with pytest.raises(ValueError, match='`device` "cuda" is not available on this machine: .*; use "auto" or "cpu"'):
        choose_device("cuda")


def test_by_default_torch_has_no_more_threads_than_cores():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(64)
        use_threads()
        assert 1 <= torch.get_num_threads() <= machine.cores()
        use_threads(3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("limit", ["AVX2", "avx512_core"])
def test_bfloat16_is_not_taken_where_onednn_may_not_use_its_instructions(limit: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert device.choose_precision(torch.device("cpu")) == torch.float32
    assert device.choose_precision(torch.device("cpu"), "bfloat16") == torch.bfloat16, "an explicit wish counts"


KEPT = """
import resource
import numpy as np
from explorer.machine import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(2**26, dtype=np.uint8)  # 64 MiB, of which the system clears each page at its first touch
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
memory.keep_freed()
faults()
print(before, faults())
"""


@pytest.mark.skipif(not memory.MALLOC_ENV, reason="another allocator, or a glibc before 2.35")
def test_a_process_that_keeps_what_it_freed_is_given_it_once() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in memory.MALLOC_ENV}
    answer = subprocess.run([sys.executable, "-c", KEPT], env=environment, capture_output=True, text=True, check=True)
    before, after = map(int, answer.stdout.split())
    assert after < before / 10
