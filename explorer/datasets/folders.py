"""A dataset from the user's pictures, on disk or in an archive: a folder for each class, in splits or without."""

import math
import os
import re
import time
import unicodedata
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from explorer.datasets import LEVEL, Dataset, Skipped, Split, channel_statistics, hold_out, layouts
from explorer.datasets.archives import in_archive
from explorer.datasets.layouts import FOLDERS, Layout, Members
from explorer.datasets.name_encodings import TITLES
from explorer.datasets.renderings import CommonRendering
from explorer.datasets.untrusted_files import (
    HIDDEN,
    FilePath,
    Listing,
    UnreadableError,
    on_disk,
    printable_path,
    quote,
)
from explorer.errors import PathError
from explorer.images import FORMATS, PLAIN, SUFFIXES, ImageError, Rendering, decode, kind_of, resize

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
TEST_SHARE = 0.2
"""Part of each class that is kept for testing where there is no test folder."""

_ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
_REORDERING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of the text around them (UAX 9, sections 2.1 to 2.4)."""
_PROGRESS_INTERVAL_S = 0.1
_START = 512
"""Bytes that tell a kind of picture."""
_VAGUE = ("BMP", "TIFF", "DICOM")
"""Files of other kinds, with an ending of their own, begin so too, such as raw photos."""


def load(
    source: str | os.PathLike[str] | BinaryIO,
    size: tuple[int, int] = (32, 32),
    seed: int = 0,
    validation: float = 0.1,
    name: str | None = None,
    labels_from: str | None = None,
    encoding: str | None = None,
    rendering: Rendering = PLAIN,
) -> Dataset:
    """The pictures in a folder, a zip, a tar or a tar.gz (a path or an open file), with a folder for each class.

    The class folders are at the top or in a folder for each split: `train`, `val`, `test` and the like, in any case.
    Any number of single folders may be around them, and pictures may lie deeper inside their class folder. A split for
    validation or testing may have a table of labels instead, whose labels are class folders of the training pictures.
    Pictures are centre-cropped and resized to `size` = (height, width). Class names are sorted, by number where all end
    with one, and so are the pictures of a class: an archive and its unpacked folder give equal datasets.

    Where there are no class folders, `labels_from` says what the classes are: a table in the source ("csv", or
    "csv:COLUMN") or the names of the files ("names"; `layouts.options` has them all). Only folders are used unasked.
    `encoding` is that of an archive's names where it does not tell it, one of `name_encodings.ENCODINGS`.

    Transparent parts lie on the paper of the `rendering`. Pictures of one channel of more than 8 bits are scaled alike,
    by its scale or, without one, by the largest value among all of them (`images.common_scale`), so that brightness
    tells no class; DICOM files that name a window are seen through it. The dataset's own `rendering` has both.

    Without test pictures `TEST_SHARE` of each class is drawn for testing. Without validation pictures the fraction
    `validation` of each class is drawn from the training pictures; 0 leaves that split empty. `seed` alone decides
    which. A class of two pictures or more gives at least one and keeps at least one.

    Unreadable pictures are left out, and so are archives inside the archive, links, hidden files and empty folders: the
    notes count them, and `skipped` has the first `MAX_SKIPPED` with the reason.

    Raises `ValueError` for fewer than two classes, a class without one readable picture, two classes whose names differ
    only in case or in the encoding of their letters, and an archive that is damaged, encrypted, too large, or has
    entries that overlap or point outside of it.
    """
    return loaded(read(source, size, seed, validation, name, labels_from, encoding, rendering))


def loaded(reading: Generator[float, None, Dataset]) -> Dataset:
    """The dataset at the end of a reading."""
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
    labels_from: str | None = None,
    encoding: str | None = None,
    rendering: Rendering = PLAIN,
) -> Generator[float, None, Dataset]:
    """Reads as `load` does: yields the fraction that is read, about ten times a second, and returns the dataset.

    Nothing is read before the first `next`. Closing the generator ends the reading.
    """
    if min(size) < 1 or seed < 0 or not 0 <= validation < 1:
        raise ValueError(
            "`size` must be 1 or more, `seed` 0 or more and `validation` from 0 to below 1, "
            f"received {size}, {seed} and {validation}."
        )
    with opened(source, encoding) as found:
        layout = chosen_layout(found, labels_from)
        return (yield from read_layout(found, layout, size, seed, validation, name or found.name, rendering))


@dataclass(frozen=True, eq=False)
class Source:
    """A folder or archive whose files are listed: `layouts` are the ways to read it, as `layouts.options` has them."""

    name: str
    listing: Listing
    pictures: Sequence[FilePath]
    layouts: Mapping[str, Layout]


@contextmanager
def opened(source: str | os.PathLike[str] | BinaryIO, encoding: str | None = None) -> Iterator[Source]:
    """The source with its files listed, which can be read until the end. Raises ValueError as `load` does."""
    if not isinstance(source, str | os.PathLike):
        yield _listed(in_archive(source, encoding), "your images")
        return
    path = Path(source)
    name = re.sub(r"\.tar$", "", path.resolve().stem, flags=re.IGNORECASE)
    try:
        if path.is_dir():
            yield _listed(on_disk(path), name)
            return
        with path.open("rb") as file:
            yield _listed(in_archive(file, encoding), name)
    except OSError as error:
        sentence = f"{{path}} cannot be read ({error.strerror}); give a folder, a zip or a tar file."
        raise PathError(sentence, path, instead=quote((name,))) from error


def _listed(listing: Listing, name: str) -> Source:
    pictures = _pictures(listing)
    return Source(name, listing, pictures, layouts.options(listing, pictures))


def _pictures(listing: Listing) -> list[FilePath]:
    """Files that are pictures by their ending, and those of another ending or none that begin like one."""
    found = []
    for path, reader in listing.files.items():
        suffix = _suffix(path)
        if suffix in SUFFIXES:
            found.append(path)
        elif suffix not in _ARCHIVES and not _is_copy(path):
            try:
                kind = kind_of(reader(_START, whole=False))
            except UnreadableError:
                continue
            if kind and (kind not in _VAGUE or not suffix.strip(".0123456789")):
                found.append(path)
    return sorted(found)


def _is_copy(path: FilePath) -> bool:
    """Whether a program named a copy of a picture so: `a.jpg.1`, `a.jpg.bak`, `a.jpg~`, `a.jpg_original`."""
    return path[-1].endswith(("~", "_original")) or _suffix((os.path.splitext(path[-1])[0],)) in SUFFIXES


def chosen_layout(source: Source, labels_from: str | None) -> Layout:
    """The layout by class folders, or that which a person chose: the first one whose key begins so.

    Raises ValueError for another one, and where there are no class folders and nothing is chosen.
    """
    found, proposed = source.layouts, [key for key in source.layouts if key != FOLDERS]
    if labels_from is not None:
        keys = [key for key in found if key == labels_from or key.startswith(f"{labels_from}:")]
        if not keys:
            raise ValueError(
                f"the classes cannot be read from {quote((labels_from,))}; here they can be from "
                f"{quote(*[(key,) for key in found])}."
            )
        return found[keys[0]]
    if FOLDERS not in found:
        first = found[proposed[0]]
        raise ValueError(
            f"there are no folders of classes, but {first.words} could give them: {first.preview()}; confirm that with "
            f"`--labels-from {proposed[0]}`, or put the images of each class into its own folder."
        )
    return found[FOLDERS]


def read_layout(
    source: Source,
    layout: Layout,
    size: tuple[int, int],
    seed: int = 0,
    validation: float = 0.1,
    name: str = "",
    rendering: Rendering = PLAIN,
) -> Generator[float, None, Dataset]:
    """Reads the pictures of an opened source by one of its layouts, as `read` does."""
    listing, splits = source.listing, layout.splits
    class_names = _class_names(splits)
    loaded = len(source.pictures) * 3 * size[0] * size[1]
    if loaded > MAX_LOADED:
        raise ValueError(
            f"{len(source.pictures):,} images of {size[0]} × {size[1]} pixels need {loaded / 2**30:.1f} GiB and the "
            f"limit is {MAX_LOADED // 2**30} GiB; choose a smaller `size` or fewer images."
        )
    others = listing.files.keys() - {*source.pictures, *layout.tables}
    skipped = listing.skipped | {path: _why_no_picture(path) for path in others} | dict(layout.outside)
    left_out = sorted(path for path, reason in skipped.items() if reason != HIDDEN)
    notes = []
    if left_out:
        notes.append(f"Files left out because they are no images of a class: {len(left_out):,} ({quote(*left_out)}).")
    notes += layout.notes
    if encodings := listing.encodings:
        used = next(iter(encodings))
        example = printable_path((encodings[used],))
        notes.append(
            f"The archive does not tell the encoding of its names; they are read as {TITLES[used]} ({example})."
        )
    (train, validation_split, test), rendering = yield from _decoded(
        listing, splits, class_names, size, notes, skipped, rendering
    )
    for label, count in zip(class_names, np.bincount(train.labels, minlength=len(class_names)), strict=True):
        if not count:
            raise ValueError(f"no training image of the class {quote((label,))} can be read; replace or remove it.")
    if len(skipped) > MAX_SKIPPED:
        notes.append(f"Of {len(skipped):,} files that are left out, {MAX_SKIPPED:,} are listed.")
    if not splits["test"]:
        notes.append(
            f"There are no labelled test images: {TEST_SHARE:.0%} of each class, drawn with seed {seed}, are for "
            "testing."
        )
        train, test = hold_out(train, TEST_SHARE, [seed, 0])
    if not splits["validation"]:
        train, validation_split = hold_out(train, validation, [seed, 1])
    mean, std = channel_statistics(train.images)
    if max(std) <= LEVEL:
        laid = any("transparent parts" in note for note in notes)
        raise ValueError(
            f"all training images are one and the same colour{f' on {rendering.paper}' * laid}, so there is nothing to "
            f"learn from them{'; choose another colour under transparent parts' * laid}."
        )
    listed = sorted(skipped, key=lambda path: (skipped[path] == HIDDEN, path))[:MAX_SKIPPED]  # a Mac hides one for each
    files = tuple(Skipped(printable_path(path), skipped[path]) for path in listed)
    return Dataset(name, class_names, mean, std, train, validation_split, test, tuple(notes), files, rendering)


def _suffix(path: FilePath) -> str:
    return os.path.splitext(path[-1])[1].lower()


def _why_no_picture(path: FilePath) -> str:
    if _suffix(path) in _ARCHIVES:
        return "an archive of its own, and such are not opened; unpack it into the class folders"
    return f"not an image of a type that can be read ({FORMATS})"


def _class_names(splits: Members) -> tuple[str, ...]:
    class_names = layouts.in_order({label for label, _ in splits["train"]})
    alike: dict[str, str] = {}
    for label in sorted({label for members in splits.values() for label, _ in members}):
        if len(label) > MAX_CLASS_NAME:
            raise ValueError(
                f"the class name {quote((label,))} has {len(label):,} characters and the limit is {MAX_CLASS_NAME}; "
                "rename it."
            )
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _REORDERING for c in label):
            raise ValueError(f"the class name {quote((label,))} has characters that cannot be shown; rename it.")
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
            f"classes are needed; put the {FORMATS} images of each class into its own folder, or add a CSV file of "
            "file names and labels."
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
    splits: Members,
    class_names: tuple[str, ...],
    size: tuple[int, int],
    notes: list[str],
    skipped: dict[FilePath, str],
    rendering: Rendering,
) -> Generator[float, None, tuple[list[Split], Rendering]]:
    """Train, validation and test as the files have them, and how all are rendered. Adds what cannot be read to `notes`
    and `skipped`."""
    members = [(split, label, path) for split in splits for label, path in splits[split]]
    place = {path: index for index, path in enumerate(listing.files)}
    images = np.empty((len(members), 3, *size), np.uint8)
    is_read = np.zeros(len(members), bool)
    budget, resized, several = MAX_UNPACKED, 0, 0
    yielded_at = -math.inf
    common = CommonRendering(rendering)
    # In the order of the source, in which a compressed tar must be read.
    todo = sorted(range(len(members)), key=lambda index: place[members[index][2]])
    for done, index in enumerate(todo):
        if time.monotonic() >= yielded_at + _PROGRESS_INTERVAL_S:
            yielded_at = time.monotonic()
            yield done / len(members)
        path = members[index][2]
        try:
            content = listing.files[path](min(budget, MAX_PICTURE))
            budget -= len(content)
            picture = common.decode(content, path) if content else None
            reason = "empty"
        except UnreadableError as error:
            budget -= error.unpacked
            picture, reason = None, error.reason
        except ImageError as error:
            picture, reason = None, str(error)
        if budget < 0:
            raise ValueError(f"the images are more than {MAX_UNPACKED // 2**30} GiB unpacked; use fewer of them.")
        if picture is None:
            skipped[path] = reason
            continue
        images[index] = resize(picture.pixels, size).transpose(2, 0, 1)
        is_read[index] = True
        resized += picture.pixels.shape[:2] != size
        several += picture.frames > 1
    for index in todo:
        path = members[index][2]
        if not common.is_outdated(path):
            continue
        if time.monotonic() >= yielded_at + _PROGRESS_INTERVAL_S:
            yielded_at = time.monotonic()
            yield 1.0
        try:
            picture = decode(listing.files[path](MAX_PICTURE), path[-1], common.now)
        except (UnreadableError, ImageError) as error:
            raise ValueError("the images changed while they were read; read them again.") from error
        images[index] = resize(picture.pixels, size).transpose(2, 0, 1)
    bad = [path for (_, _, path), whole in zip(members, is_read, strict=True) if not whole]
    if bad:
        notes.append(f"Images left out because they cannot be read: {len(bad):,} ({quote(*bad)}).")
    if resized:
        notes.append(f"Images of another size, centre-cropped and resized to {size[0]} × {size[1]}: {resized:,}.")
    if several:
        notes.append(f"Images with several frames or pages, of which the first is used: {several:,}.")
    notes += common.notes()
    numbers = {label: number for number, label in enumerate(class_names)}
    labels = np.array([numbers[label] for _, label, _ in members], np.int64)
    bounds = np.cumsum([0, *map(len, splits.values())])
    found = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        part = slice(start, end)
        whole = is_read[part]
        found.append(Split(images[part] if whole.all() else images[part][whole], labels[part][whole]))
    return found, common.now
