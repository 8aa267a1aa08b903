"""What is said of each file that is left out, the way into a folder on the server, and reading that can be watched."""

import io
import os
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from PIL import Image

from explorer.datasets import Dataset, Skipped, folders
from explorer.datasets.folders import load, read
from explorer.datasets.untrusted_files import resolve_allowed


def png(level: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (level, level, level)).save(file, "PNG")
    return file.getvalue()


PETS = {f"{label}/{i}.png": png(i) for label in ("cat", "dog") for i in range(5)}


def on_disk(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            (root / name).write_bytes(content)
        else:
            (root / name).mkdir(exist_ok=True)
    return root


def packed(files: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file


# --- what was skipped and why ----------------------------------------------------------------------------------------

ODD = {
    "cat/cut.png": (png()[:60], "`cut.png` begins like a PNG image but is damaged, cut short or of a rare kind"),
    "cat/empty.png": (b"", "empty"),
    "cat/inner.zip": (packed(PETS).getvalue(), "an archive of its own, and such are not opened"),
    "cat/notes.txt": (b"x", "not an image of a type that can be read"),
    "cover.png": (png(), "outside of any class folder"),
    "dog/text.jpg": (b"text", "`text.jpg` is not a JPEG, PNG, GIF, BMP, WEBP, TIFF, HEIC, AVIF or DICOM image"),
    "fish/": (b"", "an empty folder, which is no class"),
    "horse/deep/": (b"", "an empty folder, which is no class"),
    ".git/config": (b"x", "hidden, or made by the operating system"),
    "cat/.DS_Store": (b"x", "hidden, or made by the operating system"),
}


def test_each_file_that_is_left_out_is_listed_with_its_reason(tmp_path):
    files = {**PETS, **{name: content for name, (content, _) in ODD.items()}}
    archive, disk = load(packed(files)), load(on_disk(tmp_path, files))
    hidden_folder = Skipped(".git", "hidden, or made by the operating system")  # on disk it is not even opened
    assert [hidden_folder if s.path == ".git/config" else s for s in archive.skipped] == list(disk.skipped)
    assert [skipped.path for skipped in archive.skipped] == list(ODD)
    for skipped in archive.skipped:
        assert skipped.reason.startswith(ODD[skipped.path][1])
    assert archive.notes == disk.notes
    assert archive.notes[0] == (
        "Files left out because they are no images of a class: 5 (`cat/inner.zip`, `cat/notes.txt`, `cover.png`, …)."
    )
    assert archive.notes[1].startswith("Images left out because they cannot be read: 3 (`cat/cut.png`, `cat/empty.png`")
    assert archive.class_names == ("cat", "dog")
    assert load(packed(PETS)).skipped == ()


def test_links_and_pipes_on_disk_are_listed(tmp_path):
    root = on_disk(tmp_path, PETS)
    (root / "cat" / "link.png").symlink_to(root / "cat" / "0.png")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "dog" / "pipe.png")
    assert load(root).skipped == (
        Skipped("cat/link.png", "a link, and links are not followed"),
        Skipped("dog/pipe.png", "not a plain file"),
        Skipped("loop", "a link, and links are not followed"),
    )


def test_a_file_that_vanishes_is_listed(tmp_path):
    root = on_disk(tmp_path, PETS)
    returned: list[Dataset] = []
    progress = watched(root, returned)
    assert next(progress) == 0
    (root / "cat" / "3.png").unlink()
    list(progress)
    assert returned[0].skipped == (Skipped("cat/3.png", "it cannot be read (No such file or directory)"),)


def test_names_are_shown_safely():
    files = {**PETS, "cat/`\u202e\u2028x`.txt": b"", "cat/" + "n" * 200 + ".txt": b""}
    nearly, long = load(packed(files)).skipped
    assert nearly.path == "cat/`??x`.txt"
    assert long.path == "…" + "n" * 75 + ".txt" and len(long.path) == 80


def test_names_without_a_mark_are_read_as_utf8_where_they_are():
    """As macOS packs them; what is no UTF-8 keeps the old encoding of zip files."""
    sound = packed({**PETS, "kNNse/0.png": png(), "kNse/1.png": png()}).getvalue()
    utf8, cp437 = (b"kNNse", "käse".encode()), (b"kNse", "käse".encode("cp437"))
    assert load(io.BytesIO(sound.replace(*utf8))).class_names == ("cat", "dog", "kNse", "käse")
    assert load(io.BytesIO(sound.replace(*cp437))).class_names == ("cat", "dog", "kNNse", "käse")
    both = sound.replace(*utf8).replace(*cp437)
    assert load(io.BytesIO(both)).class_names == ("cat", "dog", "käse")


# --- class folders that nobody can tell apart ------------------------------------------------------------------------

ONE, OTHER = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("one", "other"), [("Fox", "fox"), ("straße", "STRASSE"), (ONE, OTHER), (ONE.upper(), OTHER), ("σας", "ΣΑΣ")]
)
@pytest.mark.parametrize("layout", ["{one}/1.png {other}/1.png", "train/{one}/1.png test/{other}/1.png"])
def test_classes_that_differ_in_case_or_encoding_only_are_refused(tmp_path, one, other, layout):
    names = [*(f"train/{name}" if "train" in layout else name for name in PETS), *layout.split()]
    names = [name.format(one=one, other=other) for name in names]
    files = {name: png() for name in names}
    for source in (packed(files), on_disk(tmp_path, files)):
        with pytest.raises(
            ValueError, match="differ only in case or in how their letters are encoded; rename"
        ) as caught:
            load(source)
        assert f"`{min(one, other)}`, `{max(one, other)}`" in str(caught.value)


def test_classes_that_only_look_alike_are_two():
    assert load(packed({**PETS, "cats/1.png": png(), "саt/1.png": png()})).class_names == ("cat", "cats", "dog", "саt")


# --- reading that can be watched -------------------------------------------------------------------------------------


def test_progress_is_told_and_the_end_returns_the_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_PROGRESS_INTERVAL_S", 0)
    bad = {**PETS, "cat/bad.png": b"x", "cat/x.txt": b"x"}
    for source in (packed(bad), on_disk(tmp_path, bad)):
        returned: list[Dataset] = []
        assert list(watched(source, returned)) == [done / 11 for done in range(11)]
        assert len(returned[0].train) + len(returned[0].validation) + len(returned[0].test) == 10
    monkeypatch.setattr(folders, "_PROGRESS_INTERVAL_S", 60)
    assert list(watched(packed(PETS), [])) == [0]


def watched(source: BinaryIO | Path, returned: list[Dataset]) -> Iterator[float]:
    returned.append((yield from read(source)))


def test_reading_that_is_closed_lets_go_of_the_file(tmp_path):
    path = tmp_path / "pets.zip"
    path.write_bytes(packed(PETS).getvalue())
    before = set(os.listdir("/proc/self/fd"))
    progress = read(path)
    next(progress)
    assert set(os.listdir("/proc/self/fd")) > before
    progress.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_nothing_is_read_before_the_first_next(tmp_path):
    progress = read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="cannot be read"):
        next(progress)


# --- the way into a folder on the server -----------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with another beside it, and links to both."""
    on_disk(
        tmp_path, {"root/pets/cats/1.png": b"", "secret/1.png": b"", "rootless/1.png": b"", "root/a b ä/1.png": b""}
    )
    base = tmp_path / "root"
    (base / "inside").symlink_to(base / "pets")
    (base / "outside").symlink_to(tmp_path / "secret")
    (base / "nearly").symlink_to("../rootless")
    (base / "nowhere").symlink_to(tmp_path / "gone")
    (base / "loop").symlink_to("loop")
    (base / "pets" / "up").symlink_to("../..")
    return base


@pytest.mark.parametrize(
    ("typed", "folder"),
    [
        ("", "."),
        (".", "."),
        ("pets", "pets"),
        (" pets/cats/ ", "pets/cats"),
        ("pets//./cats", "pets/cats"),
        ("pets\\cats", "pets/cats"),
        ("a b ä", "a b ä"),
        ("inside", "pets"),
        ("inside/cats", "pets/cats"),
    ],
)
def test_folders_inside_the_root_are_found(root, typed, folder):
    assert resolve_allowed(root, typed) == (root / folder).resolve()


def test_the_root_itself_may_be_a_link(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    assert resolve_allowed(tmp_path / "alias", "pets") == root / "pets"
    assert resolve_allowed(str(tmp_path / "alias"), "") == root


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("..", "does not name a folder inside"),
        ("pets/../..", "does not name a folder inside"),
        ("pets/../pets", "does not name a folder inside"),
        ("..\\secret", "does not name a folder inside"),
        ("/", "does not name a folder inside"),
        ("/etc", "does not name a folder inside"),
        ("//host/share", "does not name a folder inside"),
        ("\\\\host\\share", "does not name a folder inside"),
        ("C:\\pets", "does not name a folder inside"),
        ("c:pets", "does not name a folder inside"),
        ("pets\0", "does not name a folder inside"),
        ("pets\n/cats", "does not name a folder inside"),
        ("outside", "leads out of the allowed folder"),
        ("outside/deeper", "leads out of the allowed folder"),
        ("nearly", "leads out of the allowed folder"),
        ("nowhere", "leads out of the allowed folder"),
        ("pets/up", "leads out of the allowed folder"),
        ("pets/up/secret", "leads out of the allowed folder"),
        ("loop", "there is no folder"),
        ("dogs", "there is no folder"),
        ("pets/cats/1.png", "there is no folder"),
        ("pets/cats/1.png/x", "there is no folder"),
        ("~", "there is no folder"),
        ("$HOME", "there is no folder"),
        ("*", "there is no folder"),
        ("x" * 5000, "there is no folder"),
        ("half \ud800", "there is no folder"),
    ],
)
def test_everything_else_is_refused_in_one_sentence_that_tells_nothing(root, typed, words):
    with pytest.raises(ValueError, match=words) as caught:
        resolve_allowed(root, typed)
    text = str(caught.value)
    assert text.endswith(".") and text.isprintable() and len(text) < 250
    assert str(root) not in text and str(root.parent) not in text


def test_what_a_link_leads_to_is_not_told(root, tmp_path):
    sentences = set()
    for name in ("secret", "gone"):
        (root / "link").symlink_to(tmp_path / name)
        with pytest.raises(ValueError) as caught:
            resolve_allowed(root, "link")
        sentences.add(str(caught.value))
        (root / "link").unlink()
    assert len(sentences) == 1


def test_a_root_that_is_gone_is_no_folder(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        resolve_allowed(tmp_path / "gone", "")
