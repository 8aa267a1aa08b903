"""The models of a session: its uploads, on disk while it lasts, and those that the user has shared by a link."""

import re
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import streamlit as st

from explorer import checkpoints, runs, weights_import
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.files import write_atomically
from explorer.machine import disk
from explorer.runs import Run
from explorer.ui import client
from explorer.ui.services import model_store
from explorer.ui.services.caches import CACHES
from explorer.ui.services.inference import STEP_MARK
from explorer.ui.services.model_store import ModelInfo, SessionFolder, StoredModel, models_of, shared_folder
from explorer.weights_import import Normalisation, Reading, Report

RUN_NETWORK_ID = re.compile(rf"run-({runs.ID.pattern})-({runs.FILE.pattern})(?:{STEP_MARK}([0-9]{{1,10}}))?")
"""The run, the network's file, and the step of its training at which it is meant."""
UPLOAD_ID = re.compile(r"mine-([0-9a-f]{16})")
SHARED_ID = re.compile(r"shared-([0-9a-f]{32})")
SHARED_DAYS = model_store.SHARED_DAYS
_inspection_slot = threading.BoundedSemaphore(1)  # a child may take gigabytes, so one at a time
_quota_lock = threading.Lock()  # from counting the bytes on disk to writing new ones


@st.cache_resource(scope="session", show_spinner=False, on_release=SessionFolder.on_disconnect)
def _connected() -> SessionFolder:
    """Computed once for each connection: Streamlit releases it when the connection is lost."""
    folder: SessionFolder = st.session_state["uploads"]
    return folder.on_connect()


def session_folder() -> Path:
    """This session's own folder. It goes with the session's state, which survives a short loss of the connection."""
    folder: SessionFolder | None = st.session_state.get("uploads")
    if folder is None or not folder.path.is_dir():
        uploads = model_store.uploads_folder()
        uploads.mkdir(parents=True, exist_ok=True, mode=0o700)
        model_store.remove_expired()
        limit_s = float(st.get_option("server.disconnectedSessionTTL")) + 1.0
        folder = SessionFolder(Path(tempfile.mkdtemp(dir=uploads)), limit_s)
        st.session_state["uploads"] = folder
        _connected.clear()
    _connected()
    return folder.path


def _uploads() -> list[StoredModel]:
    return models_of(client.owner(), session_folder()) if "uploads" in st.session_state else []


def names() -> list[str]:
    """This session's uploaded models, then those that the user has shared."""
    shared = models_of(client.owner(), shared_folder())
    return [*(f"mine-{model.path.stem}" for model in _uploads()), *(f"shared-{model.path.stem}" for model in shared)]


def find(name: str) -> StoredModel | None:
    """An upload of this session, or a shared model of any user; None for any other name."""
    if upload := UPLOAD_ID.fullmatch(name):
        return next((model for model in _uploads() if model.path.stem == upload[1]), None)
    shared = SHARED_ID.fullmatch(name)
    model = StoredModel(shared_folder() / f"{shared[1]}.safetensors") if shared else None
    return model if model and model.path.is_file() else None


@contextmanager
def _disk_errors_as_sentences(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(f"{what} cannot be kept ({error.strerror}); free some space on the disk.") from None


def inspect_upload(data: bytes, name: str) -> Report:
    """What an uploaded file is. Raises ValueError with one sentence for the user."""
    with _disk_errors_as_sentences("the file"):
        folder = session_folder()
        with _quota_lock:
            model_store.check_quota(client.owner(), folder, len(data))
            # A name of its own: a run that a second file supersedes may still read, and then removes, the first one.
            with tempfile.NamedTemporaryFile(dir=folder, prefix="incoming-", delete=False) as file:
                path = Path(file.name)
                file.write(data)
        try:
            with _inspection_slot:
                return weights_import.read(path, name)
        finally:
            with suppress(OSError):  # what was read is right all the same, and the folder goes with the session
                disk.remove(path)


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


def _write_upload(checkpoint: Checkpoint, title: str, instead_of: StoredModel | None = None) -> str:
    more = sum(4 * parameter.numel() for parameter in checkpoint.network.parameters())
    with _disk_errors_as_sentences("the model"):
        path = session_folder() / "new.safetensors"
        with _quota_lock:
            more -= instead_of.path.stat().st_size if instead_of else 0
            model_store.check_quota(client.owner(), session_folder(), more)
            digest = checkpoints.save(checkpoint, path)[:16]
            model = StoredModel(session_folder() / f"{digest}.safetensors")
            disk.replace(path, model.path)  # the same weights may be there already
            model.write_info(ModelInfo(client.owner(), title))
    return f"mine-{digest}"


def update_metadata(name: str, normalisation: Normalisation | None, class_names: tuple[str, ...]) -> str:
    """Gives an uploaded model other class names and, unless it is None, another normalisation; returns its new name.

    Another normalisation removes the measured figures. Raises ValueError with one sentence for the user.
    """
    checkpoint = replace(checkpoints.load(path(name)), class_names=class_names)
    chosen = normalisation and normalisation.of(checkpoint.spec.input_shape[0])
    if chosen is not None and (checkpoint.mean, checkpoint.std) != (chosen.mean, chosen.std):
        checkpoint = replace(checkpoint, mean=chosen.mean, std=chosen.std, metrics={})
    changed = _write_upload(checkpoint, title_of(name), instead_of=find(name))
    if changed != name:
        delete(name)
    return changed


def is_model(name: str) -> bool:
    """Whether that is the name of an upload or of a shared model, here or not."""
    return bool(UPLOAD_ID.fullmatch(name) or SHARED_ID.fullmatch(name))


def path(name: str) -> Path:
    """The file of that model, whose content its name tells. Raises CheckpointError with one sentence."""
    model = find(name)
    if model is None:
        raise CheckpointError(
            "this model was uploaded in another session, or is deleted; upload it again, or ask for a link to share it."
        )
    if SHARED_ID.fullmatch(name):
        _touch(name, model)
    return model.path


@st.cache_resource(max_entries=CACHES["ui.user_models._touch"].entries, show_spinner=False, scope="session")
def _touch(name: str, _model: StoredModel) -> None:
    """A shared model stays for another SHARED_DAYS after a session has opened it."""
    _model.touch()


def run_of(name: str) -> Run | None:
    """The run that trained that network, or None."""
    trained = RUN_NETWORK_ID.fullmatch(name)
    return runs.find(trained[1]) if trained else None


def title_of(name: str) -> str:
    """The owner's title of that model, "" without one."""
    if run := run_of(name):
        return run.title()
    info = _info(name)
    return info.title if info else ""


def is_owned(name: str) -> bool:
    if run := run_of(name):
        with suppress(ValueError):  # of a damaged request, which names no owner
            return run.request().owner == client.owner()
    info = _info(name)
    return info is not None and info.owner == client.owner()


def _info(name: str) -> ModelInfo | None:
    model = find(name)
    return model.info if model else None


def rename(name: str, title: str) -> None:
    """Gives the user's model another title; the networks of one run have one. Raises ValueError as `validate_title`
    does, and OSError where it cannot be written."""
    title = validate_title(title)
    if not is_owned(name):
        return
    if run := run_of(name):
        run.write_title(title)
    elif model := find(name):
        model.write_info(ModelInfo(client.owner(), title))


def share(name: str) -> str:
    """Opens an uploaded model to everyone who has its link, until its owner deletes it. Returns its new name. Raises
    ValueError or OSError where it is gone or cannot be written."""
    model = find(name)
    if model is None:
        raise ValueError("this model is not here any more; upload it again.")
    shared_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    shared = StoredModel(shared_folder() / f"{secrets.token_hex(16)}.safetensors")
    write_atomically(shared.path, model.path.read_bytes())
    shared.write_info(ModelInfo(client.owner(), title_of(name)))
    model.delete()
    return f"shared-{shared.path.stem}"


def delete(name: str) -> None:
    """Removes a model of the user, or the run that trained it with all its networks.

    Raises ValueError or OSError where it cannot be removed.
    """
    if not is_owned(name):
        return
    if run := run_of(name):
        runs.delete(run)
    elif model := find(name):
        model.delete()
