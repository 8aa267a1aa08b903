"""What a session remembers: one object owns what several files use, and a file shares no key with another one."""

import ast
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from explorer.ui.session import session

ROOT = Path(__file__).parents[1]


def text_of(node: ast.expr | None, constants: dict[str, str]) -> str | None:
    """A key as it is written, `*` for what an f-string fills in; None for one that is computed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
    return None


def is_state(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "session_state"


def keys(source: str) -> Iterator[str]:
    """The keys of `st.session_state` in that file, those of its widgets among them."""
    tree = ast.parse(source)
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    for node in ast.walk(tree):
        found: list[str | None] = []
        if isinstance(node, ast.Subscript) and is_state(node.value):
            found = [text_of(node.slice, constants)]
        elif isinstance(node, ast.Attribute) and is_state(node.value):
            if node.attr not in ("get", "pop", "setdefault", "update"):
                found = [node.attr]
        elif isinstance(node, ast.Compare) and any(map(is_state, node.comparators)):
            found = [text_of(node.left, constants)]
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and is_state(node.func.value):
                found = [text_of(node.args[0], constants)] if node.args else [word.arg for word in node.keywords]
            else:
                found = [text_of(word.value, constants) for word in node.keywords if word.arg == "key"]
        # `functools.partial(st.session_state.update, name=value)`
        first = node.args[0] if isinstance(node, ast.Call) and node.args else None
        if isinstance(first, ast.Attribute) and ast.unparse(first).endswith("session_state.update"):
            assert isinstance(node, ast.Call)
            found = [word.arg for word in node.keywords]
        yield from filter(None, found)


def shared(sources: dict[str, str]) -> dict[str, set[str]]:
    """The keys that more than one of these files uses, with the names of the files."""
    places: dict[str, set[str]] = defaultdict(set)
    for name, source in sources.items():
        for key in keys(source):
            places[key].add(name)
    return {key: names for key, names in places.items() if len(names) > 1}


def test_no_key_of_the_session_is_used_in_two_files() -> None:
    folder = ROOT / "explorer"
    assert not shared({str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")})


@pytest.mark.parametrize(
    "source",
    [
        "st.session_state['a'] = 1",
        "del st.session_state['a']",
        "x = st.session_state.get('a', {})",
        "st.session_state.pop('a', None)",
        "st.session_state.setdefault('a', 1)",
        "st.session_state.update(a=1)",
        "partial(st.session_state.update, a=1)",
        "x = 'a' in st.session_state",
        "x = st.session_state.a",
        "KEY = 'a'\nst.session_state[KEY] = 1",
        "st.button('A', key='a')",
    ],
)
def test_a_shared_key_is_found(source: str) -> None:
    assert shared({"one": source, "two": "st.session_state['a']"}) == {"a": {"one", "two"}}
    assert not shared({"one": source, "two": "st.session_state['b']"})


def test_keys_that_name_something_else_are_told_apart() -> None:
    assert list(keys("st.button('A', key=f'a-{x}')")) == ["a-*"]
    assert not list(keys("sorted(names, key=len)\nst.session_state[key] = 1\nst.session_state[f(x)]"))


SCRIPT = """
import streamlit as st
from explorer.ui.session import SessionData, session
assert session() is session() and isinstance(session(), SessionData)
session().views["a"] = {}
st.write(str(len(session().views)))
st.button("Again")
"""


def test_a_session_keeps_its_data_from_run_to_run_and_another_has_its_own() -> None:
    app, stranger = AppTest.from_string(SCRIPT).run(), AppTest.from_string(SCRIPT).run()
    kept = app.session_state["session"]
    app.button[0].click().run()
    assert not app.exception and app.session_state["session"] is kept and kept.views == {"a": {}}
    assert stranger.session_state["session"] is not kept
    assert stranger.session_state["session"].results is not kept.results


def test_a_run_and_the_one_that_replaces_it_get_the_same_object(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, object] = {}
    monkeypatch.setattr(st, "session_state", state)
    together = threading.Barrier(8)
    found: list[object] = []

    def run() -> None:
        together.wait()
        found.append(session())

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(map(id, found))) == 1
