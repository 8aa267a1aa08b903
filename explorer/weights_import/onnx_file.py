"""Parses an ONNX file and checks it before anything is made of it; runs in the child process only."""

from math import prod

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from explorer.weights_import.report import WeightsError, quote

MAX_NODES = 20_000  # of the file; 5,000 of a network


def parsed(content: bytes) -> ModelProto:
    try:
        model = onnx.load_model_from_string(content)
    except Exception:  # protobuf's own errors
        raise WeightsError("looks like an ONNX file and is damaged or cut off; export or download it again.") from None
    graph = model.graph
    if not graph.node or not graph.output:
        raise WeightsError("looks like an ONNX file and holds no graph; export it again.")
    if len(graph.node) > MAX_NODES or len(graph.initializer) > MAX_NODES:
        count = max(len(graph.node), len(graph.initializer))
        raise WeightsError(f"holds {count:,} nodes or weights; {MAX_NODES:,} is the most.")
    tensors = [*graph.initializer]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise WeightsError(
                    f"has the operator {quote(node.op_type)} at node {quote(node.name)}, which holds a graph of its "
                    "own, as loops and branches do; this app shows networks without them."
                )
            tensors += [attribute.t] if attribute.HasField("t") else []
            tensors += attribute.tensors
    for tensor in tensors:
        _check_tensor(tensor)
    if graph.sparse_initializer:
        raise WeightsError("holds sparse weights; export ordinary ones.")
    _check_model(model, len(content) < 2**22)
    return model


def _check_tensor(tensor: TensorProto) -> None:
    name = quote(tensor.name)
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise WeightsError(
            f"keeps weights in another file, such as {name}, and no other file is opened; export it with them inside "
            "(`external_data=False`)."
        )
    if any(side < 0 for side in tensor.dims) or prod(tensor.dims) > 2**30:
        raise WeightsError(f"declares the weight {name} of an impossible shape; export or download it again.")
    try:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, TypeError):
        raise WeightsError(f"has a weight {name} of a type that is unknown here.") from None
    if tensor.HasField("raw_data"):
        found, expected = len(tensor.raw_data), prod(tensor.dims) * np.dtype(kind).itemsize
        if found != expected and np.dtype(kind).itemsize > 0 and tensor.data_type < TensorProto.UINT4:
            raise WeightsError(
                f"has a weight {name} whose shape {'×'.join(map(str, tensor.dims))} does not fit its {found:,} bytes; "
                "export or download it again."
            )


def _check_model(model: ModelProto, is_small: bool) -> None:
    """ONNX's own checker and shape inference, on the file without the values of large weights and without the shapes
    that it states of its inner values: those may be wrong, and are found anew."""
    lean = ModelProto()
    if is_small:
        lean.CopyFrom(model)
    else:
        _copy_without_weights(model, lean)
    del lean.graph.value_info[:]
    try:
        onnx.checker.check_model(lean)
    except Exception as error:  # onnx.checker.ValidationError, and errors of protobuf
        text = str(error)
        if "topologically sorted" in text or "must be topologically" in text:
            raise WeightsError(
                "has nodes that go round in a circle, or stand before their inputs; export it again."
            ) from None
        if "No Op registered" in text or "No opset import" in text or "No schema registered" in text:
            return  # a custom or newer operator, which is named where it is met
        raise WeightsError(f"does not pass the checker of ONNX: {_first_line(text)}.") from None
    try:
        onnx.shape_inference.infer_shapes(lean, check_type=True, strict_mode=True)
    except Exception as error:  # onnx.shape_inference.InferenceError
        raise WeightsError(f"has shapes that contradict each other: {_first_line(str(error))}.") from None


def _copy_without_weights(model: ModelProto, lean: ModelProto) -> None:
    lean.ir_version, lean.producer_name = max(4, model.ir_version), "lean"
    lean.opset_import.extend(model.opset_import)
    graph = lean.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    inputs = {each.name for each in model.graph.input}
    large = set()
    for weight in model.graph.initializer:
        if prod(weight.dims) <= 1024:
            graph.initializer.append(weight)
        else:
            large.add(weight.name)
            graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)))
    graph.input.extend(each for each in model.graph.input if each.name not in large)
    assert inputs or large


def _first_line(text: str) -> str:
    return quote(next((line for line in text.splitlines() if line.strip()), "unknown"))
