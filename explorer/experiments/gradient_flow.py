"""Gradient flow: how large the gradient of the loss is from the first layer to the last, measured, not supposed."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import Network, Recorder
from explorer.training import GradientSizes, normalise

Quantity = Literal["weights", "activations", "blocks"]
Mode = Literal["training", "evaluation"]

MEASURES: dict[Quantity, str] = {
    "weights": "weight gradient of each convolution (L2 norm)",
    "activations": "gradient at the output of each convolution (root mean square)",
    "blocks": "gradient at the output of each block (root mean square)",
}


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """Sizes of one loss gradient, layer by layer from input to output.

    `weights` are L2 norms of the gradient for the weights of each layer of `weight_layers`; `activations` are root
    mean squares, over the batch and all values, of the gradient for the output of each layer of `activation_layers`
    (convolutions and blocks); float64, so that what float32 can hold is never squared away. `loss` is the mean
    cross-entropy, None where it was not kept. `mode` is the one that the network was measured in, `precision` the one
    that the gradient itself was computed in: a 0 is a 0 of that precision.
    """

    weight_layers: tuple[str, ...]
    weights: np.ndarray
    activation_layers: tuple[str, ...]
    activations: np.ndarray
    loss: float | None
    mode: Mode = "training"
    precision: str = "float32"

    def along_depth(self, what: Quantity) -> tuple[tuple[str, ...], np.ndarray]:
        """The layers of the main path in order of depth, and their sizes (L,), float64.

        The main path is the stem and the branches: no shortcuts, which lie beside it, and no head, whose gradient has
        another scale. `what` is "weights" or "activations" of its convolutions, or "blocks", the outputs of blocks:
        in a residual network what the sums pass on. See `MEASURES` for the words. Raises ValueError where that was
        not measured.
        """
        if what not in get_args(Quantity):
            raise ValueError(f"`what` must be one of {', '.join(map(repr, get_args(Quantity)))}, received {what!r}.")
        names, sizes = (
            (self.weight_layers, self.weights) if what == "weights" else (self.activation_layers, self.activations)
        )
        wanted = [index for index, name in enumerate(names) if _part(name) == ("block" if what == "blocks" else "conv")]
        if not wanted:
            raise ValueError(f'there are no {what} in this flow, a training records weights; choose "weights".')
        return tuple(names[index] for index in wanted), sizes[wanted]


def _part(name: str) -> str:
    """What a recorded layer is: "conv" or "block" on the main path, "beside" it a shortcut or the head."""
    place, _, last = name.rpartition(".")
    if place == "head" or "shortcut" in place:
        return "beside"
    return "block" if last.isdigit() else "conv"


def gradient_flow(network: Network, images: Tensor, labels: Tensor, mode: Mode | None = None) -> GradientFlow:
    """One forward and one backward pass of a batch: `images` (N, C, H, W), normalised, `labels` (N,).

    `mode` is by default the one that the network is in. In "training" BatchNorm takes the statistics of the batch, as
    a training step does: the only one that makes sense at initialisation, where nothing has filled the running ones.
    In "evaluation" it takes the running ones, and each picture passes as it does when the network is used. Dropout is
    off in both: it would add chance to the measurement.

    Runs on a private copy, so a network that threads share is not touched. In the precision of the network's weights.
    Raises ValueError for a batch that does not fit the network.
    """
    spec = network.spec
    if images.ndim != 4 or tuple(images.shape[1:]) != spec.input_shape:
        raise ValueError(
            f"`images` must be (N, {', '.join(map(str, spec.input_shape))}) as the network's input, received "
            f"{tuple(images.shape)}; resize them."
        )
    if len(images) == 0 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"`labels` must hold one class for each of at least one picture, received {tuple(labels.shape)} for "
            f"{len(images)}."
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < spec.classes:
        raise ValueError(
            f"`labels` must be classes from 0 to {spec.classes - 1}, received {int(labels.min())} to "
            f"{int(labels.max())}; choose pictures of the network's own classes."
        )
    mode = mode or ("training" if network.training else "evaluation")
    network = copy.deepcopy(network).requires_grad_(True).train(mode == "training")
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    weights = [module.weight for module in layers.values()]
    recorder = Recorder(network, ("conv", "block"))
    with torch.enable_grad():
        loss = F.cross_entropy(network(images.to(weights[0]), recorder), labels.to(weights[0].device))
    gradients = torch.autograd.grad(loss, [*weights, *recorder.outputs.values()])
    sizes = [torch.linalg.vector_norm(gradient, dtype=torch.float64).item() for gradient in gradients]
    values = np.array([gradient.numel() for gradient in gradients[len(layers) :]], dtype=np.float64)
    return GradientFlow(
        weight_layers=tuple(layers),
        weights=_read_only(sizes[: len(layers)]),
        activation_layers=tuple(recorder.outputs),
        activations=_read_only(sizes[len(layers) :] / np.sqrt(values)),
        loss=loss.item(),
        mode=mode,
        precision=str(weights[0].dtype).removeprefix("torch."),
    )


def flow_on_pictures(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    mean: Sequence[float],
    std: Sequence[float],
    mode: Mode = "evaluation",
) -> GradientFlow:
    """The flow through a trained network for pictures that it has a label for: uint8 (N, 3, H, W) and (N,).

    `mean` and `std`, one value a channel, are those the network was trained with (its checkpoint has them). By
    default in evaluation mode, where the gradient is that of the network as it is used; "training" gives what a next
    training step would see. Raises ValueError for a batch that does not fit the network.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))  # (N, H, W, 3)
    batch = normalise(pixels, torch.tensor(mean), torch.tensor(std))
    return gradient_flow(network, batch, torch.from_numpy(labels.astype(np.int64)), mode)


def recorded_flow(sizes: GradientSizes, step: int, precision: str = "float32") -> GradientFlow:
    """What a training recorded at one of `sizes.steps`: weight gradients of that step's batch, in training mode.

    A `TrainingRecord` has `weight_gradients` and `precision`; a `Standing` of a training that still runs has
    `gradients`. A size that was not finite, which JSON keeps as null, is NaN. Raises ValueError for a step at which
    nothing was measured.
    """
    if step not in sizes.steps:
        measured = ", ".join(map(str, sizes.steps)) or "none"
        raise ValueError(f"`step` must be one that was measured ({measured}), received {step!r}.")
    norms = sizes.norms[sizes.steps.index(step)]
    values = [np.nan if norm is None else norm for norm in norms]
    return GradientFlow(sizes.layers, _read_only(values), (), _read_only([]), None, "training", precision)


def _read_only(values: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
