"""`drive`: the work of a study's process, and how users start, pause and stop it."""

import errno
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from explorer import runs
from explorer.files import write_atomically
from explorer.labels import ENGINES, listed
from explorer.machine import disk
from explorer.machine.locks import guard, inherited, take
from explorer.machine.processes import await_later
from explorer.runs import Run, data_folder
from explorer.runs.command import start_command
from explorer.runs.queue import write_end
from explorer.studies.engine import Engine, EngineError
from explorer.studies.folder import KeptTrial, StudyFolder, TrialState, is_driven, progress, write_settings
from explorer.studies.local import LocalEngine

LOCK_ENV = "EXPLORER_STUDY_LOCK"
"""Environment variable that tells a study's process which lock was passed on to it."""
POLL_S = 0.5
ATTEMPTS = 2  # starts of a run that was killed, in one drive
DISK_RESERVE = 2**25  # bytes that must be free to start another run: its log, state and networks are smaller
DISK_IS_FULL = "The disk is full. Free some space, for example by deleting runs, and resume the study."
NAMED = 3  # failed runs in the sentence on them

Outcome = Literal["finished", "paused", "stopped", "failed"]


@dataclass(frozen=True)
class TrialEnd:
    """A run of a study that has ended, with its state then."""

    kept: KeptTrial
    state: TrialState


def open_engine(name: str, places: int) -> Engine:
    """The engine of that name for so many runs at once. Raises ValueError or EngineError, one sentence, where it is
    not there."""
    if name == "local":
        return LocalEngine(places)
    if name != "ray":
        raise ValueError(f"there is no engine {name[:40]!r}; use {listed([*ENGINES], 'or')}.")
    from explorer.studies.ray_engine import RayEngine  # only here: nothing else needs it

    return RayEngine(places)


def drive(place: StudyFolder, engine: Engine) -> Generator[TrialEnd, None, None]:
    """Starts every run of the study that has not finished, waits for it, and yields each one's end.

    A run that fails is kept as failed, and the others go on. While the study is paused, no run starts. Once it is
    stopped, those that go on are ended; their saved state stays. The study ends when nothing is left to do, and can be
    driven again whenever its process was killed. A caller that closes the iterator leaves the runs alone.

    Raises ValueError where another process drives the study, or it is damaged. Closes the engine in any case.
    """
    with ExitStack() as held:
        try:
            lock = inherited(place.lock, LOCK_ENV, _guard_file(place))
            if lock is not None:
                held.callback(lock.close)
            else:
                with _guard(place):
                    lock = take(place.lock)
                    if lock is None:
                        raise ValueError("this study goes on already, in another process.")
                    held.callback(lock.close)
                    _clear_marks(place)
                    disk.remove(place.end_file)
            yield from _Drive(place, engine, held.close).trials()
        finally:
            with suppress(EngineError):
                engine.close()


class _Drive:
    """One drive of a study: what waits and what goes on. `let_go` gives the study's lock away."""

    def __init__(self, place: StudyFolder, engine: Engine, let_go: Callable[[], None]) -> None:
        self.place, self.engine, self.let_go, self.name = place, engine, let_go, place.study().name
        open_trials = [kept for kept in place.trials() if _state(kept) != "finished"]
        # Those that an earlier process of this study has left going on are followed first.
        self.waiting = sorted(open_trials, key=lambda kept: not runs.is_alive(kept.run))
        self.going: dict[str, KeptTrial] = {}
        self.killed: set[str] = set()
        self.starts: Counter[str] = Counter()

    def trials(self) -> Iterator[TrialEnd]:
        place = self.place
        try:
            while True:
                stopping, pausing = place.stop_mark.exists(), place.pause_mark.exists()
                if stopping:
                    self._follow()
                    self._kill()
                elif not pausing:
                    yield from self._start()
                if not self.going and (stopping or pausing or not self.waiting):
                    outcome: Outcome = "finished" if not self.waiting else "stopped" if stopping else "paused"
                    if self._end(outcome):
                        return
                for run in self.engine.wait(POLL_S):
                    yield from self._ended(run)
        except EngineError as error:
            write_outcome(place, "failed", str(error))
        except OSError as error:
            if error.errno not in disk.NO_SPACE:
                raise
            write_outcome(place, "failed", DISK_IS_FULL)

    def _start(self) -> Iterator[TrialEnd]:
        """Starts runs as long as there is room; yields those that cannot even start."""
        while self.waiting and len(self.going) < self.engine.places:
            kept = self.waiting[0]
            if disk.free(data_folder()) < DISK_RESERVE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            run = runs.prepare(kept.trial.request, kept.run_id)
            run.study_mark.touch()
            if not run.title():
                run.write_title(f"{self.name}: {kept.trial.title}"[:200])
            try:
                if not self.engine.start(run):
                    return  # there is no room now
            except ValueError as error:
                write_end(run, "failed", str(error))
                self.waiting.pop(0)
                yield TrialEnd(kept, "failed")
                continue
            self.waiting.pop(0)
            self.starts[run.id] += 1
            self.going[run.id] = kept

    def _follow(self) -> None:
        """Runs that an earlier process of this study has left going on are followed, to be stopped too."""
        for kept in [kept for kept in self.waiting if runs.is_alive(kept.run)]:
            if self.engine.start(kept.run):
                self.waiting.remove(kept)
                self.starts[kept.run_id] += 1
                self.going[kept.run_id] = kept

    def _kill(self) -> None:
        for run_id, kept in self.going.items():
            if run_id not in self.killed:
                self.engine.kill(kept.run)
                self.killed.add(run_id)

    def _ended(self, run: Run) -> Iterator[TrialEnd]:
        kept = self.going.pop(run.id)
        state = _state(kept)
        stopped = run.id in self.killed
        self.killed.discard(run.id)
        if state == "interrupted" and not stopped and self.starts[run.id] < ATTEMPTS:
            self.waiting.insert(0, kept)  # its process was killed, or its machine lost
            return
        if stopped and state != "finished":
            self.waiting.insert(0, kept)
        yield TrialEnd(kept, state)

    def _end(self, outcome: Outcome) -> bool:
        """Writes how it ended: "finished" only where every run is. False where a user has resumed or stopped the study
        meanwhile, and it goes on."""
        with _guard(self.place):
            stopping, pausing = self.place.stop_mark.exists(), self.place.pause_mark.exists()
            if {"stopped": not stopping, "paused": stopping or not pausing}.get(outcome, False):
                return False
            states = [(kept, _state(kept)) for kept in self.place.trials()]
            failed = [kept for kept, state in states if state == "failed"]
            message = _named(failed, "failed", "Their pages say why; resuming tries them again.")
            if outcome == "finished":
                # Lost twice, stopped on their own page, or deleted.
                left = [kept for kept, state in states if state not in ("failed", "finished")]
                message += " " * bool(message and left) + _named(left, "not finished", "Resuming trains them.")
                is_failed = any(state in ("failed", "interrupted") for _, state in states)
                outcome = "failed" if is_failed else "stopped" if left else "finished"
            write_outcome(self.place, outcome, message)
            self.let_go()  # in this moment, and not once Ray has ended: whoever resumes it now starts a new process
            return True


def _named(kept: Sequence[KeptTrial], what: str, remedy: str) -> str:
    """A sentence that counts and names the runs, and the remedy; "" without any."""
    if not kept:
        return ""
    titles = [each.trial.title for each in kept[:NAMED]] + ["others"] * (len(kept) > NAMED)
    count = "1 run has" if len(kept) == 1 else f"{len(kept)} runs have"
    return f"{count} {what}: {'; '.join(titles)}. {remedy}"


def write_outcome(place: StudyFolder, outcome: Outcome, message: str) -> None:
    """Writes how the study's process ended; on a full disk nothing: the study is "interrupted" then."""
    content = json.dumps({"outcome": outcome, "message": message, "time": time.time()})
    with suppress(OSError):
        write_atomically(place.end_file, content.encode())


def _state(kept: KeptTrial) -> TrialState:
    run = runs.find(kept.run_id)
    return runs.status(run).state if run is not None and run.metrics.exists() else "waiting"


def start(place: StudyFolder) -> None:
    """Starts the study's process, or lets the one that there is go on: the study is neither paused nor stopped then.

    Raises ValueError where it cannot start, or its process ends just now.
    """
    place.settings()  # raises ValueError where it is damaged
    try:
        with _guard(place):
            _clear_marks(place)
            lock = take(place.lock)
            if lock is None and place.end_file.exists():
                raise ValueError("the study's last process is just ending; resume the study in some seconds.")
            if lock is None:
                return
            try:
                disk.remove(place.end_file)
                process = start_command("study", place.folder, place.log_text, lock, LOCK_ENV, os.environ)
            finally:
                lock.close()
    except OSError as error:
        raise ValueError(f"the study cannot start ({error.strerror}); free some space on the disk.") from None
    await_later(process)


def pause(place: StudyFolder) -> None:
    """Lets the runs that go on end, and starts no further one until `start`. Raises ValueError for a deleted study."""
    _mark(place.pause_mark)


def stop(place: StudyFolder) -> None:
    """Ends the study and its runs within some seconds; `start` continues all of them from where they were.

    Raises ValueError for a study that is deleted or damaged.
    """
    _mark(place.stop_mark)
    with _guard(place):
        if is_driven(place):
            return
        if not place.end_file.exists() or progress(place).state == "paused":
            write_outcome(place, "stopped", "")
    for kept in place.trials():  # its process was killed and has left runs behind
        if runs.is_alive(kept.run):
            runs.stop(kept.run)


def _mark(mark: Path) -> None:
    """Raises ValueError for a deleted study."""
    try:
        mark.touch()
    except FileNotFoundError:
        raise ValueError("the study is gone: it was deleted, perhaps in another tab.") from None


def change_engine(place: StudyFolder, engine: str, places: int) -> None:
    """From now on that engine trains what is left of the study; the bits stay the same, as its requests fix them.

    Raises ValueError while it goes on, and OSError where the disk is full.
    """
    with _guard(place):
        if is_driven(place):
            raise ValueError("the study is still going on; stop it first.")
        write_settings(place, engine=engine, places=places)


def delete(place: StudyFolder) -> None:
    """Removes the study and its runs with their networks, the study last, so that it can be deleted again after a kill.

    A run of another owner stays. Raises ValueError while the study or one of its runs goes on, and OSError where
    something cannot be removed.
    """
    with _guard(place):
        own: list[Run] = []
        with suppress(ValueError):  # a damaged study names no runs
            own = [kept.run for kept in place.trials() if _is_own(kept)]
        if is_driven(place) or any(map(runs.is_alive, own)):
            raise ValueError("the study is still going on; stop it first.")
        for run in own:
            runs.delete(run)
        shutil.rmtree(place.folder)
    disk.remove(_guard_file(place))


def _is_own(kept: KeptTrial) -> bool:
    """Whether its run is there and has the owner of the study."""
    run = runs.find(kept.run_id)
    try:
        return run is not None and run.request().owner == kept.trial.request.owner
    except ValueError:  # a damaged request; nobody but the study knows the id
        return True


def run_process(place: StudyFolder) -> int:
    """Drives the study as it was made, in this process: 0 where it ended as asked, 1 where it or a run of it failed,
    2 where it cannot be driven."""
    try:
        settings = place.settings()
        engine = open_engine(str(settings.get("engine")), int(settings.get("places", 1)))
    except (ValueError, TypeError, EngineError) as error:
        print(f"explorer: {error}", file=sys.stderr)
        write_outcome(place, "failed", str(error))
        return 2
    try:
        return int(any([end.state == "failed" for end in drive(place, engine)]))
    except (ValueError, OSError) as error:
        print(f"explorer: {error}", file=sys.stderr)
        return 2


def _guard_file(place: StudyFolder) -> Path:
    return place.folder.with_name(f".{place.id}")


def _clear_marks(place: StudyFolder) -> None:
    disk.remove(place.pause_mark)
    disk.remove(place.stop_mark)


@contextmanager
def _guard(place: StudyFolder) -> Iterator[None]:
    """One process at a time decides whether the study goes on."""
    with guard(_guard_file(place)):
        yield
