"""`describe`: what a network is made of."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, Network, describe
from explorer.commands import Answer, typed
from explorer.commands.text import knows, table
from explorer.presets import PRESETS


def describe_arguments(parser: argparse.ArgumentParser) -> None:
    typed.add_network(parser, "a preset, a pretrained network, or a file that `train` saved")
    parser.add_argument("--twin", action="store_true", help="describe its twin: without its shortcuts, or with some")
    parser.add_argument("--list", action="store_true", help="list the presets instead")


def describe_network(arguments: argparse.Namespace) -> Answer:
    if arguments.list:
        return _presets()
    name = arguments.name
    facts: dict[str, Any] = {}
    if name is None or arguments.spec is not None or name in PRESETS:
        name, spec = typed.named_spec(arguments)
        if arguments.spec is None:
            facts = {key: getattr(PRESETS[name], key) for key in ("title", "note", "training")}
    elif name in checkpoints.pinned() or Path(name).exists():
        checkpoint = typed.checkpoint(name)
        spec = checkpoint.spec
        facts = {"data": checkpoint.data, "class_names": list(checkpoint.class_names), "figures": checkpoint.metrics}
    else:
        raise ValueError(
            f"there is no preset, pretrained network or file {name!r}; `describe --list` lists the presets and "
            "`pretrained` the networks."
        )
    if arguments.twin:
        spec, facts = spec.twin(), {}  # what is known of a network says nothing of its twin
    description = describe(spec)
    document = {
        "name": name,
        "twin": arguments.twin,
        "network": spec.name,
        **facts,
        "depth": description.depth,
        "parameters": description.parameters,
        "macs": description.macs,
        "activation_bytes": description.activation_bytes,
        "fingerprint": spec.fingerprint,
        "spec": spec.to_dict(),
        "layers": [asdict(layer) for layer in description.layers],
    }
    shape = "×".join(map(str, spec.input_shape))
    lines = [f"{'The twin of ' if arguments.twin else ''}{name}: {spec.name}, input {shape}"]
    if "note" in facts:
        lines += [facts["note"], f"Training there: {facts['training']}."]
    if "data" in facts:
        lines += [f"Trained on {facts['data']}; it {knows(facts['class_names'])}"]
    header = ("layer", "kind", "output shape", "parameters", "MACs", "receptive field")
    lines += ["", *table(header, [list(asdict(layer).values()) for layer in description.layers]), ""]
    lines.append(
        f"{description.depth} weighted layers, {description.parameters:,} parameters; for one picture "
        f"{description.macs:,} multiply-accumulates and {description.activation_bytes:,} bytes of activations"
    )
    return document, lines


def _presets() -> Answer:
    header = ("name", "title", "depth", "parameters")
    rows = [(name, entry.title, entry.spec.depth, parameters(entry.spec)) for name, entry in PRESETS.items()]
    return {"presets": [dict(zip(header, row, strict=True)) for row in rows]}, table(header, rows)


def parameters(spec: ArchitectureSpec) -> int:
    """The same count as `describe` gives, without its other figures, which take most of the time."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Network(spec).parameters())
