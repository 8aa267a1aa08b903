"""The networks: written to be looked at.

Each operation that a person can see is a named module, used once and never in place. The forward pass takes `run`,
which calls a module on its inputs; whoever wants to see the pass hands in a `Recorder` and needs no hooks.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures.spec import BOTTLENECK_REDUCTION, ArchitectureSpec, Stage

Run = Callable[..., Tensor]


def call(module: nn.Module, *inputs: object) -> Tensor:
    """The `run` of a pass that nobody watches."""
    return module(*inputs)


class Recorder:
    """The `run` of a watched pass: keeps each output, in execution order, under its module's dotted name.

    A block's output is the very tensor of its last activation; it is kept once, under the block's name, which takes
    the place of the activation's. `kinds` limits what is kept ("conv", "shortcut", "block", ...); None keeps all.
    """

    def __init__(self, network: "Network", kinds: Collection[str] | None = None) -> None:
        self.layers = network.layers
        self.kinds = kinds
        self.outputs: dict[str, Tensor] = {}
        self.modules: dict[str, nn.Module] = {}

    def compute(self, module: nn.Module, *inputs: object) -> Tensor:
        """What the module makes of its inputs."""
        output: Tensor = module(*inputs)
        return output

    def __call__(self, module: nn.Module, *inputs: object) -> Tensor:
        output = self.compute(module, *inputs)
        name, kind = self.layers[module]
        if self.kinds is None or kind in self.kinds:
            last = next(reversed(self.outputs), "")
            repeated = self.outputs.get(last) is output
            if repeated and kind not in ("block", "shortcut"):
                return output  # dropout in evaluation mode hands its input on: there is nothing new to see
            if repeated and self.layers[self.modules[last]][1] != "conv":
                del self.outputs[last], self.modules[last]
            self.outputs[name] = output
            self.modules[name] = module
        return output


class Sum(nn.Module):
    """branch + shortcut, both (N, C, H, W); a module, so that the sum can be looked at."""

    def forward(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        return branch + shortcut


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

    (N, C, H, W) -> (N, C + `extra_channels`, H', W'): `crop` pixels less on each side (what a convolution without
    padding takes away), every `stride`-th pixel, and channels of zeros, half in front and half behind. Where no
    channels are added the result is a view of the input: a tensor of its own, so that the gradient that arrives
    through the shortcut can be told from the one that arrives through the branch.
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
        self.norm = normalisation(spec, out_channels)

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        if self.crop is not None:
            x = run(self.crop, x)
        x = run(self.conv, x)
        if self.norm is not None:
            x = run(self.norm, x)
        return x


class Block(nn.Module):
    """activation(branch(x) + shortcut(x)); without a shortcut, activation(branch(x)).

    The branch is conv1, norm1, activation1, conv2, norm2, ... and ends before its last activation, which follows the
    sum (He et al. 2015, figure 2).
    """

    def __init__(self, spec: ArchitectureSpec, stage: Stage, channels: int, stride: int) -> None:
        super().__init__()
        convolutions = branch_of(spec, stage, channels, stride)
        self.length = len(convolutions)
        for index, conv in enumerate(convolutions, start=1):
            self.add_module(f"conv{index}", conv)
            self.add_module(f"norm{index}", normalisation(spec, conv.out_channels))
            if index < self.length:
                self.add_module(f"activation{index}", activation(spec))
        if spec.shortcut != "none":
            self.shortcut = shortcut_of(spec, stage, channels, stride)
            self.sum = Sum()
        self.activation = activation(spec)
        self.residual = spec.shortcut != "none"

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        branch = x
        for index in range(1, self.length + 1):
            branch = run(getattr(self, f"conv{index}"), branch)
            if getattr(self, f"norm{index}") is not None:
                branch = run(getattr(self, f"norm{index}"), branch)
            if index < self.length:
                branch = run(getattr(self, f"activation{index}"), branch)
        if self.residual:
            shortcut = run(self.shortcut, x, run)
            branch = run(self.sum, branch, shortcut)
        return run(self.activation, branch)


class StemLayers(nn.Module):
    """conv, norm, activation, pool: (N, C, H, W) -> (N, stem channels, H', W')."""

    def __init__(self, spec: ArchitectureSpec) -> None:
        super().__init__()
        stem = spec.stem
        assert stem is not None
        self.conv = convolution(spec, spec.input_shape[0], stem.channels, stem.kernel_size, stem.stride)
        self.norm = normalisation(spec, stem.channels)
        self.activation = activation(spec)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if stem.pooling == "max" else None

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        x = run(self.conv, x)
        if self.norm is not None:
            x = run(self.norm, x)
        x = run(self.activation, x)
        if self.pool is not None:
            x = run(self.pool, x)
        return x


class Dropout(nn.Dropout):
    """Dropout whose random numbers come from `generator`, torch's global one where that is None.

    Two networks that are trained side by side in two threads would take turns at the global one, in no fixed order.
    """

    generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or self.generator is None:
            return super().forward(x)
        kept = torch.rand(x.shape, generator=self.generator, device=x.device) >= self.p
        return x * kept / (1 - self.p)


class Head(nn.Module):
    """pool, flatten, hidden layers, fc: (N, C, H, W) -> logits (N, classes)."""

    def __init__(self, spec: ArchitectureSpec) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1) if spec.head_pooling == "average" else None
        self.flatten = nn.Flatten()
        features = spec.feature_shape[0] if spec.head_pooling == "average" else math.prod(spec.feature_shape)
        self.hidden_layers = len(spec.hidden)
        self.dropout = spec.dropout
        for index, units in enumerate(spec.hidden, start=1):
            self.add_module(f"fc{index}", nn.Linear(features, units))
            self.add_module(f"activation{index}", activation(spec))
            if spec.dropout:
                self.add_module(f"dropout{index}", Dropout(spec.dropout))
            features = units
        self.fc = nn.Linear(features, spec.classes)

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        if self.pool is not None:
            x = run(self.pool, x)  # (N, C, 1, 1)
        x = run(self.flatten, x)  # (N, features)
        for index in range(1, self.hidden_layers + 1):
            x = run(getattr(self, f"fc{index}"), x)
            x = run(getattr(self, f"activation{index}"), x)
            if self.dropout:
                x = run(getattr(self, f"dropout{index}"), x)
        return run(self.fc, x)


class Network(nn.Module):
    """stem, stages, head: images (N, C, H, W), normalised, -> logits (N, classes).

    `layers` maps every module to its dotted path ("stages.1.0.conv2") and its kind ("conv").
    """

    def __init__(self, spec: ArchitectureSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem = StemLayers(spec) if spec.stem else None
        channels = spec.stem.channels if spec.stem else spec.input_shape[0]
        self.stages = nn.ModuleList()
        for stage in spec.stages:
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 and spec.downsampling == "conv" else 1
                parts[str(index)] = Block(spec, stage, channels, stride)
                channels = stage.channels
            if spec.downsampling != "conv" and stage.stride > 1:
                pool = nn.MaxPool2d if spec.downsampling == "max" else nn.AvgPool2d
                parts["pool"] = pool(stage.stride)
            self.stages.append(nn.Sequential(parts))
        self.head = Head(spec)
        self.layers = {module: (name, kind_of(module)) for name, module in self.named_modules()}

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        if self.stem is not None:
            x = self.stem(x, run)
        for stage in self.stages:
            for part in stage.children():
                x = run(part, x, run) if isinstance(part, Block) else run(part, x)
        return self.head(x, run)

    def draw_dropout_from(self, generator: torch.Generator | None) -> None:
        """Lets all dropout draw its random numbers from `generator`; None: from torch's global one."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = generator

    def freeze(self) -> "Network":
        """Evaluation mode and parameters that ask for no gradient: what a network that is only looked at must be."""
        return self.eval().requires_grad_(False)


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
    inner = out // BOTTLENECK_REDUCTION
    return [
        convolution(spec, channels, inner, 1),
        convolution(spec, inner, inner, size, stride),  # the stride is here, not in the 1×1: torchvision since 0.2
        convolution(spec, inner, out, 1),
    ]


def shortcut_of(spec: ArchitectureSpec, stage: Stage, channels: int, stride: int) -> nn.Module:
    crop = stage.kernel_size // 2 if stage.padding == "valid" else 0
    if spec.shortcut == "projection" and (channels != stage.channels or stride != 1):
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


def kind_of(module: nn.Module) -> str:
    """What a layer is called in tables: "conv", "norm", "activation", "pool", "shortcut", "sum", "block", ..."""
    for kind, classes in KINDS.items():
        if isinstance(module, classes):
            return kind
    return "activation"


KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "conv": (nn.Conv2d,),
    "norm": (nn.BatchNorm2d,),
    "pool": (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    "shortcut": (IdentityShortcut, ProjectionShortcut),
    "sum": (Sum,),
    "crop": (Crop,),
    "block": (Block,),
    "flatten": (nn.Flatten,),
    "linear": (nn.Linear,),
    "dropout": (nn.Dropout,),
}


def build(spec: ArchitectureSpec, seed: int = 0, device: str | torch.device = "cpu") -> Network:
    """A network with its initial weights, in training mode.

    Each layer draws its weights from a generator of its own, seeded by `seed` and the layer's name. So two networks
    that share a layer name and shape share its weights: twins start identical whatever their shortcuts are.
    """
    with torch.device("meta"):
        network = Network(spec)
    network.to_empty(device="cpu")
    for name, module in network.named_modules():
        initialise(module, spec, torch.Generator().manual_seed(_layer_seed(seed, name)))
    return network.to(device)


def _layer_seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little") >> 1


@torch.no_grad()
def initialise(module: nn.Module, spec: ArchitectureSpec, generator: torch.Generator) -> None:
    """First values of one layer's own parameters and buffers.

    "he": weights ~ N(0, 2 / fan_in), biases 0 (He et al. 2015b, "Delving deep into rectifiers", equation 10), the
    same whatever the activation. It keeps sizes under ReLU, which lets half of a signal's energy through. It is not
    made for the others: tanh, of slope 1 at 0, would want 1 / fan_in (Glorot and Bengio 2010, for layers of equal
    width) and is driven into saturation; a sigmoid's slope is 1/4 at most, so without norm a gradient shrinks to
    sqrt(2) / 4 = 0.35 or less in each layer. That is part of what an experiment can show.
    "pytorch": weights and biases ~ U(-b, b) with b = 1 / sqrt(fan_in), what nn.Conv2d and nn.Linear do by default.
    """
    if isinstance(module, nn.BatchNorm2d):
        module.reset_running_stats()
        module.weight.fill_(1)
        module.bias.zero_()
    elif isinstance(module, (nn.Conv2d, nn.Linear)):
        fan_in = module.weight[0].numel()
        if spec.initialisation == "he":
            module.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
        else:
            module.weight.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
        if module.bias is not None:
            if spec.initialisation == "he":
                module.bias.zero_()
            else:
                module.bias.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
