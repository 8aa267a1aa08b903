"""From names and shapes to networks of ours: complete, or not at all."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from explorer import checkpoints
from explorer.checkpoints import CheckpointError
from explorer.requirements import check_torch
from explorer.weights_import import families, resnets, small_cnns, vggs
from explorer.weights_import.families import Candidate, KeyLayout, shape
from explorer.weights_import.graphs import graph_report
from explorer.weights_import.lookalikes import input_scale
from explorer.weights_import.report import (
    NoFileError,
    Normalisation,
    Reading,
    Report,
    WeightsError,
    quote,
    with_way_out,
)
from explorer.weights_import.sandbox import FileContent, load
from explorer.weights_import.spellings import CleanStateDict, normalise_keys

COUNTER = "num_batches_tracked"
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
EPSILON = 1e-5  # of BatchNorm, in every family
ELSEWHERE = (  # names in other well-known networks, so that a refusal can say which network it is
    (r"cls_token|pos_embed|class_token|patch_embed|encoder\.layers\.|attn|attention|transformer", "a transformer"),
    (r"(^|\.)regnet", "a RegNet"),
    (r"denseblock|dense1\.", "a DenseNet"),
    (r"(^|\.)fire\d|squeeze\.weight", "a SqueezeNet"),
    (r"Mixed_\d|inception", "an Inception network"),
    (r"conv_stem|conv_dw|features\.0\.0\.weight", "a MobileNet, EfficientNet or ConvNeXt"),
    (r"\.se\.|\.se_|\.fc1\.weight", "a network with squeeze-and-excitation blocks"),
    (r"block1\.layer\.|convShortcut", "a pre-activation wide ResNet"),
    (r"conv1\.0\.weight", "a ResNet with a stem of several convolutions"),
    (r"rbr_|reparam", "a RepVGG"),
    (r"weight_ih_l0|lstm|gru|embedding", "a recurrent or language network"),
)


@dataclass(frozen=True, eq=False)
class Recognition:
    """The layout of one state dict, and a reading for each candidate."""

    layout: KeyLayout
    readings: tuple[Reading, ...]
    renamed: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    evidence: tuple[str, ...]


def read(path: str | Path, name: str | None = None) -> Report:
    """The report on the file at `path`. A child process with limits of memory and time opens it.

    `name` is the name of the file in sentences; None takes the path's own.
    Raises WeightsError with one sentence, and RequirementError where torch is too old for such files.
    """
    check_torch()
    path = Path(path)
    title = quote(re.split(r"[/\\]", path.name if name is None else name)[-1])
    try:
        found = load(path, title)
        if not found.is_ours:
            return _shown(title, found)
    except NoFileError:
        raise
    except WeightsError as error:
        raise WeightsError(with_way_out(str(error))) from None
    return _checkpoint_report(path, title)


def _shown(title: str, found: FileContent) -> Report:
    """The report on a file whose networks no page would refuse."""
    if found.graph is not None:
        return graph_report(title, found.graph, found.state_dicts[0][1])
    report = _report(title, found)
    for reading in report.readings:  # no page could give a picture to another one
        if reading.spec.input_shape[0] not in (1, 3):
            raise WeightsError(
                f"{title} takes images of {reading.spec.input_shape[0]} channels, {reading.title}; this app shows "
                "networks for colour images, of 3, or grey ones, of 1."
            )
    return report


def recognise(state: Mapping[str, Tensor], wrapper: Collection[str], name: str) -> Recognition:
    """Every complete interpretation of a state dict; `wrapper` are names beside it in its file.

    Raises WeightsError with one sentence that has the first names that do not fit, and both shapes; `name` is the name
    of the state dict in it.
    """
    try:
        return _recognised(state, wrapper, name)
    except (KeyError, IndexError, TypeError, RuntimeError):  # names that look like a family's and then are not
        raise WeightsError(
            f"{name} has names like those of a network that this app knows, and does not go on like one."
        ) from None


def _recognised(state: Mapping[str, Tensor], wrapper: Collection[str], name: str) -> Recognition:
    tidied = normalise_keys(state, name)
    try:
        folded, norms = _without_folded_norms(tidied.state)
        layout = _layout(replace(tidied, state=folded), wrapper, name)
    except WeightsError:
        raise
    except ValueError as error:  # of ArchitectureSpec
        raise WeightsError(f"{name} is a network that this app cannot build: {error}") from None
    reason, uncertain = layout.normalisation_reason, layout.uncertain
    if tidied.normalisation is not None:
        reason = "the file says it"
        uncertain = tuple(sentence for sentence in uncertain if not sentence.startswith(families.NORMALISATION))
    places = [_matched_names(candidate, folded, layout.family, name) for candidate in layout.candidates]
    floats, notes = _checked_floats(folded, name)  # once, after all names fit: the readings share their memory
    notes = [*norms, *notes]
    uncertain = (*uncertain, *filter(None, [input_scale(floats)]))
    readings = []
    for number, (candidate, place) in enumerate(zip(layout.candidates, places, strict=True)):
        ours = {key: torch.zeros((), dtype=torch.int64) if at is None else floats[at] for key, at in place.items()}
        readings.append(
            Reading(
                candidate.title,
                candidate.spec,
                ours,
                (tidied.normalisation or layout.normalisation).of(candidate.spec.input_shape[0]),
                reason,
                uncertain,
                layout.class_names,
                is_likelier=layout.likelier and number == 0,
            )
        )
    renamed = tuple(
        (theirs, key)
        for key, at in places[0].items()
        if at is not None and (theirs := tidied.originals.get(at, at)) != key
    )
    if None in places[0].values():
        notes.append(f"no `{COUNTER}` in the file, which counts steps of training only: set to 0")
    evidence = (*tidied.evidence, *layout.evidence, *notes)
    return Recognition(layout, tuple(readings), renamed, tidied.ignored, evidence)


def _layout(tidied: CleanStateDict, wrapper: Collection[str], name: str) -> KeyLayout:
    state = tidied.state
    if not state:
        raise WeightsError(f"{name} holds no weights.")
    if "head.fc.weight" in state and "stages.0.0.conv1.weight" in state:
        return families.from_our_names(state, name)
    is_regnet = any("regnet" in key for key in tidied.originals.values())
    norm, conv = (state.get(f"layer2.0.{layer}1.weight", torch.zeros(())).shape for layer in ("bn", "conv"))
    before = "bn1.weight" not in state and len(conv) == 4 and norm == conv[1:2] != conv[:1]
    if "conv1.weight" in state and ("block1.layer.0.conv1.weight" in state or before):
        return resnets.preactivation_resnet(state, name)
    if "conv1.weight" in state and "layer1.0.conv1.weight" in state and not is_regnet:
        return resnets.resnet(state, wrapper, name, tidied.family)
    first = next((key for key in state if re.fullmatch(r"features\.(0|[1-9][0-9]{0,2})\.weight", key)), None)
    refusal = None
    if first is not None and state[first].dim() == 4:
        try:
            return vggs.vgg(state, name)
        except WeightsError as error:
            refusal = error
    try:
        if layout := small_cnns.small_cnn(state, name):
            return layout
    except WeightsError as error:
        refusal = refusal or error
    if refusal is not None:
        raise refusal
    names = ", ".join(f"{quote(key)} ({shape(value)})" for key, value in list(state.items())[:3])
    raise WeightsError(
        f"{name} is {_known_elsewhere(tidied.originals.values()) or 'a network'} that this app cannot build: it begins "
        f"with {names}, where a ResNet has `conv1.weight` and `layer1.0.conv1.weight` and a VGG `features.0.weight`."
    )


def _without_folded_norms(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """A BatchNorm behind a fully connected layer, (W x + b - m) s + β, is one such layer again: the state dict with
    these, and a sentence on each. Only where the two stand in turn in a Sequential."""
    state, notes = dict(state), []
    for key in [key for key in state if key.endswith(".running_mean") and state[key].dim() == 1]:
        match = re.fullmatch(r"((?:.*\.)?)(\d{1,3})", key.removesuffix(".running_mean"))
        linear, norm = (f"{match[1]}{int(match[2]) - 1}", match[0]) if match else ("", "")
        weight = state.get(f"{linear}.weight")
        parts = [state.get(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        bias = state.get(f"{linear}.bias", weight[:, 0] * 0 if weight is not None and weight.dim() == 2 else None)
        if weight is None or weight.dim() != 2 or bias is None or not weight.shape[1]:
            continue
        if any(each is None or each.shape != weight.shape[:1] or each.dtype not in FLOATS for each in (*parts, bias)):
            continue
        gamma, beta, mean, variance = (each.double() for each in parts if each is not None)
        scale = gamma / (variance + EPSILON).sqrt()  # not finite where the file's values are not
        for name in [name for name in state if name.startswith(f"{norm}.")]:
            del state[name]
        state[f"{linear}.weight"] = (weight.double() * scale[:, None]).float()
        state[f"{linear}.bias"] = ((bias.double() - mean) * scale + beta).float()
        notes.append(f"`{norm}` is a BatchNorm; it is multiplied into `{linear}`, which gives the same")
    return state, notes


def _checked_floats(state: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors as float32, counters as int64, and a sentence for each other type.

    Raises WeightsError for values that cannot be weights.
    """
    floats, kinds = {}, set()
    for key, value in state.items():
        kind = str(value.dtype).removeprefix("torch.")
        if key.endswith(COUNTER):
            if value.numel() != 1 or value.is_floating_point() or value.is_complex():
                raise WeightsError(
                    f"{name} has a counter {quote(key)} that is no whole number but {kind}, {shape(value)}."
                )
            floats[key] = value.reshape(()).long()
            continue
        if value.dtype not in FLOATS:
            raise WeightsError(
                f"{name} holds {kind} values in {quote(key)}, where weights are expected; if it is quantised, use "
                "the file from before."
            )
        floats[key] = value.float().contiguous()
        if value.dtype != torch.float32:
            kinds.add(kind)
        if value.numel() and not all(map(torch.isfinite, floats[key].aminmax())):  # one pass, nothing allocated
            what = "not a number" if floats[key].isnan().any() else "infinite"
            wrong = int((~floats[key].isfinite()).sum())
            raise WeightsError(
                f"{name} holds values that are {what}: {wrong:,} of {value.numel():,} in {quote(key)}; its training "
                "diverged, or the file is damaged."
            )
        if key.endswith("running_var") and value.numel() and floats[key].min() < 0:
            raise WeightsError(
                f"{name} holds a negative variance in {quote(key)}, {floats[key].min():.3g}, which no training "
                "leaves; the file is damaged."
            )
    return floats, [f"weights are {kind}, converted to float32" for kind in sorted(kinds)]


def _matched_names(candidate: Candidate, state: Mapping[str, Tensor], family: str, name: str) -> dict[str, str | None]:
    """Our name -> theirs, for every tensor of the network; None for a counter that is not in the file.

    Raises WeightsError where a name is missing, left over, or of another shape.
    """
    if len(state) < candidate.spec.depth:  # before it is built, which takes a second for 1202 layers
        raise WeightsError(
            f"{name} holds {len(state)} tensors, too few for {candidate.title} of {candidate.spec.depth} layers."
        )
    places: dict[str, str | None] = {}
    wrong = []
    for key, expected in families.expected_shapes(candidate.spec).items():
        module, _, leaf = key.rpartition(".")
        at = f"{candidate.names[module]}.{leaf}"
        if leaf == COUNTER:  # of any shape with one value: checked where it becomes one
            places[key] = at if at in state else None
            continue
        places[key] = at
        size = "×".join(map(str, expected))
        if at not in state:
            wrong.append(f"{quote(at)} ({size}) is missing")
        elif tuple(state[at].shape) != expected:
            wrong.append(f"{quote(at)} is {shape(state[at])} where {size} is expected")
    used = set(places.values())
    wrong += [f"{quote(key)} ({shape(value)}) has no place in it" for key, value in state.items() if key not in used]
    if wrong:
        more = f"; {len(wrong) - 3:,} more do not fit" if len(wrong) > 3 else ""
        raise WeightsError(
            f"{name} looks like {candidate.title} ({family}) but is not: {', '.join(wrong[:3])}{more}"
            f"{_hint(state, candidate)}."
        )
    return places


def _hint(state: Mapping[str, Tensor], candidate: Candidate) -> str:
    """The kind of network that usually has these differences, as the end of a sentence."""
    norm, conv = (
        tuple(state[key].shape) if key in state else () for key in ("layer2.0.bn1.weight", "layer2.0.conv1.weight")
    )
    if len(conv) == 4 and norm == conv[1:2] != conv[:1]:
        return "; the norms stand in front of the convolutions, as in pre-activation ResNets"
    found = _known_elsewhere(state)
    return f"; it has names of {found}" if found else ""


def _known_elsewhere(names: Iterable[str]) -> str | None:
    return next((words for pattern, words in ELSEWHERE if any(re.search(pattern, name) for name in names)), None)


def _checkpoint_report(path: Path, name: str) -> Report:
    """The report on a checkpoint of this app, whose header describes it."""
    try:
        checkpoint = checkpoints.load(path)
    except CheckpointError as error:
        raise WeightsError(str(error).replace(f"`{path.name}`", name)) from None
    normalisation = Normalisation("own", "the file's own", checkpoint.mean, checkpoint.std)
    reading = Reading(
        checkpoint.spec.name,
        checkpoint.spec,
        checkpoint.network.state_dict(),
        normalisation,
        "the file says it",
        class_names=checkpoint.class_names,
        own_checkpoint=checkpoint,
    )
    evidence = ("the header of this app, which describes the whole network", f"trained on {quote(checkpoint.data)}")
    return Report(name.strip("`"), "this app", (reading,), evidence, (), ())


def _report(name: str, found: FileContent) -> Report:
    """All state dicts of the file that are networks of this app. Raises the WeightsError of the first where none is."""
    recognised, refused = [], []
    for place, state in found.state_dicts:
        try:
            recognised.append((place, recognise(state, found.beside, name)))
        except WeightsError as error:
            refused.append((place, error))
    if not recognised:
        raise refused[0][1]
    readings, evidence, questions = [], [found.format], []
    if found.beside:
        evidence.append(f"beside the weights: {', '.join(quote(key) for key in found.beside[:8])}")
    for place, recognition in recognised:
        where = quote(place) if place else "the file itself"
        for reading in recognition.readings:
            title = f"{reading.title}, weights under {where}" if len(recognised) > 1 else reading.title
            readings.append(replace(reading, title=title))
        if place:
            evidence.append(f"the weights stand under {where}")
        evidence += [sentence for sentence in recognition.evidence if sentence not in evidence]
    evidence += [f"what stands under {quote(place)} is no network of this app" for place, _ in refused]
    if len(recognised) > 1:
        places = ", ".join(quote(place) for place, _ in recognised)
        questions.append(f"The file holds {len(recognised)} sets of weights, under {places}: which one?")
    questions += dict.fromkeys(entry.layout.question for _, entry in recognised if entry.layout.question)
    return Report(
        name.strip("`"),
        " and ".join(dict.fromkeys(entry.layout.family for _, entry in recognised)),
        tuple(readings),
        tuple(evidence),
        tuple(dict.fromkeys(pair for _, entry in recognised for pair in entry.renamed)),
        tuple(dict.fromkeys(key for _, entry in recognised for key in entry.ignored)),
        " ".join(questions) or None,
    )
