"""Interventions as steps of an arithmetic: what one of them made of one number."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from explorer.architectures import Intervention
from explorer.experiments.arithmetic.step import Call, Place, Term, along


def changed(call: Call, change: Intervention, index: Place) -> Mapping[str, Any]:
    is_block = len(call.inputs) > 1
    name = "block" if is_block else {"branch": "branch", "shortcut": "shortcut"}.get(change.part, "x")
    what = "" if name == "x" or is_block else f"{name} "
    if change.action == "mean":
        axis = len(index) - 1 if call.lasts[0] else 1
        window = along(call, [each for each in range(1, len(index)) if each != axis], index)
        return {
            "operation": f"{what}replaced by the channel's mean",
            "formula": f"The mean of the {window.values.size:,} values that the channel has before the intervention.",
            "computed": float(window.values.astype(np.float64).mean()),
            "window": window,
        }
    before, factor = call.source(0, index, name), change.factor
    if not is_block:
        return {
            "operation": f"{what}× {factor:g}" if factor else f"{what}switched off",
            "formula": f"The intervention multiplies it: factor · {name}.",
            "computed": before.value * factor,
            "terms": (before, Term("factor", factor)),
        }
    instead = call.source(1, index, "input")
    if not factor:
        formula = "The intervention takes the block out: its input goes on in its place."
        return {"operation": "block switched off", "formula": formula, "computed": instead.value, "terms": (instead,)}
    return {
        "operation": f"block × {factor:g}",
        "formula": "The intervention keeps a part of what the block adds: input + factor · (block − input).",
        "computed": instead.value + factor * (before.value - instead.value),
        "terms": (before, instead, Term("factor", factor)),
    }
