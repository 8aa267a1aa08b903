"""`AppState`, `BuildState` and the URL: a round trip, and nothing harmful from a link."""

import dataclasses
import functools
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from explorer.architectures.spec import NEWER_FIELDS, VARIANTS
from explorer.datasets import shapes
from explorer.presets import PRESETS
from explorer.training import TrainingConfig
from explorer.ui.build_state import LIMITS, QUICK_TRAINING, BuildState
from explorer.ui.gradients.state import GradientsState
from explorer.ui.services.explore_state import CHANGE, NAME, AppState
from tests.fuzz.laws import check_sentence

VIEWS = (
    [
        AppState(first, second, picture, target, layer, channel, scope, opacity, layers)  # type: ignore[arg-type]
        for first, second, picture, target, layer, channel, scope, opacity, layers in itertools.product(
            ["shapes-plain-20", "cifar10jpeg-resnet-20"],
            [None, "shapes-resnet-20"],
            ["sample-6-6", "sample-0-999999", "test-shapes-32-3999", "upload-0123456789abcdef"],
            [None, 0, 9],
            [None, "stages.1.0.conv2"],
            [None, 0, 63],
            ["layer", "network", "both"],
            [0, 70],
            ["blocks", "main", "all"],
        )
    ]
    + [
        AppState(tab=tab, method=method, parameters=parameters, questioned=questioned)  # type: ignore[arg-type]
        for tab, method, parameters, questioned in itertools.product(
            ["block", "methods", "channels", "trust"],
            ["integrated_gradients", "occlusion"],
            ["{}", '{"baseline":"blur","steps":20}', '{"noise":0.2}'],
            ["grad_cam", "method"],
        )
    ]
    + [AppState(frame=frame) for frame in ("0,0,1", "0.1234,.5,0.02")]
    + [AppState(dials="x3_rotation-12.5"), AppState(dials="jpeg30", picture="upload-0123456789abcdef")]
)


@pytest.mark.parametrize(
    "text",
    ["[1]", "null", '{"steps":NaN}', '{"steps":1e999}', '{"steps":true}', '{"steps":[1]}', '{"a/b":1}', '{"a":"../x"}']
    + ['{"a":' * 60 + "1" + "}" * 60, '{"steps":' + "9" * 300 + "}", '{"a":"' + "x" * 500 + '"}', "[" * 399],
)
def test_parameters_of_a_link_that_no_form_could_hold_are_none(text: str) -> None:
    assert AppState.from_query({"parameters": text, "tab": "methods"}) == AppState(tab="methods")


def test_one_change_has_one_text_in_a_link() -> None:
    assert AppState(dials="rotation5.00_x1").to_query() == {"dials": "x1_rotation5"}
    assert AppState.from_query({"dials": "rotation999", "target": "3"}) == AppState(target=3)


def test_every_view_survives_the_url() -> None:
    assert all(AppState.from_query(view.to_query()) == view for view in VIEWS)


@pytest.mark.parametrize(
    ("picture", "data", "number"),
    [
        ("test-shapes-32-0", shapes.Drawn(), 0),
        ("test-shapes-64-3999", shapes.Drawn(64), 3999),
        ("test-shapes-16-ring-star-799", shapes.Drawn(16, ("ring", "star")), 799),
        ("test-" + "shapes-16-" + "-".join(shapes.CLASS_NAMES[1:]) + "-5", shapes.Drawn(16, shapes.CLASS_NAMES[1:]), 5),
    ],
)
def test_a_link_names_a_test_picture(picture: str, data: shapes.Drawn, number: int) -> None:
    state = AppState.from_query({"picture": picture})
    assert (state.picture, state.test, state.sample, state.is_everywhere) == (picture, (data, number), None, True)


@pytest.mark.parametrize(
    "picture",
    ["test-shapes-32-4000", "test-shapes-16-ring-star-800", "test-shapes-24-1", "test-shapes-32-", "test-shapes-32--1"]
    + ["test-shapes-32-1\n", "test-shapes-32-٣", "test-shapes-16-star-ring-1", "test-shapes-16-ring-1", "test-1"]
    + ["test-shapes-32-seed7-1", "test-shapes-v1-32-1", "test-cifar10-1", "test-shapes-32-" + "1" * 400],
)
def test_a_test_picture_that_does_not_exist_is_no_picture(picture: str) -> None:
    with pytest.raises(ValueError, match="`picture` must be a sample, a test image, a photo or an upload"):
        AppState(picture=picture)
    assert AppState.from_query({"picture": picture}) == AppState()


@pytest.mark.parametrize(
    ("link", "layers"),
    [
        ({"layer": "stages.1.0.conv1"}, "main"),
        ({"layer": "stages.0.0.shortcut", "first": "shapes-resnet-8"}, "main"),
        ({"layer": "stages.1.0.conv1", "layers": "all"}, "all"),
        ({"layer": "stages.1.0.conv1", "layers": "main"}, "main"),
        ({"layer": "stages.1.0.conv1", "layers": "blocks"}, "blocks"),
        ({"layer": "stages.1.0"}, "blocks"),
        ({"layer": "stem.conv"}, "blocks"),
        ({"layers": "main"}, "main"),
        ({"target": "3"}, "blocks"),
        ({}, "blocks"),
    ],
)
def test_a_link_that_names_a_layer_shows_it(link: dict[str, str], layers: str) -> None:
    """Links from before the strip had blocks alone name no `layers`, and mean those of "main"."""
    state = AppState.from_query(link)
    assert (state.layers, state.layer) == (layers, link.get("layer"))


def test_different_views_have_different_urls() -> None:
    assert len({tuple(sorted(view.to_query().items())) for view in VIEWS}) == len(VIEWS)


def test_the_first_visit_needs_no_parameters() -> None:
    assert AppState().to_query() == {}
    assert AppState.from_query({}) == AppState()


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AppState)])
@pytest.mark.parametrize(
    "text", ["../x", "a/b", "C:\\x", "<b>", "", "-1", "1e9", "99999999999", "None", "\x00", "sample-1-x", "x" * 500]
)
def test_a_part_that_cannot_be_read_takes_its_default(field: str, text: str) -> None:
    view = AppState.from_query({field: text, "unknown": "1"})
    expected = AppState()
    pattern = {"first": NAME, "second": NAME, "layer": NAME, "change": CHANGE}.get(field)
    if pattern and pattern.fullmatch(text):  # harmless: it could be a name
        expected = dataclasses.replace(expected, **{field: text})  # type: ignore[arg-type]
    assert view == expected
    assert "/" not in repr(view) and "\\" not in repr(view)


# --- Build & train ---------------------------------------------------------------------------------------------------


@functools.cache
def forms() -> list[BuildState]:
    """Here, since each worker imports every file: they take a second."""
    return [
        BuildState(preset, spec, config, data, twin, free, run)
        for preset, spec, config, data, twin, free, run in itertools.product(
            PRESETS,
            ["{}", '{"norm":"none","stem":null}'],
            ["{}", '{"epochs":3,"seconds":null}'],
            ["shapes-32", "shapes-16-ring-cross-star-arrow", "cifar10", "own", "stored-" + "0f" * 32],
            [True, False],
            [True, False],
            [None, "0f" * 16],
        )
    ]


def test_every_form_survives_the_url() -> None:
    assert all(BuildState.from_query(form.to_query()) == form for form in forms())


def test_different_forms_have_different_urls() -> None:
    assert len({tuple(sorted(form.to_query().items())) for form in forms()}) == len(forms())


def test_a_form_is_never_an_empty_link_which_is_that_of_the_first_visit() -> None:
    assert BuildState().to_query() == {"preset": "resnet-20"}
    assert BuildState(twin=False).to_query() == {"twin": "no"}
    assert BuildState.from_query({}) == BuildState()
    assert BuildState().network((3, 32, 32), 10) == PRESETS["resnet-20"].spec
    assert BuildState().training() == TrainingConfig.from_dict(QUICK_TRAINING)


@pytest.mark.parametrize(
    ("data", "meant"),
    [
        ("shapes-16-star-ring", "shapes-16-ring-star"),
        ("shapes-64-ring-star-ring", "shapes-64-ring-star"),
        ("shapes-16-" + "-".join(shapes.CLASS_NAMES), "shapes-16"),
        ("shapes-v1-16-ring-star", "shapes-16-ring-star"),
    ],
)
def test_one_choice_of_shapes_has_one_link(data: str, meant: str) -> None:
    assert BuildState(data=data) == BuildState(data=meant)
    assert BuildState.from_query({"data": data}).to_query() == {"data": meant}
    assert GradientsState(data=data) == GradientsState(data=meant)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("shapes-16-ring", "at least 2 shapes"),
        ("shapes-16-ring-oval", "no drawn shape 'oval'"),
        ("shapes-24", "`size`"),
        ("shapes-v2-32", "version 2"),
        ("shapes-32-seed7", "have the seed 0"),
        ("shapes-16-ring-star\n", "names no drawn shapes"),
        ("shapes-" + "9" * 5000, "names no drawn shapes"),
        ("imagenet", "there is no data"),
        (None, "there is no data"),
    ],
)
def test_data_that_nobody_has_is_one_sentence_and_no_link(data: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        BuildState(data=data)
    check_sentence(str(error.value))
    assert BuildState.from_query({"data": data or ""}) == BuildState()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_form_holds_only_what_differs_from_its_preset(preset: str) -> None:
    form = BuildState(preset)
    assert form.with_spec(**PRESETS[preset].spec.to_dict()) == form
    changed = form.with_spec(dropout=0.25)
    assert json.loads(changed.spec) == ({} if PRESETS[preset].spec.dropout == 0.25 else {"dropout": 0.25})
    assert changed.with_spec(dropout=PRESETS[preset].spec.dropout) == form
    assert changed.network((3, 64, 64), 7) == dataclasses.replace(
        PRESETS[preset].spec, dropout=0.25, input_shape=(3, 64, 64), classes=7
    )
    assert form.with_config(seed=9).with_config(seed=QUICK_TRAINING["seed"]) == form


@pytest.mark.parametrize(("name", "low", "high"), [(name, *limits) for name, limits in LIMITS.items()])
def test_no_link_holds_a_number_that_the_form_could_not_show(name: str, low: float, high: float) -> None:
    def read(value: float) -> BuildState:
        part = "spec" if name in ("dropout", *VARIANTS) else "config"
        other = {"seconds": None} if name == "epochs" else {}
        return BuildState.from_query({part: json.dumps({name: value} | other)})

    def holds(form: BuildState, value: float) -> bool:
        return (NEWER_FIELDS | form.spec_fields() | form.config_fields())[name] == value

    lowest = low or (1e-9 if name == "clip" else low)
    assert holds(read(lowest), lowest) and holds(read(high), high)
    for beyond in (low - 1, low - 1e-9, high * 1.0001 + 1e-9, high + 1, float("nan"), float("inf"), -float("inf")):
        assert read(beyond) == BuildState(), beyond


def stage(blocks: int, channels: int, stride: int = 1, padding: str = "same") -> dict[str, Any]:
    return {"blocks": blocks, "channels": channels, "stride": stride, "kernel_size": 3, "padding": padding}


STEM = {"channels": 16, "kernel_size": 3, "stride": 1, "pooling": "none"}
NESTED = "[" * 1500 + "]" * 1500
HOSTILE = [
    "",
    "null",
    "[]",
    "7",
    '"text"',
    "{",
    "{}{}",
    NESTED,
    '{"stages":' + NESTED + "}",
    '{"a":' * 900 + "1" + "}" * 900,
    "x" * 10_000,
    '{"seed":' + "9" * 3000 + "}",
    '{"unknown":1}',
    '{"__class__":"x"}',
    "\u202e{}\u202c",
    '{"\u202eshortcut":"none"}',
    "<img src=x onerror=alert(1)>",
    '{"shortcut":"<img src=x onerror=alert(1)>"}',
    "\x00",
    "../../../etc/passwd",
    "0" * 32,
    "yes",
    "no",
]
EXTREME_SPECS: list[dict[str, Any]] = [
    {"stages": [stage(600, 8192, 8)] * 12},
    {"stages": [stage(1, 8192)] * 12, "stem": {**STEM, "channels": 8192, "kernel_size": 31}},
    {"hidden": [65536] * 8},
]
HOSTILE_SPECS: list[dict[str, Any]] = [
    *EXTREME_SPECS,
    {"stages": []},
    {"stages": {}},
    {"stages": [[]]},
    {"stages": [None]},
    {"stages": ["x"]},
    {"stages": [{}]},
    {"stages": [{"blocks": 1, "channels": 16}]},
    {"stages": [stage(1, 16) | {"blocks": 1e308}]},
    {"stages": [stage(1, 16) | {"blocks": 10**30}]},
    {"stages": [stage(1, 16) | {"blocks": True}]},
    {"stages": [stage(1, 16) | {"stride": 0}]},
    {"stages": [stage(1, 16) | {"kernel_size": 4}]},
    {"stages": [stage(1, 16) | {"more": 1}]},
    {"stages": [stage(1, 16)] * 13},
    {"stem": {}},
    {"stem": []},
    {"stem": 1},
    {"stem": {"channels": 16}},
    {"stem": {**STEM, "pooling": ["max"]}},
    {"hidden": "abc"},
    {"hidden": 5},
    {"hidden": [[1]]},
    {"dropout": "0.5"},
    {"dropout": 0.99},
    {"dropout": None},
    {"classes": 3},
    {"input_shape": [3, 8, 8]},
    {"norm": []},
    {"norm": {}},
    {"block": None},
    {"shortcut": 1},
    {"activation": "x" * 3000},
]
HOSTILE_CONFIGS = [
    {"seconds": None},
    {"seconds": 1e7},
    {"seconds": 0.1},
    {"seconds": True},
    {"seconds": "60"},
    {"epochs": 5},
    {"seconds": None, "epochs": 99_999},
    {"seconds": None, "epochs": 2.0},
    {"batch_size": 1},
    {"batch_size": 10**40},
    {"seed": 2**63 - 1},
    {"seed": -1},
    {"learning_rate": 1e-12},
    {"learning_rate": 1e6},
    {"clip": 1e12},
    {"milestones": "ab"},
    {"milestones": [2]},
    {"milestones": 0.5},
    {"optimizer": ["sgd"]},
    {"device": "cuda"},
    {"compile": True},
]
NOT_JSON = ['{"%s":NaN}', '{"%s":Infinity}', '{"%s":-Infinity}', '{"%s":1e999}', '{"%s":-1e999}', '{"%s":1e-999}']


def hostile_links() -> Iterator[dict[str, str]]:
    for field in ("preset", "spec", "config", "data", "twin", "free", "run"):
        yield from ({field: text} for text in HOSTILE)
    yield from ({"spec": json.dumps(fields)} for fields in HOSTILE_SPECS)
    yield from ({"config": json.dumps(fields)} for fields in HOSTILE_CONFIGS)
    for text in NOT_JSON:
        yield from ({"spec": text % field} for field in ("dropout", "stages", "stem", "hidden", "classes"))
        yield from ({"config": text % field} for field in ("seconds", "learning_rate", "clip", "seed", "milestones"))
    yield {"data": "stored-" + "0" * 64}
    yield {"data": "stored-../../x"}
    yield {"run": "f" * 32}
    yield {"unknown": "1", "spec": '{"norm":"none"}'}


# Each field could be that; whether there is such a network, a run or data, the page says.
HARMLESS = {
    "twin": ("no",),
    "free": ("yes",),
    "run": ("0" * 32, "f" * 32),
    "data": ("stored-" + "0" * 64,),
    "spec": ('{"dropout":1e-999}', '{"norm":"none"}', *map(json.dumps, EXTREME_SPECS)),
}


def test_a_part_of_a_form_that_cannot_be_read_takes_its_default() -> None:
    for link in hostile_links():
        kept: dict[str, Any] = {field: text for field, text in link.items() if text in HARMLESS.get(field, ())}
        kept |= {field: kept[field] == "yes" for field in ("twin", "free") if field in kept}
        assert BuildState.from_query(link) == BuildState(**kept), link


def test_one_part_that_cannot_be_read_leaves_the_others() -> None:
    query = {"preset": "lenet", "spec": "{", "config": '{"seed":5}', "data": "../x", "twin": "no"}
    assert BuildState.from_query(query) == BuildState("lenet", config='{"seed":5}', twin=False)
