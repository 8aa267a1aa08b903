"""`TrainingConfig`, and the learning rate that follows from it."""

import math
from dataclasses import asdict, dataclass
from reprlib import repr as shown  # a value in a sentence: cut where it is long
from typing import Any, Literal, Self

from explorer.architectures.fields import check_fields, fields_of

Optimizer = Literal["sgd", "adam"]
Schedule = Literal["constant", "step", "cosine", "one_cycle"]
Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda", "mps"]

LIMITS: dict[str, tuple[float, float]] = {
    "epochs": (1, 100_000),
    "batch_size": (2, 65_536),
    "seed": (0, 2**63 - 1),
    "seconds": (0.1, 1e7),
    "learning_rate": (1e-12, 1e6),
    "momentum": (0.0, 0.9999),
    "weight_decay": (0.0, 10.0),
    "step_factor": (0.0, 1.0),
    "label_smoothing": (0.0, 0.99),
    "clip": (1e-12, 1e12),
}
"""Lowest and highest value of each field of a config, both allowed; whole numbers where the limits are whole."""

OFFERED: dict[str, tuple[float, float]] = {
    "epochs": (1, 10_000),
    "batch_size": LIMITS["batch_size"],
    "seed": (0, 2**31),
    "seconds": (1.0, 86_400.0),
    "learning_rate": (1e-6, 100.0),
    "momentum": (0.0, 0.999),
    "weight_decay": (0.0, 1.0),
    "label_smoothing": LIMITS["label_smoothing"],
    "clip": (0.0, 1000.0),
}
"""The same for a form, where a `clip` of 0 means no clipping."""

WARM_UP_SHARE = 0.25  # of a one-cycle run; Smith and Topin 2017 leave it open, 0.2 to 0.45 are in use


@dataclass(frozen=True)
class TrainingConfig:
    """The training of a network.

    Exactly one of `epochs` and `seconds` is the budget; with `seconds` the schedule follows the clock. `learning_rate`
    is the highest one of the schedule. "step" multiplies it by `step_factor` at each of `milestones`, shares of the
    run; "cosine" lets it fall to 0 along half a cosine; "one_cycle" lets it rise linearly from 0.04 of it for a quarter
    of the run, and then fall to 0 along half a cosine. `weight_decay` times the weight is added to its gradient, also
    with Adam (L2, not AdamW), for biases and norms too. With `class_weights` every class counts alike in the loss.
    `clip` is the largest L2 norm of all gradients together, before weight decay. `augment` pads by 4, crops at random
    and flips half of the pictures. `precision` "auto" is bfloat16 autocast where the processor gains from it, else
    float32. `compile` fuses operations with torch.compile: it needs a C++ compiler and a minute or more. Raises
    ValueError for impossible values.
    """

    epochs: int | None = None
    seconds: float | None = None
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: Schedule = "one_cycle"
    milestones: tuple[float, ...] = (0.5, 0.75)
    step_factor: float = 0.1
    label_smoothing: float = 0.0
    class_weights: bool = False
    clip: float | None = None
    augment: bool = True
    seed: int = 0
    precision: Precision = "auto"
    device: Device = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.seconds is None):
            raise ValueError(
                "give the budget as either `epochs` or `seconds`, received "
                f"epochs={shown(self.epochs)} and seconds={shown(self.seconds)}."
            )
        check_fields(self, LIMITS)
        if not isinstance(self.milestones, tuple) or not all(
            isinstance(share, int | float) and 0 < share < 1 for share in self.milestones
        ):
            raise ValueError(
                f"`milestones` must be shares of the run between 0 and 1, received {shown(self.milestones)}."
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` is its inverse."""
        return {**asdict(self), "milestones": list(self.milestones)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The config that `to_dict` described. Raises ValueError for anything else."""
        values = fields_of(cls, values, "a training config")
        if isinstance(values.get("milestones"), list):
            values["milestones"] = tuple(values["milestones"])
        return cls(**values)


def learning_rate_at(config: TrainingConfig, fraction: float) -> float:
    """The learning rate after `fraction` (0..1) of the run."""
    peak = config.learning_rate
    if config.schedule == "step":
        return peak * config.step_factor ** sum(fraction >= share for share in config.milestones)
    if config.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * fraction))
    if config.schedule == "one_cycle":
        if fraction < WARM_UP_SHARE:
            return peak * (0.04 + 0.96 * fraction / WARM_UP_SHARE)
        return peak * 0.5 * (1 + math.cos(math.pi * (fraction - WARM_UP_SHARE) / (1 - WARM_UP_SHARE)))
    return peak
