"""A network from an ONNX file on the pages: from its upload to every view that a network of ours has."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from benchmarks.onnx_files import exported
from explorer import checkpoints, weights_import
from explorer.datasets import shapes
from explorer.ui import bar
from explorer.ui.services.model_store import ModelInfo, StoredModel, shared_folder
from explorer.weights_import import NORMALISATIONS
from tests import test_compare, test_gradients, test_models
from tests.messages import explained, message
from tests.onnx_models import randomised
from tests.test_onnx import _Small
from tests.test_pages import open_app, texts

NAME = f"shared-{'0a' * 16}"
pytestmark = pytest.mark.usefixtures("in_this_process")


@cache
def content() -> bytes:
    """Two residual blocks for the ten shapes, with a softmax at the end."""
    module = _Small()
    module.head = type(module.head)(8, 10)
    return exported(randomised(module), (1, 3, 32, 32))


@pytest.fixture
def shared(tmp_path: Path, data_folder: Path) -> str:
    """The name of the network, which is shared, so that each session finds it."""
    file = tmp_path / "small.onnx"
    file.write_bytes(content())
    reading = weights_import.read(file).readings[0]
    names = tuple(shapes.CLASS_NAMES)
    checkpoint = reading.checkpoint("other data: a file of weights, ONNX", NORMALISATIONS["half"], names)
    shared_folder().mkdir(parents=True, exist_ok=True)
    model = StoredModel(shared_folder() / f"{NAME.removeprefix('shared-')}.safetensors")
    checkpoints.save(checkpoint, model.path)
    model.write_info(ModelInfo("ab" * 16, "Small"))
    return NAME


def test_an_onnx_file_is_uploaded_named_and_used() -> None:
    app = test_models.open_models()
    test_models.give(app, content(), "small.onnx")
    said = texts(app)
    assert "family **ONNX**" in said and "Softmax at its end" in said
    next(box for box in app.selectbox if box.label == "Classes").set_value("Shapes").run()
    name = test_models.use(app)
    test_models.press(app, "Back to Models")
    (path,) = test_models.folder_of(app).glob("*.safetensors")
    assert name.startswith("mine-") and checkpoints.load(path).class_names == tuple(shapes.CLASS_NAMES)
    assert not app.error


@pytest.mark.parametrize("layers", ["blocks", "main", "all"])
def test_explore_shows_its_layers_beside_a_network_of_ours(shared: str, layers: str) -> None:
    app = open_app(first=shared, second="shapes-resnet-8", layers=layers)
    assert not app.error and len(explained(app)) == 2
    shown = [column["name"] for column in message(app)[0]["columns"]]
    assert {"body.0", "body.1"} <= set(shown) and ("body.0.conv1" in shown) == (layers != "blocks")
    around = {column["name"]: column["block"] for column in message(app)[0]["columns"]}
    assert around["body.1"] is None and around.get("body.1.conv2", "body.1") == "body.1"


@pytest.mark.parametrize("tab", ["block", "channels", "methods", "trust"])
def test_each_tab_of_explore_opens(shared: str, tab: str) -> None:
    app = open_app(first=shared, second="none", tab=tab, layer="body.1.conv1", layers="main")
    assert not app.error
    assert tab != "block" or "body.1" in [str(box.value) for box in app.selectbox]


def test_a_network_whose_classes_no_other_knows_keeps_its_place_on_every_page(shared: str) -> None:
    """Compare puts another one beside it; the first card of Gradients does not lose it."""
    (file,) = shared_folder().glob("*.safetensors")
    loaded = checkpoints.load(file)
    checkpoints.save(replace(loaded, class_names=tuple(f"class {index}" for index in range(10))), file)
    alone = bar.into_query("compare", {}, {"first": shared, "second": "none"})
    assert alone["networks"].split(",")[0] == shared and alone["networks"].count(",") == 1
    app = test_gradients.open_gradients(first=shared)
    app.segmented_control(key="gradients_source").set_value("checkpoint").run()
    assert app.query_params["first"] == shared and app.query_params["source"] == "checkpoint"


def test_it_is_compared_with_twins(shared: str) -> None:
    app = test_compare.open_compare(networks=f"shapes-plain-8,shapes-resnet-8,{shared}")
    assert test_compare.chosen(app)[-1] == shared


@pytest.mark.parametrize("what", ["weights", "activations", "blocks"])
def test_its_gradients_are_measured(shared: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from explorer.ui import forecasts

    monkeypatch.setattr(forecasts, "macs_a_second", lambda: 1e12)
    app = test_gradients.open_gradients(source="checkpoint", first=shared, second="none", what=what)
    test_gradients.check(app)
