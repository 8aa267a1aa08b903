"""Explore: one picture through one or two networks: predictions, depth strip, layer detail."""

import streamlit as st

from explorer import published
from explorer.checkpoints import CheckpointError
from explorer.pretrained import CIFAR_DATA
from explorer.ui import anatomy, channels, controls, layers, methods, navigation, resources, trust
from explorer.ui.detail import detail_head, open_tab, rows_of
from explorer.ui.markdown import as_text
from explorer.ui.picture import choose_picture, draw_ahead
from explorer.ui.predictions import predictions
from explorer.ui.resources import Looked, Subject
from explorer.ui.state import AppState
from explorer.ui.strip import depth_strip, packed

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
    drawn = subject or resources.sample_subject(6, 6)
    # All that takes time comes before the first element: a browser lays out the page anew for each that comes alone.
    try:
        looked = resources.look(state, drawn)
        drawing = _key(state, drawn, looked)
        ahead = state.tab == "layer" and layers.goes_ahead(looked)
        inside = (lambda packing: layers.inside(packing, drawn, looked)) if ahead else None
        content = packed(rows_of(looked), drawing, inside)
    finally:  # whatever cannot be shown, another one can be chosen
        _sidebar(state)
    if subject is None:
        st.info(
            "This link was made with an uploaded picture, which never leaves the session it was uploaded in. "
            "Everything else is as in the link: upload the picture again to see the same view. Until then a drawn "
            "shape stands in."
        )
    _introduction(looked)
    _offer_other_networks(drawn, looked)
    predictions(drawn, looked)
    _strip(content)
    (_head_alone if state.tab == "layer" else detail_head)(looked, drawing)
    _detail(drawn, looked, drawing)
    draw_ahead(state)


def _key(state: AppState, subject: Subject, looked: list[Looked]) -> str:
    """Names all that the strip shows."""
    seen = [f"{network.name}/{network.title}/{network.trace.target}/{network.colour}" for network in looked]
    return f"{subject.digest}/{state.layers}/{'/'.join(seen)}"


def _sidebar(state: AppState) -> None:
    with st.sidebar:
        st.markdown("#### CNN & ResNet Explorer")
        choose_picture(state, controls.change)
        controls.choose_networks(state)
        controls.choose_target(state, resources.class_names(state.first))
        controls.choose_view(state)


@st.fragment
def _head_alone(looked: list[Looked], drawing: str) -> None:
    """The layer's head. What is chosen there the browser has drawn by itself, so the page need not run again."""
    with navigation.boundary():
        state = controls.read()
        if [network.name for network in looked] != [name for name in (state.first, state.second) if name]:
            st.rerun()  # a shared one was deleted meanwhile
        detail_head(looked, drawing)
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


def _offer_other_networks(subject: Subject, looked: list[Looked]) -> None:
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


def _strip(content: bytes) -> None:
    st.subheader("Depth strip", anchor=False)
    st.markdown(
        "Every layer from input to output. **Grad-CAM**: where this layer's channels speak for the explained class. "
        "**Strongest map**: its most active channel. Look for where the object appears, and whether the gradient keeps "
        "its size on the way back to the input. Click a layer for its detail."
    )
    depth_strip(content)


def _detail(subject: Subject, looked: list[Looked], drawing: str) -> None:
    state = controls.read()
    tab, place = open_tab(state)
    with place:
        if tab == "layer":
            layers.layer_tab(subject, looked, drawing)
        elif tab == "block":
            anatomy.block_tab(state, subject, looked)
        elif tab == "methods":
            methods.methods_tab(state, subject, looked)
        elif tab == "channels":
            channels.channels_tab(state, looked)
        else:
            trust.trust_tab(state, subject, looked)
