"""What the probes of all layers cost, and beside their passes, taken in turns in one run."""

import statistics
import time

import numpy as np

from benchmarks.rows import Row, at_most
from explorer import checkpoints
from explorer.datasets import Split, shapes
from explorer.experiments import lesions, probing, receptive_fields
from explorer.machine import cores

ROUNDS, SECONDS, MOST = 3, 6.0, 1.25
NETWORKS = ("shapes-resnet-20", "shapes-resnet-56", "shapes-plain-56")


def probe_rows(rounds: int = ROUNDS, train: int = probing.TRAIN, test: int = probing.TEST) -> list[Row]:
    """Of each network: seconds of the row of probes with the drawing of its pictures, and the measurement over its
    passes at the throughput of the untouched network in the same threads."""
    return [row for name in NETWORKS for row in _rows(name, rounds, train, test)]


def _rows(name: str, rounds: int, train: int, test: int) -> list[Row]:
    checkpoint = checkpoints.load_pretrained(name)
    bare, measured, whole, fields, processor = [], [], [], [], []
    for _ in range(rounds):
        started, begun = time.perf_counter(), time.process_time()
        first, second = shapes.some("train", train), shapes.some("test", test)
        drawn = time.perf_counter()
        for _ in probing.probes(checkpoint, first, second):
            pass
        ended = time.perf_counter()
        processor.append(time.process_time() - begun)
        both = Split(np.concatenate([first.images, second.images]), np.concatenate([first.labels, second.labels]))
        for _ in lesions.answers(checkpoint, both, checkpoint.class_names, ()):
            pass
        bare.append(time.perf_counter() - ended)
        measured.append(ended - drawn)
        whole.append(ended - started)
        again = time.perf_counter()
        for _ in receptive_fields.fields(checkpoint, second.images[: receptive_fields.PICTURES]):
            pass
        fields.append(time.perf_counter() - again)
    title, on = checkpoint.spec.name, f"on {cores()} cores"
    shares = [one / other for one, other in zip(measured, bare, strict=True)]
    seconds = statistics.median(whole)
    layers = len(probing.strip_layers(checkpoint.spec))
    return [
        Row(
            f"Probes of the {layers} layers of {title}, {train:,} + {test:,} images",
            f"{seconds:.1f} s ({min(whole):.1f} to {max(whole):.1f}) {on}, drawing included; "
            f"{statistics.median(processor):.1f} s of processor time",
            rounds,
            at_most(seconds, SECONDS, " s") if name == NETWORKS[0] else None,
        ),
        Row(
            f"Probes of {title}, times its passes",
            f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})",
            rounds,
            at_most(statistics.median(shares), MOST),
        ),
        Row(
            f"Effective receptive fields of {title}, {receptive_fields.PICTURES} images",
            f"{statistics.median(fields):.1f} s {on}",
            rounds,
        ),
    ]
