"""The page Experiments under AppTest: its question, its cost, its answer, its link."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import checkpoints, figures
from explorer.experiments import lesions
from explorer.experiments.attacks import Attack
from explorer.experiments.changed_pictures import dial_curve, shift_map
from explorer.images import Dials
from explorer.ui import navigation, network_registry
from explorer.ui.experiments import pictures
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.services import offered_networks
from explorer.ui.services.input_images import sample_pixels
from tests.attacks import attack_picture

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


def test_the_page_opens_with_the_kept_answer_which_can_be_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(lesions, "answers", lambda *_: pytest.fail("measured"))
        app = open_page(n="none")
    said = texts(app)
    kept = "The answers of plain-8 and ResNet-8 are kept: they were measured before, on these 500 images"
    assert kept in said and "plain-8 is right for" in said and "This takes" not in said
    (button,) = [each for each in app.button if each.label.startswith("Measure again (about")]
    button.click().run()
    said = texts(app)
    assert not app.exception and "are kept" not in said and "ResNet-8 is right for" in said
    # Of both networks untouched and of 1 + 3 changed ones. Other processors may round otherwise.
    found = re.search(r"Measured again in this session: (\d+) of 3,000 predictions differ from the kept ones\.", said)
    assert found and int(found[1]) <= 3
    assert not [each for each in app.button if each.label.startswith("Measure")]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "plain-8 is right for"),
        ({"removed": "pairs"}, "plain-8 has no two blocks"),
        ({"question": "fold"}, "plain-8, folded, is the same up to rounding"),
    ],
)
def test_one_network_of_which_nothing_may_be_stored_has_its_answer(
    query: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of an upload: the answer is in this session alone."""
    files: dict[str, object] = {}
    monkeypatch.setattr(navigation, "download_button", lambda label, data, **_: files.setdefault(label, data))
    monkeypatch.setattr(network_registry, "digests_of_owner", lambda names: None)
    app = open_page(second="none", **query)
    (button,) = [each for each in app.button if each.label.startswith("Measure (about")]
    button.click().run()
    assert not app.exception and said in texts(app) and "Results (CSV)" in files
    assert not [each for each in app.button if each.label.startswith("Measure")]


def test_one_network_is_measured_again() -> None:
    app = open_page(n="none", second="none")
    (button,) = [each for each in app.button if each.label.startswith("Measure again (about")]
    button.click().run()
    said = texts(app)
    assert not app.exception and "plain-8 is right for" in said
    # Untouched and without one block. Other processors may round otherwise.
    found = re.search(r"Measured again in this session: (\d+) of 1,000 predictions differ from the kept ones\.", said)
    assert found and int(found[1]) <= 3


def test_a_network_beside_kept_ones_is_measured_alone() -> None:
    app = open_page(n="none", others="shapes-plain-20", removed="swaps")
    assert "are kept" not in texts(app), "only single blocks come with the app"
    app = open_page(n="none", others="shapes-plain-20")
    assert "The answers of plain-8, ResNet-8 and plain-20 are kept" in texts(app)


def test_images_that_are_elsewhere_have_the_kept_answer_alone() -> None:
    twins = {"first": "cifar10jpeg-plain-8", "second": "cifar10jpeg-resnet-8"}
    app = open_page(**twins)
    said = texts(app)
    assert "are kept: they were measured before, on these 500 images" in said and "ResNet-8 is right for" in said
    assert not [each for each in app.button if each.label.startswith("Measure")]
    assert "are not on this machine, so nothing new can be measured" in texts(open_page(removed="pairs", **twins))


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


def test_the_dial_says_nothing_of_a_training_that_nobody_knows() -> None:
    """Drawn shapes are turned, networks may come from elsewhere, and each has the size of its own input."""
    said = texts(open_page(question="dial"))
    assert "What the dial makes may be unlike the images of the training." in said
    assert "Networks whose inputs have one size and one rendering see the very same images." in said
    assert "both networks see" not in said and "were trained on" not in said


CHANGED = {"dials": "x3_rotation-12.5", "change": "stages.0.0:off,stages.9.9:off", "attack": "epsilon4_steps10"}


@pytest.mark.parametrize(
    ("query", "kept", "left"),
    [
        ({"question": "shift"}, "Rotation -12.5", "Shift right 3, the attack"),
        ({"question": "dial", "dial": "rotation"}, "Shift right 3", "Rotation -12.5, the attack"),
        ({"question": "dial", "dial": "blur"}, "Shift right 3, Rotation -12.5", "the attack"),
        ({"question": "attack"}, "Shift right 3, Rotation -12.5 and the attack (PGD of 10 steps within 4/255)", ""),
        ({"question": "lesions"}, "", "Shift right 3, Rotation -12.5, the attack"),
        ({"question": "robust"}, "", "Shift right 3, Rotation -12.5, the attack"),
    ],
)
def test_what_explore_has_changed_is_measured_or_named(query: dict[str, str], kept: str, left: str) -> None:
    app = open_page(**query, **CHANGED)
    said = texts(app)
    assert (f"The image is changed as on Explore: {kept}." in said) == bool(kept)
    changes = "the changes stages.0.0:off and stages.9.9:off of the networks"
    left = f"{left} (PGD of 10 steps within 4/255) and {changes}." if left else f"{changes}."
    assert f"Set on Explore and not applied to this question: {left}" in said
    next(each for each in app.button if each.label == "Put all back").click().run()
    assert "on Explore" not in texts(app) and not {*CHANGED} & {*app.query_params}


@pytest.mark.parametrize(
    ("query", "dials"),
    [
        ({"question": "shift"}, Dials(rotation=-12.5)),
        ({"question": "dial", "dial": "rotation"}, Dials(x=3)),
        ({"question": "attack", "steps": "0", "attack": "epsilon2.5_least"}, Dials(x=3, rotation=-12.5)),
    ],
)
def test_questions_about_the_image_start_from_the_changed_one(
    query: dict[str, str], dials: Dials, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, Callable[[], Any]] = {}
    monkeypatch.setattr(navigation, "download_button", lambda label, data, **_: files.setdefault(label, data))
    app = open_page(measure="yes", second="none", **{**CHANGED, **query})
    if starts := [each for each in app.button if each.label.startswith("Measure (about")]:
        starts[0].click().run()
    asked, (pixels, _) = [checkpoints.load_pretrained("shapes-plain-8")], sample_pixels(6, 6)
    rows = [row.split(",") for row in files["Results (CSV)"]().decode("utf-8-sig").splitlines()[1:]]
    if query["question"] == "shift":
        maps = [*shift_map(asked, pixels, dials=dials)][-1][1]
        assert maps is not None
        (found,) = maps
        expected = found.probabilities[..., found.answer].ravel()
        shares = [float(row[3]) for row in rows]
    elif query["question"] == "dial":
        curves = [*dial_curve(asked, pixels, "rotation", dials=dials)][-1][1]
        assert curves is not None
        (curve,) = curves
        expected, shares = curve.probabilities[:, 0], [float(row[2]) for row in rows]
    else:
        target = int(attack_picture(asked, pixels, Attack(0), dials=dials).networks[0].before.argmin())
        (network,) = attack_picture(asked, pixels, Attack(2.5 / 255), target=target, dials=dials).networks
        expected, shares = network.after, [float(row[3]) for row in rows]
    np.testing.assert_allclose(shares, expected, rtol=1e-4, atol=1e-6)


def test_the_attack_of_explore_is_made_and_changed_there_too() -> None:
    app = open_page(question="attack", attack="epsilon2.5_steps3_second_least")
    slider = next(each for each in app.slider if each.label == "ε in levels of 255")
    (goal,) = [each for each in app.selectbox if each.label == "Class to reach"]
    assert (slider.value, slider.step, goal.value) == (2.5, 0.25, pictures.LEAST)
    slider.set_value(6.25).run()
    assert app.query_params["attack"] in (["epsilon6.25_steps3_second_least"], "epsilon6.25_steps3_second_least")
    next(each for each in app.slider if each.label == "ε in levels of 255").set_value(0.0).run()
    assert "attack" not in app.query_params and app.query_params["epsilon"] in ("0", ["0"])
    assert not app.exception


def test_up_to_four_networks_of_one_kind() -> None:
    app = open_page(others="shapes-plain-20,cifar10jpeg-plain-8")
    (more,) = [each for each in app.multiselect if each.label == "More networks"]
    assert "changed networks on 20 images" in texts(app)
    assert more.value == ["shapes-plain-20"] and "cifar10jpeg-plain-8" not in more.options


def test_without_labelled_images_the_page_says_what_to_do() -> None:
    app = open_page(question="robust", first="cifar10jpeg-plain-8", second="cifar10jpeg-resnet-8")
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


def test_one_network_is_folded_as_it_is() -> None:
    said = texts(open_page(question="fold", n="10", second="none"))
    assert "This takes 10 images through 1 network, as it is and folded." in said


def test_names_of_networks_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    title = "**a** :red[b]"  # as an owner may choose it, where two networks have one architecture
    monkeypatch.setattr(offered_networks, "unique_titles", lambda shown, _: dict.fromkeys(shown, title))
    monkeypatch.setattr(lesions, "blocks", lambda spec: ())
    app = open_page()
    assert any("has no blocks" in each.value for each in app.info)
    options = open_page(question="unit").segmented_control(key="experiments_network").options
    for text in (*(each.value for each in app.info), *options):
        assert "**a" not in text and ":red[" not in text
