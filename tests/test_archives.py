"""Archives from everywhere: names in old encodings, backslashes, and tar files, good ones and such as do harm."""

import gzip
import io
import re
import struct
import tarfile
import zlib
from collections.abc import Mapping

import numpy as np
import pytest

from explorer.datasets import Dataset, archives, folders, name_encodings
from explorer.datasets.folders import load
from tests.test_folders import WHOLE, assert_equal, classes, packed, png, under
from tests.test_hostile_zips import Entry, watched, zipped

PETS = classes({"cat": 4, "dog": 4})


def named(*names: bytes, extra: Mapping[bytes, bytes] | None = None) -> io.BytesIO:
    """A zip of four pictures under each name, which may have a `{}` for their number, without the flag for UTF-8."""
    entries = []
    for level, name in enumerate(names):
        for number in range(4):
            full = name.replace(b"{}", b"%d" % number) if b"{}" in name else name + b"/%d.png" % number
            entries.append(Entry(full, png(90 * level + 9 * number, (8, 8)), extra=(extra or {}).get(full, b"")))
    return io.BytesIO(zipped(entries))


WORDS: dict[str, list[tuple[str, ...]]] = {
    "gbk": [("猫", "狗"), ("苹果", "香蕉", "橙子"), ("玫瑰", "向日葵")],
    "shift-jis": [("猫", "犬"), ("表示", "能力"), ("ソファ", "テーブル"), ("ねこ", "いぬ")],
    "cp866": [("кошка", "собака"), ("Яблоко", "Груша"), ("КОТ", "ПЕС")],
    "windows-1251": [("кошка", "собака"), ("Кошки", "Собаки")],
    "cp437": [("käse", "brötchen"), ("café", "thé"), ("niño", "niña")],
    "windows-1252": [("käse", "brötchen"), ("chien", "père")],
    "big5": [("貓", "狗"), ("蘋果", "香蕉")],
    "euc-kr": [("고양이", "강아지"), ("사과", "바나나", "포도")],
    "utf-8": [("猫", "狗"), ("кошка", "собака"), ("käse", "brötchen")],
}


@pytest.mark.parametrize(("encoding", "words"), [(key, words) for key in WORDS for words in WORDS[key]])
def test_the_encoding_of_all_names_together_is_guessed(encoding: str, words: tuple[str, ...]) -> None:
    codec = name_encodings.ENCODINGS[encoding]
    dataset = load(named(*(word.encode(codec) for word in words)), (8, 8))
    assert dataset.class_names == tuple(sorted(words))


def test_the_encoding_can_be_chosen_and_is_said() -> None:
    archive = named("猫".encode("gbk"), "狗".encode("gbk"))
    note = "The archive does not tell the encoding of its names; they are read as GBK, simplified Chinese (猫, 狗)."
    assert note in load(archive, (8, 8)).notes
    assert load(archive, (8, 8), encoding="cp437").class_names == ("├¿", "╣╖")
    with pytest.raises(ValueError, match="the names in the archive are not utf-8; choose one of gbk, "):
        load(archive, (8, 8), encoding="utf-8")
    chance = named("猫".encode("gbk"), "图".encode("gbk"))  # both are UTF-8 by chance
    assert load(chance, (8, 8), encoding="gbk").class_names == ("图", "猫")


def unicode_path(stored: bytes, text: bytes, checksum: int | None = None) -> bytes:
    value = struct.pack("<BL", 1, zlib.crc32(stored) if checksum is None else checksum) + text
    return struct.pack("<2H", 0x5455, 1) + b"x" + struct.pack("<2H", 0x7075, len(value)) + value


def test_a_unicode_path_is_taken_where_its_checksum_fits() -> None:
    stored = [b"\x81\x82/%d.png" % i for i in range(4)]
    for checksum, expected in ((None, "猫"), (7, "БВ")):
        extra = {name: unicode_path(name, "猫".encode() + name[2:], checksum) for name in stored}
        assert load(named(b"\x81\x82", b"dog", extra=extra), (8, 8)).class_names == ("dog", expected)
    escaping = {name: unicode_path(name, b"../" + name[3:]) for name in stored}
    with pytest.raises(ValueError, match="does not name a file inside the zip"):
        load(named(b"\x81\x82", b"dog", extra=escaping))


def test_a_unicode_path_is_taken_for_a_name_that_is_written_in_ascii() -> None:
    entries = []
    for level, word in enumerate(("猫", "狗")):
        extra = unicode_path(b"_/0.png", f"{word}/0.png".encode())
        entries.append(Entry(b"_/0.png", png(90 * level, (8, 8)), extra=extra))
    entries.append(Entry(b"_/1.png", png(7, (8, 8)), extra=unicode_path(b"_/1.png", "猫/1.png".encode(), 7)))
    with folders.opened(io.BytesIO(zipped(entries))) as source:
        assert sorted(source.pictures) == [("_", "1.png"), ("狗", "0.png"), ("猫", "0.png")]
        assert not source.listing.encodings


def test_backslashes_alone_are_folders_and_inside_a_character_they_are_none() -> None:
    assert load(named(b"top\\cat\\{}.png", b"top\\dog\\{}.png"), (8, 8)).class_names == ("cat", "dog")
    assert load(named("表".encode("cp932"), "ソ".encode("cp932")), (8, 8)).class_names == ("ソ", "表")
    both = named("表".encode("cp932") + b"\\{}.png", "ソ".encode("cp932") + b"\\{}.png")
    assert load(both, (8, 8)).class_names == ("ソ", "表")
    for name in (b"..\\..\\{}.png", b"C:\\cat\\{}.png", b"\\\\host\\share\\{}.png", b"cat\\..\\..\\{}.png"):
        with pytest.raises(ValueError, match="does not name a file inside the zip"):
            load(named(b"dog\\{}.png", name))
    with pytest.raises(ValueError, match="does not name a file inside the zip"):
        load(named(b"dog", b"cat\\{}.png"))  # both kinds of separators: not of one program


# --- tar -------------------------------------------------------------------------------------------------------------


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    """A file as a tar has it, in the oldest form."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def tarred(
    files: Mapping[str, bytes], compression: str = "gz", form: int = tarfile.PAX_FORMAT, code: str = "utf-8"
) -> bytes:
    file = io.BytesIO()
    with tarfile.TarFile(fileobj=file, mode="w", format=form, encoding=code) as archive:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(file.getvalue()) if compression else file.getvalue()


@pytest.mark.parametrize("compression", ["", "gz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_gives_what_the_zip_gives(tmp_path, compression, form):
    for layout in (WHOLE, PETS, under("very" * 20 + "/" + "deep" * 20, PETS)):
        content = tarred(dict(reversed(layout.items())), compression, form)
        assert_equal(load(packed(layout)), load(io.BytesIO(content)))
    (tmp_path / "pets.tar.gz").write_bytes(content)  # the content tells, not the ending
    assert load(tmp_path / "pets.tar.gz").name == "pets"
    (tmp_path / "pets.zip").write_bytes(content)
    assert load(tmp_path / "pets.zip").class_names == ("cat", "dog")


def test_names_of_a_tar_are_guessed_too() -> None:
    files = {f"{name}/{i}.png": png(60 * i, (8, 8)) for name in "猫狗" for i in range(4)}
    for code in ("gbk", "utf-8"):
        assert load(io.BytesIO(tarred(files, form=tarfile.GNU_FORMAT, code=code)), (8, 8)).class_names == ("狗", "猫")


@pytest.mark.parametrize(("path", "is_told"), [(b"k\xc3\xa4se", True), (b"k\xe4se", False)])
@pytest.mark.parametrize("binary", [b"", b"21 hdrcharset=BINARY\n"])
def test_a_name_in_the_attributes_of_a_tar_is_utf8_by_definition(path: bytes, is_told: bool, binary: bytes) -> None:
    record = b" path=" + path + b"/x.png\n"
    content = binary + b"%d" % (len(record) + 2) + record
    with folders.opened(io.BytesIO(member("x", content, tarfile.XHDTYPE) + member("x", png(1)) + GOOD)) as source:
        assert ("käse", "x.png") in source.pictures
        assert (not source.listing.encodings) == (is_told and not binary)


GOOD = b"".join(member(name, content) for name, content in PETS.items())


def longname(size: int) -> bytes:
    return member("././@LongLink", b"", tarfile.GNUTYPE_LONGNAME, size=size)


def sparse(extended: int) -> bytes:
    header = bytearray(member("cat/x.png", b"", tarfile.GNUTYPE_SPARSE))
    header[482] = 1
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header) + (b"0".ljust(504, b"\0") + b"\1" + bytes(7)) * extended


ELSEWHERE = "does not name a file inside the tar"
REFUSED = {
    "absolute": (GOOD + member("/etc/x.png"), ELSEWHERE),
    "parent": (GOOD + member("cat/../../x.png"), ELSEWHERE),
    "drive": (GOOD + member("./C:/x.png"), ELSEWHERE),
    "control": (GOOD + member("cat/\nx.png"), ELSEWHERE),
    "backslash": (GOOD + member("cat\\x.png"), ELSEWHERE),
    "deep": (GOOD + longname(2048) + b"x/" * 1000 + bytes(48) + member("x"), "folders deep"),
    "twice": (GOOD + member("./cat/000.png", png(1)), "`cat/000.png` twice"),
    "cut off": (GOOD[:-700], "is a damaged tar file"),
    "negative size": (GOOD + member("cat/x.png", b"", size=-(10**6)) + GOOD, "is a damaged tar file"),
    "long name of 8 GiB": (longname(2**33) + GOOD, "is a damaged tar file"),
    "attributes of 1 MB": (member("x", b"11 a=bcdef\n" * 10**5, tarfile.XHDTYPE) + GOOD, "is a damaged tar file"),
    "attributes in a chain": (member("x", b"11 a=bcdef\n", tarfile.XHDTYPE) * 5000, "is a damaged tar file"),
    "many attributes for all": (
        member("x", b"".join(b"12 k%05d=v\n" % i for i in range(4000)), tarfile.XGLTYPE) + GOOD,
        "is a damaged tar file",
    ),
    "map without an end": (sparse(10**5), "is a damaged tar file"),
    "gzip of no tar": (gzip.compress(b"hello" * 999), "packed with gzip and holds no whole tar file"),
    "gzip cut off": (gzip.compress(GOOD)[:-400], "packed with gzip and holds no whole tar file"),
    "gzip damaged": (gzip.compress(GOOD)[:80] + b"\xff" * 99, "packed with gzip and holds no whole tar file"),
    "gzip bomb": (gzip.compress(GOOD + member("cat/x.png", size=3 * 2**30)), "more than 1.25 GiB unpacked"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7z archive, which is not read"),
    "rar": (b"Rar!\x1a\7\1\0" + bytes(99), "a RAR archive"),
    "xz": (b"\xfd7zXZ\0" + bytes(99), "packed with xz"),
    "bzip2": (b"BZh9" + bytes(99), "packed with bzip2"),
}
SKIPPED = {
    "link": (member("cat/x.png", b"", tarfile.SYMTYPE, linkname="/etc/passwd"), "^a link"),
    "hard link": (member("cat/x.png", b"", tarfile.LNKTYPE, linkname="cat/000.png"), "^a link"),
    "device": (member("cat/x.png", b"", tarfile.BLKTYPE), "^not a plain file$"),
    "pipe": (member("cat/x.png", b"", tarfile.FIFOTYPE), "^not a plain file$"),
    "sparse": (sparse(1)[:1016] + bytes(8), "^a sparse file"),
    "hidden": (member("cat/._x.png", b"x"), "^hidden"),
    "empty folder": (member("cow", b"", tarfile.DIRTYPE), "^an empty folder"),
    "large": (member("cat/x.png", bytes(5000)), "^too large for one image$"),
    "text": (member("cat/x.png", b"#!/bin/sh"), "not a JPEG, PNG"),
    "archive": (member("cat/x.tar.gz", b"\x1f\x8b"), "^an archive of its own"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tars_that_do_harm_are_refused_in_one_sentence(name: str) -> None:
    content, words = REFUSED[name]
    with watched(), pytest.raises(ValueError, match=words) as caught:
        load(io.BytesIO(content))
    text = str(caught.value)
    assert (
        text.endswith(".") and ". " not in text.replace(".tar or .tar", "") and text.isprintable() and len(text) < 400
    )


def test_a_tar_of_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", len(PETS) - 1)
    with pytest.raises(ValueError, match="more than 7 entries; pack fewer images"):
        load(io.BytesIO(GOOD))


def test_what_a_tar_is_unpacked_to_is_counted_whatever_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_TAR", len(GOOD) - 1000)
    with pytest.raises(ValueError, match="GiB unpacked; pack fewer images"):
        load(io.BytesIO(gzip.compress(GOOD)))
    assert len(load(io.BytesIO(GOOD)).train)  # not compressed: as large as it is


@pytest.mark.parametrize("name", SKIPPED)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_no_plain_image_in_a_tar_is_listed(name: str, pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_PICTURE", 4000)
    content, words = SKIPPED[name]
    found = load(io.BytesIO(pack(content + GOOD)))
    assert isinstance(found, Dataset) and sum(map(sum, found.counts)) == len(PETS)
    (skipped,) = found.skipped
    assert re.search(words, skipped.reason), skipped


def test_the_images_of_a_tar_are_read_in_its_order_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed tar is unpacked from its start for each step back: once for the list, once for all images."""
    places: list[int] = []
    seek = archives._Tar.seek

    def noted(self: archives._Tar, place: int) -> None:
        places.append(place)
        seek(self, place)

    monkeypatch.setattr(archives._Tar, "seek", noted)
    names = np.random.default_rng(0).permutation([*WHOLE]).tolist()
    load(io.BytesIO(tarred({name: WHOLE[name] for name in names})))
    assert sum(after < before for before, after in zip(places, places[1:], strict=False)) == 1
