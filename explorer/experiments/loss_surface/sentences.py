"""What a surface says, in sentences and rows."""

import math
from collections.abc import Sequence

import numpy as np

from explorer.experiments.loss_surface.curvature import ITERATIONS, ratio
from explorer.experiments.loss_surface.surface import Surface
from explorer.intervals import Mean, mean
from explorer.labels import STATISTICS, listed

KESKAR_REACH = 0.25
"""How far from the centre `keskar` looks, in steps along the directions."""

DEFINITIONS = (
    "Loss is the mean cross-entropy, error the share of wrong answers. A step of 1 along a filter-normalised direction "
    "adds to each filter a random one of its own norm (Li et al. 2018, section 4).",
    "Biases and BatchNorm's weights stay where they are, as in the published code.",
    "Frozen statistics are those that the training left. Recomputed ones are the mean and the variance of each norm's "
    "inputs, at every point anew. They are over the measured images of the first split: training, where there are "
    "both.",
    "Principal axes of a training's path are those along which its kept weights vary most: PCA around their mean. "
    "The path is drawn from the network itself.",
    "Sharpness is the mean increase of the loss at a radius r along random filter-normalised directions, at +r and −r. "
    "Each filter moves by r times its own norm. The interval is Student's t over the directions.",
    "Networks are compared in pairs: their directions are drawn from the same numbers. The interval is Student's t "
    "over the differences, one a direction.",
    "The largest relative increase is (max L − L₀) / (1 + L₀), as Keskar et al. (2017, equation 4) define it. The "
    f"maximum is over the points of this surface up to {KESKAR_REACH:g} steps from the centre along each axis. So it "
    "is a lower bound.",
    "The eigenvalue ratio is |λmin / λmax| of the Hessian of the loss in all kernels (Li et al. 2018, section 6). It "
    f"is found by Lanczos with at most {ITERATIONS} Hessian-vector products a place. Error bounds are given.",
)
LIMITS = (
    "A picture of one or two directions is a slice of hundreds of thousands. A slice that is not convex proves that "
    "the loss is not; a convex slice proves nothing.",
    "Another seed gives another slice. The directions of twins are drawn from the same numbers.",
    "With frozen statistics the norms of a moved network use means and variances of activations that it no longer has. "
    "Part of a wall is then due to the norms and not to the weights.",
    "With recomputed statistics the norms undo a change of a kernel's size. What is left is the change of direction.",
    "A smooth surface is no reason why a network trains well: He et al. (2015) and Li et al. (2018) say different "
    "things about it.",
)


def sharpness(found: Surface) -> Mean | None:
    """The mean increase of the loss at the radius over its directions, with its interval; None where none was measured,
    or one was not finite."""
    values = found.increases[found.increases_known]
    return mean(values.tolist()) if len(values) and np.isfinite(values).all() else None


def keskar(found: Surface) -> float | None:
    """(max L − L₀) / (1 + L₀) over the measured points within `KESKAR_REACH` along each axis; None where a loss there
    is not finite or none but the centre was measured."""
    near = found.measured & (np.abs(found.xs) <= KESKAR_REACH) & (np.abs(found.ys) <= KESKAR_REACH)[:, None]
    losses, centre = found.losses[0][near], float(found.centre[0, 0])
    if near.sum() < 2 or not np.isfinite(losses).all() or not math.isfinite(centre):
        return None
    return float((losses.max() - centre) / (1 + centre))


def below_guessing(found: Surface, classes: int) -> float:
    """The share of the measured points whose loss is below ln(classes), that of a uniform guess."""
    losses = found.losses[0][found.measured]
    return float((losses < math.log(classes)).mean()) if len(losses) else math.nan


def finding(title: str, found: Surface, classes: int) -> str:
    """What came of one surface, in plain sentences; images of the first split."""
    asked, n, split = found.asked, found.counts[0], _images(found)
    total, measured = found.measured.size, int(found.measured.sum())
    centre, error = found.centre[0]
    text = (
        f"{title}, {STATISTICS[asked.statistics]} statistics: the loss at the centre is {centre:.3g} and the error "
        f"{error:.1%} on {n:,} {split}. "
        f"{_at_ends(found)}It is below that of guessing, {math.log(classes):.2f}, at "
        f"{below_guessing(found, classes):.0%} "
        f"of {measured:,} points."
    )
    if measured < total:
        text += f" {total - measured:,} of {total:,} points were not measured."
    if found.missing:
        text += f" At {found.missing:,} of them the loss is not a finite number, and they are left out."
    if around := sharpness(found):
        interval = f" (95 % interval {around.low:.3g} to {around.high:.3g})" if around.has_interval else ""
        text += (
            f" At radius {asked.radius:g} it changes by {around.value:+.3g}{interval} on average over {around.n} "
            f"random direction{'s' * (around.n != 1)}."
        )
    if curved := _nearest_to_centre(found):
        x, y, smallest, largest, below, above, products = curved
        where = "the centre" if x == y == 0 else f"({x:.2g}, {y:.2g})"
        text += (
            f" At {where} |λmin / λmax| is {ratio(smallest, largest):.2g}: {_bounded(smallest, below)} over "
            f"{_bounded(largest, above)}, after {products:.0f} products."
        )
    if len(found.path):
        axes = "axes hold" if asked.dimensions == 2 else "axis holds"
        text += f" The {axes} {found.held:.1%} of the path's squared distances to the centre."
    return text


def _nearest_to_centre(found: Surface) -> tuple[float, ...]:
    """The row of its curvature; empty where none was measured."""
    if not len(found.curvature):
        return ()
    row: list[float] = found.curvature[int((found.curvature[:, :2] ** 2).sum(axis=1).argmin())].tolist()
    return tuple(row)


def _bounded(value: float, bound: float) -> str:
    """An eigenvalue with its error bound; one below a thousandth is rounded up to that."""
    return f"{value:.3g} ± {max(bound, 1e-3 * abs(value)):.1g}"


def _images(found: Surface) -> str:
    return {"train": "training images", "test": "test images"}[found.splits[0]]


def _at_ends(found: Surface) -> str:
    row = found.losses[0][int(np.abs(found.ys).argmin())]  # the middle one may lie elsewhere, along a path's axes
    ends = [row[0], row[-1]]
    if not np.isfinite(ends).all():
        return ""
    return f"At the ends of the first axis the loss is {ends[0]:.3g} and {ends[1]:.3g}. "


def difference(one: Surface, other: Surface) -> Mean | None:
    """The mean of how much more the loss of one rises at the radius than that of the other, over the directions that
    were measured of both; None for fewer than two, or values that are not finite.

    Directions of one number are a pair: they are drawn from the same numbers. Where some parameters differ in shape,
    their parts are independent, and the paired interval still holds.
    """
    n = min(len(one.increases), len(other.increases))
    both = one.increases_known[:n] & other.increases_known[:n]
    values = one.increases[:n][both] - other.increases[:n][both]
    return mean(values.tolist()) if len(values) > 1 and np.isfinite(values).all() else None


def comparison(titles: Sequence[str], found: Sequence[Surface]) -> str:
    """Which of surfaces with one kind of statistics is sharper at the radius, pair by pair; "" for one, or where fewer
    than two directions were measured of both."""
    means = [sharpness(each) for each in found]
    pairs = [(a, b) for a in range(len(found)) for b in range(a + 1, len(found))]
    verdicts = [
        _verdict(titles[a], titles[b], difference(found[a], found[b])) for a, b in pairs if means[a] and means[b]
    ]
    if not any(verdicts):
        return ""
    kinds = STATISTICS[found[0].asked.statistics]
    parts = [f"{title} {each.value:.3g}" for title, each in zip(titles, means, strict=True) if each]
    if len(verdicts) > 1:
        verdicts.append("Each interval is of its pair alone.")
    return (
        f"Increase of the loss at radius {found[0].asked.radius:g}, {kinds} statistics: {listed(parts)}. "
        f"{' '.join(filter(None, verdicts))}"
    )


def _verdict(one: str, other: str, less: Mean | None) -> str:
    if less is None:
        return ""
    interval = f" (95 % interval {less.low:.3g} to {less.high:.3g})" if less.has_interval else ""
    text = f"{one} minus {other}, over the same {less.n} directions: {less.value:.3g}{interval}"
    if not less.has_interval or not less.sign:
        return f"{text}, so no difference is shown."
    return f"{text}, so the loss of {one if less.sign > 0 else other} rises more."


COLUMNS = (
    "network", "statistics", "loss", "error", "increase at the radius", "largest relative increase",
    "below guessing", "not finite", "λmin", "λmax", "|λmin / λmax|",
)  # fmt: skip


def cells(title: str, found: Surface, classes: int) -> list[str]:
    """One row of `COLUMNS`, of the first split."""
    around, relative = sharpness(found), keskar(found)
    row = [title, STATISTICS[found.asked.statistics], f"{found.centre[0, 0]:.4g}", f"{found.centre[0, 1]:.1%}"]
    if around is None:
        row.append("")
    else:
        row.append(f"{around.value:.3g}" + (f" ({around.low:.3g} to {around.high:.3g})" if around.has_interval else ""))
    row += ["" if relative is None else f"{relative:.3g}", f"{below_guessing(found, classes):.0%}", str(found.missing)]
    if curved := _nearest_to_centre(found):
        _, _, smallest, largest, below, above, _ = curved
        row += [_bounded(smallest, below), _bounded(largest, above), f"{ratio(smallest, largest):.2g}"]
    return row + [""] * (len(COLUMNS) - len(row))


def rows(title: str, found: Surface) -> list[list[str | float]]:
    """Every measured point: network, statistics, x, y, then loss and error of each split; an empty cell is a value that
    is not finite."""
    lines: list[list[str | float]] = []
    for y, x in zip(*np.nonzero(found.measured), strict=True):
        pairs = zip(found.losses[:, y, x], found.errors[:, y, x], strict=True)
        values = [value for pair in pairs for value in pair]
        lines.append([
            title, found.asked.statistics, _rounded(found.xs[x]), _rounded(found.ys[y]),
            *(_rounded(value) if math.isfinite(value) else "" for value in values),
        ])  # fmt: skip
    return lines


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def header(found: Surface) -> list[str]:
    """The first row of a table of `rows`."""
    values = [f"{kind} {split}" for split in found.splits for kind in ("loss", "error")]
    return ["network", "statistics", "x", "y", *values]
