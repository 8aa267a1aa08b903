"""What the layer panel shows, as a part of the message: overlays, numbers and feature maps of a layer."""

from typing import Any

import numpy as np

from explorer import figures
from explorer.attribution import LayerProfile, channel_statistics, share_on_object
from explorer.images import to_pixels
from explorer.labels import ACTIVATION_RMS, GRADIENT_RMS
from explorer.tracing import LayerTrace
from explorer.ui.api.binary import MessageWriter
from explorer.ui.services.inference import NetworkResult, input_mask
from explorer.ui.services.input_images import InputImage

MAP_SIDE_PX = 56  # of a large feature map among others of its layer; the chosen one comes whole
FULL_RESOLUTION_LIMIT = 1_500_000  # values of feature maps up to which none is reduced: 1.5 MB
PREFETCH_LIMIT = 8_000_000  # values that the browser may fetch before anybody chooses their layer


def is_prefetched(results: list[NetworkResult]) -> bool:
    """Whether all layers together are small enough to be fetched ahead."""
    return _values(results, _side(results)) <= PREFETCH_LIMIT


def pack_layers(
    writer: MessageWriter, subject: InputImage, results: list[NetworkResult], only: str | None, channel: int | None
) -> list[dict[str, Any]]:
    """By network: what `layer_panel.js` shows of every layer, or of the layer `only`. Where maps are reduced, that of
    `channel` comes whole too."""
    side = _side(results)
    return [
        {
            layer.name: _layer(network, subject, layer, writer, side, channel)
            for layer in _spatial(network)
            if only in (None, layer.name)
        }
        for network in results
    ]


def pack_input(writer: MessageWriter, network: NetworkResult) -> list[int]:
    """The picture as the network gets it, uint8 (H, W, 3)."""
    return writer.picture(to_pixels(network.trace.image, network.checkpoint.mean, network.checkpoint.std))


def profile_of(network: NetworkResult, layer: str) -> LayerProfile:
    return next(column for column in network.profiles if column.name == layer)


def _side(results: list[NetworkResult]) -> int | None:
    """Pixels of a feature map, at most; None for as many as it has."""
    return None if _values(results) <= FULL_RESOLUTION_LIMIT else MAP_SIDE_PX


def _spatial(network: NetworkResult) -> list[LayerTrace]:
    return [layer for layer in network.trace.layers if layer.is_spatial]


def _values(results: list[NetworkResult], side: int | None = None) -> int:
    """How many values all feature maps have, where none has more than `side` pixels."""
    layers = [layer for network in results for layer in _spatial(network)]
    if side is None:
        return sum(layer.activation.size for layer in layers)
    return sum(len(layer.activation) * min(side, max(layer.activation.shape[1:])) ** 2 for layer in layers)


def _layer(
    network: NetworkResult,
    subject: InputImage,
    layer: LayerTrace,
    writer: MessageWriter,
    side: int | None,
    channel: int | None,
) -> dict[str, Any]:
    """The feature maps of a layer, four numbers of each, and the table's lines."""
    profile = profile_of(network, layer.name)
    channels = len(layer.activation)
    stats = channel_statistics(layer)
    small = figures.average_pool(layer.activation, side) if side else layer.activation
    found = {
        "numbers": _numbers(network, subject, layer, profile, stats),
        "channels": channels,
        "shape": layer.activation.shape[1:],
        "reduced": small is not layer.activation,
        "maps": [writer.add(figures.quantise_signed(small, profile.peak)), *small.shape[1:]],
        "stats": writer.add(stats),
    }
    if found["reduced"] and channel is not None and channel < channels:
        whole = figures.quantise_signed(layer.activation[channel], profile.peak)
        found["chosen"] = {"channel": channel, "map": writer.picture(whole)}
    return found


def _numbers(
    network: NetworkResult, subject: InputImage, layer: LayerTrace, profile: LayerProfile, stats: np.ndarray
) -> list[tuple[str, str]]:
    """What was measured in this layer."""
    channels, height, width = profile.shape
    silent = int(((stats[:, 0] == 0) & (stats[:, 1] == 0)).sum())
    rows = [
        ("kind; shape (C×H×W)", f"{layer.kind}; {channels}×{height}×{width}"),
        (ACTIVATION_RMS, f"{profile.activation_magnitude:.3g}"),
        (GRADIENT_RMS, f"{profile.gradient_magnitude:.3g}"),
        ("activation, min … max", f"{stats[:, 0].min():.3g} … {stats[:, 1].max():.3g}"),
        ("channels that are 0 everywhere", f"{silent} of {channels}"),
        ("largest Grad-CAM value", f"{profile.cam.max():.3g}"),
    ]
    mask = input_mask(network.checkpoint, subject)
    if mask is not None:
        share = share_on_object(profile.cam, mask)
        words = f"Grad-CAM on the object, which covers {mask.mean():.0%} of the image"
        rows.append((words, "none there" if share is None else f"{share:.0%}"))
    return rows
