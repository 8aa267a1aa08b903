"""`Snapshots`: predictions and Grad-CAMs of networks in training for some test pictures, written into the log."""

import base64
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, describe
from explorer.datasets import Dataset, Split
from explorer.numbers import finite
from explorer.runs.log import LogWriter
from explorer.tracing import LayerTrace
from explorer.training import Progress, network_input
from explorer.views import grad_cam

SHARE = 1 / 50  # of the training's time that snapshots may take
MIN_INTERVAL_S = 1.5
# The longer a training lasts, the further apart are its snapshots: a night has some 700 of them, and not 20,000.
SNAPSHOTS_PER_AGE = 100
EXPLAINED = 3  # pictures that get a Grad-CAM: the first of the samples
MAX_MAP_SIDE = 16  # values a side of a map in the log


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One network's results for N pictures.

    `logits` is float32 (N, classes). `cams` are the Grad-CAMs of the first pictures, each for the true class: raw,
    float32 (H, W), >= 0. `seconds` are those of the pass and those of the maps.
    """

    logits: np.ndarray
    cams: tuple[np.ndarray, ...]
    seconds: tuple[float, float]


def take_snapshot(network: Network, layer: str, images: Tensor, labels: Tensor, explained: int = EXPLAINED) -> Snapshot:
    """One pass of `images`, float32 (N, C, H, W), normalised and on the network's device. `labels` is int64 (N,).

    The maps are `views.grad_cam` at `layer` for the logits of the labels. The network may be in training: it computes
    in evaluation mode and is left as it was found, its mode, weights, buffers and every `.grad`, also after an error.
    It takes the memory of a prediction.
    """
    explained_module = network.get_submodule(layer)
    recorded: list[Tensor] = []

    def run(module: nn.Module, *inputs: object) -> Tensor:
        with torch.set_grad_enabled(bool(recorded)):  # the way back needs only modules behind the layer
            output: Tensor = module(*inputs)
        if module is explained_module:
            output = output.detach().requires_grad_()
            recorded.append(output)
        return output

    started = time.perf_counter()
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        logits_tensor = network(images, run)
    finally:
        for module, was_training in modes:
            module.training = was_training
    logits = logits_tensor.numpy(force=True)  # waits for a GPU
    passed = time.perf_counter()
    count = min(explained, len(images))
    with torch.enable_grad():
        score = logits_tensor[:count].gather(1, labels[:count, None]).sum()  # no picture depends on another one
    (activations,) = recorded
    (gradient,) = torch.autograd.grad(score, activations)
    arrays = zip(activations[:count].numpy(force=True), gradient[:count].numpy(force=True), strict=True)
    cams = tuple(grad_cam(LayerTrace(layer, "block", *pair)) for pair in arrays)
    return Snapshot(logits, cams, (passed - started, time.perf_counter() - passed))


def explained_layer(spec: ArchitectureSpec) -> str:
    """The last block whose output has 2 pixels or more: there classes are known best, and still have places. The last
    block where none has."""
    blocks = [layer for layer in describe(spec).layers if layer.kind == "block"]
    spatial = [layer for layer in blocks if math.prod(layer.output_shape[1:]) > 1]
    return (spatial or blocks)[-1].name


class Snapshots:
    """The snapshots of one training, each written as one event "predictions" and one event "cams".

    They take `SHARE` of the time at most, unless the first and the last one alone take more. With `frames` they are
    that many at equal distances instead.
    """

    def __init__(
        self,
        log: LogWriter,
        networks: Sequence[Network],
        samples: Split,
        dataset: Dataset,
        frames: int | None = None,
    ) -> None:
        self.log, self.networks, self.samples, self.dataset, self.frames = log, networks, samples, dataset, frames
        self.layers = [explained_layer(network.spec) for network in networks]
        self.started, self.last_at = time.monotonic(), -math.inf
        self.spent = self.last_took = 0.0
        self.next_frame = 0.0

    def is_due(self, progress: Progress) -> bool:
        if self.frames is not None:
            return progress.fraction >= self.next_frame
        now = time.monotonic()
        if now - self.last_at < max(MIN_INTERVAL_S, progress.seconds / SNAPSHOTS_PER_AGE):
            return False
        # As much again is kept for the last snapshot, which is always taken.
        return self.spent + 2 * self.last_took <= SHARE * (now - self.started)

    def take(self, progress: Progress) -> None:
        """Takes one of every network and writes them into the log."""
        self.last_at = time.monotonic()
        if self.frames is not None:
            self.next_frame = (math.floor(progress.fraction * self.frames) + 1) / self.frames
        taken = []
        for network, layer in zip(self.networks, self.layers, strict=True):
            images = network_input(self.samples.images, self.dataset.mean, self.dataset.std, network.device)
            labels = torch.from_numpy(self.samples.labels).to(network.device)
            taken.append(take_snapshot(network, layer, images, labels))
        temperatures = [network.spec.temperature for network in self.networks]
        answers = [_answers(each.logits / of) for each, of in zip(taken, temperatures, strict=True)]
        self.log.write("predictions", step=progress.step, networks=answers)
        self.log.write(
            "cams",
            step=progress.step,
            layers=self.layers,
            networks=[
                {"answers": [part[:EXPLAINED] for part in answer], **_maps(each.cams)}
                for answer, each in zip(answers, taken, strict=True)
            ],
            seconds=[sum(part) for part in zip(*(each.seconds for each in taken), strict=True)],
        )
        self.last_took = time.monotonic() - self.last_at
        self.spent += self.last_took


def _answers(logits: np.ndarray) -> list[list[Any]]:
    """The predicted class of each picture, and its probability, the softmax of these logits."""
    best = torch.from_numpy(logits).softmax(1).max(1)
    return [best.indices.tolist(), best.values.tolist()]


def _maps(cams: Sequence[np.ndarray]) -> dict[str, Any]:
    """The maps as JSON: of each its largest value, `tops`, and its shares of that in steps of 1/255, row by row in
    base64. A map with values that are not finite has the top None and zeros."""
    height, width = (min(side, MAX_MAP_SIDE) for side in cams[0].shape)
    tops, maps = [], []
    for cam in cams:
        small = F.adaptive_avg_pool2d(torch.from_numpy(cam)[None], (height, width))[0].numpy()
        top = float(small.max())
        tops.append(finite(top))
        share = small / np.float32(top) if 0 < top < math.inf else np.zeros_like(small)
        maps.append(base64.b64encode((share * 255).round().astype(np.uint8).tobytes()).decode())
    return {"size": [height, width], "tops": tops, "maps": maps}
