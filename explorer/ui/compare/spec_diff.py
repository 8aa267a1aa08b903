"""Compare: the settings of the networks that differ, and the curves of their trainings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from explorer import figures
from explorer.architectures import ArchitectureSpec, GraphSpec, Stage, describe
from explorer.checkpoints import Checkpoint
from explorer.figures import Chapter, Chart, Details, Part, Table, TrainingLine
from explorer.figures.text_escaping import shortened
from explorer.labels import BLOCKS, SHORTCUTS, SHORTCUTS_OF_BLOCKS, label, listed
from explorer.training import TrainingRecord
from explorer.training.dials import changes_text, describe_changes, recorded_changes
from explorer.ui.compare.comparison import ComparedNetwork
from explorer.ui.network_text import accuracy_text, is_number, source_text
from explorer.ui.parts import draw, draw_table

_OF_THE_MACHINE = ("device", "compile")  # they decide the speed of a training, not its result
_NOT_RECORDED = "not recorded"
Point = tuple[float | None, float | None]
_LONGEST = 60  # letters of a value that came out of somebody's file


@dataclass(frozen=True)
class Row:
    """One property and its value in each network, in words."""

    name: str
    values: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return len(set(self.values)) == 1

    @property
    def has_missing_value(self) -> bool:
        """Whether some networks lack the value and the others agree, so that a difference is not known."""
        return _NOT_RECORDED in self.values and len(set(self.values)) == 2


def section(compared: Sequence[ComparedNetwork]) -> None:
    every = rows([network.checkpoint for network in compared])
    equal, incomplete = [row for row in every if row.is_equal], [row for row in every if row.has_missing_value]
    unequal = [row for row in every if not row.is_equal and not row.has_missing_value]
    st.caption(f"Only settings that differ; {len(equal)} identical ones are below.")
    if unequal:
        draw_table(_table(unequal, compared))
    else:
        st.info("Nothing that is known of these networks differs but their weights.")
    with st.expander(f"{len(equal)} identical settings"):
        draw_table(Table(["", "all of them"], [[row.name, row.values[0]] for row in equal], 2))
    if incomplete:
        with st.expander(f"{len(incomplete)} settings that are not recorded for all of them"):
            draw_table(_table(incomplete, compared))


def curves(compared: Sequence[ComparedNetwork]) -> None:
    draw(training_parts(compared, stacked=True), "training", source_text(compared))


def chapter(compared: Sequence[ComparedNetwork]) -> Chapter:
    """The same for a report: differences first, then equal properties, then everything in each file."""
    ordered = sorted(rows([network.checkpoint for network in compared]), key=lambda row: row.is_equal)
    words = "Properties of the networks: first those that differ, then those that are the same in all of them."
    details = [
        Details(f"{network.title}: spec, training, versions", json.dumps(_file_facts(network), indent=2))
        for network in compared
    ]
    return Chapter("The networks", [words, _table(ordered, compared), *training_parts(compared), *details])


def _table(every: Sequence[Row], compared: Sequence[ComparedNetwork]) -> Table:
    columns = ["", *(network.title for network in compared)]
    return Table(columns, [[row.name, *row.values] for row in every], texts=len(columns))


def _file_facts(network: ComparedNetwork) -> dict[str, Any]:
    checkpoint = network.checkpoint
    fields = ("seed", "data", "config", "class_names", "mean", "std")
    facts: dict[str, Any] = {"name": network.listed} | ({} if network.step is None else {"step": network.step})
    facts |= {"spec": checkpoint.spec.to_dict()}
    facts |= {name: getattr(checkpoint, name) for name in fields} | {"figures": checkpoint.metrics}
    return facts | {name: checkpoint.record.get(name) for name in ("versions", "device")}


# --- their trainings -------------------------------------------------------------------------------------------------


def training_lines(compared: Sequence[ComparedNetwork]) -> tuple[list[TrainingLine], list[str]]:
    """The training curves of the networks that have a record, and the titles of those that have none."""
    lines, without = [], []
    for network in compared:
        points = _epochs(network.checkpoint)
        if points:
            lines.append(TrainingLine(network.series, *zip(*points, strict=True)))
        else:
            without.append(network.title)
    return lines, without


def _epochs(checkpoint: Checkpoint) -> list[tuple[float, Point, Point]]:
    """For each epoch of the record how often the training images were seen until its end, and loss and accuracy on
    these and on the validation images; none without a record that can be read."""
    try:
        record = TrainingRecord.from_dict(checkpoint.record)
        images = record.config.batch_size / record.train_images
        return [(each.step * images, _point(each.train), _point(each.validation)) for each in record.epochs]
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        return []


def training_accuracy(checkpoint: Checkpoint) -> float | None:
    """The share of all its training images, or of those of its last epoch, in training mode; None where unknown."""
    found = checkpoint.metrics.get("train")
    if isinstance(found, dict) and is_number(found.get("accuracy")):
        return float(found["accuracy"])
    epochs = _epochs(checkpoint)
    return epochs[-1][1][1] if epochs else None


def _point(measured: Any) -> Point:
    if measured is None:
        return None, None
    loss, share = (value if is_number(value) else None for value in (measured.loss, measured.accuracy))
    return loss, share


def training_parts(compared: Sequence[ComparedNetwork], stacked: bool = False) -> list[Part]:
    """The training curves, and which networks have none; `stacked` for a narrow place."""
    lines, without = training_lines(compared)
    parts: list[Part] = []
    if lines:
        facts = [
            f"{network.checkpoint.record['train_images']:,} training images, seed {network.checkpoint.seed}"
            for network in compared
            if network.title not in without
        ]
        alike = len(set(facts)) == 1
        said = (
            facts[0] if alike else "; ".join(f"{a.series.title} {fact}" for a, fact in zip(lines, facts, strict=True))
        )
        measured = any(point != (None, None) for line in lines for point in line.validation)
        text = f"n = {said}. Lines: each epoch in training mode{'; dots: validation images' if measured else ''}."
        parts.append(Chart(figures.training_chart(lines, stacked), "Training curves", text))
    turned: dict[str, list[str]] = {}  # twins that are trained together have the same dials
    for network in compared:
        turned.setdefault(describe_changes(recorded_changes(network.checkpoint.record)), []).append(network.title)
    parts += [f"{listed(titles)}: {words}" for words, titles in turned.items() if words]
    if without:
        parts.append(f"No training record came with the weights of {listed(without)}, so there is no curve to draw.")
    return parts


# --- properties in words ---------------------------------------------------------------------------------------------


def rows(checkpoints: Sequence[Checkpoint]) -> list[Row]:
    """Every property that is known of the networks, the most asked for first."""
    columns = [{**_facts(each), **_spec_words(each.spec), **_training_words(each)} for each in checkpoints]
    turned = [changes_text(recorded_changes(each.record)) for each in checkpoints]
    for column, words, checkpoint in zip(columns, turned, checkpoints, strict=True):
        if any(turned) and checkpoint.record:
            column["training: dials turned"] = words or "none"
    names = dict.fromkeys(name for column in columns for name in column)
    return [Row(name, tuple(column.get(name, _NOT_RECORDED) for column in columns)) for name in names]


def _facts(checkpoint: Checkpoint) -> dict[str, str]:
    described = describe(checkpoint.spec)
    fields = [layer.receptive_field for layer in described.layers if layer.kind in ("conv", "block")]
    return {
        "accuracy": accuracy_text(checkpoint),
        "depth: weighted layers": str(checkpoint.spec.depth),
        "parameters": f"{described.parameters:,}",
        "MACs for one image": f"{described.macs / 1e6:,.1f} M",
        "receptive field of the last block": f"{fields[-1]:,} px" if fields else "none",
        "trained on": checkpoint.data,
    }


def _spec_words(spec: ArchitectureSpec) -> dict[str, str]:
    if isinstance(spec, GraphSpec):
        kinds = {block.shortcut for block in spec.blocks} - {"none"}
        return {
            "shortcut": ", ".join(SHORTCUTS_OF_BLOCKS[kind].short for kind in sorted(kinds)) or SHORTCUTS["none"].long,
            "operations of the ONNX graph": f"{len(spec.nodes):,}",
            "activation": spec.activation_name,
            "input": " × ".join(map(str, spec.input_shape)),
            "classes": f"{spec.classes:,}",
        }
    of_stages = spec.shortcuts
    stem = spec.stem
    pooled = ", max pooling" if stem and stem.pooling == "max" else ""
    stem_words = f"{stem.kernel_size}×{stem.kernel_size}, {stem.channels} channels" if stem else "none"
    return {
        "shortcut": ", ".join(SHORTCUTS[kind].long for kind in (of_stages if len({*of_stages}) > 1 else of_stages[:1])),
        "shortcut gain": f"{spec.shortcut_gain:g}",
        "start of each branch": label("branch_start", spec.branch_start),
        "stochastic depth": f"{spec.stochastic_depth:g}",
        "stages: blocks × channels": ", ".join(map(_stage_words, spec.stages)),
        "block": f"{BLOCKS[spec.block]}{f', {spec.groups} groups' if spec.groups > 1 else ''}"
        + (", norm in front of each convolution" if spec.preactivation else "")
        + ("" if spec.head_norm else " but not of the head"),
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
        "classes": f"{spec.classes:,}{', one output' if spec.one_logit else ''}",
    }


def _stage_words(stage: Stage) -> str:
    words = f"{stage.blocks} × {stage.channels}"
    words += f", stride {stage.stride}" if stage.stride > 1 else ""
    words += f", {stage.inner} inside" if stage.inner else ""
    words += f", {stage.kernel_size}×{stage.kernel_size}" if stage.kernel_size != 3 else ""
    return f"({words}{', no padding' if stage.padding == 'valid' else ''})"


def _training_words(checkpoint: Checkpoint) -> dict[str, str]:
    config: Mapping[str, Any] = checkpoint.config or checkpoint.record.get("config") or {}
    if not isinstance(config, Mapping):
        return {}
    seed = {"training: seed": str(checkpoint.seed)} if checkpoint.seed is not None else {}
    return seed | {
        shortened(f"training: {name.replace('_', ' ')}", 80): _value(name, value)
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
