"""Models without a browser: which reading of a file is recommended, measured on labelled pictures."""

from dataclasses import replace
from urllib.error import URLError
from urllib.request import Request

import onnx
import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer import checkpoints, downloads
from explorer.architectures import build
from explorer.datasets import Split, shapes
from explorer.onnx_export import to_onnx
from explorer.training import evaluate
from explorer.ui.models import upload_panel
from explorer.weights_import import NORMALISATIONS, Normalisation
from tests.e2e.test_models import theirs
from tests.test_models import check, folder_of, give, open_models, press
from tests.test_pages import texts

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def content() -> bytes:
    return theirs(8)


def shipped(name: str) -> bytes:
    """The weights of a pretrained network in a file that is laid out like akamaster's."""
    return theirs(8, checkpoints.load_pretrained(name).network.state_dict())


def labels_of(app: AppTest) -> list[str]:
    return [box.label for box in app.selectbox]


def test_the_likelier_reading_is_chosen_and_an_even_question_is_left_open(content: bytes) -> None:
    app = open_models()
    give(app, content)
    assert [option.replace("\\", "") for option in app.radio[0].options] == [
        "ResNet-8, option A (more likely)",
        "plain-8",
    ]
    assert app.radio[0].value == 0 and not app.button(key="use").disabled
    give(app, theirs(8, beside={}), "bare.th")
    assert app.radio[0].value is None and app.button(key="use").disabled
    assert not [option for option in app.radio[0].options if "more likely" in option]
    assert [text.value for text in app.caption if "evidence in the file is even" in text.value]
    app.radio[0].set_value(1).run()
    assert not check(app).button(key="use").disabled


def test_a_network_is_measured_on_pictures_of_its_own_classes_alone(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def unreachable(request: Request, timeout: float) -> None:
        asked.append(request.full_url)
        raise URLError("no network")

    monkeypatch.setattr(downloads, "urlopen", unreachable)
    monkeypatch.setattr(downloads, "RETRY_PAUSES_S", ())
    app = open_models()
    give(app, content)
    assert "Labelled images" not in labels_of(app)
    assert [text.value for text in app.info if "CIFAR-10 has labelled images" in text.value and "170 MB" in text.value]
    assert not asked, "nothing is downloaded without a click"
    press(app, "Download CIFAR-10")
    assert len(asked) == 1 and app.radio[0].value == 0, "the file and its answer stay"
    assert [error.value for error in app.error if "cannot be downloaded because" in error.value]

    app = open_models()
    give(app, content)
    (classes,) = [box for box in app.selectbox if box.label == "Classes"]
    check(classes.select("Shapes").run())
    assert app.selectbox(key="labelled").options == ["Shapes"]
    (classes,) = [box for box in app.selectbox if box.label == "Classes"]
    check(classes.select("class 0, class 1, …").run())
    assert "Labelled images" not in labels_of(app)
    press(app, "Upload images on Build & train")
    assert [text.value for text in app.markdown] == ["here is Build & train"]
    assert app.query_params == {"data": "own"} and app.session_state["session"].build_tab == "Data"


def measured(monkeypatch: pytest.MonkeyPatch, content: bytes, name: str = "weights.th") -> AppTest:
    monkeypatch.setattr(upload_panel, "TRIED", 60)
    app = open_models()
    give(app, content, name)
    (classes,) = [box for box in app.selectbox if box.label == "Classes"]
    check(classes.select("Shapes").run())
    press(app, "Measure")
    return app


def test_what_does_not_beat_chance_is_not_recommended(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    app = measured(monkeypatch, content)
    (warning,) = app.warning
    said = warning.value.replace("\\", "")
    assert said.startswith("No reading beats chance on these images.")
    assert "(n = 60)" in said and "in 18 tries" in said
    assert len([table for table in app.dataframe if len(table.value) == 18]) == 1, "the figures are there"
    assert not [button for button in app.button if button.label.startswith("Take this")]
    assert not [text for text in app.markdown if "Best on" in text.value]


def test_what_beats_chance_is_recommended_and_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    app = measured(monkeypatch, shipped("shapes-resnet-8"))
    assert not app.warning
    (best,) = [text.value for text in app.markdown if text.value.startswith("Best on 60 images")]
    assert "ResNet\\-8, option A" in best
    press(app, "Take this reading and normalisation")
    assert app.radio[0].value == 0 and "Use this model" in [button.label for button in app.button]


def as_onnx(normalisation: Normalisation) -> bytes:
    """A pretrained network as one that takes images in that normalisation, in a file that tells none."""
    made = checkpoints.load_pretrained("shapes-resnet-8")
    weights = {name: value.clone() for name, value in made.network.state_dict().items()}
    kernel = weights["stem.conv.weight"]
    mean, std, own_mean, own_std = (
        torch.tensor(each).reshape(3, 1, 1) for each in (normalisation.mean, normalisation.std, made.mean, made.std)
    )
    # (x - m) / s = y t / s + (n - m) / s where y = (x - n) / t: a factor of the weights, and a constant for the norm.
    weights["stem.norm.running_mean"] -= (kernel * (mean - own_mean) / own_std).sum((1, 2, 3))
    weights["stem.conv.weight"] = kernel * std / own_std
    network = build(made.spec)
    network.load_state_dict(weights)
    model = onnx.load_from_string(to_onnx(replace(made, network=network.freeze())))
    del model.metadata_props[:]
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("name", ["half", "bytes"])
def test_an_onnx_file_that_tells_no_normalisation_is_read_right_by_labelled_images(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = measured(monkeypatch, as_onnx(NORMALISATIONS[name]), "net.onnx")
    assert "nothing in the file tells it" in texts(app) and not app.warning
    press(app, "Take this reading and normalisation")
    assert next(box for box in app.selectbox if box.label == "Normalisation").value == name
    press(app, "Use this model")
    (path,) = folder_of(app).glob("*.safetensors")
    used = checkpoints.load(path)
    data = shapes.load(size=32).test
    found = evaluate(used.network, Split(data.images[:200], data.labels[:200]), used.mean, used.std)
    assert used.mean == NORMALISATIONS[name].mean and found.accuracy > 0.85
