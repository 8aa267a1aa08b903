"""Names that a user chose, and sentences with such names, as Markdown that shows them as plain text."""

import re
from collections.abc import Sequence

from explorer.figures.text_escaping import without_bidi as without_bidi

# Renderers of Markdown make links of addresses, escaped or not; an invisible word joiner prevents that.
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=])")


def as_code(name: str) -> str:
    """The name as code."""
    shown = "".join(letter if letter.isprintable() else " " for letter in name)  # an empty line would end the code
    return f"`{shown.replace('`', chr(39)) or ' '}`"


def as_text(name: str) -> str:
    """The name as text, with every special character of Markdown, Streamlit and formulas escaped."""
    return _plain(" ".join(name.split()))


def as_sentence(said: str) -> str:
    """A sentence of ours, as of an error or a run's log: code between backticks, text elsewhere. A name in it may have
    backticks of its own; then more or less of it is code."""
    text, *rest = " ".join(said.split()).split("`")
    if len(rest) % 2:
        return as_text(said)
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return _plain(text) + "".join(as_code(code) + _plain(after) for code, after in pairs)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A table of cells that are Markdown already: the first `texts` columns to the left, the others to the right."""
    rule = ["---"] * texts + ["---:"] * (len(heads) - texts)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", _ADDRESS.sub("\u2060", without_bidi(text)))
