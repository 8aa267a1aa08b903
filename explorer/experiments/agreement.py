"""Predictions of networks for the same labelled pictures: how often each is right, and where they disagree."""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.architectures import ArchitectureSpec, describe
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.images import to_input
from explorer.intervals import Accuracy as Accuracy
from explorer.intervals import accuracy as accuracy
from explorer.labels import numbered_classes
from explorer.tracing import check_evaluation_mode

_BATCH_MACS = 4_000_000_000  # about a fifth of a second on one core: Stop then takes effect soon
_BATCH_VALUES = 2**23  # of the largest output, 32 MB


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of one network for each picture of a split.

    `labels` and `predicted` are int64 (N,), `probabilities` is float32 (N, classes), softmax of the logits; all three
    count the classes as `class_names` does. `predicted` is the argmax of the logits, which differ where float32
    probabilities are equal.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """bool (N,)."""
        return self.predicted == self.labels

    @property
    def of_label(self) -> np.ndarray:
        """The probability of each picture's true class, float32 (N,)."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Agreement:
    """How many pictures both networks, only one of them, or neither classified rightly; `same` counts those for which
    both predict one class, right or wrong."""

    both: int
    only_a: int
    only_b: int
    neither: int
    same: int

    @property
    def n(self) -> int:
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def p_value(self) -> float:
        return mcnemar(self.only_a, self.only_b)


@dataclass(frozen=True)
class Parting:
    """The picture on which two networks part most: its `number` in the split and its `label`.

    `margin` is the probability of the label that the right network gives it less that of the wrong one, -1..1;
    `runner_up` is the margin of the next picture, None without one; `n` counts the pictures that only one has right.
    """

    number: int
    label: str
    margin: float
    runner_up: float | None
    n: int


def class_order(checkpoint: Checkpoint, class_names: Sequence[str]) -> list[int]:
    """The network's own index of each of `class_names`, which are its classes in any order. Classes that nobody named
    are assumed to have the order of `class_names`.

    Raises ValueError where they are others.
    """
    own, wanted = checkpoint.class_names, tuple(class_names)
    is_assumed = own == numbered_classes(len(wanted))
    if own == wanted or is_assumed:  # also where one name stands for two classes, as "crane" does in ImageNet
        return list(range(len(own)))
    if len(set(own)) < len(own) or set(own) != set(wanted) or len(own) != len(wanted):
        strange = next((name for name in wanted if name not in own), None)
        detail = f"it does not know `{strange}`" if strange is not None else f"it tells {len(own)} apart"
        raise ValueError(
            f"{checkpoint.spec.name} was not trained on the {len(wanted)} classes of these images: {detail}; choose "
            "a network and a set of images with the same classes."
        )
    return [own.index(name) for name in wanted]


def images_for(checkpoint: Checkpoint, pixels: np.ndarray) -> Tensor:
    """The network's input for `pixels`, uint8 (N, 3, H, W): float32 (N, C, height, width) on its device.

    Cut, resized and normalised by the function that Explore uses, so that predictions agree; of one channel where the
    network takes grey pictures. Raises ValueError for other pixels.
    """
    channels, height, width = checkpoint.spec.input_shape
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ValueError(f"`pixels` must be uint8 of shape (N, 3, H, W), received {pixels.dtype} {pixels.shape}.")
    images = np.empty((len(pixels), channels, height, width), np.float32)
    for index, picture in enumerate(pixels):
        images[index] = to_input(
            picture.transpose(1, 2, 0), (height, width), checkpoint.mean, checkpoint.std, checkpoint.resize_shorter_to
        )
    return torch.from_numpy(images).to(checkpoint.network.device)


def predict(checkpoint: Checkpoint, pixels: np.ndarray) -> tuple[int, float]:
    """The most probable class of one picture, uint8 (H, W, 3), and its probability, without a backward pass."""
    with torch.no_grad():
        logits = checkpoint.network(images_for(checkpoint, pixels.transpose(2, 0, 1)[None]))[0]  # (classes,)
    probabilities = (logits.double() / checkpoint.spec.temperature).softmax(0)
    best = int(logits.argmax())
    return best, float(probabilities[best])


def predictions(
    checkpoint: Checkpoint, split: Split, class_names: Sequence[str]
) -> Generator[tuple[float, Predictions | None], None, None]:
    """The network's predictions for all of `split`, whose labels count `class_names`.

    Yields (fraction done, None) after every batch and ends with (1.0, the predictions), whose classes have the order of
    `class_names`. The network is left as it was found, and threads may share it.

    Raises ValueError for a network in training mode, other classes, a split without pictures, or logits that are not
    finite.
    """
    order = class_order(checkpoint, class_names)
    check_evaluation_mode(checkpoint.network)
    if not len(split):
        raise ValueError("`split` holds no images, so there is nothing to predict; choose another split.")
    predicted = np.empty(len(split), np.int64)
    probabilities = np.empty((len(split), len(order)), np.float32)
    size = _batch_size(checkpoint.spec)
    for start in range(0, len(split), size):
        batch = slice(start, min(start + size, len(split)))
        with torch.no_grad():  # inside the loop: a generator that waits must not change its thread's mode
            logits = checkpoint.network(images_for(checkpoint, split.images[batch]))[:, order]  # (B, classes)
        if not logits.isfinite().all():
            raise ValueError("the network's logits are not finite for some images; choose other weights.")
        predicted[batch] = logits.argmax(1).numpy(force=True)
        probabilities[batch] = (logits.double() / checkpoint.spec.temperature).softmax(1).numpy(force=True)
        if batch.stop < len(split):
            yield batch.stop / len(split), None
    yield 1.0, Predictions(tuple(class_names), split.labels, predicted, probabilities)


def _batch_size(spec: ArchitectureSpec) -> int:
    """Pictures a batch, within `_BATCH_MACS` and `_BATCH_VALUES`."""
    description = describe(spec)
    largest = max(math.prod(layer.output_shape) for layer in description.layers)
    return max(1, min(256, _BATCH_MACS // description.macs, _BATCH_VALUES // largest))


def accuracy_of(said: Predictions) -> Accuracy:
    return accuracy(int(said.right.sum()), len(said))


def confusion(said: Predictions) -> np.ndarray:
    """How many pictures of each class (rows) were predicted as each class (columns), int64 (classes, classes)."""
    classes = len(said.class_names)
    return np.bincount(said.labels * classes + said.predicted, minlength=classes**2).reshape(classes, classes)


def agreement(a: Predictions, b: Predictions) -> Agreement:
    """Raises ValueError where the two are not about the same pictures."""
    _check_same_pictures(a, b)
    right_a, right_b = a.right, b.right
    return Agreement(
        both=int((right_a & right_b).sum()),
        only_a=int((right_a & ~right_b).sum()),
        only_b=int((~right_a & right_b).sum()),
        neither=int((~right_a & ~right_b).sum()),
        same=int((a.predicted == b.predicted).sum()),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """The p-value of McNemar's exact test (1947), 0..1: how probable so uneven a count is, or a more uneven one, if
    both networks were equally good.

    p = min(1, 2 P(X <= min(only_a, only_b))) with X ~ Binomial(only_a + only_b, 1/2), summed in whole numbers and
    divided once, so the result is the nearest float; 1 without any such picture.
    Raises ValueError for counts below 0.
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"`only_a` and `only_b` must be 0 or more, received {only_a} and {only_b}; count images.")
    n, tail, term = only_a + only_b, 0, 1
    for k in range(min(only_a, only_b) + 1):
        tail += term  # term = n! / (k! (n - k)!)
        term = term * (n - k) // (k + 1)
    return min(1.0, 2 * tail / 2**n)


def disagreements(a: Predictions, b: Predictions) -> np.ndarray:
    """The pictures for which the two predict different classes, int64 indices, first those with the largest difference
    of the true class's probabilities. Equal ones keep the order of the pictures.

    Raises ValueError where the two are not about the same pictures.
    """
    _check_same_pictures(a, b)
    indices = np.flatnonzero(a.predicted != b.predicted)
    gaps = np.abs(a.of_label.astype(np.float64) - b.of_label)[indices]
    return indices[np.argsort(-gaps, kind="stable")]


def parting(a: Predictions, b: Predictions) -> Parting | None:
    """Where two networks part: of all pictures on which exactly one of them is right, the one with the largest margin,
    the first where several have it. None where there is no such picture.

    Raises ValueError where the two are not about the same pictures.
    """
    _check_same_pictures(a, b)
    numbers = np.flatnonzero(a.right != b.right)
    if not len(numbers):
        return None
    lead = a.of_label.astype(np.float64) - b.of_label
    margins = np.where(a.right, lead, -lead)[numbers]
    order = np.argsort(-margins, kind="stable")
    number = int(numbers[order[0]])
    runner_up = float(margins[order[1]]) if len(order) > 1 else None
    return Parting(number, a.class_names[a.labels[number]], float(margins[order[0]]), runner_up, len(numbers))


def _check_same_pictures(a: Predictions, b: Predictions) -> None:
    if a.class_names != b.class_names or not np.array_equal(a.labels, b.labels):
        raise ValueError("the two networks were asked about different images; predict the same split with both.")
