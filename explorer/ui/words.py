"""What is known of a network, in words: the choices it was made with, and how often it is right."""

import math
from typing import Any, TypeGuard

from explorer.architectures import ACTIVATION_NAMES
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.runs import is_unbalanced

NOT_MEASURED = "not measured"

WORDS: dict[str, str] = {
    "batch": "BatchNorm",
    "none": "none",
    **{str(activation): name for activation, name in ACTIVATION_NAMES.items()},
    "he": "He",
    "pytorch": "PyTorch",
    "conv": "strided convolution",
    "max": "max pooling",
    "average": "average pooling",
    "flatten": "none: every pixel",
    "same": "same",
    "valid": "valid",
    "sgd": "SGD",
    "adam": "Adam",
    "constant": "constant",
    "step": "steps",
    "cosine": "cosine",
    "one_cycle": "one cycle",
    "auto": "fastest here",
    "float32": "float32",
    "bfloat16": "bfloat16",
}


def accuracy(checkpoint: Checkpoint) -> str:
    """The measured share of right predictions with its n, or who says so, or that it was not measured."""
    for source, words in (("test", "right on {n:,} test pictures"), ("torchvision", "right, says torchvision")):
        measured = checkpoint.figures.get(source)
        if isinstance(measured, dict) and is_number(measured.get("accuracy")):
            n = measured.get("n")
            if source == "torchvision" or is_number(n):
                return f"{measured['accuracy']:.1%} {words.format(n=n)}{balanced(measured)}"
    return NOT_MEASURED


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
