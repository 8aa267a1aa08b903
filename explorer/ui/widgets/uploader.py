"""Streamlit's field for a file, or why it would not work here."""

from typing import Any

import streamlit as st

from explorer.ui import client
from explorer.ui.markdown import as_text


def file_uploader(label: str, **options: Any) -> Any:
    """The file that the user has chosen, None without one. `options` are those of Streamlit's field. A browser that
    keeps no cookies gets a sentence and a link instead: the server would refuse the file."""
    if client.keeps_cookies():
        return st.file_uploader(label, **options)
    st.warning(
        f"{as_text(label)}: the server would refuse it, because this browser keeps no cookies of this page. That "
        "happens where another site shows the app in a frame. Open the app in a tab of its own. After a reload here, "
        "your runs are no longer yours."
    )
    st.link_button("Open in a tab of its own", st.context.url or ".")
    return None
