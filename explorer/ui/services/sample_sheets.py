"""The ten drawn shapes of one scene, as one image for the gallery."""

from functools import lru_cache

import numpy as np

from explorer import figures
from explorer.datasets import shapes
from explorer.ui.services.input_images import sample_pixels

COLUMNS = 5
SCENES = 1_000_000


def scene_sheets(sample: tuple[int, int] | None) -> dict[str, str]:
    """The scene of that sample, by its number; none for an uploaded image."""
    return {str(sample[1]): scene(sample[1])} if sample else {}


@lru_cache(maxsize=200)
def scene(number: int) -> str:
    """The shapes of that scene, COLUMNS in a row, as a data URI of a PNG."""
    pixels = np.stack([sample_pixels(label, number)[0] for label in range(len(shapes.CLASS_NAMES))])
    return figures.data_uri(figures.sheet(pixels, COLUMNS, pixels.shape[1]))
