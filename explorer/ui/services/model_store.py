"""Models that users bring, on disk: in the folder of a session, or in that of all shared models."""

import gc
import json
import shutil
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from explorer import runs
from explorer.files import bytes_of, write_atomically
from explorer.machine import disk

SESSION_QUOTA_BYTES = 300 * 2**20
TOTAL_QUOTA_BYTES = 2 * 2**30
SHARED_DAYS = 90
_ORPHAN_AGE_S = 86_400.0  # before the start of this server: older folders belong to no session of another server
_STARTED = time.time()


@dataclass(frozen=True)
class ModelInfo:
    """Who may change or delete a model, and its title."""

    owner: str
    title: str


@dataclass(frozen=True)
class StoredModel:
    """A checkpoint file at `path`, and beside it a JSON file with its info."""

    path: Path

    @property
    def info(self) -> ModelInfo | None:
        """None where it is damaged or missing."""
        try:
            return ModelInfo(**json.loads(self.path.with_suffix(".json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write_info(self, info: ModelInfo) -> None:
        write_atomically(self.path.with_suffix(".json"), json.dumps(asdict(info)).encode())

    def touch(self) -> None:
        """Lets a shared model stay for another SHARED_DAYS."""
        for path in (self.path, self.path.with_suffix(".json")):
            with suppress(OSError):
                path.touch()

    def delete(self) -> None:
        disk.remove(self.path)
        disk.remove(self.path.with_suffix(".json"))


def models_of(owner: str, folder: Path) -> list[StoredModel]:
    """The owner's models in that folder, the oldest first."""
    models = [StoredModel(path.with_suffix(".safetensors")) for path in folder.glob("*.json")]
    owned = [model for model in models if (info := model.info) and info.owner == owner and model.path.is_file()]
    return sorted(owned, key=lambda model: model.path.stat().st_mtime)


class SessionFolder:
    """The folder of a session's uploads. It is removed when the session has not reconnected in time, at the latest when
    the server ends. Streamlit frees a closed session only when the next one opens, so a timer removes the folder."""

    def __init__(self, path: Path, reconnect_limit_s: float) -> None:
        self.path, self._reconnect_limit_s = path, reconnect_limit_s
        self._remove = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        self._connections = 0

    def on_connect(self) -> Self:
        self._connections += 1
        return self

    def on_disconnect(self) -> None:
        timer = threading.Timer(self._reconnect_limit_s, self._remove_if_gone, (self._connections,))
        timer.daemon = True
        timer.start()

    def _remove_if_gone(self, connections: int) -> None:
        if connections == self._connections:
            self._remove()
            gc.collect()  # the traces and networks of a session hold each other in circles


def uploads_folder() -> Path:
    return runs.data_folder() / "uploads"


def shared_folder() -> Path:
    return runs.data_folder() / "shared"


def remove_expired() -> None:
    """Removes the folders of servers that were killed, and shared models that were not opened for SHARED_DAYS."""
    oldest_shared = time.time() - 86_400 * SHARED_DAYS
    for folder in uploads_folder().glob("*"):
        with suppress(OSError):
            if folder.stat().st_mtime < _STARTED - _ORPHAN_AGE_S:
                shutil.rmtree(folder, ignore_errors=True)
    for path in shared_folder().glob("*"):
        with suppress(OSError):
            if path.stat().st_mtime < oldest_shared:
                disk.remove(path)


def check_quota(owner: str, folder: Path, more: int) -> None:
    """Whether the session with that folder may store `more` bytes. Raises ValueError with one sentence."""
    own = bytes_of([*folder.rglob("*"), *(model.path for model in models_of(owner, shared_folder()))])
    if own + more > SESSION_QUOTA_BYTES:
        raise ValueError(
            f"your uploaded models would take {(own + more) / 2**20:,.0f} MB and {SESSION_QUOTA_BYTES // 2**20} are "
            "yours; delete one first."
        )
    stored = sum(bytes_of(each.rglob("*")) for each in (uploads_folder(), shared_folder()))
    if stored + more > TOTAL_QUOTA_BYTES:
        raise ValueError("all sessions together have used up the space for models on this server; try again later.")
