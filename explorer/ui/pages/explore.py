"""Explore: one picture through one or two networks: predictions, depth strip, layer detail."""

import io
import logging
import uuid
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st

from explorer import figures
from explorer.attribution import LayerProfile, grad_cam, heatmap, magnitude, share_on_object, top_classes
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.figures import ColourScale
from explorer.images import resize, to_pixels
from explorer.tracing import LayerTrace, Trace
from explorer.ui import controls, resources
from explorer.ui.resources import Subject
from explorer.ui.state import AppState
from explorer.ui.strip import StripRow, axis_of, cam_tops, depth_strip, map_tops

MAPS_A_PAGE = 64
MAP_COLUMNS = 8
MAP_SIDE = 44
PICTURE_SIDE = 224
OVERLAY_SIDE = 320
WIDE = "<style>.stMainBlockContainer { padding: 2.5rem 2.5rem 4rem }</style>"  # the strip needs the width


@dataclass(frozen=True, eq=False)
class Looked:
    """One network after it has seen the picture."""

    name: str
    checkpoint: Checkpoint
    trace: Trace
    profiles: tuple[LayerProfile, ...]
    colour: str
    dashed: bool

    @property
    def title(self) -> str:
        return self.checkpoint.spec.name

    @property
    def target(self) -> str:
        return self.checkpoint.class_names[self.trace.target]


def show() -> None:
    st.html(WIDE)
    st.header("One picture, two networks", anchor=False)
    names = resources.network_names()
    if not names:
        st.info("No pretrained networks are here yet. Build them with `python -m explorer pretrained all`.")
        return
    try:
        _show(_known(controls.read(), names))
    except CheckpointError as error:
        st.error(f"{error}")
    except Exception:  # the page's boundary: whatever it is, a person sees one sentence and the log has the rest
        incident = uuid.uuid4().hex[:8]
        logging.getLogger(__name__).exception("incident %s", incident)
        st.error(f"Something went wrong that should not have (incident {incident}); reload the page, or choose again.")


def _known(state: AppState, names: tuple[str, ...]) -> AppState:
    """The state with networks that exist; an old link may name others."""
    if state.first not in names:
        state = replace(state, first=AppState.first if AppState.first in names else names[0])
    second = state.second
    if second is not None and (
        second == state.first or second not in names or not resources.know_the_same(state.first, second)
    ):
        state = replace(state, second=resources.twin_name(state.first))
    return state


def _show(state: AppState) -> None:
    subject = resources.subject_of(state)
    class_names = resources.checkpoint(state.first).class_names
    with st.sidebar:
        controls.choose_picture(state)
        controls.choose_networks(state)
        controls.choose_target(state, class_names)
        controls.choose_view(state)
    if subject is None:
        st.info(
            "This link was made with an uploaded picture, which never leaves the session it was uploaded in. "
            "Everything else is as in the link: upload the picture again to see the same view. Until then a drawn "
            "shape stands in."
        )
        subject = resources.sample_subject(6, 6)
    looked = [_look(name, state, subject, index) for index, name in enumerate((state.first, state.second)) if name]
    _offer_photo_networks(state, subject, looked)
    _predictions(subject, looked)
    _strip(state, looked)
    _detail(state, subject, looked)


def _look(name: str, state: AppState, subject: Subject, index: int) -> Looked:
    checkpoint = resources.checkpoint(name)
    target = state.target if state.target is not None and state.target < len(checkpoint.class_names) else None
    everything = state.layers == "all"
    family = "plain" if checkpoint.spec.shortcut == "none" else "residual"
    other = {state.first, state.second} - {name, None}
    alike = any((resources.checkpoint(o).spec.shortcut == "none") == (family == "plain") for o in other)
    return Looked(
        name,
        checkpoint,
        resources.traced(name, subject, target, everything),
        resources.profiled(name, subject, target, everything),
        figures.NETWORK_COLOURS[st.context.theme.type or "light"][family],
        dashed=alike and index == 1,
    )


def _offer_photo_networks(state: AppState, subject: Subject, looked: list[Looked]) -> None:
    known = ", ".join(looked[0].checkpoint.class_names)
    st.caption(f"{'These networks know' if len(looked) > 1 else 'This network knows'} only: {known}.")
    photo_networks = [name for name in resources.network_names() if name.startswith("cifar10")]
    if subject.mask is None and looked[0].checkpoint.data.startswith("shapes") and photo_networks:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info("These networks have only ever seen drawn shapes, so what they say of a photo means little.")
            st.button(
                "Look with the CIFAR-10 twins",
                type="primary",
                on_click=lambda: controls.change(
                    first=photo_networks[0],
                    second=photo_networks[1] if len(photo_networks) > 1 else None,
                    target=None,
                    layer=None,
                    channel=None,
                ),
            )


def _predictions(subject: Subject, looked: list[Looked]) -> None:
    columns = st.columns([1, 1, *[1.5] * len(looked)], gap="medium")
    with columns[0]:
        st.markdown(f"**Original**, {subject.pixels.shape[1]}×{subject.pixels.shape[0]}")
        st.image(_shown(subject.pixels), output_format="PNG", alt=subject.title)
        st.caption(". ".join([subject.title, *(note.rstrip(".") for note in subject.notes)]))
    with columns[1]:
        seen = to_pixels(looked[0].trace.image, looked[0].checkpoint.mean, looked[0].checkpoint.std)
        st.markdown(f"**As the network sees it**, {seen.shape[1]}×{seen.shape[0]}")
        st.image(figures.nearest(seen, PICTURE_SIDE), output_format="PNG", alt="The input of the network, enlarged")
        fits = subject.pixels.shape == seen.shape
        st.caption(f"{'' if fits else 'Cropped and resized. '}Each small square is one pixel of the input.")
    for column, network in zip(columns[2:], looked, strict=True):
        with column:
            test = network.checkpoint.figures.get("test", {})
            known = f", {test['accuracy']:.1%} right on {test['n']:,} test pictures" if test else ""
            st.markdown(f"**{network.title}**{known}")
            best = top_classes(network.trace)
            st.plotly_chart(
                figures.classes_chart(
                    [network.checkpoint.class_names[index] for index, _ in best],
                    [probability for _, probability in best],
                    network.colour,
                    network.target,
                ),
                key=f"classes_{network.name}",
                config={"displayModeBar": False},
                alt=f"The five most probable classes of {network.title}",
            )
            st.caption(_verdict(network, subject))
    targets = {network.trace.target for network in looked}
    if len(targets) > 1:
        names = " and ".join(network.target for network in looked)
        st.caption(
            f"The networks predict different classes, so each map below explains its own: {names}. "
            "Choose a class to explain in the sidebar to compare them on one."
        )


def _verdict(network: Looked, subject: Subject) -> str:
    names = network.checkpoint.class_names
    predicted = names[network.trace.prediction]
    if subject.label is None or subject.label not in names:
        return f"Data: {network.checkpoint.data}."
    right = "right" if predicted == subject.label else f"wrong, it is a {subject.label}"
    return f"Says {predicted}: {right}. Data: {network.checkpoint.data}."


def _shown(pixels: np.ndarray) -> np.ndarray:
    """A picture fit to show: small ones enlarged with hard edges, large ones reduced."""
    height, width = pixels.shape[:2]
    if max(height, width) <= PICTURE_SIDE:
        return figures.nearest(pixels, PICTURE_SIDE)
    factor = 2 * PICTURE_SIDE / max(height, width)
    if factor >= 1:
        return pixels
    return resize(pixels, (max(1, round(height * factor)), max(1, round(width * factor))))


def _rows(looked: list[Looked]) -> list[StripRow]:
    return [StripRow(network.title, network.colour, network.dashed, network.profiles) for network in looked]


def _selected(state: AppState, looked: list[Looked]) -> str:
    """The layer of the state where a network has it, else the last block: the deepest layer with feature maps."""
    axis = axis_of(_rows(looked))
    if state.layer in axis:
        return state.layer
    blocks = [column.name for column in looked[0].profiles if column.kind == "block"]
    return blocks[-1] if blocks else axis[-1]


def _strip(state: AppState, looked: list[Looked]) -> None:
    st.subheader("Depth strip", anchor=False)
    st.markdown(
        "Every layer from input to output. **Grad-CAM**: where this layer's channels speak for the explained class. "
        "**Strongest map**: its most active channel. Look for where the object appears, and whether the gradient keeps "
        "its size on the way back to the input. Click a layer for its detail."
    )
    rows = _rows(looked)
    depth_strip(rows, state.scope, _selected(state, looked), _on_strip_click)
    with st.container(horizontal=True, gap="large"):
        cams, maps = cam_tops(rows, state.scope), map_tops(rows, state.scope)
        for palette, words, tops in ((figures.SEQUENTIAL, "Grad-CAM", cams), (figures.DIVERGING, "feature map", maps)):
            _colour_bar(palette, _scale_words(words, tops, looked, state.scope, palette == figures.DIVERGING))


def _scale_words(words: str, tops: list[dict[str, float]], looked: list[Looked], scope: str, signed: bool) -> str:
    both = " of both networks" if len(looked) > 1 else ""
    if scope == "layer":
        return f"{words}: {'±' if signed else '0 to '}the largest value found in that layer{both}"
    limits = [max(top.values(), default=0.0) for top in tops]
    parts = [f"±{limit:.3g}" if signed else f"0 to {limit:.3g}" for limit in limits]
    if scope == "both" or len(parts) == 1:
        return f"{words}: {parts[0]}"
    return f"{words}: " + ", ".join(f"{part} ({network.title})" for part, network in zip(parts, looked, strict=True))


def _colour_bar(palette: str, words: str) -> None:
    with st.container(width="content"):
        st.image(figures.colour_bar(palette), output_format="PNG", alt=f"Colour scale. {words}")
        st.caption(words)


def _on_strip_click() -> None:
    layer = st.session_state["strip"]["layer"]
    if layer is not None:
        controls.change(layer=layer, channel=None)


def _detail(state: AppState, subject: Subject, looked: list[Looked]) -> None:
    selected = _selected(state, looked)
    axis = axis_of(_rows(looked))
    st.subheader(f"Layer {selected}", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state["layer"] = selected
        st.selectbox(
            "Layer",
            list(axis),
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
    cams, maps = cam_tops(_rows(looked), state.scope), map_tops(_rows(looked), state.scope)
    there = [network for network in looked if selected in network.trace.names]
    for column, network, cam in zip(st.columns(len(looked), gap="large"), looked, cams, strict=True):
        with column:
            st.markdown(f"**{network.title}**, explaining *{network.target}*")
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
    profile = _profile(network, layer.name)
    seen = to_pixels(network.trace.image, network.checkpoint.mean, network.checkpoint.std)
    large = figures.nearest(seen, OVERLAY_SIDE)
    heat = heatmap(profile.cam, large.shape[:2], top)
    left, right = st.columns([OVERLAY_SIDE, 180], gap="medium", vertical_alignment="bottom")
    with left:
        st.image(
            figures.overlay(large, heat, state.opacity / 100),
            output_format="PNG",
            alt=f"Grad-CAM of {layer.name} over the picture",
        )
    with right:
        if profile.zero_reason:
            st.info(f"The Grad-CAM is zero everywhere. {profile.zero_reason}")
        _colour_bar(figures.SEQUENTIAL, f"Grad-CAM, 0 to {top:.3g}")
        st.download_button(
            "Raw numbers (npz)",
            data=lambda: _npz(network, layer),
            file_name=f"{network.name}-{layer.name}.npz",
            on_click="ignore",
            key=f"npz_{network.name}",
            help="activation, gradient, cam, image and logits as float32 arrays.",
        )


def _profile(network: Looked, layer: str) -> LayerProfile:
    return next(column for column in network.profiles if column.name == layer)


def _numbers(subject: Subject, looked: list[Looked], layer: str) -> None:
    """One table of what was measured in this layer, a column for each network."""
    measured = [_statistics(network, subject, layer) for network in looked]
    lines = ["| |" + "".join(f" {network.title} |" for network in looked), "|---|" + "---:|" * len(looked)]
    for name in measured[0]:
        lines.append(f"| {name} |" + "".join(f" {numbers[name]} |" for numbers in measured))
    st.markdown("\n".join(lines))


def _statistics(network: Looked, subject: Subject, name: str) -> dict[str, str]:
    layer, profile = network.trace[name], _profile(network, name)
    channels, height, width = profile.shape
    silent = int((~layer.activation.reshape(channels, -1).any(axis=1)).sum())
    rows = {
        "kind of layer; channels × height × width": f"{layer.kind}; {channels} × {height} × {width}",
        "size of the activation (root mean square)": f"{profile.activation_magnitude:.3g}",
        "size of the gradient of the score (root mean square)": f"{profile.gradient_magnitude:.3g}",
        "activation from … to …": f"{layer.activation.min():.3g} … {layer.activation.max():.3g}",
        "channels that are 0 everywhere": f"{silent} of {channels}",
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
    np.savez_compressed(
        buffer,
        activation=layer.activation,
        gradient=layer.gradient,
        cam=grad_cam(layer),
        image=network.trace.image,
        logits=network.trace.logits,
        target=np.int64(network.trace.target),
    )
    return buffer.getvalue()


def _maps_detail(state: AppState, network: Looked, layer: LayerTrace, top: float) -> None:
    channels = len(layer.activation)
    chosen = state.channel if state.channel is not None and state.channel < channels else None
    pages = -(-channels // MAPS_A_PAGE)
    page = (chosen or 0) // MAPS_A_PAGE
    if pages > 1:
        key = f"page_{network.name}_{layer.name}"
        page = st.pagination(pages, key=key) - 1
    first = page * MAPS_A_PAGE
    maps = layer.activation[first : first + MAPS_A_PAGE]
    scale = ColourScale.signed(top)
    sheet = figures.tile([scale.paint(values) for values in maps], MAP_COLUMNS, MAP_SIDE)
    labels = [
        f"channel {first + index}, from {values.min():.3g} to {values.max():.3g}" for index, values in enumerate(maps)
    ]
    st.markdown(f"**Feature maps** {first}–{first + len(maps) - 1} of {channels}. Click one to enlarge it.")
    left, right = st.columns([MAP_COLUMNS * MAP_SIDE, 190], gap="small")
    key = f"maps_{network.name}_{layer.name}_{page}_{chosen}"
    with left:
        st.plotly_chart(
            figures.picture_grid(sheet, labels, MAP_COLUMNS, MAP_SIDE, None if chosen is None else chosen - first),
            width="content",
            theme=None,
            key=key,
            on_select=lambda: _on_map_click(key, first),
            selection_mode="points",
            config={"displayModeBar": False},
            alt=f"Feature maps of {layer.name}",
        )
        _colour_bar(figures.DIVERGING, f"feature map, ±{scale.high:.3g}")
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
            weight = float(layer.gradient[chosen].mean())
            speaks = "for" if weight > 0 else "against"
            says = f"speaks {speaks} {network.target}" if weight else f"has no say in {network.target}"
            st.caption(
                f"From {values.min():.3g} to {values.max():.3g}, size {magnitude(values):.3g}. Its Grad-CAM weight is "
                f"{weight:.3g}: it {says}."
            )


def _on_map_click(key: str, first: int) -> None:
    tile = controls.clicked_point(key)
    if tile is not None:
        controls.change(channel=first + tile)
