"""The names of networks beside each other, and what they are without their depth or width."""

import json
import math
from collections.abc import Callable, Sequence

from explorer.architectures import ArchitectureSpec
from explorer.architectures.words import variant_words
from explorer.experiments.gradient_geometry.widths import width
from explorer.labels import FAMILIES, initialisation_of, norm_of, shortcuts_of


def names_of(specs: Sequence[ArchitectureSpec]) -> list[str]:
    """A name for each: its own, with what it does not share with others of that name, and a number where no word tells
    them apart."""
    alike = {spec: [each for each in specs if each.name == spec.name] for spec in specs}
    marks = {spec: _marks(spec, alike[spec], [_shortcut_words, *_OTHER_WORDS]) for spec in specs}
    named = []
    for spec in specs:
        shown = list(marks[spec])
        unlike = [*dict.fromkeys(without_width(each) for each in alike[spec] if marks[each] == shown)]
        shown += [f"network {unlike.index(without_width(spec)) + 1}"] if len(unlike) > 1 else []
        shown += [_channels(spec)] if len({width(each) for each in alike[spec]}) > 1 else []
        named.append(f"{spec.name} ({', '.join(shown)})" if shown else spec.name)
    return named


def kind_names(specs: Sequence[ArchitectureSpec]) -> list[str]:
    """A name for each kind of network, whatever its depth: `plain`, `identity shortcuts, no norm`."""
    words = [*_OTHER_WORDS, _channels]
    return [", ".join([_family(spec), *_marks(spec, specs, words)]) for spec in specs]


def _marks(
    spec: ArchitectureSpec, others: Sequence[ArchitectureSpec], words: Sequence[Callable[[ArchitectureSpec], str]]
) -> list[str]:
    """What the words say of the network, and its variants, as far as the others are not the same."""
    marks = [of(spec) for of in words if len({of(each) for each in others}) > 1]
    marks += [word for word in variant_words(spec) if not all(word in variant_words(each) for each in others)]
    return [*dict.fromkeys(marks)]


def _family(spec: ArchitectureSpec) -> str:
    if len({*spec.shortcuts}) == 1:
        return FAMILIES[spec.shortcut]
    return "hybrid" if spec.is_hybrid else "ResNet"


def _channels(spec: ArchitectureSpec) -> str:
    return f"{width(spec)} channel{'s' * (width(spec) != 1)}"


def _shortcut_words(spec: ArchitectureSpec) -> str:
    """Those of `variant_words` where stages differ."""
    return shortcuts_of(spec.shortcut) if len({*spec.shortcuts}) == 1 else variant_words(spec)[0]


_OTHER_WORDS: list[Callable[[ArchitectureSpec], str]] = [
    lambda spec: norm_of(spec.norm),
    lambda spec: initialisation_of(spec.initialisation),
    lambda spec: spec.activation_name,
]


def without_depth(spec: ArchitectureSpec) -> str:
    """All of the spec but the numbers of blocks."""
    values = spec.to_dict()
    for stage in values["stages"]:
        del stage["blocks"]
    return json.dumps(values)


def without_width(spec: ArchitectureSpec) -> str:
    """All of the spec, of its channels only about how many times those of the first stage they are: where there are
    few, `widened` rounds."""
    values = spec.to_dict()
    for part in filter(None, (values["stem"], *values["stages"])):
        sizes = {name: part[name] for name in ("channels", "inner") if name in part}
        part |= {name: round(math.log2(size / width(spec))) for name, size in sizes.items()}
    return json.dumps(values)
