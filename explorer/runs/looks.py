"""`Looks`: what networks in training say of some test pictures and where on them they look, told into the log."""

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
from explorer.training import Progress, normalise
from explorer.views import grad_cam

SHARE = 1 / 50  # of the training's time that looking may take
SHORTEST = 1.5  # seconds between two looks, which is often enough for the eye
# The longer a training lasts, the further apart are its looks: a night has some 700 of them, and not 20,000.
LOOKS_PER_AGE = 100
EXPLAINED = 3  # pictures that get a Grad-CAM: the first of the samples
WIDEST = 16  # values a side of a map in the log


@dataclass(frozen=True, eq=False)
class Look:
    """What one network makes of N pictures.

    `logits` is float32 (N, classes). `cams` are the Grad-CAMs of the first pictures, each for the true class: raw,
    float32 (H, W), >= 0. `seconds` are those of the pass and those of the maps.
    """

    logits: np.ndarray
    cams: tuple[np.ndarray, ...]
    seconds: tuple[float, float]


class _UpToLayer:
    """The `run` of a pass that keeps nothing up to the output of one layer, whose gradient can be asked for."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.output: Tensor | None = None

    def __call__(self, module: nn.Module, *inputs: object) -> Tensor:
        if self.output is not None:
            behind: Tensor = module(*inputs)
            return behind
        with torch.no_grad():
            output: Tensor = module(*inputs)
        if module is self.layer:
            self.output = output = output.detach().requires_grad_()
        return output


def look(network: Network, layer: str, images: Tensor, labels: Tensor, explained: int = EXPLAINED) -> Look:
    """What the network makes of `images`, float32 (N, C, H, W), normalised and on its device. `labels` is int64 (N,).

    The maps are `views.grad_cam` at `layer` for the logits of the labels. The network may be in training: it is asked
    in evaluation mode and left as it was found, its mode, weights, buffers and every `.grad`, also where this fails.
    It takes the memory of a prediction: for the way back only what lies behind the layer is kept.
    """
    began = time.perf_counter()
    modes = [(module, module.training) for module in network.modules()]
    run = _UpToLayer(network.get_submodule(layer))
    network.eval()
    try:
        with torch.enable_grad():
            logits = network(images, run)
    finally:
        for module, was_training in modes:
            module.training = was_training
    said = logits.numpy(force=True)  # waits for a GPU
    seen = time.perf_counter()
    assert run.output is not None
    count = min(explained, len(images))
    with torch.enable_grad():
        score = logits[:count].gather(1, labels[:count, None]).sum()  # no picture depends on another one
    (gradient,) = torch.autograd.grad(score, run.output)
    arrays = zip(run.output[:count].numpy(force=True), gradient[:count].numpy(force=True), strict=True)
    cams = tuple(grad_cam(LayerTrace(layer, "block", *pair)) for pair in arrays)
    return Look(said, cams, (seen - began, time.perf_counter() - seen))


def explained_layer(spec: ArchitectureSpec) -> str:
    """The last block whose output has 2 pixels or more: there classes are known best, and still have places. The last
    block where none has."""
    blocks = [layer for layer in describe(spec).layers if layer.kind == "block"]
    spatial = [layer for layer in blocks if math.prod(layer.output_shape[1:]) > 1]
    return (spatial or blocks)[-1].name


class Looks:
    """The looks at the networks of one training, each told as one event "predictions" and one event "cams".

    They take `SHARE` of the time at most, where the first and the last one alone do not take more. With `frames` they
    are that many at equal distances instead, whatever time they take.
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
        self.began, self.looked = time.monotonic(), -math.inf
        self.spent = self.last_took = 0.0
        self.next_frame = 0.0

    def is_due(self, progress: Progress) -> bool:
        if self.frames is not None:
            return progress.fraction >= self.next_frame
        now = time.monotonic()
        if now - self.looked < max(SHORTEST, progress.seconds / LOOKS_PER_AGE):
            return False
        # As much again is kept for the last look, which comes whatever it costs.
        return self.spent + 2 * self.last_took <= SHARE * (now - self.began)

    def look(self, progress: Progress) -> None:
        """Looks once, and writes what was seen into the log."""
        self.looked = time.monotonic()
        if self.frames is not None:
            self.next_frame = (math.floor(progress.fraction * self.frames) + 1) / self.frames
        looks = []
        for network, layer in zip(self.networks, self.layers, strict=True):
            device = next(network.parameters()).device
            pixels = torch.from_numpy(self.samples.images).permute(0, 2, 3, 1).to(device)
            labels = torch.from_numpy(self.samples.labels).to(device)
            mean, std = (torch.tensor(values, device=device) for values in (self.dataset.mean, self.dataset.std))
            looks.append(look(network, layer, normalise(pixels, mean, std), labels))
        answers = [_answers(each.logits) for each in looks]
        self.log.write("predictions", step=progress.step, networks=answers)
        self.log.write(
            "cams",
            step=progress.step,
            layers=self.layers,
            networks=[
                {"answers": [part[:EXPLAINED] for part in said], **_maps(each.cams)}
                for said, each in zip(answers, looks, strict=True)
            ],
            seconds=[sum(part) for part in zip(*(each.seconds for each in looks), strict=True)],
        )
        self.last_took = time.monotonic() - self.looked
        self.spent += self.last_took


def _answers(logits: np.ndarray) -> list[list[Any]]:
    """The predicted class of each picture, and its probability."""
    best = torch.from_numpy(logits).softmax(1).max(1)
    return [best.indices.tolist(), best.values.tolist()]


def _maps(cams: Sequence[np.ndarray]) -> dict[str, Any]:
    """The maps as JSON: of each its largest value, `tops`, and its shares of that in steps of 1/255, row by row in
    base64. None is the top of a map that is no finite numbers, which is told as zeros."""
    height, width = (min(side, WIDEST) for side in cams[0].shape)
    tops, maps = [], []
    for cam in cams:
        small = F.adaptive_avg_pool2d(torch.from_numpy(cam)[None], (height, width))[0].numpy()
        top = float(small.max())
        tops.append(finite(top))
        share = small / np.float32(top) if 0 < top < math.inf else np.zeros_like(small)
        maps.append(base64.b64encode((share * 255).round().astype(np.uint8).tobytes()).decode())
    return {"size": [height, width], "tops": tops, "maps": maps}
