"""Running statistics of BatchNorm: when they lag behind the weights, and how to recompute them."""

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import Network
from explorer.datasets import Dataset
from explorer.training.batches import augment, normalise, statistics
from explorer.training.config import TrainingConfig

# `python -m benchmarks batchnorm` shows where they lag. After 80 steps 0.02 % of the initial values are left.
SETTLED = 80  # steps
PICTURES = 1_000
COMPARED = 1_000  # test pictures at most, on which the network is measured with the running statistics too
SMALLEST_BATCH = 8  # pictures: a thousand in pairs would take as long as some hundred steps


def lags(config: TrainingConfig, steps: int) -> bool:
    """Whether running statistics lag behind the weights after so many steps: after few, and at a constant rate, where
    the last steps move the weights far."""
    return steps < SETTLED or config.schedule == "constant"


def running_statistics(network: Network) -> dict[str, Tensor]:
    """Copies of the running mean and variance of every norm layer, by their names in the state dict."""
    return {name: buffer.clone() for name, buffer in network.named_buffers() if "running_" in name}


@torch.no_grad()
def recompute_batchnorm(
    network: Network,
    dataset: Dataset,
    *,
    batch_size: int,
    augmented: bool,
    seed: int = 0,
    pictures: int = PICTURES,
) -> int:
    """Replaces the running statistics of every norm layer by those over random training pictures: `pictures`, or as
    many as there are. Returns how many; 0 where the network has no norm or a value would not be finite, and is left as
    it is.

    Mean and unbiased variance are of all values together (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm",
    section 3). `batch_size` and `augmented` are those of the training, since they decide a layer's input: it is
    normalised with the statistics of its own batch. `seed` chooses the pictures.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return 0
    device = network.device
    mean, std = statistics(dataset, device)
    generator = torch.Generator().manual_seed(seed)
    # In random order: folders are read class by class, and a batch of one class has other statistics.
    chosen = torch.randperm(len(dataset.train), generator=generator)[:pictures].numpy()
    batches = max(1, len(chosen) // max(SMALLEST_BATCH, batch_size))
    found: dict[nn.Module, list[tuple[int, Tensor, Tensor]]] = {norm: [] for norm in norms}

    def run(module: nn.Module, *inputs: Tensor) -> Tensor:
        output: Tensor = module(*inputs)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            count = output.numel() // output.shape[1]
            found[module].append((count, module.running_mean.clone(), module.running_var.clone()))
        return output

    before, was_training = {name: buffer.clone() for name, buffer in network.named_buffers()}, network.training
    network.eval()  # dropout would draw random numbers, and follows all norms
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.train().momentum = 1.0  # the running statistics are then those of the last batch
        for part in np.array_split(chosen, batches):
            pixels = torch.from_numpy(dataset.train.images[part].transpose(0, 2, 3, 1)).to(device)
            if augmented:
                pixels = augment(pixels, generator)
            network.forward(normalise(pixels, mean, std), run)  # not by `network()`, whose hooks count steps
    finally:
        network.train(was_training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.load_state_dict(before, strict=False)
    together = [_together(found[norm]) for norm in norms]
    if not all(values.isfinite().all() for pair in together for values in pair):
        return 0
    for norm, (whole_mean, whole_variance) in zip(norms, together, strict=True):
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(whole_mean)
        norm.running_var.copy_(whole_variance)
    return len(chosen)


def _together(batches: list[tuple[int, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of all values, float64 (channels,), from the number, mean and unbiased variance of
    those of each batch."""
    # Not every device has float64.
    exact = [(count, mean.cpu().double(), variance.cpu().double()) for count, mean, variance in batches]
    n = sum(count for count, _, _ in exact)
    mean = torch.stack([count * mean for count, mean, _ in exact]).sum(0) / n
    squares = [(count - 1) * variance + count * (each - mean) ** 2 for count, each, variance in exact]
    return mean, torch.stack(squares).sum(0) / (n - 1)
