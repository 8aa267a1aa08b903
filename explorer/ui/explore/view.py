"""What Explore shows now: the view of the address, its picture, and its networks."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import streamlit as st

from explorer import torchvision_models
from explorer.checkpoints import CheckpointError
from explorer.datasets import shapes
from explorer.pretrained import CIFAR_DATA
from explorer.ui import network_registry
from explorer.ui.api.explain import SESSIONS, ExploreSession
from explorer.ui.explore import controls
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import ChosenNetwork, InputImage, NetworkResult, sample_image
from explorer.ui.session import find_image, inference_cache, session


@dataclass(frozen=True, eq=False)
class ExploreView:
    """`subject` is a drawn shape where the picture of the view is `missing`: uploaded in another session."""

    state: AppState
    subject: InputImage
    missing: bool
    networks: list[ChosenNetwork]

    @cached_property
    def results(self) -> list[NetworkResult]:
        """The networks after they have seen the picture. Only what the server draws needs this in a run: the viewer
        fetches its drawings."""
        return [inference_cache().run(network, self.state, self.subject) for network in self.networks]

    @property
    def picture(self) -> str:
        """That of the AppState, or of the shape that stands in."""
        return AppState.picture if self.missing else self.state.picture


def load_view() -> ExploreView:
    """That of the address. From now on the browser may ask for its networks."""
    state = controls.load_state()
    subject = find_image(state)
    networks = network_registry.chosen_networks(filter(None, (state.first, state.second)))
    explore_session().networks = {network.name: network for network in networks}
    view = ExploreView(state, subject or sample_image(6, 6), subject is None, networks)
    explore_session().run_ahead(state, view.subject, [network.name for network in networks])
    st.session_state["around"] = _around(view)
    return view


def load_view_in_fragment() -> ExploreView:
    """The same for the part of the page that runs alone after another picture was chosen. It runs the whole page
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
    beside = None if state.tab == "layer" else state.picture
    return [[network.name for network in view.networks], state.tab, beside, view.missing, other_networks(view)]


def other_networks(view: ExploreView) -> tuple[str, str, tuple[str, str | None]] | None:
    """Twins that might know this picture, where those of the page cannot: (why, words on the button, their names)."""
    about, drawn = view.networks[0].checkpoint, view.subject.mask is not None
    data, known, label = about.data, shapes.named(about.data), view.subject.label
    if known and label is not None and label not in about.class_names:
        why = f"These networks have never seen a {label}: they tell only {', '.join(about.class_names)} apart."
        words, names = "Look with the twins that know all shapes", (AppState.first, AppState.second)
    elif known and not drawn:
        why = "These networks have only ever seen drawn shapes, so what they say of a photo means little."
        words, names = "Look with the CIFAR-10 twins", network_registry.twins_for_dataset(CIFAR_DATA)
    elif data in (CIFAR_DATA, torchvision_models.DATA) and drawn:
        why = "These networks have only ever seen photographs, so what they say of a drawn shape means little."
        words, names = "Look with the shapes twins", (AppState.first, AppState.second)
    else:
        return None
    return (why, words, names) if names[0] in network_registry.network_names() else None


@st.cache_resource(show_spinner=False, scope="session")
def explore_session() -> ExploreSession:
    """What the browser of this session may ask for."""
    own = ExploreSession(inference_cache(), session().uploads)
    SESSIONS[own.token] = own
    return own
