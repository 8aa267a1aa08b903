"""`label_tables`: the tables of a source whose rows name its pictures, with their labels and splits."""

import csv
import io
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from explorer.datasets.name_encodings import ENCODINGS, likeliest
from explorer.datasets.split_names import split_in, split_of
from explorer.datasets.untrusted_files import MAX_FILES, TOO_LARGE, FilePath, Listing, UnreadableError, quote, stem

MAX_TABLE = 2**25
"""Bytes of a table of labels; the longest that is useful has `MAX_FILES` lines."""
ONE_HOT = "the columns of the classes"
LABEL_COLUMNS = {"label", "labels", "class", "classes", "class_name", "classname", "category", "target", "species"}
LABEL_COLUMNS |= {"breed", "diagnosis", "dx", "y"}
_SPLIT_COLUMNS = {"split", "set", "subset", "partition"}
_TABLES = (".csv", ".tsv", ".txt")
_MAX_TABLES, _MAX_ROWS, _MAX_COLUMNS, _SAMPLE = 20, 2 * MAX_FILES, 200, 300


@dataclass(frozen=True, eq=False)
class LabelTable:
    """A table of file names: a title for each column, which one has the names, the row of each picture in it, and the
    line from which it cannot be read, 0 for none."""

    path: FilePath
    titles: list[str]
    names: int
    rows: dict[FilePath, list[str]]
    broken: int

    def notes(self) -> list[str]:
        return [f"The table {quote(self.path)} cannot be read from line {self.broken:,} on."] if self.broken else []

    def labels(self, every: bool = False) -> dict[str, dict[FilePath, str]]:
        """The labels of the pictures by each column that can hold labels, or by every one, those called so first."""
        columns = {}
        for column, title in enumerate(self.titles):
            values = {path: " ".join(cell.split()) for path, row in self.rows.items() if (cell := row[column].strip())}
            if column != self.names and (every or len({*values.values()}) <= max(1, len(values) // 2)):
                columns[title] = values
        called = {title: columns[title] for title in columns if title.lower() in LABEL_COLUMNS}
        return called | self._one_hot() | columns

    def _one_hot(self) -> dict[str, dict[FilePath, str]]:
        """The titles of the columns in which the rows have their only 1, where the others of these columns are 0."""
        ones = {"1", "1.0"}
        cells = [
            place
            for place in range(len(self.titles))
            if place != self.names and all(row[place].strip() in {*ones, "0", "0.0"} for row in self.rows.values())
        ]
        hot = {path: [place for place in cells if row[place].strip() in ones] for path, row in self.rows.items()}
        if len(cells) < 2 or any(len(each) != 1 for each in hot.values()):
            return {}
        return {ONE_HOT: {path: self.titles[place] for path, (place,) in hot.items()}}

    def splits(self) -> dict[FilePath, str]:
        """The split of each picture, where a column tells it."""
        for column, title in enumerate(self.titles):
            told = {path: split for path, row in self.rows.items() if (split := split_of(row[column].strip()))}
            if title.lower() in _SPLIT_COLUMNS and len(told) == len(self.rows):
                return told
        return {}


def label_tables(listing: Listing, pictures: Sequence[FilePath]) -> tuple[list[LabelTable], list[str]]:
    """The tables that name pictures, and a sentence on each that cannot be read whole. Files are read in the order of
    the source; where there are many, those nearest to its root."""
    paths = [path for path in listing.files if path[-1].lower().endswith(_TABLES)]
    index = PictureIndex(pictures if paths else ())
    nearest = sorted(paths, key=lambda path: (path[-1].lower().endswith(".txt"), len(path), path))[:_MAX_TABLES]
    found, problems = [], []
    for path in paths:
        if path not in nearest:
            continue
        try:
            rows, broken = _rows(listing.files[path](MAX_TABLE))
        except UnreadableError as error:
            rows, broken = [] if error.reason != TOO_LARGE else None, 0
        if rows is None:
            problems.append(
                f"the table {quote(path)} is longer than {_MAX_ROWS:,} lines or {MAX_TABLE // 2**20} MB; leave in it "
                "the lines of these images."
            )
        elif rows and (table := _table(path, rows, broken, index)):
            found.append(table)
            if broken:
                problems.append(
                    f"the table {quote(path)} cannot be read from line {broken:,} on; mend its quotes there."
                )
    return sorted(found, key=lambda table: (len(table.path), table.path)), problems


class PictureIndex:
    """The pictures in the order of their paths from the end, without case, each with and without its ending: those that
    a cell of a table can mean lie side by side, and are found in a time that hardly grows with their number."""

    def __init__(self, pictures: Sequence[FilePath]) -> None:
        entries = sorted(
            ((name, *(part.lower() for part in path[-2::-1])), path)
            for path in pictures
            for name in {path[-1].lower(), stem(path).lower()}
        )
        self._keys, self._paths = [key for key, _ in entries], [path for _, path in entries]
        splits = {folder: split_of(folder) for folder in {part for path in pictures for part in path[:-1]}}
        self._of_split: dict[str | None, list[int]] = {}
        """The places of the pictures inside a folder of each split, in order."""
        for place, path in enumerate(self._paths):
            for split in {splits[folder] for folder in path[:-1]}:
                self._of_split.setdefault(split, []).append(place)

    def find(self, cell: str, hints: set[str]) -> FilePath | None:
        """The one picture that a cell names, with or without folders and ending; of several the only one inside a
        folder of a split in `hints`. The cell is only looked up."""
        parts = [part for part in re.split(r"[/\\]", cell.strip().lower()) if part not in ("", ".")][::-1]
        first, end = self._range(parts[:1]) if parts else (0, 0)
        if end - first > 1 and len(parts) > 1:
            first, end = self._range(parts)
        if end - first > 1:  # `train.csv` is about the folder `train`
            inside = set()
            for places in (self._of_split.get(hint, []) for hint in hints):
                start = bisect_left(places, first)
                inside |= {place for place in places[start : start + 2] if place < end}  # two are several
            return self._paths[inside.pop()] if len(inside) == 1 else None
        return self._paths[first] if end > first else None

    def _range(self, parts: Sequence[str]) -> tuple[int, int]:
        """The places of the pictures whose path ends with the parts, which are from the end."""
        following = (*parts[:-1], parts[-1] + "\0")  # the least text behind the last part
        return bisect_left(self._keys, tuple(parts)), bisect_left(self._keys, following)


def _table(path: FilePath, rows: list[list[str]], broken: int, index: PictureIndex) -> LabelTable | None:
    """The table of these rows; None where no column has names of pictures in half of some rows."""
    hints = {split for part in (*path[:-1], stem(path)) if (split := split_in(part))}
    sample = rows[:: max(1, len(rows) // _SAMPLE)]
    hits = [sum(index.find(row[column], hints) is not None for row in sample) for column in range(len(rows[0]))]
    names = hits.index(max(hits))
    if 2 * hits[names] < len(sample) - 1:
        return None
    matched: dict[FilePath, list[str]] = {}
    for row in rows:
        if (picture := index.find(row[names], hints)) is not None:
            matched.setdefault(picture, row)
    if not matched:
        return None
    header = [] if any(row is rows[0] for row in matched.values()) else [cell.strip() for cell in rows[0]]
    titles = [
        title if title and header.count(title) == 1 else f"column {number}"
        for number, title in enumerate(header or [""] * len(rows[0]), start=1)
    ]
    return LabelTable(path, titles, names, matched, broken)


def _rows(content: bytes) -> tuple[list[list[str]] | None, int]:
    """The rows of a table with as many cells as most of its first rows; none for another text, None for more than
    `_MAX_ROWS`. And the line from which it cannot be read, 0 for none."""
    text = _text(content)
    first = text[: 2**16].splitlines()[:_SAMPLE]
    best: tuple[int, int, int, str] = (0, 0, 0, "")
    for delimiter in ",;\t|":
        rows, broken = _parsed(first, delimiter)
        lengths = Counter(map(len, rows))
        width, count = max(lengths.items(), key=lambda pair: (pair[0] > 1, pair[1]), default=(1, 0))
        if 1 < width <= _MAX_COLUMNS:
            best = max(best, (count, broken - 1 if broken else len(first), width, delimiter), key=lambda each: each[0])
    count, lines, width, delimiter = best
    if 2 * count < lines or not count:
        return [], 0
    rows, broken = _parsed(io.StringIO(text, newline=""), delimiter)
    return ([row for row in rows if len(row) == width] if len(rows) <= _MAX_ROWS else None), broken


def _parsed(lines: Iterable[str], delimiter: str) -> tuple[list[list[str]], int]:
    """The rows by RFC 4180, at most one more than `_MAX_ROWS`, and the line of the first that cannot be read, 0 for
    none: also of one whose stray quote takes in lines behind it."""
    taken: list[str] = []
    rows: list[list[str]] = []
    line = 1

    def noted() -> Iterator[str]:
        for each in lines:
            taken.append(each)
            yield each

    try:
        for row in islice(csv.reader(noted(), delimiter=delimiter, skipinitialspace=True), _MAX_ROWS + 1):
            if len(taken) > 1:
                list(csv.reader(taken, delimiter=delimiter, skipinitialspace=True, strict=True))
            rows.append(row)
            line += len(taken)
            taken.clear()
    except csv.Error:
        return rows, line
    return rows, 0


def _text(content: bytes) -> str:
    """A table as text: by its byte order mark, as UTF-8, or in the likeliest encoding."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        possible = likeliest(content[: 2**16].split(b"\n")[:-1])
        return content.decode(ENCODINGS[possible[0]] if possible else "latin-1", "replace")
