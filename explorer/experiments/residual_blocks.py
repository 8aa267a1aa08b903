"""Residual blocks: what a block adds to its input, and which way the gradient comes back through it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import Intervened, Intervention, Network, describe
from explorer.architectures.changed_description import describe_changed
from explorer.architectures.modules import Block, Sum
from explorer.tracing import check_pass, read_only

ShortcutKind = Literal["identity", "padded", "projection"]
PartOfBlock = Literal["input", "branch", "shortcut", "sum", "output"]


@dataclass(frozen=True, eq=False)
class BlockAnatomy:
    """One block for one picture: activation(F(x) + s(x)), and its gradient, all read-only float32.

    `input` is x, (C, H, W). `branch` is F(x) and `shortcut` s(x), with their gains where they have some. `sum` is both
    together before the last activation, and `output` what follows it, each (C', H', W'); of a block that is not
    `activated` that is the sum itself. `kind` says what s is: "identity" (x itself), "padded" (option A where shapes
    change: fewer pixels, zeros for new channels) or "projection" (a 1×1 convolution).

    `input_gradient`, (C, H, W), is that of the target's logit with respect to x; `through_shortcut` and
    `through_branch` come back on either way, each computed on its own, and sum to it.
    """

    name: str
    kind: ShortcutKind
    target: int
    activated: bool
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
    """Root mean squares, over all values, of the parts of one block for one picture: branch against shortcut.

    `branch` and `shortcut` are of F(x) and s(x), which have one shape; `input` is of x, whose shape may differ. The
    gradients are those of `BlockAnatomy`; the sizes of two parts do not add up to that of the whole.
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
        """The gradient through the branch over that through the shortcut; None where that is 0."""
        return self.through_branch / self.through_shortcut if self.through_shortcut else None


def anatomy(
    network: Network,
    image: np.ndarray,
    block: str,
    target: int | None = None,
    interventions: Sequence[Intervention] = (),
) -> BlockAnatomy:
    """One `block` ("stages.1.0") in one pass of `image`, float32 (channels, H, W), normalised.

    `target` is the class whose logit is explained, by default the predicted one. `interventions` change the pass, and
    the branch and the shortcut are then those that the sum gets. The network is left as it was found: no hooks, no
    `.grad`, so threads may share it. Raises ValueError for a network without shortcuts, a name that is no block, and
    for anything that `trace` cannot explain.
    """
    return next(_anatomies(network, image, target, interventions, block))


def anatomies(
    network: Network, image: np.ndarray, target: int | None = None, interventions: Sequence[Intervention] = ()
) -> tuple[BlockAnatomy, ...]:
    """Every block in execution order, as `anatomy`, of one pass. Of a ResNet-50 at 224 pixels that is 178 MB."""
    return tuple(_anatomies(network, image, target, interventions))


def balances(
    network: Network, image: np.ndarray, target: int | None = None, interventions: Sequence[Intervention] = ()
) -> tuple[BlockBalance, ...]:
    """Branch against shortcut, block by block in execution order; arguments and errors are those of `anatomy`."""
    parts = ("input", "branch", "shortcut", "input_gradient", "through_shortcut", "through_branch")
    return tuple(
        BlockBalance(each.name, each.kind, **{part: _root_mean_square(getattr(each, part)) for part in parts})
        for each in _anatomies(network, image, target, interventions)
    )


def part_layers(network: Network, block: str, interventions: Sequence[Intervention] = ()) -> dict[PartOfBlock, str]:
    """The layers whose values the parts of a `BlockAnatomy` of that pass are; without those that none has, such as a
    branch that is changed on its way into the sum, or the picture."""
    changes = tuple(interventions)
    description = describe_changed(network.spec, changes) if changes else describe(network.spec)
    module = next(module for module, (name, _) in network.layers.items() if name == block)
    assert isinstance(module, Block)
    total = next(name for name, each in description.origins.items() if each.module == f"{block}.{module.sum_name}")
    inside = [name for name in description.origins if name.startswith(f"{block}.")]
    before = {each for name in inside for each in description.origins[name].inputs} - {*inside, ""}
    changed = {each.part for each in changes if each.place == block} - {"output"}
    branch, shortcut = description.origins[total].inputs
    found: dict[PartOfBlock, str] = {"branch": branch, "shortcut": shortcut, "sum": total, "output": block}
    if len(before) == 1:
        found["input"] = before.pop()
    return {part: name for part, name in found.items() if name and part not in changed}


def block_names(network: Network) -> tuple[str, ...]:
    """The blocks in execution order, "stages.0.0" first. Raises ValueError for a network without shortcuts."""
    if network.spec.shortcut == "none":
        raise ValueError(
            f"{network.spec.name} has no shortcuts, so its blocks have no residual anatomy; choose a ResNet."
        )
    return tuple(name for module, (name, _) in network.layers.items() if isinstance(module, Block) and module.residual)


class _Parts(Intervened):
    """Keeps each block with its input and output, and of each sum the branch, the shortcut, and both together."""

    def __init__(self, network: Network, interventions: Sequence[Intervention]) -> None:
        super().__init__(network, (), interventions)
        self.blocks: dict[str, tuple[Block, Tensor, Tensor]] = {}
        self.sums: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def compute(self, module: nn.Module, *inputs: Any) -> Tensor:
        output = super().compute(module, *inputs)
        if isinstance(module, Block):
            self.blocks[self.layers[module][0]] = (module, inputs[0], output)
        elif isinstance(module, Sum):
            self.sums[self.layers[module][0]] = (*inputs, output)
        return output


def _anatomies(
    network: Network,
    image: np.ndarray,
    target: int | None,
    interventions: Sequence[Intervention],
    block: str | None = None,
) -> Iterator[BlockAnatomy]:
    """That of one block, or of all, as they are computed."""
    check_pass(network, image, target)
    names = block_names(network)
    if block is not None and block not in names:
        raise ValueError(f"`block` must be one of {', '.join(names)}, received {block!r}.")
    picture = torch.tensor(image, dtype=torch.float32, device=network.device)[None].requires_grad_()  # (1, C, H, W)
    run = _Parts(network, interventions)
    with torch.enable_grad():
        logits = network(picture, run)  # (1, classes)
    target = int(logits.argmax() if target is None else target)
    blocks = [run.blocks[name] for name in names if block in (None, name)]
    chosen = [(*each, *run.sums[f"{network.layers[each[0]][0]}.{each[0].sum_name}"]) for each in blocks]
    parts = [x for _, x, *_ in chosen] + [total for *_, total in chosen]
    # What interventions leave unused has gradients of zero.
    gradients = torch.autograd.grad(
        logits[0, target], parts, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    for part, x_gradient, sum_gradient in zip(chosen, gradients[: len(chosen)], gradients[len(chosen) :], strict=True):
        module, x, output, branch, shortcut, total = part
        # Each way by itself, from the gradient that the sum passes to both: their total is a law, not a definition.
        (through_shortcut,) = torch.autograd.grad(shortcut, x, sum_gradient, retain_graph=True)
        (through_branch,) = torch.autograd.grad(branch, x, sum_gradient, retain_graph=True)
        tensors = (x, branch, shortcut, total, output, x_gradient, through_shortcut, through_branch)
        kind: Any = module.shortcut_kind(x, shortcut)
        yield BlockAnatomy(network.layers[module][0], kind, target, output is not total, *map(_array, tensors))


def _array(tensor: Tensor) -> np.ndarray:
    """(C, H, W) of the only picture, a copy: two fields could share a view of what autograd returned."""
    return read_only(tensor[0].numpy(force=True).copy())


def _root_mean_square(values: np.ndarray) -> float:
    """In float64: float32 may not hold the squares of its values."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _peak(values: np.ndarray) -> float:
    return float(np.abs(values).max())
