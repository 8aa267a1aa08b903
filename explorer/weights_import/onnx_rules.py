"""One small rule for each operator of ONNX: what its inputs and attributes mean to `architectures.operators`.

One file: the rules share how they read pads, axes and constants, and a new operator is one more of them.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from onnx import TensorProto

from explorer.weights_import.onnx_reader import BATCHES, FLOATS, Constant, Missing, Reader, Value
from explorer.weights_import.report import WeightsError, quote


def _same_batches(value: Constant) -> np.ndarray:
    """A constant that may have the batch's size along its first axis, with 1 in its place."""
    a, b = value
    if a is b or a.shape == b.shape and np.array_equal(a, b):
        return a
    if a.ndim and a.shape[1:] == b.shape[1:] and (a[:1] == a).all() and (b == a[:1]).all():
        return a[:1]
    raise Missing("a constant that depends on how many images there are")


def _own(name: str, value: Any) -> tuple[str, np.ndarray]:
    if isinstance(value, Value):
        raise Missing("weights that depend on the image")
    return name, _same_batches(value)


def _operand(value: Any, name: str = "value") -> Any:
    """An input of an arithmetic operation: a value, a number, or an own weight."""
    if isinstance(value, Value):
        return value
    array = _same_batches(value)
    if array.dtype.kind not in "fiub":
        raise Missing("a constant that is no number")
    return float(array.reshape(-1)[0]) if array.size == 1 and np.isfinite(array).all() else (name, array)


def _arithmetic(r: Reader, *inputs: Any) -> Value:
    operator = r.proto.op_type
    if len(inputs) == 1:
        return inputs[0]
    values = [value for value in inputs if isinstance(value, Value)]
    if operator in ("Max", "Min"):  # of two, the first of which is no constant
        first, second, *others = sorted(inputs, key=lambda value: not isinstance(value, Value))
        if others:
            return _arithmetic(r, _arithmetic(r, first, second), *others)
        inputs = (first, second)
    if (
        operator == "Add"
        and len(values) == 2
        and values[0].shapes == values[1].shapes
        and values[0].node != values[1].node
    ):
        return r.emit("Residual", values)
    last = any(value.channels_last for value in values)
    operands = [_operand(value, f"value{index}" if index else "value") for index, value in enumerate(inputs)]
    rank = max(value.rank for value in values)
    for each in operands:
        if isinstance(each, tuple) and each[1].ndim > rank:
            raise Missing("a constant of more axes")
    return r.emit(operator, operands, last)


def _unary(**defaults: float) -> Callable[..., Value]:
    def rule(r: Reader, x: Value, *_: Any) -> Value:
        attributes: dict[str, Any] = {name: float(r.attribute(name, default)) for name, default in defaults.items()}
        return r.emit(r.proto.op_type, [x], **attributes)

    return rule


def _pads(r: Reader, x: Value, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """top, left, bottom, right"""
    auto = r.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID", ""):
        pads = [int(each) for each in r.attribute("pads", [0] * 4)] if auto != "VALID" else [0] * 4
        if len(pads) != 4 or min(pads) < 0 or max(pads) > 1024:
            raise Missing("such pads")
        return pads
    sides = zip(x.shapes[0][2:], kernel, strides, dilations, strict=True)
    return _same_pads(
        auto,
        [
            max(0, (-(-size // step) - 1) * step + (window - 1) * apart + 1 - size)
            for size, window, step, apart in sides
        ],
    )


def _same_pads(auto: str, totals: Sequence[int]) -> list[int]:
    """top, left, bottom, right of so many rows and columns; an odd one is at the end, or at the start."""
    if auto not in ("SAME_UPPER", "SAME_LOWER", "NOTSET", ""):
        raise Missing(f"padding {auto}")
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*less, *more] if auto == "SAME_UPPER" else [*more, *less]


def _pair(r: Reader, name: str) -> list[int]:
    values = [int(each) for each in r.attribute(name, (1, 1))]
    if len(values) != 2 or not all(1 <= each <= 1024 for each in values):
        raise Missing(f"{name} {values}")
    return values


def _planar(x: Value) -> None:
    if x.rank != 4:
        raise Missing(f"an input of {x.rank} axes, not of 4")


def _conv(r: Reader, x: Value, weight: Any, bias: Any = None) -> Value:
    name, values = _own("weight", weight)
    if x.rank == 3 and values.ndim == 3:  # of lines, (N, C, L), which are pictures of one row
        sides = [
            r.attribute(each, default) for each, default in (("pads", [0, 0]), ("strides", [1]), ("dilations", [1]))
        ]
        if r.attribute("auto_pad", "NOTSET") not in ("NOTSET", ""):
            raise Missing("padding by itself")
        start, end = sides[0]
        row = r.reshape(x, lambda n: [*x.shapes[n][:2], 1, x.shapes[n][2]])
        row = _conv_of(r, row, values[:, :, None], bias, [1, *sides[1]], [1, *sides[2]], [0, start, 0, end])
        return r.reshape(row, lambda n: [row.shapes[n][0], row.shapes[n][1], row.shapes[n][3]])
    _planar(x)
    if values.ndim != 4:
        raise Missing(f"weights of {values.ndim} axes")
    strides, dilations = _pair(r, "strides"), _pair(r, "dilations")
    return _conv_of(r, x, values, bias, strides, dilations, _pads(r, x, values.shape[2:], strides, dilations))


def _conv_of(
    r: Reader, x: Value, values: np.ndarray, bias: Any, strides: list[int], dilations: list[int], pads: list[int]
) -> Value:
    biases = [_own("bias", bias)] if bias else []
    if biases and biases[0][1].shape != values.shape[:1]:
        raise Missing("a bias of another length")
    return r.emit("Conv", [x, ("weight", values), *biases], strides=strides, dilations=dilations, pads=pads,
                  group=int(r.attribute("group", 1)))  # fmt: skip


def _conv_transpose(r: Reader, x: Value, weight: Any, bias: Any = None) -> Value:
    _planar(x)
    own = _own("weight", weight)
    extra = [int(each) for each in r.attribute("output_padding", (0, 0))]
    strides, dilations = _pair(r, "strides"), _pair(r, "dilations")
    auto, shape = r.attribute("auto_pad", "NOTSET"), r.attribute("output_shape")
    pads = [int(each) for each in r.attribute("pads", [0] * 4)] if auto != "VALID" else [0] * 4
    if shape is not None or auto.startswith("SAME"):
        wanted = (
            [int(each) for each in shape] if shape else [a * b for a, b in zip(x.shapes[0][2:], strides, strict=True)]
        )
        totals = []
        for axis, side in enumerate(x.shapes[0][2:]):
            window = (own[1].shape[2 + axis] - 1) * dilations[axis] + 1
            totals.append(strides[axis] * (side - 1) + extra[axis] + window - wanted[-2:][axis])
        # Without a word on it the odd one is at the start here.
        pads = _same_pads(auto, totals)
    if min(pads) < 0 or auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""):
        raise Missing("such pads")
    return r.emit(
        "ConvTranspose",
        [x, own, *([_own("bias", bias)] if bias else [])],
        pads=pads,
        stride=strides,
        dilation=dilations,
        output_padding=extra,
        groups=int(r.attribute("group", 1)),
    )


def _linear(r: Reader, x: Value, weight: np.ndarray, bias: np.ndarray | None) -> Value:
    biases = [] if bias is None else [("bias", np.broadcast_to(bias, (1, weight.shape[0])).reshape(-1))]
    return r.emit("Linear", [x, ("weight", weight), *biases])


def _gemm(r: Reader, x: Any, weight: Any, bias: Any = None) -> Value:
    if not isinstance(x, Value) or r.attribute("transA", 0):
        raise Missing("transposed images")
    values, alpha = _own("weight", weight)[1], r.attribute("alpha", 1.0)
    values = values if alpha == 1 else values * np.float32(alpha)
    biases = _own("bias", bias)[1] * np.float32(r.attribute("beta", 1.0)) if bias else None
    return _linear(r, x, values if r.attribute("transB", 0) else values.T, biases)


def _matmul(r: Reader, a: Any, b: Any) -> Value:
    if isinstance(a, Value) and not isinstance(b, Value) and b[0].ndim == 2:
        return _linear(r, a, _own("weight", b)[1].T, None)
    return r.emit("MatMul", [_operand(a), _operand(b)])


def _batch_norm(r: Reader, x: Value, *weights: Any) -> Value:
    if r.attribute("training_mode", 0):
        raise Missing("training mode")
    names = ("weight", "bias", "running_mean", "running_var")
    own: list[Any] = [_own(name, value) for name, value in zip(names, weights, strict=True)]
    if own[3][1].min() < 0:
        raise WeightsError(f"holds a negative variance at node {quote(r.proto.name)}; the file is damaged.")
    if x.rank == 4:
        value = r.emit("BatchNormalization", [x, *own], epsilon=float(r.attribute("epsilon", 1e-5)))
        r.nodes[-1].weights["num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
        return value
    own = [(name.replace("running_", "moving_"), values) for name, values in own]
    return r.emit("BatchNormalization", [x, *own], epsilon=float(r.attribute("epsilon", 1e-5)))


def _norm(r: Reader, x: Value, *weights: Any) -> Value:
    given = [_own(name, value) for name, value in zip(("weight", "bias"), weights, strict=False) if value]
    epsilon = float(r.attribute("epsilon", 1e-5))
    if r.proto.op_type in ("LayerNormalization", "RMSNormalization"):
        axis = x.axis(r.attribute("axis", -1))
        if axis == 0:
            raise Missing("the axis of the images")
        given = [(name, np.broadcast_to(values, x.shapes[0][axis:])) for name, values in given]
        return r.emit(r.proto.op_type, [x, *given], axis=axis, epsilon=epsilon)
    if r.proto.op_type == "GroupNormalization":
        groups = int(r.attribute("num_groups", 1))
        each = x.shapes[0][1] // groups
        given = [
            (name, np.repeat(values, each) if len(values) == groups != x.shapes[0][1] else values)
            for name, values in given
        ]
        return r.emit("GroupNormalization", [x, *given], groups=groups, epsilon=epsilon)
    return r.emit("InstanceNormalization", [x, *given], epsilon=epsilon)


def _lp_norm(r: Reader, x: Value) -> Value:
    axis = x.axis(r.attribute("axis", -1))
    if axis == 0:
        raise Missing("the axis of the images")
    return r.emit("LpNormalization", [x], axis=axis, p=int(r.attribute("p", 2)))


def _pool(r: Reader, x: Value) -> Value:
    _planar(x)
    kernel = [int(each) for each in r.attribute("kernel_shape")]
    strides, dilations = _pair(r, "strides"), _pair(r, "dilations")
    if len(kernel) != 2 or len(r.proto.output) > 1 and r.proto.output[1] or r.attribute("storage_order", 0):
        raise Missing("indices or other axes")
    pads, ceil = _pads(r, x, kernel, strides, dilations), bool(r.attribute("ceil_mode", 0))
    known: dict[str, Any] = {"kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations, "ceil": ceil}
    if r.proto.op_type == "LpPool":
        known["p"] = int(r.attribute("p", 2))
    if r.proto.op_type == "AveragePool":
        known["count_include_pad"] = bool(r.attribute("count_include_pad", 0))
    return r.emit(r.proto.op_type, [x], **known)


def _global(operator: str) -> Callable[..., Value]:
    def rule(r: Reader, x: Value) -> Value:
        p: dict[str, Any] = {"p": int(r.attribute("p", 2))} if operator == "ReduceLp" else {}
        return r.emit(operator, [x], axes=list(range(2, x.rank)), keepdims=True, **p)

    return rule


def _reduce(r: Reader, x: Value, *inputs: Any) -> Value:
    axes = r.setting("axes", (x, *inputs), 1)
    if not axes:
        if r.attribute("noop_with_empty_axes", 0) and r.proto.op_type[6:] in ("Max", "Mean", "Min", "Prod", "Sum"):
            return x
        raise Missing("all axes, that of the images too")
    axes = sorted(x.axis(axis) for axis in axes)
    if 0 in axes:
        raise Missing("the axis of the images")
    return r.emit(r.proto.op_type, [x], axes=axes, keepdims=bool(r.attribute("keepdims", 1)))


def _clip(r: Reader, x: Value, low: Any = None, high: Any = None) -> Value:
    ends: list[float | None] = []
    for name, given in (("min", low), ("max", high)):
        value = r.number(given) if given else r.attribute(name)
        ends.append(None if value is None or abs(value) > 3e38 else float(value))
    return x if ends == [None, None] else r.emit("Clip", [x], low=ends[0], high=ends[1])


def _softmax(r: Reader, x: Value) -> Value:
    axis = x.axis(r.attribute("axis", -1 if r.opset >= 13 else 1))
    if axis == 0:
        raise Missing("the axis of the images")
    if r.opset >= 13 or axis == x.rank - 1:
        return r.emit(r.proto.op_type, [x], axis=axis)
    # Once it went over this axis and all that follow.
    flat = r.reshape(x, lambda n: [*x.shapes[n][:axis], prod(x.shapes[n][axis:])])
    return r.reshape(r.emit(r.proto.op_type, [flat], axis=axis), lambda n: x.shapes[n])


def _concat(r: Reader, *parts: Any) -> Value:
    values = [part for part in parts if isinstance(part, Value)]
    axis = values[0].axis(r.attribute("axis"))
    if axis == 0:
        raise Missing("the axis of the images")
    if len(parts) == 1:
        return values[0]
    names = [part if isinstance(part, Value) else _own(f"value{index}", part) for index, part in enumerate(parts)]
    return r.emit("Concat", names, axis=axis)


def _slice_of(r: Reader, x: Value, axis: int, start: int, end: int) -> Value:
    return r.emit("Slice", [x], axes=[axis], starts=[start], ends=[end], steps=[1])


def _split(r: Reader, x: Value, *inputs: Any) -> list[Value]:
    axis = x.axis(r.attribute("axis", 0))
    size, count = x.shapes[0][axis], len(r.proto.output)
    step = -(-size // count)
    sizes = r.setting("split", (x, *inputs), 1) or [min(step, size - step * index) for index in range(count)]
    if axis == 0 or sum(sizes) != size:
        raise Missing("such sizes")
    ends = np.cumsum(sizes)
    return [_slice_of(r, x, axis, int(end - part), int(end)) for part, end in zip(sizes, ends, strict=True)]


def _slice(r: Reader, x: Value, *inputs: Any) -> Value:
    starts, ends = r.setting("starts", (x, *inputs), 1), r.setting("ends", (x, *inputs), 2)
    if starts is None or ends is None:
        raise Missing("no ends")
    axes = [x.axis(axis) for axis in r.setting("axes", (x, *inputs), 3) or range(len(starts))]
    steps = r.setting("steps", (x, *inputs), 4) or [1] * len(starts)
    keep = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = x.shapes[0][axis]
        if axis == 0 and not (start == 0 and step == 1 and (end < 0 or end >= max(each[0] for each in x.shapes))):
            # The first image of a file for one is each of them.
            if not (r.fixed_batch and slice(start, end, step).indices(r.fixed_batch) == (0, r.fixed_batch, 1)):
                raise Missing("the axis of the images")
        start, end, step = slice(start, end, step).indices(size)
        if axis == 0 or (start, end, step) == (0, size, 1):
            continue
        if step < 0:  # torch has no step backwards; the same values are gathered
            x = r.emit("Gather", [x], indices=list(range(start, end, step)), axis=axis)
        else:
            keep.append((axis, start, end, step))
    if not keep:
        return x
    parts = [list(part) for part in zip(*keep, strict=True)]
    return r.emit("Slice", [x], axes=parts[0], starts=parts[1], ends=parts[2], steps=parts[3])


def _gather(r: Reader, x: Any, indices: Any) -> Value:
    if not isinstance(x, Value):
        raise Missing("a table")
    axis = x.axis(r.attribute("axis", 0))
    if x.rank == 1 and not isinstance(indices, Value):  # `as_strided` of PyTorch's exporter: all values in their order
        for n, each in enumerate(indices):
            one = x.shapes[n][0] * r.fixed_batch // BATCHES[n]  # of a file for a fixed number of images
            if not any(np.array_equal(each.reshape(-1), np.arange(count)) for count in (x.shapes[n][0], one)):
                raise Missing("such indices")
        return r.reshape(x, lambda n: indices[n].shape)
    places = r.ints((indices[0].reshape(-1), indices[1].reshape(-1)))
    size = x.shapes[0][axis]
    if axis == 0 or len(places) > 8192 or not all(-size <= place < size for place in places):
        raise Missing("such indices")
    places = [place % size for place in places]
    if indices[0].ndim == 0:
        return r.emit("Select", [x], index=places[0], axis=axis)
    found = r.emit("Gather", [x], indices=places, axis=axis)
    after = indices[0].shape
    return (
        r.reshape(found, lambda n: [*x.shapes[n][:axis], *after, *x.shapes[n][axis + 1 :]]) if len(after) > 1 else found
    )


def _pad(r: Reader, x: Value, *inputs: Any) -> Value:
    pads, mode = r.setting("pads", (x, *inputs), 1), r.attribute("mode", "constant")
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    axes = [x.axis(axis) for axis in r.setting("axes", (x, *inputs), 3) or range(x.rank)]
    if pads is None or mode not in modes or len(pads) != 2 * len(axes):
        raise Missing(f"mode {mode}")
    ends = {axis: (pads[place], pads[place + len(axes)]) for place, axis in enumerate(axes)}
    if ends.get(0, (0, 0)) != (0, 0) or max(map(abs, pads)) > 4096:
        raise Missing("such pads")
    flat = [side for axis in reversed(range(1, x.rank)) for side in ends.get(axis, (0, 0))]
    while flat[-2:] == [0, 0]:
        flat = flat[:-2]
    if not flat:
        return x
    if mode != "constant" and (len(flat) > 4 or x.rank != 4):
        raise Missing(f"mode {mode} of such axes")
    flat += [0] * (4 - len(flat)) if mode != "constant" else []
    value = r.number(inputs[1]) if len(inputs) > 1 and inputs[1] else float(r.attribute("value", 0.0))
    largest = float(np.finfo(np.float32).max)  # for infinity, which no JSON holds
    return r.emit("Pad", [x], pads=flat, mode=modes[mode], value=max(-largest, min(largest, value)))


def _reshape(r: Reader, x: Value, shape: Any = None) -> Value:
    if isinstance(shape, Value):
        raise Missing("a shape that depends on the image")
    target = (np.array(r.attribute("shape")),) * 2 if not shape else shape
    return r.reshape(x, lambda n: target[n].tolist())


def _flatten(r: Reader, x: Value) -> Value:
    axis = r.attribute("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    if axis == 0:  # one image alone has nothing in front of it
        if r.fixed_batch != 1:
            raise Missing("the axis of the images")
        axis = 1
    return (
        x if x.rank == 2 and axis == 1 else r.reshape(x, lambda n: [prod(x.shapes[n][:axis]), prod(x.shapes[n][axis:])])
    )


def _squeeze(r: Reader, x: Value, *inputs: Any) -> Value:
    axes = r.setting("axes", (x, *inputs), 1)
    gone = {x.axis(axis) for axis in axes} if axes else {axis for axis in range(1, x.rank) if x.shapes[0][axis] == 1}
    return r.reshape(x, lambda n: [side for axis, side in enumerate(x.shapes[n]) if axis not in gone])


def _unsqueeze(r: Reader, x: Value, *inputs: Any) -> Value:
    axes = r.setting("axes", (x, *inputs), 1) or []
    rank = x.rank + len(axes)
    new = {axis % rank for axis in axes}

    def target(n: int) -> list[int]:
        sides = iter(x.shapes[n])
        return [1 if axis in new else next(sides) for axis in range(rank)]

    return r.reshape(x, target)


def _transpose(r: Reader, x: Value) -> Value:
    perm = [int(axis) for axis in r.attribute("perm", range(x.rank)[::-1])]
    return x if perm == sorted(perm) else r.transpose(x, perm)


def _expand(r: Reader, x: Value, shape: Any) -> Value:
    if isinstance(shape, Value):
        raise Missing("a shape that depends on the image")
    shapes = [np.broadcast_shapes(x.shapes[n], tuple(shape[n].tolist())) for n in (0, 1)]
    if shapes[0] == x.shapes[0]:
        return x
    return r.emit("Expand", [x], shape=[-1 if a != b else int(a) for a, b in zip(*shapes, strict=True)])


def _tile(r: Reader, x: Value, repeats: Any) -> Value:
    times = r.ints(repeats)
    if times[0] != 1 or len(times) != x.rank or min(times) < 1:
        raise Missing("such repeats")
    return r.emit("Tile", [x], repeats=times)


def _cast(r: Reader, x: Any, *_: Any) -> Any:
    to = r.attribute("to", TensorProto.FLOAT)
    if to == TensorProto.BOOL:
        return r.emit("Bool", [x])
    if to not in FLOATS:
        raise Missing("whole numbers")
    return x


def _dropout(r: Reader, x: Value, *inputs: Any) -> Value:
    if len(inputs) > 1 and inputs[1] and r.number(inputs[1]):
        raise Missing("training mode")
    return x


def _same(r: Reader, x: Value, *_: Any) -> Value:
    return x


def _gelu(r: Reader, x: Value) -> Value:
    return r.emit("Gelu", [x], approximate=r.attribute("approximate", "none"))


def _prelu(r: Reader, x: Value, slope: Any) -> Value:
    return r.emit("PRelu", [x, _own("weight", slope)])


def _resize(r: Reader, x: Value, *inputs: Any) -> Value:
    _planar(x)
    given = [None, *inputs] if r.opset >= 11 else [None, None, *inputs]
    axes = [axis % 4 for axis in r.attribute("axes", range(4))]
    asked = given[3] if len(given) > 3 and given[3] and given[3][0].size else given[2]
    scales, size = [1.0] * 4, list(x.shapes[0])
    for axis, value in zip(axes, asked[0].tolist(), strict=True):
        old = x.shapes[0][axis]
        if asked is given[2]:
            scales[axis], size[axis] = value, int(np.float32(old) * np.float32(value))
        elif axis > 0:
            scales[axis], size[axis] = value / old, value
    if scales[:2] != [1, 1] or not all(1 <= side <= 4096 for side in size[2:]):
        raise Missing("such a size")
    first = "half_pixel" if r.opset >= 11 else "asymmetric"
    mode, places = r.attribute("mode", "nearest"), r.attribute("coordinate_transformation_mode", first)
    rounding = r.attribute("nearest_mode", "round_prefer_floor" if r.opset >= 11 else "floor")
    antialias, known = bool(r.attribute("antialias", 0)), ("half_pixel", "pytorch_half_pixel", "align_corners")
    known_places = (*known, "asymmetric", "half_pixel_symmetric", "tf_half_pixel_for_nn")
    roundings = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    if mode not in ("nearest", "linear", "cubic") or places not in known_places or rounding not in roundings:
        raise Missing(f"{mode}, {places}, {rounding}")
    if r.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Missing("a size that keeps the aspect ratio")
    exact = all(abs(new - old * scale) < 1e-4 for new, old, scale in zip(size, x.shapes[0], scales, strict=True))
    if exact and mode == "nearest" and (places, rounding) == ("asymmetric", "floor"):
        return r.emit("Resize", [x], size=size[2:], mode="nearest", align_corners=None)
    if exact and mode == "linear" and places in known and min(size[2:]) > 1 and not antialias:
        return r.emit("Resize", [x], size=size[2:], mode="bilinear", align_corners=places == "align_corners")
    return r.emit(
        "Resize", [x], size=size[2:], scales=scales[2:], mode=mode, places=places, rounding=rounding,
        cubic=float(r.attribute("cubic_coeff_a", -0.75)), inside=bool(r.attribute("exclude_outside", 0)),
        antialias=antialias and mode != "nearest",
    )  # fmt: skip


def _lrn(r: Reader, x: Value) -> Value:
    alpha, beta, bias = r.attribute("alpha", 1e-4), r.attribute("beta", 0.75), r.attribute("bias", 1.0)
    return r.emit("LRN", [x], size=int(r.attribute("size")), alpha=float(alpha), beta=float(beta), bias=float(bias))


def _depth(r: Reader, x: Value) -> Value:
    _planar(x)
    block = int(r.attribute("blocksize"))
    if r.proto.op_type == "DepthToSpace":
        mode = r.attribute("mode", "DCR")
        if mode not in ("DCR", "CRD"):
            raise Missing(f"mode {mode}")
        return r.emit("DepthToSpace", [x], block=block, mode=mode)
    return r.emit("SpaceToDepth", [x], block=block)


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean"), _arithmetic),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "HardSwish", "Mish", "Softplus", "Softsign"), _unary()),
    **dict.fromkeys(("Sqrt", "Exp", "Log", "Erf", "Neg", "Abs", "Reciprocal"), _unary()),
    **dict.fromkeys(("Floor", "Ceil", "Round", "Sign", "Not"), _unary()),
    **dict.fromkeys(("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal", "And", "Or", "Where"), _arithmetic),
    **dict.fromkeys(("Elu", "Celu", "Swish", "ThresholdedRelu"), _unary(alpha=1.0)),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **{f"Reduce{kind}": _reduce for kind in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()},
    **{f"{kind}Normalization": _norm for kind in ("Layer", "RMS", "Instance", "Group")},
    **dict.fromkeys(("Cast", "CastLike"), _cast),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pool),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _depth),
    "LeakyRelu": _unary(alpha=0.01),
    "Selu": _unary(alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "HardSigmoid": _unary(alpha=0.2, beta=0.5),
    "Gelu": _gelu,
    "PRelu": _prelu,
    "Clip": _clip,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LRN": _lrn,
    "LpNormalization": _lp_norm,
    "Identity": _same,
    "Dropout": _dropout,
    "GlobalAveragePool": _global("ReduceMean"),
    "GlobalMaxPool": _global("ReduceMax"),
    "GlobalLpPool": _global("ReduceLp"),
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tile,
}
"""By the operator's name in ONNX. A constant operator (`Shape`, `ConstantOfShape`, `Range`, ...) needs none: it is
computed while the file is read."""
