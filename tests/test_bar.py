"""The bar above every page: its pair stands in the query of each, and travels from one to the other."""

from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from explorer.ui import bar, network_registry, streamlit_internals
from explorer.ui.explore import controls
from explorer.ui.services.explore_state import AppState

PAGES = ("explore", "compare", "gradients", "build", "models", "class")
PAIRS = [
    {},
    {"first": "shapes-plain-56", "second": "shapes-resnet-56"},
    {"first": "cifar10jpeg-resnet-8", "second": "cifar10jpeg-plain-8", "target": "3"},
    {"second": "shapes-resnet-8", "picture": "test-shapes-32-17"},
    {"first": "shapes-plain-8", "second": "shapes-resnet-8", "picture": "upload-0123456789abcdef"},
]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("pair", PAIRS)
def test_a_query_holds_the_pair_and_keeps_the_rest(page: str, pair: dict[str, str]) -> None:
    before = {"tab": "block", "first": "shapes-resnet-56", "target": "9"}
    query = bar.into_query(page, before, pair)
    if pair or page != "compare":  # Compare has twins of its own by default
        assert bar.of_query(page, query) == pair
    assert query["tab"] == "block" and "9" not in query.get("target", "")
    for other in PAGES:
        again = bar.into_query(page, query, bar.of_query(other, bar.into_query(other, {}, pair)) if pair else pair)
        assert again == query, f"over {other}"


def test_a_pair_whose_only_network_is_gone_opens_compare_beside_one_that_is_here() -> None:
    gone = "mine-0123456789abcdef"
    names = bar.into_query("compare", {}, {"first": gone, "second": "none"})["networks"].split(",")
    assert names[0] == gone and network_registry.is_network(names[1])


TRAVEL = """
from urllib.parse import urlencode
import streamlit as st
from explorer.ui import bar, navigation, url_query

PAGES = ("explore", "compare", "experiments", "build")

def show():
    st.text(urlencode(url_query.read()))
    st.button("put back", on_click=bar.change, kwargs=dict.fromkeys(bar.CHANGES, ""))
    for name in PAGES:
        if st.button(name):
            navigation.switch_page(name, {})

def page(name):
    own = lambda: show()
    own.__name__ = name
    return name, own

navigation.run({name: page(name) for name in PAGES})
"""
CHANGED = {"dials": "x3_rotation-12.5", "change": "stages.0.1@branch:off", "attack": "epsilon4_steps10_least"}


def test_what_explore_changes_travels_to_experiments_and_back_and_is_put_back() -> None:
    app = AppTest.from_string(TRAVEL, default_timeout=60)
    own = {"first": "shapes-plain-8", **CHANGED}
    app.query_params.update(own)
    app.run()

    def go(name: str) -> dict[str, str]:
        next(each for each in app.button if each.label == name).click().run()
        assert not app.exception
        return dict(parse_qsl(app.text[0].value))

    for page in ("experiments", "explore", "compare", "experiments", "build", "explore", "experiments"):
        query = go(page)
        if page in bar.WITH_CHANGES:
            assert query == own, page
        else:
            assert not {*query} & {*bar.CHANGES}, page
    assert go("put back") == go("explore") == {"first": "shapes-plain-8"}


def test_compare_keeps_its_further_networks_and_always_has_two() -> None:
    query = {"networks": "shapes-plain-20,shapes-resnet-20,shapes-plain-8,shapes-resnet-8"}
    pair = AppState(first="shapes-plain-56", second="shapes-resnet-56").to_query()
    assert bar.into_query("compare", query, pair) == {
        "networks": "shapes-plain-56,shapes-resnet-56,shapes-plain-8,shapes-resnet-8"
    }
    alone = AppState(first="shapes-plain-56", second=None).to_query()
    assert bar.into_query("compare", {}, alone) == {"networks": "shapes-plain-56,shapes-resnet-56"}
    swapped = AppState(first="shapes-plain-8", second="shapes-resnet-8").to_query()
    assert bar.into_query("compare", query, swapped) == {"networks": "shapes-plain-8,shapes-resnet-8"}


USED = """
import streamlit as st
from explorer.ui import bar, network_registry, streamlit_internals
bar.use("models", %r, %r)
"""


@pytest.mark.parametrize(
    ("before", "name", "place", "expected"),
    [
        ({}, "shapes-plain-56", "first", {"first": "shapes-plain-56"}),
        ({}, "shapes-plain-56", "second", {"second": "shapes-plain-56"}),
        ({}, "shapes-resnet-20", "first", {"first": "shapes-resnet-20", "second": "shapes-plain-20"}),
        (
            {"target": "3", "picture": "sample-1-7"},
            "cifar10jpeg-plain-8",
            "first",
            {"first": "cifar10jpeg-plain-8", "second": "cifar10jpeg-resnet-8", "picture": "scene-ship"},
        ),
        (
            {"second": "none", "picture": "sample-1-7"},
            "shapes-resnet-8",
            "second",
            {"second": "shapes-resnet-8", "picture": "sample-1-7"},
        ),
    ],
)
def test_a_network_is_used_as_one_of_the_pair(
    before: dict[str, str], name: str, place: str, expected: dict[str, str]
) -> None:
    app = AppTest.from_string(
        "from explorer.ui.session import session\n" + f"session().pair = {before!r}\n" + USED % (name, place),
        default_timeout=60,
    )
    app.query_params["model"] = name
    app.run()
    assert not app.exception and app.query_params == {"model": name, **expected}


@pytest.mark.parametrize(
    ("name", "attack"),
    [("shapes-plain-56", "epsilon4_steps10_second_target3"), ("cifar10jpeg-plain-8", "epsilon4_steps10_second")],
)
def test_the_class_of_an_attack_stays_with_the_classes(name: str, attack: str) -> None:
    pair = {"attack": "epsilon4_steps10_second_target3"}
    app = AppTest.from_string(
        f"from explorer.ui.session import session\nsession().pair = {pair!r}\n"
        + USED % (name, "first")
        + "\nimport streamlit as st\nst.text(session().pair['attack'])",
        default_timeout=60,
    ).run()
    assert not app.exception and app.text[-1].value == attack


def test_the_page_of_a_unit_is_that_of_the_pair_with_what_is_changed_of_it() -> None:
    pair = {"first": "shapes-plain-8", "second": "shapes-resnet-8"}
    state = AppState.from_query({**pair, "tab": "block", **CHANGED})
    query = controls.unit_query(state, {"layer": "stages.1.0", "channel": 3, "network": 1})
    assert query is not None and query == bar.of_query("explore", state.to_query()) | {
        "question": "unit", "layer": "stages.1.0", "channel": "3", "network": "second",
    }  # fmt: skip
    assert CHANGED.items() <= bar.of_query("experiments", query).items(), "Explore by the menu has them from there"


VIEW = """
import streamlit as st
from explorer.ui import navigation, url_query

def page():
    st.button("Defaults", on_click=url_query.write, args=({},))
    st.text(",".join(url_query.read().get(name, "") for name in ("first", "second")))

navigation.run({"explore": ("Explore", page)})
"""
BETWEEN = [{}, {"networks": "shapes-plain-20,shapes-resnet-20"}]


@pytest.mark.parametrize("between", BETWEEN)
def test_back_keeps_the_pair_at_an_address_that_no_page_has_written(
    between: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = AppTest.from_string(VIEW, default_timeout=60)
    app.query_params.update({"first": "shapes-plain-8", "second": "shapes-resnet-8"})
    app.run()
    app.query_params.clear()
    app.query_params.update(between)
    with monkeypatch.context() as back:
        back.setattr(streamlit_internals, "is_history_navigation", lambda: True)
        app.run()
    for _ in range(2):
        assert app.text[0].value == "shapes-plain-8,shapes-resnet-8" and app.query_params == between, "Back goes on"
        app.run()


def test_back_to_the_defaults_that_were_chosen_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    app = AppTest.from_string(VIEW, default_timeout=60).run()
    app.button[0].click().run()
    app.query_params["first"] = "shapes-plain-8"
    assert app.run().text[0].value == "shapes-plain-8,"
    app.query_params.clear()
    monkeypatch.setattr(streamlit_internals, "is_history_navigation", lambda: True)
    assert app.run().text[0].value == ","


def test_an_address_between_two_pages_is_told_from_a_view() -> None:
    pair = {"first": "shapes-plain-8"}
    assert all(bar.is_between("explore", query) for query in BETWEEN) and not bar.is_between("explore", pair)
    assert bar.is_between("compare", pair) and not bar.is_between("compare", BETWEEN[1])
