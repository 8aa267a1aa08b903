"""Results that are measured once: on the server's disk, and shipped for the networks that come with the app.

A measurement is deterministic: weights, data, settings and the measuring code decide its result. `key` is the digest of
all four, so a result is found again in any session, and any other input has another key. A damaged file is no result.
"""

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from explorer import checkpoints
from explorer.files import npz, write_atomically
from explorer.machine import disk
from explorer.runs import data_folder

T = TypeVar("T")

MOST_BYTES = 256_000_000  # on the server's disk; those that were used longest ago go
SUFFIX = "npz"  # of the shipped files
VERSIONS = {
    **dict.fromkeys(("said", "cka", "shares", "gradients", "data", "parting", "lesions"), 1),
    **dict.fromkeys(("probes", "fields", "twins", "geometry", "surface"), 1),
    "trust": 2,
}
"""Of the code that measures each kind of result. Raise it with every change that may change a result, and make the
shipped results again (`python -m explorer pretrained --results`)."""

_JSON = "json"  # the array with all fields of a value that are no arrays
_MASK = ".mask"
_DAMAGED = (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, NotImplementedError)
_UNREADABLE = (*_DAMAGED, zipfile.BadZipFile, zlib.error)


def key(kind: str, weights: Sequence[str], data: str, owner: str = "", **settings: Any) -> str:
    """The name of a result: its kind and a digest.

    `weights` are `checkpoints.digest` of each network, or for initial weights the fingerprint of the spec and the seed;
    `data` identifies the content of the data and its split; `settings` are JSON. With `owner`, the secret of a user,
    nobody else can find the result. Raises KeyError for an unknown kind.
    """
    parts = [kind, VERSIONS[kind], *map(str, weights), str(data), owner, settings]
    return f"{kind}-{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]}"


def load(key: str) -> Mapping[str, np.ndarray] | None:
    """The arrays of that result by name, shipped or stored; None where there is none, or only a damaged file."""
    if shipped := _shipped().get(key):
        with suppress(*_UNREADABLE), np.load(shipped) as file:
            return {name.partition("/")[2]: file[name] for name in file.files if name.startswith(f"{key}/")}
    path = _path(key)
    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:
            arrays = {name: file[name] for name in file.files}
    except _UNREADABLE:
        return None
    with suppress(OSError):
        os.utime(path)  # the time of its last use
    return arrays


def store(key: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Stores the result on the server's disk. Where there is no room on it, the result is measured again next time."""
    with suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(_path(key), npz(arrays))
        _trim(MOST_BYTES)


def folder() -> Path:
    return data_folder() / "results"


def _path(key: str) -> Path:
    """Other versions of the packages that compute may round otherwise, so they have files of their own."""
    return folder() / f"{key}-{hashlib.sha256(_versions().encode()).hexdigest()[:8]}.npz"


@cache
def _versions() -> str:
    """Read once: it takes milliseconds, and a page asks for tens of results."""
    return f"torch {version('torch')}, numpy {version('numpy')}"


def _trim(most: int) -> None:
    """Removes the files that were used longest ago until the rest has at most `most` bytes."""
    found = []
    for path in folder().iterdir():
        with suppress(OSError):  # another process has removed it
            found.append((path.stat().st_mtime_ns, path.stat().st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= most:
            return
        with suppress(OSError):  # it goes another time
            disk.remove(path)
        total -= size


# --- values as arrays -------------------------------------------------------------------------------------------------


def pack(value: Any) -> dict[str, np.ndarray]:
    """The fields of a dataclass as arrays. Those that are no arrays are JSON; masked arrays keep their mask."""
    arrays: dict[str, np.ndarray] = {}
    rest: dict[str, Any] = {}
    for name in (field.name for field in fields(value)):
        part = getattr(value, name)
        if isinstance(part, np.ma.MaskedArray):
            arrays |= {name: part.data, f"{name}{_MASK}": np.ma.getmaskarray(part)}
        elif isinstance(part, np.ndarray):
            arrays[name] = part
        else:
            rest[name] = part
    return arrays | {_JSON: np.frombuffer(json.dumps(rest).encode(), np.uint8)}


def unpack(kind: type[T], arrays: Mapping[str, np.ndarray] | None) -> T | None:
    """The dataclass that `pack` took apart, its lists as tuples; None for none, or for other arrays."""
    if arrays is None:
        return None
    try:
        rest = json.loads(arrays[_JSON].tobytes())
        parts = {name: tuple(part) if isinstance(part, list) else part for name, part in rest.items()}
        for name in arrays:
            if name != _JSON and not name.endswith(_MASK):
                mask = arrays.get(f"{name}{_MASK}")
                parts[name] = arrays[name] if mask is None else np.ma.array(arrays[name], mask=mask)
        return kind(**parts)
    except _DAMAGED:
        return None


# --- shipped results --------------------------------------------------------------------------------------------------


@cache
def _shipped() -> Mapping[str, Path]:
    """The file of each shipped result by its key. A file that is not the one in `SHA256SUMS` has none."""
    found: dict[str, Path] = {}
    for name, digest in checkpoints.pinned(kind=SUFFIX).items():
        path = checkpoints.PRETRAINED / f"{name}.{SUFFIX}"
        with suppress(*_UNREADABLE):
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == digest:
                with np.load(io.BytesIO(content)) as file:
                    found |= {each.partition("/")[0]: path for each in file.files}
    return found


def ship(results: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> None:
    """Writes results by their keys into one file of the app. `pretrained.write_listing` lists it."""
    write_atomically(path, npz({f"{key}/{name}": each for key in results for name, each in results[key].items()}))
