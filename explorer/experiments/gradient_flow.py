"""Gradient flow: how large the gradient of the loss is from the first layer to the last, measured, not supposed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, Recorder, build
from explorer.training import normalise


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """Sizes of one loss gradient, layer by layer from input to output.

    `weights` are L2 norms of the gradient for the weights of each layer of `weight_layers`; `activations` are root
    mean squares, over the batch and all values, of the gradient for the output of each layer of `activation_layers`
    (convolutions and blocks); float64, so that what float32 can hold is never squared away. `loss` is the mean
    cross-entropy.
    """

    weight_layers: tuple[str, ...]
    weights: np.ndarray
    activation_layers: tuple[str, ...]
    activations: np.ndarray
    loss: float

    @property
    def ratio(self) -> float | None:
        """Weight gradient of the first convolution over that of the last, without head and shortcuts; None where the
        last is 0."""
        main = [index for index, name in enumerate(self.weight_layers) if _on_main_path(name)]
        first, last = self.weights[main[0]], self.weights[main[-1]]
        return float(first / last) if last else None


def _on_main_path(name: str) -> bool:
    return not name.startswith("head") and "shortcut" not in name


def gradient_flow(network: Network, images: Tensor, labels: Tensor) -> GradientFlow:
    """One forward and one backward pass of a batch: `images` (N, C, H, W), normalised, `labels` (N,).

    In the mode that the network is in: with BatchNorm, a training takes the statistics of the batch. Running
    statistics and `.grad` stay as they were.
    """
    statistics = {name: buffer.clone() for name, buffer in network.named_buffers()}
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    asked = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    recorder = Recorder(network, ("conv", "block"))
    try:
        network.requires_grad_(True)
        with torch.enable_grad():
            loss = F.cross_entropy(network(images, recorder), labels)
        wanted = [*(module.weight for module in layers.values()), *recorder.outputs.values()]
        gradients = torch.autograd.grad(loss, wanted)
    finally:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(asked[name])
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(statistics[name])
    sizes = [torch.linalg.vector_norm(gradient, dtype=torch.float64).item() for gradient in gradients]
    values = np.array([gradient.numel() for gradient in gradients[len(layers) :]], dtype=np.float64)
    return GradientFlow(
        weight_layers=tuple(layers),
        weights=np.array(sizes[: len(layers)]),
        activation_layers=tuple(recorder.outputs),
        activations=np.array(sizes[len(layers) :]) / np.sqrt(values),
        loss=loss.item(),
    )


def at_initialisation(
    specs: Iterable[ArchitectureSpec], images: np.ndarray, labels: np.ndarray, seeds: Iterable[int]
) -> Iterator[tuple[ArchitectureSpec, int, GradientFlow]]:
    """The flow through the first weights of each spec, for each seed, in training mode, as they are measured.

    `images` are uint8 (N, 3, H, W) and `labels` (N,): the one batch that all of them see, normalised by its own mean
    and standard deviation.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
    floats = pixels.float() / 255
    batch = normalise(pixels, floats.mean((0, 1, 2)), floats.std((0, 1, 2)))
    target = torch.from_numpy(labels)
    chosen = list(seeds)
    for spec in specs:
        for seed in chosen:
            yield spec, seed, gradient_flow(build(spec, seed).train(), batch, target)
