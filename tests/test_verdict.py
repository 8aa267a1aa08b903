"""The verdict of Compare: its sentences follow from the accuracies, and none is long."""

import re
from itertools import product

import pytest

from explorer.experiments.agreement import Agreement
from explorer.ui.compare.labelled import mcnemar_sentence
from explorer.ui.compare.verdict import ALIKE, Accuracies, cause_sentence, finding

SHARES = (None, 0.0, 0.1, 0.3, 0.305, 0.5, 0.85, 0.97, 0.975, 1.0)


def both(a: tuple[float | None, float | None], b: tuple[float | None, float | None]) -> tuple[Accuracies, Accuracies]:
    return Accuracies("A", *a), Accuracies("B", *b)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (
            (0.30, 0.31),
            (0.97, 0.97),
            "A is worse on its training images too (31.0% against 97.0%): it is harder to train",
        ),
        ((0.97, 0.97), (0.30, 0.31), "B is worse on its training images too (31.0% against 97.0%)"),
        (
            (0.60, 0.99),
            (0.80, 0.99),
            "A fits its training images about as well (99.0% against 99.0%) and is worse on test",
        ),
        ((0.60, 0.99), (0.80, 0.85), "it overfits"),
        ((0.98, 0.98), (0.985, 0.99), "about equally accurate"),
    ],
)
def test_whether_it_overfits_follows_from_both_accuracies(a, b, words: str) -> None:
    assert words in cause_sentence(*both(a, b))


def test_the_order_of_two_networks_changes_nothing_of_the_cause() -> None:
    for a, b in product(product(SHARES, SHARES), repeat=2):
        first, second = both(a, b)
        if None in (a[0], b[0]) or abs((a[0] or 0) - (b[0] or 0)) < ALIKE:
            continue
        assert cause_sentence(first, second) == cause_sentence(second, first)
        assert finding(first, second) == finding(second, first)


def test_without_a_measured_accuracy_nothing_is_said() -> None:
    assert cause_sentence(*both((None, 0.5), (0.9, 0.9))) == finding(*both((None, 0.5), (0.9, 0.9))) == ""
    assert cause_sentence(*both((0.3, None), (0.9, 0.9))) == "", "training is not known"
    assert finding(*both((0.3, None), (0.9, 0.9))) == "A reaches 30.0% of test accuracy where B reaches 90.0%."


def test_no_sentence_has_more_than_25_words() -> None:
    texts = [finding(*both(a, b)) for a, b in product(product(SHARES, SHARES), repeat=2)]
    texts += [cause_sentence(*both(a, b)) for a, b in product(product(SHARES, SHARES), repeat=2)]
    for counts in ((80, 12, 1, 7, 82), (80, 7, 5, 8, 82), (90, 0, 0, 10, 95), (1000, 2696, 13, 291, 1100)):
        texts.append(mcnemar_sentence("A", "B", Agreement(*counts)))
    sentences = [each for text in texts for each in re.split(r"(?<=[.:]) (?=[A-Z])", text) if each]
    assert len(sentences) > 1000 and max(len(each.split()) for each in sentences) <= 25
