"""Pixels to the input of a network, and back."""

import re
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from PIL import Image

_SHARE = r"(?:0?\.[0-9]{1,4}|0|1|1\.0{1,4})"


class Frame(NamedTuple):
    """A square part of a picture: `left` as a share of the picture's width, `top` of its height, and `side` of its
    shorter side, all 0..1. A frame that leaves the picture is moved into it."""

    left: float
    top: float
    side: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """That of "LEFT,TOP,SIDE". Raises ValueError with one sentence."""
        if not re.fullmatch(f"{_SHARE},{_SHARE},{_SHARE}", text) or not 0.02 <= float(text.rpartition(",")[2]) <= 1:
            raise ValueError(
                f"a frame must be LEFT,TOP,SIDE, received {text[:80]!r}: shares 0 to 1 of the picture's width, height "
                "and shorter side with at most 4 decimals, such as 0.25,0.1,0.5, and SIDE at least 0.02."
            )
        return cls(*map(float, text.split(",")))

    def box(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Left, top and side in whole pixels of a picture of `shape` = (H, W, ...)."""
        rows, columns = shape[:2]
        side = max(1, round(self.side * min(rows, columns)))
        return min(round(self.left * columns), columns - side), min(round(self.top * rows), rows - side), side

    def __str__(self) -> str:
        return (
            f"the frame of {self.side:.0%} of the shorter side, {self.left:.0%} from the left and {self.top:.0%} from "
            "the top"
        )


def resize(
    pixels: np.ndarray, size: tuple[int, int], resize_shorter_to: int | None = None, frame: Frame | None = None
) -> np.ndarray:
    """The centre of `pixels`, uint8 (H, W, 3), as uint8 (height, width, 3) for `size` = (height, width).

    The largest centred part with the aspect ratio of `size` is reduced with Pillow's antialiased Lanczos filter or
    enlarged with its bicubic one. Pixels that need no scaling are cut out, not filtered, so a picture that has `size`
    comes back unchanged.

    With `resize_shorter_to` the result is that of torchvision's transforms for its published weights, to the last bit:
    Pillow's antialiased bilinear filter brings the shorter side to that many pixels, and `size` is cut out of the
    centre. So the network sees less of the picture, and that larger.

    With `frame` the result is that of the frame's pixels alone, none of which are cut off for a square `size`. A frame
    where `visible_part` lies changes nothing.
    """
    height, width = size
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"`pixels` must be uint8 of shape (H, W, 3), received {pixels.dtype} {pixels.shape}.")
    if height < 1 or width < 1:
        raise ValueError(f"`size` must be a height and a width of at least 1, received {size}.")
    if frame is not None and not _is_default(frame, pixels.shape, size, resize_shorter_to):
        left, top, side = frame.box(pixels.shape)
        pixels = pixels[top : top + side, left : left + side]
        resize_shorter_to = resize_shorter_to and max(size)
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
    shape: Sequence[int], size: tuple[int, int], resize_shorter_to: int | None = None, frame: Frame | None = None
) -> tuple[float, float, float, float]:
    """The part of a picture of `shape` = (H, W) that `resize` takes for `size`, centred in the picture or the frame:
    left, top, width and height, as shares 0..1 of the picture."""
    rows, columns = shape
    height, width = size
    if frame is not None and not _is_default(frame, shape, size, resize_shorter_to):
        left, top, side = frame.box(shape)
        wide, tall = side * width / max(size), side * height / max(size)
        return (left + (side - wide) / 2) / columns, (top + (side - tall) / 2) / rows, wide / columns, tall / rows
    scale = min(shape) / resize_shorter_to if resize_shorter_to else min(rows / height, columns / width)
    wide, tall = scale * width / columns, scale * height / rows
    return (1 - wide) / 2, (1 - tall) / 2, wide, tall


def _is_default(frame: Frame, shape: Sequence[int], size: tuple[int, int], resize_shorter_to: int | None) -> bool:
    """Whether the frame, to the pixel, is the part that a network gets without one."""
    rows, columns = shape[:2]
    left, top, wide, tall = visible_part((rows, columns), size, resize_shorter_to)
    part = np.array([left * columns, top * rows, wide * columns, tall * rows])
    left_px, top_px, side = frame.box(shape)
    rounding = 0.5 + 1e-4 * max(rows, columns)  # to a pixel, and to the decimals of a share
    return bool(np.abs(part - [left_px, top_px, side, side]).max() <= rounding)


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
    frame: Frame | None = None,
) -> np.ndarray:
    """A network's input for `pixels`: float32 (C, height, width), (`resize`(pixels) / 255 - mean) / std.

    C is 3, or 1 where `mean` and `std` have one value: then of the pixels in grey, as Pillow makes them.
    """
    seen = seen_pixels(pixels, size, len(mean), resize_shorter_to, frame)
    return normalise(seen.transpose(2, 0, 1) / 255, mean, std)


def seen_pixels(
    pixels: np.ndarray,
    size: tuple[int, int],
    channels: int,
    resize_shorter_to: int | None = None,
    frame: Frame | None = None,
) -> np.ndarray:
    """The picture that a network of so many input channels sees: uint8 (height, width, C), `resize`(pixels), in grey
    where C is 1."""
    resized = resize(pixels, size, resize_shorter_to, frame)
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
