"""The networks that ship: complete, pinned, matched twins, and as good as the listing says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from explorer import checkpoints, stored_results
from explorer.architectures import build
from explorer.checkpoints import PRETRAINED, check_pretrained, load_pretrained, pinned
from explorer.datasets import Split, shapes
from explorer.datasets.shapes import Drawn
from explorer.experiments import measurement, similarity
from explorer.pretrained import CIFAR_DATA, RECIPES, RECORDED, accuracy_against_depth, write_listing
from explorer.training import TrainingConfig, evaluate

TWINS = [(name, name.replace("-plain-", "-resnet-")) for name in RECIPES if "-plain-" in name]


def test_every_recipe_ships_and_nothing_else() -> None:
    assert set(pinned()) == set(RECIPES) == {file.stem for file in PRETRAINED.glob("*.safetensors")}
    assert sum(file.stat().st_size for file in PRETRAINED.glob("*.safetensors")) < 20e6
    assert sum(file.stat().st_size for file in PRETRAINED.iterdir()) < 28e6


@pytest.mark.parametrize("name", RECIPES)
def test_a_file_is_what_its_recipe_makes(name: str) -> None:
    checkpoint, recipe = load_pretrained(name), RECIPES[name]
    assert checkpoint.spec == recipe.spec
    assert checkpoint.data.startswith(recipe.data)
    assert TrainingConfig.from_dict(checkpoint.config) == recipe.config
    assert checkpoint.record["outcome"] == "finished"
    assert checkpoint.record["weight_gradients"]["steps"][0] == 0


@pytest.mark.parametrize(("plain", "residual"), TWINS)
def test_twins_differ_in_their_shortcuts_alone(plain: str, residual: str) -> None:
    first, second = load_pretrained(plain), load_pretrained(residual)
    assert first.spec.twin() == second.spec
    assert first.config == second.config and first.seed == second.seed
    assert first.record["steps"] == second.record["steps"]
    assert (first.data, first.mean, first.std, first.class_names) == (
        second.data,
        second.mean,
        second.std,
        second.class_names,
    )
    weights = [build(checkpoint.spec, checkpoint.seed or 0).state_dict() for checkpoint in (first, second)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_resnet_20_tells_the_shapes_apart() -> None:
    test = load_pretrained("shapes-resnet-20").metrics["test"]
    assert test["accuracy"] > 0.95 and test["n"] == 4_000


def test_cifar_figures_are_of_the_whole_test_set_and_say_that_it_is_the_jpeg_copy() -> None:
    checkpoint = load_pretrained("cifar10jpeg-resnet-20")
    assert "JPEG" in CIFAR_DATA and checkpoint.data == CIFAR_DATA
    assert checkpoint.metrics["test"]["n"] == 10_000


def test_cifar_resnet_20_reaches_86_percent() -> None:
    assert load_pretrained("cifar10jpeg-resnet-20").metrics["test"]["accuracy"] >= 0.86


def test_cifar_resnet_56_reaches_87_percent_and_is_above_its_twin_which_trains_worse_than_20_layers() -> None:
    figures = {
        name: load_pretrained(f"cifar10jpeg-{name}").metrics
        for name in ("plain-20", "plain-56", "resnet-20", "resnet-56")
    }
    assert figures["resnet-56"]["test"]["accuracy"] >= 0.87 > figures["plain-56"]["test"]["accuracy"]
    assert figures["plain-56"]["train"]["accuracy"] < figures["plain-20"]["train"]["accuracy"]
    assert figures["resnet-56"]["train"]["accuracy"] > figures["resnet-20"]["train"]["accuracy"]


def test_accuracy_against_depth_is_that_of_the_files() -> None:
    headers = {name: check_pretrained(name) for name in reversed(pinned())}
    for prefix, data in (("shapes", shapes.Drawn().name), ("cifar10jpeg", CIFAR_DATA)):
        found = accuracy_against_depth(headers, data)
        assert [twins.depth for twins in found] == [8, 20, 56]
        for twins in found:
            assert twins.names == (f"{prefix}-plain-{twins.depth}", f"{prefix}-resnet-{twins.depth}")
            tests = [load_pretrained(name).metrics["test"] for name in twins.names]
            assert [twins.plain, twins.residual] == [test["accuracy"] for test in tests]
            assert [test["n"] for test in tests] == [twins.n] * 2
    assert accuracy_against_depth(headers, "other") == ()


@pytest.mark.parametrize("change", [{}, {"test": {"accuracy": 0.5, "n": 7}}])
def test_what_cannot_be_compared_is_no_point(change: dict[str, Any]) -> None:
    """Twins of which one was not measured, or on other pictures; and a network without its twin."""
    headers = {name: check_pretrained(name) for name in pinned() if name != "shapes-resnet-8"}
    headers["shapes-plain-56"] = replace(headers["shapes-plain-56"], metrics=change)
    assert [twins.depth for twins in accuracy_against_depth(headers, shapes.Drawn().name)] == [20]


def test_the_printed_accuracy_can_be_measured_again() -> None:
    """On the first 500 test pictures: the file's own figure, of all 4,000, within four standard errors."""
    dataset = shapes.load()
    split = Split(dataset.test.images[:500], dataset.test.labels[:500])
    checkpoint = load_pretrained("shapes-resnet-20")
    accuracy = checkpoint.metrics["test"]["accuracy"]
    measured = evaluate(checkpoint.network, split, checkpoint.mean, checkpoint.std).accuracy
    assert abs(measured - accuracy) < 4 * (accuracy * (1 - accuracy) / 500) ** 0.5
    assert (checkpoint.mean, checkpoint.std) == (pytest.approx(dataset.mean), pytest.approx(dataset.std))


@pytest.mark.parametrize("kind", ["said", "cka", "shares"])
def test_what_ships_as_measured_can_be_measured_again(kind: str) -> None:
    """Of plain-8 on shapes, and of its similarity to its twin, within the rounding of other machines. If this fails,
    the code that measures has changed: raise its number in `stored_results.VERSIONS` and make the results again."""
    names = ("shapes-plain-8", "shapes-resnet-8") if kind == "cka" else ("shapes-plain-8",)
    split = shapes.test_split()
    n = measurement.MOST.get(kind, len(split))
    taken, results, digests = measurement.rows(split, measurement.evenly(len(split), n)), [], []
    for loaded in map(load_pretrained, names):
        (*_, (_, result)) = measurement.steps(kind, loaded, taken, shapes.CLASS_NAMES, "label")
        results.append(result)
        digests.append(checkpoints.digest(loaded))
    fresh = stored_results.pack(similarity.cka(*results) if kind == "cka" else results[0])
    shipped = stored_results.load(measurement.result_key(kind, digests, Drawn().name, n))
    assert shipped is not None and shipped.keys() == fresh.keys()
    assert np.array_equal(shipped.get("labels", 0), fresh.get("labels", 0))
    assert (shipped.get("predicted", np.zeros(1)) != fresh.get("predicted", np.zeros(1))).sum() <= 2
    for name in ("probabilities", "cka", "debiased", "mean", "error"):
        assert np.allclose(shipped.get(name, 0), fresh.get(name, 0), atol=2e-3, equal_nan=True)


def test_the_listing_is_the_one_that_the_files_give(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pretrained")
    for name in RECIPES:
        (folder / f"{name}.safetensors").write_bytes((PRETRAINED / f"{name}.safetensors").read_bytes())
    for name in (*(f"{name}.replay" for name in RECORDED), *(f"{name}.npz" for name in pinned(kind="npz"))):
        (folder / name).write_bytes((PRETRAINED / name).read_bytes())
    write_listing(folder)
    for file in ("README.md", "SHA256SUMS"):
        assert (folder / file).read_text() == (PRETRAINED / file).read_text()


def test_a_changed_file_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pretrained")
    name = "shapes-resnet-8"
    content = bytearray((PRETRAINED / f"{name}.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / f"{name}.safetensors").write_bytes(content)
    (folder / "SHA256SUMS").write_text((PRETRAINED / "SHA256SUMS").read_text())
    with pytest.raises(checkpoints.CheckpointError, match="sha256"):
        load_pretrained(name, folder)
