"""What holds of every outcome: a valid result, or one clear sentence that tells nothing of this machine."""

import os
import re
import sys
import sysconfig
import tempfile
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parents[2]
TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
"""How many times as many examples as in the short form."""
LONGEST = 600
"""Letters of a sentence that a person still reads."""

_PLACES = {str(ROOT), tempfile.gettempdir(), str(Path.home()), sys.prefix, sys.base_prefix}
_PLACES |= {sysconfig.get_paths()["stdlib"], "site-packages"}
_PLACES = {place for place in _PLACES if len(place) > 4}
# Names of exceptions, and how Python and torch talk of what they met.
_INTERNAL = re.compile(
    r"Traceback|\b[A-Z]\w*(Error|Exception|Warning)\b|File \"|__init__\(|NoneType|<class |object at 0x|weights_only"
    r"|object is not|unexpected keyword|positional argument|unhashable|not subscriptable|has no attribute|not supported"
    r"|codec can't|surrogates|recursion depth|Errno"
)


def examples(short: int) -> settings:
    """The settings of a test with that many examples in the short form."""
    return settings(max_examples=short * TIMES)


def check_sentence(text: str) -> None:
    """Raises AssertionError for what is not one readable sentence, or tells of this machine or of our code."""
    assert text.isprintable() and text == text.strip() and text.endswith("."), f"no sentence: {text!r}"
    assert len(text) <= LONGEST, f"{len(text):,} letters: {text[:300]!r}"
    check_discreet(text)


def check_discreet(text: str) -> None:
    """Raises AssertionError where the text names a place of this machine, an exception, or Python's own words."""
    internal = _INTERNAL.search(text)
    assert internal is None, f"{internal and internal[0]!r} in {text!r}"
    assert not [place for place in _PLACES if place in text], f"a place of this machine in {text!r}"
