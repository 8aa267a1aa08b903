"""Batches of pictures, augmented and normalised on the device."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.datasets import GREY_SHARES, Dataset, Split

PADDING = 4  # pixels around a picture before a random crop; He et al. 2015, section 4.2


def on_device(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images, uint8 (N, H, W, 3), and labels, int64 (N,)."""
    images = torch.from_numpy(np.ascontiguousarray(split.images.transpose(0, 2, 3, 1)))  # (N, H, W, 3)
    return images.to(device), torch.from_numpy(split.labels.copy()).to(device)


def statistics(dataset: Dataset, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, float32 (3,) each, or (1,) for grey images."""
    return torch.tensor(dataset.mean, device=device), torch.tensor(dataset.std, device=device)


def class_weights(dataset: Dataset) -> Tensor:
    """The weight of each class in the loss, float32 (classes,): n / (k n_c) for n_c of the n training pictures, where k
    classes have any, so that the mean over the pictures is 1; 0 for a class without."""
    counts = torch.from_numpy(np.bincount(dataset.train.labels, minlength=len(dataset.class_names)))
    weights = counts.sum() / ((counts > 0).sum() * counts.clamp(min=1))
    return torch.where(counts > 0, weights, 0.0).float()


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """A random crop of each picture padded by 4 black pixels, and a flip of every second: uint8 (B, H, W, 3), same."""
    batch, height, width, _ = pixels.shape
    padded = F.pad(pixels, (0, 0, PADDING, PADDING, PADDING, PADDING))
    draw = torch.rand(3, batch, generator=generator)
    top, left = (draw[:2] * (2 * PADDING + 1)).long()
    rows = top[:, None] + torch.arange(height)  # (B, H)
    columns = left[:, None] + torch.arange(width)  # (B, W)
    columns = torch.where(draw[2, :, None] < 0.5, columns, columns.flip(1))
    rows, columns = rows.to(pixels.device), columns.to(pixels.device)
    padded_height, padded_width = padded.shape[1:3]
    starts = (torch.arange(batch, device=pixels.device)[:, None] * padded_height + rows) * padded_width
    places = (starts[:, :, None] + columns[:, None, :]).flatten()
    # One flat index per pixel: gathering by picture, row and column is slower.
    return padded.flatten(0, 2).index_select(0, places).view_as(pixels)


def normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, C, H, W) in channels-last memory: (pixels / 255 - mean) / std.

    With one mean C is 1, and the pixels become grey as Pillow makes them (ITU-R BT.601).
    """
    if len(mean) == 1:
        shares = torch.tensor(GREY_SHARES, dtype=torch.int32, device=pixels.device)
        pixels = ((pixels * shares).sum(-1, keepdim=True) + 0x8000) >> 16
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def network_input(images: np.ndarray, mean: Sequence[float], std: Sequence[float], device: torch.device) -> Tensor:
    """uint8 (N, 3, H, W) -> float32 (N, C, H, W) on the device, as `normalise`."""
    pixels = torch.from_numpy(images.copy()).to(device).permute(0, 2, 3, 1)  # (N, H, W, 3)
    return normalise(pixels, torch.tensor(mean, device=device), torch.tensor(std, device=device))
