"""The pages and the ways between them: a page that is left and entered again shows what it showed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from explorer import requirements
from explorer.errors import log_incident, unexpected_message
from explorer.ui import address, visitor
from explorer.ui.markdown import as_sentence
from explorer.ui.services.process_tuning import collect_garbage
from explorer.ui.session import session

WIDE = ".stMainBlockContainer { padding: 2.5rem 2.5rem 4rem }"  # the strip needs the width
# The menu lies over the top of the page: of a heading over its margin, of a box over its first line.
BELOW_THE_MENU = ".stMainBlockContainer > .stVerticalBlock > :nth-child(-n+2):has(> .stAlert) { margin-top: 1.75rem }"
# Streamlit's own sign of work in the corner has a "Stop" too. It stops no training, and leaves half a page. Where
# something can be stopped, the page has its own.
ONE_STOP = "[data-testid=stStatusWidget] button { display: none }"
# Streamlit writes what is chosen in the accent, which in the dark theme is too dark for text: as a link it is legible.
CHOSEN = """
    [data-selected=true] p, [data-testid=stSliderThumbValue] p { color: light-dark(%s, %s) }
"""
# In a light theme Streamlit gives the words of a chart this grey, which has 3.7:1 on white.
LEGIBLE = """
    [data-testid=stPlotlyChart] text[style*="rgb(128, 132, 149)"] { fill: currentColor !important; fill-opacity: 0.75 }
"""
# The page itself takes the focus, so that the arrow keys scroll it; Streamlit does not show that.
FOCUSED = "[data-testid=stMain]:focus-visible { outline: 2px solid; outline-offset: -2px }"


def run(pages: Mapping[str, tuple[str, Callable[[], None]]]) -> None:
    """Shows the page that the URL names. `pages` are (title, function) by the name in the URL, the first is the
    default one. None is shown with a torch that is too old."""
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
        address.forget()
        session().entries += 1
        session().entered_again = not st.query_params and name in session().views
        if session().entered_again and (view := session().view(name)):
            address.write(view)  # the menu's links know only the bare page
    session().page = name
    _guarded(page.run)
    remember()


def remember() -> None:
    """Keeps the view of the page that is shown; a part of it that runs again alone calls this too."""
    query = address.query()
    here = session()
    here.views[here.page] = query


def _guarded(show: Callable[[], None]) -> None:
    chosen = CHOSEN % (st.get_option("theme.light.linkColor"), st.get_option("theme.dark.linkColor"))
    st.html(f"<style>{WIDE} {BELOW_THE_MENU} {ONE_STOP} {FOCUSED} {LEGIBLE} {chosen}</style>")
    with boundary():
        show()
        visitor.follow_theme()


def failed(error: Exception) -> bool:
    """Says on the page that something went wrong. Streamlit calls this (`app.py`) for what happens outside of every
    `boundary`, as in the callback of a widget; True, so that it adds nothing of its own."""
    st.error(unexpected_message(error))
    return True


def offer_file(label: str, data: Callable[[], bytes | BytesIO | str], **options: Any) -> None:
    """A button that downloads what `data` gives once it is pressed; `options` are those of Streamlit's own button.

    Streamlit calls `data` outside of any run, and says itself that the file could not be made; the log has an id here.
    """

    def made() -> bytes | BytesIO | str:
        try:
            return data()
        except Exception as error:
            log_incident(error)
            raise

    st.download_button(label, data=made, on_click="ignore", **options)


@contextmanager
def boundary() -> Iterator[None]:
    """Around every page, and every part of one that runs again alone: whatever goes wrong, a person sees one sentence,
    and the log has the rest."""
    try:
        yield
    except Exception as error:
        _end_if_replaced()
        failed(error)
    finally:
        collect_garbage()


def _end_if_replaced() -> None:
    """Ends a run that Streamlit has stopped for another one (`runner.fastReruns`). Nobody sees it any more, and until
    it hears of that both use the state of the session at once: what goes wrong in it may be no more than that."""
    if run := get_script_run_ctx():
        run.yield_check()


def link(name: str, query: Mapping[str, str]) -> str:
    """The address of that view, for somebody else."""
    here = urlsplit(st.context.url or "")
    page = session().pages[name].url_path  # "" of the first page
    folder = here.path.rsplit("/", 1)[0]
    return urlunsplit((here.scheme, here.netloc, f"{folder}/{page}", urlencode(query), ""))


def go(name: str, query: Mapping[str, str]) -> None:
    """Opens another page at that view. Not inside a callback."""
    st.switch_page(session().pages[name], query_params=dict(query))
