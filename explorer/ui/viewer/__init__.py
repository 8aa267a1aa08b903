"""The viewer: ES modules that draw Explore in the browser, and the places on the page where Streamlit mounts them.

Streamlit keeps the code of a component behind an address of its own, from which relative imports fail. So a component
only imports the real module, which the server serves under a path with a hash of all modules, and hands itself over.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

STATIC = Path(__file__).parent / "static"
ROUTE = "viewer"


def _hash() -> str:
    content = hashlib.sha256()
    for file in sorted(STATIC.rglob("*.js")):
        content.update(file.relative_to(STATIC).as_posix().encode() + b"\0" + file.read_bytes())
    return content.hexdigest()[:12]


HASH = _hash()
"""Of all modules: a browser may keep them for ever under this path."""


def place(name: str, html: str, styles: tuple[str, ...], module: str = "main.js") -> Callable[..., Any]:
    """A component, with its name as its key, that the function `name` of that module mounts with these style sheets of
    `static/`."""
    component = st.components.v2.component(
        name,
        html=html,
        css="\n".join((STATIC / style).read_text(encoding="utf-8") for style in styles),
        js=(
            f'const module = await import(new URL("{ROUTE}/{HASH}/{module}", document.baseURI));\n'
            f"export default module.{name};\n"
        ),
    )
    return partial(component, key=name)
