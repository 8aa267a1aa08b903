"""One training step in slow motion on the page Gradients: its cost, its drawing, its link."""

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explorer.experiments import training_step
from explorer.training import TrainingConfig
from explorer.ui import forecasts, navigation
from explorer.ui.gradients import slow_step
from explorer.ui.gradients.slow_state import SlowState
from explorer.ui.services import offered_networks

PAGE = """
from explorer.ui import navigation
from explorer.ui.gradients import slow_step
navigation.run({"gradients": ("Gradients", slow_step.show)})
"""
NETWORKS = {"source": "checkpoint", "first": "shapes-plain-8", "second": "shapes-resnet-8"}


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "macs_a_second", lambda: 1e11)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the browser is told to draw."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(slow_step, "_component", lambda **options: found.append(options["data"]))
    return found


def open_page(**query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=120)
    for name, value in (NETWORKS | query).items():
        app.query_params[name] = value
    app.run()
    assert not app.exception and not app.error
    return app


def kept(app: AppTest, *names: str) -> list[str]:
    return ["".join(app.query_params[name]) for name in names]


def test_the_step_is_taken_after_a_click_drawn_and_taken_home(
    drawn: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, Callable[[], Any]] = {}
    monkeypatch.setattr(navigation, "download_button", lambda label, data, **_: files.update({label: data}))
    app = open_page(slow="trained", slow_pictures="4", geometry="paths")
    assert "This takes 8 passes of 4 images through 2 networks." in "\n".join(each.value for each in app.caption)
    assert not drawn and not files
    (button,) = [each for each in app.button if each.label.startswith("Measure (about")]
    button.click().run()
    assert not app.exception and kept(app, "slow_take", "geometry") == ["yes", "paths"]
    (data,) = drawn
    assert [each["title"] for each in data["networks"]] == ["plain-8", "ResNet-8"]
    assert len(data["pictures"]) == len(data["labels"]) == 4
    for each in data["networks"]:
        layers = each["layers"]
        assert all(len(lane) == len(layers) for lane in each["lanes"]) and len(each["worked"]) == len(layers)
        assert [title for title, _, _ in each["stages"]] == ["stem", "stage 1", "stage 2", "stage 3", "head"]
        assert any(each["finding"] in text.value.replace("\\", "") for text in app.markdown)
    heads, *rows = files["Results (CSV)"]().decode("utf-8-sig").splitlines()
    assert heads.startswith("network,layer,activation_rms,weight,gradient,") and len(rows) == 2 * (8 + 1 + 1)
    report = files["Report (HTML)"]().getvalue().decode()
    assert "The loss along the update" in report and "The rule: d = g + λ · w; m ← μ · m + d" in report
    # Another place, or a rerun, takes no step again; another rate takes one.
    monkeypatch.setattr(training_step, "training_step", lambda *_: pytest.fail("taken twice"))
    app.query_params["slow_at"] = "3"
    app.run()
    assert not app.exception and drawn[-1]["at"] == 3
    (rate,) = [each for each in app.number_input if each.label == "Learning rate"]
    rate.set_value(0.05).run()
    assert kept(app, "slow_rate") == ["0.05"] and len(drawn) == 2
    assert [each for each in app.button if each.label.startswith("Measure (about")]


def test_the_report_names_the_clipping_of_each_network(
    drawn: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, Callable[[], Any]] = {}
    monkeypatch.setattr(navigation, "download_button", lambda label, data, **_: files.update({label: data}))
    open_page(slow="trained", slow_take="yes", slow_pictures="4", slow_clip="0.01")
    report = files["Report (HTML)"]().getvalue().decode()
    assert len({*drawn[0]["settings"]}) == 2
    for each, told in zip(drawn[0]["networks"], drawn[0]["settings"], strict=True):
        assert f"{each['title']}: {told}" in report


def test_a_link_takes_the_step_from_initial_weights(drawn: list[dict[str, Any]]) -> None:
    open_page(slow="initial", slow_take="yes", slow_pictures="4", slow_optimizer="adam", slow_seed="3")
    (data,) = drawn
    assert data["settings"][0].startswith("η = 0.001, β₁ = 0.9") and data["rule"][0] == "d = g + λ · w"
    assert len({str(each["losses"]) for each in data["networks"]}) == 2, "equal weights, and shortcuts in one"


def test_the_state_survives_the_address_and_nothing_else_comes_through() -> None:
    state = SlowState("trained", 8, "adam", 0.002, slow_decay=0.0, slow_clip=1.5, slow_seed=7, slow_at=12)
    assert SlowState.from_query(state.to_query()) == state
    assert SlowState.from_query({"slow_rate": "nan", "slow_at": "-1", "slow": "x", "slow_clip": "1e9"}) == SlowState()
    assert SlowState().to_query() == {"slow": "initial"}
    config = state.config(8)
    assert isinstance(config, TrainingConfig) and config.clip == 1.5 and config.learning_rate == 0.002
    assert SlowState().config(16).clip is None


def test_names_of_networks_in_the_findings_are_text(
    drawn: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    title = "**a** :red[b]"  # as an owner may choose it, where two networks have one architecture
    monkeypatch.setattr(offered_networks, "unique_titles", lambda shown, _: dict.fromkeys(shown, title))
    app = open_page(slow_take="yes", slow_pictures="4")
    found = [each.value for each in app.markdown if each.value.startswith("- ")]
    assert drawn and found and not [text for text in found if "**" in text or ":red[" in text]
