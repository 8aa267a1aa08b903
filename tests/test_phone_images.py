"""HEIC and AVIF, whole and hostile. Every picture is written here, by the encoders of pillow-heif and Pillow."""

import io
import re
import struct
import subprocess
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from explorer.images import MAX_PIXELS, ImageError, boxed, decode, decoding

PHOTO = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
BLUE = (10, 20, 200)
RGB = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}  # without loss


def heic(*pictures: Image.Image | np.ndarray, primary: int = 0, **options: object) -> bytes:
    images = [each if isinstance(each, Image.Image) else Image.fromarray(each) for each in pictures]
    found = pillow_heif.from_pillow(images[0])
    for image in images[1:]:
        found.add_from_pillow(image)
    file = io.BytesIO()
    found.save(file, primary_index=primary, **{**RGB, **options})
    return file.getvalue()


def avif(image: Image.Image | np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, "AVIF", **{"quality": 100, "subsampling": "4:4:4", "speed": 10, **options})
    return file.getvalue()


def plain(width: int, height: int, colour: str | tuple[int, ...] = BLUE, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height), colour)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as error:
        decode(data, "a.heic")
    assert re.fullmatch(r"[^\n]{20,300}\.", str(error.value))
    return str(error.value)


# --- whole -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "IMG_1.jpg", "photo"])
def test_a_heic_gives_the_pixels_that_went_in_whatever_it_is_called(name):
    picture = decode(heic(PHOTO), name)
    np.testing.assert_array_equal(picture.pixels, PHOTO)
    assert (picture.format, picture.frames, picture.notes, picture.values) == ("HEIC", 1, (), None)


@pytest.mark.parametrize("options", [{}, {"subsampling": "4:2:0"}, {"quality": 30}])
def test_an_avif_gives_what_pillow_gives(options):
    data = avif(PHOTO, **options)
    picture = decode(data, "photo.png")
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert (picture.format, picture.frames) == ("AVIF", 1)


def test_a_flat_avif_keeps_its_colour():
    pixels = decode(avif(plain(40, 30)), "a.avif").pixels
    assert np.abs(pixels.astype(int) - BLUE).max() <= 2


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparency(mode):
    image = Image.fromarray(PHOTO).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.where(np.arange(64) < 32, 255, 0).astype(np.uint8)[None].repeat(48, 0)))
    for data in (heic(image, matrix_coefficients=0 if mode == "RGBA" else 6), avif(image)):
        picture = decode(data, "a")
        near = np.abs(picture.pixels[:, :32].astype(int) - np.asarray(image.convert("RGB"))[:, :32]).max()
        assert near <= 3 and picture.transparent is (mode == "RGBA")
        assert (picture.pixels[:, 32:] == 255).all() or mode == "L"


def test_of_several_pictures_the_main_one_is_shown():
    others: list[Image.Image | np.ndarray] = [plain(64, 48, (200, 0, 0)), PHOTO, plain(64, 48, (0, 200, 0))]
    picture = decode(heic(*others, primary=1), "a.heic")
    np.testing.assert_array_equal(picture.pixels, PHOTO)
    assert picture.frames == 3 and "The main one of its 3 pictures is shown." in picture.notes


def test_of_an_animation_the_first_picture_is_shown():
    data = avif(plain(40, 30), save_all=True, append_images=[plain(40, 30, (200, 0, 0))] * 3)
    picture = decode(data, "a.avif")
    assert np.abs(picture.pixels.astype(int) - BLUE).max() <= 3 and picture.frames == 4


@pytest.mark.parametrize("write", [heic, avif])
def test_a_turned_picture_is_upright(write):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(PHOTO)
    upright = decode(write(image), "a").pixels
    turned = decode(write(Image.fromarray(np.ascontiguousarray(np.rot90(PHOTO))), exif=exif.tobytes()), "a").pixels
    assert turned.shape == upright.shape and np.abs(turned.astype(int) - upright).mean() < 3


def test_ten_grey_bits_keep_their_brightness():
    deep = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 16
    file = io.BytesIO()
    pillow_heif.from_bytes("I;16", (64, 48), deep.tobytes()).save(file, quality=-1)
    picture = decode(file.getvalue(), "a.heic")
    assert picture.values == (0, deep.max() // 64 * 64)
    assert np.abs(picture.pixels[..., 0].astype(int) - deep / 257).max() <= 1


def test_a_video_is_no_image():
    assert "is not a JPEG" in refusal(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(100))


# --- hostile ---------------------------------------------------------------------------------------------------------


def size_box(width: int, height: int) -> bytes:
    return b"ispe" + bytes(4) + struct.pack(">II", width, height)


@pytest.mark.parametrize("write", [heic, avif])
def test_a_size_above_the_limit_is_refused_before_decoding(write):
    data = write(plain(64, 64)).replace(size_box(64, 64), size_box(10_000, 10_000))
    assert "10,000 × 10,000 pixels" in refusal(data)


def test_an_avif_that_holds_more_than_it_declares_is_refused(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 500_000)
    data = avif(plain(1024, 1024), quality=1)
    small = data.replace(size_box(1024, 1024), size_box(100, 100))
    assert small != data and "holds far more pixels than the 100 × 100" in refusal(small)


def test_the_pixels_of_an_avif_are_read_from_its_data():
    sizes = [(1, 1), (63, 17), (301, 203), (2000, 7)]
    for width, height in sizes:
        data = avif(plain(width, height), quality=50)
        assert boxed.pixels_to_decode(boxed.open_avif(io.BytesIO(data)), data) == (width * height, width * height)
    moving = avif(plain(301, 203), save_all=True, append_images=[plain(301, 203, "red")] * 2)
    assert boxed.pixels_to_decode(boxed.open_avif(io.BytesIO(moving)), moving)[0] == 301 * 203


def box(kind: bytes, content: bytes, head: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(head + content), kind) + head + content


def grid(side: int, count: int, shown: int) -> bytes:
    """A HEIC of one tile, `count` times `count` times in a picture that shows but a corner of them."""
    whole = heic(plain(side, side), quality=50, chroma=420)
    start = whole.index(b"ipco")
    properties = whole[start + 4 : start - 4 + int.from_bytes(whole[start - 4 : start])]
    number = len(re.findall(rb"ispe|hvcC|colr|pixi|irot|imir|clap|pasp", properties)) + 1
    linked = whole[whole.index(b"ipma") + 12 :]
    linked = linked[2 : 3 + linked[2]]
    handler = whole[whole.index(b"hdlr") - 4 :]
    handler = handler[: int.from_bytes(handler[:4])]
    coded = whole[whole.index(b"mdat") + 4 :]
    layout = struct.pack(">BBBBHH", 0, 0, count - 1, count - 1, shown, shown)
    free = bytes(4)
    entries = b"".join(
        box(b"infe", struct.pack(">HH4s", index, 0, kind) + b"\0", b"\2\0\0\0")
        for index, kind in ((1, b"hvc1"), (2, b"grid"))
    )

    def meta(at: int) -> bytes:
        places = struct.pack(">HH", 0x4400, 2) + struct.pack(">HHHII", 1, 0, 1, at, len(coded))
        places += struct.pack(">HHHII", 2, 0, 1, at + len(coded), len(layout))
        parts = [handler, box(b"pitm", b"\0\2", free), box(b"iloc", places, free)]
        parts.append(box(b"iinf", b"\0\2" + entries, free))
        uses = struct.pack(">HH", 2, count * count) + struct.pack(">H", 1) * count * count
        parts.append(box(b"iref", box(b"dimg", uses), free))
        shape = box(b"ispe", struct.pack(">II", shown, shown), free)
        links = struct.pack(">IH", 2, 1) + linked + struct.pack(">HBB", 2, 1, 0x80 | number)
        parts.append(box(b"iprp", box(b"ipco", properties + shape) + box(b"ipma", links, free)))
        return box(b"meta", b"".join(parts), free)

    head = whole[: int.from_bytes(whole[:4])]
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", coded + layout)


def test_a_grid_of_tiles_is_read_and_one_with_tiles_nobody_sees_is_refused():
    assert decode(grid(64, 2, 128), "a.heic").pixels.shape == (128, 128, 3)
    assert "holds far more pixels than the 1,024 × 1,024" in refusal(grid(1024, 31, 1024))


def test_libheif_is_told_the_limit_and_imported_only_for_a_heic():
    code = (
        "import sys, ctypes\n"
        "from explorer.images import boxed, decode\n"
        "assert not {'pillow_heif', 'pydicom'} & set(sys.modules)\n"
        "import io\n"
        "heif = boxed._heif()\n"
        "limits = ctypes.CDLL(sys.modules['_pillow_heif'].__file__).heif_get_global_security_limits\n"
        "limits.restype = ctypes.POINTER(ctypes.c_uint64 * 2)\n"
        "print(limits().contents[1], heif.options.DECODE_THREADS, '.heic' in __import__('PIL.Image').Image.EXTENSION)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(MAX_PIXELS + MAX_PIXELS // 50), "1", "False"]


@pytest.mark.parametrize("write", [heic, avif])
def test_a_file_that_is_cut_short_or_changed_loads_or_is_refused(write, capfd):
    data = write(PHOTO, quality=50)
    random = np.random.default_rng(0)
    for length in random.integers(12, len(data), 40):
        with pytest.raises(ImageError) if length < 100 else _either():
            decode(data[:length], "a")
    for _ in range(150):
        changed = bytearray(data)
        for place in random.integers(8, min(len(data), 700), 3):
            changed[place] = random.integers(256)
        with _either():
            decode(bytes(changed), "a")
    assert capfd.readouterr() == ("", "")


class _either:
    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, ImageError)
