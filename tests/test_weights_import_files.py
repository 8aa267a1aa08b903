"""Files that attack, are damaged, or are something else: each is answered with one sentence, and nothing else happens.

The corpus is made here, of bytes and without ever running what is in it. One child of the kind that the app starts
opens all of it, under the app's own limits, because the import of torch takes longer than all of the files together.

One file for the corpus: a long list of small cases, each a few lines.
"""

import errno
import gzip
import hashlib
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as serialise

from explorer import requirements
from explorer.checkpoints import HEADER
from explorer.machine.system import is_portable
from explorer.weights_import import WeightsError, read, sandbox
from explorer.weights_import.file_formats import MAX_TENSORS, inspect_file
from explorer.weights_import.pickle_scan import MAX_BYTES, MAX_OPCODES
from explorer.weights_import.report import WAY_OUT

ROOT = Path(__file__).parents[1]
SECONDS = 40  # of the processor's time, for the worst of them
MEMORY = 2**31  # bytes that the child may really have used; importing torch takes 0.4 GB

DRIVER = """
import hashlib, json, os, sys, time
from pathlib import Path, PurePosixPath
from explorer.weights_import import sandbox
from explorer.weights_import.report import WeightsError

answer = os.fdopen(os.dup(1), "w")
sandbox.CPU_SECONDS = 600  # for all of them together
files = sorted(Path(sys.argv[1]).iterdir())
sandbox.limit_this_process()
for path in files:
    start = time.process_time()
    try:
        with path.open("rb") as file:
            facts, tensors = sandbox.facts_of(file)
        digest = hashlib.sha256(json.dumps(facts["state_dicts"]).encode())
        for tensor in tensors:
            digest.update(tensor.contiguous().numpy().tobytes())
        outcome = {"digest": digest.hexdigest()}
    except WeightsError as error:
        outcome = {"refusal": str(error)}
    except MemoryError:
        outcome = {"refusal": sandbox.TOO_MUCH}
    # Not `ru_maxrss`: that is inherited from whoever started this process, and may be the tests' own.
    status = Path("/proc/self/status").read_text()
    memory = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    outcome |= {"file": path.name, "seconds": time.process_time() - start, "memory": memory}
    print(json.dumps(outcome), file=answer, flush=True)
"""


def opened(folder: Path) -> dict[str, dict[str, Any]]:
    """What the child says of each file in `folder`."""
    before = snapshot(folder.parent)
    ran = subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=580
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert snapshot(folder.parent) == before, "something was executed, or written"
    outcomes = {outcome["file"]: outcome for outcome in map(json.loads, ran.stdout.splitlines())}
    assert set(outcomes) == {path.name for path in folder.iterdir()}
    for name, outcome in outcomes.items():
        assert outcome["seconds"] < SECONDS and outcome["memory"] < MEMORY, name
    return outcomes


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.lstat().st_mtime_ns for path in folder.rglob("*")}


# --- pickles made by hand ---------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    size = max(1, (value.bit_length() + 8) // 8)
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def name(dotted: str) -> bytes:
    module, _, attribute = dotted.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def numbers(values: Any) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def call(dotted: str, *arguments: bytes) -> bytes:
    return name(dotted) + b"(" + b"".join(arguments) + b"tR"


def storage(kind: str = "FloatStorage", key: str = "0", items: int = 4, legacy: bool = False) -> bytes:
    tail = b"N" if legacy else b""
    return b"(" + text("storage") + name(f"torch.{kind}") + text(key) + text("cpu") + number(items) + tail + b"tQ"


def tensor(place: bytes = b"", offset: int = 0, size: Any = (4,), strides: Any = (1,)) -> bytes:
    parts = (
        place or storage(),
        number(offset),
        numbers(size),
        numbers(strides),
        b"\x89",
        call("collections.OrderedDict"),
    )
    return call("torch._utils._rebuild_tensor_v2", *parts)


def mapping(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"}(" + b"".join(key + value for key, value in pairs) + b"u"


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def archive(body: bytes, data: dict[str, bytes] | None = None, **options: Any) -> bytes:
    """A zip as `torch.save` writes it, with this `data.pkl`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as written:
        written.writestr("archive/data.pkl", pickled(body))
        for key, content in ({"0": bytes(16)} if data is None else data).items():
            written.writestr(f"archive/data/{key}", content)
        written.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def legacy(body: bytes, keys: tuple[str, ...] = (), data: bytes = b"") -> bytes:
    """The same before PyTorch 1.6: three pickles of the format, the object, the keys, and the storages."""
    start = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    sizes = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
    return start + sizes + pickled(body) + pickle.dumps(list(keys), 2) + data


def archive_of(entries: dict[str, bytes], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as written:
        for entry, content in entries.items():
            written.writestr(entry, content)
    return buffer.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


GADGETS = """os.system posix.system nt.system os.popen os.execv subprocess.Popen subprocess.check_output builtins.eval
builtins.exec builtins.getattr builtins.__import__ builtins.open __builtin__.eval importlib.import_module runpy.run_path
pty.spawn socket.create_connection shutil.rmtree webbrowser.open operator.attrgetter functools.partial types.CodeType
marshal.loads pickle.loads codecs.decode timeit.timeit code.interact torch.load torch.hub.load torch.jit.load
torch.utils.cpp_extension.load torch.storage._load_from_bytes numpy.load numpy.fromfile pathlib.os.system
argparse.ArgumentParser collections.defaultdict datetime.datetime __main__.Net models.resnet.ResNet sympy.sympify
torch._utils._rebuild_wrapper_subclass torch._tensor._rebuild_from_type_v2 builtins.print joblib.load""".split()

NAMED = "names `.*`, which weights have no use for"
CUT = "damaged or cut off"
LARGE = "declares (tensors|contents) of .* GB"
OBJECTS = "objects of a program|pickle protocol"
WAY = "in a way that `torch.save` does not"


def attacks(canary: Path) -> Iterator[tuple[str, bytes, str]]:
    """Pickles that would run something: `canary` would be there."""
    command = text(f"touch {canary}")
    for gadget in GADGETS:
        body = call(gadget, command)
        yield f"{gadget} in a zip", archive(mapping((text("a"), body))), NAMED
        yield f"{gadget} in a legacy file", legacy(mapping((text("a"), body))), NAMED
    body = call("os.system", command)
    bad = mapping((text("conv1.weight"), tensor()), (text("a"), body))
    yield "beside a tensor", archive(bad), NAMED
    yield "bare pickle", pickled(body), "names|none of `torch.save`"
    yield "bare pickle of a harmless dict", pickled(mapping((text("a"), number(1)))), "none of `torch.save`"
    yield "in the magic number", pickled(body) + legacy(b"N"), NAMED
    yield "in the version", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickled(body), f"{NAMED}|{CUT}"
    yield "in the keys", legacy(b"N")[:-4] + pickled(body), f"{NAMED}|{CUT}|no weights"
    yield "as a persistent id", archive(b"(" + body + b"tQ"), f"{NAMED}|{WAY}"
    yield "as a key", archive(mapping((body, tensor()))), NAMED
    yield (
        "as a size",
        archive(call("torch._utils._rebuild_tensor_v2", storage(), number(0), body, numbers((1,)))),
        "names|in a",
    )
    yield "INST", archive(b"(" + command + b"ios\nsystem\n"), OBJECTS
    yield "OBJ", archive(b"(" + name("os.system") + command + b"o"), f"{OBJECTS}|{NAMED}"
    yield "STACK_GLOBAL", archive(text("os") + text("system") + b"\x93(" + command + b"tR"), OBJECTS
    yield "NEWOBJ", archive(name("os.system") + b"(" + command + b"t\x81"), NAMED
    yield "NEWOBJ_EX", archive(name("os.system") + b"(" + command + b"t}\x92"), f"{OBJECTS}|{NAMED}"
    yield "EXT1", archive(b"\x82\x01"), OBJECTS
    yield "PERSID", archive(b"Pos.system\n"), OBJECTS
    yield (
        "BUILD",
        archive(name("torch.Size") + mapping((text("__reduce__"), command)) + b"b"),
        f"{CUT}|no weights|names",
    )
    yield "name with dots", archive(b"ctorch\nserialization.os.system\n(" + command + b"tR"), NAMED
    yield "name with a newline in it", archive(b"cos\nsystem\r\n(" + command + b"tR"), NAMED
    yield "empty name", archive(b"c\n\n(" + command + b"tR"), NAMED
    yield "a whole module", archive(name("torch.nn.modules.linear.Linear") + b")\x81}b"), "whole pickled model"
    yield "a real whole module", saved(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))), "whole pickled model"
    yield "protocol 4", saved({"a": torch.ones(2)}, pickle_protocol=4), "pickle protocol 4"
    yield (
        "protocol 5, legacy",
        saved([1], pickle_protocol=5, _use_new_zipfile_serialization=False),
        "pickle protocol|none",
    )
    for protocol in (0, 1):
        yield f"protocol {protocol}", pickle.dumps({"a": 1}, protocol), "no weight file|text"


def floods() -> Iterator[tuple[str, bytes, str]]:
    """What would fill the memory, or never end."""
    bomb = b"N" + b"".join(b"q" + bytes([level]) + b"h" + bytes([level]) + b"\x86" for level in range(200))
    yield "a tuple of two halves, 200 times", archive(bomb), "no weights"
    yield "100,000 lists in each other", archive(b"]" * 100_000 + b"a" * 99_999), f"{CUT}|no weights|limits"
    yield "100,000 tuples in each other", archive(b")" + b"\x85" * 100_000), f"{CUT}|no weights|limits"
    yield (
        "100,000 dicts in each other",
        archive(b"}" + (b"X\x01\0\0\0a}" * 100_000) + b"s" * 100_000),
        f"{CUT}|no weights",
    )
    yield (
        "a million keys",
        archive(b"}(" + b"".join(b"M" + struct.pack("<H", i % 65536) + b"N" for i in range(MAX_OPCODES // 2)) + b"u"),
        "millions of small objects",
    )
    yield (
        "many tensors",
        archive(
            mapping(*((text(str(i)), tensor(b"h\0" if i else storage() + b"q\0")) for i in range(MAX_TENSORS + 1)))
        ),
        "tensors; 20,000 is the most|small objects",
    )
    yield "a text of 4 GB", archive(b"X\xff\xff\xff\xff" + b"a" * 50), CUT
    yield "a text of 16 EB", archive(b"\x8d" + b"\xff" * 8 + b"a"), f"{CUT}|{OBJECTS}"
    yield "a number of 4 GB", archive(b"\x8b\xff\xff\xff\x7f"), f"{CUT}|{OBJECTS}"
    yield "a number of 255 bytes", archive(b"\x8a\xff" + b"\x7f" * 255), "no weights"
    yield "memo beyond", archive(b"h\x09"), CUT
    yield "an empty stack", archive(b"R"), CUT
    yield "no mark", archive(b"t"), CUT
    for form, made in (("zip", archive), ("legacy", legacy)):
        flag = form == "legacy"
        huge = mapping((text("a"), tensor(storage(items=2**38, legacy=flag), size=(2**38,))))
        yield f"a storage of 1 TB, {form}", made(huge), LARGE
        wide = mapping((text("a"), tensor(storage(legacy=flag), size=(2**40,), strides=(0,))))
        yield f"four numbers spread over 4 TB, {form}", made(wide), LARGE
        long = mapping((text("a"), tensor(storage(items=2**20, legacy=flag), size=(2**20,))))
        yield f"a storage that is not there, {form}", made(long), CUT
        less = mapping((text("a"), tensor(storage(items=-5, legacy=flag))))
        yield f"a storage of -5 numbers, {form}", made(less), WAY
    several = [(text(str(at)), tensor(storage(key=str(at), items=2**26), size=(2**26,))) for at in range(6)]
    yield "six tensors of 256 MB that are not there", archive(mapping(*several)), LARGE
    half = serialise({"a": torch.zeros(4)})
    yield "safetensors, huge header", struct.pack("<Q", 2**40) + half[8:], CUT
    yield "safetensors, header of 2^64", b"\xff" * 8 + half[8:], CUT
    nested = b'{"a":' + b"[" * 200_000
    yield "safetensors, 200,000 brackets", struct.pack("<Q", len(nested)) + nested, CUT
    keys = json.dumps(
        {f"{i:06}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(MAX_TENSORS + 1)}
    )
    yield "safetensors, many tensors", struct.pack("<Q", len(keys)) + keys.encode(), "20,000 is the most"


def header(entries: Any, data: bytes = bytes(16)) -> bytes:
    coded = json.dumps(entries).encode()
    return struct.pack("<Q", len(coded)) + coded + data


def odd_tensors() -> Iterator[tuple[str, bytes, str]]:
    rebuild = "torch._utils._rebuild_tensor_v2"
    numbered = b"(" + text("storage") + name("torch.FloatStorage") + number(0) + text("cpu") + number(4) + b"tQ"
    for title, value in {
        "negative size": tensor(size=(-4,)),
        "negative stride": tensor(strides=(-1,)),
        "negative offset": tensor(offset=-1),
        "more sizes than strides": tensor(size=(2, 2), strides=(1,)),
        "a number for sizes": call(rebuild, storage(), number(0), number(4), numbers((1,))),
        "no storage": call(rebuild, b"N", number(0), numbers((4,)), numbers((1,))),
        "no arguments": call(rebuild),
        "storage of an unknown kind": tensor(storage("Size")),
        "storage under a number": tensor(numbered),
        "seventy dimensions": tensor(size=(1,) * 70, strides=(1,) * 70),
    }.items():
        yield title, archive(mapping((text("a"), value))), WAY
    yield "beyond its storage", archive(mapping((text("a"), tensor(offset=3)))), CUT
    yield "stride beyond its storage", archive(mapping((text("a"), tensor(strides=(1000,))))), CUT
    yield "storage outside the archive", archive(mapping((text("a"), tensor(storage(key="../../../etc/passwd"))))), CUT
    yield "sparse", saved({"a": torch.eye(4).to_sparse()}), "sparse"
    yield "a quantised tensor", archive(call("torch._utils._rebuild_qtensor", storage())), "quantised"
    yield "complex", saved({"a": torch.ones(2, 2, dtype=torch.complex64)}), "complex64 values"
    yield "float8", saved({"a": torch.ones(2, 2).to(torch.float8_e4m3fn)}), "names|float8|way"
    yield "on no device", saved({"a": torch.ones(2, 2, device="meta")}), "names|without values"
    yield "a tensor alone", saved(torch.ones(3, 3)), "a single tensor of shape"
    yield "a list", saved([torch.ones(3, 3)]), "no weights under names"
    yield "a number", saved(7), "no weights under names"
    yield "keys that are numbers", saved({1: torch.ones(3, 3), (2, 3): torch.ones(2)}), "no weights under names"
    yield "no tensor", saved({"epoch": 3, "name": "resnet20"}), "no weights under names"
    yield "only numbers in tensors", saved({"epoch": torch.tensor(3)}), "no weights under names"
    loop = b"}q\0" + b"(" + text("state_dict") + b"h\0u"
    yield "a dict in itself", archive(loop), "no weights under names"
    inside: dict[str, Any] = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    changes: dict[str, dict[str, Any]] = {
        "offsets backwards": {"data_offsets": [16, 0]},
        "negative offsets": {"data_offsets": [-16, 0]},
        "offsets beyond": {"data_offsets": [0, 160]},
        "shape of another size": {"shape": [5]},
        "negative shape": {"shape": [-2, -2]},
        "shape that is none": {"shape": "4"},
        "unknown type": {"dtype": "F31"},
        "type that is none": {"dtype": None},
        "offsets that are none": {"data_offsets": None},
    }
    for title, change in changes.items():
        yield f"safetensors, {title}", header({"a": {**inside, **change}}), CUT
    yield "safetensors, two in one place", header({"a": inside, "b": inside}), CUT
    yield "safetensors, a gap", header({"a": {**inside, "data_offsets": [16, 32]}}, bytes(32)), CUT
    yield "safetensors, a list", header([inside]), f"{CUT}|no weight file"
    yield "safetensors, nothing in it", header({}), f"{CUT}|no weights"
    yield "safetensors, metadata that is none", header({"__metadata__": [HEADER], "a": inside}), CUT
    yield "safetensors, float8", header({"a": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}}), "float8"


def other_archives() -> Iterator[tuple[str, bytes, str]]:
    good = mapping((text("a"), tensor()))
    sound = archive(good)
    script = {"archive/constants.pkl": b"", "archive/code/__torch__.py": b"", "archive/data.pkl": pickled(b"N")}
    yield "TorchScript", archive_of(script), "TorchScript"
    yield "export", archive_of({"archive_format": b"pt2", "models/model.json": b"{}"}), "torch.export"
    yield "export, old", archive_of({"serialized_exported_program.json": b"{}"}), "torch.export"
    yield "npz", archive_of({"a.npy": b"\x93NUMPY"}), "numpy arrays"
    yield "keras", archive_of({"config.json": b"{}", "model.weights.h5": b""}), "Keras"
    yield "a zip of weights", archive_of({"folder/resnet.pth": b"a"}), "unpack it"
    yield "a zip of images", archive_of({"cats/1.jpg": b"a"}), "none of `torch.save`"
    yield "an empty zip", archive_of({}), "none of `torch.save`"
    yield "packed", archive(good, compression=zipfile.ZIP_DEFLATED), "never compresses"
    bomb = {"0": bytes(200 * 2**20)}
    yield "a bomb of 200 MB", archive(good, bomb, compression=zipfile.ZIP_DEFLATED), "never compresses"
    yield "two pickles", archive_of({"a/data.pkl": pickled(b"N"), "b/data.pkl": pickled(b"N")}), "two of one name"
    for title, entry in (
        ("up", "archive/../../evil"),
        ("absolute", "/etc/evil"),
        ("backslashes", "archive\\..\\..\\evil"),
        ("a drive", "C:/evil"),
    ):
        yield (
            f"a name that leads {title}",
            archive_of({"archive/data.pkl": pickled(b"N"), entry: b"x"}),
            "leads out of it",
        )
    link = zipfile.ZipInfo("archive/data/0")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        written.writestr("archive/data.pkl", pickled(good))
        written.writestr(link, b"/etc/passwd/////")
    yield "a link", buffer.getvalue(), "an archive with a link"
    place = sound.index(b"PK\x01\x02")
    for title, offset, value, words in (
        ("a password", 8, b"\x01\x00", "password"),
        ("an entry inside another", 42, None, f"overlap|{CUT}"),
        ("declared 3 GB", 20, struct.pack("<II", 3 << 30, 3 << 30), LARGE),
        ("declared larger than packed", 24, struct.pack("<I", 999), "never compresses"),
        ("a wrong sum", 16, b"\0\0\0\0", "damaged: the checksums of 1 of its 3 parts"),
    ):
        at = sound.index(b"PK\x01\x02", place + 1) if value is None else place
        value = b"\0\0\0\0" if value is None else value
        yield title, sound[: at + offset] + value + sound[at + offset + len(value) :], words
    end = sound.index(b"PK\x05\x06")
    yield (
        "a directory that is not there",
        sound[: end + 16] + b"\xff\xff\xff\x7f" + sound[end + 20 :],
        f"{CUT}|outside it",
    )
    yield "a directory of 60,000 entries", sound[: end + 8] + b"\x60\xea\x60\xea" + sound[end + 12 :], f"{CUT}|overlap"
    yield "only the end of a directory", sound[end:], CUT
    yield "only the start", sound[:200], CUT


def other_files() -> Iterator[tuple[str, bytes, str]]:
    yield "nothing", b"", "is empty"
    yield "one byte", b"\x80", f"no weight file|{CUT}"
    yield "zeros", bytes(5000), "no weight file"
    yield "noise", np.random.default_rng(0).bytes(5000), "no weight file|text"
    yield "a web page", b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page"
    yield "a web page with a mark", b"\xef\xbb\xbf<html>", "a web page"
    yield "Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"
    yield "a text", b"not found\n", "is a text"
    yield "JSON", b'{"error": "rate limit"}', "is a text"
    yield "gzip", gzip.compress(saved({"a": torch.ones(2)})), "gzip"
    yield "bzip2", b"BZh91AY", "bzip2"
    yield "xz", b"\xfd7zXZ\0\0", "xz"
    yield "HDF5", b"\x89HDF\r\n\x1a\n", "Keras"
    yield "npy", b"\x93NUMPY\1\0", "numpy"
    yield "PNG", b"\x89PNG\r\n\x1a\n", "an image"
    yield "JPEG", b"\xff\xd8\xff\xe0", "an image"
    yield "PDF", b"%PDF-1.7", "PDF"
    yield "a program", b"\x7fELF\2", "a program"
    yield "Lua", b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1", "Lua Torch"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as written:
        written.addfile(tarfile.TarInfo("pickle"), io.BytesIO(b""))
    yield "tar", buffer.getvalue(), "tar archive"
    yield "GGUF", b"GGUF\3\0\0\0", "language model"


def test_every_hostile_or_mistaken_file_gets_its_sentence_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, canary = tmp_path / "files", tmp_path / "canary"
    folder.mkdir()
    files = [*attacks(canary), *floods(), *odd_tensors(), *other_archives(), *other_files()]
    assert len(files) > 200
    for index, (_, content, _) in enumerate(files):
        (folder / f"{index:03}").write_bytes(content)
    outcomes = opened(folder)
    wrong = []
    for index, (title, _, words) in enumerate(files):
        sentence = outcomes[f"{index:03}"].get("refusal", "it was opened")
        ends = sentence.endswith(".") and sentence.isprintable() and len(sentence) < 400
        told = re.search(r"Traceback|\bError|weights_only|File \"|/tmp|object at 0x", sentence)
        if not ends or told or not re.search(words, sentence):
            wrong.append(f"{title}: {sentence}")
    assert not wrong, "\n".join(wrong)
    assert not canary.exists()
    for sentence in {sandbox.TOO_MUCH, *(each["refusal"] for each in outcomes.values() if "refusal" in each)}:
        monkeypatch.setattr(
            sandbox, "_run", lambda _, answer, __, said=sentence: sandbox.write(answer, {"refusal": said}, [])
        )
        with pytest.raises(WeightsError) as refused:
            read(folder / "000")
        assert str(refused.value).endswith(f"; {WAY_OUT}") and str(refused.value).count(WAY_OUT) == 1


# --- damaged copies ---------------------------------------------------------------------------------------------------


def damaged(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Flipped bits, zeroed stretches, and ends that are missing."""
    random = np.random.default_rng(seed)
    for index in range(count):
        at = int(random.integers(len(content)))
        changed = bytearray(content)
        if index % 4 == 0:
            changed = changed[:at]
        elif index % 4 == 1:
            changed[at : at + 20] = bytes(len(changed[at : at + 20]))
        else:
            changed[at] ^= 1 << int(random.integers(8))
        yield bytes(changed)


def small() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"layer{i}.weight": torch.randn(4, 3, 3, 3, generator=generator) for i in range(6)}


def test_no_damaged_copy_is_taken_for_another_network(tmp_path: Path):
    """Of a zip, whose parts have checksums, a copy is refused or holds the very same weights. The other formats have
    none: there a weight may change unseen, but nothing may crash, and a shorter file is never opened."""
    folder = tmp_path / "files"
    folder.mkdir()
    forms: dict[str, tuple[bytes, int]] = {
        "zip": (saved(small()), 200),
        "legacy": (saved(small(), _use_new_zipfile_serialization=False), 100),
        "safetensors": (serialise(small()), 100),
    }
    lengths = {}
    for form, (content, count) in forms.items():
        (folder / f"{form}-whole").write_bytes(content)
        for index, copy in enumerate(damaged(content, count, seed=len(form))):
            (folder / f"{form}-{index:03}").write_bytes(copy)
            lengths[f"{form}-{index:03}"] = len(copy), len(content)
    outcomes = opened(folder)
    refused = dict.fromkeys(forms, 0)
    for title, outcome in outcomes.items():
        form = title.split("-")[0]
        if "refusal" in outcome:
            assert not title.endswith("whole"), outcome["refusal"]
            assert outcome["refusal"].endswith(".") and outcome["refusal"].isprintable()
            refused[form] += 1
        else:
            same = outcome["digest"] == outcomes[f"{form}-whole"]["digest"]
            assert same or form != "zip", title
            assert title.endswith("whole") or lengths[title][0] == lengths[title][1], title
    assert refused["zip"] > 100 and refused["legacy"] > 25 and refused["safetensors"] > 25


# --- through the door that the app uses -------------------------------------------------------------------------------


def test_the_sentence_names_the_file_and_nothing_else_of_this_machine(tmp_path: Path):
    (tmp_path / "a.pt").write_bytes(archive(call("os.system", text(f"touch {tmp_path}/canary"))))
    with pytest.raises(WeightsError) as caught:
        read(tmp_path / "a.pt", "../weights.pt")
    assert str(caught.value).startswith("`weights.pt` names `os.system`, which weights have no use for")
    assert str(tmp_path) not in str(caught.value) and caught.value.__cause__ is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt"]


def test_no_file_a_folder_a_pipe_and_one_that_is_too_large(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path / "gone.pt", "there is no file `gone.pt`"),
        (tmp_path, "is no file"),
        (tmp_path / "pipe", "is no file"),
        (Path("/dev/zero"), "is no file"),
    ):
        with pytest.raises(WeightsError, match=words):
            read(path)
    with (tmp_path / "large.pt").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # of holes: nothing is on the disk
    with pytest.raises(WeightsError, match=r"`large.pt` has 1.0 GB; 1 GB is the most"):
        read(tmp_path / "large.pt")


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize(
    "program",
    ["import time; time.sleep(60)", "import os; os.kill(os.getpid(), 9)", "raise SystemExit(3)", "print('hello')"]
    + ["raise MemoryError", "import os; os.write(1, b'\\xff' * 100)"],
)
def test_a_child_that_hangs_dies_or_talks_nonsense_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
):
    monkeypatch.setattr(sandbox, "WALL_SECONDS", 0.5 if "sleep" in program else 60)
    monkeypatch.setattr(sandbox, "COMMAND", [sys.executable, "-c", program])
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(WeightsError, match="`a.pt` cannot be opened within the limits"):
        read(tmp_path / "a.pt")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
@pytest.mark.parametrize("content", [saved(small()), b"x"], ids=["weights", "refusal"])
def test_a_disk_that_is_full_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes):
    (tmp_path / "a.pt").write_bytes(content)

    def none_is_made() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for made in (none_is_made, lambda: open("/dev/full", "r+b", buffering=0)):
        monkeypatch.setattr("tempfile.TemporaryFile", made)
        with pytest.raises(WeightsError) as caught:
            read(tmp_path / "a.pt")
        assert str(caught.value) == f"`a.pt` {sandbox.FULL}"


def test_the_child_may_neither_start_nor_write_nor_connect():
    """The audit hook: what would have to happen even if an attack came through."""
    program = """
import os, socket, subprocess, sys
from explorer.machine.system import is_portable
from explorer.weights_import import sandbox
sandbox.limit_this_process()
def tried(action):
    try:
        action()
    except PermissionError:
        return "refused"
    return "done"
print([tried(action) for action in (
    lambda: os.system("true"), lambda: subprocess.run(["true"]), lambda: os.fork(), lambda: open("/tmp/x", "w"),
    lambda: os.remove("/tmp/x"), lambda: os.mkdir("/tmp/x/y"), lambda: socket.create_connection(("127.0.0.1", 9)),
    lambda: os.posix_spawn("/bin/true", ["true"], {}), lambda: open("/dev/null").close(),
)])
try:
    if not is_portable():
        bytearray(sandbox.MEMORY)
except MemoryError:
    print("limited")
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    limited = [] if is_portable() else ["limited"]  # by the portable path another process watches its memory
    assert ran.stdout.splitlines() == [str(["refused"] * 8 + ["done"]), *limited], ran.stderr


def test_the_limits_are_those_of_the_design():
    assert sandbox.MEMORY >= 4 * 2**30 and MAX_BYTES == 2**30 and requirements.TORCH_FLOOR >= (2, 10)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_people_keep_beside_their_weights_is_read_as_nothing(zipped: bool):
    """Arguments, accuracies as numpy has them, paths: torch's training scripts and many others save such."""
    beside = {
        "args": Namespace(rate=0.1, folder=PurePosixPath("runs"), inner=Namespace(epochs=3)),
        "best": np.float64(93.2),
        "best32": np.float32(93.2),
        "curve": np.arange(5.0),
        "folder": PurePosixPath("runs"),
    }
    content = saved({"model": small(), **beside}, _use_new_zipfile_serialization=zipped)
    facts, tensors = sandbox.facts_of(io.BytesIO(content))
    assert len(tensors) == 6 and facts["state_dicts"][0][0] == "model" and set(facts["beside"]) == {"model", *beside}
    loaded = sandbox.content_of(io.BytesIO(content), inspect_file(io.BytesIO(content)))
    assert {type(loaded[name]) for name in beside} == {sandbox.InertObject}
    assert not any(vars(loaded[name]) for name in beside)


@pytest.mark.parametrize("gadget", ["argparse.Namespace", "numpy.core.multiarray.scalar", "pathlib.PosixPath"])
def test_a_file_of_such_objects_alone_holds_no_weights(gadget: str):
    with pytest.raises(WeightsError, match="holds no weights"):
        sandbox.facts_of(io.BytesIO(archive(mapping((text("a"), call(gadget, text("x")))))))


def test_sums_of_an_archive_may_be_left_out_altogether():
    """torch can save without checksums; then all of them are wrong, and none says anything."""
    torch.serialization.set_crc32_options(False)
    try:
        content = saved(small())
    finally:
        torch.serialization.set_crc32_options(True)
    facts, tensors = sandbox.facts_of(io.BytesIO(content))
    assert len(tensors) == 6 and facts["state_dicts"][0][0] == ""
    assert hashlib.sha256(content).hexdigest() != hashlib.sha256(saved(small())).hexdigest()
