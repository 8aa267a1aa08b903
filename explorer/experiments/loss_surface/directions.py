"""Directions in the space of a network's weights (Li et al. 2018, arXiv 1712.09913, section 4)."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from explorer.architectures import Network
from explorer.experiments.loss_surface.settings import Moved, Normalisation

Direction = dict[str, Tensor]
"""The change of each parameter for a step of 1, float32, by the parameter's name."""


@torch.no_grad()
def random_direction(
    network: Network, seed: int, number: int, normalisation: Normalisation = "filter", moved: Moved = "kernels"
) -> Direction:
    """A random direction of the network's parameters, on its device.

    Every parameter draws standard normal numbers by `seed`, the direction's `number` and its own name. So twins, whose
    parameters have the same names and shapes, get the same numbers. With `normalisation` "filter" each filter d_j is
    multiplied by |w_j| / (|d_j| + 1e-10), Frobenius norms, where filters are the entries of the first axis; so are the
    rows of a linear layer. Parameters of one axis, which are biases and BatchNorm's, do not move, or where `moved` is
    "all" their direction is their own value. All of this is what the published code does.
    """
    return {
        name: _scaled(_drawn(seed, number, name, weights), weights, normalisation, moved)
        for name, weights in network.named_parameters()
    }


def _drawn(seed: int, number: int, name: str, like: Tensor) -> Tensor:
    digest = hashlib.sha256(f"surface/{seed}/{number}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(like.shape, generator=generator).to(like.device)


def _scaled(drawn: Tensor, weights: Tensor, normalisation: Normalisation, moved: Moved) -> Tensor:
    if weights.dim() <= 1:
        return weights.detach().clone() if moved == "all" else torch.zeros_like(weights)
    if normalisation == "none":
        return drawn
    of_filters = drawn.flatten(1).norm(dim=1)  # (filters,)
    factors = weights.flatten(1).norm(dim=1) / (of_filters + 1e-10)
    return drawn * factors.reshape(-1, *[1] * (weights.dim() - 1))


def flat(direction: Mapping[str, Tensor]) -> Tensor:
    """All of it as one vector, float64 (P,), on the CPU."""
    return torch.cat([each.detach().double().flatten().cpu() for each in direction.values()])
