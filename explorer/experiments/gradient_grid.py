"""Gradient flow of many networks at initialisation: the grid, its cost and measurement, bands over seeds."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
import torch

from explorer.architectures import ArchitectureSpec, build, describe
from explorer.architectures.spec import Activation, Initialisation, Norm, Shortcut
from explorer.experiments.gradient_flow import GradientFlow, Quantity, gradient_flow
from explorer.presets import cifar
from explorer.tracing import read_only
from explorer.training import normalise

DEPTHS = (8, 20, 32, 56, 110)
SHORTCUTS: tuple[Shortcut, ...] = ("none", "identity", "projection")
NORMS: tuple[Norm, ...] = ("batch", "none")
INITIALISATIONS: tuple[Initialisation, ...] = ("he", "pytorch")
ACTIVATIONS: tuple[Activation, ...] = ("relu", "tanh", "sigmoid")


def grid(
    depths: Sequence[int] = DEPTHS,
    shortcuts: Sequence[Shortcut] = SHORTCUTS,
    norms: Sequence[Norm] = NORMS,
    initialisations: Sequence[Initialisation] = INITIALISATIONS,
    activations: Sequence[Activation] = ACTIVATIONS,
    classes: int = 10,
    size: int = 32,
) -> tuple[ArchitectureSpec, ...]:
    """The CIFAR networks of all combinations, the shallow ones first; by default 180 specs.

    Raises ValueError for a value that no network has.
    """
    return tuple(
        replace(cifar(depth, shortcut, norm, classes, size), initialisation=initialisation, activation=activation)
        for depth, shortcut, norm, initialisation, activation in product(
            depths, shortcuts, norms, initialisations, activations
        )
    )


@dataclass(frozen=True)
class GridCost:
    """Multiply-accumulates of all passes of a grid, and the float32 activations of the largest one."""

    macs: int
    activation_bytes: int


def cost(specs: Sequence[ArchitectureSpec], seeds: int, pictures: int) -> GridCost:
    """The cost of `at_initialisation`, without running it. A backward pass counts twice its forward pass: the gradient
    of a convolution for its input and that for its weights take as much as its output."""
    described = [describe(spec) for spec in specs]
    return GridCost(
        macs=3 * sum(network.macs for network in described) * pictures * seeds,
        activation_bytes=max((network.activation_bytes * pictures for network in described), default=0),
    )


@dataclass(frozen=True, eq=False)
class GridStep:
    """One measured network; `seconds` have passed since the start."""

    spec: ArchitectureSpec
    seed: int
    flow: GradientFlow
    seconds: float


def at_initialisation(
    specs: Sequence[ArchitectureSpec],
    images: np.ndarray,
    labels: np.ndarray,
    seeds: Sequence[int],
    precision: torch.dtype = torch.float32,
) -> Iterator[GridStep]:
    """The flow through the initial weights of each spec, for each seed, in training mode, as they are measured.

    `images` are uint8 (N, 3, H, W) and `labels` (N,): one batch for all, normalised by its own mean and standard
    deviation. All specs are measured with the first seed, then with the next: a stop leaves fewer seeds, not fewer
    networks. Specs of one depth share the weights of a seed. `precision` torch.float64 shows gradients that underflow
    in float32, in about twice the time.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))  # (N, H, W, 3)
    floats = pixels.float() / 255
    std = floats.std((0, 1, 2))
    batch = normalise(pixels, floats.mean((0, 1, 2)), torch.where(std > 0, std, 1.0)).to(precision)
    target = torch.from_numpy(labels)
    started = time.perf_counter()
    for seed in seeds:
        for spec in specs:
            flow = gradient_flow(build(spec, seed).to(precision), batch, target, "training")
            yield GridStep(spec, seed, flow, time.perf_counter() - started)


@dataclass(frozen=True, eq=False)
class GradientBand:
    """The flows of one network over n seeds, layer by layer along the main path.

    `sizes` is float64 (n, L), with NaN, infinity and exact zeros. `depth` (L,) runs from 0, the first layer, to 1, the
    last. `what` says what was measured (see `MEASURES`); `is_relative` whether each seed was divided by its own last
    layer. All arrays are read-only.
    """

    what: Quantity
    layers: tuple[str, ...]
    depth: np.ndarray
    sizes: np.ndarray
    precision: str
    is_relative: bool = False

    @property
    def n(self) -> int:
        return len(self.sizes)

    @cached_property
    def zeros(self) -> np.ndarray:
        """How many of the n sizes of each layer are exactly 0 in `precision`, int (L,)."""
        return (self.sizes == 0).sum(axis=0)

    @cached_property
    def not_finite(self) -> np.ndarray:
        """How many of the n sizes of each layer are not finite, int (L,): overflow, or a ratio to 0."""
        return (~np.isfinite(self.sizes)).sum(axis=0)

    @cached_property
    def median(self) -> np.ndarray:
        """Of the finite sizes of each layer, (L,); NaN where there is none. Zeros count: half of them make it 0."""
        return self._of_finite(np.median)

    @cached_property
    def low(self) -> np.ndarray:
        """The smallest finite size of each layer, (L,), which may be 0; NaN where there is none."""
        return self._of_finite(np.min)

    @cached_property
    def high(self) -> np.ndarray:
        """The largest finite size of each layer, (L,); NaN where there is none."""
        return self._of_finite(np.max)

    def relative(self) -> "GradientBand":
        """Each seed divided by its own last layer; NaN where that is 0."""
        if self.is_relative:
            return self
        with np.errstate(divide="ignore", invalid="ignore"):
            sizes = np.where(self.sizes[:, -1:] == 0, np.nan, self.sizes / self.sizes[:, -1:])
        return replace(self, sizes=read_only(sizes), is_relative=True)

    def _of_finite(self, statistic: Callable[[np.ndarray], float]) -> np.ndarray:
        columns = [column[np.isfinite(column)] for column in self.sizes.T]
        return read_only(np.array([statistic(column) if len(column) else np.nan for column in columns]))


def band(flows: Sequence[GradientFlow], what: Quantity = "weights") -> GradientBand:
    """The flows of one network, one for each seed, side by side.

    Raises ValueError for no flow, for flows of different layers or precisions, and for what was not measured.
    """
    if not flows:
        raise ValueError("`flows` must hold at least one flow, received none; measure a seed first.")
    found = [flow.along_depth(what) for flow in flows]
    layers = found[0][0]
    if any(names != layers for names, _ in found) or len({flow.precision for flow in flows}) > 1:
        raise ValueError("`flows` must be of one network in one precision; make one band for each.")
    return GradientBand(
        what=what,
        layers=layers,
        depth=read_only(np.linspace(0, 1, len(layers)) if len(layers) > 1 else np.zeros(1)),
        sizes=read_only(np.stack([sizes for _, sizes in found])),
        precision=flows[0].precision,
    )
