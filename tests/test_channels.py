"""Kernels by hand, the best pictures of a channel against one pass each, receptive fields against gradients."""

from collections.abc import Generator
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import nn

from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build, describe
from explorer.attribution import Share, channels, kernels, top_images
from explorer.attribution.channels import boxes_of
from explorer.figures import kernel_pictures
from explorer.images import to_input
from explorer.presets import PRESETS, cifar, imagenet_resnet
from explorer.tracing import trace

Result = TypeVar("Result")
SMALL = replace(cifar(8), input_shape=(3, 12, 16))
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def finished(work: Generator[Share[Result], None, None]) -> Result:
    *_, last = work
    assert last.result is not None
    return last.result


def photographs(count: int, size: tuple[int, int] = (12, 16)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, *size), dtype=np.uint8)


# --- kernels ---------------------------------------------------------------------------------------------------------


def test_kernels_share_one_scale_with_zero_in_its_middle():
    network = build(cifar(8)).freeze()
    weight = network.get_submodule("stem.conv").get_parameter("weight")
    weight.zero_()
    weight[2, 0, 1, 2] = -4  # the largest of all, red
    weight[5, 2, 0, 1] = 1  # blue
    found = kernels(network)
    assert found.layer == "stem.conv" and found.top == 4 and found.values.shape == (16, 3, 3, 3)
    pictures = np.array(kernel_pictures(found.values, found.top))
    assert pictures.shape == (16, 3, 3, 3) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures[2, 1, 2], [0, 128, 128])
    np.testing.assert_array_equal(pictures[5, 0, 1], [128, 128, 159])
    assert (pictures != 128).sum() == 2
    found.values[:] = 9
    assert weight.max() == 1  # a copy


def test_kernels_that_do_not_see_three_channels_are_maps():
    found = kernels(build(replace(cifar(8), input_shape=(1, 8, 8))))
    assert found.values.shape == (16, 1, 3, 3) and len(kernel_pictures(found.values, found.top)) == 16
    assert found.top == np.abs(found.values).max()


def test_kernels_of_zeros_are_grey():
    network = build(cifar(8)).freeze()
    network.get_submodule("stem.conv").get_parameter("weight").zero_()
    found = kernels(network)
    assert found.top == 0 and (np.array(kernel_pictures(found.values, found.top)) == 128).all()


def test_without_a_stem_the_first_kernels_are_the_first_blocks():
    spec = ArchitectureSpec((Stage(1, 4),), "conv", "none", stem=None, input_shape=(3, 8, 8))
    assert kernels(build(spec)).layer == "stages.0.0.conv1"


# --- the best pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["stem.conv", "stages.1.0.shortcut", "stages.2.0"])
def test_the_best_pictures_are_those_of_a_sweep_without_chunks(layer: str, monkeypatch: pytest.MonkeyPatch):
    network = build(SMALL).freeze()
    images = photographs(23)
    monkeypatch.setattr(channels, "pictures_at_once", lambda spec: 5)
    found = finished(top_images(network, images, MEAN, STD, layer, count=4))
    inputs = [to_input(image.transpose(1, 2, 0), (12, 16), MEAN, STD) for image in images]
    maps = np.stack([trace(network, image)[layer].activation for image in inputs])  # (N, C, H', W')
    peaks = maps.max(axis=(2, 3))  # (N, C)
    assert found.layer == layer and found.values.shape == found.indices.shape == (maps.shape[1], 4)
    for channel in range(maps.shape[1]):
        expected = np.sort(peaks[:, channel])[::-1][:4]
        np.testing.assert_allclose(found.values[channel], expected, atol=1e-5)
        for value, index, (row, column) in zip(
            found.values[channel], found.indices[channel], found.positions[channel], strict=True
        ):
            assert maps[index, channel, row, column] == pytest.approx(value, abs=1e-5)
        assert len(set(found.indices[channel])) == 4
    assert (found.boxes[..., :2] < found.boxes[..., 2:]).all()


def brightness_network() -> Network:
    """One channel: the red value of each pixel."""
    spec = ArchitectureSpec(
        (Stage(1, 1, kernel_size=1),), "conv", "none", norm="none", stem=None, input_shape=(3, 4, 4)
    )
    network = build(spec).freeze()
    conv = network.get_submodule("stages.0.0.conv1")
    conv.get_parameter("weight")[:] = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)
    conv.get_parameter("bias").zero_()
    return network


def test_the_best_pictures_worked_out_by_hand(monkeypatch: pytest.MonkeyPatch):
    """Red levels 51, 102, ... of 255 are 0.2, 0.4, ...; of pictures as bright as each other the first stays first."""
    images = np.zeros((7, 3, 4, 4), np.uint8)
    for index, (level, row, column) in enumerate(
        [(51, 0, 0), (204, 2, 1), (102, 3, 3), (204, 0, 3), (153, 1, 1), (204, 1, 0), (51, 0, 1)]
    ):
        images[index, 0, row, column] = level
    monkeypatch.setattr(channels, "pictures_at_once", lambda spec: 2)
    shares = list(top_images(brightness_network(), images, (0, 0, 0), (1, 1, 1), "stages.0.0.conv1", count=5))
    assert [share.share for share in shares] == [2 / 7, 4 / 7, 6 / 7, 1, 1]
    found = shares[-1].result
    assert found is not None and not any(share.result for share in shares[:-1])
    np.testing.assert_array_equal(found.indices, [[1, 3, 5, 4, 2]])
    np.testing.assert_allclose(found.values, [[0.8, 0.8, 0.8, 0.6, 0.4]], rtol=1e-6)
    np.testing.assert_array_equal(found.positions[0], [[2, 1], [0, 3], [1, 0], [1, 1], [3, 3]])
    np.testing.assert_array_equal(found.boxes[0, 0], [2, 1, 3, 2])
    all_of_them = finished(top_images(brightness_network(), images, (0, 0, 0), (1, 1, 1), "stages.0.0.conv1"))
    assert all_of_them.values.shape == (1, 7)


def test_of_pictures_as_strong_as_each_other_the_first_are_kept():
    images = np.full((100, 3, 4, 4), 51, np.uint8)
    images[70] = 52
    found = finished(top_images(brightness_network(), images, (0, 0, 0), (1, 1, 1), "stages.0.0.conv1"))
    np.testing.assert_array_equal(found.indices, [[70, 0, 1, 2, 3, 4, 5, 6, 7]])


def test_a_sweep_leaves_the_network_as_found_and_computes_nothing_behind_the_layer():
    network = build(SMALL).freeze()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.head.fc.register_forward_pre_hook(lambda module, inputs: pytest.fail("the head was asked"))
    work = top_images(network, photographs(40), MEAN, STD, "stages.0.0.conv1")
    next(work)
    assert torch.is_grad_enabled()
    work.close()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_wrong_question_says_what_is_right():
    network = build(SMALL).freeze()
    for images, layer, message in (
        (photographs(2), "stem", "`layer` must be one with feature maps, received 'stem'"),
        (photographs(2), "head.fc", "`layer` must be one with feature maps, received 'head.fc'"),
        (photographs(2, (16, 12)), "stem.conv", r"`images` must be uint8 of shape \(N, 3, 12, 16\)"),
        (photographs(2).astype(np.float32), "stem.conv", "`images` must be uint8"),
        (photographs(0), "stem.conv", "with at least one image"),
    ):
        with pytest.raises(ValueError, match=message):
            next(top_images(network, images, MEAN, STD, layer))
    with pytest.raises(ValueError, match="`network` must be in evaluation mode"):
        next(top_images(build(SMALL), photographs(2), MEAN, STD, "stem.conv"))


# --- receptive fields ------------------------------------------------------------------------------------------------

VALID = ArchitectureSpec(
    (Stage(1, 4, kernel_size=5, padding="valid"), Stage(1, 6, stride=2, padding="valid"), Stage(1, 6)),
    "conv",
    "projection",
    norm="none",
    stem=Stem(4),
    downsampling="average",
    input_shape=(3, 20, 26),
)


@pytest.mark.parametrize(
    "spec",
    [
        replace(cifar(8), input_shape=(3, 36, 44)),
        replace(cifar(8, "projection"), input_shape=(3, 36, 44)),
        replace(imagenet_resnet(18), input_shape=(3, 64, 80)),
        VALID,
        replace(VALID, downsampling="max", shortcut="identity"),
        PRESETS["lenet"].spec,
        PRESETS["separable-resnet"].spec,
        replace(PRESETS["growing-resnet"].spec, input_shape=(3, 48, 64)),
    ],
    ids=lambda spec: f"{spec.name} {spec.shortcut}",
)
def test_a_box_holds_exactly_the_pixels_that_reach_the_value(spec: ArchitectureSpec):
    """With positive weights no paths cancel, so the gradient of a value is above 0 exactly where it can depend on the
    picture. Max pooling passes only the largest on: averages stand in for it."""
    network = build(spec).freeze()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.MaxPool2d):
            parent, _, last = name.rpartition(".")
            average = nn.AvgPool2d(module.kernel_size, module.stride, module.padding)
            setattr(network.get_submodule(parent), last, average)
    names = {module: name for name, module in network.named_modules()}
    for parameter in network.parameters():
        parameter.abs_().add_(0.01)
    kept: dict[str, torch.Tensor] = {}
    x = torch.ones(1, *spec.input_shape, requires_grad=True)

    def run(module: nn.Module, *inputs: object) -> torch.Tensor:
        kept[names[module]] = output = module(*inputs)
        return output

    network(x, run)
    described = (layer for layer in describe(spec).layers if not layer.name.startswith("head"))
    for name in [layer.name for layer in described]:
        rows, columns = kept[name].shape[2:]
        for row, column in {(0, 0), (rows // 2, columns // 2), (rows - 1, columns // 3)}:
            total = kept[name][0, :, row, column].sum()
            (gradient,) = torch.autograd.grad(total, x, retain_graph=True)
            seen = np.argwhere(gradient[0].sum(0).numpy() > 0)
            expected = [*seen.min(axis=0), *(seen.max(axis=0) + 1)]
            box = boxes_of(spec, name, np.array([row, column]))
            assert box.tolist() == expected, (name, row, column)
