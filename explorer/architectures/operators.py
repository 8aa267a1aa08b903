"""The operators of networks that come from ONNX files: for each a small function over torch, none in place.

`Operation` makes one of them a module. Where torch has the layer as a module of its own (`Conv2d`, `Linear`,
`BatchNorm2d`, `ReLU`), that is taken, so that all that looks for such layers finds them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures.modules import BothSigns, Sum

Attributes = Mapping[str, Any]
OWN = ":"  # in front of the name of an operation's own weight, among its inputs


def pooled(x: Tensor, pads: Sequence[int], value: float) -> Tensor:
    """`x` with a margin of top, left, bottom and right `pads`."""
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value) if any(pads) else x


def whole_windows(
    x: Tensor, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """`pads` whose ends are as long as the last windows need that begin inside, as ceil_mode counts them."""
    longer = list(pads)
    for axis in (0, 1):
        side = x.shape[2 + axis] + pads[axis]
        window = (kernel[axis] - 1) * dilations[axis] + 1
        last = -(-(side + pads[2 + axis] - window) // strides[axis]) * strides[axis]
        last -= strides[axis] * (last >= side)
        longer[2 + axis] = max(pads[2 + axis], last + window - side)
    return longer


def has_even_margins(kernel: Sequence[int], pads: Sequence[int]) -> bool:
    """Whether a pooling has equal margins on opposite sides, of half its window at most: then torch's own computes
    it."""
    return list(pads[:2]) == list(pads[2:]) and all(2 * pad <= side for pad, side in zip(pads, kernel, strict=False))


def max_pool(
    x: Tensor, kernel: list[int], strides: list[int], pads: list[int], dilations: list[int], ceil: bool
) -> Tensor:
    if has_even_margins(kernel, pads):
        return F.max_pool2d(x, kernel, strides, pads[:2], dilations, ceil)
    pads = whole_windows(x, kernel, strides, pads, dilations) if ceil else pads
    return F.max_pool2d(pooled(x, pads, float("-inf")), kernel, strides, 0, dilations)


def window_sums(
    x: Tensor, kernel: list[int], strides: list[int], pads: list[int], dilations: Sequence[int], ceil: bool
) -> Tensor:
    ends = whole_windows(x, kernel, strides, pads, dilations) if ceil else pads
    ones = torch.ones(x.shape[1], 1, *kernel, dtype=x.dtype, device=x.device)
    return F.conv2d(pooled(x, ends, 0), ones, None, strides, 0, dilations, x.shape[1])


def average_pool(
    x: Tensor, kernel: list[int], strides: list[int], pads: list[int], ceil: bool, count_include_pad: bool,
    dilations: Sequence[int] = (1, 1),
) -> Tensor:  # fmt: skip
    if has_even_margins(kernel, pads) and list(dilations) == [1, 1]:
        return F.avg_pool2d(x, kernel, strides, pads[:2], ceil, count_include_pad)
    counted = torch.ones_like(x[:1, :1])
    if count_include_pad:
        x, counted, pads = pooled(x, pads, 0), pooled(counted, pads, 1), [0] * 4
    total, count = (window_sums(each, kernel, strides, pads, dilations, ceil) for each in (x, counted))
    return total / count


def lp_pool(
    x: Tensor, kernel: list[int], strides: list[int], pads: list[int], dilations: list[int], ceil: bool, p: int
) -> Tensor:
    return window_sums(x.abs().pow(p), kernel, strides, pads, dilations, ceil).pow(1 / p)


def conv_transpose(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, pads: list[int], **options: Any) -> Tensor:
    """`pads` are cut off at top, left, bottom and right."""
    x = F.conv_transpose2d(x, weight, bias, **options)
    top, left, bottom, right = pads
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def cut(x: Tensor, axes: list[int], starts: list[int], ends: list[int], steps: list[int]) -> Tensor:
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        x = x[(slice(None),) * axis + (slice(start, end, step),)]
    return x


def pad(x: Tensor, pads: list[int], mode: str, value: float) -> Tensor:
    """`pads` as torch has them: the last axis first, both of its ends."""
    return F.pad(x, pads, mode, value if mode == "constant" else None)


def layer_norm(x: Tensor, *weights: Tensor, axis: int, epsilon: float) -> Tensor:
    weight, bias = (*weights, None, None)[:2]
    return F.layer_norm(x, x.shape[axis:], weight, bias, epsilon)


def group_norm(x: Tensor, *weights: Tensor, groups: int, epsilon: float) -> Tensor:
    weight, bias = (*weights, None, None)[:2]
    return F.group_norm(x, groups, weight, bias, epsilon)


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, epsilon: float) -> Tensor:
    return F.batch_norm(x, mean, variance, weight, bias, eps=epsilon)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def concat(*parts: Tensor, axis: int) -> Tensor:
    """Constants among the parts are the same for each picture."""
    batch = max(len(part) for part in parts)
    return torch.cat([part if axis == 0 else part.expand(batch, *part.shape[1:]) for part in parts], axis)


def resize(x: Tensor, size: list[int], mode: str, align_corners: bool | None = None, **options: Any) -> Tensor:
    """As torch does it, or with `scales` and other `options` of `resampling` as any form of ONNX's operator does."""
    if not options:
        return F.interpolate(x, tuple(size), mode=mode, align_corners=align_corners)
    scales = options.pop("scales")
    rows, columns = (
        torch.from_numpy(resampling(old, new, scale, mode, **options)).to(x)
        for old, new, scale in zip(x.shape[2:], size, scales, strict=True)
    )
    return rows @ x @ columns.T


@lru_cache(maxsize=32)
def resampling(
    old: int, new: int, scale: float, mode: str, places: str, rounding: str, cubic: float, inside: bool, antialias: bool
) -> np.ndarray:
    """The matrix (new, old) that resizes one axis: where each new pixel lies among the old ones, and with which weights
    it takes these. `inside` leaves out pixels beyond the edges, which are else those at the edges."""
    place = np.arange(new, dtype=np.float32)  # as onnxruntime does, which decides where halves are rounded to
    shift = np.float32(old / 2 * (1 - new / (scale * old)) if places == "half_pixel_symmetric" else 0)
    at = {
        "align_corners": place * np.float32((old - 1) / max(1, new - 1)),
        "asymmetric": place / np.float32(scale),
        "tf_half_pixel_for_nn": (place + np.float32(0.5)) / np.float32(scale),
    }.get(places, shift + (place + np.float32(0.5)) / np.float32(scale) - np.float32(0.5))
    if places == "pytorch_half_pixel" and new == 1:
        at = place * 0
    if mode == "nearest":
        rounded = {"floor": np.floor(at), "ceil": np.ceil(at), "round_prefer_ceil": np.floor(at + 0.5)}
        taps, weights = rounded.get(rounding, np.ceil(at - 0.5))[:, None], np.ones((new, 1))
    else:
        shrunk = min(1.0, scale) if antialias else 1.0
        reach = int(np.ceil((2 if mode == "cubic" else 1) / shrunk))
        taps = np.floor(at)[:, None] + np.arange(1 - reach, reach + 1)
        far = np.abs(taps - at[:, None]) * shrunk
        if mode == "cubic":
            near = ((cubic + 2) * far - (cubic + 3)) * far**2 + 1
            weights = np.where(far < 1, near, cubic * (((far - 5) * far + 8) * far - 4)) * (far < 2)
        else:
            weights = np.maximum(0, 1 - far)
        weights *= (taps >= 0) & (taps < old) if inside else 1
        weights /= weights.sum(1, keepdims=True)
    matrix = np.zeros((new, old), np.float32)
    np.add.at(matrix, (np.arange(new)[:, None], taps.clip(0, old - 1).astype(int)), weights)
    return matrix


def gather(x: Tensor, indices: list[int], axis: int) -> Tensor:
    return x.index_select(axis, torch.tensor(indices, device=x.device))


def depth_to_space(x: Tensor, block: int, mode: str) -> Tensor:
    count, channels, height, width = x.shape
    if mode == "DCR":
        x = x.reshape(count, block, block, channels // block**2, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(count, channels // block**2, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(count, channels // block**2, height * block, width * block)


def local_response_norm(x: Tensor, size: int, alpha: float, beta: float, bias: float) -> Tensor:
    rows = F.pad(x.pow(2).flatten(2)[:, None], (0, 0, (size - 1) // 2, size // 2))  # (N, 1, C + size - 1, H W)
    means = F.avg_pool2d(rows, (size, 1), 1)[:, 0].reshape(x.shape)
    return x / (bias + alpha * means).pow(beta)


def product(x: Tensor, axes: list[int], keepdims: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdims)
    return x


def choice(condition: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """`a` where the condition is 1. It gets a gradient, which is 0 as everywhere behind a comparison."""
    return torch.where(condition != 0, a, b) + 0 * condition


def sum_of(*parts: Tensor | float) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total  # type: ignore[return-value]


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "Pow": lambda a, b: torch.pow(a, b),
    "Max": lambda a, b: torch.clamp(a, min=b) if not isinstance(b, Tensor) else torch.maximum(a, b),
    "Min": lambda a, b: torch.clamp(a, max=b) if not isinstance(b, Tensor) else torch.minimum(a, b),
    "Sum": sum_of,
    "Mean": lambda *parts: sum_of(*parts) / len(parts),
    "MatMul": lambda a, b: a @ b,
    # What is true or false is 1 or 0, with a gradient of 0.
    "Greater": lambda a, b: (a - b).sign().relu(),
    "Less": lambda a, b: (b - a).sign().relu(),
    "GreaterOrEqual": lambda a, b: 1 - (b - a).sign().relu(),
    "LessOrEqual": lambda a, b: 1 - (a - b).sign().relu(),
    "Equal": lambda a, b: 1 - (a - b).sign().abs(),
    "And": lambda a, b: a * b,
    "Or": lambda a, b: 1 - (1 - a) * (1 - b),
    "Not": lambda x: 1 - x,
    "Bool": lambda x: x.sign().abs(),
    "Where": choice,
    "Floor": lambda x: x.floor(),
    "Ceil": lambda x: x.ceil(),
    "Round": lambda x: x.round(),
    "Sign": lambda x: x.sign(),
    "Sqrt": lambda x: x.sqrt(),
    "Exp": lambda x: x.exp(),
    "Log": lambda x: x.log(),
    "Erf": lambda x: x.erf(),
    "Neg": lambda x: -x,
    "Abs": lambda x: x.abs(),
    "Reciprocal": lambda x: 1 / x,
    "LeakyRelu": lambda x, alpha: F.leaky_relu(x, alpha),
    "PRelu": prelu,
    "Elu": lambda x, alpha: F.elu(x, alpha),
    "Celu": lambda x, alpha: F.celu(x, alpha),
    "Selu": lambda x, alpha=1.6732632, gamma=1.050701: gamma * F.elu(x, alpha),
    "ThresholdedRelu": lambda x, alpha: F.threshold(x, alpha, 0.0),
    "Gelu": lambda x, approximate: F.gelu(x, approximate=approximate),
    "Sigmoid": lambda x: x.sigmoid(),
    "HardSigmoid": lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1),
    "HardSwish": lambda x: x * (x / 6 + 0.5).clamp(0, 1),
    "Swish": lambda x, alpha: x * (alpha * x).sigmoid(),
    "Mish": lambda x: F.mish(x),
    "Softplus": lambda x: F.softplus(x),
    "Softsign": lambda x: F.softsign(x),
    "Tanh": lambda x: x.tanh(),
    "Clip": lambda x, low, high: x.clamp(low, high),
    "Softmax": lambda x, axis: x.softmax(axis),
    "LogSoftmax": lambda x, axis: x.log_softmax(axis),
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "LpPool": lp_pool,
    "ReduceMean": lambda x, axes, keepdims: x.mean(axes, keepdims),
    "ReduceSum": lambda x, axes, keepdims: x.sum(axes, keepdims),
    "ReduceMax": lambda x, axes, keepdims: x.amax(axes, keepdims),
    "ReduceMin": lambda x, axes, keepdims: x.amin(axes, keepdims),
    "ReduceL2": lambda x, axes, keepdims: x.pow(2).sum(axes, keepdims).sqrt(),
    "ReduceSumSquare": lambda x, axes, keepdims: x.pow(2).sum(axes, keepdims),
    "ReduceL1": lambda x, axes, keepdims: x.abs().sum(axes, keepdims),
    "ReduceLp": lambda x, axes, keepdims, p: x.abs().pow(p).sum(axes, keepdims).pow(1 / p),
    "ReduceLogSum": lambda x, axes, keepdims: x.sum(axes, keepdims).log(),
    "ReduceLogSumExp": lambda x, axes, keepdims: x.logsumexp(axes, keepdims),
    "ReduceProd": product,
    "LRN": local_response_norm,
    "LpNormalization": lambda x, axis, p: F.normalize(x, p, axis),
    "RMSNormalization": lambda x, weight, axis, epsilon: F.rms_norm(x, x.shape[axis:], weight, epsilon),
    "BatchNormalization": batch_norm,
    "InstanceNormalization": lambda x, weight, bias, epsilon: F.instance_norm(x, None, None, weight, bias, eps=epsilon),
    "LayerNormalization": layer_norm,
    "GroupNormalization": group_norm,
    "ConvTranspose": conv_transpose,
    "Concat": concat,
    "Slice": cut,
    "Gather": gather,
    "Select": lambda x, index, axis: x.select(axis, index),
    "Pad": pad,
    "Reshape": lambda x, shape: x.reshape(shape),
    "Transpose": lambda x, perm: x.permute(perm),
    "Expand": lambda x, shape: x.expand(shape),
    "Tile": lambda x, repeats: x.repeat(repeats),
    "Resize": resize,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": lambda x, block: (
        F.pixel_unshuffle(x, block).unflatten(1, (x.shape[1], block**2)).transpose(1, 2).flatten(1, 2)
    ),
}
"""By the operator's name in ONNX; the arguments are what the reader made of its inputs and attributes."""

ACTIVATIONS = frozenset(
    "Relu LeakyRelu ThresholdedRelu PRelu Elu Celu Selu Gelu Sigmoid HardSigmoid HardSwish Swish Mish Softplus "
    "Softsign Tanh Clip Softmax LogSoftmax".split()
)
ELEMENTWISE = (ACTIVATIONS - {"Softmax", "LogSoftmax"}) | frozenset(
    "Add Sub Mul Div Pow Max Min Sum Mean Sqrt Exp Log Erf Neg Abs Reciprocal Floor Ceil Round Sign "
    "Greater Less GreaterOrEqual LessOrEqual Equal And Or Not Bool Where".split()
)
"""Operators whose output has the shape of their inputs, broadcast."""

_KINDS = {
    **dict.fromkeys(("Conv", "ConvTranspose"), "conv"),
    **dict.fromkeys(ACTIVATIONS, "activation"),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), "pool"),
    **{f"{kind}Normalization": "norm" for kind in ("Batch", "Instance", "Layer", "Group", "RMS", "Lp")},
    "LRN": "norm",
    "Residual": "sum",
    "Linear": "linear",
    "Flatten": "flatten",
}


def kind_of(operator: str, attributes: Attributes | None = None) -> str:
    """ "conv", "norm", ...; the operator's own name in small letters where the app has no word for it."""
    if operator in ("ReduceMean", "ReduceMax") and attributes and attributes.get("axes") in ([2, 3], [1, 2]):
        return "pool"
    return _KINDS.get(operator, operator.lower())


class Convolution(nn.Conv2d):
    """A convolution whose `pads` (top, left, bottom, right) may differ by side."""

    def __init__(self, shape: Sequence[int], attributes: Attributes, bias: bool) -> None:
        super().__init__(
            shape[1] * attributes["group"],
            shape[0],
            tuple(shape[2:]),  # type: ignore[arg-type]
            attributes["strides"],
            0,
            attributes["dilations"],
            attributes["group"],
            bias,
        )
        self.pads = attributes["pads"]
        if self.pads[:2] == self.pads[2:]:
            self.padding = tuple(self.pads[:2])

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.pads[:2] == self.pads[2:] else pooled(x, self.pads, 0))


class Operation(nn.Module):
    """The function of one operator, with its attributes and its own weights.

    `inputs` say where its arguments come from, in order: a number is one itself, `:NAME` is a weight, and every other
    one is the next tensor that the module is called with.
    """

    def __init__(
        self, operator: str, inputs: Sequence[str | float], attributes: Attributes, weights: Mapping[str, Sequence[int]]
    ) -> None:
        super().__init__()
        self.operator = operator
        self.function = FUNCTIONS[operator]
        self.inputs = tuple(inputs)
        self.attributes = dict(attributes)
        for name, shape in weights.items():
            self.register_parameter(name, nn.Parameter(torch.empty(*shape)))

    def forward(self, *tensors: Tensor) -> Tensor:
        given = iter(tensors)
        arguments = [
            each if not isinstance(each, str) else getattr(self, each[1:]) if each.startswith(OWN) else next(given)
            for each in self.inputs
        ]
        return self.function(*arguments, **self.attributes)


def operation(
    operator: str, inputs: Sequence[str | float], attributes: Attributes, weights: Mapping[str, Sequence[int]]
) -> nn.Module:
    """The module of one node. Raises KeyError, TypeError, ValueError or RuntimeError for one that cannot be."""
    if operator == "Conv":
        return Convolution(weights["weight"], attributes, "bias" in weights)
    if operator == "Linear":
        units, features = weights["weight"]
        return nn.Linear(features, units, "bias" in weights)
    if operator == "BatchNormalization" and "running_mean" in weights:
        return nn.BatchNorm2d(weights["weight"][0], attributes["epsilon"])
    if operator == "Relu":
        return nn.ReLU()
    if operator == "Flatten":
        return nn.Flatten()
    if operator == "Residual":
        return Sum()
    if operator == "BothSigns":
        return BothSigns()
    return Operation(operator, inputs, attributes, weights)
