"""What the answers of `lesions` say of networks, in computed sentences."""

from collections.abc import Mapping, Sequence

import numpy as np

from explorer.architectures import ArchitectureSpec, Intervention
from explorer.architectures.interventions import parse_all
from explorer.experiments.lesions import Answers, blocks
from explorer.labels import listed


def finding(title: str, spec: ArchitectureSpec, found: Answers) -> str:
    """What the curve of `single` blocks says of a network."""
    whole, *without = found.accuracies
    if not without:
        return f"No block of {title} can be taken out: each changes the shape, and nothing goes around it."
    chance = 1 / spec.classes
    places = [Intervention.parse(variant).place for variant in found.variants]
    shares = [each.share for each in without]
    worst = shares.index(min(shares))
    text = f"{title} is right for {whole.share:.1%} of {found.n:,} images. "
    if len(places) == 1:
        text += f"Without {places[0]} it is right for {shares[0]:.1%}."
    else:
        text += (
            f"Without one of {len(places)} blocks it is right for {np.median(shares):.1%} in the median, and for "
            f"{shares[worst]:.1%} without {places[worst]}."
        )
    if at_chance := [place for place, each in zip(places, without, strict=True) if each.low <= chance]:
        above = f"not clearly above chance ({chance:.1%})"
        if len(at_chance) == 1:
            text += f" Without {at_chance[0]}, the accuracy is {above}."
        else:
            text += (
                f" Each of {len(at_chance)} of these {len(places)} blocks, taken out alone, leaves an accuracy that is "
                f"{above}."
            )
    by_kind = {
        kind: [share for place, share in zip(places, shares, strict=True) if (place in changing) == kind]
        for changing in [{block.name for block in blocks(spec) if block.changes_shape}]
        for kind in (True, False)
    }
    if all(by_kind.values()):
        text += (
            f" Blocks that change the shape cost {100 * (whole.share - np.mean(by_kind[True])):.1f} points on average, "
            f"the others {100 * (whole.share - np.mean(by_kind[False])):.1f}."
        )
    if fixed := [block.name for block in blocks(spec) if block.reason]:
        text += f" Nothing goes around {listed(fixed)}, which change the shape, so they cannot be taken out."
    return text


def comparison(titles: Sequence[str], found: Sequence[Answers]) -> str:
    """What the same `single` blocks cost each of these networks, one or more: in the median, and the first block of
    each stage by its name. Blocks that only some of them can lose are left out. "" without a block that all can lose.
    """
    shared = [text for text in found[0].variants if all(text in each.variants for each in found)]
    if not shared:
        return ""
    shares = [{text: each.accuracies[1 + each.variants.index(text)].share for text in shared} for each in found]
    said = []
    if len(found) > 1:
        costs = [
            100 * (each.accuracies[0].share - float(np.median(list(own.values()))))
            for each, own in zip(found, shares, strict=True)
        ]
        of_each = listed([f"{title} {cost:.1f} points" for title, cost in zip(titles, costs, strict=True)])
        which = f"One of the {len(shared)} blocks that all can lose costs, in the median,"
        if len(shared) == 1:
            which = "The one block that all can lose costs"
        said.append(f"{which} {of_each} (n = {found[0].n:,}).")
    for text in shared:
        place = Intervention.parse(text).place
        if place.rpartition(".")[2] == "0":
            others = [f"{title} for {own[text]:.1%}" for title, own in zip(titles[1:], shares[1:], strict=True)]
            of_all = listed([f"{titles[0]} is right for {shares[0][text]:.1%}", *others])
            said.append(f"Without {place}, the first block of its stage, {of_all}.")
    return " ".join(said)


def of_pairs(found: Answers) -> dict[tuple[str, str], int]:
    """The row of `accuracies` of each two blocks of `pairs`."""
    return {
        (first.place, second.place): row for row, (first, second) in enumerate(map(parse_all, found.variants), start=1)
    }


def pairs_finding(title: str, found: Answers) -> str:
    """What `pairs` say of a network."""
    whole, *without = found.accuracies
    if not without:
        return f"{title} has no two blocks that could be left out together."
    shares = [each.share for each in without]
    worst = shares.index(min(shares))
    first, second = [*of_pairs(found)][worst]
    return (
        f"{title} is right for {whole.share:.1%} of {found.n:,} images. Without two blocks it is right for "
        f"{np.median(shares):.1%} in the median, and for {shares[worst]:.1%} without {first} and {second}."
    )


def by_size(found: Answers) -> dict[int, list[float]]:
    """The accuracies of `random_sets` by how many blocks are taken out; 0 is the whole network."""
    sizes: dict[int, list[float]] = {0: [found.accuracies[0].share]}
    for text, accuracy in zip(found.variants, found.accuracies[1:], strict=True):
        sizes.setdefault(len(parse_all(text)), []).append(accuracy.share)
    return sizes


def sets_finding(title: str, sizes: Mapping[int, Sequence[float]]) -> str:
    """What random sets say of a network; `sizes` as of `by_size`."""
    whole, last = sizes[0][0], max(sizes)
    if not last:
        return f"{title} has no blocks that each of these networks can do without."
    middles = {size: float(np.median(shares)) for size, shares in sizes.items()}
    half = next((size for size in sorted(middles) if middles[size] < whole / 2), None)
    end = (
        f"Without {half} it has lost more than half of its accuracy."
        if half
        else f"Without {last} it still has half of its accuracy or more."
    )
    return (
        f"{title} is right for {whole:.1%} with all blocks, and for {middles[last]:.1%} without {last} of them, in the "
        f"median of random sets. {end}"
    )


def swaps_finding(title: str, found: Answers) -> str:
    """What `swaps` say of a network."""
    whole, *swapped = found.accuracies
    if not swapped:
        return f"{title} has no two neighbouring blocks of one shape."
    shares = [each.share for each in swapped]
    place = Intervention.parse(found.variants[shares.index(min(shares))])
    return (
        f"{title} is right for {whole.share:.1%} of {found.n:,} images. With two neighbouring blocks swapped it is "
        f"right for {np.median(shares):.1%} in the median, for {min(shares):.1%} with {place.place} and {place.other}."
    )
