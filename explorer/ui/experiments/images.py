"""The labelled test images of a question: which data fits the networks, and how many images."""

from collections.abc import Callable, Sequence

import streamlit as st

from explorer.ui import dataset_access, measured_images
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.question import AskedNetwork
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.download import offer_labelled_images

COUNTS = (50, 100, 200, 500, 1000, 2000, 5000)


def _options(networks: Sequence[AskedNetwork], fits: Callable[[str], bool] = lambda data: True) -> list[str]:
    """The data on this machine that `fits` the question and all networks: first what they were trained on."""
    chosen = [each.chosen for each in networks]
    own = dataset_access.data_key(chosen[0].checkpoint.data)
    return sorted(filter(fits, measured_images.shared_data(chosen)), key=lambda data: data != own)


def _choose(state: ExperimentsState, options: Sequence[str]) -> tuple[str, int, list[int]]:
    data = state.data if state.data in options else options[0]
    total = measured_images.test_count(data)
    counts = [*(count for count in COUNTS if count < total), total]
    n = state.n if state.n in counts else min(state.n, total)
    return data, n, sorted({*counts, n})


def images_of(
    state: ExperimentsState,
    networks: Sequence[AskedNetwork],
    fits: Callable[[str], bool] | None = None,
    missing: str = "There are no labelled images here that all these networks know.",
) -> tuple[str, int] | None:
    """The name of the data and the number of images; None, with a sentence on the page, where no data fits. `fits` says
    which data the question can use, None: all; `missing` is then the sentence."""
    options = _options(networks, fits or (lambda data: True))
    if not options and fits:
        st.info(f"{missing} Choose networks that were trained on the drawn shapes.")
        return None
    if not options:
        offer_labelled_images(
            missing,
            [(each.chosen.checkpoint.spec, each.chosen.checkpoint.class_names) for each in networks],
            "Choose networks with the same classes, or upload a zip with one folder for each of their classes in Build "
            "& train.",
        )
        return None
    return _choose(state, options)[:2]


def choose_images(
    state: ExperimentsState, networks: Sequence[AskedNetwork], fits: Callable[[str], bool] = lambda data: True
) -> None:
    options = _options(networks, fits)
    if not options:
        return
    data, n, counts = _choose(state, options)
    bound(
        st.selectbox,
        "Test images",
        options,
        key="experiments_data",
        value=data,
        write=lambda data: update_state(data=data),
        format_func=dataset_access.data_title,
        width=260,
    )
    bound(
        st.selectbox,
        "How many",
        counts,
        key="experiments_n",
        value=n,
        write=lambda n: update_state(n=n),
        format_func=lambda count: f"{count:,}",
        width=130,
    )
