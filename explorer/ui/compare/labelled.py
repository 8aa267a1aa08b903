"""Compare, on labelled test images: accuracies, mistakes, agreement, and the images on which networks disagree."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import streamlit as st

from explorer import figures
from explorer.experiments.agreement import Agreement, Predictions, accuracy_of, agreement, confusion, disagreements
from explorer.figures import Chapter, Chart, Gallery, Part, Table, Thumbnail
from explorer.files import csv_bytes
from explorer.ui import measured_images, navigation
from explorer.ui.compare import measurements
from explorer.ui.compare.comparison import ComparedNetwork
from explorer.ui.compare.measurements import Measurement, Request
from explorer.ui.markdown import as_text
from explorer.ui.measured_images import TestSample
from explorer.ui.network_text import source_text
from explorer.ui.parts import draw
from explorer.ui.services.explore_state import AppState
from explorer.ui.session import session
from explorer.ui.widgets.download import offer_labelled_images

HEADING = "Predictions on labelled images"
FREQUENT_MISTAKES = 20  # in the table that takes the place of a matrix
_IMAGES_A_PAGE = 12
_IN_REPORT = 12  # images of each pair
_SIDE = 96  # pixels of an image
_MATRIX = 302  # pixels

Said = Mapping[str, Predictions]  # of each network by name


def mistakes(request: Request, compared: Sequence[ComparedNetwork], said: Said, key: str) -> None:
    """The confusion matrices."""
    words, *parts = _mistakes(compared, said, apart=True)
    st.markdown(f"**Confusion matrices.** {as_text(str(words))}")
    source = f"{words} {_source(request, compared)}"
    with st.container(horizontal=True, gap="small"):
        for place, part in enumerate(parts):
            with st.container(width=_MATRIX if isinstance(part, Chart) else "stretch"):
                draw([part], f"{key}-mistakes-{place}", source)


def numbers(request: Request, compared: Sequence[ComparedNetwork], said: Said, key: str) -> None:
    """Accuracies with intervals, McNemar's test, and the predictions as a file; folded."""
    with st.expander("Intervals, McNemar's test and CSV"):
        draw([*_accuracies(compared, said), *_agreement(compared, said)], key, _source(request, compared))
        indices = measured_images.indices(request.data, request.n)
        titles = {network.name: network.title for network in compared}
        navigation.download_button(
            "Predictions (CSV)",
            data=lambda: predictions_csv(titles, said, indices),
            file_name=f"predictions-{'-'.join(said)[:80]}-{request.n}.csv",
            mime="text/csv",
            key=f"{key}-table",
            help="One line for each image: its number in the test split, its label, and each network's prediction.",
        )


def _source(request: Request, compared: Sequence[ComparedNetwork]) -> str:
    return f"Images: {request.images}. {source_text(compared)}"


def chapters(compared: Sequence[ComparedNetwork], kept: Mapping[str, Measurement]) -> list[Chapter]:
    """The same for a report, a chapter for each set of images."""

    def parts(request: Request, measured: Sequence[Measurement]) -> list[Part]:
        said = {each.names[0]: each.result for each in measured}
        networks = [network for network in compared if network.name in said]
        n = len(said[networks[0].name])
        images = kept.get(replace(request, kind="pictures").key(*(network.name for network in networks)))
        pixels, indices = images.result if images else ({}, ())
        thumbnails = []
        for index, image in pixels.items():
            label, *lines = _lines(index, networks, said)
            title = f"{label} (test image {indices[index]})"
            thumbnails.append(Thumbnail(figures.fit_to_screen(image, _SIDE), [title, *lines]))
        intro = f"Each network predicts {n:,} {request.images}."
        return [intro, *_parts(networks, said), Gallery(thumbnails)]

    return measurements.chapters(kept, "said", compared, HEADING, parts)


# --- on the page and in the report -----------------------------------------------------------------------------------


def _parts(compared: Sequence[ComparedNetwork], said: Said) -> list[Part]:
    several = _agreement(compared, said) if len(compared) > 1 else []
    return [*_accuracies(compared, said), *_mistakes(compared, said), *several]


def _accuracies(compared: Sequence[ComparedNetwork], said: Said) -> list[Part]:
    found = [(network.series, accuracy_of(said[network.name])) for network in compared]
    text = f"The lines are 95 % intervals (Wilson). n = {len(said[compared[0].name]):,} images."
    rows = [
        [series.title, f"{each.right:,} of {each.n:,}", f"{each.share:.2%}", f"{each.low:.2%} to {each.high:.2%}"]
        for series, each in found
    ]
    return [
        Chart(figures.accuracy_chart(found), "Test accuracy", text),
        Table(["network", "right", "accuracy", "95 % interval (Wilson)"], rows),
    ]


def _mistakes(compared: Sequence[ComparedNetwork], said: Said, apart: bool = False) -> list[Part]:
    """The confusion matrices in one chart, or `apart`, so that a narrow window shows them under each other; of many
    classes the most frequent mistakes."""
    first = said[compared[0].name]
    if len(first.class_names) > figures.MATRIX_CLASSES:
        words = f"The {FREQUENT_MISTAKES} most frequent mistakes of all these networks together"
        return [f"{words}; there are too many classes for a matrix.", frequent_mistakes(compared, said)]
    matrices = [confusion(said[network.name]) for network in compared]
    text = (
        f"Mistakes are coloured by their share of the label's images, on one scale for all. n = {len(first):,} images."
    )
    titles = [network.title for network in compared]
    if not apart:
        return [Chart(figures.confusion_chart(matrices, titles, first.class_names), "Confusion matrices", text)]
    top = figures.largest_mistake(matrices)
    charts = [
        Chart(figures.confusion_chart([matrix], [title], first.class_names, top), f"Confusion matrix of {title}", "")
        for matrix, title in zip(matrices, titles, strict=True)
    ]
    return [text, *charts]


def frequent_mistakes(compared: Sequence[ComparedNetwork], said: Said) -> Table:
    """In place of a matrix of many classes: the most frequent pairs of label and wrong prediction over all networks,
    and how often each network makes that mistake."""
    class_names = said[compared[0].name].class_names
    classes = len(class_names)
    counts: list[dict[int, int]] = []
    for network in compared:
        of = said[network.name]
        places, times = np.unique((of.labels * classes + of.predicted)[~of.right], return_counts=True)
        counts.append(dict(zip(places.tolist(), times.tolist(), strict=True)))
    totals = {place: sum(each.get(place, 0) for each in counts) for each in counts for place in each}
    rows = [
        [class_names[place // classes], class_names[place % classes], *(f"{each.get(place, 0):,}" for each in counts)]
        for place in sorted(totals, key=lambda place: (-totals[place], place))[:FREQUENT_MISTAKES]
    ]
    return Table(["label", "predicted instead", *(network.title for network in compared)], rows, texts=2)


def _agreement(compared: Sequence[ComparedNetwork], said: Said) -> list[Part]:
    pairs = [(a, b, agreement(said[a.name], said[b.name])) for a, b in combinations(compared, 2)]
    text = "Images that only one of the two has right. McNemar's test compares these two counts alone."
    columns = ["pair", "both right", "only the first", "only the second", "neither", "same prediction"]
    rows = []
    for a, b, counts in pairs:
        cells = (counts.both, counts.only_a, counts.only_b, counts.neither, counts.same)
        rows.append([f"{a.title}, {b.title}", *(f"{count:,}" for count in cells)])
    limits = "p does not say how large the difference is, nor whether networks trained with another seed would differ."
    if len(pairs) > 1:
        limits += f" With {len(pairs)} comparisons, a p below 0.05 by chance is more likely than with one."
    return [
        Chart(figures.agreement_chart([(a.series, b.series, counts) for a, b, counts in pairs]), "Agreement", text),
        Table(columns, rows),
        *(mcnemar_sentence(a.title, b.title, counts) for a, b, counts in pairs),
        limits,
    ]


def mcnemar_sentence(a: str, b: str, counts: Agreement) -> str:
    """The result of McNemar's test for two networks of these titles."""
    uneven = counts.only_a + counts.only_b
    if not uneven:
        return f"{a} and {b} predict the same {counts.both:,} of {counts.n:,} images rightly: nothing tells them apart."
    shown = f"p = {counts.p_value:.2g}" if counts.p_value >= 1e-4 else "p < 0.0001"
    meaning = (
        "chance in the choice of test images is an unlikely explanation"
        if counts.p_value < 0.05
        else "chance in the choice of test images may explain the difference"
    )
    which = "the one image" if uneven == 1 else f"the {uneven:,} images"
    return (
        f"Of {which} that only one of them has right, {a} has {counts.only_a:,} and {b} {counts.only_b:,}. "
        f"McNemar's exact test gives {shown}: {meaning}."
    )


def _lines(index: int, compared: Sequence[ComparedNetwork], said: Said) -> list[str]:
    """The label of an image, and a line for each network's prediction."""
    first = said[compared[0].name]
    lines = [first.class_names[first.labels[index]]]
    for network in compared:
        of = said[network.name]
        predicted = int(of.predicted[index])
        mark = "✓" if predicted == of.labels[index] else "✗"
        probability = float(of.probabilities[index, predicted])
        lines.append(f"{mark} {network.title}: {of.class_names[predicted]}, {probability:.0%}")
    return lines


# --- the images on which they disagree -------------------------------------------------------------------------------


def disagreements_section(request: Request, compared: Sequence[ComparedNetwork], said: Said, key: str) -> None:
    """The images with different predictions, where they are on this machine; each opens in Explore."""
    st.subheader("Where they disagree", anchor=False)
    if not measured_images.data_is_here(request.data):
        offer_labelled_images(
            f"The images of {as_text(request.data)} are not on this machine, so they cannot be shown.",
            [(each.checkpoint.spec, each.checkpoint.class_names) for each in compared],
            "Choose other test images above.",
        )
        return
    sample = measured_images.sample(request.data, request.n)
    _keep_for_report(request, compared, said, sample)
    st.caption("First the images whose label gets the most different probabilities.")
    pairs = list(combinations(range(len(compared)), 2))
    pair = pairs[0]
    if len(pairs) > 1:
        pair = st.selectbox(
            "Two of the networks",
            pairs,
            key=f"{key}-pair-{len(compared)}",
            format_func=lambda two: " and ".join(compared[index].title for index in two),
            width=420,
        )
    a, b = (compared[index] for index in pair)
    indices = disagreements(said[a.name], said[b.name])
    n = len(sample.indices)
    if not len(indices):
        st.info(f"{as_text(a.title)} and {as_text(b.title)} predict the same class for all {n:,} images.")
        return
    pages = -(-len(indices) // _IMAGES_A_PAGE)
    page = st.pagination(pages, key=f"{key}-page-{n}-{a.name}-{b.name}") - 1 if pages > 1 else 0
    first = page * _IMAGES_A_PAGE
    shown = [int(index) for index in indices[first : first + _IMAGES_A_PAGE]]
    st.caption(f"{first + 1}–{first + len(shown)} of {len(indices):,}; ✓ marks a right prediction, ✗ a wrong one.")
    with st.container(horizontal=True, gap="small"):
        for index in shown:
            with st.container(width=_SIDE + 50):
                _draw_disagreement(sample, index, (a, b), said, key)


def _draw_disagreement(
    sample: TestSample, index: int, pair: tuple[ComparedNetwork, ComparedNetwork], said: Said, key: str
) -> None:
    number = int(sample.indices[index])
    pixels = sample.pixels(index)
    label, *lines = _lines(index, pair, said)
    shown = figures.fit_to_screen(pixels, _SIDE)
    st.image(shown, output_format="PNG", width=_SIDE, alt=f"Test image {number}")
    st.markdown(f"**{as_text(label)}**  \n" + "  \n".join(map(as_text, lines)))
    if st.button("Explore", key=f"{key}-open-{number}", help="Opens this image in Explore, with both networks."):
        name = f"{sample.title}, test image {number}: {label}"
        mask = None if sample.split.masks is None else sample.split.masks[number]
        drawn = None if mask is None else label  # the label of a drawn shape is one of the app's own classes
        picture = session().uploads.add(figures.png(pixels), name, mask, drawn)
        navigation.switch_page("explore", AppState(first=pair[0].name, second=pair[1].name, picture=picture).to_query())


def _keep_for_report(request: Request, compared: Sequence[ComparedNetwork], said: Said, sample: TestSample) -> None:
    """Keeps the images that a report shows: a report is made when no session can read the data."""
    kept = {}  # copies: a view would keep the whole split
    for a, b in combinations(compared, 2):
        for index in disagreements(said[a.name], said[b.name])[:_IN_REPORT]:
            kept[int(index)] = sample.pixels(index).copy()
    measurements.keep(replace(request, kind="pictures"), tuple(said), (kept, sample.indices))


def predictions_csv(titles: Mapping[str, str], said: Said, indices: Collection[int]) -> bytes:
    """A line for each image: its number in the test split, its label, and for each network its prediction, the
    probabilities of the prediction and of the label, and whether it is right. UTF-8, with a mark for spreadsheets."""
    heads = ["test image", "label"]
    for name in said:
        heads += [
            f"{titles[name]}: {part}" for part in ("prediction", "probability", "probability of the label", "right")
        ]
    rows, first = [heads], next(iter(said.values()))
    for row, number in enumerate(indices):
        cells = [str(number), first.class_names[first.labels[row]]]
        for of in said.values():
            predicted = int(of.predicted[row])
            cells += [of.class_names[predicted], f"{of.probabilities[row, predicted]:.6g}"]
            cells += [f"{of.of_label[row]:.6g}", "yes" if of.right[row] else "no"]
        rows.append(cells)
    return csv_bytes(rows)
