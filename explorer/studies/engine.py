"""`Engine`: what executes the runs of a study, on this machine or elsewhere, by three verbs."""

from typing import Protocol

from explorer.runs import Run


class EngineError(Exception):
    """An engine that cannot be used, in one sentence with what to do; the study can be resumed later."""


class Engine(Protocol):
    """Starts runs whose directories exist with their requests, tells which have ended, and kills them.

    `places` is the number of runs that may be started and not yet ended at one time. Every verb raises EngineError
    where the engine does not answer.
    """

    places: int

    def start(self, run: Run) -> bool:
        """Starts a run that has not finished; it resumes from its saved state where there is one. A run whose process
        lives already, started by an earlier driver, is only followed. False where there is no room now: try again.

        Raises OSError where the disk is full and ValueError where the run cannot start.
        """

    def wait(self, seconds: float) -> tuple[Run, ...]:
        """Runs started here that have ended, however, each once. It returns as soon as there is one, and after
        `seconds` at the latest. How a run ended says `runs.status`; a lost one is "interrupted"."""

    def kill(self, run: Run) -> None:
        """Ends a run that was started here, in some seconds; its saved state stays. `wait` still tells of its end."""

    def close(self) -> None:
        """Gives back what the engine holds. Runs that go on are left alone."""
