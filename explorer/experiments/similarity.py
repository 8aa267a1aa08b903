"""How alike two networks are inside: linear CKA between all pairs of their layers."""

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, describe
from explorer.architectures.network import Block
from explorer.checkpoints import Checkpoint
from explorer.experiments.agreement import images_for

KINDS = ("conv", "block")  # the layers that are compared; a convolution's output is what comes before its norm
CONSTANT = "The output is the same for every picture, so there is nothing to compare."
NOT_FINITE = "The output holds values that are not finite."
MINIMUM = 4  # pictures: the unbiased estimate divides by n (n - 3)

_PAIRS = 2**14  # of pictures at once in the product of all Grams, so that float64 needs little memory


@dataclass(frozen=True, eq=False)
class Grams:
    """How alike the pictures are to each other in each layer of one network.

    `matrices` is float32 (layers, n, n): per layer the Gram matrix of the centred outputs, divided by its Frobenius
    norm; zeros for the layers in `undefined`, which says for each in one sentence why it has none.
    """

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
    unbiased estimate of HSIC, as Nguyen et al. 2021 use it, -1..1: with few pictures and many values a layer the
    former is far above 0 for unrelated layers too (0.98 for 60 pictures of 3000 random values), the latter is not.
    Both are masked, never NaN, where a layer has no similarity; `undefined_a` and `undefined_b` say why. `debiased` is
    masked too where HSIC of a layer with itself comes out as 0: where all pictures are equally far from each other, or
    all but one are alike.
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
    """What `layer_grams` needs: multiply-accumulates, and about how many bytes at most."""

    macs: int
    bytes: int

    def seconds(self, speed: float) -> float:
        """About how long it takes at `speed` multiply-accumulates a second: about 3.5 times those of a training, which
        also goes back (measured: 15e9 against 4.2e9 on one busy core of this repository's machine)."""
        return self.macs / speed


def cost(spec: ArchitectureSpec, n: int) -> Cost:
    """Of one network and n pictures: the forward pass, and n² p for each Gram of a layer with p values a picture.

    The memory is that of a few outputs of the largest layer for all pictures, and of the Grams.
    """
    layers = [layer for layer in describe(spec).layers if layer.kind in KINDS]
    values = sum(math.prod(layer.output_shape) for layer in layers)
    largest = max(math.prod(layer.output_shape) for layer in layers)
    return Cost(n * describe(spec).macs + n * n * values, 4 * (5 * n * largest + 2 * n * n * len(layers)))


def gram(outputs: Tensor) -> Tensor | None:
    """The centred Gram matrix of a layer's outputs, (n, ...) -> float64 (n, n) of Frobenius norm 1.

    K = X Xᵀ with X the outputs flattened to (n, values), each value centred over the pictures. None where no value
    differs between the pictures. The scale does not matter to CKA, so it is taken out before anything is squared: a
    plain-56 without norm has activations of 1e-25, whose squares float32 cannot hold.
    """
    features = outputs.flatten(1).float()
    features = features - features[0]  # what is equal for all pictures is now exactly 0, which a mean would not give
    features -= features.mean(0)
    low, high = features.aminmax()
    top = torch.maximum(high, -low)
    if top == 0:
        return None
    features /= top
    matrix = (features @ features.T).double()
    matrix = matrix - matrix.mean(0) - matrix.mean(1, keepdim=True) + matrix.mean()  # the float32 mean was rounded
    return matrix / torch.linalg.matrix_norm(matrix)


def layer_grams(checkpoint: Checkpoint, pixels: np.ndarray) -> Generator[tuple[float, Grams | None], None, None]:
    """The Gram matrices of all convolutions and blocks for `pixels`, uint8 (n, 3, H, W), n at least 4.

    A spatial output (C, H, W) counts as C·H·W values, so where a thing is in the picture matters, as in Kornblith et
    al. All pictures go through the network together, one part of it at a time, and a layer's Gram is taken the moment
    its output is there: one pass, and never more than a few outputs in memory.

    Yields (share that is done, None) after every part and ends with (1.0, the Grams); stop by asking no further. The
    network is left as it was found, and threads may share it. Raises ValueError for a network in training mode or too
    few pictures.
    """
    network = checkpoint.network
    if network.training:
        raise ValueError("`network` must be in evaluation mode, else its norms depend on the batch; call `freeze()`.")
    if len(pixels) < MINIMUM:
        raise ValueError(f"at least {MINIMUM} pictures are needed to compare layers, received {len(pixels)}; add some.")
    layers = [layer.name for layer in describe(network.spec).layers if layer.kind in KINDS]
    matrices = np.zeros((len(layers), len(pixels), len(pixels)), np.float32)
    undefined: dict[str, str] = {}

    def watch(module: nn.Module, *inputs: object) -> Tensor:
        output: Tensor = module(*inputs)
        name, kind = network.layers[module]
        if kind in KINDS:
            finite = bool(output.isfinite().all())
            matrix = gram(output) if finite else None
            if matrix is None:
                undefined[name] = CONSTANT if finite else NOT_FINITE
            else:
                matrices[layers.index(name)] = matrix.numpy(force=True)
        return output

    parts = _parts(network, len(pixels))
    total, done = sum(parts.values()), 0
    x = images_for(checkpoint, pixels)
    for part, macs in parts.items():
        with torch.no_grad():  # inside the loop: a generator that waits must not change its thread's mode
            if isinstance(part, Block):
                x = watch(part, x, watch)
            elif part is network.stem:
                x = part(x, watch)
            else:
                x = watch(part, x)  # a pool
        done += macs
        if done < total:
            yield done / total, None
    yield 1.0, Grams(tuple(layers), matrices, undefined)


def _parts(network: Network, n: int) -> dict[nn.Module, int]:
    """What the network does before its head, in order, with the share of the cost that is spent in each."""
    modules = [part for stage in network.stages for part in stage.children()]
    modules = modules if network.stem is None else [network.stem, *modules]
    costs = dict.fromkeys(modules, 0)
    owner = {network.layers[part][0]: part for part in modules}
    for layer in describe(network.spec).layers:
        name = layer.name
        while name and name not in owner:
            name = name.rpartition(".")[0]
        if name:
            gram_macs = n * n * math.prod(layer.output_shape) if layer.kind in KINDS else 0
            costs[owner[name]] += n * layer.macs + gram_macs
    return costs


def cka(a: Grams, b: Grams) -> Similarity:
    """Linear CKA between all layers of two networks, of the same pictures in the same order.

    CKA = <K, L> / (|K| |L|) with the centred Grams K and L, which is |YᵀX|² / (|XᵀX| |YᵀY|) in Frobenius norms
    (Kornblith et al. 2019, equations 1 and 4); the form with Grams is the cheaper one as layers have thousands of
    values, and all pairs are then one matrix product. The debiased one puts the unbiased HSIC₁ of Song et al. 2012 in
    the place of each of the three; for centred Grams, whose rows sum to 0, it is

        n (n - 3) HSIC₁ = <K, L> - n / (n - 2) Σ Kᵢᵢ Lᵢᵢ + tr K tr L / ((n - 1) (n - 2)).

    Raises ValueError for different numbers of pictures.
    """
    if a.n != b.n:
        raise ValueError(f"both networks must have seen the same pictures, received {a.n} and {b.n}; run both again.")
    plain = _products(a.matrices, b.matrices)  # (layers of A, layers of B)
    joint = _unbiased(plain, a, b)
    self_a, self_b = (np.diagonal(_unbiased(np.eye(len(own.layers)), own, own)) for own in (a, b))
    missing = _missing(a)[:, None] | _missing(b)
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


def _missing(grams: Grams) -> np.ndarray:
    return np.array([name in grams.undefined for name in grams.layers])
