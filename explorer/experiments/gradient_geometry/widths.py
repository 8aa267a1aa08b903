"""The same network with fewer or more channels."""

from dataclasses import replace

from explorer.architectures import ArchitectureSpec

FACTORS = (0.25, 0.5, 1.0, 2.0)
"""Channels, as multiples of a network's own."""


def widened(spec: ArchitectureSpec, factor: float) -> ArchitectureSpec:
    """The spec with `factor` times the channels in its stem and in each stage, at least one.

    Raises ValueError where no network has that width.
    """

    def times(channels: int) -> int:
        return max(1, round(channels * factor))

    stages = tuple(
        replace(stage, channels=times(stage.channels), inner=None if stage.inner is None else times(stage.inner))
        for stage in spec.stages
    )
    stem = spec.stem and replace(spec.stem, channels=times(spec.stem.channels))
    return replace(spec, stages=stages, stem=stem)


def width(spec: ArchitectureSpec) -> int:
    """The channels of the first stage."""
    return spec.stages[0].channels
