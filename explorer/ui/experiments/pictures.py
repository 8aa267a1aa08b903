"""The questions about one image, that of the bar: what if it moved, what over a dial, what under an attack?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.architectures import describe
from explorer.architectures.description import relative_depths
from explorer.experiments import changed_pictures
from explorer.experiments.adversarial import AttackedPicture, attack_by_steps, picture_sentences
from explorer.experiments.attacks import AimedAttack
from explorer.experiments.changed_pictures import CURVES, DialCurve, ShiftMap
from explorer.figures import Chart, Gallery, Part, Table, Thumbnail
from explorer.images import REST, Dials
from explorer.labels import DIALS
from explorer.ui import bar, forecasts
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.question import AskedNetwork, Plan, Question
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.missing import NO_IMAGE
from explorer.ui.network_text import source_text
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import pixels_for
from explorer.ui.services.input_images import InputImage
from explorer.ui.session import find_image, session
from explorer.ui.widgets.bound import bound, choice

ANY_OTHER, LEAST = -1, -2  # among the classes of an attack: Streamlit takes None for no choice
SHIFTS = ("x", "y")
SIDE = 160  # pixels of an image on the page
AGAINST = {"first": "the first network", "second": "the second network"}
STEPS = {"10": "PGD, 10 steps", "0": "FGSM, one step"}


def shift_question() -> Question:
    return Question(
        title="What if the image moved by a few pixels?",
        method="The image is moved by up to 8 pixels of the network's input to each side, 289 times in all. What comes "
        "in from outside has the image's mean colour.",
        limits=(
            "Another image may answer otherwise: this is one image, n = 1.",
            "Moving by whole pixels also cuts off the opposite edge.",
        ),
        controls=lambda state, networks: None,
        plan=_plan_shift,
        own_dials=lambda state: SHIFTS,
    )


def dial_question() -> Question:
    return Question(
        title="How does the answer follow a change of the image?",
        method="One dial goes through its range. Networks whose inputs have one size and one rendering see the very "
        "same images.",
        limits=(
            "This is one image, n = 1; a curve over many images would be smoother.",
            "What the dial makes may be unlike the images of the training.",
        ),
        controls=_dial_controls,
        plan=_plan_dial,
        own_dials=lambda state: (state.dial,),
    )


def attack_question() -> Question:
    return Question(
        title="How small a change misleads a network?",
        method="Every pixel may change by ε. The attack follows the gradient of the loss of one network. The other "
        "network then sees the same image.",
        limits=(
            "A search that finds nothing proves nothing: a stronger attack may succeed.",
            "This is one image, n = 1.",
        ),
        controls=_attack_controls,
        plan=_plan_attack,
        own_dials=lambda state: (),
        takes_attack=True,
    )


def _image(own_dials: Sequence[str] = ()) -> InputImage | None:
    """That of the bar as Explore has changed it, but for these dials."""
    view = AppState.from_query(session().pair)
    image = find_image(replace(view, dials=Dials.from_text(view.dials).without(own_dials).to_text()))
    if image is None:
        st.info(NO_IMAGE)
    return image


def _pixels(networks: Sequence[AskedNetwork], image: InputImage) -> list[np.ndarray]:
    """The image for each network, as Explore gives it."""
    return [pixels_for(each.chosen.checkpoint, image)[0] for each in networks]


def _source(networks: Sequence[AskedNetwork], image: InputImage) -> str:
    return source_text([each.chosen for each in networks], image)


def _seconds(networks: Sequence[AskedNetwork], passes: float) -> float:
    macs = sum(describe(each.chosen.checkpoint.spec).macs for each in networks)
    return max(0.1, passes * macs * 0.5 / forecasts.macs_a_second())


def _plan(
    state: ExperimentsState,
    networks: Sequence[AskedNetwork],
    image: InputImage,
    settings: Sequence[object],
    passes: float,
    cost: str,
    work: Any,
    answer: Any,
    rows: Any,
) -> Plan:
    """The measurement of one image. Its result stays in this session, since the image is the user's."""
    key = "/".join(map(str, (state.question, image.digest, *settings, *(each.name for each in networks))))

    known = session().results.find(f"answer/{key}")

    def keep() -> Iterator[tuple[float, Any]]:
        for fraction, found in work():
            if found is not None:
                session().results.put(f"answer/{key}", found)
            yield fraction, None if found is None else True

    return Plan(
        key=key,
        cost=cost,
        seconds=0.0 if known is not None else _seconds(networks, passes),
        work=keep,
        known=known,
        answer=answer,
        rows=rows,
        source=_source(networks, image),
    )


# --- shifts -----------------------------------------------------------------------------------------------------------


def _plan_shift(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> Plan | None:
    image = _image(SHIFTS)
    if image is None:
        return None
    passes = (2 * changed_pictures.REACH + 1) ** 2
    asked = [each.chosen.checkpoint for each in networks]

    def answer(found: Sequence[ShiftMap]) -> list[Part]:
        parts: list[Part] = []
        for each, shifts in zip(networks, found, strict=True):
            title, of = each.chosen.title, shifts.class_names[shifts.answer]
            parts.append(" ".join(changed_pictures.shift_sentences(title, shifts)))
            predicted = [[shifts.class_names[index] for index in row] for row in shifts.predicted]
            figure = figures.shift_chart(shifts.probabilities[..., shifts.answer], predicted, of)
            text = f"Each cell is the probability of {of} at that shift. A cross: another class is predicted."
            parts.append(Chart(figure, f"Shift map of {title}", text))
        return [*(part for part in parts if isinstance(part, str)), *(p for p in parts if not isinstance(p, str))]

    def rows(found: Sequence[ShiftMap]) -> list[list[str]]:
        lines = [["network", "right", "down", "probability of the first answer", "predicted"]]
        for each, shifts in zip(networks, found, strict=True):
            for row, column in np.ndindex(shifts.predicted.shape):
                at = (str(column - shifts.reach), str(row - shifts.reach))
                share = f"{shifts.probabilities[row, column, shifts.answer]:.6g}"
                lines.append([each.chosen.title, *at, share, shifts.class_names[shifts.predicted[row, column]]])
        return lines

    return _plan(
        state, networks, image, (), passes, f"{passes} passes of each network",
        lambda: changed_pictures.shift_map(
            asked, _pixels(networks, image), dials=image.dials, frame=image.frame
        ),
        answer, rows,
    )  # fmt: skip


# --- dials ------------------------------------------------------------------------------------------------------------


def _dial_controls(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> None:
    words = {name: DIALS[name].short for name in CURVES if name != "seed"}
    choice(state, "dial", "What is changed", words, prefix="experiments", change=update_state)


def _plan_dial(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> Plan | None:
    dial, values = state.dial, CURVES[state.dial]
    image = _image([dial])
    if image is None:
        return None
    asked = [each.chosen.checkpoint for each in networks]

    def answer(found: Sequence[DialCurve]) -> list[Part]:
        sentences = [
            " ".join(changed_pictures.curve_sentences(each.chosen.title, curve))
            for each, curve in zip(networks, found, strict=True)
        ]
        lines = [
            (each.series, curve.probabilities[:, curve.answer], curve.kept)
            for each, curve in zip(networks, found, strict=True)
        ]
        figure = figures.dial_chart(lines, values, getattr(REST, dial), DIALS[dial].long)
        text = "Open circles: another class is more probable. The dashed line: the image as it is."
        return [*sentences, Chart(figure, f"{DIALS[dial].short} and the first answer", text)]

    def rows(found: Sequence[DialCurve]) -> list[list[str]]:
        lines = [["network", dial, *found[0].class_names]]
        for each, curve in zip(networks, found, strict=True):
            for value, shares in zip(curve.values, curve.probabilities, strict=True):
                lines.append([each.chosen.title, f"{value:g}", *(f"{share:.6g}" for share in shares)])
        return lines

    return _plan(
        state, networks, image, (dial,), len(values), f"{len(values)} passes of each network",
        lambda: changed_pictures.dial_curve(
            asked, _pixels(networks, image), dial, dials=image.dials, frame=image.frame
        ),
        answer, rows,
    )  # fmt: skip


# --- attacks ----------------------------------------------------------------------------------------------------------


def _attack_controls(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> None:
    """Of the attack that is set on Explore where there is one, else of that of the page's state."""
    aimed, of_explore = _aimed(state), _explores_attack() is not None
    bound(
        st.slider,
        "ε in levels of 255",
        0.0,
        16.0,
        key="experiments_epsilon",
        value=aimed.level,
        step=0.25 if of_explore else 1.0,
        format="%g",
        write=lambda level: _update_attack(replace(aimed, level=level), state.measure),
        width=260,
    )
    if len(networks) > 1:
        bound(
            st.segmented_control,
            "Made against",
            list(AGAINST),
            key="experiments_against",
            value="second" if aimed.second else "first",
            write=lambda against: _update_attack(replace(aimed, second=against == "second")),
            format_func=AGAINST.__getitem__,
            required=True,
        )
    words = STEPS if str(aimed.steps) in STEPS else {str(aimed.steps): f"PGD, {aimed.steps} steps", **STEPS}
    bound(
        st.segmented_control,
        "Attack",
        list(words),
        key="experiments_steps",
        value=str(aimed.steps),
        write=lambda steps: _update_attack(replace(aimed, steps=int(steps))),
        format_func=words.__getitem__,
        required=True,
    )
    classes = networks[_against(aimed, networks)].chosen.checkpoint.class_names
    goals = {ANY_OTHER: "any other"} | ({LEAST: "the least likely"} if of_explore else {}) | dict(enumerate(classes))
    bound(
        st.selectbox,
        "Class to reach",
        list(goals),
        key="experiments_goal",
        value=LEAST if aimed.least else aimed.target if aimed.target in goals else ANY_OTHER,
        write=lambda goal: _update_attack(
            replace(aimed, least=goal == LEAST, target=goal if goal not in (ANY_OTHER, LEAST) else None)
        ),
        format_func=goals.__getitem__,
        width=220,
    )


def _explores_attack() -> AimedAttack | None:
    aimed = AimedAttack.from_text(AppState.from_query(session().pair).attack)
    return aimed if aimed.level else None


def _aimed(state: ExperimentsState) -> AimedAttack:
    second = state.against == "second"
    return _explores_attack() or AimedAttack(state.epsilon, int(state.steps), second=second, target=state.goal)


def _update_attack(aimed: AimedAttack, measure: bool = False) -> None:
    """Where the attack came from Explore, the change goes back there."""
    if _explores_attack() and aimed.level:
        bar.change(attack=aimed.to_text())
        update_state(measure=measure)
        return
    if _explores_attack():
        bar.change(attack="")
    update_state(
        epsilon=round(aimed.level),
        against="second" if aimed.second else "first",
        steps="10" if aimed.steps else "0",
        goal=aimed.target,
        measure=measure,
    )


def _against(aimed: AimedAttack, networks: Sequence[AskedNetwork]) -> int:
    return 1 if aimed.second and len(networks) > 1 else 0


def _plan_attack(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> Plan | None:
    image = _image()
    if image is None:
        return None
    aimed = _aimed(state)
    attack = aimed.attack
    asked = [each.chosen.checkpoint for each in networks]
    against = _against(aimed, networks)
    is_class = aimed.target is not None and aimed.target < len(asked[against].class_names)
    goal = aimed.target if is_class else None
    pixels, _ = pixels_for(asked[against], image)

    def work() -> Iterator[tuple[float, Any]]:
        return attack_by_steps(
            asked, pixels, attack, against=against, target=goal, least=aimed.least, dials=image.dials, frame=image.frame
        )

    def answer(found: AttackedPicture) -> list[Part]:
        titles = [each.chosen.title for each in networks]
        levels = np.rint(255 * np.stack([found.clean, found.perturbed])).transpose(0, 2, 3, 1)
        shown = [*levels.astype(np.uint8), found.magnified()]
        names = ("as it is", "after the attack", "the change × 10")
        pictures = [
            Thumbnail(figures.fit_to_screen(figures.as_rgb(each), SIDE), [name])
            for each, name in zip(shown, names, strict=True)
        ]
        rows = []
        for title, network in zip(titles, found.networks, strict=True):
            before, after = network.answers
            rows.append(
                [title, f"{before} {network.before.max():.1%}", f"{after} {network.after.max():.1%}",
                 "yes" if network.is_fooled else "no"]
            )  # fmt: skip
        lines = []
        for each, network in zip(networks, found.networks, strict=True):
            depths = relative_depths(each.chosen.checkpoint.spec, network.layers)
            kept = [index for index, layer in enumerate(network.layers) if layer in depths]
            layers = [network.layers[index] for index in kept]
            lines.append((each.series, [depths[layer] for layer in layers], layers, network.distances[kept]))
        figure = figures.distance_chart(lines)
        text = "How far the pass of the changed image is from that of the image as it is: ‖a − a′‖ / ‖a‖ of each layer."
        return [
            *picture_sentences(found, titles),
            Gallery(pictures),
            Table(["network", "before", "after", "misled"], rows, texts=4),
            Chart(figure, "Where the two passes part", text),
        ]

    def rows(found: AttackedPicture) -> list[list[str]]:
        lines = [["network", "class", "before", "after"]]
        for each, network in zip(networks, found.networks, strict=True):
            for name, before, after in zip(network.class_names, network.before, network.after, strict=True):
                lines.append([each.chosen.title, name, f"{before:.6g}", f"{after:.6g}"])
        return lines

    gradients = "one gradient" if attack.passes == 1 else f"{attack.passes} gradients"
    passes = 3 * attack.passes + 2 * len(asked)
    return _plan(
        state, networks, image, (aimed.to_text(), against, goal), passes,
        f"{gradients} of one network and two passes of each", work, answer, rows,
    )  # fmt: skip
