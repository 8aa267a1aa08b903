"""Weight snapshots: the weights of a run's networks at log-spaced steps, one file a step, for a look back in time.

`Snapshots` in `snapshots.py` writes what networks in training say of some pictures. Here their weights are kept, so
that everything can be asked of them later.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from explorer.architectures import ArchitectureSpec, Network, spec_from_dict
from explorer.checkpoints import CheckpointError
from explorer.files import bytes_of, room_left, write_atomically
from explorer.machine import disk
from explorer.machine.locks import is_held
from explorer.runs.directory import Request, Run, file_stem, list_runs, runs_folder

HEADER = "cnn-resnet-explorer-weights"
VERSION = 1
USUAL_NUMBER = 14  # of the ResNet-20 twins they take 15.7 MB
USUAL_BYTES = 50_000_000  # of a run whose number nobody has chosen
FEWEST_USUAL = 4  # a film of fewer is none
QUOTA_BYTES = 500_000_000  # of all runs of one owner
SPARE_BYTES = 100_000_000  # of the disk, for the saved state and the finished networks
DENSITY = 4  # steps a doubling that a training by the clock starts with


@dataclass(frozen=True)
class Plan:
    """The snapshots of a run before it starts: at most `number` files of `each_bytes`, up to some bytes a tensor."""

    number: int
    each_bytes: int

    @property
    def bytes(self) -> int:
        return self.number * self.each_bytes


@dataclass(frozen=True)
class Schedule:
    """The steps at which a training keeps weights, `number` of them at most: step 0, the last one, and others between
    them whose distances grow with the step.

    `last` is the number of steps of the training, None where the clock ends it: then more than enough steps are kept at
    first, and those go that are nearest to their neighbours by ratio.
    """

    number: int
    last: int | None

    def is_due(self, step: int) -> bool:
        """Whether weights are kept after `step` steps. The last step of a training is kept without being asked for."""
        if self.number == 0:
            return False
        if self.last is not None:
            return step in log_spaced(self.number, self.last)
        return step == 0 or (step in _dense_steps(step) and self.number > 2)

    def kept(self, step: int) -> tuple[int, ...]:
        """The steps whose weights are kept once a training has taken `step` steps and goes on."""
        if self.number == 0:
            return ()
        if self.last is not None:
            return tuple(each for each in log_spaced(self.number, self.last) if each <= step)
        return _thinned(self.number, step)


def log_spaced(number: int, last: int) -> tuple[int, ...]:
    """`number` different steps from 0 to `last`, or all where there are fewer: 0, 1, and then each about the same
    multiple of the one before."""
    number = min(max(2, number), last + 1)
    steps = [0]
    if number > 2:
        steps.append(1)
    while len(steps) < number - 1:
        left = number - len(steps)
        steps.append(max(steps[-1] + 1, round(steps[-1] * (last / steps[-1]) ** (1 / left))))
    return (*steps, last) if last else (0,)


def _dense_steps(most: int) -> list[int]:
    """`DENSITY` steps a doubling, from 1 to `most`."""
    steps = {round(2 ** (index / DENSITY)) for index in range(DENSITY * most.bit_length() + 1)}
    return sorted(step for step in steps if step <= most)


def _thinned(number: int, step: int) -> tuple[int, ...]:
    """What is left of `_dense_steps` up to `step`, with room for the last one: the newest always stays, and of those
    between it and 0 the one goes whose neighbours are nearest to each other."""
    kept = [0]
    for each in _dense_steps(step) if number > 2 else ():
        kept.append(each)
        if len(kept) == number:
            del kept[min(range(1, number - 1), key=lambda place: kept[place + 1] / max(kept[place - 1], 0.5))]
    return tuple(kept)


@lru_cache(maxsize=32)
def snapshot_bytes(spec: ArchitectureSpec) -> int:
    """Bytes that one network takes in one snapshot, with its part of the header."""
    tensors = Network.without_values(spec).state_dict()
    sizes = (
        tensor.numel() * (2 if tensor.is_floating_point() else tensor.element_size()) for tensor in tensors.values()
    )
    names = sum(len(name) + 110 for name in tensors)
    return sum(sizes) + names + 2 * len(json.dumps(spec.to_dict()))


def plan(specs: Iterable[ArchitectureSpec], number: int) -> Plan:
    """What `number` snapshots of these networks take together; none where it is 0, else 2 at least."""
    return Plan(max(2, number) if number else 0, sum(map(snapshot_bytes, specs)))


def usual_number(specs: Iterable[ArchitectureSpec]) -> int:
    """The number of snapshots where nobody has chosen one: `USUAL_NUMBER` or as many as `USUAL_BYTES` hold, and none
    where these are too few for a film."""
    number = min(USUAL_NUMBER, USUAL_BYTES // plan(specs, 1).each_bytes)
    return number if number >= FEWEST_USUAL else 0


def check_space(
    specs: Iterable[ArchitectureSpec],
    number: int,
    owner: str = "",
    besides: Run | None = None,
    folder: Path | None = None,
) -> None:
    """Raises ValueError, one sentence with the numbers, where the snapshots do not fit the disk or the owner's quota.

    The quota counts the snapshots of all runs of the owner, but those of the run `besides`: what lies on disk, and of a
    run that waits or trains all that it plans. Runs that were started from a terminal have no owner and no quota.
    `folder` is on the disk where they go, by default that of the runs.
    """
    planned = plan(specs, number)
    if not planned.number:
        return
    others = [run for run in list_runs(owner) if besides is None or run.id != besides.id] if owner else []
    used = sum(map(_claimed_bytes, others)) if owner else None
    reserve = SPARE_BYTES - (bytes_kept(besides) if besides else 0)
    room, where = room_left(folder or runs_folder(), reserve, QUOTA_BYTES, used, "your runs' snapshots")
    if planned.bytes > room:
        fitting = room // planned.each_bytes
        fewer = f"keep {fitting} or fewer" if fitting >= 2 else "keep none"
        raise ValueError(
            f"{planned.number} snapshots of the weights take {planned.bytes / 1e6:,.0f} MB, and {room / 1e6:,.0f} MB "
            f"are {where}; {fewer}, or delete runs."
        )


def check_request(request: Request, besides: Run | None = None) -> None:
    """`check_space` for the run of that request. Raises ValueError."""
    if request.snapshots:
        check_space(map(ArchitectureSpec.from_dict, request.specs), request.snapshots, request.owner, besides)


def _claimed_bytes(run: Run) -> int:
    """Bytes of the run's snapshots: those on disk, and all that are planned where it waits or trains."""
    kept = bytes_kept(run)
    with suppress(ValueError, TypeError, KeyError):  # of a damaged request, whose run keeps nothing more
        request = run.request()
        if request.snapshots and is_held(run.lock):
            return max(kept, plan(map(ArchitectureSpec.from_dict, request.specs), request.snapshots).bytes)
    return kept


def bytes_kept(run: Run) -> int:
    """Bytes of the run's snapshots on disk."""
    return bytes_of(run.weights.glob("*.safetensors"))


class WeightSnapshots:
    """The snapshots of one training, one file for each step in `folder`: `STEP.safetensors`."""

    def __init__(self, folder: Path, networks: Sequence[Network], schedule: Schedule, step: int = 0) -> None:
        """`step` is the one at which the training starts or goes on: later snapshots, of an earlier attempt, are
        removed. Raises OSError where the disk is full."""
        self.folder, self.networks, self.schedule = folder, networks, schedule
        self.taken = -1
        if not schedule.number:
            return
        folder.mkdir(mode=0o700, exist_ok=True)
        for there in steps_in(folder):
            if there > step:
                disk.remove(_file(folder, there))

    def take_if_due(self, step: int) -> None:
        """Keeps the weights after `step` steps where the schedule says so. Raises OSError where the disk is full."""
        if step != self.taken and self.schedule.is_due(step):
            self._take(step)
            for there in {*steps_in(self.folder)} - {*self.schedule.kept(step)}:
                disk.remove(_file(self.folder, there))

    def take_last(self, step: int) -> None:
        """Keeps the weights at the end of a training of `step` steps, as the finished network has them."""
        if self.schedule.number:
            self._take(step)

    def _take(self, step: int) -> None:
        """Weights that ran away, and are no finite numbers, are left out."""
        self.taken = step
        tensors: dict[str, Tensor] = {}
        for number, network in enumerate(self.networks):
            for name, tensor in network.state_dict().items():
                rounded = tensor.detach().to("cpu", torch.bfloat16 if tensor.is_floating_point() else tensor.dtype)
                tensors[f"{number}.{name}"] = rounded.contiguous()
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            return
        entries = [{"name": file_stem(each.spec.name), "spec": each.spec.to_dict()} for each in self.networks]
        header = {"version": VERSION, "step": step, "networks": entries}
        write_atomically(_file(self.folder, step), serialise(tensors, {HEADER: json.dumps(header)}))


def steps_in(folder: Path) -> tuple[int, ...]:
    """The steps whose snapshots lie in that folder, in their order; none where it is missing."""
    stems = (path.stem for path in folder.glob("*.safetensors"))
    return tuple(sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit()))


def beside(file: Path) -> Path:
    """Where the weights of earlier steps of the network in that file lie, or would lie: `train --snapshots` puts them
    into a folder named after the file, for both twins, and a run into `weights`."""
    stems = (file.stem, file.stem.removesuffix("-twin"))
    folders = [*(file.with_name(f"{stem}-weights") for stem in stems), file.with_name("weights")]
    return next((folder for folder in folders if steps_in(folder)), folders[0])


def check_end(folder: Path, network: Network) -> None:
    """Raises ValueError where the last snapshot in that folder is not of this finished network: the folder is then of
    another training. Raises CheckpointError as `load` does."""
    last = dict(load(folder, file_stem(network.spec.name), steps_in(folder)[-1]).named_parameters())
    own = {name: each.detach().to("cpu", torch.bfloat16).float() for name, each in network.named_parameters()}
    if {*own} != {*last} or not all(torch.equal(own[name], last[name]) for name in own):
        raise ValueError(
            f"the weights in `{folder}` are of another training than this network; move the folder away, or give the "
            "file of its own training."
        )


def snapshot_steps(run: Run) -> tuple[int, ...]:
    """The steps of the run whose weights are kept, in their order; none of a run without snapshots."""
    return steps_in(run.weights)


def snapshot(run: Run, name: str, step: int) -> Network:
    """The network of that name (the stem of its file in the run) as it was after `step` steps: frozen, float32 on the
    CPU, the weights and BatchNorm statistics of that moment rounded to bfloat16.

    Statistics of BatchNorm lag in the first steps, see `training.batchnorm`: these are those that the network had. The
    last snapshot has those of the finished network. Raises CheckpointError, one sentence, where there is no such
    snapshot or it is damaged.
    """
    return load(run.weights, name, step)


def load(folder: Path, name: str, step: int) -> Network:
    """The same for a folder of snapshots."""
    path = _file(folder, step)
    damaged = f"the weights at step {step:,} are damaged; choose another step."
    if not path.is_file():
        raise CheckpointError(f"there are no weights of step {step:,}; choose another step.")
    try:
        with safe_open(path, "pt") as file:
            entries = json.loads((file.metadata() or {})[HEADER])["networks"]
            number = next((index for index, entry in enumerate(entries) if entry["name"] == name), None)
            if number is None:
                raise CheckpointError(f"the snapshots hold no network {name!r}; choose another one.")
            spec = spec_from_dict(entries[number]["spec"])
            network = Network.without_values(spec)
            expected = network.state_dict()
            state = {key: file.get_tensor(f"{number}.{key}") for key in expected}
        for key, tensor in state.items():
            wanted = torch.bfloat16 if expected[key].is_floating_point() else expected[key].dtype
            if tensor.shape != expected[key].shape or tensor.dtype != wanted or not tensor.isfinite().all():
                raise CheckpointError(damaged)
            # A copy of every tensor: Windows keeps a file that one of them still reads from.
            state[key] = tensor.to(expected[key].dtype, copy=True)
        network.load_state_dict(state, assign=True)
    except CheckpointError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError):
        raise CheckpointError(damaged) from None
    return network.freeze()


def nearest(steps: Sequence[int], step: int) -> int:
    """The last of the `steps`, which rise, that is not behind `step`; the first where all are. Raises ValueError where
    there are none."""
    if not steps:
        raise ValueError("there are no snapshots; train the network with snapshots of its weights.")
    return max((each for each in steps if each <= step), default=steps[0])


def _file(folder: Path, step: int) -> Path:
    return folder / f"{step}.safetensors"
