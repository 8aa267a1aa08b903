"""Folding: norms, gains and shortcuts of a trained network as a part of its convolutions, where that is exact.

After RepVGG (Ding et al. 2021, section 3.3): after training a norm is a factor and an offset of each channel, and a
shortcut around a single convolution is a convolution too, whose kernel is zero but for its centre.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from explorer.architectures.graph import GraphSpec
from explorer.architectures.modules import Block, IdentityShortcut, ProjectionShortcut, norm_factors
from explorer.architectures.network import Network
from explorer.architectures.spec import CONVOLUTIONS_IN_BLOCK, ArchitectureSpec


@dataclass(frozen=True)
class Fold:
    """One part of a network, the convolution that would hold it, and whether it can without another result; `reason`
    says why. `part` is the dotted name of a layer."""

    part: str
    into: str
    is_exact: bool
    reason: str


def folded_spec(spec: ArchitectureSpec) -> ArchitectureSpec:
    """The network without the parts that can be folded: plain where each branch is a single convolution, else with its
    shortcuts, and in both cases without norms and without gains of branches.

    Raises ValueError where nothing can be folded, or for a network whose norms do not follow its convolutions.
    """
    if isinstance(spec, GraphSpec):
        raise ValueError(f"{spec.name} came from an ONNX file, and only networks that were built here can be folded.")
    if spec.preactivation and spec.norm != "none":
        raise ValueError(
            f"{spec.name} has a norm behind each sum, which no kernel can take in, so it is not folded here; choose a "
            "network with norms behind its convolutions."
        )
    simple = replace(spec, norm="none", bias_before_norm=False, branch_start="full", stochastic_depth=0.0)
    if spec.block == "conv":
        stages = tuple(replace(stage, shortcut="none") for stage in spec.stages)
        simple = replace(simple, stages=stages, shortcut="none", shortcut_gain=1.0)
    if not any(each.is_exact for each in folds(spec)):
        raise ValueError(
            f"{spec.name} has nothing that can be folded: no norm and no gain, and no shortcut around a single "
            "convolution."
        )
    return simple


def folds(spec: ArchitectureSpec) -> tuple[Fold, ...]:
    """Every norm, gain and shortcut of a network that was built here, in execution order."""
    return tuple(_folds(spec))


def _folds(spec: ArchitectureSpec) -> Iterator[Fold]:
    norm = "After training a norm is a factor and an offset of each channel."
    if spec.stem and spec.norm == "batch" and not spec.preactivation:
        yield Fold("stem.norm", "stem.conv", True, norm)
    count = CONVOLUTIONS_IN_BLOCK[spec.block]
    channels = spec.stem.channels if spec.stem else spec.input_shape[0]
    for index, (stage, kind) in enumerate(zip(spec.stages, spec.shortcuts, strict=True)):
        for number in range(stage.blocks):
            block = f"stages.{index}.{number}"
            last = f"{block}.conv{count}"
            for place in range(1, count + 1) if spec.norm == "batch" and not spec.preactivation else ():
                yield Fold(f"{block}.norm{place}", f"{block}.conv{place}", True, norm)
            if kind != "none":
                if spec.branch_start == "gain":
                    yield Fold(f"{block}.branch_gain", last, True, "It multiplies what the last convolution gives.")
                strided = stage.stride != 1 and number == 0 and spec.downsampling == "conv"
                if count == 1 and not spec.preactivation:
                    yield Fold(f"{block}.shortcut", last, True, _as_kernel(kind, channels, stage.channels, strided))
                else:
                    yield Fold(
                        f"{block}.shortcut",
                        last,
                        False,
                        f"An activation stands between the {count} convolutions of the branch, so no single kernel "
                        "computes the branch and the shortcut."
                        if count > 1
                        else "An activation stands in front of the convolution of the branch.",
                    )
                if kind == "projection" and (strided or channels != stage.channels) and spec.norm == "batch":
                    if not spec.preactivation and count > 1:
                        yield Fold(f"{block}.shortcut.norm", f"{block}.shortcut.conv", True, norm)
            channels = stage.channels


def _as_kernel(kind: str, channels: int, out_channels: int, strided: bool) -> str:
    if kind == "projection" and (strided or channels != out_channels):
        return "The 1×1 kernel of the projection stands at the centre of the larger one."
    return "As a kernel it is 1 at the centre, from each channel to its place, and 0 elsewhere."


@torch.no_grad()
def fold(network: Network) -> Network:
    """A new network that gives the same logits up to rounding, frozen, of `folded_spec`: after training only.

    Computed in float64 and rounded once. The network stays as it is. Raises ValueError for one in training mode, and
    where `folded_spec` does.
    """
    if network.training:
        raise ValueError("a network can be folded after training only; call `eval()` first.")
    spec = network.spec
    folded = Network(folded_spec(spec))
    state = {name: tensor.clone() for name, tensor in network.state_dict().items() if name.startswith("head.")}
    if network.stem is not None:
        state |= _named("stem.conv", *_with_norm(network.stem.conv, network.stem.norm))
    for block, (name, kind) in network.layers.items():
        if kind == "block":
            assert isinstance(block, Block)
            state |= _block(name, block, spec)
    folded.load_state_dict(state)
    return folded.to(network.device).freeze()


def _block(name: str, block: Block, spec: ArchitectureSpec) -> dict[str, Tensor]:
    count = CONVOLUTIONS_IN_BLOCK[spec.block]
    state: dict[str, Tensor] = {}
    for place in range(1, count + 1):
        conv: nn.Conv2d = getattr(block, f"conv{place}")
        kernel, bias = _with_norm(conv, getattr(block, f"norm{place}"))
        if place == count and hasattr(block, "branch_gain"):
            kernel, bias = (each * block.branch_gain.weight.double() for each in (kernel, bias))
        if block.residual and count == 1 and not spec.preactivation:
            beside, offset = _shortcut_kernel(block.shortcut, conv)
            kernel, bias = kernel + spec.shortcut_gain * beside, bias + spec.shortcut_gain * offset
        state |= _named(f"{name}.conv{place}", kernel, bias)
    if block.residual and count > 1 and isinstance(block.shortcut, ProjectionShortcut):
        state |= _named(f"{name}.shortcut.conv", *_with_norm(block.shortcut.conv, block.shortcut.norm))
    return state


def _with_norm(conv: nn.Conv2d, norm: nn.Module | None) -> tuple[Tensor, Tensor]:
    """Kernel and bias of the convolution with the norm behind it, float64: W γ / σ and (b - μ) γ / σ + β."""
    kernel = conv.weight.double()
    bias = torch.zeros_like(kernel[:, 0, 0, 0]) if conv.bias is None else conv.bias.double()
    if norm is None:
        return kernel, bias
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    factor = norm_factors(norm)
    return kernel * factor.reshape(-1, 1, 1, 1), (bias - norm.running_mean.double()) * factor + norm.bias.double()


def _shortcut_kernel(shortcut: nn.Module, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """The shortcut as kernel and bias of that convolution, which has its stride: all of it stands at the centre."""
    out, channels, *_ = conv.weight.shape
    kernel = torch.zeros_like(conv.weight, dtype=torch.float64)
    bias = torch.zeros_like(kernel[:, 0, 0, 0])
    row, column = (side // 2 for side in conv.kernel_size)
    if isinstance(shortcut, ProjectionShortcut):
        small, bias = _with_norm(shortcut.conv, shortcut.norm)
        kernel[:, :, row, column] = small[:, :, 0, 0]
    else:
        assert isinstance(shortcut, IdentityShortcut)
        first = (out - channels) // 2  # the new channels are half in front and half behind
        each = torch.arange(channels, device=kernel.device)
        kernel[first + each, each, row, column] = 1.0
    return kernel, bias


def _named(layer: str, kernel: Tensor, bias: Tensor) -> dict[str, Tensor]:
    return {f"{layer}.weight": kernel.float(), f"{layer}.bias": bias.float()}
