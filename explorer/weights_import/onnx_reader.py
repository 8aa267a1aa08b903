"""Reads an ONNX file into the nodes and weights of a `GraphSpec`; runs in the child process only.

Protobuf alone is parsed, and no file beside it. What does not depend on the picture is computed here, by the reference
implementation of ONNX, so that the graph that is left has only operations on the picture. Shapes are those of two
batches of different size: where the two differ is the batch.

One file: a reader that collects nodes, with the steps that it takes in order.
"""

import re
from collections.abc import Callable, Mapping, Sequence
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
    channels_last: bool
    metadata: dict[str, str] = field(default_factory=dict)


Rule = Callable[..., "Value | list[Value]"]
"""Of a reader and the inputs of the node that it is at: the outputs."""


def read_graph(model: ModelProto, rules: Mapping[str, Rule]) -> Graph:
    """`rules` are by the operator's name in ONNX. Raises WeightsError with a sentence that lacks its subject, the
    file's name."""
    return Reader(model, rules).graph()


# --- the graph -------------------------------------------------------------------------------------------------------


class Missing(Exception):
    """An operator, or a form of one, that is not supported; the message ends "which ..." or names the form."""


class Reader:
    def __init__(self, model: ModelProto, rules: Mapping[str, Rule]) -> None:
        self.model, self.rules = model, rules
        self.opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1)
        self.nodes: list[Node] = []
        # An error stands where a node gives nothing: it counts where the classes depend on it.
        self.values: dict[str, Value | Constant | WeightsError] = {"": ()}  # type: ignore[dict-item]
        self.evidence: list[str] = []
        self.uncertain: list[str] = []
        self.proto: NodeProto
        self.picture = Value(-1, ((), ()))

    def graph(self) -> Graph:
        model = self.model
        producer = f"{model.producer_name} {model.producer_version}".strip()
        self.evidence.append(
            f"an ONNX file of opset {self.opset}{f', written by {quote(producer)}' if producer else ''}"
        )
        for tensor in model.graph.initializer:
            self.values[tensor.name] = (self.weight(tensor),) * 2
        taken = {name for node in model.graph.node for name in node.input}  # Keras leaves inputs that nothing takes
        shape = self._input([each for each in model.graph.input if each.name not in self.values and each.name in taken])
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
        return Graph(
            nodes, shape, classes, self._title(), softmax, self.evidence, self.uncertain, self.channels_last, metadata
        )

    def weight(self, tensor: TensorProto) -> np.ndarray:
        try:
            values = numpy_helper.to_array(tensor)
        except Exception:  # numpy's and protobuf's
            raise WeightsError(f"has a weight {quote(tensor.name)} that cannot be read; export it again.") from None
        if tensor.data_type in FLOATS:
            values = values.astype(np.float32)
            if not np.isfinite(values).all() and values.size > 1:
                raise WeightsError(
                    f"holds values that are not a number or infinite in {quote(tensor.name)}; its training diverged, "
                    "or the file is damaged."
                )
        return values

    def _input(self, inputs: Sequence[Any]) -> tuple[int, int, int]:
        """The shape (C, H, W) of the picture."""
        if len(inputs) != 1:
            names = ", ".join(quote(each.name) for each in inputs[:3])
            raise WeightsError(f"has {len(inputs)} inputs ({names}), and a network for images has one.")
        kind = inputs[0].type.tensor_type
        sides = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in kind.shape.dim]
        said = "×".join(str(side or "?") for side in sides)
        if len(sides) != 4:
            raise WeightsError(f"has an input of shape {said or 'unknown'}, and images are N×C×H×W or N×H×W×C.")
        if kind.elem_type not in FLOATS:
            raise WeightsError(f"takes images as whole numbers (input {quote(inputs[0].name)}); export it for float32.")
        self.channels_last = last = sides[1] not in (1, 3) and sides[3] in (1, 3)
        channels, height, width = (sides[3], sides[1], sides[2]) if last else sides[1:]
        if channels not in (1, 3):
            raise WeightsError(f"has an input of shape {said}, and a network for images takes 1 or 3 channels.")
        if not height or not width:
            height, width = height or width or 224, width or height or 224
            self.uncertain.append(f"the size of the images, which the file leaves open: {height}×{width}")
        if not all(1 <= side <= 2048 for side in (height, width)):
            raise WeightsError(f"takes images of {height}×{width} pixels; 2048×2048 is the most.")
        self.fixed_batch = sides[0]
        self.picture = Value(-1, tuple((n, channels, height, width) for n in BATCHES))  # type: ignore[arg-type]
        self.evidence.append(f"its input {quote(inputs[0].name)} is {said}{', channels last' if last else ''}")
        self.values[inputs[0].name] = self.picture
        if last:
            self.proto = NodeProto(op_type="Transpose", name="channels_last")
            self.values[inputs[0].name] = self.transpose(self.picture, [0, 2, 3, 1])
        return channels, height, width

    def _output(self) -> Value:
        found: list[tuple[str, Value]] = []
        others: list[tuple[str, Value]] = []
        for output in self.model.graph.output:
            value = self.values.get(output.name)
            kind = output.type.tensor_type.elem_type
            if isinstance(value, WeightsError) and not found and kind in (*FLOATS, TensorProto.UNDEFINED):
                raise value
            if isinstance(value, Value):
                count = prod(value.shapes[0])
                (found if count == BATCHES[0] * max(value.shapes[0][1:], default=1) else others).append(
                    (output.name, value)
                )
        if not found:
            shape = "".join(f"×{side}" for side in others[0][1].shapes[0][1:]) if others else ""
            what = (
                f"its output {quote(others[0][0])} is N{shape}, and"
                if others
                else "none of its outputs depends on the image, and"
            )
            raise WeightsError(f"gives no classes: {what} a classifier's is N×classes.")
        name, value = found[0]
        if len(self.model.graph.output) > 1:
            self.uncertain.append(f"which of its {len(self.model.graph.output)} outputs has the classes: {quote(name)}")
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
        results: list[Any]
        try:
            results = self._results(proto)
            if len(results) < sum(map(bool, proto.output)):
                raise self._missing("with a second output")
        except WeightsError as error:
            results = [error] * len(proto.output)
        self.values |= {name: result for name, result in zip(proto.output, results, strict=False) if name}

    def _missing(self, form: str) -> WeightsError:
        operator, where = self.proto.op_type, self._where()
        if re.search(r"Quantize|QLinear|Integer$", operator):
            return WeightsError(
                f"is quantised: it uses the operator {quote(operator)} {where}; export the network from before that."
            )
        return WeightsError(
            f"uses the operator {quote(operator)}{form and f' {form}'} {where}, which this app cannot show; export the "
            "network without it."
        )

    def _where(self) -> str:
        return f"at node {quote(self.proto.name or (self.proto.output or [''])[0])}"

    def _results(self, proto: NodeProto) -> list[Any]:
        where, operator = self._where(), proto.op_type
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
        for value in inputs:
            if isinstance(value, WeightsError):
                raise value
        try:
            if not any(isinstance(value, Value) for value in inputs) or operator in ("Shape", "Size"):
                return self._computed(inputs)
            if operator not in self.rules:
                raise Missing("")
            made = self.rules[operator](self, *inputs)
            return made if isinstance(made, list) else [made]
        except Missing as error:
            raise self._missing(str(error) and f"with {error}") from None
        except (WeightsError, MemoryError):
            raise
        except Exception:  # of numpy, torch and ONNX's reference, for inputs that do not fit
            raise WeightsError(f"has an operator {quote(operator)} {where} whose inputs do not fit it.") from None

    def _computed(self, inputs: Sequence[Any]) -> list[Constant]:
        """What does not depend on the picture, for both batches."""
        if self.proto.op_type in ("Shape", "Size"):
            shapes = [
                np.array(value.shapes[n] if isinstance(value, Value) else value[n].shape)
                for value in inputs
                for n in (0, 1)
            ]
            start, end = self.attribute("start", 0), self.attribute("end", None)
            if self.proto.op_type == "Size":
                return [(np.array(shapes[0].prod()), np.array(shapes[1].prod()))]
            return [(shapes[0][start:end], shapes[1][start:end])]
        for value in inputs:
            if value and max(value[0].size, value[1].size) > MAX_CONSTANT:
                raise WeightsError("computes weights of more values than a network has.")
        if self.proto.op_type in ("ConstantOfShape", "Expand", "Tile", "Range"):
            asked = inputs[0] if self.proto.op_type == "ConstantOfShape" else inputs[1]
            start, end, step = inputs if self.proto.op_type == "Range" else ((), (0,), (1,))
            many = (end[0] - start[0]) / step[0] if start else np.prod(asked[1].astype(float))
            if many > MAX_CONSTANT:
                raise WeightsError("computes weights of more values than a network has.")
        if self.proto.op_type in ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"):
            raise Missing("")
        evaluator = ReferenceEvaluator(
            onnx.helper.make_model(
                onnx.helper.make_graph(
                    [self.proto],
                    "node",
                    [
                        onnx.helper.make_value_info(name, onnx.TypeProto())
                        for name in dict.fromkeys(self.proto.input)
                        if name
                    ],
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
            raise Missing("numbers that depend on the image")
        if not np.array_equal(*value):
            raise Missing("numbers that depend on how many images there are")
        return [int(each) for each in np.atleast_1d(value[0])]

    def number(self, value: Any) -> float:
        if isinstance(value, Value) or value[0].size != 1:
            raise Missing("a number that depends on the image")
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
                    weights[name] = torch.from_numpy(np.require(values, np.float32, ["C", "W"]))
                names.append(f"{OWN}{name}")
        return self.add(
            operator, names, weights, [each for each in inputs if isinstance(each, Value)], attributes, last
        )

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
                    raise WeightsError(
                        f"has an output of {prod(shape[1:]):,} values for one image at node {quote(self.proto.name)}."
                    )
                shapes.append(shape)
        first = max(values, key=lambda value: value.rank)
        value = Value(len(self.nodes), (shapes[0], shapes[1]), first.channels_last if last is None else last)
        value.channels_last = value.channels_last and value.rank == 4
        scope, label = scope_of(self.proto)
        if operator in ("Conv", "Linear", "ConvTranspose", "BatchNormalization") and len(self.proto.input) > 1:
            given = self.proto.input[1][:1000]
            owner = given.removesuffix(".weight")  # the module's own name, where the exporter kept it
            if owner != given and re.fullmatch(r"[\w.-]+", owner):
                scope = tuple(owner.split("."))
            elif scope is None and given.count("/") > 1:  # tf2onnx: `resnet/conv1/convolution/merged_input:0`
                scope = tuple(".".join(given.split("/")[:-2]).split("."))
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
        known: dict[tuple[int, ...], bool] = {(0, 2, 3, 1): True, (0, 3, 1, 2): False}
        last = known.get(tuple(perm))
        return self.emit("Transpose", [x], last, perm=[int(axis) for axis in perm])

    def reshape(self, x: Value, target: Callable[[int], Sequence[int]]) -> Value:
        """`target(n)` is the shape for batch n. Where the two differ is the batch."""
        wanted, shapes = [[int(each) for each in target(n)] for n in (0, 1)], []
        # A file for batches of one size states it, and is used for any: its images are the first axis, or in it.
        fixed = self.fixed_batch if wanted[0] == wanted[1] and x.shapes[0][1:] == x.shapes[1][1:] else 0
        for n, shape in enumerate(wanted):
            before, times = list(x.shapes[n]), BATCHES[n] / fixed if fixed else 1
            before[0] = round(before[0] / times)
            if not self.attribute("allowzero", 0):
                shape = [before[axis] if side == 0 else side for axis, side in enumerate(shape)]
            known = prod(side for side in shape if side != -1)
            shape = [prod(before) // known if side == -1 else side for side in shape]
            shapes.append([round(shape[0] * times), *shape[1:]] if shape else [])
        different = [axis for axis, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b]
        if len(different) != 1 or prod(shapes[0]) != prod(x.shapes[0]):
            raise Missing("a shape that mixes images")
        shape = [-1 if axis == different[0] else side for axis, side in enumerate(shapes[0])]
        if shapes[0] == list(x.shapes[0]):
            return x
        if len(shape) == 2 and shapes[0][0] == x.shapes[0][0] and x.rank == 4 and not x.channels_last:
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
        end, softmax, at = last.node, "", last.node
        classes = prod(last.shapes[0])
        while at >= 0 and self.nodes[at].operator in (
            "Softmax",
            "LogSoftmax",
            "Sigmoid",
            "Identity",
            "Flatten",
            "Reshape",
        ):
            before = self.picture if self.nodes[at].inputs[0] < 0 else self.nodes[self.nodes[at].inputs[0]].value
            if before is None or prod(before.shapes[0]) != classes:
                break
            if self.nodes[at].operator in ("Softmax", "LogSoftmax", "Sigmoid"):
                end, softmax = before.node, self.nodes[at].operator
            at = before.node
        if end < 0:
            raise WeightsError("has no operation between its input and its output.")
        logits = self.nodes[end].value
        if logits is not None and logits.rank != 2:
            self.proto = NodeProto(op_type="Reshape", name="/logits")
            end = self.emit("Reshape", [logits], False, shape=[-1, classes // BATCHES[0]]).node
        needed = set()
        waiting = [end]
        while waiting:
            index = waiting.pop()
            if index >= 0 and index not in needed:
                needed.add(index)
                waiting += [each for each in self.nodes[index].inputs if isinstance(each, int)]
        numbers: dict[int, int] = {-1: -1}
        kept: list[Node] = []
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
    return tuple(".".join(path).split(".")) if path else () if label or "/" in proto.name else None, label
