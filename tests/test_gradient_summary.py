"""The summary against numbers worked out by hand: whole sentences, and other numbers give others."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from explorer.architectures import ArchitectureSpec, build
from explorer.datasets import shapes
from explorer.experiments.gradient_flow import GradientFlow, recorded_flow
from explorer.experiments.gradient_grid import at_initialisation
from explorer.experiments.gradient_summary import (
    NetworkGradients,
    gradient_extent,
    guidance,
    number,
    summarise,
    trend_of,
)
from explorer.presets import cifar
from explorer.training import GradientSizes

PLAIN, RESNET = cifar(8, "none"), cifar(8)
NAN = float("nan")
OPENING = "At initialisation, with BatchNorm, He initialisation and ReLU, plain-8's first convolution receives"
TAIL = "64 shapes, training mode, float32)"
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


@pytest.mark.parametrize(
    ("subjects", "sentence"),
    [
        (
            [subject(PLAIN, 1500)],
            f"{OPENING} 1.5e3 × the weight gradient of its last, so it grows toward the input (n = 1 seed, {TAIL}.",
        ),
        (
            [subject(PLAIN, 1e3, 1.5e3, 4e3), subject(RESNET, 8.0, 8.14, 9.9)],
            f"{OPENING} 1.5e3 × "
            "the weight gradient of its last (1e3 to 4e3), so it grows toward the input; ResNet-8's 8.1 × (8 to 9.9), "
            "so it grows toward the input; from last to first the gradient changes by +3.2 orders of magnitude in "
            "plain-8, by +0.9 in ResNet-8 (n = 3 seeds, 64 shapes, training mode, float32).",
        ),
        (
            [subject(PLAIN, 5e-7), subject(RESNET, 0.5)],
            f"{OPENING} 5e-7 × "
            "the weight gradient of its last, so it shrinks toward the input; ResNet-8's 0.5 ×, so first and last are "
            "about equal; from last to first the gradient changes by −6.3 orders of magnitude in plain-8, by −0.3 in "
            "ResNet-8 (n = 1 seed, 64 shapes, training mode, float32).",
        ),
        (
            [subject(PLAIN, 1.0), subject(RESNET, 2.0)],
            f"{OPENING} 1 × "
            "the weight gradient of its last, so first and last are about equal; ResNet-8's 2 ×, so first and last are "
            "about equal; these two ratios differ by no more than a factor of 3 (n = 1 seed, 64 shapes, training mode, "
            "float32).",
        ),
    ],
)
def test_a_sentence_by_hand(subjects: list[NetworkGradients], sentence: str) -> None:
    assert summarise(subjects, "64 shapes") == sentence


@pytest.mark.parametrize(
    ("flows", "said"),
    [
        # The size before the zeros is at the edge of float32, 1.2e-38 · 1e5: it underflows. 0.02 is not.
        (
            [flow(0, 3e-44, 1e-20, 1)],
            "plain-8's first convolution receives a weight gradient of exactly 0 in float32: it underflows "
            "(stages.0.0.conv1, the nearest that receives any, has 3e-44)",
        ),
        (
            [flow(0, 0, 0.02, 1)],
            "exactly 0 in float32: not by underflow, for stages.0.0.conv2, the nearest that receives any, has 0.02",
        ),
        ([flow(0, 0, 1e-35, 1, precision="float64")], "exactly 0 in float64: not by underflow"),
        ([flow(0, 0, 1e-306, 1, precision="float64")], "exactly 0 in float64: it underflows"),
        ([flow(0, 0, 1e-40, 1), flow(0, 0, 0.5, 1)], "not by underflow, for stages.0.0.conv2"),
        (
            [flow(0, 0, 1e-40, 1), flow(0, 1e-39, 1, 1), flow(1e-38, 1, 1, 1)],
            "exactly 0 in float32 in 2 of 3 seeds: it underflows",
        ),
        (
            [flow(0, 1e-40, 1, 1), flow(1e-30, 1, 1, 1), flow(1e-29, 1, 1, 1)],
            "receives 1e-30 × the weight gradient of its last (0 to 1e-29), so it shrinks toward the input in 2 of 3 "
            "seeds, but is exactly 0 in float32 in 1 of 3 seeds",
        ),
        (
            [flow(5, 1, 1, 1), flow(2, 1, 1, 1), flow(4, 1, 1, 1)],
            "(2 to 5), so it grows toward the input in 2 of 3 seeds (",
        ),
        (
            [flow(0, 0, 0, 0)],
            "plain-8's last convolution receives a weight gradient of exactly 0 in float32, and so does ",
        ),
        (
            [flow(3, 1, 1, 0)],
            "plain-8's last convolution receives a weight gradient of exactly 0 in float32, its first 3 (",
        ),
        (
            [flow(8, 1, 1, 2), flow(3, 1, 1, 0)],
            "4 × the weight gradient of its last, so it grows toward the input, and its "
            "last convolution receives exactly 0 in 1 of 2 seeds",
        ),
        ([flow(NAN, 1, 1, 1)], "plain-8's weight gradient is not a finite number in float32 ("),
        (
            [flow(8, NAN, 1, 2), flow(NAN, 1, 1, 1)],
            "4 × the weight gradient of its last, so it grows toward the input, and "
            "it is not a finite number in 1 of 2 seeds",
        ),
    ],
)
def test_zeros_and_overflows_are_said_as_they_are(flows: list[GradientFlow], said: str) -> None:
    assert said in summarise([NetworkGradients(PLAIN, tuple(flows))], "64 shapes")


def test_the_guidance_names_only_courses_that_are_there() -> None:
    falls, rises, level, zero, none = (
        gradient_extent([flow(first, 1, 1, last)]) for first, last in ((0.1, 2), (800, 2), (2, 2), (0, 2), (NAN, 2))
    )
    assert guidance(["plain-56"], [rises]) == (
        "The line of plain-56 rises toward the input: the first layers receive more than the last."
    )
    assert guidance(["a", "b", "c", "d", "e"], [falls, rises, level, zero, none]) == (
        "The lines of a and d fall toward the input: the first layers receive less than the last. "
        "The line of b rises toward the input: the first layers receive more than the last. "
        "The line of c ends within a factor of 3 of where it began: the first layers receive about as much as the last."
    )
    assert guidance(["e"], [none]) == ""
    assert guidance(list("abcde"), [falls] * 5).startswith("The lines of a, b, c and 2 more fall")
    assert guidance(["a", "a"], [falls] * 2).startswith("The line of a falls")


def test_a_plain_network_of_zeros_beside_its_twin() -> None:
    zero = NetworkGradients(PLAIN, (flow(0, 1e-44, 1, 1),))
    said = summarise([zero, subject(RESNET, 0.5)], "8 photographs")
    assert "; ResNet-8's first convolution receives 0.5 × the weight gradient of its last" in said  # it is the first to
    assert "; of the two only ResNet-8's first convolution receives any (n = 1 seed, 8 photographs," in said
    assert "of the two" not in summarise([zero, zero], "8 photographs")
    assert "underflows" not in summarise([subject(PLAIN, 1e-300)], "8 photographs")  # small is not 0


def test_every_number_decides() -> None:
    """One sentence for one set of numbers, and never the same for another."""
    sentences = {
        summarise([subject(PLAIN, a), subject(RESNET, b)], "64 shapes") for a in (1e-9, 0.5, 7, 80) for b in (1, 20)
    }
    assert len(sentences) == 8


def test_circumstances_are_those_of_the_specs_and_of_the_flows() -> None:
    bare = replace(PLAIN, norm="none", initialisation="pytorch", activation="sigmoid")
    said = summarise([subject(bare, 2), subject(bare.twin(), 2)], "64 shapes")
    assert said.startswith("At initialisation, with no norm, PyTorch initialisation and sigmoid, plain-8's first")
    said = summarise([subject(PLAIN, 9), subject(bare, 2)], "64 shapes")
    assert said.startswith(
        "At initialisation, plain-8 (BatchNorm, He initialisation, ReLU)'s first convolution receives 9"
    )
    assert "plain-8 (no norm, PyTorch initialisation, sigmoid)'s 2 ×" in said
    said = summarise([subject(RESNET, 9), subject(cifar(8, "projection"), 2)], "64 shapes")
    assert "ResNet-8 (identity shortcuts)'s first" in said and "ResNet-8 (projection shortcuts)'s 2 ×" in said
    said = summarise(
        [NetworkGradients(RESNET, (flow(1, 1, 1, 10, precision="bfloat16"),), "mine")],
        "batches of 128",
        when="at step 12 of its training",
        sample="run",
    )
    assert said == (
        "At step 12 of its training, with BatchNorm and ReLU, mine's first convolution receives 0.1 × the weight "
        "gradient of its last, so it shrinks toward the input (n = 1 run, batches of 128, training mode, bfloat16)."
    )
    with pytest.raises(ValueError, match="`subjects` must hold at least one network"):
        summarise([], "64 shapes")


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
        (1500, "1.5e3"),
        (999, "1e3"),
        (994, "990"),
        (8.14, "8.1"),
        (0.21, "0.21"),
        (0.0101, "0.01"),
        (0.0099, "9.9e-3"),
        (5e-7, "5e-7"),
        (3e-44, "3e-44"),
        (0, "0"),
        (1, "1"),
        (2.94e6, "2.9e6"),
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
    found = [float(value) for value in re.findall(r"([\d.e+-]+) ×", summarise(subjects, "16 shapes"))]
    assert found == pytest.approx(expected, rel=0.06)  # two digits
    assert expected[0] < 1e-3 < 0.05 < expected[1]
    said = summarise(subjects, "16 shapes", "blocks")
    assert "plain-14's first block receives" in said and "× the output gradient of its last" in said
