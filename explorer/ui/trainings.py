"""What a training is made of before it starts: its data, its cost on this machine, and its request."""

import secrets
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import streamlit as st

from explorer import figures, runs
from explorer.architectures import ArchitectureSpec, Description, describe
from explorer.datasets import Dataset, Skipped, Split, builtin, folders, shapes, sources, stored
from explorer.datasets.builtin import Transfer
from explorer.runs import Request, Run
from explorer.training import choose_device, training_memory, training_speed
from explorer.ui import resources
from explorer.ui.build_state import BuildState
from explorer.ui.passes import PASSES

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
    if data in builtin.BUILTIN:
        return builtin.is_there(data, runs.downloads_folder())
    return data != "own" and (not data.startswith("stored-") or _stored(data).is_file())


def _stored(data: str) -> Any:
    return runs.stored_data(data.removeprefix("stored-"))


def data_shape(data: str) -> tuple[tuple[int, int, int], int]:
    """(input shape, classes) of the `data` of a BuildState; those of CIFAR-10 while it is not here."""
    if data == "shapes-64":
        return (3, 64, 64), len(shapes.CLASS_NAMES)
    if data.startswith("stored-") and is_ready(data):
        stored_card = card(data)
        return stored_card.input_shape, len(stored_card.class_names)
    return (3, 32, 32), 10


def class_names(data: str) -> tuple[str, ...]:
    """The classes of the `data` of a BuildState, which must be ready unless it can be downloaded."""
    if data in builtin.BUILTIN:
        return builtin.BUILTIN[data].class_names
    if data.startswith("shapes-"):
        return tuple(data.split("-")[2:]) or shapes.CLASS_NAMES
    return card(data).class_names


def labelled_data(spec: ArchitectureSpec, known: Collection[str] | None = None) -> list[str]:
    """The data on this machine, or uploaded in this session, that a network of that input and classes may know; with
    the names of its classes, `known`, only that which has the same."""
    last = BuildState.from_query(st.session_state.get("views", {}).get("build", {})).data
    names = dict.fromkeys([last, *builtin.BUILTIN, "shapes-32", "shapes-64"])
    fitting = [name for name in names if is_ready(name) and data_shape(name) == (spec.input_shape, spec.classes)]
    return [name for name in fitting if known is None or set(class_names(name)) == set(known)]


def downloadable_data(spec: ArchitectureSpec, known: Collection[str]) -> list[str]:
    """The data of these classes and that size that is not on this machine, but can be downloaded."""
    return [
        name
        for name, about in builtin.BUILTIN.items()
        if not is_ready(name) and data_shape(name)[0] == spec.input_shape and set(about.class_names) == set(known)
    ]


def data_title(data: str) -> str:
    if data.startswith("stored-"):
        return "your own pictures"
    return builtin.BUILTIN[data].title if data in builtin.BUILTIN else data


def test_split(data: str) -> tuple[Split, tuple[str, ...]]:
    """The test pictures of that data, and the names of its classes. Raises ValueError where its files are damaged."""
    if data.startswith("shapes-"):
        return _drawn(int(data.removeprefix("shapes-"))), shapes.CLASS_NAMES
    dataset = _dataset(data)
    return dataset.test, dataset.class_names


@st.cache_resource(show_spinner="Drawing the test pictures")
def _drawn(size: int) -> Split:
    return shapes.test_split(size=size)


def card(data: str) -> Card:
    """What there is to know of the data, which must be ready. Raises ValueError where its files are damaged."""
    return _card(data)


@st.cache_resource(max_entries=8, show_spinner="Reading the data")
def _card(data: str) -> Card:
    dataset = _dataset(data)
    splits = [np.bincount(split.labels, minlength=len(dataset.class_names)) for split in _splits(dataset)]
    counts = tuple((int(train), int(validation), int(test)) for train, validation, test in zip(*splits, strict=True))
    side = min(40, dataset.input_shape[1])
    sheets = []
    for index in range(min(CLASSES_SHOWN, len(dataset.class_names))):
        chosen = np.flatnonzero(dataset.train.labels == index)[:PICTURES_A_CLASS]
        pictures = list(dataset.train.images[chosen].transpose(0, 2, 3, 1))
        sheets.append(figures.tile(pictures, PICTURES_A_CLASS, side))
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
    if data.startswith("shapes-"):
        return shapes.load(size=int(data.removeprefix("shapes-")))
    if data.startswith("stored-"):
        return stored.load(_stored(data))
    return builtin.load(data, runs.downloads_folder())


def download(name: str) -> Iterator[Transfer]:
    """Brings that dataset onto this machine. Raises ValueError with one sentence for a person."""
    return builtin.download(name, runs.downloads_folder())


def read_pictures(source: BinaryIO | str, size: int, name: str) -> Iterator[float | str]:
    """Reads a zip, or a folder inside the allowed one, into the store: yields the share that is done, and at the end
    the `data` of a BuildState that trains on it. Raises ValueError with one sentence for a person."""
    where = sources.allowed(runs.pictures_folder(), source) if isinstance(source, str) else source
    for reading in folders.read(where, (size, size), name=name):
        yield reading.done / max(1, reading.total)
    assert reading.dataset is not None
    yield f"stored-{runs.keep_data(reading.dataset)}"


@st.cache_resource(show_spinner=False)
def speed() -> float:
    """Multiply-accumulates a second of a training on this machine, measured once."""
    with PASSES:
        return training_speed()


def start_run(state: BuildState, specs: tuple[ArchitectureSpec, ...]) -> Run:
    """Queues the training of that form. Raises ValueError with one sentence for a person."""
    data: dict[str, Any] = {"kind": state.data}
    if state.data.startswith("shapes-"):
        data = {"kind": "shapes", "size": int(state.data.removeprefix("shapes-"))}
    elif state.data.startswith("stored-"):
        data = {"kind": "stored", "number": state.data.removeprefix("stored-")}
    request = Request(
        specs=tuple(spec.to_dict() for spec in specs),
        config=state.training().to_dict(),
        data=data,
        device=choose_device().type,
        owner=resources.owner(),
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
    return data in builtin.BUILTIN or is_ready(data)


def description(spec: ArchitectureSpec) -> Description:
    return describe(spec)


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
