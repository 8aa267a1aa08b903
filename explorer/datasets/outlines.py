"""The outlines of the ten drawn classes: signed distances, part of the frozen drawing of `shapes`.

Each function takes the coordinates x and y of points, arrays of one shape, and returns their signed distance to the
outline of its class, centred, within a circle of radius 1; negative inside. Lengths are in radii, y points down.
"""

from collections.abc import Callable

import numpy as np


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y) - 0.85


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.sqrt(x * x + y * y) - 0.69) - 0.21


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) - 0.71


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(-y, 0.8660254 * np.abs(x) + 0.5 * y) - 0.5


def _hexagon(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(y, 0.8660254 * x + 0.5 * y) - 0.79


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.minimum(x, y) - 0.29, np.maximum(x, y) - 0.92)


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    for fold_x in (0.809017, -0.809017):  # mirror the other points onto the upper one
        ahead = 2 * np.maximum(fold_x * x - 0.587785 * y, 0)
        x, y = x - ahead * fold_x, y + ahead * 0.587785
    return 0.837 * np.abs(x) + 0.547 * (y - 1)


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), y + 0.1
    lobe_x, lobe_y = x - 0.39, y - 0.39
    lobe = np.sqrt(lobe_x * lobe_x + lobe_y * lobe_y) - 0.5515
    return np.minimum(lobe, 0.7071068 * (x + np.abs(y) - 0.78))


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    bite = x - 0.45
    return np.maximum(np.sqrt(x * x + y * y) - 0.92, 0.7 - np.sqrt(bite * bite + y * y))


def _arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    head = np.maximum(-y, 0.7474 * x + 0.6644 * (y - 0.95))
    return np.minimum(head, np.maximum(x - 0.27, np.abs(y + 0.4) - 0.5))


OUTLINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": _circle,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "hexagon": _hexagon,
    "cross": _cross,
    "star": _star,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
}
CLASS_NAMES = tuple(OUTLINES)
