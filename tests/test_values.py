"""The message about a chosen value: it holds what the library computes."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from driving.messages import unpack
from explorer.architectures.interventions import parse_all
from explorer.experiments.arithmetic import PROBABILITIES, arithmetic, effective_field
from explorer.ui.api.explain import explain
from explorer.ui.services.explore_state import AppState
from tests.fuzz.laws import check_sentence
from tests.test_explain import VIEW, looked, session


@pytest.mark.parametrize(
    ("at", "layer", "place"),
    [("3,4", "stages.1.0", (2, 3, 4)), ("head.fc:1", "head.fc", (1,)), ("probabilities", PROBABILITIES, (3,))],
)
def test_the_arithmetic_of_a_value_is_what_the_library_computes(at: str, layer: str, place: tuple[int, ...]) -> None:
    asked = VIEW | {"layer": "stages.1.0", "channel": 2, "target": 3, "at": at, "only": "field"}
    own = session()
    header, body = unpack(explain(own, asked))
    results = looked(own, AppState(target=3))
    for result, value in zip(results, header["values"], strict=True):
        network, image = result.checkpoint.network, result.trace.image
        found = arithmetic(network, image, layer, place)
        assert (value["layer"], tuple(value["at"]), value["value"]) == (layer, place, found.value)
        before = {name: tuple(names) for name, names in value["same"].items()}
        if layer == "stages.1.0" and result.checkpoint.spec.shortcut != "none":  # norms move no pixel of its summands
            inside = {"norm2": ("stages.1.0.conv2",), "shortcut": (), "sum": ()}
            assert before == {f"stages.1.0.{name}": names for name, names in inside.items()}
        assert value["check"] == found.check and tuple(value["reach"]) == found.field
        for said, step in zip(value["steps"], found.steps, strict=True):
            assert said["terms"] == json.loads(json.dumps([asdict(term) for term in step.terms]))
            if step.window is None:
                continue
            size = step.window.values.size
            start = said["window"]["values"]
            assert np.array_equal(np.frombuffer(body, np.float32, size, start), step.window.values.ravel())
        field = effective_field(network, image, layer, place)
        assert value["effective"]["largest"] == pytest.approx(float(field.max()), rel=1e-5)


def test_the_arithmetic_of_a_changed_network_is_that_of_its_pass() -> None:
    change = "stages.1.0@branch:0.5,stages.1.0@shortcut:mean"
    asked = VIEW | {"layer": "stages.1.0", "channel": 2, "at": "3,4", "only": "value"}
    own = session()
    before = unpack(explain(own, asked))[0]["values"]
    plain, residual = unpack(explain(own, asked | {"change": change}))[0]["values"]
    assert plain == before[0]  # the plain block has no shortcut, so this network stays untouched
    _, result = looked(own, AppState(change=change, layer="stages.1.0"))
    found = arithmetic(result.checkpoint.network, result.trace.image, "stages.1.0", (2, 3, 4), parse_all(change))
    assert residual["value"] == found.value == result.trace["stages.1.0"].activation[2, 3, 4]
    assert residual["steps"][1]["value"] != before[1]["steps"][1]["value"]
    assert [step["operation"] for step in residual["steps"]] == [step.operation for step in found.steps]
    mean = residual["steps"][-1]
    assert mean["change"] == "stages.1.0@shortcut:mean" and mean["window"]["stride"] == [0, 0]
    assert residual["check"] == found.check
    # A map of such values is none of the strip.
    raw = unpack(explain(own, asked | {"change": "stages.1.0.conv1:mean", "at": "stages.1.0.conv1:1,2,3"}))[0]["values"]
    assert [value["steps"][0]["window"]["source"] for value in raw] == [None, None]


def test_a_value_that_is_not_there_is_a_sentence_beside_the_other_network() -> None:
    asked = VIEW | {"at": "stages.1.0.shortcut:0,99,0", "only": "value"}
    plain, residual = unpack(explain(session(), asked))[0]["values"]
    assert "stem.conv to head.fc" in plain["problem"] and "row 0 to 15" in residual["problem"]
    for value in (plain, residual):
        check_sentence(value["problem"])
