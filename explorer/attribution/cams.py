"""Class activation maps of a layer beside Grad-CAM: functions of its arrays, and of masked pictures' scores.

Activations and gradients have the shape (..., C, H, W), so that one picture and a batch are computed alike. All maps
are float32 (..., H, W), raw: not divided by their maximum.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F


def grad_cam_plus_plus(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Grad-CAM++, >= 0: ReLU(sum_k w_k A_k) with w_k = sum_ij alpha_ij ReLU(g_ij) and
    alpha_ij = g_ij² / (2 g_ij² + sum_ab A_ab g_ij³); g is d score / d A_k (Chattopadhay et al. 2018, equations 10, 11
    and 19).

    The paper explains exp(score), which multiplies every w_k by the same number; it is left out, as it overflows. An
    alpha whose denominator is 0 is 0. In float64, since float32 cannot hold the cubes of small gradients.
    """
    exact, slope = activation.astype(np.float64), gradient.astype(np.float64)
    sums = exact.sum(axis=(-2, -1), keepdims=True)
    # Numerator and denominator divided by g²: g / g = 1 where g is too small for a cube.
    below = 2 + sums * slope
    alphas = np.divide(1.0, below, out=np.zeros_like(slope), where=(slope != 0) & (below != 0))
    weights = (alphas * np.maximum(slope, 0)).sum(axis=(-2, -1))  # (..., C)
    return weighted(activation, weights)


def layer_cam(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """LayerCAM, >= 0: ReLU(sum_k ReLU(g_k) A_k), each pixel with its own weight (Jiang et al. 2021, equations 5
    and 6)."""
    return np.maximum((np.maximum(gradient, 0) * activation).sum(axis=-3), 0)


def eigen_cam(activation: np.ndarray) -> np.ndarray:
    """Eigen-CAM, >= 0: the activations' projection on their first right singular vector (Muhammad and Yeasin 2020,
    equation 5), with pixels as rows and channels as columns.

    Not centred, as in the paper. The sign of the vector is open there; here the map's sum is positive, and what is
    negative then is cut off. No class and no gradient takes part.
    """
    *batch, channels, height, width = activation.shape
    pixels = np.moveaxis(activation.reshape(*batch, channels, height * width), -1, -2).astype(np.float64)
    left, singular, _ = np.linalg.svd(pixels, full_matrices=False)
    projected = (left[..., 0] * singular[..., :1]).reshape(*batch, height, width)
    signs = np.where(projected.sum(axis=(-2, -1), keepdims=True) < 0, -1.0, 1.0)
    return np.maximum(signs * projected, 0).astype(np.float32)


def weighted(activation: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """ReLU(sum_k w_k A_k) of weights (..., C)."""
    return np.maximum(weighted_sum(activation, weights), 0)


def weighted_sum(activation: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """sum_k w_k A_k of weights (..., C): with Grad-CAM's weights the signed Grad-CAM, before its ReLU."""
    return np.einsum("...k,...kij->...ij", weights, activation).astype(np.float32)


def channel_masks(activation: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Score-CAM's masks: each channel of (C, h, w) enlarged to `size`, then moved and scaled to 0..1, float32
    (C, H, W). A channel that is the same everywhere hides everything: 0."""
    large = enlarged(torch.from_numpy(activation.copy())[:, None], size)[:, 0].numpy()
    low, high = large.min(axis=(1, 2), keepdims=True), large.max(axis=(1, 2), keepdims=True)
    return np.divide(large - low, high - low, out=np.zeros_like(large), where=high > low)


def score_weights(scores: np.ndarray) -> np.ndarray:
    """The softmax of the target's logits of the masked pictures (C,): Score-CAM's weights (Wang et al. 2020, algorithm
    1). The logit of the picture without content, which the paper subtracts first, cancels out."""
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def random_masks(draw: np.random.Generator, count: int, cells: int, kept: float, size: tuple[int, int]) -> np.ndarray:
    """RISE's masks, float32 (count, H, W) of 0..1: a grid of `cells` + 1 each way, of which each cell is 1 with the
    probability `kept`, enlarged bilinearly and cut at a random place (Petsiuk et al. 2018, section 3.2)."""
    sides = [-(-side // cells) for side in size]  # of a cell, in pixels
    grids = (draw.random((count, 1, cells + 1, cells + 1)) < kept).astype(np.float32)
    large = enlarged(torch.from_numpy(grids), ((cells + 1) * sides[0], (cells + 1) * sides[1]))[:, 0].numpy()
    tops, lefts = (draw.integers(0, side, count) for side in sides)
    pairs = zip(large, tops, lefts, strict=True)
    return np.stack([each[top : top + size[0], left : left + size[1]] for each, top, left in pairs])


def enlarged(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(N, C, h, w) -> (N, C, *size), bilinear with pixel centres kept in place."""
    return F.interpolate(values, size, mode="bilinear", align_corners=False)


FROM_ARRAYS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "grad_cam_pp": grad_cam_plus_plus,
    "layer_cam": layer_cam,
    "eigen_cam": lambda activation, _: eigen_cam(activation),
}
"""By the method's name: the map from activation and gradient."""
