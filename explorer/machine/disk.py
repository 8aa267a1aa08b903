"""Files as every system has them: moves that wait for readers, private files, links, and names that Windows keeps."""

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Windows refuses to replace or remove a file that another program reads, such as a virus scanner: it is tried again
after each of these pauses."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors of a full disk."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
"""Flags of `os.open` that change a file or make one."""
_JUNCTION = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT: a link of folders, which Windows does not call a symbolic link
_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(10))}


def free(folder: Path) -> int:
    """Bytes that are free on the disk of that folder, which need not be there yet. Raises OSError."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.is_dir())).free


def replace(source: Path | str, target: Path | str) -> None:
    """Moves the file to `target`, in place of the file there. Raises OSError."""
    _patiently(lambda: os.replace(source, target))


def remove(path: Path) -> None:
    """Removes the file, if it is there. Raises OSError."""
    _patiently(lambda: path.unlink(missing_ok=True))


def _patiently(change: Callable[[], None]) -> None:
    for pause in PAUSES_S:
        try:
            return change()
        except PermissionError:
            time.sleep(pause)
    change()


def private(path: str, flags: int) -> int:
    """An `opener` for `open`: other accounts of this machine may not read a file that it makes. On Windows the folder
    decides who may."""
    return os.open(path, flags, 0o600)


def make_private(folder: Path) -> None:
    """Closes the folder to the other accounts of this machine. Raises OSError where it is another account's."""
    folder.chmod(0o700)


def readable_by_all(path: Path | str) -> None:
    """Lets the other accounts of this machine read the file."""
    os.chmod(path, 0o644)


def is_link(entry: "os.DirEntry[str]") -> bool:
    """Whether the entry leads elsewhere: a symbolic link or a junction. Raises OSError where it is gone."""
    return entry.is_symlink() or getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0) == _JUNCTION


def is_device(stem: str) -> bool:
    """Whether Windows takes every file of that stem for a device: `con.txt` is the console."""
    return stem.lower() in _DEVICES
