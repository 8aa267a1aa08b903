"""Can I trust this map? Whether its pixels matter to the network, and whether it depends on what was learned."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from explorer import attribution, figures
from explorer.architectures import Network
from explorer.attribution import METHODS, READINGS, Attribution, PerturbationCurve, Share
from explorer.errors import user_message
from explorer.figures import CascadeLine
from explorer.labels import EVIDENCE
from explorer.tracing import EVERYTHING, STRIP_KINDS, trace
from explorer.ui.api.layers import profile_of
from explorer.ui.api.strip import shown_layer
from explorer.ui.charts import chart, series_of
from explorer.ui.explore import controls, methods
from explorer.ui.explore.methods import SEED, Values, part, pass_seconds
from explorer.ui.markdown import as_sentence, as_text, table
from explorer.ui.network_text import source_text
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import NetworkResult
from explorer.ui.services.input_images import InputImage
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.long_task import cached_result, long_task, run_sequentially

RANDOM_ORDERS = 5
CURVE_STEPS = 32
CURVE_PASSES = 2 * (RANDOM_ORDERS + 1) * (CURVE_STEPS + 1)  # pictures with exchanged pixels, for both curves
MAX_CASCADE_STEPS = 24
THUMBNAIL_PX = 40
GRAD_CAM = "grad_cam"
Curves = tuple[PerturbationCurve, PerturbationCurve]
"""Of deletion and of insertion."""


@dataclass(frozen=True, eq=False)
class RandomisationResult:
    """A drawn `CascadingRandomisation`: names of the steps, the first "trained", each with its map, uint8 (H, W, 3),
    painted on a scale of its own, the largest absolute value there, and the correlations with the first."""

    names: tuple[str, ...]
    maps: tuple[np.ndarray, ...]
    tops: tuple[float, ...]
    correlations: tuple[float | None, ...]
    absolute_correlations: tuple[float | None, ...]


@dataclass(frozen=True)
class _MapRequest:
    """Which map is examined: "grad_cam" of `layer`, or a method with its parameters."""

    method: str
    layer: str
    chosen: Values
    everything: bool
    shown: Mapping[str, Attribution]
    """Of each network the method's attribution, where it was made before."""
    is_signed: bool
    """Whether the map has both signs."""

    @property
    def is_grad_cam(self) -> bool:
        return self.method == GRAD_CAM

    @property
    def title(self) -> str:
        return grad_cam_title(self.layer, self.is_signed) if self.is_grad_cam else METHODS[self.method].title

    def made(self, network: NetworkResult) -> np.ndarray | None:
        """The map (H, W) of that network; None for a method's that was not made before."""
        if self.is_grad_cam:
            column = profile_of(network, self.layer)
            return column.signed_cam if self.is_signed else column.cam
        return attribution.as_map(self.shown[network.name]) if network.name in self.shown else None

    def key(self, network: NetworkResult, subject: InputImage) -> str:
        if self.is_grad_cam:
            kind = "signed" if self.is_signed else "cam"
            return f"{kind}-{self.layer}-{network.name}-{subject.digest}-{network.trace.target}"
        return methods.attribution_key(network, subject, self.method, self.chosen)

    def seconds(self, network: NetworkResult) -> float:
        """What one map takes. Raises ValueError for parameters that do not go together."""
        return 2 * pass_seconds(network) if self.is_grad_cam else methods.seconds_of(network, self.method, self.chosen)

    def explain(self, network: Network, image: np.ndarray, target: int) -> Generator[Share[np.ndarray], None, None]:
        """How far the method has come, and last its map (H, W)."""
        found = yield from part(attribution.explain(network, image, target, self.method, self.chosen, SEED))
        yield Share(1.0, attribution.as_map(found))


def trust_tab(state: AppState, subject: InputImage, looked: list[NetworkResult]) -> None:
    layer = shown_layer(state.layer, looked)
    method = GRAD_CAM if state.questioned == "grad_cam" else state.method
    is_signed = state.evidence == "signed"
    bound(
        st.selectbox,
        "Map to test",
        [GRAD_CAM, *METHODS],
        key="questioned",
        value=method,
        write=_change_map,
        format_func=lambda name: grad_cam_title(layer, is_signed) if name == GRAD_CAM else METHODS[name].title,
        width=320,
        help="A method's parameters are those under More methods.",
    )
    try:
        request = _request(state, subject, looked, method, layer)
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        return
    there = [network for network in looked if not request.is_grad_cam or layer in network.trace.names]
    for network in looked:
        if network not in there:
            st.info(f"{as_text(network.title)} has no layer {layer}; choose one that both networks have.")
        elif request.is_grad_cam and not is_signed and (reason := profile_of(network, layer).zero_reason):
            st.info(f"The Grad-CAM of {as_text(network.title)} is zero everywhere, so its order is chance. {reason}")
    try:
        costs = [request.seconds(network) for network in there]
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        return
    keys = "/".join(request.key(network, subject) for network in there)
    st.markdown("#### Do these pixels matter?")
    st.markdown(f"**Deletion.** {READINGS['deletion']}")
    st.markdown(f"**Insertion.** {READINGS['insertion']}")
    maps = 0.0 if request.is_grad_cam or request.shown else sum(costs)
    long_task(
        f"curves/{keys}",
        "Measure deletion and insertion",
        lambda: run_sequentially([partial(_curves, request, network) for network in there]),
        lambda results: _draw_curves(request, there, subject, results),
        seconds=maps + CURVE_PASSES * sum(pass_seconds(network) for network in there),
    )
    st.markdown("#### Does the map depend on what was learned?")
    st.markdown(f"**Cascading randomisation.** {READINGS['cascade']}")
    steps = [1 + min(MAX_CASCADE_STEPS, network.checkpoint.spec.depth) for network in there]
    long_task(
        f"cascade/{keys}",
        "Randomise layer by layer",
        lambda: run_sequentially([partial(_randomise, request, network) for network in there]),
        lambda results: _draw_cascade(request, there, subject, results),
        seconds=sum(count * each for count, each in zip(steps, costs, strict=True)),
    )


def _request(state: AppState, subject: InputImage, looked: list[NetworkResult], method: str, layer: str) -> _MapRequest:
    """Raises ValueError where the networks have no parameters in common."""
    if method == GRAD_CAM:
        return _MapRequest(method, layer, {}, state.layers == "all", {}, state.evidence == "signed")
    _, chosen = methods.parameters(state, looked)
    made: Sequence[Attribution] = cached_result(methods.attributions_key(looked, subject, method, chosen)) or []
    shown = {network.name: each for network, each in zip(looked, made, strict=False)}
    return _MapRequest(method, layer, chosen, state.layers == "all", shown, methods.is_signed(method))


def grad_cam_title(layer: str, is_signed: bool) -> str:
    return f"{EVIDENCE['signed' if is_signed else 'positive']} of {layer}"


def _change_map(name: str) -> None:
    if name == GRAD_CAM:
        controls.update_state(questioned="grad_cam")
    elif name == controls.load_state().method:
        controls.update_state(questioned="method")
    else:
        controls.update_state(questioned="method", method=name, parameters="{}")


def _curves(request: _MapRequest, network: NetworkResult) -> Generator[Share[Curves], None, None]:
    shared, image, target = network.checkpoint.network, network.trace.image, network.trace.target
    values, start = request.made(network), 0.0
    if values is None:
        passes = attribution.cost(request.method, network.checkpoint.spec, request.chosen).passes
        start = passes / (passes + CURVE_PASSES)  # the part of the whole work that the map is
        values = yield from part(request.explain(shared, image, target), 0.0, start)
    inputs, middle = (shared, image, values, target), (1 + start) / 2
    options: dict[str, Any] = {"steps": CURVE_STEPS, "random_orders": RANDOM_ORDERS, "seed": SEED}
    deletion = yield from part(attribution.perturbation_curve(*inputs, "deletion", **options), start, middle)
    insertion = yield from part(attribution.perturbation_curve(*inputs, "insertion", **options), middle, 1.0)
    yield Share(1.0, (deletion, insertion))


def _randomise(request: _MapRequest, network: NetworkResult) -> Generator[Share[RandomisationResult], None, None]:
    target = network.trace.target

    def make_map(randomised: Network, image: np.ndarray) -> np.ndarray | Generator[Share[np.ndarray], None, None]:
        if not request.is_grad_cam:
            return request.explain(randomised, image, target)
        kinds = EVERYTHING if request.everything else STRIP_KINDS
        return attribution.grad_cam(trace(randomised, image, target, kinds)[request.layer], relu=not request.is_signed)

    found = yield from part(
        attribution.cascading_randomisation(
            network.checkpoint.network, network.trace.image, make_map, MAX_CASCADE_STEPS, SEED
        )
    )
    maps = [found.original, *found.maps]
    tops = tuple(float(np.abs(values).max()) for values in maps)
    painted = [methods.paint(values, top, request.is_signed) for values, top in zip(maps, tops, strict=True)]
    yield Share(
        1.0,
        RandomisationResult(
            names=("trained", *(" and ".join(names) for names in found.layers)),
            maps=tuple(figures.fit_to_screen(each, THUMBNAIL_PX) for each in painted),
            tops=tops,
            correlations=(_self_correlation(maps[0]), *found.correlations),
            absolute_correlations=(_self_correlation(np.abs(maps[0])), *found.absolute_correlations),
        ),
    )


def _self_correlation(values: np.ndarray) -> float | None:
    return 1.0 if values.max() > values.min() else None


def _draw_curves(
    request: _MapRequest, there: Sequence[NetworkResult], subject: InputImage, results: Sequence[Curves]
) -> None:
    found = list(zip(there, results, strict=True))
    titles = ("Deletion: pixels taken out", "Insertion: pixels put in")
    chart(
        figures.trust_chart(
            [
                (title, [(series_of(network), curves[index]) for network, curves in found])
                for index, title in enumerate(titles)
            ]
        ),
        "trust_curves",
        "Probability of the explained class while pixels are exchanged. "
        + ". ".join(
            f"{network.title}: area of deletion {out.area:.3f}, of insertion {into.area:.3f}"
            for network, (out, into) in found
        ),
        name="deletion and insertion",
        source=_source(request, there, subject),
    )
    heads = ["area under the curve", "deletion", "random orders", "insertion", "random orders"]
    rows = [
        [f"{as_text(network.title)}, *{as_text(network.target)}*"]
        + [
            cell
            for curve in curves
            for cell in (f"{curve.area:.3f}", f"{curve.random_areas.min():.3f} to {curve.random_areas.max():.3f}")
        ]
        for network, curves in found
    ]
    st.markdown(table(heads, rows))
    for network, (out, into) in found:
        fewer = int((out.area < out.random_areas).sum())
        more = int((into.area > into.random_areas).sum())
        st.markdown(
            f"**{as_text(network.title)}**: {request.title} beats {fewer} of {len(out.random)} random orders at "
            f"taking pixels out, and {more} of {len(out.random)} at putting them in."
        )
    out, into = results[0]
    st.caption(
        f"n = 1 image, {len(out.shares) - 1} steps, {len(out.random)} random orders (lowest to highest area), seed "
        f"{SEED}. Pixels that are taken out become the {_baseline_note(out.baseline)}; those that are put in replace "
        f"the {_baseline_note(into.baseline)}."
    )


def _source(request: _MapRequest, there: Sequence[NetworkResult], subject: InputImage) -> str:
    return f"The map: {request.title}. Orders and weights drawn with seed {SEED}. {source_text(there, subject)}"


def _baseline_note(baseline: str) -> str:
    return "mean colour of the training data" if baseline == "mean" else "heavily blurred image"


def _draw_cascade(
    request: _MapRequest, there: Sequence[NetworkResult], subject: InputImage, results: Sequence[RandomisationResult]
) -> None:
    found = list(zip(there, results, strict=True))
    chart(
        figures.cascade_chart(
            [CascadeLine(series_of(network), each.names, each.maps, each.correlations) for network, each in found]
        ),
        "cascade",
        "Rank correlation of the map with the trained network's, and the map, while layers become random. "
        + ". ".join(f"{network.title}: {_end_points(each)}" for network, each in found),
        name="cascading randomisation",
        source=_source(request, there, subject),
    )
    for network, each in found:
        st.markdown(f"**{as_text(network.title)}**: {_end_points(each)}.")
    st.caption(
        "From left to right: the map of the trained network, then with ever more layers random, from the head back to "
        "the input. Each map has a scale of its own, since random weights change its size. Pointing at a step names "
        "its layers. Spearman's correlation over all values of the map; no point where a map is the same everywhere. "
        f"n = 1 image, seed {SEED}."
    )
    with st.expander("All steps as numbers"):
        for network, each in found:
            st.markdown(f"**{as_text(network.title)}**")
            st.dataframe(
                {
                    "random from here on": each.names,
                    "correlation": each.correlations,
                    "of absolute values": each.absolute_correlations,
                    "largest value": each.tops,
                },
                key=f"cascade_{network.name}",
            )


def _end_points(found: RandomisationResult) -> str:
    if all(value is None for value in found.correlations[1:]):
        when = "of the trained network" if found.tops[0] == 0 else "of every random network"
        return f"the map {when} is the same everywhere, so there is no order to compare"
    first, last = (
        "undefined (a map that is the same everywhere)" if value is None else f"{value:.2f}"
        for value in (found.correlations[1], found.correlations[-1])
    )
    return f"after the first step from the head the correlation is {first}, with all layers random {last}"
