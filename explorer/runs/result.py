"""What a run has found, in words and numbers."""

from dataclasses import dataclass

from explorer.runs.log import RunLog
from explorer.runs.verdict import verdict


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
    """One paragraph: what the networks learned, compared with each other and with guessing (`verdict`), and how large
    the gradient of the first convolution was beside that of the last, at step 0 and at the end. Empty before the end.
    """
    end, start = log.end or {}, log.start or {}
    networks = end.get("networks")
    if not networks:
        return ""
    names, data = start.get("class_names"), start.get("data")
    classes = len(names) if isinstance(names, list) else 0
    sentences = [verdict(networks, classes, end.get("seconds"), data if isinstance(data, str) else "")]
    for index, network in enumerate(networks):
        begin, last = gradient_ratio(log, index, at_end=False), gradient_ratio(log, index, at_end=True)
        if begin and last and begin.ratio is not None and last.ratio is not None:
            sentences.append(
                f"In {network['title']} the weights of the first convolution received {_times(begin.ratio)} the "
                f"gradient of the last one at step 0, and {_times(last.ratio)} at step {last.step:,}."
            )
        if network["outcome"] == "diverged":
            sentences.append(
                f"The training of {network['title']} diverged after {network['steps']:,} steps; its last finite "
                "weights are kept. Try a lower learning rate or gradient clipping."
            )
    return " ".join(sentences)


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.2g} ×"
