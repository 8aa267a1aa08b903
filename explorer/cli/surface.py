"""`surface`: the loss around trained networks, along one direction of their weights or over two."""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from explorer import checkpoints
from explorer.cli import CommandResult, inputs
from explorer.cli.formatting import notes_block, table
from explorer.cli.progress import Progress
from explorer.datasets import shapes
from explorer.experiments import loss_surface
from explorer.experiments.loss_surface import Surface, SurfaceSettings, sentences, stored
from explorer.experiments.loss_surface.cost import check_path
from explorer.experiments.loss_surface.curvature import ratio
from explorer.experiments.loss_surface.measurement import check_statistics
from explorer.experiments.loss_surface.path import Span, Weights
from explorer.experiments.loss_surface.placed import norms
from explorer.experiments.measurement import MOST_NETWORKS, content_of
from explorer.files import csv_text, npz, write_atomically
from explorer.labels import listed
from explorer.machine import memory
from explorer.runs import weight_snapshots
from explorer.runs.directory import file_stem
from explorer.training import training_speed

FILES = (".csv", ".npz")


def surface_arguments(parser: argparse.ArgumentParser) -> None:
    usual = {dimensions: stored.USUAL[dimensions] for dimensions in (1, 2)}
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help=f"up to {MOST_NETWORKS} networks, such as twins: pretrained ones or files",
    )
    parser.add_argument("--dimensions", type=int, choices=(1, 2), default=1, help="directions (default: 1)")
    parser.add_argument(
        "--points",
        type=int,
        metavar="N",
        help=f"on each direction, odd (default: {usual[1].points}, over two directions {usual[2].points})",
    )
    parser.add_argument(
        "--range", type=float, dest="reach", metavar="X", help="from -X to X (default: 1, of raw directions 0.05)"
    )
    parser.add_argument(
        "--count",
        type=int,
        metavar="N",
        help=f"images of each split (default: {usual[1].n}, over two directions {usual[2].n})",
    )
    parser.add_argument("--split", choices=("train", "test", "both"), default="both", help="images (default: both)")
    parser.add_argument(
        "--normalisation", choices=("filter", "none"), default="filter",
        help="filter: each filter of a direction has the norm of the network's; none: raw (default: filter)",
    )  # fmt: skip
    parser.add_argument(
        "--axes", choices=("random", "path"), default="random",
        help="random directions, or the principal ones of a training whose weights were kept (default: random)",
    )  # fmt: skip
    parser.add_argument(
        "--move", choices=("kernels", "all"), default="kernels",
        help="kernels: biases and BatchNorm's weights stay; all: they move along themselves (default: kernels)",
    )  # fmt: skip
    parser.add_argument(
        "--batchnorm", choices=("frozen", "recomputed", "both"), default="frozen",
        help="statistics: those of the training, or at every point those of the measured training images, of the test "
        "images where only these are measured (default: frozen; the page measures both)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the directions (default: 0)")
    parser.add_argument(
        "--sharpness", type=int, metavar="K", help="random directions of the mean increase; 0 for none (default: 10)"
    )
    parser.add_argument("--radius", type=float, metavar="R", help="of that increase (default: 0.1)")
    parser.add_argument(
        "--curvature", type=int, metavar="K",
        help="places a side for the Hessian's extreme eigenvalues, 1 for the centre, 0 for none (default: 1, over two "
        "directions 0)",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", action="append", default=[], help="write a .csv or .npz (repeatable)")
    parser.add_argument("--again", action="store_true", help="measure anew what is kept from an earlier time")
    inputs.add_labelled_images(parser)
    inputs.add_threads(parser)


def measure_surface(arguments: argparse.Namespace) -> CommandResult:
    """Measure the loss around networks along random directions, with BatchNorm frozen or recomputed."""
    inputs.check_number(arguments.names, MOST_NETWORKS)
    files = [Path(file) for file in arguments.out]
    for file in files:
        if file.suffix not in FILES or not file.parent.is_dir():
            raise ValueError(f"`--out` must name a .csv or .npz file in a folder that is there, received `{file}`.")
    kinds = stored.STATISTICS if arguments.batchnorm == "both" else (arguments.batchnorm,)
    settings = _settings(arguments)
    asked = [_Asked(name, arguments, settings) for name in arguments.names]
    wanted = [(each, replace(each.settings, statistics=kind)) for kind in kinds for each in asked]
    for each, own in wanted:
        check_statistics(each.checkpoint.spec, own, bool(norms(each.checkpoint.network)))
    check_path((each.checkpoint.spec, each.steps) for each in asked)  # before any kept weights are loaded
    for each in asked:
        if each.weights and each.steps:
            weight_snapshots.check_end(each.weights, each.checkpoint.network)
    span = stored.shared_span([each.checkpoint for each in asked], [each.snapshots for each in asked], settings)
    for each in asked:
        each.span = span
    missing = [(each, own) for each, own in wanted if arguments.again or not each.stored(own)]
    if missing:
        expected = loss_surface.cost(
            [(each.checkpoint.spec, own) for each, own in missing],
            training_speed(),
            [each.steps for each, _ in missing],
        )
        expected.check()
        print(expected.sentence, file=sys.stderr, flush=True)
    results: list[_Result] = []
    stopped = False
    for each, own in wanted:
        if stopped:
            break
        found, seconds, stopped = each.measured(own, arguments)
        if found is not None:
            results.append((each, own, found, seconds))
    if not results:
        raise KeyboardInterrupt
    complete = {(each.name, own.statistics) for each, own, found, _ in results if found.is_complete}
    left = [(each, own) for each, own in wanted if (each.name, own.statistics) not in complete]
    document, lines = _shown(results, left)
    for file in files:
        write_atomically(file, _content(file, results, asked))
    return document, lines


class _Asked:
    """A network, its images, the kept weights of its training, and the key of its results."""

    span: Span | None = None

    def __init__(self, name: str, arguments: argparse.Namespace, settings: SurfaceSettings) -> None:
        self.name = name
        checkpoint = inputs.checkpoint(name)
        self.weights = weight_snapshots.beside(Path(name)) if Path(name).is_file() else None
        self.steps = len(weight_snapshots.steps_in(self.weights)) if self.weights else 0
        self.keys: dict[SurfaceSettings, str] = {}  # each takes all kept weights
        self.settings = settings
        drawn = shapes.named(checkpoint.data) if arguments.data is None else None
        if drawn is not None and (drawn.size, drawn.size) == checkpoint.spec.input_shape[1:]:
            self.data, self.class_names, self.checkpoint = drawn.name, drawn.classes, checkpoint
            self.images, self.notes = stored.images(drawn, settings), list(shapes.NOTES)
            self.content = drawn.name
            self._count()
            return
        found = {
            split: inputs.labelled_images(checkpoint, arguments, split) for split in settings.splits
        }  # fmt: skip
        first = found[settings.splits[0]]
        self.data, self.class_names, self.checkpoint = first.data, first.class_names, first.checkpoint
        self.images = {split: stored.taken(each.split, settings.n) for split, each in found.items()}
        self.notes = list(first.notes)
        self.content = "/".join(content_of(each, first.class_names) for each in self.images.values())
        self._count()

    def _count(self) -> None:
        """Cost and key count the images that there are."""
        self.settings = replace(self.settings, n=min(self.settings.n, max(map(len, self.images.values()))))

    def snapshots(self) -> list[tuple[int, Weights]]:
        """The kept weights of its training, loaded anew each time: of many networks they would fill the memory."""
        if self.weights is None:
            return []
        return stored.snapshots_in(self.weights, file_stem(self.checkpoint.spec.name))

    def key(self, settings: SurfaceSettings) -> str:
        if settings not in self.keys:
            digest = checkpoints.digest(self.checkpoint)
            self.keys[settings] = stored.key(
                digest, self.content, settings, snapshots=self.snapshots(), span=self.span
            )  # fmt: skip
        return self.keys[settings]

    def stored(self, settings: SurfaceSettings) -> Surface | None:
        return stored.load(self.key(settings))

    def measured(self, settings: SurfaceSettings, arguments: argparse.Namespace) -> tuple[Surface | None, float, bool]:
        """The surface, the seconds that it took, 0 for a kept one, and whether Ctrl-C has stopped it. What was measured
        until then is kept, and the next call goes on from it; it is None where that is nothing."""
        if not arguments.again and (known := self.stored(settings)):
            return known, 0.0, False
        memory.keep_freed()
        started, progress = time.monotonic(), Progress(f"{self.name}, {settings.statistics}: ")
        steps = loss_surface.measure(
            self.checkpoint, self.images, self.class_names, settings,
            snapshots=self.snapshots(), span=self.span, threads=arguments.threads,
            known=None if arguments.again else stored.begun(self.key(settings)),
        )  # fmt: skip
        found: Surface | None = None
        before = 0.0
        try:
            with closing(steps):
                for step in steps:
                    if found is None:
                        before = step.share  # of what an earlier call has measured
                    found = step.surface
                    progress.show(step.share, before)
        except KeyboardInterrupt:
            if found is None or not found.measured.any():
                return None, 0.0, True
            stored.store(self.key(settings), found)
            return found, time.monotonic() - started, True
        assert found is not None
        stored.store(self.key(settings), found)
        return found, time.monotonic() - started, False


def _settings(arguments: argparse.Namespace) -> SurfaceSettings:
    splits = ("train", "test") if arguments.split == "both" else (arguments.split,)
    return stored.usual(
        arguments.dimensions,
        arguments.normalisation,
        points=arguments.points,
        reach=arguments.reach,
        n=arguments.count,
        moved=arguments.move,
        seed=arguments.seed,
        splits=splits,
        directions=arguments.sharpness,
        radius=arguments.radius,
        axes=arguments.axes,
        curvature=arguments.curvature,
    )


_Result = tuple[_Asked, SurfaceSettings, Surface, float]


def _shown(results: Sequence[_Result], left: Sequence[tuple[_Asked, SurfaceSettings]]) -> CommandResult:
    """What the results say; `left` are those that Ctrl-C has stopped or kept from beginning."""
    kinds = list(dict.fromkeys(settings.statistics for _, settings, *_ in results))
    documents: list[dict[str, Any]] = []
    lines: list[str] = []
    for each, settings, found, seconds in results:
        classes = each.checkpoint.spec.classes
        text = sentences.finding(each.name, found, classes)
        documents.append(_document(each, settings, found, seconds, text))
        lines += [text]
    compared = [
        sentences.comparison([each.name for each, *_ in of_kind], [found for _, _, found, _ in of_kind])
        for kind in kinds
        if (of_kind := [result for result in results if result[1].statistics == kind])
    ]
    cells = [sentences.cells(each.name, found, each.checkpoint.spec.classes) for each, _, found, _ in results]
    settings = results[0][1]
    counts = dict.fromkeys(
        " and ".join(f"{n:,} {split}" for n, split in zip(found.counts, found.splits, strict=True))
        for _, _, found, _ in results
    )
    heading = (
        f"{settings.dimensions}-D surface, {settings.points} points a side, ±{settings.reach:g}, "
        f"{' or '.join(counts)} images, seed {settings.seed}, directions {settings.normalisation}"
    )
    stopped = [f"{each.name} with {own.statistics} statistics" for each, own in left]
    if stopped:
        lines.append(f"Stopped. Not complete: {listed(stopped)}. The same command goes on from there.")
    notes = list(dict.fromkeys(note for each, *_ in results for note in each.notes))
    assumed = [note for each, *_ in results for note in inputs.assumptions(each.checkpoint)]
    lines = [heading, "", *table(sentences.COLUMNS, cells), "", *lines, *filter(None, compared), ""]
    lines += [*sentences.DEFINITIONS, *notes_block(list(dict.fromkeys([*notes, *assumed])))]
    document = {
        "settings": settings.to_dict() | {"statistics": kinds},
        "not_complete": [{"network": each.name, "statistics": own.statistics} for each, own in left],
        "surfaces": documents,
        "comparison": [each for each in compared if each],
        "definitions": list(sentences.DEFINITIONS),
        "limits": list(sentences.LIMITS),
        "notes": notes,
    }
    return document, lines


def _document(
    each: _Asked, settings: SurfaceSettings, found: Surface, seconds: float, text: str
) -> dict[str, Any]:  # fmt: skip
    around = sentences.sharpness(found)
    return {
        "network": each.name,
        "data": each.data,
        "statistics": settings.statistics,
        "n": dict(zip(found.splits, found.counts, strict=True)),
        "seconds": round(seconds, 2),
        "kept": seconds == 0.0,
        "x": found.xs.tolist(),
        "y": found.ys.tolist() if settings.dimensions == 2 else None,
        "loss": _by_split(found, found.losses),
        "error": _by_split(found, found.errors),
        "centre": {
            split: {"loss": float(loss), "error": float(error)}
            for split, (loss, error) in zip(found.splits, found.centre, strict=True)
        },
        "not_finite": found.missing,
        "sharpness": None
        if around is None
        else {"radius": settings.radius, "increase": around.value}
        | {"low": around.low, "high": around.high, "n": around.n},
        "largest_relative_increase": sentences.keskar(found),
        "below_guessing": sentences.below_guessing(found, each.checkpoint.spec.classes),
        "curvature": [
            {
                "x": x, "y": y, "smallest": smallest, "largest": largest, "ratio": ratio(smallest, largest),
                "smallest_error": below, "largest_error": above, "products": int(products),
            }
            for x, y, smallest, largest, below, above, products in found.curvature.tolist()
        ],
        "path": found.path.tolist(),
        "finding": text,
        "assumed": inputs.assumptions(each.checkpoint),
    }  # fmt: skip


def _by_split(found: Surface, values: np.ndarray) -> dict[str, Any]:
    """Rows along the second direction; one list along a single one."""
    rows = values if len(found.ys) > 1 else values[:, 0]
    return {split: each.tolist() for split, each in zip(found.splits, rows, strict=True)}


def _content(file: Path, results: Sequence[_Result], asked: Sequence[_Asked]) -> bytes:
    if file.suffix == ".csv":
        lines: list[Sequence[object]] = [sentences.header(results[0][2])]
        lines += [row for each, _, found, _ in results for row in sentences.rows(each.name, found)]
        return csv_text(lines).encode("utf-8", "replace")
    arrays = {}
    for each, settings, found, _ in results:
        # A number as well, since files of several folders may have one name.
        stem = f"{asked.index(each)}-{Path(each.name).stem}/{settings.statistics}"
        for name in ("xs", "ys", "losses", "errors", "measured", "centre", "increases", "curvature", "path"):
            arrays[f"{stem}/{name}"] = getattr(found, name)
    return npz(arrays)
