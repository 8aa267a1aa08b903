"""Compare: two to four networks: what differs, what they say and see of one picture, and of many."""

from collections.abc import Sequence

import streamlit as st

from explorer import figures
from explorer.errors import user_message
from explorer.ui import missing, network_registry
from explorer.ui.charts import chart
from explorer.ui.compare import charts, controls, differences, many_pictures, maps, methods
from explorer.ui.compare.compared import Compared, change, compare, know_the_same, lost, read, training_lines
from explorer.ui.markdown import as_sentence, as_text, table
from explorer.ui.network_text import accuracy_text, twins_text
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import InputImage, sample_image
from explorer.ui.session import find_image
from explorer.ui.widgets.image_picker import image_picker


def show() -> None:
    try:
        _show()
    except ValueError as error:  # deleted or damaged since its name was listed, or without maps to compare
        st.error(as_sentence(user_message(error)))


def _show() -> None:
    state = read()
    if state is None:
        st.info("There are not two networks here. Build them with `python -m explorer pretrained all`.")
        return
    with st.sidebar:
        st.markdown("#### Compare networks")
        known = {each for name in state.networks for each in network_registry.class_names(name)}
        image_picker(state, change, known)
        controls.choose_target(state)
        controls.choose_view(state)
    subject = find_image(AppState(picture=state.picture))
    st.header(f"{('Two', 'Three', 'Four')[len(state.networks) - 2]} networks, one picture", anchor=False)
    missing.show_missing(lost(), state.networks, subject is None, change)
    controls.choose_networks(state)
    subject = subject or sample_image(6, 6)
    compared = compare(state, subject)
    _introduction(compared)
    _differences(compared)
    _say(compared, subject)
    maps.section(state, compared)
    methods.section(state, compared, subject)
    many_pictures.sections([network.looked for network in compared], ",".join(state.networks), subject, state)


def _introduction(compared: Sequence[Compared]) -> None:
    first, second = compared[0].looked.name, compared[1].looked.name
    if len(compared) == 2 and second == network_registry.twin_name(first):
        st.markdown(twins_text(as_text(compared[0].title), as_text(compared[1].title)))
    if not know_the_same(compared):
        st.info(
            "These networks know different classes. What differs and what they see can be compared; what they say "
            "stands side by side, each in its own classes, and each map explains a class of its own network."
        )


# --- what differs ----------------------------------------------------------------------------------------------------


def _differences(compared: Sequence[Compared]) -> None:
    st.subheader("What differs", anchor=False)
    rows = differences.rows([network.looked.checkpoint for network in compared])
    equal, half_known = [row for row in rows if row.is_equal], [row for row in rows if row.is_half_known]
    unequal = [row for row in rows if not row.is_equal and not row.is_half_known]
    st.caption("What is not the same in all of these networks; what is stands below it.")
    if unequal:
        _table(unequal, compared)
    else:
        st.info("Nothing that is known of these networks differs but their weights.")
    with st.expander(f"{len(equal)} properties that are the same"):
        st.markdown(table(["", "all of them"], [_cells(row)[:2] for row in equal], 2))
    if half_known:
        with st.expander(f"{len(half_known)} properties that not all of them say"):
            _table(half_known, compared)
    lines, without = training_lines(compared)
    if lines:
        st.markdown(
            "**Training curves.** Lines are means over the training pictures of each epoch, in training mode; dots "
            "are validation pictures; an epoch is once through the training pictures. Look for who learns faster, and "
            "whether training and validation part."
        )
        names = ", ".join(line.series.title for line in lines)
        chart(figures.training_chart(lines), "training", f"Loss and accuracy over epochs of {names}")
        notes = [
            f"{as_text(network.title)}: {_training_words(network)}"
            for network in compared
            if network.title not in without
        ]
        if not any(point != (None, None) for line in lines for point in line.validation):
            notes.append("nothing was recorded on validation pictures")
        st.caption("; ".join(notes) + ".")
    if without:
        names = ", ".join(map(as_text, without))
        st.caption(f"{names}: no training record came with the weights, so there is no curve to draw.")


def _training_words(network: Compared) -> str:
    checkpoint = network.looked.checkpoint
    seed = "seed not recorded" if checkpoint.seed is None else f"seed {checkpoint.seed}"
    return f"n = {checkpoint.record['train_images']:,} training pictures, {seed}"


def _table(rows: Sequence[differences.Row], compared: Sequence[Compared]) -> None:
    heads = ["", *(f"**{as_text(network.title)}**" for network in compared)]
    st.markdown(table(heads, [_cells(row) for row in rows], len(heads)))


def _cells(row: differences.Row) -> list[str]:
    return [as_text(row.name[:80]), *map(as_text, row.values)]


# --- what they say ---------------------------------------------------------------------------------------------------


def _say(compared: Sequence[Compared], subject: InputImage) -> None:
    st.subheader("What they say", anchor=False)
    columns = st.columns([1, 3.4], gap="large")
    with columns[0]:
        st.image(subject.shown, output_format="PNG", alt=subject.title)
        st.caption(". ".join([subject.title, *(note.rstrip(".") for note in subject.notes)]))
    with columns[1]:
        if know_the_same(compared):
            drawn = charts.probabilities(compared)
            chart(drawn, "probabilities", "Probabilities of the most probable classes, a bar for each network")
        else:
            for network in compared:
                st.markdown(f"**{as_text(network.title)}**")
                alt = f"The most probable classes of {network.title}"
                chart(charts.best_classes(network), f"compare_classes_{network.looked.name}", alt)
    for network in compared:
        st.markdown(f"- {_verdict(network, subject)}")


def _verdict(network: Compared, subject: InputImage) -> str:
    looked = network.looked
    names = looked.checkpoint.class_names
    predicted = names[looked.trace.prediction]
    right = ""
    if subject.label in names:
        right = ", which is right" if predicted == subject.label else f", which is wrong: it is a {subject.label}"
    sure = float(looked.trace.probabilities[looked.trace.prediction])
    known = accuracy_text(looked.checkpoint)
    return (
        f"**{as_text(network.title)}** says {as_text(predicted)} ({sure:.1%}){right}; over all: {known}. "
        f"Its maps explain {as_text(looked.target)}."
    )
