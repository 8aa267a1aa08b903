"""`describe`: the layers of a network, without weights and without computing anything."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from explorer.architectures.graph import GraphSpec, check_outputs
from explorer.architectures.network import ACTIVATION_CLASSES, Crop, IdentityShortcut, Network, Recorder, Sum
from explorer.architectures.operators import ELEMENTWISE, Convolution, Operation
from explorer.architectures.spec import ArchitectureSpec


class ReceptiveField(NamedTuple):
    """In pixels of the input: the side of the square that one output value depends on, before it is cut at the edge,
    the distance between the squares of neighbouring values, and the centre of the first square."""

    size: int
    distance: int
    first: float


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


class _FieldRecorder(Recorder):
    """Also follows the receptive field of every tensor (Araujo, Norris and Sim 2019, "Computing receptive fields",
    equations 2, 5 and 8).

    A window of k values at distance d, on values that see r pixels each, sees r + (k - 1) d; a stride s makes the new
    distance s d; the first centre moves by ((k - 1) / 2 - padding) d.
    """

    def __init__(self, network: Network, image: Tensor) -> None:
        super().__init__(network)
        # The tensors are kept beside their fields: an id() is only unique while its object lives.
        self.fields: dict[int, tuple[Tensor, ReceptiveField]] = {id(image): (image, ReceptiveField(1, 1, 0.0))}

    def compute(self, module: nn.Module, *inputs: object) -> Tensor:
        shape = shape_after(module, *(each for each in inputs if isinstance(each, Tensor)))
        return super().compute(module, *inputs) if shape is None else torch.empty(shape, device="meta")

    def __call__(self, module: nn.Module, *inputs: object) -> Tensor:
        output = super().__call__(module, *inputs)
        if id(output) not in self.fields:
            seen = [self.fields[id(tensor)][1] for tensor in inputs if isinstance(tensor, Tensor)]
            seen.sort(key=lambda field: field.distance)
            size, distance, first = max(each.size for each in seen), max(each.distance for each in seen), seen[0].first
            window, stride, padding = _window(module, inputs[0])
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
    if isinstance(module, (Sum, *ACTIVATION_CLASSES.values())):
        return image.shape if all(each.shape == image.shape for each in others) else None
    return None


Window = tuple[int, int, int]


def _window(module: nn.Module, x: object) -> Window:
    """Values a side that one output value depends on, the stride, and the padding."""
    assert isinstance(x, Tensor)
    if isinstance(module, Convolution):
        return _widest(module.kernel_size, module.stride, module.pads, module.dilation)
    if isinstance(module, nn.Conv2d):
        return module.kernel_size[0], module.stride[0], int(module.padding[0])
    if isinstance(module, Operation):
        return _window_of(module, x)
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        return int(module.kernel_size), int(module.stride), int(module.padding)  # type: ignore[arg-type]
    if isinstance(module, (nn.AdaptiveAvgPool2d, nn.Flatten)):
        return max(x.shape[2:]), 1, 0
    if isinstance(module, Crop):
        return 1, 1, -module.pixels
    return (1, module.stride, -module.crop) if isinstance(module, IdentityShortcut) else (1, 1, 0)


def _widest(kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]) -> Window:
    """Of a window with two sides, those of the longer one."""
    axis = 0 if kernel[0] * dilations[0] >= kernel[1] * dilations[1] else 1
    return (kernel[axis] - 1) * dilations[axis] + 1, strides[axis], pads[axis]


def _window_of(module: Operation, x: Tensor) -> Window:
    known = module.attributes
    if "kernel" in known:
        return _widest(known["kernel"], known["strides"], known["pads"], known.get("dilations", (1, 1)))
    spans = x.ndim == 4 and {2, 3}.issubset(axis % 4 for axis in known.get("axes", ()) if "keepdims" in known)
    return (max(x.shape[2:]), 1, 0) if spans or module.operator == "InstanceNormalization" else (1, 1, 0)


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
    with torch.device("meta"):
        network = Network.of(spec).eval()
        image = torch.empty(1, *spec.input_shape)
    recorder = _FieldRecorder(network, image)
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
