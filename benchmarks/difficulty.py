"""How hard the shapes are: accuracy on the test split, from a linear classifier to the pretrained twins."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from explorer import checkpoints
from explorer.architectures import build
from explorer.datasets import Dataset, shapes
from explorer.presets import preset
from explorer.training import Evaluation, TrainingConfig, evaluate, fit

LINEAR_EPOCHS = 10
TWO_CONV = TrainingConfig(epochs=20, optimizer="adam", learning_rate=1e-3, weight_decay=0.0, schedule="cosine")
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
