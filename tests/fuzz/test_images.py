"""Pictures: every format that Pillow writes here, whole and damaged."""

import io
from functools import cache
from typing import Any

import numpy as np
import pillow_heif
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from explorer.images import (
    MAX_PIXELS,
    DecodedImage,
    Frame,
    ImageError,
    decode,
    resize,
    to_input,
    to_pixels,
    visible_part,
)
from tests.dicom_files import file_of
from tests.fuzz.laws import check_discreet, check_sentence, examples
from tests.fuzz.mutations import damaged, words

TURNED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"  # orientation 6: a quarter turn
HOW: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"quality": 5}),
    ("JPEG", "CMYK", {"progressive": True}),
    (
        "JPEG",
        "RGB",
        {
            "progressive": True,
            "subsampling": 2,
            "exif": TURNED,
        },
    ),
    ("PNG", "1", {}),
    ("PNG", "L", {"transparency": 7}),
    ("PNG", "LA", {}),
    ("PNG", "P", {"transparency": 3}),
    ("PNG", "RGB", {"transparency": (1, 2, 3)}),
    ("PNG", "RGBA", {"optimize": True}),
    ("PNG", "I;16", {}),
    ("GIF", "P", {}),
    ("GIF", "L", {"interlace": True}),
    ("BMP", "1", {}),
    ("BMP", "L", {}),
    ("BMP", "RGB", {}),
    ("BMP", "RGBA", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "L", {"compression": "tiff_lzw"}),
    ("TIFF", "LA", {}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "RGBA", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "CMYK", {"compression": "packbits"}),
    ("TIFF", "LAB", {}),
    ("TIFF", "YCbCr", {}),
    ("TIFF", "I;16", {}),
    ("TIFF", "I", {}),
    ("TIFF", "F", {}),
    ("AVIF", "RGB", {"speed": 10}),
    ("AVIF", "RGBA", {"speed": 10, "subsampling": "4:4:4"}),
    ("HEIC", "RGB", {"quality": 50}),
    ("HEIC", "RGBA", {"quality": -1}),
    ("HEIC", "I;16", {}),
    ("DICOM", "L", {}),
    ("DICOM", "I;16", {"WindowCenter": 3000, "WindowWidth": 5000, "RescaleSlope": 1, "RescaleIntercept": -9}),
    ("DICOM", "I;16", {"syntax": RLELossless}),
    ("DICOM", "I;16", {"syntax": DeflatedExplicitVRLittleEndian}),
    ("DICOM", "RGB", {}),
)
ANIMATED = ("PNG", "GIF", "WEBP", "TIFF", "AVIF")
LOSSLESS = ("PNG", "BMP", "TIFF")


@cache
def written(number: int, width: int, height: int, frames: int = 1) -> bytes:
    """The picture of that size as `HOW[number]` says."""
    kind, mode, options = HOW[number]
    random = np.random.default_rng([number, width, height])
    pictures = []
    for _ in range(frames):
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if mode == "I;16":
            pictures.append(Image.fromarray(random.integers(0, 2**16, (height, width), dtype=np.uint16)))
        elif mode == "LAB":
            pictures.append(Image.frombytes("LAB", (width, height), pixels.tobytes()))
        else:
            pictures.append(Image.fromarray(pixels).convert(mode if mode != "LA" else "L"))
            if mode == "LA":
                pictures[-1].putalpha(Image.fromarray(pixels[..., 0]))
    file = io.BytesIO()
    if kind == "DICOM":
        return file_of(np.asarray(pictures[0]), "RGB" if mode == "RGB" else "MONOCHROME2", **dict[str, Any](options))
    if kind == "HEIC":
        pillow_heif.from_pillow(pictures[0]).save(file, **options)
        return file.getvalue()
    more = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    pictures[0].save(file, kind, **{**options, **more})
    return file.getvalue()


@st.composite
def pictures(draw: DrawFn) -> tuple[int, int, int, int]:
    """Arguments of `written`."""
    number = draw(st.integers(0, len(HOW) - 1))
    width, height = (draw(st.sampled_from((1, 2, 3, 7, 8, 16, 17, 33))) for _ in range(2))
    frames = draw(st.sampled_from((1, 1, 1, 3))) if HOW[number][0] in ANIMATED else 1
    return number, width, height, frames


def check_picture(picture: DecodedImage) -> None:
    height, width, channels = picture.pixels.shape
    assert channels == 3 and picture.pixels.dtype == np.uint8 and 1 <= height * width <= MAX_PIXELS
    assert picture.pixels.flags.c_contiguous and not picture.pixels.flags.writeable
    assert picture.name.isprintable() and 1 <= len(picture.name) <= 80 and "`" not in picture.name
    assert picture.frames >= 1
    for note in picture.notes:
        check_sentence(note)
    image = to_input(picture.pixels, (32, 32), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert image.shape == (3, 32, 32) and np.isfinite(image).all()
    assert to_pixels(image, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)).shape == (32, 32, 3)


def check_any(data: bytes, name: str = "a.png") -> None:
    """The law of every file: a picture, the same each time, or a sentence."""
    try:
        picture = decode(data, name)
    except ImageError as error:
        check_sentence(str(error))
        return
    check_picture(picture)
    if picture.pixels.size < 10**6:
        assert np.array_equal(decode(data, name).pixels, picture.pixels), "it shows memory that it did not write"


@given(pictures())
@example((3, 8, 16, 1)).via("an image that is to be turned")
@example((10, 17, 3, 1)).via("16 bits")
@examples(80)
def test_a_whole_picture_is_shown_in_its_size(made: tuple[int, int, int, int]) -> None:
    number, width, height, frames = made
    kind, mode, options = HOW[number]
    picture = decode(written(*made), "a.png")
    check_picture(picture)
    turned = "exif" in options
    assert picture.pixels.shape[:2] == ((width, height) if turned else (height, width))
    assert picture.format == kind and picture.frames == frames
    if mode == "RGB" and kind in LOSSLESS and "compression" not in options:
        file = io.BytesIO()
        Image.fromarray(picture.pixels).save(file, "PNG")
        assert np.array_equal(decode(file.getvalue(), "b.png").pixels, picture.pixels)


@given(pictures().flatmap(lambda made: damaged(written(*made))))
@example(b"II*\0\x08\0\0\0\0\0\x08\0\0\0").via("a TIFF whose first directory is its own successor")
@example(b"II+\0" + b"\xff" * 12).via("a directory beyond the end of any file")
@example(b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0" + b"\xff" * 10).via("a canvas of 281 million million pixels")
@example(b"BM" + b"\xff" * 60).via("a header of 4 GB")
@example(b"GIF89a" + b"\xff" * 7).via("a header and nothing else")
@example(b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + b"\0\0\0\0meta" + b"\xff" * 40).via("a box without an end")
@example(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + b"\xff" * 40).via("a box of 4 GB")
@example(bytes(128) + b"DICM" + b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 5000).via(
    "deep"
)
@example(bytes(128) + b"DICM\x02\0\0\0UL\x04\0\xff\xff\xff\xff" + b"\xff" * 40).via("a head of 4 GB")
@examples(200)
def test_a_damaged_picture_is_shown_or_is_a_sentence(data: bytes) -> None:
    check_any(data)


@given(
    st.sampled_from(range(len(HOW))),
    st.sampled_from(range(len(HOW))),
    st.integers(2, 64),
)
@examples(40)
def test_a_picture_with_the_head_of_another_is_shown_or_is_a_sentence(first: int, second: int, length: int) -> None:
    check_any(written(first, 16, 8)[:length] + written(second, 16, 8)[length:])


@given(st.one_of(words(), st.text(max_size=300)))
@example("`![x](y)` `<b>`.png").via("a name that would end its quotation, and was Markdown")
@example("a" * 300 + ".png").via("a name longer than a line")
@example("../../\u202egnp.exe").via("folders, and letters that turn the text around")
@examples(30)
def test_whatever_a_file_is_called_the_sentence_stays_one(name: str) -> None:
    for data in (b"no picture", written(4, 8, 8)[:40]):
        try:
            decode(data, name)
        except ImageError as error:
            text = str(error)
            assert text.isprintable() and text.endswith(".") and len(text) < 500
            if name.isascii():
                check_discreet(text)
        else:
            raise AssertionError("it is no image")


SHARES = st.integers(0, 10_000).map(lambda share: share / 10_000)
SIDES = st.integers(1, 60)
CUTS = st.sampled_from(((8, None), (16, None), (8, 10), (16, 16)))  # side of the input, and `resize_shorter_to`


def noise(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng([rows, columns]).integers(0, 256, (rows, columns, 3), np.uint8)


@given(SIDES, SIDES, SHARES, SHARES, SHARES.filter(lambda share: share >= 0.02), CUTS)
@examples(200)
def test_a_network_gets_the_pixels_of_the_frame_and_no_others(
    rows: int, columns: int, left: float, top: float, side: float, cut: tuple[int, int | None]
) -> None:
    size, shorter = (cut[0], cut[0]), cut[1]
    frame = Frame.parse(f"{left:g},{top:g},{side:g}")
    assert frame == (left, top, side)
    x, y, n = frame.box((rows, columns))
    assert 0 <= x <= columns - n and 0 <= y <= rows - n and n >= 1
    part = visible_part((rows, columns), size, shorter, frame)
    if part == visible_part((rows, columns), size, shorter):
        return  # the next law
    np.testing.assert_allclose(part, (x / columns, y / rows, n / columns, n / rows), atol=1e-12)
    pixels = noise(rows, columns)
    got = resize(pixels, size, shorter, frame)
    np.testing.assert_array_equal(got, resize(pixels[y : y + n, x : x + n], size, shorter and cut[0]))
    elsewhere = 255 - pixels
    elsewhere[y : y + n, x : x + n] = pixels[y : y + n, x : x + n]
    np.testing.assert_array_equal(resize(elsewhere, size, shorter, frame), got)


@given(SIDES, SIDES, CUTS)
@examples(100)
def test_a_frame_where_a_network_looks_by_itself_changes_no_bit(
    rows: int, columns: int, cut: tuple[int, int | None]
) -> None:
    size, shorter = (cut[0], cut[0]), cut[1]
    left, top, wide, _ = visible_part((rows, columns), size, shorter)
    text = ",".join(f"{share:.4f}" for share in (left, top, wide * columns / min(rows, columns)))
    pixels = noise(rows, columns)
    np.testing.assert_array_equal(resize(pixels, size, shorter, Frame.parse(text)), resize(pixels, size, shorter))
