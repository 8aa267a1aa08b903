"""Files that are written whole or not at all, and the contents of files that users download."""

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from explorer.machine import disk

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a text that starts so for a formula


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


def npz(arrays: Mapping[str, Any]) -> bytes:
    """The arrays as a compressed npz file."""
    import numpy as np  # here: a run in the queue does not import it

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """The rows as CSV. A text that starts like a formula gets an apostrophe, else a spreadsheet would compute it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows(
        [f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in row] for row in rows
    )
    return text.getvalue()
