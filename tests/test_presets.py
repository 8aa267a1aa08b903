"""Every network that the design names is there, builds, runs, and is what its source describes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from explorer.architectures import ArchitectureSpec, Network, Stem, build, describe
from explorer.presets import CIFAR_DEPTHS, PRESETS, cifar, imagenet_resnet, preset, vgg


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {layer.name: layer.output_shape for layer in describe(PRESETS[name].spec).layers}


def convolutions(name: str) -> list[nn.Conv2d]:
    with torch.device("meta"):
        network = Network(PRESETS[name].spec)
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_every_network_that_was_asked_for_is_there():
    asked = {"lenet", "two-conv", "wide-two-conv", "growing-resnet", "separable-resnet"}
    asked |= {f"{kind}-{depth}" for kind in ("plain", "resnet") for depth in (8, 14, 20, 32, 44, 56, 110)}
    asked |= {f"imagenet-resnet-{depth}" for depth in (18, 34, 50, 101, 152)}
    asked |= {"imagenet-resnext-50", "imagenet-wide-resnet-50"}
    asked |= {f"vgg-{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "-bn")}
    assert set(PRESETS) == asked


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_builds_at_full_size_and_gives_one_logit_a_class(name: str):
    spec = preset(name).spec
    with torch.device("meta"):
        logits = Network(spec)(torch.empty(2, *spec.input_shape))
    assert logits.shape == (2, spec.classes)
    large = name.startswith(("imagenet", "vgg", "growing"))
    expected = ((3, 224, 224), 1000) if large else ((3, 32, 32), 10)
    assert (spec.input_shape, spec.classes) == expected


@pytest.mark.parametrize("name", [name for name in PRESETS if PRESETS[name].spec.input_shape == (3, 32, 32)])
def test_a_preset_for_small_pictures_runs_and_learns_from_every_weight(name: str):
    network = build(PRESETS[name].spec)
    logits = network(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (4, 10) and logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), parameter_name


def test_the_growing_resnet_runs_and_learns_from_every_weight():
    network = build(replace(PRESETS["growing-resnet"].spec, input_shape=(3, 64, 64), classes=10))
    nn.functional.cross_entropy(network(torch.randn(2, 3, 64, 64)), torch.arange(2)).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_words_for_a_person(name: str):
    entry = PRESETS[name]
    assert entry.title and entry.note.endswith(".") and ("SGD" in entry.training or "Adam" in entry.training)


def test_titles_tell_presets_apart():
    assert len({entry.title for entry in PRESETS.values()}) == len(PRESETS)


def test_an_unknown_preset_is_answered_with_the_names():
    with pytest.raises(ValueError, match="no preset 'resnet-21'; choose one of lenet, .*resnet-20.*vgg-19-bn"):
        preset("resnet-21")


# --- the paper's networks ---------------------------------------------------------------------------------------------


def test_cifar_networks_are_those_of_section_4_2():
    """He et al. 2015: {16, 32, 64} filters on {32, 16, 8} pixels, 2n layers each, no bias before a norm."""
    assert CIFAR_DEPTHS == (8, 14, 20, 32, 44, 56, 110)
    for depth in CIFAR_DEPTHS:
        layers = describe(cifar(depth)).layers
        for side, channels in ((32, 16), (16, 32), (8, 64)):
            count = sum(layer.kind == "conv" and layer.output_shape == (channels, side, side) for layer in layers)
            assert count == (depth - 2) // 3 + (side == 32)  # the first convolution beside the 2n of its stage
        assert layers[-1].output_shape == (10,) and layers[-1].parameters == 64 * 10 + 10
    assert all(conv.bias is None and conv.kernel_size == (3, 3) for conv in convolutions("resnet-20"))


def test_width_size_and_classes_of_a_cifar_network_are_free():
    spec = cifar(14, classes=7, size=64, width=24)
    assert spec.feature_shape == (96, 16, 16) and spec.classes == 7 and spec.depth == 14
    assert cifar(14, norm="none").norm == "none" and cifar(14, "none").shortcut == "none"


@pytest.mark.parametrize(
    ("depth", "nearest"),
    [(0, 8), (7, 8), (9, 8), (18, 20), (19, 20), (21, 20), (110.0, 20), (float("inf"), 20), ("20", 20), (True, 8)],
)
def test_a_depth_that_is_not_6n_plus_2_is_answered_with_the_nearest(depth: Any, nearest: int):
    with pytest.raises(ValueError, match=rf"`depth` must be 6n \+ 2 .*received {depth!r}; use {nearest}\."):
        cifar(depth)


def test_other_families_list_their_depths():
    with pytest.raises(ValueError, match="`depth` must be one of 18, 34, 50, 101, 152, received 20"):
        imagenet_resnet(20)
    with pytest.raises(ValueError, match="`depth` must be one of 11, 13, 16, 19, received 12"):
        vgg(12)


def test_resnet_50_has_the_sizes_of_table_1():
    """He et al. 2015, table 1: 112 after conv1, then 56, 28, 14, 7 and 3.8 billion multiply-adds; the stride of a
    block is in its 3×3 here, as in torchvision, which makes it 4.1."""
    described = {layer.name: layer for layer in describe(PRESETS["imagenet-resnet-50"].spec).layers}
    assert described["stem.conv"].output_shape == (64, 112, 112)
    ends = [described[f"stages.{stage}.{last}"].output_shape for stage, last in enumerate((2, 3, 5, 2))]
    assert ends == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert described["stages.1.0.conv1"].output_shape == (128, 56, 56)
    assert described["stages.1.0.conv2"].output_shape == (128, 28, 28)
    assert describe(PRESETS["imagenet-resnet-50"].spec).macs == pytest.approx(4.09e9, rel=0.001)


def test_vgg_16_has_columns_d_of_table_1():
    """Simonyan and Zisserman 2014, table 1: 64 64 / 128 128 / 256 ×3 / 512 ×3 / 512 ×3 / 4096 4096 1000."""
    layers = describe(PRESETS["vgg-16"].spec).layers
    channels = [layer.output_shape[0] for layer in layers if layer.kind in ("conv", "linear")]
    assert channels == [64, 64, 128, 128, *[256] * 3, *[512] * 6, 4096, 4096, 1000]
    assert [layer.output_shape[1] for layer in layers if layer.kind == "pool"] == [112, 56, 28, 14, 7]


# --- the textbooks' networks ------------------------------------------------------------------------------------------


def test_two_conv_networks_have_the_sizes_that_their_descriptions_give():
    two = shapes("two-conv")
    assert (two["stages.0.0.conv1"][0], two["stages.1.0.conv1"][0], two["head.fc"]) == (32, 64, (10,))
    assert two["head.flatten"] == (64 * 6 * 6,)  # 32 - 2 -> 30 -> 15 - 2 -> 13 -> 6
    wide = shapes("wide-two-conv")
    assert wide["stages.0.0.conv1"] == (64, 32, 32) and wide["stages.1.pool"] == (64, 7, 7)
    assert wide["head.flatten"] == (64 * 7 * 7,) and wide["head.fc1"] == (512,)


def test_the_growing_resnet_grows():
    spec = PRESETS["growing-resnet"].spec
    assert [stage.channels for stage in spec.stages] == [64, 128, 256, 512, 1024] and spec.shortcut == "projection"
    sizes = shapes("growing-resnet")
    assert sizes["stages.0.0.conv1"] == sizes["stages.0.0.conv2"] == (64, 112, 112)
    assert [sizes[f"stages.{index}.0"][1] for index in range(5)] == [112, 56, 28, 14, 7]
    branch = [conv.kernel_size[0] for conv in convolutions("growing-resnet")]
    assert branch == [7, 1, 3, *[1, 3, 1] * 4]  # stem; equal channels; 1×1, 3×3 and the projection, four times


def test_separable_branches_are_depthwise_then_pointwise():
    stem, *branch = convolutions("separable-resnet")
    assert stem.groups == 1
    for depthwise, pointwise in zip(branch[::2], branch[1::2], strict=True):
        assert depthwise.groups == depthwise.in_channels == depthwise.out_channels and depthwise.kernel_size == (3, 3)
        assert pointwise.groups == 1 and pointwise.kernel_size == (1, 1)
        assert pointwise.in_channels == depthwise.out_channels
    assert PRESETS["separable-resnet"].spec.shortcut == "identity"


def test_imagenet_stems_are_7_by_7_with_stride_2_and_a_pool():
    for depth in (18, 34, 50, 101, 152):
        assert imagenet_resnet(depth).stem == Stem(64, 7, 2, "max")
    assert isinstance(vgg(11), ArchitectureSpec) and vgg(11).stem is None
