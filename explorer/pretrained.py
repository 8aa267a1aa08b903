"""The networks that come with the app: the recipe of each, and the listing of the results."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from explorer import checkpoints, recordings
from explorer.architectures import ArchitectureSpec, Network, build
from explorer.architectures.spec import Shortcut
from explorer.checkpoints import Checkpoint, CheckpointError, Header
from explorer.datasets import Dataset, Split
from explorer.files import write_atomically
from explorer.machine import disk
from explorer.numbers import finite
from explorer.presets import cifar
from explorer.training import (
    Progress,
    TrainingConfig,
    TrainingRecord,
    TrainingState,
    evaluate_classes,
    fit,
    restore,
    save,
)
from explorer.training.batchnorm import COMPARED, running_statistics

TWINS: tuple[Shortcut, Shortcut] = ("none", "identity")
CIFAR_DATA = "CIFAR-10 (JPEG copy)"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides one pretrained network except its data's pixels."""

    name: str
    spec: ArchitectureSpec
    data: str
    config: TrainingConfig


def _recipes() -> dict[str, Recipe]:
    recipes = []
    # 56 layers need a lower rate than 0.4 to learn at all.
    for prefix, data, compiled, trainings in (
        ("shapes", "shapes", False, ((8, 6, 0.4), (20, 6, 0.4), (56, 5, 0.1))),
        ("cifar10jpeg", CIFAR_DATA, True, ((8, 12, 0.4), (20, 36, 0.4), (56, 24, 0.1))),
    ):
        for depth, epochs, rate in trainings:
            config = TrainingConfig(
                epochs=epochs,
                learning_rate=rate,
                schedule="one_cycle",
                weight_decay=5e-4,
                batch_size=128,
                compile=compiled,
            )
            for spec in (cifar(depth, shortcut) for shortcut in TWINS):
                recipes.append(Recipe(f"{prefix}-{spec.name.lower()}", spec, data, config))
    return {recipe.name: recipe for recipe in recipes}


RECIPES: dict[str, Recipe] = _recipes()
RECORDED: dict[str, tuple[str, ...]] = {"shapes-56": ("shapes-plain-56", "shapes-resnet-56")}
"""The trainings of which a recording ships: recipes that are trained together."""


def rebuild(recipe: Recipe, dataset: Dataset, folder: Path = checkpoints.PRETRAINED) -> Iterator[Progress]:
    """Trains the recipe's network on `dataset`, yielding progress, then writes its file into `folder` and lists it.

    The initial weights follow from the seed and the layers' names, the batches from the seed: twins share both. The
    file `.NAME.state` in `folder` has the state after each epoch; a second call after an interruption continues there.
    """
    network, state = build(recipe.spec, recipe.config.seed), TrainingState()
    kept = folder / f".{recipe.name}.state"
    if kept.exists():
        state = restore(kept, [network], recipe.config)
    epoch = state.epoch
    for progress in fit(network, dataset, recipe.config, state):
        if progress.epoch > epoch and not progress.records:
            save(kept, [network], state, recipe.config)
            epoch = progress.epoch
        yield progress
    (record,) = progress.records
    disk.remove(kept)
    _ship(recipe, checkpoint_of(network, dataset, record), dataset, folder)


def measure(recipe: Recipe, dataset: Dataset, folder: Path = checkpoints.PRETRAINED) -> None:
    """Measures the network in the recipe's file again; writes and lists the file with the new figures.

    Raises CheckpointError where the file is not the one that is listed.
    """
    checkpoint = checkpoints.load_pretrained(recipe.name, folder)
    measured = {"test": _figure(checkpoint.network, dataset, dataset.test)}
    _ship(recipe, replace(checkpoint, metrics=measured), dataset, folder)


def _ship(recipe: Recipe, checkpoint: Checkpoint, dataset: Dataset, folder: Path) -> None:
    for name, digest in checkpoints.pinned(folder).items():
        if name != recipe.name and (folder / f"{name}.safetensors").exists():
            checkpoints.load(folder / f"{name}.safetensors", digest)  # no listing of changed files
    train = _figure(checkpoint.network, dataset, dataset.train)
    checkpoint = replace(checkpoint, metrics={**checkpoint.metrics, "train": train})
    checkpoints.save(checkpoint, folder / f"{recipe.name}.safetensors")
    write_listing(folder)


def checkpoint_of(
    network: Network, dataset: Dataset, record: TrainingRecord, running: Mapping[str, Tensor] | None = None
) -> Checkpoint:
    """The `network` that `fit` trained on `dataset`, with the record it gave and the figures of the whole test split:
    "test", and where the training's state has the `running` statistics of BatchNorm from before they were recomputed,
    "test_running" with these, of every k-th test picture: a second look at all would double the wait.

    A loss that is not finite is None there: JSON has no word for it.
    """
    metrics = {"test": _figure(network, dataset, dataset.test)}
    if running:
        recomputed = running_statistics(network)
        network.load_state_dict(running, strict=False)
        every = slice(None, None, -(-len(dataset.test) // COMPARED))
        left = _figure(network, dataset, Split(dataset.test.images[every], dataset.test.labels[every]))
        metrics["test_running"] = {name: left[name] for name in ("accuracy", "loss", "n", "balanced_accuracy")}
        network.load_state_dict(recomputed, strict=False)
    return Checkpoint(
        network=network,
        class_names=dataset.class_names,
        mean=dataset.mean,
        std=dataset.std,
        data=dataset.name,
        seed=record.config.seed,
        config=record.config.to_dict(),
        record=record.to_dict(),
        metrics=metrics,
        rendering=dataset.rendering,
    )


def _figure(network: Network, dataset: Dataset, split: Split) -> dict[str, Any]:
    """Accuracy, loss and n of the split, and for unbalanced data: the mean of the classes' accuracies, the accuracy of
    always predicting the commonest class, and right predictions and pictures of each class, in their order."""
    found = evaluate_classes(network, split, dataset.mean, dataset.std)
    result = found.together
    return {
        "accuracy": result.accuracy,
        "loss": finite(round(result.loss, 4)),
        "n": result.n,
        "balanced_accuracy": found.balanced_accuracy,
        "majority": found.majority,
        "majority_class": dataset.class_names[found.commonest],
        "classes": {"right": list(found.right), "n": list(found.n)},
    }


@dataclass(frozen=True)
class TwinAccuracy:
    """The test accuracies, 0..1, of twins of `depth` layers on the same `n` pictures. `names` are those of the plain
    one and of the residual one."""

    names: tuple[str, str]
    depth: int
    plain: float
    residual: float
    n: int


def accuracy_against_depth(headers: Mapping[str, Header], data: str) -> tuple[TwinAccuracy, ...]:
    """The accuracies in the `headers` of all twins that were trained on that data, the shallowest first. Twins of which
    one is missing, or was not measured on the same number of pictures, are left out."""
    known = {header.spec: (name, header.metrics.get("test")) for name, header in headers.items() if header.data == data}
    found = []
    for spec, (name, measured) in known.items():
        other, beside = known.get(spec.twin(), ("", None)) if spec.shortcut == "none" else ("", None)
        if measured and beside and measured["n"] == beside["n"]:
            accuracies = (measured["accuracy"], beside["accuracy"])
            found.append(TwinAccuracy((name, other), spec.depth, *accuracies, measured["n"]))
    return tuple(sorted(found, key=lambda twins: twins.depth))


def write_listing(folder: Path = checkpoints.PRETRAINED) -> None:
    """Regenerates `SHA256SUMS` and `README.md` of `folder` from the files that lie in it."""
    files = sorted(folder.glob("*.safetensors"), key=lambda file: _order(file.stem))
    recorded = sorted(folder.glob(f"*.{recordings.SUFFIX}"))
    results = sorted(folder.glob("*.npz"))
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in [*files, *recorded, *results]}
    sums = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    rows = [
        "# Pretrained networks",
        "",
        "Generated by `python -m explorer pretrained`; do not edit. Twins (plain and ResNet of one depth on one data",
        "set) started from the same weights and saw the same batches. Accuracies are on the whole training split as it",
        "is, and on the whole test split of n images; in float32.",
        "CIFAR-10 (JPEG copy) is a lossy copy of CIFAR-10: its figures cannot be compared with published ones.",
        "",
        "| file | data | depth | parameters | training | test | n | seed | epochs | trained in | machine | sha256 |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for file in files:
        checkpoint = checkpoints.load(file)
        if "test" not in checkpoint.metrics or not checkpoint.record:
            raise CheckpointError(f"`{file.name}` says nothing of its training and test; move it out of the folder.")
        test, record = checkpoint.metrics["test"], checkpoint.record
        train = checkpoint.metrics.get("train")
        learned = f"{train['accuracy']:.2%}" if train else "not measured"
        rows.append(
            f"| `{file.name}` | {checkpoint.data} | {checkpoint.spec.depth} | {record['parameters']:,} "
            f"| {learned} | {test['accuracy']:.2%} | {test['n']:,} | {checkpoint.seed} | {len(record['epochs'])} "
            f"| {record['seconds'] / 60:.0f} min | {record['device']}, {record['precision']} | `{digests[file.name]}` |"
        )
    if recorded:
        rows += _recorded_rows(recorded, digests)
    if results:
        rows += [
            "",
            "# Stored results",
            "",
            "Made by `python -m explorer pretrained --results`: what pages show of these networks without measuring.",
            "A result belongs to the bytes of the weights, the data, the settings and the version of the code.",
            "",
            "| file | kB | sha256 |",
            "|---|---|---|",
            *(f"| `{file.name}` | {file.stat().st_size / 1000:,.0f} | `{digests[file.name]}` |" for file in results),
        ]
    write_atomically(folder / "SHA256SUMS", sums.encode())
    write_atomically(folder / "README.md", ("\n".join(rows) + "\n").encode())


def _recorded_rows(files: list[Path], digests: dict[str, str]) -> list[str]:
    rows = [
        "",
        "# Recorded trainings",
        "",
        "Made by `python -m explorer pretrained --record`: twins that were trained together, from the same weights and",
        "with the same batches. A file holds curves, gradient sizes, predictions and Grad-CAM along the steps. `same`",
        "says whether the weights at the end are bit by bit those of the file of the same recipe above. Where they are",
        "not, it is another training, with figures of its own. The minutes are of a machine that did other work too.",
        "",
        "| file | network | test | n | same | seed | steps | trained in | machine | sha256 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for file in files:
        facts = recordings.read(file).facts
        for network in facts["networks"]:
            test = network["test"]
            rows.append(
                f"| `{file.name}` | {network['title']} | {test['accuracy']:.2%} | {test['n']:,} "
                f"| {'yes' if network['same_weights'] else 'no'} | {facts['seed']} | {facts['steps']:,} "
                f"| {facts['seconds'] / 60:.0f} min | {facts['device']}, {facts['precision']} "
                f"| `{digests[file.name]}` |"
            )
    return rows


def _order(name: str) -> tuple[int, str]:
    return (list(RECIPES).index(name) if name in RECIPES else len(RECIPES), name)
