"""Pixels that the browser sends: what a person draws there, or what the camera sees."""

import hashlib
from typing import Any

import numpy as np

from explorer import figures
from explorer.ui.services.input_images import IMAGE_SIDE_PX, InputImage

TITLES = {"drawing": "your drawing", "camera": "your camera image"}
MAX_SIDE = 512  # pixels
MAX_BYTES = 4 * MAX_SIDE**2


def drawn_image(asked: Any, content: bytes) -> tuple[str, InputImage]:
    """The `picture` of an AppState for these pixels, and the image.

    `asked` has the `kind` (TITLES), the `size` [height, width], and whether there is a `mask`. `content` is uint8
    (height, width, 3), and behind it the mask, uint8 (height, width), 1 on the object. Raises ValueError with one
    sentence for anything else.
    """
    try:
        title, (height, width), has_mask = TITLES[asked["kind"]], asked["size"], asked["mask"] is True
        length = height * width * (3 + has_mask)
    except (KeyError, TypeError, ValueError):
        height = width = length = 0
    if not (type(height) is type(width) is int and 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f"A drawing has a kind and a size of up to {MAX_SIDE}×{MAX_SIDE} pixels; reload the page.")
    if len(content) != length:
        raise ValueError(f"A drawing of {height}×{width} pixels has {length} bytes, received {len(content)}.")
    values = np.frombuffer(content, np.uint8)
    pixels = values[: height * width * 3].reshape(height, width, 3)
    mask = values[height * width * 3 :].reshape(height, width) == 1 if has_mask else None
    digest = hashlib.sha256(f"{title} {height} {width} ".encode() + content).hexdigest()[:16]
    shown = figures.fit_to_screen(pixels, IMAGE_SIDE_PX)
    # A mask of nothing is none: there is no object yet.
    return f"upload-{digest}", InputImage(
        pixels, shown, digest, title, (), mask if mask is not None and mask.any() else None
    )
