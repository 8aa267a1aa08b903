"""Measurements of networks on many test images: each network is measured once for each request.

Results of public networks and data are stored for all sessions, those of a user's own trainings for that user. Results
of uploaded networks or images stay in their session.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import streamlit as st

from explorer import checkpoints, stored_results
from explorer.architectures import describe
from explorer.datasets import Split, downloadable, shapes
from explorer.experiments import agreement, measurement, similarity
from explorer.experiments.agreement import Predictions
from explorer.experiments.cam_metrics import Target
from explorer.experiments.measurement import MOST, RESULTS, DataFacts
from explorer.experiments.similarity import Grams, Similarity
from explorer.figures import Chapter, Part
from explorer.ui import client, dataset_access, forecasts, network_registry, user_models
from explorer.ui.compare.state import CompareState
from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.services.inference import ChosenNetwork
from explorer.ui.widgets.long_task import TaskSteps

PASS_BYTES = 1_500_000_000  # of activations while layers are compared: two users may do that at once
COUNTS = (50, 200, 500, 1000, 5000)  # of images to choose from, with all of them
USUAL = 1000  # images, where the results on all are not stored

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
        return f"test images of {dataset_access.data_title(self.data)}, taken evenly over the split"


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

    def pixels(self, index: int) -> np.ndarray:
        """The image at that place of `indices`, uint8 (H, W, 3), a view of the split."""
        return self.split.images[self.indices[index]].transpose(1, 2, 0)


# --- the data --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """The test images of all measurements: `n` of the `total` of `data`. `is_labelled` says whether all the networks
    know its classes, `is_drawn` whether each object is known too, `is_here` whether the images are on this machine."""

    data: str
    n: int
    total: int
    is_labelled: bool
    is_drawn: bool
    is_here: bool

    @property
    def counts(self) -> list[int]:
        """The numbers of images to choose from. Of images that are elsewhere there are results on all."""
        return [*(count for count in COUNTS if self.is_here and count < self.total), self.total]

    def requests(self, compared: Sequence[ChosenNetwork], explained: Target) -> dict[str, Request]:
        """What can be measured on these images by its kind; layers only where their outputs fit into memory."""
        found = {}
        if self.is_labelled:
            found["said"] = Request("said", self.data, self.n)
        layers = min(self.n, MOST["cka"], max_images(compared))
        if layers >= similarity.MINIMUM:
            found["cka"] = Request("cka", self.data, layers)
        if self.is_drawn and self.is_labelled:
            found["shares"] = Request("shares", self.data, min(self.n, MOST["shares"]), explained)
        return found


def data_options(compared: Sequence[ChosenNetwork]) -> dict[str, bool]:
    """The data to choose from, and whether all the networks know its classes: first what they were trained on.

    Raises ValueError where the files of the data are damaged.
    """
    own = dataset_access.data_key(compared[0].checkpoint.data)
    here = sorted(shared_data(compared), key=lambda data: data != own)
    labelled = dict.fromkeys([*_elsewhere(compared), *here], True)
    if any(data_is_here(data) for data in labelled):
        return labelled
    return labelled | dict.fromkeys(default_datasets(), False)


def choose(state: CompareState, compared: Sequence[ChosenNetwork]) -> tuple[Choice, dict[str, bool]]:
    """The images of the view, and the options. By default all of them where these results are stored, else `USUAL`.

    Raises ValueError as `data_options`.
    """
    options = data_options(compared)
    data = state.data if state.data in options else next(iter(options))
    total = test_count(data)
    choice = Choice(data, total, total, options[data], shapes.named(data) is not None, data_is_here(data))
    n = state.n if state.n in choice.counts else None
    if n is None and networks_to_measure(Request("said", data, total), compared):
        n = min(USUAL, total)
    return replace(choice, n=n or total), options


def shared_data(compared: Sequence[ChosenNetwork]) -> list[str]:
    """The labelled data on this machine that fits all these networks: same input, and the same classes by name.

    Raises ValueError where the files of the data are damaged.
    """
    first, *others = (network.checkpoint for network in compared)
    names = dataset_access.labelled_data(first.spec, first.class_names)
    for other in others:
        known = dataset_access.labelled_data(other.spec, other.class_names)
        names = [name for name in names if name in known]
    return [name for name in names if all(_has_classes(network, name) for network in compared)]


def _has_classes(network: ChosenNetwork, data: str) -> bool:
    try:
        agreement.class_order(network.checkpoint, dataset_access.class_names(data))
    except ValueError:
        return False
    return True


def _elsewhere(compared: Sequence[ChosenNetwork]) -> list[str]:
    """The data that the first network was trained on, where it is on no machine of a user: results on it are shipped
    for all these networks."""
    data = compared[0].checkpoint.data
    if data_is_here(data):
        return []
    request = Request("said", data, test_count(data))
    return [] if networks_to_measure(request, compared) else [data]


def data_is_here(data: str) -> bool:
    return _facts(data) is None


def _facts(data: str) -> DataFacts | None:
    """The facts of data that only shipped results know."""
    is_known = shapes.named(data) or data in downloadable.DOWNLOADABLE or data.startswith("stored-")
    return None if is_known else measurement.facts_of(data)


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
    if facts := _facts(data):
        return facts.n
    return sum(test for _, _, test in dataset_access.summary(data).counts)


def indices(request: Request) -> np.ndarray:
    """The images of the request, int64 numbers in the test split."""
    return measurement.evenly(test_count(request.data), request.n)


def sample(request: Request) -> TestSample:
    """Raises ValueError where the data's files are damaged."""
    split, class_names, _ = _test_split(request.data)
    title = dataset_access.data_title(request.data)
    return TestSample(title, split, class_names, measurement.evenly(len(split), request.n))


@st.cache_resource(max_entries=CACHES["ui.compare.measurements._test_split"].entries, show_spinner=False)
def _test_split(data: str) -> tuple[Split, tuple[str, ...], str]:
    """The split, its classes, and the digest of both."""
    split, class_names = dataset_access.test_split(data)
    return split, class_names, measurement.content_of(split, class_names)


# --- the results -------------------------------------------------------------------------------------


def store() -> LruCache[Measurement]:
    """The measurements of this session, by the keys of their requests."""
    limit = CACHES["ui.compare.measurements.store"]
    return st.session_state.setdefault("findings", LruCache(limit, lambda each: _bytes(each.result)))


def find_result(request: Request, *names: str) -> Any:
    """The result of this session, or a stored or shipped one; None where it was not measured yet."""
    if found := store().find(request.key(*names)):
        return found.result
    if (key := _stored_key(request, names)) is None:
        return None
    result = stored_results.unpack(RESULTS[request.kind], stored_results.load(key))
    if result is not None:
        store().put(request.key(*names), Measurement(request, names, result))
    return result


def keep(request: Request, names: tuple[str, ...], result: Any) -> None:
    store().put(request.key(*names), Measurement(request, names, result))
    if key := _stored_key(request, names):
        stored_results.store(key, stored_results.pack(result))


def _stored_key(request: Request, names: Sequence[str]) -> str | None:
    """The key of the stored result, None where it may not be stored. Shipped and published networks are everybody's.
    Of networks that a run trained the key holds the secret of the user, so nobody else finds the result."""
    kind = request.kind
    if kind in ("grams", "pictures") or request.data.startswith("stored-"):
        return None
    is_public = [
        name in network_registry.shipped_networks() or network_registry.torchvision_key(name) for name in names
    ]
    if not all(one or user_models.RUN_NETWORK_ID.fullmatch(name) for one, name in zip(is_public, names, strict=True)):
        return None
    owner = "" if all(is_public) else client.owner()
    digests = [_digest(name) for name in names]
    return measurement.result_key(kind, digests, _content(request.data), request.n, request.target, owner)


@st.cache_resource(max_entries=CACHES["ui.compare.measurements._digest"].entries, show_spinner=False)
def _digest(name: str) -> str:
    """A file of a run, of the app or of torchvision never changes under its name."""
    return checkpoints.digest(network_registry.checkpoint(name))


def _content(data: str) -> str:
    """What identifies the test images: the drawing is frozen under its name (`tests/test_shapes.py`)."""
    if drawn := shapes.named(data):
        return drawn.name
    facts = _facts(data)
    return facts.content if facts else _test_split(data)[2]


def _bytes(result: Any) -> int:
    if isinstance(result, Grams):
        return result.matrices.nbytes
    if isinstance(result, tuple):  # images for a report
        return sum(pixels.nbytes for pixels in result[0].values())
    return result.probabilities.nbytes if isinstance(result, Predictions) else 20_000


def networks_to_measure(request: Request, compared: Sequence[ChosenNetwork]) -> list[ChosenNetwork]:
    return [network for network in compared if find_result(request, network.name) is None]


def known(request: Request, compared: Sequence[ChosenNetwork]) -> dict[str, Any]:
    """The results by network, of those that were measured."""
    found = {network.name: find_result(request, network.name) for network in compared}
    return {name: result for name, result in found.items() if result is not None}


def is_measured(request: Request, compared: Sequence[ChosenNetwork]) -> bool:
    """Whether its result is known for all networks; of a "cka" for the first two."""
    if request.kind == "cka":
        return find_result(request, *(network.name for network in compared[:2])) is not None
    return not networks_to_measure(request, compared)


def by_request(
    kept: Mapping[str, Measurement], kind: Kind, compared: Sequence[ChosenNetwork]
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
    compared: Sequence[ChosenNetwork],
    heading: str,
    parts: Callable[[Request, list[Measurement]], Sequence[Part]],
) -> list[Chapter]:
    """A chapter of a report for each request of this kind; several have the images and the class in their heading."""
    requests = by_request(kept, kind, compared)
    found = []
    for request, measured in requests.items():
        explained = f", {request.target} explained" if kind == "shares" else ""
        which = f": {request.n:,} images of {dataset_access.data_title(request.data)}{explained}"
        found.append(Chapter(f"{heading}{which if len(requests) > 1 else ''}", parts(request, measured)))
    return found


# --- measuring -------------------------------------------------------------------------------------------------------


def run(request: Request, compared: Sequence[ChosenNetwork]) -> TaskSteps[dict[str, Any]]:
    """Measures the networks that were not measured yet, one after the other; each result is kept at once.

    Yields (share, None) and ends with (1.0, the results by the names of the networks).
    """
    yield from _run(request, networks_to_measure(request, compared))
    yield 1.0, {network.name: find_result(request, network.name) for network in compared}


def work(request: Request, compared: Sequence[ChosenNetwork]) -> TaskSteps[Any]:
    """Measures what is missing for that request; of a "cka" for the first two networks."""
    return compare_layers(request, *compared[:2]) if request.kind == "cka" else run(request, compared)


def compare_layers(request: Request, a: ChosenNetwork, b: ChosenNetwork) -> TaskSteps[Similarity]:
    """The similarity of the layers of two networks, for a "cka" request; each network's Grams are taken once."""
    of_each = replace(request, kind="grams")
    chosen = [a] if a.name == b.name else [a, b]
    known = {network.name: find_result(of_each, network.name) for network in chosen}  # held here, though others come
    yield from _run(of_each, [network for network in chosen if known[network.name] is None])
    grams = [known[network.name] or find_result(of_each, network.name) for network in chosen]
    result = similarity.cka(grams[0], grams[-1])
    keep(request, (a.name, b.name), result)
    yield 1.0, result


def _run(request: Request, compared: Sequence[ChosenNetwork]) -> Iterator[tuple[float, None]]:
    if not compared:
        return
    yield 0.0, None  # so that the bar is there while the images are read
    images = sample(request)
    split = measurement.rows(images.split, images.indices)
    costs = [max(1, describe(network.checkpoint.spec).macs) for network in compared]
    for index, network in enumerate(compared):
        steps = measurement.steps(request.kind, network.checkpoint, split, images.class_names, request.target)
        for share, result in steps:
            if result is not None:
                keep(request, (network.name,), result)
            yield min(0.999, (sum(costs[:index]) + share * costs[index]) / sum(costs)), None


def seconds(request: Request, compared: Sequence[ChosenNetwork]) -> float:
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


def max_images(compared: Sequence[ChosenNetwork]) -> int:
    """How many images fit into memory when the layers of these networks are compared."""
    return min(
        int(PASS_BYTES // max(1, similarity.cost(network.checkpoint.spec, 100).bytes // 100)) for network in compared
    )
