"""More ways to ask why: a method, its form, its cost before it runs, and its map beside that of the other network."""

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import streamlit as st

from explorer import attribution, figures
from explorer.architectures import ArchitectureSpec
from explorer.attribution import METHODS, Attribution, Parameter, Share, as_map
from explorer.errors import user_message
from explorer.figures import ColourScale
from explorer.files import npz
from explorer.images import to_pixels
from explorer.ui import navigation, network_registry
from explorer.ui.api.strip import shown_layer
from explorer.ui.charts import colour_bar
from explorer.ui.explore import controls
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.services.caches import CACHES
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import INFERENCE_SLOTS, NetworkResult
from explorer.ui.services.input_images import InputImage
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.long_task import long_task, run_sequentially

SIDE = 230  # pixels of a map
SEED = 0  # of SmoothGrad's noise and RISE's masks
MISSED = 0.5  # of the score's difference: the most by which the values of a map that is of use may miss it
Values = dict[str, int | float | str]
T = TypeVar("T")


def methods_tab(state: AppState, subject: InputImage, looked: list[NetworkResult]) -> None:
    """A method that explains the whole network, whichever layer is chosen."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        choose_method(state)
        try:
            shown, chosen = parameters(state, looked)
        except ValueError as error:
            st.error(as_sentence(user_message(error)))
            return
        draw_fields(shown, chosen, f"parameter_{state.method}", _change_parameter)
    describe_method(state.method, looked)
    try:
        seconds = sum(seconds_of(network, state.method, chosen) for network in looked)
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        return
    long_task(
        attributions_key(looked, subject, state.method, chosen),
        f"Run {METHODS[state.method].title}",
        lambda: run_sequentially([partial(explained, network, state.method, chosen) for network in looked]),
        lambda results: _draw(state, looked, results, chosen),
        seconds=seconds,
    )


def describe_method(name: str, looked: Sequence[NetworkResult]) -> None:
    """Describes the method, with its notes on these networks."""
    st.markdown(f"**{METHODS[name].title}**: {METHODS[name].shows}")
    for words in dict.fromkeys(filter(None, (attribution.note(name, network.checkpoint.spec) for network in looked))):
        st.info(words)


def choose_method(state: AppState) -> None:
    bound(
        st.selectbox,
        "Method",
        list(METHODS),
        key="method",
        value=state.method,
        write=lambda method: controls.update_state(method=method, parameters="{}"),
        format_func=lambda name: METHODS[name].title,
        width=220,
    )


def parameters(state: AppState, looked: Sequence[NetworkResult]) -> tuple[list[Parameter], Values]:
    """The parameters of the state's method and their values. Raises ValueError as `supported_parameters` does."""
    specs = [network.checkpoint.spec for network in looked]
    return supported_parameters(state.method, specs, state.chosen(), shown_layer(state.layer, list(looked)))


def draw_fields(
    parameters: Sequence[Parameter], chosen: Values, prefix: str, write: Callable[[str, Any], None]
) -> None:
    """A field for each parameter; `write` gets the parameter's name and its new value."""
    for parameter in parameters:
        shared: dict[str, Any] = {
            "key": f"{prefix}_{parameter.name}",
            "value": chosen[parameter.name],
            "write": partial(write, parameter.name),
            "help": parameter.meaning,
        }
        if parameter.choices:
            bound(st.selectbox, parameter.title, list(parameter.choices), width=200, **shared)
        else:
            step = 1 if isinstance(parameter.default, int) else 0.01
            bound(st.number_input, parameter.title, parameter.low, parameter.high, step=step, width=130, **shared)


def _change_parameter(name: str, value: Any) -> None:
    if value is not None:
        controls.update_state(parameters=json.dumps(controls.load_state().chosen() | {name: value}, sort_keys=True))


def supported_parameters(
    method: str, specs: Sequence[ArchitectureSpec], wanted: Values, preferred: str | None = None
) -> tuple[list[Parameter], Values]:
    """The parameters that fit every network, and of each the wanted value where it is legal, else the default.

    A choice begins with `preferred` where that is one. Raises ValueError where no choice fits all networks.
    """
    first, *others = [{each.name: each for each in attribution.parameters_of(method, spec)} for spec in specs]
    common: list[Parameter] = []
    chosen: Values = {}
    for name, parameter in first.items():
        same = [parameter, *(known[name] for known in others if name in known)]
        choices = tuple(word for word in parameter.choices if all(word in each.choices for each in same))
        if parameter.choices and not choices:
            raise ValueError(f"These networks have no {name} in common, and {METHODS[method].title} needs one of each.")
        low, high = max(each.low for each in same), min(each.high for each in same)
        common.append(replace(parameter, low=low, high=high, choices=choices))
        if choices:
            wishes: tuple[Any, ...] = (wanted.get(name), preferred, parameter.default, choices[-1])
            chosen[name] = next(wish for wish in wishes if wish in choices)
        else:
            value = wanted.get(name, parameter.default)
            is_whole = isinstance(parameter.default, int)
            kinds = int if is_whole else int | float
            is_legal = isinstance(value, kinds) and low <= value <= high
            number = min(max(float(value if is_legal else parameter.default), low), high)
            chosen[name] = int(number) if is_whole else number
    return common, chosen


def attribution_key(network: NetworkResult, subject: InputImage, method: str, chosen: Values) -> str:
    """All that an attribution depends on, as one string."""
    parameters = json.dumps(chosen, sort_keys=True)
    return f"{method}-{parameters}-{network.name}-{subject.digest}-{network.trace.target}"


def attributions_key(looked: Sequence[NetworkResult], subject: InputImage, method: str, chosen: Values) -> str:
    """Where the list of the attributions of all networks is kept, once measured."""
    return "/".join(attribution_key(network, subject, method, chosen) for network in looked)


def explained(network: NetworkResult, method: str, chosen: Values) -> Any:
    """The work that ends in the `Attribution` of the picture that this network looks at."""
    return attribution.explain(
        network.checkpoint.network, network.trace.image, network.trace.target, method, chosen, SEED
    )


def seconds_of(network: NetworkResult, method: str, chosen: Values) -> float:
    """Expected seconds of the method. Raises ValueError for parameters that do not go together."""
    return attribution.cost(method, network.checkpoint.spec, chosen).passes * pass_seconds(network)


def pass_seconds(network: NetworkResult) -> float:
    """Seconds of one pass through that network on this machine, measured once for each spec."""
    return _pass_seconds(network.checkpoint.spec.fingerprint, network.name)


@st.cache_resource(
    max_entries=CACHES["ui.explore.methods._pass_seconds"].entries, show_spinner="Measuring how long a pass takes"
)
def _pass_seconds(fingerprint: str, _name: str) -> float:
    with INFERENCE_SLOTS:
        return attribution.seconds_per_pass(network_registry.checkpoint(_name).network)


def part(steps: Generator[Share[T], None, Any], start: float = 0.0, end: float = 1.0) -> Generator[Share[Any], None, T]:
    """Yields the progress of `steps` as that of a longer work, from its share `start` to `end`; returns the result."""
    with closing(steps):
        for step in steps:
            if step.result is not None:
                return step.result
            yield Share(start + (end - start) * step.share)
    raise RuntimeError("the work has ended without a result")


def paint(values: np.ndarray, top: float, signed: bool) -> np.ndarray:
    """A map on the scale of its kind, uint8 (H, W, 3)."""
    return (ColourScale.signed(top) if signed else ColourScale.sizes(top)).paint(values)


def is_signed(method: str) -> bool:
    return METHODS[method].signed


def _draw(state: AppState, looked: list[NetworkResult], results: Sequence[Attribution], chosen: Values) -> None:
    top = shared_max(results)
    for column, network, result in zip(st.columns(len(looked), gap="large"), looked, results, strict=True):
        with column:
            st.markdown(f"**{as_text(network.title)}**, explaining *{as_text(network.target)}*")
            draw_maps(network, network.title, result, chosen, top, state.opacity / 100)
    scale_bar(state.method, top, ", one scale for both networks" if len(looked) > 1 else "")


def shared_max(results: Sequence[Attribution]) -> float:
    """The largest absolute value in any of the maps: where one scale for all of them ends."""
    return max(float(np.abs(as_map(result)).max()) for result in results)


def draw_maps(
    network: NetworkResult, name: str, result: Attribution, chosen: Values, top: float, opacity: float
) -> None:
    """The method's map over what the network sees, and alone beside it; its range, and its numbers as a file."""
    values, signed, title = as_map(result), is_signed(result.method), METHODS[result.method].title
    seen = to_pixels(network.trace.image, network.checkpoint.mean, network.checkpoint.std)
    large = figures.upscale_nearest(seen, SIDE)
    grown = figures.upscale_nearest(values, SIDE)
    if signed:
        over = figures.signed_overlay(large, grown, top, opacity)
    else:
        over = figures.overlay(large, grown / top if top else grown, opacity)
    with st.container(horizontal=True):
        st.image(over, output_format="PNG", alt=f"{title} of {name} over the image")
        st.image(
            paint(grown, top, signed),
            output_format="PNG",
            alt=f"{title} of {name} alone, from {values.min():.3g} to {values.max():.3g}",
        )
    st.caption(sum_words(result, values))
    navigation.download_button(
        f"Raw numbers of {as_text(name)} (npz)",
        data=partial(_npz, network, result, chosen),
        file_name=f"{network.name}-{result.method}.npz",
        key=f"npz_method_{network.name}",
        help="The value of each channel and pixel, the map, the image, the parameters.",
    )


def scale_bar(method: str, top: float, shared: str) -> None:
    title = METHODS[method].title
    if is_signed(method):
        words = f"{title}, ±{top:.3g}{shared}: red supports the explained class, blue opposes it"
        colour_bar(figures.DIVERGING, words)
    else:
        colour_bar(figures.SEQUENTIAL, f"{title}, 0 to {top:.3g}{shared}")


def sum_words(result: Attribution, values: np.ndarray) -> str:
    """The range of the map, and of Integrated Gradients and DeepLIFT whether its sum is what it must be: the score's
    difference (Sundararajan et al. 2017, proposition 1; Shrikumar et al. 2017, equation 1)."""
    if not values.any() and METHODS[result.method].fold == "single":
        return "Zero everywhere: the method keeps what supports the class alone, and finds nothing here."
    if not values.any():
        return "Zero everywhere: the score does not depend on the image in this way."
    words = f"From {values.min():.3g} to {values.max():.3g}."
    if result.difference is None or result.delta is None:
        return words
    total, has_steps = result.difference + result.delta, result.method == "integrated_gradients"
    words += (
        f" The score of the image exceeds that of the baseline by {result.difference:.4g}; all values sum to "
        f"{total:.4g}"
    )
    if total * result.difference < 0:
        other = "take more steps or another baseline" if has_steps else "take another baseline"
        return f"{words}, which has the wrong sign. This map is **not usable**; {other}."
    if abs(result.delta) > MISSED * abs(result.difference):
        other = "take more steps" if has_steps else "take another baseline"
        return f"{words}. More than half is missed or added, so this map is **not usable**; {other}."
    closer = " (more steps come closer)" if has_steps else ""
    return f"{words}, so {abs(result.delta):.2g} is missed{closer}."


def _npz(network: NetworkResult, result: Attribution, chosen: Values) -> bytes:
    arrays: dict[str, Any] = {
        "values": result.values,
        "map": as_map(result),
        "image": network.trace.image,
        "method": np.array(result.method),
        "parameters": np.array(json.dumps(chosen, sort_keys=True)),
        "network": np.array(network.name),
        "target": np.array(result.target),
        "class_names": np.array(network.checkpoint.class_names),
    }
    if result.difference is not None:
        arrays |= {"difference": np.array(result.difference), "delta": np.array(result.delta)}
    return npz(arrays)
