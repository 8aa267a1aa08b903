"""Laws of the drawn dataset: what a seed fixes, what a mask covers, and that the frozen drawing has not moved."""

import hashlib
import math

import numpy as np
import pytest

from explorer.datasets import Dataset, Split, channel_statistics, shapes
from explorer.datasets.shapes import CLASS_NAMES, STANDARD, Drawn, Style

PLAIN = Style(texture=0.0, clutter=0.0, noise=0.0)
CLUTTER_ONLY = Style(texture=0, clutter=1, noise=0)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return shapes.load()


@pytest.fixture(scope="module")
def small() -> Dataset:
    return shapes.load(size=16)


def same(first: Split, second: Split) -> bool:
    assert first.masks is not None and second.masks is not None
    return all(
        np.array_equal(a, b)
        for a, b in ((first.images, second.images), (first.labels, second.labels), (first.masks, second.masks))
    )


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """`mask` and everything at most so many steps from it."""
    for _ in range(pixels):
        padded = np.pad(mask, 1)
        mask = mask | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return mask


def test_the_frozen_drawing_has_not_moved():
    """If this fails on a changed drawing, raise VERSION; if on another numpy, its random streams moved (NEP 19)."""
    digest = hashlib.sha256()
    for split in (shapes.draw(300, seed=0), shapes.draw(60, seed=1, size=64)):
        assert split.masks is not None
        for array in (split.images, split.labels.astype("<i8"), split.masks):
            digest.update(array.tobytes())
    for label in range(len(CLASS_NAMES)):
        for array in shapes.sample(label, seed=2):
            digest.update(array.tobytes())
    assert (shapes.VERSION, digest.hexdigest()) == (
        1,
        "841a43d75a88ca703655a1207b158ab3d737318d6bc541fe3ce6e29a06bc77be",
    )


def test_the_frozen_drawing_has_not_moved_at_16_pixels():
    digest = hashlib.sha256()
    split = shapes.draw(300, seed=0, size=16)
    assert split.masks is not None
    for array in (split.images, split.labels.astype("<i8"), split.masks, *shapes.sample(6, seed=2, size=16)):
        digest.update(array.tobytes())
    assert (shapes.VERSION, digest.hexdigest()) == (
        1,
        "07a1f4d07457b9e6214edd34662d65a3d5f8dd0137bfbdb4e6cca1bcaa40c782",
    )


def test_one_seed_gives_the_same_bytes_on_any_number_of_threads():
    first = shapes.draw(450, seed=3, threads=1)
    assert same(first, shapes.draw(450, seed=3, threads=1))
    assert same(first, shapes.draw(450, seed=3, threads=4))


def test_another_seed_gives_other_pictures_in_another_order():
    first, second = shapes.draw(100, seed=3), shapes.draw(100, seed=4)
    assert not np.array_equal(first.labels, second.labels)
    assert not {image.tobytes() for image in first.images} & {image.tobytes() for image in second.images}


@pytest.mark.parametrize("size", shapes.SIZES)
def test_draw_gives_a_split_of_its_size(size: int):
    split = shapes.draw(7, seed=0, size=size)
    assert isinstance(split, Split)
    assert split.images.shape == (7, 3, size, size) and split.images.dtype == np.uint8
    assert split.masks is not None and split.masks.shape == (7, size, size)


@pytest.mark.parametrize("count", [1, 10, 199, 200, 201, 405])
def test_classes_are_balanced_for_every_count(count: int):
    tally = np.bincount(shapes.draw(count, seed=0).labels, minlength=10)
    assert tally.sum() == count and tally.max() - tally.min() <= 1


def test_every_chunk_is_drawn_and_none_twice():
    images = shapes.draw(900, seed=5).images
    assert len({image.tobytes() for image in images}) == 900
    assert images.reshape(900, -1).std(axis=1).min() > 0


def test_dataset(dataset: Dataset):
    assert dataset.name == f"shapes-v{shapes.VERSION}-32"
    assert dataset.class_names == CLASS_NAMES and len(set(CLASS_NAMES)) == 10
    assert dataset.input_shape == (3, 32, 32)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (20_000, 2_000, 4_000)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert set(np.bincount(split.labels)) == {len(split) // 10}
    assert dataset.mean == pytest.approx(dataset.train.images.mean(axis=(0, 2, 3)) / 255)
    assert all(0.1 < std < 0.4 for std in dataset.std)


def test_no_picture_is_in_two_splits(dataset: Dataset):
    splits = (dataset.train, dataset.validation, dataset.test, shapes.draw(400, seed=0))
    assert len({image.tobytes() for split in splits for image in split.images}) == sum(map(len, splits))


def test_colour_does_not_tell_the_class(dataset: Dataset):
    """A background pixel's mean over one class lies within sampling error (5 sigma) of that over all classes."""
    corners = dataset.train.images[:, :, :2, :2].mean(axis=(2, 3))
    for label in range(len(CLASS_NAMES)):
        members = corners[dataset.train.labels == label]
        assert (abs(members.mean(axis=0) - corners.mean(axis=0)) < 5 * corners.std(axis=0) / len(members) ** 0.5).all()


def test_every_object_can_be_seen(dataset: Dataset):
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.masks is not None
        assert split.masks.sum(axis=(1, 2)).min() >= 20
        assert not split.masks.all(axis=(1, 2)).any()


def test_mask_is_where_the_object_covers_half_a_pixel():
    """Without texture, clutter and noise a picture is ground + share * (object - ground), so the share can be read."""
    split = shapes.draw(200, seed=6, style=PLAIN)
    assert split.masks is not None
    for image, mask in zip(split.images.transpose(0, 2, 3, 1).astype(float), split.masks, strict=True):
        ground, thing = np.median(image[~mask], axis=0), np.median(image[mask], axis=0)
        share = (image - ground) @ (thing - ground) / ((thing - ground) @ (thing - ground))
        assert share[mask].min() > 0.48 and share[~mask].max() < 0.52
        assert (share[~grown(mask, 6)] == 0).all()  # the points of a crescent reach far past its mask


def test_clutter_only_ever_takes_pixels_from_the_mask_and_only_where_it_is_seen():
    plain, cluttered = shapes.draw(400, seed=7, style=PLAIN), shapes.draw(400, seed=7, style=CLUTTER_ONLY)
    assert plain.masks is not None and cluttered.masks is not None
    taken = plain.masks & ~cluttered.masks
    changed = (plain.images != cluttered.images).any(axis=1)
    assert taken.any() and not (cluttered.masks & ~plain.masks).any()
    assert changed[taken].mean() > 0.99  # not all: a line may happen to have the object's colour
    assert (plain.masks & ~changed & cluttered.masks).sum() > 0.5 * plain.masks.sum()


def test_texture_and_noise_leave_the_mask_alone():
    full, quiet = shapes.draw(100, seed=8, style=STANDARD), shapes.draw(100, seed=8, style=CLUTTER_ONLY)
    assert full.masks is not None and quiet.masks is not None
    assert np.array_equal(full.masks, quiet.masks) and not np.array_equal(full.images, quiet.images)


# Areas in squared radii, by hand from the outlines' lengths.
AREAS = {
    "circle": math.pi * 0.85**2,
    "ring": math.pi * (0.90**2 - 0.48**2),
    "square": 1.42**2,
    "triangle": 3 * math.sqrt(3) / 4,
    "hexagon": 2 * math.sqrt(3) * 0.79**2,
    "cross": 2 * 1.84 * 0.58 - 0.58**2,
}


def mean_area(label: int) -> float:
    return float(np.mean([shapes.sample(label, seed, 64, style=PLAIN)[1].sum() for seed in range(40)]))


@pytest.mark.parametrize("name", AREAS)
def test_areas_are_those_of_geometry(name: str):
    measured = mean_area(CLASS_NAMES.index(name)) / mean_area(CLASS_NAMES.index("circle"))
    assert measured == pytest.approx(AREAS[name] / AREAS["circle"], rel=0.01)


def test_a_circle_fills_pi_quarters_of_its_box():
    for seed in range(20):
        _, mask = shapes.sample(CLASS_NAMES.index("circle"), seed, 64, style=PLAIN)
        width, height = mask.any(axis=0).sum(), mask.any(axis=1).sum()
        assert abs(width - height) <= 1
        assert mask.sum() == pytest.approx(math.pi / 4 * width * height, rel=0.05)


@pytest.mark.parametrize(("few", "many"), [(32, 64), (16, 32), (16, 64)])
def test_another_size_shows_the_same_scene(few: int, many: int):
    coarse, fine = shapes.draw(100, seed=9, size=few), shapes.draw(100, seed=9, size=many)
    assert coarse.masks is not None and fine.masks is not None
    assert np.array_equal(coarse.labels, fine.labels)
    side = many // few
    shrunk = fine.masks.reshape(100, few, side, few, side).mean(axis=(2, 4))
    assert (np.abs(shrunk - coarse.masks) <= 0.5).mean() > 0.98
    assert (fine.masks.sum() / side**2) / coarse.masks.sum() == pytest.approx(1, abs=0.03)


def test_every_object_can_be_seen_at_16_pixels(small: Dataset):
    for split in (small.train, small.validation, small.test):
        assert split.masks is not None
        assert split.masks.sum(axis=(1, 2)).min() >= 5  # a quarter of what 32 pixels show
        assert not split.masks.all(axis=(1, 2)).any()


FOUR = ("ring", "cross", "star", "arrow")


def chosen_by_hand(split: Split, classes: tuple[str, ...]) -> Split:
    assert split.masks is not None
    kept = np.array([CLASS_NAMES[label] in classes for label in split.labels])
    labels = np.array([classes.index(CLASS_NAMES[label]) for label in split.labels[kept]])
    return Split(split.images[kept], labels, split.masks[kept])


@pytest.mark.parametrize("classes", [FOUR, ("circle", "arrow"), CLASS_NAMES[:9], CLASS_NAMES])
def test_some_classes_are_the_pictures_of_all_that_show_them(small: Dataset, classes: tuple[str, ...]):
    some = shapes.load(size=16, classes=classes, threads=1)
    assert some.class_names == classes
    for whole, part, each in zip(
        (small.train, small.validation, small.test),
        (some.train, some.validation, some.test),
        (2000, 200, 400),
        strict=True,
    ):
        assert same(part, chosen_by_hand(whole, classes))
        assert np.bincount(part.labels).tolist() == [each] * len(classes)
    assert (some.mean, some.std) == channel_statistics(chosen_by_hand(small.train, classes).images)
    assert same(some.test, shapes.test_split(size=16, classes=classes, threads=4))
    assert Drawn(16, classes).counts == (len(some.train), len(some.validation), len(some.test))


@pytest.mark.parametrize("count", [2, 7, 401])
def test_some_classes_are_drawn_equally_often(count: int):
    split = shapes.draw(count, 5, 16, classes=FOUR)
    tally = np.bincount(split.labels, minlength=4)
    assert tally.sum() == count and len(tally) == 4 and tally.max() - tally.min() <= 1
    assert same(split, shapes.draw(count, 5, 16, classes=FOUR[::-1], threads=1))
    assert same(shapes.draw(count, 5, 16), shapes.draw(count, 5, 16, classes=CLASS_NAMES))
    with pytest.raises(ValueError, match="at least 2 shapes"):
        shapes.draw(count, 5, 16, classes=("ring",))


def test_the_order_in_which_classes_are_given_changes_nothing():
    first, second = (shapes.test_split(3, 16, classes=classes) for classes in (FOUR, (*FOUR[::-1], "ring")))
    assert same(first, second)
    assert Drawn(16, FOUR) == Drawn(16, (*FOUR[::-1], "ring"))


def test_sample_is_one_picture_fixed_by_label_and_seed():
    pixels, mask = shapes.sample(0, seed=1)
    again, _ = shapes.sample(0, seed=1)
    other, _ = shapes.sample(0, seed=2)
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8 and pixels.flags["C_CONTIGUOUS"]
    assert mask.shape == (32, 32) and mask.dtype == np.bool_ and mask.any()
    assert np.array_equal(pixels, again) and not np.array_equal(pixels, other)


def test_samples_of_one_seed_differ_in_the_object_alone():
    for seed in range(20):
        circle, circle_mask = shapes.sample(CLASS_NAMES.index("circle"), seed)
        square, square_mask = shapes.sample(CLASS_NAMES.index("square"), seed)
        assert not np.array_equal(circle, square)
        _, circle_whole = shapes.sample(CLASS_NAMES.index("circle"), seed, style=PLAIN)
        _, square_whole = shapes.sample(CLASS_NAMES.index("square"), seed, style=PLAIN)
        elsewhere = ~grown(circle_whole | square_whole, 2)
        assert elsewhere.any() and np.array_equal(circle[elsewhere], square[elsewhere])


@pytest.mark.parametrize("drawn", [Drawn(), Drawn(64), Drawn(16, FOUR), Drawn(16, ("circle", "arrow"), seed=3)])
def test_a_test_picture_drawn_alone_is_that_of_the_split(drawn: Drawn):
    split = shapes.test_split(drawn.seed, drawn.size, classes=drawn.classes)
    assert split.masks is not None
    last = len(split) - 1
    for number in (0, 1, 199, 200, last // 2, last):
        pixels, mask, label = shapes.test_picture(number, drawn)
        assert pixels.dtype == np.uint8 and pixels.flags["C_CONTIGUOUS"] and mask.dtype == np.bool_
        np.testing.assert_array_equal(pixels.transpose(2, 0, 1), split.images[number])
        np.testing.assert_array_equal(mask, split.masks[number])
        assert label == split.labels[number]
    for number in (-1, len(split)):
        with pytest.raises(ValueError, match=f"`number` must be 0..{last}.*choose another"):
            shapes.test_picture(number, drawn)


def test_name_tells_size_and_seed(monkeypatch: pytest.MonkeyPatch):
    for constant in ("TRAIN_COUNT", "VALIDATION_COUNT", "TEST_COUNT"):
        monkeypatch.setattr(shapes, constant, 10)
    assert shapes.load(size=64).name == f"shapes-v{shapes.VERSION}-64"
    assert shapes.load(seed=7).name == f"shapes-v{shapes.VERSION}-32-seed7"
    assert shapes.load(5, 16, classes=("star", "ring")).name == f"shapes-v{shapes.VERSION}-16-ring-star-seed5"


@pytest.mark.parametrize("count", [0, -1])
def test_draw_refuses_a_count_below_one(count: int):
    with pytest.raises(ValueError, match="`count` must be at least 1.*ask for one image or more"):
        shapes.draw(count, seed=0)


@pytest.mark.parametrize("size", [0, 8, 15, 33, 224])
def test_other_sizes_are_refused(size: int):
    for call in (lambda: shapes.draw(1, 0, size), lambda: shapes.sample(0, 0, size), lambda: shapes.load(0, size)):
        with pytest.raises(ValueError, match="`size` must be one of.*choose 32"):
            call()


@pytest.mark.parametrize("label", [-1, 10])
def test_sample_refuses_an_unknown_label(label: int):
    with pytest.raises(ValueError, match="`label` must be 0..9.*CLASS_NAMES.index"):
        shapes.sample(label, seed=0)


def test_a_negative_seed_is_refused():
    for call in (lambda: shapes.draw(1, -1), lambda: shapes.sample(0, -1), lambda: shapes.load(-1)):
        with pytest.raises(ValueError, match="`seed` must be 0 or more.*from 0 up"):
            call()


@pytest.mark.parametrize("name", ["texture", "clutter", "noise"])
@pytest.mark.parametrize("amount", [-0.1, 1.1, math.nan])
def test_style_refuses_amounts_outside_0_to_1(name: str, amount: float):
    with pytest.raises(ValueError, match=f"`{name}` must be 0..1.*choose 0"):
        Style(**{name: amount})


def test_the_test_pictures_alone_are_those_of_the_whole_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "TRAIN_COUNT", 200)
    monkeypatch.setattr(shapes, "VALIDATION_COUNT", 200)
    whole, alone = shapes.load().test, shapes.test_split()
    assert np.array_equal(whole.images, alone.images) and np.array_equal(whole.labels, alone.labels)
    assert alone.masks is not None and whole.masks is not None and np.array_equal(whole.masks, alone.masks)
