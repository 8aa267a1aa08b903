"""The grid of first weights: what is in it, what it costs, what is measured; and bands worked out by hand."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from explorer.architectures import ArchitectureSpec, Stage, Stem, build, describe
from explorer.datasets import shapes
from explorer.experiments.gradient_flow import GradientFlow, gradient_flow, recorded_flow
from explorer.experiments.gradient_grid import GradientBand, at_initialisation, band, cost, grid
from explorer.presets import cifar
from explorer.training import GradientSizes

SPEC = ArchitectureSpec((Stage(1, 4), Stage(1, 8, 2)), stem=Stem(4), input_shape=(3, 32, 32))
BATCH = shapes.draw(6, seed=0)
NAN, INFINITE = float("nan"), float("inf")


def flow(*sizes: float, precision: str = "float32") -> GradientFlow:
    """A made-up flow through a stem and one convolution after the other."""
    layers = ("stem.conv", *(f"stages.0.{index}.conv1" for index in range(len(sizes) - 1)))
    return recorded_flow(GradientSizes(layers, (0,), (sizes,)), 0, precision)


# --- the grid and its cost --------------------------------------------------------------------------------------------


def test_the_grid_holds_every_combination_once() -> None:
    specs = grid()
    assert len(specs) == len({spec.fingerprint for spec in specs}) == 5 * 3 * 2 * 2 * 3
    depths = [spec.depth for spec in specs]
    assert depths == sorted(depths) and set(depths) == {8, 20, 32, 56, 110}
    assert {(spec.shortcut, spec.norm, spec.initialisation, spec.activation) for spec in specs if spec.depth == 56} == {
        (shortcut, norm, first, activation)
        for shortcut in ("none", "identity", "projection")
        for norm in ("batch", "none")
        for first in ("he", "pytorch")
        for activation in ("relu", "tanh", "sigmoid")
    }
    one = grid([20], ["none"], ["none"], ["pytorch"], ["sigmoid"], classes=4, size=16)
    assert one == (
        replace(cifar(20, "none", "none", classes=4, size=16), initialisation="pytorch", activation="sigmoid"),
    )
    with pytest.raises(ValueError, match="`depth` must be 6n"):
        grid([9])


def test_a_pass_costs_three_times_its_forward_pass() -> None:
    """ResNet-20: 40,551,040 multiply-accumulates forward (He et al.'s network at 32 pixels, FC included)."""
    assert describe(cifar(20)).macs == 40_551_040
    found = cost([cifar(20), cifar(8)], seeds=2, pictures=10)
    assert found.macs == 2 * 3 * 10 * (40_551_040 + describe(cifar(8)).macs)
    assert found.activation_bytes == 10 * describe(cifar(20)).activation_bytes
    assert cost([], 3, 64).macs == 0


def test_the_grid_is_measured_seed_by_seed_and_can_be_stopped() -> None:
    specs = [SPEC, replace(SPEC, shortcut="none"), replace(SPEC, norm="none", activation="sigmoid")]
    steps = list(at_initialisation(specs, BATCH.images, BATCH.labels, range(2)))
    assert [(step.spec, step.seed) for step in steps] == [(spec, seed) for seed in range(2) for spec in specs]
    stopped = list(islice(at_initialisation(specs, BATCH.images, BATCH.labels, range(2)), 2))
    assert [step.seed for step in stopped] == [0, 0]
    np.testing.assert_array_equal(stopped[1].flow.weights, steps[1].flow.weights)


def test_all_networks_see_the_batch_normalised_by_itself() -> None:
    (step,) = at_initialisation([SPEC], BATCH.images, BATCH.labels, [3])
    images = torch.tensor(BATCH.images / 255)
    mean, std = images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)
    expected = gradient_flow(build(SPEC, 3), ((images - mean) / std).float(), torch.tensor(BATCH.labels), "training")
    np.testing.assert_allclose(step.flow.weights, expected.weights, rtol=1e-3)
    assert step.flow.mode == "training" and step.flow.precision == "float32"
    (precise,) = at_initialisation([SPEC], BATCH.images, BATCH.labels, [3], torch.float64)
    np.testing.assert_allclose(precise.flow.weights, step.flow.weights, rtol=1e-3)
    assert precise.flow.precision == "float64"


def test_a_batch_of_one_colour_is_no_reason_to_fail() -> None:
    (step,) = at_initialisation([SPEC], np.full((2, 3, 32, 32), 7, np.uint8), np.array([0, 1]), [0])
    assert np.isfinite(step.flow.weights).all()


# --- bands ------------------------------------------------------------------------------------------------------------


def test_a_band_by_hand() -> None:
    found = band([flow(8, 1, 2), flow(2, 3, 4), flow(5, 5, 5)])
    assert found.n == 3 and found.what == "weights" and not found.is_relative
    assert found.layers == ("stem.conv", "stages.0.0.conv1", "stages.0.1.conv1")
    assert list(found.depth) == [0, 0.5, 1]
    assert list(found.median) == [5, 3, 4] and list(found.low) == [2, 1, 2] and list(found.high) == [8, 5, 5]
    relative = found.relative()
    np.testing.assert_array_equal(relative.sizes, [[4, 0.5, 1], [0.5, 0.75, 1], [1, 1, 1]])
    assert list(relative.median) == [1, 0.75, 1] and relative.is_relative and relative.relative() is relative


def test_zeros_and_what_is_not_finite_are_kept_apart() -> None:
    found = band([flow(0, NAN, 1e-40), flow(0, INFINITE, 2e-40), flow(3e-44, NAN, 3e-40)])
    assert list(found.zeros) == [2, 0, 0] and list(found.not_finite) == [0, 3, 0]
    assert found.median[0] == 0 and found.low[0] == 0 and found.high[0] == 3e-44
    assert np.isnan([found.median[1], found.low[1], found.high[1]]).all()
    relative = found.relative()
    assert list(relative.zeros) == [2, 0, 0] and list(relative.not_finite) == [0, 3, 0]
    assert relative.sizes[2, 0] == pytest.approx(1e-4)


def test_nothing_is_relative_to_a_last_layer_of_zero() -> None:
    found = band([flow(1, 0), flow(0, 0), flow(6, 3)])
    relative = found.relative()
    assert list(found.zeros) == [1, 2] and list(relative.zeros) == [0, 0] and list(relative.not_finite) == [2, 2]
    assert list(relative.median) == [2, 1]
    silent = band([flow(0, 0)])
    assert np.isnan(silent.relative().median).all() and list(silent.median) == [0, 0]


def test_a_band_of_blocks_and_of_outputs_is_that_of_its_flows() -> None:
    steps = list(at_initialisation([SPEC], BATCH.images, BATCH.labels, range(3)))
    for what, count in (("weights", 5), ("activations", 5), ("blocks", 2)):
        found = band([step.flow for step in steps], what)  # type: ignore[arg-type]
        assert found.sizes.shape == (3, count) and found.depth[[0, -1]].tolist() == [0, 1]
        for row, step in zip(found.sizes, steps, strict=True):
            np.testing.assert_array_equal(row, step.flow.along_depth(what)[1])  # type: ignore[arg-type]
        assert not any(
            array.flags.writeable for array in (found.sizes, found.depth, found.median, found.relative().sizes)
        )
    assert list(band([flow(2.0)]).depth) == [0]


def test_flows_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one flow, received none"):
        band([])
    for other in (flow(1, 2, 3), flow(1, 2, precision="float64")):
        with pytest.raises(ValueError, match="must be of one network in one precision"):
            band([flow(1, 2), other])
    with pytest.raises(ValueError, match="no activations in this flow"):
        band([flow(1, 2)], "activations")
    assert isinstance(band([flow(1, 2)]), GradientBand)
