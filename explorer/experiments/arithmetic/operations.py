"""Which function explains which operation."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from explorer.architectures.modules import (
    ACTIVATION_CLASSES,
    BothSigns,
    BranchGain,
    Crop,
    IdentityShortcut,
    ShortcutGain,
    Sum,
)
from explorer.architectures.operators import ELEMENTWISE, Operation
from explorer.experiments.arithmetic.changes import changed
from explorer.experiments.arithmetic.norms import batch_norm, group_norm, response_norm, softmax
from explorer.experiments.arithmetic.pointwise import copy, elementwise, gain
from explorer.experiments.arithmetic.step import Call, Place, Step, arguments
from explorer.experiments.arithmetic.windows import REDUCTIONS, convolution, linear, max_pool, reduction

COPIES = {*"Concat Slice Gather Select Pad Reshape Transpose Expand Tile DepthToSpace SpaceToDepth".split()}
LINEAR = {*"AveragePool ReduceMean ReduceSum Resize ConvTranspose MatMul".split()}


def is_pointwise(module: nn.Module, inputs: Sequence[str]) -> bool:
    """Whether each of its values is made of one value, at the same place, and of constants."""
    if isinstance(module, Operation):
        return module.operator in ELEMENTWISE | {"BatchNormalization"} and len(inputs) == 1
    return isinstance(module, (*ACTIVATION_CLASSES.values(), nn.BatchNorm2d, ShortcutGain, BranchGain))


def explain(call: Call, index: Place) -> Step:
    """How the call made the value of its output at `index`."""
    found: Mapping[str, Any]
    if call.change is not None:
        found = changed(call, call.change, index)
        return Step(call.layer, call.at(index), float(call.output[index]), **found, change=str(call.change))
    module = call.module
    operator = module.operator if isinstance(module, Operation) else ""
    if isinstance(module, nn.Conv2d):
        found = convolution(call, module, index)
    elif isinstance(module, nn.BatchNorm2d):
        weights = [module.weight, module.bias, module.running_mean, module.running_var]
        found = batch_norm(call, index, weights, module.eps)
    elif isinstance(module, Operation) and operator == "BatchNormalization":
        found = batch_norm(call, index, arguments(call)[1:], module.attributes["epsilon"])
    elif isinstance(module, ShortcutGain | BranchGain):
        found = gain(call, index, module)
    elif isinstance(module, nn.MaxPool2d) or operator == "MaxPool":
        found = max_pool(call, index)
    elif isinstance(module, (Sum, BothSigns, *ACTIVATION_CLASSES.values())) or operator in ELEMENTWISE:
        found = elementwise(call, index)
    elif isinstance(module, (nn.Flatten, IdentityShortcut, Crop)) or operator in COPIES:
        found = copy(call, index)
    elif operator in REDUCTIONS or operator in ("ReduceMax", "ReduceMin"):
        found = reduction(call, operator, index)
    elif operator in ("Softmax", "LogSoftmax"):
        found = softmax(call, index, operator)
    elif operator in ("InstanceNormalization", "LayerNormalization", "GroupNormalization"):
        found = group_norm(call, operator, index)
    elif operator == "LRN":
        found = response_norm(call, index)
    elif isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Linear)) or operator in LINEAR:
        found = linear(call, index)
    else:
        name = operator or type(module).__name__
        found = {"operation": name, "formula": f"{name} has no arithmetic that one line can show."}
    return Step(call.layer, call.at(index), float(call.output[index]), **found)


def probability(call: Call, index: Place, temperature: float) -> Step:
    """How softmax(logits / temperature) made a probability of the logits, the call's only input."""
    found = softmax(call, index, temperature=temperature)
    return Step(call.layer, call.at(index), float(call.output[index]), **found)
