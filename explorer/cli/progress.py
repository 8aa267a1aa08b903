"""The progress of an experiment in the terminal."""

import sys
import time
from collections.abc import Iterator
from typing import TypeVar

Result = TypeVar("Result")

REPORT_EVERY = 2.0  # seconds between two lines


class Progress:
    """Says on stderr now and then what share of an experiment is done, and how long the rest takes."""

    def __init__(self, title: str = "") -> None:
        self._title = title
        self._started = self._shown = time.monotonic()

    def show(self, share: float, before: float = 0.0) -> None:
        """`before` is the share that an earlier call of the command has done."""
        now = time.monotonic()
        if share >= 1 or now - self._shown <= REPORT_EVERY:
            return
        self._shown = now
        left = round((now - self._started) * (1 - share) / max(share - before, 1e-3))
        print(f"{self._title}{share:4.0%}  {left // 60}:{left % 60:02} left", file=sys.stderr, flush=True)


def followed(steps: Iterator[tuple[float, Result | None]]) -> Result:
    """The result of an experiment; its progress goes to stderr."""
    progress, result = Progress(), None
    for share, result in steps:
        if result is None:
            progress.show(share)
    assert result is not None
    return result
