"""Links: whatever stands in an address, each page gets a view that it could have made itself."""

import json

from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from explorer.experiments import gradient_geometry as geometry
from explorer.presets import PRESETS
from explorer.ui import dataset_access
from explorer.ui.build_state import BuildState
from explorer.ui.compare.state import CompareState
from explorer.ui.gradients.geometry_state import GeometryState
from explorer.ui.gradients.state import GradientsState
from explorer.ui.services.explore_state import AppState
from tests.fuzz.laws import check_sentence, examples
from tests.fuzz.mutations import changed_text, words

NAMES = (
    "shapes-plain-20",
    "shapes-resnet-20",
    "torchvision-resnet18",
    "mine-0123456789abcdef",
    "run-" + "0" * 32 + "-a",
)
PICTURES = (
    "sample-6-6",
    "sample-99-1",
    "sample-0-999999",
    "upload-0123456789abcdef",
    "sample-٣-1",
    "sample-6-6\n",
    "test-shapes-32-1426",
    "test-shapes-16-ring-star-801",
    "test-shapes-99-1",
)
SPEC_CHANGES = (
    {"shortcut": "none", "norm": "none"},
    {"stages": PRESETS["resnet-20"].spec.to_dict()["stages"], "block": "bottleneck"},
    {"stem": {"channels": 16, "kernel_size": 3, "stride": 1, "pooling": "none"}, "hidden": [16], "dropout": 0.5},
    {"stages": [{"blocks": 600, "channels": 8, "stride": 8, "kernel_size": 31, "padding": "same"}] * 12},
)
CONFIG_CHANGES = (
    {"seconds": None, "epochs": 3, "schedule": "step", "milestones": [0.5]},
    {"learning_rate": 0.1, "clip": 1.0, "seed": 4, "optimizer": "adam"},
)
FORMS: dict[str, st.SearchStrategy[str]] = {
    "spec": st.one_of([changed_text(change) for change in SPEC_CHANGES]),
    "config": st.one_of([changed_text(change) for change in CONFIG_CHANGES]),
    "parameters": changed_text({"steps": 8, "baseline": "black", "sigma": 0.1}),
    "networks": st.lists(st.one_of(st.sampled_from(NAMES), words()), max_size=6).map(",".join),
    "depths": st.lists(st.sampled_from(("8", "20", "56", "110", "9", "")), max_size=5).map(",".join),
    "shortcuts": st.lists(st.sampled_from(("none", "identity", "projection", "x")), max_size=5).map(",".join),
    "norms": st.lists(st.sampled_from(("batch", "none", "x")), max_size=5).map(",".join),
    "initialisations": st.lists(st.sampled_from(("he", "pytorch", "x")), max_size=5).map(",".join),
    "activations": st.lists(st.sampled_from(("relu", "sigmoid", "tanh", "x")), max_size=5).map(",".join),
    "run": st.sampled_from(("0" * 32, "f" * 32, "0" * 31, "../" + "0" * 29)),
    "data": st.sampled_from(
        (
            "shapes-16-ring-star",
            "shapes-16-star-ring-",
            "shapes-64-ring",
            "shapes-64",
            "cifar10",
            "own",
            "stored-" + "0" * 64,
            "stored-../../x",
        )
    ),
    "preset": st.sampled_from((*PRESETS, "resnet-9999")),
    "picture": st.sampled_from(PICTURES),
    "method": st.sampled_from(("integrated_gradients", "occlusion", "grad_cam", "__class__")),
    "layer": st.sampled_from(("stages.1.1.conv1", "stem.conv", "head.fc", "stages.99.0", "input", "a..b")),
    "tab": st.sampled_from(("layer", "block", "methods", "channels", "trust", "maps", "object", "settings")),
    "scope": st.sampled_from(("layer", "network", "both")),
    "layers": st.sampled_from(("blocks", "main", "all")),
    "source": st.sampled_from(("initial", "checkpoint", "record")),
    "mode": st.sampled_from(("evaluation", "training")),
    "what": st.sampled_from(("weights", "activations")),
    "depth": st.sampled_from(("0", "1", "0.5", ".5", "1.5", "1e-3", "-0", "nan", "0.33333")),
    "grid": st.sampled_from(("smooth", "true")),
    "twin": st.sampled_from(("yes", "no")),
    "free": st.sampled_from(("yes", "no")),
    **dict.fromkeys(("first", "second", "model"), st.sampled_from(NAMES)),
    **dict.fromkeys(
        ("target", "channel", "opacity", "seeds", "step", "n"), st.sampled_from(("0", "9", "10", "100001", "-1"))
    ),
}
FORMS |= {
    f"geometry_{name}": FORMS[name] for name in ("depths", "shortcuts", "norms", "initialisations", "seeds", "data")
}
FORMS |= {"geometry": st.sampled_from((*geometry.QUESTIONS, "x")), "measure": st.sampled_from(("yes", "no"))}
"""What each parameter may hold where it is nearly right."""
PARAMETERS = {
    "explore": tuple(AppState.__dataclass_fields__),
    "build": tuple(BuildState.__dataclass_fields__),
    "compare": tuple(CompareState.__dataclass_fields__),
    "gradients": (*GradientsState.__dataclass_fields__, *GeometryState.__dataclass_fields__),
    "models": ("model",),
}


@st.composite
def links(draw: DrawFn, page: str) -> dict[str, str]:
    """Parameters of that page, each nearly right or any text, perhaps some of another page."""
    names = draw(st.lists(st.sampled_from(PARAMETERS[page]), min_size=1, max_size=6, unique=True))
    link = {name: draw(st.one_of(FORMS.get(name, words()), FORMS.get(name, words()), words())) for name in names}
    if draw(st.integers(0, 9)) == 0:
        link[draw(words())] = draw(words())
    return link


@given(links("explore"))
@example({"parameters": "[" * 3000}).via("JSON so deep that reading it ends in an error of its own")
@example({"parameters": '{"steps":1e999}'}).via("a number that is infinite")
@example({"target": "٣", "picture": "sample-٣-1"}).via("digits that are not 0 to 9")
@example({"layer": "stages.1.0.conv1", "layers": "blocks"}).via("a layer that is not among these")
@example({"picture": "sample-6-6\n"}).via("a line end that `$` would overlook")
@examples(80)
def test_every_link_is_a_view_of_explore(link: dict[str, str]) -> None:
    state = AppState.from_query(link)
    assert AppState.from_query(state.to_query()) == state
    assert all(isinstance(name, str) for name in state.chosen())
    assert state.sample is None or state.sample[0] <= 9
    assert state.test is None or state.test[1] < state.test[0].counts[2]


@given(links("build"))
@example({"spec": "[" * 3000, "config": '{"a":' * 700}).via("JSON so deep that reading it ends in an error of its own")
@example({"config": '{"batch_size":1' + "0" * 4000 + "}"}).via("a number of 4,000 digits")
@example({"config": '{"seconds":NaN}', "spec": '{"dropout":Infinity}'}).via("what JSON does not know, and Python reads")
@example({"spec": json.dumps(SPEC_CHANGES[3])}).via("7,200 blocks, each legal by itself")
@example({"data": "stored-../../x", "run": "../" + "0" * 29}).via("a number that would be a path")
@examples(100)
def test_every_link_is_a_form_of_build_and_train(link: dict[str, str]) -> None:
    state = BuildState.from_query(link)
    assert BuildState.from_query(state.to_query()) == state
    assert state.training().to_dict() == state.config_fields()
    fields, own = state.spec_fields(), PRESETS[state.preset].spec.to_dict()
    assert fields.keys() == own.keys() and fields["classes"] == own["classes"]
    assert all(stage.keys() == own["stages"][0].keys() for stage in fields["stages"]), "the form reads each of them"
    for make in (
        lambda: state.network(*dataset_access.data_shape(state.data)),
        lambda: state.network((3, 32, 32), 10).twin(),
    ):
        try:
            assert make().classes >= 1
        except ValueError as error:
            check_sentence(str(error))


@given(links("compare"))
@example({"networks": "shapes-plain-20,shapes-plain-20", "depth": "nan", "target": "-1"}).via("one network twice")
@examples(50)
def test_every_link_is_a_view_of_compare(link: dict[str, str]) -> None:
    state = CompareState.from_query(link)
    assert CompareState.from_query(state.to_query()) == state


@given(links("gradients"))
@example({"depths": "," * 4000, "seeds": "٣", "step": "1" + "0" * 40}).via("lists and numbers longer than any")
@examples(50)
def test_every_link_is_a_view_of_gradients(link: dict[str, str]) -> None:
    kinds: tuple[type[GradientsState] | type[GeometryState], ...] = (GradientsState, GeometryState)
    for kind in kinds:
        state = kind.from_query(link)
        assert kind.from_query(state.to_query()) == state
        try:
            specs = state.specs()
        except ValueError as error:
            check_sentence(str(error))
            continue
        assert len(specs) == len({spec.fingerprint for spec in specs}) >= 1
