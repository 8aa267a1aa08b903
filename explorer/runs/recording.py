"""`record`: trains the networks of some recipes together once more and keeps the training as a `Recording`."""

import hashlib
import shutil
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from explorer import checkpoints, recordings
from explorer.pretrained import RECIPES, RECORDED, write_listing
from explorer.recordings import Recording
from explorer.runs.directory import Request, Run
from explorer.runs.fitting import fit_run
from explorer.runs.log import LogWriter
from explorer.training import choose_device

FRAMES = 120  # snapshots: six a second where all of it plays in 20


def record(name: str, folder: Path, log_writer: type[LogWriter] = LogWriter) -> Recording:
    """Trains as a run does, writes `NAME.replay` into `folder` and lists it.

    The run is `.NAME.run` in `folder` while it trains, so that a second call continues an interrupted one. Raises
    ValueError for an unknown name, or where the shipped networks are missing or damaged.
    """
    if name not in RECORDED:
        raise ValueError(f"there is no training {name!r} to record; choose of {', '.join(RECORDED)}.")
    recipes = [RECIPES[each] for each in RECORDED[name]]
    shipped = [checkpoints.load_pretrained(recipe.name, folder) for recipe in recipes]
    run = Run(folder / f".{name}.run")
    if not (run.folder / "request.json").exists():
        run.folder.mkdir(exist_ok=True)
        request = Request(
            specs=tuple(recipe.spec.to_dict() for recipe in recipes),
            config=recipes[0].config.to_dict(),
            data={"kind": recipes[0].data, "size": recipes[0].spec.input_shape[1]},
            device=choose_device().type,
            names=tuple(recipe.spec.name for recipe in recipes),
        )
        run.write_request(request)
    request = run.request()
    with closing(log_writer(run.metrics)) as log:
        ended = fit_run(run, request, log, FRAMES)
        log.write("end", outcome="finished", message="", **ended)
    pins = checkpoints.pinned(folder)
    networks: list[dict[str, Any]] = []
    for entry, recipe, published in zip(ended["networks"], recipes, shipped, strict=True):
        trained = checkpoints.load(run.network_file(entry["name"]))
        same = weights_digest(trained.network) == weights_digest(published.network)
        networks.append({"title": entry["title"], "test": entry["test"], "shipped": recipe.name})
        networks[-1] |= {"sha256": pins[recipe.name], "same_weights": same}
    facts = {
        "seed": recipes[0].config.seed,
        "seconds": round(ended["seconds"]),
        "steps": max(entry["steps"] for entry in ended["networks"]),
        "networks": networks,
        **{key: trained.record[key] for key in ("device", "precision", "threads", "versions")},
    }
    recording = Recording(asdict(request), facts, np.load(run.samples), run.metrics.read_bytes())
    recordings.save(recording, folder / f"{name}.{recordings.SUFFIX}")
    write_listing(folder)
    shutil.rmtree(run.folder)
    return recording


def weights_digest(network: torch.nn.Module) -> str:
    """sha256 of the bits of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
