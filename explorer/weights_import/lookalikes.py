"""What the statistics of the first norm say about the pictures that a network was trained on."""

from collections.abc import Mapping

import torch
from torch import Tensor

# Of natural pictures: the correlation of neighbouring pixels, and of two colours of one pixel.
NEIGHBOURS, COLOURS = 0.95, 0.9


def input_scale(state: Mapping[str, Tensor]) -> str | None:
    """A sentence on the scale of the input, where the first norm's statistics suggest another one than normalised
    pixels; None where they do not, or are not there."""
    weight, mean, variance = (state.get(key) for key in ("conv1.weight", "bn1.running_mean", "bn1.running_var"))
    if weight is None or mean is None or variance is None or "conv1.bias" in state:
        return None
    if not mean.any() and bool((variance == 1).all()):  # those of a network that has seen no picture
        return None
    found = input_statistics(weight, mean, variance)
    if found is None:
        return None
    centre, spread = found
    about = f"a mean of about {centre:.2g} and a standard deviation of about {spread:.2g}"
    if spread > 12:
        return (
            f"the scale of the input: the first norm's variance suggests {about}, so pixels from 0 to 255, as "
            "Caffe's networks take them, mostly in the order blue, green, red"
        )
    if spread < 0.4:
        return (
            f"the scale of the input: the first norm's variance suggests {about}, so pixels from 0 to 1 that were "
            "not normalised"
        )
    return None


def input_statistics(weight: Tensor, mean: Tensor, variance: Tensor) -> tuple[float, float] | None:
    """The mean and the standard deviation of the input's values, estimated from the first convolution, (K, C, h, w),
    and the running mean and variance (K,) of its outputs; None where that is impossible.

    An output has the mean Σ w μ and the variance σ² wᵀ R w, with the correlations R of natural pictures, so μ follows
    by least squares and σ as a median over the channels. Within a factor of about 2: of the twelve networks that come
    with the app, whose input has σ = 1, it gives 0.95 to 2.0.
    """
    if weight.dim() != 4 or not weight.numel() or mean.shape != weight.shape[:1] or variance.shape != weight.shape[:1]:
        return None
    weight, mean, variance = weight.double(), mean.double(), variance.double()
    if weight[0].numel() > 1000 or not all(part.isfinite().all() for part in (weight, mean, variance)):
        return None
    height, width = weight.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], 1).double()
    near = NEIGHBOURS ** torch.cdist(places, places)
    colours = torch.full((weight.shape[1],) * 2, COLOURS, dtype=torch.float64).fill_diagonal_(1)
    flat = weight.flatten(1)
    expected = (flat @ torch.kron(colours, near) * flat).sum(1)
    alive = expected > 1e-3 * expected.max()
    if not alive.any():
        return None
    spread = (variance[alive] / expected[alive]).clamp(min=0).sqrt().median()
    sums = weight.sum((1, 2, 3))
    centre = (sums @ mean) / (sums @ sums) if sums.any() else torch.zeros(())
    return float(centre), float(spread)
