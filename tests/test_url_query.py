"""Laws of the address: what was written stays, whatever a browser still tells that has not heard of it."""

import pytest
from streamlit.testing.v1 import AppTest

from explorer.ui import streamlit_internals, url_query

PAGE = """
import streamlit as st
from explorer.ui import url_query

def add(name):
    url_query.write({**url_query.read(), name: "1"})

for name in "abc":
    st.button(name, on_click=add, args=(name,))
st.text("&".join(sorted(url_query.read())))
"""


def late(app: AppTest, *names: str) -> AppTest:
    """The browser's next request tells that address."""
    app.query_params.clear()
    for name in names:
        app.query_params[name] = "1"
    return app


def press(app: AppTest, label: str) -> str:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception
    return str(app.text[0].value)


@pytest.fixture
def app() -> AppTest:
    return AppTest.from_string(PAGE, default_timeout=60).run()


def test_what_was_written_stays_while_the_browser_has_not_heard_of_it(app: AppTest) -> None:
    assert press(app, "a") == "a"
    assert press(late(app), "b") == "a&b" and app.query_params == {"a": "1", "b": "1"}
    assert late(app).run().text[0].value == "a&b", "a request that asks for nothing else"
    assert late(app, "a").run().text[0].value == "a&b", "nor one of the address between"
    assert press(late(app, "a"), "c") == "a&b&c"


def test_an_address_that_this_session_never_had_counts(app: AppTest) -> None:
    assert press(app, "a") == "a"
    assert late(app, "c").run().text[0].value == "c"
    assert late(app).run().text[0].value == "", "and what was written before is forgotten"


def test_the_browsers_back_and_forward_count(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert press(app, "a") == "a" and press(app, "b") == "a&b"
    with monkeypatch.context() as step:
        step.setattr(streamlit_internals, "is_history_navigation", lambda: True)
        assert late(app, "a").run().text[0].value == "a"
    assert press(late(app, "a"), "c") == "a&c"


def test_an_older_address_long_after_the_change_counts(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert press(app, "a") == "a"
    assert late(app).run().text[0].value == "a"
    monkeypatch.setattr(url_query, "STALE_AFTER_S", 0.0)
    assert late(app).run().text[0].value == ""


def test_who_takes_a_change_back_by_hand_may_change_again(app: AppTest) -> None:
    again = AppTest.from_string(
        PAGE.replace('{**url_query.read(), name: "1"}', '{name: "1"}'), default_timeout=60
    ).run()
    for label in "abab":
        assert press(again, label) == label
    assert late(again, "a").run().text[0].value == "b"


def test_two_choices_before_the_browser_hears_of_the_first_are_both_kept() -> None:
    app = AppTest.from_string(
        "from explorer.ui.explore import controls\n"
        "import streamlit as st\n"
        "st.button('a', on_click=controls.take_choice, args=({'networks': ['shapes-plain-20'], 'number': 1},))\n"
        "st.button('b', on_click=controls.take_choice, args=({'target': 2, 'number': 2},))\n"
        "st.text(controls.load_state().second)\n",
        default_timeout=60,
    ).run()
    app.button[0].click().run()
    app.query_params.clear()
    app.button[1].click().run()
    assert not app.exception
    assert app.query_params == {"second": "none", "target": "2"}
    assert app.text[0].value == "None"


TRAVELLING = (
    PAGE
    + """
st.button("travel", on_click=url_query.travel, args=("hide", "menu"))
st.button("end", on_click=url_query.travel, args=("hide", ""))
"""
)


def test_what_travels_is_kept_by_each_change_until_it_is_taken_out() -> None:
    app = AppTest.from_string(TRAVELLING, default_timeout=60).run()
    assert press(app, "a") == "a" and press(app, "travel") == "a&hide"
    assert app.query_params == {"a": "1", "hide": "menu"}
    assert late(app, "a").run().text[0].value == "a&hide", "the browser has not heard of it"
    app.query_params.clear()
    app.query_params["x"] = "1"
    assert app.run().text[0].value == "hide&x", "nor has a link that does not name it"
    assert press(app, "b") == "b&hide&x"
    assert press(app, "end") == "b&x" and app.query_params == {"b": "1", "x": "1"}


def test_an_address_that_the_browser_completed_is_still_an_older_one() -> None:
    app = AppTest.from_string(TRAVELLING, default_timeout=60)
    app.query_params["hide"] = "menu"
    app.run()
    app.query_params.clear()  # entered by the menu
    assert press(app, "a") == "a&hide"
    assert late(app).run().text[0].value == "a&hide"
    app.query_params.clear()
    app.query_params["hide"] = "menu"
    assert app.run().text[0].value == "a&hide" and app.query_params == {"a": "1", "hide": "menu"}
