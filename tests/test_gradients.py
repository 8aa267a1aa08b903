"""The page Gradients without a browser: its state, its chart, and what it says of each of its three sources."""

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import checkpoints, figures
from explorer.datasets import shapes
from explorer.experiments.gradient_flow import recorded_flow
from explorer.experiments.gradient_grid import at_initialisation, band
from explorer.experiments.gradient_summary import gradient_extent, guidance, number
from explorer.figures import FlowKey, FlowLine
from explorer.presets import cifar
from explorer.training import GradientSizes
from explorer.ui import forecasts, network_registry
from explorer.ui.gradients import flow_measurements
from explorer.ui.gradients.flow_measurements import MeasuredFlow
from explorer.ui.gradients.state import SMALL_GRID, GradientsState
from explorer.ui.services.explore_state import NAME

PAGE = """
from explorer.ui import navigation
from explorer.ui.pages import gradients

navigation.run({"gradients": ("Gradients", gradients.show)})
"""
NAN, INFINITE = float("nan"), float("inf")
QUICK = {"depths": "8", "shortcuts": "identity", "seeds": "1"}


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which two small networks are measured at once; a busy one would ask first."""
    monkeypatch.setattr(forecasts, "macs_a_second", lambda: 1e12)


def open_gradients(**query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=300)
    for name, value in query.items():
        app.query_params[name] = value
    return check(app.run())


def check(app: AppTest) -> AppTest:
    """No exception, and not the sentence that stands for one."""
    assert not app.exception
    assert not [error.value for error in app.error]
    return app


def said(app: AppTest) -> str:
    """Everything that is written on the page, without the signs that keep Markdown from reading it."""
    return "\n".join(element.value for kind in (app.markdown, app.caption, app.info) for element in kind).replace(
        "\\", ""
    )


def press(app: AppTest, words: str) -> AppTest:
    return check(next(button for button in app.button if words in button.label).click().run())


# --- the state --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        GradientsState(),
        GradientsState(source="record", first="shapes-plain-56", second=None, step=768, scale="relative"),
        GradientsState(source="checkpoint", what="blocks", mode="training", data="cifar10"),
        GradientsState(**SMALL_GRID, seeds=10, what="activations", data="stored-" + "0" * 64),
        GradientsState(depths=(8, 110), activations=("tanh", "sigmoid"), initialisations=("he", "pytorch")),
    ],
)
def test_the_state_comes_back_from_its_link(state: GradientsState) -> None:
    assert GradientsState.from_query(state.to_query()) == state


def test_the_default_view_has_an_empty_link() -> None:
    assert GradientsState().to_query() == {}


HOSTILE = [
    {"source": "../../etc/passwd", "what": "<script>", "scale": "1e999", "mode": ""},
    {"depths": "20,20,9,-1,,1e3", "norms": "batch" * 1000, "activations": ""},
    {"seeds": "0", "step": "-5"},
    {"seeds": "1e3", "step": "٣"},
    {"seeds": "9" * 400, "step": "9" * 10},
    {"first": "../none", "second": "a b", "data": "stored-../../x"},
    {"first": "", "second": "", "data": ""},
]


@pytest.mark.parametrize("query", HOSTILE)
def test_what_cannot_be_read_of_a_link_takes_its_default(query: dict[str, str]) -> None:
    state = GradientsState.from_query({**query, "relative": "yes"})
    assert state == GradientsState()


def test_a_grid_is_read_in_its_own_order() -> None:
    state = GradientsState.from_query({"depths": "110,8", "shortcuts": "projection,what,none"})
    assert state.depths == (8, 110) and state.shortcuts == ("none", "projection")
    assert [(spec.depth, spec.shortcut) for spec in state.specs()] == [
        (8, "none"),
        (8, "projection"),
        (110, "none"),
        (110, "projection"),
    ]


# --- the chart --------------------------------------------------------------------------------------------------------


def line(*sizes: tuple[float, ...], **rest: object) -> FlowLine:
    """A line through sizes (n, L)."""
    layers = ("stem.conv", *(f"stages.0.{index}.conv1" for index in range(len(sizes[0]) - 1)))
    flows = [recorded_flow(GradientSizes(layers, (0,), (each,)), 0) for each in sizes]
    values: dict[str, Any] = {"name": "plain-20", "label": "20", "colour": "#C2540A", "band": band(flows)}
    return FlowLine(**{**values, **rest})


def drawn(*lines: FlowLine, **rest: object) -> dict:
    return figures.gradient_flow_chart(lines, [FlowKey("plain")], size="size", **rest).to_plotly_json()  # type: ignore[arg-type]


def traces(figure: dict, name: str) -> list[dict]:
    return [trace for trace in figure["data"] if trace.get("name") == name]


def height_of(figure: dict, word: str) -> float:
    axis = figure["layout"]["yaxis"]
    return float(axis["tickvals"][list(axis["ticktext"]).index(word)])


def test_sizes_stand_at_their_power_of_ten() -> None:
    figure = drawn(line((1e-3, 10.0, 1.0)))
    (trace,) = traces(figure, "plain-20")
    assert list(trace["x"]) == [0, 0.5, 1]
    assert list(trace["y"]) == pytest.approx([-3, 1, 0])
    assert height_of(figure, "1e-3") == -3 and "not finite" not in figure["layout"]["yaxis"]["ticktext"]


def test_zeros_lie_on_a_marked_line_below_all_sizes() -> None:
    figure = drawn(line((0.0, 1e-30, 1.0)))
    zero = height_of(figure, "exactly 0")
    assert zero < -30 and figure["layout"]["yaxis"]["range"][0] < zero
    assert [shape["y0"] for shape in figure["layout"]["shapes"]] == [zero]
    (trace,) = traces(figure, "plain-20")
    assert list(trace["y"]) == pytest.approx([zero, -30, 0])
    (marks,) = traces(figure, "plain-20, exactly 0")
    assert list(marks["x"]) == [0] and list(marks["y"]) == [zero]
    assert marks["customdata"] == ["stem.conv<br>exactly 0 in 1 of 1 seeds"]


def test_a_zero_of_one_seed_is_seen_though_the_median_is_none() -> None:
    figure = drawn(line((0.0, 1.0), (1e-2, 1.0), (1e-2, 1.0)))
    zero = height_of(figure, "exactly 0")
    (marks,) = traces(figure, "plain-20, exactly 0")
    assert marks["customdata"] == ["stem.conv<br>exactly 0 in 1 of 3 seeds"]
    (shape,) = traces(figure, "plain-20, band")
    assert list(shape["y"]) == pytest.approx([-2, 0, 0, zero])


def test_what_is_no_finite_number_lies_on_a_line_above_all_sizes() -> None:
    figure = drawn(line((INFINITE, NAN, 1e3, 1.0)))
    top = height_of(figure, "not finite")
    assert 3 < top < figure["layout"]["yaxis"]["range"][1]
    (marks,) = traces(figure, "plain-20, not finite")
    assert list(marks["y"]) == [top, top] and list(marks["x"]) == pytest.approx([0, 1 / 3])
    (trace,) = traces(figure, "plain-20")
    assert list(trace["y"]) == [None, None, pytest.approx(3), 0]


def test_nothing_but_zeros_can_be_drawn_too() -> None:
    figure = drawn(line((0.0, 0.0)))
    (trace,) = traces(figure, "plain-20")
    assert set(trace["y"]) == {height_of(figure, "exactly 0")}


def test_the_band_reaches_from_the_smallest_to_the_largest_and_stops_at_a_gap() -> None:
    figure = drawn(line((1.0, 1.0, NAN, 10.0), (100.0, 1.0, NAN, 10.0), (10.0, 1.0, NAN, 10.0)))
    left, right = traces(figure, "plain-20, band")
    assert list(left["x"]) == pytest.approx([0, 1 / 3, 1 / 3, 0]) and list(left["y"]) == pytest.approx([2, 0, 0, 0])
    assert list(right["x"]) == [1, 1]
    assert not traces(drawn(line((1.0, 2.0))), "plain-20, band"), "one seed has no spread"


def test_panels_share_their_decades_and_a_span_fixes_them() -> None:
    small, large = line((1e-9, 1e-8), panel="tanh"), line((1.0, 10.0), panel="ReLU")
    layout = drawn(small, large)["layout"]
    assert layout["yaxis"]["range"] == layout["yaxis2"]["range"]
    assert [note["text"] for note in layout["annotations"]] == ["tanh", "ReLU"]
    assert figures.flow_span([small, large]) == (-9, 1)
    assert height_of(drawn(large, span=(-9, 1)), "1e-9") == -9


def test_labels_of_equal_lines_do_not_cover_each_other() -> None:
    same = [line((1.0, 1.0), label=str(depth)) for depth in (8, 20, 32, 56, 110)]
    figure = drawn(*same)
    (labels,) = traces(figure, "labels")
    assert sorted(labels["text"]) == sorted(["8", "20", "32", "56", "110"])
    bottom, top = figure["layout"]["yaxis"]["range"]
    assert (
        np.diff(sorted(labels["y"])).min() > 0.02 * (top - bottom)
        and bottom < min(labels["y"]) < max(labels["y"]) < top
    )


def test_names_are_never_markup() -> None:
    figure = drawn(line((1.0, 0.0), name="<b>x</b>", label="<i>", panel="<u>"))
    text = str(figure)
    assert "&lt;b&gt;x" in text and "&lt;i&gt;" in text and "<b>x</b></b>" not in text and "'<i>'" not in text


# --- the page: at initialisation --------------------------------------------------------------------------------------


def test_the_first_visit_measures_two_networks_and_says_what_it_found() -> None:
    app = open_gradients()
    text = said(app)
    assert "n = 1 seed, 64 shapes, training mode, float32" in text
    pictures = shapes.draw(64, seed=0, threads=1)
    steps = list(at_initialisation(GradientsState().specs(), pictures.images, pictures.labels, [0]))
    for step in steps:  # measured again, apart from the page
        assert f"{gradient_extent([step.flow]).ratio:.2g} ×" in text
    names = [spec.name for spec in GradientsState().specs()]
    assert guidance(names, [gradient_extent([step.flow]) for step in steps]) in text, (
        "the reading follows from what is shown"
    )
    labels = [button.label for button in app.button]
    assert any("Measure the 4 passes" in label and "about" in label for label in labels)
    assert any("depth 20 and 56, with BatchNorm and without" in label for label in labels)
    assert app.query_params == {}


def test_a_wider_grid_measures_only_what_is_new_and_the_verdict_follows_the_numbers() -> None:
    app = open_gradients(**QUICK)
    assert "Nothing of this is measured yet" in said(app)
    press(app, "Measure the 1 pass that is still missing")
    assert "ResNet-8's first convolution receives" in said(app) and "with BatchNorm" in said(app)
    assert not [button for button in app.button if "still missing" in button.label]
    check(app.pills(key="gradients_norms").set_value(["none", "batch"]).run())
    assert app.query_params["norms"] == "batch,none"
    press(app, "Measure the 1 pass that is still missing")
    kept = app.session_state["session"].flows
    assert len(kept) == 2
    press(check(app.pills(key="gradients_shortcuts").set_value(["none", "identity"]).run()), "Measure the 2 passes")
    text = said(app)
    assert "with no norm, He initialisation and ReLU, plain-8's first convolution receives" in text
    found = {spec.norm + spec.shortcut: kept.find(f"{spec.fingerprint}/0/shapes-32") for spec in (
        GradientsState(depths=(8,), norms=("batch", "none")).specs())}  # fmt: skip
    assert len(found) == 4 and None not in found.values()
    ratios = [
        found[key].weights[0] / found[key].weights[-2] for key in ("batchnone", "nonenone")
    ]  # the last is the head
    assert all(f"{number(ratio)} ×" in text for ratio in ratios)


def test_one_click_shows_the_small_grid_and_measures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.ui.pages.gradients.SMALL_GRID", SMALL_GRID | {"depths": (8,), "norms": ("batch",)})
    app = press(open_gradients(seeds="1", activations="tanh"), "with BatchNorm and without (about")
    assert app.query_params == {"depths": "8", "seeds": "1"}
    assert len(app.session_state["session"].flows) == 2 and "plain-8's first convolution receives" in said(app)
    assert not [button for button in app.button if "Measure" in button.label or "Show" in button.label]


def test_switches_say_what_is_measured() -> None:
    app = open_gradients()
    assert "Weight gradient of each convolution (L2 norm), of the main path" in said(app)
    check(app.segmented_control(key="gradients_what").set_value("blocks").run())
    assert "Gradient at the output of each block (root mean square)" in said(app)
    assert "first block receives" in said(app)
    check(app.segmented_control(key="gradients_scale").set_value("relative").run())
    assert "last layer = 1" in said(app)
    assert app.query_params == {"what": "blocks", "scale": "relative"}


def test_the_last_value_of_a_factor_stays() -> None:
    app = open_gradients()
    check(app.pills(key="gradients_depths").set_value([]).run())
    assert app.pills(key="gradients_depths").value == [20] and app.query_params == {}


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(("source", "query"), [*zip(["initial", "checkpoint", "record"], HOSTILE[1:], strict=False)])
def test_a_link_with_nonsense_still_shows_a_view(query: dict[str, str], source: str) -> None:
    """Each of the others is the same state, as a test above says."""
    app = open_gradients(**{**query, "source": source})
    assert "receives" in said(app)


# --- the page: a network as it is -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fast")
def test_a_network_is_measured_as_it_is_in_the_chosen_mode() -> None:
    app = open_gradients(source="checkpoint", first="shapes-plain-8", second="shapes-resnet-8")
    text = said(app)
    assert "After training, with BatchNorm and ReLU, plain-8's first convolution receives" in text
    assert "64 shapes, evaluation mode, float32" in text
    check(app.segmented_control(key="gradients_mode").set_value("training").run())
    assert "64 shapes, training mode, float32" in said(app) and text not in said(app)
    check(app.selectbox(key="gradients_second").select("None").run())
    assert "ResNet-8's" not in said(app)
    assert app.query_params["second"] == "none"


@pytest.mark.usefixtures("fast")
def test_a_network_of_other_classes_has_no_pictures_here_or_a_warning() -> None:
    app = open_gradients(source="checkpoint", first="cifar10jpeg-plain-20", second="shapes-resnet-20")
    assert app.selectbox(key="gradients_second").value == "cifar10jpeg-resnet-20"
    assert [warning.value for warning in app.warning if "other names" in warning.value]


# --- the page: during a training --------------------------------------------------------------------------------------


def test_the_recorded_steps_of_a_training_are_shown_one_by_one() -> None:
    app = open_gradients(source="record")
    sizes = checkpoints.load_pretrained("shapes-plain-20").record["weight_gradients"]
    slider = app.select_slider(key="gradients_step")
    assert [int(option) for option in slider.options] == sizes["steps"] and slider.value == 0
    for step in (0, sizes["steps"][5]):
        if step:
            check(app.select_slider(key="gradients_step").set_value(step).run())
            assert app.query_params["step"] == str(step)
        norms = sizes["norms"][sizes["steps"].index(step)]
        convolutions = [index for index, name in enumerate(sizes["layers"]) if not name.startswith("head")]
        ratio = norms[convolutions[0]] / norms[convolutions[-1]]
        assert f"At step {step} of the training" in said(app) and f"{number(ratio)} ×" in said(app)
        assert "128 pictures" in said(app)
    assert app.segmented_control(key="gradients_what").disabled


def test_a_link_between_two_steps_shows_the_one_before() -> None:
    app = open_gradients(source="record", step="700", second="none")
    assert app.select_slider(key="gradients_step").value == 512
    assert "At step 512 of the training" in said(app)


GOOD = {"layers": ["stem.conv", "stages.0.0.conv1"], "steps": [0, 4], "norms": [[1.0, 2.0], [None, 0.0]]}


@pytest.mark.parametrize(
    ("changes", "is_available"),
    [
        ({}, True),
        ({"norms": [[1.0, 2.0]]}, False),
        ({"norms": [[1.0], [2.0]]}, False),
        ({"norms": [["1", 2.0], [1.0, 2.0]]}, False),
        ({"norms": [[-1.0, 2.0], [1.0, 2.0]]}, False),
        ({"steps": [0, 0]}, False),
        ({"steps": [4, 0]}, False),
        ({"steps": [0, True]}, False),
        ({"steps": []}, False),
        ({"layers": ["=cmd()", "stages.0.0.conv1"]}, False),
        ({"layers": ["head.fc", "stages.0.0.shortcut.conv"]}, False),
        ({"layers": 5}, False),
    ],
)
def test_a_record_from_anywhere_is_read_or_left_alone(
    changes: dict, is_available: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = checkpoints.load_pretrained("shapes-plain-8")
    record = {"weight_gradients": {**GOOD, **changes}, "precision": "float33", "config": {"batch_size": "many"}}
    monkeypatch.setattr(network_registry, "checkpoint", lambda name: replace(loaded, record=record))
    found = flow_measurements.recorded("shapes-plain-8")
    assert (found is not None) == is_available
    if found:
        assert found.precision == "float32" and found.batch_size is None
    for broken in ({}, {"weight_gradients": None}, {"weight_gradients": GOOD, "config": 5}):
        monkeypatch.setattr(network_registry, "checkpoint", lambda name, record=broken: replace(loaded, record=record))
        assert flow_measurements.recorded("shapes-plain-8") is None


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_the_table_has_a_line_for_each_network_seed_and_layer() -> None:
    layers = ("stem.conv", "stages.0.0.conv1", "head.fc")
    flows = tuple(
        recorded_flow(GradientSizes(layers, (0,), (sizes,)), 0) for sizes in ((4.0, 2.0, 9.0), (0.0, NAN, 9.0))
    )
    text = flow_measurements.table([MeasuredFlow(cifar(8, "none"), flows, "plain-8", (0, 1))], "weights", "64 shapes")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["seed"], row["layer"], row["size"], row["relative_to_last"]) for row in rows] == [
        ("0", "stem.conv", "4", "2"),
        ("0", "stages.0.0.conv1", "2", "1"),
        ("1", "stem.conv", "0", "nan"),
        ("1", "stages.0.0.conv1", "nan", "nan"),
    ]
    assert {row["relative_depth"] for row in rows} == {"0", "1"} and rows[0]["pictures"] == "64 shapes"
    assert all(NAME.fullmatch(row["layer"]) for row in rows)
