"""What a lesion curve costs beside its passes, taken in turns in one run, and what the shipped curves say."""

import statistics
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.rows import Row, at_most, machine
from explorer import checkpoints, stored_results
from explorer.architectures import Intervention
from explorer.datasets import Split, shapes
from explorer.experiments import lesions, measurement
from explorer.experiments.lesions import Answers
from explorer.experiments.measurement import evenly, rows
from explorer.intervals import Accuracy
from explorer.machine import cores

ROUNDS, COUNT, MOST = 3, 500, 1.25
NETWORKS = ("shapes-resnet-20", "shapes-resnet-56", "shapes-plain-56")


def lesion_rows(rounds: int = ROUNDS, count: int = COUNT) -> list[Row]:
    """Of each network: the curve over its passes at the throughput of the untouched network in the same threads."""
    test = shapes.test_split()
    split = rows(test, evenly(len(test), count))
    return [_row(name, rounds, count, split) for name in NETWORKS]


def _row(name: str, rounds: int, count: int, split: Split) -> Row:
    checkpoint = checkpoints.load_pretrained(name)
    variants = lesions.single(checkpoint.spec)
    passes = lesions.passes(checkpoint.spec, variants)

    def seconds(asked: tuple[lesions.Variant, ...]) -> float:
        started = time.perf_counter()
        for _ in lesions.answers(checkpoint, split, checkpoint.class_names, asked):
            pass
        return time.perf_counter() - started

    seconds(())
    bare, curves = [], []
    for _ in range(rounds):
        bare.append(seconds(()))
        curves.append(seconds(variants))
    shares = [curve / (one * passes) for curve, one in zip(curves, bare, strict=True)]
    measured = (
        f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f}); {statistics.median(curves):.1f} s, "
        f"{len(variants)} blocks, {passes:.1f} passes an image at {count / statistics.median(bare):,.0f} images/s on "
        f"{cores()} cores"
    )
    figure = f"Lesion curve of {checkpoint.spec.name} on {count} images, times its passes"
    return Row(figure, measured, rounds, at_most(statistics.median(shares), MOST))


def block_lines() -> Iterator[str]:
    """What each pretrained network gets right without single blocks, of the answers that ship with the app."""
    yield "| network | whole | without one block, median | worst block | best block | blocks | at chance | n |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in checkpoints.pinned():
        loaded = checkpoints.load_pretrained(name)
        facts = measurement.facts_of(loaded.data)
        content = facts.content if facts else loaded.data
        key = lesions.result_key([checkpoints.digest(loaded)], content, lesions.USUAL, "single")
        if found := stored_results.unpack(Answers, stored_results.load(key)):
            yield f"| `{name}` | {_block_line(found, 1 / loaded.spec.classes)} |"
    yield ""
    yield (
        f"Answers of `pretrained/lesions.{stored_results.SUFFIX}`, one training each, seed 0, with 95 % intervals "
        "(Wilson). At chance: blocks without which the interval holds or lies below the share of guessing. "
        f"{machine()}."
    )


def _block_line(found: Answers, chance: float) -> str:
    whole, *without = found.accuracies
    places = [Intervention.parse(text).place for text in found.variants]
    shares = [each.share for each in without]
    ends = [f"{_with_interval(without[at])} {places[at]}" for at in (int(np.argmin(shares)), int(np.argmax(shares)))]
    at_chance = sum(each.low <= chance for each in without)
    cells = (_with_interval(whole), f"{np.median(shares):.1%}", *ends, len(without), at_chance, found.n)
    return " | ".join(map(str, cells))


def _with_interval(each: Accuracy) -> str:
    return f"{each.share:.1%} ({each.low:.1%} to {each.high:.1%})"
