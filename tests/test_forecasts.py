"""Laws of forecasts: from measured steps to any training, the first proposal, and what would be enough."""

import json
import math
import os
import re
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import runs
from explorer.__main__ import main
from explorer.architectures import describe
from explorer.datasets.shapes import Drawn
from explorer.machine import cores
from explorer.presets import cifar
from explorer.runs import speed as machine_speed
from explorer.training import Speed, TrainingConfig, choose_device, forecast, propose, speed
from explorer.training.proposal import LEAST_PASSES, RUNGS, one_click, sufficient_budget
from explorer.ui import forecasts
from explorer.ui.build_state import QUICK_TRAINING, BuildState, regular_stages
from explorer.ui.services.process_tuning import threads
from tests.conftest import SPEED, keep_speed
from tests.test_promises import leaving, write_hook

TWINS = (cifar(20, "none"), cifar(20))
MINUTE = TrainingConfig(seconds=60.0, batch_size=64)
COUNTS = Drawn(32).counts
MEASURED = Speed.from_dict(SPEED)
MEASURE = machine_speed.measure
PAGE = """
from explorer.ui.pages import build
build.show()
"""


def times(factor: float) -> Speed:
    """A machine that is so many times slower."""
    return replace(MEASURED, **{name: factor * getattr(MEASURED, name) for name in ("step", "layer", "mac", "byte")})


# --- the speed -------------------------------------------------------------------------------------------------------


def test_the_costs_are_found_again_in_the_steps_that_follow_from_them() -> None:
    costs = np.array([2e-3, 2e-4, 5e-11, 4e-10])
    specs = [cifar(8), cifar(20), cifar(8, size=16), cifar(8, width=64), cifar(8, size=64)]
    amounts = [speed._amounts(spec) for spec in specs]
    batches = [32, 8, 32, 32, 16]
    seconds = [float(costs @ [1.0, a, b * m, b * s]) for (a, m, s), b in zip(amounts, batches, strict=True)]
    assert speed._solved(amounts, batches, seconds) == pytest.approx(tuple(costs), rel=1e-6)


def test_no_cost_is_below_nothing() -> None:
    """Steps that take the same however large they are cannot be explained by what they compute."""
    specs = [cifar(8, size=16), cifar(8), cifar(20, size=64)]
    found = speed._solved([speed._amounts(spec) for spec in specs], [32, 32, 32], [0.1, 0.1, 0.1])
    assert min(found) >= 0 and found == pytest.approx((0.1, 0, 0, 0), abs=1e-6)


def test_a_step_costs_what_its_layers_operations_and_bytes_cost() -> None:
    built = describe(TWINS[1])
    alone = (
        MEASURED.step
        + MEASURED.layer * len(built.layers)
        + 64 * (MEASURED.mac * built.macs + MEASURED.byte * built.activation_bytes)
    )
    assert MEASURED.step_seconds(TWINS, 64) == pytest.approx(alone), "the residual twin is the slower one"
    assert MEASURED.step_seconds(TWINS[1:], 64) == pytest.approx(alone * MEASURED.alone)
    in_turns = replace(MEASURED, fit=1)
    assert in_turns.step_seconds(TWINS[1:] * 2, 64) == pytest.approx(2 * alone), "on a GPU times add up"
    assert MEASURED.step_seconds(TWINS[1:] * 4, 64) == pytest.approx(2 * alone), "four do not fit on two cores"
    assert replace(MEASURED, float32=1.5).step_seconds(TWINS, 64, "float32") == pytest.approx(1.5 * alone)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"cores": 2}', json.dumps({"cores": -1, "speed": SPEED}), '{"cores": 2, "speed": {"layer": 1}}']
    + [json.dumps({"cores": "x", "speed": SPEED | change}) for change in ({"fit": 0}, {"mac": -1}, {"byte": "1"})],
)
def test_a_kept_speed_that_is_damaged_or_of_another_machine_is_measured_again(text: str, data_folder) -> None:
    data_folder.joinpath("speed.json").write_text(text)
    assert machine_speed.last_measured() is None


def test_pages_that_measure_use_the_speed_that_is_kept_and_do_not_wait_for_one(data_folder) -> None:
    share = threads() / cores() if choose_device().type == "cpu" else 1.0
    assert forecasts.macs_a_second() == pytest.approx(MEASURED.macs_a_second() * share)
    assert replace(MEASURED, float32=2.0).macs_a_second() == pytest.approx(MEASURED.macs_a_second() / 2)
    data_folder.joinpath("speed.json").unlink()
    assert forecasts.macs_a_second() > 0 and machine_speed.last_measured() is None


# --- the forecast ----------------------------------------------------------------------------------------------------


def test_twice_the_budget_buys_twice_the_steps_and_half_the_speed_half_of_them() -> None:
    minute = forecast(MEASURED, TWINS, MINUTE, COUNTS)
    assert minute.passes == pytest.approx(minute.steps * 64 / COUNTS[0])
    double = forecast(MEASURED, TWINS, replace(MINUTE, seconds=120.0), COUNTS)
    # Not to the step: the last epoch is cut off before its validation, which takes some per cent of an epoch.
    assert double.steps == pytest.approx(2 * minute.steps, rel=0.1)
    assert forecast(times(2), TWINS, MINUTE, COUNTS).steps == pytest.approx(minute.steps / 2, rel=0.1)
    assert double.measuring == minute.measuring > MEASURED.start  # of as many test pictures


def test_epochs_take_as_long_as_that_long_a_budget_buys() -> None:
    epochs = TrainingConfig(epochs=3, batch_size=64)
    found = forecast(MEASURED, TWINS, epochs, COUNTS)
    assert found.steps == 3 * (COUNTS[0] // 64)
    assert forecast(MEASURED, TWINS, replace(MINUTE, seconds=found.seconds), COUNTS).steps == pytest.approx(
        found.steps, abs=1
    )


def test_fewer_classes_are_passed_more_often() -> None:
    ten, four = Drawn(16), Drawn(16, ("ring", "cross", "star", "arrow"))
    passes = [
        forecast(MEASURED, (cifar(20, size=16, classes=len(drawn.classes)),), MINUTE, drawn.counts).passes
        for drawn in (ten, four)
    ]
    assert passes[1] == pytest.approx(2.5 * passes[0], rel=0.02)


# --- what one click trains -------------------------------------------------------------------------------------------


def test_the_proposal_is_the_deepest_for_which_the_budget_suffices() -> None:
    depths = []
    for factor in (1e-3, 0.1, 0.3, 0.7, 1, 1.5, 3, 10, 1e3):
        proposal = propose(times(factor))
        depths.append(proposal.rung.depth)
        index = RUNGS.index(proposal.rung)
        assert proposal.suffices or index == len(RUNGS) - 1
        for deeper in RUNGS[:index]:
            bought = forecast(times(factor), (deeper.spec, deeper.spec.twin()), proposal.config, deeper.pictures)
            assert bought.passes < deeper.passes
    assert depths == sorted(depths, reverse=True) and depths[0] == 56 and depths[-1] == 8
    assert all(rung.passes >= 4 for rung in RUNGS), "at least four times through the data"


def test_what_would_be_enough_is_the_first_budget_that_is() -> None:
    def bought(seconds: float):
        return forecast(times(2), TWINS, replace(MINUTE, seconds=seconds), COUNTS)

    seconds = sufficient_budget(bought)
    assert seconds is not None and bought(seconds).passes >= LEAST_PASSES > bought(seconds - 61).passes
    assert sufficient_budget(lambda seconds: bought(1.0)) is None


def test_auto_goes_with_no_choice_of_a_network(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    for more in (["resnet-20"], ["--epochs", "3"], ["--size", "16"], ["--twin"], ["--data", "x"], ["--threads", "1"]):
        monkeypatch.setattr("sys.argv", ["explorer", "train", "--auto", *more])
        assert main() == 2
        assert "`--auto` chooses the network" in capsys.readouterr().err


def test_auto_measures_this_machine_in_a_process_of_its_own_trains_what_it_forecast_and_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path, data_folder
) -> None:
    """One measurement for all of it: it takes seconds on every core. Its process asks nothing of another machine, by
    the hook of `test_promises.py`."""
    hook = data_folder / "python"
    hook.mkdir()
    write_hook(hook, hook / "calls.txt")
    monkeypatch.setenv("PYTHONPATH", str(hook))
    data_folder.joinpath("speed.json").unlink()
    assert machine_speed.last_measured() is None
    measured: list[Speed] = []

    def measure() -> Speed:
        measured.append(MEASURE())
        return measured[-1]

    monkeypatch.setattr(machine_speed, "measure", measure)
    before = time.time()
    monkeypatch.setattr("sys.argv", ["explorer", "train", "--auto", "--seconds", "2", "--seed", "3", "--json"])
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main() == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["seed"] == 3 and answer["seconds"] == 2
    assert answer["forecast"]["steps"] >= 1 and answer["steps"] >= 1
    plain, residual = answer["networks"]
    assert (plain["shortcut"], residual["shortcut"]) == ("none", "identity")
    assert plain["steps"] == residual["steps"] == answer["steps"]
    assert plain["test"]["n"] == residual["test"]["n"] == 1200 and 0 <= residual["test"]["accuracy"] <= 1
    assert not list(tmp_path.iterdir()) and not runs.list_runs()
    assert os.environ["EXPLORER_DATA"] == str(data_folder)
    calls = (hook / "calls.txt").read_text()
    assert "explorer speed" in calls and not leaving(hook / "calls.txt"), calls
    (found,) = measured
    assert machine_speed.last_measured() == found and machine_speed.is_fresh(found)
    assert before < found.measured < time.time() and found.start > 0
    assert min(found.alone, found.float32, found.test) > 0 and found.step + found.layer + found.mac + found.byte > 0


# --- the page --------------------------------------------------------------------------------------------------------


def opened(**query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=180)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def state_of(app: AppTest) -> BuildState:
    values = app.query_params.items()
    return BuildState.from_query({name: value if isinstance(value, str) else value[-1] for name, value in values})


def words(app: AppTest) -> str:
    return "\n".join(str(element.value) for kind in (app.caption, app.warning) for element in kind)


def test_every_rung_is_a_form_of_exactly_its_networks_and_training() -> None:
    for rung in RUNGS:
        form = forecasts.form_of(rung)
        assert form.network((3, rung.size, rung.size), len(rung.classes)) == rung.spec
        assert form.training() == one_click() and form.data == rung.drawn.key
        assert BuildState.from_query(form.to_query()) == form


def test_the_first_visit_shows_the_proposal_with_its_rule() -> None:
    app = opened()
    rung = propose(MEASURED).rung
    assert app.button(key="start").label == f"Train {rung.spec.name} and {rung.spec.twin().name}"
    assert "This is the deepest pair that learns in a minute on this machine" in words(app)
    assert app.button(key="proposal").disabled and "Too little to learn" not in words(app)
    app.toggle(key="twin").set_value(False).run()
    assert state_of(app) == replace(forecasts.form_of(rung), twin=False)


@pytest.mark.parametrize("query", [{"preset": "lenet"}, {"data": "shapes-64"}, {"twin": "no"}, {"config": "{}"}])
def test_a_link_is_never_overridden(query: dict[str, str]) -> None:
    app = opened(**query)
    state = BuildState.from_query(query)
    spec = state.network((3, 64, 64) if state.data == "shapes-64" else (3, 32, 32), 10)
    assert spec.name in app.button(key="start").label
    assert "This is the deepest pair" not in words(app)


def test_too_small_a_budget_is_said_with_what_would_be_enough() -> None:
    """Each button sets what suffices by itself."""
    query = BuildState(preset="resnet-56", data="shapes-32").with_config(seconds=80.0).to_query()
    app = opened(**query)
    assert "Too little to learn" in words(app)
    labels = [button.label for button in app.button if re.fullmatch(r"enough_\d", str(button.key))]
    assert labels[0] == "8 layers" and "16 pixels" not in labels and labels[-1].startswith("Train for ")
    for number in range(len(labels)):
        app = opened(**query)
        app.button(key=f"enough_{number}").click().run()
        assert not app.exception and "Too little to learn" not in words(app), labels[number]
    small = next(
        seconds
        for seconds in range(10, 600, 10)
        if forecast(
            MEASURED, [cifar(20, size=16)] * 2, replace(MINUTE, seconds=float(seconds)), Drawn(16).counts
        ).passes
        >= LEAST_PASSES
    )
    app = opened(**BuildState(preset="resnet-20", data="shapes-32").with_config(seconds=float(small)).to_query())
    (button,) = [button for button in app.button if button.label == "16 pixels"]
    button.click().run()
    assert state_of(app).data == "shapes-16" and "Too little to learn" not in words(app)


def wait_for_the_measurement() -> None:
    end = time.monotonic() + 60
    while forecasts.is_measuring() and time.monotonic() < end:
        time.sleep(0.01)
    assert not forecasts.is_measuring()


@pytest.mark.parametrize("changes_something", [False, True])
def test_a_form_stands_before_the_speed_is_known_and_stays_when_it_is(
    changes_something: bool, data_folder, monkeypatch
) -> None:
    data_folder.joinpath("speed.json").unlink()
    release = threading.Event()

    def measure() -> None:
        assert release.wait(60)
        keep_speed(data_folder)

    monkeypatch.setattr(machine_speed, "measure", measure)
    app = opened()
    form = forecasts.form_of(forecasts.CLASSROOM)
    label = app.button(key="start").label
    assert label.startswith("Train ") and "38" in label and not app.button(key="start").disabled
    assert "Measuring how fast this machine trains" in words(app) and "passes through the data" not in words(app)
    assert app.button(key="proposal").disabled and app.button(key="classroom").disabled
    if changes_something:
        app.toggle(key="twin").set_value(False).run()
        form, label = replace(form, twin=False), app.button(key="start").label
    release.set()
    wait_for_the_measurement()
    app.run()
    assert not app.exception and app.button(key="start").label == label
    assert "Measuring how fast" not in words(app) and "passes through the data" in words(app)
    assert not app.button(key="proposal").disabled
    app.number_input(key="width").set_value(12).run()
    width = form.with_spec(stages=regular_stages(6, 12), stem={**form.spec_fields()["stem"], "channels": 12})
    assert state_of(app) == width
    app.button(key="proposal").click().run()
    assert state_of(app) == forecasts.form_of(propose(MEASURED).rung)


def test_a_speed_that_cannot_be_measured_is_said_and_not_tried_at_each_run_of_the_page(
    data_folder, monkeypatch
) -> None:
    """A folder in the place of the interpreter that would measure it."""
    data_folder.joinpath("speed.json").unlink()
    monkeypatch.setattr(forecasts, "_failed", (-math.inf, ""))
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", str(data_folder))
        app = opened()
        wait_for_the_measurement()
    app.run()
    assert not app.exception and "could not be measured" in app.error[0].value
    app.run()
    assert "could not be measured" in app.error[0].value and not forecasts.is_measuring(), "another try measures it"
    assert not data_folder.joinpath("speed.json").exists()
    monkeypatch.setattr(forecasts, "_failed", (forecasts._failed[0] - machine_speed.FRESH_S, ""))
    monkeypatch.setattr(machine_speed, "measure", lambda: keep_speed(data_folder))
    app.run()
    wait_for_the_measurement()
    assert not app.run().error, "a minute later it is tried again"


def test_classroom_sets_the_form_of_a_slow_machine() -> None:
    app = opened(preset="vgg-11")
    app.button(key="classroom").click().run()
    assert not app.exception and app.button(key="classroom").disabled
    state = state_of(app)
    assert state == forecasts.form_of(forecasts.CLASSROOM) and state.training().seconds == QUICK_TRAINING["seconds"]
