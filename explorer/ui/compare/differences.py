"""What differs between networks, as rows of words: what their specs say, what they cost, how they were trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.architectures import ArchitectureSpec, Stage, describe
from explorer.checkpoints import Checkpoint
from explorer.figures.names import shortened
from explorer.labels import BLOCKS, SHORTCUTS, label
from explorer.ui.network_text import accuracy_text

_OF_THE_MACHINE = ("device", "compile")  # they decide how fast it went, not what was learned
_NOT_RECORDED = "not recorded"
_LONGEST = 60  # letters of a value that came out of somebody's file


@dataclass(frozen=True)
class Row:
    """One property and what it is in each network, in words."""

    name: str
    values: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return len(set(self.values)) == 1

    @property
    def is_half_known(self) -> bool:
        """Whether some networks do not say it and the others agree: then nobody knows whether it differs."""
        return _NOT_RECORDED in self.values and len(set(self.values)) == 2


def rows(checkpoints: Sequence[Checkpoint]) -> list[Row]:
    """Every property that is known of the networks, in the order in which a person would ask."""
    columns = [{**_facts(each), **_spec_words(each.spec), **_training_words(each)} for each in checkpoints]
    names = dict.fromkeys(name for column in columns for name in column)
    return [Row(name, tuple(column.get(name, _NOT_RECORDED) for column in columns)) for name in names]


def _facts(checkpoint: Checkpoint) -> dict[str, str]:
    described = describe(checkpoint.spec)
    fields = [layer.receptive_field for layer in described.layers if layer.kind in ("conv", "block")]
    return {
        "accuracy": accuracy_text(checkpoint),
        "depth: weighted layers": str(checkpoint.spec.depth),
        "parameters": f"{described.parameters:,}",
        "MACs for one picture": f"{described.macs / 1e6:,.1f} M",
        "receptive field of the last block": f"{fields[-1]:,} px" if fields else "none",
        "trained on": checkpoint.data,
    }


def _spec_words(spec: ArchitectureSpec) -> dict[str, str]:
    stem = spec.stem
    pooled = ", max pooling" if stem and stem.pooling == "max" else ""
    stem_words = f"{stem.kernel_size}×{stem.kernel_size}, {stem.channels} channels" if stem else "none"
    return {
        "shortcut": SHORTCUTS[spec.shortcut].long,
        "stages: blocks × channels": ", ".join(map(_stage_words, spec.stages)),
        "block": BLOCKS[spec.block],
        "stem": f"{stem_words}{f', stride {stem.stride}' if stem and stem.stride > 1 else ''}{pooled}",
        "norm": label("norm", spec.norm),
        "activation": label("activation", spec.activation),
        "initialisation": label("initialisation", spec.initialisation),
        "downsampling": label("downsampling", spec.downsampling),
        "pooling before the head": label("head_pooling", spec.head_pooling),
        "hidden units of the head": ", ".join(map(str, spec.hidden)) or "none",
        "dropout": f"{spec.dropout:g}",
        "bias before a norm": "yes" if spec.bias_before_norm else "no",
        "input": " × ".join(map(str, spec.input_shape)),
        "classes": f"{spec.classes:,}",
    }


def _stage_words(stage: Stage) -> str:
    words = f"{stage.blocks} × {stage.channels}"
    words += f", stride {stage.stride}" if stage.stride > 1 else ""
    words += f", {stage.kernel_size}×{stage.kernel_size}" if stage.kernel_size != 3 else ""
    return f"({words}{', no padding' if stage.padding == 'valid' else ''})"


def _training_words(checkpoint: Checkpoint) -> dict[str, str]:
    config: Mapping[str, Any] = checkpoint.config or checkpoint.record.get("config") or {}
    if not isinstance(config, Mapping):
        return {}
    seed = {"training: seed": str(checkpoint.seed)} if checkpoint.seed is not None else {}
    return seed | {
        f"training: {name.replace('_', ' ')}": _value(name, value)
        for name, value in config.items()
        if name not in _OF_THE_MACHINE
    }


def _value(name: str, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return shortened(label(name, text), _LONGEST)
