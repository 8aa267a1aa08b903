"""Views of a `Trace`: feature maps, magnitudes, Grad-CAM, saliency; no network runs here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from explorer.tracing import LayerTrace, Trace


@dataclass(frozen=True, eq=False)
class LayerProfile:
    """One column of the depth strip.

    `cam` is the raw Grad-CAM, (H, W), >= 0, and `signed_cam` the same before its ReLU; `zero_reason` is a sentence
    where `cam` is zero everywhere, else None.
    `strongest` is the channel whose feature map has the largest root mean square, `feature_map` that map (H, W);
    `peak` is the largest absolute activation of all channels. The magnitudes are root mean squares over the layer.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    cam: np.ndarray
    signed_cam: np.ndarray
    strongest: int
    feature_map: np.ndarray
    peak: float
    activation_magnitude: float
    gradient_magnitude: float
    zero_reason: str | None


def profile(trace: Trace) -> tuple[LayerProfile, ...]:
    """The depth strip's columns: every recorded layer that has feature maps, in execution order."""
    columns = []
    for layer in trace.layers:
        if not layer.is_spatial:
            continue
        energy = _sum_of_squares(layer.activation.reshape(len(layer.activation), -1))  # (C,)
        strongest = int(energy.argmax())
        signed = grad_cam(layer, relu=False)
        cam = np.maximum(signed, 0)
        channels, height, width = layer.activation.shape
        columns.append(
            LayerProfile(
                name=layer.name,
                kind=layer.kind,
                shape=(channels, height, width),
                cam=cam,
                signed_cam=signed,
                strongest=strongest,
                feature_map=layer.activation[strongest].copy(),  # a view would keep all channels
                peak=extent(layer.activation),
                activation_magnitude=float(np.sqrt(energy.sum() / layer.activation.size)),
                gradient_magnitude=magnitude(layer.gradient),
                zero_reason=zero_reason(layer, cam),
            )
        )
    return tuple(columns)


def extent(values: np.ndarray) -> float:
    """The largest absolute value: where a scale of both signs ends."""
    return float(max(values.max(), -values.min()))


def grad_cam(layer: LayerTrace, relu: bool = True) -> np.ndarray:
    """Grad-CAM of one layer, float32 (H, W), raw: not divided by its maximum.

    cam = ReLU(sum_k a_k A_k) with a_k the mean over all pixels of d score / d A_k (Selvaraju et al. 2017, equations 1
    and 2). With `relu=False` negative evidence stays; at the last block of a network that ends in global average
    pooling and one linear layer its sum is then the logit minus the bias (section 3.1 there). The mean is over the
    pixels, as in the paper, so the sum needs no further factor.
    Raises ValueError for a layer without feature maps.
    """
    if layer.activation.ndim != 3:
        raise ValueError(f"`{layer.name}` has no feature maps, its output is {layer.activation.shape}; choose a conv.")
    channels, height, width = layer.activation.shape
    # Not by BLAS: it wakes a thread for each processor, and takes 15 times as long where other passes use them too.
    cam = np.einsum("k,kp->p", channel_weights(layer), layer.activation.reshape(channels, -1)).reshape(height, width)
    return np.maximum(cam, 0, out=cam) if relu else cam


def channel_weights(layer: LayerTrace) -> np.ndarray:
    """a_k of Grad-CAM, (C,): the mean over all pixels of d score / d A_k."""
    gradient = layer.gradient.reshape(len(layer.gradient), -1)  # (C, H·W)
    return np.add.reduce(gradient, axis=1) / np.float32(gradient.shape[1])


def channel_statistics(layer: LayerTrace) -> np.ndarray:
    """Smallest value, largest value, root mean square and Grad-CAM weight of each feature map, float32 (C, 4)."""
    values = layer.activation.reshape(len(layer.activation), -1)  # (C, H·W)
    with np.errstate(over="ignore"):
        total = np.vecdot(values, values)
    unsure = ~((total > 1e-30) & (total < np.inf))  # float32 cannot hold these squares
    if unsure.any():
        exact = values[unsure].astype(np.float64)
        total = total.astype(np.float64)
        total[unsure] = np.vecdot(exact, exact)
    size = np.sqrt(total / values.shape[1])
    return np.stack([values.min(axis=1), values.max(axis=1), size, channel_weights(layer)], axis=1).astype(np.float32)


def zero_reason(layer: LayerTrace, cam: np.ndarray) -> str | None:
    """Why a Grad-CAM is zero everywhere, in one sentence; None where it is not."""
    if cam.any():
        return None
    if not layer.activation.any():
        return "Every feature map of this layer is zero for this image, so there is nothing to weigh."
    if not layer.gradient.any():
        return "No gradient reaches this layer: the score does not depend on it for this image."
    exact = np.tensordot(layer.gradient.mean(axis=(1, 2), dtype=np.float64), layer.activation.astype(np.float64), 1)
    if exact.max() > 0:
        return f"Its largest value, {exact.max():.1e}, is smaller than float32 can hold."
    return "Nowhere does the weighted sum support the target, and Grad-CAM's ReLU keeps only what supports it."


def magnitude(values: np.ndarray) -> float:
    """Root mean square of all values: layers of different size can be compared."""
    return float(np.sqrt(_sum_of_squares(values.ravel()) / values.size))


def _sum_of_squares(values: np.ndarray) -> np.ndarray:
    """Along the last axis, in float64 where float32 cannot hold the squares: a plain-56 without norm has gradients of
    1e-25."""
    with np.errstate(over="ignore"):
        total = np.vecdot(values, values)
    if 1e-30 < float(total.max()) < np.inf:
        return total
    exact = values.astype(np.float64)
    return np.vecdot(exact, exact)


def saliency(trace: Trace) -> np.ndarray:
    """How strongly the score reacts to each input pixel, (H, W), >= 0: the largest |d score / d image| over channels
    (Simonyan et al. 2014, section 3.1), per unit of the normalised image."""
    return np.abs(trace.image_gradient).max(axis=0)


def enlarge(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`values` (H, W) at `size` (height, width), bilinear with pixel centres kept in place, float32."""
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def share_on_object(cam: np.ndarray, mask: np.ndarray) -> float | None:
    """How much of the cam, enlarged to the mask's size, lies on the object: 0..1, or None for a cam of zeros.

    An evenly spread cam gives the object's share of the picture, `mask.mean()`: compare with that.
    """
    large = enlarge(cam, mask.shape).astype(np.float64)
    total = large.sum()
    return float(large[mask].sum() / total) if total > 0 else None


def distances(before: Trace, after: Trace) -> dict[str, float]:
    """|after - before| / |before| of each layer that both passes have, Euclidean over all its values: how far two
    passes have parted there. NaN where `before` is 0 everywhere. Both must be of one network."""
    found = {}
    for layer in after.layers:
        if layer.name in before.names:
            found[layer.name] = relative_distance(before[layer.name].activation, layer.activation)
    return found


def relative_distance(before: np.ndarray, after: np.ndarray) -> float:
    """|after - before| / |before|, Euclidean over all values. NaN where `before` is 0 everywhere."""
    size = magnitude(before)
    return magnitude(after - before) / size if size else float("nan")


def top_classes(trace: Trace, count: int = 5) -> list[tuple[int, float]]:
    """The `count` most probable classes with their probabilities, the most probable first."""
    order = np.argsort(-trace.probabilities, kind="stable")[:count]
    return [(int(index), float(trace.probabilities[index])) for index in order]


def shared_axis(*names: Sequence[str]) -> tuple[str, ...]:
    """The layers of several networks on one axis: each network's own order is kept, common names stand once.

    A layer of a later network alone comes right behind the layer that precedes it there.
    """
    axis: list[str] = []
    for network in names:
        place = 0
        for name in network:
            if name not in axis:
                axis.insert(place, name)
            place = axis.index(name) + 1
    return tuple(axis)


def shared_tops(
    tops: Sequence[Mapping[str, float]], scope: Literal["layer", "network", "both"]
) -> list[dict[str, float]]:
    """The top of the colour scale of each layer of each network, from the largest values found there.

    "layer": one layer has one scale in all networks; "network": all layers of a network share one; "both": all maps
    of all networks share one.
    """
    if scope == "layer":
        return [{name: max(other.get(name, 0.0) for other in tops) for name in network} for network in tops]
    own = [max(network.values(), default=0.0) for network in tops]
    shared = own if scope == "network" else [max(own, default=0.0)] * len(own)
    return [dict.fromkeys(network, top) for network, top in zip(tops, shared, strict=True)]


def raw_arrays(trace: Trace, layers: Sequence[str], signed: bool = False) -> dict[str, np.ndarray]:
    """The arrays of a pass by name, for saving.

    `activations/LAYER`, `gradients/LAYER` and, where there are feature maps, `cams/LAYER` (raw, (H, W), of both signs
    where they are `signed`) of `layers`;
    `image`, `image_gradient`, `saliency`, `logits` and `target` of the whole pass.
    """
    arrays = {
        "image": trace.image,
        "image_gradient": trace.image_gradient,
        "saliency": saliency(trace),
        "logits": trace.logits,
        "target": np.array(trace.target),
    }
    for name in layers:
        arrays[f"activations/{name}"] = trace[name].activation
        arrays[f"gradients/{name}"] = trace[name].gradient
        if trace[name].is_spatial:
            arrays[f"cams/{name}"] = grad_cam(trace[name], relu=not signed)
    return arrays
