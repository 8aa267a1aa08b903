"""Ensembles on Compare and Models under AppTest: weights, pictures, CAM, and what is kept."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer.experiments import ensembles
from explorer.experiments.ensembles import LearnedWeights
from explorer.ui.compare import report
from explorer.ui.compare.ensemble import learned_sentence
from explorer.ui.services import ensemble_store

PAGE = """
from explorer.ui import navigation
from explorer.ui.pages import compare, explore, models

navigation.run({
    "compare": ("Compare", compare.show), "models": ("Models", models.show), "explore": ("Explore", explore.show)
})
"""
MODELS = PAGE.replace('"compare": ("Compare", compare.show), "models"', '"models"').replace(
    "models.show),", 'models.show), "compare": ("Compare", compare.show),'
)  # the first page opens
PAIR = "shapes-plain-8,shapes-resnet-8"


def open_page(page: str = PAGE, **query: str) -> AppTest:
    app = AppTest.from_string(page, default_timeout=120)
    for name, value in query.items():
        app.query_params[name] = value
    return check(app.run())


def check(app: AppTest) -> AppTest:
    assert not app.exception and not app.error
    return app


def texts(app: AppTest) -> str:
    parts: Sequence[str] = [each.value for each in (*app.markdown, *app.caption, *app.info, *app.success)]
    return "\n".join(parts).replace("\\", "")


def test_weights_are_learned_kept_and_opened_again() -> None:
    written: list[bytes] = []
    section = report.section

    def takes_home(*arguments: Any) -> None:
        section(*arguments)
        written.append(report.arrays_npz(arguments[0], {}, arguments[4]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "section", takes_home)
        app = open_page(networks=PAIR, tab="ensemble", n="4000")
    with np.load(io.BytesIO(written[-1]), allow_pickle=False) as arrays:
        parts = [arrays[f"ensemble/{place}/part"] for place in range(2)]
        cam = ensembles.ensemble_cam(parts, arrays["ensemble/cam"].shape)
        assert np.array_equal(arrays["ensemble/cam"], cam) and cam.max() > 0
        assert arrays["ensemble/weights"].tolist() == [0.5, 0.5] and len(arrays["ensemble/layers"]) == 2
        assert f"Grad-CAM of the mean probability of {arrays['ensemble/class']}" in texts(app)
    said = texts(app)
    assert "Each network has the weight 1/2." in said and "The ensemble has" in said
    assert "Against" in said and "the ensemble corrects" in said and "the ensemble makes wrong" in said
    assert "Grad-CAM of the mean probability of" in said
    check(app.segmented_control(key="compare_weights").set_value("learned").run())
    assert app.query_params["weights"] in ("learned", ["learned"])
    assert "The ensemble has" not in texts(app), "there are no weights yet"
    (button,) = (each for each in app.button if each.label == "Learn the weights")
    check(button.click().run())
    assert "Learned on the 2,000 validation images of Shapes" in texts(app)
    check(app.text_input(key="ensemble_title").set_value("Both of *eight*").run())
    check(app.button(key="keep_ensemble").click().run())
    assert "The ensemble is kept" in texts(app)

    (path,) = ensemble_store.folder().glob("*.json")
    kept = ensemble_store.find(path.stem)
    assert kept is not None and kept.title == "Both of *eight*" and kept.ensemble.origin == "learned"
    assert kept.ensemble.weights != ensembles.uniform(2) and kept.ensemble.metrics is not None
    assert kept.ensemble.metrics["test"]["n"] == 4000
    # Another browser has the link, and sees these weights.
    other = open_page(networks=PAIR, tab="ensemble", n="4000", weights=f"kept-{kept.id}")
    assert "kept: Both of \\*eight\\*" in other.segmented_control(key="compare_weights").options
    assert "The weights are those of the kept ensemble Both of *eight*." in texts(other)
    # Kept once more, it still says where its weights were learned.
    check(other.button(key="keep_ensemble").click().run())
    (again,) = [path for path in ensemble_store.folder().glob("*.json") if path.stem != kept.id]
    second = ensemble_store.find(again.stem)
    assert second is not None and "Learned on the 2,000 validation images" in second.ensemble.learned_on
    assert (second.ensemble.learned_on, second.ensemble.origin) == (kept.ensemble.learned_on, "learned")
    turned = open_page(networks="shapes-resnet-8,shapes-plain-8", tab="ensemble", n="4000", weights=f"kept-{kept.id}")
    assert f"{kept.ensemble.weights[1]:.3f}" in texts(turned)
    third = open_page(networks=f"{PAIR},shapes-plain-20", tab="ensemble", n="4000", weights=f"kept-{kept.id}")
    assert "The kept ensemble of this link has other networks" in texts(third)


def test_models_lists_an_ensemble_for_its_owner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(networks=PAIR, tab="ensemble", n="4000")
    check(app.button(key="keep_ensemble").click().run())
    (path,) = ensemble_store.folder().glob("*.json")
    kept = ensemble_store.find(path.stem)
    assert kept is not None
    stranger = open_page(MODELS)
    assert "Your ensembles" not in [each.value for each in stranger.subheader]
    ensemble_store.delete("somebody else", kept.id)
    assert path.exists()

    monkeypatch.setattr("explorer.ui.client.owner", lambda: kept.owner)
    models = open_page(MODELS)
    assert "Your ensembles" in [each.value for each in models.subheader]
    assert "2 networks, 10 classes. Test accuracy" in texts(models)
    assert {each.label.replace("\\", "") for each in models.button} >= {
        "Open in Compare",
        "Explore plain-8",
        "Explore ResNet-8",
        "Delete",
    }
    check(models.button(key=f"delete-{kept.id}").click().run())
    assert path.exists(), "deleting takes a second click"
    check(models.button(key=f"delete-{kept.id}_yes").click().run())
    assert not path.exists() and "Your ensembles" not in [each.value for each in models.subheader]


def test_networks_of_other_classes_are_no_ensemble() -> None:
    app = open_page(networks="shapes-plain-8,cifar10jpeg-plain-20", tab="ensemble")
    assert "An ensemble needs labelled images, and networks that know the same classes." in texts(app)


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "0" * 32, "A" * 32])
def test_any_other_id_is_no_ensemble(name: str) -> None:
    assert ensemble_store.find(name) is None


def test_a_damaged_file_is_no_ensemble() -> None:
    ensemble_store.folder().mkdir(parents=True, exist_ok=True)
    for place, text in enumerate(("", "[]", '{"owner": "a", "title": 3, "created": 0, "ensemble": ""}', "\xff")):
        ensemble_store.folder().joinpath(f"{place:032x}.json").write_text(text)
        assert ensemble_store.find(f"{place:032x}") is None
    assert ensemble_store.kept("a") == []


def test_the_sentence_on_learned_weights_claims_no_gain_without_one() -> None:
    gained = LearnedWeights((0.2, 0.8), 0.1, 0.2, 0.0, 5, 2000)
    assert "falls from 0.2000 with equal weights to 0.1000 nats" in learned_sentence(gained, "shapes-32")
    same = LearnedWeights((0.5, 0.5), 0.2, 0.2, 0.0, 0, 2000)
    assert "is 0.2000 nats, as with equal weights" in learned_sentence(same, "shapes-32")
