"""The depth strip: all layers of one or two networks on one axis, as a part of the message for the browser."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from explorer import figures
from explorer.attribution import LayerProfile, extent, shared_axis, shared_tops
from explorer.figures import DIVERGING, SEQUENTIAL
from explorer.labels import ACTIVATION_RMS, GRADIENT_RMS
from explorer.ui.api.binary import MessageWriter, json_float
from explorer.ui.services.inference import NetworkResult

_MAP_SIDE_PX = 32  # of a thumbnail, at most
_LETTERS = 16  # of a layer's label, which stands upright over its column
_WIDE_COLUMNS = 24  # up to so many a column has room for 7 letters of a header, of more for 3


def shown_layer(wanted: str | None, results: Sequence[NetworkResult]) -> str:
    """The wanted layer where a network has it, else the last block: the deepest layer with feature maps.

    Raises ValueError where no layer has maps.
    """
    axis = layer_axis(results)
    if wanted in axis and wanted is not None:
        return wanted
    if not axis:
        raise ValueError("no layer of these networks has maps of at least two pixels, so there is no depth to show.")
    blocks = [column.name for column in results[0].profiles if column.kind == "block"]
    return blocks[-1] if blocks else axis[-1]


def layer_axis(rows: Sequence[NetworkResult]) -> tuple[str, ...]:
    """The layers on the strip's axis."""
    return shared_axis(*([column.name for column in row.profiles] for row in rows))


def pack_strip(writer: MessageWriter, rows: Sequence[NetworkResult]) -> dict[str, Any]:
    """What `strip.js` draws: the arrays go into the message, the rest is returned for its header."""
    axis = layer_axis(rows)
    cams = [{column.name: _scale_end(column.cam.max()) for column in row.profiles} for row in rows]
    maps = [{column.name: _scale_end(column.peak) for column in row.profiles} for row in rows]
    signed = [{column.name: _scale_end(extent(column.signed_cam)) for column in row.profiles} for row in rows]
    palettes = {"cam": writer.add(figures.palette(SEQUENTIAL)), "map": writer.add(figures.palette(DIVERGING))}
    return {
        "columns": [_column(rows, name) for name in axis],
        "groups": _groups(axis, rows),
        "palettes": {**palettes, "signed": palettes["map"]},
        "networks": [_network(row, axis, writer, *tops) for row, *tops in zip(rows, cams, maps, signed, strict=True)],
        "maxima": {
            "cam": _scale_maxima(axis, [_ends(row, lambda column: column.cam.max()) for row in rows]),
            "map": _scale_maxima(axis, [_ends(row, lambda column: column.peak) for row in rows]),
            "signed": _scale_maxima(axis, [_ends(row, lambda column: extent(column.signed_cam)) for row in rows]),
        },
        "charts": [
            _chart(ACTIVATION_RMS, "activation_magnitude", rows, axis),
            _chart(GRADIENT_RMS, "gradient_magnitude", rows, axis),
        ],
    }


def _ends(row: NetworkResult, end: Callable[[LayerProfile], float]) -> dict[str, float]:
    """Where the colour scale of each layer ends: at every step of a training where it ends for the finished network."""
    return {column.name: _scale_end(end(column)) for column in row.scaled_by}


def _scale_end(value: float) -> float:
    """Where a colour scale can end; a network that diverged has no such number."""
    return float(value) if math.isfinite(value) else 0.0


def _scale_maxima(axis: Sequence[str], largest: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The raw value that is drawn as the brightest colour: by scope, network and layer."""
    found = {scope: shared_tops(largest, scope) for scope in ("layer", "network", "both")}
    return {
        "layer": [[tops.get(name) for name in axis] for tops in found["layer"]],
        "network": [max(tops.values(), default=0.0) for tops in found["network"]],
        "both": [max(tops.values(), default=0.0) for tops in found["both"]],
    }


def _short_label(name: str) -> str:
    """`stages.1.0.conv2` -> "0.conv2": the stage stands in the header above it. A long one keeps its end."""
    parts = name.split(".")
    label = ".".join(parts[2 if parts[0] == "stages" else 1 :]) or name
    return label if len(label) <= _LETTERS else f"…{label[1 - _LETTERS :]}"


def _column(rows: Sequence[NetworkResult], name: str) -> dict[str, Any]:
    """The layer in the first network that has it; `block` is the name of that around it, or None."""
    specs = ((row.checkpoint.spec, column.kind) for row in rows for column in row.profiles if column.name == name)
    spec, kind = next(specs)
    return {"name": name, "label": _short_label(name), "kind": kind, "block": spec.block_of(name)}


def _groups(axis: Sequence[str], rows: Sequence[NetworkResult]) -> list[dict[str, Any]]:
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
    letters = 7 if len(axis) <= _WIDE_COLUMNS else 3.5  # of a column
    wide = [group for group in groups if group["span"] > 6]
    all_fit = all(len(group["title"]) <= letters * group["span"] for group in wide)
    for group in groups:
        room = int(letters * group["span"])
        group["label"] = group["title"] if all_fit and group in wide else group["key"]
        if group["span"] == 1 and (group["key"] in axis or len(group["label"]) > room == 3):
            group["label"] = ""  # its only layer has the same name, or there is no room
        elif len(group["label"]) > room:
            group["label"] = f"{group['label'][: room - 1]}…"
    return groups


def _network(
    row: NetworkResult,
    axis: Sequence[str],
    writer: MessageWriter,
    cams: Mapping[str, float],
    maps: Mapping[str, float],
    signed: Mapping[str, float],
) -> dict[str, Any]:
    """Each of its layers: the whole Grad-CAM for the overlay, with and without its ReLU, and a thumbnail of the most
    active channel."""
    columns = {column.name: column for column in row.profiles}
    cells: list[dict[str, Any] | None] = []
    for name in axis:
        column = columns.get(name)
        if column is None:
            cells.append(None)
            continue
        thumbnail = figures.average_pool(column.feature_map, _MAP_SIDE_PX)
        cells.append(
            {
                "cam": writer.picture(figures.quantise_sizes(column.cam, cams[name])),
                "map": writer.picture(figures.quantise_signed(thumbnail, maps[name])),
                "signed": writer.picture(figures.quantise_signed(column.signed_cam, signed[name])),
                "largest": json_float(column.cam.max()),
                "peak": json_float(column.peak),
                "extent": json_float(extent(column.signed_cam)),
                "zero": column.zero_reason,
                "most_active": column.strongest,
                "channels": column.shape[0],
                "shape": column.shape[1:],
                "sizes": f"{ACTIVATION_RMS} {column.activation_magnitude:.3g}, "
                f"{GRADIENT_RMS} {column.gradient_magnitude:.3g}",
            }
        )
    return {"title": row.title, "colour": row.colour, "dashed": row.dashed, "cells": cells}


def _line_kind(row: NetworkResult) -> str:
    """The kind of layers that a line of the charts connects: sizes of different kinds would make it a zigzag."""
    return "block" if any(column.kind == "block" for column in row.profiles) else "conv"


def _chart(title: str, field: str, rows: Sequence[NetworkResult], axis: Sequence[str]) -> dict[str, Any]:
    values = [{column.name: float(getattr(column, field)) for column in row.profiles} for row in rows]
    positive = [value for row in values for value in row.values() if 0 < value < math.inf] or [0.1]
    low = math.floor(math.log10(min(positive)))
    high = max(math.ceil(math.log10(max(positive))), low + 1)

    def place(value: float | None) -> float | None:
        """0 at the bottom, 1 at the top, along the logarithm; zero, which has none, at the bottom."""
        if value is None or not math.isfinite(value):
            return None
        return (math.log10(value) - low) / (high - low) if value > 0 else 0.0

    def hover(name: str) -> str:
        lines = [f"{row.title}: {found[name]:.3g}" for row, found in zip(rows, values, strict=True) if name in found]
        return "\n".join([f"{name}, {title}", *lines])

    def along(row: NetworkResult, found: Mapping[str, float], on_line: bool) -> list[float | None]:
        """The points of the layers on the row's line, or those of all others."""
        line = {column.name for column in row.profiles if column.kind == _line_kind(row)}
        return [place(found.get(name)) if (name in line) == on_line else None for name in axis]

    step = max(1, math.ceil((high - low) / 4))
    return {
        "title": title,
        "alt": f"{title} of each layer on a logarithmic axis from 1e{low} to 1e{high}; a line connects the "
        f"{' or '.join(dict.fromkeys(f'{_line_kind(row)}s' for row in rows))}, other layers are dots",
        "ticks": [{"label": f"1e{power}", "at": (power - low) / (high - low)} for power in range(low, high + 1, step)],
        "series": [
            {"colour": row.colour, "dash": "4 4" * row.dashed}
            | {"line": along(row, found, on_line=True), "dots": along(row, found, on_line=False)}
            for row, found in zip(rows, values, strict=True)
        ],
        "hover": [hover(name) for name in axis],
    }
