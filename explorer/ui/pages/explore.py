"""Explore: one picture through one or two networks: predictions, depth strip, layer detail."""

import streamlit as st

from explorer import figures, published
from explorer.attribution import top_classes
from explorer.checkpoints import CheckpointError
from explorer.images import to_pixels
from explorer.pretrained import CIFAR_DATA
from explorer.ui import anatomy, channels, controls, methods, navigation, resources, trust
from explorer.ui.compare import NOT_MEASURED, accuracy
from explorer.ui.detail import colour_bar, detail_head, layer_tab, open_tab, rows_of, selected_layer
from explorer.ui.markdown import as_text
from explorer.ui.picture import choose_picture
from explorer.ui.resources import Looked, Subject
from explorer.ui.state import AppState
from explorer.ui.strip import cam_tops, depth_strip, map_tops

CLASSES_NAMED = 20


def show() -> None:
    try:
        names, problems = resources.catalogue()
        for problem in problems:
            st.warning(problem)
        if names:
            _show(controls.read())
        else:
            st.info("No pretrained networks are here. Build them with `python -m explorer pretrained all`.")
    except CheckpointError as error:
        st.error(f"{error}")


def _show(state: AppState) -> None:
    subject = resources.subject_of(state)
    class_names = resources.checkpoint(state.first).class_names
    with st.sidebar:
        st.markdown("#### CNN & ResNet Explorer")
        choose_picture(state, controls.change)
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
    looked = resources.look(state, subject)
    _introduction(looked)
    _offer_other_networks(state, subject, looked)
    _predictions(subject, looked)
    # A click in a fragment waits for the script to end, so what can be stopped must not be in one.
    (_along_depth_alone if state.tab == "layer" else _along_depth)(subject, looked)


def _along_depth(subject: Subject, looked: list[Looked]) -> None:
    """The strip and the layer's detail."""
    state = controls.read()
    _strip(state, subject, looked)
    _detail(state, subject, looked)


@st.fragment
def _along_depth_alone(subject: Subject, looked: list[Looked]) -> None:
    """The same, so that another layer, channel or opacity draws this part of the page and no other."""
    with navigation.boundary():
        state = controls.read()
        if [network.name for network in looked] != [name for name in (state.first, state.second) if name]:
            st.rerun()  # a shared one was deleted meanwhile
        _along_depth(subject, looked)
        navigation.remember()


def _introduction(looked: list[Looked]) -> None:
    st.header("One picture, one network" if len(looked) == 1 else "One picture, two networks", anchor=False)
    if len(looked) == 2 and looked[1].name == resources.twin_name(looked[0].name):
        st.markdown(
            f"**{looked[0].title}** and **{looked[1].title}** are twins: they started from the same weights and "
            "learned from the same pictures in the same order. The shortcuts are the only difference, so every "
            "difference below comes from them."
        )
    names = looked[0].checkpoint.class_names
    known = ", ".join(map(as_text, names[:CLASSES_NAMED]))
    if len(names) > CLASSES_NAMED:
        known += f" and {len(names) - CLASSES_NAMED:,} more"
    st.caption(f"{'These networks know' if len(looked) > 1 else 'This network knows'} only: {known}.")


def _offer_other_networks(state: AppState, subject: Subject, looked: list[Looked]) -> None:
    """One click from networks that cannot know this picture to twins that might."""
    data = looked[0].checkpoint.data
    knows_shapes, knows_photos = data.startswith("shapes"), data in (CIFAR_DATA, published.DATA)
    if knows_shapes and subject.mask is None:
        words = "These networks have only ever seen drawn shapes, so what they say of a photo means little."
        label, others = "Look with the CIFAR-10 twins", resources.twins_on(CIFAR_DATA)
    elif knows_photos and subject.mask is not None:
        words = "These networks have only ever seen photographs, so what they say of a drawn shape means little."
        label, others = "Look with the shapes twins", (AppState.first, AppState.second)
    else:
        return
    if others[0] not in resources.network_names():
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(words)
        st.button(label, type="primary", on_click=lambda: controls.choose_first(others[0], others[1]))


def _predictions(subject: Subject, looked: list[Looked]) -> None:
    columns = st.columns([1, 1, *[1.5] * len(looked)], gap="medium")
    with columns[0]:
        st.markdown(f"**Original**, {subject.pixels.shape[1]}×{subject.pixels.shape[0]}")
        st.image(subject.shown, output_format="PNG", alt=subject.title)
        st.caption(". ".join([subject.title, *(note.rstrip(".") for note in subject.notes)]))
    with columns[1]:
        seen = to_pixels(looked[0].trace.image, looked[0].checkpoint.mean, looked[0].checkpoint.std)
        st.markdown(f"**As the network sees it**, {seen.shape[1]}×{seen.shape[0]}")
        st.image(
            figures.nearest(seen, resources.PICTURE_SIDE), output_format="PNG", alt="The input of the network, enlarged"
        )
        fits = subject.pixels.shape == seen.shape
        st.caption(f"{'' if fits else 'Cropped and resized. '}Each small square is one pixel of the input.")
    for column, network in zip(columns[2:], looked, strict=True):
        with column:
            known = accuracy(network.checkpoint)
            st.markdown(f"**{network.title}**{'' if known == NOT_MEASURED else f', {known}'}")
            best = top_classes(network.trace)
            if network.trace.target not in [index for index, _ in best]:
                best.append((network.trace.target, float(network.trace.probabilities[network.trace.target])))
            st.html(
                figures.class_bars(
                    [network.checkpoint.class_names[index] for index, _ in best],
                    [probability for _, probability in best],
                    network.colour,
                    network.target,
                    alt=f"The five most probable classes of {network.title}",
                )
            )
            st.caption(_verdict(network, subject))
    targets = {network.trace.target for network in looked}
    if len(targets) > 1:
        names = " and ".join(as_text(network.target) for network in looked)
        st.caption(
            f"The networks predict different classes, so each map below explains its own: {names}. "
            "Choose a class to explain in the sidebar to compare them on one."
        )


def _verdict(network: Looked, subject: Subject) -> str:
    names, record = network.checkpoint.class_names, network.checkpoint.record
    predicted = names[network.trace.prediction]
    right = ""
    if subject.label in names:
        right = ": right" if predicted == subject.label else f": wrong, it is a {subject.label}"
    seed = "" if network.checkpoint.seed is None else f", seed {network.checkpoint.seed}"
    where = f"; measured on {as_text(str(record['device'])[:80])}" if "device" in record else ""
    return f"Says {as_text(predicted)}{right}. Trained on {as_text(network.checkpoint.data)}{seed}{where}."


def _strip(state: AppState, subject: Subject, looked: list[Looked]) -> None:
    st.subheader("Depth strip", anchor=False)
    st.markdown(
        "Every layer from input to output. **Grad-CAM**: where this layer's channels speak for the explained class. "
        "**Strongest map**: its most active channel. Look for where the object appears, and whether the gradient keeps "
        "its size on the way back to the input. Click a layer for its detail."
    )
    rows = rows_of(looked)
    seen = [f"{network.name}/{network.title}/{network.trace.target}/{network.colour}" for network in looked]
    key = f"{subject.digest}/{state.layers}/{'/'.join(seen)}"
    depth_strip(rows, key, state.scope, selected_layer(state, looked), _on_strip_click)
    with st.container(horizontal=True, gap="large"):
        cams, maps = cam_tops(rows, state.scope), map_tops(rows, state.scope)
        for palette, words, tops in ((figures.SEQUENTIAL, "Grad-CAM", cams), (figures.DIVERGING, "feature map", maps)):
            colour_bar(palette, _scale_words(words, tops, looked, state.scope, palette == figures.DIVERGING))


def _scale_words(words: str, tops: list[dict[str, float]], looked: list[Looked], scope: str, signed: bool) -> str:
    both = " of both networks" if len(looked) > 1 else ""
    if scope == "layer":
        return f"{words}: {'±' if signed else '0 to '}the largest value found in that layer{both}"
    limits = [max(top.values(), default=0.0) for top in tops]
    parts = [f"±{limit:.3g}" if signed else f"0 to {limit:.3g}" for limit in limits]
    if scope == "both" or len(parts) == 1:
        return f"{words}: {parts[0]}"
    return f"{words}: " + ", ".join(f"{part} ({network.title})" for part, network in zip(parts, looked, strict=True))


def _on_strip_click() -> None:
    layer = st.session_state["strip"]["layer"]
    if layer is not None:
        controls.change(layer=layer, channel=None)


def _detail(state: AppState, subject: Subject, looked: list[Looked]) -> None:
    detail_head(state, looked)
    tab, place = open_tab(state)
    with place:
        if tab == "layer":
            layer_tab(state, subject, looked)
        elif tab == "block":
            anatomy.block_tab(state, subject, looked)
        elif tab == "methods":
            methods.methods_tab(state, subject, looked)
        elif tab == "channels":
            channels.channels_tab(state, looked)
        else:
            trust.trust_tab(state, subject, looked)
