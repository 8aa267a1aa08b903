"""The gradient by the length of its path (Veit, Wilber and Belongie 2016, arXiv 1605.06431), at initialisation.

A network of B residual blocks has 2^B paths; B choose k of them go through k branches and past the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import Network
from explorer.experiments.gradient_geometry.passes import LARGER, FixedNorms, InitialNetwork
from explorer.tracing import read_only

PICTURES = 16  # each has a path of its own of every length
LENGTHS_AT_ONCE = 8  # of one forward pass


@dataclass(frozen=True, eq=False)
class PathSizes:
    """`sizes` (B + 1,): the mean L2 norm of the gradient of the loss by the pixels through one path with 0 to B
    branches, over random paths, float64."""

    sizes: np.ndarray

    @property
    def blocks(self) -> int:
        return len(self.sizes) - 1

    @property
    def shares(self) -> np.ndarray:
        """Each size times the number of such paths, as a share of all, (B + 1,); NaN where there is no gradient."""
        totals = self.sizes * np.array([float(math.comb(self.blocks, k)) for k in range(self.blocks + 1)])
        with np.errstate(invalid="ignore", divide="ignore"):
            return totals / totals.sum()

    def quantile(self, share: float) -> int:
        """The smallest k so that paths of up to k branches have that share."""
        return int(np.searchsorted(self.shares.cumsum(), share))


class _OneWay(torch.autograd.Function):
    """branch + shortcut, whose gradient goes back one way alone, picture by picture: into the branch where `through`
    (N,) is 1, else into the shortcut."""

    @staticmethod
    def forward(ctx: Any, branch: Tensor, shortcut: Tensor, gates: "Gates", place: int) -> Tensor:
        ctx.gates, ctx.place = gates, place
        return branch + shortcut

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        through = ctx.gates.through[ctx.place].to(gradient).view(-1, 1, 1, 1)
        return gradient * through, gradient * (1 - through), None, None


class Gates(FixedNorms):
    """A pass with the norms of another whose sums are `_OneWay`. `through`, bool (B, N), may change between two
    backward passes."""

    def __init__(self, initial: InitialNetwork) -> None:
        super().__init__(initial.network)
        self.constants = initial.norms.constants
        self.through = torch.zeros(0, dtype=torch.bool)
        self.sums = 0

    def __call__(self, module: nn.Module, *inputs: Any) -> Tensor:
        if self.network.layers[module][1] != "sum":
            return super().__call__(module, *inputs)
        self.sums += 1
        return _OneWay.apply(*inputs, self, self.sums - 1)


def sums_of(network: Network) -> int:
    """The number of residual blocks of a network."""
    return sum(kind == "sum" for _, kind in network.layers.values())


def path_gradients(initial: InitialNetwork, through: Sequence[Tensor], pictures: int = PICTURES) -> list[Tensor]:
    """`LARGER` times the gradient of each picture's loss by its pixels, (N, C, H, W), through one path for each of
    `through`, bool (B, N): after one forward pass of the first N pictures, whose result is that of the whole network.
    """
    run = Gates(initial)
    images = initial.images[:pictures].clone().requires_grad_()
    spec = initial.network.spec
    with torch.enable_grad():
        logits = initial.network(images, run)
        losses = F.cross_entropy(logits / spec.temperature, initial.labels[:pictures], reduction="none")
    found = []
    for gates in through:
        run.through = gates
        (gradient,) = torch.autograd.grad(losses, images, torch.full_like(losses, LARGER), retain_graph=True)
        found.append(gradient)
    return found


def random_paths(blocks: int, length: int, pictures: int, seed: int) -> Tensor:
    """For each picture a path through `length` of the branches, each set as likely as another: bool (blocks,
    pictures)."""
    generator = np.random.default_rng((seed, length))
    order = generator.random((blocks, pictures)).argsort(axis=0)
    return torch.from_numpy(order < length)


def path_norms(initial: InitialNetwork, seed: int, lengths: range) -> np.ndarray:
    """The mean size of the gradient through a path of each of these lengths, float64."""
    pictures, blocks = min(PICTURES, len(initial.images)), sums_of(initial.network)
    gates = [random_paths(blocks, length, pictures, seed) for length in lengths]
    gradients = path_gradients(initial, gates, pictures)
    norms = [torch.linalg.vector_norm(each.flatten(1), dim=1, dtype=torch.float64).mean() for each in gradients]
    return np.array([norm.item() / LARGER for norm in norms])


def path_sizes(parts: Sequence[np.ndarray]) -> PathSizes:
    """Those of all lengths."""
    return PathSizes(read_only(np.concatenate(parts)))
