"""What is known of a network, in words: the choices it was made with, and how often it is right."""

import math
import re

from explorer.architectures import ACTIVATION_NAMES
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes

NOT_MEASURED = "not measured"
_SHAPES = re.compile(r"shapes-v([0-9]+)-([0-9]+)(?:-([a-z-]+))?")  # a dataset's name: version, side, some classes

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
                return f"{measured['accuracy']:.1%} {words.format(n=n)}"
    return NOT_MEASURED


def dataset_title(data: str) -> str:
    """What a list calls the data of a network: "Shapes" for `shapes-v1-32`, any other name as it is."""
    known = _SHAPES.fullmatch(data)
    if known is None:
        return data
    version, side, classes = known.groups()
    words = "Shapes" if int(version) == shapes.VERSION else f"Shapes, version {version}"
    words += "" if side == "32" else f" {side}×{side}"
    return f"{words}: {classes.replace('-', ', ')}" if classes else words


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
