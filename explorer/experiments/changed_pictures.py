"""What networks answer when one picture is changed: curves over a dial, and the shift map."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from explorer.attribution.explanation import pictures_at_once
from explorer.checkpoints import Checkpoint
from explorer.experiments.throughput import on_all_cores
from explorer.images import REST, Dials, Frame, change, normalise, seen_pixels
from explorer.labels import DIALS
from explorer.tracing import check_evaluation_mode, read_only

REACH = 8
"""Pixels to each side of a shift map."""

CURVES: dict[str, tuple[float, ...]] = {
    "x": tuple(range(-16, 17)),
    "y": tuple(range(-16, 17)),
    "rotation": tuple(range(-180, 181, 5)),
    "scale": tuple(np.geomspace(0.25, 4, 33).round(3).tolist()),
    "brightness": tuple((np.arange(31) / 10).tolist()),
    "contrast": tuple((np.arange(31) / 10).tolist()),
    "blur": tuple((np.arange(25) / 4).tolist()),
    "noise": tuple(range(0, 129, 4)),
    "seed": tuple(range(20)),
    "jpeg": (*range(1, 10), *range(10, 101, 5)),
}
"""The values of a curve over each dial."""


@dataclass(frozen=True, eq=False)
class DialCurve:
    """One network's answers over the `values` of one `dial`; `probabilities` is float64 (values, classes), and
    `untouched` (classes,) that of the picture with this dial at rest."""

    dial: str
    values: tuple[float, ...]
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    untouched: np.ndarray

    @property
    def answer(self) -> int:
        """The class that is predicted for the untouched picture."""
        return int(self.untouched.argmax())

    @property
    def kept(self) -> np.ndarray:
        """Where that class is predicted, bool (values,)."""
        return self.probabilities.argmax(1) == self.answer


@dataclass(frozen=True, eq=False)
class ShiftMap:
    """One network's answers to a picture that is moved by -`reach`..`reach` pixels of the network's input.

    `probabilities` is float64 (2 reach + 1, 2 reach + 1, classes): rows are shifts down, columns are shifts to the
    right. The centre is the untouched picture, which goes through the network among the others: a kernel that computes
    a batch of another size may round in another way.
    """

    reach: int
    class_names: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """int64 (2 reach + 1, 2 reach + 1)."""
        return self.probabilities.argmax(2)

    @property
    def answer(self) -> int:
        """The class that is predicted for the untouched picture."""
        return int(self.predicted[self.reach, self.reach])

    @property
    def kept(self) -> float:
        """The share of all shifts, that by nothing too, at which that class is predicted."""
        return float((self.predicted == self.answer).mean())

    def lowest(self, class_index: int) -> tuple[float, int, int]:
        """The lowest probability of the class, and its shift to the right and down. Of several the smallest shift."""
        of_class = self.probabilities[..., class_index]
        found = [(abs(x) + abs(y), x, y) for y, x in np.argwhere(of_class == of_class.min()) - self.reach]
        _, x, y = min(found)
        return float(of_class.min()), int(x), int(y)


def dial_curve(
    checkpoints: Sequence[Checkpoint],
    pixels: np.ndarray | Sequence[np.ndarray],
    dial: str,
    values: Sequence[float] | None = None,
    dials: Dials = REST,
    threads: int | None = None,
    frame: Frame | None = None,
) -> Generator[tuple[float, tuple[DialCurve, ...] | None], None, None]:
    """The curve of each network over `values` of one dial, by default those in `CURVES`, with the others at `dials`.

    `pixels` is uint8 (H, W, 3); networks whose inputs have one shape see the very same pictures. A sequence has the
    picture for each network, in its own rendering. Yields (fraction
    done, None) after every batch and ends with (1.0, the curves). The networks are left as they were found, and threads
    may share them. Raises ValueError for an unknown dial, a value out of its range, or a network in training mode.
    """
    if dial not in CURVES:
        raise ValueError(f"`dial` must be one of {', '.join(CURVES)}, received {dial!r:.40}.")
    chosen: tuple[Any, ...] = CURVES[dial] if values is None else tuple(values)
    rest = replace(dials, **{dial: getattr(REST, dial)})
    for fraction, found in answers(
        checkpoints, pixels, [rest, *(replace(dials, **{dial: v}) for v in chosen)], threads, frame
    ):
        if found is None:
            yield fraction, None
    yield (
        1.0,
        tuple(
            DialCurve(dial, chosen, checkpoint.class_names, probabilities[1:], probabilities[0])
            for checkpoint, probabilities in zip(checkpoints, found or (), strict=True)
        ),
    )


def shift_map(
    checkpoints: Sequence[Checkpoint],
    pixels: np.ndarray | Sequence[np.ndarray],
    reach: int = REACH,
    dials: Dials = REST,
    threads: int | None = None,
    frame: Frame | None = None,
) -> Generator[tuple[float, tuple[ShiftMap, ...] | None], None, None]:
    """The shift map of each network, with the other dials at `dials`; else as `dial_curve`. Raises ValueError for a
    `reach` that is not 1..32."""
    if not 1 <= reach <= 32:
        raise ValueError(f"`reach` must be from 1 to 32 pixels, received {reach}.")
    side = range(-reach, reach + 1)
    moves = [replace(dials, x=x, y=y) for y, x in product(side, side)]
    for fraction, found in answers(checkpoints, pixels, moves, threads, frame):
        if found is None:
            yield fraction, None
    yield (
        1.0,
        tuple(
            ShiftMap(reach, checkpoint.class_names, probabilities.reshape(len(side), len(side), -1))
            for checkpoint, probabilities in zip(checkpoints, found or (), strict=True)
        ),
    )


def answers(
    checkpoints: Sequence[Checkpoint],
    pixels: np.ndarray | Sequence[np.ndarray],
    changes: Sequence[Dials],
    threads: int | None = None,
    frame: Frame | None = None,
) -> Generator[tuple[float, list[np.ndarray] | None], None, None]:
    """The probabilities of each network for each change of one picture: float64 (changes, classes) each, read-only.

    Yields fractions with None, and ends with (1.0, the probabilities). Raises ValueError for a network in training
    mode.
    """
    calls = []
    of_each = [pixels] * len(checkpoints) if isinstance(pixels, np.ndarray) else pixels
    for checkpoint, own in zip(checkpoints, of_each, strict=True):
        check_evaluation_mode(checkpoint.network)
        seen, size = seen_by(checkpoint, own, frame), pictures_at_once(checkpoint.spec)
        calls += [partial(_answers, checkpoint, seen, changes[at : at + size]) for at in range(0, len(changes), size)]
    parts: list[np.ndarray] = []
    with closing(on_all_cores(calls, threads)) as results:
        for part in results:
            parts.append(part)
            if len(parts) < len(calls):
                yield len(parts) / len(calls), None
    found = []
    for checkpoint in checkpoints:
        taken = -(-len(changes) // pictures_at_once(checkpoint.spec))
        found.append(read_only(np.concatenate(parts[:taken])))
        del parts[:taken]
    yield 1.0, found


def seen_by(checkpoint: Checkpoint, pixels: np.ndarray, frame: Frame | None = None) -> np.ndarray:
    """What the network sees of `pixels`, uint8 (H, W, 3), before its normalisation: uint8 (height, width, C), of the
    part in the `frame` where there is one."""
    channels, height, width = checkpoint.spec.input_shape
    return seen_pixels(pixels, (height, width), channels, checkpoint.resize_shorter_to, frame)


def input_of(checkpoint: Checkpoint, shares: np.ndarray) -> torch.Tensor:
    """The network's input, float32 (N, C, H, W) on its device, for such pictures float64 on the scale 0..1."""
    images = torch.from_numpy(normalise(shares, checkpoint.mean, checkpoint.std)).to(checkpoint.network.device)
    return images.contiguous(memory_format=torch.channels_last)  # a CPU's convolutions are a fifth faster


def probabilities_of(checkpoint: Checkpoint, shares: np.ndarray) -> np.ndarray:
    """float64 (N, classes) for pictures float64 (N, C, H, W) on the scale 0..1. Raises ValueError for logits that are
    not finite."""
    with torch.no_grad():
        logits = checkpoint.network(input_of(checkpoint, shares))
    return probabilities(checkpoint, logits)


def probabilities(checkpoint: Checkpoint, logits: torch.Tensor) -> np.ndarray:
    """float64 (N, classes). Raises ValueError for logits that are not finite."""
    if not logits.isfinite().all():
        raise ValueError("the network's logits are not finite for some images; choose other weights.")
    scaled = logits.numpy(force=True).astype(np.float64) / checkpoint.spec.temperature
    exponentials = np.exp(scaled - scaled.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def _answers(checkpoint: Checkpoint, seen: np.ndarray, changes: Sequence[Dials]) -> np.ndarray:
    return probabilities_of(checkpoint, np.stack([change(seen, each).transpose(2, 0, 1) for each in changes]) / 255)


# --- sentences --------------------------------------------------------------------------------------------------------


def curve_sentences(name: str, curve: DialCurve) -> list[str]:
    """How often the answer is kept, and where its probability is lowest."""
    of_answer, answer = curve.probabilities[:, curve.answer], curve.class_names[curve.answer]
    return [
        f"{name} keeps its answer, {answer}, at {curve.kept.sum()} of {len(curve.values)} values, from "
        f"{min(curve.values):g} to {max(curve.values):g} {DIALS[curve.dial].long}.",
        f"The probability of {answer} is lowest, {of_answer.min():.1%}, at {curve.values[of_answer.argmin()]:g}.",
    ]


def shift_sentences(name: str, shifts: ShiftMap, class_index: int | None = None) -> list[str]:
    """How often the answer is kept, and where the probability of the class, by default the answer, is lowest."""
    chosen = shifts.answer if class_index is None else class_index
    n, (low, x, y) = shifts.predicted.size, shifts.lowest(chosen)
    return [
        f"{name} keeps its answer, {shifts.class_names[shifts.answer]}, in {round(shifts.kept * n)} of {n} shifts "
        f"({shifts.kept:.1%}).",
        f"The probability of {shifts.class_names[chosen]} is lowest, {low:.1%}, {shift_words(x, y)}.",
    ]


def shift_words(x: int, y: int) -> str:
    """`8 pixels to the right and 3 up`; `at the picture's own place`."""
    sides = [(abs(x), "to the right" if x > 0 else "to the left"), (abs(y), "down" if y > 0 else "up")]
    (first, side), *rest = [each for each in sides if each[0]] or [(0, "")]
    if not first:
        return "where the picture is not moved"
    return " and ".join([f"{first} pixel{'' if first == 1 else 's'} {side}", *(f"{n} {word}" for n, word in rest)])
