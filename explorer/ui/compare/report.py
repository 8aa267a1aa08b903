"""Compare, to take away: the report as one HTML file, and the raw numbers as npz.

Downloads are made at their click, when no script is running: `chapters` and `arrays_npz` use no Streamlit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.architectures import ArchitectureSpec, Network
from explorer.experiments.agreement import Predictions, confusion
from explorer.experiments.cam_metrics import ObjectShares
from explorer.experiments.similarity import Similarity
from explorer.figures import Chapter
from explorer.files import npz
from explorer.labels import listed
from explorer.ui import navigation
from explorer.ui.compare import (
    ensemble,
    ensemble_map,
    labelled,
    layer_similarity,
    maps,
    measurements,
    object_shares,
    predictions,
    spec_diff,
)
from explorer.ui.compare.comparison import ComparedNetwork
from explorer.ui.compare.measurements import Kind, Measurement
from explorer.ui.compare.state import CompareState
from explorer.ui.services.caches import CACHES
from explorer.ui.services.input_images import InputImage

KINDS: tuple[Kind, ...] = ("said", "cka", "shares")  # of measurements whose numbers are taken away


def section(
    compared: Sequence[ComparedNetwork],
    key: str,
    subject: InputImage,
    state: CompareState,
    seen: ensemble_map.EnsembleMap | None = None,
) -> None:
    """Two downloads. They wait for their click without weights and without a large image. `seen` is the CAM of the
    ensemble that the page shows."""
    st.caption(
        "The report is one HTML file that opens offline: figures, numbers, specs, seeds, and all that is measured."
    )
    stem = f"compare-{'-'.join(state.networks)}-{state.picture}"[:120]
    store, light = measurements.store(), without_weights(compared)
    small = replace(subject, pixels=subject.shown, mask=None)
    with st.container(horizontal=True):
        navigation.report_button(
            f"Comparison of {listed([network.title for network in compared])}",
            lambda: chapters(light, store.snapshot(), small, state),
            stem,
            f"{key}-html",
            type="primary",
        )
        navigation.download_button(
            "Raw numbers (npz)",
            data=lambda: arrays_npz(light, store.snapshot(), seen),
            file_name=f"{stem}.npz",
            key=f"{key}-npz",
            help="What was measured, as arrays: predictions, probabilities, similarities, shares, the Grad-CAMs, "
            "and that of the ensemble while its tab is open.",
        )


def chapters(
    compared: Sequence[ComparedNetwork],
    kept: Mapping[str, Measurement],
    subject: InputImage | None = None,
    state: CompareState | None = None,
) -> list[Chapter]:
    """The report: the networks, the one image as that `state` of the page shows it, and all that
    `kept` holds about these networks, a chapter for each request."""
    compared = [replace(network, colour=_light_colour(network)) for network in compared]
    measured_parts = (labelled, ensemble, layer_similarity, object_shares)
    measured = [chapter for part in measured_parts for chapter in part.chapters(compared, kept)]
    nothing = Chapter("On many images", ["Nothing was measured on many images before this report was made."])
    return [
        spec_diff.chapter(compared),
        predictions.chapter(compared, subject),
        *maps.chapters(state or CompareState(), compared),
        *(measured or [nothing]),
    ]


def _light_colour(network: ComparedNetwork) -> str:
    return figures.network_colour(network.checkpoint.spec.shortcut, "light")


@lru_cache(CACHES["ui.compare.report._empty"].entries)
def _empty(spec: ArchitectureSpec) -> Network:
    return Network.without_values(spec).eval()


def without_weights(compared: Sequence[ComparedNetwork]) -> list[ComparedNetwork]:
    """The same with networks that have shapes and no weights: a waiting download may not hold gigabytes."""
    return [
        replace(each, checkpoint=replace(each.checkpoint, network=_empty(each.checkpoint.spec))) for each in compared
    ]


def arrays_npz(
    compared: Sequence[ComparedNetwork], kept: Mapping[str, Measurement], seen: ensemble_map.EnsembleMap | None = None
) -> bytes:
    """Arrays by name; A and B below stand for the place of a network in `networks`, from 0, and Q for a request: the
    data, the number of images, and, of shares, the class that was explained.

    `A/cam/LAYER`, `A/layers`, `A/activation`, `A/gradient`, `A/logits`, `A/class_names` are of the one image;
    `said/Q/...`, `cka/Q/A-B/...` and `shares/Q/A/...` of many; NaN stands for values that are not defined. Of the
    ensemble `seen` there are `ensemble/cam`, `ensemble/A/part`, and its class, weights and layers.
    """
    arrays: dict[str, Any] = {"networks": [network.title for network in compared]}
    for place, network in enumerate(compared):
        columns = network.profiles
        arrays[f"{place}/class_names"] = network.checkpoint.class_names
        arrays[f"{place}/logits"] = network.trace.logits
        arrays[f"{place}/layers"] = [column.name for column in columns]
        arrays[f"{place}/activation"] = [column.activation_magnitude for column in columns]
        arrays[f"{place}/gradient"] = [column.gradient_magnitude for column in columns]
        arrays |= {f"{place}/cam/{column.name}": column.cam for column in columns}
    places = {network.name: str(place) for place, network in enumerate(compared)}
    for kind in KINDS:
        for request, measured in measurements.by_request(kept, kind, compared).items():
            target = f"-{request.target}" if kind == "shares" else ""
            under = f"{kind}/{request.data}-{request.n}{target}"
            for each in measured:
                if kind == "said":
                    arrays |= {f"{under}/class_names": each.result.class_names, f"{under}/labels": each.result.labels}
                networks = "-".join(places[name] for name in each.names)
                arrays |= {f"{under}/{networks}/{name}": values for name, values in _values(each.result).items()}
    arrays |= seen.arrays() if seen else {}
    return npz({name: np.asarray(values) for name, values in arrays.items()})


def _values(result: Predictions | Similarity | ObjectShares) -> dict[str, Any]:
    match result:
        case Predictions():
            own = {"predicted": result.predicted, "probabilities": result.probabilities}
            return own | {"confusion": confusion(result)}
        case Similarity():
            own = {"plain": result.cka.filled(np.nan), "debiased": result.debiased.filled(np.nan)}
            return own | {"rows": result.layers_a, "columns": result.layers_b}
        case ObjectShares():
            own = {"mean": result.mean.filled(np.nan), "error": result.error.filled(np.nan)}
            return own | {"layers": result.layers, "maps": result.n, "chance": result.chance}
