"""How far two networks are from each other, layer by layer: the distance of their outputs, and linear CKA."""

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from explorer.architectures import ArchitectureSpec, describe
from explorer.checkpoints import Checkpoint
from explorer.experiments import similarity
from explorer.experiments.agreement import images_for
from explorer.experiments.kept_outputs import KeptOutputs
from explorer.experiments.probing import Layers, batch_size, strip_layers
from explorer.experiments.throughput import on_all_cores
from explorer.tracing import check_evaluation_mode

PICTURES = 200
FEWEST = similarity.MINIMUM
_MOST_BYTES = 1_500_000_000  # of outputs while Grams are taken
RIGHT_ANGLES = math.sqrt(2)
"""The distance of two outputs of equal size at right angles: |a - b|² = |a|² + |b|²."""


@dataclass(frozen=True, eq=False)
class TwinDistance:
    """Of each of L layers that two networks share by name, on the same `n` pictures.

    `distance` is 2 |a - b| / (|a| + |b|), 0..2, Euclidean over all values of all pictures: float64 (L,), NaN where the
    shapes differ or both are 0. `cka` is the debiased linear CKA of `similarity`, -1..1, NaN where there is none.
    """

    layers: tuple[str, ...]
    distance: np.ndarray
    cka: np.ndarray
    n: int


def shared_layers(a: ArchitectureSpec, b: ArchitectureSpec, layers: Layers = "blocks") -> tuple[str, ...]:
    """The layers of the strip that both have by name, in the order of the first."""
    others = strip_layers(b, layers)
    return tuple(name for name in strip_layers(a, layers) if name in others)


def twin_distance(
    a: Checkpoint, b: Checkpoint, pixels: np.ndarray, layers: Sequence[str] | None = None, threads: int | None = None
) -> Generator[tuple[float, TwinDistance | None], None, None]:
    """The `TwinDistance` of two networks on `pixels`, uint8 (n, 3, H, W), n at least 4: by default of the blocks that
    both have, and of what is outside of them.

    Yields (fraction done, None) and ends with (1.0, the result). Raises ValueError for a network in training mode, too
    few pictures, or networks without a common layer.
    """
    names = tuple(layers if layers is not None else shared_layers(a.spec, b.spec))
    for each in (a, b):
        check_evaluation_mode(each.network)
    if not names:
        raise ValueError(f"{a.spec.name} and {b.spec.name} have no layer of the same name, so none can be compared.")
    if len(pixels) < similarity.MINIMUM:
        raise ValueError(f"at least {similarity.MINIMUM} images are needed, received {len(pixels)}; add some.")
    shapes = [describe(each.spec) for each in (a, b)]
    alike = [name for name in names if shapes[0].shape(name) == shapes[1].shape(name)]
    size = min(batch_size(each.spec) for each in (a, b))

    def one(start: int) -> np.ndarray:
        """|a - b|², |a|² and |b|² of each layer whose shapes agree, float64 (3, layers)."""
        part = pixels[start : start + size]
        kept = []
        for each in (a, b):
            kept.append(KeptOutputs(each.network, alike))
            with torch.no_grad():
                each.network(images_for(each, part), kept[-1])
        first, second = kept
        pairs = [(first[name].cpu(), second[name].cpu()) for name in alike]
        return np.array([[_square(x - y), _square(x), _square(y)] for x, y in pairs]).reshape(-1, 3).T

    sums = np.zeros((3, len(alike)))
    starts = range(0, len(pixels), size)
    threads = threads if all(each.network.device.type == "cpu" for each in (a, b)) else 1
    with closing(on_all_cores((partial(one, start) for start in starts), threads)) as batches:
        for done, found in enumerate(batches, start=1):
            sums += found
            yield 0.4 * done / len(starts), None
    kinds = [{layer.name: layer.kind for layer in described.layers} for described in shapes]
    compared = [name for name in names if all(kind[name] in similarity.KINDS for kind in kinds)]
    cka = np.full(len(names), math.nan)
    if compared:
        grams = []
        for index, each in enumerate((a, b)):
            for share, gram in similarity.layer_grams(each, pixels, compared):
                if gram is not None:
                    grams.append(gram)
                yield min(0.999, 0.4 + 0.3 * (index + share)), None
        found_cka = similarity.cka(*grams)
        for name in compared:
            place = found_cka.layers_a.index(name), found_cka.layers_b.index(name)
            if not np.ma.getmaskarray(found_cka.debiased)[place]:
                cka[names.index(name)] = found_cka.debiased[place]
    distance = np.full(len(names), math.nan)
    for name, (apart, one_size, other_size) in zip(alike, sums.T, strict=True):
        both = math.sqrt(one_size) + math.sqrt(other_size)
        distance[names.index(name)] = 2 * math.sqrt(apart) / both if both > 0 else math.nan
    distance[~np.isfinite(distance)] = math.nan
    yield 1.0, TwinDistance(names, distance, cka, len(pixels))


def count(a: ArchitectureSpec, b: ArchitectureSpec) -> int:
    """How many pictures are taken: fewer, but at least 4, where their outputs would need more than 1.5 GB."""
    bytes_each = max(similarity.cost(each, 100).bytes / 100 for each in (a, b))
    return int(min(PICTURES, max(similarity.MINIMUM, _MOST_BYTES // bytes_each)))


def macs(a: ArchitectureSpec, b: ArchitectureSpec, n: int) -> float:
    """Multiply-accumulates of all passes and Grams, at most."""
    return float(sum(n * describe(each).macs + similarity.cost(each, n).macs for each in (a, b)))


def _square(values: Tensor) -> float:
    return float(values.double().square().sum())


def cka_finding(titles: Sequence[str], found: TwinDistance) -> str:
    """Where two networks are most and least alike, in a plain sentence; "" where there is no CKA."""
    there = [index for index in range(len(found.layers)) if not math.isnan(found.cka[index])]
    if not there:
        return ""
    low, high = (pick(there, key=lambda index: found.cka[index]) for pick in (min, max))
    return (
        f"CKA of {titles[0]} with {titles[1]} is largest in {found.layers[high]} ({found.cka[high]:.2f}) and smallest "
        f"in {found.layers[low]} ({found.cka[low]:.2f}, n = {found.n})."
    )


def distance_finding(titles: Sequence[str], found: TwinDistance) -> str:
    """How far the outputs of two networks are from each other, in plain sentences."""
    far = found.distance[np.isfinite(found.distance)]
    if not len(far):
        return f"No layer of {titles[0]} and {titles[1]} has outputs of one shape, so there is no distance."
    return (
        f"The distance of {titles[0]} and {titles[1]} is {np.median(far):.2f} in the median of {len(far)} layers "
        f"(n = {found.n}). Two outputs of equal size at right angles have {RIGHT_ANGLES:.2f}. The distance depends on "
        "the order of the channels, and CKA does not."
    )
