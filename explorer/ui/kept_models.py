"""The models of a session: what it has uploaded, kept on disk while it lasts, and what was shared by a link."""

import gc
import json
import re
import secrets
import shutil
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import streamlit as st

from explorer import checkpoints, runs, weights_import
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.files import write_atomically
from explorer.runs import Run
from explorer.ui import visitor
from explorer.ui.services.caches import CACHES
from explorer.ui.session import session
from explorer.weights_import import Normalisation, Reading, Report

RUN_NETWORK = re.compile(rf"run-({runs.ID.pattern})-({runs.FILE.pattern})")
MINE = re.compile(r"mine-([0-9a-f]{16})")
SHARED = re.compile(r"shared-([0-9a-f]{32})")
UPLOADED = "uploaded, "  # before the family, as the data of a file that does not say its own
SESSION_BYTES = 300 * 2**20
ALL_BYTES = 2 * 2**30
SHARED_DAYS = 90
_LEFT_BEHIND = 86_400.0  # seconds before this server began: what is older belongs to no session of another server
_STARTED = time.time()
_READING = threading.BoundedSemaphore(1)  # a child may take gigabytes, so one at a time
_ROOM = threading.Lock()  # from counting what is there to writing what is new


@dataclass(frozen=True)
class SharedNote:
    """What is known of a shared model beside its file: who may delete it, and what it is called."""

    owner: str
    title: str


class _Folder:
    """A folder that is removed when nothing holds this any more, at the latest when the server ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remove = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)


def _grace() -> float:
    """Seconds in which a session whose connection is lost can come back."""
    return float(st.get_option("server.disconnectedSessionTTL")) + 1.0


class _Attendance:
    """Counts how often a session has come. Streamlit forgets the state of one that has gone only when another one
    comes, and Python collects it later still, so its folder is removed here, when it has not come back in time."""

    def __init__(self, folder: _Folder) -> None:
        self.folder = folder
        self.times = 0

    def come(self) -> Self:
        self.times += 1
        return self

    def go(self) -> None:
        timer = threading.Timer(_grace(), self._end, (self.times,))
        timer.daemon = True
        timer.start()

    def _end(self, times: int) -> None:
        if times == self.times:
            self.folder.remove()
            gc.collect()  # traces and networks of a session hang together in circles


@st.cache_resource(scope="session", show_spinner=False, on_release=_Attendance.go)
def _attending() -> _Attendance:
    """Made at the first look of a session, and again after each time that its connection was lost."""
    return st.session_state["attendance"].come()


def uploads_folder() -> Path:
    return runs.data_folder() / "uploads"


def shared_folder() -> Path:
    return runs.data_folder() / "shared"


def session_folder() -> Path:
    """This session's own folder. It goes with the session's state, which outlives a short loss of the connection."""
    kept: _Folder | None = st.session_state.get("uploads")
    if kept is None or not kept.path.is_dir():
        uploads_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_left_behind()
        kept = _Folder(Path(tempfile.mkdtemp(dir=uploads_folder())))
        st.session_state["uploads"] = kept
        st.session_state["attendance"] = _Attendance(kept)
        _attending.clear()
    _attending()
    return kept.path


def _remove_left_behind() -> None:
    """Folders of servers that were killed, those of this one are younger than it is; and shared models that nobody
    has opened for long."""
    for folder in uploads_folder().iterdir():
        with suppress(OSError):
            if folder.stat().st_mtime < _STARTED - _LEFT_BEHIND:
                shutil.rmtree(folder, ignore_errors=True)
    for path in shared_folder().glob("*") if shared_folder().is_dir() else ():
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - 86_400 * SHARED_DAYS:
                path.unlink()


def titles() -> dict[str, str]:
    """What this session calls its uploaded models, by name."""
    if "uploads" in st.session_state:
        _attending()
    return session().titles


def examine(data: bytes, name: str) -> Report:
    """What an uploaded file is. Raises ValueError with one sentence for a person."""
    try:
        path = session_folder() / "incoming"
        with _ROOM:
            _check_room(len(data))
            path.write_bytes(data)
        try:
            with _READING:
                return weights_import.read(path, name)
        finally:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f"the file cannot be kept ({error.strerror}); free some space on the disk.") from None


def _check_room(more: int, instead: Path | None = None) -> None:
    """For a file of that size, in the place of that one. Raises ValueError."""
    more -= instead.stat().st_size if instead else 0
    owner = visitor.owner()
    shared = [shared_folder() / f"{number}.safetensors" for number in shared_numbers(owner)]
    mine = _bytes_in(session_folder()) + sum(path.stat().st_size for path in shared)
    if mine + more > SESSION_BYTES:
        raise ValueError(
            f"your uploaded models would take {(mine + more) / 2**20:,.0f} MB and {SESSION_BYTES // 2**20} are yours; "
            "delete one first."
        )
    if _bytes_in(runs.data_folder() / "uploads") + _bytes_in(shared_folder()) + more > ALL_BYTES:
        raise ValueError("all sessions together have used up the space for models on this server; try again later.")


def _bytes_in(folder: Path) -> int:
    found = 0
    for path in folder.rglob("*") if folder.is_dir() else ():
        with suppress(OSError):
            found += path.stat().st_size
    return found


def keep(reading: Reading, normalisation: Normalisation, class_names: tuple[str, ...], title: str, data: str) -> str:
    """Keeps an uploaded network as a checkpoint of ours for this session, and returns its name.

    Raises ValueError with one sentence for a person.
    """
    return _keep(reading.checkpoint(data, normalisation, class_names), checked_title(title))


def checked_title(title: str) -> str:
    """What a person may call a model, on one line. Raises ValueError for no text, a very long one, and one with
    characters that cannot be shown or turn the words around them about."""
    title = " ".join(title.split())
    if not 1 <= len(title) <= 80 or not title.isprintable():
        raise ValueError("a name has 1 to 80 characters that can be shown.")
    return title


def _keep(checkpoint: Checkpoint, title: str, instead: Path | None = None) -> str:
    path = session_folder() / "new.safetensors"
    try:
        with _ROOM:
            _check_room(sum(4 * parameter.numel() for parameter in checkpoint.network.parameters()), instead)
            digest = checkpoints.save(checkpoint, path)
            path.rename(session_folder() / f"{digest[:16]}.safetensors")
    except OSError as error:
        raise ValueError(f"the model cannot be kept ({error.strerror}); free some space on the disk.") from None
    name = f"mine-{digest[:16]}"
    titles()[name] = title
    return name


def change(name: str, normalisation: Normalisation | None, class_names: tuple[str, ...]) -> str:
    """Gives an uploaded model other class names and, unless it is None, another normalisation; returns its new name.

    Figures that were measured with another normalisation go. Raises ValueError with one sentence for a person.
    """
    checkpoint = replace(load(name), class_names=class_names)
    if normalisation is not None and (checkpoint.mean, checkpoint.std) != (normalisation.mean, normalisation.std):
        checkpoint = replace(checkpoint, mean=normalisation.mean, std=normalisation.std, figures={})
    changed = _keep(checkpoint, titles()[name], instead=file_of(name))
    if changed != name:
        delete(name)
    return changed


def names() -> list[str]:
    """This session's uploaded models, then what this person has shared."""
    mine = [name for name in titles() if (path := file_of(name)) and path.is_file()]
    return [*mine, *(f"shared-{number}" for number in shared_numbers(visitor.owner()))]


def file_of(name: str) -> Path | None:
    """The file of an uploaded model of this session, or of a shared one; None where it is neither."""
    mine, shared = MINE.fullmatch(name), SHARED.fullmatch(name)
    if mine and name in titles():
        return session_folder() / f"{mine[1]}.safetensors"
    if shared:
        return shared_folder() / f"{shared[1]}.safetensors"
    return None


def load(name: str) -> Checkpoint:
    """Raises CheckpointError with one sentence."""
    path = file_of(name)
    if path is None or not path.is_file():
        raise CheckpointError(
            "this model was uploaded in another session, or is deleted; upload it again, or ask for a link to share it."
        )
    return _loaded(name, str(path))


@st.cache_resource(max_entries=CACHES["ui.kept_models._loaded"].entries, show_spinner=False, scope="session")
def _loaded(name: str, _path: str) -> Checkpoint:
    if SHARED.fullmatch(name):
        for path in (Path(_path), Path(_path).with_suffix(".json")):
            with suppress(OSError):
                path.touch()  # it is still wanted
    return checkpoints.load(_path)


def run_of(name: str) -> Run | None:
    """The run that trained that network, or None."""
    trained = RUN_NETWORK.fullmatch(name)
    return runs.find(trained[1]) if trained else None


def title_of(name: str) -> str:
    """What its owner calls it, or "" for what was never given a name."""
    if run := run_of(name):
        return run.title()
    shared = SHARED.fullmatch(name)
    return (note.title if (note := _note(shared[1])) else "") if shared else titles().get(name, "")


def rename(name: str, title: str) -> None:
    """Calls the model something else; the networks of one run have one name. Raises ValueError as `checked_title`
    does, and OSError where it cannot be written."""
    title = checked_title(title)
    shared = SHARED.fullmatch(name)
    if run := run_of(name):
        if is_mine(name):
            run.write_title(title)
    elif shared is None:
        titles()[name] = title
    elif (note := _note(shared[1])) and note.owner == visitor.owner():
        _write_note(shared[1], replace(note, title=title))


def share(name: str) -> str:
    """Makes an uploaded model open to everyone who is given its link, until its owner deletes it. Raises ValueError or
    OSError where it is gone or cannot be kept."""
    path = file_of(name)
    if path is None or not path.is_file() or name not in titles():
        raise ValueError("this model is not here any more; upload it again.")
    number = secrets.token_hex(16)
    shared_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(shared_folder() / f"{number}.safetensors", path.read_bytes())
    _write_note(number, SharedNote(visitor.owner(), titles()[name]))
    delete(name)
    return f"shared-{number}"


def delete(name: str) -> None:
    """Removes a model of this session, one that this person has shared, or a run of theirs with all its networks.

    Raises ValueError or OSError where it cannot be removed.
    """
    if not is_mine(name):
        return
    if run := run_of(name):
        runs.delete(run)
        return
    path = file_of(name)
    assert path is not None
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)
    titles().pop(name, None)


def is_mine(name: str) -> bool:
    if run := run_of(name):
        with suppress(ValueError):  # its request is damaged: then it is nobody's
            return run.request().owner == visitor.owner()
        return False
    shared = SHARED.fullmatch(name)
    return name in titles() if shared is None else bool((note := _note(shared[1])) and note.owner == visitor.owner())


def shared_numbers(owner: str) -> list[str]:
    folder = shared_folder()
    found = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [
        path.stem
        for path in found
        if (note := _note(path.stem)) and note.owner == owner and path.with_suffix(".safetensors").is_file()
    ]


def _note(number: str) -> SharedNote | None:
    try:
        return SharedNote(**json.loads((shared_folder() / f"{number}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _write_note(number: str, note: SharedNote) -> None:
    text = json.dumps({"owner": note.owner, "title": note.title})
    write_atomically(shared_folder() / f"{number}.json", text.encode())
