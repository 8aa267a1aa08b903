"""Measured gradient flows of the networks in a `GradientsState`, and plans for those that are not measured yet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from explorer.architectures import ArchitectureSpec
from explorer.datasets import shapes
from explorer.experiments import stored_gradients
from explorer.experiments.gradient_flow import GradientFlow, Mode, Quantity, recorded_flow
from explorer.experiments.gradient_grid import at_initialisation, band, cost, grid
from explorer.experiments.gradient_summary import NetworkGradients
from explorer.experiments.stored_gradients import LabelledBatch, picture_count
from explorer.files import csv_text
from explorer.training import GradientSizes
from explorer.ui import dataset_access, forecasts, network_registry
from explorer.ui.gradients.state import GradientsState
from explorer.ui.services.caches import CACHES
from explorer.ui.services.explore_state import MOST_STEPS, NAME
from explorer.ui.services.inference import INFERENCE_SLOTS
from explorer.ui.session import session

AT_ONCE = 3.0  # seconds of measuring that need no click


@dataclass(frozen=True, eq=False)
class MeasuredFlow(NetworkGradients):
    """One network of the chart with its flows: at initialisation one for each of `seeds`."""

    name: str = ""
    seeds: tuple[int | None, ...] = (None,)


def batch(data: str, side: int) -> LabelledBatch:
    """The pictures that are measured on: drawn for this where they are shapes, else of the test split, always the same.

    Raises ValueError where the files of the data are damaged.
    """
    return _batch(data, picture_count(side))


@st.cache_resource(
    max_entries=CACHES["ui.gradients.flow_measurements._batch"].entries, show_spinner="Reading the images"
)
def _batch(data: str, count: int) -> LabelledBatch:
    if known := shapes.named(data):
        return stored_gradients.drawn_batch(known)
    split, class_names = dataset_access.test_split(data)
    chosen = np.sort(np.random.default_rng(0).permutation(len(split.labels))[:count])
    title = dataset_access.data_title(data)
    whose = "of your own images" if _is_private(data) else f"test images of {title}"
    labels = split.labels[chosen].astype(np.int64)
    return LabelledBatch(split.images[chosen], labels, f"{len(chosen)} {whose}", class_names)


def _is_private(data: str) -> bool:
    """Whether the data is a user's own: what is measured on it stays in the session."""
    return data.startswith("stored-")


def _find(key: str, stored_key: Callable[[], str] | None) -> GradientFlow | None:
    """The flow of that key in the session, or of `stored_key` on the server; None where it was not measured yet."""
    store = session().flows
    found = store.find(key)
    if found is None and stored_key and (found := stored_gradients.load(stored_key())):
        store.put(key, found)
    return found


def grid_data() -> list[str]:
    """The data on this machine that the networks of the grid can be measured on."""
    fitting = dataset_access.labelled_data(grid((8,), ("identity",), ("batch",), ("he",), ("relu",))[0])
    shown = [data for data in (dataset_access.last_data(),) if dataset_access.is_available(data)]
    return list(dict.fromkeys(["shapes-32", "shapes-16", "shapes-64", *fitting, *shown]))


# --- at initialisation ------------------------------------------------------------------------------------------------


def _key(spec: ArchitectureSpec, seed: int, data: str) -> str:
    return f"{spec.fingerprint}/{seed}/{data}"


def _stored_key(spec: ArchitectureSpec, seed: int, data: str) -> Callable[[], str] | None:
    if _is_private(data):
        return None
    return lambda: stored_gradients.initial_key(spec, seed, batch(data, spec.input_shape[1]))


def _known(spec: ArchitectureSpec, seed: int, data: str) -> GradientFlow | None:
    """The flow of a network of the grid and a seed, None where it was not measured yet."""
    return _find(_key(spec, seed, data), _stored_key(spec, seed, data))


def measured_grid(state: GradientsState) -> list[MeasuredFlow]:
    """The networks of the grid that have been measured with at least one of the chosen seeds."""
    found = []
    for spec in state.specs():
        flows = {seed: flow for seed in range(state.seeds) if (flow := _known(spec, seed, state.grid_data))}
        if flows:
            found.append(MeasuredFlow(spec, tuple(flows.values()), spec.name, tuple(flows)))
    return found


@dataclass(frozen=True, eq=False)
class MeasurementPlan:
    """The missing measurements: `passes` of one batch each, about `seconds` in all; the longest takes `longest` seconds
    and `held_bytes`. `key` names exactly this work. The session caches each measured flow by itself."""

    passes: int
    seconds: float
    longest: float
    held_bytes: int
    key: str
    work: Callable[[], Iterator[tuple[float, bool | None]]]


def grid_plan(state: GradientsState) -> MeasurementPlan | None:
    """What the grid still lacks, or None. All networks are measured with the first seed, then with the next: stopped
    early, there are fewer seeds, not fewer networks."""
    data, store = state.grid_data, session().flows
    seeds = range(state.seeds)
    missing = [(spec, seed) for seed in seeds for spec in state.specs() if not _known(spec, seed, data)]
    if not missing:
        return None
    pictures = batch(data, missing[0][0].input_shape[1])
    costs = [_cost(spec, len(pictures.labels)) for spec, _ in missing]

    def steps() -> Iterator[float]:
        for (spec, seed), (macs, _) in zip(missing, costs, strict=True):
            if _key(spec, seed, data) not in store:  # the last pass of a stopped work may have ended meanwhile
                (step,) = at_initialisation([spec], pictures.images, pictures.labels, [seed])
                store.put(_key(spec, seed, data), step.flow)
                if stored_key := _stored_key(spec, seed, data):
                    stored_gradients.store(stored_key(), step.flow)
            yield macs

    key = f"{_key(*missing[0], data)}-{len(missing)}-{_key(*missing[-1], data)}"
    return _plan(key, costs, steps)


def _plan(key: str, costs: Sequence[tuple[float, int]], steps: Callable[[], Iterator[float]]) -> MeasurementPlan:
    """`steps` yields the multiply-accumulates of each pass when it is done."""
    total, rate = sum(macs for macs, _ in costs), forecasts.macs_a_second()

    def work() -> Iterator[tuple[float, bool | None]]:
        done = 0.0
        for macs in steps():
            done += macs
            yield min(done / total, 0.999), None
        yield 1.0, True

    return MeasurementPlan(
        passes=len(costs),
        seconds=total / rate,
        longest=max(macs for macs, _ in costs) / rate,
        held_bytes=max(held for _, held in costs),
        key=f"gradients-{key}",
        work=work,
    )


def _cost(spec: ArchitectureSpec, pictures: int) -> tuple[float, int]:
    """(multiply-accumulates forward, bytes held) of a pass. Initial weights and activations change neither, and norms
    hardly: so few specs are described, which takes up to half a second each."""
    alike = replace(spec, initialisation="he", activation="relu", norm="batch")
    return _described(f"{alike.fingerprint}/{pictures}", alike, pictures)


@st.cache_resource(max_entries=CACHES["ui.gradients.flow_measurements._described"].entries, show_spinner=False)
def _described(key: str, _spec: ArchitectureSpec, _pictures: int) -> tuple[float, int]:
    found = cost([_spec], 1, _pictures)
    return found.macs / 3, found.activation_bytes


# --- networks as they are, and their trainings ------------------------------------------------------------------------


def data_of(state: GradientsState) -> list[str]:
    """The labelled data that fits the first network, beginning with its training data; data of other classes where
    there is none of its own."""
    first = network_registry.checkpoint(state.first)
    names = dataset_access.labelled_data(first.spec, first.class_names) or dataset_access.labelled_data(first.spec)
    return sorted(names, key=lambda name: name != dataset_access.data_key(first.data))


def measured_networks(state: GradientsState, data: str) -> list[MeasuredFlow]:
    """The networks of the view at its step that are measured."""
    names = network_registry.at_step(state.networks, state.step)
    return [
        MeasuredFlow(network_registry.checkpoint(name).spec, (flow,), title)
        for name, title in zip(names, titles(state.networks), strict=True)
        if (flow := _known_network(name, data, state.mode)) is not None
    ]


def networks_plan(state: GradientsState, data: str) -> MeasurementPlan | None:
    """What the state's networks still lack, or None. Up to `AT_ONCE` seconds of work are done at once."""
    store, mode = session().flows, state.mode
    names = network_registry.at_step(state.networks, state.step)
    missing = [name for name in names if _known_network(name, data, mode) is None]
    if not missing:
        return None
    loaded = [network_registry.checkpoint(name) for name in missing]
    pictures = batch(data, loaded[0].spec.input_shape[1])
    costs = [_cost(each.spec, len(pictures.labels)) for each in loaded]

    def steps() -> Iterator[float]:
        for name, each, (macs, _) in zip(missing, loaded, costs, strict=True):
            flow = stored_gradients.network_flow(each, pictures, mode)
            store.put(_network_key(name, data, mode), flow)
            if stored_key := _stored_network_key(name, data, mode):
                stored_gradients.store(stored_key(), flow)
            yield macs

    plan = _plan(f"{'-'.join(missing)}-{data}-{mode}", costs, steps)
    if plan.seconds > AT_ONCE:
        return plan
    passes = steps()
    while True:
        session()  # ends a run that another one supersedes: of a film that goes on, between two passes
        with INFERENCE_SLOTS:
            if next(passes, None) is None:
                return None


def measured_steps(state: GradientsState, data: str) -> list[MeasuredFlow]:
    """All that is measured of the view's networks at any kept step."""
    steps = {step for name in state.networks for step in network_registry.snapshot_steps(name)}
    every = (replace(state, step=step) for step in [*sorted(steps), None])
    return [flow for each in every for flow in measured_networks(each, data)] if steps else []


def _network_key(name: str, data: str, mode: Mode) -> str:
    return f"{name}/{data}/{mode}"


def _stored_network_key(name: str, data: str, mode: Mode) -> Callable[[], str] | None:
    """None for a network or data of a user."""
    if _is_private(data) or name not in network_registry.shipped_networks():
        return None
    checkpoint = network_registry.checkpoint(name)
    return lambda: stored_gradients.network_key(checkpoint, batch(data, checkpoint.spec.input_shape[1]), mode)


def _known_network(name: str, data: str, mode: Mode) -> GradientFlow | None:
    return _find(_network_key(name, data, mode), _stored_network_key(name, data, mode))


def titles(names: Sequence[str]) -> list[str]:
    """The networks' names by their specs, with their data where two specs have the same name."""
    return [network.title for network in network_registry.chosen_networks(names)]


@dataclass(frozen=True, eq=False)
class RecordedFlow:
    """The gradients that a training recorded, and the circumstances."""

    sizes: GradientSizes
    precision: str
    batch_size: int | None
    accuracies: Mapping[str, tuple[tuple[int, float], ...]]
    """(step, accuracy) by `train` and `validation`, where they were recorded."""


def recorded(name: str) -> RecordedFlow | None:
    """The record of that network's training; None where there is none, or none that can be read: users upload files."""
    if network_registry.torchvision_key(name):
        return None
    record = network_registry.checkpoint(name).record
    try:
        found = record["weight_gradients"]
        layers, steps, norms = found["layers"], found["steps"], found["norms"]
        fits = layers and steps and len(steps) == len(norms) and all(len(row) == len(layers) for row in norms)
        whole = all(type(step) is int and 0 <= step <= MOST_STEPS for step in steps)
        named = all(isinstance(layer, str) and NAME.fullmatch(layer) for layer in layers)
        numbers = all(size is None or type(size) in (int, float) and size >= 0 for row in norms for size in row)
        if not (fits and whole and named and numbers) or list(steps) != sorted(set(steps)):
            return None
        sizes = GradientSizes(tuple(layers), tuple(steps), tuple(map(tuple, norms)))
        recorded_flow(sizes, steps[0]).along_depth("weights")
        precision, batch_size = record.get("precision"), record.get("config", {}).get("batch_size")
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    known = precision if precision in ("float32", "float64", "bfloat16", "float16") else "float32"
    accuracies = {part: _accuracies(record.get("epochs"), part) for part in ("train", "validation")}
    return RecordedFlow(sizes, known, batch_size if type(batch_size) is int else None, accuracies)


def _accuracies(epochs: Any, part: str) -> tuple[tuple[int, float], ...]:
    """(step, accuracy) after each epoch, up to the first that cannot be read."""
    found: list[tuple[int, float]] = []
    for epoch in epochs if isinstance(epochs, list | tuple) else ():
        try:
            step, accuracy = epoch["step"], epoch[part]["accuracy"]
        except (KeyError, TypeError):
            break
        is_number = type(step) is int and type(accuracy) in (int, float) and 0 <= accuracy <= 1
        if not is_number or not (found[-1][0] if found else -1) < step <= MOST_STEPS:
            break
        found.append((step, float(accuracy)))
    return tuple(found)


def steps_of(records: Sequence[RecordedFlow]) -> list[int]:
    """The steps that all of them recorded."""
    shared = set(records[0].sizes.steps).intersection(*(each.sizes.steps for each in records[1:]))
    return sorted(shared)


def measured_records(records: Mapping[str, RecordedFlow], step: int) -> list[MeasuredFlow]:
    return [
        MeasuredFlow(network_registry.checkpoint(name).spec, (recorded_flow(each.sizes, step, each.precision),), title)
        for (name, each), title in zip(records.items(), titles(list(records)), strict=True)
    ]


# --- for the page -----------------------------------------------------------------------------------------------------


def groups(found: Sequence[MeasuredFlow], is_grid: bool) -> list[list[MeasuredFlow]]:
    """The networks of each sentence: of the grid those that differ only in their shortcuts, the deepest first; else all
    of them."""
    if not is_grid:
        return [list(found)]
    alike: dict[tuple[Any, ...], list[MeasuredFlow]] = {}
    for each in sorted(found, key=lambda each: -each.spec.depth):
        spec = each.spec
        alike.setdefault((spec.depth, spec.norm, spec.initialisation, spec.activation), []).append(each)
    return list(alike.values())


def table(found: Sequence[MeasuredFlow], what: Quantity, pictures: str) -> str:
    """The numbers as CSV, a line for each network, seed and layer."""
    return _table({None: found}, what, pictures)


def record_table(found: Mapping[int, Sequence[MeasuredFlow]], pictures: str) -> str:
    """The same for all recorded steps of a training."""
    return _table(found, "weights", pictures)


def _table(by_step: Mapping[Any, Sequence[MeasuredFlow]], what: Quantity, pictures: str) -> str:
    heads = "network depth shortcut norm initialisation activation seed step layer relative_depth quantity size"
    rows: list[list[object]] = [[*heads.split(), "relative_to_last", "mode", "precision", "pictures"]]
    for step, each in ((step, each) for step, found in by_step.items() for each in found):
        absolute = band(each.flows, what)
        relative, spec = absolute.relative(), each.spec
        of_network = [each.name, spec.depth, spec.shortcut, spec.norm, spec.initialisation, spec.activation]
        for row, (seed, flow) in enumerate(zip(each.seeds, each.flows, strict=True)):
            for column, layer in enumerate(absolute.layers):
                sizes = (absolute.sizes[row, column], relative.sizes[row, column])
                place = [seed, step, layer, f"{absolute.depth[column]:.6g}", what, *(f"{size:.9g}" for size in sizes)]
                rows.append([*of_network, *place, flow.mode, flow.precision, pictures])
    return csv_text(rows)
