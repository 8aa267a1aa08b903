"""`fit_run`: builds and trains what a run's request asks for, and says in the metrics file how it goes."""

import io
import time
from dataclasses import replace
from typing import Any

import numpy as np

from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, build
from explorer.datasets import Dataset, Split, downloadable, shapes, stored
from explorer.files import write_atomically
from explorer.pretrained import checkpoint_of
from explorer.runs.directory import PATIENCE, Request, Run, Stopped, downloads_folder, stored_data
from explorer.runs.log import LogWriter
from explorer.runs.looks import Looks
from explorer.training import (
    Progress,
    TrainingConfig,
    TrainingState,
    fit_together,
    restore,
    save,
    unused_device,
    use_threads,
)

SAVE_EVERY = 20.0  # seconds of training between two saved states, beside one at each epoch's end
# A step that takes longer may outlast a tidy stop, which then ends it as it stands: the state is saved after each.
LONG_STEP = PATIENCE / 2
SAMPLES = 12


def fit_run(run: Run, request: Request, log: LogWriter, frames: int | None = None) -> dict[str, Any]:
    """Trains, measures and saves the networks, and returns what there is to say of them at the end. The state is saved
    before whatever may outlast a tidy stop: whoever is ended then loses a step at most. `frames` is how often it is
    looked at them, None for as often as `Looks` finds right.

    Raises Stopped, with the state saved, soon after someone asked for it; ValueError, one sentence for a person, where
    the request or its data are damaged or do not fit together; OSError where the disk is full.
    """
    log.write("phase", phase="preparing")
    use_threads()
    config = TrainingConfig.from_dict(request.config)
    config = replace(config, device=request.device)  # type: ignore[arg-type]
    specs = [ArchitectureSpec.from_dict(values) for values in request.specs]
    if len({spec.name for spec in specs}) < len(specs):
        raise ValueError(f"both networks are called {specs[0].name}; train networks of different names together.")
    dataset = _dataset(run, request, log)
    if not len(dataset.test):
        raise ValueError(f"{dataset.name} has no test pictures to measure the result on; give each class 2 or more.")
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.class_names))
    if not counts.all():
        name = dataset.class_names[int(counts.argmin())]
        raise ValueError(f"{dataset.name} has no training pictures of the class {name!r}; add some or remove it.")
    networks = [build(spec, config.seed) for spec in specs]
    state = TrainingState()
    if run.state.exists():
        state = restore(run.state, networks, config)
    samples = _samples(dataset.test)
    if not run.samples.exists():
        write_atomically(run.samples, _npy(samples.images))
    log.write(
        "start",
        step=state.step,
        data=dataset.name,
        class_names=list(dataset.class_names),
        notes=[*dataset.notes, *filter(None, [unused_device() if request.device == "cpu" else ""])],
        labels=samples.labels.tolist(),
        names=[spec.name for spec in specs],
    )
    log.write("phase", phase="training")
    begun, came = state.step, time.monotonic()
    looks = Looks(log, networks, samples, dataset, frames)
    told = [len(entry.gradient_steps) for entry in state.networks] or [0] * len(networks)
    saved, epoch, spoken = time.monotonic(), state.epoch, 0.0
    training = fit_together(networks, dataset, config, state)
    for progress in training:
        _tell_gradients(log, progress, told)
        if progress.records:
            break
        stopping = run.stop_mark.exists()
        ends = progress.validates_next or progress.epoch > epoch
        if progress.epoch > epoch:
            _tell_validation(log, progress)
        # Half a second at first, for the eye; later less often, so that the file stays small through the night.
        pace = min(10.0, max(0.4, progress.seconds / 120))
        if progress.step > begun and (stopping or ends or time.monotonic() - spoken > pace):
            spoken = time.monotonic()
            _tell_progress(log, progress)
        if looks.is_due(progress) and not stopping:
            looks.look(progress)
        long = time.monotonic() - came > LONG_STEP
        if stopping or ends or long or time.monotonic() - saved > SAVE_EVERY:
            log.sync()  # what the state has behind it is not told again
            save(run.state, networks, state, config)
            saved, epoch = time.monotonic(), progress.epoch
        if stopping:
            raise Stopped
        came = time.monotonic()
    training.close()  # type: ignore[attr-defined]  # torch has all threads again
    _tell_validation(log, progress)
    if progress.step > begun:
        _tell_progress(log, progress)
        looks.look(progress)
    log.sync()
    save(run.state, networks, state, config)  # the test may take long

    log.write("phase", phase="measuring on the test pictures")
    files: list[dict[str, Any]] = []
    for spec, network, record, entry in zip(specs, networks, progress.records, state.networks, strict=True):
        checkpoint = checkpoint_of(network, dataset, record, entry.running)
        name = spec.name.lower()
        sha256 = checkpoints.save(checkpoint, run.network_file(name))
        files.append({"name": name, "title": spec.name, "sha256": sha256, "outcome": record.outcome})
        files[-1] |= {"steps": record.steps, "shortcut": spec.shortcut, **checkpoint.metrics}
        files[-1] |= {"passes": record.passes, "side": spec.input_shape[1], "weighted": config.class_weights}
        files[-1] |= {"batchnorm_images": record.batchnorm_images}
    return {"networks": files, "seconds": progress.seconds, "device": record.device, "precision": record.precision}


def _dataset(run: Run, request: Request, log: LogWriter) -> Dataset:
    kind = request.data.get("kind")
    if kind == "shapes":
        drawn = shapes.Drawn.requested(request.data)
        return shapes.load(size=drawn.size, classes=drawn.classes)
    if kind == "stored":
        return stored.load(stored_data(str(request.data.get("number"))))
    if kind in downloadable.DOWNLOADABLE:
        folder = downloads_folder()
        if not downloadable.is_available(kind, folder):
            for transfer in downloadable.download(kind, folder):
                log.write("phase", phase="downloading", done=transfer.done_bytes, total=transfer.total_bytes)
                if run.stop_mark.exists():
                    raise Stopped
            log.write("phase", phase="preparing")
        return downloadable.load(kind, folder)
    raise ValueError(f"there is no data of the kind {kind!r}; start a new run.")


def _tell_progress(log: LogWriter, progress: Progress) -> None:
    log.write(
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


def _tell_validation(log: LogWriter, progress: Progress) -> None:
    measured = [standing.validation for standing in progress.networks]
    if any(measured):
        log.write(
            "validation",
            step=progress.step,
            networks=[
                {"loss": result.loss, "accuracy": result.accuracy, "n": result.n} if result else None
                for result in measured
            ],
        )


def _tell_gradients(log: LogWriter, progress: Progress, told: list[int]) -> None:
    """The weight gradients that were measured since the last time; `told` counts what was said of each network."""
    for index, standing in enumerate(progress.networks):
        sizes = standing.gradients
        for step, norms in zip(sizes.steps[told[index] :], sizes.norms[told[index] :], strict=True):
            layers = {"layers": list(sizes.layers)} if step == 0 else {}
            log.write("gradients", step=step, network=index, norms=list(norms), **layers)
        told[index] = len(sizes.steps)


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
