"""Ensembles that users keep, on disk: one JSON file each, which names the members and holds no weights of theirs."""

import json
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer import runs
from explorer.experiments.ensembles import Ensemble
from explorer.files import write_atomically
from explorer.machine import disk

ID = re.compile(r"[0-9a-f]{32}")  # 128 random bits: anyone with the id may look at the ensemble
MOST = 50  # of one owner
_MOST_BYTES = 2**20  # a thousand names of classes take some 20 kB


@dataclass(frozen=True)
class KeptEnsemble:
    """A kept ensemble: its `id`, its owner's secret, its title, when it was kept, and the ensemble."""

    id: str
    owner: str
    title: str
    created: float
    ensemble: Ensemble


def folder() -> Path:
    return runs.data_folder() / "ensembles"


def keep(owner: str, title: str, ensemble: Ensemble) -> str:
    """Writes the ensemble and returns its id. Raises ValueError where the owner has `MOST`, OSError for a full disk."""
    if len(kept(owner)) >= MOST:
        raise ValueError(f"you have kept {MOST} ensembles, and more are not stored; delete one on the page Models.")
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    name = secrets.token_hex(16)
    values: dict[str, Any] = {"owner": owner, "title": title, "created": time.time()}
    write_atomically(folder() / f"{name}.json", json.dumps(values | {"ensemble": ensemble.to_json()}).encode())
    return name


def find(name: str) -> KeptEnsemble | None:
    """The ensemble of that id; None for any other text, and where the file is damaged or gone."""
    if not ID.fullmatch(name):
        return None
    path = folder() / f"{name}.json"
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        owner, title, created = (values[key] for key in ("owner", "title", "created"))
        if not isinstance(owner, str) or not isinstance(title, str) or not isinstance(created, int | float):
            return None
        return KeptEnsemble(name, owner, title, created, Ensemble.from_json(values["ensemble"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def kept(owner: str) -> list[KeptEnsemble]:
    """The owner's ensembles, the newest first."""
    found = (find(path.stem) for path in folder().glob("*.json"))
    return sorted((each for each in found if each and each.owner == owner), key=lambda each: -each.created)


def delete(owner: str, name: str) -> None:
    """Removes that ensemble of the owner. Raises OSError where it cannot be removed."""
    found = find(name)
    if found is not None and found.owner == owner:
        disk.remove(folder() / f"{name}.json")
