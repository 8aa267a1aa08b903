"""ResNets and their plain twins: torchvision, timm, akamaster, kuangliu, chenyaofo, loss-landscape."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.weights_import.families import (
    HEADS,
    PADDING_AND_ACTIVATION,
    SMALL_STEM,
    Candidate,
    KeyLayout,
    block_counts,
    layout_of,
    shape,
)
from explorer.weights_import.report import WeightsError

PLAIN_OR_A = (
    "A plain network and one with option-A shortcuts, which have no parameters, have the same names and shapes: which "
    "of the two is it?"
)
POOLING = (
    "A max-pooling behind the stem has no parameters: has this network one? Networks for images of 32 pixels exist "
    "with it and without."
)


def resnet(state: Mapping[str, Tensor], wrapper: Collection[str], name: str) -> KeyLayout:
    """`conv1`, `bn1`, `layer1.0.conv1`, ...: torchvision, timm, akamaster, kuangliu, chenyaofo, loss-landscape."""
    stem = state["conv1.weight"]
    is_bottleneck = "layer1.0.conv3.weight" in state
    last = "conv3" if is_bottleneck else "conv2"
    blocks = block_counts(state, "layer", 1)
    channels = []
    for index in range(1, len(blocks) + 1):
        weight = state.get(f"layer{index}.0.{last}.weight")
        if weight is None or weight.dim() != 4:
            raise WeightsError(
                f"{name} has the names of a ResNet, but `layer{index}.0.{last}.weight` is no convolution."
            )
        channels.append(weight.shape[0])
    head = next((head for head in HEADS if f"{head}.weight" in state), None)
    if head is None or state[f"{head}.weight"].dim() != 2:
        raise WeightsError(
            f"{name} has the names of a ResNet, but none of {', '.join(f'`{head}.weight`' for head in HEADS)} is its "
            "last layer: without one it gives features, not classes."
        )
    kernel = stem_kernel(stem, len(blocks), name)
    shortcut = next((part for part in ("downsample", "shortcut") if any(f".{part}." in key for key in state)), None)
    if is_bottleneck and shortcut is None:
        raise WeightsError(
            f"{name} is a bottleneck network without any shortcut weights; the published ones (loss-landscape, "
            "`_noshort`) have no activation at the end of a block, which this app's blocks always have, so it cannot "
            "be shown exactly."
        )
    size = 224 if kernel == 7 else 32
    spec = ArchitectureSpec(
        stages=tuple(Stage(n, c, 1 if i == 0 else 2) for i, (n, c) in enumerate(zip(blocks, channels, strict=True))),
        block="bottleneck" if is_bottleneck else "basic",
        shortcut="none" if shortcut is None else "projection",
        stem=Stem(stem.shape[0], kernel, *((2, "max") if kernel == 7 else (1, "none"))),
        input_shape=(3, size, size),
        classes=state[f"{head}.weight"].shape[0],
    )
    evidence = [
        f"`conv1.weight` is {shape(stem)}: a stem of {stem.shape[0]} channels, {kernel}×{kernel}, of "
        + ("the ImageNet networks" if kernel == 7 else "the CIFAR networks"),
        f"{len(blocks)} stages of {', '.join(map(str, blocks))} blocks with {', '.join(map(str, channels))} channels, "
        f"{'three convolutions' if is_bottleneck else 'two convolutions'} a block: {spec.depth} layers",
        f"`{head}.weight` is {shape(state[f'{head}.weight'])}: {spec.classes:,} classes",
        "no shortcut has weights: option A, or none at all"
        if shortcut is None
        else f"projection shortcuts (option B) under `{shortcut}`",
    ]
    names = module_names(spec, head, shortcut)
    if shortcut is None:
        return plain_or_option_a(spec, names, evidence, wrapper)
    if kernel == 7:
        return imagenet_resnet(spec, names, [*evidence, f"the head is called `{head}`"])
    if shortcut == "downsample" and len(blocks) == 4:
        return small_torchvision(spec, names, evidence)
    return cifar_option_b(spec, names, evidence, wrapper, shortcut)


def stem_kernel(stem: Tensor, stages: int, name: str) -> int:
    """The stem's kernel size, where it is one that a family has with so many stages."""
    if stem.dim() != 4 or stem.shape[1] != 3:
        raise WeightsError(
            f"{name} begins with `conv1.weight` of shape {shape(stem)}, and this app shows networks for images of "
            f"three colours: {stem.shape[0] if stem.dim() else 1}×3 and the kernel is expected."
        )
    kernel = stem.shape[2]
    if kernel != stem.shape[3] or (kernel, stages) not in ((7, 4), (3, 3), (3, 4)):
        raise WeightsError(
            f"{name} has a stem of shape {shape(stem)} in front of {stages} stages; known are 7×7 in front of 4 "
            "stages (ImageNet) and 3×3 in front of 3 or 4 (CIFAR), and shapes cannot tell the strides of any other."
        )
    return kernel


def module_names(spec: ArchitectureSpec, head: str, shortcut: str | None) -> dict[str, str]:
    """`stages.1.0.shortcut.norm` -> `layer2.0.downsample.1`, for each module that has weights."""
    names = {"stem.conv": "conv1", "stem.norm": "bn1", "head.fc": head}
    for index, stage in enumerate(spec.stages):
        for block in range(stage.blocks):
            ours, theirs = f"stages.{index}.{block}", f"layer{index + 1}.{block}"
            for conv in range(1, 4 if spec.block == "bottleneck" else 3):
                names[f"{ours}.conv{conv}"] = f"{theirs}.conv{conv}"
                names[f"{ours}.norm{conv}"] = f"{theirs}.bn{conv}"
            names[f"{ours}.shortcut.conv"] = f"{theirs}.{shortcut}.0"
            names[f"{ours}.shortcut.norm"] = f"{theirs}.{shortcut}.1"
    return names


def plain_or_option_a(
    spec: ArchitectureSpec, names: Mapping[str, str], evidence: list[str], wrapper: Collection[str]
) -> KeyLayout:
    candidates = [Candidate(spec.name, spec, names)]
    widths = [spec.stem.channels if spec.stem else 3, *(stage.channels for stage in spec.stages)]
    if widths == sorted(widths):  # an identity cannot reduce channels
        candidates.insert(0, Candidate(f"{spec.twin().name}, option A", spec.twin(), names))
    uncertain = ["where the strides are: every stage but the first is taken to halve the image in its first block"]
    if "best_prec1" in wrapper:
        family = "akamaster"
        evidence.append("`best_prec1` stands beside the weights, as in akamaster's files: option A is likelier")
    elif {"acc", "epoch"} <= set(wrapper):
        family = "loss-landscape"
        evidence.append("`acc` and `epoch` stand beside the weights, as in loss-landscape's files: plain is likelier")
        candidates.reverse()
    else:
        family = "akamaster or loss-landscape"
        uncertain.append("the normalisation: nothing in the file tells whose network it is")
    is_known = family != "akamaster or loss-landscape"
    return layout_of(family, candidates, evidence, [*uncertain, PADDING_AND_ACTIVATION], PLAIN_OR_A, likelier=is_known)


def imagenet_resnet(spec: ArchitectureSpec, names: Mapping[str, str], evidence: list[str]) -> KeyLayout:
    uncertain = [
        "where a bottleneck has its stride: in the 3×3 convolution, as torchvision, timm and the weights of both have"
        if spec.block == "bottleneck"
        else "where the strides are: in the first convolution of a stage, as torchvision and timm have them",
        "that the stem has stride 2 and a max-pooling behind it: as every published network with a 7×7 stem",
        "the size of the images: 224 pixels, at which torchvision trains; timm's weights may do better at 288",
    ]
    if spec.classes != 1000:
        uncertain.append("the normalisation: the classes are not ImageNet's, so it was trained further on other data")
    candidates = [Candidate(spec.name, spec, names)]
    return layout_of("torchvision or timm", candidates, evidence, [*uncertain, PADDING_AND_ACTIVATION])


def small_torchvision(spec: ArchitectureSpec, names: Mapping[str, str], evidence: list[str]) -> KeyLayout:
    assert spec.stem is not None
    pooled = replace(spec, stem=replace(spec.stem, pooling="max"))
    return layout_of(
        SMALL_STEM,
        [
            Candidate(f"{spec.name}, 3×3 stem without pooling", spec, names),
            Candidate(f"{spec.name}, 3×3 stem with max-pooling", pooled, names),
        ],
        [*evidence, "torchvision's names, but not its 7×7 stem: changed for small images"],
        [
            "the size of the images: 32 pixels are assumed",
            "the stride of the stem: 1 is assumed",
            "the normalisation: nothing in the file tells whose network it is",
            PADDING_AND_ACTIVATION,
        ],
        POOLING,
    )


def cifar_option_b(
    spec: ArchitectureSpec, names: Mapping[str, str], evidence: list[str], wrapper: Collection[str], shortcut: str
) -> KeyLayout:
    uncertain = ["where the strides are: every stage but the first halves the image, as in all of this layout"]
    if shortcut == "downsample":
        family = "chenyaofo"
    elif "best_prec1" in wrapper:
        family = "akamaster"
    elif len(spec.stages) == 3 or {"state_dict", "acc", "epoch"} <= set(wrapper):
        family = "loss-landscape"
    else:
        family = "kuangliu"
        if "net" not in wrapper:
            uncertain.append("the normalisation: loss-landscape has networks of the same names, with CIFAR-10's own")
    if spec.classes not in (10, 100):
        uncertain.append(f"the normalisation: it has {spec.classes} classes, so it was trained on other data")
    elif spec.classes == 100 and family != "chenyaofo":
        uncertain.append("the normalisation: with 100 classes it may be CIFAR-100's")
    candidates = [Candidate(f"{spec.name}, option B", spec, names)]
    return layout_of(family, candidates, evidence, [*uncertain, PADDING_AND_ACTIVATION])
