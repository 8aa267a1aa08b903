"""`geometry`: do neighbouring pictures agree on the gradient, and which way does it come back, at initialisation?"""

import argparse
import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from explorer.architectures import ArchitectureSpec
from explorer.cli import CommandResult, inputs, new_networks
from explorer.cli.formatting import table
from explorer.cli.progress import Progress
from explorer.datasets import shapes
from explorer.experiments import gradient_geometry
from explorer.experiments.gradient_geometry import QUESTIONS, brown_noise, reference, verdicts, white_noise
from explorer.experiments.gradient_geometry.measurement import specs_of
from explorer.experiments.gradient_geometry.names import names_of
from explorer.experiments.gradient_geometry.verdicts import MeasuredGeometry
from explorer.experiments.gradient_geometry.widths import width
from explorer.experiments.stored_gradients import LabelledBatch, drawn_batch
from explorer.intervals import Mean

MOST_NETWORKS = 8
MOST_SEEDS = 100
SHOWN_LAGS = (1, 2, 4, 8, 16, 32, 64)


def geometry_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "specs", nargs="+", metavar="SPEC", help=f"up to {MOST_NETWORKS} presets, or files as `describe --json` prints"
    )
    parser.add_argument("--twins", action="store_true", help="measure the twin of each, too")
    parser.add_argument(
        "--question", choices=[*QUESTIONS], default="shattering", help="what is measured (default: shattering)"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="of initial weights and lines (default: 3)")
    parser.add_argument(
        "--size", type=int, choices=shapes.SIZES, help="pixels a side of the networks (default: their own)"
    )
    inputs.add_threads(parser)


def measure_geometry(arguments: argparse.Namespace) -> CommandResult:
    """Measure the geometry of gradients at initialisation: neighbouring pictures, widths, blocks or paths."""
    if not 1 <= arguments.seeds <= MOST_SEEDS:
        raise ValueError(f"`--seeds` must be a whole number from 1 to {MOST_SEEDS}, received {arguments.seeds}.")
    question = arguments.question
    chosen = _specs(arguments)
    batch = _batch(chosen)
    specs = specs_of(question, chosen)
    if not specs:
        raise ValueError("plain networks have no residual blocks, so nothing goes around a branch; add `--twins`.")
    asked = [(spec, seed) for seed in range(arguments.seeds) for spec in specs]
    started, progress = time.monotonic(), Progress()
    results: dict[ArchitectureSpec, list[Any]] = {spec: [] for spec in specs}
    with closing(gradient_geometry.measure(question, asked, batch, arguments.threads)) as steps:
        for step in steps:
            if step.spec is not None:
                results[step.spec].append(step.result)
            progress.show(step.share)
    seconds = time.monotonic() - started
    seeds = tuple(range(arguments.seeds))
    found = [
        MeasuredGeometry(spec, name, seeds, tuple(results[spec]))
        for spec, name in zip(specs, names_of(specs), strict=True)
    ]
    sentences = verdicts.sentences(question, found)
    if question != "paths":
        sentences.append(verdicts.circumstances(len(seeds)))
    document: dict[str, Any] = {
        "question": question,
        "pictures": batch.words,
        "seeds": list(seeds),
        "seconds": round(seconds, 2),
        "networks": [_document(each) for each in found],
        "sentences": sentences,
    }
    if question in ("shattering", "widths"):
        document["references"] = {
            name: reference(noise, seeds).tolist() for name, noise in (("white", white_noise), ("brown", brown_noise))
        }
    heads, rows = _table(question, found)
    lines = [f"{batch.words}, seeds 0 to {seeds[-1]}, {seconds:.1f} s", "", *table(heads, rows), "", *sentences]
    return document, lines


def _specs(arguments: argparse.Namespace) -> tuple[ArchitectureSpec, ...]:
    """Those that were typed and their twins, each once, of the chosen size."""
    given = [new_networks.spec_of(text)[1] for text in arguments.specs]
    if arguments.size:
        sides = (arguments.size, arguments.size)
        given = [replace(spec, input_shape=(spec.input_shape[0], *sides)) for spec in given]
    asked = [each for spec in given for each in ((spec, spec.twin()) if arguments.twins else (spec,))]
    specs = tuple(dict.fromkeys(asked))
    inputs.check_number(specs, MOST_NETWORKS)
    return specs


def _batch(specs: Sequence[ArchitectureSpec]) -> LabelledBatch:
    """Shapes that all networks take."""
    sizes = {spec.input_shape[1:] for spec in specs}
    drawn = [size for size in shapes.SIZES if sizes == {(size, size)}]
    if not drawn:
        given = ", ".join(sorted(f"{height}×{width}" for height, width in sizes))
        raise ValueError(f"the pictures are shapes of one size, and these networks take {given}; add `--size 32`.")
    return drawn_batch(shapes.Drawn(drawn[0]))


def _document(each: MeasuredGeometry) -> dict[str, Any]:
    spec = each.spec
    own = {name: getattr(spec, name) for name in ("depth", "shortcut", "norm", "initialisation", "fingerprint")}
    results = [vars(result) | _derived(result) for result in each.results]
    document = {"name": each.name, **own, "channels": width(spec), "results": results}
    if middle := _headline(each):
        document |= {"headline": asdict(middle)}
    return document


def _derived(result: Any) -> dict[str, Any]:
    names = {"BlockSizes": ("ratios", "power"), "PathSizes": ("shares",)}.get(type(result).__name__, ())
    return {name: getattr(result, name) for name in names}


def _headline(each: MeasuredGeometry) -> Mean | None:
    """Of correlations that of neighbours, of blocks the power of ℓ, of paths the median number of branches."""
    of = {
        "Shattering": verdicts.neighbours,
        "BlockSizes": lambda result: result.power,
        "PathSizes": lambda result: result.quantile(0.5) if np.isfinite(result.shares).all() else math.nan,
    }[type(each.results[0]).__name__]
    return each.mean(of)


def _table(question: str, found: Sequence[MeasuredGeometry]) -> tuple[list[str], list[list[Any]]]:
    """The means over the seeds."""
    if question == "blocks":
        rows = [
            [each.name, name, *(float(np.mean([getattr(of, what)[at] for of in each.results])) for what in _BLOCK)]
            for each in found
            for at, name in enumerate(each.results[0].names)
        ]
        return ["network", "block", *_BLOCK], rows
    if question == "paths":
        means = [(each, verdicts.mean_shares(each)) for each in found]
        return ["network", "branches", "share", "gradient through one"], [
            [each.name, at, float(share), float(np.mean([of.sizes[at] for of in each.results]))]
            for each, shares in means
            for at, share in enumerate(shares)
        ]
    heads = ["network", *(f"lag {lag}" for lag in SHOWN_LAGS)]
    curves = [np.mean([of.correlation for of in each.results], axis=0) for each in found]
    return heads, [
        [each.name, *(float(curve[lag]) for lag in SHOWN_LAGS)] for each, curve in zip(found, curves, strict=True)
    ]


_BLOCK = ("branch", "shortcut", "ratios", "counts")
