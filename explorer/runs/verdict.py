"""`verdict`: what trained networks learned, compared with each other and with guessing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from explorer.intervals import Accuracy, accuracy, balanced_accuracy
from explorer.labels import listed

UNBALANCED = 1.5  # largest over smallest class of the test pictures, from which balanced accuracy decides
PASSES = 4  # times through the training pictures that are proposed; a training of less than half of it is too short


@dataclass(frozen=True)
class _Score:
    """The share that a network is judged by, its 95 % interval, the pictures behind it, and what guessing gives (None
    where that is not known)."""

    share: float
    low: float
    high: float
    n: int
    guess: float | None

    @property
    def learned(self) -> bool:
        """Whether the whole interval lies clearly above guessing: by a tenth of what is missing there to 1 or, with
        many classes, by as much again as guessing gives."""
        return self.guess is None or self.low > min(2 * self.guess, self.guess + 0.1 * (1 - self.guess))

    @property
    def above_guessing(self) -> bool:
        return self.guess is None or self.low > self.guess


def class_accuracies(test: dict[str, Any]) -> tuple[Accuracy | None, ...]:
    """The accuracy of each class in a network's figures, None for a class without test pictures; empty where it was
    not measured, as before it was, or where the figures are damaged."""
    try:
        counted = zip(test["classes"]["right"], test["classes"]["n"], strict=True)
        return tuple(accuracy(right, n) if n else None for right, n in counted)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return ()


def is_unbalanced(test: dict[str, Any]) -> bool:
    """Whether the largest class of the test pictures is `UNBALANCED` times the smallest that has any, or larger."""
    counts = [each.n for each in class_accuracies(test) if each]
    return len(counts) > 1 and max(counts) >= UNBALANCED * min(counts)


def verdict(networks: Sequence[dict[str, Any]], classes: int, seconds: object = None, data: str = "") -> str:
    """Sentences on one or more trained networks: accuracy with n, which of them learned more, and what to do where none
    is clearly better than guessing.

    `networks` hold "title", "steps", "outcome" and "test", the figures of the test pictures; where they are known also
    "passes" through the training pictures, the "side" of a picture, and whether the loss had class weights,
    "weighted". `classes` is the number of classes, 0 where it is not known; `seconds` is what the training took, `data`
    the name of the dataset.
    """
    unbalanced = all(is_unbalanced(network["test"]) for network in networks)
    scores = [_score(network["test"], classes, unbalanced) for network in networks]
    measured = ", ".join(_measured(network, score, unbalanced) for network, score in zip(networks, scores, strict=True))
    measured += f" after {max(network['steps'] for network in networks):,} steps"
    judged = _judged([network["title"] for network in networks], scores, unbalanced)
    if unbalanced:
        sentences = [measured, _of_the_commonest(networks[0]["test"], scores[0])]
        sentences += [f"By balanced accuracy {judged}"] if judged else []
    else:
        sentences = [f"{measured}: {judged}" if judged else measured]
    if not any(score.learned for score in scores):
        sentences += _advice(networks, classes, seconds, data, unbalanced)
    return " ".join(f"{sentence}." for sentence in sentences)


def _score(test: dict[str, Any], classes: int, unbalanced: bool) -> _Score:
    found = [each for each in class_accuracies(test) if each]
    if unbalanced:  # one constant answer is right on one class, whichever it is
        balanced = balanced_accuracy(found)
        return _Score(balanced.share, balanced.low, balanced.high, test["n"], 1 / len(found))
    whole = accuracy(round(test["accuracy"] * test["n"]), test["n"])
    commonest = max((each.n for each in found), default=0) / test["n"]
    guess = max(1 / classes, commonest) if classes > 1 else None
    return _Score(test["accuracy"], whole.low, whole.high, test["n"], guess)


def _measured(network: dict[str, Any], score: _Score, unbalanced: bool) -> str:
    test = network["test"]
    balanced = f" (balanced accuracy {score.share:.1%})" if unbalanced else ""
    return f"{network['title']} is right on {test['accuracy']:.1%} of {test['n']:,} test pictures{balanced}"


def _of_the_commonest(test: dict[str, Any], score: _Score) -> str:
    counts = [each.n for each in class_accuracies(test) if each]
    name = test.get("majority_class")
    answer = f"the commonest class, {name!r}," if isinstance(name, str) else "the commonest class"
    return (
        f"The classes are not balanced: always answering {answer} would be right on {max(counts) / sum(counts):.1%}, "
        f"with a balanced accuracy of {score.guess:.1%}"
    )


def _judged(titles: Sequence[str], scores: Sequence[_Score], unbalanced: bool) -> str:
    """Which network learned more, or which did not learn; empty where there is nothing to say."""
    guessing = "always answering one class" if unbalanced else f"guessing, which is right on {scores[0].guess or 0:.1%}"
    at_chance = [title for title, score in zip(titles, scores, strict=True) if not score.learned]
    if len(at_chance) == len(scores):
        close = any(score.above_guessing for score in scores)
        if len(scores) == 1:
            return f"it is {'close to' if close else 'not better than'} {guessing}"
        everyone, nobody = ("both", "neither") if len(scores) == 2 else ("all", "none")
        return f"{everyone} are close to {guessing}" if close else f"{nobody} is better than {guessing}"
    left = f"{' and '.join(at_chance)} {'are' if len(at_chance) > 1 else 'is'} not clearly better than {guessing}"
    if len(scores) != 2:
        return left if at_chance else ""
    worse, better = sorted((0, 1), key=lambda index: scores[index].share)
    gap = scores[better].share - scores[worse].share
    points = f"{gap * 100:.1f} points"
    if gap <= _margin(scores[worse], scores[better], unbalanced):
        what = f"the difference of {points} is" if unbalanced else f"a difference of {points},"
        return f"{what} within what chance alone would give"
    learned = f"{titles[better]} learned more, by {points}"
    return f"{left}; {learned}" if at_chance else learned if unbalanced else f"so {learned}"


def _margin(worse: _Score, better: _Score, unbalanced: bool) -> float:
    """How far apart two networks may be by chance, taken as if each had its own pictures: cautious for twins."""
    if unbalanced:  # Newcombe 1998, method 10: a class of few pictures makes it wide
        return math.hypot(better.share - better.low, worse.high - worse.share)
    return 2 * math.sqrt(sum(score.share * (1 - score.share) / score.n for score in (worse, better)))


def _advice(
    networks: Sequence[dict[str, Any]], classes: int, seconds: object, data: str, unbalanced: bool
) -> list[str]:
    """What to do where no network learned enough; nothing where all diverged, which has its own advice."""
    if all(network["outcome"] == "diverged" for network in networks):
        return []
    side = _known(networks, "side") or 0.0
    smaller = "16 × 16 pixels" if data.startswith("shapes") and side > 16 else "smaller pictures" if side > 32 else ""
    easier = [choice for choice in ("fewer layers", smaller, "fewer classes" if classes > 2 else "") if choice]
    passes, taken = _known(networks, "passes"), _known([{"seconds": seconds}], "seconds")
    if passes and passes < PASSES / 2:
        time = f", about {_duration(taken * PASSES / passes)}," if taken else ""
        sentences = [
            f"The training went {passes:.2g} times through its pictures, which is too little to learn from",
            f"Train for {PASSES} times{time} or with {listed(easier, 'or')}",
        ]
    else:
        sentences = [f"Try another learning rate, {listed([*easier, 'more pictures of each class'], 'or')}"]
    if unbalanced and not any(network.get("weighted") for network in networks):
        sentences.append("Class weights in the loss make rare classes count as much as common ones")
    return sentences


def _known(networks: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [network.get(key) for network in networks]
    numbers = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return max(numbers, default=None)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def recomputed(networks: Sequence[dict[str, Any]]) -> str:
    """That running statistics of BatchNorm were recomputed before the test, over how many pictures, and the accuracy
    with those that training left. Empty where they were not, or the figures are damaged."""
    measured = []
    for network in networks:
        left = network.get("test_running")
        share, n = (_known([left], key) if isinstance(left, dict) else None for key in ("accuracy", "n"))
        if share is not None and n is not None:
            measured.append(f"{network['title']} is right on {share:.1%} of {n:,} test pictures")
    pictures = _known(networks, "batchnorm_images")
    if not measured or not pictures:
        return ""
    return (
        "After few steps, and at a constant rate, the running statistics of BatchNorm lag behind the weights. They "
        f"were recomputed over {pictures:,} training pictures before the test. With those that training left, "
        f"{' and '.join(measured)}."
    )
