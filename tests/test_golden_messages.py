"""The messages of the viewer are those in `viewer/golden/`: an accidental change of what the browser gets is seen.

`UPDATE_GOLDEN=1 pytest tests/test_golden_messages.py` writes them anew. A message is kept as its header and, of each
array, where it lies, its type and shape, its mean and some of its values. Other processors round differently, so
numbers are compared with a tolerance and everything else exactly. `viewer/message.test.mjs` decodes `alone.bin` in
JavaScript and finds what Python found.
"""

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from driving.messages import UnpackedMessage, unpack
from explorer import checkpoints, figures
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.presets import cifar
from explorer.ui.api.explain import explain
from explorer.ui.api.explore_session import ExploreSession
from explorer.ui.services.inference import InferenceCache
from explorer.ui.services.input_images import UploadStore
from explorer.ui.services.offered_networks import OfferedNetworks

GOLDEN = Path(__file__).parent / "viewer" / "golden"
UPDATE = "UPDATE_GOLDEN" in os.environ
MAX_BYTES = 200_000  # of all files
MAX_BINARY_BYTES = 60_000
SAMPLES = 5  # values of an array that are kept, from its first to its last
TWINS = ("shapes-plain-8", "shapes-resnet-8")
PHOTO = np.add.outer(np.arange(40), np.arange(60))[..., None] * np.array([2, 1, 0]) % 256  # two gradients
CASES: dict[str, dict[str, Any]] = {
    "twins": {"networks": TWINS, "picture": "sample-6-6"},
    "alone": {"networks": TWINS[1:], "picture": "sample-6-6", "layers": "main"},
    "uploaded": {"networks": TWINS, "name": "photo.png", "target": 3, "layers": "all"},
    "layers": {"networks": TWINS, "picture": "sample-3-41", "layer": "stages.1.0", "only": "layers"},
    "layer": {
        "networks": TWINS,
        "picture": "sample-3-41",
        "layer": "stages.1.0.shortcut",
        "layers": "main",
        "only": "layer",
    },
    "reduced": {
        "networks": ("large",),
        "picture": "sample-1-6",
        "layer": "stages.0.0",
        "layers": "main",
        "channel": 3,
    },
}


class Array(NamedTuple):
    """An array that the header of a message points to."""

    path: str
    start: int
    dtype: str
    shape: tuple[int, ...]

    def values(self, body: bytes) -> np.ndarray:
        found = np.frombuffer(body, self.dtype, int(np.prod(self.shape)), self.start)
        return found.reshape(self.shape)


def arrays_of(header: dict[str, Any]) -> Iterator[Array]:
    for name, start in header.get("palettes", {}).items():
        if name == "signed":  # that of the feature maps
            continue
        yield Array(f"palettes.{name}", start, "uint8", (256, 3))
    for index, shown in enumerate(header.get("predictions", {}).get("pictures", ())):
        start, *size = shown["pixels"]
        yield Array(f"predictions.pictures.{index}", start, "uint8", (*size, 3))
    for index, network in enumerate(header["networks"]):
        where = f"networks.{index}"
        if "input" in network:
            start, *size = network["input"]
            yield Array(f"{where}.input", start, "uint8", (*size, 3))
        for place, cell in enumerate(network.get("cells", ())):
            for kind in ("cam", "map", "signed") if cell else ():
                start, *size = cell[kind]
                yield Array(f"{where}.cells.{place}.{kind}", start, "uint8", tuple(size))
        for name, layer in network["layers"].items():
            start, *size = layer["maps"]
            yield Array(f"{where}.layers.{name}.maps", start, "uint8", (layer["channels"], *size))
            yield Array(f"{where}.layers.{name}.stats", layer["stats"], "float32", (layer["channels"], 4))
            if chosen := layer.get("chosen"):
                start, *size = chosen["map"]
                yield Array(f"{where}.layers.{name}.chosen", start, "uint8", tuple(size))


def described(message: UnpackedMessage) -> dict[str, Any]:
    """What is kept of a message."""
    header, body = message
    arrays = {}
    for array in arrays_of(header):
        values = array.values(body)
        flat = values.ravel()
        chosen = [number * (flat.size - 1) // (SAMPLES - 1) for number in range(SAMPLES)]
        kept: dict[str, Any] = {"start": array.start, "dtype": array.dtype, "shape": list(array.shape)}
        kept |= {"mean": float(f"{values.mean(dtype=float):.6g}"), "values": [flat[index].item() for index in chosen]}
        if array.path.startswith("palettes.") or array.path == "predictions.pictures.0":  # no network computed these
            kept["sha256"] = hashlib.sha256(values.tobytes()).hexdigest()
        arrays[array.path] = kept
    sheets = {number: _pixels_digest(sheet) for number, sheet in header.get("sheets", {}).items()}
    return {"header": header | ({"sheets": sheets} if "sheets" in header else {}), "arrays": arrays}


def _pixels_digest(sheet: str) -> str:
    """Of a picture behind a data address: two versions of a library write the same pixels in other bytes."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet.partition(",")[2]))))
    return f"{pixels.shape} {hashlib.sha256(pixels.tobytes()).hexdigest()}"


@cache
def session() -> ExploreSession:
    own = ExploreSession(InferenceCache(), UploadStore())
    networks = {name: checkpoints.load_pretrained(name) for name in TWINS} | {"large": _large()}
    twins = dict(zip(TWINS, TWINS[::-1], strict=True))
    own.offered = OfferedNetworks({name: partial(networks.__getitem__, name) for name in networks}, {}, "light", twins)
    return own


def _large() -> Checkpoint:
    """A network whose feature maps are reduced, with the same weights wherever it is built."""
    network = build(cifar(8, size=128, width=32), seed=0)
    random = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                scale = np.sqrt(2 / parameter[0].numel())
                parameter.copy_(torch.from_numpy(scale * random.standard_normal(parameter.shape).astype(np.float32)))
    return Checkpoint(network.freeze(), shapes.CLASS_NAMES, (0.5,) * 3, (0.25,) * 3, "photographs")


@cache
def message(case: str) -> bytes:
    asked = CASES[case] | {"networks": [*CASES[case]["networks"]]}
    return explain(session(), asked, figures.png(PHOTO.astype(np.uint8)) if "name" in asked else b"")


def text_of(value: Any, indent: int = 0) -> str:
    """JSON in lines of at most 120 letters where that is possible."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= 118 or not isinstance(value, dict | list) or not value:
        return flat
    parts = (
        [f"{json.dumps(name)}: {text_of(part, indent + 1)}" for name, part in value.items()]
        if isinstance(value, dict)
        else [text_of(part, indent + 1) for part in value]
    )
    first, last = ("{", "}") if isinstance(value, dict) else ("[", "]")
    lines = ",\n".join(" " * (indent + 1) + part for part in parts)
    return f"{first}\n{lines}\n{' ' * indent}{last}"


def differences(now: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Where two descriptions differ by more than another processor may make them."""
    if isinstance(now, dict) and isinstance(kept, dict):
        if [*now] != [*kept]:
            yield f"{path}: the names are {[*now]}, were {[*kept]}"
        for name in now.keys() & kept.keys():
            yield from differences(now[name], kept[name], f"{path}/{name}")
    elif isinstance(now, list) and isinstance(kept, list):
        if len(now) != len(kept):
            yield f"{path}: {len(now)} entries, were {len(kept)}"
        for index, (one, other) in enumerate(zip(now, kept, strict=False)):
            yield from differences(one, other, f"{path}/{index}")
    elif not _is_close(now, kept, 2 if _is_sample(path) else 0):
        yield f"{path}: {now!r}, was {kept!r}"


def _is_sample(path: str) -> bool:
    """Of an array: there a step of a colour scale may be rounded otherwise."""
    return path.startswith("/arrays/") and ".stats/" not in path and bool(re.search(r"/(mean|values/\d+)$", path))


def _is_close(now: Any, kept: Any, steps: float) -> bool:
    if isinstance(now, float) and isinstance(kept, float) or steps:
        return abs(now - kept) <= max(steps, 1e-3 * abs(kept), 1e-6)
    if isinstance(now, str) and isinstance(kept, str):
        number = r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
        if re.split(number, now) != re.split(number, kept):
            return False
        pairs = zip(re.findall(number, now), re.findall(number, kept), strict=True)
        # Numbers in a text have three digits.
        return all(one == other or ("." in one and abs(float(one) / float(other) - 1) < 0.02) for one, other in pairs)
    return type(now) is type(kept) and bool(now == kept)


@pytest.mark.parametrize("case", CASES)
def test_a_message_is_the_golden_one(case: str) -> None:
    file = GOLDEN / f"{case}.json"
    now = json.loads(json.dumps(described(unpack(message(case)))))
    if UPDATE:
        file.write_text(text_of(now) + "\n")
        if case == "alone":
            file.with_suffix(".bin").write_bytes(message(case))
    assert not [*differences(now, json.loads(file.read_text()))][:20]


@pytest.mark.parametrize("case", CASES)
def test_every_byte_of_a_message_belongs_to_one_array(case: str) -> None:
    header, body = unpack(message(case))
    end = 0
    for array in sorted(arrays_of(header), key=lambda array: array.start):
        assert array.start == end, f"{array.path} begins at {array.start}, and what is before it ends at {end}"
        end = array.start + array.values(body).nbytes
        end += -end % 4
    assert end == len(body)


def test_the_binary_message_is_the_one_that_is_described() -> None:
    content = (GOLDEN / "alone.bin").read_bytes()
    assert json.loads(json.dumps(described(unpack(content)))) == json.loads((GOLDEN / "alone.json").read_text())
    assert len(content) <= MAX_BINARY_BYTES


def test_the_golden_files_are_small_and_show_what_they_are_for() -> None:
    files = [file for case in CASES for file in GOLDEN.glob(f"{case}.*")]
    assert len(files) == len(CASES) + 1
    assert sum(file.stat().st_size for file in files) <= MAX_BYTES
    headers = {case: json.loads((GOLDEN / f"{case}.json").read_text())["header"] for case in CASES}
    assert [len(headers[case]["networks"]) for case in ("twins", "alone", "uploaded")] == [2, 1, 2]
    assert headers["uploaded"]["picture"].startswith("upload-") and not headers["uploaded"]["sheets"]
    assert headers["layers"]["every"] and not headers["layer"]["every"] and "columns" not in headers["layers"]
    (plain, residual) = headers["layer"]["networks"]
    assert not plain["layers"] and [*residual["layers"]] == ["stages.1.0.shortcut"]
    (large,) = headers["reduced"]["networks"][0]["layers"].values()
    assert large["reduced"] and large["chosen"]["channel"] == 3


@pytest.mark.parametrize(
    ("now", "kept", "same"),
    [
        (1.0, 1.0009, True),
        (1.0, 1.002, False),
        (1, 2, False),
        (1, 1.0, False),
        (None, 0.0, False),
        ("size 0.123, 5 of 16", "size 0.124, 5 of 16", True),
        ("size 0.123, 5 of 16", "size 0.123, 6 of 16", False),
        ("size 0.123", "Size 0.123", False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ([1], [1, 2], False),
        ({"arrays": {"x": {"values": [1.0]}}}, {"arrays": {"x": {"values": [3.0]}}}, True),
        ({"arrays": {"x": {"values": [1.0]}}}, {"arrays": {"x": {"values": [4.0]}}}, False),
        ({"arrays": {"x": {"start": 4}}}, {"arrays": {"x": {"start": 8}}}, False),
    ],
)
def test_a_difference_is_found_and_rounding_is_none(now: Any, kept: Any, same: bool) -> None:
    assert (not [*differences(now, kept)]) == same
