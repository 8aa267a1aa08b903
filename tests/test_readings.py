"""Models without a browser: which reading of a file is recommended, measured on labelled pictures."""

import pytest
from streamlit.testing.v1 import AppTest

from explorer import checkpoints
from explorer.ui.models import upload_panel
from tests.e2e.test_models import theirs
from tests.test_models import check, give, open_models, press

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(scope="module")
def content() -> bytes:
    return theirs(8)


def shipped(name: str) -> bytes:
    """The weights of a pretrained network in a file that is laid out like akamaster's."""
    return theirs(8, checkpoints.load_pretrained(name).network.state_dict())


def labels_of(app: AppTest) -> list[str]:
    return [box.label for box in app.selectbox]


def test_a_network_is_measured_on_pictures_of_its_own_classes_alone(content: bytes) -> None:
    app = open_models()
    give(app, content)
    assert "Labelled pictures" not in labels_of(app)
    assert [text for text in app.caption if "CIFAR-10's test pictures, which are not on this machine" in text.value]
    press(app, "Get CIFAR-10 on Build & train")
    assert [text.value for text in app.markdown] == ["here is Build & train"]
    assert app.query_params == {"data": "cifar10"} and app.session_state["session"].build_tab == "Data"

    app = open_models()
    give(app, content)
    (classes,) = [box for box in app.selectbox if box.label == "Classes"]
    check(classes.select("Shapes").run())
    assert app.selectbox(key="labelled").options == ["shapes-32"]
    (classes,) = [box for box in app.selectbox if box.label == "Classes"]
    check(classes.select("class 0, class 1, …").run())
    assert "Labelled pictures" not in labels_of(app)
    assert [button for button in app.button if button.label == "Upload pictures on Build & train"]


def measured(monkeypatch: pytest.MonkeyPatch, content: bytes) -> AppTest:
    monkeypatch.setattr(upload_panel, "TRIED", 60)
    app = open_models()
    give(app, content)
    (classes,) = [box for box in app.selectbox if box.label == "Classes"]
    check(classes.select("Shapes").run())
    press(app, "Measure")
    return app


def test_what_does_not_beat_chance_is_not_recommended(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    app = measured(monkeypatch, content)
    (warning,) = app.warning
    said = warning.value.replace("\\", "")
    assert said.startswith("No reading beats chance on these images.")
    assert "(n = 60)" in said and "in 12 tries" in said
    assert len(app.dataframe[-1].value) == 12, "the figures are there"
    assert not [button for button in app.button if button.label.startswith("Take this")]
    assert not [text for text in app.markdown if "Best on" in text.value]


def test_what_beats_chance_is_recommended_and_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    app = measured(monkeypatch, shipped("shapes-resnet-8"))
    assert not app.warning
    (best,) = [text.value for text in app.markdown if text.value.startswith("Best on 60 pictures")]
    assert "ResNet\\-8, option A" in best
    press(app, "Take this reading and normalisation")
    assert app.radio[0].value == 0 and "Use this model" in [button.label for button in app.button]
