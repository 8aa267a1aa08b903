"""Laws of `explorer.datasets.folders`: what is read, how it is split, and what is refused.

One file: laws of one function, on the same small pictures.
"""

import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer.datasets import Dataset, archives, channel_statistics, folders, untrusted_files
from explorer.datasets.folders import load
from tests.dicom_files import file_of


def png(level: int, size: tuple[int, int] = (32, 32)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size[::-1], (level, level, level)).save(file, "PNG")
    return file.getvalue()


def classes(counts: Mapping[str, int], start: int = 0) -> dict[str, bytes]:
    """Pictures by path, each with a grey level of its own."""
    names = [f"{label}/{i:03}.png" for label, count in counts.items() for i in range(count)]
    return {name: png(start + level) for level, name in enumerate(names)}


def under(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{path}": data for path, data in files.items()}


def on_disk(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def packed(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file


def levels(dataset: Dataset, split: str) -> list[tuple[str, int]]:
    """Class name and grey level of each picture."""
    part = getattr(dataset, split)
    return [
        (dataset.class_names[label], int(image[0, 0, 0])) for label, image in zip(part.labels, part.images, strict=True)
    ]


def assert_equal(one: Dataset, other: Dataset) -> None:
    for field in ("class_names", "mean", "std", "notes"):
        assert getattr(one, field) == getattr(other, field)
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(one, split).images, getattr(other, split).images)
        np.testing.assert_array_equal(getattr(one, split).labels, getattr(other, split).labels)


PETS = {"dog": 20, "cat": 30, "ant": 10}
WHOLE = {
    **under("train", classes(PETS)),
    **under("val", classes({"ant": 1, "cat": 2, "dog": 3}, 100)),
    **under("test", classes({"ant": 3, "cat": 2, "dog": 1}, 200)),
}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Training", "VALIDATION", "Test"), ("training", "val", "test")],
)
@pytest.mark.parametrize("around", ["", "pets/"])
def test_the_splits_that_are_there_are_kept(train, val, test, around):
    names = {"train": train, "val": val, "test": test}
    files = {}
    for name, data in WHOLE.items():
        top, _, rest = name.partition("/")
        files[f"{around}{names[top]}/{rest}"] = data
    dataset = load(packed(files))
    assert dataset.class_names == ("ant", "cat", "dog")
    assert np.bincount(dataset.train.labels).tolist() == [10, 30, 20]
    assert levels(dataset, "validation") == [
        ("ant", 100),
        ("cat", 101),
        ("cat", 102),
        ("dog", 103),
        ("dog", 104),
        ("dog", 105),
    ]
    assert levels(dataset, "test") == [
        ("ant", 200),
        ("ant", 201),
        ("ant", 202),
        ("cat", 203),
        ("cat", 204),
        ("dog", 205),
    ]
    assert dataset.notes == ()
    assert (dataset.mean, dataset.std) == channel_statistics(dataset.train.images)
    assert dataset.input_shape == (3, 32, 32)


@pytest.mark.parametrize("layout", [WHOLE, classes(PETS), under("train", classes(PETS)), under("pets", classes(PETS))])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_and_its_unpacked_folder_give_equal_datasets(tmp_path, layout, compression):
    archive = packed(dict(reversed(layout.items())), compression)
    (tmp_path / "pets.zip").write_bytes(archive.getvalue())
    disk = load(on_disk(tmp_path / "files", layout))
    assert_equal(disk, load(archive))
    assert_equal(disk, load(str(tmp_path / "pets.zip")))
    assert load(tmp_path / "pets.zip").name == "pets" and disk.name == "files" and load(archive, name="x").name == "x"


def test_a_test_split_is_drawn_from_each_class_by_the_seed():
    archive = packed(classes(PETS))
    dataset = load(archive, seed=3)
    counts = {split: np.bincount(getattr(dataset, split).labels).tolist() for split in ("train", "validation", "test")}
    assert counts == {"train": [7, 22, 14], "validation": [1, 2, 2], "test": [2, 6, 4]}
    assert any("20% of each class, drawn with seed 3" in note for note in dataset.notes)
    drawn = [pair for split in counts for pair in levels(dataset, split)]
    everything = [(path.split("/")[0], level) for level, path in enumerate(classes(PETS))]
    assert sorted(drawn) == sorted(everything)  # each picture once, with its own label
    assert_equal(dataset, load(archive, seed=3))
    assert levels(load(archive, seed=4), "test") != levels(dataset, "test")
    without = load(archive, seed=3, validation=0)
    assert len(without.validation) == 0 and levels(without, "test") == levels(dataset, "test")
    assert levels(load(archive, seed=3, validation=0.5), "test") == levels(dataset, "test")


def test_validation_is_drawn_from_the_training_pictures_only():
    files = {**under("train", classes(PETS)), **under("test", classes(dict.fromkeys(PETS, 1), 200))}
    dataset = load(packed(files), validation=0.25)
    assert np.bincount(dataset.validation.labels).tolist() == [2, 8, 5]
    assert not set(levels(dataset, "validation")) & set(levels(dataset, "train"))
    assert levels(dataset, "test") == [("ant", 202), ("cat", 201), ("dog", 200)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_small_classes_keep_a_training_picture(count):
    dataset = load(packed(classes({"a": count, "b": 10})))
    assert (dataset.train.labels == 0).any()
    assert (dataset.test.labels == 0).sum() == (count > 1)


def test_classes_may_be_called_like_splits():
    dataset = load(packed(classes({"train": 4, "bus": 4, "test": 4})))
    assert dataset.class_names == ("bus", "test", "train")


def test_pictures_may_lie_deeper_and_classes_may_have_any_script():
    files = {**under("train/狐", classes({"images": 3, "more/images": 2})), **under("train/lynx é", classes({"": 3}))}
    dataset = load(packed({name.replace("//", "/"): data for name, data in files.items()}), validation=0)
    assert dataset.class_names == ("lynx é", "狐")
    assert np.bincount(dataset.train.labels).tolist() == [2, 4]


def test_pictures_are_brought_to_size():
    files = {
        "a/1.png": png(10, (50, 90)),
        "a/2.png": png(10, (3, 1)),
        "b/1.png": png(250, (20, 24)),
        "b/2.png": png(250),
    }
    dataset = load(packed(files), size=(20, 24), validation=0)
    assert dataset.input_shape == (3, 20, 24)
    assert set(dataset.train.images.ravel()) | set(dataset.test.images.ravel()) == {10, 250}
    assert dataset.notes[0] == "Images of another size, centre-cropped and resized to 20 × 24: 3."


# --- what is left out ------------------------------------------------------------------------------------------------


def test_junk_is_passed_over_in_silence():
    junk = {
        "__MACOSX/cat/._1.png": b"x",
        "cat/.DS_Store": b"x",
        "cat/Thumbs.db": b"x",
        ".git/a/1.png": png(1),
        "desktop.ini": b"x",
    }
    assert_equal(load(packed({**classes(PETS), **junk})), load(packed(classes(PETS))))


def test_other_files_and_nested_archives_are_left_out_and_named():
    more = {"README.md": b"x", "cat/labels.csv": b"x", "cat/inner.zip": packed(WHOLE).getvalue(), "cover.png": png(1)}
    dataset = load(packed({**classes(PETS), **more}))
    assert dataset.notes[0] == (
        "Files left out because they are no images of a class: 4 (`README.md`, `cat/inner.zip`, `cat/labels.csv`, …)."
    )
    assert levels(dataset, "train") == levels(load(packed(classes(PETS))), "train")


def test_folders_beside_train_and_pictures_without_class_are_left_out():
    more = {"extra/1.png": png(1), "test/1.png": png(2), "train/cover.png": png(3)}
    dataset = load(packed({**under("train", classes(PETS)), **more}))
    assert dataset.class_names == ("ant", "cat", "dog")
    assert (
        dataset.notes[0].startswith("Files left out because they are no images of a class: 3 ")
        and len(dataset.test) == 12
    )


def test_a_bad_picture_among_many_is_listed_and_not_fatal(tmp_path):
    files = {**classes(PETS), "cat/bad\n.png": b"no picture", "dog/cut.png": png(7)[:40], "dog/empty.jpg": b""}
    for dataset in (load(packed({n.replace("\n", "-"): d for n, d in files.items()})), load(on_disk(tmp_path, files))):
        assert dataset.notes[0].startswith("Images left out because they cannot be read: 3 (`cat/bad")
        assert "\n" not in dataset.notes[0]
        assert sum(len(split) for split in (dataset.train, dataset.validation, dataset.test)) == sum(PETS.values())


def test_a_damaged_entry_is_a_bad_picture():
    data = bytearray(packed(classes(PETS), zipfile.ZIP_STORED).getvalue())
    data[data.index(b"IDAT") + 6] ^= 0xFF  # the checksum of the entry no longer holds
    assert load(io.BytesIO(data)).notes[0] == "Images left out because they cannot be read: 1 (`dog/000.png`)."


def test_animations_are_noted():
    file = io.BytesIO()
    Image.new("L", (4, 4), 0).save(file, "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 9)])
    dataset = load(packed({**classes(PETS), "cat/moves.gif": file.getvalue()}))
    assert "Images with several frames or pages, of which the first is used: 1." in dataset.notes


def test_links_are_not_followed(tmp_path):
    secret = on_disk(tmp_path / "secret", {"1.png": png(255)})
    root = on_disk(tmp_path / "root", classes(PETS))
    (root / "cat" / "link.png").symlink_to(secret / "1.png")
    (root / "zebra").symlink_to(secret)
    (root / "dog" / "loop").symlink_to(root)
    os.mkfifo(root / "cat" / "pipe.png")  # reading it would wait for ever
    dataset = load(root)
    assert dataset.class_names == ("ant", "cat", "dog") and dataset.notes[0].startswith(
        "Files left out because they are no images of a class: 4 "
    )
    assert dataset.train.images.max() < 255


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no folders with images"),
        ({"readme.txt": b"x", "cat/notes.txt": b"x"}, "no folders with images"),
        ({"1.png": png(1), "2.png": png(2)}, "no folders with images"),
        (classes({"cat": 3}), "1 folder with images"),
        (under("train", classes({"cat": 3})), "1 folder with images"),
        ({**classes({"cat": 3}), "dog/1.png": b"x"}, "no training image of the class `dog`"),
        ({f"{name}/{number}.png": png(90) for name in "ab" for number in range(4)}, "one and the same colour"),
        ({**under("train", classes(PETS)), "test/cow/1.png": png(1)}, "the class `cow` has test images but no"),
        ({**under("val", classes(PETS)), **under("test", classes(PETS))}, "none named `train`"),
    ],
)
def test_datasets_nobody_can_learn_from_are_refused(tmp_path, files, words):
    for source in (packed(files), on_disk(tmp_path, files)):
        with pytest.raises(ValueError, match=words):
            load(source)


@pytest.mark.parametrize(
    "name",
    [
        "/cat/1.png",
        "../cat/1.png",
        "cat/../../1.png",
        "cat/./1.png",
        "cat//1.png",
        "cat\\1.png",
        "C:/cat/1.png",
        "c:1.png",
        "..",
        "cat/1.png\0.txt",
        "cat/\n.png",
        "\\\\host\\share\\1.png",
    ],
)
def test_names_that_point_elsewhere_refuse_the_archive(name):
    archive = packed({**classes(PETS), "Q" * len(name.encode()): png(1)})
    archive = io.BytesIO(archive.getvalue().replace(b"Q" * len(name.encode()), name.encode()))
    with pytest.raises(ValueError, match="does not name a file inside"):
        load(archive)


def entries(data: bytes | bytearray) -> list[int]:
    """Where the central directory's entries begin."""
    found, at = [], data.find(b"PK\1\2")
    while at >= 0:
        found.append(at)
        at = data.find(b"PK\1\2", at + 1)
    return found


def patched(at: int, layout: str, value: int) -> io.BytesIO:
    """An archive of pets whose last entry says something else at a place of its central header (APPNOTE 4.3.12)."""
    data = bytearray(packed(classes(PETS)).getvalue())
    struct.pack_into(layout, data, entries(data)[-1] + at, value)
    return io.BytesIO(data)


@pytest.mark.parametrize(
    ("at", "layout", "value", "words"),
    [(8, "<H", 1, "encrypted"), (10, "<H", 14, "unusual way"), (42, "<I", 0, "overlaps"), (42, "<I", 40, "overlaps")],
)
def test_encrypted_packed_and_overlapping_entries_refuse_the_archive(at, layout, value, words):
    with pytest.raises(ValueError, match=words):
        load(patched(at, layout, value))


def test_an_entry_that_is_there_twice_refuses_the_archive():
    archive = packed(classes(PETS))
    with zipfile.ZipFile(archive, "a") as more, pytest.warns(UserWarning, match="Duplicate"):
        more.writestr("cat/000.png", png(1))
    with pytest.raises(ValueError, match="`cat/000.png` twice"):
        load(archive)


def test_what_is_unpacked_is_counted_whatever_is_declared(monkeypatch):
    bombs = {f"cat/bomb{i:02}.png": bytes(10**5) for i in range(20)}
    data = bytearray(packed({**classes(PETS), **bombs}).getvalue())
    assert load(io.BytesIO(data)).notes[0].startswith("Images left out because they cannot be read: 20 ")
    monkeypatch.setattr(folders, "MAX_UNPACKED", 2 * 10**6)
    with pytest.raises(ValueError, match="unpacked"):
        load(io.BytesIO(data))
    for at in entries(data)[-20:]:
        data[at + 16] ^= 1  # a wrong checksum, found out after unpacking
    with pytest.raises(ValueError, match="unpacked"):
        load(io.BytesIO(data))
    for at in entries(data)[-20:]:
        struct.pack_into("<I", data, at + 24, 10)  # 10 bytes are declared, and no more are unpacked
    assert load(io.BytesIO(data)).notes[0].startswith("Images left out because they cannot be read: 20 ")


def test_one_huge_file_among_pictures_is_a_bad_picture():
    huge = png(9) + bytes(folders.MAX_PICTURE)
    assert "`cat/huge.png`" in load(packed({**classes(PETS), "cat/huge.png": huge})).notes[0]


def tarred(files: Mapping[str, bytes], mode: str) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file


def saved(level: int, kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (level,) * 3).save(file, kind)
    return file.getvalue()


def test_files_of_an_unknown_ending_or_none_that_begin_like_a_picture_are_pictures(tmp_path, monkeypatch):
    scan = file_of(np.full((32, 32), 90, np.uint8))
    found = {
        **{f"cat/IMG_000{i}": saved(9, kind) for i, kind in enumerate(("JPEG", "PNG", "TIFF", "BMP", "AVIF"))},
        **{"cat/a.mpo": saved(9, "MPO"), "cat/a.picture": saved(9, "GIF"), "cat/1.2.84": scan, "cat/IM1": scan},
    }
    left_out = {
        **{
            "cat/raw.nef": saved(9, "TIFF"),
            "cat/a.png.bak": png(9),
            "cat/a.png~": png(9),
            "cat/a.jpg_original": png(9),
        },
        **{"cat/b.txt": b"BMW is a car", "cat/b": b"II", "cat/c.bin": bytes(600), "cat/c.zip": packed({}).getvalue()},
    }
    # before the pictures, files that are too large to be read whole
    monkeypatch.setattr(folders, "MAX_PICTURE", 10**5)
    huge = {f"cat/{i}": os.urandom(2 * 10**5) for i in range(3)}
    monkeypatch.setattr(folders, "MAX_UNPACKED", 5 * 10**5)
    files = {**huge, **classes({"dog": 9}), **found, **left_out}
    for source in (on_disk(tmp_path, files), packed(files), tarred(files, "w"), tarred(files, "w:gz")):
        dataset = load(source)
        labels = np.concatenate([part.labels for part in (dataset.train, dataset.validation, dataset.test)])
        assert np.bincount(labels).tolist() == [len(found), 9]
        assert {each.path for each in dataset.skipped} == {*left_out, *huge}


def test_sixteen_bit_colours_are_said_to_be_reduced():
    header = struct.pack(">2I5B", 32, 32, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress((b"\0" + b"\x0f\xff" * 96) * 32)), (b"IEND", b""))
    deep = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    notes = load(packed({**classes(PETS), "cat/deep.png": b"\x89PNG\r\n\x1a\n" + deep})).notes
    assert "Images of several 16-bit channels, reduced to their upper 8 bits: 1." in notes


def test_too_many_files_and_too_large_results_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="choose a smaller `size`"):
        load(packed(classes(PETS)), size=(5000, 5000))
    for module in (archives, untrusted_files):
        monkeypatch.setattr(module, "MAX_FILES", 59)
    for source in (packed(classes(PETS)), on_disk(tmp_path, classes(PETS))):
        with pytest.raises(ValueError, match="more than 59"):
            load(source)


def test_a_hundred_thousand_entries_are_the_most():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(100_001):
            archive.writestr(zipfile.ZipInfo(f"{i % 2}/{i}"), b"")
    with pytest.raises(ValueError, match="more than 100,000 entries"):
        load(file)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\3\4", packed(WHOLE).getvalue()[:-30]])
def test_what_is_no_zip_is_refused(tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    for source in (io.BytesIO(data), tmp_path / "x.zip"):
        with pytest.raises(ValueError, match="not a zip archive"):
            load(source)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("arguments", [{"size": (0, 8)}, {"seed": -1}, {"validation": 1.0}, {"validation": -0.1}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="`validation` from 0"):
        load(packed(classes(PETS)), **arguments)


def test_archives_with_wrong_bytes_load_or_are_refused():
    sound = packed(classes({"a": 3, "b": 3})).getvalue()
    draw = np.random.default_rng(0)
    outcomes: set[type] = set()
    for _ in range(300):
        data = bytearray(sound)
        for at in draw.integers(0, len(data), 3):
            data[at] = draw.integers(256)
        try:
            outcomes.add(type(load(io.BytesIO(data))))
        except ValueError:
            outcomes.add(ValueError)
    assert outcomes == {Dataset, ValueError}
