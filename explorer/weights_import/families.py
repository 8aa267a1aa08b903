"""How each family names its layers, and what is known of it that neither names nor shapes tell.

A layout follows from a few names and shapes. `recognition` proves whether all the others fit it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from explorer.architectures import ArchitectureSpec
from explorer.datasets.downloadable import DOWNLOADABLE
from explorer.presets import CIFAR_DEPTHS, PRESETS, cifar
from explorer.weights_import.report import NORMALISATIONS, Normalisation, WeightsError

HEADS = ("fc", "linear", "classifier", "head", "last_linear")


@dataclass(frozen=True)
class Candidate:
    """A network that a state dict may be of: `names` has their name for each of our modules that has weights."""

    title: str
    spec: ArchitectureSpec
    names: Mapping[str, str]


@dataclass(frozen=True)
class KeyLayout:
    """What a family's names and a few shapes say; as in `Report`."""

    family: str
    candidates: tuple[Candidate, ...]
    evidence: tuple[str, ...]
    uncertain: tuple[str, ...]
    normalisation: Normalisation
    normalisation_reason: str
    class_names: tuple[str, ...] | None = None
    question: str | None = None


def shape(tensor: Tensor) -> str:
    """`64×3×7×7`; of a single value, `a number`."""
    return "×".join(map(str, tensor.shape)) or "a number"


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many of `pattern`, with 0, 1, 2, ... put into it, are there before the first that is not."""
    found = 0
    while pattern.format(found) in state:
        found += 1
    return found


def cifar_names(spec: ArchitectureSpec) -> tuple[str, ...] | None:
    return DOWNLOADABLE["cifar10"].class_names if spec.classes == 10 else None


def imagenet_names() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights  # here: half a second that most files do not need

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def own(state: Mapping[str, Tensor], wrapper: Collection[str], name: str) -> KeyLayout:
    """`stages.0.0.conv1`, `head.fc`, without the header that says the rest: every preset that has these shapes."""
    blocks: list[int] = []
    while found := count(state, f"stages.{len(blocks)}.{{}}.conv1.weight"):
        blocks.append(found)
    candidates = [(preset.title, preset.spec) for preset in PRESETS.values()]
    stem = state.get("stem.conv.weight")
    if len(set(blocks)) == 1 and len(blocks) == 3 and stem is not None and stem.dim() == 4:
        depth, width = 6 * blocks[0] + 2, max(1, stem.shape[0])
        if depth not in CIFAR_DEPTHS or width != 16:
            candidates += [
                (cifar(depth, way, width=width).name, cifar(depth, way, width=width)) for way in ("identity", "none")
            ]
        candidates.append((f"ResNet-{depth}, option B", cifar(depth, "projection", width=width)))
    head = state.get("head.fc.weight")
    classes = head.shape[0] if head is not None and head.dim() == 2 else 10
    candidates = []
    for title, spec in candidates:
        if [stage.blocks for stage in spec.stages] != blocks:
            continue
        spec = replace(spec, classes=classes)
        expected = expected_shapes(spec)
        if {key: tuple(value.shape) for key, value in state.items()} == expected:
            candidates.append(
                Candidate(title, spec, {key.rpartition(".")[0]: key.rpartition(".")[0] for key in expected})
            )
    if not candidates:
        raise WeightsError(
            f"{name} has this app's names without the description that its `.safetensors` files carry, and no preset "
            "has these shapes; use the `.safetensors` file that the app saved."
        )
    return KeyLayout(
        "this app, without its header",
        tuple(candidates),
        (f"this app's names, with the shapes of {', '.join(candidate.title for candidate in candidates)}",),
        ("strides, padding and activation: as the preset has them", "the normalisation: nothing in the file tells it"),
        NORMALISATIONS["cifar10"],
        "nothing tells it; the app's `.safetensors` files do",
        class_names=None,
        question="Several presets have these names and shapes: which one is it?" if len(candidates) > 1 else None,
    )


def expected_shapes(spec: ArchitectureSpec) -> dict[str, tuple[int, ...]]:
    """Name -> shape of everything that `Network(spec)` must load."""
    import torch

    from explorer.architectures import Network

    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in Network(spec).state_dict().items()}
