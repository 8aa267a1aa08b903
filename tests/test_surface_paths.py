"""A training's path on a loss surface: its axes, and the memory that they take; and what the sentences say."""

import math
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer import checkpoints
from explorer.architectures import Stage, Stem
from explorer.experiments.loss_surface import Surface, SurfaceSettings, cost, sentences, stored
from explorer.experiments.loss_surface import path as paths
from explorer.experiments.loss_surface.cost import SurfaceCost, check_path, memory
from explorer.experiments.loss_surface.directions import flat
from explorer.experiments.loss_surface.path import Weights, displacements, principal_directions, project
from tests.test_loss_surface import made, small, spec, surface

pytestmark = pytest.mark.usefixtures("one_thread")


def kept(number: int, seed: int = 0) -> list[tuple[int, Weights]]:
    """A path of some steps that drifts far from the network, so that its mean matters."""
    network = made(spec()).network
    generator = torch.Generator().manual_seed(seed)
    drift = {name: torch.randn(own.shape, generator=generator) for name, own in network.named_parameters()}
    return [
        (step, {
            name: own.detach() + 3 * drift[name] + 0.3 * torch.randn(own.shape, generator=generator)
            for name, own in network.named_parameters()
        })
        for step in range(number)
    ]  # fmt: skip


def test_the_axes_are_those_of_the_centred_displacements_and_the_path_is_not_centred(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paths, "BLOCK_VALUES", 700)  # several blocks, the last one smaller
    network = made(spec()).network
    changes = displacements(network, kept(5))
    axes = principal_directions(network, changes)
    whole = changes.astype(np.float64)
    *_, expected = np.linalg.svd(whole - whole.mean(0), full_matrices=False)
    basis = np.stack([flat(axis).numpy() for axis in axes])
    assert np.abs((basis * expected[:2]).sum(1)) == pytest.approx([1, 1], abs=1e-6)
    assert abs(basis[0] @ np.linalg.svd(whole, full_matrices=False)[2][0]) < 0.9, "not those about the network"
    found = project(range(5), changes, axes)
    assert found.places[:, 1:] == pytest.approx(whole @ basis.T, rel=1e-4, abs=1e-4)
    assert (found.places[0, 1:] > 0).all()
    assert found.held == pytest.approx(((whole @ basis.T) ** 2).sum() / (whole**2).sum(), rel=1e-4)
    with pytest.raises(ValueError, match="needs weights at 3 or more steps that differ"):
        principal_directions(network, changes[:2])


def test_axes_and_path_take_little_beside_the_displacements() -> None:
    network = made(replace(spec(), stages=(Stage(1, 64),), stem=Stem(64))).network
    names = [name for name, each in network.named_parameters() if each.dim() > 1]
    snapshots = [(step, {name: own.detach() for name, own in network.named_parameters()}) for step in range(80)]
    for step, weights in snapshots:
        weights[names[-1]] = weights[names[-1]] + math.sin(step)
        weights[names[0]] = weights[names[0]] + step
    tracemalloc.start()
    try:
        changes = displacements(network, snapshots)
        axes = principal_directions(network, changes)
        project(range(80), changes, axes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert changes.nbytes > 20e6 and peak < 1.5 * changes.nbytes


def test_the_memory_counts_the_kept_weights_and_refuses_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = sum(each.numel() for each in made(spec()).network.parameters())
    settings = small()
    assert memory(spec(), settings, 14) - memory(spec(), settings) == 2 * 14 * parameters * 4
    counted = cost([(spec(), settings)] * 2, 1e9, [0, 10**6])
    assert counted.path == 2 * 10**6 * parameters * 4 and counted.memory > counted.path
    with pytest.raises(ValueError, match=r"kept weights of this training would need 5,000.0 GB .* fewer snapshots"):
        SurfaceCost(1, 1.0, 5 * 10**12 + 10, 7, 5 * 10**12).check()
    with pytest.raises(ValueError, match="fewer snapshots"):
        check_path([(spec(), 3), (spec(), 10**12)])
    check_path([(spec(), 14)])
    check_path([])


def test_twins_load_their_kept_weights_one_after_the_other() -> None:
    loads: list[int] = []

    def load(number: int) -> list[tuple[int, Weights]]:
        loads.append(number)
        return kept(4, number)

    settings = small(dimensions=2, axes="path")
    twins = [made(spec())] * 2
    span = stored.shared_span(twins, [lambda: load(0), lambda: load(1)], settings)
    assert loads == [0, 1] and span is not None
    own = [stored.shared_span(twins[:1], [partial(load, number)], settings) for number in (0, 1)]
    assert span[0] == (min(each[0][0] for each in own if each), max(each[0][1] for each in own if each))
    assert stored.shared_span(twins, [lambda: load(2)] * 2, small()) is None and 2 not in loads


def test_a_surface_along_other_axes_is_not_completed() -> None:
    """An earlier release found the axes of a path about the network."""
    checkpoint, snapshots, settings = made(spec()), kept(4), small(axes="path")
    whole = surface(checkpoint, settings, snapshots=snapshots)
    marked = replace(whole, losses=whole.losses + 100)
    assert surface(checkpoint, settings, snapshots=snapshots, known=marked).losses.min() > 100
    old = replace(marked, path=whole.path + 1)
    assert surface(checkpoint, settings, snapshots=snapshots, known=old).losses == pytest.approx(whole.losses)
    keys = {stored.key("d", "c", replace(settings, axes=axes), "", snapshots) for axes in ("path", "random")}
    assert len(keys) == 2


# --- the sentences ----------------------------------------------------------------------------------------------------


def sharp(increases: list[float], settings: SurfaceSettings | None = None) -> Surface:
    found = surface(made(spec()), settings or small())
    return replace(found, increases=np.array(increases), increases_known=np.ones(len(increases), bool))


def test_a_verdict_needs_an_interval_of_each() -> None:
    wide, high, alone = sharp([0.0, 1.0, 2.0]), sharp([9.0, 9.1, 9.2]), sharp([1.0])
    assert "so the loss of b rises more." in sentences.comparison(("a", "b"), (wide, high))
    assert "no difference is shown" in sentences.comparison(("a", "b"), (wide, wide))
    for pair in ((wide, alone), (alone, alone), (alone, wide)):
        assert sentences.comparison(("a", "b"), pair) == ""


def test_twins_are_compared_along_the_same_directions() -> None:
    """By hand: the differences 0.10, 0.11 and 0.12 have the mean 0.11 and the half width 4.303 · 0.01 / √3 = 0.0248.
    The intervals of both networks alone overlap."""
    one, other = sharp([0.1, 0.5, 0.9]), sharp([0.0, 0.39, 0.78])
    alone = [sentences.sharpness(each) for each in (one, other)]
    assert alone[0] and alone[1] and alone[0].low < alone[1].high
    assert sentences.comparison(("a", "b"), (one, other)) == (
        "Increase of the loss at radius 0.1, frozen statistics: a 0.5 and b 0.39. "
        "a minus b, over the same 3 directions: 0.11 (95 % interval 0.0852 to 0.135), so the loss of a rises more."
    )
    less = sentences.difference(other, one)
    assert less and (less.value, less.sign) == (pytest.approx(-0.11), -1)
    stopped = replace(other, increases_known=np.array([True, False, True]))
    less = sentences.difference(one, stopped)
    assert less and (less.n, less.value) == (2, pytest.approx(0.11)), "only what was measured of both"


def test_of_several_networks_each_pair_has_its_verdict() -> None:
    found = [sharp([0.1, 0.5, 0.9]), sharp([0.9, 0.1, 0.5]), sharp([7.1, 7.4, 7.9])]
    said = sentences.comparison(("a", "b", "c"), found)
    verdicts = [each for each in said.split(". ") if " minus " in each]
    assert [each.split(",")[0] for each in verdicts] == ["a minus b", "a minus c", "b minus c"]
    assert ["no difference" in each for each in verdicts] == [True, False, False]
    assert said.count("so the loss of c rises more.") == 2 and "Each interval is of its pair alone." in said


def test_the_deep_twins_that_come_with_the_app_differ_with_either_kind_of_statistics() -> None:
    for kind, rises in (("frozen", "shapes-plain-56"), ("recomputed", "shapes-resnet-56")):
        found = []
        for name in ("shapes-plain-56", "shapes-resnet-56"):
            loaded = checkpoints.load_pretrained(name)
            own = stored.key(checkpoints.digest(loaded), loaded.data, stored.usual(1, statistics=kind))
            found.append(stored.load(own))
        assert found[0] and found[1]
        said = sentences.comparison(("shapes-plain-56", "shapes-resnet-56"), [each for each in found if each])
        assert said.endswith(f"so the loss of {rises} rises more.")
        assert said in (Path(__file__).parents[1] / "docs/surface.md").read_text(encoding="utf-8")


def test_the_ends_are_those_of_the_row_through_the_network() -> None:
    found = surface(made(spec()), small(dimensions=2))
    losses = np.arange(9.0).reshape(1, 3, 3).repeat(2, 0)
    moved = replace(found, ys=np.array([-0.1, 1.0, 2.1]), losses=losses, measured=np.ones((3, 3), bool))
    assert "At the ends of the first axis the loss is 0 and 2." in sentences.finding("x", moved, 3)


def test_the_sentences_are_short_and_name_the_images_of_the_statistics() -> None:
    for text in (*sentences.DEFINITIONS, *sentences.LIMITS):
        plain = text.replace("et al.", "et al")
        for each in plain.split(". "):
            assert len(each.split()) <= 25, each
    assert "over the measured images of the first split" in " ".join(sentences.DEFINITIONS)
