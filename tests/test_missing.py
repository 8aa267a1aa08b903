"""Links that name what is not here: uploads of another session, deleted runs."""

import io

import pytest
from PIL import Image

from explorer.ui.session import PendingLink
from tests.e2e.test_models import theirs
from tests.messages import bar_data, choose, choose_pair, chosen
from tests.test_compare import check as checked
from tests.test_compare import chosen as compared
from tests.test_compare import open_compare
from tests.test_compare import texts as compared_texts
from tests.test_gradients import open_gradients
from tests.test_models import give, open_models, press, use
from tests.test_pages import open_app, texts

LOST = "mine-0123456789abcdef"


def test_a_link_keeps_every_network_that_is_here_and_names_what_is_not() -> None:
    app = open_app(first=LOST, second="cifar10jpeg-resnet-56", picture="upload-0123456789abcdef")
    assert chosen(app) == ["cifar10jpeg-plain-56", "cifar10jpeg-resnet-56"], "one of the same classes stands in"
    said = texts(app)
    assert f"**First network**: an upload (`{LOST}`)" in said and "**Image**" in said
    assert "Second network" not in said and "verything else is as in the link" not in said
    assert "plain-56 · CIFAR-10 (JPEG copy) (stands in), ResNet-56 · CIFAR-10 (JPEG copy) (as in the link)" in said

    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(buffer, "PNG")
    app.file_uploader(key="upload_again").upload("a.png", buffer.getvalue(), "image/png").run()
    assert not app.exception and not app.error
    said = texts(app)
    assert "**Image**" not in said and "Original, 40×30" in said
    assert app.query_params["first"] == LOST and "**First network**" in said, "it may still be brought again"


@pytest.mark.parametrize(
    ("query", "first", "second"),
    [
        ({"first": "shapes-resnet-8", "second": LOST}, "shapes-resnet-8", "shapes-plain-8"),
        ({"first": LOST, "second": f"run-{'0' * 32}-a"}, "shapes-plain-20", "shapes-resnet-20"),
        ({"first": LOST, "second": "none"}, "shapes-plain-20", None),
        ({"first": f"shared-{'0' * 32}"}, "shapes-plain-20", "shapes-resnet-20"),
    ],
)
def test_whatever_is_lost_is_named_and_nothing_else(query: dict[str, str], first: str, second: str | None) -> None:
    app = open_app(**query)
    assert chosen(app) == [name for name in (first, second) if name]
    said = texts(app)
    for field, place in (("first", "First"), ("second", "Second")):
        lost = query.get(field, "").startswith(("mine-", "run-", "shared-"))
        assert (f"**{place} network**" in said) == lost
    choose(app, networks=["shapes-plain-8"])
    assert "Not everything in this link is here" not in texts(app)


def test_a_lost_upload_can_be_brought_again_from_where_it_is_missed() -> None:
    app = open_app(first=LOST, second="cifar10jpeg-resnet-56", target="3")
    next(button for button in app.button if button.label == "Upload the first network on Models").click().run()
    assert not app.exception and [header.value for header in app.header] == ["Models"]
    assert [box.value for box in app.info if LOST in box.value]
    assert app.session_state["session"].pending_link.query == {
        "first": LOST,
        "second": "cifar10jpeg-resnet-56",
        "target": "3",
    }


@pytest.mark.parametrize(
    ("networks", "shown"),
    [
        ((LOST, "cifar10jpeg-resnet-56"), ["cifar10jpeg-plain-56", "cifar10jpeg-resnet-56"]),
        (("cifar10jpeg-resnet-56", LOST), ["cifar10jpeg-resnet-56", "cifar10jpeg-plain-56"]),
        (("shapes-plain-8", LOST, "shapes-plain-56"), ["shapes-plain-8", "shapes-plain-56"]),
        ((LOST, f"run-{'0' * 32}-a"), ["shapes-plain-20", "shapes-resnet-20"]),
    ],
)
def test_what_a_link_names_and_is_not_here_is_said_and_the_rest_stays(networks: tuple[str, ...], shown: list) -> None:
    app = open_compare(networks=",".join(networks))
    assert compared(app) == shown
    said = compared_texts(app)
    places = ("First", "Second", "Third")
    for place, name in zip(places, networks, strict=False):
        assert (f"**{place} network**: " in said) == (name not in shown)
    assert said.count("as in the link") == len({*networks} & {*shown})
    checked(app.segmented_control(key="compare_grid").set_value("true").run())
    assert app.query_params["networks"] == ",".join(networks), "what is gone may be brought again"
    choose_pair(app, "compare", shown[0], "shapes-resnet-8")
    assert app.query_params["networks"] == f"{shown[0]},shapes-resnet-8"
    assert "Not everything in this link is here" not in compared_texts(app)


def test_gradients_keeps_the_network_that_is_here_and_names_the_other() -> None:
    app = open_gradients(source="checkpoint", first=LOST, second="shapes-resnet-8")
    assert bar_data(app)["view"]["networks"] == ["shapes-plain-8", "shapes-resnet-8"]
    assert f"**First network**: an upload (`{LOST}`)" in "\n".join(text.value for text in app.markdown)
    checked(app.segmented_control(key="gradients_mode").set_value("training").run())
    assert app.query_params["first"] == LOST


@pytest.mark.usefixtures("in_this_process")
def test_an_upload_that_a_link_waits_for_takes_its_place_there() -> None:
    content = theirs(8)
    app = open_models()
    query = {"first": LOST, "second": "cifar10jpeg-resnet-8", "target": "2"}
    app.session_state["session"].pending_link = PendingLink("explore", query, LOST)
    app.run()
    assert [box.value for box in app.info if LOST in box.value]
    give(app, content)
    name = use(app)
    assert app.query_params == {"first": name, "second": "cifar10jpeg-resnet-8", "target": "2"}
    press(app, "Back to Models")
    give(app, content)
    assert use(app, reading=1) == app.query_params["first"] != name
    assert app.query_params == {"first": app.query_params["first"], "second": "none", "picture": "scene-ship"}, "once"
