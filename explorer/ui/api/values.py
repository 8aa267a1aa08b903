"""Where a chosen value comes from, as a message for the browser."""

from dataclasses import asdict
from typing import Any

import numpy as np

from explorer import figures
from explorer.architectures import Description
from explorer.architectures.description import WHOLE
from explorer.experiments.arithmetic import PROBABILITIES, Step, Window, effective_field
from explorer.ui.api.binary import MessageWriter, json_float
from explorer.ui.api.layers import profile_of
from explorer.ui.api.strip import shown_layer
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import INFERENCE_SLOTS, InferenceCache, NetworkResult
from explorer.ui.services.input_images import InputImage


def values_message(
    passes: InferenceCache, state: AppState, subject: InputImage, results: list[NetworkResult], with_field: bool
) -> bytes:
    """The arithmetic of the value `at` of the view in each network (`ValueData` in types.d.ts), or a sentence for a
    network that has none; with the effective receptive field where it is wanted."""
    writer = MessageWriter()
    values = []
    for network in results:
        try:
            values.append(_value(passes, state, subject, results, network, writer, with_field))
        except ValueError as error:
            text = str(error).replace("`", "")
            values.append({"problem": f"{network.title}: {text}"})
    return writer.write({"picture": state.picture, "networks": [{"layers": {}} for _ in results], "values": values})


def _place(state: AppState, results: list[NetworkResult], network: NetworkResult) -> tuple[str, tuple[int, ...]]:
    layer, colon, place = (state.at or "").rpartition(":")
    if place == PROBABILITIES:
        return PROBABILITIES, (network.trace.target,)
    at = tuple(int(each) for each in place.split(",") if each)
    if colon:
        return layer, at
    layer = shown_layer(state.layer, results)
    if state.channel is None and layer in network.trace.names:
        return layer, (profile_of(network, layer).strongest, *at)
    return layer, (state.channel or 0, *at)


def _value(
    passes: InferenceCache,
    state: AppState,
    subject: InputImage,
    results: list[NetworkResult],
    network: NetworkResult,
    writer: MessageWriter,
    with_field: bool,
) -> dict[str, Any]:
    layer, at = _place(state, results, network)
    passed = passes.layer_pass(network, subject, layer)
    found = passed.arithmetic(at)
    steps = [_step(step, passed.description, writer) for step in found.steps]
    value: dict[str, Any] = {
        "layer": layer,
        "at": at,
        "value": json_float(found.value),
        "reach": found.field,
        "check": found.check,
        "same": passed.same_places,
        "steps": steps,
    }
    if with_field:
        with INFERENCE_SLOTS:
            field = effective_field(network.checkpoint.network, network.trace.image, layer, at, network.interventions)
        largest = float(field.max())
        value["effective"] = {"map": writer.picture(figures.quantise_sizes(field, largest)), "largest": largest}
    return value


def _step(step: Step, description: Description, writer: MessageWriter) -> dict[str, Any]:
    known = {name: getattr(step, name) for name in ("layer", "at", "operation", "formula", "change")}
    terms = [{**asdict(term), "value": json_float(term.value)} for term in step.terms]
    window = step.window and _window(step.window, _stride(step, description), writer)
    return {**known, "value": json_float(step.value), "terms": terms, "window": window}


def _stride(step: Step, description: Description) -> list[int]:
    """By how many places of its source the window of the next value lies further on, down and to the right."""
    origin = None if step.change else description.origins.get(step.layer)
    return [0 if size == WHOLE else stride for size, stride, _ in origin.windows] if origin else [0, 0]


def _window(window: Window, stride: list[int], writer: MessageWriter) -> dict[str, Any]:
    return {
        "source": window.source,
        "stride": stride,
        "first": window.first,
        "spacing": window.spacing,
        "shape": window.values.shape,
        "values": writer.add(window.values),
        "factors": None if window.factors is None else writer.add(window.factors),
        "inside": writer.add(window.inside.astype(np.uint8)),
        "winner": window.winner,
        "peak": json_float(window.peak),
    }
