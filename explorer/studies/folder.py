"""`StudyFolder`: the directory of one study, and what its runs have come to."""

import json
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from explorer import runs
from explorer.files import FileIn, write_atomically
from explorer.machine import cores
from explorer.machine.locks import is_held
from explorer.runs import ID, OWNER, Run, data_folder
from explorer.runs.log import Event, read
from explorer.studies.study import Cell, Study, Trial

THREADS_ELSEWHERE = 2  # of a run on another engine: one for each of two networks

TrialState = Literal["waiting", "queued", "running", "finished", "stopped", "failed", "interrupted"]
StudyState = Literal["new", "running", "paused", "finished", "stopped", "failed", "interrupted"]
_DAMAGED = "this study is damaged; start a new one."


@dataclass(frozen=True)
class KeptTrial:
    """A trial with the id of its run, which is decided when the study is made."""

    trial: Trial
    run_id: str

    @property
    def run(self) -> Run:
        return Run(runs.runs_folder() / self.run_id)


@dataclass(frozen=True)
class Result:
    """One trained network of a study.

    `name` is that of its file in the run. `outcome` is "finished" or "diverged". `train` is the mean over the last
    epoch's own batches in training mode, `test` over the test pictures: {"accuracy": 0..1, "loss", "n"}, with "loss"
    None where it is not finite. `gradients` are the events of the run's log for this network: {"step", "norms",
    "layers" in the first}.
    """

    cell: Cell
    seed: int
    run_id: str
    name: str
    title: str
    outcome: str
    steps: int
    train: dict[str, Any] | None
    test: dict[str, Any]
    gradients: tuple[Event, ...] = ()


@dataclass(frozen=True)
class TrialProgress:
    """The state of one trial, its share done (0..1), why it failed, and its results once it has finished."""

    trial: Trial
    run_id: str
    state: TrialState
    fraction: float
    message: str
    results: tuple[Result, ...]


@dataclass(frozen=True)
class StudyProgress:
    """The state of a study and of each of its trials; `message` says why a study ended early."""

    state: StudyState
    message: str
    trials: tuple[TrialProgress, ...]

    @property
    def results(self) -> tuple[Result, ...]:
        return tuple(result for trial in self.trials for result in trial.results)

    def count(self, state: TrialState) -> int:
        return sum(trial.state == state for trial in self.trials)


@dataclass(frozen=True)
class StudyFolder:
    """One study: a folder with these files."""

    folder: Path

    study_file = FileIn("study.json")
    lock = FileIn("lock")  # held by the process that drives the study
    pause_mark = FileIn("pause")  # there while no further run may start
    stop_mark = FileIn("stop")  # there once a user asked to stop the study with the runs that go on
    end_file = FileIn("end.json")  # how the last process of the study ended: {"outcome", "message"}
    log_text = FileIn("log.txt")

    @property
    def id(self) -> str:
        return self.folder.name

    def study(self) -> Study:
        """Raises ValueError where it is damaged."""
        return Study.from_dict(self._values()["study"])

    def trials(self) -> tuple[KeptTrial, ...]:
        """Raises ValueError where they are damaged."""
        try:
            kept = [(Trial.from_dict(values), str(values["run"])) for values in self._values()["trials"]]
        except (TypeError, KeyError, ValueError):
            raise ValueError(_DAMAGED) from None
        if not all(ID.fullmatch(run_id) for _, run_id in kept):
            raise ValueError(_DAMAGED)
        return tuple(KeptTrial(trial, run_id) for trial, run_id in kept)

    def settings(self) -> dict[str, Any]:
        """{"engine": "local" or "ray", "places": K, "owner": ..., "created": seconds since 1970}. Raises ValueError."""
        return dict(self._values()["settings"])

    @property
    def owner(self) -> str:
        """Raises ValueError where the study is damaged."""
        return str(self.settings().get("owner", ""))

    def _values(self) -> dict[str, Any]:
        try:
            values = json.loads(self.study_file.read_text(encoding="utf-8"))
            if {*values} == {"study", "trials", "settings"} and isinstance(values["settings"], dict):
                return dict(values)
        except (OSError, ValueError, TypeError, RecursionError):
            pass
        raise ValueError(_DAMAGED)


def studies_folder() -> Path:
    return data_folder() / "studies"


def create(study: Study, owner: str = "", engine: str = "local", places: int = 1, study_id: str = "") -> StudyFolder:
    """Writes the study with its trials, and the id of each one's run; nothing starts yet.

    What decides the bits of a run stands in its request from now on, the number of its threads too: by default this
    machine's cores shared among the places; of another engine one for each of two networks. Raises ValueError for a
    study that is too large or has impossible networks, and where the disk is full.
    """
    shared = max(1, cores() // places) if engine == "local" else THREADS_ELSEWHERE
    study = replace(study, threads=study.threads or shared)
    trials = study.trials(owner, time.time())
    place = StudyFolder(studies_folder() / (study_id or secrets.token_hex(16)))
    if not ID.fullmatch(place.id):
        raise ValueError("the id of a study must be 32 hexadecimal digits.")
    settings = {"engine": engine, "places": places, "owner": owner, "created": time.time()}
    kept = [{**trial.to_dict(), "run": secrets.token_hex(16)} for trial in trials]
    values = {"study": study.to_dict(), "trials": kept, "settings": settings}
    try:
        # Closed to the other accounts of this machine: a study's id gives access to it.
        studies_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        place.folder.mkdir(mode=0o700)
        write_atomically(place.study_file, json.dumps(values).encode())
    except OSError as error:
        shutil.rmtree(place.folder, ignore_errors=True)
        raise ValueError(f"the study cannot be kept ({error.strerror}); free some space on the disk.") from None
    return place


def write_settings(place: StudyFolder, **changes: Any) -> None:
    """Changes some of the settings of a study that no process drives. Raises ValueError where it is damaged, and
    OSError where the disk is full."""
    values = place._values()
    values["settings"] |= changes
    write_atomically(place.study_file, json.dumps(values).encode())


def find(study_id: str) -> StudyFolder | None:
    """The study of that id, or None; a text that is no id never becomes a path."""
    if not ID.fullmatch(study_id):
        return None
    place = StudyFolder(studies_folder() / study_id)
    return place if place.study_file.is_file() else None


def list_studies(owner: str | None = None) -> list[StudyFolder]:
    """The studies of that owner, or all, that are not damaged; the newest first."""
    folder = studies_folder()
    created: list[tuple[float, StudyFolder]] = []
    for path in folder.iterdir() if folder.is_dir() else ():
        place = find(path.name)
        with suppress(ValueError):
            settings = place.settings() if place else {}
            if place and (owner is None or (OWNER.fullmatch(owner) and settings.get("owner") == owner)):
                created.append((float(settings.get("created", 0.0)), place))
    return [place for _, place in sorted(created, key=lambda entry: -entry[0])]


def is_driven(place: StudyFolder) -> bool:
    """Whether a process drives the study now."""
    return is_held(place.lock)


def progress(place: StudyFolder) -> StudyProgress:
    """The state of the study and of its trials, with the results so far. Raises ValueError where it is damaged."""
    driven = is_driven(place)  # first: what its last moment wrote is then read too
    trials = tuple(_trial_progress(kept) for kept in place.trials())
    end: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        end = json.loads(place.end_file.read_text(encoding="utf-8"))
    state: StudyState
    if all(trial.state == "finished" for trial in trials):
        state = "finished"
    elif driven:
        state = "paused" if place.pause_mark.exists() else "running"
    elif not end:
        state = "interrupted" if place.lock.exists() else "new"
    elif end.get("outcome") == "finished":  # one of its runs was deleted since, or an earlier version wrote it
        state = "failed" if any(trial.state in ("failed", "interrupted") for trial in trials) else "stopped"
    else:
        state = end["outcome"] if end.get("outcome") in ("paused", "stopped", "failed") else "interrupted"
    message = "" if driven or state == "finished" else str(end.get("message", ""))
    return StudyProgress(state, message, trials)


def _trial_progress(kept: KeptTrial) -> TrialProgress:
    trial, run_id = kept.trial, kept.run_id
    run = runs.find(run_id)
    if run is None or not run.lock.exists():
        return TrialProgress(trial, run_id, "waiting", 0.0, "", ())
    alive = runs.is_alive(run)
    if not alive:
        with suppress(OSError):
            if networks := _finished(run.metrics, run.metrics.stat().st_size):
                results = tuple(
                    Result(
                        cell=cell,
                        seed=trial.seed,
                        run_id=run_id,
                        name=network["name"],
                        title=network["title"],
                        outcome=network["outcome"],
                        steps=network["steps"],
                        train=network.get("train"),
                        test=network["test"],
                        gradients=gradients,
                    )
                    for cell, (network, gradients) in zip(trial.cells, networks, strict=False)
                )
                return TrialProgress(trial, run_id, "finished", 1.0, "", results)
    status = runs.status(run)
    if alive and status.state == "finished":  # in this moment
        return _trial_progress(kept)
    log = status.log
    fraction = log.progress[-1]["fraction"] if log.progress else 0.0
    message = str((log.end or {}).get("message") or "") if status.state == "failed" else ""
    return TrialProgress(trial, run_id, status.state, fraction, message, ())


@lru_cache(maxsize=500)
def _finished(path: Path, size: int) -> tuple[tuple[Event, tuple[Event, ...]], ...]:
    """The results and the gradients of each network, by the metrics of a finished run; empty of any other run.

    Kept, since a page looks at a study of hundreds of runs every few seconds, and their metrics do not change any more.
    """
    log = read(path)
    if not log.end or log.end["outcome"] != "finished":
        return ()
    return tuple(
        (network, tuple(event for event in log.gradients if event["network"] == index))
        for index, network in enumerate(log.end["networks"])
    )
