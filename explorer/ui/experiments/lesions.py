"""The question of lesions: which blocks can a network do without?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures, stored_results
from explorer.architectures import ArchitectureSpec, Intervention, describe
from explorer.experiments import lesion_sentences, lesions, measurement
from explorer.experiments.lesions import Answers, Variant
from explorer.figures import Chart, Part, Table
from explorer.figures.lesions import Span
from explorer.labels import listed
from explorer.ui import dataset_access, forecasts, measured_images, network_registry
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.images import choose_images, images_of, images_source
from explorer.ui.experiments.question import AskedNetwork, Plan, Question
from explorer.ui.experiments.state import ExperimentsState, Removed
from explorer.ui.markdown import as_text
from explorer.ui.services.training_rate import FORWARD
from explorer.ui.session import session
from explorer.ui.widgets.bound import choice

REMOVED: dict[Removed, str] = {
    "single": "each block",
    "pairs": "each two blocks",
    "sets": "random sets",
    "swaps": "swap neighbours",
}
AXES: dict[Removed, str] = {"single": "block that is left out", "swaps": "block that changes places with the next one"}
SIZES = (1, 2, 3, 5, 8, 13, 21)  # of the random sets


def question() -> Question:
    return Question(
        title="Which blocks can a network do without?",
        method="In each pass a block is left out: its input goes on through the shortcut alone. In a plain network "
        "the input takes the place of the block's output.",
        limits=(
            "A trained network is damaged here. A network that was trained without the block could do as well.",
            "A block that can be left out is not useless: others may do the same work.",
            "Twins differ in their shortcuts alone, but each was trained once. Veit, Wilber and Belongie (2016), who "
            "asked this of ResNet-110, measured other networks than these.",
        ),
        controls=_controls,
        plan=_plan,
    )


def _controls(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> None:
    choose_images(state, networks, lesions.USUAL, _is_stored)
    choice(
        state,
        "removed",
        "What is left out",
        REMOVED,
        prefix="experiments",
        change=update_state,
        help=f"Random sets: up to {lesions.TIMES} of each size, of blocks that each network can do without.",
    )


def variants(removed: Removed, spec: ArchitectureSpec, among: Sequence[str]) -> tuple[Variant, ...]:
    """What is taken out of a network of that spec; random sets are of the blocks `among`."""
    if removed == "pairs":
        return lesions.pairs(spec)
    if removed == "sets":
        return lesions.random_sets(among, SIZES, lesions.TIMES)
    return lesions.swaps(spec) if removed == "swaps" else lesions.single(spec)


def _plan(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> Plan | None:
    images = images_of(state, networks, lesions.USUAL, _is_stored)
    if images is None:
        return None
    data, n = images
    without = [each for each in networks if not lesions.blocks(each.chosen.checkpoint.spec)]
    if without:
        title = as_text(without[0].chosen.title)
        st.info(f"{title} has no blocks that could be left out; choose another network in the bar.")
        return None

    among = lesions.removable([_spec(each) for each in networks])
    asked = f"{state.removed}-{','.join(among)}" if state.removed == "sets" else state.removed
    names = [each.name for each in networks]
    keys = {name: _key(name, data, n, asked) for name in names}
    again = _measured({name: _again_key(key) for name, key in keys.items()})
    own = again | {name: found for name, found in _measured(keys).items() if name not in again}
    kept = {name: found for name in names if (found := _stored(name, data, n, asked)) is not None}
    known = kept | own
    missing = [each for each in networks if each.name not in known]
    earlier = [each for each in networks if each.name not in own and each.name in kept]
    is_here = measured_images.data_is_here(data)
    if missing and not is_here:
        st.info(
            f"The images of {as_text(dataset_access.data_title(data))} are not on this machine, so nothing new can be "
            "measured on them. Choose other networks or each block."
        )
        return None

    changes = {each.name: variants(state.removed, _spec(each), among) for each in networks}
    passes = {each.name: lesions.passes(_spec(each), changes[each.name]) for each in networks}

    def seconds(asked: Sequence[AskedNetwork]) -> float:
        macs = sum(passes[each.name] * describe(each.chosen.checkpoint.spec).macs for each in asked)
        return n * macs / (FORWARD * forecasts.macs_a_second())

    def keep(name: str, found: Answers) -> None:
        session().results.put(keys[name], found)
        if key := _stored_key(name, data, n, asked):
            stored_results.store(key, stored_results.pack(found))

    def keep_again(name: str, found: Answers) -> None:
        session().results.put(_again_key(keys[name]), found)

    key = "/".join(("lesions", asked, data, str(n), *names))
    return Plan(
        key=key,
        cost=f"{sum(len(changes[each.name]) for each in missing):,} changed networks on {n:,} images",
        seconds=seconds(missing),
        work=lambda: _measure(missing, changes, passes, data, n, keep),
        known=known or None,
        answer=lambda found: _answer(state, networks, found),
        rows=lambda found: _rows(networks, found),
        source=images_source(n, data, networks),
        kept=" ".join(filter(None, (_kept_sentence(earlier, n), _again_sentence(again, kept)))),
        again=(_again_key(key), lambda: _measure(earlier, changes, passes, data, n, keep_again), seconds(earlier))
        if earlier and is_here
        else None,
    )


def _kept_sentence(networks: Sequence[AskedNetwork], n: int) -> str:
    """Whose answers were measured before this session; "" for none."""
    if not networks:
        return ""
    titles = listed([each.chosen.title for each in networks])
    return f"The answers of {titles} are kept: they were measured before, on these {n:,} images with these weights."


def _again_sentence(again: Mapping[str, Answers], kept: Mapping[str, Answers]) -> str:
    """How many predictions of this session differ from those that were kept; "" where none was measured again."""
    both = [(found, kept[name]) for name, found in again.items() if name in kept]
    if not both:
        return ""
    differ = sum(lesions.differences(found, before) for found, before in both)
    total = sum(found.predicted.size for found, _ in both)
    return f"Measured again in this session: {differ:,} of {total:,} predictions differ from the kept ones."


def _measure(
    networks: Sequence[AskedNetwork],
    changes: Mapping[str, tuple[Variant, ...]],
    passes: Mapping[str, float],
    data: str,
    n: int,
    keep: Callable[[str, Answers], None],
) -> Iterator[tuple[float, Any]]:
    """One network after the other; each result is kept at once."""
    yield 0.0, None  # so that the bar is there while the images are read
    images = measured_images.sample(data, n)
    split = measurement.rows(images.split, images.indices)
    total, before = sum(passes[each.name] for each in networks), 0.0
    for network in networks:
        steps = lesions.answers(network.chosen.checkpoint, split, images.class_names, changes[network.name])
        for share, found in steps:
            if found is not None:
                keep(network.name, found)
            yield min(0.999, (before + share * passes[network.name]) / total), None
        before += passes[network.name]
    yield 1.0, True


# --- what is known ----------------------------------------------------------------------------------------------------


def _key(name: str, data: str, n: int, removed: str) -> str:
    return f"lesions/{removed}/{data}/{n}/{name}"


def _again_key(key: str) -> str:
    return f"again/{key}"


def _measured(keys: Mapping[str, str]) -> dict[str, Answers]:
    """What this session measured, by the names of `keys`."""
    return {name: found for name, key in keys.items() if (found := session().results.find(key)) is not None}


def _stored(name: str, data: str, n: int, removed: str) -> Answers | None:
    """The answers that came with the app, or that were measured on this server."""
    key = _stored_key(name, data, n, removed)
    return stored_results.unpack(Answers, stored_results.load(key)) if key else None


def _is_stored(networks: Sequence[AskedNetwork], data: str) -> bool:
    """Whether the usual question about that data has a stored answer for all of them."""
    n = min(lesions.USUAL, measured_images.test_count(data))
    return all(_stored(each.name, data, n, "single") is not None for each in networks)


def _stored_key(name: str, data: str, n: int, removed: str) -> str | None:
    owned = None if data.startswith("stored-") else network_registry.digests_of_owner([name])
    if owned is None:
        return None
    owner, digests = owned
    return lesions.result_key(digests, measured_images.content(data), n, removed, owner)


# --- the answer -------------------------------------------------------------------------------------------------------


def _answer(state: ExperimentsState, networks: Sequence[AskedNetwork], found: Mapping[str, Answers]) -> Sequence[Part]:
    asked = [each for each in networks if each.name in found]
    chance = 1 / asked[0].chosen.checkpoint.spec.classes
    n = found[asked[0].name].n
    if state.removed == "pairs":
        return [part for each in asked for part in _pairs(each, found[each.name])]
    if state.removed == "sets":
        lines = [(each.series, lesion_sentences.by_size(found[each.name])) for each in asked]
        text = f"The line is the median of up to {lesions.TIMES} random sets, the band all of them. n = {n:,}."
        sentences = [
            lesion_sentences.sets_finding(each.chosen.title, sizes)
            for each, (_, sizes) in zip(asked, lines, strict=True)
        ]
        return [*sentences, Chart(figures.sets_chart(lines, chance), "Accuracy without k blocks", text)]
    curves = [(each.series, *_by_place(found[each.name])) for each in asked]
    places = figures.all_places([[block.name for block in lesions.blocks(_spec(each))] for each in asked])
    if state.removed == "swaps":
        swapped = {name for _, _, without in curves for name in without}
        places = [name for name in places if name in swapped]
    text = f"Dashed: the whole network. The lines up and down are 95 % intervals (Wilson), n = {n:,} images."
    figure = figures.lesion_chart(curves, places, AXES[state.removed], chance)
    title = "Accuracy without each block" if state.removed == "single" else "Accuracy with two blocks swapped"
    if state.removed == "single":
        titles = [each.chosen.title for each in asked]
        sentences = [
            lesion_sentences.comparison(titles, [found[each.name] for each in asked]),
            *(lesion_sentences.finding(each.chosen.title, _spec(each), found[each.name]) for each in asked),
        ]
    else:
        sentences = [lesion_sentences.swaps_finding(each.chosen.title, found[each.name]) for each in asked]
    losses = [(each.series, *_by_place(found[each.name], of_loss=True)) for each in asked]
    words = "The mean cross-entropy on the same images; the lines up and down are one standard error."
    drawn = Chart(figures.lesion_loss_chart(losses, places, AXES[state.removed]), "Loss", words)
    return [*filter(None, sentences), Chart(figure, title, text), drawn, *_losses(asked, found)]


def _spec(network: AskedNetwork) -> ArchitectureSpec:
    return network.chosen.checkpoint.spec


def _by_place(found: Answers, of_loss: bool = False) -> tuple[Span, dict[str, Span]]:
    """The value and its interval of the whole network, and of single blocks and swaps by the first place of each."""
    spans: list[Span] = [(each.share, each.low, each.high) for each in found.accuracies]
    if of_loss:
        pairs = zip(found.mean_losses.tolist(), found.loss_errors.tolist(), strict=True)
        spans = [(loss, loss - error, loss + error) for loss, error in pairs]
    whole, *others = spans
    places = [Intervention.parse(text).place for text in found.variants]
    return whole, dict(zip(places, others, strict=True))


def _pairs(network: AskedNetwork, found: Answers) -> list[Part]:
    title = network.chosen.title
    sentence = lesion_sentences.pairs_finding(title, found)
    if not found.variants:
        return [sentence]
    accuracies = {pair: found.accuracies[row] for pair, row in lesion_sentences.of_pairs(found).items()}
    places = [block.name for block in lesions.blocks(_spec(network)) if not block.reason]
    figure = figures.pairs_chart(accuracies, places, title)
    return [sentence, Chart(figure, f"Accuracy of {title} without two blocks", f"n = {found.n:,} images.")]


def _losses(networks: Sequence[AskedNetwork], found: Mapping[str, Answers]) -> list[Part]:
    rows = []
    for each in networks:
        answers = found[each.name]
        changes = answers.mean_losses[1:] - answers.mean_losses[0]
        if len(changes):
            worst = int(changes.argmax())
            rows.append(
                [
                    each.chosen.title,
                    f"{answers.mean_losses[0]:.3f} ± {answers.loss_errors[0]:.3f}",
                    f"{answers.mean_losses[0] + np.median(changes):.3f}",
                    f"{answers.mean_losses[1 + worst]:.3f} ± {answers.loss_errors[1 + worst]:.3f}",
                ]
            )
    columns = ["network", "loss (± standard error)", "median of the changed ones", "largest"]
    return [Table(columns, rows)] if rows else []


def _rows(networks: Sequence[AskedNetwork], found: Mapping[str, Answers]) -> list[list[str]]:
    rows = [["network", "change", "right", "images", "accuracy", "low", "high", "loss", "standard error"]]
    for each in networks:
        if answers := found.get(each.name):
            for index, accuracy in enumerate(answers.accuracies):
                numbers = (accuracy.share, accuracy.low, accuracy.high)
                losses = (answers.mean_losses[index], answers.loss_errors[index])
                rows.append(
                    [
                        each.chosen.title,
                        answers.variants[index - 1] if index else "none",
                        str(accuracy.right),
                        str(accuracy.n),
                        *(f"{value:.6g}" for value in (*numbers, *losses)),
                    ]
                )
    return rows
