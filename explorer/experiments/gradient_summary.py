"""Sentences on measured gradient flows, made from the numbers alone."""

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
"""A ratio of first to last layer from 1/3 to 3 is called about equal: seeds differ by as much."""

NEAR_UNDERFLOW = 1e5
"""A size below this many times the smallest normal number of the precision (1.2e-33 in float32) is at its edge: a
weight gradient sums over pictures and pixels, and is up to so much larger than its terms."""

INITIALISATION = "at initialisation"
NAMED = 3  # networks in a sentence, the others are counted

Value = TypeVar("Value")
Trend = Literal["grows", "shrinks", "equal", "zero", "undefined"]
_TRENDS = {
    "grows": "it grows toward the input",
    "shrinks": "it shrinks toward the input",
    "equal": "first and last are about equal",
}
_GRADIENTS = {"weights": "weight gradient", "activations": "output gradient", "blocks": "output gradient"}


@dataclass(frozen=True, eq=False)
class NetworkGradients:
    """One network of a summary: its spec, its flow for each seed, and its name, by default the spec's."""

    spec: ArchitectureSpec
    flows: tuple[GradientFlow, ...]
    name: str | None = None


@dataclass(frozen=True)
class GradientExtent:
    """The gradient of the first layer of the main path as a ratio to its last, over n seeds.

    `ratio` is the median over the seeds that have one, `low` and `high` the smallest and largest; None where no seed
    has one. A seed has none where a size is not finite (`not_finite` counts them) or the last layer's is exactly 0
    (`last_zero`). `first_zero` counts ratios that are exactly 0. `agreeing` of the n seeds follow `trend`.
    """

    n: int
    ratio: float | None
    low: float | None
    high: float | None
    not_finite: int
    last_zero: int
    first_zero: int
    trend: Trend
    agreeing: int

    @property
    def decades(self) -> float | None:
        """Orders of magnitude from the last layer to the first, negative where the gradient shrinks; None where the
        ratio is 0 or there is none."""
        return math.log10(self.ratio) if self.ratio else None


def gradient_extent(flows: Sequence[GradientFlow], what: Quantity = "weights") -> GradientExtent:
    """The extent of the flows of one network, one for each seed. Raises ValueError where `band` does."""
    sizes = band(flows, what).sizes
    first, last = sizes[:, 0], sizes[:, -1]
    finite = np.isfinite(first) & np.isfinite(last)
    usable = finite & (last > 0)
    ratios = first[usable] / last[usable]
    ratio = float(np.median(ratios)) if len(ratios) else None
    trend = trend_of(ratio)
    return GradientExtent(
        n=len(sizes),
        ratio=ratio,
        low=float(ratios.min()) if len(ratios) else None,
        high=float(ratios.max()) if len(ratios) else None,
        not_finite=int((~finite).sum()),
        last_zero=int((finite & (last == 0)).sum()),
        first_zero=int((ratios == 0).sum()),
        trend=trend,
        agreeing=sum(trend_of(float(each)) == trend for each in ratios),
    )


def trend_of(ratio: float | None) -> Trend:
    """The word for a ratio of first to last layer: "zero" only for exactly 0, "equal" from 1/3 to 3."""
    if ratio is None:
        return "undefined"
    if ratio == 0:
        return "zero"
    if ratio > ABOUT_EQUAL:
        return "grows"
    return "shrinks" if ratio * ABOUT_EQUAL < 1 else "equal"


def guidance(names: Sequence[str], extents: Sequence[GradientExtent]) -> str:
    """A reading of the lines on the screen: which of the named networks fall, rise or end where they began, from the
    output on; "" where none has a trend."""
    ending = f"within a factor of {ABOUT_EQUAL:g} of where"
    sentences = []
    for kinds, one, many, amount in (
        (("shrinks", "zero"), "falls toward the input", "fall toward the input", "less than the last"),
        (("grows",), "rises toward the input", "rise toward the input", "more than the last"),
        (("equal",), f"ends {ending} it began", f"end {ending} they began", "about as much as the last"),
    ):
        pairs = list(zip(names, extents, strict=True))
        which = _unique(name for kind in kinds for name, extent in pairs if extent.trend == kind)
        if which:
            more = len(which) - NAMED
            named = listed([*which[:NAMED], *([f"{more} more"] if more > 0 else [])])
            line, verb = ("lines", many) if len(which) > 1 else ("line", one)
            sentences.append(f"The {line} of {named} {verb}: the first layers receive {amount}.")
    return " ".join(sentences)


def summarise(
    subjects: Sequence[NetworkGradients],
    pictures: str,
    what: Quantity = "weights",
    when: str = INITIALISATION,
    sample: str = "seed",
) -> str:
    """One or two sentences on the gradient of one or several networks, each number of them measured.

    `pictures` names the batch ("64 shapes"), `when` the moment ("at step 12 of its training"), `sample` a flow ("seed"
    or "run"). The sentence has them, the mode and the precision, and compares two networks. Raises ValueError for no
    network, and where `band` does.
    """
    if not subjects:
        raise ValueError("`subjects` must hold at least one network, received none; measure one first.")
    shared, own = _circumstances([subject.spec for subject in subjects], when == INITIALISATION)
    names = [
        (subject.name or subject.spec.name) + (f" ({', '.join(words)})" if words else "")
        for subject, words in zip(subjects, own, strict=True)
    ]
    bands = [band(subject.flows, what) for subject in subjects]
    extents = [gradient_extent(subject.flows, what) for subject in subjects]
    clauses: list[str] = []
    measured = False
    for name, each, found in zip(names, bands, extents, strict=True):
        clauses.append(_clause(name, each, found, sample, is_first=not measured))
        measured = measured or bool(found.ratio)
    opening = ", ".join([when, *([f"with {listed(shared)}"] if shared else [])])
    text = f"{capital(opening)}, {'; '.join(clauses)}"
    if len(subjects) == 2:
        text += _comparison(names, extents, _unit(what))
    return f"{text} ({_tail(subjects, pictures, sample)})."


def _clause(name: str, measured: GradientBand, found: GradientExtent, sample: str, is_first: bool) -> str:
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
        clause += f", so {_TRENDS[found.trend]}"
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
    """Why the first layer has exactly 0: from the nearest layer with more, of the seed where that is largest."""
    rows = [row for row in measured.sizes if row[0] == 0 and 0 < row[-1] < np.inf]
    nearest = [int(np.flatnonzero(np.isfinite(row) & (row > 0))[0]) for row in rows]
    size, index = max((float(row[index]), index) for row, index in zip(rows, nearest, strict=True))
    layer = measured.layers[index]
    edge = torch.finfo(getattr(torch, measured.precision)).tiny * NEAR_UNDERFLOW
    if size < edge:
        return f"it underflows ({layer}, the nearest that receives any, has {number(size)})"
    return f"not by underflow, for {layer}, the nearest that receives any, has {number(size)}"


def _comparison(names: Sequence[str], extents: Sequence[GradientExtent], unit: str) -> str:
    first, second = extents
    if first.decades is not None and second.decades is not None:
        if abs(first.decades - second.decades) <= math.log10(ABOUT_EQUAL):
            return f"; these two ratios differ by no more than a factor of {ABOUT_EQUAL:g}"
        changes = [f"{decades:+.1f}".replace("-", "−") for decades in (first.decades, second.decades)]
        return (
            f"; from last to first the gradient changes by {changes[0]} orders of magnitude in {names[0]}, "
            f"by {changes[1]} in {names[1]}"
        )
    if (first.trend == "zero") != (second.trend == "zero") and (first.ratio or second.ratio):
        return f"; of the two only {names[0] if first.ratio else names[1]}'s first {unit} receives any"
    return ""


def _circumstances(specs: Sequence[ArchitectureSpec], is_first: bool) -> tuple[list[str], list[list[str]]]:
    """The words that all specs share, and those of each where they differ."""
    words = [[norm_of(spec.norm) for spec in specs], [spec.activation_name for spec in specs]]
    if is_first:  # after a training the initialisation explains nothing
        words.insert(1, [f"{INITIALISATIONS[spec.initialisation]} initialisation" for spec in specs])
    shared = [column[0] for column in words if len(set(column)) == 1]
    different = [column for column in words if len(set(column)) > 1]
    if len({spec.shortcut for spec in specs} - {"none"}) > 1:  # two kinds of ResNet have the same name
        different.append([shortcuts_of(spec.shortcut) for spec in specs])
    return shared, [[column[index] for column in different] for index in range(len(specs))]


def _tail(subjects: Sequence[NetworkGradients], pictures: str, sample: str) -> str:
    counts = _unique(len(subject.flows) for subject in subjects)
    flows = [flow for subject in subjects for flow in subject.flows]
    seeds = " and ".join(map(str, counts)) + f" {sample}{'' if counts == [1] else 's'}"
    modes = " and ".join(_unique(flow.mode for flow in flows))
    return f"n = {seeds}, {pictures}, {modes} mode, {' and '.join(_unique(flow.precision for flow in flows))}"


def number(value: float) -> str:
    """Two significant digits: 8.1, 0.21, 180, 1.5e3, 5e-7."""
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
