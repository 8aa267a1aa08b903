"""The question of robust accuracy: how often do networks stay right under attack?"""

from collections.abc import Iterator, Sequence
from typing import Any

from explorer import figures
from explorer.experiments import measurement
from explorer.experiments.robust_accuracy import USUAL, RobustAccuracy, cost, robust_accuracy, robust_sentences
from explorer.figures import Chart, Part
from explorer.ui import forecasts, measured_images
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.images import choose_images, images_of, images_source
from explorer.ui.experiments.pictures import STEPS
from explorer.ui.experiments.question import AskedNetwork, Plan, Question
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.session import session
from explorer.ui.widgets.bound import choice

LEVELS = (1, 2, 4, 8, 16)  # of 255


def question() -> Question:
    return Question(
        title="How often do networks stay right under attack?",
        method="Every image is attacked for each network by itself, within each ε. An image is lost as soon as one "
        "step of the attack succeeds.",
        limits=(
            "The figures are upper limits: a stronger attack would find more.",
            "None of the networks that come with the app was trained against attacks.",
        ),
        controls=_controls,
        plan=_plan,
    )


def _controls(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> None:
    choose_images(state, networks, USUAL)
    choice(state, "steps", "Attack", STEPS, prefix="experiments", change=update_state)


def _plan(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> Plan | None:
    images = images_of(state, networks, USUAL)
    if images is None:
        return None
    (data, n), steps = images, int(state.steps)
    titles = [each.chosen.title for each in networks]
    key = "/".join(map(str, ("robust", steps, data, n, *(each.name for each in networks))))

    known = session().results.find(f"answer/{key}")

    def work() -> Iterator[tuple[float, Any]]:
        yield 0.0, None
        sample = measured_images.sample(data, n)
        split = measurement.rows(sample.split, sample.indices)
        asked = [each.chosen.checkpoint for each in networks]
        epsilons = [level / 255 for level in LEVELS]
        for fraction, found in robust_accuracy(asked, split, sample.class_names, epsilons, steps=steps):
            if found is not None:
                session().results.put(f"answer/{key}", found)
            yield fraction, None if found is None else True

    def answer(found: Sequence[RobustAccuracy]) -> list[Part]:
        lines = [(each.series, of.epsilons, of.right) for each, of in zip(networks, found, strict=True)]
        text = f"With 95 % intervals (Wilson), n = {n:,} images; {STEPS[state.steps]}, seed 0."
        sentences = robust_sentences(found, titles, steps)
        return [*sentences, Chart(figures.robust_chart(lines), "Accuracy under attack", text)]

    def rows(found: Sequence[RobustAccuracy]) -> list[list[str]]:
        lines = [["network", "ε of 255", "right", "images", "accuracy", "low", "high"]]
        for title, of in zip(titles, found, strict=True):
            for epsilon, each in zip(of.epsilons, of.right, strict=True):
                numbers = (f"{value:.6g}" for value in (each.share, each.low, each.high))
                lines.append([title, f"{255 * epsilon:g}", str(each.right), str(each.n), *numbers])
        return lines

    macs = sum(cost(each.chosen.checkpoint.spec, n, len(LEVELS), steps) for each in networks)
    return Plan(
        key=key,
        cost=f"attacks within {len(LEVELS)} ε on {n:,} images for each network",
        seconds=0.0 if known is not None else macs / 3 / forecasts.macs_a_second(),
        work=work,
        known=known,
        answer=answer,
        rows=rows,
        source=images_source(n, data, networks),
    )
