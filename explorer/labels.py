"""The label of each value of a spec, a training and a view, for forms, tables, charts, sentences and the terminal."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple


class Label(NamedTuple):
    """A label for a form, and a longer one for a table."""

    short: str
    long: str


def numbered_classes(count: int) -> tuple[str, ...]:
    """The names of the classes of a network whose file does not name them: `class 0`, `class 1`, …"""
    return tuple(f"class {index}" for index in range(count))


FAMILIES = {"none": "plain CNN", "identity": "ResNet, identity (A)", "projection": "ResNet, projection (B)"}
"""Networks by their shortcuts."""

SHORTCUTS = {
    "none": Label("none (plain)", "none (plain)"),
    "identity": Label("identity", "identity (option A)"),
    "projection": Label("projection", "projection (option B)"),
}
SHORTCUTS_OF_BLOCKS = {
    "identity": Label("identity shortcut", "s(x) is x itself"),
    "padded": Label("option-A shortcut", "s(x) is x with fewer pixels, and zeros for the new channels"),
    "projection": Label("projection shortcut", "s(x) is a 1×1 convolution of x"),
    "branch": Label("parallel branch", "another branch, joined at the end"),
}
"""Shortcuts of one block: an identity shortcut is "padded" where shapes change. A network from an ONNX file may have
more branches than one."""

BLOCKS = {
    "conv": "one convolution",
    "basic": "basic: two convolutions",
    "bottleneck": "bottleneck: 1×1, conv, 1×1",
    "pointwise": "1×1, then conv",
    "separable": "depthwise, then 1×1",
}
BRANCH_STARTS = {
    "full": "as initialised",
    "gain": "learned gain, 0 at first (SkipInit, ReZero)",
    "gamma": "last norm's weight 0 at first (zero-γ)",
}
NORMS = {"batch": "BatchNorm", "none": "none"}
ACTIVATIONS = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
INITIALISATIONS = {"he": "Kaiming (He)", "pytorch": "PyTorch default"}

OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}

SCOPES = {"layer": "layer", "network": "network", "both": "all"}
"""Which maps share a colour scale."""

GRADIENT_SOURCES = {
    "initial": "At initialisation",
    "checkpoint": "In a trained network",
    "record": "During training",
}
GRADIENT_QUANTITIES = {"weights": "weights", "activations": "activations", "blocks": "blocks"}
GRADIENT_SCALES = {"absolute": "absolute", "relative": "relative to last layer"}
STEP_WEIGHTS = {"initial": "initial weights", "trained": "weights as they are"}
"""From which weights a training step in slow motion goes."""
STEP_PHASES = {
    "batch": "Batch",
    "forward": "Forward",
    "loss": "Loss",
    "backward": "Backward",
    "update": "Update",
    "after": "New loss",
}
"""The parts of a training step, in their order."""
GUESSES = {"falls": "It falls", "stays": "It stays level", "rises": "It rises"}
"""What the gradient may do from the last layer to the first."""

STRIP_ROWS = {
    "probe": Label("Linear probe", "accuracy of a linear probe"),
    "separability": Label("Separability", "separability of the classes"),
    "dead": Label("Dead channels", "share of dead channels"),
    "field": Label("Receptive field", "receptive field, pixels"),
    "distance": Label("Distance to the twin", "distance of the networks"),
    "cka": Label("CKA with the twin", "CKA of the networks"),
}
"""Further rows of the depth strip, each switched on when wanted."""

DIALS = {
    "x": Label("Shift right", "pixels to the right"),
    "y": Label("Shift down", "pixels down"),
    "rotation": Label("Rotation", "degrees counter-clockwise"),
    "scale": Label("Scale", "times the size"),
    "brightness": Label("Brightness", "times the values"),
    "contrast": Label("Contrast", "times the distance from the mean grey"),
    "blur": Label("Blur", "pixels of standard deviation"),
    "noise": Label("Noise", "levels of 255 of standard deviation"),
    "seed": Label("Seed of the noise", "seed of the noise"),
    "jpeg": Label("JPEG quality", "quality of the JPEG"),
}
"""What changes a picture; the longer label is the unit of a value."""
TRAINING_DIALS = {
    "rate_factor": Label("rate", "learning rate"),
    "weight_decay": Label("decay", "weight decay"),
    "clip": Label("clip", "clipping"),
    "label_smoothing": Label("smoothing", "label smoothing"),
}
"""What may change while a network trains; the shorter label is for a mark on a chart."""
ATTACKS = {
    "fgsm": Label("FGSM", "fast gradient sign method, one step (Goodfellow et al. 2015, arXiv 1412.6572)"),
    "pgd": Label("PGD", "projected gradient descent from a random start (Madry et al. 2018, arXiv 1706.06083)"),
}

EVIDENCE = {"positive": "Grad-CAM", "signed": "Signed Grad-CAM"}
"""Whether a Grad-CAM keeps what supports the class alone, or also what opposes it."""
CONTROL_MAPS = {"mask": "the mask itself", "centre": "centre of the image", "noise": "noise"}
"""Maps that know nothing of the network, beside which methods are measured."""
RANDOM_LEVELS = {"head": "head random", "half": "upper half random", "all": "all random"}
"""Which layers have random weights, from the head back."""

STATISTICS = {"frozen": "frozen", "recomputed": "recomputed"}
"""Whether BatchNorm's means and variances stay those of the training, or are measured at every point of a surface."""
ENGINES = {"local": "This machine", "ray": "Ray"}
"""What trains the runs of a study."""

RUN_STATES = {"waiting": "not started", "new": "not started", "queued": "queued", "running": "training"}
"""The states of a run that are called otherwise; of a study's runs some are not started yet."""

ACTIVATION_RMS = "RMS of the activation"
GRADIENT_RMS = "RMS of ∂score/∂activation"
"""Root mean squares over all channels and pixels of a layer."""

NONE = "None"
"""The choice of no network."""

VALUES: dict[str, dict[str, str]] = {
    "block": BLOCKS,
    "branch_start": BRANCH_STARTS,
    "norm": NORMS,
    "activation": ACTIVATIONS,
    "initialisation": INITIALISATIONS,
    "downsampling": {"conv": "strided convolution", "max": "max pooling", "average": "average pooling"},
    "head_pooling": {"average": "average pooling", "flatten": "none: every pixel"},
    "stem_pooling": {"none": "none", "max": "max pooling"},
    "shortcut": {value: label.short for value, label in SHORTCUTS.items()},
    "optimizer": OPTIMIZERS,
    "schedule": {"constant": "constant", "step": "steps", "cosine": "cosine", "one_cycle": "one cycle"},
    "precision": {"auto": "fastest here"},
}
"""The tables by the name of their field."""


def label(field: str, value: object) -> str:
    """The label of a value of that field; the value itself without one."""
    return VALUES.get(field, {}).get(str(value), str(value))


def run_state(state: str) -> str:
    """The state of a run in words, for pages and the terminal."""
    return RUN_STATES.get(state, state)


def dial_text(field: str, value: float | None, short: bool = False) -> str:
    """A dial of a training and its value: `learning rate × 0.1`, `weight decay 0.01`, `clipping off`."""
    name = TRAINING_DIALS[field].short if short else TRAINING_DIALS[field].long
    if value is None:
        return f"{name} off"
    return f"{name} {'× ' if field == 'rate_factor' else ''}{value:.4g}"


def shortcuts_of(value: str) -> str:
    """`no shortcuts`, `identity shortcuts`."""
    return f"{'no' if value == 'none' else SHORTCUTS[value].short} shortcuts"


def norm_of(value: str) -> str:
    """`no norm`, `BatchNorm`."""
    return "no norm" if value == "none" else NORMS[value]


def initialisation_of(value: str) -> str:
    """`Kaiming (He) initialisation`."""
    return f"{INITIALISATIONS[value]} initialisation"


def stage_of(layer: str) -> str:
    """`stages.1.0.conv2` -> "stages.1", `stem.conv` -> "stem"."""
    return ".".join(layer.split(".")[: 2 if layer.startswith("stages.") else 1])


def stage_title(layer: str) -> str:
    """`stages.1.0.conv2` -> "stage 2", counted from 1 as the drawing does; `stem.conv` -> "stem"."""
    first, *rest = layer.split(".")
    return f"stage {int(rest[0]) + 1}" if first == "stages" else first


def stage_spans(layers: Sequence[str]) -> list[tuple[int, int]]:
    """(start, end) of each run of neighbouring layers of one stage; the end is exclusive."""
    spans: list[tuple[int, int]] = []
    for _, run in groupby(layers, stage_of):
        start = spans[-1][1] if spans else 0
        spans.append((start, start + len(list(run))))
    return spans


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def with_article(noun: str) -> str:
    """`a ship`, `an airplane`."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def capital(text: str) -> str:
    """The text with a capital letter in front."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """In the unit that suits: `8 s`, `12 min`, `3.5 h`. The shortest is `1 s`."""
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:,.1f} h".replace(".0 h", " h")
