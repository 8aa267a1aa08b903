"""`pretrained --results`: what the pages show of the pretrained networks without measuring it."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from explorer import checkpoints, stored_results
from explorer.checkpoints import Checkpoint
from explorer.datasets import Dataset
from explorer.experiments import lesions, scenes, stored_gradients
from explorer.experiments.agreement import Parting, Predictions, parting
from explorer.experiments.loss_surface import stored
from explorer.experiments.measurement import DataFacts, content_of, facts_key, measure_twins, parting_key, result_key
from explorer.pretrained import RECIPES, Recipe

REPORT_EVERY = 5.0  # seconds between two lines of progress


def ship_results(data: str, dataset: Dataset, folder: Path) -> None:
    """Measures all twins that were trained on that `data`, and writes their results into one file of the folder, and
    where they part into another.

    Raises CheckpointError where a network is missing or not the one that is listed.
    """
    names = [recipe.name for recipe in RECIPES.values() if recipe.data == data]
    loaded = {name: checkpoints.load_pretrained(name, folder) for name in names}
    content = _content(dataset)
    facts = DataFacts(content, len(dataset.test), dataset.class_names)
    results: dict[str, dict[str, np.ndarray]] = {facts_key(dataset.name): stored_results.pack(facts)}
    partings: dict[str, dict[str, np.ndarray]] = {}
    files = checkpoints.pinned(folder)
    for plain, residual in zip(names[::2], names[1::2], strict=True):
        shown = 0.0
        for share, found in measure_twins(
            [loaded[plain], loaded[residual]], dataset.test, dataset.class_names, content
        ):
            results |= found
            if time.monotonic() - shown > REPORT_EVERY or share == 1:
                shown = time.monotonic()
                print(f"{share:4.0%}  {plain} and {residual}", file=sys.stderr, flush=True)
        if parted := _parting([loaded[plain], loaded[residual]], results, content, len(dataset.test)):
            key = parting_key([files[plain], files[residual]], dataset.name)
            partings[key] = stored_results.pack(parted)
    prefix = _prefix(RECIPES[names[0]])
    stored_results.ship(results, folder / f"{prefix}.{stored_results.SUFFIX}")
    stored_results.ship(partings, folder / f"{prefix}-partings.{stored_results.SUFFIX}")


def _parting(
    twins: Sequence[Checkpoint], results: Mapping[str, Mapping[str, np.ndarray]], content: str, n: int
) -> Parting | None:
    """Where the twins part, by their predictions among the results."""
    keys = [result_key("said", [checkpoints.digest(each)], content, n) for each in twins]
    first, second = (stored_results.unpack(Predictions, results[key]) for key in keys)
    return parting(first, second) if first and second else None


def ship_gradients(folder: Path) -> None:
    """Measures the gradients that the page Gradients opens with, and writes them into a file of the folder."""
    found = {key: stored_results.pack(flow) for key, flow in stored_gradients.shipped(folder)}
    stored_results.ship(found, folder / f"gradients.{stored_results.SUFFIX}")


def ship_scenes(folder: Path) -> None:
    """Measures the predictions of the scenes that lessons use, and writes them into the folder."""
    twins = [checkpoints.load_pretrained(name, folder) for name in scenes.TWINS]
    stored_results.ship(scenes.shipped(twins), folder / f"scenes.{stored_results.SUFFIX}")


def ship_lesions(datasets: Mapping[str, Dataset], folder: Path) -> None:
    """Measures what the networks of these data get right without each single block, and writes it into a file of the
    folder."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for recipe in RECIPES.values():
        if dataset := datasets.get(recipe.data):
            network = checkpoints.load_pretrained(recipe.name, folder)
            print(f"lesions of {recipe.name}", file=sys.stderr, flush=True)
            for _, packed in lesions.shipped(network, dataset.test, dataset.class_names, _content(dataset)):
                found |= packed
    stored_results.ship(found, folder / f"lesions.{stored_results.SUFFIX}")


def ship_surfaces(folder: Path) -> None:
    """Measures the usual loss surfaces of the networks that the page shows with their answers, and writes them into a
    file of the folder."""
    loaded = {name: checkpoints.load_pretrained(name, folder) for name in stored.SHIPPED}
    found: dict[str, Mapping[str, np.ndarray]] = {}
    for words, packed in stored.shipped(loaded):
        print(f"surface of {words}", file=sys.stderr, flush=True)
        found |= packed
    stored_results.ship(found, folder / f"surfaces.{stored_results.SUFFIX}")


def _content(dataset: Dataset) -> str:
    """What identifies its test images: the drawing is frozen under its name."""
    return dataset.name if dataset.test.masks is not None else content_of(dataset.test, dataset.class_names)


def _prefix(recipe: Recipe) -> str:
    return recipe.name.partition("-")[0]
