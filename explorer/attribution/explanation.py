"""An `Attribution` of one picture and one target, with progress, and a stop between chunks.

Captum reports no progress, so methods of many passes are summed here in chunks, equal to Captum's results for the same
parameters; methods of one or two passes are Captum's own calls.
"""

import copy
import math
import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, describe
from explorer.architectures.operators import Operation
from explorer.attribution import cams
from explorer.attribution.methods import BASELINES, METHODS, Value, Window, checked, windows_of
from explorer.tracing import check_pass, read_only
from explorer.views import enlarge

Result = TypeVar("Result")

_MEMORY = 2**28  # bytes of activations that a chunk of pictures may hold
_HOOKS = r"\s*Setting (forward, )?backward hooks"  # Captum's warning, of which a private copy needs none
_MOST_AT_ONCE = 32  # pictures of 32 × 32 gain nothing from larger chunks, which delay Stop


@dataclass(frozen=True)
class Share(Generic[Result]):
    """The `share` of a task that is done, 0 to 1. The last one, and it alone, carries the `result`."""

    share: float
    result: Result | None = None


def seconds_per_pass(network: Network) -> float:
    """Measured on one chunk as `explain` runs them; the shared network is only read."""
    count = pictures_at_once(network.spec)
    batch = torch.zeros(count, *network.spec.input_shape, device=network.device)
    _gradients(network, batch[:1], 0)  # what only the first pass costs
    start = time.perf_counter()
    _gradients(network, batch, 0)
    return (time.perf_counter() - start) / (2 * count)


@dataclass(frozen=True, eq=False)
class Attribution:
    """The contribution of each value of the normalised picture to the target's logit, for (> 0) or against it (< 0).

    `values` is float32 (C, H, W), read-only, or (1, H, W) where a method makes one map of all channels. For Integrated
    Gradients and DeepLIFT `difference` is the logit of the picture minus that of the baseline, and `delta` the sum of
    the values minus `difference`; both are None for other methods.
    """

    method: str
    target: int
    values: np.ndarray
    difference: float | None = None
    delta: float | None = None


def as_map(attribution: Attribution) -> np.ndarray:
    """One float32 map (H, W): the sum over channels for Integrated Gradients, DeepLIFT and input × gradient (signed),
    the mean for occlusion (signed; all channels are equal), the largest absolute value for the rest (>= 0)."""
    fold = METHODS[attribution.method].fold
    if fold == "largest":
        return np.abs(attribution.values).max(axis=0)
    return attribution.values.sum(axis=0) if fold == "sum" else attribution.values.mean(axis=0)


_Work = Generator[Share[Attribution], None, np.ndarray]


def explain(
    network: Network,
    image: np.ndarray,
    target: int,
    method: str,
    parameters: Mapping[str, Value] = MappingProxyType({}),
    seed: int = 0,
) -> Generator[Share[Attribution], None, None]:
    """Progress, and last the `Attribution` of `image`, float32 (C, H, W), normalised, for a class `target`.

    `parameters` are those of `parameters_of`, the defaults where one is missing; `seed` decides SmoothGrad's noise and
    RISE's masks.
    Closing the generator ends the work. All passes run on a private frozen copy of `network`, which may be shared.
    Raises ValueError for an unknown method or parameter, one out of its range, and for what `trace` cannot explain.
    """
    chosen = checked(method, network.spec, parameters)
    check_pass(network, image, target)
    private = copy.deepcopy(network).freeze()
    difference = delta = None
    if method == "integrated_gradients":
        start = baseline(image, str(chosen["baseline"]))
        values = yield from _integrated(private, image, target, start, int(chosen["steps"]))
    elif method == "deep_lift":
        start = baseline(image, str(chosen["baseline"]))
        (values,) = deep_lift(private, image[None], start[None], [target])
    elif method == "smoothgrad":
        values = yield from _smooth(private, image, target, int(chosen["samples"]), float(chosen["noise"]), seed)
    elif method == "occlusion":
        windows = windows_of(image.shape, int(chosen["window"]), int(chosen["stride"]))
        values = yield from _occlusion(private, image, target, baseline(image, str(chosen["baseline"])), windows)
    elif method == "rise":
        values = yield from _rise(
            private, image, target, int(chosen["masks"]), int(chosen["cells"]), float(chosen["kept"]), seed
        )
    elif method == "score_cam":
        values = yield from _score_cam(private, image, target, str(chosen["layer"]))
    elif method in cams.FROM_ARRAYS:
        layer = layer_pass(private, image[None], [target], str(chosen["layer"]))
        values = enlarge(cams.FROM_ARRAYS[method](layer.activation, layer.gradient)[0], image.shape[1:])[None]
    elif method == "guided_grad_cam":
        enlarged = {"interpolate_mode": "bilinear"}  # as the paper's section 3.2
        chosen_layer = private.get_submodule(str(chosen["layer"]))
        values = _through_captum(private, "GuidedGradCam", image[None], [target], chosen_layer, **enlarged)[0]
    else:
        values = _through_captum(private, str(METHODS[method].captum), image[None], [target])[0]
    if method in ("integrated_gradients", "deep_lift"):
        high, low = _scores(private, _tensor(private, np.stack([image, start])), target).tolist()
        difference = high - low
        delta = float(values.sum(dtype=np.float64)) - difference
    yield Share(1.0, Attribution(method, target, read_only(values.astype(np.float32)), difference, delta))


def _integrated(network: Network, image: np.ndarray, target: int, start: np.ndarray, steps: int) -> _Work:
    """(image - start) times the mean gradient on the way (Sundararajan et al. 2017, equation 1), by Captum's default,
    the rule of Gauss and Legendre."""
    places, weights = np.polynomial.legendre.leggauss(steps)  # on -1..1
    places, weights = (places + 1) / 2, weights / 2
    total = np.zeros(image.shape)
    at_once = pictures_at_once(network.spec)
    for first in range(0, steps, at_once):
        share = places[first : first + at_once, None, None, None].astype(np.float32)
        gradients = _gradients(network, _tensor(network, start + share * (image - start)), target)
        total += np.tensordot(weights[first : first + at_once], gradients.astype(np.float64), 1)
        yield Share(min(1.0, (first + at_once) / steps))
    return total * (image - start)


def _smooth(network: Network, image: np.ndarray, target: int, samples: int, noise: float, seed: int) -> _Work:
    spread = noise * float(image.max() - image.min())
    generator = torch.Generator().manual_seed(seed)
    total = np.zeros(image.shape)
    at_once = pictures_at_once(network.spec)
    for first in range(0, samples, at_once):
        # One by one, so that the noise does not depend on the size of the chunks.
        drawn = [torch.randn(image.shape, generator=generator) for _ in range(min(at_once, samples - first))]
        noisy = image + spread * torch.stack(drawn).numpy()
        total += _gradients(network, _tensor(network, noisy), target).sum(axis=0, dtype=np.float64)
        yield Share(min(1.0, (first + at_once) / samples))
    return total / samples


def _occlusion(network: Network, image: np.ndarray, target: int, start: np.ndarray, windows: list[Window]) -> _Work:
    """At each pixel the mean fall of the score over all windows that cover it."""
    whole = _scores(network, _tensor(network, image[None]), target)[0]
    total, covers = np.zeros(image.shape), np.zeros(image.shape)
    at_once = pictures_at_once(network.spec)
    for first in range(0, len(windows), at_once):
        chunk = windows[first : first + at_once]
        covered = np.repeat(image[None], len(chunk), axis=0)
        for picture, (rows, columns) in zip(covered, chunk, strict=True):
            picture[:, rows, columns] = start[:, rows, columns]
        for score, (rows, columns) in zip(_scores(network, _tensor(network, covered), target), chunk, strict=True):
            total[:, rows, columns] += whole - score
            covers[:, rows, columns] += 1
        yield Share(min(1.0, (first + at_once) / len(windows)))
    return total / covers


def _rise(network: Network, image: np.ndarray, target: int, masks: int, cells: int, kept: float, seed: int) -> _Work:
    """The mean of the masks, each weighed by the probability of the picture under it, over the share that they keep
    (Petsiuk et al. 2018, equation 6)."""
    draw = np.random.default_rng(seed)
    total = np.zeros(image.shape[1:])
    at_once = pictures_at_once(network.spec)
    # One by one, so that the masks do not depend on the size of the chunks.
    for first in range(0, masks, at_once):
        count = min(at_once, masks - first)
        drawn = np.concatenate([cams.random_masks(draw, 1, cells, kept, image.shape[1:]) for _ in range(count)])
        found = probabilities(network, drawn[:, None] * image, target)
        total += np.tensordot(found, drawn.astype(np.float64), 1)
        yield Share(min(1.0, (first + at_once) / masks))
    return total[None] / (masks * kept)


def _score_cam(network: Network, image: np.ndarray, target: int, layer: str) -> _Work:
    activation = layer_pass(network, image[None], [target], layer).activation[0]
    masks = cams.channel_masks(activation, image.shape[1:])
    scores = np.empty(len(masks))
    at_once = pictures_at_once(network.spec)
    for first in range(0, len(masks), at_once):
        part = slice(first, first + at_once)
        scores[part] = _scores(network, _tensor(network, masks[part, None] * image), target)
        yield Share(min(1.0, (first + at_once) / len(masks)))
    found = cams.weighted(activation, cams.score_weights(scores))
    return enlarge(found, image.shape[1:])[None]


@dataclass(frozen=True, eq=False)
class LayerPass:
    """One layer in a pass of N pictures: `activation` and `gradient` of each one's score, float32 (N, C, h, w), and the
    gradient of the pictures, float32 (N, C, H, W)."""

    activation: np.ndarray
    gradient: np.ndarray
    image_gradient: np.ndarray


def layer_pass(network: Network, images: np.ndarray, targets: Sequence[int], layer: str) -> LayerPass:
    """One forward and one backward pass of float32 pictures (N, C, H, W), each for its own target. The network is only
    read, and may be shared."""
    wanted = network.get_submodule(layer)
    kept: list[Tensor] = []

    def run(module: nn.Module, *inputs: object) -> Tensor:
        output: Tensor = module(*inputs)
        if module is wanted:
            kept.append(output)
        return output

    with torch.enable_grad():
        x = _tensor(network, images).requires_grad_()
        logits = network(x, run)
        score = logits[range(len(images)), list(targets)].sum()
        gradients = torch.autograd.grad(score, [kept[0], x])
    values = [each.numpy(force=True) for each in (kept[0], *gradients)]
    if getattr(wanted, "channels_last", False):  # as some layers of an ONNX network have them
        values[:2] = [np.moveaxis(each, -1, 1) for each in values[:2]]
    return LayerPass(*values)


def guided_gradients(network: Network, images: np.ndarray, targets: Sequence[int]) -> np.ndarray:
    """Captum's Guided Backprop of float32 pictures (N, C, H, W), each for its own target, float32 of that shape.
    `network` is hooked meanwhile: a private copy."""
    return _through_captum(network, "GuidedBackprop", images, targets)


def deep_lift(network: Network, images: np.ndarray, starts: np.ndarray, targets: Sequence[int]) -> np.ndarray:
    """Captum's DeepLift, by the rescale rule, of float32 pictures (N, C, H, W) against the baselines `starts`, each for
    its own target, float32 of that shape. `network` is hooked and changed: a private copy, of a spec in which each
    operation has a rule (`methods.without_rule`)."""
    for module in list(network.modules()):
        if isinstance(module, Operation) and module.operator == "MaxPool":
            _show_pooling(module)
    return _through_captum(network, "DeepLift", images, targets, baselines=_tensor(network, starts))


def _show_pooling(pooling: Operation) -> None:
    """Has torch's own module compute a max pooling of an ONNX network: Captum hooks modules by their type."""
    attributes = pooling.attributes
    pool = nn.MaxPool2d(attributes["kernel"], attributes["strides"], attributes["pads"][:2])
    pooling.add_module("pool", pool)
    pooling.function = lambda x, **_: pool(x)


def _through_captum(
    network: Network, kind: str, images: np.ndarray, targets: Sequence[int], *layer: nn.Module, **options: Any
) -> np.ndarray:
    """What the class `kind` of `captum.attr` gives for the network and, where it needs one, a layer of it."""
    from captum import attr  # here: it takes 0.4 s, and brings matplotlib

    # `catch_warnings` would change state of all threads.
    warnings.filterwarnings("ignore", message=_HOOKS)
    x = _tensor(network, images).requires_grad_()
    with torch.enable_grad():
        target = torch.tensor(list(targets), device=network.device)
        values: Tensor = getattr(attr, kind)(network, *layer).attribute(x, target=target, **options)
    return values.numpy(force=True)


def baseline(image: np.ndarray, kind: str) -> np.ndarray:
    """The picture without content, float32 (C, H, W): "mean" is the data's mean colour, 0 once normalised; "blur" is
    the picture under a Gaussian whose standard deviation is an eighth of its shorter side."""
    if kind not in BASELINES:
        raise ValueError(f"`baseline` must be one of {', '.join(BASELINES)}, received {kind!r}.")
    if kind == "mean":
        return np.zeros(image.shape, np.float32)
    spread = min(image.shape[1:]) / 8
    radius = math.ceil(3 * spread)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / spread) ** 2)
    bell /= bell.sum()
    blurred = image.astype(np.float64)
    for axis in (1, 2):
        margin = [(radius, radius) if axis == side else (0, 0) for side in range(3)]
        padded = np.pad(blurred, margin, mode="edge")
        blurred = np.lib.stride_tricks.sliding_window_view(padded, len(bell), axis) @ bell
    return blurred.astype(np.float32)


def pictures_at_once(spec: ArchitectureSpec) -> int:
    """Pictures of a chunk, within `_MEMORY`."""
    return max(1, min(_MOST_AT_ONCE, _MEMORY // describe(spec).activation_bytes))


def _tensor(network: Network, batch: np.ndarray) -> Tensor:
    return torch.tensor(batch, dtype=torch.float32, device=network.device)


def _scores(network: Network, batch: Tensor, target: int) -> np.ndarray:
    """The target's logit of each picture, float64 (N,)."""
    with torch.no_grad():
        return network(batch)[:, target].numpy(force=True).astype(np.float64)


@torch.no_grad()
def probabilities(network: Network, batch: np.ndarray, target: int) -> np.ndarray:
    """The target's probability of each picture, float64 (N,), in chunks of `pictures_at_once`."""
    at_once = pictures_at_once(network.spec)
    parts: list[np.ndarray] = []
    for first in range(0, len(batch), at_once):
        logits: Tensor = network(_tensor(network, batch[first : first + at_once]))
        parts.append((logits.cpu().double() / network.spec.temperature).softmax(dim=1)[:, target].numpy())
    return np.concatenate(parts)


def _gradients(network: Network, batch: Tensor, target: int) -> np.ndarray:
    """d score / d picture of each picture, float32 (N, C, H, W)."""
    with torch.enable_grad():  # never around a `yield`: it would stay set for the caller
        x = batch.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(network(x)[:, target].sum(), x)
    return gradient.numpy(force=True)
