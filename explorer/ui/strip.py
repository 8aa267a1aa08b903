"""The depth strip: all layers of one or two networks on one axis, as a component that can be clicked and tabbed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from explorer import figures
from explorer.attribution import LayerProfile, shared_axis, shared_tops
from explorer.figures import ColourScale
from explorer.ui.state import Scope

_HERE = Path(__file__).parent
_TILE = 32  # pixels a thumbnail in the sheet; the browser scales it

_component = st.components.v2.component(
    "depth_strip",
    html="<div class='strip'></div>",
    css=(_HERE / "strip.css").read_text(),
    js=(_HERE / "strip.js").read_text(),
)


@dataclass(frozen=True, eq=False)
class StripRow:
    """One network of the strip: its title, its colour, and its columns in execution order."""

    title: str
    colour: str
    dashed: bool
    profiles: Sequence[LayerProfile]


def axis_of(rows: Sequence[StripRow]) -> tuple[str, ...]:
    """The layers on the strip's axis."""
    return shared_axis(*([column.name for column in row.profiles] for row in rows))


def cam_tops(rows: Sequence[StripRow], scope: Scope) -> list[dict[str, float]]:
    """The raw value that is drawn as the brightest colour, for the Grad-CAM of each layer of each row."""
    return shared_tops([{column.name: float(column.cam.max()) for column in row.profiles} for row in rows], scope)


def map_tops(rows: Sequence[StripRow], scope: Scope) -> list[dict[str, float]]:
    """The same for feature maps: the largest absolute activation."""
    return shared_tops([{column.name: column.peak for column in row.profiles} for row in rows], scope)


def depth_strip(rows: Sequence[StripRow], key: str, scope: Scope, selected: str | None, on_change: Any) -> None:
    """Draws the strip; a click on a layer puts its name into `st.session_state["strip"]["layer"]` and calls
    `on_change`. `key` says what `rows` show: with the same one they are not painted again."""
    axis = axis_of(rows)
    data = {
        **_drawing(f"{key}/{scope}", rows, scope),
        "drawing": f"{key}/{scope}",
        "selected": axis.index(selected) if selected in axis else -1,
    }
    _component(key="strip", data=data, on_layer_change=on_change)


@st.cache_resource(max_entries=3, show_spinner=False, scope="session")
def _drawing(key: str, _rows: Sequence[StripRow], _scope: Scope) -> dict[str, Any]:
    """All that the component draws besides which layer is chosen."""
    rows, scope = _rows, _scope
    axis = axis_of(rows)
    cams, maps = cam_tops(rows, scope), map_tops(rows, scope)
    return {
        "columns": [{"name": name, "label": _short(name), "kind": _kind(rows, name)} for name in axis],
        "groups": _groups(axis, rows),
        "networks": [_network(row, axis, cam, top) for row, cam, top in zip(rows, cams, maps, strict=True)],
        "charts": [
            _chart("activation size", "activation_magnitude", rows, axis),
            _chart("gradient size", "gradient_magnitude", rows, axis),
        ],
    }


def _short(name: str) -> str:
    """`stages.1.0.conv2` -> "0.conv2": the stage stands in the header above it."""
    parts = name.split(".")
    return ".".join(parts[2:]) if parts[0] == "stages" else parts[-1]


def _kind(rows: Sequence[StripRow], name: str) -> str:
    return next(column.kind for row in rows for column in row.profiles if column.name == name)


def _groups(axis: Sequence[str], rows: Sequence[StripRow]) -> list[dict[str, Any]]:
    shapes = {column.name: column.shape for row in rows for column in row.profiles}
    groups: list[dict[str, Any]] = []
    for name in axis:
        parts = name.split(".")
        label = f"stage {int(parts[1]) + 1}" if parts[0] == "stages" else parts[0]
        channels, height, width = shapes[name]
        if not groups or groups[-1]["key"] != label:
            groups.append({"key": label, "span": 0})
        groups[-1]["span"] += 1
        groups[-1]["title"] = f"{label}: {channels} channels of {height}×{width}"
        groups[-1]["label"] = groups[-1]["title"] if groups[-1]["span"] > 6 else label
    return groups


def _network(
    row: StripRow, axis: Sequence[str], cams: Mapping[str, float], maps: Mapping[str, float]
) -> dict[str, Any]:
    columns = {column.name: (index, column) for index, column in enumerate(row.profiles)}
    cells: list[dict[str, Any] | None] = []
    for name in axis:
        if name not in columns:
            cells.append(None)
            continue
        index, column = columns[name]
        peak = f"largest value {column.cam.max():.3g}, scale to {cams[name]:.3g}"
        sizes = f"activation size {column.activation_magnitude:.3g}, gradient size {column.gradient_magnitude:.3g}"
        strongest = f"channel {column.strongest}, the strongest of {column.shape[0]}"
        if column.peak == 0:
            strongest = f"all {column.shape[0]} channels are zero for this picture: nothing passes this layer"
        cells.append(
            {
                "tile": index,
                "zero": {"cam": column.zero_reason is not None, "map": column.peak == 0},
                "cam": f"{name}\nGrad-CAM: {column.zero_reason or peak}\n{sizes}",
                "map": f"{name}\n{strongest}, scale to ±{maps[name]:.3g}\n{sizes}",
            }
        )
    cam = [ColourScale.sizes(cams[column.name]).paint(column.cam) for column in row.profiles]
    maps_painted = [ColourScale.signed(maps[column.name]).paint(column.feature_map) for column in row.profiles]
    return {
        "title": row.title,
        "colour": row.colour,
        "absent": f"{row.title} has no such layer",
        "count": len(row.profiles),
        "cam": figures.data_uri(figures.strip_sheet(cam, _TILE)),
        "map": figures.data_uri(figures.strip_sheet(maps_painted, _TILE)),
        "cells": cells,
    }


def _chart(title: str, field: str, rows: Sequence[StripRow], axis: Sequence[str]) -> dict[str, Any]:
    values = [{column.name: float(getattr(column, field)) for column in row.profiles} for row in rows]
    positive = [value for row in values for value in row.values() if value > 0]
    low = math.floor(math.log10(min(positive))) if positive else -1
    high = math.ceil(math.log10(max(positive))) if positive else 0
    high = max(high, low + 1)

    def place(value: float | None) -> float | None:
        """0 at the bottom, 1 at the top, along the logarithm; zero, which has none, at the bottom."""
        if value is None:
            return None
        return (math.log10(value) - low) / (high - low) if value > 0 else 0.0

    step = max(1, math.ceil((high - low) / 4))
    hover = []
    for name in axis:
        lines = [f"{row.title}: {found[name]:.3g}" for row, found in zip(rows, values, strict=True) if name in found]
        hover.append("\n".join([f"{name}, {title} (root mean square)", *lines]))
    return {
        "title": title,
        "alt": f"{title} of each layer on a logarithmic axis from 1e{low} to 1e{high}",
        "ticks": [{"label": f"1e{power}", "at": (power - low) / (high - low)} for power in range(low, high + 1, step)],
        "series": [
            {
                "colour": row.colour,
                "dash": "4 4" if row.dashed else "",
                "points": [place(found.get(name)) for name in axis],
            }
            for row, found in zip(rows, values, strict=True)
        ],
        "hover": hover,
    }
