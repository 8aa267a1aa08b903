"""The values of an arithmetic: how one operation made one number."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import Intervention
from explorer.architectures.operators import OWN, Operation
from explorer.tracing import read_only

Place = tuple[int, ...]
SUMS = ("residual sum", "sum")
"""Operations that add their terms."""


@dataclass(frozen=True)
class Term:
    """A number by its name. Where it is a value of another layer, `layer` names that, "" the picture, and `at` its
    place."""

    name: str
    value: float
    layer: str | None = None
    at: Place | None = None


@dataclass(frozen=True, eq=False)
class Window:
    """The input values that one value depends on, float32 (channels, rows, columns), read-only.

    They are those of the layer `source`, "" for the picture, None for values that an intervention replaced, which no
    layer shows. The first is at (channel, row, column) `first`, below 0
    in padding; rows and columns are `spacing` apart. `inside` is False where the window lies in padding, where values
    are 0. `factors` are what each value is multiplied by, None where nothing is. `winner` is the place in the window
    of the largest or smallest value, where that one alone counts. `peak` is the largest |value| of the whole input.
    """

    source: str | None
    first: tuple[int, int, int]
    spacing: tuple[int, int]
    values: np.ndarray
    inside: np.ndarray
    factors: np.ndarray | None = None
    winner: tuple[int, int, int] | None = None
    peak: float = 0.0

    @property
    def products(self) -> np.ndarray | None:
        """values × factors, float64."""
        return None if self.factors is None else self.values.astype(np.float64) * self.factors

    @property
    def sums(self) -> np.ndarray:
        """Of each channel, float64 (channels,): of the products, or of the values where there are no factors."""
        products = self.products
        return (self.values.astype(np.float64) if products is None else products).sum(axis=(1, 2))


@dataclass(frozen=True, eq=False)
class Step:
    """One operation that made one number of the layer `layer`: `value` at the place `at` in the pass.

    `operation` names it, `formula` says in words what it computes of its `terms` and its `window`. `computed` is the
    value recomputed from these in float64, None where the operation has no arithmetic to read. `change` is the
    intervention that made it, as `str` writes it, "" where the network did.
    """

    layer: str
    at: Place
    value: float
    operation: str
    formula: str
    computed: float | None = None
    terms: tuple[Term, ...] = ()
    window: Window | None = None
    change: str = ""

    @property
    def difference(self) -> float | None:
        """|computed - value|, relative to max(1, |value|)."""
        if self.computed is None:
            return None
        both_alike = self.computed == self.value or (math.isnan(self.computed) and math.isnan(self.value))
        return 0.0 if both_alike else abs(self.computed - self.value) / max(1.0, abs(self.value))

    @property
    def rounding(self) -> float | None:
        """2⁻²³ Σ |summand| of a plain sum, of products or of terms: by so much float32 may round it. None elsewhere."""
        products = None if self.window is None else self.window.products
        if products is None and self.operation not in SUMS:
            return None
        size = sum(abs(term.value) for term in self.terms)
        return float(size + (0 if products is None else np.abs(products).sum())) * 2**-23


@dataclass(frozen=True, eq=False)
class Call:
    """One module's call in a pass: its output and inputs, (1, ...), and the `sources` of these by name, None for values
    that no layer shows. `last` says of the output, and `lasts` of each input, that its channels are on the last axis.
    `residual`: the inputs of a sum are branch and shortcut.

    `change`: not the module, but this intervention made the output of the input; a second input is what takes the place
    of a plain block. `before` has such changes of an input, the last one first.
    """

    layer: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    sources: tuple[str | None, ...]
    output: Tensor
    last: bool = False
    lasts: tuple[bool, ...] = ()
    residual: bool = False
    change: Intervention | None = None
    before: Mapping[int, tuple["Call", ...]] = field(default_factory=dict)

    def index(self, at: Place) -> Place:
        """Into the output, of the place in the layer."""
        return (0, *at[1:], at[0]) if self.last else (0, *at)

    def at(self, index: Place) -> Place:
        return (index[-1], *index[1:-1]) if self.last else index[1:]

    def source(self, which: int, index: Place, name: str) -> Term:
        """The input's value there, as a term."""
        value = float(self.inputs[which][index])
        place = (index[-1], *index[1:-1]) if self.lasts[which] else index[1:]
        if self.changes(which, place[0]):
            return Term(f"{name}, changed", value)
        source = self.sources[which]
        return Term(name, value) if source is None else Term(name, value, source, tuple(place))

    def changes(self, which: int, channel: int) -> list["Call"]:
        """Those of an input that touch the channel, the last one first."""
        return [each for each in self.before.get(which, ()) if each.change and each.change.touches(channel)]

    @property
    def nbytes(self) -> int:
        tensors = sum(tensor.nbytes for tensor in (*self.inputs, self.output))
        return tensors + sum(each.nbytes for calls in self.before.values() for each in calls)

    def cube(self, which: int, values: Tensor | None = None) -> Tensor:
        """An input, or values of its shape, as (channels, rows, columns): a vector has channels alone."""
        cube = (self.inputs[which] if values is None else values)[0]
        if self.lasts[which]:
            cube = cube.movedim(-1, 0)
        if cube.ndim == 3:
            return cube
        return cube.reshape(-1, 1, 1) if cube.ndim < 2 else cube.reshape(-1, *[1, *cube.shape[-2:]][-2:])

    def window(self, which: int, first: Sequence[int], values: Tensor, **more: Any) -> Window:
        values = values.detach().float()
        inside = more.pop("inside", np.ones(values.shape[1:], bool))
        peak = float(self.inputs[which].abs().max())
        channel, row, column = map(int, first)
        return Window(
            self.sources[which],
            (channel, row, column),
            more.pop("spacing", (1, 1)),
            array(values),
            read_only(inside),
            peak=peak,
            **more,
        )


def array(tensor: Tensor) -> np.ndarray:
    return read_only(tensor.detach().numpy(force=True).astype(np.float32))  # a copy: the window alone stays in memory


def arguments(call: Call, of_tensors: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> list[Any]:
    """What the function of the call's `Operation` gets: `of_tensors` of inputs and own weights, and numbers."""
    module = call.module
    if not isinstance(module, Operation):
        return [of_tensors(tensor) for tensor in call.inputs]
    given = iter(call.inputs)
    return [
        each
        if not isinstance(each, str)
        else of_tensors(getattr(module, each[1:]) if each.startswith(OWN) else next(given))
        for each in module.inputs
    ]


def along(call: Call, axes: Sequence[int], index: Place) -> Window:
    """All values of the first input along these axes, at the place of the output in the others."""
    x = call.inputs[0]
    along = {axis % x.ndim for axis in axes}
    if len(index) == x.ndim:
        left = [place for axis, place in enumerate(index) if axis not in along]
    else:
        left = list(index)
    kept = iter(left)
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[tuple(slice(None) if axis in along else next(kept) for axis in range(x.ndim))] = True
    return box(call, 0, mask)


def box(call: Call, which: int, mask: Tensor, **factors: Tensor) -> Window:
    """The smallest box of an input that holds all of the `mask`."""
    cube = call.cube(which, mask)
    if not bool(cube.any()):
        cube = torch.zeros_like(cube)
        cube[0, 0, 0] = True
    ranges = []
    for axis in range(3):
        others = [each for each in range(3) if each != axis]
        found = cube.any(dim=others[1]).any(dim=others[0]).nonzero()
        ranges.append(slice(int(found.min()), int(found.max()) + 1))
    box = tuple(ranges)
    more = {name: array(call.cube(which, values)[box]) for name, values in factors.items()}
    return call.window(which, [each.start for each in box], call.cube(which)[box], **more)


def broadcast(index: Place, shape: Sequence[int]) -> Place:
    """Where a value of a larger tensor comes from in one of `shape` that was broadcast to it."""
    return tuple(0 if side == 1 else place for place, side in zip(index[len(index) - len(shape) :], shape, strict=True))


def place_of(index: Sequence[Any]) -> tuple[int, int, int]:
    channel, row, column = map(int, index)
    return channel, row, column
