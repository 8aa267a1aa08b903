"""Weight snapshots: they are the weights of a run that was stopped there, whatever happens to the run, and small."""

import shutil
from contextlib import closing
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from explorer import checkpoints, runs
from explorer.architectures import ArchitectureSpec, Stage, Stem, build
from explorer.checkpoints import CheckpointError
from explorer.datasets import Dataset, Split, channel_statistics, stored
from explorer.machine.locks import take
from explorer.presets import cifar
from explorer.runs import Request, Run, weight_snapshots
from explorer.runs.directory import StopRequested, file_stem
from explorer.runs.fitting import fit_run
from explorer.runs.log import LogWriter
from explorer.runs.weight_snapshots import Schedule, WeightSnapshots, log_spaced, snapshot, snapshot_steps
from explorer.training import TrainingConfig, fit_together, loop, restore

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 8, 8), classes=3)
TWINS = (SPEC, SPEC.twin())
NAMES = tuple(file_stem(spec.name) for spec in TWINS)
CONFIG = TrainingConfig(epochs=5, batch_size=8, device="cpu")
OWNER = "a" * 32
LAST = 30


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))


def made() -> Dataset:
    random = np.random.default_rng(0)
    train, validation, test = (
        Split(random.integers(0, 256, (n, 3, 8, 8), np.uint8), random.integers(0, 3, n)) for n in (48, 6, 12)
    )
    return Dataset("noise", ("a", "b", "c"), *channel_statistics(train.images), train, validation, test)


def new_run(number: int, config: TrainingConfig = CONFIG, letter: str = "1") -> Run:
    data = runs.stored_data("d" * 64)
    data.parent.mkdir(parents=True, exist_ok=True)
    stored.save(made(), data)
    request = Request(
        tuple(spec.to_dict() for spec in TWINS),
        config.to_dict(),
        {"kind": "stored", "number": "d" * 64},
        owner=OWNER,
        snapshots=number,
    )
    return runs.prepare(request, letter * 32)


def train(run: Run) -> None:
    run.stop_mark.unlink(missing_ok=True)
    with closing(LogWriter(run.metrics)) as log:
        fit_run(run, run.request(), log)


def state_at(step: int) -> list[dict[str, torch.Tensor]]:
    """The weights of both networks in a training that ends at that step."""
    networks = [build(spec, CONFIG.seed) for spec in TWINS]
    if step:
        for progress in fit_together(networks, made(), CONFIG, report_every=1e9, is_due=lambda at: at == step):
            if progress.step == step:
                break
    return [network.state_dict() for network in networks]


def rounded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: tensor.to(torch.bfloat16).float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_snapshot_is_the_network_of_a_training_that_was_stopped_there() -> None:
    run = new_run(7)
    train(run)
    assert snapshot_steps(run) == log_spaced(7, LAST) == (0, 1, 2, 4, 8, 15, 30)
    for step in snapshot_steps(run)[:-1]:
        for name, state in zip(NAMES, state_at(step), strict=True):
            network = snapshot(run, name, step)
            assert are_equal(network.state_dict(), rounded(state)), (name, step)
            assert not network.training and not any(each.requires_grad for each in network.parameters())
    for name in NAMES:  # the last one is the finished network, whose statistics of BatchNorm were recomputed
        finished = checkpoints.load(run.network_file(name)).network
        assert are_equal(snapshot(run, name, LAST).state_dict(), rounded(finished.state_dict()))
    early, late = (snapshot(run, "plain-6", step).state_dict() for step in (1, 30))
    assert not are_equal(early, late)


def test_a_network_of_a_snapshot_reads_its_file_no_more() -> None:
    """Windows keeps every file that some tensor still reads from, so it could not be removed."""
    run = new_run(2)
    train(run)
    network = snapshot(run, NAMES[0], LAST)
    counted = {name: int(each) for name, each in network.state_dict().items() if not each.is_floating_point()}
    assert counted and set(counted.values()) == {LAST}
    path = run.weights / f"{LAST}.safetensors"
    with path.open("r+b") as file:  # the same file with other bytes: a mapping of it would show them
        file.write(bytes(path.stat().st_size))
    assert {name: int(network.state_dict()[name]) for name in counted} == counted


def test_a_run_that_is_stopped_and_resumed_keeps_the_same_files(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parted = new_run(9), new_run(9, letter="2")
    train(whole)
    stop_at = 8  # a step that is kept
    take = WeightSnapshots.take_if_due

    def stopping(self: WeightSnapshots, step: int) -> None:
        take(self, step)
        if step == stop_at:
            parted.stop_mark.touch()

    with monkeypatch.context() as patched:
        patched.setattr(WeightSnapshots, "take_if_due", stopping)
        with pytest.raises(StopRequested):
            train(parted)
    networks = [build(spec) for spec in TWINS]
    assert restore(parted.state, networks, CONFIG).step == stop_at
    for name, network in zip(NAMES, networks, strict=True):  # what the stopped run would go on with
        assert are_equal(snapshot(parted, name, stop_at).state_dict(), rounded(network.state_dict()))
    of_a_killed_attempt = parted.weights / "29.safetensors"
    of_a_killed_attempt.write_bytes(b"later than the state that was saved")
    parted.weights.joinpath(".12.safetensors.half").write_bytes(b"half")
    parted.clear_temporaries()
    train(parted)
    contents = [{path.name: path.read_bytes() for path in run.weights.iterdir()} for run in (whole, parted)]
    assert contents[0] == contents[1] and len(contents[0]) == 9
    runs.delete(parted)
    assert not parted.folder.exists()


def test_a_run_by_the_clock_keeps_log_spaced_steps_and_its_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count()  # it tells the same of a busy machine: a hundredth of a second at each look
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(clock) / 100))
    run = new_run(5, replace(CONFIG, epochs=None, seconds=1.0))
    train(run)
    *inner, last = snapshot_steps(run)
    steps = checkpoints.load(run.network_file("plain-6")).record["steps"]
    assert last == steps > 10 and len(inner) == 4
    assert tuple(inner) == Schedule(5, None).kept(last - 1)


def test_a_run_without_snapshots_has_none_and_says_so() -> None:
    run = new_run(0)
    train(run)
    assert snapshot_steps(run) == () and not run.weights.exists()
    assert Request.from_dict({"specs": [{}], "config": {}, "data": {}, "names": []}).snapshots == 0, "of an old run"
    with pytest.raises(CheckpointError, match="no weights of step 3"):
        snapshot(run, "plain-6", 3)
    with pytest.raises(ValueError, match="train the network with snapshots"):
        weight_snapshots.nearest((), 3)
    with pytest.raises(ValueError, match="`snapshots` of a request must be from 0 to 100, received 101"):
        Request(({},), {}, {}, snapshots=101)


@pytest.mark.parametrize("number", [2, 3, 5, 14, 100])
def test_the_steps_of_a_schedule_are_spaced_by_ratio(number: int) -> None:
    for last in (1, 2, 13, 468, 100_000):
        steps = log_spaced(number, last)
        assert len(steps) == min(number, last + 1) and (steps[0], steps[-1]) == (0, last)
        assert list(steps) == sorted({*steps})
    before: set[int] = set()
    by_clock = Schedule(number, None)
    for step in range(1000):
        now = {*by_clock.kept(step)}
        assert now - before <= {step} and 0 in now and len(now) < max(2, number), "what is gone never comes back"
        assert by_clock.is_due(step) == (step in now)
        before = now
    if number == 14:
        inner = sorted(before)[1:]
        assert len(inner) == 12 and max(after / each for each, after in pairwise(inner)) <= 2.5
    assert log_spaced(14, 1000) == (0, 1, 2, 4, 7, 12, 21, 36, 63, 110, 191, 332, 576, 1000)


def test_size_and_number_are_known_before_and_small() -> None:
    twins = cifar(20), cifar(20).twin()
    planned = weight_snapshots.plan(twins, weight_snapshots.usual_number(twins))
    assert planned.number == 14 and 15e6 < planned.bytes <= 16e6
    assert weight_snapshots.usual_number([cifar(56), cifar(56).twin()]) == 14
    assert weight_snapshots.usual_number([replace(cifar(20), stages=(Stage(3, 2048),))]) == 0
    run = new_run(6)
    train(run)
    planned = weight_snapshots.plan(TWINS, 6)
    assert weight_snapshots.bytes_kept(run) <= planned.bytes <= 1.25 * weight_snapshots.bytes_kept(run)
    assert weight_snapshots.plan(TWINS, 1).number == 2 and weight_snapshots.plan(TWINS, 0).bytes == 0


def test_what_does_not_fit_is_refused_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_snapshots, "SPARE_BYTES", 0)
    each = weight_snapshots.plan(TWINS, 2).each_bytes
    weight_snapshots.check_space(TWINS, 3, OWNER)
    monkeypatch.setattr(weight_snapshots, "QUOTA_BYTES", 6 * each)
    first = new_run(3)
    train(first)
    second = new_run(5, letter="2")
    with pytest.raises(ValueError, match=r"^5 snapshots of the weights take .* keep [34] or fewer, or delete runs\.$"):
        train(second)
    assert not second.weights.exists() and not second.state.exists(), "before anything started"
    weight_snapshots.check_request(second.request(), besides=first)
    weight_snapshots.check_space(TWINS, 5)  # from a terminal
    full = type("", (), {"free": each})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(ValueError, match="free on the disk; keep none, or delete runs"):
        weight_snapshots.check_space(TWINS, 5)


def test_the_quota_counts_what_a_waiting_run_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    each = weight_snapshots.plan(TWINS, 2).each_bytes
    monkeypatch.setattr(weight_snapshots, "QUOTA_BYTES", 6 * each)
    first = new_run(4)
    second = replace(first.request(), snapshots=3)
    weight_snapshots.check_request(second)
    lock = take(first.lock)  # as its process does while it waits and trains
    assert lock
    with pytest.raises(ValueError, match=r"^3 snapshots of the weights take .* keep 2 or fewer, or delete runs\.$"):
        runs.submit(second, "2" * 32)
    assert runs.find("2" * 32) is None and not (runs.runs_folder() / ("2" * 32)).exists()
    stopped = runs.prepare(second, "3" * 32)
    LogWriter(stopped.metrics).close()
    with pytest.raises(ValueError, match="3 snapshots of the weights take"):
        runs.resume(stopped)
    assert not runs.is_alive(stopped)
    weight_snapshots.check_request(first.request(), besides=first)
    lock.close()
    weight_snapshots.check_request(second)


def test_weights_that_ran_away_are_left_out_and_damage_is_said(tmp_path: Path) -> None:
    network = build(SPEC)
    kept = WeightSnapshots(tmp_path / "weights", [network], Schedule(4, 8))
    kept.take_if_due(0)
    with torch.no_grad():
        network.stem.conv.weight[0] = torch.inf  # type: ignore[union-attr]
    kept.take_if_due(1)
    assert weight_snapshots.steps_in(kept.folder) == (0,)
    file = kept.folder / "0.safetensors"
    whole = file.read_bytes()
    for damaged in (
        b"",
        whole[:100],
        whole[:-8],
        whole.replace(b"resnet-6", b"resnet-7"),
        whole.replace(b"BF16", b"F16 "),
    ):
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged|no network 'resnet-6'"):
            weight_snapshots.load(kept.folder, "resnet-6", 0)
    file.write_bytes(whole[:-64] + b"\xff" * 64)
    with pytest.raises(CheckpointError, match="damaged"):
        weight_snapshots.load(kept.folder, "resnet-6", 0)
