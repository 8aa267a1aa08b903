"""Answers to changed pictures: the shift map's centre, one picture for all networks, and `trace` as oracle."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from explorer.architectures import ArchitectureSpec, Stage, Stem, build
from explorer.checkpoints import Checkpoint
from explorer.experiments.changed_pictures import (
    CURVES,
    ShiftMap,
    answers,
    curve_sentences,
    dial_curve,
    seen_by,
    shift_map,
    shift_sentences,
    shift_words,
)
from explorer.experiments.throughput import on_all_cores
from explorer.images import REST, Dials, Frame, change, to_input
from explorer.tracing import trace
from tests.test_tracing import shaken, state_of

SPEC = ArchitectureSpec((Stage(1, 6), Stage(1, 8, 2)), stem=Stem(6), input_shape=(3, 12, 12), classes=3)
GREY = replace(SPEC, input_shape=(1, 12, 12), classes=2, one_logit=True)
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def checkpoint(spec: ArchitectureSpec = SPEC, seed: int = 0) -> Checkpoint:
    shares = (0.5,) * spec.input_shape[0], (0.25,) * spec.input_shape[0]
    return Checkpoint(shaken(spec, seed), tuple("abc"[: spec.classes]), *shares, "test")


def expected(asked: Checkpoint, dials: Dials) -> np.ndarray:
    """By a pass of its own: the picture as the network sees it, changed, normalised."""
    changed = change(seen_by(asked, PIXELS), dials)
    rgb = np.repeat(changed, 3, axis=2) if changed.shape[2] == 1 else changed
    return trace(asked.network, to_input(rgb, (12, 12), asked.mean, asked.std), kinds=()).probabilities


@pytest.mark.parametrize("spec", [SPEC, GREY])
def test_a_shift_map_is_each_moved_picture_in_a_pass_of_its_own(spec: ArchitectureSpec) -> None:
    asked = checkpoint(spec)
    *fractions, (_, found) = shift_map([asked], PIXELS, reach=2)
    assert found is not None and [fraction for fraction, _ in fractions] == sorted(f for f, _ in fractions)
    assert found[0].probabilities.shape == (5, 5, spec.classes)
    for y in range(-2, 3):
        for x in range(-2, 3):
            np.testing.assert_allclose(found[0].probabilities[y + 2, x + 2], expected(asked, Dials(x, y)), atol=1e-6)


def test_the_centre_is_the_untouched_answer_bit_for_bit_in_one_batch_and_on_any_number_of_threads() -> None:
    asked = [checkpoint(seed=0), checkpoint(replace(SPEC, shortcut="none"), seed=0)]
    before = [state_of(each.network) for each in asked]
    *_, (_, maps) = shift_map(asked, PIXELS, reach=1, threads=1)
    *_, (_, again) = shift_map(asked, PIXELS, reach=1, threads=3)
    *_, (_, untouched) = answers(asked, PIXELS, [REST] * 9)
    assert maps is not None and again is not None and untouched is not None
    for first, second, rest in zip(maps, again, untouched, strict=True):
        assert first.probabilities.tobytes() == second.probabilities.tobytes()
        assert first.probabilities[1, 1].tobytes() == rest[4].tobytes()
        assert first.answer == rest[0].argmax()
    assert [state_of(each.network) for each in asked] == before


def test_a_curve_is_each_changed_picture_beside_the_untouched_one() -> None:
    asked, values = [checkpoint(seed=1), checkpoint(seed=2)], (-90.0, 0.0, 45.0)
    others = Dials(x=1, noise=5, seed=3)
    *_, (_, curves) = dial_curve(asked, PIXELS, "rotation", values, others)
    assert curves is not None
    for own, curve in zip(asked, curves, strict=True):
        for value, row in zip(values, curve.probabilities, strict=True):
            np.testing.assert_allclose(row, expected(own, replace(others, rotation=value)), atol=1e-6)
        np.testing.assert_allclose(curve.untouched, expected(own, others), atol=1e-6)
        first, second = curve_sentences("it", curve)
        assert curve.kept[1] and f"at {curve.kept.sum()} of 3 values, from -90 to 45 degrees" in first
        lowest = values[curve.probabilities[:, curve.answer].argmin()]
        assert second.endswith(f"at {lowest:g}.")


def test_every_dial_has_values_that_it_allows() -> None:
    values: Any
    for dial, values in CURVES.items():
        assert [getattr(Dials(**{dial: value}), dial) for value in values] == [*values]


def test_what_a_shift_map_says_is_counted_by_hand() -> None:
    probabilities = np.full((3, 3, 2), [0.9, 0.1])
    probabilities[0, 2] = [0.2, 0.8]  # one to the right, one up
    found = ShiftMap(1, ("cat", "dog"), probabilities)
    assert (found.answer, found.kept, found.lowest(0)) == (0, pytest.approx(8 / 9), (0.2, 1, -1))
    assert found.lowest(1) == (0.1, 0, 0)
    assert shift_sentences("it", found) == [
        "it keeps its answer, cat, in 8 of 9 shifts (88.9%).",
        "The probability of cat is lowest, 20.0%, 1 pixel to the right and 1 up.",
    ]
    assert (
        shift_words(0, 0) == "where the picture is not moved"
        and shift_words(-2, 3) == "2 pixels to the left and 3 down"
    )
    for name in ("x", "wide ResNet-50-2"):
        assert all(len(sentence.split()) <= 25 for sentence in shift_sentences(name, found))


def test_wrong_use_is_refused_in_a_sentence() -> None:
    for wrong in (dial_curve([checkpoint()], PIXELS, "tilt"), shift_map([checkpoint()], PIXELS, reach=0)):
        with pytest.raises(ValueError, match="must be"):
            next(wrong)
    trained = replace(checkpoint(), network=build(SPEC))
    with pytest.raises(ValueError, match="evaluation mode"):
        next(shift_map([trained], PIXELS))


def test_calls_run_in_order_a_few_ahead_and_no_more_after_the_end() -> None:
    begun: list[int] = []

    def call(number: int) -> int:
        begun.append(number)
        assert torch.get_num_threads() == 1
        return number

    threads = torch.get_num_threads()
    results = on_all_cores((lambda number=number: call(number) for number in range(20)), threads=2)  # type: ignore[misc]
    assert [next(results), next(results)] == [0, 1]
    results.close()
    assert len(begun) <= 5 and torch.get_num_threads() == threads
    assert list(on_all_cores([lambda: 1, lambda: 2], threads=3)) == [1, 2]
    failing = on_all_cores([lambda: 1, lambda: 1 // 0])
    assert next(failing) == 1
    with pytest.raises(ZeroDivisionError):
        next(failing)
    with pytest.raises(ValueError, match="number of threads"):
        next(on_all_cores([], threads=0))


def test_a_frame_is_what_the_networks_see() -> None:
    """All answers are those of the cut-out part."""
    asked = checkpoint()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    frame = Frame.parse("0.5,0.2,0.4")
    left, top, side = frame.box(pixels.shape)
    part = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    *_, (_, framed) = shift_map([asked], pixels, reach=1, frame=frame)
    *_, (_, cut) = shift_map([asked], part, reach=1)
    assert framed is not None and cut is not None
    np.testing.assert_array_equal(framed[0].probabilities, cut[0].probabilities)
