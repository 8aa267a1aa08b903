"""`Ensemble`: networks of the same classes whose probabilities are averaged; its weights, its predictions, its CAM."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from reprlib import repr as shown  # a value in a sentence: cut where it is long
from typing import Any, Literal, Self

import numpy as np

from explorer.experiments.agreement import Agreement, Predictions, accuracy_of, agreement
from explorer.intervals import Accuracy
from explorer.tracing import Trace
from explorer.views import enlarge, grad_cam

MOST_MEMBERS = 4
VERSION = 1
CLOSE = 1e-6  # nats: weights whose loss is surely within this of the lowest one are learned
_MOST_STEPS = 5_000
_SMALLEST = float(np.finfo(np.float32).tiny)  # float32 probabilities below it are 0, and have no logarithm
_DIGEST_LENGTH = 64

Origin = Literal["uniform", "learned"]


@dataclass(frozen=True)
class Member:
    """A network of an ensemble: its `name` in the app, its `title` for people, and its `checkpoints.digest`. The digest
    tells whether a network is still the one that was chosen."""

    name: str
    title: str
    digest: str


@dataclass(frozen=True)
class Ensemble:
    """The mean of the probabilities of `members`, weighted by `weights`: p = Σ w_m p_m with w_m >= 0 and Σ w_m = 1.

    `class_names` are in the order of the probabilities. `origin` says where the weights are from, and `learned_on`
    names the images that learned ones are from, "" for uniform ones. `metrics` are measured results, each with its `n`
    (JSON). Raises ValueError for no members or too many, one twice, or weights that are no shares of one whole.
    """

    members: tuple[Member, ...]
    weights: tuple[float, ...]
    class_names: tuple[str, ...]
    origin: Origin = "uniform"
    learned_on: str = ""
    metrics: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.members) <= MOST_MEMBERS:
            raise ValueError(f"`members` must be 1 to {MOST_MEMBERS} networks, received {len(self.members)}.")
        if len({member.digest for member in self.members}) < len(self.members):
            raise ValueError("`members` must be different networks; two of these have the same weights.")
        if not all(isinstance(text, str) for member in self.members for text in (member.name, member.title)):
            raise ValueError("`members` must have names and titles that are texts.")
        if not all(_is_digest(member.digest) for member in self.members):
            raise ValueError(f"`digest` of each member must be {_DIGEST_LENGTH} hexadecimal digits.")
        check_weights(self.weights, len(self.members))
        if len(self.class_names) < 2 or not all(isinstance(name, str) and name for name in self.class_names):
            raise ValueError(f"`class_names` must be two texts or more, received {shown(self.class_names)}.")
        if self.origin not in ("uniform", "learned") or not isinstance(self.learned_on, str):
            raise ValueError(f'`origin` must be "uniform" or "learned", received {shown(self.origin)}.')

    def to_json(self) -> str:
        """One JSON document; `from_json` is its inverse."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The ensemble that `to_json` wrote. Raises ValueError with one sentence for anything else."""
        try:
            values = json.loads(text)
            if values.pop("version") != VERSION:
                raise ValueError(f"the ensemble has another format than version {VERSION}; keep it again.")
            members = tuple(Member(**member) for member in values.pop("members"))
            weights, class_names = tuple(values.pop("weights")), tuple(values.pop("class_names"))
            return cls(members, weights, class_names, **values)
        except (TypeError, KeyError, AttributeError, RecursionError, json.JSONDecodeError):
            raise ValueError("the file does not describe an ensemble of this app; keep the ensemble again.") from None


def _is_digest(text: Any) -> bool:
    return isinstance(text, str) and len(text) == _DIGEST_LENGTH and set(text) <= set("0123456789abcdef")


def check_weights(weights: Sequence[float], members: int) -> None:
    """Raises ValueError unless they are one share of 0..1 for each member, with the sum 1."""
    numbers = all(isinstance(weight, int | float) and not isinstance(weight, bool) for weight in weights)
    if (
        len(weights) != members
        or not numbers
        or not all(0 <= weight <= 1 for weight in weights)
        or not math.isclose(sum(weights), 1, abs_tol=1e-9)
    ):
        raise ValueError(
            f"`weights` must be {members} shares of 0 or more with the sum 1, received {shown(tuple(weights))}."
        )


def uniform(members: int) -> tuple[float, ...]:
    return (1 / members,) * members


def combined(said: Sequence[Predictions], weights: Sequence[float]) -> Predictions:
    """The predictions of the ensemble: the weighted mean of the members' probabilities, and its largest class.

    A member that has the whole weight is returned as it is: its own prediction is the argmax of logits, which differ
    where float32 probabilities are equal. Raises ValueError where the members were asked about different images.
    """
    check_weights(weights, len(said))
    for other in said[1:]:
        agreement(said[0], other)  # which checks that both are about the same images
    if max(weights) == 1:
        return said[list(weights).index(1)]
    mean = sum(weight * of.probabilities.astype(np.float64) for weight, of in zip(weights, said, strict=True))
    assert isinstance(mean, np.ndarray)
    first = said[0]
    return Predictions(first.class_names, first.labels, mean.argmax(1).astype(np.int64), mean.astype(np.float32))


def loss_of(said: Sequence[Predictions], weights: Sequence[float]) -> float:
    """The mean of -log of the ensemble's probability of the label, in nats."""
    return float(-np.log(_of_labels(said) @ np.asarray(weights, np.float64)).mean())


def _of_labels(said: Sequence[Predictions]) -> np.ndarray:
    """The probability that each member gives each label, float64 (N, members), > 0."""
    of_labels: np.ndarray = np.stack([of.of_label for of in said], axis=1).astype(np.float64)
    return np.maximum(of_labels, _SMALLEST)


@dataclass(frozen=True)
class LearnedWeights:
    """Weights with the `loss` on the `n` images that they were learned on, beside that of equal weights, in nats. No
    other weights have a loss there that is lower by more than `gap`."""

    weights: tuple[float, ...]
    loss: float
    uniform_loss: float
    gap: float
    steps: int
    n: int


def learn_weights(said: Sequence[Predictions]) -> LearnedWeights:
    """The weights with the lowest loss on these images, without random numbers.

    Expectation-maximisation from equal weights: w_m <- w_m mean_i(p_m(y_i) / Σ_k w_k p_k(y_i)) (Dempster, Laird and
    Rubin 1977, section 4.3, with the members fixed). No step raises the loss, so the result is never worse than equal
    weights. The loss is convex in the weights, and so lies at most max_m mean_i(p_m / Σ w p) - 1 above the lowest one;
    the steps end when this is at most `CLOSE`.

    Raises ValueError where the members were asked about different images, or none.
    """
    if not said or not len(said[0]):
        raise ValueError("`said` holds no predictions, so no weights can be learned; choose data with more images.")
    weights = np.asarray(uniform(len(said)))
    combined(said, tuple(weights))  # which checks the images
    of_labels = _of_labels(said)
    best, lowest, gap, steps = weights, math.inf, math.inf, 0
    for steps in range(_MOST_STEPS + 1):  # noqa: B007  # how many were taken
        mean = of_labels @ weights  # (N,)
        loss = float(-np.log(mean).mean())
        ratio = (of_labels / mean[:, None]).mean(0)  # (members,)
        if loss < lowest:  # at the end the rounding of float64 can raise it
            best, lowest, gap = weights, loss, float(max(0.0, ratio.max() - 1))
        if gap <= CLOSE:
            break
        weights = weights * ratio
        weights = weights / weights.sum()
    return LearnedWeights(
        tuple(best.tolist()), loss_of(said, best.tolist()), loss_of(said, uniform(len(said))), gap, steps, len(said[0])
    )


# --- against each member alone ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Outcome:
    """The ensemble on the same images as its members: its predictions, its accuracy, and for each member the agreement,
    in which the ensemble is the first. `best` is the place of the member that is right most often, the first of several
    ones. The best is chosen on these very images, which favours it against the ensemble."""

    predictions: Predictions
    accuracy: Accuracy
    alone: tuple[Accuracy, ...]
    against: tuple[Agreement, ...]
    best: int
    none_right: int
    """Images that no member has right alone."""
    right_without_any: int
    """Images that the ensemble has right among those."""


def outcome(said: Sequence[Predictions], weights: Sequence[float]) -> Outcome:
    """Raises ValueError where the members were asked about different images."""
    of = combined(said, weights)
    alone = tuple(accuracy_of(each) for each in said)
    none = ~np.any([each.right for each in said], axis=0)
    return Outcome(
        predictions=of,
        accuracy=accuracy_of(of),
        alone=alone,
        against=tuple(agreement(of, each) for each in said),
        best=max(range(len(said)), key=lambda place: alone[place].right),
        none_right=int(none.sum()),
        right_without_any=int((none & of.right).sum()),
    )


def changed(of: Predictions, alone: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """The images that the ensemble `of` has right and that network `alone` has wrong, and the other way round: int64
    indices each, first those on which the probabilities of the label differ most."""
    lead = of.of_label.astype(np.float64) - alone.of_label
    helped, hurt = np.flatnonzero(of.right & ~alone.right), np.flatnonzero(~of.right & alone.right)
    return helped[np.argsort(-lead[helped], kind="stable")], hurt[np.argsort(lead[hurt], kind="stable")]


def finding(titles: Sequence[str], found: Outcome) -> str:
    """What the numbers say of the ensemble against its best member, in sentences that hold for them."""
    best, counts = titles[found.best], found.against[found.best]
    start = (
        f"The ensemble has {found.accuracy.share:.2%} of {found.accuracy.n:,} images right "
        f"({found.accuracy.low:.2%} to {found.accuracy.high:.2%}); its best member, {best}, has "
        f"{found.alone[found.best].share:.2%}."
    )
    if not counts.only_a and not counts.only_b:
        return f"{start} Both have the same images right: on these images nothing tells them apart."
    turned = f"It corrects {counts.only_a:,} mistakes of {best} and makes {counts.only_b:,} new ones."
    p = f"p = {counts.p_value:.2g}" if counts.p_value >= 1e-4 else "p < 0.0001"
    if counts.p_value >= 0.05:
        judged = f"McNemar's exact test gives {p}: chance in the choice of images may explain that."
    else:
        better = "better" if counts.only_a > counts.only_b else "worse"
        judged = f"McNemar's exact test gives {p}: on images like these the ensemble is {better}."
    return f"{start} {turned} {judged}"


# --- its CAM ---------------------------------------------------------------------------------------------------------


def member_cam(traced: Trace, layer: str, weight: float) -> np.ndarray:
    """A member's part of the ensemble's CAM at that layer, float32 (H, W), signed: Σ_k a_k A_k with a_k the mean over
    all pixels of d p / d A_k, where p = Σ w_m p_m is the ensemble's probability of the target.

    A member's activations reach p through w_m p_m alone, so `traced` must be a pass that explains the probability.
    Raises ValueError for one that explains the logit, or a layer without feature maps.
    """
    if traced.score != "probability":
        raise ValueError('`traced` must explain the probability; make it by `trace(..., score="probability")`.')
    return np.float32(weight) * grad_cam(traced[layer], relu=False)


def ensemble_cam(parts: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The ensemble's CAM at `size` (height, width), float32, >= 0: ReLU of the sum of the members' parts, each enlarged
    bilinearly to `size`.

    It is Grad-CAM (Selvaraju et al. 2017, equations 1 and 2) of one score, the mean probability, with the channels of
    all members together. There is one ReLU, behind the sum: evidence of one member against the class takes away from
    that of another one. Of one member it is Grad-CAM of its probability.
    """
    total = sum(enlarge(part, size) for part in parts)
    assert isinstance(total, np.ndarray)
    return np.maximum(total, 0)
