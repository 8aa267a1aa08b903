"""The tabs of the layer's detail without a browser, and the work on a page that they all start."""

import itertools
import json
import re
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from driving.messages import component
from explorer import checkpoints, figures
from explorer.architectures import Stage
from explorer.attribution import METHODS, Attribution, Share, kernels
from explorer.datasets import shapes
from explorer.images import to_input
from explorer.presets import cifar
from explorer.tracing import trace
from explorer.ui import network_registry
from explorer.ui.explore import faithfulness
from explorer.ui.explore.methods import sum_words, supported_parameters
from explorer.ui.explore.tabs import TABS
from explorer.ui.services.inference import NetworkResult
from explorer.ui.widgets.long_task import run_sequentially
from tests.messages import told, view
from tests.test_pages import open_app, texts

SMALL = {"first": "shapes-plain-8", "second": "shapes-resnet-8"}


def run(app: AppTest, label: str) -> AppTest:
    """Clicks the button whose label begins so."""
    next(button for button in app.button if button.label.startswith(label)).click().run()
    assert not app.exception and not app.error
    return app


def alts(app: AppTest) -> str:
    """What pictures and charts show, for those who cannot see them."""
    pictures = [picture.alt for element in app.get("image") for picture in element.proto.imgs]
    maps = [each["alt"] for which in (0, 1) for each in block_maps(app, which)]
    return "\n".join([*pictures, *maps, *(element.proto.alt for element in app.get("plotly_chart"))])


def block_maps(app: AppTest, which: int) -> list[dict[str, Any]]:
    """The maps that the viewer draws of a block of that network."""
    parts = [part.proto for part in app.get("bidi_component")]
    rows = [json.loads(part.json) for part in parts if part.component_name.endswith("blockmaps")]
    return [each for row in rows if row["which"] == which for each in row["maps"]]


def test_the_first_view_computes_no_other_tab() -> None:
    app = open_app(**SMALL)
    assert app.session_state["tab"] == "Layer"
    assert component(app, "layers")
    assert not [button for button in app.button if button.key and button.key.startswith("measure-")]


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_opens_from_a_link_at_every_kind_of_layer(tab: str) -> None:
    for layer in ("stem.conv", "stages.1.0.shortcut", "stages.2.0"):
        app = open_app(**SMALL, tab=tab, layer=layer)
        assert not app.error, app.error[0].value
        assert app.session_state["tab"] == TABS[tab]  # type: ignore[index]


@pytest.mark.parametrize(
    "query",
    [
        {"tab": "<script>"},
        {"tab": "methods", "method": "../../etc"},
        {"tab": "methods", "method": "occlusion", "parameters": '{"window":99999,"stride":-5,"baseline":"x","no":1}'},
        {"tab": "methods", "method": "guided_grad_cam", "parameters": '{"layer":"stages.9.9"}'},
        {"tab": "methods", "parameters": '{"steps":"many"}'},
        {"tab": "methods", "method": "smoothgrad", "parameters": '{"noise":7,"samples":2.5}'},
        {"tab": "block", "channel": "99999", "layer": "stages.9.9"},
        {"tab": "channels", "channel": "99999"},
        {"tab": "trust", "questioned": "nobody", "method": "none"},
    ],
)
def test_a_link_with_nonsense_still_shows_a_tab(query: dict[str, str]) -> None:
    app = open_app(**SMALL, **query)
    assert not app.error


def test_parameters_that_do_not_go_together_are_one_sentence() -> None:
    app = open_app(**SMALL, tab="methods", method="occlusion", parameters='{"stride":9,"window":4}')
    (error,) = app.error
    assert "stride" in error.value and "smaller" in error.value
    assert not [button for button in app.button if button.label.startswith("Run")]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_shows_both_networks_on_one_scale(method: str) -> None:
    parameters = {"integrated_gradients": {"steps": 4}, "smoothgrad": {"samples": 3}, "occlusion": {"stride": 8}}
    parameters["rise"] = {"masks": 50}
    app = open_app(**SMALL, tab="methods", method=method, parameters=json.dumps(parameters.get(method, {})))
    run(app, f"Run {METHODS[method].title}")
    words = texts(app)
    assert METHODS[method].shows in words
    assert "one scale for both networks" in words
    assert words.count("The score of the image exceeds") == (
        2 if method in ("integrated_gradients", "deep_lift") else 0
    )
    for network in ("plain-8", "ResNet-8"):
        assert f"{METHODS[method].title} of {network} over the image" in alts(app)
        assert f"{METHODS[method].title} of {network} alone" in alts(app)
    app.query_params["opacity"] = "30"
    app.run()
    assert "one scale for both networks" in texts(app), "a result is kept"


@pytest.mark.parametrize(
    ("difference", "delta", "said"),
    [
        (0.11, -0.45, "has the wrong sign"),
        (-2.0, 2.5, "has the wrong sign"),
        (1.0, -0.7, "More than half is missed or added"),
        (1.0, 0.6, "More than half is missed or added"),
        (0.0, 0.2, "More than half is missed or added"),
        (1.0, -0.3, "so 0.3 is missed (more steps come closer)"),
        (-1.0, 0.1, "so 0.1 is missed (more steps come closer)"),
    ],
)
def test_a_sum_that_is_far_from_the_score_makes_no_map_of_use(difference: float, delta: float, said: str) -> None:
    values = np.ones((3, 2, 2), np.float32)
    words = sum_words(Attribution("integrated_gradients", 0, values, difference, delta), values[0])
    assert said in words and ("**not usable**" in words) == ("missed (" not in words)


def test_kernels_have_a_scale_of_their_own_and_nothing_is_read_into_their_noise() -> None:
    app = open_app(first="shapes-plain-56", second="shapes-resnet-56", tab="channels")
    words = texts(app)
    assert "learned little" not in words and "a scale of its own" in words
    tops = [float(top) for top in re.findall(r"brightest ([\d.]+)\.", words)]
    own = [kernels(checkpoints.load_pretrained(name).network).top for name in ("shapes-plain-56", "shapes-resnet-56")]
    assert tops == [float(f"{top:.3g}") for top in own] and tops[0] != tops[1]


def test_a_parameter_and_a_method_go_into_the_url() -> None:
    app = open_app(**SMALL, tab="methods")
    app.number_input(key="parameter_integrated_gradients_steps").set_value(7).run()
    assert json.loads(app.query_params["parameters"]) == {"steps": 7}
    app.selectbox(key="method").select("occlusion").run()
    assert not app.exception and not app.error
    assert "parameters" not in app.query_params and app.query_params["method"] == "occlusion"


def test_a_block_is_split_and_a_plain_one_says_why_not() -> None:
    app = open_app(**SMALL, tab="block", layer="stages.1.0.conv2")
    words = texts(app)
    assert "plain-8 has no shortcuts" in words and "block stages.1.0" in words
    assert "The two parts sum to the whole" in words
    for name in ("x", "s(x)", "F(x)", "s(x) + F(x)", "output", "at x", "shortcut's part", "branch's part"):
        assert f"Map of {name}," in alts(app), name
    layers = [each["layer"] for each in block_maps(app, 1)]  # any pixel of them can be followed
    inside = [f"stages.1.0.{name}" for name in ("shortcut", "norm2", "sum")]
    assert layers == ["stages.0.0", *inside, "stages.1.0"] and component(app, "arithmetic")
    app.number_input(key="block_channel").set_value(0).run()
    assert not app.exception and view(app)["channel"] == 0 and told(app)["initial"]["channel"] == 0
    assert block_maps(app, 1)[0]["caption"] == "No channel of x comes here."  # option A puts zeros in front


@pytest.mark.parametrize("tab", TABS)
def test_each_tab_applies_the_changes_of_the_networks_or_says_that_it_does_not(tab: str) -> None:
    app = open_app(**SMALL, tab=tab, layer="stages.1.0", change="stages.1.0@branch:off")
    assert not app.error
    assert ("shows the untouched networks" in texts(app)) == (tab not in ("layer", "block"))
    if tab == "block":
        assert "Map of F(x), 0 to 0" in alts(app)
        assert [each["layer"] is None for each in block_maps(app, 1)] == [False, False, True, False, False]


def test_a_plain_network_alone_offers_its_twin() -> None:
    app = open_app(first="shapes-plain-8", second="none", tab="block")
    assert "no parts to compare" in texts(app)
    next(button for button in app.button if button.label == "Look at its twin too").click().run()
    assert not app.exception and app.query_params["second"] == "shapes-resnet-8"


def test_two_residual_networks_share_one_scale() -> None:
    app = open_app(first="shapes-resnet-8", second="shapes-resnet-20", tab="block", layer="stages.2.0")
    assert texts(app).count("one scale for both networks") == 2
    assert "no parts to compare" not in texts(app)


def test_the_pictures_a_channel_answers_most_are_found_once_for_all_channels() -> None:
    app = open_app(first="shapes-resnet-8", second="none", tab="channels", layer="stages.0.0.conv1", channel="1")
    assert "16 kernels of 3 × 3 × 3" in texts(app)
    run(app, "Find the images")
    assert alts(app).count(", largest value ") == 9
    assert "of 1,000 test images of Shapes" in texts(app)
    app.number_input(key="top_channel").set_value(5).run()
    assert "channel 5" in texts(app) and alts(app).count(", largest value ") == 9


def test_trust_is_measured_by_exchanged_pixels_and_by_random_weights() -> None:
    app = open_app(**SMALL, tab="trust", layer="stages.2.0")
    run(app, "Measure deletion and insertion")
    assert texts(app).count("of 5 random orders") == 2
    run(app, "Randomise layer by layer")
    assert texts(app).count("after the first step from the head the correlation is") == 2
    assert "Rank correlation of the map" in alts(app)


def test_trust_asks_about_the_map_that_the_view_shows() -> None:
    app = open_app(first="shapes-resnet-8", second="none", tab="trust", layer="stages.2.0", evidence="signed")
    run(app, "Measure deletion and insertion")
    assert "Signed Grad-CAM of stages.2.0 beats" in texts(app)


def test_the_map_of_a_method_can_be_asked_about_too() -> None:
    app = open_app(first="shapes-resnet-8", second="none", tab="trust")
    app.selectbox(key="questioned").select("input_x_gradient").run()
    assert app.query_params["method"] == "input_x_gradient" and app.query_params["questioned"] == "method"
    run(run(app, "Measure deletion"), "Randomise")
    assert "Input × gradient beats" in texts(app)


def test_a_methods_map_is_part_of_the_progress_and_stops_between_its_chunks() -> None:
    loaded = network_registry.checkpoint("shapes-resnet-8")
    image = to_input(shapes.sample(6, 6)[0], (32, 32), loaded.mean, loaded.std)
    network = NetworkResult("shapes-resnet-8", loaded, "#000000", trace=trace(loaded.network, image, 6), profiles=())
    chosen: dict[str, int | float | str] = {"window": 8, "stride": 2, "baseline": "mean"}
    request = faithfulness._MapRequest("occlusion", "", chosen, False, {}, is_signed=True)
    works: list[Generator[Share[Any], None, None]] = [
        faithfulness._curves(request, network),
        faithfulness._randomise(request, network),
    ]
    for work in works:
        shares = [next(work).share for _ in range(12)]
        assert shares == sorted(shares) and len(set(shares)) >= 10
        assert 0 < shares[0] and shares[-1] < 0.5
        work.close()


def test_networks_without_a_common_layer_are_one_sentence() -> None:
    only_stem = replace(cifar(8), input_shape=(3, 8, 8), stages=(Stage(1, 16, 8),))  # 1 × 1 behind its stem
    with pytest.raises(ValueError, match="no layer in common"):
        supported_parameters("guided_grad_cam", [only_stem, replace(cifar(8), stem=None)], {})
    assert supported_parameters("guided_grad_cam", [cifar(8), cifar(20)], {}, "stem.conv")[1] == {"layer": "stem.conv"}


def test_works_in_turn_are_one_work_with_growing_shares() -> None:
    def work(result: str) -> Iterator[Share[str]]:
        yield Share(0.5)
        yield Share(1.0)  # done, and the result still to come
        yield Share(1.0, result)

    def pairs() -> Iterator[tuple[float, str | None]]:
        yield 0.2, None
        yield 1.0, "b"

    steps = list(run_sequentially([lambda: work("a"), pairs]))
    shares = [step.share for step in steps]
    assert shares == sorted(shares) and [step.result for step in steps[:-1]] == [None] * (len(steps) - 1)
    assert steps[-1].share == 1 and steps[-1].result == ["a", "b"]


def test_closing_works_in_turn_ends_the_one_that_goes_on() -> None:
    closed = []

    def work() -> Iterator[Share[str]]:
        try:
            for share in itertools.count():
                yield Share(share / 1e6)
        finally:
            closed.append(True)

    steps = run_sequentially([work])
    next(steps)
    steps.close()
    assert closed == [True]


def test_a_signed_overlay_leaves_grey_where_the_map_is_zero_and_tells_for_from_against() -> None:
    pixels = np.full((1, 3, 3), (30, 60, 90), np.uint8)
    over = figures.signed_overlay(pixels, np.array([[-2.0, 0.0, 2.0]]), 2.0, 1.0)
    assert over[0, 1].tolist() == [60, 60, 60]
    assert over[0, 0, 2] > over[0, 0, 0] and over[0, 2, 0] > over[0, 2, 2]
    assert np.array_equal(figures.signed_overlay(pixels, np.zeros((1, 3)), 0.0, 1.0), np.full((1, 3, 3), 60))


def test_a_frame_lies_on_the_edge_of_its_box() -> None:
    large = figures.framed(np.zeros((4, 4, 3), np.uint8), (1, 2, 3, 4), 40)
    marked = large.max(axis=2) > 0
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == (10, 30, 20, 40)
    assert not marked[15, 30]


def test_kernels_share_one_scale_and_the_gaps_are_clear() -> None:
    values = np.zeros((2, 3, 1, 1), np.float32)
    values[1] = 1.0
    pictures = figures.kernel_pictures(values, 2.0)
    assert pictures[0].ravel().tolist() == [128] * 3 and pictures[1].ravel().tolist() == [191] * 3
    sheet = figures.kernel_sheet(pictures, 8, 10)
    assert sheet.shape[2] == 4 and set(np.unique(sheet[..., 3])) == {0, 255}
    assert len(figures.kernel_pictures(np.ones((2, 1, 3, 3), np.float32), 1.0)) == 2
