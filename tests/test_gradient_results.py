"""The results that Gradients opens with, the guess and the answer, on the page without a browser."""

from dataclasses import replace

import numpy as np
import pytest

from explorer import checkpoints, stored_results
from explorer.datasets import shapes
from explorer.experiments import stored_gradients
from explorer.experiments.gradient_grid import at_initialisation
from explorer.experiments.gradient_summary import findings, gradient_extent, number
from explorer.ui.gradients import flow_measurements
from explorer.ui.gradients.state import CARDS, GradientsState
from explorer.ui.pages import gradients
from tests.test_gradients import check, drawn, open_gradients, press, said


def test_the_cards_show_what_is_measured_again_apart_from_the_page() -> None:
    cards = drawn(open_gradients(), "cards")["cards"]
    batch = stored_gradients.drawn_batch(shapes.Drawn())
    for card, state in zip(cards[:2], CARDS[:2], strict=True):
        specs = state.specs()
        steps = list(at_initialisation(specs, batch.images, batch.labels, [0]))
        for step, row in zip(steps, card["numbers"]["csv"].splitlines()[1 :: 55 * 3], strict=True):
            sizes = dict(zip(card["numbers"]["csv"].splitlines()[0].split(","), row.split(","), strict=True))
            assert (sizes["network"], sizes["seed"], sizes["layer"]) == (step.spec.name, "0", "stem.conv")
            # With BatchNorm the rounding of the first layers grows on its way: other threads change some per cent.
            assert float(sizes["size"]) == pytest.approx(step.flow.weights[0], rel=0.15)
        assert "n = 3 seeds (0 to 2), 64 shapes, training mode, float32." == card["numbers"]["about"]
    assert [card["title"] for card in cards] == ["Vanishes", "Explodes", "Stays level"]
    assert all(len(card["sentence"].split()) <= 25 for card in cards)
    assert [card["shown"] for card in cards] == [True, False, False]
    for card in cards:
        (panel,) = card["numbers"]["chart"]["panels"]
        assert [each["label"] for each in panel["lines"]] == ["plain-56", "ResNet-56"]
    assert cards[1]["numbers"]["chart"]["decades"] == cards[2]["numbers"]["chart"]["decades"]


def test_the_first_view_shows_shipped_results_measures_nothing_and_ends_with_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored_gradients, "network_flow", None)
    monkeypatch.setattr(flow_measurements, "at_initialisation", None)
    app = open_gradients()
    text = said(app)
    found = flow_measurements.measured_grid(CARDS[0])
    assert f"**{findings(found)[0]}**" in text and "Before training, the gradient of plain-56 vanishes" in text
    assert "Shortcuts give the gradient a direct way back." in text and app.query_params == {}
    accuracies = [checkpoints.load_pretrained(name).metrics["test"]["accuracy"] for name in stored_gradients.TRAINED]
    assert all(f"{accuracy:.1%}" in text for accuracy in accuracies)
    assert not [button for button in app.button if (button.key or "").startswith("measure-gradients")]


def test_shipped_flows_are_those_of_this_code_and_of_no_other_batch() -> None:
    batch = stored_gradients.drawn_batch(shapes.Drawn())
    spec = CARDS[0].specs()[1]
    key = stored_gradients.initial_key(spec, 0, batch)
    shipped = stored_gradients.load(key)
    (step,) = at_initialisation([spec], batch.images, batch.labels, [0])
    assert shipped and shipped.weight_layers == step.flow.weight_layers
    np.testing.assert_allclose(shipped.weights, step.flow.weights, rtol=1e-3)
    other = replace(batch, labels=np.roll(batch.labels, 1))
    keys = {
        key,
        stored_gradients.initial_key(spec, 1, batch),
        stored_gradients.initial_key(spec, 0, other),
        stored_gradients.initial_key(spec.twin(), 0, batch),
    }
    assert len(keys) == 4
    loaded = checkpoints.load_pretrained("shapes-plain-8")
    modes = {stored_gradients.network_key(loaded, batch, mode) for mode in ("training", "evaluation")}
    assert len(modes) == 2
    stored_gradients.store("gradients-x", step.flow)
    again = stored_gradients.load("gradients-x")
    assert again and again.weights.tobytes() == step.flow.weights.tobytes() and again.mode == "training"


def test_a_lesson_without_findings_tells_no_answer() -> None:
    cards = drawn(open_gradients(hide="text"), "cards")["cards"]
    assert [card["sentence"] for card in cards] == ["", "", ""]
    titles = " ".join(card["title"] for card in cards)
    assert "At initialisation: " in titles and "Vanishes" not in titles and "Explodes" not in titles
    assert not [card for card in cards if "first layer" in card["numbers"]["chart"]["alt"]]


def test_a_card_without_its_results_offers_to_measure_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "STARTS_BY_ITSELF", 0)
    monkeypatch.setattr(stored_results, "load", lambda key: None)
    app = open_gradients()
    first = drawn(app, "cards")["cards"][0]
    assert first["numbers"] is None and first["title"] == "Not measured here"
    assert "Nothing of this is measured yet" in said(app) and "Before training" not in said(app)
    assert [button.label for button in app.button if button.label.startswith("Measure 6 passes (about")]


def test_a_guess_measures_and_is_judged_by_the_number() -> None:
    app = open_gradients()
    check(app.segmented_control(key="guess_depth").set_value(8).run())
    assert "what does the gradient of plain-8 do? Measuring it takes about" in said(app)
    press(app, "It rises")
    wanted = GradientsState(depths=(8,), norms=("none",), scale="relative")
    assert GradientsState.shown(app.query_params) == wanted, "the address holds what was tried"
    kept, plain = app.session_state["session"].flows, wanted.specs()[0]
    flows = [kept.find(f"{plain.fingerprint}/{seed}/shapes-32") for seed in range(3)]
    assert all(flows)
    extent = gradient_extent(flows)
    (shown,) = [info.value.replace("\\", "") for info in app.info if "Your guess" in info.value]
    if extent.agrees:
        assert f"is {'right' if extent.trend == 'grows' else 'wrong'}" in shown and number(extent.ratio or 0) in shown
    else:
        assert "they disagree" in shown
    press(app, "It falls")
    assert [info.value for info in app.info if "Your guess, falls" in info.value], "another guess needs no measurement"
    check(app.segmented_control(key="guess_norm").set_value("batch").run())
    assert not [info for info in app.info if "Your guess" in info.value], "it was about another setting"
