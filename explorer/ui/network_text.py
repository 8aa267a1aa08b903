"""A network in words: its measured accuracy, its twin, and its data."""

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

from explorer.architectures.words import variant_words
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.figures.text_escaping import shortened, without_bidi
from explorer.labels import listed
from explorer.runs import is_unbalanced
from explorer.ui.services.inference import ChosenNetwork, NetworkResult
from explorer.ui.services.input_images import InputImage

NOT_MEASURED = "not measured"
_LONGEST = 60  # letters of the data's name in a caption
UPLOADED_DATA = "uploaded, "  # before the family, as the data of a file that does not name its own


def accuracy_text(checkpoint: Checkpoint) -> str:
    """The measured accuracy with its n, or torchvision's, or NOT_MEASURED."""
    for source in ("test", "torchvision"):
        measured = checkpoint.metrics.get(source)
        if isinstance(measured, dict) and is_number(accuracy := measured.get("accuracy")):
            n = measured.get("n")
            if source == "torchvision":
                return f"accuracy {accuracy:.1%}, stated by torchvision"
            if is_number(n):
                return f"test accuracy {accuracy:.1%} (n\u00a0=\u00a0{n:,}){balanced_accuracy_text(measured)}"
    return NOT_MEASURED


def balanced_accuracy_text(measured: dict[str, Any]) -> str:
    """The balanced accuracy in those figures, "" where their classes are balanced."""
    balanced = measured.get("balanced_accuracy")
    return f", balanced accuracy {balanced:.1%}" if is_unbalanced(measured) and is_number(balanced) else ""


def twins_text(first: str, second: str) -> str:
    """What the reader of a comparison of twins must know, as Markdown; the names are Markdown already."""
    return (
        f"**{first}** and **{second}** are twins: they started from the same weights and learned from the same "
        "images in the same order. The shortcuts are the only difference, so every difference below comes from them."
    )


def source_text(networks: Sequence[ChosenNetwork], subject: InputImage | None = None) -> str:
    """Where a saved figure comes from: the networks with the data and the seed of their training, and the image."""
    said = [
        f"{network.title} ({', '.join([*_origin(network.checkpoint), *_step(network), *_changes(network)])})"
        for network in networks
    ]
    text = f"Networks: {listed(said)}."
    if subject is None:
        return without_bidi(text)
    part = "" if subject.frame is None else f", {subject.frame}"
    return without_bidi(f"{text} Image: {subject.caption}{part}; n = 1.")


def _origin(checkpoint: Checkpoint) -> list[str]:
    seed = "seed not recorded" if checkpoint.seed is None else f"seed {checkpoint.seed}"
    return [*variant_words(checkpoint.spec), shortened(checkpoint.data, _LONGEST), seed]


def _step(network: ChosenNetwork) -> list[str]:
    return [] if network.step is None else [f"at step {network.step:,} of its training"]


def _changes(network: ChosenNetwork) -> list[str]:
    """The interventions of the pass that is shown."""
    interventions = network.interventions if isinstance(network, NetworkResult) else ()
    return [f"changed: {listed([str(each) for each in interventions])}"] if interventions else []


def dataset_title(data: str) -> str:
    """The title of data in lists: "Shapes" for `shapes-v1-32` and `shapes-32`, "Shapes 16×16 without heart" for nine of
    its classes, any other name as it is."""
    drawn = shapes.named(data)
    if drawn is None:
        return data
    title = "Shapes" if drawn.size == 32 else f"Shapes {drawn.size}×{drawn.size}"
    without = [name for name in shapes.CLASS_NAMES if name not in drawn.classes]
    if len(without) < len(drawn.classes):
        return title + (f" without {', '.join(without)}" if without else "")
    return f"{title}: {', '.join(drawn.classes)}"


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
