"""The format of a file, and whether its directory is sound: read from its bytes, nothing is unpacked."""

import json
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from math import prod
from typing import Any, BinaryIO

from explorer.checkpoints import HEADER
from explorer.datasets.archives import data_start
from explorer.weights_import.pickle_scan import CUT_OFF, MAGIC, PickleScan, check_bytes, scan_pickle
from explorer.weights_import.report import WeightsError

MAX_TENSORS = 20_000  # ResNet-1202 has 7,208
MAX_ENTRIES = 5 * MAX_TENSORS
MAX_TEXT = 2**26  # of a header or a `data.pkl`

ITEM_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL"), 8),
}

# First bytes of files that users take for weights, and the advice.
KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "is packed with gzip; unpack it first."),
    (b"BZh", "is packed with bzip2; unpack it first."),
    (b"\xfd7zXZ\0", "is packed with xz; unpack it first."),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd; unpack it first."),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it first."),
    (b"Rar!", "is a RAR archive; unpack it first."),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`."),
    (
        b"\x89HDF",
        "is an HDF5 file, as Keras saves them; there `model.export('network.onnx', format='onnx')` gives ONNX.",
    ),
    (b"\x93NUMPY", "is an array of numpy; this app reads files of PyTorch."),
    (b"GGUF", "is a GGUF file of a language model; this app shows networks for images."),
    (b"%PDF", "is a PDF document, not weights."),
    (b"\x89PNG", "is an image, not weights; images are opened on the page Explore."),
    (b"\xff\xd8\xff", "is an image, not weights; images are opened on the page Explore."),
    (b"\x7fELF", "is a program, not weights."),
    (b"MZ", "is a program, not weights."),
    (b"\x04\0\0\0\x01\0\0\0", "is a file of the old Lua Torch; only files of PyTorch are read, with any ending."),
    (b"\x03\0\0\0", "is a file of the old Lua Torch; only files of PyTorch are read, with any ending."),
)
OTHER_ZIPS = (
    (
        r"(.*/)?(constants\.pkl|code/.*)",
        "is a TorchScript program, which carries code; save `model.state_dict()`.",
    ),
    (
        r"(.*/)?(archive_format|serialized_exported_program\.json|models/.*\.json|serialized_state_dict\.(json|pt))",
        "is a program of `torch.export` (.pt2), which carries code; save `model.state_dict()`.",
    ),
    (r".*\.npy", "is an archive of numpy arrays; this app reads files of PyTorch."),
    (
        r"config\.json|model\.weights\.h5",
        "is a model of Keras; `model.export('network.onnx', format='onnx')` gives ONNX.",
    ),
    (r".*\.(pth?|th|ckpt|safetensors)", "is a zip archive with files in it; unpack it and give one of them."),
)
NOT_WEIGHTS = "is no weight file that is known here: neither of `torch.save` nor safetensors nor ONNX."


def inspect_file(file: BinaryIO) -> str:
    """The format: "zip", "legacy", "safetensors", "onnx", or "ours" for a file with the header of this app.

    It makes every check that is possible without loading, and may leave the position in the file anywhere.

    Raises WeightsError with a sentence that lacks its subject, the file's name, and for damaged files the errors of
    zipfile, pickletools and json.
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(512)
    if not head:
        raise WeightsError("is empty; download it again.")
    check_bytes(size, "has")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        raise WeightsError("is a web page, not weights: the link leads to a page about the file; download the file.")
    for start, sentence in KINDS:
        if head.startswith(start):
            raise WeightsError(sentence)
    if head[257:262] == b"ustar":
        raise WeightsError("is a tar archive, as PyTorch saved before 0.1.10; unpack it, or save it with a newer one.")
    if head.startswith(b"PK"):
        check_zip(file, size)
        return "zip"
    if head[0] == 0x80 and head[1:2] <= b"\x05":
        check_legacy(file)
        return "legacy"
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= size - 8:
        return "ours" if HEADER in check_safetensors(file, length, size) else "safetensors"
    if head[8:9] == b"{" and b'"dtype"' in head:
        raise WeightsError(CUT_OFF)
    if head[0] == 0x08 and 0 < head[1] < 0x20:  # the first field of an ONNX model: the version of the format
        return "onnx"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        raise WeightsError("is a text, not weights; download the file itself.")
    raise WeightsError(NOT_WEIGHTS)


# --- zip -------------------------------------------------------------------------------------------------------------


def check_zip(file: BinaryIO, size: int) -> None:
    archive = zipfile.ZipFile(file)
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    for pattern, sentence in OTHER_ZIPS:
        if any(re.fullmatch(pattern, name) for name in names[:MAX_ENTRIES]):
            raise WeightsError(sentence)
    pickles = [entry for entry in entries if re.fullmatch(r"[^/]+/data\.pkl|data\.pkl", entry.filename)]
    if not pickles:
        raise WeightsError("is a zip archive, but none of `torch.save`.")
    if len(entries) > MAX_ENTRIES or len(set(names)) != len(names) or len(pickles) > 1:
        raise WeightsError("is a zip archive with too many entries, or with two of one name; save it again.")
    check_entries(entries, archive.start_dir, size)
    prefix = pickles[0].filename.removesuffix("data.pkl")
    if pickles[0].file_size > MAX_TEXT:
        raise WeightsError("holds millions of small objects; save the weights alone.")
    check_sums(file, entries)
    file.seek(start_of(file, pickles[0]))
    declaration = PickleScan()
    scan_pickle(BytesIO(file.read(pickles[0].file_size)), declaration)
    declaration.check()
    sizes = {entry.filename: entry.file_size for entry in entries}
    for key, expected in declaration.storages.items():
        if sizes.get(f"{prefix}data/{key}", -1) < expected:
            raise WeightsError(CUT_OFF)


def check_entries(entries: list[zipfile.ZipInfo], end: int, size: int) -> None:
    """Raises WeightsError where entries overlap, are compressed, or have a name that leads out of the archive."""
    check_bytes(sum(entry.file_size for entry in entries), "declares contents of")
    for entry in entries:
        if entry.flag_bits & 1:
            raise WeightsError("is an archive with a password; save it without one.")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise WeightsError("was packed by another program than `torch.save`, which never compresses; unpack it.")
        parts = entry.filename.replace("\\", "/").split("/")
        if ".." in parts or "" in parts[:1] or ":" in parts[0] or stat.S_ISLNK(entry.external_attr >> 16):
            raise WeightsError("is an archive with a link, or a name that leads out of it, so it is not opened.")
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    for entry, following in zip(ordered, [*(entry.header_offset for entry in ordered[1:]), end], strict=True):
        least = entry.header_offset + 30 + len(entry.filename.encode()) + entry.file_size
        if entry.header_offset < 0 or least > following or following > size:
            raise WeightsError("is an archive whose entries overlap, or lie outside it; download or save it again.")


def start_of(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    start = data_start(file, entry)
    if start is None:
        raise WeightsError(CUT_OFF)
    return start


def check_sums(file: BinaryIO, entries: list[zipfile.ZipInfo]) -> None:
    """torch does not compare the checksums of its own archives, so a flipped bit would be a changed weight."""
    filled = [entry for entry in entries if entry.file_size]
    wrong = 0
    for entry in filled:
        file.seek(start_of(file, entry))
        left, found = entry.file_size, 0
        while left and (part := file.read(min(left, 2**20))):
            left, found = left - len(part), zlib.crc32(part, found)
        if left:
            raise WeightsError(CUT_OFF)
        wrong += found != entry.CRC
    if wrong and wrong < len(filled):  # all of them: saved with torch.serialization.set_crc32_options(False)
        raise WeightsError(
            f"is damaged: the checksums of {wrong} of its {len(filled)} parts differ; download it again."
        )


# --- pickles and safetensors -----------------------------------------------------------------------------------------


def check_legacy(file: BinaryIO) -> None:
    """Four pickles (a magic number, a version, sizes of the machine's types, the object), then the storages."""
    file.seek(0)
    declaration = PickleScan()
    magic = scan_pickle(file, declaration)
    declaration.check()
    if magic != MAGIC:
        raise WeightsError(
            "is a pickle, but none of `torch.save`, so it is not opened: pickles can run any program; save the "
            "weights with `torch.save(model.state_dict(), ...)`."
        )
    for _ in range(3):
        scan_pickle(file, declaration)
    declaration.check()
    if file.seek(0, 2) < sum(declaration.storages.values()):
        raise WeightsError(CUT_OFF)


def check_safetensors(file: BinaryIO, length: int, size: int) -> Mapping[str, Any]:
    """The metadata of the header, after the sizes in it were checked."""
    if length > MAX_TEXT:
        raise WeightsError("has a header of impossible length; download or save it again.")
    file.seek(8)
    header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    if len(header) > MAX_TENSORS:
        raise WeightsError(f"holds {len(header):,} tensors; {MAX_TENSORS:,} is the most.")
    total = 0
    for entry in header.values():
        start, end = entry["data_offsets"]
        bits = ITEM_BITS.get(entry["dtype"], 0)
        if not 0 <= start <= end <= size - 8 - length or bits and 8 * (end - start) != bits * prod(entry["shape"]):
            raise WeightsError(CUT_OFF)
        total += max(end - start, 4 * prod(entry["shape"]))
    check_bytes(total, "declares tensors of")
    return metadata if isinstance(metadata, dict) else {}
