"""Measurements of networks on many test images: each network is measured once for each request.

Results of public networks and data are stored for all sessions, those of a user's own trainings for that user. Results
of uploaded networks or images stay in their session.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import streamlit as st

from explorer import stored_results
from explorer.architectures import describe
from explorer.datasets import shapes
from explorer.experiments import measurement, similarity
from explorer.experiments.agreement import Predictions
from explorer.experiments.cam_metrics import Target
from explorer.experiments.measurement import MOST, RESULTS
from explorer.experiments.similarity import Grams, Similarity
from explorer.figures import Chapter, Part
from explorer.ui import dataset_access, forecasts, measured_images, network_registry
from explorer.ui.compare.state import CompareState
from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.services.inference import ChosenNetwork
from explorer.ui.widgets.long_task import TaskSteps

PASS_BYTES = 1_500_000_000  # of activations while layers are compared: two users may do that at once
_LAYER_MACS = {"grams": 0.8e6, "shares": 2.1e6}  # of each layer and image
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


# --- the choice of images ------------------------------------------------------------------------------------------


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


def data_options(compared: Sequence[ChosenNetwork], shared: Sequence[str]) -> dict[str, bool]:
    """The data to choose from, and whether all the networks know its classes, as they know those of the `shared`: first
    what they were trained on."""
    own = dataset_access.data_key(compared[0].checkpoint.data)
    here = sorted(shared, key=lambda data: data != own)
    labelled = dict.fromkeys([*_elsewhere(compared), *here], True)
    if any(measured_images.data_is_here(data) for data in labelled):
        return labelled
    return labelled | dict.fromkeys(measured_images.default_datasets(), False)


def choose(state: CompareState, compared: Sequence[ChosenNetwork], options: Mapping[str, bool]) -> Choice:
    """The images of the view. By default all of them where these results are stored, else `USUAL`. Raises ValueError
    where the files of the data are damaged."""
    data = state.data if state.data in options else next(iter(options))
    total = measured_images.test_count(data)
    choice = Choice(
        data, total, total, options[data], shapes.named(data) is not None, measured_images.data_is_here(data)
    )
    n = state.n if state.n in choice.counts else None
    if n is None and networks_to_measure(Request("said", data, total), compared):
        n = min(USUAL, total)
    return replace(choice, n=n or total)


def _elsewhere(compared: Sequence[ChosenNetwork]) -> list[str]:
    """The data that the first network was trained on, where it is on no machine of a user: results on it are shipped
    for all these networks."""
    data = compared[0].checkpoint.data
    if measured_images.data_is_here(data):
        return []
    request = Request("said", data, measured_images.test_count(data))
    return [] if networks_to_measure(request, compared) else [data]


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
    """The key of the stored result, None where it may not be stored."""
    kind = request.kind
    if kind in ("grams", "pictures") or request.data.startswith("stored-"):
        return None
    owned = network_registry.digests_of_owner(names)
    if owned is None:
        return None
    owner, digests = owned
    content = measured_images.content(request.data)
    return measurement.result_key(kind, digests, content, request.n, request.target, owner)


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
    images = measured_images.sample(request.data, request.n)
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
    Each layer adds its maps or its Gram, as long as the multiply-accumulates of `_LAYER_MACS` (tried with 8 to 56
    layers: within a factor of two).
    """
    speed = forecasts.macs_a_second()
    if request.kind in ("cka", "grams"):
        request = replace(request, kind="grams")
        compared = compared[:2]
    total = 0.0
    for network in networks_to_measure(request, compared):
        described = describe(network.checkpoint.spec)
        layers = sum(layer.kind in similarity.KINDS for layer in described.layers)
        if request.kind == "grams":
            total += similarity.cost(network.checkpoint.spec, request.n).seconds(3.5 * speed)
        else:
            total += request.n * described.macs * (0.5 if request.kind == "said" else 2.0) / speed
        total += request.n * layers * _LAYER_MACS.get(request.kind, 0.0) / speed
    return total


def max_images(compared: Sequence[ChosenNetwork]) -> int:
    """How many images fit into memory when the layers of these networks are compared."""
    return min(
        int(PASS_BYTES // max(1, similarity.cost(network.checkpoint.spec, 100).bytes // 100)) for network in compared
    )
