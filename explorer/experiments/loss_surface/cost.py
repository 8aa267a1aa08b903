"""What a surface takes, in passes, seconds and memory, and why it is refused where that is too much."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from explorer.architectures import ArchitectureSpec, describe
from explorer.experiments.loss_surface.curvature import ITERATIONS, product_passes
from explorer.experiments.loss_surface.measurement import batch_size, passes_known
from explorer.experiments.loss_surface.settings import SurfaceSettings
from explorer.experiments.loss_surface.surface import Surface
from explorer.labels import duration
from explorer.machine import cores
from explorer.machine.memory import free_memory

MOST_HOURS = 24.0
FORWARD = 3.5  # times as many passes as a training makes, which also goes back
_FLOAT = 4  # bytes
_LIVE = 4  # outputs of the largest size that a pass holds at once: a block's input and its branch
_CURVED_TIMES = 6  # activations of one pass that a Hessian-vector product keeps, at most

Asked = Sequence[tuple[ArchitectureSpec, SurfaceSettings]]


@dataclass(frozen=True)
class SurfaceCost:
    """Passes of one image through all networks, and the seconds and bytes of memory that they take."""

    passes: float
    seconds: float
    memory: int
    images_at_once: int
    path: int = 0  # bytes of the memory that the kept weights of a training take

    @property
    def sentence(self) -> str:
        return f"{self.passes:,.0f} passes of one image, about {duration(self.seconds)} here."

    def check(self) -> None:
        """Raises ValueError, with the numbers, for more than this machine has."""
        if self.seconds > MOST_HOURS * 3600:
            raise ValueError(
                f"this surface would take {self.passes:,.0f} passes of one image, about {duration(self.seconds)} "
                f"here; {MOST_HOURS:g} h is the most. Take fewer points or images."
            )
        free = free_memory()
        if self.memory > free:
            if self.path > self.memory / 2:
                raise ValueError(_too_long(self.path, free))
            raise ValueError(
                f"this surface would need {self.memory / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free. "
                f"Take fewer than {self.images_at_once} images, or frozen statistics."
            )


def _too_long(path: int, free: int) -> str:
    return (
        f"the kept weights of this training would need {path / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are "
        "free. Train with fewer snapshots of the weights."
    )


def check_path(asked: Iterable[tuple[ArchitectureSpec, int]]) -> None:
    """Raises ValueError, with the numbers, where the weights kept at so many steps do not fit the memory. Nothing is
    loaded."""
    path, free = max((path_memory(spec, steps) for spec, steps in asked), default=0), free_memory()
    if path > free:
        raise ValueError(_too_long(path, free))


def passes(settings: SurfaceSettings) -> float:
    """Of one image through one network. With recomputed statistics the pass of the first split in training mode, which
    finds them, is the one that gives its loss, so no pass is added."""
    found = float(settings.places * settings.n * len(settings.splits))
    found += 2 * settings.directions * settings.n
    return found + settings.curvature_places * ITERATIONS * product_passes(min(settings.curvature_images, settings.n))


def share_known(asked: Sequence[SurfaceSettings], found: Sequence[Surface | None]) -> float:
    """The share of the passes of all these surfaces that was made for what is known of them, 0..1."""
    made = sum(min(passes(own), passes_known(known)) for own, known in zip(asked, found, strict=True) if known)
    return made / sum(map(passes, asked)) if asked else 0.0


def cost(asked: Asked, macs_a_second: float, steps: Sequence[int] = ()) -> SurfaceCost:
    """Of these networks one after the other, where a training makes so many multiply-accumulates forward a second.
    `steps` are the numbers of steps whose weights their trainings kept, none where it is empty."""
    sized = list(zip(asked, steps or [0] * len(asked), strict=True))
    largest = max(((memory(*each, kept), path_memory(each[0], kept)) for each, kept in sized), default=(0, 0))
    seconds = sum(passes(settings) * describe(spec).macs for spec, settings in asked) / (FORWARD * macs_a_second)
    return SurfaceCost(
        sum(passes(settings) for _, settings in asked),
        seconds,
        largest[0],
        max((settings.n for _, settings in asked), default=0),
        largest[1],
    )


def path_memory(spec: ArchitectureSpec, steps: int) -> int:
    """About how many bytes the weights kept at so many steps take, with their displacements."""
    return 2 * steps * describe(spec).parameters * _FLOAT


def memory(spec: ArchitectureSpec, settings: SurfaceSettings, steps: int = 0) -> int:
    """About how many bytes the measurement of one network holds at once, beside torch itself, where its training kept
    the weights of so many steps."""
    described = describe(spec)
    largest = max(math.prod(layer.output_shape) for layer in described.layers)
    threads = cores()
    at_once = settings.n if settings.statistics == "recomputed" else batch_size(spec)
    images = len(settings.splits) * settings.n * math.prod(spec.input_shape) * _FLOAT
    activations = threads * at_once * _LIVE * largest * _FLOAT
    weights = (2 * threads + settings.dimensions + 2) * described.parameters * _FLOAT
    if settings.curvature:
        of_batch = min(settings.curvature_images, settings.n)
        of_batch = of_batch if settings.statistics == "recomputed" else min(of_batch, 16)
        activations = max(activations, threads * of_batch * _CURVED_TIMES * described.activation_bytes)
        weights += threads * (ITERATIONS + 4) * described.parameters * _FLOAT
    return images + activations + weights + path_memory(spec, steps)
