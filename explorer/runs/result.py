"""What a run has found, in words and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.runs.log import RunLog


@dataclass(frozen=True)
class GradientRatio:
    """Size of the first convolution's weight gradient over that of the last one, at one step of one network."""

    step: int
    ratio: float | None
    first: str
    last: str


def gradient_ratio(log: RunLog, network: int, at_end: bool) -> GradientRatio | None:
    """The ratio at step 0, or at the last step that was measured; its `ratio` is None where the last one is 0."""
    events = [event for event in log.gradients if event["network"] == network]
    layers: list[str] = next((event["layers"] for event in events if "layers" in event), [])
    main = [index for index, name in enumerate(layers) if not name.startswith("head") and "shortcut" not in name]
    if len(main) < 2:
        return None
    event = events[-1 if at_end else 0]
    first, last = (event["norms"][index] for index in (main[0], main[-1]))
    ratio = first / last if first is not None and last else None
    return GradientRatio(event["step"], ratio, layers[main[0]], layers[main[-1]])


def summary(log: RunLog) -> str:
    """One paragraph: accuracies on the test pictures with their n, which network learned more, and how large the
    gradient of the first convolution was beside that of the last, at step 0 and at the end. Empty before the end."""
    networks = log.end.get("networks") if log.end else None
    if not networks:
        return ""
    sentences = [_accuracies(networks)]
    for index, network in enumerate(networks):
        begin, end = gradient_ratio(log, index, at_end=False), gradient_ratio(log, index, at_end=True)
        if begin and end and begin.ratio is not None and end.ratio is not None:
            sentences.append(
                f"In {network['title']} the weights of the first convolution received {_times(begin.ratio)} the "
                f"gradient of the last one at step 0, and {_times(end.ratio)} at step {end.step:,}."
            )
        if network["outcome"] == "diverged":
            sentences.append(
                f"The training of {network['title']} diverged after {network['steps']:,} steps; its last finite "
                "weights are kept. Try a lower learning rate or gradient clipping."
            )
    return " ".join(sentences)


def _accuracies(networks: Sequence[dict]) -> str:
    measured = [
        f"{network['title']} is right on {network['test']['accuracy']:.1%} of {network['test']['n']:,} test pictures"
        for network in networks
    ]
    steps = f" after {max(network['steps'] for network in networks):,} steps"
    if len(networks) == 1:
        return measured[0] + steps + "."
    first, second = (network["test"]["accuracy"] for network in networks)
    n = networks[0]["test"]["n"]
    # Two standard errors of a difference of two shares, taken as if each had its own pictures: cautious for twins.
    margin = 2 * (first * (1 - first) / n + second * (1 - second) / n) ** 0.5
    if abs(first - second) <= margin:
        verdict = f"a difference of {abs(first - second) * 100:.1f} points, within what chance alone would give"
    else:
        better = networks[0 if first > second else 1]["title"]
        verdict = f"so {better} learned more, by {abs(first - second) * 100:.1f} points"
    return f"{measured[0]}, {measured[1]}{steps}: {verdict}."


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.2g} ×"
