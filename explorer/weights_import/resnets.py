"""ResNets and their plain twins: torchvision, timm, akamaster, kuangliu, chenyaofo, loss-landscape."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.weights_import.families import (
    HEADS,
    NORMALISATION,
    PADDING_AND_ACTIVATION,
    SMALL_STEM,
    Candidate,
    KeyLayout,
    block_counts,
    head_names,
    layout_of,
    linear_layers,
    outputs,
    outputs_in_words,
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


def resnet(state: Mapping[str, Tensor], wrapper: Collection[str], name: str, family: str | None = None) -> KeyLayout:
    """`conv1`, `bn1`, `layer1.0.conv1`, ...: torchvision, timm, akamaster, kuangliu, chenyaofo, loss-landscape, and
    those whose names were brought to these. `family` is one that the names in the file told."""
    stem = state["conv1.weight"]
    is_bottleneck = "layer1.0.conv3.weight" in state
    last = "conv3" if is_bottleneck else "conv2"
    blocks = block_counts(state, "layer", 1)
    sizes: dict[str, list[int]] = {"conv2": [], last: []}
    for index in range(1, len(blocks) + 1):
        for conv in sizes:
            weight = state.get(f"layer{index}.0.{conv}.weight")
            if weight is None or weight.dim() != 4:
                raise WeightsError(
                    f"{name} has the names of a ResNet, but `layer{index}.0.{conv}.weight` is no convolution."
                )
            sizes[conv].append(weight.shape[0])
    channels, inner = sizes[last], sizes["conv2"]
    head = linear_layers(state, channels[-1], name)
    if not head:
        raise WeightsError(
            f"{name} has the names of a ResNet, but none of {', '.join(f'`{head}.weight`' for head in HEADS)} is its "
            "last layer: without one it gives features, not classes."
        )
    kernel = stem_kernel(stem, len(blocks), name)
    groups = max(1, inner[0] // max(1, state["layer1.0.conv2.weight"].shape[1])) if is_bottleneck else 1
    if kernel == 3 and groups > 1 and inner[0] == channels[0]:
        raise WeightsError(
            f"{name} has a 3×3 stem and bottlenecks in {groups} groups that are as wide inside as outside, as RegNets "
            "have, whose strides its shapes do not tell."
        )
    shortcut = next((part for part in ("downsample", "shortcut") if any(f".{part}." in key for key in state)), None)
    if is_bottleneck and shortcut is None:
        raise WeightsError(
            f"{name} is a bottleneck network without any shortcut weights; the published ones (loss-landscape, "
            "`_noshort`) have no activation at the end of a block, which this app's blocks always have, so it cannot "
            "be shown exactly."
        )
    size = 224 if kernel == 7 else 32 if stem.shape[1] == 3 else 28  # MNIST's
    spec = ArchitectureSpec(
        stages=tuple(
            Stage(n, c, 1 if i == 0 else 2, inner=w if is_bottleneck and 4 * w != c else None)
            for i, (n, c, w) in enumerate(zip(blocks, channels, inner, strict=True))
        ),
        block="bottleneck" if is_bottleneck else "basic",
        shortcut="none" if shortcut is None else "projection",
        stem=Stem(stem.shape[0], kernel, *((2, "max") if kernel == 7 else (1, "none"))),
        hidden=tuple(state[f"{layer}.weight"].shape[0] for layer in head[:-1]),
        input_shape=(stem.shape[1], size, size),
        groups=groups,
        **outputs(state[f"{head[-1]}.weight"].shape[0]),
    )
    evidence = [
        f"`conv1.weight` is {shape(stem)}: a stem of {stem.shape[0]} channels, {kernel}×{kernel}, of "
        + ("the ImageNet networks" if kernel == 7 else "the CIFAR networks"),
        f"{len(blocks)} stages of {', '.join(map(str, blocks))} blocks with {', '.join(map(str, channels))} channels, "
        f"{'three convolutions' if is_bottleneck else 'two convolutions'} a block: {spec.depth} layers",
        f"`{head[-1]}.weight` is {shape(state[f'{head[-1]}.weight'])}: "
        + outputs_in_words(state[f"{head[-1]}.weight"].shape[0]),
        "no shortcut has weights: option A, or none at all"
        if shortcut is None
        else f"projection shortcuts (option B) under `{shortcut}`",
    ]
    if is_bottleneck:
        evidence.append(f"{inner[0]} channels inside the first block{f', in {groups} groups' if groups > 1 else ''}")
    uncertain = [PADDING_AND_ACTIVATION]
    if spec.hidden:
        uncertain.insert(0, f"that a ReLU stands between the {len(head)} fully connected layers of the head")
    names = module_names(spec, head, shortcut)
    if shortcut is None:
        return plain_or_option_a(spec, names, evidence, uncertain, wrapper)
    if kernel == 7:
        return imagenet_resnet(spec, names, [*evidence, f"the head is called `{head[-1]}`"], uncertain, family)
    if family in ("OpenMMLab", "weiaicunzai"):  # whose networks for small pictures have no pooling behind the stem
        return cifar_option_b(spec, names, evidence, uncertain, wrapper, shortcut, family)
    if shortcut == "downsample" and len(blocks) == 4:
        return small_torchvision(spec, names, evidence, uncertain)
    return cifar_option_b(spec, names, evidence, uncertain, wrapper, shortcut)


def preactivation_resnet(state: Mapping[str, Tensor], name: str) -> KeyLayout:
    """Norms in front of convolutions: `block1.layer.0.bn1`, ..., `bn1`, `fc` are the wide ResNets WRN-d-k, and
    `layer1.0.bn1`, ..., `linear` kuangliu's pre-activation ResNets, with or without a `bn` before the head."""
    stem = state["conv1.weight"]
    is_wide = "block1.layer.0.conv1.weight" in state
    stage, shortcut, end = ("block{}.layer", "convShortcut", "bn1") if is_wide else ("layer{}", "shortcut.0", "bn")
    is_bottleneck = "layer1.0.conv3.weight" in state
    last = 3 if is_bottleneck else 2
    blocks: list[tuple[int, int, int]] = []  # how many, their channels, and those inside
    while f"{(place := stage.format(len(blocks) + 1))}.0.conv{last}.weight" in state:
        count = 1
        while f"{place}.{count}.conv{last}.weight" in state:
            count += 1
        inner = state.get(f"{place}.0.conv2.weight", stem)
        blocks.append((count, state[f"{place}.0.conv{last}.weight"].shape[0], inner.shape[0]))
    head = linear_layers(state, blocks[-1][1] if blocks else 0, name)
    if not head or stem_kernel(stem, len(blocks), name) != 3:
        raise WeightsError(f"{name} has the names of a pre-activation ResNet, but no 3×3 stem, or no last layer.")
    spec = ArchitectureSpec(
        stages=tuple(
            Stage(count, width, 1 if index == 0 else 2, inner=inner if is_bottleneck and 4 * inner != width else None)
            for index, (count, width, inner) in enumerate(blocks)
        ),
        block="bottleneck" if is_bottleneck else "basic",
        shortcut="projection",
        stem=Stem(stem.shape[0]),
        hidden=tuple(state[f"{layer}.weight"].shape[0] for layer in head[:-1]),
        input_shape=(stem.shape[1], 32, 32),
        preactivation=True,
        head_norm=is_wide or f"{end}.weight" in state,
        **outputs(state[f"{head[-1]}.weight"].shape[0]),
    )
    names = {"stem.conv": "conv1", "head.norm": end, **head_names(head)}
    for index in range(len(spec.stages)):
        for block in range(spec.stages[index].blocks):
            ours, theirs = f"stages.{index}.{block}", f"{stage.format(index + 1)}.{block}"
            names |= {f"{ours}.conv{n}": f"{theirs}.conv{n}" for n in range(1, last + 1)}
            names |= {f"{ours}.norm{n}": f"{theirs}.bn{n}" for n in range(1, last + 1)}
            names[f"{ours}.shortcut.conv"] = f"{theirs}.{shortcut}"
    evidence = [
        f"`conv1.weight` is {shape(stem)}: a 3×3 stem of {stem.shape[0]} channels",
        f"{len(blocks)} stages of {', '.join(str(count) for count, *_ in blocks)} blocks with "
        f"{', '.join(str(width) for _, width, _ in blocks)} channels, norms in front of the convolutions: {spec.name}",
        f"`{head[-1]}.weight` is {shape(state[f'{head[-1]}.weight'])}: "
        + outputs_in_words(state[f"{head[-1]}.weight"].shape[0]),
    ]
    if not spec.head_norm:
        evidence.append("no norm in front of the head, as in kuangliu's networks")
    family = "xternalz" if is_wide else "kuangliu"
    uncertain = [
        "where the strides are: every stage but the first halves the image in its first block",
        f"that a projection takes the normalised input, as in {family}'s networks",
        f"{NORMALISATION}adversarially trained networks of these names (TRADES, RobustBench) mostly have none",
        PADDING_AND_ACTIVATION,
    ]
    return layout_of(family, [Candidate(spec.name, spec, names)], evidence, uncertain)


def stem_kernel(stem: Tensor, stages: int, name: str) -> int:
    """The stem's kernel size, where it is one that a family has with so many stages."""
    if stem.dim() != 4 or stem.shape[1] not in (1, 3):
        raise WeightsError(
            f"{name} begins with `conv1.weight` of shape {shape(stem)}, and this app shows networks for images of "
            f"three colours, or grey ones: {stem.shape[0] if stem.dim() else 1}×3 or ×1 and the kernel is expected."
        )
    kernel = stem.shape[2]
    if kernel != stem.shape[3] or (kernel, stages) not in ((7, 4), (3, 3), (3, 4)):
        raise WeightsError(
            f"{name} has a stem of shape {shape(stem)} in front of {stages} stages; known are 7×7 in front of 4 "
            "stages (ImageNet) and 3×3 in front of 3 or 4 (CIFAR), and shapes cannot tell the strides of any other."
        )
    return kernel


def module_names(spec: ArchitectureSpec, head: Sequence[str], shortcut: str | None) -> dict[str, str]:
    """`stages.1.0.shortcut.norm` -> `layer2.0.downsample.1`, for each module that has weights."""
    names = {"stem.conv": "conv1", "stem.norm": "bn1", **head_names(head)}
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
    spec: ArchitectureSpec,
    names: Mapping[str, str],
    evidence: list[str],
    uncertain: list[str],
    wrapper: Collection[str],
) -> KeyLayout:
    candidates = [Candidate(spec.name, spec, names)]
    widths = [spec.stem.channels if spec.stem else 3, *(stage.channels for stage in spec.stages)]
    if widths == sorted(widths):  # an identity cannot reduce channels
        candidates.insert(0, Candidate(f"{spec.twin().name}, option A", spec.twin(), names))
    doubts = ["where the strides are: every stage but the first is taken to halve the image in its first block"]
    if "best_prec1" in wrapper:
        family = "akamaster"
        evidence.append("`best_prec1` stands beside the weights, as in akamaster's files: option A is likelier")
    elif {"state_dict", "acc", "epoch"} <= set(wrapper):
        family = "loss-landscape"
        evidence.append("`acc` and `epoch` stand beside the weights, as in loss-landscape's files: plain is likelier")
        candidates.reverse()
    else:
        family = "akamaster or loss-landscape"
        doubts.append(f"{NORMALISATION}nothing in the file tells whose network it is")
        if len(candidates) > 1:
            evidence.append("nothing tells plain from option A; far more ResNets are published, so that stands first")
    is_known = family != "akamaster or loss-landscape"
    return layout_of(family, candidates, evidence, [*doubts, *uncertain], PLAIN_OR_A, likelier=is_known)


def imagenet_resnet(
    spec: ArchitectureSpec, names: Mapping[str, str], evidence: list[str], uncertain: list[str], family: str | None
) -> KeyLayout:
    doubts = [
        "where a bottleneck has its stride: in the 3×3 convolution, as torchvision, timm and the weights of both have; "
        "Caffe's, and OpenMMLab's in the style `caffe`, have it in the first 1×1, with the same shapes"
        if spec.block == "bottleneck"
        else "where the strides are: in the first convolution of a stage, as torchvision and timm have them",
        "that the stem has stride 2 and a max-pooling behind it: as every published network with a 7×7 stem",
        "that no filter blurs in front of a stride: anti-aliased networks (timm's `resnetblur50`) have the same names",
        "the size of the images: 224 pixels, at which torchvision trains; timm's weights may do better at 288",
    ]
    if spec.classes != 1000:
        doubts.append(f"{NORMALISATION}the classes are not ImageNet's, so it was trained further on other data")
    candidates = [Candidate(spec.name, spec, names)]
    return layout_of(family or "torchvision or timm", candidates, evidence, [*doubts, *uncertain])


def small_torchvision(
    spec: ArchitectureSpec, names: Mapping[str, str], evidence: list[str], uncertain: list[str]
) -> KeyLayout:
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
            f"the size of the images: {spec.input_shape[1]} pixels are assumed",
            "the stride of the stem: 1 is assumed",
            f"{NORMALISATION}nothing in the file tells whose network it is",
            *uncertain,
        ],
        POOLING,
    )


def cifar_option_b(
    spec: ArchitectureSpec,
    names: Mapping[str, str],
    evidence: list[str],
    uncertain: list[str],
    wrapper: Collection[str],
    shortcut: str,
    origin: str | None = None,
) -> KeyLayout:
    doubts = ["where the strides are: every stage but the first halves the image, as in all of this layout"]
    if origin is not None:
        family = "OpenMMLab for CIFAR" if origin == "OpenMMLab" else origin
    elif shortcut == "downsample":
        family = "chenyaofo"
    elif "best_prec1" in wrapper:
        family = "akamaster"
    elif len(spec.stages) == 3 or {"state_dict", "acc", "epoch"} <= set(wrapper):
        family = "loss-landscape"
    else:
        family = "kuangliu"
        if "net" not in wrapper:
            doubts.append(f"{NORMALISATION}loss-landscape has networks of the same names, with CIFAR-10's own")
    usual = (100,) if family == "weiaicunzai" else (10, 100)
    if spec.classes not in usual:
        doubts.append(f"{NORMALISATION}it has {spec.classes} classes, so it was trained on other data")
    elif spec.classes == 100 and family not in ("chenyaofo", "weiaicunzai"):
        doubts.append(f"{NORMALISATION}with 100 classes it may be CIFAR-100's")
    candidates = [Candidate(f"{spec.name}, option B", spec, names)]
    return layout_of(family, candidates, evidence, [*doubts, *uncertain])
