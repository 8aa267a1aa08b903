"""How values that an 8-bit RGB picture has no place for become one: alike for all pictures of a set."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, get_args

import numpy as np

MAX_PIXELS = 50_000_000
"""Largest picture that is decoded, which holds 4 to 16 bytes a pixel (measured with Pillow 13; the most for WEBP)."""

Paper = Literal["white", "grey", "black"]
PAPERS: tuple[Paper, ...] = get_args(Paper)
PAPER_LEVELS = {"white": 255, "grey": 128, "black": 0}
Values = tuple[int, int] | tuple[float, float]
"""The smallest and largest finite value of a channel of more than 8 bits, as whole numbers where it stores such."""


@dataclass(frozen=True)
class Rendering:
    """`paper` lies under transparent parts. `scale` are the values of a single channel of more than 8 bits that become
    black and white; None leaves that to each picture."""

    paper: Paper = "white"
    scale: Values | None = None

    def __post_init__(self) -> None:
        if self.paper not in PAPERS:
            raise ValueError(
                f"the colour under transparent parts must be white, grey or black, not {self.paper!r:.40}."
            )
        if self.scale is not None:
            low, high = self.scale
            if not (
                isinstance(low, int | float) and isinstance(high, int | float) and -math.inf < low < high < math.inf
            ):
                raise ValueError("the values that become black and white must be two numbers, the smaller one first.")

    def on(self, paper: Paper | None) -> "Rendering":
        """The same on that paper, where one is given."""
        return self if paper is None else replace(self, paper=paper)

    def __str__(self) -> str:
        deep = "" if self.scale is None else f", values from {self.scale[0]:g} to {self.scale[1]:g}"
        return f"transparent parts on {self.paper}{deep}"

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """What `to_dict` gave. Raises ValueError, TypeError or KeyError for anything else."""
        return cls(stored["paper"], None if stored["scale"] is None else tuple(stored["scale"]))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


PLAIN = Rendering()


def widened(before: Values | None, found: Values) -> Values:
    """The range of both."""
    return found if before is None else (min(before[0], found[0]), max(before[1], found[1]))


def common_scale(values: Values) -> Values:
    """The `scale` of a `Rendering` for pictures whose values all lie in that range.

    Whole numbers from 0 on get the range of their bit depth, such as 0..4095 where the largest has 12 bits, so that the
    scale says nothing of the brightest picture. Other values get their own range.
    """
    low, high = values
    if isinstance(low, int) and isinstance(high, int):
        low, high = min(low, 0), max(255, 2 ** high.bit_length() - 1 if high > 0 else 0)
    return (low, high) if low < high else (low, low + 1)


def stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8 levels of `values`, `low` to 0 and `high` to 255, in float64 because high - low may overflow float32."""
    if low == high:
        values = np.where(np.isfinite(values), 127.5, values)
        low, high = 0, 255
    scaled = np.rint((values.astype(np.float64) - low) * (255 / (high - low)))
    return np.nan_to_num(scaled, nan=0).clip(0, 255).astype(np.uint8)


def strips(image: Any) -> Iterator[tuple[slice, Any]]:
    """Rows and their part of the picture or array, about a million pixels each: conversions then need little memory."""
    height, width = image.shape if isinstance(image, np.ndarray) else (image.height, image.width)
    step = max(1, 2**20 // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        whole = step >= height
        yield (
            rows,
            image[rows]
            if isinstance(image, np.ndarray)
            else (image if whole else image.crop((0, top, width, rows.stop))),
        )


def range_of(image: Any, kind: str, rendering: Rendering) -> tuple[Values, float, float, list[str]]:
    """The smallest and largest value of one deep channel, the values that become 0 and 255, and a sentence for each
    change of values: see `images.decode`."""
    low, high, lost = np.inf, -np.inf, 0
    whole, is_16_bit = True, False
    for _, strip in strips(image):
        values = np.asarray(strip)
        whole, is_16_bit = values.dtype.kind in "iu", values.dtype.itemsize == 2 and values.dtype.kind == "u"
        finite = values[np.isfinite(values)]
        lost += values.size - finite.size
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        raise ValueError("no finite value")
    found: Values = (int(low), int(high)) if whole else (low, high)
    notes = []
    if rendering.scale is not None:
        start, end = rendering.scale
        notes.append(
            f"Its values, {low:g} to {high:g}, are shown from {start:g} (black) to {end:g} (white), as in the data set."
        )
        low, high = rendering.scale
    elif is_16_bit and kind != "DICOM" and (low == high or kind == "HEIC" or (kind == "PNG" and high >= 4096)):
        low, high = 0, 65535
        notes.append("Its 16-bit values are divided by 257, which keeps the brightness.")
    elif low == high:
        notes.append(f"All its values are {low:g}, shown as mid-grey.")
    else:
        notes.append(f"Its values, {low:g} to {high:g}, are stretched from black to white, so brightness is relative.")
    if lost:
        notes.append(f"{lost:,} of its values are no finite numbers: NaN and -Inf are shown black, Inf white.")
    return found, low, high, notes
