"""The picture on which twins part: the rule by hand, and the stored one against a fresh computation and float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer import checkpoints, stored_results
from explorer.checkpoints import Checkpoint, load_pretrained, pinned
from explorer.datasets import Split, shapes
from explorer.experiments import measurement
from explorer.experiments.agreement import Parting, Predictions, images_for, parting, predictions
from explorer.pretrained import RECIPES
from explorer.ui import network_registry
from explorer.ui.services.explore_state import AppState

PLAIN = [name for name in RECIPES if "-plain-" in name]
CANDIDATES = 40  # the pictures with the largest margins, which another rounding could bring to the front


def said(labels: Sequence[int], predicted: Sequence[int], of_label: Sequence[float]) -> Predictions:
    """Of 3 classes; the rest of the label's probability is shared by the others."""
    own = np.array(of_label, np.float32)
    probabilities = np.repeat((1 - own[:, None]) / 2, 3, axis=1)
    probabilities[np.arange(len(labels)), labels] = own
    return Predictions(("a", "b", "c"), np.array(labels), np.array(predicted), probabilities)


def test_the_rule_by_hand() -> None:
    labels = [0, 1, 2, 0, 1]
    a = said(labels, [0, 1, 0, 1, 2], [0.75, 0.875, 0.25, 0.0, 0.25])
    b = said(labels, [0, 2, 2, 0, 0], [0.25, 0.125, 1.0, 0.75, 0.75])
    # Picture 0 has both right, 4 none; the margins of 1, 2 and 3 are 0.75 each, so the first of them is it.
    assert parting(a, b) == parting(b, a) == Parting(number=1, label="b", margin=0.75, runner_up=0.75, n=3)


def test_the_wrong_network_may_give_the_label_more_than_the_right_one() -> None:
    a, b = said([0], [0], [0.375]), said([0], [1], [0.5])
    assert parting(a, b) == Parting(number=0, label="a", margin=-0.125, runner_up=None, n=1)
    assert parting(a, a) is None


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="same split"):
        parting(said([0], [0], [0.5]), said([1], [0], [0.5]))


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3, *[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 2), min_size=1))
def test_no_picture_has_a_larger_margin_and_none_before_it_an_equal_one(rows: list[tuple[Any, ...]]) -> None:
    labels, *predicted, of_a, of_b = zip(*rows, strict=True)
    found = parting(said(labels, predicted[0], of_a), said(labels, predicted[1], of_b))
    margins = {
        number: (p - q if a == label else q - p)
        for number, (label, a, b, p, q) in enumerate(rows)
        if (a == label) != (b == label)
    }
    assert (found is None) == (not margins)
    if found is None:
        return
    first, *others = sorted(margins, key=lambda number: (-margins[number], number))
    assert (found.number, found.margin, found.n) == (first, margins[first], len(margins))
    assert found.runner_up == (margins[others[0]] if others else None)


# --- the stored one ---------------------------------------------------------------------------------------------------


def twins_of(plain: str) -> list[str]:
    return [plain, plain.replace("-plain-", "-resnet-")]


def stored(plain: str) -> Parting:
    found = measurement.parting_of([pinned()[name] for name in twins_of(plain)], load_pretrained(plain).data)
    assert found is not None
    return found


def stored_predictions(network: Checkpoint) -> Predictions:
    facts = measurement.facts_of(network.data)
    assert facts is not None
    key = measurement.result_key("said", [checkpoints.digest(network)], facts.content, facts.n)
    found = stored_results.unpack(Predictions, stored_results.load(key))
    assert found is not None
    return found


@pytest.mark.parametrize("plain", PLAIN)
def test_the_stored_one_is_that_of_the_stored_predictions(plain: str) -> None:
    first, second = (stored_predictions(load_pretrained(name)) for name in twins_of(plain))
    assert stored(plain) == parting(first, second)


def test_a_fresh_computation_gives_the_stored_one() -> None:
    split, kept = shapes.test_split(), stored("shapes-plain-8")
    first, second = (
        next(said for _, said in predictions(load_pretrained(name), split, shapes.CLASS_NAMES) if said)
        for name in twins_of("shapes-plain-8")
    )
    fresh = parting(first, second)
    assert fresh is not None
    assert (fresh.number, fresh.label, fresh.n) == (kept.number, kept.label, kept.n)
    assert fresh.margin == pytest.approx(kept.margin, abs=1e-5)
    assert fresh.runner_up == pytest.approx(kept.runner_up, abs=1e-5)


@pytest.mark.parametrize("plain", [name for name in PLAIN if name.startswith("shapes")])
def test_rounding_is_far_too_small_to_change_it(plain: str) -> None:
    """A machine that rounds otherwise is about as far from the stored float32 as float64 is."""
    twins = [load_pretrained(name) for name in twins_of(plain)]
    first, second = (stored_predictions(each) for each in twins)
    margins = np.where(first.right, 1, -1) * (first.of_label.astype(np.float64) - second.of_label)
    numbers = np.sort(np.argsort(np.where(first.right != second.right, -margins, 2.0), kind="stable")[:CANDIDATES])
    drawn = [shapes.test_picture(int(number)) for number in numbers]
    split = Split(np.stack([pixels.transpose(2, 0, 1) for pixels, *_ in drawn]), np.array([each[2] for each in drawn]))
    exact = []
    for each in twins:
        with torch.no_grad():
            logits = each.network.double()(images_for(each, split.images).double())
        predicted, probabilities = logits.argmax(1).numpy(), logits.softmax(1).numpy()
        exact.append(Predictions(shapes.CLASS_NAMES, split.labels, predicted, probabilities))
    kept, found = stored(plain), parting(*exact)
    assert found is not None and kept.runner_up is not None
    assert (int(numbers[found.number]), found.label) == (kept.number, kept.label)
    noise = max(
        np.abs(one.of_label - other.of_label[numbers]).max() for one, other in zip(exact, (first, second), strict=True)
    )
    assert kept.margin - kept.runner_up > 1000 * noise > 0


def test_a_link_shows_it_where_the_app_can_draw_it() -> None:
    for plain in PLAIN:
        for pair in (twins_of(plain), twins_of(plain)[::-1]):
            picture = network_registry.parting_picture(*pair)
            if plain.startswith("shapes"):
                assert picture is not None
                assert AppState(picture=picture).test == (shapes.Drawn(), stored(plain).number)
                assert shapes.CLASS_NAMES[shapes.test_picture(stored(plain).number)[2]] == stored(plain).label
            else:
                assert picture is None
    assert network_registry.parting_picture("shapes-plain-8", "shapes-resnet-20") is None
    assert network_registry.parting_picture("run-" + "0" * 32 + "-a", "shapes-resnet-20") is None
