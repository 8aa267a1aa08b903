"""The weights into a unit and out of it, by the units at their other ends.

A connection goes from a channel to one of the next convolution. Its weight is the kernel slice between them, times the
factor of each norm on the way: γ / sqrt(variance + ε) of the norm behind the convolution, and of one between the
channel and the convolution. The gain of a branch or of a shortcut on the way is a factor too. The size of a connection
is the Euclidean norm of the slice, its total the sum of it, what a constant map would give. Activations and poolings on
the way let a channel pass as it is.

Sums at the end of blocks: a branch goes through the sum, up to the next convolution. A shortcut without weights carries
a channel on, unchanged or times a gain, which is a link of its own. So the blocks further on, which a channel reaches
through many shortcuts, are not listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import Network, describe
from explorer.architectures.description import Description, Origin
from explorer.architectures.modules import (
    ACTIVATION_CLASSES,
    BranchGain,
    Crop,
    IdentityShortcut,
    ShortcutGain,
    Sum,
    norm_factors,
)
from explorer.architectures.operators import ACTIVATIONS, Operation
from explorer.experiments.units.natural import Unit, check_unit

Kind = Literal["channel", "picture", "output"]

MOST_SHOWN = 6
_PASSING = (
    *ACTIVATION_CLASSES.values(), nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, Crop
)  # fmt: skip
_PASSING_OPERATORS = (ACTIVATIONS - {"Softmax", "LogSoftmax"}) | {"MaxPool", "AveragePool", "LpPool"}


@dataclass(frozen=True, eq=False)
class Connections:
    """The weights between a unit and the channels of one layer: `sizes` >= 0 and `totals`, float32 (K,), of the
    channels `first`, `first` + 1, ... of `layer`.

    `through` is the layer with the weights. `kind`: the other ends are channels, colours of the "picture", or for a
    fully connected layer "output" units, which for the last one are classes.
    """

    through: str
    layer: str
    first: int
    kind: Kind
    sizes: np.ndarray
    totals: np.ndarray

    @property
    def strongest(self) -> np.ndarray:
        """int64: the places of the largest sizes, the largest first; of equal ones the first."""
        return np.argsort(-self.sizes, kind="stable")[:MOST_SHOWN]

    @property
    def shares(self) -> np.ndarray:
        """Each size squared over the sum of all squares, float64 (K,); zeros where all are 0."""
        squares = self.sizes.astype(np.float64) ** 2
        return squares / (squares.sum() or 1.0)


@dataclass(frozen=True)
class Carried:
    """The unit at the other end of shortcuts without weights, and the `factor` of gains and norms on the way; 1 where
    there is none."""

    unit: Unit
    factor: float = 1.0

    @property
    def change(self) -> str:
        """How the channel arrives: "unchanged" or such as "× 0.5"."""
        return "unchanged" if self.factor == 1 else f"× {self.factor:.2g}"


@dataclass(frozen=True, eq=False)
class Neighbours:
    """What a unit is fed by, or feeds: `connections` by convolution, the units of shortcuts that carry the same channel
    (`carried`), and the layers whose weights are not read here (`unread`)."""

    connections: tuple[Connections, ...]
    carried: tuple[Carried, ...]
    unread: tuple[str, ...]


def end_name(found: Connections, place: int, class_names: Sequence[str]) -> str:
    """What the unit at the other end is called: a class, a colour, or a channel of its layer."""
    number = found.first + place
    if found.kind == "picture":
        return ("red", "green", "blue")[number] if len(found.sizes) == 3 else f"channel {number} of the picture"
    if found.kind == "output" and len(found.sizes) == len(class_names):
        return class_names[number]
    return f"{found.layer}, {'unit' if found.kind == 'output' else 'channel'} {number}"


@torch.no_grad()
def fed_by(network: Network, unit: Unit) -> Neighbours:
    """The weights into the unit. Raises ValueError for one that the network does not have."""
    return _Graph(network).back(unit)


@torch.no_grad()
def feeds(network: Network, unit: Unit) -> Neighbours:
    """The weights out of the unit. Raises ValueError for one that the network does not have."""
    return _Graph(network).forward(unit)


class _Graph:
    """The layers of a network and what computes each."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.described: Description = describe(network.spec)
        self.origins = self.described.origins
        # A convolution that ends a shortcut is there under two names, the later of which has what follows.
        by_origin: dict[tuple[object, ...], str] = {origin[:2]: name for name, origin in self.origins.items()}
        self.last_name = {name: by_origin[origin[:2]] for name, origin in self.origins.items()}
        self.readers: dict[str, list[str]] = {}
        for name in by_origin.values():
            for before in self.origins[name].inputs:
                self.readers.setdefault(self.last_name.get(before, before), []).append(name)

    def module(self, name: str) -> nn.Module:
        return self.network.get_submodule(self.origins[name].module)

    def block(self, name: str) -> str | None:
        """The block around what computes that layer."""
        return self.network.spec.block_of(self.origins[name].module)

    def channels(self, name: str) -> int:
        return self.described.shape(name)[0]

    # --- back -----------------------------------------------------------------------------------------------------

    def back(self, unit: Unit) -> Neighbours:
        check_unit(self.network.spec, unit)
        connections: list[Connections] = []
        carried: list[Carried] = []
        unread: list[str] = []

        def visit(name: str, channel: int, factor: float, block: str | None = None) -> None:
            """Visits the weights that compute that channel. Behind the sum of `block`, a channel from outside of the
            block came through its shortcut if no weights lie on its way."""
            if not (name and 0 <= channel < self.channels(name)):
                return  # the picture, or a channel of zeros
            origin, module = self.origins[name], self.module(name)
            if block is not None and self.block(name) != block:
                carried.append(Carried(Unit(name, channel), factor))
            elif isinstance(module, nn.Conv2d):
                connections.append(self._into(name, origin, module, channel, factor))
            elif isinstance(module, nn.BatchNorm2d):
                is_behind = self._norm_behind(origin.inputs[0]) is module  # is part of the convolution's own weights
                factor = factor if is_behind else factor * float(norm_factors(module)[channel])
                visit(origin.inputs[0], channel, factor, block)
            elif isinstance(module, Sum):
                for before in origin.inputs:
                    visit(before, channel, factor, self.block(name) or block)
            elif (gain := _gain(module)) is not None:
                visit(origin.inputs[0], channel, factor * gain, block)
            elif (shift := _shift(module)) is not None:
                inside = self.block(name) if isinstance(module, IdentityShortcut) else block
                visit(origin.inputs[0], channel - shift, factor, inside)
            else:
                unread.append(name)

        visit(unit.layer, unit.channel, 1.0)
        return Neighbours(tuple(connections), tuple(carried), tuple(dict.fromkeys(unread)))

    def _count(self, name: str) -> int:
        return self.channels(name) if name else self.network.spec.input_shape[0]

    def _source(self, name: str) -> tuple[str, Tensor]:
        """The nearest layer in front with channels of its own: a convolution, a sum or a block; "" is the picture. And
        the factor of each channel on the way from it."""
        factors = torch.ones(self._count(name), dtype=torch.float64, device=self.network.device)
        kinds = {layer.name: layer.kind for layer in self.described.layers}
        while name and kinds[name] not in ("block", "shortcut"):
            module = self.module(name)
            if isinstance(module, nn.BatchNorm2d):
                factors = factors * norm_factors(module)
            elif (gain := _gain(module)) is not None:
                factors = factors * gain
            elif _shift(module) != 0:
                break
            name = self.origins[name].inputs[0]
        return name, factors

    def _into(self, name: str, origin: Origin, module: nn.Conv2d, channel: int, factor: float) -> Connections:
        layer, factors = self._source(origin.inputs[0])
        count = module.in_channels // module.groups
        first = channel // (module.out_channels // module.groups) * count
        weights = module.weight[channel] * factors[first : first + count, None, None]
        weights = weights * (factor * self._behind(name)[channel])
        kind: Kind = "channel" if layer else "picture"
        return _connections(self.origins[name].module, layer, first, kind, weights)

    def _norm_behind(self, name: str) -> nn.BatchNorm2d | None:
        """The norm that alone reads that convolution."""
        readers = self.readers.get(self.last_name.get(name, name), [])
        if name and isinstance(self.module(name), nn.Conv2d) and len(readers) == 1:
            norm = self.module(readers[0])
            return norm if isinstance(norm, nn.BatchNorm2d) else None
        return None

    def _behind(self, name: str) -> Tensor:
        norm = self._norm_behind(name)
        if norm is not None:
            return norm_factors(norm)
        return torch.ones(self.channels(name), dtype=torch.float64, device=self.network.device)

    # --- forward --------------------------------------------------------------------------------------------------

    def forward(self, unit: Unit) -> Neighbours:
        check_unit(self.network.spec, unit)
        connections: list[Connections] = []
        carried: list[Carried] = []
        unread: list[str] = []
        inside = self.network.spec.block_of(unit.layer)

        def visit(name: str, channel: int, factor: float, positions: int) -> None:
            """What reads that layer; one channel is `positions` values of it once it is flat."""
            for reader in self.readers.get(self.last_name.get(name, name), []):
                module = self.module(reader)
                if isinstance(module, nn.Conv2d):
                    connections.append(self._out_of(reader, module, channel, factor))
                elif isinstance(module, nn.Linear) and positions:
                    weights = module.weight[:, channel * positions : (channel + 1) * positions] * factor
                    connections.append(_connections(reader, reader, 0, "output", weights))
                elif isinstance(module, Sum):
                    block = self.block(reader)
                    if block is not None and block != inside:
                        carried.append(Carried(Unit(block, channel), factor))
                    else:
                        visit(reader, channel, factor, positions)
                elif isinstance(module, nn.BatchNorm2d):
                    visit(reader, channel, factor * float(norm_factors(module)[channel]), positions)
                elif isinstance(module, nn.Flatten):
                    shape = self.described.shape(name)
                    visit(reader, channel, factor, shape[1] * shape[2] if len(shape) == 3 else 0)
                elif (gain := _gain(module)) is not None:
                    visit(reader, channel, factor * gain, positions)
                elif (shift := _shift(module)) is not None:
                    visit(reader, channel + shift, factor, positions)
                else:
                    unread.append(reader)

        visit(unit.layer, unit.channel, 1.0, 0)
        return Neighbours(tuple(connections), tuple(carried), tuple(dict.fromkeys(unread)))

    def _out_of(self, name: str, module: nn.Conv2d, channel: int, factor: float) -> Connections:
        count = module.in_channels // module.groups
        outputs = module.out_channels // module.groups
        first = channel // count * outputs
        weights = module.weight[first : first + outputs, channel % count]  # (K, kh, kw)
        weights = weights * (factor * self._behind(name)[first : first + outputs, None, None])
        return _connections(self.origins[name].module, name, first, "channel", weights)


def _connections(through: str, layer: str, first: int, kind: Kind, weights: Tensor) -> Connections:
    flat = weights.flatten(1).double()
    sizes, totals = flat.norm(dim=1), flat.sum(1)
    return Connections(through, layer, first, kind, sizes.float().numpy(force=True), totals.float().numpy(force=True))


def _gain(module: nn.Module) -> float | None:
    """The number that multiplies every channel; None where the module is no gain."""
    if isinstance(module, BranchGain):
        return module.weight.item()
    return module.factor if isinstance(module, ShortcutGain) else None


def _shift(module: nn.Module) -> int | None:
    """By how many places the module moves each channel, which it passes by itself; None where it does something else.
    What flattens is asked for before."""
    if isinstance(module, IdentityShortcut):
        return module.extra_channels // 2
    if not isinstance(module, Operation):
        return 0 if isinstance(module, _PASSING) else None
    if module.operator in _PASSING_OPERATORS:
        return 0
    if getattr(module, "channels_last", False):
        return None
    if module.operator == "Pad" and module.attributes["mode"] == "constant":  # the last axis first, both ends of each
        return int([*module.attributes["pads"], *[0] * 8][4])
    if module.operator == "Slice":
        return None if {0, 1} & {*module.attributes["axes"]} else 0
    return None


@torch.no_grad()
def first_unit(network: Network) -> Unit:
    """The unit of the last layer in front of the head with the largest single weight to a fully connected one; its
    channel is 0 where that layer reads something else. Raises ValueError for a network without feature maps."""
    described = describe(network.spec)
    blocks = [entry for entry in described.layers if len(entry.output_shape) == 3 and entry.kind in ("block", "conv")]
    outside = [entry for entry in blocks if network.spec.block_of(entry.name) is None]
    if not blocks:
        raise ValueError("`network` has no feature maps, so it has no units to look at; choose another network.")
    layer = (outside or blocks)[-1]
    channels = layer.output_shape[0]
    linear = next((module for module in network.modules() if isinstance(module, nn.Linear)), None)
    if linear is None or linear.in_features % channels:
        return Unit(layer.name, 0)
    return Unit(layer.name, int(linear.weight.abs().amax(0).argmax()) // (linear.in_features // channels))
