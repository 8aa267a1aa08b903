"""The files of a folder that is not trusted, each read into memory, and what is said of files that are left out."""

import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from explorer.machine.disk import is_link

MAX_FILES = 100_000

FilePath = tuple[str, ...]
"""The folders and the name of a file, seen from the root of the source."""

HIDDEN = "hidden, or made by the operating system"
LINK = "a link, and links are not followed"
NO_FILE = "not a plain file"
EMPTY_FOLDER = "an empty folder, which is no class"
TOO_LARGE = "too large for one image"

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")  # and the backslash, which separates folders elsewhere
_JUNK = {"__macosx", "thumbs.db", "desktop.ini"}


class Reader(Protocol):
    """Reads a whole file of at most so many bytes, or only its beginning; raises `UnreadableError`."""

    def __call__(self, max_bytes: int, /, whole: bool = True) -> bytes: ...


class UnreadableError(Exception):
    """A file cannot be read, for a `reason`; `unpacked` of its bytes were read until that was known."""

    def __init__(self, reason: str, unpacked: int) -> None:
        super().__init__(reason)
        self.reason, self.unpacked = reason, unpacked


@dataclass
class Listing:
    """The files of a source that can be read, in the order in which that is fastest, and those that are skipped, each
    with the reason. `encodings` are those that its names can be in, as `decode_names` has them."""

    files: dict[FilePath, Reader] = field(default_factory=dict)
    skipped: dict[FilePath, str] = field(default_factory=dict)
    encodings: dict[str, str] = field(default_factory=dict)


def printable_path(path: FilePath) -> str:
    """A path in one line: its last 80 characters at most; invisible ones become `?`."""
    text = "".join(c if c.isprintable() else "?" for c in "/".join(path))
    return (text if len(text) <= 80 else f"…{text[-79:]}") or "(no name)"


def quote(*paths: FilePath) -> str:
    """The first three paths, each in backticks, for a sentence."""
    texts = ", ".join(f"`{printable_path(path).replace('`', '?')}`" for path in paths[:3])
    return texts + (", …" if len(paths) > 3 else "")


def stem(path: FilePath) -> str:
    """The name of the file without its ending."""
    return path[-1].rpartition(".")[0] or path[-1]


def is_hidden(path: FilePath) -> bool:
    return any(part.startswith(".") or part.lower() in _JUNK for part in path)


def resolve_allowed(root: str | os.PathLike[str], typed: str) -> Path:
    """The folder inside `root` that the user `typed`, relative to `root`, with `/` between folders.

    The result is absolute and without links. `ValueError` where it is no folder, or leads out of `root`: `..`, an
    absolute path, a link that ends elsewhere. The message names only the typed text.
    """
    name = quote((typed.strip(),))
    path = typed.strip().replace("\\", "/")
    if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/") or CONTROL.search(path):
        raise ValueError(
            f"{name} does not name a folder inside the allowed one; give its name from there on, such as `pets/cats`."
        )
    try:
        base = Path(root).resolve(strict=True)
        folder = base.joinpath(path).resolve()
        inside = folder.is_relative_to(base)
        found = inside and folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # not permitted, too long, a circle of links, half a character
        inside, found = True, False
    if not inside:  # said before anything is known of the place it leads to
        raise ValueError(f"{name} is a link that leads out of the allowed folder; copy the images into it.")
    if not found:
        raise ValueError(f"there is no folder {name} inside the allowed one; check the spelling.")
    return folder


def on_disk(root: Path) -> Listing:
    """The files under the folder `root`; links, which may lead out of it, pipes and devices are skipped.

    `ValueError` for more than `MAX_FILES` files, `OSError` where a folder cannot be read.
    """
    listing = Listing()
    folders: list[FilePath] = [()]
    while folders:
        folder = folders.pop()
        empty = True
        with os.scandir(root.joinpath(*folder)) as entries:
            for entry in entries:
                empty, path = False, (*folder, entry.name)
                if is_hidden(path):
                    listing.skipped[path] = HIDDEN
                elif is_link(entry):
                    listing.skipped[path] = LINK
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    listing.files[path] = partial(_read_file, entry.path)
                else:
                    listing.skipped[path] = NO_FILE
                if len(listing.files) + len(listing.skipped) + len(folders) > MAX_FILES:
                    raise ValueError(f"the folder holds more than {MAX_FILES:,} files; choose a smaller one.")
        if empty and folder:
            listing.skipped[(*folder, "")] = EMPTY_FOLDER
    return listing


def _read_file(path: str, max_bytes: int, whole: bool = True) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(min(max_bytes, os.fstat(file.fileno()).st_size) + 1)
    except OSError as error:  # gone or locked since it was listed
        raise UnreadableError(f"it cannot be read ({error.strerror})", 0) from error
    if whole and len(content) > max_bytes:
        raise UnreadableError(TOO_LARGE, len(content))
    return content[:max_bytes]
