"""Names that users chose, escaped for HTML and Plotly: they neither mark up nor reorder the text around them."""

import html
import re

_REORDERS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def without_bidi(text: str) -> str:
    """The text without the signs that change the direction of the text around them."""
    return _REORDERS.sub("", text)


def shortened(text: str, longest: int) -> str:
    """The text, cut to `longest` letters with an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def escape_template(text: str) -> str:
    """The text for a hover template of Plotly, where a name could insert values."""
    return escape_html(text).replace("%{", "% {")


def escape_html(text: str) -> str:
    """The text for HTML, which Plotly reads too."""
    return html.escape(without_bidi(text))
