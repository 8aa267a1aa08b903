"""The question of trust: which method's map points at the object, matters to the network, and knows the weights?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import streamlit as st

from explorer import figures, stored_results
from explorer.architectures import ArchitectureSpec, describe
from explorer.datasets import shapes
from explorer.experiments import measurement, trust, trust_sentences
from explorer.experiments.trust import TrustTable
from explorer.figures import Chart, Part, Table
from explorer.labels import CONTROL_MAPS
from explorer.ui import forecasts, measured_images, network_registry
from explorer.ui.experiments.images import choose_images, images_of, images_source
from explorer.ui.experiments.question import AskedNetwork, Plan, Question
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.session import session

NO_MASKS = (
    "There are no images with exact masks that all these networks know. Choose networks that were trained on the drawn "
    "shapes."
)
JOINER = "\u2060"  # no line ends beside it


def question() -> Question:
    return Question(
        title="Which map can be trusted?",
        method="Every method explains the true class of drawn shapes, whose pixels are known exactly. The mask itself, "
        "the centre of the image and noise stand beside them as maps that know nothing of the network.",
        limits=(
            "A map may show truly that a network looks beside the object. A low score is then right.",
            "The shapes often lie near the centre, so a map that is blind to the network scores well. Compare with the "
            "centre.",
            "Exchanged pixels make images that no network has seen in training.",
            "A rank correlation says nothing about the size of the values. Random weights are drawn once, with seed 0.",
            "About one of twenty 95 % intervals misses the true value, and the table has more than a hundred.",
            "Methods of many passes explain fewer images, and class activation maps show one layer alone.",
        ),
        controls=lambda state, networks: choose_images(state, networks, trust.USUAL, fits=has_masks),
        plan=_plan,
    )


def has_masks(data: str) -> bool:
    """Whether the object's pixels are known."""
    return shapes.named(data) is not None


def _plan(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> Plan | None:
    images = images_of(state, networks, trust.USUAL, fits=has_masks, missing=NO_MASKS)
    if images is None:
        return None
    data, n = images
    for each in networks:
        try:
            trust.layer_of(_spec(each))
        except ValueError as error:
            st.info(f"{error}".replace("`", ""))
            return None
    known = {each.name: found for each in networks if (found := _find(each.name, data, n)) is not None}
    missing = [each for each in networks if each.name not in known]
    passes = [trust.passes(_spec(each), n) for each in missing]
    return Plan(
        key="/".join(("trust", data, str(n), *(each.name for each in networks))),
        cost=f"about {sum(passes):,} passes for {n:,} images and {len(trust.methods_of(_spec(networks[0])))} methods",
        seconds=sum(
            of * describe(_spec(each)).macs * 0.5 / forecasts.macs_a_second()
            for each, of in zip(missing, passes, strict=True)
        ),
        work=lambda: _measure(missing, passes, data, n),
        known=known or None,
        answer=lambda found: _answer(networks, found),
        rows=lambda found: _rows(networks, found),
        source=images_source(n, data, networks, "; seed 0"),
    )


def _spec(network: AskedNetwork) -> ArchitectureSpec:
    return network.chosen.checkpoint.spec


def _measure(networks: Sequence[AskedNetwork], passes: Sequence[int], data: str, n: int) -> Iterator[tuple[float, Any]]:
    """One network after the other; each table is kept at once."""
    yield 0.0, None  # so that the bar is there while the images are read
    images = measured_images.sample(data, n)
    split = measurement.rows(images.split, images.indices)
    for index, network in enumerate(networks):
        for share, found in trust.trust(network.chosen.checkpoint, split, images.class_names):
            if found is not None:
                _keep(network.name, data, n, found)
            yield min(0.999, (sum(passes[:index]) + share * passes[index]) / sum(passes)), None
    yield 1.0, True


# --- what is known ----------------------------------------------------------------------------------------------------


def _key(name: str, data: str, n: int) -> str:
    return f"trust/{data}/{n}/{name}"


def _find(name: str, data: str, n: int) -> TrustTable | None:
    if (found := session().results.find(_key(name, data, n))) is not None:
        return found
    if (key := _stored_key(name, data, n)) is None:
        return None
    found = stored_results.unpack(TrustTable, stored_results.load(key))
    if found is not None:
        session().results.put(_key(name, data, n), found)
    return found


def _keep(name: str, data: str, n: int, found: TrustTable) -> None:
    session().results.put(_key(name, data, n), found)
    if key := _stored_key(name, data, n):
        stored_results.store(key, stored_results.pack(found))


def _stored_key(name: str, data: str, n: int) -> str | None:
    owned = network_registry.digests_of_owner([name])
    if owned is None:
        return None
    owner, digests = owned
    return stored_results.key("trust", digests, measured_images.content(data), owner, n=n)


# --- the answer -------------------------------------------------------------------------------------------------------


def _answer(networks: Sequence[AskedNetwork], found: Mapping[str, TrustTable]) -> list[Part]:
    asked = [each for each in networks if each.name in found]
    sentences = [text for each in asked for text in trust_sentences.findings(each.chosen.title, found[each.name])]
    lines = []
    for each in asked:
        table = found[each.name]
        spans = {name: table.pointing(name) for name in table.ranked}
        lines.append(
            (each.series, {trust.title_of(name): (span.value, span.low, span.high) for name, span in spans.items()})
        )
    covered = float(found[asked[0].name].covered.mean())
    text = (
        "The lines are 95 % intervals (Wilson). Dashed: the centre of the image. Dotted: the object's mean share of "
        "the image, which noise hits."
    )
    figure = figures.pointing_chart(lines, CONTROL_MAPS["centre"], covered)
    parts: list[Part] = [*sentences, Chart(figure, "How often a map points at the object", text)]
    for each in asked:
        table = found[each.name]
        rows = [[*map(_unbroken, row)] for row in trust_sentences.cells(table)]
        parts += [f"{each.chosen.title}. {_caption(table)}", Table(trust_sentences.COLUMNS, rows)]
    return parts


def _unbroken(cell: str) -> str:
    """With its interval on one line."""
    value, opening, interval = cell.partition(" (")
    return value + opening + interval.replace(" to ", f"{JOINER}…{JOINER}")


def _caption(table: TrustTable) -> str:
    few = trust.RANDOM_PICTURES_SLOW
    return (
        f"Class activation maps are of {table.layer}. Deletion is better when small, insertion when large; both on up "
        f"to {trust.CURVE_PICTURES} images. The last columns are the mean rank correlation of the absolute map with "
        f"that under random weights. They are of up to {trust.RANDOM_PICTURES} images, {few} where a method takes many "
        "passes. Intervals are 95 %."
    )


def _rows(networks: Sequence[AskedNetwork], found: Mapping[str, TrustTable]) -> list[list[str]]:
    lines: list[list[str]] = []
    for each in networks:
        if table := found.get(each.name):
            rows = trust_sentences.rows_of(table)
            lines = lines or [["network", *rows[0]]]
            lines += [[each.chosen.title, *map(_cell, row.values())] for row in rows]
    return lines


def _cell(value: str | float | int | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.6g}"
