"""The networks of the Compare page after a pass over one image, aligned by relative depth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from explorer.architectures.description import relative_depths
from explorer.attribution import LayerProfile, extent, profile, shared_tops
from explorer.figures import DASHES, Series
from explorer.images import to_pixels
from explorer.tracing import Trace
from explorer.ui import missing, network_registry, url_query
from explorer.ui.compare.state import FEWEST, CompareState
from explorer.ui.services.caches import CACHES
from explorer.ui.services.explore_state import Evidence, Scope
from explorer.ui.services.inference import ChosenNetwork, NetworkResult, trace_image
from explorer.ui.services.input_images import InputImage

COLUMNS = 12  # relative depths on the strip: as many thumbnails as a window of 1024 pixels has room for


# --- the state in the URL --------------------------------------------------------------------------------------------


def load_state() -> CompareState | None:
    """The state in the URL, with the networks that are available. Others stand in where fewer than two are. None where
    there are fewer than two networks at all."""
    state = CompareState.from_query(url_query.read())
    available = [name for name in state.networks if network_registry.is_network(name)]
    companions = [network_registry.substitute(name) for name in available]
    spare = [*filter(None, companions), *CompareState.networks, *network_registry.network_names()]
    names: list[str] = []
    for name in state.networks:
        if name in available:
            names.append(name)
        elif len({*available, *names}) < FEWEST:
            unused = (each for each in spare if each not in {*available, *names})
            names += list(filter(network_registry.is_network, unused))[:1]
    return replace(state, networks=tuple(names)) if len(names) >= FEWEST else None


def missing_networks() -> dict[str, str]:
    """The networks in the URL that are not available, as `missing.missing_networks` names them."""
    return missing.missing_networks(CompareState.from_query(url_query.read()).networks)


def update_state(**changes: Any) -> None:
    """Puts the state with these changes into the URL. Missing networks stay there until others are chosen: the user
    may bring them again."""
    state = load_state()
    if state is None:
        return
    if "networks" not in changes and missing_networks():
        state = replace(state, networks=CompareState.from_query(url_query.read()).networks)
    url_query.write(replace(state, **changes).to_query())


# --- the networks after their passes ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparedNetwork(NetworkResult):
    """One of the networks: `dash`, one of `figures.DASHES`, tells it from others of its colour. `depths` are the
    relative depths of the layers that the strip can show, in execution order."""

    dash: str
    depths: Mapping[str, float]

    @property
    def series(self) -> Series:
        return Series(self.title, self.colour, self.dash)

    @property
    def visible_fraction(self) -> float:
        """The side of the part of the image that the network sees, 0..1 of the image's shorter side."""
        shorter = self.checkpoint.resize_shorter_to
        return min(self.checkpoint.spec.input_shape[1:]) / shorter if shorter else 1.0

    @property
    def input_pixels(self) -> np.ndarray:
        """The part of the image that the network sees, at its size, uint8 (H, W, 3)."""
        return to_pixels(self.trace.image, self.checkpoint.mean, self.checkpoint.std)

    def nearest(self, depth: float) -> LayerProfile:
        """The layer whose relative depth is nearest to `depth`; of two equally near ones the later."""
        return self._nearest(self.profiles, depth)

    def nearest_scale(self, depth: float) -> LayerProfile:
        """The same of the finished network, whose colour scales every step of a training has."""
        return self._nearest(self.scaled_by, depth)

    def _nearest(self, columns: Sequence[LayerProfile], depth: float) -> LayerProfile:
        name = min(reversed(list(self.depths)), key=lambda layer: abs(self.depths[layer] - depth))
        return next(column for column in columns if column.name == name)


def compare(state: CompareState, networks: Sequence[ChosenNetwork], subject: InputImage) -> list[ComparedNetwork]:
    """The networks of the view, each after its pass. Raises ValueError where a map is not finite."""
    first = network_registry.class_names(state.networks[0])
    asked = first[state.target] if state.target is not None and state.target < len(first) else None
    results = []
    for network in networks:
        classes = network.checkpoint.class_names
        target = classes.index(asked) if asked in classes else None
        trace, profiles = _run_pass(f"{network.name}/{subject.digest}/{target}", network.name, subject, target)
        scale = None
        if network.step is not None:
            _, scale = _run_pass(f"{network.listed}/{subject.digest}/{target}", network.listed, subject, target)
        if not all(np.isfinite(column.signed_cam).all() for column in profiles):
            raise ValueError(
                f"the maps of {network.title} are too large for a number, so nothing can be compared with them; choose "
                "another network."
            )
        results.append(NetworkResult(**vars(network), trace=trace, profiles=profiles, scale=scale))
    return side_by_side(results)


def side_by_side(results: Sequence[NetworkResult]) -> list[ComparedNetwork]:
    """The networks with dashes that tell those of one colour apart."""
    compared = []
    for index, network in enumerate(results):
        dash = DASHES[sum(other.colour == network.colour for other in results[:index])]
        depths = relative_depths(network.checkpoint.spec, [column.name for column in network.profiles])
        compared.append(ComparedNetwork(**vars(network), dash=dash, depths=depths))
    return compared


@st.cache_resource(
    max_entries=CACHES["ui.compare.comparison._run_pass"].entries,
    show_spinner="Running the network",
    scope="session",
)
def _run_pass(
    key: str, _name: str, _subject: InputImage, _target: int | None
) -> tuple[Trace, tuple[LayerProfile, ...]]:
    """The pass without its layers, and the maps of each layer: the activations of four networks of 224 pixels would
    take a gigabyte, and this page does not show them."""
    whole = trace_image(network_registry.checkpoint(_name), _subject, _target)
    return replace(whole, layers=()), profile(whole)


def same_classes(compared: Sequence[ChosenNetwork]) -> bool:
    return len({network.checkpoint.class_names for network in compared}) == 1


def strip_depths(chosen: float) -> tuple[float, ...]:
    """The relative depths of the strip's columns, evenly from 0 to 1; the one nearest to `chosen` is moved there, so
    that the chosen column shows the same as the detail."""
    even = [column / (COLUMNS - 1) for column in range(COLUMNS)]
    nearest = min(range(COLUMNS), key=lambda column: abs(even[column] - chosen))
    return tuple(chosen if column == nearest else depth for column, depth in enumerate(even))


def cam_of(column: LayerProfile, evidence: Evidence) -> np.ndarray:
    """The layer's Grad-CAM, with or without what opposes the class."""
    return column.signed_cam if evidence == "signed" else column.cam


def column_tops(
    compared: Sequence[ComparedNetwork], depths: Sequence[float], scope: Scope, evidence: Evidence = "positive"
) -> list[list[float]]:
    """For each network the raw value that is drawn as the brightest colour in each column; of signed maps the absolute
    value.

    "layer": one column has one scale in all networks; "network": all layers of a network share one, also those that
    have no column; "both": all maps of all networks share one.
    """

    def top(column: LayerProfile) -> float:
        return extent(column.signed_cam) if evidence == "signed" else float(column.cam.max())

    if scope == "layer":
        columns = [
            {str(place): top(network.nearest_scale(depth)) for place, depth in enumerate(depths)}
            for network in compared
        ]
        return [list(tops.values()) for tops in shared_tops(columns, "layer")]
    layers = [
        {column.name: top(column) for column in network.scaled_by if column.name in network.depths}
        for network in compared
    ]
    return [[next(iter(tops.values()))] * len(depths) for tops in shared_tops(layers, scope)]
