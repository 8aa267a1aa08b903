"""What the compared networks see of one picture: their maps along relative depth, and one depth in detail."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from explorer import figures
from explorer.experiments.maps import CamComparison
from explorer.ui import navigation, resources
from explorer.ui.compare import aligned, controls
from explorer.ui.compare.compared import Compared, change, column_tops, read, seen_part, size_lines, strip_depths
from explorer.ui.compare.state import CompareState
from explorer.ui.markdown import as_text
from explorer.ui.scale import colour_bar
from explorer.ui.state import AppState

QUIET = {"displayModeBar": False}


def section(state: CompareState, compared: Sequence[Compared]) -> None:
    st.subheader("What they see", anchor=False)
    mapped = [network for network in compared if network.depths]
    for network in compared:
        if not network.depths:
            st.info(f"{as_text(network.title)} has no layer with feature maps, so there is nothing to see of it.")
    if not mapped:
        return
    st.markdown(
        "Grad-CAM: where a layer's channels speak for the explained class. Layers stand where they lie between input "
        "(0) and output (1), counted in weighted layers, so that networks of different depth can be compared; each "
        "column shows the layer of each network that is nearest to it. Look for the depth at which the object appears, "
        "and at the number under the map, its largest value. Click a map for its detail."
    )
    tops = column_tops(mapped, strip_depths(state.depth), state.scope)
    titles = [network.title for network in mapped]
    aligned.aligned_maps(state, mapped, _scale_words(state, titles, tops), _choose)
    colour_bar(figures.SEQUENTIAL, _scale_words(state, [as_text(title) for title in titles], tops))
    parts = {seen_part(network) for network in mapped}
    if len(parts) > 1:
        shares = ", ".join(f"{as_text(network.title)} {seen_part(network):.0%}" for network in mapped)
        st.caption(
            f"The networks cut the picture differently (of its shorter side they see: {shares}), so one place of two "
            "maps is not exactly one place of the picture, and the comparisons of maps below are rough."
        )
    _sizes(mapped)
    _detail(state, mapped)


def _sizes(compared: Sequence[Compared]) -> None:
    st.markdown(
        "**How large activations and gradients are along depth**: the root mean square of what each block puts out, "
        "and of the gradient of the explained score with respect to it. Look for whether the gradient keeps its size "
        "on its way back, from right to left."
    )
    st.plotly_chart(
        figures.sizes_chart(size_lines(compared)),
        key="sizes",
        config=QUIET,
        alt="Size of activations and of gradients of each network along relative depth, on logarithmic axes",
    )
    st.caption("n = 1 picture. The axes are logarithmic; what is exactly 0 lies as a cross on the line at the bottom.")


def _choose(column: Any) -> None:
    state = read()
    depths = strip_depths(state.depth) if state is not None else []
    if isinstance(column, int) and 0 <= column < len(depths):  # what the browser says may be anything
        change(depth=round(depths[column], 4))


def _scale_words(state: CompareState, titles: Sequence[str], tops: Sequence[Sequence[float]]) -> str:
    if state.scope == "layer":
        return (
            "Grad-CAM: 0 to the largest value found in that column, over all networks. So a weak column glows like a "
            "strong one: the numbers under the maps say how strong it is"
        )
    if state.scope == "both":
        return f"Grad-CAM: 0 to {tops[0][0]:.3g}, everywhere"
    parts = ", ".join(f"0 to {top[0]:.3g} ({title})" for title, top in zip(titles, tops, strict=True))
    return f"Grad-CAM: {parts}"


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
    if len({network.looked.target for network in compared}) > 1:
        st.caption("The networks explain different classes, so their maps may differ for that reason alone.")
    st.markdown(
        "**How alike the maps are along depth.** Correlation: 1 where both maps rise and fall together, 0 where they "
        "have nothing in common. Intersection over union: how far the regions overlap in which each map has at least "
        "half of its largest value. A gap is a map that is zero. Look for the depth at which the networks part."
    )
    st.plotly_chart(
        figures.alike_chart(aligned.alike_along_depth(compared), state.depth),
        key="alike",
        config=QUIET,
        alt="Correlation and intersection over union of the maps along relative depth",
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
    second = next((other for other in others if resources.know_the_same(first, other)), None)
    if st.button("Open in Explore, with every layer and its feature maps", key="to_explore"):
        layer = compared[0].nearest(state.depth).name
        view = AppState(
            first=first, second=second, picture=state.picture, target=state.target, layer=layer, scope=state.scope
        )
        navigation.go("explore", view.to_query())
