"""Where the classes and splits of images are read from: folders, tables and the names of the files."""

import itertools
import re
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from explorer.datasets import Dataset, folders, label_tables, layouts, split_names, untrusted_files
from explorer.datasets.folders import load
from explorer.datasets.untrusted_files import FilePath, Listing, Reader
from tests.test_folders import levels, packed, png


def files(*names: str, start: int = 0) -> dict[str, bytes]:
    """A picture of its own grey level under each name."""
    return {name: png(start + level, (8, 8)) for level, name in enumerate(names)}


def two(pattern: str, each: int = 4, classes: tuple[str, ...] = ("cat", "dog")) -> dict[str, bytes]:
    """`each` pictures of each class, named by the pattern."""
    return files(*(pattern.format(name=name, i=i) for name in classes for i in range(each)))


def read(found: Mapping[str, bytes], labels_from: str | None = None) -> Dataset:
    return load(packed(found), (8, 8), validation=0, labels_from=labels_from)


def counts(dataset: Dataset) -> list[int]:
    return [sum(column) for column in zip(*dataset.counts, strict=True)]


@pytest.mark.parametrize("train", ["train", "TRAINING", "training_set"])
@pytest.mark.parametrize("validation", ["val", "valid", "Validation", "VALIDATE", "dev"])
@pytest.mark.parametrize("test", ["test", "Testing", "test1"])
def test_splits_have_many_names(train: str, validation: str, test: str) -> None:
    found = two(f"{train}/{{name}}/{{i}}.png") | two(f"{validation}/{{name}}/{{i}}.png", 2)
    assert counts(read(found | two(f"{test}/{{name}}/{{i}}.png", 1))) == [8, 4, 2]


@pytest.mark.parametrize("around", ["a/", "a/b/c/d/", "train/", "x/train/images/"])
def test_single_folders_around_the_classes_are_looked_through(around: str) -> None:
    junk = ("README.md", "__MACOSX/a/._x.png", "a/.DS_Store", "a/Thumbs.db", "a/b/list.csv", "notes/x.txt")
    dataset = read(two(f"{around}{{name}}/{{i}}.png") | dict.fromkeys(junk, b"x") | {"cover.png": png(9)})
    assert dataset.class_names == ("cat", "dog") and counts(dataset) == [6, 0, 2]


def test_folders_inside_the_splits_are_looked_through() -> None:
    found = two("d/seg_train/seg_train/{name}/{i}.png") | two("d/seg_test/seg_test/{name}/{i}.png", 2)
    assert counts(read(found)) == [8, 0, 4]


def tiny(annotations: str) -> dict[str, bytes]:
    found = two("tiny/train/{name}/images/{name}_{i}.JPEG", classes=("n01", "n02"))
    found |= files("tiny/val/images/val_0.JPEG", "tiny/val/images/val_1.JPEG", "tiny/test/images/test_0.JPEG", start=90)
    return found | {"tiny/val/val_annotations.txt": annotations.encode(), "tiny/wnids.txt": b"n01\nn02\n"}


def test_a_split_may_have_a_table_of_labels_and_one_without_is_left_out() -> None:
    dataset = read(tiny("val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"))
    assert levels(dataset, "validation") == [("n01", 91), ("n02", 90)]
    assert counts(dataset) == [6, 2, 2]  # the test images are drawn
    assert dataset.notes[1:3] == (
        "The images of `test` have no labels and are left out: 1.",
        "The labels of `val` are from `tiny/val/val_annotations.txt`.",
    )
    assert {each.path: each.reason for each in dataset.skipped}["tiny/test/images/test_0.JPEG"] == layouts.UNLABELLED


def test_a_table_with_other_labels_labels_nothing() -> None:
    dataset = read(tiny("val_0.JPEG\tn02\nval_1.JPEG\tn09\n"))
    assert counts(dataset) == [6, 0, 2] and "The images of `val` have no labels and are left out: 2." in dataset.notes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "9", "0", "101"], ["0", "9", "10", "101"]),
        (["class 10", "class 2", "b 1"], ["b 1", "class 2", "class 10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["07", "7", "8"], ["07", "7", "8"]),
        (["9" * 90, "1" + "0" * 90], ["9" * 90, "1" + "0" * 90]),
        (["b", "a"], ["a", "b"]),
    ],
)
def test_numbers_at_the_end_order_classes(names: list[str], expected: list[str]) -> None:
    assert {layouts.in_order(each) for each in itertools.permutations(names)} == {tuple(expected)}


def test_classes_that_are_numbers_have_the_order_of_numbers() -> None:
    dataset = read(two("{name}/{i}.png", 2, tuple(map(str, range(12)))))
    assert dataset.class_names == tuple(map(str, range(12)))
    assert all(int(name) * 2 <= level < int(name) * 2 + 2 for name, level in levels(dataset, "train"))


# --- tables ----------------------------------------------------------------------------------------------------------

IMAGES = files(*(f"images/{i}.png" for i in range(8)))
PAIRS = [(f"{i}.png", "cat" if i % 2 else "dog") for i in range(8)]


def table(pairs: list[tuple[str, str]] = PAIRS, separator: str = ",", header: str = "id,label") -> bytes:
    lines = [header.replace(",", separator)] if header else []
    return "\n".join(lines + [separator.join(pair) for pair in pairs]).encode()


@pytest.mark.parametrize(
    "content",
    [
        table(),
        table(separator=";"),
        table(separator="\t"),
        table(header=""),
        table([(name.removesuffix(".png"), label) for name, label in PAIRS]),
        table([(name.removesuffix(".png"), label) for name, label in PAIRS], header=""),
        table([(f"images/{name}", label) for name, label in PAIRS]),
        table([(f"C:\\data\\images\\{name}", label) for name, label in PAIRS]),
        table([(f"../../{name}", label) for name, label in PAIRS]),
        table([(f'"{name}"', f' "{label}"') for name, label in PAIRS]),
        table([(label, name) for name, label in PAIRS], header="species,file"),
        table([*PAIRS, ("not-there.png", "cow")]),
        table([(name, f"{label},{i}.5") for i, (name, label) in enumerate(PAIRS)], header="id,label,age"),
        table([(name, "1,0" if label == "cat" else "0.0,1.0") for name, label in PAIRS], header="image,cat,dog"),
        table().decode().encode("utf-16"),
        b"\xef\xbb\xbf" + table().replace(b"\n", b"\r\n"),
    ],
)
def test_a_table_gives_the_classes_once_a_person_says_so(content: bytes) -> None:
    found = IMAGES | {"labels.csv": content}
    with pytest.raises(ValueError, match=r"`labels.csv` could give them: .*confirm that with `--labels-from csv:"):
        read(found)
    dataset = read(found, labels_from="csv")
    drawn = [pair for split in ("train", "test") for pair in levels(dataset, split)]
    assert sorted(drawn) == sorted((label, level) for level, (_, label) in enumerate(PAIRS))
    assert dataset.skipped == ()  # the table was used


def test_labels_are_text() -> None:
    labels = ('"=cmd(""/c calc"")"', "@SUM(A1)", '"a, ""b""\nc"', "<img src=x>")
    pairs = [(f"{i}.png", labels[i % 4]) for i in range(8)]
    dataset = read(IMAGES | {"l.csv": table(pairs)}, labels_from="csv:label")
    assert dataset.class_names == ("<img src=x>", '=cmd("/c calc")', "@SUM(A1)", 'a, "b" c')


def test_tables_of_the_splits_are_told_apart_by_their_names() -> None:
    found = two("train/{i}.png", 6, ("x",)) | files("test/0.png", "test/1.png", start=50)
    tables = {"train.csv": table(PAIRS[:6]), "test.csv": b"id\n0.png\n1.png\n", "submission.csv": table(PAIRS[:2])}
    dataset = read(found | tables, labels_from="csv")
    assert counts(dataset) == [4, 0, 2] and max(level for _, level in levels(dataset, "test")) < 50
    assert "Images of `test` without a label, left out: 2." in dataset.notes


def test_a_column_may_tell_the_splits() -> None:
    splits = ("train",) * 4 + ("dev",) * 2 + ("Test",) * 2
    pairs = [(name, f"{label},{split}") for (name, label), split in zip(PAIRS, splits, strict=True)]
    assert counts(read(IMAGES | {"l.csv": table(pairs, header="id,label,split")}, labels_from="csv")) == [4, 2, 2]


def test_folders_are_preferred_and_the_table_is_named() -> None:
    found = two("{name}/{i}.png") | {
        "l.csv": table([(f"{n}/{i}.png", "xy"[i % 2]) for n in ("cat", "dog") for i in range(4)])
    }
    assert read(found).class_names == ("cat", "dog")
    assert "The classes are the folders; the column `label` of `l.csv` could give others." in read(found).notes
    assert read(found, labels_from="csv").class_names == ("x", "y")
    with pytest.raises(ValueError, match="cannot be read from `names`; here they can be from `folders`, `csv:label`"):
        read(found, labels_from="names")


@pytest.mark.parametrize("lines", [300_000, 10**7])
def test_an_endless_table_is_refused(lines: int) -> None:
    with pytest.raises(ValueError, match="`l.csv` is longer than 200,000 lines or 32 MB"):
        read(IMAGES | {"l.csv": b"0,a\n" * lines})


def steps(action: Callable[[], object]) -> int:
    """The calls of functions, those of C too, that an action makes."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("cell", ["d{i}/1.jpg", "1.jpg", "d/x/1"])
def test_a_table_is_looked_up_in_steps_that_grow_like_its_length(cell: str) -> None:
    def looked_up(count: int) -> None:
        content = "".join(f"{cell.format(i=i)},x\n" for i in range(count)).encode()
        paths: list[FilePath] = [(f"d{i}", "1.jpg") for i in range(count)]
        files: dict[FilePath, Reader] = dict.fromkeys([*paths, ("train.csv",)], lambda _most, whole=True: content)
        layouts.options(Listing(files), paths)

    assert steps(lambda: looked_up(400)) < 300 * 400  # the columns are found from 300 lines
    assert steps(lambda: looked_up(800)) < 300 * 800


def looked_up(cell: str, paths: Sequence[FilePath], hints: set[str]) -> FilePath | None:
    """The rule, said picture by picture."""
    parts = [part for part in re.split(r"[/\\]", cell.lower()) if part not in ("", ".")]
    found = [path for path in paths if parts[-1:] in ([path[-1].lower()], [untrusted_files.stem(path).lower()])]
    if len(found) > 1 and len(parts) > 1:
        wanted = parts[:-1]
        found = [path for path in found if [part.lower() for part in path[:-1]][-len(wanted) :] == wanted]
    if len(found) > 1:
        found = [path for path in found if hints & {split_names.split_of(part) for part in path[:-1]}]
    return found[0] if len(found) == 1 else None


def test_a_cell_finds_the_one_picture_that_it_names() -> None:
    random = np.random.default_rng(0)
    found = 0
    for _ in range(60):
        words = ("a", "A", "ab", "train", "test", "val2")
        paths: list[FilePath] = [
            (
                *random.choice(words, random.integers(4)).tolist(),
                str(random.choice(["1.png", "1.jpg", "1", "a", "2.PNG"])),
            )
            for _ in range(random.integers(1, 9))
        ]
        paths = list(dict.fromkeys(paths))
        index = label_tables.PictureIndex(paths)
        cells = [
            "",
            "/",
            "./1",
            "..\\1.png",
            *("/".join(path[-k:]) for path in paths for k in range(1, 5)),
            "b/1",
            "1.p",
        ]
        for cell, hints in itertools.product(cells, ({"train"}, {"train", "test"}, set[str]())):
            expected = looked_up(cell, paths, hints)
            found += expected is not None
            assert index.find(cell, hints) == expected, (cell, paths, hints)
    assert found > 1000


@pytest.mark.parametrize(
    ("tail", "kept"),
    [('8.png,"dog\n9.png,cat\n', 8), ('8.png,"dog\n9.png,"cat\n10.png,cat\n', 8), ('8.png,"' + "x" * 2**18, 8)],
)
def test_where_a_table_cannot_be_read_on_is_said(tail: str, kept: int) -> None:
    found = files(*(f"images/{i}.png" for i in range(11)))
    dataset = read(found | {"l.csv": table() + b"\n" + tail.encode()}, labels_from="csv")
    assert sum(counts(dataset)) == kept
    assert "The table `l.csv` cannot be read from line 10 on." in dataset.notes
    with pytest.raises(ValueError, match="the table `l.csv` cannot be read from line 3 on; mend its quotes there"):
        read(IMAGES | {"l.csv": table(PAIRS[:1]) + b'\n1.png,"cat\n2.png,dog\n'})


def test_what_is_no_table_of_these_images_is_passed_over() -> None:
    others = {
        "a.csv": b"a,b\n1,2\n",
        "b.csv": b'"' + b"x" * 10**6,
        "c.csv": b"\0\xff" * 99,
        "d.csv": b"",
        "e.txt": b"hi",
    }
    assert counts(read(two("{name}/{i}.png") | others)) == [6, 0, 2]
    wide = b",".join(b"%d" % i for i in range(5000))
    with pytest.raises(ValueError, match="1 folder with images"):
        read(IMAGES | others | {"wide.csv": b"\n".join([wide] * 9)})


# --- names of the files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("train/{name}.{i}.png", "number"),
        ("{name}_{i}.png", "number"),
        ("{name} ({i}).png", "number"),
        ("{name}-{i:04}.png", "number"),
        ("all/{name}{i}.png", "number"),
        ("x/y/{name}_a{i}b.png", "first"),
    ],
)
def test_names_give_the_classes_once_a_person_says_so(pattern: str, key: str) -> None:
    found = two(pattern)
    with pytest.raises(
        ValueError, match=rf"could give them: `cat` 4, `dog` 4; confirm that with `--labels-from names:{key}"
    ):
        read(found)
    dataset = read(found, labels_from="names")
    assert [level < 4 for _, level in levels(dataset, "train")] == [True] * 3 + [False] * 3
    assert dataset.class_names == ("cat", "dog")


def test_the_start_of_a_name_is_found_by_the_rule_and_at_once() -> None:
    rule = re.compile(r"(.*?[^\W\d_].*?)[ ._-]*[\[(]?[0-9]+[\])]?")
    for name in map("".join, itertools.chain(*(itertools.product("aé1_-[)²٣", repeat=size) for size in range(6)))):
        match = rule.fullmatch(name)
        assert layouts._before_number(name) == (match and match[1])
    long = "a" * 20_000 + "_" * 20_000 + "1" * 20_000  # by the regular expression 10^12 steps
    assert layouts._before_number(long) == "a" * 20_000 and layouts._before_number(long + "!") is None
    assert layouts.in_order([f"{long}!", long]) == (long, f"{long}!")


def test_names_without_a_class_are_left_out_of_the_test_images() -> None:
    found = two("train/{name}.{i}.png") | files("test1/1.png", "test1/2.png", start=90)
    dataset = read(found, labels_from="names")
    assert counts(dataset) == [6, 0, 2] and "Images of `test1` without a label, left out: 2." in dataset.notes


@pytest.mark.parametrize(
    "found", [files("1.png", "2.png", "3.png"), two("IMG_{i}.png", 4, ("x",)), two("{i}_{name}/x.png")]
)
def test_names_that_give_no_classes_are_not_offered(found: dict[str, bytes]) -> None:
    with folders.opened(packed(found)) as source:
        assert not [key for key in source.layouts if key.startswith("names")]
