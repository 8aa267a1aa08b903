"""Compare, on drawn test images: how much of the Grad-CAM lies on the object."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import streamlit as st

from explorer import figures
from explorer.architectures.description import relative_depths
from explorer.experiments.cam_metrics import ObjectShares
from explorer.figures import Chapter, Chart, Part
from explorer.ui.compare import controls, measurements
from explorer.ui.compare.comparison import ComparedNetwork, update_state
from explorer.ui.compare.measurements import Measurement, Request
from explorer.ui.compare.state import CompareState
from explorer.ui.network_text import source_text
from explorer.ui.parts import draw
from explorer.ui.widgets.bound import choice

HEADING = "How much of the Grad-CAM lies on the object"


def section(
    state: CompareState, requests: Mapping[str, Request], compared: Sequence[ComparedNetwork], n: int, key: str
) -> None:
    """On a few of the `n` images at first, and on all of them after a click."""
    if "shares" not in requests:
        st.info("This needs drawn shapes that all these networks know: only there every pixel of the object is known.")
        return
    st.markdown("The app drew these images, so it knows every pixel of the object.")
    choice(
        state,
        "explained",
        "Class that is explained",
        {"label": "label", "prediction": "prediction"},
        prefix="compare",
        change=partial(update_state, measured=()),
        help="Label: all networks explain the same class. Prediction: each explains its own prediction.",
    )
    whole = {**requests, "shares": replace(requests["shares"], n=n)}
    is_whole = measurements.is_measured(whole["shares"], compared)
    requests = whole if is_whole else requests
    shares = controls.measure(state, "shares", requests, compared)
    if shares is None:
        return
    draw(_parts(requests["shares"], compared, shares), key, source_text(compared))
    if not is_whole:
        controls.measure(state, "shares", whole, compared)


def chapters(compared: Sequence[ComparedNetwork], kept: Mapping[str, Measurement]) -> list[Chapter]:
    """The same for a report, a chapter for each set of images and explained class."""

    def parts(request: Request, measured: Sequence[Measurement]) -> list[Part]:
        shares = {each.names[0]: each.result for each in measured}
        return _parts(request, [network for network in compared if network.name in shares], shares)

    return measurements.chapters(kept, "shares", compared, HEADING, parts)


def _parts(request: Request, compared: Sequence[ComparedNetwork], shares: Mapping[str, ObjectShares]) -> list[Part]:
    """The shares along depth, behind each block. Then a sentence for each network: its
    highest share, and how many maps were zero and so are left out."""
    lines, sentences = [], []
    for network in compared:
        found = shares[network.name]
        depths = relative_depths(network.checkpoint.spec, found.layers)
        # Blocks alone: a line through them and their convolutions would go up and down with the kind of layer.
        depths = {layer: at for layer, at in depths.items() if layer.rpartition(".")[2].isdigit()} or depths
        lines.append((network.series, found, depths))
        drawn = np.array([layer in depths for layer in found.layers])
        zero, maps = int(found.zero[drawn].sum()), found.pictures * int(drawn.sum())
        mean = np.ma.masked_where(~drawn, found.mean)
        best = "no map that is not zero"
        if mean.count():
            index = int(mean.argmax())
            best = f"at most {float(mean[index]):.0%} on the object, in {found.layers[index]}"
        sentences.append(
            f"{network.title}: {best}. {zero:,} of {maps:,} maps ({found.pictures:,} images, {int(drawn.sum())} "
            "blocks) were zero everywhere and are left out."
        )
    text = (
        "Bands are one standard error up and down; the grey line is the share of a map that is spread evenly over the "
        f"image. n = {lines[0][1].pictures:,} {request.images}; explained is the {request.target}."
    )
    return [Chart(figures.object_share_chart(lines), "Share of the Grad-CAM on the object", text), *sentences]
