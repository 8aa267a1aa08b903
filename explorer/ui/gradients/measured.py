"""What the page `Gradients` asks for: the measured flows of the networks that its state names, and what more costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from explorer.architectures import ArchitectureSpec
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.experiments.agreement import class_order
from explorer.experiments.gradient_flow import GradientFlow, Mode, Quantity, flow_on_pictures, recorded_flow
from explorer.experiments.gradient_grid import at_initialisation, band, cost, grid
from explorer.experiments.gradient_summary import INITIALISATION, NetworkGradients
from explorer.files import csv_text
from explorer.training import GradientSizes
from explorer.ui import network_registry, trainings
from explorer.ui.gradients.state import MOST_STEPS, GradientsState
from explorer.ui.services.caches import CACHES
from explorer.ui.services.explore_state import NAME
from explorer.ui.services.inference import INFERENCE_SLOTS
from explorer.ui.session import session

PICTURES = ((32, 64), (64, 16), (10**6, 8))
"""Up to how many pixels a side how many pictures: a pass of 64 of the largest would hold gigabytes."""
AT_ONCE = 3.0  # seconds that a page may take without asking


@dataclass(frozen=True, eq=False)
class Measured:
    """One network of the chart: its flows, of the grid one for each of `seeds`."""

    name: str
    spec: ArchitectureSpec
    flows: tuple[GradientFlow, ...]
    seeds: tuple[int | None, ...] = (None,)

    @property
    def subject(self) -> NetworkGradients:
        return NetworkGradients(self.spec, self.flows, self.name)


@dataclass(frozen=True, eq=False)
class Batch:
    """Labelled pictures, uint8 (N, 3, H, W) and (N,), what to call them, and the names of their classes."""

    images: np.ndarray
    labels: np.ndarray
    words: str
    class_names: tuple[str, ...]


def batch(data: str, side: int) -> Batch:
    """The pictures that are measured on: drawn for this where they are shapes, else of the test split, always the same.

    Raises ValueError where the files of the data are damaged.
    """
    return _batch(f"{data}/{next(count for widest, count in PICTURES if side <= widest)}", data)


@st.cache_resource(max_entries=CACHES["ui.gradients.measured._batch"].entries, show_spinner="Reading the pictures")
def _batch(key: str, _data: str) -> Batch:
    count = int(key.rsplit("/", 1)[1])
    if known := shapes.named(_data):
        drawn = shapes.draw(count, seed=0, size=known.size, classes=known.classes, threads=1)
        return Batch(drawn.images, drawn.labels.astype(np.int64), f"{count} shapes", known.classes)
    split, class_names = trainings.test_split(_data)
    chosen = np.sort(np.random.default_rng(0).permutation(len(split.labels))[:count])
    whose = "of your own pictures" if _data.startswith("stored-") else f"test pictures of {trainings.data_title(_data)}"
    labels = split.labels[chosen].astype(np.int64)
    return Batch(split.images[chosen], labels, f"{len(chosen)} {whose}", class_names)


def grid_data() -> list[str]:
    """The data on this machine that the networks of the grid can be measured on."""
    here = [*trainings.labelled_data(grid((8,), ("identity",), ("batch",), ("he",), ("relu",))[0])]
    own = trainings.last_data()
    return list(
        dict.fromkeys(["shapes-32", "shapes-16", "shapes-64", *here, *([own] if trainings.is_ready(own) else [])])
    )


# --- at initialisation ------------------------------------------------------------------------------------------------


@st.cache_resource(show_spinner="Measuring the first two networks")
def _beginning() -> tuple[dict[str, GradientFlow], float]:
    """The default view with one seed, for every session, and the multiply-accumulates forward a second of its last
    pass: the first one warms up. It says what other passes take, and costs a visitor no time of its own."""
    state = GradientsState()
    pictures, specs = batch("shapes-32", 32), state.specs()
    with INFERENCE_SLOTS:
        steps = list(at_initialisation(specs, pictures.images, pictures.labels, [0]))
    done = cost(specs[-1:], 1, len(pictures.labels)).macs / 3
    seconds = max(steps[-1].seconds - steps[-2].seconds, 1e-3)
    return {_key(step.spec, 0, "shapes-32"): step.flow for step in steps}, done / seconds


def _key(spec: ArchitectureSpec, seed: int, data: str | None) -> str:
    return f"{spec.fingerprint}/{seed}/{data or 'shapes-32'}"


def _known(data: str | None) -> Callable[[ArchitectureSpec, int], GradientFlow | None]:
    """Finds the flow of a network of the grid and a seed, None where it was not measured yet."""
    beginning, kept = _beginning()[0], session().flows

    def find(spec: ArchitectureSpec, seed: int) -> GradientFlow | None:
        key = _key(spec, seed, data)
        return beginning.get(key) or kept.find(key)

    return find


def measured_grid(state: GradientsState) -> list[Measured]:
    """The networks of the grid that have been measured with at least one of the chosen seeds."""
    known, found = _known(state.data), []
    for spec in state.specs():
        flows = {seed: flow for seed in range(state.seeds) if (flow := known(spec, seed)) is not None}
        if flows:
            found.append(Measured(spec.name, spec, tuple(flows.values()), tuple(flows)))
    return found


def _labels_for(checkpoint: Checkpoint, pictures: Batch) -> np.ndarray:
    """The labels as the network numbers its classes, where they have the same names; else as they are, which the page
    says."""
    if sorted(checkpoint.class_names) != sorted(pictures.class_names):
        return pictures.labels
    return np.array(class_order(checkpoint, pictures.class_names))[pictures.labels]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is still to be measured: `passes` of one batch each, about `seconds` in all, of which the longest takes
    `longest`, and holds `held_bytes`. `key` names exactly this work."""

    passes: int
    seconds: float
    longest: float
    held_bytes: int
    key: str
    work: Callable[[], Iterator[tuple[float, bool | None]]]


def grid_plan(state: GradientsState) -> Plan | None:
    """What the grid still lacks, or None. All networks with the first seed come first: stopped early, there are fewer
    seeds, not fewer networks."""
    known = _known(state.data)
    missing = [(seed, spec) for seed in range(state.seeds) for spec in state.specs() if known(spec, seed) is None]
    if not missing:
        return None
    data, store = state.data, session().flows
    pictures = batch(data or "shapes-32", missing[0][1].input_shape[1])
    passes = [_pass(spec, len(pictures.labels)) for _, spec in missing]

    def steps() -> Iterator[float]:
        for (seed, spec), (macs, _) in zip(missing, passes, strict=True):
            if _key(spec, seed, data) not in store:  # the last pass of a stopped work may have ended meanwhile
                (step,) = at_initialisation([spec], pictures.images, pictures.labels, [seed])
                store.put(_key(spec, seed, data), step.flow)
            yield macs

    key = f"{_key(missing[0][1], missing[0][0], data)}-{len(missing)}-{_key(missing[-1][1], missing[-1][0], data)}"
    return _plan(key, passes, steps, _beginning()[1])


def _plan(key: str, passes: list[tuple[float, int]], steps: Callable[[], Iterator[float]], rate: float) -> Plan:
    total = sum(macs for macs, _ in passes)
    results, name = session().results, f"gradients-{key}"

    def work() -> Iterator[tuple[float, bool | None]]:
        done = 0.0
        try:
            for macs in steps():
                done += macs
                yield min(done / total, 0.999), None
        except GeneratorExit:
            # Stop: what was measured until now is to be shown, as at the end. `measure` draws what stands here. The
            # cache was fetched before: at its next use of the session's state this script ends.
            results.put(name, True)
            raise
        yield 1.0, True

    return Plan(
        passes=len(passes),
        seconds=total / rate,
        longest=max(macs for macs, _ in passes) / rate,
        held_bytes=max(held for _, held in passes),
        key=name,
        work=work,
    )


def forget(plan: Plan) -> None:
    """The work itself keeps no result: each flow is kept by itself."""
    session().results.remove(plan.key)


def _pass(spec: ArchitectureSpec, pictures: int) -> tuple[float, int]:
    """(multiply-accumulates forward, bytes held) of a pass. Initial weights and activations change neither: so few
    specs are described, which takes up to half a second each."""
    alike = replace(spec, initialisation="he", activation="relu", norm="batch")
    found = _cost(f"{alike.fingerprint}/{pictures}", alike, pictures)
    return found[0], found[1]


@st.cache_resource(max_entries=CACHES["ui.gradients.measured._cost"].entries, show_spinner=False)
def _cost(key: str, _spec: ArchitectureSpec, _pictures: int) -> tuple[float, int]:
    found = cost([_spec], 1, _pictures)
    return found.macs / 3, found.activation_bytes


# --- networks as they are, and their trainings ------------------------------------------------------------------------


def data_of(state: GradientsState) -> list[str]:
    """The labelled data that fits the networks of the state, first what the first one was trained on; of other classes
    where there is none of its own."""
    first = network_registry.checkpoint(state.first)
    names = trainings.labelled_data(first.spec, first.class_names) or trainings.labelled_data(first.spec)
    return sorted(names, key=lambda name: name != trainings.key_of(first.data))


def chosen(state: GradientsState) -> list[str]:
    return [name for name in (state.first, state.second) if name]


def measured_networks(state: GradientsState, data: str) -> list[Measured]:
    flows = session().flows
    return [
        Measured(title, network_registry.checkpoint(name).spec, (flow,))
        for name, title in zip(chosen(state), titles(chosen(state)), strict=True)
        if (flow := flows.find(_network_key(name, data, state.mode))) is not None
    ]


def networks_plan(state: GradientsState, data: str) -> Plan | None:
    """What the state's networks still lack; little is measured at once, and None comes back."""
    store, mode = session().flows, state.mode
    missing = [name for name in chosen(state) if _network_key(name, data, mode) not in store]
    if not missing:
        return None
    loaded = [network_registry.checkpoint(name) for name in missing]
    pictures = batch(data, loaded[0].spec.input_shape[1])
    count = len(pictures.labels)
    passes = [_cost(f"{each.spec.fingerprint}/{count}", each.spec, count) for each in loaded]

    def steps() -> Iterator[float]:
        for name, each, (macs, _) in zip(missing, loaded, passes, strict=True):
            labels = _labels_for(each, pictures)
            flow = flow_on_pictures(each.network, pictures.images, labels, each.mean, each.std, mode)
            store.put(_network_key(name, data, mode), flow)
            yield macs

    if sum(macs for macs, _ in passes) <= AT_ONCE * trainings.speed():
        with INFERENCE_SLOTS:
            list(steps())
        return None
    return _plan(f"{'-'.join(missing)}-{data}-{mode}", passes, steps, trainings.speed())


def _network_key(name: str, data: str, mode: Mode) -> str:
    return f"{name}/{data}/{mode}"


def titles(names: Sequence[str]) -> list[str]:
    """What to call the networks: by their specs, and by their data too where those have one name."""
    return list(
        network_registry.unique_titles({name: network_registry.checkpoint(name).spec.name for name in names}).values()
    )


@dataclass(frozen=True, eq=False)
class Recorded:
    """The gradients that a training recorded, and the circumstances."""

    sizes: GradientSizes
    precision: str
    batch_size: int | None


def recorded(name: str) -> Recorded | None:
    """What the training of that network recorded; None where there is nothing, or nothing that can be read: a file may
    come from anywhere."""
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
    return Recorded(sizes, known, batch_size if type(batch_size) is int else None)


def steps_of(records: Sequence[Recorded]) -> list[int]:
    """The steps that all of them recorded."""
    shared = set(records[0].sizes.steps).intersection(*(each.sizes.steps for each in records[1:]))
    return sorted(shared)


def measured_records(records: Mapping[str, Recorded], step: int) -> list[Measured]:
    return [
        Measured(title, network_registry.checkpoint(name).spec, (recorded_flow(each.sizes, step, each.precision),))
        for (name, each), title in zip(records.items(), titles(list(records)), strict=True)
    ]


# --- for the page -----------------------------------------------------------------------------------------------------


def groups(found: Sequence[Measured], when: str) -> list[list[NetworkGradients]]:
    """What one sentence speaks of: of the grid the networks of one depth that differ in their shortcuts only, the
    deepest first; else all."""
    if when != INITIALISATION:
        return [[each.subject for each in found]]
    alike: dict[tuple[Any, ...], list[NetworkGradients]] = {}
    for each in sorted(found, key=lambda each: -each.spec.depth):
        spec = each.spec
        alike.setdefault((spec.depth, spec.norm, spec.initialisation, spec.activation), []).append(each.subject)
    return list(alike.values())


def table(found: Sequence[Measured], what: Quantity, pictures: str, step: int | None = None) -> str:
    """The numbers as CSV, a line for each network, seed and layer."""
    heads = "network depth shortcut norm initialisation activation seed step layer relative_depth quantity size"
    rows: list[list[object]] = [[*heads.split(), "relative_to_last", "mode", "precision", "pictures"]]
    for each in found:
        absolute = band(each.flows, what)
        relative, spec = absolute.relative(), each.spec
        of_network = [each.name, spec.depth, spec.shortcut, spec.norm, spec.initialisation, spec.activation]
        for row, (seed, flow) in enumerate(zip(each.seeds, each.flows, strict=True)):
            for column, layer in enumerate(absolute.layers):
                sizes = (absolute.sizes[row, column], relative.sizes[row, column])
                place = [seed, step, layer, f"{absolute.depth[column]:.6g}", what, *(f"{size:.9g}" for size in sizes)]
                rows.append([*of_network, *place, flow.mode, flow.precision, pictures])
    return csv_text(rows)
