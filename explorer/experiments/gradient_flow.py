"""Gradient flow: the measured size of the gradient of the loss from the first layer to the last."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, GraphSpec, Network, Recorder
from explorer.tracing import read_only
from explorer.training import GradientSizes, network_input

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
    (convolutions and blocks); both float64. `loss` is the mean cross-entropy, None where it was not kept. `mode` is
    that of the network, `precision` that of the gradient: a 0 is a 0 of that precision.
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

        The main path is the stem and the branches, without shortcuts and without the head, whose gradient has another
        scale. `what` is "weights" or "activations" of its convolutions, or "blocks", the outputs of blocks. Raises
        ValueError where that was not measured.
        """
        if what not in get_args(Quantity):
            raise ValueError(f"`what` must be one of {', '.join(map(repr, get_args(Quantity)))}, received {what!r}.")
        names, sizes = (
            (self.weight_layers, self.weights) if what == "weights" else (self.activation_layers, self.activations)
        )
        part = "block" if what == "blocks" else "conv"
        inside = {name[:place] for name in names for place, letter in enumerate(name) if letter == "."}
        wanted = [index for index, name in enumerate(names) if _part(name, inside) == part]
        if not wanted:
            raise ValueError(f'there are no {what} in this flow, a training records weights; choose "weights".')
        return tuple(names[index] for index in wanted), sizes[wanted]


def _part(name: str, blocks: Collection[str]) -> str:
    """The kind of a recorded layer: "conv" or "block" on the main path, "beside" it a shortcut or the head. A block is
    a layer with others inside."""
    place = name.rpartition(".")[0]
    if place == "head" or "shortcut" in place:
        return "beside"
    return "block" if name in blocks else "conv"


def check_batch(spec: ArchitectureSpec, images: Tensor, labels: Tensor) -> None:
    """Raises ValueError for a batch, (N, C, H, W) and (N,), that does not fit a network of that spec."""
    if images.ndim != 4 or tuple(images.shape[1:]) != spec.input_shape:
        raise ValueError(
            f"`images` must be (N, {', '.join(map(str, spec.input_shape))}) as the network's input, received "
            f"{tuple(images.shape)}; resize them."
        )
    if len(images) == 0 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"`labels` must hold one class for each of at least one image, received {tuple(labels.shape)} for "
            f"{len(images)}."
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < spec.classes:
        raise ValueError(
            f"`labels` must be classes from 0 to {spec.classes - 1}, received {int(labels.min())} to "
            f"{int(labels.max())}; choose images of the network's own classes."
        )


def gradient_flow(network: Network, images: Tensor, labels: Tensor, mode: Mode | None = None) -> GradientFlow:
    """One forward and one backward pass of a batch: `images` (N, C, H, W), normalised, `labels` (N,).

    `mode` is by default that of the network. In "training" BatchNorm takes the statistics of the batch, as at
    initialisation, where the running ones are empty; in "evaluation" it takes the running ones. Dropout is off in both.

    Runs on a private copy, in the precision of the network's weights, so threads may share the network. Raises
    ValueError for a batch that does not fit the network.
    """
    spec = network.spec
    check_batch(spec, images, labels)
    mode = mode or ("training" if network.training else "evaluation")
    network = copy.deepcopy(network).requires_grad_(True).train(mode == "training")
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    if is_graph := isinstance(spec, GraphSpec):  # its names do not tell what lies beside the main path
        layers = {
            name: module
            for name, module in layers.items()
            if isinstance(module, nn.Conv2d) and not spec.is_beside(name)
        }
    weights = [module.weight for module in layers.values()]
    recorder = Recorder(network, ("conv", "block"))
    with torch.enable_grad():
        logits = network(images.to(weights[0]), recorder)
        loss = F.cross_entropy(logits / spec.temperature, labels.to(weights[0].device))
    outputs = {name: x for name, x in recorder.outputs.items() if not (is_graph and spec.is_beside(name))}
    gradients = torch.autograd.grad(loss, [*weights, *outputs.values()])
    sizes = [torch.linalg.vector_norm(gradient, dtype=torch.float64).item() for gradient in gradients]
    values = np.array([gradient.numel() for gradient in gradients[len(layers) :]], dtype=np.float64)
    return GradientFlow(
        weight_layers=tuple(layers),
        weights=read_only(np.array(sizes[: len(layers)])),
        activation_layers=tuple(outputs),
        activations=read_only(sizes[len(layers) :] / np.sqrt(values)),
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
    """The flow through a trained network for labelled pictures: uint8 (N, 3, H, W) and (N,).

    `mean` and `std`, one value a channel, are those of its checkpoint. In `mode` "training" the flow is that of a next
    training step. Raises ValueError for a batch that does not fit the network.
    """
    batch = network_input(images, mean, std, network.device)
    return gradient_flow(network, batch, torch.from_numpy(labels.astype(np.int64)), mode)


def recorded_flow(sizes: GradientSizes, step: int, precision: str = "float32") -> GradientFlow:
    """The weight gradients that a training recorded at one of `sizes.steps`, of that step's batch, in training mode.

    A size that was not finite, which JSON keeps as null, is NaN. Raises ValueError for a step that was not measured.
    """
    if step not in sizes.steps:
        measured = ", ".join(map(str, sizes.steps)) or "none"
        raise ValueError(f"`step` must be one that was measured ({measured}), received {step!r}.")
    norms = sizes.norms[sizes.steps.index(step)]
    values = np.array([np.nan if norm is None else norm for norm in norms], np.float64)
    return GradientFlow(sizes.layers, read_only(values), (), read_only(np.array([])), None, "training", precision)
