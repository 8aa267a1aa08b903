"""Compare without a browser: its state, the alignment by relative depth, the shared scale, and every widget.

One file for the one page: all its parts are looked at with the networks that are made here.
"""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from explorer import checkpoints, figures
from explorer.architectures import build, describe
from explorer.architectures.description import relative_depths
from explorer.attribution import METHODS, profile
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.figures import ClassProbabilities, DepthCurves, Series, TrainingLine
from explorer.images import to_input
from explorer.presets import PRESETS, cifar
from explorer.tracing import trace
from explorer.ui import user_models
from explorer.ui.api.explore_session import RequestError
from explorer.ui.compare import aligned_strip, maps, spec_diff
from explorer.ui.compare.comparison import ComparedNetwork, column_tops, side_by_side, strip_depths
from explorer.ui.compare.state import CompareState
from explorer.ui.network_text import accuracy_text
from explorer.ui.services.inference import NetworkResult
from tests.messages import bar_data, choose_pair, store_file

PAGE = """
import streamlit as st
from explorer.ui import navigation
from explorer.ui.pages import compare

def explore():
    st.markdown("here is Explore")

navigation.run({"compare": ("Compare", compare.show), "explore": ("Explore", explore)})
"""
TWENTIES = "shapes-plain-20,shapes-resnet-20"
THREE = f"{TWENTIES},shapes-plain-8"
FOUR = f"{THREE},shapes-plain-56"


# --- the state -------------------------------------------------------------------------------------------------------


def test_the_state_round_trips_through_the_url() -> None:
    assert CompareState().to_query() == {}
    state = CompareState(
        ("a", "b-1", "c"), "upload-0123456789abcdef", 3, 0.4545, "both", "true", "layers", "shapes-16-ring-star", 200,
        "prediction", ("said", "shares"),
    )  # fmt: skip
    assert state.to_query() == {
        "networks": "a,b-1,c",
        "picture": "upload-0123456789abcdef",
        "target": "3",
        "depth": "0.4545",
        "scope": "both",
        "grid": "true",
        "tab": "layers",
        "data": "shapes-16-ring-star",
        "n": "200",
        "explained": "prediction",
        "measured": "said,shares",
    }
    assert CompareState.from_query(state.to_query()) == state
    assert replace(state, depth=0.0).to_query()["depth"] == "0"
    assert CompareState.from_query({"depth": "0"}).depth == 0


@pytest.mark.parametrize(
    "query",
    [
        {"networks": "alone"},
        {"networks": "a,a"},
        {"networks": "a,b,c,d,e"},
        {"networks": "../../etc/passwd,b"},
        {"networks": "," * 5000},
        {"networks": ""},
        {"picture": "sample-6-6<script>"},
        {"picture": "none"},
        {"target": "-1"},
        {"target": "9" * 400},
        {"target": "٣"},
        {"depth": "nan"},
        {"depth": "1.5"},
        {"depth": "-0"},
        {"depth": "1e-3"},
        {"scope": "everything"},
        {"grid": "<b>"},
        {"tab": "layer"},
        {"data": "../<b>"},
        {"n": "0"},
        {"explained": "none"},
        {"measured": "shares,said"},
        {"measured": "everything"},
        {"unknown": "x"},
    ],
)
def test_nonsense_in_the_url_is_the_default(query: dict[str, str]) -> None:
    assert CompareState.from_query(query) == CompareState()


def test_one_bad_part_of_the_url_leaves_the_others() -> None:
    assert CompareState.from_query({"depth": "x", "scope": "both"}) == CompareState(scope="both")


# --- the alignment by relative depth ---------------------------------------------------------------------------------


def checkpoint(name: str, factor: float = 1.0, classes: tuple[str, ...] = shapes.CLASS_NAMES) -> Checkpoint:
    """A network that has learned nothing; `factor` scales its logits, and with them every Grad-CAM."""
    network = build(replace(PRESETS[name].spec, classes=len(classes)), seed=0)
    linear = network.get_submodule("head.fc")
    for parameter in linear.parameters():
        parameter.data *= factor
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return Checkpoint(network.eval(), classes, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), "made here")


def compared(name: str, factor: float = 1.0, colour: str = "#0A6CB0") -> ComparedNetwork:
    loaded = checkpoint(name, factor)
    pixels, _ = shapes.sample(6, 6)
    seen = trace(loaded.network, to_input(pixels, loaded.spec.input_shape[1:], loaded.mean, loaded.std), 0)
    columns = profile(seen)
    title = f"{name} × {factor:g}"
    result = NetworkResult(name, loaded, colour, unique_title=title, trace=seen, profiles=columns)
    return side_by_side([result])[0]


def test_relative_depth_counts_weighted_layers() -> None:
    names = [layer.name for layer in describe(cifar(8)).layers]
    depths = relative_depths(cifar(8), names)
    assert depths["stem.conv"] == pytest.approx(1 / 8)
    assert depths["stages.0.0.conv2"] == pytest.approx(3 / 8)
    assert depths["stages.0.0"] == pytest.approx(3.5 / 8)
    assert depths["stages.2.0"] == pytest.approx(7.5 / 8)
    assert not [name for name in depths if "shortcut" in name]


@pytest.mark.parametrize("preset", ["lenet", "resnet-20", "separable-resnet", "imagenet-resnet-50", "vgg-16-bn"])
def test_relative_depth_rises_from_input_to_output(preset: str) -> None:
    spec = PRESETS[preset].spec
    depths = relative_depths(spec, [each.name for each in describe(spec).layers if each.kind in ("conv", "block")])
    assert list(depths.values()) == sorted(depths.values())
    assert 0 < min(depths.values()) and max(depths.values()) < 1


def test_twins_have_the_same_depths_and_meet_in_every_column() -> None:
    plain, residual = compared("plain-20"), compared("resnet-20")
    assert plain.depths == residual.depths
    for depth in strip_depths(0.37):
        assert plain.nearest(depth).name == residual.nearest(depth).name


def test_networks_of_different_depth_meet_at_the_same_share_of_it() -> None:
    shallow, deep = compared("resnet-8"), compared("resnet-32")
    for depth in strip_depths(1.0):
        for network in (shallow, deep):
            assert abs(network.depths[network.nearest(depth).name] - depth) <= 1 / 8
    assert (shallow.nearest(0.0).name, deep.nearest(0.0).name) == ("stem.conv", "stem.conv")
    assert (shallow.nearest(1.0).name, deep.nearest(1.0).name) == ("stages.2.0", "stages.2.4")


def test_the_chosen_depth_has_a_column_of_its_own() -> None:
    assert strip_depths(1.0) == tuple(column / 11 for column in range(12))
    for chosen in (0.0, 0.03, 0.4545, 0.5, 0.999):
        depths = strip_depths(chosen)
        assert chosen in depths and len(depths) == 12
        assert list(depths) == sorted(depths)


# --- the shared scale ------------------------------------------------------------------------------------------------


def test_maps_that_are_ten_times_larger_have_other_colours_on_one_scale() -> None:
    weak, strong = compared("resnet-8"), compared("resnet-8", factor=10)
    one, ten = weak.nearest(1.0).cam, strong.nearest(1.0).cam
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-3)
    depths = strip_depths(1.0)
    for scope in ("layer", "both"):
        tops = column_tops([weak, strong], depths, scope)
        assert tops[0] == tops[1]
        assert tops[0][-1] >= ten.max()
        for grid in ("smooth", "true"):
            painted = [aligned_strip.paint(cam, row[-1], grid) for cam, row in zip((one, ten), tops, strict=True)]
            assert painted[0].max() < painted[1].max() and (painted[0] != painted[1]).any()
            over = [
                aligned_strip.overlay(network, cam, row[-1], grid)
                for network, cam, row in zip((weak, strong), (one, ten), tops, strict=True)
            ]
            assert (over[0] != over[1]).any()
    # Each network by itself: nothing tells them apart, which is why that is not the default.
    tops = column_tops([weak, strong], depths, "network")
    assert tops[1][-1] == pytest.approx(10 * tops[0][-1], rel=1e-3)
    painted = [aligned_strip.paint(cam, row[-1], "true") for cam, row in zip((one, ten), tops, strict=True)]
    assert np.abs(painted[0].astype(int) - painted[1]).max() <= 3


def test_under_each_map_stands_its_largest_value_which_its_colours_do_not_say() -> None:
    weak, strong = compared("plain-8"), compared("resnet-8", 10.0)
    for network in (weak, strong):
        column = network.nearest(0.3)
        for top in (float(column.cam.max()), 7.0):
            assert aligned_strip._cell(network, column, top, "true")["words"][-1] == f"≤ {column.cam.max():.2g}"


def test_signed_maps_share_a_scale_of_both_signs() -> None:
    weak, strong = compared("resnet-8"), compared("resnet-8", 10.0)
    depths = strip_depths(1.0)
    largest = [max(np.abs(column.signed_cam).max() for column in each.profiles) for each in (weak, strong)]
    assert column_tops([weak, strong], depths, "both", "signed") == [[pytest.approx(largest[1])] * 12] * 2
    column = strong.nearest(1.0)
    blue, white, red = aligned_strip.paint(np.array([[-1, 0, 1]], np.float32), 1.0, "true", "signed")[0].astype(int)
    assert blue[2] > blue[0] and red[0] > red[2] and white.min() > 240
    cell = aligned_strip._cell(strong, column, 7.0, "true", "signed")
    assert cell["words"][-1] == f"± {np.abs(column.signed_cam).max():.2g}" and "scale to ±7" in cell["hover"]
    app = open_compare(networks="shapes-plain-8,shapes-resnet-8", evidence="signed", scope="both")
    said = texts(app).replace("\\", "")
    assert "Signed Grad-CAM: ±" in said and "Red supports the explained class, blue opposes it" in said


def test_one_scale_for_all_holds_the_largest_map_of_all_layers() -> None:
    networks = [compared("resnet-20"), compared("resnet-20", factor=0.1)]
    largest = [max(column.cam.max() for column in each.profiles if column.name in each.depths) for each in networks]
    depths = strip_depths(0.5)
    assert column_tops(networks, depths, "both") == [[pytest.approx(largest[0])] * 12] * 2
    assert column_tops(networks, depths, "network") == [[pytest.approx(top)] * 12 for top in largest]


def test_the_true_grid_makes_no_values_up() -> None:
    cam = np.arange(64, dtype=np.float32).reshape(8, 8)
    large = aligned_strip.at_size(cam, "true", (224, 224))
    assert large.shape == (224, 224)
    np.testing.assert_array_equal(large, cam.repeat(28, axis=0).repeat(28, axis=1))
    assert aligned_strip.paint(cam, 63, "true").shape == (8, 8, 3)
    assert len(np.unique(aligned_strip.at_size(cam, "smooth", (224, 224)))) > 64
    np.testing.assert_array_equal(figures.cells(np.array([[1.0, 2.0]]), (1, 5)), [[1, 1, 1, 2, 2]])


def test_the_first_network_against_each_other() -> None:
    networks = [compared("resnet-8"), compared("resnet-8", factor=10), compared("resnet-20")]
    same, _ = maps.cam_pairs(networks, 1.0)
    assert same.correlation == pytest.approx(1, abs=1e-5) and same.iou == pytest.approx(1)
    assert same.difference.max() <= 0
    first, second = maps.similarity_along_depth(networks)
    assert (first.series.title, second.series.title) == (
        "resnet-8 × 1 and resnet-8 × 10",
        "resnet-8 × 1 and resnet-20 × 1",
    )
    assert len(first.left) == len(first.depths) == 12
    assert all(np.isnan(value) or value == pytest.approx(1, abs=1e-3) for value in first.left)


# --- what differs, and the charts ------------------------------------------------------------------------------------


TWINS = ("shapes-plain-56", "shapes-resnet-56")


def test_twins_differ_in_their_shortcut_and_in_what_came_of_it() -> None:
    rows = spec_diff.rows([checkpoints.load_pretrained(name) for name in TWINS])
    assert {row.name for row in rows if not row.is_equal} == {"accuracy", "shortcut"}
    equal = {row.name: row.values[0] for row in rows if row.is_equal}
    assert equal["parameters"] == f"{describe(cifar(56)).parameters:,}"
    assert equal["stages: blocks × channels"] == "(9 × 16), (9 × 32, stride 2), (9 × 64, stride 2)"


def test_what_was_not_measured_is_said_to_be_so() -> None:
    for figures_of in ({}, {"test": {"accuracy": "<b>", "n": 5}}, {"test": 7}, {"test": {"accuracy": float("nan")}}):
        assert accuracy_text(replace(checkpoint("resnet-8"), metrics=figures_of)) == "not measured"
    published = replace(checkpoint("resnet-8"), metrics={"torchvision": {"accuracy": 0.7}})
    assert accuracy_text(published) == "accuracy 70.0%, stated by torchvision"


@pytest.mark.parametrize("record", [{}, {"epochs": 3}, {"config": {}, "epochs": [{}]}, {"epochs": [], "config": None}])
def test_a_network_without_a_record_is_named(record: dict) -> None:
    network = compared("resnet-8")
    odd = replace(network, checkpoint=replace(network.checkpoint, record=record))
    assert spec_diff.training_lines([odd]) == ([], ["resnet-8 × 1"])


def test_a_recorded_training_is_drawn_over_epochs() -> None:
    network = compared("resnet-8")
    loaded = checkpoints.load_pretrained("shapes-resnet-8")
    lines, without = spec_diff.training_lines([replace(network, checkpoint=loaded)])
    assert not without
    assert lines[0].epochs[-1] == pytest.approx(6, rel=0.01)
    assert lines[0].train[-1][1] == loaded.record["epochs"][-1]["train"]["accuracy"]
    chart = figures.training_chart(lines)
    assert {trace.mode for trace in chart.data} == {"lines", "markers"}


def test_names_cannot_write_into_a_chart() -> None:
    evil = "<img src=x onerror=alert(1)> %{x}"
    says = ClassProbabilities(Series(evil, "#000000", "dot"), [0.5], evil)
    line = TrainingLine(Series(evil, "#000000", "dash"), [1.0], [(1.0, 0.5)], [(None, None)])
    for chart in (figures.probabilities_chart([evil], [says]), figures.training_chart([line])):
        assert "<img" not in chart.to_json()


def test_a_size_of_zero_is_a_cross_at_the_bottom() -> None:
    sizes = ([0.0, 2e-3, 1.0], [1.0, 1.0, 1.0])
    line = DepthCurves(Series("a", "#000000"), ["x", "y", "z"], [0.1, 0.5, 0.9], *sizes)
    left, right = figures.sizes_chart([line]).data
    assert list(left.y) == [pytest.approx(1e-4), 2e-3, 1.0]
    assert list(left.marker.symbol) == ["x", "circle", "circle"]
    assert left.customdata[0] == "x: 0"
    assert list(right.y) == [1.0, 1.0, 1.0]


def test_networks_that_cut_the_picture_differently_are_known() -> None:
    network = compared("resnet-8")
    cut = replace(network.checkpoint, resize_shorter_to=40)
    assert network.visible_fraction == 1
    assert replace(network, checkpoint=cut).visible_fraction == 0.8


# --- the page --------------------------------------------------------------------------------------------------------


def open_compare(**query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=120)
    for name, value in query.items():
        app.query_params[name] = value
    return check(app.run())


def check(app: AppTest) -> AppTest:
    assert not app.exception
    assert not app.error
    return app


def chosen(app: AppTest) -> list[str]:
    """The networks in the bar, and in the boxes of the page."""
    boxes = [str(box.value) for box in app.selectbox if str(box.key).startswith("compare_network_")]
    return [*bar_data(app)["view"]["networks"], *boxes]


def texts(app: AppTest) -> str:
    return "\n".join(element.value for kind in (app.markdown, app.caption, app.info, app.warning) for element in kind)


def test_the_twins_of_the_first_view_are_compared() -> None:
    app = open_compare(networks=",".join(TWINS))
    assert chosen(app) == [*TWINS]
    shown = texts(app).replace("\\", "")
    assert "are twins" in shown
    assert [(tile.label.replace("\\", ""), tile.value) for tile in app.metric][:2] == [
        (f"{title}: test accuracy", f"{checkpoints.load_pretrained(name).metrics['test']['accuracy']:.1%}")
        for title, name in (("plain-56", "shapes-plain-56"), ("ResNet-56", "shapes-resnet-56"))
    ]
    assert "overfitting is not the reason" in shown and "n = 4,000 images" in shown
    assert "predicts star" in shown and "which is right" in shown
    assert "Correlation" in shown and "Intersection over union" in shown
    assert app.query_params == {"networks": ",".join(TWINS)}
    assert not [button.label for button in app.button if button.label.startswith(("Measure", "Compare all"))]


@pytest.mark.parametrize("depth", [8, 20, 56])
@pytest.mark.parametrize("data", ["shapes", "cifar10jpeg"])
@pytest.mark.parametrize("tab", ["layers", "object"])
def test_nothing_of_shipped_twins_has_to_be_measured(data: str, depth: int, tab: str) -> None:
    app = open_compare(networks=f"{data}-plain-{depth},{data}-resnet-{depth}", tab=tab)
    assert len(app.metric) == 4
    offered = [button.label for button in app.button if button.label.startswith(("Measure", "Compare all"))]
    more = data == "shapes" and tab == "object"  # the shipped shares are of 500 images; all 4,000 can be measured
    assert [label.partition(" (")[0] for label in offered] == ["Measure 2 networks on 4,000 images"] * more
    shown = texts(app)
    if tab == "layers":
        assert "Most similar are" in shown
    else:
        assert ("on the object, in" in shown) == (data == "shapes")


def test_settings_that_differ_are_in_a_tab() -> None:
    shown = texts(open_compare(tab="settings")).replace("\\", "")
    assert "| shortcut | none (plain) | identity" in shown and "identical ones are below" in shown


def test_the_page_ends_with_its_finding_and_the_next_question() -> None:
    app = open_compare(networks=",".join(TWINS))
    assert (
        "plain-56 reaches 30.0% of test accuracy where ResNet-56 reaches 97.1%: plain-56 is harder to train."
        in texts(app).replace("\\", "")
    )


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (
            lambda app: next(button for button in app.button if button.label == "+ Another network").click(),
            {"networks": f"{TWENTIES},shapes-plain-8"},
        ),
        (lambda app: app.segmented_control(key="compare_scope").set_value("both"), {"scope": "both"}),
        (lambda app: app.segmented_control(key="compare_grid").set_value("true"), {"grid": "true"}),
        (lambda app: app.slider(key="compare_depth").set_value(0.25), {"depth": "0.25"}),
        (lambda app: app.selectbox(key="compare_n").select(50), {"n": "50"}),
    ],
)
def test_a_widget_changes_the_url_and_nothing_else_there(act, expected: dict[str, str]) -> None:
    before = {} if "scope" in expected else {"scope": "network"}
    app = open_compare(**before)
    check(act(app).run())
    assert app.query_params == before | expected
    app = open_compare(**app.query_params)
    assert app.query_params == before | expected


def test_four_networks() -> None:
    app = open_compare(networks=FOUR, depth="0.6", grid="true")
    shown = texts(app).replace("\\", "")
    assert [header.value for header in app.header] == ["Compare four networks"]
    assert shown.count("plain-20 − ") == 3
    for title in ("plain-20", "ResNet-20", "plain-8", "plain-56"):
        assert f"**{title}**  \n" in shown


def choose(app: AppTest, place: int, name: str) -> AppTest:
    return check(app.selectbox(key=f"compare_network_{place}").set_value(name).run())


def test_no_choice_of_networks_is_refused() -> None:
    app = open_compare(networks=THREE)
    choose_pair(app, "compare", "shapes-resnet-20", "shapes-plain-20")
    assert chosen(app) == ["shapes-resnet-20", "shapes-plain-20", "shapes-plain-8"]
    assert not {"ResNet-20 · Shapes", "plain-20 · Shapes"} & {*app.selectbox(key="compare_network_2").options}
    choose(app, 2, "None")
    assert chosen(app) == ["shapes-resnet-20", "shapes-plain-20"]
    choose_pair(app, "compare", "shapes-resnet-20")
    assert chosen(app) == ["shapes-resnet-20", "shapes-plain-20"], "two at least"
    choose_pair(app, "compare", "shapes-resnet-20", "shapes-plain-8")
    for count in (3, 4):
        check(next(button for button in app.button if button.label == "+ Another network").click().run())
        assert len({*chosen(app)}) == count
    assert not [button for button in app.button if button.label == "+ Another network"]
    choose(app, 2, "None")
    assert len({*chosen(app)}) == 3 and chosen(app)[:2] == ["shapes-resnet-20", "shapes-plain-8"]


def test_networks_of_other_classes_say_what_cannot_be_compared() -> None:
    app = open_compare(networks="shapes-resnet-20,cifar10jpeg-resnet-20", target="3")
    shown = texts(app).replace("\\", "")
    assert "know different classes" in shown
    assert "explain different classes" in shown
    assert "**ResNet-20 · Shapes**" in shown and "**ResNet-20 · CIFAR-10 (JPEG copy)**" in shown


def test_the_bar_has_the_pair_also_of_different_classes() -> None:
    app = open_compare(networks="shapes-plain-20,cifar10jpeg-plain-20", measured="said")
    told = bar_data(app)
    assert told["mixed"] and not told["alone"]
    assert told["view"]["networks"] == ["shapes-plain-20", "cifar10jpeg-plain-20"]
    choose_pair(app, "compare", "cifar10jpeg-resnet-20", "cifar10jpeg-plain-20")
    assert app.query_params == {"networks": "cifar10jpeg-resnet-20,cifar10jpeg-plain-20"}


@pytest.mark.parametrize(
    "query",
    [
        {"networks": "no-such,shapes-resnet-56"},
        {"networks": "../x,y"},
        {"networks": "run-0000,upload-x,torchvision-resnet18,shared-1"},
        {"picture": "sample-9-999999", "depth": "7", "target": "99999"},
    ],
)
def test_a_link_with_nonsense_still_shows_a_view(query: dict[str, str]) -> None:
    app = open_compare(**query)
    assert len(chosen(app)) == 2
    check(app.segmented_control(key="compare_grid").set_value("true").run())
    assert app.query_params["grid"] == "true"


def test_an_upload_of_another_session_and_a_bad_file_are_one_sentence() -> None:
    app = open_compare(picture="upload-0123456789abcdef")
    assert "made with an uploaded image" in texts(app)
    with pytest.raises(RequestError, match=r"note\.png.*The image that was shown stays\.$"):
        store_file(app, "note.png", b"just text")
    app.file_uploader(key="upload_again").upload("note.png", b"just text", "image/png").run()
    assert not app.exception
    assert [error.value for error in app.error if "note.png" in error.value]


def test_a_photo_is_compared_at_each_networks_own_size() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), (200, 30, 30)).save(buffer, "PNG")
    app = open_compare(picture="upload-0123456789abcdef")
    store_file(app, "![x](y) `<b>`.png", buffer.getvalue())
    check(app)
    assert app.query_params["picture"].startswith("upload-")
    assert "made with an uploaded image" not in texts(app)
    assert any(caption.value.startswith("`![x](y) '<b>'.png`") for caption in app.caption)


def test_the_view_opens_in_explore() -> None:
    app = open_compare(networks=TWENTIES, scope="both", depth="0.2")
    app.button(key="to_explore").click().run()
    assert not app.exception
    assert "here is Explore" in texts(app)
    assert app.query_params == {"scope": "both", "layer": "stages.0.1.conv1", "layers": "main"}


def test_two_networks_with_one_name_are_told_apart_and_no_name_is_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    app = AppTest.from_string(PAGE, default_timeout=120)
    evil = "**a** | <img src=x> [b](c)"
    titles = {"shapes-plain-20": evil, "cifar10jpeg-plain-20": evil}
    monkeypatch.setattr(user_models, "title_of", lambda name: titles.get(name, ""))
    app.query_params["networks"] = "shapes-plain-20,cifar10jpeg-plain-20"
    check(app.run())
    options = [network["label"] for network in bar_data(app)["networks"]]
    assert {f"{evil} · plain-20 · shapes-plain-20", f"{evil} · plain-20 · cifar10jpeg-plain-20"} <= set(options)
    assert len(set(options)) == len(options)
    written = "\n".join(element.value for kind in (app.markdown, app.caption, app.info) for element in kind)
    assert "\\<img" in written and "\\[b\\]" in written
    assert not [line for line in written.splitlines() if "<img" in line.replace("\\<img", "")]
    assert "[b](c)" not in written


def test_what_some_networks_do_not_say_is_no_difference() -> None:
    row = spec_diff.Row("training: seed", ("0", "not recorded", "0"))
    assert row.has_missing_value and not row.is_equal
    assert not spec_diff.Row("training: seed", ("0", "not recorded", "1")).has_missing_value
    assert not spec_diff.Row("training: seed", ("not recorded", "not recorded")).has_missing_value


# --- more methods ----------------------------------------------------------------------------------------------------


def alts(app: AppTest) -> list[str]:
    return [picture.alt for element in app.get("image") for picture in element.proto.imgs]


def run_method(app: AppTest, method: str) -> AppTest:
    """Chooses the method and clicks the button that runs it."""
    check(app.selectbox(key="compare_method").select(method).run())
    title = f"Run {METHODS[method].title}"
    return check(next(button for button in app.button if button.label.startswith(title)).click().run())


def test_a_method_explains_all_networks_on_one_scale_and_is_kept() -> None:
    app = open_compare(networks=FOUR, target="2", tab="methods")
    assert not [button for button in app.button if button.label.startswith("Run ")]
    check(app.selectbox(key="compare_method").select("occlusion").run())
    assert METHODS["occlusion"].shows in texts(app)
    check(app.number_input(key="compare_parameter_occlusion_stride").set_value(8).run())
    (button,) = (button for button in app.button if button.label.startswith("Run Occlusion on 4 networks (about "))
    check(button.click().run())
    for title in ("plain-20", "ResNet-20", "plain-8", "plain-56"):
        assert f"Occlusion of {title} over the image" in alts(app)
    shown = texts(app)
    assert shown.count("one scale for all 4 networks") == 1 and "explaining *star" not in shown
    assert shown.count(f"explaining *{shapes.CLASS_NAMES[2]}*") == 4
    assert app.query_params == {"networks": FOUR, "target": "2", "tab": "methods"}
    check(app.segmented_control(key="compare_grid").set_value("true").run())
    assert "one scale for all 4 networks" in texts(app), "a result is kept"
    app.query_params["target"] = "3"
    check(app.run())
    assert "one scale for all 4 networks" not in texts(app), "another class is another request"
    assert app.number_input(key="compare_parameter_occlusion_stride").value == 8


def test_guided_grad_cam_takes_each_network_at_its_own_layer() -> None:
    app = run_method(open_compare(networks="shapes-plain-8,shapes-resnet-20", tab="methods"), "guided_grad_cam")
    shown = texts(app).replace("\\", "")
    assert "plain-8 `stages.2.0`, ResNet-20 `stages.2.2`" in shown
    assert "Guided Grad-CAM of ResNet-20 alone" in "\n".join(alts(app))
    app.query_params["depth"] = "0"
    check(app.run())
    assert "plain-8 `stem.conv`, ResNet-20 `stem.conv`" in texts(app).replace("\\", "")
    assert "Guided Grad-CAM of ResNet-20 alone" not in "\n".join(alts(app))


def test_parameters_of_a_method_that_do_not_go_together_are_one_sentence() -> None:
    app = open_compare(tab="methods")
    check(app.selectbox(key="compare_method").select("occlusion").run())
    app.number_input(key="compare_parameter_occlusion_stride").set_value(9).run()
    assert not app.exception
    (error,) = app.error
    assert "stride" in error.value and "smaller" in error.value


def test_networks_that_explain_different_classes_say_so_beside_their_maps() -> None:
    app = run_method(open_compare(networks="shapes-resnet-20,cifar10jpeg-resnet-20", tab="methods"), "input_x_gradient")
    assert texts(app).count("explain different classes") == 1
    assert "red supports the explained class" in texts(app)
