"""Shattered gradients (Balduzzi et al. 2017, arXiv 1702.08591): do neighbouring pictures agree on the gradient?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.experiments.gradient_geometry.passes import LARGER, InitialNetwork
from explorer.tracing import read_only

PICTURES = 256  # on a line between two
LAGS = 64  # beside lag 0
AT_ONCE = 32  # pictures: their maps stay in a core's cache

_COLUMNS = 4096  # pixel values whose spectra are held at once, 34 MB


@dataclass(frozen=True, eq=False)
class Shattering:
    """Of one network and seed: the gradients of one logit by the pixels of the pictures on a line.

    `correlation` is their autocorrelation at lags 0 to `LAGS`, float64; NaN where no gradient differs from another.
    `cosine` is the mean cosine between neighbours, and `size` the mean L2 norm of a gradient. `zeros` of the pictures
    have a gradient of exactly 0. `distance` is that between neighbours, in standard deviations of the pixels (L2).
    """

    correlation: np.ndarray
    cosine: float
    size: float
    zeros: int
    distance: float


def autocorrelation(sequence: np.ndarray, lags: int = LAGS) -> np.ndarray:
    """The autocorrelation at lags 0 to `lags` of a sequence (N, D) of N vectors, float64 (lags + 1,).

    c(k) / c(0) with c(k) = Σ over i and d of (x[i, d] - m[d]) (x[i + k, d] - m[d]), m the mean over i: the usual,
    biased estimator of each of the D series, weighted by their variances. NaN where nothing varies, or a value is not
    finite. Raises ValueError for fewer vectors than lags.
    """
    n = len(sequence)
    if not 0 <= lags < n:
        raise ValueError(f"`lags` must be fewer than the {n} vectors, received {lags}.")
    flat = sequence.reshape(n, -1)
    if not np.isfinite(flat).all() or not (flat != flat[:1]).any():
        return read_only(np.full(lags + 1, np.nan))
    sums = np.zeros(n)
    for start in range(0, flat.shape[1], _COLUMNS):
        values = flat[:, start : start + _COLUMNS].astype(np.float64)
        spectrum = np.fft.rfft(values - values.mean(axis=0), 2 * n, axis=0)
        sums += np.fft.irfft((spectrum.real**2 + spectrum.imag**2).sum(axis=1), 2 * n)[:n]
    return read_only(sums[: lags + 1] / sums[0])


def white_noise(pictures: int, values: int, seed: int) -> np.ndarray:
    """Normal values without any order, float64 (pictures, values)."""
    return np.random.default_rng(seed).standard_normal((pictures, values))


def brown_noise(pictures: int, values: int, seed: int) -> np.ndarray:
    """A random walk along the pictures in each of the values: the sums of white noise, float64 (pictures, values)."""
    return white_noise(pictures, values, seed).cumsum(axis=0)


def reference(
    noise: Callable[[int, int, int], np.ndarray], seeds: Sequence[int], values: int = 1024, pictures: int = PICTURES
) -> np.ndarray:
    """The autocorrelations of a noise in the place of the gradients, for each seed, float64 (seeds, LAGS + 1)."""
    return np.stack([autocorrelation(noise(pictures, values, seed)) for seed in seeds])


def ends(labels: np.ndarray, seed: int) -> tuple[int, int]:
    """The two pictures of a batch whose line belongs to a seed: the second is the next one of another class."""
    first = 2 * seed % len(labels)
    others = [*range(first + 1, len(labels)), *range(first)]
    return first, next((other for other in others if labels[other] != labels[first]), others[0])


def line(first: Tensor, second: Tensor, pictures: int = PICTURES) -> Tensor:
    """Pictures at equal distances from the first to the second, each (C, H, W): (pictures, C, H, W)."""
    shares = torch.linspace(0, 1, pictures, dtype=first.dtype).view(-1, 1, 1, 1)
    return torch.lerp(first, second, shares).contiguous(memory_format=torch.channels_last)


def line_of(initial: InitialNetwork, seed: int) -> tuple[Tensor, int]:
    """The pictures on the line of the seed, and the class of its first picture, whose logit is explained."""
    first, second = ends(initial.labels.numpy(), seed)
    return line(initial.images[first], initial.images[second]), int(initial.labels[first])


def input_gradients(initial: InitialNetwork, seed: int, span: range) -> Tensor:
    """`LARGER` times the gradients of that logit by the pixels, of some of the pictures: float32 (span, C, H, W)."""
    pictures, target = line_of(initial, seed)
    images = pictures[span.start : span.stop].clone().requires_grad_()
    with torch.enable_grad():
        logits = initial(images)[:, target]
    return torch.autograd.grad(logits, images, torch.full_like(logits, LARGER))[0]


def shattering(initial: InitialNetwork, seed: int, gradients: Sequence[Tensor]) -> Shattering:
    """What the gradients of all spans say."""
    sequence = torch.cat(list(gradients)).flatten(1).double()  # (N, D)
    sizes = torch.linalg.vector_norm(sequence, dim=1)
    cosines = (sequence[:-1] * sequence[1:]).sum(1) / (sizes[:-1] * sizes[1:])
    pictures, _ = line_of(initial, seed)
    return Shattering(
        correlation=autocorrelation(sequence.numpy()),
        cosine=cosines.mean().item(),
        size=sizes.mean().item() / LARGER,
        zeros=int((sizes == 0).sum()),
        distance=torch.linalg.vector_norm(pictures[1] - pictures[0]).item(),
    )
