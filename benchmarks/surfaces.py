"""What a loss surface costs beside its passes, taken in turns in one run, and what the surfaces of our twins say."""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch

from benchmarks.rows import Row, at_most, machine
from explorer import checkpoints
from explorer.architectures import Network
from explorer.datasets.shapes import Drawn
from explorer.experiments.agreement import images_for
from explorer.experiments.loss_surface import Surface, SurfaceSettings, measure, sentences, stored
from explorer.machine import cores, memory

ROUNDS, COUNT, POINTS, MOST = 3, 512, 9, 1.25  # of fewer points a core would wait for the last one
NETWORKS = ("shapes-resnet-20", "shapes-plain-56", "shapes-resnet-56")
WHOLE = ((1, 41, 512, 28.0), (2, 25, 256, 220.0))
"""Dimensions, points on each axis, images and the most seconds of a surface of ResNet-20, on two slow cores."""
TWINS = ("shapes-plain-56", "shapes-resnet-56")
_BATCH = 100


def surface_rows(rounds: int = ROUNDS, count: int = COUNT, points: int = POINTS) -> list[Row]:
    """Of each network and both kinds of statistics: a surface over its passes at the best forward throughput, that of
    one Python thread a core in batches of 100. Then the seconds of `WHOLE` surfaces, once each. The process keeps what
    it has freed, as that of a surface does."""
    memory.keep_freed()
    return [*(row for name in NETWORKS for row in _rows(name, rounds, count, points)), *map(_whole_row, WHOLE)]


def _rows(name: str, rounds: int, count: int, points: int) -> Iterator[Row]:
    checkpoint = checkpoints.load_pretrained(name)
    asked = SurfaceSettings(points=points, n=count, splits=("train",), directions=0)
    images = stored.images(Drawn.read(checkpoint.data), asked)
    inputs = images_for(checkpoint, images["train"].images)
    kinds = [replace(asked, statistics=kind) for kind in stored.STATISTICS]

    def seconds(settings: SurfaceSettings) -> float:
        started = time.perf_counter()
        for _ in measure(checkpoint, images, checkpoint.class_names, settings):
            pass
        return time.perf_counter() - started

    _forward(checkpoint.network, inputs, 1)
    bare: list[float] = []
    taken: dict[str, list[float]] = {each.statistics: [] for each in kinds}
    for _ in range(rounds):
        bare.append(_forward(checkpoint.network, inputs, points))
        for each in kinds:
            taken[each.statistics].append(seconds(each))
    for kind, times in taken.items():
        shares = [one / other for one, other in zip(times, bare, strict=True)]
        spread = f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
        speed = f"{points * count / statistics.median(bare):,.0f} images/s on {cores()} cores"
        measured = f"{spread}; {statistics.median(times):.1f} s, passes at {speed}"
        figure = f"Loss surface of {checkpoint.spec.name}, {points} points, {count} images, {kind}, times its passes"
        yield Row(figure, measured, rounds, at_most(statistics.median(shares), MOST))


def _whole_row(asked: tuple[int, int, int, float]) -> Row:
    dimensions, points, count, most = asked
    checkpoint = checkpoints.load_pretrained(NETWORKS[0])
    settings = SurfaceSettings(dimensions, points, n=count, splits=("train",), directions=0)
    images = stored.images(Drawn.read(checkpoint.data), settings)
    started = time.perf_counter()
    for _ in measure(checkpoint, images, checkpoint.class_names, settings):
        pass
    seconds = time.perf_counter() - started
    speed = f"{points**dimensions * count / seconds:,.0f} images/s on {cores()} cores"
    figure = f"Loss surface of {checkpoint.spec.name}, {' × '.join([str(points)] * dimensions)} points, {count} images"
    return Row(figure, f"{seconds:.1f} s, {speed}", 1, at_most(seconds, most, " s"))


def _forward(network: Network, images: torch.Tensor, times: int) -> float:
    """The seconds of so many passes of all images through the network as it stands, one thread of Python a core."""
    parts = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)] * times

    def one(part: torch.Tensor) -> None:
        with torch.inference_mode():
            network(part)

    before = torch.get_num_threads()
    with ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        started = time.perf_counter()
        list(pool.map(one, parts))
        passed = time.perf_counter() - started
    torch.set_num_threads(before)
    return passed


def surface_lines() -> Iterator[str]:
    """What the loss surfaces of plain-56 and ResNet-56 say, frozen and recomputed, of those that ship with the app."""
    shown = [*_usual()]
    settings = shown[0][1].asked
    heads = [each.replace("|", "\\|") for each in sentences.COLUMNS]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(sentences.COLUMNS) + "|"
    for name, found in shown:
        yield f"| {' | '.join(sentences.cells(name, found, 10))} |"
    for kind in stored.STATISTICS:
        alike = [(name, found) for name, found in shown if found.asked.statistics == kind]
        if said := sentences.comparison([name for name, _ in alike], [found for _, found in alike]):
            yield f"\n{said}"
    places = range(0, settings.points, 2)
    for index, split in enumerate(shown[0][1].splits):
        for quantity, style in (("losses", ".3g"), ("errors", ".0%")):
            word = {"losses": "Loss", "errors": "Error"}[quantity]
            images = {"train": "training", "test": "test"}[split]
            yield f"\n{word} on the {images} images, at steps along the direction:\n"
            yield f"| network | statistics | {' | '.join(f'{settings.grid[0][at]:+.1f}' for at in places)} |"
            yield "|---" * (2 + len(places)) + "|"
            for name, found in shown:
                values = getattr(found, quantity)[index, 0]
                cells = " | ".join(format(values[at], style) for at in places)
                yield f"| {name} | {found.asked.statistics} | {cells} |"
    yield from _two_directions()
    yield ""
    yield (
        f"{settings.points} points, filter-normalised, seed {settings.seed} of the directions, n = {settings.n} "
        f"training images, and as many test images; the first table is of the training images."
    )
    yield ""
    written = "Written by `python -m benchmarks surfaces --write`"
    yield f"One training each, one seed of the directions. {written}. {machine()}."


def _two_directions() -> Iterator[str]:
    """The losses over two directions, of the training images."""
    yield "\nLoss on the training images over two directions that both share:\n"
    yield "| network | statistics | at the network | smallest | median | largest | at the corners | below guessing |"
    yield "|---" * 8 + "|"
    shown = [*_usual(2)]
    for name, found in shown:
        losses = found.losses[0]
        middle = found.asked.points // 2
        quantiles = [losses[middle, middle], losses.min(), np.median(losses), losses.max()]
        corners = ", ".join(format(losses[place], ".3g") for place in ((0, 0), (0, -1), (-1, 0), (-1, -1)))
        cells = [name, found.asked.statistics, *(format(value, ".3g") for value in quantiles), corners]
        guessing = np.log(len(checkpoints.load_pretrained(name).class_names))
        yield f"| {' | '.join(cells)} | {np.mean(losses < guessing):.0%} |"
    asked = shown[0][1].asked
    yield (
        f"\n{asked.points} × {asked.points} points from −{asked.reach:g} to {asked.reach:g} along each, "
        f"n = {asked.n}. Below guessing: the share of points whose loss is below that of equal probabilities."
    )


def _usual(dimensions: int = 1) -> Iterator[tuple[str, Surface]]:
    """Those along so many directions, measured where they do not come with the app."""
    for kind in stored.STATISTICS:
        for name in TWINS:
            checkpoint = checkpoints.load_pretrained(name)
            drawn = Drawn.read(checkpoint.data)
            settings = stored.usual(dimensions, statistics=kind)
            key = stored.key(checkpoints.digest(checkpoint), drawn.name, settings)
            if (found := stored.load(key)) is None:
                *_, last = measure(checkpoint, stored.images(drawn, settings), drawn.classes, settings)
                found = last.surface
                stored.store(key, found)
            yield name, found
