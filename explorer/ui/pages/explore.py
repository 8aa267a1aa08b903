"""Explore: one picture through one or two networks: predictions, depth strip, layer detail."""

from contextlib import suppress
from typing import Any

import streamlit as st

from explorer.errors import user_message
from explorer.ui import missing, navigation, network_registry, selection, url_query
from explorer.ui.explore import channels, controls, faithfulness, methods, residual_blocks
from explorer.ui.explore.tabs import open_tab
from explorer.ui.explore.view import ExploreView, explore_session, load_view, load_view_in_fragment, other_networks
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.network_text import twins_text
from explorer.ui.services.explore_state import PASS_FIELDS, AppState
from explorer.ui.viewer.places import connection, layer_header, layer_panel, overview
from explorer.ui.widgets.image_picker import image_picker

CLASSES_NAMED = 20


def show() -> None:
    try:
        for problem in network_registry.shipped_problems():
            st.warning(as_sentence(problem))
        if network_registry.shipped_networks():
            _show(controls.load_state())
        else:
            st.info("No pretrained networks are here. Build them with `python -m explorer pretrained all`.")
    except ValueError as error:  # damaged, deleted meanwhile, or without anything to show along depth
        st.error(as_sentence(user_message(error)))


def _show(state: AppState) -> None:
    # One element at all times: Streamlit identifies a fragment by its position.
    introduction = st.container()
    with st.sidebar:
        above, below = st.container(), st.container()
    view = None
    try:
        view = load_view()
    finally:  # after an error too, so that the user can choose another image or network
        # The first that the browser receives: it fetches the drawings while the rest of the page is drawn.
        with below:
            if view and state.tab == "layer":
                _viewer_alone()
            else:  # another picture or layer changes what the server draws too
                _viewer(state, view)
        with above:
            st.markdown("#### CNN & ResNet Explorer")
            image_picker(state, controls.update_state, network_registry.class_names(state.first), viewer=True)
            controls.network_selects(state)
    with introduction:
        _introduction(view)
    overview()
    layer_header()
    _detail(view)


@st.fragment
def _viewer_alone() -> None:
    """Another picture, class or set of layers changes nothing else on the page."""
    with navigation.error_boundary():
        view = load_view_in_fragment()
        _viewer(view.state, view)
        navigation.save_page_query()


def _viewer(state: AppState, view: ExploreView | None) -> None:
    """What the viewer draws, and the controls that change that alone; these only where the view cannot be shown."""
    selects = st.container()  # above the connection, which is sent first and shows nothing
    if view is not None:
        data = {
            "token": explore_session().token,
            "view": {
                **{name: getattr(state, name) for name in PASS_FIELDS},
                "picture": view.picture,
                "networks": [
                    {"name": network.name, "title": network.title, "colour": network.colour, "dashed": network.dashed}
                    for network in view.networks
                ],
            },
            "tab": state.tab,
            "query": url_query.read(),
            **selection.for_viewer(),
        }
        connection(data, _take_picture, selection.take)
    with selects:
        controls.target_select(state, network_registry.class_names(state.first))
        controls.layers_toggle(state)


def _take_picture(received: Any) -> None:
    """Shows the image that was chosen in the browser, which may send anything."""
    with suppress(ValueError, TypeError):
        controls.update_state(picture=received)


def _introduction(view: ExploreView) -> None:
    networks = view.networks
    st.header("One picture, one network" if len(networks) == 1 else "One picture, two networks", anchor=False)
    missing.show_missing(
        controls.missing_networks(), [network.name for network in networks], view.missing, controls.update_state
    )
    if len(networks) == 2 and networks[1].name == network_registry.twin_name(networks[0].name):
        first, second = (as_text(network.title) for network in networks)
        st.markdown(twins_text(first, second))
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
            st.button(words, type="primary", on_click=lambda: controls.set_first_network(*names))


def _detail(view: ExploreView) -> None:
    state, subject = view.state, view.subject
    tab, place = open_tab(state)
    with place:
        if tab == "layer":
            layer_panel()
        elif not selection.is_known():
            st.empty()  # of another layer than the viewer's, the panel would be drawn twice
        elif tab == "block":
            residual_blocks.block_tab(state, subject, view.results)
        elif tab == "methods":
            methods.methods_tab(state, subject, view.results)
        elif tab == "channels":
            channels.channels_tab(state, view.results)
        else:
            faithfulness.trust_tab(state, subject, view.results)
