"""`Recording`: a training from its first step to its last in one file, which the app replays."""

import base64
import binascii
import gzip
import hashlib
import io
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explorer import checkpoints
from explorer.files import write_atomically

KIND = "cnn-resnet-explorer recording"
VERSION = 1
SUFFIX = "replay"
LARGEST = 2**24  # bytes of a recording as it is read


@dataclass(frozen=True, eq=False)
class Recording:
    """A training of some networks, as its run recorded it.

    `request` is `asdict` of its `runs.Request`, `metrics` the lines of its metrics file, `samples` the test pictures of
    its predictions, uint8 (N, C, H, W). `facts` are JSON: `seed`, `device`, `precision`,
    `threads`, `versions`, `seconds`, `steps`, and of each of the `networks` its `title`, `test` figure, and the
    `shipped` file of the same recipe with its `sha256` and whether it has the `same_weights`.
    """

    request: dict[str, Any]
    facts: dict[str, Any]
    samples: np.ndarray
    metrics: bytes


def save(recording: Recording, path: Path) -> None:
    """Writes the file: gzip of one line of JSON and the lines of the metrics file. Equal values give equal bytes."""
    pictures = io.BytesIO()
    np.save(pictures, recording.samples)
    head = {
        "kind": KIND,
        "version": VERSION,
        "request": recording.request,
        "facts": recording.facts,
        "samples": base64.b64encode(pictures.getvalue()).decode(),
    }
    lines = b"\n".join(filter(None, recording.metrics.split(b"\n")))
    content = json.dumps(head, sort_keys=True).encode() + b"\n" + lines + b"\n"
    write_atomically(path, gzip.compress(content, 9, mtime=0))


def read(path: Path, sha256: str | None = None) -> Recording:
    """The recording in the file. Raises ValueError with one sentence for the user, also where the file has another
    digest than `sha256`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"`{path.name}` cannot be read: {error.strerror}.") from None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"`{path.name}` is not the file that was published: its sha256 differs; restore it.")
    try:
        with gzip.open(io.BytesIO(content)) as file:
            whole = file.read(LARGEST + 1)
        if len(whole) > LARGEST:
            raise ValueError
        first, _, metrics = whole.partition(b"\n")
        head = json.loads(first)
        if (head["kind"], head["version"]) != (KIND, VERSION):
            raise ValueError
        samples = np.load(io.BytesIO(base64.b64decode(head["samples"])))
        if not all(isinstance(head[part], dict) for part in ("request", "facts")) or samples.ndim != 4:
            raise ValueError
    except (ValueError, KeyError, TypeError, EOFError, OSError, RecursionError, zlib.error, binascii.Error):
        raise ValueError(f"`{path.name}` is damaged or no recorded training; restore it.") from None
    return Recording(head["request"], head["facts"], samples, metrics)


def names(folder: Path = checkpoints.PRETRAINED) -> tuple[str, ...]:
    """The recordings that come with the app, as `SHA256SUMS` lists them."""
    return tuple(checkpoints.pinned(folder, SUFFIX))


def load(name: str, folder: Path = checkpoints.PRETRAINED) -> Recording:
    """The recording `name` that comes with the app, checked against its pinned sha256. Raises ValueError with one
    sentence for a person."""
    pins = checkpoints.pinned(folder, SUFFIX)
    if name not in pins:
        raise ValueError(f"there is no recorded training {name!r}; choose one of {', '.join(pins) or 'none'}.")
    return read(folder / f"{name}.{SUFFIX}", pins[name])
