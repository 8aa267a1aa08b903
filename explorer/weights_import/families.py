"""Facts about each family of networks that the names and shapes of its layers do not tell.

A layout follows from a few names and shapes. `recognition` proves whether all the others fit it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from explorer.architectures import ArchitectureSpec, Network
from explorer.datasets.downloadable import DOWNLOADABLE
from explorer.presets import CIFAR_DEPTHS, PRESETS, cifar
from explorer.weights_import.report import NORMALISATIONS, Normalisation, WeightsError

HEADS = ("fc", "linear", "classifier", "head", "last_linear")
OURS = "this app, without its header"
TUTORIAL = "PyTorch's tutorial"
SMALL_CNN = "a small CNN"
SMALL_STEM = "torchvision's layout with a 3×3 stem"
# The normalisation that networks of a family are trained with, and why it is assumed.
FAMILIES = {
    OURS: ("cifar10", "nothing tells it; the app's `.safetensors` files do"),
    SMALL_STEM: ("cifar10", "most networks of this layout are trained on CIFAR and with its own statistics"),
    "torchvision": ("imagenet", "torchvision trains its VGGs with ImageNet's"),
    "torchvision or timm": ("imagenet", "torchvision and timm train their ResNets with ImageNet's"),
    "akamaster": (
        "imagenet",
        "akamaster's networks, whose files have `best_prec1` beside the weights, are trained with ImageNet's",
    ),
    "akamaster or loss-landscape": (
        "imagenet",
        "akamaster's, the most common networks of this layout, are trained with ImageNet's",
    ),
    "chenyaofo": ("cifar10-2023", "chenyaofo's networks with {classes} classes are trained with it"),
    "kuangliu": ("cifar10-2023", "kuangliu's networks are trained with it"),
    "loss-landscape": ("cifar10", "loss-landscape's networks are trained with it"),
    "Hugging Face": ("imagenet", "Hugging Face's ResNets are trained with ImageNet's"),
    "OpenMMLab": ("imagenet", "OpenMMLab's ResNets are trained with ImageNet's"),
    "OpenMMLab for CIFAR": ("cifar10-2023", "OpenMMLab's networks for CIFAR are trained with it"),
    "robustness": ("imagenet", "torchvision's networks are trained with ImageNet's"),
    "weiaicunzai": ("cifar100", "weiaicunzai's networks are trained with it"),
    "xternalz": ("cifar10", "xternalz's wide ResNets, of the usual names, are trained with it"),
    TUTORIAL: ("half", "PyTorch's tutorial normalises with mean 0.5 and standard deviation 0.5"),
    SMALL_CNN: ("half", "many tutorials normalise with mean 0.5 and standard deviation 0.5"),
}
GREY = ("mnist", "most small networks for grey images are trained on MNIST")
NORMALISATION = "the normalisation: "  # how a sentence begins that doubts it
IN_BLOCK = re.compile(r"layer\d+\.\d+\.")
KNOWS_CIFAR100 = (SMALL_STEM, "chenyaofo")  # with 100 classes, these are trained with the statistics of CIFAR-100
PADDING_AND_ACTIVATION = "padding and activation, which have no weights: zeros that keep the image's size, and ReLU"


@dataclass(frozen=True)
class Candidate:
    """A network that a state dict may be of: `names` has their name for each of our modules that has weights."""

    title: str
    spec: ArchitectureSpec
    names: Mapping[str, str]


@dataclass(frozen=True)
class KeyLayout:
    """The facts that follow from a family's names and a few shapes; the fields are those of `Report` and `Reading`."""

    family: str
    candidates: tuple[Candidate, ...]
    evidence: tuple[str, ...]
    uncertain: tuple[str, ...]
    normalisation: Normalisation
    normalisation_reason: str
    class_names: tuple[str, ...] | None
    question: str | None
    likelier: bool
    """Whether the evidence supports the first of several candidates."""


def layout_of(
    family: str,
    candidates: Sequence[Candidate],
    evidence: Sequence[str],
    uncertain: Sequence[str],
    question: str | None = None,
    likelier: bool = False,
) -> KeyLayout:
    """The layout with the normalisation and class names of the family. `question` and `likelier` are for several
    candidates."""
    spec = candidates[0].spec
    is_grey, uncertain = spec.input_shape[0] == 1, list(uncertain)
    normalisation, reason = GREY if is_grey and max(spec.input_shape) <= 32 else FAMILIES[family]
    if is_grey and family not in (TUTORIAL, SMALL_CNN):  # of which it is said
        uncertain.append(f"{NORMALISATION}it takes grey images, and nothing in the file tells what they went through")
    if spec.one_logit:
        uncertain.append(
            "which class its one output stands for: a large one is taken as the second class, by a sigmoid; a "
            "regression looks the same"
        )
    if spec.classes == 100 and family in KNOWS_CIFAR100:
        normalisation = "cifar100"
    class_names = None
    if max(spec.input_shape) == 224 and spec.classes == 1000:
        from torchvision.models import ResNet18_Weights  # here: half a second that most files do not need

        class_names = tuple(ResNet18_Weights.DEFAULT.meta["categories"])
    elif max(spec.input_shape) == 32 and spec.classes == 10 and family != OURS and not is_grey:
        class_names = DOWNLOADABLE["cifar10"].class_names
    return KeyLayout(
        family,
        tuple(candidates),
        tuple(evidence),
        tuple(uncertain),
        NORMALISATIONS[normalisation],
        reason.format(classes=spec.classes),
        class_names,
        question if len(candidates) > 1 else None,
        likelier and len(candidates) > 1,
    )


def shape(tensor: Tensor) -> str:
    """`64×3×7×7`; of a single value, `a number`."""
    return "×".join(map(str, tensor.shape)) or "a number"


def linear_layers(state: Mapping[str, Tensor], features: int, name: str) -> tuple[str, ...]:
    """The names of the fully connected layers, from `features` values to the classes, in the order that their shapes
    and then their names give. Empty where there are none.

    Raises WeightsError where they are no chain, or one has no place for an activation in front of it.
    """
    modules = [key.removesuffix(".weight") for key, value in state.items() if value.dim() == 2]
    left = sorted((each for each in modules if f"{each}.weight" in state and not IN_BLOCK.match(each)), key=natural)
    chain: list[str] = []
    while left:
        following = next((each for each in left if state[f"{each}.weight"].shape[1] == features), None)
        if following is None:
            raise WeightsError(
                f"{name} has a last layer `{left[0]}.weight` of shape {shape(state[f'{left[0]}.weight'])}, where "
                f"{features:,} values arrive."
            )
        before = natural(chain[-1]) if chain else (("-", 0),)
        if before[-1][0] == "" and natural(following) == (*before[:-1], ("", before[-1][1] + 1)):
            raise WeightsError(
                f"{name} has the layers `{chain[-1]}` and `{following}` in turn, without an activation between them, "
                "which this app's networks always have."
            )
        left.remove(following)
        chain.append(following)
        features = state[f"{following}.weight"].shape[0]
    return tuple(chain)


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """A key that sorts `fc.10` behind `fc.9`, and `fc10` behind `fc9`."""
    parts = [re.split(r"(\d{1,9})$", part)[:2] for part in name.split(".")]
    return tuple((text, int(number[0]) if number else -1) for text, *number in parts)


def head_names(layers: Sequence[str]) -> dict[str, str]:
    """Our names for the fully connected layers, and theirs."""
    return {**{f"head.fc{index}": layer for index, layer in enumerate(layers[:-1], start=1)}, "head.fc": layers[-1]}


def outputs(units: int) -> dict[str, Any]:
    """The fields of a spec with so many outputs: a single one tells two classes apart, by a sigmoid."""
    return {"classes": 2, "one_logit": True} if units == 1 else {"classes": units}


def outputs_in_words(units: int) -> str:
    return "one output, two classes by a sigmoid" if units == 1 else f"{units:,} classes"


def block_counts(state: Mapping[str, Tensor], stage: str, first: int) -> list[int]:
    """The number of blocks of each stage; `stage` is the name in front of its number, which counts from `first`."""
    counts: list[int] = []
    while f"{stage}{first + len(counts)}.0.conv1.weight" in state:
        blocks = 1
        while f"{stage}{first + len(counts)}.{blocks}.conv1.weight" in state:
            blocks += 1
        counts.append(blocks)
    return counts


def from_our_names(state: Mapping[str, Tensor], name: str) -> KeyLayout:
    """`stages.0.0.conv1`, `head.fc`, without the header that says the rest: every preset that has these shapes."""
    blocks = block_counts(state, "stages.", 0)
    candidates = [(preset.title, preset.spec) for preset in PRESETS.values()]
    stem = state.get("stem.conv.weight")
    if len(set(blocks)) == 1 and len(blocks) == 3 and stem is not None and stem.dim() == 4:
        depth, width = 6 * blocks[0] + 2, max(1, stem.shape[0])
        if depth not in CIFAR_DEPTHS or width != 16:
            twins = [cifar(depth, shortcut, width=width) for shortcut in ("identity", "none")]
            candidates += [(spec.name, spec) for spec in twins]
        candidates.append((f"ResNet-{depth}, option B", cifar(depth, "projection", width=width)))
    head = state.get("head.fc.weight")
    classes = head.shape[0] if head is not None and head.dim() == 2 else 10
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    names = {module: module for module in (key.rpartition(".")[0] for key in shapes)}
    fitting = [
        Candidate(title, spec, names)
        for title, preset in candidates
        if [stage.blocks for stage in preset.stages] == blocks
        and expected_shapes(spec := replace(preset, classes=classes)) == shapes
    ]
    if not fitting:
        raise WeightsError(
            f"{name} has this app's names without the description that its `.safetensors` files carry, and no preset "
            "has these shapes; use the `.safetensors` file that the app saved."
        )
    return layout_of(
        OURS,
        fitting,
        [f"this app's names, with the shapes of {', '.join(candidate.title for candidate in fitting)}"],
        ["strides, padding and activation: as the preset has them", "the normalisation: nothing in the file tells it"],
        "Several presets have these names and shapes: which one is it?",
    )


def expected_shapes(spec: ArchitectureSpec) -> dict[str, tuple[int, ...]]:
    """Name -> shape of everything that `Network(spec)` must load."""
    return {key: tuple(value.shape) for key, value in Network.without_values(spec).state_dict().items()}
