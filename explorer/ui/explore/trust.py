"""Can I trust this map? Whether its pixels matter to the network, and whether it depends on what was learned."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st

from explorer import figures
from explorer.architectures import Network
from explorer.attribution import (
    METHODS,
    READINGS,
    Attribution,
    PerturbationCurve,
    Share,
    as_map,
    cascading_randomisation,
    cost,
    explain,
    grad_cam,
    perturbation_curve,
)
from explorer.errors import user_message
from explorer.figures import CascadeLine
from explorer.tracing import EVERYTHING, STRIP_KINDS, trace
from explorer.ui.api.layers import profile_of
from explorer.ui.api.strip import shown_layer
from explorer.ui.charts import chart, series_of
from explorer.ui.explore import controls
from explorer.ui.explore.methods import (
    SEED,
    Values,
    attribution_key,
    attributions_key,
    is_signed,
    paint,
    parameter_values,
    pass_seconds,
    seconds_of,
)
from explorer.ui.markdown import as_sentence, as_text, table
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import InputImage, NetworkResult
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.long_task import cached_result, long_task, run_sequentially

ORDERS = 5  # random ones
STEPS = 32
EXCHANGED = 2 * (ORDERS + 1) * (STEPS + 1)  # pictures with exchanged pixels, for both curves
MOST = 24  # steps of a cascade
THUMBNAIL = 40
GRAD_CAM = "grad_cam"


@dataclass(frozen=True, eq=False)
class Forgotten:
    """A drawn `CascadingRandomisation`: step names, the first "trained", each with its map, uint8 (H, W, 3), painted
    on a scale of its own, the largest absolute value there, and the correlations with the first."""

    names: tuple[str, ...]
    maps: tuple[np.ndarray, ...]
    tops: tuple[float, ...]
    correlations: tuple[float | None, ...]
    absolute_correlations: tuple[float | None, ...]


@dataclass(frozen=True)
class _Question:
    """Whose map is asked about: "grad_cam" of `layer`, or a method with its parameters."""

    method: str
    layer: str
    chosen: Values
    everything: bool
    shown: Mapping[str, Attribution]
    """Of each network the method's attribution, where it was made before."""

    @property
    def title(self) -> str:
        return f"Grad-CAM of {self.layer}" if self.method == GRAD_CAM else METHODS[self.method].title

    @property
    def signed(self) -> bool:
        return self.method != GRAD_CAM and is_signed(self.method)

    def made(self, network: NetworkResult) -> np.ndarray | None:
        """The map (H, W) of that network; None for a method's that was not made before."""
        if self.method == GRAD_CAM:
            return profile_of(network, self.layer).cam
        return as_map(self.shown[network.name]) if network.name in self.shown else None

    def key(self, network: NetworkResult, subject: InputImage) -> str:
        if self.method == GRAD_CAM:
            return f"{self.layer}-{network.name}-{subject.digest}-{network.trace.target}"
        return attribution_key(network, subject, self.method, self.chosen)


def trust_tab(state: AppState, subject: InputImage, looked: list[NetworkResult]) -> None:
    layer = shown_layer(state.layer, looked)
    asked = GRAD_CAM if state.questioned == "grad_cam" else state.method
    bound(
        st.selectbox,
        "The map that is asked about",
        [GRAD_CAM, *METHODS],
        key="questioned",
        value=asked,
        write=_change_map,
        format_func=lambda name: f"Grad-CAM of {layer}" if name == GRAD_CAM else METHODS[name].title,
        width=320,
        help="A method's parameters are those under More methods.",
    )
    try:
        chosen = parameter_values(state, looked) if asked != GRAD_CAM else {}
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        return
    made = cached_result(attributions_key(looked, subject, asked, chosen)) or [] if asked != GRAD_CAM else []
    shown = {network.name: attribution for network, attribution in zip(looked, made, strict=False)}
    question = _Question(asked, layer, chosen, state.layers == "all", shown)
    there = [network for network in looked if asked != GRAD_CAM or layer in network.trace.names]
    for network in looked:
        if network not in there:
            st.info(f"{as_text(network.title)} has no layer {layer}; choose one that both networks have.")
        elif asked == GRAD_CAM and (reason := profile_of(network, layer).zero_reason):
            st.info(f"The Grad-CAM of {as_text(network.title)} is zero everywhere, so its order is chance. {reason}")
    try:
        costs = [_map_seconds(question, network) for network in there]
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        return
    keys = "/".join(question.key(network, subject) for network in there)
    st.markdown("#### Do these pixels matter?")
    st.markdown(f"**Deletion.** {READINGS['deletion']}")
    st.markdown(f"**Insertion.** {READINGS['insertion']}")
    asks = 0.0 if asked == GRAD_CAM or shown else sum(costs)
    long_task(
        f"curves/{keys}",
        "Measure deletion and insertion",
        lambda: run_sequentially([partial(_curves, question, network) for network in there]),
        lambda results: _draw_curves(question, there, results),
        seconds=asks + EXCHANGED * sum(pass_seconds(network) for network in there),
    )
    st.markdown("#### Does the map depend on what was learned?")
    st.markdown(f"**Cascading randomisation.** {READINGS['cascade']}")
    long_task(
        f"cascade/{keys}",
        "Randomise layer by layer",
        lambda: run_sequentially([partial(_forget, question, network) for network in there]),
        lambda results: _draw_cascade(there, results),
        seconds=sum((_steps(network) + 1) * each for network, each in zip(there, costs, strict=True)),
    )


def _change_map(name: str) -> None:
    if name == GRAD_CAM:
        controls.update_state(questioned="grad_cam")
    elif name == controls.load_state().method:
        controls.update_state(questioned="method")
    else:
        controls.update_state(questioned="method", method=name, parameters="{}")


def _map_seconds(question: _Question, network: NetworkResult) -> float:
    """What one map takes."""
    if question.method == GRAD_CAM:
        return 2 * pass_seconds(network)
    return seconds_of(network, question.method, question.chosen)


def _steps(network: NetworkResult) -> int:
    return min(MOST, network.checkpoint.spec.depth)


Curves = tuple[PerturbationCurve, PerturbationCurve]


def _curves(question: _Question, network: NetworkResult) -> Generator[Share[Curves], None, None]:
    values, before = question.made(network), 0.0
    if values is None:
        passes = cost(question.method, network.checkpoint.spec, question.chosen).passes
        before = passes / (passes + EXCHANGED)  # the part of the whole work that the map is
        work = _explained(network.checkpoint.network, network.trace.image, network.trace.target, question)
        with closing(work):
            for made in work:
                values = made.result
                if values is None:
                    yield Share(before * made.share)
    assert values is not None
    curves = []
    for number, kind in enumerate(("deletion", "insertion")):
        for step in perturbation_curve(
            network.checkpoint.network,
            network.trace.image,
            values,
            network.trace.target,
            kind,  # type: ignore[arg-type]
            steps=STEPS,
            random_orders=ORDERS,
            seed=SEED,
        ):
            if step.result is not None:
                curves.append(step.result)
            else:
                yield Share(before + (1 - before) * (number + step.share) / 2)
    yield Share(1.0, (curves[0], curves[1]))


def _explained(
    network: Network, image: np.ndarray, target: int, question: _Question
) -> Generator[Share[np.ndarray], None, None]:
    """How far the method has come, and last its map (H, W)."""
    with closing(explain(network, image, target, question.method, question.chosen, SEED)) as work:
        for step in work:
            yield Share(step.share, None if step.result is None else as_map(step.result))


def _forget(question: _Question, network: NetworkResult) -> Generator[Share[Forgotten], None, None]:
    target = network.trace.target

    def make_map(forgetting: Network, image: np.ndarray) -> np.ndarray | Generator[Share[np.ndarray], None, None]:
        if question.method != GRAD_CAM:
            return _explained(forgetting, image, target, question)
        kinds = EVERYTHING if question.everything else STRIP_KINDS
        return grad_cam(trace(forgetting, image, target, kinds)[question.layer])

    for step in cascading_randomisation(network.checkpoint.network, network.trace.image, make_map, MOST, SEED):
        if step.result is None:
            yield Share(step.share)
            continue
        found = step.result
        maps = [found.original, *found.maps]
        tops = [float(np.abs(values).max()) for values in maps]
        yield Share(
            1.0,
            Forgotten(
                names=("trained", *(" and ".join(names) for names in found.layers)),
                maps=tuple(
                    figures.shown(paint(values, top, question.signed), THUMBNAIL)
                    for values, top in zip(maps, tops, strict=True)
                ),
                tops=tuple(tops),
                correlations=(_itself(maps[0]), *found.correlations),
                absolute_correlations=(_itself(np.abs(maps[0])), *found.absolute_correlations),
            ),
        )


def _itself(values: np.ndarray) -> float | None:
    """The correlation of a map with itself."""
    return 1.0 if values.max() > values.min() else None


def _draw_curves(
    question: _Question, there: Sequence[NetworkResult], results: Sequence[tuple[PerturbationCurve, PerturbationCurve]]
) -> None:
    panels = []
    for index, words in enumerate(("Deletion: pixels taken out", "Insertion: pixels put in")):
        panels.append(
            (words, [(series_of(network), pair[index]) for network, pair in zip(there, results, strict=True)])
        )
    areas = [(network, *pair) for network, pair in zip(there, results, strict=True)]
    chart(
        figures.trust_chart(panels),
        "trust_curves",
        "Probability of the explained class while pixels are exchanged. "
        + ". ".join(
            f"{network.title}: area of deletion {out.area:.3f}, of insertion {into.area:.3f}"
            for network, out, into in areas
        ),
    )
    heads = ["area under the curve", "deletion", "random orders", "insertion", "random orders"]
    rows = [
        [f"{as_text(network.title)}, *{as_text(network.target)}*"]
        + [cell for curve in (out, into) for cell in (f"{curve.area:.3f}", _spread(curve))]
        for network, out, into in areas
    ]
    st.markdown(table(heads, rows))
    for network, out, into in areas:
        st.markdown(f"**{as_text(network.title)}**: {_verdict(question, out, into)}")
    out, into = results[0]
    st.caption(
        f"n = 1 picture, {len(out.shares) - 1} steps, {len(out.random)} random orders (lowest to highest area), seed "
        f"{SEED}. Pixels that are taken out become the {_nothing(out.baseline)}; those that are put in replace the "
        f"{_nothing(into.baseline)}."
    )


def _nothing(baseline: str) -> str:
    return "mean colour of the training data" if baseline == "mean" else "heavily blurred picture"


def _spread(curve: PerturbationCurve) -> str:
    return f"{curve.random_areas.min():.3f} to {curve.random_areas.max():.3f}"


def _verdict(question: _Question, out: PerturbationCurve, into: PerturbationCurve) -> str:
    """What the areas say, in one sentence."""
    fewer = int((out.area < out.random_areas).sum())
    more = int((into.area > into.random_areas).sum())
    orders = len(out.random)
    return (
        f"{question.title} beats {fewer} of {orders} random orders at taking pixels out, and {more} of "
        f"{orders} at putting them in."
    )


def _draw_cascade(there: Sequence[NetworkResult], results: Sequence[Forgotten]) -> None:
    lines = [
        CascadeLine(series_of(network), found.names, found.maps, found.correlations)
        for network, found in zip(there, results, strict=True)
    ]
    chart(
        figures.cascade_chart(lines),
        "cascade",
        "Rank correlation of the map with the trained network's, and the map, while layers become random. "
        + ". ".join(f"{network.title}: {_ends(found)}" for network, found in zip(there, results, strict=True)),
    )
    for network, found in zip(there, results, strict=True):
        st.markdown(f"**{as_text(network.title)}**: {_ends(found)}.")
    st.caption(
        "From left to right: the map of the trained network, then with ever more layers random, "
        "from the head back to the input; each map on a scale of its own, since random weights change its size "
        "(pointing at a step names its layers). Spearman's correlation over all values of the map; no point where a "
        "map is the same "
        f"everywhere. n = 1 picture, seed {SEED}."
    )
    with st.expander("All steps as numbers"):
        for network, found in zip(there, results, strict=True):
            st.markdown(f"**{as_text(network.title)}**")
            st.dataframe(
                [
                    {
                        "random from here on": name,
                        "correlation": correlation,
                        "of absolute values": absolute,
                        "largest value": top,
                    }
                    for name, correlation, absolute, top in zip(
                        found.names, found.correlations, found.absolute_correlations, found.tops, strict=True
                    )
                ],
                key=f"cascade_{network.name}",
            )


def _ends(found: Forgotten) -> str:
    if all(value is None for value in found.correlations[1:]):
        when = "of the trained network" if found.tops[0] == 0 else "of every random network"
        return f"the map {when} is the same everywhere, so there is no order to compare"
    return (
        f"after the first step from the head the correlation is {_number(found.correlations[1])}, with all layers "
        f"random {_number(found.correlations[-1])}"
    )


def _number(value: float | None) -> str:
    return "undefined (a map that is the same everywhere)" if value is None else f"{value:.2f}"
