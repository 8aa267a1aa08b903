"""The Grad-CAMs of several networks under each other, aligned by relative depth and painted on shared scales."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.attribution import LayerProfile, enlarge, extent
from explorer.figures import ColourScale
from explorer.labels import EVIDENCE
from explorer.ui.compare.comparison import ComparedNetwork, cam_of, column_tops, strip_depths
from explorer.ui.compare.state import CompareState, Grid
from explorer.ui.services.explore_state import Evidence
from explorer.ui.viewer import place

_TILE = 64  # pixels of a smooth thumbnail; those on the true grid have as many as their map
_FINEST = 112  # pixels: a finer map than this has smaller cells than a thumbnail has pixels

SIDE = 224  # of the large pictures: maps of 7, 8, 14, 16, 28, 32, 56 and 112 fit it without a rest
OPACITY = 0.7
_ENDS = {"layer": "largest of the column", "network": "largest of the network"}

_component = place("aligned", "<div class='aligned'></div>", ("aligned.css", "picture_tools.css"), "aligned.js")


def aligned_maps(
    state: CompareState, compared: Sequence[ComparedNetwork], about: str, choose: Callable[[Any], None]
) -> None:
    """Draws the strip; `about` says where its colours end, and of what it is. A click calls `choose` with the number of
    its column, which comes from the browser and may be anything."""
    depths = strip_depths(state.depth)
    tops = column_tops(compared, depths, state.scope, state.evidence)
    titles = " and ".join(network.title for network in compared)
    data = {
        "grid": state.grid,
        "depths": [f"{depth:.2f}" for depth in depths],
        "chosen": depths.index(state.depth),
        "networks": [
            _row(network, depths, row, state.grid, state.evidence) for network, row in zip(compared, tops, strict=True)
        ],
        "caption": f"What {titles} see, by relative depth. {about}",
        "bar": figures.data_uri(figures.colour_bar(palette_of(state))),
        "title": EVIDENCE[state.evidence],
        "ends": scale_ends(state, tops),
    }
    _component(key="aligned", data=data, on_column_change=lambda: choose(st.session_state["aligned"]["column"]))


def scale_ends(state: CompareState, tops: Sequence[Sequence[float]]) -> tuple[str, str]:
    """What the ends of the colours of all maps stand for; `tops` are those of `column_tops`."""
    end = f"{tops[0][0]:.3g}" if state.scope == "both" else _ENDS[state.scope]
    return f"−{end}" if state.evidence == "signed" else "0", end


def palette_of(state: CompareState) -> str:
    return figures.DIVERGING if state.evidence == "signed" else figures.SEQUENTIAL


def _row(
    network: ComparedNetwork, depths: Sequence[float], tops: Sequence[float], grid: Grid, evidence: Evidence
) -> dict[str, Any]:
    columns = [network.nearest(depth) for depth in depths]
    seen = network.input_pixels
    return {
        "title": network.title,
        "colour": network.colour,
        "input": figures.data_uri(seen),
        "seen": f"What {network.title} sees: {seen.shape[1]}×{seen.shape[0]} pixels",
        "cells": [_cell(network, column, top, grid, evidence) for column, top in zip(columns, tops, strict=True)],
    }


def _cell(
    network: ComparedNetwork, column: LayerProfile, top: float, grid: Grid, evidence: Evidence = "positive"
) -> dict[str, Any]:
    height, width = column.cam.shape
    if evidence == "signed":
        largest, is_zero = f"± {extent(column.signed_cam):.2g}", not column.signed_cam.any()
        peak = f"largest absolute value {extent(column.signed_cam):.3g}, scale to ±{top:.3g}"
    else:
        largest, is_zero = f"≤ {column.cam.max():.2g}", column.zero_reason is not None
        peak = column.zero_reason or f"largest value {column.cam.max():.3g}, scale to {top:.3g}"
    return {
        "layer": column.name,
        "words": [_layer_label(column.name, column.kind), f"{height}×{width}", largest],
        "image": figures.data_uri(paint(cam_of(column, evidence), top, grid, evidence)),
        "zero": is_zero,
        "hover": f"{network.title}, {column.name}, {height}×{width}, relative depth {network.depths[column.name]:.3f}\n"
        f"{EVIDENCE[evidence]}: {peak}",
    }


def _layer_label(name: str, kind: str) -> str:
    """`stages.1.0.conv2` -> "1.0 conv2", `stages.1.0` -> "1.0 block"."""
    parts = name.removeprefix("stages.").split(".")
    return f"{'.'.join(parts)} {kind}" if kind == "block" else f"{'.'.join(parts[:-1])} {parts[-1]}".strip()


def paint(cam: np.ndarray, top: float, grid: Grid, evidence: Evidence = "positive") -> np.ndarray:
    """The map as a thumbnail, uint8 (H, W, 3): with its own pixels, or smoothly enlarged."""
    scale = ColourScale.signed(top) if evidence == "signed" else ColourScale.sizes(top)
    return scale.paint(cam if grid == "true" and max(cam.shape) <= _FINEST else enlarge(cam, (_TILE, _TILE)))


def overlay(
    network: ComparedNetwork, cam: np.ndarray, top: float, grid: Grid, evidence: Evidence = "positive"
) -> np.ndarray:
    """The map over the network's input, uint8 (H, W, 3) of about `SIDE` pixels."""
    large = figures.fit_to_screen(network.input_pixels, SIDE)
    heat = at_size(cam, grid, large.shape[:2])
    if evidence == "signed":
        return figures.signed_overlay(large, heat, top, OPACITY)
    share = np.clip(heat / top, 0, 1) if top > 0 else np.zeros_like(heat)
    return figures.overlay(large, share, OPACITY)


def at_size(values: np.ndarray, grid: Grid, size: tuple[int, int]) -> np.ndarray:
    """`values` (h, w) at `size`: each pixel as a square on the true grid, else smooth between them."""
    return figures.cells(values, size) if grid == "true" else enlarge(values, size)
