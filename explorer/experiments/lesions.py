"""Lesions (Veit, Wilber and Belongie 2016): what a trained network still gets right without one of its blocks.

All passes that share their first parts share the work: a pass without the tenth block begins at the tenth block.
"""

import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from threading import Lock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer import checkpoints, stored_results
from explorer.architectures import ArchitectureSpec, Intervened, Intervention, Network, describe
from explorer.architectures.interventions import as_text, block_shapes
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments import measurement
from explorer.experiments.agreement import class_order, images_for
from explorer.experiments.throughput import on_all_cores
from explorer.intervals import Accuracy, accuracy
from explorer.machine import cores
from explorer.tracing import check_evaluation_mode

USUAL = 500
"""Test images of the question that the app opens with, for which it ships the answers."""
TIMES = 10
"""Random sets of each size that the app and the terminal take out."""
_BATCH_MACS = 2_000_000_000  # of one pass, a tenth of a second on one core: Stop takes effect between two passes
_BATCH_VALUES = 2**24  # of all outputs that are kept for a batch, 64 MB
_LARGEST_BATCH = 64

Variant = tuple[Intervention, ...]


@dataclass(frozen=True, eq=False)
class Answers:
    """What one network says of the same N labelled images as it is and in V variants.

    `labels` is int64 (N,); `predicted` int64 and `losses` float32 (cross-entropy, >= 0), both (1 + V, N), the first row
    of the untouched network. `variants` are the interventions of the other rows, as text.
    """

    variants: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    losses: np.ndarray

    @property
    def n(self) -> int:
        return len(self.labels)

    @cached_property
    def accuracies(self) -> tuple[Accuracy, ...]:
        """Of the untouched network and of each variant, with Wilson's intervals."""
        return tuple(accuracy(int(row.sum()), self.n) for row in self.predicted == self.labels)

    @cached_property
    def mean_losses(self) -> np.ndarray:
        """float64 (1 + V,)."""
        return self.losses.mean(axis=1, dtype=np.float64)

    @cached_property
    def loss_errors(self) -> np.ndarray:
        """The standard error of each mean loss, float64 (1 + V,); 0 for one image."""
        return self.losses.std(axis=1, dtype=np.float64, ddof=min(1, self.n - 1)) / math.sqrt(self.n)


@dataclass(frozen=True)
class Block:
    """A block of a network: whether it changes the shape, and why it cannot be taken out, "" where it can."""

    name: str
    changes_shape: bool
    reason: str


def blocks(spec: ArchitectureSpec) -> tuple[Block, ...]:
    """Those of a network in execution order; none of one without blocks."""
    network = Network.without_values(spec).eval()
    found = []
    for name, (before, after) in block_shapes(spec).items():
        try:
            Intervened(network, (), [Intervention(name, part="branch")])
            reason = ""
        except ValueError as error:
            reason = str(error)
        found.append(Block(name, before != after, reason))
    return tuple(found)


def single(spec: ArchitectureSpec) -> tuple[Variant, ...]:
    """The network without each of the blocks that can be taken out."""
    return tuple((_off(block.name),) for block in blocks(spec) if not block.reason)


def pairs(spec: ArchitectureSpec) -> tuple[Variant, ...]:
    """Without each two of them."""
    return tuple((*a, *b) for a, b in itertools.combinations(single(spec), 2))


def removable(specs: Sequence[ArchitectureSpec]) -> tuple[str, ...]:
    """The blocks that can be taken out of each of these networks, in the order of the first."""
    names = [[block.name for block in blocks(spec) if not block.reason] for spec in specs]
    return tuple(name for name in names[0] if all(name in others for others in names[1:]))


def random_sets(among: Sequence[str], sizes: Sequence[int], times: int, seed: int = 0) -> tuple[Variant, ...]:
    """Without `times` random sets of each of `sizes` of these blocks, as far as there are so many; a set that comes
    again is left out."""
    generator = np.random.default_rng(seed)
    found = (
        tuple(_off(among[index]) for index in sorted(generator.permutation(len(among))[:size]))
        for size in sizes
        if size <= len(among)
        for _ in range(times)
    )
    return tuple(dict.fromkeys(found))


def swaps(spec: ArchitectureSpec) -> tuple[Variant, ...]:
    """With each two neighbouring blocks of one shape in each other's place."""
    shapes = block_shapes(spec)
    return tuple(
        (Intervention(a, "swap", other=b),) for a, b in itertools.pairwise(shapes) if len({*shapes[a], *shapes[b]}) == 1
    )


def passes(spec: ArchitectureSpec, variants: Sequence[Variant]) -> float:
    """What `answers` computes for an image, in passes of the untouched network."""
    return sum(_costs(spec, variants))


def _costs(spec: ArchitectureSpec, variants: Sequence[Variant]) -> list[float]:
    """1 for the untouched network, then the share of a pass of each variant, which begins at its first place."""
    macs = [(layer.name, layer.macs) for layer in describe(spec).layers]
    total = sum(each for _, each in macs) or 1
    before, behind = 0, dict[str, float]()
    for name, each in macs:
        behind.setdefault(spec.block_of(name) or name, 1 - before / total)
        before += each
    starts = [[behind.get(spec.block_of(each.place) or each.place, 1.0) for each in variant] for variant in variants]
    return [1.0, *(max(each) for each in starts)]


def _off(block: str) -> Intervention:
    return Intervention(block, part="branch")


def answers(
    checkpoint: Checkpoint,
    split: Split,
    class_names: Sequence[str],
    variants: Sequence[Variant],
    threads: int | None = None,
) -> Generator[tuple[float, Answers | None], None, None]:
    """The answers of the untouched network and of each of `variants` for all of `split`, whose labels count
    `class_names`.

    Yields (fraction done, None) after every pass of a batch and ends with (1.0, the answers). `threads` are those of
    `on_all_cores`. A generator that is closed stops after the passes that are being computed.

    Raises ValueError for a network in training mode, other classes, a split without images, an intervention that does
    not fit, or logits that are not finite.
    """
    order = class_order(checkpoint, class_names)
    network = checkpoint.network
    check_evaluation_mode(network)
    if not len(split):
        raise ValueError("`split` holds no images, so there is nothing to predict; choose another split.")
    for variant in variants:
        Intervened(network, (), variant)  # raises before any work is done
    predicted = np.empty((1 + len(variants), len(split)), np.int64)
    losses = np.empty(predicted.shape, np.float32)
    size = batch_size(checkpoint.spec)
    if network.device.type != "cpu":
        threads = 1

    def one(batch: _Batch) -> None:
        part = slice(batch.start, batch.start + size)
        with batch.lock, torch.no_grad():
            if batch.passes is None:
                images = images_for(checkpoint, split.images[part])
                batch.passes = enumerate(_passes(network, images, variants))
            row, logits = next(batch.passes)
            logits = logits[:, order].cpu()
            if row == len(variants):
                batch.passes = None  # and with it the outputs that the passes share
        if row == 0 and not logits.isfinite().all():
            raise ValueError("the network's logits are not finite for some images; choose other weights.")
        predicted[row, part] = logits.argmax(1).numpy()
        scaled = logits.double() / checkpoint.spec.temperature
        labels = torch.from_numpy(split.labels[part].copy())
        losses[row, part] = F.cross_entropy(scaled, labels, reduction="none").numpy()

    jobs = list(_jobs(range(0, len(split), size), _costs(checkpoint.spec, variants), threads or cores()))
    done, total = 0.0, sum(cost for _, cost in jobs)
    with closing(on_all_cores((partial(one, batch) for batch, _ in jobs), threads)) as results:
        for (_, cost), _ in zip(jobs, results, strict=True):
            done += cost
            yield min(0.999, done / total), None
    yield 1.0, Answers(tuple(map(as_text, variants)), split.labels, predicted, losses)


@dataclass(eq=False)
class _Batch:
    """The images from `start` on. Its passes share their first outputs, so one thread at a time takes the next one."""

    start: int
    lock: Lock = field(default_factory=Lock)
    passes: Iterator[tuple[int, Tensor]] | None = None


def _jobs(starts: Sequence[int], costs: Sequence[float], threads: int) -> Iterator[tuple[_Batch, float]]:
    """The passes of those `costs` of every batch. As many batches as there are threads take turns, so that threads
    seldom wait for each other and no more outputs are kept."""
    for first in range(0, len(starts), max(1, threads)):
        batches = [_Batch(start) for start in starts[first : first + max(1, threads)]]
        yield from ((batch, cost) for cost in costs for batch in batches)


def result_key(digests: Sequence[str], content: str, n: int, removed: str, owner: str = "") -> str:
    """The key of the stored answers of a network of that `checkpoints.digest` on `n` images, as `measurement.evenly`
    takes them. `removed` names the variants: "single" for those of `single`."""
    return stored_results.key("lesions", digests, content, owner, n=n, removed=removed)


def shipped(
    checkpoint: Checkpoint, split: Split, class_names: Sequence[str], content: str
) -> Generator[tuple[float, dict[str, dict[str, np.ndarray]]], None, None]:
    """What the app shows of single blocks without measuring: yields fractions with {}, then 1 with the packed answers
    on `USUAL` images of a test split by their key."""
    n = min(USUAL, len(split))
    taken = measurement.rows(split, measurement.evenly(len(split), n))
    key = result_key([checkpoints.digest(checkpoint)], content, n, "single")
    for share, found in answers(checkpoint, taken, class_names, single(checkpoint.spec)):
        yield share, {} if found is None else {key: stored_results.pack(found)}


def differences(found: Answers, others: Answers) -> int:
    """How many answers differ in the predicted class, of the same images and variants.

    Raises ValueError for other images or variants.
    """
    if found.variants != others.variants or not np.array_equal(found.labels, others.labels):
        raise ValueError("`others` must be answers about the same images in the same variants.")
    return int((found.predicted != others.predicted).sum())


def batch_size(spec: ArchitectureSpec) -> int:
    """Images a batch, within `_BATCH_MACS` and `_BATCH_VALUES`."""
    description = describe(spec)
    kept = sum(math.prod(layer.output_shape) for layer in description.layers if spec.block_of(layer.name) is None)
    return max(1, min(_LARGEST_BATCH, _BATCH_MACS // max(1, description.macs), _BATCH_VALUES // kept))


class _Resumed(Intervened):
    """A pass that takes the outputs of its first operations, outside blocks, from `known`, and adds the others."""

    def __init__(self, network: Network, interventions: Variant, known: list[Tensor], first: int) -> None:
        super().__init__(network, (), interventions)
        self.known, self.first = known, first
        self.place = 0
        self.is_inside = False

    def __call__(self, module: nn.Module, *inputs: object) -> Tensor:
        if self.is_inside:
            return super().__call__(module, *inputs)
        self.place += 1
        if self.place <= self.first:
            return self.known[self.place - 1]
        self.is_inside = True
        try:
            return super().__call__(module, *inputs)
        finally:
            self.is_inside = False


class _Untouched(_Resumed):
    """The first pass, which fills `known` and `names`."""

    def __init__(self, network: Network) -> None:
        super().__init__(network, (), [], 0)
        self.names: list[str] = []

    def __call__(self, module: nn.Module, *inputs: object) -> Tensor:
        outside = not self.is_inside
        output = super().__call__(module, *inputs)
        if outside:
            self.known.append(output)
            self.names.append(self.layers[module][0])
        return output


def _passes(network: Network, images: Tensor, variants: Sequence[Variant]) -> Generator[Tensor, None, None]:
    """The logits (N, classes) of the untouched network, then of each variant."""
    untouched = _Untouched(network)
    yield network(images, untouched)
    for variant in variants:
        touched = [place for each in variant for place in (each.place, each.other) if place]
        first = min(
            index
            for index, name in enumerate(untouched.names)
            if any(place == name or place.startswith(f"{name}.") for place in touched)
        )
        yield network(images, _Resumed(network, variant, untouched.known, first))
