"""The datasets for training and measuring: which are on this machine, their summaries, downloads and uploads."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import streamlit as st

from explorer import figures, runs
from explorer.architectures import ArchitectureSpec
from explorer.datasets import (
    Dataset,
    Skipped,
    Split,
    downloadable,
    folders,
    level_counts,
    shapes,
    statistics_of,
    stored,
    untrusted_files,
)
from explorer.datasets.layouts import FOLDERS
from explorer.datasets.shapes import Drawn
from explorer.downloads import DownloadProgress
from explorer.experiments import measurement
from explorer.images import Paper, Rendering
from explorer.labels import numbered_classes
from explorer.ui.build_state import BuildState
from explorer.ui.network_text import dataset_title
from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.services.layer_rows import LabelledPictures
from explorer.ui.session import session

CLASSES_SHOWN = 100
PICTURES_A_CLASS = 5


@dataclass(frozen=True, eq=False)
class DatasetSummary:
    """A dataset as it is shown before a training: `counts` are training, validation and test pictures of each class;
    `sheets` some training pictures of each of the first classes, uint8 (H, W, 3)."""

    name: str
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    counts: tuple[tuple[int, int, int], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    sheets: tuple[np.ndarray, ...]

    @property
    def totals(self) -> tuple[int, int, int]:
        """Training, validation and test pictures of all classes."""
        train, validation, test = (sum(column) for column in zip(*self.counts, strict=True))
        return train, validation, test


def is_available(data: str) -> bool:
    """Whether the `data` of a BuildState is on this machine."""
    if data in downloadable.DOWNLOADABLE:
        return downloadable.is_available(data, runs.downloads_folder())
    return data != "own" and (not data.startswith("stored-") or _stored(data).is_file())


def _stored(data: str) -> Any:
    return runs.stored_data(data.removeprefix("stored-"))


def data_shape(data: str) -> tuple[tuple[int, int, int], int]:
    """(input shape, classes) of the `data` of a BuildState; those of CIFAR-10 while it is not here."""
    if drawn := shapes.named(data):
        return (3, drawn.size, drawn.size), len(drawn.classes)
    if data.startswith("stored-") and is_available(data):
        stored_summary = summary(data)
        return stored_summary.input_shape, len(stored_summary.class_names)
    return (3, 32, 32), 10


def _size_and_classes(data: str) -> tuple[tuple[int, ...], int]:
    shape, classes = data_shape(data)
    return shape[1:], classes  # pictures have three channels, which a network for grey ones takes as one


def last_data() -> str:
    """The `data` of a BuildState that Build & train showed last in this session."""
    return BuildState.from_query(session().view("build")).data


def labelled_data(spec: ArchitectureSpec, known: Collection[str] | None = None) -> list[str]:
    """The data on this machine, or uploaded in this session, of the network's input size and number of classes. With
    `known`, the names of its classes, only data of the same names; the shapes of some classes are among it. Of classes
    that nobody named any data fits, see `agreement.class_order`."""
    names = dict.fromkeys([last_data(), *downloadable.DOWNLOADABLE, *(Drawn(size).key for size in shapes.SIZES)])
    side = spec.input_shape[1]
    if known and side in shapes.SIZES and shapes.FEWEST_CLASSES <= len(known) and set(known) < {*shapes.CLASS_NAMES}:
        names[Drawn(side, tuple(known)).key] = None
    takes = (spec.input_shape[1:], spec.classes)
    fitting = [name for name in names if is_available(name) and _size_and_classes(name) == takes]
    if known is None or tuple(known) == numbered_classes(spec.classes):
        return fitting
    return [name for name in fitting if set(class_names(name)) == set(known)]


def labelled_pictures(spec: ArchitectureSpec, known: Collection[str], trained_on: str) -> LabelledPictures | None:
    """The labelled pictures on this machine that fit a network, first those of the data that it was trained on; None
    where there are none."""
    names = sorted(labelled_data(spec, known), key=lambda name: name != data_key(trained_on))
    if not names:
        return None
    drawn = shapes.named(names[0])
    is_public, content = not names[0].startswith("stored-"), drawn.name if drawn else names[0]
    return LabelledPictures(data_title(names[0]), content, is_public, partial(_sample, names[0]))


def train_and_test(data: str, n: int) -> dict[str, Split]:
    """`n` training and `n` test pictures of that data, in any thread. Raises ValueError where its files are damaged."""
    train, test = _sample(data, n, n)
    return {"train": train, "test": test}


_samples: LruCache[tuple[Split, Split]] = LruCache(
    CACHES["ui.dataset_access._samples"], lambda both: sum(each.images.nbytes for each in both)
)


def _sample(data: str, train: int, test: int) -> tuple[Split, Split]:
    """So many training and test pictures, in any thread. Raises ValueError where the files of the data are damaged."""

    def load() -> tuple[Split, Split]:
        if drawn := shapes.named(data):
            return shapes.some("train", train, drawn, threads=1), shapes.some("test", test, drawn, threads=1)
        dataset = _dataset(data)
        first, second = (
            measurement.rows(split, measurement.evenly_by_class(split.labels, n))
            for split, n in ((dataset.train, train), (dataset.test, test))
        )
        return first, second

    return _samples.get(f"{data}/{train}/{test}", load)


def downloadable_data(networks: Sequence[tuple[ArchitectureSpec, Collection[str]]]) -> list[str]:
    """The data that is not on this machine, but can be downloaded, of the input shape of all these networks and the
    names of their classes."""
    return [
        name
        for name, about in downloadable.DOWNLOADABLE.items()
        if not is_available(name)
        and all(data_shape(name)[0][1:] == spec.input_shape[1:] for spec, _ in networks)
        and all(set(about.class_names) == set(known) for _, known in networks)
    ]


def data_key(name: str) -> str:
    """The `data` of a BuildState by the name in a checkpoint: of the shapes those of the same classes and seed 0; any
    other name as it is."""
    drawn = shapes.named(name)
    return Drawn(drawn.size, drawn.classes).key if drawn else name


def data_title(data: str) -> str:
    if data.startswith("stored-"):
        return "your own images"
    return downloadable.DOWNLOADABLE[data].title if data in downloadable.DOWNLOADABLE else dataset_title(data)


def test_split(data: str) -> tuple[Split, tuple[str, ...]]:
    """The test pictures of that data, and the names of its classes. Raises ValueError where its files are damaged."""
    if drawn := shapes.named(data):
        return _drawn(data), drawn.classes
    dataset = _dataset(data)
    return dataset.test, dataset.class_names


def validation_split(data: str) -> tuple[Split, tuple[str, ...]]:
    """The validation pictures of that data, which may be none, and the names of its classes. Raises ValueError where
    its files are damaged."""
    if drawn := shapes.named(data):
        return shapes.validation_split(size=drawn.size, classes=drawn.classes), drawn.classes
    dataset = _dataset(data)
    return dataset.validation, dataset.class_names


@st.cache_resource(max_entries=CACHES["ui.dataset_access._drawn"].entries, show_spinner="Drawing the test images")
def _drawn(data: str) -> Split:
    drawn = Drawn.read(data)
    return shapes.test_split(size=drawn.size, classes=drawn.classes)


def class_names(data: str) -> tuple[str, ...]:
    """The names of its classes, also of downloadable data that is not here. Raises ValueError as `summary` does."""
    if data in downloadable.DOWNLOADABLE:
        return downloadable.DOWNLOADABLE[data].class_names
    drawn = shapes.named(data)
    return drawn.classes if drawn else summary(data).class_names


def summary(data: str) -> DatasetSummary:
    """Of data that is available. Raises ValueError where its files are damaged."""
    drawn = shapes.named(data)
    return _drawn_summary(drawn) if drawn else _summary(data)


@st.cache_resource(show_spinner="Drawing the shapes")
def _class_parts(size: int) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], tuple[str, ...]]:
    """Of each class the levels of its training pixels (see `level_counts`) and some of its pictures; and the notes of
    the dataset. Drawn once for all choices of classes."""
    train = shapes.some("train", shapes.TRAIN_COUNT, Drawn(size))  # the whole split, without the two others
    parts = {}
    for label, name in enumerate(shapes.CLASS_NAMES):
        images = train.images[train.labels == label]
        parts[name] = (level_counts(images), _sheet(images))
    return parts, shapes.NOTES


def _drawn_summary(drawn: Drawn) -> DatasetSummary:
    parts, notes = _class_parts(drawn.size)
    levels, sheets = zip(*(parts[name] for name in drawn.classes), strict=True)
    mean, std = statistics_of(np.sum(levels, axis=0))
    train, validation, test = (count // len(drawn.classes) for count in drawn.counts)
    return DatasetSummary(
        name=drawn.name,
        input_shape=(3, drawn.size, drawn.size),
        class_names=drawn.classes,
        counts=((train, validation, test),) * len(drawn.classes),
        mean=mean,
        std=std,
        notes=notes,
        skipped=(),
        sheets=sheets,
    )


def _sheet(images: np.ndarray) -> np.ndarray:
    """The first of these pictures, uint8 (N, 3, H, W), beside each other, uint8 (H', W', 3)."""
    side = min(40, max(32, images.shape[2]))
    return figures.tile(list(images[:PICTURES_A_CLASS].transpose(0, 2, 3, 1)), PICTURES_A_CLASS, side)


@st.cache_resource(max_entries=CACHES["ui.dataset_access._summary"].entries, show_spinner="Reading the data")
def _summary(data: str) -> DatasetSummary:
    dataset = _dataset(data)
    return DatasetSummary(
        name=dataset.name,
        input_shape=dataset.input_shape,
        class_names=dataset.class_names,
        counts=dataset.counts,
        mean=dataset.mean,
        std=dataset.std,
        notes=dataset.notes,
        skipped=dataset.skipped,
        sheets=tuple(
            _sheet(dataset.train.images[np.flatnonzero(dataset.train.labels == label)[:PICTURES_A_CLASS]])
            for label in range(min(CLASSES_SHOWN, len(dataset.class_names)))
        ),
    )


def _dataset(data: str) -> Dataset:
    if data.startswith("stored-"):
        return stored.load(_stored(data))
    return downloadable.load(data, runs.downloads_folder())


def download(name: str) -> Iterator[DownloadProgress]:
    """Downloads that dataset. Raises ValueError with one sentence for the page."""
    return downloadable.download(name, runs.downloads_folder())


@dataclass(frozen=True)
class ReadImages:
    """Images that were read into the store, as the `data` of a BuildState: the key of `labels` that says where their
    classes are from, all such keys with words and some classes, and the encodings of an archive's names with some."""

    data: str
    labels_from: str
    labels: dict[str, str]
    encodings: dict[str, str]

    @property
    def needs_confirmation(self) -> bool:
        return self.labels_from != FOLDERS


def read_pictures(
    source: BinaryIO | str,
    size: int,
    name: str,
    labels_from: str | None = None,
    encoding: str | None = None,
    paper: Paper = "white",
) -> Iterator[float | ReadImages]:
    """Reads an archive, or a folder inside the allowed one, into the store: yields the share that is done, and what was
    read at the end. Raises ValueError with one sentence for the page."""
    where = untrusted_files.resolve_allowed(runs.pictures_folder(), source) if isinstance(source, str) else source
    with folders.opened(where, encoding) as found:
        key = labels_from if labels_from and labels_from in found.layouts else next(iter(found.layouts))
        dataset = yield from folders.read_layout(
            found, found.layouts[key], (size, size), name=name, rendering=Rendering(paper)
        )
        labels = {key: f"{each.words}: {each.preview()}".replace("`", "") for key, each in found.layouts.items()}
        yield ReadImages(f"stored-{runs.store_dataset(dataset)}", key, labels, found.listing.encodings)


def can_train_on(data: str) -> bool:
    """Whether a training on the `data` of a BuildState can start; the run downloads data that is not here."""
    return data in downloadable.DOWNLOADABLE or is_available(data)
