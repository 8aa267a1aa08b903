"""The first tab of the layer's detail: overlays, numbers and feature maps of each network.

The browser draws them (`layers.js`) from what is packed here. Where it is little, every layer goes ahead of the click.
"""

import io
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.attribution import LayerProfile, channel_statistics, raw_arrays, share_on_object
from explorer.images import to_pixels
from explorer.tracing import LayerTrace
from explorer.ui import navigation
from explorer.ui.detail import selected_layer, take_view, view
from explorer.ui.packing import HERE, STORE, Packing
from explorer.ui.resources import Looked, Subject
from explorer.ui.state import AppState

MAP_SIDE = 56  # pixels of a large feature map among others of its layer; the chosen one comes whole
AHEAD = 1_500_000  # values of feature maps that are sent before anybody asks: megabytes, some ms on one machine

_component = st.components.v2.component(
    "layer_detail",
    html="<div class='layers'></div>",
    css=(HERE / "scale.css").read_text() + (HERE / "detail.css").read_text(),
    js=STORE + (HERE / "layers.js").read_text(),
)


def goes_ahead(looked: list[Looked]) -> bool:
    """Whether all layers are sent with the strip, so that another one is there before the server hears of it."""
    return sum(layer.activation.size for network in looked for layer in _spatial(network)) <= AHEAD


def layer_tab(subject: Subject, looked: list[Looked], drawing: str) -> None:
    """`drawing` is the key of the depth strip of the same networks and picture."""
    if goes_ahead(looked):
        _component(key="layers")
    else:
        _layer_alone(subject, looked, drawing)
    views: dict[str, dict[str, str]] = st.session_state["views"]
    with st.container(horizontal=True):
        for network in looked:
            _offer_numbers(network, looked, views)


@st.fragment
def _layer_alone(subject: Subject, looked: list[Looked], drawing: str) -> None:
    """Where the layers are too large to be sent all: the chosen one, whenever the browser asks for another."""
    with navigation.boundary():
        seen = view(looked, drawing)
        layer, channel = seen["view"]["layer"], seen["view"]["channel"]
        packing, header = _one_layer(f"{drawing}/{layer}/{channel}", subject, looked, layer, channel)
        _component(key="layers", data=packing.pack(header | seen), on_view_change=lambda: take_view("layers"))
        navigation.remember()


def _spatial(network: Looked) -> list[LayerTrace]:
    return [layer for layer in network.trace.layers if layer.is_spatial]


@st.cache_resource(max_entries=3, show_spinner=False, scope="session")
def _one_layer(
    key: str, _subject: Subject, _looked: list[Looked], _layer: str, _channel: int | None
) -> tuple[Packing, dict[str, Any]]:
    packing = Packing()
    return packing, inside(packing, _subject, _looked, _layer, _channel)


def inside(
    packing: Packing, subject: Subject, looked: list[Looked], only: str | None = None, channel: int | None = None
) -> dict[str, Any]:
    """What `layers.js` shows of every layer, or of that one alone."""
    networks = [
        {
            "title": network.title,
            "target": network.target,
            "picture": _picture(network, packing),
            "layers": {
                layer.name: _packed(network, subject, layer, packing, only is not None, channel)
                for layer in _spatial(network)
                if only in (None, layer.name)
            },
        }
        for network in looked
    ]
    return {"networks": networks}


def _picture(network: Looked, packing: Packing) -> list[int]:
    pixels = to_pixels(network.trace.image, network.checkpoint.mean, network.checkpoint.std)
    return [packing.add(pixels), *pixels.shape[:2]]


def _packed(
    network: Looked, subject: Subject, layer: LayerTrace, packing: Packing, alone: bool, channel: int | None
) -> dict[str, Any]:
    """The feature maps of a layer, four numbers of each, and the table's lines."""
    profile = profile_of(network, layer.name)
    channels = len(layer.activation)
    stats = channel_statistics(layer)
    small = figures.reduced(layer.activation, MAP_SIDE) if alone else layer.activation
    found = {
        "numbers": _numbers(network, subject, layer, profile, stats),
        "channels": channels,
        "reduced": small is not layer.activation,
        "maps": [packing.add(figures.signed_shares(small, profile.peak)), *small.shape[1:]],
        "stats": packing.add(stats),
    }
    if found["reduced"] and channel is not None and channel < channels:
        whole = layer.activation[channel]
        place = packing.add(figures.signed_shares(whole, profile.peak))
        found["chosen"] = {"channel": channel, "map": [place, *whole.shape]}
    return found


def profile_of(network: Looked, layer: str) -> LayerProfile:
    return next(column for column in network.profiles if column.name == layer)


def _numbers(
    network: Looked, subject: Subject, layer: LayerTrace, profile: LayerProfile, stats: np.ndarray
) -> list[tuple[str, str]]:
    """What was measured in this layer."""
    channels, height, width = profile.shape
    silent = int(((stats[:, 0] == 0) & (stats[:, 1] == 0)).sum())
    rows = [
        ("kind of layer; channels × height × width", f"{layer.kind}; {channels} × {height} × {width}"),
        ("size of the activation (root mean square)", f"{profile.activation_magnitude:.3g}"),
        ("size of the gradient of the score (root mean square)", f"{profile.gradient_magnitude:.3g}"),
        ("activation from … to …", f"{stats[:, 0].min():.3g} … {stats[:, 1].max():.3g}"),
        ("channels that are 0 everywhere", f"{silent} of {channels}"),
        ("largest Grad-CAM value", f"{profile.cam.max():.3g}"),
    ]
    # Of two networks with inputs of different size only one may have the size of the drawn object's mask.
    if subject.mask is not None and subject.mask.shape == network.trace.image.shape[1:]:
        share = share_on_object(profile.cam, subject.mask)
        words = f"Grad-CAM on the object, which covers {subject.mask.mean():.0%} of the picture"
        rows.append((words, "none there" if share is None else f"{share:.0%}"))
    return rows


def _offer_numbers(network: Looked, looked: list[Looked], views: dict[str, dict[str, str]]) -> None:
    """Of the layer that is chosen when somebody clicks, which this part of the page does not know yet."""
    st.download_button(
        f"Raw numbers of {network.title} (npz)",
        data=lambda: _npz(network, selected_layer(AppState.from_query(views.get("explore", {})), looked)),
        file_name=f"{network.name}-layer.npz",
        on_click="ignore",
        key=f"npz_{network.name}",
        help="Of the chosen layer, where the network has it: activation, gradient and Grad-CAM. Also image, saliency "
        "and logits, as arrays.",
    )


def _npz(network: Looked, layer: str) -> bytes:
    buffer = io.BytesIO()
    layers = [layer] if layer in network.trace.names else []
    arrays = raw_arrays(network.trace, layers) | {"class_names": np.array(network.checkpoint.class_names)}
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
