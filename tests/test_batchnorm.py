"""Running statistics of BatchNorm after a short training: recomputed by hand, and where it matters."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.batchnorm import STEPS, Trained, rule_line, settled
from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.datasets import Dataset, Split, channel_statistics
from explorer.pretrained import checkpoint_of
from explorer.training import (
    TrainingConfig,
    TrainingState,
    evaluate,
    fit,
    fit_together,
    recompute_batchnorm,
    restore,
    save,
)
from explorer.training.batchnorm import SETTLED, running_statistics

SPEC = ArchitectureSpec((Stage(2, 8), Stage(2, 16, 2)), stem=Stem(8), input_shape=(3, 8, 8), classes=3)
CONFIG = TrainingConfig(epochs=1, batch_size=8, learning_rate=0.1, augment=False, precision="float32", device="cpu")


def coloured(count: int) -> Dataset:
    """Noise with a tint for each class: ten steps teach it."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 3
    tints = np.array([[60, 0, 0], [0, 60, 0], [0, 0, 60]])[labels]
    images = (random.integers(0, 190, (count, 3, 8, 8)) + tints[:, :, None, None]).astype(np.uint8)
    train, none = Split(images, labels), Split(images[:0], labels[:0])
    return Dataset("colours", ("red", "green", "blue"), *channel_statistics(images), train, none, train)


def normalised(dataset: Dataset) -> Tensor:
    """The training pictures, float64, by hand."""
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (dataset.mean, dataset.std))
    return (torch.from_numpy(dataset.train.images).double() / 255 - mean) / std


def trained(dataset: Dataset, spec: ArchitectureSpec = SPEC, **changes: object) -> tuple[Network, TrainingState]:
    network, state = build(spec), TrainingState()
    for _ in fit(network, dataset, replace(CONFIG, **changes), state):  # type: ignore[arg-type]
        pass
    return network, state


def weights_of(network: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())


@pytest.mark.parametrize("batch_size", [20, 77, 500])
def test_the_first_norm_has_mean_and_variance_of_all_pictures(batch_size: int) -> None:
    """By hand in float64, of 300 pictures; 77 leaves batches of unequal size."""
    dataset, network = coloured(300), build(SPEC)
    assert recompute_batchnorm(network, dataset, batch_size=batch_size, augmented=False) == 300
    assert network.stem is not None
    norm, kernel = network.stem.norm, network.stem.conv.weight
    assert isinstance(norm, nn.BatchNorm2d) and isinstance(kernel, Tensor)
    with torch.no_grad():
        outputs = F.conv2d(normalised(dataset), kernel.double(), padding=1).transpose(0, 1).flatten(1)  # (C, values)
    torch.testing.assert_close(norm.running_mean, outputs.mean(1).float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var, outputs.var(1).float(), rtol=1e-5, atol=1e-6)


def test_evaluation_is_then_what_training_mode_says_of_these_pictures() -> None:
    """At every norm: in one batch the logits of both modes differ by the unbiased variance alone."""
    dataset, network = coloured(64), build(SPEC)
    recompute_batchnorm(network, dataset, batch_size=64, augmented=False)
    images = normalised(dataset).float()
    with torch.no_grad():
        evaluated, in_training = network.eval()(images), network.train()(images)
    torch.testing.assert_close(evaluated, in_training, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("training", [True, False])
def test_weights_mode_momentum_and_random_numbers_are_left_as_they_were(training: bool) -> None:
    network = build(replace(SPEC, hidden=(8,), dropout=0.5)).train(training)
    before, random = weights_of(network), torch.random.get_rng_state()
    recompute_batchnorm(network, coloured(40), batch_size=8, augmented=True)
    after = weights_of(network)
    assert {name for name in before if not torch.equal(before[name], after[name])} == set(running_statistics(network))
    assert all(module.training == training for module in network.modules())
    assert {module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {0.1}
    assert torch.equal(torch.random.get_rng_state(), random)


def test_the_seed_decides_which_pictures_and_augmentation_changes_them() -> None:
    def recomputed(seed: int, augmented: bool) -> dict[str, Tensor]:
        network = build(SPEC)
        assert recompute_batchnorm(network, dataset, batch_size=16, augmented=augmented, seed=seed, pictures=50) == 50
        return running_statistics(network)

    dataset = coloured(200)
    assert same(recomputed(0, True), recomputed(0, True)) and same(recomputed(1, False), recomputed(1, False))
    assert not same(recomputed(0, True), recomputed(1, True)) and not same(recomputed(0, True), recomputed(0, False))


def test_the_order_of_the_data_does_not_matter() -> None:
    """Folders are read class by class; in batches of one class, the means of deep layers would be off by up to 15 %."""
    dataset = coloured(240)
    order = np.argsort(dataset.train.labels, kind="stable")
    by_class = replace(dataset, train=Split(dataset.train.images[order], dataset.train.labels[order]))
    network, _ = trained(dataset)
    found = []
    for data in (dataset, by_class):
        recompute_batchnorm(network, data, batch_size=40, augmented=False)
        found.append(network.get_buffer("stages.1.1.norm2.running_mean").clone())
    assert (found[0] - found[1]).norm() < 0.02 * found[0].norm()


def test_a_network_without_norm_and_one_that_overflows_are_left_alone() -> None:
    plain = build(replace(SPEC, norm="none"))
    before = weights_of(plain)
    assert recompute_batchnorm(plain, coloured(20), batch_size=8, augmented=False) == 0
    assert same(before, weights_of(plain))
    network = build(SPEC)
    with torch.no_grad():
        network.get_parameter("stages.1.1.conv2.weight").fill_(1e38)
    before = weights_of(network)
    assert recompute_batchnorm(network, coloured(20), batch_size=8, augmented=False) == 0
    assert same(before, weights_of(network))


def test_ten_steps_of_eight_pictures_are_evaluated_with_what_they_learned() -> None:
    """With the running statistics the loss is more than double of what training mode has; recomputed it is the same."""
    dataset = coloured(80)
    network, state = trained(dataset)
    (entry,) = state.networks
    assert state.step == 10 and set(entry.running) == set(running_statistics(network))
    found = evaluate(network, dataset.test, dataset.mean, dataset.std).loss
    with torch.no_grad():
        logits = build_like(network).train()(normalised(dataset).float())
    in_training = F.cross_entropy(logits, torch.from_numpy(dataset.test.labels)).item()
    network.load_state_dict(entry.running, strict=False)
    left = evaluate(network, dataset.test, dataset.mean, dataset.std).loss
    assert found == pytest.approx(in_training, rel=0.1) and left > 2 * in_training


def build_like(network: Network) -> Network:
    copy = build(network.spec)
    copy.load_state_dict(network.state_dict())
    return copy


@pytest.mark.parametrize(
    ("schedule", "steps", "recomputes"),
    [
        ("one_cycle", SETTLED - 1, True),
        ("one_cycle", SETTLED, False),
        ("cosine", SETTLED, False),
        ("step", SETTLED, False),
        ("constant", SETTLED, True),
    ],
)
def test_from_so_many_steps_on_they_stay_as_training_left_them_but_at_a_constant_rate(
    schedule: Any, steps: int, recomputes: bool
) -> None:
    dataset = coloured(2 * steps)
    network, state = build(SPEC), TrainingState()
    *_, last = fit(network, dataset, replace(CONFIG, batch_size=2, schedule=schedule), state)
    assert last.records[0].steps == steps
    assert last.records[0].batchnorm_images == (min(1000, 2 * steps) if recomputes else 0)
    assert bool(state.networks[0].running) == recomputes


def test_one_that_diverged_or_has_no_norm_says_that_it_was_not_recomputed() -> None:
    networks = [build(replace(SPEC, norm="none")), build(SPEC)]
    *_, last = fit_together(networks, coloured(160), replace(CONFIG, learning_rate=1e6))
    assert (last.records[0].outcome, last.records[0].batchnorm_images) == ("diverged", 0)
    *_, last = fit(build(replace(SPEC, norm="none")), coloured(80), replace(CONFIG, learning_rate=1e-3))
    assert (last.records[0].outcome, last.records[0].batchnorm_images) == ("finished", 0)


def test_the_file_tells_the_accuracy_with_both() -> None:
    dataset = coloured(80)
    network, state = build(SPEC), TrainingState()
    *_, last = fit(network, dataset, CONFIG, state)
    (record,), recomputed = last.records, running_statistics(network)
    checkpoint = checkpoint_of(network, dataset, record, state.networks[0].running)
    assert checkpoint.record["batchnorm_images"] == 80 and same(running_statistics(network), recomputed)
    test = evaluate(network, dataset.test, dataset.mean, dataset.std)
    assert checkpoint.metrics["test"]["accuracy"] == test.accuracy
    network.load_state_dict(state.networks[0].running, strict=False)
    left = evaluate(network, dataset.test, dataset.mean, dataset.std)
    assert checkpoint.metrics["test_running"]["accuracy"] == left.accuracy
    assert checkpoint.metrics["test_running"]["loss"] == pytest.approx(left.loss, abs=1e-4)
    assert "test_running" not in checkpoint_of(network, dataset, record).metrics


def test_the_second_accuracy_is_of_a_thousand_pictures_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.pretrained.COMPARED", 30)
    dataset = coloured(80)
    order = np.argsort(dataset.train.labels, kind="stable")
    dataset = replace(dataset, test=Split(dataset.train.images[order], dataset.train.labels[order]))
    network, state = trained(dataset)
    *_, last = fit(network, dataset, CONFIG, state)
    figures = checkpoint_of(network, dataset, last.records[0], state.networks[0].running).metrics
    assert (figures["test"]["n"], figures["test_running"]["n"]) == (80, 27)  # every third
    network.load_state_dict(state.networks[0].running, strict=False)
    every = Split(dataset.test.images[::3], dataset.test.labels[::3])
    assert set(every.labels) == {0, 1, 2}
    assert figures["test_running"]["accuracy"] == evaluate(network, every, dataset.mean, dataset.std).accuracy


def test_the_last_validation_is_of_the_recomputed_network() -> None:
    dataset = coloured(80)
    dataset = replace(dataset, validation=dataset.train)
    network, state = build(SPEC), TrainingState()
    *_, last = fit(network, dataset, CONFIG, state)
    assert last.records[0].epochs[-1].validation == evaluate(network, dataset.train, dataset.mean, dataset.std)


def test_killed_before_or_after_it_a_run_ends_with_the_same_bits_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.training.loop.LONG_VALIDATION", 0.0)
    dataset = coloured(80)
    network, state = build(SPEC), TrainingState()
    *shown, _ = fit(network, dataset, CONFIG, state, report_every=0)
    assert shown[-1].validates_next and shown[-1].fraction == 1, "the state can be saved before"
    expected, left = weights_of(network), state.networks[0].running

    network, state = build(SPEC), TrainingState()
    training = fit(network, dataset, CONFIG, state, report_every=0)
    while not next(training).validates_next:
        pass
    save(tmp_path / "before", [network], state, CONFIG)
    for _ in training:
        pass
    save(tmp_path / "after", [network], state, CONFIG)
    for name in ("before", "after"):
        resumed = build(SPEC, seed=9)
        again = restore(tmp_path / name, [resumed], CONFIG)
        *_, last = fit(resumed, dataset, CONFIG, again)
        assert same(weights_of(resumed), expected) and same(again.networks[0].running, left), name
        assert last.records[0].batchnorm_images == 80


def test_the_benchmark_calls_settled_what_no_network_lags_after() -> None:
    def found(steps: int, running: float, right: int = 60, schedule: Any = "one_cycle") -> Trained:
        ways = {"running": np.arange(120) < right, "augmented": np.arange(120) < 60}
        return Trained("a", schedule, 8, 0.1, steps, ways, {"running": running, "augmented": 1.0})

    some = [found(steps, 1.05) for steps in STEPS]
    assert settled(some, "one_cycle") == settled(some, "constant") == STEPS[0]
    assert settled([*some, found(10, 50.0), found(40, 1.2)], "one_cycle") == 80
    assert settled([*some, found(80, 1.0, right=30)], "one_cycle") == 200
    assert settled([*some, found(200, 1.2, schedule="constant")], "constant") is None
    assert "after fewer than 10 steps with a rate that falls, always with a constant one" in rule_line(
        [*some, found(200, 1.2, schedule="constant")]
    )


@pytest.mark.parametrize("running", [[1, 1, 0] * 40, [1, 0, 1] * 40])
def test_the_benchmark_tells_a_gain_from_chance(running: list[int]) -> None:
    """Right on 40 more pictures of 120 and on none less is no chance; on 40 more and 40 less it is."""
    ways = {"running": np.array(running, bool), "augmented": np.array([1, 1, 0] * 40, bool)}
    ways["all"] = np.ones(120, bool)
    network = Trained("a", "one_cycle", 8, 0.1, 10, ways, {})
    assert not network.better("augmented", "running") and not network.better("running", "augmented")
    assert network.better("all", "running") and not network.better("running", "all")
