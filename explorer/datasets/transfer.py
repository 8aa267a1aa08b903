"""The process that downloads: torchvision fetches, checks and unpacks one dataset, and the parent watches the files.

`python -m explorer.datasets.transfer` reads one line of JSON from its standard input: the name of the class in
`torchvision.datasets`, what to set on it first, the folder, and the seconds without a byte after which a server counts
as silent. It ends when that input is closed, as it is when the parent dies. Where it fails, its last line of output
is a `Failure` as JSON, and it returns 1.
"""

import errno
import json
import os
import re
import socket
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """Why a download failed; `detail` is for the log.

    `kind` is "full" or "unwritable" for the disk, "checksum" where what came is not what was published, "refused"
    where the server answered with an error, "unreachable" where it did not, "stopped" where our own process ended.
    """

    kind: str
    detail: str


def fetch(dataset: str, attributes: dict[str, Any], folder: str) -> Failure | None:
    """Downloads and unpacks a dataset of torchvision into `folder`; None, or what went wrong."""
    import torchvision.datasets  # here: it takes seconds, and the parent wants only the types above

    source = getattr(torchvision.datasets, dataset)
    for name, value in attributes.items():
        setattr(source, name, value)
    try:
        source(folder, train=False, download=True)
    except Exception as error:  # torchvision lets urllib, http, ssl, tarfile, zlib and its own RuntimeError through
        return failure_of(error)
    return None


def failure_of(error: Exception) -> Failure:
    """What an error of torchvision, or of the disk, means."""
    # torchvision reports the failures of Fashion-MNIST's mirrors as text only, so text is what there is to judge by.
    detail = f"{type(error).__name__}: {error}"
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return Failure("full", detail)
    if number in (errno.EACCES, errno.EROFS, errno.EPERM):
        return Failure("unwritable", detail)
    if "not found or corrupted" in detail:
        return Failure("checksum", detail)
    return Failure("refused" if re.search(r"HTTP Error \d", detail) else "unreachable", detail)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed
    os._exit(1)


def main() -> int:
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    socket.setdefaulttimeout(request["patience"])
    failure = fetch(request["dataset"], request["attributes"], request["folder"])
    if failure is not None:
        print(json.dumps(asdict(failure)))
    return failure is not None


if __name__ == "__main__":
    sys.exit(main())
