"""Laws of `explorer.images`. Every picture is made here: with Pillow, or byte by byte where Pillow cannot write it.

One file for the one room: a long list of pictures, each made in a few lines.
"""

import io
import random
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.models import ResNet50_Weights

from explorer.images import MAX_BYTES, Frame, ImageError, decode, decoding, resize, to_input, to_pixels, visible_part

PHOTO = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)
LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "BMP": {},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "TIFF deflate": {"compression": "tiff_adobe_deflate"},
}


def saved(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, kind.split()[0], **{**LOSSLESS.get(kind, {}), **options})
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: list[bytes], *chunks: bytes) -> bytes:
    """A PNG of unfiltered rows; colour 0 is grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + data + chunk(b"IEND", b"")


def tiff(strip: bytes, width: int, height: int, bits: list[int], photometric: int, **more: list[int]) -> bytes:
    """A little-endian TIFF with one strip; `more` gives tags by name as lists of shorts."""
    numbers = {"sample_format": 339, "extra": 338, "tile_width": 322, "tile_length": 323, "planar": 284}
    tags = {256: [width], 257: [height], 258: bits, 259: [1], 262: [photometric], 273: [0], 277: [len(bits)]}
    tags |= {278: [height], 279: [len(strip)]} | {numbers[name]: values for name, values in more.items()}
    start = 8 + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    tags[273] = [start + sum(2 * len(values) for values in tags.values() if len(values) > 2)]
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            packed, extra = struct.pack("<I", start + len(extra)), extra + packed
        entries += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + extra + strip


def grey(levels: list[list[int]]) -> np.ndarray:
    return np.repeat(np.array(levels, np.uint8)[:, :, None], 3, axis=2)


# --- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_give_the_pixels_that_went_in(kind):
    picture = decode(saved(PHOTO, kind), "no-matter.txt")
    np.testing.assert_array_equal(picture.pixels, PHOTO)
    assert (picture.format, picture.frames, picture.notes) == (kind.split()[0], 1, ())
    assert picture.pixels.dtype == np.uint8 and picture.pixels.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        picture.pixels[0, 0, 0] = 1


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 5}])
def test_jpeg_gives_what_pillow_gives(options):
    data = saved(PHOTO, "JPEG", **options)
    picture = decode(data, "photo.png")
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert picture.format == "JPEG"


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_one_pixel(kind):
    np.testing.assert_array_equal(decode(saved(grey([[200]]), kind), "dot").pixels, grey([[200]]))


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (1500, 1500)])
def test_pictures_of_one_and_of_several_strips_agree(shape):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    np.testing.assert_array_equal(decode(saved(pixels, "BMP"), "a").pixels, pixels)


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("1", 1, "PNG", (255, 255, 255)),
        ("1", 0, "TIFF", (0, 0, 0)),
        ("L", 77, "JPEG", (77, 77, 77)),
        ("L", 77, "BMP", (77, 77, 77)),
        ("CMYK", (0, 0, 0, 0), "JPEG", (255, 255, 255)),
        ("CMYK", (255, 0, 0, 0), "TIFF", (0, 255, 255)),
        ("CMYK", (0, 0, 0, 255), "TIFF", (0, 0, 0)),
        ("YCbCr", (255, 128, 128), "TIFF", (255, 255, 255)),
        ("LAB", (255, 128, 128), "TIFF", (255, 255, 255)),
        ("LAB", (0, 128, 128), "TIFF", (0, 0, 0)),
        ("LA", (10, 0), "TIFF", (255, 255, 255)),
        ("RGBA", (1, 2, 3, 255), "WEBP", (1, 2, 3)),
        ("RGBA", (1, 2, 3, 0), "TIFF", (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb(mode, colour, kind, expected):
    pixels = decode(saved(Image.new(mode, (8, 8), colour), kind), "a").pixels
    assert np.abs(pixels.astype(int) - expected).max() <= (1 if mode == "LAB" else 0)


def test_cmyk_jpeg_equals_cmyk_tiff():
    image = Image.new("CMYK", (16, 16), (200, 30, 60, 10))
    jpeg, exact = (
        decode(saved(image, kind, **options), "a").pixels
        for kind, options in (("JPEG", {"quality": 100}), ("TIFF", {}))
    )
    assert np.abs(jpeg.astype(int) - exact).max() <= 3


def test_palette_pictures():
    image = Image.fromarray(PHOTO).quantize(16)
    expected = np.asarray(image.convert("RGB"))
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(decode(saved(image, kind), "a").pixels, expected)


# --- transparency ----------------------------------------------------------------------------------------------------


def test_alpha_is_laid_over_white():
    value, alpha = np.meshgrid(np.arange(256), np.arange(256))
    expected = np.rint((value * alpha + 255 * (255 - alpha)) / 255).astype(np.uint8)
    rgba = np.stack([value, value, value, alpha], axis=2).astype(np.uint8)
    for kind in ("PNG", "WEBP", "TIFF"):
        picture = decode(saved(rgba, kind), "a")
        np.testing.assert_array_equal(picture.pixels, np.repeat(expected[:, :, None], 3, axis=2))
        assert picture.notes == ("Its transparent parts are shown on white.",)
    np.testing.assert_array_equal(decode(saved(rgba[:, :, [0, 3]], "PNG"), "a").pixels[:, :, 1], expected)


def test_opaque_alpha_and_premultiplied_alpha():
    assert decode(saved(Image.new("RGBA", (2, 2), (1, 2, 3, 255)), "PNG"), "a").notes == ()
    premultiplied = decode(tiff(bytes([100, 128, 0, 0]), 2, 1, [8, 8], 1, extra=[1]), "a").pixels
    assert np.abs(premultiplied[0, 0].astype(int) - (100 + 127)).max() <= 1  # 100 is already value times alpha
    np.testing.assert_array_equal(premultiplied[0, 1], [255, 255, 255])


@pytest.mark.parametrize(("alphas", "expected"), [(b"\0\xff", [255, 20]), (b"\xff\0", [10, 255]), (b"\x80", [132, 20])])
def test_palette_transparency(alphas, expected):
    palette = chunk(b"PLTE", bytes([10, 10, 10, 20, 20, 20]))
    data = png(2, 1, 8, 3, [b"\0\1"], palette, chunk(b"tRNS", alphas))
    np.testing.assert_array_equal(decode(data, "a").pixels, grey([expected]))


@pytest.mark.parametrize(
    ("depth", "row", "key", "expected"),
    [
        (1, b"\x40", 1, [0, 255]),
        (1, b"\x40", 0, [255, 255]),
        (2, b"\x60", 1, [255, 170]),
        (4, b"\x3c", 3, [255, 204]),
        (8, b"\x3c\x40", 0x3C, [255, 64]),
        (16, b"\x12\x34\x80\x80", 0x1234, [255, 128]),
    ],
)
def test_the_transparent_grey_is_in_the_depth_of_the_file(depth, row, key, expected):
    data = png(2, 1, depth, 0, [row], chunk(b"tRNS", struct.pack(">H", key)))
    np.testing.assert_array_equal(decode(data, "a").pixels, grey([expected]))


@pytest.mark.parametrize(("depth", "layout"), [(8, ">6B"), (16, ">6H")])
def test_the_transparent_colour(depth, layout):
    scale = 1 if depth == 8 else 257
    row = struct.pack(layout, *(scale * level for level in (1, 2, 3, 1, 2, 4)))
    data = png(2, 1, depth, 2, [row], chunk(b"tRNS", struct.pack(">3H", scale, 2 * scale, 3 * scale)))
    np.testing.assert_array_equal(decode(data, "a").pixels, [[[255, 255, 255], [1, 2, 4]]])


def test_a_text_called_transparency_hides_nothing():
    for colour, row, more in ((2, b"\1\2\3", []), (3, b"\0", [chunk(b"PLTE", b"\1\2\3")])):
        data = png(1, 1, 8, colour, [row], *more, chunk(b"tEXt", b"transparency\x000"))
        np.testing.assert_array_equal(decode(data, "a").pixels, [[[1, 2, 3]]])


# --- more than 8 bits ------------------------------------------------------------------------------------------------


def test_a_16_bit_png_keeps_its_brightness():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    picture = decode(saved(values, "PNG"), "a")
    np.testing.assert_array_equal(picture.pixels[:, :, 0], np.rint(values / 257).astype(np.uint8))
    assert "divided by 257" in picture.notes[0]
    half = decode(saved(values // 2, "PNG"), "a").pixels  # not stretched
    assert half.max() == 127


@pytest.mark.parametrize("kind", ["TIFF", "TIFF deflate", "TIFF big-endian", "PNG"])
def test_dark_16_bit_values_are_stretched_not_clipped(kind):
    values = np.linspace(291, 694, 64 * 64).astype(np.uint16).reshape(64, 64)
    if kind == "TIFF big-endian":
        data = saved(Image.frombytes("I;16B", (64, 64), values.astype(">u2").tobytes()), "TIFF")
        assert data[:2] == b"MM"
    else:
        data = saved(values, kind)
    picture = decode(data, "a")
    expected = np.rint((values.astype(float) - 291) * 255 / (694 - 291)).astype(np.uint8)
    np.testing.assert_array_equal(picture.pixels, np.repeat(expected[:, :, None], 3, axis=2))
    assert "291 to 694" in picture.notes[0]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_integers_and_floats_of_any_size_are_stretched(mode):
    values = np.array([[-1e9, 0, 1e9]], np.int32 if mode == "I" else np.float32)
    np.testing.assert_array_equal(decode(saved(values, "TIFF"), "a").pixels, grey([[0, 128, 255]]))


def test_what_is_not_finite_does_not_spoil_the_rest():
    values = np.array([[np.nan, -np.inf, np.inf, -3e38, 0, 3e38]], np.float32)
    picture = decode(saved(values, "TIFF"), "a")
    np.testing.assert_array_equal(picture.pixels, grey([[0, 0, 255, 0, 128, 255]]))
    assert picture.notes[1].startswith("3 of its values")
    with pytest.raises(ImageError, match="`nothing.tif`"):
        decode(saved(np.full((2, 2), np.nan, np.float32), "TIFF"), "nothing.tif")


def test_one_value_everywhere():
    assert (decode(saved(np.full((2, 2), 65535, np.uint16), "TIFF"), "a").pixels == 255).all()
    assert (decode(saved(np.full((2, 2), 1e38, np.float32), "TIFF"), "a").pixels == 128).all()
    assert (decode(saved(np.full((2, 2), 7, np.int32), "TIFF"), "a").pixels == 128).all()


def test_zero_may_stand_for_white():
    for bits, values in ((8, b"\0\xff"), (16, struct.pack("<2H", 5, 1005))):
        np.testing.assert_array_equal(decode(tiff(values, 2, 1, [bits], 0), "a").pixels, grey([[255, 0]]))


def test_16_bit_colours_keep_their_upper_bits():
    row = struct.pack(">4H", 0x1234, 0x8000, 0xFFFF, 0xFFFF)
    picture = decode(png(1, 1, 16, 6, [row]), "a")
    np.testing.assert_array_equal(picture.pixels, [[[0x12, 0x80, 0xFF]]])
    assert picture.notes == ("Its 16-bit values are reduced to their upper 8 bits.",)
    opaque_grey = png(1, 1, 16, 4, [struct.pack(">2H", 0x4000, 0xFFFF)])
    np.testing.assert_array_equal(decode(opaque_grey, "a").pixels, grey([[0x40]]))


# --- upright ---------------------------------------------------------------------------------------------------------

# The standard says what row 0 and column 0 of the stored picture show; worked out by hand for [[1, 2, 3], [4, 5, 6]].
UPRIGHT = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["JPEG", *sorted(LOSSLESS.keys() - {"BMP"}), "TIFF 16"])  # a BMP has no EXIF
def test_every_orientation_is_turned_upright(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.kron(40 * np.array(UPRIGHT[1]), np.ones((16, 16), int))  # blocks survive JPEG
    picture = decode(saved(stored.astype(np.uint16 if kind == "TIFF 16" else np.uint8), kind, exif=exif), "a")
    levels = picture.pixels[8::16, 8::16, 0].astype(float)
    if kind == "TIFF 16":  # 40..240 is stretched to 0..255
        levels = 40 + levels * 200 / 255
    np.testing.assert_array_equal(np.rint(levels / 40), UPRIGHT[orientation])
    assert (f"({orientation})" in " ".join(picture.notes)) == (orientation != 1)


def test_turning_agrees_with_pillow():
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        data = saved(PHOTO, "PNG", exif=exif)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        np.testing.assert_array_equal(decode(data, "a").pixels, expected)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(value):
    exif = Image.Exif()
    exif[274] = value
    for kind in ("PNG", "TIFF"):
        picture = decode(saved(PHOTO, kind, exif=exif), "a")
        np.testing.assert_array_equal(picture.pixels, PHOTO)
        assert picture.notes == ()


def test_damaged_exif_is_silent_and_harmless_in_many_threads(capfd):
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 270, 2, 999, 9999) + b"\x12\x01\x03"
    data = saved(PHOTO, "PNG", exif=exif)
    results = []
    threads = [threading.Thread(target=lambda: results.append(decode(data, "a").pixels)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and all((pixels == PHOTO).all() for pixels in results)
    assert capfd.readouterr() == ("", "")
    with pytest.warns(UserWarning, match="EXIF|truncated|larger|Expecting"):  # others are still warned
        Image.open(io.BytesIO(data)).getexif()


# --- several frames --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_shown(kind):
    frames = [Image.new("RGB", (4, 4), (level, level, level)) for level in (50, 100, 200)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    picture = decode(data, "a")
    np.testing.assert_array_equal(picture.pixels, np.full((4, 4, 3), 50))
    assert picture.frames == 3
    assert picture.notes == (f"The first of its 3 {'pages' if kind == 'TIFF' else 'frames'} is shown.",)


def test_damage_in_a_later_frame_does_not_matter():
    frames = [Image.fromarray(np.roll(PHOTO, shift, axis=0)).quantize(64) for shift in range(3)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    first = np.asarray(frames[0].convert("RGB"))
    for cut in range(len(data) - 200, len(data)):
        np.testing.assert_array_equal(decode(data[:cut], "a").pixels, first)


def test_pages_that_form_a_ring_or_a_long_chain_are_counted_at_once():
    page = tiff(b"\x07", 1, 1, [8], 1)
    ring = bytearray(page)
    ring[10 + 12 * 9 : 10 + 12 * 9 + 4] = struct.pack("<I", 8)
    assert decode(bytes(ring), "a").frames == 1
    end = len(page)
    ring[10 + 12 * 9 : 10 + 12 * 9 + 4] = struct.pack("<I", end)
    chain = b"".join(struct.pack("<HI", 0, end + 6 * (i + 1)) for i in range(100_000))
    assert decode(bytes(ring) + chain, "a").frames == 10_000


# --- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x89PNG",
        b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"RIFF\x10\0\0\0WAVE",
        b"\0\0\1\0",
        b"8BPS",
        b"P6 1 1 255 \1\2\3",
    ],
)
def test_other_content_is_refused_by_name(data):
    with pytest.raises(ImageError) as error:
        decode(data, "holiday.png")
    assert str(error.value) == (
        "`holiday.png` is not a JPEG, PNG, GIF, BMP, WEBP, TIFF, HEIC, AVIF or DICOM image; "
        "save it as one of these and upload it again."
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/etc/passwd", "passwd"),
        ("C:\\fakepath\\cat.jpg", "cat.jpg"),
        ("a\nb\x00\x1b[31m\u202egpj.exe", "ab[31mgpj.exe"),
        ("`code`", "'code'"),
        ("", "the image"),
        ("x/", "the image"),
        ("\ud800.png", ".png"),
        ("é 猫.png", "é 猫.png"),
    ],
)
def test_names_are_made_fit_for_display(name, shown):
    assert decode(saved(PHOTO, "PNG"), name).name == shown


def test_long_names_keep_their_end():
    shown = decode(saved(PHOTO, "PNG"), "x" * 5000 + ".png").name
    assert len(shown) == 80 and shown.endswith(".png")


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as error:
        decode(data, "bad.pic")
    text = str(error.value)
    assert text.startswith("`bad.pic` ") and text.endswith(".") and "\n" not in text
    return text


SAMPLES = {
    **{kind: saved(PHOTO, kind) for kind in [*LOSSLESS, "JPEG", "GIF"]},
    "JPEG progressive": saved(PHOTO, "JPEG", progressive=True, quality=90),
    "PNG palette": saved(Image.fromarray(PHOTO).quantize(16), "PNG", transparency=3),
    "PNG 16": saved(PHOTO[:, :, 0].astype(np.uint16) * 257, "PNG"),
    "TIFF float": saved(PHOTO[:, :, 0].astype(np.float32), "TIFF"),
    "TIFF jpeg": saved(PHOTO, "TIFF", compression="jpeg"),
    "TIFF g4": saved(Image.fromarray(PHOTO).convert("1"), "TIFF", compression="group4"),
    "GIF animated": saved(
        Image.fromarray(PHOTO), "GIF", save_all=True, append_images=[Image.fromarray(PHOTO[::-1]).quantize(8)]
    ),
    "WEBP lossy": saved(PHOTO, "WEBP", lossless=False),
}


def loads_or_is_refused(data: bytes) -> bool:
    try:
        picture = decode(data, "bad.pic")
    except ImageError as error:
        assert "bad.pic" in str(error)
        return False
    assert picture.pixels.dtype == np.uint8 and picture.pixels.shape[2:] == (3,)
    return True


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_picture_that_is_cut_short_loads_or_is_refused(kind, capfd):
    data = SAMPLES[kind]
    assert loads_or_is_refused(data)
    whole = [cut for cut in range(0, len(data), max(1, len(data) // 150)) if loads_or_is_refused(data[:cut])]
    assert len(whole) < 75  # so the cuts did reach the pixels
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_picture_with_wrong_bytes_loads_or_is_refused(kind, capfd):
    draw = random.Random(kind)
    outcomes = set()
    for _ in range(150):
        data = bytearray(SAMPLES[kind])
        for _ in range(draw.choice([1, 2, 8])):
            data[draw.randrange(min(len(data), draw.choice([64, 400, 10**6])))] = draw.randrange(256)
        outcomes.add(loads_or_is_refused(bytes(data)))
    assert outcomes == {True, False}
    assert capfd.readouterr() == ("", "")


# --- bombs -----------------------------------------------------------------------------------------------------------


def webp_header(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + saved(PHOTO, "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def progressive_jpeg(scans: int) -> bytes:
    """A 2000 x 2000 JPEG whose last scan is there `scans` times over."""
    data = saved(np.zeros((2000, 2000), np.uint8), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + data[-2:]


BOMBS = {
    "PNG": png(60_000, 60_000, 8, 2, [bytes(9)]),
    "BMP": saved(PHOTO, "BMP")[:18] + struct.pack("<ii", 60_000, -60_000) + saved(PHOTO, "BMP")[26:],
    "GIF screen": b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + saved(PHOTO, "GIF")[10:],
    "GIF frame": b"GIF89a\1\0\1\0\0\0\0," + struct.pack("<4HB", 0, 0, 9000, 9000, 0) + b"\2\2\x44\1\0;",
    "WEBP": webp_header(12_000, 12_000),
    "TIFF": tiff(b"\0", 60_000, 60_000, [8], 1),
    "TIFF tile": tiff(b"\0", 10, 10, [8], 1, tile_width=[32_000], tile_length=[32_000]),
    "JPEG": (lambda jpeg, at: jpeg[: at + 5] + b"\xff\xff\xff\xff" + jpeg[at + 9 :])(
        SAMPLES["JPEG"], SAMPLES["JPEG"].index(b"\xff\xc0")
    ),
    "JPEG scans": progressive_jpeg(2000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_with_the_limit(kind):
    assert ("scans" if kind == "JPEG scans" else "limit of 50 million") in refused(BOMBS[kind]).replace(
        " is 50", " of 50"
    )


def test_bombs_and_packed_text_cost_no_memory(tmp_path):
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8), 9))
    for i, data in enumerate([*BOMBS.values(), png(1, 1, 8, 0, [b"\0"], *[text] * 20)]):
        (tmp_path / f"{i}.pic").write_bytes(data)
    program = (
        "import pathlib, resource, sys\n"
        "from explorer.images import ImageError, decode\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    try: decode(path.read_bytes(), path.name)\n"
        "    except ImageError: print(path.name)\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32_000, 'kB'\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(decoding.__file__).parents[2],
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) == len(BOMBS) + 1


def test_fifty_million_pixels_are_read_and_one_row_more_is_not():
    row = bytes(1250)
    picture = decode(png(10_000, 5000, 1, 0, [row] * 5000), "a")
    assert picture.pixels.shape == (5000, 10_000, 3) and not picture.pixels.any()
    assert "10,000 × 5,001 pixels" in refused(png(10_000, 5001, 1, 0, [row]))


def test_pillows_own_alarm_is_left_as_it_was():
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(png(10_000, 10_000, 8, 0, [b"\0"])))
    filters = list(warnings.filters)
    refused(png(10_000, 10_000, 8, 0, [b"\0"]))
    assert warnings.filters == filters


def test_two_pictures_are_decoded_at_once_and_a_third_waits():
    refused(SAMPLES["PNG"][:60])  # a failure gives its place back
    data, done = SAMPLES["PNG"], threading.Event()

    def third() -> None:
        decode(data, "a")
        done.set()

    assert decoding._SLOTS.acquire(blocking=False)
    decode(data, "the second place is free")
    assert decoding._SLOTS.acquire(blocking=False)
    assert not decoding._SLOTS.acquire(blocking=False)
    thread = threading.Thread(target=third)
    thread.start()
    assert not done.wait(0.3)
    decoding._SLOTS.release()
    assert done.wait(60)
    thread.join()
    decoding._SLOTS.release()
    with pytest.raises(ValueError, match="too many"):
        decoding._SLOTS.release()


# --- to the network and back -----------------------------------------------------------------------------------------

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def test_a_picture_that_fits_passes_unchanged_and_comes_back_exactly():
    pixels = np.arange(256 * 3, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8)
    assert set(pixels.ravel()) == set(range(256))
    np.testing.assert_array_equal(resize(pixels, (16, 16)), pixels)
    for mean, std in ((MEAN, STD), ((0, 0, 0), (1, 1, 1)), ((0.9, 0.1, 0.5), (1e-3, 10.0, 0.3))):
        image = to_input(pixels, (16, 16), mean, std)
        assert image.dtype == np.float32 and image.shape == (3, 16, 16) and image.flags.c_contiguous
        np.testing.assert_allclose(image[1], (pixels[:, :, 1] / 255 - mean[1]) / std[1], rtol=1e-6, atol=1e-6)
        back = to_pixels(image, mean, std)
        np.testing.assert_array_equal(back, pixels)
        assert back.dtype == np.uint8 and back.flags.c_contiguous


def test_values_outside_of_the_range_are_clipped():
    image = np.array([-9.0, 0.0, 9.0], np.float32).reshape(3, 1, 1)
    np.testing.assert_array_equal(to_pixels(image, (0.5,) * 3, (0.5,) * 3), [[[0, 128, 255]]])


@pytest.mark.parametrize("size", [(1, 1), (4, 9), (32, 32), (7, 300), (224, 224)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (33, 47), (300, 200)])
def test_a_uniform_picture_stays_uniform_at_every_size(shape, size):
    pixels = np.full((*shape, 3), (255, 17, 0), np.uint8)
    np.testing.assert_array_equal(resize(pixels, size), np.full((*size, 3), (255, 17, 0)))


def test_the_centre_is_kept_and_the_margins_are_dropped():
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 200
    np.testing.assert_array_equal(resize(pixels, (40, 40)), np.full((40, 40, 3), 200))  # cut out, not filtered
    np.testing.assert_array_equal(resize(pixels, (10, 10)), np.full((10, 10, 3), 200))
    np.testing.assert_array_equal(resize(PHOTO, (13, 12)), PHOTO[:, 2:14])


@pytest.mark.parametrize("size", [(8, 8), (10, 30), (64, 64)])
def test_resizing_knows_no_left_or_right(size):
    pixels = np.random.default_rng(2).integers(0, 256, (60, 41, 3), np.uint8)
    np.testing.assert_allclose(resize(pixels[:, ::-1], size).astype(int), resize(pixels, size)[:, ::-1], atol=1)
    np.testing.assert_allclose(resize(pixels[::-1], size).astype(int), resize(pixels, size)[::-1], atol=1)


def test_reducing_averages_what_lies_under_a_pixel():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = resize(np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8), (8, 8))
    assert np.abs(small.astype(float) - 127.5).max() <= 2  # without antialiasing it would be all black or white


@pytest.mark.parametrize(
    "shape", [(256, 256), (224, 300), (375, 500), (500, 333), (1001, 257), (33, 47), (9, 70), (1, 8)]
)
def test_with_the_shorter_side_given_it_is_what_torchvision_does(shape):
    pixels = np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)
    for weights in (ResNet50_Weights.IMAGENET1K_V1, ResNet50_Weights.IMAGENET1K_V2):
        transforms = weights.transforms()
        (shorter,) = transforms.resize_size
        image = to_input(pixels, (224, 224), transforms.mean, transforms.std, shorter)
        expected = transforms(Image.fromarray(pixels)).numpy()
        np.testing.assert_allclose(image, expected, rtol=0, atol=2e-6)  # one level of 255 would be 0.017


def test_a_frame_of_an_input_that_is_no_square_is_cut_to_its_shape() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (40, 60, 3), np.uint8)
    frame = Frame.parse("0.25,0.5,0.4")  # 16 pixels from column 15 and row 20
    cut = pixels[20:36, 15:31]
    np.testing.assert_array_equal(resize(pixels, (8, 16), None, frame), cut[4:12])
    np.testing.assert_array_equal(resize(pixels, (8, 16), 20, frame), cut[4:12])
    assert visible_part((40, 60), (8, 16), None, frame) == (15 / 60, 24 / 40, 16 / 60, 8 / 40)


@pytest.mark.parametrize(
    "text", ["", "0,0", "0,0,0", "0,0,0.01", "-0.1,0,1", "0,1.1,1", "0,0,nan", "0.12345,0,1", "0,0,1,", "a,b,c" * 99]
)
def test_what_is_no_frame_is_said_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="a frame must be LEFT,TOP,SIDE, received") as said:
        Frame.parse(text)
    assert len(str(said.value)) < 400


def test_a_picture_of_any_length_takes_little_memory():
    stripes = np.zeros((2, 3_000_000, 3), np.uint8)  # its shorter side at 256 would be 295 GB
    stripes[:, 1_499_995:1_500_005] = 200
    np.testing.assert_array_equal(resize(stripes, (224, 224), 256), np.full((224, 224, 3), 200))
    np.testing.assert_array_equal(resize(stripes.transpose(1, 0, 2), (224, 224), 256), np.full((224, 224, 3), 200))


def test_wrong_arguments_say_what_was_expected():
    for pixels in (PHOTO.astype(float), PHOTO[:, :, 0], PHOTO[:0]):
        with pytest.raises(ValueError, match="`pixels`"):
            resize(pixels, (4, 4))
    with pytest.raises(ValueError, match="`size`"):
        resize(PHOTO, (0, 4))
    with pytest.raises(ValueError, match="`resize_shorter_to` must be at least 9 for `size` .4, 9., received 8"):
        resize(PHOTO, (4, 9), 8)
    for mean, std in ((MEAN[:2], STD), (MEAN, (0.1, 0.1, 0)), ((np.nan,) * 3, STD)):
        with pytest.raises(ValueError, match="`std` above 0"):
            to_input(PHOTO, (4, 4), mean, std)
    for image in (np.zeros((4, 4, 3)), np.full((3, 4, 4), np.nan)):
        with pytest.raises(ValueError, match="`image`"):
            to_pixels(image, MEAN, STD)


def test_a_file_of_too_many_bytes_is_refused_before_it_is_looked_into():
    with pytest.raises(ImageError, match="`big.png` has 64 MB and the limit is 64"):
        decode(b"\x89PNG\r\n\x1a\n".ljust(MAX_BYTES + 1, b"\0"), "big.png")
