"""`Cost`: the time and disk that a study takes on this machine, before anything starts, and what is too much."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.labels import duration
from explorer.machine import cores, disk
from explorer.runs import Request, data_folder
from explorer.studies.study import Study, Trial

if TYPE_CHECKING:
    from explorer.training import Speed

MOST_SECONDS = 7 * 24 * 3600.0
LOG_BYTES = 400_000  # of a network: metrics, gradients, snapshots, and the record in its file
KEPT_FREE = 2**28  # bytes of the disk that a study leaves free
DOWNLOADED = {"cifar10": (45_000, 5_000, 10_000), "fashion-mnist": (54_000, 6_000, 10_000)}
"""Training, validation and test pictures of what can be downloaded, as `downloadable.load` splits it."""


@dataclass(frozen=True)
class Cost:
    """What a study takes: `runs` of `networks` in all, `seconds` from start to end with so many `places`, `longest`
    seconds of the longest run, and `bytes` on the disk when it has ended.

    With `is_elsewhere` the places are those of a cluster, whose speed is taken for this machine's. 0 places are an
    unknown number of them, and `seconds` those of one.
    """

    runs: int
    networks: int
    places: int
    seconds: float
    longest: float
    bytes: int
    is_elsewhere: bool = False

    def check(self, folder: Path | None = None) -> None:
        """Raises ValueError, with the number and what to do, where the study takes more than a week, or more than the
        disk of `folder` (by default of the data) has free."""
        least = self.seconds if self.places else self.longest
        if least > MOST_SECONDS:
            how = f"with {_places(self.places)}" if self.places else "for one of its runs"
            raise ValueError(
                f"this study would take about {duration(least)} {how}, and "
                f"{duration(MOST_SECONDS)} are the most. Take fewer values or seeds, smaller networks or less training."
            )
        free = disk.free(folder or data_folder()) - KEPT_FREE
        if self.bytes > free:
            raise ValueError(
                f"this study would take about {_size(self.bytes)} of the disk, which has {_size(max(0, free))} to "
                "spare. Free some space, or take fewer values or seeds."
            )

    @property
    def sentence(self) -> str:
        """The cost in one sentence."""
        networks = "" if self.networks == self.runs else f" of {self.networks:,} networks"
        where = "at the speed of this machine" if self.is_elsewhere else "on this machine"
        how = f"with {_places(self.places)}"
        if not self.places:
            how = f"one run at a time. More at once take {duration(self.longest)} or longer"
        return (
            f"{self.runs:,} run{'s' * (self.runs != 1)}{networks}: about {duration(self.seconds)} {where} {how}"
            f"{', and' if self.places else '. They need'} {_size(self.bytes)} of the disk."
        )


def cost(study: Study, speed: "Speed", places: int = 1, is_elsewhere: bool = False) -> Cost:
    """The cost by the measured speed of this machine; the other parameters are those of a `Cost`.

    Runs side by side share the cores: more places gain only where cores would be idle; on a GPU no gain is counted.
    Elsewhere each place has its own.
    Raises ValueError where `Study.trials` does, and for uploaded data that is gone.
    """
    trials = study.trials()
    known: dict[str, tuple[float, int, int]] = {}
    seconds, size, longest, largest_state = Fraction(0), 0, 0.0, 0
    networks = 0
    for trial in trials:
        key = _key(trial)
        if key not in known:
            known[key] = _run_cost(trial.request, speed)
        taken, kept, state = known[key]
        networks += len(trial.cells)
        at_once = min(places or 1, len(trials))
        # Of so many runs side by side, each network in a thread of its own.
        crowd = max(1.0, at_once * len(trial.cells) / cores()) if trial.request.device == "cpu" else float(at_once)
        taken *= crowd if at_once > 1 and not is_elsewhere else 1.0
        seconds += Fraction(taken) / at_once
        longest, largest_state = max(longest, taken), max(largest_state, state)
        size += kept
    total = max(float(seconds), longest)
    size += (places or len(trials)) * largest_state
    return Cost(len(trials), networks, places, total, longest, size, is_elsewhere)


def pictures(data: dict[str, Any]) -> tuple[int, int, int]:
    """Training, validation and test pictures of the `data` of a request. Raises ValueError where it is damaged."""
    from explorer.datasets import shapes, stored

    kind = data.get("kind")
    if kind == "shapes":
        return shapes.Drawn.requested(data).counts
    if kind == "stored":
        from explorer.runs import stored_data

        dataset = stored.load(stored_data(str(data.get("number"))))
        return len(dataset.train), len(dataset.validation), len(dataset.test)
    if kind in DOWNLOADED:
        return DOWNLOADED[kind]
    raise ValueError(f"there is no data of the kind {str(kind)[:40]!r}; use shapes, or upload some.")


def _key(trial: Trial) -> str:
    """Equal for trials that differ in nothing but the seed."""
    request = trial.request
    return repr((request.specs, {**request.config, "seed": 0}, request.data))


def _run_cost(request: Request, speed: "Speed") -> tuple[float, int, int]:
    """Seconds of a run that has this machine to itself, and the bytes of its files at the end and of its state."""
    from explorer.architectures import ArchitectureSpec, describe
    from explorer.training import TrainingConfig, forecast

    specs: Sequence[ArchitectureSpec] = [ArchitectureSpec.from_dict(values) for values in request.specs]
    config = TrainingConfig.from_dict(request.config)
    found = forecast(speed, specs, config, pictures(request.data))
    parameters = sum(describe(spec).parameters for spec in specs)
    copies = 3 if config.optimizer == "adam" else 2
    return found.seconds + found.measuring, 4 * parameters + LOG_BYTES * len(specs), 4 * copies * parameters


def _places(count: int) -> str:
    return "1 run at a time" if count == 1 else f"{count} runs at a time"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
