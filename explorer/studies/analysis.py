"""`analyse`: what the trained networks of a study say so far: means, paired differences and how these change.

Errors are shares of wrong predictions, 0..1. That in training is of the last epoch's own batches, in training mode.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from explorer.intervals import Mean, mean
from explorer.labels import capital, listed
from explorer.numbers import finite
from explorer.studies.folder import Result
from explorer.studies.study import PLAIN, Cell, Study, words

SHORTCUT, DEPTH = "shortcut", "depth"
ERRORS = {"train": "training error", "test": "test error"}
MOST_SENTENCES = 6  # of single differences; of more of them the paragraph counts

_Values = dict[int, dict[str, float]]
"""By seed the errors of a cell: {"train", "test"}, of which the first may be missing."""


@dataclass(frozen=True)
class Errors:
    """The training and the test error, or a difference of such; None where nothing was measured yet."""

    train: Mean | None
    test: Mean | None

    def of(self, name: str) -> Mean | None:
        return self.train if name == "train" else self.test


@dataclass(frozen=True)
class CellErrors:
    """The errors of the networks of one cell; `diverged` of them have diverged, and their errors count."""

    cell: Cell
    errors: Errors
    diverged: int


@dataclass(frozen=True)
class Difference:
    """The error of the networks with the shortcut `reference` less that of those with `kind`, seed by seed, at the
    other values `at`. Above 0 `kind` is better."""

    at: Cell
    kind: Any
    reference: Any
    errors: Errors


@dataclass(frozen=True)
class Change:
    """What the step from the value `first` of the axis to `last` adds, seed by seed, at the other values `at`: to the
    error, or with a `reference` to the difference that the shortcut makes, which is their interaction."""

    axis: str
    first: Any
    last: Any
    at: Cell
    kind: Any
    reference: Any
    errors: Errors


@dataclass(frozen=True)
class Analysis:
    """All of it. `axis` is the axis along which charts are drawn, "" without one; `paragraph` are its sentences."""

    axis: str
    trained: int
    networks: int
    cells: tuple[CellErrors, ...]
    differences: tuple[Difference, ...]
    interactions: tuple[Change, ...]
    trends: tuple[Change, ...]
    paragraph: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(finite(asdict(self)))


def analyse(study: Study, results: Iterable[Result]) -> Analysis:
    """The analysis of the networks that are trained so far, in the order of the study's cells.

    A difference is taken of the two networks of one seed, which see the same batches, and twins start from the same
    weights; its interval is that of the paired t-test. An interaction is the change of these differences between two
    values of an axis, again seed by seed, so no equal variances are assumed.
    """
    found: dict[Cell, _Values] = {cell: {} for cell in study.cells()}
    diverged = dict.fromkeys(found, 0)
    for result in results:
        values = {"test": 1 - result.test["accuracy"]}
        if result.train is not None and result.train.get("accuracy") is not None:
            values["train"] = 1 - result.train["accuracy"]
        found[result.cell][result.seed] = values
        diverged[result.cell] += result.outcome == "diverged"
    fields = [axis.field for axis in study.axes]
    others = [field for field in fields if field != SHORTCUT]
    axis = DEPTH if DEPTH in others else others[0] if others else ""
    cells = [CellErrors(cell, _errors(values), diverged[cell]) for cell, values in found.items() if values]
    differences, interactions = _differences(study, found), _changes(study, found, axis, of_differences=True)
    trends = _changes(study, found, axis, of_differences=False)
    trained = sum(map(len, found.values()))
    sentences = [f"{trained} of {study.networks} networks are trained."] if trained < study.networks else []
    if trained:
        sentences += _paragraph(differences, interactions, trends)
        sentences += _count_diverged(sum(diverged.values()), trained)
    return Analysis(
        axis,
        trained,
        study.networks,
        tuple(cells),
        tuple(differences),
        tuple(interactions),
        tuple(trends),
        tuple(sentences),
    )


def _errors(values: _Values) -> Errors:
    """The means over the seeds."""
    train, test = ([each[name] for each in values.values() if name in each] for name in ERRORS)
    return Errors(mean(train) if train else None, mean(test) if test else None)


def _less(first: _Values, second: _Values) -> _Values:
    """`first` less `second` in every seed that both have; rounded, so that equal shares differ by exactly 0."""
    return {
        seed: {
            name: round(value - second[seed][name], 12) for name, value in first[seed].items() if name in second[seed]
        }
        for seed in first
        if seed in second
    }


def _kinds(study: Study) -> tuple[Any, list[Any]]:
    """The reference among the shortcuts, plain where there is one, and the others; (None, []) without the axis."""
    values = next((list(axis.values) for axis in study.axes if axis.field == SHORTCUT), [])
    if not values:
        return None, []
    reference = PLAIN if PLAIN in values else values[0]
    return reference, [value for value in values if value != reference]


def _with(cell: Cell, field: str, value: Any) -> Cell:
    return tuple((name, value if name == field else own) for name, own in cell)


def _without(cell: Cell, *fields: str) -> Cell:
    return tuple(pair for pair in cell if pair[0] not in fields)


def _differences(study: Study, found: dict[Cell, _Values]) -> list[Difference]:
    reference, kinds = _kinds(study)
    made = []
    for cell, values in found.items():
        kind = dict(cell).get(SHORTCUT)
        if kind in kinds and (less := _less(found[_with(cell, SHORTCUT, reference)], values)):
            made.append(Difference(_without(cell, SHORTCUT), kind, reference, _errors(less)))
    return made


def _changes(study: Study, found: dict[Cell, _Values], field: str, of_differences: bool) -> list[Change]:
    """From the first value of the axis to each other one; `of_differences` or of the errors themselves."""
    reference, kinds = _kinds(study)
    if not field or (of_differences and not kinds):
        return []
    first, *others = next(axis.values for axis in study.axes if axis.field == field)

    def values(cell: Cell) -> _Values:
        return _less(found[_with(cell, SHORTCUT, reference)], found[cell]) if of_differences else found[cell]

    made = []
    for cell in found:
        own, kind = dict(cell), dict(cell).get(SHORTCUT)
        if own[field] not in others or (of_differences and kind not in kinds):
            continue
        if less := _less(values(cell), values(_with(cell, field, first))):
            at = _without(cell, field, SHORTCUT)
            made.append(
                Change(field, first, own[field], at, kind, reference if of_differences else None, _errors(less))
            )
    return made


# --- the paragraph ----------------------------------------------------------------------------------------------------


def _paragraph(
    differences: Sequence[Difference], interactions: Sequence[Change], trends: Sequence[Change]
) -> list[str]:
    sentences = []
    told = [each for each in differences if each.errors.test]
    if len(told) > MOST_SENTENCES:
        sentences += _counted(told)
    else:
        sentences += [_difference_sentence(each) for each in told]
    steps = _to_last(interactions)
    sentences += [_interaction_sentence(each) for each in steps] if len(steps) <= MOST_SENTENCES else []
    steps = _to_last(trends)
    sentences += [_trend_sentence(each) for each in steps] if len(steps) <= MOST_SENTENCES else []
    told_of = [each.errors for each in told] + [each.errors for each in steps]
    means = [errors.test for errors in told_of if errors.test]
    if means and all(each.n == 1 for each in means):
        sentences.append("One seed gives no interval: another seed may turn any of these differences round.")
    elif sum(each.has_interval for each in means) > 1:
        sentences.append("Each interval is a 95 % t-interval of its own; of twenty such, about one misses the truth.")
    return sentences


def _to_last(changes: Sequence[Change]) -> list[Change]:
    """Of each kind and place the change to the last value that is there."""
    return [*{(each.at, each.kind): each for each in changes if each.errors.test}.values()]


def _difference_sentence(each: Difference) -> str:
    found = each.errors.test
    assert found  # it is told of no others
    where = f"At {place(each.at)}: " if each.at else ""
    better, worse = (each.reference, each.kind) if found.value < 0 else (each.kind, each.reference)
    if found.has_interval and not found.sign:
        text = f"the test errors of {noun(worse)} and {noun(better)} cannot be told apart"
        return capital(f"{where}{text}. Their difference is {span_words(found)}.")
    if not found.value:
        return capital(f"{where}the test errors of {noun(worse)} and {noun(better)} are equal {_seeds(found)}.")
    text = f"the test error of {noun(better)} is lower than that of {noun(worse)}"
    return capital(f"{where}{text}. The difference is {_amount(found)}.")


def _change_sentence(each: Change, found: Mean, what: str, up: str, down: str) -> str:
    """What the step does to `what`, which grows (`up`) where the mean is above 0, and then by how much."""
    step = f"from {field_words(each.axis)} {words(each.axis, each.first)} to {words(each.axis, each.last)}"
    step += f" (at {place(each.at)})" if each.at else ""
    if found.has_interval and not found.sign:
        return f"Whether {what} changes {step} cannot be told. The change is {span_words(found)}."
    if not found.value:
        return capital(f"{step} {what} stays the same. So it does {_seeds(found)}.")
    return capital(f"{step} {what} {up if found.value > 0 else down}. The change is {_amount(found)}.")


def _interaction_sentence(each: Change) -> str:
    assert each.errors.test  # it is told of no others
    what = f"the advantage of {noun(each.kind)} over {noun(each.reference)} in test error"
    return _change_sentence(each, each.errors.test, what, "grows", "shrinks")


def _trend_sentence(each: Change) -> str:
    """Of the training error where it is known: degradation is one of training, and no overfitting."""
    name = "train" if each.errors.train else "test"
    found = each.errors.of(name)
    assert found
    whose = f" of {noun(each.kind)}" if each.kind is not None else ""
    return _change_sentence(each, found, f"the {ERRORS[name]}{whose}", "rises", "falls")


def _amount(found: Mean) -> str:
    """The size of a difference that is not 0."""
    size = found if found.value > 0 else found.turned
    return f"{points(size.value)}, {_seeds(found)}" if not size.has_interval else span_words(size)


def _seeds(found: Mean) -> str:
    """Where a mean without an interval comes from."""
    return "in one seed" if found.n == 1 else f"in each of {found.n} seeds"


def _counted(differences: Sequence[Difference]) -> list[str]:
    """How many differences are for and against each kind."""
    sentences = []
    for kind in dict.fromkeys(each.kind for each in differences):
        own = [each for each in differences if each.kind == kind]
        found = [each.errors.test for each in own if each.errors.test]
        reference, new = noun(own[0].reference), noun(kind)
        if all(each.n == 1 for each in found):
            better, worse = sum(each.value > 0 for each in found), sum(each.value < 0 for each in found)
            sentences.append(
                f"In one seed {new} have the lower test error at {better} of {len(found)} places, {reference} at "
                f"{worse}."
            )
        else:
            signs = [each.sign if each.has_interval else 0 for each in found]
            sentences.append(
                f"Of {len(found)} differences {signs.count(1)} are for {new}, {signs.count(-1)} for {reference}, and "
                f"{signs.count(0)} cannot be told from 0."
            )
    return sentences


def _count_diverged(count: int, trained: int) -> list[str]:
    if not count:
        return []
    verb = "has" if count == 1 else "have"
    return [f"{count} of {trained} networks {verb} diverged; the errors of where they ended count."]


def noun(kind: Any) -> str:
    """The networks with that value of the axis "shortcut"."""
    return "plain networks" if kind == PLAIN else f"networks with {words(SHORTCUT, kind)} shortcuts"


def field_words(field: str) -> str:
    return field.replace("_", " ")


def place(cell: Cell) -> str:
    """The values in words: "depth 20 and norm batch"; "" of none."""
    return listed([f"{field_words(field)} {words(field, value)}" for field, value in cell])


def points(share: float) -> str:
    """A difference of shares in percentage points."""
    return f"{100 * share:.1f} points"


def span_words(found: Mean) -> str:
    """A difference with its interval: "2.1 points (0.4 to 3.8, n = 3)"."""
    if not found.has_interval:
        return f"{points(found.value)} (n = {found.n})"
    return f"{points(found.value)} ({100 * found.low:.1f} to {100 * found.high:.1f}, n = {found.n})"


# --- the table --------------------------------------------------------------------------------------------------------


def rows(study: Study, results: Sequence[Result], analysis: Analysis) -> list[list[object]]:
    """All of it for a CSV file: a heading, the errors of each network, and all means with their intervals."""
    fields = [axis.field for axis in study.axes]
    head = [
        "row",
        *fields,
        "compared with",
        "seed",
        "quantity",
        "value",
        "low",
        "high",
        "n",
        "network",
        "outcome",
        "run",
    ]
    made: list[list[object]] = [[*head]]

    def add(what: str, cell: Callable[[str], str], against: str, errors: Errors) -> None:
        for name, title in ERRORS.items():
            if found := errors.of(name):
                numbers = [_number(found.value), _number(found.low), _number(found.high), found.n]
                made.append([what, *map(cell, fields), against, "", title, *numbers, "", "", ""])

    for result in results:
        values = [words(field, dict(result.cell)[field]) for field in fields]
        for name, title in ERRORS.items():
            measured = result.train if name == "train" else result.test
            if measured is not None and measured.get("accuracy") is not None:
                ends = [str(measured.get("n", "")), result.title, result.outcome, result.run_id]
                value = _number(1 - measured["accuracy"])
                made.append(["network", *values, "", str(result.seed), title, value, "", "", *ends])
    for each in analysis.cells:
        add("mean", _lookup(dict(each.cell)), "", each.errors)
    for difference in analysis.differences:
        own = {**dict(difference.at), SHORTCUT: difference.kind}
        add("paired difference", _lookup(own), words(SHORTCUT, difference.reference), difference.errors)
    for what, changes in (("interaction", analysis.interactions), ("trend", analysis.trends)):
        for change in changes:
            own = {**dict(change.at), SHORTCUT: change.kind, change.axis: change.last}
            against = words(change.axis, change.first)
            against += f", {words(SHORTCUT, change.reference)}" if change.reference is not None else ""
            add(what, _lookup(own), against, change.errors)
    return made


def _lookup(values: dict[str, Any]) -> Callable[[str], str]:
    return lambda field: words(field, values[field]) if field in values else ""


def _number(value: float) -> float | str:
    """A number and no text: a table would not take a text that begins with a minus for a number."""
    return "" if math.isnan(value) else float(f"{value:.6g}")
