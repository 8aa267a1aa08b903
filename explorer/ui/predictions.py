"""What each network says about the picture, beside the picture itself and what is left of it at the input."""

import html
import re

import numpy as np
import streamlit as st

from explorer import figures
from explorer.attribution import top_classes
from explorer.images import to_pixels
from explorer.ui.compare import NOT_MEASURED, accuracy
from explorer.ui.resources import Looked, Subject

_SMALL = 64  # pixels of a side up to which a browser enlarges with hard edges
_STYLE = """
    .around { container-type: inline-size; }
    .predictions { display: grid; gap: 1rem 1.5rem; align-items: start; }
    @container (max-width: 760px) { .predictions { grid-template-columns: repeat(2, minmax(0, 1fr)) !important; } }
    .predictions p { margin: 0 0 0.5rem; overflow-wrap: anywhere; }
    .predictions p:first-child { min-height: 3.2em; } /* two lines, so that what is under them stands in line */
    .predictions p:last-child { font-size: 0.875rem; opacity: 0.75; }
    .predictions img { width: 100%; max-width: 320px; border-radius: 0.375rem; display: block; margin-bottom: 0.75rem; }
    .predictions img.small { image-rendering: pixelated; }
"""


def predictions(subject: Subject, looked: list[Looked]) -> None:
    """One element, since each more is laid out anew with every picture."""
    height, width = subject.pixels.shape[:2]
    seen = to_pixels(looked[0].trace.image, looked[0].checkpoint.mean, looked[0].checkpoint.std)
    words = "" if subject.pixels.shape == seen.shape else "Cropped and resized. "
    words += "Each small square is one pixel of the input." if max(seen.shape) <= _SMALL else ""
    parts = [
        f"<p><b>Original</b>, {width}×{height}</p>{_image(subject.pixels, subject.shown, subject.title)}"
        f"<p>{_coded('. '.join([subject.title, *(note.rstrip('.') for note in subject.notes)]))}</p>",
        f"<p><b>As the network sees it</b>, {seen.shape[1]}×{seen.shape[0]}</p>"
        f"{_image(seen, seen, 'The input of the network, enlarged')}<p>{words}</p>",
        *(_network(network, subject) for network in looked),
    ]
    columns = f"grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) repeat({len(looked)}, minmax(0, 1.5fr))"
    cells = "".join(f"<div>{part}</div>" for part in parts)
    st.html(
        f'<style>{_STYLE}</style><div class="around"><div class="predictions" style="{columns}">{cells}</div></div>'
    )
    if len({network.trace.target for network in looked}) > 1:
        names = " and ".join(html.escape(network.target) for network in looked)
        st.html(
            f'<p style="font-size:0.875rem;opacity:0.75;margin:0">The networks predict different classes, so each map '
            f"below explains its own: {names}. Choose a class to explain in the sidebar to compare them on one.</p>"
        )


def _image(pixels: np.ndarray, shown: np.ndarray, alt: str) -> str:
    small = max(pixels.shape[:2]) <= _SMALL
    source = figures.data_uri(pixels) if small else figures.photo_uri(shown)
    return f'<img src="{source}" class="{"small" if small else ""}" alt="{html.escape(alt)}">'


def _coded(text: str) -> str:
    """The text as HTML, with what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def _network(network: Looked, subject: Subject) -> str:
    known = accuracy(network.checkpoint)
    best = top_classes(network.trace)
    if network.trace.target not in [index for index, _ in best]:
        best.append((network.trace.target, float(network.trace.probabilities[network.trace.target])))
    bars = figures.class_bars(
        [network.checkpoint.class_names[index] for index, _ in best],
        [probability for _, probability in best],
        network.colour,
        network.target,
        alt=f"The five most probable classes of {network.title}",
    )
    heading = f"<b>{html.escape(network.title)}</b>{'' if known == NOT_MEASURED else f', {html.escape(known)}'}"
    return f"<p>{heading}</p>{bars}<p>{html.escape(_verdict(network, subject))}</p>"


def _verdict(network: Looked, subject: Subject) -> str:
    names, record = network.checkpoint.class_names, network.checkpoint.record
    predicted = names[network.trace.prediction]
    right = ""
    if subject.label in names:
        right = ": right" if predicted == subject.label else f": wrong, it is a {subject.label}"
    seed = "" if network.checkpoint.seed is None else f", seed {network.checkpoint.seed}"
    where = f"; measured on {str(record['device'])[:80]}" if "device" in record else ""
    return f"Says {predicted}{right}. Trained on {network.checkpoint.data}{seed}{where}."
