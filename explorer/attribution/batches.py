"""The maps of several methods for a batch of pictures, from as few passes as these methods need together."""

import copy
from collections.abc import Collection, Sequence

import numpy as np

from explorer.architectures import Network
from explorer.attribution import cams
from explorer.attribution.explanation import deep_lift, guided_gradients, layer_pass
from explorer.views import enlarge

FAST = (
    "gradient",
    "input_x_gradient",
    "grad_cam",
    "signed_grad_cam",
    "grad_cam_pp",
    "layer_cam",
    "eigen_cam",
    "guided_backprop",
    "guided_grad_cam",
    "deep_lift",
)
"""What `fast_maps` knows: the methods of one or two passes a picture, "gradient" (the saliency), "grad_cam" and the
same before its ReLU, "signed_grad_cam"."""


def fast_maps(
    network: Network, images: np.ndarray, targets: Sequence[int], layer: str, names: Collection[str]
) -> dict[str, np.ndarray]:
    """The map of each picture by each of `names` of `FAST`, float32 (N, H, W), as `as_map` folds them.

    `images` is float32 (N, C, H, W), normalised, each explained for its own target; `layer` is that of the class
    activation maps, which are enlarged. DeepLIFT's baseline is the mean colour. One forward and one backward pass
    serve all but Guided Backprop and DeepLIFT, which run on private copies; the network is only read.
    """
    passed = layer_pass(network, images, targets, layer)
    size = (images.shape[2], images.shape[3])
    found: dict[str, np.ndarray] = {}
    if "gradient" in names:
        found["gradient"] = np.abs(passed.image_gradient).max(axis=1)
    if "input_x_gradient" in names:
        found["input_x_gradient"] = (images * passed.image_gradient).sum(axis=1)
    before_relu = cams.weighted_sum(passed.activation, passed.gradient.mean(axis=(2, 3)))
    if "signed_grad_cam" in names:
        found["signed_grad_cam"] = _enlarged(before_relu, size)
    grad_cam = _enlarged(np.maximum(before_relu, 0), size)
    if "grad_cam" in names:
        found["grad_cam"] = grad_cam
    for name, made in cams.FROM_ARRAYS.items():
        if name in names:
            found[name] = _enlarged(made(passed.activation, passed.gradient), size)
    if "guided_backprop" in names or "guided_grad_cam" in names:
        guided = guided_gradients(copy.deepcopy(network), images, targets)
        if "guided_backprop" in names:
            found["guided_backprop"] = np.abs(guided).max(axis=1)
        if "guided_grad_cam" in names:
            found["guided_grad_cam"] = np.abs(guided * grad_cam[:, None]).max(axis=1)
    if "deep_lift" in names:
        lifted = deep_lift(copy.deepcopy(network), images, np.zeros_like(images), targets)
        found["deep_lift"] = lifted.sum(axis=1)
    return found


def _enlarged(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.stack([enlarge(each, size) for each in maps])
