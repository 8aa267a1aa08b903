"""The three results that Gradients opens with, and the answer that follows from them."""

from dataclasses import replace
from urllib.parse import urlencode

import streamlit as st

from explorer.checkpoints import CheckpointError
from explorer.experiments.gradient_summary import (
    TwinGradients,
    answer,
    conclusion,
    findings,
    gradient_extent,
    setting,
    verb_of,
)
from explorer.labels import capital
from explorer.ui import dataset_access, lesson, navigation, network_registry
from explorer.ui.gradients import controls, flow_measurements, profiles
from explorer.ui.gradients.flow_measurements import MeasuredFlow
from explorer.ui.gradients.flow_view import FlowView, numbers_of, origin_of, sample_of
from explorer.ui.gradients.state import CARDS, GradientsState
from explorer.ui.markdown import as_text
from explorer.ui.viewer import place

NEXT_QUESTION = "How deep can you train? → Build & train"
_HEADS = ("network", "first / last", "smallest to largest", "n", "layers")
_component = place("cards", "<div class='results'></div>", profiles.STYLES, "gradients.js")


def _measured(card: GradientsState) -> tuple[list[MeasuredFlow], str]:
    """The two networks of a card and the words for the batch; none where something of it was not measured."""
    data = card.grid_data
    pictures = flow_measurements.batch(data, dataset_access.data_shape(data)[0][1])
    if card.source == "initial":
        found = flow_measurements.measured_grid(card)
        return (found if all(len(each.flows) == card.seeds for each in found) else []), pictures.words
    try:
        return flow_measurements.measured_networks(card, data), pictures.words
    except CheckpointError:  # damaged: Explore says so
        return [], pictures.words


def _span(found: list[list[MeasuredFlow]]) -> list[tuple[int, int] | None]:
    """The decades of each chart: those before the training that do not vanish share theirs with those after it."""
    own = [
        profiles.span_of(profiles.lines_of(each, card)) if each else None
        for each, card in zip(found, CARDS, strict=True)
    ]
    shared = [span for span in own[1:] if span]
    if shared:
        low, high = min(span[0] for span in shared), max(span[1] for span in shared)
        own[1:] = [(low, high) if span else None for span in own[1:]]
    return own


def show_results(state: GradientsState) -> list[FlowView]:
    """Draws a card for each view of `CARDS`, and returns these; without networks where something was not measured."""
    measured = [_measured(card) for card in CARDS]
    found = [networks for networks, _ in measured]
    cards, views = [], []
    for card, (networks, words), span in zip(CARDS, measured, _span(found), strict=True):
        when = "After training" if card.source == "checkpoint" else "At initialisation"
        specs = card.specs() if card.source == "initial" else [each.spec for each in networks]
        of = ": ".join(filter(None, [when, setting(specs, initialisation=card.source == "initial", activation=False)]))
        origin = origin_of(card) if networks else ""
        views.append(FlowView(of, card, networks, words, origin))
        one = {"setting": of, "query": urlencode(card.to_query()), "shown": card == _without_pair(state, card)}
        if len(networks) < 2:
            cards.append(one | {"title": "Not measured here", "sentence": "Open it to measure it.", "numbers": None})
            continue
        sentences = findings(networks, sample="seed" if card.source == "initial" else "batch")
        lines = profiles.lines_of(networks, card)
        size = profiles.what_is_measured(card.what, card.scale)
        is_told = not lesson.hides("text")
        alt = profiles.alt_of(networks, size, sentences if is_told else [])
        rows = [{name: str(row[name]) for name in _HEADS} for row in numbers_of(networks, card)]
        ratio = gradient_extent(networks[0].flows).ratio
        cards.append(
            one
            | {
                **({} if is_told else {"setting": ""}),
                "title": of if not is_told else capital(verb_of(ratio)) if ratio else "Exactly 0",
                "sentence": " ".join(sentences) if is_told else "",
                "numbers": {
                    "about": f"{sample_of(networks, words)}. {origin}".strip(),
                    "chart": profiles.profile(lines, [], size=size, alt=alt, span=span),
                    "head": _HEADS,
                    "rows": [list(row.values()) for row in rows],
                    "csv": flow_measurements.table(networks, card.what, words),
                    "file": f"gradients-{card.source}-{'-'.join([*card.norms, *card.initialisations])}.csv",
                },
            }
        )
    _component(key="cards", data={"cards": cards}, on_open_change=_open)
    return views


def _without_pair(state: GradientsState, card: GradientsState) -> GradientsState:
    """The pair of the bar says nothing where networks without training are shown."""
    return replace(state, first=card.first, second=card.second) if card.source == "initial" else state


def _open() -> None:
    """Shows the view of the card that the browser names; it may send anything."""
    wanted = st.session_state["cards"]["open"]
    for card in CARDS:
        if wanted == urlencode(card.to_query()):
            controls.write(card.to_query())


def show_answer(views: list[FlowView]) -> None:
    """Why a deep plain network is hard to train, as far as the three results tell, and the next question."""
    with st.container(border=True, key="answer"):
        try:
            *initial, (plain, residual) = [(view.found[0], view.found[1]) for view in views]
            twins = [TwinGradients(*pair) for pair in initial]
            finding = conclusion(twins)
            sentences = answer(twins, TwinGradients(plain, residual, _accuracies()))
        except (IndexError, ValueError, CheckpointError):  # something was not measured, or is damaged
            finding, sentences = "", []
        if finding:
            st.subheader("Why is the deep plain network hard to train?", anchor=False)
            st.markdown(as_text(" ".join(sentences)))
            st.markdown(f"**{as_text(finding)}**")
        navigation.page_link("build", NEXT_QUESTION, {})


def _accuracies() -> tuple[float, float]:
    plain, residual = (network_registry.read_header(name).metrics["test"]["accuracy"] for name in CARDS[2].networks)
    return plain, residual
