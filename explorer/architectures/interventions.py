"""Interventions: a part of a network switched off, scaled, replaced by its mean or swapped, during one pass.

No weight and no module is edited, so the network is left as it was found, and threads may share it.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from explorer.architectures.description import describe, shape_after
from explorer.architectures.network import Network, Recorder
from explorer.architectures.spec import ArchitectureSpec

Action = Literal["scale", "mean", "swap"]
Part = Literal["branch", "shortcut", "output"]

MOST = 100  # interventions in one pass
LARGEST = 10.0  # factor
SEPARATOR = ","

_TEXT = re.compile(
    r"(?P<place>[\w.-]{1,80})(@(?P<part>branch|shortcut|output))?(~(?P<channel>\d{1,6}))?"
    r":(?P<action>off|mean|swap~(?P<other>[\w.-]{1,80})|-?\d{1,2}(\.\d{1,6})?)",
    re.ASCII,
)


@dataclass(frozen=True)
class Intervention:
    """One change of one pass.

    `place` is the dotted name of a block or layer, `channel` one of its channels or None for all. `part` says of what:
    of the "output", or of a whole block's "branch" or "shortcut". Without a shortcut a block's branch is what the block
    adds to its input: at factor 0 the input goes on in its place, if shapes allow.

    - "scale" multiplies by `factor`, -10..10: 0 switches off, 1 changes no bit.
    - "mean" puts the mean over all positions of a channel in the place of its values, picture by picture.
    - "swap" lets the block `other` work in the place of this block, and this one in its place.

    `str` writes it as a link does, "stages.1.0@branch:off", and `parse` reads it. Raises ValueError for values that fit
    no network.
    """

    place: str
    action: Action = "scale"
    factor: float = 0.0
    channel: int | None = None
    part: Part = "output"
    other: str = ""

    def __post_init__(self) -> None:
        if self.action not in get_args(Action) or self.part not in get_args(Part):
            raise ValueError(f"there is no {self.action!r} of a {self.part!r}; scale, mean and swap are known.")
        if not math.isfinite(self.factor) or abs(self.factor) > LARGEST:
            raise ValueError(f"a factor must be from -{LARGEST:g} to {LARGEST:g}, received {self.factor:g}.")
        if (self.action == "swap") != bool(self.other):
            raise ValueError("a swap needs two blocks, and nothing else takes a second one.")

    def touches(self, channel: int) -> bool:
        return self.channel is None or self.channel == channel

    def __str__(self) -> str:
        part = "" if self.part == "output" else f"@{self.part}"
        channel = "" if self.channel is None else f"~{self.channel}"
        scale = "off" if self.factor == 0 else f"{self.factor:.6f}".rstrip("0").rstrip(".")
        action = {"scale": scale, "mean": "mean", "swap": f"swap~{self.other}"}[self.action]
        return f"{self.place}{part}{channel}:{action}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The intervention that `str` wrote. Raises ValueError for any other text."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text[:100]!a} is no intervention; write BLOCK@branch:off, LAYER~CHANNEL:0.5, LAYER:mean or "
                "BLOCK:swap~BLOCK."
            )
        action = match["action"]
        values: dict[str, Any] = {"place": match["place"], "part": match["part"] or "output"}
        if match["channel"]:
            values["channel"] = int(match["channel"])
        if action == "mean":
            values["action"] = "mean"
        elif match["other"]:
            values |= {"action": "swap", "other": match["other"]}
        elif action != "off":
            values["factor"] = float(action)
        return cls(**values)


def parse_all(text: str) -> tuple[Intervention, ...]:
    """Those of a text with commas; none of an empty one. Raises ValueError for any other text, or too many."""
    found = tuple(Intervention.parse(each) for each in text.split(SEPARATOR) if each)
    if len(found) > MOST:
        raise ValueError(f"{len(found)} interventions are too many for one pass; {MOST} is the most.")
    return found


def as_text(interventions: Sequence[Intervention]) -> str:
    """The text that `parse_all` reads."""
    return SEPARATOR.join(map(str, interventions))


class Intervened(Recorder):
    """A `Recorder` of a pass with these interventions. Layers of swapped blocks keep their names and are in the order
    in which they worked.

    Raises ValueError where a place is none of the network, or a change does not fit its shapes.
    """

    def __init__(
        self, network: Network, kinds: Collection[str] | None = None, interventions: Sequence[Intervention] = ()
    ) -> None:
        super().__init__(network, kinds)
        self.changed_outputs: dict[nn.Module, list[Intervention]] = {}
        self.changed_sums: dict[nn.Module, list[Intervention]] = {}
        self.swapped: dict[nn.Module, nn.Module] = {}
        self.add(network, interventions)

    def add(self, network: Network, interventions: Sequence[Intervention]) -> None:
        """Takes more of them, before the pass."""
        if interventions:
            places = {name: (module, kind) for module, (name, kind) in network.layers.items()}
            for each in interventions:
                self._add(network.spec, each, places)

    def _add(self, spec: ArchitectureSpec, change: Intervention, places: dict[str, tuple[nn.Module, str]]) -> None:
        place, name = change.place, spec.name
        for each in filter(None, (place, change.other)):
            if each not in places:
                raise ValueError(f"{name} has no layer or block `{each}`.")
            if each not in called_layers(spec):
                raise ValueError(f"`{each}` of {name} only holds other layers; choose one of them.")
        module, kind = places[place]
        if change.action == "scale" and change.factor == 1:
            return
        if change.action == "swap":
            self._swap(spec, change, places)
        elif change.part == "output":
            self._check_values(spec, change, place)
            self.changed_outputs.setdefault(module, []).append(change)
        elif kind != "block":
            raise ValueError(f"`{place}` of {name} is no block, so it has no {change.part}.")
        elif getattr(module, "residual", False):
            total = f"{place}.{module.sum_name}"
            self._check_values(spec, change, total)
            self.changed_sums.setdefault(places[total][0], []).append(change)
        elif change.part == "shortcut":
            raise ValueError(f"`{place}` of {name} has no shortcut.")
        else:
            before, after = block_shapes(spec)[place]
            if before != after:
                raise ValueError(
                    f"{name} cannot do without `{place}`: it turns {_text(before)} into {_text(after)}, and nothing "
                    "goes around it."
                )
            self._check_values(spec, change, place)
            self.changed_outputs.setdefault(module, []).append(change)

    def _check_values(self, spec: ArchitectureSpec, change: Intervention, layer: str) -> None:
        """Whether what is changed has the channel and can have a mean. It has the shape of the output of `layer`."""
        shape = next((each.output_shape for each in describe(spec).layers if each.name == layer), None)
        if shape is None:
            return  # a layer whose output is that of what is around it
        if change.channel is not None and change.channel >= shape[0]:
            raise ValueError(f"`{change.place}` of {spec.name} has the channels 0 to {shape[0] - 1}.")
        if change.action == "mean" and len(shape) < 3:
            raise ValueError(f"`{change.place}` of {spec.name} has no positions to take a mean over; switch it off.")

    def _swap(self, spec: ArchitectureSpec, change: Intervention, places: dict[str, tuple[nn.Module, str]]) -> None:
        (first, a), (second, b) = places[change.place], places[change.other]
        both = f"`{change.place}` and `{change.other}` of {spec.name}"
        if (a, b) != ("block", "block") or first is second:
            raise ValueError(f"{both} are not two blocks, and only blocks are swapped.")
        if first in self.swapped or second in self.swapped:
            raise ValueError(f"{both} can be swapped only once.")
        shapes = block_shapes(spec)
        if len({*shapes[change.place], *shapes[change.other]}) > 1:
            raise ValueError(f"{both} cannot be swapped: their inputs and outputs are not all of one shape.")
        self.swapped |= {first: second, second: first}

    def __call__(self, module: nn.Module, *inputs: Any) -> Tensor:
        module = self.swapped.get(module, module)
        if module in self.changed_sums:
            parts = dict(zip(("branch", "shortcut"), inputs, strict=True))
            for change in self.changed_sums[module]:
                parts[change.part] = self.change(module, change, parts[change.part])
            inputs = tuple(parts.values())
        return super().__call__(module, *inputs)

    def compute(self, module: nn.Module, *inputs: Any) -> Tensor:
        output = super().compute(module, *inputs)
        for change in self.changed_outputs.get(module, ()):
            output = self.change(module, change, output, inputs[0] if change.part == "branch" else None)
        return output

    def change(self, module: nn.Module, change: Intervention, x: Tensor, instead: Tensor | None = None) -> Tensor:
        """`x`, an output of the module or a summand of its sum, after the change; `instead` is a plain block's
        input."""
        return _changed(x, change, _channel_axis(module, x), instead)


def fitting(
    network: Network, interventions: Sequence[Intervention]
) -> tuple[tuple[Intervention, ...], tuple[tuple[Intervention, str], ...]]:
    """Those that fit the network beside the ones before them, and each other one with a sentence on why it does not."""
    recorder = Intervened(network, ())
    places = {name: (module, kind) for module, (name, kind) in network.layers.items()}
    kept, left = [], []
    for each in interventions:
        try:
            recorder._add(network.spec, each, places)
        except ValueError as error:
            left.append((each, str(error)))
        else:
            kept.append(each)
    return tuple(kept), tuple(left)


def block_shapes(spec: ArchitectureSpec) -> Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """The shapes of the input and the output of each block, without the batch, in execution order."""
    return {name: (before, after) for name, (kind, before, after) in called_layers(spec).items() if kind == "block"}


@lru_cache(maxsize=128)
def called_layers(spec: ArchitectureSpec) -> Mapping[str, tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Kind, input shape and output shape, without the batch, of each layer or block that works in a pass, in execution
    order. A part that only holds others, such as a stage, is none of them."""
    found = {}

    class Shapes(Recorder):
        def compute(self, module: nn.Module, *inputs: Any) -> Tensor:
            shape = shape_after(module, *(each for each in inputs if isinstance(each, Tensor)))
            output = super().compute(module, *inputs) if shape is None else torch.empty(shape)
            name, kind = self.layers[module]
            found[name] = kind, tuple(inputs[0].shape[1:]), tuple(output.shape[1:])
            return output

    with torch.device("meta"), torch.no_grad():
        network = Network.without_values(spec).eval()
        network(torch.empty(1, *spec.input_shape), Shapes(network, ()))
    return found


def _channel_axis(module: nn.Module, x: Tensor) -> int:
    return x.ndim - 1 if getattr(module, "channels_last", False) else 1


def _changed(x: Tensor, change: Intervention, axis: int, instead: Tensor | None = None) -> Tensor:
    """`x`, whose channels are along `axis`, after the change; `instead` is what takes its place at factor 0, by default
    zeros."""
    if change.action == "mean":
        changed = x.mean([each for each in range(1, x.ndim) if each != axis], keepdim=True).expand_as(x)
    elif instead is None:
        changed = x * change.factor + 0  # never -0
    else:
        # At 0 a view: the recorder tells layers apart by their tensors.
        changed = instead + (x - instead) * change.factor if change.factor else instead.view_as(instead)
    if change.channel is None:
        return changed
    shape = [1] * x.ndim
    shape[axis] = -1
    chosen = torch.arange(x.shape[axis], device=x.device) == change.channel
    return torch.where(chosen.reshape(shape), changed, x)


def _text(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
