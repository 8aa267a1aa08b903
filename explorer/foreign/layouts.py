"""How each family names its layers, and what is known of it that neither names nor shapes tell.

A layout is a guess from a few names and shapes. Whether all the others fit it, `explorer.foreign.recognition` proves.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.architectures.spec import BlockKind, Shortcut
from explorer.foreign.report import NORMALISATIONS, ForeignError, Normalisation
from explorer.presets import CIFAR_DEPTHS, PRESETS, cifar

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HEADS = ("fc", "linear", "classifier", "head", "last_linear")
SHORTCUTS = ("downsample", "shortcut")
VGG_CONVOLUTIONS = {8: 11, 10: 13, 13: 16, 16: 19}
# Fully connected layers of a VGG: torchvision and chenyaofo; with the dropout in front; kuangliu, a single one.
VGG_CLASSIFIERS = ((0, 3, 6), (1, 4, 6))

PLAIN_OR_A = (
    "A plain network and one with option-A shortcuts, which have no parameters, have the same names and shapes: which "
    "of the two is it?"
)
POOLING = (
    "A max-pooling behind the stem has no parameters: has this network one? Networks for pictures of 32 pixels exist "
    "with it and without."
)


@dataclass(frozen=True)
class Guess:
    """A network that a state dict may be of: `names` has their name for each of our modules that has weights."""

    title: str
    spec: ArchitectureSpec
    names: Mapping[str, str]


@dataclass(frozen=True)
class Layout:
    """What a family's names and a few shapes say; as in `Report`."""

    family: str
    guesses: tuple[Guess, ...]
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


# --- ResNets ---------------------------------------------------------------------------------------------------------


def resnet(state: Mapping[str, Tensor], wrapper: Collection[str], name: str) -> Layout:
    """`conv1`, `bn1`, `layer1.0.conv1`, ...: torchvision, timm, akamaster, kuangliu, chenyaofo, loss-landscape."""
    stem = state["conv1.weight"]
    first = "layer1.0.conv3.weight" in state
    block: BlockKind = "bottleneck" if first else "basic"
    last = "conv3" if first else "conv2"
    blocks = []
    while found := count(state, f"layer{len(blocks) + 1}.{{}}.conv1.weight"):
        blocks.append(found)
    channels = []
    for index in range(len(blocks)):
        weight = state.get(f"layer{index + 1}.0.{last}.weight")
        if weight is None or weight.dim() != 4:
            raise ForeignError(
                f"{name} has the names of a ResNet, but `layer{index + 1}.0.{last}.weight` is no convolution."
            )
        channels.append(weight.shape[0])
    head = next((head for head in HEADS if f"{head}.weight" in state), None)
    if head is None or state[f"{head}.weight"].dim() != 2:
        raise ForeignError(
            f"{name} has the names of a ResNet, but none of {', '.join(f'`{head}.weight`' for head in HEADS)} is its "
            "last layer: without one it gives features, not classes."
        )
    classes = state[f"{head}.weight"].shape[0]
    kernel = check_stem(stem, len(blocks), name)
    names_in_file = [part for part in SHORTCUTS if any(f".{part}." in key for key in state)]
    shortcut: Shortcut = "projection" if names_in_file else "identity"
    if first and not names_in_file:
        raise ForeignError(
            f"{name} is a bottleneck network without any shortcut weights; the published ones (loss-landscape, "
            "`_noshort`) have no activation at the end of a block, which this app's blocks always have, so it cannot "
            "be shown exactly."
        )
    size = 224 if kernel == 7 else 32
    spec = ArchitectureSpec(
        stages=tuple(Stage(n, c, 1 if i == 0 else 2) for i, (n, c) in enumerate(zip(blocks, channels, strict=True))),
        block=block,
        shortcut=shortcut if names_in_file else "none",
        stem=Stem(stem.shape[0], kernel, *((2, "max") if kernel == 7 else (1, "none"))),
        input_shape=(3, size, size),
        classes=classes,
    )
    evidence = [
        f"`conv1.weight` is {shape(stem)}: a stem of {stem.shape[0]} channels, {kernel}×{kernel}, of "
        + ("the ImageNet networks" if kernel == 7 else "the CIFAR networks"),
        f"{len(blocks)} stages of {', '.join(map(str, blocks))} blocks with {', '.join(map(str, channels))} channels, "
        f"{'three convolutions' if first else 'two convolutions'} a block: {spec.depth} layers",
        f"`{head}.weight` is {shape(state[f'{head}.weight'])}: {classes:,} classes",
    ]
    names = resnet_names(spec, head, names_in_file[0] if names_in_file else "")
    if not names_in_file:
        evidence.append("no shortcut has weights: option A, or none at all")
        return plain_or_option_a(spec, names, evidence, wrapper)
    evidence.append(f"projection shortcuts (option B) under `{names_in_file[0]}`")
    if kernel == 7:
        return imagenet_resnet(spec, names, evidence, head)
    if names_in_file[0] == "downsample" and len(blocks) == 4:
        return small_torchvision(spec, names, evidence)
    return cifar_option_b(spec, names, evidence, wrapper, names_in_file[0])


def check_stem(stem: Tensor, stages: int, name: str) -> int:
    """The stem's kernel size, where it is one that a family has with so many stages."""
    if stem.dim() != 4 or stem.shape[1] != 3:
        raise ForeignError(
            f"{name} begins with `conv1.weight` of shape {shape(stem)}, and this app shows networks for pictures of "
            f"three colours: {stem.shape[0] if stem.dim() else 1}×3 and the kernel is expected."
        )
    kernel = stem.shape[2]
    if kernel != stem.shape[3] or (kernel, stages) not in ((7, 4), (3, 3), (3, 4)):
        raise ForeignError(
            f"{name} has a stem of shape {shape(stem)} in front of {stages} stages; known are 7×7 in front of 4 "
            "stages (ImageNet) and 3×3 in front of 3 or 4 (CIFAR), and shapes cannot tell the strides of any other."
        )
    return kernel


def resnet_names(spec: ArchitectureSpec, head: str, shortcut: str) -> dict[str, str]:
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
) -> Layout:
    plain = Guess(spec.name, spec, names)
    widths = [spec.stem.channels if spec.stem else 3, *(stage.channels for stage in spec.stages)]
    guesses = [plain]
    if widths == sorted(widths):  # an identity cannot reduce channels
        twin = spec.twin()
        guesses.insert(0, Guess(f"{twin.name}, option A", twin, names))
    uncertain = ["where the strides are: every stage but the first is taken to halve the picture in its first block"]
    if "best_prec1" in wrapper:
        family, normalisation = "akamaster", "imagenet"
        reason = "akamaster's networks, whose files have `best_prec1` beside the weights, are trained with ImageNet's"
        evidence.append("`best_prec1` stands beside the weights, as in akamaster's files: option A is likelier")
    elif {"acc", "epoch"} <= set(wrapper):
        family, normalisation = "loss-landscape", "cifar10"
        reason = "loss-landscape's networks, whose files have `acc` and `epoch` beside the weights, use CIFAR-10's"
        evidence.append("`acc` and `epoch` stand beside the weights, as in loss-landscape's files: plain is likelier")
        guesses.reverse()
    else:
        family, normalisation = "akamaster or loss-landscape", "imagenet"
        reason = "akamaster's, the most common networks of this layout, are trained with ImageNet's"
        uncertain.append("the normalisation: nothing in the file tells whose network it is")
    return Layout(
        family,
        tuple(guesses),
        tuple(evidence),
        (*uncertain, *padding_and_activation()),
        NORMALISATIONS[normalisation],
        reason,
        class_names=cifar_names(spec),
        question=PLAIN_OR_A if len(guesses) > 1 else None,
    )


def imagenet_resnet(spec: ArchitectureSpec, names: Mapping[str, str], evidence: list[str], head: str) -> Layout:
    uncertain = [
        "where a bottleneck has its stride: in the 3×3 convolution, as torchvision, timm and the weights of both have"
        if spec.block == "bottleneck"
        else "where the strides are: in the first convolution of a stage, as torchvision and timm have them",
        "that the stem has stride 2 and a max-pooling behind it: as every published network with a 7×7 stem",
        "the size of the pictures: 224 pixels, at which torchvision trains; timm's weights may do better at 288",
    ]
    if spec.classes != 1000:
        uncertain.append("the normalisation: the classes are not ImageNet's, so it was trained further on other data")
    return Layout(
        "torchvision or timm",
        (Guess(spec.name, spec, names),),
        (*evidence, f"the head is called `{head}`"),
        (*uncertain, *padding_and_activation()),
        NORMALISATIONS["imagenet"],
        "torchvision and timm train their ResNets with ImageNet's",
        class_names=imagenet_names() if spec.classes == 1000 else None,
    )


def small_torchvision(spec: ArchitectureSpec, names: Mapping[str, str], evidence: list[str]) -> Layout:
    assert spec.stem is not None
    pooled = replace(spec, stem=replace(spec.stem, pooling="max"))
    return Layout(
        "torchvision's layout with a 3×3 stem",
        (
            Guess(f"{spec.name}, 3×3 stem without pooling", spec, names),
            Guess(f"{spec.name}, 3×3 stem with max-pooling", pooled, names),
        ),
        (*evidence, "torchvision's names, but not its 7×7 stem: changed for small pictures"),
        (
            "the size of the pictures: 32 pixels are assumed",
            "the stride of the stem: 1 is assumed",
            "the normalisation: nothing in the file tells whose network it is",
            *padding_and_activation(),
        ),
        NORMALISATIONS["cifar100" if spec.classes == 100 else "cifar10"],
        "most networks of this layout are trained on CIFAR and with its own statistics",
        class_names=cifar_names(spec),
        question=POOLING,
    )


def cifar_option_b(
    spec: ArchitectureSpec, names: Mapping[str, str], evidence: list[str], wrapper: Collection[str], shortcut: str
) -> Layout:
    uncertain = ["where the strides are: every stage but the first halves the picture, as in all of this layout"]
    if shortcut == "downsample":
        family, normalisation = "chenyaofo", "cifar100" if spec.classes == 100 else "cifar10-2023"
        reason = f"chenyaofo's networks with {spec.classes} classes are trained with it"
    elif "best_prec1" in wrapper:
        family, normalisation = "akamaster", "imagenet"
        reason = "akamaster's networks, whose files have `best_prec1` beside the weights, are trained with ImageNet's"
    elif len(spec.stages) == 3 or {"state_dict", "acc", "epoch"} <= set(wrapper):
        family, normalisation = "loss-landscape", "cifar10"
        reason = "loss-landscape's networks are trained with it"
    else:
        family, normalisation = "kuangliu", "cifar10-2023"
        reason = "kuangliu's networks are trained with it"
        if "net" not in wrapper:
            uncertain.append("the normalisation: loss-landscape has networks of the same names, with CIFAR-10's own")
    if spec.classes not in (10, 100):
        uncertain.append(f"the normalisation: it has {spec.classes} classes, so it was trained on other data")
    elif spec.classes == 100 and family != "chenyaofo":
        uncertain.append("the normalisation: with 100 classes it may be CIFAR-100's")
    return Layout(
        family,
        (Guess(f"{spec.name}, option B", spec, names),),
        tuple(evidence),
        (*uncertain, *padding_and_activation()),
        NORMALISATIONS[normalisation],
        reason,
        class_names=cifar_names(spec),
    )


def padding_and_activation() -> tuple[str, ...]:
    return (
        "padding and activation, which have no weights: zeros that keep the picture's size, and ReLU behind each sum, "
        "as the family has them",
    )


def cifar_names(spec: ArchitectureSpec) -> tuple[str, ...] | None:
    return CIFAR_CLASSES if spec.classes == 10 else None


def imagenet_names() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights  # here: half a second that most files do not need

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


# --- VGGs ------------------------------------------------------------------------------------------------------------


def vgg(state: Mapping[str, Tensor], wrapper: Collection[str], name: str) -> Layout:
    """`features.0`, `classifier`: torchvision, kuangliu, chenyaofo, loss-landscape."""
    matches = (re.fullmatch(r"features\.(\d{1,3})\.weight", key) for key, value in state.items() if value.dim() == 4)
    places = sorted(int(match[1]) for match in matches if match)
    norm = f"features.{places[0] + 1}.running_mean" in state
    width = 3 if norm else 2  # convolution, norm, activation
    stages: list[list[int]] = [[]]
    for before, place in zip([places[0] - width, *places], places, strict=False):
        if place - before == width + 1:
            stages.append([])
        elif place - before != width:
            raise ForeignError(
                f"{name} has a convolution `features.{place}` that stands {place - before} places behind the last "
                f"one; {width} and, with a pooling between, {width + 1} are expected of a VGG"
                f"{' with BatchNorm' if norm else ''}."
            )
        stages[-1].append(place)
    channels = []
    for stage in stages:
        widths = {state[f"features.{place}.weight"].shape[0] for place in stage}
        if len(widths) > 1:
            raise ForeignError(
                f"{name} changes its channels within a stage ({', '.join(map(str, sorted(widths)))} between "
                f"`features.{stage[0]}` and `features.{stage[-1]}`), which this app's stages cannot."
            )
        channels.append(widths.pop())
    linear = vgg_classifier(state, name)
    features, hidden = (
        state[f"{linear[0]}.weight"].shape[1],
        tuple(state[f"{fc}.weight"].shape[0] for fc in linear[:-1]),
    )
    size = next((size for size in (32, 224) if features == channels[-1] * (size >> len(stages)) ** 2), None)
    first = state[f"features.{places[0]}.weight"]
    if places[0] != 0 or first.shape[1] != 3 or size is None:
        raise ForeignError(
            f"{name} has the names of a VGG, but not its sizes: `features.{places[0]}.weight` is {shape(first)} and "
            f"`{linear[0]}.weight` is {shape(state[f'{linear[0]}.weight'])}; pictures of 32 pixels would give "
            f"{channels[-1] * (32 >> len(stages)) ** 2:,} values behind {len(stages)} poolings, of 224 "
            f"{channels[-1] * (224 >> len(stages)) ** 2:,}."
        )
    spec = ArchitectureSpec(
        stages=tuple(Stage(len(stage), width, 2) for stage, width in zip(stages, channels, strict=True)),
        block="conv",
        shortcut="none",
        norm="batch" if norm else "none",
        downsampling="max",
        head_pooling="flatten",
        hidden=hidden,
        dropout=0.5 if hidden and "fc.0.weight" not in state else 0.0,
        bias_before_norm=norm and "features.0.bias" in state,
        input_shape=(3, size, size),
        classes=state[f"{linear[-1]}.weight"].shape[0],
    )
    names = {
        **{f"stages.{i}.{j}.conv1": f"features.{p}" for i, stage in enumerate(stages) for j, p in enumerate(stage)},
        **{f"stages.{i}.{j}.norm1": f"features.{p + 1}" for i, stage in enumerate(stages) for j, p in enumerate(stage)},
        **{f"head.fc{index}": fc for index, fc in enumerate(linear[:-1], start=1)},
        "head.fc": linear[-1],
    }
    return vgg_layout(spec, names, linear, state, len(places))


def vgg_classifier(state: Mapping[str, Tensor], name: str) -> tuple[str, ...]:
    """Names of the fully connected layers, in order."""
    if "fc.0.weight" in state and "classifier.weight" in state:
        return ("fc.0", "classifier")
    for head in HEADS:
        if f"{head}.weight" in state and state[f"{head}.weight"].dim() == 2:
            return (head,)
    places = [key.split(".")[1] for key in state if re.fullmatch(r"classifier\.\d{1,3}\.weight", key)]
    if all(state[f"classifier.{place}.weight"].dim() == 2 for place in places):
        if tuple(sorted(map(int, places))) in VGG_CLASSIFIERS:
            return tuple(f"classifier.{place}" for place in sorted(places, key=int))
    found = ", ".join(f"`classifier.{place}`" for place in places[:6]) or "none at all"
    raise ForeignError(
        f"{name} has the convolutions of a VGG, but no classifier of a known one: it has {found}, and known are "
        "`classifier.0, 3, 6`, `classifier.1, 4, 6` and a single `classifier`."
    )


def vgg_layout(
    spec: ArchitectureSpec, names: Mapping[str, str], linear: tuple[str, ...], state: Mapping[str, Tensor], convs: int
) -> Layout:
    folded = "fc.0" in linear
    depth = VGG_CONVOLUTIONS.get(convs) if len(spec.stages) == 5 else convs + len(linear) if folded else None
    title = f"VGG-{depth}" if depth else f"VGG-like network of {convs} convolutions"
    title += " with BatchNorm" if spec.norm == "batch" else ""
    if spec.input_shape[1] == 224:
        family, normalisation, reason = "torchvision", "imagenet", "torchvision trains its VGGs with ImageNet's"
    elif folded:
        family, normalisation, reason = "loss-landscape", "cifar10", "loss-landscape's networks are trained with it"
    elif len(linear) == 1:
        family, normalisation, reason = "kuangliu", "cifar10-2023", "kuangliu's networks are trained with it"
    else:
        family = "chenyaofo"
        normalisation = "cifar100" if spec.classes == 100 else "cifar10-2023"
        reason = f"chenyaofo's networks with {spec.classes} classes are trained with it"
    groups = ", ".join(str(stage.blocks) for stage in spec.stages)
    evidence = [
        f"`features.N` with {convs} convolutions, {groups} between the poolings: the free numbers show where they are",
        "BatchNorm behind each convolution" if spec.norm == "batch" else "no BatchNorm",
        f"`{linear[0]}.weight` is {shape(state[f'{linear[0]}.weight'])}: pictures of {spec.input_shape[1]} pixels",
        f"`{linear[-1]}.weight` is {shape(state[f'{linear[-1]}.weight'])}: {spec.classes:,} classes",
    ]
    if folded:
        evidence.append("`fc.1` is a BatchNorm of the hidden layer; it is multiplied into `fc.0`, which gives the same")
    uncertain = ["that a pooling follows the last convolution too: as in every published VGG"]
    if spec.classes != (1000 if family == "torchvision" else 10) and normalisation != "cifar100":
        uncertain.append(f"the normalisation: it has {spec.classes:,} classes, so it was trained on other data")
    elif family in ("kuangliu", "chenyaofo") and spec.norm == "none":
        uncertain.append("the normalisation: the published networks of this layout have BatchNorm, this one has not")
    class_names = cifar_names(spec) if family != "torchvision" else imagenet_names() if spec.classes == 1000 else None
    return Layout(
        family,
        (Guess(title, spec, names),),
        tuple(evidence),
        (*uncertain, "padding and activation, which have no weights: as the family has them, zeros and ReLU"),
        NORMALISATIONS[normalisation],
        reason,
        class_names=class_names,
    )


# --- our own state dicts ---------------------------------------------------------------------------------------------


def own(state: Mapping[str, Tensor], wrapper: Collection[str], name: str) -> Layout:
    """`stages.0.0.conv1`, `head.fc`, without the header that says the rest: every preset that has these shapes."""
    blocks = []
    while found := count(state, f"stages.{len(blocks)}.{{}}.conv1.weight"):
        blocks.append(found)
    candidates = [(preset.title, preset.spec) for preset in PRESETS.values()]
    if len(set(blocks)) == 1 and len(blocks) == 3 and "stem.conv.weight" in state:
        depth, width = 6 * blocks[0] + 2, max(1, state["stem.conv.weight"].shape[0])
        if depth not in CIFAR_DEPTHS or width != 16:
            candidates += [
                (cifar(depth, way, width=width).name, cifar(depth, way, width=width)) for way in ("identity", "none")
            ]
        candidates.append((f"ResNet-{depth}, option B", cifar(depth, "projection", width=width)))
    head = state.get("head.fc.weight")
    classes = head.shape[0] if head is not None and head.dim() == 2 else 10
    guesses = []
    for title, spec in candidates:
        if [stage.blocks for stage in spec.stages] != blocks:
            continue
        spec = replace(spec, classes=classes)
        expected = expected_shapes(spec)
        if {key: tuple(value.shape) for key, value in state.items()} == expected:
            guesses.append(Guess(title, spec, {key.rpartition(".")[0]: key.rpartition(".")[0] for key in expected}))
    if not guesses:
        raise ForeignError(
            f"{name} has this app's names without the description that its `.safetensors` files carry, and no preset "
            "has these shapes; use the `.safetensors` file that the app saved."
        )
    return Layout(
        "this app, without its header",
        tuple(guesses),
        (f"this app's names, with the shapes of {', '.join(guess.title for guess in guesses)}",),
        ("strides, padding and activation: as the preset has them", "the normalisation: nothing in the file tells it"),
        NORMALISATIONS["cifar10"],
        "nothing tells it; the app's `.safetensors` files do",
        class_names=None,
        question="Several presets have these names and shapes: which one is it?" if len(guesses) > 1 else None,
    )


def expected_shapes(spec: ArchitectureSpec) -> dict[str, tuple[int, ...]]:
    """Name -> shape of everything that `Network(spec)` must load."""
    import torch

    from explorer.architectures import Network

    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in Network(spec).state_dict().items()}
