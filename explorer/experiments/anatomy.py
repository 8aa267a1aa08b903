"""Residual anatomy: what a block adds to its input, and which way the gradient comes back through it."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import Network
from explorer.architectures.network import Block, ProjectionShortcut, Sum
from explorer.tracing import check_pass

ShortcutKind = Literal["identity", "padded", "projection"]


@dataclass(frozen=True, eq=False)
class BlockAnatomy:
    """One block for one picture: activation(F(x) + s(x)), and its gradient, all read-only float32.

    `input` is x, (C, H, W). `branch` is F(x), `shortcut` s(x), `sum` what they add up to before the last activation,
    and `output` what comes after it, each (C', H', W'). `kind` says what s is: "identity" (x itself), "padded" (option
    A where shapes change: fewer pixels, zeros for new channels) or "projection" (a 1×1 convolution).

    `input_gradient`, (C, H, W), is that of the target's logit with respect to x; `through_shortcut` and
    `through_branch` are what comes back on either way, each carried back on its own, and sum to it.
    """

    name: str
    kind: ShortcutKind
    target: int
    input: np.ndarray
    branch: np.ndarray
    shortcut: np.ndarray
    sum: np.ndarray
    output: np.ndarray
    input_gradient: np.ndarray
    through_shortcut: np.ndarray
    through_branch: np.ndarray

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in vars(self).values() if isinstance(array, np.ndarray))

    @property
    def activation_peak(self) -> float:
        """The largest |value| of x, F(x), s(x), their sum and the output: the end of their one colour scale."""
        return max(_peak(each) for each in (self.input, self.branch, self.shortcut, self.sum, self.output))

    @property
    def gradient_peak(self) -> float:
        """The largest |value| of the three gradients: the end of their one colour scale."""
        return max(_peak(each) for each in (self.input_gradient, self.through_shortcut, self.through_branch))


@dataclass(frozen=True)
class BlockBalance:
    """How branch and shortcut of one block compare for one picture: root mean squares over all values.

    `branch` and `shortcut` are of F(x) and s(x), which have one shape; `input` is of x, which has another where the
    block changes it. The gradients are those of `BlockAnatomy`. They are sizes: those of two parts do not add up to
    that of the whole.
    """

    name: str
    kind: ShortcutKind
    input: float
    branch: float
    shortcut: float
    input_gradient: float
    through_shortcut: float
    through_branch: float

    @property
    def ratio(self) -> float | None:
        """|F(x)| / |s(x)|, which is |F| / |x| where the shortcut is the identity; None where s(x) is 0."""
        return self.branch / self.shortcut if self.shortcut else None

    @property
    def gradient_ratio(self) -> float | None:
        """What comes back through the branch over what comes back through the shortcut; None where that is 0."""
        return self.through_branch / self.through_shortcut if self.through_shortcut else None


def anatomy(network: Network, image: np.ndarray, block: str, target: int | None = None) -> BlockAnatomy:
    """The inside of one `block` ("stages.1.0") while the network looks at `image`.

    `image` is float32 (channels, H, W), normalised; `target` the class whose logit is explained, by default the
    predicted one. One pass forward and one back, and one more through either way of the block alone. The network is
    left as it was found: no hooks, no `.grad`, so threads may share it. Raises ValueError for a network without
    shortcuts, a name that is no block, and what `trace` refuses.
    """
    (found,), target = _passes(network, image, target, block)
    return _anatomy(block, target, *found)


def anatomies(network: Network, image: np.ndarray, target: int | None = None) -> tuple[BlockAnatomy, ...]:
    """The inside of every block in execution order, of one pass forward and one back and the ways of each block;
    arguments and errors are those of `anatomy`. Of a ResNet-50 at 224 pixels that is 178 MB."""
    names = block_names(network)
    blocks, target = _passes(network, image, target, None)
    return tuple(_anatomy(name, target, *found) for name, found in zip(names, blocks, strict=True))


def balances(network: Network, image: np.ndarray, target: int | None = None) -> tuple[BlockBalance, ...]:
    """Branch against shortcut, block by block in execution order; arguments and errors are those of `anatomy`."""
    names = block_names(network)
    blocks, _ = _passes(network, image, target, None)
    return tuple(
        BlockBalance(name, kind, **{part: _size(tensors[part]) for part in tensors if part not in ("sum", "output")})
        for name, (kind, tensors) in zip(names, blocks, strict=True)
    )


def block_names(network: Network) -> tuple[str, ...]:
    """The blocks in execution order, "stages.0.0" first. Raises ValueError for a network without shortcuts."""
    if network.spec.shortcut == "none":
        raise ValueError(
            f"{network.spec.name} has no shortcuts, so its blocks have no residual anatomy; choose a ResNet."
        )
    return tuple(name for module, (name, _) in network.layers.items() if isinstance(module, Block))


class _Watch:
    """The `run` of a pass that keeps each block with its input and output, and what its sum was given and gave."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Block, Tensor, Tensor]] = []
        self.sums: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, module: nn.Module, *inputs: Any) -> Tensor:
        output: Tensor = module(*inputs)
        if isinstance(module, Block):
            self.blocks.append((module, inputs[0], output))
        elif isinstance(module, Sum):
            self.sums.append((*inputs, output))
        return output


def _passes(
    network: Network, image: np.ndarray, target: int | None, block: str | None
) -> tuple[list[tuple[ShortcutKind, dict[str, Tensor]]], int]:
    """Kind and tensors of one block, or of all, under the names of the fields of a `BlockAnatomy`; and the target."""
    check_pass(network, image, target)
    names = block_names(network)
    if block is not None and block not in names:
        raise ValueError(f"`block` must be one of {', '.join(names)}, received {block!r}.")
    device = next(network.parameters()).device
    picture = torch.tensor(image, dtype=torch.float32, device=device)[None].requires_grad_()  # (1, C, H, W)
    watch = _Watch()
    with torch.enable_grad():
        logits = network(picture, watch)  # (1, classes)
    target = int(logits.argmax() if target is None else target)
    chosen = [index for index, name in enumerate(names) if block in (None, name)]
    inputs = [watch.blocks[index][1] for index in chosen]
    sums = [watch.sums[index][2] for index in chosen]
    gradients = torch.autograd.grad(logits[0, target], [*inputs, *sums], retain_graph=True)
    found = []
    for index, x_gradient, sum_gradient in zip(chosen, gradients[: len(chosen)], gradients[len(chosen) :], strict=True):
        module, x, output = watch.blocks[index]
        branch, shortcut, total = watch.sums[index]
        # Each way by itself, from the gradient that the sum hands to both: their total is a law, not a definition.
        (through_shortcut,) = torch.autograd.grad(shortcut, x, sum_gradient, retain_graph=True)
        (through_branch,) = torch.autograd.grad(branch, x, sum_gradient, retain_graph=True)
        tensors = {
            "input": x,
            "branch": branch,
            "shortcut": shortcut,
            "sum": total,
            "output": output,
            "input_gradient": x_gradient,
            "through_shortcut": through_shortcut,
            "through_branch": through_branch,
        }
        found.append((_kind(module, x, shortcut), tensors))
    return found, target


def _anatomy(name: str, target: int, kind: ShortcutKind, tensors: dict[str, Tensor]) -> BlockAnatomy:
    return BlockAnatomy(name, kind, target, **{part: _array(tensor) for part, tensor in tensors.items()})


def _kind(block: Block, x: Tensor, shortcut: Tensor) -> ShortcutKind:
    if isinstance(block.shortcut, ProjectionShortcut):
        return "projection"
    return "identity" if x.shape == shortcut.shape else "padded"


def _array(tensor: Tensor) -> np.ndarray:
    """(C, H, W) of the only picture, a copy: a view of what autograd gave could be shared by two fields."""
    array = tensor[0].numpy(force=True).copy()
    array.setflags(write=False)
    return array


def _size(tensor: Tensor) -> float:
    """Root mean square of all values, summed in float64: the squares of what float32 can hold may not fit it."""
    return float(torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64)) / math.sqrt(tensor.numel())


def _peak(values: np.ndarray) -> float:
    return float(np.abs(values).max())
