"""Downloads: files come over the network into a folder, each whole and with its checksum, or not at all.

The work is done by a process of its own, in a private folder beside the place of the files, and watched by how the
files there grow. `python -m explorer.downloads` is such a process, for one file at one address; another kind of work
is another module that ends with `serve(its function)`.
"""

import contextlib
import errno
import gc
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError

from explorer.errors import PathError

try:
    import fcntl
except ImportError:  # Windows: the app runs there, but has no such locks
    fcntl = None  # type: ignore[assignment]

SECONDS_BETWEEN_TRANSFERS = 0.25
PAUSES = tuple(float(seconds) for seconds in os.environ.get("EXPLORER_DOWNLOAD_PAUSES", "1 4").split())
"""Seconds before the second and the third attempt; the environment variable may name others, or none."""
PATIENCE = 30.0
"""Seconds without a byte after which a server counts as silent."""

_PREFIX = ".explorer-download-"  # of folders that we may remove, in folders that other programs use too
_BLOCK = 2**18
_ROOT = Path(__file__).parents[1]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download has come: `done_bytes` of `total_bytes` are on disk, in the `attempt`-th try, from 1.

    While a try pauses or begins anew `done_bytes` may fall; at the end it stays at the total while files are checked.
    """

    done_bytes: int
    total_bytes: int
    attempt: int


class DownloadError(PathError):
    """Something could not be downloaded; the message is one sentence with what to do."""


@dataclass(frozen=True)
class DownloadFailure:
    """Why a download failed; `detail` is for the log.

    `kind` is "full" or "unwritable" for the disk, "checksum" where what came is not what was published, "refused"
    where the server answered with an error, "unreachable" where it did not, "stopped" where our own process ended.
    """

    kind: str
    detail: str

    def why(self, server: str) -> str:
        """The reason as half a sentence, for the kinds that are no fault of the disk."""
        return {
            "checksum": f"what {server} sent was cut off or changed on the way",
            "refused": f"{server} does not hand it out",
            "unreachable": f"{server} cannot be reached",
            "stopped": "the process that downloads was ended",
        }[self.kind]


@dataclass(frozen=True)
class Job:
    """One download: the process `module` serves `request`, and works in the private folder that it is told.

    Paths are relative to the folder. `growing` are the files whose bytes tell how far it is of `download_bytes`;
    `files` are moved to their places at the end. `disk_bytes` are needed on the disk meanwhile.
    """

    module: str
    request: dict[str, Any]
    growing: tuple[Path, ...]
    files: tuple[Path, ...]
    download_bytes: int
    disk_bytes: int


def deliver(
    job: Job, folder: Path, prepare: Callable[[Path], None] = lambda private: None
) -> Generator[DownloadProgress, None, DownloadFailure | None]:
    """Does the job in a private folder in `folder` (made if need be), then moves its files into their places.

    Says about four times a second how far it has come, and returns why it failed, or None. Three tries with growing
    pauses; `prepare` is called once before, with the private folder. Two that download the same at once do not harm
    each other. Closing the generator ends the process and removes the private folder; if this process is killed
    instead, the other ends too and the next download tidies up.

    Raises DownloadError on Windows, which has no such locks.
    """
    if fcntl is None:
        raise DownloadError("the app downloads on Linux and macOS only; put the files into their folder by hand.")
    try:
        with _private_folder(folder) as private:
            prepare(private)
            if job.disk_bytes - _size(job, private) > shutil.disk_usage(folder).free:
                return DownloadFailure("full", "not tried: too little space")
            failure = yield from _tries(job, private)
            if failure is None:
                _install(job, private, folder)
            return failure
    except OSError as error:
        return disk_failure(error)


def disk_failure(error: OSError) -> DownloadFailure:
    """What an error of the disk at the place of the files means."""
    failure = failure_of(error)
    return failure if failure.kind == "full" else DownloadFailure("unwritable", failure.detail)


def failure_of(error: Exception) -> DownloadFailure:
    """What an error of torchvision, of urllib, or of the disk, means."""
    # torchvision reports the failures of Fashion-MNIST's mirrors as text only, so text is what there is to judge by.
    detail = f"{type(error).__name__}: {error}"
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return DownloadFailure("full", detail)
    if number in (errno.EACCES, errno.EROFS, errno.EPERM):
        return DownloadFailure("unwritable", detail)
    if "not found or corrupted" in detail:
        return DownloadFailure("checksum", detail)
    return DownloadFailure("refused" if re.search(r"HTTP Error \d", detail) else "unreachable", detail)


def _transfer(job: Job, private: Path, attempt: int) -> DownloadProgress:
    return DownloadProgress(min(job.download_bytes, _size(job, private)), job.download_bytes, attempt)


def _size(job: Job, private: Path) -> int:
    return sum((private / path).stat().st_size for path in job.growing if (private / path).exists())


@contextmanager
def _private_folder(folder: Path) -> Iterator[Path]:
    """A new folder in `folder`, locked and at the end removed; those of processes that were killed are removed too."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _locked(folder):  # between making a private folder and locking it nobody may take it for an abandoned one
            for abandoned in folder.glob(f"{_PREFIX}*"):
                with contextlib.suppress(OSError), _locked(abandoned, wait=False):  # locked: somebody downloads into it
                    shutil.rmtree(abandoned, ignore_errors=True)
            private = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder.resolve()))
            stack.callback(shutil.rmtree, private, ignore_errors=True)
            stack.enter_context(_locked(private, wait=False))
        yield private


@contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Holds the lock of a folder, which ends with the process at the latest; `BlockingIOError` if it need not wait."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _install(job: Job, private: Path, folder: Path) -> None:
    """Moves the files into their places, each at once; what two downloads move is the same, by its checksum."""
    for path in job.files:
        if not (private / path).is_symlink():  # else it was in its place before
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(private / path, folder / path)


def _tries(job: Job, private: Path) -> Generator[DownloadProgress, None, DownloadFailure | None]:
    failure = None
    for attempt, pause in enumerate((0.0, *PAUSES), start=1):
        until = time.monotonic() + pause
        while time.monotonic() < until:
            yield _transfer(job, private, attempt)
            time.sleep(min(pause, SECONDS_BETWEEN_TRANSFERS))
        failure = yield from _attempt(job, private, attempt)
        if failure is None or failure.kind in ("full", "unwritable"):
            break
        _log.info("attempt %d at %s: %s", attempt, job.files[0].name, failure.detail)
    return failure


def _attempt(job: Job, private: Path, attempt: int) -> Generator[DownloadProgress, None, DownloadFailure | None]:
    request = {**job.request, "folder": str(private)}
    with tempfile.TemporaryFile(dir=private) as output, tempfile.TemporaryFile(dir=private) as errors:
        command = [sys.executable, "-m", job.module]
        child = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=output, stderr=errors)
        assert child.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it ended at once, which is seen below
                child.stdin.write(json.dumps({"patience": PATIENCE, "request": request}).encode() + b"\n")
                child.stdin.flush()
            while child.poll() is None:
                yield _transfer(job, private, attempt)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(SECONDS_BETWEEN_TRANSFERS)
        finally:
            child.kill()
            child.wait()
            child.stdin.close()
        if child.returncode == 0:
            return None
        output.seek(0)
        errors.seek(0)
        try:
            return DownloadFailure(**json.loads(output.read().splitlines()[-1]))
        except (IndexError, TypeError, ValueError):  # killed, or it could not even begin
            return DownloadFailure(
                "stopped", f"code {child.returncode}: {errors.read()[-1000:].decode(errors='replace')}"
            )


# --- the process that downloads ---------------------------------------------------------------------------------------


def serve(fetch: Callable[..., DownloadFailure | None]) -> NoReturn:
    """Reads one line of JSON from the standard input, calls `fetch` with the request in it, and ends the process.

    It ends too when that input is closed, as it is when the parent dies. Where `fetch` fails, the last line of the
    output is the `DownloadFailure` as JSON, and the exit code is 1.
    """
    gc.disable()  # what is imported stays; looking through all of it takes a seventh of the time
    line = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    socket.setdefaulttimeout(line["patience"])
    failure = fetch(**line["request"])
    if failure is not None:
        print(json.dumps(asdict(failure)), flush=True)
    os._exit(failure is not None)  # torch, where `fetch` has imported it, would take half a second to go


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed
    os._exit(1)


def fetch(address: str, sha256: str, limit: int, name: str, folder: str) -> DownloadFailure | None:
    """The file at `address` as `name` in `folder`: None, or what went wrong.

    What an earlier try left there is continued where the server can. The file's sha256 has to begin with the digits
    `sha256`; no more than `limit` bytes are taken.
    """
    path = Path(folder, name)
    begun = path.stat().st_size if path.exists() else 0
    headers = {"User-Agent": "cnn-resnet-explorer"} | ({"Range": f"bytes={begun}-"} if begun else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
            continued = answer.status == HTTPStatus.PARTIAL_CONTENT
            with path.open("ab" if continued else "wb") as file:
                while file.tell() <= limit and (block := answer.read(_BLOCK)):
                    file.write(block)
                cut_off = file.tell() <= limit and bool(answer.length)  # not all came that was announced
        with path.open("rb") as read:
            digest = hashlib.file_digest(read, "sha256").hexdigest()
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        return failure_of(error)
    if digest.startswith(sha256):
        return None
    if not cut_off:
        path.unlink()  # nothing to continue: the next try begins anew
    return DownloadFailure("checksum", f"sha256 {digest}, expected {sha256}")


if __name__ == "__main__":
    serve(fetch)
