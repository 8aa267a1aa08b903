"""What was measured of networks on many pictures in this session: each network once for each question."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import streamlit as st

from explorer import figures
from explorer.architectures import describe
from explorer.datasets import Split, downloadable, shapes
from explorer.experiments import agreement, cam_metrics, similarity
from explorer.experiments.agreement import Predictions
from explorer.experiments.cam_metrics import Target
from explorer.experiments.similarity import Grams, Similarity
from explorer.ui import dataset_access, forecasts, network_registry
from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.services.inference import NetworkResult
from explorer.ui.widgets.long_task import TaskSteps

PASS_BYTES = 1_500_000_000  # of activations while layers are compared: two people may do that at once

Kind = Literal["said", "grams", "cka", "shares", "pictures"]


@dataclass(frozen=True)
class Question:
    """What is asked of each network: `kind`, about `n` test pictures of `data`, taken evenly over the split.

    "said" asks for its Predictions, "grams" for its Grams, "shares" for the ObjectShares of the cams of `target`;
    "cka" asks two networks for their Similarity. "pictures" are those that a report shows, uint8 (H, W, 3) by index.
    """

    kind: Kind
    data: str
    n: int
    target: Target = "label"

    def key(self, *names: str) -> str:
        """One string for this question and these networks."""
        return "/".join((self.kind, self.data, str(self.n), self.target, *names))


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a question for one network, or for the two of a "cka"."""

    question: Question
    names: tuple[str, ...]
    result: Any


@dataclass(frozen=True, eq=False)
class TestPictures:
    """The pictures of a question: `indices` int64 (n,) into the test `split` of `title`, whose labels count
    `class_names`."""

    __test__ = False  # not a test of pytest

    title: str
    split: Split
    class_names: tuple[str, ...]
    indices: np.ndarray

    @property
    def chosen(self) -> Split:
        masks = None if self.split.masks is None else self.split.masks[self.indices]
        return Split(self.split.images[self.indices], self.split.labels[self.indices], masks)


def shared_data(looked: Sequence[NetworkResult]) -> list[str]:
    """The labelled data on this machine that all these networks know: same input, and the same classes by name.

    Raises ValueError where the files of the data are damaged.
    """
    first, *others = (network.checkpoint for network in looked)
    names = dataset_access.labelled_data(first.spec, first.class_names)
    for other in others:
        known = dataset_access.labelled_data(other.spec, other.class_names)
        names = [name for name in names if name in known]
    return [name for name in names if all(_knows(network, name) for network in looked)]


def _knows(network: NetworkResult, data: str) -> bool:
    try:
        agreement.class_order(network.checkpoint, dataset_access.class_names(data))
    except ValueError:
        return False
    return True


def any_data() -> list[str]:
    """All data on this machine, the last that this session trained on first: to compare layers needs no labels."""
    drawn = ("shapes-32", "shapes-16", "shapes-64")
    names = dict.fromkeys([dataset_access.last_data(), *drawn, *downloadable.DOWNLOADABLE])
    return [name for name in names if dataset_access.is_available(name)]


def test_count(data: str) -> int:
    """How many test pictures there are; cheap for what is drawn, and read once for the rest."""
    if drawn := shapes.named(data):
        return drawn.counts[2]
    return sum(test for _, _, test in dataset_access.summary(data).counts)


def pictures(question: Question) -> TestPictures:
    """Raises ValueError where the data's files are damaged."""
    split, class_names = _test_split(question.data)
    n = min(question.n, len(split))
    return TestPictures(dataset_access.data_title(question.data), split, class_names, np.arange(n) * len(split) // n)


@st.cache_resource(max_entries=CACHES["ui.compare.findings._test_split"].entries, show_spinner=False)
def _test_split(data: str) -> tuple[Split, tuple[str, ...]]:
    return dataset_access.test_split(data)


def answers() -> LruCache[Answer]:
    """Those of this session, by the keys of their questions."""
    limit = CACHES["ui.compare.findings.answers"]
    return st.session_state.setdefault("findings", LruCache(limit, lambda each: _bytes(each.result)))


def answer(question: Question, *names: str) -> Any:
    """What came of it, or None where it was not asked yet."""
    found = answers().find(question.key(*names))
    return found.result if found else None


def keep(question: Question, names: tuple[str, ...], result: Any) -> None:
    answers().put(question.key(*names), Answer(question, names, result))


def _bytes(result: Any) -> int:
    if isinstance(result, Grams):
        return result.matrices.nbytes
    if isinstance(result, tuple):  # pictures for a report
        return sum(pixels.nbytes for pixels in result[0].values())
    return result.probabilities.nbytes if isinstance(result, Predictions) else 20_000


def missing(question: Question, looked: Sequence[NetworkResult]) -> list[NetworkResult]:
    return [network for network in looked if answer(question, network.name) is None]


def ask(question: Question, looked: Sequence[NetworkResult]) -> TaskSteps[dict[str, Any]]:
    """Asks the networks that were not asked yet, one after the other, each kept when it is done.

    Yields (share, None) and ends with (1.0, the results by the names of the networks).
    """
    yield from _ask(question, missing(question, looked))
    yield 1.0, {network.name: answer(question, network.name) for network in looked}


def compare_inside(question: Question, a: NetworkResult, b: NetworkResult) -> TaskSteps[Similarity]:
    """How alike the layers of two networks are, for a "cka" question; each network's Grams are taken once."""
    of_each = replace(question, kind="grams")
    chosen = [a] if a.name == b.name else [a, b]
    known = {network.name: answer(of_each, network.name) for network in chosen}  # held here, though others come
    yield from _ask(of_each, [network for network in chosen if known[network.name] is None])
    found = [known[network.name] or answer(of_each, network.name) for network in chosen]
    result = similarity.cka(found[0], found[-1])
    keep(question, (a.name, b.name), result)
    yield 1.0, result


def _ask(question: Question, looked: Sequence[NetworkResult]) -> Iterator[tuple[float, None]]:
    if not looked:
        return
    yield 0.0, None  # so that the bar is there while the pictures are read
    about = pictures(question)
    costs = [max(1, describe(network.checkpoint.spec).macs) for network in looked]
    for index, network in enumerate(looked):
        for share, result in _work(question, network, about):
            if result is not None:
                keep(question, (network.name,), result)
            yield min(0.999, (sum(costs[:index]) + share * costs[index]) / sum(costs)), None


def _work(question: Question, network: NetworkResult, about: TestPictures) -> Iterator[tuple[float, Any]]:
    split, class_names = about.chosen, about.class_names
    if question.kind == "said":
        return agreement.predictions(network.checkpoint, split, class_names)
    if question.kind == "shares":
        return cam_metrics.object_shares(network.checkpoint, split, class_names, question.target)
    return similarity.layer_grams(network.checkpoint, split.images)


def seconds(question: Question, looked: Sequence[NetworkResult]) -> float:
    """About how long it takes to ask those that were not asked yet, from the speed of trainings on this machine.

    Measured with the shapes' 20-layer networks on one core: predicting a picture (a pass forward, and its pixels
    prepared) goes at about twice the speed of a training, explaining one (forward and back, one by one) at half of it.
    """
    if question.kind in ("cka", "grams"):
        of_each = replace(question, kind="grams")
        return sum(
            similarity.cost(network.checkpoint.spec, question.n).seconds(3.5 * forecasts.macs_a_second())
            for network in missing(of_each, looked)
        )
    macs = sum(question.n * describe(network.checkpoint.spec).macs for network in missing(question, looked))
    return macs / forecasts.macs_a_second() * (0.5 if question.kind == "said" else 2.0)


def most_pictures(looked: Sequence[NetworkResult]) -> int:
    """How many pictures fit into memory when the layers of these networks are compared."""
    return min(
        int(PASS_BYTES // max(1, similarity.cost(network.checkpoint.spec, 100).bytes // 100)) for network in looked
    )


def asked(kept: Mapping[str, Answer], kind: Kind, names: Collection[str]) -> dict[Question, list[Answer]]:
    """Every question of this kind that any of these networks was asked, with their answers; the first asked first."""
    found: dict[Question, list[Answer]] = {}
    for each in kept.values():
        if each.question.kind == kind and set(each.names) <= set(names):
            found.setdefault(each.question, []).append(each)
    return found


def dashes(looked: Sequence[NetworkResult]) -> dict[str, str]:
    """How the line of each network is drawn, so that those of one colour can be told apart."""
    colours = [network.colour for network in looked]
    return {
        network.name: figures.DASHES[colours[:index].count(network.colour) % len(figures.DASHES)]
        for index, network in enumerate(looked)
    }


def names_of(looked: Sequence[NetworkResult]) -> dict[str, str]:
    """What to call each network: its title, and more where two have the same."""
    return network_registry.unique_titles({network.name: network.title for network in looked})
