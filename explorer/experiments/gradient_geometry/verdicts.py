"""Sentences on the geometry of gradients, made from the numbers alone, and the numbers of a table.

All intervals are 95 % intervals of a mean over seeds (Student's t). Two networks are compared seed by seed: a seed
gives both the same pictures, and twins the same weights.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explorer.architectures import ArchitectureSpec
from explorer.architectures.spec import NEWER_FIELDS, VARIANTS
from explorer.experiments.gradient_geometry.measurement import GeometryQuestion
from explorer.experiments.gradient_geometry.names import without_depth, without_width
from explorer.experiments.gradient_geometry.shattering import PICTURES, brown_noise, reference, white_noise
from explorer.experiments.gradient_geometry.widths import width
from explorer.experiments.gradient_summary import number
from explorer.intervals import Mean, mean
from explorer.labels import label

NEAR_WHITE = 0.05
"""A correlation that is certainly less than this above that of white noise is called hardly told from it."""

CARRIED = (0.05, 0.95)
"""The lengths that are named begin where the sum over all up to them reaches the first, and end at the second."""


@dataclass(frozen=True, eq=False)
class MeasuredGeometry:
    """A network, its name beside the others, and the result of each of its `seeds`."""

    spec: ArchitectureSpec
    name: str
    seeds: tuple[int, ...]
    results: tuple[Any, ...]

    def values(self, of: Callable[[Any], float]) -> dict[int, float]:
        """The finite values by their seeds."""
        found = {seed: float(of(each)) for seed, each in zip(self.seeds, self.results, strict=True)}
        return {seed: value for seed, value in found.items() if math.isfinite(value)}

    def mean(self, of: Callable[[Any], float]) -> Mean | None:
        """That of the finite values; None without any."""
        found = self.values(of)
        return mean([*found.values()]) if found else None


def difference(one: MeasuredGeometry, other: MeasuredGeometry, of: Callable[[Any], float]) -> Mean | None:
    """The mean over the seeds of both of the value of `other` less that of `one`; None without such a seed."""
    first, second = one.values(of), other.values(of)
    shared = [second[seed] - first[seed] for seed in first if seed in second]
    return mean(shared) if shared else None


def neighbours(found: Any) -> float:
    """The correlation of the gradients of two neighbouring pictures."""
    return float(found.correlation[1])


def agreement(each: MeasuredGeometry) -> Mean | None:
    """The mean of `neighbours` over the seeds, whose interval ends at -1 and 1; None without any."""
    middle = each.mean(neighbours)
    if middle is None or middle.n == 1:
        return middle
    return replace(middle, low=max(-1.0, middle.low), high=min(1.0, middle.high))


def noise_neighbours() -> tuple[float, float]:
    """The same of white and of brown noise."""
    white, brown = (reference(noise, (0,))[0, 1] for noise in (white_noise, brown_noise))
    return float(white), float(brown)


def sentences(question: GeometryQuestion, found: Sequence[MeasuredGeometry]) -> list[str]:
    """What the results of a question say, one paragraph each."""
    if question == "shattering":
        return shattering_paragraphs(found)
    if question == "widths":
        return [" ".join(width_sentences(width_kinds(found)))]
    of_each = block_sentences if question == "blocks" else path_sentences
    return [" ".join(of_each([each])) for each in found]


# --- each question ----------------------------------------------------------------------------------------------------


def shattering_paragraphs(found: Sequence[MeasuredGeometry]) -> list[str]:
    """How well neighbouring pictures agree on the gradient: in each network, between twins, and with depth."""
    white, brown = noise_neighbours()
    each_network = [_correlation_sentence(each) for each in found]
    each_network.append(f"White noise in their place has {_plain(white)}, brown noise {_plain(brown)}.")
    compared = [_noise_sentence(each, white) for each in found] + [_twin_sentence(*pair) for pair in twins(found)]
    paragraphs = [each_network, compared, depth_sentences(found)]
    return [*filter(None, (" ".join(filter(None, sentences)) for sentences in paragraphs))]


def _correlation_sentence(each: MeasuredGeometry) -> str:
    if (middle := agreement(each)) is None:
        zeros = sum(result.zeros == PICTURES for result in each.results)
        if zeros:
            return f"The gradient of {each.name} is exactly 0 for all pictures of {zeros} of {len(each.seeds)} seeds."
        return f"The gradient of {each.name} is no finite number, or the same for all pictures."
    return f"In {each.name} the gradients of neighbouring pictures correlate by {_interval(middle)}."


def _noise_sentence(each: MeasuredGeometry, white: float) -> str:
    middle = agreement(each)
    if middle is None or not middle.high < white + NEAR_WHITE:
        return ""
    return f"{each.name} is hardly told from white noise: a small step in the picture gives another gradient."


def twins(found: Sequence[MeasuredGeometry]) -> list[tuple[MeasuredGeometry, MeasuredGeometry]]:
    """Each plain network with each that differs in its shortcuts alone."""
    return [
        (plain, other)
        for plain in found
        for other in found
        if plain.spec.shortcut == "none" and other.spec.shortcut != "none" and _plain_form(other.spec) == plain.spec
    ]


def _plain_form(spec: ArchitectureSpec) -> ArchitectureSpec | None:
    """The network without the shortcuts of any stage; None where more would go with them than the shortcuts."""
    if any(getattr(spec, name) != NEWER_FIELDS[name] for name in VARIANTS):
        return None
    return replace(spec, shortcut="none", stages=tuple(replace(stage, shortcut=None) for stage in spec.stages))


def _twin_sentence(plain: MeasuredGeometry, residual: MeasuredGeometry) -> str:
    apart = difference(plain, residual, neighbours)
    if apart is None:
        return ""
    more, less = (residual, plain) if apart.value >= 0 else (plain, residual)
    size = apart if apart.value >= 0 else Mean(-apart.value, -apart.high, -apart.low, apart.n)
    said = f"Seed by seed, {more.name} has {_interval(size)} more than {less.name}"
    if apart.n == 1:
        return f"{said}; one seed gives no interval."
    if not apart.sign:
        return f"{said}: {apart.n} seeds cannot tell them apart."
    return f"{said}: with shortcuts, neighbours agree {'more' if apart.sign > 0 else 'less'}."


def kinds(found: Sequence[MeasuredGeometry]) -> list[list[MeasuredGeometry]]:
    """Those that differ in their depth alone, together."""
    return _alike(found, without_depth)


def width_kinds(found: Sequence[MeasuredGeometry]) -> list[list[MeasuredGeometry]]:
    """Those that differ in their width alone, together, the narrow ones first."""
    return [sorted(kind, key=lambda each: width(each.spec)) for kind in _alike(found, without_width)]


def _alike(found: Sequence[MeasuredGeometry], of: Callable[[ArchitectureSpec], Any]) -> list[list[MeasuredGeometry]]:
    alike: dict[Any, list[MeasuredGeometry]] = {}
    for each in found:
        alike.setdefault(of(each.spec), []).append(each)
    return [*alike.values()]


def depth_sentences(found: Sequence[MeasuredGeometry]) -> list[str]:
    """What becomes of the correlation from the shallowest to the deepest network of each kind."""
    return [
        _change(low, high, f"From {low.name} to {high.name}")
        for kind in kinds(found)
        for low, high in [(min(kind, key=_depth), max(kind, key=_depth))]
        if low.spec.depth < high.spec.depth
    ]


def _depth(each: MeasuredGeometry) -> int:
    return each.spec.depth


def _change(one: MeasuredGeometry, other: MeasuredGeometry, where: str) -> str:
    change = difference(one, other, neighbours)
    first, last = agreement(one), agreement(other)
    if change is None or first is None or last is None:
        return ""
    if change.n > 1 and not change.sign:
        return f"{where} the correlation changes by {_interval(change)}, which may be nothing."
    verb = "rises" if change.value > 0 else "falls"
    tail = f"a change of {_interval(change)}" if change.n > 1 else "at one seed"
    return f"{where} the correlation {verb} from {_plain(first.value)} to {_plain(last.value)}, {tail}."


def width_sentences(found: Sequence[Sequence[MeasuredGeometry]]) -> list[str]:
    """What more channels do to the correlation. `found` has the widths of one network after another, in order."""
    said = []
    for widths in found:
        if len(widths) > 1:
            low, high = widths[0], widths[-1]
            where = f"In {base_name(low)}, from {width(low.spec)} to {width(high.spec)} channels,"
            said.append(_change(low, high, where))
        elif widths:
            said.append(_correlation_sentence(widths[0]))
    for plain, residual in ((one, other) for one in found for other in found if one and other):
        if (plain[0], residual[0]) in twins([plain[0], residual[0]]):
            said.append(_width_verdict(plain, residual))
    return [*filter(None, said)]


def _width_verdict(plain: Sequence[MeasuredGeometry], residual: Sequence[MeasuredGeometry]) -> str:
    """Says that no plain width comes up to a residual one where all their intervals lie apart; "" where they do not, or
    a width has none."""
    less, more = ([agreement(each) for each in widths] for widths in (plain, residual))
    low, high = ([each for each in widths if each and each.has_interval] for widths in (less, more))
    if len(low) < len(less) or len(high) < len(more) or max(of.high for of in low) >= min(of.low for of in high):
        return ""
    most, least = max(of.value for of in low), min(of.value for of in high)
    return (
        f"No width here brings {base_name(plain[0])} up to {base_name(residual[0])}: at most {_plain(most)}, against "
        f"at least {_plain(least)}."
    )


def base_name(each: MeasuredGeometry) -> str:
    """The name without its channels."""
    return re.sub(r"(, | \()\d+ channels?\)$", lambda found: ")" if found[1] == ", " else "", each.name)


def block_sentences(found: Sequence[MeasuredGeometry]) -> list[str]:
    """How large the branch is beside the shortcut in the first and the last block, and how that falls."""
    said = []
    for each in found:
        first, last = (each.mean(lambda of, at=at: of.ratios[at]) for at in (0, -1))  # type: ignore[misc]
        if first is None or last is None:
            said.append(f"The branches of {each.name} or its shortcuts have no finite size.")
            continue
        if each.spec.branch_start != "full":
            said.append(f"The branches of {each.name} are 0 by construction{_start(each)}.")
            continue
        said.append(
            f"The branch of {each.name} has {number(first.value)} × the size of its shortcut in the first block, "
            f"{number(last.value)} × in the last."
        )
        if power := each.mean(lambda of: of.power):
            said.append(f"The ratio goes like ℓ to the power of {_interval(power)}{_beside_root(each.spec, power)}.")
    return said


def _start(each: MeasuredGeometry) -> str:
    """How its branches start, in brackets, unless its name says it."""
    words = label("branch_start", each.spec.branch_start)
    return "" if words in each.name else f" ({words})"


def has_root(spec: ArchitectureSpec) -> bool:
    """Whether 1/√ℓ is the law of its blocks: each adds what a norm gives to all that came before it, both as they
    are."""
    return spec.norm == "batch" and spec.branch_start == "full" and spec.shortcut_gain == 1


def _beside_root(spec: ArchitectureSpec, power: Mean) -> str:
    if spec.norm != "batch":
        return "; 1/√ℓ is for BatchNorm"
    if not has_root(spec):
        return ""
    if power.n == 1:
        return "; 1/√ℓ is −0.5"
    if power.low <= -0.5 <= power.high:
        return "; −0.5, which is 1/√ℓ, is inside"
    return f"; that falls {'faster' if power.value < -0.5 else 'more slowly'} than 1/√ℓ, which is −0.5"


def path_sentences(found: Sequence[MeasuredGeometry]) -> list[str]:
    """Which lengths carry the gradient."""
    said = []
    for each in found:
        blocks = each.results[0].blocks
        usable = with_gradient(each)
        if not usable:
            said.append(f"The gradient of {each.name} is exactly 0 or no finite number on all paths.")
            continue
        if missing := len(each.seeds) - len(usable):
            seeds = f"{missing} of {seed_words(len(each.seeds))}"
            said.append(f"In {seeds} the gradient of {each.name} is exactly 0 or no finite number; these are left out.")
        if each.spec.branch_start != "full":
            past = "By construction all gradient of"
            said.append(f"{past} {each.name} goes past the branches, which are 0{_start(each)}.")
            continue
        shares = mean_shares(each)
        first, last = (int(np.searchsorted(shares.cumsum(), share)) for share in CARRIED)
        middles = [result.quantile(0.5) for result in usable]
        spread = " to ".join(dict.fromkeys(map(str, (min(middles), max(middles)))))
        said.append(
            f"In {each.name}, paths through {first} to {last} of {blocks} branches have {_share(shares, first, last)} "
            f"of the summed gradient. The median is {spread}, over {seed_words(len(middles))}."
        )
        if factor := each.mean(lambda of: branch_factor(of.sizes)):
            said.append(f"Each further branch multiplies the gradient of a path by {number(math.exp(factor.value))}.")
    return said


def _share(shares: np.ndarray, first: int, last: int) -> str:
    """What the lengths from the first to the last have; 100 % only of all."""
    if (first, last) == (0, len(shares) - 1):
        return "100 %"
    share = 100 * float(shares[first : last + 1].sum())
    return "over 99 %" if share >= 99.5 else f"{share:.0f} %"


def with_gradient(each: MeasuredGeometry) -> list[Any]:
    """The results of the seeds whose gradient is finite and not 0 on all paths."""
    return [result for result in each.results if np.isfinite(result.shares).all()]


def mean_shares(each: MeasuredGeometry) -> np.ndarray:
    """The shares of the lengths, the mean over seeds `with_gradient`, float64 (B + 1,); NaN without such a seed."""
    return np.asarray(np.mean([result.shares for result in with_gradient(each) or each.results], axis=0))


def branch_factor(sizes: np.ndarray) -> float:
    """The logarithm of what one more branch multiplies the size by, of the line of least squares; NaN where fewer than
    two lengths have a gradient above 0."""
    lengths = np.flatnonzero((sizes > 0) & np.isfinite(sizes))
    return float(np.polyfit(lengths, np.log(sizes[lengths]), 1)[0]) if len(lengths) > 1 else math.nan


# --- words ------------------------------------------------------------------------------------------------------------


def _plain(value: float) -> str:
    """Two decimals with a true minus; never −0.00."""
    text = f"{value:.2f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _interval(of: Mean) -> str:
    """`0.87 (0.83 to 0.91, n = 3)`."""
    if of.n == 1:
        return f"{_plain(of.value)} (n = 1)"
    return f"{_plain(of.value)} ({_plain(of.low)} to {_plain(of.high)}, n = {of.n})"


def seed_words(n: int) -> str:
    return f"{n} seed{'s' * (n > 1)}"


def circumstances(seeds: int) -> str:
    """What the numbers in brackets are."""
    return (
        "In brackets: the 95 % interval of the mean over the seeds (Student's t)."
        if seeds > 1
        else "One seed gives no interval; choose more."
    )
