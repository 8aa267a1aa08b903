"""Dials: the settings of a training that may change between two steps, and their values at each step."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from reprlib import repr as shown  # a value in a sentence: cut where it is long
from typing import Any, Literal, Self, get_args

from explorer.architectures.fields import check_fields, check_number, fields_of
from explorer.labels import dial_text, listed
from explorer.training.config import LIMITS, TrainingConfig

DialField = Literal["rate_factor", "weight_decay", "clip", "label_smoothing"]
DIAL_FIELDS: tuple[DialField, ...] = get_args(DialField)
DIAL_LIMITS: dict[DialField, tuple[float, float]] = {
    "rate_factor": (0.0, 1000.0),
    "weight_decay": LIMITS["weight_decay"],
    "clip": LIMITS["clip"],
    "label_smoothing": LIMITS["label_smoothing"],
}


@dataclass(frozen=True)
class TrainingDials:
    """The dials at one step. `rate_factor` multiplies the learning rate that the schedule has there; the others take
    the place of the config's fields of their names."""

    rate_factor: float
    weight_decay: float
    clip: float | None
    label_smoothing: float


@dataclass(frozen=True)
class DialChange:
    """A dial turned between two steps: `field` is `new` from that step on before which `step` steps were taken, and was
    `old`. A clip of None does not clip. Raises ValueError for impossible values."""

    step: int
    field: DialField
    old: float | None
    new: float | None

    def __post_init__(self) -> None:
        check_fields(self, {})
        if type(self.step) is not int or self.step < 0:
            raise ValueError(f"`step` of a dial must be a whole number from 0 on, received {shown(self.step)}.")
        for value in (self.old, self.new):
            checked_dial(self.field, value)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The change that `to_dict` described. Raises ValueError or TypeError for anything else."""
        return cls(**fields_of(cls, values, "a turned dial"))


def checked_dial(field: DialField, value: Any) -> float | None:
    """The value as a dial of that field takes it. Raises ValueError, which names the limits, for any other."""
    if value is None and field == "clip":
        return None
    check_number(field, value, *DIAL_LIMITS[field])
    return float(value)


def initial_dials(config: TrainingConfig) -> TrainingDials:
    """The dials of a training that nobody has turned."""
    return TrainingDials(1.0, config.weight_decay, config.clip, config.label_smoothing)


def dials_at(config: TrainingConfig, changes: Sequence[DialChange], step: int) -> TrainingDials:
    """The dials of the step before which `step` steps were taken; `changes` as `with_change` gives them."""
    turned = {change.field: change.new for change in changes if change.step <= step}
    return TrainingDials(**asdict(initial_dials(config)) | turned)  # type: ignore[arg-type]


def with_change(changes: Sequence[DialChange], newest: DialChange) -> tuple[DialChange, ...]:
    """The changes with one more. It takes the place of those of its field at the same step or behind it: a resumed
    training would repeat them, and the user has decided otherwise since."""
    kept = (change for change in changes if change.field != newest.field or change.step < newest.step)
    return (*kept, newest)


def recorded_changes(record: Mapping[str, Any]) -> tuple[DialChange, ...]:
    """The changes in a `TrainingRecord.to_dict`; none where it has none, or, as in a file of somebody, damaged ones."""
    try:
        return tuple(map(DialChange.from_dict, record.get("changes", ())))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def by_step(changes: Sequence[DialChange]) -> list[tuple[int, tuple[DialChange, ...]]]:
    """The steps from which dials were turned, in their order, and what was turned there."""
    ordered = sorted(changes, key=lambda change: change.step)
    return [(step, tuple(group)) for step, group in groupby(ordered, lambda change: change.step)]


def changes_text(changes: Sequence[DialChange], most: int = 5) -> str:
    """`from step 20 on learning rate × 0.1; from step 90 on clipping off`: the newest changes, of at most that many
    steps; "" without any."""
    steps = by_step(changes)
    parts = [
        f"from step {step:,} on {listed([dial_text(each.field, each.new) for each in turned])}"
        for step, turned in steps[-most:]
    ]
    earlier = len(steps) - len(parts)
    more = f" ({earlier} earlier {'change is' if earlier == 1 else 'changes are'} left out here)" if earlier else ""
    return f"{'; '.join(parts)}{more}"


def describe_changes(changes: Sequence[DialChange], most: int = 5) -> str:
    """The same in a sentence."""
    return f"Dials turned while it trained: {changes_text(changes, most)}." if changes else ""
