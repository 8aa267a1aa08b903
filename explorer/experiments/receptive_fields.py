"""Effective receptive fields of all layers: how many pixels really decide what the centre of a layer has.

Luo, Li, Urtasun and Zemel 2016, "Understanding the effective receptive field in deep convolutional neural networks",
define it by the gradient of a layer's central unit by the pixels of the picture, averaged over pictures.
"""

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from explorer.architectures import ArchitectureSpec, describe
from explorer.architectures.description import Rectangle
from explorer.checkpoints import Checkpoint
from explorer.experiments.agreement import images_for
from explorer.experiments.kept_outputs import KeptOutputs
from explorer.experiments.probing import strip_layers
from explorer.experiments.throughput import on_all_cores
from explorer.tracing import check_evaluation_mode

PICTURES = 16
HELD = 0.95
"""Share of the gradient that the pixels of an effective field hold."""

_BATCH_VALUES = 2**24  # of all outputs that a backward pass needs, 64 MB
_SLOWEST = 120e9  # multiply-accumulates up to which all pictures are taken


@dataclass(frozen=True, eq=False)
class Fields:
    """Effective and theoretical receptive fields of the centre of each of L layers, as sides of a square, in pixels of
    the input: float64 (L,), both. The theoretical one is cut at the edges of the picture; the effective one is NaN
    where no gradient reaches the picture. `n` pictures were taken.
    """

    layers: tuple[str, ...]
    effective: np.ndarray
    theoretical: np.ndarray
    n: int


def centre(spec: ArchitectureSpec, layer: str) -> tuple[int, int]:
    """Row and column of the central position of a layer."""
    height, width = describe(spec).shape(layer)[1:]
    return height // 2, width // 2


def theoretical(spec: ArchitectureSpec, layer: str) -> Rectangle | None:
    """The pixels that the central position of a layer can depend on; None where it depends on none."""
    return describe(spec).reach(layer, (0, *centre(spec, layer)))


def gradient_maps(
    checkpoint: Checkpoint, pixels: np.ndarray, layers: Sequence[str], threads: int | None = None
) -> Generator[tuple[float, dict[str, np.ndarray] | None], None, None]:
    """How strongly the central position of each layer reacts to each pixel of the input, by layer: float64 (H, W).

    The largest |gradient| over the colours, summed over `pixels`, uint8 (N, 3, H, W), as `effective_field` has it for
    one value. The channels of the layer are summed with random signs, other ones for each picture: so opposite channels
    do not cancel each other. Yields (fraction done, None) and ends with (1.0, the maps). Raises ValueError for a
    network in training mode or no pictures.
    """
    network = checkpoint.network
    check_evaluation_mode(network)
    if not len(pixels):
        raise ValueError("`pixels` holds no images, so there is no gradient; choose others.")
    described = describe(checkpoint.spec)
    most = max((described.shape(name)[0] for name in layers), default=0)
    signs = torch.randint(0, 2, (len(pixels), most), generator=torch.Generator().manual_seed(0)).float() * 2 - 1
    size = max(1, min(4, _BATCH_VALUES // max(1, described.activation_bytes // 4)))
    maps = {name: np.zeros(checkpoint.spec.input_shape[1:]) for name in layers}

    def one(start: int) -> dict[str, np.ndarray]:
        part = slice(start, min(start + size, len(pixels)))
        images = images_for(checkpoint, pixels[part]).requires_grad_()
        outputs = KeptOutputs(network, layers)
        found = {}
        with torch.enable_grad():
            network(images, outputs)
            for name in layers:
                output = outputs[name]
                row, column = centre(checkpoint.spec, name)
                unit = output[:, :, row, column]  # (N, C)
                score = (unit * signs[part, : unit.shape[1]].to(unit.device)).sum()
                (gradient,) = torch.autograd.grad(
                    score, images, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                found[name] = gradient.abs().amax(1).sum(0).double().numpy(force=True)
        return found

    starts = range(0, len(pixels), size)
    threads = threads if network.device.type == "cpu" else 1
    with closing(on_all_cores((partial(one, start) for start in starts), threads)) as batches:
        for done, found in enumerate(batches, start=1):
            for name, own in found.items():
                maps[name] += own
            if done < len(starts):
                yield done / len(starts), None
    yield 1.0, maps


def side(gradients: np.ndarray, held: float = HELD) -> float:
    """The side in pixels of a square with as many pixels as the fewest that hold that share of a map of gradients, (H,
    W), >= 0; NaN for a map of zeros, or of values that are not finite."""
    values = np.sort(gradients.ravel())[::-1]
    total = values.sum()
    if not np.isfinite(total) or total <= 0:
        return math.nan
    count = int(np.searchsorted(np.cumsum(values), held * total)) + 1
    return math.sqrt(min(count, int((values > 0).sum())))


def fields(
    checkpoint: Checkpoint, pixels: np.ndarray, layers: Sequence[str] | None = None, threads: int | None = None
) -> Generator[tuple[float, Fields | None], None, None]:
    """The `Fields` of a network: by default of its blocks and of what is outside of them. Yields as `gradient_maps`,
    whose errors it has too."""
    names = tuple(layers if layers is not None else strip_layers(checkpoint.spec))
    for share, maps in gradient_maps(checkpoint, pixels, names, threads):
        if maps is None:
            yield share, None
            continue
        reach = [theoretical(checkpoint.spec, name) for name in names]
        areas = [(each.bottom - each.top + 1) * (each.right - each.left + 1) if each else 0 for each in reach]
        yield (
            1.0,
            Fields(names, np.array([side(maps[name]) for name in names]), np.sqrt(areas, dtype=float), len(pixels)),
        )


def count(spec: ArchitectureSpec, layers: Sequence[str]) -> int:
    """How many pictures are taken: fewer, but at least 2, where their passes would take minutes."""
    return int(min(PICTURES, max(2, _SLOWEST // max(1.0, macs(spec, layers, 1)))))


def macs(spec: ArchitectureSpec, layers: Sequence[str], n: int) -> float:
    """Multiply-accumulates for n pictures: a forward pass, and from each layer a pass back to the picture."""
    before, until = 0, dict[str, int]()
    for layer in describe(spec).layers:
        before += layer.macs
        until[layer.name] = before
    return n * float(before + sum(until[name] for name in layers))


def finding(title: str, found: Fields) -> str:
    """What the fields of a network say, in a plain sentence; "" where no gradient reaches the picture."""
    there = [index for index in range(len(found.layers)) if not math.isnan(found.effective[index])]
    if not there:
        return f"{title}: no gradient reaches the image, so there is no effective receptive field."
    last = there[-1]
    return (
        f"{title}: the centre of {found.layers[last]} has {HELD:.0%} of its gradient on an area of "
        f"{found.effective[last]:.1f}² pixels; it can depend on {found.theoretical[last]:.1f}² (n = {found.n})."
    )
