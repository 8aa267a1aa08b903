"""Zips and tars of images with folders, tables and names that tell the classes: made at random, then damaged."""

import gzip
import io
import tarfile
import warnings
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from PIL import Image

from explorer.datasets import Dataset, folders
from explorer.datasets.layouts import in_order
from explorer.datasets.name_encodings import ENCODINGS
from explorer.datasets.untrusted_files import resolve_allowed
from tests.fuzz.laws import check_sentence, examples
from tests.fuzz.mutations import damaged, words
from tests.test_hostile_zips import Entry, zipped

CLASSES = (
    "cat",
    "dog",
    "Cat",
    "c\u0327at",
    "train",
    "TEST",
    "val",
    "..",
    ".hidden",
    "__MACOSX",
    "a" * 120,
    "x y",
    "C:",
)
FILES = (
    "1.png",
    "2.jpg",
    "3.PNG",
    "4.txt",
    "5.zip",
    "6",
    ".7.png",
    "8.png/",
    "../9.png",
    "10.gif",
    "thumbs.db",
    "\\11.png",
    "cat_12.png",
    "dog (3).jpg",
    "labels.csv",
    "val_annotations.txt",
)
OLD = ("猫", "表示", "кошка", "käse", "고양이", "貓")
CODES = ("utf-8", "gb18030", "cp932", "cp866", "cp437", "cp949", "cp950", "utf-16")
CELLS = (
    "1.png",
    "cat/2.jpg",
    "cat_12",
    "../9.png",
    "cat",
    "dog",
    "=cmd()",
    '"a,b"',
    '"',
    "0",
    "1",
    "",
    "\0",
    "label",
    "split",
    "9" * 300,
)


@cache
def content(number: int) -> bytes:
    """A picture, a damaged one, none, or many zeros."""
    if number == 5:
        return b""
    if number == 6:
        return bytes(10**6)
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8 + number, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, ("PNG", "JPEG", "GIF")[number % 3])
    return file.getvalue()[: 40 if number == 4 else None]


@st.composite
def archives(draw: DrawFn) -> bytes:
    """A zip of up to 12 entries, most of them pictures in class folders."""
    file = io.BytesIO()
    whole = draw(st.booleans())
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of two entries with one name
        for label in draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=3)) if not whole else ("cat", "dog"):
            for name in draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=3)) if not whole else FILES[:2]:
                part = draw(st.one_of(st.just(label), st.just(label), st.just(label), words()))
                path = "/".join([*draw(st.sampled_from(((), (), ("train",), ("top", "train")))), part, name])
                info = zipfile.ZipInfo(path.encode(errors="replace").decode()[:2000] or "x")
                info.compress_type = draw(st.sampled_from((0, 8, 8, 8, 12)))
                if draw(st.integers(0, 9)) == 0:
                    info.external_attr = draw(st.sampled_from((0o120777, 0o010644, 0o040755, 0o100644))) << 16
                archive.writestr(info, content(draw(st.integers(0, 6))))
        if draw(st.integers(0, 5)) == 0:
            archive.comment = draw(st.binary(max_size=50))
    return file.getvalue()


@st.composite
def tables(draw: DrawFn) -> bytes:
    """A table of names and labels, or what nearly is one."""
    separator = draw(st.sampled_from((",", ";", "\t", "|", " ")))
    rows = draw(st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4), max_size=8))
    text = draw(st.sampled_from(("\n", "\r\n", "\r"))).join(separator.join(row) for row in rows)
    return text.encode(draw(st.sampled_from(CODES)), "replace") * draw(st.sampled_from((1, 1, 50)))


@st.composite
def tars(draw: DrawFn) -> bytes:
    """A tar of up to 12 entries of any kind, with tables, in any form, compressed or not."""
    file = io.BytesIO()
    code = draw(st.sampled_from(CODES[:-1]))
    form = draw(st.sampled_from((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)))
    with tarfile.TarFile(fileobj=file, mode="w", format=form, encoding=code, errors="replace") as archive:
        for number in range(draw(st.integers(0, 12))):
            label = draw(st.sampled_from((*CLASSES, *OLD)))
            name = draw(st.sampled_from(FILES))
            around = draw(st.sampled_from(("", "./", "train/", "top/Train/", "val/", "test1/")))
            info = tarfile.TarInfo(draw(st.sampled_from((f"{around}{label}/{number}{name}", f"{around}{name}"))))
            info.type = draw(st.sampled_from((b"0", b"0", b"0", b"0", b"0", b"1", b"2", b"3", b"5", b"6", b"S", b"?")))
            data = draw(tables()) if name.endswith((".csv", ".txt")) else content(draw(st.integers(0, 6)))
            info.size = len(data) if info.type == b"0" else draw(st.sampled_from((0, 1, 2**32)))
            archive.addfile(info, io.BytesIO(data) if info.type == b"0" else None)
    return gzip.compress(file.getvalue()) if draw(st.booleans()) else file.getvalue()


@st.composite
def old_zips(draw: DrawFn) -> bytes:
    """A zip whose names are in an old encoding, with slashes or backslashes."""
    code = draw(st.sampled_from(CODES[1:-1]))
    separator = draw(st.sampled_from(("/", "\\")))
    names = [f"{part}{separator}{i}.png" for part in draw(st.sets(st.sampled_from(OLD), min_size=2)) for i in range(2)]
    entries = [Entry(name.encode(code, "replace"), content(i)) for i, name in enumerate(names)]
    return zipped(entries)


def outcome(data: bytes, labels_from: str | None = None, encoding: str | None = None) -> Dataset | str:
    """The dataset, or the sentence; whichever it is, its law is checked."""
    try:
        dataset = folders.load(
            io.BytesIO(data), size=(8, 8), validation=0.0, labels_from=labels_from, encoding=encoding
        )
    except ValueError as error:
        check_sentence(str(error))
        return str(error)
    count = sum(len(split) for split in (dataset.train, dataset.validation, dataset.test))
    assert len(dataset.class_names) >= 2 and dataset.class_names == in_order({*dataset.class_names})
    assert all(
        name and "".join(name.split()).isprintable() and len(name) <= folders.MAX_CLASS_NAME
        for name in dataset.class_names
    )
    assert count >= len(dataset.class_names) and set(dataset.train.labels) == set(range(len(dataset.class_names)))
    assert np.isfinite((*dataset.mean, *dataset.std)).all() and min(dataset.std) > 0
    for note in dataset.notes:
        check_sentence(note)
    for skipped in dataset.skipped:
        assert skipped.path.isprintable() and len(skipped.path) <= 80
        check_sentence(f"{skipped.reason.rstrip('.')}.")
    return dataset


def same(first: Dataset | str, second: Dataset | str) -> bool:
    if isinstance(first, str) or isinstance(second, str):
        return isinstance(first, str) and first == second
    return first.skipped == second.skipped and np.array_equal(first.train.images, second.train.images)


@given(archives())
@example(b"PK\x05\x06" + bytes(18)).via("an archive of nothing")
@example(b"PK\x05\x06" + b"\xff" * 18).via("a directory beyond the end")
@examples(40)
def test_a_zip_of_any_names_is_a_dataset_or_a_sentence(data: bytes) -> None:
    assert same(outcome(data), outcome(data))


@given(tars(), st.sampled_from((None, None, "csv", "names")), st.sampled_from((None, None, *ENCODINGS)))
@examples(60)
def test_a_tar_of_any_entries_is_a_dataset_or_a_sentence(data: bytes, labels: str | None, encoding: str | None) -> None:
    assert same(outcome(data, labels, encoding), outcome(data, labels, encoding))


@given(tars().flatmap(damaged))
@examples(60)
def test_a_damaged_tar_is_a_dataset_or_a_sentence(data: bytes) -> None:
    outcome(data)


@given(old_zips(), st.sampled_from((None, *ENCODINGS)))
@examples(40)
def test_names_in_old_encodings_are_a_dataset_or_a_sentence(data: bytes, encoding: str | None) -> None:
    assert same(outcome(data, encoding=encoding), outcome(data, encoding=encoding))


@given(tables(), st.sampled_from(("csv", "names", "csv:label", None)))
@examples(60)
def test_a_table_beside_images_is_a_dataset_or_a_sentence(table: bytes, labels: str | None) -> None:
    names = ("train/1.png", "train/cat/2.jpg", "train/cat_12.png", "train/3.png")
    outcome(
        zipped([Entry(b"labels.csv", table), *(Entry(name.encode(), content(i)) for i, name in enumerate(names))]),
        labels,
    )


@given(archives().flatmap(damaged))
@examples(60)
def test_a_damaged_zip_is_a_dataset_or_a_sentence(data: bytes) -> None:
    outcome(data)


@cache
def good() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for label in ("cat", "dog"):
            for number in range(4):
                archive.writestr(f"{label}/{number}.png", content(number))
    return file.getvalue()


@given(st.deferred(lambda: damaged(good())))
@examples(80)
def test_a_good_zip_loads_and_a_damaged_copy_shows_no_other_picture(data: bytes) -> None:
    """Each entry has a checksum, so what loads of a damaged copy are pictures of the whole one."""
    whole, found = outcome(good()), outcome(data)
    assert isinstance(whole, Dataset)
    if isinstance(found, Dataset):
        known = {image.tobytes() for split in (whole.train, whole.test) for image in split.images}
        assert {image.tobytes() for split in (found.train, found.test) for image in split.images} <= known


@given(words(), st.sampled_from(("inside", "a/b", "..", "/")))
@example("\ud800", "..").via("half a character, which no path can hold")
@example("\0", "/").via("a zero byte, which ends a path elsewhere")
@example("..\\..", "inside").via("a backslash, which separates folders elsewhere")
@examples(30)
def test_what_is_typed_for_a_folder_leads_nowhere_else(data_folder: Path, word: str, more: str) -> None:
    root = data_folder / "allowed"
    root.joinpath("inside", "a").mkdir(parents=True, exist_ok=True)
    for typed in (word, f"{word}/{more}", f"inside/{word}"):
        try:
            folder = resolve_allowed(root, typed)
        except ValueError as error:
            check_sentence(str(error))
        else:
            assert folder.is_dir() and folder.is_relative_to(root.resolve())
