"""What each network predicts, beside the picture itself and what is left of it at the input."""

from dataclasses import replace
from typing import Any

import numpy as np

from explorer.attribution import top_classes
from explorer.figures.text_escaping import shortened
from explorer.images import REST, to_pixels, visible_part
from explorer.labels import with_article
from explorer.ui.api.binary import MessageWriter, json_float
from explorer.ui.network_text import NOT_MEASURED, UPLOADED_DATA, accuracy_text, dataset_title
from explorer.ui.services.inference import NetworkResult, input_pixels, pixels_for
from explorer.ui.services.input_images import InputImage

_SMALL = 64  # pixels of a side up to which a browser enlarges with hard edges
_LONGEST = 28  # letters of a class name beside its bar


def pack_predictions(writer: MessageWriter, subject: InputImage, results: list[NetworkResult]) -> dict[str, Any]:
    """What `predictions.js` shows: the pixels go into the message. None of the words is markup, they become text."""
    height, width = subject.pixels.shape[:2]
    first, changes = results[0].checkpoint, subject.changes
    seen = to_pixels(results[0].trace.image, first.mean, first.std)
    given, _ = pixels_for(first, subject)
    words = "" if subject.frame is None and given.shape == seen.shape else "Cropped and resized. "
    words += "Made grey, as the network takes it. " if first.spec.input_shape[0] == 1 else ""
    if subject.decoded is not None and given is not subject.pixels:
        words += f"Rendered as the images of its training: {first.rendering.on(subject.paper)}. "
    elif given is not subject.pixels:
        words += "The same scene, drawn at the size of its training. "
    words += "Each small square is one pixel of the input." if max(seen.shape) <= _SMALL else ""
    said = ". ".join([subject.title, *(note.rstrip(".") for note in subject.notes)])
    names = " and ".join(network.target for network in results)
    note = (
        f"The networks predict different classes, so each map below explains its own: {names}. Choose a class to "
        "explain above to compare them on one."
    )
    original = {"title": "Original", "size": f"{width}×{height}", "alt": subject.plain_title, "words": said}
    if np.array_equal(subject.pixels, input_pixels(first, replace(subject, dials=REST))):  # as a drawn shape is
        changed = {"title": "Changed image", "alt": subject.caption, "words": f"{said}. {changes}."} if changes else {}
        pictures = [original | changed | _picture(writer, seen)]
    else:
        pictures = [original | _picture(writer, subject.pixels if _is_small(subject.pixels) else subject.shown)]
        size, alt = f"{seen.shape[1]}×{seen.shape[0]}", "The input of the network, enlarged"
        words += f" Changed: {changes}." if changes else ""
        got = {"title": "As the network sees it", "size": size, "alt": alt, "words": words}
        pictures.append(got | _picture(writer, seen))
    return {
        "pictures": pictures,
        "changed": bool(changes),
        "networks": [_network(network, subject) for network in results],
        "paper": _paper(results, subject),
        "finding": _finding(results, subject),
        "note": note if len({network.trace.target for network in results}) > 1 else None,
    }


def _paper(results: list[NetworkResult], subject: InputImage) -> str | None:
    """The colour under the transparent parts, None where the picture has none."""
    if subject.decoded is None or not subject.decoded.transparent:
        return None
    return results[0].checkpoint.rendering.on(subject.paper).paper


def _finding(results: list[NetworkResult], subject: InputImage) -> str:
    """What the networks predict of the picture, in one sentence."""
    said = [network.checkpoint.class_names[network.trace.prediction] for network in results]
    first, second = results[0], results[-1]
    if len(results) == 1:
        return f"{first.title} predicts {said[0]}."
    if said[0] == said[1]:
        verdict = ""
        if subject.label in first.checkpoint.class_names:
            verdict = ", which is right" if said[0] == subject.label else f", and it is {with_article(subject.label)}"
        return f"Both networks predict {said[0]}{verdict}."
    if subject.label in said:
        right = said.index(subject.label)
        wrong = 1 - right
        return f"{results[right].title} is right ({said[right]}), and {results[wrong].title} is wrong ({said[wrong]})."
    return f"{first.title} predicts {said[0]}, and {second.title} predicts {said[1]}."


def _is_small(pixels: np.ndarray) -> bool:
    return max(pixels.shape[:2]) <= _SMALL


def _picture(writer: MessageWriter, pixels: np.ndarray) -> dict[str, Any]:
    """Where its RGB values begin, its height and its width."""
    return {"small": _is_small(pixels), "pixels": writer.picture(pixels)}


def _network(network: NetworkResult, subject: InputImage) -> dict[str, Any]:
    known = accuracy_text(network.checkpoint)
    beside, probabilities = network.beside, network.trace.probabilities
    best = top_classes(network.trace)
    for index in (network.trace.target, *([beside.prediction] if beside else [])):
        if index not in [other for other, _ in best]:
            best.append((index, float(probabilities[index])))
    names = network.checkpoint.class_names
    return {
        "title": network.title,
        "colour": network.colour,
        "dashed": network.dashed,
        "accuracy": None if known == NOT_MEASURED else f"untouched {known}" if network.untouched else known,
        "beside": ("clean" if network.clean else "untouched") if beside else None,
        "classes": [
            {
                "name": names[index],
                "short": shortened(names[index], _LONGEST),
                "probability": json_float(probability),
                "before": json_float(beside.probabilities[index]) if beside else None,
                "explained": index == network.trace.target,
            }
            for index, probability in best
        ],
        "right": names[network.trace.prediction] == subject.label if subject.label in names else None,
        "part": _part(network, subject),
        "verdict": _verdict(network, subject),
    }


def _part(network: NetworkResult, subject: InputImage) -> tuple[float, float, float, float]:
    """The part of the original that the network gets; a scene that is drawn anew at its size has the same parts."""
    given, _ = pixels_for(network.checkpoint, subject)
    _, height, width = network.checkpoint.spec.input_shape
    return visible_part(given.shape[:2], (height, width), network.checkpoint.resize_shorter_to, subject.frame)


def _verdict(network: NetworkResult, subject: InputImage) -> str:
    names = network.checkpoint.class_names
    predicted = names[network.trace.prediction]
    right = ""
    if subject.label in names:
        right = ": right" if predicted == subject.label else f": wrong, it is {with_article(subject.label)}"
    seed = "" if network.checkpoint.seed is None else f", seed {network.checkpoint.seed}"
    data = network.checkpoint.data
    family = data.removeprefix(UPLOADED_DATA)
    if family != data:
        return f"Predicts {predicted}{right}. Uploaded ({family}); the file does not name its training data."
    return f"Predicts {predicted}{right}. Trained on {dataset_title(data)}{seed}."
