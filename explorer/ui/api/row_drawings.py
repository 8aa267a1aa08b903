"""`ROWS`: what each further row of the depth strip draws and says of what was measured for it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.experiments import probing, receptive_fields, twin_distance
from explorer.ui.services.layer_rows import Kind, Subject, title_of_pictures


@dataclass(frozen=True)
class Line:
    """A value for each layer of a network, or of both, by name; `low` and `high` are the ends of its interval. `of` is
    the network's number, None for both; a `faint` line is drawn beside the one that is measured."""

    of: int | None
    values: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    faint: bool = False


@dataclass(frozen=True)
class Drawing:
    """What a row shows: lines, the end of their scale, marks at values with words, and sentences."""

    lines: Sequence[Line]
    top: float
    marks: Sequence[tuple[float, str]]
    words: Sequence[str]


@dataclass(frozen=True)
class Row:
    """A row that can be switched on: the measurement that it needs, its drawing, and how a value is written."""

    kind: Kind
    draw: Callable[[Sequence[Subject], Sequence[Any]], Drawing]
    written: Callable[[float], str]


def _values(layers: Sequence[str], values: Iterable[Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in zip(layers, values, strict=True)
        if value is not None and math.isfinite(value)
    }


def _line(of: int | None, layers: Sequence[str], values: Iterable[Any], faint: bool = False) -> Line:
    return Line(of, _values(layers, values), {}, {}, faint)


def _probe(subjects: Sequence[Subject], results: Sequence[probing.Probes]) -> Drawing:
    lines, words, marks = [], [], dict[float, str]()
    for which, (subject, found) in enumerate(zip(subjects, results, strict=True)):
        if not found.n_train:
            words.append(_unlabelled(subject))
            continue
        shares = found.accuracies()
        share, low, high = (
            _values(found.layers, [getattr(each, name) if each else None for each in shares])
            for name in ("share", "low", "high")
        )
        lines.append(Line(which, share, low, high))
        marks[found.chance] = f"chance {found.chance:.0%}"
        words.append(probing.finding(subject.network.title, found))
    if lines:
        for who, data, n_train, n_test in _data_of(subjects, results):
            words.append(
                f"{who}{'a' if who else 'A'} linear classifier of the mean of each channel, fitted to {n_train:,} "
                f"training images of {data} and tested on {n_test:,} test images."
            )
        words.append("Intervals are of 95 %.")
        words.append(
            "A low accuracy does not say that a layer has lost the class: the probe sees no positions, and separates "
            "by straight lines alone."
        )
    return Drawing(lines, 1.0, list(marks.items()), words)


def _separability(subjects: Sequence[Subject], results: Sequence[probing.Probes]) -> Drawing:
    lines, words, marks = [], [], dict[float, str]()
    for which, (subject, found) in enumerate(zip(subjects, results, strict=True)):
        if not found.n_train:
            words.append(_unlabelled(subject))
            continue
        lines.append(_line(which, found.layers, found.separability))
        marks[found.separability_of_nothing] = f"random labels {found.separability_of_nothing:.3f}"
    if lines:
        words.append(
            "The share of the variance of the means of the channels that lies between the classes, not inside them. "
            "1: each class is one point."
        )
        for who, data, _, n_test in _data_of(subjects, results):
            words.append(f"{who}{'m' if who else 'M'}easured on {n_test:,} test images of {data}.")
    return Drawing(lines, 1.0, list(marks.items()), words)


def _data_of(subjects: Sequence[Subject], results: Sequence[probing.Probes]) -> list[tuple[str, str, int, int]]:
    """The title of the data and the numbers of training and test images of all labelled networks, each different one
    once. First the names of its networks as the beginning of a sentence, "" where all have the same."""
    groups: dict[tuple[str, int, int], list[str]] = {}
    for subject, found in zip(subjects, results, strict=True):
        if found.n_train:
            of = title_of_pictures(subject), found.n_train, found.n_test
            groups.setdefault(of, []).append(subject.network.title)
    return [(f"{' and '.join(names)}: " if len(groups) > 1 else "", *of) for of, names in groups.items()]


def _unlabelled(subject: Subject) -> str:
    return (
        f"{subject.network.title}: no labelled images of its classes and size are on this machine, so nothing can be "
        "said of its classes. Bring or download some on the page Build & train."
    )


def _dead(subjects: Sequence[Subject], results: Sequence[probing.Probes]) -> Drawing:
    lines, words, largest = [], [], 0.0
    for which, (subject, found) in enumerate(zip(subjects, results, strict=True)):
        shares = [dead / size if dead >= 0 else None for dead, size in zip(found.dead, found.channels, strict=True)]
        lines.append(_line(which, found.layers, shares))
        there = found.dead >= 0
        dead, size = int(found.dead[there].sum()), int(found.channels[there].sum())
        largest = max([largest, *lines[-1].values.values()])
        words.append(
            f"{subject.network.title}: {dead} of {size:,} channels are 0 on all {found.n:,} images of "
            f"{title_of_pictures(subject)}."
        )
    words.append("Counted after the activation; a layer without one of its own has no value.")
    top = next(top for top in (0.1, 0.25, 0.5, 1.0) if largest <= top)
    return Drawing(lines, top, [], words)


def _field(subjects: Sequence[Subject], results: Sequence[receptive_fields.Fields]) -> Drawing:
    lines, words = [], []
    for which, (subject, found) in enumerate(zip(subjects, results, strict=True)):
        lines.append(_line(which, found.layers, found.effective))
        lines.append(_line(which, found.layers, found.theoretical, faint=True))
        words.append(receptive_fields.finding(subject.network.title, found))
    words.append(
        "Solid: the side of a square of as many pixels as hold 95 % of the gradient of the layer's centre. Thin: all "
        "pixels that it can depend on."
    )
    side = max(math.sqrt(math.prod(subject.checkpoint.spec.input_shape[1:])) for subject in subjects)
    return Drawing(lines, side, [], words)


def _distance(subjects: Sequence[Subject], results: Sequence[twin_distance.TwinDistance]) -> Drawing:
    (found,) = results
    words = [
        f"2 |a − b| / (|a| + |b|) of all values of {found.n} images of {title_of_pictures(subjects[0])}.",
        twin_distance.distance_finding([subject.network.title for subject in subjects], found),
    ]
    angle = twin_distance.RIGHT_ANGLES
    lines = [_line(None, found.layers, found.distance)]
    return Drawing(lines, 2.0, [(angle, f"right angles {angle:.2f}")], words)


def _cka(subjects: Sequence[Subject], results: Sequence[twin_distance.TwinDistance]) -> Drawing:
    (found,) = results
    words = [
        f"Linear CKA, debiased, of the same layer in both, on {found.n} images of {title_of_pictures(subjects[0])}. "
        "1: the same up to a rotation and a factor; about 0: unrelated.",
        twin_distance.cka_finding([subject.network.title for subject in subjects], found),
    ]
    return Drawing([_line(None, found.layers, found.cka)], 1.0, [], words)


def percent(value: float) -> str:
    return f"{value:.1%}"


ROWS: Mapping[str, Row] = {
    "probe": Row("probes", _probe, percent),
    "separability": Row("probes", _separability, "{:.3f}".format),
    "dead": Row("probes", _dead, percent),
    "field": Row("fields", _field, "{:.1f} px".format),
    "distance": Row("twins", _distance, "{:.3f}".format),
    "cka": Row("twins", _cka, "{:.3f}".format),
}
