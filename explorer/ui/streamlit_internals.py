"""Every use of what Streamlit does not document: tried on Streamlit 1.67."""

from collections.abc import Collection, Iterator, Mapping

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.session_manager import ActiveSessionInfo
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed as is_host_allowed

HEALTH = "/_stcore/health"
"""The end of the path at which a browser asks whether the server is there, before it opens a session."""

XSRF_COOKIE = "_streamlit_xsrf"
"""The cookie that the answer to that request sets. An upload without it is refused."""

PRESENTED = 1.25
"""The size of type in a presentation, relative to that of a page."""


def is_history_navigation() -> bool:
    """Whether the user's Back or Forward caused this run.

    Streamlit 1.67 keeps this in the context of the run. `st.query_params` shows the query alone, which a late
    request may have too.
    """
    run = get_script_run_ctx()
    return run is not None and run.is_history_navigation


class _LiveSessionList(list[ActiveSessionInfo]):
    """The connected sessions. Each is looked up again when its turn comes."""

    def __init__(self, sessions: Mapping[str, ActiveSessionInfo]) -> None:
        super().__init__(sessions.values())
        self._sessions = sessions

    def __iter__(self) -> Iterator[ActiveSessionInfo]:
        for before in super().__iter__():
            if now := self._sessions.get(before.session.id):
                yield now


def patch_session_iteration() -> None:
    """Lets Streamlit's event loop send each message to the current connection of its session.

    `Runtime._loop_coroutine` of Streamlit 1.67 sends to one session after the other, from a list that it made before.
    With many users that takes seconds. A session that reconnects meanwhile would lose its messages, and its page would
    wait for ever.
    """

    def list_active_sessions(manager: WebsocketSessionManager) -> list[ActiveSessionInfo]:
        return _LiveSessionList(manager._active_session_info_by_id)

    WebsocketSessionManager.list_active_sessions = list_active_sessions  # type: ignore[assignment]


LESSON_PARTS = {
    # In a narrow window the menu is in the sidebar, alone.
    "menu": "[data-testid^=stTopNav], [data-testid=stSidebar], [data-testid=stExpandSidebarButton]",
    "numbers": "[data-testid=stDataFrame], [data-testid=stMarkdownContainer] table",
    "downloads": "[data-testid=stDownloadButton]",
    "text": "[data-testid=stCaptionContainer]",
}


def style_page(hidden: Collection[str], presented: bool) -> None:
    """Changes Streamlit's own elements where its theme has no option for it, hides those of these parts of a page, and
    enlarges the others for a presentation. The names are those of 1.67's page."""
    places = [LESSON_PARTS[part] for part in {*hidden, *(["menu"] if presented else [])} if part in LESSON_PARTS]
    rules = [f"{place} {{ display: none !important }}" for place in places]
    # Components know what is hidden by `--lesson-text` and the like.
    rules.append(f":root {{ {' '.join(f'--lesson-{part}: none;' for part in hidden)} }}")
    if "controls" in hidden and not presented:  # without the bar the page would begin under the menu
        rules.append(".stMainBlockContainer { padding-top: 4.25rem }")
    if presented:
        # A chart of Plotly in a zoomed place would not know where the pointer is; `charts.chart` enlarges it instead.
        rules.append(f"[data-testid=stMainBlockContainer] {{ zoom: {PRESENTED} }}")
        rules.append(f"[data-testid=stPlotlyChart] {{ zoom: {1 / PRESENTED} }}")
        rules.append("[data-testid=stHeader] { display: none }")
    light, dark = st.get_option("theme.light.linkColor"), st.get_option("theme.dark.linkColor")
    st.html(f"""<style>
        .stMainBlockContainer {{ padding: 2.5rem 2.5rem 4rem }}  /* the strip needs the width */
        /* The menu lies over the top of the page: of a heading over its margin, of a box over its first line. */
        .stMainBlockContainer > .stVerticalBlock > :nth-child(-n+2):has(> .stAlert) {{ margin-top: 1.75rem }}
        /* Streamlit's "Stop" in the corner stops no training, and leaves half a page. */
        [data-testid=stStatusWidget] button {{ display: none }}
        /* The page takes the focus, so that the arrow keys scroll it. */
        [data-testid=stMain]:focus-visible {{ outline: 2px solid; outline-offset: -2px }}
        /* The grey of a chart's text has 3.7:1 on white. */
        [data-testid=stPlotlyChart] text[style*="rgb(128, 132, 149)"] {{
            fill: currentColor !important; fill-opacity: 0.75
        }}
        /* The accent is too dark for text in the dark theme; the colour of links is legible. */
        [data-selected=true] p, [data-testid=stSliderThumbValue] p {{ color: light-dark({light}, {dark}) }}
        [data-testid=stPageLink] * {{ white-space: normal }}  /* a question that is wider than a phone */
        [data-testid=stMarkdownContainer]:has(> table th:nth-child(6)) {{ overflow-x: auto }}  /* a wide table */
        @media (max-width: 640px) {{
            [data-testid=stMarkdownContainer] > table {{ font-size: 0.8rem; overflow-wrap: anywhere }}
            [data-testid=stMarkdownContainer] > table :is(th, td) {{ padding: 0.2rem }}
        }}
        .st-key-bar {{ min-height: 5.75rem }}  /* the page does not jump when it comes */
        .st-key-present {{ position: fixed; top: 0.7rem; right: 4rem; width: auto; z-index: 999991 }}
        {" ".join(rules)}
    </style>""")


THEME_SYNC_JS = """
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const app = document.querySelector('[data-testid="stApp"]');
  app.dataset.drawn = data;  // for which theme the page above is drawn
  parentElement.observer?.disconnect();  // this is called after every run
  parentElement.asked = undefined;
  const follow = () => {
    clearTimeout(parentElement.later);
    const scheme = getComputedStyle(app).colorScheme;
    if (scheme === data) parentElement.times = 0;
    // A run that starts too early still has the old theme, so this asks again, but not for ever.
    if (scheme === data || scheme === parentElement.asked || parentElement.times >= 3) return;
    if (app.dataset.testScriptState !== 'notRunning') {  // a measurement goes on to its end
      parentElement.later = setTimeout(follow, 300);
      return;
    }
    parentElement.asked = scheme;
    parentElement.times = (parentElement.times ?? 0) + 1;
    setTriggerValue('theme', scheme);
  };
  parentElement.observer = new MutationObserver(follow);
  parentElement.observer.observe(app, { attributeFilter: ['class'] });
  follow();
  return () => parentElement.observer.disconnect();
}
"""
_theme = st.components.v2.component("theme", js=THEME_SYNC_JS)


def rerun_on_theme_change(theme: str) -> None:
    """Runs the page again when the browser turns "light" or "dark" and `theme` is the other one.

    Streamlit 1.67 recolours its own elements without a run, and charts with colours of their own stay as they are. The
    browser's script reads the theme and the state of the run from attributes of Streamlit's page.
    """
    _theme(key="theme", data=theme, height=0, on_theme_change=lambda: None)
