"""The button that downloads, and its offer of labelled images."""

from collections.abc import Callable, Collection, Iterator, Sequence

import streamlit as st

from explorer.architectures import ArchitectureSpec
from explorer.datasets.downloadable import DOWNLOADABLE
from explorer.downloads import DownloadProgress
from explorer.errors import user_message
from explorer.ui import dataset_access
from explorer.ui.markdown import as_sentence

NONE_FOR_ALL = "There are no labelled images here that all these networks know."
BRING_FOR_ALL = (
    "Choose networks with the same classes, or upload a zip with one folder for each of their classes in Build & train."
)


def offer_labelled_images(
    why: str, networks: Sequence[tuple[ArchitectureSpec, Collection[str]]], otherwise: str
) -> bool:
    """Says `why` labelled images are needed, and offers a dataset of the classes of these networks for download;
    where there is none, the user learns what to do `otherwise`. Whether there is one."""
    names = dataset_access.downloadable_data(networks)
    if not names:
        st.info(f"{why} {otherwise}")
        return False
    about = DOWNLOADABLE[names[0]]
    st.info(
        f"{why} {about.title} has labelled images of these classes: {about.download_bytes / 1e6:,.0f} MB to download."
    )
    download_with_progress(f"Download {about.title}", lambda: dataset_access.download(names[0]), "download_images")
    return True


def download_with_progress(
    label: str, download: Callable[[], Iterator[DownloadProgress]], key: str = "download"
) -> None:
    """A button that downloads, with progress and Cancel. Afterwards the page runs again, or shows the error."""
    if not st.button(label, key=key):
        return
    place = st.empty()
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text="Connecting")
        st.button("Cancel", key=f"cancel_{key}")  # any click ends this run of the script, and with it the download
    try:
        for transfer in download():
            fraction = min(1.0, transfer.done_bytes / transfer.total_bytes)
            again = f", attempt {transfer.attempt}" if transfer.attempt > 1 else ""
            bar.progress(
                fraction, text=f"{transfer.done_bytes / 1e6:,.0f} of {transfer.total_bytes / 1e6:,.0f} MB{again}"
            )
    except ValueError as error:
        place.empty()
        st.error(as_sentence(user_message(error)))
        return
    st.rerun()
