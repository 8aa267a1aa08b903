"""What is known of a network, in words: how often it is right, and on which data."""

import math
from typing import Any, TypeGuard

from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.runs import is_unbalanced

NOT_MEASURED = "not measured"


def accuracy(checkpoint: Checkpoint) -> str:
    """The measured share of right predictions with its n, or who says so, or that it was not measured."""
    for source, words in (("test", "right on {n:,} test pictures"), ("torchvision", "right, says torchvision")):
        measured = checkpoint.figures.get(source)
        if isinstance(measured, dict) and is_number(measured.get("accuracy")):
            n = measured.get("n")
            if source == "torchvision" or is_number(n):
                return f"{measured['accuracy']:.1%} {words.format(n=n)}{balanced(measured)}"
    return NOT_MEASURED


def twins(first: str, second: str) -> str:
    """What the reader of a comparison of twins must know, as Markdown; the names are Markdown already."""
    return (
        f"**{first}** and **{second}** are twins: they started from the same weights and learned from the same "
        "pictures in the same order. The shortcuts are the only difference, so every difference below comes from them."
    )


def dataset_title(data: str) -> str:
    """What a list calls the data of a network: "Shapes" for `shapes-v1-32`, any other name as it is."""
    drawn = shapes.named(data)
    if drawn is None:
        return data
    words = "Shapes" if drawn.size == 32 else f"Shapes {drawn.size}×{drawn.size}"
    return words if drawn.classes == shapes.CLASS_NAMES else f"{words}: {', '.join(drawn.classes)}"


def balanced(measured: dict[str, Any]) -> str:
    """The balanced accuracy in those figures, where their classes are not balanced."""
    share = measured.get("balanced_accuracy")
    return f", balanced accuracy {share:.1%}" if is_unbalanced(measured) and is_number(share) else ""


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
