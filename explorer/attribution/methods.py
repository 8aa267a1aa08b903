"""The methods of attribution: what each shows, its parameters, and its cost."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from explorer.architectures import ArchitectureSpec, describe
from explorer.architectures.fields import check_number
from explorer.architectures.graph import GraphNode, GraphSpec
from explorer.architectures.operators import has_even_margins
from explorer.tracing import STRIP_KINDS

Value = int | float | str


@dataclass(frozen=True)
class Parameter:
    """One field of a method's form, with its `meaning` in one sentence.

    Text is one of `choices`; a number lies from `low` to `high` and is whole where `default` is an int.
    """

    name: str
    title: str
    meaning: str
    default: Value
    low: int | float = 0
    high: int | float = 0
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """A method, and in one sentence what it `shows`.

    `fold` says how `as_map` makes (C, H, W) one map: the "sum" over channels, signed; the "largest" absolute value,
    >= 0; the "mean", signed; "single" where there is one map for all channels, >= 0. `captum` names the class of
    `captum.attr` that does the whole work, where there is one.
    """

    title: str
    shows: str
    fold: Literal["sum", "largest", "mean", "single"]
    captum: str | None = None

    @property
    def signed(self) -> bool:
        """Whether its map holds evidence against the class too."""
        return self.fold in ("sum", "mean")


METHODS: dict[str, Method] = {
    "integrated_gradients": Method(
        "Integrated Gradients",
        "How much of the score each pixel contributes on the straight path from an image without content to this "
        "one. All pixels together make up the whole difference (Sundararajan et al. 2017).",
        "sum",
    ),
    "smoothgrad": Method(
        "SmoothGrad",
        "How strongly the score reacts to each pixel, averaged over noisy copies of the image, so that what "
        "only flickers cancels out (Smilkov et al. 2017).",
        "largest",
    ),
    "guided_backprop": Method(
        "Guided Backprop",
        "The gradient with everything negative removed at each ReLU on the way back. It shows fine edges, but "
        "nearly the same ones for every class (Springenberg et al. 2015).",
        "largest",
        captum="GuidedBackprop",
    ),
    "guided_grad_cam": Method(
        "Guided Grad-CAM",
        "The fine edges of Guided Backprop, kept only where Grad-CAM of one layer sees evidence for the target "
        "(Selvaraju et al. 2017).",
        "largest",
    ),
    "occlusion": Method(
        "Occlusion",
        "How much the score falls when a window over the pixel is covered: no gradient, the network simply "
        "predicts again (Zeiler and Fergus 2014).",
        "mean",
    ),
    "input_x_gradient": Method(
        "Input × gradient",
        "Each pixel's value, measured from the data's mean, times its gradient: what it would contribute if the "
        "network were linear (Shrikumar et al. 2016).",
        "sum",
        captum="InputXGradient",
    ),
    "deep_lift": Method(
        "DeepLIFT",
        "How much of the score's difference from an image without content each pixel accounts for. Each activation "
        "passes its difference back in proportion, not by the slope (Shrikumar et al. 2017).",
        "sum",
    ),
    "grad_cam_pp": Method(
        "Grad-CAM++",
        "Grad-CAM of a layer with other channel weights: only gradients that support the class count, and places of "
        "several objects count alike (Chattopadhay et al. 2018).",
        "single",
    ),
    "layer_cam": Method(
        "LayerCAM",
        "The feature maps of a layer, each pixel weighed by its own positive gradient, so that early layers keep their "
        "detail (Jiang et al. 2021).",
        "single",
    ),
    "score_cam": Method(
        "Score-CAM",
        "The feature maps of a layer, each weighed by the score of the image that it masks: no gradient takes part "
        "(Wang et al. 2020).",
        "single",
    ),
    "eigen_cam": Method(
        "Eigen-CAM",
        "The pattern that the feature maps of a layer share most: their first principal component. It is the same for "
        "every class (Muhammad and Yeasin 2020).",
        "single",
    ),
    "rise": Method(
        "RISE",
        "The mean probability of the class over random masks that leave the pixel visible: the network only predicts "
        "(Petsiuk et al. 2018).",
        "single",
    ),
}

LAYERED = frozenset({"guided_grad_cam", "grad_cam_pp", "layer_cam", "score_cam", "eigen_cam"})
"""Methods whose only parameter is a layer with feature maps."""

BASELINES = ("mean", "blur")
_BASELINE = Parameter(
    "baseline",
    "Baseline",
    "What stands for 'nothing there': the mean colour of the training data, or this image heavily blurred.",
    "mean",
    choices=BASELINES,
)


def parameters_of(method: str, spec: ArchitectureSpec) -> tuple[Parameter, ...]:
    """The parameters, with defaults and ranges for networks of this spec. Raises ValueError for an unknown method."""
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, received {method!r}.")
    if method == "integrated_gradients":
        meaning = "How many images on the way are evaluated: more come closer to the exact sum."
        return Parameter("steps", "Steps", meaning, 50, 2, 300), _BASELINE
    if method == "smoothgrad":
        samples = "How many noisy copies are averaged: more are smoother."
        noise = "Standard deviation of the noise, as a share of the distance from the darkest to the brightest value."
        return (
            Parameter("samples", "Samples", samples, 50, 2, 300),
            Parameter("noise", "Noise", noise, 0.15, 0.01, 0.5),
        )
    if method in LAYERED:
        layers = [
            layer
            for layer in describe(spec).layers
            if layer.kind in STRIP_KINDS and len(layer.output_shape) == 3 and math.prod(layer.output_shape[1:]) > 1
        ]
        names = tuple(layer.name for layer in layers)
        map_of = "Grad-CAM marks the place" if method == "guided_grad_cam" else "feature maps are weighed"
        meaning = f"The layer whose {map_of}: late ones know classes best, early ones see most sharply."
        return (Parameter("layer", "Layer", meaning, names[-1], choices=names),) if names else ()
    if method == "deep_lift":
        return (_BASELINE,)
    if method == "rise":
        masks = "How many random masks are averaged: fewer leave more noise in the map."
        cells = "Cells of a mask's grid each way: more mark smaller places and need more masks."
        kept = "The share of each image that stays visible."
        side = min(spec.input_shape[1:])
        return (
            Parameter("masks", "Masks", masks, 500, 20, 8000),
            Parameter("cells", "Cells", cells, min(7, side), 1, min(16, side)),
            Parameter("kept", "Visible", kept, 0.5, 0.1, 0.9),
        )
    if method == "occlusion":
        side = min(spec.input_shape[1:])
        window = max(1, side // 4)
        size = "Side of the square that is covered, in pixels: small ones are sharp, large ones also hide whole parts."
        stride = "Pixels from one window to the next, at most the window: half the stride takes four times as long."
        return (
            Parameter("window", "Window", size, window, 1, side),
            Parameter("stride", "Stride", stride, max(1, window // 2), 1, side),
            _BASELINE,
        )
    return ()


def note(method: str, spec: ArchitectureSpec) -> str | None:
    """A caveat on this method's maps for networks of this spec, in one sentence, or None."""
    if method == "eigen_cam":
        return "The map does not depend on the explained class: it shows what stands out to this layer."
    if method == "rise":
        return "No value is 0 here: a place that does not matter has the mean probability of all masked images."
    if not method.startswith("guided") or spec.activation == "relu":
        return None
    plain = "the plain gradient" if method == "guided_backprop" else "Grad-CAM times the plain gradient"
    return f"This network's activation is {spec.activation_name}, and only ReLU can be guided: this map is {plain}."


def without_rule(spec: ArchitectureSpec) -> str:
    """The operation of a network for which DeepLIFT has no rule, in the user's words; "" where each has one.

    Differences pass through linear operations as gradients do. Of the others Captum has rules for these activations,
    and for max pooling; a network from an ONNX file has only ReLU and max pooling as torch's own modules.
    """
    if isinstance(spec, GraphSpec):
        return next((node.operator for node in spec.nodes if not _has_rule(node)), "")
    return "" if spec.activation in _RESCALED else spec.activation_name


_RESCALED = frozenset({"relu", "leaky_relu", "elu", "tanh", "sigmoid"})
_PASSED_ON = frozenset(
    "Add Sub Conv ConvTranspose Linear Relu Flatten Residual BothSigns Sum Mean Neg BatchNormalization".split()
    + "AveragePool ReduceMean ReduceSum Concat Slice Select Pad Reshape Transpose Expand Tile Resize".split()
    + ["DepthToSpace", "SpaceToDepth"]
)
_LINEAR_IN_ONE = frozenset({"Mul", "Div", "MatMul"})
"""Linear where only one factor depends on the picture."""


def _has_rule(node: GraphNode) -> bool:
    if node.operator == "MaxPool":
        return simple_max_pool(node.attributes)
    if node.operator == "Div" and node.inputs[0] not in node.tensors:
        return False
    return node.operator in _PASSED_ON or (node.operator in _LINEAR_IN_ONE and len(node.tensors) == 1)


def simple_max_pool(attributes: Mapping[str, Any]) -> bool:
    """Whether torch's own module computes this max pooling: equal margins on opposite sides, no dilation."""
    is_even = has_even_margins(attributes["kernel"], attributes["pads"])
    return is_even and list(attributes["dilations"]) == [1, 1] and not attributes["ceil"]


@dataclass(frozen=True)
class Cost:
    """Passes of pictures forward, and of scores back, which take about as long with frozen parameters."""

    forward: int
    backward: int

    @property
    def passes(self) -> int:
        return self.forward + self.backward


def cost(method: str, spec: ArchitectureSpec, parameters: Mapping[str, Value] = MappingProxyType({})) -> Cost:
    """The passes that `explain` takes."""
    chosen = checked(method, spec, parameters)
    if method == "integrated_gradients":
        return Cost(int(chosen["steps"]) + 2, int(chosen["steps"]))  # the score at both ends
    if method == "smoothgrad":
        return Cost(int(chosen["samples"]), int(chosen["samples"]))
    if method == "occlusion":
        return Cost(1 + len(windows_of(spec.input_shape, int(chosen["window"]), int(chosen["stride"]))), 0)
    if method == "rise":
        return Cost(int(chosen["masks"]), 0)
    if method == "score_cam":
        channels = next(each.output_shape[0] for each in describe(spec).layers if each.name == chosen["layer"])
        return Cost(1 + channels, 1)
    if method == "deep_lift":  # the picture and the baseline; both once more for their scores
        return Cost(4, 2)
    return Cost(2, 2) if method == "guided_grad_cam" else Cost(1, 1)


def checked(method: str, spec: ArchitectureSpec, parameters: Mapping[str, Value]) -> dict[str, Value]:
    """Every parameter of the method: the given ones, and the defaults of the others."""
    known = {parameter.name: parameter for parameter in parameters_of(method, spec)}
    if method in LAYERED and not known:
        raise ValueError(f"`{method}` needs a layer with feature maps, this network has none; choose another.")
    if method == "deep_lift" and (reason := without_rule(spec)):
        raise ValueError(f"DeepLIFT has no rule for {reason}, which {spec.name} has; choose another method.")
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(f"`{name}` is no parameter of {method}; it takes {', '.join(known) or 'none'}.")
        parameter = known[name]
        if parameter.choices:
            if value not in parameter.choices:
                raise ValueError(f"`{name}` must be one of {', '.join(parameter.choices)}, received {value!r}.")
            continue
        check_number(name, value, parameter.low, parameter.high)
    chosen = {name: parameters.get(name, parameter.default) for name, parameter in known.items()}
    if method == "occlusion" and chosen["stride"] > chosen["window"]:  # type: ignore[operator]
        raise ValueError(
            f"`stride` must be at most the `window` of {chosen['window']} pixels, or pixels between the windows are "
            f"never covered, received {chosen['stride']}; make it smaller."
        )
    return chosen


Window = tuple[slice, slice]


def windows_of(shape: tuple[int, ...], window: int, stride: int) -> list[Window]:
    """Rows and columns of every window of the occlusion of a picture of `shape` (C, H, W); the edge may cut the last of
    a row, as in Captum."""
    rows, columns = (range(0, math.ceil((side - window) / stride) * stride + 1, stride) for side in shape[1:])
    return [(slice(top, top + window), slice(left, left + window)) for top in rows for left in columns]
