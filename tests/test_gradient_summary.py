"""The summary against numbers worked out by hand: whole sentences, and other numbers give others."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.architectures import ArchitectureSpec, build
from explorer.datasets import shapes
from explorer.experiments.gradient_flow import GradientFlow, recorded_flow
from explorer.experiments.gradient_grid import at_initialisation
from explorer.experiments.gradient_summary import (
    FAR,
    MOST_WORDS,
    Guess,
    NetworkGradients,
    TwinGradients,
    answer,
    conclusion,
    findings,
    gradient_extent,
    names_of,
    number,
    remarks,
    setting,
    trend_of,
    verdict,
)
from explorer.presets import cifar
from explorer.training import GradientSizes

PLAIN, RESNET = cifar(8, "none"), cifar(8)
NAN = float("nan")
LAYERS = (
    "stem.conv",
    "stages.0.0.conv1",
    "stages.0.0.conv2",
    "stages.1.0.shortcut.conv",
    "stages.1.0.conv1",
    "head.fc",
)


def flow(*sizes: float, precision: str = "float32") -> GradientFlow:
    """Sizes of four convolutions of the main path, between which a shortcut and a head shall not matter."""
    first, second, third, last = sizes
    norms = (first, second, third, 1e9, last, 1e-9)
    return recorded_flow(GradientSizes(LAYERS, (0,), (norms,)), 0, precision)


def subject(spec: ArchitectureSpec, *ratios: float) -> NetworkGradients:
    return NetworkGradients(spec, tuple(flow(2 * ratio, 1, 1, 2) for ratio in ratios))


def words(sentence: str) -> int:
    return len(sentence.split())


@pytest.mark.parametrize(
    ("subjects", "sentence"),
    [
        ([subject(PLAIN, 1500)], "the gradient explodes in plain-8 (first layer 1.5·10³ × the last)"),
        (
            [subject(PLAIN, 8.9e-22), subject(RESNET, 1.0)],
            "the gradient vanishes in plain-8 (first layer 8.9·10⁻²² × the last) and stays level in ResNet-8 (1 ×)",
        ),
        (
            [subject(PLAIN, 300, 430, 520), subject(RESNET, 1.5, 4.1, 4.3)],
            "the gradient explodes in plain-8 (first layer 430 × the last) and seeds disagree in ResNet-8 "
            "(1.5 to 4.3 ×)",
        ),
        (
            [subject(PLAIN, 0.15, 0.37, 5.2), subject(RESNET, 0.1)],
            "seeds disagree in plain-8 (first layer 0.15 to 5.2 × the last) and the gradient falls in ResNet-8 (0.1 ×)",
        ),
        (
            [subject(PLAIN, 0.66), subject(RESNET, 1.8)],
            "the gradient stays level in plain-8 (first layer 0.66 × the last) and in ResNet-8 (1.8 ×)",
        ),
        (
            [subject(PLAIN, 0.1, 9.0), subject(RESNET, 0.2, 8.0)],
            "seeds disagree in plain-8 (first layer 0.1 to 9 × the last) and in ResNet-8 (0.2 to 8 ×)",
        ),
        (
            [NetworkGradients(PLAIN, (flow(0, 1e-44, 1, 1),)), subject(RESNET, 0.5)],
            "the gradient is exactly 0 at the first layer of plain-8 and stays level in ResNet-8 (first layer 0.5 × "
            "the last)",
        ),
        ([NetworkGradients(PLAIN, (flow(3, 1, 1, 0),))], "the gradient is exactly 0 at the last layer of plain-8"),
        ([NetworkGradients(PLAIN, (flow(NAN, 1, 1, 1),))], "the gradient of plain-8 is no finite number"),
    ],
)
def test_a_sentence_by_hand(subjects: list[NetworkGradients], sentence: str) -> None:
    assert findings(subjects) == [f"Toward the input, {sentence}."]


RATIOS = st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=4)
NAMES = st.sampled_from(["plain-56", "ResNet-110", "plain-20 · Shapes", "plain-20 · CIFAR-10 (JPEG copy)"])
BROKEN = st.sampled_from([(0.0, 1.0), (1.0, 0.0), (NAN, 1.0), (math.inf, 2.0)])
FLOWS = st.one_of(
    RATIOS.map(lambda ratios: tuple(flow(ratio, 1, 1, 1) for ratio in ratios)),
    st.lists(BROKEN, min_size=1, max_size=3).map(lambda ends: tuple(flow(first, 1, 1, last) for first, last in ends)),
)


@given(
    st.lists(st.tuples(NAMES, FLOWS), min_size=1, max_size=3, unique_by=lambda each: each[0]),
    st.sampled_from(["falls", "stays", "rises"]),
)
@settings(max_examples=150, deadline=None)
def test_no_sentence_is_long_whatever_the_numbers(networks: list[tuple[str, tuple]], guess: Guess) -> None:
    subjects = [NetworkGradients(PLAIN, flows, name) for name, flows in networks]
    sentences = [
        *findings(subjects),
        *remarks(subjects),
        *(verdict(replace(each, name=None), guess) for each in subjects),
    ]
    assert max(map(words, sentences)) <= MOST_WORDS
    assert all(sentence.endswith(".") for sentence in sentences)


@given(RATIOS)
@settings(max_examples=200, deadline=None)
def test_the_direction_agrees_with_the_numbers(ratios: list[float]) -> None:
    (said,) = findings([subject(PLAIN, *ratios)])
    measured = [first / last for first, last in ((2 * ratio, 2.0) for ratio in ratios)]
    directions = {(ratio > 3) - (ratio < 1 / 3) for ratio in measured}
    median = float(np.median(measured))
    assert ("seeds disagree" in said) == (len(directions) > 1)
    if len(directions) == 1:
        assert ("falls" in said or "vanishes" in said) == (directions == {-1})
        assert ("rises" in said or "explodes" in said) == (directions == {1})
        assert ("stays level" in said) == (directions == {0})
        assert ("vanishes" in said) == (median < 1 / FAR) and ("explodes" in said) == (median > FAR)
        assert f"{number(median)} ×" in said
    else:
        assert f"{number(min(measured))} to {number(max(measured))} ×" in said


@pytest.mark.parametrize(
    ("flows", "said"),
    [
        # The size before the zeros is at the edge of float32, 1.2e-38 · 1e5: it underflows. 0.02 is not.
        (
            [flow(0, 3e-44, 1e-20, 1)],
            "The first layer of plain-8 receives exactly 0 in float32, in 1 of 1 seeds: it underflows, for "
            "stages.0.0.conv1 has 3·10⁻⁴⁴.",
        ),
        ([flow(0, 0, 0.02, 1)], "in 1 of 1 seeds: no underflow, for stages.0.0.conv2 has 0.02."),
        ([flow(0, 0, 1e-35, 1, precision="float64")], "exactly 0 in float64, in 1 of 1 seeds: no underflow"),
        ([flow(0, 0, 1e-306, 1, precision="float64")], "exactly 0 in float64, in 1 of 1 seeds: it underflows"),
        ([flow(0, 0, 1e-40, 1), flow(0, 0, 0.5, 1)], "no underflow, for stages.0.0.conv2 has 0.5"),
        ([flow(0, 0, 1e-40, 1), flow(0, 1e-39, 1, 1), flow(1e-38, 1, 1, 1)], "in 2 of 3 seeds: it underflows"),
        ([flow(8, 1, 1, 2), flow(3, 1, 1, 0)], "The last layer of plain-8 receives exactly 0 in float32, in 1 of 2 s"),
        ([flow(8, NAN, 1, 2), flow(NAN, 1, 1, 1)], "The gradient of plain-8 is no finite number in float32, in 1 of 2"),
    ],
)
def test_zeros_and_overflows_are_said_as_they_are(flows: list[GradientFlow], said: str) -> None:
    assert said in " ".join(remarks([NetworkGradients(PLAIN, tuple(flows))]))


def test_nothing_is_remarked_where_every_size_is_above_zero() -> None:
    assert remarks([subject(PLAIN, 1e-300), subject(RESNET, 1.0)]) == []  # small is not 0


def test_every_number_decides() -> None:
    """One sentence for one set of numbers, and never the same for another."""
    sentences = {tuple(findings([subject(PLAIN, a), subject(RESNET, b)])) for a in (1e-9, 0.5, 7, 80) for b in (1, 20)}
    assert len(sentences) == 8


def test_networks_that_do_not_fit_one_sentence_have_one_each() -> None:
    long = [replace(each, name="a name of many words, which somebody gave") for each in (subject(PLAIN, 9, 1),) * 2]
    assert len(findings(long)) == 2
    assert len(findings([subject(PLAIN, 9), subject(RESNET, 1), subject(cifar(8, "projection"), 2)])) == 2
    with pytest.raises(ValueError, match="`subjects` must hold at least one network"):
        findings([])


def test_names_and_settings_are_those_of_the_specs() -> None:
    bare = replace(PLAIN, norm="none", initialisation="pytorch", activation="sigmoid")
    assert setting([bare, bare.twin()]) == "no norm, PyTorch default initialisation, sigmoid"
    assert setting([bare, PLAIN]) == ""
    assert setting([PLAIN], initialisation=False) == "BatchNorm, ReLU"
    both = [subject(RESNET, 9), subject(cifar(8, "projection"), 2)]
    assert names_of(both) == ["ResNet-8 (identity shortcuts)", "ResNet-8 (projection shortcuts)"]
    assert names_of([replace(both[0], name="mine"), both[1]]) == ["mine", "ResNet-8"]


@pytest.mark.parametrize(
    ("ratios", "guess", "said"),
    [
        ((1e-9,), "falls", "is right: the first layer of plain-8 receives 10⁻⁹ × the gradient of the last."),
        ((1e-9,), "rises", "is wrong: the first layer"),
        ((0.5, 2.0), "stays", "is right: the first layer of plain-8 receives 1.2 ×"),
        ((8.0,), "rises", "is right"),
        ((0.1, 0.2, 5.0), "falls", "is right in 2 of 3 seeds: they disagree (0.1 to 5 × the last layer)."),
    ],
)
def test_a_guess_is_judged_by_the_numbers(ratios: tuple[float, ...], guess: Guess, said: str) -> None:
    assert said in verdict(subject(PLAIN, *ratios), guess)


def test_a_guess_on_what_has_no_ratio_has_no_answer() -> None:
    assert "has no answer: the gradient of plain-8 is no finite number." in verdict(
        NetworkGradients(PLAIN, (flow(NAN, 1, 1, 1),)), "stays"
    )
    assert "is right" in verdict(NetworkGradients(PLAIN, (flow(0, 1, 1, 1),)), "falls")


def twins(plain: float, residual: float, accuracies: tuple[float, float] | None = None) -> TwinGradients:
    return TwinGradients(subject(PLAIN, plain), subject(RESNET, residual), accuracies)


def test_the_answer_follows_from_the_numbers() -> None:
    initial = [twins(8.9e-22, 1.0), twins(430, 4.1)]
    assert answer(initial, twins(0.66, 1.8, (0.3, 0.971))) == [
        "Shortcuts give the gradient a direct way back.",
        "With BatchNorm and Kaiming (He) initialisation it vanishes in plain-8 (8.9·10⁻²² × at the first layer, "
        "against 1 × in ResNet-8).",
        "With BatchNorm and Kaiming (He) initialisation it explodes at the start (430 × against 4.1 ×).",
        "After training it stays level (0.66 × against 1.8 ×).",
        "Yet the test accuracy of plain-8 is 30.0%, that of ResNet-8 97.1%: size alone is not the whole story.",
    ]
    assert conclusion(initial) == (
        "Before training, the gradient of plain-8 vanishes or explodes (8.9·10⁻²² or 430 ×); that of ResNet-8 stays "
        "level or rises (1 or 4.1 ×)."
    )
    other = answer([twins(1.0, 9.0), twins(430, 4.1)], twins(20, 1.8, (0.3, 0.9)))
    assert other[0] == "In these networks shortcuts do not keep the gradient more level."
    assert other[3] == "After training it rises (20 × against 1.8 ×)." and len(other) == 4
    assert len(answer(initial, twins(0.66, 1.8, (0.9, 0.9)))) == 4
    with pytest.raises(ValueError, match="both networks must have a gradient above 0"):
        conclusion([TwinGradients(subject(PLAIN, 1), NetworkGradients(RESNET, (flow(NAN, 1, 1, 1),)))])


SIZE = st.floats(1e-300, 1e300)
PAIR = st.tuples(SIZE, SIZE).map(lambda ratios: twins(*ratios))


@given(PAIR, PAIR, st.tuples(SIZE, SIZE), st.tuples(st.floats(0, 1), st.floats(0, 1)))
@settings(max_examples=150, deadline=None)
def test_no_sentence_of_the_answer_is_long(
    one: TwinGradients, two: TwinGradients, after: tuple[float, float], accuracies: tuple[float, float]
) -> None:
    said = [conclusion([one, two]), *answer([one, two], twins(*after, accuracies))]
    assert max(map(words, said)) <= MOST_WORDS
    direct = all(abs(math.log(r)) < abs(math.log(p)) for p, r in (one.ratios(), two.ratios()))
    assert said[1].startswith("Shortcuts give") == direct


@pytest.mark.parametrize(
    ("ratio", "trend"),
    [
        (None, "undefined"),
        (0.0, "zero"),
        (1e-300, "shrinks"),
        (0.333, "shrinks"),
        (0.334, "equal"),
        (1.0, "equal"),
        (3.0, "equal"),
        (3.01, "grows"),
        (1e9, "grows"),
    ],
)
def test_thresholds(ratio: float | None, trend: str) -> None:
    assert trend_of(ratio) == trend


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1500, "1.5·10³"),
        (999.9, "10³"),
        (994, "990"),
        (8.14, "8.1"),
        (0.21, "0.21"),
        (0.0101, "0.01"),
        (0.0099, "9.9·10⁻³"),
        (5e-7, "5·10⁻⁷"),
        (3e-44, "3·10⁻⁴⁴"),
        (0, "0"),
        (1, "1"),
        (2.94e6, "2.9·10⁶"),
    ],
)
def test_numbers_have_two_digits(value: float, words: str) -> None:
    assert number(value) == words


def test_the_verdict_on_real_networks_is_that_of_an_independent_computation() -> None:
    """Twins without norm: plain autograd with `backward`, float64 norms, and the gradient_extent of those by hand."""
    specs = [replace(cifar(14, shortcut, "none"), initialisation="pytorch") for shortcut in ("none", "identity")]
    batch = shapes.draw(16, seed=1)
    steps = list(at_initialisation(specs, batch.images, batch.labels, range(3)))
    subjects = [NetworkGradients(spec, tuple(step.flow for step in steps if step.spec == spec)) for spec in specs]
    images = torch.tensor(batch.images / 255, dtype=torch.float32)
    images = (images - images.mean((0, 2, 3), keepdim=True)) / images.std((0, 2, 3), keepdim=True)
    expected = []
    for spec in specs:
        ratios = []
        for seed in range(3):
            network = build(spec, seed).train()
            F.cross_entropy(network(images), torch.tensor(batch.labels)).backward()
            sizes = [network.get_parameter(f"{name}.weight").grad for name in ("stem.conv", "stages.2.1.conv2")]
            first, last = (size.double().norm().item() for size in sizes if size is not None)
            ratios.append(first / last)
        expected.append(float(np.median(ratios)))
        assert gradient_extent([step.flow for step in steps if step.spec == spec]).ratio == pytest.approx(
            expected[-1], rel=1e-3
        )
    said = " ".join(findings(subjects))
    assert all(f"{number(ratio)} ×" in said for ratio in expected)
    assert expected[0] < 1e-3 < 0.05 < expected[1]
    assert "in plain-14 (first block" in " ".join(findings(subjects, "blocks"))
