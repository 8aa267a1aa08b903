"""The page Gradients without a browser: its state, its chart, and what it says of each of its three sources."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from driving.messages import component
from explorer import checkpoints
from explorer.experiments.gradient_flow import recorded_flow
from explorer.experiments.gradient_grid import band
from explorer.experiments.gradient_summary import number
from explorer.presets import cifar
from explorer.training import GradientSizes
from explorer.ui import forecasts, network_registry
from explorer.ui.gradients import flow_measurements, profiles
from explorer.ui.gradients.flow_measurements import MeasuredFlow
from explorer.ui.gradients.profiles import ProfileLine
from explorer.ui.gradients.state import CARDS, GradientsState
from explorer.ui.pages import gradients
from explorer.ui.services.explore_state import NAME
from tests.messages import bar_data, choose_pair

PAGE = """
from explorer.ui import navigation
from explorer.ui.pages import gradients

navigation.run({"gradients": ("Gradients", gradients.show)})
"""
NAN, INFINITE = float("nan"), float("inf")
QUICK = {"depths": "8", "shortcuts": "identity", "seeds": "1"}
HEAD = ("stem.conv", *(f"stages.0.{index}.conv1" for index in range(9)))


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which two small networks are measured at once; a busy one would ask first."""
    monkeypatch.setattr(forecasts, "macs_a_second", lambda: 1e12)


@pytest.fixture
def by_click(monkeypatch: pytest.MonkeyPatch) -> None:
    """No link starts a measurement."""
    monkeypatch.setattr(gradients, "STARTS_BY_ITSELF", 0)


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


def drawn(app: AppTest, name: str) -> Any:
    """What the browser is told to draw there."""
    return json.loads(component(app, name).json)


def offers(app: AppTest) -> list[str]:
    """The buttons that measure sizes of gradients, beside that of the questions below them."""
    return [button.label for button in app.button if (button.key or "").startswith("measure-gradients")]


def press(app: AppTest, words: str) -> AppTest:
    return check(next(button for button in app.button if words in button.label).click().run())


# --- the state --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        GradientsState(),
        GradientsState(source="record", first="shapes-plain-56", second=None, step=768, scale="relative"),
        GradientsState(source="checkpoint", what="blocks", mode="training", data="cifar10"),
        GradientsState(
            depths=(20, 56), norms=("batch", "none"), seeds=10, what="activations", data="stored-" + "0" * 64
        ),
        GradientsState(depths=(8, 110), activations=("tanh", "sigmoid"), initialisations=("he", "pytorch")),
    ],
)
def test_the_state_comes_back_from_its_link(state: GradientsState) -> None:
    assert GradientsState.from_query(state.to_query()) == state


def test_the_page_opens_with_the_first_card_and_an_old_link_with_what_it_meant() -> None:
    assert GradientsState.shown({}) == GradientsState.shown({"first": "shapes-plain-8", "bar": "x"}) == CARDS[0]
    assert CARDS[0].to_query() and GradientsState().to_query() == {"source": "initial"}, "no view has the empty link"
    old = {"depths": "20,56", "norms": "batch,none"}
    assert GradientsState.shown(old) == GradientsState(depths=(20, 56), norms=("batch", "none"))
    assert GradientsState.shown({"source": "record"}) == GradientsState(source="record")


def test_every_card_is_a_view_of_56_layers() -> None:
    for card in CARDS:
        assert GradientsState.shown(card.to_query()) == card and card.scale == "relative"
    assert {spec.depth for card in CARDS[:2] for spec in card.specs()} == {56}


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


def line(*sizes: tuple[float, ...], **rest: Any) -> ProfileLine:
    """A line through sizes (n, L)."""
    flows = [recorded_flow(GradientSizes(HEAD[: len(sizes[0])], (0,), (each,)), 0) for each in sizes]
    values: dict[str, Any] = {"name": "plain-20", "label": "20", "colour": "#C2540A", "band": band(flows)}
    return ProfileLine(**{**values, **rest})


def profile(*lines: ProfileLine, **rest: Any) -> dict[str, Any]:
    return profiles.profile(lines, [], size="size", alt="alt", **rest)


def test_a_line_has_the_median_the_ends_and_the_counts_of_its_seeds() -> None:
    data = profile(line((0.0, 1e-30, NAN, 1.0), (2.0, 1e-20, NAN, 1.0), (8.0, 1e-10, INFINITE, 1.0)))
    (panel,) = data["panels"]
    (one,) = panel["lines"]
    assert (
        one["n"] == 3 and one["layers"] == list(HEAD[:4]) and one["x"] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-3)
    )
    assert one["median"] == [2.0, 1e-20, None, 1.0]
    assert one["low"] == [0.0, 1e-30, None, 1.0] and one["high"] == [8.0, 1e-10, None, 1.0]
    assert one["zeros"] == [1, 0, 0, 0] and one["lost"] == [0, 0, 3, 0] and data["lost"]
    json.dumps(data, allow_nan=False)


def test_all_panels_share_their_decades_and_a_span_fixes_them() -> None:
    small, large = line((1e-9, 1e-8), panel="tanh"), line((1.0, 10.0), panel="ReLU")
    data = profile(small, large)
    assert [panel["title"] for panel in data["panels"]] == ["tanh", "ReLU"] and data["decades"] == [-9, 1]
    assert profiles.span_of([small, large]) == (-9, 1)
    assert profile(large, span=(-9, 1))["decades"] == [-9, 1] and not data["lost"]
    assert profile(line((0.0, 0.0)))["decades"] == [-1, 0], "nothing but zeros can be drawn too"


# --- the page: at initialisation --------------------------------------------------------------------------------------


def test_a_wider_grid_measures_only_what_is_new_and_the_verdict_follows_the_numbers(by_click: None) -> None:
    app = open_gradients(**QUICK)
    assert "Nothing of this is measured yet" in said(app)
    press(app, "Measure 1 pass")
    assert "in ResNet-8 (first layer" in said(app) and "BatchNorm, Kaiming (He) initialisation, ReLU." in said(app)
    assert not offers(app)
    check(app.pills(key="gradients_norms").set_value(["none", "batch"]).run())
    assert app.query_params["norms"] == "batch,none"
    press(app, "Measure 1 pass")
    press(check(app.pills(key="gradients_shortcuts").set_value(["none", "identity"]).run()), "Measure 2 passes")
    text = said(app)
    assert "No norm, Kaiming (He) initialisation, ReLU: Toward the input," in text
    kept = app.session_state["session"].flows
    found = {spec.norm + spec.shortcut: kept.find(f"{spec.fingerprint}/0/shapes-32") for spec in (
        GradientsState(depths=(8,), norms=("batch", "none")).specs())}  # fmt: skip
    assert len(found) == 4 and None not in found.values()
    ratios = [
        found[key].weights[0] / found[key].weights[-2] for key in ("batchnone", "nonenone")
    ]  # the last is the head
    assert all(f"{number(ratio)} ×" in text for ratio in ratios)
    check(app.slider(key="gradients_seeds").set_value(2).run())
    assert [button.label for button in app.button if button.label.startswith("Measure 1 more seed (about")]


def test_a_link_in_a_new_session_shows_what_another_one_measured(by_click: None) -> None:
    press(open_gradients(**QUICK), "Measure 1 pass")
    stranger = open_gradients(**QUICK)
    assert "in ResNet-8 (first layer" in said(stranger) and not offers(stranger)


def test_a_link_starts_what_takes_seconds_and_offers_what_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_gradients(**QUICK)
    assert "in ResNet-8 (first layer" in said(app)
    check(app.pills(key="gradients_norms").set_value(["none"]).run())
    assert [button for button in app.button if "Measure 1 pass" in button.label], "a choice on the page starts nothing"
    monkeypatch.setattr(forecasts, "macs_a_second", lambda: 1e6)
    app = open_gradients(**QUICK, activations="tanh")
    assert "Nothing of this is measured yet" in said(app)


def test_switches_say_what_is_measured() -> None:
    app = open_gradients(**QUICK)
    assert "Weight gradient of each convolution (L2 norm), of the main path" in said(app)
    check(app.segmented_control(key="gradients_what").set_value("blocks").run())
    assert "Gradient at the output of each block (root mean square)" in said(app)
    assert "in ResNet-8 (first block" in said(app)
    check(app.segmented_control(key="gradients_scale").set_value("relative").run())
    assert drawn(app, "profile")["size"].endswith("last layer = 1")
    assert app.query_params == {**QUICK, "source": "initial", "what": "blocks", "scale": "relative"}


def test_the_last_value_of_a_factor_stays(by_click: None) -> None:
    app = open_gradients(**QUICK)
    check(app.pills(key="gradients_depths").set_value([]).run())
    assert app.pills(key="gradients_depths").value == [8] and app.query_params["depths"] == "8"


@pytest.mark.usefixtures("fast", "by_click")
@pytest.mark.parametrize(("source", "query"), [*zip(["initial", "checkpoint", "record"], HOSTILE[1:], strict=False)])
def test_a_link_with_nonsense_still_shows_a_view(query: dict[str, str], source: str) -> None:
    """Each of the others is the same state, as a test above says."""
    app = open_gradients(**{**query, "source": source})
    assert drawn(app, "cards")["cards"] and app.segmented_control(key="gradients_source").value == source


# --- the page: a network as it is -------------------------------------------------------------------------------------


def findings_of(app: AppTest) -> str:
    return next(element.value for element in app.markdown if element.value.startswith("**Toward the input"))


@pytest.mark.usefixtures("fast")
def test_a_network_is_measured_as_it_is_in_the_chosen_mode() -> None:
    app = open_gradients(source="checkpoint", first="shapes-plain-8", second="shapes-resnet-8")
    text = said(app)
    assert "BatchNorm, ReLU. n = 1 batch, 64 shapes, evaluation mode, float32." in text
    assert "in plain-8 (first layer" in text
    check(app.segmented_control(key="gradients_mode").set_value("training").run())
    assert "64 shapes, training mode, float32" in said(app)
    choose_pair(app, "gradients", "shapes-plain-8")
    assert "ResNet-8" not in findings_of(app)
    assert app.query_params["second"] == "none"


@pytest.mark.usefixtures("fast")
def test_a_network_of_other_classes_is_told_so_and_offered_images_of_its_own() -> None:
    app = open_gradients(source="checkpoint", first="cifar10jpeg-plain-20", second="shapes-resnet-20")
    assert bar_data(app)["view"]["networks"] == ["cifar10jpeg-plain-20", "cifar10jpeg-resnet-20"], "as on the page"
    assert not bar_data(app)["mixed"]
    assert [info.value for info in app.info if "other names" in info.value and "170 MB" in info.value]
    assert [button for button in app.button if button.label == "Download CIFAR-10"]


# --- the page: during training ----------------------------------------------------------------------------------------


def test_the_browser_has_every_recorded_step_of_a_training() -> None:
    app = open_gradients(source="record")
    record = checkpoints.load_pretrained("shapes-plain-20").record
    sizes, data = record["weight_gradients"], drawn(app, "steps")
    assert data["steps"] == sizes["steps"] and data["step"] == 0 and len(data["sentences"]) == len(data["steps"])
    convolutions = [index for index, name in enumerate(sizes["layers"]) if not name.startswith("head")]
    for norms, shown, sentence in zip(sizes["norms"], data["sizes"], data["sentences"], strict=True):
        assert shown[0] == pytest.approx([norms[index] for index in convolutions], rel=1e-3)
        assert (
            len(sentence.split()) <= 25 and f"{number(norms[convolutions[0]] / norms[convolutions[-1]])} ×" in sentence
        )
    epochs = record["epochs"]
    (curve,) = [line for line in data["curves"]["panels"][0]["lines"] if line["name"] == "plain-20, validation"]
    assert curve["x"] == [epoch["step"] for epoch in epochs]
    assert curve["y"] == [epoch["validation"]["accuracy"] for epoch in epochs]
    assert "128 images" in said(app) and app.segmented_control(key="gradients_what").disabled


def test_a_network_without_a_record_is_named_and_the_other_one_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = flow_measurements.recorded
    monkeypatch.setattr(
        flow_measurements, "recorded", lambda name: None if name == "cifar10jpeg-resnet-8" else recorded(name)
    )
    app = open_gradients(source="record", first="shapes-plain-8", second="cifar10jpeg-resnet-8")
    assert bar_data(app)["mixed"] and bar_data(app)["view"]["networks"] == ["shapes-plain-8", "cifar10jpeg-resnet-8"]
    assert "Without a record of its training: ResNet-8 · CIFAR-10 (JPEG copy)." in said(app)
    assert drawn(app, "steps")["networks"] == "shapes-plain-8"


@pytest.mark.parametrize(("step", "shown"), [("700", 512), ("768", 768), ("0", 0)])
def test_a_link_between_two_steps_shows_the_one_before(step: str, shown: int) -> None:
    assert drawn(open_gradients(source="record", step=step, second="none"), "steps")["step"] == shown


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
        assert found.precision == "float32" and found.batch_size is None and not any(found.accuracies.values())
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


@pytest.mark.parametrize(
    ("epochs", "found"),
    [
        ([{"step": 5, "train": {"accuracy": 0.5}}, {"step": 9, "train": {"accuracy": 1}}], ((5, 0.5), (9, 1.0))),
        ([{"step": 5, "train": {"accuracy": 0.5}}, {"step": 5, "train": {"accuracy": 1}}], ((5, 0.5),)),
        ([{"step": 5, "train": {"accuracy": 1.5}}], ()),
        ([{"step": True, "train": {"accuracy": 0.5}}, {"step": 9, "train": {"accuracy": 1}}], ()),
        ([{"step": 5, "train": None}], ()),
        ([{"step": -1, "train": {"accuracy": 0.5}}], ()),
        ([7], ()),
        ("many", ()),
        (None, ()),
    ],
)
def test_accuracies_from_anywhere_are_read_as_far_as_they_can_be(epochs: Any, found: tuple) -> None:
    assert flow_measurements._accuracies(epochs, "train") == found
