"""Zips of class folders: made at random, then damaged."""

import io
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
from explorer.datasets.untrusted_files import resolve_allowed
from tests.fuzz.laws import check_sentence, examples
from tests.fuzz.mutations import damaged, words

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


def outcome(data: bytes) -> Dataset | str:
    """The dataset, or the sentence; whichever it is, its law is checked."""
    try:
        dataset = folders.load(io.BytesIO(data), size=(8, 8), validation=0.0)
    except ValueError as error:
        check_sentence(str(error))
        return str(error)
    count = sum(len(split) for split in (dataset.train, dataset.validation, dataset.test))
    assert len(dataset.class_names) >= 2 and list(dataset.class_names) == sorted(set(dataset.class_names))
    assert all(name and name.isprintable() and len(name) <= folders.MAX_CLASS_NAME for name in dataset.class_names)
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
