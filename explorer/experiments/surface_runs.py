"""`SurfaceRun`: loss surfaces measured by a process of their own, which outlives the page.

The folder holds all that the process needs, so it reads no other data. `surface_process` is what the process does.
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from explorer.files import FileIn, bytes_of, npz, room_left, write_atomically
from explorer.machine import disk
from explorer.machine.locks import Lock, guard, inherited, is_held, take
from explorer.machine.memory import MALLOC_ENV
from explorer.machine.processes import await_later
from explorer.runs import ID, OWNER, data_folder
from explorer.runs.command import start_command

if TYPE_CHECKING:
    from explorer.checkpoints import Checkpoint
    from explorer.datasets import Split
    from explorer.experiments.loss_surface import Surface, SurfaceSettings

LOCK_ENV = "EXPLORER_SURFACE_LOCK"
"""Environment variable that tells a surface's process which lock was passed on to it."""
_GUARD = ".guard"
MOST_ALIVE = 10  # waiting or measuring
DISK_RESERVE = 2**27  # bytes that must be free to begin
QUOTA_BYTES = 2_000_000_000  # of all surfaces of one owner; a finished one takes kilobytes

SurfaceState = Literal["new", "waiting", "measuring", "finished", "stopped", "failed", "interrupted"]
RESUMABLE = ("stopped", "failed", "interrupted")
_DAMAGED = "this surface is damaged; start a new one."


@dataclass(frozen=True, eq=False)
class AskedSurface:
    """One surface of a run: the number of its network, its settings, and the key of the kept result, "" for none."""

    network: int
    settings: "SurfaceSettings"
    key: str = ""


@dataclass(frozen=True)
class NetworkFacts:
    """A network of a run as the page shows it. `run` and `file` name the training whose weights were kept."""

    title: str
    name: str
    shortcut: str
    classes: int
    run: str = ""
    file: str = ""


@dataclass(frozen=True, eq=False)
class SurfaceProgress:
    """The state of a run, the share that is done, why it ended early, and what is known of each of its surfaces."""

    state: SurfaceState
    share: float
    message: str
    surfaces: "tuple[Surface | None, ...]"


@dataclass(frozen=True)
class SurfaceRun:
    """One run: a folder with these files. Its id, 128 random bits, gives access to it."""

    folder: Path

    request_file = FileIn("request.json")
    lock = FileIn("lock")  # held by the process that measures
    stop_mark = FileIn("stop")
    progress_file = FileIn("progress.json")  # {"share": 0..1} once its turn has come
    end_file = FileIn("end.json")  # {"outcome", "message"} of the last process
    log_text = FileIn("log.txt")

    @property
    def id(self) -> str:
        return self.folder.name

    def network_file(self, number: int) -> Path:
        return self.folder / f"network-{number}.safetensors"

    def images_file(self, split: str) -> Path:
        return self.folder / f"images-{split}.npz"

    def surface_file(self, number: int) -> Path:
        return self.folder / f"surface-{number}.npz"

    def request(self) -> dict[str, Any]:
        """Raises ValueError where it is damaged."""
        try:
            values = json.loads(self.request_file.read_text(encoding="utf-8"))
            if {"title", "source", "owner", "created", "class_names", "networks", "surfaces"} <= {*values}:
                return dict(values)
        except (OSError, ValueError, TypeError, RecursionError):
            pass
        raise ValueError(_DAMAGED)

    @property
    def owner(self) -> str:
        return str(self.request()["owner"])

    def networks(self) -> tuple[NetworkFacts, ...]:
        """Raises ValueError where they are damaged."""
        try:
            found = tuple(NetworkFacts(**values) for values in self.request()["networks"])
            if all(type(each.classes) is int and isinstance(each.title, str) for each in found):
                return found
        except TypeError:
            pass
        raise ValueError(_DAMAGED)

    def surfaces(self) -> tuple[AskedSurface, ...]:
        """Raises ValueError where they are damaged."""
        from explorer.experiments.loss_surface import SurfaceSettings

        try:
            return tuple(
                AskedSurface(int(each["network"]), SurfaceSettings.from_dict(each["settings"]), str(each["key"]))
                for each in self.request()["surfaces"]
            )
        except (TypeError, KeyError, ValueError, OverflowError):
            raise ValueError(_DAMAGED) from None


def surfaces_folder() -> Path:
    return data_folder() / "surfaces"


def find(surface_id: str) -> SurfaceRun | None:
    """The run of that id, or None; a text that is no id never becomes a path."""
    if not ID.fullmatch(surface_id):
        return None
    run = SurfaceRun(surfaces_folder() / surface_id)
    return run if run.request_file.is_file() else None


def list_surfaces(owner: str) -> list[SurfaceRun]:
    """Those of that owner that are not damaged, the newest first."""
    found: list[tuple[float, SurfaceRun]] = []
    for run in _all():
        with suppress(ValueError, TypeError, OverflowError):
            request = run.request()
            if OWNER.fullmatch(owner) and request["owner"] == owner:
                found.append((float(request["created"]), run))
    return [run for _, run in sorted(found, key=lambda entry: -entry[0])]


def _all() -> list[SurfaceRun]:
    folder = surfaces_folder()
    found = (find(path.name) for path in folder.iterdir()) if folder.is_dir() else iter(())
    return [run for run in found if run is not None]


def create(
    title: str,
    source: str,
    networks: "Sequence[tuple[NetworkFacts, Checkpoint]]",
    images: "Mapping[str, Split]",
    class_names: Sequence[str],
    surfaces: Sequence[AskedSurface],
    owner: str = "",
) -> SurfaceRun:
    """Writes the run with its networks and images; nothing starts yet. `source` says in a sentence what was measured.

    Raises ValueError, with the numbers, where the disk or the owner's quota has no room.
    """
    from explorer import checkpoints

    tensors = [tensor for _, each in networks for tensor in each.network.state_dict().values()]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    check_space(weights + sum(split.images.nbytes for split in images.values()), owner)
    run = SurfaceRun(surfaces_folder() / secrets.token_hex(16))
    values = {
        "title": title,
        "source": source,
        "owner": owner,
        "created": time.time(),
        "class_names": list(class_names),
        "networks": [vars(facts) for facts, _ in networks],
        "surfaces": [
            {"network": each.network, "settings": each.settings.to_dict(), "key": each.key} for each in surfaces
        ],
    }
    try:
        # Closed to the other accounts of this machine: the id gives access to it.
        surfaces_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        run.folder.mkdir(mode=0o700)
        for number, (_, checkpoint) in enumerate(networks):
            checkpoints.save(checkpoint, run.network_file(number))
        for name, split in images.items():
            write_atomically(run.images_file(name), npz({"images": split.images, "labels": split.labels}))
        write_atomically(run.request_file, json.dumps(values).encode())
    except OSError as error:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise ValueError(f"the surface cannot be kept ({error.strerror}); free some space on the disk.") from None
    return run


def check_space(planned: int, owner: str) -> None:
    """Raises ValueError, with the numbers, where so many bytes do not fit the disk or what is left to that owner, by
    all of whose surfaces on disk. Without an owner there is no quota."""
    used = sum(map(bytes_kept, list_surfaces(owner))) if owner else None
    room, where = room_left(surfaces_folder(), DISK_RESERVE, QUOTA_BYTES, used, "your surfaces")
    if planned > room:
        raise ValueError(
            f"this surface needs {planned / 1e6:,.1f} MB until it is measured, and {room / 1e6:,.1f} MB are {where}; "
            "take fewer images, or delete surfaces that are not finished."
        )


def bytes_kept(run: SurfaceRun) -> int:
    """Bytes of the run on disk."""
    return bytes_of(run.folder.glob("*"))


def start(run: SurfaceRun) -> None:
    """Starts the run's process, which goes on from what is known; one that goes on already is let alone.

    Raises ValueError where it cannot start.
    """
    run.request()  # raises ValueError where it is damaged
    try:
        if disk.free(data_folder()) < DISK_RESERVE:
            raise ValueError("the disk is full; free some space and start the surface again.")
        with _guard():
            if is_held(run.lock):
                return
            if sum(is_held(other.lock) for other in _all()) >= MOST_ALIVE:
                raise ValueError(f"{MOST_ALIVE} surfaces wait already; try again when one has ended.")
            disk.remove(run.stop_mark)  # before the lock is seen, so that later requests to stop are kept
            lock = take(run.lock)
            if lock is None:
                return
            try:
                disk.remove(run.end_file)
                disk.remove(run.progress_file)
                process = start_command(
                    "surface", run.folder, run.log_text, lock, LOCK_ENV, {**MALLOC_ENV, **os.environ}
                )
            finally:
                lock.close()
    except OSError as error:
        raise ValueError(f"the surface cannot start ({error.strerror}); free some space on the disk.") from None
    await_later(process)


def take_lock(run: SurfaceRun) -> Lock | None:
    """The lock of the run that was passed on to this process, else a new one; None where another process holds it."""
    lock = inherited(run.lock, LOCK_ENV, surfaces_folder() / _GUARD)
    if lock is None:
        with _guard():
            lock = take(run.lock)
    return lock


def stop(run: SurfaceRun) -> None:
    """Asks the run to stop; it does so within seconds, keeps what it has, and can be started again."""
    with suppress(FileNotFoundError):
        run.stop_mark.touch()


def delete(run: SurfaceRun) -> None:
    """Removes the run and its surfaces. Raises ValueError while it waits or measures."""
    with _guard():
        if is_held(run.lock):
            raise ValueError("the surface is still being measured; stop it first.")
        shutil.rmtree(run.folder, ignore_errors=True)


def progress(run: SurfaceRun) -> SurfaceProgress:
    """Raises ValueError where the run is damaged."""
    alive = is_held(run.lock)  # first: what its last moment wrote is then read too
    known = tuple(load(run, number) for number in range(len(run.surfaces())))
    share, end = _read(run.progress_file).get("share"), _read(run.end_file)
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        share = share_done(run, known)
    state: SurfaceState
    if alive:
        state = "measuring" if run.progress_file.exists() else "waiting"
    elif not end:
        state = "interrupted" if run.lock.exists() else "new"
    else:
        state = end["outcome"] if end.get("outcome") in ("finished", "stopped", "failed") else "interrupted"
    return SurfaceProgress(state, 1.0 if state == "finished" else share, str(end.get("message", "")), known)


def _read(path: Path) -> dict[str, Any]:
    """The JSON object of that file; an empty one where it is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def share_done(run: SurfaceRun, known: "Sequence[Surface | None]") -> float:
    """The share of the run's work that was done for what is known."""
    from explorer.experiments.loss_surface.cost import share_known

    return share_known([each.settings for each in run.surfaces()], known)


def load(run: SurfaceRun, number: int) -> "Surface | None":
    """What is known of that surface."""
    import io

    import numpy as np

    from explorer import stored_results
    from explorer.experiments.loss_surface import Surface

    try:
        with np.load(io.BytesIO(run.surface_file(number).read_bytes())) as file:
            return stored_results.unpack(Surface, {name: file[name] for name in file.files})
    except Exception:  # missing, or damaged in one of many ways
        return None


@contextmanager
def _guard() -> Iterator[None]:
    """One process at a time decides whether a run starts or goes."""
    surfaces_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with guard(surfaces_folder() / _GUARD):
        yield
