"""Laws of `ArchitectureSpec`, `build` and `describe`; torchvision and torch's own counters are the oracles.

One file for the one room: the laws of a spec, of its network and of its description hold one another.
"""

import json
import math
from dataclasses import asdict, fields, replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from explorer.architectures import ArchitectureSpec, Network, Recorder, Stage, Stem, build, describe
from explorer.architectures.spec import Activation
from explorer.presets import PRESETS, cifar, imagenet_resnet, vgg

TEXTBOOKS = ("lenet", "two-conv", "wide-two-conv", "growing-resnet", "separable-resnet")
EVERY_CIFAR_DEPTH = range(8, 111, 6)

BASE = ArchitectureSpec(stages=(Stage(1, 8), Stage(2, 16, 2)), stem=Stem(8))
CHANGES: dict[str, Any] = {
    "stages": (Stage(1, 8), Stage(2, 20, 2)),
    "block": "bottleneck",
    "shortcut": "projection",
    "norm": "none",
    "activation": "gelu",
    "initialisation": "pytorch",
    "stem": None,
    "downsampling": "max",
    "head_pooling": "flatten",
    "hidden": (5,),
    "dropout": 0.5,
    "bias_before_norm": True,
    "input_shape": (3, 32, 33),
    "classes": 11,
}


def small(name: str) -> ArchitectureSpec:
    """The preset at a size that runs in a moment: 64 pixels and 10 classes for those made for ImageNet."""
    spec = PRESETS[name].spec
    if spec.input_shape[1] <= 32:
        return spec
    spec = replace(spec, input_shape=(3, 64, 64), classes=10)
    return replace(spec, hidden=(32, 32)) if spec.hidden else spec


def on_meta(spec: ArchitectureSpec) -> Network:
    with torch.device("meta"):
        return Network(spec)


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def equal_weights(first: Network, second: Network) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def shake(network: Network) -> Network:
    """Every parameter and running statistic off its first value, so that a layer that is left out is noticed."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.ndim == 1 and tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(0.5 + noise if name.endswith(("weight", "var")) else noise - 0.5)
    return network.eval()


# --- the value -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [*(preset.spec for preset in PRESETS.values()), BASE], ids=[*PRESETS, "base"])
def test_a_spec_survives_json(spec: ArchitectureSpec):
    again = ArchitectureSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec and again.fingerprint == spec.fingerprint


def test_newer_fields_stand_in_a_spec_only_where_they_say_something():
    """So a network of before has the fingerprint and the file of before."""
    assert cifar(20).fingerprint == "c98feed9543b7efd"
    assert not {"groups", "one_logit"} & set(cifar(20).to_dict()) and "inner" not in cifar(20).to_dict()["stages"][0]
    grouped = imagenet_resnet(50, groups=32, group_width=4).to_dict()
    assert grouped["groups"] == 32 and [stage["inner"] for stage in grouped["stages"]] == [128, 256, 512, 1024]


def test_left_out_fields_of_a_spec_have_their_defaults():
    assert ArchitectureSpec.from_dict({"stages": [{"blocks": 1, "channels": 8}]}) == ArchitectureSpec((Stage(1, 8),))


def test_every_field_decides_the_fingerprint():
    later = {"groups", "one_logit", "preactivation", "head_norm"}
    later |= {"shortcut_gain", "branch_start", "stochastic_depth"}
    assert {*CHANGES, *later} == {field.name for field in fields(ArchitectureSpec)}
    specs = [BASE, *(changed(**{name: value}) for name, value in CHANGES.items())]
    specs += [
        changed(preactivation=True),
        changed(preactivation=True, head_norm=False),
        changed(block="bottleneck", groups=2),
        changed(classes=2),
        changed(classes=2, one_logit=True),
        changed(shortcut_gain=0.5),
        changed(branch_start="gain"),
        changed(branch_start="gamma"),
        changed(stochastic_depth=0.5),
    ]
    specs.append(changed(block="bottleneck", stages=(replace(BASE.stages[0], inner=4), BASE.stages[1])))
    first, second = BASE.stages
    for other in (Stage(2, 8), Stage(1, 9), Stage(1, 8, 2), Stage(1, 8, kernel_size=5)):
        specs.append(changed(stages=(other, second)))
    for other_stem in (Stem(7), Stem(8, 5), Stem(8, stride=2), Stem(8, pooling="max")):
        specs.append(changed(stem=other_stem))
    specs += [changed(stages=(replace(first, shortcut=kind), second)) for kind in ("none", "projection")]
    for padding in ("same", "valid"):
        specs.append(changed(block="conv", stages=(replace(first, padding=padding), second)))
    assert len({spec.fingerprint for spec in specs}) == len(specs)
    assert all(len(spec.fingerprint) == 16 and int(spec.fingerprint, 16) >= 0 for spec in specs)


def test_no_two_presets_are_one_network():
    assert len({preset.spec.fingerprint for preset in PRESETS.values()}) == len(PRESETS)


def changed(**values: Any) -> ArchitectureSpec:
    return replace(BASE, **values)


stage: Any = Stage  # the wrong types below are meant
stem: Any = Stem

IMPOSSIBLE: list[tuple[Any, str]] = [
    (lambda: stage(1, 8, inner=0), r"`stages.inner` must be a whole number from 1 to \d+, received 0"),
    (lambda: changed(groups=2), "`groups` and `inner` are for blocks of the kind \"bottleneck\".*received.*'basic'"),
    (lambda: changed(block="bottleneck", groups=3), "`groups` must divide.*received 3 groups and 2 channels"),
    (lambda: changed(block="conv", preactivation=True), "`preactivation` is for blocks.*received `block` 'conv'"),
    (lambda: changed(one_logit=True), "`one_logit` is for two classes, received `classes` 10; use 2"),
    (lambda: stage(0, 8), r"`stages.blocks` must be a whole number from 1 to \d+, received 0"),
    (lambda: stage(True, 8), r"`stages.blocks` must be a whole number.*received True"),
    (lambda: stage(10**9, 8), r"`stages.blocks` must be a whole number from 1 to \d+, received 1000000000"),
    (lambda: stage(1, 1.5), r"`stages.channels` must be a whole number from 1 to \d+, received 1.5"),
    (lambda: stage(1, 8, stride=0), r"`stages.stride` must be a whole number from 1 to \d+, received 0"),
    (lambda: stage(1, 8, kernel_size=4), r"`stages.kernel_size` must be odd.*received 4; use 5"),
    (lambda: stage(1, 8, padding="full"), r"`stages.padding` must be one of 'same', 'valid', received 'full'"),
    (lambda: stem(-1), r"`stem.channels` must be a whole number from 1 to \d+, received -1"),
    (lambda: stem(8, 2), r"`stem.kernel_size` must be odd.*received 2; use 3"),
    (lambda: stem(8, stride=9), r"`stem.stride` must be a whole number from 1 to 8, received 9"),
    (lambda: stem(8, pooling="average"), r"`stem.pooling` must be one of 'none', 'max', received 'average'"),
    (lambda: ArchitectureSpec(()), r"`stages` must hold 1 to \d+ stages, received 0"),
    (lambda: ArchitectureSpec((Stage(1, 8),) * 13), r"`stages` must hold 1 to 12 stages, received 13"),
    (lambda: changed(stages=[Stage(1, 8)]), r"`stages` must be a tuple of Stage"),
    (lambda: changed(block="dense"), r"`block` must be one of 'conv', 'basic'.*received 'dense'"),
    (
        lambda: changed(shortcut=None),
        r"`shortcut` must be one of 'none', 'identity', 'projection', received None",
    ),
    (lambda: changed(norm="layer"), r"`norm` must be one of 'batch', 'none', received 'layer'"),
    (lambda: changed(activation="swish"), r"`activation` must be one of 'relu'.*received 'swish'"),
    (lambda: changed(initialisation=["he"]), r"`initialisation` must be one of 'he', 'pytorch', received"),
    (lambda: changed(downsampling="min"), r"`downsampling` must be one of 'conv', 'max', 'average'"),
    (lambda: changed(head_pooling="max"), r"`head_pooling` must be one of 'average', 'flatten'"),
    (lambda: changed(stem=8), r"`stem` must be a Stem or None, received 8"),
    (lambda: changed(hidden=[5]), r"`hidden` must be a tuple of at most 8 layer sizes"),
    (lambda: changed(hidden=(5, 0)), r"`hidden` must be a whole number from 1 to \d+, received 0"),
    (lambda: changed(dropout=1.0), r"`dropout` must be a share from 0 up to, not including, 1, received 1.0"),
    (lambda: changed(dropout=float("nan")), r"`dropout` must be a share.*received nan"),
    (lambda: changed(bias_before_norm=1), r"`bias_before_norm` must be true or false, received 1"),
    (lambda: changed(input_shape=(3, 32)), r"`input_shape` must be \(channels, height, width\)"),
    (lambda: changed(input_shape=(3, 0, 32)), r"`input_shape\[1\]` must be a whole number from 1"),
    (lambda: changed(classes=0), r"`classes` must be a whole number from 1 to \d+, received 0"),
    (
        lambda: changed(block="bottleneck", stages=(Stage(1, 18),)),
        r"`channels` divisible by 4, received 18 in stage 0; use 20",
    ),
    (
        lambda: changed(stages=(Stage(1, 8, padding="valid"),)),
        r"`padding` \"valid\" works with blocks of a single convolution only.*use padding \"same\"",
    ),
    (
        lambda: changed(stages=(Stage(1, 8), Stage(1, 4))),
        r"identity shortcut cannot reduce channels, received 8 before and 4 in stage 1; use shortcut \"projection\"",
    ),
    (lambda: changed(stem=None, stages=(Stage(1, 2),)), r"cannot reduce channels, received 3 before and 2"),
    (
        lambda: changed(block="conv", input_shape=(3, 5, 40), stages=(Stage(3, 8, padding="valid"),)),
        r"nothing is left of a 5×40 image after stage 0; use a larger `input_shape`, fewer strides",
    ),
    (
        lambda: changed(downsampling="max", input_shape=(3, 4, 4), stages=(Stage(1, 8, 2),) * 3),
        r"nothing is left of a 4×4 image after stage 2",
    ),
]


@pytest.mark.parametrize(("make", "message"), IMPOSSIBLE, ids=[message[:40] for _, message in IMPOSSIBLE])
def test_an_impossible_spec_says_which_field_and_what_to_change(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "a spec must be a JSON object, received list"),
        ({}, "incomplete.*'stages'"),
        ({"stages": 3}, "incomplete or has a field of the wrong type"),
        ({"stages": [3]}, "incomplete or has a field of the wrong type"),
        ({"stages": [{"blocks": 1}]}, "incomplete.*channels"),
        ({"stages": [{"blocks": 1, "channels": 8, "depth": 2}]}, "wrong type.*depth"),
        ({"stages": [{"blocks": 1, "channels": 8}], "stem": 3}, "incomplete or has a field of the wrong type"),
        ({"stages": [{"blocks": 1, "channels": 8}], "hidden": 3}, "incomplete or has a field of the wrong type"),
        ({"stages": [{"blocks": 1, "channels": 8}], "skip": True}, "has no field `skip`"),
        ({"stages": [{"blocks": 1, "channels": 8}], "input_shape": [3, "x", 2]}, r"`input_shape\[1\]`.*'x'"),
    ],
)
def test_json_that_is_no_spec_is_refused(values: Any, message: str):
    with pytest.raises(ValueError, match=message):
        ArchitectureSpec.from_dict(values)


def test_depth_is_counted_as_in_the_papers():
    for name, preset in PRESETS.items():
        last = name.removesuffix("-bn").split("-")[-1]
        if last.isdigit():
            assert preset.spec.depth == int(last), name
    assert [PRESETS[name].spec.depth for name in TEXTBOOKS] == [5, 3, 4, 12, 20]
    assert cifar(1202).depth == 1202


def test_names_say_what_people_call_the_networks():
    assert (cifar(20).name, cifar(56, "none").name, imagenet_resnet(50).name) == ("ResNet-20", "plain-56", "ResNet-50")


# --- twins -----------------------------------------------------------------------------------------------------------


def twin_specs() -> dict[str, ArchitectureSpec]:
    specs = {f"plain-{depth}": cifar(depth, "none") for depth in EVERY_CIFAR_DEPTH}
    specs |= {name: PRESETS[name].spec for name in TEXTBOOKS}
    return specs | {"vgg-11-bn": vgg(11, "batch"), "no norm": cifar(20, "none", norm="none")}


@pytest.mark.parametrize("name", twin_specs())
def test_twins_differ_in_the_shortcut_and_share_every_parameter(name: str):
    spec = replace(twin_specs()[name], shortcut="none")
    twin = spec.twin()
    assert (spec.shortcut, twin.shortcut) == ("none", "identity")
    assert twin == replace(spec, shortcut="identity") and twin.twin() == spec
    assert spec.depth == twin.depth and spec.fingerprint != twin.fingerprint
    plain, residual = on_meta(spec), on_meta(twin)
    assert [(key, value.shape) for key, value in plain.state_dict().items()] == [
        (key, value.shape) for key, value in residual.state_dict().items()
    ]
    shortcuts = [name for name, kind in residual.layers.values() if kind == "shortcut"]
    assert len(shortcuts) == sum(stage.blocks for stage in spec.stages)


def test_every_depth_from_8_to_110_builds_and_runs_with_its_twins_weights():
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for depth in EVERY_CIFAR_DEPTH:
        plain, residual = build(cifar(depth, "none"), seed=3).eval(), build(cifar(depth), seed=3).eval()
        assert equal_weights(plain, residual)
        with torch.no_grad():
            first, second = plain(image), residual(image)
        assert first.shape == second.shape == (1, 10)
        assert first.isfinite().all() and second.isfinite().all() and not torch.allclose(first, second)


@pytest.mark.parametrize("name", ["lenet", "two-conv", "wide-two-conv", "separable-resnet"])
def test_textbook_twins_start_from_equal_weights(name: str):
    spec = replace(PRESETS[name].spec, shortcut="none")
    assert equal_weights(build(spec, seed=1), build(spec.twin(), seed=1))


def test_option_b_shares_all_weights_that_option_a_has():
    a, b = build(cifar(20), seed=5).state_dict(), build(cifar(20, "projection"), seed=5).state_dict()
    extra = set(b) - set(a)
    assert set(a) < set(b) and all(".shortcut." in name for name in extra) and len(extra) == 2 * 6
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_plain_network_that_reduces_channels_has_no_twin_and_says_why():
    with pytest.raises(ValueError, match="identity shortcut cannot reduce channels"):
        changed(shortcut="none", stages=(Stage(1, 8), Stage(1, 4))).twin()


def test_the_seed_decides_the_first_weights():
    assert equal_weights(build(cifar(8), seed=2), build(cifar(8), seed=2))
    first, other = build(cifar(8), seed=2), build(cifar(8), seed=3)
    for (name, module), twin in zip(first.named_modules(), other.modules(), strict=True):
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert isinstance(twin, nn.Conv2d | nn.Linear)
            assert not torch.equal(module.weight, twin.weight), name
    state = torch.random.get_rng_state()
    build(cifar(8), seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's random numbers move


def test_layers_of_equal_shape_do_not_share_their_weights():
    weights = [module.weight for module in build(cifar(20)).modules() if isinstance(module, nn.Conv2d)]
    assert len({weight.detach().numpy().tobytes() for weight in weights}) == len(weights) == 19


@pytest.mark.parametrize(("initialisation", "variance"), [("he", 2.0), ("pytorch", 1 / 3)])
def test_first_weights_have_the_published_variance(initialisation: Any, variance: float):
    """He et al. 2015b: 2 / fan_in. U(-b, b) with b = 1 / sqrt(fan_in) has the variance b² / 3."""
    spec = replace(cifar(8, norm="none", width=64), initialisation=initialisation)
    for name, module in build(spec).named_modules():
        if isinstance(module, nn.Conv2d) and name != "stem.conv":
            weight = module.weight.detach()
            fan_in = module.in_channels * 9
            assert weight.var().item() * fan_in == pytest.approx(variance, rel=0.05), name
            assert weight.mean().item() * fan_in**0.5 == pytest.approx(0, abs=0.05), name
            assert module.bias is not None and module.bias.any() == (initialisation == "pytorch")
            assert initialisation == "he" or weight.abs().max() <= fan_in**-0.5


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_he_means_the_same_variance_whatever_the_activation(activation: Any):
    relu = build(cifar(8, norm="none"), seed=4).state_dict()
    other = build(replace(cifar(8, norm="none"), activation=activation), seed=4).state_dict()
    assert relu.keys() == other.keys() and all(torch.equal(relu[name], other[name]) for name in relu)


ACTIVATIONS: dict[str, Any] = {  # by their formulas, of a float64 x
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation_is_its_formula_after_stem_branch_and_sum(activation: Any):
    network = build(replace(BASE, activation=activation)).eval()
    recorder = Recorder(network)
    with torch.no_grad():
        network(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)), recorder)
    for before, after in {
        "stem.norm": "stem.activation",
        "stages.0.0.norm1": "stages.0.0.activation1",
        "stages.0.0.sum": "stages.0.0",
    }.items():
        x = recorder.outputs[before].double().numpy()
        assert x.min() < -1 and x.max() > 1
        np.testing.assert_allclose(recorder.outputs[after], ACTIVATIONS[activation](x), rtol=1e-5, atol=5e-6)
    described = [layer.kind for layer in describe(network.spec).layers]
    assert described == [layer.kind for layer in describe(BASE).layers]


def test_build_leaves_nothing_uninitialised():
    """`to_empty` hands out whatever lies in memory; 12 numbers of every kind of tensor, by hand."""
    spec = ArchitectureSpec((Stage(1, 8, 2),), stem=Stem(4), shortcut="projection", hidden=(6,), bias_before_norm=True)
    for name, tensor in build(spec).state_dict().items():
        kind = name.split(".")[-1]
        if kind in ("running_mean", "num_batches_tracked", "bias"):
            assert not tensor.any(), name
        elif "norm" in name:
            assert (tensor == 1).all(), name
        else:
            assert 0 < tensor.abs().max() < 10, name


# --- published counts and torchvision's networks ----------------------------------------------------------------------


def test_resnet_20_has_the_published_parameters():
    """272,474 is the count of option B. It is often quoted for option A, which has 269,722 (the weights published by
    akamaster/pytorch_resnet_cifar10 are that many): the difference is the two projections with their norms."""
    assert describe(cifar(20)).parameters == describe(cifar(20, "none")).parameters == 269_722
    assert describe(cifar(20, "projection")).parameters == 272_474
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert projections == 272_474 - 269_722 == 2752


def test_cifar_networks_have_the_sizes_of_table_6():
    """He et al. 2015, table 6, in millions."""
    for depth, millions in {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}.items():
        count = parameter_count(on_meta(cifar(depth))) / 1e6
        assert count == pytest.approx(millions, abs=0.05 if depth > 100 else 0.006)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_imagenet_resnets_have_torchvisions_parameters(depth: int):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"resnet{depth}", weights=None)
    ours = on_meta(imagenet_resnet(depth))
    assert describe(ours.spec).parameters == parameter_count(theirs) == parameter_count(ours)
    assert sorted(p.shape for p in ours.parameters()) == sorted(p.shape for p in theirs.parameters())


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("resnext50_32x4d", {"groups": 32, "group_width": 4}, 25_028_904),
        ("wide_resnet50_2", {"group_width": 128}, 68_883_240),
    ],
)
def test_groups_and_inner_widths_have_the_published_parameters(name: str, options: dict[str, int], count: int):
    ours = on_meta(imagenet_resnet(50, **options))
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None)
    assert describe(ours.spec).parameters == count
    assert sorted(p.shape for p in ours.parameters()) == sorted(p.shape for p in theirs.parameters())


def test_one_logit_is_a_network_of_two_classes():
    """Their logits are -z and z, and the sigmoid of z is the probability of the second."""
    spec = replace(cifar(8), classes=2, one_logit=True)
    network = shake(build(spec))
    assert describe(spec).parameters == parameter_count(network) and network.head.fc.out_features == 1
    logits = network(torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (3, 2) and torch.equal(logits[:, 0], -logits[:, 1])
    torch.testing.assert_close((logits / spec.temperature).softmax(1)[:, 1], logits[:, 1].sigmoid())


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_vggs_have_torchvisions_parameters(depth: int, norm: Any):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"vgg{depth}{'_bn' if norm == 'batch' else ''}", weights=None)
    ours = on_meta(vgg(depth, norm))
    assert describe(ours.spec).parameters == parameter_count(theirs)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]


def torchvisions_name(name: str) -> str:
    """`stages.1.0.shortcut.norm.bias` -> `layer2.0.downsample.1.bias`."""
    parts = name.replace("norm", "bn").split(".")
    if parts[0] == "stem":
        return ".".join([parts[1] + "1", *parts[2:]])
    if parts[0] == "head":
        return ".".join(parts[1:])
    parts = [f"layer{int(parts[1]) + 1}", *parts[2:]]
    return ".".join(parts).replace("shortcut.conv", "downsample.0").replace("shortcut.bn", "downsample.1")


@pytest.mark.parametrize("depth", [18, 50])
def test_imagenet_resnets_compute_what_torchvisions_do(depth: int):
    ours = shake(build(replace(imagenet_resnet(depth), input_shape=(3, 64, 96), classes=20)))
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"resnet{depth}", weights=None, num_classes=20)
    theirs.load_state_dict({torchvisions_name(key): value for key, value in ours.state_dict().items()}, assign=True)
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs.eval()(image)
        torch.testing.assert_close(ours(image), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_vggs_compute_what_torchvisions_do(depth: int, norm: Any):
    """With a small classifier: at 224 pixels torchvision's average pooling hands on the 7×7 pixels that arrive."""
    ours = shake(build(replace(vgg(depth, norm, classes=10), input_shape=(3, 64, 64), hidden=(24, 16))))
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"vgg{depth}{'_bn' if norm == 'batch' else ''}", weights=None)
        theirs.avgpool = nn.Identity()
        for index, (units, out) in {0: (512 * 2 * 2, 24), 3: (24, 16), 6: (16, 10)}.items():
            assert isinstance(theirs.classifier[index], nn.Linear)
            theirs.classifier[index] = nn.Linear(units, out)
    state = dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True))
    theirs.load_state_dict(state, assign=True)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs.eval()(image)
        torch.testing.assert_close(ours(image), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


# --- description -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PRESETS if not name.startswith("plain")])
def test_macs_are_half_of_what_torch_counts_as_flops(name: str):
    spec = PRESETS[name].spec
    network = on_meta(spec).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, *spec.input_shape, device="meta"))
    assert 2 * describe(spec).macs == counter.get_total_flops()


@pytest.mark.parametrize("name", [name for name in PRESETS if not name.endswith(("-101", "-152", "-110"))])
def test_a_description_has_the_names_shapes_and_bytes_of_a_real_pass(name: str):
    network = build(small(name)).eval()
    recorder = Recorder(network)
    with torch.no_grad():
        network(torch.zeros(1, *network.spec.input_shape), recorder)
    described = describe(network.spec)
    assert [(layer.name, layer.output_shape) for layer in described.layers] == [
        (layer, tuple(output.shape[1:])) for layer, output in recorder.outputs.items()
    ]
    assert described.activation_bytes == sum(output.nbytes for output in recorder.outputs.values())
    assert sum(layer.parameters for layer in described.layers) == described.parameters == parameter_count(network)
    assert described.spec == network.spec
    assert network.spec.feature_shape == next(
        tuple(network_output.shape[1:])
        for layer, network_output in reversed(recorder.outputs.items())
        if layer.startswith("stages")
    )


def test_lenet_is_described_as_worked_out_by_hand():
    """32 -5+1-> 28 -pool-> 14 -5+1-> 10 -pool-> 5; a weight of the first convolution is used 28 · 28 times."""
    described = describe(PRESETS["lenet"].spec)
    assert [
        (layer.name, layer.kind, layer.output_shape, layer.parameters, layer.macs) for layer in described.layers
    ] == [
        ("stages.0.0.conv1", "conv", (6, 28, 28), 6 * 75 + 6, 28 * 28 * 6 * 75),
        ("stages.0.0", "block", (6, 28, 28), 0, 0),
        ("stages.0.pool", "pool", (6, 14, 14), 0, 0),
        ("stages.1.0.conv1", "conv", (16, 10, 10), 16 * 150 + 16, 10 * 10 * 16 * 150),
        ("stages.1.0", "block", (16, 10, 10), 0, 0),
        ("stages.1.pool", "pool", (16, 5, 5), 0, 0),
        ("head.flatten", "flatten", (400,), 0, 0),
        ("head.fc1", "linear", (120,), 400 * 120 + 120, 400 * 120),
        ("head.activation1", "activation", (120,), 0, 0),
        ("head.fc2", "linear", (84,), 120 * 84 + 84, 120 * 84),
        ("head.activation2", "activation", (84,), 0, 0),
        ("head.fc", "linear", (10,), 84 * 10 + 10, 84 * 10),
    ]
    assert described.parameters == 62_006 and described.macs == 651_720  # 62,006 is in every tutorial of this network
    assert [layer.receptive_field for layer in described.layers] == [5, 5, 6, 14, 14, 16, 32, 32, 32, 32, 32, 32]


def test_dropout_shows_nothing_new_and_has_no_entry():
    """In evaluation mode it hands its input on, which is already there under the activation's name."""
    head = [layer.name for layer in describe(vgg(11)).layers if layer.name.startswith("head")]
    parts = ["flatten", "fc1", "activation1", "fc2", "activation2", "fc"]
    assert vgg(11).dropout == 0.5 and head == [f"head.{part}" for part in parts]


def any_spec(random: np.random.Generator) -> ArchitectureSpec:
    """A spec of any kind, small, for a picture of any size; ValueError where there is no such network."""
    block = random.choice(["conv", "basic", "bottleneck", "pointwise", "separable"])
    channels = np.sort(random.integers(1, 4, 3)) * 4
    stages = tuple(
        Stage(
            blocks=int(random.integers(1, 3)),
            channels=int(channels[index]),
            stride=int(random.integers(1, 4)),
            kernel_size=int(random.choice([1, 3, 5])),
            padding=random.choice(["same", "valid"]) if block == "conv" else "same",
        )
        for index in range(random.integers(1, 4))
    )
    stem = Stem(
        channels=4,
        kernel_size=int(random.choice([1, 3, 7])),
        stride=int(random.integers(1, 4)),
        pooling=random.choice(["none", "max"]),
    )
    spec = ArchitectureSpec(
        stages,
        block=block,
        shortcut=random.choice(["none", "identity", "projection"]),
        norm=random.choice(["batch", "none"]),
        stem=random.choice([None, stem]),  # type: ignore[arg-type]
        downsampling=random.choice(["conv", "max", "average"]),
        head_pooling=random.choice(["average", "flatten"]),
        hidden=((), (3, 2))[random.integers(2)],
        input_shape=(3, int(random.integers(1, 60)), int(random.integers(1, 60))),
    )
    return any_variant(spec, random) if random.integers(2) else spec


def any_variant(spec: ArchitectureSpec, random: np.random.Generator) -> ArchitectureSpec:
    """The network with a shortcut of any kind in each stage, gains, and branches that are left out in training."""
    kinds = [None, "none", "identity", "projection"]
    spec = replace(spec, stages=tuple(replace(stage, shortcut=random.choice(kinds)) for stage in spec.stages))  # type: ignore[arg-type]
    if spec.shortcut == "none":
        return spec
    return replace(
        spec,
        shortcut_gain=float(random.choice([0.5, 1, 2])),
        branch_start=random.choice(["full", "gain"] + ["gamma"] * (spec.norm == "batch")),
        stochastic_depth=float(random.choice([0, 0.5])),
    )


def test_every_spec_that_can_be_made_builds_runs_and_is_described():
    """`feature_shape` decides the first layer behind "flatten": a slip there, or a picture used up, could not run."""
    random, made, refused = np.random.default_rng(0), 0, 0
    while made < 100:
        try:
            spec = any_spec(random)
        except ValueError:
            refused += 1
            continue
        made += 1
        network = on_meta(spec).eval()
        with torch.no_grad():
            assert network(torch.empty(2, *spec.input_shape, device="meta")).shape == (2, 10), spec
        described = describe(spec)
        last = [layer for layer in described.layers if layer.name.startswith("stages")][-1]
        assert last.output_shape == spec.feature_shape, spec
        assert described.parameters == parameter_count(network), spec
    assert refused > 10


FIELDS = {
    "plain, strided": cifar(14, "none", size=96),
    "option A, strided": cifar(14, size=96),
    "option B, strided": cifar(14, "projection", size=96),
    "big stem and pool": ArchitectureSpec(
        (Stage(1, 8), Stage(1, 8, 2)), stem=Stem(4, 7, 2, "max"), input_shape=(3, 128, 128)
    ),
    "bottleneck": ArchitectureSpec((Stage(2, 8), Stage(2, 8, 2, 5)), "bottleneck", input_shape=(3, 96, 96)),
    "separable": replace(PRESETS["separable-resnet"].spec, input_shape=(3, 96, 96)),
    "pointwise and pools": ArchitectureSpec(
        (Stage(1, 8, 2), Stage(2, 12, 2)), "pointwise", "projection", downsampling="max", input_shape=(3, 96, 96)
    ),
    "no padding": replace(PRESETS["lenet"].spec, input_shape=(3, 90, 90)),
    "no padding, shortcuts": ArchitectureSpec(
        (Stage(2, 8, 2, 3, "valid"), Stage(2, 16, 3, 5, "valid")), "conv", norm="none", input_shape=(3, 96, 96)
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_receptive_field_is_how_far_a_gradient_reaches(name: str):
    """With positive weights and averages for maxima nothing cancels: d (one output pixel) / d image is above 0 on
    exactly the pixels that this output can depend on. Layers that look past the picture's edge are left out."""
    spec = FIELDS[name]
    network = build(replace(spec, downsampling="average" if spec.downsampling == "max" else spec.downsampling)).eval()
    if network.stem is not None and network.stem.pool is not None:
        network.stem.add_module("pool", nn.AvgPool2d(3, 2, padding=1))
    outputs: dict[str, Tensor] = {}
    for module_name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, output, key=module_name: outputs.__setitem__(key, output))
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    image = torch.ones(1, *spec.input_shape, requires_grad=True)
    network(image)
    side = spec.input_shape[1]
    described = describe(spec)
    inside = [
        layer
        for layer in described.layers
        if len(layer.output_shape) == 3 and layer.output_shape[1] > 1 and layer.receptive_field <= 0.6 * side
    ]
    assert len(inside) >= 6 and len({layer.receptive_field for layer in inside}) >= 3
    for layer in inside:
        centre = layer.output_shape[1] // 2
        (gradient,) = torch.autograd.grad(
            outputs[layer.name][0, :, centre, centre].sum(), image, retain_graph=True, materialize_grads=True
        )
        seen = gradient[0].sum(0) > 0
        rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
        reach = (rows.max() - rows.min() + 1).item(), (columns.max() - columns.min() + 1).item()
        assert reach == (layer.receptive_field,) * 2, layer.name
    for layer in described.layers[::-4]:
        for at in {(0,) * len(layer.output_shape), tuple(each - 1 for each in layer.output_shape)}:
            place = (0, slice(None), *at[1:]) if len(at) == 3 else (0, *at)  # a padded channel of zeros sees nothing
            (gradient,) = torch.autograd.grad(
                outputs[layer.name][place].sum(), image, retain_graph=True, materialize_grads=True
            )
            rows, columns = ((gradient[0].sum(0) != 0).any(axis).nonzero() for axis in (1, 0))
            corners = tuple(int(end) for end in (rows.min(), columns.min(), rows.max(), columns.max()))
            assert described.reach(layer.name, at) == corners, (layer.name, at)


class OnlyMeta(TorchDispatchMode):
    """Notes every tensor that an operation makes on a real device."""

    def __init__(self) -> None:
        super().__init__()
        self.real: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.device.type != "meta":
            self.real.append(str(function))
        return result


def test_describe_makes_no_real_tensor():
    with OnlyMeta() as watch:
        described = describe(vgg(19, classes=997))  # a number of classes that no other test has cached
    assert watch.real == [] and described.parameters > 139_000_000
    with OnlyMeta() as watch:
        build(BASE)
    assert watch.real  # the watch sees real tensors where there are some


def test_a_spec_of_absurd_size_is_described_without_being_made():
    """34 billion values enter the head, a million times more than this machine's memory holds as weights."""
    spec = ArchitectureSpec((Stage(1, 8192),), head_pooling="flatten", hidden=(65536,), input_shape=(3, 2048, 2048))
    assert describe(spec).parameters > 2e15


# --- the pass --------------------------------------------------------------------------------------------------------


def test_each_visible_operation_is_a_module_of_its_own_used_once():
    for name in (*TEXTBOOKS, "plain-8", "resnet-8", "imagenet-resnet-18", "imagenet-resnet-50", "vgg-11-bn"):
        network = on_meta(PRESETS[name].spec).eval()
        calls: dict[nn.Module, int] = {}
        for module in network.modules():
            module.register_forward_hook(
                lambda module, *_, calls=calls: calls.update({module: calls.get(module, 0) + 1})
            )
        network(torch.empty(1, *network.spec.input_shape, device="meta"))
        visible = {module for module in network.layers if module in calls}
        assert {calls[module] for module in visible} == {1}, name
        assert not any(getattr(module, "inplace", False) for module in network.modules()), name
        silent = {network.layers[module][0] for module in network.layers if module not in calls}
        assert all(layer in ("stem", "head", "stages") or "stages." in layer for layer in silent), name
        assert len({layer for layer, _ in network.layers.values()}) == len(network.layers)


def test_option_a_takes_every_second_pixel_and_puts_zeros_around_the_channels():
    """He et al. 2015, section 3.3 (A); a quarter of zeros on each side, as in the authors' own network."""
    network = build(cifar(8)).eval()
    recorder = Recorder(network)
    with torch.no_grad():
        network(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)), recorder)
    block_input, shortcut = recorder.outputs["stages.0.0"], recorder.outputs["stages.1.0.shortcut"]
    assert shortcut.shape == (1, 32, 16, 16)
    assert torch.equal(shortcut[:, 8:24], block_input[:, :, ::2, ::2])
    assert not shortcut[:, :8].any() and not shortcut[:, 24:].any()


def test_an_identity_shortcut_of_equal_shape_is_a_view_but_a_tensor_of_its_own():
    network = build(cifar(14)).eval()
    recorder = Recorder(network)
    with torch.no_grad():
        network(torch.randn(1, 3, 32, 32), recorder)
    block_input, shortcut = recorder.outputs["stages.0.0"], recorder.outputs["stages.0.1.shortcut"]
    assert shortcut is not block_input and shortcut.data_ptr() == block_input.data_ptr()
    assert torch.equal(shortcut, block_input)


def test_a_recorder_sees_the_pass_that_nobody_watches():
    network = build(cifar(14)).eval()
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        recorder = Recorder(network)
        logits = network(image, recorder)
        assert torch.equal(logits, network(image)) and recorder.outputs["head.fc"] is logits
        some = Recorder(network, kinds=("conv", "sum"))
        network(image, some)
    assert set(some.outputs) == {name for name in recorder.outputs if name.split(".")[-1][:4] in ("conv", "sum")}
    assert all(torch.equal(some.outputs[name], recorder.outputs[name]) for name in some.outputs)


def test_a_network_is_its_layers_in_order_worked_out_by_functional_calls():
    """One basic block with an option-B shortcut, in torch's own words."""
    spec = ArchitectureSpec((Stage(1, 6, 2),), shortcut="projection", stem=Stem(4), classes=3, hidden=(5,))
    network = shake(build(spec))
    weights = network.state_dict()
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def norm(x: Tensor, name: str) -> Tensor:
        parts = [weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return nn.functional.batch_norm(x, *parts)

    def conv(x: Tensor, name: str, stride: int = 1, padding: int = 1) -> Tensor:
        return nn.functional.conv2d(x, weights[f"{name}.weight"], stride=stride, padding=padding)

    with torch.no_grad():
        x = norm(conv(image, "stem.conv"), "stem.norm").relu()
        branch = norm(conv(x, "stages.0.0.conv1", stride=2), "stages.0.0.norm1").relu()
        branch = norm(conv(branch, "stages.0.0.conv2"), "stages.0.0.norm2")
        shortcut = norm(conv(x, "stages.0.0.shortcut.conv", stride=2, padding=0), "stages.0.0.shortcut.norm")
        x = (branch + shortcut).relu().mean((2, 3))
        x = (x @ weights["head.fc1.weight"].T + weights["head.fc1.bias"]).relu()
        expected = x @ weights["head.fc.weight"].T + weights["head.fc.bias"]
        torch.testing.assert_close(network(image), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("field", [name for name in CHANGES if name not in ("dropout",)])
def test_every_field_changes_the_network_that_is_built(field: str):
    """Dropout changes the training only."""

    def character(spec: ArchitectureSpec) -> tuple[Any, ...]:
        network = build(spec).eval()
        with torch.no_grad():
            logits = network(torch.ones(1, *spec.input_shape))
        return [asdict(layer) for layer in describe(spec).layers], logits.tolist()

    assert character(BASE) != character(changed(**{field: CHANGES[field]}))


def test_freeze_ends_training():
    network = build(cifar(8)).freeze()
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
