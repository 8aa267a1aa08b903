"""The upload of weights: the report on the file, its open questions, and the model that results."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from explorer import weights_import
from explorer.datasets import shapes
from explorer.datasets.downloadable import DOWNLOADABLE
from explorer.errors import user_message
from explorer.labels import numbered_classes
from explorer.ui import dataset_access, missing, navigation, network_registry, user_models
from explorer.ui.build_state import BuildState
from explorer.ui.markdown import as_code, as_sentence, as_text
from explorer.ui.models import model_table
from explorer.ui.network_text import UPLOADED_DATA
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import INFERENCE_SLOTS
from explorer.ui.services.input_images import sample_image
from explorer.ui.session import find_image, session
from explorer.ui.widgets.class_order import CHANGE, assumed_text, order_classes
from explorer.ui.widgets.download import offer_labelled_images
from explorer.ui.widgets.uploader import file_uploader
from explorer.weights_import import NORMALISATIONS, Normalisation, NormalisationScore, Reading, Report

CLASS_LISTS = {about.title: about.class_names for about in DOWNLOADABLE.values()} | {"Shapes": shapes.CLASS_NAMES}
TRIED = 500  # labelled pictures for each reading with each normalisation
OTHER = "class 0, class 1, …"


def upload() -> None:
    st.subheader("Load weights", anchor=False)
    if link := session().pending_link:
        st.info(
            f"The link that you opened needs the network {as_code(link.name)}. Upload its file, answer as before and "
            "use it; then the view of the link opens."
        )
    file = file_uploader(
        "A file of weights",
        key="weights",
        help="Any CNN as ONNX; ResNets, ResNeXts, VGGs and tutorial CNNs of many programs; or a file of this app, with "
        "any ending. It is read in a process of its own and never executed; it stays with your session.",
    )
    if file is None:
        _forget()
        st.caption(
            "What you upload is recognised by its keys and shapes, translated, and loaded completely or not at all. "
            "You see by what evidence, and choose where the file alone cannot tell."
        )
        return
    kept: tuple[str, Report | str] | None = st.session_state.get("report")
    if kept is None or kept[0] != file.file_id:
        with st.spinner("Reading the file"):
            try:
                kept = (file.file_id, user_models.inspect_upload(file.getvalue(), file.name))
            except ValueError as error:
                kept = (file.file_id, user_message(error))
        st.session_state["report"] = kept
    if isinstance(kept[1], str):
        st.error(as_sentence(kept[1]))
    else:
        _show_report(kept[1], kept[0])


def _show_report(report: Report, file: str) -> None:
    """The question, the button that takes the answer, and then what led to it.

    `file` is in the key of each widget, so that the answers for one file do not hold for the next.
    """
    with st.container(border=True):
        st.markdown(f"{as_code(_name(report))} is of the family **{report.family}**.")
        index = _ask(report, file)
        reading = report.readings[index or 0]
        answer = st.container()  # the button depends on the settings, which stand below it
        with st.expander("Classes, normalisation and name"):
            class_names = _class_names(report.readings[0], file)
            normalisation = _choose_normalisation(reading, f"normalisation-{file}-{index or 0}")
            title = st.text_input("Name", value=_first_title(report), max_chars=80, key=f"title-{file}")
        with answer:
            lacks = "Answer the question first." if index is None else ""
            lacks = lacks or ("" if class_names else "Name all classes below first.")
            pressed = st.button("Use this model", type="primary", key="use", disabled=bool(lacks))
            if lacks:
                st.caption(lacks)
            elif class_names:
                _try_out(reading, normalisation, class_names)
        if class_names:
            _measure(report, class_names, file)
        _show_evidence(report)
        if pressed and class_names:
            _use(report, reading, normalisation, class_names, title)


def _ask(report: Report, file: str) -> int | None:
    """The index of the reading that is chosen: at first the one that the evidence supports, None where it is even."""
    readings = report.readings
    if len(readings) == 1:
        return 0
    likelier = [number for number, reading in enumerate(readings) if reading.is_likelier]
    marks = dict.fromkeys(likelier, " (more likely)")
    chosen = st.radio(
        "Which network is this?",
        range(len(readings)),
        format_func=lambda number: f"{readings[number].title}{marks.get(number, '')}",
        index=likelier[0] if len(likelier) == 1 else None,
        key=f"reading-{file}",
        help=as_sentence(report.question or ""),
    )
    if len(likelier) != 1:
        st.caption("The evidence in the file is even: it supports none of them more than the others.")
    return chosen


def _choose_normalisation(reading: Reading, key: str) -> Normalisation:
    known = {reading.normalisation.name: reading.normalisation} | NORMALISATIONS
    name = st.selectbox("Normalisation", list(known), format_func=lambda name: known[name].title, key=key)
    st.caption(f"{reading.normalisation.title} is assumed because {reading.normalisation_reason}.")
    return known[name]


def _show_evidence(report: Report) -> None:
    with st.expander("Evidence"):
        doubts = dict.fromkeys(sentence for reading in report.readings for sentence in reading.uncertain)
        uncertain = [f"*Uncertain:* {as_sentence(sentence)}" for sentence in doubts]
        st.markdown("\n".join(f"- {words}" for words in [*map(as_sentence, report.evidence), *uncertain]))
        renamed = [{"in the file": weights_import.printable(old), "here": new} for old, new in report.renamed]
        ignored = [{"in the file": weights_import.printable(name)} for name in report.ignored]
        for words, keys in (("renamed", renamed), ("ignored", ignored)):
            if keys:
                st.caption(f"{len(keys):,} keys {words}:")
                st.dataframe(keys, hide_index=True)


def _name(report: Report) -> str:
    return report.name.strip("`")


def _first_title(report: Report) -> str:
    """The name of the file, as far as a model may be called that."""
    stem = _name(report).rsplit(".", 1)[0].removesuffix(".pth")
    return "".join(letter for letter in stem if letter.isprintable())[:80].strip() or "uploaded"


def _measure(report: Report, class_names: tuple[str, ...], file: str) -> None:
    """Each reading with each normalisation on labelled pictures of these classes, or where to get such pictures."""
    first = report.readings[0]
    takes = (first.spec.input_shape, first.spec.classes)
    readings = [each for each in report.readings if (each.spec.input_shape, each.spec.classes) == takes]
    try:
        fitting = dataset_access.labelled_data(first.spec, class_names)
    except ValueError as error:  # uploaded pictures that are damaged
        st.error(as_sentence(user_message(error)))
        return
    if not fitting:
        _offer_images(first, class_names)
        return
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    data = left.selectbox(
        "Labelled images",
        fitting,
        format_func=dataset_access.data_title,
        key="labelled",
        help="Only images of the network's own classes can tell the readings apart.",
    )
    if class_names == numbered_classes(first.spec.classes):
        said = st.empty()
        with st.popover(CHANGE):
            ordered = order_classes(dataset_access.class_names(data), f"{file}-{data}")
        said.caption(assumed_text("The file", ordered or dataset_access.class_names(data)))
        if ordered is None:
            return
        class_names = ordered
    known = {first.normalisation.name: first.normalisation} | NORMALISATIONS
    if right.button("Measure", key="measure"):
        with st.spinner("Measuring each reading with each normalisation"):
            try:
                split, names = dataset_access.test_split(data)
                split = weights_import.index_labels(split, names, class_names, first.spec.classes)
                with INFERENCE_SLOTS:
                    trials = weights_import.score_normalisations(readings, known.values(), split, TRIED)
            except ValueError as error:
                st.error(as_sentence(user_message(error)))
                return
        st.session_state["trials"] = (report, data, class_names, trials)
    kept = st.session_state.get("trials")
    if kept is None or kept[0] is not report or kept[1:3] != (data, class_names):
        return
    trials = kept[3]
    _recommend(report, trials, file)
    st.dataframe(
        [
            {
                "reading": trial.reading.title,
                "normalisation": trial.normalisation.title,
                "accuracy": 100 * trial.accuracy,
            }
            for trial in trials
        ],
        hide_index=True,
        column_config={"accuracy": st.column_config.NumberColumn(format="%.1f%%")},
        key="trials_table",
    )


def _offer_images(first: Reading, class_names: tuple[str, ...]) -> None:
    """Where to get labelled images of these classes."""
    is_offered = offer_labelled_images(
        f"No labelled images of these classes at {first.spec.input_shape[1]} pixels are on this machine. With "
        "some, the readings and normalisations can be measured.",
        [(first.spec, class_names)],
        "Upload a zip with a folder for each class, called like the class.",
    )
    if not is_offered and st.button("Upload images on Build & train", key="get_pictures"):
        kept = BuildState.from_query(session().view("build"))
        session().build_tab = "Data"
        navigation.switch_page("build", replace(kept, data="own", run=None).to_query())


def _recommend(report: Report, trials: Sequence[NormalisationScore], file: str) -> None:
    """The best reading and a button that takes it; none, and why, where it is right no more often than by chance."""
    best, chance = trials[0], weights_import.reached_by_guessing(trials)
    if best.accuracy <= chance:
        said = (
            f"No reading beats chance on these images. The best is {best.reading.title} with the normalisation "
            f"{best.normalisation.title}: accuracy {best.accuracy:.1%} (n = {best.n:,}). Guessing gives "
            f"{best.guessing:.1%} and in {len(trials)} tries up to {chance:.1%}. Either the network was not trained on "
            "such images, or it was not trained at all."
        )
        st.warning(as_sentence(said))
        return
    st.markdown(
        f"Best on {best.n:,} images: **{as_text(best.reading.title)}** with the normalisation "
        f"**{best.normalisation.title}**, accuracy {best.accuracy:.1%}; guessing reaches {chance:.1%} at most. If the "
        f"assumed normalisation is within {2 * (0.25 / best.n) ** 0.5:.0%}, keep it: the difference may be chance."
    )
    st.button("Take this reading and normalisation", on_click=_take, args=(report, best, file))


def _take(report: Report, trial: NormalisationScore, file: str) -> None:
    index = next(number for number, reading in enumerate(report.readings) if reading is trial.reading)
    st.session_state[f"reading-{file}"] = index
    st.session_state[f"normalisation-{file}-{index}"] = trial.normalisation.name


def _class_names(reading: Reading, key: str) -> tuple[str, ...] | None:
    """The names for the network's classes, or None, and a user_message, while there are too few or too many."""
    count = reading.spec.classes
    fitting: dict[str, tuple[str, ...]] = {}
    if reading.class_names:
        fitting["of the file" if reading.own_checkpoint else "as the family has them"] = reading.class_names
    for name, listed in CLASS_LISTS.items():
        if len(listed) == count and listed != reading.class_names:
            fitting[name] = listed
    fitting[OTHER] = numbered_classes(count)
    own = "your own list"
    one = reading.spec.one_logit and not reading.class_names  # nothing tells which class its one output stands for
    choice = st.selectbox("Classes", [own, *fitting] if one else [*fitting, own], key=f"classes-{key}")
    if choice != own:
        return fitting[choice]
    order = "first that of a small output, then that of a large one" if one else "in the order of the network's outputs"
    text = st.text_area(f"One class a line, {order}", key=f"class_list-{key}")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) != count:
        st.info(f"{len(names):,} names so far; the network has {count:,} classes.")
        return None
    return names


def _try_out(reading: Reading, normalisation: Normalisation, class_names: tuple[str, ...]) -> None:
    """The first predictions for one picture: that of the bar, or a drawn one."""
    state = AppState.from_query(session().pair)
    subject = find_image(replace(state, dials="")) or sample_image(6, 6)
    best = model_table.try_out(reading, normalisation, subject)
    words = ", ".join(f"{as_code(class_names[index])} {share:.1%}" for index, share in best)
    left, right = st.columns([1, 4], vertical_alignment="center")
    left.image(subject.shown, output_format="PNG", alt=subject.title)
    right.markdown(f"It predicts for {subject.title}: {words}.")
    right.caption("Choose another image in the bar above.")


def _use(
    report: Report, reading: Reading, normalisation: Normalisation, class_names: tuple[str, ...], title: str
) -> None:
    data = f"{UPLOADED_DATA}{report.family}"
    try:
        name = user_models.save_upload(reading, normalisation, class_names, title.strip() or _first_title(report), data)
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        return
    _forget()
    if not missing.open_pending_link(name):
        seen = AppState.from_query(session().pair)
        is_shape = seen.sample is not None or seen.test is not None
        picture = network_registry.sample_for(name) if is_shape else seen.picture
        navigation.switch_page("explore", AppState(first=name, second=None, picture=picture).to_query())


def _forget() -> None:
    """Of the file that was uploaded: its report and the measured readings."""
    for key in ("report", "trials"):
        st.session_state.pop(key, None)
