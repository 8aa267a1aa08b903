"""`Run`: the directory of one training, and where all of them lie."""

import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from explorer.files import write_atomically

ID = re.compile(r"[0-9a-f]{32}")  # 128 random bits: whoever was not given it cannot guess it
FILE = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")  # stem of a finished network's file
DATA_NUMBER = re.compile(r"[0-9a-f]{64}")
OWNER = re.compile(r"[0-9a-f]{32}")
RESERVE = 2**17  # bytes kept back, so that a run can still say that the disk is full

PATIENCE = 3.0  # seconds for a tidy stop of a run; after that its process ends as it stands

Ending = Literal["finished", "stopped", "failed"]
_ROOT = Path(__file__).resolve().parents[2]


class Stopped(Exception):
    """Someone asked this run to stop."""


def data_folder() -> Path:
    """Where runs, uploaded data and downloads lie: `EXPLORER_DATA`, else `data/` beside app.py; absolute."""
    return Path(os.environ.get("EXPLORER_DATA") or _ROOT / "data").absolute()  # a run's process starts elsewhere


def runs_folder() -> Path:
    return data_folder() / "runs"


def downloads_folder() -> Path:
    return data_folder() / "downloads"


def stored_data(number: str) -> Path:
    """Where the uploaded data of that number lies or will lie. Raises ValueError for what is no such number."""
    if not DATA_NUMBER.fullmatch(number):
        raise ValueError("uploaded data has a number of 64 hexadecimal digits; upload it again.")
    return data_folder() / "data" / number


def pictures_folder() -> Path:
    """The one folder of which people may name parts to train on: `EXPLORER_PICTURES`, else `data/pictures`."""
    return Path(os.environ.get("EXPLORER_PICTURES") or data_folder() / "pictures")


@dataclass(frozen=True)
class Request:
    """What a run is asked to do; JSON all through.

    `specs` are one or two networks to train together (`ArchitectureSpec.to_dict`), `config` a
    `TrainingConfig.to_dict`. `data` says what to train on: {"kind": "shapes", "size": 16, "classes": ["ring", "star"]}
    (without "classes": all ten), {"kind": "cifar10"}, {"kind": "fashion-mnist"} or {"kind": "stored", "number": ...}.
    `device` is the resolved one; runs of one device wait for each other. `owner` is the person who may stop and delete
    it, by a secret of their browser.
    """

    specs: tuple[dict[str, Any], ...]
    config: dict[str, Any]
    data: dict[str, Any]
    device: str = "cpu"
    owner: str = ""
    created: float = 0.0
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        types = {"config": dict, "data": dict, "device": str, "owner": str, "created": int | float, "names": tuple}
        for name, kind in types.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"`{name}` of a request is a {type(getattr(self, name)).__name__}.")
        if len(self.specs) not in (1, 2) or not all(isinstance(spec, dict) for spec in self.specs):
            raise ValueError("`specs` of a request must be one or two specs, as `ArchitectureSpec.to_dict` gives them.")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The request that `asdict` described. Raises ValueError, TypeError or KeyError for anything else."""
        return cls(**{**values, "specs": tuple(values["specs"]), "names": tuple(values["names"])})


@dataclass(frozen=True)
class Run:
    """One run. Its files: `request.json`; `metrics.jsonl`, which only grows; `state`, to resume from;
    `NAME.safetensors` for each finished network; `samples.npy`, some test pictures; `title`, what its owner calls it;
    `log.txt`; `lock`, held by the process that executes it, with its place in the queue; `stop`, where someone asked
    it to stop; `reserve`, space for its last words."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def stop_mark(self) -> Path:
        return self.folder / "stop"

    @property
    def reserve(self) -> Path:
        return self.folder / "reserve"

    @property
    def samples(self) -> Path:
        return self.folder / "samples.npy"

    def title(self) -> str:
        """What its owner calls it, or ""."""
        try:
            return self.folder.joinpath("title").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def write_title(self, title: str) -> None:
        write_atomically(self.folder / "title", title.encode())

    @property
    def log_text(self) -> Path:
        return self.folder / "log.txt"

    def network_file(self, name: str) -> Path:
        """Where the finished network of that name lies or will lie. Raises ValueError for what is no such name."""
        if not FILE.fullmatch(name):
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
        # Not zeros, which some file systems do not store, and flushed, since some say only then that they are full.
        write_atomically(self.reserve, os.urandom(RESERVE))

    def clear_temporaries(self) -> None:
        """Removes what a killed process left half written."""
        for path in self.folder.glob(".*"):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the run; who is killed meanwhile leaves one that is still found, and can be removed again."""
        for path in self.folder.glob("*"):
            if path.name != "request.json":
                with suppress(OSError):
                    path.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)


def find(run_id: str) -> Run | None:
    """The run of that id, or None; whatever the text is, it never becomes a path unless it is an id."""
    if not ID.fullmatch(run_id):
        return None
    run = Run(runs_folder() / run_id)
    return run if (run.folder / "request.json").is_file() else None


def listed(owner: str | None = None) -> list[Run]:
    """The runs of that owner, or all; the newest first."""
    folder = runs_folder()
    found: list[tuple[float, Run]] = []
    for path in folder.iterdir() if folder.is_dir() else ():
        run = find(path.name)
        if run is None:
            continue
        try:
            request = run.request()
        except ValueError:
            continue
        if owner is None or (OWNER.fullmatch(owner) and request.owner == owner):
            found.append((request.created, run))
    return [run for _, run in sorted(found, key=lambda entry: -entry[0])]
