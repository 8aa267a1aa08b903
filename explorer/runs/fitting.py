"""`fit_run`: builds and trains the networks of a run's request, and writes its events into the metrics file."""

import io
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, Network, build
from explorer.datasets import Dataset, Split, downloadable, luminance, shapes, stored
from explorer.files import write_atomically
from explorer.pretrained import checkpoint_of
from explorer.runs.dials import RunDials, agreed_changes
from explorer.runs.directory import (
    STOP_GRACE_S,
    Request,
    Run,
    StopRequested,
    downloads_folder,
    file_stem,
    stored_data,
)
from explorer.runs.log import LogWriter
from explorer.runs.snapshots import Snapshots
from explorer.runs.weight_snapshots import Schedule, WeightSnapshots, check_request
from explorer.training import (
    ALONE,
    Processes,
    Progress,
    TrainingConfig,
    TrainingState,
    fit_together,
    planned_steps,
    restore,
    save,
    unused_device,
    use_threads,
)

SAVE_EVERY = 20.0  # seconds of training between two saved states, beside one at each epoch's end
LONG_STEP = STOP_GRACE_S / 2  # a longer step may outlast the grace of a stop: the state is saved after each
SAMPLES = 12


def fit_run(
    run: Run, request: Request, log: LogWriter, frames: int | None = None, processes: Processes = ALONE
) -> dict[str, Any]:
    """Trains, measures and saves the networks, and returns the values of the end event.

    The state is saved before each part that may outlast the grace of a stop, so that a killed run loses a step at
    most. `frames` is the number of snapshots, None for those of `Snapshots`' own schedule. Of several `processes` the
    first one calls this, and the others `fit_beside`. Dials that users turn meanwhile act from the next step on.

    Raises StopRequested, with the state saved, soon after a user asked for it; ValueError, one sentence for a user,
    where the request or its data are damaged or do not fit together; OSError where the disk is full.
    """
    log.write("phase", phase="preparing")
    check_request(request, besides=run)
    config, dataset, networks = _prepared(run, request, log, processes)
    specs = [network.spec for network in networks]
    state = restore(run.state, networks, config) if run.state.exists() else TrainingState()
    dials = RunDials(run, log, config)
    dials.turn(state.step)
    state.changes = agreed_changes(processes, dials.changes)
    samples = _samples(dataset)
    if not run.samples.exists():
        content = io.BytesIO()
        np.save(content, samples.images)
        write_atomically(run.samples, content.getvalue())
    log.write(
        "start",
        step=state.step,
        data=dataset.name,
        train_images=len(dataset.train),
        class_names=list(dataset.class_names),
        notes=[*dataset.notes, *filter(None, [unused_device() if request.device == "cpu" else ""])],
        labels=samples.labels.tolist(),
        names=[spec.name for spec in specs],
    )
    log.write("phase", phase="training")
    first_step, epoch = state.step, state.epoch
    yielded_at = saved_at = time.monotonic()
    reported_at = 0.0
    snapshots = Snapshots(log, networks, samples, dataset, frames)
    schedule = _schedule(request, config, dataset)
    kept = WeightSnapshots(run.weights, networks, schedule, state.step)
    if state.step == 0:
        kept.take_if_due(0)
    reported_gradients = [len(entry.gradient_steps) for entry in state.networks] or [0] * len(networks)
    training = fit_together(networks, dataset, config, state, processes=processes, is_due=schedule.is_due)
    for progress in training:
        _write_gradients(log, progress, reported_gradients)
        if progress.records:
            break
        kept.take_if_due(progress.step)
        stopping, asked = processes.agreed(run.stop_mark.exists(), dials.are_asked())
        if asked and progress.fraction < 1:  # else no step follows
            dials.turn(state.step)
            state.changes = agreed_changes(processes, dials.changes)
        ends = progress.validates_next or progress.epoch > epoch
        if progress.epoch > epoch:
            _write_validation(log, progress)
        # Half a second at first, for the eye; later less often, so that the file of a night stays small.
        interval = min(10.0, max(0.4, progress.seconds / 120))
        if progress.step > first_step and (stopping or ends or time.monotonic() - reported_at > interval):
            reported_at = time.monotonic()
            _write_progress(log, progress)
        if snapshots.is_due(progress) and not stopping:
            snapshots.take(progress)
        long = time.monotonic() - yielded_at > LONG_STEP
        if stopping or ends or long or time.monotonic() - saved_at > SAVE_EVERY:
            log.sync()  # events before the saved state are not written again
            save(run.state, networks, state, config)
            saved_at, epoch = time.monotonic(), progress.epoch
        if stopping:
            raise StopRequested
        yielded_at = time.monotonic()
    training.close()  # type: ignore[attr-defined]  # torch has all threads again
    _write_validation(log, progress)
    if progress.step > first_step:
        _write_progress(log, progress)
        snapshots.take(progress)
    kept.take_last(progress.step)
    log.sync()
    save(run.state, networks, state, config)  # the test may take long

    log.write("phase", phase="measuring on the test images")
    files: list[dict[str, Any]] = []
    for spec, network, record, entry in zip(specs, networks, progress.records, state.networks, strict=True):
        checkpoint = checkpoint_of(network, dataset, record, entry.running)
        name = file_stem(spec.name)
        sha256 = checkpoints.save(checkpoint, run.network_file(name))
        files.append({"name": name, "title": spec.name, "sha256": sha256, "outcome": record.outcome})
        files[-1] |= {"steps": record.steps, "shortcut": spec.shortcut, **checkpoint.metrics}
        files[-1] |= {"passes": record.passes, "side": spec.input_shape[1], "weighted": config.class_weights}
        files[-1] |= {"batchnorm_images": record.batchnorm_images, "threads": record.threads}
        files[-1] |= {"train": asdict(record.epochs[-1].train)} if record.epochs else {}
    return {"networks": files, "seconds": progress.seconds, "device": record.device, "precision": record.precision}


def fit_beside(run: Run, request: Request, processes: Processes) -> None:
    """Takes this process's share of the training that `fit_run` follows in the first one. Writes nothing.

    Raises ValueError as `fit_run` does.
    """
    config, dataset, networks = _prepared(run, request, None, processes)
    state = restore(run.state, networks, config) if run.state.exists() else TrainingState()
    state.changes = agreed_changes(processes)
    is_due = _schedule(request, config, dataset).is_due
    for progress in fit_together(networks, dataset, config, state, processes=processes, is_due=is_due):
        if progress.records:
            return
        stopping, asked = processes.agreed(False, False)
        if asked and progress.fraction < 1:
            state.changes = agreed_changes(processes)
        if stopping:
            return


def _prepared(
    run: Run, request: Request, log: LogWriter | None, processes: Processes
) -> tuple[TrainingConfig, Dataset, list[Network]]:
    """The config, the data as the networks take it, and the networks with their first weights. The first process alone,
    which has a `log`, downloads what is not on this machine; the others wait for it."""
    use_threads(request.threads or None)
    config = replace(TrainingConfig.from_dict(request.config), device=request.device)  # type: ignore[arg-type]
    specs = [ArchitectureSpec.from_dict(values) for values in request.specs]
    if len({spec.name for spec in specs}) < len(specs):
        raise ValueError(f"both networks are called {specs[0].name}; train networks of different names together.")
    if log is None:
        processes.agreed(0)
    dataset = _dataset(run, request, log)
    if log is not None:
        processes.agreed(0)
    dataset = dataset.grey() if specs[0].input_shape[0] == 1 else dataset
    if not len(dataset.test):
        raise ValueError(f"{dataset.name} has no test images to measure the result on; give each class 2 or more.")
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.class_names))
    if not counts.all():
        name = dataset.class_names[int(counts.argmin())]
        raise ValueError(f"{dataset.name} has no training images of the class {name!r}; add some or remove it.")
    return config, dataset, [build(spec, config.seed) for spec in specs]


def _schedule(request: Request, config: TrainingConfig, dataset: Dataset) -> Schedule:
    return Schedule(request.snapshots, planned_steps(config, len(dataset.train)))


def _dataset(run: Run, request: Request, log: LogWriter | None) -> Dataset:
    """The data of the request; what is not on this machine is downloaded where a `log` tells how far that is."""
    kind = request.data.get("kind")
    if kind == "shapes":
        drawn = shapes.Drawn.requested(request.data)
        return shapes.load(size=drawn.size, classes=drawn.classes)
    if kind == "stored":
        return stored.load(stored_data(str(request.data.get("number"))))
    if kind in downloadable.DOWNLOADABLE:
        folder = downloads_folder()
        if log is not None and not downloadable.is_available(kind, folder):
            for transfer in downloadable.download(kind, folder):
                log.write("phase", phase="downloading", done=transfer.done_bytes, total=transfer.total_bytes)
                if run.stop_mark.exists():
                    raise StopRequested
            log.write("phase", phase="preparing")
        return downloadable.load(kind, folder)
    raise ValueError(f"there is no data of the kind {kind!r}; start a new run.")


def _write_progress(log: LogWriter, progress: Progress) -> None:
    fields = ("step", "epoch", "fraction", "seconds", "images_per_second", "learning_rate")
    networks = [
        {field: getattr(network, field) for field in ("loss", "accuracy", "outcome")} for network in progress.networks
    ]
    log.write("progress", **{field: getattr(progress, field) for field in fields}, networks=networks)


def _write_validation(log: LogWriter, progress: Progress) -> None:
    results = [network.validation for network in progress.networks]
    if any(results):
        networks = [asdict(result) if result else None for result in results]
        log.write("validation", step=progress.step, networks=networks)


def _write_gradients(log: LogWriter, progress: Progress, reported: list[int]) -> None:
    """The weight gradients measured since the last call; `reported` counts those in the log of each network."""
    for index, network in enumerate(progress.networks):
        sizes = network.gradients
        for step, norms in zip(sizes.steps[reported[index] :], sizes.norms[reported[index] :], strict=True):
            layers = {"layers": list(sizes.layers)} if step == 0 else {}
            log.write("gradients", step=step, network=index, norms=list(norms), **layers)
        reported[index] = len(sizes.steps)


def _samples(dataset: Dataset) -> Split:
    """The first test pictures of each class in turn, `SAMPLES` of them, as the networks take them: the same ones
    whenever the run is resumed."""
    split = dataset.test
    order = np.argsort(split.labels, kind="stable")
    ranks = np.empty(len(split), np.int64)
    ranks[order] = np.arange(len(split)) - np.searchsorted(split.labels[order], split.labels[order])
    chosen = np.lexsort((split.labels, ranks))[:SAMPLES]
    images = split.images[chosen]
    if len(dataset.mean) == 1:
        images = luminance(images)[:, None].repeat(3, axis=1)
    return Split(images, split.labels[chosen])
