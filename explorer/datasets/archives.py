"""The files of a zip or tar file that is not trusted.

Nothing is unpacked onto the disk: each file is read into memory.
"""

import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, cast

from explorer.datasets.name_encodings import decode_names
from explorer.datasets.untrusted_files import (
    CONTROL,
    EMPTY_FOLDER,
    HIDDEN,
    LINK,
    MAX_FILES,
    NO_FILE,
    TOO_LARGE,
    FilePath,
    Listing,
    Reader,
    UnreadableError,
    is_hidden,
    quote,
)

MAX_DEPTH = 100
"""Folders in each other in an archive; a name of 64 kB could hold 32,000."""
MAX_TAR = 2**30 + 2**28
"""Bytes of a tar file once it is unpacked, with its headers."""
SPARSE = "a sparse file, whose gaps are not stored"
DAMAGED = "damaged or cut off in the {}"

_OTHER_ARCHIVES = {
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\xfd7zXZ": "packed with xz",
    b"BZh": "packed with bzip2",
    b"\x28\xb5\x2f\xfd": "packed with Zstandard",
}
# Of a tar: the bytes of one name or list of attributes and of all long ones, the pieces of a header, the attributes
# of all files together.
_MAX_HEADER, _MAX_LONG_HEADERS, _READS_A_MEMBER, _MAX_ATTRIBUTES = 2**16, 2**27, 8, 100
# APPNOTE 6.3.10, section 4.3.7: signature, version, flags, method, time, date, checksum, two sizes, two lengths.
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 0x41  # encrypted, strongly encrypted
_UTF8 = 0x800
_UNICODE_PATH = 0x7075


def in_archive(file: BinaryIO, encoding: str | None = None) -> Listing:
    """The files of an open zip, tar or tar.gz file, whose content tells which it is; `file` must stay open while they
    are read, by one thread. Names whose encoding is not told are read in `encoding`, or in the likeliest one.

    `ValueError` where one entry cannot be of a plain archive of folders: a name that points elsewhere, encryption, an
    unusual compression, two names for one entry or one for two, data that overlap; or where there are more than
    `MAX_FILES` entries. Links and other special files are skipped.
    """
    file.seek(0)
    start = file.read(512)
    for mark, what in _OTHER_ARCHIVES.items():
        if start.startswith(mark):
            raise ValueError(f"the file is {what}, which is not read; pack the folders as zip, .tar or .tar.gz.")
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return _in_tar(cast(BinaryIO, gzip.GzipFile(fileobj=file)), encoding, unpacked=True)
    if _is_tar_header(start):
        return _in_tar(file, encoding)
    return _in_zip(file, encoding)


def _in_zip(file: BinaryIO, encoding: str | None) -> Listing:
    _check_count(file)
    try:
        archive = zipfile.ZipFile(file)
        entries, end_of_data = archive.infolist(), archive.start_dir
    except Exception as error:  # zipfile raises at least six kinds on damaged archives
        raise ValueError(
            "the file is not a zip archive, or is damaged; pack the folders again as a zip or .tar.gz."
        ) from error
    entries.sort(key=lambda entry: entry.header_offset)
    names, listing = _decoded([_zip_name(entry) for entry in entries], encoding)
    folders: set[FilePath] = set()
    ends = [*(entry.header_offset for entry in entries[1:]), end_of_data]
    for entry, name, end in zip(entries, names, ends, strict=False):
        if name == "./":
            continue  # the folder that was packed
        path = _checked_path(name, "zip")
        _check_kind(entry, path)
        if not 0 <= entry.header_offset < end_of_data:
            raise ValueError(f"the zip entry {quote(path)} lies outside of the zip; pack the folders again.")
        start = data_start(file, entry)
        if start is None:
            raise ValueError(
                f"the zip describes {quote(path)} in two different ways or overlaps it; pack the folders again."
            )
        if start + entry.compress_size > end:
            raise ValueError(f"the zip entry {quote(path)} overlaps what follows it; pack the folders again.")
        kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the zip comes from a system without such kinds
        reason = LINK if kind == stat.S_IFLNK else "" if kind in (0, stat.S_IFREG) else NO_FILE
        reader: Reader | None = None if name.endswith("/") else partial(_unpack, file, start, entry)
        _add(listing, folders, path, reader, reason, "zip")
    return _with_empty_folders(listing, folders)


def _in_tar(file: BinaryIO, encoding: str | None, unpacked: bool = False) -> Listing:
    """Of an `unpacked` tar.gz all bytes are read once here, and once more when its files are read in their order."""
    stream = _Tar(file, MAX_TAR if unpacked else None)
    members: list[tuple[str | bytes, str, Reader | None]] = []
    last = -1
    try:
        # A byte that is no UTF-8 becomes half a character, and a byte again.
        archive = tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape")  # type: ignore[call-overload]
        for member in archive:
            if len(members) >= MAX_FILES:
                raise _LimitError(f"the tar file holds more than {MAX_FILES:,} entries; pack fewer images.")
            if member.size < 0 or member.offset <= last or len(archive.pax_headers) > _MAX_ATTRIBUTES:
                raise ValueError("no list of files one behind the other")
            is_link = member.issym() or member.islnk()
            reason = LINK if is_link else SPARSE if member.issparse() else "" if member.isreg() else NO_FILE
            reader: Reader | None = (
                None if member.isdir() else partial(stream.read_file, member.offset_data, member.size)
            )
            name = member.name.encode("utf-8", "surrogateescape")
            attributes = member.pax_headers
            # POSIX: the attribute `path` is UTF-8 unless it says otherwise. Some programs break that with other bytes.
            is_told = name.isascii() or ("path" in attributes and attributes.get("hdrcharset") != "BINARY")
            is_text = is_told and name.decode(errors="ignore").encode() == name
            members.append((name.decode() if is_text else name, reason, reader))
            last, archive.members = member.offset, []  # it would keep all of them
            stream.reads_left += _READS_A_MEMBER
        stream.seek(archive.offset)
        if any(stream.read(tarfile.BLOCKSIZE)):  # a header that cannot be read, which tarfile takes for the end
            raise ValueError("a damaged header")
    except _LimitError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # tarfile and gzip raise many kinds on damaged files
        what = "is packed with gzip and holds no whole tar file" if unpacked else "is a damaged tar file"
        raise ValueError(f"the file {what}; pack the folders again as a zip or .tar.gz.") from error
    names, listing = _decoded([name for name, _, _ in members], encoding)
    folders: set[FilePath] = set()
    for name, (_, reason, reader) in zip(names, members, strict=True):
        if name != ".":  # the folder that was packed
            _add(listing, folders, _checked_path(name, "tar"), reader, reason, "tar")
    return _with_empty_folders(listing, folders)


def _decoded(names: list[str | bytes], encoding: str | None) -> tuple[list[str], Listing]:
    """The names as text, with `/` between folders, and a listing that knows their encodings.

    Some programs pack backslashes instead, and then only these. In the middle of a character of two bytes one is no
    separator, so the names are decoded first.
    """
    texts, encodings = decode_names(names, encoding)
    if not any("/" in text for text in texts):
        texts = [text.replace("\\", "/") for text in texts]
    return texts, Listing(encodings=encodings)


def _add(
    listing: Listing, folders: set[FilePath], path: FilePath, reader: Reader | None, reason: str, archive: str
) -> None:
    """Adds a file, or a folder without a reader. ValueError for one that is there already."""
    if path in listing.files or path in listing.skipped:
        raise ValueError(f"the {archive} holds {quote(path)} twice; pack the folders again.")
    if reader is None:
        folders.add(path)
    elif is_hidden(path) or reason:
        listing.skipped[path] = HIDDEN if is_hidden(path) else reason
    else:
        listing.files[path] = reader


def _with_empty_folders(listing: Listing, folders: set[FilePath]) -> Listing:
    everything = sorted({*listing.files, *listing.skipped, *folders})  # each folder right before what lies in it
    for path, following in zip(everything, [*everything[1:], ()], strict=False):
        if path in folders and following[: len(path)] != path:
            listing.skipped[(*path, "")] = HIDDEN if is_hidden(path) else EMPTY_FOLDER
    return listing


def _is_tar_header(start: bytes) -> bool:
    """Whether the 512 bytes have the checksum of a tar header: the sum of all, with eight spaces in its place."""
    try:
        return (
            len(start) == 512
            and any(start)
            and int(start[148:156].strip(b" \0"), 8) == (sum(start[:148]) + 8 * 0x20 + sum(start[156:]))
        )
    except ValueError:
        return False


class _LimitError(Exception):
    """A tar is larger than the limit."""


class _Tar:
    """The bytes of a tar, read under limits: `tarfile` reads as much as a header asks it to."""

    def __init__(self, file: BinaryIO, limit: int | None) -> None:
        """`limit` is the last place that may be read, of a file that is unpacked while it is read."""
        self._file, self._limit = file, limit
        self.reads_left, self._long = 1000, 0
        file.seek(0)

    def read(self, size: int) -> bytes:
        """A header, or what follows it: a long name, attributes, the map of a sparse file."""
        self.reads_left -= 1
        self._long += size if size > tarfile.BLOCKSIZE else 0
        if not 0 <= size <= _MAX_HEADER or self.reads_left < 0 or self._long > _MAX_LONG_HEADERS:
            raise ValueError("headers of an unlikely length")
        return self._file.read(size)

    def seek(self, place: int) -> None:
        if self._limit is None:
            self._file.seek(place)
            return
        if place > self._limit:
            raise _LimitError(f"the archive is more than {self._limit / 2**30:.2f} GiB unpacked; pack fewer images.")
        if place < self._file.tell():
            self._file.seek(0)
        while (left := place - self._file.tell()) > 0 and self._file.read(min(left, 2**20)):
            pass

    def tell(self) -> int:
        return self._file.tell()

    def read_file(self, start: int, size: int, max_bytes: int, whole: bool = True) -> bytes:
        size = size if whole else min(size, max_bytes)
        if size > max_bytes:
            raise UnreadableError(TOO_LARGE, max_bytes + 1)
        try:
            self.seek(start)
            content = self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableError(DAMAGED.format("tar"), size) from error
        if len(content) < size:
            raise UnreadableError(DAMAGED.format("tar"), len(content))
        return content


def _check_count(file: BinaryIO) -> None:
    """Counts the mark of an entry, so that too many are refused before `zipfile` makes an object for each."""
    count, end = 0, b""
    file.seek(0)
    while block := file.read(2**20):
        count += (end + block).count(b"PK\x01\x02")
        end = block[-3:]
    if count > MAX_FILES:
        raise ValueError(f"the zip holds more than {MAX_FILES:,} entries; pack fewer images.")


def _zip_name(entry: zipfile.ZipInfo) -> str | bytes:
    """The name of an entry; bytes where its encoding is not told."""
    name = entry.orig_filename  # `filename` ends at the first zero byte
    if entry.flag_bits & _UTF8:
        return name
    stored = name.encode("cp437")
    plain = name if name.isascii() else stored
    for kind, value in _extra_fields(entry.extra):
        # Info-ZIP's Unicode path: version 1, the checksum of the name that it stands for, UTF-8 (APPNOTE 4.6.9). That
        # name may be ASCII, with `_` or `?` for each other character.
        if kind == _UNICODE_PATH and value[:5] == b"\x01" + struct.pack("<L", zlib.crc32(stored)):
            try:
                return value[5:].decode() or plain
            except UnicodeDecodeError:
                return plain
    return plain


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        yield kind, extra[4 : 4 + length]
        extra = extra[4 + length :]


def _checked_path(name: str, archive: str) -> FilePath:
    """The path of an entry of that name, with `/` between folders."""
    name = name.removeprefix("./")
    path = tuple(name.removesuffix("/").split("/"))
    if not {"", ".", ".."}.isdisjoint(path) or name[1:2] == ":" or CONTROL.search(name):
        raise ValueError(
            f"the {archive} entry {quote(path)} does not name a file inside the {archive}; pack plain folders."
        )
    if len(path) > MAX_DEPTH:
        raise ValueError(
            f"the {archive} entry {quote(path)} lies {len(path) - 1:,} folders deep; pack flatter folders."
        )
    return path


def _check_kind(entry: zipfile.ZipInfo, path: FilePath) -> None:
    problems = {
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


def _unpack(file: BinaryIO, start: int, entry: zipfile.ZipInfo, max_bytes: int, whole: bool = True) -> bytes:
    """The entry's content, with no more bytes in memory than `max_bytes` or its declared size, plus one; or only its
    first bytes, unchecked."""
    packed_limit = max_bytes + max_bytes // 1000 + 2**10  # deflate adds 5 bytes to each 16 kB that it cannot shrink
    if whole and entry.compress_size > packed_limit:
        raise UnreadableError(TOO_LARGE, max_bytes + 1)
    file.seek(start)
    content = file.read(min(entry.compress_size, packed_limit))
    is_whole = len(content) == entry.compress_size
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        limit = min(max_bytes, entry.file_size)
        try:
            content = inflate.decompress(content, limit + 1)
        except zlib.error as error:
            raise UnreadableError(DAMAGED.format("zip"), limit + 1) from error  # how much came before is lost with it
        is_whole = inflate.eof
    if not whole:
        return content[:max_bytes]
    if len(content) > max_bytes:
        raise UnreadableError(TOO_LARGE, len(content))
    if not is_whole or len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise UnreadableError(DAMAGED.format("zip"), len(content))
    return content
