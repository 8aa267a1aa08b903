"""DICOM files: the pixels of the first frame and the window in which they are meant to be seen, and nothing else.

No element that names a patient is kept: of the file only the elements in `_WANTED` are, and pydicom, which warns of
damaged elements and quotes them, is silent.
"""

import io
import logging
import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile

_START = re.compile(
    rb"(?s).{128}DICM|DICM\x02\x00"
    rb"|\x02\x00[\x00-\x02]\x00(UL|OB|UI|[\x04\x02]\x00\x00\x00)"  # without a preamble
    rb"|\x08\x00[\x00-\x18]\x00(CS|UI|SH|LO|UL|DA|TM|.\x00\x00\x00)"  # and without the head of the file
)
_WANTED = [
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "FloatPixelData"),
    *("DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData"),
    *("GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData"),
    *("BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
_MAX_VISITS = 10**9  # of pixels, by all scans of a JPEG
_MAX_READS = 300_000  # of the file; an element takes two or three
_MAX_VALUE = 2**17  # bytes of one element beside pixels and sequences: a lookup table has 65,536 entries of 16 bits
_MAX_OFFSETS = 2**20  # bytes of a table of frames
_TOO_MANY = "with far too many elements; export its image as PNG and upload that."
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")  # implicit, explicit, big-endian
_DEFLATED = "1.2.840.10008.1.2.1.99"
_RUN_LENGTHS = "1.2.840.10008.1.2.5"
_JPEG = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
_JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}


class UnreadableDicomError(ValueError):
    """The text goes on after "`name` is a DICOM file"."""


@dataclass(frozen=True)
class Window:
    """Which values are seen from black to white (DICOM PS3.3, section C.11.2): by `centre`, `width` and `function`, or
    by a `table` of shares 0..1 whose first entry is for `first`. `name` is for a sentence; None where all of the values
    that can be stored are seen."""

    centre: float = 0.0
    width: float = 1.0
    function: str = "LINEAR"
    first: int = 0
    table: np.ndarray | None = None
    name: str | None = None

    def shares(self, values: np.ndarray) -> np.ndarray:
        """float64 0..1 for `values`."""
        if self.table is not None:
            return _looked_up(values, self.first, self.table)
        offset = values.astype(np.float64) - self.centre
        if self.function == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * offset / self.width, -700, 700)))
        if self.function == "LINEAR_EXACT":
            return np.clip(offset / self.width + 0.5, 0, 1)
        return np.clip((offset + 0.5) / max(self.width - 1, 1e-9) + 0.5, 0, 1)


@dataclass(frozen=True, eq=False)
class DicomImage:
    """`values` are (H, W) of one channel, or uint8 (H, W, 3) in RGB. Those of one channel are seen through the
    `window`, None where the file names none and they have more than 8 bits; `inverted`: small ones stand for white."""

    values: np.ndarray
    window: Window | None
    inverted: bool
    frames: int


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins so looks like one."""
    return _START.match(start) is not None


class _Counted(io.BytesIO):
    """Ends a file that would take more reads than any picture needs, such as one of millions of elements."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _MAX_READS:
            raise UnreadableDicomError(_TOO_MANY)
        return super().read(size)


@cache
def _pydicom() -> Any:
    """pydicom, imported where the first such file comes, and silent."""
    import pydicom
    import pydicom.encaps
    import pydicom.hooks
    import pydicom.misc
    import pydicom.pixels.processing

    convert = pydicom.hooks.raw_element_value

    def convert_within_limits(raw: Any, data: dict[str, Any], **more: Any) -> None:
        """Of a sequence only the first item is made, and no object for each of a million numbers or texts."""
        kind, content = str(data["VR"]), raw.value or b""
        if kind == "SQ":
            order = raw.is_implicit_VR, raw.is_little_endian
            encoding = more.get("encoding") or pydicom.charset.default_encoding
            first = content and pydicom.filereader.read_sequence_item(_Counted(content), *order, encoding)
            data["value"] = pydicom.sequence.Sequence([first] if first else [])
        elif len(content) > _MAX_VALUE and kind[0] != "O" and kind[-2:] not in ("UN", "OW"):  # those stay bytes
            raise UnreadableDicomError(_TOO_MANY)
        else:
            convert(raw, data, **more)

    pydicom.hooks.hooks.register_callback("raw_element_value", convert_within_limits)
    characters = pydicom.values.convert_string  # of the character set, which is looked at while a file is read
    vars(pydicom.values)["convert_string"] = lambda content, *more: characters(content[:1000], *more)
    logger = logging.getLogger("pydicom")
    logger.handlers, logger.propagate = [logging.NullHandler()], False
    vars(pydicom.misc)["warnings"] = SimpleNamespace(warn=lambda *_, **__: None)
    return pydicom


def read(data: bytes, most_bytes: int, check_size: Callable[[int, int], None]) -> DicomImage:
    """The first frame. `check_size` raises for a width and height that are too large, before the pixels are read.

    Raises UnreadableDicomError for a file without an image or of a kind that cannot be read, and anything else for a
    damaged one.
    """
    pydicom = _pydicom()
    if data.startswith(b"DICM"):
        data = bytes(128) + data
    start = _Counted(data)
    pydicom.filereader.read_preamble(start, force=True)
    meta = pydicom.filereader._read_file_meta_info(start)
    syntax = meta.get("TransferSyntaxUID")
    if syntax == _DEFLATED:
        unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
        data = unpacking.decompress(data[start.tell() :], most_bytes)
        if unpacking.unconsumed_tail:
            raise UnreadableDicomError(f"of more than {most_bytes // 2**20} MB unpacked; export its image as PNG.")

    wanted = [pydicom.tag.Tag(name) for name in _WANTED]

    def elements(with_pixels: bool) -> Any:
        file = _Counted(data)
        if syntax != _DEFLATED:
            return pydicom.dcmread(file, force=True, stop_before_pixels=not with_pixels, specific_tags=wanted)
        stop = None if with_pixels else pydicom.filereader._at_pixel_data
        return pydicom.filereader.read_dataset(file, False, True, stop_when=stop, specific_tags=wanted)

    found = elements(with_pixels=False)
    if not found.get("Rows") or not found.get("Columns"):
        raise UnreadableDicomError("without an image, such as a report; choose the file of an image.")
    rows, columns, samples, bits = int(found.Rows), int(found.Columns), int(found.SamplesPerPixel), found.BitsAllocated
    check_size(columns, rows)
    if samples not in (1, 3) or bits not in (1, 8, 16, 32, 64):
        raise ValueError("no picture")
    found = elements(with_pixels=True)
    if not any(name in found for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise UnreadableDicomError("without an image, such as a report; choose the file of an image.")
    if syntax is None or syntax == _DEFLATED:
        implicit, little = found.original_encoding
        syntax = pydicom.uid.UID(_UNCOMPRESSED[0 if implicit else 1 if little else 2])
    frames = max(1, int(found.get("NumberOfFrames") or 1))
    if syntax not in _UNCOMPRESSED:
        _check_frame(pydicom, found, syntax, frames, rows * columns * samples * bits // 8)
    found.file_meta = pydicom.dataset.FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    return _image(pydicom, found, pydicom.pixels.pixel_array(found, index=0), frames)


def _check_frame(pydicom: Any, found: Any, syntax: str, frames: int, size: int) -> None:
    """Raises where the compressed first frame is of a kind that cannot be read, or not of the size that the file
    says."""
    reader = JpegImageFile if syntax in _JPEG else Jpeg2KImageFile if syntax in _JPEG_2000 else None
    if reader is None and syntax != _RUN_LENGTHS:
        name = pydicom.uid.UID(syntax).name
        raise UnreadableDicomError(
            f"with {'compressed' if name == syntax else name} pixels, which cannot be read here; save it uncompressed, "
            "for example with `gdcmconv --raw`, or export its image as PNG."
        )
    extended = [found.get(f"ExtendedOffsetTable{end}") for end in ("", "Lengths")]
    if max(int.from_bytes(found.PixelData[4:8], "little"), *(len(table or b"") for table in extended)) > _MAX_OFFSETS:
        raise UnreadableDicomError(_TOO_MANY)
    frame = pydicom.encaps.get_frame(
        _Counted(found.PixelData), 0, number_of_frames=frames, extended_offsets=extended if all(extended) else None
    )
    if reader is None:
        _check_run_lengths(frame, size)
        return
    with reader(io.BytesIO(frame)) as image:
        if image.size != (found.Columns, found.Rows):
            raise ValueError("a picture of another size inside")
        if found.BitsStored > 8 and reader is JpegImageFile:
            raise UnreadableDicomError(
                "with 12-bit JPEG pixels, which cannot be read here; save it uncompressed, for example with "
                "`gdcmconv --raw`, or export its image as PNG."
            )
        if len(re.findall(rb"\xff\xda", frame)) * found.Rows * found.Columns > _MAX_VISITS:
            raise ValueError("too many scans")


def _check_run_lengths(frame: bytes, size: int) -> None:
    """Raises ValueError where the segments (DICOM PS3.5, annex G) hold more bytes than the `size` of the picture."""
    count, *starts = np.frombuffer(frame[:64], "<u4").tolist()
    if not 1 <= count <= 15:
        raise ValueError("no segments")
    starts = [*starts[:count], len(frame)]
    most = size // count
    for at, end in zip(starts, starts[1:], strict=False):
        length = 0
        while at < end and at < len(frame):
            code = frame[at]
            length += code + 1 if code < 128 else 257 - code if code > 128 else 0
            at += code + 2 if code < 128 else 2 if code > 128 else 1
            if length > most + 128:
                raise ValueError("a segment larger than the picture")


def _looked_up(values: np.ndarray, first: int, table: np.ndarray) -> np.ndarray:
    return table[np.clip(values.astype(np.int64) - first, 0, len(table) - 1)]


def _table(item: Any) -> tuple[int, np.ndarray, int]:
    """First value, entries and bits of a lookup table in a sequence."""
    _, first, depth = item.LUTDescriptor
    data = item.LUTData
    entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.atleast_1d(np.array(data))
    return int(first), entries[: 2**16], int(depth)


def _image(pydicom: Any, found: Any, values: np.ndarray, frames: int) -> DicomImage:
    kind = str(found.get("PhotometricInterpretation", "MONOCHROME2"))
    bits = int(found.get("BitsStored") or found.BitsAllocated)
    if kind == "PALETTE COLOR":
        values = pydicom.pixels.processing.apply_color_lut(values, found)[..., :3]
        bits = 8 * values.itemsize
    if values.ndim == 3:
        if values.shape[2] != 3 or values.dtype.kind != "u":
            raise ValueError("no colours")
        return DicomImage(values if bits == 8 else (values >> max(bits - 8, 0)).astype(np.uint8), None, False, frames)
    groups = [found]
    for which in ("PerFrame", "Shared"):
        for group in list(found.get(f"{which}FunctionalGroupsSequence") or ())[:1]:
            for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                groups += list(group.get(name) or ())[:1]

    def value(name: str) -> Any:
        """The first of the values by that name."""
        here = next((group.get(name) for group in groups if group.get(name) not in (None, "")), None)
        return here[0] if isinstance(here, pydicom.multival.MultiValue | pydicom.sequence.Sequence | list) else here

    slope, intercept, window = value("RescaleSlope"), value("RescaleIntercept"), None
    whole = values.dtype.kind in "ui"
    if table := value("ModalityLUTSequence"):
        first, entries, bits = _table(table)
        values = _looked_up(values, first, entries)
    elif slope is not None and (slope != 1 or intercept):
        slope, intercept = float(slope), float(intercept or 0)
        if whole and slope == 1 and intercept.is_integer() and abs(intercept) < 2**30 and values.itemsize < 4:
            values = values.astype(np.int32) + int(intercept)
        else:
            values = values * slope + intercept
        bits = 64
    if table := value("VOILUTSequence"):
        first, entries, depth = _table(table)
        window = Window(first=first, table=entries / (2**depth - 1), name="the lookup table")
    elif value("WindowWidth") is not None and value("WindowCenter") is not None:
        centre, width = float(value("WindowCenter")), float(value("WindowWidth"))
        function = str(value("VOILUTFunction") or "LINEAR").upper()
        if math.isfinite(centre) and (width >= 1 if function == "LINEAR" else width > 0) and width < math.inf:
            window = Window(centre, width, function, name=f"the window (centre {centre:g}, width {width:g})")
    if window is None and bits <= 8 and values.dtype.kind == "u":
        most = 2**bits - 1
        window = Window(most / 2, most, "LINEAR_EXACT")
    return DicomImage(values, window, kind == "MONOCHROME1", frames)
