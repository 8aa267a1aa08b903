"""What a task of Ray does on its node: it starts one run's own process and waits for its end.

The node has Python, Ray and the packages of a training. The code comes with the task, the run by a shared disk or with
the task. Nothing here knows the study.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from explorer.machine.locks import Lock
from explorer.machine.processes import account
from explorer.runs import Run, is_alive, status
from explorer.runs.queue import hold, start_process
from explorer.studies.carried import GROWING, Files, is_carried

POLL_S = 0.25
REPORT_S = 1.0
LOCK_WAIT_S = 120.0
"""How long a node waits for a run that a lost node may still hold: file servers keep its locks for up to 90 s."""


def execute(job: dict[str, Any], board: Any) -> dict[str, Any]:
    """Trains the run of the job and returns {"outcome", "code", "node"}.

    "outcome" is "absent" where the job's run was to be on a shared disk and is not, "held" where another process
    keeps the run, "refused" with a "message" where it cannot start, else "ended" with the exit status of its process.
    A `job` has "attempt" (a new secret for each submission), "run" (its id), "data" (the study's data folder), "cpus",
    and "files": references of Ray to the `Files` of a data folder, or None for a shared disk. `board` takes the reports
    of a run that was carried here, and tells whether it should stop.
    """
    answer: dict[str, Any] = {"outcome": "ended", "code": 0, "node": socket.gethostname()}
    carried = job["files"] is not None
    try:
        folder = _unpacked(job) if carried else Path(job["data"])
    except OSError as error:
        return answer | {"outcome": "refused", "message": f"the disk of {answer['node']}: {error.strerror}"}
    try:
        os.environ["EXPLORER_DATA"] = str(folder)  # this process has this one job
        run = Run(folder / "runs" / job["run"])
        if not carried and not _is_there(run, job["attempt"]):
            return answer | {"outcome": "absent"}
        if not carried and run.stop_mark.exists():
            return answer
        reports = _Reports(run, job["attempt"], board) if carried else None
        lock = _lock(run)
        if lock is None:
            return answer | {"outcome": "ended" if status(run).state == "finished" else "held"}
        try:
            process = start_process(run, lock, {"OMP_NUM_THREADS": str(job["cpus"])}, ends_with=True)
        finally:
            lock.close()
        try:
            return answer | {"code": _wait(process, reports)}
        finally:
            process.kill()  # only after an error: the process has ended otherwise
    except (OSError, ValueError) as error:
        return answer | {"outcome": "refused", "message": getattr(error, "strerror", None) or str(error)}
    finally:
        if carried:
            shutil.rmtree(folder, ignore_errors=True)


def _wait(process: "subprocess.Popen[bytes]", reports: "_Reports | None") -> int:
    """The exit status of the process, once it has ended and everything is reported."""
    reported = 0.0
    while (code := process.poll()) is None:
        if reports and time.monotonic() - reported > REPORT_S:
            reports.send()
            reported = time.monotonic()
        time.sleep(POLL_S)
    if reports:
        reports.send()
    return code


def _is_there(run: Run, attempt: str) -> bool:
    """Whether this node sees the run where the study's process has just written the secret of the attempt."""
    for wait in (0.0, 1.0):  # a file server's client may remember for a moment that a file was missing
        time.sleep(wait)
        with suppress(OSError):
            if (run.folder / "attempt").read_text(encoding="utf-8") == attempt:
                return True
        if not run.folder.parent.is_dir():
            return False
    return False


def _lock(run: Run) -> Lock | None:
    """The run's lock; None where it has ended meanwhile or another process keeps it."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        if not is_alive(run):
            if status(run).state == "finished":
                return None
            with suppress(ValueError):  # another process took it just now
                return hold(run)
        if time.monotonic() > deadline:
            return None
        time.sleep(1.0)


def _unpacked(job: dict[str, Any]) -> Path:
    """A new data folder on this node with the files of the job. Raises OSError where the disk is full."""
    import ray

    folder = Path(tempfile.gettempdir()) / f"explorer-{account()}" / "jobs"
    folder.mkdir(mode=0o700, exist_ok=True)  # beside the code, whose folder is checked to be this account's own
    _sweep(folder)
    place = folder / job["attempt"]
    try:
        for reference in job["files"]:
            for name, content in ray.get(reference).items():
                path = place / name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.write_bytes(content)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return place


def _sweep(folder: Path, older_than: float = 3600.0) -> None:
    """Removes what killed tasks left in the folder: jobs that no process holds."""
    for place in folder.iterdir():
        with suppress(OSError):
            runs = [Run(path) for path in place.glob("runs/*")]
            if time.time() - place.stat().st_mtime > older_than and not any(map(is_alive, runs)):
                shutil.rmtree(place, ignore_errors=True)


class _Reports:
    """Sends what changes in the folder of a run that was carried here to the study's process."""

    def __init__(self, run: Run, attempt: str, board: Any) -> None:
        self.run, self.attempt, self.board = run, attempt, board
        # What came with the job is known there: the length of a file that grows, else which version it is.
        self.sent: dict[str, Any] = {
            path.name: path.stat().st_size if path.name in GROWING else _version(path)
            for path in run.folder.iterdir()
            if is_carried(path.name)
        }

    def send(self) -> None:
        """Sends the changes, and makes the stop mark here where a user asked for it there."""
        import ray

        changes = self._changes()
        if ray.get(self.board.report.remote(self.attempt, changes)):
            self.run.stop_mark.touch()

    def _changes(self) -> dict[str, Any]:
        """{"whole": name to content, "growing": name to (offset, content), "gone": names}.

        The state is read before the metrics, and networks after them: events before a saved state are in the metrics,
        and networks are there before the end that names them.
        """
        whole: Files = {}
        self._read("state", whole)
        growing: dict[str, tuple[int, bytes]] = {}
        for name in GROWING:
            with suppress(FileNotFoundError), (self.run.folder / name).open("rb") as file:
                file.seek(self.sent.get(name, 0))
                content = file.read()
                if content:
                    growing[name] = (self.sent.get(name, 0), content)
                    self.sent[name] = self.sent.get(name, 0) + len(content)
        for path in self.run.folder.iterdir():
            if is_carried(path.name) and path.name not in (*GROWING, "state"):
                self._read(path.name, whole)
        gone = [name for name in ("state",) if name in self.sent and not (self.run.folder / name).exists()]
        for name in gone:
            del self.sent[name]
        return {"whole": whole, "growing": growing, "gone": gone}

    def _read(self, name: str, whole: Files) -> None:
        """Adds the file to `whole` where it has changed; each is written whole or not at all."""
        path = self.run.folder / name
        with suppress(FileNotFoundError):
            version = _version(path)
            if self.sent.get(name) != version:
                whole[name] = path.read_bytes()
                self.sent[name] = version


def _version(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
