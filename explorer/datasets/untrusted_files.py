"""The files of a folder on this machine, or of a zip file, neither of which is trusted.

Nothing is unpacked onto the disk: each file is read into memory.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

MAX_FILES = 100_000
MAX_DEPTH = 100
"""Folders in each other in a zip; a name of 64 kB could hold 32,000."""

FilePath = tuple[str, ...]
"""The folders and the name of a file, seen from the root of the source."""
Reader = Callable[[int], bytes]
"""Reads a whole file of at most so many bytes, or raises `UnreadableError`."""

HIDDEN = "hidden, or made by the operating system"
LINK = "a link, and links are not followed"
NO_FILE = "not a plain file"
EMPTY_FOLDER = "an empty folder, which is no class"
TOO_LARGE = "too large for one image"
DAMAGED = "damaged or cut off in the zip"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")  # and the backslash, which separates folders elsewhere
_JUNK = {"__macosx", "thumbs.db", "desktop.ini"}
# APPNOTE 6.3.10, section 4.3.7: signature, version, flags, method, time, date, checksum, two sizes, two lengths.
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 0x41  # encrypted, strongly encrypted
_UTF8 = 0x800


class UnreadableError(Exception):
    """A file cannot be read, for a `reason`; `unpacked` of its bytes were read until that was known."""

    def __init__(self, reason: str, unpacked: int) -> None:
        super().__init__(reason)
        self.reason, self.unpacked = reason, unpacked


@dataclass
class Listing:
    """The files of a source that can be read, and those that are skipped, each with the reason."""

    files: dict[FilePath, Reader] = field(default_factory=dict)
    skipped: dict[FilePath, str] = field(default_factory=dict)


def printable_path(path: FilePath) -> str:
    """A path in one line: its last 80 characters at most; invisible ones become `?`."""
    text = "".join(c if c.isprintable() else "?" for c in "/".join(path))
    return (text if len(text) <= 80 else f"…{text[-79:]}") or "(no name)"


def quote(*paths: FilePath) -> str:
    """The first three paths, each in backticks, for a sentence."""
    texts = ", ".join(f"`{printable_path(path).replace('`', '?')}`" for path in paths[:3])
    return texts + (", …" if len(paths) > 3 else "")


def _is_hidden(path: FilePath) -> bool:
    return any(part.startswith(".") or part.lower() in _JUNK for part in path)


def resolve_allowed(root: str | os.PathLike[str], typed: str) -> Path:
    """The folder inside `root` that the user `typed`, relative to `root`, with `/` between folders.

    The result is absolute and without links. `ValueError` where it is no folder, or leads out of `root`: `..`, an
    absolute path, a link that ends elsewhere. The message names only the typed text.
    """
    name = quote((typed.strip(),))
    path = typed.strip().replace("\\", "/")
    if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/") or _CONTROL.search(path):
        raise ValueError(
            f"{name} does not name a folder inside the allowed one; give its name from there on, such as `pets/cats`."
        )
    try:
        base = Path(root).resolve(strict=True)
        folder = base.joinpath(path).resolve()
        inside = folder.is_relative_to(base)
        found = inside and folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # not permitted, too long, a circle of links, half a character
        inside, found = True, False
    if not inside:  # said before anything is known of the place it leads to
        raise ValueError(f"{name} is a link that leads out of the allowed folder; copy the images into it.")
    if not found:
        raise ValueError(f"there is no folder {name} inside the allowed one; check the spelling.")
    return folder


def on_disk(root: Path) -> Listing:
    """The files under the folder `root`; links, which may lead out of it, pipes and devices are skipped.

    `ValueError` for more than `MAX_FILES` files, `OSError` where a folder cannot be read.
    """
    listing = Listing()
    folders: list[FilePath] = [()]
    while folders:
        folder = folders.pop()
        empty = True
        with os.scandir(root.joinpath(*folder)) as entries:
            for entry in entries:
                empty, path = False, (*folder, entry.name)
                if _is_hidden(path):
                    listing.skipped[path] = HIDDEN
                elif entry.is_symlink():
                    listing.skipped[path] = LINK
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    listing.files[path] = partial(_read_file, entry.path)
                else:
                    listing.skipped[path] = NO_FILE
                if len(listing.files) + len(listing.skipped) + len(folders) > MAX_FILES:
                    raise ValueError(f"the folder holds more than {MAX_FILES:,} files; choose a smaller one.")
        if empty and folder:
            listing.skipped[(*folder, "")] = EMPTY_FOLDER
    return listing


def _read_file(path: str, max_bytes: int) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(min(max_bytes, os.fstat(file.fileno()).st_size) + 1)
    except OSError as error:  # gone or locked since it was listed
        raise UnreadableError(f"it cannot be read ({error.strerror})", 0) from error
    if len(content) > max_bytes:
        raise UnreadableError(TOO_LARGE, len(content))
    return content


def in_zip(file: BinaryIO) -> Listing:
    """The files of an open zip file; `file` must stay open while they are read, by one thread.

    `ValueError` where one entry cannot be of a plain zip of folders: a name that points elsewhere, encryption, an
    unusual compression, two names for one entry or one for two, data that overlap; or where there are more than
    `MAX_FILES` entries. Links and other special files are skipped.
    """
    _check_count(file)
    try:
        archive = zipfile.ZipFile(file)
        entries, end_of_data = archive.infolist(), archive.start_dir
    except Exception as error:  # zipfile raises at least six kinds on damaged archives
        raise ValueError("the file is not a zip archive, or is damaged; pack the folders again as a zip.") from error
    listing = Listing()
    folders: set[FilePath] = set()
    entries.sort(key=lambda entry: entry.header_offset)
    ends = [*(entry.header_offset for entry in entries[1:]), end_of_data]
    for entry, end in zip(entries, ends, strict=False):
        path = _checked_path(entry)
        if not 0 <= entry.header_offset < end_of_data:
            raise ValueError(f"the zip entry {quote(path)} lies outside of the zip; pack the folders again.")
        start = data_start(file, entry)
        if start is None:
            raise ValueError(
                f"the zip describes {quote(path)} in two different ways or overlaps it; pack the folders again."
            )
        if start + entry.compress_size > end:
            raise ValueError(f"the zip entry {quote(path)} overlaps what follows it; pack the folders again.")
        if path in listing.files or path in listing.skipped:
            raise ValueError(f"the zip holds {quote(path)} twice; pack the folders again.")
        kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the zip comes from a system without such kinds
        if entry.orig_filename.endswith("/"):
            folders.add(path)
        elif _is_hidden(path):
            listing.skipped[path] = HIDDEN
        elif kind == stat.S_IFLNK:
            listing.skipped[path] = LINK
        elif kind not in (0, stat.S_IFREG):
            listing.skipped[path] = NO_FILE
        else:
            listing.files[path] = partial(_unpack, file, start, entry)
    everything = sorted({*listing.files, *listing.skipped, *folders})  # each folder right before what lies in it
    for path, following in zip(everything, [*everything[1:], ()], strict=False):
        if path in folders and following[: len(path)] != path:
            listing.skipped[(*path, "")] = HIDDEN if _is_hidden(path) else EMPTY_FOLDER
    return listing


def _check_count(file: BinaryIO) -> None:
    """Counts the mark of an entry, so that too many are refused before `zipfile` makes an object for each."""
    count, end = 0, b""
    file.seek(0)
    while block := file.read(2**20):
        count += (end + block).count(b"PK\x01\x02")
        end = block[-3:]
    if count > MAX_FILES:
        raise ValueError(f"the zip holds more than {MAX_FILES:,} entries; pack fewer images.")


def _checked_path(entry: zipfile.ZipInfo) -> FilePath:
    """The path of the entry, after every check of its description in the archive's directory."""
    name = entry.orig_filename  # `filename` ends at the first zero byte
    if not entry.flag_bits & _UTF8 and not name.isascii():
        try:  # macOS packs UTF-8 without saying so
            name = name.encode("cp437").decode()
        except UnicodeDecodeError:
            pass
    path = tuple(name.removesuffix("/").split("/"))
    problems = {
        "does not name a file inside the zip; pack plain folders": (
            not {"", ".", ".."}.isdisjoint(path) or name[1:2] == ":" or _CONTROL.search(name)
        ),
        f"lies {len(path) - 1:,} folders deep; pack flatter folders": len(path) > MAX_DEPTH,
        "is encrypted; pack the folders again without a password": entry.flag_bits & _ENCRYPTED,
        "is compressed in an unusual way; pack the folders as plain zip": (
            entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may ask for gigabytes
        ),
        "lies in another part of the zip; pack all into one file": (
            entry.volume not in (0, 0xFFFF)  # the latter: see the zip64 fields
        ),
    }
    for problem, is_found in problems.items():
        if is_found:
            raise ValueError(f"the zip entry {quote(path)} {problem}.")
    return path


def data_start(file: BinaryIO, entry: zipfile.ZipInfo) -> int | None:
    """The position of the entry's data, behind its local header; None where that does not agree with the directory.

    Where the two differ, two programs see two different archives, and the data of one entry may hide in the extra field
    of another.
    """
    raw_name = entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF8 else "cp437")
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER.size + len(raw_name))
    if len(header) < _LOCAL_HEADER.size + len(raw_name):
        return None
    mark, _, flags, method, *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(header)
    agrees = mark == b"PK\x03\x04" and method == entry.compress_type and not flags & _ENCRYPTED
    if not agrees or name_length != len(raw_name) or not header.endswith(raw_name):
        return None
    return entry.header_offset + len(header) + extra_length


def _unpack(file: BinaryIO, start: int, entry: zipfile.ZipInfo, max_bytes: int) -> bytes:
    """The entry's content, with no more bytes in memory than `max_bytes` or its declared size, plus one."""
    packed_limit = max_bytes + max_bytes // 1000 + 2**10  # deflate adds 5 bytes to each 16 kB that it cannot shrink
    if entry.compress_size > packed_limit:
        raise UnreadableError(TOO_LARGE, max_bytes + 1)
    file.seek(start)
    content = file.read(entry.compress_size)
    whole = len(content) == entry.compress_size
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        limit = min(max_bytes, entry.file_size)
        try:
            content = inflate.decompress(content, limit + 1)
        except zlib.error as error:
            raise UnreadableError(DAMAGED, limit + 1) from error  # how much came before is lost with it
        whole = inflate.eof
    if len(content) > max_bytes:
        raise UnreadableError(TOO_LARGE, len(content))
    if not whole or len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise UnreadableError(DAMAGED, len(content))
    return content
