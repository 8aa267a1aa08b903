"""`pretrained --results`: what the pages show of the pretrained networks without measuring it."""

import sys
import time
from pathlib import Path

import numpy as np

from explorer import checkpoints, stored_results
from explorer.datasets import Dataset
from explorer.experiments import scenes
from explorer.experiments.measurement import DataFacts, content_of, facts_key, measure_twins
from explorer.pretrained import RECIPES, Recipe

REPORT_EVERY = 5.0  # seconds between two lines of progress


def ship_results(data: str, dataset: Dataset, folder: Path) -> None:
    """Measures all twins that were trained on that `data`, and writes their results into one file of the folder.

    Raises CheckpointError where a network is missing or not the one that is listed.
    """
    names = [recipe.name for recipe in RECIPES.values() if recipe.data == data]
    loaded = {name: checkpoints.load_pretrained(name, folder) for name in names}
    content = dataset.name if dataset.test.masks is not None else content_of(dataset.test, dataset.class_names)
    facts = DataFacts(content, len(dataset.test), dataset.class_names)
    results: dict[str, dict[str, np.ndarray]] = {facts_key(dataset.name): stored_results.pack(facts)}
    for plain, residual in zip(names[::2], names[1::2], strict=True):
        shown = 0.0
        for share, found in measure_twins(
            [loaded[plain], loaded[residual]], dataset.test, dataset.class_names, content
        ):
            results |= found
            if time.monotonic() - shown > REPORT_EVERY or share == 1:
                shown = time.monotonic()
                print(f"{share:4.0%}  {plain} and {residual}", file=sys.stderr, flush=True)
    stored_results.ship(results, folder / f"{_prefix(RECIPES[names[0]])}.{stored_results.SUFFIX}")


def ship_scenes(folder: Path) -> None:
    """Measures the predictions of the scenes that lessons use, and writes them into the folder."""
    twins = [checkpoints.load_pretrained(name, folder) for name in scenes.TWINS]
    stored_results.ship(scenes.shipped(twins), folder / f"scenes.{stored_results.SUFFIX}")


def _prefix(recipe: Recipe) -> str:
    return recipe.name.partition("-")[0]
