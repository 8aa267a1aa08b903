"""Where a number comes from: recomputed from what is shown, it is the number of the pass."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks.onnx_files import network_of
from explorer.architectures import ArchitectureSpec, Intervened, Intervention, Network, Stage, build, describe
from explorer.architectures.changed_description import describe_changed
from explorer.architectures.interventions import block_shapes, parse_all
from explorer.attribution import saliency
from explorer.experiments.arithmetic import PROBABILITIES, Arithmetic, arithmetic, effective_field, layer_pass
from explorer.experiments.arithmetic.operations import explain
from explorer.experiments.arithmetic.step import Term
from explorer.presets import cifar
from explorer.tracing import EVERYTHING, Trace, trace
from tests.fuzz.laws import check_sentence
from tests.onnx_models import randomised
from tests.test_architectures import any_spec
from tests.test_onnx import keras_like
from tests.test_onnx_operators import FORMS, model, values_of


@pytest.fixture(scope="module")
def resnet() -> Network:
    return network_with_statistics(cifar(8))


def network_with_statistics(spec: ArchitectureSpec, seed: int = 0) -> Network:
    network = build(spec, seed)
    randomised(network, seed)
    return network.freeze()


def picture(network: Network, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, network.spec.input_shape).astype(np.float32)


def check(found: Arithmetic, seen: Trace) -> None:
    """It says of the value of the trace what it is made of."""
    assert found.value == seen[found.layer].activation[found.at]
    # Kernels of other processors sum in another order. The check gives rounding as the reason only where it is one.
    told = [(step.operation, step.value, step.computed, step.difference) for step in found.steps]
    assert found.agrees or "; float32 rounds sums" in found.check, told
    assert found.difference is not None
    for step in found.steps:
        assert step.computed is not None and step.formula.endswith(".") and step.operation, step
        for term in step.terms:
            if term.layer:
                assert term.at is not None and term.value == seen[term.layer].activation[term.at], (step.layer, term)
            elif term.layer == "":
                assert term.value == seen.image[term.at]
        window = step.window
        if window is None:
            continue
        if window.source is None:
            assert step.change  # values that this intervention replaced
            continue
        source = seen[window.source].activation if window.source else seen.image
        if source.ndim not in (1, 3):
            continue
        source = source.reshape(source.shape if source.ndim == 3 else (-1, 1, 1))
        channel, row, column = window.first
        channels, rows, columns = window.values.shape
        padded = np.pad(source, ((0, 0), (99, 99), (99, 99)))
        down, right = window.spacing
        row, column = row + 99, column + 99
        there = padded[
            channel : channel + channels, row : row + rows * down : down, column : column + columns * right : right
        ]
        assert np.array_equal(there, window.values) and np.isclose(window.peak, abs(source).max())


def check_field(found: Arithmetic, effective: np.ndarray) -> None:
    """Outside of its receptive field it reacts to no pixel."""
    seen = effective > 0
    if found.field is not None:
        top, left, bottom, right = found.field
        seen[top : bottom + 1, left : right + 1] = False
    assert not seen.any(), (found.layer, found.at, found.field)


@given(st.integers(0, 2**31))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_arithmetic_of_any_value_of_any_network_is_its_value(seed: int):
    random = np.random.default_rng(seed)
    try:
        spec = any_spec(random)
    except ValueError:
        assume(False)
    spec = replace(
        spec,
        activation=random.choice(["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]),
        preactivation=bool(random.integers(2))
        and spec.block in ("basic", "bottleneck")
        and spec.branch_start != "gamma",
        groups=2
        if spec.block == "bottleneck" and random.integers(2) and all(s.bottleneck % 2 == 0 for s in spec.stages)
        else 1,
        initialisation=random.choice(["he", "pytorch"]),
    )
    if random.integers(4) == 0:
        spec = replace(spec, classes=2, one_logit=True)
    network = network_with_statistics(spec)
    image = picture(network, seed)
    changes = some_changes(network, random) if random.integers(3) else ()
    seen = trace(network, image, kinds=EVERYTHING, interventions=changes)
    assert not changes or tuple(each.name for each in describe_changed(spec, changes).layers) == seen.names
    touched = [at for at, layer in enumerate(seen.layers) if any(layer.name.startswith(each.place) for each in changes)]
    for which in [*random.choice(len(seen.layers), 5), *random.choice(touched or [0], 5)]:
        layer = seen.layers[which]
        at = tuple(int(random.integers(side)) for side in layer.activation.shape)
        found = arithmetic(network, image, layer.name, at, changes)
        check(found, seen)
        check_field(found, effective_field(network, image, layer.name, at, changes))


def some_changes(network: Network, random: np.random.Generator) -> tuple[Intervention, ...]:
    """Interventions that fit, several on one layer or block too."""
    blocks, found = [*block_shapes(network.spec)], list[Intervention]()
    layers = [layer.name for layer in describe(network.spec).layers]
    for _ in range(random.integers(1, 7)):
        place = str(random.choice(blocks if blocks and random.integers(3) else layers))
        part = random.choice(["branch", "shortcut", "output"])
        kind = random.choice(["off", "mean", "-0.75", "2", f"swap~{random.choice(blocks or layers)}"])
        channel = f"~{random.integers(3)}" if random.integers(2) and not kind.startswith("swap") else ""
        part = "" if kind.startswith("swap") else f"@{part}"
        again = random.integers(2) and found and found[-1].place
        try:
            (change,) = parse_all(f"{again or place}{part}{channel}:{kind}")
            Intervened(network, (), [*found, change])
        except ValueError:
            continue
        found.append(change)
    return tuple(found)


UNREADABLE = ("LpPool", "GlobalLpPool", "LpNormalization", "RMSNormalization")  # these get a sentence
ONE_OF_EACH = {name.split()[0]: name for name in reversed(FORMS)}  # the first form of each operator


def onnx_network(name: str) -> Network:
    if name == "channels last":
        return network_of(keras_like().SerializeToString())
    form = FORMS[name]
    whole = model(form, form.high, values_of(form, form.high))
    return network_of(whole.SerializeToString())


@pytest.mark.parametrize(
    "name", [*(ONE_OF_EACH[each] for each in ONE_OF_EACH if each not in UNREADABLE), "channels last"]
)
def test_the_arithmetic_of_every_operator_of_onnx_is_its_value(name: str):
    network = onnx_network(name)
    image = picture(network)
    seen = trace(network, image, kinds=EVERYTHING)
    random = np.random.default_rng(0)
    for layer in seen.layers:
        passed = layer_pass(network, image, layer.name)
        for _ in range(3):
            at = tuple(int(random.integers(side)) for side in layer.activation.shape)
            check(passed.arithmetic(at), seen)
        check_field(passed.arithmetic(at), effective_field(network, image, layer.name, at))


@pytest.mark.parametrize("operator", UNREADABLE)
def test_an_operator_without_a_readable_arithmetic_says_so(operator: str):
    network = onnx_network(ONE_OF_EACH[operator])
    found = arithmetic(network, picture(network), "op", (0,) * len(describe(network.spec)["op"].output_shape))
    name = {"GlobalLpPool": "ReduceLp"}.get(operator, operator)  # as it is read
    assert found.steps[-1].formula == f"{name} has no arithmetic that one line can show."
    assert found.difference is None and found.check == "Nothing here can be recomputed."


def test_the_check_states_the_bound_and_gives_rounding_as_the_reason_only_where_it_is_one(resnet: Network) -> None:
    found = arithmetic(resnet, picture(resnet), "stages.0.0.conv1", (1, 2, 3))
    (step,) = found.steps
    said = "Recomputed from these numbers in float64: largest difference "
    share = " (as a share of the value where that is above 1)"
    assert found.check == f"{said}{found.difference:.2g}{share}, within 1e-5."
    assert step.window is not None and step.window.products is not None and step.value is not None
    size = np.abs(step.window.products).sum() + sum(abs(term.value) for term in step.terms)
    assert step.rounding == pytest.approx(size * 2**-23)

    def checked(value: float, computed: float, **changes: Any) -> str:
        other = replace(step, value=value, computed=computed, **changes)
        return replace(found, value=value, steps=(other,)).check

    assert checked(3.0, 3.01) == f"{said}0.0033{share}, above 1e-5.", "no rounding of these summands"
    large = (Term("branch", 1e6), Term("shortcut", -1e6))
    sums: dict[str, Any] = {"operation": "residual sum", "window": None, "terms": large}
    assert checked(0.1, 0.2, **sums) == f"{said}0.1{share}, above 1e-5; float32 rounds sums of numbers this large."
    assert checked(0.1, 0.5, **sums) == f"{said}0.4{share}, above 1e-5.", "it rounds by 0.24 at most"
    assert checked(0.1, 0.2, **{**sums, "operation": "batch norm"}) == f"{said}0.1{share}, above 1e-5."
    assert checked(0.1, float("nan"), **sums).endswith("above 1e-5.")


def test_a_convolution_worked_out_by_hand():
    """Two channels in two groups, stride 2, padding 1: the second output channel at (0, 1) sees columns 1 to 3 of rows
    -1 to 1 of the second input channel."""
    spec = ArchitectureSpec((Stage(1, 2),), "conv", "none", norm="none", input_shape=(2, 4, 4), classes=2)
    network = build(spec)
    conv = nn.Conv2d(2, 2, 3, 2, 1, groups=2)
    network.stages[0].get_submodule("0").conv1 = conv
    network.layers[conv] = ("stages.0.0.conv1", "conv")
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(torch.arange(18.0).reshape(2, 1, 3, 3))
        conv.bias.copy_(torch.tensor([0.5, -0.5]))
    image = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    (step,) = layer_pass(network.freeze(), image, "stages.0.0.conv1").calls
    found = explain(step, (0, 1, 0, 1))
    window = found.window
    assert window is not None and (window.source, window.first, window.spacing) == ("", (1, -1, 1), (1, 1))
    assert window.values.tolist() == [[[0, 0, 0], [17, 18, 19], [21, 22, 23]]]
    assert window.inside.tolist() == [[False] * 3, [True] * 3, [True] * 3]
    assert window.products is not None and window.products.tolist() == [
        [[0, 0, 0], [17 * 12, 18 * 13, 19 * 14], [21 * 15, 22 * 16, 23 * 17]]
    ]
    assert found.value == found.computed == 704 + 1058 - 0.5


def test_a_number_is_followed_back_to_its_window_and_forward_to_a_probability(resnet: Network):
    image = picture(resnet)
    seen = trace(resnet, image, kinds=EVERYTHING)
    passed = layer_pass(resnet, image, "stages.1.0.activation1")
    assert [call.layer.split(".")[-1] for call in passed.calls] == ["activation1", "norm1", "conv1"]
    block = arithmetic(resnet, image, "stages.1.0", (3, 1, 2))
    assert [step.operation for step in block.steps] == ["ReLU", "residual sum"]
    assert [(term.name, term.layer) for term in block.steps[1].terms] == [
        ("branch", "stages.1.0.norm2"),
        ("shortcut", "stages.1.0.shortcut"),
    ]
    padded = arithmetic(resnet, image, "stages.1.0.shortcut", (0, 1, 2))
    assert padded.value == 0 and padded.field is None and "padded zero" in padded.steps[0].formula
    last = arithmetic(resnet, image, PROBABILITIES, [3])
    assert last.value == pytest.approx(seen.probabilities[3]) and last.agrees
    assert [step.operation for step in last.steps] == ["softmax", "fully connected"]


@pytest.mark.parametrize(
    ("change", "layer", "operations"),
    [
        ("stages.1.1@branch:0.25", "stages.1.1", ["ReLU", "residual sum", "branch × 0.25"]),
        ("stages.1.1@branch:off", "stages.1.1", ["ReLU", "residual sum", "branch switched off"]),
        (
            "stages.1.1@shortcut:mean,stages.1.1@branch~3:-1",
            "stages.1.1",
            ["ReLU", "residual sum", "branch × -1", "shortcut replaced by the channel's mean"],
        ),
        ("stages.1.1@branch~2:off", "stages.1.1", ["ReLU", "residual sum"]),  # of another channel
        ("stages.1.1:2", "stages.1.1", ["× 2", "ReLU", "residual sum"]),
        ("stages.1.1.conv1:off", "stages.1.1.norm1", ["batch norm", "switched off", "convolution 3×3"]),
        ("stages.1.1.conv1:2,stages.1.1.conv1~3:mean", "stages.1.1.conv1", ["replaced by the channel's mean"]),
        ("stages.1.1.conv1:mean,stages.1.1.conv1~3:2", "stages.1.1.conv1", ["× 2", "replaced by the channel's mean"]),
        ("stages.1.1:swap~stages.1.2", "stages.1.2.conv1", ["convolution 3×3"]),
        ("head.fc:0.5", PROBABILITIES, ["softmax", "× 0.5", "fully connected"]),
    ],
)
def test_an_intervention_is_one_more_step(change: str, layer: str, operations: list[str]) -> None:
    network = network_with_statistics(cifar(20))
    changes = parse_all(change)
    seen = trace(network, picture(network), kinds=EVERYTHING, interventions=changes)
    at = (3,) if layer == PROBABILITIES else (3, 4, 5)
    found = arithmetic(network, picture(network), layer, at, changes)
    assert [step.operation for step in found.steps] == operations and found.agrees
    for step in found.steps:
        assert step.change in {"", *map(str, changes)}
        if "mean" in step.operation and step.window and step.window.source is not None:
            assert step.value == pytest.approx(seen[step.window.source].activation[3].mean(), abs=1e-6)
    if layer == "stages.1.2.conv1":
        assert found.steps[0].window is not None and found.steps[0].window.source == "stages.1.0"
        assert found.steps[0].formula.endswith("Swapped: stages.1.2 works in the place of stages.1.1.")
    elif layer == PROBABILITIES:
        assert found.value == pytest.approx(seen.probabilities[3])
    else:
        check(found, seen)


@pytest.mark.parametrize(
    ("change", "operations", "rows"),
    [
        ("off", ["block switched off"], 3),
        ("0.5", ["block × 0.5"], 7),
        ("mean", ["branch replaced by the channel's mean"], 32),
    ],
)
def test_a_plain_block_goes_over_into_its_input(change: str, operations: list[str], rows: int) -> None:
    """And the receptive field into that of its input: two convolutions more see 7 pixels, a mean all."""
    network = network_with_statistics(cifar(8, shortcut="none"))
    changes = parse_all(f"stages.0.0@branch:{change}")
    seen = trace(network, picture(network), kinds=EVERYTHING, interventions=changes)
    found = arithmetic(network, picture(network), "stages.0.0", (3, 8, 9), changes)
    check(found, seen)
    assert [step.operation for step in found.steps] == operations
    assert found.field is not None and found.field.bottom - found.field.top + 1 == rows


def test_what_is_switched_off_depends_on_no_pixel(resnet: Network) -> None:
    off = arithmetic(resnet, picture(resnet), "stem.conv", (3, 8, 9), parse_all("stem.conv~3:off"))
    assert off.value == 0 and off.field is None and off.steps[1].value == off.steps[0].terms[0].value != 0
    other = arithmetic(resnet, picture(resnet), "stem.conv", (2, 8, 9), parse_all("stem.conv~3:off"))
    assert other.field == (7, 8, 9, 10) and len(other.steps) == 1
    with pytest.raises(ValueError, match="has no layer or block `stem.conv1`"):
        arithmetic(resnet, picture(resnet), "stem.conv", (3, 8, 9), parse_all("stem.conv1:off"))


def test_the_effective_field_of_a_logit_is_the_saliency(resnet: Network):
    image = picture(resnet)
    seen = trace(resnet, image, target=4)
    found = effective_field(resnet, image, "head.fc", [4])
    np.testing.assert_allclose(found, saliency(seen), rtol=1e-4, atol=1e-7)
    assert found.shape == (32, 32) and found.dtype == np.float32 and not found.flags.writeable


@pytest.mark.parametrize(
    ("layer", "at", "says"),
    [
        ("stem.conv1", (0, 0, 0), "stem.conv to head.fc"),
        ("stem.conv", (16, 0, 0), "channel 0 to 15, row 0 to 31, column 0 to 31; received 16,0,0"),
        ("stem.conv", (0, -1, 0), "received 0,-1,0"),
        ("stem.conv", (0, 0), "received 0,0"),
        ("head.fc", (10,), "unit 0 to 9"),
        (PROBABILITIES, (10,), "unit 0 to 9"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(resnet: Network, layer: str, at: tuple[int, ...], says: str):
    for explain_it in (arithmetic, effective_field):
        with pytest.raises(ValueError, match=re.escape(says)) as error:
            explain_it(resnet, picture(resnet), layer, at)
        check_sentence(str(error.value))
