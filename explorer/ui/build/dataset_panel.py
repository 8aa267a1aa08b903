"""The choice of the data, and its summary."""

from dataclasses import replace
from typing import BinaryIO

import streamlit as st

from explorer import figures
from explorer.datasets import shapes
from explorer.datasets.downloadable import DOWNLOADABLE
from explorer.errors import user_message
from explorer.ui import dataset_access
from explorer.ui.build import classes, widgets
from explorer.ui.build.shape_classes import choose_classes
from explorer.ui.build_state import BuildState
from explorer.ui.dataset_access import DatasetSummary
from explorer.ui.markdown import as_code, as_sentence
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.download import download_with_progress

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
        _ask_for_pictures()
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


def _ask_for_pictures() -> None:
    """A zip or a folder of class folders; the data stays until another one is read."""
    st.caption(
        "One folder for each class, packed as a zip; `train`, `test` and `val` folders around them are understood. "
        "Images are cropped to squares and resized. They are kept on this server for a day, and as long "
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
    file = st.file_uploader("A zip of class folders", type=["zip"], key="zip")
    wish = (file.file_id if file else folder.strip(), side)
    if not wish[0]:
        st.session_state.pop("pictures_error", None)
        return
    if st.session_state.get("pictures_read") != wish:
        _read(file or folder.strip(), side, file.name.rsplit(".", 1)[0] if file else folder.strip())
        st.session_state["pictures_read"] = wish
        st.rerun()
    if "pictures_error" in st.session_state:
        st.error(as_sentence(st.session_state["pictures_error"]))


def _read(source: BinaryIO | str, side: int, name: str) -> None:
    st.session_state.pop("pictures_error", None)
    with st.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text="Reading the images")
        st.button("Cancel", key="cancel_reading")
    try:
        for answer in dataset_access.read_pictures(source, side, name):
            if isinstance(answer, str):
                widgets.update_state(data=answer)
            else:
                bar.progress(answer, text=f"Reading the images, {answer:.0%}")
    except ValueError as error:
        st.session_state["pictures_error"] = user_message(error)


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
    if unbalanced := classes.imbalance(summary):
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
