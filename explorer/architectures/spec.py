"""`ArchitectureSpec`: the one value that describes a network, plain or residual."""

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from reprlib import repr as shown  # a value in a sentence: cut where it is long
from typing import Any, Literal, Self, get_args

from explorer.architectures.fields import WRONG, check_fields, check_number, fields_of
from explorer.labels import ACTIVATIONS

BlockKind = Literal["conv", "basic", "bottleneck", "pointwise", "separable"]
Shortcut = Literal["none", "identity", "projection"]
Norm = Literal["batch", "none"]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
Initialisation = Literal["he", "pytorch"]
Downsampling = Literal["conv", "max", "average"]
HeadPooling = Literal["average", "flatten"]
Padding = Literal["same", "valid"]
StemPooling = Literal["none", "max"]
BranchStart = Literal["full", "gain", "gamma"]

CONVOLUTIONS_IN_BLOCK: dict[str, int] = {"conv": 1, "basic": 2, "bottleneck": 3, "pointwise": 2, "separable": 2}
INSIDE_BLOCK = re.compile(r"(stages\.\d+\.\d+)\.")  # the name of a layer begins with that of its block
NEWER_FIELDS: dict[str, Any] = {"groups": 1, "one_logit": False, "preactivation": False, "inner": None}
NEWER_FIELDS |= {"head_norm": True, "shortcut": None}  # `shortcut` of a stage: a spec always has one
NEWER_FIELDS |= {"shortcut_gain": 1.0, "branch_start": "full", "stochastic_depth": 0.0}
VARIANTS = ("shortcut_gain", "branch_start", "stochastic_depth")  # which a block has only beside a shortcut
SHORTCUT_GAINS = (0.01, 10.0)
BOTTLENECK_REDUCTION = 4  # He et al. 2015, table 1: 64 inner channels in a stage of 256

# Above these a spec is a slip or an attack, not a network that this app could show: 1202 layers of He et al. fit.
MAXIMUM = {
    "blocks": 600,
    "channels": 8192,
    "stages": 12,
    "kernel_size": 31,
    "stride": 8,
    "pixels": 2048,
    "units": 65536,
}
_LIMITS = {name: (1, MAXIMUM[name]) for name in ("blocks", "channels", "kernel_size", "stride")}
_LIMITS["inner"] = _LIMITS["channels"]


def _check_convolution(layer: Any, prefix: str) -> None:
    check_fields(layer, _LIMITS, prefix)
    if layer.kernel_size % 2 == 0:
        raise ValueError(
            f"`{prefix}kernel_size` must be odd, so that padding can be even, received {layer.kernel_size}; use "
            f"{layer.kernel_size + 1}."
        )


@dataclass(frozen=True)
class Stage:
    """`blocks` blocks that end in `channels` channels each.

    `stride` divides height and width once in the stage: by the first convolution that may carry it, or, where the
    spec downsamples by pooling, by a pooling layer after the last block. `padding` "same" keeps height and width
    (before the stride); "valid" pads nothing and is for blocks of a single convolution. `inner` are the channels inside
    a bottleneck, a quarter of `channels` by default; more make a wide ResNet (Zagoruyko and Komodakis 2016).
    `shortcut` is that of this stage's blocks, by default that of the spec.
    """

    blocks: int
    channels: int
    stride: int = 1
    kernel_size: int = 3
    padding: Padding = "same"
    inner: int | None = None
    shortcut: Shortcut | None = None

    def __post_init__(self) -> None:
        _check_convolution(self, "stages.")
        if self.shortcut is not None and self.shortcut not in get_args(Shortcut):
            legal = ", ".join(map(repr, get_args(Shortcut)))
            raise ValueError(f"`stages.shortcut` must be one of {legal}, received {shown(self.shortcut)}.")

    @property
    def bottleneck(self) -> int:
        """The channels inside a bottleneck block."""
        return self.channels // BOTTLENECK_REDUCTION if self.inner is None else self.inner


@dataclass(frozen=True)
class Stem:
    """The convolution in front of the first stage; `pooling` "max" adds a 3×3 max-pool of stride 2 behind it."""

    channels: int
    kernel_size: int = 3
    stride: int = 1
    pooling: StemPooling = "none"

    def __post_init__(self) -> None:
        _check_convolution(self, "stem.")


@dataclass(frozen=True)
class ArchitectureSpec:
    """Everything that decides the layers of a network and the distribution of its initial weights.

    `block` is what a stage repeats: "conv" (one convolution), "basic" (two), "bottleneck" (1×1 to a quarter of the
    channels, 3×3, 1×1 back), "pointwise" (1×1, then 3×3) or "separable" (3×3 depthwise, then 1×1 pointwise).

    `shortcut` is "none" (a plain network), "identity" (He et al. 2015, option A: no parameters; where shapes change,
    every `stride`-th pixel, and zeros for the channels that are new) or "projection" (option B: a 1×1 convolution
    where shapes change, the input itself elsewhere). A stage may have another one than the spec: with shortcuts in some
    stages and none in others the network is a hybrid. One network has one spec: where stages differ, `shortcut` is
    "projection" if a stage projects, else "identity", and a stage that has the same one says None.

    `downsampling` says how a stage's `stride` is done: "conv" by a strided convolution in its first block, "max" or
    "average" by pooling after its last. `head_pooling` "average" is global average pooling, "flatten" keeps every
    pixel. `hidden` are the units of fully connected layers before the last one, each with `activation` and, while
    training, `dropout`. A convolution has a bias where no norm follows; `bias_before_norm` adds it elsewhere too
    (torchvision's VGG with BatchNorm). `input_shape` is (channels, height, width). `groups` divide the 3×3 convolution
    of a bottleneck (ResNeXt, Xie et al. 2017). With `one_logit` the last layer gives one number z for two classes:
    their logits are -z and z, and the sigmoid of z is the probability of the second. With `preactivation` (He et al.
    2016; the wide ResNets of Zagoruyko and Komodakis) norm and activation stand in front of each convolution of a block
    and, with `head_norm`, before the head; a projection takes what the first of them give.

    A block with a shortcut is activation(gain · branch(x) + `shortcut_gain` · shortcut(x)). `branch_start` "gain" gives
    each branch a gain, one learned number that starts at 0 (SkipInit, De and Smith 2020; ReZero, Bachlechner et al.
    2021). With "gamma" the weight of each branch's last norm starts at 0 (Goyal et al. 2017, section 5.1). So a block
    is at first its shortcut alone. With "full" there is no such gain. `stochastic_depth` is the share of training steps
    that leave out the last branch (Huang et al. 2016): of L branches the l-th is left out in `stochastic_depth` · l / L
    of the steps.

    Raises ValueError, with what to change, for a network that cannot exist.
    """

    stages: tuple[Stage, ...]
    block: BlockKind = "basic"
    shortcut: Shortcut = "identity"
    norm: Norm = "batch"
    activation: Activation = "relu"
    initialisation: Initialisation = "he"
    stem: Stem | None = None
    downsampling: Downsampling = "conv"
    head_pooling: HeadPooling = "average"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    bias_before_norm: bool = False
    input_shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10
    groups: int = 1
    one_logit: bool = False
    preactivation: bool = False
    head_norm: bool = True
    shortcut_gain: float = 1.0
    branch_start: BranchStart = "full"
    stochastic_depth: float = 0.0

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {"classes": (1, MAXIMUM["units"]), "groups": (1, MAXIMUM["channels"])}
        check_fields(self, limits | {"shortcut_gain": SHORTCUT_GAINS})
        if self.one_logit and self.classes != 2:
            raise ValueError(f"`one_logit` is for two classes, received `classes` {self.classes}; use 2.")
        if not isinstance(self.stages, tuple) or not all(isinstance(stage, Stage) for stage in self.stages):
            raise ValueError(f"`stages` must be a tuple of Stage, received {shown(self.stages)}.")
        if not 1 <= len(self.stages) <= MAXIMUM["stages"]:
            raise ValueError(f"`stages` must hold 1 to {MAXIMUM['stages']} stages, received {len(self.stages)}.")
        if self.stem is not None and not isinstance(self.stem, Stem):
            raise ValueError(f"`stem` must be a Stem or None, received {shown(self.stem)}.")
        if not isinstance(self.hidden, tuple) or len(self.hidden) > 8:
            raise ValueError(f"`hidden` must be a tuple of at most 8 layer sizes, received {shown(self.hidden)}.")
        for units in self.hidden:
            check_number("hidden", units, 1, MAXIMUM["units"])
        for name in ("dropout", "stochastic_depth"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 1:
                raise ValueError(f"`{name}` must be a share from 0 up to, not including, 1, received {shown(share)}.")
        if not isinstance(self.input_shape, tuple) or len(self.input_shape) != 3:
            raise ValueError(f"`input_shape` must be (channels, height, width), received {shown(self.input_shape)}.")
        for index, high in enumerate((16, MAXIMUM["pixels"], MAXIMUM["pixels"])):
            check_number(f"input_shape[{index}]", self.input_shape[index], 1, high)
        self._unite_shortcuts()
        self._check_variants()
        self._check_blocks()
        self._check_sizes()

    def _unite_shortcuts(self) -> None:
        """Brings the shortcuts of the stages into the form in which each network has one spec."""
        kinds = self.shortcuts
        united = next((kind for kind in ("projection", "identity") if kind in kinds), "none")
        stages = tuple(
            replace(stage, shortcut=None if kind == united else kind)
            for stage, kind in zip(self.stages, kinds, strict=True)
        )
        object.__setattr__(self, "shortcut", united)
        if stages != self.stages:
            object.__setattr__(self, "stages", stages)
        for name in ("shortcut_gain", "stochastic_depth"):  # 1 and 1.0 are two texts in JSON
            object.__setattr__(self, name, float(getattr(self, name)))

    def _check_variants(self) -> None:
        for name in VARIANTS:
            if self.shortcut == "none" and getattr(self, name) != NEWER_FIELDS[name]:
                raise ValueError(
                    f"`{name}` {getattr(self, name)!r} is for blocks with a shortcut, and no stage has one; choose "
                    "shortcuts or leave it out."
                )
        if self.branch_start == "gamma" and self.norm == "none":
            raise ValueError(
                '`branch_start` "gamma" starts the weights of norms at 0, and this network has no norm; use "gain".'
            )
        if self.branch_start == "gamma" and self.preactivation:
            raise ValueError(
                '`branch_start` "gamma" is for branches that end in a norm, and with `preactivation` they end in a '
                'convolution; use "gain".'
            )

    def _check_blocks(self) -> None:
        channels = self.stem.channels if self.stem else self.input_shape[0]
        if self.block != "bottleneck" and (self.groups > 1 or any(stage.inner for stage in self.stages)):
            raise ValueError(
                f'`groups` and `inner` are for blocks of the kind "bottleneck", received `block` {self.block!r}; leave '
                "them out."
            )
        if self.preactivation and self.block not in ("basic", "bottleneck"):
            raise ValueError(
                f'`preactivation` is for blocks of the kind "basic" or "bottleneck", received `block` {self.block!r}; '
                "leave it out."
            )
        if not self.head_norm and not self.preactivation:
            raise ValueError("`head_norm` False is for networks with `preactivation`; leave it out.")
        for index, stage in enumerate(self.stages):
            if stage.bottleneck % self.groups:
                raise ValueError(
                    f"`groups` must divide the channels inside a block, received {self.groups} groups and "
                    f"{stage.bottleneck} channels in stage {index}; use {self.groups} channels or a multiple."
                )
            if self.block == "bottleneck" and stage.inner is None and stage.channels % BOTTLENECK_REDUCTION:
                raise ValueError(
                    f"a bottleneck needs `channels` divisible by {BOTTLENECK_REDUCTION}, received {stage.channels} in "
                    f"stage {index}; use {stage.channels // BOTTLENECK_REDUCTION * BOTTLENECK_REDUCTION + 4}."
                )
            if stage.padding == "valid" and self.block != "conv":
                raise ValueError(
                    f'`padding` "valid" works with blocks of a single convolution only, received `block` '
                    f'{self.block!r} in stage {index}; use padding "same".'
                )
            if self.shortcuts[index] == "identity" and stage.channels < channels:
                raise ValueError(
                    f"an identity shortcut cannot reduce channels, received {channels} before and {stage.channels} in "
                    f'stage {index}; use shortcut "projection" or at least {channels} channels.'
                )
            channels = stage.channels

    def _check_sizes(self) -> None:
        for index in range(len(self.stages)):
            if min(self._size_after(index)) < 1:
                height, width = self.input_shape[1:]
                raise ValueError(
                    f"nothing is left of a {height}×{width} image after stage {index}; use a larger `input_shape`, "
                    f'fewer strides, or padding "same".'
                )

    def _size_after(self, index: int) -> tuple[int, int]:
        """Height and width that leave stage `index`; below 1 where the picture is used up."""
        sizes = list(self.input_shape[1:])
        if self.stem:
            sizes = [-(-size // self.stem.stride) for size in sizes]
            sizes = [-(-size // 2) for size in sizes] if self.stem.pooling == "max" else sizes
        for stage in self.stages[: index + 1]:
            lost = stage.kernel_size - 1 if stage.padding == "valid" else 0
            if self.downsampling == "conv":
                sizes = [-(-(size - lost) // stage.stride) - lost * (stage.blocks - 1) for size in sizes]
            else:
                sizes = [(size - lost * stage.blocks) // stage.stride for size in sizes]
        return sizes[0], sizes[1]

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what arrives at the head."""
        return (self.stages[-1].channels, *self._size_after(len(self.stages) - 1))

    @property
    def shortcuts(self) -> tuple[Shortcut, ...]:
        """The shortcut of each stage's blocks."""
        return tuple(stage.shortcut or self.shortcut for stage in self.stages)

    @property
    def is_hybrid(self) -> bool:
        """Whether some stages have shortcuts and others none."""
        return "none" in self.shortcuts and self.shortcut != "none"

    @property
    def depth(self) -> int:
        """Weighted layers on the main path, as the papers count: convolutions and fully connected layers, without
        projection shortcuts. He et al. 2015: 6n + 2 for their CIFAR networks, 50 for ResNet-50."""
        convolutions = sum(stage.blocks for stage in self.stages) * CONVOLUTIONS_IN_BLOCK[self.block]
        return (self.stem is not None) + convolutions + len(self.hidden) + 1

    @property
    def name(self) -> str:
        """Short name: "plain-20", "ResNet-20", "hybrid-20", "ResNeXt-50", "wide ResNet-50-2" (of twice the usual inner
        channels), "WRN-28-10", whose paper counts the projections too, "pre-activation ResNet-18"."""
        order = "pre-activation " if self.preactivation else ""
        if self.shortcut == "none":
            return f"{order}plain-{self.depth}"
        if self.is_hybrid:
            return f"{order}hybrid-{self.depth}"
        if self.groups > 1:
            return f"ResNeXt-{self.depth}"
        first = self.stages[0]
        is_wide = self.stem and (self.block, {*self.shortcuts}) == ("basic", {"projection"})
        if self.preactivation and is_wide and self.stem and len(self.stages) <= 3:
            return f"WRN-{self.depth - 1 + len(self.stages)}-{first.channels / self.stem.channels:g}"
        wide = BOTTLENECK_REDUCTION * first.bottleneck / first.channels if first.inner else 1
        return f"{order}ResNet-{self.depth}" if wide == 1 else f"{order}wide ResNet-{self.depth}-{wide:g}"

    @property
    def temperature(self) -> float:
        """softmax(logits / temperature) are the probabilities: of logits -z and z it is the sigmoid of z with 2."""
        return 2.0 if self.one_logit else 1.0

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that two specs share only if they are equal: cache key and file stem."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def activation_name(self) -> str:
        """The name of the activation: "ReLU"."""
        return ACTIVATIONS[self.activation]

    def block_of(self, layer: str) -> str | None:
        """The name of the block that the layer is inside of: `stages.1.0.conv2` -> "stages.1.0"."""
        match = INSIDE_BLOCK.match(layer)
        return match[1] if match else None

    def is_beside(self, layer: str) -> bool:
        """Whether the layer is a shortcut or on one, beside the main path."""
        return ".shortcut" in layer

    def twin(self) -> Self:
        """The same network without its shortcuts or, of a plain one, with identity shortcuts.

        Identity shortcuts have no parameters, so `build` with one seed gives twins the same weights; a shortcut's gain
        goes with it. Raises ValueError where a plain network reduces channels, which no identity can, and for a network
        whose branches start at 0 or are left out at times, which needs the shortcuts.
        """
        if self.branch_start != "full":
            raise ValueError(
                f'branches that start at 0 (`branch_start` "{self.branch_start}") need a shortcut: without one each '
                'block gives 0 and learns nothing; use "full" for a twin.'
            )
        if self.stochastic_depth:
            raise ValueError(
                "without its shortcut a block that `stochastic_depth` leaves out passes nothing on, and without "
                "`stochastic_depth` the shortcuts are not the only difference; use 0 for a twin."
            )
        other: Shortcut = "identity" if self.shortcut == "none" else "none"
        stages = tuple(replace(stage, shortcut=other) for stage in self.stages)
        return replace(self, stages=stages, shortcut=other, shortcut_gain=1.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` is its inverse. `NEWER_FIELDS` are left out where they have their default, so that
        fingerprints and files of older networks keep their bytes."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        values = json.loads(json.dumps(own, default=vars))  # `asdict` copies each value first, which takes ten times
        for part in (values, *values["stages"]):
            for name, default in NEWER_FIELDS.items():
                if name in part and part[name] == default:
                    del part[name]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The spec that `to_dict` described. Raises ValueError for anything else."""
        values = fields_of(cls, values, "a spec")
        for name in ("stages", "hidden", "input_shape"):
            if name in values and not isinstance(values[name], list | tuple):
                raise ValueError(f"{WRONG}`{name}` must be a list, received {shown(values[name])}.")
            if name in values:
                values[name] = tuple(values[name])
        values["stages"] = tuple(Stage(**fields_of(Stage, stage, "a stage", WRONG)) for stage in values["stages"])
        if values.get("stem") is not None:
            values["stem"] = Stem(**fields_of(Stem, values["stem"], "the stem", WRONG))
        return cls(**values)
