"""Where a number comes from: recomputed from what is shown, it is the number of the pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from explorer.architectures import Network, build, describe
from explorer.architectures.graph import GraphSpec
from explorer.attribution import saliency
from explorer.experiments.arithmetic import PROBABILITIES, Arithmetic, arithmetic, effective_field, layer_pass
from explorer.presets import PRESETS
from explorer.tracing import EVERYTHING, Trace, trace
from tests.fuzz.laws import examples
from tests.onnx_models import randomised
from tests.test_architectures import any_spec
from tests.test_onnx import OPERATORS, network_of
from tests.onnx_models import classifier


def network_with_statistics(spec, seed: int = 0) -> Network:
    return randomised(build(spec, seed), seed).freeze()  # type: ignore[return-value, attr-defined]


def picture(network: Network, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, network.spec.input_shape).astype(np.float32)


def check(found: Arithmetic, seen: Trace) -> None:
    """It says of the value of the trace what it is made of."""
    assert found.value == seen[found.layer].activation[found.at]
    assert found.agrees, [(step.operation, step.value, step.computed, step.difference) for step in found.steps]
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
        source = seen[window.source].activation if window.source else seen.image
        if source.ndim not in (1, 3):
            continue
        source = source.reshape(source.shape if source.ndim == 3 else (-1, 1, 1))
        channel, row, column = window.first
        channels, rows, columns = window.values.shape
        padded = np.pad(source, ((0, 0), (99, 99), (99, 99)))
        down, right = window.spacing
        row, column = row + 99, column + 99
        there = padded[channel : channel + channels, row : row + rows * down : down, column : column + columns * right : right]
        assert np.array_equal(there, window.values) and np.isclose(window.peak, abs(source).max())


@given(st.integers(0, 2**31))
@examples(60)
def test_the_arithmetic_of_any_value_of_any_network_is_its_value(seed: int):
    random = np.random.default_rng(seed)
    try:
        spec = any_spec(random)
    except ValueError:
        assume(False)
    spec = replace(
        spec,
        activation=random.choice(["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]),
        preactivation=bool(random.integers(2)) and spec.block in ("basic", "bottleneck"),
        groups=2 if spec.block == "bottleneck" and random.integers(2) and all(s.bottleneck % 2 == 0 for s in spec.stages) else 1,
        initialisation=random.choice(["he", "pytorch"]),
        **({"classes": 2, "one_logit": True} if random.integers(4) == 0 else {}),
    )
    network = network_with_statistics(spec)
    image = picture(network, seed)
    seen = trace(network, image, kinds=EVERYTHING)
    for layer in seen.layers:
        at = tuple(int(random.integers(side)) for side in layer.activation.shape)
        check(arithmetic(network, image, layer.name, at), seen)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_arithmetic_of_every_operator_of_onnx_is_its_value(name: str):
    nodes, weights = OPERATORS[name]
    fixed = name in ("Concat", "Resize linear")
    content = classifier(nodes, weights, shape=(1, 3, 16, 16) if fixed else ("batch", 3, 16, 16)).SerializeToString()
    network = network_of(content)
    image = picture(network)
    seen = trace(network, image, kinds=EVERYTHING)
    random = np.random.default_rng(0)
    for layer in seen.layers:
        passed = layer_pass(network, image, layer.name)
        for _ in range(5):
            at = tuple(int(random.integers(side)) for side in layer.activation.shape)
            check(passed.arithmetic(at), seen)
