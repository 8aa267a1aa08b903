"""`describe`: the layers of a network, without weights and without computing anything."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures.graph import GraphSpec, check_outputs
from explorer.architectures.modules import ACTIVATION_CLASSES, BranchGain, Crop, IdentityShortcut, ShortcutGain, Sum
from explorer.architectures.network import Network, Recorder
from explorer.architectures.operators import ELEMENTWISE, Convolution, Operation
from explorer.architectures.spec import ArchitectureSpec


class ReceptiveField(NamedTuple):
    """In pixels of the input: the side of the square that one output value depends on, before it is cut at the edge,
    the distance between the squares of neighbouring values, and the centre of the first square."""

    size: int
    distance: int
    first: float


Window = tuple[int, int, int]
"""Along one side: how many values one output value depends on, the stride, and the padding in front."""
WHOLE = 0  # the window of an operation that looks at the whole map
EVERYWHERE: Window = (WHOLE, 1, 0)
POINT: Window = (1, 1, 0)


class Origin(NamedTuple):
    """What computes a layer: the module of that name, from the outputs of the layers `inputs`, where "" is the picture.
    `windows` are those along rows and columns of the first one."""

    module: str
    inputs: tuple[str, ...]
    windows: tuple[Window, Window]


class Rectangle(NamedTuple):
    """Pixels of a picture, the last ones included."""

    top: int
    left: int
    bottom: int
    right: int

    def union(self, other: "Rectangle") -> "Rectangle":
        return Rectangle(*map(min, self[:2], other[:2]), *map(max, self[2:], other[2:]))

    def before(self, windows: Sequence[Window], sides: Sequence[int]) -> "Rectangle | None":
        """What these outputs of an operation depend on in its input of those sides; None where that is all padding."""
        lows, highs = [], []
        for low, high, (window, stride, padding), side in zip(self[:2], self[2:], windows, sides, strict=True):
            if side == 1 or window == WHOLE:  # one value for every place, or every value for each
                low, high = 0, side - 1
            else:
                low, high = max(low * stride - padding, 0), min(high * stride - padding + window - 1, side - 1)
            if low > high:
                return None
            lows.append(low)
            highs.append(high)
        return Rectangle(*lows, *highs)


@dataclass(frozen=True)
class LayerDescription:
    """One visible operation.

    `output_shape` leaves out the batch. `parameters` are the layer's own (a block's are its layers'; a projection
    shortcut's are those of its norm, which ends it and has no entry). `macs` are multiply-accumulates for one image, of
    convolutions and fully connected layers only, as in the papers. `receptive_field` is the side of the square of
    input pixels that one output value can depend on, before it is cut at the edge. `kernel` is that of a convolution:
    "3×3", "3×3 dw" of a depthwise one.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    receptive_field: int
    kernel: str = ""


@dataclass(frozen=True)
class Description:
    """All layers in execution order, and their totals; `activation_bytes` is float32 for one image."""

    spec: ArchitectureSpec
    layers: tuple[LayerDescription, ...]
    parameters: int
    macs: int
    activation_bytes: int
    receptive_fields: Mapping[str, ReceptiveField] = field(compare=False, repr=False)
    origins: Mapping[str, Origin] = field(compare=False, repr=False)

    def __getitem__(self, name: str) -> LayerDescription:
        """Raises ValueError for a layer that there is not."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(
            f"`layer` must be one of the {len(self.layers)} that `describe` lists, {self.layers[0].name} to "
            f"{self.layers[-1].name}; received {name!r}."
        )

    def shape(self, layer: str) -> tuple[int, ...]:
        """That of a layer's output, or with "" of the picture."""
        return self[layer].output_shape if layer else self.spec.input_shape

    def reach(self, layer: str, at: Sequence[int]) -> Rectangle | None:
        """The pixels of the picture that the value at `at`, (channel, row, column) or (unit,), can depend on: its
        receptive field, cut at the edge. None where it depends on none."""
        if self[layer].kind == "flatten" and (before := self.origins[layer].inputs[0]):
            there = np.unravel_index(at[0], self.shape(before))
            return self.reach(before, tuple(map(int, there)))  # one value of its input
        seen = {layer: Rectangle(*at[-2:], *at[-2:]) if len(at) > 2 else Rectangle(0, 0, 0, 0)}
        for name in reversed([*self.origins]):
            if name not in seen:
                continue
            for before, windows in self.edges(name, at[0] if name == layer else None):
                found = seen[name].before(windows, [1, 1, *self.shape(before)][-2:])
                if found is not None:
                    seen[before] = found.union(seen.get(before, found))
        return seen.get("")

    def edges(self, layer: str, channel: int | None = None) -> list[tuple[str, tuple[Window, Window]]]:
        """The layers whose values a value of this one depends on, each with its windows: one of that channel, with
        None one of any."""
        origin = self.origins[layer]
        windows = origin.windows if len(self.shape(layer)) > 2 else (EVERYWHERE, EVERYWHERE)
        return [(before, windows) for before in origin.inputs]


class FieldRecorder(Recorder):
    """Also follows the receptive field of every tensor (Araujo, Norris and Sim 2019, "Computing receptive fields",
    equations 2, 5 and 8).

    A window of k values at distance d, on values that see r pixels each, sees r + (k - 1) d; a stride s makes the new
    distance s d; the first centre moves by ((k - 1) / 2 - padding) d.
    """

    def __init__(self, network: Network, image: Tensor) -> None:
        super().__init__(network)
        # The tensors are kept beside their fields: an id() is only unique while its object lives.
        self.fields: dict[int, tuple[Tensor, ReceptiveField]] = {id(image): (image, ReceptiveField(1, 1, 0.0))}
        self.calls: dict[int, tuple[str, list[int], tuple[Window, Window]]] = {}  # what made each tensor, and of which

    def compute(self, module: nn.Module, *inputs: object) -> Tensor:
        shape = shape_after(module, *(each for each in inputs if isinstance(each, Tensor)))
        return super().compute(module, *inputs) if shape is None else torch.empty(shape, device="meta")

    def __call__(self, module: nn.Module, *inputs: object) -> Tensor:
        output = super().__call__(module, *inputs)
        if id(output) not in self.fields:
            seen = [self.fields[id(tensor)][1] for tensor in inputs if isinstance(tensor, Tensor)]
            seen.sort(key=lambda field: field.distance)
            size, distance, first = max(each.size for each in seen), max(each.distance for each in seen), seen[0].first
            windows = _windows(module, inputs[0])
            window, stride, padding = max(windows, key=lambda each: each[0])
            if window == WHOLE:
                assert isinstance(inputs[0], Tensor)
                window = max(inputs[0].shape[2:], default=1)
            tensors = [id(tensor) for tensor in inputs if isinstance(tensor, Tensor)]
            self.calls[id(output)] = self.layers[module][0], tensors, windows
            self.fields[id(output)] = (
                output,
                ReceptiveField(
                    size + (window - 1) * distance,
                    distance * stride,
                    first + ((window - 1) / 2 - padding) * distance,
                ),
            )
        return output


def shape_after(module: nn.Module, image: Tensor, *others: Tensor) -> Sequence[int] | None:
    """The shape of the output where it follows at once, else None. To find it out torch takes half of the time that a
    description takes, and in a new process seconds, to import what it needs."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return (*image.shape[:2], 1, 1)
    if isinstance(module, nn.Conv2d):
        if image.ndim != 4 or image.shape[1] != module.in_channels:
            return None
        pads = module.pads if isinstance(module, Convolution) else (*module.padding, *module.padding)
        sides = [
            (side + int(pads[axis]) + int(pads[axis + 2]) - module.dilation[axis] * (module.kernel_size[axis] - 1) - 1)
            // module.stride[axis]
            + 1
            for axis, side in enumerate(image.shape[2:])
        ]
        return (image.shape[0], module.out_channels, *sides) if min(sides) > 0 else None
    if isinstance(module, nn.BatchNorm2d):
        return image.shape if image.shape[1] == module.num_features else None
    if isinstance(module, nn.Linear):
        return (*image.shape[:-1], module.out_features) if image.shape[-1] == module.in_features else None
    if isinstance(module, Operation):
        if module.operator in ELEMENTWISE:
            return torch.broadcast_shapes(image.shape, *(each.shape for each in [*others, *module.parameters()]))
        if module.operator.endswith("Normalization"):
            return image.shape
        if module.operator == "Concat" and len(module.inputs) == 1 + len(others):
            axis, parts = module.attributes["axis"], [image.shape, *(each.shape for each in others)]
            if len({(*part[:axis], *part[axis + 1 :]) for part in parts}) == 1:
                return (*image.shape[:axis], sum(part[axis] for part in parts), *image.shape[axis + 1 :])
        if module.operator.startswith("Reduce"):
            axes, keeps = {axis % image.ndim for axis in module.attributes["axes"]}, module.attributes["keepdims"]
            return [1 if axis in axes else side for axis, side in enumerate(image.shape) if keeps or axis not in axes]
        return None
    if isinstance(module, (Sum, ShortcutGain, BranchGain, *ACTIVATION_CLASSES.values())):
        return image.shape if all(each.shape == image.shape for each in others) else None
    return None


def _windows(module: nn.Module, x: object) -> tuple[Window, Window]:
    """Along rows and along columns."""
    assert isinstance(x, Tensor)
    if isinstance(module, nn.Conv2d):
        pads = module.pads if isinstance(module, Convolution) else module.padding
        return _of_sides(module.kernel_size, module.stride, pads, module.dilation)
    if isinstance(module, Operation):
        return _windows_of(module, x)
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        both: Any = int(module.kernel_size), int(module.stride), int(module.padding)  # type: ignore[arg-type]
    elif isinstance(module, (nn.AdaptiveAvgPool2d, nn.Flatten)):
        both = EVERYWHERE
    elif isinstance(module, Crop):
        both = (1, 1, -module.pixels)
    else:
        both = (1, module.stride, -module.crop) if isinstance(module, IdentityShortcut) else POINT
    return both, both


def _of_sides(kernel: Any, strides: Any, pads: Any, dilations: Any) -> tuple[Window, Window]:
    rows, columns = (((kernel[axis] - 1) * dilations[axis] + 1, strides[axis], int(pads[axis])) for axis in (0, 1))
    return rows, columns


def _windows_of(module: Operation, x: Tensor) -> tuple[Window, Window]:
    known, operator = module.attributes, module.operator
    last = getattr(module, "channels_last", False)
    first = 1 if last else 2  # of the two axes
    if "kernel" in known:
        return _of_sides(known["kernel"], known["strides"], known["pads"], known.get("dilations", (1, 1)))
    if operator == "Pad":
        rows, columns = ([*known["pads"], *[0] * 8][2 * (x.ndim - 1 - axis)] for axis in (first, first + 1))
        return (1, 1, rows), (1, 1, columns)
    if operator == "Slice":
        cuts = dict(zip(known["axes"], zip(known["starts"], known["steps"], strict=True), strict=True))
        (top, down), (left, right) = (cuts.get(axis, (0, 1)) for axis in (first, first + 1))
        return (1, down, -top), (1, right, -left)
    axes = {axis % x.ndim for axis in known.get("axes", ()) if "keepdims" in known}
    whole = {
        "MatMul": not last,
        "Gather": known.get("axis") != (3 if last else 1),
        "Reshape": [*known.get("shape", ())][-2:] != [*x.shape[-2:]],
        "Transpose": [*known.get("perm", ())] not in ([0, 2, 3, 1], [0, 3, 1, 2])
        and [*known.get("perm", ())][-2:] != [x.ndim - 2, x.ndim - 1],
        "Tile": any(times > 1 for times in [*known.get("repeats", ())][first : first + 2]),
    }
    if operator == "LayerNormalization":
        begins = known["axis"] % x.ndim
        return EVERYWHERE if begins <= first else POINT, EVERYWHERE if begins <= first + 1 else POINT
    if (
        (x.ndim == 4 and ({2, 3}.issubset(axes) or {1, 2}.issubset(axes)))
        or operator in ("InstanceNormalization", "GroupNormalization")
        or operator in ("ConvTranspose", "Resize", "DepthToSpace", "SpaceToDepth")  # no one window for all places
        or whole.get(operator, False)
    ):
        return EVERYWHERE, EVERYWHERE
    return POINT, POINT


def _kernel(module: nn.Module) -> str:
    if not isinstance(module, nn.Conv2d):
        return ""
    depthwise = module.groups == module.in_channels > 1
    return "×".join(map(str, module.kernel_size)) + (" dw" if depthwise else "")


def _channels_first(shape: Sequence[int], module: nn.Module) -> tuple[int, ...]:
    return (shape[-1], *shape[:-1]) if getattr(module, "channels_last", False) else tuple(shape)


def _macs(module: nn.Module, output: Tensor) -> int:
    if isinstance(module, nn.Conv2d):
        return output[0].numel() * module.weight[0].numel()
    if isinstance(module, Operation) and module.operator == "ConvTranspose":
        return output[0].numel() * module.weight[:, 0].numel() // max(1, module.attributes["stride"][0] ** 2)  # type: ignore
    return output[0].numel() * module.in_features if isinstance(module, nn.Linear) else 0


@lru_cache(maxsize=128)
def describe(spec: ArchitectureSpec) -> Description:
    """Every visible operation of the network, in the order and under the names of a `Trace` of everything.

    Runs on torch's meta device: shapes only, no memory, no arithmetic.
    """
    return described(spec, FieldRecorder)


def described(spec: ArchitectureSpec, recorder_of: Callable[[Network, Tensor], FieldRecorder]) -> Description:
    """What that recorder of a network and its input sees of a pass. Raises ValueError for a graph that does not fit."""
    network = Network.without_values(spec).eval()
    image = torch.empty(1, *spec.input_shape, device="meta")
    recorder = recorder_of(network, image)
    try:
        with torch.no_grad():
            network(image, recorder)
    except (ArithmeticError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if not isinstance(spec, GraphSpec):
            raise
        last = next(reversed(recorder.outputs), "its input")
        raise ValueError(f"the operation after `{last}` does not fit the shape that reaches it.") from error
    if isinstance(spec, GraphSpec):
        check_outputs({name: tuple(output.shape[1:]) for name, output in recorder.outputs.items()}, spec)
    parameters: Counter[str] = Counter()
    for name, parameter in network.named_parameters():
        layer = name.rpartition(".")[0]
        while layer not in recorder.outputs:  # the last operation of a shortcut is kept under the shortcut's name
            layer = layer.rpartition(".")[0]
        parameters[layer] += parameter.numel()
    fields = {name: recorder.fields[id(output)][1] for name, output in recorder.outputs.items()}
    names = {id(image): "", **{id(output): name for name, output in recorder.outputs.items()}}
    calls = {name: recorder.calls[id(output)] for name, output in recorder.outputs.items()}
    origins = {
        name: Origin(module, tuple(names[tensor] for tensor in tensors), windows)
        for name, (module, tensors, windows) in calls.items()
    }
    layers = []
    for name, output in recorder.outputs.items():
        module = recorder.modules[name]
        layers.append(
            LayerDescription(
                name=name,
                kind=network.layers[module][1],
                output_shape=_channels_first(output.shape[1:], module),
                parameters=parameters[name],
                macs=_macs(module, output),
                receptive_field=fields[name].size,
                kernel=_kernel(module),
            )
        )
    return Description(
        spec=spec,
        layers=tuple(layers),
        parameters=parameters.total(),
        macs=sum(layer.macs for layer in layers),
        activation_bytes=sum(4 * output[0].numel() for output in recorder.outputs.values()),
        receptive_fields=fields,
        origins=origins,
    )


def relative_depths(spec: ArchitectureSpec, layers: Sequence[str]) -> dict[str, float]:
    """Where each of `layers` lies between the input (0) and the output (1): the number of weighted layers up to it,
    divided by all of them.

    The k-th convolution of n weighted layers is at k / n, the block that it ends half a layer behind. Layers of a
    shortcut are left out: they run beside the branch, not behind one of its layers. So twins have the same depths.
    """
    passed, depths = 0, {}
    for layer in describe(spec).layers:
        if layer.kind == "shortcut" or spec.is_beside(layer.name):
            continue
        passed += layer.kind == "conv"
        if layer.name in layers:
            depths[layer.name] = (passed + (0.5 if layer.kind == "block" else 0.0)) / spec.depth
    return depths
