"""Operations that look at a window: convolutions, pooling, reductions, and what is linear in its input."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures.operators import Convolution, Operation
from explorer.experiments.arithmetic.step import Call, Place, Term, along, array, box, place_of


def convolution(call: Call, module: nn.Conv2d, index: Place) -> Mapping[str, Any]:
    x, channel = call.inputs[0], index[1]
    per_group = module.in_channels // module.groups
    first = channel // (module.out_channels // module.groups) * per_group
    pads: Any = module.pads if isinstance(module, Convolution) else module.padding
    corner = [place * stride - int(pad) for place, stride, pad in zip(index[2:], module.stride, pads, strict=False)]
    values, inside = _patch(x[0, first : first + per_group], corner, module.kernel_size, module.dilation)
    spacing = module.dilation[0], module.dilation[1]
    window = call.window(
        0, (first, *corner), values, spacing=spacing, inside=inside, factors=array(module.weight[channel])
    )
    bias = float(module.bias[channel]) if module.bias is not None else 0.0
    terms = (Term("bias", bias),) if module.bias is not None else ()
    kind = "depthwise convolution" if module.groups == module.in_channels > 1 else "convolution"
    return {
        "operation": f"{kind} {'×'.join(map(str, module.kernel_size))}",
        "formula": "Each value of the window times the kernel's weight at its place, summed"
        + (", plus the bias." if terms else "."),
        "computed": float(window.sums.sum()) + bias,
        "terms": terms,
        "window": window,
    }


def _patch(
    x: Tensor, corner: Sequence[int], kernel: Sequence[int], dilation: Sequence[int]
) -> tuple[Tensor, np.ndarray]:
    """The values of x (C, H, W) in a window, 0 in padding, and where it lies inside."""
    rows, columns = (low + step * np.arange(size) for low, size, step in zip(corner, kernel, dilation, strict=True))
    inside = ((rows >= 0) & (rows < x.shape[1]))[:, None] & ((columns >= 0) & (columns < x.shape[2]))
    found = x[:, rows.clip(0, x.shape[1] - 1)][:, :, columns.clip(0, x.shape[2] - 1)]
    return torch.where(torch.from_numpy(inside).to(x.device), found, 0.0), inside


def max_pool(call: Call, index: Place) -> Mapping[str, Any]:
    module = call.module
    if isinstance(module, Operation):
        known = module.attributes
        sizes = [known["kernel"], known["strides"], known["pads"][:2], known["dilations"]]
    else:
        sizes = [[int(getattr(module, name))] * 2 for name in ("kernel_size", "stride", "padding", "dilation")]
    kernel, strides, pads, dilations = sizes
    corner = [place * stride - pad for place, stride, pad in zip(index[2:], strides, pads, strict=True)]
    values, inside = _patch(call.inputs[0][0, index[1], None], corner, kernel, dilations)
    candidates = np.where(inside, values.numpy(force=True), -np.inf)
    place = place_of(np.unravel_index(int(np.argmax(candidates)), candidates.shape))
    window = call.window(0, (index[1], *corner), values, spacing=tuple(dilations), inside=inside, winner=place)
    return {
        "operation": f"max pooling {'×'.join(map(str, kernel))}",
        "formula": "The largest value of the window.",
        "computed": float(candidates.max()),
        "window": window,
    }


REDUCTIONS: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "ReduceL1": (lambda x: np.abs(x).sum(), "The sum of the absolute values."),
    "ReduceL2": (lambda x: np.sqrt(np.square(x).sum()), "The root of the sum of the squares."),
    "ReduceSumSquare": (lambda x: np.square(x).sum(), "The sum of the squares."),
    "ReduceProd": (lambda x: x.prod(), "The product of the values."),
    "ReduceLogSum": (lambda x: np.log(x.sum()), "The natural logarithm of the sum."),
    "ReduceLogSumExp": (
        lambda x: x.max() + np.log(np.exp(x - x.max()).sum()),
        "The natural logarithm of the sum of the exponentials.",
    ),
}


def reduction(call: Call, operator: str, index: Place) -> Mapping[str, Any]:
    assert isinstance(call.module, Operation)
    window = along(call, call.module.attributes["axes"], index)
    values = window.values.astype(np.float64)
    if operator in ("ReduceMax", "ReduceMin"):
        flat = int(values.argmax() if operator == "ReduceMax" else values.argmin())
        window = replace(window, winner=place_of(np.unravel_index(flat, values.shape)))
        computed, words = float(values.flat[flat]), "largest" if operator == "ReduceMax" else "smallest"
        formula = f"The {words} value of the window."
    else:
        compute, formula = REDUCTIONS[operator]
        computed = float(compute(values))
    return {"operation": operator, "formula": formula, "computed": computed, "window": window}


_LINEAR_WORDS = {
    "Linear": ("fully connected", "Each input times its weight, summed"),
    "MatMul": ("matrix product", "Each value of a row times that of a column, summed"),
    "Resize": ("resizing", "The mean of the nearest values, weighted by their distance"),
    "ConvTranspose": ("transposed convolution", "Each value that the kernel spreads to here times its weight, summed"),
    "ReduceSum": ("sum", "The sum of the values"),
}


def linear(call: Call, index: Place) -> Mapping[str, Any]:
    """Of an operation that is linear in its first input the gradient of a value has the factors."""
    module = call.module
    with torch.enable_grad():
        x = call.inputs[0].detach().requires_grad_()
        output: Tensor = module(x, *call.inputs[1:])
        (factors,) = torch.autograd.grad(output[index], x)
    with torch.no_grad():
        bias = float(module(torch.zeros_like(x), *call.inputs[1:])[index])
    if isinstance(module, nn.Linear):
        mask = torch.zeros_like(x, dtype=torch.bool)
        mask[index[:-1]] = True  # a weight of 0 too
    else:
        mask = factors != 0
    window = box(call, 0, mask, factors=factors)
    kind = module.operator if isinstance(module, Operation) else type(module).__name__
    operation, formula = _LINEAR_WORDS.get(kind, ("average pooling", "The mean of the window"))
    return {
        "operation": operation,
        "formula": f"{formula}, plus the bias." if bias else f"{formula}.",
        "computed": float(window.sums.sum()) + bias,
        "terms": (Term("bias", bias),) if bias else (),
        "window": window,
    }
