"""Reads an ONNX file into the nodes and weights of a `GraphSpec`; runs in the child process only.

Protobuf alone is parsed, and no file beside it. What does not depend on the picture is computed here, by the reference
implementation of ONNX, so that the graph that is left has only operations on the picture. Shapes are those of two
batches of different size: where the two differ is the batch.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from explorer.architectures.description import shape_after
from explorer.architectures.operators import OWN, operation
from explorer.weights_import.report import WeightsError, quote

MAX_NODES = 20_000  # of the file; 5,000 of a network
MAX_CONSTANT = 2**26  # values of what the file has computed
BATCHES = (2, 3)
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
HEAVY = {"Conv", "ConvTranspose", "Linear", "MaxPool", "AveragePool"}  # whose shapes torch finds without values
Constant = tuple[np.ndarray, np.ndarray]  # for both batches; often the same


@dataclass(eq=False)
class Value:
    """What depends on the picture: the number of the node that gives it, and its shape for both batches."""

    node: int
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    channels_last: bool = False

    @property
    def rank(self) -> int:
        return len(self.shapes[0])

    def axis(self, axis: int) -> int:
        return axis % self.rank


@dataclass(eq=False)
class Node:
    """A node of the graph that is made: `inputs` are numbers of earlier nodes (-1 is the picture), the names of its
    own weights behind a colon, or numbers as floats."""

    operator: str
    inputs: list[Any]
    attributes: dict[str, Any]
    weights: dict[str, Tensor]
    scope: tuple[str, ...] | None  # the modules that it stands in, from the outermost; None where nothing tells
    label: str  # its own name, where it has one
    value: Value | None = None


@dataclass(eq=False)
class Graph:
    """The nodes in order; the last gives the logits, and `softmax` names what followed it in the file."""

    nodes: list[Node]
    input_shape: tuple[int, int, int]
    classes: int
    title: str
    softmax: str
    evidence: list[str]
    uncertain: list[str]
    metadata: dict[str, str] = field(default_factory=dict)


def read_graph(content: bytes) -> Graph:
    """Raises WeightsError with a sentence that lacks its subject, the file's name."""
    model = _parsed(content)
    return _Reader(model).graph()


# --- the file --------------------------------------------------------------------------------------------------------


def _parsed(content: bytes) -> ModelProto:
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
                    f"has the operator {quote(node.op_type)} at node {quote(node.name or node.output[0])}, which holds a graph of its "
                    "own, as loops and branches do; this app shows networks without them."
                )
            tensors += [attribute.t] if attribute.HasField("t") else []
            tensors += attribute.tensors
    for tensor in tensors:
        _check_tensor(tensor)
    if graph.sparse_initializer:
        raise WeightsError("holds sparse weights; export ordinary ones.")
    _check_model(model)
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


def _check_model(model: ModelProto) -> None:
    """ONNX's own checker and shape inference, on the file without the values of large weights and without the shapes
    that it states of its inner values: those may be wrong, and are found anew."""
    lean = ModelProto()
    lean.CopyFrom(model) if model.ByteSize() < 2**22 else _copy_without_weights(model, lean)
    del lean.graph.value_info[:]
    try:
        onnx.checker.check_model(lean)
    except Exception as error:  # onnx.checker.ValidationError, and errors of protobuf
        text = str(error)
        if "topologically sorted" in text or "must be topologically" in text:
            raise WeightsError("has nodes that go round in a circle, or stand before their inputs; export it again.") from None
        if "No Op registered" in text or "No opset import" in text or "No schema registered" in text:
            return  # a custom or newer operator, which is named where it is met
        raise WeightsError(f"does not pass the checker of ONNX: {_first_line(text)}") from None
    try:
        onnx.shape_inference.infer_shapes(lean, check_type=True, strict_mode=True)
    except Exception as error:  # onnx.shape_inference.InferenceError
        raise WeightsError(f"has shapes that contradict each other: {_first_line(str(error))}") from None


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


# --- the graph -------------------------------------------------------------------------------------------------------


class _Missing(Exception):
    """An operator, or a form of one, that is not supported; the message ends "which ..." or names the form."""


class _Reader:
    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1)
        self.nodes: list[Node] = []
        self.values: dict[str, Value | Constant] = {"": ()}  # type: ignore[dict-item]
        self.evidence: list[str] = []
        self.uncertain: list[str] = []
        self.proto: NodeProto
        self.picture = Value(-1, ((), ()))

    def graph(self) -> Graph:
        model = self.model
        producer = f"{model.producer_name} {model.producer_version}".strip()
        self.evidence.append(f"an ONNX file of opset {self.opset}{f', written by {quote(producer)}' if producer else ''}")
        weights = {}
        for tensor in model.graph.initializer:
            weights[tensor.name] = self.weight(tensor)
            self.values[tensor.name] = (weights[tensor.name],) * 2
        shape = self._input([each for each in model.graph.input if each.name not in weights])
        for proto in model.graph.node:
            self._convert(proto)
        last = self._output()
        self._fold_bias()
        nodes, softmax = self._trimmed(last)
        classes = nodes[-1].value.shapes[0][-1]  # type: ignore[union-attr]
        if classes == 1:
            # One number z says yes or no: -z and z are the logits of two classes, whose sigmoid is that of z.
            both = Value(len(nodes), ((BATCHES[0], 2), (BATCHES[1], 2)))
            nodes.append(Node("BothSigns", [len(nodes) - 1], {}, {}, nodes[-1].scope, "signs", both))
            classes = 2
        metadata = {each.key: each.value for each in model.metadata_props if len(each.value) < 2**20}
        return Graph(nodes, shape, classes, self._title(), softmax, self.evidence, self.uncertain, metadata)

    def weight(self, tensor: TensorProto) -> np.ndarray:
        try:
            values = numpy_helper.to_array(tensor)
        except Exception:  # numpy's and protobuf's
            raise WeightsError(f"has a weight {quote(tensor.name)} that cannot be read; export it again.") from None
        if tensor.data_type in FLOATS:
            values = values.astype(np.float32)
            if not np.isfinite(values).all() and values.size > 1:
                raise WeightsError(
                    f"holds values that are not a number or infinite in {quote(tensor.name)}; its training diverged, or "
                    "the file is damaged."
                )
        return values

    def _input(self, inputs: Sequence[Any]) -> tuple[int, int, int]:
        """The shape (C, H, W) of the picture."""
        if len(inputs) != 1:
            names = ", ".join(quote(each.name) for each in inputs[:3])
            raise WeightsError(f"has {len(inputs)} inputs ({names}), and a network for pictures has one.")
        kind = inputs[0].type.tensor_type
        sides = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in kind.shape.dim]
        said = "×".join(str(side or "?") for side in sides)
        if len(sides) != 4:
            raise WeightsError(f"has an input of shape {said or 'unknown'}, and pictures are N×C×H×W or N×H×W×C.")
        if kind.elem_type not in FLOATS:
            raise WeightsError(f"takes pictures as whole numbers (input {quote(inputs[0].name)}); export it for float32.")
        last = sides[1] not in (1, 3) and sides[3] in (1, 3)
        channels, height, width = (sides[3], sides[1], sides[2]) if last else sides[1:]
        if channels not in (1, 3):
            raise WeightsError(f"has an input of shape {said}, and a network for pictures takes 1 or 3 channels.")
        if not height or not width:
            height, width = height or width or 224, width or height or 224
            self.uncertain.append(f"the size of the pictures, which the file leaves open: {height}×{width}")
        if not all(1 <= side <= 2048 for side in (height, width)):
            raise WeightsError(f"takes pictures of {height}×{width} pixels; 2048×2048 is the most.")
        self.fixed_batch = sides[0]
        self.picture = Value(-1, tuple((n, channels, height, width) for n in BATCHES))  # type: ignore[arg-type]
        self.evidence.append(f"its input {quote(inputs[0].name)} is {said}{', channels last' if last else ''}")
        self.values[inputs[0].name] = self.picture
        if last:
            self.proto = NodeProto(op_type="Transpose", name="channels_last")
            self.values[inputs[0].name] = self.transpose(self.picture, [0, 2, 3, 1])
        return channels, height, width

    def _output(self) -> Value:
        found = []
        for output in self.model.graph.output:
            value = self.values.get(output.name)
            if isinstance(value, Value) and prod(value.shapes[0]) == BATCHES[0] * max(value.shapes[0][1:] or (0,)):
                found.append((output.name, value))
        if not found:
            raise WeightsError("gives no classes: none of its outputs is N×classes, as a classifier's are.")
        name, value = found[0]
        if len(self.model.graph.output) > 1:
            self.uncertain.append(f"which of its {len(self.model.graph.output)} outputs has the classes: {quote(name)}")
        if value.rank != 2:
            self.proto = NodeProto(op_type="Flatten", name="flatten")
            value = self.emit("Flatten", [value])
        return value

    def _title(self) -> str:
        for node in self.model.graph.node:
            for each in node.metadata_props:
                if each.key == "namespace":
                    found = re.match(r": *[\w.]*?(\w+)(/|$)", each.value[:400])
                    if found:
                        return found[1][:60]
        return ""

    # --- nodes

    def _convert(self, proto: NodeProto) -> None:
        self.proto = proto
        where = f"at node {quote(proto.name or (proto.output or [''])[0])}"
        operator = proto.op_type
        if proto.domain not in ("", "ai.onnx"):
            raise WeightsError(
                f"uses the operator {quote(operator)} of {quote(proto.domain)} {where}, which is none of ONNX's own; "
                "export it without such operators."
            )
        try:
            inputs = [self.values[name] for name in proto.input]
        except KeyError as error:
            raise WeightsError(
                f"takes {quote(error.args[0])} {where}, which no node before gives: its nodes go round in a circle, or "
                "one is missing."
            ) from None
        try:
            if not any(isinstance(value, Value) for value in inputs) or operator in ("Shape", "Size"):
                results: list[Any] = self._computed(inputs)
            else:
                rule = RULES.get(operator)
                if rule is None:
                    raise _Missing("")
                made = rule(self, *inputs)
                results = made if isinstance(made, list) else [made]
        except _Missing as error:
            form = f" with {error}" if str(error) else ""
            raise WeightsError(
                f"uses the operator {quote(operator)}{form} {where}, which this app cannot show; export the network "
                "without it."
            ) from None
        except (WeightsError, MemoryError):
            raise
        except Exception:  # of numpy, torch and ONNX's reference, for inputs that do not fit
            raise WeightsError(f"has an operator {quote(operator)} {where} whose inputs do not fit it.") from None
        for name, result in zip(proto.output, results, strict=False):
            if name:
                self.values[name] = result

    def _computed(self, inputs: Sequence[Any]) -> list[Constant]:
        """What does not depend on the picture, for both batches."""
        if self.proto.op_type in ("Shape", "Size"):
            shapes = [np.array(value.shapes[n] if isinstance(value, Value) else value[n].shape) for value in inputs for n in (0, 1)]
            start, end = self.attribute("start", 0), self.attribute("end", None)
            if self.proto.op_type == "Size":
                return [(np.array(shapes[0].prod()), np.array(shapes[1].prod()))]
            return [(shapes[0][start:end], shapes[1][start:end])]
        for value in inputs:
            if value and max(value[0].size, value[1].size) > MAX_CONSTANT:
                raise WeightsError("computes weights of more values than a network has.")
        if self.proto.op_type in ("ConstantOfShape", "Expand", "Tile", "Range"):
            asked = inputs[0] if self.proto.op_type == "ConstantOfShape" else inputs[1]
            if self.proto.op_type != "Range" and np.prod(asked[1].astype(float)) > MAX_CONSTANT:
                raise WeightsError("computes weights of more values than a network has.")
        if self.proto.op_type in ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"):
            raise _Missing("")
        evaluator = ReferenceEvaluator(
            onnx.helper.make_model(
                onnx.helper.make_graph(
                    [self.proto],
                    "node",
                    [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in dict.fromkeys(self.proto.input) if name],
                    [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in self.proto.output],
                ),
                opset_imports=self.model.opset_import,
            )
        )
        both = []
        same = all(not value or value[0] is value[1] for value in inputs)
        for n in (0,) if same else (0, 1):
            given = {name: value[n] for name, value in zip(self.proto.input, inputs, strict=True) if name}
            both.append([self._plain(np.asarray(each)) for each in evaluator.run(None, given)])
        return [(a, a) for a in both[0]] if same else list(zip(*both, strict=True))

    def _plain(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32) if values.dtype.kind == "f" or "float" in values.dtype.name else values

    def attribute(self, name: str, default: Any = None) -> Any:
        for each in self.proto.attribute:
            if each.name == name:
                value = onnx.helper.get_attribute_value(each)
                return value.decode(errors="replace") if isinstance(value, bytes) else value
        return default

    def setting(self, name: str, inputs: Sequence[Any], place: int) -> list[int] | None:
        """A list of whole numbers, an attribute in old opsets and a constant input in new ones."""
        value = self.attribute(name)
        if value is None and len(inputs) > place and inputs[place]:
            value = self.ints(inputs[place])
        return None if value is None else [int(each) for each in np.atleast_1d(value)]

    def ints(self, value: Any) -> list[int]:
        if isinstance(value, Value):
            raise _Missing("numbers that depend on the picture")
        if not np.array_equal(*value):
            raise _Missing("numbers that depend on how many pictures there are")
        return [int(each) for each in np.atleast_1d(value[0])]

    def number(self, value: Any) -> float:
        if isinstance(value, Value) or value[0].size != 1:
            raise _Missing("a number that depends on the picture")
        return float(value[0].reshape(-1)[0])

    def emit(self, operator: str, inputs: Sequence[Any], last: bool | None = None, **attributes: Any) -> Value:
        """A new node. Its inputs are values, floats, and constants, which become its weights."""
        weights: dict[str, Tensor] = {}
        names: list[Any] = []
        for each in inputs:
            if isinstance(each, Value):
                names.append(each.node)
            elif isinstance(each, float):
                names.append(each)
            elif isinstance(each, tuple) and isinstance(each[0], str):
                name, values = each
                if name == "weight" or name not in weights:
                    weights[name] = torch.from_numpy(np.array(values, np.float32, order="C"))  # a copy
                names.append(f"{OWN}{name}")
        return self.add(operator, names, weights, [each for each in inputs if isinstance(each, Value)], attributes, last)

    def add(
        self, operator: str, names: list[Any], weights: dict[str, Tensor], values: Sequence[Value],
        attributes: dict[str, Any], last: bool | None = None,
    ) -> Value:  # fmt: skip
        with torch.device("meta"), torch.no_grad():
            module = operation(operator, ["x" if isinstance(each, int) else each for each in names], attributes,
                               {name: tuple(each.shape) for name, each in weights.items()}).eval()  # fmt: skip
            shapes = []
            for n in (0, 1):
                tensors = [torch.empty(value.shapes[n]) for value in values]
                found = shape_after(module, *tensors)
                if found is None and operator not in HEAVY:
                    # Real values, of one number: without them torch imports its compiler, which this process may not.
                    module = module.to_empty(device="cpu")
                    tensors = [torch.zeros((), device="cpu").expand(value.shapes[n]) for value in values]
                shape = tuple(module(*tensors).shape if found is None else found)
                if prod(shape[1:]) > 2**27:
                    raise WeightsError(f"has an output of {prod(shape[1:]):,} values for one picture at node {quote(self.proto.name)}.")
                shapes.append(shape)
        first = max(values, key=lambda value: value.rank)
        value = Value(len(self.nodes), (shapes[0], shapes[1]), first.channels_last if last is None else last)
        value.channels_last = value.channels_last and value.rank == 4
        scope, label = scope_of(self.proto)
        if operator in ("Conv", "Linear", "ConvTranspose", "BatchNormalization") and len(self.proto.input) > 1:
            owner = self.proto.input[1].removesuffix(".weight")  # the module's own name, where the exporter kept it
            if owner != self.proto.input[1] and re.fullmatch(r"[\w.-]+", owner):
                scope = tuple(owner.split("."))
        self.nodes.append(Node(operator, names, attributes, weights, scope, label, value))
        return value

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        """Two that undo each other leave nothing."""
        before = self.nodes[x.node] if x.node >= 0 else None
        if before is not None and before.operator == "Transpose":
            both = [before.attributes["perm"][axis] for axis in perm]
            origin = self.picture if before.inputs[0] == -1 else self.nodes[before.inputs[0]].value
            if both == sorted(both) and origin is not None:
                return origin
        last = {(0, 2, 3, 1): True, (0, 3, 1, 2): False}.get(tuple(perm))
        return self.emit("Transpose", [x], last, perm=[int(axis) for axis in perm])

    def reshape(self, x: Value, target: Callable[[int], Sequence[int]]) -> Value:
        """`target(n)` is the shape for batch n. Where the two differ is the batch."""
        shapes = []
        for n in (0, 1):
            shape = [int(each) for each in target(n)]
            size = prod(x.shapes[n])
            if not self.attribute("allowzero", 0):
                shape = [x.shapes[n][axis] if side == 0 else side for axis, side in enumerate(shape)]
            known = prod(side for side in shape if side != -1)
            fixed = self.fixed_batch
            if fixed and shape and shape[0] == fixed and (size % known or -1 not in shape and known != size or -1 in shape and fixed == 1):
                if -1 not in shape or x.shapes[n][0] == BATCHES[n]:
                    shape[0] = BATCHES[n]  # a file for batches of one size, used for any
                    known = prod(side for side in shape if side != -1)
            shapes.append([size // known if side == -1 else side for side in shape])
        different = [axis for axis, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b]
        if len(different) != 1 or prod(shapes[0]) != prod(x.shapes[0]):
            raise _Missing("a shape that mixes pictures")
        shape = [-1 if axis == different[0] else side for axis, side in enumerate(shapes[0])]
        if shapes[0] == list(x.shapes[0]):
            return x
        if len(shape) == 2 and different == [0] and x.rank == 4 and not x.channels_last:
            return self.emit("Flatten", [x])
        return self.emit("Reshape", [x], False, shape=shape)

    # --- the end

    def _fold_bias(self) -> None:
        """A constant that is added to a fully connected layer is its bias."""
        users = self._users()
        for index, node in enumerate(self.nodes):
            values = [each for each in node.inputs if isinstance(each, int) and each >= 0]
            if node.operator != "Add" or len(values) != 1 or not node.weights or users[values[0]] != [index]:
                continue
            linear, (bias,) = self.nodes[values[0]], node.weights.values()
            if linear.operator == "Linear" and "bias" not in linear.weights:
                if bias.numel() == linear.weights["weight"].shape[0] == bias.shape[-1]:
                    linear.weights["bias"] = bias.reshape(-1)
                    linear.inputs.append(f"{OWN}bias")
                    node.operator, node.inputs, node.weights = "Identity", values, {}

    def _users(self) -> dict[int, list[int]]:
        users: dict[int, list[int]] = {index: [] for index in range(-1, len(self.nodes))}
        for index, node in enumerate(self.nodes):
            for each in node.inputs:
                if isinstance(each, int):
                    users[each].append(index)
        return users

    def _trimmed(self, last: Value) -> tuple[list[Node], str]:
        """The nodes up to the logits that these depend on, renumbered."""
        end, softmax = last.node, ""
        while end >= 0 and self.nodes[end].operator in ("Softmax", "LogSoftmax", "Sigmoid", "Identity", "Flatten"):
            node = self.nodes[end]
            before = self.nodes[node.inputs[0]] if node.inputs[0] >= 0 else None
            if before is None or before.value is None or before.value.rank != 2 and node.operator != "Softmax":
                break
            if node.operator in ("Softmax", "LogSoftmax", "Sigmoid"):
                softmax = node.operator
            end = node.inputs[0]
        if end < 0:
            raise WeightsError("has no operation between its input and its output.")
        if self.nodes[end].value.rank != 2:  # type: ignore[union-attr]
            end = last.node
            softmax = ""
        needed = set()
        waiting = [end]
        while waiting:
            index = waiting.pop()
            if index >= 0 and index not in needed:
                needed.add(index)
                waiting += [each for each in self.nodes[index].inputs if isinstance(each, int)]
        numbers, kept = {-1: -1}, []
        for index, node in enumerate(self.nodes):
            if node.operator == "Identity":
                numbers[index] = numbers[node.inputs[0]]
            elif index in needed:
                node.inputs = [numbers[each] if isinstance(each, int) else each for each in node.inputs]
                numbers[index] = len(kept)
                kept.append(node)
        return kept, softmax


def scope_of(proto: NodeProto) -> tuple[tuple[str, ...] | None, str]:
    """The dotted path of the module that a node stands in, None where nothing tells it, and its own name there.

    From the exporter's metadata, else from a name with slashes: "/layer1/layer1.0/conv1/Conv".
    """
    known = {each.key: each.value[:4000] for each in proto.metadata_props}
    if "pkg.torch.onnx.name_scopes" in known:
        names = re.findall(r"'([^']*)'", known["pkg.torch.onnx.name_scopes"])[:-1]
        return tuple(names[-1].split(".")) if names and names[-1] else (), ""
    if "namespace" in known:
        names = [part.split(":")[0].strip() for part in known["namespace"].split("/")][:-1]
        return tuple(names[-1].split(".")) if names and names[-1] else (), ""
    parts = [part for part in re.split(r"[/;]", re.sub(r"__\d+$", "", proto.name[:1000])) if part]
    path: list[str] = []
    for part in parts[:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path[-1] = part
        else:
            path.append(part)
    label = "" if path or not parts or re.fullmatch(rf"(node_)?{proto.op_type}[_\d]*", parts[0]) else parts[0]
    return tuple(".".join(path).split(".")) if path else () if label else None, label


# --- one small rule an operator: what its inputs and attributes mean to the functions of `architectures.operators` -----


def _same_batches(value: Constant) -> np.ndarray:
    """A constant that may have the batch's size along its first axis, with 1 in its place."""
    a, b = value
    if a is b or a.shape == b.shape and np.array_equal(a, b):
        return a
    if a.ndim and a.shape[1:] == b.shape[1:] and (a[:1] == a).all() and (b == a[:1]).all():
        return a[:1]
    raise _Missing("a constant that depends on how many pictures there are")


def _own(name: str, value: Any) -> tuple[str, np.ndarray]:
    if isinstance(value, Value):
        raise _Missing("weights that depend on the picture")
    return name, _same_batches(value)


def _operand(value: Any, name: str = "value") -> Any:
    """An input of an arithmetic operation: a value, a number, or an own weight."""
    if isinstance(value, Value):
        return value
    array = _same_batches(value)
    if array.dtype.kind not in "fiu":
        raise _Missing("a constant that is no number")
    return float(array.reshape(-1)[0]) if array.size == 1 and np.isfinite(array).all() else (name, array)


def _arithmetic(r: _Reader, *inputs: Any) -> Value:
    operator = r.proto.op_type
    if len(inputs) == 1:
        return inputs[0]
    if len(inputs) > 2 and operator in ("Max", "Min"):
        raise _Missing(f"{len(inputs)} inputs")
    values = [value for value in inputs if isinstance(value, Value)]
    if operator == "Add" and len(values) == 2 and values[0].shapes == values[1].shapes and values[0].node != values[1].node:
        return r.emit("Residual", values)
    last = any(value.channels_last for value in values)
    operands = [_operand(value, f"value{index}" if index else "value") for index, value in enumerate(inputs)]
    if operator in ("Max", "Min") and not isinstance(operands[0], Value):
        operands.reverse()
    if operator in ("Max", "Min") and not isinstance(operands[1], Value | float):
        raise _Missing("a constant that is no single number")
    rank = max(value.rank for value in values)
    for each in operands:
        if isinstance(each, tuple) and each[1].ndim > rank:
            raise _Missing("a constant of more axes")
    return r.emit(operator, operands, last)


def _unary(**defaults: float) -> Callable[..., Value]:
    def rule(r: _Reader, x: Value, *_: Any) -> Value:
        attributes = {name: float(r.attribute(name, default)) for name, default in defaults.items()}
        return r.emit(r.proto.op_type, [x], **attributes)

    return rule


def _pads(r: _Reader, x: Value, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """top, left, bottom, right"""
    auto = r.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID", ""):
        pads = [int(each) for each in r.attribute("pads", [0] * 4)] if auto != "VALID" else [0] * 4
        if len(pads) != 4 or min(pads) < 0 or max(pads) > 1024:
            raise _Missing("such pads")
        return pads
    before, after = [], []
    for size, window, stride, dilation in zip(x.shapes[0][2:], kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size)
        low, high = total // 2, total - total // 2
        before.append(low if auto == "SAME_UPPER" else high)
        after.append(high if auto == "SAME_UPPER" else low)
    return [*before, *after]


def _pair(r: _Reader, name: str) -> list[int]:
    values = [int(each) for each in r.attribute(name, (1, 1))]
    if len(values) != 2 or not all(1 <= each <= 1024 for each in values):
        raise _Missing(f"{name} {values}")
    return values


def _planar(x: Value) -> None:
    if x.rank != 4:
        raise _Missing(f"an input of {x.rank} axes, not of 4")


def _conv(r: _Reader, x: Value, weight: Any, bias: Any = None) -> Value:
    _planar(x)
    name, values = _own("weight", weight)
    if values.ndim != 4:
        raise _Missing(f"weights of {values.ndim} axes")
    strides, dilations = _pair(r, "strides"), _pair(r, "dilations")
    pads = _pads(r, x, values.shape[2:], strides, dilations)
    biases = [_own("bias", bias)] if bias else []
    if biases and biases[0][1].shape != values.shape[:1]:
        raise _Missing("a bias of another length")
    return r.emit("Conv", [x, (name, values), *biases], strides=strides, dilations=dilations, pads=pads,
                  group=int(r.attribute("group", 1)))  # fmt: skip


def _conv_transpose(r: _Reader, x: Value, weight: Any, bias: Any = None) -> Value:
    _planar(x)
    if r.attribute("output_shape") is not None or r.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise _Missing("padding by itself")
    pads = [int(each) for each in r.attribute("pads", [0] * 4)]
    biases = [_own("bias", bias)] if bias else []
    extra = [int(each) for each in r.attribute("output_padding", (0, 0))]
    return r.emit("ConvTranspose", [x, _own("weight", weight), *biases], pads=pads, stride=_pair(r, "strides"),
                  dilation=_pair(r, "dilations"), output_padding=extra, groups=int(r.attribute("group", 1)))  # fmt: skip


def _linear(r: _Reader, x: Value, weight: np.ndarray, bias: np.ndarray | None) -> Value:
    biases = [] if bias is None else [("bias", np.broadcast_to(bias, (1, weight.shape[0])).reshape(-1))]
    return r.emit("Linear", [x, ("weight", weight), *biases])


def _gemm(r: _Reader, x: Any, weight: Any, bias: Any = None) -> Value:
    if not isinstance(x, Value) or r.attribute("transA", 0):
        raise _Missing("transposed pictures")
    values = _own("weight", weight)[1] * np.float32(r.attribute("alpha", 1.0))
    biases = _own("bias", bias)[1] * np.float32(r.attribute("beta", 1.0)) if bias else None
    return _linear(r, x, values if r.attribute("transB", 0) else values.T, biases)


def _matmul(r: _Reader, a: Any, b: Any) -> Value:
    if isinstance(a, Value) and not isinstance(b, Value) and b[0].ndim == 2:
        return _linear(r, a, _own("weight", b)[1].T, None)
    return r.emit("MatMul", [_operand(a), _operand(b)])


def _batch_norm(r: _Reader, x: Value, *weights: Any) -> Value:
    if r.attribute("training_mode", 0):
        raise _Missing("training mode")
    names = ("weight", "bias", "running_mean", "running_var")
    own: list[Any] = [_own(name, value) for name, value in zip(names, weights, strict=True)]
    if own[3][1].min() < 0:
        raise WeightsError(f"holds a negative variance at node {quote(r.proto.name)}; the file is damaged.")
    if x.rank == 4:
        value = r.emit("BatchNormalization", [x, *own], epsilon=float(r.attribute("epsilon", 1e-5)))
        r.nodes[-1].weights["num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
        return value
    own = [(name.replace("running_", "moving_"), values) for name, values in own]
    return r.emit("BatchNormalization", [x, *own], epsilon=float(r.attribute("epsilon", 1e-5)))


def _norm(r: _Reader, x: Value, *weights: Any) -> Value:
    given = [_own(name, value) for name, value in zip(("weight", "bias"), weights, strict=False) if value]
    epsilon = float(r.attribute("epsilon", 1e-5))
    if r.proto.op_type == "LayerNormalization":
        axis = x.axis(r.attribute("axis", -1))
        given = [(name, values.reshape(x.shapes[0][axis:])) for name, values in given]
        return r.emit("LayerNormalization", [x, *given], axis=axis, epsilon=epsilon)
    if r.proto.op_type == "GroupNormalization":
        groups = int(r.attribute("num_groups", 1))
        each = x.shapes[0][1] // groups
        given = [(name, np.repeat(values, each) if len(values) == groups != x.shapes[0][1] else values) for name, values in given]
        return r.emit("GroupNormalization", [x, *given], groups=groups, epsilon=epsilon)
    _planar(x)
    return r.emit("InstanceNormalization", [x, *given], epsilon=epsilon)


def _pool(r: _Reader, x: Value) -> Value:
    _planar(x)
    kernel = [int(each) for each in r.attribute("kernel_shape")]
    strides, dilations = _pair(r, "strides"), _pair(r, "dilations")
    if len(kernel) != 2 or len(r.proto.output) > 1 and r.proto.output[1] or r.attribute("storage_order", 0):
        raise _Missing("indices or other axes")
    pads, ceil = _pads(r, x, kernel, strides, dilations), bool(r.attribute("ceil_mode", 0))
    if r.proto.op_type == "MaxPool":
        return r.emit("MaxPool", [x], kernel=kernel, strides=strides, pads=pads, dilations=dilations, ceil=ceil)
    if dilations != [1, 1] or ceil and pads[:2] != pads[2:]:
        raise _Missing("dilations")
    counted = bool(r.attribute("count_include_pad", 0))
    return r.emit("AveragePool", [x], kernel=kernel, strides=strides, pads=pads, ceil=ceil, count_include_pad=counted)


def _global(operator: str) -> Callable[..., Value]:
    def rule(r: _Reader, x: Value) -> Value:
        return r.emit(operator, [x], axes=list(range(2, x.rank)), keepdims=True)

    return rule


def _reduce(r: _Reader, x: Value, *inputs: Any) -> Value:
    axes = r.setting("axes", (x, *inputs), 1)
    if not axes:
        if r.attribute("noop_with_empty_axes", 0):
            return x
        raise _Missing("all axes, that of the pictures too")
    axes = sorted(x.axis(axis) for axis in axes)
    if 0 in axes:
        raise _Missing("the axis of the pictures")
    return r.emit(r.proto.op_type, [x], axes=axes, keepdims=bool(r.attribute("keepdims", 1)))


def _clip(r: _Reader, x: Value, low: Any = None, high: Any = None) -> Value:
    ends: list[float | None] = []
    for name, given in (("min", low), ("max", high)):
        value = r.number(given) if given else r.attribute(name)
        ends.append(None if value is None or abs(value) > 3e38 else float(value))
    return x if ends == [None, None] else r.emit("Clip", [x], low=ends[0], high=ends[1])


def _softmax(r: _Reader, x: Value) -> Value:
    axis = r.attribute("axis", -1 if r.opset >= 13 else 1)
    if r.opset < 13 and x.axis(axis) != x.rank - 1 and prod(x.shapes[0][x.axis(axis) :]) != x.shapes[0][x.axis(axis)]:
        raise _Missing("several axes at once")
    return r.emit(r.proto.op_type, [x], axis=x.axis(axis))


def _concat(r: _Reader, *parts: Any) -> Value:
    values = [part for part in parts if isinstance(part, Value)]
    axis = values[0].axis(r.attribute("axis"))
    if axis == 0:
        raise _Missing("the axis of the pictures")
    if len(parts) == 1:
        return values[0]
    names = [part if isinstance(part, Value) else _own(f"value{index}", part) for index, part in enumerate(parts)]
    return r.emit("Concat", names, axis=axis)


def _slice_of(r: _Reader, x: Value, axis: int, start: int, end: int) -> Value:
    return r.emit("Slice", [x], axes=[axis], starts=[start], ends=[end], steps=[1])


def _split(r: _Reader, x: Value, *inputs: Any) -> list[Value]:
    axis = x.axis(r.attribute("axis", 0))
    size, count = x.shapes[0][axis], len(r.proto.output)
    step = -(-size // count)
    sizes = r.setting("split", (x, *inputs), 1) or [min(step, size - step * index) for index in range(count)]
    if axis == 0 or sum(sizes) != size:
        raise _Missing("such sizes")
    ends = np.cumsum(sizes)
    return [_slice_of(r, x, axis, int(end - part), int(end)) for part, end in zip(sizes, ends, strict=True)]


def _slice(r: _Reader, x: Value, *inputs: Any) -> Value:
    starts, ends = r.setting("starts", (x, *inputs), 1), r.setting("ends", (x, *inputs), 2)
    if starts is None or ends is None:
        raise _Missing("no ends")
    axes = [x.axis(axis) for axis in r.setting("axes", (x, *inputs), 3) or range(len(starts))]
    steps = r.setting("steps", (x, *inputs), 4) or [1] * len(starts)
    keep = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = x.shapes[0][axis]
        start, end, step = slice(start, end, step).indices(size)
        if step < 0:
            # torch has no step backwards; the same values are gathered.
            x, whole = r.emit("Gather", [x], indices=list(range(start, end, step)), axis=axis), True
        else:
            whole = (start, end, step) == (0, size, 1)
        if axis == 0 and not whole and (start, step) != (0, 1):
            raise _Missing("the axis of the pictures")
        if not whole and axis:
            keep.append((axis, start, end, step))
    if not keep:
        return x
    parts = [list(part) for part in zip(*keep, strict=True)]
    return r.emit("Slice", [x], axes=parts[0], starts=parts[1], ends=parts[2], steps=parts[3])


def _gather(r: _Reader, x: Any, indices: Any) -> Value:
    if not isinstance(x, Value):
        raise _Missing("a table")
    axis = x.axis(r.attribute("axis", 0))
    if x.rank == 1 and not isinstance(indices, Value):  # `as_strided` of PyTorch's exporter: all values in their order
        if all(np.array_equal(each.reshape(-1), np.arange(x.shapes[n][0])) for n, each in enumerate(indices)):
            return r.reshape(x, lambda n: indices[n].shape)
    places = r.ints(indices)
    size = x.shapes[0][axis]
    if axis == 0 or indices[0].ndim > 1 or len(places) > 8192 or not all(-size <= place < size for place in places):
        raise _Missing("such indices")
    places = [place % size for place in places]
    if indices[0].ndim == 0:
        return r.emit("Select", [x], index=places[0], axis=axis)
    return r.emit("Gather", [x], indices=places, axis=axis)


def _pad(r: _Reader, x: Value, *inputs: Any) -> Value:
    pads, mode = r.setting("pads", (x, *inputs), 1), r.attribute("mode", "constant")
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
    axes = [x.axis(axis) for axis in r.setting("axes", (x, *inputs), 3) or range(x.rank)]
    if pads is None or mode not in modes or len(pads) != 2 * len(axes):
        raise _Missing(f"mode {mode}")
    ends = {axis: (pads[place], pads[place + len(axes)]) for place, axis in enumerate(axes)}
    if ends.get(0, (0, 0)) != (0, 0) or max(map(abs, pads)) > 4096:
        raise _Missing("such pads")
    flat = [side for axis in reversed(range(1, x.rank)) for side in ends.get(axis, (0, 0))]
    while flat[-2:] == [0, 0]:
        flat = flat[:-2]
    if not flat:
        return x
    value = r.number(inputs[1]) if len(inputs) > 1 and inputs[1] else float(r.attribute("value", 0.0))
    return r.emit("Pad", [x], pads=flat, mode=modes[mode], value=value)


def _reshape(r: _Reader, x: Value, shape: Any = None) -> Value:
    if isinstance(shape, Value):
        raise _Missing("a shape that depends on the picture")
    target = (np.array(r.attribute("shape")),) * 2 if not shape else shape
    return r.reshape(x, lambda n: target[n].tolist())


def _flatten(r: _Reader, x: Value) -> Value:
    axis = r.attribute("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    if axis != 1:
        raise _Missing(f"axis {axis}")
    return x if x.rank == 2 else r.emit("Flatten", [x])


def _squeeze(r: _Reader, x: Value, *inputs: Any) -> Value:
    axes = r.setting("axes", (x, *inputs), 1)
    gone = {x.axis(axis) for axis in axes} if axes else {axis for axis in range(1, x.rank) if x.shapes[0][axis] == 1}
    return r.reshape(x, lambda n: [side for axis, side in enumerate(x.shapes[n]) if axis not in gone])


def _unsqueeze(r: _Reader, x: Value, *inputs: Any) -> Value:
    axes = r.setting("axes", (x, *inputs), 1) or []
    rank = x.rank + len(axes)
    new = {axis % rank for axis in axes}

    def target(n: int) -> list[int]:
        sides = iter(x.shapes[n])
        return [1 if axis in new else next(sides) for axis in range(rank)]

    return r.reshape(x, target)


def _transpose(r: _Reader, x: Value) -> Value:
    perm = [int(axis) for axis in r.attribute("perm", range(x.rank)[::-1])]
    return x if perm == sorted(perm) else r.transpose(x, perm)


def _expand(r: _Reader, x: Value, shape: Any) -> Value:
    if isinstance(shape, Value):
        raise _Missing("a shape that depends on the picture")
    shapes = [np.broadcast_shapes(x.shapes[n], tuple(shape[n].tolist())) for n in (0, 1)]
    if shapes[0] == x.shapes[0]:
        return x
    return r.emit("Expand", [x], shape=[-1 if a != b else int(a) for a, b in zip(*shapes, strict=True)])


def _cast(r: _Reader, x: Value, *_: Any) -> Value:
    if r.proto.op_type == "Cast" and r.attribute("to") not in FLOATS:
        raise _Missing("whole numbers")
    return x


def _same(r: _Reader, x: Value, *_: Any) -> Value:
    return x


def _gelu(r: _Reader, x: Value) -> Value:
    return r.emit("Gelu", [x], approximate=r.attribute("approximate", "none"))


def _prelu(r: _Reader, x: Value, slope: Any) -> Value:
    return r.emit("PRelu", [x, _own("weight", slope)])


def _resize(r: _Reader, x: Value, *inputs: Any) -> Value:
    _planar(x)
    given = [None, *inputs] if r.opset >= 11 else [None, None, *inputs]
    sizes = given[3] if len(given) > 3 else None
    if sizes:
        size = r.ints((sizes[0][2:], sizes[1][2:])) if len(sizes[0]) == 4 else r.ints(sizes)
    else:
        scales = np.asarray(given[2][0]).reshape(-1)
        size = [int(side * scale) for side, scale in zip(x.shapes[0][2:], scales[-2:], strict=True)]
    if len(size) != 2 or not all(1 <= side <= 4096 for side in size):
        raise _Missing("such a size")
    mode, places = r.attribute("mode", "nearest"), r.attribute("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest" and places == "asymmetric" and r.attribute("nearest_mode", "floor") == "floor":
        return r.emit("Resize", [x], size=size, mode="nearest", align_corners=None)
    whole = all(new % old == 0 for new, old in zip(size, x.shapes[0][2:], strict=True))
    if mode == "nearest" and whole and places in ("asymmetric", "half_pixel", "pytorch_half_pixel"):
        return r.emit("Resize", [x], size=size, mode="nearest", align_corners=None)
    if mode == "linear" and places in ("half_pixel", "pytorch_half_pixel", "align_corners") and not r.attribute("antialias", 0):
        return r.emit("Resize", [x], size=size, mode="bilinear", align_corners=places == "align_corners")
    raise _Missing(f"{mode}, {places}")


def _lrn(r: _Reader, x: Value) -> Value:
    size = int(r.attribute("size"))
    if size % 2 == 0:
        raise _Missing("an even size")
    numbers = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    return r.emit("LRN", [x], size=size, **{name: float(r.attribute(name, default)) for name, default in numbers.items()})


def _depth(r: _Reader, x: Value) -> Value:
    _planar(x)
    block = int(r.attribute("blocksize"))
    if r.proto.op_type == "DepthToSpace":
        return r.emit("DepthToSpace", [x], block=block, mode=r.attribute("mode", "DCR"))
    return r.emit("SpaceToDepth", [x], block=block)


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean"), _arithmetic),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "HardSwish", "Mish", "Softplus", "Softsign"), _unary()),
    **dict.fromkeys(("Sqrt", "Exp", "Log", "Erf", "Neg", "Abs", "Reciprocal"), _unary()),
    **dict.fromkeys(("Elu", "Celu", "Swish"), _unary(alpha=1.0)),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare"), _reduce),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), _norm),
    **dict.fromkeys(("Cast", "CastLike"), _cast),
    **dict.fromkeys(("Identity", "Dropout"), _same),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _depth),
    "LeakyRelu": _unary(alpha=0.01),
    "Selu": _unary(),
    "HardSigmoid": _unary(alpha=0.2, beta=0.5),
    "Gelu": _gelu,
    "PRelu": _prelu,
    "Clip": _clip,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LRN": _lrn,
    "GlobalAveragePool": _global("ReduceMean"),
    "GlobalMaxPool": _global("ReduceMax"),
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Expand": _expand,
    "Resize": _resize,
}
"""By the operator's name in ONNX. A constant operator (`Shape`, `ConstantOfShape`, `Range`, ...) needs none: it is
computed while the file is read."""
