"""The `Dataset` value: pictures with labels, in three splits. The files of this folder make such values."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from explorer.images import PLAIN, Rendering

LEVEL = 1 / 255
GREY_SHARES = (19595, 38470, 7471)  # of red, green and blue in 65,536 of grey, as Pillow has them (ITU-R BT.601)
GREY = "The images are made grey (luminance): the networks take one channel."
_CHUNK = 64  # pictures whose pixels are counted at once: their indices stay in the cache of the processor


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled pictures of one size.

    `images` is uint8 (N, 3, H, W), RGB; `labels` is int64 (N,), indices into the dataset's class names; `masks`,
    where the drawing knows them, is bool (N, H, W), true on every pixel that belongs to the labelled object.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise ValueError(
                f"`images` must be uint8 of shape (N, 3, H, W), received {self.images.dtype} {self.images.shape}."
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"`labels` must be int64 of shape ({len(self.images)},), one for each image, "
                f"received {self.labels.dtype} {self.labels.shape}."
            )
        expected = (self.images.shape[0], *self.images.shape[2:])
        if self.masks is not None and (self.masks.dtype != np.bool_ or self.masks.shape != expected):
            raise ValueError(
                f"`masks` must be bool of shape {expected}, received {self.masks.dtype} {self.masks.shape}."
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Skipped:
    """A file that was left out: its `path` in one line of at most 80 characters, and the `reason`, for the user.

    `?` stands for characters that are invisible or reorder the text around them. `path` may hold Markdown.
    """

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train, validation and test pictures of the same classes, size, and per-channel statistics.

    `mean` and `std` are of the training pixels, each channel scaled to 0..1, in the order R, G, B; of data for networks
    that take grey images they have one value, that of the grey pixels. `notes` holds one sentence for each thing a
    reader of figures measured on this data must know (a lossy copy, files left out). `skipped` lists the files that
    were left out one by one, as far as there is room. The validation split may be empty.
    `rendering` is that of all pictures; a new one for a network that learned from these needs the same.
    """

    name: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: Split
    validation: Split
    test: Split
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    rendering: Rendering = PLAIN

    def __post_init__(self) -> None:
        for split in (self.train, self.validation, self.test):
            if split.images.shape[1:] != self.train.images.shape[1:]:
                raise ValueError(
                    f"all splits must hold images of one size, received {self.train.images.shape[1:]} and "
                    f"{split.images.shape[1:]}."
                )
            if len(split) and not 0 <= split.labels.min() <= split.labels.max() < len(self.class_names):
                raise ValueError(
                    f"`labels` must lie in 0..{len(self.class_names) - 1} (one for each class name), received "
                    f"{split.labels.min()}..{split.labels.max()}."
                )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, H, W), as an `ArchitectureSpec` for this data has it."""
        return (len(self.mean), *self.train.images.shape[2:])

    def grey(self) -> Self:
        """The same for networks with one input channel. The images keep their colours, which all that hands them to a
        network makes grey, since there is one mean."""
        if len(self.mean) == 1:
            return self
        counts = np.zeros(256, np.int64)
        for start in range(0, len(self.train), _CHUNK):
            counts += np.bincount(luminance(self.train.images[start : start + _CHUNK]).ravel(), minlength=256)
        mean, std = statistics_of(counts[None])
        return replace(self, mean=mean, std=std, notes=(*self.notes, GREY))

    @property
    def counts(self) -> tuple[tuple[int, int, int], ...]:
        """The training, validation and test pictures of each class."""
        train, validation, test = (
            np.bincount(split.labels, minlength=len(self.class_names)).tolist()
            for split in (self.train, self.validation, self.test)
        )
        return tuple(zip(train, validation, test, strict=True))


def luminance(images: np.ndarray) -> np.ndarray:
    """uint8 (N, 3, H, W) -> uint8 (N, H, W), as Pillow makes images grey."""
    return (np.tensordot(images.astype(np.int32), GREY_SHARES, (1, 0)) + 0x8000 >> 16).astype(np.uint8)


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images (N, 3, H, W), both on the scale 0..1.

    Computed from exact integer counts of the 256 levels, so the result does not depend on the order of summation. A
    deviation is at least one level, 1/255: a channel that is the same everywhere is then 0 once normalised, and not
    divided by 0.
    """
    return statistics_of(level_counts(images))


def level_counts(images: np.ndarray) -> np.ndarray:
    """The counts of the 256 levels in each channel of uint8 images (N, 3, H, W): int64 (3, 256). The counts of
    two sets of images add up to those of both."""
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(images), _CHUNK):
        for channel in range(3):
            counts[channel] += np.bincount(images[start : start + _CHUNK, channel].ravel(), minlength=256)
    return counts


def statistics_of(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, as `channel_statistics` has them, from `level_counts`."""
    means, stds = [], []
    levels = np.arange(256) / 255
    for row in counts:
        mean = float((row * levels).sum() / row.sum())
        means.append(mean)
        stds.append(max(float(np.sqrt((row * (levels - mean) ** 2).sum() / row.sum())), LEVEL))
    return tuple(means), tuple(stds)


def hold_out(split: Split, fraction: float, seed: list[int]) -> tuple[Split, Split]:
    """The rest, and a random `fraction` (0..1) of each class: at least one picture of it, but never all of them.

    Both keep the order of the pictures; `seed` and the labels alone decide which are drawn. A fraction of 0 draws none.
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        members = generator.permutation(np.flatnonzero(split.labels == label))
        drawn[members[: min(len(members) - 1, max(1, round(fraction * len(members))))]] = fraction > 0
    return _rows(split, ~drawn), _rows(split, drawn)


def _rows(split: Split, chosen: np.ndarray) -> Split:
    masks = None if split.masks is None else split.masks[chosen]
    return Split(split.images[chosen], split.labels[chosen], masks)
