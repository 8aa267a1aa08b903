"""The ten drawn shapes of one scene, as one picture."""

from functools import lru_cache

import numpy as np

from explorer import figures
from explorer.datasets import shapes
from explorer.ui.passes import drawn

COLUMNS = 5
SCENES = 1_000_000


def sheets(sample: tuple[int, int] | None) -> dict[str, str]:
    """The scene of that picture, by its number."""
    return {str(sample[1]): scene(sample[1])} if sample else {}


@lru_cache(maxsize=200)
def scene(number: int) -> str:
    """The ten shapes of that scene on one sheet, five in a row, as an address that holds the PNG."""
    pictures = np.stack([drawn(index, number)[0] for index in range(len(shapes.CLASS_NAMES))])
    return figures.data_uri(figures.sheet(pictures, COLUMNS, pictures.shape[1]))
