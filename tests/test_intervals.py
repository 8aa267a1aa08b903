"""Balanced accuracy and its interval, against a published example and by simulation. Wilson's: test_agreement.py."""

import tracemalloc
from dataclasses import astuple

import numpy as np
import pytest

from explorer import intervals
from explorer.intervals import accuracy, balanced_accuracy, bootstrap_mean, bootstrap_means


def test_the_interval_of_two_classes_is_newcombes() -> None:
    """Newcombe 1998, table II, method 10, example (a): 56/70 - 48/80 = 0.2 with 0.0524 to 0.3339. The mean of 56/70 and
    of the 32/80 that the other one misses is half of 1 plus that difference."""
    found = balanced_accuracy([accuracy(56, 70), accuracy(32, 80)])
    assert found.share == pytest.approx(0.6)
    assert (2 * found.low - 1, 2 * found.high - 1) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_one_class_has_its_own_interval_and_the_ends_stay_ends() -> None:
    alone = accuracy(7, 9)
    found = balanced_accuracy([alone])
    assert (found.share, found.low, found.high) == pytest.approx((alone.share, alone.low, alone.high))
    assert balanced_accuracy([accuracy(5, 5), accuracy(1, 1)]).high == 1
    assert balanced_accuracy([accuracy(0, 5), accuracy(0, 1)]).low == 0


def test_a_class_of_one_picture_makes_the_interval_wide() -> None:
    few, many = (balanced_accuracy([accuracy(80, 80), accuracy(n, n)]) for n in (1, 80))
    assert few.share == many.share == 1
    assert few.low == pytest.approx(1 - (1 - accuracy(1, 1).low) / 2, abs=0.01) and few.low < 0.61 < 0.9 < many.low


@pytest.mark.parametrize("shares", [(0.95, 0.4), (0.5, 0.5, 0.9)])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(shares: tuple[float, ...]) -> None:
    random = np.random.default_rng(0)
    sizes = (80, 10, 25)[: len(shares)]
    drawn = [random.binomial(n, share, 2000) for n, share in zip(sizes, shares, strict=True)]
    found = [
        balanced_accuracy([accuracy(int(right), n) for right, n in zip(rights, sizes, strict=True)])
        for rights in zip(*drawn, strict=True)
    ]
    held = sum(each.low <= sum(shares) / len(shares) <= each.high for each in found) / len(found)
    assert 0.93 < held < 0.99


def test_no_class_has_no_mean() -> None:
    with pytest.raises(ValueError, match="one class or more"):
        balanced_accuracy([])


def test_samples_in_chunks_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of several lengths, chunks that do not divide the 2,000 samples, and odd numbers of values."""
    random = np.random.default_rng(1)
    rows = [random.standard_normal(n) for n in (7, 41, 7, 1)]
    once = bootstrap_means(rows)
    for row, each in zip(rows[:3], once, strict=False):
        assert astuple(each) == pytest.approx(astuple(bootstrap_mean(row)))
    assert np.isnan(once[3].low) and once[3].n == 1
    for row in rows[:2]:
        whole = np.concatenate(list(intervals._bootstrap_draws(row.size)))
        drawn = np.random.default_rng(0).integers(0, row.size, (2000, row.size))
        np.testing.assert_allclose(whole @ row, row[drawn].mean(axis=1), atol=1e-12)
        monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", 3 * row.size + 1)
        chunks = list(intervals._bootstrap_draws(row.size))
        assert len(chunks) == 667 and {len(each) for each in chunks} == {3, 2}
        np.testing.assert_array_equal(np.concatenate(chunks), whole)
        monkeypatch.undo()


def test_a_bootstrap_of_many_values_takes_little_memory() -> None:
    tracemalloc.start()
    bootstrap_means([np.arange(4000.0)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20  # all samples at once are 64 MB, four times over
