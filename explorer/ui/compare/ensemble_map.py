"""The Grad-CAM of an ensemble: of the mean probability, with each network's part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.experiments import ensembles
from explorer.figures import ColourScale
from explorer.labels import listed
from explorer.ui import network_registry
from explorer.ui.charts import colour_bar
from explorer.ui.compare import aligned_strip, controls
from explorer.ui.compare.comparison import ComparedNetwork
from explorer.ui.compare.state import CompareState
from explorer.ui.markdown import as_code, as_text
from explorer.ui.services.caches import CACHES
from explorer.ui.services.inference import trace_image
from explorer.ui.services.input_images import InputImage


@dataclass(frozen=True, eq=False)
class EnsembleMap:
    """The ensemble's Grad-CAM of the mean probability of one class, float32 (H, W), ≥ 0; `parts` are those of the
    networks, signed, at `layers`, each with its weight in it."""

    class_name: str
    weights: tuple[float, ...]
    layers: tuple[str, ...]
    parts: tuple[np.ndarray, ...]
    cam: np.ndarray

    def arrays(self) -> dict[str, Any]:
        """For a file, by name; a number stands for the place of a network."""
        parts = {f"ensemble/{place}/part": part for place, part in enumerate(self.parts)}
        about = {"class": self.class_name, "weights": self.weights, "layers": self.layers, "cam": self.cam}
        return {f"ensemble/{name}": value for name, value in about.items()} | parts


def show(
    state: CompareState, compared: Sequence[ComparedNetwork], subject: InputImage, weights: Sequence[float]
) -> EnsembleMap | None:
    st.markdown("**Where the ensemble looks**")
    lacking = [network.title for network in compared if not network.depths]
    if lacking:
        st.info(f"{as_text(listed(lacking))} has no feature maps, so the ensemble has no Grad-CAM.")
        return None
    if state.frame is None and len({network.visible_fraction for network in compared}) > 1:
        st.info("The networks crop the image differently, so their maps do not lie on each other.")
        return None
    names = compared[0].checkpoint.class_names
    mean = sum(weight * _by_name(network, names) for weight, network in zip(weights, compared, strict=True))
    assert isinstance(mean, np.ndarray)
    is_asked = state.target is not None and state.target < len(names)
    target = state.target if is_asked and state.target is not None else int(mean.argmax())
    layers = [network.nearest(state.depth).name for network in compared]
    parts = []
    for network, layer, weight in zip(compared, layers, weights, strict=True):
        own = _own_classes(network, names).index(names[target])
        parts.append(
            np.float32(weight)
            * _part(f"{network.name}/{subject.digest}/{own}/{layer}", network.name, subject, own, layer)
        )
    largest = max(compared, key=lambda network: network.checkpoint.spec.input_shape[1])
    height, width = largest.checkpoint.spec.input_shape[1:]
    cam = ensembles.ensemble_cam(parts, (height, width))
    st.markdown(
        as_text(
            f"Grad-CAM of the mean probability of {names[target]}, {float(mean[target]):.1%} here, at relative depth "
            f"{state.depth:.2f}. Each network's part has its weight in it; red supports the class, blue speaks against "
            "it. The ensemble's map is the sum of the parts where it is above 0. A network that is nearly certain of "
            "its class has a small part, since its probability hardly changes."
        )
    )
    top, reach = float(cam.max()), max(float(np.abs(part).max()) for part in parts)
    side = aligned_strip.SIDE
    with st.container(horizontal=True, gap="medium"):
        with st.container(width=side + 16):
            st.image(aligned_strip.overlay(largest, cam, top, state.grid), output_format="PNG", alt="Ensemble")
            empty = " It is 0 everywhere: nothing supports this class." if top == 0 else ""
            st.markdown("**Ensemble**")
            st.caption(f"Colours from 0 to {top:.3g}.{empty}")
        for network, layer, part, weight in zip(compared, layers, parts, weights, strict=True):
            with st.container(width=side + 16):
                values = aligned_strip.at_size(part, state.grid, (side, side))
                alt = f"The part of {network.title}, {layer}"
                st.image(ColourScale.signed(reach).paint(values), output_format="PNG", alt=alt)
                st.markdown(f"**{as_text(network.title)}**  \n{as_code(layer)}")
                st.caption(f"Weight {weight:.3f}; from {float(part.min()):.3g} to {float(part.max()):.3g}.")
    colour_bar(figures.SEQUENTIAL, f"Ensemble: 0 to {top:.3g}")
    colour_bar(figures.DIVERGING, f"Parts of the networks: ±{reach:.3g}")
    controls.choose_depth(state)
    return EnsembleMap(names[target], tuple(weights), tuple(layers), tuple(parts), cam)


def _own_classes(network: ComparedNetwork, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the network's outputs; of one that does not name them those of the first network, in order."""
    own = network.checkpoint.class_names
    return own if set(own) == set(names) else tuple(names)


def _by_name(network: ComparedNetwork, names: Sequence[str]) -> np.ndarray:
    own = _own_classes(network, names)
    order = range(len(own)) if own == tuple(names) else [own.index(name) for name in names]
    return np.asarray(network.trace.probabilities)[list(order)]


@st.cache_resource(
    max_entries=CACHES["ui.compare.ensemble_map._part"].entries, show_spinner="Running the network", scope="session"
)
def _part(key: str, _name: str, _subject: InputImage, _target: int, _layer: str) -> np.ndarray:
    """A member's part of the CAM at weight 1, float32 (H, W)."""
    traced = trace_image(network_registry.checkpoint(_name), _subject, _target, score="probability")
    return ensembles.member_cam(traced, _layer, 1.0)
