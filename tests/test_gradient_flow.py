"""Gradient flow against plain autograd, and against the team's reference measurements."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from explorer.architectures import ArchitectureSpec, Stage, Stem, build
from explorer.experiments.gradient_flow import (
    MEASURES,
    Mode,
    flow_on_pictures,
    gradient_flow,
    recorded_flow,
)
from explorer.presets import cifar
from explorer.training import GradientSizes
from tests.test_tracing import state_of

SPEC = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 8, 8), classes=3)


def images_and_labels(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3


@pytest.mark.parametrize("training", [True, False])
def test_sizes_are_those_of_plain_autograd_and_the_network_stays_as_it_was(training: bool) -> None:
    network = build(SPEC).train(training)
    before = state_of(network)
    images, labels = images_and_labels()
    flow = gradient_flow(network, images, labels)
    assert state_of(network) == before and flow.mode == ("training" if training else "evaluation")

    seen: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: torch.Tensor) -> None:
            output.register_hook(lambda gradient: seen.__setitem__(name, gradient))

        return hook

    for name in ("stem.conv", "stages.1.0.conv2", "stages.1.0"):
        network.get_submodule(name).register_forward_hook(keep(name))
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    expected = [network.get_submodule(name).weight.grad.norm().item() for name in flow.weight_layers]  # type: ignore
    np.testing.assert_allclose(flow.weights, expected, rtol=1e-5)
    assert flow.loss == pytest.approx(loss.item(), rel=1e-6) and flow.precision == "float32"
    assert flow.activation_layers[-1] == "stages.1.0" and len(flow.activations) == len(flow.activation_layers)
    for name, gradient in seen.items():
        size = flow.activations[flow.activation_layers.index(name)]
        assert size == pytest.approx(gradient.double().square().mean().sqrt().item(), rel=1e-5)
    assert len(seen) == 3


@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_a_shared_frozen_network_is_measured_in_either_mode_and_not_touched(mode: Mode) -> None:
    network = build(SPEC).freeze()
    before = state_of(network)
    flow = gradient_flow(network, *images_and_labels(), mode)
    assert state_of(network) == before
    apart = gradient_flow(build(SPEC).train(mode == "training"), *images_and_labels())
    np.testing.assert_array_equal(flow.weights, apart.weights)
    assert flow.mode == apart.mode == mode


def test_the_mode_makes_a_difference_and_dropout_none() -> None:
    batch = images_and_labels()
    network = build(SPEC)
    assert not np.allclose(
        gradient_flow(network, *batch, "training").weights, gradient_flow(network, *batch, "evaluation").weights
    )
    network = build(replace(SPEC, hidden=(7,), dropout=0.5))
    first, second = gradient_flow(network, *batch), gradient_flow(network, *batch)
    np.testing.assert_array_equal(first.weights, second.weights)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    np.testing.assert_array_equal(first.weights, gradient_flow(network, *batch).weights)


def test_pictures_are_normalised_as_the_network_was_trained() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8)).astype(np.uint8)
    labels = np.array([0, 2, 1, 1, 0])
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    by_hand = (pixels / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    network = build(SPEC).freeze()
    flow = flow_on_pictures(network, pixels, labels, mean, std)
    expected = gradient_flow(network, torch.tensor(by_hand, dtype=torch.float32), torch.tensor(labels))
    np.testing.assert_allclose(flow.weights, expected.weights, rtol=1e-4)
    assert (
        flow.mode == "evaluation"
        and flow_on_pictures(network, pixels, labels, mean, std, "training").mode == "training"
    )


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 8, 9), torch.tensor([0, 1]), r"`images` must be \(N, 3, 8, 8\).*received \(2, 3, 8, 9\)"),
        (torch.zeros(0, 3, 8, 8), torch.tensor([]), "at least one image"),
        (torch.zeros(2, 3, 8, 8), torch.tensor([0]), r"received \(1,\) for 2"),
        (torch.zeros(2, 3, 8, 8), torch.tensor([0, 3]), "classes from 0 to 2, received 0 to 3"),
        (torch.zeros(2, 3, 8, 8), torch.tensor([-1, 0]), "classes from 0 to 2, received -1 to 0"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_flow(build(SPEC), images, labels)


# --- along the main path ----------------------------------------------------------------------------------------------


def test_the_main_path_leaves_out_shortcuts_and_head() -> None:
    spec = replace(SPEC, shortcut="projection", hidden=(7,))
    flow = gradient_flow(build(spec), *images_and_labels())
    assert {"stages.1.0.shortcut.conv", "head.fc1", "head.fc"} < set(flow.weight_layers)
    assert "stages.1.0.shortcut.conv" in flow.activation_layers
    convolutions = ("stem.conv", *(f"stages.{stage}.0.conv{index}" for stage in (0, 1) for index in (1, 2)))
    for what, expected in {
        "weights": convolutions,
        "activations": convolutions,
        "blocks": ("stages.0.0", "stages.1.0"),
    }.items():
        layers, sizes = flow.along_depth(what)  # type: ignore[arg-type]
        assert layers == expected and len(sizes) == len(layers) and what in MEASURES
        names, all_sizes = (
            (flow.weight_layers, flow.weights) if what == "weights" else (flow.activation_layers, flow.activations)
        )
        assert [all_sizes[names.index(layer)] for layer in layers] == list(sizes)


def test_a_quantity_that_was_not_measured_is_refused() -> None:
    flow = recorded_flow(GradientSizes(("stem.conv",), (0,), ((1.0,),)), 0)
    with pytest.raises(ValueError, match='no blocks in this flow.*choose "weights"'):
        flow.along_depth("blocks")
    with pytest.raises(ValueError, match="`what` must be one of 'weights', 'activations', 'blocks', received 'bias'"):
        flow.along_depth("bias")  # type: ignore[arg-type]


# --- what a training recorded -----------------------------------------------------------------------------------------


def test_a_recorded_step_has_the_same_form() -> None:
    sizes: Any = GradientSizes(
        ("stem.conv", "stages.0.0.conv1", "stages.0.0.shortcut.conv", "stages.0.0.conv2", "head.fc"),
        (0, 1, 4),
        ((4.0, 3.0, 9.0, 2.0, 7.0), (0.0, 0.5, 9.0, 0.25, 7.0), (None, 1.0, 9.0, 5.0, 7.0)),  # type: ignore[arg-type]
    )
    first, second, third = (recorded_flow(sizes, step, "bfloat16") for step in sizes.steps)
    layers, found = first.along_depth("weights")
    assert layers == ("stem.conv", "stages.0.0.conv1", "stages.0.0.conv2") and list(found) == [4, 3, 2]
    assert second.weights[0] == 0 and np.isnan(third.weights[0])
    assert (first.loss, first.mode, first.precision) == (None, "training", "bfloat16")
    assert not first.weights.flags.writeable
    with pytest.raises(ValueError, match=r"`step` must be one that was measured \(0, 1, 4\), received 2"):
        recorded_flow(sizes, 2)


# --- the team's reference figures -------------------------------------------------------------------------------------

# First block's first convolution to last convolution, weight gradients at the first weights, batch of 64, one seed
# (NUMBERS.md). All of them come back on pictures of Gaussian noise with random labels. On drawn shapes and photographs
# those of networks without norm do not: neighbouring pixels are alike there, so their gradients add up in the first
# layers. Orders of magnitude are the claim.
BARE: dict[str, Any] = {"norm": "none", "initialisation": "pytorch"}
REFERENCE: list[tuple[int, dict[str, Any], float]] = [
    (20, {"shortcut": "none"}, 9.6),
    (56, {"shortcut": "none"}, 1.5e3),
    (110, {"shortcut": "none"}, 2.9e6),
    (20, {}, 3.0),
    (56, {}, 8.1),
    (110, {}, 20),
    (20, {"shortcut": "none", **BARE}, 5e-7),
    (20, BARE, 0.18),
    (56, BARE, 0.08),
    (20, {"shortcut": "none", "norm": "none"}, 0.3),
    (56, {"shortcut": "none", "norm": "none"}, 1.0),
]


def noise() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, 3, 32, 32, generator=generator), torch.randint(10, (64,), generator=generator)


@pytest.mark.parametrize(("depth", "changes", "expected"), REFERENCE)
def test_reference_ratios(depth: int, changes: dict[str, Any], expected: float) -> None:
    flow = gradient_flow(build(replace(cifar(depth), **changes)), *noise())
    layers, sizes = flow.along_depth("weights")
    ratio = sizes[layers.index("stages.0.0.conv1")] / sizes[-1]
    assert expected / 3 < ratio < expected * 3


@pytest.mark.parametrize(("depth", "loss"), [(20, 18), (56, 1e4), (110, 2e8)])
def test_without_norm_a_resnet_that_starts_from_he_blows_up(depth: int, loss: float) -> None:
    """The team's figures, within a factor of 10 for the seed: a sum adds the branch's energy to the shortcut's."""
    images, labels = noise()
    with torch.no_grad():
        found = F.cross_entropy(build(replace(cifar(depth), norm="none"))(images[:16]), labels[:16]).item()
    assert loss / 10 < found < loss * 10


def test_without_norm_a_deep_plain_network_hardly_receives_a_gradient_and_float64_can_tell() -> None:
    """The reference says exactly 0: the squares of these, which its norm sums, do not fit float32. The sizes do."""
    images, labels = noise()
    flow = gradient_flow(build(replace(cifar(56, "none"), **BARE)), images[:16], labels[:16])
    assert 0 < flow.weights[0] < 1e-15 < flow.weights[-1]


def test_a_gradient_can_be_exactly_0_in_float32_and_not_in_float64() -> None:
    spec = replace(cifar(110, "none", classes=3, size=8), **BARE, activation="sigmoid")
    images, labels = images_and_labels()
    single, double = (gradient_flow(build(spec).to(dtype), images, labels) for dtype in (torch.float32, torch.float64))
    assert single.weights[0] == 0 < double.weights[0] < 1e-45
    assert (single.precision, double.precision) == ("float32", "float64")
