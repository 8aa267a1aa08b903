"""Names that somebody chose, for Markdown: they can neither format, link, draw nor run anything."""

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=])")


def as_code(name: str) -> str:
    """The name in code letters."""
    shown = "".join(letter if letter.isprintable() else " " for letter in name)  # an empty line would end the code
    return f"`{shown.replace('`', chr(39)) or ' '}`"


def as_text(name: str) -> str:
    """The name in plain letters, each sign that Markdown, Streamlit or a formula could take for its own escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(name.split()))
