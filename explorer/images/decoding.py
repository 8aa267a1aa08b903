"""Uploaded bytes to checked, upright RGB pixels."""

import contextlib
import ctypes
import io
import logging
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin, _imaging
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from explorer.images import boxed, dicom
from explorer.images.rendering import MAX_PIXELS, PAPER_LEVELS, PLAIN, Rendering, Values, range_of, stretch, strips

MAX_BYTES = 2**26
"""Largest file that is looked into."""

# A progressive JPEG may visit all its pixels once a scan, and a scan can be 30 bytes long. Cameras write about 10.
_MAX_VISITS = 20 * MAX_PIXELS
_MAX_PAGES = 10_000
_SLOTS = threading.BoundedSemaphore(2)

# The first bytes of each format, and its reader. `Image.open` would also look for stereo pictures (MPO) in a JPEG, and
# try other formats by their order of registration.
_FORMATS: tuple[tuple[str, bytes, Callable[[io.BytesIO], ImageFile]], ...] = (
    ("JPEG", rb"\xff\xd8\xff", JpegImageFile),
    ("PNG", rb"\x89PNG\r\n\x1a\n", PngImageFile),
    ("GIF", rb"GIF8[79]a", GifImageFile),
    ("BMP", rb"BM", BmpImageFile),
    ("WEBP", rb"(?s)RIFF....WEBP", WebPImageFile),
    ("TIFF", rb"II[*+]\x00|MM\x00[*+]", TiffImageFile),
)
_DEEP = ("I;16", "I;16B", "I", "F")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
REDUCED = "Its 16-bit values are reduced to their upper 8 bits."
_BOXED = {"AVIF": boxed.open_avif, "HEIC": boxed.open_heic}
FORMATS = "JPEG, PNG, GIF, BMP, WEBP, TIFF, HEIC, AVIF or DICOM"
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .gif .bmp .webp .tif .tiff .heic .heics .heif .heifs .hif .avif .avifs "
    ".dcm .dicom .dic .ima".split()
)
"""Endings of files that may be pictures; `decode` goes by the content."""


class ImageError(ValueError):
    """A picture cannot be shown. The text is one sentence for the person who chose it, and names the file."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An upright picture: `pixels` is uint8 (H, W, 3), RGB, read-only and C-contiguous.

    `name` is fit for display, `format` is one of `FORMATS`, `frames` counts the frames or pages of the file, of which
    `pixels` is the first, or the main one of a HEIC. `notes` holds one sentence for each thing that was done to the
    file's values and that a user must know to judge the picture. A `Rendering` decides what becomes of `values`, those
    of a single channel of more than 8 bits, and of a `transparent` picture.
    """

    pixels: np.ndarray
    name: str
    format: str
    frames: int
    notes: tuple[str, ...]
    values: Values | None = None
    transparent: bool = False
    again: "Callable[[Rendering], DecodedImage] | None" = None

    def rendered(self, rendering: Rendering) -> "DecodedImage":
        """The same picture by another rendering, from values that this one keeps: the file is not read again."""
        found = self.again(rendering) if self.again and (self.values or self.transparent) else self
        if found.transparent and found.is_one_colour:
            note = f"All of it is one colour on {rendering.paper}; another colour under it may show more."
            found = replace(found, notes=(*found.notes, note))
        return found

    @property
    def is_one_colour(self) -> bool:
        return bool((self.pixels == self.pixels[0, 0]).all())


def kind_of(start: bytes) -> str | None:
    """One of `FORMATS` for a file that begins so; 512 bytes are enough."""
    kind = boxed.kind(start) or next((kind for kind, mark, _ in _FORMATS if re.match(mark, start)), None)
    return kind or ("DICOM" if dicom.is_dicom(start) else None)


def decode(data: bytes, name: str, rendering: Rendering = PLAIN) -> DecodedImage:
    """The picture in `data`, recognised by its content; `name` is used in messages only.

    It is turned upright as the file says, transparency is laid over the paper of the `rendering`, CMYK and LAB are
    converted, and of several frames the first is taken. One channel of more than 8 bits is rescaled,
    v -> 255 (v - low) / (high - low). low..high is the scale of the `rendering`. Where that leaves it to the picture,
    it is 0..65535 for a grey HEIC and for a 16-bit PNG (which keeps its brightness) unless all its values are below
    4096; in every other case it is the picture's own smallest and largest finite value. Where these are equal, 16 bits
    again stand for 0..65535, and other values become mid-grey. NaN becomes black. Three channels of 16 bits keep their
    upper 8. A DICOM file is seen through the window that it names, whatever the scale. At most two pictures are decoded
    at once; others wait.

    Raises `ImageError`, and nothing else, for all that cannot be read or has more than 50 million pixels.
    """
    name = _for_display(name)
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"`{name}` has {len(data) / 2**20:,.0f} MB and the limit is {MAX_BYTES // 2**20}; make it smaller and "
            "upload it again."
        )
    kind = kind_of(data)
    if kind is None:
        raise ImageError(f"`{name}` is not a {FORMATS} image; save it as one of these and upload it again.")
    with _SLOTS:
        _quiet.here = True
        try:
            if kind == "DICOM":
                render = _read_dicom(data, name)
            else:
                render = _read(data, name, kind)
            return render(rendering).rendered(rendering)
        except ImageError:
            raise
        except dicom.UnreadableDicomError as error:
            raise ImageError(f"`{name}` is a DICOM file {error}") from error
        except Image.DecompressionBombError as error:
            raise ImageError(
                f"`{name}` has far more pixels than the limit of {MAX_PIXELS // 10**6} million; "
                "make it smaller and upload it again."
            ) from error
        except Exception as error:  # the arithmetic of the readers raises all kinds on damaged files
            raise ImageError(
                f"`{name}` begins like a {kind} image but is damaged, cut short or of a rare kind that cannot be "
                "read; open it in an image program, save it as an 8-bit PNG and upload that."
            ) from error
        finally:
            _quiet.here = False


class _Warnings:
    """Stands for `warnings` in Pillow's modules: silent in a thread that decodes here, unchanged in every other.

    Pillow warns of harmless damage to metadata. `warnings.catch_warnings` swaps state of the whole process, so two
    threads that use it leave each other's filters behind.
    """

    def warn(self, message: Any, category: type[Warning] | None = None, stacklevel: int = 1) -> None:
        if not getattr(_quiet, "here", False):
            warnings.warn(message, category, stacklevel + 1)


_quiet = threading.local()
for _module in (Image, PngImagePlugin, TiffImagePlugin):
    vars(_module)["warnings"] = _Warnings()
# Pillow's log and libtiff write to stderr on damaged files; the same reaches the caller as an exception.
logging.getLogger("PIL").addHandler(logging.NullHandler())
with contextlib.suppress(AttributeError, OSError):  # where Pillow brings no libtiff
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


def _for_display(name: str) -> str:
    """`name` in 80 characters, without folders and without characters that are invisible or would end a quotation."""
    name = "".join(c for c in re.split(r"[/\\]", name)[-1] if c.isprintable()).replace("`", "'").strip()
    return name if 0 < len(name) <= 80 else f"{name[:60]}…{name[-19:]}" if name else "the image"


def _read(data: bytes, name: str, kind: str) -> Callable[[Rendering], DecodedImage]:
    reader = _BOXED.get(kind) or next(reader for other, _, reader in _FORMATS if other == kind)
    if kind == "WEBP":  # libwebp allocates the canvas as soon as it sees the header
        _check_size(name, *_webp_size(data))
    with reader(io.BytesIO(data)) as file:
        _check_size(name, *file.size)
        _check_work(name, data, file)
        stored, tags = _stored(file), dict(getattr(file, "tag_v2", {}))
        file.load()
        image = file.copy() if kind == "GIF" else file  # which counting its frames moves on
        key, turned, frames = _colour_key(image, stored), tags.get(0x0112, 1), _frames(file, data)
    # Pillow has turned a TIFF already, and shows one deep channel as it is where 0 stands for white.
    inverted = kind == "TIFF" and tags.get(0x0106) == 0 and image.mode in _DEEP
    if kind != "TIFF":
        turned = _orientation(image)

    def render(rendering: Rendering) -> DecodedImage:
        notes: list[str] = []
        values, low, high = None, 0.0, 1.0
        if image.mode in _DEEP:
            values, low, high, notes = range_of(image, kind, rendering)
        pixels, transparent = _rgb(image, stored, key, notes, low, high, rendering)
        pixels = 255 - pixels if inverted else pixels
        pixels = pixels if kind == "TIFF" else _TURNS[turned](pixels)
        if turned in _TURNS and turned != 1:
            notes.append(f"It is turned upright, as its EXIF orientation ({turned}) asks.")
        return _finished(pixels, name, kind, frames, notes, values, transparent, render)

    return render


def _read_dicom(data: bytes, name: str) -> Callable[[Rendering], DecodedImage]:
    found = dicom.read(data, MAX_BYTES, partial(_check_size, name))

    def render(rendering: Rendering) -> DecodedImage:
        notes = ["Of the DICOM file only the image is read."]
        values, pixels, window = None, found.values, found.window
        if pixels.ndim == 2:
            pixels = np.empty((*found.values.shape, 3), np.uint8)
            low, high = 0.0, 1.0
            if window is None:
                values, low, high, more = range_of(found.values, "DICOM", rendering)
                notes += more
            elif window.name:
                notes.append(f"Its values are seen through {window.name} that the file names.")
            for rows, strip in strips(found.values):
                levels = stretch(window.shares(strip) if window else strip, low, high)
                pixels[rows] = (255 - levels if found.inverted else levels)[..., None]
        return _finished(pixels, name, "DICOM", found.frames, notes, values, False, render)

    return render


def _finished(
    pixels: np.ndarray,
    name: str,
    kind: str,
    frames: int,
    notes: list[str],
    values: Values | None,
    transparent: bool,
    render: Callable[[Rendering], DecodedImage],
) -> DecodedImage:
    if frames > 1:
        which = "main one" if kind == "HEIC" else "first"
        what = {"TIFF": "pages", "HEIC": "pictures"}.get(kind, "frames")
        notes.append(f"The {which} of its {frames:,} {what} is shown.")
    pixels = np.ascontiguousarray(pixels)
    pixels.flags.writeable = False
    again = render if values or transparent else None
    return DecodedImage(pixels, name, kind, frames, tuple(notes), values, transparent, again)


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"`{name}` has {width:,} × {height:,} pixels, {width * height / 1e6:,.1f} million, and the limit is "
            f"{MAX_PIXELS // 10**6} million; make it smaller and upload it again."
        )


def _check_work(name: str, data: bytes, image: ImageFile) -> None:
    """Raises ImageError where decoding would cost far more time or memory than the size of the picture says."""
    if isinstance(image, JpegImageFile):
        scans = len(re.findall(rb"\xff\xda\x00[\x08\x0a\x0c\x0e][\x01-\x04]", data))
        if scans * image.width * image.height > _MAX_VISITS:
            raise ImageError(f"`{name}` is a JPEG of {scans:,} scans, far more than an image needs; save it again.")
    if boxed.kind(data):
        largest, together = boxed.pixels_to_decode(image, data)
        if largest > 1.05 * MAX_PIXELS or together > 4 * MAX_PIXELS:
            raise ImageError(
                f"`{name}` holds far more pixels than the {image.width:,} × {image.height:,} of its picture; "
                "open it in an image program and save it again."
            )
    if isinstance(image, TiffImageFile):
        tile_width, tile_height = image.tag_v2.get(322, 1), image.tag_v2.get(323, 1)
        if tile_width * tile_height > MAX_PIXELS:
            raise ImageError(
                f"`{name}` is a TIFF with tiles of {tile_width:,} × {tile_height:,} pixels, more than the limit of "
                f"{MAX_PIXELS // 10**6} million; save it again without tiles."
            )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height in the header of the first chunk (RFC 9649, sections 2.5 to 2.7 and 3.4)."""
    if data[12:16] == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _stored(image: ImageFile) -> str:
    """Pillow's name for a pixel as the file stores it, such as `L;4` or `RGB;16B`; known only before loading."""
    args = image.tile[0].args if image.tile else None
    return str(args[0] if isinstance(args, tuple) else args)


def _rgb(
    image: Image.Image,
    stored: str,
    key: int | tuple[int, int, int] | None,
    notes: list[str],
    low: float,
    high: float,
    rendering: Rendering,
) -> tuple[np.ndarray, bool]:
    """The loaded picture as uint8 (H, W, 3), with the values of a deep channel from `low` to `high`; and whether some
    of it is transparent. Adds a sentence for each change of its values."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    mode, transparent, paper_level = image.mode, False, PAPER_LEVELS[rendering.paper]
    if re.search(";16[BLN]", stored):
        notes.append(REDUCED)
    if mode in ("CMYK", "LAB"):
        notes.append(f"Its {mode} colours are converted to RGB and may differ a little from the original.")
    for rows, strip in strips(image):
        if mode in _DEEP:
            pixels[rows] = stretch(np.asarray(strip), low, high)[..., None]
        elif mode in _ALPHA or "transparency" in strip.info:
            layer = (strip.convert("LA") if mode == "La" else strip).convert("RGBA")
            paper = Image.new("RGB", layer.size, (paper_level,) * 3)
            paper.paste(layer, mask=layer)
            pixels[rows] = np.asarray(paper)
            transparent |= bool((np.asarray(layer.getchannel("A")) < 255).any())
        else:
            pixels[rows] = np.asarray(strip if mode == "RGB" else strip.convert("RGB"))
        if key is not None:
            levels = np.asarray(strip.convert("L") if mode == "1" else strip)
            clear = (levels == key).reshape(*levels.shape[:2], -1).all(axis=2)
            pixels[rows][clear] = paper_level
            transparent |= bool(clear.any())
    if transparent:
        notes.append(f"Its transparent parts are shown on {rendering.paper}.")
    return pixels, transparent


def _colour_key(image: Image.Image, stored: str) -> int | tuple[int, int, int] | None:
    """The level or colour that stands for "transparent", taken out of `image.info`, or None.

    PNG gives it in the file's own bit depth. For three channels of 16 bits, of which Pillow keeps 8, so does the key.
    """
    if image.mode in ("P", *_ALPHA):  # Pillow applies a palette; a text chunk may have the same name
        if not isinstance(image.info.get("transparency", 0), int | bytes):
            del image.info["transparency"]
        return None
    key = image.info.pop("transparency", None)
    if image.mode == "RGB" and isinstance(key, tuple) and len(key) == 3:
        red, green, blue = (level >> 8 if stored == "RGB;16B" else level for level in key)
        return red, green, blue
    if image.mode in ("1", "L", "I;16") and isinstance(key, int):
        return key * {"L;2": 85, "L;4": 17}.get(stored, 1)
    return None


# By EXIF orientation (CIPA DC-008, section 4.6.4, tag 274): the turn that makes a stored picture upright. Pillow's
# `exif_transpose` rewrites the EXIF data too, and raises where they are damaged.
_TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112)
    except Exception:  # damaged EXIF says nothing against the pixels
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def _frames(image: ImageFile, data: bytes) -> int:
    if isinstance(image, TiffImageFile):
        return _pages(data)
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # a later frame is damaged
        return image.tell() + 1


def _pages(data: bytes) -> int:
    """Pages of a TIFF, at most 10,000: the length of its chain of directories (TIFF 6.0, section 2).

    Pillow's own count takes time that grows with the square of it and fails on pages it cannot show.
    """
    order = "little" if data[:2] == b"II" else "big"
    counts, entry, offsets = (8, 20, 8) if b"+" in data[2:4] else (2, 12, 4)

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], order)  # type: ignore[arg-type]

    seen: set[int] = set()
    start = number(offsets, offsets)  # the first offset is stored right after 4 or 8 bytes of header
    while 0 < start < len(data) and start not in seen and len(seen) < _MAX_PAGES:
        seen.add(start)
        start = number(start + counts + number(start, counts) * entry, offsets)
    return len(seen)
