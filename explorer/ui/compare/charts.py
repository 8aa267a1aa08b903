"""What was measured on many pictures, as charts and sentences: the same ones for the page and for a report."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from explorer import figures
from explorer.attribution import top_classes
from explorer.experiments.agreement import Accuracy, Agreement, Predictions, agreement, confusion
from explorer.experiments.cam_metrics import ObjectShares
from explorer.experiments.similarity import Similarity
from explorer.figures import Series, Table
from explorer.ui.compare.compared import Compared, relative_depths, seen_part
from explorer.ui.compare.state import CompareState
from explorer.ui.services.inference import NetworkResult

LIMITS_OF_P = (
    "p says nothing about how large the difference is, nor whether networks trained again with another seed would "
    "differ: it is about these weights, and about which pictures happened to be drawn."
)
MIXED_UP = (
    "Rows are labels, columns what the network says, numbers are pictures. Coloured are the mistakes alone, as shares "
    "of the label's pictures, on one scale for all networks."
)
FREQUENT = 20  # mistakes in the table that takes the place of a matrix
MOST_OFTEN = (
    f"The {FREQUENT} most frequent mistakes of all these networks together; there are too many classes for a matrix."
)
INSIDE = (
    "Linear CKA compares two layers by which pictures they hold for alike: 1 says that both see the same likeness "
    "among the pictures, 0 that they have nothing in common."
)
BIAS = (
    "With few pictures and thousands of values in a layer plain CKA lies far above 0 even for layers that have nothing "
    "in common; the debiased estimate does not."
)

GRAD_CAMS = (
    "Grad-CAM: where a layer's channels speak for the explained class. Layers stand where they lie between input (0) "
    "and output (1), counted in weighted layers, so that networks of different depth can be compared; each column "
    "shows the layer of each network that is nearest to it."
)
SIZES = (
    "the root mean square of what each block puts out, and of the gradient of the explained score with respect to it"
)


def caveats(compared: Sequence[Compared], written: Callable[[str], str] = str) -> list[str]:
    """Why the maps of these networks may differ, or may not be compared place by place, beside what the networks see;
    `written` makes a name fit to stand in the sentences."""
    sentences = different_classes([network.looked for network in compared])
    parts = {network.title: seen_part(network) for network in compared}
    if len({*parts.values()}) > 1:
        shares = ", ".join(f"{written(title)} {part:.0%}" for title, part in parts.items())
        sentences.append(
            f"The networks cut the picture differently (of its shorter side they see: {shares}), so one place of two "
            "maps is not exactly one place of the picture, and comparisons of the maps are rough."
        )
    return sentences


def different_classes(looked: Sequence[NetworkResult]) -> list[str]:
    same = len({network.target for network in looked}) == 1
    return [] if same else ["The networks explain different classes, so their maps may differ for that reason alone."]


def scales(
    state: CompareState, compared: Sequence[Compared], tops: Sequence[Sequence[float]], written: Callable[[str], str]
) -> str:
    """Where the colours of the Grad-CAMs end, for the scope of the view."""
    if state.scope == "layer":
        return (
            "Grad-CAM: 0 to the largest value found in that column, over all networks. So a weak column glows like a "
            "strong one: the numbers under the maps say how strong it is"
        )
    if state.scope == "both":
        return f"Grad-CAM: 0 to {tops[0][0]:.3g}, everywhere"
    named = zip(compared, tops, strict=True)
    return "Grad-CAM: " + ", ".join(f"0 to {top[0]:.3g} ({written(network.title)})" for network, top in named)


def accuracies(looked: Sequence[NetworkResult], names: Mapping[str, str], found: Mapping[str, Accuracy]) -> Any:
    """The chart of all accuracies, a Plotly figure as all of these."""
    return figures.accuracy_chart(
        [(Series(names[network.name], network.colour), found[network.name]) for network in looked]
    )


def accuracy_table(names: Mapping[str, str], found: Mapping[str, Accuracy]) -> Table:
    """Of each network how many are right, which share, and its interval."""
    rows = [
        [names[name], f"{each.right:,} of {each.n:,}", f"{each.share:.2%}", f"{each.low:.2%} to {each.high:.2%}"]
        for name, each in found.items()
    ]
    return Table(["network", "right", "accuracy", "95 % interval (Wilson)"], rows)


def confusions(looked: Sequence[NetworkResult], names: Mapping[str, str], said: Mapping[str, Predictions]) -> Any:
    return figures.confusion_chart(
        [confusion(said[network.name]) for network in looked],
        [names[network.name] for network in looked],
        said[looked[0].name].class_names,
    )


def frequent_mistakes(
    looked: Sequence[NetworkResult], names: Mapping[str, str], said: Mapping[str, Predictions]
) -> Table:
    """In place of a matrix of many classes: what is mixed up most often over all networks (a label, what is said
    instead), and how often by each."""
    class_names = said[looked[0].name].class_names
    classes = len(class_names)
    counts: list[dict[int, int]] = []
    for network in looked:
        of = said[network.name]
        places, times = np.unique((of.labels * classes + of.predicted)[~of.right], return_counts=True)
        counts.append(dict(zip(places.tolist(), times.tolist(), strict=True)))
    totals = {place: sum(each.get(place, 0) for each in counts) for each in counts for place in each}
    rows = [
        [class_names[place // classes], class_names[place % classes], *(f"{each.get(place, 0):,}" for each in counts)]
        for place in sorted(totals, key=lambda place: (-totals[place], place))[:FREQUENT]
    ]
    return Table(["label", "said instead", *(names[network.name] for network in looked)], rows)


def pairs(looked: Sequence[NetworkResult], names: Mapping[str, str], said: Mapping[str, Predictions]) -> Any:
    lines = [(Series(names[network.name], network.colour), said[network.name]) for network in looked]
    return figures.agreement_chart([(a, b, agreement(of_a, of_b)) for (a, of_a), (b, of_b) in combinations(lines, 2)])


def pair_table(
    looked: Sequence[NetworkResult], names: Mapping[str, str], said: Mapping[str, Predictions]
) -> tuple[Table, list[str]]:
    """Of each two networks how many pictures both, one or none of them has right; and what McNemar's test says."""
    rows, sentences = [], []
    for a, b in combinations([network.name for network in looked], 2):
        counts = agreement(said[a], said[b])
        cells = (counts.both, counts.only_a, counts.only_b, counts.neither, counts.same)
        rows.append([f"{names[a]}, {names[b]}", *(f"{count:,}" for count in cells)])
        sentences.append(verdict(names[a], names[b], counts))
    heads = ["pair", "both right", "only the first", "only the second", "neither", "same class said"]
    return Table(heads, rows), sentences


def verdict(a: str, b: str, counts: Agreement) -> str:
    """What McNemar's test says of two networks; `a` and `b` are their names as they shall stand there."""
    uneven = counts.only_a + counts.only_b
    if not uneven:
        return f"{a} and {b} are right on the same {counts.both:,} of {counts.n:,} pictures: nothing tells them apart."
    shown = f"p = {counts.p_value:.2g}" if counts.p_value >= 1e-4 else "p < 0.0001"
    meaning = (
        "so which pictures happened to be drawn hardly explains the difference"
        if counts.p_value < 0.05
        else "so the difference may well be due to which pictures happened to be drawn"
    )
    which = "the one picture" if uneven == 1 else f"the {uneven:,} pictures"
    return (
        f"Of {which} that only one of them has right, {a} has {counts.only_a:,} and {b} {counts.only_b:,}; if both "
        f"were equally good, a split at least this uneven would have probability {shown} (McNemar's test, exact), "
        f"{meaning}."
    )


def what_they_say(
    index: int, networks: Sequence[NetworkResult], names: Mapping[str, str], said: Mapping[str, Predictions]
) -> list[str]:
    """The label of a picture, and a line for what each network says of it."""
    first = said[networks[0].name]
    lines = [first.class_names[first.labels[index]]]
    for network in networks:
        of = said[network.name]
        predicted = int(of.predicted[index])
        mark = "✓" if predicted == of.labels[index] else "✗"
        probability = float(of.probabilities[index, predicted])
        lines.append(f"{mark} {names[network.name]}: {of.class_names[predicted]}, {probability:.0%}")
    return lines


def similarities(alike: Similarity, titles: tuple[str, str], debiased: bool) -> Any:
    return figures.similarity_chart(
        alike.debiased if debiased else alike.cka,
        (alike.layers_a, alike.layers_b),
        titles,
        (alike.undefined_a, alike.undefined_b),
    )


def most_alike(alike: Similarity, titles: tuple[str, str], debiased: bool) -> str:
    """One sentence about the numbers; of a network beside itself, about different layers."""
    values = np.ma.copy(alike.debiased if debiased else alike.cka)
    same = titles[0] == titles[1]
    if same:
        values[np.eye(len(values), dtype=bool)] = np.ma.masked
    if not values.count():
        return "No two layers could be compared."
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    best = float(np.ma.mean(values.max(axis=1)))
    where = f"{alike.layers_a[row]} of {titles[0]} and {alike.layers_b[column]} of {titles[1]}"
    if same:
        where = f"{alike.layers_a[row]} and {alike.layers_b[column]}"
    ends = ""
    if not same and not np.ma.getmaskarray(values)[-1, -1]:
        ends = f" The last layers, {alike.layers_a[-1]} and {alike.layers_b[-1]}, have {float(values[-1, -1]):.2f}."
    return (
        f"Most alike are {where}, with {float(values[row, column]):.2f}; a layer of {titles[0]} and the "
        f"{'other layer' if same else f'layer of {titles[1]}'} that is most like it have {best:.2f} on average.{ends}"
    )


def undefined(alike: Similarity, titles: tuple[str, str]) -> list[str]:
    """One line for each reason why layers have no similarity."""
    lines = []
    for title, reasons in dict(zip(titles, (alike.undefined_a, alike.undefined_b), strict=True)).items():
        for reason in dict.fromkeys(reasons.values()):
            layers = [layer for layer, why in reasons.items() if why == reason]
            lines.append(f"{title}, {', '.join(layers)}: {reason}")
    return lines


def object_shares(
    looked: Sequence[NetworkResult], names: Mapping[str, str], dashes: Mapping[str, str], shares: Any
) -> Any:
    """`shares` are the ObjectShares by network. Shortcuts are left out: they run beside the layers."""
    lines = []
    for network in looked:
        series = Series(names[network.name], network.colour, dashes[network.name])
        found: ObjectShares = shares[network.name]
        lines.append((series, found, relative_depths(network.checkpoint.spec, found.layers)))
    return figures.object_share_chart(lines)


def probabilities(compared: Sequence[Compared]) -> Any:
    """What networks that know the same classes say of one picture: the classes that any finds probable."""
    names = compared[0].looked.checkpoint.class_names
    seen = [network.looked.trace.probabilities for network in compared]
    likely = {index for network in compared for index, _ in top_classes(network.looked.trace, 3)}
    likely |= {network.looked.trace.target for network in compared}
    order = sorted(likely, key=lambda index: -max(float(values[index]) for values in seen))
    says = [
        figures.Says(network.series, [float(values[index]) for index in order], network.looked.target)
        for network, values in zip(compared, seen, strict=True)
    ]
    return figures.probabilities_chart([names[index] for index in order], says)


def best_classes(network: Compared) -> Any:
    """What one network alone says of one picture: its most probable classes and the one that is explained."""
    looked = network.looked
    best = top_classes(looked.trace, 3)
    if looked.trace.target not in [index for index, _ in best]:
        best.append((looked.trace.target, float(looked.trace.probabilities[looked.trace.target])))
    classes, shares = [looked.checkpoint.class_names[index] for index, _ in best], [share for _, share in best]
    return figures.classes_chart(classes, shares, looked.colour, looked.target)


def share_sentences(
    looked: Sequence[NetworkResult], names: Mapping[str, str], shares: Mapping[str, ObjectShares]
) -> list[str]:
    """For each network its highest share, and how many maps were zero and so counted nowhere."""
    sentences = []
    for network in looked:
        found = shares[network.name]
        depths = relative_depths(network.checkpoint.spec, found.layers)
        drawn = np.array([layer in depths for layer in found.layers])
        zero, maps = int(found.zero[drawn].sum()), found.pictures * int(drawn.sum())
        mean = np.ma.masked_where(~drawn, found.mean)
        best = "no map that is not zero"
        if mean.count():
            at = int(mean.argmax())
            best = f"at most {float(mean[at]):.0%} on the object, in {found.layers[at]}"
        sentences.append(
            f"{names[network.name]}: {best}; {zero:,} of {maps:,} maps ({found.pictures:,} pictures, "
            f"{int(drawn.sum())} layers) were zero everywhere and are left out."
        )
    return sentences
