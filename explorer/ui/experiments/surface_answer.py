"""What loss surfaces say: sentences, curves, contours, the scene in space, and their files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.experiments.loss_surface import Surface, sentences
from explorer.experiments.loss_surface.curvature import ratio
from explorer.figures import DASHES, Chapter, Chart, Part, Series, SurfacePanel, Table
from explorer.figures.surfaces import Quantity
from explorer.files import csv_bytes, npz
from explorer.labels import STATISTICS, listed
from explorer.ui import navigation
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.widgets.bound import choice

SPLITS = {"train": "training images", "test": "test images"}
QUANTITIES: dict[Any, str] = {"loss": "loss", "error": "error"}
NO_PATH = (
    "No weights of these trainings were kept, so no path can be drawn. Train on Build & train with snapshots of the "
    "weights."
)


@dataclass(frozen=True, eq=False)
class ShownSurface:
    """A surface with the title, the colour and the number of classes of its network."""

    title: str
    colour: str
    classes: int
    surface: Surface

    @property
    def words(self) -> str:
        return f"{self.title}, {STATISTICS[self.surface.asked.statistics]}"


def choose_view(state: ExperimentsState, shown: Sequence[ShownSurface]) -> None:
    """Which images and which of their values the surfaces show."""
    with st.container(horizontal=True):
        if shown[0].surface.asked.dimensions == 2:
            choice(state, "quantity", "Height", QUANTITIES, prefix="experiments", change=update_state)
        if len(shown[0].surface.splits) > 1:
            choice(state, "split", "Images", SPLITS, prefix="experiments", change=update_state)


def answer(shown: Sequence[ShownSurface], state: ExperimentsState) -> list[Part]:
    """Of one or more surfaces over the same directions and images."""
    first = shown[0].surface
    said = [sentences.finding(each.title, each.surface, each.classes) for each in shown]
    compared = [
        sentences.comparison([each.title for each in of_kind], [each.surface for each in of_kind])
        for kind in STATISTICS
        if (of_kind := [each for each in shown if each.surface.asked.statistics == kind])
    ]
    parts: list[Part] = [*(list(filter(None, compared)) or said[:1])]
    at = first.splits.index(state.split) if state.split in first.splits else 0
    pictures = f"n = {first.counts[at]:,} {SPLITS[first.splits[at]]}"
    if first.asked.dimensions == 1:
        parts += [_curves(shown, "loss", at, pictures), _curves(shown, "error", at, pictures)]
    else:
        parts += _over_two(shown, state.quantity, at, pictures)
    parts += _curvature(shown)
    cells = [sentences.cells(each.title, each.surface, each.classes) for each in shown]
    parts += [Table(sentences.COLUMNS, cells, 2), *(text for text in said if text not in parts)]
    return [*parts, *_without_path(shown)]


def _without_path(shown: Sequence[ShownSurface]) -> list[Part]:
    """Which networks have no path."""
    without = list(dict.fromkeys(each.title for each in shown if not len(each.surface.path)))
    if all(not len(each.surface.path) for each in shown):
        return [NO_PATH]
    return [f"No weights of the training of {listed(without)} were kept, so no path is drawn there."] if without else []


def _curves(shown: Sequence[ShownSurface], quantity: Quantity, at: int, pictures: str) -> Chart:
    lines = []
    for each in shown:
        values = getattr(each.surface, {"loss": "losses", "error": "errors"}[quantity])[at, 0]
        known = each.surface.measured[0]
        lines.append((_series(each, shown), each.surface.xs[known], values[known]))
    paths = {each.title: (Series(each.title, each.colour), each.surface.path) for each in shown}
    figure = figures.surface_curves(lines, quantity, list(paths.values()))
    text = f"{pictures}. Dashed: recomputed statistics. The grey line is the network itself; a gap has no finite value."
    if any(len(path) for _, path in paths.values()):
        text += " Ticks below are the kept steps of the training, projected on the direction."
    return Chart(figure, f"{quantity.capitalize()} along one direction", text)


def _series(each: ShownSurface, shown: Sequence[ShownSurface]) -> Series:
    """Lines of one network have its colour, those of recomputed statistics are dashed."""
    titles = list(dict.fromkeys(other.title for other in shown if other.colour == each.colour))
    kind = int(each.surface.asked.statistics == "recomputed")
    return Series(each.words, each.colour, DASHES[(kind + 2 * titles.index(each.title)) % len(DASHES)])


def _panels(shown: Sequence[ShownSurface], quantity: str, at: int) -> list[SurfacePanel]:
    name = {"loss": "losses", "error": "errors"}[quantity]
    made = []
    for each in shown:
        rows, columns = each.surface.drawable()
        values = getattr(each.surface, name)[at][rows, columns]
        made.append(
            SurfacePanel(each.words, each.surface.xs[columns], each.surface.ys[rows], values, each.surface.path)
        )
    return made


def _over_two(shown: Sequence[ShownSurface], quantity: Quantity, at: int, pictures: str) -> list[Part]:
    panels = _panels(shown, quantity, at)
    path = " The line is the training's path, projected." if any(len(each.path) for each in panels) else ""
    scale = "One scale of heights and colours for all" + (", logarithmic" if quantity == "loss" else "")
    turn = "Drag to turn: one scene, so all surfaces turn together. "
    whole = quantity.capitalize()
    scene, maps = figures.surface_scene(panels, quantity), figures.surface_maps(panels, quantity)
    return [
        Chart(scene, f"{whole} over two directions, in space", f"{turn}{scale}. {pictures}.{path}"),
        Chart(maps, f"{whole} over two directions", f"{scale}. The cross is the network itself. {pictures}.{path}"),
    ]


def _curvature(shown: Sequence[ShownSurface]) -> list[Part]:
    """The eigenvalue ratio over the surface, where it was measured at several places."""
    if shown[0].surface.asked.curvature < 3 or not any(len(each.surface.curvature) for each in shown):
        return []
    made = [(each, *_ratios(each.surface)) for each in shown if len(each.surface.curvature)]
    n = min(shown[0].surface.asked.curvature_images, shown[0].surface.counts[0])
    text = (
        f"|λmin / λmax| of the Hessian on {n} {SPLITS[shown[0].surface.splits[0]]}. Near 0 the loss curves upward "
        "in all directions."
    )
    title = "How much of the curvature is downward"
    if shown[0].surface.asked.dimensions == 1:
        lines = [(_series(each, shown), xs, values[0]) for each, xs, _, values in made]
        return [Chart(figures.surface_curves(lines, "ratio"), title, text)]
    panels = [SurfacePanel(each.words, xs, ys, values, np.zeros((0, 3))) for each, xs, ys, values in made]
    return [Chart(figures.surface_maps(panels, "ratio"), title, text)]


def _ratios(found: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    xs, ys = np.unique(found.curvature[:, 0]), np.unique(found.curvature[:, 1])
    values = np.full((len(ys), len(xs)), math.nan)
    for x, y, smallest, largest, *_ in found.curvature.tolist():
        values[np.searchsorted(ys, y), np.searchsorted(xs, x)] = ratio(smallest, largest)
    return xs, ys, values


def take_home(shown: Sequence[ShownSurface], state: ExperimentsState, title: str, source: str, stem: str) -> None:
    """CSV, npz and report."""

    def table() -> bytes:
        rows: list[Sequence[object]] = [sentences.header(shown[0].surface)]
        rows += [row for each in shown for row in sentences.rows(each.title, each.surface)]
        return csv_bytes(rows)

    def arrays() -> BytesIO:
        found = {}
        for number, each in enumerate(shown):
            for name in ("xs", "ys", "losses", "errors", "measured", "centre", "increases", "curvature", "path"):
                found[f"{number}-{each.surface.asked.statistics}/{name}"] = getattr(each.surface, name)
        return BytesIO(npz(found))

    def chapters() -> list[Chapter]:
        return [Chapter(title, [*answer(shown, state), source, *sentences.DEFINITIONS, *sentences.LIMITS])]

    with st.container(horizontal=True):
        navigation.download_button(
            "Results (CSV)", data=table, file_name=f"{stem}.csv", mime="text/csv", key="surface-csv"
        )  # fmt: skip
        navigation.download_button(
            "Arrays (npz)", data=arrays, file_name=f"{stem}.npz", mime="application/octet-stream", key="surface-npz"
        )  # fmt: skip
        navigation.report_button(title, chapters, stem, "surface-report")
