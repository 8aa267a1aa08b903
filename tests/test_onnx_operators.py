"""Each operator of ONNX in each of its forms and versions computes what onnxruntime does, or ONNX's own reference."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from explorer.architectures import Network, describe, spec_from_dict
from explorer.tracing import EVERYTHING, trace
from explorer.weights_import.onnx_layout import graph_of
from explorer.weights_import.onnx_rules import RULES
from tests.onnx_models import model_of

OLDEST, NEWEST = 11, 26
SHAPE = (3, 7, 10)  # of the picture; "a", which forms work on, is 8×7×10
CHANNELS = np.linspace(0.5, 1.5, 8, dtype=np.float32)
NOISE = np.random.default_rng(3).normal(0, 1, 4096).astype(np.float32)


@dataclass(frozen=True)
class Form:
    """Nodes from "a" to "b", their constants, and the opsets in which they can be written so."""

    nodes: tuple[NodeProto, ...]
    constants: Mapping[str, Any] = field(default_factory=dict)
    low: int = OLDEST
    high: int = NEWEST


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def singles(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def floats(*shape: int) -> np.ndarray:
    return np.resize(NOISE, shape)


def one(operator: str, *constants: Any, low: int = OLDEST, high: int = NEWEST, **attributes: Any) -> Form:
    """One node; None among its constants is an input that is left out."""
    names = ["" if value is None else f"k{index}" for index, value in enumerate(constants)]
    given = {name: value for name, value in zip(names, constants, strict=True) if name}
    return Form((helper.make_node(operator, ["a", *names], ["b"], name="op", **attributes),), given, low, high)


def chain(*steps: tuple[Any, ...], low: int = OLDEST, high: int = NEWEST, **constants: Any) -> Form:
    """Steps (operator, inputs, output, attributes)."""
    nodes = [helper.make_node(step[0], step[1].split(), step[2].split(), **(step[3:] or ({},))[0]) for step in steps]
    return Form(tuple(nodes), constants, low, high)


PLAIN = "Abs Ceil Elu Celu Erf Exp Floor HardSigmoid Identity LeakyRelu Neg Relu Round Selu Sigmoid Sign Softplus"
PLAIN += " Softsign Tanh ThresholdedRelu"
KERNELS: dict[str, dict[str, Any]] = {
    "": {},
    "stride": {"strides": [2, 3]},
    "pads": {"pads": [1, 1, 1, 1], "strides": [2, 2]},
    "sides": {"pads": [0, 1, 2, 1]},
    "upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    "lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    "valid": {"auto_pad": "VALID", "strides": [3, 1]},
    "dilations": {"dilations": [2, 1], "pads": [2, 1, 1, 0]},
}
CEILS: dict[str, dict[str, Any]] = {
    "ceil": {"strides": [2, 2], "ceil_mode": 1},
    "ceil pads": {"strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    "ceil 3": {"strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    "ceil sides": {"strides": [2, 2], "pads": [0, 0, 1, 1], "ceil_mode": 1},
}
EMPTY = np.zeros(0, np.float32)
REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()
PLACES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")


def _forms() -> Iterator[tuple[str, Form]]:
    steps: Any
    given: Any
    chosen: Any
    pool: Any
    for operator in PLAIN.split():
        yield operator, one(operator, low=12 if operator == "Celu" else OLDEST)
    for operator, low in (("HardSwish", 14), ("Mish", 18), ("Gelu", 20), ("Swish", 24)):
        yield operator, one(operator, low=low)
    for operator in ("Elu", "Celu", "LeakyRelu", "ThresholdedRelu"):
        yield f"{operator} alpha", one(operator, alpha=0.3, low=12)
    yield "HardSigmoid alpha", one("HardSigmoid", alpha=0.3, beta=0.4)
    yield "Selu alpha", one("Selu", alpha=1.2, gamma=1.3)
    yield "Swish alpha", one("Swish", alpha=0.7, low=24)
    yield "Gelu tanh", one("Gelu", approximate="tanh", low=20)
    yield "Swish of two", chain(("Sigmoid", "a", "s"), ("Mul", "a s", "b"))
    yield "Log Sqrt", chain(("Abs", "a", "p"), ("Log", "p", "q"), ("Sqrt", "p", "r"), ("Add", "q r", "b"))
    yield "Reciprocal", chain(("Exp", "a", "p"), ("Reciprocal", "p", "b"))
    yield "PRelu", one("PRelu", CHANNELS.reshape(8, 1, 1))
    yield "PRelu one", one("PRelu", singles(0.3))
    yield "Clip", one("Clip", np.float32(-0.5), np.float32(0.7))
    yield "Clip low", one("Clip", np.float32(-0.5))
    yield "Clip high", one("Clip", None, np.float32(0.7))
    yield "Clip nothing", one("Clip")
    for axis in (1, -1, 2, None):
        for operator in ("Softmax", "LogSoftmax"):
            yield f"{operator} {axis}", one(operator, **({} if axis is None else {"axis": axis}))
    for operator in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        yield f"{operator} channels", one(operator, CHANNELS.reshape(8, 1, 1))
        yield f"{operator} number", one(operator, np.float32(0.3))
        yield f"{operator} from", chain((operator, "k a", "b"), k=singles(1.5))
        yield f"{operator} from channels", chain((operator, "k a", "b"), k=CHANNELS.reshape(1, 8, 1, 1))
        yield f"{operator} two", chain(("Relu", "a", "p"), ("Exp", "a", "q"), (operator, "p q", "b"))
        yield f"{operator} same", chain((operator, "a a", "b"))
        yield f"{operator} wider", chain(("GlobalAveragePool", "a", "p"), (operator, "p a", "b"))
    for operator in ("Max", "Min", "Sum", "Mean"):
        three = (("Neg", "a", "p"), (operator, "a p k", "b"))
        yield f"{operator} three", chain(*three, k=CHANNELS.reshape(8, 1, 1))
        yield f"{operator} alone", chain((operator, "a", "b"))
    yield "Pow", one("Pow", np.float32(2))
    yield "Pow whole", one("Pow", np.int64(3), low=12)
    yield "Pow from", chain(("Pow", "k a", "b"), k=np.float32(1.5))
    for operator in ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"):
        low = 12 if "Or" in operator else OLDEST
        steps = (("Relu", "a", "p"), (operator, "p k", "c"), ("Where", "c a k", "b"))
        yield f"{operator} Where", chain(*steps, low=low, k=np.float32(0))
        steps = (("Relu", "a", "p"), (operator, "a p", "c"), ("Cast", "c", "d", {"to": 1}), ("Mul", "d a", "b"))
        yield f"{operator} Cast", chain(*steps, low=low)
    logic = (("Greater", "a k", "p"), ("Less", "a l", "q"), ("And", "p q", "r"), ("Not", "r", "s"), ("Or", "s p", "c"))
    yield "Logic", chain(*logic, ("Where", "c k a", "b"), k=np.float32(0), l=np.float32(1))
    yield "Where constant", chain(("Where", "c a k", "b"), c=np.arange(8).reshape(8, 1, 1) > 3, k=np.float32(2))
    yield "Cast", one("Cast", to=TensorProto.FLOAT)
    yield "Cast double", chain(("Cast", "a", "p", {"to": 11}), ("Exp", "p", "q"), ("Cast", "q", "b", {"to": 1}))
    yield "Cast bool", chain(("Relu", "a", "p"), ("Cast", "p", "q", {"to": 9}), ("Cast", "q", "b", {"to": 1}))
    yield "CastLike", chain(("CastLike", "a k", "b"), low=15, k=np.float32(1))
    yield "CastLike constant", chain(("CastLike", "k a", "p"), ("Mul", "p a", "b"), low=15, k=np.int64(3))
    yield "Dropout", one("Dropout")
    yield "Dropout ratio", one("Dropout", np.float32(0.3), low=12)
    yield "Dropout off", one("Dropout", np.float32(0.3), np.array(False), low=12)
    # Windows.
    kernel, bias = floats(8, 2, 3, 3), CHANNELS
    for name, sides in KERNELS.items():
        yield f"Conv {name}", one("Conv", kernel, bias, group=4, **sides)
        yield f"MaxPool {name}", one("MaxPool", kernel_shape=[3, 3], **sides)
        low = 19 if name == "dilations" else OLDEST
        for counted in (0, 1):
            pool = {"kernel_shape": [3, 2], "count_include_pad": counted, **sides}
            yield f"AveragePool {name} {counted}", one("AveragePool", low=low, **pool)
        yield f"LpPool {name}", one("LpPool", kernel_shape=[3, 3], p=3, low=18 if name == "dilations" else 11, **sides)
        if name not in ("upper", "lower"):
            yield f"ConvTranspose {name}", one("ConvTranspose", kernel, bias, group=4, **sides)
    for name, sides in CEILS.items():
        yield f"MaxPool {name}", one("MaxPool", kernel_shape=[3, 3], **sides)
        for counted in (0, 1):
            pool = {"kernel_shape": [3, 3], "count_include_pad": counted, **sides}
            yield f"AveragePool {name} {counted}", one("AveragePool", low=19, **pool)
    yield "Conv plain", one("Conv", floats(4, 8, 2, 3), kernel_shape=[2, 3])
    yield "Conv depthwise", one("Conv", floats(16, 1, 3, 3), group=8)
    yield "MaxPool large", one("MaxPool", kernel_shape=[5, 5], pads=[4, 4, 4, 4])
    yield "ConvTranspose out", one("ConvTranspose", kernel, strides=[2, 2], output_padding=[1, 0], group=4)
    yield "ConvTranspose shape", one("ConvTranspose", kernel, strides=[2, 2], output_shape=[14, 21], group=4)
    for auto in ("SAME_UPPER", "SAME_LOWER"):
        yield f"ConvTranspose {auto}", one("ConvTranspose", kernel, strides=[2, 2], auto_pad=auto, group=4)
    lines = ("Reshape", "a m", "p"), ("Conv", "p k l", "q", {"pads": [1, 1]}), ("Reshape", "q n", "b")
    yield "Conv lines", chain(*lines, m=ints(0, 8, 70), n=ints(0, 5, 7, 10), k=floats(5, 8, 3), l=floats(5))
    # Norms.
    statistics = (CHANNELS, CHANNELS - 1, CHANNELS / 2, CHANNELS)
    yield "BatchNormalization", one("BatchNormalization", *statistics)
    yield "BatchNormalization epsilon", one("BatchNormalization", *statistics, epsilon=1e-3, momentum=0.1)
    flat = (("GlobalAveragePool", "a", "p"), ("Flatten", "p", "q"), ("BatchNormalization", "q k l l k", "b"))
    yield "BatchNormalization flat", chain(*flat, k=CHANNELS, l=CHANNELS - 1)
    yield "InstanceNormalization", one("InstanceNormalization", CHANNELS, CHANNELS, epsilon=1e-3)
    groups = ("Reshape", "a m", "p"), ("InstanceNormalization", "p k l", "q"), ("Reshape", "q n", "b")
    old: Any = {"m": ints(0, 4, -1), "n": ints(0, 8, 7, 10), "k": CHANNELS[:4], "l": CHANNELS[:4]}
    yield "GroupNormalization old", chain(*groups, **old)
    yield "GroupNormalization 18", one("GroupNormalization", CHANNELS[:4], CHANNELS[:4], num_groups=4, low=18, high=20)
    yield "GroupNormalization", one("GroupNormalization", CHANNELS, CHANNELS - 1, num_groups=2, epsilon=1e-3, low=21)
    yield "LayerNormalization", one("LayerNormalization", floats(10), low=17)
    yield "LayerNormalization bias", one("LayerNormalization", floats(7, 10), floats(7, 10), axis=-2, low=17)
    yield "LayerNormalization all", one("LayerNormalization", floats(8, 7, 10), axis=1, epsilon=1e-2, low=17)
    yield "RMSNormalization", one("RMSNormalization", floats(10), low=23)
    for size in (3, 5):  # onnxruntime refuses even ones, and ONNX's reference is wrong for any
        yield f"LRN {size}", one("LRN", size=size, alpha=0.1, beta=0.6, bias=1.5)
    for p in (1, 2):
        yield f"LpNormalization {p}", one("LpNormalization", p=p, axis=1)
    yield "LpNormalization", one("LpNormalization")
    # Reductions.
    for operator in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        yield operator, one(operator, high=21 if operator == "GlobalLpPool" else NEWEST)
    yield "GlobalLpPool 3", one("GlobalLpPool", p=3, high=21)
    for kind in REDUCTIONS:
        operator, since = f"Reduce{kind}", 13 if kind == "Sum" else 18
        start = (("Abs", "a", "p"),)
        for axes in ([2, 3], [-1], [1, -2]):
            for keeps in (0, 1):
                given = {"axes": axes, "keepdims": keeps}
                yield f"{operator} {axes} {keeps} old", chain(*start, (operator, "p", "b", given), high=since - 1)
                step = (operator, "p k", "b", {"keepdims": keeps})
                yield f"{operator} {axes} {keeps}", chain(*start, step, low=since, k=ints(*axes))
        if kind in ("Max", "Mean", "Min", "Prod", "Sum"):
            yield f"{operator} nothing", one(operator, low=since, noop_with_empty_axes=1)
            yield f"{operator} empty", one(operator, ints(), low=since, noop_with_empty_axes=1)
    # Shapes.
    for axis in (1, -1):
        tail = floats(*(1 if each == axis % 4 else side for each, side in enumerate((1, 8, 7, 10))))
        join = ("Concat", "a p", "b", {"axis": axis})
        yield f"Concat {axis}", chain(("Neg", "a", "p"), join)
        once = ("Concat", "a k", "b", {"axis": axis})
        yield f"Concat constant {axis}", chain(("Shape", "a", "s"), ("Slice", "s z o", "n"), ("Concat", "n t", "m", {"axis": 0}), ("Expand", "c m", "k"), once, z=ints(0), o=ints(1), t=ints(*tail.shape[1:]), c=tail)  # fmt: skip # noqa: E501
    yield "Concat alone", one("Concat", axis=1)
    halves = ("Concat", "q p", "b", {"axis": 1})
    yield "Split old", chain(("Split", "a", "p q", {"axis": 1, "split": [3, 5]}), halves, high=12)
    yield "Split even", chain(("Split", "a", "p q", {"axis": 1}), halves, high=17)
    yield "Split sizes", chain(("Split", "a k", "p q", {"axis": -3}), halves, low=13, k=ints(3, 5))
    thirds = ("Concat", "r p q", "b", {"axis": 1})
    yield "Split uneven", chain(("Split", "a", "p q r", {"axis": 1, "num_outputs": 3}), thirds, low=18)
    yield "Slice", one("Slice", ints(1, 2), ints(6, 100), ints(1, -1))
    yield "Slice steps", one("Slice", ints(1, -9), ints(-1, 2**62), ints(2, 3), ints(2, 3))
    yield "Slice all", one("Slice", ints(0, 1, 2, 3), ints(2**31, 7, 6, -1))
    yield "Slice back", one("Slice", ints(-1), ints(-(2**62)), ints(2), ints(-2))
    yield "Slice back some", one("Slice", ints(5, 8), ints(1, 3), ints(1, 3), ints(-1, -2))
    yield "Gather", one("Gather", ints(7, 6, -3, 4, 0, 0), axis=1)
    yield "Gather table", one("Gather", ints(7, 6, -3, 4, 0, 0).reshape(2, 3), axis=-3)
    for axis in (1, 2, -1):
        yield f"Gather one {axis}", one("Gather", np.int64(-2), axis=axis)
    yield "Pad", one("Pad", ints(0, 0, 1, 2, 0, 1, 0, 3), np.float32(0.5))
    yield "Pad crop", one("Pad", ints(0, 0, -1, 2, 0, 0, 0, -3))
    yield "Pad none", one("Pad", ints(0, 0, 0, 0, 0, 0, 0, 0))
    yield "Pad axes", one("Pad", ints(1, 2, 3, 4), None, ints(-1, 2), low=18)
    yield "Pad infinite", chain(
        ("Pad", "a k v", "p"), ("MaxPool", "p", "b", {"kernel_shape": [3, 3]}),
        k=ints(0, 0, 1, 1, 0, 0, 1, 1), v=np.float32(-np.inf),
    )  # fmt: skip
    for mode, low in (("reflect", OLDEST), ("edge", OLDEST), ("wrap", 19)):
        yield f"Pad {mode}", one("Pad", ints(0, 0, 1, 2, 0, 0, 2, 3), mode=mode, low=low)
    back = ("Reshape", "q l", "b")
    mixed = (("Reshape", "a k", "p"), ("Transpose", "p", "q", {"perm": [0, 2, 1, 3, 4]}), back)
    yield "Reshape", chain(*mixed, k=ints(0, 2, 4, 7, 10), l=ints(-1, 8, 7, 10))
    yield "Reshape zeros", chain(("Reshape", "a k", "b", {"allowzero": 1}), low=14, k=ints(-1, 560))
    rows = (("Reshape", "a k", "p"), ("Softmax", "p", "q", {"axis": 1}), back)
    yield "Reshape rows", chain(*rows, k=ints(-1, 70), l=ints(-1, 8, 7, 10))
    yield "Reshape rows 3", chain(*rows, k=ints(-1, 7, 10), l=ints(-1, 8, 7, 10))
    shaped = (("Shape", "a", "s"), ("Gather", "s i", "n"), ("Concat", "n k", "t", {"axis": 0}))
    yield "Shape", chain(*shaped, ("Reshape", "a t", "p"), ("Reshape", "p s", "b"), i=ints(0), k=ints(4, 2, 70))
    part = ("Shape", "a", "s", {"start": 1, "end": -1})
    yield (
        "Shape part",
        chain(part, ("Cast", "s", "t", {"to": 1}), ("ReduceMean", "t", "m"), ("Mul", "a m", "b"), low=15),
    )
    sized = (("Size", "a", "s"), ("Shape", "a", "t"), ("Gather", "t i", "n"), ("Div", "s n", "m"))
    yield "Size", chain(*sized, ("Cast", "m", "g", {"to": 1}), ("Div", "a g", "b"), i=np.int64(0))
    yield "ConstantOfShape", chain(("Shape", "a", "s"), ("ConstantOfShape", "s", "z"), ("Add", "a z", "b"))
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [2.0])
    yield "ConstantOfShape value", chain(("ConstantOfShape", "k", "z", {"value": value}), ("Mul", "a z", "b"), k=ints(8, 1, 1))  # fmt: skip # noqa: E501
    ranged = (("Range", "i j k", "r"), ("Cast", "r", "s", {"to": 1}), ("Mul", "a s", "b"))
    yield "Range", chain(*ranged, i=np.int64(0), j=np.int64(10), k=np.int64(1))
    yield "Constant", chain(("Constant", "", "k", {"value_float": 1.5}), ("Mul", "a k", "b"), low=12)
    yield "Constant list", chain(("Constant", "", "k", {"value_ints": [0, 560]}), ("Reshape", "a k", "b"), low=12)
    mean = ("ReduceMean", "a", "p", {"axes": [1]})
    yield "Expand", chain(mean, ("Expand", "p k", "b"), high=17, k=ints(1, 8, 1, 1))
    yield "Expand rank", chain(("GlobalAveragePool", "a", "p"), ("Expand", "p k", "b"), k=ints(3, 1))
    yield "Tile", one("Tile", ints(1, 2, 1, 3))
    squeezed = ("GlobalAveragePool", "a", "p")
    yield "Squeeze old", chain(squeezed, ("Squeeze", "p", "q", {"axes": [2, -1]}), ("Unsqueeze", "q", "b", {"axes": [1, -1]}), high=12)  # fmt: skip # noqa: E501
    yield "Squeeze", chain(squeezed, ("Squeeze", "p k", "q"), ("Unsqueeze", "q l", "b"), low=13, k=ints(2, -1), l=ints(1, -1))  # fmt: skip # noqa: E501
    yield "Squeeze all", chain(squeezed, ("Squeeze", "p", "b"))
    yield "Flatten", one("Flatten")
    yield "Flatten -3", one("Flatten", axis=-3)
    yield "Flatten 2", chain(("Flatten", "a", "p", {"axis": 2}), ("Softmax", "p", "q", {"axis": 1}), ("Reshape", "q l", "b"), l=ints(-1, 8, 70))  # fmt: skip # noqa: E501
    swapped = ("Transpose", "a", "p", {"perm": [0, 2, 3, 1]})
    yield "Transpose", chain(swapped, ("MatMul", "p k", "b"), k=floats(8, 5))
    yield "Transpose twice", chain(swapped, ("Transpose", "p", "b", {"perm": [0, 3, 1, 2]}))
    yield "Transpose mean", chain(swapped, ("ReduceMean", "p", "b", {"axes": [-2, -3], "keepdims": 0}), high=17)
    yield "MatMul both", chain(("Transpose", "a", "p", {"perm": [0, 1, 3, 2]}), ("MatMul", "a p", "b"))
    yield "MatMul left", chain(("MatMul", "k a", "b"), k=floats(5, 7))
    yield "MatMul stack", one("MatMul", floats(8, 10, 3))
    yield "MatMul line", one("MatMul", floats(10))
    pooled = (("GlobalAveragePool", "a", "p"), ("Flatten", "p", "q"))
    for name, options in (("", {}), ("B", {"transB": 1}), ("alpha", {"alpha": 0.5, "beta": 2.0, "transB": 1})):
        weight = floats(8, 5) if not options else floats(5, 8)
        yield f"Gemm {name}", chain(*pooled, ("Gemm", "q k l", "b", options), k=weight, l=floats(5))
        yield f"Gemm {name} row", chain(*pooled, ("Gemm", "q k l", "b", options), k=weight, l=floats(1, 1))
        yield f"Gemm {name} alone", chain(*pooled, ("Gemm", "q k", "b", options), k=weight)
    for mode in ("DCR", "CRD"):
        yield f"DepthToSpace {mode}", one("DepthToSpace", blocksize=2, mode=mode)
    yield "SpaceToDepth", chain(("Slice", "a s e i", "p"), ("SpaceToDepth", "p", "b", {"blocksize": 2}), s=ints(1), e=ints(7), i=ints(2))  # fmt: skip # noqa: E501
    # Resize.
    for place in PLACES:
        low = 19 if place == "half_pixel_symmetric" else OLDEST
        for mode in ("linear", "cubic"):
            chosen = {"mode": mode, "coordinate_transformation_mode": place}
            known = (("Shape", "a", "s"), ("Slice", "s i j", "t"), ("Concat", "t z", "u", {"axis": 0}))
            steps = (*known, ("Resize", "a k k u", "b", chosen))
            given = {"i": ints(0), "j": ints(2), "z": ints(9, 5), "k": EMPTY}
            yield f"Resize {mode} {place} size", chain(*steps, low=low, **given)
            scales = singles(1, 1, 1.5, 0.75)
            yield f"Resize {mode} {place}", one("Resize", EMPTY, scales, low=low, **chosen)
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
            chosen = {"mode": "nearest", "coordinate_transformation_mode": place, "nearest_mode": rounding}
            yield f"Resize {place} {rounding}", one("Resize", EMPTY, singles(1, 1, 1.5, 0.75), low=low, **chosen)
            yield f"Resize {place} {rounding} twice", one("Resize", EMPTY, singles(1, 1, 2, 2), low=low, **chosen)
    yield "Resize bare", one("Resize", None, singles(1, 1, 2, 2), mode="linear", low=13)
    yield "Resize cubic", one("Resize", EMPTY, singles(1, 1, 2, 2), mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1)  # fmt: skip # noqa: E501
    for mode in ("linear", "cubic"):
        shrunk: Any = {"mode": mode, "antialias": 1, "low": 18}
        yield f"Resize {mode} antialias", one("Resize", EMPTY, singles(1, 1, 0.5, 0.45), **shrunk)
    yield "Resize axes", one("Resize", None, None, ints(12, 5), mode="linear", axes=[3, 2], low=18)
    yield "Upsample", chain(("Upsample", "a k", "b", {"mode": "nearest"}), low=9, high=9, k=singles(1, 1, 2, 2))


FORMS = dict(_forms())


def model(form: Form, opset: int, features: int) -> onnx.ModelProto:
    """The form behind a convolution, and in front of a fully connected layer that sees each of its values."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="first"),
        *form.nodes,
        helper.make_node("Flatten", ["b"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "f"], ["y"], name="fc"),
    ]
    weights = {"w": floats(8, 3, 1, 1) + 0.1, "f": np.random.default_rng(7).normal(0, 1, (features, 4))}
    return model_of(
        nodes, weights | dict(form.constants) | {"f": weights["f"].astype(np.float32)}, ("batch", *SHAPE), opset=opset
    )


def values_of(form: Form, opset: int) -> int:
    """How many values "b" has for one picture."""
    whole = model(form, opset, 1)
    del whole.graph.node[-2:], whole.graph.output[:]
    whole.graph.output.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, None))
    return expected(whole, np.zeros((1, *SHAPE), np.float32)).size


def expected(whole: onnx.ModelProto, batch: np.ndarray) -> np.ndarray:
    """By onnxruntime, or where it does not know so new an operator, by the reference of ONNX."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(whole.SerializeToString(), options)
    except Exception as error:  # of onnxruntime, whose kinds have no common parent
        assert any(text in str(error) for text in ("NOT_IMPLEMENTED", "only *guarantees* support", "size_ % 2")), error
        (found,) = ReferenceEvaluator(whole).run(None, {"x": batch})
        return np.asarray(found)
    return np.asarray(session.run(None, {"x": batch})[0])


@pytest.mark.parametrize("name", FORMS)
def test_an_operator_computes_what_onnxruntime_does(name: str) -> None:
    form = FORMS[name]
    batch = np.random.default_rng(0).normal(0, 1, (2, *SHAPE)).astype(np.float32)
    for opset in {form.low, form.high}:
        features = values_of(form, opset)
        whole = model(form, opset, features)
        wanted = expected(whole, batch)
        facts, state = graph_of(whole.SerializeToString())
        network = Network.of(spec_from_dict(facts["spec"]))
        network.load_state_dict(state, assign=True)
        with torch.no_grad():
            found = network.freeze()(torch.from_numpy(batch)).numpy()
        assert found.shape == wanted.shape and np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max(), opset
    describe(network.spec)
    assert all(np.isfinite(layer.gradient).all() for layer in trace(network, batch[0], kinds=EVERYTHING).layers)


def test_every_rule_is_asked_and_every_operation_made() -> None:
    asked = {node.op_type for form in FORMS.values() for node in form.nodes}
    assert set(RULES) <= asked | {"Upsample"}
