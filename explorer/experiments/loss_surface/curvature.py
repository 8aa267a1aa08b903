"""The largest and the smallest eigenvalue of the loss's Hessian, without the Hessian (Li et al. 2018, section 6)."""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import Network
from explorer.experiments.loss_surface.placed import Labelled, norms

ITERATIONS = 40
"""Hessian-vector products at most, at one place."""
LARGEST_TOLERANCE = 0.01  # of the largest |eigenvalue|: where its error bound ends the iteration early
SMALLEST_TOLERANCE = 0.05  # the same of the smallest one, of itself
NEGLIGIBLE = 1e-4  # of the largest |eigenvalue|: a bound below it is small enough for any other
PASSES_A_PRODUCT = 6
"""A Hessian-vector product in forward passes: forward, back, and back through both."""
_AT_ONCE = 16  # images of a product, whose graphs of both ways are kept: about 20 MB an image at 56 layers


@dataclass(frozen=True)
class Extremes:
    """The smallest and the largest eigenvalue that Lanczos found, each with its error bound, after `products`."""

    smallest: float
    largest: float
    smallest_error: float
    largest_error: float
    products: int

    @property
    def ratio(self) -> float:
        """|λmin / λmax|: 0 where the surface curves upward alone, NaN where it is flat."""
        return ratio(self.smallest, self.largest)


def product_passes(images: int) -> float:
    """A product's cost in passes of one image."""
    return float(PASSES_A_PRODUCT * images)


def ratio(smallest: float, largest: float) -> float:
    return abs(smallest / largest) if largest else math.nan


def hessian_product(
    network: Network, pictures: Labelled, parameters: Sequence[nn.Parameter], is_recomputed: bool
) -> Callable[[Tensor], Tensor]:
    """The product of a vector, float32 (P,), with the Hessian of the mean loss in `parameters`, which need gradients.

    With recomputed statistics these are of all images together, and the loss depends on the weights through them too;
    then all images are one batch.
    """
    n, temperature = len(pictures), network.spec.temperature
    at_once = n if is_recomputed else _AT_ONCE

    def product(vector: Tensor) -> Tensor:
        parts = _like(vector, parameters)
        total = torch.zeros_like(vector)
        for start in range(0, n, at_once):
            part = slice(start, start + at_once)
            with torch.enable_grad():
                scaled = network(pictures.images[part]) / temperature
                loss = F.cross_entropy(scaled, pictures.labels[part], reduction="sum") / n
                gradients = torch.autograd.grad(loss, parameters, create_graph=True)
                slope = torch.stack([(g * v).sum() for g, v in zip(gradients, parts, strict=True)]).sum()
                if not slope.requires_grad:  # a linear loss
                    continue
                curved = torch.autograd.grad(slope, parameters, allow_unused=True)
            total += torch.cat([
                (torch.zeros_like(p) if c is None else c).reshape(-1) for c, p in zip(curved, parameters, strict=True)
            ])  # fmt: skip
        return total

    return product


def _like(vector: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    sizes = [each.numel() for each in parameters]
    return [part.view(each.shape) for part, each in zip(vector.split(sizes), parameters, strict=True)]


def extremes(
    network: Network, pictures: Labelled, seed: int, is_recomputed: bool, iterations: int = ITERATIONS
) -> Generator[None, None, Extremes]:
    """Those of the Hessian in the parameters of more than one axis, at the network's own weights, as the published code
    takes them. Yields after each product.

    Lanczos with full reorthogonalisation from a random start. The error bound of an eigenvalue is that of Paige: the
    last entry of its eigenvector times the norm of what is left. Bounds of 1 % of the largest |λ| and 5 % of the
    smallest eigenvalue itself end it before `iterations`.
    The network is a private copy in evaluation mode, and is left so, without gradients. All is NaN where a product is
    not finite.
    """
    parameters = [each for each in network.parameters() if each.dim() > 1]
    size = sum(each.numel() for each in parameters)
    trained = norms(network) if is_recomputed else []
    product = hessian_product(network, pictures, parameters, is_recomputed)
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(size, generator=generator).to(network.device)
    vector /= vector.norm()
    basis: list[Tensor] = []
    diagonal: list[float] = []
    beside: list[float] = []
    try:
        for each in parameters:
            each.requires_grad_(True)
        for norm in trained:
            norm.train()
        found = _nothing(0)
        for step in range(1, min(iterations, size) + 1):
            basis.append(vector)
            left = product(vector)
            yield
            if not left.isfinite().all():
                return _nothing(step)
            diagonal.append(float(left.double() @ vector.double()))
            for _ in range(2):  # twice is enough (Parlett 1980)
                for other in basis:
                    left = left - (left.double() @ other.double()).float() * other
            norm_left = float(left.double().norm())
            found = _ritz(diagonal, beside, norm_left)
            scale = max(abs(found.smallest), abs(found.largest))
            if norm_left <= 1e-6 * max(scale, 1e-12) or (step > 2 and _is_enough(found, scale)):
                break
            beside.append(norm_left)
            vector = left / norm_left
        return found
    finally:
        for each in parameters:
            each.requires_grad_(False)
        for norm in trained:
            norm.eval()


def _nothing(products: int) -> Extremes:
    return Extremes(math.nan, math.nan, math.nan, math.nan, products)


def _is_enough(found: Extremes, scale: float) -> bool:
    small = max(SMALLEST_TOLERANCE * abs(found.smallest), NEGLIGIBLE * scale)
    return found.largest_error <= LARGEST_TOLERANCE * scale and found.smallest_error <= small


def _ritz(diagonal: Sequence[float], beside: Sequence[float], left: float) -> Extremes:
    """Of the tridiagonal matrix."""
    matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    values, vectors = np.linalg.eigh(matrix)
    bounds = np.abs(vectors[-1]) * left
    return Extremes(float(values[0]), float(values[-1]), float(bounds[0]), float(bounds[-1]), len(diagonal))
