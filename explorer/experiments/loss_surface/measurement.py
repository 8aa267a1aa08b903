"""`measure`: loss and error at every point of a surface, its sharpness, its curvature and the training's path."""

import copy
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from queue import LifoQueue
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explorer.architectures import ArchitectureSpec, describe
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments.agreement import class_order, images_for
from explorer.experiments.loss_surface.curvature import ITERATIONS, Extremes, extremes, product_passes
from explorer.experiments.loss_surface.directions import Direction, random_direction
from explorer.experiments.loss_surface.path import (
    Path,
    Span,
    Weights,
    displacements,
    principal_directions,
    project,
    range_of,
)
from explorer.experiments.loss_surface.placed import Labelled, Origin, Placed, norms, sums
from explorer.experiments.loss_surface.settings import SurfaceSettings
from explorer.experiments.loss_surface.surface import Surface, copied, curvature_places, empty_surface, is_alike
from explorer.experiments.throughput import on_all_cores
from explorer.machine import cores
from explorer.tracing import check_evaluation_mode

FIRST_SHARP = 2
"""Number of the first random direction that sharpness is measured along: 0 and 1 are the axes of the surface."""
_PART_MACS = 30_000_000_000  # of one call, about a second on a core: Stop takes effect between two
_BATCH_MACS = 3_000_000_000
_BATCH_VALUES = 2**24
_LARGEST_BATCH = 64


@dataclass(frozen=True, eq=False)
class SurfaceStep:
    """The `share` of the work that is done, 0..1, with what was `known` before, and what is known so far."""

    share: float
    surface: Surface


def measure(
    checkpoint: Checkpoint,
    splits: Mapping[str, Split],
    class_names: Sequence[str],
    settings: SurfaceSettings,
    *,
    snapshots: Sequence[tuple[int, Weights]] = (),
    span: Span | None = None,
    known: Surface | None = None,
    threads: int | None = None,
) -> Generator[SurfaceStep, None, None]:
    """The surface around a network, on all images of `splits`, whose labels count `class_names`.

    The points come from coarse to fine, the centre first, and the last step has a `share` of 1. A generator that is
    closed keeps what its last step had; `known` is such a surface, which is completed. `snapshots` are (step, weights)
    of the training, `span` the range of the principal axes where twins share one. The network is left as it was found;
    every thread moves a copy of its own. With recomputed statistics the images of the first split pass in one batch in
    training mode, as dropout does not, and the statistics found so serve the others.

    Raises ValueError for a network in training mode, other classes, a split without images, recomputed statistics of a
    network without BatchNorm, or a path that has no two axes.
    """
    order = class_order(checkpoint, class_names)
    check_evaluation_mode(checkpoint.network)
    check_statistics(checkpoint.spec, settings, has_norms=bool(norms(checkpoint.network)))
    if not all(len(splits[name]) for name in settings.splits):
        raise ValueError("a split holds no images, so there is no loss to measure; choose other images.")
    work = _Work(checkpoint, splits, order, settings, snapshots, span, known)
    snapshots = ()  # the kept weights of a whole training: from here on they would only fill the memory
    if checkpoint.network.device.type != "cpu":
        threads = 1
    count = threads or cores()
    copies: LifoQueue[Placed] = LifoQueue()
    for _ in range(count):
        copies.put(Placed(work.origin))
    jobs = list(work.jobs())
    done = passes_known(work.found)
    total = done + sum(job.cost for job in jobs)
    yield SurfaceStep(min(0.999, done / total) if total else 0.0, work.surface())
    with closing(on_all_cores((partial(_call, job, copies) for job in jobs), count)) as results:
        for job, result in zip(jobs, results, strict=True):
            job.keep(result)
            done += job.cost
            if done < total:
                yield SurfaceStep(min(0.999, done / total), work.surface())
    yield SurfaceStep(1.0, work.surface())


def check_statistics(spec: ArchitectureSpec, settings: SurfaceSettings, has_norms: bool) -> None:
    """Raises ValueError where there are no statistics that could be recomputed."""
    if settings.statistics == "recomputed" and not has_norms:
        raise ValueError(
            f"{spec.name} has no BatchNorm layer, so there are no statistics to recompute; choose frozen statistics."
        )


def passes_known(found: Surface) -> float:
    """Passes of one image that what is known of a surface took."""
    asked, n = found.asked, found.counts[0]
    passes = float(found.measured.sum()) * sum(found.counts) + 2.0 * n * float(found.increases_known.sum())
    each = product_passes(min(asked.curvature_images, n))
    return passes + len(found.curvature) * (ITERATIONS + 1) * each


def batch_size(spec: ArchitectureSpec) -> int:
    """Images of a pass in evaluation mode."""
    largest = max(math.prod(layer.output_shape) for layer in describe(spec).layers)
    return max(1, min(_LARGEST_BATCH, _BATCH_MACS // max(1, describe(spec).macs), _BATCH_VALUES // largest))


@dataclass(frozen=True, eq=False)
class _Job:
    """One call: what a copy computes, in passes of one image, and what becomes of it."""

    compute: Callable[[Placed], Any]
    keep: Callable[[Any], None]
    cost: float


def _call(job: _Job, copies: "LifoQueue[Placed]") -> Any:
    placed = copies.get()
    try:
        return job.compute(placed)
    finally:
        copies.put(placed)


class _Work:
    """The jobs of one surface, and the arrays that they fill."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        splits: Mapping[str, Split],
        order: Sequence[int],
        settings: SurfaceSettings,
        snapshots: Sequence[tuple[int, Weights]],
        span: Span | None,
        known: Surface | None,
    ) -> None:
        self.settings, self.spec = settings, checkpoint.spec
        self.pictures = [_labelled(checkpoint, splits[name], order) for name in settings.splits]
        self.at_once = batch_size(checkpoint.spec)
        self.origin = Origin(checkpoint.network, settings)
        axes, self.path, (xs, ys) = _axes(checkpoint, settings, snapshots, span)
        self.directions = axes
        self.axes = [self.origin.along(axis) for axis in axes]
        self.found = empty_surface(settings, [len(each) for each in self.pictures], xs, ys, self.path)
        if known is not None and (settings.axes == "random" or is_alike(known, self.found)):
            self.found = copied(known)  # the arrays of a kept file may be read-only
        self.curved = [tuple(row) for row in self.found.curvature]
        shape = (*self.found.measured.shape, len(self.pictures), 2)
        self.sums = np.zeros(shape)  # of the points that are not complete yet
        self.left = np.zeros(self.found.measured.shape, int)

    def surface(self) -> Surface:
        """A copy of what is known now."""
        return replace(copied(self.found), curvature=np.array(self.curved, np.float64).reshape(-1, 7))

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def jobs(self) -> Iterator[_Job]:
        """The centre, the points from coarse to fine, the sharpness, the curvature, without what is known."""
        if self.settings.axes == "path" and not np.isfinite(self.found.centre).all():  # it may be between two points
            yield _Job(lambda placed: self._all(placed, []), self._keep_centre, self._passes)
        for y, x in coarse_to_fine(*self.found.measured.shape):
            if not self.found.measured[y, x]:
                yield from self._point(y, x)
        yield from self._sharp()
        yield from self._curved()

    @property
    def _passes(self) -> float:
        """Of one point."""
        return float(sum(map(len, self.pictures)))

    def _steps(self, x: float, y: float) -> list[tuple[float, Sequence[Tensor]]]:
        return [(float(step), axis) for step, axis in zip((x, y), self.axes, strict=False) if step]

    def _point(self, y: int, x: int) -> Iterator[_Job]:
        steps = self._steps(self.found.xs[x], self.found.ys[y])
        if self.origin.is_recomputed:
            self.left[y, x] = 1
            yield _Job(partial(self._all, steps=steps), partial(self._keep_point, y, x, slice(None)), self._passes)
            return
        parts = [(index, part) for index, each in enumerate(self.pictures) for part in self._parts(len(each))]
        groups = self._groups(parts)
        self.left[y, x] = len(groups)
        for group in groups:
            cost = sum(part.stop - part.start for _, part in group)
            yield _Job(partial(self._some, steps=steps, parts=group), partial(self._keep_point, y, x, None), cost)

    def _parts(self, n: int) -> list[slice]:
        size = max(self.at_once, _PART_MACS // max(1, describe(self.spec).macs))
        return [slice(start, min(start + size, n)) for start in range(0, n, size)]

    def _groups(self, parts: list[tuple[int, slice]]) -> list[list[tuple[int, slice]]]:
        """As many parts in one call as `_PART_MACS` allows."""
        groups: list[list[tuple[int, slice]]] = []
        room = 0.0
        for index, part in parts:
            macs = (part.stop - part.start) * describe(self.spec).macs
            if not groups or macs > room:
                groups.append([])
                room = float(_PART_MACS)
            groups[-1].append((index, part))
            room -= macs
        return groups

    def _all(self, placed: Placed, steps: Sequence[tuple[float, Sequence[Tensor]]]) -> np.ndarray:
        """Sums (S, 2) of losses and wrong answers of all splits at that place."""
        placed.move(steps)
        found = []
        for index, each in enumerate(self.pictures):
            whole = slice(0, len(each))
            if self.origin.is_recomputed and index == 0:
                logits = placed.statistics(each)
            else:
                logits = placed.logits(each, whole, self.at_once)
            found.append(sums(logits, each.labels, self.spec.temperature))
        return np.array(found)

    def _some(
        self, placed: Placed, steps: Sequence[tuple[float, Sequence[Tensor]]], parts: Sequence[tuple[int, slice]]
    ) -> np.ndarray:
        """The same of these parts alone, 0 for the others."""
        placed.move(steps)
        found = np.zeros((len(self.pictures), 2))
        for index, part in parts:
            each = self.pictures[index]
            found[index] += sums(placed.logits(each, part, self.at_once), each.labels[part], self.spec.temperature)
        return found

    def _keep_centre(self, found: np.ndarray) -> None:
        self.found.centre[:] = found / np.array([[len(each)] for each in self.pictures])

    def _keep_point(self, y: int, x: int, _: Any, found: np.ndarray) -> None:
        self.sums[y, x] += found
        self.left[y, x] -= 1
        if not self.left[y, x]:
            means = self.sums[y, x] / np.array([[len(each)] for each in self.pictures])
            self.found.losses[:, y, x], self.found.errors[:, y, x] = means.T
            self.found.measured[y, x] = True
            if self.found.xs[x] == 0 and self.found.ys[y] == 0:
                self.found.centre[:] = means

    def _sharp(self) -> Iterator[_Job]:
        for number in range(self.settings.directions):
            if not self.found.increases_known[number]:
                cost = 2.0 * len(self.pictures[0])
                yield _Job(partial(self._around, number=number), partial(self._keep_sharp, number), cost)

    def _around(self, placed: Placed, number: int) -> float:
        """The mean loss of the first split at ± radius along that direction. Filter-normalised on every surface, so
        that the number has one meaning."""
        direction = random_direction(self.origin.given, self.settings.seed, FIRST_SHARP + number)
        along, pictures = self.origin.along(direction), self.pictures[0]
        losses = []
        for sign in (1, -1):
            placed.move([(sign * self.settings.radius, along)])
            if self.origin.is_recomputed:
                logits = placed.statistics(pictures)
            else:
                logits = placed.logits(pictures, slice(0, len(pictures)), self.at_once)
            losses.append(sums(logits, pictures.labels, self.spec.temperature)[0] / len(pictures))
        return sum(losses) / 2

    def _keep_sharp(self, number: int, loss: float) -> None:
        self.found.increases[number] = loss - self.found.centre[0, 0]
        self.found.increases_known[number] = True

    def _curved(self) -> Iterator[_Job]:
        """Places take turns with their products, so that threads seldom wait for each other."""
        known = {row[:2] for row in self.curved}
        places = [place for place in curvature_places(self.found) if place not in known]
        count = min(self.settings.curvature_images, len(self.pictures[0]))
        taken = np.arange(count) * len(self.pictures[0]) // count
        pictures = Labelled(self.pictures[0].images[taken], self.pictures[0].labels[taken])
        each = product_passes(count)
        for first in range(0, len(places), cores()):
            iterations = [_Iteration(self, pictures, place) for place in places[first : first + cores()]]
            for _ in range(ITERATIONS + 1):
                yield from (_Job(one.advance, partial(self._keep_curved, one.place), each) for one in iterations)

    def _keep_curved(self, place: tuple[float, float], found: Extremes | None) -> None:
        if found is not None:
            errors = (found.smallest_error, found.largest_error, float(found.products))
            self.curved.append((*place, found.smallest, found.largest, *errors))


class _Iteration:
    """Lanczos at one place of a surface, a product at a time, on a copy of its own that is not folded."""

    def __init__(self, work: _Work, pictures: Labelled, place: tuple[float, float]) -> None:
        self.work, self.pictures, self.place = work, pictures, place
        self.lock = Lock()
        self.steps: Generator[None, None, Extremes] | None = None
        self.is_done = False

    def advance(self, _: Placed) -> Extremes | None:
        """None while it goes on, and after its end."""
        with self.lock:
            if self.is_done:
                return None
            if self.steps is None:
                self.steps = self._start()
            try:
                next(self.steps)
            except StopIteration as end:
                self.is_done, self.steps = True, None
                return end.value
            return None

    def _start(self) -> Generator[None, None, Extremes]:
        work = self.work
        network = copy.deepcopy(work.origin.given)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                for step, direction in zip(self.place, work.directions, strict=False):
                    parameter.add_(direction[name], alpha=step)
        return extremes(network, self.pictures, work.settings.seed, work.origin.is_recomputed)


def coarse_to_fine(rows: int, columns: int) -> list[tuple[int, int]]:
    """All points (row, column), the middle first, then those of grids of 1/2, 1/4, … of the distance, so that a surface
    that is stopped covers all of its range."""
    middle = (rows // 2, columns // 2)
    stride = 1 << max(0, (max(rows, columns) // 2).bit_length() - 1)
    found: dict[tuple[int, int], None] = {}
    while stride:
        for row in range(middle[0] % stride, rows, stride):
            for column in range(middle[1] % stride, columns, stride):
                found[row, column] = None
        stride //= 2
    return [middle, *(place for place in found if place != middle)]


def _labelled(checkpoint: Checkpoint, split: Split, order: Sequence[int]) -> Labelled:
    images = images_for(checkpoint, split.images).contiguous(memory_format=torch.channels_last)
    labels = torch.tensor([order[label] for label in split.labels.tolist()], device=images.device)
    return Labelled(images, labels)


def own_span(checkpoint: Checkpoint, snapshots: Sequence[tuple[int, Weights]], settings: SurfaceSettings) -> Span:
    """The range of the principal axes of that network's path. Raises ValueError as `measure` does."""
    return range_of(_axes(checkpoint, settings, snapshots, None)[1])


def _axes(
    checkpoint: Checkpoint,
    settings: SurfaceSettings,
    snapshots: Sequence[tuple[int, Weights]],
    span: Span | None,
) -> tuple[list[Direction], Path, tuple[np.ndarray, np.ndarray]]:
    """The directions, the path on them, and the coordinates of the points."""
    network = checkpoint.network
    changes = displacements(network, snapshots, settings.moved) if snapshots else None
    axes: list[Direction]
    if settings.axes == "path":
        if changes is None:
            raise ValueError(
                f"no weights of {checkpoint.spec.name}'s training were kept, so its path gives no directions; use "
                "random ones."
            )
        axes = [*principal_directions(network, changes)][: settings.dimensions]
    else:
        axes = [
            random_direction(network, settings.seed, number, settings.normalisation, settings.moved)
            for number in range(settings.dimensions)
        ]
    path = Path(np.zeros((0, 3)), 1.0)
    if changes is not None:
        path = project([step for step, _ in snapshots], changes, axes)
    if settings.axes == "random":
        return axes, path, settings.grid
    (low, high), (lower, upper) = span or range_of(path)
    xs = np.linspace(low, high, settings.points)
    ys = np.linspace(lower, upper, settings.points) if settings.dimensions == 2 else np.zeros(1)
    return axes, path, (xs, ys)
