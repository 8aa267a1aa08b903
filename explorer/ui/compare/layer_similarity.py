"""Compare, on test images: linear CKA of all layers of two networks."""

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from explorer import figures
from explorer.experiments.similarity import Similarity
from explorer.figures import Chapter, Chart, Part
from explorer.ui.compare import measurements
from explorer.ui.compare.comparison import ComparedNetwork
from explorer.ui.compare.measurements import Measurement, Request
from explorer.ui.markdown import as_text
from explorer.ui.network_text import source_text
from explorer.ui.parts import draw
from explorer.ui.widgets import long_task

HEADING = "Similarity of their representations"
CKA = (
    "Linear CKA compares two layers by which images they represent as similar; 1 = same similarity structure, 0 = "
    "nothing in common. A bright diagonal: layers of the same relative depth do the same."
)
BIAS = "With few images and thousands of values in a layer, plain CKA lies far above 0 even for unrelated layers."
MOST_CELLS = 21_000  # that a report draws twice; 84 layers beside 84 take half a megabyte each time


def section(request: Request | None, compared: Sequence[ComparedNetwork], is_here: bool, key: str) -> None:
    st.markdown(CKA)
    if request is None:
        st.info("These networks need too much memory to be compared here; choose smaller ones.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        places = list(range(len(compared)))
        a, b = (
            compared[
                st.selectbox(
                    label,
                    places,
                    index=index,
                    key=f"{key}-{index}-{len(compared)}",
                    format_func=lambda place: compared[place].title,
                    width=240,
                )
            ]
            for index, label in enumerate(("Rows", "Columns"))
        )
    known = measurements.find_result(request, a.name, b.name)
    if known is not None:
        _draw(request, known, a, b, key)
    elif not is_here:
        st.info(f"The images of {as_text(request.data)} are not on this machine; choose other test images above.")
    else:
        long_task.long_task(
            request.key(a.name, b.name),
            f"Compare all layers on {request.n:,} images",
            lambda: measurements.compare_layers(request, a, b),
            lambda similarity: _draw(request, similarity, a, b, key),
            seconds=measurements.seconds(request, [a] if a is b else [a, b]),
        )


def _draw(request: Request, similarity: Similarity, a: ComparedNetwork, b: ComparedNetwork, key: str) -> None:
    estimate = st.segmented_control(
        "Estimate",
        ["debiased", "plain"],
        default="debiased",
        required=True,
        key="many-estimate",
        persist_state="session",
        help="Plain CKA is the one of Kornblith et al. 2019; debiased uses the unbiased estimate of HSIC.",
    )
    st.caption(BIAS)
    with st.container(width=660):  # about square, and narrower where the window is
        source = f"Images: {request.images}. {source_text([a, b])}"
        draw(_parts(similarity, (a.title, b.title), estimate), key, source)
    draw(_undefined(similarity, (a.title, b.title)), f"{key}-undefined")


def chapters(compared: Sequence[ComparedNetwork], kept: Mapping[str, Measurement]) -> list[Chapter]:
    """The same for a report, with both estimates, a chapter for each set of images."""
    every = measurements.by_request(kept, "cka", compared).values()
    titles = {network.name: network.title for network in compared}
    is_small = sum(each.result.cka.size for measured in every for each in measured) <= MOST_CELLS

    def report_parts(request: Request, measured: Sequence[Measurement]) -> list[Part]:
        parts: list[Part] = [CKA, BIAS, f"It was measured on {request.images}."]
        if not is_small:
            parts.append("To keep this file small only the debiased estimate is drawn; the raw numbers hold both.")
        for each in measured:
            pair = (titles[each.names[0]], titles[each.names[1]])
            for estimate in ("debiased", "plain") if is_small else ("debiased",):
                parts += _parts(each.result, pair, estimate)
            parts += _undefined(each.result, pair)
        return parts

    return measurements.chapters(kept, "cka", compared, HEADING, report_parts)


def _parts(similarity: Similarity, titles: tuple[str, str], estimate: str) -> list[Part]:
    values = similarity.debiased if estimate == "debiased" else similarity.cka
    figure = figures.similarity_chart(
        values,
        (similarity.layers_a, similarity.layers_b),
        titles,
        (similarity.undefined_a, similarity.undefined_b),
    )
    title = f"Linear CKA ({estimate}) of all layers of {titles[0]} and {titles[1]}"
    text = f"Grey has no value, and hovering says why. n = {similarity.n:,} images."
    return [Chart(figure, title, text), _most_alike(similarity, values, titles)]


def _most_alike(similarity: Similarity, values: np.ma.MaskedArray, titles: tuple[str, str]) -> str:
    """The most similar pair of layers, in words; of a network beside itself, of different layers."""
    values = np.ma.copy(values)
    same = titles[0] == titles[1]
    if same:
        values[np.eye(len(values), dtype=bool)] = np.ma.masked
    if not values.count():
        return "No two layers could be compared."
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    a, b = similarity.layers_a[row], similarity.layers_b[column]
    average = f"{float(np.ma.mean(values.max(axis=1))):.2f}"
    largest = f"{float(values[row, column]):.2f}"
    if same:
        words = f"Most similar are {a} and {b} ({largest}). "
        return f"{words}A layer of {titles[0]} and its most similar other one: {average} on average."
    words = f"Most similar are {a} of {titles[0]} and {b} of {titles[1]} ({largest}). "
    words += f"A layer of {titles[0]} and the most similar one of {titles[1]}: {average} on average."
    if not np.ma.getmaskarray(values)[-1, -1]:
        last = f"{similarity.layers_a[-1]} and {similarity.layers_b[-1]}"
        words += f" The last layers, {last}: {float(values[-1, -1]):.2f}."
    return words


def _undefined(similarity: Similarity, titles: tuple[str, str]) -> list[str]:
    """A line for each reason why layers have no similarity."""
    lines = []
    for title, reasons in dict(zip(titles, (similarity.undefined_a, similarity.undefined_b), strict=True)).items():
        for reason in dict.fromkeys(reasons.values()):
            layers = [layer for layer, why in reasons.items() if why == reason]
            lines.append(f"Grey: {title}, {', '.join(layers)}: {reason}")
    return lines
