"""The question of time: how did a network come to its answer, step by step of its training?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.checkpoints import Checkpoint
from explorer.experiments import along_time, measurement
from explorer.experiments.along_time import StepSimilarity, TimeStrip
from explorer.figures import Chart, Gallery, Part, Table, Thumbnail
from explorer.images import normalise
from explorer.labels import listed
from explorer.runs.snapshots import explained_layer
from explorer.ui import dataset_access, forecasts, measured_images, network_registry
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.images import choose_images, images_of
from explorer.ui.experiments.question import AskedNetwork, Plan, Question
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.markdown import as_text
from explorer.ui.missing import NO_IMAGE
from explorer.ui.network_text import source_text
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import input_pixels
from explorer.ui.services.input_images import InputImage
from explorer.ui.session import find_image, session
from explorer.ui.widgets.bound import bound
from explorer.views import enlarge

SIDE = 96  # pixels of a picture on the page
OPACITY = 0.7


@dataclass(frozen=True, eq=False)
class _Found:
    """What is known of one network, and the pixels that it sees of the image."""

    asked: AskedNetwork
    pixels: np.ndarray
    strip: TimeStrip | None
    similarity: StepSimilarity | None


def question() -> Question:
    return Question(
        title="How did the network come to its answer?",
        method="The weights of some steps of a training are kept. At each of them the image of the bar goes through "
        "the network: its answer, and the Grad-CAM of one layer for one class. Linear CKA then compares every layer "
        "with itself between all steps, on test images (Kornblith et al. 2019, arXiv 1905.00414).",
        limits=along_time.LIMITS,
        controls=_controls,
        plan=_plan,
        own_dials=lambda _: (),
    )


def _kept(networks: Sequence[AskedNetwork]) -> dict[str, tuple[int, ...]]:
    """The steps of each network whose weights are kept, by its name; networks without any are left out."""
    return {each.name: steps for each in networks if (steps := network_registry.snapshot_steps(each.name))}


def _layer(state: ExperimentsState, checkpoint: Checkpoint) -> str:
    layers = along_time.layers_of(checkpoint.spec)
    return state.layer if state.layer in layers else explained_layer(checkpoint.spec)


def _controls(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> None:
    kept = _kept(networks)
    about = next((each.chosen.checkpoint for each in networks if each.name in kept), None)
    if about is None or not (layers := along_time.layers_of(about.spec)):
        return
    bound(
        st.selectbox,
        "Layer",
        layers,
        key="time_layer",
        value=_layer(state, about),
        write=lambda layer: update_state(layer=layer, measure=state.measure),
        width=220,
    )
    choose_images(state, networks, along_time.USUAL)


def _plan(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> Plan | None:
    kept = _kept(networks)
    asked = [each for each in networks if each.name in kept]
    without = [each.chosen.title for each in networks if each.name not in kept]
    if not asked:
        st.info(
            f"No weights of earlier steps are kept of {as_text(listed(without))}. Train a network on Build & train "
            "with weight snapshots, and choose it in the bar."
        )
        return None
    if without:
        st.caption(as_text(f"Left out, because no weights of earlier steps are kept: {listed(without)}."))
    pair = AppState.from_query(session().pair)
    if (image := find_image(pair)) is None:
        st.info(NO_IMAGE)
        return None
    images = images_of(state, asked, along_time.USUAL)
    if images is None:
        return None
    data, n = images
    target = pair.target if pair.target is not None and pair.target < asked[0].chosen.checkpoint.spec.classes else None
    layers = {each.name: _layer(state, each.chosen.checkpoint) for each in asked}
    steps = {name: "-".join(map(str, of)) for name, of in kept.items()}
    strips = {
        name: f"time/{name}/{steps[name]}/{layers[name]}/{image.digest}/{pair.dials}/{pair.frame}/{pair.paper}/{target}"
        for name in layers
    }
    grams = {name: f"time/{name}/{steps[name]}/{data}/{n}" for name in layers}
    results = session().results
    found = [
        _Found(each, _seen(each, image), results.find(strips[each.name]), results.find(grams[each.name]))
        for each in asked
    ]
    costs = {each.name: along_time.cost(each.chosen.checkpoint.spec, len(kept[each.name]), n) for each in asked}
    for each in found:
        if each.similarity is None:
            costs[each.asked.name].check()
    tasks = [
        *((each, "strip", len(kept[each.asked.name])) for each in found if each.strip is None),
        *((each, "similarity", costs[each.asked.name].macs) for each in found if each.similarity is None),
    ]

    def work() -> Iterator[tuple[float, Any]]:
        yield 0.0, None
        for index, (each, kind, _) in enumerate(tasks):
            name = each.asked.name
            load = partial(network_registry.load_step, name)
            if kind == "strip":
                values = _values(each.asked.chosen.checkpoint, each.pixels)
                of: Any = along_time.time_strip(load, kept[name], values, layers[name], target)
            else:
                sample = measured_images.sample(data, n)
                pixels = measurement.rows(sample.split, sample.indices).images
                of = along_time.step_similarity(load, kept[name], pixels)
            for share, result in of:
                if result is not None:
                    results.put((strips if kind == "strip" else grams)[name], result)
                yield min(0.999, (index + share) / len(tasks)), None
        yield 1.0, True

    count = sum(len(kept[each.name]) for each in asked)
    missing = sum(macs for _, kind, macs in tasks if kind == "similarity")
    known = [each for each in found if each.strip or each.similarity]
    return Plan(
        key="/".join([*strips.values(), *grams.values()]),
        cost=f"the weights of {count} steps in all, each with one image and with {n:,} test images",
        seconds=missing / 3 / forecasts.macs_a_second() + 0.1 * count if tasks else 0.0,
        work=work,
        known=known or None,
        answer=partial(_parts, state),
        rows=_rows,
        source=f"Image: {image.caption}. CKA: {n:,} test images of {dataset_access.data_title(data)}, taken evenly "
        f"over the split. {source_text([each.chosen for each in asked])}",
    )


def _seen(asked: AskedNetwork, image: InputImage) -> np.ndarray:
    """The pixels that the network sees, uint8 (H, W, C)."""
    return input_pixels(asked.chosen.checkpoint, image)


def _values(checkpoint: Checkpoint, pixels: np.ndarray) -> np.ndarray:
    """The network's input, as Explore makes it."""
    return normalise(pixels.transpose(2, 0, 1) / 255, checkpoint.mean, checkpoint.std)


# --- the answer -------------------------------------------------------------------------------------------------------


def _parts(state: ExperimentsState, known: Sequence[_Found]) -> list[Part]:
    sentences: list[str] = []
    for each in known:
        title, names = each.asked.chosen.title, each.asked.chosen.checkpoint.class_names
        sentences += along_time.strip_sentences(title, each.strip, names) if each.strip else []
        sentences += along_time.similarity_sentences(title, each.similarity) if each.similarity else []
    parts: list[Part] = [*sentences]
    top = max((each.strip.top for each in known if each.strip), default=0.0)
    for each in known:
        if each.strip:
            names = each.asked.chosen.checkpoint.class_names
            parts += [
                f"{each.asked.chosen.title}: Grad-CAM of {each.strip.layer} for {names[each.strip.target]} at each "
                f"kept step. One scale for all maps here, which ends at {top:.3g}; below each its answer and its "
                "largest value.",
                Gallery([_cell(each, place, top) for place in range(len(each.strip.moments))]),
            ]
    for each in known:
        if each.similarity:
            parts += _similarity(state, each, each.similarity)
    return parts


def _cell(each: _Found, place: int, top: float) -> Thumbnail:
    assert each.strip is not None
    moment, names = each.strip.moments[place], each.asked.chosen.checkpoint.class_names
    pixels = figures.fit_to_screen(figures.as_rgb(each.pixels), SIDE)
    heat = np.clip(enlarge(moment.cam, pixels.shape[:2]) / top, 0, 1) if top > 0 else np.zeros(pixels.shape[:2])
    best = moment.prediction
    return Thumbnail(
        figures.overlay(pixels, heat, OPACITY),
        [f"step {moment.step:,}", f"{names[best]} {moment.probabilities[best]:.0%}", f"max {moment.cam.max():.2g}"],
    )


def _similarity(state: ExperimentsState, each: _Found, found: StepSimilarity) -> list[Part]:
    title = each.asked.chosen.title
    layer = _layer(state, each.asked.chosen.checkpoint)
    ending = "A dark row settles late. Debiased estimate; a gap is not defined."
    parts: list[Part] = [
        Chart(
            figures.settling_chart(found.to_end, found.layers, found.steps),
            f"CKA of each layer of {title} with its end",
            f"{ending} n = {found.n:,} images.",
        )
    ]
    if layer in found.layers:
        values = found.debiased[found.layers.index(layer)]
        parts.append(
            Chart(
                figures.steps_chart(values, found.steps),
                f"CKA of {layer} of {title} between all kept steps",
                f"A bright square is a time in which the layer changed little. n = {found.n:,} images.",
            )
        )
    heads = ["layer", *(f"step {step:,}" for step in found.steps), "settled at step"]
    rows = [
        [name, *(_number(value) for value in found.to_end[place]), _settled(found, place)]
        for place, name in enumerate(found.layers)
    ]
    return [*parts, f"CKA of each layer of {title} with its end, in numbers:", Table(heads, rows)]


def _number(value: Any) -> str:
    return "" if value is np.ma.masked else f"{value:.2f}"


def _settled(found: StepSimilarity, place: int) -> str:
    step = found.settled(place)
    return "" if step is None else f"{step:,}"


def _rows(known: Sequence[_Found]) -> list[list[str]]:
    lines = [["network", "what", "layer", "step", "other step", "class", "value"]]
    for each in known:
        chosen = each.asked.chosen
        if each.strip:
            for moment in each.strip.moments:
                for name, probability in zip(chosen.checkpoint.class_names, moment.probabilities, strict=True):
                    lines.append([chosen.title, "probability", "", str(moment.step), "", name, f"{probability:.6g}"])
                of = [chosen.title, "largest value of the Grad-CAM", each.strip.layer, str(moment.step), ""]
                lines.append([*of, chosen.checkpoint.class_names[each.strip.target], f"{moment.cam.max():.6g}"])
        if found := each.similarity:
            for place, layer in enumerate(found.layers):
                for a, step in enumerate(found.steps):
                    for b, other in enumerate(found.steps[: a + 1]):
                        value = found.debiased[place, a, b]
                        cell = "" if value is np.ma.masked else f"{value:.6g}"
                        lines.append([chosen.title, "debiased CKA", layer, str(step), str(other), "", cell])
    return lines
