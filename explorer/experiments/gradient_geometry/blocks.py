"""The size of branch and shortcut, block by block, at initialisation (De and Smith 2020, arXiv 2002.10444)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network
from explorer.architectures.modules import Block, IdentityShortcut, ProjectionShortcut
from explorer.experiments.gradient_geometry.passes import FixedNorms, InitialNetwork, initial_network
from explorer.experiments.stored_gradients import LabelledBatch
from explorer.tracing import read_only


@dataclass(frozen=True, eq=False)
class BlockSizes:
    """Root mean squares of what each sum of a network adds, over the batch and all values, float64 (B,) each.

    `names` are the blocks in execution order. `counts` (B,) count the blocks, 1 at the first: a projection, whose norm
    makes the path as large as a branch, begins again with 1, and so does the block behind a plain one. Where option A
    adds channels of zeros, the count is multiplied by the share of the old channels, as the mean square of the path is.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    branch: np.ndarray
    shortcut: np.ndarray

    @property
    def ratios(self) -> np.ndarray:
        """Branch over shortcut; NaN where the shortcut is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.shortcut > 0, self.branch / self.shortcut, np.nan)

    @property
    def power(self) -> float:
        """p of the line of least squares log(ratio) = p log(count) + constant; NaN where it has no two points."""
        usable = (self.ratios > 0) & np.isfinite(self.ratios)
        x, y = np.log(self.counts[usable]), np.log(self.ratios[usable])
        x = x - x.mean() if len(x) else x
        return float((x * y).sum() / (x * x).sum()) if (x * x).sum() > 0 else float("nan")


class _Sums(FixedNorms):
    """Keeps the sizes of both inputs of each sum."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.sizes: dict[str, tuple[float, float]] = {}

    def __call__(self, module: nn.Module, *inputs: Any) -> Tensor:
        name, kind = self.network.layers[module]
        if kind == "sum":
            branch, shortcut = (each.double().square().mean().sqrt().item() for each in inputs)
            self.sizes[name.rpartition(".")[0]] = branch, shortcut
        return super().__call__(module, *inputs)


def with_sums(spec: ArchitectureSpec, seed: int, batch: LabelledBatch) -> InitialNetwork:
    """The network, whose norms have seen what its sums add in the pass of the batch."""
    return initial_network(spec, seed, batch, _Sums)


def block_sizes(initial: InitialNetwork) -> BlockSizes:
    """Of a network `with_sums`. Raises ValueError for one without shortcuts."""
    sums, spec = initial.norms, initial.network.spec
    if not isinstance(sums, _Sums) or not sums.sizes:
        raise ValueError(f"{spec.name} has no shortcuts, so nothing stands beside its branches; choose a ResNet.")
    branch, shortcut = (read_only(np.array(each)) for each in zip(*sums.sizes.values(), strict=True))
    return BlockSizes(tuple(sums.sizes), counts(sums.network), branch, shortcut)


def counts(network: Network) -> np.ndarray:
    """Those of `BlockSizes`, float64 (B,)."""
    found: list[float] = []
    count = 0.0  # of the blocks since the path began
    for block in (part for stage in network.stages for part in stage.children() if isinstance(part, Block)):
        if not block.residual:
            count = 0.0
            continue
        count += 1
        if isinstance(block.shortcut, ProjectionShortcut):
            count = 1.0
        elif isinstance(block.shortcut, IdentityShortcut) and block.shortcut.extra_channels:
            after = block.get_submodule([each for each in block.branch if "conv" in each][-1])
            assert isinstance(after, nn.Conv2d)
            count *= (after.out_channels - block.shortcut.extra_channels) / after.out_channels
        found.append(count)
    return read_only(np.array(found))
