"""`Surface`: what is known of the loss surface of one network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explorer.experiments.loss_surface.path import Path
from explorer.experiments.loss_surface.settings import SurfaceSettings


@dataclass(frozen=True, eq=False)
class Surface:
    """What is known of one network's surface; NaN is a value that is not finite, or was not measured.

    `xs` (X,) and `ys` (Y,), Y = 1 along one axis, are steps along the directions. `losses`, mean cross-entropies, and
    `errors`, shares of wrong answers, are float64 (S, Y, X) for S `splits` of `counts` images each; `measured`, bool
    (Y, X), tells the points that were reached. `centre` (S, 2) has loss and error of the network itself.
    `increases` (K,) are mean losses of the first split at ± radius along K random directions, less that of the centre.
    `curvature` (E, 7) has x, y, λmin, λmax, the error bounds of both, and the products they took. `path` (P, 3) has
    step, x, y of the training's kept weights, of which the axes hold the share `held`. `settings` are those of
    `SurfaceSettings.to_dict`.
    """

    settings: dict[str, Any]
    splits: tuple[str, ...]
    counts: tuple[int, ...]
    xs: np.ndarray
    ys: np.ndarray
    losses: np.ndarray
    errors: np.ndarray
    measured: np.ndarray
    centre: np.ndarray
    increases: np.ndarray
    increases_known: np.ndarray
    curvature: np.ndarray
    path: np.ndarray
    held: float

    @property
    def asked(self) -> SurfaceSettings:
        """Raises ValueError where they are damaged."""
        return SurfaceSettings.from_dict(self.settings)

    @property
    def is_complete(self) -> bool:
        asked = self.asked
        curved = len(self.curvature) == asked.curvature_places
        return bool(self.measured.all() and self.increases_known.all() and curved)

    def drawable(self) -> tuple[slice, slice]:
        """Rows and columns of the finest regular grid through the centre all of whose points were measured; all where
        there is none."""
        rows, columns = self.measured.shape
        stride = 1
        while stride < max(rows, columns):
            grid = (slice((rows // 2) % stride, None, stride), slice((columns // 2) % stride, None, stride))
            if self.measured[grid].all():
                return grid
            stride *= 2
        return slice(None), slice(None)

    @property
    def missing(self) -> int:
        """Measured points whose loss is not finite."""
        return int((self.measured & ~np.isfinite(self.losses[0])).sum())


def curvature_places(surface: Surface) -> list[tuple[float, float]]:
    """Where the curvature is measured: the centre, or places at equal distances over the whole surface."""
    asked = surface.asked
    if not asked.curvature:
        return []
    if asked.curvature == 1:
        return [(0.0, 0.0)]
    xs = np.linspace(surface.xs[0], surface.xs[-1], asked.curvature)
    ys = np.linspace(surface.ys[0], surface.ys[-1], asked.curvature) if asked.dimensions == 2 else np.zeros(1)
    return [(float(x), float(y)) for y in ys for x in xs]


def is_alike(known: Surface, begun: Surface) -> bool:
    """Whether both lie along the same axes of a path: an earlier release found others."""
    places = [(known.xs, begun.xs), (known.ys, begun.ys), (known.path, begun.path)]
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in places)


def copied(found: Surface) -> Surface:
    """The same with arrays of its own for what is still to come."""
    return replace(
        found,
        losses=found.losses.copy(),
        errors=found.errors.copy(),
        measured=found.measured.copy(),
        centre=found.centre.copy(),
        increases=found.increases.copy(),
        increases_known=found.increases_known.copy(),
    )


def empty_surface(
    settings: SurfaceSettings, counts: Sequence[int], xs: np.ndarray, ys: np.ndarray, path: Path
) -> Surface:
    """One of which nothing but its points and its path is known."""
    shape = (len(ys), len(xs))
    return Surface(
        settings=settings.to_dict(),
        splits=settings.splits,
        counts=tuple(counts),
        xs=xs,
        ys=ys,
        losses=np.full((len(counts), *shape), np.nan),
        errors=np.full((len(counts), *shape), np.nan),
        measured=np.zeros(shape, bool),
        centre=np.full((len(counts), 2), np.nan),
        increases=np.full(settings.directions, np.nan),
        increases_known=np.zeros(settings.directions, bool),
        curvature=np.zeros((0, 7)),
        path=path.places,
        held=path.held,
    )
