"""The labelled test images of a question: which data fits the networks, and how many images."""

from collections.abc import Callable, Sequence

import streamlit as st

from explorer.ui import dataset_access, measured_images
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.question import AskedNetwork
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.network_text import source_text
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.download import BRING_FOR_ALL, NONE_FOR_ALL, offer_labelled_images

COUNTS = (50, 100, 200, 500, 1000, 2000, 5000)

IsKnown = Callable[[Sequence[AskedNetwork], str], bool]
"""Whether a question's answers on its usual images of that data are stored for all these networks."""

Fits = Callable[[str], bool]
"""Whether a question can use that data."""


def every(_: str) -> bool:
    return True


def _options(networks: Sequence[AskedNetwork], is_known: IsKnown, fits: Fits) -> list[str]:
    """The data that fits the question and all networks: first what they were trained on. It may be elsewhere if the
    answer is known; the rest is on this machine."""
    chosen = [each.chosen for each in networks]
    trained = chosen[0].checkpoint.data
    elsewhere = [] if measured_images.data_is_here(trained) or not is_known(networks, trained) else [trained]
    own = dataset_access.data_key(trained)
    here = filter(fits, measured_images.shared_data(chosen))
    return [*elsewhere, *sorted(here, key=lambda data: data != own)]


def _choose(state: ExperimentsState, options: Sequence[str], usual: int) -> tuple[str, int, list[int]]:
    data = state.data if state.data in options else options[0]
    total = measured_images.test_count(data)
    usual = min(usual, total)
    if not measured_images.data_is_here(data):
        return data, usual, [usual]
    counts = [*(count for count in COUNTS if count < total), total]
    n = min(state.n or usual, total)
    return data, n, sorted({*counts, n})


def images_of(
    state: ExperimentsState,
    networks: Sequence[AskedNetwork],
    usual: int,
    is_known: IsKnown = lambda *_: False,
    fits: Fits = every,
    missing: str = "",
) -> tuple[str, int] | None:
    """The name of the data and the number of images, `usual` where none was chosen; None, with a sentence on the page,
    where no data fits: `missing`, or without it one with an offer to download some."""
    options = _options(networks, is_known, fits)
    if not options and missing:
        st.info(missing)
        return None
    if not options:
        offer_labelled_images(
            NONE_FOR_ALL,
            [(each.chosen.checkpoint.spec, each.chosen.checkpoint.class_names) for each in networks],
            BRING_FOR_ALL,
        )
        return None
    return _choose(state, options, usual)[:2]


def images_source(n: int, data: str, networks: Sequence[AskedNetwork], more: str = "") -> str:
    """Where the figures of a question come from: its images and its networks; `more` stands behind the images."""
    images = f"{n:,} test images of {dataset_access.data_title(data)}, taken evenly over the split{more}."
    return f"{images} {source_text([each.chosen for each in networks])}"


def choose_images(
    state: ExperimentsState,
    networks: Sequence[AskedNetwork],
    usual: int,
    is_known: IsKnown = lambda *_: False,
    fits: Fits = every,
) -> None:
    options = _options(networks, is_known, fits)
    if not options:
        return
    data, n, counts = _choose(state, options, usual)
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
