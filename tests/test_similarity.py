"""CKA against numbers worked out by hand, the formulas of the papers, its invariances, and networks as they run."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.architectures import ArchitectureSpec, Recorder, Stage, Stem, build, describe
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.experiments.agreement import images_for
from explorer.experiments.similarity import (
    CONSTANT,
    KINDS,
    NOT_FINITE,
    Cost,
    Grams,
    Similarity,
    cka,
    cost,
    gram,
    layer_grams,
)
from explorer.presets import cifar, imagenet_resnet, vgg

SPEC = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 8, 8), classes=3)
PIXELS = shapes.draw(12, seed=0).images


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def checkpoint(spec: ArchitectureSpec = SPEC, seed: int = 0) -> Checkpoint:
    names = tuple(map(str, range(spec.classes)))
    return Checkpoint(build(spec, seed).freeze(), names, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "test")


def grams_of(asked: Checkpoint, pixels: np.ndarray = PIXELS) -> Grams:
    *_, (fraction, grams) = layer_grams(asked, pixels)
    assert fraction == 1 and grams is not None
    return grams


def similarity(a: Checkpoint, b: Checkpoint) -> Similarity:
    return cka(grams_of(a), grams_of(b))


def as_grams(features: np.ndarray) -> Grams:
    """One layer with these features, (n, values)."""
    matrix = gram(torch.tensor(features.copy()))
    assert matrix is not None
    return Grams(("x",), matrix[None].float().numpy(), {})


def plain(x: np.ndarray, y: np.ndarray) -> float:
    return float(cka(as_grams(x), as_grams(y)).cka[0, 0])


def both(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """CKA and debiased CKA of two layers with these features."""
    result = cka(as_grams(x), as_grams(y))
    return float(result.cka[0, 0]), float(result.debiased[0, 0])


def by_features(x: np.ndarray, y: np.ndarray) -> float:
    """Kornblith et al. 2019, section 3: |YᵀX|² / (|XᵀX| |YᵀY|) of centred features."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def hsic_1(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased HSIC of Song et al. 2012, as it stands there."""
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    n, one = len(k), np.ones(len(k))
    sums = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return float((np.trace(k @ m) + sums - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3)))


def test_by_hand() -> None:
    # Centred: x = (-3, -1, 1, 3) / 2, y = (-1, -1, -1, 3), z = (1, -1, -1, 1); x·y = 6, |x|² = 5, |y|² = 12,
    # x·z = 0, y·z = 4, |z|² = 4. One value each: the squared correlation. X = (x, 2z): K = xxᵀ + 4zzᵀ, so
    # <K, yyᵀ> = 36 + 4·16 and |K|² = 25 + 16².
    x, y, z = (np.array([values], np.float64).T for values in ([0, 1, 2, 3], [5, 5, 5, 9], [1, -1, -1, 1]))
    assert plain(x, y) == pytest.approx(36 / (5 * 12), rel=1e-6)
    assert plain(x, z) == pytest.approx(0, abs=1e-12)
    assert plain(np.hstack([x, 2 * z]), y) == pytest.approx(100 / (12 * math.sqrt(281)), rel=1e-6)


@pytest.mark.parametrize("shape", [(20, 3, 50), (20, 50, 3), (9, 400, 700)])
def test_it_is_the_formula_of_the_paper_and_debiased_that_of_song(
    shape: tuple[int, int, int], generator: np.random.Generator
) -> None:
    n, p, q = shape
    x = generator.standard_normal((n, p)) + 3
    y = x @ generator.standard_normal((p, q)) + generator.standard_normal((n, q))
    biased, debiased = both(x, y)
    assert biased == pytest.approx(by_features(x, y), rel=1e-5)
    assert debiased == pytest.approx(hsic_1(x, y) / math.sqrt(hsic_1(x, x) * hsic_1(y, y)), rel=1e-3)


def test_unrelated_layers_look_alike_unless_debiased(generator: np.random.Generator) -> None:
    x, y = generator.standard_normal((2, 60, 3000))
    biased, debiased = both(x, y)
    assert biased == pytest.approx(0.98, abs=0.01) and abs(debiased) < 0.1
    assert both(x, x) == pytest.approx((1, 1), abs=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_invariances(scale: float, generator: np.random.Generator) -> None:
    x, y = generator.standard_normal((30, 12)), generator.standard_normal((30, 8))
    expected = both(x, y)
    rotation = np.linalg.qr(generator.standard_normal((12, 12)))[0]
    assert both(x @ rotation, y) == pytest.approx(expected, rel=1e-5)
    assert both(scale * x, y) == pytest.approx(expected, rel=1e-5)
    assert both(x + 100, y) == pytest.approx(expected, rel=1e-3)
    assert both(x[::-1], y[::-1]) == pytest.approx(expected, rel=1e-5)
    assert both(y, x) == pytest.approx(expected, rel=1e-9)
    stretched = x @ np.diag(np.arange(1.0, 13))  # invertible, but not a rotation
    assert plain(stretched, x) < 0.95


SPECS: dict[str, Callable[[], ArchitectureSpec]] = {
    "residual": lambda: SPEC,
    "plain": lambda: SPEC.twin(),
    "projections": lambda: replace(SPEC, shortcut="projection"),
    "no stem, pools": lambda: replace(vgg(11), input_shape=(3, 32, 32), classes=3),
    "bottlenecks": lambda: replace(imagenet_resnet(50), input_shape=(3, 32, 32), classes=3),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_layers_and_values_are_those_of_the_network_as_it_runs(spec: Callable[[], ArchitectureSpec]) -> None:
    asked, pixels = checkpoint(spec()), PIXELS[:5]
    recorder = Recorder(asked.network, KINDS)
    with torch.no_grad():
        asked.network(images_for(asked, pixels), recorder)
    grams = grams_of(asked, pixels)
    assert grams.layers == tuple(recorder.outputs) and grams.n == 5 and not grams.undefined
    for matrix, output in zip(grams.matrices, recorder.outputs.values(), strict=True):
        features = output.flatten(1).double().numpy()
        features -= features.mean(0)
        expected = features @ features.T
        np.testing.assert_allclose(matrix, expected / np.linalg.norm(expected), atol=1e-5)


def test_two_networks_and_what_they_are_left_as() -> None:
    a, b = checkpoint(), checkpoint(replace(SPEC.twin(), input_shape=(3, 12, 12)), seed=1)
    before = [{name: tensor.clone() for name, tensor in c.network.state_dict().items()} for c in (a, b)]
    grams = []
    for each in (a, b):
        fractions = []
        for fraction, found in layer_grams(each, PIXELS):
            assert torch.is_grad_enabled() and (found is None) == (fraction < 1)
            fractions.append(fraction)
        assert fractions == sorted(set(fractions)) and len(fractions) > 2 and found is not None
        grams.append(found)
    result = cka(*grams)
    assert result.cka.shape == result.debiased.shape == (len(result.layers_a), len(result.layers_b)) == (7, 7)
    assert result.n == 12 and not result.cka.mask.any() and 0 <= result.cka.min() <= result.cka.max() <= 1
    for c, state in zip((a, b), before, strict=True):
        assert not c.network.training and all(p.grad is None for p in c.network.parameters())
        assert all(torch.equal(state[name], tensor) for name, tensor in c.network.state_dict().items())
        assert not any(module._forward_hooks or module._backward_hooks for module in c.network.modules())
    stopped = layer_grams(a, PIXELS)
    next(stopped)
    stopped.close()
    assert torch.is_grad_enabled()


def test_a_network_against_itself() -> None:
    asked = checkpoint()
    result = similarity(asked, asked)
    np.testing.assert_allclose(np.diagonal(result.cka), 1, atol=1e-6)
    np.testing.assert_allclose(np.diagonal(result.debiased), 1, atol=1e-5)
    np.testing.assert_allclose(result.cka, result.cka.T, atol=1e-9)
    assert result.cka[0, -1] < 0.99


def test_layers_without_a_difference_are_masked_and_said_to_be() -> None:
    dead = checkpoint(SPEC.twin())
    norm = dead.network.get_submodule("stages.0.0.norm2")
    assert isinstance(norm.weight, Tensor) and isinstance(norm.bias, Tensor)
    norm.weight.fill_(0)
    norm.bias.fill_(0.3)
    result = similarity(checkpoint(), dead)
    assert result.undefined_a == {}
    silent = ["stages.0.0", "stages.1.0.conv1", "stages.1.0.conv2", "stages.1.0"]
    assert result.undefined_b == dict.fromkeys(silent, CONSTANT)
    for values in (result.cka, result.debiased):
        assert values.mask.tolist() == [[name in silent for name in result.layers_b]] * len(result.layers_a)
        assert np.isfinite(values.data).all()


def test_layers_that_are_not_finite_are_masked_and_said_to_be() -> None:
    broken = checkpoint(SPEC.twin())
    conv = broken.network.get_submodule("stages.1.0.conv1")
    assert isinstance(conv.weight, Tensor)
    conv.weight.fill_(torch.inf)
    grams = grams_of(broken)
    assert grams.undefined == dict.fromkeys(["stages.1.0.conv1", "stages.1.0.conv2", "stages.1.0"], NOT_FINITE)
    assert np.isfinite(grams.matrices).all()


@pytest.mark.parametrize("features", [np.eye(6), np.eye(6)[:, :1]])
def test_debiased_is_masked_where_nothing_is_left_of_a_layer(
    features: np.ndarray, generator: np.random.Generator
) -> None:
    """All pictures equally far apart, or all but one alike."""
    result = cka(as_grams(features), as_grams(generator.standard_normal((6, 4))))
    assert result.debiased.mask.all() and not result.cka.mask.any() and np.isfinite(result.debiased.data).all()


def test_too_few_or_different_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 images"):
        grams_of(checkpoint(), PIXELS[:3])
    with pytest.raises(ValueError, match="same images"):
        cka(grams_of(checkpoint(), PIXELS[:4]), grams_of(checkpoint(), PIXELS[:5]))
    training = checkpoint()
    training.network.train()
    with pytest.raises(ValueError, match="freeze"):
        grams_of(training)


def test_cost_by_hand() -> None:
    # Values a picture: the stem's conv and the first block's two and its output 8·8·8 each, the second's 12·4·4.
    values = 4 * 512 + 3 * 192
    assert cost(SPEC, 10) == Cost(10 * describe(SPEC).macs + 100 * values, 4 * (5 * 10 * 512 + 2 * 100 * 7))
    assert cost(SPEC, 10).seconds(1e6) == cost(SPEC, 10).macs / 1e6
    # He et al. 2015: 1.26e8 for ResNet-56; n² p of its Grams with p = 28·16384 + 27·8192 + 27·4096
    assert cost(cifar(56), 200).macs == pytest.approx(200 * 1.26e8 + 200**2 * 790_528, rel=0.01)
