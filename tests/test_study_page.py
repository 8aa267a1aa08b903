"""The question of studies on the page Experiments under AppTest: its form, its cost, partial and whole answers."""

import importlib.metadata
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import runs, studies
from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.datasets import Dataset, Split, channel_statistics
from explorer.figures import Chapter, Chart, Table, report_html
from explorer.machine.locks import take
from explorer.runs import speed as machine_speed
from explorer.studies import Axis, Study, StudyFolder, driver
from explorer.studies.analysis import analyse
from explorer.studies.ready_made import (
    ABLATION,
    ABLATION_NOTE,
    PLAIN_OF_HE,
    PUBLISHED,
    PUBLISHED_PLAIN,
    READY_MADE,
    RESNETS_OF_HE,
)
from explorer.training import Speed, TrainingConfig
from explorer.ui import client
from explorer.ui.experiments import study_view
from explorer.ui.experiments.state import ExperimentsState, ReadyStudy
from explorer.ui.experiments.study import EXAMPLES, _value, asked, axes_text, parse_axes
from tests.made_runs import finish

pytestmark = pytest.mark.usefixtures("one_thread")

PAGE = """
from explorer.ui import navigation
from explorer.ui.pages import experiments
navigation.run({"experiments": ("Experiments", experiments.show)})
"""
OWNER = "0" * 32
SPEED = Speed(1e-3, 1e-4, 1e-10, 1e-9, 0.7, 1.0, 0.4, 2.0, 2, "CPU", "float32", 4e9)
SMALL = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 8, 8), classes=3)
CONFIG = TrainingConfig(epochs=1, batch_size=8, device="cpu", precision="float32")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
    monkeypatch.setattr(client, "owner", lambda: OWNER)
    monkeypatch.setattr(machine_speed, "last_measured", lambda: SPEED)


def open_page(**query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=60)
    for name, value in {"question": "study", **query}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption, *app.info, *app.error)).replace("\\", "")


def made(owner: str = OWNER) -> StudyFolder:
    """Twins of 6 and 10 layers on noise, two seeds: four runs of three steps."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (36, 3, 8, 8), np.uint8)
    labels = np.arange(36) % 3
    first, second, third = (Split(pixels[at : at + 12].copy(), labels[at : at + 12].copy()) for at in (0, 12, 24))
    dataset = Dataset("noise", ("a", "b", "c"), *channel_statistics(first.images), first, second, third)
    axes = (Axis("depth", (6, 10)), Axis("shortcut", ("none", "identity")))
    data = {"kind": "stored", "number": runs.store_dataset(dataset)}
    study = Study("Small", SMALL.to_dict(), CONFIG.to_dict(), data, axes, (0, 1), device="cpu", threads=1)
    return studies.create(study, owner=owner)


def train(folder: StudyFolder, *which: int) -> None:
    for index in which:
        kept = folder.trials()[index]
        run = runs.prepare(kept.trial.request, kept.run_id)
        run.lock.touch()
        finish(run)


def test_the_cost_comes_before_the_click_which_makes_and_starts_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[StudyFolder] = []
    monkeypatch.setattr(driver, "start", started.append)
    app = open_page(places="1")
    assert re.search(r"9 runs of 18 networks: about .+ on this machine with 1 run at a time", said(app))
    app.button(key="study_start").click().run()
    assert not app.exception and not app.error
    (place,) = started
    assert app.query_params["study"] in (place.id, [place.id])
    assert place.owner == OWNER and place.study().name == "When does a shortcut help?"
    assert "0 of 18 networks are trained." in said(app)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"axes": "depth:9|20;shortcut:none|identity"}, "must be 6n + 2"),
        ({"axes": f"learning_rate:{'|'.join(f'0.{n:02}' for n in range(1, 27))}", "seeds": "20"}, "500 are the most"),
        ({"epochs": "1000", "ready": "degradation", "seeds": "20"}, "are the most. Take fewer values"),
    ],
)
def test_an_impossible_study_is_refused_with_the_number_and_cannot_start(query: dict[str, str], expected: str) -> None:
    app = open_page(places="1", **query)
    assert expected in said(app)
    assert all(each.disabled for each in app.button if each.key == "study_start")
    assert not studies.list_studies()


def test_partial_and_whole_answers_stand_on_the_page() -> None:
    folder = made()
    train(folder, 0)
    app = open_page(study=folder.id)
    assert "2 of 8 networks are trained." in said(app) and "One seed gives no interval" in said(app)
    assert "depth 6, seed 0: finished" in said(app) and "depth 10, seed 0: not started" in said(app)
    assert {each.key for each in app.button} >= {"study_resume", "study_new"}
    train(folder, 1, 2, 3)
    app = open_page(study=folder.id)
    text = said(app)
    assert "networks are trained." not in text and "Paired differences against depth" in text
    assert "Gradient maps side by side" in text and "At depth 10, seed 0" in text
    assert "study_resume" not in {each.key for each in app.button}
    found = studies.progress(folder)
    parts = study_view.answer(folder.study(), found, analyse(folder.study(), found.results), "light")
    page = report_html("A study", [Chapter("Small", parts)])
    assert str(parts[0]).split(".")[0] in page and "Paired differences" in page


def keys(app: AppTest) -> set[str]:
    return {str(each.key) for each in app.button}


def test_a_study_is_deleted_with_its_runs_after_a_question_and_nothing_else_goes() -> None:
    folder, other = made(), made()
    train(folder, 0, 1)
    train(other, 0)
    app = open_page(study=folder.id)
    app.button(key="study_delete").click().run()
    assert "Delete this study with its 2 runs and their networks?" in said(app)
    app.button(key="study_keep").click().run()
    assert "study_yes" not in keys(app) and studies.find(folder.id)
    app.button(key="study_delete").click().run()
    app.button(key="study_yes").click().run()
    assert not app.exception and not app.error
    assert studies.list_studies() == [other]
    assert [run.id for run in runs.list_runs()] == [other.trials()[0].run_id]
    assert "study" not in app.query_params and "study_start" in keys(app), "the form of a new one follows"


def test_a_paused_study_without_a_process_is_resumed_or_deleted_and_a_mark_in_a_deleted_one_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = made()
    assert "study_stop" not in keys(open_page(study=folder.id)), "nothing has started"
    folder.lock.touch()
    train(folder, 0)
    driver.pause(folder)
    driver.write_outcome(folder, "paused", "")
    assert not study_view._goes_on(folder, studies.progress(folder)), "the page asks no more"
    assert keys(open_page(study=folder.id)) >= {"study_resume", "study_delete"}
    assert not keys(open_page(study=folder.id)) & {"study_stop", "study_pause"}
    lock = take(folder.lock)
    assert lock
    app = open_page(study=folder.id)
    assert study_view._goes_on(folder, studies.progress(folder))
    assert "study_stop" in keys(app) and "study_delete" not in keys(app)
    lock.close()
    driver.delete(folder)  # in another tab
    app.button(key="study_stop").click().run()
    assert not app.exception and "The study is gone: it was deleted" in said(app)


def test_a_budget_by_the_clock_stands_among_the_limits() -> None:
    study = made().study()
    by_clock = replace(study, config={**study.config, "epochs": None, "seconds": 60.0})
    assert study_view.limits(study) == study_view.LIMITS
    assert study_view.limits(by_clock)[-1] == study_view.OF_THE_CLOCK
    assert study_view.limits(replace(study, axes=(Axis("seconds", (30, 60)),)))[-1] == study_view.OF_THE_CLOCK
    assert study_view.limits(replace(by_clock, axes=(Axis("epochs", (1, 2)),))) == study_view.LIMITS


def test_ray_is_offered_where_it_is_installed_and_its_absence_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[StudyFolder] = []
    monkeypatch.setattr(driver, "start", started.append)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    version = importlib.metadata.version

    def missing(name: str) -> str:
        if name == "ray":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", missing)
        assert "study_engine" not in {each.key for each in open_page().segmented_control}
        app = open_page(engine="ray")
        (error,) = app.error
        assert error.value.startswith("Ray is not installed; install it with") and "\n" not in error.value
        assert app.button(key="study_start").disabled
    app = open_page()
    app.segmented_control(key="study_engine").set_value("ray").run()
    assert "hands its runs to a Ray on this machine" in said(app)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    app = open_page(engine="ray")
    assert "hands its runs to the Ray at the address that this server was given" in said(app)
    app.button(key="study_start").click().run()
    assert "No Ray answers at 127.0.0.1:1; start it there or correct `RAY_ADDRESS`." in said(app)
    assert not studies.list_studies() and not started
    monkeypatch.setenv("RAY_ADDRESS", "local")
    app.button(key="study_start").click().run()
    (place,) = started
    assert (place.settings()["engine"], place.settings()["places"]) == ("ray", 0)
    # Ray has gone: the rest is trained here.
    monkeypatch.setenv("RAY_ADDRESS", "head")
    app = open_page(study=place.id)
    app.button(key="study_resume").click().run()
    assert "`RAY_ADDRESS` must be host:port" in said(app)
    app.button(key="study_resume_here").click().run()
    assert started == [place] * 2 and place.settings()["engine"] == "local" and not app.error


def test_another_user_sees_the_study_and_cannot_change_it_and_a_deleted_one_is_named() -> None:
    app = open_page(study=made(owner="1" * 32).id)
    assert {each.key for each in app.button if str(each.key).startswith("study_")} == {"study_new"}
    assert "This study is not on this server" in said(open_page(study="ab" * 16))


@pytest.mark.parametrize("field", EXAMPLES)
def test_every_axis_that_the_page_offers_makes_a_study(field: str) -> None:
    axis = Axis(field, tuple(_value(part.strip()) for part in EXAMPLES[field].split(",")))
    study = asked(ExperimentsState(ready="norm", axes=axes_text([axis]), seeds=1))
    study.check_size()
    assert study.axes == (axis,) and sum(len(trial.cells) for trial in study.trials()) == len(axis.values)
    assert parse_axes(axes_text([axis])) == (axis,)


def test_axes_stand_in_the_link_as_they_are() -> None:
    for entry in READY_MADE.values():
        axes = entry.make().axes
        assert parse_axes(axes_text(axes)) == axes
        ExperimentsState(axes=axes_text(axes))
    assert {*READY_MADE} == {*ReadyStudy.__args__}  # type: ignore[attr-defined]
    state = ExperimentsState(ready="norm", axes="depth:8|20", seeds=2, epochs=3)
    study = asked(state)
    assert (study.axes, study.seeds, study.config["epochs"]) == ((Axis("depth", (8, 20)),), (0, 1), 3)


def test_the_published_errors_stand_beside_degradation_alone() -> None:
    assert set(READY_MADE["degradation"].make().axes[0].values) == {*RESNETS_OF_HE} == {*PLAIN_OF_HE, 110}
    folder = made()
    train(folder, 0)
    study, found = folder.study(), studies.progress(folder)
    for name, shown in (("Degradation", True), ("Small", False)):
        named = Study.from_dict({**study.to_dict(), "name": name})
        (chart,) = [
            part
            for part in study_view.answer(named, found, analyse(named, found.results), "dark")
            if isinstance(part, Chart) and part.title.startswith("Training and test error")
        ]
        names = {trace.name for trace in chart.figure.data}
        assert (PUBLISHED in names) == (PUBLISHED_PLAIN in names) == shown


def test_the_published_ablation_stands_beside_the_differences_of_its_depths_as_theirs() -> None:
    folder = made()
    train(folder, 0)
    study, results = folder.study(), studies.progress(folder).results
    shortcuts = study.axes[1]

    def shown(*axes: Axis) -> tuple[set[str], str]:
        asked = replace(study, axes=axes)
        cells = [replace(each, cell=(("depth", axes[0].values[0]), *each.cell[1:])) for each in results]
        cells = [replace(each, cell=(*each.cell, *(("norm", "batch") for _ in axes[2:]))) for each in cells]
        found = replace(
            studies.progress(folder), trials=(replace(studies.progress(folder).trials[0], results=tuple(cells)),)
        )
        parts = study_view.answer(asked, found, analyse(asked, cells), "light")
        (chart,) = [part for part in parts if isinstance(part, Chart) and part.title.startswith("Paired differences")]
        (table,) = [part for part in parts if isinstance(part, Table)]
        return {trace.name for trace in chart.figure.data}, f"{chart.text} {table.rows}"

    names, text = shown(Axis("depth", (8, 20, 56)), shortcuts)
    assert ABLATION in names and ABLATION_NOTE in text
    assert "2.5 (1.7 to 3.2, n = 3)" in text and "-0.4 (-3.2 to 2.4" in text
    names, text = shown(Axis("depth", (8, 56)), shortcuts)
    assert ABLATION in names and "-0.4 (-3.2 to 2.4" in text and "2.5 (1.7" not in text
    for axes in ((Axis("depth", (14, 56)), shortcuts), (Axis("depth", (8, 20)), shortcuts, Axis("norm", ("batch",)))):
        names, text = shown(*axes)
        assert ABLATION not in names and ABLATION_NOTE not in text


def test_axes_may_be_longer_than_one_field_and_too_long_ones_say_so() -> None:
    rates = "|".join(f"0.{place:03}" for place in range(1, 60))
    assert len(rates) > 200 and ExperimentsState(axes=f"learning_rate:{rates}").axes
    with pytest.raises(ValueError, match=r"^The axes take more than 2,000 characters; leave some values out\.$"):
        ExperimentsState(axes=f"learning_rate:{'|'.join([rates] * 8)}")
    with pytest.raises(ValueError, match="^`axes` must be the axes of a study, received 'depth:<b>'"):
        ExperimentsState(axes="depth:<b>")
