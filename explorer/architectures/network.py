"""The networks: stem, stages and head of named modules, with their initial weights.

A `Recorder` as the `run` of a forward pass sees it without hooks.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from explorer.architectures.modules import (
    Block,
    BranchGain,
    Crop,
    Dropout,
    Head,
    IdentityShortcut,
    ProjectionShortcut,
    Run,
    ShortcutGain,
    StemLayers,
    StochasticDepth,
    Sum,
    call,
)
from explorer.architectures.spec import ArchitectureSpec


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
