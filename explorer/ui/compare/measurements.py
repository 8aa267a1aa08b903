"""Measurements of networks on many test images in this session: each network is measured once for each request."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import streamlit as st

from explorer.architectures import describe
from explorer.datasets import Split, downloadable, shapes
from explorer.experiments import agreement, cam_metrics, similarity
from explorer.experiments.agreement import Predictions
from explorer.experiments.cam_metrics import Target
from explorer.experiments.similarity import Grams, Similarity
from explorer.figures import Chapter, Part
from explorer.ui import dataset_access, forecasts
from explorer.ui.compare.comparison import ComparedNetwork
from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.widgets.long_task import TaskSteps

PASS_BYTES = 1_500_000_000  # of activations while layers are compared: two users may do that at once

Kind = Literal["said", "grams", "cka", "shares", "pictures"]


@dataclass(frozen=True)
class Request:
    """A measurement of each network: `kind`, on `n` test images of `data`, taken evenly over the split.

    "said" gives its Predictions, "grams" its Grams, "shares" the ObjectShares of the cams of `target`; "cka" gives the
    Similarity of two networks. "pictures" are the images that a report shows, uint8 (H, W, 3) by index, and their
    numbers in the split.
    """

    kind: Kind
    data: str
    n: int
    target: Target = "label"

    def key(self, *names: str) -> str:
        """One string for this request and these networks."""
        return "/".join((self.kind, self.data, str(self.n), self.target, *names))

    @property
    def images(self) -> str:
        """The images, in words."""
        return f"test pictures of {dataset_access.data_title(self.data)}, taken evenly over the split"


@dataclass(frozen=True, eq=False)
class Measurement:
    """The result of a request for one network, or for the two of a "cka"."""

    request: Request
    names: tuple[str, ...]
    result: Any


@dataclass(frozen=True, eq=False)
class TestSample:
    """The images of a request: `indices` int64 (n,) into the test `split` of `title`, whose labels count
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

    def pixels(self, index: int) -> np.ndarray:
        """The image at that place of `indices`, uint8 (H, W, 3), a view of the split."""
        return self.split.images[self.indices[index]].transpose(1, 2, 0)


# --- the data --------------------------------------------------------------------------------------------------------


def shared_data(compared: Sequence[ComparedNetwork]) -> list[str]:
    """The labelled data on this machine that fits all these networks: same input, and the same classes by name.

    Raises ValueError where the files of the data are damaged.
    """
    first, *others = (network.checkpoint for network in compared)
    names = dataset_access.labelled_data(first.spec, first.class_names)
    for other in others:
        known = dataset_access.labelled_data(other.spec, other.class_names)
        names = [name for name in names if name in known]
    return [name for name in names if all(_has_classes(network, name) for network in compared)]


def _has_classes(network: ComparedNetwork, data: str) -> bool:
    try:
        agreement.class_order(network.checkpoint, dataset_access.class_names(data))
    except ValueError:
        return False
    return True


def default_datasets() -> list[str]:
    """All data on this machine, the last that this session trained on first: to compare layers needs no labels."""
    names = dict.fromkeys(
        [dataset_access.last_data(), "shapes-32", "shapes-16", "shapes-64", *downloadable.DOWNLOADABLE]
    )
    return [name for name in names if dataset_access.is_available(name)]


def test_count(data: str) -> int:
    """The number of test images; cheap for drawn shapes, and read once for the rest."""
    if drawn := shapes.named(data):
        return drawn.counts[2]
    return sum(test for _, _, test in dataset_access.summary(data).counts)


def sample(request: Request) -> TestSample:
    """Raises ValueError where the data's files are damaged."""
    split, class_names = _test_split(request.data)
    n = min(request.n, len(split))
    return TestSample(dataset_access.data_title(request.data), split, class_names, np.arange(n) * len(split) // n)


@st.cache_resource(max_entries=CACHES["ui.compare.measurements._test_split"].entries, show_spinner=False)
def _test_split(data: str) -> tuple[Split, tuple[str, ...]]:
    return dataset_access.test_split(data)


# --- the results of this session -------------------------------------------------------------------------------------


def store() -> LruCache[Measurement]:
    """The measurements of this session, by the keys of their requests."""
    limit = CACHES["ui.compare.measurements.store"]
    return st.session_state.setdefault("findings", LruCache(limit, lambda each: _bytes(each.result)))


def find_result(request: Request, *names: str) -> Any:
    """The result, or None where it was not measured yet."""
    found = store().find(request.key(*names))
    return found.result if found else None


def keep(request: Request, names: tuple[str, ...], result: Any) -> None:
    store().put(request.key(*names), Measurement(request, names, result))


def _bytes(result: Any) -> int:
    if isinstance(result, Grams):
        return result.matrices.nbytes
    if isinstance(result, tuple):  # images for a report
        return sum(pixels.nbytes for pixels in result[0].values())
    return result.probabilities.nbytes if isinstance(result, Predictions) else 20_000


def networks_to_measure(request: Request, compared: Sequence[ComparedNetwork]) -> list[ComparedNetwork]:
    return [network for network in compared if find_result(request, network.name) is None]


def by_request(
    kept: Mapping[str, Measurement], kind: Kind, compared: Sequence[ComparedNetwork]
) -> dict[Request, list[Measurement]]:
    """The measurements of this kind of these networks for each request, the oldest first."""
    names = {network.name for network in compared}
    found: dict[Request, list[Measurement]] = {}
    for each in kept.values():
        if each.request.kind == kind and names.issuperset(each.names):
            found.setdefault(each.request, []).append(each)
    return found


def chapters(
    kept: Mapping[str, Measurement],
    kind: Kind,
    compared: Sequence[ComparedNetwork],
    heading: str,
    parts: Callable[[Request, list[Measurement]], Sequence[Part]],
) -> list[Chapter]:
    """A chapter of a report for each request of this kind; several have the images and the class in their heading."""
    requests = by_request(kept, kind, compared)
    found = []
    for request, measured in requests.items():
        explained = f", {request.target} explained" if kind == "shares" else ""
        which = f": {request.n:,} pictures of {dataset_access.data_title(request.data)}{explained}"
        found.append(Chapter(f"{heading}{which if len(requests) > 1 else ''}", parts(request, measured)))
    return found


# --- measuring -------------------------------------------------------------------------------------------------------


def run(request: Request, compared: Sequence[ComparedNetwork]) -> TaskSteps[dict[str, Any]]:
    """Measures the networks that were not measured yet, one after the other; each result is kept at once.

    Yields (share, None) and ends with (1.0, the results by the names of the networks).
    """
    yield from _run(request, networks_to_measure(request, compared))
    yield 1.0, {network.name: find_result(request, network.name) for network in compared}


def compare_layers(request: Request, a: ComparedNetwork, b: ComparedNetwork) -> TaskSteps[Similarity]:
    """The similarity of the layers of two networks, for a "cka" request; each network's Grams are taken once."""
    of_each = replace(request, kind="grams")
    chosen = [a] if a.name == b.name else [a, b]
    known = {network.name: find_result(of_each, network.name) for network in chosen}  # held here, though others come
    yield from _run(of_each, [network for network in chosen if known[network.name] is None])
    grams = [known[network.name] or find_result(of_each, network.name) for network in chosen]
    result = similarity.cka(grams[0], grams[-1])
    keep(request, (a.name, b.name), result)
    yield 1.0, result


def _run(request: Request, compared: Sequence[ComparedNetwork]) -> Iterator[tuple[float, None]]:
    if not compared:
        return
    yield 0.0, None  # so that the bar is there while the images are read
    images = sample(request)
    costs = [max(1, describe(network.checkpoint.spec).macs) for network in compared]
    for index, network in enumerate(compared):
        for share, result in _steps(request, network, images):
            if result is not None:
                keep(request, (network.name,), result)
            yield min(0.999, (sum(costs[:index]) + share * costs[index]) / sum(costs)), None


def _steps(request: Request, network: ComparedNetwork, images: TestSample) -> Iterator[tuple[float, Any]]:
    split, class_names = images.chosen, images.class_names
    if request.kind == "said":
        return agreement.predictions(network.checkpoint, split, class_names)
    if request.kind == "shares":
        return cam_metrics.object_shares(network.checkpoint, split, class_names, request.target)
    return similarity.layer_grams(network.checkpoint, split.images)


def seconds(request: Request, compared: Sequence[ComparedNetwork]) -> float:
    """About how long it takes to measure those that were not measured yet, from the speed of trainings here.

    A prediction goes at about twice the speed of a training, a Grad-CAM (forward and back, one by one) at half of it.
    """
    if request.kind in ("cka", "grams"):
        of_each = replace(request, kind="grams")
        return sum(
            similarity.cost(network.checkpoint.spec, request.n).seconds(3.5 * forecasts.macs_a_second())
            for network in networks_to_measure(of_each, compared)
        )
    macs = sum(request.n * describe(network.checkpoint.spec).macs for network in networks_to_measure(request, compared))
    return macs / forecasts.macs_a_second() * (0.5 if request.kind == "said" else 2.0)


def max_images(compared: Sequence[ComparedNetwork]) -> int:
    """How many images fit into memory when the layers of these networks are compared."""
    return min(
        int(PASS_BYTES // max(1, similarity.cost(network.checkpoint.spec, 100).bytes // 100)) for network in compared
    )
