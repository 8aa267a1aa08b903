"""Sentences on measured gradient flows, made from the numbers alone, each of at most 25 words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from explorer.architectures import ArchitectureSpec
from explorer.experiments.gradient_flow import GradientFlow, Quantity
from explorer.experiments.gradient_grid import GradientBand, band
from explorer.labels import initialisation_of, norm_of, shortcuts_of

MOST_WORDS = 25
ABOUT_EQUAL = 3.0
"""A ratio of first to last layer from 1/3 to 3 is called about equal: seeds differ by as much."""

FAR = 100.0
"""A gradient that changes by more than this factor vanishes or explodes; by less, it falls or rises."""

NEAR_UNDERFLOW = 1e5
"""A size below this many times the smallest normal number of the precision (1.2e-33 in float32) is at its edge: a
weight gradient sums over pictures and pixels, and is up to so much larger than its terms."""

Trend = Literal["grows", "shrinks", "equal", "zero", "undefined"]
Guess = Literal["falls", "stays", "rises"]
RIGHT_GUESSES: dict[Trend, Guess] = {"shrinks": "falls", "zero": "falls", "equal": "stays", "grows": "rises"}
"""None is right for a gradient without a ratio."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, eq=False)
class NetworkGradients:
    """One network of a summary: its spec, its flow for each seed, and its name, by default the spec's."""

    spec: ArchitectureSpec
    flows: tuple[GradientFlow, ...]
    name: str | None = None


@dataclass(frozen=True)
class GradientExtent:
    """The gradient of the first layer of the main path as a ratio to its last, over n seeds.

    `ratios` has those of the seeds that have one. A seed has none where a size is not finite (`not_finite` counts them)
    or the last layer's is exactly 0 (`last_zero`).
    """

    n: int
    ratios: tuple[float, ...]
    not_finite: int
    last_zero: int

    @property
    def ratio(self) -> float | None:
        """The median; None where no seed has a ratio."""
        return float(np.median(self.ratios)) if self.ratios else None

    @property
    def trend(self) -> Trend:
        return trend_of(self.ratio)

    @property
    def agrees(self) -> bool:
        """Whether all ratios have the trend of their median."""
        return all(trend_of(ratio) == self.trend for ratio in self.ratios)

    @property
    def spread(self) -> str:
        """The smallest and the largest ratio: `0.15 to 5.2`."""
        return f"{number(min(self.ratios))} to {number(max(self.ratios))}"


def gradient_extent(flows: Sequence[GradientFlow], what: Quantity = "weights") -> GradientExtent:
    """The extent of the flows of one network, one for each seed. Raises ValueError where `band` does."""
    sizes = band(flows, what).sizes
    first, last = sizes[:, 0], sizes[:, -1]
    finite = np.isfinite(first) & np.isfinite(last)
    usable = finite & (last > 0)
    return GradientExtent(
        n=len(sizes),
        ratios=tuple((first[usable] / last[usable]).tolist()),
        not_finite=int((~finite).sum()),
        last_zero=int((finite & (last == 0)).sum()),
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


def verb_of(ratio: float) -> str:
    """`vanishes`, `falls`, `stays level`, `rises` or `explodes`, for a ratio of first to last layer."""
    match trend_of(ratio):
        case "equal":
            return "stays level"
        case "grows":
            return "explodes" if ratio > FAR else "rises"
    return "vanishes" if ratio * FAR < 1 else "falls"


# --- networks of any kind ---------------------------------------------------------------------------------------------


def findings(subjects: Sequence[NetworkGradients], what: Quantity = "weights", sample: str = "seed") -> list[str]:
    """What the gradient does toward the input, two networks to a sentence where the words suffice.

    A ratio is that of the first layer to the last, the median over the n, which are of one `sample` each. Where they
    disagree about the trend, the sentence gives the range. Raises ValueError for no network, and where `band` does.
    """
    if not subjects:
        raise ValueError("`subjects` must hold at least one network, received none; measure one first.")
    found = [gradient_extent(subject.flows, what) for subject in subjects]
    named = list(zip(names_of(subjects), found, strict=True))
    sentences: list[str] = []
    for pair in (named[start : start + 2] for start in range(0, len(named), 2)):
        both = _finding(pair, what, sample)
        sentences += [both] if len(both.split()) <= MOST_WORDS else [_finding([each], what, sample) for each in pair]
    return sentences


def _finding(named: Sequence[tuple[str, GradientExtent]], what: Quantity, sample: str) -> str:
    unit, clauses, before, is_explained = _unit(what), [], "", False
    for name, found in named:
        if not found.ratio:
            clauses.append(_without_ratio(name, found, unit))
            before = "the gradient" if found.ratios or found.last_zero else ""
            continue
        subject, verb = ("the gradient", verb_of(found.ratio)) if found.agrees else (f"{sample}s", "disagree")
        size = f"{number(found.ratio) if found.agrees else found.spread} ×"
        words = [subject] * (not before.startswith(subject)) + [verb] * (before != f"{subject} {verb}")
        clauses.append(
            " ".join([*words, "in", name, f"({size})" if is_explained else f"(first {unit} {size} the last)"])
        )
        before, is_explained = f"{subject} {verb}", True
    return f"Toward the input, {' and '.join(clauses)}."


def _without_ratio(name: str, found: GradientExtent, unit: str) -> str:
    if found.ratio == 0:
        return f"the gradient is exactly 0 at the first {unit} of {name}"
    if found.last_zero:
        return f"the gradient is exactly 0 at the last {unit} of {name}"
    return f"the gradient of {name} is no finite number"


def remarks(subjects: Sequence[NetworkGradients], what: Quantity = "weights", sample: str = "seed") -> list[str]:
    """What a ratio does not say: gradients that are exactly 0, with the cause, and those that are no finite number."""
    said = []
    for name, subject in zip(names_of(subjects), subjects, strict=True):
        sizes, found = band(subject.flows, what), gradient_extent(subject.flows, what)
        zeros = found.ratios.count(0)
        counted = {
            f"The first {_unit(what)} of {name} receives exactly 0": zeros,
            f"The last {_unit(what)} of {name} receives exactly 0": found.last_zero,
            f"The gradient of {name} is no finite number": found.not_finite,
        }
        causes = [f": {_cause(sizes)}" if zeros else "", _branch_cause(subject.spec), ""]
        for (words, count), cause in zip(counted.items(), causes, strict=True):
            if count:
                said.append(f"{words} in {sizes.precision}, in {count} of {found.n} {sample}s{cause}.")
    return said


def _cause(measured: GradientBand) -> str:
    """Why the first layer has exactly 0: from the nearest layer with more, of the seed where that is largest."""
    rows = [row for row in measured.sizes if row[0] == 0 and 0 < row[-1] < np.inf]
    nearest = [int(np.flatnonzero(np.isfinite(row) & (row > 0))[0]) for row in rows]
    size, index = max((float(row[index]), index) for row, index in zip(rows, nearest, strict=True))
    edge = torch.finfo(getattr(torch, measured.precision)).tiny * NEAR_UNDERFLOW
    return f"{'it underflows' if size < edge else 'no underflow'}, for {measured.layers[index]} has {number(size)}"


def _branch_cause(spec: ArchitectureSpec) -> str:
    """Why a branch at the end may have exactly 0."""
    if spec.branch_start != "full":
        return ": its branches start at 0, so nothing in them has a gradient in the first step"
    return ": a training step may leave its branch out" if spec.stochastic_depth else ""


def verdict(network: NetworkGradients, guess: Guess) -> str:
    """Whether the guess on the weight gradient of that network was right, with the measured number."""
    found, name = gradient_extent(network.flows), network.name or network.spec.name
    if found.ratio is None:
        return f"Your guess, {guess}, has no answer: {_without_ratio(name, found, 'layer')}."
    if not found.agrees:
        right = sum(RIGHT_GUESSES[trend_of(ratio)] == guess for ratio in found.ratios)
        return (
            f"Your guess, {guess}, is right in {right} of {len(found.ratios)} seeds: they disagree ({found.spread} × "
            "the last layer)."
        )
    is_right = "right" if RIGHT_GUESSES[found.trend] == guess else "wrong"
    return (
        f"Your guess, {guess}, is {is_right}: the first layer of {name} receives {number(found.ratio)} × the gradient "
        "of the last."
    )


# --- twins before and after their training ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TwinGradients:
    """A plain network and its residual twin, and their test accuracies (0..1) where they are trained."""

    plain: NetworkGradients
    residual: NetworkGradients
    accuracies: tuple[float, float] | None = None

    def ratios(self) -> tuple[float, float]:
        """First to last layer of both, the medians. Raises ValueError where a network has none, or 0."""
        plain, residual = (gradient_extent(each.flows).ratio for each in (self.plain, self.residual))
        if not plain or not residual:
            raise ValueError("both networks must have a gradient above 0 in every layer; measure other seeds.")
        return plain, residual


def conclusion(initial: Sequence[TwinGradients]) -> str:
    """What the gradient does in the plain network before its training, beside its twin."""
    verbs, numbers = [], []
    for ratios in zip(*(twins.ratios() for twins in initial), strict=True):
        verbs.append(" or ".join(dict.fromkeys(map(verb_of, ratios))))
        numbers.append(" or ".join(dict.fromkeys(map(number, ratios))))
    return (
        f"Before training, the gradient of {initial[0].plain.spec.name} {verbs[0]} ({numbers[0]} ×); that of "
        f"{initial[0].residual.spec.name} {verbs[1]} ({numbers[1]} ×)."
    )


def answer(initial: Sequence[TwinGradients], trained: TwinGradients) -> list[str]:
    """Why the plain network is hard to train, as far as these numbers tell, and what they do not tell.

    `initial` are two pairs of other settings.
    """
    plain, residual = trained.plain.spec.name, trained.residual.spec.name
    (first, second), (e, f) = (twins.ratios() for twins in initial), trained.ratios()
    is_direct = all(abs(math.log(twin)) < abs(math.log(own)) for own, twin in (first, second))
    settings = [setting([twins.plain.spec], activation=False).replace(", ", " and ") for twins in initial]
    said = [
        "Shortcuts give the gradient a direct way back."
        if is_direct
        else "In these networks shortcuts do not keep the gradient more level.",
        f"With {settings[0]} it {verb_of(first[0])} in {plain} ({number(first[0])} × at the first layer, against "
        f"{number(first[1])} × in {residual}).",
        f"With {settings[1]} it {verb_of(second[0])} at the start ({number(second[0])} × against "
        f"{number(second[1])} ×).",
        f"After training it {verb_of(e)} ({number(e)} × against {number(f)} ×).",
    ]
    if trained.accuracies and trend_of(e) == "equal" and trained.accuracies[0] < trained.accuracies[1]:
        low, high = (f"{share:.1%}" for share in trained.accuracies)
        said.append(
            f"Yet the test accuracy of {plain} is {low}, that of {residual} {high}: size alone is not the whole story."
        )
    return said


# --- words ------------------------------------------------------------------------------------------------------------


def names_of(subjects: Sequence[NetworkGradients]) -> list[str]:
    """A name for each, with its shortcuts where two kinds of ResNet have the same."""
    named = [(subject.name or subject.spec.name, subject.spec.shortcut) for subject in subjects]
    return [
        f"{name} ({shortcuts_of(shortcut)})"
        if any(name == other and shortcut != kind for other, kind in named)
        else name
        for name, shortcut in named
    ]


def setting(specs: Sequence[ArchitectureSpec], *, initialisation: bool = True, activation: bool = True) -> str:
    """The norm, initialisation and activation, each where all specs share it; "" where they share none."""
    columns = [[norm_of(spec.norm) for spec in specs]]
    columns += [[initialisation_of(spec.initialisation) for spec in specs]] * initialisation
    columns += [[spec.activation_name for spec in specs]] * activation
    return ", ".join(column[0] for column in columns if len(set(column)) == 1)


def number(value: float) -> str:
    """Two significant digits: 8.1, 0.21, 430, 1.5·10³, 10⁻⁷."""
    rounded = float(f"{value:.1e}")
    if rounded == 0 or 0.01 <= abs(rounded) < 1000:
        return f"{rounded:g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return power if mantissa == "1.0" else f"{mantissa.removesuffix('.0')}·{power}"


def _unit(what: Quantity) -> str:
    return "block" if what == "blocks" else "layer"
