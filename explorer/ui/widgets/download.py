"""The button that downloads."""

from collections.abc import Callable, Iterator

import streamlit as st

from explorer.downloads import DownloadProgress
from explorer.errors import user_message
from explorer.ui.markdown import as_sentence


def download_with_progress(label: str, download: Callable[[], Iterator[DownloadProgress]]) -> None:
    """A button that downloads, with progress and Cancel. Afterwards the page runs again, or shows the error."""
    if not st.button(label, key="download"):
        return
    place = st.empty()
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text="Connecting")
        st.button("Cancel", key="cancel_download")  # any click ends this run of the script, and with it the download
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
