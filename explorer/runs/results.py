"""The results of a run in words and numbers: networks compared with each other and with guessing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from explorer.intervals import Accuracy, accuracy, balanced_accuracy
from explorer.labels import duration, listed
from explorer.runs.log import RunLog

UNBALANCED = 1.5  # largest over smallest class of the test pictures, from which balanced accuracy decides
PASSES = 4  # times through the training pictures that are proposed; a training of less than half of it is too short


@dataclass(frozen=True)
class GradientRatio:
    """Size of the first convolution's weight gradient over that of the last one, at one step of one network; `ratio`
    is None where the last one is 0."""

    step: int
    ratio: float | None
    first: str
    last: str


def gradient_ratio(log: RunLog, network: int, at_end: bool) -> GradientRatio | None:
    """The ratio at step 0, or at the last step that was measured; None with fewer than two convolutions."""
    events = [event for event in log.gradients if event["network"] == network]
    layers: list[str] = next((event["layers"] for event in events if "layers" in event), [])
    main = [index for index, name in enumerate(layers) if not name.startswith("head") and "shortcut" not in name]
    if len(main) < 2:
        return None
    event = events[-1 if at_end else 0]
    first, last = (event["norms"][index] for index in (main[0], main[-1]))
    ratio = first / last if first is not None and last else None
    return GradientRatio(event["step"], ratio, layers[main[0]], layers[main[-1]])


def summary(log: RunLog) -> str:
    """One paragraph on a finished run: `describe_results`, and the gradient of the first convolution beside that of
    the last, at step 0 and at the end. Empty before the end."""
    end, start = log.end or {}, log.start or {}
    networks = end.get("networks")
    if not networks:
        return ""
    names, data = start.get("class_names"), start.get("data")
    classes = len(names) if isinstance(names, list) else 0
    sentences = [describe_results(networks, classes, end.get("seconds"), data if isinstance(data, str) else "")]
    for index, network in enumerate(networks):
        begin, last = (gradient_ratio(log, index, at_end) for at_end in (False, True))
        if begin and last and begin.ratio is not None and last.ratio is not None:
            at_start, at_end = (
                f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.2g} ×" for ratio in (begin.ratio, last.ratio)
            )
            sentences.append(
                f"In {network['title']} the weights of the first convolution received {at_start} the gradient of the "
                f"last one at step 0, and {at_end} at step {last.step:,}."
            )
        if network["outcome"] == "diverged":
            sentences.append(
                f"The training of {network['title']} diverged after {network['steps']:,} steps; its last finite "
                "weights are kept. Try a lower learning rate or gradient clipping."
            )
    return " ".join(sentences)


def finding(log: RunLog) -> str:
    """The result of a finished run in one sentence of at most 25 words: which network learned more, and whether by more
    than chance. Empty before the end."""
    networks = (log.end or {}).get("networks", [])
    if not 1 <= len(networks) <= 2:
        return ""
    names = (log.start or {}).get("class_names")
    unbalanced = all(is_unbalanced(network["test"]) for network in networks)
    accuracy = "balanced accuracy" if unbalanced else "test accuracy"
    scores = [_score(network["test"], len(names) if isinstance(names, list) else 0, unbalanced) for network in networks]
    (title, score), *others = sorted(
        zip((network["title"] for network in networks), scores, strict=True), key=lambda each: -each[1].share
    )
    guessing = "" if score.guess is None else f" ({score.guess:.1%})"
    if not score.learned:
        if not others:
            return f"{title} is not clearly better than guessing{guessing}."
        which = f"Neither {title} nor {others[0][0]}"
        return f"{which} is clearly better than guessing{guessing}, so this training shows nothing about shortcuts."
    if not others:
        return f"{title} has learned: {score.share:.1%} {accuracy}, where guessing reaches {score.guess or 0:.1%}."
    worse_title, worse = others[0]
    shares = f"{score.share:.1%} against {worse.share:.1%} {accuracy}"
    if score.share - worse.share <= _margin(worse, score, unbalanced):
        return f"{title} and {worse_title} learned about equally: {shares} may differ by chance alone."
    left = "" if worse.learned else f", which is not clearly better than guessing{guessing}"
    return f"{title} learned more than {worse_title}, by more than chance: {shares}{left}."


@dataclass(frozen=True)
class _Score:
    """The share that a network is judged by, its 95 % interval, the pictures behind it, and the share that guessing
    gives (None where that is not known)."""

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


def class_accuracies(test: dict[str, Any]) -> tuple[Accuracy | None, ...]:
    """The accuracy of each class, None for one without test pictures; empty where it was not measured or the metrics
    are damaged."""
    try:
        counted = zip(test["classes"]["right"], test["classes"]["n"], strict=True)
        return tuple(accuracy(right, n) if n else None for right, n in counted)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return ()


def _class_sizes(test: dict[str, Any]) -> list[int]:
    return [each.n for each in class_accuracies(test) if each]


def is_unbalanced(test: dict[str, Any]) -> bool:
    """Whether the largest class of the test pictures is `UNBALANCED` times the smallest that has any, or larger."""
    sizes = _class_sizes(test)
    return len(sizes) > 1 and max(sizes) >= UNBALANCED * min(sizes)


def describe_results(networks: Sequence[dict[str, Any]], classes: int, seconds: object = None, data: str = "") -> str:
    """Sentences on trained networks: accuracy with n, which learned more, and what to do where none is clearly better
    than guessing.

    `networks` hold "title", "steps", "outcome" and "test", the metrics of the test pictures, and where they are known
    "passes" through the training pictures, the "side" of a picture, and "weighted", whether the loss had class
    weights. `classes` is 0 where their number is not known; `seconds` is the time of the training.
    """
    unbalanced = all(is_unbalanced(network["test"]) for network in networks)
    scores = [_score(network["test"], classes, unbalanced) for network in networks]
    measured = []
    for network, score in zip(networks, scores, strict=True):
        balanced = f", balanced accuracy {score.share:.1%}" if unbalanced else ""
        measured.append(_accuracy_text(network["title"], network["test"], balanced))
    sentences = [f"{', '.join(measured)} after {max(network['steps'] for network in networks):,} steps"]
    comparison = _comparison([network["title"] for network in networks], scores, unbalanced)
    if unbalanced:
        sentences.append(_commonest_class(networks[0]["test"], scores[0]))
        sentences += [f"By balanced accuracy {comparison}"] if comparison else []
    elif comparison:
        sentences[0] += f": {comparison}"
    if not any(score.learned for score in scores):
        sentences += _advice(networks, classes, seconds, data, unbalanced)
    return " ".join(f"{sentence}." for sentence in sentences)


def _score(test: dict[str, Any], classes: int, unbalanced: bool) -> _Score:
    found = [each for each in class_accuracies(test) if each]
    if unbalanced:  # one constant answer is right on one class, whichever it is
        balanced = balanced_accuracy(found)
        return _Score(balanced.share, balanced.low, balanced.high, test["n"], 1 / len(found))
    whole = accuracy(round(test["accuracy"] * test["n"]), test["n"])
    commonest = max(_class_sizes(test), default=0) / test["n"]
    guess = max(1 / classes, commonest) if classes > 1 else None
    return _Score(test["accuracy"], whole.low, whole.high, test["n"], guess)


def _accuracy_text(title: str, test: dict[str, Any], more: str = "") -> str:
    return f"{title} reaches {test['accuracy']:.1%} test accuracy (n = {test['n']:,}{more})"


def _commonest_class(test: dict[str, Any], score: _Score) -> str:
    sizes = _class_sizes(test)
    name = test.get("majority_class")
    answer = f"the commonest class, {name!r}," if isinstance(name, str) else "the commonest class"
    return (
        f"The classes are not balanced: always predicting {answer} would reach {max(sizes) / sum(sizes):.1%}, "
        f"with a balanced accuracy of {score.guess:.1%}"
    )


def _comparison(titles: Sequence[str], scores: Sequence[_Score], unbalanced: bool) -> str:
    """Which network learned more, or which did not learn; empty where there is nothing to say."""
    guessing = "always predicting one class" if unbalanced else f"guessing, which reaches {scores[0].guess or 0:.1%}"
    at_chance = [title for title, score in zip(titles, scores, strict=True) if not score.learned]
    if len(at_chance) == len(scores):
        close = any(score.guess is None or score.low > score.guess for score in scores)
        if len(scores) == 1:
            return f"it is {'close to' if close else 'not better than'} {guessing}"
        all_of_them, none_of_them = ("both", "neither") if len(scores) == 2 else ("all", "none")
        return f"{all_of_them} are close to {guessing}" if close else f"{none_of_them} is better than {guessing}"
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
    """The largest difference of two networks by chance, as if each had its own pictures: cautious for twins."""
    if unbalanced:  # Newcombe 1998, method 10: a class of few pictures makes it wide
        return math.hypot(better.share - better.low, worse.high - worse.share)
    return 2 * math.sqrt(sum(score.share * (1 - score.share) / score.n for score in (worse, better)))


def _advice(
    networks: Sequence[dict[str, Any]], classes: int, seconds: object, data: str, unbalanced: bool
) -> list[str]:
    """Advice where no network learned enough; none where all diverged, which has its own."""
    if all(network["outcome"] == "diverged" for network in networks):
        return []
    side = _known(networks, "side") or 0.0
    smaller = "16 × 16 pixels" if data.startswith("shapes") and side > 16 else "smaller images" if side > 32 else ""
    easier = [choice for choice in ("fewer layers", smaller, "fewer classes" if classes > 2 else "") if choice]
    passes, taken = _known(networks, "passes"), _known([{"seconds": seconds}], "seconds")
    if passes and passes < PASSES / 2:
        time = f", about {duration(taken * PASSES / passes)}," if taken else ""
        sentences = [
            f"The training went {passes:.2g} times through its images, which is too little to learn from",
            f"Train for {PASSES} times{time} or with {listed(easier, 'or')}",
        ]
    else:
        sentences = [f"Try another learning rate, {listed([*easier, 'more images of each class'], 'or')}"]
    if unbalanced and not any(network.get("weighted") for network in networks):
        sentences.append("Class weights in the loss make rare classes count as much as common ones")
    return sentences


def _known(networks: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [network.get(key) for network in networks]
    numbers = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return max(numbers, default=None)


def recomputed(networks: Sequence[dict[str, Any]]) -> str:
    """That running statistics of BatchNorm were recomputed before the test, over how many pictures, and the accuracy
    with those that training left. Empty where they were not, or the metrics are damaged."""
    measured = []
    for network in networks:
        left = network.get("test_running")
        test = {key: _known([left], key) for key in ("accuracy", "n")} if isinstance(left, dict) else {"n": None}
        if None not in test.values():
            measured.append(_accuracy_text(network["title"], test))
    pictures = _known(networks, "batchnorm_images")
    if not measured or not pictures:
        return ""
    return (
        "After few steps, and at a constant rate, the running statistics of BatchNorm lag behind the weights. They "
        f"were recomputed over {pictures:,} training images before the test. With those that training left, "
        f"{' and '.join(measured)}."
    )
