"""The models of a session: its uploads, on disk while it lasts, and those that it has shared by a link."""

import gc
import json
import re
import secrets
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import streamlit as st

from explorer import checkpoints, foreign, runs
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.files import write_atomically
from explorer.foreign import Normalisation, Reading, Report
from explorer.runs import Run
from explorer.ui import client
from explorer.ui.services.caches import CACHES
from explorer.ui.session import session

RUN_NETWORK_ID = re.compile(rf"run-({runs.ID.pattern})-({runs.FILE.pattern})")
UPLOAD_ID = re.compile(r"mine-([0-9a-f]{16})")
SHARED_ID = re.compile(r"shared-([0-9a-f]{32})")
SESSION_QUOTA_BYTES = 300 * 2**20
TOTAL_QUOTA_BYTES = 2 * 2**30
SHARED_DAYS = 90
_ORPHAN_AGE_S = 86_400.0  # before the start of this server: older folders belong to no session of another server
_STARTED = time.time()
_inspection_slot = threading.BoundedSemaphore(1)  # a child may take gigabytes, so one at a time
_quota_lock = threading.Lock()  # from counting the bytes on disk to writing new ones


@dataclass(frozen=True)
class SharedModelInfo:
    """Who may delete a shared model, and its title: stored beside its file."""

    owner: str
    title: str


def _reconnect_limit_s() -> float:
    return float(st.get_option("server.disconnectedSessionTTL")) + 1.0


class SessionFolder:
    """The folder of a session's uploads. It is removed when the session has not reconnected in time, at the latest when
    the server ends. Streamlit frees a closed session only when the next one opens, so a timer removes the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._remove = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        self._connections = 0

    def on_connect(self) -> Self:
        self._connections += 1
        return self

    def on_disconnect(self) -> None:
        timer = threading.Timer(_reconnect_limit_s(), self._remove_if_gone, (self._connections,))
        timer.daemon = True
        timer.start()

    def _remove_if_gone(self, connections: int) -> None:
        if connections == self._connections:
            self._remove()
            gc.collect()  # the traces and networks of a session hold each other in circles


@st.cache_resource(scope="session", show_spinner=False, on_release=SessionFolder.on_disconnect)
def _connected() -> SessionFolder:
    """Computed once for each connection: Streamlit releases it when the connection is lost."""
    folder: SessionFolder = st.session_state["uploads"]
    return folder.on_connect()


def uploads_folder() -> Path:
    return runs.data_folder() / "uploads"


def shared_folder() -> Path:
    return runs.data_folder() / "shared"


def session_folder() -> Path:
    """This session's own folder. It goes with the session's state, which survives a short loss of the connection."""
    folder: SessionFolder | None = st.session_state.get("uploads")
    if folder is None or not folder.path.is_dir():
        uploads_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_expired()
        folder = SessionFolder(Path(tempfile.mkdtemp(dir=uploads_folder())))
        st.session_state["uploads"] = folder
        _connected.clear()
    _connected()
    return folder.path


def _remove_expired() -> None:
    """Removes the folders of servers that were killed, and shared models that were not opened for SHARED_DAYS."""
    oldest = time.time() - 86_400 * SHARED_DAYS
    for folder, limit in ((uploads_folder(), _STARTED - _ORPHAN_AGE_S), (shared_folder(), oldest)):
        for path in folder.glob("*"):
            with suppress(OSError):
                if path.stat().st_mtime >= limit:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def titles() -> dict[str, str]:
    """The titles of this session's uploads, by name."""
    if "uploads" in st.session_state:
        _connected()
    return session().titles


@contextmanager
def _disk_errors_as_sentences(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(f"{what} cannot be kept ({error.strerror}); free some space on the disk.") from None


def inspect_upload(data: bytes, name: str) -> Report:
    """What an uploaded file is. Raises ValueError with one sentence for the user."""
    with _disk_errors_as_sentences("the file"):
        path = session_folder() / "incoming"
        with _quota_lock:
            _check_quota(len(data))
            path.write_bytes(data)
        try:
            with _inspection_slot:
                return foreign.read(path, name)
        finally:
            path.unlink(missing_ok=True)


def _check_quota(more: int, instead: Path | None = None) -> None:
    """Whether a file of `more` bytes may be written in the place of `instead`. Raises ValueError."""
    more -= instead.stat().st_size if instead else 0
    shared = [_shared_file(shared_id) for shared_id in _shared_ids(client.owner())]
    own = _bytes_in(session_folder()) + sum(path.stat().st_size for path in shared)
    if own + more > SESSION_QUOTA_BYTES:
        raise ValueError(
            f"your uploaded models would take {(own + more) / 2**20:,.0f} MB and {SESSION_QUOTA_BYTES // 2**20} are "
            "yours; delete one first."
        )
    if _bytes_in(uploads_folder()) + _bytes_in(shared_folder()) + more > TOTAL_QUOTA_BYTES:
        raise ValueError("all sessions together have used up the space for models on this server; try again later.")


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def save_upload(
    reading: Reading, normalisation: Normalisation, class_names: tuple[str, ...], title: str, data: str
) -> str:
    """Saves an uploaded network as a checkpoint for this session. Returns its name.

    Raises ValueError with one sentence for the user.
    """
    return _write_upload(reading.checkpoint(data, normalisation, class_names), validate_title(title))


def validate_title(title: str) -> str:
    """The title on one line. Raises ValueError for an empty or very long one, and for characters that cannot be shown
    or reverse the text around them."""
    title = " ".join(title.split())
    if not 1 <= len(title) <= 80 or not title.isprintable():
        raise ValueError("a name has 1 to 80 characters that can be shown.")
    return title


def _write_upload(checkpoint: Checkpoint, title: str, instead: Path | None = None) -> str:
    with _disk_errors_as_sentences("the model"):
        path = session_folder() / "new.safetensors"
        with _quota_lock:
            _check_quota(sum(4 * parameter.numel() for parameter in checkpoint.network.parameters()), instead)
            digest = checkpoints.save(checkpoint, path)[:16]
            path.rename(session_folder() / f"{digest}.safetensors")
    titles()[f"mine-{digest}"] = title
    return f"mine-{digest}"


def update_metadata(name: str, normalisation: Normalisation | None, class_names: tuple[str, ...]) -> str:
    """Gives an uploaded model other class names and, unless it is None, another normalisation; returns its new name.

    Another normalisation removes the measured figures. Raises ValueError with one sentence for the user.
    """
    checkpoint = replace(load(name), class_names=class_names)
    if normalisation is not None and (checkpoint.mean, checkpoint.std) != (normalisation.mean, normalisation.std):
        checkpoint = replace(checkpoint, mean=normalisation.mean, std=normalisation.std, figures={})
    changed = _write_upload(checkpoint, titles()[name], instead=file_of(name))
    if changed != name:
        delete(name)
    return changed


def names() -> list[str]:
    """This session's uploaded models, then those that the user has shared."""
    uploads = [name for name in titles() if (path := file_of(name)) and path.is_file()]
    return [*uploads, *(f"shared-{shared_id}" for shared_id in _shared_ids(client.owner()))]


def file_of(name: str) -> Path | None:
    """The file of an upload of this session, or of a shared model; None for any other name."""
    if (upload := UPLOAD_ID.fullmatch(name)) and name in titles():
        return session_folder() / f"{upload[1]}.safetensors"
    shared = SHARED_ID.fullmatch(name)
    return _shared_file(shared[1]) if shared else None


def load(name: str) -> Checkpoint:
    """Raises CheckpointError with one sentence."""
    path = file_of(name)
    if path is None or not path.is_file():
        raise CheckpointError(
            "this model was uploaded in another session, or is deleted; upload it again, or ask for a link to share it."
        )
    return _loaded(name, str(path))


@st.cache_resource(max_entries=CACHES["ui.user_models._loaded"].entries, show_spinner=False, scope="session")
def _loaded(name: str, _path: str) -> Checkpoint:
    if SHARED_ID.fullmatch(name):  # it was opened, so it stays for SHARED_DAYS
        for path in (Path(_path), Path(_path).with_suffix(".json")):
            with suppress(OSError):
                path.touch()
    return checkpoints.load(_path)


def run_of(name: str) -> Run | None:
    """The run that trained that network, or None."""
    trained = RUN_NETWORK_ID.fullmatch(name)
    return runs.find(trained[1]) if trained else None


def title_of(name: str) -> str:
    """The owner's title of that model, "" without one."""
    if run := run_of(name):
        return run.title()
    if SHARED_ID.fullmatch(name):
        info = _shared_info(name)
        return info.title if info else ""
    return titles().get(name, "")


def rename(name: str, title: str) -> None:
    """Gives the model another title; the networks of one run have one. Raises ValueError as `validate_title` does, and
    OSError where it cannot be written."""
    title = validate_title(title)
    if not SHARED_ID.fullmatch(name) and not RUN_NETWORK_ID.fullmatch(name):
        titles()[name] = title
    elif not is_owned(name):
        return
    elif run := run_of(name):
        run.write_title(title)
    else:
        _write_shared_info(name, title)


def share(name: str) -> str:
    """Opens an uploaded model to everyone who has its link, until its owner deletes it. Returns its new name. Raises
    ValueError or OSError where it is gone or cannot be written."""
    path = file_of(name)
    if path is None or not path.is_file() or name not in titles():
        raise ValueError("this model is not here any more; upload it again.")
    shared_id = secrets.token_hex(16)
    shared_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(_shared_file(shared_id), path.read_bytes())
    _write_shared_info(f"shared-{shared_id}", titles()[name])
    delete(name)
    return f"shared-{shared_id}"


def delete(name: str) -> None:
    """Removes a model of this session, one that the user has shared, or a run of theirs with all its networks.

    Raises ValueError or OSError where it cannot be removed.
    """
    if not is_owned(name):
        return
    if run := run_of(name):
        runs.delete(run)
        return
    path = file_of(name)
    assert path is not None
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)
    titles().pop(name, None)


def is_owned(name: str) -> bool:
    if run := run_of(name):
        with suppress(ValueError):  # of a damaged request, which names no owner
            return run.request().owner == client.owner()
        return False
    if SHARED_ID.fullmatch(name):
        info = _shared_info(name)
        return info is not None and info.owner == client.owner()
    return name in titles()


def _shared_ids(owner: str) -> list[str]:
    found = sorted(path.stem for path in shared_folder().glob("*.json"))
    infos = {shared_id: _shared_info(f"shared-{shared_id}") for shared_id in found}
    return [each for each, info in infos.items() if info and info.owner == owner and _shared_file(each).is_file()]


def _shared_file(shared_id: str) -> Path:
    return shared_folder() / f"{shared_id}.safetensors"


def _shared_info(name: str) -> SharedModelInfo | None:
    try:
        text = (shared_folder() / f"{name.removeprefix('shared-')}.json").read_text()
        return SharedModelInfo(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return None


def _write_shared_info(name: str, title: str) -> None:
    text = json.dumps(asdict(SharedModelInfo(client.owner(), title)))
    write_atomically(shared_folder() / f"{name.removeprefix('shared-')}.json", text.encode())
