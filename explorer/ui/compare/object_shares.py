"""Compare, on drawn test images: how much of the Grad-CAM lies on the object."""

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from explorer import figures
from explorer.experiments.cam_metrics import ObjectShares
from explorer.figures import Chapter, Chart, Part
from explorer.ui.compare import controls, measurements
from explorer.ui.compare.comparison import ComparedNetwork, relative_depths
from explorer.ui.compare.measurements import Measurement, Request
from explorer.ui.compare.parts import draw

HEADING = "How much of the Grad-CAM lies on the object"


def section(compared: Sequence[ComparedNetwork], drawn: Sequence[str], key: str) -> None:
    st.subheader(HEADING, anchor=False)
    st.markdown("The app drew these pictures, so it knows every pixel of the object.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        data = controls.choose_data(drawn, "shares")
        n = controls.choose_count(data, (50, 200, 500), 200, "shares", everything=True)
        target = st.segmented_control(
            "Class that is explained",
            ["label", "prediction"],
            default="label",
            required=True,
            key="many-target",
            persist_state="session",
            help="Label: all networks explain the same class. Prediction: each explains its own prediction.",
        )
    request = Request("shares", data, n, "prediction" if target == "prediction" else "label")
    controls.measure(request, compared, lambda shares: draw(_parts(request, compared, shares), key))


def chapters(compared: Sequence[ComparedNetwork], kept: Mapping[str, Measurement]) -> list[Chapter]:
    """The same for a report, a chapter for each set of images and explained class."""

    def parts(request: Request, measured: Sequence[Measurement]) -> list[Part]:
        shares = {each.names[0]: each.result for each in measured}
        return _parts(request, [network for network in compared if network.name in shares], shares)

    return measurements.chapters(kept, "shares", compared, HEADING, parts)


def _parts(request: Request, compared: Sequence[ComparedNetwork], shares: Mapping[str, ObjectShares]) -> list[Part]:
    """The shares along depth, without shortcuts: those run beside the layers. Then a sentence for each network: its
    highest share, and how many maps were zero and so are left out."""
    lines, sentences = [], []
    for network in compared:
        found = shares[network.name]
        depths = relative_depths(network.checkpoint.spec, found.layers)
        lines.append((network.series, found, depths))
        drawn = np.array([layer in depths for layer in found.layers])
        zero, maps = int(found.zero[drawn].sum()), found.pictures * int(drawn.sum())
        mean = np.ma.masked_where(~drawn, found.mean)
        best = "no map that is not zero"
        if mean.count():
            index = int(mean.argmax())
            best = f"at most {float(mean[index]):.0%} on the object, in {found.layers[index]}"
        sentences.append(
            f"{network.title}: {best}; {zero:,} of {maps:,} maps ({found.pictures:,} pictures, {int(drawn.sum())} "
            "layers) were zero everywhere and are left out."
        )
    text = (
        "Bands are one standard error of the mean up and down; the grey line is the share of a map that is spread "
        f"evenly over the picture. Look for the depth at which a line leaves it. n = {lines[0][1].pictures:,} "
        f"{request.images}; explained is the {request.target}."
    )
    return [Chart(figures.object_share_chart(lines), "Share of the Grad-CAM on the object", text), *sentences]
