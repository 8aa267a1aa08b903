"""`RunLog`: the events in a run's metrics file, which is appended to and never changed."""

import errno
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from explorer.machine import disk
from explorer.numbers import finite
from explorer.runs.directory import RunOutcome

Event = dict[str, Any]
EXACT = ("time", "changes")  # values of an event that keep all their digits: what a resumed run repeats


@dataclass(frozen=True)
class RunLog:
    """The events of one run.

    `progress` are the reports that count, in order of their steps: reports behind the point at which the run was later
    resumed are left out. `validations`, `gradients`, `predictions` and `cams` are events of the same kind; old runs
    have no `cams`. `start` says what is trained, `phase` what is going on now, and `end` how the last attempt ended:
    None while it goes on or where it was killed. `dials` are all events of turned dials, in the order of their writing:
    a resumed run repeats those behind its first step.
    """

    queued: Event | None
    start: Event | None
    phase: Event | None
    progress: tuple[Event, ...]
    validations: tuple[Event, ...]
    gradients: tuple[Event, ...]
    predictions: tuple[Event, ...]
    cams: tuple[Event, ...]
    end: Event | None
    dials: tuple[Event, ...] = ()


def read(path: Path) -> RunLog:
    """The log in the file; without a line that a kill cut off, and empty where the file is missing."""
    try:
        size = path.stat().st_size  # it only grows
    except OSError:
        return parsed(b"")
    return _read(path, size)


@lru_cache(maxsize=32)
def _read(path: Path, size: int) -> RunLog:
    try:
        return parsed(path.read_bytes()[:size])
    except OSError:
        return parsed(b"")


def parsed(content: bytes) -> RunLog:
    """The log of these lines; lines that are no events are left out."""
    series: dict[str, list[Event]] = {
        kind: [] for kind in ("progress", "validation", "gradients", "predictions", "cams", "dials")
    }
    latest: dict[str, Event | None] = dict.fromkeys(("queued", "start", "phase", "end"))
    for line in filter(None, content.split(b"\n")):
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "start" or kind in series:
                event["step"] - 0  # a number: it orders the reports
            if kind == "end" and not _is_whole(event):
                continue
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if kind in series:
            if kind == "validation" and series[kind] and series[kind][-1]["step"] == event["step"]:
                series[kind].pop()  # the run was killed before it had saved that it had validated
            series[kind].append(event)
        elif kind in latest:
            latest[kind] = event
        if kind == "queued":  # a new attempt
            latest["phase"] = latest["end"] = None
        if kind == "start":
            # Reports of step n are of the weights after n steps, but gradients are those of the step that follows.
            for name, events in series.items():
                if name == "dials":
                    continue
                step = event["step"] - (name == "gradients")
                events[:] = [earlier for earlier in events if earlier["step"] <= step]
    series["validations"] = series.pop("validation")
    return RunLog(**latest, **{kind: tuple(events) for kind, events in series.items()})  # type: ignore[arg-type]


def _is_whole(end: Event) -> bool:
    """Whether an end has everything that pages show: the results of the networks, or why there are none."""
    if end["outcome"] not in get_args(RunOutcome):
        return False
    if end["outcome"] != "finished":
        return end["outcome"] == "stopped" or isinstance(end["message"], str)
    for network in end["networks"]:
        texts = (network[key] for key in ("name", "title", "outcome"))
        numbers = (network["steps"], network["test"]["accuracy"], network["test"]["n"])
        if not all(isinstance(text, str) for text in texts) or not all(type(each) in (int, float) for each in numbers):
            return False
        if not (0 <= network["test"]["accuracy"] <= 1 and network["test"]["n"] >= 1):
            return False
    return len(end["networks"]) > 0


class LogWriter:
    """Appends events to a metrics file, a line each."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "ab", buffering=0, opener=disk.private)

    def write(self, event: str, **values: Any) -> None:
        """Raises OSError where the disk is full; the file then ends with less than a line, which readers leave out."""
        # A line end before it too: a killed process, or a full disk, may have left half a line.
        exact = {name: values[name] for name in values if name in EXACT}
        line = b"\n" + json.dumps({"event": event, **finite(values, 6), **exact}, allow_nan=False).encode() + b"\n"
        if self.file.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.file.close()
