"""The networks: every visible operation is a named module, used once and never in place.

The forward pass takes `run`, which calls a module on its inputs. A `Recorder` as `run` sees the pass without hooks.

One file: the parts of a network, which are short and refer to each other.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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


class Recorder:
    """The `run` of a recorded pass: keeps each output, in execution order, under its module's dotted name.

    A block's output is the very tensor of its last activation; it is kept once, under the block's name. `kinds` limits
    what is kept ("conv", "shortcut", "block", ...); None keeps all.
    """

    def __init__(self, network: "Network", kinds: Collection[str] | None = None) -> None:
        self.layers = network.layers
        self.kinds = kinds
        self.outputs: dict[str, Tensor] = {}
        self.modules: dict[str, nn.Module] = {}

    def compute(self, module: nn.Module, *inputs: object) -> Tensor:
        output: Tensor = module(*inputs)
        return output

    def __call__(self, module: nn.Module, *inputs: object) -> Tensor:
        output = self.compute(module, *inputs)
        name, kind = self.layers[module]
        if self.kinds is None or kind in self.kinds:
            last = next(reversed(self.outputs), "")
            repeated = self.outputs.get(last) is output
            if repeated and kind not in ("block", "shortcut"):
                return output  # dropout in evaluation mode returns its input
            if repeated and self.layers[self.modules[last]][1] != "conv":
                del self.outputs[last], self.modules[last]
            self.outputs[name] = output
            self.modules[name] = module
        return output


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


class _Unfilled(TorchFunctionMode):
    """Leaves out what torch fills new layers with. On the meta device there is nothing to fill, and it took two fifths
    of the time."""

    FILLS = (nn.init.kaiming_uniform_, nn.init.uniform_, Tensor.fill_, Tensor.zero_)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return None if function in self.FILLS else function(*args, **(kwargs or {}))


class Network(nn.Module):
    """stem, stages, head: images (N, C, H, W), normalised, -> logits (N, classes).

    `layers` maps every module to its dotted path ("stages.1.0.conv2") and its kind ("conv").
    """

    describes: ClassVar[type[ArchitectureSpec]] = ArchitectureSpec

    @staticmethod
    def of(spec: ArchitectureSpec) -> "Network":
        """The network of any spec, of stages or of a graph."""
        kinds: list[type[Network]] = [Network, *Network.__subclasses__()]
        return next(kind for kind in kinds if kind.describes is type(spec))(spec)

    @staticmethod
    def without_values(spec: ArchitectureSpec) -> "Network":
        """The network of any spec on torch's meta device: shapes only, no memory."""
        with torch.device("meta"), _Unfilled():
            return Network.of(spec)

    def __init__(self, spec: ArchitectureSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem = StemLayers(spec) if spec.stem else None
        channels = spec.stem.channels if spec.stem else spec.input_shape[0]
        self.stages = nn.ModuleList()
        branches = sum(stage.blocks for stage in spec.stages if (stage.shortcut or spec.shortcut) != "none")
        place = 0  # of the branch among those beside a shortcut
        for stage in spec.stages:
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 and spec.downsampling == "conv" else 1
                place += (stage.shortcut or spec.shortcut) != "none"
                left_out = spec.stochastic_depth * place / max(1, branches)
                parts[str(index)] = Block(spec, stage, channels, stride, left_out)
                channels = stage.channels
            if spec.downsampling != "conv" and stage.stride > 1:
                pool = nn.MaxPool2d if spec.downsampling == "max" else nn.AvgPool2d
                parts["pool"] = pool(stage.stride)
            self.stages.append(nn.Sequential(parts))
        self.head = Head(spec)
        self.layers = {
            module: (name, next((kind for kind, types in KINDS.items() if isinstance(module, types)), "activation"))
            for name, module in self.named_modules()
        }

    def forward(self, x: Tensor, run: Run = call) -> Tensor:
        for output in self.in_parts(x, run):
            x = output
        return x

    def in_parts(self, x: Tensor, run: Run = call) -> Iterator[Tensor]:
        """The output of the stem, of each block and pooling behind one, and of the head, which are the logits."""
        if self.stem is not None:
            yield (x := self.stem(x, run))
        for stage in self.stages:
            for part in stage.children():
                yield (x := run(part, x, run) if isinstance(part, Block) else run(part, x))
        yield self.head(x, run)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def draw_dropout_from(self, generator: torch.Generator | None, depths: torch.Generator | None = None) -> None:
        """Sets the generator of all dropout layers, and that of the branches that are left out, on the CPU; None:
        torch's global one."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = depths if isinstance(module, StochasticDepth) else generator

    def freeze(self) -> "Network":
        """Evaluation mode and parameters without gradients, as a network needs that is only looked at."""
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


KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "conv": (nn.Conv2d,),
    "norm": (nn.BatchNorm2d,),
    "pool": (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    "shortcut": (IdentityShortcut, ProjectionShortcut),
    "sum": (Sum,),
    "gain": (ShortcutGain, BranchGain),
    "crop": (Crop,),
    "block": (Block,),
    "flatten": (nn.Flatten,),
    "linear": (nn.Linear,),
    "dropout": (nn.Dropout,),
}
"""The modules of each kind of layer; any other module is an "activation"."""


def build(spec: ArchitectureSpec, seed: int = 0, device: str | torch.device = "cpu") -> Network:
    """A network with its initial weights, in training mode.

    Each layer draws its weights from a generator seeded by `seed` and the layer's name. So networks that share a layer
    name and shape share its weights: twins start identical.
    """
    network = Network.without_values(spec)
    # Not `to_empty`: with meta tensors that imports sympy, half a second of every process that builds a network.
    network.load_state_dict(
        {name: torch.empty(like.shape, dtype=like.dtype) for name, like in network.state_dict().items()}, assign=True
    )
    for name, module in network.named_modules():
        layer_seed = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little") >> 1
        initialise(module, spec, torch.Generator().manual_seed(layer_seed))
    for module in network.modules():
        if isinstance(module, Block) and module.starts_at_zero:
            nn.init.zeros_(getattr(module, module.starts_at_zero).weight)
    return network.to(device)


@torch.no_grad()
def initialise(module: nn.Module, spec: ArchitectureSpec, generator: torch.Generator) -> None:
    """Sets the initial values of one layer's own parameters and buffers.

    "he": weights ~ N(0, 2 / fan_in), biases 0 (He et al. 2015b, "Delving deep into rectifiers", equation 10), the
    same for every activation. It keeps sizes under ReLU, which lets half of a signal's energy through. Others
    differ: tanh, of slope 1 at 0, would want 1 / fan_in (Glorot and Bengio 2010, for layers of equal width) and
    saturates; a sigmoid's slope is 1/4 at most, so without norm a gradient shrinks to sqrt(2) / 4 = 0.35 or less in
    each layer.
    "pytorch": weights and biases ~ U(-b, b) with b = 1 / sqrt(fan_in), the default of nn.Conv2d and nn.Linear.
    """
    if isinstance(module, nn.BatchNorm2d):
        module.reset_running_stats()
        module.weight.fill_(1)
        module.bias.zero_()
    elif isinstance(module, BranchGain):
        module.weight.zero_()
    elif isinstance(module, (nn.Conv2d, nn.Linear)):
        fan_in = module.weight[0].numel()
        bound = 1 / math.sqrt(fan_in)
        if spec.initialisation == "he":
            module.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
        else:
            module.weight.uniform_(-bound, bound, generator=generator)
        if module.bias is not None and spec.initialisation == "he":
            module.bias.zero_()
        elif module.bias is not None:
            module.bias.uniform_(-bound, bound, generator=generator)
