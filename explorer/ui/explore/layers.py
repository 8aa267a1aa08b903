"""The first tab of the layer's detail: overlays, numbers and feature maps of each network.

The browser draws them (`layers.js`) from what is packed here. The chosen layer comes with the overview; the others when
the browser has time to ask for them, so that they are there before anybody clicks.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.attribution import LayerProfile, channel_statistics, raw_arrays, share_on_object
from explorer.images import to_pixels
from explorer.tracing import LayerTrace
from explorer.ui import navigation
from explorer.ui.explore.detail import SCALE, last_change, selected_layer, take_view, view
from explorer.ui.explore.explained import Explained, again, last
from explorer.ui.gallery import draw_ahead
from explorer.ui.markdown import as_text
from explorer.ui.packing import STORE, Packing
from explorer.ui.passes import Looked, Subject, at_its_size
from explorer.ui.session import session
from explorer.ui.state import AppState

MAP_SIDE = 56  # pixels of a large feature map among others of its layer; the chosen one comes whole
WHOLE = 1_500_000  # values of feature maps up to which none is reduced: megabytes, some ms on one machine
AHEAD = 8_000_000  # values that are sent before anybody chooses their layer

_HERE = Path(__file__).parent

_component = st.components.v2.component(
    "layer_detail",
    html="<div class='layers'></div>",
    css=SCALE + (_HERE / "detail.css").read_text(),
    js=STORE + (_HERE / "layers.js").read_text(),
)


def layer_tab(looked: list[Looked]) -> None:
    _layers_alone()
    views = session().views
    with st.container(horizontal=True):
        for network in looked:
            _offer_numbers(network.name, network.title, last(), views)


@st.fragment
def _layers_alone() -> None:
    """What the browser asks for: the layer that it lacks, or all of them while nobody does anything."""
    with navigation.boundary():
        explained = again()
        ahead = {"ahead": _values(explained.looked, _side(explained.looked)) <= AHEAD}
        data: bytes | dict[str, bool] = ahead
        asked = st.session_state.get("layers", {})
        every, one = (asked.get(name) is not None for name in ("ahead", "view"))
        if (every and ahead["ahead"]) or one:
            seen = view(explained, last_change())
            packing = Packing()
            only = seen["view"]["layer"] if one else None
            data = packing.pack(inside(packing, explained, only, seen["view"]["channel"]) | seen | ahead)
        _component(key="layers", data=data, on_view_change=lambda: take_view("layers"), on_ahead_change=lambda: None)
        navigation.remember()
        if every:
            draw_ahead(explained.state.sample)


def _side(looked: list[Looked]) -> int | None:
    """Pixels of a feature map, at most; None for as many as it has."""
    return None if _values(looked) <= WHOLE else MAP_SIDE


def _spatial(network: Looked) -> list[LayerTrace]:
    return [layer for layer in network.trace.layers if layer.is_spatial]


def _values(looked: list[Looked], side: int | None = None) -> int:
    """How many values all feature maps have, where none has more than `side` pixels."""
    layers = [layer for network in looked for layer in _spatial(network)]
    if side is None:
        return sum(layer.activation.size for layer in layers)
    return sum(len(layer.activation) * min(side, max(layer.activation.shape[1:])) ** 2 for layer in layers)


def inside(
    packing: Packing, explained: Explained, only: str | None = None, channel: int | None = None
) -> dict[str, Any]:
    """What `layers.js` shows of every layer, or of that one alone. Where maps are reduced, that of `channel` comes
    whole too."""
    side = _side(explained.looked)
    networks = [
        {
            "title": network.title,
            "target": network.target,
            "picture": _picture(network, packing),
            "layers": {
                layer.name: _packed(network, explained.subject, layer, packing, side, channel)
                for layer in _spatial(network)
                if only in (None, layer.name)
            },
        }
        for network in explained.looked
    ]
    return {"networks": networks, "every": only is None}


def _picture(network: Looked, packing: Packing) -> list[int]:
    pixels = to_pixels(network.trace.image, network.checkpoint.mean, network.checkpoint.std)
    return [packing.add(pixels), *pixels.shape[:2]]


def _packed(
    network: Looked, subject: Subject, layer: LayerTrace, packing: Packing, side: int | None, channel: int | None
) -> dict[str, Any]:
    """The feature maps of a layer, four numbers of each, and the table's lines."""
    profile = profile_of(network, layer.name)
    channels = len(layer.activation)
    stats = channel_statistics(layer)
    small = figures.reduced(layer.activation, side) if side else layer.activation
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
    _, mask = at_its_size(network.checkpoint, subject)
    if mask is not None and mask.shape == network.trace.image.shape[1:]:
        share = share_on_object(profile.cam, mask)
        words = f"Grad-CAM on the object, which covers {mask.mean():.0%} of the picture"
        rows.append((words, "none there" if share is None else f"{share:.0%}"))
    return rows


def _offer_numbers(name: str, title: str, last: dict[str, Explained], views: dict[str, dict[str, str]]) -> None:
    """Of the picture and the layer that are chosen when somebody clicks: this part of the page may be older."""
    navigation.offer_file(
        f"Raw numbers of {as_text(title)} (npz)",
        data=lambda: _npz(name, last["explained"], AppState.from_query(views.get("explore", {}))),
        file_name=f"{name}-layer.npz",
        key=f"npz_{name}",
        help="Of the chosen layer, where the network has it: activation, gradient and Grad-CAM. Also image, saliency "
        "and logits, as arrays.",
    )


def _npz(name: str, explained: Explained, state: AppState) -> bytes:
    network = next(network for network in explained.looked if network.name == name)
    layer = selected_layer(state, explained.looked)
    buffer = io.BytesIO()
    layers = [layer] if layer in network.trace.names else []
    arrays = raw_arrays(network.trace, layers) | {"class_names": np.array(network.checkpoint.class_names)}
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
