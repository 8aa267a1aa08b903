"""`RunLog`: what a run has said in its metrics file, which is appended to and never changed."""

import errno
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from explorer.numbers import finite
from explorer.runs.directory import Ending


@dataclass(frozen=True)
class RunLog:
    """All that the metrics file says of one run, as it stands.

    `progress` are the reports that count, in order of their steps: what was reported behind the point at which the
    run was later resumed is left out. `validations`, `gradients`, `predictions` and `cams` are events of the
    same kind, `cams` none in runs of before they were told.
    `start` tells what is trained where; `phase` what is going on now; `end` how the last attempt ended, None while it
    goes on or where it was killed.
    """

    queued: dict[str, Any] | None
    start: dict[str, Any] | None
    phase: dict[str, Any] | None
    progress: tuple[dict[str, Any], ...]
    validations: tuple[dict[str, Any], ...]
    gradients: tuple[dict[str, Any], ...]
    predictions: tuple[dict[str, Any], ...]
    cams: tuple[dict[str, Any], ...]
    end: dict[str, Any] | None


def read(path: Path) -> RunLog:
    """What the file says; a line cut off by a kill is left out, a missing file says nothing."""
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
    """What the lines say."""
    lines = content.split(b"\n")
    found: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("progress", "validation", "gradients", "predictions", "cams")
    }
    latest: dict[str, dict[str, Any] | None] = {"queued": None, "start": None, "phase": None, "end": None}
    for line in filter(None, lines):
        try:
            event = json.loads(line)
            kind = event["event"]
            if kind == "start" or kind in found:
                event["step"] - 0  # a number: by it the reports are ordered
            if kind == "end" and not _is_whole(event):
                continue
        except (ValueError, KeyError, TypeError):
            continue
        if kind in found:
            if kind == "validation" and found[kind] and found[kind][-1]["step"] == event["step"]:
                found[kind].pop()  # the run was killed before it had saved that it had validated
            found[kind].append(event)
        elif kind in latest:
            latest[kind] = event
        if kind == "queued":  # a new attempt
            latest["phase"] = latest["end"] = None
        if kind == "start":
            # Reports of step n are of the weights after n steps, but gradients are those of the step that follows.
            for name, events in found.items():
                step = event["step"] - (name == "gradients")
                events[:] = [earlier for earlier in events if earlier["step"] <= step]
    return RunLog(
        latest["queued"],
        latest["start"],
        latest["phase"],
        tuple(found["progress"]),
        tuple(found["validation"]),
        tuple(found["gradients"]),
        tuple(found["predictions"]),
        tuple(found["cams"]),
        latest["end"],
    )


def _is_whole(end: dict[str, Any]) -> bool:
    """Whether an end says what every page shows of it: what came of the networks, or why there is nothing."""
    if end["outcome"] not in get_args(Ending):
        return False
    if end["outcome"] == "failed":
        return isinstance(end["message"], str)
    networks = end["networks"] if end["outcome"] == "finished" else ()
    for network in networks:
        words = (network[key] for key in ("name", "title", "outcome"))
        numbers = (network["steps"], network["test"]["accuracy"], network["test"]["n"])
        if not all(isinstance(word, str) for word in words) or not all(type(each) in (int, float) for each in numbers):
            return False
        if not (0 <= network["test"]["accuracy"] <= 1 and network["test"]["n"] >= 1):
            return False
    return end["outcome"] != "finished" or len(networks) > 0


class LogWriter:
    """Appends events to a metrics file, a line each."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, event: str, **values: Any) -> None:
        """Raises OSError where the disk is full; the file then ends with less than a line, which readers leave out."""
        # A line end before it too: a killed process, or a full disk, may have left half a line.
        exact = {name: values[name] for name in values if name == "time"}
        line = b"\n" + json.dumps({"event": event, **finite(values, 6), **exact}, allow_nan=False).encode() + b"\n"
        if os.write(self.descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        os.fsync(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)
