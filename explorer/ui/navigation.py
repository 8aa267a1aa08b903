"""The pages and the ways between them: a page that is left and entered again shows what it showed."""

from collections.abc import Callable, Mapping

import streamlit as st


def run(pages: Mapping[str, tuple[str, Callable[[], None]]]) -> None:
    """Shows the page that the URL names. `pages` are (title, function) by the name in the URL, the first is the
    default one."""
    built = {
        name: st.Page(show, title=title, url_path=name, default=not index)
        for index, (name, (title, show)) in enumerate(pages.items())
    }
    st.session_state["pages"] = built
    page = st.navigation(list(built.values()), position="top")
    name = next(name for name, candidate in built.items() if candidate is page)
    views: dict[str, dict[str, str]] = st.session_state.setdefault("views", {})
    if st.session_state.get("page") != name and not st.query_params and views.get(name):
        st.query_params.from_dict(views[name])  # the menu's links know only the bare page
    st.session_state["page"] = name
    page.run()
    views[name] = st.query_params.to_dict()


def go(name: str, query: Mapping[str, str]) -> None:
    """Opens another page at that view. Not inside a callback."""
    st.switch_page(st.session_state["pages"][name], query_params=dict(query))
