"""Laws of the residual anatomy: sums, the two ways of the gradient, a block worked out by hand; `trace` as oracle."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.architectures.interventions import parse_all
from explorer.experiments.residual_blocks import (
    BlockAnatomy,
    BlockBalance,
    anatomies,
    anatomy,
    balances,
    block_names,
    part_layers,
)
from explorer.presets import cifar
from explorer.tracing import EVERYTHING, trace
from tests.test_tracing import picture, shaken, state_of

STAGES = (Stage(2, 8), Stage(2, 12, 2))
SMALL = ArchitectureSpec(STAGES, stem=Stem(8), input_shape=(3, 12, 12), classes=4)
SPECS = {
    "identity": SMALL,
    "projection": replace(SMALL, shortcut="projection"),
    "bottleneck": replace(SMALL, block="bottleneck", shortcut="projection"),
    "bottleneck, option A": replace(SMALL, block="bottleneck"),
    "pointwise": replace(SMALL, block="pointwise"),
    "separable": replace(SMALL, block="separable"),
    "separable, projection": replace(SMALL, block="separable", shortcut="projection"),
    "one convolution": replace(SMALL, block="conv"),
    "VGG-like": replace(SMALL, block="conv", stem=None, norm="none", downsampling="max"),
    "unpadded": replace(SMALL, block="conv", stages=(Stage(2, 8, 1, 3, "valid"), Stage(1, 12, 2, 3, "valid"))),
    "unpadded, projection": replace(
        SMALL, block="conv", stages=(Stage(1, 8, 2, 3, "valid"), Stage(1, 12, 2, 3, "valid")), shortcut="projection"
    ),
    "sigmoid without norm": replace(SMALL, norm="none", activation="sigmoid"),
    "tanh, averaged": replace(SMALL, activation="tanh", downsampling="average", head_pooling="flatten"),
}


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def before(network: Network, block: str) -> str | None:
    """The recorded layer that feeds a block; None for the picture itself."""
    found: str | None = "stem.activation" if network.spec.stem else None
    for module, (name, kind) in network.layers.items():
        if name == block:
            return found
        if kind == "block" or (kind == "pool" and name.startswith("stages")):
            found = network.layers[module][0]
    raise AssertionError(block)


@pytest.mark.parametrize("name", SPECS)
def test_the_two_ways_of_the_gradient_sum_to_the_blocks_input_gradient(name: str) -> None:
    """Against a recorded pass, which knows nothing of ways: input, gradient, branch, shortcut, sum and output."""
    network = shaken(SPECS[name])
    image = picture(network.spec)
    recorded = trace(network, image, kinds=EVERYTHING)
    for block in block_names(network):
        found = anatomy(network, image, block)
        source = before(network, block)
        close(found.input, recorded[source].activation if source else image)
        close(found.input_gradient, recorded[source].gradient if source else recorded.image_gradient)
        parts = [layer for layer in recorded.names if layer.startswith(f"{block}.") and "shortcut" not in layer]
        close(found.branch, recorded[parts[-2]].activation)  # the last one is the sum
        close(found.shortcut, recorded[f"{block}.shortcut"].activation)
        close(found.sum, recorded[f"{block}.sum"].activation)
        close(found.output, recorded[block].activation)

        np.testing.assert_array_equal(found.sum, found.branch + found.shortcut)
        total = found.through_shortcut + found.through_branch
        if found.kind == "identity":
            np.testing.assert_array_equal(found.input_gradient, total)
            np.testing.assert_array_equal(found.shortcut, found.input)
            close(found.through_shortcut, recorded[f"{block}.sum"].gradient)
        else:
            close(total, found.input_gradient)
        # Both ways count: the law is none where one of them is nothing.
        assert min(np.abs(found.through_shortcut).max(), np.abs(found.through_branch).max()) > 0, block
        assert found.input.shape == found.input_gradient.shape == found.through_shortcut.shape
        assert found.branch.shape == found.shortcut.shape == found.sum.shape == found.output.shape


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("identity", ["identity", "identity", "padded", "identity"]),
        ("projection", ["identity", "identity", "projection", "identity"]),
        ("VGG-like", ["padded", "identity", "padded", "identity"]),  # 3 channels become 8; pooling halves the pixels
        ("unpadded", ["padded", "padded", "padded"]),
    ],
)
def test_each_block_says_what_its_shortcut_is(name: str, kinds: list[str]) -> None:
    network = shaken(SPECS[name])
    assert [balance.kind for balance in balances(network, picture(network.spec))] == kinds


def test_the_branchs_way_is_the_first_convolutions_gradient_carried_back() -> None:
    """An oracle that shares no code with autograd's walk: the transposed convolution of what arrives at conv1."""
    network = shaken(cifar(8))
    image = picture(network.spec)
    recorded = trace(network, image, kinds=EVERYTHING)
    for block in block_names(network):
        found = anatomy(network, image, block)
        conv = network.get_submodule(f"{block}.conv1")
        assert isinstance(conv, nn.Conv2d)
        arriving = torch.tensor(recorded[f"{block}.conv1"].gradient)[None]
        expected = conv2d_input((1, *found.input.shape), conv.weight, arriving, conv.stride, conv.padding)[0].numpy()
        close(found.through_branch, expected)


def by_hand() -> tuple[Network, np.ndarray]:
    """One block of a 1×1 convolution, F(x) = 2x + 0.5, on 2×2 pixels; logits: the mean, and minus twice the mean."""
    spec = ArchitectureSpec((Stage(1, 1, kernel_size=1),), block="conv", norm="none", input_shape=(1, 2, 2), classes=2)
    network = build(spec).freeze()
    for name, values in {
        "stages.0.0.conv1.weight": [[[[2.0]]]],
        "stages.0.0.conv1.bias": [0.5],
        "head.fc.weight": [[1.0], [-2.0]],
        "head.fc.bias": [0.0, 0.0],
    }.items():
        network.get_parameter(name).data = torch.tensor(values)
    return network, np.array([[[1, -1], [2, 0]]], dtype=np.float32)


def test_a_block_worked_out_by_hand() -> None:
    network, image = by_hand()
    found = anatomy(network, image, "stages.0.0")
    assert found.target == 0 and found.kind == "identity" and found.name == "stages.0.0"
    np.testing.assert_array_equal(found.branch, [[[2.5, -1.5], [4.5, 0.5]]])
    np.testing.assert_array_equal(found.sum, [[[3.5, -2.5], [6.5, 0.5]]])
    np.testing.assert_array_equal(found.output, [[[3.5, 0], [6.5, 0.5]]])
    np.testing.assert_array_equal(found.through_shortcut, [[[0.25, 0], [0.25, 0.25]]])
    np.testing.assert_array_equal(found.through_branch, [[[0.5, 0], [0.5, 0.5]]])
    np.testing.assert_array_equal(found.input_gradient, [[[0.75, 0], [0.75, 0.75]]])
    assert found.activation_peak == 6.5 and found.gradient_peak == 0.75
    np.testing.assert_array_equal(
        anatomy(network, image, "stages.0.0", 1).through_shortcut, -2 * found.through_shortcut
    )
    (balance,) = balances(network, image)
    assert balance.branch == pytest.approx((29 / 4) ** 0.5) and balance.input == pytest.approx((6 / 4) ** 0.5)
    assert balance.ratio == pytest.approx((29 / 6) ** 0.5) and balance.gradient_ratio == pytest.approx(2)
    assert balance.input_gradient == pytest.approx(0.75 * 0.75**0.5)


def test_no_ratio_to_a_shortcut_that_is_zero_and_none_of_a_branch_that_is() -> None:
    network, image = by_hand()
    (balance,) = balances(network, np.zeros_like(image))
    assert balance.shortcut == 0 and balance.branch == 0.5 and balance.ratio is None
    network.get_parameter("stages.0.0.conv1.weight").data.zero_()
    network.get_parameter("stages.0.0.conv1.bias").data.zero_()
    (balance,) = balances(network, image)
    assert balance.ratio == 0 and balance.gradient_ratio == 0 and balance.through_shortcut > 0
    network.get_parameter("head.fc.weight").data.zero_()
    (balance,) = balances(network, image)
    assert balance.gradient_ratio is None


@pytest.mark.parametrize("name", ["identity", "projection", "separable"])
def test_balances_are_the_root_mean_squares_of_every_blocks_anatomy(name: str) -> None:
    network = shaken(SPECS[name])
    image = picture(network.spec)
    found = balances(network, image, 2)
    assert [each.name for each in found] == ["stages.0.0", "stages.0.1", "stages.1.0", "stages.1.1"]
    for balance in found:
        whole = anatomy(network, image, balance.name, 2)
        assert balance.kind == whole.kind
        for field in fields(BlockBalance)[2:]:
            values = getattr(whole, field.name).astype(np.float64)
            assert getattr(balance, field.name) == pytest.approx(np.sqrt((values**2).mean()), rel=1e-6), field.name


@pytest.mark.parametrize("name", [*SPECS, "preactivated"])
@pytest.mark.parametrize(
    "change", ["", "stages.0.1@branch:2,stages.0.1:0.5", "stages.1.0.sum:2,stages.1.0@shortcut:off"]
)
def test_each_part_is_what_its_layer_holds(name: str, change: str) -> None:
    spec = SPECS.get(name) or replace(SMALL, preactivation=True, shortcut="projection")
    network, changes = shaken(spec), parse_all(change)
    if any(each.place.removesuffix(".sum") not in block_names(network) for each in changes):
        return
    seen = trace(network, picture(spec), kinds=EVERYTHING, interventions=changes)
    for inside in anatomies(network, picture(spec), interventions=changes):
        layers = part_layers(network, inside.name, changes)
        absent = {each.part for each in changes if each.place == inside.name} - {"output"}
        first = inside.name == "stages.0.0" and spec.stem is None
        assert {"input", "branch", "shortcut", "sum", "output"} - layers.keys() == absent | (
            {"input"} if first else set()
        )
        for part, layer in layers.items():
            assert np.array_equal(seen[layer].activation, getattr(inside, part)), (inside.name, part, layer)


@pytest.mark.parametrize("name", ["identity", "projection", "VGG-like"])
def test_all_blocks_at_once_are_each_by_itself(name: str) -> None:
    network = shaken(SPECS[name])
    image = picture(network.spec)
    every = anatomies(network, image, 2)
    assert [found.name for found in every] == [*block_names(network)]
    for found in every:
        alone = anatomy(network, image, found.name, 2)
        assert (found.kind, found.target, found.nbytes) == (alone.kind, 2, alone.nbytes)
        for field in fields(BlockAnatomy)[3:]:
            np.testing.assert_array_equal(getattr(found, field.name), getattr(alone, field.name))


def test_a_gradient_whose_square_float32_cannot_hold_has_a_size() -> None:
    network, image = by_hand()
    network.get_parameter("head.fc.weight").data.mul_(1e-30)
    (balance,) = balances(network, image)
    assert balance.through_shortcut == pytest.approx(0.25 * 0.75**0.5 * 1e-30)


@pytest.mark.parametrize("changes", [{}, {"preactivation": True, "shortcut": "projection"}])
def test_without_an_activation_behind_it_the_sum_is_the_output(changes: dict) -> None:
    spec = replace(SMALL, **changes)
    for found in anatomies(shaken(spec), picture(spec)):
        assert found.activated == (not changes)
        assert np.array_equal(found.output, np.maximum(found.sum, 0) if found.activated else found.sum)


def test_arrays_are_read_only_float32_and_share_no_memory() -> None:
    found = anatomy(shaken(SMALL), picture(SMALL), "stages.0.1")
    arrays = [getattr(found, field.name) for field in fields(BlockAnatomy)[4:]]
    assert all(array.dtype == np.float32 and not array.flags.writeable for array in arrays)
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    assert found.nbytes == sum(array.nbytes for array in arrays)


def test_threads_share_a_network_that_is_left_as_it_was() -> None:
    network = shaken(SMALL)
    images = [picture(SMALL, seed) for seed in range(4)]
    expected = [anatomy(network, image, "stages.1.0").through_branch for image in images]
    state = state_of(network)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: anatomy(network, image, "stages.1.0").through_branch, images * 4))
    for index, array in enumerate(found):
        np.testing.assert_array_equal(array, expected[index % 4])
    assert state_of(network) == state


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("no memory")


def test_a_pass_that_fails_leaves_the_network_as_it_was() -> None:
    network = shaken(SMALL)
    state, head = state_of(network), network.head.fc
    network.head.fc = Failing()  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="no memory"):
        anatomy(network, picture(SMALL), "stages.0.0")
    network.head.fc = head
    assert state_of(network) == state


@pytest.mark.parametrize(
    ("spec", "block", "message"),
    [
        (
            SMALL.twin(),
            "stages.0.0",
            "plain-10 has no shortcuts, so its blocks have no residual anatomy; choose a ResNet",
        ),
        (
            SMALL,
            "stages.0.2",
            "`block` must be one of stages.0.0, stages.0.1, stages.1.0, stages.1.1, received 'stages.0.2'",
        ),
    ],
)
def test_what_has_no_anatomy_is_refused_in_one_sentence(spec: ArchitectureSpec, block: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        anatomy(shaken(spec), picture(spec), block)


def test_what_a_trace_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="no shortcuts"):
        balances(shaken(SMALL.twin()), picture(SMALL))
    with pytest.raises(ValueError, match="must be in evaluation mode"):
        balances(build(SMALL), picture(SMALL))
    network = shaken(SMALL)
    with pytest.raises(ValueError, match="`image` must have the shape"):
        anatomy(network, picture(SMALL)[:, 1:], "stages.0.0")
    with pytest.raises(ValueError, match="not finite"):
        anatomy(network, np.full_like(picture(SMALL), np.nan), "stages.0.0")
    with pytest.raises(ValueError, match="`target` must be a class from 0 to 3, received 4"):
        anatomy(network, picture(SMALL), "stages.0.0", 4)
