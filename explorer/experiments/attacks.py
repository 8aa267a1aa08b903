"""`Attack`: FGSM or PGD within a ball of L∞; `AimedAttack`: one as a view has it and links write it."""

import re
from dataclasses import dataclass
from typing import Self

from explorer.labels import ATTACKS

LARGEST = 16 / 255
"""The largest ε: a share of the range from black to white."""
STEPS = 10
"""Usual steps of PGD."""
MOST_STEPS = 100
STEP = 2.5
"""Times ε / steps is one step of PGD: it reaches the ball's surface from any point inside and moves along it."""


@dataclass(frozen=True)
class Attack:
    """A search for a picture that a network answers wrongly, at most `epsilon` away in every pixel and channel: L∞.

    Pixels are on the scale 0..1, before the network's normalisation, and stay there. `steps` 0 is FGSM (Goodfellow et
    al. 2015, arXiv 1412.6572): one step of ε by the sign of the loss's gradient. More are steps of PGD (Madry et al.
    2018, arXiv 1706.06083), here of 2.5 ε / `steps` each, from a point of the ball that is drawn evenly by `seed`;
    after each the picture is brought back into the ball. Raises ValueError for values out of range.
    """

    epsilon: float
    steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.epsilon) not in (int, float) or not 0 <= self.epsilon <= LARGEST:
            raise ValueError(f"`epsilon` must be from 0 to 16/255, received {self.epsilon!r:.40}.")
        for name, high in (("steps", MOST_STEPS), ("seed", 2**31 - 1)):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= high:
                raise ValueError(f"`{name}` must be a whole number from 0 to {high}, received {value!r:.40}.")

    @property
    def method(self) -> str:
        """The key in `labels.ATTACKS`."""
        return "pgd" if self.steps else "fgsm"

    @property
    def passes(self) -> int:
        """How many gradients it takes; each is a pass and a way back, which costs two."""
        return max(1, self.steps)

    @property
    def step(self) -> float:
        """How far one step goes in every pixel."""
        return STEP * self.epsilon / self.steps if self.steps else float(self.epsilon)

    def words(self) -> str:
        """`PGD of 10 steps within 4/255`."""
        steps = f" of {self.steps} step{'' if self.steps == 1 else 's'}" if self.steps else ""
        return f"{ATTACKS[self.method].short}{steps} within {epsilon_text(self.epsilon)}"


_PART = re.compile(r"(epsilon|steps|seed|target)([0-9]{1,10}(?:\.[0-9]{1,3})?)|second|least", re.ASCII)


@dataclass(frozen=True)
class AimedAttack:
    """An attack as a view of two networks has it: how strong, against which of them, and for which answer.

    `level` is ε in levels of 255, 0..16, in thousandths; at 0 nothing is attacked. It is made against the `second`
    network or the first. That one shall answer the class `target`, or the `least` likely of the clean picture, or else
    any other class. Raises ValueError for values out of range.
    """

    level: float = 0.0
    steps: int = 0
    seed: int = 0
    second: bool = False
    least: bool = False
    target: int | None = None

    def __post_init__(self) -> None:
        if self.least and self.target is not None:
            raise ValueError("an attack is for the least likely class or for a chosen one, not for both.")
        if self.target is not None and not (type(self.target) is int and 0 <= self.target <= 10**6):
            raise ValueError(f"`target` must be the number of a class, received {self.target!r:.40}.")
        object.__setattr__(self, "level", round(float(self.level), 3))
        _ = self.attack  # which checks the rest

    @property
    def attack(self) -> Attack:
        return Attack(self.level / 255, self.steps, self.seed)

    def to_text(self) -> str:
        """For a link, what differs from the defaults: `epsilon4_steps10_second_target3`. It needs no escapes."""
        parts = [("epsilon", self.level), ("steps", self.steps), ("seed", self.seed)]
        texts = [f"{name}{value:.10g}" for name, value in parts if value]
        texts += [name for name in ("second", "least") if getattr(self, name)]
        return "_".join([*texts, *([] if self.target is None else [f"target{self.target}"])])

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The attack that `to_text` wrote. Raises ValueError with one sentence for any other text."""
        found: dict[str, float | bool] = {}
        for part in text.split("_") if text else []:
            match = _PART.fullmatch(part)
            name = "" if match is None else {"epsilon": "level"}.get(match[1] or part, match[1] or part)
            if match is None or name in found or (name != "level" and "." in part):
                raise ValueError(
                    "the attack on an image is written like epsilon4_steps10_second_least or epsilon2_target3, each "
                    f"part at most once, received {text!r:.60}."
                )
            found[name] = True if match[1] is None else float(match[2]) if name == "level" else int(match[2])
        return cls(**found)  # type: ignore[arg-type]  # which checks them


def epsilon_text(epsilon: float) -> str:
    """`4/255`."""
    return f"{epsilon * 255:.4g}/255"


def epsilon_of(text: str) -> float:
    """The ε of "4/255" or "0.0157". Raises ValueError with one sentence."""
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)(/255)?", text.strip(), re.ASCII)
    value = float(match[1]) / (255 if match[2] else 1) if match else -1.0
    if not 0 <= value <= LARGEST:
        raise ValueError(f"ε must be written like 4/255 and be from 0 to 16/255, received {text!r:.40}.")
    return value
