"""The page Experiments under AppTest: its question, its cost, its answer, its link."""

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explorer import figures
from explorer.experiments import lesions
from explorer.ui import navigation
from explorer.ui.experiments.state import ExperimentsState

PAGE = """
from explorer.ui import navigation
from explorer.ui.pages import experiments
navigation.run({"experiments": ("Experiments", experiments.show)})
"""
PAIR = {"first": "shapes-plain-8", "second": "shapes-resnet-8"}


def open_page(**query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=120)
    for name, value in {"question": "lesions", "n": "20", **PAIR, **query}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception and not app.error
    return app


def texts(app: AppTest) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption, *app.info)).replace("\\", "")


def test_the_cost_comes_before_the_click_and_the_answer_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page()
    assert "This takes 4 changed networks on 20 images." in texts(app)  # one of plain-8, three of ResNet-8
    (button,) = [each for each in app.button if each.label.startswith("Measure (about")]
    assert "is right for" not in texts(app)
    button.click().run()
    said = texts(app)
    assert not app.exception and "plain-8 is right for" in said and "ResNet-8 is right for" in said
    assert "Nothing goes around stages.1.0 and stages.2.0" in said
    assert app.query_params["measure"] in ("yes", ["yes"]) and not [
        each for each in app.button if "Measure" in each.label
    ]
    # Another session finds it, since networks and images are everybody's, and computes nothing.
    monkeypatch.setattr(lesions, "answers", lambda *_: pytest.fail("measured twice"))
    assert "ResNet-8 is right for" in texts(open_page())


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ("pairs", "Without two blocks it is right for"),
        ("sets", "with all blocks, and for"),
        ("swaps", "ResNet-8 has no two neighbouring blocks of one shape."),
    ],
)
def test_a_link_measures_what_it_asks_for(removed: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, Callable[[], Any]] = {}

    def offer(label: str, data: Callable[[], Any], **_: object) -> None:
        files[label] = data

    monkeypatch.setattr(navigation, "download_button", offer)
    app = open_page(removed=removed, measure="yes")
    assert said in texts(app)
    heads, *rows = files["Results (CSV)"]().decode("utf-8-sig").splitlines()
    assert heads == "network,change,right,images,accuracy,low,high,loss,standard error"
    assert len(rows) == 2 + {"pairs": 3, "sets": 2, "swaps": 0}[removed]
    assert all(row.split(",")[-6] == "20" for row in rows)


@pytest.mark.parametrize(
    ("query", "said", "rows"),
    [
        ({"question": "shift"}, "ResNet-8 keeps its answer, star, in ", 2 * 289),
        ({"question": "dial", "dial": "blur"}, "to 6 pixels of standard deviation. The probability of star", 2 * 25),
        (
            {"question": "attack", "epsilon": "8", "against": "second"},
            "Under PGD of 10 steps within 8/255 ResNet-8",
            20,
        ),
        ({"question": "attack", "steps": "0", "second": "none"}, "Under FGSM within 4/255 plain-8", 10),
        ({"question": "robust", "steps": "0", "n": "10"}, "Untouched, plain-8 is right on", 12),
        ({"question": "fold", "n": "10"}, "plain-8, folded, is the same up to rounding: on 10 images", 7 + 10),
    ],
)
def test_questions_about_changed_images(
    query: dict[str, str], said: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, Callable[[], Any]] = {}
    monkeypatch.setattr(navigation, "download_button", lambda label, data, **_: files.setdefault(label, data))
    app = open_page(measure="yes", **query)
    if starts := [each for each in app.button if each.label.startswith("Measure (about")]:  # slow machines ask first
        starts[0].click().run()
    assert said in texts(app) and not app.exception
    heads, *lines = files["Results (CSV)"]().decode("utf-8-sig").splitlines()
    assert heads.startswith("network,") and len(lines) == rows
    report = files["Report (HTML)"]().getvalue().decode()
    assert said.split(",")[0] in report and "<h2>" in report


def test_up_to_four_networks_of_one_kind() -> None:
    app = open_page(others="shapes-plain-20,cifar10jpeg-plain-8")
    (more,) = [each for each in app.multiselect if each.label == "More networks"]
    assert "changed networks on 20 images" in texts(app)
    assert more.value == ["shapes-plain-20"] and "cifar10jpeg-plain-8" not in more.options


def test_without_labelled_images_the_page_says_what_to_do() -> None:
    app = open_page(first="cifar10jpeg-plain-8", second="cifar10jpeg-resnet-8")
    assert "There are no labelled images here that all these networks know." in texts(app)
    assert not [each for each in app.button if each.label.startswith("Measure (about")]


def test_a_link_holds_the_view() -> None:
    state = ExperimentsState(others=("a", "b"), data="shapes-32", n=500, removed="sets", measure=True)
    assert ExperimentsState.from_query(state.to_query()) == state
    assert ExperimentsState().to_query() == {"question": "lesions"}
    wrong = {"question": "x", "others": "../a,b", "n": "1e9", "removed": "all", "measure": "maybe"}
    assert ExperimentsState.from_query(wrong) == ExperimentsState()


def test_the_chart_has_gaps_intervals_and_chance() -> None:
    series = figures.Series("N", "#123456")
    found = {"a.0": (0.5, 0.4, 0.6), "b.0": (0.0, 0.0, 0.3)}
    figure = figures.lesion_chart([(series, (0.9, 0.8, 1.0), found)], ["a.0", "a.1", "b.0"], "block", 0.1)
    (line,) = figure.data
    assert list(line.y) == [0.5, None, 0.0] and line.error_y.arrayminus[2] == 0
    assert [shape.y0 for shape in figure.layout.shapes] == [0.9, 0.1]


def test_places_of_networks_of_other_depth_are_in_execution_order() -> None:
    short, long = (["stages.0.0", "stages.1.0"], ["stages.0.0", "stages.0.2", "stages.0.10", "stages.1.0"])
    assert figures.all_places([short, long]) == long
    assert figures.all_places([["b", "a.0"], ["c"]]) == ["b", "a.0", "c"], "names without numbers keep their order"
