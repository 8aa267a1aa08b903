"""A dataset from the user's pictures: a folder for each class, on disk or in a zip, in split folders or without."""

import math
import os
import time
import unicodedata
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from explorer.datasets import LEVEL, Dataset, Skipped, Split, channel_statistics, hold_out
from explorer.datasets.untrusted_files import (
    HIDDEN,
    FilePath,
    Listing,
    UnreadableError,
    in_zip,
    on_disk,
    printable_path,
    quote,
)
from explorer.errors import PathError
from explorer.images import ImageError, decode, resize

MAX_UNPACKED = 2**30
"""Bytes that are read for one dataset, counted while they are unpacked: sizes that an archive declares may be wrong."""
MAX_PICTURE = 2**26
"""Bytes of one file; a larger one counts as a picture that cannot be read."""
MAX_LOADED = 2**31
"""Bytes of all pictures of one dataset at the size they are loaded at."""
MAX_SKIPPED = 1_000
"""Files that are listed one by one as left out."""
MAX_CLASS_NAME = 100
"""Characters of a class name."""
OUTSIDE = "outside of any class folder"
TEST_SHARE = 0.2
"""Part of each class that is kept for testing where there is no test folder."""

_SPLITS = {"train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}
_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
_ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
_REORDERING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of the text around them (UAX 9, sections 2.1 to 2.4)."""
_PROGRESS_INTERVAL_S = 0.1

_Members = dict[str, list[tuple[str, FilePath]]]
"""For each split, the class and path of its pictures, in order."""


def load(
    source: str | os.PathLike[str] | BinaryIO,
    size: tuple[int, int] = (32, 32),
    seed: int = 0,
    validation: float = 0.1,
    name: str | None = None,
) -> Dataset:
    """The pictures in a folder or a zip file (a path or an open file), with a folder for each class.

    The class folders are at the top or in `train` (or `training`), `test` and `val` (or `validation`), and one folder
    may be around all of it. Pictures may lie deeper inside their class folder. They are centre-cropped and resized to
    `size` = (height, width). Class names and the pictures of a class are sorted: a zip and its unpacked folder give
    equal datasets.

    Without a test folder `TEST_SHARE` of each class is drawn for it. Without a validation folder the fraction
    `validation` of each class is drawn from the training pictures; 0 leaves that split empty. `seed` alone decides
    which. A class of two pictures or more gives at least one and keeps at least one.

    Unreadable pictures are left out, and so are archives inside the archive, links, hidden files and empty folders: the
    notes count them, and `skipped` has the first `MAX_SKIPPED` with the reason.

    Raises `ValueError` for fewer than two classes, a class without one readable picture, two classes whose names differ
    only in case or in the encoding of their letters, and an archive that is damaged, encrypted, too large, or has
    entries that overlap or point outside of it.
    """
    reading = read(source, size, seed, validation, name)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value


def read(
    source: str | os.PathLike[str] | BinaryIO,
    size: tuple[int, int] = (32, 32),
    seed: int = 0,
    validation: float = 0.1,
    name: str | None = None,
) -> Generator[float, None, Dataset]:
    """Reads as `load` does: yields the fraction that is read, about ten times a second, and returns the dataset.

    Nothing is read before the first `next`. Closing the generator ends the reading.
    """
    if min(size) < 1 or seed < 0 or not 0 <= validation < 1:
        raise ValueError(
            "`size` must be 1 or more, `seed` 0 or more and `validation` from 0 to below 1, "
            f"received {size}, {seed} and {validation}."
        )
    if not isinstance(source, str | os.PathLike):
        return (yield from _read(in_zip(source), size, seed, validation, name or "your images"))
    path = Path(source)
    name = name or path.resolve().stem
    try:
        if path.is_dir():
            return (yield from _read(on_disk(path), size, seed, validation, name))
        with path.open("rb") as file:
            return (yield from _read(in_zip(file), size, seed, validation, name))
    except OSError as error:
        sentence = f"{{path}} cannot be read ({error.strerror}); give a folder or a zip file."
        raise PathError(sentence, path, instead=quote((name,))) from error


def _read(
    listing: Listing, size: tuple[int, int], seed: int, validation: float, name: str
) -> Generator[float, None, Dataset]:
    pictures = sorted(path for path in listing.files if _suffix(path) in _SUFFIXES)
    splits, outside = _by_split(pictures)
    others = listing.files.keys() - set(pictures)
    class_names = _class_names(splits)
    loaded = len(pictures) * 3 * size[0] * size[1]
    if loaded > MAX_LOADED:
        raise ValueError(
            f"{len(pictures):,} images of {size[0]} × {size[1]} pixels need {loaded / 2**30:.1f} GiB and the limit "
            f"is {MAX_LOADED // 2**30} GiB; choose a smaller `size` or fewer images."
        )
    skipped = listing.skipped | {path: _why_no_picture(path) for path in others} | dict.fromkeys(outside, OUTSIDE)
    left_out = sorted(path for path, reason in skipped.items() if reason != HIDDEN)
    notes = []
    if left_out:
        notes.append(f"Files left out because they are no images of a class: {len(left_out):,} ({quote(*left_out)}).")
    train, validation_split, test = yield from _decoded(listing, splits, class_names, size, notes, skipped)
    for label, count in zip(class_names, np.bincount(train.labels, minlength=len(class_names)), strict=True):
        if not count:
            raise ValueError(f"no training image of the class {quote((label,))} can be read; replace or remove it.")
    if len(skipped) > MAX_SKIPPED:
        notes.append(f"Of {len(skipped):,} files that are left out, {MAX_SKIPPED:,} are listed.")
    if not splits["test"]:
        notes.append(
            f"There is no test folder: {TEST_SHARE:.0%} of each class, drawn with seed {seed}, are for testing."
        )
        train, test = hold_out(train, TEST_SHARE, [seed, 0])
    if not splits["validation"]:
        train, validation_split = hold_out(train, validation, [seed, 1])
    mean, std = channel_statistics(train.images)
    if max(std) <= LEVEL:
        raise ValueError("all training images are one and the same colour, so there is nothing to learn from them.")
    listed = sorted(skipped, key=lambda path: (skipped[path] == HIDDEN, path))[:MAX_SKIPPED]  # a Mac hides one for each
    files = tuple(Skipped(printable_path(path), skipped[path]) for path in listed)
    return Dataset(name, class_names, mean, std, train, validation_split, test, tuple(notes), files)


def _suffix(path: FilePath) -> str:
    return os.path.splitext(path[-1])[1].lower()


def _why_no_picture(path: FilePath) -> str:
    if _suffix(path) in _ARCHIVES:
        return "an archive of its own, and such are not opened; unpack it into the class folders"
    return "not an image of a type that can be read (JPEG, PNG, GIF, BMP, WEBP or TIFF)"


def _by_split(pictures: list[FilePath]) -> tuple[_Members, list[FilePath]]:
    """For each split the class and path of its pictures, in order, and the pictures that belong to no class."""
    splits: _Members = {"train": [], "validation": [], "test": []}
    outside = []
    tops = {path[0] for path in pictures if len(path) > 1}
    around = len(tops) == 1 and any(len(path) > 2 for path in pictures)
    depth = 1 if around else 0  # of the folder that names the split or, where there are no splits, the class
    found = {path[depth] for path in pictures if len(path) > depth + 2 and path[depth].lower() in _SPLITS}
    with_splits = any(_SPLITS[folder.lower()] == "train" for folder in found)
    if found and not with_splits and found == {path[depth] for path in pictures if len(path) > depth + 1}:
        raise ValueError(f"there is a folder {quote((min(found),))} but none named `train`; add it or rename one.")
    for path in pictures:
        where = depth + with_splits
        if len(path) < where + 2 or (with_splits and path[depth] not in found):
            outside.append(path)
        else:
            splits[_SPLITS[path[depth].lower()] if with_splits else "train"].append((path[where], path))
    return {split: sorted(members) for split, members in splits.items()}, outside


def _class_names(splits: _Members) -> tuple[str, ...]:
    class_names = tuple(sorted({label for label, _ in splits["train"]}))
    alike: dict[str, str] = {}
    for label in sorted({label for members in splits.values() for label, _ in members}):
        if len(label) > MAX_CLASS_NAME:
            raise ValueError(
                f"the class name {quote((label,))} has {len(label):,} characters and the limit is {MAX_CLASS_NAME}; "
                "rename the folder."
            )
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _REORDERING for c in label):
            raise ValueError(
                f"the class name {quote((label,))} has characters that cannot be shown; rename the folder."
            )
        same = unicodedata.normalize("NFC", unicodedata.normalize("NFC", label).casefold())
        if same in alike:
            raise ValueError(
                f"the class folders {quote((alike[same],), (label,))} differ only in case or in how their letters are "
                "encoded; rename one of them, or put their images into one folder."
            )
        alike[same] = label

    if len(class_names) < 2:
        raise ValueError(
            f"there {'is 1 folder' if class_names else 'are no folders'} with images to learn from, and at least 2 "
            "classes are needed; put the JPEG, PNG, GIF, BMP, WEBP or TIFF images of each class into its own folder."
        )
    for split in ("validation", "test"):
        unknown = sorted({label for label, _ in splits[split]} - set(class_names))
        if unknown:
            raise ValueError(
                f"the class {quote((unknown[0],))} has {split} images but no training images; "
                "add some or remove the class."
            )
    return class_names


def _decoded(
    listing: Listing,
    splits: _Members,
    class_names: tuple[str, ...],
    size: tuple[int, int],
    notes: list[str],
    skipped: dict[FilePath, str],
) -> Generator[float, None, list[Split]]:
    """Train, validation and test as the files have them. Adds what cannot be read to `notes` and `skipped`."""
    found, bad = [], []
    budget, resized, several, done = MAX_UNPACKED, 0, 0, 0
    total = sum(map(len, splits.values()))
    yielded_at = -math.inf
    for members in splits.values():
        images = np.empty((len(members), 3, *size), np.uint8)
        labels = np.empty(len(members), np.int64)
        count = 0
        for label, path in members:
            if time.monotonic() >= yielded_at + _PROGRESS_INTERVAL_S:
                yielded_at = time.monotonic()
                yield done / total
            done += 1
            try:
                content = listing.files[path](min(budget, MAX_PICTURE))
                budget -= len(content)
                picture = decode(content, path[-1]) if content else None
                reason = "empty"
            except UnreadableError as error:
                budget -= error.unpacked
                picture, reason = None, error.reason
            except ImageError as error:
                picture, reason = None, str(error)
            if budget < 0:
                raise ValueError(f"the images are more than {MAX_UNPACKED // 2**30} GiB unpacked; use fewer of them.")
            if picture is None:
                bad.append(path)
                skipped[path] = reason
                continue
            images[count] = resize(picture.pixels, size).transpose(2, 0, 1)
            labels[count] = class_names.index(label)
            resized += picture.pixels.shape[:2] != size
            several += picture.frames > 1
            count += 1
        found.append(Split(images[:count], labels[:count]))
    if bad:
        notes.append(f"Images left out because they cannot be read: {len(bad):,} ({quote(*bad)}).")
    if resized:
        notes.append(f"Images of another size, centre-cropped and resized to {size[0]} × {size[1]}: {resized:,}.")
    if several:
        notes.append(f"Images with several frames or pages, of which the first is used: {several:,}.")
    return found
