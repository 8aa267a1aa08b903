"""The detail of one layer: its tabs, and the first of them: overlays, numbers and feature maps of each network."""

import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.attribution import (
    LayerProfile,
    channel_weights,
    heatmap,
    magnitude,
    raw_arrays,
    share_on_object,
    silent_channels,
)
from explorer.figures import ColourScale
from explorer.images import to_pixels
from explorer.tracing import LayerTrace
from explorer.ui import controls
from explorer.ui.grid import picture_grid
from explorer.ui.markdown import as_text
from explorer.ui.resources import Looked, Subject
from explorer.ui.state import AppState, Tab
from explorer.ui.strip import StripRow, axis_of, cam_tops, map_tops

MAPS_A_PAGE = 64
MAP_COLUMNS = 8
MAP_SIDE = 44
OVERLAY_SIDE = 320
TABS: Mapping[Tab, str] = {
    "layer": "Layer",
    "block": "Block",
    "methods": "More methods",
    "channels": "Channels",
    "trust": "Can I trust this map?",
}


def rows_of(looked: list[Looked]) -> list[StripRow]:
    return [StripRow(network.title, network.colour, network.dashed, network.profiles) for network in looked]


def selected_layer(state: AppState, looked: list[Looked]) -> str:
    """The layer of the state where a network has it, else the last block: the deepest layer with feature maps."""
    axis = axis_of(rows_of(looked))
    if state.layer in axis:
        return state.layer
    if not axis:
        raise ValueError("no layer of these networks has maps of at least two pixels, so there is no depth to show.")
    blocks = [column.name for column in looked[0].profiles if column.kind == "block"]
    return blocks[-1] if blocks else axis[-1]


@cache
def _bar(palette: str) -> bytes:
    """The bar as a PNG file: it is the same at every rerun."""
    return figures.png(figures.colour_bar(palette))


def colour_bar(palette: str, words: str) -> None:
    with st.container(width="content"):
        st.image(_bar(palette), output_format="PNG", alt=f"Colour scale. {words}")
        st.caption(words)


def detail_head(state: AppState, looked: list[Looked]) -> None:
    """The name of the layer, and what all tabs share: which layer, and how opaque an overlay is."""
    selected = selected_layer(state, looked)
    st.subheader(f"Layer {selected}", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state["layer"] = selected
        st.selectbox(
            "Layer",
            list(axis_of(rows_of(looked))),
            key="layer",
            on_change=lambda: controls.change(layer=st.session_state["layer"], channel=None),
            width=260,
        )
        st.session_state["opacity"] = state.opacity
        st.slider(
            "Opacity of the overlay, %",
            0,
            100,
            key="opacity",
            on_change=lambda: controls.change(opacity=st.session_state["opacity"]),
            width=300,
        )


def open_tab(state: AppState) -> tuple[Tab, Any]:
    """The tab that is open, and the place for its content; the others stay empty and cost nothing."""
    st.session_state["tab"] = TABS[state.tab]
    titles = {title: tab for tab, title in TABS.items()}
    places = st.tabs(list(titles), key="tab", on_change=lambda: _open(titles[st.session_state["tab"]]))
    return next((tab, place) for tab, place in zip(TABS, places, strict=True) if place.open)


def _open(tab: Tab) -> None:
    controls.change(tab=tab)
    st.rerun()  # of the whole page: what the other tabs compute can be stopped, and must not run in a fragment


def layer_tab(state: AppState, subject: Subject, looked: list[Looked]) -> None:
    selected = selected_layer(state, looked)
    cams, maps = cam_tops(rows_of(looked), state.scope), map_tops(rows_of(looked), state.scope)
    there = [network for network in looked if selected in network.trace.names]
    for column, network, cam in zip(st.columns(len(looked), gap="large"), looked, cams, strict=True):
        with column:
            st.markdown(f"**{network.title}**, explaining *{as_text(network.target)}*")
            if network in there:
                _cam_detail(state, network, network.trace[selected], cam[selected])
            else:
                st.info(f"{network.title} has no layer {selected}; choose one that both networks have.")
    _numbers(subject, there, selected)
    for column, network, top in zip(st.columns(len(looked), gap="large"), looked, maps, strict=True):
        with column:
            if network in there:
                _maps_detail(state, network, network.trace[selected], top[selected])


def _cam_detail(state: AppState, network: Looked, layer: LayerTrace, top: float) -> None:
    profile = profile_of(network, layer.name)
    seen = to_pixels(network.trace.image, network.checkpoint.mean, network.checkpoint.std)
    large = figures.nearest(seen, OVERLAY_SIDE)
    heat = heatmap(profile.cam, large.shape[:2], top)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=OVERLAY_SIDE):
            st.image(
                figures.overlay(large, heat, state.opacity / 100),
                output_format="PNG",
                alt=f"Grad-CAM of {layer.name} over the picture",
            )
        with st.container(width=175):
            if profile.zero_reason:
                st.info(f"The Grad-CAM is zero everywhere. {profile.zero_reason}")
            colour_bar(figures.SEQUENTIAL, f"Grad-CAM, 0 to {top:.3g}")
            st.download_button(
                "Raw numbers (npz)",
                data=lambda: _npz(network, layer),
                file_name=f"{network.name}-{layer.name}.npz",
                on_click="ignore",
                key=f"npz_{network.name}",
                help="Activation, gradient, Grad-CAM, image, saliency and logits as arrays.",
            )


def profile_of(network: Looked, layer: str) -> LayerProfile:
    return next(column for column in network.profiles if column.name == layer)


def _numbers(subject: Subject, looked: list[Looked], layer: str) -> None:
    """One table of what was measured in this layer, a column for each network."""
    measured = [_statistics(network, subject, layer) for network in looked]
    lines = ["| |" + "".join(f" {network.title} |" for network in looked), "|---|" + "---:|" * len(looked)]
    # Of two networks with inputs of different size only one may have the size of the drawn object's mask.
    for name in dict.fromkeys(name for numbers in measured for name in numbers):
        lines.append(f"| {name} |" + "".join(f" {numbers.get(name, 'not measured')} |" for numbers in measured))
    st.markdown("\n".join(lines))


def _statistics(network: Looked, subject: Subject, name: str) -> dict[str, str]:
    layer, profile = network.trace[name], profile_of(network, name)
    channels, height, width = profile.shape
    rows = {
        "kind of layer; channels × height × width": f"{layer.kind}; {channels} × {height} × {width}",
        "size of the activation (root mean square)": f"{profile.activation_magnitude:.3g}",
        "size of the gradient of the score (root mean square)": f"{profile.gradient_magnitude:.3g}",
        "activation from … to …": f"{layer.activation.min():.3g} … {layer.activation.max():.3g}",
        "channels that are 0 everywhere": f"{silent_channels(layer)} of {channels}",
        "largest Grad-CAM value": f"{profile.cam.max():.3g}",
    }
    if subject.mask is not None and subject.mask.shape == network.trace.image.shape[1:]:
        share = share_on_object(profile.cam, subject.mask)
        rows[f"Grad-CAM on the object, which covers {subject.mask.mean():.0%} of the picture"] = (
            "none there" if share is None else f"{share:.0%}"
        )
    return rows


def _npz(network: Looked, layer: LayerTrace) -> bytes:
    buffer = io.BytesIO()
    arrays = raw_arrays(network.trace, [layer.name]) | {"class_names": np.array(network.checkpoint.class_names)}
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _maps_detail(state: AppState, network: Looked, layer: LayerTrace, top: float) -> None:
    channels = len(layer.activation)
    chosen = state.channel if state.channel is not None and state.channel < channels else None
    pages = -(-channels // MAPS_A_PAGE)
    page = (chosen or 0) // MAPS_A_PAGE
    if pages > 1:
        key = f"page_{network.name}_{layer.name}_{chosen}"  # a new channel turns to its page
        page = st.pagination(pages, default=page + 1, key=key) - 1
    first = page * MAPS_A_PAGE
    maps = layer.activation[first : first + MAPS_A_PAGE]
    scale = ColourScale.signed(top)
    sheet = figures.sheet(scale.paint(maps), MAP_COLUMNS, MAP_SIDE)
    labels = [
        f"channel {first + index}, from {values.min():.3g} to {values.max():.3g}" for index, values in enumerate(maps)
    ]
    st.markdown(f"**Feature maps** {first}–{first + len(maps) - 1} of {channels}. Click one to enlarge it.")
    left, right = st.columns([MAP_COLUMNS * MAP_SIDE, 190], gap="small")
    with left:
        picture_grid(
            figures.data_uri(sheet),
            labels,
            MAP_COLUMNS,
            MAP_SIDE,
            None if chosen is None or not first <= chosen < first + len(maps) else chosen - first,
            key=f"maps_{network.name}",
            on_click=lambda tile: controls.change(channel=first + tile),
            alt=f"Feature maps of {layer.name} of {network.title}",
        )
        colour_bar(figures.DIVERGING, f"feature map, ±{scale.high:.3g}")
    with right:
        box = f"channel_{network.name}"
        st.session_state[box] = chosen
        st.number_input(
            "Channel",
            0,
            channels - 1,
            value=None,
            key=box,
            placeholder="none",
            on_change=lambda: controls.change(channel=st.session_state[box]),
        )
        if chosen is not None:
            values = layer.activation[chosen]
            st.image(
                figures.nearest(scale.paint(values), 180), output_format="PNG", alt=f"Feature map of channel {chosen}"
            )
            st.caption(_channel_words(values, float(channel_weights(layer)[chosen]), as_text(network.target)))


def _channel_words(values: np.ndarray, weight: float, target: str) -> str:
    """What one feature map says; `weight` is its weight in the layer's Grad-CAM."""
    if not values.any():
        return "Zero everywhere: for this picture nothing passes this channel."
    size = f"From {values.min():.3g} to {values.max():.3g}, size {magnitude(values):.3g}."
    if weight == 0:
        return f"{size} Its Grad-CAM weight is 0: it has no say in {target}."
    positive, negative = ("for", "against") if weight > 0 else ("against", "for")
    blue = f", where it is blue {negative} it" if values.min() < 0 else ""
    return f"{size} Its Grad-CAM weight is {weight:.3g}: where it is red it speaks {positive} {target}{blue}."
