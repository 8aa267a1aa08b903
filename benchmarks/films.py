"""Runs with kept weights for visitors who watch the film of a training; made without training."""

import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, build
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.presets import cifar
from explorer.runs import Request, Run
from explorer.runs.directory import file_stem
from explorer.runs.weight_snapshots import Schedule, WeightSnapshots, log_spaced
from explorer.training import TrainingConfig

NUMBER, LAST = 8, 600  # snapshots, and the step at which such a training ends
DATA = shapes.Drawn(16, ("ring", "cross", "star", "arrow"))


@dataclass(frozen=True)
class Film:
    """The run of one visitor: the secret of its owner, the names of its networks, and its kept steps."""

    owner: str
    networks: tuple[str, str]
    steps: tuple[int, ...]


def write_films(data: Path, count: int) -> list[Film]:
    """Writes so many runs into that data folder, each of an owner of its own, with the same twins of 8 layers: at every
    step they have other weights at random."""
    specs = [cifar(8, shortcut, classes=len(DATA.classes), size=DATA.size) for shortcut in ("none", "identity")]
    found: list[Film] = []
    first: Run | None = None
    for _ in range(count):
        run = Run(data / "runs" / secrets.token_hex(16))
        if first:
            shutil.copytree(first.folder, run.folder)
        else:
            run.folder.mkdir(parents=True, mode=0o700)
            _write_weights(run, specs)
            first = run
        request = Request(
            tuple(spec.to_dict() for spec in specs),
            TrainingConfig(seconds=60.0).to_dict(),
            DATA.request,
            owner=secrets.token_hex(16),
            created=time.time(),
            names=tuple(spec.name for spec in specs),
            snapshots=NUMBER,
        )
        run.write_request(request)
        plain, residual = (f"run-{run.id}-{file_stem(spec.name)}" for spec in specs)
        found.append(Film(request.owner, (plain, residual), log_spaced(NUMBER, LAST)))
    return found


def _write_weights(run: Run, specs: list[ArchitectureSpec]) -> None:
    networks = [build(spec) for spec in specs]
    kept = WeightSnapshots(run.weights, networks, Schedule(NUMBER, LAST))
    for step in log_spaced(NUMBER, LAST):
        for network, spec in zip(networks, specs, strict=True):
            network.load_state_dict(build(spec, step).state_dict())
        kept.take_if_due(step)
    for network in networks:
        finished = Checkpoint(network.freeze(), DATA.classes, (0.5,) * 3, (0.25,) * 3, DATA.name)
        checkpoints.save(finished, run.network_file(file_stem(network.spec.name)))
