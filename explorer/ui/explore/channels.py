"""The channels of a layer: the kernels of the first layer, and the test pictures with the largest activations."""

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st

from explorer import figures
from explorer.attribution import Kernels, Share, kernels, top_images
from explorer.errors import user_message
from explorer.ui import dataset_access, navigation
from explorer.ui.api.layers import profile_of
from explorer.ui.api.strip import shown_layer
from explorer.ui.explore import controls
from explorer.ui.explore.methods import part, pass_seconds
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.services.caches import CACHES
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import NetworkResult
from explorer.ui.widgets.download import offer_labelled_images
from explorer.ui.widgets.long_task import long_task, run_sequentially

PICTURES = 1000
PICTURES_BYTES = 30_000_000  # of those, which are kept for each session
TOP_K = 9
SIDE = 80  # pixels of a picture
KERNEL_COLUMNS = 8
KERNEL_SIDE = 40


@dataclass(frozen=True, eq=False)
class TopActivations:
    """The pictures that the channels of one network's layer answer most strongly, of `n`: for C channels the `values`
    (C, 9) and `boxes` (C, 9, 4), what is on them `labels` (C, 9), and which of `pictures`, uint8 (M, H, W, 3), they
    are, `indices` (C, 9)."""

    n: int
    values: np.ndarray
    boxes: np.ndarray
    indices: np.ndarray
    labels: np.ndarray
    pictures: np.ndarray


def channels_tab(state: AppState, looked: list[NetworkResult]) -> None:
    _first_layer(looked)
    _top_images(state, looked)


def _first_layer(looked: list[NetworkResult]) -> None:
    found = []
    for network in looked:
        try:
            found.append((network, kernels(network.checkpoint.network)))
        except ValueError as error:
            st.info(as_sentence(user_message(error)))
    if not found:
        return
    st.markdown(
        "**Kernels of the first layer**: what each of its channels looks for in the image. Look for edges, colours "
        "and blobs. How colourful or noisy the kernels are does not say how well a network classifies."
    )
    for column, (network, kernel) in zip(st.columns(len(found), gap="large"), found, strict=True):
        with column:
            st.markdown(f"**{as_text(network.title)}**, {as_text(kernel.layer)}, {_times(kernel)}")
            pictures = figures.kernel_pictures(kernel.values, kernel.top)
            st.image(
                figures.kernel_sheet(pictures, KERNEL_COLUMNS, KERNEL_SIDE),
                output_format="PNG",
                alt=f"The {len(pictures)} kernels of the first layer of {network.title}",
            )
            st.caption(f"Darkest −{kernel.top:.3g}, brightest {kernel.top:.3g}.")
    own = " Each network has a scale of its own." if len(found) > 1 else ""
    st.caption(f"Mid-grey is a weight of 0; red, green and blue are the weights of these colours.{own}")


def _times(kernel: Kernels) -> str:
    out, channels, height, width = kernel.values.shape
    return f"{out} kernels of {channels} × {height} × {width}"


def _top_images(state: AppState, looked: list[NetworkResult]) -> None:
    layer = shown_layer(state.layer, looked)
    there = [network for network in looked if layer in network.trace.names]
    st.markdown(
        f"**What a channel of {as_text(layer)} responds to**: the test images with its largest values. Look for what "
        "they have in common; a frame marks the pixels that the value can depend on."
    )
    names = [name for name in _data(there[0]) if all(name in _data(network) for network in there)]
    if not names:
        offer_labelled_images(
            "This machine has no labelled images for this network, so its strongest images cannot be found.",
            [(network.checkpoint.spec, network.checkpoint.class_names) for network in there],
            "Bring a dataset of its classes and size on the page Build & train.",
        )
        return
    channels = min(profile_of(network, layer).shape[0] for network in there)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        about = "At first the one that is most active for the image above."
        strongest = profile_of(there[0], layer).strongest
        channel = controls.channel_input("top_channel", state.channel, channels, strongest, about)
        data = st.selectbox("Images", names, key="top_data", format_func=dataset_access.data_title, width=220)
        for network in there:
            _unit_link(state, network, layer, channel, network.title if len(there) > 1 else "")
    seconds = sum(PICTURES * pass_seconds(network) for network in there)
    long_task(
        f"top/{layer}/{data}/{'/'.join(network.name for network in there)}",
        "Find the images of every channel",
        lambda: run_sequentially([partial(_top_activations, network, layer, data) for network in there]),
        lambda results: _draw(there, channel, results, data),
        seconds=seconds,
    )


def _unit_link(state: AppState, network: NetworkResult, layer: str, channel: int, title: str) -> None:
    unit = {"layer": layer, "channel": channel, "network": int(network.name == state.second)}
    query = controls.unit_query(state, unit)
    navigation.page_link("experiments", f"Page of this unit{title and f' of {as_text(title)}'}", query)


def _data(network: NetworkResult) -> list[str]:
    """The data at hand that fits this network, first that which it was trained on."""
    about = network.checkpoint
    known = dataset_access.labelled_data(about.spec, about.class_names)
    return sorted(known, key=lambda name: name != dataset_access.data_key(about.data))


@st.cache_resource(max_entries=CACHES["ui.explore.channels._pictures"].entries, show_spinner=False, scope="session")
def _pictures(data: str) -> tuple[np.ndarray, np.ndarray]:
    """At most 1,000 test pictures, and 30 MB, uint8 (N, 3, H, W), evenly of all classes, and what is on each."""
    split, class_names = dataset_access.test_split(data)
    by_class = np.argsort(split.labels, kind="stable")
    count = min(PICTURES, len(by_class), max(TOP_K, PICTURES_BYTES // split.images[0].nbytes))
    chosen = by_class[np.linspace(0, len(by_class) - 1, count).round().astype(int)]
    return split.images[chosen], np.array(class_names)[split.labels[chosen]]


def _top_activations(network: NetworkResult, layer: str, data: str) -> Generator[Share[TopActivations], None, None]:
    yield Share(0.0)
    images, labels = _pictures(data)
    about = network.checkpoint
    found = yield from part(top_images(about.network, images, about.mean, about.std, layer, TOP_K))
    used, places = np.unique(found.indices, return_inverse=True)
    yield Share(
        1.0,
        TopActivations(
            n=len(images),
            values=found.values,
            boxes=found.boxes,
            indices=places.reshape(found.indices.shape),
            labels=labels[found.indices],
            pictures=images[used].transpose(0, 2, 3, 1),
        ),
    )


def _draw(there: list[NetworkResult], channel: int, results: list[TopActivations], data: str) -> None:
    for column, network, best in zip(st.columns(len(there), gap="large"), there, results, strict=True):
        with column:
            st.markdown(f"**{as_text(network.title)}**, channel {channel}")
            values = best.values[channel]
            if values.max() == values.min():
                st.info(f"This channel has the value {values[0]:.3g} for each of these images, so no image stands out.")
                continue
            with st.container(horizontal=True, width=3 * (SIDE + 4) + 40):
                for value, box, index, label in zip(
                    values, best.boxes[channel], best.indices[channel], best.labels[channel], strict=True
                ):
                    with st.container(width=SIDE + 4, gap="xsmall"):
                        st.image(
                            figures.framed(best.pictures[index], box, 96),
                            width=SIDE,
                            output_format="PNG",
                            alt=f"{label}, largest value {value:.3g}, rows {box[0]} to {box[2]}, "
                            f"columns {box[1]} to {box[3]}",
                        )
                        st.caption(f"**{value:.3g}**, {as_text(str(label))}")
            st.caption(
                f"The best {len(values)} of {best.n:,} test images of {as_text(dataset_access.data_title(data))}, "
                "evenly of all classes, by the largest value of the feature map."
            )
