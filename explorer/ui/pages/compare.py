"""Compare: two to four networks, their differences, and their predictions and maps on one picture and on many."""

from collections.abc import Sequence

import streamlit as st

from explorer.datasets import shapes
from explorer.errors import user_message
from explorer.ui import lesson, missing, network_registry
from explorer.ui.compare import (
    controls,
    labelled,
    layer_similarity,
    maps,
    measurements,
    methods,
    object_shares,
    predictions,
    report,
    spec_diff,
)
from explorer.ui.compare.comparison import (
    ComparedNetwork,
    compare,
    load_state,
    missing_networks,
    same_classes,
    update_state,
)
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.network_text import twins_text
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import sample_image
from explorer.ui.session import find_image
from explorer.ui.widgets.image_picker import image_picker


def show() -> None:
    try:
        _show()
    except ValueError as error:  # deleted or damaged since its name was listed, or without maps to compare
        st.error(as_sentence(user_message(error)))


def _show() -> None:
    state = load_state()
    if state is None:
        st.info("There are not two networks here. Build them with `python -m explorer pretrained all`.")
        return
    with st.sidebar:
        st.markdown("#### Compare networks")
        known = {each for name in state.networks for each in network_registry.class_names(name)}
        image_picker(state, update_state, known)
        controls.choose_target(state)
        controls.choose_view(state)
    subject = find_image(AppState(picture=state.picture))
    st.header(f"{('Two', 'Three', 'Four')[len(state.networks) - 2]} networks, one picture", anchor=False)
    missing.show_missing(missing_networks(), state.networks, subject is None, update_state)
    controls.choose_networks(state)
    subject = subject or sample_image(6, 6)
    compared = compare(state, subject)
    _introduction(compared)
    spec_diff.section(compared)
    predictions.section(compared, subject)
    maps.section(state, compared)
    methods.section(state, compared, subject)
    key = ",".join(state.networks)
    on_datasets(compared, key)
    report.section(compared, key, subject, state)


def _introduction(compared: Sequence[ComparedNetwork]) -> None:
    first, second = compared[0].name, compared[1].name
    if len(compared) == 2 and second == network_registry.twin_name(first):
        lesson.explain(twins_text(as_text(compared[0].title), as_text(compared[1].title)))
    if not same_classes(compared):
        st.info(
            "These networks know different classes. Their properties and their maps can be compared. Their predictions "
            "stand side by side, each in its own classes, and each map explains a class of its own network."
        )


def on_datasets(compared: Sequence[ComparedNetwork], key: str) -> None:
    """The sections about many pictures. `key` tells these networks from others: for others the choice of two of them
    begins anew, and the results stay."""
    try:
        shared = measurements.shared_data(compared)
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        shared = []
    labelled.section(compared, shared, f"{key}-said")
    layer_similarity.section(compared, shared, f"{key}-cka")
    if drawn := [data for data in shared if shapes.named(data)]:
        object_shares.section(compared, drawn, f"{key}-shares")
