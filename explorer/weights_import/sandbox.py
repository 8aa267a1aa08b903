"""Opens an untrusted file in a child process with limits, and takes only numbers and names back.

`python -m explorer.weights_import` is that process: the file is its stdin, the answer its stdout, an unnamed file.
It does not know the name of the file. The answer is the length of a JSON text, the text, and a safetensors file.
"""

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import torch
from safetensors.torch import load as deserialise
from torch import Tensor

from explorer.machine import disk
from explorer.machine.memory import Limits
from explorer.machine.processes import detached
from explorer.weights_import.file_formats import MAX_TENSORS, inspect_file
from explorer.weights_import.pickle_scan import CUT_OFF, INERT, MAX_BYTES, check_bytes
from explorer.weights_import.report import NoFileError, WeightsError

MEMORY = 5 * 2**30  # address space; importing torch takes 2 to 3 GB of it, without using them
WATCHED_MEMORY = 3 * 2**30  # really used, where the system keeps no limit of address space
CPU_SECONDS = 60
WALL_SECONDS = 120  # of a machine whose cores others keep busy
MAX_DEPTH = 4  # of a state dict inside others
MAX_OBJECTS = 100_000
MAX_BESIDE = 50
COMMAND = [sys.executable, "-m", "explorer.weights_import"]
ROOT = Path(__file__).resolve().parents[2]
TOO_MUCH = "cannot be opened within the limits of memory and time that such files get; save the weights alone."
FULL = "cannot be opened: the disk with this machine's temporary files is full; free some space there, and try again."
DISK_FULL = 28  # exit status of a process that had no room for its answer, and so none to say it in
FORMATS = {
    "zip": "a file of `torch.save`",
    "legacy": "a file of `torch.save` before PyTorch 1.6",
    "safetensors": "a safetensors file",
}
KINDS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.int64: "I64"}
KINDS |= {torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
# Nothing that loads weights does any of this; weights_only should not let it come so far.
NEVER = re.compile(
    r"os\.(system|exec|fork|forkpty|posix_spawn|spawn|startfile|kill|remove|rename|rmdir|mkdir|symlink|link|chmod|chown"
    r"|truncate|putenv)|subprocess\.Popen|pty\.spawn|socket\..*|shutil\..*|webbrowser\.open|urllib\.Request"
)


@dataclass(frozen=True, eq=False)
class FileContent:
    """The content of a file: each state dict with its place in the file ("" for the file itself).

    `beside` are the names beside the weights. `is_ours` says that the file is one of this app, which is not read.
    `graph` is what `onnx_layout` says of an ONNX file, whose only state dict fits its spec.
    """

    format: str
    is_ours: bool
    beside: tuple[str, ...]
    state_dicts: tuple[tuple[str, Mapping[str, Tensor]], ...]
    graph: Mapping[str, Any] | None = None


# --- the parent ------------------------------------------------------------------------------------------------------


def load(path: Path, name: str) -> FileContent:
    """The content of the file. Raises WeightsError with a sentence about `name`, which has its quotes already."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NoFileError(f"{name} is no file; choose a file of weights.")
        with path.open("rb") as file, tempfile.TemporaryFile() as answer:
            _run(file, answer, name)
            return _answered(answer, name)
    except FileNotFoundError:
        raise NoFileError(f"there is no file {name}; check the name.") from None
    except OSError as error:
        if error.errno in disk.NO_SPACE:
            raise NoFileError(f"{name} {FULL}") from None
        raise NoFileError(f"{name} cannot be read: {error.strerror or 'it is not a file'}.") from None


def _run(file: BinaryIO, answer: BinaryIO, name: str) -> None:
    process = subprocess.Popen(
        COMMAND,
        stdin=file,
        stdout=answer,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"},
        **detached(),  # so that its own children end with it
    )
    if not limits().wait(process, answer):
        raise WeightsError(f"{name} {TOO_MUCH}")
    if process.returncode == DISK_FULL:
        raise NoFileError(f"{name} {FULL}")
    if process.returncode:
        raise WeightsError(f"{name} {TOO_MUCH}")


def limits() -> Limits:
    """The limits of a process that opens an untrusted file."""
    return Limits(MEMORY, WATCHED_MEMORY, MAX_BYTES + 2**27, CPU_SECONDS, WALL_SECONDS)


def _answered(answer: BinaryIO, name: str) -> FileContent:
    answer.seek(0)
    try:
        facts = json.loads(answer.read(int.from_bytes(answer.read(8), "little")))
        if "refusal" in facts:
            raise WeightsError(f"{name} {facts['refusal']}")
        tensors = deserialise(answer.read())
        state_dicts = [
            (place, {key: tensors[number] for key, number in names.items()}) for place, names in facts["state_dicts"]
        ]
        beside, graph = tuple(facts["beside"]), facts.get("graph")
        return FileContent(facts["format"], facts["own"], beside, tuple(state_dicts), graph)
    except WeightsError:
        raise
    except Exception:  # the child ended well, and its answer cannot be read
        raise WeightsError(f"{name} {TOO_MUCH}") from None


# --- the child -------------------------------------------------------------------------------------------------------


def main() -> None:
    answer = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "wb") as nowhere:
        for stream in (1, 2):  # prints from here on are no part of the answer
            os.dup2(nowhere.fileno(), stream)
    limit_this_process()
    try:
        with open(0, "rb", closefd=False) as file:
            try:
                write(answer, *facts_of(file))
            except WeightsError as error:
                write(answer, {"refusal": str(error)}, [])
            except MemoryError:
                write(answer, {"refusal": TOO_MUCH}, [])
        answer.flush()
    except OSError as error:
        os._exit(DISK_FULL if error.errno in disk.NO_SPACE else 1)  # nothing but the answer is written here
    os._exit(0)  # nothing that the file left behind may run on the way out


def limit_this_process() -> None:
    limits().apply_here()
    sys.addaudithook(refuse)


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook, which cannot be removed and sees every such call: it refuses all that no file of weights needs."""
    writes = event == "open" and len(arguments) > 2 and isinstance(arguments[2], int) and arguments[2] & disk.WRITING
    if writes or NEVER.fullmatch(event):
        raise PermissionError("a file of weights has no use for this")


def facts_of(file: BinaryIO) -> tuple[dict[str, Any], list[Tensor]]:
    """The answer about a file: facts for JSON, in which tensors have numbers, and the tensors in that order.

    Raises WeightsError with a sentence that lacks its subject, the file's name, and MemoryError.
    """
    try:
        return _facts_of(file)
    except (WeightsError, MemoryError):
        raise
    except Exception as error:
        # torch alone has RuntimeError, EOFError, IndexError, UnpicklingError and more for such files. Never its text,
        # which recommends weights_only=False.
        raise WeightsError(TOO_MUCH if "memory" in str(error) else CUT_OFF) from None


def _facts_of(file: BinaryIO) -> tuple[dict[str, Any], list[Tensor]]:
    kind = inspect_file(file)
    facts: dict[str, Any] = {"format": FORMATS.get(kind, ""), "own": kind == "ours", "beside": [], "state_dicts": []}
    if kind == "ours":
        return facts, []
    if kind == "onnx":
        from explorer.weights_import.onnx_layout import graph_of  # here: 0.2 s that other files do not need

        file.seek(0)
        facts["graph"], state = graph_of(file.read())
        facts["state_dicts"] = [("", {key: str(index) for index, key in enumerate(state)})]
        check_tensors([*state.values()])
        return facts, [*state.values()]
    content = content_of(file, kind)
    found = state_dicts(content)
    tensors: list[Tensor] = []
    for place, state in found:
        facts["state_dicts"].append((place, {key: str(len(tensors) + index) for index, key in enumerate(state)}))
        tensors += state.values()
    check_tensors(tensors)
    top = content if isinstance(content, Mapping) and all(place for place, _ in found) else {}
    facts["beside"] = [key for key in top if isinstance(key, str)][:MAX_BESIDE]
    return facts, tensors


def content_of(file: BinaryIO, kind: str) -> Any:
    file.seek(0)
    if kind == "safetensors":
        return deserialise(file.read())
    inert: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (InertObject, ".".join(entry)) for entry in INERT
    ]
    with warnings.catch_warnings(), torch.serialization.safe_globals(inert):
        warnings.simplefilter("ignore")  # the output of a child goes nowhere
        return torch.load(file, map_location="cpu", weights_only=True)


class InertObject:
    """Read in place of an object of another class, whose contents it drops."""

    def __new__(cls, *_: Any) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def state_dicts(content: Any) -> list[tuple[str, dict[str, Tensor]]]:
    """Every state dict in the loaded content, with its place in it ("state_dict", "model/ema", ...).

    One is a mapping of names to tensors, of which one is a convolution, if any mapping has one. Those of optimisers
    are left out. Raises WeightsError where there is none.
    """
    if isinstance(content, Tensor):
        raise WeightsError(f"holds a single tensor of shape {tuple(content.shape)}, and no network.")
    found: list[tuple[str, dict[str, Tensor]]] = []
    waiting = [("", content, 0)]
    seen: set[int] = set()
    while waiting:
        place, mapping, depth = waiting.pop(0)
        if not isinstance(mapping, Mapping) or id(mapping) in seen or depth > MAX_DEPTH:
            continue
        seen.add(id(mapping))
        if len(mapping) + len(waiting) > MAX_OBJECTS:
            raise WeightsError(f"holds {len(mapping):,} entries, which no network has; save the weights alone.")
        tensors = {key: value for key, value in mapping.items() if isinstance(key, str) and isinstance(value, Tensor)}
        if any(tensor.dim() for tensor in tensors.values()):
            found.append((place, tensors))
        for key, value in mapping.items():
            if isinstance(key, str) and isinstance(value, Mapping) and not key.startswith("optim"):
                waiting.append((f"{place}/{key}" if place else key, value, depth + 1))
    networks = [entry for entry in found if any(tensor.dim() == 4 for tensor in entry[1].values())]
    if not found:
        raise WeightsError("holds no weights under names; save them with `torch.save(model.state_dict(), ...)`.")
    return networks or found


def check_tensors(tensors: list[Tensor]) -> None:
    """Raises WeightsError for too many tensors, too large ones, and those that are no plain array of numbers."""
    if len(tensors) > MAX_TENSORS:
        raise WeightsError(f"holds {len(tensors):,} tensors; {MAX_TENSORS:,} is the most.")
    in_float32 = sum(tensor.numel() * max(4, tensor.element_size()) for tensor in tensors)
    check_bytes(in_float32, "declares tensors of")
    for tensor in tensors:
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise WeightsError("holds a sparse or quantised tensor, or one without values; save ordinary weights.")
        if tensor.dtype not in KINDS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise WeightsError(f"holds {kind} values, which are no weights of a network that this app can show.")


def write(answer: BinaryIO, facts: dict[str, Any], tensors: list[Tensor]) -> None:
    """A safetensors file is written tensor by tensor here: its own library would hold all of it twice in memory."""
    text = json.dumps(facts).encode()
    answer.write(len(text).to_bytes(8, "little") + text)
    header, end = {}, 0
    for number, tensor in enumerate(tensors):
        size = tensor.numel() * tensor.element_size()
        header[str(number)] = {
            "dtype": KINDS[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + size],
        }
        end += size
    coded = json.dumps(header).encode()
    coded += b" " * (-len(coded) % 8)
    answer.write(len(coded).to_bytes(8, "little") + coded)
    for tensor in tensors:
        answer.write(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
