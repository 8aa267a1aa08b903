"""What a study says: its intervals against scipy, and its sentences against numbers worked out by hand."""

import csv
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from explorer.files import csv_text
from explorer.intervals import mean, t_quantile
from explorer.presets import cifar
from explorer.studies import Axis, Result, Study
from explorer.studies.analysis import analyse, rows
from explorer.studies.study import Cell
from explorer.training import TrainingConfig

DEPTHS, SEEDS, KINDS = (8, 20, 56), (0, 1, 2, 3), ("none", "identity")
Key = tuple[int, str, int]


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30, 119, 499])
@pytest.mark.parametrize("share", [0.5, 0.75, 0.9, 0.975, 0.9995])
def test_the_quantile_is_scipys(share: float, freedom: int) -> None:
    assert t_quantile(share, freedom) == pytest.approx(scipy.stats.t.ppf(share, freedom), rel=1e-9, abs=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12).filter(lambda values: np.std(values) > 1e-6))
def test_the_interval_of_a_mean_is_scipys(values: list[float]) -> None:
    found, expected = mean(values), scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)
    assert found.n == len(values) and found.value == pytest.approx(np.mean(values), abs=1e-12)


@pytest.mark.parametrize("values", [[0.3], [0.3, 0.3, 0.3]])
def test_one_value_or_equal_ones_have_no_interval(values: list[float]) -> None:
    assert mean(values).value == 0.3 and not mean(values).has_interval


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="`values` must hold one number or more"):
        mean([])
    with pytest.raises(ValueError, match="`share` must be in 0.5..1"):
        t_quantile(1.0, 3)


def study(*axes: Axis, seeds: tuple[int, ...] = SEEDS) -> Study:
    config = TrainingConfig(epochs=1, device="cpu").to_dict()
    spec = cifar(8, classes=4, size=16, width=4).to_dict()
    return Study("A study", spec, config, {"kind": "shapes", "size": 16}, axes, seeds)


TWINS = Axis("shortcut", KINDS)
BY_DEPTH = study(Axis("depth", DEPTHS), TWINS)


def result(cell: Cell, seed: int, test: float, train: float | None, outcome: str = "finished") -> Result:
    """One network with these errors."""
    own = None if train is None else {"accuracy": 1 - train, "loss": 1.0, "n": 400}
    answers = {"accuracy": 1 - test, "loss": 1.0, "n": 200}
    return Result(cell, seed, "ab" * 16, "net", "a network", outcome, 10, own, answers)


def by_depth(errors: Mapping[Key, float]) -> list[Result]:
    """A training error is a tenth of the test error."""
    return [
        result((("depth", depth), ("shortcut", kind)), seed, error, error / 10)
        for (depth, kind, seed), error in errors.items()
    ]


def drawn() -> dict[Key, float]:
    random = np.random.default_rng(7)
    return {(d, k, s): float(random.uniform(0.1, 0.5)) for d in DEPTHS for k in KINDS for s in SEEDS}


def interval(found: Any) -> tuple[float, float]:
    return found.confidence_interval(0.95).low, found.confidence_interval(0.95).high


def test_means_differences_and_interactions_are_those_of_scipy() -> None:
    errors = drawn()
    found = analyse(BY_DEPTH, by_depth(errors))
    values = {(d, k): np.array([errors[d, k, s] for s in SEEDS]) for d in DEPTHS for k in KINDS}
    assert (found.axis, found.trained, found.networks) == ("depth", 24, 24)
    for each in found.cells:
        own = values[dict(each.cell)["depth"], dict(each.cell)["shortcut"]]
        for estimate, factor in ((each.errors.test, 1), (each.errors.train, 0.1)):
            assert estimate and (estimate.low, estimate.high) == pytest.approx(
                interval(scipy.stats.ttest_1samp(own * factor, 0))
            )
    assert [dict(each.at) for each in found.differences] == [{"depth": depth} for depth in DEPTHS]
    for difference, depth in zip(found.differences, DEPTHS, strict=True):
        test = difference.errors.test
        paired = scipy.stats.ttest_rel(values[depth, "none"], values[depth, "identity"])
        assert test and (test.low, test.high) == pytest.approx(interval(paired))
    gains = {depth: values[depth, "none"] - values[depth, "identity"] for depth in DEPTHS}
    assert [(each.first, each.last) for each in found.interactions] == [(8, 20), (8, 56)]
    for change in found.interactions:
        test = change.errors.test
        contrast = scipy.stats.ttest_rel(gains[change.last], gains[change.first])
        assert test and (test.low, test.high) == pytest.approx(interval(contrast))
        assert test.value == pytest.approx(np.mean(gains[change.last]) - np.mean(gains[change.first]))
    assert len(found.trends) == 4
    for change in found.trends:
        train = change.errors.train
        step = scipy.stats.ttest_rel(values[change.last, change.kind] / 10, values[change.first, change.kind] / 10)
        assert train and (train.low, train.high) == pytest.approx(interval(step))


def test_only_seeds_that_both_twins_have_are_paired() -> None:
    errors = {(8, "none", 0): 0.5, (8, "none", 1): 0.9, (8, "identity", 0): 0.4, (8, "identity", 2): 0.1}
    found = analyse(BY_DEPTH, by_depth(errors))
    (difference,) = found.differences
    test = difference.errors.test
    assert test and (test.value, test.n, test.has_interval) == (pytest.approx(0.1), 1, False)
    assert [each.errors.test.n for each in found.cells if each.errors.test] == [2, 2]
    assert not found.interactions
    assert found.paragraph == (
        "4 of 24 networks are trained.",
        "At depth 8: the test error of networks with identity shortcuts is lower than that of plain networks. The "
        "difference is 10.0 points, in one seed.",
        "One seed gives no interval: another seed may turn any of these differences round.",
    )


def test_nothing_trained_says_only_so() -> None:
    found = analyse(BY_DEPTH, [])
    assert not (found.cells or found.differences or found.interactions or found.trends)
    assert found.paragraph == ("0 of 24 networks are trained.",)


def test_the_paragraph_tells_what_the_intervals_tell() -> None:
    """At depth 8 the twins differ by -1, 0, 1 and 0 points, at 20 by 9 to 11, at 56 by -21 to -19."""
    noise = (-0.01, 0.0, 0.01, 0.0)
    errors: dict[Key, float] = {}
    for depth, gain in zip(DEPTHS, (0.0, 0.1, -0.2), strict=True):
        for seed, extra in zip(SEEDS, noise, strict=True):
            errors[depth, "identity", seed] = 0.4
            errors[depth, "none", seed] = 0.4 + gain + extra
    said = analyse(BY_DEPTH, by_depth(errors)).paragraph
    half = 100 * scipy.stats.t.ppf(0.975, 3) * np.std(noise, ddof=1) / 2
    plain, residual = "plain networks", "networks with identity shortcuts"
    assert said[:4] == (
        f"At depth 8: the test errors of {plain} and {residual} cannot be told apart. Their difference is 0.0 points "
        f"({-half:.1f} to {half:.1f}, n = 4).",
        f"At depth 20: the test error of {residual} is lower than that of {plain}. The difference is 10.0 points "
        f"({10 - half:.1f} to {10 + half:.1f}, n = 4).",
        f"At depth 56: the test error of {plain} is lower than that of {residual}. The difference is 20.0 points "
        f"({20 - half:.1f} to {20 + half:.1f}, n = 4).",
        f"From depth 8 to 56 the advantage of {residual} over {plain} in test error shrinks. The change is 20.0 "
        "points, in each of 4 seeds.",
    )
    assert (
        f"From depth 8 to 56 the training error of {plain} falls. The change is 2.0 points, in each of 4 seeds." in said
    )
    assert f"From depth 8 to 56 the training error of {residual} stays the same. So it does in each of 4 seeds." in said


@given(st.dictionaries(st.tuples(st.sampled_from(DEPTHS), st.sampled_from(KINDS), st.sampled_from(SEEDS)),
                       st.sampled_from((0.25, 0.5, 0.75, 0.3, 0.1)), max_size=24))  # fmt: skip
def test_whatever_is_trained_the_sentences_agree_with_the_intervals(errors: dict[Key, float]) -> None:
    found = analyse(BY_DEPTH, by_depth(errors))
    said = " ".join(found.paragraph)
    assert said.count("At depth") == len(found.differences)
    for each in found.differences:
        test = each.errors.test
        (sentence,) = [text for text in found.paragraph if text.startswith(f"At depth {dict(each.at)['depth']}:")]
        assert test and ("cannot be told apart" in sentence) == (test.has_interval and test.low <= 0 <= test.high)
        assert ("in one seed" in sentence) == (test.n == 1)
        assert ("of networks with identity shortcuts is lower" in sentence) == (
            test.value > 0 and (test.sign > 0 or not test.has_interval)
        )
    for sentence in " ".join(found.paragraph).removesuffix(".").split(". "):
        assert sentence == sentence[0].upper() + sentence[1:] and len(sentence.split()) <= 25, sentence
    json.dumps(found.to_dict(), allow_nan=False)


def test_without_a_plain_network_the_first_shortcut_is_the_reference_and_without_shortcuts_there_is_none() -> None:
    both = study(Axis("shortcut", ("identity", "projection")), seeds=(0, 1))
    cells = [(("shortcut", kind),) for kind in ("identity", "projection")]
    values = [result(cell, seed, 0.5 - 0.1 * seed * index, None) for index, cell in enumerate(cells) for seed in (0, 1)]
    found = analyse(both, values)
    (difference,) = found.differences
    assert (difference.at, difference.reference, difference.kind) == ((), "identity", "projection")
    assert difference.errors.train is None and found.axis == ""
    assert found.paragraph[0].startswith("The test errors of networks with identity shortcuts and networks with proj")
    alone = study(Axis("learning_rate", (0.1, 0.2)), seeds=(0,))
    values = [result((("learning_rate", rate),), 0, rate, rate) for rate in (0.1, 0.2)]
    found = analyse(alone, values)
    assert (found.axis, found.differences, found.interactions) == ("learning_rate", (), ())
    assert found.paragraph[0] == (
        "From learning rate 0.1 to 0.2 the training error rises. The change is 10.0 points, in one seed."
    )


def test_many_differences_are_counted_and_the_diverged_named() -> None:
    rates = (0.01, 0.03, 0.1, 0.3)
    wide = study(Axis("depth", (8, 20)), Axis("learning_rate", rates), TWINS, seeds=(0,))
    values = [
        result(cell, 0, 0.5 if dict(cell)["shortcut"] == "none" else 0.4 + 0.1 * index % 0.4, None, outcome)
        for index, cell in enumerate(wide.cells())
        for outcome in ["diverged" if index == 3 else "finished"]
    ]
    found = analyse(wide, values)
    assert len(found.differences) == 8 and len(found.interactions) == 4
    better = sum(each.errors.test.value > 0 for each in found.differences if each.errors.test)
    worse = sum(each.errors.test.value < 0 for each in found.differences if each.errors.test)
    assert found.paragraph[0] == (
        f"In one seed networks with identity shortcuts have the lower test error at {better} of 8 places, plain "
        f"networks at {worse}."
    )
    assert found.paragraph[-1] == "1 of 16 networks has diverged; the errors of where they ended count."


def test_the_table_holds_each_network_and_each_mean() -> None:
    results = by_depth(drawn())
    table = rows(BY_DEPTH, results, analyse(BY_DEPTH, results))
    read = list(csv.DictReader(csv_text(table).splitlines()))
    kinds = [each["row"] for each in read]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    assert counts == {"network": 48, "mean": 12, "paired difference": 6, "interaction": 4, "trend": 8}
    last = next(each for each in read if each["row"] == "interaction")
    assert (last["depth"], last["shortcut"], last["compared with"], last["n"]) == ("20", "identity", "8, plain", "4")
    assert all(re.fullmatch(r"-?[\d.e-]+", each["value"]) for each in read)
