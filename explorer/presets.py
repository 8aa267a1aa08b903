"""Named specs: the networks of He et al., of torchvision and of textbooks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.architectures.spec import Norm, Shortcut

CIFAR_DEPTHS = (8, 14, 20, 32, 44, 56, 110)
_RESNET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_VGG_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_VGG_CHANNELS = (64, 128, 256, 512, 512)

_PLAIN_SGD: dict[str, Any] = dict(optimizer="sgd", momentum=0.9, nesterov=False, weight_decay=0.0, augment=False)
_ADAM: dict[str, Any] = dict(optimizer="adam", learning_rate=0.001, weight_decay=0.0, augment=False)
_STEPS = _PLAIN_SGD | dict(learning_rate=0.1, weight_decay=1e-4, schedule="step", augment=True)
# 182 epochs: 64,000 steps of 128 on the 45,000 pictures that the paper trains on
_CIFAR_SGD = _STEPS | dict(batch_size=128, milestones=(0.5, 0.75), epochs=182)
_IMAGENET_SGD = _STEPS | dict(batch_size=256, milestones=(1 / 3, 2 / 3), epochs=90)
_VGG_SGD = _PLAIN_SGD | dict(learning_rate=0.01, weight_decay=5e-4, batch_size=256, epochs=74)


@dataclass(frozen=True)
class Preset:
    """A spec with its title, its source and the training that the source gives.

    `note` names the source and errors of common listings. `training` are the source's settings in words, and `settings`
    the same as fields of a `TrainingConfig`, without those that the source leaves open.
    """

    title: str
    spec: ArchitectureSpec
    note: str
    training: str
    settings: Mapping[str, Any]


def cifar(
    depth: int,
    shortcut: Shortcut = "identity",
    norm: Norm = "batch",
    classes: int = 10,
    size: int = 32,
    width: int = 16,
) -> ArchitectureSpec:
    """The CIFAR network of He et al. 2015, section 4.2: 6n + 2 layers; `width`, 2 and 4 times `width` channels.

    `shortcut` "none" gives the plain network of that depth. Raises ValueError for a depth that is not 6n + 2.
    """
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 8 or (depth - 2) % 6:
        nearest = max(8, round((depth - 2) / 6) * 6 + 2) if isinstance(depth, int) else 20
        raise ValueError(f"`depth` must be 6n + 2 (8, 14, 20, ..., 110), received {depth!r}; use {nearest}.")
    n = (depth - 2) // 6
    return ArchitectureSpec(
        stages=(Stage(n, width), Stage(n, 2 * width, stride=2), Stage(n, 4 * width, stride=2)),
        block="basic",
        shortcut=shortcut,
        norm=norm,
        stem=Stem(width),
        input_shape=(3, size, size),
        classes=classes,
    )


def imagenet_resnet(depth: int, classes: int = 1000, groups: int = 1, group_width: int = 64) -> ArchitectureSpec:
    """ResNet-18, 34, 50, 101 or 152 as torchvision has it (He et al. 2015, table 1; the stride in the 3×3).

    `groups` of `group_width` channels in the first stage, as in torchvision's `resnext50_32x4d` (32 of 4) and
    `wide_resnet50_2` (1 of 128), are for the bottlenecks of 50 layers and more.
    """
    if depth not in _RESNET_BLOCKS:
        raise ValueError(f"`depth` must be one of {', '.join(map(str, _RESNET_BLOCKS))}, received {depth!r}.")
    factor = 1 if depth < 50 else 4
    inner = groups * group_width if (groups, group_width) != (1, 64) else None
    return ArchitectureSpec(
        stages=tuple(
            Stage(blocks, 64 * 2**index * factor, stride=1 if index == 0 else 2, inner=inner and inner * 2**index)
            for index, blocks in enumerate(_RESNET_BLOCKS[depth])
        ),
        groups=groups,
        block="basic" if depth < 50 else "bottleneck",
        shortcut="projection",
        stem=Stem(64, kernel_size=7, stride=2, pooling="max"),
        input_shape=(3, 224, 224),
        classes=classes,
    )


def vgg(depth: int, norm: Norm = "none", classes: int = 1000) -> ArchitectureSpec:
    """VGG-11, 13, 16 or 19 as torchvision has it (Simonyan and Zisserman 2014, table 1, columns A, B, D, E)."""
    if depth not in _VGG_CONVOLUTIONS:
        raise ValueError(f"`depth` must be one of {', '.join(map(str, _VGG_CONVOLUTIONS))}, received {depth!r}.")
    return ArchitectureSpec(
        stages=tuple(
            Stage(blocks, channels, stride=2)
            for blocks, channels in zip(_VGG_CONVOLUTIONS[depth], _VGG_CHANNELS, strict=True)
        ),
        block="conv",
        shortcut="none",
        norm=norm,
        downsampling="max",
        head_pooling="flatten",
        hidden=(4096, 4096),
        dropout=0.5,
        bias_before_norm=norm == "batch",
        input_shape=(3, 224, 224),
        classes=classes,
    )


def _plain_cnn(*stages: Stage, hidden: tuple[int, ...] = ()) -> ArchitectureSpec:
    return ArchitectureSpec(
        stages,
        block="conv",
        shortcut="none",
        norm="none",
        initialisation="pytorch",
        downsampling="max",
        head_pooling="flatten",
        hidden=hidden,
    )


_TEXTBOOK = {
    "lenet": Preset(
        "LeNet-style CNN",
        _plain_cnn(Stage(1, 6, 2, 5, "valid"), Stage(1, 16, 2, 5, "valid"), hidden=(120, 84)),
        "After LeCun et al. 1998, LeNet-5, in the form of today's tutorials: ReLU and max-pooling instead of sigmoids "
        "and trainable subsampling, three colour channels, a linear last layer.",
        "SGD, learning rate 0.001, momentum 0.9, cross-entropy, 10 epochs",
        {**_PLAIN_SGD, "learning_rate": 0.001, "schedule": "constant", "epochs": 10},
    ),
    "two-conv": Preset(
        "Two-conv CNN",
        _plain_cnn(Stage(1, 32, 2, 3, "valid"), Stage(1, 64, 2, 3, "valid")),
        "Two unpadded convolutions with pooling and one fully connected layer. Published code often puts a softmax in "
        "front of a cross-entropy that applies its own; here the last layer gives logits.",
        "Adam, learning rate 0.001, cross-entropy",
        {**_ADAM, "schedule": "constant"},
    ),
    "wide-two-conv": Preset(
        "Wide two-conv CNN",
        _plain_cnn(Stage(1, 64, 2, 3, "same"), Stage(1, 64, 2, 3, "valid"), hidden=(512,)),
        "The first convolution is padded, the second is not, and one hidden layer of 512 units holds nearly all of the "
        "parameters. Some listings leave the size that enters it undefined; it is 64 × 7 × 7.",
        "Adam, learning rate 0.001 with step decay, batch 64, cross-entropy",
        {**_ADAM, "schedule": "step", "batch_size": 64},
    ),
    "growing-resnet": Preset(
        "Growing ResNet",
        ArchitectureSpec(
            stages=tuple(Stage(1, channels, 2) for channels in (64, 128, 256, 512)) + (Stage(1, 1024),),
            block="pointwise",
            shortcut="projection",
            stem=Stem(64, kernel_size=7, stride=2),
            downsampling="max",
            input_shape=(3, 224, 224),
            classes=1000,
        ),
        "Blocks of a 1×1 and a 3×3 convolution with an addition, and pooling between stages. Published code adds "
        "tensors of different width, or adds nothing at all; here a 1×1 projection makes the widths equal.",
        "SGD, momentum 0.9, step decay, cross-entropy",
        {**_PLAIN_SGD, "schedule": "step"},
    ),
    "separable-resnet": Preset(
        "Depthwise-separable ResNet",
        ArchitectureSpec((Stage(3, 32), Stage(3, 64, 2), Stage(3, 128, 2)), block="separable", stem=Stem(32)),
        "Each branch is a 3×3 depthwise and a 1×1 pointwise convolution (Howard et al. 2017, MobileNets). Published "
        "code often forgets `groups`, which makes the depthwise layer an ordinary convolution.",
        "SGD, momentum 0.9, cosine, cross-entropy",
        {**_PLAIN_SGD, "schedule": "cosine"},
    ),
}


def _published() -> dict[str, Preset]:
    he = (
        "SGD, learning rate 0.1, momentum 0.9, weight decay 1e-4, batch 128, divided by 10 at 32,000 and 48,000 of "
        "64,000 steps, pad-4 crop and flip; 110 layers begin at 0.01"
    )
    presets: dict[str, Preset] = {}
    for depth in CIFAR_DEPTHS:
        presets[f"plain-{depth}"] = Preset(
            f"Plain-{depth}",
            cifar(depth, "none"),
            "He et al. 2015, section 4.2: the network that ResNets are measured against. With BatchNorm; listings "
            "without it train another, much harder network.",
            he,
            _CIFAR_SGD,
        )
        presets[f"resnet-{depth}"] = Preset(
            f"ResNet-{depth}",
            cifar(depth),
            "He et al. 2015, section 4.2, option-A shortcuts without parameters. Code that is called ResNet but "
            "never adds the input is the plain network.",
            he,
            _CIFAR_SGD,
        )
    for depth in _RESNET_BLOCKS:
        presets[f"imagenet-resnet-{depth}"] = Preset(
            f"ImageNet ResNet-{depth}",
            imagenet_resnet(depth),
            "He et al. 2015, table 1, option-B shortcuts, layer for layer torchvision's; the initial weights differ.",
            "SGD, learning rate 0.1, momentum 0.9, weight decay 1e-4, batch 256, divided by 10 every 30 of 90 epochs",
            _IMAGENET_SGD,
        )
    presets["imagenet-resnext-50"] = Preset(
        "ImageNet ResNeXt-50 32×4d",
        imagenet_resnet(50, groups=32, group_width=4),
        "Xie et al. 2017, table 1: the 3×3 convolutions in 32 groups, layer for layer torchvision's.",
        "SGD, learning rate 0.1, momentum 0.9, weight decay 1e-4, batch 256, divided by 10 every 30 of 90 epochs",
        _IMAGENET_SGD,
    )
    presets["imagenet-wide-resnet-50"] = Preset(
        "ImageNet wide ResNet-50-2",
        imagenet_resnet(50, group_width=128),
        "Zagoruyko and Komodakis 2016: twice the channels inside each bottleneck, layer for layer torchvision's.",
        "SGD, learning rate 0.1, momentum 0.9, weight decay 1e-4, batch 256, divided by 10 every 30 of 90 epochs",
        _IMAGENET_SGD,
    )
    for depth in _VGG_CONVOLUTIONS:
        for norm, name, title in (("none", "", ""), ("batch", "-bn", " with BatchNorm")):
            presets[f"vgg-{depth}{name}"] = Preset(
                f"VGG-{depth}{title}",
                vgg(depth, norm),  # type: ignore[arg-type]
                "Simonyan and Zisserman 2014, table 1, layer for layer torchvision's. The paper has no BatchNorm.",
                "SGD, learning rate 0.01, momentum 0.9, weight decay 5e-4, dropout 0.5, batch 256, 74 epochs",
                _VGG_SGD,
            )
    return presets


PRESETS: dict[str, Preset] = _TEXTBOOK | _published()


def preset(name: str) -> Preset:
    """The preset of that name. Raises ValueError that lists all names."""
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
