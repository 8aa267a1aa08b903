"""What Explore shows now: the view of the address, its picture, and its networks."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import streamlit as st

from explorer.checkpoints import CheckpointError
from explorer.ui import dataset_access, network_registry
from explorer.ui.explore import controls
from explorer.ui.services.explore_state import PASS_FIELDS, AppState
from explorer.ui.services.inference import ChosenNetwork, NetworkResult
from explorer.ui.services.input_images import InputImage, sample_image
from explorer.ui.services.offered_networks import Measurable, OfferedNetworks
from explorer.ui.session import explore_session, find_image, inference_cache


@dataclass(frozen=True, eq=False)
class ExploreView:
    """`subject` is a drawn shape where the picture of the view is `missing`: uploaded in another session."""

    state: AppState
    subject: InputImage
    missing: bool
    networks: list[ChosenNetwork]
    offered: OfferedNetworks

    @cached_property
    def seen(self) -> InputImage:
        """The picture as the attack of the view has made it."""
        return inference_cache().attacked(self.networks, self.state, self.subject)

    @cached_property
    def results(self) -> list[NetworkResult]:
        """The networks after they have seen the picture. Only what the server draws needs this in a run: the viewer
        fetches its drawings."""
        return [inference_cache().run(network, self.state, self.seen) for network in self.networks]

    def untouched(self) -> list[NetworkResult]:
        """The same without the interventions of the view."""
        state = replace(self.state, change="")
        return [inference_cache().run(network, state, self.seen) for network in self.networks]

    @property
    def picture(self) -> str:
        """That of the AppState, or of the shape that stands in."""
        return AppState.picture if self.missing else self.state.picture


def load_view() -> ExploreView:
    """That of the address. From now on the browser may ask for its networks."""
    state = controls.load_state()
    subject = find_image(state)
    names = list(filter(None, (state.first, state.second)))
    offered = network_registry.offered_networks([*network_registry.network_names(), *names])  # a link may name others
    networks = offered.beside(names, state.step)
    offered = replace(offered, measured={network.listed: _measurable(network) for network in networks})
    explore_session().offered = offered
    view = ExploreView(state, subject or sample_image(6, 6), subject is None, networks, offered)
    explore_session().run_ahead(state, view.subject, names)
    st.session_state["around"] = _around(view)
    return view


def _measurable(network: ChosenNetwork) -> Measurable:
    about = network.checkpoint
    owner = network_registry.owner_of(network.listed)
    pictures = dataset_access.labelled_pictures(about.spec, about.class_names, about.data)
    return Measurable(owner, partial(network_registry.digest, network.listed, owner), pictures)


def load_view_in_fragment() -> ExploreView:
    """The same for the part of the page that runs alone after a choice in the viewer. It runs the whole page
    instead where the rest would look different."""
    before = st.session_state["around"]
    try:
        view = load_view()
    except CheckpointError:
        st.rerun()
    if _around(view) != before:
        st.rerun()
    return view


def _around(view: ExploreView) -> list[Any]:
    """What the page around the viewer was drawn for."""
    state = view.state
    fields = () if state.tab == "layer" else ("first", "second", *PASS_FIELDS)
    classes = view.networks[0].checkpoint.class_names  # the bar above the page lists them
    return [state.tab, view.missing, classes, *(getattr(state, name) for name in fields)]
