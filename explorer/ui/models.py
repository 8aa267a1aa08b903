"""The models of a session: what it has uploaded, kept on disk while it lasts, and what was shared by a link."""

import json
import re
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from explorer import checkpoints, foreign, runs
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.files import write_atomically
from explorer.foreign import Normalisation, Reading, Report
from explorer.ui import visitor

MINE = re.compile(r"mine-([0-9a-f]{16})")
SHARED = re.compile(r"shared-([0-9a-f]{32})")
SESSION_BYTES = 300 * 2**20
ALL_BYTES = 2 * 2**30
_LEFT_BEHIND = 86_400.0  # seconds after which the folder of a session that ended without a word is removed


@dataclass(frozen=True)
class SharedNote:
    """What is known of a shared model beside its file: who may delete it, and what it is called."""

    owner: str
    title: str


def uploads_folder() -> Path:
    return runs.data_folder() / "uploads"


def shared_folder() -> Path:
    return runs.data_folder() / "shared"


@st.cache_resource(scope="session", show_spinner=False, on_release=lambda folder: shutil.rmtree(folder, True))
def session_folder() -> Path:
    """This session's own folder, which goes when the session goes."""
    folder = uploads_folder() / secrets.token_hex(16)
    folder.mkdir(parents=True, mode=0o700)
    for other in uploads_folder().iterdir():
        with suppress(OSError):
            if other != folder and time.time() - other.stat().st_mtime > _LEFT_BEHIND:
                shutil.rmtree(other, ignore_errors=True)
    return folder


def titles() -> dict[str, str]:
    """What this session calls its uploaded models, by name."""
    return st.session_state.setdefault("titles", {})


def examine(data: bytes, name: str) -> Report:
    """What an uploaded file is. Raises ValueError with one sentence for a person."""
    _check_room(len(data))
    path = session_folder() / "incoming"
    try:
        path.write_bytes(data)
        return foreign.read(path, name)
    except OSError as error:
        raise ValueError(f"the file cannot be kept ({error.strerror}); free some space on the disk.") from None
    finally:
        path.unlink(missing_ok=True)


def _check_room(more: int) -> None:
    mine = _bytes_in(session_folder())
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
    checkpoint = Checkpoint(
        network=reading.network(),
        class_names=class_names,
        mean=normalisation.mean,
        std=normalisation.std,
        data=data,
        # Networks for 224 pixels were trained on the middle of pictures whose shorter side had become 256.
        resize_shorter_to=256 if max(reading.spec.input_shape) == 224 else None,
    )
    _check_room(sum(4 * parameter.numel() for parameter in checkpoint.network.parameters()))
    return keep_checkpoint(checkpoint, title)


def keep_checkpoint(checkpoint: Checkpoint, title: str) -> str:
    path = session_folder() / "new.safetensors"
    try:
        digest = checkpoints.save(checkpoint, path)
    except OSError as error:
        raise ValueError(f"the model cannot be kept ({error.strerror}); free some space on the disk.") from None
    name = f"mine-{digest[:16]}"
    path.rename(session_folder() / f"{digest[:16]}.safetensors")
    titles()[name] = title
    return name


def names() -> list[str]:
    """This session's uploaded models, then what this person has shared."""
    return [*titles(), *(f"shared-{number}" for number in shared_numbers(visitor.owner()))]


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


@st.cache_resource(max_entries=4, show_spinner=False, scope="session")
def _loaded(name: str, _path: str) -> Checkpoint:
    return checkpoints.load(_path)


def title_of(name: str) -> str:
    shared = SHARED.fullmatch(name)
    return (note.title if (note := _note(shared[1])) else "") if shared else titles().get(name, "")


def rename(name: str, title: str) -> None:
    """Calls the model something else. Raises ValueError for no text or a very long one."""
    title = " ".join(title.split())
    if not 1 <= len(title) <= 80 or not title.isprintable():
        raise ValueError("a name has 1 to 80 characters that can be shown.")
    shared = SHARED.fullmatch(name)
    if shared is None:
        titles()[name] = title
    elif (note := _note(shared[1])) and note.owner == visitor.owner():
        _write_note(shared[1], replace(note, title=title))


def share(name: str) -> str:
    """Makes an uploaded model open to everyone who is given its link, until its owner deletes it."""
    path = file_of(name)
    assert path is not None
    number = secrets.token_hex(16)
    shared_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(shared_folder() / f"{number}.safetensors", path.read_bytes())
    _write_note(number, SharedNote(visitor.owner(), titles()[name]))
    delete(name)
    return f"shared-{number}"


def delete(name: str) -> None:
    """Removes a model of this session, or one that this person has shared."""
    shared = SHARED.fullmatch(name)
    path = file_of(name)
    if path is None or (shared and not is_mine(name)):
        return
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)
    titles().pop(name, None)


def is_mine(name: str) -> bool:
    shared = SHARED.fullmatch(name)
    return name in titles() if shared is None else bool((note := _note(shared[1])) and note.owner == visitor.owner())


def shared_numbers(owner: str) -> list[str]:
    folder = shared_folder()
    found = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [path.stem for path in found if (note := _note(path.stem)) and note.owner == owner]


def _note(number: str) -> SharedNote | None:
    try:
        return SharedNote(**json.loads((shared_folder() / f"{number}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _write_note(number: str, note: SharedNote) -> None:
    text = json.dumps({"owner": note.owner, "title": note.title})
    write_atomically(shared_folder() / f"{number}.json", text.encode())
