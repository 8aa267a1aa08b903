"""A dataset from anyone's pictures: one folder a class, on disk or in a zip, with or without train and test folders."""

import io
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO

import numpy as np

from explorer.datasets import Dataset, Split, channel_statistics
from explorer.images import ImageError, decode, resize

MAX_FILES = 100_000
MAX_UNPACKED = 2**30
"""Bytes that are read for one dataset, counted while they are unpacked: what an archive declares is not believed."""
MAX_PICTURE = 2**26
"""Bytes of one file; a larger one counts as a picture that cannot be read."""
MAX_LOADED = 2**31
"""Bytes of all pictures of one dataset at the size they are loaded at."""
TEST_SHARE = 0.2
"""Part of each class that is kept for testing where there is no test folder."""

_BLOCK = 2**16

_SPLITS = {"train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}
_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
_JUNK = {"__macosx", "thumbs.db", "desktop.ini"}

_Path = tuple[str, ...]
"""The folders and the name of a file, seen from the root of the dataset."""
_Files = dict[_Path, Callable[[], IO[bytes]]]
"""What opens each file."""


def load(
    source: str | os.PathLike[str] | BinaryIO,
    size: tuple[int, int] = (32, 32),
    seed: int = 0,
    validation: float = 0.1,
    name: str | None = None,
) -> Dataset:
    """The pictures in a folder or a zip file (a path or an open file), one folder for each class.

    The class folders lie at the top or in `train` (or `training`), `test` and `val` (or `validation`); one folder
    around all of it is accepted. Pictures may lie deeper inside their class folder. They are centre-cropped and
    resized to `size` = (height, width). Class names and the pictures of a class are sorted, so a zip and its unpacked
    folder give equal datasets.

    Without a test folder `TEST_SHARE` of each class is drawn for it; without a validation folder the share
    `validation` of each class is drawn from the training pictures, and 0 leaves that split empty. `seed` alone
    decides which; a class of two pictures or more gives at least one and keeps at least one. Pictures that cannot be
    read are left out and listed in the notes; hidden files and links are left out.

    Raises `ValueError` for anything else: fewer than two classes, a class without one readable picture, an archive
    that is damaged, encrypted, too large, or has entries that overlap or point outside of it.
    """
    if min(size) < 1 or seed < 0 or not 0 <= validation < 1:
        raise ValueError(
            "`size` must be 1 or more, `seed` 0 or more and `validation` from 0 to below 1, "
            f"received {size}, {seed} and {validation}."
        )
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        name = name or path.resolve().stem
        try:
            if path.is_dir():
                return _dataset(*_on_disk(path), size, seed, validation, name)
            with path.open("rb") as file:
                return load(file, size, seed, validation, name)
        except OSError as error:
            raise ValueError(f"`{path}` cannot be read ({error.strerror}); give a folder or a zip file.") from error
    _check_count(source)
    try:
        archive = zipfile.ZipFile(source)
    except Exception as error:  # zipfile raises at least six kinds on damaged archives
        raise ValueError("the file is not a zip archive, or is damaged; pack the folders again as a zip.") from error
    with archive:
        return _dataset(_in_archive(archive), [], size, seed, validation, name or "your pictures")


def _on_disk(root: Path) -> tuple[_Files, list[_Path]]:
    """The files under `root`, and what is left out there: links, which may lead out of it, pipes and devices."""
    files: _Files = {}
    left_out: list[_Path] = []
    folders: list[_Path] = [()]
    while folders:
        folder = folders.pop()
        with os.scandir(root.joinpath(*folder)) as entries:
            for entry in entries:
                path = (*folder, entry.name)
                if _is_junk(path):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    files[path] = partial(io.FileIO, entry.path)
                else:
                    left_out.append(path)
                if len(files) + len(left_out) + len(folders) > MAX_FILES:
                    raise ValueError(f"the folder holds more than {MAX_FILES:,} files; choose a smaller one.")
    return files, left_out


def _check_count(file: BinaryIO) -> None:
    """Refuse too many entries before `zipfile` builds an object for each, by the mark that each must begin with."""
    count, end = 0, b""
    file.seek(0)
    while block := file.read(2**20):
        count += (end + block).count(b"PK\x01\x02")
        end = block[-3:]
    if count > MAX_FILES:
        raise ValueError(f"the zip holds more than {MAX_FILES:,} entries; pack fewer pictures.")


def _in_archive(archive: zipfile.ZipFile) -> _Files:
    """The files in the archive, which is refused whole if one entry is not what a plain zip of folders would hold."""
    files: _Files = {}
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        stored_name = info.orig_filename  # `filename` ends at the first zero byte
        path = tuple(stored_name.removesuffix("/").split("/"))
        shown = _shown(path)
        if (
            any(part in ("", ".", "..") for part in path)
            or any(c == "\\" or ord(c) < 32 for c in stored_name)
            or PureWindowsPath(stored_name).drive
        ):
            raise ValueError(f"the zip entry {shown} does not name a file inside the zip; pack plain folders.")
        if info.flag_bits & 0x41:  # encrypted, strongly encrypted
            raise ValueError(f"the zip entry {shown} is encrypted; pack the folders again without a password.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others may ask for gigabytes
            raise ValueError(f"the zip entry {shown} is compressed in an unusual way; pack the folders as plain zip.")
        # 30 bytes of local header and the name come before the data (APPNOTE 6.3.10, section 4.3.7).
        if info.header_offset < end:
            raise ValueError(f"the zip entry {shown} overlaps another one; pack the folders again.")
        end = info.header_offset + 30 + len(stored_name) + info.compress_size
        if info.is_dir() or _is_junk(path):
            continue
        if path in files:
            raise ValueError(f"the zip holds {shown} twice; pack the folders again.")
        files[path] = partial(archive.open, info)
    return files


def _is_junk(path: _Path) -> bool:
    return any(part.startswith(".") or part.lower() in _JUNK for part in path)


def _shown(*paths: _Path) -> str:
    """The first three paths, each in backticks, for a sentence."""
    texts = ["".join(c if c.isprintable() and c != "`" else "?" for c in "/".join(path))[-80:] for path in paths[:3]]
    return ", ".join(f"`{text}`" for text in texts) + (", …" if len(paths) > 3 else "")


def _dataset(
    files: _Files, left_out: list[_Path], size: tuple[int, int], seed: int, validation: float, name: str
) -> Dataset:
    pictures = sorted(path for path in files if PurePosixPath(path[-1]).suffix.lower() in _SUFFIXES)
    splits, outside = _by_split(pictures)
    left_out = sorted({*left_out, *files.keys() - set(pictures), *outside})
    class_names = _class_names(splits)
    loaded = len(pictures) * 3 * size[0] * size[1]
    if loaded > MAX_LOADED:
        raise ValueError(
            f"{len(pictures):,} pictures of {size[0]} × {size[1]} pixels need {loaded / 2**30:.1f} GiB and the limit "
            f"is {MAX_LOADED // 2**30} GiB; choose a smaller `size` or fewer pictures."
        )
    notes = []
    if left_out:
        notes.append(f"{len(left_out):,} files that are no pictures of a class are left out: {_shown(*left_out)}.")
    train, validation_split, test = _read(files, splits, class_names, size, notes)
    empty = [label for i, label in enumerate(class_names) if not (train.labels == i).any()]
    if empty:
        raise ValueError(f"no training picture of the class {_shown((empty[0],))} can be read; replace or remove it.")
    if not splits["test"]:
        notes.append(
            f"There is no test folder: {TEST_SHARE:.0%} of each class, drawn with seed {seed}, are for testing."
        )
        train, test = _draw(train, TEST_SHARE, [seed, 0])
    if not splits["validation"]:
        train, validation_split = _draw(train, validation, [seed, 1])
    mean, std = channel_statistics(train.images)
    return Dataset(name, class_names, mean, std, train, validation_split, test, tuple(notes))


def _by_split(pictures: list[_Path]) -> tuple[dict[str, list[tuple[str, _Path]]], list[_Path]]:
    """For each split the class and path of its pictures, in order, and the pictures that belong to no class."""
    splits: dict[str, list[tuple[str, _Path]]] = {"train": [], "validation": [], "test": []}
    outside = []
    tops = {path[0] for path in pictures if len(path) > 1}
    around = len(tops) == 1 and any(len(path) > 2 for path in pictures)
    depth = 1 if around else 0  # of the folder that names the split or, where there are no splits, the class
    found = {path[depth] for path in pictures if len(path) > depth + 2 and path[depth].lower() in _SPLITS}
    with_splits = any(_SPLITS[folder.lower()] == "train" for folder in found)
    if found and not with_splits and found == {path[depth] for path in pictures if len(path) > depth + 1}:
        raise ValueError(f"there is a folder {_shown((min(found),))} but none named `train`; add it or rename one.")
    for path in pictures:
        where = depth + with_splits
        if len(path) < where + 2 or (with_splits and path[depth] not in found):
            outside.append(path)
        else:
            splits[_SPLITS[path[depth].lower()] if with_splits else "train"].append((path[where], path))
    return {split: sorted(members) for split, members in splits.items()}, outside


def _class_names(splits: dict[str, list[tuple[str, _Path]]]) -> tuple[str, ...]:
    class_names = tuple(sorted({label for label, _ in splits["train"]}))
    if len(class_names) < 2:
        raise ValueError(
            f"there {'is 1 folder' if class_names else 'are no folders'} with pictures to learn from, and at least 2 "
            "classes are needed; put the JPEG, PNG, GIF, BMP, WEBP or TIFF pictures of each class into its own folder."
        )
    for label in class_names:
        if any(ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in label):
            raise ValueError(
                f"the class name {_shown((label,))} has characters that cannot be shown; rename the folder."
            )
    for split in ("validation", "test"):
        unknown = sorted({label for label, _ in splits[split]} - set(class_names))
        if unknown:
            raise ValueError(
                f"the class {_shown((unknown[0],))} has {split} pictures but no training pictures; "
                "add some or remove the class."
            )
    return class_names


def _read(
    files: _Files,
    splits: dict[str, list[tuple[str, _Path]]],
    class_names: tuple[str, ...],
    size: tuple[int, int],
    notes: list[str],
) -> list[Split]:
    """Train, validation and test as they lie in the files; what there is to say about them is added to `notes`."""
    found, bad = [], []
    budget, resized, several = MAX_UNPACKED, 0, 0
    numbers = {label: i for i, label in enumerate(class_names)}
    for members in splits.values():
        images = np.empty((len(members), 3, *size), np.uint8)
        labels = np.empty(len(members), np.int64)
        count = 0
        for label, path in members:
            data, unpacked = _contents(files[path], min(budget, MAX_PICTURE))
            budget -= unpacked
            if budget < 0:
                raise ValueError(f"the pictures are more than {MAX_UNPACKED // 2**30} GiB unpacked; use fewer of them.")
            try:
                picture = decode(data, path[-1])
            except ImageError:
                bad.append(path)
                continue
            images[count] = resize(picture.pixels, size).transpose(2, 0, 1)
            labels[count] = numbers[label]
            resized += picture.pixels.shape[:2] != size
            several += picture.frames > 1
            count += 1
        found.append(Split(images[:count], labels[:count]))
    if bad:
        notes.append(f"{len(bad):,} pictures cannot be read and are left out: {_shown(*bad)}.")
    if resized:
        notes.append(f"{resized:,} pictures of another size are centre-cropped and resized to {size[0]} × {size[1]}.")
    if several:
        notes.append(f"Of {several:,} pictures with several frames or pages, the first is used.")
    return found


def _contents(open_file: Callable[[], IO[bytes]], most: int) -> tuple[bytes, int]:
    """A file's bytes, none if it is damaged or longer than `most`, and how many were unpacked to learn that."""
    data, unpacked = bytearray(), 0
    try:
        with open_file() as file:
            while len(data) <= most:
                unpacked += _BLOCK  # counted first: a block that fails its checksum is unpacked, but not returned
                block = file.read(_BLOCK)
                unpacked -= _BLOCK - len(block)
                if not block:
                    return bytes(data), unpacked
                data += block
    except Exception:  # zipfile and zlib raise many kinds on damage; on disk a file may be gone or locked
        pass
    return b"", unpacked


def _draw(split: Split, share: float, seed: list[int]) -> tuple[Split, Split]:
    """What stays, and a random `share` of each class: at least one picture of it, but never all of them."""
    generator = np.random.default_rng(seed)
    drawn = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        members = generator.permutation(np.flatnonzero(split.labels == label))
        drawn[members[: min(len(members) - 1, max(1, round(share * len(members))))]] = share > 0
    return Split(split.images[~drawn], split.labels[~drawn]), Split(split.images[drawn], split.labels[drawn])
