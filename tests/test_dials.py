"""Laws of dials that are turned while a training goes on: what one does to a step, and what a resumed one repeats."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.datasets import Dataset, Split, channel_statistics
from explorer.training import TrainingConfig, TrainingRecord, TrainingState, fit_together, restore, save
from explorer.training.dials import DialChange, checked_dial, recorded_changes, with_change

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = ArchitectureSpec((Stage(1, 4), Stage(1, 6, 2)), stem=Stem(4), input_shape=(3, 8, 8), classes=3)
CONFIG = TrainingConfig(epochs=3, batch_size=8, device="cpu", clip=0.5)
STEPS = 12  # in 3 epochs
TURNED = (
    DialChange(2, "rate_factor", 1.0, 0.25),
    DialChange(5, "weight_decay", 5e-4, 0.1 / 3),
    DialChange(5, "clip", 0.5, None),
    DialChange(6, "label_smoothing", 0.0, 0.3),
    DialChange(9, "rate_factor", 0.25, 3.0),
)


def made() -> Dataset:
    generator = np.random.default_rng(0)
    train, validation, test = (
        Split(generator.integers(0, 256, (count, 3, 8, 8), np.uint8), generator.permutation(count) % 3)
        for count in (32, 6, 12)
    )
    return Dataset("noise", ("a", "b", "c"), *channel_statistics(train.images), train, validation, test)


DATA = made()


def twins() -> list[Network]:
    return [build(SPEC), build(SPEC.twin())]


def trained(config: TrainingConfig, *changes: DialChange) -> tuple[list[dict[str, torch.Tensor]], TrainingRecord]:
    """The weights of the twins, and the record of the first."""
    networks = twins()
    *_, last = fit_together(networks, DATA, config, TrainingState(changes=changes))
    assert last.records[0].changes == last.records[1].changes, "twins have the same dials at the same steps"
    return [network.state_dict() for network in networks], last.records[0]


def same(first: list[dict[str, torch.Tensor]], second: list[dict[str, torch.Tensor]]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(one[name], other[name]) for one, other in pairs for name in one)


@pytest.fixture(scope="module")
def untouched() -> list[dict[str, torch.Tensor]]:
    return trained(CONFIG)[0]


# --- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_dial_turned_before_the_first_step_is_the_config_with_that_value(optimizer: Any) -> None:
    config = replace(CONFIG, optimizer=optimizer)
    wanted: dict[Any, Any] = {"weight_decay": 0.2, "clip": 0.01, "label_smoothing": 0.4}
    turned = [DialChange(0, field, None if field == "clip" else 0.0, value) for field, value in wanted.items()]
    weights, record = trained(config, *turned, DialChange(0, "rate_factor", 1.0, 0.5))
    expected, plain = trained(replace(config, **wanted, learning_rate=config.learning_rate / 2))
    assert same(weights, expected)
    assert [epoch.learning_rate for epoch in record.epochs] == [epoch.learning_rate for epoch in plain.epochs]
    assert record.config == config, "the record keeps the config of the start"
    assert len(record.changes) == 4 and plain.changes == ()


@pytest.mark.parametrize("change", TURNED[:4], ids=str)
def test_a_constant_dial_leaves_the_bits_of_an_untouched_training(change: DialChange, untouched: Any) -> None:
    """And another value does not, but only from its step on."""
    assert same(trained(CONFIG, replace(change, new=change.old))[0], untouched)
    assert not same(trained(CONFIG, change)[0], untouched)
    weights, record = trained(CONFIG, replace(change, step=STEPS))  # behind the last step, number 11
    assert same(weights, untouched) and record.changes == ()


def test_the_rate_is_the_schedules_times_its_factor() -> None:
    plain = trained(CONFIG)[1]
    record = trained(CONFIG, *TURNED)[1]
    rates = [[epoch.learning_rate for epoch in each.epochs] for each in (plain, record)]
    factors = [new / old for old, new in zip(*rates, strict=True)]  # of the last steps of the epochs: 3, 7 and 11
    assert factors == pytest.approx([0.25, 0.25, 3.0])
    norms, others = (each.weight_gradients.norms for each in (plain, record))
    assert norms[:3] == others[:3] and norms[3] != others[3], "the factor acts from step 2 on, seen at step 3"


def test_smoothing_turned_between_two_steps_is_torchs() -> None:
    """At a rate of 0, without BatchNorm, the weights stand still: each step's loss is that of the first weights."""
    spec = replace(SPEC, norm="none")
    config = TrainingConfig(epochs=2, batch_size=32, device="cpu", augment=False, precision="float32")
    frozen = (DialChange(0, "rate_factor", 1.0, 0.0), DialChange(1, "label_smoothing", 0.0, 0.35))
    network = build(spec)
    mean, std = (torch.tensor(values)[:, None, None] for values in (DATA.mean, DATA.std))
    images = (torch.from_numpy(DATA.train.images).float() / 255 - mean) / std
    logits, labels = network(images).detach(), torch.from_numpy(DATA.train.labels)
    *_, last = fit_together([network], DATA, config, TrainingState(changes=frozen))
    losses = [epoch.train.loss for epoch in last.records[0].epochs]
    expected = [F.cross_entropy(logits, labels, label_smoothing=smoothing).item() for smoothing in (0.0, 0.35)]
    assert losses == pytest.approx(expected, rel=1e-5) and abs(losses[0] - losses[1]) > 1e-3


def test_a_training_resumed_at_any_yield_repeats_the_dials(tmp_path: Path) -> None:
    expected, record = trained(CONFIG, *TURNED)
    assert record.changes == TURNED
    assert TrainingRecord.from_dict(json.loads(json.dumps(record.to_dict()))).changes == TURNED
    assert recorded_changes(record.to_dict()) == TURNED
    for stop in (0, 1, 3, 4, 5, 8, 11):  # before, at and behind changes, and ends of epochs
        networks, state = twins(), TrainingState(changes=TURNED)
        training = fit_together(networks, DATA, CONFIG, state, report_every=0)
        for _ in range(stop + 1):
            next(training)
        save(tmp_path / "state", networks, state, CONFIG)
        training.close()  # type: ignore[attr-defined]
        resumed = twins()
        state = restore(tmp_path / "state", resumed, CONFIG)
        *_, last = fit_together(resumed, DATA, CONFIG, state)
        assert same([network.state_dict() for network in resumed], expected)
        assert last.records[1].changes == TURNED


def test_a_record_without_changes_is_written_as_before() -> None:
    record = trained(CONFIG)[1]
    assert "changes" not in record.to_dict() and TrainingRecord.from_dict(record.to_dict()).changes == ()
    damaged_values: list[Any] = [7, [7], [{}], [{"step": -1, "field": "clip", "old": 1.0, "new": 1.0}], "clip"]
    for damaged in damaged_values:
        assert recorded_changes({"changes": damaged}) == ()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rate_factor", 1001, "`rate_factor` must be a number from 0 to 1000, received 1001"),
        ("rate_factor", None, "`rate_factor` must be a number from 0 to 1000, received None"),
        ("weight_decay", -0.1, "`weight_decay` must be a number from 0 to 10, received -0.1"),
        ("label_smoothing", 1.0, "`label_smoothing` must be a number from 0 to 0.99, received 1.0"),
        ("clip", float("nan"), "`clip` must be a number from 1e-12 to 1e.12, received nan"),
        ("clip", True, "`clip` must be a number"),
        ("weight_decay", "0.1", "received '0.1'"),
    ],
)
def test_a_dial_out_of_its_range_says_so(field: Any, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked_dial(field, value)


def test_a_newer_change_takes_the_place_of_those_that_would_be_repeated() -> None:
    first, other, later = (
        DialChange(4, "clip", None, 1.0),
        DialChange(8, "weight_decay", 0.0, 0.1),
        DialChange(9, "clip", 1.0, 2.0),
    )
    changes = with_change(with_change(with_change((), first), other), later)
    assert changes == (first, other, later)
    newest = DialChange(6, "clip", 1.0, None)
    assert with_change(changes, newest) == (first, other, newest)
