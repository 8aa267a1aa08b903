"""Loss surfaces of a process of their own, and the question on the page Experiments."""

import errno
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import checkpoints
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.experiments import surface_process, surface_runs
from explorer.experiments.loss_surface import Surface, SurfaceSettings, measure, stored
from explorer.experiments.surface_runs import AskedSurface, NetworkFacts, SurfaceRun
from explorer.figures import SurfacePanel, surface_curves, surface_maps, surface_scene
from explorer.figures.charts import Series
from explorer.machine.locks import guard, take
from explorer.runs import speed as machine_speed
from explorer.training import Speed
from explorer.ui import client
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.experiments.surface import settings_of
from tests.test_loss_surface import CLASSES, SPLITS, made, small, spec, surface

pytestmark = pytest.mark.usefixtures("one_thread")

PAGE = """
from explorer.ui import navigation
from explorer.ui.pages import experiments
navigation.run({"experiments": ("Experiments", experiments.show)})
"""
OWNER = "0" * 32
SPEED = Speed(1e-3, 1e-4, 1e-10, 1e-9, 0.7, 1.0, 0.4, 2.0, 2, "CPU", "float32", 4e9)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
    monkeypatch.setenv("EXPLORER_GIVE_WAY", "0")
    monkeypatch.setattr(client, "owner", lambda: OWNER)
    monkeypatch.setattr(machine_speed, "last_measured", lambda: SPEED)


def twins() -> list[tuple[NetworkFacts, Checkpoint]]:
    made_twins = [(name, made(spec(name))) for name in ("none", "identity")]
    return [(NetworkFacts(f"{name} net", name, name, 3), checkpoint) for name, checkpoint in made_twins]


def created(settings: SurfaceSettings, key: str = "", owner: str = OWNER) -> SurfaceRun:
    asked = [AskedSurface(number, settings, key and f"{key}{number}") for number in (0, 1)]
    return surface_runs.create("twins", "20 images.", twins(), SPLITS, CLASSES, asked, owner)


def open_page(**query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=60)
    for name, value in {"question": "surface", **query}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption, *app.info, *app.error)).replace("\\", "")


# --- the process ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("both_paths")
def test_a_process_of_its_own_measures_what_the_folder_asks_for() -> None:
    run = created(small())
    assert surface_runs.progress(run).state == "new" and surface_runs.find(run.id) == run
    surface_runs.start(run)
    deadline = time.monotonic() + 120
    while (found := surface_runs.progress(run)).state in ("waiting", "measuring"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (found.state, found.share, found.message) == ("finished", 1.0, "")
    for (_, checkpoint), known in zip(twins(), found.surfaces, strict=True):
        assert known is not None and known.losses == pytest.approx(surface(checkpoint, small()).losses, rel=1e-5)
    assert not run.network_file(0).exists() and not [*run.folder.glob("images-*")]


def test_a_run_that_is_stopped_keeps_what_it_has_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    key = f"surface-{'a' * 39}"
    run = created(small(points=9), key)
    monkeypatch.setattr(surface_process, "KEEP_S", 0.0)
    keep = surface_process._keep_share

    def stop_early(of: SurfaceRun, share: float) -> None:
        keep(of, share)
        if 0.2 < share < 0.4:
            surface_runs.stop(of)

    monkeypatch.setattr(surface_process, "_keep_share", stop_early)
    assert surface_process.run_process(run) == 0
    found = surface_runs.progress(run)
    first = found.surfaces[0]
    assert found.state == "stopped" and first is not None and 0 < first.measured.sum() < 9
    assert found.surfaces[1] is None and stored.load(f"{key}0") is None
    page = said(open_page(surface=run.id))
    assert "points were not measured" in page and "none net, frozen statistics" in page
    monkeypatch.setattr(surface_process, "_keep_share", keep)
    run.stop_mark.unlink()
    assert surface_process.run_process(run) == 0 and surface_runs.progress(run).state == "finished"
    kept = stored.load(f"{key}1")
    assert kept is not None and kept.is_complete
    with pytest.raises(ValueError, match="damaged"):
        run.request_file.write_text("{}")
        run.request()


def test_what_was_measured_before_is_not_measured_again() -> None:
    key = f"surface-{'b' * 39}"
    before = surface(made(spec("none")), small())
    before = replace(before, losses=before.losses + 100)
    stored.store(f"{key}0", before)
    run = created(small(), key)
    assert surface_process.run_process(run) == 0
    first, second = surface_runs.progress(run).surfaces
    assert first is not None and np.array_equal(first.losses, before.losses)
    assert second is not None and second.is_complete and second.losses.max() < 100
    whole = created(small(), key)  # both are kept now
    for number in (0, 1):
        whole.network_file(number).unlink()
    assert surface_process.run_process(whole) == 0 and surface_runs.progress(whole).state == "finished"


def test_a_full_disk_and_a_used_quota_are_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = surface_runs.bytes_kept(created(small()))
    assert kept > 10_000
    monkeypatch.setattr(surface_runs, "QUOTA_BYTES", kept + 1000)
    with pytest.raises(
        ValueError, match=r"needs 0\.\d MB until it is measured, and 0\.0 MB are left of the 0 MB for your"
    ):
        created(small())
    created(small(), owner="")
    monkeypatch.setattr(surface_runs, "DISK_RESERVE", 2**60)
    with pytest.raises(ValueError, match=r"0\.0 MB are free on the disk; take fewer images"):
        created(small(), owner="")
    assert len([*surface_runs.surfaces_folder().glob("[0-9a-f]*")]) == 2


def test_failures_say_why_and_ids_of_others_open_nothing() -> None:
    run = created(small(statistics="recomputed"))
    for number in (0, 1):
        checkpoints.save(made(spec(norm="none")), run.network_file(number))
    assert surface_process.run_process(run) == 1
    found = surface_runs.progress(run)
    assert found.state == "failed" and "no BatchNorm layer" in found.message
    assert [each.id for each in surface_runs.list_surfaces(OWNER)] == [run.id]
    assert surface_runs.list_surfaces("1" * 32) == surface_runs.list_surfaces("") == []
    assert surface_runs.find("../x") is None and surface_runs.find("f" * 32) is None
    new = created(small())
    assert "Delete" in [each.label for each in open_page(surface=new.id).button]
    surface_runs.delete(run)
    assert not run.folder.exists()
    assert "This surface is not on this server" in said(open_page(surface=run.id))


def test_a_process_that_goes_on_keeps_its_request_to_stop() -> None:
    run = created(small())
    lock = take(run.lock)
    assert lock
    surface_runs.stop(run)
    surface_runs.start(run)
    assert run.stop_mark.exists()
    lock.close()


def test_a_surface_that_ends_while_its_grace_runs_out_is_not_called_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = created(small())
    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    monkeypatch.setattr(surface_process, "STOP_GRACE_S", 0.0)
    end, write = surface_process._End(run), surface_process._End.write

    def finishes_first(self: surface_process._End, outcome: str) -> bool:
        assert write(self, "finished")
        return write(self, outcome)

    surface_runs.stop(run)
    with monkeypatch.context() as patch:
        patch.setattr(surface_process._End, "write", finishes_first)
        surface_process._stop_in_time(run, end)
    assert not exits and json.loads(run.end_file.read_text())["outcome"] == "finished"
    surface_process._stop_in_time(run, surface_process._End(run))
    assert exits == [0] and json.loads(run.end_file.read_text())["outcome"] == "stopped"


def test_a_system_without_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(run: SurfaceRun) -> str:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(surface_process, "_measure", fails)
    run = created(small())
    assert surface_process.run_process(run) == 1
    assert surface_runs.progress(run).message == "The memory was not enough. Take fewer images."


def test_a_surface_looks_a_few_times_a_second_whether_its_turn_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait of hours, of up to 9 processes at once, shall leave the cores to the one that measures."""
    run = created(small())
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            surface_runs.stop(run)

    with guard(surface_runs.surfaces_folder() / ".turn"), monkeypatch.context() as patch:
        patch.setattr(time, "sleep", sleep)
        with surface_process._turn(run) as has_come:
            assert not has_come
    assert waited == [surface_process.POLL_S] * 3 and surface_process.POLL_S >= 0.2


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_form_names_the_cost_and_its_button_starts_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[SurfaceRun] = []
    monkeypatch.setattr(surface_runs, "MOST_ALIVE", 0)
    pair = {"first": "shapes-plain-8", "second": "shapes-resnet-8"}
    app = open_page(along="1", points="3", n="20", statistics="both", curvature="none", **pair)
    # 3 points of 20 images of both splits, and 10 directions at both signs.
    assert f"4 surfaces to measure: {4 * (3 * 40 + 20 * 20):,} passes of one image" in said(app)
    (button,) = [each for each in app.button if each.label == "Measure"]
    button.click().run()
    assert "surfaces wait already" in said(app) and not surface_runs.list_surfaces(OWNER)
    monkeypatch.setattr(surface_runs, "start", started.append)
    (button,) = [each for each in app.button if each.label == "Measure"]
    button.click().run()
    (run,) = started
    assert not app.exception and app.query_params["surface"] in (run.id, [run.id])
    asked = run.surfaces()
    assert [(each.network, each.settings.statistics) for each in asked] == [
        (0, "frozen"), (1, "frozen"), (0, "recomputed"), (1, "recomputed")
    ]  # fmt: skip
    drawn = shapes.Drawn()
    own = stored.key(checkpoints.digest(checkpoints.load_pretrained("shapes-plain-8")), drawn.name, asked[0].settings)
    assert asked[0].key == own
    with np.load(run.images_file("train")) as file:
        assert np.array_equal(file["images"], stored.images(drawn, asked[0].settings)["train"].images)
    # What was measured once is there for everybody at the next visit.
    (*_, last) = measure(
        checkpoints.load_pretrained("shapes-plain-8"),
        stored.images(drawn, asked[0].settings), drawn.classes, asked[0].settings,
    )  # fmt: skip
    stored.store(own, last.surface)
    page = said(open_page(along="1", points="3", n="20", statistics="frozen", curvature="none", **pair))
    assert "1 surface to measure" in page and "plain-8, frozen statistics: the loss at the centre is" in page


def test_a_surface_is_deleted_after_a_second_click() -> None:
    run = created(small())
    app = open_page(surface=run.id)
    assert "Resume" in {each.label for each in app.button}
    app.button(key="surface_delete").click().run()
    assert surface_runs.find(run.id) is not None
    app.button(key="surface_delete_keep").click().run()
    app.button(key="surface_delete").click().run()
    app.button(key="surface_delete_yes").click().run()
    assert not app.exception and surface_runs.find(run.id) is None and "surface" not in app.query_params


def test_too_much_is_refused_on_the_page_with_its_number() -> None:
    app = open_page(along="2", points="201", n="5000", statistics="frozen", first="shapes-plain-8")
    assert re_hours(said(app)) and not [each for each in app.button if each.label == "Measure"]
    app = open_page(directions="path", first="shapes-plain-8")
    assert "its path gives no directions" in said(app)


def re_hours(text: str) -> bool:
    return "would take" in text and "24 h is the most" in text


def test_the_page_opens_with_what_comes_with_the_app() -> None:
    page = said(open_page())
    assert "4 surfaces kept" in page and "ResNet-20, recomputed statistics: the loss at the centre is" in page


def test_links_hold_the_form_and_nothing_else() -> None:
    state = ExperimentsState(
        question="surface", along="1", statistics="frozen", directions="none", points=21, reach="0.02", seed=3,
        curvature="places", surface="ab" * 16,
    )  # fmt: skip
    assert ExperimentsState.from_query(state.to_query()) == state
    (settings,) = settings_of(state, 64)
    assert (settings.points, settings.reach, settings.normalisation, settings.curvature) == (21, 0.02, "none", 9)
    for bad in ({"surface": "../x"}, {"reach": "1e9"}, {"points": "2"}, {"along": "3"}):
        assert ExperimentsState.from_query({"question": "surface", **bad}) == ExperimentsState(question="surface")


# --- the figures ------------------------------------------------------------------------------------------------------


def test_missing_values_are_holes_on_one_scale() -> None:
    xs = np.array([-1.0, 0.0, 1.0])
    values = np.array([[10.0, np.nan, 1000.0], [1.0, 0.1, np.inf], [2.0, 3.0, 4.0]])
    path = np.array([[0.0, 1.0, 1.0], [9.0, 0.0, 0.0]])
    panels = [
        SurfacePanel("a <b>", xs, xs, values, path),
        SurfacePanel("c", xs, xs, values / 100, np.zeros((0, 3))),
    ]
    maps, scene = surface_maps(panels, "loss"), surface_scene(panels, "loss")
    assert (maps.layout.coloraxis.cmin, maps.layout.coloraxis.cmax) == (-3.0, 3.0)
    assert (scene.layout.coloraxis.cmin, scene.layout.coloraxis.cmax) == (-3.0, 3.0)
    contours = [trace for trace in maps.data if trace.type == "contour"]
    assert np.isnan(contours[0].z[0][1]) and contours[0].z[0][0] == 1 and contours[0].z[1][1] == -1
    surfaces = [trace for trace in scene.data if trace.type == "surface"]
    assert len(surfaces) == 2 and surfaces[1].x[0] > surfaces[0].x[-1]  # beside each other in one scene
    assert [trace.type for trace in scene.data].count("scatter3d") == 1
    assert "<b>" not in maps.layout.annotations[0].text.replace("&lt;b&gt;", "")
    curve = surface_curves([(Series("a", "#112233"), xs, np.array([0.5, np.nan, 2.0]))], "loss").data[0]
    assert list(curve.y) == [0.5, None, 2.0]


def test_a_stopped_surface_draws_its_finest_whole_grid() -> None:
    found: Surface = surface(made(spec()), small(dimensions=2, points=5))
    known = np.zeros((5, 5), bool)
    known[::2, ::2] = True
    known[1, 1] = True
    rows, columns = replace(found, measured=known).drawable()
    assert (rows, columns) == (slice(0, None, 2), slice(0, None, 2))
