"""The names of one network as several programs spell them, brought to torchvision's."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.weights_import.report import Normalisation, WeightsError, quote

WRAPPERS = {"module", "_orig_mod"}  # DataParallel, torch.compile: wherever in a name, they are no layers
PREFIXES = {"model", "net", "network", "backbone"}  # only in front, where no known name tells the prefix
INPUT_SCALES = (("new_mean", "new_std"), ("mean", "std"), ("mu", "sigma"))  # of a layer that normalises the input
# Left beside the weights by a profiler (thop), by weight averaging, and by a loss with weights of its own.
NO_LAYERS = re.compile(r"(.*\.)?total_(ops|params)|n_averaged|(criterion|loss|loss_fn)\..*")
_LEAF = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_PARTS = {"convolution": ("conv", 0), "normalization": ("bn", 1)}  # and their numbers in torchvision's downsample


@dataclass(frozen=True)
class Spelling:
    """One way to write the names: `anchor` is a name that it always has, behind any prefix, and `translate` gives
    torchvision's name for one without the prefix, or the same name."""

    family: str | None
    anchor: str
    translate: Callable[[str], str]


def _same(key: str) -> str:
    return key


def _hugging_face(key: str) -> str:
    if match := re.fullmatch(rf"embedder\.embedder\.(convolution|normalization)\.{_LEAF}", key):
        return f"{_PARTS[match[1]][0]}1.{match[2]}"
    place = r"encoder\.stages\.(\d{1,2})\.layers\.(\d{1,3})\."
    if match := re.fullmatch(rf"{place}layer\.(\d)\.(convolution|normalization)\.{_LEAF}", key):
        return f"layer{int(match[1]) + 1}.{match[2]}.{_PARTS[match[4]][0]}{int(match[3]) + 1}.{match[5]}"
    if match := re.fullmatch(rf"{place}shortcut\.(convolution|normalization)\.{_LEAF}", key):
        return f"layer{int(match[1]) + 1}.{match[2]}.downsample.{_PARTS[match[3]][1]}.{match[4]}"
    return key


def _sequential_blocks(key: str) -> str:
    """Blocks whose branch is a Sequential of convolution, norm and activation, in turn; so may the stem be."""
    if match := re.fullmatch(rf"(?:conv1|stem|pre)\.([01])\.{_LEAF}", key):
        return f"{'bn' if match[1] == '1' else 'conv'}1.{match[2]}"
    if match := re.fullmatch(rf"(?:conv(\d)_x|layer(\d))\.(\d{{1,3}})\.(\w+)\.(\d)\.{_LEAF}", key):
        stage = int(match[1]) - 1 if match[1] else int(match[2])
        number, rest = divmod(int(match[5]), 3)
        if match[4] in ("shortcut", "downsample"):
            return f"layer{stage}.{match[3]}.{match[4]}.{match[5]}.{match[6]}"
        if rest < 2:
            return f"layer{stage}.{match[3]}.{('conv', 'bn')[rest]}{number + 1}.{match[6]}"
    return key


def _children(key: str) -> str:
    """`Sequential(*resnet.children())` without the head: stem, norm, activation, pooling, four stages."""
    if match := re.fullmatch(rf"([01])\.{_LEAF}", key):
        return f"{'bn' if match[1] == '1' else 'conv'}1.{match[2]}"
    match = re.fullmatch(r"([4-7])\.(\d{1,3}\.(?:conv|bn|downsample).*)", key)
    return f"layer{int(match[1]) - 3}.{match[2]}" if match else key


SPELLINGS = (
    Spelling(None, r"layer1\.0\.conv1\.weight", _same),
    Spelling(None, r"stages\.0\.0\.conv1\.weight", _same),
    Spelling("Hugging Face", r"encoder\.stages\.0\.layers\.0\.layer\.0\.convolution\.weight", _hugging_face),
    Spelling("weiaicunzai", r"conv2_x\.0\.residual_function\.0\.weight", _sequential_blocks),
    Spelling(None, r"(?:conv2_x|layer1)\.0\.(?!shortcut|downsample)\w+\.0\.weight", _sequential_blocks),
    Spelling(None, r"4\.0\.conv1\.weight", _children),
    Spelling(None, r"block1\.layer\.0\.conv1\.weight", _same),
    Spelling(None, r"features\.0\.weight", _same),
)


def spelling_of(keys: Iterable[str]) -> tuple[Spelling | None, list[str]]:
    """The spelling of these names, and each prefix in front of a network in it, the longest first; with their dots."""
    keys = list(keys)
    for spelling in SPELLINGS:
        matches = (re.fullmatch(rf"((?:.*\.)?){spelling.anchor}", key) for key in keys)
        if prefixes := {match[1] for match in matches if match}:
            return spelling, sorted(prefixes, key=len, reverse=True)
    return None, []


@dataclass(frozen=True, eq=False)
class CleanStateDict:
    """A state dict without the prefixes of wrappers, in the spelling of torchvision; `originals` has each name as it
    stood in the file, `family` is told by the spelling, and `normalisation` by a layer of its own."""

    state: dict[str, Tensor]
    originals: dict[str, str]
    ignored: tuple[str, ...]
    evidence: tuple[str, ...]
    family: str | None = None
    normalisation: Normalisation | None = None


def normalise_keys(state: Mapping[str, Tensor], name: str) -> CleanStateDict:
    """The state dict without prefixes, without values that no layer uses, and without equal copies."""
    normalisation, scales = _normalisation_in(state, name)
    bare = {key: ".".join(part for part in key.split(".") if part not in WRAPPERS) for key in state}
    spelling, prefixes = spelling_of(bare[key] for key in state if key not in scales)
    originals: dict[str, str] = {}
    ignored, copies, stripped = [], [], set()
    for key, value in state.items():
        if key in scales:
            continue
        short = bare[key]
        prefix = next((prefix for prefix in prefixes if prefix and short.startswith(prefix)), "")
        parts = short.removeprefix(prefix).split(".")
        while not prefix and len(parts) > 1 and parts[0] in PREFIXES:
            parts = parts[1:]
        short = ".".join(parts)
        stripped |= set(key.split(".")[:-1]) & WRAPPERS | set(bare[key].removesuffix(short).split(".")) - {""}
        if spelling is not None:
            short = spelling.translate(short)
        if NO_LAYERS.fullmatch(short):
            ignored.append(key)
        elif short not in originals:
            originals[short] = key
        elif torch.equal(state[originals[short]], value):
            copies.append(key)
        else:
            raise WeightsError(
                f"{name} has both {quote(originals[short])} and {quote(key)}, two networks in one; save the one "
                "that is meant, alone."
            )
    evidence = []
    if stripped:
        evidence.append(f"prefixes taken away: {', '.join(f'`{prefix}.`' for prefix in sorted(stripped))}")
    if ignored:
        evidence.append(f"{len(ignored)} values ignored that no layer uses, first {quote(ignored[0])}")
    if copies:
        evidence.append(f"{len(copies)} values stand there twice and are equal, first {quote(copies[0])}: one is taken")
    if normalisation is not None:
        evidence.append(f"{' and '.join(map(quote, scales[:2]))} are the normalisation of the input")
    family = spelling.family if spelling else None
    if scales and any(".attacker." in f".{key}" for key in state):
        family = "robustness"
    elif any(key.startswith("backbone.") for key in bare.values()) and "head.fc.weight" in originals:
        family = "OpenMMLab"
    return CleanStateDict(
        {short: state[key] for short, key in originals.items()},
        originals,
        (*ignored, *copies),
        tuple(evidence),
        family,
        normalisation,
    )


def _normalisation_in(state: Mapping[str, Tensor], name: str) -> tuple[Normalisation | None, list[str]]:
    """The normalisation that layers of the file do with the input, and their names; all of them must agree."""
    found: list[tuple[Tensor, Tensor]] = []
    names: list[str] = []
    for key, value in state.items():
        module, _, leaf = key.rpartition(".")
        partner = next((f"{module}.{std}".lstrip(".") for mean, std in INPUT_SCALES if leaf == mean), "")
        pair = (value, state.get(partner, value[:0] if value.dim() else value))
        if not partner or any(part.numel() not in (1, 3) or not part.is_floating_point() for part in pair):
            continue
        mean, std = (part.double().flatten() for part in pair)
        if len(mean) != len(std) or not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
            raise WeightsError(f"{name} has a normalisation that is none, {quote(key)}; the file is damaged.")
        found.append((mean, std))
        names += [key, partner]
    if not found:
        return None, []
    mean, std = found[0]
    if any(not torch.equal(each, first) for pair in found for each, first in zip(pair, found[0], strict=True)):
        raise WeightsError(f"{name} has two normalisations of its input, {quote(names[0])} and {quote(names[2])}.")
    scale = 255 if max(mean.max(), std.max()) > 2 else 1  # of pixels from 0 to 255
    own = Normalisation(
        "own", "the file's own", *(tuple(round(value / scale, 7) for value in each.tolist()) for each in (mean, std))
    )
    return own, names
