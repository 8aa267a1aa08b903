"""Dials of a run: users ask for a change through a file in its directory, and its process turns them between two steps.

A change is in the run's log, on the disk, before the first step that uses it. So a resumed run repeats it at its step,
and a training by epochs ends with the same bits as one that was never interrupted.
"""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict

from explorer.runs.directory import Run
from explorer.runs.log import LogWriter, RunLog, parsed
from explorer.runs.queue import Status, status
from explorer.training import Processes, TrainingConfig
from explorer.training.dials import DIAL_FIELDS, DialChange, DialField, checked_dial, dials_at, with_change

MAX_ASKED = 2**18  # bytes of all that was asked of a run: some two thousand changes

Wanted = Mapping[DialField, float | None]
"""Values of dials; a clip of None does not clip."""


def ask(run: Run, wanted: Wanted) -> None:
    """Asks the run to turn dials. Its process does so between two steps, all of `wanted` at the same one; of two values
    for one dial it takes the newer.

    Raises ValueError, one sentence, where a value is out of its limits or the run takes no further step, and OSError
    where the disk is full; nothing is changed then.
    """
    values = {field: checked_dial(field, value) for field, value in wanted.items()}
    if not values:
        raise ValueError("give at least one dial a value.")
    if reason := why_not(run, status(run)):
        raise ValueError(reason)
    if run.dials.exists() and run.dials.stat().st_size > MAX_ASKED:
        raise ValueError("the dials of this run were turned too often; start a new training.")
    try:
        with closing(LogWriter(run.dials)) as file:
            file.write("dials", time=time.time(), wanted=values)
    except FileNotFoundError:
        raise ValueError("this run was deleted; start a new training.") from None


def why_not(run: Run, known: Status) -> str:
    """Why the dials of a run with that status cannot be turned, one sentence; "" where they can."""
    if run.study_mark.exists():
        return "this run belongs to a study, which compares runs of equal settings; turn dials in another training."
    if known.state not in ("queued", "running"):
        again = "; resume it first" if known.state != "finished" else "; start a new training"
        return f"the run is {known.state} and takes no step that a dial could change{again}."
    if known.state == "running" and "measuring" in str((known.log.phase or {}).get("phase")):
        return "the run has taken its last step, and no dial can change it any more; start a new training."
    return ""


def changes_of(log: RunLog) -> tuple[DialChange, ...]:
    """The changes of a run that count: those that it has made, or repeats at their steps after it was resumed."""
    changes: tuple[DialChange, ...] = ()
    for event in log.dials:
        with suppress(ValueError, TypeError, KeyError):  # a damaged line
            for values in event["changes"]:
                changes = with_change(changes, DialChange(step=event["step"], **values))
    return changes


def reached(log: RunLog) -> int:
    """The steps that the run has taken, as far as its log says. A change behind them is one that it will repeat."""
    begun = (log.queued or {}).get("time", 0.0)
    steps = [event["step"] for event in (*log.progress[-1:], *filter(None, [log.start]))]
    steps += [event["step"] for event in log.dials[-1:] if event.get("time", 0.0) >= begun]
    return int(max(steps, default=0))


def pending(run: Run, log: RunLog) -> dict[DialField, float | None]:
    """The values that were asked of the run and that its process has not taken yet; in a finished run they came after
    its last step."""
    return _asked(run, _taken(log))[0]


def _taken(log: RunLog) -> int:
    """The bytes of what was asked that the run's process has taken."""
    return max((event["taken"] for event in log.dials if type(event.get("taken")) is int), default=0)


def _asked(run: Run, taken: int) -> tuple[dict[DialField, float | None], int]:
    """What was asked behind that byte, the newest value of each dial, and the byte behind its last whole line. Lines
    that the app would not have written are left out."""
    try:
        with run.dials.open("rb") as file:
            file.seek(taken)
            content = file.read(2 * MAX_ASKED)
    except OSError:
        return {}, taken
    whole = content[: content.rfind(b"\n") + 1]
    wanted: dict[DialField, float | None] = {}
    for line in whole.split(b"\n"):
        with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
            values = json.loads(line)["wanted"]
            wanted |= {field: checked_dial(field, values[field]) for field in DIAL_FIELDS if field in values}
    return wanted, taken + len(whole)


class RunDials:
    """The dials of a run in its own process, which alone turns them. `changes` are those of its log, also of earlier
    attempts."""

    def __init__(self, run: Run, log: LogWriter, config: TrainingConfig) -> None:
        self.run, self.log, self.config = run, log, config
        found = parsed(run.metrics.read_bytes())
        self.changes, self.taken = changes_of(found), _taken(found)

    def are_asked(self) -> bool:
        """Whether somebody asked for a change since the last call of `turn`."""
        try:
            return os.stat(self.run.dials).st_size > self.taken
        except OSError:
            return False

    def turn(self, step: int) -> None:
        """Turns the dials as they were asked, from that step on, and writes it into the log, where it is on the disk
        when this returns. Raises OSError where the disk is full."""
        wanted, taken = _asked(self.run, self.taken)
        if taken == self.taken:  # no whole line yet
            return
        now = asdict(dials_at(self.config, self.changes, step))
        ahead = {change.field for change in self.changes if change.step > step}  # which a resumed run would repeat
        turned = [
            DialChange(step, field, now[field], value)
            for field, value in wanted.items()
            if value != now[field] or field in ahead
        ]
        # Also without a change: what was taken is then not taken again by a resumed run, at another step.
        changes = [{"field": change.field, "old": change.old, "new": change.new} for change in turned]
        self.log.write("dials", step=step, time=time.time(), taken=taken, changes=changes)
        self.log.sync()
        self.taken = taken
        for change in turned:
            self.changes = with_change(self.changes, change)


def agreed_changes(processes: Processes, changes: Sequence[DialChange] = ()) -> tuple[DialChange, ...]:
    """The changes that the first process has, in every process of the training."""
    if processes.count == 1:
        return tuple(changes)
    numbers = [number for change in changes for number in _numbers(change)]
    (count,) = processes.agreed(len(numbers))
    if not count:
        return ()
    told = processes.agreed(*numbers or [0.0] * int(count))
    return tuple(_change(told[start : start + 4]) for start in range(0, len(told), 4))


def _numbers(change: DialChange) -> tuple[float, ...]:
    old, new = (math.nan if value is None else value for value in (change.old, change.new))
    return change.step, DIAL_FIELDS.index(change.field), old, new


def _change(numbers: Sequence[float]) -> DialChange:
    step, field, *values = numbers
    old, new = (None if math.isnan(value) else value for value in values)
    return DialChange(int(step), DIAL_FIELDS[int(field)], old, new)
