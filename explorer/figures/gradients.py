"""Sizes of weight gradients, layer by step, and their colours on one scale for all networks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explorer.figures.raster import ColourScale

ZERO = (128, 134, 138)  # a grey, which the palette of sizes does not have


@dataclass(frozen=True, eq=False)
class GradientMap:
    """Sizes of the weight gradient of one network: `norms` has one row for each of `steps`, each with one value for
    each of `layers`, from input to output; None or a value that is not finite where nothing was measured."""

    title: str
    colour: str
    layers: Sequence[str]
    steps: Sequence[int]
    norms: Sequence[Sequence[float | None]]


def enclosing_decades(sizes: Sequence[np.ndarray]) -> tuple[int, int]:
    """The powers of ten that enclose every finite size above zero, at least one decade; -1 and 0 without any."""
    values = np.concatenate([np.ravel(each) for each in sizes] or [np.zeros(0)])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return -1, 0
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    return low, max(high, low + 1)


def decades(maps: Sequence[GradientMap]) -> tuple[int, int]:
    """The decades of all maps: their shared scale."""
    rows = [np.array(row, dtype=np.float64) for gradients in maps for row in gradients.norms]  # None becomes NaN
    return enclosing_decades(rows)


def paint_gradients(
    gradients: GradientMap, layers: Sequence[str], steps: Sequence[int], low: int, high: int
) -> np.ndarray:
    """uint8 (layers, steps, 4): the colour of log10 of each size between the decades `low` and `high`.

    Zero is grey, and values that were not measured are transparent.
    """
    sizes = size_table(gradients, layers, steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        colours = ColourScale(low, high).paint(np.where(sizes > 0, np.log10(sizes), low))
    colours[sizes == 0] = ZERO
    opacity = np.where(np.isfinite(sizes), 255, 0).astype(np.uint8)
    return np.concatenate([colours, opacity[..., None]], axis=-1)


def size_table(gradients: GradientMap, layers: Sequence[str], steps: Sequence[int]) -> np.ndarray:
    """float64 (layers, steps), NaN where this network has no such layer or did not measure at that step."""
    rows = {name: row for row, name in enumerate(layers)}
    columns = {step: column for column, step in enumerate(steps)}
    table = np.full((len(layers), len(steps)), np.nan)
    for step, norms in zip(gradients.steps, gradients.norms, strict=True):
        for name, size in zip(gradients.layers, norms, strict=True):
            if size is not None and math.isfinite(size):
                table[rows[name], columns[step]] = size
    return table
