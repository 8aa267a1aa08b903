"""The pages without a browser: `app.py` through Streamlit's AppTest.

One file: what every page shows at its first visit, and what leads from one to another, share these helpers.
"""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest
from torch.nn.modules.module import register_module_forward_pre_hook

from explorer import checkpoints, figures, runs
from explorer.architectures import ArchitectureSpec, build
from explorer.architectures.spec import Stage
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.presets import cifar
from explorer.training import TrainingConfig
from explorer.ui.api.explore_session import RequestError
from explorer.ui.explore.tabs import TABS
from explorer.ui.session import SessionData
from tests.messages import bar_data, choose, chosen, explained, give_file, labels, message, told, view, written

APP = str(Path(__file__).parents[1] / "app.py")
COMPARE = """
from explorer.ui import navigation
from explorer.ui.pages import compare
navigation.run({"compare": ("Compare", compare.show)})
"""


def open_app(**query: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def texts(app: AppTest) -> str:
    """What a person reads."""
    said = [element.value for kind in (app.markdown, app.caption, app.info, app.error) for element in kind]
    return "\n".join([*said, *written(app)]).replace("\\", "")


def test_first_visit_shows_both_twins_explained() -> None:
    app = open_app()
    assert chosen(app) == ["shapes-plain-20", "shapes-resnet-20"]
    assert "Predicts star" in texts(app)
    assert not app.error


def test_the_url_decides_every_widget() -> None:
    app = open_app(
        first="shapes-resnet-20",
        second="none",
        target="3",
        layer="stages.1.1.conv1",
        scope="both",
        opacity="20",
        evidence="signed",
        at="3,4",
        field="effective",
    )
    assert chosen(app) == ["shapes-resnet-20"] and told(app)["view"]["target"] == 3
    selection = {"layer": "stages.1.1.conv1", "channel": None, "scope": "both", "opacity": 20, "evidence": "signed"}
    assert view(app) == selection | {"at": "3,4", "field": "effective", "rows": None}
    assert explained(app) == {"ResNet-20": "triangle"}
    assert "plain-20" not in texts(app)


def test_a_choice_changes_nothing_else() -> None:
    app = open_app(opacity="20")
    choose(app, target=2)
    assert view(app)["opacity"] == 20 and told(app)["entry"] == 1, "the viewer has that, and is told of it once"
    assert explained(app) == {"plain-20": "square", "ResNet-20": "square"}


def test_each_point_of_accuracy_against_depth_is_a_link_to_twins_that_part() -> None:
    app = open_app(first="shapes-plain-8", second="shapes-resnet-8")
    chart = message(app)[0]["depths"]
    assert chart["title"] == "Test accuracy against depth, Shapes"
    assert [point["depth"] for point in chart["points"]] == [8, 20, 56]
    assert [point["shown"] for point in chart["points"]] == [True, False, False]
    for point in chart["points"]:
        known = [checkpoints.check_pretrained(name).metrics["test"]["accuracy"] for name in point["networks"]]
        assert point["shares"] == known and all(f"{share:.1%}" in point["words"] for share in known)
        choose(app, networks=point["networks"], picture=point["picture"])
        header = message(app)[0]
        assert [each["shown"] for each in header["depths"]["points"]] == [each is point for each in chart["points"]]
        verdicts = [network["verdict"] for network in header["predictions"]["networks"]]
        assert sum(": right" in words for words in verdicts) == sum(": wrong" in words for words in verdicts) == 1
    alone = message(open_app(first="cifar10jpeg-plain-8", second="none"))[0]["depths"]
    assert [point["picture"] for point in alone["points"]] == [None] * 3
    assert not any(point["shown"] for point in alone["points"])


TOLD = """
import streamlit as st
from explorer.ui import selection
from explorer.ui.services.explore_state import AppState
selection.apply(AppState(layer="stem.conv"))
selection.take(%s)
st.session_state["found"] = selection.for_viewer()["selection"]
"""
SELECTED = {
    "layer": "stages.1.0",
    "channel": 3,
    "scope": "both",
    "opacity": 10,
    "evidence": "signed",
    "at": "head.fc:3",
}
SELECTED |= {"field": "effective", "rows": None}


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        (SELECTED, SELECTED),
        (SELECTED | {"id": 7}, SELECTED),
        ({"layer": "stages.1.0"}, {"layer": "stages.1.0"}),
        ({"layer": "stages.1.0", "picture": "sample-3-9/../../x", "first": "../x"}, {"layer": "stages.1.0"}),
        ({"layer": None, "channel": None}, {"layer": None}),
        ({"layer": "../../etc/passwd"}, None),
        ({"layer": {"a": []}, "channel": "3"}, None),
        ({"scope": ["layer"]}, None),
        ({"opacity": 1e9}, None),
        ({"opacity": None}, None),
        ({"evidence": "both"}, None),
        ({"at": "../x:3"}, None),
        ({"field": "both"}, None),
        ({"at": [3, 4]}, None),
        ({"channel": -1, "layer": "stages.1.0"}, None),
        ({"channel": True}, None),
        ([], None),
        ("layer", None),
        (None, None),
    ],
)
def test_a_browser_may_say_anything_of_its_selection(said: Any, taken: dict[str, Any] | None) -> None:
    app = AppTest.from_string(TOLD % repr(said), default_timeout=60).run()
    assert not app.exception and not app.error and not app.query_params
    default = {"layer": None, "channel": None, "scope": "layer", "opacity": 70, "evidence": "positive", "at": None}
    default |= {"field": "theoretical", "rows": None}
    wanted = default | ({"layer": "stem.conv"} if taken is None else taken)
    assert app.session_state["found"] == wanted


def test_the_viewer_keeps_its_selection_until_a_link_or_the_server_changes_it() -> None:
    app = open_app(opacity="20", tab="block")
    choose(app, target=2)
    tell(app, opacity=70, channel=3)
    choose(app, target=3)
    assert told(app)["entry"] == 1 and view(app)["opacity"] == 70, "else the viewer would go back to what the link said"
    app.number_input(key="block_channel").set_value(0).run()
    assert told(app)["entry"] == 2 and told(app)["initial"] == view(app) | {"layer": None, "channel": 0}
    app.run()
    link(app, opacity="30")
    assert told(app)["entry"] == 3 and told(app)["initial"]["opacity"] == 30


def test_what_a_browser_says_before_any_page_is_let_be() -> None:
    script = "from explorer.ui import selection\nselection.take({'layer': 'stem.conv'})"
    app = AppTest.from_string(script, default_timeout=60).run()
    assert not app.exception and "selection" not in app.session_state


@pytest.mark.parametrize("tab", TABS)
def test_another_layer_channel_or_scale_computes_no_pass(tab: str) -> None:
    app = open_app(tab=tab, layers="main")
    message(app)
    seen: list[str] = []
    spy = register_module_forward_pre_hook(lambda module, _: seen.append(type(module).__name__))
    try:
        # As the viewer tells it, and as a link that is opened meanwhile does.
        for ways in (tell, link):
            for name, value in (("layer", "stages.1.0.conv1"), ("channel", 5), ("scope", "both"), ("opacity", 20)):
                ways(app, **{name: value})
                assert view(app)[name] == value
                message(app, only="layer")
                assert not seen, f"{name}: {len(seen)} calls"
            ways(app, layer="stages.0.1", channel=2)  # of yet another block, and both at once
            message(app, only="layers")
            assert view(app)["layer"] == "stages.0.1" and not seen, f"{len(seen)} calls"
        link(app, picture="sample-6-7")
        message(app)
        assert seen  # else the spy would see nothing
    finally:
        spy.remove()


def tell(app: AppTest, **selected: Any) -> None:
    """As after the viewer told the server of its selection."""
    app.session_state["selection"].values |= selected
    app.run()
    assert not app.exception and not app.error


def link(app: AppTest, **query: Any) -> None:
    """As after a link to another view."""
    for name, value in query.items():
        app.query_params[name] = str(value)
    app.run()
    assert not app.exception and not app.error


def test_networks_of_other_classes_are_never_paired() -> None:
    app = open_app(first="cifar10jpeg-plain-20", second="shapes-resnet-20")
    assert chosen(app) == ["cifar10jpeg-plain-20", "cifar10jpeg-resnet-20"]
    beside = labels(app, beside="cifar10jpeg-plain-20")
    assert "cifar10jpeg-plain-8" in beside and not any(name.startswith("shapes") for name in beside)
    assert "shapes-plain-8" in labels(app)
    said = bar_data(app)
    assert said["twins"]["shapes-plain-56"] == "shapes-resnet-56"
    assert said["classes"] == list(checkpoints.check_pretrained("cifar10jpeg-plain-20").class_names)


@pytest.mark.parametrize(
    "query",
    [
        {"first": "../../etc/passwd"},
        {"first": "shapes-plain-20", "second": "no-such-network"},
        {"layer": "stages.9.9"},
        {"picture": "sample-77-5"},
        {"target": "-1", "opacity": "1e9", "scope": "<script>"},
        {"channel": "5000"},
    ],
)
def test_a_link_with_nonsense_still_shows_a_view(query: dict[str, str]) -> None:
    app = open_app(**query)
    assert not app.error
    assert "(n\u00a0=\u00a04,000)" in texts(app)
    choose(app, networks=["shapes-resnet-8", "shapes-plain-8"])
    assert "ResNet-8, " in texts(app)


def test_an_upload_is_decoded_and_a_bad_one_is_one_sentence() -> None:
    app = open_app()
    assert not app.get("file_uploader")
    with pytest.raises(RequestError, match=r"note\.png.*The image that was shown stays\.$"):
        give_file(app, "note.png", b"just text")
    app.run()
    assert not app.exception and not app.error and "drawn star" in texts(app)
    give_file(app, "good.png", figures.png(np.zeros((30, 40, 3), np.uint8)))
    assert "Original, 40×30" in texts(app)


def test_a_link_to_an_upload_of_another_session_offers_to_upload_it_again() -> None:
    app = open_app(picture="upload-0123456789abcdef", layer="stages.1.1")
    assert "made with an uploaded image" in texts(app)
    assert app.file_uploader(key="upload_again").value is None
    assert view(app)["layer"] == "stages.1.1"


CHOSEN = """
import streamlit as st
from explorer.ui import bar
from explorer.ui.explore import controls
said = {"picture": %s, "number": 3}
%s
"""


@pytest.mark.parametrize(
    "take",
    [
        "controls.take_choice(said)",
        "bar._take_choice('compare', said)",
        "bar._take_choice('gradients', said)",
    ],
)
@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("sample-1-6", True),
        ("upload-0123456789abcdef", True),
        ("../../etc/passwd", False),
        ("sample-1-6 or more", False),
        (7, False),
        (None, False),
        (["sample-1-6"], False),
    ],
)
def test_a_browser_may_say_anything_of_its_picture(take: str, said: Any, taken: bool) -> None:
    app = AppTest.from_string(CHOSEN % (repr(said), take), default_timeout=60).run()
    assert not app.exception and not app.error
    assert app.query_params == ({"picture": said} if taken else {})


EIGHT = ("shapes-plain-8", "shapes-resnet-8")
VIEWED = """
from explorer.ui.explore import controls
from explorer.ui.session import session
controls.take_choice(%s)
import streamlit as st
st.session_state["found"] = session().heard
"""


@pytest.mark.parametrize(
    ("said", "query"),
    [
        ({"target": 3, "number": 7}, {"target": "3"}),
        ({"layers": "all", "theme": "dark", "number": 7}, {"layers": "all"}),
        ({"networks": [*EIGHT], "number": 7}, {"first": EIGHT[0], "second": EIGHT[1]}),
        ({"networks": ["shapes-plain-8"], "number": 7}, {"first": "shapes-plain-8", "second": "none"}),
        ({"networks": ["../../x"], "number": 7}, {}),
        ({"networks": [], "number": 7}, {}),
        ({"networks": 3, "number": 7}, {}),
        ({"networks": ["shapes-plain-8", None, 3], "number": 7}, {"first": "shapes-plain-8", "second": "none"}),
        ({"target": "three", "number": 7}, {}),
        ({"layers": ["all"], "number": 7}, {}),
        ({"first": "shapes-plain-8", "tab": "block", "number": 7}, {}),
        ({"number": 7}, {}),
        ({"target": 3}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_browser_may_say_anything_of_its_choice(said: Any, query: dict[str, str] | None) -> None:
    app = AppTest.from_string(VIEWED % repr(said), default_timeout=60).run()
    assert not app.exception and not app.error
    assert app.query_params == (query or {})
    assert app.session_state["found"] == (0 if query is None else 7), "else the browser would wait for ever"


def test_a_choice_leaves_the_selection_of_a_link_to_the_viewer() -> None:
    app = AppTest.from_string(VIEWED % {"target": 2, "number": 1}, default_timeout=60)
    app.query_params["opacity"], app.query_params["second"] = "20", "none"
    app.run()
    assert not app.exception and app.query_params == {"second": "none", "target": "2"}


def test_the_gallery_is_told_the_scene_and_the_picture_of_the_link() -> None:
    app = open_app(picture="sample-2-41")
    said = bar_data(app)
    assert said["picture"] == "sample-2-41" and said["shown"]
    assert said["names"] == list(shapes.CLASS_NAMES)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(said["sheets"]["41"].partition(",")[2]))))
    for label in range(10):
        row, column = divmod(label, 5)
        tile = sheet[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
        np.testing.assert_array_equal(tile, shapes.sample(label, 41)[0])
    header, _ = message(app)
    assert header["sheets"] == said["sheets"] and header["picture"] == said["picture"]


def test_shapes_and_photo_networks_offer_each_other() -> None:
    app = open_app(first="cifar10jpeg-plain-20", second="cifar10jpeg-resnet-20")
    offer = message(app)[0]["introduction"]["offer"]
    assert offer["words"] == "Look with the shapes twins" and "a drawn shape means little" in offer["why"]
    choose(app, networks=offer["networks"])
    assert chosen(app) == ["shapes-plain-20", "shapes-resnet-20"] and not message(app)[0]["introduction"]["offer"]


def test_the_name_of_an_upload_is_never_markdown() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(buffer, "PNG")
    app = open_app(picture="upload-0123456789abcdef")
    give_file(app, "![x](y) `<b>`.png", buffer.getvalue())
    assert "Original, 40×30" in texts(app)
    assert "![x](y) '<b>'.png" in texts(app)
    assert not [each for each in app.get("html") if "'<b>'" in each.proto.body]


def test_whatever_goes_wrong_on_a_page_is_one_sentence_and_an_incident_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = AppTest.from_string(
        "from explorer.ui import navigation\n"
        "def broken():\n    raise RuntimeError('/secret/place')\n"
        "navigation.run({'broken': ('Broken', broken)})\n",
        default_timeout=60,
    ).run()
    assert not app.exception
    (error,) = app.error
    incident = error.value.split("incident ")[1].split(")")[0]
    assert "/secret/place" not in error.value and "RuntimeError" not in error.value
    (logged,) = [record for record in caplog.records if record.getMessage() == f"incident {incident}"]
    assert logged.exc_info and "/secret/place" in str(logged.exc_info[1])


def test_what_goes_wrong_in_a_run_that_another_one_has_replaced_is_told_to_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = AppTest.from_string(
        "from explorer.ui import navigation\n"
        "from streamlit.runtime.scriptrunner import StopException, get_script_run_ctx\n"
        "def on_next_use(act):\n"
        "    object.__setattr__(get_script_run_ctx().session_state, '_yield_callback', act)\n"
        "def stop():\n    on_next_use(lambda: None)\n    raise StopException\n"
        "def broken():\n    on_next_use(stop)\n    raise RuntimeError('changed size')\n"
        "navigation.run({'broken': ('Broken', broken)})\n",
        default_timeout=60,
    ).run()
    assert not app.exception and not app.error
    assert not [record for record in caplog.records if "incident" in record.getMessage()]


@pytest.mark.parametrize(("data", "masked"), [("photos", False), ("shapes-v1-64", True)])
def test_networks_of_other_input_size_and_many_channels_stand_side_by_side(
    data: str, masked: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A drawn object has a mask at the size of a network that has learned from shapes, and at no other one."""
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
    number, spec = "a" * 32, cifar(8, size=64, width=32)
    home = tmp_path / "runs" / number
    home.mkdir(parents=True)
    checkpoints.save(
        Checkpoint(build(spec).freeze(), shapes.CLASS_NAMES, (0.5,) * 3, (0.25,) * 3, data),
        home / "resnet-8.safetensors",
    )
    config = TrainingConfig(seconds=60).to_dict()
    runs.Run(home).write_request(runs.Request((spec.to_dict(),), config, {"kind": "shapes", "size": 64}))
    app = open_app(first="shapes-resnet-8", second=f"run-{number}-resnet-8", layer="stages.2.0")
    assert chosen(app)[1] == f"run-{number}-resnet-8" and not app.error
    small, large = message(app)[0]["networks"]
    assert large["layers"]["stages.2.0"]["channels"] == 128
    shares = [
        [name for name, _ in each["layers"]["stages.2.0"]["numbers"] if "on the object" in name]
        for each in (small, large)
    ]
    assert len(shares[0]) == 1 and len(shares[1]) == masked
    assert not [record for record in caplog.records if "default" in record.getMessage()]


def kept_run(*specs: ArchitectureSpec, number: str = "ab" * 16, owner: str = "") -> runs.Run:
    """A run with a network of each, untrained."""
    run = runs.Run(runs.runs_folder() / number)
    run.folder.mkdir(parents=True)
    kept = tuple(spec.to_dict() for spec in specs)
    run.write_request(runs.Request(kept, {}, {"kind": "shapes", "size": 32}, owner=owner))
    for place, spec in enumerate(specs):
        network = build(spec, seed=0).freeze()
        told = Checkpoint(network, shapes.CLASS_NAMES, (0.5,) * 3, (0.25,) * 3, "shapes-v1-32")
        checkpoints.save(told, run.network_file(f"net-{place}"))
    return run


NEED_A_LAYER = {"methods", "channels", "trust"}  # of a block, a plain network has nothing to split


def test_a_network_without_maps_is_one_sentence_and_another_one_can_be_chosen() -> None:
    spec = ArchitectureSpec((Stage(1, 16, 8, 31, "valid"),), block="conv", shortcut="none")
    run = kept_run(spec)
    reason = "o layer of these networks has maps of at least two pixels"
    for tab in TABS:  # a tab that the server draws says it too
        app = open_app(first=f"run-{run.id}-net-0", second="none", tab=tab)
        with pytest.raises(RequestError, match=f"^N{reason}") as refused:
            message(app)
        assert refused.value.status == 200
        assert [error.value.startswith(f"n{reason}") for error in app.error] == [True] * (tab in NEED_A_LAYER)
    choose(app, networks=["shapes-plain-20"])
    assert "Predicts star" in texts(app)


def test_maps_that_are_too_large_for_a_number_are_one_sentence_on_compare() -> None:
    network = build(cifar(8), seed=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1e30)
    run = kept_run(cifar(8))
    told = Checkpoint(network.freeze(), shapes.CLASS_NAMES, (0.5,) * 3, (0.25,) * 3, "shapes-v1-32")
    checkpoints.save(told, run.network_file("net-0"))
    app = AppTest.from_string(COMPARE, default_timeout=60)
    app.query_params["networks"] = f"run-{run.id}-net-0,shapes-plain-20"
    app.run()
    assert not app.exception
    (error,) = app.error
    assert "are too large for a number" in error.value and "choose another network" in error.value


def test_networks_of_one_name_can_each_be_chosen_on_explore() -> None:
    owner = "cd" * 16
    for digits in ("ab" * 16, "ba" * 16):
        kept_run(cifar(8), number=digits, owner=owner).write_title("again")
    app = AppTest.from_file(APP, default_timeout=60)
    app.session_state["session"] = SessionData(owner=owner)
    app.run()
    options = labels(app)
    assert len({*options.values()}) == len(options)
    (again,) = [name for name, label in options.items() if label.startswith("again · ResNet-8 · abab")]
    assert again == f"run-{'ab' * 16}-net-0" and again in labels(app, beside="shapes-plain-20")
    choose(app, networks=[again, "shapes-plain-20"])
    assert chosen(app) == [again, "shapes-plain-20"]


def test_explore_goes_on_where_a_run_was_deleted() -> None:
    run = kept_run(cifar(8))
    link = {"first": f"run-{run.id}-net-0", "second": "none"}
    app = open_app(**link)
    assert not app.error and chosen(app) == [link["first"]]
    run.remove()
    app = open_app(**link)
    assert not app.error and chosen(app) == ["shapes-plain-20"]
