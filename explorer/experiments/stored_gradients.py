"""Gradient flows that are measured once, and those that come with the app: the results that the page Gradients opens
with."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from explorer import checkpoints, stored_results
from explorer.architectures import ArchitectureSpec
from explorer.architectures.spec import Initialisation, Norm
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.experiments.agreement import class_order
from explorer.experiments.gradient_flow import GradientFlow, Mode, flow_on_pictures
from explorer.experiments.gradient_grid import at_initialisation, grid

PICTURES = ((32, 64), (64, 16), (10**6, 8))
"""Up to how many pixels a side how many pictures: a pass of 64 of the largest would hold gigabytes."""

DEPTH = 56
SEEDS = 3
VANISHING: tuple[Norm, Initialisation] = ("none", "pytorch")
EXPLODING: tuple[Norm, Initialisation] = ("batch", "he")
TRAINED = ("shapes-plain-56", "shapes-resnet-56")


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """Labelled pictures, uint8 (N, 3, H, W) and int64 (N,), what to call them, and the names of their classes."""

    images: np.ndarray
    labels: np.ndarray
    words: str
    class_names: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits of the pixels, the labels and the classes."""
        found = hashlib.sha256(repr((self.images.shape, self.class_names)).encode())
        found.update(self.images.tobytes() + self.labels.tobytes())
        return found.hexdigest()


def picture_count(side: int) -> int:
    """How many pictures of that many pixels a side are one batch."""
    return next(count for widest, count in PICTURES if side <= widest)


def drawn_batch(drawn: shapes.Drawn) -> LabelledBatch:
    """A batch of shapes, drawn for this and always the same."""
    split = shapes.draw(picture_count(drawn.size), seed=0, size=drawn.size, classes=drawn.classes, threads=1)
    return LabelledBatch(
        split.images, split.labels.astype(np.int64), f"{len(split.labels)} shapes", tuple(drawn.classes)
    )


def initial_key(spec: ArchitectureSpec, seed: int, batch: LabelledBatch) -> str:
    """Of the flow through initial weights, in training mode."""
    return stored_results.key("gradients", [spec.fingerprint, str(seed)], batch.digest, mode="training")


def network_key(checkpoint: Checkpoint, batch: LabelledBatch, mode: Mode) -> str:
    """Of the flow through the weights of a network."""
    return stored_results.key("gradients", [checkpoints.digest(checkpoint)], batch.digest, mode=mode)


def load(key: str) -> GradientFlow | None:
    """The flow of that key, shipped or stored; None where there is none."""
    return stored_results.unpack(GradientFlow, stored_results.load(key))


def store(key: str, flow: GradientFlow) -> None:
    stored_results.store(key, stored_results.pack(flow))


def labels_for(checkpoint: Checkpoint, batch: LabelledBatch) -> np.ndarray:
    """The batch's labels, int64 (N,), as the network counts its classes, where both have the same names."""
    if sorted(checkpoint.class_names) == sorted(batch.class_names):
        return np.array(class_order(checkpoint, batch.class_names))[batch.labels]
    return batch.labels


def network_flow(checkpoint: Checkpoint, batch: LabelledBatch, mode: Mode) -> GradientFlow:
    """The flow of the loss for the batch, with `labels_for` the network. Raises ValueError for a batch that does not
    fit the network."""
    labels = labels_for(checkpoint, batch)
    return flow_on_pictures(checkpoint.network, batch.images, labels, checkpoint.mean, checkpoint.std, mode)


def shipped(folder: Path = checkpoints.PRETRAINED) -> Iterator[tuple[str, GradientFlow]]:
    """Measures the flows that come with the app, those of trained networks from the files of the folder, each with its
    key. Raises CheckpointError where a file is missing or not the one that is listed."""
    batch = drawn_batch(shapes.Drawn())
    for norm, initialisation in (VANISHING, EXPLODING):
        specs = grid((DEPTH,), ("none", "identity"), (norm,), (initialisation,), ("relu",))
        for step in at_initialisation(specs, batch.images, batch.labels, range(SEEDS)):
            yield initial_key(step.spec, step.seed, batch), step.flow
    for name in TRAINED:
        checkpoint = checkpoints.load_pretrained(name, folder)
        yield network_key(checkpoint, batch, "evaluation"), network_flow(checkpoint, batch, "evaluation")
