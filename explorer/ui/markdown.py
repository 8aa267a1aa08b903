"""Names that somebody chose, for Markdown: they can neither format, link, draw nor run anything."""

import re

# Renderers of Markdown make a link of what looks like an address, escaped or not; a word joiner, which is not seen,
# takes its look away.
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_REORDERS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # signs that turn the text around them about
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=])")


def in_order(text: str) -> str:
    """The text without the signs that turn what stands around them about."""
    return _REORDERS.sub("", text)


def as_code(name: str) -> str:
    """The name in code letters."""
    shown = "".join(letter if letter.isprintable() else " " for letter in name)  # an empty line would end the code
    return f"`{shown.replace('`', chr(39)) or ' '}`"


def as_text(name: str) -> str:
    """The name in plain letters, each sign that Markdown, Streamlit or a formula could take for its own escaped."""
    return _SPECIAL.sub(r"\\\1", _ADDRESS.sub("\u2060", in_order(" ".join(name.split()))))
