"""Explore: one picture through one or two networks: predictions, depth strip, layer detail."""

import streamlit as st

from explorer.incidents import sentence
from explorer.ui import controls, gone, navigation, resources
from explorer.ui.explore import anatomy, channels, layers, methods, trust
from explorer.ui.explore.detail import detail_head, last_change, open_tab
from explorer.ui.explore.explained import Explained, again, others, read
from explorer.ui.explore.overview import desk, message, overview
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.picture import choose_picture
from explorer.ui.state import AppState

CLASSES_NAMED = 20


def show() -> None:
    try:
        names, problems = resources.catalogue()
        for problem in problems:
            st.warning(as_sentence(problem))
        if names:
            _show(controls.read())
        else:
            st.info("No pretrained networks are here. Build them with `python -m explorer pretrained all`.")
    except ValueError as error:  # damaged, deleted meanwhile, or without anything to show along depth
        st.error(as_sentence(sentence(error)))


def _show(state: AppState) -> None:
    # All that takes time comes before the first element: a browser lays out the page anew for each that comes alone.
    try:
        explained = read()
        message(explained, last_change(), desk())
    finally:  # whatever cannot be shown, another one can be chosen
        _sidebar(state)
    # One element, whatever is in it: Streamlit tells the parts that run alone by their places, and the browser, which
    # draws a picture before the page does, may ask for one meanwhile.
    with st.container():
        _introduction(explained)
    _overview_alone()
    if state.tab == "layer":
        _head_alone()
    else:
        detail_head(explained)
    _detail(explained)


def _sidebar(state: AppState) -> None:
    with st.sidebar:
        st.markdown("#### CNN & ResNet Explorer")
        choose_picture(state, controls.change, resources.class_names(state.first))
        controls.choose_networks(state)
        controls.choose_target(state, resources.class_names(state.first))
        controls.choose_view(state)


@st.fragment
def _overview_alone() -> None:
    """Another picture changes nothing else on the page, unless a tab is open that shows it too."""
    with navigation.boundary():
        explained = again()
        overview(explained)
        navigation.remember()


@st.fragment
def _head_alone() -> None:
    """The layer's head. What is chosen there the browser has drawn by itself, so the page need not run again."""
    with navigation.boundary():
        explained = again()
        detail_head(explained)
        navigation.remember()


def _introduction(explained: Explained) -> None:
    looked = explained.looked
    st.header("One picture, one network" if len(looked) == 1 else "One picture, two networks", anchor=False)
    gone.say(controls.lost(), [network.name for network in looked], explained.missing, controls.change)
    if len(looked) == 2 and looked[1].name == resources.twin_name(looked[0].name):
        first, second = (as_text(network.title) for network in looked)
        st.markdown(
            f"**{first}** and **{second}** are twins: they started from the same weights and learned from the same "
            "pictures in the same order. The shortcuts are the only difference, so every difference below comes from "
            "them."
        )
    names = looked[0].checkpoint.class_names
    known = ", ".join(map(as_text, names[:CLASSES_NAMED]))
    if len(names) > CLASSES_NAMED:
        known += f" and {len(names) - CLASSES_NAMED:,} more"
    st.caption(f"{'These networks know' if len(looked) > 1 else 'This network knows'} only: {known}.")
    _offer_other_networks(explained)


def _offer_other_networks(explained: Explained) -> None:
    if offer := others(explained):
        why, words, names = offer
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(why)
            st.button(words, type="primary", on_click=lambda: controls.choose_first(*names))


def _detail(explained: Explained) -> None:
    state, subject, looked = explained.state, explained.subject, explained.looked
    tab, place = open_tab(state)
    with place:
        if tab == "layer":
            layers.layer_tab(looked)
        elif tab == "block":
            anatomy.block_tab(state, subject, looked)
        elif tab == "methods":
            methods.methods_tab(state, subject, looked)
        elif tab == "channels":
            channels.channels_tab(state, looked)
        else:
            trust.trust_tab(state, subject, looked)
