"""What the Compare page asks for: two to four networks after they have seen one picture, and what is known of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from explorer.architectures import ArchitectureSpec, describe
from explorer.attribution import LayerProfile, profile, shared_tops
from explorer.figures import DASHES, Series, SizeLine, TrainingLine
from explorer.tracing import Trace
from explorer.training import TrainingRecord
from explorer.ui import missing, network_registry, url_query
from explorer.ui.compare.state import FEWEST, CompareState
from explorer.ui.network_text import is_number
from explorer.ui.services.caches import CACHES
from explorer.ui.services.explore_state import Scope
from explorer.ui.services.inference import InputImage, NetworkResult, trace_image

COLUMNS = 12  # relative depths on the strip: as many thumbnails as a window of 1024 pixels has room for


def read() -> CompareState | None:
    """The state in the URL, with networks that are here: an old link may name others. Of these the first have
    stand-ins, where fewer than two would be left. None where there are fewer than two networks at all."""
    state = CompareState.from_query(url_query.read())
    here = [name for name in state.networks if network_registry.is_network(name)]
    beside = [missing.substitute(name) for name in here]
    spare = [*filter(None, beside), *CompareState.networks, *network_registry.network_names()]
    names: list[str] = []
    for name in state.networks:
        if name in here:
            names.append(name)
        elif len({*here, *names}) < FEWEST:
            names += [each for each in spare if each not in {*here, *names} and network_registry.is_network(each)][:1]
    return replace(state, networks=tuple(names)) if len(names) >= FEWEST else None


def lost() -> dict[str, str]:
    """The networks in the URL that are not here, as `missing.missing_networks` names them."""
    return missing.missing_networks(CompareState.from_query(url_query.read()).networks)


def change(**changes: Any) -> None:
    """Puts the state with these changes into the URL. It goes on naming networks that are gone, until others are
    chosen: they may be brought again."""
    state = read()
    if state is None:
        return
    if "networks" not in changes and lost():
        state = replace(state, networks=CompareState.from_query(url_query.read()).networks)
    url_query.write(replace(state, **changes).to_query())


# --- the networks after they have seen the picture -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Compared:
    """One of the networks. `title` is its own on this page, `dash` one of `figures.DASHES`: it tells networks of one
    colour apart. `depths` are the relative depths of the layers that the strip can show, in execution order."""

    looked: NetworkResult
    title: str
    dash: str
    depths: Mapping[str, float]

    @property
    def series(self) -> Series:
        return Series(self.title, self.looked.colour, self.dash)

    def nearest(self, depth: float) -> LayerProfile:
        """The layer whose relative depth is nearest to `depth`; of two equally near ones the later."""
        name = min(reversed(list(self.depths)), key=lambda layer: abs(self.depths[layer] - depth))
        return next(column for column in self.looked.profiles if column.name == name)


def compare(state: CompareState, subject: InputImage) -> list[Compared]:
    """The networks of the view, each after it has seen the picture. Raises ValueError where a map has no numbers."""
    looked = _look(state, subject)
    for network in looked:
        if not all(np.isfinite(column.cam).all() for column in network.profiles):
            raise ValueError(
                f"the maps of {network.title} are too large for a number, so nothing can be compared with them; choose "
                "another network."
            )
    compared = []
    for place, network in enumerate(looked):
        before = sum(other.colour == network.colour for other in looked[:place])
        depths = relative_depths(network.checkpoint.spec, [column.name for column in network.profiles])
        compared.append(Compared(network, network.title, DASHES[before], depths))
    return compared


def _look(state: CompareState, subject: InputImage) -> list[NetworkResult]:
    first = network_registry.class_names(state.networks[0])
    asked = first[state.target] if state.target is not None and state.target < len(first) else None
    looked: list[NetworkResult] = []
    for network in network_registry.chosen_networks(state.networks):
        classes = network.checkpoint.class_names
        target = classes.index(asked) if asked in classes else None
        seen, columns = _seen(f"{network.name}/{subject.digest}/{target}", network.name, subject, target)
        looked.append(NetworkResult(**vars(network), trace=seen, profiles=columns))
    return looked


@st.cache_resource(
    max_entries=CACHES["ui.compare.compared._seen"].entries, show_spinner="Looking at the picture", scope="session"
)
def _seen(key: str, _name: str, _subject: InputImage, _target: int | None) -> tuple[Trace, tuple[LayerProfile, ...]]:
    """The pass without its layers, and the maps that came of them: four networks of 224 pixels at once would hold a
    gigabyte of activations that this page never shows."""
    whole = trace_image(network_registry.checkpoint(_name), _subject, _target)
    return replace(whole, layers=()), profile(whole)


def relative_depths(spec: ArchitectureSpec, layers: Sequence[str]) -> dict[str, float]:
    """Where each of `layers` lies between the input (0) and the output (1): how many of the network's weighted layers
    the picture has passed there, divided by all of them.

    The k-th convolution of n weighted layers is at k / n, the block that it ends half a layer behind. What lies on a
    shortcut is left out: it runs beside the branch, not behind one of its layers. So twins have the same depths.
    """
    passed, depths = 0, {}
    for layer in describe(spec).layers:
        if layer.kind == "shortcut" or ".shortcut" in layer.name:
            continue
        passed += layer.kind == "conv"
        if layer.name in layers:
            depths[layer.name] = (passed + (0.5 if layer.kind == "block" else 0.0)) / spec.depth
    return depths


def strip_depths(chosen: float) -> tuple[float, ...]:
    """The relative depths of the strip's columns, evenly from 0 to 1; the one nearest to `chosen` is moved there, so
    that the chosen column shows what the detail shows."""
    even = [column / (COLUMNS - 1) for column in range(COLUMNS)]
    nearest = min(range(COLUMNS), key=lambda column: abs(even[column] - chosen))
    return tuple(chosen if column == nearest else depth for column, depth in enumerate(even))


def column_tops(compared: Sequence[Compared], depths: Sequence[float], scope: Scope) -> list[list[float]]:
    """For each network the raw value that is drawn as the brightest colour in each column.

    "layer": one column has one scale in all networks; "network": all layers of a network share one, also those that
    have no column; "both": all maps of all networks share one.
    """
    if scope == "layer":
        columns = [
            {str(place): float(network.nearest(depth).cam.max()) for place, depth in enumerate(depths)}
            for network in compared
        ]
        return [list(tops.values()) for tops in shared_tops(columns, "layer")]
    layers = [
        {column.name: float(column.cam.max()) for column in network.looked.profiles if column.name in network.depths}
        for network in compared
    ]
    return [[next(iter(tops.values()))] * len(depths) for tops in shared_tops(layers, scope)]


def size_lines(compared: Sequence[Compared]) -> list[SizeLine]:
    """The size of activations and of gradients behind each block. Convolutions inside the blocks are left out: norms
    behind them set their size anew, so a line through both kinds would go up and down with the kind."""
    lines = []
    for network in compared:
        columns = [column for column in network.looked.profiles if column.kind == "block"]
        lines.append(
            SizeLine(
                series=network.series,
                layers=[column.name for column in columns],
                depths=[network.depths[column.name] for column in columns],
                activations=[column.activation_magnitude for column in columns],
                gradients=[column.gradient_magnitude for column in columns],
            )
        )
    return lines


# --- what is known of the networks -----------------------------------------------------------------------------------


def know_the_same(compared: Sequence[Compared]) -> bool:
    return len({network.looked.checkpoint.class_names for network in compared}) == 1


def seen_part(network: Compared) -> float:
    """The side of the part of the picture that the network sees, 0..1 of the picture's shorter side."""
    loaded = network.looked.checkpoint
    return min(loaded.spec.input_shape[1:]) / loaded.resize_shorter_to if loaded.resize_shorter_to else 1.0


def training_lines(compared: Sequence[Compared]) -> tuple[list[TrainingLine], list[str]]:
    """The training curves of the networks that have a record, and the titles of those that have none."""
    lines, without = [], []
    for network in compared:
        try:
            record = TrainingRecord.from_dict(network.looked.checkpoint.record)
            images = record.config.batch_size / record.train_images
            lines.append(
                TrainingLine(
                    series=network.series,
                    epochs=[epoch.step * images for epoch in record.epochs],
                    train=[_point(epoch.train) for epoch in record.epochs],
                    validation=[_point(epoch.validation) for epoch in record.epochs],
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
            without.append(network.title)
            continue
        if not record.epochs:
            lines.pop()
            without.append(network.title)
    return lines, without


def _point(measured: Any) -> tuple[float | None, float | None]:
    if measured is None:
        return None, None
    loss, share = (value if is_number(value) else None for value in (measured.loss, measured.accuracy))
    return loss, share
