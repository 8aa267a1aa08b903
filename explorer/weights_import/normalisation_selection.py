"""The reading and the normalisation that classify labelled pictures best, for a file that leaves a choice."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from explorer.datasets import Split
from explorer.images import to_input
from explorer.weights_import.report import Normalisation, Reading, WeightsError

BATCH = 100
CHANCE = 1e-3  # of taking the best of all trials for more than guessing, where it is none


def index_labels(split: Split, names: Sequence[str], class_names: Sequence[str] | None, classes: int) -> Split:
    """The pictures with labels as the network numbers them: by name, where its `class_names` hold all `names`.

    Otherwise in the order of `names`, of which there must be as many as the network has classes: sorted by name, as
    folders are, that is how most networks number theirs. Raises WeightsError where neither is possible.
    """
    if class_names is not None and set(names) <= set(class_names):
        return replace(split, labels=np.array([class_names.index(name) for name in names], np.int64)[split.labels])
    if len(names) != classes:
        raise WeightsError(
            f"the network knows {classes:,} classes, the labelled images have {len(names):,}; choose the data that "
            "it was trained for."
        )
    return split


class NormalisationScore(NamedTuple):
    """`accuracy` is the share, 0..1, of the `n` pictures that the reading classifies as they are labelled, `guessing`
    the share of their commonest class: that much is right where one class is always named."""

    reading: Reading
    normalisation: Normalisation
    accuracy: float
    n: int
    guessing: float


def reached_by_guessing(trials: Sequence[NormalisationScore]) -> float:
    """The largest share of right answers, 0..1, that the best of these trials reaches by guessing, but for one time in
    1,000. A reading with no more than that is not recommended.

    Exactly, by the binomial distribution: with a chance above `CHANCE` / trials (Bonferroni 1936) for each of them.
    """
    n, share = trials[0].n, trials[0].guessing
    tail = 0.0
    for right in range(n, 0, -1):
        tail += 1.0 if share == 1 else math.exp(_log_binomial(right, n, share))
        if tail > CHANCE / len(trials):
            return right / n
    return 0.0


def _log_binomial(right: int, n: int, probability: float) -> float:
    """The logarithm of the probability of so many right ones of n."""
    ways = math.lgamma(n + 1) - math.lgamma(right + 1) - math.lgamma(n - right + 1)
    return ways + right * math.log(probability) + (n - right) * math.log1p(-probability)


def score_normalisations(
    readings: Iterable[Reading], normalisations: Iterable[Normalisation], split: Split, limit: int | None = None
) -> list[NormalisationScore]:
    """Each reading with each normalisation on the pictures of `split`, best first; equals stay in the given order.

    `limit` takes so many pictures, evenly over the split. The labels must be numbered as the network's classes are.
    Raises WeightsError where the pictures have another size than a network takes, or labels that it does not know.
    """
    readings, normalisations = list(readings), list(normalisations)
    chosen = np.arange(len(split))
    if limit is not None and limit < len(split):
        chosen = np.linspace(0, len(split) - 1, limit).round().astype(np.int64)
    images, labels = split.images[chosen], split.labels[chosen]
    if not len(labels):
        raise WeightsError("there are no labelled images to test the readings on; choose data that has some.")
    for reading in readings:
        if images.shape[2:] != reading.spec.input_shape[1:]:
            raise WeightsError(
                f"the network takes images of shape {reading.spec.input_shape}, the labelled ones have "
                f"{images.shape[1:]}; load them in the network's size."
            )
        if labels.max() >= reading.spec.classes:
            raise WeightsError(
                f"the network knows {reading.spec.classes} classes, the labelled images have {labels.max() + 1}; "
                "choose the data that it was trained for."
            )
    guessing = float(np.bincount(labels).max() / len(labels))
    trials = []
    for reading in readings:
        network = reading.network()
        channels, height, width = reading.spec.input_shape
        unit = ((0.0,) * channels, (1.0,) * channels)
        scales = [
            [torch.tensor(values).reshape(-1, 1, 1) for values in (each.of(channels).mean, each.of(channels).std)]
            for each in normalisations
        ]
        right = [0] * len(scales)
        for start in range(0, len(labels), BATCH):
            part = images[start : start + BATCH].transpose(0, 2, 3, 1)
            pixels = torch.from_numpy(np.stack([to_input(each, (height, width), *unit) for each in part]))  # 0..1
            with torch.inference_mode():
                for index, (mean, std) in enumerate(scales):
                    predictions = network((pixels - mean) / std).argmax(1)
                    right[index] += int((predictions.numpy() == labels[start : start + BATCH]).sum())
        for normalisation, found in zip(normalisations, right, strict=True):
            trials.append(NormalisationScore(reading, normalisation, found / len(labels), len(labels), guessing))
    return sorted(trials, key=lambda trial: -trial.accuracy)
