"""`SurfaceSettings`: what decides a loss surface beside its network and its images."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

Normalisation = Literal["filter", "none"]
Statistics = Literal["frozen", "recomputed"]
Moved = Literal["kernels", "all"]
Axes = Literal["random", "path"]
SplitName = Literal["train", "test"]

MOST_IMAGES = 10_000
MOST_POINTS = {1: 1001, 2: 201}
REACH: dict[Normalisation, float] = {"filter": 1.0, "none": 0.05}
"""How far a surface goes where nobody says it. Without normalisation a step of 1 adds a standard normal number to every
weight, many times its size."""


@dataclass(frozen=True)
class SurfaceSettings:
    """One surface: along `dimensions` (1 or 2) axes, `points` on each, from -`reach` to `reach`.

    `axes` are random directions, drawn by `seed`, or the two principal ones of the training's path, which have their
    own range. `normalisation` gives each filter of a random direction the norm of the network's filter ("filter"), or
    leaves it standard normal ("none"). `moved`: only kernels move, biases and BatchNorm's weights stay ("kernels", as
    the commands of Li et al. 2018 do), or these move along themselves ("all", as their code does otherwise).
    `statistics` of BatchNorm stay those of the training ("frozen"), or are at each point those of the measured images
    of the first split, the training images where there are both ("recomputed"). `n` images of each of `splits`.
    Sharpness is measured along `directions` random directions at `radius`. Curvature is measured at `curvature` places
    a side of the surface, 1 for its centre alone, on `curvature_images`; 0 of both for neither. Raises ValueError for
    anything else.
    """

    dimensions: int = 1
    points: int = 41
    reach: float = 1.0
    axes: Axes = "random"
    normalisation: Normalisation = "filter"
    moved: Moved = "kernels"
    statistics: Statistics = "frozen"
    seed: int = 0
    n: int = 512
    splits: tuple[SplitName, ...] = ("train", "test")
    directions: int = 10
    radius: float = 0.1
    curvature: int = 0
    curvature_images: int = 64

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {
        "dimensions": (1, 2),
        "seed": (0, 2**31),
        "n": (1, MOST_IMAGES),
        "directions": (0, 1000),
        "curvature": (0, 21),
        "curvature_images": (1, 2000),
    }

    def __post_init__(self) -> None:
        for name, (least, most) in self.RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ValueError(f"`{name}` must be a whole number from {least} to {most}, received {value!r:.40}.")
        most_points = MOST_POINTS[self.dimensions]
        if not isinstance(self.points, int) or self.points % 2 == 0 or not 3 <= self.points <= most_points:
            raise ValueError(
                f"`points` must be an odd number from 3 to {most_points} for {self.dimensions} "
                f"dimension{'s' * (self.dimensions > 1)}, so that the network itself is one; received "
                f"{self.points!r:.40}."
            )
        for name, most in (("reach", 1000.0), ("radius", 100.0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
                raise ValueError(f"`{name}` must be above 0 and at most {most:g}, received {value!r:.40}.")
        kinds = {"axes": Axes, "normalisation": Normalisation, "moved": Moved, "statistics": Statistics}
        for name, kind in kinds.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"`{name}` must be one of {', '.join(get_args(kind))}, not {getattr(self, name)!r}.")
        if not self.splits or len({*self.splits}) < len(self.splits) or not {*self.splits} <= {*get_args(SplitName)}:
            raise ValueError(f"`splits` must be train, test or both, received {self.splits!r:.80}.")
        if self.curvature and self.curvature % 2 == 0:
            raise ValueError("`curvature` must be 0 or an odd number of places a side, so that the centre is one.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"splits": list(self.splits)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The settings that `to_dict` described. Raises ValueError for anything else."""
        try:
            return cls(**{**values, "splits": tuple(values["splits"])})
        except (TypeError, KeyError):
            raise ValueError("these are no settings of a loss surface; start a new one.") from None

    @property
    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """The coordinates along both axes, float64 (X,) and (Y,); Y is 1 for one dimension. The middle is exactly 0."""
        half = self.points // 2
        along = np.arange(-half, half + 1) / half * self.reach
        return along, along if self.dimensions == 2 else np.zeros(1)

    @property
    def places(self) -> int:
        """Points of the surface."""
        return int(self.points**self.dimensions)

    @property
    def curvature_places(self) -> int:
        return int(self.curvature**self.dimensions)
