"""The widgets of the page `Gradients`: they edit a `GradientsState`, which lives in the URL and nowhere else."""

from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from explorer.labels import GRADIENT_QUANTITIES, GRADIENT_SCALES, GRADIENT_SOURCES, capital, label
from explorer.ui import dataset_access, missing, network_registry, url_query
from explorer.ui.gradients import flow_measurements
from explorer.ui.gradients.state import FACTORS, MOST_SEEDS, GradientsState
from explorer.ui.widgets.bound import bound, choice
from explorer.ui.widgets.pickers import second_network_select


def load_state() -> GradientsState:
    """The state in the URL, with networks and data that are here; an old link may name others."""
    state = GradientsState.shown(url_query.read())
    if state.data is not None and not dataset_access.is_available(state.data):
        state = replace(state, data=None)
    names = names_for(state)
    if state.source == "initial" or not names:
        return state
    if not _is_here(state, state.first):
        if state.second is not None and _is_here(state, state.second):
            beside = network_registry.substitute(state.second)
            pair = (beside, state.second) if beside in names else (state.second, None)
            state = replace(state, first=pair[0], second=pair[1])
        else:
            state = replace(state, first=GradientsState.first if GradientsState.first in names else names[0])
    if state.second is not None and not _can_stand_beside(state, state.second):
        twin = network_registry.twin_name(state.first)
        state = replace(state, second=twin if twin and _can_stand_beside(state, twin) else None)
    return state


def names_for(state: GradientsState) -> list[str]:
    return (
        [name for name in network_registry.network_names() if _has_source(state, name)]
        if state.source != "initial"
        else []
    )


def _is_here(state: GradientsState, name: str) -> bool:
    return network_registry.is_network(name) and _has_source(state, name)


def lost() -> dict[str, str]:
    """The networks in the URL that are not here, by their places; none is needed at initialisation."""
    state = GradientsState.shown(url_query.read())
    return missing.missing_networks((state.first, state.second)) if state.source != "initial" else {}


def _has_source(state: GradientsState, name: str) -> bool:
    return state.source != "record" or flow_measurements.recorded(name) is not None


def _can_stand_beside(state: GradientsState, name: str) -> bool:
    """Whether the first network of the state can be shown with that one: of a batch both must know the classes."""
    if name == state.first or not _is_here(state, name):
        return False
    shapes = [network_registry.spec(each).input_shape[1:] for each in (state.first, name)]
    return state.source == "record" or (shapes[0] == shapes[1] and network_registry.same_classes(state.first, name))


def update_state(**changes: Any) -> None:
    """Puts the state with these changes into the URL. It goes on naming networks that are gone, until others are
    chosen: they may be brought again."""
    state, before = load_state(), GradientsState.shown(url_query.read())
    if not {"first", "second"} & set(changes) and lost():
        state = replace(state, first=before.first, second=before.second)
    url_query.write(replace(state, **changes).to_query())


choose = partial(choice, prefix="gradients", change=update_state)


def choose_source(state: GradientsState) -> None:
    choose(state, "source", "Of which networks", GRADIENT_SOURCES, label_visibility="collapsed")


def choose_grid(state: GradientsState) -> None:
    with st.container(horizontal=True, gap="medium"):
        for name, options in FACTORS.items():
            field = name.removesuffix("s")
            bound(
                st.pills,
                capital(field),
                list(options),
                key=f"gradients_{name}",
                value=list(getattr(state, name)),
                write=partial(_change_factor, name),
                selection_mode="multi",
                format_func=partial(label, field),
            )
    bound(
        st.slider,
        "Seeds",
        1,
        MOST_SEEDS,
        key="gradients_seeds",
        value=state.seeds,
        write=lambda seeds: update_state(seeds=seeds),
        help="Each seed draws other initial weights. The line is their median, the band reaches from the smallest to "
        "the largest.",
    )
    names = flow_measurements.grid_data()
    names += [state.data] if state.data and state.data not in names else []  # of a link
    _choose_data(names, state.data or names[0])


def _change_factor(name: str, chosen: list[Any]) -> None:
    picked = tuple(option for option in FACTORS[name] if option in chosen)
    if picked:  # the last one stays: without it there is no network
        update_state(**{name: picked})


def _choose_data(names: list[str], value: str) -> None:
    if len(names) > 1:
        bound(
            st.selectbox,
            "Pictures of the batch",
            names,
            key="gradients_data",
            value=value,
            write=lambda data: update_state(data=data),
            format_func=dataset_access.data_title,
            help="A gradient is that of the loss, so it needs pictures with labels.",
        )


def choose_networks(state: GradientsState) -> None:
    here = names_for(state)
    if not here:
        return
    names = list(dict.fromkeys([*here, state.first]))  # that of a link too
    labels = network_registry.unique_labels(dict.fromkeys([*names, *state.networks]))
    left, right = st.columns(2)
    with left:
        bound(
            st.selectbox,
            "First network",
            names,
            key="gradients_first",
            value=state.first,
            write=lambda name: update_state(first=name),
            format_func=labels.__getitem__,
        )
    beside = [name for name in names if _can_stand_beside(state, name)]
    alike = list(dict.fromkeys([*beside, *state.networks[1:]]))
    with right:
        second_network_select("gradients_second", state.second, alike, labels, update_state)
    if state.source == "checkpoint":
        data = flow_measurements.data_of(state)
        if data:
            _choose_data(data, state.data if state.data in data else data[0])
        choose(
            state,
            "mode",
            "Mode of the network",
            {"evaluation": "evaluation", "training": "training"},
            help="Evaluation: BatchNorm takes the statistics that it has learned, as when the network is used. "
            "Training: those of the batch, as the next training step would.",
        )


def choose_view(state: GradientsState) -> None:
    with st.container(horizontal=True, gap="small"):
        choose(
            state,
            "what",
            "Gradient of",
            GRADIENT_QUANTITIES,
            disabled=state.source == "record",
            help="Weights: what a training step changes them by, before the learning rate. Activations: what arrives "
            "at the output of each convolution. Block outputs: what the sums pass on. A training records weights only.",
        )
        choose(state, "scale", "Scale", GRADIENT_SCALES)
