"""What Explore shows now: the view of the URL, its picture, and the networks after they have seen it."""

from dataclasses import dataclass

import streamlit as st

from explorer.ui import controls, resources
from explorer.ui.resources import Looked, Subject
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
        return f"{self.subject.digest}/{self.state.layers}/{'/'.join(seen)}"


def read() -> Explained:
    """That of the URL. The session keeps it as the last one."""
    state = controls.read()
    subject = resources.subject_of(state)
    drawn = subject or resources.sample_subject(6, 6)
    explained = Explained(state, drawn, subject is None, resources.look(state, drawn))
    last().update(explained=explained)
    return explained


def last() -> dict[str, Explained]:
    """The last one, as "explained", for what is computed outside of any run, when somebody asks for it."""
    kept: dict[str, Explained] = st.session_state.setdefault("last", {})
    return kept
