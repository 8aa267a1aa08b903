"""DICOM files, whole and hostile. Every file is written here by pydicom, whose own windowing is the oracle."""

import io
import logging
import re
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pydicom
import pydicom.uid as uids
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_voi_lut
from pydicom.sequence import Sequence

from explorer.images import ImageError, Rendering, decode, decoding, dicom
from tests.dicom_files import element_set, file_of, written

RANDOM = np.random.default_rng(0)
DEEP = RANDOM.integers(0, 4096, (13, 17)).astype(np.uint16)
PHOTO = RANDOM.integers(0, 256, (16, 24, 3)).astype(np.uint8)
NOTE = "Of the DICOM file only the image is read."


def item(**values: Any) -> Dataset:
    found = Dataset()
    for name, value in values.items():
        setattr(found, name, value)
    return found


def grey(data: bytes, rendering: Rendering | None = None) -> np.ndarray:
    pixels = decode(data, "a", *([rendering] if rendering else [])).pixels
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def levels(shares: np.ndarray) -> np.ndarray:
    return np.rint(shares * 255).clip(0, 255).astype(np.uint8)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as error:
        decode(data, "scan.dcm")
    assert re.fullmatch(r"`scan.dcm` [^\n]{20,300}\.", str(error.value)) and "Doe" not in str(error.value)
    return str(error.value)


# --- pixels ----------------------------------------------------------------------------------------------------------

SYNTAXES = [
    uids.ExplicitVRLittleEndian,
    uids.ImplicitVRLittleEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.RLELossless,
]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_lossless_syntax_gives_the_values_that_went_in(syntax):
    picture = decode(file_of(DEEP, syntax=syntax, bits=12), "a")
    assert (picture.format, picture.values, picture.notes[0]) == ("DICOM", (DEEP.min(), DEEP.max()), NOTE)
    np.testing.assert_array_equal(picture.rendered(Rendering(scale=(0, 255 * 257))).pixels[..., 0], np.rint(DEEP / 257))
    np.testing.assert_array_equal(decode(file_of(PHOTO, "RGB", syntax), "a").pixels, PHOTO)
    np.testing.assert_array_equal(grey(file_of(PHOTO[..., 0], syntax=syntax)), PHOTO[..., 0])


def test_a_big_endian_file():
    found = element_set(DEEP, bits=12)
    found.PixelData = DEEP.byteswap().tobytes()
    found["PixelData"].VR = "OW"
    picture = decode(written(found, uids.ExplicitVRBigEndian), "a")
    assert picture.values == (DEEP.min(), DEEP.max())


def test_the_head_of_the_file_may_be_missing():
    whole = file_of(DEEP, bits=12)
    for data in (whole[128:], whole[132:], whole[whole.index(b"\x08\0\x16\0UI") :]):
        np.testing.assert_array_equal(decode(data, "IM0001").pixels, decode(whole, "a").pixels)


@pytest.mark.parametrize("syntax", [uids.JPEGBaseline8Bit, uids.JPEG2000Lossless])
def test_jpeg_inside_gives_what_pillow_gives(syntax):
    for image in (Image.fromarray(PHOTO[..., 0]), Image.fromarray(PHOTO)):
        file = io.BytesIO()
        image.save(file, "JPEG" if syntax == uids.JPEGBaseline8Bit else "JPEG2000", **{"no_jp2": True})
        kind = "MONOCHROME2" if image.mode == "L" else "YBR_FULL_422" if syntax == uids.JPEGBaseline8Bit else "YBR_RCT"
        found = element_set(np.asarray(image), kind)
        found.PixelData = encapsulate([file.getvalue()])
        found["PixelData"].VR = "OB"
        expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB")).astype(int)
        assert np.abs(decode(written(found, syntax), "a").pixels - expected).max() <= 3


def test_the_first_of_several_frames():
    frames = np.stack([PHOTO[..., 0], 255 - PHOTO[..., 0]])
    picture = decode(file_of(frames, NumberOfFrames=2), "a")
    np.testing.assert_array_equal(picture.pixels[..., 0], PHOTO[..., 0])
    assert picture.frames == 2 and "The first of its 2 frames is shown." in picture.notes


def test_a_palette():
    table = RANDOM.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    more: dict[str, Any] = {}
    for colour, row in zip(("Red", "Green", "Blue"), table, strict=True):
        more[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        more[f"{colour}PaletteColorLookupTableData"] = row.astype("<u2").tobytes()
    picture = decode(file_of(PHOTO[..., 0], "PALETTE COLOR", **more), "a")
    np.testing.assert_array_equal(picture.pixels, (table.T >> 8)[PHOTO[..., 0]])


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1024), (0.5, 3)])
def test_a_window_is_that_of_pydicom(function, slope, intercept):
    more = {"RescaleSlope": slope, "RescaleIntercept": intercept} if (slope, intercept) != (1, 0) else {}
    found = element_set(DEEP, bits=12, WindowCenter=[800, 1], WindowWidth=[900, 1], VOILUTFunction=function, **more)
    stored = DEEP.astype(float) * slope + intercept
    seen = apply_voi_lut(stored, found)
    low, high = (value * slope + intercept for value in (0, 4095))
    picture = decode(written(found), "a")
    assert np.abs(picture.pixels[..., 0].astype(float) - levels((seen - low) / (high - low))).max() <= 1
    assert picture.values is None and "the window (centre 800, width 900)" in picture.notes[1]
    assert decode(written(found), "a", Rendering(scale=(0, 9))).pixels.tolist() == picture.pixels.tolist()


def test_lookup_tables():
    table = np.sort(RANDOM.integers(0, 1024, 4096)).astype("<u2")
    look = item(LUTDescriptor=[4096, 0, 10], LUTData=table.tobytes())
    look["LUTData"].VR = "OW"
    expected = levels(table[DEEP] / 1023)
    np.testing.assert_array_equal(grey(file_of(DEEP, bits=12, VOILUTSequence=Sequence([look]))), expected)
    wide = file_of(DEEP, bits=12, ModalityLUTSequence=Sequence([look]), WindowCenter=512, WindowWidth=1024)
    assert np.abs(grey(wide).astype(int) - expected).max() <= 1


def test_a_window_in_the_groups_of_an_enhanced_file():
    group = item(
        FrameVOILUTSequence=Sequence([item(WindowCenter=1000, WindowWidth=500)]),
        PixelValueTransformationSequence=Sequence([item(RescaleSlope=1, RescaleIntercept=-100)]),
    )
    plain = file_of(DEEP, bits=12, WindowCenter=1000, WindowWidth=500, RescaleSlope=1, RescaleIntercept=-100)
    for where in ("Shared", "PerFrame"):
        groups: dict[str, Any] = {f"{where}FunctionalGroupsSequence": Sequence([group])}
        found = file_of(DEEP, bits=12, **groups)
        np.testing.assert_array_equal(grey(found), grey(plain))


def test_small_values_stand_for_white_in_monochrome1():
    windows: list[dict[str, Any]] = [{}, {"WindowCenter": 800, "WindowWidth": 900}]
    for more in windows:
        one, two = (grey(file_of(DEEP, kind, bits=12, **more)) for kind in ("MONOCHROME1", "MONOCHROME2"))
        np.testing.assert_array_equal(one, 255 - two)


def test_signed_values_without_a_window_are_stretched_or_scaled_as_asked():
    values = DEEP.astype(np.int16) - 1000
    picture = decode(file_of(values), "a")
    assert picture.values == (values.min(), values.max())
    np.testing.assert_array_equal(
        grey(file_of(values), Rendering(scale=(-1000, 4095))), levels((values + 1000.0) / 5095)
    )


def test_a_window_that_is_none_is_no_window():
    for centre, width in ((800, 0), (800, -3), ("nan", 5)):
        found = element_set(DEEP, bits=12)
        if centre != "nan":
            found.WindowCenter, found.WindowWidth = centre, width
        assert decode(written(found), "a").values == (DEEP.min(), DEEP.max())


# --- privacy ---------------------------------------------------------------------------------------------------------


def test_nothing_of_the_patient_is_kept_or_logged(caplog, capfd, recwarn):
    caplog.set_level(logging.DEBUG)
    damaged = element_set(DEEP, bits=12, PatientBirthDate="19700101", PatientAge="042Y")
    data = written(damaged).replace(b"19700101", b"Doe^Jane")
    for each in (data, data[:-50], data[:300]):
        try:
            picture = decode(each, "a")
        except ImageError as error:
            assert "Doe" not in str(error)
        else:
            cells: Any = getattr(picture.again, "__closure__")  # noqa: B009
            closures = [cell.cell_contents for cell in cells]  # what a session keeps
            assert "Doe" not in repr(picture) and not any(isinstance(each, bytes | Dataset) for each in closures)
    assert not caplog.records and not recwarn and capfd.readouterr() == ("", "")


# --- hostile ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        (uids.JPEGLosslessSV1, "JPEG Lossless"),
        (uids.JPEGLSLossless, "JPEG-LS"),
        (uids.HTJ2KLossless, "High-Throughput JPEG 2000"),
        (uids.MPEG2MPML, "MPEG2"),
    ],
)
def test_a_syntax_that_cannot_be_read_says_what_to_do(syntax, name):
    found = element_set(DEEP, bits=12)
    found.PixelData = encapsulate([bytes(100)])
    found["PixelData"].VR = "OB"
    data = written(found, syntax)
    text = refusal(data)
    assert name in text and "gdcmconv --raw" in text
    assert "with compressed pixels" in refusal(data.replace(syntax.encode(), b"`9" + syntax[2:].encode()))


def test_a_report_has_no_image():
    found = element_set(DEEP)
    for name in ("Rows", "Columns", "PixelData"):
        delattr(found, name)
    assert "without an image, such as a report" in refusal(written(found))
    found = element_set(DEEP)
    del found.PixelData
    assert "without an image" in refusal(written(found))


def test_sizes_are_checked_before_the_pixels():
    assert "65,535 × 65,535 pixels" in refusal(file_of(DEEP, Rows=65535, Columns=65535))
    assert "damaged, cut short" in refusal(file_of(DEEP, Rows=5000, Columns=5000))
    assert "damaged, cut short" in refusal(file_of(DEEP, SamplesPerPixel=7))


def test_a_deflated_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_BYTES", 2**20)
    packed = zlib.compressobj(1, zlib.DEFLATED, -15)
    content = packed.compress(b"\x08\0\x08\0LT\0\0" + bytes(2**21)) + packed.flush()
    head = file_of(DEEP, syntax=uids.DeflatedExplicitVRLittleEndian)
    start = head.index(b"1.2.840.10008.1.2.1.99") + 22
    assert "MB unpacked" in refusal(head[:start] + content)


def nested(depth: int) -> bytes:
    """Sequences of undefined length in each other."""
    return b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * depth


@pytest.mark.parametrize("depth", [50, 900, 100_000])
def test_sequences_in_each_other_are_a_sentence(depth):
    whole = file_of(DEEP)
    start = whole.index(b"\x10\0\x10\0PN")
    refusal(whole[:start] + nested(depth))
    refusal(whole[: whole.index(b"\x08\0\x16\0UI")] + nested(depth) + whole[start:])


def test_a_million_elements_are_a_sentence():
    whole = file_of(DEEP)
    start = whole.index(b"\x08\0\x16\0UI")
    assert "far too many elements" in refusal(whole[:start] + b"\x08\0\x08\0CS\2\0AB" * 1_000_000 + whole[start:])


def with_element(tag: bytes, vr: bytes, content: bytes) -> bytes:
    """A file with one more element of a defined length, or other pixels."""
    whole = file_of(DEEP, bits=12)
    at = whole.index(b"\xe0\x7f\x10\0OW" if tag.startswith(b"\xe0") else b"\x10\0\x10\0PN")
    after = b"" if tag.startswith(b"\xe0") else whole[at:]
    return whole[:at] + tag + vr + b"\0\0" + struct.pack("<I", len(content)) + content + after


def most_memory(data: bytes) -> tuple[int, str]:
    """The most bytes that reading takes, and why the file is refused, if it is."""
    tracemalloc.start()
    try:
        decode(data, "scan.dcm")
    except ImageError as error:
        return tracemalloc.get_traced_memory()[1], str(error)
    else:
        return tracemalloc.get_traced_memory()[1], ""
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("tag", "vr", "content", "refused"),
    [
        ("0052 3092", "SQ", b"\xfe\xff\0\xe0\0\0\0\0" * 600_000, False),  # of the items only the first is looked at
        ("0052 2992", "SQ", b"\xfe\xff\0\xe0" + struct.pack("<I", 80_000) + b"\x08\0\0\0UL\0\0" * 10_000, True),
        ("2800 5110", "UT", b"1\\" * 2_500_000, True),
        ("2800 5110", "SV", bytes(5_000_000), True),
        ("e07f 1000", "UC", b"1\\" * 2_500_000, True),
        ("0800 0500", "UT", b"a\\" * 2_500_000, True),
    ],
)
def test_one_long_element_is_not_a_million_objects(tag, vr, content, refused, monkeypatch):
    decode(file_of(DEEP), "a")  # imports
    monkeypatch.setattr(dicom, "_MAX_READS", 5_000)
    memory, text = most_memory(with_element(bytes.fromhex(tag), vr.encode(), content))
    assert memory < 40 * 2**20 and ("far too many elements" in text) == refused == bool(text)


def test_a_long_name_of_the_syntax_is_refused():
    whole = file_of(DEEP)
    at = whole.index(b"\x02\0\x10\0UI")
    long = b"\x02\0\x10\0UC\0\0" + struct.pack("<I", 5_000_000) + b"1\\" * 2_500_000
    memory, text = most_memory(whole[:at] + long + whole[whole.index(b"\x08\0\x16\0UI") :])
    assert memory < 40 * 2**20 and "far too many elements" in text


@pytest.mark.parametrize("tables", ["basic", "extended"])
def test_a_table_of_a_million_frames_is_refused(tables):
    found = element_set(PHOTO[..., 0])
    found.PixelData = encapsulate([bytes(100)])
    found["PixelData"].VR = "OB"
    if tables == "extended":
        found.ExtendedOffsetTable = found.ExtendedOffsetTableLengths = bytes(5_000_000)
    else:
        found.PixelData = b"\xfe\xff\0\xe0" + struct.pack("<I", 5_000_000) + bytes(5_000_000) + found.PixelData
    assert "far too many elements" in refusal(written(found, uids.JPEGBaseline8Bit))


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0xFFFFFFFE, 0x80000000, 2**31 - 1, 3])
def test_lengths_that_are_none_are_a_sentence_or_no_harm(length):
    whole = bytearray(file_of(DEEP))
    place = whole.index(b"\xe0\x7f\x10\0OW\0\0") + 8
    whole[place : place + 4] = struct.pack("<I", length)
    _either(bytes(whole))


def test_packed_lengths_that_swell_are_refused():
    found = element_set(PHOTO[..., 0])
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 500_000
    found.PixelData = encapsulate([frame])
    found["PixelData"].VR = "OB"
    data = written(found, uids.ExplicitVRLittleEndian)
    refusal(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))


def test_a_jpeg_of_another_size_inside_is_refused():
    file = io.BytesIO()
    Image.new("L", (5000, 5000)).save(file, "JPEG")
    found = element_set(PHOTO[..., 0])
    found.PixelData = encapsulate([file.getvalue()])
    found["PixelData"].VR = "OB"
    refusal(written(found, uids.JPEGBaseline8Bit))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_changed_file_loads_or_is_refused(syntax, capfd):
    data = file_of(DEEP, syntax=syntax, bits=12, WindowCenter=800, WindowWidth=900)
    random = np.random.default_rng(0)
    for length in random.integers(0, len(data), 30):
        _either(data[:length])
    for _ in range(200):
        changed = bytearray(data)
        for place in random.integers(128, len(data) - DEEP.nbytes // 2, 3):
            changed[place] = random.integers(256)
        _either(bytes(changed))
    assert capfd.readouterr() == ("", "")


def _either(data: bytes) -> None:
    try:
        decode(data, "a")
    except ImageError as error:
        assert "\n" not in str(error)


def test_what_begins_otherwise_is_no_dicom():
    assert not dicom.is_dicom(b"II*\0" + bytes(200)) and not dicom.is_dicom(b"\x08\0\0\0text that goes on")
    assert dicom.is_dicom(file_of(DEEP)[:200]) and pydicom.__version__
