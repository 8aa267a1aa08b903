"""All that is measured of one unit: natural pictures and its influence, and beside them an optimised picture.

There is no value here with an optimised picture and without natural ones.
"""

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explorer.architectures import ArchitectureSpec, describe
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments.units.influence import Influence, influence, influence_sentence
from explorer.experiments.units.natural import Unit, UnitAnswers, box_of, macs_to, natural_answers
from explorer.experiments.units.optimised import STEPS, OptimisedPictures, minimises, optimise
from explorer.images import seen_pixels

CAUTION = (
    "From natural extreme pictures, people predicted a unit's answer right in 92 ± 2 % of trials. From optimised ones "
    "it was 82 ± 4 %, and chance is 50 % (Borowski et al. 2021). Optimised pictures can be manipulated (Geirhos et al. "
    "2024). So believe the natural ones first."
)
"""What stands beside every optimised picture."""

LIMITS = (
    "Pictures that a unit answers to may have more in common than what the unit reacts to.",
    "Another seed gives another optimised picture, and what it shows need not be in any natural one.",
    "Pictures are ranked by the maximum of the map; by its mean, others could be in front.",
    "A unit that is switched off is 0 at every place, which may be a value that it never has. Other units may do the "
    "same work, and a network trained without it could do as well.",
    "A large weight says what could pass, not what does: that depends on the picture.",
)

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class ShownPicture:
    """A natural picture as the network sees it, uint8 (H, W, 3), and the unit's `value` for it. `index` is its place
    among all, `label` its class or title. `position` on the map and `box` in the picture (top, left, bottom, right,
    exclusive) are those of the maximum, and `cell` is the part of the picture at that position; None where the map has
    one value everywhere."""

    index: int
    label: str
    value: float
    position: tuple[int, int] | None
    box: Box | None
    cell: Box | None
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class UnitFindings:
    """Of one unit: its answers, its strongest and weakest natural pictures, its influence; `optimised` pictures only
    beside these."""

    answers: UnitAnswers
    strongest: tuple[ShownPicture, ...]
    weakest: tuple[ShownPicture, ...]
    influence: Influence
    optimised: OptimisedPictures | None = None

    def __post_init__(self) -> None:
        if not (self.strongest and self.weakest):
            raise ValueError(
                "`strongest` and `weakest` must hold natural pictures: an optimised one never stands alone"
            )

    @property
    def unit(self) -> Unit:
        return self.answers.unit

    @property
    def is_constant(self) -> bool:
        """Whether all pictures have the same value, so that none is stronger."""
        return bool(self.answers.values.max() == self.answers.values.min())


def natural_findings(
    checkpoint: Checkpoint,
    split: Split,
    labels: Sequence[str],
    class_names: Sequence[str],
    unit: Unit,
    is_labelled: bool = True,
) -> Generator[tuple[float, UnitFindings | None], None, None]:
    """The strongest and weakest pictures of `split` and the unit's influence on them.

    `labels` are the words below each picture, `class_names` those that the labels of `split` count. Yields (fraction,
    None) and at the end 1 with the findings. Raises ValueError as `natural_answers` and `influence`.
    """
    answers: list[UnitAnswers] = []
    changed: list[Influence] = []
    first = natural_macs(checkpoint.spec, unit, 1)
    part = macs_to(checkpoint.spec, unit.layer) / max(1.0, first)
    for share, answered in natural_answers(checkpoint, split.images, unit):
        answers += [] if answered is None else [answered]
        yield part * share * 0.99, None
    for share, without in influence(checkpoint, split, class_names, unit, is_labelled):
        changed += [] if without is None else [without]
        yield (part + (1 - part) * share) * 0.99, None
    shown = [
        tuple(_shown(checkpoint, split, labels, answers[0], int(index)) for index in indices)
        for indices in (answers[0].strongest, answers[0].weakest)
    ]
    yield 1.0, UnitFindings(answers[0], shown[0], shown[1], changed[0])


def with_optimised(
    checkpoint: Checkpoint, found: UnitFindings, seed: int = 0, steps: int = STEPS
) -> Generator[tuple[float, UnitFindings | None], None, None]:
    """The same findings with optimised pictures. Raises ValueError for a unit with one value for all pictures."""
    if found.is_constant:
        raise ValueError("the unit has one value for all pictures, so an optimised one would stand beside none.")
    answers = found.answers
    both = minimises(checkpoint.spec, answers)
    for share, made in optimise(checkpoint, found.unit, answers.colours, seed, steps, both):
        yield share, None if made is None else replace(found, optimised=made)


def _shown(
    checkpoint: Checkpoint, split: Split, labels: Sequence[str], answers: UnitAnswers, index: int
) -> ShownPicture:
    spec = checkpoint.spec
    size = (spec.input_shape[1], spec.input_shape[2])
    pixels = seen_pixels(split.images[index].transpose(1, 2, 0), size, 3, checkpoint.resize_shorter_to)
    row, column = map(int, answers.positions[index])
    flat = bool(answers.is_flat[index])
    value = float(answers.values[index])
    if flat:
        return ShownPicture(index, labels[index], value, None, None, None, pixels)
    _, rows, columns = describe(spec).shape(answers.unit.layer)
    top, left = row * size[0] // rows, column * size[1] // columns
    bottom, right = (row + 1) * size[0] // rows, (column + 1) * size[1] // columns
    cell = (top, left, max(bottom, top + 1), max(right, left + 1))
    box = box_of(spec, answers.unit, (row, column))
    return ShownPicture(index, labels[index], value, (row, column), box, cell, pixels)


def natural_macs(spec: ArchitectureSpec, unit: Unit, n: int, is_labelled: bool = True) -> float:
    """Multiply-accumulates of `natural_findings` on n pictures: one pass up to the layer, one whole pass and the rest
    of another one behind it; one whole pass more where the network's own answers are the labels."""
    whole, to = describe(spec).macs, macs_to(spec, unit.layer)
    return n * (to + whole + max(whole - to, 0) + (0 if is_labelled else whole))


def optimised_macs(spec: ArchitectureSpec, unit: Unit, both: bool, steps: int = STEPS) -> float:
    """The same of `with_optimised`, where a backward pass counts as two forward ones."""
    return steps * 3.0 * macs_to(spec, unit.layer) * (2 if both else 1)


def sentences(title: str, found: UnitFindings) -> list[str]:
    """What the figures say of the unit, in plain sentences."""
    answers, unit = found.answers, found.unit
    if found.is_constant:
        said = f"{unit} of {title} has the value {answers.values[0]:.3g} for each of {answers.n:,} images, so no image "
        return [f"{said}stands out.", influence_sentence(title, found.influence)]
    said = f"{unit} of {title}: its maximum goes from {answers.values.min():.3g} to {answers.values.max():.3g} on "
    said += f"{answers.n:,} images."
    if silent := int((answers.is_flat & (answers.values == 0)).sum()):
        said += f" On {silent:,} of them it is 0 at every place."
    if found.influence.is_labelled:
        (label, count), *_ = Counter(each.label for each in found.strongest).most_common(1)
        shown = len(found.strongest)
        if 2 * count > shown:
            said += f" {'All' if count == shown else f'{count} of its'} {shown} strongest show {label}."
        else:
            said += f" Its {shown} strongest show {len({each.label for each in found.strongest})} classes."
    made = [] if found.optimised is None else [optimised_sentence(found)]
    return [said, influence_sentence(title, found.influence), *made]


def optimised_sentence(found: UnitFindings) -> str:
    """How far the optimised pictures come beside the natural ones."""
    made, most = found.optimised, float(found.answers.values.max())
    assert made is not None
    value = made.maximising.value
    text = f"The optimised picture (seed {made.seed}, {made.steps} steps) reaches {value:.3g}"
    if value <= most:
        text += f", no more than the strongest image with {most:.3g}: the ascent has found no better one."
    elif most > 0:
        text += f", {value / most:.1f} times the strongest image's {most:.3g}."
    else:
        text += f", more than the strongest image's {most:.3g}."
    if made.minimising is not None:
        least = float(found.answers.values.min())
        text += f" The one that minimises reaches {made.minimising.value:.3g}; the weakest image has {least:.3g}."
    return text
