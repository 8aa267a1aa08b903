"""What a run's log holds, as the parts that live.py draws: of all steps that it tells of."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from explorer.figures import Curve, GradientMap
from explorer.runs import RunLog
from explorer.ui.build import live
from explorer.ui.build.live import Samples

Looks = Sequence[tuple[str, str]]
"""The name and the colour of each network."""


def curves(log: RunLog, looks: Looks) -> dict[str, Any]:
    return live.training_curves(_curves(log, looks, "loss"), _curves(log, looks, "accuracy"))


def gradients(log: RunLog, looks: Looks) -> dict[str, Any] | None:
    """None before every network has a step of which it is told."""
    maps = [_gradient_map(log, index, name, colour) for index, (name, colour) in enumerate(looks)]
    return live.gradient_maps(maps) if all(each.steps for each in maps) else None


def samples(log: RunLog, pictures: np.ndarray) -> Samples:
    """Of `pictures`, uint8 (N, C, H, W), of a log that has begun."""
    assert log.start is not None
    return Samples(list(pictures.transpose(0, 2, 3, 1)), log.start["labels"], log.start["class_names"])


def _curves(log: RunLog, looks: Looks, what: str) -> list[Curve]:
    curves = []
    for index, (name, colour) in enumerate(looks):
        dashed = index > 0 and looks[0][1] == colour
        for events, points in ((log.progress, False), (log.validations, True)):
            reports = [(event["step"], event["networks"][index]) for event in events]
            found = [(step, report[what]) for step, report in reports if report and report[what] is not None]
            curves.append(
                Curve(
                    f"{name}, validation" if points else name,
                    colour,
                    [step for step, _ in found],
                    [value for _, value in found],
                    dashed,
                    points,
                )
            )
    return [curve for curve in curves if curve.steps or not curve.points]


def _gradient_map(log: RunLog, index: int, name: str, colour: str) -> GradientMap:
    events = [event for event in log.gradients if event["network"] == index]
    layers: list[str] = next((event["layers"] for event in events if "layers" in event), [])
    return GradientMap(name, colour, layers, [event["step"] for event in events], [event["norms"] for event in events])
