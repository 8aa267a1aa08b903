"""`train`, `evaluate`, `speed` and `pretrained`: networks from data, and their accuracy."""

import argparse
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from explorer import checkpoints, installation, recordings
from explorer.architectures import ArchitectureSpec, build
from explorer.checkpoints import PRETRAINED, Checkpoint, CheckpointError
from explorer.cli import CommandResult, inputs, new_networks, one_click
from explorer.cli.formatting import notes_block, percent, table
from explorer.cli.networks import parameters
from explorer.cli.results import ship_gradients, ship_lesions, ship_results, ship_scenes, ship_surfaces
from explorer.datasets import Dataset, Split, folders, shapes
from explorer.experiments import scenes, stored_gradients
from explorer.experiments.loss_surface import stored
from explorer.machine import give_way, launched
from explorer.pretrained import CIFAR_DATA, RECIPES, RECORDED, Recipe, checkpoint_of, measure, rebuild, write_listing
from explorer.runs import describe_results, recomputed, recording, weight_snapshots
from explorer.runs.directory import MOST_SNAPSHOTS
from explorer.runs.log import LogWriter
from explorer.runs.weight_snapshots import Schedule, WeightSnapshots
from explorer.training import (
    Processes,
    Progress,
    TrainingRecord,
    TrainingState,
    choose_device,
    device_name,
    evaluate_classes,
    fit_together,
    joined,
    planned_steps,
    propose,
    use_threads,
)
from explorer.training.config import Device
from explorer.training.speed import measure_speed

REPORT_EVERY = 2.0  # seconds between two lines of progress
LARGEST_DEFAULT = 64  # pixels a side; a training at 224 takes days on a processor


def train_arguments(parser: argparse.ArgumentParser) -> None:
    new_networks.add_network(parser, "a preset; `describe --list` lists them")
    parser.add_argument(
        "--auto",
        action="store_true",
        help="instead of NAME: what one click on the page trains on this machine, by its measured speed",
    )
    parser.add_argument("--data", default="shapes", metavar="DATA", help=f"{inputs.DATA_HELP} (default: shapes)")
    inputs.add_reading(parser)
    parser.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="side of the images, 16, 32 or 64 for shapes (default: what the network takes if that is up to "
        f"{LARGEST_DEFAULT}, else 32)",
    )
    parser.add_argument("--twin", action="store_true", help="train its twin too, from the same weights and batches")
    parser.add_argument("--grey", action="store_true", help="make the images grey, for networks of one input channel")
    parser.add_argument(
        "--out", metavar="FILE", help="to save; -twin is added for the twin (default: NAME.safetensors)"
    )
    parser.add_argument(
        "--snapshots",
        type=int,
        default=0,
        metavar="N",
        help=f"steps whose weights are kept too, spaced by ratio, up to {MOST_SNAPSHOTS}; they go into a folder named "
        "after the file, with -weights (default: 0)",
    )
    inputs.add_threads(parser)
    new_networks.add_config(parser)


def train_network(arguments: argparse.Namespace) -> CommandResult:
    """Train a network, alone or with its twin, and save it."""
    if arguments.auto:
        if launched()[1] > 1:
            raise ValueError("`--auto` is measured for one process; give a NAME and options to train in several.")
        return one_click.train(arguments)
    with joined() as processes:
        return _train(arguments, processes)


def _train(arguments: argparse.Namespace, processes: Processes) -> CommandResult:
    """What `train` says; nothing in a process beside the first one, which writes the files."""
    config = new_networks.config(arguments)
    choose_device(config.device)
    name, spec = new_networks.named_spec(arguments)
    specs = [spec, spec.twin()] if arguments.twin else [spec]
    out = Path(arguments.out or f"{name}.safetensors")
    files = [out, out.with_stem(f"{out.stem}-twin")][: len(specs)]
    for file in files:
        inputs.check_new(file, ".safetensors")
    if not 0 <= arguments.snapshots <= MOST_SNAPSHOTS:
        raise ValueError(f"`--snapshots` must be from 0 to {MOST_SNAPSHOTS}, received {arguments.snapshots}.")
    folder = out.with_name(f"{out.stem}-weights")
    if arguments.snapshots and folder.exists():
        raise ValueError(f"`{folder}` is there already; move it away or give another file as `--out`.")
    use_threads(arguments.threads)
    dataset = inputs.dataset(arguments.data, _size(arguments.size, spec), arguments)
    dataset = dataset.grey() if arguments.grey else dataset
    if not len(dataset.test):
        raise ValueError(f"{dataset.name} has no test images to measure the result on; give each class 2 or more.")

    specs = [replace(spec, input_shape=dataset.input_shape, classes=len(dataset.class_names)) for spec in specs]
    trained = [build(spec, config.seed) for spec in specs]  # twins get the same weights
    state = TrainingState()
    schedule = Schedule(arguments.snapshots, planned_steps(config, len(dataset.train)))
    training = fit_together(trained, dataset, config, state, processes=processes, is_due=schedule.is_due)
    if processes.is_first and arguments.snapshots:
        weight_snapshots.check_space(specs, arguments.snapshots, folder=out.absolute().parent)
        training = _kept(WeightSnapshots(folder, trained, schedule), training)
    records = _follow([spec.name for spec in specs] if processes.is_first else [], training)
    if not processes.is_first:
        return {}, []
    networks: list[dict[str, Any]] = []
    for spec, network, record, entry, file in zip(specs, trained, records, state.networks, files, strict=True):
        checkpoint = checkpoint_of(network, dataset, record, entry.running)
        networks.append({"network": spec.name, "file": str(file), "sha256": checkpoints.save(checkpoint, file)})
        networks[-1] |= {"depth": spec.depth, "shortcut": spec.shortcut, "parameters": record.parameters}
        networks[-1] |= {"outcome": record.outcome, "steps": record.steps, "epochs": len(record.epochs)}
        facts = ("seconds", "images_per_second", "passes", "batchnorm_images")
        networks[-1] |= {fact: getattr(record, fact) for fact in facts} | checkpoint.metrics
    judged = [
        {**entry, "title": entry["network"], "side": dataset.input_shape[1], "weighted": config.class_weights}
        for entry in networks
    ]
    verdict = describe_results(judged, len(dataset.class_names), record.seconds, dataset.name)
    notes = [
        *dataset.notes,
        *(
            f"{name} diverged: the file holds its last finite weights; try a lower --learning-rate or --clip."
            for name in (entry["network"] for entry in networks if entry["outcome"] == "diverged")
        ),
        *filter(None, [recomputed(judged)]),
    ]
    document = {
        "data": dataset.name,
        "input_shape": list(dataset.input_shape),
        "processes": processes.count,
        "networks": networks,
        "verdict": verdict,
        "config": config.to_dict(),
        **{fact: getattr(record, fact) for fact in ("device", "precision", "versions")},
        "notes": notes,
    }
    if arguments.snapshots:
        document |= {"snapshots": {"folder": str(folder), "steps": list(weight_snapshots.steps_in(folder))}}
    header = ("network", "test accuracy", "loss", "n", "parameters", "steps", "seconds", "outcome", "file")
    rows = [
        [entry["network"], percent(entry["test"]["accuracy"]), entry["test"]["loss"], entry["test"]["n"]]
        + [entry["parameters"], entry["steps"], round(entry["seconds"], 1), entry["outcome"], entry["file"]]
        for entry in networks
    ]
    heading = f"Trained on {dataset.name}, seed {config.seed}, {record.device}, {record.precision}"
    heading += f", {processes.count} processes" * (processes.count > 1)
    return document, [heading, "", *table(header, rows), "", verdict, *notes_block(notes)]


def _kept(snapshots: WeightSnapshots, training: Iterator[Progress]) -> Iterator[Progress]:
    """The same progress, while the weights of steps that are due are kept."""
    snapshots.take_if_due(0)
    for progress in training:
        if progress.records:
            snapshots.take_last(progress.step)
        else:
            snapshots.take_if_due(progress.step)
        yield progress


def _size(typed: int | None, spec: ArchitectureSpec) -> tuple[int, int]:
    if typed is not None:
        return typed, typed
    _, height, width = spec.input_shape
    return (height, width) if max(height, width) <= LARGEST_DEFAULT else (32, 32)


def _follow(labels: list[str], training: Iterator[Progress]) -> tuple[TrainingRecord, ...]:
    """Runs a training to its end; its progress goes to stderr, none without `labels`."""
    shown = -math.inf
    for progress in training:
        if not labels or (not progress.records and time.monotonic() - shown < REPORT_EVERY):
            continue
        shown = time.monotonic()
        left = round(progress.seconds * (1 - progress.fraction) / max(progress.fraction, 1e-9))
        standings = "  ".join(
            f"{label}  loss {standing.loss:.4f}  accuracy {percent(standing.accuracy)}"
            for label, standing in zip(labels, progress.networks, strict=True)
        )
        print(
            f"{progress.fraction:4.0%}  epoch {progress.epoch}  step {progress.step:,}  {standings}  "
            f"{progress.images_per_second:,.0f} images/s  {left // 60}:{left % 60:02} left",
            file=sys.stderr,
            flush=True,
        )
    return progress.records


class PrintingLog(LogWriter):
    """A run's log that prints progress on stderr too."""

    def write(self, event: str, **values: Any) -> None:
        super().write(event, **values)
        if event == "progress":
            print(f"{values['fraction']:4.0%}  step {values['step']:,}  {values['seconds']:,.0f} s", file=sys.stderr)


def evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    inputs.add_checkpoint(parser)
    inputs.add_labelled_images(parser)
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="(default: test)")
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="what to compute on (default: auto)")
    inputs.add_threads(parser)


def evaluate_network(arguments: argparse.Namespace) -> CommandResult:
    """Measure a network's accuracy and loss, class by class."""
    checkpoint = inputs.checkpoint(arguments.checkpoint)
    spec = checkpoint.spec
    device = choose_device(arguments.device)
    use_threads(arguments.threads)
    images = inputs.labelled_images(checkpoint, arguments, arguments.split)
    split, names, notes = images.split, images.checkpoint.class_names, list(images.notes)

    checkpoint.network.to(device)
    indices = np.array([names.index(name) for name in images.class_names])
    labelled = Split(split.images, indices[split.labels])
    found = evaluate_classes(checkpoint.network, labelled, checkpoint.mean, checkpoint.std)
    whole, commonest = found.together, names[found.commonest]
    classes = {
        name: {"accuracy": found.right[index] / n, "loss": found.losses[index] / n, "n": n}
        for name, index in zip(images.class_names, indices, strict=True)
        if (n := found.n[index])
    }
    document = {
        "checkpoint": arguments.checkpoint,
        "class_names": list(names),
        "network": spec.name,
        "trained_on": checkpoint.data,
        "seed": checkpoint.seed,
        "data": images.data,
        "split": arguments.split,
        "accuracy": whole.accuracy,
        "loss": whole.loss,
        "n": whole.n,
        "balanced_accuracy": found.balanced_accuracy,
        "majority": found.majority,
        "majority_class": commonest,
        "classes": classes,
        "device": device_name(device),
        "notes": notes,
    }
    seed = "" if checkpoint.seed is None else f" with seed {checkpoint.seed}"
    lines = [
        f"{spec.name}, trained on {checkpoint.data}{seed}, on {len(split):,} {arguments.split} images of "
        f"{images.data}, {device_name(device)}",
        f"Accuracy {percent(whole.accuracy)}, balanced accuracy {percent(found.balanced_accuracy)}, loss "
        f"{whole.loss:.4f}; always answering {commonest!r} gives {percent(found.majority)}",
        "",
    ]
    rows = [(name, percent(part["accuracy"]), part["loss"], part["n"]) for name, part in classes.items()]
    return document, [*lines, *table(("class", "accuracy", "loss", "n"), rows), *notes_block(notes)]


def measure_machine(arguments: argparse.Namespace) -> CommandResult:
    """Measure how fast this machine trains, as forecasts need it."""
    give_way()  # for the whole life of this process, which has the priority of a training
    started = time.perf_counter()
    speed = measure_speed()
    proposal = propose(speed)
    document = {"speed": speed.to_dict(), "took": time.perf_counter() - started}
    forecast = proposal.forecast
    lines = [
        f"{speed.device}, {speed.precision}",
        f"One click trains {proposal.rung.spec.name} and its twin for {proposal.config.seconds:g} s: about "
        f"{forecast.steps:,} steps, {forecast.passes:.1f} passes through the data.",
    ]
    return document, lines


def pretrained_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="to train again; `all` for all of them")
    parser.add_argument("--data", metavar="FOLDER", help=f"the {CIFAR_DATA} as class folders in train/ and test/")
    parser.add_argument("--folder", metavar="FOLDER", help="where they lie (default: those that come with the app)")
    parser.add_argument("--measure", action="store_true", help="measure the accuracies again instead of training")
    parser.add_argument("--results", action="store_true", help="measure what the pages show without a wait")
    parser.add_argument("--record", action="store_true", help="train and record what the app replays, half an hour")
    parser.add_argument("--listing", action="store_true", help="write README.md and SHA256SUMS from the files there")
    inputs.add_threads(parser)


def rebuild_pretrained(arguments: argparse.Namespace) -> CommandResult:
    """List the pretrained networks, train them again, or measure them."""
    writes = arguments.names or arguments.record or arguments.results or arguments.listing
    if writes and arguments.folder is None and not installation.is_checkout():
        raise ValueError("the networks of an installed app are part of its package; name another folder as `--folder`.")
    folder = Path(arguments.folder or PRETRAINED)
    if not folder.is_dir():
        raise ValueError(f"there is no folder `{folder}`; make it or give another as `--folder`.")
    names = list(RECIPES) if arguments.names == ["all"] else arguments.names
    for name in names:
        if name not in RECIPES:
            raise ValueError(f"there is no recipe {name!r}; choose of {', '.join(RECIPES)}, or all.")
        if RECIPES[name].data == CIFAR_DATA and not arguments.data:
            raise ValueError(
                f"{name} is trained on {CIFAR_DATA}; give its class folders in train/ and test/ as `--data FOLDER`."
            )
    use_threads(arguments.threads)
    if arguments.record:
        for name in RECORDED:
            recording.record(name, folder, PrintingLog)
    datasets: dict[str, Dataset] = {}
    for recipe in map(RECIPES.__getitem__, names):
        if recipe.data not in datasets and recipe.data == CIFAR_DATA:
            datasets[recipe.data] = folders.load(arguments.data, validation=0, name=CIFAR_DATA)
        elif recipe.data not in datasets:
            datasets[recipe.data] = shapes.load()
        if arguments.measure:
            measure(recipe, datasets[recipe.data], folder)
        elif not arguments.results:
            _follow([recipe.name], rebuild(recipe, datasets[recipe.data], folder))
    if arguments.results:
        for data, dataset in datasets.items():
            ship_results(data, dataset, folder)
        if {*stored_gradients.TRAINED} <= {*names}:
            ship_gradients(folder)
        if {*scenes.TWINS} <= {*names}:
            ship_scenes(folder)
        if {*RECIPES} <= {*names}:
            ship_lesions(datasets, folder)
        if {*stored.SHIPPED} <= {*names}:
            ship_surfaces(folder)
        write_listing(folder)
    if arguments.listing:  # only on request: it pins all files there
        write_listing(folder)

    networks = [_state(recipe, folder) for recipe in RECIPES.values()]
    header = ("name", "data", "depth", "parameters", "epochs", "test accuracy", "n", "state")
    rows = []
    for entry in networks:
        measured = (percent(entry["test"]["accuracy"]), entry["test"]["n"]) if entry["test"] else (None, None)
        rows.append([*(entry[key] for key in header[:5]), *measured, entry["state"]])
    recorded = [_recorded_state(name, folder) for name in RECORDED]
    lines = [*table(header, rows), "", "`pretrained NAME` trains one again, `pretrained all` all of them."]
    lines += [f"Recorded training {entry['name']}.replay: {entry['state']}" for entry in recorded]
    return {"folder": str(folder), "networks": networks, "recordings": recorded}, lines


def _recorded_state(name: str, folder: Path) -> dict[str, Any]:
    try:
        facts = recordings.load(name, folder).facts
    except ValueError as error:
        return {"name": name, "state": str(error), "facts": None}
    return {"name": name, "state": "ready", "facts": facts}


def _state(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The recipe, and the state of its file in the folder."""
    pin = checkpoints.pinned(folder).get(recipe.name)
    file = folder / f"{recipe.name}.safetensors"
    there: Checkpoint | None = None
    state = "missing"
    if file.exists():
        try:
            there = checkpoints.load(file, pin)
            state = "ready" if pin else "not in SHA256SUMS; `pretrained --listing` adds it"
        except CheckpointError as error:
            state = str(error)
    return {
        "name": recipe.name,
        "data": recipe.data,
        "depth": recipe.spec.depth,
        "parameters": parameters(recipe.spec),
        "epochs": recipe.config.epochs,
        "seed": recipe.config.seed,
        "test": there.metrics.get("test") if there else None,
        "sha256": pin,
        "state": state,
    }
