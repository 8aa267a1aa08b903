"""Attacks without their steps."""

from typing import Any

from explorer.experiments.adversarial import AttackedPicture, attack_by_steps


def attack_picture(*arguments: Any, **options: Any) -> AttackedPicture:
    """The last value of `attack_by_steps`, which has the same parameters and errors."""
    *_, (_, found) = attack_by_steps(*arguments, **options)
    assert found is not None
    return found
