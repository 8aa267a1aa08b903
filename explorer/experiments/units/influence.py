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

FEWEST = 30  # pictures, for an interval from a mean and its standard error


@dataclass(frozen=True)
class Influence:
    """What switching a unit off changes on N pictures, `before` and `after`.

    `lost` pictures are right before and wrong after, `gained` the other way round. `losses` are the mean
    cross-entropies before and after, `probabilities` the mean ones of the right class. `accuracy`, `loss` and
    `probability` are the changes, after minus before; intervals of the last two hold for `FEWEST` pictures or more.
    Where `is_labelled` is False nobody named the classes of the pictures: the network's own answer before counts as
    right.
    """

    is_labelled: bool
    before: Accuracy
    after: Accuracy
    lost: int
    gained: int
    losses: tuple[float, float]
    probabilities: tuple[float, float]
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
    change = difference_of_shares(lost, gained, found.n)
    if not is_labelled:  # all are right before, so the change is what Wilson's interval leaves of that
        change = Difference(after.share - 1, after.low - 1, after.high - 1)
    losses = found.losses.astype(np.float64)
    probabilities = np.exp(-losses)
    return Influence(
        is_labelled,
        before,
        after,
        lost,
        gained,
        (float(losses[0].mean()), float(losses[1].mean())),
        (float(probabilities[0].mean()), float(probabilities[1].mean())),
        change,
        mean_difference(losses[1] - losses[0]),
        mean_difference(probabilities[1] - probabilities[0]),
    )


def influence_sentence(title: str, found: Influence) -> str:
    """What the figures say, and only as far as their intervals allow."""
    change, pictures = found.accuracy, f"{found.n:,} images"
    points = f"95 % interval {100 * change.low:+.1f} to {100 * change.high:+.1f}"
    what = f"Without this unit {title}"
    if not found.is_labelled:
        return f"{what} keeps its answer on {found.n - found.lost:,} of {pictures} ({points} points)."
    if not found.lost and not found.gained:
        text = f"{what} is right on the same images as with it, {found.before.right:,} of {pictures} ({points} points)."
    else:
        text = f"{what} is wrong on {found.lost:,} and right on {found.gained:,} more of {pictures}: "
        text += f"{100 * change.mean:+.1f} points ({points})."
    if not change.low <= 0 <= change.high:
        return text + (
            " So the unit helps here." if change.mean < 0 else " So the network does better without it here."
        )
    text += " Whether it matters for the accuracy cannot be told from these images."
    loss = found.loss
    if found.n >= FEWEST and not loss.low <= 0 <= loss.high:
        verb = "rises" if loss.mean > 0 else "falls"
        text += f" The mean loss {verb} by {abs(loss.mean):.2g} (95 % interval {loss.low:+.2g} to {loss.high:+.2g})."
    return text
