"""The modules of networks: every visible operation is one, used once and never in place.

The forward pass takes `run`, which calls a module on its inputs.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures.spec import ArchitectureSpec, Shortcut, Stage

Run = Callable[..., Tensor]


def call(module: nn.Module, *inputs: object) -> Tensor:
    """The `run` of a pass that is not recorded."""
    return module(*inputs)


def in_turn(run: Run, x: Tensor, *modules: nn.Module | None) -> Tensor:
    """The output of the last of `modules`, each called by `run` on the output of the one before; None is left out."""
    for module in modules:
        if module is not None:
            x = run(module, x)
    return x


class Sum(nn.Module):
    """branch + shortcut, both (N, C, H, W)."""

    def forward(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        return branch + shortcut


class ShortcutGain(nn.Module):
    """α · s(x), with a number that stays as it is: (N, C, H, W) -> the same shape."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class BranchGain(nn.Module):
    """gain · F(x), with one learned number for the whole branch, 0 at first: (N, C, H, W) -> the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.to(x.dtype)  # one number would make bfloat16 wide


class Crop(nn.Module):
    """(N, C, H, W) without `pixels` rows and columns on each side: a view."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        return x[:, :, self.pixels : height - self.pixels, self.pixels : width - self.pixels]


class IdentityShortcut(nn.Module):
    """Option A of He et al. 2015, section 3.3: no parameters.

    (N, C, H, W) -> (N, C + `extra_channels`, H', W'): `crop` pixels less on each side (as after a convolution without
    padding), every `stride`-th pixel, and channels of zeros, half in front and half behind. Without extra channels the
    result is a view: a tensor of its own, so that its gradient differs from that of the branch.
    """

    def __init__(self, extra_channels: int, stride: int, crop: int) -> None:
        super().__init__()
        self.extra_channels = extra_channels
        self.stride = stride
        self.crop = crop

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        height, width = x.shape[2:]
        rows = slice(self.crop, height - self.crop, self.stride)
        columns = slice(self.crop, width - self.crop, self.stride)
        x = x[:, :, rows, columns]
        if self.extra_channels:
            front = self.extra_channels // 2
            return F.pad(x, (0, 0, 0, 0, front, self.extra_channels - front))
        return x


class ProjectionShortcut(nn.Module):
    """Option B of He et al. 2015: a 1×1 convolution, (N, C, H, W) -> (N, C', H / stride, W / stride)."""

    def __init__(self, spec: ArchitectureSpec, channels: int, out_channels: int, stride: int, crop: int) -> None:
        super().__init__()
        self.crop = Crop(crop) if crop else None
        self.conv = convolution(spec, channels, out_channels, kernel_size=1, stride=stride)
        self.norm = None if spec.preactivation else normalisation(spec, out_channels)

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        return in_turn(run, x, self.crop, self.conv, self.norm)


class Dropout(nn.Dropout):
    """Dropout with random numbers from `generator`, torch's global one where that is None.

    Two networks in two threads would take numbers from the global one in no fixed order.
    """

    generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or self.generator is None:
            return super().forward(x)
        kept = torch.rand(x.shape, generator=self.generator, device=x.device) >= self.p
        return x * kept / (1 - self.p)


class StochasticDepth(Dropout):
    """Leaves out a whole branch, of the whole batch, in a share `p` of the steps (Huang et al. 2016, section 3).

    A branch that stays is divided by 1 - p, as torchvision does, so that nothing is left to do after training; the
    paper multiplies it by 1 - p there instead. `generator` is one on the CPU: where a branch is left out, it is not
    computed, and a GPU would have to be asked.
    """

    def leaves_out(self) -> bool:
        """Draws whether this step does without the branch; never after training."""
        if not self.training or self.p == 0:
            return False
        return torch.rand((), generator=self.generator).item() < self.p

    def forward(self, x: Tensor) -> Tensor:
        return x / (1 - self.p) if self.training and self.p else x


class Block(nn.Module):
    """activation(gain · branch(x) + α · shortcut(x)); without a shortcut, activation(branch(x)).

    The branch is conv1, norm1, activation1, conv2, norm2, ... and ends before its last activation, which follows the
    sum (He et al. 2015, figure 2). With preactivation it is norm1, activation1, conv1, ..., and nothing follows the sum
    (He et al. 2016, figure 1). Its gain, where the spec has one, is a part of it. `left_out` is the share of training
    steps without the branch.
    """

    sum_name = "sum"
    starts_at_zero = ""  # the norm whose weight does

    def __init__(self, spec: ArchitectureSpec, stage: Stage, channels: int, stride: int, left_out: float = 0.0) -> None:
        super().__init__()
        shortcut = stage.shortcut or spec.shortcut
        convolutions = branch_of(spec, stage, channels, stride)
        for index, conv in enumerate(convolutions, start=1):
            if spec.preactivation:
                self.add_module(f"norm{index}", normalisation(spec, conv.in_channels))
                self.add_module(f"activation{index}", activation(spec))
                self.add_module(f"conv{index}", conv)
                continue
            self.add_module(f"conv{index}", conv)
            self.add_module(f"norm{index}", normalisation(spec, conv.out_channels))
            if index < len(convolutions):
                self.add_module(f"activation{index}", activation(spec))
        self.residual = shortcut != "none"
        if self.residual and spec.branch_start == "gain":
            self.branch_gain = BranchGain()
        elif self.residual and spec.branch_start == "gamma":
            self.starts_at_zero = f"norm{len(convolutions)}"
        if self.residual and left_out:
            self.stochastic_depth = StochasticDepth(left_out)
        self.branch = [name for name, _ in self.named_children()]
        if self.residual:
            self.shortcut = shortcut_of(spec, shortcut, stage, channels, stride)
            self.shortcut_gain = ShortcutGain(spec.shortcut_gain) if spec.shortcut_gain != 1 else None
            self.sum = Sum()
        self.activation = None if spec.preactivation else activation(spec)

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        layers = [getattr(self, name) for name in self.branch]
        first = self.branch.index("conv1")
        projects = self.residual and isinstance(self.shortcut, ProjectionShortcut)
        left_out = "stochastic_depth" in self.branch and self.stochastic_depth.leaves_out()
        # x itself without preactivation; not computed where nothing takes it
        activated = x if left_out and not projects else in_turn(run, x, *layers[:first])
        branch = activated if left_out else in_turn(run, activated, *layers[first:])
        if self.residual:
            shortcut = run(self.shortcut, activated if projects else x, run)
            shortcut = in_turn(run, shortcut, self.shortcut_gain)
            branch = shortcut if left_out else run(self.sum, branch, shortcut)
        return in_turn(run, branch, self.activation)

    def shortcut_kind(self, x: Tensor, shortcut: Tensor) -> str:
        """ "identity", "padded" (option A where shapes change) or "projection", from the block's input and s(x)."""
        if isinstance(self.shortcut, ProjectionShortcut):
            return "projection"
        return "identity" if x.shape == shortcut.shape else "padded"


class StemLayers(nn.Module):
    """conv, norm, activation, pool: (N, C, H, W) -> (N, stem channels, H', W')."""

    def __init__(self, spec: ArchitectureSpec) -> None:
        super().__init__()
        stem = spec.stem
        assert stem is not None
        self.conv = convolution(spec, spec.input_shape[0], stem.channels, stem.kernel_size, stem.stride)
        self.norm = None if spec.preactivation else normalisation(spec, stem.channels)
        self.activation = None if spec.preactivation else activation(spec)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if stem.pooling == "max" else None

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        return in_turn(run, x, self.conv, self.norm, self.activation, self.pool)


class BothSigns(nn.Module):
    """z (N, 1) -> the logits -z and z of two classes, (N, 2)."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([-z, z], dim=1)


class Head(nn.Module):
    """pool, flatten, hidden layers, fc: (N, C, H, W) -> logits (N, classes); with preactivation and `head_norm` a norm
    in front."""

    def __init__(self, spec: ArchitectureSpec) -> None:
        super().__init__()
        normed = spec.preactivation and spec.head_norm
        self.norm = normalisation(spec, spec.feature_shape[0]) if normed else None
        self.activation = activation(spec) if normed else None
        self.pool = nn.AdaptiveAvgPool2d(1) if spec.head_pooling == "average" else None
        self.flatten = nn.Flatten()
        features = spec.feature_shape[0] if spec.head_pooling == "average" else math.prod(spec.feature_shape)
        for index, units in enumerate(spec.hidden, start=1):
            self.add_module(f"fc{index}", nn.Linear(features, units))
            self.add_module(f"activation{index}", activation(spec))
            if spec.dropout:
                self.add_module(f"dropout{index}", Dropout(spec.dropout))
            features = units
        self.fc = nn.Linear(features, 1 if spec.one_logit else spec.classes)
        if spec.one_logit:
            self.signs = BothSigns()

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        return in_turn(run, x, *self.children())  # pool: (N, C, 1, 1), flatten: (N, features), ..., fc: (N, classes)


def branch_of(spec: ArchitectureSpec, stage: Stage, channels: int, stride: int) -> list[nn.Conv2d]:
    """The convolutions of one block's branch, from `channels` to `stage.channels`."""
    out, size, padding = stage.channels, stage.kernel_size, stage.padding
    if spec.block == "conv":
        return [convolution(spec, channels, out, size, stride, padding)]
    if spec.block == "basic":
        return [convolution(spec, channels, out, size, stride), convolution(spec, out, out, size)]
    if spec.block == "pointwise":
        return [convolution(spec, channels, out, 1), convolution(spec, out, out, size, stride)]
    if spec.block == "separable":
        depthwise = convolution(spec, channels, channels, size, stride, groups=channels)
        return [depthwise, convolution(spec, channels, out, 1)]
    inner = stage.bottleneck
    return [
        convolution(spec, channels, inner, 1),
        # The stride is here, not in the 1×1: torchvision since 0.2.
        convolution(spec, inner, inner, size, stride, groups=spec.groups),
        convolution(spec, inner, out, 1),
    ]


def shortcut_of(spec: ArchitectureSpec, kind: Shortcut, stage: Stage, channels: int, stride: int) -> nn.Module:
    crop = stage.kernel_size // 2 if stage.padding == "valid" else 0
    if kind == "projection" and (channels != stage.channels or stride != 1):
        return ProjectionShortcut(spec, channels, stage.channels, stride, crop)
    return IdentityShortcut(stage.channels - channels, stride, crop)


def convolution(
    spec: ArchitectureSpec,
    channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    padding: str = "same",
    groups: int = 1,
) -> nn.Conv2d:
    pixels = kernel_size // 2 if padding == "same" else 0
    bias = spec.norm == "none" or spec.bias_before_norm
    return nn.Conv2d(channels, out_channels, kernel_size, stride, pixels, groups=groups, bias=bias)


def normalisation(spec: ArchitectureSpec, channels: int) -> nn.Module | None:
    return nn.BatchNorm2d(channels) if spec.norm == "batch" else None


def norm_factors(norm: nn.BatchNorm2d) -> Tensor:
    """What a norm multiplies each channel by after training, γ / sqrt(variance + ε): float64 (C,), any sign."""
    assert norm.running_var is not None
    deviation = (norm.running_var.double() + norm.eps).sqrt()
    return 1 / deviation if norm.weight is None else norm.weight.double() / deviation


ACTIVATION_CLASSES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def activation(spec: ArchitectureSpec) -> nn.Module:
    return ACTIVATION_CLASSES[spec.activation]()
