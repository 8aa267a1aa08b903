"""The test images of measurements: which data fits some networks, and what is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from explorer.datasets import Split, downloadable, shapes
from explorer.experiments import agreement, measurement
from explorer.experiments.measurement import DataFacts
from explorer.ui import dataset_access
from explorer.ui.services.caches import CACHES
from explorer.ui.services.inference import ChosenNetwork


@dataclass(frozen=True, eq=False)
class TestSample:
    """The images of a request: `indices` int64 (n,) into the test `split` of `title`, whose labels count
    `class_names`."""

    __test__ = False  # not a test of pytest

    title: str
    split: Split
    class_names: tuple[str, ...]
    indices: np.ndarray

    def pixels(self, index: int) -> np.ndarray:
        """The image at that place of `indices`, uint8 (H, W, 3), a view of the split."""
        return self.split.images[self.indices[index]].transpose(1, 2, 0)


def shared_data(compared: Sequence[ChosenNetwork]) -> list[str]:
    """The labelled data on this machine that fits all these networks: same input, and the same classes by name.

    Raises ValueError where the files of the data are damaged.
    """
    first, *others = (network.checkpoint for network in compared)
    names = dataset_access.labelled_data(first.spec, first.class_names)
    for other in others:
        known = dataset_access.labelled_data(other.spec, other.class_names)
        names = [name for name in names if name in known]
    return [name for name in names if all(_has_classes(network, name) for network in compared)]


def _has_classes(network: ChosenNetwork, data: str) -> bool:
    try:
        agreement.class_order(network.checkpoint, dataset_access.class_names(data))
    except ValueError:
        return False
    return True


def data_is_here(data: str) -> bool:
    return _facts(data) is None


def _facts(data: str) -> DataFacts | None:
    """The facts of data that only shipped results know."""
    is_known = shapes.named(data) or data in downloadable.DOWNLOADABLE or data.startswith("stored-")
    return None if is_known else measurement.facts_of(data)


def default_datasets() -> list[str]:
    """All data on this machine, the last that this session trained on first: to compare layers needs no labels."""
    names = dict.fromkeys(
        [dataset_access.last_data(), "shapes-32", "shapes-16", "shapes-64", *downloadable.DOWNLOADABLE]
    )
    return [name for name in names if dataset_access.is_available(name)]


def test_count(data: str) -> int:
    """The number of test images; cheap for drawn shapes, and read once for the rest."""
    if drawn := shapes.named(data):
        return drawn.counts[2]
    if facts := _facts(data):
        return facts.n
    return sum(test for _, _, test in dataset_access.summary(data).counts)


def indices(data: str, n: int) -> np.ndarray:
    """The images of a measurement on `n` of them, int64 numbers in the test split."""
    return measurement.evenly(test_count(data), n)


def sample(data: str, n: int) -> TestSample:
    """Raises ValueError where the data's files are damaged."""
    split, class_names, _ = _test_split(data)
    return TestSample(dataset_access.data_title(data), split, class_names, measurement.evenly(len(split), n))


@st.cache_resource(max_entries=CACHES["ui.measured_images._test_split"].entries, show_spinner=False)
def _test_split(data: str) -> tuple[Split, tuple[str, ...], str]:
    """The split, its classes, and the digest of both."""
    split, class_names = dataset_access.test_split(data)
    return split, class_names, measurement.content_of(split, class_names)


def content(data: str) -> str:
    """What identifies the test images: the drawing is frozen under its name (`tests/test_shapes.py`)."""
    if drawn := shapes.named(data):
        return drawn.name
    facts = _facts(data)
    return facts.content if facts else _test_split(data)[2]
