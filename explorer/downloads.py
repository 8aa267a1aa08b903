"""Downloads: files come over the network into a folder, each whole and with its checksum, or not at all.

A thread writes them into a private folder beside their places. The generator that a page or a run iterates yields the
progress, and moves the files into their places at the end.
"""

import errno
import hashlib
import logging
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from threading import Event, Thread
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from explorer.errors import PathError
from explorer.machine import disk

PROGRESS_INTERVAL_S = 0.25
RETRY_PAUSES_S = tuple(float(seconds) for seconds in os.environ.get("EXPLORER_DOWNLOAD_PAUSES", "1 4").split())
"""Pauses before the second and the third attempt; the environment variable may name others, or none."""
READ_TIMEOUT_S = 30.0
"""A server that sends no byte for that long counts as unreachable."""

_PREFIX = ".explorer-download-"  # of folders that we may remove, in folders that other programs use too
_ABANDONED_AFTER_S = 3600.0  # without a write; a running download writes more often, or ends
_BLOCK = 2**18
_NO_PERMISSION = (errno.EACCES, errno.EROFS, errno.EPERM)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DownloadProgress:
    """`done_bytes` of `total_bytes` are on the disk, in the `attempt`-th attempt, from 1.

    `done_bytes` may fall when an attempt begins anew. It stays at the total while the files are checked.
    """

    done_bytes: int
    total_bytes: int
    attempt: int


class DownloadError(PathError):
    """A download failed; the message is one sentence with advice."""


class DownloadFailure(Exception):
    """Why an attempt failed; the text is for the log.

    `kind` is "full" or "unwritable" for the disk, "checksum" where other bytes came than were published, "refused"
    where the server answered with an error, "unreachable" where it did not answer.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass(frozen=True)
class PublishedFile:
    """A file that `url` serves, or that is in the archive there; `path`, relative to a folder, is its place.

    Its digest by `algorithm` begins with the hexadecimal digits `digest`. It has at most `max_bytes` bytes.
    """

    url: str
    path: Path
    algorithm: str
    digest: str
    max_bytes: int = 2**28

    def is_intact(self, folder: Path) -> bool:
        """Whether the file is in `folder` with its digest. Raises OSError where it cannot be read."""
        path = folder / self.path
        return path.is_file() and path.stat().st_size <= self.max_bytes and self.digest_of(path).startswith(self.digest)

    def digest_of(self, path: Path) -> str:
        with path.open("rb") as file:  # some systems forbid MD5, but not for other uses than security
            return hashlib.file_digest(file, lambda: hashlib.new(self.algorithm, usedforsecurity=False)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class DownloadRequest:
    """The files of a download, and the words for its errors.

    `files` are wanted. They are downloaded one by one, or in the `archive` (tar). `download_bytes` come over the
    network, `disk_bytes` are needed on the disk meanwhile. `folder_variable` names the environment variable that
    chooses another folder, `alternative` completes "or ..." with the features that work without the files.
    """

    title: str
    files: tuple[PublishedFile, ...]
    archive: PublishedFile | None = None
    download_bytes: int
    disk_bytes: int
    folder_variable: str
    alternative: str

    @property
    def remote(self) -> tuple[PublishedFile, ...]:
        return self.files if self.archive is None else (self.archive,)


def download(request: DownloadRequest, folder: Path) -> Generator[DownloadProgress, None, None]:
    """Brings the files into `folder` (made if need be), and yields the progress every `PROGRESS_INTERVAL_S`.

    Files that are intact in `folder` are not downloaded again, others are replaced. There are three attempts with
    growing pauses; each continues where the one before ended, if the server can. Several downloads of the same files
    do not disturb each other. Closing the generator ends the download and removes its private folder. Where the whole
    program is killed, a later download removes it.

    Raises DownloadError where the network, the server or the disk does not allow the download.
    """
    try:
        if not all(file.is_intact(folder) for file in request.files):
            yield from _download(request, folder)
    except (DownloadFailure, OSError) as error:
        kind = error.kind if isinstance(error, DownloadFailure) else _kind(error, "unwritable")
        _log.warning("download of %s: %s", request.title, error)
        raise _error(request, folder, kind) from None
    yield DownloadProgress(request.download_bytes, request.download_bytes, 1)


def _download(request: DownloadRequest, folder: Path) -> Generator[DownloadProgress, None, None]:
    """As `download`. Raises DownloadFailure, and OSError where the disk does not allow it."""
    missing = [file for file in request.remote if not file.is_intact(folder)]
    present = sum((folder / file.path).stat().st_size for file in request.remote if file not in missing)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    if request.disk_bytes - present > disk.free(folder):
        raise DownloadFailure("full", "not tried: too little space")
    private = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder.resolve()))
    fetched: Future[None] = Future()
    stop = Event()
    try:
        for attempt, pause in enumerate((0.0, *RETRY_PAUSES_S), start=1):
            fetched = Future()
            Thread(target=_attempt, args=(request, missing, folder, private, pause, stop, fetched), daemon=True).start()
            while True:  # once at least: an attempt that fails at once is told too
                done = present + sum(_size(private / file.path) for file in missing)
                yield DownloadProgress(min(request.download_bytes, done), request.download_bytes, attempt)
                if not wait([fetched], PROGRESS_INTERVAL_S).not_done:
                    break
            failure = fetched.exception()
            if not isinstance(failure, DownloadFailure) or failure.kind in ("full", "unwritable"):
                break
            _log.info("attempt %d at %s: %s", attempt, request.title, failure)
        fetched.result()
        for file in missing if request.archive is None else request.files:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            disk.replace(private / file.path, folder / file.path)
    finally:
        stop.set()
        wait([fetched], 1)  # a thread whose server is silent for longer keeps a file that has no name any more
        shutil.rmtree(private, ignore_errors=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # not begun, or not as published and removed by the thread
        return 0


def _remove_abandoned(folder: Path) -> None:
    """Removes the private folders of programs that were killed."""
    for private in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another download removes it at the same time
            last_write = max(path.stat().st_mtime for path in (private, *private.rglob("*")))
            if time.time() - last_write > _ABANDONED_AFTER_S:
                shutil.rmtree(private)


# --- the thread that downloads ----------------------------------------------------------------------------------------


def _attempt(
    request: DownloadRequest,
    missing: list[PublishedFile],
    folder: Path,
    private: Path,
    pause: float,
    stop: Event,
    fetched: Future[None],
) -> None:
    """After `pause` seconds brings the missing files, or all files of the archive, into `private`; ends `fetched`."""
    try:
        stop.wait(pause)
        for file in missing:
            _fetch(file, private, stop)
        if request.archive is not None:
            _unpack((private if missing else folder) / request.archive.path, request.files, private, stop)
        fetched.set_result(None)
    except BaseException as error:
        fetched.set_exception(error)


def _fetch(file: PublishedFile, private: Path, stop: Event) -> None:
    """Brings the file into `private`, continuing what an earlier attempt left there. Raises DownloadFailure."""
    path = private / file.path
    try:
        if stop.is_set() or file.is_intact(private):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        resume_at = path.stat().st_size if path.exists() else 0
        headers = {"User-Agent": "cnn-resnet-explorer"} | ({"Range": f"bytes={resume_at}-"} if resume_at else {})
        with urlopen(Request(file.url, headers=headers), timeout=READ_TIMEOUT_S) as response:
            is_continued = response.status == HTTPStatus.PARTIAL_CONTENT
            with path.open("ab" if is_continued else "wb") as target:
                while not stop.is_set() and target.tell() <= file.max_bytes and (block := response.read1(_BLOCK)):
                    target.write(block)
                    target.flush()  # its size on the disk is the progress
                is_cut_off = target.tell() <= file.max_bytes and bool(response.length)  # not all that was announced
        if not file.is_intact(private):
            digest = file.digest_of(path)
            if not is_cut_off:
                disk.remove(path)  # nothing to continue: the next attempt begins anew
            raise DownloadFailure("checksum", f"{file.algorithm} {digest}, expected {file.digest}")
    except HTTPError as error:
        error.close()
        raise DownloadFailure("refused", str(error)) from None
    except (OSError, HTTPException) as error:
        raise DownloadFailure(_kind(error, "unreachable"), f"{type(error).__name__}: {error}") from None


def _kind(error: Exception, otherwise: str) -> str:
    number = getattr(error, "errno", None)
    return "full" if number in disk.NO_SPACE else "unwritable" if number in _NO_PERMISSION else otherwise


def _unpack(archive: Path, files: tuple[PublishedFile, ...], folder: Path, stop: Event) -> None:
    """Writes those members of the archive that are `files` into `folder`, and no other; ends soon after `stop`."""
    if stop.is_set():
        return
    wanted = {file.path.as_posix(): folder / file.path for file in files}
    with tarfile.open(archive) as members:
        for member in members:
            content = members.extractfile(member) if member.name in wanted else None
            if content is not None and not stop.is_set():
                wanted[member.name].parent.mkdir(parents=True, exist_ok=True)
                with wanted[member.name].open("wb") as file:
                    shutil.copyfileobj(content, file)


# --- the sentence for the user ----------------------------------------------------------------------------------------


def _error(request: DownloadRequest, folder: Path, kind: str) -> DownloadError:
    """The sentence on a failure of that kind."""
    first = request.remote[0]
    place, size = folder / first.path.parent, f"{request.download_bytes / 1e6:.0f} MB"
    server, address = first.url.split("/")[2], first.url.rpartition("/")[0]
    names = ", ".join(f"`{file.path.name}`" for file in request.remote)
    elsewhere = f"or set `{request.folder_variable}` to another folder"
    if kind == "full":
        needed = f"{request.disk_bytes / 1e6:.0f} MB"
        sentence = (
            f"the disk is full: downloading {request.title} needs {needed} in {{path}}; free some space there and "
            f"start again, {elsewhere}."
        )
    elif kind == "unwritable":
        sentence = f"{request.title} cannot be stored in {{path}}; allow this program to write there, {elsewhere}."
    else:
        reason = {
            "checksum": f"what {server} sent was cut off or changed on the way",
            "refused": f"{server} does not hand it out",
            "unreachable": f"{server} cannot be reached",
        }[kind]
        wrong = [file for file in request.remote if (folder / file.path).exists() and not file.is_intact(folder)]
        warning = f" (`{wrong[0].path.name}` there is not the file that was published)" if wrong else ""
        sentence = (
            f"{request.title} cannot be downloaded because {reason}; check the network and start again, or put {names} "
            f"({size}, from {address}/) into {{path}} by hand{warning} and start again, or {request.alternative}."
        )
    return DownloadError(sentence, place)
