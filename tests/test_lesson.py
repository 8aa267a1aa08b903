"""Lessons: what a link hides stays hidden on every way, and a presentation is larger."""

import re
from pathlib import Path

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from explorer import figures
from explorer.ui import lesson, streamlit_internals
from explorer.ui.lesson import PARTS

PAGES = """
import streamlit as st
from explorer.ui import lesson, navigation, url_query

def page():
    st.button("write", on_click=url_query.write, args=({"picture": "sample-1-2"},))
    if st.button("other"):
        navigation.switch_page("b", {"x": "1"})
    st.text(f"{','.join(lesson.hidden()) or 'nothing'} {lesson.is_presented()} {navigation.view_url('b', {'x': '1'})}")
    lesson.explain("why")

navigation.run({name: (name, page if name == "a" else lambda: page()) for name in "ab"})
"""


def open_pages(**query: str) -> AppTest:
    app = AppTest.from_string(PAGES, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def press(app: AppTest, label: str) -> str:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception and not app.error
    return said(app)


def said(app: AppTest) -> str:
    return str(app.text[0].value)


def test_every_part_has_a_name_and_words_of_its_own() -> None:
    assert len({*PARTS.values()}) == len(PARTS)
    assert {*streamlit_internals.LESSON_PARTS} <= {*PARTS}
    assert all(name.isalpha() and name.islower() for name in PARTS)


def test_the_guide_lists_all_that_a_link_may_hide() -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guide" / "class.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", guide.partition("| `hide=` |")[2].partition("\n\n")[0], re.MULTILINE) == [
        *PARTS
    ]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("menu", ["menu"]),
        ("text,menu", ["menu", "text"]),
        ("menu,menu,,sidebar,<script>,TEXT, numbers", ["menu"]),
        ("everything", []),
        ("", []),
        ("x" * 10_000, []),
        (",".join(PARTS), [*PARTS]),
    ],
)
def test_a_link_hides_what_it_names_and_other_names_are_ignored(asked: str, found: list[str]) -> None:
    assert said(open_pages(hide=asked)).startswith(f"{','.join(found) or 'nothing'} False")


def test_what_a_lesson_hides_stays_on_every_way() -> None:
    app = open_pages(hide="text,foo", present="1")
    assert said(app).startswith("text True") and "hide=text" in said(app) and "present=1" in said(app)
    assert press(app, "write").startswith("text True")
    assert app.query_params == {"picture": "sample-1-2", "hide": "text,foo", "present": "1"}
    app.query_params.clear()  # the menu's links have no query
    app.run()
    assert said(app).startswith("text True")
    assert press(app, "other").startswith("text True")
    assert app.query_params == {"x": "1", "picture": "sample-1-2", "hide": "text,foo", "present": "1"}
    assert "why" not in [element.value for element in app.markdown]


def test_who_is_shown_everything_stays_out_of_the_lesson() -> None:
    app = open_pages(hide="text", picture="sample-1-2")
    assert press(app, "Show everything").startswith("nothing False")
    assert app.query_params == {"picture": "sample-1-2"}
    assert "why" in [element.value for element in app.markdown]
    app.query_params["hide"] = "text"  # a request that the browser sent before it heard of it
    assert said(app.run()).startswith("nothing False")


def test_the_button_enters_and_leaves_the_presentation() -> None:
    app = open_pages(hide="text")
    assert press(app, "Present").startswith("text True")
    assert app.query_params == {"hide": "text", "present": "1"}
    assert press(app, "Leave").startswith("text False")
    assert app.query_params == {"hide": "text"}


def test_the_fields_of_a_link_say_the_same_whatever_the_order() -> None:
    assert lesson.fields(["text", "menu"]) == lesson.fields(["menu", "text", "text"]) == {"hide": "menu,text"}
    assert lesson.fields([]) == {}


# --- charts -----------------------------------------------------------------------------------------------------------


def test_an_enlarged_chart_has_larger_type_and_the_same_values() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], text=["a", "b"], textfont={"size": 10}, marker={"size": 6}))
    figure.update_layout(height=200, margin={"t": 10, "l": 0}, xaxis={"tickfont": {"size": 8}})
    figure.add_annotation(text="a", font={"size": 20})
    large = figures.enlarged(figure, 1.5)
    layout = large.layout
    assert (large.data[0].textfont.size, layout.xaxis.tickfont.size, layout.annotations[0].font.size) == (15, 12, 30)
    assert (layout.yaxis.tickfont.size, layout.yaxis.title.font.size, layout.legend.font.size) == (18, 21, 18)
    assert (layout.height, layout.margin.t, layout.margin.l, layout.margin.r) == (300, 15, 16, None)
    assert large.data[0].marker.size == 6 and list(large.data[0].y) == [3, 4]
    assert figure.layout.height == 200 and figure.layout.font.size is None, "the given one stays"


def test_what_a_chart_does_not_have_is_not_made() -> None:
    heat = go.Figure(go.Heatmap(z=[[1, 2]], colorbar={"title": {"text": "size"}}))
    large = figures.enlarged(heat, 2)
    assert large.data[0].colorbar.tickfont.size == 24 and large.data[0].colorbar.title.font.size == 28
    assert large.layout.height is None and not large.layout.annotations
