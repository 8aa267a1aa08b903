"""The dataset that needs no download: ten classes of shapes, or some of them, drawn by this program.

Every picture shows one object of random colour, size, place and rotation on a textured background, with lines and dots
behind and in front of it, and noise. `Split.masks` has the pixels of which at least half of the area shows the object,
without the lines and dots in front of it. So explanations such as Grad-CAM can be scored.

The drawing is frozen: `VERSION` is part of the dataset's name, `tests/test_shapes.py` pins a hash, and trained networks
depend on both. A change of one pixel needs a new `VERSION`. For equal bytes on every machine, pixels depend only on
operations that IEEE 754 rounds correctly (+ - * / sqrt, minimum, maximum, floor) and on no sums over an axis. The sine
and cosine of a random angle are rounded to multiples of 2**-16 before use.

One file: what is frozen together, and shares its random streams, stands together.

Lengths are in half pictures: a picture spans -1..1 in both directions, x to the right and y down.
"""

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np

from explorer.datasets import Dataset, Split, channel_statistics
from explorer.datasets.outlines import CLASS_NAMES as CLASS_NAMES
from explorer.datasets.outlines import OUTLINES

VERSION = 1
NOTES: tuple[str, ...] = ("The images are drawn by this program, so accuracies do not carry over to photographs.",)
SIZES = (16, 32, 64)
TRAIN_COUNT, VALIDATION_COUNT, TEST_COUNT = 20_000, 2_000, 4_000  # of all ten classes together
FEWEST_CLASSES = 2
_CHUNK = 200  # pictures that share one generator (part of the frozen drawing); one float plane of 32x32 is 800 kB
_STREAMS = ("train", "validation", "test", "draw", "sample")  # one family of random streams each, from the same seed


@dataclass(frozen=True)
class Style:
    """The difficulty of the pictures: each amount is 0..1, 1 is the dataset's own, 0 leaves it out.

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


@dataclass(frozen=True)
class Drawn:
    """A choice of the drawn pictures: their `size` in pixels, their `classes`, and the `seed` of the drawing.

    `classes` are sorted as `CLASS_NAMES`, each once. `name` is the name of the dataset, `key` the short one in links,
    where the seed is 0. Raises ValueError with one sentence for sizes and classes that do not exist.
    """

    size: int = 32
    classes: tuple[str, ...] = CLASS_NAMES
    seed: int = 0

    def __post_init__(self) -> None:
        _check_size(self.size)
        _check_seed(self.seed)
        unknown = [name for name in self.classes if name not in CLASS_NAMES]
        if unknown:
            raise ValueError(f"there is no drawn shape {str(unknown[0])[:40]!r}; choose of {', '.join(CLASS_NAMES)}.")
        classes = tuple(name for name in CLASS_NAMES if name in self.classes)
        if len(classes) < FEWEST_CLASSES:
            raise ValueError(
                f"a network needs at least {FEWEST_CLASSES} shapes to tell apart, received "
                f"{', '.join(classes) or 'none'}; choose another one."
            )
        object.__setattr__(self, "classes", classes)

    @classmethod
    def read(cls, text: str) -> Self:
        """The choice with this name or key, whose classes may be in any order. Raises ValueError."""
        parts = re.fullmatch(r"shapes(?:-v(\d{1,4}))?-(\d{1,4})((?:-[a-z]+)*)(?:-seed(\d{1,40}))?", text, re.ASCII)
        if parts is None:
            raise ValueError(f"{text[:80]!r} names no drawn shapes; a name is `{cls().name}`.")
        version, size, classes, seed = parts.groups()
        if version is not None and int(version) != VERSION:
            raise ValueError(f"{text[:80]!r} is version {version} of the shapes, and this app draws version {VERSION}.")
        return cls(int(size), tuple(classes.split("-")[1:]) if classes else CLASS_NAMES, int(seed or 0))

    @classmethod
    def requested(cls, data: Mapping[str, Any]) -> Self:
        """The choice in the `data` of a run: {"kind": "shapes", "size": 16, "classes": ["ring", "star"]}, the latter
        two if they differ from 32 and all. Raises ValueError."""
        size, classes = data.get("size", 32), data.get("classes", CLASS_NAMES)
        if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
            raise ValueError(f"`classes` must be a list of names, received {str(classes)[:80]!r}.")
        return cls(size, tuple(classes))

    @property
    def name(self) -> str:
        return f"shapes-v{VERSION}{self._suffix}"

    @property
    def key(self) -> str:
        return f"shapes{self._suffix}"

    @property
    def _suffix(self) -> str:
        some = () if self.classes == CLASS_NAMES else self.classes
        return "-".join(["", str(self.size), *some, *([f"seed{self.seed}"] if self.seed else [])])

    @property
    def request(self) -> dict[str, Any]:
        """The inverse of `requested`, of the seed 0."""
        some = {} if self.classes == CLASS_NAMES else {"classes": list(self.classes)}
        return {"kind": "shapes", "size": self.size, **some}

    @property
    def counts(self) -> tuple[int, int, int]:
        """The numbers of training, validation and test pictures; each class has equally many."""
        train, validation, test = (
            count * len(self.classes) // len(CLASS_NAMES) for count in (TRAIN_COUNT, VALIDATION_COUNT, TEST_COUNT)
        )
        return train, validation, test


def named(text: str) -> Drawn | None:
    """The choice whose `name` or `key` is exactly `text`, or None."""
    try:
        drawn = Drawn.read(text)
    except ValueError:
        return None
    return drawn if text in (drawn.name, drawn.key) else None


class _RandomStream:
    """Random parameters of n pictures, float32, with the axes that broadcast against planes (n, H, W).

    They are drawn for `count` pictures, of which `rows` are taken: so a picture does not depend on the other rows.
    """

    def __init__(self, rng: np.random.Generator, count: int, rows: np.ndarray) -> None:
        self.rng = rng
        self.shape = (count, 1, 1)
        self.rows = rows

    def uniform(self, low: float, high: float) -> np.ndarray:
        """(n, 1, 1), low..high."""
        return np.float32(low) + np.float32(high - low) * self.rng.random(self.shape, dtype=np.float32)[self.rows]

    def direction(self) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and sine of a random angle, each (n, 1, 1)."""
        angle = 2 * np.pi * self.rng.random(self.shape)[self.rows]
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


def _line(random: _RandomStream, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance (n, H, W) to a straight stroke of random place, direction, length and thickness."""
    cos, sin = random.direction()
    x, y = x - random.uniform(-1, 1), y - random.uniform(-1, 1)
    along, across = x * cos + y * sin, y * cos - x * sin
    return np.maximum(np.abs(along) - random.uniform(0.25, 0.9), np.abs(across) - random.uniform(0.03, 0.06))


def _dot(random: _RandomStream, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance (n, H, W) to a disc of random place and radius."""
    x, y = x - random.uniform(-1, 1), y - random.uniform(-1, 1)
    return np.sqrt(x * x + y * y) - random.uniform(0.05, 0.11)


def _clutter(random: _RandomStream, x: np.ndarray, y: np.ndarray, lines: int, dots: int) -> np.ndarray:
    """Signed distance (n, H, W) to the union of so many lines and dots."""
    distance = _line(random, x, y)
    for _ in range(lines - 1):
        np.minimum(distance, _line(random, x, y), out=distance)
    for _ in range(dots):
        np.minimum(distance, _dot(random, x, y), out=distance)
    return distance


def _stripes(random: _RandomStream, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Parallel stripes -1..1, (n, H, W): a triangle wave of random direction, period and phase."""
    cos, sin = random.direction()
    frequency = random.uniform(0.6, 2.5)  # periods in a half picture
    phase = x * (cos * frequency) + (y * (sin * frequency) + random.uniform(0, 1))
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


def _ground_colour(random: _RandomStream, colour: np.ndarray) -> np.ndarray:
    """A background colour (n, 3, 1, 1): of three, the one farthest from the object's `colour`, so that it is seen."""
    choices = np.stack([random.colour((0.1, 0.8), (0.15, 0.95)) for _ in range(3)])
    gaps = (choices - colour) ** 2
    farthest = (gaps[:, :, 0] + gaps[:, :, 1] + gaps[:, :, 2]).argmax(axis=0).ravel()
    return choices[farthest, np.arange(len(farthest))]


def _pictures(
    labels: np.ndarray, rows: np.ndarray, stream: np.random.SeedSequence, size: int, style: Style
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 3, H, W) and masks bool (n, H, W) of the `rows` of these labels; the same scenes at every size,
    and the same pictures with any choice of rows."""
    rng = np.random.default_rng(stream)
    count, labels = len(labels), labels[rows]
    random = _RandomStream(rng, count, rows)
    centres = (np.arange(size, dtype=np.float32) * 2 + 1) / size - 1
    x, y = centres[None, None, :], centres[None, :, None]
    texture, clutter, noise = (np.float32(amount) for amount in (style.texture, style.clutter, style.noise))

    # The background: stripes that go over into checks (stripes times stripes), toward a second colour.
    colour = random.colour((0.45, 1.0), (0.55, 1.0))
    ground, second_ground = _ground_colour(random, colour), random.colour((0.1, 0.9), (0.1, 1.0))
    pattern = _stripes(random, x, y)
    checks = random.uniform(0, 1)
    pattern *= 1 - checks + checks * _stripes(random, x, y)
    pattern *= texture * random.uniform(0.1, 0.35)
    images = np.empty((len(labels), 3, size, size), np.float32)
    images[:] = ground
    _paint(images, pattern, second_ground)

    behind = _coverage(_clutter(random, x, y, lines=2, dots=3))
    _paint(images, behind * (clutter * random.uniform(0.5, 1)), random.colour((0.3, 1.0), (0.3, 1.0)))

    # The object: the picture's coordinates moved, scaled and turned into those of the outline; shaded along one axis.
    radius = random.uniform(0.4, 0.78)
    centre_x, centre_y = random.uniform(-1, 1) * (1 - radius), random.uniform(-1, 1) * (1 - radius)
    cos, sin = random.direction()
    right, down = (x - centre_x) / radius, (y - centre_y) / radius
    object_x, object_y = right * cos + down * sin, down * cos - right * sin
    distance = np.empty_like(object_x)
    for label, outline in enumerate(OUTLINES.values()):
        members = np.flatnonzero(labels == label)
        if len(members):
            distance[members] = outline(object_x[members], object_y[members])
    shown = _coverage(distance * radius)
    shade = 1 + texture * random.uniform(-0.25, 0.25) * object_x
    _paint(images, shown, colour * shade[:, None])

    hidden = _coverage(_clutter(random, x, y, lines=2, dots=2)) * clutter
    _paint(images, hidden, random.colour((0.3, 1.0), (0.3, 1.0)))
    shown *= 1 - hidden

    # Noise: the difference of two random bytes (a triangular distribution, standard deviation 104), scaled.
    strength = noise * random.uniform(0.03, 0.15)
    pixels = np.empty(images.shape, np.uint8)
    for channel in range(3):
        grain = rng.integers(0, 256, (2, count, size, size), dtype=np.uint8)[:, rows]
        plane = grain[0].astype(np.float32)
        plane -= grain[1]
        plane *= strength
        plane += images[:, channel] * 255
        pixels[:, channel] = np.clip(plane + 0.5, 0, 255, out=plane)
    return pixels, shown >= 0.5


def _stream(name: str, seed: int) -> np.random.SeedSequence:
    _check_seed(seed)
    return np.random.SeedSequence(seed, spawn_key=(_STREAMS.index(name),))


def _split(
    count: int,
    stream: np.random.SeedSequence,
    size: int,
    style: Style,
    threads: int,
    classes: tuple[str, ...] = CLASS_NAMES,
    among: tuple[str, ...] = CLASS_NAMES,
    most: int | None = None,
) -> Split:
    """Of `count` pictures of the classes `among` those of `classes`, in their order; labels are indices into these.
    With `most`, the first ones of each class: so many in all, each class equally often (to within one)."""
    labels, rows, streams = _order(count, stream, classes, among)
    if most is not None:
        of_each = [rows[labels[rows] == CLASS_NAMES.index(name)] for name in classes]
        ends = [(index + 1) * most // len(classes) - index * most // len(classes) for index in range(len(classes))]
        rows = np.sort(np.concatenate([own[:end] for own, end in zip(of_each, ends, strict=True)]))
    starts = np.searchsorted(rows, np.arange(len(streams) + 1) * _CHUNK)  # of each chunk, among the rows
    images = np.empty((len(rows), 3, size, size), np.uint8)
    masks = np.empty((len(rows), size, size), np.bool_)

    def fill(index: int) -> None:
        first, part = index * _CHUNK, slice(starts[index], starts[index + 1])
        chunk = labels[first : first + _CHUNK]
        images[part], masks[part] = _pictures(chunk, rows[part] - first, streams[index], size, style)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, range(len(streams))))  # a list, so that an error in a thread is raised here
    renumbered = np.array([classes.index(name) if name in classes else -1 for name in CLASS_NAMES])
    return Split(images, renumbered[labels[rows]], masks)


def _order(
    count: int, stream: np.random.SeedSequence, classes: tuple[str, ...], among: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, list[np.random.SeedSequence]]:
    """Of `count` pictures of the classes `among`: their labels, indices into `CLASS_NAMES`; the places of those of
    `classes`; and the stream of each chunk."""
    order, *streams = stream.spawn(1 + -(-count // _CHUNK))
    chosen = np.random.default_rng(order).permutation(np.arange(count) % len(among))
    labels = np.array([CLASS_NAMES.index(name) for name in among])[chosen]
    return labels, np.flatnonzero(np.isin(labels, [CLASS_NAMES.index(name) for name in classes])), streams


def _check_size(size: int) -> None:
    if not isinstance(size, int) or size not in SIZES:
        raise ValueError(
            f"`size` must be one of {SIZES} pixels, received {size!r}; choose 32, 16 for a faster training, or 64 for "
            "finer maps."
        )


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise ValueError(f"`seed` must be 0 or more, received {seed}; choose any whole number from 0 up.")


def draw(
    count: int,
    seed: int,
    size: int = 32,
    *,
    classes: Iterable[str] | None = None,
    style: Style = STANDARD,
    threads: int = 2,
) -> Split:
    """`count` pictures with labels and masks, of all ten classes, or those given, equally often (to within one), in
    random order. Labels are indices into the classes, which stand in the order of `CLASS_NAMES`.

    Images uint8 (count, 3, size, size), labels int64 (count,), masks bool (count, size, size). The same arguments give
    the same bytes, on any number of `threads`. Another `size` shows the same scenes with other noise, another `style`
    the same scenes with more or less in them. `ValueError` if `count` < 1, `seed` < 0, `size` is not in `SIZES` or
    `classes` are fewer than 2 or not in `CLASS_NAMES`.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1, received {count}; ask for one image or more.")
    chosen = Drawn(size, CLASS_NAMES if classes is None else tuple(classes), seed).classes
    return _split(count, _stream("draw", seed), size, style, threads, chosen, chosen)


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
    images, masks = _pictures(np.array([label]), np.array([0]), _stream("sample", seed), size, style)
    return np.ascontiguousarray(images[0].transpose(1, 2, 0)), masks[0]


def test_split(seed: int = 0, size: int = 32, *, classes: Iterable[str] | None = None, threads: int = 2) -> Split:
    """The test pictures of `load` alone, 400 of each class, in a sixth of its time. `ValueError` as there."""
    drawn = Drawn(size, CLASS_NAMES if classes is None else tuple(classes), seed)
    return _split(TEST_COUNT, _stream("test", seed), size, STANDARD, threads, drawn.classes)


def validation_split(seed: int = 0, size: int = 32, *, classes: Iterable[str] | None = None, threads: int = 2) -> Split:
    """The validation pictures of `load` alone, 200 of each class. `ValueError` as there."""
    drawn = Drawn(size, CLASS_NAMES if classes is None else tuple(classes), seed)
    return _split(VALIDATION_COUNT, _stream("validation", seed), size, STANDARD, threads, drawn.classes)


def some(split: Literal["train", "test"], count: int, drawn: Drawn = Drawn(), *, threads: int = 2) -> Split:
    """The first `count` pictures of a split of `load`, each class equally often (to within one), without drawing the
    rest; all of a split that has fewer. `ValueError` if `count` < 1."""
    if count < 1:
        raise ValueError(f"`count` must be at least 1, received {count}; ask for one image or more.")
    total = {"train": TRAIN_COUNT, "test": TEST_COUNT}[split]
    return _split(total, _stream(split, drawn.seed), drawn.size, STANDARD, threads, drawn.classes, most=count)


def test_picture(number: int, drawn: Drawn = Drawn()) -> tuple[np.ndarray, np.ndarray, int]:
    """One picture of `test_split`, drawn alone in milliseconds: pixels uint8 (size, size, 3), mask bool (size, size),
    and its label, an index into the classes of `drawn`. `ValueError` if the split has no picture of that number."""
    if number not in range(drawn.counts[2]):
        raise ValueError(
            f"`number` must be 0..{drawn.counts[2] - 1}, a test image of {drawn.name}, received {number!r}; choose "
            "another one."
        )
    labels, rows, streams = _order(TEST_COUNT, _stream("test", drawn.seed), drawn.classes, CLASS_NAMES)
    chunk, row = divmod(int(rows[number]), _CHUNK)
    first = chunk * _CHUNK
    own = labels[first : first + _CHUNK]
    images, masks = _pictures(own, np.array([row]), streams[chunk], drawn.size, STANDARD)
    label = drawn.classes.index(CLASS_NAMES[own[row]])
    return np.ascontiguousarray(images[0].transpose(1, 2, 0)), masks[0], label


def load(seed: int = 0, size: int = 32, *, classes: Iterable[str] | None = None, threads: int = 2) -> Dataset:
    """The dataset: 2,000 training, 200 validation and 400 test pictures of each class, from a random stream each split.

    `classes` are all ten, or those given: exactly the pictures of all ten that show one of them, in the same order.
    Labels, mean and standard deviation are those of the given classes, which stand in the order of `CLASS_NAMES`.
    Named `shapes-v<VERSION>-<size>`, then the classes if they are not all, then `-seed<seed>` for any seed but 0; the
    same arguments give the same bytes, on any number of `threads`. `ValueError` if `seed` < 0, `size` is not in `SIZES`
    or `classes` are fewer than 2 or not in `CLASS_NAMES`.
    """
    drawn = Drawn(size, CLASS_NAMES if classes is None else tuple(classes), seed)
    train, validation, test = (
        _split(count, _stream(name, seed), size, STANDARD, threads, drawn.classes)
        for name, count in (("train", TRAIN_COUNT), ("validation", VALIDATION_COUNT), ("test", TEST_COUNT))
    )
    mean, std = channel_statistics(train.images)
    return Dataset(
        name=drawn.name,
        class_names=drawn.classes,
        mean=mean,
        std=std,
        train=train,
        validation=validation,
        test=test,
        notes=NOTES,
    )
