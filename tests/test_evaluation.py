"""Right answers class by class, put together, and what is written of them into a file."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.datasets import Dataset, Split, channel_statistics
from explorer.pretrained import checkpoint_of
from explorer.training import TrainingConfig, evaluate, evaluate_classes, fit

SPEC = ArchitectureSpec((Stage(1, 8),), stem=Stem(8), input_shape=(3, 8, 8), classes=4)
CONFIG = TrainingConfig(epochs=1, batch_size=16, device="cpu")


def unbalanced() -> Dataset:
    """Training pictures 32 : 24 : 6 : 2, and of the last class no test pictures."""
    random = np.random.default_rng(0)

    def split(*counts: int) -> Split:
        labels = np.repeat(np.arange(4), counts)
        return Split(random.integers(0, 256, (len(labels), 3, 8, 8), np.uint8), labels)

    train, validation, test = split(32, 24, 6, 2), split(0, 0, 0, 0), split(16, 12, 1, 0)
    names = ("normal", "ill", "rare", "untested")
    return Dataset("scans", names, *channel_statistics(train.images), train, validation, test)


DATA = unbalanced()


def always(answer: int) -> Network:
    """A network that says one class of every picture."""
    network = build(SPEC)
    with torch.no_grad():
        network.head.fc.weight.zero_()
        network.head.fc.bias.copy_(F.one_hot(torch.tensor(answer), 4).float())
    return network


def test_each_class_has_its_own_answers_and_losses() -> None:
    network = build(SPEC).eval()
    found = evaluate_classes(network, DATA.test, DATA.mean, DATA.std, batch_size=7)
    images = torch.from_numpy(DATA.test.images).double() / 255
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (DATA.mean, DATA.std))
    with torch.no_grad():
        logits = network(((images - mean) / std).float())
    for label in range(4):
        chosen = torch.from_numpy(DATA.test.labels) == label
        part = logits[chosen]
        assert found.n[label] == len(part) and found.right[label] == (part.argmax(1) == label).sum()
        expected = F.cross_entropy(part, torch.full((len(part),), label), reduction="sum").item()
        assert found.losses[label] == pytest.approx(expected, rel=1e-5)
    whole = F.cross_entropy(logits, torch.from_numpy(DATA.test.labels)).item()
    assert found.together.loss == pytest.approx(whole, rel=1e-5)
    assert evaluate(network, DATA.test, DATA.mean, DATA.std, batch_size=7) == found.together


@pytest.mark.parametrize(("answer", "right", "balanced"), [(0, 16, 1 / 3), (1, 12, 1 / 3), (2, 1, 1 / 3), (3, 0, 0)])
def test_one_constant_answer_has_the_balanced_accuracy_of_guessing(answer: int, right: int, balanced: float) -> None:
    """Whichever it is, of the three classes that have test pictures; its accuracy is the class's share."""
    found = evaluate_classes(always(answer), DATA.test, DATA.mean, DATA.std)
    assert found.together.accuracy == right / 29 and found.balanced_accuracy == pytest.approx(balanced)
    assert (found.commonest, found.majority) == (0, 16 / 29)


def test_the_file_of_a_trained_network_tells_of_each_class(tmp_path_factory: pytest.TempPathFactory) -> None:
    network = build(SPEC)
    *_, last = fit(network, DATA, CONFIG)
    checkpoint = checkpoint_of(network, DATA, last.records[0])
    found = evaluate_classes(network, DATA.test, DATA.mean, DATA.std)
    test = checkpoint.metrics["test"]
    assert test["classes"] == {"right": list(found.right), "n": [16, 12, 1, 0]}
    assert (test["majority"], test["majority_class"]) == (16 / 29, "normal")
    assert test["balanced_accuracy"] == pytest.approx(
        sum(r / n for r, n in zip(found.right, (16, 12, 1), strict=False)) / 3
    )
    assert (test["accuracy"], test["n"]) == (sum(found.right) / 29, 29)
    path = tmp_path_factory.mktemp("file") / "a.safetensors"
    checkpoints.save(checkpoint, path)
    assert checkpoints.load(path).metrics == checkpoint.metrics


def test_a_thousand_classes_take_a_few_kilobytes_of_the_header() -> None:
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (2000, 3, 8, 8), np.uint8), np.arange(2000) % 1000)
    names = tuple(f"class {index}" for index in range(1000))
    data = Dataset("many", names, *channel_statistics(split.images), split, DATA.validation, split)
    network = build(replace(SPEC, classes=1000))
    *_, last = fit(network, data, replace(CONFIG, batch_size=2000))
    figures = checkpoint_of(network, data, last.records[0]).metrics
    assert len(json.dumps(figures)) < 10_000 and sum(figures["test"]["classes"]["n"]) == 2000


def test_it_went_through_the_pictures_as_often_as_the_record_says() -> None:
    *_, last = fit(build(SPEC), DATA, replace(CONFIG, epochs=3, batch_size=24))
    assert last.records[0].passes == pytest.approx(3 * 48 / 64)  # 16 of 64 pictures are left out each time
    *_, last = fit(build(SPEC), DATA, replace(CONFIG, epochs=2, batch_size=1000))
    assert last.records[0].passes == 2 and math.isfinite(last.records[0].seconds)
