"""What is said of trained networks: never a winner among those that learned nothing, and fair to rare classes."""

import itertools
from typing import Any

import pytest

from explorer import runs
from explorer.intervals import accuracy
from explorer.runs import class_accuracies, describe_results, recomputed


def network(title: str, right: float, n: int = 4000, **more: Any) -> dict[str, Any]:
    test = {"accuracy": right, "loss": 1.0, "n": n}
    return {"title": title, "outcome": "finished", "steps": 73, "test": test} | more


def by_class(title: str, right: list[int], n: list[int], **more: Any) -> dict[str, Any]:
    """With the figures that `checkpoint_of` writes."""
    names = ["normal", "pneumonia", "rare", "other"]
    shares = [one / many for one, many in zip(right, n, strict=True) if many]
    made = network(title, sum(right) / sum(n), sum(n), **more)
    made["test"] |= {"balanced_accuracy": sum(shares) / len(shares), "majority": max(n) / sum(n)}
    made["test"] |= {"majority_class": names[n.index(max(n))], "classes": {"right": right, "n": n}}
    return made


def test_a_minute_on_a_slow_machine_names_no_winner() -> None:
    """The click of the issue: 73 steps of 64 pictures, 0.23 times through 20,000, on ten shapes of 32 pixels."""
    few: dict[str, Any] = {"passes": 73 * 64 / 20_000, "side": 32}
    said = describe_results(
        [network("plain-20", 0.117, **few), network("ResNet-20", 0.140, **few)], 10, 60.0, "shapes-v1-32"
    )
    assert said == (
        "plain-20 reaches 11.7% test accuracy (n = 4,000), ResNet-20 reaches 14.0% test accuracy (n = 4,000) after "
        "73 steps: both are close to guessing, which reaches 10.0%. The training went 0.23 times through its "
        "images, which is too little to learn from. Train for 4 times, about 17 min, or with fewer layers, "
        "16 × 16 pixels or fewer classes."
    )


def test_not_above_guessing_by_more_than_the_interval() -> None:
    """Of 400 pictures 12.75 % are above 10 % by less than Wilson's interval, and 13.5 % by more."""
    assert accuracy(51, 400).low < 0.1 < accuracy(54, 400).low
    assert "neither is better than guessing" in describe_results(
        [network("a", 0.1, 400), network("b", 0.1275, 400)], 10
    )
    assert "both are close to guessing" in describe_results([network("a", 0.1, 400), network("b", 0.135, 400)], 10)
    assert ": it is not better than guessing" in describe_results([network("a", 0.1, 400)], 10)
    assert ": it is close to guessing" in describe_results([network("a", 0.135, 400)], 10)
    assert "none is better than guessing" in describe_results([network(name, 0.1, 400) for name in "abc"], 10)
    assert "guess" not in describe_results([network("a", 0.7, 400)], 10)


@pytest.mark.parametrize(("classes", "most"), [(2, 0.55), (10, 0.19), (100, 0.02)])
def test_what_is_close_to_guessing_depends_on_the_number_of_classes(classes: int, most: float) -> None:
    n = 100_000
    assert "close to guessing" in describe_results([network("a", most + 0.0005, n)], classes)
    assert "guessing" not in describe_results([network("a", most + 0.005, n)], classes)


def test_one_at_chance_and_one_that_learned() -> None:
    said = describe_results([network("plain-56", 0.1), network("ResNet-56", 0.7)], 10)
    assert said.endswith(
        "after 73 steps: plain-56 is not clearly better than guessing, which reaches 10.0%; ResNet-56 learned "
        "more, by 60.0 points."
    )
    some = describe_results([network("a", 0.1), network("b", 0.1), network("c", 0.9)], 10)
    assert some.endswith(": a and b are not clearly better than guessing, which reaches 10.0%.")


def test_a_winner_is_named_exactly_where_it_learned_and_the_difference_is_no_chance() -> None:
    """Over all pairs of right answers of 200: guessing is right on 20, and 2 standard errors are chance."""
    n = 200
    for first, second in itertools.combinations(range(0, n + 1, 7), 2):
        said = describe_results([network("a", first / n, n), network("b", second / n, n)], 10)
        margin = 2 * (sum(right * (n - right) for right in (first, second)) / n**3) ** 0.5
        learned = accuracy(second, n).low > 0.19 and (second - first) / n > margin
        assert ("b learned more" in said) == learned and "a learned more" not in said, (first, second, said)


def test_a_class_that_is_eighty_times_as_common_decides_nothing() -> None:
    """Both always answer "normal" but for a few: right on 98 %, and no better than that one answer."""
    counts = [240, 0, 3]
    said = describe_results([by_class("plain-8", [240, 0, 0], counts), by_class("ResNet-8", [238, 0, 0], counts)], 3)
    assert said.startswith(
        "plain-8 reaches 98.8% test accuracy (n = 243, balanced accuracy 50.0%), ResNet-8 reaches 97.9% test accuracy "
        "(n = 243, balanced accuracy 49.6%) after 73 steps. The classes are not balanced: always predicting the "
        "commonest class, 'normal', would reach 98.8%, with a balanced accuracy of 50.0%. By balanced accuracy "
        "neither is better than always predicting one class. Try another learning rate"
    )
    assert said.endswith("Class weights in the loss make rare classes count as much as common ones.")
    weighted = [by_class(name, [240, 0, 0], counts, weighted=True) for name in "ab"]
    assert "Class weights" not in describe_results(weighted, 3)


def test_the_winner_of_unbalanced_data_is_the_one_with_the_better_balanced_accuracy() -> None:
    """ "a" is right more often, because it knows the common class alone; "b" knows both."""
    said = describe_results([by_class("a", [800, 0], [800, 100]), by_class("b", [700, 90], [800, 100])], 2)
    assert said.index("88.9%") < said.index("87.8%")
    assert (
        "By balanced accuracy a is not clearly better than always predicting one class; b learned more, by 38" in said
    )
    both = describe_results([by_class("a", [790, 60], [800, 100]), by_class("b", [750, 90], [800, 100])], 2)
    assert "By balanced accuracy b learned more, by 12.5 points." in both
    one = describe_results([by_class("a", [790, 60], [800, 100])], 2)
    assert "By balanced" not in one and "always predicting" in one


def test_one_test_picture_of_a_class_decides_nothing() -> None:
    """ "b" is right on the one rare picture: 50 points of balanced accuracy, and chance."""
    said = describe_results([by_class("a", [70, 0], [80, 1]), by_class("b", [70, 1], [80, 1])], 2)
    assert "both are close to always predicting one class" in said and "learned more" not in said


@pytest.mark.parametrize(("counts", "is_said"), [([150, 101], False), ([150, 100], True), ([150, 0], False)])
def test_balanced_accuracy_is_said_from_one_and_a_half_to_one(counts: list[int], is_said: bool) -> None:
    said = describe_results([by_class("a", [counts[0] - 10, counts[1] * 9 // 10], counts)], 2)
    assert ("balanced accuracy" in said) == is_said


def test_guessing_of_nearly_balanced_data_is_the_commonest_class() -> None:
    said = describe_results([by_class("a", [58, 0, 42, 0], [58, 42, 42, 40])], 4)
    assert "balanced" not in said
    assert "guessing, which reaches 31.9%" in describe_results([by_class("a", [58, 0, 0, 0], [58, 42, 42, 40])], 4)


def test_what_is_proposed_follows_from_how_long_and_on_what_it_trained() -> None:
    def said(classes: int = 10, seconds: Any = None, data: str = "", **more: Any) -> str:
        return describe_results([network("a", 1 / classes, **more)], classes, seconds, data)

    assert "Train for 4 times or with fewer layers or fewer classes." in said(passes=1.9, side=16)
    assert "Train for 4 times, about 80 s, or with fewer layers, smaller" in said(passes=1.0, side=64, seconds=20.0)
    assert "Train for 4 times, about 3 h, or with fewer layers." in said(2, 2700.0, passes=1.0, side=32)
    assert "Try another learning rate, fewer layers, fewer classes or more images of each class." in said(passes=2.0)
    assert "Train for" not in said(seconds="soon", passes="few") and "Train for" not in said(passes=float("nan"))
    assert said(outcome="diverged", passes=0.1).endswith("which reaches 10.0%.")  # that has advice of its own


@pytest.mark.parametrize(
    "classes",
    [
        None,
        5,
        {},
        {"right": [1], "n": [1, 2]},
        {"right": ["x"], "n": [2]},
        {"right": [3], "n": [2]},
        {"right": 1, "n": 2},
        {"right": [1], "n": [float("nan")]},
        {"right": [10**400], "n": [10**400]},
        {"right": [None], "n": [4]},
    ],
    ids=str,
)
def test_damaged_figures_of_classes_are_none(classes: Any) -> None:
    damaged = network("a", 0.5, 400)
    damaged["test"]["classes"] = classes
    assert class_accuracies(damaged["test"]) == ()
    assert describe_results([damaged, by_class("b", [80, 5], [90, 10])], 2).startswith(
        "a reaches 50.0% test accuracy (n = 400)"
    )


def test_old_figures_have_no_classes_and_a_class_without_pictures_no_accuracy() -> None:
    assert class_accuracies(network("a", 0.5)["test"]) == ()
    found = class_accuracies(by_class("a", [3, 0, 1], [5, 0, 1])["test"])
    assert found == (accuracy(3, 5), None, accuracy(1, 1))
    assert runs.describe_results([network("a", 0.05)], 0) == "a reaches 5.0% test accuracy (n = 4,000) after 73 steps."


def test_both_accuracies_are_said_where_statistics_were_recomputed() -> None:
    left: dict[str, Any] = {"batchnorm_images": 1000, "test_running": {"accuracy": 0.1, "n": 500}}
    said = recomputed([network("a", 0.5, **left), network("b", 0.6, **left)])
    assert "over 1,000 training images before the test" in said
    assert said.endswith("a reaches 10.0% test accuracy (n = 500) and b reaches 10.0% test accuracy (n = 500).")
    assert recomputed([network("a", 0.5)]) == recomputed([network("a", 0.5, test_running=left["test_running"])]) == ""
    assert recomputed([network("a", 0.5, batchnorm_images=1000, test_running={"accuracy": "x", "n": 5})]) == ""


def finding(*networks: dict[str, Any], classes: int = 10) -> str:
    end = {"networks": list(networks)} if networks else None
    start = {"class_names": [str(index) for index in range(classes)]}
    return runs.finding(runs.RunLog(None, start, None, (), (), (), (), (), end))


def test_the_finding_is_one_sentence_that_knows_chance_and_guessing() -> None:
    plain, residual, bad = network("plain-56", 0.300), network("ResNet-56", 0.971), network("plain-8", 0.102)
    assert (
        finding(residual, plain)
        == finding(plain, residual)
        == ("ResNet-56 learned more than plain-56, by more than chance: 97.1% against 30.0% test accuracy.")
    )
    assert finding(bad, residual).endswith(
        "97.1% against 10.2% test accuracy, which is not clearly better than guessing (10.0%)."
    )
    assert "may differ by chance alone" in finding(network("a", 0.950), network("b", 0.955))
    assert finding(bad, network("ResNet-8", 0.11)).startswith("Neither ResNet-8 nor plain-8 is clearly better than")
    assert finding(bad) == "plain-8 is not clearly better than guessing (10.0%)."
    assert finding(residual) == "ResNet-56 has learned: 97.1% test accuracy, where guessing reaches 10.0%."
    rare = finding(by_class("a", [800, 80], [800, 100]), by_class("b", [800, 10], [800, 100]), classes=2)
    assert "90.0% against 55.0% balanced accuracy" in rare
    assert finding() == finding(plain, residual, bad) == ""
    assert all(len(finding(one, two).split()) <= 25 for one in (plain, bad) for two in (residual, bad))
