"""Names that somebody chose, for Markdown: they can neither format, link, draw nor run anything."""

import re

from explorer.figures.names import in_order as in_order

# Renderers of Markdown make a link of what looks like an address, escaped or not; a word joiner, which is not seen,
# takes its look away.
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=])")


def as_code(name: str) -> str:
    """The name in code letters."""
    shown = "".join(letter if letter.isprintable() else " " for letter in name)  # an empty line would end the code
    return f"`{shown.replace('`', chr(39)) or ' '}`"


def as_text(name: str) -> str:
    """The name in plain letters, each sign that Markdown, Streamlit or a formula could take for its own escaped."""
    return _SPECIAL.sub(r"\\\1", _ADDRESS.sub("\u2060", in_order(" ".join(name.split()))))
