"""Zip files that were made to do harm: each has a stated outcome, in bounded time and memory, and nothing is written.

Every archive holds the six pictures of `GOOD` and one thing that is wrong with it. Its outcome is a `ValueError` of one
sentence (REFUSED), a dataset of the six with the bad file listed and its reason (SKIPPED), or one in which the oddity
does no harm (HARMLESS, with the number of pictures).

One file for the corpus: a long list of small cases, each a few lines.
"""

import io
import mmap
import re
import stat
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from PIL import Image

from explorer.datasets import Dataset, folders
from explorer.datasets.folders import load

MAX_SECONDS = 10  # of this process; 100,000 entries and the largest bombs take about 2 on one core
MAX_BYTES = 400 * 2**20


@dataclass(frozen=True)
class Entry:
    """One file as a zip describes it, twice: each field that is None says what is true (APPNOTE 4.3.7 and 4.3.12)."""

    name: bytes
    content: bytes = b""
    deflate: bool = False
    packed: bytes | None = None
    method: int | None = None
    crc: int | None = None
    declared: int | None = None
    declared_packed: int | None = None
    flags: int = 0
    extra: bytes = b""
    mode: int = 0
    disk: int = 0
    version: int = 20
    offset: int | None = None
    local_name: bytes | None = None
    local_extra: bytes = b""
    local_flags: int | None = None
    local_method: int | None = None
    local_mark: bytes = b"PK\3\4"
    central_mark: bytes = b"PK\1\2"


def squeezed(content: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(content) + deflate.flush()


def zipped(
    entries: list[Entry],
    prefix: bytes = b"",
    comment: bytes = b"",
    between: bytes = b"",
    shift: int = 0,
    count: int | None = None,
    size: int | None = None,
    offset: int | None = None,
    disk: int = 0,
    zip64: bytes = b"",
) -> bytes:
    body, central = bytearray(prefix), bytearray()
    for entry in entries:
        start = len(body) - shift if entry.offset is None else entry.offset
        packed = (
            entry.packed if entry.packed is not None else squeezed(entry.content) if entry.deflate else entry.content
        )
        method = entry.method if entry.method is not None else 8 * entry.deflate
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        declared = len(entry.content) if entry.declared is None else entry.declared
        declared_packed = len(packed) if entry.declared_packed is None else entry.declared_packed
        local_name = entry.name if entry.local_name is None else entry.local_name
        sizes = (0, 0, crc, min(declared_packed, 2**32 - 1), min(declared, 2**32 - 1))
        body += entry.local_mark + struct.pack(
            "<5H3L2H",
            entry.version,
            entry.flags if entry.local_flags is None else entry.local_flags,
            method if entry.local_method is None else entry.local_method,
            *sizes,
            len(local_name),
            len(entry.local_extra),
        )
        body += local_name + entry.local_extra + packed
        central += entry.central_mark + struct.pack("<6H3L", 0x314, entry.version, entry.flags, method, *sizes)
        central += struct.pack("<5H2L", len(entry.name), len(entry.extra), 0, entry.disk, 0, entry.mode << 16, start)
        central += entry.name + entry.extra
    body += between
    number = min(len(entries), 65535) if count is None else count
    at = len(body) - shift if offset is None else offset
    body += central + zip64
    body += struct.pack(
        "<4s4H2LH", b"PK\5\6", disk, disk, number, number, len(central) if size is None else size, at, len(comment)
    )
    return bytes(body + comment)


def png(level: int = 0, width: int = 32, height: int = 32) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (level,) * 3).save(file, "PNG")
    return file.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    content = bytearray(png())
    struct.pack_into(">2L", content, 16, width, height)
    struct.pack_into(">L", content, 29, zlib.crc32(content[12:29]))
    return bytes(content)


GOOD = [Entry(f"{label}/{i}.png".encode(), png(20 * i + 5)) for label in ("cat", "dog") for i in range(3)]


def bomb(size: int) -> bytes:
    """That many zero bytes behind the first ones of a picture, deflated a thousandfold."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(2**20)
    parts = [deflate.compress(png())]
    parts += [deflate.compress(block) for _ in range(size // len(block))]
    return b"".join([*parts, deflate.flush()])


def with_entry(name: bytes | str, content: bytes | None = None, **fields: object) -> Callable[[], bytes]:
    raw = name.encode() if isinstance(name, str) else name
    return lambda: zipped([*GOOD, Entry(raw, png() if content is None else content, **fields)])  # type: ignore[arg-type]


def last(**fields: object) -> Callable[[], bytes]:
    """The good pictures, the last of which is described otherwise."""
    return lambda: zipped([*GOOD[:-1], replace(GOOD[-1], **fields)])  # type: ignore[arg-type]


def around(**options: object) -> Callable[[], bytes]:
    return lambda: zipped(GOOD, **options)  # type: ignore[arg-type]


def zip64_extra(*values: int) -> bytes:
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def many_bombs(declared: int | None) -> Callable[[], bytes]:
    def build() -> bytes:
        size = 60 * 2**20
        packed = bomb(size)
        told = len(png()) + size if declared is None else declared
        # None has its checksum, which is found out at its end.
        bombs = [Entry(b"cat/bomb%d.png" % i, packed=packed, method=8, declared=told, crc=1) for i in range(20)]
        return zipped([*GOOD, *bombs])

    return build


def overlapping() -> bytes:
    """Many entries that share one bomb (Fifield, "A better zip bomb", 2019, without quoting)."""
    kernel = Entry(b"cat/bomb.png", packed=bomb(2**24), method=8, declared=2**24, crc=1)
    start = len(zipped(GOOD[:-1])) - len(zipped([])) - sum(46 + len(entry.name) for entry in GOOD[:-1])
    return zipped([*GOOD[:-1], kernel, *(replace(kernel, packed=b"", offset=start) for _ in range(100))])


def quoting() -> bytes:
    """The extra field of each entry hides the header of the next one, so that all of them share the last one's data."""
    packed = bomb(2**24)
    names = [b"cat/bomb%d.png" % i for i in range(3)]
    body = b""
    offsets: list[int] = []
    for name in reversed(names):
        extra = struct.pack("<2H", 0xFFFF, len(body)) + body if body else b""
        header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, 1, len(packed), 2**24, len(name), len(extra))
        offsets = [0, *(offset + len(header) + len(name) + 4 for offset in offsets)]
        body = header + name + extra if body else header + name
    central = b"".join(
        struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, 1, len(packed), 2**24, len(name), 0, 0, 0, 0, 0, offset
        )
        + name
        for name, offset in zip(names, offsets, strict=True)
    )
    at = len(body) + len(packed)
    return body + packed + central + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(central), at, 0)


def zip_in_zip() -> bytes:
    """What a zip that holds itself looks like to whoever opens it once."""
    inner = zipped(GOOD)
    for _ in range(5):
        inner = zipped([Entry(b"cat/inner.zip", inner)])
    return zipped([*GOOD, Entry(b"cat/inner.zip", inner)])


def progressive_jpeg_of_many_scans() -> bytes:
    file = io.BytesIO()
    Image.new("L", (4000, 4000)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    scan = content.rindex(b"\xff\xda")
    return content[:-2] + content[scan:-2] * 300 + content[-2:]


def animation_of_many_frames() -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(
        file, "GIF", save_all=True, append_images=[Image.new("L", (8, 8), i) for i in range(99)]
    )
    return file.getvalue()


def empty_entries(count: int) -> bytes:
    return zipped([Entry(b"%d/%d" % (i % 2, i)) for i in range(count)])


REFUSED, SKIPPED, HARMLESS = "refused", "skipped", "harmless"
ELSEWHERE = "does not name a file inside the zip"
DAMAGED = "^damaged or cut off in the zip$"
NO_ZIP = "not a zip archive, or is damaged"
TWO_WAYS = "in two different ways or overlaps it"

CORPUS: dict[str, tuple[Callable[[], bytes], str, str | int]] = {
    # Names that lead elsewhere.
    "parent folder": (with_entry("../1.png"), REFUSED, ELSEWHERE),
    "parent folder deep inside": (with_entry("cat/../../../etc/1.png"), REFUSED, ELSEWHERE),
    "parent folder as a folder": (with_entry("cat/../", b""), REFUSED, ELSEWHERE),
    "absolute": (with_entry("/etc/cron.d/1.png"), REFUSED, ELSEWHERE),
    "two slashes": (with_entry("//host/share/1.png"), REFUSED, ELSEWHERE),
    "drive": (with_entry("C:\\cat\\1.png"), REFUSED, ELSEWHERE),
    "drive with slashes": (with_entry("C:/cat/1.png"), REFUSED, ELSEWHERE),
    "drive without a folder": (with_entry("c:1.png"), REFUSED, ELSEWHERE),
    "backslashes": (with_entry("..\\..\\1.png"), REFUSED, ELSEWHERE),
    "network share": (with_entry("\\\\host\\share\\1.png"), REFUSED, ELSEWHERE),
    "zero byte": (with_entry(b"cat/x.png\0.txt"), REFUSED, ELSEWHERE),
    "line break": (with_entry("cat/\nx.png"), REFUSED, ELSEWHERE),
    "escape sequence": (with_entry("cat/\x1b[2Jx.png"), REFUSED, ELSEWHERE),
    "control character above 127": (with_entry("cat/\x9bx.png", flags=0x800), REFUSED, ELSEWHERE),
    "this folder": (with_entry("cat/./x.png"), REFUSED, ELSEWHERE),
    "no name": (with_entry(""), REFUSED, f"`.no name.` {ELSEWHERE}"),
    "empty folder name": (with_entry("cat//x.png"), REFUSED, ELSEWHERE),
    "only a slash": (with_entry("/", b""), REFUSED, ELSEWHERE),
    # Names that are only odd: no name ever reaches the disk.
    "right to left": (with_entry("cat/\u202egnp.exe.png", b"x", flags=0x800), SKIPPED, "`.gnp.exe.png`|not a JPEG"),
    "right-to-left class": (with_entry("\u202edog/x.png", flags=0x800), REFUSED, "cannot be shown"),
    "300 characters": (with_entry("cat/" + "n" * 300 + ".png"), HARMLESS, 7),
    "60,000 characters": (with_entry("cat/" + "n" * 60_000 + ".txt", b""), SKIPPED, "not an image"),
    "class of 300 characters": (with_entry("n" * 300 + "/x.png"), REFUSED, "has 300 characters and the limit is 100"),
    "90 folders deep": (with_entry("cat/" + "x/" * 89 + "1.png"), HARMLESS, 7),
    "30,000 folders deep": (with_entry("cat/" + "x/" * 30_000 + "1.png"), REFUSED, "30,001 folders deep"),
    "100 folders deep 10,000 times": (
        lambda: zipped([*GOOD, *(Entry(b"%d/" % i + b"x/" * 99) for i in range(10_000))]),
        HARMLESS,
        6,
    ),
    "Markdown": (with_entry("cat/[x](javascript:alert(1))<img src=x>.png", b"x"), SKIPPED, "not a JPEG"),
    "backticks": (with_entry("`cat`\u2028/x.png", flags=0x800), REFUSED, "cannot be shown"),
    "device name": (with_entry("cat/CON.png"), HARMLESS, 7),
    "device name with a stream": (with_entry("cat/aux::$DATA.png"), HARMLESS, 7),
    "name that is no UTF-8": (with_entry(b"cat/\xff\xfe.png", flags=0x800), REFUSED, NO_ZIP),
    "name in an old encoding": (with_entry(b"cat/\x81\xff.png"), HARMLESS, 7),
    "class names that differ in case": (with_entry("CAT/x.png"), REFUSED, "differ only in case"),
    "twice": (with_entry("cat/0.png"), REFUSED, "`cat/0.png` twice"),
    "hidden": (with_entry("cat/.htaccess.png"), SKIPPED, "^hidden"),
    "resource fork": (with_entry("__MACOSX/cat/._0.png", b"x"), SKIPPED, "^hidden"),
    # Two descriptions that disagree.
    "another local name": (last(local_name=b"../2.png"), REFUSED, TWO_WAYS),
    "a shorter local name": (last(local_name=b"dog/2.pn"), REFUSED, TWO_WAYS),
    "another local method": (last(local_method=8), REFUSED, TWO_WAYS),
    "no local header": (last(local_mark=b"PK\7\x08"), REFUSED, TWO_WAYS),
    "no central header": (last(central_mark=b"PK\3\4"), REFUSED, NO_ZIP),
    # Places that overlap or lie outside.
    "the place of another": (last(offset=0), REFUSED, "overlaps"),
    "a place inside of another": (last(offset=50), REFUSED, "overlaps"),
    "a place behind the end": (last(offset=2**31), REFUSED, "outside of the zip"),
    "a place far behind the end": (last(offset=2**32 - 1, extra=zip64_extra(2**64 - 1)), REFUSED, "outside of the zip"),
    "overlapping bombs": (overlapping, REFUSED, "overlaps|twice"),
    "quoted bombs": (quoting, REFUSED, "overlaps"),
    "more packed bytes than there are": (last(declared_packed=10**6), REFUSED, "overlaps"),
    "local extra field over the next entry": (
        lambda: zipped([replace(GOOD[0], local_extra=b"x"), *GOOD[1:]]).replace(
            b"\1\0cat/0.png", b"\xff\xffcat/0.png", 1
        ),
        REFUSED,
        "overlaps",
    ),
    "extra field longer than it is": (last(extra=struct.pack("<2H", 7, 500)), REFUSED, NO_ZIP),
    "negative place": (around(offset=2**31), REFUSED, f"{NO_ZIP}|outside of the zip"),
    # Encryption, compression, parts, versions.
    "encrypted": (last(flags=1), REFUSED, "is encrypted"),
    "strongly encrypted": (last(flags=0x41), REFUSED, "is encrypted"),
    "encrypted in one description": (last(local_flags=1), REFUSED, TWO_WAYS),
    "bzip2": (last(method=12), REFUSED, "compressed in an unusual way"),
    "lzma": (last(method=14), REFUSED, "compressed in an unusual way"),
    "deflate64": (last(method=9), REFUSED, "compressed in an unusual way"),
    "unknown compression": (last(method=99), REFUSED, "compressed in an unusual way"),
    "another disk": (last(disk=3), REFUSED, "lies in another part"),
    "a version to come": (last(version=255), REFUSED, NO_ZIP),
    # Bombs and lies about sizes.
    "declared small, large": (
        with_entry("cat/x.png", packed=bomb(2**26), method=8, declared=100, crc=1),
        SKIPPED,
        DAMAGED,
    ),
    "declared large, small": (with_entry("cat/x.png", deflate=True, declared=2**30), SKIPPED, DAMAGED),
    "declared 16 EiB": (
        with_entry("cat/x.png", deflate=True, declared=2**32 - 1, extra=zip64_extra(2**64 - 1)),
        SKIPPED,
        DAMAGED,
    ),
    "zip64 without its values": (last(declared=2**32 - 1, extra=struct.pack("<2H", 1, 0)), REFUSED, NO_ZIP),
    "one file of 200 MiB": (
        lambda: zipped([*GOOD, Entry(b"cat/x.png", packed=bomb(200 * 2**20), method=8, declared=201 * 2**20)]),
        SKIPPED,
        "^too large for one image$",
    ),
    "1.2 GiB in twenty files": (many_bombs(None), REFUSED, "more than 1 GiB unpacked"),
    "1.2 GiB that are declared as bytes": (many_bombs(10), HARMLESS, 6),
    "100,001 entries": (lambda: empty_entries(100_001), REFUSED, "more than 100,000 entries"),
    "100,000 entries": (lambda: empty_entries(100_000), REFUSED, "no folders with images"),
    "zip in zip in zip": (zip_in_zip, SKIPPED, "an archive of its own"),
    "gzip bomb": (with_entry("cat/x.tar.gz", b"\x1f\x8b"), SKIPPED, "an archive of its own"),
    # Damage.
    "wrong checksum": (with_entry("cat/x.png", crc=1), SKIPPED, DAMAGED),
    "no deflate data": (with_entry("cat/x.png", packed=b"\xff" * 50, method=8), SKIPPED, DAMAGED),
    "deflate data cut off": (with_entry("cat/x.png", packed=squeezed(png())[:-9], method=8), SKIPPED, DAMAGED),
    "deflate data that are none": (with_entry("cat/x.png", packed=b"", method=8), SKIPPED, DAMAGED),
    "central directory cut off": (lambda: zipped(GOOD)[:-60], REFUSED, NO_ZIP),
    "half a zip": (lambda: zipped(GOOD)[:200], REFUSED, NO_ZIP),
    "end alone": (lambda: zipped([]), REFUSED, "no folders with images"),
    "end twice": (lambda: zipped(GOOD) + zipped([]), REFUSED, "no folders with images"),
    "another count": (around(count=1), HARMLESS, 6),
    "65,535 counted": (around(count=65535), HARMLESS, 6),
    "a directory of 4 GiB": (around(size=2**32 - 2), REFUSED, NO_ZIP),
    "an empty directory": (around(size=0), REFUSED, "no folders with images"),
    "zip64 end of nothing": (around(zip64=struct.pack("<4sLQL", b"PK\6\7", 0, 2**60, 1)), REFUSED, NO_ZIP),
    "zip64 end on three disks": (around(zip64=struct.pack("<4sLQL", b"PK\6\7", 2, 0, 3)), REFUSED, NO_ZIP),
    # Around the archive.
    "a program in front": (around(prefix=b"MZ" + bytes(5000), shift=5002), HARMLESS, 6),
    "a shell script in front": (around(prefix=b"#!/bin/sh\nrm -rf /\n"), HARMLESS, 6),
    "a gap before the directory": (around(between=bytes(999)), HARMLESS, 6),
    "comment": (around(comment=b"x" * 65535), HARMLESS, 6),
    "comment that is an end of its own": (
        around(comment=zipped([])[:-1]),
        REFUSED,
        f"{NO_ZIP}|no folders with images",
    ),
    "comment that is a whole zip": (around(comment=zipped([Entry(b"../x", b"")])), REFUSED, ELSEWHERE),
    # Entries that are no files.
    "link": (with_entry("cat/x.png", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), SKIPPED, "^a link"),
    "link to a folder": (with_entry("cat/x", b"../..", mode=stat.S_IFLNK | 0o777), SKIPPED, "^a link"),
    "pipe": (with_entry("cat/x.png", mode=stat.S_IFIFO | 0o666), SKIPPED, "^not a plain file$"),
    "device": (with_entry("cat/x.png", mode=stat.S_IFBLK | 0o666), SKIPPED, "^not a plain file$"),
    "folder that is no folder": (with_entry("cat/x.png", mode=stat.S_IFDIR | 0o777), SKIPPED, "^not a plain file$"),
    "folder with content": (with_entry("cat/x.png/"), SKIPPED, "^an empty folder"),
    "program": (with_entry("cat/x.png", mode=stat.S_IFREG | 0o4777), HARMLESS, 7),
    # Pictures.
    "no bytes": (with_entry("cat/x.png", b""), SKIPPED, "^empty$"),
    "10 gigapixels by the header": (with_entry("cat/x.png", png_that_claims(10**5, 10**5)), SKIPPED, "the limit is 50"),
    "no pixels by the header": (with_entry("cat/x.png", png_that_claims(0, 0)), SKIPPED, "damaged, cut short"),
    "cut short": (with_entry("cat/x.png", png()[:-30]), SKIPPED, "damaged, cut short"),
    "text called an image": (with_entry("cat/x.png", b"#!/bin/sh"), SKIPPED, "not a JPEG, PNG"),
    "zip called an image": (with_entry("cat/x.png", zipped(GOOD)), SKIPPED, "not a JPEG, PNG"),
    "PostScript": (with_entry("cat/x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n"), SKIPPED, "not a JPEG, PNG"),
    "SVG": (with_entry("cat/x.svg", b"<svg onload='alert(1)'/>"), SKIPPED, "not an image of a type"),
    "300 scans": (lambda: with_entry("cat/x.jpg", progressive_jpeg_of_many_scans())(), SKIPPED, "far more than"),
    "100 frames": (lambda: with_entry("cat/x.gif", animation_of_many_frames())(), HARMLESS, 7),
}


WRITES = {"os.mkdir", "os.symlink", "os.link", "os.rename", "os.truncate", "os.mkfifo", "os.mknod", "subprocess.Popen"}
written: list[tuple[object, ...]] | None = None


def note_writes(event: str, arguments: tuple[object, ...]) -> None:
    if written is None:
        return
    if event in WRITES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o1103):
        written.append((event, *arguments))  # flags: O_WRONLY, O_RDWR, O_CREAT, O_TRUNC


sys.addaudithook(note_writes)  # such a hook stays to the end of the process, so it is silent outside of `watched`


def resident(which: str) -> int:
    """Bytes of memory this process holds (`VmRSS`), or has held at most (`VmHWM`), Pillow's included."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(which))


@contextmanager
def watched() -> Iterator[None]:
    """Fails if anything is written, if it takes more than MAX_SECONDS, or more than MAX_BYTES of memory."""
    global written
    with open("/proc/self/clear_refs", "w") as counters:
        counters.write("5")  # from here on the peak is counted anew (proc_pid_clear_refs(5))
    before, start = resident("VmRSS"), time.process_time()
    seen: list[tuple[object, ...]] = []
    written = seen
    try:
        yield
    finally:
        written = None
    seconds, peak = time.process_time() - start, resident("VmHWM") - before
    assert not seen and seconds < MAX_SECONDS and peak < MAX_BYTES


def outcome(content: bytes) -> Dataset | ValueError:
    with watched():
        try:
            return load(io.BytesIO(content), validation=0)
        except ValueError as error:
            return error


def test_there_are_enough_of_them():
    assert len(CORPUS) >= 50


@pytest.mark.parametrize("name", CORPUS)
def test_each_has_its_outcome(name):
    build, expected, detail = CORPUS[name]
    found = outcome(build())
    if expected == REFUSED:
        assert type(found) is ValueError, found
        text = str(found)
        assert re.search(str(detail), text), text
        assert text.endswith(".") and ". " not in text and text.isprintable() and len(text) < 400
        assert not any(word in text for word in ("Error", "Bad", "zipfile", "Traceback", "<", "0x"))
        return
    assert isinstance(found, Dataset), found
    total = len(found.train) + len(found.test)
    if expected == HARMLESS:
        assert total == detail
        return
    assert total == len(GOOD)
    (skipped,) = found.skipped
    assert re.search(str(detail), skipped.reason), skipped
    assert skipped.path.isprintable() and len(skipped.path) <= 80


def test_the_good_pictures_alone_load():
    found = outcome(zipped(GOOD))
    assert isinstance(found, Dataset) and found.skipped == () and len(found.train) + len(found.test) == len(GOOD)
    assert found.class_names == ("cat", "dog")


def test_the_watch_sees_a_written_file(tmp_path):
    with pytest.raises(AssertionError), watched():
        (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(AssertionError), watched():
        (tmp_path / "folder").mkdir()
    # Of a mapping of its own: an array may come from memory that this process has kept since an earlier test. Well
    # above the limit: the kernel counts resident pages for each thread or core and adds them up later.
    piece = bytes(2**20)
    with pytest.raises(AssertionError), watched(), mmap.mmap(-1, MAX_BYTES * 3 // 2) as memory:
        while memory.tell() < len(memory):
            memory.write(piece)
    with watched():
        (tmp_path / "x").read_bytes()


def test_many_skipped_files_are_counted_and_the_first_are_listed():
    hidden = [Entry(b"__MACOSX/cat/._%d.png" % i) for i in range(3 * folders.MAX_SKIPPED)]
    others = [Entry(b"cat/%04d.txt" % i) for i in range(folders.MAX_SKIPPED - 10)]
    found = outcome(zipped([*GOOD, *hidden, *others]))
    assert isinstance(found, Dataset)
    assert len(found.skipped) == folders.MAX_SKIPPED
    assert [skipped.path for skipped in found.skipped[:-10]] == [entry.name.decode() for entry in others]
    assert "Of 3,990 files that are left out, 1,000 are listed." in found.notes
