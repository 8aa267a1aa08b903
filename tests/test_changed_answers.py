"""Interventions at the address of explanations: an answer is the trace with them, beside the untouched one."""

import html
import io
from typing import Any

import numpy as np
import pytest

from driving.messages import unpack
from explorer import checkpoints, figures
from explorer.architectures.interventions import parse_all
from explorer.images import to_input
from explorer.tracing import trace
from explorer.ui.api.changes import effect
from explorer.ui.api.explain import arrays, explain, view_report
from explorer.ui.api.explore_session import RequestError
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.input_images import sample_image, sample_pixels
from tests.test_explain import NAMES, VIEW, looked, session

CHANGE = "stages.0.1@branch:off,stages.2.2~3:0.5"


def test_an_answer_with_interventions_is_the_trace_with_them_beside_the_untouched_one() -> None:
    own = session()
    header, body = unpack(explain(own, VIEW | {"change": CHANGE, "layer": "stages.2.2"}))
    assert header["distance"]
    for name, shown, network in zip(NAMES, header["networks"], header["predictions"]["networks"], strict=True):
        loaded = checkpoints.load_pretrained(name)
        image = to_input(sample_pixels(6, 6)[0], (32, 32), loaded.mean, loaded.std)
        before = trace(loaded.network, image)
        after = trace(loaded.network, image, before.target, interventions=parse_all(CHANGE))
        assert shown["change"] == CHANGE and shown["target"] == loaded.class_names[before.target]
        for each in network["classes"]:
            index = loaded.class_names.index(each["name"])
            assert each["probability"] == pytest.approx(after.probabilities[index])
            assert each["before"] == pytest.approx(before.probabilities[index])
        layer = after["stages.2.2"]
        start, height, width = shown["layers"]["stages.2.2"]["maps"]
        maps = np.frombuffer(body, np.uint8, layer.activation.size, start).reshape(-1, height, width)
        peak = max(layer.activation.max(), -layer.activation.min())
        np.testing.assert_array_equal(maps, figures.quantise_signed(layer.activation, peak))
        for column, far in zip(header["columns"], shown["distances"], strict=True):
            if column["name"] in after.names:
                one, other = before[column["name"]].activation, after[column["name"]].activation
                assert far == pytest.approx(np.linalg.norm(other - one) / np.linalg.norm(one), rel=1e-4)
            else:
                assert far is None
        assert (
            f"{before.probabilities[before.target]:.1%} → {after.probabilities[before.target]:.1%}" in shown["effect"]
        )
        assert "changed: stages.0.1@branch:off and stages.2.2~3:0.5" in header["source"]


def test_put_back_it_is_the_untouched_answer_and_a_factor_of_1_is_none() -> None:
    own = session()
    untouched = explain(own, VIEW)
    assert explain(own, VIEW | {"change": CHANGE}) != untouched
    for change in ("", "stages.0.1@branch:1,stem.conv~3:1"):
        assert explain(own, VIEW | {"change": change}) == untouched


def test_where_it_does_not_fit_a_network_stays_untouched_and_says_why() -> None:
    own = session()
    plain, residual = unpack(explain(own, VIEW | {"change": "stages.1.0@branch:off"}))[0]["networks"]
    assert (plain["change"], plain["distances"]) == ("", None)
    assert plain["effect"].startswith("plain-20 cannot do without `stages.1.0`: it turns 16×32×32 into 32×16×16, and")
    assert plain["effect"].endswith("So plain-20 stays untouched.")
    assert residual["change"] == "stages.1.0@branch:off"
    wanted = unpack(explain(own, VIEW))[0]["networks"][0]
    assert plain | {"effect": ""} == wanted | {key: plain[key] for key in ("cells", "input", "layers")}


def test_of_several_those_that_fit_are_applied_and_each_other_one_is_named_with_its_reason() -> None:
    wrong = "stages.0.0@shortcut:off,stages.9.0:off,stages.1.1@shortcut:2,stages.2.1@shortcut:0.5"
    plain, residual = answer(f"stages.0.1@branch:off,{wrong}")
    alone, _ = answer("stages.0.1@branch:off")
    assert plain["change"] == "stages.0.1@branch:off" and plain["distances"] == alone["distances"]
    assert plain["effect"] == (
        f"{alone['effect']} `stages.0.0` of plain-20 has no shortcut. So `stages.0.0@shortcut:off` is left out. "
        "plain-20 has no layer or block `stages.9.0`. So `stages.9.0:off` is left out. `stages.1.1` of plain-20 has no "
        "shortcut. So `stages.1.1@shortcut:2` is left out. 1 more does not fit either."
    )
    assert residual["change"] == (
        "stages.0.1@branch:off,stages.0.0@shortcut:off,stages.1.1@shortcut:2,stages.2.1@shortcut:0.5"
    )
    assert residual["effect"].endswith(
        " ResNet-20 has no layer or block `stages.9.0`. So `stages.9.0:off` is left out."
    )


def answer(change: str) -> Any:
    return unpack(explain(session(), VIEW | {"change": change}))[0]["networks"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("stages.1.0:of", "'stages.1.0:of' is no intervention; write BLOCK@branch:off"),
        ("stages.9.0:off", "has no layer or block `stages.9.0`."),
        ("stem.conv~16:off", "has the channels 0 to 15."),
        (",".join(["stem.conv:off"] * 101), "101 interventions are too many"),
    ],
)
def test_a_change_that_fits_no_network_is_a_sentence_for_each(change: str, sentence: str) -> None:
    header, _ = unpack(explain(session(), VIEW | {"change": change}))
    assert header["distance"] is None
    for network in header["networks"]:
        assert sentence in network["effect"] and network["change"] == ""


@pytest.mark.parametrize("change", [3, None, ["a:off"], "a:off\n", "<b>:off", "a" * 4001])
def test_a_change_that_is_no_text_of_ours_is_refused(change: Any) -> None:
    with pytest.raises(RequestError, match="not a view of Explore"):
        explain(session(), VIEW | {"change": change})


def test_another_session_has_its_own_changes() -> None:
    own, other = session(), session()
    explain(own, VIEW | {"change": CHANGE})
    assert explain(other, VIEW) == explain(session(), VIEW)


def test_blocks_arrays_and_the_report_are_of_the_changed_pass() -> None:
    own, state = session(), AppState(layers="main", change=CHANGE)
    subject = sample_image(6, 6)
    _, residual = looked(own, state)
    _, bare = looked(own, AppState(layers="main"))
    inside = own.passes.block(residual, subject, "stages.0.1")
    assert not inside.branch.any() and np.array_equal(inside.sum, inside.shortcut)
    assert own.passes.block(bare, subject, "stages.0.1").branch.any()
    asked = VIEW | {"change": CHANGE, "layer": "stages.0.1", "networks": [NAMES[1]]}
    with np.load(io.BytesIO(arrays(own, asked))) as found:
        assert str(found["change"]) == CHANGE
        np.testing.assert_array_equal(found["activations/stages.0.1"], residual.trace["stages.0.1"].activation)
    text = html.unescape(view_report(own, asked).decode())
    assert "stages.0.1@branch:off, stages.2.2~3:0.5" in text
    assert effect(residual) in text
