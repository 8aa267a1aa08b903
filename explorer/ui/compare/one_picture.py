"""The chapters of a report about one picture: what the networks say of it and what they see, as the page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explorer import figures
from explorer.attribution import top_classes
from explorer.figures import Chapter, Chart, Strip, Table, Thumbnail
from explorer.labels import capital
from explorer.ui.compare import aligned, charts
from explorer.ui.compare.compared import (
    Compared,
    column_tops,
    know_the_same,
    size_lines,
    strip_depths,
    training_lines,
)
from explorer.ui.compare.state import CompareState
from explorer.ui.services.inference import InputImage

_SIDE = 96  # of the picture and of what each network sees of it
_COLUMN = 64  # of a map on the strip
_LARGE = 160  # of an overlay


@dataclass(frozen=True, eq=False)
class Picture:
    """The picture that was looked at, uint8 (H, W, 3) at a size for the screen, and what is known of it."""

    pixels: np.ndarray
    title: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, subject: InputImage) -> "Picture":
        """Without the pixels that came with it, which may be 50 millions."""
        label = () if subject.label is None else (f"label: {subject.label}",)
        return cls(subject.shown, subject.title.strip("`"), (*label, *subject.notes))


def training(compared: Sequence[Compared]) -> tuple[list[Chart], list[str]]:
    """The training curves of those that have any, and a sentence about the others."""
    lines, without = training_lines(compared)
    caption = "Training: lines are means over the training pictures of each epoch, dots are validation pictures."
    lacking = [f"No training record came with the weights of {', '.join(without)}."] if without else []
    return [Chart(figures.training_chart(lines), caption)] if lines else [], lacking


def said(compared: Sequence[Compared], picture: Picture | None) -> Chapter:
    """What each network says of the picture, and how it sees it."""
    rows, seen = [], []
    for network in compared:
        looked = network.looked
        best = top_classes(looked.trace)
        words = ", ".join(f"{looked.checkpoint.class_names[index]} {value:.1%}" for index, value in best)
        rows.append([network.title, words, looked.target])
        pixels = aligned.seen_pixels(network)
        size = f"{pixels.shape[1]}×{pixels.shape[0]} pixels"
        seen.append(Thumbnail(figures.shown(pixels, _SIDE), [f"as {network.title} sees it: {size}"]))
    if picture is not None:
        seen.insert(0, Thumbnail(picture.pixels, [picture.title, *picture.notes]))
    n = "n = 1 picture."
    if know_the_same(compared):
        drawn = [Chart(charts.probabilities(compared), f"Probabilities; an arrow marks what is explained. {n}")]
    else:
        drawn = [
            Chart(charts.best_classes(network), f"{network.title}: its most probable classes. {n}")
            for network in compared
        ]
    return Chapter(
        "One picture",
        ["What each network says of the picture that was looked at, and which class was explained."],
        [Table(["network", "most probable classes", "explained"], rows)],
        [Strip([""] * len(seen), [("", seen)], _SIDE)],
        drawn,
        details=[("Every layer: sizes of activation, gradient and Grad-CAM", _every_layer(compared))],
    )


def _every_layer(compared: Sequence[Compared]) -> str:
    heads = ["network", "layer", "activation, root mean square", "gradient of the score, root mean square"]
    lines = [[*heads, "largest Grad-CAM value"]]
    for network in compared:
        for column in network.looked.profiles:
            numbers = (column.activation_magnitude, column.gradient_magnitude, float(column.cam.max()))
            lines.append([network.title, column.name, *(f"{number:.4g}" for number in numbers)])
    return "\n".join("\t".join(line) for line in lines)


def seen(compared: Sequence[Compared], state: CompareState) -> list[Chapter]:
    """The maps along relative depth on the scale of the view, one depth in detail, how alike the maps are, and sizes;
    no chapter where no network has maps."""
    mapped = [network for network in compared if network.depths]
    if not mapped:
        return []
    sizes = f"{capital(charts.SIZES)}, on logarithmic axes; exact zeros are crosses at the bottom."
    drawn = [Chart(figures.sizes_chart(size_lines(mapped)), f"{sizes} n = 1 picture.")]
    strips = [_strip(mapped, state), _overlays(mapped, state)]
    if len(mapped) > 1:
        strips.append(_differences(mapped, state))
        alike = figures.alike_chart(aligned.alike_along_depth(mapped), state.depth)
        drawn.insert(0, Chart(alike, f"{_ALIKE} n = 1 picture."))
    return [Chapter("What they see", [charts.GRAD_CAMS, *charts.caveats(mapped)], (), strips, drawn)]


_ALIKE = (
    "How alike the maps are along depth: correlation, and intersection over union of the regions in which each map has "
    "at least half of its largest value. A gap is a map that is zero; the dotted line is the depth in detail above."
)


def _strip(compared: Sequence[Compared], state: CompareState) -> Strip:
    depths = strip_depths(state.depth)
    tops = column_tops(compared, depths, state.scope)
    rows = []
    for network, of_row in zip(compared, tops, strict=True):
        cells = []
        for depth, top in zip(depths, of_row, strict=True):
            column = network.nearest(depth)
            cells.append(Thumbnail(aligned.paint(column.cam, top, state.grid), [column.name, f"to {top:.3g}"]))
        rows.append((network.title, cells))
    heads = [f"{depth:.2f}" for depth in depths]
    caption = f"By relative depth. {charts.scales(state, compared, tops, str)}. Brighter is more. n = 1 picture."
    return Strip(heads, rows, _COLUMN, figures.colour_bar(figures.SEQUENTIAL), caption)


def _overlays(compared: Sequence[Compared], state: CompareState) -> Strip:
    depths = strip_depths(state.depth)
    place = depths.index(state.depth)
    cells = []
    for network, tops in zip(compared, column_tops(compared, depths, state.scope), strict=True):
        column, top = network.nearest(state.depth), tops[place]
        why = [column.zero_reason] if column.zero_reason else []
        lines = [column.name, f"explains {network.looked.target}; from 0 to {top:.3g}", *why]
        cells.append(Thumbnail(aligned.overlay(network, column.cam, top, state.grid), lines))
    heads = [network.title for network in compared]
    caption = f"At relative depth {state.depth:.2f}: each network's map over what it sees."
    return Strip(heads, [("", cells)], _LARGE, figures.colour_bar(figures.SEQUENTIAL), caption)


def _differences(compared: Sequence[Compared], state: CompareState) -> Strip:
    first, *others = compared
    comparisons = aligned.pairs(compared, state.depth)
    top = max(float(abs(comparison.difference).max()) for comparison in comparisons)
    cells = []
    for comparison in comparisons:
        lines = [
            f"{words} {value:.2f}"
            for words, value in (
                ("correlation", comparison.correlation),
                ("intersection over union", comparison.iou),
            )
            if value is not None
        ]
        cells.append(Thumbnail(aligned.paint_difference(comparison, top, state.grid), lines or ["no correlation"]))
    heads = [f"{first.title} − {other.title}" for other in others]
    caption = f"At relative depth {state.depth:.2f}: difference of the raw maps, from −{top:.3g} to {top:.3g}."
    return Strip(heads, [("", cells)], _LARGE, figures.colour_bar(figures.DIVERGING), caption)
