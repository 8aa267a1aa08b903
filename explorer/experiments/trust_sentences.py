"""A `TrustTable` in sentences, as cells of text, and as numbers."""

from collections.abc import Sequence

from explorer.experiments.trust import CONTROLS, TrustTable, title_of
from explorer.intervals import Mean
from explorer.labels import RANDOM_LEVELS, listed

FEWEST_TO_TELL = 20  # pictures, below which no difference is told: few hits bear no interval
ALIKE = 0.5  # rank correlation, from which a map is said to stay similar under random weights


def findings(title: str, table: TrustTable) -> list[str]:
    """Which methods of a network beat the centre of the picture and a random order of pixels, and which maps stay under
    random weights; each by 95 % intervals of the differences on the same pictures."""
    methods = [name for name in table.ranked if name not in CONTROLS]
    centre = table.pointing("centre")
    more, less = (
        [name for name in methods if _differs(table.beside("hits", name, "centre"), sign)] for sign in (1, -1)
    )
    unsure = len(methods) - len(more) - len(less)
    first = [
        f"{title}: the centre of the image lies on the object in {centre.value:.1%} of {centre.n:,} images "
        f"({centre.low:.1%} to {centre.high:.1%})."
    ]
    if more:
        best = [f"{title_of(name)} ({table.pointing(name).value:.1%})" for name in more[:3]]
        first.append(f"{_count(more, methods)} at the object more often, first {listed(best)}.")
    else:
        first.append(f"None of the {len(methods)} methods can be told to point at the object more often.")
    first += [f"{_count(less, methods)} at it less often: {listed(list(map(title_of, less)))}."] if less else []
    first += [f"For {unsure} the interval of the difference holds 0."] if unsure and (more or less) else []
    if centre.n < FEWEST_TO_TELL:
        first.append(f"From fewer than {FEWEST_TO_TELL} images no difference is told.")
    beaten = [
        name
        for name in methods
        if _differs(table.beside("deletions", name, "noise"), -1)
        and _differs(table.beside("insertions", name, "noise"), 1)
    ]
    lost = [title_of(name) for name in methods if name not in beaten]
    which = f"for all {len(methods)} methods" + (f" but {listed(lost)}" if lost else "")
    if len(beaten) <= len(lost):
        which = f"for {listed(list(map(title_of, beaten)))} alone" if beaten else "for no method"
    second = f"{title}: the order of the map beats a random order of pixels, in both curves, {which}."
    alike = [name for name in methods if (each := table.similarity(name, "all")) and each.low > ALIKE]
    if alike:
        names = listed([title_of(name) + _of_few(table.similarity(name, "all")) for name in alike])
        third = (
            f"{title}: with all weights random, {names} keep{'s' * (len(alike) < 2)} a rank correlation above {ALIKE}. "
            "Such a map shows the image more than what was learned."
        )
    else:
        third = f"{title}: with all weights random, no map keeps a rank correlation that is surely above {ALIKE}."
    return [" ".join(first), second, third]


def _count(some: Sequence[str], methods: Sequence[str]) -> str:
    return f"{len(some)} of {len(methods)} methods point{'s' * (len(some) < 2)}"


def _of_few(found: Mean | None) -> str:
    """Of how many pictures, where these are few."""
    return f" ({found.n} images)" if found is not None and found.n < FEWEST_TO_TELL else ""


def _differs(difference: Mean | None, sign: int) -> bool:
    """Whether the whole interval lies on that side of 0."""
    if difference is None or difference.n < FEWEST_TO_TELL:
        return False
    return difference.low > 0 if sign > 0 else difference.high < 0


COLUMNS = (
    "map",
    "n",
    "points at the object, %",
    "more than the centre, points",
    "share on the object, %",
    "deletion",
    "insertion",
    *RANDOM_LEVELS.values(),
)


def cells(table: TrustTable) -> list[list[str]]:
    """Rows of `COLUMNS` as text with 95 % intervals, the map that points at the object most often first."""
    return [
        [
            title_of(name),
            f"{table.pointing(name).n:,}",
            _text(table.pointing(name), ".1f", 100),
            "" if name == "centre" else _text(table.beside("hits", name, "centre"), "+.1f", 100),
            _text(table.mean("shares", name), ".1f", 100),
            _text(table.mean("deletions", name), ".3f"),
            _text(table.mean("insertions", name), ".3f"),
            *(_text(table.similarity(name, level), ".2f") for level in table.levels),
        ]
        for name in table.ranked
    ]


def _text(found: Mean | None, style: str, times: int = 1) -> str:
    if found is None:
        return ""
    value, low, high = (format(times * each, style) for each in (found.value, found.low, found.high))
    return value if found.n == 1 else f"{value} ({low} to {high})"


def rows_of(table: TrustTable) -> list[dict[str, str | float | int | None]]:
    """The same as numbers: of each map every measure as `value`, `low`, `high` and `n`, which are None where it was not
    measured."""
    rows: list[dict[str, str | float | int | None]] = []
    for name in table.ranked:
        row: dict[str, str | float | int | None] = {"map": name, "title": title_of(name)}
        measures = {
            "pointing": table.pointing(name),
            "above_centre": table.beside("hits", name, "centre"),
            "share": table.mean("shares", name),
            "deletion": table.mean("deletions", name),
            "insertion": table.mean("insertions", name),
            **{f"random_{level}": table.similarity(name, level) for level in table.levels},
        }
        for measure, found in measures.items():
            for part in ("value", "low", "high", "n"):
                row[f"{measure}_{part}"] = getattr(found, part) if found else None
        rows.append(row)
    return rows
