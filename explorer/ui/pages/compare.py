"""Compare: two to four networks, their accuracy, where they disagree, and what they look at."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.errors import user_message
from explorer.ui import film, lesson, measured_images, missing, network_registry
from explorer.ui.compare import (
    controls,
    ensemble,
    ensemble_map,
    labelled,
    layer_similarity,
    maps,
    measurements,
    methods,
    object_shares,
    predictions,
    report,
    spec_diff,
    verdict,
)
from explorer.ui.compare.comparison import (
    ComparedNetwork,
    compare,
    load_state,
    missing_networks,
    same_classes,
    update_state,
)
from explorer.ui.compare.measurements import Choice, Request
from explorer.ui.compare.state import CompareState, Tab
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.network_text import twins_text
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import ChosenNetwork
from explorer.ui.services.input_images import InputImage, sample_image
from explorer.ui.session import find_image
from explorer.ui.widgets.download import BRING_FOR_ALL, NONE_FOR_ALL, offer_labelled_images

TABS: dict[Tab, str] = {
    "maps": "Where they look",
    "layers": "Representations (CKA)",
    "object": "On the object",
    "methods": "Other methods",
    "ensemble": "As an ensemble",
    "settings": "Settings that differ",
}


def show() -> None:
    try:
        _show()
    except ValueError as error:  # deleted or damaged since its name was listed, or without maps to compare
        st.error(as_sentence(user_message(error)))


def _show() -> None:
    state = load_state()
    if state is not None and (step := film.shown_step(state.step)) != state.step:
        state = replace(state, step=step, measured=())  # a film measures nothing by itself
    if state is None:
        st.info("There are not two networks here. Build them with `python -m explorer pretrained all`.")
        return
    subject = find_image(AppState(picture=state.picture, frame=state.frame, paper=state.paper))
    st.header(f"Compare {('two', 'three', 'four')[len(state.networks) - 2]} networks", anchor=False)
    missing.show_missing(missing_networks(), state.networks, subject is None, update_state)
    if not lesson.hides("controls"):
        controls.choose_more_networks(state)
    network_registry.load_visibly(state.networks)
    introduction, above = st.container(), st.container()
    try:
        networks = network_registry.chosen_networks(state.networks, state.step)
        with introduction:
            _introduction(networks)
        sections(state, networks, subject or sample_image(6, 6))
    except ValueError as error:  # as `show` says it; the film stays, so that another step can be chosen
        st.error(as_sentence(user_message(error)))
    with above:  # at last: the browser asks for the next step when it hears of this one
        film.show(state.networks, state.step, lambda step: update_state(step=step, measured=()))


def _introduction(networks: Sequence[ChosenNetwork]) -> None:
    first, second = networks[:2]
    if len(networks) == 2 and second.name == network_registry.twin_name(first.name):
        lesson.explain(twins_text(as_text(first.title), as_text(second.title)))
    if not same_classes(networks):
        st.info(
            "These networks know different classes. Their settings and maps can be compared; each map explains a class "
            "of its own network."
        )


def sections(state: CompareState, networks: Sequence[ChosenNetwork], subject: InputImage) -> None:
    """All that the page shows of these networks. The tiles come first: they need no pass."""
    key = ",".join(network.name for network in networks)
    try:
        shared = measured_images.shared_data(networks)
    except ValueError as error:  # the files of some data are damaged
        st.error(as_sentence(user_message(error)))
        shared = []
    options = measurements.data_options(networks, shared)
    choice = measurements.choose(state, networks, options)
    requests = choice.requests(networks, state.explained)
    said = measurements.known(requests["said"], networks) if choice.is_labelled else {}
    verdict.show(networks, said)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if not lesson.hides("controls"):
            controls.choose_images(state, choice, options)
        controls.measure_everything(state, choice, requests, networks)
    controls.show_assumed_classes(networks, choice)
    compared = compare(state, networks, subject)
    _predicted(state, choice, requests, compared, key)
    seen = _tab(state, choice, requests, compared, subject, key)
    verdict.ending(networks, said)
    report.section(compared, key, subject, state, seen)


def _predicted(
    state: CompareState, choice: Choice, requests: dict[str, Request], compared: Sequence[ComparedNetwork], key: str
) -> None:
    """Curves beside confusion matrices, then the images on which the networks disagree."""
    said = None
    with st.container(horizontal=True, gap="medium"):
        with st.container(width=400):
            spec_diff.curves(compared)
        with st.container(width=620):
            if choice.is_labelled:
                said = controls.measure(state, "said", requests, compared)
            else:
                offer_labelled_images(
                    NONE_FOR_ALL,
                    [(each.checkpoint.spec, each.checkpoint.class_names) for each in compared],
                    BRING_FOR_ALL,
                )
            if said is not None:
                labelled.mistakes(requests["said"], compared, said, key)
    if said is not None:
        labelled.disagreements_section(requests["said"], compared, said, key)
        labelled.numbers(requests["said"], compared, said, key)


def _tab(
    state: CompareState,
    choice: Choice,
    requests: dict[str, Request],
    compared: Sequence[ComparedNetwork],
    subject: InputImage,
    key: str,
) -> ensemble_map.EnsembleMap | None:
    """The open tab. Returns the CAM of the ensemble where that tab shows it."""
    tab, place = _open_tab(state)
    with place:
        if tab in ("maps", "methods") and not lesson.hides("controls"):
            with st.container(horizontal=True):
                controls.choose_view(state)
        if tab == "maps":
            predictions.section(compared, subject)
            maps.section(state, compared, subject)
        elif tab == "layers":
            layer_similarity.section(requests.get("cka"), compared, choice.is_here, f"{key}-cka")
        elif tab == "object":
            object_shares.section(state, requests, compared, choice.n, f"{key}-shares")
        elif tab == "methods":
            methods.section(state, compared, subject)
        elif tab == "ensemble":
            return ensemble.section(state, choice, requests, compared, subject, key)
        else:
            spec_diff.section(compared)
    return None


def _open_tab(state: CompareState) -> tuple[Tab, Any]:
    """The open tab and its place; the others stay empty and cost nothing."""
    st.session_state["compare_tab"] = TABS[state.tab]
    titles = {title: tab for tab, title in TABS.items()}
    places = st.tabs(
        list(titles),
        key="compare_tab",
        on_change=lambda: update_state(tab=titles[st.session_state["compare_tab"]]),
    )
    return next((tab, place) for tab, place in zip(TABS, places, strict=True) if place.open)
