"""The app's own file format: one `.safetensors` file for each network, with all facts about it in the header."""

import hashlib
import json
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from reprlib import repr as shown  # a value in a sentence: cut where it is long
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise

from explorer import installation
from explorer.architectures import ArchitectureSpec, GraphSpec, Network, describe, spec_from_dict
from explorer.architectures.spec import MAXIMUM
from explorer.files import write_atomically
from explorer.images import PLAIN, Rendering

HEADER = "cnn-resnet-explorer"  # the one metadata key; safetensors writes several keys in no fixed order
VERSION = 1
FIELDS: dict[str, Any] = {  # of the header, as JSON has them
    "spec": dict,
    "class_names": list,
    "mean": list,
    "std": list,
    "data": str,
    "seed": int | None,
    "config": dict,
    "record": dict,
    "figures": dict,
    "resize_shorter_to": int | None,
    "rendering": dict | None,
}
MEASURED = ("train", "validation", "test", "torchvision")  # figures that pages show
SMALLEST_STD = 1e-6  # of a channel; pixels over a much smaller one are too large for a number
MAX_HEADER = 2**26  # bytes; the longest that safetensors itself takes has 100 MB
PRETRAINED = installation.shipped("pretrained")


class CheckpointError(ValueError):
    """A file is no intact checkpoint of this app; the message is one sentence for the user."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network and the facts about it.

    `network` is frozen (evaluation mode, no parameter requires a gradient). `mean` and `std` normalise its input: R, G,
    B, or grey, of pixels on the scale 0..1. `data` names the training data, `config` and `record` are of the training
    (JSON). `metrics` are measured results, each with its `n` (JSON, `figures` in the file). `resize_shorter_to` is an
    argument of `images.to_input`. `rendering` is that of the images that it learned from.
    """

    network: Network
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    data: str
    seed: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    resize_shorter_to: int | None = None
    rendering: Rendering = PLAIN

    def __post_init__(self) -> None:
        if len(self.class_names) != self.spec.classes:
            raise ValueError(
                f"`class_names` must name the {self.spec.classes} classes of the network, received "
                f"{len(self.class_names)}."
            )
        if not all(isinstance(name, str) and name for name in self.class_names):
            raise ValueError("`class_names` must be texts that are not empty.")
        channels = self.spec.input_shape[0]
        for name, values in (("mean", self.mean), ("std", self.std)):
            finite = all(isinstance(value, int | float) and abs(value) <= 1e6 for value in values)
            if len(values) != channels or channels not in (1, 3) or not finite:
                count = "three finite numbers" if channels != 1 else "one finite number"
                raise ValueError(f"`{name}` must be {count}, received {shown(values)}.")
        if min(self.std) < SMALLEST_STD:
            raise ValueError(f"`std` must be {SMALLEST_STD:g} or more, received {shown(self.std)}.")
        smallest, shorter = max(self.spec.input_shape[1:]), self.resize_shorter_to
        if shorter is not None and not (isinstance(shorter, int) and smallest <= shorter <= MAXIMUM["pixels"]):
            raise ValueError(
                f"`resize_shorter_to` must be from {smallest} to {MAXIMUM['pixels']} pixels, received {shown(shorter)}."
            )

    @property
    def spec(self) -> ArchitectureSpec:
        return self.network.spec


def digest(checkpoint: Checkpoint) -> str:
    """64 hexadecimal digits of all that decides an output of the network: its architecture, the names, types and bytes
    of its weights, the normalisation and size of its input, and the names of its classes. Files and facts do not count.
    """
    told: list[Any] = [checkpoint.spec.fingerprint, checkpoint.class_names, checkpoint.mean, checkpoint.std]
    told += [checkpoint.resize_shorter_to]
    if checkpoint.rendering != PLAIN:  # left out, so that older networks have the digest that they had
        told += [checkpoint.rendering.to_dict()]
    found = hashlib.sha256(json.dumps(told).encode())
    for name, tensor in checkpoint.network.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def save(checkpoint: Checkpoint, path: str | Path) -> str:
    """Writes the file, whole or not at all, and returns its sha256."""
    header = {entry.name: getattr(checkpoint, entry.name) for entry in fields(checkpoint) if entry.name != "network"}
    header |= {"version": VERSION, "spec": checkpoint.spec.to_dict(), "figures": header.pop("metrics")}
    for name, usual in (("resize_shorter_to", None), ("rendering", PLAIN)):
        if header[name] == usual:  # left out, so that older files are saved with the same bytes
            del header[name]
    if "rendering" in header:
        header["rendering"] = checkpoint.rendering.to_dict()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.network.state_dict().items()}
    content = serialise(tensors, {HEADER: json.dumps(header, sort_keys=True, allow_nan=False)})
    write_atomically(Path(path), content)
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Header:
    """The fields of a `Checkpoint` that a list of files needs, without the weights."""

    spec: ArchitectureSpec
    class_names: tuple[str, ...]
    data: str
    metrics: dict[str, Any]
    record: dict[str, Any]
    seed: int | None


def read_header(path: str | Path) -> Header:
    """The header alone, in milliseconds, for lists of many files. Raises CheckpointError with one sentence."""
    path = Path(path)
    name = f"`{path.name}`"
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER:
                raise CheckpointError(f"{name} is damaged or not a safetensors file; save or download it again.")
            header = _header(length.to_bytes(8, "little") + file.read(length), name)
        return Header(
            spec_from_dict(header["spec"]),
            tuple(header["class_names"]),
            header["data"],
            header["figures"],
            header["record"],
            header.get("seed"),
        )
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror or 'it is not a file'}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{name} does not describe a network of this app; save or download it again.") from None


def load(path: str | Path, sha256: str | None = None) -> Checkpoint:
    """The checkpoint in the file, its network frozen.

    Checked: the pinned `sha256`, where one is given; that the header describes a network that can be built; that
    every tensor of it is there with its shape and type, and no other; that all values are finite. Raises
    CheckpointError with one sentence otherwise.
    """
    path = Path(path)
    name = f"`{path.name}`"
    # Read once: the hashed bytes are the used ones, and no later change of the file can reach a network in memory.
    content = _content(path, sha256)
    try:
        state = deserialise(content)
        header = _header(content, name)
        spec = spec_from_dict(header["spec"])
        if len(state) < spec.depth:  # before it is built: 7200 blocks would take 14 seconds even without memory
            raise CheckpointError(
                f"{name} does not fit its own description: it holds {len(state)} tensors, and the network has "
                f"{spec.depth} layers with weights."
            )
        if isinstance(spec, GraphSpec):
            describe(spec)  # its shapes and sizes, without memory
        network = Network.without_values(spec)
        expected = network.state_dict()
        _check_names(set(expected), set(state), name)
        state = {key: state[key] for key in expected}
    except SafetensorError:
        raise CheckpointError(
            f"{name} is damaged, cut off, or not a safetensors file; save or download it again."
        ) from None
    except CheckpointError:
        raise
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{name} does not describe a network of this app: {error}") from None
    for key, tensor in state.items():
        if tensor.shape != expected[key].shape or tensor.dtype != expected[key].dtype:
            raise CheckpointError(
                f"{name} does not fit its own description: `{key}` is {tensor.dtype} {tuple(tensor.shape)}, expected "
                f"{expected[key].dtype} {tuple(expected[key].shape)}."
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"{name} holds values that are not finite, first in `{key}`; train it again.")
        if key.endswith("running_var") and tensor.min() < 0:
            raise CheckpointError(f"{name} holds a negative variance in `{key}`; train it again.")
    network.load_state_dict(state, assign=True)
    if isinstance(spec, GraphSpec):
        _check_pass(network, name)
    try:
        facts: dict[str, Any] = {
            key: tuple(header[key]) if kind is list else header.get(key)
            for key, kind in FIELDS.items()
            if key != "spec"
        }
        facts["rendering"] = Rendering.read(facts["rendering"]) if facts["rendering"] else PLAIN
        checkpoint = Checkpoint(network=network.freeze(), metrics=facts.pop("figures"), **facts)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the header of {name} is wrong: its rendering is incomplete.") from error
    except ValueError as error:
        raise CheckpointError(f"the header of {name} is wrong: {error}") from None
    try:
        json.dumps(header, allow_nan=False)  # else it could not be saved again
    except ValueError:
        raise CheckpointError(
            f"the header of {name} holds a number that is none, such as NaN; save or download it again."
        ) from None
    return checkpoint


def _check_pass(network: Network, name: str) -> None:
    """Raises CheckpointError where an operation cannot compute with its attributes. `describe` knows the shapes that
    most operations give without computing them, so only a pass tells."""
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, *network.spec.input_shape))
    except (ArithmeticError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{name} does not describe a network of this app: an operation cannot compute; upload the ONNX file again."
        ) from error


def _header(content: bytes, name: str) -> dict[str, Any]:
    """Our part of the header: safetensors files begin with its length, 8 bytes, little-endian, then the JSON."""
    length = int.from_bytes(content[:8], "little")
    whole = json.loads(content[8 : 8 + length])
    metadata = whole.get("__metadata__") if isinstance(whole, dict) else None
    text = metadata.get(HEADER) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(
            f"{name} is a safetensors file, but not one that this app saved; it has no header of ours."
        )
    try:
        header = json.loads(text)
        json.dumps(header, ensure_ascii=False).encode()  # half a character, which JSON can spell, has no bytes
    except (ValueError, RecursionError):
        raise CheckpointError(f"the header of {name} is damaged; save or download it again.") from None
    version = header.get("version") if isinstance(header, dict) else None
    if version != VERSION or isinstance(version, bool):
        raise CheckpointError(
            f"{name} has format version {version!r}, this app reads version {VERSION}; use the app that saved it."
        )
    for key, kind in FIELDS.items():
        if not isinstance(header.get(key), kind) or isinstance(header.get(key), bool):
            raise CheckpointError(f"the header of {name} is incomplete: `{key}` is missing or of the wrong type.")
    for figure in MEASURED:
        if figure in header["figures"] and not _is_measured(figure, header["figures"][figure]):
            raise CheckpointError(f"the header of {name} is wrong: its figure {figure!r} is no accuracy with its n.")
    return header


def _is_measured(figure: str, value: Any) -> bool:
    """Whether the value is an accuracy, 0..1, with its number of pictures, or torchvision's with a note on it."""
    if not isinstance(value, dict):
        return False
    accuracy, n = value.get("accuracy"), value.get("n")
    has_n = isinstance(n, int) and not isinstance(n, bool) and n > 0
    has_source = isinstance(value.get("note"), str) if figure == "torchvision" else has_n
    return isinstance(accuracy, int | float) and 0 <= accuracy <= 1 and has_source


def _content(path: Path, sha256: str | None) -> bytes:
    """The file's bytes, checked against `sha256` where one is given."""
    name = f"`{path.name}`"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {name}; check the name.") from None
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror or 'it is not a file'}.") from None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(f"{name} is not the file that was published: its sha256 differs; download it again.")
    return content


def _check_names(expected: set[str], found: set[str], name: str) -> None:
    missing, extra = sorted(expected - found), sorted(found - expected)
    if missing or extra:
        raise CheckpointError(
            f"{name} does not fit its own description: "
            + (f"`{missing[0]}` and {len(missing) - 1} more are missing" if missing else f"`{extra[0]}` is unknown")
            + "."
        )


def pinned(folder: Path = PRETRAINED, kind: str = "safetensors") -> dict[str, str]:
    """Name -> sha256 of the checkpoints that come with the app, as `SHA256SUMS` has them; with `kind` "replay" of the
    recorded trainings, with "npz" of the stored results."""
    sums = folder / "SHA256SUMS"
    if not sums.exists():
        return {}
    pins = {}
    for line in filter(str.strip, sums.read_text(encoding="utf-8", errors="replace").splitlines()):
        match = re.fullmatch(r"([0-9a-f]{64})  ([\w.-]+)\.(safetensors|replay|npz)", line)
        if not match:
            raise CheckpointError(
                "`SHA256SUMS` is damaged; restore it, or run `python -m explorer pretrained --listing`."
            )
        if match[3] == kind:
            pins[match[2]] = match[1]
    return pins


def load_pretrained(name: str, folder: Path = PRETRAINED) -> Checkpoint:
    """The checkpoint `name` that comes with the app, checked against its pinned sha256.

    Raises CheckpointError that lists the names where there is none of this one.
    """
    return load(folder / f"{name}.safetensors", _pin(name, folder))


def check_pretrained(name: str, folder: Path = PRETRAINED) -> Header:
    """The header of that checkpoint, whose content has the pinned sha256, so it loads. It reads no weights into a
    network, which would take ten times as long. Raises CheckpointError as `load_pretrained` does.
    """
    path = folder / f"{name}.safetensors"
    _content(path, _pin(name, folder))
    return read_header(path)


def _pin(name: str, folder: Path) -> str:
    pins = pinned(folder)
    if name not in pins:
        raise CheckpointError(f"there is no pretrained network {name!r}; choose one of {', '.join(sorted(pins))}.")
    return pins[name]
