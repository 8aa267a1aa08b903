"""The page of one unit under AppTest, and the same from a terminal: natural pictures first, never without them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer.cli.main import main
from explorer.experiments.units import findings
from explorer.ui import navigation
from explorer.ui.experiments.state import ExperimentsState
from tests.test_experiments_page import open_page, texts

UNIT = {"question": "unit", "layer": "stages.2.0", "channel": "5", "network": "second"}
OPTIMISED = "The optimised picture (seed"


def measure_buttons(app: AppTest) -> list[Any]:
    return [each for each in app.button if each.label.startswith("Measure (about")]


def test_natural_pictures_come_first_and_stay_when_the_ascent_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, Callable[[], Any]] = {}
    monkeypatch.setattr(navigation, "download_button", lambda label, data, **_: files.update({label: data}))
    ascents: list[bool] = []
    whole = findings.with_optimised

    def stopped(*arguments: Any) -> Any:
        ascents.append(True)
        raise ValueError("stopped here.")

    monkeypatch.setattr(findings, "with_optimised", stopped)
    app = open_page(**UNIT, n="30")
    said = texts(app)
    assert "This takes two passes of 30 images, and then" in said and measure_buttons(app)
    assert "It is fed by" in said and "It feeds: head.fc |" in said, "weights need no measurement"
    assert "Strongest" not in said and not ascents
    measure_buttons(app)[0].click().run()
    said = texts(app)
    assert ascents and len(app.error) == 1
    assert "stages.2.0, channel 5 of ResNet-8: its maximum goes from" in said and "Without this unit ResNet-8" in said
    assert "Strongest of 30 images:" in said and "optimised\n" not in f"{said}\n" and OPTIMISED not in said
    rows = files["Results (CSV)"]().decode("utf-8-sig").splitlines()
    assert sum(row.startswith("strongest image") for row in rows) == 9 and not any("optimised" in row for row in rows)

    monkeypatch.setattr(findings, "with_optimised", lambda checkpoint, found, seed: whole(checkpoint, found, seed, 2))
    measure_buttons(app)[0].click().run()
    said = texts(app)
    assert not app.exception and not app.error and not measure_buttons(app)
    assert said.index("Strongest of 30 images, and the optimised picture:") < said.index("  \noptimised")
    assert said.index(OPTIMISED) and "92 ± 2 % of trials" in said and "Geirhos et al. 2024" in said
    rows = files["Results (CSV)"]().decode("utf-8-sig").splitlines()
    assert sum(row.startswith("optimised to maximise,seed 0") for row in rows) == 1
    report = files["Report (HTML)"]().getvalue().decode()
    assert "92 ± 2 %" in report and report.count("data:image/png") >= 19


def test_without_labelled_images_the_gallery_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "with_optimised", lambda *_: iter([(1.0, None)]))
    alone = {"first": "cifar10jpeg-plain-8", "second": "none"}
    app = open_page(question="unit", layer="stages.1.0", channel="2", measure="yes", **alone)
    said = texts(app)
    assert "These are 6 images of the gallery and of this session, without labels." in said
    assert "Without this unit plain-8 keeps its answer on" in said and "too few images" in said
    assert "Ship at sea" in said and "CIFAR-10" in said


def test_the_first_view_and_a_layer_that_the_network_lacks_show_a_unit() -> None:
    for query in ({}, {"layer": "stages.7.0", "channel": "99999"}):
        app = open_page(question="unit", **query)
        (layer,) = [each for each in app.selectbox if each.label == "Layer"]
        (channel, _) = app.number_input
        assert layer.value == "stages.2.0" and channel.value in range(64)
    app = open_page(question="unit", layer="stem.conv", channel="99999")
    assert app.number_input[0].value == 15, "the last one"


def test_a_neighbour_has_an_address_of_its_own() -> None:
    app = open_page(question="unit", layer="stages.1.0", channel="4", network="second", n="30")
    buttons = {each.label: each for each in app.button}
    assert sum(label.startswith("stages.1.0.conv1 · ") for label in buttons) == 6
    assert sum(label.startswith("stages.2.0.conv1 · ") for label in buttons) == 6
    buttons["stages.2.0 · 20"].click().run()  # option A carries channel 4 of 32 to 20 of 64
    assert not app.exception and app.number_input[0].value == 20
    query = {name: value[0] if isinstance(value, list) else value for name, value in app.query_params.items()}
    state = ExperimentsState.from_query(query)
    assert (state.layer, state.channel, state.network, state.n) == ("stages.2.0", 20, "second", 30)
    assert query["first"] == "shapes-plain-8" and not state.measure


def test_a_view_round_trips() -> None:
    state = ExperimentsState(question="unit", layer="stages.1.0.conv2", channel=3, network="second", seed=7)
    assert ExperimentsState.from_query(state.to_query()) == state
    wrong = {"question": "unit", "layer": "../x", "channel": "-1", "network": "third", "seed": "1e9"}
    assert ExperimentsState.from_query(wrong) == ExperimentsState(question="unit")


def test_a_unit_in_a_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "unit.npz"
    arguments = ["unit", "shapes-resnet-8", "--layer", "stages.1.0", "--channel", "4", "--count", "30", "--steps", "3"]
    assert main([*arguments, "--out", str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["strongest"]) == len(said["weakest"]) == 9 and said["n"] == 30 and "92 ± 2 %" in said["caution"]
    values = [each["value"] for each in said["strongest"]]
    assert values == sorted(values, reverse=True) and values[0] > said["weakest"][0]["value"]
    assert said["optimised"]["steps"] == 3 and said["influence"]["before"]["n"] == 30
    assert said["feeds"]["carried"] == [{"layer": "stages.2.0", "channel": 20, "factor": 1.0}]
    with np.load(file) as arrays:
        assert {*arrays.files} == {"strongest", "weakest", "maximising", "minimising"}
        assert arrays["strongest"].shape == (9, 32, 32, 3) and arrays["maximising"].dtype == np.uint8
    assert main([*arguments[:-1], "0"]) == 0
    text = capsys.readouterr().out
    assert "fed by" in text and "optimised" not in text and "Borowski" not in text


def test_a_terminal_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--layer", "head.fc"], "`layer` must be one with feature maps, received 'head.fc'"),
        (["--layer", "stages.1.0", "--channel", "32"], "`channel` of `stages.1.0` must be a whole number from 0 to 31"),
        (["--count", "1"], "`--count` takes 2 or more"),
        (["--pictures", "scene-ship"], "two pictures or more"),
    ):
        assert main(["unit", "shapes-resnet-8", *arguments]) == 2
        assert message in capsys.readouterr().err
