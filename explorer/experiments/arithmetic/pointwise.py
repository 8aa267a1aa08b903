"""Operations on single numbers: activations, sums, copies."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explorer.architectures.modules import BothSigns, BranchGain, IdentityShortcut, ShortcutGain, Sum
from explorer.architectures.operators import OWN, Operation
from explorer.experiments.arithmetic.step import Call, Place, Term, arguments, broadcast

FORMULAS = {
    "ReLU": "max(0, x): what is below 0 becomes 0.",
    "LeakyReLU": "x where x > 0, else {negative_slope:g} · x.",
    "ELU": "x where x > 0, else {alpha:g} · (exp(x) − 1).",
    "GELU": "x · Φ(x), with Φ the cumulative normal distribution.",
    "SiLU": "x / (1 + exp(−x)).",
    "Tanh": "tanh(x), between −1 and 1.",
    "Sigmoid": "1 / (1 + exp(−x)), between 0 and 1.",
    "Add": "a + b.",
    "Sub": "a − b.",
    "Mul": "a · b.",
    "Div": "a / b.",
    "Pow": "a to the power b.",
    "Max": "The larger one.",
    "Min": "The smaller one.",
    "Sum": "Their sum.",
    "Mean": "Their mean.",
    "Sqrt": "√x.",
    "Exp": "exp(x).",
    "Log": "The natural logarithm of x.",
    "Erf": "The error function of x.",
    "Neg": "−x.",
    "Abs": "|x|.",
    "Reciprocal": "1 / x.",
    "LeakyRelu": "x where x > 0, else {alpha:g} · x.",
    "PRelu": "a where a > 0, else a · b, with b the slope of its channel.",
    "Elu": "x where x > 0, else {alpha:g} · (exp(x) − 1).",
    "Celu": "x where x > 0, else {alpha:g} · (exp(x / {alpha:g}) − 1).",
    "Selu": "1.0507 · x where x > 0, else 1.7581 · (exp(x) − 1).",
    "Gelu": "x · Φ(x), with Φ the cumulative normal distribution ({approximate}).",
    "HardSigmoid": "{alpha:g} · x + {beta:g}, cut to 0 … 1.",
    "HardSwish": "x · (x / 6 + 1/2), with the bracket cut to 0 … 1.",
    "Swish": "x / (1 + exp(−{alpha:g} · x)).",
    "Mish": "x · tanh(log(1 + exp(x))).",
    "Softplus": "log(1 + exp(x)).",
    "Softsign": "x / (1 + |x|).",
    "ThresholdedRelu": "x where x > {alpha:g}, else 0.",
    "Floor": "The largest whole number that is not above x.",
    "Ceil": "The smallest whole number that is not below x.",
    "Round": "The nearest whole number, the even one of two.",
    "Sign": "−1, 0 or 1.",
    "Greater": "1 where a > b, else 0.",
    "Less": "1 where a < b, else 0.",
    "GreaterOrEqual": "1 where a ≥ b, else 0.",
    "LessOrEqual": "1 where a ≤ b, else 0.",
    "Equal": "1 where a = b, else 0.",
    "And": "1 where both are 1, else 0.",
    "Or": "1 where one is 1, else 0.",
    "Not": "1 − x.",
    "Bool": "1 where x is not 0, else 0.",
    "Where": "b where a is 1, else c.",
    "Clip": "x, at least {low} and at most {high}.",
    "BothSigns": "The one output z of the network with the sign of the class: −z for class 0, z for class 1.",
}
"""By the operator or the module's class."""


def elementwise(call: Call, index: Place) -> Mapping[str, Any]:
    module = call.module
    kind = module.operator if isinstance(module, Operation) else type(module).__name__
    if isinstance(module, BothSigns):
        z = call.source(0, (0, 0), "z")
        computed = (-z.value, z.value)[index[1]]
        return {"operation": "both signs", "formula": FORMULAS[kind], "computed": computed, "terms": (z,)}
    constants = [*module.inputs] if isinstance(module, Operation) else [""] * len(call.inputs)
    names = ["x"] if len(constants) == 1 else ["branch", "shortcut"] if call.residual else [*"abcdefgh"]
    terms, which = [], 0
    for place, (each, argument) in enumerate(zip(constants, arguments(call), strict=True)):
        name = names[place] if place < len(names) else f"term {place + 1}"
        if not isinstance(argument, Tensor):
            terms.append(Term(name, float(argument)))
            continue
        own = broadcast(index, argument.shape)
        if isinstance(each, str) and each.startswith(OWN):
            terms.append(Term(name, float(argument[own])))
        else:
            terms.append(call.source(which, own, name))
            which += 1
    # The function tells a constant number from a tensor.
    numbers: list[Any] = []
    for each, term, argument in zip(constants, terms, arguments(call), strict=True):
        is_truth = isinstance(argument, Tensor) and argument.dtype == torch.bool
        number = torch.tensor(term.value, dtype=torch.bool if is_truth else torch.float64)
        numbers.append(each if isinstance(each, int | float) else number)
    if isinstance(module, Operation):
        result, known = module.function(*numbers, **module.attributes), module.attributes
    else:
        result, known = module(*numbers), vars(module)
    if isinstance(module, Sum):
        kind = "Add"
    known = {name: "anything" if value is None else value for name, value in known.items()}
    return {
        "operation": "residual sum" if call.residual else "sum" if kind in ("Add", "Sum") else kind,
        "formula": "branch + shortcut." if call.residual else FORMULAS[kind].format(**known),
        "computed": float(result),
        "terms": tuple(terms),
    }


def gain(call: Call, index: Place, module: ShortcutGain | BranchGain) -> Mapping[str, Any]:
    x = call.source(0, index, "x")
    if isinstance(module, ShortcutGain):
        factor, name, formula = (
            Term("α", module.factor),
            "shortcut gain",
            "α · x, with the fixed gain of all shortcuts.",
        )
    else:
        factor = Term("gain", float(module.weight.detach()))
        name, formula = "branch gain", "gain · x, with the one number that this branch has learned."
    return {"operation": name, "formula": formula, "computed": factor.value * x.value, "terms": (x, factor)}


_OFFSET = 2.0**40  # more than any constant; float64 holds every whole number up to 2**53


def copy(call: Call, index: Place) -> Mapping[str, Any]:
    """The operation moves numbers that say where they stood before."""
    sizes: list[int] = []

    def numbered(tensor: Tensor) -> Tensor:
        start = _OFFSET + sum(sizes)
        sizes.append(tensor.numel())
        return (start + torch.arange(tensor.numel(), dtype=torch.float64)).reshape(tensor.shape)

    module = call.module
    given = arguments(call, numbered)
    moved = module.function(*given, **module.attributes) if isinstance(module, Operation) else module(*given)
    found = float(moved[index])
    name = module.operator.lower() if isinstance(module, Operation) else type(module).__name__.lower()
    operation = {"identityshortcut": "identity shortcut"}.get(name, name)
    if found < _OFFSET:
        formula = f"{found:g}: padding, which stands for no value of the input."
        if isinstance(module, IdentityShortcut):
            formula = "A padded zero: the block's input has no such channel, and option A puts zeros for new ones."
        return {"operation": operation, "formula": formula, "computed": found}
    place, which = int(found - _OFFSET), 0
    inputs = module.inputs if isinstance(module, Operation) else ("x",)
    for each, argument in zip(inputs, arguments(call), strict=True):
        is_own = isinstance(each, str) and each.startswith(OWN)
        if place < argument.numel():
            there = tuple(map(int, np.unravel_index(place, argument.shape)))
            term = Term("constant", float(argument[there])) if is_own else call.source(which, there, "x")
            formula = "A constant of the network." if is_own else "A copy: the number moves to another place."
            return {"operation": operation, "formula": formula, "computed": term.value, "terms": (term,)}
        place -= argument.numel()
        which += not is_own
    raise AssertionError("a number that stood nowhere")
