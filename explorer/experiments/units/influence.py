"""What changes without a channel: accuracy, loss and probability of the same pictures, with intervals."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from explorer.architectures import Intervention
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments import lesions
from explorer.experiments.units.natural import Unit, check_unit
from explorer.intervals import Accuracy, Difference, difference_of_shares, mean_difference


@dataclass(frozen=True)
class Influence:
    """What switching a unit off changes on N pictures: after minus before.

    `lost` pictures are right before and wrong after, `gained` the other way round. `loss` is of the cross-entropy,
    `probability` of the right class's. Where `is_labelled` is False nobody named the classes of the pictures: the
    network's own answer before counts as right.
    """

    is_labelled: bool
    before: Accuracy
    after: Accuracy
    lost: int
    gained: int
    accuracy: Difference
    loss: Difference
    probability: Difference

    @property
    def n(self) -> int:
        return self.before.n


def influence(
    checkpoint: Checkpoint, split: Split, class_names: Sequence[str], unit: Unit, is_labelled: bool = True
) -> Generator[tuple[float, Influence | None], None, None]:
    """What changes on `split` when the unit is 0 at every place. `class_names` are those that the labels count; without
    labels those of the network.

    Yields (fraction done, None) and at the end 1 with the influence. Raises ValueError as `lesions.answers`, or for a
    unit that the network does not have.
    """
    check_unit(checkpoint.spec, unit)
    off = (Intervention(unit.layer, channel=unit.channel),)
    part = 1.0 if is_labelled else 0.5
    if not is_labelled:
        for share, own in lesions.answers(checkpoint, split, class_names, ()):
            if own is not None:
                split = Split(split.images, own.predicted[0], None)
            yield 0.5 * share, None
    for share, found in lesions.answers(checkpoint, split, class_names, (off,)):
        if found is None:
            yield 1 - part + part * share, None
        else:
            yield 1.0, _influence(found, is_labelled)


def _influence(found: lesions.Answers, is_labelled: bool) -> Influence:
    before, after = found.accuracies
    right = found.predicted == found.labels
    lost, gained = (int((a & ~b).sum()) for a, b in (right, right[::-1]))
    losses = found.losses.astype(np.float64)
    probabilities = np.exp(-losses)
    return Influence(
        is_labelled,
        before,
        after,
        lost,
        gained,
        difference_of_shares(lost, gained, found.n),
        mean_difference(losses[1] - losses[0]),
        mean_difference(probabilities[1] - probabilities[0]),
    )


def influence_sentence(title: str, unit: Unit, found: Influence) -> str:
    """What the figures say, and only as far as their intervals allow."""
    change, pictures = found.accuracy, f"{found.n:,} images"
    points = f"95 % interval {100 * change.low:+.1f} to {100 * change.high:+.1f}"
    what = f"Without this unit {title}"
    if not found.is_labelled:
        kept = found.n - found.lost
        return f"{what} keeps its answer on {kept} of {pictures} (other answers: {found.lost}; {points} points)."
    if not found.lost and not found.gained:
        return f"{what} is right on the same images as with it: {found.before.right} of {pictures} ({points} points)."
    text = f"{what} is wrong on {found.lost} and right on {found.gained} more of {pictures}: "
    text += f"{100 * change.mean:+.1f} points ({points})."
    if change.low <= 0 <= change.high:
        return text + " Whether the unit matters for the accuracy cannot be told from these images."
    return text + (" So the unit helps here." if change.mean < 0 else " So the network does better without it here.")
