"""Views of a `Trace` against Captum, torchcam, the identities of the method, and numbers worked out by hand."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam, Saliency
from torch import Tensor, nn
from torchcam.methods import GradCAM

from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.attribution import (
    enlarge,
    grad_cam,
    magnitude,
    profile,
    saliency,
    share_on_object,
    top_classes,
    zero_reason,
)
from explorer.presets import cifar, imagenet_resnet
from explorer.tracing import EVERYTHING, LayerTrace, Trace, trace

RESNET_50 = imagenet_resnet(50)
SPECS = {
    "resnet-20": cifar(20),
    "plain-20": cifar(20, "none"),
    # All of its layers with an eighth of their channels: the 53 passes of Captum take seconds instead of half a minute.
    "resnet-50 at 64": replace(
        RESNET_50,
        input_shape=(3, 64, 64),
        stem=Stem(8, 7, 2, "max"),
        stages=tuple(replace(stage, channels=stage.channels // 8) for stage in RESNET_50.stages),
    ),
}


def picture(spec: ArchitectureSpec, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(spec.input_shape).astype(np.float32)


def built(spec: ArchitectureSpec) -> Network:
    """A frozen network whose norms are not the identity and whose last layer has a bias."""
    network = build(spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.ndim == 1 and tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator) / 2
                tensor.copy_(0.75 + noise if name.endswith(("weight", "var")) else noise - 0.25)
    return network.freeze()


@pytest.fixture(scope="module", params=SPECS)
def traced(request: pytest.FixtureRequest) -> tuple[Network, Trace]:
    """The predicted class, explained."""
    network = built(SPECS[request.param])
    return network, trace(network, picture(network.spec))


@pytest.fixture(scope="module", params=SPECS)
def traced_against(request: pytest.FixtureRequest) -> tuple[Network, Trace]:
    """The class that the network believes in least."""
    network = built(SPECS[request.param])
    image = picture(network.spec)
    return network, trace(network, image, int(trace(network, image).logits.argmin()))


def as_input(recorded: Trace) -> Tensor:
    return torch.tensor(recorded.image)[None].requires_grad_()


def made(activation: object, gradient: object) -> LayerTrace:
    return LayerTrace("conv", "conv", np.array(activation, np.float32), np.array(gradient, np.float32))


# --- oracles ---------------------------------------------------------------------------------------------------------


def captums_maps(network: Network, recorded: Trace, relu: bool) -> Iterator[tuple[LayerTrace, np.ndarray]]:
    copied = copy.deepcopy(network)  # Captum hooks modules
    for layer in recorded.layers:
        captum = LayerGradCam(copied, copied.get_submodule(layer.name))
        found = captum.attribute(as_input(recorded), recorded.target, relu_attributions=relu)
        yield layer, found[0, 0].numpy(force=True)


def torchcams_maps(network: Network, recorded: Trace) -> Iterator[tuple[LayerTrace, np.ndarray]]:
    copied = copy.deepcopy(network)
    with GradCAM(copied, list(recorded.names)) as extractor:
        maps = extractor(recorded.target, copied(as_input(recorded)), normalized=False)
    return ((layer, found[0].numpy()) for layer, found in zip(recorded.layers, maps, strict=True))


def test_grad_cam_equals_captums_on_every_convolution(traced: tuple[Network, Trace]):
    network, recorded = traced
    convolutions = tuple(layer for layer in recorded.layers if layer.kind == "conv")
    assert len(convolutions) in (19, 53)  # ResNet-50's 49 and its 4 projections
    for layer, expected in captums_maps(network, replace(recorded, layers=convolutions), relu=True):
        assert expected.any()
        tolerance = 1e-5 * expected.max()
        np.testing.assert_allclose(grad_cam(layer), expected, rtol=0, atol=tolerance, err_msg=layer.name)


def test_grad_cam_equals_torchcams_on_every_layer(traced: tuple[Network, Trace]):
    for layer, expected in torchcams_maps(*traced):
        tolerance = 1e-5 * expected.max()
        np.testing.assert_allclose(grad_cam(layer), expected, rtol=0, atol=tolerance, err_msg=layer.name)


def test_grad_cam_equals_torchcams_where_little_is_left(traced_against: tuple[Network, Trace]):
    """Evidence is against this class nearly everywhere; what ReLU leaves is the small rest of large terms, so the
    rounding of float32 is measured by the map before it. (Captum's own maps are then 1.4e-5 of their maximum off.)"""
    reasons = set()
    for layer, expected in torchcams_maps(*traced_against):
        tolerance = 1e-5 * np.abs(grad_cam(layer, relu=False)).max()
        found = grad_cam(layer)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=layer.name)
        reasons.add(zero_reason(layer, found))
    assert len(reasons) == 2  # some maps are zero everywhere, the others not


def test_before_its_relu_grad_cam_equals_captums(traced_against: tuple[Network, Trace]):
    network, recorded = traced_against
    some = replace(recorded, layers=recorded.layers[:: len(recorded.layers) // 9])
    for layer, expected in captums_maps(network, some, relu=False):
        assert expected.min() < 0
        tolerance = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(grad_cam(layer, relu=False), expected, rtol=0, atol=tolerance, err_msg=layer.name)


def test_saliency_equals_captums(traced: tuple[Network, Trace]):
    network, recorded = traced
    expected = (
        Saliency(copy.deepcopy(network)).attribute(as_input(recorded), recorded.target)[0].amax(0).numpy(force=True)
    )
    found = saliency(recorded)
    assert found.shape == network.spec.input_shape[1:] and found.min() >= 0 and found.any()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


# --- identities ------------------------------------------------------------------------------------------------------


def test_before_its_relu_grad_cam_of_the_last_block_sums_to_the_logit_minus_the_bias(traced: tuple[Network, Trace]):
    """Selvaraju et al. 2017, section 3.1: behind global average pooling and one linear layer, score = bias +
    sum_k w_k mean(A_k), and the mean gradient of A_k is w_k / (H · W)."""
    network, recorded = traced
    last = [layer for layer in recorded.layers if layer.kind == "block"][-1]
    total = grad_cam(last, relu=False).sum(dtype=np.float64)
    bias = network.head.fc.bias[recorded.target].item()
    assert bias != 0 and total == pytest.approx(float(recorded.logits[recorded.target]) - bias, rel=1e-5)


def test_before_its_relu_grad_cam_is_linear_in_the_score():
    """The map of the sum of two logits is the sum of their maps, on every layer of a ResNet-8."""
    network = built(cifar(8))
    image = picture(network.spec)
    first, second = trace(network, image, 1), trace(network, image, 2)
    both = copy.deepcopy(network)
    both.head.fc.weight.data[0] = network.head.fc.weight[1] + network.head.fc.weight[2]
    for layer in trace(both, image, 0).layers:
        expected = grad_cam(first[layer.name], False) + grad_cam(second[layer.name], False)
        found = grad_cam(layer, False)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=layer.name)


def test_grad_cam_worked_out_by_hand():
    """Weights (1 + 3 + 0 + 0) / 4 = 1 and (-2 - 2 - 2 - 2) / 4 = -2; map = A_0 - 2 A_1."""
    layer = made([[[1, 2], [3, 4]], [[0, 2], [1, 1]]], [[[1, 3], [0, 0]], [[-2, -2], [-2, -2]]])
    np.testing.assert_array_equal(grad_cam(layer, relu=False), [[1, -2], [1, 2]])
    np.testing.assert_array_equal(grad_cam(layer), [[1, 0], [1, 2]])
    assert grad_cam(layer).dtype == np.float32


def test_grad_cam_needs_feature_maps():
    with pytest.raises(ValueError, match=r"`conv` has no feature maps, its output is \(2,\); choose a conv"):
        grad_cam(made([1, 2], [1, 2]))


def test_a_layer_of_one_pixel_is_left_out_of_the_profile_but_has_a_cam():
    layer = made([[[2]], [[5]]], [[[3]], [[-1]]])
    np.testing.assert_array_equal(grad_cam(layer), [[1]])  # 2 · 3 - 5 · 1
    network = built(cifar(8))
    recorded = trace(network, picture(network.spec), kinds=EVERYTHING)
    assert {layer.name for layer in recorded.layers} - {column.name for column in profile(recorded)} == {
        "head.pool",
        "head.flatten",
        "head.fc",
    }


# --- zero maps -------------------------------------------------------------------------------------------------------


def dead_network(what: str) -> Network:
    """Two convolutions; made so that Grad-CAM of the second block is zero everywhere for a known reason."""
    spec = ArchitectureSpec(
        (Stage(1, 4), Stage(1, 4)), "conv", "none", norm="none", stem=Stem(4), input_shape=(3, 6, 6)
    )
    network = build(spec)
    with torch.no_grad():
        for conv in (module for module in network.modules() if isinstance(module, nn.Conv2d)):
            conv.weight.abs_()
        network.head.fc.weight.fill_(-1)
        if what == "activation":
            network.get_submodule("stages.1.0.conv1").get_parameter("weight").fill_(-1)
        elif what == "gradient":
            network.head.fc.weight.zero_()
    return network.freeze()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("activation", "Every feature map of this layer is zero"),
        ("gradient", "No gradient reaches this layer"),
        ("evidence", "Nowhere does the weighted sum support the target"),
    ],
)
def test_a_map_of_zeros_says_why(what: str, reason: str):
    network = dead_network(what)
    recorded = trace(network, np.ones(network.spec.input_shape, np.float32))
    layer = recorded["stages.1.0"]
    cam = grad_cam(layer)
    assert not cam.any()
    assert (layer.activation.any(), layer.gradient.any()) == (what != "activation", what != "gradient")
    sentence = zero_reason(layer, cam)
    assert sentence is not None and sentence.startswith(reason) and sentence.endswith(".")
    assert {column.name: column.zero_reason for column in profile(recorded)}["stages.1.0"] == sentence


def test_a_map_too_small_for_float32_says_so():
    layer = made([[[1e-20, 0]]], [[[1e-30, 1e-30]]])
    assert zero_reason(layer, grad_cam(layer)) == "Its largest value, 1.0e-50, is smaller than float32 can hold."


def test_a_map_with_anything_on_it_needs_no_reason():
    layer = made([[[0, 1]]], [[[1, 1]]])
    assert zero_reason(layer, grad_cam(layer)) is None


# --- numbers by hand -------------------------------------------------------------------------------------------------


def test_magnitude_is_the_root_mean_square():
    assert magnitude(np.array([[3, -4], [0, 0]], np.float32)) == 2.5
    assert magnitude(np.zeros((2, 3), np.float32)) == 0
    assert magnitude(np.array([2], np.float32)) == 2


@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e-25, 1e-15, 1, 1e15, 1e25, 3e38])
def test_magnitude_holds_where_a_square_does_not_fit_float32(size: float):
    """1e-25 is the gradient at the first layer of a plain-56 without norm: small, and not nothing."""
    assert magnitude(np.full((3, 5), size, np.float32)) == pytest.approx(size, rel=1e-5)


def test_a_vanishing_gradient_is_not_shown_as_none():
    network = build(replace(cifar(56, "none", norm="none"), initialisation="pytorch")).freeze()
    recorded = trace(network, picture(network.spec))
    for column in profile(recorded):
        exact = recorded[column.name].gradient.astype(np.float64)
        assert column.gradient_magnitude == pytest.approx(np.sqrt((exact**2).mean()), rel=1e-5)
        assert column.gradient_magnitude > 0
    assert profile(recorded)[0].gradient_magnitude < 1e-20


def test_saliency_is_the_largest_size_over_channels():
    gradient = np.array([[[1, -7]], [[-3, 2]], [[2, 5]]], np.float32)
    recorded = Trace(cifar(8), (), gradient, gradient, np.zeros(2, np.float32), 0)
    np.testing.assert_array_equal(saliency(recorded), [[3, 7]])


def test_enlarge_keeps_pixel_centres_in_place():
    """From 2 to 4: centres 0.25, 0.75, 1.25, 1.75 of the old pixels, whose own are 0.5 and 1.5; edges are extended."""
    large = enlarge(np.array([[0, 4]], np.float32), (1, 4))
    np.testing.assert_allclose(large, [[0, 1, 3, 4]])
    assert large.dtype == np.float32
    assert enlarge(np.zeros((2, 3)), (5, 7)).shape == (5, 7)  # height, width
    down = enlarge(np.arange(16, dtype=np.float32).reshape(4, 4), (4, 4))
    np.testing.assert_array_equal(down, np.arange(16).reshape(4, 4))


def test_enlarge_equals_torchs_bilinear():
    values = np.random.default_rng(0).random((7, 5)).astype(np.float32)
    expected = nn.functional.interpolate(torch.from_numpy(values)[None, None], (28, 35), mode="bilinear")[0, 0]
    np.testing.assert_allclose(enlarge(values, (28, 35)), expected.numpy(), atol=1e-6)


def test_share_on_object():
    mask = np.array([[True, False], [False, False]])
    assert share_on_object(np.array([[3, 1], [0, 0]], np.float32), mask) == 0.75
    assert share_on_object(np.ones((4, 4), np.float32), mask) == 0.25 == mask.mean()
    assert share_on_object(np.array([[0, 1], [1, 1]], np.float32), mask) == 0
    assert share_on_object(np.zeros((2, 2), np.float32), mask) is None


def test_top_classes_are_the_most_probable_first():
    recorded = Trace(cifar(8), (), np.zeros(0), np.zeros(0), np.log(np.array([1, 5, 2, 2], np.float32)), 0)
    found = top_classes(recorded, 3)
    assert [index for index, _ in found] == [1, 2, 3]  # of two equal ones the first
    assert [share for _, share in found] == pytest.approx([0.5, 0.2, 0.2])
    tied = Trace(cifar(8), (), np.zeros(0), np.zeros(0), np.tile(np.array([1, 2], np.float32), 500), 0)
    assert [index for index, _ in top_classes(tied)] == [1, 3, 5, 7, 9]
    assert len(top_classes(recorded)) == 4 and sum(share for _, share in top_classes(recorded)) == pytest.approx(1)


# --- the strip -------------------------------------------------------------------------------------------------------


def columns_of(recorded: Trace) -> Iterator[tuple[LayerTrace, np.ndarray]]:
    for layer in recorded.layers:
        yield layer, layer.activation.astype(np.float64)


def test_a_profile_is_its_parts(traced: tuple[Network, Trace]):
    _, recorded = traced
    strip = profile(recorded)
    assert [column.name for column in strip] == [layer.name for layer in recorded.layers]
    for column, (layer, activation) in zip(strip, columns_of(recorded), strict=True):
        assert (column.kind, column.shape) == (layer.kind, activation.shape)
        np.testing.assert_array_equal(column.cam, grad_cam(layer))
        assert column.gradient_magnitude == magnitude(layer.gradient)
        assert column.activation_magnitude == pytest.approx(np.sqrt((activation**2).mean()), rel=1e-5)
        sizes = (activation**2).mean(axis=(1, 2))
        assert sizes[column.strongest] == pytest.approx(sizes.max(), rel=1e-5)
        np.testing.assert_array_equal(column.feature_map, layer.activation[column.strongest])
        assert column.zero_reason == zero_reason(layer, column.cam) and (column.zero_reason is None) == column.cam.any()


def test_a_profile_computes_on_a_trace_and_leaves_it_alone(traced: tuple[Network, Trace]):
    _, recorded = traced
    before = [layer.activation.tobytes() + layer.gradient.tobytes() for layer in recorded.layers]
    first, second = profile(recorded), profile(recorded)
    assert [layer.activation.tobytes() + layer.gradient.tobytes() for layer in recorded.layers] == before
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.cam, other.cam)
