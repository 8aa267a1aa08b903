"""The usual surfaces, their images, and where results are kept."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from explorer import runs, stored_results
from explorer.checkpoints import Checkpoint, CheckpointError, digest
from explorer.datasets import Dataset, Split, shapes
from explorer.datasets.shapes import Drawn
from explorer.experiments.loss_surface.directions import flat
from explorer.experiments.loss_surface.measurement import measure, own_span
from explorer.experiments.loss_surface.path import Span, Weights
from explorer.experiments.loss_surface.settings import REACH, Normalisation, Statistics, SurfaceSettings
from explorer.experiments.loss_surface.surface import Surface
from explorer.experiments.measurement import evenly_by_class, rows
from explorer.runs import weight_snapshots

USUAL = {
    1: SurfaceSettings(dimensions=1, points=21, n=64, curvature=1, curvature_images=16),
    2: SurfaceSettings(dimensions=2, points=15, n=64, curvature_images=16),
}
"""What the page and the terminal measure where nothing else is asked for."""
STATISTICS: tuple[Statistics, ...] = ("frozen", "recomputed")
SHIPPED = ("shapes-plain-20", "shapes-resnet-20", "shapes-plain-56", "shapes-resnet-56")
"""The networks whose usual surfaces come with the app."""


def usual(dimensions: int, normalisation: Normalisation = "filter", **changes: Any) -> SurfaceSettings:
    """The usual settings with these changes; those that are None are left out."""
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(USUAL[dimensions], **{"normalisation": normalisation, "reach": REACH[normalisation]} | given)


def images(data: Drawn | Dataset, settings: SurfaceSettings) -> dict[str, Split]:
    """`n` images of each split, each class equally often: of drawn data the first ones, which are drawn alone."""
    found: dict[str, Split] = {}
    for name in settings.splits:
        if isinstance(data, Drawn):
            found[name] = shapes.some(name, settings.n, data)
        else:
            found[name] = taken({"train": data.train, "test": data.test}[name], settings.n)
    return found


def taken(split: Split, n: int) -> Split:
    """`n` of its images, or all, each class its share."""
    return rows(split, evenly_by_class(split.labels, n))


def steps_of(run_id: str) -> int:
    """How many steps' weights that run kept; 0 without a run. Nothing is loaded."""
    run = runs.find(run_id) if run_id else None
    return len(weight_snapshots.snapshot_steps(run)) if run else 0


def snapshots_of(run_id: str, file: str) -> list[tuple[int, Weights]]:
    """The kept weights of the training of that run whose network is called `file`; none without a run or snapshots."""
    run = runs.find(run_id) if run_id else None
    return snapshots_in(run.weights, file) if run else []


def snapshots_in(folder: Path, file: str) -> list[tuple[int, Weights]]:
    """The same of a folder of snapshots. Those that are damaged are left out."""
    found: list[tuple[int, Weights]] = []
    for step in weight_snapshots.steps_in(folder):
        with suppress(CheckpointError):
            network = weight_snapshots.load(folder, file, step)
            found.append((step, {name: each.detach() for name, each in network.named_parameters()}))
    return found


def shared_span(
    loaded: Sequence[Checkpoint],
    snapshots: Sequence[Callable[[], Sequence[tuple[int, Weights]]]],
    settings: SurfaceSettings,
) -> Span | None:
    """The range of the principal axes in which the paths of all networks lie; None for random directions. `snapshots`
    load the kept weights: those of one network at a time are in memory."""
    if settings.axes == "random":
        return None
    spans = [
        own_span(checkpoint, load_kept(), settings) for checkpoint, load_kept in zip(loaded, snapshots, strict=True)
    ]
    (x, y) = ((min(each[axis][0] for each in spans), max(each[axis][1] for each in spans)) for axis in (0, 1))
    return x, y


def key(
    digest: str,
    content: str,
    settings: SurfaceSettings,
    owner: str = "",
    snapshots: Sequence[tuple[int, Weights]] = (),
    span: Span | None = None,
) -> str:
    """The key of the stored surface of a network of that `checkpoints.digest` on images of that `content`."""
    path = hashlib.sha256()
    for step, weights in snapshots:
        path.update(str(step).encode())
        path.update(flat({name: weights[name] for name in sorted(weights)}).numpy().tobytes())
    path.update(str(span).encode())
    if settings.axes == "path":
        path.update(b"centred")  # what was measured along other axes is not found
    told = path.hexdigest() if snapshots else ""
    return stored_results.key("surface", [digest], content, owner, path=told, **settings.to_dict())


def shipped(
    loaded: Mapping[str, Checkpoint], threads: int | None = None
) -> Iterator[tuple[str, dict[str, Mapping[str, np.ndarray]]]]:
    """The usual surfaces of `SHIPPED`, on drawn images, as words and the packed surface by its key. Those that are kept
    already are not measured again."""
    for name in SHIPPED:
        drawn = Drawn.read(loaded[name].data)
        for dimensions, statistics in itertools.product(USUAL, STATISTICS):
            settings = usual(dimensions, statistics=statistics)
            own = key(digest(loaded[name]), drawn.name, settings)
            if (found := load(own)) is None:
                pictures = images(drawn, settings)
                *_, last = measure(loaded[name], pictures, drawn.classes, settings, threads=threads)
                found = last.surface
                store(own, found)
            yield f"{name}, {statistics}, {dimensions} directions", {own: packed(found)}


def load(key: str) -> Surface | None:
    """The surface of that key; None where there is none, or only a part of it."""
    found = begun(key)
    return found if found is not None and found.is_complete else None


def begun(key: str) -> Surface | None:
    """The surface of that key, or the part of it that was measured before its measurement was stopped; None where there
    is none."""
    found = stored_results.unpack(Surface, stored_results.load(key))
    try:
        return found if found is None or found.asked else None
    except (ValueError, TypeError):  # damaged
        return None


def store(key: str, found: Surface) -> None:
    """Keeps the surface; a part of one never in place of a whole one."""
    if found.is_complete or load(key) is None:
        stored_results.store(key, packed(found))


def packed(found: Surface) -> Mapping[str, np.ndarray]:
    return stored_results.pack(found)
