"""The answers to the questions on the geometry of gradients: sentences, charts, tables, and the rows of a CSV file."""

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from explorer import figures
from explorer.experiments.gradient_geometry import (
    LAGS,
    PICTURES,
    GeometryQuestion,
    brown_noise,
    reference,
    verdicts,
    white_noise,
)
from explorer.experiments.gradient_geometry.names import kind_names
from explorer.experiments.gradient_geometry.verdicts import MeasuredGeometry, agreement
from explorer.experiments.gradient_geometry.widths import FACTORS, width
from explorer.experiments.gradient_summary import number
from explorer.figures import DASHES, Chart, Part, Series, Table
from explorer.ui import client

WHITE, BROWN = "white noise", "brown noise"

_OF_NETWORK = ("network", "depth", "shortcut", "norm", "initialisation", "channels", "seed")
_HEADS: dict[GeometryQuestion, tuple[str, ...]] = {
    "shattering": ("lag", "autocorrelation"),
    "widths": ("lag", "autocorrelation"),
    "blocks": ("block", "count", "branch", "shortcut", "ratio"),
    "paths": ("branches", "paths", "gradient through one", "share"),
}


def answer(question: GeometryQuestion, found: Sequence[MeasuredGeometry]) -> list[Part]:
    """Of at least one network with at least one seed; the same seeds are not needed."""
    return {"shattering": _shattering, "widths": _widths, "blocks": _blocks, "paths": _paths}[question](found)


def rows(question: GeometryQuestion, found: Sequence[MeasuredGeometry]) -> list[list[str]]:
    """One line for each number of each network and seed; beside correlations those of the noises, without a network."""
    lines = [[*_OF_NETWORK, *_HEADS[question]]]
    for each in found:
        spec = each.spec
        of_network = [each.name, str(spec.depth), spec.shortcut, spec.norm, spec.initialisation, str(width(spec))]
        for seed, result in zip(each.seeds, each.results, strict=True):
            lines += [[*of_network, str(seed), *cells] for cells in _cells(question, result)]
    if question in ("shattering", "widths"):
        for name, values in _references(_seeds(found)).items():
            for seed, row in zip(_seeds(found), values, strict=True):
                lines += [[name, "", "", "", "", "", str(seed), str(lag), _text(of)] for lag, of in enumerate(row)]
    return lines


def _cells(question: GeometryQuestion, result: Any) -> list[list[str]]:
    if question == "blocks":
        columns = (result.counts, result.branch, result.shortcut, result.ratios)
        return [[name, *map(_text, values)] for name, *values in zip(result.names, *columns, strict=True)]
    if question == "paths":
        pairs = zip(result.sizes, result.shares, strict=True)
        counts = [math.comb(result.blocks, length) for length in range(result.blocks + 1)]
        return [[str(at), str(counts[at]), _text(size), _text(share)] for at, (size, share) in enumerate(pairs)]
    return [[str(lag), _text(of)] for lag, of in enumerate(result.correlation)]


def _text(value: float) -> str:
    return f"{value:.6g}"


def _seeds(found: Sequence[MeasuredGeometry]) -> list[int]:
    return sorted({seed for each in found for seed in each.seeds})


def _references(seeds: Sequence[int]) -> dict[str, np.ndarray]:
    return {name: reference(noise, seeds) for name, noise in ((WHITE, white_noise), (BROWN, brown_noise))}


def series(found: Sequence[MeasuredGeometry]) -> list[Series]:
    """The line of each network: colours tell plain from residual, dashes networks of one colour."""
    lines: list[Series] = []
    for each in found:
        colour = figures.network_colour(each.spec.shortcut, client.theme())
        dash = DASHES[sum(line.colour == colour for line in lines) % len(DASHES)]
        lines.append(Series(each.name, colour, dash))
    return lines


# --- neighbouring pictures --------------------------------------------------------------------------------------------


def _shattering(found: Sequence[MeasuredGeometry]) -> list[Part]:
    seeds = _seeds(found)
    references = _references((0,))
    curves = [
        (line, np.stack([result.correlation for result in each.results]))
        for line, each in zip(series(found), found, strict=True)
    ]
    text = (
        f"The line is the mean, the band reaches from smallest to largest of {verdicts.seed_words(len(seeds))}. Each "
        f"has {PICTURES} pictures on a line. Grey: noise in the place of the gradients."
    )
    figure = figures.correlation_chart(curves, references, PICTURES)
    parts: list[Part] = [
        *verdicts.sentences("shattering", found),
        verdicts.circumstances(len(seeds)),
        Chart(figure, "Autocorrelation of the input gradient", text),
    ]
    kinds = verdicts.kinds(found)
    if any(len(kind) > 1 for kind in kinds):
        lines = [
            (line, {each.spec.depth: agreement(each) for each in kind})
            for line, kind in zip(_kind_series(kinds), kinds, strict=True)
        ]
        words = "The lines up and down are the 95 % intervals of the mean over the seeds."
        grey = {name: float(values[:, 1].mean()) for name, values in references.items()}
        chart = figures.neighbours_chart(lines, "depth in weighted layers", grey)
        parts.append(Chart(chart, "Correlation of neighbouring pictures over depth", words))
    return [*parts, _neighbours_table(found)]


def _kind_series(kinds: Sequence[Sequence[MeasuredGeometry]]) -> list[Series]:
    """The line of each kind, named without a depth or a width."""
    firsts = [kind[0] for kind in kinds]
    names = kind_names([each.spec for each in firsts])
    return [Series(name, line.colour, line.dash) for name, line in zip(names, series(firsts), strict=True)]


def _neighbours_table(found: Sequence[MeasuredGeometry]) -> Table:
    heads = ["network", "seeds", "neighbours", "95 % interval", "first lag below 1/2", "gradient (L2)", "exactly 0"]
    cells = []
    for each in found:
        correlation = agreement(each)
        curve = np.mean([result.correlation for result in each.results], axis=0)
        below = np.flatnonzero(curve < 0.5)
        cells.append(
            [
                each.name,
                str(len(each.seeds)),
                "" if correlation is None else f"{correlation.value:.3f}",
                f"{correlation.low:.3f} to {correlation.high:.3f}" if correlation and correlation.n > 1 else "",
                str(below[0]) if len(below) else "" if np.isnan(curve).any() else f"above {LAGS}",
                number(float(np.mean([result.size for result in each.results]))),
                f"{sum(result.zeros for result in each.results):,} of {PICTURES * len(each.seeds):,}",
            ]
        )
    return Table(heads, cells)


def _widths(found: Sequence[MeasuredGeometry]) -> list[Part]:
    kinds = verdicts.width_kinds(found)
    lines = [
        (Series(verdicts.base_name(kind[0]), line.colour, line.dash), points)
        for line, kind in zip(series([kind[0] for kind in kinds]), kinds, strict=True)
        for points in [{width(each.spec): agreement(each) for each in kind}]
    ]
    grey = {name: float(values[:, 1].mean()) for name, values in _references((0,)).items()}
    chart = figures.neighbours_chart(lines, "channels of the first stage", grey)
    words = (
        f"Each network with {', '.join(f'{factor:g}' for factor in FACTORS)} × its channels. The lines up and down are "
        "the 95 % intervals of the mean over the seeds."
    )
    return [
        *verdicts.sentences("widths", found),
        verdicts.circumstances(len(_seeds(found))),
        Chart(chart, "Correlation of neighbouring pictures over width", words),
        _neighbours_table(found),
    ]


# --- residual blocks --------------------------------------------------------------------------------------------------


def _blocks(found: Sequence[MeasuredGeometry]) -> list[Part]:
    seeds = _seeds(found)
    lines = [
        (line, each.results[0].names, np.stack([result.ratios for result in each.results]))
        for line, each in zip(series(found), found, strict=True)
    ]
    roots: dict[bytes, tuple[str, np.ndarray]] = {}
    for each in found:
        if verdicts.has_root(each.spec):
            counts = each.results[0].counts
            roots.setdefault(counts.tobytes(), (f"1/√ℓ of {each.name}", 1 / np.sqrt(counts)))
    roots = dict([*roots.items()][:2])
    named = [("1/√ℓ" if len(roots) == 1 else name, root) for name, root in roots.values()]
    text = (
        "Root mean squares over the batch. The line is the mean, the band reaches from the smallest to the largest of "
        f"{verdicts.seed_words(len(seeds))}. ℓ counts the blocks; zeros of new channels make it smaller. A "
        "projection begins again with 1, and so does the block behind a plain one."
    )
    return [
        *verdicts.sentences("blocks", found),
        verdicts.circumstances(len(seeds)),
        Chart(figures.branch_chart(lines, named), "Branch beside shortcut, block by block", text),
        _blocks_table(found),
    ]


def _blocks_table(found: Sequence[MeasuredGeometry]) -> Table:
    heads = ["network", "seeds", "first ratio", "last ratio", "smallest", "largest", "power of ℓ", "95 % interval"]
    cells = []
    for each in found:
        ratios = np.mean([result.ratios for result in each.results], axis=0)
        power = each.mean(lambda of: of.power)
        cells.append(
            [
                each.name,
                str(len(each.seeds)),
                *(f"{value:.3g}" for value in (ratios[0], ratios[-1], ratios.min(), ratios.max())),
                "" if power is None else f"{power.value:.3f}",
                f"{power.low:.3f} to {power.high:.3f}" if power and power.n > 1 else "",
            ]
        )
    return Table(heads, cells)


# --- paths ------------------------------------------------------------------------------------------------------------


def _paths(found: Sequence[MeasuredGeometry]) -> list[Part]:
    seeds = _seeds(found)
    lines = series(found)
    shares, sizes = (
        [
            (line, np.stack([of(result) for result in verdicts.with_gradient(each) or each.results]))
            for line, each in zip(lines, found, strict=True)
        ]
        for of in (attrgetter("shares"), attrgetter("sizes"))
    )
    band = f"The band reaches from the smallest to the largest of {verdicts.seed_words(len(seeds))}."
    if any(len(verdicts.with_gradient(each)) < len(each.seeds) for each in found):
        band += " Seeds without a finite gradient above 0 are left out."
    return [
        *verdicts.sentences("paths", found),
        Chart(
            figures.path_chart(shares),
            "Gradient by the length of its path",
            f"The size through one path, times the number of such paths, as a share of all. {band}",
        ),
        Chart(figures.path_size_chart(sizes), "Gradient through one path", f"The mean over random paths. {band}"),
        _paths_table(found),
    ]


def _paths_table(found: Sequence[MeasuredGeometry]) -> Table:
    heads = ["network", "seeds", "residual blocks", "5 % reached at", "median", "95 % reached at"]
    heads += ["one more branch multiplies by"]
    cells = []
    for each in found:
        shares = verdicts.mean_shares(each)
        known = bool(np.isfinite(shares).all())
        ends = [str(int(np.searchsorted(shares.cumsum(), share))) if known else "" for share in (0.05, 0.5, 0.95)]
        factor = each.mean(lambda of: verdicts.branch_factor(of.sizes))
        blocks = str(each.results[0].blocks)
        cells.append([each.name, str(len(each.seeds)), blocks, *ends, number(math.exp(factor.value)) if factor else ""])
    return Table(heads, cells)
