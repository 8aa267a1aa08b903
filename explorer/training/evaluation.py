"""Loss and accuracy of a network on a split, as a whole and class by class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from explorer.architectures import Network
from explorer.datasets import Split
from explorer.training.batches import network_input
from explorer.training.record import Evaluation


@dataclass(frozen=True)
class ClassResults:
    """The sum of the cross-entropies, the right answers and the pictures of each class, in the order of the network's
    classes; a class may have no pictures."""

    losses: tuple[float, ...]
    right: tuple[int, ...]
    n: tuple[int, ...]

    @property
    def together(self) -> Evaluation:
        n = sum(self.n)
        return Evaluation(sum(self.losses) / n, sum(self.right) / n, n)

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the accuracies of the classes that have pictures: 1 / classes for one constant answer."""
        shares = [right / n for right, n in zip(self.right, self.n, strict=True) if n]
        return sum(shares) / len(shares)

    @property
    def commonest(self) -> int:
        """The class with most pictures, the first one of several."""
        return self.n.index(max(self.n))

    @property
    def majority(self) -> float:
        """The accuracy of always answering that class."""
        return max(self.n) / sum(self.n)


def evaluate(
    network: Network, split: Split, mean: Sequence[float], std: Sequence[float], batch_size: int = 500
) -> Evaluation:
    """Loss and accuracy over all of `split`."""
    return evaluate_classes(network, split, mean, std, batch_size).together


@torch.no_grad()
def evaluate_classes(
    network: Network, split: Split, mean: Sequence[float], std: Sequence[float], batch_size: int = 500
) -> ClassResults:
    """The results of each class of `split`, in float32 and evaluation mode; the network's mode is left as it was.

    Raises ValueError for a split without pictures.
    """
    if not len(split):
        raise ValueError("`split` holds no images, so there is nothing to evaluate on; choose another split.")
    right = np.zeros(len(split), np.int64)
    losses = np.zeros(len(split))
    was_training = network.training
    network.eval()
    try:
        for start in range(0, len(split), batch_size):
            part = slice(start, start + batch_size)
            labels = torch.from_numpy(split.labels[part].copy()).to(network.device)
            logits = network(network_input(split.images[part], mean, std, network.device)) / network.spec.temperature
            losses[part] = F.cross_entropy(logits, labels, reduction="none").numpy(force=True)
            right[part] = (logits.argmax(1) == labels).numpy(force=True)
    finally:
        network.train(was_training)
    classes = network.spec.classes
    counted = (np.bincount(split.labels, weights, classes) for weights in (losses, right, None))
    by_loss, by_right, by_n = (values.tolist() for values in counted)
    return ClassResults(tuple(by_loss), tuple(map(int, by_right)), tuple(by_n))
