"""Who looks at the page: a secret of their browser, and whether it is light or dark."""

import secrets
from typing import Literal

import streamlit as st

from explorer import runs
from explorer.ui.session import session

COOKIE = "explorer_owner"


def owner() -> str:
    """Who this person is: a secret that their browser keeps in a cookie, so that they find their runs again."""
    known = _known_owner()
    if known:
        return known
    here = session()
    if not here.owner:
        here.owner = secrets.token_hex(16)
    return here.owner


def _known_owner() -> str | None:
    cookie = st.context.cookies.get(COOKIE)
    return cookie if isinstance(cookie, str) and runs.OWNER.fullmatch(cookie) else None


def remember_owner() -> None:
    """Gives the browser its secret, where it has none yet."""
    if not _known_owner():
        _cookie(key="cookie", data=f"{COOKIE}={owner()}; path=/; max-age=31536000; SameSite=Strict", height=0)


_cookie = st.components.v2.component(
    "cookie", js="export default function (component) {\n  document.cookie = component.data;\n}\n"
)


def theme() -> Literal["light", "dark"]:
    return "dark" if st.context.theme.type == "dark" else "light"


def follow_theme() -> None:
    """Runs the page again when the visitor, or the evening, turns it light or dark: Streamlit itself changes its own
    colours then, and leaves those of our charts and strips as they were drawn."""
    _theme(key="theme", data=theme(), height=0, on_theme_change=lambda: None)


FOLLOW = """
const schemeOf = () => getComputedStyle(document.querySelector('[data-testid="stApp"]')).colorScheme;

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const app = document.querySelector('[data-testid="stApp"]');
  app.dataset.drawn = data;  // for which theme the page above is drawn
  parentElement.observer?.disconnect();  // this is called after every run
  parentElement.asked = undefined;
  const follow = () => {
    clearTimeout(parentElement.later);
    const scheme = schemeOf();
    if (scheme === data) parentElement.times = 0;
    // A run that was asked for too early still has the old theme from Streamlit, so this asks again, but not for ever.
    if (scheme === data || scheme === parentElement.asked || parentElement.times >= 3) return;
    if (app.dataset.testScriptState !== 'notRunning') {  // what is being measured goes on to its end
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
_theme = st.components.v2.component("theme", js=FOLLOW)
