"""Whether a folded network gives the same answers, and what folding saves."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from explorer.architectures import ArchitectureSpec, Network, describe
from explorer.architectures.folding import Fold, fold, folded_spec, folds
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments.agreement import images_for
from explorer.experiments.lesions import batch_size

USUAL = 200  # images
TOLERANCE = 1e-5  # of the largest logit
LIMITS = (
    "The logits are compared on these images alone. For all images the reason is the arithmetic: every step that is "
    "folded is linear, so only rounding differs.",
    "Shortcuts and norms did their work in training. The folded network, trained from the start, is another network.",
    "Fewer operations are not always a shorter time; nothing is timed here.",
)


@dataclass(frozen=True)
class Size:
    """Parameters, multiply-accumulates for one image, and operations of a network."""

    parameters: int
    macs: int
    operations: int


@dataclass(frozen=True)
class Folding:
    """A network beside its folded form on `n` images.

    `difference` is the largest |logit - folded logit|, `peak` the largest |logit|; `alike` counts the images with one
    prediction of both.
    """

    spec: ArchitectureSpec
    n: int
    difference: float
    peak: float
    alike: int

    @property
    def folded(self) -> ArchitectureSpec:
        return folded_spec(self.spec)

    @property
    def folds(self) -> tuple[Fold, ...]:
        return folds(self.spec)

    @property
    def sizes(self) -> tuple[Size, Size]:
        """Before and after."""
        return size(self.spec), size(self.folded)

    @property
    def share(self) -> float:
        """The difference as a share of the largest logit; 0 where all logits are 0."""
        return self.difference / self.peak if self.peak else 0.0

    @property
    def is_equal(self) -> bool:
        return self.share <= TOLERANCE


def size(spec: ArchitectureSpec) -> Size:
    described = describe(spec)
    return Size(described.parameters, described.macs, sum(layer.kind != "block" for layer in described.layers))


def measure(checkpoint: Checkpoint, split: Split) -> Iterator[tuple[float, Folding | None]]:
    """Both networks on all images of `split`. Yields (fraction done, None) and at last (1.0, the result).

    Raises ValueError for a network that cannot be folded, a split without images, or logits that are not finite.
    """
    if not len(split):
        raise ValueError("`split` holds no images, so there is nothing to compare; choose another split.")
    network, folded = checkpoint.network, fold(checkpoint.network)
    difference = peak = 0.0
    alike, at_once = 0, batch_size(checkpoint.spec)
    for start in range(0, len(split), at_once):
        images = images_for(checkpoint, split.images[start : start + at_once])
        with torch.no_grad():
            before, after = _logits(network, images), _logits(folded, images)
        if not before.isfinite().all() or not after.isfinite().all():
            raise ValueError("the network's logits are not finite for some images; choose other weights.")
        difference = max(difference, float((before - after).abs().max()))
        peak = max(peak, float(before.abs().max()))
        alike += int((before.argmax(1) == after.argmax(1)).sum())
        if start + at_once < len(split):
            yield (start + at_once) / len(split), None
    yield 1.0, Folding(checkpoint.spec, len(split), difference, peak, alike)


def _logits(network: Network, images: torch.Tensor) -> torch.Tensor:
    return network(images).double().cpu()  # (N, classes)


def finding(title: str, found: Folding) -> str:
    """What came of it, in plain sentences."""
    same = (
        f"is the same up to rounding: on {found.n:,} images its logits differ by {found.difference:.1e} at most"
        if found.is_equal
        else f"is not the same in float32: on {found.n:,} images its logits differ by up to {found.difference:.1e}"
    )
    text = f"{title}, folded, {same}, {found.share:.1e} of the largest logit."
    if found.alike < found.n:
        text += f" The prediction differs on {found.n - found.alike:,} of them."
    shortcuts = [each for each in found.folds if each.part.endswith(".shortcut")]
    count = "shortcut" if len(shortcuts) == 1 else f"{len(shortcuts)} shortcuts"
    if shortcuts and all(each.is_exact for each in shortcuts):  # blocks of one network are of one kind
        text += f" Its {count} {'is' if len(shortcuts) == 1 else 'are'} inside of the kernels now."
    elif shortcuts:
        reason = shortcuts[0].reason
        text += f" Its {count} {'stays' if len(shortcuts) == 1 else 'stay'}: {reason[0].lower()}{reason[1:]}"
    before, after = found.sizes
    return (
        f"{text} It has {after.operations:,} operations in the place of {before.operations:,} and {after.parameters:,} "
        f"parameters in the place of {before.parameters:,}."
    )
