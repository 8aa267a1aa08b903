"""Batches: pictures on the device as they lie in memory, augmented and normalised."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.datasets import Dataset, Split

PADDING = 4  # pixels around a picture before a random crop; He et al. 2015, section 4.2


def on_device(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images, uint8 (N, H, W, 3), and labels, int64 (N,)."""
    images = torch.from_numpy(np.ascontiguousarray(split.images.transpose(0, 2, 3, 1)))  # (N, H, W, 3)
    return images.to(device), torch.from_numpy(split.labels.copy()).to(device)


def statistics(dataset: Dataset, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, float32 (3,) each."""
    return torch.tensor(dataset.mean, device=device), torch.tensor(dataset.std, device=device)


def class_weights(dataset: Dataset) -> Tensor:
    """What each class's pictures count for in the loss, float32 (classes,): n / (k n_c) for n_c of the n training
    pictures, where k classes have any, so that the mean over the pictures is 1; 0 for a class without."""
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
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in channels-last memory: (pixels / 255 - mean) / std."""
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)
