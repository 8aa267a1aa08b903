"""Changes of the picture that a network sees, by dials: moved, turned, brighter, blurred, noisy, compressed."""

import io
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from explorer.labels import DIALS

_PART = re.compile(r"([a-z]+)(-?[0-9]{1,10}(?:\.[0-9]{1,3})?)", re.ASCII)
_DECIMALS = 3


class DialRange(NamedTuple):
    """From `low` to `high`, both included; `is_whole`: whole numbers only."""

    low: float
    high: float
    is_whole: bool = False


RANGES: Mapping[str, DialRange] = {
    "x": DialRange(-256, 256, is_whole=True),
    "y": DialRange(-256, 256, is_whole=True),
    "rotation": DialRange(-180, 180),
    "scale": DialRange(0.25, 4),
    "brightness": DialRange(0, 3),
    "contrast": DialRange(0, 3),
    "blur": DialRange(0, 16),
    "noise": DialRange(0, 128),
    "seed": DialRange(0, 2**31 - 1, is_whole=True),
    "jpeg": DialRange(1, 100, is_whole=True),
}
"""The allowed values of each dial."""


@dataclass(frozen=True)
class Dials:
    """What is done to a picture at the size of a network's input; the defaults leave it as it is.

    In this order: `scale` enlarges about the centre, `rotation` turns by degrees counter-clockwise, `x` and `y` move by
    pixels of the network's input, to the right and down. `brightness` is a factor of all values, `contrast` one of
    their distance from the mean grey. `blur` is the standard deviation of a Gaussian in pixels, `noise` that of
    Gaussian noise in levels of 255, drawn from `seed`. `jpeg` is the quality of a JPEG copy, None for none.

    Numbers that need not be whole are rounded to three decimals, so that a link has all of them. Raises ValueError for
    a value out of its range in `RANGES`.
    """

    x: int = 0
    y: int = 0
    rotation: float = 0.0
    scale: float = 1.0
    brightness: float = 1.0
    contrast: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    seed: int = 0
    jpeg: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high, is_whole) in RANGES.items():
            value = getattr(self, name)
            if value is None and name == "jpeg":
                continue
            kinds = int if is_whole else int | float
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                number = "a whole number" if is_whole else "a number"
                raise ValueError(f"`{name}` must be {number} from {low} to {high}, received {value!r:.40}.")
            if not is_whole:
                object.__setattr__(self, name, round(float(value), _DECIMALS) + 0.0)  # + 0.0: no -0

    @property
    def moved(self) -> bool:
        """Whether pixels come in from outside of the picture, or may."""
        return (self.x, self.y, self.rotation, self.scale) != (0, 0, 0, 1)

    def without(self, names: Collection[str]) -> Self:
        """The same with the dials of these names at rest."""
        return replace(self, **{name: getattr(REST, name) for name in names})

    def in_words(self) -> str:
        """What is not at rest, as `Shift right 3, Rotation -12.5`; "" where all is."""
        values = ((label, getattr(self, name), getattr(REST, name)) for name, label in DIALS.items())
        return ", ".join(f"{label.short} {value:g}" for label, value, rest in values if value != rest)

    def to_text(self) -> str:
        """For a link, the dials that are not at rest: `x3_rotation-12.5`; "" where all are. It needs no escapes."""
        changed = {field.name: getattr(self, field.name) for field in fields(self)}
        return "_".join(
            f"{field.name}{changed[field.name]:.10g}" for field in fields(self) if changed[field.name] != field.default
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The dials that `to_text` wrote. Raises ValueError with one sentence for any other text."""
        found: dict[str, int | float] = {}
        for part in text.split("_") if text else []:
            match = _PART.fullmatch(part)
            if match is None or match[1] not in RANGES or match[1] in found:
                raise ValueError(
                    f"the dials of a picture are written like x3_rotation-12.5, each of {', '.join(RANGES)} at most "
                    f"once, received {text!r:.60}."
                )
            found[match[1]] = int(match[2]) if RANGES[match[1]].is_whole and "." not in match[2] else float(match[2])
        return cls(**found)  # type: ignore[arg-type]  # which checks them


REST = Dials()
"""The picture as it is."""


def change(pixels: np.ndarray, dials: Dials) -> np.ndarray:
    """`pixels`, uint8 (H, W, 3), or (H, W, 1) in grey, as `dials` have it: uint8 of the same shape.

    New pixels at the edges get the picture's own mean colour, so that networks of any normalisation see the same.
    Moves by whole pixels, and turns by right angles of a square, copy pixels. Everything else in between is bicubic,
    after Pillow's antialiased Lanczos filter where `scale` is below 1. The blur is Pillow's: three boxes that repeat
    the edge. JPEG halves the colour's resolution. At rest the very array comes back.
    Raises ValueError for other pixels.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ValueError(f"`pixels` must be uint8 of shape (H, W, 3 or 1), received {pixels.dtype} {pixels.shape}.")
    if dials == REST:
        return pixels
    changed = _moved(pixels, dials) if dials.moved else pixels
    image = _image(changed)
    if dials.brightness != 1:
        image = ImageEnhance.Brightness(image).enhance(dials.brightness)
    if dials.contrast != 1:
        image = ImageEnhance.Contrast(image).enhance(dials.contrast)
    if dials.blur:
        image = image.filter(ImageFilter.GaussianBlur(dials.blur))
    changed = np.asarray(image).reshape(pixels.shape)
    if dials.noise:
        drawn = np.random.default_rng(dials.seed).standard_normal(changed.shape, np.float32)
        changed = np.rint(changed + np.float32(dials.noise) * drawn).clip(0, 255).astype(np.uint8)
    if dials.jpeg is not None:
        copy = io.BytesIO()
        _image(changed).save(copy, "JPEG", quality=dials.jpeg)
        with Image.open(copy, formats=["JPEG"]) as read:
            changed = np.asarray(read).reshape(pixels.shape)
    return changed


def move_mask(mask: np.ndarray, dials: Dials) -> np.ndarray:
    """Where the object of a picture of this `mask`, bool (H, W), is after `change`: only what moves it counts, and
    outside of the picture there is no object."""
    if not dials.moved:
        return mask
    return _moved(mask[..., None].astype(np.uint8) * 255, dials, [0])[..., 0] > 127


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])


def _moved(pixels: np.ndarray, dials: Dials, fill: list[int] | None = None) -> np.ndarray:
    """`fill`: the levels of what comes in, by default the mean colour."""
    height, width, channels = pixels.shape
    mean = fill or [round(float(level)) for level in pixels.reshape(-1, channels).mean(0)]
    if (dials.rotation, dials.scale) == (0, 1):
        moved = np.empty_like(pixels)
        moved[:] = mean
        (rows, from_rows), (columns, from_columns) = _overlap(height, dials.y), _overlap(width, dials.x)
        moved[rows, columns] = pixels[from_rows, from_columns]
        return moved
    image = _image(pixels)
    if dials.scale < 1:
        image = image.resize(
            (math.ceil(width * dials.scale), math.ceil(height * dials.scale)), Image.Resampling.LANCZOS
        )
    # From a place on the result, counted from its centre, to one on `image`, counted from its corner.
    across, down = image.width / width / dials.scale, image.height / height / dials.scale
    angle = math.radians(dials.rotation)
    cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)  # exact for right angles
    matrix = (across * cosine, -across * sine, down * sine, down * cosine)
    x, y = width / 2 + dials.x, height / 2 + dials.y
    turned = image.transform(
        (width, height),
        Image.Transform.AFFINE,
        (
            *matrix[:2], image.width / 2 - matrix[0] * x - matrix[1] * y,
            *matrix[2:], image.height / 2 - matrix[2] * x - matrix[3] * y,
        ),
        Image.Resampling.BICUBIC,
        fillcolor=tuple(mean) if channels == 3 else mean[0],
    )  # fmt: skip
    return np.asarray(turned).reshape(pixels.shape)


def _overlap(size: int, by: int) -> tuple[slice, slice]:
    """Where `size` pixels that moved `by` pixels cover their old places, and which of them do."""
    return slice(max(0, by), max(0, size + min(0, by))), slice(max(0, -by), max(0, size - max(0, by)))
