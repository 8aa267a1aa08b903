"""The answer to the question of one unit: sentences, pictures, tables, and the rows of its CSV file."""

import numpy as np

from explorer.checkpoints import Checkpoint
from explorer.experiments.units import findings
from explorer.experiments.units.connections import Neighbours, end_name
from explorer.experiments.units.findings import CAUTION, ShownPicture, UnitFindings
from explorer.experiments.units.influence import FEWEST
from explorer.experiments.units.natural import Unit
from explorer.experiments.units.optimised import OptimisedPicture
from explorer.figures import Gallery, Part, Table, Thumbnail, fit_to_screen, framed

SIDE = 96  # pixels of a picture on the page


def measured_parts(title: str, found: UnitFindings) -> list[Part]:
    """What was measured of a unit of the network of that title. An optimised picture stands beside natural ones."""
    said = findings.sentences(title, found)
    parts: list[Part] = [*said]
    if not found.is_constant:
        made = found.optimised
        parts += [
            f"Strongest of {found.answers.n:,} images{'' if made is None else ', and the optimised picture'}:",
            Gallery([*map(_thumbnail, found.strongest), *([] if made is None else [_optimised(made.maximising)])]),
            f"Weakest{'' if made is None or made.minimising is None else ', and the picture that minimises'}:",
            Gallery(
                [
                    *map(_thumbnail, found.weakest),
                    *([] if made is None or made.minimising is None else [_optimised(made.minimising)]),
                ]
            ),
            *([] if made is None else [CAUTION]),
        ]
    return [*parts, _influence(found)]


def _thumbnail(shown: ShownPicture) -> Thumbnail:
    large = framed(shown.pixels, shown.box, SIDE, shown.cell) if shown.box else fit_to_screen(shown.pixels, SIDE)
    return Thumbnail(large, [f"{shown.value:.3g}", shown.label])


def _optimised(made: OptimisedPicture) -> Thumbnail:
    return Thumbnail(fit_to_screen(made.pixels, SIDE), [f"{made.value:.3g}", "optimised"])


def _influence(found: UnitFindings) -> Table:
    changed = found.influence
    right = "right answers" if changed.is_labelled else "answers that stay"
    change = changed.accuracy
    points = f"{100 * change.mean:+.1f} points ({100 * change.low:+.1f} to {100 * change.high:+.1f})"
    rows = [[right, f"{changed.before.share:.1%} → {changed.after.share:.1%}", points]]
    of = "right class" if changed.is_labelled else "answer"
    for name, pair, found_change in (
        (f"mean probability of the {of}", changed.probabilities, changed.probability),
        (f"mean loss of the {of}", changed.losses, changed.loss),
    ):
        between = f"{found_change.low:+.2g} to {found_change.high:+.2g}" if changed.n >= FEWEST else "too few images"
        rows.append([name, f"{pair[0]:.3f} → {pair[1]:.3f}", f"{found_change.mean:+.2g} ({between})"])
    return Table([f"of {changed.n:,} images", "with the unit → off", "change (95 % interval)"], rows)


def weight_parts(
    title: str, unit: Unit, checkpoint: Checkpoint, neighbours: tuple[Neighbours, Neighbours]
) -> list[Part]:
    """The strongest weights into a unit of the network of that title and out of it, a sentence first; `neighbours` are
    what it is fed by and what it feeds."""
    parts: list[Part] = [*filter(None, [_strongest_weights(title, unit, checkpoint, neighbours)])]
    carries = ("The shortcut carries {} on, {}.", "The shortcut carries it on to {}, {}.")
    for verb, carry, found in zip(("It is fed by", "It feeds"), carries, neighbours, strict=True):
        for each in found.connections:
            rows = [
                [
                    end_name(each, int(place), checkpoint.class_names),
                    f"{np.copysign(each.sizes[place], each.totals[place]):+.2g}",
                    f"{each.shares[place]:.0%}",
                ]
                for place in each.strongest
            ]
            parts.append(Table([f"{verb}: {each.through}", "size", "share"], rows))
        parts += [carry.format(each.unit, each.change) for each in found.carried]
        parts += [f"The weights of {name}, which is in between, are not read here." for name in found.unread]
    parts.append(
        "Size: the Euclidean norm of the kernel between two channels, times the factors of norms and gains on the way. "
        "Its sign is that of the kernel's sum. Share: of all squared sizes."
    )
    return parts


def _strongest_weights(
    title: str, unit: Unit, checkpoint: Checkpoint, neighbours: tuple[Neighbours, Neighbours]
) -> str:
    """Where the largest weights into the unit and out of it lead; "" without any."""
    phrases = ("is fed most by {} ({:.0%} of the squared sizes)", "feeds {} most ({:.0%} of those)")
    ends = []
    for words, found in zip(phrases, neighbours, strict=True):
        tops = [(each.shares[each.strongest[0]], each) for each in found.connections if len(each.strongest)]
        if tops:
            share, each = max(tops, key=lambda top: top[0])
            ends.append(words.format(end_name(each, int(each.strongest[0]), checkpoint.class_names), share))
    return f"{unit} of {title} {' and '.join(ends)}." if ends else ""


def csv_rows(
    checkpoint: Checkpoint, known: UnitFindings | Unit, neighbours: tuple[Neighbours, Neighbours]
) -> list[list[str]]:
    """All figures that are known, with all weights and not only the strongest."""
    rows = [["what", "name", "value", "low", "high", "row", "column", "total"]]
    if isinstance(known, UnitFindings):
        for what, pictures in (("strongest image", known.strongest), ("weakest image", known.weakest)):
            for shown in pictures:
                place = ["", ""] if shown.position is None else [*map(str, shown.position)]
                rows.append([what, f"{shown.index} {shown.label}", f"{shown.value:.6g}", "", "", *place, ""])
        if (made := known.optimised) is not None:
            for what, picture in (("optimised to maximise", made.maximising), ("to minimise", made.minimising)):
                if picture is not None:
                    place = [*map(str, picture.position)]
                    rows.append([what, f"seed {made.seed}", f"{picture.value:.6g}", "", "", *place, ""])
        changed = known.influence
        for name, each in (("before", changed.before), ("after", changed.after)):
            numbers = [f"{value:.6g}" for value in (each.share, each.low, each.high)]
            rows.append(["accuracy" if changed.is_labelled else "answers that stay", name, *numbers, "", "", ""])
        for name in ("accuracy", "probability", "loss"):
            change = getattr(changed, name)
            numbers = [f"{value:.6g}" for value in (change.mean, change.low, change.high)]
            rows.append(["change when switched off", name, *numbers, "", "", ""])
    for what, found in zip(("weight into it", "weight out of it"), neighbours, strict=True):
        for ends in found.connections:
            for index, (size, total) in enumerate(zip(ends.sizes, ends.totals, strict=True)):
                end = end_name(ends, index, checkpoint.class_names)
                rows.append([what, end, f"{size:.6g}", "", "", "", "", f"{total:.6g}"])
    return rows
