"""Networks that are a graph of operations, as ONNX files hold them: a spec and a network like those of this app.

A `GraphSpec` has what every page asks of a spec, and instead of stages a list of nodes. A `GraphNetwork` runs them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from explorer.architectures.fields import check_number, fields_of
from explorer.architectures.modules import Block, Run, call
from explorer.architectures.network import Network
from explorer.architectures.operators import ACTIVATIONS, FUNCTIONS, OWN, kind_of, operation
from explorer.architectures.spec import MAXIMUM, ArchitectureSpec
from explorer.labels import ACTIVATIONS as ACTIVATION_TITLES

INPUT = ""  # among the inputs of a node: the picture
MAX_NODES = 5000
MAX_VALUES = 2**27  # of one output, for one picture
MODULES = {"Conv", "Linear", "Relu", "Flatten", "Residual", "BothSigns"}  # operators that are no function
NAME = re.compile(r"(?=.{1,80}$)[A-Za-z0-9][\w-]*(\.[\w-]+)*", re.ASCII)  # as the address of a page holds it
TITLE = re.compile(r"[\w .+()-]{1,60}", re.ASCII)

BlockShortcut = Literal["none", "identity", "padded", "projection"]


@dataclass(frozen=True)
class GraphNode:
    """One operation. `name` is also that of its output; `inputs` are names of earlier nodes, `INPUT`, numbers, or the
    names of its own weights behind a colon. `weights` has their shapes. `channels_last`: its output is (H, W, C)."""

    name: str
    operator: str
    inputs: tuple[str | float, ...]
    attributes: Mapping[str, Any]
    weights: Mapping[str, Sequence[int]]
    channels_last: bool = False

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the outputs that it takes."""
        return tuple(each for each in self.inputs if isinstance(each, str) and not each.startswith(OWN))


@dataclass(frozen=True)
class GraphBlock:
    """The nodes whose names begin with `name` and a dot: one tensor goes in and one comes out.

    Where `shortcut` is not "none", `sum` names the node that adds the branch and the shortcut, in this order.
    """

    name: str
    shortcut: BlockShortcut = "none"
    sum: str = ""

    def holds(self, node: GraphNode) -> bool:
        return node.name.startswith(f"{self.name}.")


@dataclass(frozen=True, eq=False)
class GraphSpec(ArchitectureSpec):
    """The operations of a network that this app did not build, in execution order; the last gives the logits.

    The fields of `ArchitectureSpec` that describe its stages are empty here. `beside` names the layers on shortcuts.
    Two are equal if their fingerprints are. Raises ValueError for a graph that cannot be run.
    """

    title: str = ""
    nodes: tuple[GraphNode, ...] = ()
    blocks: tuple[GraphBlock, ...] = ()
    beside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3:
            raise ValueError("`input_shape` must be channels, height and width.")
        for index, high in enumerate((16, MAXIMUM["pixels"], MAXIMUM["pixels"])):
            check_number(f"input_shape[{index}]", self.input_shape[index], 1, high)
        check_number("classes", self.classes, 1, MAXIMUM["units"])
        if not TITLE.fullmatch(self.title):
            raise ValueError("`title` must be a short text of letters and digits.")
        if not 1 <= len(self.nodes) <= MAX_NODES:
            raise ValueError(f"`nodes` must hold 1 to {MAX_NODES:,} nodes, received {len(self.nodes):,}.")
        known = {INPUT}
        for node in self.nodes:
            if node.operator not in FUNCTIONS and node.operator not in MODULES:
                raise ValueError(f"there is no operator `{node.operator[:40]!a}`.")
            if not NAME.fullmatch(node.name) or node.name in known or not node.tensors:
                raise ValueError("a node has a name that is none, or twice, or no input.")
            if not known.issuperset(node.tensors):
                raise ValueError(f"`{node.name}` takes what no node before it gives.")
            known.add(node.name)
        for block in self.blocks:
            if block.shortcut not in get_args(BlockShortcut) or (block.shortcut != "none") != (
                block.sum in known - {INPUT}
            ):
                raise ValueError("a block has a sum that is no node of it.")
            if not NAME.fullmatch(block.name) or block.name in known or not any(map(block.holds, self.nodes)):
                raise ValueError("a block has a name that is none, or no nodes.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GraphSpec) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        return super().fingerprint

    @property
    def name(self) -> str:
        return self.title

    @property
    def depth(self) -> int:
        """Convolutions and fully connected layers, without those on shortcuts."""
        counted = [node for node in self.nodes if kind_of(node.operator) in ("conv", "linear")]
        return max(1, sum(node.name not in self.beside for node in counted))

    @property
    def activation_name(self) -> str:
        return ACTIVATION_TITLES.get(self.activation, self.activation)

    @cached_property
    def _blocks_by_name(self) -> dict[str, GraphBlock]:
        return {block.name: block for block in self.blocks}

    def block_of(self, layer: str) -> str | None:
        parts = layer.split(".")
        prefixes = (".".join(parts[:length]) for length in range(1, len(parts)))
        return next((prefix for prefix in prefixes if prefix in self._blocks_by_name), None)

    def is_beside(self, layer: str) -> bool:
        return layer in self.beside

    def twin(self) -> Self:
        raise ValueError(f"{self.name} came from an ONNX file, and such a network has no twin here.")

    def to_dict(self) -> dict[str, Any]:
        own = ("title", "nodes", "blocks", "beside", "input_shape", "classes")
        return {name: value for name, value in super().to_dict().items() if name in own}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        try:
            values = fields_of(cls, values | {"stages": ()}, "a graph")
            nodes = tuple(_from_json(GraphNode, node) for node in values["nodes"])
            blocks = tuple(_from_json(GraphBlock, block) for block in values["blocks"])
            shape, beside = tuple(values["input_shape"]), tuple(map(str, values["beside"]))
            return cls(
                (), input_shape=shape, classes=values["classes"], title=values["title"],
                nodes=nodes, blocks=blocks, beside=beside, one_logit=nodes[-1].operator == "BothSigns",
                **_summary(nodes, blocks),
            )  # fmt: skip
        except ValueError:
            raise
        except (TypeError, KeyError, AttributeError, IndexError):
            raise ValueError("a graph is incomplete or has a field of the wrong type.") from None


def _from_json(kind: Any, values: dict[str, Any]) -> Any:
    types = {"name": str, "operator": str, "attributes": dict, "weights": dict, "sum": str, "shortcut": str}
    values = fields_of(kind, values, "a node or block")
    if any(not isinstance(values[name], types[name]) for name in values if name in types):
        raise ValueError("a node or block has a field of the wrong type.")
    if "inputs" in values:
        values["inputs"] = tuple(values["inputs"])
        if not all(isinstance(each, str | int | float) for each in values["inputs"]):
            raise ValueError("a node has an input of the wrong type.")
    return kind(**values)


def _summary(nodes: Sequence[GraphNode], blocks: Sequence[GraphBlock]) -> dict[str, Any]:
    """What a spec says of its whole network: shortcuts, norm, activation."""
    shortcuts = {block.shortcut for block in blocks}
    activations = {node.operator for node in nodes} & (ACTIVATIONS - {"Softmax", "LogSoftmax"})
    found = "projection" if "projection" in shortcuts else "identity" if shortcuts - {"none"} else "none"
    return {
        "shortcut": found,
        "norm": "batch" if any(node.operator == "BatchNormalization" for node in nodes) else "none",
        "activation": "relu" if activations <= {"Relu"} else ", ".join(sorted(activations)),
    }


def spec_from_dict(values: dict[str, Any]) -> ArchitectureSpec:
    """The spec, of stages or of a graph, that its `to_dict` described. Raises ValueError for anything else."""
    kind = GraphSpec if isinstance(values, dict) and "nodes" in values else ArchitectureSpec
    return kind.from_dict(values)


class Part(nn.Module):
    """A place in the names of layers, which does nothing itself."""


class PartBlock(Block):
    """The nodes of a `GraphBlock`: (N, C, H, W) -> (N, C', H', W')."""

    program: "Program"

    def __init__(self, block: GraphBlock) -> None:
        nn.Module.__init__(self)
        self.described = block
        self.residual = block.shortcut != "none"
        self.sum_name = block.sum.removeprefix(f"{block.name}.")

    def shortcut_kind(self, x: Tensor, shortcut: Tensor) -> str:
        return self.described.shortcut

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        for output in self.program.outputs(x, run):
            x = output
        return x


@dataclass(frozen=True)
class Step:
    """Calls `module` on the outputs `inputs`, keeps its output as `output`, and forgets `last`, which no later step
    needs. A step of a block hands its `run` on."""

    module: nn.Module
    inputs: tuple[str, ...]
    output: str
    last: tuple[str, ...]
    is_block: bool = False


class Program:
    """Steps that begin with the tensor called `start`."""

    def __init__(self, start: str, steps: Sequence[tuple[nn.Module, tuple[str, ...], str, bool]]) -> None:
        self.start = start
        needed = {name: index for index, (_, inputs, _, _) in enumerate(steps) for name in inputs}
        self.steps = [
            Step(module, inputs, output, tuple(name for name in {*inputs} if needed[name] == index), is_block)
            for index, (module, inputs, output, is_block) in enumerate(steps)
        ]

    def outputs(self, x: Tensor, run: Run) -> Iterator[Tensor]:
        """The output of each step; that of the last is the program's."""
        values = {self.start: x}
        for step in self.steps:
            inputs: list[Any] = [values[name] for name in step.inputs]
            output = run(step.module, *inputs, *([run] if step.is_block else []))
            for name in step.last:
                del values[name]
            values[step.output] = output
            yield output


class GraphNetwork(Network):
    """The network of a `GraphSpec`: images (N, C, H, W), normalised, -> logits (N, classes).

    Its modules have the names of the nodes; a block is a module too. Weights are parameters, empty until some are
    loaded. Raises ValueError where an operation cannot be made of its attributes.
    """

    describes = GraphSpec

    def __init__(self, spec: GraphSpec) -> None:
        nn.Module.__init__(self)
        self.spec = spec
        self.layers = {}
        blocks = spec._blocks_by_name
        members: dict[str, list[GraphNode]] = {name: [] for name in blocks}
        for node in spec.nodes:
            try:
                module = operation(node.operator, node.inputs, node.attributes, node.weights)
            except (ArithmeticError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
                raise ValueError(f"`{node.name}` cannot be a {node.operator} with these attributes.") from None
            module.channels_last = node.channels_last  # type: ignore[assignment]
            self._place(node.name, module, blocks)
            self.layers[module] = (node.name, kind_of(node.operator, node.attributes))
            if (around := spec.block_of(node.name)) is not None:
                members[around].append(node)
        steps: list[tuple[nn.Module, tuple[str, ...], str, bool]] = []
        for node in spec.nodes:
            around = spec.block_of(node.name)
            if around is None:
                steps.append((self.get_submodule(node.name), node.tensors, node.name, False))
            elif node is members[around][0]:
                inside = members[around]
                names = {each.name for each in inside}
                entries = {name for each in inside for name in each.tensors} - names
                if len(entries) != 1:
                    raise ValueError(f"the block `{around}` has {len(entries)} inputs, and one is expected.")
                (entry,) = entries
                block = self.get_submodule(around)
                assert isinstance(block, PartBlock)
                parts = [(self.get_submodule(each.name), each.tensors, each.name, False) for each in inside]
                block.program = Program(entry, parts)
                self.layers[block] = (around, "block")
                steps.append((block, (entry,), inside[-1].name, True))
        self.program = Program(INPUT, steps)

    def _place(self, name: str, module: nn.Module, blocks: Mapping[str, GraphBlock]) -> None:
        """Makes `module` the one at the dotted `name`."""
        *path, leaf = name.split(".")
        place: nn.Module = self
        for length, part in enumerate(path, start=1):
            if part not in place._modules:
                block = blocks.get(".".join(path[:length]))
                place._modules[part] = PartBlock(block) if block else Part()
            found = place._modules[part]
            if not isinstance(found, Part | PartBlock):
                raise ValueError(f"`{name}` lies inside of a layer.")
            place = found
        if leaf in place._modules:
            raise ValueError(f"`{name}` is a layer and holds others.")
        place._modules[leaf] = module  # not `add_module`: any name may be that of an attribute, such as `layers`

    def get_submodule(self, target: str) -> nn.Module:
        found: nn.Module | None = self
        for part in target.split("."):
            found = found._modules[part] if found is not None else None
        assert found is not None
        return found

    def in_parts(self, x: Tensor, run: Run = call) -> Iterator[Tensor]:
        return self.program.outputs(x, run)

    @property
    def device(self) -> torch.device:
        return next((each.device for each in self.parameters()), torch.device("cpu"))


def check_outputs(shapes: Mapping[str, Sequence[int]], spec: GraphSpec) -> None:
    """Raises ValueError where an output is too large, or the last is not that of so many classes. `shapes` leave out
    the batch."""
    for name, shape in shapes.items():
        if prod(shape) > MAX_VALUES:
            raise ValueError(f"`{name}` has {prod(shape):,} values for one image; {MAX_VALUES:,} is the most.")
    last = tuple(shapes[next(reversed([*shapes]))])
    if last != (spec.classes,):
        raise ValueError(f"the last output is {last}, and {(spec.classes,)} is expected.")
