"""What measured gradient flows say, in words: a sentence that is worked out from the numbers and from nothing else."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch

from explorer.architectures import ArchitectureSpec
from explorer.experiments.gradient_flow import GradientFlow, Quantity
from explorer.experiments.gradient_grid import GradientBand, band
from explorer.labels import INITIALISATIONS, capital, listed, norm_of, shortcuts_of

ABOUT_EQUAL = 3.0
"""A ratio of first to last layer from 1/3 to 3 is called about equal: the reference figures themselves, of one seed
each, come back within a factor of 3 and no closer, so a smaller difference is none that can be told."""

NEAR_UNDERFLOW = 1e5
"""A size below this many times the smallest normal number of the precision (1.2e-33 in float32) is at its edge. A
weight gradient is a sum over pictures and pixels of what arrives at its layer and is up to so much larger than that."""

INITIALISATION = "at initialisation"
NAMED = 3  # networks in a sentence, the others are counted

Value = TypeVar("Value")
Course = Literal["grows", "shrinks", "equal", "zero", "undefined"]
_COURSES = {
    "grows": "it grows toward the input",
    "shrinks": "it shrinks toward the input",
    "equal": "first and last are about equal",
}
_GRADIENTS = {"weights": "weight gradient", "activations": "output gradient", "blocks": "output gradient"}


@dataclass(frozen=True, eq=False)
class Subject:
    """One network of a verdict: its spec, its flow for each seed, and what it is called, by default the spec's name."""

    spec: ArchitectureSpec
    flows: tuple[GradientFlow, ...]
    name: str | None = None


@dataclass(frozen=True)
class Reach:
    """How much of the gradient reaches the first layer of the main path, as a ratio to its last, over n seeds.

    `ratio` is the median over the seeds that have one, `low` and `high` the smallest and largest; None where no seed
    has one. A seed has none where a size is not finite (`not_finite` counts them) or the last layer's is exactly 0
    (`last_zero`). `first_zero` counts those whose ratio is exactly 0. `agreeing` of the n seeds follow `course`.
    """

    n: int
    ratio: float | None
    low: float | None
    high: float | None
    not_finite: int
    last_zero: int
    first_zero: int
    course: Course
    agreeing: int

    @property
    def decades(self) -> float | None:
        """Orders of magnitude from the last layer to the first, negative where the gradient shrinks; None where the
        ratio is 0 or there is none."""
        return math.log10(self.ratio) if self.ratio else None


def reach(flows: Sequence[GradientFlow], what: Quantity = "weights") -> Reach:
    """What the flows of one network, one for each seed, say about its first and last layer.

    Raises ValueError where `band` does.
    """
    sizes = band(flows, what).sizes
    first, last = sizes[:, 0], sizes[:, -1]
    finite = np.isfinite(first) & np.isfinite(last)
    usable = finite & (last > 0)
    ratios = first[usable] / last[usable]
    ratio = float(np.median(ratios)) if len(ratios) else None
    course = course_of(ratio)
    return Reach(
        n=len(sizes),
        ratio=ratio,
        low=float(ratios.min()) if len(ratios) else None,
        high=float(ratios.max()) if len(ratios) else None,
        not_finite=int((~finite).sum()),
        last_zero=int((finite & (last == 0)).sum()),
        first_zero=int((ratios == 0).sum()),
        course=course,
        agreeing=sum(course_of(float(each)) == course for each in ratios),
    )


def course_of(ratio: float | None) -> Course:
    """The word for a ratio of first to last layer: "zero" only for exactly 0, "equal" from 1/3 to 3."""
    if ratio is None:
        return "undefined"
    if ratio == 0:
        return "zero"
    if ratio > ABOUT_EQUAL:
        return "grows"
    return "shrinks" if ratio * ABOUT_EQUAL < 1 else "equal"


def guidance(names: Sequence[str], reaches: Sequence[Reach]) -> str:
    """What the lines that are there mean: which of the named networks fall, rise or end where they began, seen from
    the output; "" where none has a course."""
    courses: dict[str, list[str]] = {"shrinks": [], "zero": [], "grows": [], "equal": [], "undefined": []}
    for name, found in zip(names, reaches, strict=True):
        courses[found.course].append(name)
    falling, rising, level = courses["shrinks"] + courses["zero"], courses["grows"], courses["equal"]
    within = f"within a factor of {ABOUT_EQUAL:g} of where"
    said = [
        f"{_line_of(which)} {one if len({*which}) == 1 else many}: the first layers receive {share}."
        for which, one, many, share in (
            (falling, "falls toward the input", "fall toward the input", "less than the last"),
            (rising, "rises toward the input", "rise toward the input", "more than the last"),
            (level, f"ends {within} it began", f"end {within} they began", "about as much as the last"),
        )
        if which
    ]
    return " ".join(said)


def _line_of(names: Sequence[str]) -> str:
    unique = _unique(names)
    more = len(unique) - NAMED
    named = listed([*unique[:NAMED], *([f"{more} more"] if more > 0 else [])])
    return f"The line{'s' if len(unique) > 1 else ''} of {named}"


def verdict(
    subjects: Sequence[Subject],
    pictures: str,
    what: Quantity = "weights",
    when: str = INITIALISATION,
    sample: str = "seed",
) -> str:
    """One or two sentences on the gradient of one or several networks, each number of them measured.

    `pictures` says what the batch was ("64 shapes"), `when` the moment ("at step 12 of its training"), `sample` what
    the n flows are ("seed", or "run"). The sentence carries them, the mode and the precision. Of two networks it also
    says how they compare. Raises ValueError for no subject, and where `band` does.
    """
    if not subjects:
        raise ValueError("`subjects` must hold at least one network, received none; measure one first.")
    shared, own = _circumstances([subject.spec for subject in subjects], when == INITIALISATION)
    names = [
        (subject.name or subject.spec.name) + (f" ({', '.join(words)})" if words else "")
        for subject, words in zip(subjects, own, strict=True)
    ]
    bands = [band(subject.flows, what) for subject in subjects]
    reaches = [reach(subject.flows, what) for subject in subjects]
    clauses: list[str] = []
    measured = False
    for name, each, found in zip(names, bands, reaches, strict=True):
        clauses.append(_clause(name, each, found, sample, is_first=not measured))
        measured = measured or bool(found.ratio)
    opening = ", ".join([when, *([f"with {listed(shared)}"] if shared else [])])
    text = f"{capital(opening)}, {'; '.join(clauses)}"
    if len(subjects) == 2:
        text += _comparison(names, reaches, _unit(what))
    return f"{text} ({_tail(subjects, pictures, sample)})."


def _clause(name: str, measured: GradientBand, found: Reach, sample: str, is_first: bool) -> str:
    unit, gradient, precision = _unit(measured.what), _GRADIENTS[measured.what], measured.precision
    if found.ratio:
        clause = (
            f"{name}'s first {unit} receives {number(found.ratio)} ×"
            if is_first
            else f"{name}'s {number(found.ratio)} ×"
        )
        clause += f" the {gradient} of its last" if is_first else ""
        if found.low != found.high and found.low is not None and found.high is not None:
            clause += f" ({number(found.low)} to {number(found.high)})"
        clause += f", so {_COURSES[found.course]}"
        if found.agreeing < found.n - found.not_finite - found.last_zero:
            clause += f" in {_count(found.agreeing, found.n, sample)}"
        if found.first_zero:
            clause += f", but is exactly 0 in {precision} in {_count(found.first_zero, found.n, sample)}"
    elif found.ratio == 0:
        often = "" if found.first_zero == found.n else f" in {_count(found.first_zero, found.n, sample)}"
        clause = f"{name}'s first {unit} receives a {gradient} of exactly 0 in {precision}{often}: {_cause(measured)}"
    elif found.last_zero:
        first = measured.sizes[np.isfinite(measured.sizes).all(axis=1) & (measured.sizes[:, -1] == 0), 0]
        clause = f"{name}'s last {unit} receives a {gradient} of exactly 0 in {precision}"
        clause += ", and so does its first" if not first.any() else f", its first {number(float(np.median(first)))}"
    else:
        return f"{name}'s {gradient} is not a finite number in {precision}"
    if found.last_zero and found.ratio is not None:
        clause += f", and its last {unit} receives exactly 0 in {_count(found.last_zero, found.n, sample)}"
    if found.not_finite:
        clause += f", and it is not a finite number in {_count(found.not_finite, found.n, sample)}"
    return clause


def _cause(measured: GradientBand) -> str:
    """Why the first layer has exactly 0: by the nearest layer that has more, of the seed where that is largest."""
    rows = [row for row in measured.sizes if row[0] == 0 and 0 < row[-1] < np.inf]
    nearest = [int(np.flatnonzero(np.isfinite(row) & (row > 0))[0]) for row in rows]
    size, index = max((float(row[index]), index) for row, index in zip(rows, nearest, strict=True))
    layer = measured.layers[index]
    edge = torch.finfo(getattr(torch, measured.precision)).tiny * NEAR_UNDERFLOW
    if size < edge:
        return f"it underflows ({layer}, the nearest that receives any, has {number(size)})"
    return f"not by underflow, for {layer}, the nearest that receives any, has {number(size)}"


def _comparison(names: Sequence[str], reaches: Sequence[Reach], unit: str) -> str:
    first, second = reaches
    if first.decades is not None and second.decades is not None:
        if abs(first.decades - second.decades) <= math.log10(ABOUT_EQUAL):
            return f"; these two ratios differ by no more than a factor of {ABOUT_EQUAL:g}"
        changes = [f"{decades:+.1f}".replace("-", "−") for decades in (first.decades, second.decades)]
        return (
            f"; from last to first the gradient changes by {changes[0]} orders of magnitude in {names[0]}, "
            f"by {changes[1]} in {names[1]}"
        )
    if (first.course == "zero") != (second.course == "zero") and (first.ratio or second.ratio):
        return f"; of the two only {names[0] if first.ratio else names[1]}'s first {unit} receives any"
    return ""


def _circumstances(specs: Sequence[ArchitectureSpec], is_first: bool) -> tuple[list[str], list[list[str]]]:
    """What all specs share, in words, and what each has of its own where they do not."""
    words = [[norm_of(spec.norm) for spec in specs], [spec.activation_name for spec in specs]]
    if is_first:  # after a training the initialisation explains nothing any more
        words.insert(1, [f"{INITIALISATIONS[spec.initialisation]} initialisation" for spec in specs])
    shared = [column[0] for column in words if len(set(column)) == 1]
    different = [column for column in words if len(set(column)) > 1]
    if len({spec.shortcut for spec in specs} - {"none"}) > 1:  # two kinds of ResNet have the same name
        different.append([shortcuts_of(spec.shortcut) for spec in specs])
    return shared, [[column[index] for column in different] for index in range(len(specs))]


def _tail(subjects: Sequence[Subject], pictures: str, sample: str) -> str:
    counts = _unique(len(subject.flows) for subject in subjects)
    flows = [flow for subject in subjects for flow in subject.flows]
    seeds = " and ".join(map(str, counts)) + f" {sample}{'' if counts == [1] else 's'}"
    modes = " and ".join(_unique(flow.mode for flow in flows))
    return f"n = {seeds}, {pictures}, {modes} mode, {' and '.join(_unique(flow.precision for flow in flows))}"


def number(value: float) -> str:
    """Two significant digits, as a person writes them: 8.1, 0.21, 180, 1.5e3, 5e-7."""
    rounded = float(f"{value:.1e}")
    if rounded == 0 or 0.01 <= abs(rounded) < 1000:
        return f"{rounded:g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _unit(what: Quantity) -> str:
    return "block" if what == "blocks" else "convolution"


def _count(part: int, n: int, sample: str) -> str:
    return f"{part} of {n} {sample}s"


def _unique(values: Iterable[Value]) -> list[Value]:
    return list(dict.fromkeys(values))
