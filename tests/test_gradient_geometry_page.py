"""The geometry of gradients on the page Gradients: its cost, its answer, its link, beside the rest of the page."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import figures
from explorer.experiments import gradient_geometry
from explorer.experiments.gradient_geometry import BlockSizes, PathSizes
from explorer.experiments.gradient_geometry.verdicts import MeasuredGeometry
from explorer.intervals import mean
from explorer.presets import cifar
from explorer.ui import client, forecasts, navigation
from explorer.ui.gradients import geometry_answers
from explorer.ui.gradients.geometry_state import GeometryState
from explorer.ui.gradients.state import CARDS, GradientsState

PAGE = """
from explorer.ui import navigation
from explorer.ui.gradients import geometry
navigation.run({"gradients": ("Gradients", geometry.show)})
"""
SMALL = {"geometry_depths": "8", "geometry_data": "shapes-16", "geometry_seeds": "2"}


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a link measures at once."""
    monkeypatch.setattr(forecasts, "macs_a_second", lambda: 1e11)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], Any]]:
    """What the buttons save, by their labels."""
    found: dict[str, Callable[[], Any]] = {}
    monkeypatch.setattr(navigation, "download_button", lambda label, data, **_: found.update({label: data}))
    return found


def open_page(**query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=120)
    for name, value in {"geometry": "shattering", **SMALL, **query}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception and not app.error
    return app


def texts(app: AppTest) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption, *app.info)).replace("\\", "")


def test_the_cost_comes_before_the_click_and_the_answer_after_it(
    files: dict[str, Callable[[], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(step="3", source="record")
    assert "This takes 2 networks, 4 sets of initial weights in all, 256 pictures each." in texts(app)
    assert "correlate by" not in texts(app) and not files
    (button,) = [each for each in app.button if each.label.startswith("Measure (about")]
    button.click().run()
    said = texts(app)
    assert not app.exception and "In plain-8 the gradients of neighbouring pictures correlate by 0.9" in said
    assert "Seed by seed, ResNet-8 has " in said and "White noise in their place has 0.00, brown noise 0.98." in said
    kept = {name: "".join(app.query_params[name]) for name in ("measure", "step", "source")}
    assert kept == {"measure": "yes", "step": "3", "source": "record"}, "the rest of the page keeps its view"
    heads, *rows = files["Results (CSV)"]().decode("utf-8-sig").splitlines()
    assert heads == "network,depth,shortcut,norm,initialisation,channels,seed,lag,autocorrelation"
    assert len(rows) == 65 * (2 + 2) * 2  # lags of two networks and two noises, two seeds each
    report = files["Report (HTML)"]().getvalue().decode()
    assert "Seed by seed" in report and "The mean gradient over the line is taken out first" in report
    # Another session finds it, and computes nothing; one more seed is all that is missing for three.
    monkeypatch.setattr(gradient_geometry, "measure", lambda *_: pytest.fail("measured twice"))
    assert "Seed by seed, ResNet-8 has " in texts(open_page())
    assert "This takes 2 networks, 2 sets of initial weights in all" in texts(open_page(geometry_seeds="3"))


@pytest.mark.parametrize(
    ("query", "said", "rows"),
    [
        ({"geometry": "blocks", "geometry_shortcuts": "identity,projection"}, "1/√ℓ", 2 * 2 * 3),
        ({"geometry": "paths"}, "In ResNet-8, paths through 1 to ", 2 * 4),
        (
            {"geometry": "widths", "geometry_shortcuts": "identity"},
            "In ResNet-8, from 4 to 32 channels, the correlation",
            65 * (4 + 2) * 2,
        ),
        ({"geometry_depths": "8,20", "geometry_shortcuts": "none"}, "From plain-8 to plain-20 the corr", 65 * 4 * 2),
    ],
)
def test_a_link_measures_what_it_asks_for(
    query: dict[str, str], said: str, rows: int, files: dict[str, Callable[[], Any]]
) -> None:
    app = open_page(measure="yes", **query)
    assert said in texts(app) and not [each for each in app.button if each.label.startswith("Measure")]
    assert len(files["Results (CSV)"]().decode().splitlines()) == 1 + rows
    (limits,) = [each for each in app.expander if each.label == "What this does not show"]
    assert "initial weights" in limits.markdown[0].value


def test_what_cannot_be_asked_is_said() -> None:
    plain = open_page(geometry="paths", geometry_shortcuts="none")
    assert "Plain networks have no residual blocks: nothing goes around a branch." in texts(plain)
    many = open_page(geometry_depths="8,20,32,56,110", geometry_norms="batch,none")
    assert "20 networks cannot be told apart in one chart; choose up to 8." in texts(many)


def test_the_charts_hold_the_noises_bands_and_gaps() -> None:
    series, curves = figures.Series("N", "#123456"), np.array([[1.0, 0.5], [1.0, 0.7]])
    noise = {"white noise": np.array([[1.0, 0.0]]), "brown noise": np.array([[1.0, 0.9]])}
    white, brown, band, line = figures.correlation_chart([(series, curves)], noise, 256).data
    assert (list(white.y), list(brown.y), list(line.y)) == ([1, 0], [1, 0.9], [1, pytest.approx(0.6)])
    assert list(band.y) == [1, 0.7, 0.5, 1] and list(line.customdata)[1] == "0.600, 0.500 to 0.700"
    (sizes,) = figures.path_size_chart([(series, np.array([[0.1, 0.0]]))]).data
    assert list(sizes.y) == [0.1, None], "a size of 0 has no place on a logarithmic axis"
    (root, ratios) = figures.branch_chart([(series, ("a", "b"), curves[:1])], [("1/√ℓ", np.array([1, 0.7]))]).data
    assert (list(root.x), list(ratios.y)) == ([1, 2], [1, 0.5])
    points = {8: mean([0.9, 0.7]), 20: None}
    (of,) = figures.neighbours_chart([(series, points)], "depth", {}).data
    assert list(of.x) == [8] and of.error_y.array[0] == pytest.approx(points[8].high - 0.8)  # type: ignore[union-attr]


def test_seeds_without_a_gradient_and_branches_of_0_have_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "theme", lambda: "light")
    spec = cifar(8, size=16)
    sizes = tuple(PathSizes(np.array(each)) for each in ([0.0] * 4, [1.0] * 4, [1.0, 1.0, 1.0, 2.0]))
    parts = geometry_answers.answer("paths", [MeasuredGeometry(spec, "R", (0, 1, 2), sizes)])
    chart = next(part for part in parts if isinstance(part, figures.Chart))
    assert [*chart.figure.data[-1].y][0] == pytest.approx((1 / 8 + 1 / 9) / 2)
    assert chart.text.endswith("Seeds without a finite gradient above 0 are left out.")
    start = replace(spec, branch_start="gain")
    zeros = BlockSizes(("a", "b", "c"), np.arange(1.0, 4), np.zeros(3), np.ones(3))
    charts = [
        part.figure
        for each in (spec, start)
        for part in geometry_answers.answer("blocks", [MeasuredGeometry(each, "R", (0,), (zeros,))])
        if isinstance(part, figures.Chart)
    ]
    assert [sum(line.name == "1/√ℓ" for line in chart.data) for chart in charts] == [1, 0]


def test_a_link_holds_the_question_beside_the_view() -> None:
    state = GeometryState("paths", (8, 110), ("projection",), ("none",), ("pytorch",), 10, "shapes-64", True)
    query = CARDS[2].to_query() | state.to_query()
    assert GeometryState.from_query(query) == state and GradientsState.from_query(query) == CARDS[2]
    assert GeometryState.without(query) == CARDS[2].to_query() and GeometryState.within(query) == state.to_query()
    assert GeometryState().to_query() == {"geometry": "shattering"}
    assert GradientsState.shown(GeometryState().to_query()) == CARDS[0]
    wrong = {"geometry": "x", "geometry_depths": "9", "geometry_seeds": "11", "geometry_data": "../x", "measure": "no"}
    assert GeometryState.from_query(wrong) == GeometryState()
