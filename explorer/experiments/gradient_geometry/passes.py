"""Passes of a network with its initial weights, in which BatchNorm is a fixed function of one picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, build, describe
from explorer.experiments.stored_gradients import LabelledBatch
from explorer.training import normalise

LARGER = 2.0**60
"""All gradients are computed this many times larger: a power of two changes no digit, and fewer of them underflow."""

NORMED = 32
"""Pictures of the batch that the norms are fixed by: more cost time and change little."""

_PART_MACS = 5_000_000_000  # of one way: a quarter of a second on a core, after which Stop takes effect


class FixedNorms:
    """The `run` of a pass in which each BatchNorm multiplies and adds constants, so pictures do not mix.

    The constants are those of the first pass: its means and biased variances, as in a first training step. With the
    batch's own statistics, a gradient of one picture would depend on the pictures beside it.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.constants: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def __call__(self, module: nn.Module, *inputs: Any) -> Tensor:
        if not isinstance(module, nn.BatchNorm2d):
            return module(*inputs)
        x: Tensor = inputs[0]
        if module not in self.constants:
            self.constants[module] = _constants(module, x)
        scale, shift = self.constants[module]
        return torch.addcmul(shift, x, scale)


@torch.no_grad()
def _constants(module: nn.BatchNorm2d, x: Tensor) -> tuple[Tensor, Tensor]:
    """What BatchNorm multiplies by and adds in training mode, each (1, C, 1, 1)."""
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    scale = module.weight / torch.sqrt(variance + module.eps)
    return scale.view(1, -1, 1, 1), (module.bias - mean * scale).view(1, -1, 1, 1)


@dataclass(frozen=True, eq=False)
class InitialNetwork:
    """A network with its initial weights of a seed, the pictures of a batch, (N, C, H, W), and their labels (N,)."""

    network: Network
    norms: FixedNorms
    images: Tensor
    labels: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """The logits (N, classes)."""
        return self.network(images, self.norms)


def initial_network(
    spec: ArchitectureSpec, seed: int, batch: LabelledBatch, norms: Callable[[Network], FixedNorms] = FixedNorms
) -> InitialNetwork:
    """The network after one pass of the first `NORMED` pictures of the batch, which `norms` sees.

    The batch is normalised by its own mean and standard deviation; labels count modulo the classes. The network is in
    evaluation mode: without dropout. Raises ValueError where it takes other pictures.
    """
    channels, *sides = spec.input_shape
    if channels not in (1, 3) or tuple(sides) != batch.images.shape[2:]:
        wanted, given = ("×".join(map(str, shape)) for shape in (spec.input_shape, batch.images.shape[1:]))
        raise ValueError(f"{spec.name} takes pictures of {wanted}, received {given}; give pictures of that size.")
    pixels = torch.from_numpy(np.ascontiguousarray(batch.images.transpose(0, 2, 3, 1)))  # (N, H, W, 3)
    floats = pixels.float() / 255
    axes = (0, 1, 2) if channels == 3 else (0, 1, 2, 3)
    mean, std = (statistic.reshape(-1) for statistic in (floats.mean(axes), floats.std(axes)))
    images = normalise(pixels, mean, torch.where(std > 0, std, 1.0))
    network = build(spec, seed).freeze().to(memory_format=torch.channels_last)
    fixed = norms(network)
    with torch.no_grad():
        network(images[:NORMED], fixed)
    return InitialNetwork(network, fixed, images, torch.from_numpy(batch.labels) % spec.classes)


def macs_of(spec: ArchitectureSpec) -> int:
    """Multiply-accumulates of a forward pass of one picture; a backward pass to the pixels takes as many."""
    return describe(spec).macs


def at_once(spec: ArchitectureSpec, most: int) -> int:
    """How many of `most` pictures go through the network together, at least one."""
    return max(1, min(most, _PART_MACS // max(1, macs_of(spec))))


def spans(total: int, size: int) -> Sequence[range]:
    """0..total in pieces of `size`."""
    return [range(start, min(start + size, total)) for start in range(0, total, size)]
