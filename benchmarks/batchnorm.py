"""Whether the running statistics of BatchNorm lag behind after a short training: accuracy and loss with them, and with
statistics recomputed over training pictures, for twins of 8 and 20 layers over rates, batches and numbers of steps.

The pictures are the four shapes ring, cross, star and arrow, averaged down to 16 × 16, each class with a tint of its
own, so that ten steps teach something. Measured on pictures that no training and no test has: `shapes.draw`, seed 1.
"""

import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.rows import machine, write
from explorer.architectures import Network, build
from explorer.datasets import Dataset, Split, channel_statistics, shapes
from explorer.experiments.agreement import mcnemar
from explorer.presets import cifar
from explorer.training import TrainingConfig, TrainingState, fit_together, normalise
from explorer.training.batchnorm import PICTURES, recompute_batchnorm
from explorer.training.config import Schedule

CLASSES = ("ring", "cross", "star", "arrow")
TINTS = ((40, 0, 0), (0, 40, 0), (0, 0, 40), (30, 30, 0))  # levels added to red, green and blue
DEPTHS, RATES, BATCHES, STEPS = (8, 20), (0.05, 0.1, 0.4), (8, 32, 128), (10, 20, 40, 80, 200)
SIGNIFICANT = 1e-3  # of McNemar's test: of a few hundred networks, less than one passes by chance
MOST_LAG = 1.1  # times as high a loss, that is not yet called a lag
WAYS = ("running", "augmented", "as they are")


@dataclass(frozen=True)
class Trained:
    """One network after its training: which held-out pictures are right, bool (n,), and the loss, for each of WAYS."""

    title: str
    schedule: Schedule
    batch: int
    rate: float
    steps: int
    right: dict[str, np.ndarray]
    loss: dict[str, float]

    def better(self, one: str, other: str) -> bool:
        """Whether it is right more often in the one way than in the other, and not by chance."""
        gained, lost = (
            int((self.right[one] & ~self.right[other]).sum()),
            int((self.right[other] & ~self.right[one]).sum()),
        )
        return gained > lost and mcnemar(gained, lost) < SIGNIFICANT

    @property
    def lag(self) -> float:
        """How many times as high the loss is with the running statistics as with recomputed ones."""
        return self.loss["running"] / self.loss["augmented"]

    @property
    def lags(self) -> bool:
        return self.lag > MOST_LAG or self.better("augmented", "running")

    def accuracy(self, way: str) -> float:
        return float(self.right[way].mean())


def pictures() -> Dataset:
    """The training pictures, and as `test` those to measure on."""
    numbers = sorted(shapes.CLASS_NAMES.index(name) for name in CLASSES)
    train, test = (_reduced(split, numbers) for split in (shapes.load().train, shapes.draw(3000, seed=1)))
    mean, std = channel_statistics(train.images)
    none = Split(train.images[:0], train.labels[:0])
    return Dataset("four tinted shapes", CLASSES, mean, std, train, none, test)


def _reduced(split: Split, numbers: list[int]) -> Split:
    chosen = np.isin(split.labels, numbers)
    labels = np.searchsorted(numbers, split.labels[chosen]).astype(np.int64)
    images = split.images[chosen].astype(np.float32)
    count, _, height, width = images.shape
    images = images.reshape(count, 3, height // 2, 2, width // 2, 2).mean((3, 5))
    images += np.array(TINTS, np.float32)[labels][:, :, None, None]
    return Split(np.clip(images, 0, 255).astype(np.uint8), labels)


def cells() -> Iterator[tuple[int, Schedule, int, float, int]]:
    """(depth, schedule, batch, rate, steps): all of them with the app's own schedule, and some at a constant rate."""
    for depth in DEPTHS:
        for rate in RATES[1:]:
            for steps in STEPS:
                yield depth, "constant", BATCHES[1], rate, steps
        for batch in BATCHES:
            for rate in RATES:
                for steps in STEPS:
                    yield depth, "one_cycle", batch, rate, steps


def trained(dataset: Dataset, depth: int, schedule: Schedule, batch: int, rate: float, steps: int) -> Iterator[Trained]:
    """Both twins after exactly so many steps."""
    epochs = -(-steps * batch // len(dataset.train))
    shown = steps // epochs * batch
    few = replace(dataset, train=Split(dataset.train.images[:shown], dataset.train.labels[:shown]))
    spec = replace(cifar(depth), input_shape=dataset.input_shape, classes=len(dataset.class_names))
    networks = [build(each, seed=0) for each in (spec.twin(), spec)]
    config = TrainingConfig(epochs=epochs, batch_size=batch, learning_rate=rate, schedule=schedule)
    state = TrainingState()
    for _ in fit_together(networks, few, config, state):
        pass
    for network, entry in zip(networks, state.networks, strict=True):
        network.load_state_dict(entry.running, strict=False)  # as training left them, where they were recomputed
        right, loss = {}, {}
        for way in WAYS:
            if way != "running":
                recompute_batchnorm(network, dataset, batch_size=batch, augmented=way == "augmented")
            right[way], loss[way] = measured(network, dataset)
        yield Trained(network.spec.name, schedule, batch, rate, steps // epochs * epochs, right, loss)


@torch.no_grad()
def measured(network: Network, dataset: Dataset) -> tuple[np.ndarray, float]:
    """Which pictures are right, bool (n,), and the mean cross-entropy."""
    mean, std = torch.tensor(dataset.mean), torch.tensor(dataset.std)
    labels = torch.from_numpy(dataset.test.labels)
    pixels = torch.from_numpy(dataset.test.images).permute(0, 2, 3, 1)
    logits = network.eval()(normalise(pixels, mean, std))
    return (logits.argmax(1) == labels).numpy(), torch.nn.functional.cross_entropy(logits, labels).item()


def summary_lines(found: list[Trained]) -> Iterator[str]:
    """By the number of steps: how often recomputing helped and harmed, and what it made of accuracy and loss."""
    ways = "running, recomputed augmented, recomputed as they are"
    head = "steps | schedule | networks | better recomputed | worse recomputed | largest gain and loss of accuracy"
    yield f"| {head} | accuracy: {ways} | loss, median of the same | loss, running / recomputed augmented, worst |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for schedule in ("one_cycle", "constant"):
        for steps in STEPS:
            some = [each for each in found if (each.schedule, each.steps) == (schedule, steps)]
            if not some:
                continue
            better = sum(each.better("augmented", "running") for each in some)
            worse = sum(each.better("running", "augmented") for each in some)
            accuracy = ", ".join(f"{statistics.mean(each.accuracy(way) for each in some):.1%}" for way in WAYS)
            loss = ", ".join(f"{statistics.median(each.loss[way] for each in some):.3g}" for way in WAYS)
            gains = [100 * (each.accuracy("augmented") - each.accuracy("running")) for each in some]
            most = f"{max(gains):+.1f} and {min(gains):+.1f} points"
            counts = f"{steps} | {schedule} | {len(some)} | {better} | {worse} | {most}"
            yield f"| {counts} | {accuracy} | {loss} | {max(each.lag for each in some):,.3g} |"


def settled(found: list[Trained], schedule: Schedule) -> int | None:
    """The number of steps, of STEPS, from which no network lags with that schedule; None where some do to the end."""
    late = [each.steps for each in found if each.schedule == schedule and each.lags]
    return next((steps for steps in STEPS if steps > max(late, default=0)), None)


def rule_line(found: list[Trained]) -> str:
    when = {schedule: settled(found, schedule) for schedule in ("one_cycle", "constant")}
    words = {schedule: f"after fewer than {steps} steps" if steps else "always" for schedule, steps in when.items()}
    return (
        f"Rule: recompute {words['one_cycle']} with a rate that falls, {words['constant']} with a constant one. From "
        f"there on no network has a loss more than {MOST_LAG:g} times as high with the running statistics, and none is "
        "better recomputed."
    )


def detail_lines(found: list[Trained]) -> Iterator[str]:
    """Accuracy with the running statistics and with recomputed ones, of each network."""
    yield f"| network | schedule | batch | rate | {' | '.join(f'{steps} steps' for steps in STEPS)} |"
    yield "|---" * (4 + len(STEPS)) + "|"
    rows: dict[tuple[str, Schedule, int, float], dict[int, str]] = {}
    for each in found:
        cell = f"{100 * each.accuracy('running'):.0f} → {100 * each.accuracy('augmented'):.0f}"
        marked = f"**{cell}**" if each.better("augmented", "running") or each.better("running", "augmented") else cell
        rows.setdefault((each.title, each.schedule, each.batch, each.rate), {})[each.steps] = marked
    for (title, schedule, batch, rate), row in rows.items():
        yield f"| {title} | {schedule} | {batch} | {rate} | {' | '.join(row.get(steps, '') for steps in STEPS)} |"


def show_batchnorm(is_written: bool) -> int:
    dataset = pictures()
    found: list[Trained] = []
    for cell in cells():
        for each in trained(dataset, *cell):
            found.append(each)
            ways = "  ".join(f"{way} {each.accuracy(way):.4f} {each.loss[way]:.4g}" for way in WAYS)
            print(each.title, *cell[1:], ways, sep="  ", file=sys.stderr, flush=True)
    n = len(dataset.test)
    lines = [
        "# BatchNorm after few steps",
        "",
        "Written by `python -m benchmarks batchnorm --write`. " + __doc__.split("\n\n")[1].replace("\n", " ").strip(),
        f"Recomputed: mean and variance over {PICTURES:,} training pictures in batches of the training's size, "
        "augmented as in training or as they are. "
        f"Better and worse: by McNemar's test between running and recomputed, augmented, p < {SIGNIFICANT:g}.",
        "",
        *summary_lines(found),
        "",
        rule_line(found),
        "",
        "Accuracy in percent, with the running statistics → with recomputed ones (augmented); bold: p < 0.001.",
        "",
        *detail_lines(found),
        "",
        f"n = {n:,} pictures, seed 0, one run each. {machine()}.",
    ]
    print("\n".join(lines))
    if is_written:
        write("batchnorm", lines)
    return 0
