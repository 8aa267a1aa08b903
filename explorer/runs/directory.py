"""`Run`: the directory of one training, and where all of them lie."""

import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from explorer.files import FileIn, write_atomically
from explorer.installation import data_folder
from explorer.machine import disk

ID = re.compile(r"[0-9a-f]{32}")  # 128 random bits: the id gives access to the run
FILE = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")  # stem of a finished network's file
DATA_ID = re.compile(r"[0-9a-f]{64}")
OWNER = re.compile(r"[0-9a-f]{32}")
MOST_SNAPSHOTS = 100  # of the weights, in one run
RESERVE = 2**17  # bytes kept back, so that a run can still write that the disk is full

STOP_GRACE_S = 3.0  # after that the process of a run that was asked to stop ends as it stands

RunOutcome = Literal["finished", "stopped", "failed"]


class StopRequested(Exception):
    """A user asked this run to stop."""


def file_stem(title: str) -> str:
    """The name of a network's file, and a part of links to it: "ResNet-20" -> "resnet-20"."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower())


def runs_folder() -> Path:
    return data_folder() / "runs"


def downloads_folder() -> Path:
    return data_folder() / "downloads"


def stored_data(number: str) -> Path:
    """Where the uploaded data of that number lies or will lie. Raises ValueError for anything but such a number."""
    if not DATA_ID.fullmatch(number):
        raise ValueError("uploaded data has a number of 64 hexadecimal digits; upload it again.")
    return data_folder() / "data" / number


def pictures_folder() -> Path:
    """The folder of which users may name parts to train on: `EXPLORER_PICTURES`, else `data/pictures`."""
    return Path(os.environ.get("EXPLORER_PICTURES") or data_folder() / "pictures")


@dataclass(frozen=True)
class Request:
    """The training of a run; JSON throughout.

    `specs` are one or two networks to train together (`ArchitectureSpec.to_dict`), `config` a
    `TrainingConfig.to_dict`. `data` is {"kind": "shapes", "size": 16, "classes": ["ring", "star"]} (without "classes":
    all ten), {"kind": "cifar10"}, {"kind": "fashion-mnist"} or {"kind": "stored", "number": ...}. Runs of one `device`
    wait for each other. `owner` is the secret of the browser that may stop and delete the run. `threads` is the number
    of torch's threads of all its networks together, 0 for one for each idle core. `places` runs of one kind fit their
    device at once: 1 has it to itself, and 0 neither waits nor is waited for, because an engine places it. The weights
    of `snapshots` steps are kept, 0 for none: see `runs.weight_snapshots`.
    """

    specs: tuple[dict[str, Any], ...]
    config: dict[str, Any]
    data: dict[str, Any]
    device: str = "cpu"
    owner: str = ""
    created: float = 0.0
    names: tuple[str, ...] = ()
    threads: int = 0
    places: int = 1
    snapshots: int = 0

    def __post_init__(self) -> None:
        types: dict[str, Any] = {"config": dict, "data": dict, "device": str, "owner": str, "created": int | float}
        types |= {"names": tuple, "threads": int, "places": int, "snapshots": int}
        for name, kind in types.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"`{name}` of a request is a {type(getattr(self, name)).__name__}.")
        if len(self.specs) not in (1, 2) or not all(isinstance(spec, dict) for spec in self.specs):
            raise ValueError("`specs` of a request must be one or two specs, as `ArchitectureSpec.to_dict` gives them.")
        if not 0 <= self.threads <= 1024 or not 0 <= self.places <= 1024:
            raise ValueError("`threads` and `places` of a request are whole numbers from 0 to 1024.")
        if not 0 <= self.snapshots <= MOST_SNAPSHOTS:
            raise ValueError(
                f"`snapshots` of a request must be from 0 to {MOST_SNAPSHOTS}, received {self.snapshots}; choose fewer."
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The request that `asdict` described. Raises ValueError, TypeError or KeyError for anything else."""
        return cls(**{**values, "specs": tuple(values["specs"]), "names": tuple(values["names"])})


@dataclass(frozen=True)
class Run:
    """One run: a folder with `request.json`, a `NAME.safetensors` for each finished network, and these files."""

    folder: Path

    metrics = FileIn("metrics.jsonl")  # only grows
    state = FileIn("state")  # to resume from
    samples = FileIn("samples.npy")  # some test pictures
    weights = FileIn("weights")  # a folder with a `STEP.safetensors` for each snapshot of the weights
    log_text = FileIn("log.txt")
    lock = FileIn("lock")  # held by the process that executes the run; its content is the place in the queue
    stop_mark = FileIn("stop")  # there once a user asked the run to stop
    dials = FileIn("dials.jsonl")  # changes that users asked for while it trains; only grows
    study_mark = FileIn("study")  # there where the run belongs to a study
    reserve = FileIn("reserve")  # space for the last event on a full disk

    @property
    def id(self) -> str:
        return self.folder.name

    def title(self) -> str:
        """The title that its owner gave it, or ""."""
        try:
            return self.folder.joinpath("title").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def write_title(self, title: str) -> None:
        write_atomically(self.folder / "title", title.encode())

    def network_file(self, name: str) -> Path:
        """Where the finished network of that name lies or will lie. Raises ValueError for anything but such a name."""
        if not FILE.fullmatch(name) or disk.is_device(name):
            raise ValueError(f"{name!r} is not the name of a trained network.")
        return self.folder / f"{name}.safetensors"

    def request(self) -> Request:
        """Raises ValueError where it is damaged."""
        try:
            return Request.from_dict(json.loads(self.folder.joinpath("request.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            raise ValueError("the request of this run is damaged; start a new one.") from None

    def write_request(self, request: Request) -> None:
        write_atomically(self.folder / "request.json", json.dumps(asdict(request)).encode())

    def write_reserve(self) -> None:
        # Not zeros, which some file systems do not store, and flushed, since some report only then that they are full.
        write_atomically(self.reserve, os.urandom(RESERVE))

    def clear_temporaries(self) -> None:
        """Removes files that a killed process left half written."""
        for path in (*self.folder.glob(".*"), *self.weights.glob(".*")):
            with suppress(OSError):  # it goes another time
                disk.remove(path)

    def remove(self) -> None:
        """Removes the run, its request last: after a kill meanwhile the run is still found and can be removed again."""
        for path in self.folder.glob("*"):
            if path.name != "request.json":
                with suppress(OSError):
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else disk.remove(path)
        shutil.rmtree(self.folder, ignore_errors=True)


def find(run_id: str) -> Run | None:
    """The run of that id, or None; a text that is no id never becomes a path."""
    if not ID.fullmatch(run_id):
        return None
    run = Run(runs_folder() / run_id)
    return run if (run.folder / "request.json").is_file() else None


def all_runs() -> list[Run]:
    """All runs, in no order."""
    folder = runs_folder()
    found = (find(path.name) for path in folder.iterdir()) if folder.is_dir() else iter(())
    return [run for run in found if run is not None]


def list_runs(owner: str | None = None) -> list[Run]:
    """The runs of that owner, or all, whose request is not damaged; the newest first."""
    created: list[tuple[float, Run]] = []
    for run in all_runs():
        with suppress(ValueError):
            request = run.request()
            if owner is None or (OWNER.fullmatch(owner) and request.owner == owner):
                created.append((request.created, run))
    return [run for _, run in sorted(created, key=lambda entry: -entry[0])]
