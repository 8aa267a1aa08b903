"""What travels with a run to a node without this disk, and back: code, pictures and the files of the run."""

from pathlib import Path
from typing import Any

from explorer import runs
from explorer.files import write_atomically
from explorer.machine import disk
from explorer.runs import FILE, Request, Run

GROWING = ("metrics.jsonl", "log.txt")
WHOLE = ("state", "samples.npy")
_NETWORK = ".safetensors"
_ROOT = Path(__file__).resolve().parents[2]

Files = dict[str, bytes]
"""Contents by path."""


def is_carried(name: str) -> bool:
    """Whether a file of that name travels between a node and the study's own process, in either direction."""
    return name in (*GROWING, *WHOLE) or (name.endswith(_NETWORK) and bool(FILE.fullmatch(name[: -len(_NETWORK)])))


def code_files() -> Files:
    """All code that a run needs, by path below the repository: a node runs what this process runs."""
    skipped = {_ROOT / "explorer" / name for name in ("ui", "figures", "shipped")}
    return {
        path.relative_to(_ROOT).as_posix(): path.read_bytes()
        for path in sorted((_ROOT / "explorer").rglob("*.py"))
        if not skipped & {*path.parents}
    }


def run_files(run: Run) -> Files:
    """The run's files that travel, by path below the data folder."""
    paths = [path for path in run.folder.iterdir() if is_carried(path.name) or path.name == "request.json"]
    return {f"runs/{run.id}/{path.name}": path.read_bytes() for path in paths}


def data_files(request: Request) -> Files:
    """The files of the pictures that the request trains on, by path below the data folder; {} where a node has to
    download them."""
    from explorer.datasets import downloadable

    kind, folder = request.data.get("kind"), runs.downloads_folder()
    if kind == "stored":
        paths = [runs.stored_data(str(request.data.get("number")))]
    elif kind in downloadable.DOWNLOADABLE and downloadable.is_available(kind, folder):
        paths = [folder / file.path for file in downloadable.DOWNLOADABLE[kind].files]
    else:
        return {}
    return {path.relative_to(runs.data_folder()).as_posix(): path.read_bytes() for path in paths}


def apply(run: Run, changes: dict[str, Any]) -> None:
    """Writes the changes of a run's files. Raises OSError where the disk is full."""
    state = changes["whole"].pop("state", None)
    for name, content in changes["whole"].items():
        if is_carried(name):
            write_atomically(run.folder / name, content)
    for name, (offset, content) in changes["growing"].items():
        if is_carried(name):
            path = run.folder / name
            path.touch(mode=0o600)
            with path.open("r+b") as file:
                file.seek(offset)
                file.write(content)
    if state is not None:  # last: events before it are not sent again
        write_atomically(run.state, state)
    if "state" in changes["gone"]:
        disk.remove(run.state)
