"""In class: prepared views, a plan for 45 minutes, and questions whose answers are computed when they are opened."""

from collections.abc import Callable, Mapping

import streamlit as st

from explorer.errors import user_message
from explorer.experiments import measurement, scenes
from explorer.experiments.agreement import agreement
from explorer.experiments.gradient_summary import findings
from explorer.experiments.scenes import Scene
from explorer.figures import Chapter, Table
from explorer.labels import capital, listed
from explorer.ui import bar, lesson, navigation, network_registry, url_query
from explorer.ui.build_state import BuildState
from explorer.ui.compare import verdict
from explorer.ui.compare.state import CompareState
from explorer.ui.gradients import flow_measurements
from explorer.ui.gradients.state import CARDS
from explorer.ui.markdown import as_sentence, as_text, table
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import INFERENCE_SLOTS
from explorer.ui.session import session

PLAIN, RESIDUAL = scenes.TWINS
SHALLOWER = "shapes-resnet-20"
NEEDED = (PLAIN, RESIDUAL, SHALLOWER)
NAME = "class"  # of this page
PLAN = (
    ("5", "Guess", "Two networks have 56 layers. One of them has shortcuts. Which is better, and why? Write it down."),
    ("10", "Look", "Open views 1 and 2. Who is right, and where do the networks look?"),
    ("10", "Why", "Open views 3, 4 and 5. How much of the gradient reaches the first layer?"),
    ("15", "Train", "Each group trains twins of another depth or norm, and writes both test accuracies on the board."),
    ("5", "Collect", "Compare the board with the guesses."),
)
GROUPS = ((8, "batch"), (8, "none"), (20, "batch"), (20, "none"))
"""Depth and norm of the twins that each group trains."""

# One sheet: the plan and the questions.
PRINTED = """<style>@media print {
    .st-key-bar, .st-key-present, .st-key-lesson_end, .st-key-class_views, .st-key-class_groups, .st-key-class_form,
    .st-key-class-report,
    [class*=st-key-class_answer] { display: none !important }
}</style>"""


def show() -> None:
    st.header("In class", anchor=False)
    if missing := [name for name in NEEDED if not network_registry.is_network(name)]:
        st.info(
            f"This page needs networks that are not here. Build them with `python -m explorer pretrained {missing[0]}`."
        )
        return
    st.html(PRINTED)
    st.markdown(
        "A lesson on one question: **why is a plain network of 56 layers harder to train than its residual twin?** "
        "Printed, this page is one sheet with the questions and without the answers."
    )
    try:
        scene = parting_scene()
    except ValueError as error:  # a damaged file
        st.error(as_sentence(user_message(error)))
        return
    with st.container(key="class_views"):
        st.subheader("Five views", anchor=False)
        for number, (title, look_for, page, query) in enumerate(views(scene), start=1):
            with st.container(horizontal=True, vertical_alignment="center"):
                navigation.page_link(page, f"{number}. {title}", query)
                st.markdown(look_for, width="content")
    st.subheader("45 minutes", anchor=False)
    st.markdown("\n".join(f"- **{minutes} min, {title}.** {text}" for minutes, title, text in PLAN))
    with st.container(key="class_groups", horizontal=True):
        for number, (depth, norm) in enumerate(GROUPS, start=1):
            state = BuildState(preset=f"resnet-{depth}").with_spec(norm=norm)
            words = "BatchNorm" if norm == "batch" else "no norm"
            navigation.page_link("build", f"Group {number}: {depth} layers, {words}", state.to_query())
    st.subheader("Six questions", anchor=False)
    for number, (question, answer) in enumerate(QUESTIONS, start=1):
        st.markdown(f"**{number}.** {question}")
        with st.container(key=f"class_answer_{number}"):
            _show_answer(number, answer, scene)
    navigation.report_button("A lesson on 56 layers", lambda: _chapters(scene), "lesson-56-layers", "class-report")
    _offer_link()


def _chapters(scene: Scene) -> list[Chapter]:
    """The sheet of the lesson for a report, without the answers, as it is printed."""
    seen = [[title, look_for] for title, look_for, *_ in views(scene)]
    questions = [f"{number}. {question}" for number, (question, _) in enumerate(QUESTIONS, start=1)]
    return [
        Chapter("Five views", [Table(["view", "look for"], seen, texts=2)]),
        Chapter("45 minutes", [Table(["minutes", "part", "what"], PLAN, texts=3)]),
        Chapter("Six questions", questions),
    ]


def _show_answer(number: int, answer: Callable[[Scene], str], scene: Scene) -> None:
    folded = st.expander(f"Answer to question {number}", key=f"class_open_{number}", on_change="rerun")
    if folded.open:
        with folded:
            try:
                st.markdown(answer(scene))
            except ValueError as error:  # a damaged file
                st.error(as_sentence(user_message(error)))


def parting_scene() -> Scene:
    """Where exactly one of the twins is right, with the largest difference; the default picture without results."""
    found = [scenes.predictions(network_registry.checkpoint(name)) for name in scenes.TWINS]
    row = scenes.parting(found[0], found[1]) if found[0] and found[1] else None
    label, number = AppState().sample or (0, 0)
    return Scene(label, number) if row is None else scenes.scene_at(row)


def views(scene: Scene) -> list[tuple[str, str, str, Mapping[str, str]]]:
    """The title of each view, what to look for, and the page and query that open it."""
    block = AppState(first=RESIDUAL, second=None, picture=scene.picture, tab="block")
    return [
        (
            "Twins of 56 layers",
            f"Which network predicts the {scene.name}, and how sure is the other one?",
            "explore",
            AppState(first=PLAIN, second=RESIDUAL, picture=scene.picture).to_query(),
        ),
        (
            "The twins on many images",
            "Is the worse network also worse on its training images?",
            "compare",
            {"networks": ",".join(scenes.TWINS)}
            | CompareState(networks=scenes.TWINS, picture=scene.picture).to_query(),
        ),
        (
            "A gradient that vanishes",
            "How many powers of ten does the plain network lose on the way to its first layer?",
            "gradients",
            CARDS[0].to_query(),
        ),
        (
            "A gradient that explodes",
            "Which line rises toward the input, and by what factor?",
            "gradients",
            CARDS[1].to_query(),
        ),
        ("Inside a block", "How large is the branch beside the shortcut, block by block?", "explore", block.to_query()),
    ]


# --- questions and answers --------------------------------------------------------------------------------------------


def accuracy_by_depth(_: Scene) -> str:
    headers = network_registry.shipped_networks()
    plain = {name: header for name, header in headers.items() if header.spec.shortcut == "none"}
    rows = []
    for name, header in plain.items():
        twin = headers.get(network_registry.twin_name(name) or "")
        if twin and header.data == headers[PLAIN].data:
            shares = (each.metrics["test"]["accuracy"] for each in (header, twin))
            rows.append([str(header.spec.depth), *(f"{share:.1%}" for share in shares)])
    n = headers[PLAIN].metrics["test"]["n"]
    return f"{table(['layers', 'plain', 'ResNet'], rows)}\n\nTest accuracy, n = {n:,}."


def mistakes_of_both(_: Scene) -> str:
    a, b = network_registry.chosen_networks(scenes.TWINS)
    found = [measurement.test_predictions(each.checkpoint) for each in (a, b)]
    if found[0] is None or found[1] is None:
        return _not_stored("compare")
    counts = agreement(found[0], found[1])
    return (
        f"Of {counts.n:,} test images {as_text(a.title)} is wrong on {counts.only_b + counts.neither:,} and "
        f"{as_text(b.title)} on {counts.only_a + counts.neither:,}. Only {as_text(a.title)} is wrong on "
        f"{counts.only_b:,}, only {as_text(b.title)} on {counts.only_a:,}."
    )


def is_it_overfitting(_: Scene) -> str:
    networks = network_registry.chosen_networks(scenes.TWINS)
    return as_text(verdict.cause_sentence(*verdict.comparable(networks, {}))) or _not_stored("compare")


def gradient_ratios(_: Scene) -> str:
    said = []
    for card, words in zip(CARDS, ("Without norm", "With BatchNorm"), strict=False):
        found = flow_measurements.measured_grid(card)
        if len(found) < 2:
            return _not_stored("gradients")
        said += [f"- {words}: {as_text(sentence)}" for sentence in findings(found)]
    return "\n".join([*said, f"\nMedians of {CARDS[0].seeds} seeds at initialisation."])


def larger_branches(scene: Scene) -> str:
    said = []
    for network in network_registry.chosen_networks([SHALLOWER, RESIDUAL]):
        with INFERENCE_SLOTS:
            ratios = scenes.branch_ratios(network.checkpoint, scene)
        largest = max(ratios, key=lambda name: ratios[name])
        larger = [name for name, ratio in ratios.items() if ratio > 1]
        where = f"in {listed(larger)}" if larger else "in no block"
        said.append(f"- {as_text(network.title)}: {where}. The largest ratio is {ratios[largest]:.2f}, in {largest}.")
    return "\n".join([*said, f"\nRoot mean squares, of the {scene.name} on background {scene.number}."])


def hardest_scene(_: Scene) -> str:
    network = network_registry.chosen_networks([RESIDUAL])[0]
    found = scenes.predictions(network.checkpoint)
    if found is None:
        return _not_stored("explore")
    counts = scenes.mistakes(found)
    hardest = max(counts, key=lambda number: counts[number])
    shapes_each = len(found) // len(counts)
    return (
        f"Background {hardest}: {as_text(network.title)} takes {counts[hardest]} of its {shapes_each} shapes for "
        f"another one, and {sum(counts.values())} of {len(found)} on all {len(counts)} backgrounds."
    )


def _not_stored(page: str) -> str:
    return f"The result is not stored here; {session().pages[page].title} measures it."


QUESTIONS: tuple[tuple[str, Callable[[Scene], str]], ...] = (
    (
        "Which network of 56 layers has the higher test accuracy? Is it the same with 8 and with 20 layers?",
        accuracy_by_depth,
    ),
    (
        "On how many test images is each network of 56 layers wrong? On how many is only one of them right?",
        mistakes_of_both,
    ),
    ("Does the plain network of 56 layers overfit? Compare its training and test accuracy.", is_it_overfitting),
    (
        "By what factor does the gradient change from the last layer to the first, without norm and with?",
        gradient_ratios,
    ),
    ("In which blocks of ResNet-20 is the branch larger than its shortcut? And in ResNet-56?", larger_branches),
    (f"Which background from {scenes.NUMBERS[0]} to {scenes.NUMBERS[-1]} fools ResNet-56 most often?", hardest_scene),
)


# --- links ------------------------------------------------------------------------------------------------------------


@st.fragment
def _offer_link() -> None:
    """Makes a link that hides what a lesson does not need."""
    with navigation.error_boundary(), st.container(key="class_form"):
        st.subheader("A link for your lesson", anchor=False)
        pages = {name: page.title for name, page in session().pages.items() if name != NAME}
        name = st.selectbox(
            "Page, as you saw it last", list(pages), format_func=pages.__getitem__, key="class_page", width=320
        )
        words = {part: capital(text) for part, text in lesson.PARTS.items()}
        parts = st.pills("Hide", list(words), selection_mode="multi", format_func=words.__getitem__, key="class_parts")
        presented = st.toggle("Large type, for a projector", key="class_presented")
        view = bar.into_query(name, session().view(name), session().pair)
        view = {field: value for field, value in view.items() if field not in url_query.TRAVELLING}
        fields = lesson.fields(parts) | ({"present": "1"} if presented else {})
        st.code(navigation.view_url(name, view | fields), language=None, wrap_lines=True)
        st.caption("What is hidden is out of the way, not locked: every page of a lesson offers to show everything.")
