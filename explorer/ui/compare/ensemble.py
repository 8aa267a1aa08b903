"""Compare, as an ensemble: the weighted mean of the networks' probabilities, against each of them alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st

from explorer import figures
from explorer.experiments import agreement, ensembles
from explorer.experiments.agreement import Predictions
from explorer.experiments.ensembles import Ensemble, LearnedWeights, Member, Origin, Outcome
from explorer.figures import Chapter, Chart, Part, Series, Table
from explorer.figures.charts import GREY
from explorer.ui import client, dataset_access, measured_images, network_registry, user_models
from explorer.ui.compare import ensemble_map, measurements
from explorer.ui.compare.comparison import ComparedNetwork, update_state
from explorer.ui.compare.measurements import Choice, Measurement, Request
from explorer.ui.compare.state import CompareState
from explorer.ui.markdown import as_text
from explorer.ui.network_text import source_text
from explorer.ui.parts import draw
from explorer.ui.services import ensemble_store
from explorer.ui.services.input_images import InputImage
from explorer.ui.widgets import long_task
from explorer.ui.widgets.bound import choice as choose_one
from explorer.ui.widgets.callback_errors import report_errors, show_error

HEADING = "As an ensemble"
_IMAGES = 8  # of each kind: corrected, and newly wrong
_SIDE = 96  # pixels of an image
_KEPT_KEY = "ensemble_kept"

Said = Mapping[str, Predictions]  # of each network by name


def section(
    state: CompareState,
    choice: Choice,
    requests: Mapping[str, Request],
    compared: Sequence[ComparedNetwork],
    subject: InputImage,
    key: str,
) -> ensemble_map.EnsembleMap | None:
    """The weights, the accuracy against each network alone, the images that change, the CAM, and a way to keep it.
    Returns the CAM where there is one."""
    st.markdown(
        "An ensemble answers with the mean of its members' probabilities. Here every network of this page is a member."
    )
    if not choice.is_labelled:
        st.info(
            "An ensemble needs labelled images, and networks that know the same classes. Choose such networks or "
            "images above."
        )
        return None
    said = measurements.known(requests["said"], compared)
    chosen = _choose_weights(state, choice, compared, key)
    if chosen is None:
        return None
    weights = chosen.weights
    note = " The test images below took no part." if state.weights == "learned" else ""
    st.caption(as_text(chosen.sentence + note))
    found = None
    if len(said) == len(compared):
        found = ensembles.outcome([said[network.name] for network in compared], weights)
        source = f"Images: {requests['said'].images}. {source_text(compared)}"
        draw(_parts(compared, found, weights), f"{key}-ensemble", source)
        _changed_images(requests["said"], compared, said, found, key)
    else:
        st.info("Measure the predictions of these networks above; the ensemble's follow from them without a pass.")
    seen = ensemble_map.show(state, compared, subject, weights)
    _keep(choice, compared, chosen, found)
    return seen


def chapters(compared: Sequence[ComparedNetwork], kept: Mapping[str, Measurement]) -> list[Chapter]:
    """The ensemble with equal weights for a report, a chapter for each set of images on which all are measured."""

    def parts(request: Request, measured: Sequence[Measurement]) -> list[Part]:
        said = {each.names[0]: each.result for each in measured}
        weights = ensembles.uniform(len(compared))
        found = ensembles.outcome([said[network.name] for network in compared], weights)
        intro = f"The mean of the probabilities of all these networks, with equal weights, on {request.images}."
        return [intro, *_parts(compared, found, weights)]

    requests = measurements.by_request(kept, "said", compared)
    names = {network.name for network in compared}
    whole = {
        request for request, measured in requests.items() if len({each.names for each in measured}) == len(names) > 1
    }
    complete = {key: each for key, each in kept.items() if each.request in whole}
    return measurements.chapters(complete, "said", compared, HEADING, parts)


# --- the weights -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chosen:
    """Weights in the order of the networks, a sentence on where the view has them from, and the `origin` and
    `learned_on` of an `Ensemble` that keeps them."""

    weights: tuple[float, ...]
    sentence: str
    origin: Origin = "uniform"
    learned_on: str = ""


def _choose_weights(
    state: CompareState, choice: Choice, compared: Sequence[ComparedNetwork], key: str
) -> _Chosen | None:
    """The weights of the view; None while they are to be learned."""
    words = {"uniform": "equal", "learned": "learned on validation images"}
    kept = ensemble_store.find(state.weights.removeprefix("kept-"))
    of_kept = kept and _weights_of(kept.ensemble, compared)
    if kept and of_kept:
        words[state.weights] = f"kept: {as_text(kept.title)}"
    shown = state if state.weights in words else replace(state, weights="uniform")
    choose_one(
        shown,
        "weights",
        "Weights of the networks",
        words,
        prefix="compare",
        change=update_state,
        help="Learned: the weights with the lowest cross-entropy on the validation images, which are not among the "
        "test images of this page.",
    )
    if state.weights not in words:
        st.info("The kept ensemble of this link has other networks, or is deleted, so the weights are equal.")
    if kept and of_kept:
        sentence = f"The weights are those of the kept ensemble {kept.title}."
        return _Chosen(of_kept, sentence, kept.ensemble.origin, kept.ensemble.learned_on)
    if shown.weights == "uniform":
        return _Chosen(ensembles.uniform(len(compared)), f"Each network has the weight 1/{len(compared)}.")
    if not choice.is_here:
        st.info("The validation images are not on this machine, so no weights can be learned; choose other images.")
        return None
    learned: list[LearnedWeights] = []
    long_task.long_task(
        f"weights/{choice.data}/{','.join(network.name for network in compared)}",
        "Learn the weights",
        lambda: _learn(choice.data, compared),
        learned.append,
    )
    if not learned:
        return None
    sentence = learned_sentence(learned[0], choice.data)
    return _Chosen(learned[0].weights, sentence, "learned", sentence)


def _weights_of(kept: Ensemble, compared: Sequence[ComparedNetwork]) -> tuple[float, ...] | None:
    """Its weights in the order of these networks; None where it has other members."""
    weights = dict(zip((member.digest for member in kept.members), kept.weights, strict=True))
    digests = [network_registry.weights_digest(network.name) for network in compared]
    return tuple(weights[digest] for digest in digests) if {*digests} == {*weights} else None


def _learn(data: str, compared: Sequence[ComparedNetwork]) -> long_task.TaskSteps[LearnedWeights]:
    yield 0.0, None  # so that the bar is there while the images are read
    split, class_names = dataset_access.validation_split(data)
    if not len(split):
        raise ValueError("these images have no validation split, so no weights can be learned; choose other images.")
    said: list[Predictions] = []
    for place, network in enumerate(compared):
        for share, result in agreement.predictions(network.checkpoint, split, class_names):
            if result is not None:
                said.append(result)
            yield (place + share) / len(compared) * 0.99, None
    yield 1.0, ensembles.learn_weights(said)


def learned_sentence(learned: LearnedWeights, data: str) -> str:
    """On which images the weights were learned, and what they gain there over equal ones."""
    gained = learned.uniform_loss - learned.loss
    words = (
        f"falls from {learned.uniform_loss:.4f} with equal weights to {learned.loss:.4f} nats"
        if gained >= 5e-5
        else f"is {learned.loss:.4f} nats, as with equal weights"
    )
    return (
        f"Learned on the {learned.n:,} validation images of {dataset_access.data_title(data)}, where the loss {words}."
    )


# --- against each network alone --------------------------------------------------------------------------------------


def _parts(compared: Sequence[ComparedNetwork], found: Outcome, weights: Sequence[float]) -> list[Part]:
    titles = [network.title for network in compared]
    lines = [(Series("Ensemble", GREY), found.accuracy)]
    lines += [(network.series, alone) for network, alone in zip(compared, found.alone, strict=True)]
    rows = [["Ensemble", "1", f"{found.accuracy.right:,}", *_interval(found.accuracy), "", "", ""]]
    for title, weight, alone, counts in zip(titles, weights, found.alone, found.against, strict=True):
        p = f"{counts.p_value:.2g}" if counts.p_value >= 1e-4 else "< 0.0001"
        changed = [f"{counts.only_a:,}", f"{counts.only_b:,}", p]
        rows.append([title, f"{weight:.3f}", f"{alone.right:,}", *_interval(alone), *changed])
    heads = ["network", "weight", "right", "accuracy", "95 % interval (Wilson)"]
    heads += ["corrected by the ensemble", "made wrong by it", "McNemar's p"]
    text = f"The lines are 95 % intervals (Wilson). n = {found.accuracy.n:,} images."
    return [
        ensembles.finding(titles, found),
        _disagreement(found),
        Chart(figures.accuracy_chart(lines), "The ensemble and each network alone", text),
        Table(heads, rows),
        "The best member is chosen on these very images, which favours it. With several tests a small p is likelier.",
    ]


def _interval(found: agreement.Accuracy) -> tuple[str, str]:
    return f"{found.share:.2%}", f"{found.low:.2%} to {found.high:.2%}"


def _disagreement(found: Outcome) -> str:
    """How much the members could give each other, and whether the mean is right where none of them is."""
    if not found.none_right:
        return "For every image at least one network is right alone."
    images = "1 image is" if found.none_right == 1 else f"{found.none_right:,} images are"
    return (
        f"{images} classified rightly by no network alone; of these the ensemble has {found.right_without_any:,} right."
    )


def _changed_images(
    request: Request, compared: Sequence[ComparedNetwork], said: Said, found: Outcome, key: str
) -> None:
    """The images that the ensemble has right and a chosen network has wrong, and the other way round."""
    if not measured_images.data_is_here(request.data):
        st.caption("The images are not on this machine, so the ones that change cannot be shown.")
        return
    st.markdown("**Where it helps and where it hurts**")
    names = [network.name for network in compared]
    titles = {network.name: network.title for network in compared}
    name = st.selectbox(
        "Against",
        names,
        index=found.best,
        key=f"{key}-against-{len(names)}",
        format_func=titles.__getitem__,
        width=320,
    )
    sample = measured_images.sample(request.data, request.n)
    alone = said[name]
    for indices, words in zip(ensembles.changed(found.predictions, alone), ("corrects", "makes wrong"), strict=True):
        shown = indices[:_IMAGES]
        first = f"; here are the {len(shown)} that change most" if len(indices) > len(shown) else ""
        images = "1 image" if len(indices) == 1 else f"{len(indices):,} images"
        st.markdown(as_text(f"Against {titles[name]}, the ensemble {words} {images}{first}."))
        with st.container(horizontal=True, gap="small"):
            for index in map(int, shown):
                with st.container(width=_SIDE + 50):
                    _draw_image(sample, index, found.predictions, alone, titles[name])


def _draw_image(
    sample: measured_images.TestSample, index: int, of: Predictions, alone: Predictions, title: str
) -> None:
    number, names = int(sample.indices[index]), of.class_names
    pixels = figures.fit_to_screen(sample.pixels(index), _SIDE)
    st.image(pixels, output_format="PNG", width=_SIDE, alt=f"Test image {number}")
    lines = [f"**{as_text(names[of.labels[index]])}**"]
    for who, said in (("ensemble", of), (title, alone)):
        predicted = int(said.predicted[index])
        mark = "✓" if said.right[index] else "✗"
        words = f"{mark} {who}: {names[predicted]}, {float(said.probabilities[index, predicted]):.0%}"
        lines.append(as_text(words))
    st.markdown("  \n".join(lines))


# --- kept ------------------------------------------------------------------------------------------------------------


def _keep(choice: Choice, compared: Sequence[ComparedNetwork], chosen: _Chosen, found: Outcome | None) -> None:
    """A name and a button that keeps the ensemble with its members and weights."""
    st.markdown("**Keep this ensemble**")
    st.caption(
        "It is kept as a list of its networks, by the checksum of their weights, with the weight of each. Models lists "
        "it and opens it here. The other pages look into one network at a time."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        usual = f"Ensemble of {len(compared)}"
        title = st.text_input("Name of the ensemble", usual, key="ensemble_title", max_chars=80, width=320)
        st.button(
            "Keep",
            key="keep_ensemble",
            on_click=partial(_write, title, choice, compared, chosen, found),
        )
    show_error()
    if st.session_state.pop(_KEPT_KEY, False):
        st.success("The ensemble is kept: it stands on the page Models.")


def _write(
    title: str, choice: Choice, compared: Sequence[ComparedNetwork], chosen: _Chosen, found: Outcome | None
) -> None:
    with report_errors("the ensemble cannot be kept"):
        if any(each.step is not None for each in compared):
            raise ValueError("an ensemble is kept of finished networks; move the step of the training to its end.")
        members = tuple(Member(each.name, each.title, network_registry.weights_digest(each.name)) for each in compared)
        metrics = None
        if found is not None:
            about = {"accuracy": found.accuracy.share, "n": found.accuracy.n}
            metrics = {"test": about, "data": dataset_access.data_title(choice.data)}
        ensemble = Ensemble(
            members,
            chosen.weights,
            dataset_access.class_names(choice.data),
            chosen.origin,
            chosen.learned_on,
            metrics,
        )
        ensemble_store.keep(client.owner(), user_models.validate_title(title), ensemble)
        st.session_state[_KEPT_KEY] = True
