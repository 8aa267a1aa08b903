"""The choice of the data, and its summary."""

import re
from dataclasses import replace
from functools import partial
from typing import BinaryIO

import streamlit as st

from explorer import figures
from explorer.datasets import shapes
from explorer.datasets.balance import imbalance
from explorer.datasets.downloadable import DOWNLOADABLE
from explorer.datasets.name_encodings import TITLES
from explorer.errors import user_message
from explorer.images import PAPERS, Paper
from explorer.ui import dataset_access
from explorer.ui.build import widgets
from explorer.ui.build.shape_classes import choose_classes
from explorer.ui.build_state import BuildState
from explorer.ui.dataset_access import DatasetSummary, ReadImages
from explorer.ui.markdown import as_code, as_sentence
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.download import download_with_progress
from explorer.ui.widgets.uploader import file_uploader

OWN = "own"
USUAL_SIDE = 32
SIDES = (16, 32, 48, 64, 96, 128, 224)


def choose_data(state: BuildState) -> None:
    """The widgets; uploaded pictures are read here too, with progress."""
    names = {f"shapes-{size}": f"Shapes, {size} × {size} (drawn here)" for size in shapes.SIZES}
    names |= {name: each.title for name, each in DOWNLOADABLE.items()} | {OWN: "Your own images"}
    drawn, is_stored = shapes.named(state.data), state.data.startswith("stored-")
    value = OWN if is_stored else f"shapes-{drawn.size}" if drawn else state.data
    bound(st.selectbox, "Data", list(names), key="data", value=value, write=_change_data, format_func=names.__getitem__)
    is_available = dataset_access.is_available(state.data)
    if drawn:
        choose_classes(drawn)
    if state.data in DOWNLOADABLE and not is_available:
        _offer_download(state.data)
    elif value == OWN:
        if _ask_for_pictures(state):
            return
        if is_stored and not is_available:
            st.info("The images of this link are no longer kept here; upload them again.")
    if is_available:
        try:
            show_summary(dataset_access.summary(state.data))
        except ValueError as error:
            st.error(as_sentence(user_message(error)))


def _change_data(data: str) -> None:
    """Of the shapes at another size the same classes are wanted."""
    before, drawn = shapes.named(widgets.load_state().data), shapes.named(data)
    if before and drawn:
        data = replace(drawn, classes=before.classes).key
    widgets.update_state(data=data)


def _offer_download(name: str) -> None:
    about = DOWNLOADABLE[name]
    st.info(
        f"{about.about} They are not on this machine yet: {about.download_bytes / 1e6:,.0f} MB to download, now or "
        "when the training starts."
    )
    download_with_progress(f"Download {about.title}", lambda: dataset_access.download(name))


def _ask_for_pictures(state: BuildState) -> bool:
    """An archive or a folder of class folders; the data stays until another one is read. Returns whether images are
    shown whose classes wait for a confirmation."""
    st.caption(
        "One folder for each class, packed as zip, .tar or .tar.gz; `train`, `val` and `test` folders around them are "
        "understood. Images are cropped to squares and resized. They are kept on this server for a day, and as long "
        "as a training of yours needs them."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state.setdefault("side", USUAL_SIDE)
        side = st.selectbox("Side of the images, pixels", SIDES, key="side", width=200)
        folder = st.text_input(
            "Or a folder on the server",
            key="folder",
            placeholder="pets",
            width=260,
            help="Inside the folder for images of this server (EXPLORER_PICTURES).",
        )
        st.session_state.setdefault("paper", PAPERS[0])
        paper = st.selectbox(
            "Colour under transparent parts",
            PAPERS,
            key="paper",
            width=220,
            help="Also under those of a new image for a network that learns from these.",
        )
    file = file_uploader("A zip, .tar or .tar.gz of class folders", key="zip")
    source = file.file_id if file else folder.strip()
    if not source:
        st.session_state.pop("pictures_error", None)
        return False
    found: ReadImages | None = st.session_state.get("pictures_found")
    if found and st.session_state["pictures_read"][0] != source:
        found = None
    labels_from, encoding = _choose_reading(found, source) if found else (None, None)
    wish = (source, side, labels_from, encoding, paper)
    if st.session_state.get("pictures_read") != wish:
        if st.session_state.get("pictures_cancelled") == wish:
            _offer_to_read()
            return False
        name = re.sub(r"\.tar$", "", file.name.rsplit(".", 1)[0], flags=re.IGNORECASE) if file else source
        _read(file or source, wish, name, found)
        st.rerun()
    if "pictures_error" in st.session_state:
        st.error(as_sentence(st.session_state["pictures_error"]))
    elif found and found.needs_confirmation and state.data != found.data:
        _ask_to_confirm(found)
        return True
    return False


def _offer_to_read() -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Reading was cancelled.", width="content")
        st.button("Read the images", on_click=lambda: st.session_state.pop("pictures_cancelled", None))


def _choose_reading(found: ReadImages, source: str) -> tuple[str, str | None]:
    """Where the classes are from and the encoding of the names, where these can be chosen."""
    labels_from, encoding = found.labels_from, next(iter(found.encodings), None)
    if len(found.labels) > 1:
        labels_from = st.selectbox(
            "Classes from", list(found.labels), key=f"labels-{source}", format_func=found.labels.__getitem__
        )
    if len(found.encodings) > 1:
        encoding = st.selectbox(
            "Encoding of the names",
            list(found.encodings),
            key=f"encoding-{source}",
            format_func=lambda each: f"{TITLES[each]}: {found.encodings[each]}",
            help="The archive does not tell it. Choose the one in which the names read well.",
        )
    return labels_from, encoding


def _ask_to_confirm(found: ReadImages) -> None:
    st.info(
        as_sentence(
            f"The classes would be from {found.labels[found.labels_from]}. Look at the images, and confirm that "
            "each is in its class."
        )
    )
    st.button(
        "Use these classes",
        type="primary",
        key="confirm_classes",
        on_click=widgets.update_state,
        kwargs={"data": found.data},
    )
    show_summary(dataset_access.summary(found.data))


def _read(
    file: BinaryIO | str, wish: tuple[str, int, str | None, str | None, Paper], name: str, before: ReadImages | None
) -> None:
    """Reads the images as wished; what was read takes the place of the data, once a person confirms it if need be."""
    st.session_state.pop("pictures_error", None)
    source, side, labels_from, encoding, paper = wish
    with st.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text="Reading the images")
        cancel = partial(st.session_state.update, pictures_cancelled=wish)  # else the next run would read them again
        st.button("Cancel", key="cancel_reading", on_click=cancel)
    try:
        for answer in dataset_access.read_pictures(file, side, name, labels_from, encoding, paper):
            if isinstance(answer, float):
                bar.progress(answer, text=f"Reading the images, {answer:.0%}")
            else:
                before = answer
                labels_from, encoding = answer.labels_from, next(iter(answer.encodings), None)
                widgets.update_state(data=OWN if answer.needs_confirmation else answer.data)
    except ValueError as error:
        st.session_state["pictures_error"] = user_message(error)
    st.session_state["pictures_found"] = before
    st.session_state["pictures_read"] = (source, side, labels_from, encoding, paper)


def show_summary(summary: DatasetSummary) -> None:
    """Contact sheet, counts, statistics, and the files left out."""
    train, validation, test = summary.totals
    channels, height, width = summary.input_shape
    mean, std = (" ".join(f"{value:.3f}" for value in values) for values in (summary.mean, summary.std))
    st.caption(
        f"{as_code(summary.name)}: {train:,} training, {validation:,} validation and {test:,} test images of "
        f"{width} × {height} pixels in {len(summary.class_names)} classes. Mean {mean}, standard deviation {std} "
        "(R G B, of 0 to 1)."
    )
    rows = [
        {"class": name, "pictures": figures.data_uri(sheet)} | dict(zip(("train", "val", "test"), counts, strict=True))
        for name, counts, sheet in zip(summary.class_names, summary.counts, summary.sheets, strict=False)
    ]
    st.dataframe(
        rows,
        hide_index=True,
        row_height=44,
        height=min(480, 38 + 44 * len(rows)),
        column_config={
            "class": st.column_config.TextColumn(width=105),
            "pictures": st.column_config.ImageColumn("for training", width=130),
        }
        | {split: st.column_config.NumberColumn(width=50) for split in ("train", "val", "test")},
        key="contact_sheet",
    )
    if unbalanced := imbalance(summary.class_names, summary.counts):
        st.warning(as_sentence(unbalanced))
    if len(summary.class_names) > len(summary.sheets):
        st.caption(f"The first {len(summary.sheets)} of {len(summary.class_names)} classes.")
    for note in summary.notes:
        st.caption(as_sentence(note))
    if summary.skipped:
        with st.expander(f"Files left out: {len(summary.skipped):,}"):
            st.dataframe(
                [{"file": skipped.path, "reason": skipped.reason} for skipped in summary.skipped],
                hide_index=True,
                key="skipped",
            )
