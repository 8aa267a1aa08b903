"""Accuracies and means with their 95 % confidence intervals."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.95

_EXACT = 30  # degrees of freedom; a series of few terms is as good above
_SAMPLES = 2000
_DRAWN_AT_ONCE = 250_000  # values of bootstrap samples
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Accuracy:
    """`right` of `n` images, with the 95 % confidence interval `low`..`high` of the true share."""

    right: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.right / self.n


@dataclass(frozen=True)
class BalancedAccuracy:
    """The mean of the accuracies of several classes, with its 95 % interval `low`..`high`."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Mean:
    """The mean of `n` values, with the 95 % confidence interval `low`..`high` of the true mean; of one value there is
    none, and both are NaN."""

    value: float
    low: float
    high: float
    n: int

    @property
    def sign(self) -> int:
        """1 where the whole interval is above 0, -1 where it is below, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def has_interval(self) -> bool:
        """False of one value, and of equal ones: they do not say how much another would differ."""
        return self.low < self.high

    @property
    def turned(self) -> "Mean":
        """That of the values with the other sign."""
        return Mean(-self.value, -self.high, -self.low, self.n)


def mean(values: Sequence[float]) -> Mean:
    """With Student's t (Student 1908), which takes the values for independent and about normal, as those of several
    seeds are. Of paired differences it is the interval of the paired t-test.

    Raises ValueError for no values.
    """
    if not values:
        raise ValueError("`values` must hold one number or more; measure a seed first.")
    n = len(values)
    middle = math.fsum(values) / n
    if n == 1:
        return Mean(middle, math.nan, math.nan, 1)
    if min(values) == max(values):
        return Mean(values[0], values[0], values[0], n)
    deviation = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (n - 1))
    half = _student(n - 1) * deviation / math.sqrt(n)
    return Mean(middle, middle - half, middle + half, n)


def bootstrap_mean(values: "Sequence[float] | np.ndarray") -> Mean:
    """With the percentile interval of 2,000 bootstrap samples, widened for few values as Student's t is (the expanded
    percentile interval, Hesterberg 2015, "What teachers should know about the bootstrap").

    The samples are drawn with seed 0. Raises ValueError for no values, or some that are not finite.
    """
    return bootstrap_means([values])[0]


def bootstrap_means(rows: "Sequence[Sequence[float] | np.ndarray]") -> list[Mean]:
    """`bootstrap_mean` of each row; rows of as many values share their samples. Takes 16 MB at most beside the rows and
    the means of their samples, for rows of up to 250,000 values."""
    import numpy as np  # here: a waiting run has no use for it

    found = [np.asarray(row, np.float64) for row in rows]
    for each in found:
        if not each.size or not np.isfinite(each).all():
            raise ValueError(
                f"`values` must be one or more finite numbers, received {each.size}; leave out the others."
            )
    means: dict[int, Mean] = {}
    for n in {each.size for each in found}:
        places = [place for place, each in enumerate(found) if each.size == n]
        together = np.stack([found[place].ravel() for place in places])  # (R, n)
        if n == 1:
            means |= {
                place: Mean(float(row[0]), math.nan, math.nan, 1) for place, row in zip(places, together, strict=True)
            }
            continue
        sampled = np.concatenate([draws @ together.T for draws in _bootstrap_draws(n)])  # (2000, R)
        sampled = sampled.clip(together.min(axis=1), together.max(axis=1))  # rounding leaves that range
        tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * _student(n - 1))
        limits = np.quantile(sampled, [tail, 1 - tail], axis=0).T
        for place, row, (low, high) in zip(places, together, limits.tolist(), strict=True):
            means[place] = Mean(float(row.mean()), low, high, n)
    return [means[place] for place in range(len(found))]


def _bootstrap_draws(n: int) -> "Iterator[np.ndarray]":
    """The share of each of `n` values in each of 2,000 samples drawn with replacement, float64 (K, n): K samples at a
    time, since all of them take 16 kB a value, several times over while they are drawn."""
    import numpy as np

    generator = np.random.default_rng(0)
    at_once = max(1, _DRAWN_AT_ONCE // n)
    for first in range(0, _SAMPLES, at_once):
        count = min(at_once, _SAMPLES - first)
        drawn = generator.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n) / n


def _student(freedom: int) -> float:
    """The quantile of Student's t that leaves out 2.5 % above. Of many by the series of Abramowitz and Stegun
    (1964, 26.7.5), which is exact to five digits there."""
    if freedom <= _EXACT:
        return t_quantile((1 + CONFIDENCE) / 2, freedom)
    z, n = _Z, freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / n**power for power, term in enumerate(terms, start=1))


def accuracy(right: int, n: int) -> Accuracy:
    """With Wilson's score interval (Wilson 1927; Agresti and Coull 1998, equation 2): unlike the usual p ± z s it
    stays within 0..1, and does not shrink to a point where all or none are right.

    Raises ValueError for no pictures, or more right ones than there are.
    """
    if not 0 <= right <= n or n < 1:
        raise ValueError(f"`right` must be 0..`n` and `n` at least 1, received {right} of {n}; count over images.")
    share, spread = right / n, _Z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return Accuracy(right, n, 0.0 if right == 0 else centre - half, 1.0 if right == n else centre + half)


def balanced_accuracy(classes: Sequence[Accuracy]) -> BalancedAccuracy:
    """The mean over classes, each with the same weight. Its interval adds the squares of the distances to Wilson's
    limits (Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10; Zou and
    Donner 2008 for any sum). A class with one image makes it wide.

    Raises ValueError for no classes.
    """
    if not classes:
        raise ValueError("`classes` must hold the accuracy of one class or more; count over images.")
    share = sum(each.share for each in classes) / len(classes)
    below = math.sqrt(sum((each.share - each.low) ** 2 for each in classes)) / len(classes)
    above = math.sqrt(sum((each.high - each.share) ** 2 for each in classes)) / len(classes)
    return BalancedAccuracy(share, max(0.0, share - below), min(1.0, share + above))


@dataclass(frozen=True)
class Difference:
    """A mean difference of pairs, with its 95 % interval `low`..`high`."""

    mean: float
    low: float
    high: float


def difference_of_shares(lost: int, gained: int, n: int) -> Difference:
    """(gained - lost) / n of n pairs, of which `lost` were right before alone and `gained` after alone.

    The interval is Wald's after half a pair was added to each of the four cells (Agresti and Min 2005, "Simple improved
    confidence intervals for comparing matched proportions"): it does not shrink to a point where no pair changes.
    Raises ValueError for more changed pairs than there are.
    """
    if n < 1 or min(lost, gained) < 0 or lost + gained > n:
        raise ValueError(f"`lost` and `gained` must count some of `n` pairs, received {lost}, {gained} and {n}.")
    more, less, total = gained + 0.5, lost + 0.5, n + 2
    centre = (more - less) / total
    half = _Z * math.sqrt(more + less - (more - less) ** 2 / total) / total
    return Difference((gained - lost) / n, max(-1.0, centre - half), min(1.0, centre + half))


def mean_difference(values: Sequence[float]) -> Difference:
    """Of differences of pairs: their mean ± 1.96 standard errors, which holds for some dozens of pairs or more.

    Raises ValueError for fewer than two.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"`values` must hold two differences or more, received {n}.")
    mean = math.fsum(values) / n
    half = _Z * math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    return Difference(mean, mean - half, mean + half)


def t_quantile(share: float, freedom: int) -> float:
    """The `share` quantile, 0.5 <= share < 1, of Student's t with so many degrees of freedom, at least 1.

    The distribution is a finite sum in the angle atan(t / sqrt(freedom)) (Abramowitz and Stegun 1964, 26.7.3 and
    26.7.4), which is inverted by bisection.
    """
    if not 0.5 <= share < 1 or freedom < 1:
        raise ValueError(f"`share` must be in 0.5..1 and `freedom` 1 or more, received {share} and {freedom}.")
    wanted, low, high = 2 * share - 1, 0.0, math.pi / 2
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if _central_share(middle, freedom) < wanted else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _central_share(angle: float, freedom: int) -> float:
    """The probability that Student's |t| is at most sqrt(freedom) * tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2 == 1
    term = total = (cosine if freedom > 1 else 0.0) if is_odd else 1.0
    for power in range(3 if is_odd else 2, freedom - 1, 2):
        term *= cosine**2 * (power - 1) / power
        total += term
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
