"""The geometry of gradients: noise against theory, gradients and sizes against an independent computation, paths that
add up to the whole gradient."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Stage, Stem, build
from explorer.cli.main import main
from explorer.datasets import shapes
from explorer.experiments import gradient_geometry as geometry
from explorer.experiments.gradient_geometry import BlockSizes, PathSizes, Shattering, paths, shattering, verdicts
from explorer.experiments.gradient_geometry.blocks import block_sizes, with_sums
from explorer.experiments.gradient_geometry.measurement import specs_of
from explorer.experiments.gradient_geometry.names import names_of
from explorer.experiments.gradient_geometry.passes import LARGER, NORMED, initial_network
from explorer.experiments.gradient_geometry.verdicts import MeasuredGeometry
from explorer.experiments.gradient_geometry.widths import widened, width
from explorer.experiments.stored_gradients import drawn_batch

BATCH = drawn_batch(shapes.Drawn(16))
SPEC = ArchitectureSpec((Stage(2, 4), Stage(1, 8, 2)), stem=Stem(4), input_shape=(3, 16, 16))


# --- noise ------------------------------------------------------------------------------------------------------------


def expected(covariance: np.ndarray) -> np.ndarray:
    """What the estimator has on average, of the covariance (N, N) of the values at two times."""
    n = len(covariance)
    centring = np.eye(n) - 1 / n
    centred = centring @ covariance @ centring
    sums = np.array([np.trace(centred, offset=lag) for lag in range(n)])
    return sums / sums[0]


def test_white_and_brown_noise_have_the_autocorrelation_of_theory() -> None:
    n, lags = geometry.PICTURES, np.arange(geometry.LAGS + 1)
    white, brown = (
        geometry.reference(noise, range(4)).mean(axis=0) for noise in (geometry.white_noise, geometry.brown_noise)
    )
    theory = -(n - lags) / (n * (n - 1)) * (lags > 0) + (lags == 0)  # the mean that is taken out leaves -1 / N
    np.testing.assert_allclose(expected(np.eye(n))[: len(lags)], theory, atol=1e-12)
    np.testing.assert_allclose(white, theory, atol=0.003)
    walk = expected(np.minimum.outer(np.arange(1.0, n + 1), np.arange(1.0, n + 1)))
    np.testing.assert_allclose(brown, walk[: len(lags)], atol=0.02)
    # Of a Brownian motion without its mean on 0..1: 6 ∫ (s² + s t + t²/2 - s - t + 1/3) ds from 0 to 1 - t.
    t = lags / n
    e = 1 - t
    motion = 6 * (e**3 / 3 + t * e**2 / 2 - e**2 / 2 + e * (t**2 / 2 - t + 1 / 3))
    np.testing.assert_allclose(walk[: len(lags)], motion, atol=0.01)


def test_the_autocorrelation_is_that_of_its_formula() -> None:
    sequence = np.random.default_rng(0).normal(size=(9, 2, 3)).cumsum(axis=0)
    away = sequence - sequence.mean(axis=0)
    sums = [(away[: 9 - lag] * away[lag:]).sum() for lag in range(6)]
    np.testing.assert_allclose(geometry.autocorrelation(sequence, 5), np.array(sums) / sums[0])
    assert np.isnan(geometry.autocorrelation(np.ones((9, 2)), 3)).all()
    assert np.isnan(geometry.autocorrelation(np.full((9, 2), np.inf), 3)).all()
    with pytest.raises(ValueError, match="`lags` must be fewer than the 9 vectors"):
        geometry.autocorrelation(sequence, 9)


# --- gradients --------------------------------------------------------------------------------------------------------


def independent_correlation(spec: ArchitectureSpec, seed: int, pictures: Tensor, batch: Tensor, target: int) -> float:
    """Of neighbours, in torch's own BatchNorm and one picture at a time."""
    network = build(spec, seed).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):

            def fix(norm: Any, inputs: Any) -> None:
                norm.running_mean, norm.running_var = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), correction=0)

            handle = module.register_forward_pre_hook(fix)
            module.fixed = handle  # type: ignore[assignment]
    with torch.no_grad():
        network(batch)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.fixed.remove()  # type: ignore[operator, union-attr]
    found = []
    for picture in pictures:
        image = picture[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(image)[0, target], image)
        found.append(gradient.numpy().ravel().astype(np.float64))
    away = np.array(found) - np.mean(found, axis=0)
    return float((away[:-1] * away[1:]).sum() / (away * away).sum())


@pytest.mark.parametrize("shortcut", ["none", "identity", "projection"])
def test_shattering_is_that_of_an_independent_computation(shortcut: Any) -> None:
    spec = replace(SPEC, shortcut=shortcut)
    pixels = torch.from_numpy(BATCH.images).double() / 255  # (N, 3, H, W)
    batch = (
        (pixels - pixels.mean((0, 2, 3), keepdim=True)) / pixels.permute(1, 0, 2, 3).flatten(1).std(1).view(1, 3, 1, 1)
    ).float()
    first, second = 2, next(i for i in range(3, 64) if BATCH.labels[i] != BATCH.labels[2])
    shares = torch.arange(256).view(-1, 1, 1, 1) / 255
    line = batch[first] * (1 - shares) + batch[second] * shares
    wanted = independent_correlation(spec, 1, line, batch[:NORMED], int(BATCH.labels[first]))
    (found,) = [step.result for step in geometry.measure("shattering", [(spec, 1)], BATCH) if step.result]
    assert isinstance(found, Shattering)
    assert found.correlation[0] == 1 and found.correlation[1] == pytest.approx(wanted, abs=1e-3)
    assert found.distance == pytest.approx(torch.dist(line[0], line[1]).item(), rel=1e-3) and found.zeros == 0


def test_pictures_beside_a_picture_do_not_change_its_gradient() -> None:
    initial = initial_network(SPEC, 0, BATCH)
    whole = shattering.input_gradients(initial, 0, range(256))
    part = shattering.input_gradients(initial, 0, range(100, 103))
    torch.testing.assert_close(whole[100:103], part, rtol=1e-3, atol=1e-6 * float(whole.abs().max()))


def test_a_power_of_two_keeps_gradients_that_would_underflow() -> None:
    """Without norm, each of these layers takes most of the gradient away."""
    deep = replace(
        SPEC, stages=(Stage(14, 4),), shortcut="none", norm="none", initialisation="pytorch", activation="sigmoid"
    )
    (found,) = [step.result for step in geometry.measure("shattering", [(deep, 0)], BATCH) if step.result]
    assert isinstance(found, Shattering) and 0 < found.size < 1e-20 and np.isfinite(found.correlation).all()


# --- blocks and paths -------------------------------------------------------------------------------------------------


def test_the_branch_behind_a_norm_has_size_1_and_counts_are_those_of_the_rule() -> None:
    found = block_sizes(with_sums(SPEC, 0, BATCH))
    assert found.names == ("stages.0.0", "stages.0.1", "stages.1.0")
    np.testing.assert_allclose(found.branch, 1, atol=1e-3)
    np.testing.assert_allclose(found.counts, [1, 2, 3 * 4 / 8])  # half of the channels are zeros
    projected = block_sizes(with_sums(replace(SPEC, shortcut="projection"), 0, BATCH))
    np.testing.assert_allclose(projected.counts, [1, 2, 1])
    np.testing.assert_allclose(projected.shortcut[2], 1, atol=1e-3)  # a norm ends a projection
    # A norm's output has mean square 1, so a ReLU leaves 1/2 of the stem's.
    assert found.shortcut[0] == pytest.approx(math.sqrt(0.5), rel=0.1)


def test_a_plain_stage_begins_the_count_again() -> None:
    stages = [Stage(2, 4), Stage(2, 4, shortcut="none"), Stage(2, 8), Stage(1, 8, shortcut="none"), Stage(2, 8)]
    found = block_sizes(with_sums(replace(SPEC, stages=tuple(stages)), 0, BATCH))
    np.testing.assert_allclose(found.counts, [1, 2, 4 / 8, 4 / 8 + 1, 1, 2])
    # The path of a plain block is as large as that of a stem: a ReLU leaves half of the mean square of its norm.
    np.testing.assert_allclose(found.shortcut[[0, 4]], math.sqrt(0.5), rtol=0.1)
    np.testing.assert_allclose(found.shortcut[2], math.sqrt(0.5 * 4 / 8), rtol=0.1)


@pytest.mark.parametrize("start", ["gain", "gamma"])
def test_branches_that_start_at_0_have_no_size(start: Any) -> None:
    spec = replace(SPEC, branch_start=start)
    found = block_sizes(with_sums(spec, 0, BATCH))
    assert not found.branch.any() and (found.shortcut > 0).all() and math.isnan(found.power)
    (text,) = verdicts.sentences("blocks", [MeasuredGeometry(spec, "R", (0,), (found,))])
    assert text.startswith("The branches of R are 0 by construction (") and "first block" not in text
    lengths = PathSizes(np.array([1.0, 0, 0, 0]))
    (text,) = verdicts.sentences("paths", [MeasuredGeometry(spec, "R", (0,), (lengths,))])
    assert text.startswith("By construction all gradient of R goes past the branches, which are 0 (")
    (_, name) = names_of([SPEC, spec])
    assert verdicts.sentences("blocks", [MeasuredGeometry(spec, name, (0,), (found,))]) == [
        f"The branches of {name} are 0 by construction."
    ]


def test_the_power_of_a_root_is_a_half() -> None:
    counts = np.arange(1.0, 9)
    assert BlockSizes(("b",) * 8, counts, 3 / np.sqrt(counts), np.ones(8)).power == pytest.approx(-0.5)
    assert math.isnan(BlockSizes(("b",), np.ones(1), np.ones(1), np.ones(1)).power)


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, shortcut="projection", preactivation=True)])
def test_the_gradients_of_all_paths_add_up_to_the_whole_one(spec: ArchitectureSpec) -> None:
    initial = initial_network(spec, 0, BATCH)
    assert paths.sums_of(initial.network) == 3
    gates = [
        torch.tensor(each, dtype=torch.bool).view(3, 1).expand(3, 4) for each in itertools.product((0, 1), repeat=3)
    ]
    total = torch.stack(paths.path_gradients(initial, gates, pictures=4)).double().sum(0)
    images = initial.images[:4].clone().requires_grad_()
    loss = F.cross_entropy(initial(images), initial.labels[:4], reduction="sum")
    (whole,) = torch.autograd.grad(loss, images)
    torch.testing.assert_close(total / LARGER, whole.double(), rtol=1e-3, atol=1e-5 * float(whole.abs().max()))


def test_random_paths_have_their_length_and_no_block_is_preferred() -> None:
    found = paths.random_paths(5, 2, 3000, seed=0)
    assert (found.sum(0) == 2).all()
    np.testing.assert_allclose(found.double().mean(1), 0.4, atol=0.04)
    assert torch.equal(found, paths.random_paths(5, 2, 3000, seed=0))


def test_paths_of_equal_size_have_the_shares_of_the_binomial() -> None:
    found = PathSizes(np.full(11, 0.3))
    np.testing.assert_allclose(found.shares, [math.comb(10, k) / 2**10 for k in range(11)])
    assert (found.quantile(0.05), found.quantile(0.5), found.quantile(0.95)) == (2, 5, 8)
    assert verdicts.branch_factor(2.0 ** -np.arange(11)) == pytest.approx(-math.log(2))


# --- the measurement --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", [*geometry.QUESTIONS])
def test_results_come_in_order_and_do_not_depend_on_the_threads(question: Any) -> None:
    asked = [(each, seed) for seed in (0, 1) for each in specs_of(question, [SPEC])[:2]]
    one, two = ([*geometry.measure(question, asked, BATCH, threads)] for threads in (1, 2))
    assert [(step.spec, step.seed) for step in one if step.spec] == asked
    assert one[-1].share == 1 and [step.share for step in one] == sorted(step.share for step in one)
    for a, b in zip(one, two, strict=True):
        assert type(a.result) is type(b.result)
        if a.result is not None:
            assert isinstance(a.result, geometry.QUESTIONS[question])
            for first, second in zip(vars(a.result).values(), vars(b.result).values(), strict=True):
                np.testing.assert_array_equal(first, second)


def test_a_closed_measurement_stops_and_gives_the_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[range] = []
    original = shattering.input_gradients

    def counted(initial: Any, seed: int, span: range) -> Tensor:
        passes.append(span)
        return original(initial, seed, span)

    monkeypatch.setattr(shattering, "input_gradients", counted)
    before = torch.get_num_threads()
    running = geometry.measure("shattering", [(SPEC, seed) for seed in range(20)], BATCH, threads=2)
    next(running)
    running.close()
    assert len(passes) < 10 and torch.get_num_threads() == before


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="plain-8 has no residual blocks"):
        next(geometry.measure("paths", [(replace(SPEC, shortcut="none"), 0)], BATCH))
    with pytest.raises(ValueError, match="takes pictures of 3×8×8, received 3×16×16"):
        list(geometry.measure("blocks", [(replace(SPEC, input_shape=(3, 8, 8)), 0)], BATCH))


def test_a_result_is_kept_by_all_that_it_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
    (step,) = [step for step in geometry.measure("blocks", [(SPEC, 0)], BATCH) if step.result]
    assert step.result is not None
    keys = {
        geometry.key(question, spec, seed, BATCH)
        for question in geometry.QUESTIONS
        for spec in (SPEC, SPEC.twin())
        for seed in (0, 1)
    }
    assert len(keys) == 3 * 2 * 2, "a width is measured as any other network"
    key = geometry.key("blocks", SPEC, 0, BATCH)
    assert geometry.load("blocks", key) is None
    geometry.store(key, step.result)
    found = geometry.load("blocks", key)
    assert isinstance(found, BlockSizes) and isinstance(step.result, BlockSizes)
    assert found.names == step.result.names
    np.testing.assert_array_equal(found.ratios, step.result.ratios)


def test_a_wider_network_has_more_channels_and_nothing_else() -> None:
    twice = widened(SPEC, 2)
    assert [stage.channels for stage in twice.stages] == [8, 16] and twice.stem == Stem(8)
    assert widened(twice, 0.5) == SPEC and width(widened(SPEC, 0.1)) == 1
    assert [width(spec) for spec in specs_of("widths", [SPEC])] == [1, 2, 4, 8]


# --- in a terminal ----------------------------------------------------------------------------------------------------


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["geometry", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "small.json"
    file.write_text(json.dumps(SPEC.to_dict()))
    found = asked(capsys, str(file), "--twins", "--seeds", "2")
    residual, plain = found["networks"]
    assert (residual["shortcut"], plain["shortcut"], found["pictures"]) == ("identity", "none", "64 shapes")
    assert len(residual["results"]) == 2 and len(residual["results"][0]["correlation"]) == 65
    assert residual["headline"]["n"] == 2 and len(found["references"]["brown"]) == 2
    assert any("Seed by seed" in sentence for sentence in found["sentences"])
    blocks = asked(capsys, str(file), "--seeds", "1", "--question", "blocks")
    assert len(blocks["networks"][0]["results"][0]["ratios"]) == 3
    lengths = asked(capsys, str(file), "--seeds", "1", "--question", "paths")
    assert sum(lengths["networks"][0]["results"][0]["shares"]) == pytest.approx(1)
    assert main(["geometry", str(file), "--seeds", "1", "--question", "paths"]) == 0
    assert "gradient through one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet-20", "--seeds", "0"], "`--seeds` must be a whole number from 1 to 100, received 0."),
        (["imagenet-resnet-18"], "the pictures are shapes of one size, and these networks take 224×224; add `--size"),
        (["plain-8", "--question", "paths"], "plain networks have no residual blocks"),
        ([f"resnet-{depth}" for depth in (8, 14, 20, 32, 44)] + ["--twins"], "10 networks are too many at once; 8 is"),
        (["nothing"], "there is no preset 'nothing'"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["geometry", *arguments]) == 2
    assert said in capsys.readouterr().err
