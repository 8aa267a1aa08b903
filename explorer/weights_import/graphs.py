"""The report on an ONNX file, whose graph is complete: only what the picture must look like is guessed."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from explorer.architectures import GraphSpec, describe, spec_from_dict
from explorer.weights_import.report import (
    NORMALISATIONS,
    Normalisation,
    Reading,
    Report,
    WeightsError,
    printable,
    quote,
)

HEADER = "cnn-resnet-explorer"  # of the metadata of the files that `onnx_export` writes
NOTHING = "nothing in the file tells it; measure the choices on labelled images"
FAMILY = "ONNX"


def graph_report(name: str, graph: Mapping[str, Any], state: Mapping[str, Tensor]) -> Report:
    """Raises WeightsError with one sentence; `name` has its quotes already."""
    try:
        spec = spec_from_dict(graph["spec"])
        described = describe(spec)
    except ValueError as error:
        raise WeightsError(f"{name} holds a network that this app cannot run: {error}") from None
    assert isinstance(spec, GraphSpec)
    if not any(layer.kind == "conv" for layer in described.layers):
        raise WeightsError(f"{name} has no convolution, so it has no feature maps to see.")
    own = _own_facts(graph["metadata"], spec.input_shape[0])
    normalisation, reason = own[0] or _guess(spec, state, graph["channels_last"])
    class_names = own[1] if own[1] is not None and len(own[1]) == spec.classes else _class_names(spec)
    kinds = {block.shortcut for block in spec.blocks} - {"none"}
    evidence = [
        *graph["evidence"],
        f"{len(spec.nodes):,} operations, {spec.depth} of them convolutions or fully connected layers on the main "
        f"path, with {described.parameters:,} parameters",
        f"{len(spec.blocks)} blocks, {sum(block.shortcut != 'none' for block in spec.blocks)} of them residual"
        if kinds
        else f"{len(spec.blocks)} blocks, none of them residual",
    ]
    uncertain = list(graph["uncertain"])
    if spec.one_logit:
        evidence.append("one output, so two classes: its sigmoid is the probability of the second")
    elif graph["softmax"] == "Sigmoid":
        uncertain.append("the sigmoid at its end, of each output alone: the outputs before it are shown as classes")
    elif graph["softmax"]:
        evidence.append(f"a {graph['softmax']} at its end; the logits before it are explained")
    title = spec.title if spec.title != "ONNX network" else name.strip("`").rsplit(".", 1)[0]
    spec = replace(spec, title=re.sub(r"[^\w .+()-]", "_", printable(title), flags=re.ASCII)[:60].strip() or "network")
    normalisation = normalisation.of(spec.input_shape[0])
    reading = Reading(spec.title, spec, state, normalisation, reason, tuple(uncertain), class_names)
    return Report(name.strip("`"), FAMILY, (reading,), tuple(evidence), (), ())


def _own_facts(
    metadata: Mapping[str, str], channels: int
) -> tuple[tuple[Normalisation, str] | None, tuple[str, ...] | None]:
    """Normalisation and class names, as this app or others write them beside the graph."""
    found, names = None, None
    try:
        header = json.loads(metadata.get(HEADER, "{}"))
        if header:
            mean, std = (tuple(float(value) for value in header[key]) for key in ("mean", "std"))
            if len(mean) == len(std) == channels and min(std) >= 1e-6 and max(map(abs, mean + std)) < 1e6:
                found = Normalisation("own", "the file's own", mean, std), "the file says it"
            names = tuple(header["class_names"])
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    if names is None and "names" in metadata:  # Ultralytics: {0: 'tench', 1: 'goldfish'}
        pairs = re.findall(r"(\d+): ['\"]([^'\"]{1,100})['\"]", metadata["names"])
        names = tuple(name for _, name in pairs) if [int(index) for index, _ in pairs] == [*range(len(pairs))] else None
    good = names is not None and all(isinstance(name, str) and name and name.isprintable() for name in names)
    return found, names if good else None


def _guess(spec: GraphSpec, state: Mapping[str, Tensor], channels_last: bool) -> tuple[Normalisation, str]:
    """From the first operations, where they normalise the picture themselves; else the one that is usual."""
    at, numbers = "", []
    for node in spec.nodes[:6]:
        if node.tensors != (at,) or node.operator not in (
            "Mul",
            "Div",
            "Sub",
            "Add",
            "Transpose",
            "BatchNormalization",
        ):
            break
        at = node.name
        values = [each for each in node.inputs if isinstance(each, float | int)]
        values += [
            float(state[key].abs().max()) for key in (f"{node.name}.value", f"{node.name}.value1") if key in state
        ]
        numbers += [(node.operator, abs(value)) for value in values]
        if node.operator == "BatchNormalization":
            numbers.append(("Sub", float(state[f"{node.name}.running_mean"].abs().max())))
    if numbers:
        operator, value = numbers[0]
        large = {"Mul": value < 0.02, "Div": value > 50, "Sub": value > 2, "Add": value > 2}[operator]
        what = f"its first operation is {quote(f'{operator} {value:.4g}')}, which is for pixels of"
        return NORMALISATIONS["bytes" if large else "none"], f"{what} 0 to {255 if large else 1}"
    sides, classes = max(spec.input_shape), spec.classes
    if sides <= 40:
        name = "cifar100" if classes == 100 else "cifar10"
        return NORMALISATIONS[name], f"most networks for small images are trained with it, and {NOTHING}"
    if channels_last:
        return NORMALISATIONS["half"], f"many networks of Keras are trained with it, and {NOTHING}"
    return NORMALISATIONS["imagenet"], f"most networks for such images are trained with ImageNet's, and {NOTHING}"


def _class_names(spec: GraphSpec) -> tuple[str, ...] | None:
    if spec.classes == 1000 and max(spec.input_shape) > 100:
        from torchvision.models import ResNet18_Weights  # here: half a second that most files do not need

        return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
    return None
