"""ONNX files that are nearly right: a network that computes what onnxruntime does, or one sentence."""

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from onnx import ModelProto, helper, numpy_helper

from explorer.architectures import Network, describe, spec_from_dict
from explorer.weights_import import WeightsError
from explorer.weights_import.onnx_layout import graph_of
from explorer.weights_import.onnx_rules import RULES
from tests.fuzz.laws import check_sentence, examples
from tests.test_onnx_operators import FORMS, SHAPE, model, values_of

SMALL = (-3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 10, 16, 70, 560)
"""Whole numbers that fit shapes, axes, kernels and groups of the forms, or nearly."""
WORDS: tuple[str, ...] = (
    "NOTSET",
    "VALID",
    "SAME_UPPER",
    "SAME_LOWER",
    "constant",
    "reflect",
    "edge",
    "wrap",
    "linear",
    "cubic",
)
WORDS += ("nearest", "half_pixel", "asymmetric", "align_corners", "tf_crop_and_resize", "floor", "CRD", "tanh", "")


@cache
def valid(name: str) -> bytes:
    form = FORMS[name]
    return model(form, form.high, values_of(form, form.high)).SerializeToString()


@st.composite
def nearly_valid(draw: DrawFn) -> ModelProto:
    """A form behind a convolution, with one to three changes of its nodes, weights, input or opset."""
    whole = onnx.load_model_from_string(valid(draw(st.sampled_from(list(FORMS)))))
    graph = whole.graph
    for _ in range(draw(st.integers(1, 3))):
        node = draw(st.sampled_from(list(graph.node)))
        kinds = ("attribute", "attribute", "new", "operator", "input", "remove", "move", "weight", "opset", "batch")
        kind = draw(st.sampled_from(kinds))
        if kind == "attribute" and node.attribute:
            change(draw, draw(st.sampled_from(list(node.attribute))))
        elif kind == "new":
            schema = onnx.defs.get_schema(node.op_type) if onnx.defs.has(node.op_type) else None
            for name in draw(st.permutations(list(schema.attributes)))[:1] if schema else ():
                value: Any = draw(st.one_of(st.sampled_from(SMALL), st.lists(st.sampled_from(SMALL), min_size=1)))
                node.attribute.append(helper.make_attribute(name, value))
        elif kind == "operator":
            node.op_type = draw(st.sampled_from([*RULES, "Shape", "ArgMax", "QuantizeLinear", "Loop"]))
        elif kind == "input":
            names = [name for each in graph.node for name in (*each.input, *each.output)]
            if node.input and draw(st.booleans()):
                node.input[draw(st.integers(0, len(node.input) - 1))] = draw(st.sampled_from([*names, ""]))
            else:
                node.input.append(draw(st.sampled_from(names)))
        elif kind == "remove" and len(graph.node) > 1:
            graph.node.remove(node)
        elif kind == "move":
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            graph.node.remove(node)
            graph.node.insert(draw(st.integers(0, len(graph.node))), copied)
        elif kind == "weight" and graph.initializer:
            tensor = draw(st.sampled_from(list(graph.initializer)))
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.int64:
                values = np.array(
                    draw(st.lists(st.sampled_from(SMALL), min_size=values.size, max_size=values.size + 1))
                )
            elif values.ndim and values.size:
                sides = draw(st.permutations(values.shape))
                values = draw(st.sampled_from((values.reshape(sides), values[:1], -values, values * 0, values.mean())))
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(values), tensor.name))
        elif kind == "opset":
            whole.opset_import[0].version = draw(st.integers(7, 28))
        elif kind == "batch":
            dims = graph.input[0].type.tensor_type.shape.dim
            dims[0].dim_value = draw(st.sampled_from((1, 1, 2, 5)))
    return whole


def change(draw: DrawFn, attribute: onnx.AttributeProto) -> None:
    value = helper.get_attribute_value(attribute)
    name = attribute.name
    if isinstance(value, bytes):
        new: Any = draw(st.sampled_from(WORDS))
    elif isinstance(value, float):
        new = draw(st.sampled_from((-1.0, 0.0, 0.5, 1.0, 1e-9, 3.0)))
    elif isinstance(value, int):
        new = draw(st.sampled_from(SMALL))
    elif attribute.ints:
        new = [draw(st.sampled_from(SMALL)) if draw(st.booleans()) else each for each in value]
        new = new[: draw(st.sampled_from((4, 4, 4, 1)))]
    else:
        return
    attribute.CopyFrom(helper.make_attribute(name, new))


@given(nearly_valid())
@examples(150)
def test_a_changed_file_is_a_sentence_or_what_onnxruntime_computes(whole: ModelProto) -> None:
    content = whole.SerializeToString()
    try:
        facts, state = graph_of(content)
    except WeightsError as error:
        check_sentence(f"`a.onnx` {error}")
        return
    network = Network.of(spec_from_dict(facts["spec"]))
    network.load_state_dict(state, assign=True)
    describe(network.spec)
    batch = np.random.default_rng(0).normal(0, 1, (2, *SHAPE)).astype(np.float32)
    with torch.no_grad():
        found = network.freeze()(torch.from_numpy(batch))
    wanted = runtime(content, batch, found.shape[1])
    if wanted is not None and np.isfinite(wanted).all():
        if facts["softmax"]:
            found = found.softmax(1) if facts["softmax"] == "Softmax" else found.log_softmax(1)
        assert np.abs(found.numpy() - wanted).max() <= 1e-3 * max(1e-3, np.abs(wanted).max())


def runtime(content: bytes, batch: np.ndarray, classes: int) -> np.ndarray | None:
    """What onnxruntime makes of the file, (2, classes); None where it refuses it, or for batches of another size."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options)
        size = session.get_inputs()[0].shape[0]
        parts = [batch[:1], batch[1:]] if size == 1 else [batch]
        found = np.concatenate([np.asarray(session.run(None, {"x": part})[0]).reshape(len(part), -1) for part in parts])
    except Exception:  # of onnxruntime, whose kinds have no common parent
        return None
    return found if found.shape == (2, classes) else None
