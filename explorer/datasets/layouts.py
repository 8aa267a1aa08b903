"""Which class and split each picture of a source belongs to: by its folder, by a table, or by its own name.

One file: the three ways share the index of the pictures and the names of splits.
"""

import csv
import io
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from explorer.datasets.name_encodings import ENCODINGS, likeliest
from explorer.datasets.untrusted_files import MAX_FILES, TOO_LARGE, FilePath, Listing, UnreadableError, quote

FOLDERS = "folders"
MAX_TABLE = 2**25
"""Bytes of a table of labels; the longest that is useful has `MAX_FILES` lines."""
OUTSIDE = "outside of any class folder"
UNLABELLED = "without a label"
ONE_HOT = "the columns of the classes"

_MAX_TABLES, _MAX_ROWS, _MAX_COLUMNS, _MAX_COLUMNS_OFFERED, _SAMPLE = 20, 2 * MAX_FILES, 200, 8, 300
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_AROUND_SPLITS = {"set", "data", "dataset", "split", "image", "images", "imgs", "seg"}
_NO_CLASS = {"image", "images", "img", "imgs", "picture", "pictures", "photos", "jpg", "jpeg", "png", "data", "all"}
_NO_CLASS |= {"unknown", "unlabeled", "unlabelled", *_SPLITS}
_LABEL_COLUMNS = {"label", "labels", "class", "classes", "class_name", "classname", "category", "target", "species"}
_LABEL_COLUMNS |= {"breed", "diagnosis", "dx", "y"}
_SPLIT_COLUMNS = {"split", "set", "subset", "partition"}
_TABLES = (".csv", ".tsv", ".txt")
_DIGITS, _SEPARATORS = "0123456789", " ._-"

Members = dict[str, list[tuple[str, FilePath]]]
"""For each split, the class and path of its pictures, in order."""


@dataclass(frozen=True)
class Layout:
    """The members of each split, the pictures that belong to none with the reason, notes, where the classes are from (a
    clause such as "the column `label` of `labels.csv`"), and the tables that were used."""

    splits: Members
    outside: Mapping[FilePath, str]
    notes: tuple[str, ...] = ()
    words: str = "the folders"
    tables: tuple[FilePath, ...] = ()

    @property
    def labels(self) -> dict[FilePath, str]:
        return {path: label for members in self.splits.values() for label, path in members}

    @property
    def classes(self) -> dict[str, int]:
        """The training pictures of each class, in the order of the classes."""
        counts = Counter(label for label, _ in self.splits["train"])
        return {label: counts[label] for label in in_order(counts)}

    def preview(self) -> str:
        """The first classes with their training pictures, for a sentence."""
        shown = [f"{quote((name,))} {count:,}" for name, count in islice(self.classes.items(), 4)]
        return ", ".join(shown) + (f" and {len(self.classes) - 4:,} more" if len(self.classes) > 4 else "")


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in order: by their numbers where all end with one (`class 2` before `class 10`), else as texts."""
    starts = {name: name.rstrip(_DIGITS) for name in names}
    if any(name == start for name, start in starts.items()):
        return tuple(sorted(starts))

    def key(name: str) -> tuple[str, int, str, str]:
        digits = name.removeprefix(starts[name]).lstrip("0")
        return (starts[name], len(digits), digits, name)

    return tuple(sorted(starts, key=key))


def options(listing: Listing, pictures: Sequence[FilePath]) -> dict[str, Layout]:
    """The layouts that a source can be read by: `folders` first, which needs no confirmation; then for a person to
    confirm the columns of its tables, and where there are no class folders what the names of the files begin with."""
    tables, problems = _tables(listing, pictures)
    by_folders = _by_folders(pictures, tables)
    found = {FOLDERS: by_folders} if len(by_folders.classes) > 1 else {}
    depth, splits = _flat_splits(pictures)
    known = by_folders.labels
    others = _by_tables(tables, depth, splits)
    found |= {key: other for key, other in others.items() if not known.items() >= other.labels.items()}
    if FOLDERS in found and len(found) > 1:
        first = list(found.values())[1]
        note = f"The classes are the folders; {first.words} could give others."
        found[FOLDERS] = replace(by_folders, notes=(*by_folders.notes, note))
    if FOLDERS not in found:
        found |= _by_names(pictures, depth, splits)
        if not found and problems:
            raise ValueError(problems[0])
    return found or {FOLDERS: by_folders}


def _split_of(folder: str) -> str | None:
    """The split that a folder's name says: `train`, `Valid`, `test_set`, `seg_train`, `test1`."""
    words = [word for word in re.split(r"[ _-]+", folder.lower()) if word not in _AROUND_SPLITS]
    return _SPLITS.get(words[0].rstrip("0123456789")) if len(words) == 1 else None


def _stem(path: FilePath) -> str:
    return path[-1].rpartition(".")[0] or path[-1]


# --- by folders ------------------------------------------------------------------------------------------------------


def _unwrapped(paths: Sequence[FilePath], depth: int, known: Iterable[str] = ()) -> int:
    """The place in the paths behind all single folders that are around other folders with pictures; a folder of a
    `known` class is one."""
    while True:
        tops = {path[depth] for path in paths if len(path) > depth + 1}
        if len(tops) != 1 or not tops.isdisjoint(known) or not any(len(path) > depth + 2 for path in paths):
            return depth
        depth += 1


def _by_folders(pictures: Sequence[FilePath], tables: Sequence["_Table"]) -> Layout:
    splits: Members = {"train": [], "validation": [], "test": []}
    outside: dict[FilePath, str] = {}
    notes: list[str] = []
    depth = _unwrapped(pictures, 0)
    folders = {path[depth] for path in pictures if len(path) > depth + 1}
    found = {path[depth] for path in pictures if len(path) > depth + 2 and _split_of(path[depth])}
    with_splits = any(_split_of(folder) == "train" for folder in found)
    if found and not with_splits and found == folders:
        raise ValueError(f"there is a folder {quote((min(found),))} but none named `train`; add it or rename one.")
    if not with_splits and folders and all(map(_split_of, folders)) and "train" in map(_split_of, folders):
        return Layout(splits, dict.fromkeys(pictures, OUTSIDE))  # splits that hold pictures and no class folders
    groups: dict[str, list[FilePath]] = {}
    for path in pictures:
        is_member = len(path) > depth + 1 and (not with_splits or _split_of(path[depth]))
        if is_member:
            groups.setdefault(path[depth] if with_splits else "train", []).append(path)
        else:
            outside[path] = OUTSIDE
    known: set[str] = set()
    used: list[FilePath] = []
    for folder in sorted(groups, key=lambda each: (_split_of(each) != "train", each)):
        split, paths = _split_of(folder) or "train", groups[folder]
        where = _unwrapped(paths, depth + with_splits, known)
        labelled = [(path[where], path) for path in paths if len(path) > where + 1]
        labels = {label for label, _ in labelled}
        if split == "train":
            known |= labels
        elif labels.isdisjoint(known) and all(label.lower() in _NO_CLASS for label in labels):
            labelled, table = _from_table(paths, tables, known)
            if table:
                notes += [f"The labels of {quote((folder,))} are from {quote(table.path)}.", *table.notes()]
                used.append(table.path)
            else:
                notes.append(f"The images of {quote((folder,))} have no labels and are left out: {len(paths):,}.")
                outside |= dict.fromkeys(paths, UNLABELLED)
                continue
        splits[split] += labelled
        outside |= dict.fromkeys(set(paths) - {path for _, path in labelled}, OUTSIDE)
    members = {split: sorted(each) for split, each in splits.items()}
    return Layout(members, outside, tuple(notes), tables=tuple(used))


def _from_table(
    paths: Sequence[FilePath], tables: Sequence["_Table"], known: set[str]
) -> tuple[list[tuple[str, FilePath]], "_Table | None"]:
    """The labels of a split without class folders, and the table that has them: all are classes of the training
    images."""
    for table in tables:
        for labels in table.labels(every=True).values():
            labelled = [(labels[path], path) for path in paths if path in labels]
            if labelled and 2 * len(labelled) >= len(paths) and known.issuperset(label for label, _ in labelled):
                return labelled, table
    return [], None


# --- by tables and names ---------------------------------------------------------------------------------------------


def _flat_splits(pictures: Sequence[FilePath]) -> tuple[int, dict[FilePath, str]]:
    """The split of each picture where the outermost folders are splits, else all of them are for training."""
    depth = _unwrapped(pictures, 0)
    folders = {path[depth] for path in pictures if len(path) > depth + 1}
    named = {folder: split for folder in folders if (split := _split_of(folder))}
    if "train" not in named.values():
        named = {}
    return depth, {path: named.get(path[depth] if len(path) > depth else "", "train") for path in pictures}


def _layout(
    labels: Mapping[FilePath, str],
    splits: Mapping[FilePath, str],
    depth: int,
    words: str,
    tables: tuple[FilePath, ...] = (),
) -> Layout:
    members: Members = {"train": [], "validation": [], "test": []}
    for path, label in labels.items():
        members[splits[path]].append((label, path))
    outside = {path: UNLABELLED for path in splits if path not in labels}
    counts = Counter(path[depth] for path in outside if len(path) > depth + 1)
    notes = [f"The classes are from {words}."]
    notes += [f"Images of {quote((folder,))} without a label, left out: {n:,}." for folder, n in sorted(counts.items())]
    return Layout({split: sorted(each) for split, each in members.items()}, outside, tuple(notes), words, tables)


def _by_tables(tables: Sequence["_Table"], depth: int, splits: Mapping[FilePath, str]) -> dict[str, Layout]:
    """A layout for each column that labels half of the training pictures, tables with such a column together."""
    merged: dict[str, dict[FilePath, str]] = {}
    sources: dict[str, list[_Table]] = {}
    for table in tables:
        for column, labels in table.labels().items():
            merged.setdefault(column, {}).update(labels)
            sources.setdefault(column, []).append(table)
    found = {}
    for column, labels in merged.items():
        told = dict(splits)
        for table in sources[column]:
            told |= table.splits()
        counts = Counter(label for path, label in labels.items() if told[path] == "train")
        training = sum(split == "train" for split in told.values())
        if 2 <= len(counts) <= sum(counts.values()) / 2 and 2 * sum(counts.values()) >= training:
            used = tuple(table.path for table in sources[column])
            words = f"{column if column == ONE_HOT else f'the column {quote((column,))}'} of {quote(*used)}"
            layout = _layout(labels, told, depth, words, used)
            broken = [note for table in sources[column] for note in table.notes()]
            found[f"csv:{column}"] = replace(layout, notes=(*layout.notes, *broken))
    ordered = sorted(found, key=lambda key: key.removeprefix("csv:").lower() not in _LABEL_COLUMNS)
    return {key: found[key] for key in ordered[:_MAX_COLUMNS_OFFERED]}


def _before_number(stem: str) -> str | None:
    """What is before the number that a name ends with, `cat` of `cat_12` and `cat (12)`, where it has a letter.

    By hand: a regular expression tries each place for each part of it."""
    closed = stem[:-1] if stem.endswith(("]", ")")) else stem
    start = closed.rstrip(_DIGITS)
    if start == closed:
        return None
    start = (start[:-1] if start.endswith(("[", "(")) else start).rstrip(_SEPARATORS)
    return start if re.search(r"[^\W\d_]", start) else None


def _before_first(stem: str) -> str | None:
    found = re.match(r"([^ ._-]+)[ ._-]", stem)
    return found[1] if found else None


def _before_last(stem: str) -> str | None:
    found = re.fullmatch(r"(.+)[ ._-][^ ._-]+", stem)
    return found[1] if found else None


_NAME_RULES = {
    "names:number": ("before its number", _before_number),
    "names:first": ("before its first separator", _before_first),
    "names:last": ("before its last separator", _before_last),
}


def _by_names(pictures: Sequence[FilePath], depth: int, splits: Mapping[FilePath, str]) -> dict[str, Layout]:
    found: dict[str, Layout] = {}
    for key, (words, rule) in _NAME_RULES.items():
        starts = {path: start for path in pictures if (start := rule(_stem(path)[:200]))}
        labels = {path: start.strip(_SEPARATORS) for path, start in starts.items()}
        labels = {path: label for path, label in labels.items() if label and not label.isdecimal()}
        training = [labels.get(path) for path in pictures if splits[path] == "train"]
        counts = Counter(label for label in training if label)
        if len(counts) < 2 or min(counts.values()) < 2 or 10 * sum(counts.values()) < 9 * len(training):
            continue
        labels = {path: label for path, label in labels.items() if label in counts}
        if all(
            {path: label for part in each.splits.values() for label, path in part} != labels for each in found.values()
        ):
            found[key] = _layout(labels, splits, depth, f"the name of each file {words}")
    return found


@dataclass(frozen=True, eq=False)
class _Table:
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
        called = {title: columns[title] for title in columns if title.lower() in _LABEL_COLUMNS}
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
            told = {path: split for path, row in self.rows.items() if (split := _split_of(row[column].strip()))}
            if title.lower() in _SPLIT_COLUMNS and len(told) == len(self.rows):
                return told
        return {}


def _tables(listing: Listing, pictures: Sequence[FilePath]) -> tuple[list[_Table], list[str]]:
    """The tables that name pictures, and a sentence on each that cannot be read whole. Files are read in the order of
    the source; where there are many, those nearest to its root."""
    paths = [path for path in listing.files if path[-1].lower().endswith(_TABLES)]
    index = _Index(pictures if paths else ())
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


class _Index:
    """The pictures in the order of their paths from the end, without case, each with and without its ending: those that
    a cell of a table can mean lie side by side, and are found in a time that hardly grows with their number."""

    def __init__(self, pictures: Sequence[FilePath]) -> None:
        entries = sorted(
            ((name, *(part.lower() for part in path[-2::-1])), path)
            for path in pictures
            for name in {path[-1].lower(), _stem(path).lower()}
        )
        self._keys, self._paths = [key for key, _ in entries], [path for _, path in entries]
        splits = {folder: _split_of(folder) for folder in {part for path in pictures for part in path[:-1]}}
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


def _table(path: FilePath, rows: list[list[str]], broken: int, index: _Index) -> _Table | None:
    """The table of these rows; None where no column has names of pictures in half of some rows."""
    hints = {split for part in (*path[:-1], _stem(path)) if (split := _split_in(part))}
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
    return _Table(path, titles, names, matched, broken)


def _split_in(name: str) -> str | None:
    """The split that one of the words of a table's name says: `train_labels`, `val_annotations`."""
    return next((split for word in re.split(r"[\W_]+", name.lower()) if (split := _SPLITS.get(word))), None)


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
