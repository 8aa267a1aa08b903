"""Pixels to the input of a network, and back."""

from collections.abc import Sequence

import numpy as np
from PIL import Image


def resize(pixels: np.ndarray, size: tuple[int, int], resize_shorter_to: int | None = None) -> np.ndarray:
    """The centre of `pixels`, uint8 (H, W, 3), as uint8 (height, width, 3) for `size` = (height, width).

    The largest centred part with the aspect ratio of `size` is reduced with Pillow's antialiased Lanczos filter or
    enlarged with its bicubic one. Pixels that need no scaling are cut out, not filtered, so a picture that has `size`
    comes back unchanged.

    With `resize_shorter_to` the result is that of torchvision's transforms for its published weights, to the last bit:
    Pillow's antialiased bilinear filter brings the shorter side to that many pixels, and `size` is cut out of the
    centre. So the network sees less of the picture, and that larger.
    """
    height, width = size
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"`pixels` must be uint8 of shape (H, W, 3), received {pixels.dtype} {pixels.shape}.")
    if height < 1 or width < 1:
        raise ValueError(f"`size` must be a height and a width of at least 1, received {size}.")
    if resize_shorter_to is not None:
        return _resize_and_cut(pixels, size, resize_shorter_to)
    rows, columns = pixels.shape[:2]
    scale = min(rows / height, columns / width)
    top, left = max(0.0, rows - scale * height) / 2, max(0.0, columns - scale * width) / 2
    if scale == 1:
        return pixels[int(top) : int(top) + height, int(left) : int(left) + width]
    part = pixels[int(top) : rows - int(top), int(left) : columns - int(left)]  # else the margins leak into the edges
    top, left = top % 1, left % 1
    box = (left, top, part.shape[1] - left, part.shape[0] - top)
    resample = Image.Resampling.LANCZOS if scale > 1 else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(part).resize((width, height), resample, box=box))


def visible_part(
    shape: Sequence[int], size: Sequence[int], resize_shorter_to: int | None = None
) -> tuple[float, float, float, float]:
    """The centred part of a picture of `shape` = (H, W) that `resize` takes for `size`: left, top, width and height,
    as shares 0..1 of the picture."""
    rows, columns = shape
    height, width = size
    scale = min(shape) / resize_shorter_to if resize_shorter_to else min(rows / height, columns / width)
    wide, tall = scale * width / columns, scale * height / rows
    return (1 - wide) / 2, (1 - tall) / 2, wide, tall


def _resize_and_cut(pixels: np.ndarray, size: tuple[int, int], shorter: int) -> np.ndarray:
    """`torchvision.transforms.Resize(shorter)` and `CenterCrop(size)` of a Pillow image, with their rounding."""
    if shorter < max(size):
        raise ValueError(f"`resize_shorter_to` must be at least {max(size)} for `size` {size}, received {shorter}.")
    short = min(pixels.shape[:2])
    # The ends of a very long picture are cut off anyway, and resized with the rest they could take gigabytes.
    pixels = _centre(pixels, (min(pixels.shape[0], 8 * short), min(pixels.shape[1], 8 * short)))
    rows, columns = (shorter * side // short for side in pixels.shape[:2])
    scaled = Image.fromarray(np.ascontiguousarray(pixels)).resize((columns, rows), Image.Resampling.BILINEAR)
    return _centre(np.array(scaled), size)


def _centre(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top, left = (round((have - keep) / 2) for have, keep in zip(pixels.shape, size, strict=False))
    return pixels[top : top + size[0], left : left + size[1]]


def to_input(
    pixels: np.ndarray,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    resize_shorter_to: int | None = None,
) -> np.ndarray:
    """A network's input for `pixels`: float32 (C, height, width), (`resize`(pixels) / 255 - mean) / std.

    C is 3, or 1 where `mean` and `std` have one value: then of the pixels in grey, as Pillow makes them.
    """
    seen = seen_pixels(pixels, size, len(mean), resize_shorter_to)
    return normalise(seen.transpose(2, 0, 1) / 255, mean, std)


def seen_pixels(
    pixels: np.ndarray, size: tuple[int, int], channels: int, resize_shorter_to: int | None = None
) -> np.ndarray:
    """The picture that a network of so many input channels sees: uint8 (height, width, C), `resize`(pixels), in grey
    where C is 1."""
    resized = resize(pixels, size, resize_shorter_to)
    return np.asarray(Image.fromarray(resized).convert("L"))[..., None] if channels == 1 else resized


def normalise(shares: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(shares - mean) / std, float32 (..., C, H, W), for pixels on the scale 0..1, float64 of that shape."""
    centre, spread = _channels(mean, std)
    return np.ascontiguousarray((shares - centre) / spread, dtype=np.float32)


def to_pixels(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """uint8 (H, W, 3) for a normalised image (C, H, W): the pixels that `to_input` took; other values are clipped. Of
    one channel they are grey."""
    centre, spread = _channels(mean, std)
    if image.ndim != 3 or len(image) != len(centre) or not np.isfinite(image).all():
        raise ValueError(f"`image` must be finite and of shape ({len(centre)}, H, W), received {image.shape}.")
    levels = np.rint((image * spread + centre) * 255).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels.transpose(1, 2, 0), (*image.shape[1:], 3)))


def _channels(mean: Sequence[float], std: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """`mean` and `std` as float64 (3, 1, 1) or (1, 1, 1)."""
    centre, spread = np.array(mean, np.float64), np.array(std, np.float64)
    fits = centre.shape in ((1,), (3,)) and spread.shape == centre.shape
    if not fits or not np.isfinite(centre).all() or not (spread > 0).all():
        raise ValueError(f"`mean` and `std` must be 3 or 1 numbers each, `std` above 0, received {mean} and {std}.")
    return centre.reshape(-1, 1, 1), spread.reshape(-1, 1, 1)
