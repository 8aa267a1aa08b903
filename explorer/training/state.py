"""`TrainingState`: all that a training needs to continue, in memory and as a file."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor

from explorer.architectures import Network
from explorer.files import write_atomically
from explorer.training.config import TrainingConfig
from explorer.training.dials import DialChange
from explorer.training.record import EpochResult, Outcome

HEADER = "cnn-resnet-explorer-training"
VERSION = 1
_SCALARS = ("step", "epoch", "batches", "seconds", "training_seconds", "learning_rate", "threads")


@dataclass(eq=False)
class NetworkState:
    """The state of one network beside its weights.

    `diverged_at` is the number of steps after which divergence was detected, None where it was not or where an old file
    does not say. `losses` and `hits` are of the batches of this epoch; `moments` is the state of the optimiser, one
    dictionary a parameter, in their order. `running` are the statistics of BatchNorm that training left, where they
    were recomputed at its end.
    """

    outcome: Outcome | None = None
    diverged_at: int | None = None
    epochs: list[EpochResult] = field(default_factory=list)
    gradient_steps: list[int] = field(default_factory=list)
    gradient_norms: list[tuple[float, ...]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    hits: list[Tensor] = field(default_factory=list)
    moments: list[dict[str, Tensor]] = field(default_factory=list)
    running: dict[str, Tensor] = field(default_factory=dict)


@dataclass(eq=False)
class TrainingState:
    """The state of a training. `fit_together` advances it in place, and continues from it.

    Between two yields of the generator the state and the networks belong together: `save` then, `restore` later. On a
    CPU a training by epochs then ends with the same bits as an uninterrupted one. `batches` of `epoch` are done;
    `generator` is the state of its random numbers after them. `seconds` is the clock of the training,
    `training_seconds` the part of it that steps took, `learning_rate` that of the last step. `threads` are torch's for
    each network, 0 before the start. `changes` are all dials that were turned, and those that will be.
    """

    step: int = 0
    epoch: int = 0
    batches: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    learning_rate: float = 0.0
    threads: int = 0
    generator: Tensor | None = None
    changes: tuple[DialChange, ...] = ()
    networks: list[NetworkState] = field(default_factory=list)


def save(path: Path, networks: list[Network], state: TrainingState, config: TrainingConfig) -> None:
    """Writes weights and state as one file, whole or not at all. Raises OSError where the disk is full."""
    tensors: dict[str, Tensor] = {}
    lines = []
    for number, (network, entry) in enumerate(zip(networks, state.networks, strict=True)):
        tensors |= {f"{number}.weights.{name}": tensor for name, tensor in network.state_dict().items()}
        tensors |= {f"{number}.running.{name}": tensor for name, tensor in entry.running.items()}
        for index, moments in enumerate(entry.moments):
            tensors |= {f"{number}.moments.{index}.{name}": tensor for name, tensor in moments.items()}
        for name, values in (("losses", entry.losses), ("hits", entry.hits)):
            tensors[f"{number}.{name}"] = torch.stack(values) if values else torch.empty(0)
        kept = {name: getattr(entry, name) for name in ("outcome", "diverged_at", "gradient_steps", "gradient_norms")}
        lines.append({"spec": network.spec.fingerprint, **kept, "epochs": [asdict(epoch) for epoch in entry.epochs]})
    if state.generator is not None:
        tensors["generator"] = state.generator
    scalars = {name: getattr(state, name) for name in _SCALARS}
    header = {"version": VERSION, "config": config.to_dict(), **scalars, "networks": lines}
    header["changes"] = [change.to_dict() for change in state.changes]
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, serialise(contiguous, {HEADER: json.dumps(header)}))


def restore(path: Path, networks: list[Network], config: TrainingConfig) -> TrainingState:
    """The state in the file; its weights go into `networks`, which must be those that it was saved with.

    Raises ValueError, before it changes anything, where the file is damaged or of another training.
    """
    try:
        content = path.read_bytes()
        tensors = deserialise(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][HEADER])
        wrong = _difference(header, networks, config)
        if not wrong:
            return _restored(header, tensors, networks)
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        wrong = "it is damaged"
    raise ValueError(f"the saved state of the training cannot be used ({wrong}); start the training again.")


def _restored(header: dict[str, Any], tensors: dict[str, Tensor], networks: list[Network]) -> TrainingState:
    """Raises any of the errors that `restore` catches for an incomplete file, before it changes anything."""
    weights, states = [], []
    for number, (network, line) in enumerate(zip(networks, header["networks"], strict=True)):
        weights.append({name: tensors[f"{number}.weights.{name}"] for name in network.state_dict()})
        states.append(_network_state(number, line, tensors))
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        for name, tensor in [*weights[-1].items(), *states[-1].running.items()]:
            if tensor.shape != shapes[name]:
                raise ValueError("tensors of another network")
    old = {"threads": 0, "learning_rate": 0.0}  # files of earlier versions lack them and do not need them
    scalars = {name: (old | header)[name] for name in _SCALARS}
    for name, value in scalars.items():
        kind = type(getattr(TrainingState, name))
        if type(value) not in (int, kind) or not 0 <= value < (1025 if name == "threads" else math.inf):
            raise ValueError(f"no {name}")
    changes = tuple(map(DialChange.from_dict, header.get("changes", ())))  # files of earlier versions have none
    for network, values in zip(networks, weights, strict=True):
        network.load_state_dict(values)
    return TrainingState(**scalars, generator=tensors.get("generator"), changes=changes, networks=states)


def _difference(header: dict[str, Any], networks: list[Network], config: TrainingConfig) -> str:
    """The difference of the training in the header from this one, or ""."""
    if header["version"] != VERSION or TrainingConfig.from_dict(header["config"]) != config:
        return "the settings differ"
    if [line["spec"] for line in header["networks"]] != [network.spec.fingerprint for network in networks]:
        return "the networks differ"
    return ""


def _network_state(number: int, line: dict[str, Any], tensors: dict[str, Tensor]) -> NetworkState:
    def below(place: str) -> dict[str, Tensor]:
        prefix = f"{number}.{place}."
        return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}

    moments: list[dict[str, Tensor]] = []
    for key, tensor in below("moments").items():
        index, name = key.split(".", 1)
        if not 0 <= int(index) < len(tensors):
            raise ValueError("moments of no parameter")
        moments += [{} for _ in range(int(index) + 1 - len(moments))]
        moments[int(index)][name] = tensor
    return NetworkState(
        outcome=line["outcome"],
        diverged_at=line.get("diverged_at"),
        epochs=[EpochResult.from_dict(epoch) for epoch in line["epochs"]],
        gradient_steps=line["gradient_steps"],
        gradient_norms=[tuple(norms) for norms in line["gradient_norms"]],
        losses=list(tensors[f"{number}.losses"]),
        hits=list(tensors[f"{number}.hits"]),
        moments=moments,
        running=below("running"),
    )
