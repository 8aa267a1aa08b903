"""The question of time on Experiments: its strip is what Explore shows of each step, and a network without a past."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import checkpoints, runs
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.cli.main import main
from explorer.datasets import shapes
from explorer.experiments import along_time as measured
from explorer.images import PHOTOS
from explorer.presets import cifar
from explorer.runs import Request, weight_snapshots
from explorer.runs.directory import file_stem
from explorer.runs.weight_snapshots import Schedule, WeightSnapshots
from explorer.training import TrainingConfig
from explorer.ui import client, forecasts, navigation
from explorer.ui.experiments import along_time
from explorer.ui.services.inference import trace_image
from explorer.ui.services.input_images import sample_image
from explorer.views import grad_cam
from tests.test_experiments_page import PAGE, texts

ID, OWNER = "c" * 32, "a" * 32
SPECS = (cifar(8, "none", size=16), cifar(8, "identity", size=16))
NAMES = tuple(f"run-{ID}-{file_stem(spec.name)}" for spec in SPECS)
STEPS = (0, 1, 4)


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> runs.Run:
    """A run with other weights at each step, as if it had been trained."""
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
    monkeypatch.setattr(client, "owner", lambda: OWNER)
    monkeypatch.setattr(forecasts, "macs_a_second", lambda: 1e11)
    config = TrainingConfig(epochs=1, device="cpu")
    request = Request(
        tuple(spec.to_dict() for spec in SPECS), config.to_dict(), {"kind": "shapes", "size": 16}, owner=OWNER
    )
    made = runs.prepare(request, ID)
    networks = [build(spec) for spec in SPECS]
    kept = WeightSnapshots(made.weights, networks, Schedule(3, 4))
    for step in STEPS:
        for network, spec in zip(networks, SPECS, strict=True):
            network.load_state_dict(build(spec, step).state_dict())
        kept.take_if_due(step)
    for network in networks:
        finished = Checkpoint(network.freeze(), shapes.CLASS_NAMES, (0.5,) * 3, (0.25,) * 3, shapes.Drawn(16).name)
        checkpoints.save(finished, made.network_file(file_stem(network.spec.name)))
    return made


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {}
    monkeypatch.setattr(navigation, "download_button", lambda label, data, **_: found.update({label: data}))
    return found


def open_page(wrong: bool = False, **query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=120)
    for name, value in {"question": "time", "n": "50", "first": NAMES[0], "second": NAMES[1], **query}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception and bool(app.error) == wrong
    return app


def test_the_strip_shows_what_explore_shows_of_each_step(
    run: runs.Run, files: dict[str, Callable[[], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    strips: list[Any] = []
    monkeypatch.setattr(along_time, "_cell", _noted(strips, along_time._cell))
    app = open_page(target="3", layer="stages.1.0")
    assert "the weights of 6 steps in all, each with one image and with 50 test images" in texts(app)
    (button,) = [each for each in app.button if each.label.startswith("Measure (about")]
    button.click().run()
    said = texts(app)
    assert not app.exception and "plain-8: Grad-CAM of stages.1.0 for" in said and "with its end" in said
    image = sample_image(6, 6)
    assert {(name, moment.step) for name, moment in strips} == {(name, step) for name in NAMES for step in STEPS}
    for name, moment in strips:
        stem = name.removeprefix(f"run-{ID}-")
        network = weight_snapshots.snapshot(run, stem, moment.step)
        finished = checkpoints.load(run.network_file(stem))
        passed = trace_image(measured.at(finished, network), image, 3)
        np.testing.assert_array_equal(moment.cam, grad_cam(passed["stages.1.0"]))
        np.testing.assert_array_equal(moment.probabilities, passed.probabilities)
    heads, *rows = files["Results (CSV)"]().decode("utf-8-sig").splitlines()
    assert heads == "network,what,layer,step,other step,class,value"
    assert sum("probability" in row for row in rows) == 2 * 3 * 10
    itself = [row for row in rows if ",debiased CKA,stem.conv,4,4," in row]
    assert len(itself) == 2 and all(float(row.split(",")[-1]) == pytest.approx(1, abs=1e-5) for row in itself)
    assert "between all kept steps" in files["Report (HTML)"]().getvalue().decode()
    # Another layer needs new maps, and no new CKA.
    monkeypatch.setattr(measured, "step_similarity", lambda *_: pytest.fail("measured twice"))
    (layer,) = [each for each in app.selectbox if each.label == "Layer"]
    layer.select("stages.2.0").run()  # the link has asked for a measurement, and this one is quick
    assert not app.exception and "plain-8: Grad-CAM of stages.2.0 for" in texts(app)


def _noted(found: list[Any], cell: Callable[..., Any]) -> Callable[..., Any]:
    def noted(each: Any, place: int, top: float) -> Any:
        found.append((each.asked.name, each.strip.moments[place]))
        return cell(each, place, top)

    return noted


def test_a_terminal_says_the_same(run: runs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(run.network_file(file_stem(SPECS[0].name)))
    asked = ["time", file, next(iter(PHOTOS)), "--count", "12"]
    assert main([*asked, "--json", "--layer", "stages.1.0", "--target", "3"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert main([*asked, "--json", "--layer", "stages.1.0", "--class", "3"]) == 0, "as it was called before"
    assert json.loads(capsys.readouterr().out)["class"] == document["class"]
    assert document["steps"] == list(STEPS) and document["class"] == shapes.CLASS_NAMES[3] and document["n"] == 12
    for place, cell in enumerate(document["strip"]):
        assert cell["answer"] == shapes.CLASS_NAMES[int(np.argmax(cell["probabilities"]))]
        for of in document["cka"].values():
            assert of["debiased"][place][place] == pytest.approx(1, abs=1e-5)
    assert main(asked) == 0
    assert "CKA of each layer with its end (debiased, 12 test images of" in capsys.readouterr().out
    (run.weights).rename(run.weights.with_name("elsewhere"))
    for wrong, words in (
        (asked, "no weights of earlier steps are kept"),
        ([*asked, "--weights", str(run.folder / "elsewhere"), "--layer", "head.fc"], "no layer 'head.fc' with feature"),
        ([*asked, "--count", "3"], "`--count` must be 4 or more"),
        (["time", "shapes-plain-8", asked[2], "--weights", str(run.folder / "elsewhere"), "--count", "8"], "16"),
    ):
        assert main(wrong) == 2
        assert words in capsys.readouterr().err


def test_more_steps_than_memory_holds_are_refused_before_any_is_loaded(
    run: runs.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measured, "MOST_BYTES", 1000)
    monkeypatch.setattr(measured, "time_strip", lambda *_: pytest.fail("loaded"))
    app = open_page(wrong=True, measure="yes")
    assert ["50 images at 3 steps need" in each.value for each in app.error] == [True]
    file = str(run.network_file(file_stem(SPECS[0].name)))
    assert main(["time", file, next(iter(PHOTOS)), "--count", "12"]) == 2
    assert "12 images at 3 steps need" in capsys.readouterr().err


def test_a_network_without_a_past_is_one_sentence(run: runs.Run) -> None:
    app = open_page(first="shapes-plain-8", second="shapes-resnet-8")
    assert "No weights of earlier steps are kept of plain-8 and ResNet-8." in texts(app)
    assert not [each for each in app.button if each.label.startswith("Measure")]
    (run.weights / "1.safetensors").write_bytes(b"damaged")
    app = open_page(wrong=True, measure="yes", layer="no.such.layer")  # an old link, and a damaged file
    assert [each.value for each in app.error] == ["the weights at step 1 are damaged; choose another step\\."]
