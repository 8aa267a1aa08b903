"""What a training is made of before it starts: its data, its cost on this machine, and its request."""

import secrets
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import streamlit as st

from explorer import figures, runs
from explorer.architectures import ArchitectureSpec, describe
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
from explorer.datasets.shapes import Drawn
from explorer.downloads import DownloadProgress
from explorer.machine import cores
from explorer.runs import Request, Run
from explorer.runs import speed as machine_speed
from explorer.training import choose_device, training_memory, training_speed
from explorer.ui import client
from explorer.ui.build_state import BuildState
from explorer.ui.services.caches import CACHES
from explorer.ui.services.inference import INFERENCE_SLOTS
from explorer.ui.services.process_tuning import threads
from explorer.ui.session import session

CLASSES_SHOWN = 100
PICTURES_A_CLASS = 5


@dataclass(frozen=True, eq=False)
class Card:
    """What a person wants to know of a dataset before a training: `counts` are training, validation and test pictures
    of each class; `sheets` some training pictures of each of the first classes, uint8 (H, W, 3)."""

    name: str
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    counts: tuple[tuple[int, int, int], ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    sheets: tuple[np.ndarray, ...]

    @property
    def train_images(self) -> int:
        return sum(train for train, _, _ in self.counts)


def is_ready(data: str) -> bool:
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
    if data.startswith("stored-") and is_ready(data):
        stored_card = card(data)
        return stored_card.input_shape, len(stored_card.class_names)
    return (3, 32, 32), 10


def last_data() -> str:
    """The `data` of a BuildState that Build & train showed last in this session."""
    return BuildState.from_query(session().view("build")).data


def labelled_data(spec: ArchitectureSpec, known: Collection[str] | None = None) -> list[str]:
    """The data on this machine, or uploaded in this session, that a network of that input and classes may know; with
    the names of its classes, `known`, only that which has the same, the shapes of some classes among it."""
    names = dict.fromkeys([last_data(), *downloadable.DOWNLOADABLE, *(Drawn(size).key for size in shapes.SIZES)])
    side = spec.input_shape[1]
    if known and side in shapes.SIZES and shapes.FEWEST_CLASSES <= len(known) and set(known) < {*shapes.CLASS_NAMES}:
        names[Drawn(side, tuple(known)).key] = None
    fitting = [name for name in names if is_ready(name) and data_shape(name) == (spec.input_shape, spec.classes)]
    return [name for name in fitting if known is None or set(class_names(name)) == set(known)]


def downloadable_data(spec: ArchitectureSpec, known: Collection[str]) -> list[str]:
    """The data of these classes and that size that is not on this machine, but can be downloaded."""
    return [
        name
        for name, about in downloadable.DOWNLOADABLE.items()
        if not is_ready(name) and data_shape(name)[0] == spec.input_shape and set(about.class_names) == set(known)
    ]


def key_of(name: str) -> str:
    """The `data` of a BuildState for what a network was trained on, as its file names it: of the shapes those that have
    its classes and the seed 0; any other name as it is."""
    drawn = shapes.named(name)
    return Drawn(drawn.size, drawn.classes).key if drawn else name


def data_title(data: str) -> str:
    if data.startswith("stored-"):
        return "your own pictures"
    if drawn := shapes.named(data):
        return _drawn_title(drawn)
    return downloadable.DOWNLOADABLE[data].title if data in downloadable.DOWNLOADABLE else data


def _drawn_title(drawn: Drawn) -> str:
    """`shapes-32`, `shapes-16: ring, star` or `shapes-16 without heart`: the shorter list."""
    if len(drawn.classes) <= len(shapes.CLASS_NAMES) // 2:
        return f"shapes-{drawn.size}: {', '.join(drawn.classes)}"
    without = [name for name in shapes.CLASS_NAMES if name not in drawn.classes]
    return f"shapes-{drawn.size}" + (f" without {', '.join(without)}" if without else "")


def test_split(data: str) -> tuple[Split, tuple[str, ...]]:
    """The test pictures of that data, and the names of its classes. Raises ValueError where its files are damaged."""
    if drawn := shapes.named(data):
        return _drawn(data), drawn.classes
    dataset = _dataset(data)
    return dataset.test, dataset.class_names


@st.cache_resource(max_entries=CACHES["ui.trainings._drawn"].entries, show_spinner="Drawing the test pictures")
def _drawn(data: str) -> Split:
    drawn = Drawn.read(data)
    return shapes.test_split(size=drawn.size, classes=drawn.classes)


def class_names(data: str) -> tuple[str, ...]:
    """The names of its classes; what is drawn or downloaded need not be here for that. Raises ValueError as `card`."""
    if data in downloadable.DOWNLOADABLE:
        return downloadable.DOWNLOADABLE[data].class_names
    drawn = shapes.named(data)
    return drawn.classes if drawn else card(data).class_names


def card(data: str) -> Card:
    """What there is to know of the data, which must be ready. Raises ValueError where its files are damaged."""
    drawn = shapes.named(data)
    return _drawn_card(drawn) if drawn else _card(data)


@dataclass(frozen=True, eq=False)
class _ClassPart:
    """What one class of the shapes adds to a card: the levels of its training pixels, see `level_counts`, and some of
    its pictures."""

    levels: np.ndarray
    sheet: np.ndarray


@st.cache_resource(show_spinner="Drawing the shapes")
def _class_parts(size: int) -> tuple[dict[str, _ClassPart], tuple[str, ...]]:
    """Of each class; and the notes of the dataset. Drawn once for all choices of classes."""
    dataset = shapes.load(size=size)
    parts = {}
    for label, name in enumerate(dataset.class_names):
        images = dataset.train.images[dataset.train.labels == label]
        parts[name] = _ClassPart(level_counts(images), _sheet(images, size))
    return parts, dataset.notes


def _drawn_card(drawn: Drawn) -> Card:
    parts, notes = _class_parts(drawn.size)
    chosen = [parts[name] for name in drawn.classes]
    mean, std = statistics_of(np.sum([part.levels for part in chosen], axis=0))
    train, validation, test = (count // len(drawn.classes) for count in drawn.counts)
    return Card(
        name=drawn.name,
        input_shape=(3, drawn.size, drawn.size),
        class_names=drawn.classes,
        counts=((train, validation, test),) * len(drawn.classes),
        mean=mean,
        std=std,
        notes=notes,
        skipped=(),
        sheets=tuple(part.sheet for part in chosen),
    )


def _sheet(images: np.ndarray, size: int) -> np.ndarray:
    """The first of these pictures beside each other, uint8 (H, W, 3)."""
    side = min(40, max(32, size))
    return figures.tile(list(images[:PICTURES_A_CLASS].transpose(0, 2, 3, 1)), PICTURES_A_CLASS, side)


@st.cache_resource(max_entries=CACHES["ui.trainings._card"].entries, show_spinner="Reading the data")
def _card(data: str) -> Card:
    dataset = _dataset(data)
    splits = [np.bincount(split.labels, minlength=len(dataset.class_names)) for split in _splits(dataset)]
    counts = tuple((int(train), int(validation), int(test)) for train, validation, test in zip(*splits, strict=True))
    sheets = []
    for index in range(min(CLASSES_SHOWN, len(dataset.class_names))):
        chosen = np.flatnonzero(dataset.train.labels == index)[:PICTURES_A_CLASS]
        sheets.append(_sheet(dataset.train.images[chosen], dataset.input_shape[1]))
    return Card(
        name=dataset.name,
        input_shape=dataset.input_shape,
        class_names=dataset.class_names,
        counts=counts,
        mean=dataset.mean,
        std=dataset.std,
        notes=dataset.notes,
        skipped=dataset.skipped,
        sheets=tuple(sheets),
    )


def _splits(dataset: Dataset) -> tuple[Any, Any, Any]:
    return dataset.train, dataset.validation, dataset.test


def _dataset(data: str) -> Dataset:
    if drawn := shapes.named(data):
        return shapes.load(size=drawn.size, classes=drawn.classes)
    if data.startswith("stored-"):
        return stored.load(_stored(data))
    return downloadable.load(data, runs.downloads_folder())


def download(name: str) -> Iterator[DownloadProgress]:
    """Brings that dataset onto this machine. Raises ValueError with one sentence for a person."""
    return downloadable.download(name, runs.downloads_folder())


def read_pictures(source: BinaryIO | str, size: int, name: str) -> Iterator[float | str]:
    """Reads a zip, or a folder inside the allowed one, into the store: yields the share that is done, and at the end
    the `data` of a BuildState that trains on it. Raises ValueError with one sentence for a person."""
    where = untrusted_files.resolve_allowed(runs.pictures_folder(), source) if isinstance(source, str) else source
    dataset = yield from folders.read(where, (size, size), name=name)
    yield f"stored-{runs.store_dataset(dataset)}"


def speed() -> float:
    """Multiply-accumulates of the forward pass a second, of a training in this process. They follow from the speed that
    was measured last; where none was, the page does not wait seconds for it, and a shorter measurement serves."""
    kept = machine_speed.last_measured()
    if kept is None:
        return _speed_here()
    share = threads() / cores() if choose_device().type == "cpu" else 1.0
    return kept.macs_a_second() * share


@st.cache_resource(show_spinner=False)
def _speed_here() -> float:
    with INFERENCE_SLOTS:
        return training_speed()


def start_run(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> Run:
    """Queues the training of that form. Raises ValueError with one sentence for a person."""
    data: dict[str, Any] = {"kind": state.data}
    if drawn := shapes.named(state.data):
        data = drawn.request
    elif state.data.startswith("stored-"):
        data = {"kind": "stored", "number": state.data.removeprefix("stored-")}
    request = Request(
        specs=tuple(spec.to_dict() for spec in specs),
        config=state.training().to_dict(),
        data=data,
        device=choose_device().type,
        owner=client.owner(),
        created=time.time(),
        names=tuple(spec.name for spec in specs),
    )
    try:
        return runs.submit(request, secrets.token_hex(16))
    except OSError as error:
        raise ValueError(
            f"the run cannot be started ({error.strerror}); free some space on the disk, for example by deleting runs."
        ) from None


def can_start(data: str) -> bool:
    """Whether a training on the `data` of a BuildState can be started: what can be downloaded needs not be here."""
    return data in downloadable.DOWNLOADABLE or is_ready(data)


def numbers(state: BuildState, spec: ArchitectureSpec) -> dict[str, str]:
    """What a network is and costs, each with its name."""
    built = describe(spec)
    config = state.training()
    memory = training_memory(built.parameters, built.activation_bytes, config.batch_size, config.optimizer)
    fields = [layer.receptive_field for layer in built.layers if layer.kind in ("conv", "block")]
    return {
        "Parameters": f"{built.parameters:,}",
        "MACs": _short(built.macs),
        "Receptive field": f"{fields[-1]:,}\u00a0px",
        "Memory": _bytes(memory),
    }


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}\u00a0{unit}"  # a space that keeps them in one line
    return f"{number:.0f}"


def _bytes(number: float) -> str:
    return f"{number / 2**30:,.1f}\u00a0GiB" if number >= 2**30 else f"{number / 2**20:,.0f}\u00a0MiB"
