"""Norms and softmax: one number, and a few that say how large its neighbours are."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explorer.architectures.operators import Operation
from explorer.experiments.arithmetic.step import Call, Place, Term, along, arguments, box, broadcast


def batch_norm(call: Call, index: Place, weights: Sequence[Any], epsilon: float) -> Mapping[str, Any]:
    weight, bias, mean, variance = (float(each[index[1]]) for each in weights)
    x = call.source(0, index, "x")
    return {
        "operation": "batch norm",
        "formula": "weight · (x − mean) / √(variance + ε) + bias, with the channel's running mean and variance.",
        "computed": weight * (x.value - mean) / math.sqrt(variance + epsilon) + bias,
        "terms": (
            x,
            Term("mean", mean),
            Term("variance", variance),
            Term("weight", weight),
            Term("bias", bias),
            Term("ε", epsilon),
        ),
    }


def group_norm(call: Call, operator: str, index: Place) -> Mapping[str, Any]:
    module, x = call.module, call.inputs[0]
    assert isinstance(module, Operation)
    mask = torch.zeros_like(x, dtype=torch.bool)
    if operator == "LayerNormalization":
        axis = module.attributes["axis"] % x.ndim
        mask[index[:axis]] = True
        where, which = "along its last axes", index[axis:]
    else:
        size = x.shape[1] // module.attributes.get("groups", x.shape[1])
        group = index[1] // size
        mask[0, group * size : (group + 1) * size] = True
        where, which = "of its group of channels" if size > 1 else "of its channel", (index[1],)
    window = box(call, 0, mask)
    values = window.values.astype(np.float64)
    mean, variance, epsilon = float(values.mean()), float(values.var()), float(module.attributes["epsilon"])
    given = [each for each in arguments(call)[1:] if isinstance(each, Tensor)]
    weight, bias = [float(each[broadcast(which, each.shape)]) for each in given] + [1.0, 0.0][len(given) :]
    term = call.source(0, index, "x")
    named = {"mean": mean, "variance": variance, "weight": weight, "bias": bias, "ε": epsilon}
    return {
        "operation": operator.removesuffix("Normalization").lower() + " norm",
        "formula": f"weight · (x − mean) / √(variance + ε) + bias, of the {values.size:,} values {where}.",
        "computed": weight * (term.value - mean) / math.sqrt(variance + epsilon) + bias,
        "terms": (term, *(Term(name, value) for name, value in named.items())),
        "window": window,
    }


def response_norm(call: Call, index: Place) -> Mapping[str, Any]:
    module = call.module
    assert isinstance(module, Operation)
    size, alpha, beta, bias = (module.attributes[name] for name in ("size", "alpha", "beta", "bias"))
    x = call.inputs[0]
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[0, max(0, index[1] - size // 2) : index[1] + (size - 1) // 2 + 1, index[2], index[3]] = True
    window = box(call, 0, mask)
    term, squares = call.source(0, index, "x"), float(np.square(window.values.astype(np.float64)).sum())
    named = {"sum of squares": squares, "size": size, "α": alpha, "β": beta, "bias": bias}
    return {
        "operation": "local response norm",
        "formula": "x / (bias + α · sum of squares / size) to the power β, of the neighbouring channels.",
        "computed": term.value / (bias + alpha * squares / size) ** beta,
        "terms": (term, *(Term(name, float(value)) for name, value in named.items())),
        "window": window,
    }


def softmax(call: Call, index: Place, operator: str = "Softmax", temperature: float = 1.0) -> Mapping[str, Any]:
    axis = call.module.attributes["axis"] if isinstance(call.module, Operation) else 1
    window = along(call, [axis], index)
    logit = call.source(0, index, "logit")
    logits = window.values.astype(np.float64) / temperature
    largest = float(logits.max())
    total = float(np.exp(logits - largest).sum())
    terms = [logit, Term("largest logit", largest * temperature), Term("sum of the exponentials", total)]
    if temperature != 1:
        terms.append(Term("temperature", temperature))
    shifted = logit.value / temperature - largest
    log = operator == "LogSoftmax"
    shift = "(logit − largest logit) / temperature" if temperature != 1 else "logit − largest logit"
    formula = f"exp({shift}) over the sum of the same for every class"
    return {
        "operation": "log-softmax" if log else "softmax",
        "formula": f"The logarithm of {formula}." if log else f"{formula}.",
        "computed": shifted - math.log(total) if log else math.exp(shifted) / total,
        "terms": tuple(terms),
        "window": window,
    }
