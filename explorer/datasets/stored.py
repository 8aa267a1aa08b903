"""A dataset as one file: a safetensors file with everything but the pixels as JSON in its header."""

import json
import math
import zlib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from explorer.datasets import Dataset, Skipped, Split
from explorer.files import write_atomically
from explorer.images import PLAIN, Rendering

HEADER = "cnn-resnet-explorer-dataset"  # the one metadata key; safetensors writes several keys in no fixed order
VERSION = 1
_SPLITS = ("train", "validation", "test")
_FIELDS = {
    "name": str,
    "class_names": list,
    "mean": list,
    "std": list,
    "notes": list,
    "skipped": list,
    "checksums": dict,
}


def save(dataset: Dataset, path: str | Path) -> None:
    """Writes the file whole or not at all; the same dataset gives the same bytes.

    `OSError` where it cannot be written, as on a full disk; the earlier file at `path` is then still there.
    """
    arrays = {
        f"{split}.{field.name}": np.ascontiguousarray(array)
        for split in _SPLITS
        for field in fields(Split)
        if (array := getattr(getattr(dataset, split), field.name)) is not None
    }
    header = {
        "version": VERSION,
        **{key: getattr(dataset, key) for key in ("name", "class_names", "mean", "std", "notes")},
        "skipped": [asdict(skipped) for skipped in dataset.skipped],
        "rendering": dataset.rendering.to_dict(),
        "checksums": {name: zlib.crc32(array.data) for name, array in arrays.items()},
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False)  # ASCII
    write_atomically(Path(path), serialise(arrays, {HEADER: f"{zlib.crc32(text.encode()):08x}{text}"}))


def load(path: str | Path) -> Dataset:
    """The dataset in the file, equal to the one that was saved; its arrays are the caller's own and may be changed.

    Checked: the form of the file and its header, a checksum of every array, and all that a `Dataset` asks for.
    `ValueError` with one sentence otherwise. The 184 MB of 60,000 pictures of 32 × 32 take about a third of a second.
    """
    path = Path(path)
    name = f"`{path.name}`"
    try:
        with path.open("rb"), safe_open(path, framework="np") as file:  # the first for the system's own words
            text = (file.metadata() or {}).get(HEADER)
            arrays = file.get_tensors()
    except FileNotFoundError:
        raise ValueError(f"there is no dataset {name}; prepare the data again.") from None
    except OSError as error:
        raise ValueError(f"the dataset {name} cannot be read: {error.strerror or 'it is not a file'}.") from None
    except SafetensorError:
        raise ValueError(f"the dataset {name} is damaged or cut off; prepare the data again.") from None
    try:
        return _dataset(_checked(text or ""), arrays)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{name} is not a whole dataset of this app, version {VERSION}; prepare the data again."
        ) from error


def _checked(text: str) -> Any:
    """The JSON behind its checksum of eight hexadecimal digits."""
    if zlib.crc32(text[8:].encode()) != int(text[:8], 16):
        raise ValueError("the header does not have its checksum")
    return json.loads(text[8:])


def _dataset(header: Any, arrays: dict[str, np.ndarray]) -> Dataset:
    """Raises ValueError, TypeError, KeyError or OverflowError for everything that `save` would not have written."""
    if not isinstance(header, dict) or header["version"] != VERSION:
        raise ValueError("not a header of ours")
    for key, kind in _FIELDS.items():
        if not isinstance(header[key], kind):
            raise TypeError(f"`{key}` is a {type(header[key]).__name__}")
    if not all(isinstance(text, str) for text in (header["name"], *header["class_names"], *header["notes"])):
        raise TypeError("a name or note is no text")
    if header["checksums"].keys() != arrays.keys():
        raise ValueError("other arrays than were saved")
    for name, array in arrays.items():
        if zlib.crc32(array.data) != header["checksums"][name]:
            raise ValueError(f"`{name}` does not have its checksum")
    red, green, blue = (float(value) for value in header["mean"])
    red_spread, green_spread, blue_spread = (float(value) for value in header["std"])
    numbers = (red, green, blue, red_spread, green_spread, blue_spread)
    if not all(map(math.isfinite, numbers)) or min(numbers[3:]) <= 0:
        raise ValueError("no mean and spread of pixels")
    train, validation, test = (
        Split(arrays[f"{split}.images"], arrays[f"{split}.labels"], arrays.get(f"{split}.masks")) for split in _SPLITS
    )
    return Dataset(
        name=header["name"],
        class_names=tuple(header["class_names"]),
        mean=(red, green, blue),
        std=(red_spread, green_spread, blue_spread),
        train=train,
        validation=validation,
        test=test,
        notes=tuple(header["notes"]),
        skipped=tuple(Skipped(**skipped) for skipped in header["skipped"]),
        rendering=Rendering.read(header["rendering"]) if "rendering" in header else PLAIN,
    )
