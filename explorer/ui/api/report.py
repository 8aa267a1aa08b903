"""The present view of Explore as chapters of a report: predictions, Grad-CAMs, the depth strip, sizes and settings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explorer import figures
from explorer.attribution import enlarge, extent
from explorer.figures import (
    DIVERGING,
    SEQUENTIAL,
    Chapter,
    Chart,
    ColourScale,
    DepthLine,
    Part,
    Series,
    Strip,
    Table,
    Thumbnail,
)
from explorer.images import to_pixels
from explorer.labels import EVIDENCE, listed
from explorer.ui.api.attack import TIMES, attack_sentences, magnified_change
from explorer.ui.api.binary import MessageWriter
from explorer.ui.api.changes import effect
from explorer.ui.api.layers import pack_layers, profile_of
from explorer.ui.api.predictions import pack_predictions
from explorer.ui.api.strip import layer_axis, pack_strip, shown_layer
from explorer.ui.network_text import source_text
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import NetworkResult
from explorer.ui.services.input_images import InputImage

_SIDE = 224  # pixels of an overlay
_SMALL = 96  # of the picture
_THUMBNAIL = 48  # of a map on the strip
_SCOPES = {
    "layer": "each layer has a scale of its own, which all networks share",
    "network": "all layers of a network share one scale",
    "both": "all maps of all networks share one scale",
}


def title(subject: InputImage, results: Sequence[NetworkResult]) -> str:
    return f"{listed([network.title for network in results])} on {subject.caption}"


def chapters(state: AppState, subject: InputImage, results: list[NetworkResult]) -> list[Chapter]:
    """Raises ValueError where no layer of the networks has maps."""
    layer = shown_layer(state.layer, results)
    source = source_text(results, subject)
    return [
        _predictions(subject, results),
        _layer(state, layer, subject, results, source),
        _strip(state, layer, results, source),
        _settings(state, layer, subject, results, source),
    ]


def _predictions(subject: InputImage, results: list[NetworkResult]) -> Chapter:
    said = pack_predictions(MessageWriter(), subject, results)
    sentences = [
        *filter(None, (said["finding"], said["note"], *map(effect, results), *attack_sentences(subject, results)))
    ]
    rows = []
    for network in said["networks"]:
        best = ", ".join(map(_answer, network["classes"]))
        explained = next(each["name"] for each in network["classes"] if each["explained"])
        rows.append([network["title"], best, explained, network["accuracy"] or "not measured"])
        sentences.append(f"{network['title']}: {network['verdict']}")
    pictures = [Thumbnail(subject.dimmed, [subject.plain_title, *subject.notes])]
    for result in results:
        pixels = _input(result)
        size = f"{pixels.shape[1]}×{pixels.shape[0]} pixels"
        pictures.append(Thumbnail(figures.fit_to_screen(pixels, _SMALL), [f"input of {result.title}: {size}"]))
    columns = ["network", "most probable classes", "explained", "over all"]
    heads = ["picture", *(network.title for network in results)]
    if subject.attacked:
        shown = figures.fit_to_screen(magnified_change(subject, results), _SMALL)
        pictures.append(Thumbnail(shown, [f"the change × {TIMES}, on mid-grey"]))
        heads.append("the attack")
    return Chapter("Predictions", [*sentences, Table(columns, rows, texts=4), Strip(heads, [("", pictures)], _SMALL)])


def _answer(answer: Mapping[str, Any]) -> str:
    """`star 85.0%`; of a changed network with the share that it had before."""
    before = "" if answer["before"] is None else f" (before {_percent(answer['before'])})"
    return f"{answer['name']} {_percent(answer['probability'])}{before}"


def _percent(share: float | None) -> str:
    return "no finite number" if share is None else f"{share:.1%}"


def _input(network: NetworkResult) -> np.ndarray:
    """The picture as the network gets it, uint8 (H, W, 3)."""
    return to_pixels(network.trace.image, network.checkpoint.mean, network.checkpoint.std)


def _layer(state: AppState, layer: str, subject: InputImage, results: list[NetworkResult], source: str) -> Chapter:
    """The overlays of the chosen layer, its numbers, and its chosen feature map."""
    place = layer_axis(results).index(layer)
    tops, there = _tops(state, results), [network for network in results if layer in network.trace.names]
    packed = pack_layers(MessageWriter(), subject, results, layer, None)
    numbers = {network.title: dict(own[layer]["numbers"]) for network, own in zip(results, packed, strict=True) if own}
    overlays, maps = [], []
    kind, is_signed = ("signed", True) if state.evidence == "signed" else ("cam", False)
    for which, network in enumerate(results):
        if network not in there:
            continue
        column, top = profile_of(network, layer), tops[kind][which][place]
        large = figures.fit_to_screen(_input(network), _SIDE)
        if is_signed:
            heat = enlarge(column.signed_cam, large.shape[:2])
            words = f"explaining {network.target}, largest absolute value {extent(column.signed_cam):.3g}"
            pixels = figures.signed_overlay(large, heat, top, state.opacity / 100)
        else:
            heat = enlarge(column.cam, large.shape[:2])
            heat = np.clip(heat / top, 0, 1) if top else np.zeros(large.shape[:2], np.float32)
            words = column.zero_reason or f"explaining {network.target}, largest value {column.cam.max():.3g}"
            pixels = figures.overlay(large, heat, state.opacity / 100)
        scale = f"colours to ±{top:.3g}" if is_signed else f"colours from 0 to {top:.3g}"
        overlays.append(Thumbnail(pixels, [f"{layer} of {network.title}", words, scale]))
        values = network.trace[layer].activation
        if state.channel is not None and state.channel < len(values):
            top = tops["map"][which][place]
            painted = ColourScale.signed(top).paint(values[state.channel])
            maps.append(Thumbnail(painted, [f"channel {state.channel} of {network.title}", f"colours to ±{top:.3g}"]))
    titles = [network.title for network in there]
    caption = f"{EVIDENCE[state.evidence]} of {layer} over the image. {source}"
    palette = DIVERGING if is_signed else SEQUENTIAL
    parts: list[Part] = [Strip(titles, [("", overlays)], _SIDE, palette, caption, _ends(state, tops, kind, place))]
    if maps:
        caption = f"Feature map of {layer}: the chosen channel. {source}"
        ends = _ends(state, tops, "map", place)
        parts.append(Strip([""] * len(maps), [("", maps)], _SIDE, DIVERGING, caption, ends))
    names = dict.fromkeys(name for own in numbers.values() for name in own)
    rows = [[name, *(own.get(name, "not measured") for own in numbers.values())] for name in names]
    return Chapter(f"Layer {layer}", [*parts, Table(["", *numbers], rows)])


def _tops(state: AppState, results: list[NetworkResult]) -> dict[str, list[list[float]]]:
    """The raw value that is drawn as the brightest colour: by kind of map, network and layer of the axis."""
    header, count = pack_strip(MessageWriter(), results), len(layer_axis(results))
    if state.scope == "layer":
        return {
            kind: [[top or 0.0 for top in row] for row in found["layer"]] for kind, found in header["maxima"].items()
        }
    return {kind: [[top] * count for top in found[state.scope]] for kind, found in header["maxima"].items()}


def _ends(state: AppState, tops: dict[str, list[list[float]]], kind: str, place: int | None = None) -> tuple[str, str]:
    """What the ends of the colours stand for: numbers where all networks share a scale."""
    shown = {row[place] for row in tops[kind]} if place is not None else {top for row in tops[kind] for top in row}
    end = f"{shown.pop():.3g}" if len(shown) == 1 else f"largest of the {state.scope}"
    return ("0" if kind == "cam" else f"−{end}"), end


def _strip(state: AppState, layer: str, results: list[NetworkResult], source: str) -> Chapter:
    axis, tops = layer_axis(results), _tops(state, results)
    kind = "signed" if state.evidence == "signed" else "cam"
    palette = DIVERGING if kind == "signed" else SEQUENTIAL
    cams: list[tuple[str, list[Thumbnail | None]]] = []
    maps: list[tuple[str, list[Thumbnail | None]]] = []
    for which, network in enumerate(results):
        columns = {column.name: column for column in network.profiles}
        rows: tuple[list[Thumbnail | None], list[Thumbnail | None]] = ([], [])
        for place, name in enumerate(axis):
            column = columns.get(name)
            if column is None:
                for row in rows:
                    row.append(None)
                continue
            if kind == "signed":
                cam = ColourScale.signed(tops[kind][which][place]).paint(column.signed_cam)
                rows[0].append(Thumbnail(cam, [f"± {extent(column.signed_cam):.2g}"]))
            else:
                cam = ColourScale.sizes(tops[kind][which][place]).paint(column.cam)
                rows[0].append(Thumbnail(cam, [f"≤ {column.cam.max():.2g}"]))
            small = figures.average_pool(column.feature_map, _THUMBNAIL)
            painted = ColourScale.signed(tops["map"][which][place]).paint(small)
            rows[1].append(Thumbnail(painted, [f"ch. {column.strongest}", f"≤ {column.peak:.2g}"]))
        cams.append((network.title, rows[0]))
        maps.append((network.title, rows[1]))
    scale = f"Colours: {_SCOPES[state.scope]}. {source}"
    strips = [
        Strip(
            axis,
            cams,
            _THUMBNAIL,
            palette,
            f"{EVIDENCE[state.evidence]}, largest value below. {scale}",
            _ends(state, tops, kind),
        ),
        Strip(axis, maps, _THUMBNAIL, DIVERGING, f"Most active channel. {scale}", _ends(state, tops, "map")),
    ]
    charts = [
        Chart(figures.depth_chart(words, _lines(results, field), layer, sizes=True), words, f"By layer. {source}")
        for words, field in (
            ("Activation size (root mean square)", "activation_magnitude"),
            ("Gradient size (root mean square)", "gradient_magnitude"),
        )
    ]
    return Chapter(
        "All layers, input to output", ["Grad-CAM of every layer and its most active channel.", *strips, *charts]
    )


def _lines(results: list[NetworkResult], field: str) -> list[DepthLine]:
    """By network; a size of 0 has no place on a logarithmic axis."""
    lines = []
    for network in results:
        sizes = [float(getattr(column, field)) for column in network.profiles]
        colour = figures.network_colour(network.checkpoint.spec.shortcut, "light")
        series = Series(network.title, colour, "dash" if network.dashed else "solid")
        names = [column.name for column in network.profiles]
        lines.append(DepthLine(series, names, [size if 0 < size < np.inf else None for size in sizes]))
    return lines


def _settings(state: AppState, layer: str, subject: InputImage, results: list[NetworkResult], source: str) -> Chapter:
    rows = [
        ["explained class", listed(list(dict.fromkeys(network.target for network in results)))],
        ["chosen layer", layer],
        ["chosen channel", "none" if state.channel is None else str(state.channel)],
        ["scale of the colours", _SCOPES[state.scope]],
        ["opacity of a Grad-CAM", f"{state.opacity}%"],
        ["map", EVIDENCE[state.evidence]],
        ["layers of the strip", state.layers],
        ["changes of the networks", state.change.replace(",", ", ") or "none"],
        ["changes of the image", subject.changes or "none"],
    ]
    return Chapter("Settings", [source, Table(["setting", "value"], rows, texts=2)])
