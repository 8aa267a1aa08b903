"""Snapshots of networks in training: the same maps as Explore's, nothing changed, a bounded share and file."""

import base64
import json
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.datasets import Dataset, Split, channel_statistics
from explorer.presets import cifar
from explorer.runs import snapshots
from explorer.runs.log import LogWriter, read
from explorer.runs.snapshots import Snapshots, explained_layer, take_snapshot
from explorer.tracing import trace
from explorer.training import Progress, TrainingConfig, fit_together
from explorer.views import grad_cam

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = ArchitectureSpec((Stage(1, 8), Stage(2, 12, 2)), stem=Stem(8), input_shape=(3, 12, 12), classes=4)
CONFIG = TrainingConfig(epochs=3, batch_size=8, device="cpu")
LAYER = "stages.1.1"


def noise(count: int, side: int = 12, classes: int = 4) -> Split:
    random = np.random.default_rng(count)
    return Split(random.integers(0, 256, (count, 3, side, side), np.uint8), np.arange(count) % classes)


def made(side: int = 12) -> Dataset:
    train = noise(48, side)
    return Dataset("noise", tuple("abcd"), *channel_statistics(train.images), train, noise(8, side), noise(12, side))


def trained(spec: ArchitectureSpec, steps: int = 4) -> Network:
    """A network in the middle of its training, in training mode: its statistics and gradients are of batches."""
    network = build(spec)
    for progress in fit_together([network], made(spec.input_shape[1]), CONFIG, report_every=0):
        if progress.step == steps:
            return network
    raise AssertionError


def inputs(count: int = 6, side: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, side, side, generator=generator), torch.arange(count) % 4


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
@pytest.mark.parametrize("spec", [SPEC, SPEC.twin(), replace(SPEC, shortcut="projection", hidden=(5,), dropout=0.5)])
def test_a_snapshot_shows_the_maps_and_logits_of_a_trace(spec: ArchitectureSpec, device: str) -> None:
    network = trained(spec).to(device)
    images, labels = inputs()
    seen = take_snapshot(network, LAYER, images.to(device), labels.to(device), explained=4)
    frozen = deepcopy(network).freeze()
    assert len(seen.cams) == 4 and len(seen.logits) == 6 and any(cam.any() for cam in seen.cams)
    for index, cam in enumerate(seen.cams):
        traced = trace(frozen, images[index].numpy(), int(labels[index]))
        np.testing.assert_allclose(cam, grad_cam(traced[LAYER]), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(seen.logits[index], traced.logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_snapshot_leaves_the_network_as_it_was_also_where_it_fails(channels: int) -> None:
    network = trained(SPEC)
    network.stages[0].eval()  # whatever its modes are
    before = deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    grads = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    values = {name: grad.clone() for name, grad in grads.items()}
    assert values and True in modes and False in modes
    images, labels = inputs()
    images = torch.zeros(6, channels, 12, 12)
    if channels == 3:
        take_snapshot(network, LAYER, images, labels)
    else:
        with pytest.raises(RuntimeError, match="channels"):
            take_snapshot(network, LAYER, images, labels)
    assert [module.training for module in network.modules()] == modes
    after = network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad and parameter.grad is grads.get(name)
    assert all(torch.equal(grads[name], value) for name, value in values.items())


def test_a_training_with_snapshots_ends_with_the_same_bits(tmp_path: Path) -> None:
    spec = replace(SPEC, hidden=(5,), dropout=0.5)
    ends = []
    for watched in (False, True):
        networks, dataset = [build(spec), build(spec.twin())], made()
        with closing(LogWriter(tmp_path / f"{watched}.jsonl")) as log:
            taken = Snapshots(log, networks, dataset.test, dataset)
            steps = 0
            for progress in fit_together(networks, dataset, CONFIG, report_every=0):
                steps += 1
                if watched:
                    taken.take(progress)
        assert steps > 15
        ends.append([network.state_dict() for network in networks])
    for one, other in zip(*ends, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert len(read(tmp_path / "True.jsonl").cams) == steps and not read(tmp_path / "False.jsonl").cams


def progress_at(seconds: float, fraction: float = 0.0, step: int = 1) -> Progress:
    return Progress(step, 0, fraction, seconds, 1.0, 0.1, ())


def told(path: Path, networks: list[Network], dataset: Dataset) -> list[dict[str, Any]]:
    with closing(LogWriter(path)) as log:
        Snapshots(log, networks, dataset.test, dataset).take(progress_at(1.0, step=7))
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def decoded(network: dict[str, Any], index: int) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(network["maps"][index]), np.uint8).reshape(network["size"])
    return steps * np.float32(network["tops"][index] / 255)


def test_the_log_holds_each_map_within_a_step_of_its_own_scale(tmp_path: Path) -> None:
    networks, dataset = [trained(SPEC), trained(SPEC.twin())], made()
    predictions, cams = told(tmp_path / "metrics", networks, dataset)
    assert (predictions["event"], cams["event"]) == ("predictions", "cams")
    assert predictions["step"] == cams["step"] == 7 and cams["layers"] == [LAYER, LAYER]
    pixels = torch.from_numpy(dataset.test.images).float() / 255
    images = (pixels - torch.tensor(dataset.mean)[:, None, None]) / torch.tensor(dataset.std)[:, None, None]
    for network, entry, said in zip(networks, cams["networks"], predictions["networks"], strict=True):
        frozen = deepcopy(network).freeze()
        assert entry["answers"] == [part[:3] for part in said] and len(said[0]) == 12
        for index in range(3):
            traced = trace(frozen, images[index].numpy(), int(dataset.test.labels[index]))
            cam = grad_cam(traced[LAYER])
            assert np.abs(decoded(entry, index) - cam).max() <= cam.max() / 255
            assert entry["answers"][0][index] == traced.prediction
            assert entry["answers"][1][index] == pytest.approx(traced.probabilities.max(), rel=1e-4)
    assert all(part >= 0 for part in cams["seconds"])


@pytest.mark.parametrize("side", [12, 40, 224])
def test_an_event_stays_small_whatever_the_pictures_are(tmp_path: Path, side: int) -> None:
    spec = ArchitectureSpec((Stage(1, 4),), stem=Stem(4), input_shape=(3, side, side), classes=4)
    networks, dataset = [build(spec), build(spec.twin())], made(side)
    _, cams = told(tmp_path / "metrics", networks, dataset)
    assert len(json.dumps(cams)) < 6000 and cams["networks"][0]["size"] == [min(side, 16)] * 2


def test_numbers_that_ran_away_are_told_as_none(tmp_path: Path) -> None:
    network, dataset = build(SPEC), made()
    torch.nn.init.constant_(network.get_parameter("stages.1.1.conv1.weight"), torch.nan)
    predictions, cams = told(tmp_path / "metrics", [network], dataset)
    assert cams["networks"][0]["tops"] == [None] * 3 and not decoded(cams["networks"][0] | {"tops": [1.0] * 3}, 0).any()
    assert predictions["networks"][0][1] == [None] * 12


def test_the_maps_are_of_the_last_block_that_has_places() -> None:
    assert explained_layer(cifar(8)) == "stages.2.0" and explained_layer(cifar(20)) == "stages.2.2"
    small = ArchitectureSpec((Stage(2, 4, 2), Stage(1, 4, 4)), stem=Stem(4), input_shape=(3, 8, 8), classes=4)
    assert explained_layer(small) == "stages.0.1", "the last one has a single pixel"
    lonely = ArchitectureSpec((Stage(1, 4, 8),), stem=Stem(4), input_shape=(3, 8, 8), classes=4)
    assert explained_layer(lonely) == "stages.0.0", "there is no other"


class SlowLog(LogWriter):
    """A log in which a snapshot takes `cost` seconds, on a clock that moves only by it and by what a test does."""

    def __init__(self, path: Path, cost: float) -> None:
        super().__init__(path)
        self.cost, self.now = cost, 1000.0

    def write(self, event: str, **values: Any) -> None:
        self.now += self.cost / 2  # a snapshot writes two events


def snapshots_of(
    log: SlowLog, seconds: float, step_takes: float, monkeypatch: pytest.MonkeyPatch, frames: int | None = None
) -> tuple[Snapshots, list[float]]:
    """The snapshots of a training of that length, and when they were."""
    monkeypatch.setattr(snapshots, "time", SimpleNamespace(monotonic=lambda: log.now, perf_counter=lambda: 0.0))
    dataset = made()
    taken = Snapshots(log, [build(SPEC)], dataset.test, dataset, frames)
    began, at = log.now, []
    while log.now - began < seconds:
        log.now += step_takes
        progress = progress_at(log.now - began, (log.now - began) / seconds)
        if taken.is_due(progress):
            at.append(log.now - began)
            taken.take(progress)
    if frames is None:
        at.append(log.now - began)
        taken.take(progress)  # the last one, after the training
    return taken, at


@pytest.mark.parametrize("cost", [0.001, 0.02, 0.3, 5.0])
@pytest.mark.parametrize(("seconds", "step_takes"), [(60.0, 0.05), (600.0, 1.0), (8 * 3600.0, 2.0)])
def test_snapshots_keep_to_their_share_and_the_file_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: float, seconds: float, step_takes: float
) -> None:
    with closing(SlowLog(tmp_path / "metrics", cost)) as log:
        taken, at = snapshots_of(log, seconds, step_takes, monkeypatch)
    assert at[0] == pytest.approx(step_takes), "the first one is at the beginning"
    assert taken.spent == pytest.approx(cost * len(at))
    assert taken.spent <= max(2 * cost, snapshots.SHARE * seconds) + 1e-6
    assert min(np.diff(at[:-1]), default=9.0) >= snapshots.MIN_INTERVAL_S and len(at) < 800
    if cost <= 0.02:
        assert len(at) >= 35, "where it costs little, a minute has a snapshot every 1.5 seconds"


def test_frames_stand_at_equal_distances_whatever_they_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(SlowLog(tmp_path / "metrics", 0.5)) as log:
        taken, at = snapshots_of(log, 600.0, 1.0, monkeypatch, frames=20)
    assert len(at) == 21 and np.allclose(np.diff(at), 30.0, atol=3.0)
