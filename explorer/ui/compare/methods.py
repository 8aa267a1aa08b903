"""More methods, in Compare: each network's map by one method, with its cost before it runs, all on one scale."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from explorer.attribution import METHODS, Attribution, parameters_of
from explorer.attribution.methods import LAYERED
from explorer.errors import user_message
from explorer.ui.compare.aligned_strip import OPACITY
from explorer.ui.compare.comparison import ComparedNetwork
from explorer.ui.compare.maps import different_classes
from explorer.ui.compare.state import CompareState
from explorer.ui.explore.methods import (
    SEED,
    SIDE,
    Values,
    attribution_key,
    describe_method,
    draw_fields,
    draw_maps,
    explained,
    scale_bar,
    seconds_of,
    shared_max,
    supported_parameters,
)
from explorer.ui.markdown import as_code, as_sentence, as_text
from explorer.ui.services.input_images import InputImage
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.long_task import long_task, run_sequentially

_METHOD = "compared_method"  # of the session: a network's layers and sizes make no link that others could use
_PARAMETERS = "compared_parameters"  # of the session: for each method those that were set


def section(state: CompareState, compared: Sequence[ComparedNetwork], subject: InputImage) -> None:
    st.markdown("Other methods explain each network as a whole. → Do they point at the same places as Grad-CAM?")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        method = _choose_method()
        if method is None:
            return
        chosen = _form(method, compared)
    describe_method(method, compared)
    asked = _asked(method, chosen, state, compared)
    if not asked:
        return
    try:
        seconds = sum(seconds_of(network, method, values) for network, values in asked)
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        return
    long_task(
        "/".join(attribution_key(network, subject, method, values) for network, values in asked),
        f"Run {METHODS[method].title} on {len(asked)} networks" if len(asked) > 1 else f"Run {METHODS[method].title}",
        lambda: run_sequentially([partial(explained, network, method, values) for network, values in asked]),
        lambda results: _draw(method, asked, results),
        seconds=seconds,
    )


def _choose_method() -> str | None:
    """The method of this session; none at first, since its cost is measured with every network."""
    name: str | None = bound(
        st.selectbox,
        "Method",
        list(METHODS),
        index=None,
        key="compare_method",
        value=st.session_state.get(_METHOD),
        write=lambda method: st.session_state.update({_METHOD: method}),
        format_func=lambda name: METHODS[name].title,
        placeholder="Choose a method",
        width=260,
    )
    return name


def _form(method: str, compared: Sequence[ComparedNetwork]) -> Values:
    """The fields that all networks share, and their values. Layers are no field: each network has its own."""
    if method in LAYERED:
        return {}
    wanted = st.session_state.setdefault(_PARAMETERS, {}).get(method, {})
    parameters, chosen = supported_parameters(method, [network.checkpoint.spec for network in compared], wanted)
    draw_fields(parameters, chosen, f"compare_parameter_{method}", partial(_change_parameter, method))
    return chosen


def _change_parameter(method: str, name: str, value: int | float | str | None) -> None:
    if value is not None:
        st.session_state[_PARAMETERS].setdefault(method, {})[name] = value


def _asked(
    method: str, chosen: Values, state: CompareState, compared: Sequence[ComparedNetwork]
) -> list[tuple[ComparedNetwork, Values]]:
    """The networks that the method can explain, each with its parameters."""
    if method not in LAYERED:
        sizes = {network.checkpoint.spec.input_shape[1:] for network in compared}
        if method == "occlusion" and len(sizes) > 1:
            st.caption("Window and stride count pixels of each network's own input, and the inputs differ in size.")
        return [(network, chosen) for network in compared]
    asked: list[tuple[ComparedNetwork, Values]] = []
    for network in compared:
        layer = _layer(network, method, state.depth)
        if layer is None:
            title = METHODS[method].title
            st.info(f"{as_text(network.title)} has no layer with feature maps, so {title} cannot explain it.")
        else:
            asked.append((network, {"layer": layer}))
    layers = ", ".join(f"{as_text(network.title)} {as_code(str(values['layer']))}" for network, values in asked)
    if asked:
        st.caption(
            f"Of each network the layer nearest to relative depth {state.depth:.2f} (tab Where they look): {layers}."
        )
    return asked


def _layer(network: ComparedNetwork, method: str, depth: float) -> str | None:
    """Of the layers that the method can take the one nearest to that relative depth, of two the later."""
    for parameter in parameters_of(method, network.checkpoint.spec):
        there = [name for name in reversed(parameter.choices) if name in network.depths]
        if there:
            return min(there, key=lambda name: abs(network.depths[name] - depth))
    return None


def _draw(method: str, asked: Sequence[tuple[ComparedNetwork, Values]], results: Sequence[Attribution]) -> None:
    top = shared_max(results)
    with st.container(horizontal=True, gap="medium"):
        for (network, values), result in zip(asked, results, strict=True):
            with st.container(width=2 * SIDE + 24):
                st.markdown(f"**{as_text(network.title)}**, explaining *{as_text(network.target)}*")
                draw_maps(network, network.title, result, values, top, OPACITY)
    networks = "both networks" if len(asked) == 2 else f"all {len(asked)} networks"
    scale_bar(method, top, f", one scale for {networks}" if len(asked) > 1 else "")
    for words in different_classes([network for network, _ in asked]):
        st.caption(words)
    drawn = {"smoothgrad": "noise", "rise": "masks"}.get(method)
    st.caption("n = 1 image" + (f", {drawn} of seed {SEED}." if drawn else "."))
