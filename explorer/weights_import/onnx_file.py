"""Parses an ONNX file and checks it before anything is made of it; runs in the child process only."""

import re
from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import ModelProto, TensorProto

from explorer.weights_import.report import WeightsError, quote

MAX_NODES = 20_000  # of the file; 5,000 of a network
MAX_PARTS = 500_000  # messages, names and numbers of the graph, which take a hundred times their bytes in memory
# The numbers of the fields that hold others, in ONNX's protobuf.
INSIDE = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "weight"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
}


def check_counts(content: bytes) -> None:
    """Raises WeightsError for more nodes than a network has, before they become objects."""
    counts: Counter[str] = Counter()
    waiting = [("model", 0, len(content))]
    while waiting:
        kind, start, end = waiting.pop()
        for number, first, last in _fields(content, start, end):
            inside = INSIDE[kind].get(number, "")
            counts[inside] += 1
            if counts["node"] > MAX_NODES or counts["weight"] > MAX_NODES:
                raise WeightsError(f"holds more than {MAX_NODES:,} nodes or weights, and no such network is shown.")
            if counts.total() > MAX_PARTS:
                raise WeightsError("holds more names and settings than a network has; export or download it again.")
            if inside in INSIDE:
                waiting.append((inside, first, last))


def _fields(content: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a protobuf message; ends where it is damaged, which the parser says."""

    def number() -> int:
        nonlocal at
        value = shift = 0
        while at < end and shift < 70:
            at += 1
            value |= (content[at - 1] & 127) << shift
            if content[at - 1] < 128:
                return value
            shift += 7
        at = end
        return 0

    while at < end:
        key = number()
        first = at
        if key & 7 == 2:
            size = number()
            first, at = at, at + size
        elif key & 7 == 0:
            number()
        elif key & 7 in (1, 5):
            at += 8 if key & 7 == 1 else 4
        else:
            return
        if at > end:
            return
        yield key >> 3, first, at


def parsed(content: bytes) -> ModelProto:
    check_counts(content)
    try:
        model = onnx.load_model_from_string(content)
    except Exception:  # protobuf's own errors
        raise WeightsError("looks like an ONNX file and is damaged or cut off; export or download it again.") from None
    graph = model.graph
    if not graph.node or not graph.output:
        raise WeightsError("looks like an ONNX file and holds no graph; export it again.")
    if model.functions:
        model = _without_functions(model)
        graph = model.graph
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
    twice = [name for name, count in Counter(each.name for each in graph.initializer).items() if count > 1]
    if twice:
        raise WeightsError(f"has two weights of the name {quote(twice[0])}; export it again.")
    if graph.sparse_initializer:
        raise WeightsError("holds sparse weights; export ordinary ones.")
    _check_model(model, len(content) < 2**22)
    return model


def _without_functions(model: ModelProto) -> ModelProto:
    """The model with the nodes of its functions in the place of their calls."""
    functions = {(each.domain, each.name): each for each in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size_of(nodes: Any, outer: frozenset[tuple[str, str]]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in outer:
                raise WeightsError(f"has a function {quote(node.op_type)} that calls itself, so it has no end.")
            if key in functions and key not in sizes:
                sizes[key] = size_of(functions[key].node, outer | {key})
            total += sizes.get(key, 1)
        return total

    try:
        if size_of(model.graph.node, frozenset()) > MAX_NODES:
            raise WeightsError(f"holds more than {MAX_NODES:,} nodes in its functions, and no such network is shown.")
        inlined: ModelProto = onnx.inliner.inline_local_functions(model)
    except WeightsError:
        raise
    except Exception:  # RecursionError, and those of ONNX's inliner
        raise WeightsError("has functions that cannot be put in the place of their calls; export it again.") from None
    return inlined


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
    stated = [output for output in lean.graph.output if output.type.tensor_type.HasField("shape")]
    del lean.graph.output[:]
    lean.graph.output.extend(stated)  # the checker demands a shape of each, and nothing here does
    try:
        onnx.checker.check_model(lean)
    except UnicodeDecodeError:
        raise WeightsError("has a name or text that is not in UTF-8, as ONNX demands it.") from None
    except Exception as error:  # onnx.checker.ValidationError, and errors of protobuf
        text = str(error)
        if "topologically sorted" in text or "must be topologically" in text:
            raise WeightsError(
                "has nodes that go round in a circle, or stand before their inputs; export it again."
            ) from None
        if any(words in text for words in ("No Op registered", "No opset import", "No schema", "is deprecated")):
            return  # a custom, newer or older operator, which is named where it is met
        raise WeightsError(f"does not pass the checker of ONNX: {_first_line(text)}.") from None
    try:
        onnx.shape_inference.infer_shapes(lean, check_type=True, strict_mode=True)
    except Exception as error:  # onnx.shape_inference.InferenceError
        text = str(error)
        match = re.search(r"op_type: ?(\w+)(?:, node name: ([^)]*))?", text)
        where = f" at the operator {quote(match[1])}{f', node {quote(match[2])}' if match[2] else ''}" if match else ""
        raise WeightsError(f"has shapes that contradict each other{where}: {_first_line(text)}.") from None


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
    """What ONNX says in its first line, without its kind and place, which stand in front."""
    line = next((line for line in text.splitlines() if line.strip()), "unknown")
    return quote(
        re.sub(r"\b\w*(Error|Exception)\b", "error", re.sub(r".*(\[\w+\]|\): ) *(?=.)", "", line)).rstrip(". ")
    )
