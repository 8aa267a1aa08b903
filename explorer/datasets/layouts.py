"""Which class and split each picture of a source belongs to: by its folder, by a table, or by its own name."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from explorer.datasets.label_tables import LABEL_COLUMNS, ONE_HOT, LabelTable, label_tables
from explorer.datasets.split_names import SPLITS, split_of
from explorer.datasets.untrusted_files import FilePath, Listing, quote, stem

FOLDERS = "folders"
OUTSIDE = "outside of any class folder"
UNLABELLED = "without a label"
_MAX_COLUMNS_OFFERED = 8
_NO_CLASS = {"image", "images", "img", "imgs", "picture", "pictures", "photos", "jpg", "jpeg", "png", "data", "all"}
_NO_CLASS |= {"unknown", "unlabeled", "unlabelled", *SPLITS}
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
    tables, problems = label_tables(listing, pictures)
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


# --- by folders ------------------------------------------------------------------------------------------------------


def _unwrapped(paths: Sequence[FilePath], depth: int, known: Iterable[str] = ()) -> int:
    """The place in the paths behind all single folders that are around other folders with pictures; a folder of a
    `known` class is one."""
    while True:
        tops = {path[depth] for path in paths if len(path) > depth + 1}
        if len(tops) != 1 or not tops.isdisjoint(known) or not any(len(path) > depth + 2 for path in paths):
            return depth
        depth += 1


def _by_folders(pictures: Sequence[FilePath], tables: Sequence[LabelTable]) -> Layout:
    splits: Members = {"train": [], "validation": [], "test": []}
    outside: dict[FilePath, str] = {}
    notes: list[str] = []
    depth = _unwrapped(pictures, 0)
    folders = {path[depth] for path in pictures if len(path) > depth + 1}
    found = {path[depth] for path in pictures if len(path) > depth + 2 and split_of(path[depth])}
    with_splits = any(split_of(folder) == "train" for folder in found)
    if found and not with_splits and found == folders:
        raise ValueError(f"there is a folder {quote((min(found),))} but none named `train`; add it or rename one.")
    if not with_splits and folders and all(map(split_of, folders)) and "train" in map(split_of, folders):
        return Layout(splits, dict.fromkeys(pictures, OUTSIDE))  # splits that hold pictures and no class folders
    groups: dict[str, list[FilePath]] = {}
    for path in pictures:
        is_member = len(path) > depth + 1 and (not with_splits or split_of(path[depth]))
        if is_member:
            groups.setdefault(path[depth] if with_splits else "train", []).append(path)
        else:
            outside[path] = OUTSIDE
    known: set[str] = set()
    used: list[FilePath] = []
    for folder in sorted(groups, key=lambda each: (split_of(each) != "train", each)):
        split, paths = split_of(folder) or "train", groups[folder]
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
    paths: Sequence[FilePath], tables: Sequence[LabelTable], known: set[str]
) -> tuple[list[tuple[str, FilePath]], LabelTable | None]:
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
    named = {folder: split for folder in folders if (split := split_of(folder))}
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


def _by_tables(tables: Sequence[LabelTable], depth: int, splits: Mapping[FilePath, str]) -> dict[str, Layout]:
    """A layout for each column that labels half of the training pictures, tables with such a column together."""
    merged: dict[str, dict[FilePath, str]] = {}
    sources: dict[str, list[LabelTable]] = {}
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
    ordered = sorted(found, key=lambda key: key.removeprefix("csv:").lower() not in LABEL_COLUMNS)
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
        starts = {path: start for path in pictures if (start := rule(stem(path)[:200]))}
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
