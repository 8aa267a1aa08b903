"""What a lesion curve costs beside its passes, taken in turns in one run."""

import statistics
import time

from benchmarks.rows import Row, at_most
from explorer import checkpoints
from explorer.datasets import Split, shapes
from explorer.experiments import lesions
from explorer.experiments.measurement import evenly, rows
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
