"""Colour scales, overlays and sheets of tiles as pixels, and values in steps of a scale for a browser to paint."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from plotly.colors import sample_colorscale

SEQUENTIAL = "Inferno"  # sizes: activations, cams, magnitudes; black is zero
DIVERGING = "RdBu_r"  # signed values: blue below, white at, red above zero
GAP = 1  # pixels between tiles


def _table(name: str) -> np.ndarray:
    colours = sample_colorscale(name, np.linspace(0, 1, 256), colortype="tuple")
    return (np.array(colours) * 255).round().astype(np.uint8)


_TABLES = {name: _table(name) for name in (SEQUENTIAL, DIVERGING)}


@dataclass(frozen=True)
class ColourScale:
    """The colours of raw values, linear from `low` to `high`, the same for every map that shares the scale."""

    low: float
    high: float
    palette: str = SEQUENTIAL

    @classmethod
    def sizes(cls, top: float) -> "ColourScale":
        """For values >= 0, up to `top`."""
        return cls(0.0, top, SEQUENTIAL)

    @classmethod
    def signed(cls, top: float) -> "ColourScale":
        """For values of both signs, zero in the middle, up to +-`top`."""
        return cls(-top, top, DIVERGING)

    def paint(self, values: np.ndarray) -> np.ndarray:
        """uint8 (..., 3) for values (...); values outside take the colour of the end."""
        span = self.high - self.low
        share = (values - self.low) / span if span > 0 else np.zeros_like(values, dtype=np.float32)
        return _TABLES[self.palette][(np.clip(share, 0, 1) * 255).round().astype(np.uint8)]


def palette(name: str) -> np.ndarray:
    """The colours of that palette from its low end to its high one, uint8 (256, 3)."""
    return _TABLES[name]


def quantise_sizes(values: np.ndarray, top: float) -> np.ndarray:
    """Values >= 0 as shares of `top` in steps of 1/255, uint8, for a browser that paints them: on a scale that ends at
    `top` or above, the colour differs from `ColourScale.sizes` by at most one of the palette's 256."""
    return _steps(values, top, 0.0, 255.0)


def quantise_signed(values: np.ndarray, top: float) -> np.ndarray:
    """The same for values of both signs, in steps of 1/127 about 128, which is zero."""
    return _steps(values, top, 128.0, 127.0)


def _steps(values: np.ndarray, top: float, zero: float, steps: float) -> np.ndarray:
    if not 0 < top < np.inf:
        return np.full(values.shape, zero, dtype=np.uint8)
    scaled = values * np.float32(steps / top) if top > 1e-30 else (values.astype(np.float64) * (steps / top))
    return np.clip(np.rint(scaled) + zero, 0, 255).astype(np.uint8)


def average_pool(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps, float32 (..., H, W), averaged where they are larger than `side` pixels."""
    height, width = maps.shape[-2:]
    if max(height, width) <= side:
        return maps
    step = -(-max(height, width) // side)
    if height % step == 0 and width % step == 0:
        parts = maps.reshape(*maps.shape[:-2], height // step, step, width // step, step)
        return parts.mean(axis=(-3, -1), dtype=np.float32)
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    pictures = [
        np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BOX))
        for each in np.ascontiguousarray(maps, dtype=np.float32).reshape(-1, height, width)
    ]
    return np.stack(pictures).reshape(*maps.shape[:-2], size[1], size[0])


def colour_bar(palette: str, width: int = 160, height: int = 10) -> np.ndarray:
    """The palette from left to right, uint8 (height, width, 3)."""
    ramp = _TABLES[palette][np.linspace(0, 255, width).round().astype(int)]
    return np.broadcast_to(ramp, (height, width, 3))


def upscale_nearest(pixels: np.ndarray, side: int) -> np.ndarray:
    """uint8 (H, W, 3) enlarged by a whole factor, hard edges kept, to at least about `side` pixels; never reduced."""
    factor = max(1, round(side / max(pixels.shape[:2])))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def fit_to_screen(pixels: np.ndarray, side: int) -> np.ndarray:
    """Pixels for the screen: enlarged with hard edges to about `side` pixels, or reduced to twice that."""
    height, width = pixels.shape[:2]
    factor = 2 * side / max(height, width)
    if factor >= 1:
        return upscale_nearest(pixels, side)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX, reducing_gap=2.0))


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Grey or coloured pixels, (H, W, 1) or (H, W, 3), as (H, W, 3)."""
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def cells(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`values` (h, w) at `size` (height, width), each as a rectangle: no values between two of them are made up."""
    rows, columns = (np.arange(side) * count // side for side, count in zip(size, values.shape, strict=True))
    return values[np.ix_(rows, columns)]


def overlay(pixels: np.ndarray, heat: np.ndarray, opacity: float) -> np.ndarray:
    """A heatmap (H, W) of 0..1 over pixels (H, W, 3), uint8.

    Where the heat is 0 the image stays as it is; at 1 the colour covers it up to `opacity`.
    """
    colours = ColourScale.sizes(1.0).paint(heat)
    alpha = (opacity * np.sqrt(heat))[..., None]
    return (pixels * (1 - alpha) + colours * alpha).round().astype(np.uint8)


def sheet(pictures: np.ndarray, columns: int, side: int) -> np.ndarray:
    """Pictures of one size, uint8 (N, H, W, 3), as one: rows of `columns` without gaps, uint8 (H', W', 3), in reading
    order; places that stay empty are mid-grey.

    Pictures smaller than `side` keep their size, for a browser that enlarges with hard edges. Larger ones are reduced
    to `side` by averaging.
    """
    if max(pictures.shape[1:3]) > side:
        pictures = np.stack([_fit(pixels, side) for pixels in pictures])
    return grid(pictures, pictures.shape[1:], columns)


def tile(pictures: Sequence[np.ndarray], columns: int, side: int) -> np.ndarray:
    """Pictures, uint8 (H, W, 3) each, as one: rows of `columns` tiles of `side` pixels, uint8 (H', W', 3).

    Tiles are enlarged by repeating pixels (or reduced by averaging), in reading order; places that stay empty and the
    gaps between tiles are mid-grey, which is legible on light and dark. No pictures give one empty row.
    """
    return grid([_fit(pixels, side) for pixels in pictures], (side, side, 3), columns, GAP)


def grid(
    pictures: Sequence[np.ndarray] | np.ndarray, shape: tuple[int, ...], columns: int, gap: int = 0, fill: int = 128
) -> np.ndarray:
    """Pictures of that shape (H, W, C) as one, uint8 (H', W', C): rows of `columns` in reading order, with gaps of so
    many pixels. Gaps and places that stay empty are `fill`."""
    height, width, channels = shape
    down, right = height + gap, width + gap
    rows = max(1, -(-len(pictures) // columns))
    canvas = np.full((rows * down - gap, columns * right - gap, channels), fill, dtype=np.uint8)
    for index, pixels in enumerate(pictures):
        top, left = index // columns * down, index % columns * right
        canvas[top : top + height, left : left + width] = pixels
    return canvas


def _fit(pixels: np.ndarray, side: int) -> np.ndarray:
    method = Image.Resampling.NEAREST if max(pixels.shape[:2]) <= side else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).resize((side, side), method))


def png(pixels: np.ndarray) -> bytes:
    """uint8 (H, W, 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def data_uri(pixels: np.ndarray) -> str:
    """uint8 (H, W, 3) as an address that holds the whole PNG."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()
