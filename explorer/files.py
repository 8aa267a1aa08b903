"""Files that are written whole or not at all, their places and sizes, and the contents of files that users download."""

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from explorer.machine import disk

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a text that starts so for a formula


class FileIn:
    """The path of the file or folder of that name in the `folder` of a run, a study or a surface."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: "_HasFolder", kind: type) -> Path:
        return owner.folder / self.name


class _HasFolder(Protocol):
    @property
    def folder(self) -> Path: ...


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces the file at `path` by `content`, whole or not at all, even if power fails meanwhile."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        disk.readable_by_all(temporary)
        disk.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # the error that is told is that of the writing
            disk.remove(Path(temporary))
        raise


def bytes_of(paths: Iterable[Path]) -> int:
    """Bytes of these files together; one that was deleted meanwhile has none."""
    total = 0
    for path in paths:
        with suppress(OSError):
            total += path.stat().st_size
    return total


def room_left(folder: Path, reserve: int, quota: int, used: int | None, things: str) -> tuple[int, str]:
    """Bytes that an owner may still write into the folder, and words on where they are: "left of the 500 MB for your
    runs' snapshots", where `things` are the last three words. The disk keeps `reserve` bytes. An owner whose `used`
    bytes are None has no quota."""
    room, where = disk.free(folder) - reserve, "free on the disk"
    if used is not None and quota - used < room:
        room, where = quota - used, f"left of the {quota / 1e6:,.0f} MB for {things}"
    return max(0, room), where


def npz(arrays: Mapping[str, Any]) -> bytes:
    """The arrays as a compressed npz file."""
    import numpy as np  # here: a run in the queue does not import it

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """The rows as a CSV file of UTF-8, with the mark by which a spreadsheet knows that."""
    return b"\xef\xbb\xbf" + csv_text(rows).encode("utf-8", "replace")


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """The rows as CSV. A text that starts like a formula gets an apostrophe, else a spreadsheet would compute it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows(
        [f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in row] for row in rows
    )
    return text.getvalue()
