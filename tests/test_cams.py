"""Class activation maps, RISE and DeepLIFT against their papers' formulas, layer by layer with autograd."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchcam.methods import LayerCAM, ScoreCAM

from explorer.architectures import ArchitectureSpec, Network, Stage, Stem
from explorer.attribution import as_map, cams, cost, grad_cam
from explorer.checkpoints import Checkpoint
from explorer.onnx_export import to_onnx
from explorer.tracing import trace
from explorer.weights_import import graphs, onnx_layout
from tests.test_methods import SMALL, TARGET, built, explained, left_as_found, picture


@pytest.fixture(scope="module", params=["identity", "none"])
def network(request: pytest.FixtureRequest) -> Network:
    return built(replace(SMALL, shortcut=request.param))


def as_graph(network: Network) -> Network:
    """The same network, written as ONNX and read again."""
    names = tuple(f"class {index}" for index in range(network.spec.classes))
    saved = Checkpoint(network, names, (0.5,) * 3, (0.25,) * 3, "test")
    read = graphs.graph_report("`a.onnx`", *onnx_layout.graph_of(to_onnx(saved))).readings[0]
    return read.network().freeze()


def layer_values(network: Network, layer: str) -> tuple[Tensor, Tensor]:
    """A (C, h, w) and d score / d A of a layer, by hooks on a copy."""
    copied = copy.deepcopy(network)
    kept: list[Tensor] = []
    copied.get_submodule(layer).register_forward_hook(lambda module, inputs, output: kept.append(output))
    score = copied(torch.tensor(picture(network.spec))[None].requires_grad_())[0, TARGET]
    (gradient,) = torch.autograd.grad(score, kept[0])
    return kept[0][0].detach().double(), gradient[0].double()


def by_formula(network: Network, method: str, layer: str) -> Tensor:
    """The map (h, w) of a layer, written down from the paper, channel by channel and place by place."""
    activation, gradient = layer_values(network, layer)
    height, width = activation.shape[1:]
    total = torch.zeros(height, width, dtype=torch.float64)
    if method == "grad_cam_pp":
        for a, g in zip(activation, gradient, strict=True):
            weight = sum(
                (g[i, j] ** 2 / (2 * g[i, j] ** 2 + (a * g[i, j] ** 3).sum())) * g[i, j].clamp(min=0)
                for i in range(height)
                for j in range(width)
                if g[i, j] != 0
            )
            total += weight * a
    elif method == "layer_cam":
        for a, g in zip(activation, gradient, strict=True):
            total += g.clamp(min=0) * a
    else:  # the principal component, by power iteration
        pixels = activation.flatten(1).T
        vector = torch.ones(len(activation), dtype=torch.float64)
        for _ in range(2000):
            vector = pixels.T @ (pixels @ vector)
            vector = vector / vector.norm()
        total = (pixels @ vector).reshape(height, width)
        total = total if total.sum() > 0 else -total
    return total.clamp(min=0)


def enlarged(values: Tensor, size: tuple[int, ...]) -> np.ndarray:
    large: Tensor = nn.functional.interpolate(values[None, None], size, mode="bilinear", align_corners=False)
    return large[0, 0].numpy()


@pytest.mark.parametrize("method", ["grad_cam_pp", "layer_cam", "eigen_cam"])
@pytest.mark.parametrize("layer", ["stages.1.0.conv1", "stages.2.0"])  # of both signs, and behind ReLU
def test_a_class_activation_map_equals_its_formula(network: Network, method: str, layer: str):
    before = left_as_found(network)
    found = explained(network, method, layer=layer)
    expected = enlarged(by_formula(network, method, layer), SMALL.input_shape[1:])
    assert found.values.shape == (1, 24, 32) and expected.max() > 0
    np.testing.assert_allclose(as_map(found), expected, rtol=0, atol=2e-5 * expected.max())
    assert left_as_found(network) == before


@pytest.mark.parametrize("layer", ["stem.conv", "stages.2.0"])
def test_score_cam_equals_its_algorithm(network: Network, layer: str):
    """Wang et al. 2020, algorithm 1, with the score of the picture without content, which cancels out."""
    activation, _ = layer_values(network, layer)
    x = torch.tensor(picture(SMALL))
    size = SMALL.input_shape[1:]
    with torch.no_grad():
        nothing = network(torch.zeros_like(x)[None])[0, TARGET]
        scores = []
        for a in activation:
            mask = torch.tensor(enlarged(a, size))
            low, high = mask.min(), mask.max()
            mask = (mask - low) / (high - low) if high > low else torch.zeros_like(mask)
            scores.append(network((x * mask).float()[None])[0, TARGET] - nothing)
    weights = torch.stack(scores).double().softmax(0)
    expected = enlarged((weights[:, None, None] * activation).sum(0).clamp(min=0), size)
    found = as_map(explained(network, "score_cam", layer=layer))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.max())


def test_score_cam_and_layer_cam_equal_torchcams(network: Network):
    """At the stem, whose maps have the size of the picture: torchcam scales before it enlarges."""
    x = torch.tensor(picture(SMALL))[None].requires_grad_()
    for method, theirs in (("layer_cam", LayerCAM), ("score_cam", ScoreCAM)):
        copied = copy.deepcopy(network)
        with theirs(copied, "stem.conv", input_shape=SMALL.input_shape) as extractor:
            (expected,) = extractor(TARGET, copied(x), normalized=False)
        found = as_map(explained(network, method, layer="stem.conv"))
        tolerance = 1e-4 * float(expected.max())
        np.testing.assert_allclose(found, expected[0].detach().numpy(), rtol=0, atol=tolerance, err_msg=method)


def test_rise_is_the_mean_of_its_masks_weighed_by_the_probability(network: Network):
    """Petsiuk et al. 2018, equation 6, from the masks that the seed draws, one pass each."""
    draw = np.random.default_rng(0)
    x = torch.tensor(picture(SMALL))
    total = np.zeros(SMALL.input_shape[1:])
    for _ in range(40):
        (mask,) = cams.random_masks(draw, 1, 4, 0.3, SMALL.input_shape[1:])
        with torch.no_grad():
            share = network((x * torch.tensor(mask))[None]).double().softmax(1)[0, TARGET].item()
        total += share * mask / (40 * 0.3)
    found = as_map(explained(network, "rise", masks=40, cells=4, kept=0.3))
    np.testing.assert_allclose(found, total, rtol=1e-5)


def test_the_masks_of_rise_keep_their_share_and_move():
    masks = cams.random_masks(np.random.default_rng(1), 3000, 7, 0.4, (24, 32))
    assert masks.shape == (3000, 24, 32) and masks.min() >= 0 and masks.max() <= 1
    # Each pixel is a mean of cells that are 1 with the probability 0.4: within 5 standard errors.
    np.testing.assert_allclose(masks.mean(axis=0), 0.4, atol=5 * 0.49 / np.sqrt(3000))
    assert len({mask.tobytes() for mask in masks}) > 2500


def test_small_gradients_lose_no_digits_in_grad_cam_plus_plus():
    """Without norm a plain network has gradients of 1e-25, whose cubes float32 cannot hold; weights are as 1 : 2."""
    activation = np.array([[[1, 0], [0, 0]], [[0, 1], [0, 0]]], np.float32)
    gradient = np.full((2, 2, 2), 1e-25, np.float32) * np.array([1, 2], np.float32)[:, None, None]
    found = cams.grad_cam_plus_plus(activation, gradient)
    assert found[0, 1] == pytest.approx(2 * found[0, 0], rel=1e-5) and found[0, 0] == pytest.approx(2e-25, rel=1e-5)
    assert not cams.grad_cam_plus_plus(activation, np.zeros_like(gradient)).any()


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_deep_lift_says_for_which_activation_it_has_no_rule(activation: Any):
    spec = replace(SMALL, activation=activation)
    with pytest.raises(ValueError, match=f"DeepLIFT has no rule for {spec.activation_name}, which .* has; choose"):
        cost("deep_lift", spec)


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "tanh", "sigmoid"])
def test_deep_lift_accounts_for_the_whole_difference(activation: Any):
    found = explained(built(replace(SMALL, activation=activation)), "deep_lift", baseline="blur")
    assert found.delta is not None and found.difference is not None
    assert abs(found.delta) < 1e-4 * max(1, abs(found.difference))


def test_deep_lift_of_an_onnx_network_is_that_of_the_same_network_here():
    """With max pooling, which is a function there: Captum's rule needs it as a module."""
    stem = Stem(4, 3, 1, "max")
    spec = ArchitectureSpec((Stage(1, 4), Stage(1, 8, 2)), stem=stem, input_shape=(3, 16, 16), classes=5)
    ours = built(spec)
    theirs = as_graph(ours)
    assert any(node.operator == "MaxPool" for node in theirs.spec.nodes)  # type: ignore[attr-defined]
    expected, found = (explained(each, "deep_lift").values for each in (ours, theirs))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_positive_part_of_a_signed_grad_cam_is_grad_cam(network: Network):
    recorded = trace(network, picture(SMALL), TARGET)
    signs = set()
    for layer in recorded.layers:
        signed = grad_cam(layer, relu=False)
        np.testing.assert_array_equal(np.maximum(signed, 0), grad_cam(layer))
        signs |= {*np.sign(signed).ravel()}
    assert {-1.0, 1.0} <= signs
