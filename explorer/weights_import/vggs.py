"""VGGs: torchvision, kuangliu, chenyaofo, loss-landscape."""

import re
from collections.abc import Mapping

from torch import Tensor

from explorer.architectures import ArchitectureSpec, Stage
from explorer.weights_import.families import (
    NORMALISATION,
    PADDING_AND_ACTIVATION,
    Candidate,
    KeyLayout,
    head_names,
    layout_of,
    linear_layers,
    outputs,
    outputs_in_words,
    shape,
)
from explorer.weights_import.report import WeightsError

VGG_CONVOLUTIONS = {8: 11, 10: 13, 13: 16, 16: 19}
# Fully connected layers of a VGG: torchvision and chenyaofo; with the dropout in front; kuangliu, a single one.
VGG_CLASSIFIERS = ((0, 3, 6), (1, 4, 6))


def vgg(state: Mapping[str, Tensor], name: str) -> KeyLayout:
    """`features.0`, `classifier`: torchvision, kuangliu, chenyaofo, loss-landscape."""
    matches = (
        re.fullmatch(r"features\.(0|[1-9][0-9]{0,2})\.weight", key) for key, value in state.items() if value.dim() == 4
    )
    places = sorted(int(match[1]) for match in matches if match)
    for place in places:
        if state[f"features.{place}.weight"].shape[2:] != (3, 3):
            raise WeightsError(
                f"{name} has the names of a VGG, but `features.{place}.weight` is "
                f"{shape(state[f'features.{place}.weight'])}, where a kernel of 3×3 is expected."
            )
    norm = f"features.{places[0] + 1}.running_mean" in state
    width = 3 if norm else 2  # convolution, norm, activation
    stages: list[list[int]] = [[]]
    for before, place in zip([places[0] - width, *places], places, strict=False):
        if place - before == width + 1:
            stages.append([])
        elif place - before != width:
            raise WeightsError(
                f"{name} has a convolution `features.{place}` that stands {place - before} places behind the last "
                f"one; {width} and, with a pooling between, {width + 1} are expected of a VGG"
                f"{' with BatchNorm' if norm else ''}."
            )
        stages[-1].append(place)
    channels = []
    for stage in stages:
        widths = {state[f"features.{place}.weight"].shape[0] for place in stage}
        if len(widths) > 1:
            raise WeightsError(
                f"{name} changes its channels within a stage ({', '.join(map(str, sorted(widths)))} between "
                f"`features.{stage[0]}` and `features.{stage[-1]}`), which this app's stages cannot."
            )
        channels.append(widths.pop())
    heads = [key for key, value in state.items() if value.dim() == 2 and key.endswith(".weight")]
    if not heads:
        raise WeightsError(
            f"{name} has the convolutions of a VGG, but no fully connected layer as its classifier: without one it "
            "gives features, not classes."
        )
    values = {size: channels[-1] * (size >> len(stages)) ** 2 for size in (224, 32)}  # that leave the last pooling
    size = next((size for size, n in values.items() if n and n in {state[key].shape[1] for key in heads}), None)
    first = state[f"features.{places[0]}.weight"]
    if places[0] != 0 or first.shape[1] not in (1, 3) or size is None:
        raise WeightsError(
            f"{name} has the names of a VGG, but not its sizes: `features.{places[0]}.weight` is {shape(first)} and "
            f"`{heads[0]}` is {shape(state[heads[0]])}; images of 32 pixels would give "
            f"{channels[-1] * (32 >> len(stages)) ** 2:,} values behind {len(stages)} poolings, of 224 "
            f"{channels[-1] * (224 >> len(stages)) ** 2:,}."
        )
    linear = linear_layers(state, values[size], name)
    hidden = tuple(state[f"{fc}.weight"].shape[0] for fc in linear[:-1])
    spec = ArchitectureSpec(
        stages=tuple(Stage(len(stage), width, 2) for stage, width in zip(stages, channels, strict=True)),
        block="conv",
        shortcut="none",
        norm="batch" if norm else "none",
        downsampling="max",
        head_pooling="flatten",
        hidden=hidden,
        dropout=0.5 if hidden and "fc.0.weight" not in state else 0.0,
        bias_before_norm=norm and "features.0.bias" in state,
        input_shape=(first.shape[1], size, size),
        **outputs(state[f"{linear[-1]}.weight"].shape[0]),
    )
    names = {
        **{f"stages.{i}.{j}.conv1": f"features.{p}" for i, stage in enumerate(stages) for j, p in enumerate(stage)},
        **{f"stages.{i}.{j}.norm1": f"features.{p + 1}" for i, stage in enumerate(stages) for j, p in enumerate(stage)},
        **head_names(linear),
    }
    return vgg_layout(spec, names, linear, state, len(places))


def vgg_layout(
    spec: ArchitectureSpec, names: Mapping[str, str], linear: tuple[str, ...], state: Mapping[str, Tensor], convs: int
) -> KeyLayout:
    folded = "fc.0" in linear
    depth = VGG_CONVOLUTIONS.get(convs) if len(spec.stages) == 5 else convs + len(linear) if folded else None
    title = f"VGG-{depth}" if depth else f"VGG-like network of {convs} convolutions"
    title += " with BatchNorm" if spec.norm == "batch" else ""
    if spec.input_shape[1] == 224:
        family = "torchvision"
    elif folded:
        family = "loss-landscape"
    else:
        family = "kuangliu" if len(linear) == 1 else "chenyaofo"
    groups = ", ".join(str(stage.blocks) for stage in spec.stages)
    evidence = [
        f"`features.N` with {convs} convolutions, {groups} between the poolings: the free numbers show where they are",
        "BatchNorm behind each convolution" if spec.norm == "batch" else "no BatchNorm",
        f"`{linear[0]}.weight` is {shape(state[f'{linear[0]}.weight'])}: images of {spec.input_shape[1]} pixels",
        f"`{linear[-1]}.weight` is {shape(state[f'{linear[-1]}.weight'])}: "
        + outputs_in_words(state[f"{linear[-1]}.weight"].shape[0]),
    ]
    uncertain = ["that a pooling follows the last convolution too: as in every published VGG"]
    if spec.hidden and not folded and not any(linear == tuple(f"classifier.{n}" for n in at) for at in VGG_CLASSIFIERS):
        uncertain.append(f"that a ReLU stands between the {len(linear)} fully connected layers of the head")
    if spec.classes != (1000 if family == "torchvision" else 10) and (family, spec.classes) != ("chenyaofo", 100):
        uncertain.append(f"{NORMALISATION}it has {spec.classes:,} classes, so it was trained on other data")
    elif family in ("kuangliu", "chenyaofo") and spec.norm == "none":
        uncertain.append(f"{NORMALISATION}the published networks of this layout have BatchNorm, this one has not")
    return layout_of(family, [Candidate(title, spec, names)], evidence, [*uncertain, PADDING_AND_ACTIVATION])
