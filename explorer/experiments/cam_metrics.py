"""Metrics of cams: of two networks on one picture, and of one network with the objects of many pictures."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from explorer.attribution import enlarge, grad_cam, share_on_object
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments.agreement import class_order, images_for
from explorer.images import resize
from explorer.labels import capital, listed
from explorer.tracing import trace

REGION = 0.5  # of a map's maximum, from which a pixel belongs to the map's region

Target = Literal["label", "prediction"]


@dataclass(frozen=True, eq=False)
class CamComparison:
    """Two cams on one grid.

    `difference` is A - B, float32 (H, W), of the raw maps. `correlation` is Pearson's, -1..1. `iou` is the intersection
    over union, 0..1, of the two regions, which cover `area_a` and `area_b` of the picture. `reason` says why values are
    None.
    """

    difference: np.ndarray
    correlation: float | None
    iou: float | None
    area_a: float | None
    area_b: float | None
    reason: str | None

    @property
    def chance(self) -> float | None:
        """The mean `iou` of regions of these areas at random places, about a b / (a + b - a b), or None."""
        if self.area_a is None or self.area_b is None:
            return None
        overlap = self.area_a * self.area_b
        return overlap / (self.area_a + self.area_b - overlap)


@dataclass(frozen=True, eq=False)
class ObjectShares:
    """The share of a network's cams on the object, layer by layer, over `pictures` pictures.

    `mean` is float64 (layers,), 0..1, over the `n` pictures of each layer whose cam is not zero everywhere, and `error`
    its standard error; masked where there is no such picture, or fewer than two. `zero` counts the others: n + zero =
    `pictures`. `chance` is the object's mean share of the picture, the value of an even cam.
    """

    layers: tuple[str, ...]
    mean: np.ma.MaskedArray
    error: np.ma.MaskedArray
    n: np.ndarray
    zero: np.ndarray
    chance: float
    pictures: int


def compare_cams(
    a: np.ndarray, b: np.ndarray, size: tuple[int, int] | None = None, threshold: float = REGION
) -> CamComparison:
    """Difference, correlation and IoU of two raw cams, (H, W) each and >= 0, both enlarged to `size`.

    Without `size` that is the finer of their grids, so maps of one grid are compared without interpolated pixels.

    A map's region is where it reaches `threshold` times its own maximum, as Selvaraju et al. 2017 (section 4.1, with
    0.15) and Zhou et al. 2016 (0.2) draw boxes. It does not change with the map's scale; the strongest x % of the area
    would often hold zeros of ReLU.

    Raises ValueError for maps that are not (H, W) or not finite, or a `threshold` that is not above 0 and at most 1.
    """
    for name, cam in (("a", a), ("b", b)):
        if cam.ndim != 2 or not np.isfinite(cam).all():
            raise ValueError(f"`{name}` must be a finite map of shape (H, W), received {cam.shape}; take one cam.")
    if not 0 < threshold <= 1:
        raise ValueError(f"`threshold` must be above 0 and at most 1, received {threshold!r}; {REGION} is usual.")
    height, width = size or (max(a.shape[0], b.shape[0]), max(a.shape[1], b.shape[1]))
    large_a, large_b = (cam if cam.shape == (height, width) else enlarge(cam, (height, width)) for cam in (a, b))
    difference = (large_a - large_b).astype(np.float32)
    zero = [f"map {name} is zero everywhere" for name, cam in (("A", a), ("B", b)) if cam.max() <= 0]
    if zero:
        return CamComparison(difference, None, None, None, None, f"{capital(listed(zero))}.")
    region_a, region_b = (cam >= threshold * cam.max() for cam in (large_a, large_b))
    flat = [f"map {name} has one value everywhere" for name, cam in (("A", a), ("B", b)) if cam.min() == cam.max()]
    return CamComparison(
        difference=difference,
        correlation=None if flat else float(np.corrcoef(large_a.ravel(), large_b.ravel())[0, 1]),
        iou=float((region_a & region_b).sum() / (region_a | region_b).sum()),
        area_a=float(region_a.mean()),
        area_b=float(region_b.mean()),
        reason=f"{capital(listed(flat))}, so nothing varies together." if flat else None,
    )


def object_shares(
    checkpoint: Checkpoint, split: Split, class_names: Sequence[str], target: Target = "label"
) -> Generator[tuple[float, ObjectShares | None], None, None]:
    """The share of the network's Grad-CAM on the object, by layer, over all pictures of `split`, which has masks.

    The maps explain the score of each picture's true class or, with `target` "prediction", of the predicted class, in
    every layer of the depth strip that has feature maps. Masks are resized and cut as the pictures are.

    Yields (fraction done, None) after every picture and ends with (1.0, the shares). The network is left as it was
    found, and threads may share it. Raises ValueError for a split without masks or
    pictures, other classes than the network's, or a network in training mode.
    """
    if target not in get_args(Target):
        raise ValueError(f"`target` must be one of {get_args(Target)}, received {target!r}; choose one of them.")
    order = class_order(checkpoint, class_names)
    if split.masks is None:
        raise ValueError("`split` has no masks, so nobody knows where the objects are; choose the drawn shapes.")
    if not len(split):
        raise ValueError("`split` holds no images, so there is nothing to explain; choose another split.")
    shares: list[list[float]] = []
    covered: list[float] = []
    for index in range(len(split)):
        (image,) = images_for(checkpoint, split.images[index : index + 1]).numpy(force=True)
        explained = order[split.labels[index]] if target == "label" else None
        traced = trace(checkpoint.network, image, explained)
        layers = {layer.name: grad_cam(layer) for layer in traced.layers if layer.is_spatial}
        mask = as_seen(checkpoint, split.masks[index])
        found = [share_on_object(cam, mask) for cam in layers.values()]
        shares.append([np.nan if share is None else share for share in found])
        covered.append(mask.mean())
        if index + 1 < len(split):
            yield (index + 1) / len(split), None
    known = np.ma.masked_invalid(np.array(shares))  # (pictures, layers); masked where the cam is zero
    n = known.count(axis=0)
    yield (
        1.0,
        ObjectShares(
            layers=tuple(layers),
            mean=known.mean(axis=0),
            error=known.std(axis=0, ddof=1) / np.sqrt(np.maximum(n, 1)),
            n=n,
            zero=len(split) - n,
            chance=float(np.mean(covered)),
            pictures=len(split),
        ),
    )


def as_seen(checkpoint: Checkpoint, mask: np.ndarray) -> np.ndarray:
    """The mask, bool (H, W), cut and resized as the picture is for the network: bool (height, width)."""
    _, height, width = checkpoint.spec.input_shape
    picture = np.repeat(mask[:, :, None] * np.uint8(255), 3, axis=2)
    return resize(picture, (height, width), checkpoint.resize_shorter_to)[:, :, 0] >= 128
