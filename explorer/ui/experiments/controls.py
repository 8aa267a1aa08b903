"""The state of Experiments in the URL, and the widgets that all its questions share."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.architectures.interventions import SEPARATOR
from explorer.experiments.attacks import AimedAttack
from explorer.figures import DASHES, Series
from explorer.images import Dials
from explorer.labels import DIALS, listed
from explorer.ui import bar, lesson, network_registry, url_query
from explorer.ui.experiments.question import AskedNetwork
from explorer.ui.experiments.state import MOST_OTHERS, ExperimentsState, QuestionName
from explorer.ui.markdown import as_text
from explorer.ui.services.explore_state import AppState
from explorer.ui.session import session
from explorer.ui.widgets.bound import bound

MOST_NAMED = 3  # interventions


def load_state() -> ExperimentsState:
    """The state in the URL, without networks that are not here."""
    state = ExperimentsState.from_query(url_query.read())
    return replace(state, others=tuple(name for name in state.others if network_registry.is_network(name)))


def update_state(**changes: Any) -> None:
    """Puts the state with these changes into the URL; the link asks for a measurement only after one was asked for."""
    state = replace(load_state(), **{"measure": False} | changes)
    pair = {name: value for name, value in url_query.read().items() if name in bar.fields_of("experiments")}
    url_query.write(pair | state.to_query())


def asked_networks(state: ExperimentsState) -> list[AskedNetwork]:
    """The pair of the bar, and the others that know the same classes."""
    pair = AppState.from_query(session().pair)
    first, second = network_registry.pair(pair.first, pair.second)
    others = [name for name in state.others if name not in (first, second) and _is_alike(name, first)]
    chosen = network_registry.chosen_networks([first, *filter(None, [second]), *others])
    asked: list[AskedNetwork] = []
    for each in chosen:
        dash = DASHES[sum(other.series.colour == each.colour for other in asked)]
        asked.append(AskedNetwork(each, Series(each.title, each.colour, dash)))
    return asked


def _is_alike(name: str, other: str) -> bool:
    """Whether one set of labelled images fits both."""
    is_same = network_registry.same_classes(name, other)
    return is_same and network_registry.spec(name).input_shape == network_registry.spec(other).input_shape


def choose_question(state: ExperimentsState, titles: Mapping[QuestionName, str]) -> None:
    if len(titles) > 1:
        bound(
            st.radio,
            "Question",
            list(titles),
            key="experiments_question",
            value=state.question,
            write=lambda question: update_state(question=question),
            format_func=titles.__getitem__,
            label_visibility="collapsed",
            horizontal=True,  # eleven lines would push every answer out of the window
        )


def show_changes(own_dials: Sequence[str] | None, takes_attack: bool) -> None:
    """Says what of the changes on Explore the question starts from, and what it does not apply. The parameters are
    those of a `Question`."""
    view = AppState.from_query(session().pair)
    dials = Dials.from_text(view.dials)
    kept = [] if own_dials is None else [dials.without(own_dials).in_words()]
    others = [] if own_dials is None else [name for name in DIALS if name not in own_dials]
    left = [dials.without(others).in_words()]
    aimed = AimedAttack.from_text(view.attack)
    attack = f"the attack ({aimed.attack.words()})" if aimed.level else ""
    (kept if takes_attack else left).append(attack)
    left.append(_interventions(view.change))
    said = []
    if any(kept):
        said.append(f"The image is changed as on Explore: {listed([*filter(None, kept)])}.")
    if any(left):
        said.append(f"Set on Explore and not applied to this question: {listed([*filter(None, left)])}.")
    if said:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(as_text(" ".join(said)), width="content")
            if not lesson.hides("controls"):
                st.button("Put all back", key="experiments_put_back", on_click=_put_back)


def _put_back() -> None:
    bar.change(**dict.fromkeys(bar.CHANGES, ""))
    update_state()


def _interventions(change: str) -> str:
    """Those of an AppState in words; one that does not fit a network is named on Explore."""
    found = [each for each in change.split(SEPARATOR) if each]
    if len(found) > MOST_NAMED:
        return f"{len(found)} changes of the networks"
    return f"the change{'' if len(found) == 1 else 's'} {listed(found)} of the networks" if found else ""


def choose_others(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> None:
    """Up to two networks beside the pair, of the same classes and the same input."""
    pair = {each.name for each in networks} - {*state.others}
    names = [
        name for name in network_registry.network_names() if name not in pair and _is_alike(name, networks[0].name)
    ]
    labels = network_registry.unique_labels(names)
    if names:
        bound(
            st.multiselect,
            "More networks",
            names,
            key="experiments_others",
            value=[name for name in state.others if name in names],
            write=lambda others: update_state(others=tuple(others)),
            format_func=lambda name: labels.get(name, name),
            max_selections=MOST_OTHERS,
            width=420,
        )
