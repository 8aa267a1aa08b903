"""The widgets of the page `Gradients`: they edit a `GradientsState`, which lives in the URL and nowhere else. The bar
chooses its networks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from explorer.labels import GRADIENT_QUANTITIES, GRADIENT_SCALES, GRADIENT_SOURCES, capital, label
from explorer.ui import dataset_access, missing, network_registry, url_query
from explorer.ui.gradients import flow_measurements
from explorer.ui.gradients.geometry_state import GeometryState
from explorer.ui.gradients.slow_state import SlowState
from explorer.ui.gradients.state import FACTORS, MOST_SEEDS, GradientsState
from explorer.ui.widgets.bound import bound, choice


def load_state() -> GradientsState:
    """The state in the URL, with networks and data that are here; an old link may name others."""
    state = GradientsState.shown(url_query.read())
    if state.data is not None and not dataset_access.is_available(state.data):
        state = replace(state, data=None)
    if state.source == "initial" or not network_registry.network_names():
        return state
    first, second = network_registry.pair(state.first, state.second, mixed=state.source == "record")
    return replace(state, first=first, second=second)


def lost() -> dict[str, str]:
    """The networks in the URL that are not here, by their places; none is needed at initialisation."""
    state = GradientsState.shown(url_query.read())
    return missing.missing_networks((state.first, state.second)) if state.source != "initial" else {}


def update_state(**changes: Any) -> None:
    """Puts the state with these changes into the URL. It goes on naming networks that are gone, until others are
    chosen: they may be brought again."""
    state, before = load_state(), GradientsState.shown(url_query.read())
    if not {"first", "second"} & set(changes) and lost():
        state = replace(state, first=before.first, second=before.second)
    # A query of networks alone, which came from another page, shows the first card; its networks stay.
    travelled = {name: text for name, text in url_query.read().items() if name in ("first", "second", "step")}
    kept = travelled if state.source == "initial" and not {*travelled} & {*changes} else {}
    write(replace(state, **changes).to_query() | kept)


def write(query: Mapping[str, str]) -> None:
    """Changes the view, and leaves the step in slow motion and the geometry of gradients as they are."""
    before = url_query.read()
    url_query.write(GeometryState.within(before) | SlowState.within(before) | dict(query))


choose = partial(choice, prefix="gradients", change=update_state)


def choose_source(state: GradientsState) -> None:
    choose(state, "source", "Of which networks", GRADIENT_SOURCES, label_visibility="collapsed")


def choose_grid(state: GradientsState) -> None:
    with st.container(horizontal=True, gap="medium"):
        choose_factors(state, FACTORS, update_state)
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


def choose_factors(
    state: GradientsState | GeometryState, factors: Mapping[str, Sequence[Any]], change: Callable[..., None]
) -> None:
    """Pills for each factor of a grid of networks, with which `change` is called."""

    def write(name: str, chosen: list[Any]) -> None:
        picked = tuple(option for option in factors[name] if option in chosen)
        if picked:  # the last one stays: without it there is no network
            change(**{name: picked})

    for name, options in factors.items():
        field = name.removeprefix("geometry_").removesuffix("s")
        bound(
            st.pills,
            capital(field),
            list(options),
            key=name if name.startswith("geometry_") else f"gradients_{name}",
            value=list(getattr(state, name)),
            write=partial(write, name),
            selection_mode="multi",
            format_func=partial(label, field),
        )


def _choose_data(names: list[str], value: str) -> None:
    if len(names) > 1:
        bound(
            st.selectbox,
            "Images of the batch",
            names,
            key="gradients_data",
            value=value,
            write=lambda data: update_state(data=data),
            format_func=dataset_access.data_title,
            help="A gradient is that of the loss, so it needs images with labels.",
        )


def choose_batch(state: GradientsState) -> None:
    """The pictures of the batch, where there are several sets, and the mode of the networks of the bar."""
    if data := flow_measurements.data_of(state):
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
