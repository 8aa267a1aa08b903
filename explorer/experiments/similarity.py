"""Linear CKA between all pairs of layers of two networks."""

import math
from collections.abc import Collection, Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, describe
from explorer.checkpoints import Checkpoint
from explorer.experiments.agreement import images_for
from explorer.tracing import check_evaluation_mode

KINDS = ("conv", "block")  # the layers that are compared; a convolution's output is that before its norm
CONSTANT = "The output is the same for every image, so there is nothing to compare."
NOT_FINITE = "The output holds values that are not finite."
MINIMUM = 4  # pictures: the unbiased estimate divides by n (n - 3)

_PAIRS = 2**14  # of pictures at once in the product of all Grams, so that float64 needs little memory


@dataclass(frozen=True, eq=False)
class Grams:
    """The Gram matrices of one network's layers: float32 (layers, n, n), of the centred outputs, divided by the
    Frobenius norm; zeros for the layers in `undefined`, which gives the reason for each in one sentence."""

    layers: tuple[str, ...]
    matrices: np.ndarray
    undefined: dict[str, str]

    @property
    def n(self) -> int:
        return self.matrices.shape[1]


@dataclass(frozen=True, eq=False)
class Similarity:
    """Linear CKA of every layer of A (rows) with every layer of B (columns), on `n` pictures.

    `cka` is float64 (layers of A, layers of B), 0..1, as in Kornblith et al. 2019. `debiased` is the same from the
    unbiased estimate of HSIC, as in Nguyen et al. 2021, -1..1: with few pictures and many values a layer the former is
    far above 0 for unrelated layers too (0.98 for 60 pictures of 3000 random values), the latter is not. Both are
    masked, never NaN, where a layer has no similarity; `undefined_a` and `undefined_b` say why. `debiased` is masked
    too where HSIC of a layer with itself is 0, as where all pictures but one are alike.
    """

    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    cka: np.ma.MaskedArray
    debiased: np.ma.MaskedArray
    n: int
    undefined_a: dict[str, str]
    undefined_b: dict[str, str]


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates of `layer_grams`, and about how many bytes at most."""

    macs: int
    bytes: int

    def seconds(self, speed: float) -> float:
        """At `speed` multiply-accumulates a second, about 3.5 times those of a training, which also goes back."""
        return self.macs / speed


def cost(spec: ArchitectureSpec, n: int) -> Cost:
    """Of one network and n pictures: the forward pass, and n² p for each Gram of a layer with p values a picture; the
    memory of a few outputs of the largest layer for all pictures, and of the Grams."""
    layers = [layer for layer in describe(spec).layers if layer.kind in KINDS]
    values = sum(math.prod(layer.output_shape) for layer in layers)
    largest = max(math.prod(layer.output_shape) for layer in layers)
    return Cost(n * describe(spec).macs + n * n * values, 4 * (5 * n * largest + 2 * n * n * len(layers)))


def gram(outputs: Tensor) -> Tensor | None:
    """The centred Gram matrix of a layer's outputs, (n, ...) -> float64 (n, n) of Frobenius norm 1.

    K = X Xᵀ with X the outputs flattened to (n, values), each value centred over the pictures. None where no value
    differs between the pictures. X is scaled to 1 first, since float32 may not hold the squares of small values.
    """
    features = outputs.flatten(1).float()
    features = features - features[0]  # equal values are now exactly 0, which a mean would not give
    features -= features.mean(0)
    low, high = features.aminmax()
    top = torch.maximum(high, -low)
    if top == 0:
        return None
    features /= top
    matrix = (features @ features.T).double()
    matrix = matrix - matrix.mean(0) - matrix.mean(1, keepdim=True) + matrix.mean()  # the float32 mean was rounded
    return matrix / torch.linalg.matrix_norm(matrix)


def layer_grams(
    checkpoint: Checkpoint, pixels: np.ndarray, only: Collection[str] | None = None
) -> Generator[tuple[float, Grams | None], None, None]:
    """The Gram matrices of all convolutions and blocks, or of the `only` ones among them, for `pixels`, uint8 (n, 3, H,
    W), n at least 4.

    A spatial output (C, H, W) counts as C·H·W values, so positions in the picture matter, as in Kornblith et al. All
    pictures go through the network together, one part of it at a time: one pass, with a few outputs in memory.

    Yields (fraction done, None) after every part and ends with (1.0, the Grams). The network is left as it was found,
    and threads may share it. Raises ValueError for a network in training mode or too few pictures.
    """
    network = checkpoint.network
    check_evaluation_mode(network)
    if len(pixels) < MINIMUM:
        raise ValueError(f"at least {MINIMUM} images are needed to compare layers, received {len(pixels)}; add some.")
    n = len(pixels)
    described = describe(network.spec).layers
    wanted = {layer.name for layer in described if layer.kind in KINDS and (only is None or layer.name in only)}
    last = max((index for index, layer in enumerate(described) if layer.name in wanted), default=-1)
    described = described[: last + 1]  # the rest gives no layer to compare
    layers = [layer.name for layer in described if layer.name in wanted]
    macs = {
        layer.name: n * layer.macs + (n * n * math.prod(layer.output_shape) if layer.name in wanted else 0)
        for layer in described
    }
    matrices = np.zeros((len(layers), n, n), np.float32)
    undefined: dict[str, str] = {}
    done, total = 0, sum(macs.values())

    def run(module: nn.Module, *inputs: object) -> Tensor:
        nonlocal done
        output: Tensor = module(*inputs)
        name = network.layers[module][0]
        done += macs.get(name, 0)
        if name in wanted:
            finite = bool(output.isfinite().all())
            matrix = gram(output) if finite else None
            if matrix is None:
                undefined[name] = CONSTANT if finite else NOT_FINITE
            else:
                matrices[layers.index(name)] = matrix.numpy(force=True)
        return output

    parts = network.in_parts(images_for(checkpoint, pixels), run)
    while done < total:
        with torch.no_grad():  # inside the loop: a generator that waits must not change its thread's mode
            next(parts)
        if done < total:
            yield done / total, None
    yield 1.0, Grams(tuple(layers), matrices, undefined)


def cka(a: Grams, b: Grams) -> Similarity:
    """Linear CKA between all layers of two networks, of the same pictures in the same order.

    CKA = <K, L> / (|K| |L|) with the centred Grams K and L, which is |YᵀX|² / (|XᵀX| |YᵀY|) in Frobenius norms
    (Kornblith et al. 2019, equations 1 and 4). The debiased one puts the unbiased HSIC₁ of Song et al. 2012 in the
    place of each of the three; for centred Grams, whose rows sum to 0, it is

        n (n - 3) HSIC₁ = <K, L> - n / (n - 2) Σ Kᵢᵢ Lᵢᵢ + tr K tr L / ((n - 1) (n - 2)).

    Raises ValueError for different numbers of pictures.
    """
    if a.n != b.n:
        raise ValueError(f"both networks must have seen the same images, received {a.n} and {b.n}; run both again.")
    plain = _products(a.matrices, b.matrices)  # (layers of A, layers of B)
    joint = _unbiased(plain, a, b)
    self_a, self_b = (np.diagonal(_unbiased(np.eye(len(own.layers)), own, own)) for own in (a, b))
    missing_a, missing_b = (np.array([name in own.undefined for name in own.layers]) for own in (a, b))
    missing = missing_a[:, None] | missing_b
    flat = (self_a <= 1e-6)[:, None] | (self_b <= 1e-6)  # nothing but rounding is left
    scale = np.sqrt(np.outer(np.where(self_a > 1e-6, self_a, 1), np.where(self_b > 1e-6, self_b, 1)))
    return Similarity(
        layers_a=a.layers,
        layers_b=b.layers,
        cka=np.ma.array(plain.clip(0, 1), mask=missing),
        debiased=np.ma.array((joint / scale).clip(-1, 1), mask=missing | flat),
        n=a.n,
        undefined_a=a.undefined,
        undefined_b=b.undefined,
    )


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """<K, L> of every K of `a` with every L of `b`, summed in float64."""
    rows_a, rows_b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    total = np.zeros((len(a), len(b)))
    for start in range(0, rows_a.shape[1], _PAIRS):
        pairs = slice(start, start + _PAIRS)
        total += rows_a[:, pairs].astype(np.float64) @ rows_b[:, pairs].astype(np.float64).T
    return total


def _unbiased(products: np.ndarray, a: Grams, b: Grams) -> np.ndarray:
    """n (n - 3) HSIC₁ of all pairs of layers from their <K, L>."""
    n = a.n
    on_a, on_b = (np.diagonal(own.matrices, axis1=1, axis2=2).astype(np.float64) for own in (a, b))  # (layers, n)
    traces = np.outer(on_a.sum(1), on_b.sum(1))
    return products - n / (n - 2) * (on_a @ on_b.T) + traces / ((n - 1) * (n - 2))
