"""Dials on a picture: the laws of moving pixels, Pillow as oracle for turns, and the text of a link."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from explorer import labels
from explorer.images import RANGES, REST, Dials, change, move_mask

CASES = Path(__file__).parent / "viewer" / "golden" / "dials.json"
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
SQUARE = PIXELS[:, :12]
GREY = PIXELS[..., :1]
MOVES = st.integers(-20, 20)
DIALS = st.builds(
    Dials,
    **{
        name: st.integers(int(low), int(high)) if whole else st.floats(low, high)
        for name, (low, high, whole) in RANGES.items()
        if name != "jpeg"
    },
    jpeg=st.none() | st.integers(1, 100),
)


@settings(deadline=None)
@given(DIALS)
def test_the_text_of_a_link_holds_all_dials_and_needs_no_escapes(dials: Dials) -> None:
    text = dials.to_text()
    assert Dials.from_text(text) == dials
    assert all(letter.isalnum() or letter in "._-" for letter in text) and text.isascii()
    assert (text == "") == (dials == REST)


@pytest.mark.parametrize(("text", "values"), json.loads(CASES.read_text()))
def test_the_browser_writes_the_same_text(text: str, values: dict[str, float]) -> None:
    assert Dials(**values).to_text() == Dials.from_text(text).to_text() == text  # type: ignore[arg-type]


def test_in_words_only_what_is_changed_is_named() -> None:
    assert Dials.from_text("x3_rotation-12.5_jpeg30").in_words() == "Shift right 3, Rotation -12.5, JPEG quality 30"
    assert REST.in_words() == ""


@settings(deadline=None)
@given(DIALS)
def test_a_mask_moves_with_its_picture_and_nothing_else_changes_it(dials: Dials) -> None:
    mask = np.zeros((12, 12), bool)
    mask[3:6, 4:9] = True
    picture = np.where(mask, 255, 0).astype(np.uint8)[..., None]
    moved = move_mask(mask, dials)
    assert moved.shape == mask.shape and moved.dtype == bool
    only = replace(REST, x=dials.x, y=dials.y, rotation=dials.rotation, scale=dials.scale)
    np.testing.assert_array_equal(moved, move_mask(mask, only))
    # The picture's own mean colour, 26, comes in from outside; between the two lies the edge of the object.
    np.testing.assert_array_equal(moved, change(picture, only)[..., 0] > 127 if only.moved else mask)


def test_nothing_comes_into_a_mask_that_moves_out() -> None:
    assert not move_mask(np.ones((12, 12), bool), Dials(x=12)).any()


@pytest.mark.parametrize(
    "text", ["x", "x1_x2", "turn3", "x1.5", "x257", "rotation1e1", "jpeg0", "noise-1", "x1__y1", "x١", "_", "scale0"]
)
def test_any_other_text_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+\.$"):
        Dials.from_text(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, None])
def test_values_that_are_no_number_in_range_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="`rotation` must be a number from -180 to 180"):
        Dials(rotation=value)  # type: ignore[arg-type]


def test_every_dial_has_its_range_and_its_words() -> None:
    names = [field.name for field in fields(Dials)]
    assert names == list(RANGES) == list(labels.DIALS)


@settings(deadline=None, max_examples=50)
@given(DIALS, st.sampled_from([PIXELS, GREY]))
def test_a_changed_picture_has_the_shape_of_the_picture_and_repeats(dials: Dials, pixels: np.ndarray) -> None:
    before = pixels.copy()
    changed = change(pixels, dials)
    assert changed.shape == pixels.shape and changed.dtype == np.uint8
    assert (change(pixels, dials) == changed).all() and (pixels == before).all()


def test_at_rest_the_very_pixels_come_back() -> None:
    assert change(PIXELS, REST) is PIXELS
    assert change(PIXELS, Dials(seed=5)).tobytes() == PIXELS.tobytes()  # a seed of no noise


@settings(deadline=None)
@given(MOVES, MOVES)
def test_a_move_and_the_move_back_keep_the_overlap_and_bring_in_the_mean_colour(x: int, y: int) -> None:
    moved = change(PIXELS, Dials(x, y))
    back = change(moved, Dials(-x, -y))
    height, width = PIXELS.shape[:2]
    rows = slice(max(0, -y), max(0, height - max(0, y)))
    columns = slice(max(0, -x), max(0, width - max(0, x)))
    assert (back[rows, columns] == PIXELS[rows, columns]).all()
    came_in = np.ones((height, width), bool)
    came_in[max(0, y) : max(0, height + min(0, y)), max(0, x) : max(0, width + min(0, x))] = False
    mean = np.rint(PIXELS.reshape(-1, 3).mean(0))
    assert (moved[came_in] == mean).all()
    assert (moved[~came_in].reshape(-1, 3) == PIXELS[rows, columns].reshape(-1, 3)).all()


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (-90, -1), (180, 2), (-180, 2)])
def test_right_angles_copy_pixels_counter_clockwise(degrees: int, turns: int) -> None:
    assert (change(SQUARE, Dials(rotation=degrees)) == np.rot90(SQUARE, turns)).all()
    moved = change(SQUARE, Dials(x=2, y=-1, rotation=degrees))  # turned first, then moved
    assert (moved[:-1, 2:] == np.rot90(SQUARE, turns)[1:, :-2]).all()


def test_a_turn_is_pillows() -> None:
    mean = tuple(np.rint(PIXELS.reshape(-1, 3).mean(0)).astype(int).tolist())
    expected = Image.fromarray(PIXELS).rotate(33, Image.Resampling.BICUBIC, fillcolor=mean)
    assert np.abs(change(PIXELS, Dials(rotation=33)).astype(int) - np.asarray(expected)).max() <= 1


def test_scale_keeps_the_centre_and_half_the_size_is_surrounded_by_the_mean_colour() -> None:
    square = np.zeros((64, 64, 1), np.uint8)
    square[20:44, 20:44] = 255
    mean = np.rint(square.mean())
    for scale in (0.5, 2.0):
        changed = change(square, Dials(scale=scale))[..., 0].astype(float)
        assert changed.tolist() == changed[::-1, ::-1].tolist()
        assert (changed > 127).sum() == pytest.approx(24**2 * scale**2, rel=0.1)
    assert (change(square, Dials(scale=0.5))[:16] == mean).all()


def test_light_and_blur_and_noise_do_what_they_say() -> None:
    flat = np.full((32, 32, 3), 100, np.uint8)
    assert (change(flat, Dials(brightness=1.5)) == 150).all() and (change(flat, Dials(brightness=0)) == 0).all()
    assert (change(flat, Dials(contrast=2)) == 100).all()
    for softer in (Dials(contrast=0.5), Dials(blur=2)):
        assert change(PIXELS, softer).std() < PIXELS.std() / 1.5
    noise = change(flat, Dials(noise=10)) - 100.0
    assert noise.std() == pytest.approx(10, rel=0.05) and abs(noise.mean()) < 1
    assert (change(flat, Dials(noise=10, seed=1)) != change(flat, Dials(noise=10))).any()


def test_a_better_jpeg_is_nearer_to_the_picture() -> None:
    smooth = np.asarray(Image.fromarray(PIXELS).resize((64, 64), Image.Resampling.BICUBIC))
    lost = [np.abs(change(smooth, Dials(jpeg=quality)).astype(int) - smooth).mean() for quality in (5, 50, 100)]
    assert lost == sorted(lost, reverse=True) and lost[-1] < 12 < lost[0]


@pytest.mark.parametrize("pixels", [PIXELS[..., 0], PIXELS.astype(np.float32), PIXELS[..., :2], PIXELS[:0]])
def test_other_pixels_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="`pixels` must be uint8"):
        change(pixels, REST)
