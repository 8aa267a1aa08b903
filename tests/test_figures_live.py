"""Training charts: one scale for all gradient maps, zero and missing told apart, nothing that JSON cannot hold."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from explorer import figures
from explorer.figures import ColourScale, GradientMap
from explorer.runs import RunLog
from explorer.ui.build import training_charts

PLAIN = GradientMap("plain-8", "#C2540A", ("a", "b"), (0, 1, 2), ((30.0, 0.02), (3.0, 0.0), (None, 0.5)))
RESIDUAL = GradientMap("ResNet-8", "#0A6CB0", ("a", "c", "b"), (0, 1), ((2.0, 1.0, 0.5), (2e-5, 1.0, math.inf)))
LAYERS, STEPS = ("a", "c", "b"), (0, 1, 2)


def test_the_shared_scale_covers_all_maps_in_whole_decades() -> None:
    assert figures.decades([PLAIN]) == (-2, 2)
    assert figures.decades([PLAIN, RESIDUAL]) == (-5, 2)


@pytest.mark.parametrize("norms", [(), ((0.0, None),), ((1.0, 1.0),)])
def test_a_scale_has_at_least_one_decade(norms: tuple[tuple[float | None, ...], ...]) -> None:
    low, high = figures.decades([GradientMap("x", "#000000", ("a", "b"), tuple(range(len(norms))), norms)])
    assert high == low + 1


def test_one_size_has_one_colour_in_both_maps() -> None:
    scale = figures.decades([PLAIN, RESIDUAL])
    plain = figures.paint_gradients(PLAIN, LAYERS, STEPS, *scale)
    residual = figures.paint_gradients(RESIDUAL, LAYERS, STEPS, *scale)
    assert plain.shape == residual.shape == (3, 3, 4)
    assert (plain[2, 2] == residual[2, 0]).all(), "both 0.5"
    assert plain[0, 0, :3].sum() > plain[0, 1, :3].sum() > residual[0, 1, :3].sum(), "larger is brighter"


def test_zero_is_grey_and_what_was_not_measured_is_transparent() -> None:
    scale = figures.decades([PLAIN, RESIDUAL])
    plain = figures.paint_gradients(PLAIN, LAYERS, STEPS, *scale)
    residual = figures.paint_gradients(RESIDUAL, LAYERS, STEPS, *scale)
    assert tuple(plain[2, 1]) == (*figures.ZERO, 255)
    missing = [plain[0, 2], plain[1, 0], residual[2, 1], residual[0, 2]]
    assert [pixel[3] for pixel in missing] == [0, 0, 0, 0]
    assert (plain[..., 3] == 255).sum() == 5 and (residual[..., 3] == 255).sum() == 5
    palette = ColourScale(0, 1).paint(np.linspace(0, 1, 256)).astype(int)
    assert np.abs(palette - figures.ZERO).sum(axis=1).min() > 100, "no size has a colour near that of zero"


def test_a_size_stands_in_the_row_of_its_layer_and_the_column_of_its_step() -> None:
    table = figures.size_table(RESIDUAL, LAYERS, STEPS)
    np.testing.assert_array_equal(table, [[2.0, 2e-5, np.nan], [1.0, 1.0, np.nan], [0.5, np.nan, np.nan]])


def log_of(**events: Sequence[dict[str, Any]]) -> RunLog:
    """A log with these events and no others."""
    nothing: dict[str, Any] = dict.fromkeys(("progress", "validations", "gradients", "predictions", "cams"), ())
    return RunLog(queued=None, start=None, phase=None, end=None, **nothing | events)


def report(step: int, loss: float, accuracy: float | None = None) -> dict[str, Any]:
    return {"step": step, "networks": [{"loss": loss, "accuracy": accuracy}]}


def gradients(*maps: GradientMap) -> list[dict[str, Any]]:
    """As a run reports them: the names of the layers come once for each network."""
    return [
        {"network": index, "step": step, "norms": norms} | ({"layers": list(each.layers)} if not row else {})
        for index, each in enumerate(maps)
        for row, (step, norms) in enumerate(zip(each.steps, each.norms, strict=True))
    ]


def test_curves_reach_the_page_with_gaps_for_what_is_not_finite() -> None:
    log = log_of(progress=[report(0, 2.3, 0.1), report(5, math.nan), report(9, 0.123456, 0.96)])
    data = training_charts.training_curves(log, [("plain-8", "#C2540A")])
    assert data["last"] == 9
    (line,), (accuracy,) = (panel["lines"] for panel in data["panels"])
    assert (line["x"], line["y"]) == ([0, 5, 9], [2.3, None, 0.1235])
    assert (accuracy["x"], accuracy["y"]) == ([0, 9], [0.1, 0.96])
    assert data["legend"] == [{"name": "plain-8", "colour": "#C2540A", "dashed": False, "points": False}]
    assert "Loss plain-8 0.123" in data["alt"] and "Accuracy plain-8 96.0%" in data["alt"]


def test_charts_without_anything_measured_are_drawn_too() -> None:
    curves = training_charts.training_curves(log_of(), [("plain-8", "#C2540A")])
    assert curves["last"] == 1 and "Nothing measured yet" in curves["alt"]
    assert training_charts.gradient_maps(log_of(), [("plain-8", "#C2540A")]) is None
    both = [("plain-8", "#C2540A"), ("ResNet-8", "#0A6CB0")]
    assert training_charts.gradient_maps(log_of(gradients=gradients(PLAIN)), both) is None


def test_maps_of_networks_with_different_layers_share_their_axes() -> None:
    both = [("plain-8", "#C2540A"), ("ResNet-8", "#0A6CB0")]
    data = training_charts.gradient_maps(log_of(gradients=gradients(PLAIN, RESIDUAL)), both)
    assert data and (data["rows"], data["columns"]) == (["a", "c", "b"], [0, 1, 2])
    assert [panel["sizes"][1] for panel in data["panels"]] == [[None] * 3, [1.0, 1.0, None]]
    assert data["bar"]["ticks"][0] == {"label": "1e-5", "at": 0.0}


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    log = log_of(progress=[report(step, 1 / (step + 1)) for step in range(20_003)])
    line = training_charts.training_curves(log, [("x", "#000000")])["panels"][0]["lines"][0]
    assert len(line["x"]) <= training_charts.MAX_POINTS + 1 and (line["x"][0], line["x"][-1]) == (0, 20_002)
    assert line["y"] == [float(f"{1 / (step + 1):.4g}") for step in line["x"]]


def test_layers_of_one_stage_are_named_together() -> None:
    names = ("stem.conv", "stages.0.0.conv1", "stages.0.0.conv2", "stages.1.0.conv1", "head.fc1", "head.fc")
    log = log_of(gradients=gradients(GradientMap("x", "#000000", names, (0,), ((1.0,) * 6,))))
    data = training_charts.gradient_maps(log, [("x", "#000000")])
    assert data and data["groups"] == [
        {"label": "stem", "start": 0, "end": 1},
        {"label": "stage 1", "start": 1, "end": 3},
        {"label": "stage 2", "start": 3, "end": 4},
        {"label": "head", "start": 4, "end": 6},
    ]
