"""Laws of a run that executes in its own process: whatever happens to it, nothing is lost, mixed up or left unsaid.

The processes are real (`python -m explorer train RUN`), the networks tiny. Times are asserted with a tolerance for a
machine that does other things too: what is promised is a stop within 5 seconds on an idle one.

One file: every case needs the small run, its process and the patience that are set up here.
"""

import errno
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explorer import checkpoints, runs
from explorer.architectures import ArchitectureSpec, Stage, Stem, build
from explorer.datasets import Dataset, Split, channel_statistics, stored
from explorer.machine.system import PORTABLE_ENV, is_portable
from explorer.runs import Request, Run
from explorer.runs.fitting import fit_run
from explorer.runs.log import LogWriter
from explorer.training import TrainingConfig, fit_together
from explorer.training.loop import _TrainedNetwork
from tests.made_runs import processes_of

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[1]
SPEC = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 8, 8), classes=3)
TWINS = (SPEC, SPEC.twin())
CONFIG = TrainingConfig(epochs=6, batch_size=8, device="cpu")
STEPS_AN_EPOCH = 6
STOP_S = 5.0
"""Promised on an idle machine; `stop` says how much longer it may take on one that is not."""
LONG_S = 180.0
"""For what takes 3 seconds on an idle machine."""


def made(train: int = 8 * STEPS_AN_EPOCH, validation: int = 12, test: int = 24) -> Dataset:
    """Noise with random labels, 8 × 8 pixels: there is nothing to find in it, but a network can learn it by heart."""
    generator = np.random.default_rng(0)
    first, second, third = (
        Split(generator.integers(0, 256, (count, 3, 8, 8), np.uint8), generator.integers(0, 3, count))
        for count in (train, validation, test)
    )
    return Dataset("noise", ("a", "b", "c"), *channel_statistics(first.images), first, second, third)


DATA = made()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory of its own for every test, and no process of its runs left behind."""
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path / "here"))
    yield tmp_path

    def none_is_left() -> bool:
        left = processes_of(str(tmp_path))
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return not left

    wait_until(none_is_left, "processes end")


def process_of(run: Run) -> int:
    """The one that executes the run. It lives when `submit` returns, but the kernel may not show its command yet: what
    started it goes on as soon as the new program has its memory, and its arguments are put there a moment later."""
    (process,) = wait_until(lambda: processes_of(run.id), "the command of its process can be seen")
    return process


def wait_until(condition: Callable[[], Any], what: str, seconds: float = LONG_S) -> Any:
    """What the condition gives as soon as that is true; looks 25 times a second, which takes no core from the run."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"waited {seconds:.0f} s in vain until {what}"
        time.sleep(0.04)
    return found


def wait_for(run: Run, *states: str) -> runs.Status:
    """Its status as soon as it is in one of these states; the test fails where it ends otherwise."""

    def look() -> runs.Status | None:
        status = runs.status(run)
        over = status.state not in ("queued", "running")
        assert not over or status.state in states, (status.state, status.log.end, run.log_text.read_text())
        return status if status.state in states else None

    return wait_until(look, f"the run is {' or '.join(states)}")


def request(data: Dataset | None = None, specs: tuple[ArchitectureSpec, ...] = TWINS, **changes: Any) -> Request:
    number = secrets.token_hex(32)
    path = runs.stored_data(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.save(data or DATA, path)
    return Request(
        specs=tuple(spec.to_dict() for spec in specs),
        config=replace(CONFIG, **changes).to_dict(),
        data={"kind": "stored", "number": number},
        owner="a" * 32,
        created=time.time(),
        names=tuple(spec.name for spec in specs),
    )


def submit(asked: Request | None = None) -> Run:
    return runs.submit(asked or request(), secrets.token_hex(16))


def kill(run: Run) -> None:
    process = process_of(run)
    os.kill(process, signal.SIGKILL)
    # Gone, not only dead: a process that nobody waited for would stay as a zombie.
    wait_until(lambda: not Path(f"/proc/{process}").exists(), "the killed process is gone")
    assert runs.status(run).state == "interrupted"


IMPORT = "import time; begun = time.monotonic(); import torch; print(time.monotonic() - begun)"


def stop(run: Run) -> runs.Status:
    """Stops it within the promise, or, on a machine that is busy, within the promise and twice the time of an import of
    torch, 1.5 seconds on an idle one: what watches a run has to wait while the run itself imports it."""
    asked = time.monotonic()
    runs.stop(run)
    status = wait_for(run, "stopped")
    took = time.monotonic() - asked
    if took >= STOP_S:
        imported = subprocess.run([sys.executable, "-c", IMPORT], stdout=subprocess.PIPE, text=True, check=True)
        assert took < STOP_S + 2 * float(imported.stdout)
    return status


def is_in(run: Run, phase: str) -> bool:
    status = runs.status(run)
    assert status.state in ("queued", "running"), (status.log.end, run.log_text.read_text())
    return phase in (status.log.phase or {}).get("phase", "")


def has_trained_like(run: Run, **changes: Any) -> bool:
    """Whether its networks have, bit for bit, the weights of a training in this process that nobody disturbed."""
    networks = [build(spec, CONFIG.seed) for spec in TWINS]
    for _ in fit_together(networks, DATA, replace(CONFIG, **changes)):
        pass
    for network in networks:
        found = checkpoints.load(run.network_file(network.spec.name.lower())).network.state_dict()
        if not all(torch.equal(tensor, found[name]) for name, tensor in network.state_dict().items()):
            return False
    return True


@dataclass(frozen=True)
class SlowDisk:
    """The disk of every process that is started, as `IN_EVERY_PROCESS` has it."""

    file: Path
    full: Path
    """While there is such a file, each flush says that the disk is full."""

    def takes(self, seconds: float, hangs: str | None = None, after: int = 0) -> None:
        """Each flush takes so many seconds. After so many flushes of files whose names begin with `hangs`, the next of
        them, and all that follow it, hang until this is called again: a run gets no further, however slow a test is."""
        values = {"seconds": seconds, "hangs": hangs, "after": after}
        self.file.with_suffix(".new").write_text(json.dumps(values))
        self.file.with_suffix(".new").replace(self.file)


STANDS_STILL = "TESTED_STANDING_STILL"
"""Environment variable with which a process stands still from its start, until SIGCONT."""

IN_EVERY_PROCESS = """
import json, os, signal, time

flush, begun = os.fsync, 0

def disk():
    with open({file!r}) as file:
        return json.load(file)

def slow(descriptor):
    global begun
    now = disk()
    name = os.path.basename(os.readlink(f"/proc/self/fd/{{descriptor}}"))
    begun += now["hangs"] is not None and name.startswith(now["hangs"])
    while now["hangs"] is not None and begun > now["after"]:
        time.sleep(0.01)
        now = disk()
    begun *= now["hangs"] is not None
    time.sleep(now["seconds"])
    if os.path.exists({full!r}):
        raise OSError(28, "No space left on device")
    flush(descriptor)

os.fsync = slow
if os.environ.pop({still!r}, ""):
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    folder = tmp_path / "python"
    folder.mkdir()
    slow = SlowDisk(tmp_path / "disk", tmp_path / "full")
    slow.takes(0.0)
    text = IN_EVERY_PROCESS.format(file=str(slow.file), full=str(slow.full), still=STANDS_STILL)
    (folder / "sitecustomize.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return slow


def submit_still(asked: Request | None = None) -> Run:
    """A run that lives, is the first one of its queue and does nothing; needs `disk`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STANDS_STILL, "1")
        run = submit(asked)
    process = process_of(run)
    wait_until(lambda: stands_still(process), "it stands still")
    return run


def stands_still(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].startswith("T")


# --- killed ----------------------------------------------------------------------------------------------------------


GRADIENT_STEPS = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]


def check_log(run: Run) -> None:
    """The laws of the metrics file, which hold at every moment."""
    log = runs.status(run).log
    steps = [event["step"] for event in log.progress]
    assert steps == sorted(steps)
    for network in (0, 1):
        measured = [event["step"] for event in log.gradients if event["network"] == network]
        assert len(set(measured)) == len(measured) and measured == sorted(measured)


MOMENTS: dict[str, tuple[str | None, int]] = {
    "sometime": (".state.", 5),  # before it has saved so many states that none is left for the next moment
    "saving its state": (".state.", 0),
    "saving a network": (".resnet-6.safetensors.", 0),
    "never": (None, 0),
}
"""When a run is killed, and where the disk hangs so that it gets no further: at which file, after how many of those."""


def test_killed_at_any_moment_a_run_goes_on_and_ends_with_the_same_bits(
    disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # names all that is imported in the run's log
    seed = secrets.randbits(32)
    moments = random.Random(seed)
    epochs = 12
    disk.takes(0.1, *MOMENTS["sometime"])
    run = submit(request(epochs=epochs))
    reached = 0
    for moment, following in pairwise(MOMENTS):
        wait_until(lambda: is_in(run, "training") or is_in(run, "measuring"), "it trains")
        begin = runs.status(run).log.start
        assert begin and begin["step"] >= reached - STEPS_AN_EPOCH, f"more than an epoch was lost, {seed=}"
        name, until = MOMENTS[moment][0], time.monotonic() + moments.uniform(0.0, 0.6)

        def due(moment: str = moment, name: str | None = name, until: float = until) -> bool:
            check_log(run)
            if moment == "sometime":
                return time.monotonic() > until
            assert runs.status(run).state == "running", f"it is over before it was seen {moment}"
            return any(run.folder.glob(f"{name}*"))

        wait_until(due, f"its moment comes: {moment}, {seed=}")
        kill(run)
        log = runs.status(run).log
        reached = log.progress[-1]["step"] if log.progress else 0
        left = list(run.folder.glob(".*"))
        if moment != "sometime":
            assert [path.name.startswith(str(name)) for path in left] == [True]
        disk.takes(0.1, *MOMENTS[following])
        monkeypatch.setenv(PORTABLE_ENV, "1")  # from its first kill on; a killed process holds a run on no path
        runs.resume(run)
        assert not any(path.exists() for path in left), "what was left half written is still there"
    disk.takes(0.0)
    log = wait_for(run, "finished").log
    check_log(run)
    assert log.progress[-1]["step"] == epochs * STEPS_AN_EPOCH
    assert [event["step"] for event in log.gradients if event["network"] == 1] == GRADIENT_STEPS
    assert len({event["step"] for event in log.validations}) == epochs
    assert has_trained_like(run, epochs=epochs), f"{seed=}"
    assert not run.state.exists() and not run.reserve.exists()
    imported = {line.rpartition("|")[2].strip() for line in run.log_text.read_text().splitlines()}
    assert "torch" in imported
    assert not {"torch._dynamo", "sympy"} & imported, "torch's compiler takes a second to import, sympy half of one"


# --- stopped ---------------------------------------------------------------------------------------------------------


def test_stopped_in_one_phase_after_the_other_it_still_finishes_with_the_same_bits(
    disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
):
    first = submit_still()
    disk.takes(0.0, ".state.")  # none of the next three gets beyond its first epoch before it is stopped
    run = submit()
    wait_until(lambda: runs.status(run).queue_position == 1, "it waits")
    status = stop(run)
    assert status.log.phase is None and not runs.status(run).log.progress
    with pytest.raises(ValueError, match="the run is queued, there is nothing to resume"):
        runs.resume(first)
    kill(first)

    monkeypatch.setenv(PORTABLE_ENV, "1")  # no process holds one of the two runs now
    runs.resume(run)
    wait_for(run, "running")
    stop(run)

    runs.resume(run)
    wait_until(lambda: is_in(run, "training") and runs.status(run).log.progress, "it trains")
    process = process_of(run)
    os.kill(process, signal.SIGSTOP)  # else it might be over, or out of patience, between two of these lines
    runs.stop(run)
    disk.takes(0.2)
    os.kill(process, signal.SIGCONT)
    before = stop(run).log.progress[-1]["step"]
    assert 0 < before < 6 * STEPS_AN_EPOCH and run.state.exists()

    disk.takes(0.0, ".resnet-6.safetensors.")
    runs.resume(run)
    wait_until(lambda: is_in(run, "measuring"), "it has trained")
    start = runs.status(run).log.start
    assert start and start["step"] == before, "a stop that is obeyed at once loses nothing"
    stop(run)  # while the disk hangs, or is about to

    disk.takes(0.0)
    runs.resume(run)
    wait_for(run, "finished")
    assert has_trained_like(run)
    assert not run.stop_mark.exists()


class Killed(BaseException):
    """As a kill: nothing is tidied up."""


def executed(run: Run) -> list[dict[str, Any]]:
    """What `fit_run` finds, in this process; no checksums, since a file says how long it took."""
    with closing(LogWriter(run.metrics)) as log:
        return [
            {name: value for name, value in network.items() if name != "sha256"}
            for network in fit_run(run, run.request(), log)["networks"]
        ]


STEP = "explorer.training.loop._TrainedNetwork.step"


@pytest.mark.parametrize(
    ("where", "done", "long"),  # `long` is what takes longer here than a stop waits
    [
        ("explorer.runs.fitting.checkpoint_of", 6 * STEPS_AN_EPOCH, None),  # whatever it takes
        ("explorer.training.loop.evaluate", STEPS_AN_EPOCH, "explorer.training.loop.LONG_VALIDATION"),
        (STEP, 3, "explorer.runs.fitting.LONG_STEP"),
    ],
    ids=["test", "validation", "step"],
)
def test_killed_where_a_stop_has_no_patience_a_run_loses_no_step_that_was_done(
    where: str, done: int, long: str | None, monkeypatch: pytest.MonkeyPatch
):
    asked = request()
    expected = executed(lone(asked))
    if long:
        monkeypatch.setattr(long, 0.0)
    monkeypatch.setattr("explorer.runs.fitting.fit_together", partial(fit_together, report_every=0))
    take_step = _TrainedNetwork.step

    def die(*arguments: Any) -> None:
        if where == STEP and arguments[5] < done:
            take_step(*arguments)
        else:
            raise Killed

    run = lone(asked)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(where, die)
        executed(run)
    before = runs.status(run).log.progress
    assert executed(run) == expected
    log = runs.status(run).log
    assert log.start and log.start["step"] == done
    assert log.progress[: len(before)] == before, "what was told is told again, or differently"
    assert [event["step"] for event in log.validations] == [STEPS_AN_EPOCH * (epoch + 1) for epoch in range(6)]
    check_log(run)
    assert has_trained_like(run)


def test_stopped_in_a_step_that_takes_longer_than_a_person_waits():
    wide = replace(SPEC, stages=(Stage(1, 512),), stem=Stem(512))
    run = submit(request(made(train=1024), (wide,), batch_size=512, epochs=1, augment=False))
    wait_until(lambda: is_in(run, "training"), "it trains")
    if not is_portable():  # else a watch limits its memory
        limits = Path(f"/proc/{process_of(run)}/limits").read_text()
        data = next(line.split() for line in limits.splitlines() if line.startswith("Max data size"))
        assert 2**29 < int(data[3]) <= 2 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    stop(run)
    wait_until(lambda: not processes_of(run.id), "its process is gone")
    runs.resume(run)
    wait_for(run, "running")


def test_stopped_while_it_downloads_from_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        run = submit(replace(request(), data={"kind": "cifar10"}))
        wait_until(lambda: is_in(run, "downloading"), "it downloads")
        server.settimeout(LONG_S)
        connection, _ = server.accept()  # and says nothing
        with connection:
            stop(run)
    assert not list(runs.downloads_folder().iterdir()), "something half loaded was left behind"


def test_what_fails_names_its_place_in_the_runs_log_alone(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("EXPLORER_DOWNLOAD_PAUSES", "")
    run = submit(replace(request(), data={"kind": "cifar10"}))
    end = wait_for(run, "failed").log.end
    assert end and "cannot be downloaded" in end["message"]
    assert "into the folder that the run's log names by hand" in end["message"]
    assert f"into `{runs.downloads_folder()}` by hand" in run.log_text.read_text()


# --- the queue -------------------------------------------------------------------------------------------------------

SERVER = """
import json, secrets, sys, time
from pathlib import Path
from explorer import runs

go, limit, *requests = sys.argv[1:]
if int(limit):
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit), resource.getrlimit(resource.RLIMIT_DATA)[1]))
while not Path(go).exists():
    time.sleep(0.001)
for request in requests:
    print(runs.submit(runs.Request.from_dict(json.loads(request)), secrets.token_hex(16)).id, flush=True)
print("done", flush=True)
time.sleep(1e6)
"""


@contextmanager
def server(go: Path, *requests: Request, limit: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A process that submits these requests as soon as the file `go` is there, and then lives on like an app."""
    texts = [json.dumps(asdict(each)) for each in requests]
    command = [sys.executable, "-c", SERVER, str(go), str(limit), *texts]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # as a terminal that is closed ends all that it has started


def submitted(process: subprocess.Popen[str]) -> list[Run]:
    assert process.stdout
    found = [runs.find(line.strip()) for line in iter(process.stdout.readline, "done\n")]
    assert all(found)
    return [run for run in found if run]


def events(run: Run, kind: str) -> list[dict[str, Any]]:
    lines = filter(None, run.metrics.read_bytes().split(b"\n"))
    return [event for event in map(json.loads, lines) if event["event"] == kind]


@pytest.mark.usefixtures("both_paths")
def test_two_servers_submit_at_once_and_are_killed_and_one_run_after_the_other_finishes(place: Path, disk: SlowDisk):
    asked = request(epochs=1)
    disk.takes(0.0, ".resnet-6.safetensors.")  # the first one is not over before it is killed
    with server(place / "go", asked, asked) as one, server(place / "go", asked, asked) as other:
        (place / "go").touch()
        queue = submitted(one) + submitted(other)
    tickets = {run.id: json.loads(run.lock.read_text())["ticket"] for run in queue}
    assert sorted(tickets.values()) == [1, 2, 3, 4]
    queue.sort(key=lambda run: tickets[run.id])
    assert [runs.status(run).queue_position for run in queue] == [0, 1, 2, 3]
    stop(queue.pop())  # three have an order, and each imports torch
    wait_for(queue[0], "running")
    killed = process_of(queue[0])
    died = time.time()  # or a moment later
    os.kill(killed, signal.SIGKILL)
    disk.takes(0.0)

    def none_is_left() -> bool:
        # The last one first: when it is seen to run, all before it have ended, and are seen so.
        states = [runs.status(run).state for run in reversed(queue)][::-1]
        assert states.count("running") <= 1 and "failed" not in states
        return states == ["interrupted", "finished", "finished"]

    wait_until(none_is_left, "the others have run without anybody's help", 2 * LONG_S)
    begins = [events(run, "phase")[0]["time"] for run in queue]
    ends = [died, *(events(run, "end")[0]["time"] for run in queue[1:])]
    moments = [moment for pair in zip(begins, ends, strict=True) for moment in pair]
    assert moments == sorted(moments), "two ran at once, or not in the order in which they came"


@pytest.mark.usefixtures("both_paths")
def test_ten_wait_in_small_processes_and_the_next_one_is_refused(disk: SlowDisk, monkeypatch: pytest.MonkeyPatch):
    asked = request()
    submit_still(asked)
    clocks = {clock: getattr(time, clock) for clock in ("time", "time_ns")}
    waiting = []
    for number in range(runs.MAX_WAITING):
        if number == 5:
            for clock in clocks:  # somebody sets the clock back by decades
                monkeypatch.setattr(time, clock, lambda: 1)
        waiting.append(submit(asked))
    for clock in ("time", "time_ns"):
        monkeypatch.setattr(time, clock, clocks[clock])
    assert [runs.status(run).queue_position for run in waiting] == list(range(1, runs.MAX_WAITING + 1))
    there = set(runs.runs_folder().iterdir())
    with pytest.raises(ValueError, match=r"^10 runs wait for this device already; try again when one has ended\.$"):
        submit(asked)
    assert set(runs.runs_folder().iterdir()) == there
    other = submit(replace(asked, device="mps"))  # another device has its own queue
    assert runs.status(other).queue_position == 0
    runs.stop(other)

    time.sleep(1)  # they have begun to wait
    for run in waiting:
        process = Path("/proc", str(process_of(run)))
        assert "torch" not in (process / "maps").read_text()
        memory = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS"))
        assert int(memory.split()[1]) < 50_000, "kB"
        assert runs.status(run).state == "queued"
    with pytest.raises(ValueError, match="still going on"):
        runs.delete(waiting[0])
    stop(waiting[0])
    runs.delete(waiting[0])
    assert runs.find(waiting[0].id) is None and not waiting[0].folder.exists()
    assert [runs.status(run).queue_position for run in waiting[1:]] == list(range(1, runs.MAX_WAITING))
    stop(waiting[1])
    runs.resume(waiting[1])
    assert runs.status(waiting[1]).queue_position == runs.MAX_WAITING - 1, "a run that comes back waits last"


def test_a_run_started_by_hand_joins_the_queue_and_nobody_executes_it_twice(place: Path, disk: SlowDisk):
    def by_hand(folder: Path, **environment: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "explorer", "train", str(folder)]
        ran = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
        return ran.returncode, ran.stderr

    run = submit_still()
    status, said = by_hand(run.folder)
    assert (status, said) == (2, "explorer: the run is queued, there is nothing to do.\n")
    second = submit()
    stop(second)
    second.stop_mark.unlink()
    failing = lone(replace(request(), device="mps", data={"kind": "stored", "number": "0" * 64}))  # a queue of its own
    assert by_hand(failing.folder)[0] == 1 and runs.status(failing).state == "failed"
    process = subprocess.Popen([sys.executable, "-m", "explorer", "train", str(second.folder)], cwd=ROOT)
    try:
        # It is alive, thus queued, a moment before it has its place.
        wait_until(lambda: (runs.status(second).state, runs.status(second).queue_position) == ("queued", 1), "it waits")
        stop(second)
        assert process.wait(LONG_S) == 0
    finally:
        process.kill()
        process.wait()
    status, said = by_hand(second.folder, EXPLORER_DATA=str(place / "elsewhere"))
    assert status == 2 and said.startswith("explorer: a run is executed where it was made")


# --- no memory, no disk, no sense ------------------------------------------------------------------------------------


def test_out_of_memory_ends_only_the_run_which_proposes_a_smaller_batch(place: Path):
    wide = replace(
        SPEC, stages=(Stage(1, 256),), stem=Stem(256)
    )  # its first activation: 65,536 · 256 · 8 · 8 · 4 bytes, 4.3 GB
    asked = request(made(train=65_536), (wide,), batch_size=65_536)
    (place / "go").touch()
    with server(place / "go", asked, limit=5 * 2**29) as app:  # 2.7 GB, so that this is a refusal and never swallowed
        (run,) = submitted(app)
        status = wait_for(run, "failed")
        assert app.poll() is None
    assert status.log.end and status.log.end["message"] == (
        "It ran out of memory with 65536 images a step. Start it again with a batch size of 32768 or less, or with a "
        "smaller network."
    )


@dataclass(frozen=True)
class SmallDisk:
    """The data directory on a disk that can be filled, and freed again."""

    filler: Path

    def fill(self) -> None:
        with suppress(OSError), self.filler.open("ab", buffering=0) as file:
            for size in (2**16, 2**12, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"\1" * size)

    def free(self) -> None:
        self.filler.unlink()


class DiskWithoutMount(SmallDisk):
    """For those who may not mount one: a disk that says only at the flush that it is full, as some network disks do."""

    def fill(self) -> None:
        self.filler.touch()


@pytest.fixture
def small(tmp_path: Path, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    folder = tmp_path / "small"
    folder.mkdir()
    monkeypatch.setenv("EXPLORER_DATA", str(folder))
    if os.geteuid() == 0 and not subprocess.call(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]):
        yield SmallDisk(folder / "filler")
        subprocess.check_call(["umount", "--lazy", str(folder)])
        return
    without = DiskWithoutMount(disk.full)
    flush = os.fsync

    def full(descriptor: int) -> None:
        if disk.full.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    yield without


def test_a_full_disk_is_said_the_last_state_stays_and_after_freeing_the_run_goes_on(small: SmallDisk, disk: SlowDisk):
    asked = request()
    disk.takes(0.0, ".state.", 1)
    run = submit(asked)
    wait_until(lambda: run.state.exists() and any(run.folder.glob(".state.*")), "it has saved one state, not two")
    assert is_in(run, "training")
    small.fill()
    disk.takes(0.0)
    status = wait_for(run, "failed")
    assert status.log.end and status.log.end["message"] == (
        "The disk is full. The last saved state is kept; free some space, for example by deleting runs, and resume."
    )
    assert run.state.stat().st_size > 10_000 and not list(run.folder.glob(".*"))
    small.fill()
    with pytest.raises(OSError, match="No space left on device"):
        runs.resume(run)
    assert runs.status(run).log.end == status.log.end, "what it said is still there"
    there = set(runs.runs_folder().iterdir())
    with pytest.raises(OSError, match="No space left on device"):
        submit(asked)
    assert set(runs.runs_folder().iterdir()) == there
    small.free()
    runs.resume(run)
    wait_for(run, "finished")
    start = runs.status(run).log.start
    assert start and start["step"] > 0
    assert has_trained_like(run)


def test_a_damaged_request_or_state_fails_with_one_sentence(place: Path, disk: SlowDisk):
    first = submit_still()
    text, half, state = submit(), submit(), submit()
    (text.folder / "request.json").write_text('{"specs": [1, 2')
    (half.folder / "request.json").write_text('{"specs": [], "names": [], "config": 5}')
    state.state.write_bytes(b"\0" * 100)
    kill(first)
    said = []
    for run in (text, half, state):
        end = wait_for(run, "failed").log.end
        assert end
        said.append(end["message"])
    assert said[0] == said[1] == "the request of this run is damaged; start a new one."
    assert said[2].startswith("the saved state of the training cannot be used (")
    assert said[2].endswith("); start the training again.") and str(place) not in said[2]


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("words", ["CUDA error: unspecified launch failure", "cuDNN error: CUDNN_STATUS_MAPPING_ERROR"])
def test_a_gpu_that_disappears_ends_the_run_with_its_last_state(
    words: str, saved: bool, monkeypatch: pytest.MonkeyPatch
):
    from explorer.runs import fitting

    def fails(*arguments: Any) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(fitting, "fit_run", fails)
    run = lone(request())
    if saved:
        run.state.write_bytes(b"state")
    assert runs.execute(run) == "failed"
    end = runs.status(run).log.end
    assert end and end["message"].startswith("The GPU no longer answers. ") and words not in end["message"]
    assert ("last saved state is kept" in end["message"]) == saved == run.state.exists()


def lone(asked: Request) -> Run:
    """A run that no process executes."""
    run = Run(runs.runs_folder() / secrets.token_hex(16))
    run.folder.mkdir(parents=True)
    run.write_request(asked)
    return run


def test_what_cannot_be_trained_is_said_in_one_sentence(place: Path):
    def complaint(asked: Request) -> str:
        run = lone(asked)
        with closing(LogWriter(run.metrics)) as log, pytest.raises(ValueError) as error:
            fit_run(run, asked, log)
        text = str(error.value)
        assert text.endswith(".") and "\n" not in text and str(place) not in text
        return text

    damaged, gone = request(), request()
    path = runs.stored_data(damaged.data["number"])
    path.write_bytes(path.read_bytes()[:-1])
    runs.stored_data(gone.data["number"]).unlink()
    assert "is damaged or cut off; prepare the data again" in complaint(damaged)
    assert "there is no dataset" in complaint(gone)
    assert "the network has 7 classes, noise has 3" in complaint(request(specs=(replace(SPEC, classes=7),)))
    assert "noise has no test images" in complaint(request(made(test=0)))
    assert "both networks are called ResNet-6" in complaint(request(specs=(SPEC, replace(SPEC, norm="none"))))
    assert "there is no data of the kind '../../etc'" in complaint(replace(gone, data={"kind": "../../etc"}))
    assert "`size`" in complaint(replace(gone, data={"kind": "shapes", "size": "large"}))
    assert "`classes` must be a list" in complaint(replace(gone, data={"kind": "shapes", "classes": "ring"}))
    assert "at least 2 shapes" in complaint(replace(gone, data={"kind": "shapes", "size": 16, "classes": ["ring"]}))
    some = complaint(replace(gone, data={"kind": "shapes", "size": 16, "classes": ["ring", "star"]}))
    assert "shapes-v1-16-ring-star has (3, 16, 16)" in some, "they are drawn, and the network takes others"
    assert "hexadecimal" in complaint(replace(gone, data={"kind": "stored", "number": "../../../etc/passwd"}))
    assert "`learning_rate`" in complaint(replace(gone, config={**gone.config, "learning_rate": "fast"}))
    assert "spec" in complaint(replace(gone, specs=({"stages": 5},)))
