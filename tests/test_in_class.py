"""In class: each view shows what its sentence asks for, and each answer is what the networks do now."""

import re
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import checkpoints
from explorer.datasets import Split, shapes
from explorer.experiments import agreement, measurement, residual_blocks, scenes
from explorer.experiments.agreement import Predictions
from explorer.experiments.scenes import NUMBERS, Scene
from explorer.images import to_input
from explorer.ui.pages import in_class
from tests.messages import told
from tests.test_pages import texts

APP = str(Path(__file__).parents[1] / "app.py")
PAGE = """
from explorer.ui import navigation
from explorer.ui.pages import build, compare, explore, gradients, in_class
pages = {"class": in_class, "explore": explore, "compare": compare, "gradients": gradients, "build": build}
first = %r
navigation.run({name: (name, pages[name].show) for name in sorted(pages, key=lambda name: name != first)})
"""
SCENE = Scene(4, 7)


def open_page(name: str, **query: str) -> AppTest:
    app = AppTest.from_string(PAGE % name, default_timeout=120)
    for field, value in query.items():
        app.query_params[field] = value
    app.run()
    assert not app.exception and not app.error
    return app


def answers(number: int) -> str:
    """The answer to that question, in a session of its own."""
    script = f"""
import streamlit as st
from explorer.ui.pages import in_class
from explorer.experiments.scenes import Scene
st.text(in_class.QUESTIONS[{number - 1}][1](Scene({SCENE.label}, {SCENE.number})))
"""
    app = AppTest.from_string(script, default_timeout=120).run()
    assert not app.exception
    return str(app.text[0].value).replace("\\", "")


def counts(text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"(?<![-\w.,])\d{1,3}(?:,\d{3})*(?!\d)", text)]


# --- the page ---------------------------------------------------------------------------------------------------------


def test_every_label_is_its_own_and_no_answer_is_open() -> None:
    app = open_page("class")
    said = [element.value for element in app.markdown]
    assert len({*said}) == len(said)
    labels = [each.label for each in app.expander]
    assert labels == [f"Answer to question {number}" for number in range(1, 7)]
    assert not any(len(each.children) for each in app.expander), "computed when it is opened"
    titles = [title for title, *_ in in_class.views(SCENE)]
    assert len({*titles}) == 5 and len({question for question, _ in in_class.QUESTIONS}) == 6
    assert sum(int(minutes) for minutes, *_ in in_class.PLAN) == 45


def test_the_link_of_the_form_opens_the_page_and_hides() -> None:
    app = open_page("class")
    app.selectbox(key="class_page").set_value("gradients")
    app.pills(key="class_parts").set_value(["text", "menu"])
    app.toggle(key="class_presented").set_value(True).run()
    assert app.code[0].value.endswith("/gradients?hide=menu%2Ctext&present=1")


def test_the_link_of_the_form_has_the_pair_of_the_bar_also_where_its_page_was_not_seen() -> None:
    app = open_page("class", first="shapes-plain-8", second="shapes-resnet-8")
    assert app.code[0].value.endswith("/explore?first=shapes-plain-8&second=shapes-resnet-8")
    app.selectbox(key="class_page").set_value("compare").run()
    assert app.code[0].value.endswith("/compare?networks=shapes-plain-8%2Cshapes-resnet-8")


def test_a_missing_network_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_class, "NEEDED", ("shapes-plain-57",))
    assert "shapes-plain-57" in open_page("class").info[0].value


# --- the views --------------------------------------------------------------------------------------------------------


def view(number: int) -> AppTest:
    _, _, page, query = in_class.views(SCENE)[number - 1]
    return open_page(page, **query)


def test_the_first_view_shows_the_twins_on_the_scene() -> None:
    shown = told(view(1))["view"]
    assert shown["networks"] == [*scenes.TWINS] and shown["picture"] == SCENE.picture


def test_the_second_view_shows_both_accuracies_of_training() -> None:
    tiles = {each.label.replace("\\", ""): each for each in view(2).metric}
    assert all("training" in tiles[f"{name}: test accuracy"].delta for name in ("plain-56", "ResNet-56"))


@pytest.mark.parametrize(("number", "verb"), [(3, "vanishes"), (4, "explodes")])
def test_the_views_of_gradients_show_what_their_title_says(number: int, verb: str) -> None:
    assert f"gradient {verb} in plain-56" in texts(view(number))


def test_the_last_view_opens_the_blocks() -> None:
    app = view(5)
    assert told(app)["tab"] == "block" and "shortcut" in texts(app) and "branch" in texts(app)


# --- the answers ------------------------------------------------------------------------------------------------------


def test_accuracies_are_those_of_the_files() -> None:
    said = answers(1)
    for depth in (8, 20, 56):
        shares = [checkpoints.load_pretrained(f"shapes-{kind}-{depth}").metrics["test"] for kind in ("plain", "resnet")]
        assert f"| {depth} | {' | '.join(format(each['accuracy'], '.1%') for each in shares)} |" in said


def test_mistakes_are_counted_of_the_stored_predictions_and_agree_with_the_files() -> None:
    found = [measurement.test_predictions(checkpoints.load_pretrained(name)) for name in scenes.TWINS]
    wrong = [~each.right for each in found if each is not None]
    n, plain, residual, only_plain, only_residual = counts(answers(2))
    assert (plain, residual) == (wrong[0].sum(), wrong[1].sum())
    assert (only_plain, only_residual) == ((wrong[0] & ~wrong[1]).sum(), (wrong[1] & ~wrong[0]).sum())
    for name, mistakes in zip(scenes.TWINS, (plain, residual), strict=True):
        test = checkpoints.load_pretrained(name).metrics["test"]
        assert n == test["n"] and mistakes == round(n * (1 - test["accuracy"]))


def test_the_plain_network_does_not_overfit_and_its_gradient_vanishes_or_explodes() -> None:
    assert "overfitting is not the reason" in answers(3)
    said = answers(4)
    assert re.search(r"Without norm: .*vanishes in plain-56", said)
    assert re.search(r"With BatchNorm: .*explodes in plain-56", said)


def test_branches_are_larger_where_a_pass_says_so() -> None:
    said = answers(5).splitlines()
    for line, name in zip(said, (in_class.SHALLOWER, in_class.RESIDUAL), strict=False):
        loaded = checkpoints.load_pretrained(name)
        image = to_input(shapes.sample(SCENE.label, SCENE.number)[0], (32, 32), loaded.mean, loaded.std)
        found = {each.name: each.branch / each.shortcut for each in residual_blocks.balances(loaded.network, image)}
        larger = {block for block, ratio in found.items() if ratio > 1}
        assert {*re.findall(r"stages\.\d\.\d", line.split(". The largest")[0])} == larger
        assert f"is {max(found.values()):.2f}" in line


def test_the_hardest_scene_has_the_most_mistakes() -> None:
    found = scenes.predictions(checkpoints.load_pretrained(in_class.RESIDUAL))
    assert found is not None
    by_scene = {number: int((~found.right)[10 * row : 10 * row + 10].sum()) for row, number in enumerate(NUMBERS)}
    number, wrong, of, total, n, every = counts(answers(6))
    assert wrong == by_scene[number] == max(by_scene.values())
    assert (of, total, n, every) == (10, sum(by_scene.values()), len(found), len(NUMBERS))


# --- scenes -----------------------------------------------------------------------------------------------------------


def test_shipped_predictions_are_those_of_the_networks_now() -> None:
    row = in_class_row()
    rows = range(row // 10 * 10, row // 10 * 10 + 10)
    split = scenes.drawn([scenes.scene_at(row).number])
    for name in scenes.TWINS:
        loaded = checkpoints.load_pretrained(name)
        stored = scenes.predictions(loaded)
        *_, (_, fresh) = agreement.predictions(loaded, split, shapes.CLASS_NAMES)
        assert stored is not None and fresh is not None
        assert (stored.labels[rows] == fresh.labels).all() and (stored.predicted[rows] == fresh.predicted).all()
        assert np.allclose(stored.probabilities[rows], fresh.probabilities, atol=1e-4)


def in_class_row() -> int:
    """The row of the scene on which the twins part."""
    plain, residual = (scenes.predictions(checkpoints.load_pretrained(name)) for name in scenes.TWINS)
    assert plain is not None and residual is not None
    row = scenes.parting(plain, residual)
    assert row is not None and plain.right[row] != residual.right[row]
    return row


def made(right: list[bool], of_label: list[float]) -> Predictions:
    labels = np.zeros(len(right), np.int64)
    probabilities = np.array([[share, 1 - share] for share in of_label], np.float32)
    return Predictions(("a", "b"), labels, np.where(right, 0, 1), probabilities)


def test_twins_part_where_exactly_one_is_right_by_the_largest_margin() -> None:
    one = made([True, True, False, True], [1.0, 0.6, 0.1, 0.9])
    other = made([True, False, True, False], [0.0, 0.4, 0.6, 0.45])
    assert scenes.parting(one, other) == scenes.parting(other, one) == 2, "row 0 differs most, and both are right"
    assert scenes.parting(one, one) is None


def test_a_row_and_its_picture_are_of_one_scene() -> None:
    drawn: Split = scenes.drawn(NUMBERS[:2])
    for row in (0, 7, 13):
        scene = scenes.scene_at(row)
        assert drawn.labels[row] == scene.label and scene.picture == f"sample-{scene.label}-{scene.number}"
        assert (drawn.images[row].transpose(1, 2, 0) == shapes.sample(scene.label, scene.number)[0]).all()
