"""Laws of `trace`: what it records is what plain hooks see on a copy, and the network is left as it was found."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from benchmarks.threads import explain_in_threads
from explorer.architectures import ArchitectureSpec, Network, Stage, build, describe
from explorer.presets import PRESETS, cifar
from explorer.tracing import EVERYTHING, STRIP_KINDS, LayerTrace, Trace, trace

THREAD_SECONDS = 3  # `python -m benchmarks threads --seconds 60` is the long form


def picture(spec: ArchitectureSpec, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(spec.input_shape).astype(np.float32)


def shaken(spec: ArchitectureSpec, seed: int = 0) -> Network:
    """A frozen network whose norms are not the identity."""
    network = build(spec, seed)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                assert tensor is not None
                tensor.copy_(0.75 + torch.rand(tensor.shape, generator=generator) / 2)
            for tensor in (module.bias.data, module.running_mean):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) / 2 - 0.25)
    return network.freeze()


@pytest.fixture(scope="module")
def resnet() -> Network:
    return shaken(cifar(20))


def seen_by_hooks(
    network: Network, image: np.ndarray, target: int
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Outputs and their gradients by module name, and the image's gradient, by `backward` on a hooked copy."""
    outputs: dict[str, Tensor] = {}
    gradients: dict[str, Tensor] = {}
    network = copy.deepcopy(network)

    def keep(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            outputs[name] = output.detach().clone()
            output.register_hook(lambda gradient: gradients.__setitem__(name, gradient.detach().clone()))

        return hook

    for name, module in network.named_modules():
        module.register_forward_hook(keep(name))
    x = torch.tensor(image)[None].requires_grad_()
    network(x)[0, target].backward()
    assert x.grad is not None
    return outputs, gradients, x.grad


def specs() -> dict[str, ArchitectureSpec]:
    """All presets for small pictures; of the large ones a ResNet with either block, a VGG and the textbook's, small."""
    found = {name: entry.spec for name, entry in PRESETS.items() if entry.spec.input_shape == (3, 32, 32)}
    for name in ("imagenet-resnet-18", "imagenet-resnet-50", "growing-resnet", "vgg-11-bn"):
        found[f"{name} at 64"] = replace(PRESETS[name].spec, input_shape=(3, 64, 64))
    found["vgg-11-bn at 64"] = replace(found["vgg-11-bn at 64"], hidden=(30, 20))
    found["option B without norm"] = cifar(8, "projection", norm="none")
    found["unpadded with shortcuts"] = ArchitectureSpec(
        (Stage(2, 8, 2, 3, "valid"), Stage(2, 12, 2, 5, "valid")), "conv"
    )
    found["smooth"] = replace(cifar(8), activation="gelu", downsampling="average", head_pooling="flatten")
    return found


@pytest.mark.parametrize("name", specs())
def test_every_operation_of_every_network_is_recorded_as_hooks_see_it(name: str):
    network = shaken(specs()[name])
    image = picture(network.spec)
    recorded = trace(network, image, kinds=EVERYTHING)
    assert [(layer.name, layer.kind, layer.activation.shape) for layer in recorded.layers] == [
        (layer.name, layer.kind, layer.output_shape) for layer in describe(network.spec).layers
    ]
    outputs, gradients, image_gradient = seen_by_hooks(network, image, recorded.target)
    for layer in recorded.layers:
        np.testing.assert_allclose(layer.activation, outputs[layer.name][0], rtol=1e-5, atol=1e-6, err_msg=layer.name)
        size = np.abs(layer.gradient).max()
        np.testing.assert_allclose(
            layer.gradient, gradients[layer.name][0], rtol=0, atol=1e-5 * size, err_msg=layer.name
        )
    np.testing.assert_allclose(
        recorded.image_gradient, image_gradient[0], rtol=0, atol=1e-5 * np.abs(recorded.image_gradient).max()
    )
    np.testing.assert_allclose(recorded.logits, outputs["head.fc"][0], rtol=1e-5, atol=1e-6)
    strip = trace(network, image)
    assert [layer.name for layer in recorded.layers if layer.kind in STRIP_KINDS] == list(strip.names)
    for layer in strip.layers:
        np.testing.assert_array_equal(layer.activation, recorded[layer.name].activation)
    blocks = {layer.name for layer in strip.layers if layer.kind == "block"}
    whole = trace(network, image, inside_blocks=False)
    assert list(whole.names) == [
        layer for layer in strip.names if layer in blocks or not any(layer.startswith(f"{block}.") for block in blocks)
    ]
    assert len(blocks) == sum(stage.blocks for stage in network.spec.stages)
    for layer in whole.layers:
        np.testing.assert_array_equal(layer.activation, strip[layer.name].activation)
        np.testing.assert_array_equal(layer.gradient, strip[layer.name].gradient)


def state_of(network: Network) -> dict[str, Any]:
    """All that a pass could leave behind, as comparable values."""
    hooks = {
        (name, key): len(value)
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if "hooks" in key and value is not None and len(value)
    }
    return {
        "hooks": hooks,
        "tensor hooks": [tensor._backward_hooks for tensor in network.parameters()],
        "modes": [module.training for module in network.modules()],
        "gradients": [parameter.grad for parameter in network.parameters()],
        "asks": [parameter.requires_grad for parameter in network.parameters()],
        "bytes": {name: tensor.numpy(force=True).tobytes() for name, tensor in network.state_dict().items()},
        "fields": {name: sorted(vars(module)) for name, module in network.named_modules()},
        "random": torch.random.get_rng_state().tolist(),
        "grad mode": torch.is_grad_enabled(),
    }


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("kinds", [STRIP_KINDS, EVERYTHING])
def test_the_network_is_left_as_it_was_found(frozen: bool, kinds: Any):
    network = shaken(cifar(14)).requires_grad_(not frozen)
    before = state_of(network)
    assert not before["hooks"]
    trace(network, picture(network.spec), kinds=kinds)
    assert state_of(network) == before


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("broken", ["head.fc", "stages.1.0.activation1"])
def test_the_network_is_left_as_it_was_found_when_the_pass_fails(frozen: bool, broken: str):
    """In the forward pass at a layer of the wrong size; in the backward pass at one that cuts the graph."""
    network = shaken(cifar(14)).requires_grad_(not frozen)
    parent, _, name = broken.rpartition(".")
    network.get_submodule(parent).add_module(name, nn.Linear(7, 10) if name == "fc" else Detached())
    network.layers = {
        module: (name, network.layers.get(module, ("", "conv"))[1]) for name, module in network.named_modules()
    }
    network.requires_grad_(not frozen).eval()
    before = state_of(network)
    with pytest.raises(RuntimeError):
        trace(network, picture(network.spec))
    assert state_of(network) == before


def test_a_trace_is_the_same_twice_and_whatever_is_recorded(resnet: Network):
    image = picture(resnet.spec)
    first, second, every = trace(resnet, image), trace(resnet, image), trace(resnet, image, kinds=EVERYTHING)
    for layer in first.layers:
        for other in (second[layer.name], every[layer.name]):
            np.testing.assert_array_equal(layer.activation, other.activation)
            np.testing.assert_array_equal(layer.gradient, other.gradient)


def test_a_trace_ignores_the_gradient_mode_around_it(resnet: Network):
    image = picture(resnet.spec)
    with torch.no_grad():
        inside = trace(resnet, image)
    np.testing.assert_array_equal(inside.image_gradient, trace(resnet, image).image_gradient)
    assert inside.image_gradient.any()


def test_what_comes_back_is_read_only_float32_and_keeps_no_graph(resnet: Network):
    image = picture(resnet.spec)
    recorded = trace(resnet, image, kinds=EVERYTHING)
    arrays = [recorded.image, recorded.image_gradient, recorded.logits]
    arrays += [array for layer in recorded.layers for array in (layer.activation, layer.gradient)]
    for array in arrays:
        assert type(array) is np.ndarray and array.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    np.testing.assert_array_equal(recorded.image, image)
    image[0, 0, 0] = 99  # the caller's array is the caller's
    assert recorded.image[0, 0, 0] != 99


def test_the_predicted_class_is_explained_unless_another_is_asked_for(resnet: Network):
    image = picture(resnet.spec)
    recorded = trace(resnet, image)
    assert recorded.target == recorded.prediction == int(np.argmax(recorded.logits))
    targets: list[Any] = [0, 9, np.int64(4)]
    for target in targets:
        other = trace(resnet, image, target)
        assert other.target == target and type(other.target) is int and other.prediction == recorded.prediction
        fc = resnet.head.fc.weight[target].numpy()
        np.testing.assert_array_equal(trace(resnet, image, target, EVERYTHING)["head.flatten"].gradient, fc)


def test_the_gradient_is_that_of_the_logit(resnet: Network):
    """A small step along it changes the logit by step · |gradient|²; of a log-probability it would be less."""
    image = picture(resnet.spec)
    recorded = trace(resnet, image)
    slope = recorded.image_gradient.astype(np.float64)
    step = 1e-3 / np.linalg.norm(slope)
    moved = [trace(resnet, (image + sign * step * slope).astype(np.float32), recorded.target) for sign in (1, -1)]
    change = float(moved[0].logits[recorded.target] - moved[1].logits[recorded.target])
    assert change == pytest.approx(2 * step * (slope**2).sum(), rel=0.02)


WRONG: list[tuple[Callable[[Network, np.ndarray], Any], str]] = [
    (lambda network, image: trace(network, image[:, :31]), r"`image` must have the shape \(3, 32, 32\).*\(3, 31, 32\)"),
    (lambda network, image: trace(network, image[None]), r"`image` must have the shape.*received \(1, 3, 32, 32\)"),
    (lambda network, image: trace(network, image * np.float32("nan")), "`image` holds values that are not finite"),
    (lambda network, image: trace(network, image + np.float32("inf")), "`image` holds values that are not finite"),
    (lambda network, image: trace(network, image, 10), "`target` must be a class from 0 to 9, received 10"),
    (lambda network, image: trace(network, image, -1), "`target` must be a class from 0 to 9, received -1"),
    (lambda network, image: trace(network, image, 2.5), "`target` must be a class from 0 to 9, received 2.5"),  # type: ignore
    (lambda network, image: trace(network, image, "cat"), "`target` must be a class from 0 to 9, received 'cat'"),  # type: ignore
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_wrong_input_is_refused_with_what_to_change(resnet: Network, call: Any, message: str):
    before = state_of(resnet)
    with pytest.raises(ValueError, match=message):
        call(resnet, picture(resnet.spec))
    assert state_of(resnet) == before


def test_a_network_in_training_mode_is_refused_before_its_statistics_move():
    network = build(cifar(8))
    before = state_of(network)
    with pytest.raises(ValueError, match=r"`network` must be in evaluation mode.*call `freeze\(\)`"):
        trace(network, picture(network.spec))
    assert state_of(network) == before


def test_kinds_choose_what_is_kept(resnet: Network):
    image = picture(resnet.spec)
    assert {layer.kind for layer in trace(resnet, image).layers} == {"conv", "shortcut", "block"}
    assert trace(resnet, image, kinds=("block",)).names == tuple(f"stages.{s}.{b}" for s in range(3) for b in range(3))
    assert trace(resnet, image, kinds=()).names == ()
    kinds = {layer.kind for layer in trace(resnet, image, kinds=EVERYTHING).layers}
    assert kinds == {"conv", "norm", "activation", "shortcut", "sum", "block", "pool", "flatten", "linear"}


# --- laws of the residual block ---------------------------------------------------------------------------------------


def blocks(spec: ArchitectureSpec) -> list[tuple[str, str]]:
    """(block, what feeds it) in order."""
    names = [f"stages.{s}.{b}" for s, stage in enumerate(spec.stages) for b in range(stage.blocks)]
    return list(zip(names, ["stem.activation", *names], strict=False))


def test_a_sum_hands_its_gradient_to_both_sides_unchanged(resnet: Network):
    recorded = trace(resnet, picture(resnet.spec), kinds=EVERYTHING)
    for block, _ in blocks(resnet.spec):
        for side in ("norm2", "shortcut"):
            np.testing.assert_array_equal(recorded[f"{block}.{side}"].gradient, recorded[f"{block}.sum"].gradient)
        np.testing.assert_array_equal(
            recorded[f"{block}.sum"].activation,
            recorded[f"{block}.norm2"].activation + recorded[f"{block}.shortcut"].activation,
        )


def test_a_blocks_input_gets_its_gradient_through_branch_and_shortcut(resnet: Network):
    """The shortcut's own gradient is what arrives through it; through the branch it is conv1's, carried back."""
    recorded = trace(resnet, picture(resnet.spec), kinds=EVERYTHING)
    for block, source in blocks(resnet.spec):
        conv = resnet.get_submodule(f"{block}.conv1")
        assert isinstance(conv, nn.Conv2d)
        shape = recorded[source].activation.shape
        output = torch.tensor(recorded[f"{block}.conv1"].gradient)[None]
        branch = conv2d_input((1, *shape), conv.weight, output, conv.stride, conv.padding)[0].numpy()
        shortcut = recorded[f"{block}.shortcut"].gradient
        if shortcut.shape != shape:  # every second pixel, a quarter of the new channels on each side
            through = np.zeros(shape, np.float32)
            extra = len(shortcut) - shape[0]
            through[:, ::2, ::2] = shortcut[extra // 2 : extra // 2 + shape[0]]
            shortcut = through
        total = recorded[source].gradient
        np.testing.assert_allclose(total, branch + shortcut, rtol=0, atol=1e-5 * np.abs(total).max(), err_msg=block)
        assert min(np.abs(branch).max(), np.abs(shortcut).max()) > 0.01 * np.abs(total).max()


def test_a_relu_stops_the_gradient_where_its_output_is_zero(resnet: Network):
    recorded = trace(resnet, picture(resnet.spec), kinds=EVERYTHING)
    for block, _ in blocks(resnet.spec):
        after, before = recorded[block], recorded[f"{block}.sum"]
        np.testing.assert_array_equal(before.gradient, np.where(after.activation > 0, after.gradient, 0))
        np.testing.assert_array_equal(after.activation, np.maximum(before.activation, 0))


def test_global_average_pooling_spreads_the_gradient_evenly(resnet: Network):
    recorded = trace(resnet, picture(resnet.spec), kinds=EVERYTHING)
    last, pool = recorded["stages.2.2"], recorded["head.pool"]
    np.testing.assert_allclose(last.gradient, np.broadcast_to(pool.gradient / 64, last.gradient.shape), rtol=1e-6)


def test_a_convolutions_gradient_is_the_transposed_convolution_of_the_next(resnet: Network):
    recorded = trace(resnet, picture(resnet.spec), kinds=EVERYTHING)
    output = torch.tensor(recorded["stages.0.0.conv2"].gradient)[None]
    expected = F.conv_transpose2d(output, resnet.get_parameter("stages.0.0.conv2.weight"), padding=1)[0].numpy()
    found = recorded["stages.0.0.activation1"].gradient
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


# --- the value --------------------------------------------------------------------------------------------------------


def made(logits: list[float]) -> Trace:
    layer = LayerTrace("stem.conv", "conv", np.zeros((2, 3, 3), np.float32), np.zeros((2, 3, 3), np.float32))
    image = np.zeros((3, 3, 3), np.float32)
    return Trace(cifar(8), (layer,), image, image, np.array(logits, np.float32), 0)


def test_probabilities_are_the_softmax_and_do_not_overflow():
    np.testing.assert_allclose(made([0, np.log(3)]).probabilities, [0.25, 0.75], rtol=1e-6)
    np.testing.assert_array_equal(made([1000, 0, -1000]).probabilities, [1, 0, 0])
    assert made([5, 7, 7]).prediction == 1


def test_a_layer_is_asked_for_by_name():
    recorded = made([0, 1])
    assert recorded["stem.conv"] is recorded.layers[0] and recorded.names == ("stem.conv",)
    with pytest.raises(KeyError, match="no layer 'stem.norm' was recorded; there are stem.conv"):
        recorded["stem.norm"]


def test_a_trace_made_of_another_leaves_that_one_alone(resnet: Network):
    recorded = trace(resnet, picture(resnet.spec))
    names = recorded.names
    some = replace(recorded, layers=recorded.layers[5:7])
    assert some.names == names[5:7] and some[names[6]] is recorded.layers[6]
    assert recorded.names == names and recorded[names[6]] is recorded.layers[6]


@pytest.mark.parametrize(
    ("shape", "spatial"), [((4, 2, 2), True), ((4, 1, 2), True), ((4, 1, 1), False), ((4,), False)]
)
def test_feature_maps_have_at_least_two_pixels(shape: tuple[int, ...], spatial: bool):
    assert LayerTrace("a", "conv", np.zeros(shape), np.zeros(shape)).is_spatial == spatial


def test_four_threads_explain_on_one_shared_network(resnet: Network):
    before = state_of(resnet)
    result = explain_in_threads(resnet, THREAD_SECONDS, threads=4)
    assert result.errors == []
    assert result.traces >= 8 and result.worst <= 1e-5
    assert state_of(resnet) == before
