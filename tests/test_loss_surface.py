"""The loss surface: laws, torch's own statistics and Hessian, and the published algorithm written down once more."""

import copy
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector
from torch.optim.swa_utils import update_bn

from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments.agreement import images_for
from explorer.experiments.loss_surface import Surface, SurfaceSettings, measure, sentences, stored
from explorer.experiments.loss_surface.cost import SurfaceCost, cost, passes
from explorer.experiments.loss_surface.curvature import extremes
from explorer.experiments.loss_surface.directions import random_direction
from explorer.experiments.loss_surface.measurement import coarse_to_fine
from explorer.experiments.loss_surface.path import displacements, principal_directions, project
from explorer.experiments.loss_surface.placed import Labelled
from explorer.runs.directory import file_stem
from explorer.runs.weight_snapshots import Schedule, WeightSnapshots
from explorer.training.evaluation import evaluate

CLASSES = ("a", "b", "c")


def spec(shortcut: str = "identity", **changes: object) -> ArchitectureSpec:
    stages = (Stage(1, 4), Stage(1, 6, 2))
    values = {"stem": Stem(4), "input_shape": (3, 8, 8), "classes": 3, "shortcut": shortcut} | changes
    return ArchitectureSpec(stages, **values)  # type: ignore[arg-type]


def made(of: ArchitectureSpec, seed: int = 0) -> Checkpoint:
    """A network whose norms have seen other images than those of the surface."""
    network = build(of, seed)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(16, *of.input_shape, generator=torch.Generator().manual_seed(seed)))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(seed))
                module.bias.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(seed))
    return Checkpoint(network.freeze(), CLASSES, (0.5,) * 3, (0.25,) * 3, "drawn")


def split(n: int, seed: int) -> Split:
    generator = np.random.default_rng(seed)
    return Split(generator.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8), generator.integers(0, 3, n))


SPLITS = {"train": split(20, 1), "test": split(12, 2)}


def surface(checkpoint: Checkpoint, settings: SurfaceSettings, **more: object) -> Surface:
    (*_, last) = measure(checkpoint, SPLITS, CLASSES, settings, **more)  # type: ignore[arg-type]
    return last.surface


def small(**changes: object) -> SurfaceSettings:
    return SurfaceSettings(**{"points": 3, "directions": 0, "n": 20} | changes)  # type: ignore[arg-type]


def tensors(checkpoint: Checkpoint, name: str) -> tuple[Tensor, Tensor]:
    return images_for(checkpoint, SPLITS[name].images), torch.from_numpy(SPLITS[name].labels.copy())


def moved_by_hand(network: Network, steps: Sequence[float], seed: int, kind: str = "filter") -> Network:
    """The published algorithm, filter by filter: the network with its weights at those steps."""
    moved = copy.deepcopy(network)
    with torch.no_grad():
        for number, step in enumerate(steps):
            direction = random_direction(network, seed, number, "none")
            for name, parameter in moved.named_parameters():
                weights, drawn = dict(network.named_parameters())[name], direction[name].clone()
                if weights.dim() <= 1:
                    drawn.zero_()
                elif kind == "filter":
                    for d, w in zip(drawn, weights, strict=True):
                        d.mul_(w.norm() / (d.norm() + 1e-10))
                parameter.add_(step * drawn)
    return moved


def losses(network: Network, images: Tensor, labels: Tensor) -> tuple[float, float]:
    with torch.no_grad():
        logits = network(images)
    return float(F.cross_entropy(logits, labels)), float((logits.argmax(1) != labels).float().mean())


# --- the values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shortcut", ["none", "identity"])
@pytest.mark.parametrize("kind", ["filter", "none"])
def test_frozen_surfaces_are_those_of_the_published_algorithm(shortcut: str, kind: str) -> None:
    checkpoint = made(spec(shortcut))
    before = {name: value.clone() for name, value in checkpoint.network.state_dict().items()}
    found = surface(checkpoint, small(dimensions=2, normalisation=kind, reach=0.3, seed=4))
    for row, y in enumerate(found.ys):
        for column, x in enumerate(found.xs):
            moved = moved_by_hand(checkpoint.network, (x, y), 4, kind)
            for index, name in enumerate(("train", "test")):
                loss, error = losses(moved, *tensors(checkpoint, name))
                assert found.losses[index, row, column] == pytest.approx(loss, rel=2e-5)
                assert found.errors[index, row, column] == pytest.approx(error)
    for index, name in enumerate(("train", "test")):  # the origin is the network
        whole = evaluate(checkpoint.network, SPLITS[name], checkpoint.mean, checkpoint.std)
        assert found.losses[index, 1, 1] == found.centre[index, 0] == pytest.approx(whole.loss, abs=1e-5)
        assert found.errors[index, 1, 1] == pytest.approx(1 - whole.accuracy)
    after = checkpoint.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items()) and not checkpoint.network.training
    assert not any(each.requires_grad or each.grad is not None for each in checkpoint.network.parameters())


@pytest.mark.parametrize("shortcut", ["none", "projection"])
def test_recomputed_statistics_are_torchs_own(shortcut: str) -> None:
    """Training mode on all training images gives their loss, and `update_bn` with them the network for the others."""
    checkpoint = made(spec(shortcut))
    found = surface(checkpoint, small(statistics="recomputed", reach=0.5))
    images, labels = tensors(checkpoint, "train")
    for column, x in enumerate(found.xs):
        moved = moved_by_hand(checkpoint.network, (x,), 0).train()
        assert (found.losses[0, 0, column], found.errors[0, 0, column]) == pytest.approx(
            losses(moved, images, labels), rel=2e-5
        )
        update_bn([images], moved)
        moved.eval()
        assert (found.losses[1, 0, column], found.errors[1, 0, column]) == pytest.approx(
            losses(moved, *tensors(checkpoint, "test")), rel=2e-5
        )


def test_a_network_of_the_same_function_has_the_same_surface_under_filter_normalisation() -> None:
    """A ReLU passes a positive factor on: kernels times 4 before it and divided by 4 behind it change nothing."""
    checkpoint = made(spec("none", norm="none"))
    scaled = replace(checkpoint, network=copy.deepcopy(checkpoint.network))
    with torch.no_grad():
        block = dict(scaled.network.named_modules())["stages.0.0"]
        block.conv1.weight.mul_(4)
        block.conv1.bias.mul_(4)
        block.conv2.weight.div_(4)
    settings = small(dimensions=2)
    a, b = surface(checkpoint, settings), surface(scaled, settings)
    assert a.losses == pytest.approx(b.losses, rel=1e-5) and a.errors == pytest.approx(b.errors)
    raw = replace(settings, normalisation="none")
    c, d = surface(checkpoint, raw), surface(scaled, raw)
    assert c.centre == pytest.approx(d.centre, rel=1e-5)
    assert np.abs(c.losses / d.losses - 1).max() > 1e-2


def test_recomputed_norms_undo_the_size_of_a_kernel() -> None:
    checkpoint = made(spec())
    scaled = replace(checkpoint, network=copy.deepcopy(checkpoint.network))
    with torch.no_grad():
        scaled.network.stem.conv.weight.mul_(8)  # type: ignore[union-attr]
    settings = small(statistics="recomputed", directions=2)
    a, b = surface(checkpoint, settings), surface(scaled, settings)
    assert a.losses == pytest.approx(b.losses, rel=1e-3) and a.increases == pytest.approx(b.increases, abs=1e-3)
    frozen = surface(scaled, small())
    assert abs(frozen.centre[0, 0] - surface(checkpoint, small()).centre[0, 0]) > 1e-2  # its norms are off


def test_twins_move_along_the_same_numbers() -> None:
    plain, residual = made(spec("none")).network, made(spec("identity")).network
    a, b = (random_direction(each, 3, 1, "none") for each in (plain, residual))
    assert {*a} == {*b} and all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["stem.conv.weight"], random_direction(plain, 3, 0, "none")["stem.conv.weight"])
    own = random_direction(plain, 3, 1, "filter", "all")
    assert torch.equal(own["stem.norm.weight"], dict(plain.named_parameters())["stem.norm.weight"])


def test_sharpness_is_the_mean_increase_at_the_radius() -> None:
    checkpoint = made(spec())
    found = surface(checkpoint, small(directions=2, radius=0.2, seed=7))
    images, labels = tensors(checkpoint, "train")
    for number in range(2):
        direction = random_direction(checkpoint.network, 7, 2 + number)
        around = []
        for sign in (0.2, -0.2):
            moved = copy.deepcopy(checkpoint.network)
            with torch.no_grad():
                for name, parameter in moved.named_parameters():
                    parameter.add_(sign * direction[name])
            around.append(losses(moved, images, labels)[0])
        assert found.increases[number] == pytest.approx(np.mean(around) - found.centre[0, 0], abs=2e-5)


def test_a_loss_that_is_no_number_is_missing_and_not_zero() -> None:
    checkpoint = made(spec("identity", norm="none"))
    with torch.no_grad():
        checkpoint.network.stem.conv.weight.mul_(1e24)  # type: ignore[union-attr]
    found = surface(checkpoint, small(normalisation="none", reach=1000.0))
    assert found.measured.all() and found.missing == 2
    assert np.isnan(found.losses[:, 0, [0, 2]]).all() and np.isnan(found.errors[:, 0, [0, 2]]).all()
    assert np.isfinite(found.losses[:, 0, 1]).all()
    assert "At 2 of them the loss is not a finite number" in sentences.finding("x", found, 3)


# --- curvature --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statistics", ["frozen", "recomputed"])
def test_the_extreme_eigenvalues_are_those_of_the_whole_hessian(statistics: str) -> None:
    tiny = ArchitectureSpec(
        (Stage(1, 2),), shortcut="identity", stem=Stem(2), input_shape=(3, 8, 8), classes=3, activation="tanh"
    )
    checkpoint = made(tiny)
    images, labels = tensors(checkpoint, "train")
    network = copy.deepcopy(checkpoint.network)
    if statistics == "recomputed":
        network.train()
    names = [name for name, each in network.named_parameters() if each.dim() > 1]
    own = [dict(network.named_parameters())[name] for name in names]
    sizes = [each.numel() for each in own]

    def loss(vector: Tensor) -> Tensor:
        parts = [part.view(each.shape) for part, each in zip(vector.split(sizes), own, strict=True)]
        logits = torch.func.functional_call(network, dict(zip(names, parts, strict=True)), (images,))
        return F.cross_entropy(logits, labels)

    matrix = torch.autograd.functional.hessian(loss, parameters_to_vector(own).detach())
    values = torch.linalg.eigvalsh(matrix.double())
    private = copy.deepcopy(checkpoint.network)
    steps = extremes(private, Labelled(images, labels), 0, statistics == "recomputed", iterations=200)
    products = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
        products += 1
    assert products == found.products <= len(matrix)
    assert found.largest == pytest.approx(float(values[-1]), rel=0.02)
    assert found.smallest == pytest.approx(float(values[0]), abs=0.06 * abs(float(values[0])) + 1e-3 * found.largest)
    assert found.ratio == pytest.approx(abs(found.smallest / found.largest))
    assert not private.training and not any(each.requires_grad for each in private.parameters())


def test_curvature_is_measured_at_places_of_the_surface() -> None:
    found = surface(made(spec()), small(curvature=3, curvature_images=8))
    assert found.curvature[:, 0].tolist() == [-1.0, 0.0, 1.0] and found.is_complete
    alone = surface(made(spec()), small(curvature=1, curvature_images=8)).curvature[0]
    assert found.curvature[1] == pytest.approx(alone)


# --- the path ---------------------------------------------------------------------------------------------------------


def test_a_path_in_the_plane_of_the_directions_lies_where_it_went() -> None:
    network = made(spec()).network
    axes = [random_direction(network, 0, number) for number in (0, 1)]
    places = [(0.9, -0.4), (0.5, 0.1), (0.0, 0.0)]
    snapshots = []
    for step, (x, y) in enumerate(places):
        own = {name: each + x * axes[0][name] + y * axes[1][name] for name, each in network.named_parameters()}
        snapshots.append((step, own))
    changes = displacements(network, snapshots)
    path = project([0, 1, 2], changes, axes)
    assert path.places[:, 1:] == pytest.approx(np.array(places), abs=1e-5) and path.held == pytest.approx(1)
    principal = principal_directions(network, changes)
    along = project([0, 1, 2], changes, principal)
    assert along.held == pytest.approx(1) and along.places[0, 1] > 0
    assert np.linalg.norm(along.places[:, 1:], axis=1) == pytest.approx(np.linalg.norm(changes, axis=1), rel=1e-4)
    settings = small(dimensions=2, axes="path")
    found = surface(made(spec()), settings, snapshots=snapshots)
    assert found.xs[0] < along.places[:, 1].min() and found.xs[-1] > along.places[:, 1].max()
    assert found.centre == pytest.approx(surface(made(spec()), small()).centre) and len(found.path) == 3
    with pytest.raises(ValueError, match="no two directions"):
        principal_directions(network, changes[:1])
    with pytest.raises(ValueError, match="are of another network"):
        displacements(network, [(3, {"stem.conv.weight": torch.zeros(1)})])


def test_the_path_of_a_run_comes_from_its_kept_weights(tmp_path: Path) -> None:
    network = made(spec()).network
    snapshots = WeightSnapshots(tmp_path / "weights", [network], Schedule(3, 2))
    snapshots.take_if_due(0)
    with torch.no_grad():
        moved = copy.deepcopy(network)
        for parameter in moved.parameters():
            parameter.mul_(1.5)
    WeightSnapshots(tmp_path / "weights", [moved], Schedule(3, 2), step=2).take_last(2)
    kept = stored.snapshots_in(tmp_path / "weights", file_stem(network.spec.name))
    assert [step for step, _ in kept] == [0, 2]
    found = surface(replace(made(spec()), network=moved), small(dimensions=2), snapshots=kept)
    assert found.path[:, 0].tolist() == [0, 2] and 0 <= found.held < 0.5  # two random axes hold little
    assert found.path[1, 1:] == pytest.approx([0, 0], abs=0.01)
    assert stored.snapshots_in(tmp_path / "nothing", "x") == [] and stored.snapshots_of("", "x") == []


# --- the work ---------------------------------------------------------------------------------------------------------


def test_a_surface_that_is_stopped_keeps_its_points_and_goes_on_from_them() -> None:
    checkpoint, settings = made(spec()), small(points=5, directions=2, curvature=1, curvature_images=4)
    with closing(measure(checkpoint, SPLITS, CLASSES, settings)) as steps:
        for step in steps:
            if step.surface.measured.sum() == 3:
                break
    kept = step.surface
    assert 0 < step.share < 1 and not kept.is_complete and np.isnan(kept.losses[:, ~kept.measured]).all()
    assert kept.measured[0].tolist() == [True, False, True, False, True]  # the whole range, coarsely
    whole = surface(checkpoint, settings)
    done = surface(checkpoint, settings, known=kept)
    assert done.is_complete and whole.is_complete
    assert done.losses == pytest.approx(whole.losses) and done.increases == pytest.approx(whole.increases)


def test_points_come_from_coarse_to_fine_each_once() -> None:
    for rows, columns in ((1, 41), (17, 17), (5, 5), (1, 3)):
        order = coarse_to_fine(rows, columns)
        assert order[0] == (rows // 2, columns // 2)
        assert len({*order}) == len(order) == rows * columns
    assert {*coarse_to_fine(17, 17)[:9]} == {(row, column) for row in (0, 8, 16) for column in (0, 8, 16)}


def test_what_is_too_large_is_refused_with_its_number_before_anything_starts() -> None:
    with pytest.raises(ValueError, match=r"would take 8,[0-9,]+ passes of one image, about [0-9,.]+ h here; 24 h"):
        cost([(spec(), SurfaceSettings(dimensions=2, points=201, n=10_000, splits=("train",)))] * 20, 1e6).check()
    with pytest.raises(
        ValueError, match=r"would need 5,000,000.0 GB of memory, and .* GB are free\. Take fewer than 7"
    ):
        SurfaceCost(1, 1.0, 5 * 10**15, 7).check()
    assert passes(SurfaceSettings(points=41, n=512, splits=("train",), directions=0)) == 41 * 512
    bad: list[dict[str, object]] = [
        {"points": 4}, {"points": 1003}, {"dimensions": 3}, {"reach": 0.0}, {"reach": math.nan}, {"n": 0},
        {"normalisation": "layer"}, {"statistics": "mean"}, {"splits": ()}, {"curvature": 2}, {"radius": "x"},
        {"seed": -1}, {"dimensions": 2, "points": 203}, {"splits": ("train", "train")},
    ]  # fmt: skip
    for values in bad:
        with pytest.raises(ValueError):
            SurfaceSettings(**values)  # type: ignore[arg-type]
    settings = SurfaceSettings(dimensions=2, points=9, statistics="recomputed")
    assert SurfaceSettings.from_dict(settings.to_dict()) == settings
    with pytest.raises(ValueError, match="no BatchNorm layer"):
        surface(made(spec(norm="none")), small(statistics="recomputed"))
