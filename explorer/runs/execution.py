"""`execute`: what a run's process does when its turn has come."""

import errno
import io
import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, Network, build
from explorer.datasets import Dataset, Split, builtin, shapes, stored
from explorer.files import write_atomically
from explorer.pretrained import checkpoint_of
from explorer.runs.directory import Ending, Request, Run, downloads_folder, stored_data
from explorer.runs.log import LogWriter
from explorer.runs.queue import POLL_S
from explorer.training import (
    Progress,
    TrainingConfig,
    TrainingState,
    fit_together,
    normalise,
    restore,
    save,
    use_threads,
)

SAVE_EVERY = 20.0  # seconds of training between two saved states, beside one at each epoch's end
PATIENCE = 3.0  # seconds for a tidy stop; after that the process ends as it stands
SAMPLES = 12
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

Say = Callable[..., None]


class Stopped(Exception):
    """Someone asked this run to stop."""


def execute(run: Run) -> Ending:
    """Trains what the run's request says, from the saved state where there is one, and returns how it ended.

    Whatever happens is written into the metrics file; nothing is raised. Memory: the run may take what is free when
    it starts and no more, so that it fails and not the app beside it.
    """
    log = LogWriter(run.metrics)
    turn = threading.Lock()
    ended: list[Ending] = []  # whoever ends the run first, the training or the watch, has the last word

    def end(outcome: Ending, message: str = "", **values: Any) -> Ending:
        with turn:
            if not ended:
                run.reserve.unlink(missing_ok=True)
                log.write("end", outcome=outcome, message=message, time=time.time(), **values)
                log.sync()
                ended.append(outcome)
            return ended[0]

    watch = threading.Thread(target=_stop_in_time, args=(run, end), daemon=True)
    watch.start()
    try:
        request = run.request()
        _limit_memory(request.device)
        return end("finished", **_train(run, request, log.write))
    except Stopped:
        return end("stopped")
    except (ValueError, RuntimeError, MemoryError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return end("failed", _disk_full(run))
        if _is_out_of_memory(error):
            return end("failed", _out_of_memory(run))
        if isinstance(error, ValueError):
            return end("failed", str(error))
        return end("failed", _unexpected())
    except Exception:
        return end("failed", _unexpected())


def _train(run: Run, request: Request, say: Say) -> dict[str, Any]:
    say("phase", phase="preparing")
    use_threads()
    config = TrainingConfig.from_dict(request.config)
    config = replace(config, device=request.device)  # type: ignore[arg-type]
    specs = [ArchitectureSpec.from_dict(values) for values in request.specs]
    dataset = _dataset(run, request, say)
    networks = [build(spec, config.seed) for spec in specs]
    state = TrainingState()
    if run.state.exists():
        state = restore(run.state, networks, config)
    samples = _samples(dataset.test if len(dataset.test) else dataset.train)
    if not run.samples.exists():
        write_atomically(run.samples, _npy(samples.images))
    say(
        "start",
        step=state.step,
        data=dataset.name,
        class_names=list(dataset.class_names),
        notes=list(dataset.notes),
        labels=samples.labels.tolist(),
        names=[spec.name for spec in specs],
    )
    say("phase", phase="training")
    looked, pause = -math.inf, 0.0
    told = [len(entry.gradient_steps) for entry in state.networks] or [0] * len(networks)
    saved, epoch, spoken = time.monotonic(), state.epoch, 0.0
    training = fit_together(networks, dataset, config, state)
    for progress in training:
        _check_stop(run, networks, state, config, progress)
        _tell_gradients(say, progress, told)
        if progress.records:
            break
        if progress.epoch > epoch:
            _tell_validation(say, progress)
        # Half a second at first, for the eye; later less often, so that the file stays small through the night.
        if progress.epoch > epoch or time.monotonic() - spoken > min(10.0, max(0.4, progress.seconds / 120)):
            spoken = time.monotonic()
            _tell_progress(say, progress)
        if time.monotonic() - looked > pause:
            looked = time.monotonic()
            _tell_predictions(say, progress.step, networks, samples, dataset)
            pause = max(1.5, 40 * (time.monotonic() - looked))  # looking may cost one fortieth of the time
        if progress.epoch > epoch or time.monotonic() - saved > SAVE_EVERY:
            save(run.state, networks, state, config)
            saved, epoch = time.monotonic(), progress.epoch
    _tell_validation(say, progress)
    _tell_progress(say, progress)
    _tell_predictions(say, progress.step, networks, samples, dataset)

    say("phase", phase="measuring on the test pictures")
    files: list[dict[str, Any]] = []
    for spec, network, record in zip(specs, networks, progress.records, strict=True):
        checkpoint = checkpoint_of(network, dataset, record)
        name = spec.name.lower()
        sha256 = checkpoints.save(checkpoint, run.network_file(name))
        files.append({"name": name, "title": spec.name, "sha256": sha256, "outcome": record.outcome})
        files[-1] |= {"steps": record.steps, "shortcut": spec.shortcut, **checkpoint.figures}
    return {"networks": files, "seconds": progress.seconds, "device": record.device, "precision": record.precision}


def _dataset(run: Run, request: Request, say: Say) -> Dataset:
    kind = request.data.get("kind")
    if kind == "shapes":
        return shapes.load(size=int(request.data.get("size", 32)))
    if kind == "stored":
        return stored.load(stored_data(str(request.data.get("number"))))
    if kind in builtin.BUILTIN:
        folder = downloads_folder()
        if not builtin.is_there(kind, folder):
            for transfer in builtin.download(kind, folder):
                say("phase", phase="downloading", done=transfer.done_bytes, total=transfer.total_bytes)
                if run.stop_mark.exists():
                    raise Stopped
            say("phase", phase="preparing")
        return builtin.load(kind, folder)
    raise ValueError(f"there is no data of the kind {kind!r}; start a new run.")


def _check_stop(
    run: Run, networks: list[Network], state: TrainingState, config: TrainingConfig, progress: Progress
) -> None:
    if run.stop_mark.exists() and not progress.records:
        save(run.state, networks, state, config)
        raise Stopped


def _tell_progress(say: Say, progress: Progress) -> None:
    say(
        "progress",
        step=progress.step,
        epoch=progress.epoch,
        fraction=progress.fraction,
        seconds=progress.seconds,
        images_per_second=progress.images_per_second,
        learning_rate=progress.learning_rate,
        networks=[
            {"loss": standing.loss, "accuracy": standing.accuracy, "outcome": standing.outcome}
            for standing in progress.networks
        ],
    )


def _tell_validation(say: Say, progress: Progress) -> None:
    measured = [standing.validation for standing in progress.networks]
    if any(measured):
        say(
            "validation",
            step=progress.step,
            networks=[
                {"loss": result.loss, "accuracy": result.accuracy, "n": result.n} if result else None
                for result in measured
            ],
        )


def _tell_gradients(say: Say, progress: Progress, told: list[int]) -> None:
    """The weight gradients that were measured since the last time; `told` counts what was said of each network."""
    for index, standing in enumerate(progress.networks):
        sizes = standing.gradients
        for step, norms in zip(sizes.steps[told[index] :], sizes.norms[told[index] :], strict=True):
            layers = {"layers": list(sizes.layers)} if step == 0 else {}
            say("gradients", step=step, network=index, norms=list(norms), **layers)
        told[index] = len(sizes.steps)


@torch.no_grad()
def _tell_predictions(say: Say, step: int, networks: Sequence[Network], samples: Split, dataset: Dataset) -> None:
    answers = []
    for network in networks:
        device = next(network.parameters()).device
        pixels = torch.from_numpy(samples.images).permute(0, 2, 3, 1).to(device)
        mean, std = (torch.tensor(values, device=device) for values in (dataset.mean, dataset.std))
        training = network.training
        probabilities = network.eval()(normalise(pixels, mean, std)).softmax(1)
        network.train(training)
        best = probabilities.max(1)
        answers.append([best.indices.tolist(), best.values.tolist()])
    say("predictions", step=step, networks=answers)


def _samples(split: Split) -> Split:
    """The first pictures of each class in turn, `SAMPLES` of them: the same ones whenever the run is resumed."""
    order = np.argsort(split.labels, kind="stable")
    ranks = np.empty(len(split), np.int64)
    ranks[order] = np.arange(len(split)) - np.searchsorted(split.labels[order], split.labels[order])
    chosen = np.lexsort((split.labels, ranks))[:SAMPLES]
    return Split(split.images[chosen], split.labels[chosen])


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _limit_memory(device: str) -> None:
    """This process may take what is free now, so that asking for more fails in it, with a message."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # should memory run out all the same: this one goes first
            file.write("800")
        if device != "cpu":
            return  # a GPU's driver reserves address space in ways that this limit does not understand
        import resource

        with open("/proc/self/status") as file:
            taken = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData:"))
        free = free_memory() + taken
        resource.setrlimit(resource.RLIMIT_DATA, (free, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    except (OSError, ImportError, ValueError):
        pass  # no Linux


def free_memory() -> int:
    """Bytes that a new process could take, of the machine and of its control group."""
    with open("/proc/meminfo") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file if line.split()[1].isdigit()}
    free = sizes["MemAvailable"]
    try:
        with open("/sys/fs/cgroup/memory.max") as limit, open("/sys/fs/cgroup/memory.current") as used:
            free = min(free, int(limit.read()) - int(used.read()))
    except (OSError, ValueError):
        pass  # no limit
    return max(free, 2**29)


def _stop_in_time(run: Run, end: Callable[..., Ending]) -> None:
    """Ends the process where a step, a download or a test takes longer than a person wants to wait for a stop."""
    while not run.stop_mark.exists():
        time.sleep(POLL_S)
    time.sleep(PATIENCE)
    end("stopped")
    os._exit(0)


def _is_out_of_memory(error: Exception) -> bool:
    texts = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in texts)


def _out_of_memory(run: Run) -> str:
    batch = int(run.request().config.get("batch_size", 2))
    smaller = max(2, batch // 2)
    return f"It ran out of memory with {batch} pictures a step. Start it again with a batch size of {smaller} or less."


def _disk_full(run: Run) -> str:
    run.reserve.unlink(missing_ok=True)
    kept = "The last saved state is kept" if run.state.exists() else "Nothing was saved yet"
    return f"The disk is full. {kept}; free some space, for example by deleting runs, and resume."


def _unexpected() -> str:
    incident = uuid.uuid4().hex[:8]
    logging.exception("incident %s", incident)
    return f"Something went wrong that should not have (incident {incident}); the run's log has the rest."
