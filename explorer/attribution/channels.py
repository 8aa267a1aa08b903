"""The kernels of the first layer, and the pictures with the largest values of a channel."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, describe
from explorer.attribution.explanation import Share, pictures_at_once
from explorer.tracing import check_evaluation_mode
from explorer.training import network_input


@dataclass(frozen=True, eq=False)
class Kernels:
    """The weights of the first convolution, float32 (out, in, kh, kw), and `top`, the largest absolute value: the end
    of their one colour scale."""

    layer: str
    values: np.ndarray
    top: float


def kernels(network: Network) -> Kernels:
    """A copy of the first convolution's weights. Raises ValueError for a network without one."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            values = module.weight.numpy(force=True).copy()
            return Kernels(name, values, float(np.abs(values).max()))
    raise ValueError("`network` has no convolution, so it has no kernels to see; choose another network.")


@dataclass(frozen=True, eq=False)
class TopImages:
    """For each channel of `layer` the pictures with the largest maximum of its feature map, the largest first.

    Of C channels and the best n = min(count, N) pictures: `values` float32 (C, n), the maximum; `indices` int64
    (C, n), which picture (of equal ones the first); `positions` int64 (C, n, 2), row and column of the maximum on the
    feature map; `boxes` int64 (C, n, 4), top, left, bottom and right (exclusive) of the pixels that this value can
    depend on, cut at the picture's edge. A channel whose values are all the same, such as 0, tells nothing.
    """

    layer: str
    values: np.ndarray
    indices: np.ndarray
    positions: np.ndarray
    boxes: np.ndarray


class _Reached(Exception):
    """Ends a pass at the wanted layer, whose output it holds."""


def top_images(
    network: Network,
    images: np.ndarray,
    mean: Sequence[float],
    std: Sequence[float],
    layer: str,
    count: int = 9,
) -> Generator[Share[TopImages], None, None]:
    """Progress, and last the `TopImages` of all channels of `layer`, from one sweep over `images`.

    `images` is uint8 (N, 3, H, W), of the size of the network's input, normalised here with `mean` and `std`. A picture
    counts by the maximum of its feature map, which has a position, unlike the mean (Zeiler and Fergus 2014, section
    4.1). One chunk of pictures and the best so far are in memory. The network is only read, and may be shared.
    Raises ValueError for other images, none of them, a layer without feature maps, or a network in training mode.
    """
    spec = network.spec
    known = {entry.name for entry in describe(spec).layers if len(entry.output_shape) == 3}
    if layer not in known:
        raise ValueError(f"`layer` must be one with feature maps, received {layer!r}; choose a convolution or a block.")
    shape = (3, *spec.input_shape[1:])
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images) or count < 1:
        raise ValueError(
            f"`images` must be uint8 of shape (N, {', '.join(map(str, shape))}) with at least one image, and `count` "
            f"at least 1, received {images.dtype} {images.shape} and {count}; resize the images."
        )
    check_evaluation_mode(network)
    best: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    width = 1
    at_once = pictures_at_once(spec)
    for first in range(0, len(images), at_once):
        batch = network_input(images[first : first + at_once], mean, std, network.device)
        maps = _output(network, batch, layer)  # (n, C, H', W')
        width = maps.shape[3]
        peaks, places = (found.cpu().numpy() for found in maps.flatten(2).max(dim=2))  # (n, C) each
        numbers = np.broadcast_to(np.arange(first, first + len(peaks))[:, None], peaks.shape)
        rows = (peaks, numbers, places)
        if best is not None:
            rows = tuple(map(np.concatenate, zip(best, rows, strict=True)))  # type: ignore[assignment]
        order = np.argsort(-rows[0], axis=0, kind="stable")[:count]  # of equal ones the first picture stays first
        best = tuple(np.take_along_axis(part, order, axis=0) for part in rows)  # type: ignore[assignment]
        yield Share(min(1.0, (first + at_once) / len(images)))
    assert best is not None
    values, indices, places = (np.ascontiguousarray(part.T) for part in best)  # (C, n) each
    positions = np.stack(np.divmod(places, width), axis=-1)
    yield Share(1.0, TopImages(layer, values, indices, positions, boxes_of(spec, layer, positions)))


@torch.no_grad()
def _output(network: Network, batch: Tensor, layer: str) -> Tensor:
    wanted = network.get_submodule(layer)

    def run(module: nn.Module, *inputs: object) -> Tensor:
        output: Tensor = module(*inputs)
        if module is wanted:
            raise _Reached(output)
        return output

    try:
        network(batch, run)
    except _Reached as reached:
        maps: Tensor = reached.args[0]
    return maps


def boxes_of(spec: ArchitectureSpec, layer: str, positions: np.ndarray) -> np.ndarray:
    """The receptive fields of `positions` (..., 2) on a feature map of `layer`: int64 (..., 4) top, left, bottom,
    right (exclusive), in pixels of the input, cut at its edge."""
    side, distance, first = describe(spec).receptive_fields[layer]
    low = np.rint(first + positions * distance - (side - 1) / 2).astype(np.int64)
    size = np.array(spec.input_shape[1:])
    return np.concatenate([np.clip(low, 0, size), np.clip(low + side, 0, size)], axis=-1)
