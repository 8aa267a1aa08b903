"""Names that somebody chose, where words are read as HTML: they neither mark up nor reorder what stands around them."""

import html
import re

_REORDERS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def in_order(text: str) -> str:
    """The text without the signs that turn what stands around them about."""
    return _REORDERS.sub("", text)


def shortened(text: str, longest: int) -> str:
    """At most so many letters of it."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def in_template(text: str) -> str:
    """As it is written in a hover template of Plotly, where a name could ask for values of its own."""
    return escaped(text).replace("%{", "% {")


def escaped(text: str) -> str:
    """As it is written in HTML, which Plotly reads too."""
    return html.escape(in_order(text))
