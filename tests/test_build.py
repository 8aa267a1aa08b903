"""Build & train without a browser: the form that is a network and its training, own pictures, and runs.

One file for the one page: all its parts share the small datasets and the ways to look at a widget.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from explorer import runs
from explorer.architectures import ArchitectureSpec, build, describe
from explorer.datasets import downloadable, shapes
from explorer.presets import PRESETS
from explorer.runs import weight_snapshots
from explorer.runs.queue import write_end
from explorer.training import TrainingConfig
from explorer.ui import dataset_access
from explorer.ui.build_state import MAX_LAYERS, QUICK_TRAINING, BuildState
from explorer.ui.markdown import as_sentence
from tests.made_runs import end, taken_queue
from tests.test_state import HOSTILE_CONFIGS, STEM, hostile_links, stage

PAGE = "from explorer.ui.pages import build\nbuild.show()"
BUILT_IN = {
    "shapes-16": 16,
    "shapes-32": 32,
    "shapes-64": 64,
    "cifar10": 32,
    "fashion-mnist": 32,
}  # and the side of their pictures
SMALL = json.dumps({"seconds": 1.0, "batch_size": 16})


@pytest.fixture(scope="module", autouse=True)
def empty_streamlit_caches() -> Iterator[None]:
    """Kept from test to test here: what they hold, this machine's speed and drawn shapes, is the same for all."""
    yield
    streamlit.cache_data.clear()
    streamlit.cache_resource.clear()


@pytest.fixture(autouse=True)
def no_run_trains_or_outlives_its_test(data_folder: Path) -> Iterator[None]:
    """Nothing here is about the training itself."""
    with taken_queue(data_folder):
        yield


def open_build(tab: str = "Network", **query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=180)
    app.session_state["build_tab"] = tab
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    return app


def check(app: AppTest) -> None:
    """No exception, and not the sentence that stands for one."""
    assert not app.exception
    assert not [error.value for error in app.error if "Something went wrong" in error.value]


def state_of(app: AppTest) -> BuildState:
    query = {name: value if isinstance(value, str) else value[-1] for name, value in app.query_params.items()}
    state = BuildState.from_query(query)
    assert state.to_query() == query, "the page writes nothing that it could not read"
    return state


def texts(app: AppTest) -> str:
    kinds = (app.header, app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def shown(app: AppTest) -> dict[str, Any]:
    """What each widget shows, by its key."""
    kinds = (app.selectbox, app.number_input, app.text_input, app.toggle, app.select_slider, app.get("button_group"))
    return {str(widget.key): getattr(widget, "value", None) for kind in kinds for widget in kind}


def start_label(app: AppTest) -> str | None:
    return next((button.label for button in app.button if button.key == "start"), None)


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [*BUILT_IN, "own"])
def test_every_preset_with_every_data_is_exactly_its_spec(data: str) -> None:
    app = open_build(data=data)
    side = BUILT_IN.get(data, 32)
    some = ("lenet", "resnet-20", "two-conv" if side < 32 else "vgg-16")  # the data change only the size and the words
    if side >= 32:  # a VGG halves its pictures five times
        for name, preset in PRESETS.items():
            spec = replace(preset.spec, input_shape=(3, side, side), classes=10)
            assert BuildState(preset=name, data=data).network((3, side, side), 10) == spec
    for name in PRESETS if data == "shapes-32" else some:
        preset = PRESETS[name]
        app.selectbox(key="preset").select(name).run()
        check(app)
        assert not app.error and all(box.value.startswith("Too little to learn") for box in app.warning)
        state = state_of(app)
        spec = replace(preset.spec, input_shape=(3, side, side), classes=10)
        assert (state.preset, state.data, state.spec) == (name, data, "{}")
        assert state.network((3, side, side), 10) == spec
        assert start_label(app) == f"Train {spec.name} and {spec.twin().name}"
        both = (spec, spec.twin())
        names = " | ".join(f":small[{each.name}]".replace("-", "\u2011") for each in both)
        parameters = " | ".join(f":small[{describe(each).parameters:,}]" for each in both)
        assert f"{names} |" in texts(app) and f"| :small[**Parameters**] | {parameters} |" in texts(app)
        assert app.button(key="start").disabled == (data == "own")
        assert shown(app)["preset"] == name


SIX_N = [{"blocks": 3, "channels": width, "stride": 1 + (width > 16)} for width in (16, 32, 64)]
EVERY_STAGE = {"kernel_size": 3, "padding": "same"}


def stages(**changes: Any) -> list[dict[str, Any]]:
    """ResNet-20's stages, each with these changes."""
    return [{**stage, **EVERY_STAGE, **changes} for stage in SIX_N]


# (key, what a person gives it, the fields of the spec that it changes)
NETWORK = [
    ("shortcut", "none", {"shortcut": "none"}),
    ("shortcut", "projection", {"shortcut": "projection"}),
    ("preactivation", True, {"preactivation": True}),
    (
        "shortcut_1",
        "none",
        {"stages": [stage | ({"shortcut": "none"} if i == 1 else {}) for i, stage in enumerate(stages())]},
    ),
    ("shortcut_gain", 0.5, {"shortcut_gain": 0.5}),
    ("stochastic_depth", 0.25, {"stochastic_depth": 0.25}),
    ("branch_start", "gain", {"branch_start": "gain"}),
    ("depth", 9, {"stages": stages(blocks=9)}),
    (
        "width",
        8,
        {
            "stages": [{**stage, "channels": stage["channels"] // 2} for stage in stages()],
            "stem": STEM | {"channels": 8},
        },
    ),
    ("block", "bottleneck", {"block": "bottleneck"}),
    ("initialisation", "pytorch", {"initialisation": "pytorch"}),
    ("norm", "none", {"norm": "none"}),
    ("downsampling", "average", {"downsampling": "average"}),
    ("activation", "gelu", {"activation": "gelu"}),
    ("head_pooling", "flatten", {"head_pooling": "flatten"}),
    ("has_stem", False, {"stem": None}),
    ("stem_channels", 12, {"stem": STEM | {"channels": 12}}),
    ("stem_kernel_size", 31, {"stem": STEM | {"kernel_size": 31}}),
    ("stem_stride", 2, {"stem": STEM | {"stride": 2}}),
    ("stem_pooling", "max", {"stem": STEM | {"pooling": "max"}}),
    ("hidden", "120; 84,", {"hidden": [120, 84]}),
    ("dropout", 0.35, {"dropout": 0.35}),
]
FREE = [
    (
        f"{key}_1",
        value,
        {"stages": [stage if index != 1 else stage | {field: value} for index, stage in enumerate(stages())]},
    )
    for key, field, value in (
        ("blocks", "blocks", 7),
        ("channels", "channels", 48),
        ("stride", "stride", 4),
        ("kernel_size", "kernel_size", 5),
        ("padding", "padding", "valid"),
        ("shortcut", "shortcut", "projection"),
    )
]
# (key, what a person gives it, the fields of the config that it changes)
TRAINING = [
    ("budget", "epochs", {"seconds": None, "epochs": 5}),
    ("seconds", 12.5, {"seconds": 12.5}),
    ("optimizer", "adam", {"optimizer": "adam", "learning_rate": 0.001}),
    ("schedule", "step", {"schedule": "step"}),
    ("batch_size", 17, {"batch_size": 17}),
    ("label_smoothing", 0.125, {"label_smoothing": 0.125}),
    ("class_weights", True, {"class_weights": True}),
    ("seed", 2**31, {"seed": 2**31}),
    ("learning_rate", 1e-6, {"learning_rate": 1e-6}),
    ("weight_decay", 0.0, {"weight_decay": 0.0}),
    ("momentum", 0.5, {"momentum": 0.5}),
    ("clip", 2.5, {"clip": 2.5}),
    ("precision", "float32", {"precision": "float32"}),
    ("nesterov", False, {"nesterov": False}),
    ("augment", False, {"augment": False}),
]


def give(app: AppTest, key: str, value: Any) -> None:
    kinds = (app.selectbox, app.number_input, app.text_input, app.toggle, app.select_slider)
    for kind in (*kinds, app.pills, app.segmented_control):
        if any(widget.key == key for widget in kind):
            kind(key=key).set_value(value).run()
            return
    raise AssertionError(f"there is no widget {key!r}")


@pytest.mark.parametrize(
    ("tab", "query", "part", "cases", "elsewhere"),
    [
        ("Network", {}, "spec", NETWORK, "preset|twin|grey|stages_mode|shortcut_[02]"),
        ("Network", {"free": "yes"}, "spec", FREE, ".*(?<!_1)"),  # all but those of the second stage
        ("Training", {}, "config", TRAINING, "twin|snapshots"),
    ],
    ids=["network", "stages", "training"],
)
def test_every_widget_changes_its_field_and_the_url_decides_every_widget(
    tab: str, query: dict[str, str], part: str, cases: list[tuple[str, Any, dict]], elsewhere: str
) -> None:
    default = BuildState.from_query(query)
    query = default.to_query()
    keys = {key for key in shown(open_build(tab, **query)) if not re.fullmatch(elsewhere, key)}
    assert keys == {key for key, _, _ in cases}, "each widget is proven"
    for key, value, changes in cases:
        app = open_build(tab, **query)
        give(app, key, value)
        check(app)
        state = state_of(app)
        assert state == (default.with_spec(**changes) if part == "spec" else default.with_config(**changes)), key
        assert json.loads(getattr(state, part)) == changes, f"{key} must change nothing else"
        again = open_build(tab, **state.to_query())
        check(again)
        assert shown(again) == shown(app), key
        assert key not in shown(again) or shown(again)[key] == (value if key != "hidden" else "120, 84"), key


def test_snapshots_that_do_not_fit_say_why_and_how_many_a_run_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_build("Training", data="shapes-16")
    assert shown(app)["snapshots"] == 14 and "Keeps the weights of 14 steps" in texts(app)
    monkeypatch.setattr(weight_snapshots, "QUOTA_BYTES", 5_000_000)
    app.run()
    why = r"14 snapshots of the weights take 16 MB, and 5 MB are left of the 5 MB .* or delete runs\\?\. As no number"
    assert re.search(rf"{why} is chosen, this run keeps 0\.", texts(app)) and not app.error
    assert shown(app)["snapshots"] == 0 and state_of(app).snapshots is None
    app.number_input(key="snapshots").set_value(14).run()
    assert state_of(app).snapshots == 14 == shown(app)["snapshots"]
    assert re.match("14 snapshots of the weights take 16 MB", app.error[0].value)
    app.number_input(key="snapshots").set_value(3).run()
    assert "Keeps the weights of 3 steps" in texts(app) and not app.error
    app.number_input(key="snapshots").set_value(0).run()
    assert state_of(app).snapshots is None
    check(app)


def test_twin_stages_and_data_are_parts_of_the_url_too() -> None:
    app = open_build(preset="resnet-20")
    app.toggle(key="twin").set_value(False).run()
    check(app)
    assert app.query_params == {"twin": "no"}
    assert start_label(app) == "Train ResNet-20"
    app.pills(key="stages_mode").set_value("free").run()
    assert state_of(app) == BuildState(twin=False, free=True)
    app.toggle(key="grey").set_value(True).run()
    assert app.query_params == {"twin": "no", "free": "yes", "grey": "yes"}
    assert state_of(app).network((3, 32, 32), 10).input_shape == (1, 32, 32)
    app.toggle(key="grey").set_value(False).run()
    app.pills(key="stages_mode").set_value("regular").run()
    assert app.query_params == {"twin": "no"}
    app = open_build("Training", twin="no")
    app.number_input(key="snapshots").set_value(5).run()
    check(app)
    assert state_of(app) == BuildState(twin=False, snapshots=5)
    app = open_build("Data", twin="no", data="cifar10")
    app.selectbox(key="data").select("fashion-mnist").run()
    check(app)
    assert state_of(app) == BuildState(twin=False, data="fashion-mnist")
    assert "They are not on this machine yet: " in texts(app)


FOUR = ("ring", "cross", "star", "arrow")


def chosen(app: AppTest) -> list[str]:
    return [box.label for box in app.checkbox if str(box.key).startswith("class_") and box.value]


def test_classes_are_chosen_by_their_pictures_and_part_of_the_link() -> None:
    app = open_build("Data", data="shapes-16")
    assert chosen(app) == list(shapes.CLASS_NAMES) and "4,000 test images" in texts(app)
    for name in shapes.CLASS_NAMES:
        if name not in FOUR:
            app.checkbox(key=f"class_{name}").uncheck().run()
            check(app)
    assert state_of(app) == BuildState(data="shapes-16-ring-cross-star-arrow")
    assert chosen(app) == list(FOUR)
    assert "8,000 training, 800 validation and 1,600 test images of 16 × 16 pixels in 4 classes" in texts(app)
    app.checkbox(key="class_ring").uncheck().run()
    app.checkbox(key="class_ring").check().run()
    assert state_of(app).data == "shapes-16-ring-cross-star-arrow", "the order of the clicks changes nothing"
    app.selectbox(key="data").select("shapes-32").run()
    assert state_of(app).data == "shapes-32-ring-cross-star-arrow", "another size has the same classes"
    app.button(key="classes_all").click().run()
    assert app.query_params == BuildState().to_query() == {"preset": "resnet-20"}
    app.button(key="classes_four").click().run()
    assert state_of(app).data == "shapes-32-ring-cross-star-arrow"
    app.selectbox(key="data").select("fashion-mnist").run()
    assert state_of(app).data == "fashion-mnist" and not app.checkbox
    check(app)


def test_the_last_two_classes_stay_and_a_sentence_says_why() -> None:
    app = open_build("Data", data="shapes-16-heart-star", preset="resnet-20", twin="no")
    before = dict(app.query_params)
    app.checkbox(key="class_star").uncheck().run()
    check(app)
    assert dict(app.query_params) == before and chosen(app) == ["star", "heart"]
    assert [warning.value for warning in app.warning] == [
        as_sentence(
            "A network needs at least 2 shapes to tell apart, so star and heart stay; choose another one first."
        )
    ]
    app.checkbox(key="class_circle").check().run()
    assert not app.warning and state_of(app).data == "shapes-16-circle-star-heart"


@pytest.mark.parametrize("data", ["shapes-16-ring-star", "shapes-16"])
def test_the_card_of_shapes_is_what_the_dataset_holds(data: str) -> None:
    drawn = shapes.Drawn.read(data)
    dataset, card = shapes.load(size=16, classes=drawn.classes), dataset_access.summary(data)
    assert (card.name, card.class_names, card.input_shape) == (dataset.name, dataset.class_names, dataset.input_shape)
    assert (card.mean, card.std, card.notes) == (dataset.mean, dataset.std, dataset.notes)
    splits = (dataset.train, dataset.validation, dataset.test)
    assert card.counts == tuple(
        tuple(int((split.labels == label).sum()) for split in splits) for label in range(len(drawn.classes))
    )
    assert len(card.sheets) == len(drawn.classes)
    assert card.totals == tuple(map(len, splits))


def test_a_run_trains_on_the_classes_of_its_form() -> None:
    state = BuildState(data="shapes-16-ring-star").with_config(seconds=1.0)
    app = open_build(**state.to_query())
    app.button(key="start").click().run()
    check(app)
    (run,) = runs.list_runs()
    assert run.request().data == {"kind": "shapes", "size": 16, "classes": ["ring", "star"]}
    assert "shapes, 16 pixels: ring, star" in texts(app)
    app.button(key="again").click().run()
    check(app)
    assert state_of(app).data == state.data


def test_damaged_data_is_a_sentence_on_every_tab() -> None:
    for path in (file.path for file in downloadable.DOWNLOADABLE["cifar10"].files):
        (runs.downloads_folder() / path).parent.mkdir(parents=True, exist_ok=True)
        (runs.downloads_folder() / path).write_bytes(b"half")
    for tab in ("Network", "Training", "Data"):
        app = open_build(tab, data="cifar10")
        assert not app.exception and start_label(app) == "Train ResNet-20 and plain-20"
        said = {error.value for error in app.error}
        words = as_sentence("of CIFAR-10 is damaged: it does not have the checksum")
        assert len(said) == 1 and words in said.pop()


def test_the_depth_slider_is_6n_plus_2() -> None:
    app = open_build()
    slider = app.select_slider(key="depth")
    assert slider.options == [str(depth) for depth in range(8, 111, 6)]
    for n in (1, 5, 18):
        app.select_slider(key="depth").set_value(n).run()
        check(app)
        assert state_of(app).network((3, 32, 32), 10).depth == 6 * n + 2
        assert start_label(app) == f"Train ResNet-{6 * n + 2} and plain-{6 * n + 2}"


def test_stages_are_added_removed_and_edited() -> None:
    app = open_build(preset="imagenet-resnet-18")
    before = PRESETS["imagenet-resnet-18"].spec.to_dict()["stages"]
    app.button(key="add_stage").click().run()
    check(app)
    assert state_of(app).spec_fields()["stages"] == [*before, before[-1]]
    app.number_input(key="channels_4").set_value(1024).run()
    check(app)
    assert state_of(app).spec_fields()["stages"] == [*before, before[-1] | {"channels": 1024}]
    for left in range(4, 0, -1):
        app.button(key="remove_stage").click().run()
        check(app)
        assert state_of(app).spec_fields()["stages"] == before[:left]
        assert f"blocks_{left - 1}" in shown(app), "stages stay one by one, whatever they look like"
    assert not any(button.key == "remove_stage" for button in app.button)
    app.button(key="add_stage").click().run()
    assert state_of(app).spec_fields()["stages"] == before[:1] * 2
    app = open_build(**state_of(app).with_spec(stages=before[:1] * 10).to_query())
    for count in (11, 12):
        app.button(key="add_stage").click().run()
        check(app)
        assert len(state_of(app).spec_fields()["stages"]) == count
    assert not any(button.key == "add_stage" for button in app.button)
    app.button(key="undo").click().run()
    assert app.query_params == {"preset": "imagenet-resnet-18"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": [stage(1, 64), stage(1, 32)]}, "received 64 before and 32 in stage 2; use shortcut"),
        ({"block": "bottleneck", "stages": [stage(1, 18)]}, "received 18 in stage 1; use 20"),
        ({"stages": [stage(1, 16, padding="valid")]}, 'in stage 1; use padding "same"'),
        ({"block": "conv", "stages": [stage(20, 16, padding="valid")]}, "after stage 1; use a larger"),
        ({"shortcut": "none", "shortcut_gain": 0.5}, "is for blocks with a shortcut, and no stage has one"),
        ({"branch_start": "gamma", "norm": "none"}, 'this network has no norm; use "gain"'),
        ({"block": "conv", "preactivation": True}, "`preactivation` is for blocks of the kind"),
        ({"downsampling": "max", "stages": [stage(1, 16, 8), stage(1, 16, 8)]}, "after stage 2; use a larger"),
        ({"stages": [stage(600, 16), stage(600, 16)]}, f"at most {MAX_LAYERS:,} fit here; use fewer blocks"),
    ],
)
def test_an_impossible_network_is_one_sentence_and_cannot_start(changes: dict[str, Any], words: str) -> None:
    app = open_build(spec=json.dumps(changes))
    check(app)
    assert len(app.error) == 1
    assert app.error[0].value.startswith("This network cannot exist: ")
    assert words in app.error[0].value
    assert start_label(app) is None
    app.button(key="undo").click().run()
    check(app)
    assert not app.error
    assert start_label(app) == "Train ResNet-20 and plain-20"


def test_what_a_sentence_says_to_change_makes_the_network_possible() -> None:
    app = open_build(free="yes")
    app.number_input(key="channels_1").set_value(8).run()
    assert 'received 16 before and 8 in stage 2; use shortcut "projection"' in app.error[0].value
    app.pills(key="shortcut").set_value("projection").run()
    check(app)
    assert not app.error
    assert start_label(app) == "Train ResNet-20 and plain-20"


def test_a_network_without_a_twin_is_trained_alone() -> None:
    app = open_build(spec=json.dumps({"shortcut": "none", "stages": [stage(1, 64), stage(1, 32)]}))
    check(app)
    assert "This network has no twin" in app.warning[0].value
    assert start_label(app) == "Train plain-6"


def test_a_hybrid_has_a_plain_twin_and_branches_that_start_at_0_have_none() -> None:
    parts = [part | ({"shortcut": "none"} if index == 0 else {}) for index, part in enumerate(stages(blocks=1))]
    app = open_build(spec=json.dumps({"stages": parts}))
    check(app)
    assert start_label(app) == "Train hybrid-8 and plain-8"
    app = open_build(spec=json.dumps({"stages": parts, "branch_start": "gain"}))
    check(app)
    assert "without one each block gives 0 and learns nothing" in app.warning[0].value
    assert start_label(app) == "Train hybrid-8"


@pytest.mark.parametrize("text", ["many", "12.5", "1,2,3,4,5,6,7,8,9", "0", "-3", "65537", "9" * 5000, "<b>", "१२x"])
def test_hidden_layers_that_are_none_are_one_sentence(text: str) -> None:
    app = open_build()
    app.text_input(key="hidden").set_value(text).run()
    check(app)
    assert [error.value for error in app.error] == [
        as_sentence("Hidden layers must be at most 8 whole numbers from 1 to 65536 with commas, such as 120, 84.")
    ]
    assert app.query_params == {}
    assert app.text_input(key="hidden").value == ""


# --- the training ----------------------------------------------------------------------------------------------------


def test_textbook_settings_are_the_presets_settings() -> None:
    app = open_build("Training")
    shown: set[str] = set()
    for name, preset in PRESETS.items():
        settings = QUICK_TRAINING | dict(preset.settings)
        settings |= {"milestones": list(settings["milestones"]), "seconds": None if settings["epochs"] else 60}
        assert BuildState(preset=name).with_textbook().training() == TrainingConfig.from_dict(settings), name
        if json.dumps(settings) in shown:
            continue  # another preset showed that the button gives these
        shown.add(json.dumps(settings))
        app.query_params.clear()
        app.query_params["preset"] = name
        app.run()
        app.button(key="textbook").click().run()
        check(app)
        assert state_of(app).training() == TrainingConfig.from_dict(settings), name
        assert app.button(key="textbook").disabled
        app.button(key="quick").click().run()
        assert state_of(app) == BuildState(preset=name)


def test_a_minute_is_the_default_and_one_click_away() -> None:
    app = open_build("Training", preset="resnet-20")
    assert state_of(app).training().seconds == 60
    assert app.button(key="quick").disabled
    assert not app.button(key="start").disabled


# --- links -----------------------------------------------------------------------------------------------------------


def test_a_link_with_nonsense_still_shows_a_page() -> None:
    seen: set[BuildState] = set()
    for link in hostile_links():
        state = BuildState.from_query(link)
        if state in seen:  # the page knows of the link no more than this
            continue
        seen.add(state)
        for tab in ("Network", "Training"):
            app = open_build(tab, **link)
            check(app)
            assert "onerror" not in texts(app) and "\u202e" not in texts(app), link
            leads_back = any(button.label == "Build a network" for button in app.button)
            cannot = [error.value for error in app.error if "This network cannot exist" in error.value]
            assert start_label(app) or leads_back or cannot, link
    assert len(seen) > 10


def test_what_a_link_holds_is_what_the_widgets_show() -> None:
    for fields in HOSTILE_CONFIGS:
        state = BuildState.from_query({"config": json.dumps(fields)})
        if state == BuildState():
            continue
        widgets, config = shown(open_build("Training", config=json.dumps(fields))), state.config_fields()
        for key in set(widgets) & set(config):
            assert widgets[key] == (config[key] or 0 if key == "clip" else config[key]), (fields, key)


def test_a_run_that_does_not_exist_says_so_and_leads_back() -> None:
    app = open_build(run="0123456789abcdef" * 2, preset="lenet")
    check(app)
    assert "This run is not on this server" in app.info[0].value
    assert start_label(app) is None
    next(button for button in app.button if button.label == "Build a network").click().run()
    check(app)
    assert app.query_params == {"preset": "lenet"}
    assert start_label(app) == "Train plain-5 and ResNet-5"


def test_a_name_in_what_a_failed_run_says_is_only_text() -> None:
    run = runs.Run(runs.runs_folder() / ("12" * 16))
    run.folder.mkdir(parents=True)
    spec = BuildState().network((3, 32, 32), 10)
    run.write_request(
        runs.Request((spec.to_dict(),), QUICK_TRAINING, {"kind": "shapes", "size": 32}, names=(spec.name,))
    )
    said = "![i](https://evil.example/i).zip has no test images; set `size`."
    write_end(run, "failed", said)
    app = open_build(run=run.id)
    check(app)
    assert [error.value for error in app.error] == [as_sentence(said)]
    assert "![" not in app.error[0].value and "`size`" in app.error[0].value


# --- runs ------------------------------------------------------------------------------------------------------------


def test_starting_trains_exactly_the_forms_twins_from_identical_weights() -> None:
    changes = {"stages": [stage(1, 4), stage(1, 8, 2)], "stem": {**STEM, "channels": 4}, "activation": "elu"}
    config = {"seconds": 3600.0, "batch_size": 16, "seed": 5}
    query = {"preset": "resnet-8", "spec": json.dumps(changes), "config": json.dumps(config), "grey": "yes"}
    app = open_build(**query)
    form = BuildState.from_query(query)
    app.button(key="start").click().run()
    check(app)
    (run,) = runs.list_runs()
    assert app.query_params["run"] == run.id
    request = run.request()
    spec = form.network((3, 32, 32), 10)
    assert spec.input_shape == (1, 32, 32)
    assert [ArchitectureSpec.from_dict(values) for values in request.specs] == [spec, spec.twin()]
    assert TrainingConfig.from_dict(request.config) == form.training()
    assert request.data == {"kind": "shapes", "size": 32}
    assert request.names == ("ResNet-6", "plain-6")
    first, second = (build(ArchitectureSpec.from_dict(values), request.config["seed"]) for values in request.specs)
    weights, others = first.state_dict(), second.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert any(weights[name].std() > 0 for name in weights), "weights that are all equal would prove nothing"

    assert [button.label for button in app.button if button.key in ("stop", "again")] == [
        "Stop",
        "New training with these settings",
    ]
    stranger = open_build(run=run.id)
    check(stranger)
    assert stranger.header[0].value == "ResNet-6 and plain-6"
    assert [button.label for button in stranger.button] == ["New training with these settings"]
    assert not [button for button in open_build().button if str(button.key).startswith(("open_", "delete_"))]

    app.button(key="again").click().run()
    check(app)
    again = state_of(app)
    assert again.network((3, 32, 32), 10) == spec and again.training() == form.training() and again.run is None
    assert any(button.key == f"open_{run.id}" for button in app.button)
    assert not any(button.key == f"delete_{run.id}" for button in app.button), "what goes on is not deleted"

    app.button(key=f"open_{run.id}").click().run()
    end(run)
    app.run()
    check(app)
    assert app.button(key="resume").label == "Resume"


def back_to_the_form(app: AppTest) -> None:
    """As the browser's Back does."""
    del app.query_params["run"], app.session_state["url_query"]
    app.run()


def test_a_second_click_starts_no_second_run_and_deleting_asks_once() -> None:
    app = open_build(preset="resnet-8", config=SMALL, twin="no")
    app.button(key="start").click().run()
    (run,) = runs.list_runs()
    back_to_the_form(app)  # from where a click of the moment before the page has changed comes
    app.button(key="start").click().run()
    check(app)
    assert runs.list_runs() == [run] and app.query_params["run"] == run.id
    assert len(run.request().specs) == 1

    end(run)
    back_to_the_form(app)
    app.button(key=f"delete_{run.id}").click().run()
    assert runs.list_runs() == [run], "it asks before it deletes"
    app.button(key=f"keep_{run.id}").click().run()
    assert runs.list_runs() == [run]
    app.button(key=f"delete_{run.id}").click().run()
    app.button(key=f"yes_{run.id}").click().run()
    check(app)
    assert runs.list_runs() == [] and not run.folder.exists()
    assert not any(str(button.key).startswith(("open_", "delete_")) for button in app.button)


# --- own pictures ----------------------------------------------------------------------------------------------------


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def pictures(*names: str, count: int = 10) -> dict[str, bytes]:
    """`count` PNGs in a folder of each name, no two alike."""
    files = {}
    for label, name in enumerate(names):
        for number in range(count):
            buffer = io.BytesIO()
            Image.new("RGB", (20, 24), (20 * number, 60 * label, 90)).save(buffer, "PNG")
            files[f"{name}/{number}.png"] = buffer.getvalue()
    return files


def upload(content: bytes, name: str = "pets.zip") -> AppTest:
    app = open_build("Data", data="own")
    assert app.button(key="start").disabled
    app.file_uploader(key="zip").upload(name, content, "application/zip").run()
    check(app)
    return app


def test_a_zip_of_class_folders_becomes_the_data() -> None:
    app = upload(zipped(pictures("cats", "dogs", "fish") | {"cats/broken.png": b"none", "notes.txt": b"hello"}))
    assert not app.error
    state = state_of(app)
    assert state.data.startswith("stored-")
    assert "`pets`: " in texts(app) and "in 3 classes" in texts(app)
    table = app.dataframe[0].value
    assert list(table["class"]) == ["cats", "dogs", "fish"]
    assert (table[["train", "val", "test"]].sum(axis=1) == 10).all()
    assert all(uri.startswith("data:image/png;base64,") for uri in table["pictures"])
    left_out = app.dataframe[1].value
    assert sorted(left_out["file"]) == ["cats/broken.png", "notes.txt"]
    assert not app.button(key="start").disabled
    three_classes = describe(state.network((3, 32, 32), 3)).parameters
    assert f"| :small[{three_classes:,}] | " in texts(app)

    app.button(key="start").click().run()
    check(app)
    (run,) = runs.list_runs()
    request = run.request()
    assert request.data == {"kind": "stored", "number": state.data.removeprefix("stored-")}
    assert [values["classes"] for values in request.specs] == [3, 3]

    gone = open_build("Data", data="stored-" + "0" * 64)
    check(gone)
    assert "no longer kept here; upload them again" in texts(gone)
    assert gone.button(key="start").disabled


@pytest.mark.parametrize(
    "content",
    [
        b"no zip at all",
        zipped({}),
        zipped({"cats/1.png": b"no picture"}),
        zipped(pictures("cats")),
        zipped({"../../evil/1.png": pictures("x", count=1)["x/0.png"]} | pictures("cats", "dogs")),
    ],
    ids=["no zip", "empty", "no images", "one class", "path trick"],
)
def test_a_zip_that_gives_no_data_is_one_sentence(content: bytes, data_folder: Path) -> None:
    app = upload(content)
    assert len(app.error) == 1 and app.error[0].value.rstrip().endswith((".", "`"))
    assert app.query_params == {"data": "own"}
    assert app.button(key="start").disabled
    assert not list(data_folder.glob("data/*")), "nothing is kept of it"


def test_reading_that_was_cancelled_begins_again_after_a_click_only(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def interrupted(*_: Any) -> Iterator[float]:
        begun.append("")
        yield 0.5
        streamlit.stop()  # as a click ends the run that reads

    with monkeypatch.context() as patch:
        patch.setattr(dataset_access, "read_pictures", interrupted)
        app = upload(zipped(pictures("cats", "dogs")))
        app.button(key="cancel_reading").click().run()
        check(app)
        assert len(begun) == 1 and "Reading was cancelled." in texts(app)
        app.run()
        assert len(begun) == 1 and app.button(key="start").disabled
    next(each for each in app.button if each.label == "Read the images").click().run()
    check(app)
    assert state_of(app).data.startswith("stored-") and "Reading was cancelled." not in texts(app)


def test_classes_in_the_names_of_the_files_are_used_once_they_are_confirmed() -> None:
    flat = {name.replace("/", "_"): content for name, content in pictures("cats", "dogs").items()}
    app = upload(zipped(flat))
    said = "The classes would be from the name of each file before its number: cats 10, dogs 10. Look at the"
    assert any(each.value.startswith(as_sentence(said)) for each in app.info)
    assert list(app.dataframe[0].value["class"]) == ["cats", "dogs"]  # the contact sheet, to look at
    assert state_of(app).data == "own" and app.button(key="start").disabled
    app.button(key="confirm_classes").click().run()
    check(app)
    assert state_of(app).data.startswith("stored-") and not app.button(key="start").disabled
    assert list(app.dataframe[0].value["class"]) == ["cats", "dogs"]


def test_the_encoding_of_names_is_changed_on_the_contact_sheet() -> None:
    marks = {"QQ": "猫", "QZ": "狗"}
    content = zipped(pictures(*marks))
    for mark, name in marks.items():
        content = content.replace(mark.encode(), name.encode("gbk"))
    app = upload(content)
    assert list(app.dataframe[0].value["class"]) == ["狗", "猫"]
    (choice,) = (each for each in app.selectbox if each.label == "Encoding of the names")
    assert "GBK, simplified Chinese: 猫, 狗" in choice.options
    choice.set_value("cp437").run()
    check(app)
    assert sorted(app.dataframe[0].value["class"]) == sorted(
        name.encode("gbk").decode("cp437") for name in marks.values()
    )
    assert state_of(app).data.startswith("stored-")


def test_names_of_classes_are_text() -> None:
    names = ("<img src=x onerror=alert(1)>", "![a](b) **c**", "a`b", "$x$ :red[y]")
    app = upload(zipped(pictures(*names)), name="![x](y) `<b>`.zip")
    assert not app.error
    assert sorted(app.dataframe[0].value["class"]) == sorted(names)
    others = [element for kind in (app.markdown, app.caption, app.info) for element in kind]
    assert not [element.value for element in others if "onerror" in element.value or "**c**" in element.value]
    assert not any(element.allow_html for element in others)
    assert any(caption.value.startswith("`![x](y) '<b>'`: ") for caption in app.caption)


def test_a_folder_on_the_server_is_read_and_no_other(data_folder: Path) -> None:
    for name, content in pictures("cats", "dogs").items():
        path = data_folder / "pictures" / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    app = open_build("Data", data="own")
    app.text_input(key="folder").set_value("pets").run()
    check(app)
    assert not app.error and "in 2 classes" in texts(app)
    for outside in ("..", "../data", "/etc", "no-such-folder"):
        app = open_build("Data", data="own")
        app.text_input(key="folder").set_value(outside).run()
        check(app)
        assert len(app.error) == 1, outside
        assert app.query_params == {"data": "own"}
