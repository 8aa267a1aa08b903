"""An image becomes a pass of a network: the latest results, of which one session keeps some."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from explorer.architectures import Intervention, describe
from explorer.architectures.interventions import as_text, fitting, parse_all
from explorer.attribution import LayerProfile, profile
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.errors import is_user_error, user_message
from explorer.experiments.adversarial import Aimed, aim
from explorer.experiments.arithmetic import LayerPass, layer_pass
from explorer.experiments.attacks import AimedAttack, Attack
from explorer.experiments.residual_blocks import BlockAnatomy, anatomies, anatomy
from explorer.images import PLAIN, change, move_mask, normalise, resize, seen_pixels
from explorer.tracing import EVERYTHING, STRIP_KINDS, Score, Trace, trace
from explorer.ui.services.caches import BLOCKS_BYTES, CACHES, LruCache
from explorer.ui.services.explore_state import AppState, Layers
from explorer.ui.services.input_images import AttackedInput, InputImage, sample_pixels, split_pixels
from explorer.ui.services.slots import Slots

STEP_MARK = "@"  # between the name of a network and a step of its training; no name in a link has it

# More would only wait for each other on the same cores, with their arrays in memory.
CONCURRENT_PASSES = 2
INFERENCE_SLOTS = Slots(CONCURRENT_PASSES)
MOST_ATTACK_MACS = 6e11
"""Multiply-accumulates of an attack in a live view: ten steps, which the page offers, have 5.9e11 on a VGG-19 at 224
pixels, the largest preset."""


@dataclass(frozen=True, eq=False)
class ChosenNetwork:
    """A network of the page. Its lines are `dashed` where another one has its colour; `unique_title` tells it from
    others of the same name.

    At a `step` of its training it has a `name` of its own, and `finished` is what it became: all steps have the colour
    scales of that.
    """

    name: str
    checkpoint: Checkpoint
    colour: str
    dashed: bool = False
    unique_title: str = ""
    step: int | None = None
    finished: Checkpoint | None = None

    @property
    def listed(self) -> str:
        """Its name in lists and links, at whatever step."""
        return self.name.partition(STEP_MARK)[0]

    def as_finished(self) -> "ChosenNetwork | None":
        """The network that it became; None where it is that one."""
        if self.finished is None:
            return None
        return ChosenNetwork(self.listed, self.finished, self.colour, self.dashed, self.unique_title)

    @property
    def title(self) -> str:
        return self.unique_title or self.checkpoint.spec.name


class Refusal(NamedTuple):
    """An intervention that does not fit a network, as its text or "" for all of a text that cannot be read; `why` is a
    sentence."""

    change: str
    why: str


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkResult(ChosenNetwork):
    """A network of the page with its pass over the image.

    `interventions` changed the pass, and `untouched` is the same pass without them; without any it is None. `refusals`
    are those of the view that do not fit the network. Where it got an attacked image, `clean` is the same pass over the
    image without the attack. At a step of its training `scale` holds the profiles of the finished network, on whose
    colour scales every step is drawn.
    """

    trace: Trace
    profiles: tuple[LayerProfile, ...]
    interventions: tuple[Intervention, ...] = ()
    untouched: Trace | None = None
    clean: Trace | None = None
    refusals: tuple[Refusal, ...] = ()
    scale: tuple[LayerProfile, ...] | None = None

    @property
    def scaled_by(self) -> tuple[LayerProfile, ...]:
        """The profiles that say where colour scales end."""
        return self.scale or self.profiles

    @property
    def beside(self) -> Trace | None:
        """The pass beside which this one is shown: `clean`, else `untouched`."""
        return self.clean or self.untouched

    @property
    def target(self) -> str:
        return self.checkpoint.class_names[self.trace.target]


class InferenceCache:
    """The latest results of one session.

    A pass at 224 pixels with every operation holds hundreds of megabytes, so results for inputs of more than `large`
    pixels a side have a smaller limit. All blocks of a network are computed together, so that another layer costs
    nothing; above `blocks_bytes`, as for a ResNet-50 at 224 pixels, each is computed alone. `lock` is held during a
    computation, so that two threads of one session do not compute the same.
    """

    def __init__(self, large: int = 64, blocks_bytes: int = BLOCKS_BYTES) -> None:
        self._large_from_px, self._blocks_bytes = large, blocks_bytes
        self.lock = threading.RLock()
        self._small: LruCache[Trace] = LruCache(CACHES["ui.services.inference.InferenceCache.small"])
        self._large: LruCache[Trace] = LruCache(CACHES["ui.services.inference.InferenceCache.large"])
        self._untouched: LruCache[Trace] = LruCache(CACHES["ui.services.inference.InferenceCache.untouched"])
        self._clean: LruCache[Trace] = LruCache(CACHES["ui.services.inference.InferenceCache.clean"])
        self._attacked: LruCache[AttackedInput | str] = LruCache(
            CACHES["ui.services.inference.InferenceCache.attacked"]
        )
        self._profiles: LruCache[tuple[LayerProfile, ...]] = LruCache(
            CACHES["ui.services.inference.InferenceCache.profiles"]
        )
        both = replace(CACHES["ui.services.inference.InferenceCache.blocks"], bytes=2 * blocks_bytes)
        self._inputs: LruCache[LayerPass] = LruCache(CACHES["ui.services.inference.InferenceCache.inputs"])
        self._blocks: LruCache[dict[str, BlockAnatomy]] = LruCache(both, _bytes)

    def run(self, network: ChosenNetwork, state: AppState, image: InputImage) -> NetworkResult:
        """The network's result with the interventions of the view, explaining the class of the view where the network
        has that class. Else it explains the untouched network's prediction: both passes then explain one class."""
        loaded, given = network.checkpoint, image
        has_target = state.target is not None and state.target < len(loaded.class_names)
        target = state.target if has_target else None
        interventions, refusals = chosen_interventions(loaded, state.change)
        attacked = image.attacked
        if attacked and attacked.shares[1].shape != loaded.spec.input_shape:
            image, attacked = attacked.clean, None
        key = f"{network.name}/{image.digest}/{target}/{state.layers}"
        traces = self._large if max(loaded.spec.input_shape) > self._large_from_px else self._small

        def bare() -> Trace:
            return traces.get(key, lambda: trace_image(loaded, image, target, state.layers))

        with self.lock:
            untouched: Trace | None = None
            if interventions:
                untouched = self._untouched.get(key, bare)
                key, target = f"{key}/{as_text(interventions)}", untouched.target
                traced = traces.get(key, lambda: trace_image(loaded, image, target, state.layers, interventions))
            else:
                traced = self._untouched.find(key) or bare()
            profiles = self._profiles.get(key, lambda: profile(traced))
            clean = None
            if attacked:
                bare_image = attacked.clean
                before = f"{network.name}/{bare_image.digest}/{target}/{state.layers}/{as_text(interventions)}"
                clean = self._clean.get(
                    before, lambda: trace_image(loaded, bare_image, target, state.layers, interventions)
                )
        return NetworkResult(
            **vars(network),
            trace=traced,
            profiles=profiles,
            interventions=interventions,
            untouched=untouched,
            clean=clean,
            refusals=refusals,
            scale=self.run(finished, state, given).profiles if (finished := network.as_finished()) else None,
        )

    def attacked(
        self,
        networks: Sequence[ChosenNetwork],
        state: AppState,
        image: InputImage,
        go_on: Callable[[], None] = lambda: None,
    ) -> InputImage:
        """The image as the attack of the view on one of these networks has made it. That network works with the
        interventions of the view. The image itself where there is no attack, or it is attacked or refused already.

        Each step has a slot of its own, so that others get one between two. `go_on` is called before each; what it
        raises ends the attack, and is raised here.
        """
        aimed = AimedAttack.from_text(state.attack)
        if not aimed.level or image.attacked or image.attack_refusal:
            return image
        against = len(networks) - 1 if aimed.second else 0
        network = networks[against]
        loaded, (interventions, _) = network.checkpoint, chosen_interventions(network.checkpoint, state.change)
        key = f"{image.digest}/{aimed.to_text()}/{network.name}/{network.title}/{against}/{as_text(interventions)}"

        def compute() -> AttackedInput | str:
            if refusal := too_long(network, aimed.attack):
                return refusal
            shares = input_pixels(loaded, image).transpose(2, 0, 1) / 255
            steps = aim(
                loaded, shares, aimed.attack, target=aimed.target, least=aimed.least, interventions=interventions
            )
            found: Aimed | None = None
            while found is None:
                go_on()
                try:
                    with INFERENCE_SLOTS:
                        _, found = next(steps)
                except ValueError as error:
                    if not is_user_error(error):
                        raise
                    return user_message(error)
            perturbed, label, target = found
            return AttackedInput(
                image, aimed.attack, against, network.title, loaded.class_names, label, target, (shares, perturbed)
            )

        with self.lock:
            attacked = self._attacked.get(key, compute)
        if isinstance(attacked, str):
            return replace(image, attack_refusal=attacked)
        return replace(image, attacked=attacked, digest=key)

    def layer_pass(self, result: NetworkResult, image: InputImage, layer: str) -> LayerPass:
        """What that pass put into the layer: another value of it needs no pass. Raises ValueError as `layer_pass`."""

        def compute() -> LayerPass:
            with INFERENCE_SLOTS:
                return layer_pass(result.checkpoint.network, result.trace.image, layer, result.interventions)

        with self.lock:
            key = f"{result.name}/{image.digest}/{layer}/{as_text(result.interventions)}"
            return self._inputs.get(key, compute)

    def block(self, result: NetworkResult, image: InputImage, name: str) -> BlockAnatomy:
        """The inside of that block in that pass. Raises ValueError as `anatomy` does."""
        network, pixels, target = result.checkpoint.network, result.trace.image, result.trace.target
        together = _blocks_bytes(result) <= self._blocks_bytes
        interventions = result.interventions
        key = f"{result.name}/{image.digest}/{target}/{as_text(interventions)}"

        def compute() -> dict[str, BlockAnatomy]:
            with INFERENCE_SLOTS:
                if together:
                    found = anatomies(network, pixels, target, interventions)
                else:
                    found = (anatomy(network, pixels, name, target, interventions),)
            return {block.name: block for block in found}

        with self.lock:
            return self._blocks.get(key if together else f"{key}/{name}", compute)[name]


def _bytes(blocks: dict[str, BlockAnatomy]) -> int:
    return sum(block.nbytes for block in blocks.values())


def _blocks_bytes(result: NetworkResult) -> int:
    """An estimate for all blocks: each holds four arrays of its input's size, which is the output of the block before,
    and four of its output's."""
    sizes = [layer.activation.nbytes for layer in result.trace.layers if layer.kind == "block"]
    return 4 * sum(before + size for before, size in zip([*sizes[:1], *sizes], sizes, strict=False))


def too_long(network: ChosenNetwork, attack: Attack) -> str:
    """A sentence where a live view does not wait for that attack, else ""."""
    most = int(MOST_ATTACK_MACS / (3 * describe(network.checkpoint.spec).macs))
    if attack.passes == 1 or attack.passes <= most:
        return ""
    fewer = f"at most {most} steps" if most > 1 else "FGSM"
    said = f"{attack.words()} against {network.title} takes too long for a live view"
    return f"{said}; choose {fewer}, or measure it on Experiments."


def chosen_interventions(loaded: Checkpoint, change: str) -> tuple[tuple[Intervention, ...], tuple[Refusal, ...]]:
    """The interventions in the `change` of an AppState that change anything and fit the network, and the others."""
    try:
        wanted = [each for each in parse_all(change) if (each.action, each.factor) != ("scale", 1)]
    except ValueError as error:
        return (), (Refusal("", user_message(error)),)
    kept, left = fitting(loaded.network, wanted)
    return kept, tuple(Refusal(str(each), why) for each, why in left)


def pixels_for(loaded: Checkpoint, image: InputImage) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and mask of the image for that network. A network trained on drawn shapes gets a drawn scene at the size
    and with the noise of its training, and others a picture in the rendering of their training images."""
    trained_on = shapes.named(loaded.data)
    if trained_on is not None and image.sample is not None:
        return sample_pixels(*image.sample, trained_on.size)
    if trained_on is not None and image.test is not None:
        drawn, number = image.test
        pixels, mask, _ = split_pixels(replace(drawn, size=trained_on.size), number)
        return pixels, mask
    if image.decoded is not None:
        rendering = loaded.rendering.on(image.paper)
        if rendering != PLAIN.on(image.paper):
            return image.decoded.rendered(rendering).pixels, None
    return image.pixels, image.mask


def input_pixels(loaded: Checkpoint, image: InputImage) -> np.ndarray:
    """What the network sees of the image before its normalisation, in its frame and changed by its dials, without an
    attack: uint8 (H, W, C)."""
    pixels, _ = pixels_for(loaded, image)
    channels, *size = loaded.spec.input_shape
    seen = seen_pixels(pixels, (size[0], size[1]), channels, loaded.resize_shorter_to, image.frame)
    return change(seen, image.dials)


def input_mask(loaded: Checkpoint, image: InputImage) -> np.ndarray | None:
    """Where the object of a drawn image is at the network's input, bool (H, W). None where that is not known: of two
    networks with inputs of different size only one may have the size of the mask."""
    _, mask = pixels_for(loaded, image)
    if mask is None or mask.shape != loaded.spec.input_shape[1:]:
        return None
    if image.frame is not None:
        bright = np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255
        mask = resize(bright, (mask.shape[0], mask.shape[1]), None, image.frame)[..., 0] >= 128
    return move_mask(mask, image.dials)


def trace_image(
    loaded: Checkpoint,
    image: InputImage,
    target: int | None,
    layers: Layers = "main",
    interventions: Sequence[Intervention] = (),
    score: Score = "logit",
) -> Trace:
    """The network's pass with these interventions, explaining the `score` of the class `target`, None for the
    prediction, with the `layers` of an AppState."""
    attacked = image.attacked
    shares = attacked.shares[1] if attacked else input_pixels(loaded, image).transpose(2, 0, 1) / 255
    values = normalise(shares, loaded.mean, loaded.std)
    with INFERENCE_SLOTS:
        kinds = EVERYTHING if layers == "all" else STRIP_KINDS
        return trace(loaded.network, values, target, kinds, layers != "blocks", interventions, score)
