"""Names for Markdown, read by an independent parser of it: whatever the name, it is one text and nothing else."""

import re

import pytest

from explorer.ui.markdown import as_code, as_sentence, as_text

NAMES = [
    "**bold** _it_ ~gone~ `code` $x^2$ :red[x] :smile:",
    "[go](https://evil.example) ![i](https://evil.example/i)",
    "https://evil.example www.evil.example HTTP://evil.example a@evil.example",
    "<img src=x onerror=alert(1)> <b>",
    "# heading\n\n- item\n1. one\n> said\n---",
    "a\\*b | c",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_as_text_keeps_its_letters_and_loses_its_powers(name: str) -> None:
    text = as_text(name)
    assert re.sub(r"\\(.)", r"\1", text).replace("\u2060", "") == " ".join(name.split())
    bare = re.sub(r"\\.", "", text)  # what no backslash protects
    assert not re.search(r"[*_`\[\]()<>#~$:|!]", bare)
    shown = re.sub(r"\\(.)", r"\1", text)  # some renderers look for addresses only after the backslashes are gone
    assert not re.search(r"https?://|www\.|\w@\w", shown, re.IGNORECASE)


def test_what_reorders_the_text_around_it_is_left_out() -> None:
    assert as_text("\u202egnp.tac\u202c\u2066x") == as_text("gnp.tacx")
    assert "\u202e" not in as_code("\u202egnp")


def test_words_of_any_script_stay_as_they_are() -> None:
    for name in ("شجرة", "猫 と 犬", "Zürich", "🦀"):
        assert as_text(name) == name


@pytest.mark.parametrize("name", NAMES)
def test_a_sentence_keeps_its_code_and_takes_the_powers_of_the_names_in_it(name: str) -> None:
    bare = " ".join(name.replace("`", "'").split())
    said = as_sentence(f"{bare} has none; set `input_shape` of `{bare}` to that.")
    assert said == f"{as_text(bare)} has none; set `input_shape` of {as_code(bare)} to that\\."
    outside = re.sub(r"`[^`]*`", "", re.sub(r"\\.", "", as_sentence(f"{name} has none of `these`.")))
    assert not re.search(r"[*_`\[\]()<>#~$:|!]", outside), "whatever is code then"


def test_a_backtick_alone_makes_no_code() -> None:
    assert as_sentence("a` **b** is full.") == as_text("a` **b** is full.")
