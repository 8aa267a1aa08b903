"""Everything that outlives a rerun: caches, locks, and the pictures of this session."""

import hashlib
import os
import re
import secrets
import threading
from dataclasses import dataclass
from typing import Literal

import numpy as np
import streamlit as st
import torch

from explorer import checkpoints, figures, runs
from explorer.attribution import LayerProfile, profile
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.datasets import shapes
from explorer.images import decode, to_input
from explorer.tracing import EVERYTHING, STRIP_KINDS, Trace, trace
from explorer.ui.state import AppState

PICTURE_SIDE = 224  # pixels of a picture on the page
WIDE = "<style>.stMainBlockContainer { padding: 2.5rem 2.5rem 4rem }</style>"  # the strip needs the width
COOKIE = "explorer_owner"
EARLIER_RUNS = 10
RUN_NETWORK = re.compile(rf"run-({runs.ID.pattern})-({runs.FILE.pattern})")
SESSION_BYTES = 200_000_000  # of decoded pictures; one of 50 megapixels takes 150 MB

# Two passes at a time share the cores; more would only wait for each other with their arrays in memory.
PASSES = threading.BoundedSemaphore(2)
torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))


@dataclass(frozen=True, eq=False)
class Subject:
    """The picture that is looked at: pixels uint8 (H, W, 3), and `shown`, the same at a size for the screen; its
    digest, what to call it, and what is known of it.

    `mask` is bool (H, W) and `label` a class name where the app drew the picture itself, else None. `notes` hold one
    sentence each.
    """

    pixels: np.ndarray
    shown: np.ndarray
    digest: str
    title: str
    notes: tuple[str, ...] = ()
    mask: np.ndarray | None = None
    label: str | None = None


@st.cache_resource(show_spinner=False)
def catalogue() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The pretrained networks that can be used, in the order of their listing, and what is wrong with the others."""
    names, problems = [], []
    for name in checkpoints.pinned():
        try:
            checkpoint(name)
            names.append(name)
        except CheckpointError as error:
            problems.append(str(error))
    return tuple(names), tuple(problems)


def network_names() -> tuple[str, ...]:
    """The networks that can be chosen: the pretrained ones, and those that this person's last runs have trained."""
    return (*catalogue()[0], *trained_names())


def trained_names() -> list[str]:
    return [
        f"run-{run.id}-{file.stem}"
        for run in runs.newest(owner(), EARLIER_RUNS)
        for file in sorted(run.folder.glob("*.safetensors"))
        if runs.FILE.fullmatch(file.stem)
    ]


def is_network(name: str) -> bool:
    """Whether that network can be looked at: a run's is open to everyone who was given its name, in a link."""
    if name in catalogue()[0]:
        return True
    try:
        checkpoint(name)
    except CheckpointError:
        return False
    return True


def title(name: str) -> str:
    """What a person reads in a list: "plain-20 · shapes-v1-32"."""
    loaded = checkpoint(name)
    trained = RUN_NETWORK.fullmatch(name)
    run = f" · your run {trained[1][:4]}" if trained else ""
    return f"{loaded.spec.name} · {loaded.data}{run}"


def twin_name(name: str) -> str | None:
    """The pretrained twin of that network, or None."""
    swapped = name.replace("-plain-", "-resnet-") if "-plain-" in name else name.replace("-resnet-", "-plain-")
    return swapped if swapped != name and is_network(swapped) else None


def twins_on(data: str) -> tuple[str, str | None]:
    """The first network that was trained on that data, and its twin; ("", None) where there is none."""
    first = next((name for name in network_names() if checkpoint(name).data == data), "")
    return first, twin_name(first)


def know_the_same(name: str, other: str) -> bool:
    """Whether two pretrained networks tell the same classes apart."""
    return checkpoint(name).class_names == checkpoint(other).class_names


@st.cache_resource(max_entries=16, show_spinner=False)
def checkpoint(name: str) -> Checkpoint:
    """A pretrained or a trained network, frozen and shared by all sessions. Raises CheckpointError."""
    trained = RUN_NETWORK.fullmatch(name)
    if not trained:
        return checkpoints.load_pretrained(name)
    run = runs.find(trained[1])
    if run is None:
        raise CheckpointError("the run that trained this network is deleted; choose another network.")
    return checkpoints.load(run.network_file(trained[2]))


# A session's own: what was computed of an uploaded picture goes when its session goes.
@st.cache_resource(max_entries=6, show_spinner=False, scope="session")
def _traced(key: str, _name: str, _subject: Subject, _target: int | None, _everything: bool) -> Trace:
    loaded = checkpoint(_name)
    image = to_input(_subject.pixels, loaded.spec.input_shape[1:], loaded.mean, loaded.std)
    with PASSES:
        return trace(loaded.network, image, _target, EVERYTHING if _everything else STRIP_KINDS)


def traced(name: str, subject: Subject, target: int | None, everything: bool) -> Trace:
    """The pass of this picture through this network; computed once for each content, network and target."""
    return _traced(_key(name, subject, target, everything), name, subject, target, everything)


@st.cache_resource(max_entries=6, show_spinner=False, scope="session")
def _profiled(key: str, _trace: Trace) -> tuple[LayerProfile, ...]:
    return profile(_trace)


def _key(name: str, subject: Subject, target: int | None, everything: bool) -> str:
    """One string, since Streamlit confuses nested dataclasses as keys."""
    return f"{name}/{subject.digest}/{target}/{everything}"


def profiled(name: str, subject: Subject, target: int | None, everything: bool) -> tuple[LayerProfile, ...]:
    """The depth strip's columns for that pass."""
    return _profiled(_key(name, subject, target, everything), traced(name, subject, target, everything))


@st.cache_data(max_entries=2000, show_spinner=False)
def sample(label: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    return shapes.sample(label, number)


def sample_subject(label: int, number: int) -> Subject:
    """A drawn shape, with its mask."""
    label = label % len(shapes.CLASS_NAMES)
    pixels, mask = sample(label, number)
    name = shapes.CLASS_NAMES[label]
    shown = figures.shown(pixels, PICTURE_SIDE)
    return Subject(pixels, shown, f"sample-{label}-{number}", f"drawn {name}, number {number}", (), mask, name)


def keep_picture(data: bytes, name: str) -> str:
    """Decodes a picture, keeps it for this session only, and returns the `picture` of an AppState that shows it.

    Raises ImageError with one sentence for a person.
    """
    picture = decode(data, name)
    content = hashlib.sha256(repr(picture.pixels.shape).encode())
    content.update(picture.pixels.data)
    digest = content.hexdigest()[:16]
    kept: dict[str, Subject] = st.session_state.setdefault("pictures", {})
    key = f"upload-{digest}"
    kept.pop(key, None)
    shown = figures.shown(picture.pixels, PICTURE_SIDE)
    quoted = f"`{picture.name}`"  # as code, else a name could be Markdown; `decode` leaves no backtick in it
    kept[key] = Subject(picture.pixels, shown, digest, quoted, picture.notes)
    for oldest in list(kept)[:-1]:
        if sum(subject.pixels.nbytes for subject in kept.values()) > SESSION_BYTES:
            del kept[oldest]
    return key


def subject_of(state: AppState) -> Subject | None:
    """The picture of this view, or None where it was uploaded in another session and is not here."""
    if state.sample is not None:
        return sample_subject(*state.sample)
    return st.session_state.get("pictures", {}).get(state.picture)


@dataclass(frozen=True, eq=False)
class Looked:
    """One network after it has seen the picture; `dashed` tells it from another of the same family and colour."""

    name: str
    checkpoint: Checkpoint
    trace: Trace
    profiles: tuple[LayerProfile, ...]
    colour: str
    dashed: bool

    @property
    def title(self) -> str:
        return self.checkpoint.spec.name

    @property
    def target(self) -> str:
        return self.checkpoint.class_names[self.trace.target]


def look(state: AppState, subject: Subject) -> list[Looked]:
    """The networks of the view, each after it has seen the picture."""
    colours = figures.NETWORK_COLOURS[theme()]
    looked: list[Looked] = []
    for name in filter(None, (state.first, state.second)):
        loaded = checkpoint(name)
        known = state.target is not None and state.target < len(loaded.class_names)
        target = state.target if known else None
        everything = state.layers == "all"
        colour = colours["plain" if loaded.spec.shortcut == "none" else "residual"]
        looked.append(
            Looked(
                name=name,
                checkpoint=loaded,
                trace=traced(name, subject, target, everything),
                profiles=profiled(name, subject, target, everything),
                colour=colour,
                dashed=any(other.colour == colour for other in looked),
            )
        )
    return looked


def owner() -> str:
    """Who this person is: a secret that their browser keeps in a cookie, so that they find their runs again."""
    known = _known_owner()
    if known:
        return known
    if "owner" not in st.session_state:
        st.session_state["owner"] = secrets.token_hex(16)
    return st.session_state["owner"]


def _known_owner() -> str | None:
    cookie = st.context.cookies.get(COOKIE)
    return cookie if isinstance(cookie, str) and runs.OWNER.fullmatch(cookie) else None


def remember_owner() -> None:
    """Gives the browser its secret, where it has none yet."""
    if not _known_owner():
        _cookie(key="cookie", data=f"{COOKIE}={owner()}; path=/; max-age=31536000; SameSite=Strict", height=0)


_cookie = st.components.v2.component(
    "cookie", js="export default function (component) {\n  document.cookie = component.data;\n}\n"
)


def theme() -> Literal["light", "dark"]:
    return "dark" if st.context.theme.type == "dark" else "light"
