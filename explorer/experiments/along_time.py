"""A network along its training: its answers and Grad-CAMs for one image, and CKA of its layers between all steps."""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explorer.architectures import ArchitectureSpec, Network, describe
from explorer.checkpoints import Checkpoint
from explorer.experiments import similarity
from explorer.experiments.similarity import Grams
from explorer.tracing import STRIP_KINDS, read_only, trace
from explorer.views import grad_cam

Load = Callable[[int], Checkpoint]
"""The network after so many steps of its training. It may raise CheckpointError."""

USUAL = 100  # images that steps are compared on
SETTLED = 0.9  # of CKA with the end
MOST_BYTES = 300_000_000  # of Gram matrices
NO_STEPS = "no weights of earlier steps are kept of this network; train it with weight snapshots."
LIMITS = (
    "Weights are kept at some steps alone, and rounded to bfloat16; what lies between is not told.",
    "In the first steps the running statistics of BatchNorm lag behind the weights, so these answers are worse than "
    "those in training mode.",
    "One image tells how this answer came about, not how the network learns on the whole.",
    "CKA compares which images a layer represents as similar. It is blind to rotations of the channels, and a few "
    "strong directions can rule it.",
)


@dataclass(frozen=True, eq=False)
class Moment:
    """A network after `step` steps: its `probabilities`, float64 (classes,), and the raw Grad-CAM of one layer, float32
    (H, W), >= 0."""

    step: int
    probabilities: np.ndarray
    cam: np.ndarray

    @property
    def prediction(self) -> int:
        return int(self.probabilities.argmax())


@dataclass(frozen=True, eq=False)
class TimeStrip:
    """The moments of one network in the order of their steps; the Grad-CAMs are of `layer` for the class `target`."""

    layer: str
    target: int
    moments: tuple[Moment, ...]

    @property
    def top(self) -> float:
        """The largest value of all maps."""
        return float(max(moment.cam.max() for moment in self.moments))


@dataclass(frozen=True, eq=False)
class StepSimilarity:
    """Linear CKA of L layers with themselves at T steps, on `n` images.

    `cka` and `debiased` are float64 (L, T, T), as in `similarity.Similarity`, masked where a layer has none;
    `undefined` gives the reasons, by layer and step.
    """

    steps: tuple[int, ...]
    layers: tuple[str, ...]
    cka: np.ma.MaskedArray
    debiased: np.ma.MaskedArray
    n: int
    undefined: dict[tuple[str, int], str]

    @property
    def to_end(self) -> np.ma.MaskedArray:
        """The debiased CKA of each layer at each step with itself at the last one, (L, T)."""
        return self.debiased[:, :, -1]

    def settled(self, layer: int) -> int | None:
        """The first step from which on the layer keeps a CKA of `SETTLED` or more with its end; None where that is not
        defined."""
        values = self.to_end[layer]
        if np.ma.getmaskarray(values).any():
            return None
        below = np.flatnonzero(values.filled(0.0)[:-1] < SETTLED)  # with itself it is 1 up to rounding
        return self.steps[below[-1] + 1 if len(below) else 0]


def layers_of(spec: ArchitectureSpec) -> list[str]:
    """The layers that have both a Grad-CAM and a CKA: convolutions and blocks of 2 pixels or more."""
    return [
        layer.name
        for layer in describe(spec).layers
        if layer.kind in similarity.KINDS and layer.kind in STRIP_KINDS and math.prod(layer.output_shape[1:]) > 1
    ]


def check(spec: ArchitectureSpec, steps: Sequence[int], layer: str) -> None:
    """Raises ValueError, one sentence, where there are no steps or the network has no such layer with maps."""
    if not steps:
        raise ValueError(NO_STEPS)
    if list(steps) != sorted(set(steps)):
        raise ValueError(f"`steps` must rise, received {list(steps)}; sort them.")
    known = layers_of(spec)
    if layer not in known:
        some = f"{', '.join(known[:3])} … {known[-1]}" if len(known) > 4 else ", ".join(known)
        raise ValueError(f"the network has no layer {layer!r:.60} with feature maps; choose one of {some or 'none'}.")


def time_strip(
    load: Load, steps: Sequence[int], image: np.ndarray, layer: str, target: int | None = None
) -> Generator[tuple[float, TimeStrip | None], None, None]:
    """The strip of one image, float32 (C, H, W), normalised: at each of the `steps` what `trace` and `views.grad_cam`
    give. `target` is the explained class, by default the prediction at the last step.

    Yields (fraction done, None) after every step and at last (1.0, the strip). Raises ValueError as `check` and `trace`
    do, and CheckpointError.
    """
    if not steps:
        raise ValueError(NO_STEPS)
    found: dict[int, Moment] = {}
    for step in [*steps[-1:], *steps[:-1]]:  # the last one first: it may say which class is explained
        loaded = load(step)
        if not found:
            check(loaded.spec, steps, layer)
        passed = trace(loaded.network, image, target)
        target = passed.target
        found[step] = Moment(step, read_only(passed.probabilities), read_only(grad_cam(passed[layer])))
        yield 0.999 * len(found) / len(steps), None
    assert target is not None
    yield 1.0, TimeStrip(layer, target, tuple(found[step] for step in steps))


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates of comparing `steps` on `n` images, and bytes of all Gram matrices together."""

    macs: int
    bytes: int
    steps: int
    n: int

    def check(self) -> None:
        """Raises ValueError, with the numbers, for more than memory holds."""
        if self.bytes > MOST_BYTES:
            raise ValueError(
                f"{self.n:,} images at {self.steps} steps need {self.bytes / 1e6:,.0f} MB, and "
                f"{MOST_BYTES / 1e6:,.0f} MB is the most; choose fewer images."
            )


def cost(spec: ArchitectureSpec, steps: int, n: int) -> Cost:
    layers = sum(layer.kind in similarity.KINDS for layer in describe(spec).layers)
    return Cost(steps * similarity.cost(spec, n).macs, 4 * steps * layers * n * n, steps, n)


def step_similarity(
    load: Load, steps: Sequence[int], pixels: np.ndarray
) -> Generator[tuple[float, StepSimilarity | None], None, None]:
    """CKA of every convolution and block with itself between all `steps`, for `pixels`, uint8 (n, 3, H, W).

    Yields (fraction done, None) on the way and at last (1.0, the result). Raises ValueError where there are no steps,
    fewer than 4 images, or more than memory holds, before anything is computed; CheckpointError for a damaged file.
    """
    if not steps:
        raise ValueError(NO_STEPS)
    grams: list[Grams] = []
    for place, step in enumerate(steps):
        loaded = load(step)
        if not place:
            cost(loaded.spec, len(steps), len(pixels)).check()
        for share, found in similarity.layer_grams(loaded, pixels):
            if found is not None:
                grams.append(found)
            yield 0.999 * (place + share) / len(steps), None
    layers, names = grams[0].layers, tuple(map(str, steps))
    undefined = {
        (layer, step): why for step, of in zip(steps, grams, strict=True) for layer, why in of.undefined.items()
    }
    every = []
    for place, layer in enumerate(layers):
        reasons = {str(step): undefined[layer, step] for step in steps if (layer, step) in undefined}
        along = Grams(names, np.stack([of.matrices[place] for of in grams]), reasons)
        every.append(similarity.cka(along, along))
    yield (
        1.0,
        StepSimilarity(
            tuple(steps),
            layers,
            np.ma.stack([each.cka for each in every]),
            np.ma.stack([each.debiased for each in every]),
            len(pixels),
            undefined,
        ),
    )


def at(finished: Checkpoint, network: Network) -> Checkpoint:
    """The facts of the finished network with other weights of it, of which nothing is measured."""
    return replace(finished, network=network, record={}, metrics={})


# --- in words ---------------------------------------------------------------------------------------------------------


def strip_sentences(title: str, strip: TimeStrip, class_names: Sequence[str]) -> list[str]:
    """From which step on the network of that title gives its last answer, and how sure it is there and at the end."""
    predictions = [moment.prediction for moment in strip.moments]
    last = strip.moments[-1]
    kept = len(predictions)
    while kept and predictions[kept - 1] == last.prediction:
        kept -= 1
    name, first = class_names[last.prediction], strip.moments[kept]
    sure = f"{first.probabilities[last.prediction]:.0%} there, {last.probabilities[last.prediction]:.0%} at the end"
    if kept:
        text = f"{title} answers {name} from step {first.step:,} on ({sure}), of the steps whose weights are kept."
    else:
        text = f"{title} answers {name} at every kept step ({sure})."
    if (changes := sum(a != b for a, b in zip(predictions, predictions[1:], strict=False))) > 1:
        text += f" Its answer changes {changes} times."
    return [text]


def similarity_sentences(title: str, found: StepSimilarity) -> list[str]:
    """Which layers are first and last like their end."""
    settled = {layer: found.settled(place) for place, layer in enumerate(found.layers)}
    known = {layer: step for layer, step in settled.items() if step is not None}
    if len(found.steps) < 3 or not known:
        return [f"{title}: too few steps can be compared to say when its layers settle."]
    first, last = min(known, key=lambda layer: known[layer]), max(known, key=lambda layer: known[layer])
    undefined = len(settled) - len(known)
    if known[first] == known[last]:
        whose = "each other layer" if undefined else "every layer"
        text = f"from step {known[first]:,} on {whose} has a CKA of {SETTLED} or more with its end."
    else:
        text = (
            f"{first} has a CKA of {SETTLED} or more with its end from step {known[first]:,} on, {last} only from "
            f"step {known[last]:,} on (debiased, n = {found.n} images)."
        )
    if undefined:
        left = f"of {undefined} of {len(settled)} layers the CKA is not defined at some step"
        return [f"{title}: {left}; {text}"]
    return [f"{title}: {text}"]
