"""Laws of `fit`: what a seed fixes, what each setting does to one step, and that a bad end leaves a good network.

One file for the one loop: every setting is tried on the same small data and network.
"""

import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.architectures.modules import call
from explorer.datasets import Dataset, Split, channel_statistics
from explorer.presets import cifar
from explorer.training import (
    Progress,
    TrainingConfig,
    TrainingRecord,
    TrainingState,
    augment,
    choose_device,
    choose_precision,
    evaluate,
    evaluate_classes,
    fit,
    fit_together,
    is_gradient_step,
    learning_rate_at,
    loop,
    normalise,
    restore,
    save,
)
from explorer.training.optimizer import Optimizer

SPEC = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 8, 8), classes=3)
ONE_STEP = TrainingConfig(
    epochs=1,
    batch_size=24,
    learning_rate=0.1,
    momentum=0.0,
    weight_decay=0.0,
    schedule="constant",
    augment=False,
    precision="float32",
    device="cpu",
)


def made(train: int = 24, validation: int = 0, test: int = 12, size: int = 8, classes: int = 3) -> Dataset:
    """Noise with random labels: there is nothing to find in it, but a network can learn it by heart."""
    random = np.random.default_rng(0)
    first, second, third = (
        Split(random.integers(0, 256, (count, 3, size, size), np.uint8), random.integers(0, classes, count))
        for count in (train, validation, test)
    )
    return Dataset("noise", tuple("abcdefghij"[:classes]), *channel_statistics(first.images), first, second, third)


DATA = made()


def trained(network: Network, config: TrainingConfig, dataset: Dataset = DATA) -> TrainingRecord:
    *_, last = fit(network, dataset, config)
    (record,) = last.records
    return record


def weights_of(network: Network) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())


def whole_batch(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """All training pictures, normalised by hand."""
    images = torch.from_numpy(dataset.train.images).double() / 255
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (dataset.mean, dataset.std))
    return ((images - mean) / std).float(), torch.from_numpy(dataset.train.labels)


def first_gradients(network: Network, smoothing: float = 0.0) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of the whole training set, worked out by plain autograd."""
    images, labels = whole_batch(DATA)
    logs = network.train()(images).log_softmax(1)
    chosen = logs[torch.arange(len(labels)), labels]
    loss = -((1 - smoothing) * chosen + smoothing * logs.mean(1)).mean()
    names, parameters = zip(*network.named_parameters(), strict=True)
    return loss.item(), dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


# --- what a seed fixes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adam"}, {"precision": "bfloat16"}, {"clip": 0.1}], ids=str)
def test_one_seed_gives_the_same_weights_and_record_twice(changes: Any):
    config = replace(TrainingConfig(epochs=3, batch_size=8, device="cpu"), **changes)
    first, second = build(SPEC, 1), build(SPEC, 1)
    one, other = trained(first, config), trained(second, config)
    assert same(weights_of(first), weights_of(second))
    assert one.weight_gradients == other.weight_gradients
    assert [line.train for line in one.epochs] == [line.train for line in other.epochs]


def test_one_seed_fixes_dropout_too_and_leaves_torchs_own_random_numbers_alone():
    spec = replace(SPEC, hidden=(16,), dropout=0.5)
    config = TrainingConfig(epochs=2, batch_size=8, device="cpu")
    results = []
    for elsewhere in (1, 2):
        torch.manual_seed(elsewhere)
        state = torch.random.get_rng_state()
        network = build(spec)
        trained(network, config)
        assert torch.equal(torch.random.get_rng_state(), state)
        results.append(weights_of(network))
    assert same(*results)
    without = build(replace(spec, dropout=0.0))
    trained(without, config)
    assert not same(results[0], weights_of(without))


def test_another_seed_gives_other_batches():
    first, second = build(SPEC), build(SPEC)
    trained(first, TrainingConfig(epochs=1, batch_size=8, seed=0))
    trained(second, TrainingConfig(epochs=1, batch_size=8, seed=1))
    assert not same(weights_of(first), weights_of(second))


def batches_of(spec: ArchitectureSpec, config: TrainingConfig, dataset: Dataset = DATA) -> list[Tensor]:
    network = build(spec)
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    trained(network, config, dataset)
    return seen


@pytest.mark.parametrize("changes", [{}, {"norm": "none"}, {"hidden": (9,), "dropout": 0.3}], ids=str)
def test_twins_see_identical_batches(changes: Any):
    config = TrainingConfig(epochs=3, batch_size=8)
    plain = replace(SPEC, shortcut="none", **changes)
    first, second = batches_of(plain, config), batches_of(plain.twin(), config)
    assert len(first) == 9 and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(first[0], other) for other in first[1:])


def test_an_epoch_shows_each_picture_once_and_each_epoch_in_another_order():
    dataset = made(train=27)  # three are left out of each epoch
    batches = batches_of(SPEC, replace(ONE_STEP, epochs=4, batch_size=8), dataset)
    assert [len(batch) for batch in batches] == [8] * 12
    known = {picture.numpy().tobytes(): index for index, picture in enumerate(normalised(dataset))}
    epochs = []
    for start in range(0, 12, 3):
        shown = [
            known[picture.contiguous().numpy().tobytes()] for batch in batches[start : start + 3] for picture in batch
        ]
        assert len(set(shown)) == 24
        epochs.append(tuple(shown))
    assert len(set(epochs)) == 4 and len({index for epoch in epochs for index in epoch}) > 24


def normalised(dataset: Dataset) -> Tensor:
    pixels = torch.from_numpy(dataset.train.images).permute(0, 2, 3, 1)
    return normalise(pixels, torch.tensor(dataset.mean), torch.tensor(dataset.std)).contiguous()


def test_a_batch_larger_than_the_data_is_the_data():
    assert [len(batch) for batch in batches_of(SPEC, replace(ONE_STEP, batch_size=500, epochs=2))] == [24, 24]


# --- one step, worked out by hand ------------------------------------------------------------------------------------


def test_gradient_sizes_of_step_0_are_those_of_the_first_batch_at_the_first_weights():
    """The batch is the whole set, so its order does not matter."""
    _, gradients = first_gradients(build(SPEC))
    sizes = trained(build(SPEC), ONE_STEP).weight_gradients
    names = ["stem.conv", *(f"stages.{s}.0.conv{i}" for s in (0, 1) for i in (1, 2)), "head.fc"]
    assert sizes.layers == tuple(names) and sizes.steps == (0,)
    expected = [gradients[f"{name}.weight"].double().norm().item() for name in names]
    assert sizes.norms[0] == pytest.approx(expected, rel=1e-4)


def test_vanishing_gradients_are_recorded_as_small_not_as_none():
    """Plain-56 without norm: the squares of its first gradients do not fit float32."""
    network = build(replace(cifar(56, "none", norm="none", classes=3, size=8), initialisation="pytorch"))
    sizes = trained(network, ONE_STEP).weight_gradients.norms[0]
    assert 0 < sizes[0] < 1e-18 and sizes[-1] > 1e-3


def test_the_record_holds_the_loss_of_the_step():
    loss, _ = first_gradients(build(SPEC))
    record = trained(build(SPEC), ONE_STEP)
    assert record.epochs[0].train.loss == pytest.approx(loss, rel=1e-5) and record.epochs[0].train.n == 24


@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_label_smoothing_mixes_in_the_mean_over_classes(smoothing: float):
    """Szegedy et al. 2015, section 7: the target is (1 - s) on the label and s / K on every class."""
    loss, gradients = first_gradients(build(SPEC), smoothing)
    record = trained(build(SPEC), replace(ONE_STEP, label_smoothing=smoothing))
    assert record.epochs[0].train.loss == pytest.approx(loss, rel=1e-5)
    assert record.weight_gradients.norms[0][-1] == pytest.approx(gradients["head.fc.weight"].norm().item(), rel=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_make_every_class_count_alike(smoothing: float):
    """The loss is the mean over classes of the mean over each class's pictures: each is worth n / (k n_c) of n."""
    labels = np.repeat([0, 1], [22, 2])  # of the third class there is none
    dataset = replace(DATA, train=Split(DATA.train.images, labels))
    network = build(SPEC)
    images, target = whole_batch(dataset)
    logs = network.train()(images).log_softmax(1)
    worth = torch.tensor([24 / (2 * 22), 24 / (2 * 2), 0.0])
    expected = (logs[torch.arange(24), target] * worth[target]).mean() * (smoothing - 1)
    expected -= smoothing * (logs * worth).mean()
    if not smoothing:
        by_class = [logs[target == label, label].mean() for label in (0, 1)]
        assert expected.item() == pytest.approx(-(by_class[0] + by_class[1]).item() / 2, rel=1e-5)
    (slope,) = torch.autograd.grad(expected, [network.head.fc.weight])
    config = replace(ONE_STEP, class_weights=True, label_smoothing=smoothing)
    record = trained(build(SPEC), config, dataset)
    assert record.epochs[0].train.loss == pytest.approx(expected.item(), rel=1e-5)
    assert record.weight_gradients.norms[0][-1] == pytest.approx(slope.norm().item(), rel=1e-4)


def test_class_weights_find_a_class_that_is_drowned_without_them():
    """Noise with 60 pictures of one class and 4 of another, learned for 40 steps at a low rate."""
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (64, 3, 8, 8), np.uint8), np.repeat([0, 1], [60, 4]))
    dataset = Dataset("rare", ("common", "rare"), *channel_statistics(split.images), split, DATA.validation, split)
    found = []
    for wish in (False, True):
        network = build(replace(SPEC, classes=2))
        trained(network, replace(ONE_STEP, epochs=40, batch_size=64, learning_rate=0.01, class_weights=wish), dataset)
        found.append(evaluate_classes(network, split, dataset.mean, dataset.std).right[1])
    assert found == [0, 4]


STEPS: dict[str, Any] = {
    "sgd": ({}, lambda weight, slope: weight - 0.1 * slope),
    "momentum": ({"momentum": 0.5, "nesterov": False}, lambda weight, slope: weight - 0.1 * slope),
    "nesterov": ({"momentum": 0.5}, lambda weight, slope: weight - 0.1 * 1.5 * slope),
    "weight decay": ({"weight_decay": 0.2}, lambda weight, slope: weight - 0.1 * (slope + 0.2 * weight)),
    "one-cycle": ({"schedule": "one_cycle"}, lambda weight, slope: weight - 0.004 * slope),
    "adam": ({"optimizer": "adam"}, lambda weight, slope: weight - 0.1 * slope / (slope.abs() + 1e-8)),
}


@pytest.mark.parametrize("name", STEPS)
def test_one_step_of_each_optimizer(name: str):
    """From rest: momentum adds nothing yet, Nesterov's looks ahead by it, Adam's moves by its rate along the sign."""
    changes, rule = STEPS[name]
    network = build(replace(SPEC, norm="none"))
    before = weights_of(network)
    _, gradients = first_gradients(network)
    trained(network, replace(ONE_STEP, **changes))
    after = weights_of(network)
    for parameter, slope in gradients.items():
        firm = slope.abs() > 1e-4 * slope.abs().max()  # Adam's first step turns on the sign alone
        expected = rule(before[parameter], slope)
        torch.testing.assert_close(after[parameter][firm], expected[firm], rtol=1e-4, atol=2e-5, msg=parameter)


@pytest.mark.parametrize(
    "config",
    [
        TrainingConfig(epochs=1, momentum=0.0, nesterov=False),
        TrainingConfig(epochs=1, momentum=0.9, weight_decay=0.1),
        TrainingConfig(epochs=1, momentum=0.5, nesterov=False),
        TrainingConfig(epochs=1, optimizer="adam", weight_decay=0.1),
    ],
    ids=["sgd", "nesterov", "momentum", "adam"],
)
def test_steps_have_the_bits_of_torchs_optimizers(config: TrainingConfig):
    """Also where a parameter has its first gradient later than others, and where one never has any."""
    random = torch.Generator().manual_seed(0)
    ours = [torch.randn(shape, generator=random, requires_grad=True) for shape in ((4, 3), (5,), (2, 2), (3,))]
    theirs = [each.detach().clone().requires_grad_() for each in ours]
    decay = config.weight_decay
    optimizer: torch.optim.Optimizer
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(theirs, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(theirs, momentum=config.momentum, nesterov=config.nesterov, weight_decay=decay)
    found = Optimizer(ours, config)
    for step in range(6):
        found.zero_grad()
        rate = optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        for index, (our, their) in enumerate(zip(ours[:3], theirs, strict=False)):
            if index != 2 or step > 2:
                our.grad = torch.randn(our.shape, generator=random)
                their.grad = our.grad.clone()
        found.step(rate, decay)
        optimizer.step()
        assert all(torch.equal(our, their) for our, their in zip(ours, theirs, strict=True)), step
    for our, their in zip(ours, theirs, strict=True):
        kept = {name: value for name, value in optimizer.state[their].items() if value is not None}
        assert found.state.get(our, {}).keys() == kept.keys(), "states that are saved already go on"
        assert all(torch.equal(found.state[our][name], value) for name, value in kept.items())


@pytest.mark.parametrize("clip", [1e-3, 1e6])
def test_clipping_bounds_the_whole_step(clip: float):
    network = build(SPEC)
    _, gradients = first_gradients(build(SPEC))
    size = torch.cat([slope.flatten() for slope in gradients.values()]).norm().item()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    record = trained(network, replace(ONE_STEP, clip=clip))
    moved = torch.cat([(parameter - before[name]).flatten() for name, parameter in network.named_parameters()])
    assert moved.norm().item() == pytest.approx(0.1 * min(clip, size), rel=0.01)
    assert record.weight_gradients.norms[0][-1] > 1e-3  # measured before it is clipped


def test_weight_gradients_are_measured_at_two_steps_a_doubling():
    assert [step for step in range(200) if is_gradient_step(step)] == [
        *(0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
    ]
    record = trained(build(SPEC), replace(ONE_STEP, batch_size=8, epochs=5))
    assert record.steps == 15 and record.weight_gradients.steps == (0, 1, 2, 3, 4, 6, 8, 12)
    assert {len(line) for line in record.weight_gradients.norms} == {len(record.weight_gradients.layers)}


# --- schedules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", {0: 0.1, 0.5: 0.1, 1: 0.1}),
        ("step", {0: 0.1, 0.49: 0.1, 0.5: 0.01, 0.74: 0.01, 0.75: 0.001, 1: 0.001}),
        ("cosine", {0: 0.1, 1 / 3: 0.075, 0.5: 0.05, 2 / 3: 0.025, 1: 0}),
        ("one_cycle", {0: 0.004, 0.125: 0.052, 0.25: 0.1, 0.5: 0.075, 0.625: 0.05, 0.75: 0.025, 1: 0}),
    ],
)
def test_schedules(schedule: Any, rates: dict[float, float]):
    config = TrainingConfig(epochs=1, learning_rate=0.1, schedule=schedule)
    for fraction, rate in rates.items():
        assert learning_rate_at(config, fraction) == pytest.approx(rate, abs=1e-12), fraction


def test_milestones_and_factor_of_the_step_schedule_are_free():
    config = TrainingConfig(epochs=1, learning_rate=8, schedule="step", milestones=(0.2, 0.4, 0.9), step_factor=0.5)
    assert [learning_rate_at(config, share) for share in (0.1, 0.3, 0.5, 0.95)] == [8, 4, 2, 1]


def test_each_step_uses_its_rate():
    """12 steps: the first at 0 of the run, the last at 11 / 12 of it."""
    config = replace(ONE_STEP, epochs=4, batch_size=8, schedule="step", milestones=(0.5,), weight_decay=1.0)
    shown = list(fit(build(SPEC), DATA, config, report_every=0))
    rates = {progress.step: progress.learning_rate for progress in shown}
    assert rates == pytest.approx({step: 0.1 if step <= 6 else 0.01 for step in range(1, 13)})


# --- how a training goes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shortcut", ["none", "identity"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_network_learns_noise_by_heart(shortcut: Any, optimizer: Any):
    config = TrainingConfig(epochs=60, batch_size=8, optimizer=optimizer, learning_rate=0.02, augment=False)
    network = build(replace(SPEC, shortcut=shortcut))
    record = trained(network, config)
    losses = [line.train.loss for line in record.epochs]
    assert losses[0] > 0.9 and losses[-1] < 0.1 < losses[0] / 5
    assert evaluate(network, DATA.train, DATA.mean, DATA.std).accuracy == 1
    assert record.outcome == "finished"


def test_progress_tells_where_the_training_stands():
    dataset = made(validation=6)
    shown = list(fit(build(SPEC), dataset, replace(ONE_STEP, epochs=3, batch_size=8), report_every=0))
    assert [progress.step for progress in shown] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [progress.fraction for progress in shown] == pytest.approx([progress.step / 9 for progress in shown])
    assert [progress.epoch for progress in shown] == [0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert [len(progress.records) for progress in shown] == [0] * 8 + [1]
    standings = [progress.networks[0] for progress in shown]
    measured = [standing.validation for standing in standings if standing.validation is not None]
    (record,) = shown[-1].records
    assert [line.validation for line in record.epochs] == measured
    assert [measure.n for measure in measured] == [6, 6, 6]
    assert all(a.seconds <= b.seconds for a, b in zip(shown, shown[1:], strict=False))
    assert all(progress.images_per_second > 0 for progress in shown)


def test_progress_is_told_at_least_after_each_epoch():
    shown = list(fit(build(SPEC), DATA, replace(ONE_STEP, epochs=3, batch_size=8), report_every=math.inf))
    assert [progress.step for progress in shown if progress.step % 3 == 0] == [3, 6, 9]


def test_the_record_says_all_about_the_training():
    config = replace(ONE_STEP, epochs=2, batch_size=8)
    network = build(SPEC)
    record = trained(network, config, made(validation=6))
    assert (record.config, record.outcome, record.steps, record.train_images) == (config, "finished", 6, 24)
    assert record.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert (record.precision, record.threads) == ("float32", torch.get_num_threads())
    assert record.device.startswith("CPU (") and record.versions["torch"] == torch.__version__
    assert [(line.step, line.learning_rate) for line in record.epochs] == [(3, 0.1), (6, 0.1)]
    assert record.epochs[0].seconds <= record.epochs[1].seconds <= record.seconds


def test_afterwards_the_network_is_on_the_cpu_in_evaluation_mode():
    network = build(SPEC)
    trained(network, replace(ONE_STEP, precision="bfloat16"))
    assert not any(module.training for module in network.modules())
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"cpu"}
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_bfloat16_computes_the_same_loss_less_exactly():
    exact, rough = (trained(build(SPEC), replace(ONE_STEP, precision=wish)) for wish in ("float32", "bfloat16"))
    assert rough.precision == "bfloat16"
    assert exact.epochs[0].train.loss != rough.epochs[0].train.loss
    assert rough.epochs[0].train.loss == pytest.approx(exact.epochs[0].train.loss, rel=0.05)


@dataclass
class Clock:
    """Goes on by a 64th of a second whenever somebody looks at it, which a training does five times a step."""

    now: float = 0.0

    def perf_counter(self) -> float:
        self.now += 1 / 64
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    return clock


def seconds_after(step: int) -> float:
    """By that clock: a step has the time of its third look, or of its fifth where it ends an epoch: every third, and
    the last one, the 14th, whose third look is the first at which the second is over."""
    return (5 * step - (0 if step % 3 == 0 or step == 14 else 2)) / 64


def test_a_budget_of_seconds_ends_with_the_first_step_after_it(clock: Clock):
    config = TrainingConfig(seconds=1, batch_size=8, schedule="cosine")
    *shown, last = fit(build(SPEC), DATA, config, report_every=0)
    assert seconds_after(13) < 1 <= seconds_after(14) - 2 / 64
    assert [progress.seconds for progress in shown] == [seconds_after(step) for step in range(1, 14)]
    assert [progress.fraction for progress in shown] == [progress.seconds for progress in shown]
    assert last.fraction == 1 and last.seconds == seconds_after(14)
    assert last.records[0].outcome == "finished" and last.records[0].steps == last.step == 14
    rates = [progress.learning_rate for progress in (*shown, last)]
    assert rates == [learning_rate_at(config, done) for done in (0.0, *(progress.fraction for progress in shown))]
    assert rates == sorted(set(rates), reverse=True)  # the schedule follows the clock


def test_closing_early_leaves_a_network_that_works():
    network = build(SPEC)
    before = weights_of(network)
    training = fit(network, DATA, replace(ONE_STEP, epochs=5, batch_size=8), report_every=0)
    steps = [next(training).step for _ in range(4)]
    training.close()  # type: ignore[attr-defined]
    assert steps[-1] < 15 and not same(before, weights_of(network))
    assert math.isfinite(evaluate(network, DATA.test, DATA.mean, DATA.std).loss)


def test_a_training_that_diverges_at_once_keeps_the_first_weights():
    network = build(replace(SPEC, norm="none"))
    before = weights_of(network)
    config = replace(ONE_STEP, epochs=50, learning_rate=1e6, batch_size=8, momentum=0.9)
    record = trained(network, config, made(train=240, validation=6))
    assert record.outcome == "diverged" and record.steps == 10 < 50 * 30
    assert same(before, weights_of(network))
    result = evaluate(network, DATA.test, DATA.mean, DATA.std)
    assert math.isfinite(result.loss) and record.epochs[-1].validation is not None
    text = json.dumps(record.to_dict(), allow_nan=False)
    assert TrainingRecord.from_dict(json.loads(text)).to_dict() == json.loads(text)


def test_a_training_that_diverges_later_keeps_the_last_finite_weights():
    """Weight decay of 10 at a rate of 30 multiplies each weight by -299 a step, which float32 bears for 15 steps."""
    network = build(replace(SPEC, norm="none", activation="tanh"))
    before = weights_of(network)
    config = replace(ONE_STEP, epochs=1000, batch_size=8, learning_rate=30.0, weight_decay=10.0)
    record = trained(network, config)
    assert record.outcome == "diverged" and 3 < record.steps < 3000
    after = weights_of(network)
    assert all(tensor.isfinite().all() for tensor in after.values()) and not same(before, after)


# --- pictures --------------------------------------------------------------------------------------------------------


def test_augmented_pictures_are_windows_of_the_padded_original_flipped_or_not():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(1, 256, (200, 8, 6, 3), np.uint8))
    result = augment(pixels, torch.Generator().manual_seed(1))
    assert result.shape == pixels.shape and result.dtype == torch.uint8
    padded = F.pad(pixels, (0, 0, 4, 4, 4, 4))
    found = []
    for picture, source in zip(result, padded, strict=True):
        matches = [
            (top, left, flipped)
            for top in range(9)
            for left in range(9)
            for flipped in (False, True)
            if torch.equal(picture.flip(1) if flipped else picture, source[top : top + 8, left : left + 6])
        ]
        assert len(matches) == 1
        found += matches
    tops, lefts, flips = zip(*found, strict=True)
    assert set(tops) == set(lefts) == set(range(9))
    assert 60 < sum(flips) < 140  # 100 expected, 5.7 standard deviations


def test_augmentation_follows_from_its_generator_and_leaves_the_pictures_alone():
    pixels = torch.from_numpy(made().train.images).permute(0, 2, 3, 1).contiguous()
    before = pixels.clone()
    first, again, other = (augment(pixels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other) and torch.equal(pixels, before)


def test_normalise_worked_out_by_hand():
    pixels = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)  # one pixel: 0, 0.2, 1
    result = normalise(pixels, torch.tensor([0.5, 0.2, 0.0]), torch.tensor([0.25, 3.0, 0.5]))
    assert result.shape == (1, 3, 1, 1) and result.dtype == torch.float32
    torch.testing.assert_close(result.flatten(), torch.tensor([-2.0, 0.0, 2.0]))
    many = normalise(torch.zeros(2, 4, 5, 3, dtype=torch.uint8), torch.zeros(3), torch.ones(3))
    assert many.shape == (2, 3, 4, 5) and many.is_contiguous(memory_format=torch.channels_last)


def test_augmentation_is_used_only_where_it_is_asked_for():
    known = {picture.numpy().tobytes() for picture in normalised(DATA)}
    for wish in (True, False):
        (batch,) = batches_of(SPEC, replace(ONE_STEP, augment=wish))
        shown = {picture.contiguous().numpy().tobytes() for picture in batch}
        assert (shown == known) == (not wish)


# --- evaluation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_equals_a_hand_computation_and_leaves_the_mode(training: bool):
    network = build(replace(SPEC, hidden=(8,), dropout=0.5))
    trained(network, replace(ONE_STEP, learning_rate=0.02))
    network.train(training)
    before = weights_of(network)
    found = evaluate(network, DATA.train, DATA.mean, DATA.std, batch_size=7)
    assert all(module.training == training for module in network.modules())
    assert same(before, weights_of(network)) and all(p.requires_grad for p in network.parameters())
    images, labels = whole_batch(DATA)
    with torch.no_grad():
        logits = network.eval()(images)
    assert found.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert (found.accuracy, found.n) == ((logits.argmax(1) == labels).sum().item() / 24, 24)


def test_evaluate_worked_out_by_hand():
    """A head of zeros gives every class a third, and argmax the first of equals."""
    network = build(SPEC)
    with torch.no_grad():
        network.head.fc.weight.zero_()
    split = Split(DATA.test.images[:4], np.array([0, 1, 0, 2]))
    found = evaluate(network, split, DATA.mean, DATA.std)
    assert found.loss == pytest.approx(math.log(3)) and (found.accuracy, found.n) == (0.5, 4)


def test_there_is_nothing_to_evaluate_on_no_pictures():
    with pytest.raises(ValueError, match="`split` holds no images.*choose another split"):
        evaluate(build(SPEC), made(test=0).test, DATA.mean, DATA.std)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "dataset", "message"),
    [
        (lambda: build(SPEC), lambda: made(size=16), r"shape \(3, 8, 8\), noise has \(3, 16, 16\); set `input_shape`"),
        (lambda: build(SPEC), lambda: made(classes=4), "has 3 classes, noise has 4; set `classes`"),
        (lambda: build(SPEC).freeze(), made, r"`network` is frozen.*train a copy after `requires_grad_\(\)`"),
    ],
)
def test_dataset_and_network_must_fit(network: Any, dataset: Any, message: str):
    with pytest.raises(ValueError, match=message):
        next(fit(network(), dataset(), ONE_STEP))


def test_one_picture_is_too_few():
    dataset = made()
    single = replace(dataset, train=Split(dataset.train.images[:1], dataset.train.labels[:1]))
    with pytest.raises(ValueError, match="noise has 1 training images; at least 2 are needed"):
        next(fit(build(SPEC), single, ONE_STEP))


NAN = float("nan")
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"epochs": None}, "budget as either `epochs` or `seconds`, received epochs=None and seconds=None"),
    ({"seconds": 5.0}, "budget as either `epochs` or `seconds`, received epochs=1 and seconds=5.0"),
    ({"epochs": 0}, "`epochs` must be a whole number from 1 to 100000, received 0"),
    ({"epochs": 1.5}, "`epochs` must be a whole number.*received 1.5"),
    ({"epochs": True}, "`epochs` must be a whole number.*received True"),
    ({"epochs": None, "seconds": 0}, "`seconds` must be a number from 0.1 to 1e.07, received 0"),
    ({"epochs": None, "seconds": NAN}, "`seconds` must be a number.*received nan"),
    ({"batch_size": 1}, "`batch_size` must be a whole number from 2 to 65536, received 1"),
    ({"batch_size": None}, "`batch_size` must be a whole number.*received None"),
    ({"seed": -1}, "`seed` must be a whole number from 0 to .*received -1"),
    ({"seed": None}, "`seed` must be a whole number.*received None"),
    ({"optimizer": "sdg"}, "`optimizer` must be one of 'sgd', 'adam', received 'sdg'"),
    ({"schedule": None}, "`schedule` must be one of 'constant', 'step', 'cosine', 'one_cycle', received None"),
    ({"precision": "float16"}, "`precision` must be one of 'auto', 'float32', 'bfloat16', received 'float16'"),
    ({"device": "gpu"}, "`device` must be one of 'auto', 'cpu', 'cuda', 'mps', received 'gpu'"),
    ({"learning_rate": 0}, "`learning_rate` must be a number from 1e-12 to 1e.06, received 0"),
    ({"learning_rate": None}, "`learning_rate` must be a number.*received None"),
    ({"learning_rate": "0.1"}, "`learning_rate` must be a number.*received '0.1'"),
    ({"momentum": 1.0}, "`momentum` must be a number from 0 to 0.9999, received 1.0"),
    ({"weight_decay": -1e-4}, "`weight_decay` must be a number from 0 to 10, received -0.0001"),
    ({"label_smoothing": 1}, "`label_smoothing` must be a number from 0 to 0.99, received 1"),
    ({"clip": 0}, "`clip` must be a number from 1e-12 to 1e.12, received 0"),
    ({"step_factor": math.inf}, "`step_factor` must be a number from 0 to 1, received inf"),
    ({"milestones": (0.5, 1.0)}, r"`milestones` must be shares of the run.*received \(0.5, 1.0\)"),
    ({"milestones": ("a",)}, r"`milestones` must be shares of the run.*received \('a',\)"),
    ({"milestones": [0.5]}, r"`milestones` must be shares of the run.*received \[0.5\]"),
    ({"class_weights": 1}, "`class_weights` must be true or false, received 1"),
    ({"augment": 1}, "`augment` must be true or false, received 1"),
    ({"nesterov": None}, "`nesterov` must be true or false, received None"),
    ({"compile": "yes"}, "`compile` must be true or false, received 'yes'"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[str(changes) for changes, _ in REFUSED])
def test_an_impossible_config_names_the_field_and_what_is_expected(changes: Any, message: str):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**{"epochs": 1, **changes})


def test_every_field_of_a_config_is_checked():
    named = {name for changes, _ in REFUSED for name in changes}
    assert named == {field.name for field in fields(TrainingConfig)}


def test_a_config_survives_json():
    changed = TrainingConfig(seconds=7, milestones=(0.25,), clip=1.0, optimizer="adam", augment=False, seed=2**62)
    for config in (changed, TrainingConfig(epochs=3)):
        assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert TrainingConfig.from_dict({"epochs": 3}) == TrainingConfig(epochs=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 1, "lr": 0.1}, "a training config has no field `lr`"),
        ([], "a training config must be a JSON object, received list"),
        ({"epochs": 1, "milestones": 3}, "`milestones` must be shares of the run"),
        ({}, "budget as either"),
    ],
)
def test_json_that_is_no_config_is_refused(values: Any, message: str):
    with pytest.raises(ValueError, match=message):
        TrainingConfig.from_dict(values)


def test_a_record_survives_json_to_six_digits():
    record = trained(build(SPEC), replace(ONE_STEP, epochs=2, batch_size=8), made(validation=6))
    stored = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    again = TrainingRecord.from_dict(stored)
    assert again.to_dict() == stored and again.config == record.config
    assert again.weight_gradients.layers == record.weight_gradients.layers
    for found, expected in zip(again.weight_gradients.norms, record.weight_gradients.norms, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)
    for line, original in zip(again.epochs, record.epochs, strict=True):
        assert line.validation is not None and original.validation is not None and line.validation.n == 6
        assert line.validation.loss == pytest.approx(original.validation.loss, rel=1e-5)
        assert line.train.accuracy == pytest.approx(original.train.accuracy, rel=1e-5)


# --- the machine -----------------------------------------------------------------------------------------------------


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu") == torch.device("cpu")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    assert choose_device().type == next(name for name, found in there.items() if found)
    for name in ("cuda", "mps"):
        if not there[name]:
            with pytest.raises(ValueError, match=f'`device` "{name}" is not available.*use "auto" or "cpu"'):
                choose_device(name)


def test_precision_is_what_was_asked_for_and_never_float16():
    cpu = torch.device("cpu")
    assert choose_precision(cpu, "float32") == torch.float32
    assert choose_precision(cpu, "bfloat16") == torch.bfloat16
    assert choose_precision(cpu) in (torch.float32, torch.bfloat16)
    assert choose_precision(torch.device("mps")) == torch.float32


def test_layers_of_a_record_are_those_with_weights():
    network = build(replace(SPEC, shortcut="projection", hidden=(5,)))
    layers = trained(network, ONE_STEP).weight_gradients.layers
    assert layers == tuple(n for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear))
    assert "stages.1.0.shortcut.conv" in layers and "head.fc1" in layers


# --- twins together, and trainings that are interrupted ---------------------------------------------------------------

TWINS = [SPEC, SPEC.twin()]


DROPOUT = replace(SPEC, hidden=(16,), dropout=0.5)
THREE = [*TWINS, replace(SPEC, stages=(Stage(2, 8),))]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("specs", "changes", "threads"),
    [
        (TWINS, {}, 1),
        (TWINS, {"epochs": 1}, 2),
        (TWINS, {"optimizer": "adam", "augment": True, "precision": "bfloat16"}, 1),
        (THREE, {"clip": 0.1, "momentum": 0.9}, 1),
        ([DROPOUT, DROPOUT.twin()], {"learning_rate": 0.01}, 1),
    ],
)
def test_networks_trained_together_end_as_they_do_alone(specs: list[ArchitectureSpec], changes: Any, threads: int):
    """With as many threads each, and with any other state of torch's global generator."""
    config = replace(ONE_STEP, **{"epochs": 3, "batch_size": 8, **changes})
    together = [build(spec) for spec in specs]
    with torch_threads(threads * len(specs)):
        *_, last = fit_together(together, made(validation=6), config)
        assert torch.get_num_threads() == threads * len(specs), "as it was"
    for spec, network, record in zip(specs, together, last.records, strict=True):
        assert record.threads == threads
        alone = build(spec)
        torch.manual_seed(spec.depth)
        with torch_threads(threads):
            expected = trained(alone, config, made(validation=6))
        assert same(weights_of(network), weights_of(alone))
        assert record.weight_gradients == expected.weight_gradients
        assert [(line.train, line.validation) for line in record.epochs] == [
            (line.train, line.validation) for line in expected.epochs
        ]


def test_networks_on_a_cpu_take_their_steps_at_the_same_time():
    """A step that waits for the other network's can only end where both run side by side."""
    meeting = threading.Barrier(len(THREE), timeout=60)

    class Meets(Network):
        def forward(self, x: Tensor, run: Any = call) -> Tensor:
            if self.training:
                meeting.wait()
            return super().forward(x, run)

    networks = [build(spec) for spec in THREE]
    for network in networks:
        network.__class__ = Meets
    *_, last = fit_together(networks, DATA, ONE_STEP)
    assert [record.steps for record in last.records] == [1, 1, 1]


def test_an_error_in_one_network_ends_the_training_and_leaves_torch_as_it_was():
    class Fails(Network):
        def forward(self, x: Tensor, run: Any = call) -> Tensor:
            raise RuntimeError("no kernel image is available")

    networks = [build(spec) for spec in TWINS]
    networks[1].__class__ = Fails
    with torch_threads(4), pytest.raises(RuntimeError, match="no kernel image"):
        list(fit_together(networks, DATA, ONE_STEP))
    alive = [thread for thread in threading.enumerate() if thread.name.startswith("network")]
    assert not alive


def test_a_resumed_training_takes_the_threads_that_it_began_with(tmp_path: Path):
    config = replace(ONE_STEP, epochs=2)
    networks, state = [build(spec) for spec in TWINS], TrainingState()
    with torch_threads(4):
        next(fit_together(networks, DATA, config, state, report_every=0))
    assert state.threads == 2
    save(tmp_path / "state", networks, state, config)
    networks = [build(spec) for spec in TWINS]
    with torch_threads(1):
        *_, last = fit_together(networks, DATA, config, restore(tmp_path / "state", networks, config))
        assert torch.get_num_threads() == 1
    assert [record.threads for record in last.records] == [2, 2]


def test_one_network_that_diverges_does_not_end_the_others():
    """Of a plain network without norm and one with it, the first cannot bear this rate."""
    specs = [replace(SPEC, norm="none"), SPEC]
    networks = [build(spec) for spec in specs]
    config = replace(ONE_STEP, epochs=1, batch_size=8, learning_rate=8.0, momentum=0.9)
    *_, last = fit_together(networks, made(train=400), config)
    assert [record.outcome for record in last.records] == ["diverged", "finished"]
    alone = trained(build(specs[0]), config, made(train=400))
    assert last.records[0].steps == alone.steps < last.records[1].steps == 50
    assert [line.step for line in last.records[0].epochs] == [alone.steps]
    assert last.records[0].epochs[0].train.n == alone.steps * 8
    assert all(tensor.isfinite().all() for network in networks for tensor in weights_of(network).values())


def test_one_that_diverged_is_validated_at_the_end_of_that_epoch_and_not_again():
    networks = [build(replace(SPEC, norm="none")), build(SPEC)]
    config = replace(ONE_STEP, epochs=2, batch_size=8, learning_rate=8.0, momentum=0.9)
    ends: dict[int, Progress] = {}
    for each in fit_together(networks, made(train=400, validation=4), config):
        ends.setdefault(each.epoch, each)  # the first of an epoch tells how the one before has ended
    first, second = ([ends[epoch].networks[number].validation for epoch in (1, 2)] for number in (0, 1))
    assert first[0] is not None and first[1] is None
    assert None not in second


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        (SPEC, {"momentum": 0.9, "augment": True, "schedule": "one_cycle"}),
        (SPEC, {"optimizer": "adam", "weight_decay": 0.1}),
        (replace(SPEC, hidden=(16,), dropout=0.5, initialisation="pytorch"), {"augment": True, "clip": 0.5}),
    ],
)
def test_a_training_resumed_at_any_yield_ends_with_the_same_bits(
    spec: Any, changes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also at the one before a long validation, and at the last."""
    monkeypatch.setattr("explorer.training.loop.LONG_VALIDATION", 0.0)
    config = replace(ONE_STEP, epochs=3, batch_size=8, **changes)
    dataset = made(validation=6)
    whole = [build(spec), build(spec.twin())]
    shown = list(fit_together(whole, dataset, config, report_every=0))
    last = shown[-1]
    assert [progress.step for progress in shown if progress.validates_next] == [3, 6, 9]
    for stop in range(len(shown)):
        networks, state = [build(spec), build(spec.twin())], TrainingState()
        training = fit_together(networks, dataset, config, state, report_every=0)
        for _ in range(stop + 1):
            next(training)
        save(tmp_path / "state", networks, state, config)
        next(training, None)  # what happens after the file was written is lost
        training.close()  # type: ignore[attr-defined]

        resumed = [build(spec, seed=5), build(spec.twin(), seed=6)]
        state = restore(tmp_path / "state", resumed, config)
        *_, end = fit_together(resumed, dataset, config, state)
        for network, expected, record, right in zip(resumed, whole, end.records, last.records, strict=True):
            assert same(weights_of(network), weights_of(expected))
            assert record.weight_gradients == right.weight_gradients and record.steps == right.steps
            found, wanted = ([replace(line, seconds=0.0) for line in each.epochs] for each in (record, right))
            assert found == wanted


@pytest.mark.parametrize("old", [False, True], ids=["state", "older state"])
def test_a_saved_state_remembers_when_a_network_diverged(old: bool, tmp_path: Path):
    specs = [replace(SPEC, norm="none"), SPEC]
    config = replace(ONE_STEP, epochs=2, batch_size=8, learning_rate=8.0, momentum=0.9)
    networks, state, dataset = [build(spec) for spec in specs], TrainingState(), made(train=400)
    training = fit_together(networks, dataset, config, state, report_every=0)
    while next(training).networks[0].outcome is None:
        pass
    steps = state.step
    assert steps < 50
    save(tmp_path / "state", networks, state, config)
    training.close()  # type: ignore[attr-defined]
    if old:
        content = (tmp_path / "state").read_bytes()
        for number in (str(steps), "null"):
            content = content.replace(f'\\"diverged_at\\": {number}, '.encode(), b"")
        content = re.sub(rb'\\"learning_rate\\": [0-9.]+, (?=\\"networks)', b"", content)
        header = int.from_bytes((tmp_path / "state").read_bytes()[:8], "little")
        header -= (tmp_path / "state").stat().st_size - len(content)
        (tmp_path / "state").write_bytes(header.to_bytes(8, "little") + content[8:])
        assert b"diverged_at" not in content
    resumed = [build(spec) for spec in specs]
    *_, last = fit_together(resumed, dataset, config, restore(tmp_path / "state", resumed, config))
    assert [record.outcome for record in last.records] == ["diverged", "finished"]
    assert [record.steps for record in last.records] == [50 if old else steps, 100]  # as they said of it


def test_the_clock_of_a_training_goes_on_where_it_stopped(tmp_path: Path, clock: Clock):
    config = TrainingConfig(seconds=1, batch_size=8, schedule="constant")
    network, state = build(SPEC), TrainingState()
    training = fit(network, DATA, config, state, report_every=0)
    while next(training).fraction < 0.6:
        pass
    save(tmp_path / "state", [network], state, config)
    training.close()  # type: ignore[attr-defined]
    clock.now += 3600
    restored = restore(tmp_path / "state", [network], config)
    first, *_, last = fit(network, DATA, config, restored, report_every=0)
    assert first.step == state.step + 1 == 10 and first.fraction == first.seconds == seconds_after(9) + 3 / 64
    assert last.step == 14 and last.seconds == seconds_after(14), "as if it had not been stopped"


def test_a_state_of_another_training_is_refused_before_anything_changes(tmp_path: Path):
    config = replace(ONE_STEP, epochs=2, batch_size=8)
    network, state = build(SPEC), TrainingState()
    next(fit(network, DATA, config, state, report_every=0))
    save(tmp_path / "state", [network], state, config)
    other = build(SPEC, seed=3)
    before = weights_of(other)
    with pytest.raises(ValueError, match="settings differ"):
        restore(tmp_path / "state", [other], replace(config, seed=1))
    with pytest.raises(ValueError, match="networks differ"):
        restore(tmp_path / "state", [build(SPEC.twin())], config)
    content = (tmp_path / "state").read_bytes()
    for damaged in (content[: len(content) // 2], b"", content[:8] + b"{}" + content[10:]):
        (tmp_path / "state").write_bytes(damaged)
        with pytest.raises(ValueError, match="cannot be used"):
            restore(tmp_path / "state", [other], config)
    name = next(name for name in before if name.endswith("running_mean"))
    for running in ({"stem": torch.zeros(1)}, {name: torch.zeros(1, 2, 3)}):
        state.networks[0].running = running
        save(tmp_path / "state", [network], state, config)
        with pytest.raises(ValueError, match="cannot be used"):
            restore(tmp_path / "state", [other], config)
    assert same(before, weights_of(other))


def test_a_state_from_before_there_were_class_weights_goes_on_without_them(tmp_path: Path):
    config = replace(ONE_STEP, epochs=2, batch_size=8)
    network, state = build(SPEC), TrainingState()
    next(fit(network, DATA, config, state, report_every=0))
    save(tmp_path / "state", [network], state, config)
    content = (tmp_path / "state").read_bytes()
    older = content[8:].replace(rb"\"class_weights\": false, ", b"")
    length = int.from_bytes(content[:8], "little") - (len(content) - 8 - len(older))
    (tmp_path / "state").write_bytes(length.to_bytes(8, "little") + older)
    assert len(older) < len(content) - 8
    assert restore(tmp_path / "state", [build(SPEC)], config).step == state.step
    with pytest.raises(ValueError, match="settings differ"):
        restore(tmp_path / "state", [build(SPEC)], replace(config, class_weights=True))


def test_the_same_network_twice_is_refused():
    network = build(SPEC)
    with pytest.raises(ValueError, match="different"):
        next(fit_together([network, network], DATA, ONE_STEP))
