"""Compare, to take away: the report and the raw numbers."""

import io

import streamlit as st

from explorer.ui import navigation
from explorer.ui.compare import findings, report
from explorer.ui.compare.one_picture import Picture
from explorer.ui.compare.state import CompareState
from explorer.ui.services.inference import InputImage, NetworkResult


def section(looked: list[NetworkResult], key: str, subject: InputImage | None, state: CompareState | None) -> None:
    """Two downloads, each made at its click: what waits for it holds no weights and no large picture."""
    st.subheader("Export", anchor=False)
    st.markdown(
        "The report is one HTML file with figures, numbers, specs, seeds and versions, of all that was measured in "
        "this session; it opens without a network."
    )
    names, answers = findings.names_of(looked), findings.answers()
    light = report.without_weights(looked)
    picture = None if subject is None else Picture.of(subject)
    with st.container(horizontal=True):
        navigation.download_button(
            "Report (HTML)",
            data=lambda: io.BytesIO(report.html_report(light, names, answers.snapshot(), picture, state).encode()),
            file_name="comparison.html",
            mime="text/html",
            key=f"{key}-html",
            type="primary",
        )
        navigation.download_button(
            "Raw numbers (npz)",
            data=lambda: report.arrays_npz(light, names, answers.snapshot()),
            file_name="comparison.npz",
            key=f"{key}-npz",
            help="What was measured, as arrays: predictions, probabilities, similarities, shares, and the Grad-CAMs.",
        )
