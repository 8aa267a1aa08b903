"""Compare, first row and last sentence: test and training accuracy, who is wrong where, and what follows of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from explorer.experiments.agreement import Predictions, agreement
from explorer.ui import lesson, navigation, network_registry
from explorer.ui.compare.spec_diff import training_accuracy
from explorer.ui.markdown import as_text
from explorer.ui.network_text import is_number
from explorer.ui.services.inference import ChosenNetwork

ALIKE = 0.01  # of accuracy: networks that differ by less are about equally accurate


@dataclass(frozen=True)
class Accuracies:
    """Of one network: the shares 0..1 of its test and its training images that it predicts rightly; None was not
    measured."""

    title: str
    test: float | None
    training: float | None


def accuracies(network: ChosenNetwork, said: Predictions | None) -> Accuracies:
    """The test accuracy is that of the measured predictions, else the one in the network's file."""
    found = network.checkpoint.metrics.get("test")
    test = found.get("accuracy") if isinstance(found, dict) else None
    if said is not None:
        test = float(said.right.mean())
    return Accuracies(network.title, test if is_number(test) else None, training_accuracy(network.checkpoint))


def _images_tested(network: ChosenNetwork, said: Predictions | None) -> int | None:
    """How many test images that accuracy is of; None where it was not measured."""
    found = network.checkpoint.metrics.get("test")
    n = found.get("n") if isinstance(found, dict) else None
    return len(said) if said is not None else int(n) if is_number(n) else None


def show(networks: Sequence[ChosenNetwork], said: Mapping[str, Predictions]) -> None:
    """A tile for each network, and for two also how many images only one of them has right. `said` are the predictions
    that are measured."""
    with st.container(horizontal=True, gap="small", key="verdict"):
        for network in networks:
            found = accuracies(network, said.get(network.name))
            training = "not measured" if found.training is None else f"{found.training:.1%}"
            test = None if found.test is None else f"{found.test:.1%}"  # Streamlit writes None as a dash
            _tile(f"{network.title}: test accuracy", test, f"training {training}")
        if len(said) == len(networks) == 2:
            first, second = networks
            counts = agreement(said[first.name], said[second.name])
            for network, count in ((second, counts.only_b), (first, counts.only_a)):
                _tile(f"Only {network.title} is right", f"{count:,}", f"of {counts.n:,} test images")
    images = {network.title: _images_tested(network, said.get(network.name)) for network in networks}
    measured = [f"{as_text(title)} {n:,}" for title, n in images.items() if n]
    if measured:
        alike = len({*images.values()}) == 1
        st.caption(
            f"Test images: n = {next(iter(images.values())):,}." if alike else f"Test images: {', '.join(measured)}."
        )
    pair = comparable(networks, said)
    if cause := cause_sentence(*pair):
        lesson.explain(f"**{as_text(cause)}**")
    if pair[0].test is None:
        st.caption("The networks were tested on different images, so their accuracies cannot be compared.")


def _tile(label: str, value: str | None, below: str) -> None:
    st.metric(as_text(label), value, below, delta_color="off", delta_arrow="off", border=True, width=236)


# --- sentences --------------------------------------------------------------------------------------------------------


def cause_sentence(first: Accuracies, second: Accuracies) -> str:
    """Whether the less accurate network overfits, by both training accuracies; "" where that is not known.

    It does not where at least half of the gap on the test images is there on the training images too.
    """
    if first.test is None or second.test is None:
        return ""
    worse, better = sorted((first, second), key=lambda each: each.test or 0.0)
    if _is_alike(first, second):
        return f"{first.title} and {second.title} are about equally accurate on test images."
    if worse.training is None or better.training is None:
        return ""
    shares = f"({worse.training:.1%} against {better.training:.1%})"
    if is_harder_to_train(worse, better):
        words = f"{worse.title} is worse on its training images too {shares}"
        return f"{words}: it is harder to train; overfitting is not the reason."
    return f"{worse.title} fits its training images about as well {shares} and is worse on test images: it overfits."


def _is_alike(first: Accuracies, second: Accuracies) -> bool:
    return first.test is not None and second.test is not None and abs(first.test - second.test) < ALIKE


def is_harder_to_train(worse: Accuracies, better: Accuracies) -> bool:
    known = (worse.test, better.test, worse.training, better.training)
    if any(each is None for each in known):
        return False
    test_w, test_b, training_w, training_b = (each or 0.0 for each in known)
    return training_b - training_w >= (test_b - test_w) / 2


def finding(first: Accuracies, second: Accuracies) -> str:
    """What the page has found about its first two networks, at most 25 words; "" without their test accuracies."""
    if first.test is None or second.test is None:
        return ""
    worse, better = sorted((first, second), key=lambda each: each.test or 0.0)
    if _is_alike(first, second):
        return f"{first.title} ({first.test:.1%}) and {second.title} ({second.test:.1%}) are about equally accurate."
    words = f"{worse.title} reaches {worse.test:.1%} of test accuracy where {better.title} reaches {better.test:.1%}"
    if worse.training is None or better.training is None:
        return f"{words}."
    return f"{words}: {worse.title} {'is harder to train' if is_harder_to_train(worse, better) else 'overfits'}."


def comparable(networks: Sequence[ChosenNetwork], said: Mapping[str, Predictions]) -> tuple[Accuracies, Accuracies]:
    """Of the first two networks, without what is of different images: accuracies on these cannot be compared."""
    pair = networks[:2]
    first, second = (accuracies(network, said.get(network.name)) for network in pair)
    if len({network.checkpoint.data for network in pair}) > 1:
        first, second = (replace(each, training=None) for each in (first, second))
        if not {network.name for network in pair} <= {*said}:
            first, second = (replace(each, test=None) for each in (first, second))
    return first, second


def ending(networks: Sequence[ChosenNetwork], said: Mapping[str, Predictions]) -> None:
    """The finding, and the next question as a link with the pair."""
    names = [network.listed for network in networks[:2]]
    query = {"source": "checkpoint", "first": names[0], "second": names[1]}
    page = "gradients" if network_registry.same_classes(*names) else ""
    navigation.ending(finding(*comparable(networks, said)), page, "What reaches the first layer?", query)
