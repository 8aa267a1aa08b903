"""Explore: one picture through one or two networks: predictions, depth strip, layer detail."""

from contextlib import suppress
from typing import Any

import streamlit as st

from explorer.errors import user_message
from explorer.ui import address, controls, gone, navigation, resources, selection
from explorer.ui.explore import anatomy, channels, methods, trust
from explorer.ui.explore.detail import open_tab
from explorer.ui.explore.view import ExploreView, load_view, load_view_in_fragment, other_networks, session
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.picture import choose_picture
from explorer.ui.state import PASS_FIELDS, AppState
from explorer.ui.viewer.places import connection, layer_header, layer_panel, overview

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
        st.error(as_sentence(user_message(error)))


def _show(state: AppState) -> None:
    # One element, whatever is in it: Streamlit identifies the parts that run alone by their places.
    introduction = st.container()
    with st.sidebar:
        above, below = st.container(), st.container()
    view = None
    try:
        view = load_view()
    finally:  # whatever cannot be shown, another one can be chosen
        # The first that the browser receives: it fetches the drawings while the rest of the page is drawn.
        with below:
            if view and state.tab == "layer":
                _viewer_alone()
            else:  # another picture or layer changes what the server draws too
                _viewer(state, view)
        with above:
            st.markdown("#### CNN & ResNet Explorer")
            choose_picture(state, controls.change, resources.class_names(state.first), viewer=True)
            controls.choose_networks(state)
    with introduction:
        _introduction(view)
    overview()
    layer_header()
    _detail(view)


@st.fragment
def _viewer_alone() -> None:
    """Another picture, class or set of layers changes nothing else on the page."""
    with navigation.boundary():
        view = load_view_in_fragment()
        _viewer(view.state, view)
        navigation.remember()


def _viewer(state: AppState, view: ExploreView | None) -> None:
    """What the viewer draws, and the controls that change that alone; these only where the view cannot be shown."""
    if view is not None:
        data = {
            "token": session().token,
            "view": {
                **{name: getattr(state, name) for name in PASS_FIELDS},
                "picture": view.picture,
                "networks": [
                    {"name": network.name, "title": network.title, "colour": network.colour, "dashed": network.dashed}
                    for network in view.networks
                ],
            },
            "tab": state.tab,
            "query": address.query(),
            **selection.for_viewer(),
        }
        connection(data, _take_picture, selection.take)
    controls.choose_target(state, resources.class_names(state.first))
    controls.choose_view(state)


def _take_picture(told: Any) -> None:
    """What the browser tells of a picture that was chosen there may be anything."""
    with suppress(ValueError, TypeError):
        controls.change(picture=told)


def _introduction(view: ExploreView) -> None:
    networks = view.networks
    st.header("One picture, one network" if len(networks) == 1 else "One picture, two networks", anchor=False)
    gone.say(controls.lost(), [network.name for network in networks], view.missing, controls.change)
    if len(networks) == 2 and networks[1].name == resources.twin_name(networks[0].name):
        first, second = (as_text(network.title) for network in networks)
        st.markdown(
            f"**{first}** and **{second}** are twins: they started from the same weights and learned from the same "
            "pictures in the same order. The shortcuts are the only difference, so every difference below comes from "
            "them."
        )
    names = networks[0].checkpoint.class_names
    known = ", ".join(map(as_text, names[:CLASSES_NAMED]))
    if len(names) > CLASSES_NAMED:
        known += f" and {len(names) - CLASSES_NAMED:,} more"
    st.caption(f"{'These networks know' if len(networks) > 1 else 'This network knows'} only: {known}.")
    _offer_other_networks(view)


def _offer_other_networks(view: ExploreView) -> None:
    if offer := other_networks(view):
        why, words, names = offer
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(why)
            st.button(words, type="primary", on_click=lambda: controls.choose_first(*names))


def _detail(view: ExploreView) -> None:
    state, subject = view.state, view.subject
    tab, place = open_tab(state)
    with place:
        if tab == "layer":
            layer_panel()
        elif not selection.is_known():
            st.caption("Reading the link.")  # of another layer than the viewer's, the panel would be drawn twice
        elif tab == "block":
            anatomy.block_tab(state, subject, view.looked)
        elif tab == "methods":
            methods.methods_tab(state, subject, view.looked)
        elif tab == "channels":
            channels.channels_tab(state, view.looked)
        else:
            trust.trust_tab(state, subject, view.looked)
