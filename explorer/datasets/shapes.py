"""The dataset that is always there: ten classes of shapes, drawn by this file, nothing to download.

Every picture shows one object of random colour, size, place and rotation on a textured background, with lines and dots
behind and in front of it, and noise. Which pixels show the object is known exactly (`Split.masks`), so an explanation
such as Grad-CAM can be scored against the truth: a pixel is in the mask where at least half of its area shows the
object; lines and dots in front of the object are not part of it.

The drawing is frozen: `VERSION` is part of the dataset's name, `tests/test_shapes.py` pins a hash, and trained networks
depend on both. Whoever changes one pixel raises `VERSION`. To give equal bytes on every machine, pixels see only
operations that IEEE 754 rounds correctly (+ - * / sqrt, minimum, maximum, floor), no sums over an axis, and the sine
and cosine of a random angle are rounded to multiples of 2**-16 before use.

Lengths are in half pictures: a picture spans -1..1 in both directions, x to the right and y down.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np

from explorer.datasets import Dataset, Split, channel_statistics

VERSION = 1
SIZES = (32, 64)
TRAIN_COUNT, VALIDATION_COUNT, TEST_COUNT = 20_000, 2_000, 4_000
_CHUNK = 200  # pictures that share one generator (part of the frozen drawing); one float plane of 32x32 is 800 kB
_STREAMS = ("train", "validation", "test", "draw", "sample")  # one family of random streams each, from the same seed


@dataclass(frozen=True)
class Style:
    """How hard the pictures are: each amount is 0..1, 1 is the dataset's own, 0 leaves the thing out.

    `texture` scales the contrast of the background's pattern and of the object's shading, `clutter` the opacity of
    lines and dots, `noise` the standard deviation of the noise. `ValueError` outside 0..1.
    """

    texture: float = 1.0
    clutter: float = 1.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 1:
                raise ValueError(
                    f"`{field.name}` must be 0..1 (1 is the dataset's own amount), received "
                    f"{getattr(self, field.name)!r}; choose 0 to leave it out."
                )


STANDARD = Style()


# Signed distance to the outline of each class, centred, within a circle of radius 1; negative inside.


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


_OUTLINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
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
CLASS_NAMES = tuple(_OUTLINES)


class _Dice:
    """Random parameters of n pictures, float32, with the axes that broadcast against planes (n, H, W)."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        self.rng = rng
        self.shape = (count, 1, 1)

    def uniform(self, low: float, high: float) -> np.ndarray:
        """(n, 1, 1), low..high."""
        return np.float32(low) + np.float32(high - low) * self.rng.random(self.shape, dtype=np.float32)

    def direction(self) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and sine of a random angle, each (n, 1, 1)."""
        angle = 2 * np.pi * self.rng.random(self.shape)
        cos, sin = np.rint(np.cos(angle) * 65536) / 65536, np.rint(np.sin(angle) * 65536) / 65536
        return cos.astype(np.float32), sin.astype(np.float32)

    def colour(self, saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
        """RGB 0..1, (n, 3, 1, 1), of a random hue, from hue, saturation and value."""
        hue, s, v = self.uniform(0, 6), self.uniform(*saturation), self.uniform(*value)
        channels = []
        for offset in (5, 3, 1):  # https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB_alternative
            k = (hue + offset) % 6
            channels.append(v - v * s * np.clip(np.minimum(k, 4 - k), 0, 1))
        return np.stack(channels, axis=1)


def _line(dice: _Dice, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance (n, H, W) to a straight stroke of random place, direction, length and thickness."""
    cos, sin = dice.direction()
    x, y = x - dice.uniform(-1, 1), y - dice.uniform(-1, 1)
    along, across = x * cos + y * sin, y * cos - x * sin
    return np.maximum(np.abs(along) - dice.uniform(0.25, 0.9), np.abs(across) - dice.uniform(0.03, 0.06))


def _dot(dice: _Dice, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance (n, H, W) to a disc of random place and radius."""
    x, y = x - dice.uniform(-1, 1), y - dice.uniform(-1, 1)
    return np.sqrt(x * x + y * y) - dice.uniform(0.05, 0.11)


def _clutter(dice: _Dice, x: np.ndarray, y: np.ndarray, lines: int, dots: int) -> np.ndarray:
    """Signed distance (n, H, W) to the union of so many lines and dots."""
    distance = _line(dice, x, y)
    for _ in range(lines - 1):
        np.minimum(distance, _line(dice, x, y), out=distance)
    for _ in range(dots):
        np.minimum(distance, _dot(dice, x, y), out=distance)
    return distance


def _stripes(dice: _Dice, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Parallel stripes -1..1, (n, H, W): a triangle wave of random direction, period and phase."""
    cos, sin = dice.direction()
    frequency = dice.uniform(0.6, 2.5)  # periods in a half picture
    phase = x * (cos * frequency) + (y * (sin * frequency) + dice.uniform(0, 1))
    return np.abs(phase - np.floor(phase) - 0.5) * 4 - 1


def _coverage(distance: np.ndarray) -> np.ndarray:
    """Share 0..1 of each pixel (n, H, W) that lies inside an outline, from the signed distance of its centre."""
    return np.clip(0.5 - distance * (distance.shape[-1] / 2), 0, 1)


def _paint(images: np.ndarray, coverage: np.ndarray, colour: np.ndarray) -> None:
    """Lay `colour`, (n, 3, 1, 1) or (n, 3, H, W), over images (n, 3, H, W), in place, as far as `coverage` says."""
    for channel in range(3):  # plane by plane: temporaries three times as large miss the cache
        change = colour[:, channel] - images[:, channel]
        change *= coverage
        images[:, channel] += change


def _ground_colour(dice: _Dice, colour: np.ndarray) -> np.ndarray:
    """A background colour (n, 3, 1, 1): of three, the one farthest from the object's `colour`, so that it is seen."""
    choices = np.stack([dice.colour((0.1, 0.8), (0.15, 0.95)) for _ in range(3)])
    gaps = (choices - colour) ** 2
    farthest = (gaps[:, :, 0] + gaps[:, :, 1] + gaps[:, :, 2]).argmax(axis=0).ravel()
    return choices[farthest, np.arange(len(farthest))]


def _pictures(
    labels: np.ndarray, stream: np.random.SeedSequence, size: int, style: Style
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 3, H, W) and masks bool (n, H, W) of these labels; the same scenes at every size."""
    rng = np.random.default_rng(stream)
    dice = _Dice(rng, len(labels))
    centres = (np.arange(size, dtype=np.float32) * 2 + 1) / size - 1
    x, y = centres[None, None, :], centres[None, :, None]
    texture, clutter, noise = (np.float32(amount) for amount in (style.texture, style.clutter, style.noise))

    # The background: stripes that go over into checks (stripes times stripes), toward a second colour.
    colour = dice.colour((0.45, 1.0), (0.55, 1.0))
    ground, second_ground = _ground_colour(dice, colour), dice.colour((0.1, 0.9), (0.1, 1.0))
    pattern = _stripes(dice, x, y)
    checks = dice.uniform(0, 1)
    pattern *= 1 - checks + checks * _stripes(dice, x, y)
    pattern *= texture * dice.uniform(0.1, 0.35)
    images = np.empty((len(labels), 3, size, size), np.float32)
    images[:] = ground
    _paint(images, pattern, second_ground)

    behind = _coverage(_clutter(dice, x, y, lines=2, dots=3))
    _paint(images, behind * (clutter * dice.uniform(0.5, 1)), dice.colour((0.3, 1.0), (0.3, 1.0)))

    # The object: the picture's coordinates moved, scaled and turned into those of the outline; shaded along one axis.
    radius = dice.uniform(0.4, 0.78)
    centre_x, centre_y = dice.uniform(-1, 1) * (1 - radius), dice.uniform(-1, 1) * (1 - radius)
    cos, sin = dice.direction()
    right, down = (x - centre_x) / radius, (y - centre_y) / radius
    object_x, object_y = right * cos + down * sin, down * cos - right * sin
    distance = np.empty_like(object_x)
    for label, outline in enumerate(_OUTLINES.values()):
        rows = np.flatnonzero(labels == label)
        if len(rows):
            distance[rows] = outline(object_x[rows], object_y[rows])
    shown = _coverage(distance * radius)
    shade = 1 + texture * dice.uniform(-0.25, 0.25) * object_x
    _paint(images, shown, colour * shade[:, None])

    hidden = _coverage(_clutter(dice, x, y, lines=2, dots=2)) * clutter
    _paint(images, hidden, dice.colour((0.3, 1.0), (0.3, 1.0)))
    shown *= 1 - hidden

    # Noise: the difference of two random bytes (a triangular distribution, standard deviation 104), scaled.
    strength = noise * dice.uniform(0.03, 0.15)
    pixels = np.empty(images.shape, np.uint8)
    for channel in range(3):
        grain = rng.integers(0, 256, (2, len(labels), size, size), dtype=np.uint8)
        plane = grain[0].astype(np.float32)
        plane -= grain[1]
        plane *= strength
        plane += images[:, channel] * 255
        pixels[:, channel] = np.clip(plane + 0.5, 0, 255, out=plane)
    return pixels, shown >= 0.5


def _stream(name: str, seed: int) -> np.random.SeedSequence:
    if seed < 0:
        raise ValueError(f"`seed` must be 0 or more, received {seed}; choose any whole number from 0 up.")
    return np.random.SeedSequence(seed, spawn_key=(_STREAMS.index(name),))


def _split(count: int, stream: np.random.SeedSequence, size: int, style: Style, threads: int) -> Split:
    order, *streams = stream.spawn(1 + -(-count // _CHUNK))
    labels = np.random.default_rng(order).permutation(np.arange(count) % len(CLASS_NAMES))
    images = np.empty((count, 3, size, size), np.uint8)
    masks = np.empty((count, size, size), np.bool_)

    def fill(index: int) -> None:
        part = slice(index * _CHUNK, (index + 1) * _CHUNK)
        images[part], masks[part] = _pictures(labels[part], streams[index], size, style)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, range(len(streams))))  # a list, so that an error in a thread is raised here
    return Split(images, labels, masks)


def _check_size(size: int) -> None:
    if size not in SIZES:
        raise ValueError(f"`size` must be one of {SIZES} pixels, received {size!r}; choose 32, or 64 for finer maps.")


def draw(count: int, seed: int, size: int = 32, *, style: Style = STANDARD, threads: int = 2) -> Split:
    """`count` pictures with labels and masks, of all classes equally often (to within one), in random order.

    Images uint8 (count, 3, size, size), labels int64 (count,), masks bool (count, size, size). The same arguments give
    the same bytes, on any number of `threads`. Another `size` shows the same scenes with other noise, another `style`
    the same scenes with more or less in them. `ValueError` if `count` < 1, `seed` < 0 or `size` is not in `SIZES`.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1, received {count}; ask for one picture or more.")
    _check_size(size)
    return _split(count, _stream("draw", seed), size, style, threads)


def sample(label: int, seed: int, size: int = 32, *, style: Style = STANDARD) -> tuple[np.ndarray, np.ndarray]:
    """One picture of class `label`: pixels uint8 (size, size, 3) and mask bool (size, size), in milliseconds.

    With one seed, pictures of different labels differ in the object alone: same scene, place, colours and noise.
    `ValueError` if `label` is not an index into `CLASS_NAMES`, `seed` < 0 or `size` is not in `SIZES`.
    """
    if label not in range(len(CLASS_NAMES)):
        raise ValueError(
            f"`label` must be 0..{len(CLASS_NAMES) - 1}, an index into {CLASS_NAMES}, received {label!r}; "
            "find the index of a name with `CLASS_NAMES.index(name)`."
        )
    _check_size(size)
    images, masks = _pictures(np.array([label]), _stream("sample", seed), size, style)
    return np.ascontiguousarray(images[0].transpose(1, 2, 0)), masks[0]


def test_split(seed: int = 0, size: int = 32, *, threads: int = 2) -> Split:
    """The 4,000 test pictures of `load` alone, in a sixth of its time. `ValueError` as there."""
    _check_size(size)
    return _split(TEST_COUNT, _stream("test", seed), size, STANDARD, threads)


def load(seed: int = 0, size: int = 32, *, threads: int = 2) -> Dataset:
    """The dataset: 20,000 training, 2,000 validation and 4,000 test pictures, each from its own random streams.

    Named `shapes-v<VERSION>-<size>`, with `-seed<seed>` behind it for any seed but 0; the same seed gives the same
    bytes. `ValueError` if `seed` < 0 or `size` is not in `SIZES`.
    """
    _check_size(size)
    train, validation, test = (
        _split(count, _stream(name, seed), size, STANDARD, threads)
        for name, count in (("train", TRAIN_COUNT), ("validation", VALIDATION_COUNT), ("test", TEST_COUNT))
    )
    mean, std = channel_statistics(train.images)
    return Dataset(
        name=f"shapes-v{VERSION}-{size}" + (f"-seed{seed}" if seed else ""),
        class_names=CLASS_NAMES,
        mean=mean,
        std=std,
        train=train,
        validation=validation,
        test=test,
        notes=("The pictures are drawn by this program, so accuracies say nothing about photographs.",),
    )
