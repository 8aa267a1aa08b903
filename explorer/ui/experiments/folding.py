"""The question of folding: can the shortcuts, norms and gains of a trained network be inside of its kernels?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import streamlit as st

from explorer import figures
from explorer.architectures import describe
from explorer.architectures.folding import Fold, folded_spec
from explorer.experiments import folding, measurement
from explorer.experiments.folding import Folding
from explorer.figures import Chart, Part, Table
from explorer.labels import capital, listed
from explorer.ui import client, forecasts, measured_images, navigation
from explorer.ui.build_state import BuildState
from explorer.ui.experiments.images import choose_images, images_of, images_source
from explorer.ui.experiments.question import AskedNetwork, Plan, Question
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.markdown import as_sentence
from explorer.ui.session import session

FORM = BuildState(preset="resnet-20").with_spec(block="conv")
"""A network with one convolution in each block, whose shortcuts fold."""


def question() -> Question:
    return Question(
        title="Can the shortcut be folded into the kernel?",
        method="After training a norm is a factor and an offset of each channel. A shortcut around a single "
        "convolution is a convolution too, with a 1 at the centre of its kernel. Both can go into the kernel beside "
        "them (RepVGG, Ding et al. 2021, arXiv 2101.03697). Where an activation stands between two convolutions of a "
        "branch, its shortcut stays.",
        limits=folding.LIMITS,
        controls=_controls,
        plan=_plan,
    )


def _controls(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> None:
    choose_images(state, networks, folding.USUAL)
    navigation.page_link("build", "Train one whose shortcuts fold", FORM.to_query())


def _plan(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> Plan | None:
    images = images_of(state, networks, folding.USUAL)
    if images is None:
        return None
    data, n = images
    reasons = {each.name: reason for each in networks if (reason := _refusal(each))}
    asked = [each for each in networks if each.name not in reasons]
    if not asked:
        st.info(as_sentence(capital(next(iter(reasons.values())))))
        return None
    kept = {each.name: f"folding/{data}/{n}/{each.name}" for each in asked}
    known = {name: found for name, key in kept.items() if (found := session().results.find(key)) is not None}
    missing = [each for each in asked if each.name not in known]

    def work() -> Iterator[tuple[float, Any]]:
        yield 0.0, None
        sample = measured_images.sample(data, n)
        split = measurement.rows(sample.split, sample.indices)
        for index, each in enumerate(missing):
            for fraction, found in folding.measure(each.chosen.checkpoint, split):
                if found is not None:
                    session().results.put(kept[each.name], found)
                yield min(0.999, (index + fraction) / len(missing)), None
        yield 1.0, True

    passed = "1 network" if len(missing) == 1 else f"{len(missing)} networks"
    macs = sum(describe(each.chosen.checkpoint.spec).macs for each in missing)
    return Plan(
        key="/".join(("folding", data, str(n), *(each.name for each in asked))),
        cost=f"{n:,} images through {passed}, as {'it is' if len(missing) == 1 else 'they are'} and folded",
        seconds=2 * n * macs / 3 / forecasts.macs_a_second(),
        work=work,
        known=known or None,
        answer=lambda found: _answer(asked, found, reasons),
        rows=lambda found: _rows(asked, found),
        source=images_source(n, data, asked),
    )


def _refusal(network: AskedNetwork) -> str:
    """Why the network cannot be folded; "" where it can."""
    try:
        folded_spec(network.chosen.checkpoint.spec)
    except ValueError as error:
        return str(error)
    return ""


def _answer(asked: Sequence[AskedNetwork], found: Mapping[str, Folding], reasons: Mapping[str, str]) -> Sequence[Part]:
    measured = [(each, found[each.name]) for each in asked if each.name in found]
    sentences = [folding.finding(each.chosen.title, of) for each, of in measured]
    columns = ["network", "largest difference of a logit", "of the largest logit", "operations", "parameters", "MACs"]
    rows = []
    for each, of in measured:
        before, after = of.sizes
        pairs = (
            (before.operations, after.operations),
            (before.parameters, after.parameters),
            (before.macs, after.macs),
        )
        rows.append(
            [each.chosen.title, f"{of.difference:.1e}", f"{of.share:.1e}", *(f"{a:,} → {b:,}" for a, b in pairs)]
        )
    parts: list[Part] = [*sentences, *map(capital, reasons.values()), Table(columns, rows)]
    for each, of in measured:
        title = each.chosen.title
        for spec, name, text in (
            (of.spec, title, "As it was trained."),
            (of.folded, f"{title}, folded", "What is left to compute."),
        ):
            parts.append(Chart(figures.network_drawing(describe(spec), theme=client.theme()), name, text))
        cells = [[*summary] for summary in _summaries(of.folds)]
        parts.append(Table([f"parts of {each.chosen.title}", "folded", "because"], cells, 3))
    return parts


def _summaries(folds: Sequence[Fold]) -> list[tuple[str, str, str]]:
    """Parts of one kind and reason together."""
    together: dict[tuple[str, bool], list[str]] = {}
    for each in folds:
        together.setdefault((each.reason, each.is_exact), []).append(each.part)
    return [
        (
            listed(parts) if len(parts) <= 3 else f"{len(parts)} parts, {parts[0]} to {parts[-1]}",
            "yes" if is_exact else "no",
            reason,
        )
        for (reason, is_exact), parts in together.items()
    ]


def _rows(asked: Sequence[AskedNetwork], found: Mapping[str, Folding]) -> list[list[str]]:
    lines = [
        ["network", "images", "difference", "largest logit", "same prediction", "part", "into", "exact", "because"]
    ]
    for each in asked:
        if (of := found.get(each.name)) is not None:
            numbers = [str(of.n), f"{of.difference:.6g}", f"{of.peak:.6g}", str(of.alike)]
            lines += [
                [each.chosen.title, *numbers, one.part, one.into, "yes" if one.is_exact else "no", one.reason]
                for one in of.folds
            ]
    return lines
