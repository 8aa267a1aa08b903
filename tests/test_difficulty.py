"""How hard the shapes are at 16 pixels, as far as seconds can tell, and that the table's command can be interrupted."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import difficulty
from explorer.datasets import Dataset, Split, shapes


@pytest.fixture(scope="module")
def small() -> Dataset:
    return shapes.load(size=16)


def test_a_linear_classifier_cannot_tell_them_apart_at_16_pixels(small: Dataset):
    assert 0.1 < difficulty.linear_accuracy(small).accuracy < 0.4


def test_the_table_of_difficulty_goes_on_after_the_networks_that_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: Dataset
):
    every = difficulty.small_networks()
    assert [spec.depth for spec in every.values()] == [3, 8, 8, 20, 20, 56, 56]
    assert {spec.input_shape for spec in every.values()} == {small.input_shape}
    few = {name: getattr(small.train, name)[:1_000] for name in ("images", "labels", "masks")}
    monkeypatch.setattr(shapes, "load", lambda size: replace(small, train=Split(**few)))
    monkeypatch.setattr(difficulty, "SMALL_RECIPE", replace(difficulty.SMALL_RECIPE, epochs=None, seconds=0.5))
    monkeypatch.setattr(difficulty, "small_networks", lambda: {"two-conv CNN": every["two-conv CNN"]})
    kept = tmp_path / "kept.json"
    (first,) = difficulty.trained_rows(kept)
    assert (first.network, first.n) == ("two-conv CNN", 4_000) and 0 <= first.test <= 1
    monkeypatch.setattr(
        difficulty, "small_networks", lambda: {name: every[name] for name in ("two-conv CNN", "plain-8")}
    )
    again, second = difficulty.trained_rows(kept)
    assert again == first and second.network == "plain-8"
    assert list(difficulty.trained_rows(kept)) == [first, second], "nothing is trained again"
    monkeypatch.setattr(difficulty, "SMALL_RECIPE", replace(difficulty.SMALL_RECIPE, learning_rate=0.2))
    with pytest.raises(ValueError, match="results of another recipe; name another file"):
        list(difficulty.trained_rows(kept))
