"""The answer of a loss surface that is not whole, its path, and the page beside damaged and refused surfaces."""

import json
from dataclasses import replace

import numpy as np
import pytest

from explorer.experiments import surface_process, surface_runs
from explorer.experiments.loss_surface import Surface, stored
from explorer.experiments.loss_surface.cost import SurfaceCost
from explorer.experiments.surface_runs import SurfaceRun
from explorer.figures import Chart
from explorer.files import npz, write_atomically
from explorer.ui.experiments import surface_view
from explorer.ui.experiments.state import REACHES, ExperimentsState
from explorer.ui.experiments.surface import settings_of
from explorer.ui.experiments.surface_answer import NO_PATH, ShownSurface, answer
from tests.test_loss_surface import made, small, spec, surface
from tests.test_surface_runs import OWNER, created, here, open_page, said

pytestmark = pytest.mark.usefixtures("one_thread")
_ = here  # the fixture of the page's data


def shown(found: Surface, title: str = "net") -> ShownSurface:
    return ShownSurface(title, "#112233", 3, found)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_surfaces_without_curvature_yet_stand_beside_one_that_has_it(dimensions: int) -> None:
    whole = surface(made(spec()), small(dimensions=dimensions, curvature=3, curvature_images=4))
    begun = replace(whole, curvature=whole.curvature[:0])
    one_place = replace(whole, curvature=whole.curvature[:1])
    state = ExperimentsState(question="surface")
    for found in ([whole, begun], [begun, whole], [whole, one_place], [begun, begun]):
        parts = answer([shown(each, f"net {number}") for number, each in enumerate(found)], state)
        ratios = [part for part in parts if isinstance(part, Chart) and part.title.startswith("How much of the curv")]
        assert len(ratios) == (0 if found == [begun, begun] else 1)
        drawn = [trace for each in ratios for trace in each.figure.data if trace.type == "contour" or dimensions == 1]
        assert len(drawn) == sum(len(each.curvature) > 0 for each in found), "no empty map"


def test_the_path_is_drawn_along_one_direction_and_networks_without_one_are_named() -> None:
    found = surface(made(spec()), small())
    with_path = replace(found, path=np.array([[0.0, 0.7, 0.0], [5.0, -0.2, 0.0]]), held=0.01)
    state = ExperimentsState(question="surface")
    for pair in ([with_path, found], [found, with_path]):
        parts = answer([shown(each, "kept" if len(each.path) else "bare") for each in pair], state)
        assert "No weights of the training of bare were kept, so no path is drawn there." in parts
        assert NO_PATH not in parts
        assert any("The axis holds 1.0%" in part for part in parts if isinstance(part, str))
        chart = next(part for part in parts if isinstance(part, Chart))
        (ticks,) = [trace for trace in chart.figure.data if trace.marker.symbol == "line-ns-open"]
        assert list(ticks.x) == [0.7, -0.2] and list(ticks.customdata) == ["step 0", "step 5"]
        assert "projected on the direction" in chart.text
    assert NO_PATH in answer([shown(found)], state)


PAIR = {"first": "shapes-plain-8", "second": "none", "along": "1", "points": "3", "n": "20", "curvature": "none"}


def test_what_is_kept_stays_where_the_rest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = surface(made(spec()), small())

    def frozen_alone(key: str) -> Surface | None:
        monkeypatch.setattr(stored, "load", lambda _: None)
        return kept

    monkeypatch.setattr(stored, "load", frozen_alone)
    monkeypatch.setitem(SurfaceCost.check.__globals__, "free_memory", lambda: 1000)
    app = open_page(**PAIR, statistics="both")
    assert "GB of memory, and 0.0 GB are free" in said(app) and "frozen statistics: the loss at the centre is" in said(
        app
    )
    assert not [each for each in app.button if each.label == "Measure"]


def test_the_link_and_the_field_have_one_range() -> None:
    for reach in ("0.001", "100", "0.05"):
        (settings,) = settings_of(ExperimentsState(question="surface", reach=reach, statistics="frozen"), 20)
        app = open_page(**PAIR, reach=reach)
        (field,) = [each for each in app.number_input if each.label == "From −x to x"]
        assert field.value == settings.reach == float(reach)
        assert (field.min, field.max) == REACHES
    for reach in ("500", "0", "0.0001"):
        assert ExperimentsState.from_query({"question": "surface", "reach": reach}).reach == ""


def test_a_damaged_surface_leaves_the_others_and_can_be_deleted() -> None:
    good, bad = created(small()), created(small())
    request = json.loads(bad.request_file.read_text())
    request["surfaces"][0]["settings"]["points"] = 4
    bad.request_file.write_text(json.dumps(request))
    app = open_page(**PAIR)
    assert [each.label for each in app.button if "twins · new" in each.label] == ["twins · new 0%"]
    (delete,) = [each for each in app.button if each.label == "A damaged surface · Delete"]
    delete.click().run()
    assert not app.exception and not app.error and not bad.folder.exists()
    assert [run.id for run in surface_runs.list_surfaces(OWNER)] == [good.id]


def test_the_share_of_a_surface_goes_on_from_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: 4 points of 20 and 12 images took 128 passes. Each of the two surfaces is planned with 20 images of both
    splits, so 9 points and 2 directions at both signs take 9 · 40 + 2 · 2 · 20 = 440."""
    settings = small(points=9, directions=2)
    whole = surface(made(spec("none")), settings)
    part = np.arange(9)[None] < 4
    run = created(replace(settings, n=20))
    known = replace(whole, measured=part, increases_known=np.zeros(2, bool))
    write_atomically(run.surface_file(0), npz(stored.packed(known)))
    expected = 128 / (2 * 440)
    assert surface_runs.progress(run).share == pytest.approx(expected), "also while it waits"
    shares: list[float] = []
    keep = surface_process._keep_share
    monkeypatch.setattr(surface_process, "KEEP_S", 0.0)

    def noted(of: SurfaceRun, share: float) -> None:
        shares.append(share)
        keep(of, share)

    monkeypatch.setattr(surface_process, "_keep_share", noted)
    assert surface_process.run_process(run) == 0
    assert shares == sorted(shares) and shares[0] == pytest.approx(expected) and shares[-1] == 1


def test_the_page_runs_again_when_a_surface_has_its_first_points() -> None:
    """A long surface is drawn from then on, and not after an eighth of hours."""
    found = surface(made(spec()), small(points=9))
    seen = [
        surface_view._seen(surface_runs.SurfaceProgress("measuring", 0.01, "", (each, None)))
        for each in (None, replace(found, measured=found.measured & False), found)
    ]
    assert seen[0] == seen[1] != seen[2]
