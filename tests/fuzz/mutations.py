"""Damage: to bytes, and to JSON."""

import copy
import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

EDGES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
"""Numbers at which readers of binary files go wrong."""

WORDS = (
    "",
    "none",
    "None",
    "null",
    "NaN",
    "-1",
    "0",
    "1e999",
    "9" * 30,
    "../../etc/passwd",
    "..\\..\\x",
    "C:\\x",
    "\0",
    "a\nb",
    "\u202egnp.exe",
    "\ud800",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:b) ![c](d) `e` **f** $g$ :red[h]",
    "{{}} {0} %s %n",
    "' OR 1=1 --",
    "x" * 300,
    "ｆｕｌｌ１２３",
    "٣",
)
"""Texts that people and programs stumble over."""


@st.composite
def damaged(draw: DrawFn, content: bytes) -> bytes:
    """`content` after one to four changes: bits flipped, numbers at their edges, stretches cut, doubled or inserted."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        size = len(data)
        at = draw(
            st.one_of(st.integers(0, min(size, 128)), st.integers(0, size), st.integers(max(0, size - 128), size))
        )
        kind = draw(st.sampled_from(("flip", "edge", "cut", "drop", "insert", "double", "zero", "move")))
        length = draw(st.sampled_from((1, 2, 4, 8, 20, 100)))
        if kind == "flip" and at < size:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "edge":
            width = draw(st.sampled_from((1, 2, 4, 8)))
            order = draw(st.sampled_from(("little", "big")))
            number = draw(st.sampled_from(EDGES)) % 256**width
            data[at : at + width] = number.to_bytes(width, order)
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + length]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
        elif kind == "double":
            data[at:at] = data[at : at + length]
        elif kind == "zero":
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif kind == "move":
            part = data[at : at + length]
            del data[at : at + length]
            data += part
    return bytes(data)


def words() -> st.SearchStrategy[str]:
    """A text of any kind, half characters included."""
    return st.one_of(st.sampled_from(WORDS), st.text(st.characters(exclude_categories=()), max_size=20))


def numbers() -> st.SearchStrategy[int | float]:
    edges = st.sampled_from((-1, 0, 1, 2, 10**6, 2**31, 2**63, 10**40, -(10**400), 0.5, -0.0, 1e308, 5e-324))
    return st.one_of(edges, st.integers(-5, 300), st.floats())


ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    7,
    10**6,
    2**31,
    2**63,
    10**40,
    -(10**400),
    0.5,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    *WORDS,
    [],
    [[]],
    [None],
    [1, 2, 3],
    [[1, 2], [3]],
    ["a", 1],
    [0] * 3000,
    {},
    {"": None},
    {"a": {"b": [{"c": None}]}},
    {"__class__": "x", "__init__": []},
)
"""JSON values that code forgets: NaN, infinities, and numbers of 400 digits included, as `json.loads` gives them."""


def json_values() -> st.SearchStrategy[Any]:
    """What `json.loads` can give."""
    odd = st.sampled_from(ODD).map(copy.deepcopy)
    return st.one_of(odd, odd, numbers(), words(), st.lists(odd, max_size=3), st.dictionaries(words(), odd, max_size=3))


@st.composite
def changed(draw: DrawFn, value: Any) -> Any:
    """A JSON value with one to three of its parts, at any depth, replaced, removed, doubled, added or swapped."""
    whole = [copy.deepcopy(value)]
    for _ in range(draw(st.integers(1, 3))):
        holders = list(_containers(whole))
        holder = draw(st.sampled_from(holders))
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        kinds = ("replace", "remove", "add", "copy") if holder is not whole else ("replace",)
        kind = draw(st.sampled_from(kinds)) if keys else "add"
        if kind == "add":
            new = draw(json_values())
            if isinstance(holder, dict):
                holder[draw(words())] = new
            else:
                holder.append(new)
        elif kind == "replace":
            holder[draw(st.sampled_from(keys))] = draw(json_values())
        elif kind == "remove":
            del holder[draw(st.sampled_from(keys))]
        else:  # a part in the place of another
            holder[draw(st.sampled_from(keys))] = copy.deepcopy(holder[draw(st.sampled_from(keys))])
    return whole[0]


def _containers(value: Any) -> Any:
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _containers(inner)


@st.composite
def changed_text(draw: DrawFn, value: Any) -> str:
    """The JSON text of a value that was changed, now and then damaged as a text too."""
    text = json.dumps(draw(changed(value)))
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(("", "{", "]", "[" * 3000, '"', "\\u", ",", "\0"))) + text[at + 1 :]
    return text
