"""File names whose encoding an archive does not tell: which encodings are possible, and which is the likeliest."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

ENCODINGS = {
    "utf-8": "utf-8",
    "gbk": "gb18030",
    "shift-jis": "cp932",
    "cp866": "cp866",
    "cp437": "cp437",
    "windows-1251": "cp1251",
    "windows-1252": "cp1252",
    "big5": "cp950",
    "euc-kr": "cp949",
}
"""Python's codec of each encoding; of equally likely ones the first is taken."""
TITLES = {
    "utf-8": "UTF-8",
    "gbk": "GBK, simplified Chinese",
    "shift-jis": "Shift-JIS, Japanese",
    "cp866": "CP866, Russian",
    "cp437": "CP437, Western European",
    "windows-1251": "Windows-1251, Russian",
    "windows-1252": "Windows-1252, Western European",
    "big5": "Big5, traditional Chinese",
    "euc-kr": "EUC-KR, Korean",
}
_DOUBLE = {"gbk", "shift-jis", "big5", "euc-kr"}
_SAMPLE = 500  # distinct parts of paths from which the encoding is guessed
_SHOWN = 4

# First bytes of the characters that each standard lists as common, and the value of such a character. GB 2312 level 1,
# JIS X 0208 signs, kana and level 1, Big5 level 1, and the Hangul of KS X 1001.
_COMMON = {
    "gbk": ((0xB0, 0xD7, 1.0), (0xD8, 0xF7, 0.4)),
    "shift-jis": ((0x81, 0x81, 0.5), (0x82, 0x83, 1.0), (0x88, 0x97, 1.0), (0x98, 0x9F, 0.4)),
    "big5": ((0xA4, 0xC6, 0.95), (0xC9, 0xF9, 0.3)),
    "euc-kr": ((0xB0, 0xC8, 0.95),),
}
_RUNS = re.compile(r"[^\W\d_]+|[^\x00-\x7f]")


def decode_names(names: Sequence[str | bytes], encoding: str | None = None) -> tuple[list[str], dict[str, str]]:
    """The names as text, and the encodings that are possible with some names in each, the one that was used first.

    Bytes are names of unknown encoding: UTF-8 where all of them are, else in the likeliest of `ENCODINGS`, or in the
    one that is given. The encodings are empty where there was nothing to guess: UTF-8 by chance has characters of two
    bytes. ValueError where the names are not in `encoding`.
    """
    unknown = [name for name in names if isinstance(name, bytes)]
    odd = [name for name in unknown if not _decodes([name], "utf-8")] or unknown
    possible = likeliest(odd)
    if not odd or (
        encoding is None and possible[:1] == ["utf-8"] and any(max(text) > "\u07ff" for text in _texts(odd))
    ):
        return [name if isinstance(name, str) else name.decode() for name in names], {}
    if encoding is not None:
        if encoding not in possible:
            raise ValueError(
                f"the names in the archive are not {encoding}; choose one of {', '.join(possible) or 'none'}."
            )
        possible = [encoding, *(other for other in possible if other != encoding)]
    if not possible:
        raise ValueError(
            "the names in the archive are in no encoding that is known here; rename them to plain letters."
        )
    chosen = possible[0]
    # UTF-8 by chance is likely for two bytes of a character, and unlikely for single ones between others.
    keeps_utf8 = not _decodes(unknown, chosen) or (encoding is None and chosen not in _DOUBLE)
    texts = [
        name
        if isinstance(name, str)
        else name.decode()
        if keeps_utf8 and _decodes([name], "utf-8")
        else name.decode(ENCODINGS[chosen])
        for name in names
    ]
    shown = _parts(odd if keeps_utf8 else unknown)[:_SHOWN]
    return texts, {each: ", ".join(part.decode(ENCODINGS[each], "replace") for part in shown) for each in possible}


def likeliest(names: Iterable[bytes]) -> list[str]:
    """The encodings that can be those of all names together, the likeliest first."""
    names = list(names)
    parts = _parts(names)[:_SAMPLE]
    scores = {each: 2.0 if each == "utf-8" else _score(parts, each) for each in ENCODINGS if _decodes(names, each)}
    return sorted(scores, key=lambda each: -scores[each])  # stable


def _texts(names: Iterable[bytes]) -> list[str]:
    return [name.decode() for name in names]


def _decodes(names: Iterable[bytes], encoding: str) -> bool:
    """Whether the names are text in that encoding: no control characters, and none that Unicode does not define."""
    try:
        text = b"/".join(names).decode(ENCODINGS[encoding])
    except UnicodeDecodeError:
        return False
    return not any(unicodedata.category(character) in ("Cc", "Cn", "Co") for character in {*text})


def _parts(names: Iterable[bytes]) -> list[bytes]:
    """The distinct parts of paths beyond ASCII, folders before files. 0x2F is no part of a longer character in any of
    the encodings, 0x5C is."""
    split = [name.removesuffix(b"/").split(b"/") for name in names]
    folders = dict.fromkeys(part for path in split for part in path[:-1] if not part.isascii())
    return list(folders | dict.fromkeys(path[-1] for path in split if not path[-1].isascii()))


def _score(parts: Sequence[bytes], encoding: str) -> float:
    """How much like names the parts read in that encoding: 0..1, weighted by bytes."""
    total, weights = 0.0, 0
    for part in parts:
        for run in _RUNS.findall(part.decode(ENCODINGS[encoding], "replace")):
            if run.isascii():
                continue
            word = _word_value(run)
            alone = 0.4 if re.search("[a-zA-Z]", run) else 1.0  # a character of two bytes inside of a Latin word
            for character in run:
                if not character.isascii():
                    stored = character.encode(ENCODINGS[encoding], "replace")
                    total += len(stored) * (word if len(stored) == 1 else alone * _double_value(stored, encoding))
                    weights += len(stored)
    mean = total / max(1, weights)
    # Hangul lies where GBK has the most common two thirds of its characters: so many Chinese ones all lie there rarely.
    is_korean = encoding == "euc-kr" and mean > 0.94 and len({*b"/".join(parts).decode("cp949")}) > 6
    return 1.05 if is_korean else mean


def _double_value(stored: bytes, encoding: str) -> float:
    for first, last, value in _COMMON.get(encoding, ()):
        if first <= stored[0] <= last and (stored[1] >= 0xA1 or encoding in ("shift-jis", "big5")):
            return value
    return 0.05


def _word_value(run: str) -> float:
    """Of letters of one byte each: a word has one script, and no capital after a small letter."""
    if not run[0].isalpha():
        return 0.0
    scripts = {unicodedata.name(character, "?").partition(" ")[0] for character in run}
    if "HALFWIDTH" in scripts:
        return 0.2
    is_word = len(scripts) == 1 and not any(a.islower() and b.isupper() for a, b in zip(run, run[1:], strict=False))
    return 0.9 if is_word else 0.1
