"""How hard the shapes are: accuracy on the test split, from a linear classifier to the pretrained twins at 32 pixels,
and at 16 pixels to twins of 56 layers that are trained for it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.rows import machine
from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, build
from explorer.datasets import Dataset, shapes
from explorer.files import write_atomically
from explorer.presets import cifar, preset
from explorer.pretrained import TWINS
from explorer.training import Evaluation, TrainingConfig, evaluate, fit

LINEAR_EPOCHS = 10
TWO_CONV = TrainingConfig(epochs=20, optimizer="adam", learning_rate=1e-3, weight_decay=0.0, schedule="cosine")
SMALL = 16  # pixels
DEPTHS = (8, 20, 56)
# One recipe for all networks: the rate of He et al. 2015, which trains 56 layers too, on one cycle. Not augmented:
# a crop that is moved by 4 of 16 pixels cuts much of an object off.
SMALL_RECIPE = TrainingConfig(epochs=10, learning_rate=0.1, augment=False)
SMALL_WORDS = "SGD on one cycle, learning rate up to 0.1, batches of 128, no augmentation"
PRETRAINED = ("shapes-plain-8", "shapes-resnet-8", "shapes-plain-20", "shapes-resnet-20")


def difficulty_rows() -> Iterator[tuple[str, float, str, int, int]]:
    """(network, test accuracy, bound, epochs, n), one after the other; training takes minutes."""
    dataset = shapes.load()
    linear = linear_accuracy(dataset)
    yield "linear classifier on the pixels", linear.accuracy, "< 40 %", LINEAR_EPOCHS, linear.n
    network = build(preset("two-conv").spec)
    for _ in fit(network, dataset, TWO_CONV):
        pass
    two_conv = evaluate(network, dataset.test, dataset.mean, dataset.std)
    yield "two-conv CNN", two_conv.accuracy, "< 85 %", TWO_CONV.epochs or 0, two_conv.n
    for name in PRETRAINED:
        checkpoint = checkpoints.load_pretrained(name)
        measured = evaluate(checkpoint.network, dataset.test, checkpoint.mean, checkpoint.std)
        bound = "> 95 %" if name == "shapes-resnet-20" else ""
        yield checkpoint.spec.name, measured.accuracy, bound, checkpoint.config["epochs"], measured.n


@dataclass(frozen=True)
class Trained:
    """One network of the table at 16 pixels: shares that are right, and `n` test pictures; on which `machine`."""

    network: str
    train: float
    test: float
    n: int
    epochs: int
    precision: str
    seconds: float
    machine: str


def trained_rows(kept: Path) -> Iterator[Trained]:
    """One network after the other, each with seed 0. Who starts again with the file that was `kept` continues after the
    networks that it holds. Raises ValueError where they were trained in another way."""
    dataset = shapes.load(size=SMALL)
    recipe: dict[str, Any] = {"data": dataset.name, "config": SMALL_RECIPE.to_dict()}
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {**recipe, "rows": []}
    if {name: found.get(name) for name in recipe} != recipe:
        raise ValueError(f"`{kept}` holds results of another recipe; name another file.")
    rows = [Trained(**row) for row in found["rows"]]
    yield from rows
    for name, spec in small_networks().items():
        if any(row.network == name for row in rows):
            continue
        where, network = machine(), build(spec, seed=SMALL_RECIPE.seed)
        *_, last = fit(network, dataset, SMALL_RECIPE)
        train, test = (evaluate(network, split, dataset.mean, dataset.std) for split in (dataset.train, dataset.test))
        precision, epochs = last.records[0].precision, SMALL_RECIPE.epochs or 0
        rows.append(Trained(name, train.accuracy, test.accuracy, test.n, epochs, precision, last.seconds, where))
        write_atomically(kept, json.dumps({**recipe, "rows": [asdict(row) for row in rows]}, indent=1).encode())
        yield rows[-1]


def small_networks() -> dict[str, ArchitectureSpec]:
    twins = [cifar(depth, shortcut, size=SMALL) for depth in DEPTHS for shortcut in TWINS]
    two_conv = replace(preset("two-conv").spec, input_shape=(3, SMALL, SMALL))
    return {"two-conv CNN": two_conv} | {spec.name: spec for spec in twins}


def linear_accuracy(dataset: Dataset, seed: int = 0) -> Evaluation:
    """Softmax regression on the normalised pixels: Adam, learning rate 1e-3 falling to 0, batch 128."""
    generator = torch.Generator().manual_seed(seed)
    mean, std = (np.array(values, dtype=np.float32)[:, None, None] for values in (dataset.mean, dataset.std))

    def rows(images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(((images.astype(np.float32) / 255 - mean) / std).reshape(len(images), -1))

    x, y = rows(dataset.train.images), torch.from_numpy(dataset.train.labels)
    weights = torch.zeros(len(dataset.class_names), x.shape[1], requires_grad=True)
    bias = torch.zeros(len(dataset.class_names), requires_grad=True)
    optimizer = torch.optim.Adam([weights, bias], 1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, LINEAR_EPOCHS * (len(y) // 128))
    for _ in range(LINEAR_EPOCHS):
        for chosen in torch.randperm(len(y), generator=generator)[: len(y) // 128 * 128].split(128):
            optimizer.zero_grad()
            F.cross_entropy(F.linear(x[chosen], weights, bias), y[chosen]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        logits = F.linear(rows(dataset.test.images), weights, bias)
    labels = torch.from_numpy(dataset.test.labels)
    hits = (logits.argmax(1) == labels).float().mean().item()
    return Evaluation(F.cross_entropy(logits, labels).item(), hits, len(labels))
