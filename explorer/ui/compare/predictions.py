"""Compare, on one image: the classes that the networks predict for it."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from explorer import figures
from explorer.attribution import top_classes
from explorer.figures import Chapter, Chart, ClassProbabilities, Details, Strip, Table, Thumbnail
from explorer.labels import ACTIVATION_RMS, GRADIENT_RMS, with_article
from explorer.ui.compare.comparison import ComparedNetwork, same_classes
from explorer.ui.network_text import accuracy_text, source_text
from explorer.ui.parts import draw
from explorer.ui.services.input_images import InputImage

_SIDE = 96  # pixels of the image, and of each network's input, in the report


def section(compared: Sequence[ComparedNetwork], subject: InputImage) -> None:
    columns = st.columns([1, 3.4], gap="large")
    with columns[0]:
        st.image(subject.dimmed, output_format="PNG", alt=subject.title)
        st.caption(". ".join([subject.title, *(note.rstrip(".") for note in subject.notes)]))
    with columns[1]:
        draw(_charts(compared), "probabilities", source_text(compared, subject))
    draw(_sentences(compared, subject.label), "predictions")


def chapter(compared: Sequence[ComparedNetwork], subject: InputImage | None) -> Chapter:
    """The same for a report, with each network's five most probable classes and its input."""
    rows, images = [], []
    for network in compared:
        names = network.checkpoint.class_names
        best = ", ".join(f"{names[index]} {value:.1%}" for index, value in top_classes(network.trace))
        rows.append([network.title, best, network.target])
        pixels = network.input_pixels
        size = f"{pixels.shape[1]}×{pixels.shape[0]} pixels"
        images.append(Thumbnail(figures.fit_to_screen(pixels, _SIDE), [f"input of {network.title}: {size}"]))
    if subject is not None:
        label = [] if subject.label is None else [f"label: {subject.label}"]
        images.insert(0, Thumbnail(subject.dimmed, [subject.plain_title, *label, *subject.notes]))
    return Chapter(
        "One image",
        [
            *_sentences(compared, subject.label if subject else None),
            Table(["network", "most probable classes", "explained"], rows, texts=3),
            Strip([""] * len(images), [("", images)], _SIDE),
            *_charts(compared),
            Details("Every layer: sizes of activation, gradient and Grad-CAM", _layer_sizes(compared)),
        ],
    )


def _charts(compared: Sequence[ComparedNetwork]) -> list[Chart]:
    """The probabilities in one chart for networks of the same classes, else in a chart for each."""
    if same_classes(compared):
        text = "Each network's most probable classes; an arrow marks the class that is explained. n = 1 image."
        return [Chart(_probabilities(compared), "Probabilities", text)]
    return [
        Chart(_probabilities([network]), f"{network.title}: its most probable classes", "n = 1 image.")
        for network in compared
    ]


def _probabilities(compared: Sequence[ComparedNetwork]) -> Any:
    """The three most probable classes of each network, and the ones that are explained."""
    traces = [network.trace for network in compared]
    likely = {index for trace in traces for index in (trace.target, *(index for index, _ in top_classes(trace, 3)))}
    order = sorted(likely, key=lambda index: -max(float(trace.probabilities[index]) for trace in traces))
    names = compared[0].checkpoint.class_names
    bars = [
        ClassProbabilities(network.series, [float(trace.probabilities[index]) for index in order], network.target)
        for network, trace in zip(compared, traces, strict=True)
    ]
    return figures.probabilities_chart([names[index] for index in order], bars)


def _sentences(compared: Sequence[ComparedNetwork], label: str | None) -> list[str]:
    sentences = []
    for network in compared:
        names, trace, known = network.checkpoint.class_names, network.trace, accuracy_text(network.checkpoint)
        predicted, probability = names[trace.prediction], trace.probabilities[trace.prediction]
        right = ""
        if label in names:
            right = ", which is right" if predicted == label else f", which is wrong: it is {with_article(label)}"
        sentences.append(
            f"{network.title} predicts {predicted} ({probability:.1%}){right}; over all: {known}. Its maps "
            f"explain {network.target}."
        )
    return sentences


def _layer_sizes(compared: Sequence[ComparedNetwork]) -> str:
    heads = ["network", "layer", ACTIVATION_RMS, GRADIENT_RMS]
    lines = [[*heads, "largest Grad-CAM value"]]
    for network in compared:
        for column in network.profiles:
            numbers = (column.activation_magnitude, column.gradient_magnitude, float(column.cam.max()))
            lines.append([network.title, column.name, *(f"{number:.4g}" for number in numbers)])
    return "\n".join("\t".join(line) for line in lines)
