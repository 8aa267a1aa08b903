"""`SlowState`: the training step that Gradients shows in slow motion, beside what else the page shows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from explorer.training import TrainingConfig
from explorer.training.config import OFFERED
from explorer.ui.services.url_codec import UrlState, parse_int

PICTURES = (4, 8, 16, 32, 64)
NUMBERS = {
    "slow_rate": "learning_rate",
    "slow_momentum": "momentum",
    "slow_decay": "weight_decay",
    "slow_clip": "clip",
}
"""The fields of the config by those of the state that are numbers."""
RATES = {"sgd": 0.01, "adam": 0.001}
"""About those of the first steps of a one-cycle training."""


@dataclass(frozen=True)
class SlowState(UrlState):
    """One step of the networks of the bar. Its fields stand in the query beside those of `GradientsState`.

    `slow` says from which weights: initial ones of `slow_seed`, or those of the networks. `slow_pictures` is the size
    of the batch, None for 16 or as many as there are. The rest is the optimiser; a clip of 0 is none. `slow_at` is the
    place of the slow motion that is shown. `slow_take`: the link asks for the step. Raises ValueError for what could
    not have come from this page.
    """

    INTEGERS: ClassVar = {"slow_seed": (0, 2**31), "slow_at": (0, 9999), "slow_pictures": (2, 64)}

    slow: Literal["initial", "trained"] = "initial"
    slow_pictures: int | None = None
    slow_optimizer: Literal["sgd", "adam"] = "sgd"
    slow_rate: float | None = None
    slow_momentum: float = 0.9
    slow_nesterov: bool = True
    slow_decay: float = 5e-4
    slow_clip: float = 0.0
    slow_seed: int = 0
    slow_at: int = 0
    slow_take: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if None in (self.slow_seed, self.slow_at, self.slow_momentum, self.slow_decay, self.slow_clip):
            raise ValueError("a step needs a seed, a place and the numbers of its optimiser.")
        for name, field in NUMBERS.items():
            value = getattr(self, name)
            low, high = OFFERED[field]
            is_number = isinstance(value, float) and math.isfinite(value)
            if value is not None and not (is_number and low <= value <= high):
                raise ValueError(f"`{name}` must be a number in {low:g}..{high:g}, received {value!r:.40}.")

    @property
    def rate(self) -> float:
        return RATES[self.slow_optimizer] if self.slow_rate is None else self.slow_rate

    def config(self, pictures: int) -> TrainingConfig:
        """Of a step on that many pictures."""
        return TrainingConfig(
            epochs=1,
            batch_size=pictures,
            optimizer=self.slow_optimizer,
            learning_rate=self.rate,
            momentum=self.slow_momentum,
            nesterov=self.slow_nesterov,
            weight_decay=self.slow_decay,
            clip=self.slow_clip or None,
            schedule="constant",
            augment=False,
            precision="float32",
        )

    def to_query(self) -> dict[str, str]:
        """Names the weights always, so that no view has the empty query, which opens the page."""
        return {"slow": self.slow} | super().to_query()

    @classmethod
    def within(cls, query: Mapping[str, str]) -> dict[str, str]:
        """The fields of a query that belong to this state."""
        own = {field.name for field in fields(cls)}
        return {name: text for name, text in query.items() if name in own}

    @classmethod
    def _encode(cls, name: str, value: Any) -> str:
        return f"{value:g}" if isinstance(value, float) else super()._encode(name, value)

    @classmethod
    def _decode(cls, name: str, text: str) -> Any:
        if name in NUMBERS:
            return float(text[:20])
        if name in ("slow_nesterov", "slow_take"):
            return text == "yes"
        return parse_int(text) if name in cls.INTEGERS else text
