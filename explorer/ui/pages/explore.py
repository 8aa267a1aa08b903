"""Explore: one picture through one or two networks: predictions, depth strip, layer detail."""

import streamlit as st

from explorer.errors import user_message
from explorer.ui import missing, navigation, network_registry, selection, url_query
from explorer.ui.explore import channels, controls, faithfulness, methods, residual_blocks
from explorer.ui.explore.tabs import open_tab
from explorer.ui.explore.view import ExploreView, load_view, load_view_in_fragment
from explorer.ui.markdown import as_sentence
from explorer.ui.services.explore_state import PASS_FIELDS, AppState
from explorer.ui.session import explore_session, session
from explorer.ui.viewer.places import (
    arithmetic_panel,
    changes_panel,
    connection,
    ending,
    film,
    introduction,
    layer_header,
    layer_panel,
    overview,
)


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
    # Always the same elements: Streamlit identifies a fragment by its position.
    connected = st.container()
    introduction()
    film()
    above = st.container()
    network_registry.load_visibly(filter(None, (state.first, state.second)))
    view = load_view()
    with connected:  # the first that the browser receives: it fetches the drawings while the page is drawn
        if state.tab == "layer":
            _viewer_alone()
        else:  # another picture or layer changes what the server draws too
            _viewer(view)
    with above:
        names = [network.listed for network in view.networks]
        missing.show_missing(controls.missing_networks(), names, view.missing, controls.update_state)
    overview()
    changes_panel()
    layer_header()
    _detail(view)
    navigation.ending(ending, "compare", "On how many images do they differ, and is it overfitting?")


@st.fragment
def _viewer_alone() -> None:
    """Another picture, class, pair of networks or set of layers changes nothing else on the page."""
    with navigation.error_boundary():
        _viewer(load_view_in_fragment())
        navigation.save_page_query()


def _viewer(view: ExploreView) -> None:
    """Tells the viewer what it draws."""
    state = view.state
    data = {
        "token": explore_session().token,
        "view": {
            **{name: getattr(state, name) for name in PASS_FIELDS},
            "picture": view.picture,
            "networks": [network.listed for network in view.networks],
            "theme": view.offered.theme,
        },
        "heard": session().heard,
        "tab": state.tab,
        "query": url_query.read(),
        **selection.for_viewer(),
    }
    unit = connection(data, controls.take_choice, selection.take)
    if unit_query := controls.unit_query(state, unit):
        navigation.switch_page("experiments", unit_query)


def _detail(view: ExploreView) -> None:
    state = view.state
    tab, place = open_tab(state)
    with place:
        if tab == "layer":
            layer_panel()
            arithmetic_panel()
        elif not selection.is_known():
            st.empty()  # of another layer than the viewer's, the panel would be drawn twice
        elif tab == "block":
            residual_blocks.block_tab(state, view.seen, view.results)
            arithmetic_panel()
        else:
            if state.change:
                st.info("This tab shows the untouched networks: the changes of their parts above do not reach it.")
            looked = view.untouched()
            if tab == "methods":
                methods.methods_tab(state, view.seen, looked)
            elif tab == "channels":
                channels.channels_tab(state, looked)
            else:
                faithfulness.trust_tab(state, view.seen, looked)
