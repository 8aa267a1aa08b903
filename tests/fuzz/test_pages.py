"""Pages opened by links that nobody made: each shows a view, or says in a sentence what is wrong with the link."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from streamlit.testing.v1 import AppTest

from explorer.ui import question
from explorer.ui.pages import gradients
from explorer.ui.session import SessionData
from tests.fuzz.laws import check_discreet, examples
from tests.fuzz.test_links import links
from tests.messages import written

PAGE = """
from explorer.ui import navigation
from explorer.ui.pages import {0}

navigation.run({{"{0}": ("{0}", {0}.show)}})
"""
INCIDENT = "Something went wrong that should not have"  # of explorer/ui/navigation.py: an error that nobody foresaw


def opened(page: str, link: dict[str, str], owner: str | None = None) -> AppTest:
    app = AppTest.from_string(PAGE.format(page), default_timeout=120)
    if owner:
        app.session_state["session"] = SessionData(owner=owner)
    for name, value in link.items():
        app.query_params[_sent(name)] = _sent(value)
    return app.run()


def _sent(text: str) -> str:
    """What arrives of a text: no browser can send half a character."""
    return text.encode(errors="replace").decode()


def words_of(app: AppTest) -> Iterator[str]:
    for kind in (app.markdown, app.caption, app.info, app.warning, app.error, app.header, app.subheader):
        yield from (element.value for element in kind)
    yield from written(app)


def check_page(page: str, link: dict[str, str]) -> None:
    check_app(opened(page, link))


def check_app(app: AppTest) -> None:
    """Raises AssertionError for an exception, for the sentence that stands for one, and for internal words."""
    assert not app.exception, [element.message for element in app.exception]
    said = list(words_of(app))
    assert said, "the page is empty"
    for text in said:
        assert INCIDENT not in text, text
        check_discreet(text)


@given(links("explore"))
@examples(3)
def test_explore_shows_a_view_for_any_link(link: dict[str, str]) -> None:
    check_page("explore", link)


@given(links("build"))
@examples(3)
def test_build_and_train_shows_a_form_for_any_link(link: dict[str, str]) -> None:
    check_page("build", link)


@given(links("compare"))
@examples(2)
def test_compare_shows_a_view_for_any_link(link: dict[str, str]) -> None:
    check_page("compare", link)


@given(links("gradients"))
@examples(3)
def test_gradients_shows_a_view_for_any_link(link: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for place in (gradients, question):
            patched.setattr(place, "STARTS_BY_ITSELF", 0)  # what a link measures takes seconds each
        check_page("gradients", link)


@given(links("models"))
@examples(2)
def test_models_shows_its_table_for_any_link(link: dict[str, str]) -> None:
    check_page("models", link)


def test_an_error_that_nobody_foresaw_is_an_id_on_the_page_and_all_of_it_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a real page, whose innermost part fails as nobody expects: the page tells the id alone, the log the rest."""
    from explorer.ui.models import model_table

    def broken() -> None:
        raise LookupError("/secret/place")

    monkeypatch.setattr(model_table, "model_rows", broken)
    with caplog.at_level(logging.ERROR):
        app = opened("models", {"model": "x"})
    assert not app.exception
    (error,) = [element.value for element in app.error if INCIDENT in element.value]
    check_discreet("\n".join(words_of(app)))
    assert "/secret" not in error and "LookupError" not in error
    incident = error.split("incident ")[1].split(")")[0]
    (logged,) = [record for record in caplog.records if incident in record.getMessage()]
    assert logged.exc_text is None or "LookupError: /secret/place" in logged.exc_text
    assert logged.exc_info and logged.exc_info[0] is LookupError
    trace = logging.Formatter().formatException(logged.exc_info)
    assert "Traceback" in trace and "in broken" in trace and "/secret/place" in trace
