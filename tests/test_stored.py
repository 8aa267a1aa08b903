"""Laws of `explorer.datasets.stored`: a dataset comes back as it was, or not at all."""

import json
import os
import struct
import time
import zlib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from explorer.datasets import Dataset, Skipped, Split, hold_out, stored
from explorer.datasets.stored import load, save


def split(count: int, seed: int, masks: bool) -> Split:
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (count, 3, 4, 6), dtype=np.uint8)
    return Split(images, draw.integers(0, 3, count), draw.random((count, 4, 6)) < 0.5 if masks else None)


def dataset(masks: bool = False) -> Dataset:
    return Dataset(
        name="pets ‮ \"'`\n狐",
        class_names=("cat", "", "狐"),
        mean=(0.1, 1 / 3, 0.5),
        std=(0.2, 1e-9, 0.25),
        train=split(7, 0, masks),
        validation=split(0, 1, masks),
        test=split(2, 2, masks),
        notes=("One.", "Zwei: ä."),
        skipped=(Skipped("a/b.txt", "not an image"), Skipped("*c*", "a link")),
    )


def assert_equal(one: Dataset, other: Dataset) -> None:
    for field in fields(Dataset):
        if not isinstance(getattr(one, field.name), Split):
            assert getattr(one, field.name) == getattr(other, field.name)
            continue
        for array in fields(Split):
            mine, theirs = (getattr(getattr(data, field.name), array.name) for data in (one, other))
            assert (mine is None) == (theirs is None)
            if mine is not None:
                assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
                np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("masks", [False, True])
def test_a_dataset_comes_back_as_it_was(tmp_path, masks):
    path = tmp_path / "pets.safetensors"
    save(dataset(masks), path)
    assert_equal(load(path), dataset(masks))
    first = path.read_bytes()
    save(load(str(path)), str(path))
    assert path.read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == ["pets.safetensors"]


def test_arrays_that_are_views_are_stored_as_they_look(tmp_path):
    whole = dataset()
    train = Split(whole.train.images[::-1, :, ::-1], whole.train.labels[::-1])
    assert not train.images.flags.c_contiguous and not train.labels.flags.c_contiguous
    save(replace(whole, train=train), tmp_path / "x")
    assert_equal(load(tmp_path / "x"), replace(whole, train=train))


def test_what_is_loaded_does_not_hang_on_the_file(tmp_path):
    path = tmp_path / "x"
    save(dataset(), path)
    loaded = load(path)
    loaded.train.images[:] = 0
    path.write_bytes(b"")
    assert loaded.train.images.sum() == 0
    np.testing.assert_array_equal(loaded.test.images, dataset().test.images)


def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "x"
    save(dataset(masks=True), path)
    sound = path.read_bytes()
    for at in [*range(0, len(sound), 3), len(sound) - 1]:
        damaged = bytearray(sound)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="`x` is") as caught:
            load(path)
        assert_one_sentence(caught)


def assert_one_sentence(caught: pytest.ExceptionInfo) -> None:
    text = str(caught.value)
    assert text.endswith(".") and ". " not in text and "\n" not in text and "/" not in text


@pytest.mark.parametrize("length", [0, 7, 8, 100, -1])
def test_a_file_that_is_cut_off_is_refused(tmp_path, length):
    path = tmp_path / "x"
    save(dataset(), path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="`x` is damaged or cut off; prepare the data again") as caught:
        load(path)
    assert_one_sentence(caught)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no dataset `x`"):
        load(tmp_path / "x")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        load(tmp_path)


def rewritten(path: Path, **changes: object) -> None:
    """The file with other values in our part of its header."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    outer = json.loads(content[8 : 8 + length])
    text = json.dumps(json.loads(outer["__metadata__"][stored.HEADER][8:]) | changes)
    outer["__metadata__"] = {stored.HEADER: f"{zlib.crc32(text.encode()):08x}{text}"}
    header = json.dumps(outer).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + length :])


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": "1"},
        {"name": 3},
        {"class_names": "abc"},
        {"class_names": ["only one"]},  # and labels up to 2
        {"mean": [0.1, 0.2]},
        {"mean": [0.1, 0.2, None]},
        {"std": [0.1, 0.2, [3]]},
        {"notes": None},
        {"skipped": [{"path": "x"}]},
        {"skipped": [{"path": "x", "reason": "y", "more": 1}]},
        {"checksums": {}},
        {"checksums": None},
    ],
)
def test_a_header_that_describes_no_dataset_is_refused(tmp_path, changes):
    path = tmp_path / "x"
    save(dataset(), path)
    rewritten(path)
    assert_equal(load(path), dataset())  # so it is not the rewriting that is refused
    rewritten(path, **changes)
    with pytest.raises(ValueError, match="`x` is not a whole dataset of this app") as caught:
        load(path)
    assert_one_sentence(caught)


def test_a_checkpoint_is_no_dataset(tmp_path):
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "x", {"cnn-resnet-explorer": "{}"})
    with pytest.raises(ValueError, match="is not a whole dataset"):
        load(tmp_path / "x")


def test_where_writing_fails_the_old_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "x"
    save(dataset(), path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(replace(dataset(), name="other"), path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["x"]


def test_sixty_thousand_small_pictures_load_at_once(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (50_000, 3, 32, 32), dtype=np.uint8)
    train, validation = hold_out(Split(images, np.arange(50_000) % 10), 0.1, [0, 1])
    large = Dataset(
        "large",
        tuple("abcdefghij"),
        (0, 0, 0),
        (1, 1, 1),
        train,
        validation,
        Split(images[:10_000], train.labels[:10_000]),
    )
    save(large, tmp_path / "x")
    for _ in range(3):  # the machine may be busy
        start = time.process_time()
        loaded = load(tmp_path / "x")
        if (seconds := time.process_time() - start) < 1:
            break
    assert seconds < 1
    np.testing.assert_array_equal(loaded.validation.images, validation.images)


def test_held_out_masks_stay_with_their_pictures():
    whole = split(60, 3, masks=True)
    kept, drawn = hold_out(whole, 0.2, [5])
    assert kept.masks is not None and drawn.masks is not None and whole.masks is not None
    masks = {image.tobytes(): mask.tobytes() for image, mask in zip(whole.images, whole.masks, strict=True)}
    for part in (kept, drawn):
        assert part.masks is not None
        for image, mask in zip(part.images, part.masks, strict=True):
            assert masks[image.tobytes()] == mask.tobytes()
    assert len(kept) + len(drawn) == 60 and len(drawn) > 0
