"""The pages and the links between them. A page that the user enters again by the menu shows its last view."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

from explorer import requirements
from explorer.errors import log_incident, unexpected_message
from explorer.figures import Chapter
from explorer.ui import bar, client, lesson, report, streamlit_internals, url_query
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.services.process_tuning import collect_garbage
from explorer.ui.session import session


def run(pages: Mapping[str, tuple[str, Callable[[], None]]]) -> None:
    """Shows the page of the URL. `pages` are (title, function) by their names in the URL; the first is the default.
    With a torch that is too old there is an error instead."""
    try:
        requirements.check_torch()
    except requirements.RequirementError as error:
        st.error(as_sentence(str(error)))
        return
    built = {
        name: st.Page(show, title=title, url_path=name, default=not index)
        for index, (name, (title, show)) in enumerate(pages.items())
    }
    session().pages = built
    page = st.navigation(list(built.values()), position="top")
    name = next(name for name, candidate in built.items() if candidate is page)
    if session().page != name:
        url_query.reset()
        session().entries += 1
        by_menu = not set(st.query_params) - {*url_query.TRAVELLING}  # its links have no query of their own
        session().entered_again = by_menu and name in session().views
        if by_menu and not session().page:
            session().pair = bar.first_view()
        if by_menu and (query := bar.into_query(name, session().view(name), session().pair)):
            url_query.write(query)
    session().page = name
    received = {field: value for field, value in st.query_params.items() if field not in url_query.TRAVELLING}
    if streamlit_internals.is_history_navigation() and bar.is_between(name, received):
        if received or not url_query.is_default():
            url_query.stands_for(bar.into_query(name, session().view(name), session().pair))
    bar.follow_query(name)
    lesson.begin_page()
    with error_boundary():
        if not lesson.hides("controls"):
            bar.show(name)
        page.run()
    with error_boundary():
        lesson.end_page()
        streamlit_internals.rerun_on_theme_change(client.theme())
    save_page_query()


def save_page_query() -> None:
    """Saves the query of the current page. A fragment that changes it calls this too."""
    page = session().page
    bar.follow_query(page)
    session().views[page] = url_query.read()


def on_script_error(error: Exception) -> bool:
    """Logs the error and shows a sentence with its id. Streamlit calls this (`app.py`) for errors outside of every
    `error_boundary`, as in a widget's callback; True, so that it shows nothing of its own."""
    st.error(unexpected_message(error))
    return True


def download_button(label: str, data: Callable[[], bytes | BytesIO | str], **options: Any) -> None:
    """A button that calls `data` when pressed and downloads the result; `options` are those of Streamlit's button.

    Streamlit calls `data` outside of any run and shows its own error; this logs it with an id.
    """

    def logged() -> bytes | BytesIO | str:
        try:
            return data()
        except Exception as error:
            log_incident(error)
            raise

    st.download_button(label, data=logged, on_click="ignore", **options)


def report_button(title: str, chapters: Callable[[], Sequence[Chapter]], stem: str, key: str, **options: Any) -> None:
    """A button that makes the report of this page when pressed: `chapters` is called then, with no run around it."""
    address = urlunsplit(("", "", session().page, urlencode(url_query.read()), ""))
    download_button(
        "Report (HTML)",
        data=lambda: BytesIO(report.html(title, chapters(), address)),
        file_name=f"{stem}.html",
        mime="text/html",
        key=key,
        **options,
    )


@contextmanager
def error_boundary() -> Iterator[None]:
    """For every page and fragment: shows any error as one sentence and logs the rest."""
    try:
        yield
    except Exception as error:
        session()  # ends a run that another one supersedes: both use one state, which may be all that went wrong
        on_script_error(error)
    finally:
        collect_garbage()


def view_url(name: str, query: Mapping[str, str]) -> str:
    """The full URL of that view."""
    current = urlsplit(st.context.url or "")
    folder = current.path.rsplit("/", 1)[0]
    page = session().pages[name].url_path  # "" of the first page
    fields = url_query.travelling() | dict(query)
    return urlunsplit((current.scheme, current.netloc, f"{folder}/{page}", urlencode(fields), ""))


def page_link(name: str, label: str, query: Mapping[str, str] | None = None) -> None:
    """A link to another page at that view, or as its menu opens it; nothing where the app has no such page."""
    if page := session().pages.get(name):
        fields = None if query is None else url_query.travelling() | dict(query)
        st.page_link(page, label=label, icon=":material/arrow_forward:", query_params=fields)


def ending(finding: str | Callable[[], None], name: str, question: str, query: Mapping[str, str] | None = None) -> None:
    """What a page has found (a sentence of plain text or none, or what draws it) and, as a link, the next question."""
    if not finding and name not in session().pages:
        return
    with st.container(border=True, key="finding"):
        if callable(finding):
            finding()
        elif finding:
            lesson.explain(f"**{as_text(finding)}**")
        page_link(name, question, query)


def switch_page(name: str, query: Mapping[str, str]) -> None:
    """Opens another page at that view. Not inside a callback."""
    st.switch_page(session().pages[name], query_params=url_query.travelling() | dict(query))
