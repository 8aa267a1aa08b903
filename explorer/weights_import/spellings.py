"""The names of one network as several programs spell them, brought to torchvision's."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
