"""Compare, on many pictures: what the networks say, how alike they are inside, how much of a cam is on the object."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import streamlit as st

from explorer import figures
from explorer.datasets import shapes
from explorer.errors import user_message
from explorer.experiments.agreement import Predictions, accuracy_of, disagreements
from explorer.experiments.cam_metrics import ObjectShares
from explorer.experiments.similarity import MINIMUM, Similarity
from explorer.ui import dataset_access, navigation
from explorer.ui.charts import chart
from explorer.ui.compare import charts, export, findings, report
from explorer.ui.compare.findings import Question
from explorer.ui.compare.state import CompareState
from explorer.ui.markdown import as_sentence, as_text, table
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import InputImage, NetworkResult
from explorer.ui.session import session
from explorer.ui.widgets import long_task

PICTURES_A_PAGE = 12
COLUMNS = 6
IN_REPORT = 12  # pictures of each pair
THUMBNAIL = 96


def sections(
    looked: list[NetworkResult], key: str, subject: InputImage | None = None, state: CompareState | None = None
) -> None:
    """Draws them all for 2 to 4 networks, and the export; `key` tells these networks from others: the choice of two of
    them is made anew for others, what is asked of them stays. `subject` is the picture that they looked at and `state`
    the view of it: the report shows the same."""
    try:
        shared = findings.shared_data(looked)
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        shared = []
    _on_labels(looked, shared, f"{key}-said")
    _inside(looked, shared, f"{key}-cka")
    if drawn := [data for data in shared if shapes.named(data)]:
        _on_objects(looked, drawn, f"{key}-shares")
    export.section(looked, key, subject, state)


def _on_labels(looked: list[NetworkResult], shared: list[str], key: str) -> None:
    st.subheader("What they say on a labelled set", anchor=False)
    if not shared:
        st.info(
            "There are no labelled pictures here that all these networks know. Choose networks with the same classes, "
            "or bring pictures: upload a zip with one folder for each class in Build & train, named as the classes of "
            "these networks are."
        )
        return
    st.markdown(
        "Test pictures with known labels, none of them trained on if the networks come from this data. Look for "
        "whether the better one is right where the other is wrong, or whether they fail on the same pictures."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        data = _choose_data(shared, "said")
        n = _choose_count(data, (200, 1000, 5000), 1000, "said", everything=True)
    question = Question("said", data, n)
    _ask(question, looked, lambda results: _draw_said(question, looked, results, key))


def _choose_data(options: Sequence[str], kind: str) -> str:
    return st.selectbox(
        "Pictures",
        list(options),
        key=f"many-{kind}-data",
        format_func=lambda data: f"test pictures of {dataset_access.data_title(data)}",
        persist_state="session",
        width=300,
    )


def _choose_count(data: str, counts: Sequence[int], default: int, kind: str, everything: bool = False) -> int:
    total = findings.test_count(data)
    options = [count for count in counts if count < total]
    if everything or not options:
        options.append(total)
    chosen = default if default in options else options[-1]
    return st.selectbox(
        "How many",
        options,
        index=options.index(chosen),
        key=f"many-{kind}-n-{data}-{options[-1]}",
        format_func=lambda count: f"all {count:,}" if count == total else f"{count:,}",
        persist_state="session",
        width=140,
    )


def _ask(question: Question, looked: list[NetworkResult], draw: Callable[[dict[str, Any]], None]) -> None:
    """Draws the answers of all networks; what is not known yet is measured at a click."""
    key = question.key(*(network.name for network in looked))
    lacking = findings.missing(question, looked)
    if not lacking:
        known = {network.name: findings.answer(question, network.name) for network in looked}
        session().results.put(key, known)
    count = "1 network" if len(lacking) == 1 else f"{len(lacking)} networks"
    long_task.long_task(
        key,
        f"Measure {count} on {question.n:,} pictures",
        lambda: findings.ask(question, looked),
        draw,
        seconds=findings.seconds(question, looked) if lacking else None,
    )


def _draw_said(question: Question, looked: list[NetworkResult], said: dict[str, Predictions], key: str) -> None:
    names = findings.names_of(looked)
    n, classes = len(said[looked[0].name]), len(said[looked[0].name].class_names)
    found = {name: accuracy_of(each) for name, each in said.items()}
    chart(charts.accuracies(looked, names, found), f"{key}-accuracy", "Accuracy with its interval")
    accuracies = charts.accuracy_table(_written(names), found)
    st.markdown(table(accuracies.columns, accuracies.rows))
    read = charts.MIXED_UP if classes <= figures.MATRIX_CLASSES else charts.MOST_OFTEN
    st.markdown(
        f"**Mistakes** on {n:,} pictures of {classes} classes. {read} Look for classes that one network mixes up and "
        "the other does not."
    )
    _draw_mistakes(looked, names, said, key)
    _draw_pairs(looked, names, said, key)
    _draw_gallery(question, looked, names, said, key)
    indices = findings.pictures(question).indices
    navigation.download_button(
        "Predictions (CSV)",
        data=lambda: report.predictions_csv(names, said, indices),
        file_name=f"predictions-{question.data[:14]}-{n}.csv",
        mime="text/csv",
        key=f"{key}-csv",
        help="One line for each picture: its number in the test split, its label, and what each network says.",
    )


def _draw_mistakes(looked: list[NetworkResult], names: dict[str, str], said: dict[str, Predictions], key: str) -> None:
    if len(said[looked[0].name].class_names) <= figures.MATRIX_CLASSES:
        drawn = charts.confusions(looked, names, said)
        chart(drawn, f"{key}-confusion", "Confusion matrix of each network")
        return
    mistakes = charts.frequent_mistakes(looked, names, said)
    heads, *rows = [[*map(as_text, row)] for row in (mistakes.columns, *mistakes.rows)]
    st.markdown(table(heads, rows, 2))


def _written(names: Mapping[str, str]) -> dict[str, str]:
    return {name: as_text(title) for name, title in names.items()}


def _draw_pairs(looked: list[NetworkResult], names: dict[str, str], said: dict[str, Predictions], key: str) -> None:
    st.markdown(
        "**Agreement**: pictures that only one of the two has right. McNemar's test compares these two counts alone; "
        "pictures that both have right, or neither, say nothing about which is better."
    )
    chart(charts.pairs(looked, names, said), f"{key}-pairs", "What only one of each pair has right")
    found, sentences = charts.pair_table(looked, _written(names), said)
    st.markdown(table(found.columns, found.rows))
    st.markdown("\n".join(f"- {words}" for words in sentences))
    count = len(sentences)
    many = f" With {count} comparisons, a p below 0.05 by chance is more likely than with one." if count > 1 else ""
    st.caption(f"{charts.LIMITS_OF_P}{many}")


def _draw_gallery(
    question: Question, looked: list[NetworkResult], names: dict[str, str], said: dict[str, Predictions], key: str
) -> None:
    pairs = list(combinations(range(len(looked)), 2))
    about = findings.pictures(question)
    _keep_for_report(question, looked, said, about)
    st.markdown("**Pictures on which they disagree**, first those whose label gets the most different probabilities.")
    place = pairs[0]
    if len(pairs) > 1:
        place = st.selectbox(
            "Two of the networks",
            pairs,
            key=f"{key}-pair-{len(looked)}",
            format_func=lambda two: " and ".join(names[looked[index].name] for index in two),
            width=420,
        )
    a, b = (looked[index] for index in place)
    indices = disagreements(said[a.name], said[b.name])
    if not len(indices):
        st.info(f"{as_text(names[a.name])} and {as_text(names[b.name])} say the same on all {question.n:,} pictures.")
        return
    pages = -(-len(indices) // PICTURES_A_PAGE)
    page = st.pagination(pages, key=f"{key}-page-{question.n}-{a.name}-{b.name}") - 1 if pages > 1 else 0
    first = page * PICTURES_A_PAGE
    shown = [int(index) for index in indices[first : first + PICTURES_A_PAGE]]
    st.caption(f"{first + 1}–{first + len(shown)} of {len(indices):,}; ✓ and ✗ say whether the network is right.")
    for start in range(0, len(shown), COLUMNS):
        for column, index in zip(st.columns(COLUMNS), shown[start : start + COLUMNS], strict=False):
            with column:
                _draw_disagreement(about, index, (a, b), names, said, key)


def _draw_disagreement(
    about: findings.TestPictures,
    index: int,
    pair: tuple[NetworkResult, NetworkResult],
    names: dict[str, str],
    said: dict[str, Predictions],
    key: str,
) -> None:
    number = int(about.indices[index])
    pixels = about.split.images[number].transpose(1, 2, 0)
    label, *lines = charts.what_they_say(index, pair, names, said)
    st.image(figures.shown(pixels, THUMBNAIL), output_format="PNG", width=THUMBNAIL, alt=f"Test picture {number}")
    st.markdown(f"**{as_text(label)}**  \n" + "  \n".join(map(as_text, lines)))
    if st.button("Explore", key=f"{key}-open-{number}", help="Opens this picture in Explore, with both networks."):
        name = f"{about.title}, test picture {number}: {label}"
        mask = None if about.split.masks is None else about.split.masks[number]
        drawn = None if mask is None else label  # of a drawn shape it is one of ours
        picture = session().uploads.add(figures.png(pixels), name, mask, drawn)
        navigation.switch_page("explore", AppState(first=pair[0].name, second=pair[1].name, picture=picture).to_query())


def _keep_for_report(
    question: Question, looked: list[NetworkResult], said: dict[str, Predictions], about: findings.TestPictures
) -> None:
    """Pictures that a report shows; when it is asked for, no session is there that could read the data."""
    kept = {}  # copies: a view would keep the whole split
    for a, b in combinations(looked, 2):
        for index in disagreements(said[a.name], said[b.name])[:IN_REPORT]:
            kept[int(index)] = about.split.images[about.indices[index]].transpose(1, 2, 0).copy()
    findings.keep(Question("pictures", question.data, question.n), tuple(said), (kept, about.indices))


def _inside(looked: list[NetworkResult], shared: list[str], key: str) -> None:
    st.subheader("How alike they are inside", anchor=False)
    st.markdown(
        f"{charts.INSIDE} Look for whether the diagonal is bright, so that layers of the same relative depth do the "
        "same, and for blocks of layers that hardly differ."
    )
    names = findings.names_of(looked)
    options = shared or findings.any_data()
    most = findings.most_pictures(looked)
    counts = [count for count in (50, 100, 200, 500) if count <= most]
    if not options or not (counts or most >= MINIMUM):
        st.info("These networks need too much memory to be compared here; choose smaller ones.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        places = list(range(len(looked)))
        chosen = [
            st.selectbox(
                label,
                places,
                index=index,
                key=f"{key}-{index}-{len(looked)}",
                format_func=lambda place: names[looked[place].name],
                width=240,
            )
            for index, label in enumerate(("Rows", "Columns"))
        ]
        data = _choose_data(options, "cka")
        n = _choose_count(data, counts or [most], 200, "cka")
    if len(counts) < 4:
        st.caption(f"More than {(counts or [most])[-1]} pictures of this size would not fit into memory.")
    a, b = (looked[place] for place in chosen)
    question = Question("cka", data, n)
    known = findings.answer(question, a.name, b.name)
    if known is not None:
        session().results.put(question.key(a.name, b.name), known)
    two = [a] if a.name == b.name else [a, b]
    long_task.long_task(
        question.key(a.name, b.name),
        f"Compare all layers on {n:,} pictures",
        lambda: findings.compare_inside(question, a, b),
        lambda alike: _draw_similarity(alike, a, b, names, key),
        seconds=None if known is not None else findings.seconds(question, two),
    )


def _draw_similarity(alike: Similarity, a: NetworkResult, b: NetworkResult, names: dict[str, str], key: str) -> None:
    estimate = st.segmented_control(
        "Estimate",
        ["debiased", "plain"],
        default="debiased",
        required=True,
        key="many-estimate",
        persist_state="session",
        help="Plain CKA is the one of Kornblith et al. 2019; debiased uses the unbiased estimate of HSIC.",
    )
    st.caption(f"On {alike.n:,} pictures. {charts.BIAS}")
    titles = (names[a.name], names[b.name])
    with st.container(width=660):  # about square, and narrower where the window is
        drawn = charts.similarities(alike, titles, estimate == "debiased")
        chart(drawn, f"{key}-chart", "Linear CKA of all pairs of layers")
    st.markdown(charts.most_alike(alike, (as_text(titles[0]), as_text(titles[1])), estimate == "debiased"))
    for reason in charts.undefined(alike, titles):
        st.caption(f"Grey: {as_text(reason)}")


def _on_objects(looked: list[NetworkResult], drawn: list[str], key: str) -> None:
    st.subheader("How much of the Grad-CAM lies on the object", anchor=False)
    st.markdown(
        "The app drew these pictures, so it knows every pixel of the object. Look for the depth at which a line leaves "
        "the grey one, which is what a map has that is spread evenly over the picture."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        data = _choose_data(drawn, "shares")
        n = _choose_count(data, (50, 200, 500), 200, "shares", everything=True)
        target = st.segmented_control(
            "Class that is explained",
            ["label", "prediction"],
            default="label",
            required=True,
            key="many-target",
            persist_state="session",
            help="The label: all networks are asked the same. The prediction: each explains what it says itself.",
        )
    question = Question("shares", data, n, "prediction" if target == "prediction" else "label")
    _ask(question, looked, lambda results: _draw_shares(looked, results, key))


def _draw_shares(looked: list[NetworkResult], shares: dict[str, ObjectShares], key: str) -> None:
    names = findings.names_of(looked)
    drawn = charts.object_shares(looked, names, findings.dashes(looked), shares)
    chart(drawn, f"{key}-chart", "Share of the Grad-CAM on the object, by relative depth")
    st.caption(
        "Bands are one standard error of the mean up and down. "
        + " ".join(as_text(sentence) for sentence in charts.share_sentences(looked, names, shares))
    )
