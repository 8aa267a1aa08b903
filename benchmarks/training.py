"""How fast `fit` trains: beside the same steps without any data handling, and beside the loop of the textbooks."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from benchmarks.rows import ROOT, Row, at_least, ratios, spread
from explorer.architectures import build
from explorer.datasets import Dataset, Split, channel_statistics
from explorer.machine import cores
from explorer.machine.memory import MALLOC_ENV
from explorer.presets import cifar
from explorer.training import TrainingConfig, batches, choose_device, choose_precision, fit, fit_together
from explorer.training.config import Precision

LIMIT_BOUND, TEXTBOOK_BOUND = 0.95, 2.0
IMAGES = 50_000
BATCH, TEXTBOOK_BATCH = 128, 64
ROUNDS, SHORT_ROUNDS, TWIN_ROUNDS = 5, 60, 30
TWIN_BOUNDS = {20: 1.5, 8: 1.6}  # by depth, on 2 cores


def cifar_size() -> Dataset:
    """As many pictures as CIFAR-10 has, of noise: nothing can be learnt from them, and a step takes as long as any."""
    random = np.random.default_rng(0)
    train, none = (
        Split(random.integers(0, 256, (count, 3, 32, 32), np.uint8), random.integers(0, 10, count))
        for count in (IMAGES, 0)
    )
    mean, std = channel_statistics(train.images)
    return Dataset("noise", tuple("abcdefghij"), mean, std, train, none, none)


CONFIG = TrainingConfig(epochs=1000, batch_size=BATCH, learning_rate=0.01, schedule="constant")


def ours(dataset: Dataset, config: TrainingConfig) -> Callable[[], int]:
    """A function that takes one step of `fit` and says how many pictures it had."""
    steps = fit(build(cifar(20)), dataset, config, report_every=0)

    def step() -> int:
        next(steps)
        return config.batch_size

    return step


def compute_limit(dataset: Dataset, config: TrainingConfig) -> Callable[[], int]:
    """The same steps on one batch that lies ready on the device: no order, no gathering, no augmentation.

    Of the same noise that `fit` gets: on zeros, which are learnt at once, a step in bfloat16 is 3 % shorter.
    """
    device = choose_device()
    dtype = choose_precision(device)
    network = build(cifar(20)).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    forward = torch.compile(network) if config.compile else network
    optimizer = torch.optim.SGD(
        network.parameters(), config.learning_rate, momentum=0.9, nesterov=True, weight_decay=config.weight_decay
    )
    images, labels = (whole[: config.batch_size] for whole in batches.on_device(dataset.train, device))
    batch = batches.normalise(images, *batches.statistics(dataset, device))

    def step() -> int:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = forward(batch)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()
        return config.batch_size

    return step


class Pictures(TorchDataset[tuple[Tensor, int]]):
    """Training pictures as the tutorials hand them out: cropped and flipped one by one through PIL, then normalised."""

    def __init__(self, dataset: Dataset) -> None:
        self.images, self.labels = dataset.train.images, dataset.train.labels
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(dataset.mean, dataset.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index].transpose(1, 2, 0)), int(self.labels[index])


def textbook(dataset: Dataset, workers: int) -> Callable[[], int]:
    """What the tutorials do: pictures transformed one by one through PIL, Adam, float32, batches of 64."""
    device = choose_device()
    network: nn.Module = build(cifar(20)).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), 0.001)
    loader = DataLoader(Pictures(dataset), TEXTBOOK_BATCH, shuffle=True, num_workers=workers)

    def endlessly() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    source = endlessly()

    def step() -> int:
        images, labels = next(source)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
        loss.item()
        return len(labels)

    return step


def images_per_second(step: Callable[[], int], seconds: float) -> float:
    """Over at least one step and at least `seconds`."""
    start, images = time.perf_counter(), 0
    while not images or time.perf_counter() - start < seconds:
        images += step()
    return images / (time.perf_counter() - start)


def in_turns(ways: dict[str, Callable[[], int]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Images a second of each way in each round, after two steps of each that do not count."""
    for step in ways.values():
        step(), step()
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, step in ways.items():
            speeds[name].append(images_per_second(step, seconds))
    return speeds


def side_by_side(depth: int, config: TrainingConfig, dataset: Dataset) -> Callable[[], int]:
    """A function that takes one step of twins of that depth as `fit_together` does, with all cores."""
    torch.set_num_threads(cores())
    spec = cifar(depth)
    steps = fit_together([build(spec.twin()), build(spec)], dataset, config, report_every=0)

    def step() -> int:
        next(steps)
        return config.batch_size

    return step


def one_after_the_other(depth: int, config: TrainingConfig, dataset: Dataset) -> Callable[[], int]:
    """The same steps in turns, with one core left free: as without threads of their own."""
    torch.set_num_threads(max(1, cores() - 1))
    spec = cifar(depth)
    trainings = [fit(build(each), dataset, config, report_every=0) for each in (spec.twin(), spec)]

    def step() -> int:
        for training in trainings:
            next(training)
        return config.batch_size

    return step


def twin_rows(rounds: int = TWIN_ROUNDS) -> list[Row]:
    """Pictures a second of each twin, in turns of one step; bounds in float32, as on a processor without bfloat16.

    In a process that keeps the memory of a step for the next one, as that of a run does.
    """
    command = [sys.executable, "-c", f"from benchmarks import training; training.print_twin_speeds({rounds})"]
    result = subprocess.run(command, cwd=ROOT, env={**MALLOC_ENV, **os.environ}, stdout=subprocess.PIPE, check=True)
    rows = []
    for depth, dtype, speeds in json.loads(result.stdout):
        each = ratios(*speeds)
        absolute = " / ".join(f"{statistics.median(way):,.0f}" for way in speeds)
        least = TWIN_BOUNDS[depth] if dtype == "float32" else None
        rows.append(
            Row(
                f"Twins of depth {depth} at 32 pixels, {dtype}: side by side / in turns",
                f"{spread(each).removesuffix(')')}; {absolute} images/s of each)",
                len(each),
                at_least(statistics.median(each), least) if least else None,
            )
        )
    return rows


def print_twin_speeds(rounds: int) -> None:
    """As JSON: depth, precision, and pictures a second side by side and in turns, a number each round."""
    dataset, found = cifar_size(), []
    precisions: tuple[Precision, ...] = ("float32", "auto")
    for precision in precisions:
        dtype = str(choose_precision(choose_device(), precision)).removeprefix("torch.")
        if precision == "auto" and dtype == "float32":
            continue
        for depth in TWIN_BOUNDS:
            config = replace(CONFIG, batch_size=TEXTBOOK_BATCH, precision=precision)
            ways = {
                "side by side": side_by_side(depth, config, dataset),
                "in turns": one_after_the_other(depth, config, dataset),
            }
            torch.set_num_threads(1)
            found.append((depth, dtype, list(in_turns(ways, rounds, 0.0).values())))
    print(json.dumps(found))


def training_rows(seconds: float = 4.0, rounds: int = ROUNDS, short_rounds: int = SHORT_ROUNDS) -> list[Row]:
    """Both bounds with as many threads as there are cores.

    Against the limit, turns of a single step each: the few per cent between them drown in what a shared machine does
    in four seconds. Against the textbook turns of `seconds`, or its workers would fetch while the others compute.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(cores())
    dataset = cifar_size()
    compiled = replace(CONFIG, compile=True)
    fits = {"fit": ours(dataset, CONFIG), "compiled fit": ours(dataset, compiled)}
    limits = {"limit": compute_limit(dataset, CONFIG), "compiled limit": compute_limit(dataset, compiled)}
    textbooks = {"textbook": textbook(dataset, 0), "textbook, 2 workers": textbook(dataset, 2)}
    short = in_turns(fits | limits, short_rounds, 0.0)
    long = in_turns(fits | textbooks, rounds, seconds)
    torch.set_num_threads(before)
    rows = []
    dtype = str(choose_precision(choose_device())).removeprefix("torch.")
    for some, other, bound, speeds in (
        ("fit", "limit", LIMIT_BOUND, short),
        ("compiled fit", "compiled limit", LIMIT_BOUND, short),
        ("fit", "textbook", TEXTBOOK_BOUND, long),
        ("fit", "textbook, 2 workers", TEXTBOOK_BOUND, long),
        ("compiled fit", "textbook", TEXTBOOK_BOUND, long),
        ("compiled fit", "textbook, 2 workers", TEXTBOOK_BOUND, long),
    ):
        each = ratios(speeds[some], speeds[other])
        precision = f"{dtype} / float32" if other.startswith("textbook") and dtype != "float32" else dtype
        absolute = f"{statistics.median(speeds[some]):,.0f} / {statistics.median(speeds[other]):,.0f} images/s"
        measured = f"{spread(each).removesuffix(')')}; {absolute})"
        figure = f"ResNet-20, 50,000 pictures of 32, {precision}: {some} / {other}"
        rows.append(Row(figure, measured, len(each), at_least(statistics.median(each), bound)))
    return rows
