"""HEIC and AVIF, pictures in boxes (ISO/IEC 14496-12 and 23008-12): measured and opened, not yet decoded.

libheif refuses a coded picture that is larger than its box says, and libavif does not: what an AVIF really holds is
read here from the sequence headers of its AV1 data.
"""

import ctypes
import io
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from PIL import AvifImagePlugin
from PIL.ImageFile import ImageFile

from explorer.images.rendering import MAX_PIXELS

_BRANDS = {
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"},
}
_MAX_PARTS = 20_000  # boxes, or units of AV1 data, in one file
_LIBHEIF_PIXELS = 2**30  # what libheif allows, unless it is told otherwise: a check that this is the number meant

# One thread a picture: two are decoded at once, beside networks that take the other cores.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def kind(data: bytes) -> str | None:
    """AVIF, HEIC, or None where the first box names neither."""
    if data[4:8] != b"ftyp":
        return None
    brands = data[8 : min(int.from_bytes(data[:4]), 256)]
    named = [brands[start : start + 4] for start in (0, *range(8, len(brands), 4))]
    named = [brand for brand in named if brand not in (b"mif1", b"msf1")] or named  # these two tell no coding
    return next((found for brand in named for found, known in _BRANDS.items() if brand in known), None)


def open_avif(file: io.BytesIO) -> ImageFile:
    return AvifImagePlugin.AvifImageFile(file)


def open_heic(file: io.BytesIO) -> ImageFile:
    image: ImageFile = _heif().HeifImageFile(file)
    return image


@cache
def _heif() -> Any:
    """pillow-heif, imported where the first such picture comes."""
    import pillow_heif

    options = pillow_heif.options
    options.DECODE_THREADS, options.DISABLE_SECURITY_LIMITS = 1, False
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    # pillow-heif passes no limit on. These are the first fields of libheif's `heif_security_limits`, which also hold
    # for what is beside the picture, such as its transparency.
    limits_of = ctypes.CDLL(sys.modules["_pillow_heif"].__file__).heif_get_global_security_limits
    limits_of.restype = ctypes.POINTER(ctypes.c_uint64 * 2)
    limits = limits_of().contents
    if limits[1] == _LIBHEIF_PIXELS:
        limits[1] = MAX_PIXELS + MAX_PIXELS // 50  # a coder pads the edges
    return pillow_heif


def pixels_to_decode(image: ImageFile, data: bytes) -> tuple[int, int]:
    """Pixels of the largest picture that decoding would make, and of all of them together. Raises ValueError."""
    if isinstance(image, AvifImagePlugin.AvifImageFile):
        areas = [area for sample in _av1_samples(data) for area in _frame_areas(sample)]
        return max(areas, default=0), sum(areas)
    tiles = image.info.get("tiling") or dict.fromkeys(("num_columns", "num_rows", "tile_width", "tile_height"), 0)
    area = tiles["tile_width"] * tiles["tile_height"]
    return area, area * tiles["num_columns"] * tiles["num_rows"]


def _number(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size])


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of each box's content."""
    for _ in range(_MAX_PARTS):
        if start + 8 > end:
            return
        size, head = _number(data, start, 4), 8
        if size == 1:
            size, head = _number(data, start + 8, 8), 16
        size = size or end - start
        if size < head:
            raise ValueError("a box smaller than its head")
        yield data[start + 4 : start + 8], start + head, min(start + size, end)
        start += size
    raise ValueError("too many boxes")


def _inside(data: bytes, start: int, end: int, *path: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of the content of all boxes along that path of types."""
    for found, begin, stop in _boxes(data, start, end):
        if found == path[0]:
            yield from _inside(data, begin, stop, *path[1:]) if len(path) > 1 else [(begin, stop)]


def _av1_samples(data: bytes) -> Iterator[bytes]:
    """The AV1 data of each item, and of the first picture of each track."""
    for start, end in _inside(data, 0, len(data), b"meta"):
        coded = set()
        for begin, stop in _inside(data, start + 4, end, b"iinf"):
            for entry, _ in _inside(data, begin + (8 if data[begin] else 6), stop, b"infe"):
                size = 4 if data[entry] == 3 else 2
                if data[entry + 6 + size : entry + 10 + size] == b"av01":
                    coded.add(_number(data, entry + 4, size))
        inline = next(_inside(data, start + 4, end, b"idat"), (0, 0))[0]
        for begin, stop in _inside(data, start + 4, end, b"iloc"):
            yield from _located(data, begin, stop, coded, inline)
    for start, end in _inside(data, 0, len(data), b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        tables = {found: begin for found, begin, _ in _boxes(data, start, end)}
        if b"stsd" in tables and b"stsz" in tables and data[tables[b"stsd"] + 12 : tables[b"stsd"] + 16] == b"av01":
            size = _number(data, tables[b"stsz"] + 4, 4) or _number(data, tables[b"stsz"] + 12, 4)
            wide = 8 if b"co64" in tables else 4
            chunk = _number(data, tables[b"co64" if wide == 8 else b"stco"] + 8, wide)
            yield data[chunk : chunk + size]


def _located(data: bytes, start: int, end: int, wanted: set[int], inline: int) -> Iterator[bytes]:
    """The data of the wanted items by an `iloc` box (ISO/IEC 14496-12, section 8.11.3); `inline` is where that of an
    `idat` box begins."""
    version, sizes = data[start], _number(data, start + 4, 2)
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    at, total = start + 6, 0

    def take(size: int) -> int:
        nonlocal at
        at += size
        if at > end:
            raise ValueError("a table of items that is cut short")
        return _number(data, at - size, size)

    wide = 4 if version == 2 else 2
    for _ in range(take(wide)):
        item = take(wide)
        method = take(2) & 15 if version else 0
        take(2)
        origin = take(base) + (inline if method == 1 else 0)
        parts = []
        for _ in range(take(2)):
            take(index if version else 0)
            begin, size = origin + take(offset), take(length)
            parts.append(data[begin : begin + size] if size else data[begin:])
            total += len(parts[-1])
            if total > 2 * len(data):
                raise ValueError("items that overlap")
        if item in wanted:
            yield b"".join(parts)


def _frame_areas(sample: bytes) -> Iterator[int]:
    """The pixels of each frame in AV1 data, shown or not (AV1, sections 5.3 and 5.5)."""
    at, area = 0, 0
    for _ in range(_MAX_PARTS):
        if at >= len(sample):
            return
        head = sample[at]
        at += 2 if head & 4 else 1
        size = len(sample) - at
        if head & 2:
            size, more, shift = 0, 0x80, 0
            while more & 0x80 and shift < 56:
                more = _number(sample, at, 1)
                size, at, shift = size | (more & 0x7F) << shift, at + 1, shift + 7
        unit = head >> 3 & 15
        if unit == 1:
            area = max(area, _sequence_area(sample[at : at + 200]))
        elif unit in (3, 6):
            yield area
        at += size
    raise ValueError("too many units")


def _sequence_area(content: bytes) -> int:
    """Largest width times height of a frame by a sequence header (AV1, section 5.5.1)."""
    bits, at = int.from_bytes(content.ljust(200, b"\0")), 1600

    def take(count: int) -> int:
        nonlocal at
        at -= count
        return bits >> at & (1 << count) - 1

    take(4)
    if take(1):  # a still picture with a short header
        take(5)
    else:
        delay_bits = 0
        if take(1):  # timing
            take(64)
            if take(1):
                zeros = next((zeros for zeros in range(32) if take(1)), 0)
                take(zeros)
            if take(1):
                delay_bits = take(5) + 1
                take(42)
        has_delays = take(1)
        for _ in range(take(5) + 1):
            take(12)
            if take(5) > 7:
                take(1)
            if delay_bits and take(1):
                take(2 * delay_bits + 1)
            if has_delays and take(1):
                take(4)
    wide, tall = take(4) + 1, take(4) + 1
    return (take(wide) + 1) * (take(tall) + 1)
