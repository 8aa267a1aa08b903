"""Compare, on one image: the Grad-CAMs along relative depth, one depth in detail, and sizes along depth."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer import figures
from explorer.experiments.cam_metrics import CamComparison, compare_cams
from explorer.figures import Chapter, Chart, ColourScale, DepthCurves, Strip, Thumbnail
from explorer.labels import EVIDENCE
from explorer.ui import navigation, network_registry
from explorer.ui.charts import colour_bar
from explorer.ui.compare import aligned_strip, controls
from explorer.ui.compare.comparison import ComparedNetwork, cam_of, column_tops, load_state, strip_depths, update_state
from explorer.ui.compare.state import CompareState
from explorer.ui.markdown import as_code, as_text
from explorer.ui.network_text import source_text
from explorer.ui.parts import draw
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.input_images import InputImage

HEADING = "Where they look"
GRAD_CAMS = (
    "Grad-CAM: where a layer's channels support the explained class. Columns are relative depths, 0 at the input and 1 "
    "at the output; each shows the nearest layer of each network."
)
_READING = {"positive": "Brighter is more.", "signed": "Darker is more."}
_COLUMN = 64  # pixels of a map on the report's strip
_LARGE = 160  # pixels of an overlay in the report


def section(state: CompareState, compared: Sequence[ComparedNetwork], subject: InputImage) -> None:
    mapped = [network for network in compared if network.depths]
    for network in compared:
        if not network.depths:
            st.info(f"{as_text(network.title)} has no layer with feature maps, so there is nothing to see of it.")
    if not mapped:
        return
    st.markdown(
        f"{GRAD_CAMS} Click a map for its detail. → Compare the largest values under the maps, not the colours."
    )
    scales, source = _scales(state, mapped), source_text(mapped, subject)
    aligned_strip.aligned_maps(state, mapped, f"{scales}. {source}", _choose)
    colour_bar(aligned_strip.palette_of(state), as_text(scales))
    for words in caveats(state, mapped):
        st.caption(as_text(words))
    draw([_sizes(mapped)], "sizes", source)
    _detail(state, mapped, source)


def chapters(state: CompareState, compared: Sequence[ComparedNetwork]) -> list[Chapter]:
    """The same for a report; none where no network has maps."""
    mapped = [network for network in compared if network.depths]
    if not mapped:
        return []
    large = [replace(strip, side=_LARGE) for strip in _strips(state, mapped)]
    charts = [*_similarity(state, mapped), _sizes(mapped)]
    return [Chapter(HEADING, [GRAD_CAMS, *caveats(state, mapped), _strip(state, mapped), *large, *charts])]


def _choose(column: Any) -> None:
    """`column` comes from the browser and may be anything."""
    state = load_state()
    depths = strip_depths(state.depth) if state is not None else ()
    if isinstance(column, int) and 0 <= column < len(depths):
        update_state(depth=round(depths[column], 4))


# --- along depth -----------------------------------------------------------------------------------------------------


def caveats(state: CompareState, compared: Sequence[ComparedNetwork]) -> list[str]:
    """Reasons for which maps differ although the networks look at the same places, or cannot be compared by pixel."""
    sentences = different_classes(compared)
    if state.frame is None and len({network.visible_fraction for network in compared}) > 1:
        shares = ", ".join(f"{network.title} {network.visible_fraction:.0%}" for network in compared)
        sentences.append(
            f"The networks crop the image differently (of its shorter side: {shares}), so comparisons of the maps are "
            "rough."
        )
    return sentences


def different_classes(compared: Sequence[ComparedNetwork]) -> list[str]:
    same = len({network.target for network in compared}) == 1
    return [] if same else ["The networks explain different classes, so their maps may differ for that reason alone."]


def _scales(state: CompareState, compared: Sequence[ComparedNetwork]) -> str:
    """Where the colours of the Grad-CAMs end, for the scope of the view."""
    name, start, meaning = EVIDENCE[state.evidence], "0 to ", ""
    if state.evidence == "signed":
        start, meaning = "±", ". Red supports the explained class, blue opposes it"
    if state.scope == "layer":
        return (
            f"{name}: {start}the largest value found in that column, over all networks{meaning}. So a weak column "
            "glows like a strong one: the numbers under the maps say how strong it is"
        )
    tops = [row[0] for row in column_tops(compared, strip_depths(state.depth), state.scope, state.evidence)]
    if state.scope == "both":
        return f"{name}: {start}{tops[0]:.3g}, everywhere{meaning}"
    named = zip(compared, tops, strict=True)
    return f"{name}: " + ", ".join(f"{start}{top:.3g} ({network.title})" for network, top in named) + meaning


def _strip(state: CompareState, compared: Sequence[ComparedNetwork]) -> Strip:
    depths = strip_depths(state.depth)
    rows, every = [], column_tops(compared, depths, state.scope, state.evidence)
    for network, tops in zip(compared, every, strict=True):
        cells = []
        for depth, top in zip(depths, tops, strict=True):
            column = network.nearest(depth)
            painted = aligned_strip.paint(cam_of(column, state.evidence), top, state.grid, state.evidence)
            cells.append(Thumbnail(painted, [column.name, f"{_to(state)}{top:.3g}"]))
        rows.append((network.title, cells))
    caption = f"By relative depth. {_scales(state, compared)}. {_READING[state.evidence]} n = 1 image."
    ends = aligned_strip.scale_ends(state, every)
    return Strip([f"{depth:.2f}" for depth in depths], rows, _COLUMN, aligned_strip.palette_of(state), caption, ends)


def _to(state: CompareState) -> str:
    return "to ±" if state.evidence == "signed" else "to "


def _sizes(compared: Sequence[ComparedNetwork]) -> Chart:
    """The size of activations and of gradients behind each block. Convolutions inside the blocks are left out: norms
    behind them set their size anew, so a line through both kinds would go up and down with the kind."""
    lines = []
    for network in compared:
        blocks = [column for column in network.profiles if column.kind == "block"]
        lines.append(
            DepthCurves(
                series=network.series,
                layers=[block.name for block in blocks],
                depths=[network.depths[block.name] for block in blocks],
                left=[block.activation_magnitude for block in blocks],
                right=[block.gradient_magnitude for block in blocks],
            )
        )
    text = (
        "Behind each block. The axes are logarithmic; exact zeros are crosses on the line at the bottom. n = 1 image."
    )
    return Chart(figures.sizes_chart(lines), "RMS of the activation and of ∂score/∂activation along depth", text)


# --- one depth in detail ---------------------------------------------------------------------------------------------


def _detail(state: CompareState, compared: Sequence[ComparedNetwork], source: str) -> None:
    st.markdown(f"##### At relative depth {state.depth:.2f}")
    controls.choose_depth(state)
    strips = _strips(state, compared)
    with st.container(horizontal=True, gap="medium"):
        for strip in strips:
            for title, thumbnail in zip(strip.columns, strip.rows[0][1], strict=True):
                with st.container(width=aligned_strip.SIDE + 16):
                    _draw_map(title, thumbnail)
    for strip in strips:
        colour_bar(strip.palette, as_text(strip.caption))
    draw(_similarity(state, compared), "alike", source)
    _open_in_explore(state, compared)


def _draw_map(title: str, thumbnail: Thumbnail | None) -> None:
    assert thumbnail is not None
    layer, *words = thumbnail.lines
    st.image(thumbnail.pixels, output_format="PNG", alt=f"{title}, {layer}")
    st.markdown(f"**{as_text(title)}**  \n{as_code(layer)}")
    st.caption(as_text(" ".join(words)))


def _strips(state: CompareState, compared: Sequence[ComparedNetwork]) -> list[Strip]:
    """The maps at the chosen depth, and where there are several networks the differences of the maps."""
    return [_overlays(state, compared), *([_differences(state, compared)] if len(compared) > 1 else [])]


def _overlays(state: CompareState, compared: Sequence[ComparedNetwork]) -> Strip:
    depths = strip_depths(state.depth)
    place = depths.index(state.depth)
    cells, every = [], column_tops(compared, depths, state.scope, state.evidence)
    for network, tops in zip(compared, every, strict=True):
        column, top = network.nearest(state.depth), tops[place]
        height, width = column.cam.shape
        words = (
            f"{column.kind} at {network.depths[column.name]:.3f}; a map of {height}×{width}, explaining "
            f"{network.target}. Colours from 0 to {top:.3g}, its largest value is {column.cam.max():.3g}."
        )
        zero = [f"The Grad-CAM is zero everywhere. {column.zero_reason}"] if column.zero_reason else []
        if state.evidence == "signed":
            low, high = column.signed_cam.min(), column.signed_cam.max()
            words = (
                f"{column.kind} at {network.depths[column.name]:.3f}; a map of {height}×{width}, explaining "
                f"{network.target}. Colours to ±{top:.3g}, its values are {low:.3g} to {high:.3g}."
            )
            zero = []
        pixels = aligned_strip.overlay(network, cam_of(column, state.evidence), top, state.grid, state.evidence)
        cells.append(Thumbnail(pixels, [column.name, *zero, words]))
    caption = f"Each network's {EVIDENCE[state.evidence]} over its input, at depth {state.depth:.2f}."
    titles = [network.title for network in compared]
    ends = aligned_strip.scale_ends(state, every)
    return Strip(titles, [("", cells)], aligned_strip.SIDE, aligned_strip.palette_of(state), caption, ends)


def _differences(state: CompareState, compared: Sequence[ComparedNetwork]) -> Strip:
    first, *others = compared
    comparisons = cam_pairs(compared, state.depth)
    top = max(float(abs(comparison.difference).max()) for comparison in comparisons)
    side = aligned_strip.SIDE
    cells = []
    for other, comparison in zip(others, comparisons, strict=True):
        values = aligned_strip.at_size(comparison.difference, state.grid, (side, side))
        layers = f"{first.nearest(state.depth).name}, {other.nearest(state.depth).name}"
        cells.append(
            Thumbnail(ColourScale.signed(top).paint(values), [layers, _similarity_words(first, other, comparison)])
        )
    caption = (
        f"Grad-CAM of {first.title} minus the other's, raw, ±{top:.3g}: red where {first.title} supports its class "
        "more, blue where the other does."
    )
    titles = [f"{first.title} − {other.title}" for other in others]
    return Strip(titles, [("", cells)], side, figures.DIVERGING, caption, (f"−{top:.3g}", f"{top:.3g}"))


def cam_pairs(compared: Sequence[ComparedNetwork], depth: float) -> list[CamComparison]:
    """The first network's map against each other network's, at the layers nearest to that depth."""
    first, *others = (network.nearest(depth).cam for network in compared)
    return [compare_cams(first, other) for other in others]


def _similarity_words(first: ComparedNetwork, other: ComparedNetwork, comparison: CamComparison) -> str:
    height, width = comparison.difference.shape
    words = [f"On {height}×{width}."]
    if comparison.correlation is not None:
        words.append(f"Correlation {comparison.correlation:.2f}.")
    if comparison.iou is not None and comparison.chance is not None:
        words.append(f"Intersection over union {comparison.iou:.2f}; by chance about {comparison.chance:.2g}.")
    if comparison.reason:
        reason = comparison.reason.replace("ap A", f"ap of {first.title}").replace("ap B", f"ap of {other.title}")
        lacking = "correlation" if comparison.iou is not None else "correlation and overlap"
        words.append(f"No {lacking}: {reason[0].lower()}{reason[1:]}")
    return " ".join(words)


def _similarity(state: CompareState, compared: Sequence[ComparedNetwork]) -> list[Chart]:
    """How alike the maps are along depth, where there are several networks."""
    if len(compared) < 2:
        return []
    text = (
        "Correlation: 1 where both maps rise and fall together. Intersection over union: of the regions with at least "
        "half of each map's largest value. A gap is a map that is zero; the dotted line is the chosen depth. n = 1 "
        "image."
    )
    figure = figures.map_similarity_chart(similarity_along_depth(compared), state.depth)
    return [Chart(figure, "Similarity of the maps along depth", text)]


def similarity_along_depth(compared: Sequence[ComparedNetwork]) -> list[DepthCurves]:
    """Correlation and overlap of the first network's maps with each other network's, column by column."""
    depths = strip_depths(1.0)
    found = [cam_pairs(compared, depth) for depth in depths]
    first, *others = compared
    return [
        DepthCurves(
            series=replace(other.series, title=f"{first.title} and {other.title}"),
            layers=[f"{first.nearest(depth).name} and {other.nearest(depth).name}" for depth in depths],
            depths=depths,
            left=[_or_nan(comparisons[index].correlation) for comparisons in found],
            right=[_or_nan(comparisons[index].iou) for comparisons in found],
        )
        for index, other in enumerate(others)
    ]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _open_in_explore(state: CompareState, compared: Sequence[ComparedNetwork]) -> None:
    """The first network with one of the same classes, since Explore shows no others beside each other."""
    first, *others = (network.listed for network in compared)
    second = next((other for other in others if network_registry.same_classes(first, other)), None)
    if st.button("Open in Explore, with every layer and its feature maps", key="to_explore"):
        layer = compared[0].nearest(state.depth).name
        view = AppState(
            first=first,
            second=second,
            picture=state.picture,
            frame=state.frame,
            paper=state.paper,
            target=state.target,
            step=state.step,
            layer=layer,
            scope=state.scope,
            evidence=state.evidence,
            layers="main",
        )
        navigation.switch_page("explore", view.to_query())
