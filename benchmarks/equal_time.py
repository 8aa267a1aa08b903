"""Accuracy after the same seconds: our one-click training beside akamaster's recipe for CIFAR ResNets.

Theirs: SGD 0.1 with momentum 0.9 and weight decay 1e-4, batches of 128, pictures flipped and cropped one by one through
PIL in a `DataLoader`, learning rate divided by 10 at 50 and 75 % (of the time here, where they count epochs).
"""

import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from benchmarks.rows import Row, above
from benchmarks.training import Pictures
from explorer.architectures import ArchitectureSpec, Network, build
from explorer.datasets import Dataset, shapes
from explorer.presets import cifar
from explorer.training import TrainingConfig, evaluate, fit
from explorer.ui.build_state import QUICK_TRAINING

SECONDS, SEEDS = 60.0, 5
BATCH = 128


def akamaster(spec: ArchitectureSpec, dataset: Dataset, seconds: float, seed: int) -> Network:
    """The network after that many seconds of the recipe."""
    torch.manual_seed(seed)
    network = build(spec, seed=seed).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(Pictures(dataset), BATCH, shuffle=True)
    started = time.perf_counter()
    while True:
        for images, labels in loader:
            share = (time.perf_counter() - started) / seconds
            if share >= 1:
                return network
            optimizer.param_groups[0]["lr"] = 0.1 * 0.1 ** ((share >= 0.5) + (share >= 0.75))
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()


def one_click(spec: ArchitectureSpec, dataset: Dataset, seconds: float, seed: int) -> Network:
    """The network after that many seconds of what the page's button does."""
    network = build(spec, seed=seed)
    for _ in fit(network, dataset, TrainingConfig.from_dict({**QUICK_TRAINING, "seconds": seconds, "seed": seed})):
        pass
    return network


def equal_time_rows(seconds: float = SECONDS, seeds: int = SEEDS) -> Iterator[Row]:
    """Test accuracy of both after the same seconds, in turns, seed by seed."""
    dataset, spec = shapes.load(), cifar(20)
    found: dict[str, list[float]] = {"one click": [], "akamaster's recipe": []}
    for seed in range(seeds):
        for name, way in (("one click", one_click), ("akamaster's recipe", akamaster)):
            network = way(spec, dataset, seconds, seed)
            found[name].append(evaluate(network, dataset.test, dataset.mean, dataset.std).accuracy)
    differences = [100 * (ours - theirs) for ours, theirs in zip(*found.values(), strict=True)]
    low, middle, high = np.quantile(differences, [0.25, 0.5, 0.75]).tolist()
    each = ", ".join(f"{name} {statistics.median(values):.1%}" for name, values in found.items())
    figure = f"ResNet-20 on the shapes, accuracy after {seconds:g} s: one click − akamaster's recipe"
    measured = f"{middle:+.1f} points (quartiles {low:+.1f} to {high:+.1f}; {each})"
    yield Row(figure, measured, seeds, above(middle, 0))
