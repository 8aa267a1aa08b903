"""What the compared networks see of one picture: their maps along relative depth, and one depth in detail."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from explorer import figures
from explorer.experiments.cam_metrics import CamComparison
from explorer.ui import navigation, network_registry
from explorer.ui.charts import chart, colour_bar
from explorer.ui.compare import aligned, charts, controls
from explorer.ui.compare.compared import Compared, change, column_tops, read, size_lines, strip_depths
from explorer.ui.compare.state import CompareState
from explorer.ui.markdown import as_text
from explorer.ui.services.explore_state import AppState


def section(state: CompareState, compared: Sequence[Compared]) -> None:
    st.subheader("What they see", anchor=False)
    mapped = [network for network in compared if network.depths]
    for network in compared:
        if not network.depths:
            st.info(f"{as_text(network.title)} has no layer with feature maps, so there is nothing to see of it.")
    if not mapped:
        return
    st.markdown(
        f"{charts.GRAD_CAMS} Look for the depth at which the object appears, and at the number under the map, its "
        "largest value. Click a map for its detail."
    )
    tops = column_tops(mapped, strip_depths(state.depth), state.scope)
    scales = partial(charts.scales, state, mapped, tops)
    aligned.aligned_maps(state, mapped, scales(str), _choose)
    colour_bar(figures.SEQUENTIAL, scales(as_text))
    for words in charts.caveats(mapped, as_text):
        st.caption(words)
    _sizes(mapped)
    _detail(state, mapped)


def _sizes(compared: Sequence[Compared]) -> None:
    st.markdown(
        f"**How large activations and gradients are along depth**: {charts.SIZES}. Look for whether the gradient keeps "
        "its size on its way back, from right to left."
    )
    chart(
        figures.sizes_chart(size_lines(compared)),
        "sizes",
        "Size of activations and of gradients of each network along relative depth, on logarithmic axes",
    )
    st.caption("n = 1 picture. The axes are logarithmic; what is exactly 0 lies as a cross on the line at the bottom.")


def _choose(column: Any) -> None:
    state = read()
    depths = strip_depths(state.depth) if state is not None else []
    if isinstance(column, int) and 0 <= column < len(depths):  # what the browser says may be anything
        change(depth=round(depths[column], 4))


def _detail(state: CompareState, compared: Sequence[Compared]) -> None:
    st.markdown(f"##### At relative depth {state.depth:.2f}")
    controls.choose_depth(state)
    depths = strip_depths(state.depth)
    tops = [row[depths.index(state.depth)] for row in column_tops(compared, depths, state.scope)]
    first, *others = compared
    if others:
        st.markdown(
            f"Each network's map over what it sees, and the maps' differences: {as_text(first.title)} minus the other, "
            f"raw, red where {as_text(first.title)} speaks more for its class, blue where the other does. Look for "
            "whether they look at the same place, and how strongly."
        )
    comparisons = aligned.pairs(compared, state.depth)
    largest = max((float(abs(comparison.difference).max()) for comparison in comparisons), default=0.0)
    with st.container(horizontal=True, gap="medium"):
        for network, top in zip(compared, tops, strict=True):
            with st.container(width=aligned.SIDE + 16):
                _overlay(state, network, top)
        for other, comparison in zip(others, comparisons, strict=True):
            with st.container(width=aligned.SIDE + 16):
                _difference(state, first, other, comparison, largest)
    if others:
        _alike(state, compared)
    _open_in_explore(state, compared)


def _overlay(state: CompareState, network: Compared, top: float) -> None:
    column = network.nearest(state.depth)
    height, width = column.cam.shape
    st.image(
        aligned.overlay(network, column.cam, top, state.grid),
        output_format="PNG",
        alt=f"Grad-CAM of {column.name} of {network.title} over the picture",
    )
    st.markdown(f"**{as_text(network.title)}**  \n`{column.name}`")
    if column.zero_reason:
        st.caption(f"The Grad-CAM is zero everywhere. {column.zero_reason}")
    st.caption(
        f"{column.kind} at {network.depths[column.name]:.3f}; a map of {height}×{width}, explaining "
        f"{as_text(network.looked.target)}. Colours from 0 to {top:.3g}, its largest value is {column.cam.max():.3g}."
    )


def _difference(state: CompareState, first: Compared, other: Compared, comparison: CamComparison, top: float) -> None:
    st.image(
        aligned.paint_difference(comparison, top, state.grid),
        output_format="PNG",
        alt=f"Grad-CAM of {first.title} minus that of {other.title}",
    )
    st.markdown(f"**{as_text(first.title)} − {as_text(other.title)}**")
    st.caption(_comparison_words(first, other, comparison))
    colour_bar(figures.DIVERGING, f"difference of the Grad-CAMs, ±{top:.3g}")


def _alike(state: CompareState, compared: Sequence[Compared]) -> None:
    st.markdown(
        "**How alike the maps are along depth.** Correlation: 1 where both maps rise and fall together, 0 where they "
        "have nothing in common. Intersection over union: how far the regions overlap in which each map has at least "
        "half of its largest value. A gap is a map that is zero. Look for the depth at which the networks part."
    )
    chart(
        figures.alike_chart(aligned.alike_along_depth(compared), state.depth),
        "alike",
        "Correlation and intersection over union of the maps along relative depth",
    )
    st.caption("n = 1 picture.")


def _comparison_words(first: Compared, other: Compared, comparison: CamComparison) -> str:
    height, width = comparison.difference.shape
    words = f"On {height}×{width}. "
    if comparison.correlation is not None:
        words += f"Correlation {comparison.correlation:.2f}. "
    if comparison.iou is not None and comparison.chance is not None:
        words += f"Intersection over union {comparison.iou:.2f}; by chance about {comparison.chance:.2g}. "
    if comparison.reason:
        reason = comparison.reason.replace("ap A", f"ap of {first.title}").replace("ap B", f"ap of {other.title}")
        words += f"No {'correlation' if comparison.iou is not None else 'correlation and overlap'}: "
        words += as_text(reason[0].lower() + reason[1:])
    return words


def _open_in_explore(state: CompareState, compared: Sequence[Compared]) -> None:
    """The first network with one that knows the same classes, as far as Explore can show it."""
    first, *others = (network.looked.name for network in compared)
    second = next((other for other in others if network_registry.same_classes(first, other)), None)
    if st.button("Open in Explore, with every layer and its feature maps", key="to_explore"):
        layer = compared[0].nearest(state.depth).name
        view = AppState(
            first=first, second=second, picture=state.picture, target=state.target, layer=layer, scope=state.scope
        )
        navigation.switch_page("explore", view.to_query())
