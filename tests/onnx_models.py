"""ONNX files for tests: exported from modules of torch, or put together node by node."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import nn


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, with statistics of its norms that are not those of a new one: else logits are all but 0."""
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(part.weight, 0.8, 1.2)
            nn.init.normal_(part.bias, 0, 0.1)
    return module.eval()


EXPORTER = "torch.onnx._internal.exporter._registration.ONNXRegistry.from_torchlib"
COMPOSITES = "torch._export.utils._materialize_cpp_cia_ops"


@functools.cache
def _asked_once() -> dict[str, Any]:
    """What the exporter asks for anew with each file, for half of its time: its list of what it can export, which it
    reads from the code of all operators, and those that torch composes of others."""
    from torch._export.utils import _materialize_cpp_cia_ops
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    known = functools.cache(ONNXRegistry.from_torchlib)
    return {EXPORTER: staticmethod(known), COMPOSITES: functools.cache(_materialize_cpp_cia_ops)}


def exported_anew(module: nn.Module, shape: Sequence[int], **options: Any) -> bytes:
    """By PyTorch's exporter of today, for one image unless the options say otherwise."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        for name, function in _asked_once().items():
            patch.setattr(name, function)
        patch.setattr("torch.fx.config.do_not_emit_stack_traces", True)  # no file has them
        program = torch.onnx.export(module, (torch.zeros(*shape),), dynamo=True, verbose=False, **options)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def weight(name: str, values: Any) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values), name)


def model_of(
    nodes: Sequence[NodeProto],
    weights: Mapping[str, Any],
    shape: Sequence[int | str] = ("batch", 3, 16, 16),
    outputs: Sequence[int | str] | None = ("batch", 4),
    opset: int = 20,
    metadata: Mapping[str, str] | None = None,
) -> ModelProto:
    """A model from "x" to "y"."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
        [weight(name, values) for name, values in weights.items()],
    )
    # The version of the format that is as old as the opset: 13 or more understand it.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    if metadata:
        helper.set_model_props(model, dict(metadata))
    return model


def classifier(
    middle: Sequence[NodeProto] = (), weights: Mapping[str, Any] | None = None, end: str = "", **settings: Any
) -> ModelProto:
    """A convolution of 8 channels, `middle` from "a" to "b", a mean over all pixels, and a fully connected layer of 4
    classes; `end` is the operator behind it."""
    generator = np.random.default_rng(0)
    own = {
        "w": generator.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "f": generator.normal(0, 0.3, (4, 8)).astype(np.float32),
        "g": generator.normal(0, 0.3, 4).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="first", pads=[1, 1, 1, 1]),
        *(middle or [helper.make_node("Relu", ["a"], ["b"], name="relu")]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"], name="pool"),
        helper.make_node("Flatten", ["c"], ["d"], name="flat"),
        helper.make_node("Gemm", ["d", "f", "g"], ["e" if end else "y"], name="fc", transB=1),
    ]
    nodes += [helper.make_node(end, ["e"], ["y"], name="end")] if end else []
    return model_of(nodes, own | dict(weights or {}), **settings)
