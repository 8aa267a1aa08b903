"""A training step in words: the optimiser's rule, one weight worked out by it, and what came of the step."""

import math
from collections.abc import Sequence

import numpy as np

from explorer.experiments.training_step import TrainingStep, WorkedWeight
from explorer.training import TrainingConfig

BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam, as training.optimizer has them


def number(value: float) -> str:
    """Four digits, with a real minus sign."""
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else "not a finite number"


def rule(config: TrainingConfig) -> list[str]:
    """The rule of the optimiser as formulas, one a line: w a weight, g its gradient, η the learning rate."""
    lines = ["g ← c · g, with c ≤ 1 so that all gradients together have at most the norm `clip`"] if config.clip else []
    g = "g"
    if config.weight_decay:
        lines.append("d = g + λ · w")
        g = "d"
    if config.optimizer == "adam":
        return [
            *lines,
            f"m ← β₁ · m + (1 − β₁) · {g}",
            f"v ← β₂ · v + (1 − β₂) · {g}²",
            "Δw = −η · m̂ / (√v̂ + ε), with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ)",
        ]
    if not config.momentum:
        return [*lines, f"Δw = −η · {g}"]
    lines.append(f"m ← μ · m + {g}")
    return [*lines, f"Δw = −η · ({g} + μ · m)" if config.nesterov else "Δw = −η · m"]


def settings(step: TrainingStep) -> str:
    """The numbers that the rule takes: `η = 0.1, μ = 0.9, λ = 0.0005`."""
    config = step.config
    found = [("η", config.learning_rate)]
    if config.optimizer == "adam":
        found += [("β₁", BETAS[0]), ("β₂", BETAS[1]), ("ε", EPSILON), ("t", step.adam_step)]
    elif config.momentum:
        found.append(("μ", config.momentum))
    if config.weight_decay:
        found.append(("λ", config.weight_decay))
    if config.clip:
        found.append(("c", step.clipping))
    return ", ".join(f"{name} = {number(value)}" for name, value in found)


def settings_of(titles: Sequence[str], steps: Sequence[TrainingStep]) -> list[str]:
    """`settings` of networks with one configuration: one line, or where they differ, as c does, one for each."""
    lines = list(map(settings, steps))
    if len({*lines}) == 1:
        return lines[:1]
    return [f"{title}: {line}" for title, line in zip(titles, lines, strict=True)]


def worked(step: TrainingStep, layer: int) -> list[str]:
    """The rule with the numbers of the weight of that layer (its place in `layers`) that changes most."""
    config, of = step.config, step.examples[layer]
    if of is None:
        return ["This step leaves the layer out, so its weights stay."]
    place = ", ".join(map(str, of.index))
    lines = [f"w[{place}] = {number(of.before)}, g = {number(of.gradient)}"]
    g = of.gradient * step.clipping
    if config.clip:
        lines.append(f"g ← c · g = {number(step.clipping)} · {number(of.gradient)} = {number(g)}")
    if config.weight_decay:
        added = f"{number(g)} + {number(config.weight_decay)} · {number(of.before)}"
        lines.append(f"d = g + λ · w = {added} = {number(of.scaled)}")
    lines += _adam(step, of) if config.optimizer == "adam" else _sgd(config, of)
    return [*lines, f"w becomes {number(of.after)}"]


def _sgd(config: TrainingConfig, of: WorkedWeight) -> list[str]:
    rate, d = number(config.learning_rate), number(of.scaled)
    if of.first is None:
        return [f"Δw = −η · {'d' if config.weight_decay else 'g'} = −{rate} · {d} = {number(of.change)}"]
    mu, m = number(config.momentum), number(of.first)
    old = number(_before(of.first, of.scaled, config.momentum, 1.0))
    lines = [f"m ← μ · m + {'d' if config.weight_decay else 'g'} = {mu} · {old} + {d} = {m}"]
    taken = f"({d} + {mu} · {m})" if config.nesterov else m
    return [*lines, f"Δw = −{rate} · {taken} = {number(of.change)}"]


def _adam(step: TrainingStep, of: WorkedWeight) -> list[str]:
    assert of.first is not None and of.second is not None
    (one, two), t = BETAS, step.adam_step
    d, g = number(of.scaled), "d" if step.config.weight_decay else "g"
    first, second = (
        number(_before(of.first, of.scaled, one, 1 - one)),
        number(_before(of.second, of.scaled**2, two, 1 - two)),
    )
    hats = of.first / (1 - one**t), of.second / (1 - two**t)
    rate = number(step.rate)
    return [
        f"m ← β₁ · m + (1 − β₁) · {g} = {one} · {first} + {1 - one:.4g} · {d} = {number(of.first)}",
        f"v ← β₂ · v + (1 − β₂) · {g}² = {two} · {second} + {1 - two:.4g} · ({d})² = {number(of.second)}",
        f"m̂ = {number(hats[0])}, v̂ = {number(hats[1])}",
        f"Δw = −{rate} · {number(hats[0])} / (√{number(hats[1])} + ε) = {number(of.change)}",
    ]


def _before(after: float, added: float, decay: float, share: float) -> float:
    """A moment before the step; what rounding leaves of nothing is 0."""
    old = (after - share * added) / decay
    return 0.0 if abs(old) <= 1e-5 * abs(after) else old


def findings(title: str, step: TrainingStep) -> list[str]:
    """What the step did to a network of that title, in plain sentences."""
    n, predicted, measured = len(step.losses), step.predicted, step.measured
    if not math.isfinite(step.new_loss):
        return [
            f"{title}: the mean loss of {n} images is {step.loss:.3f} before the step, and no finite number after it. "
            "The step is far too long; take a smaller learning rate."
        ]
    text = (
        f"{title}: the mean loss of {n} images goes from {step.loss:.3f} to {step.new_loss:.3f}. The gradient "
        f"predicted a change of {_signed(predicted)}; measured is {_signed(measured)}."
    )
    return [f"{text} {_verdict(predicted, measured)}".strip()]


def _verdict(predicted: float, measured: float) -> str:
    if predicted >= 0:
        return "The update does not go downhill: moments or weight decay pull elsewhere." if predicted > 0 else ""
    share = measured / predicted
    if share < 0:
        return "The loss rises, so the step is too long for this place."
    if share < 0.9:
        return f"That is {share:.0%} of what was predicted: on the way the gradient becomes another one."
    return (
        "Along the whole update the gradient stays nearly the same."
        if share <= 1.1
        else (f"That is {share:.1f} times the prediction: on the way the slope becomes steeper.")
    )


def way_back(titles: Sequence[str], steps: Sequence[TrainingStep]) -> str:
    """The gradient at the first layer over that at the last convolution of each network."""
    said = []
    for title, step in zip(titles, steps, strict=True):
        places = [i for i, name in enumerate(step.layers) if not name.startswith("head.") and "shortcut" not in name]
        first, last = (step.gradients[places[at]] for at in (0, -1)) if places else (math.nan, math.nan)
        if np.isfinite([first, last]).all() and last > 0:
            said.append(f"in {title} {first / last:.3g} times as large as at {step.layers[places[-1]]}")
    return f"At the first layer the weight gradient is {' and '.join(said)}." if said else ""


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
