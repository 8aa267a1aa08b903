"""What Explore shows now: the view of the URL, its picture, and the networks after they have seen it."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from explorer import published
from explorer.checkpoints import CheckpointError
from explorer.datasets import shapes
from explorer.pretrained import CIFAR_DATA
from explorer.ui import controls, resources
from explorer.ui.passes import Looked, Subject, sample_subject
from explorer.ui.state import AppState


@dataclass(frozen=True, eq=False)
class Explained:
    """`subject` is a drawn shape where the picture of the view is `missing`: uploaded in another session."""

    state: AppState
    subject: Subject
    missing: bool
    looked: list[Looked]

    @property
    def drawing(self) -> str:
        """Names all that the depth strip shows."""
        seen = [f"{network.name}/{network.title}/{network.trace.target}/{network.colour}" for network in self.looked]
        mask = self.subject.mask is not None
        return f"{self.subject.digest}/{mask}/{self.state.layers}/{'/'.join(seen)}"


def read() -> Explained:
    """That of the URL. The session keeps it as the last one."""
    state = controls.read()
    subject = resources.subject_of(state)
    drawn = subject or sample_subject(6, 6)
    explained = Explained(state, drawn, subject is None, resources.look(state, drawn))
    with resources.passes().lock:  # else a drawing that is being computed could take its place, with older networks
        last().update(explained=explained)
    st.session_state["around"] = _around(explained)
    return explained


def again() -> Explained:
    """The same for a part of the page that runs alone. It runs the whole page instead where that would look different:
    with a picture of another kind, with any other one beside a tab that shows it too, or when a shared network was
    deleted meanwhile."""
    before = st.session_state["around"]
    try:
        explained = read()
    except CheckpointError:
        st.rerun()
    if _around(explained) != before:
        st.rerun()
    return explained


def _around(explained: Explained) -> list[Any]:
    """What the page around the overview was drawn for."""
    state = explained.state
    beside = None if state.tab == "layer" else state.picture
    return [[network.name for network in explained.looked], state.tab, beside, explained.missing, others(explained)]


def others(explained: Explained) -> tuple[str, str, tuple[str, str | None]] | None:
    """Twins that might know this picture, where those of the page cannot: (why, words on the button, their names)."""
    about, drawn = explained.looked[0].checkpoint, explained.subject.mask is not None
    data, known, label = about.data, shapes.named(about.data), explained.subject.label
    if known and label is not None and label not in about.class_names:
        why = f"These networks have never seen a {label}: they tell only {', '.join(about.class_names)} apart."
        words, names = "Look with the twins that know all shapes", (AppState.first, AppState.second)
    elif known and not drawn:
        why = "These networks have only ever seen drawn shapes, so what they say of a photo means little."
        words, names = "Look with the CIFAR-10 twins", resources.twins_on(CIFAR_DATA)
    elif data in (CIFAR_DATA, published.DATA) and drawn:
        why = "These networks have only ever seen photographs, so what they say of a drawn shape means little."
        words, names = "Look with the shapes twins", (AppState.first, AppState.second)
    else:
        return None
    return (why, words, names) if names[0] in resources.network_names() else None


def last() -> dict[str, Explained]:
    """The last one, as "explained", for what is computed outside of any run, when somebody asks for it."""
    kept: dict[str, Explained] = st.session_state.setdefault("last", {})
    return kept
