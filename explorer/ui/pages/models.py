"""Models: every network that can be looked at, and the way in for other people's weights."""

import streamlit as st

from explorer import figures, published
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.foreign import NORMALISATIONS, Normalisation, Reading, Report, Trial, numbered, plain, self_test
from explorer.ui import models, navigation, resources, trainings
from explorer.ui.controls import offer_download
from explorer.ui.markdown import as_code, as_text
from explorer.ui.state import NAME, AppState

SUFFIXES = ["pt", "pth", "th", "t7", "ckpt", "safetensors"]
CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASS_LISTS: dict[str, tuple[str, ...]] = {"CIFAR-10": CIFAR_10, "Shapes": shapes.CLASS_NAMES}
TRIED = 500  # labelled pictures for each reading with each normalisation
OTHER = "class 0, class 1, …"


def show() -> None:
    resources.remember_owner()
    st.header("Models", anchor=False)
    left, right = st.columns([7, 5], gap="large")
    with left:
        _table()
    with right:
        _upload()


# --- what is there ---------------------------------------------------------------------------------------------------


def _table() -> None:
    rows = resources.model_rows()
    st.dataframe(
        [
            {
                "model": row.title,
                "source": row.source,
                "data": row.data,
                "depth": row.depth,
                "parameters": row.parameters,
                "accuracy": None if row.accuracy is None else 100 * row.accuracy,
                "n": row.n,
            }
            for row in rows
        ],
        hide_index=True,
        column_config={
            "model": st.column_config.TextColumn(width=203),
            "source": st.column_config.TextColumn(width=108),
            "data": st.column_config.TextColumn(width=158),
            "depth": st.column_config.NumberColumn(width=52),
            "parameters": st.column_config.NumberColumn(width=94, format="localized"),
            "accuracy": st.column_config.NumberColumn(width=78, format="%.2f %%", help="On test pictures"),
            "n": st.column_config.NumberColumn(width=66, format="localized", help="Test pictures"),
        },
        placeholder="",
        height=min(620, 38 + 35 * len(rows)),
        key="models_table",
    )
    st.caption(
        "Click a heading to sort; the magnifying glass above the table searches. What is marked ↓ has to be "
        "downloaded first. Accuracies without n are torchvision's own, on the validation pictures of ImageNet-1K."
    )
    names = [row.name for row in rows]
    chosen = st.query_params.get("model", "")
    if models.SHARED.fullmatch(chosen) and chosen not in names and resources.is_network(chosen):
        names.append(chosen)  # somebody else's, by their link
    elif chosen and chosen not in names:
        st.info("The model of this link is not here any more.")
    st.session_state["model"] = chosen if chosen in names else names[0]
    titles = {name: resources.title(name) for name in names if name == chosen and models.SHARED.fullmatch(name)}
    titles |= {row.name: f"{row.title} · {row.source}" for row in rows}
    st.selectbox(
        "Model",
        names,
        key="model",
        format_func=lambda name: titles[name],
        on_change=lambda: st.query_params.update(model=st.session_state["model"]),
    )
    _card(st.session_state["model"])


def _card(name: str) -> None:
    key = resources.published_key(name)
    if key and not resources.is_network(name):
        _offer_download(key)
        return
    try:
        checkpoint = resources.checkpoint(name)
    except ValueError as error:
        st.error(as_text(str(error)))
        if key:
            _offer_download(key)  # which replaces a file that is not the published one
        return
    test = checkpoint.figures.get("test")
    known = f" Right on {test['accuracy']:.2%} of {test['n']:,} test pictures." if test else ""
    if "torchvision" in checkpoint.figures:
        said = checkpoint.figures["torchvision"]
        known = f" Right on {said['accuracy']:.2%}: {said['note']}."
    mean, std = (" ".join(f"{value:.3g}" for value in values) for values in (checkpoint.mean, checkpoint.std))
    st.markdown(
        f"**{checkpoint.spec.name}**, {checkpoint.spec.depth} weighted layers, {len(checkpoint.class_names)} classes, "
        f"input {' × '.join(map(str, checkpoint.spec.input_shape))}, from {as_code(checkpoint.data)}.{known} "
        f"Normalised by mean {mean}, standard deviation {std}."
    )
    st.plotly_chart(
        figures.network_drawing(resources.description(checkpoint.spec), theme=resources.theme()),
        key="model_drawing",
        config={"displayModeBar": False},
        alt=f"Drawing of {checkpoint.spec.name}",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if st.button("Explore", key="explore_model", type="primary"):
            navigation.go("explore", AppState(first=name, second=resources.twin_name(name)).to_query())
        st.download_button(
            "Download as one file",
            data=lambda: resources.file_bytes(name),
            file_name=f"{checkpoint.spec.name.lower()}.safetensors",
            mime="application/octet-stream",
            on_click="ignore",
            help="Weights, spec, classes, normalisation and figures in one safetensors file.",
        )
        if models.is_mine(name):
            _own_buttons(name)
    if models.SHARED.fullmatch(name):
        st.caption("Whoever has this link can look at it:")
        st.code(navigation.link("explore", AppState(first=name, second=None).to_query()), language=None)
    if models.MINE.fullmatch(name):
        with st.expander("Classes and normalisation"):
            _changes(name, checkpoint)
    if "model_error" in st.session_state:
        st.error(as_text(st.session_state.pop("model_error")))


def _offer_download(key: str) -> None:
    about = published.PUBLISHED[key]
    st.info(f"The published weights are not on this machine: {about.download_bytes / 1e6:,.0f} MB to download.")
    offer_download("Download the weights", lambda: published.download(key))


def _own_buttons(name: str) -> None:
    if models.MINE.fullmatch(name):
        st.button(
            "Share by a link",
            on_click=_share,
            args=(name,),
            help="Keeps it on this server until you delete it, or nobody opens it for "
            f"{models.SHARED_DAYS} days; whoever has the link can look at it.",
        )
    if st.session_state.get("deleting_model") == name:
        whole_run = " the whole run" if models.RUN_NETWORK.fullmatch(name) else ""
        st.button(f"Yes, delete{whole_run}", type="primary", on_click=_delete, args=(name,))
        st.button("Keep", on_click=lambda: st.session_state.pop("deleting_model", None))
    else:
        st.button("Delete", key="delete_model", on_click=lambda: st.session_state.update(deleting_model=name))
    st.session_state["new_title"] = models.title_of(name)
    st.text_input("Name", key="new_title", on_change=_rename, args=(name,), max_chars=80, width=240)


def _changes(name: str, checkpoint: Checkpoint) -> None:
    """Other class names and another normalisation for a model that is in use already."""
    kept = "as it is"
    choice = st.selectbox(
        "Normalisation",
        [kept, *NORMALISATIONS],
        format_func=lambda key: NORMALISATIONS[key].title if key in NORMALISATIONS else key,
        key=f"change-normalisation-{name}",
        help="With another one, figures that were measured before are no longer true, and go.",
    )
    text = st.text_area(
        "Classes, one a line, in the order of the network's outputs",
        value="\n".join(checkpoint.class_names),
        key=f"change-classes-{name}",
        height=160,
    )
    class_names = tuple(line.strip() for line in text.splitlines() if line.strip())
    st.button("Save the changes", on_click=_change, args=(name, NORMALISATIONS.get(choice), class_names))


def _change(name: str, normalisation: Normalisation | None, class_names: tuple[str, ...]) -> None:
    try:
        st.query_params["model"] = models.change(name, normalisation, class_names)
    except (ValueError, OSError) as error:
        st.session_state["model_error"] = str(error)


def _share(name: str) -> None:
    try:
        st.query_params["model"] = models.share(name)
    except OSError as error:
        st.session_state["model_error"] = f"it cannot be kept ({error.strerror}); free some space on the disk."
    except ValueError as error:
        st.session_state["model_error"] = str(error)


def _delete(name: str) -> None:
    st.session_state.pop("deleting_model", None)
    try:
        models.delete(name)
    except OSError as error:
        st.session_state["model_error"] = f"it cannot be removed ({error.strerror}); try again."
    except ValueError as error:
        st.session_state["model_error"] = str(error)


def _rename(name: str) -> None:
    try:
        models.rename(name, st.session_state["new_title"])
    except OSError as error:
        st.session_state["model_error"] = f"the name cannot be kept ({error.strerror}); free some space on the disk."
    except ValueError as error:
        st.session_state["model_error"] = str(error)


# --- other people's weights ------------------------------------------------------------------------------------------


def _upload() -> None:
    st.subheader("Load weights", anchor=False)
    file = st.file_uploader(
        "A file of weights",
        type=SUFFIXES,
        key="weights",
        help="torchvision's, timm's and the usual CIFAR ResNets and VGGs, or a file of this app. It is read in a "
        "process of its own and never executed; it stays with your session.",
    )
    if file is None:
        st.session_state.pop("report", None)
        st.session_state.pop("trials", None)
        st.caption(
            "What you upload is recognised by its keys and shapes, translated, and loaded completely or not at all; "
            "you see by what evidence, and choose where the file alone cannot tell."
        )
        return
    kept: tuple[str, Report | str] | None = st.session_state.get("report")
    if kept is None or kept[0] != file.file_id:
        with st.spinner("Reading the file"):
            try:
                kept = (file.file_id, models.examine(file.getvalue(), file.name))
            except ValueError as error:
                kept = (file.file_id, str(error))
        st.session_state["report"] = kept
    if isinstance(kept[1], str):
        st.error(as_text(kept[1]))
    else:
        _show_report(kept[1], kept[0])


def _show_report(report: Report, file: str) -> None:
    """`file` is in the key of each widget: what was answered for one file is no answer for the next."""
    with st.container(border=True):
        st.markdown(f"{as_code(_name(report))} is of the family **{report.family}**.")
        doubts = dict.fromkeys(sentence for reading in report.readings for sentence in reading.uncertain)
        uncertain = [f"*Uncertain:* {sentence}" for sentence in doubts]
        st.markdown("\n".join(f"- {sentence}" for sentence in [*report.evidence, *uncertain]))
        if report.renamed:
            with st.expander(f"{len(report.renamed)} keys renamed"):
                st.dataframe([{"in the file": plain(old), "here": new} for old, new in report.renamed], hide_index=True)
        if report.ignored:
            with st.expander(f"{len(report.ignored)} keys ignored"):
                st.dataframe([{"in the file": plain(name)} for name in report.ignored], hide_index=True)
        if report.question:
            st.info(report.question)
        _measure(report, file)
        index = 0
        if len(report.readings) > 1:
            answer = st.radio(
                "It is",
                list(range(len(report.readings))),
                format_func=lambda number: report.readings[number].title,
                index=None,
                key=f"reading-{file}",
            )
            if answer is None:
                return
            index = answer
        reading = report.readings[index]
        known = {reading.normalisation.name: reading.normalisation} | NORMALISATIONS
        normalisation = known[
            st.selectbox(
                "Normalisation",
                list(known),
                format_func=lambda name: known[name].title,
                key=f"normalisation-{file}-{index}",
            )
        ]
        st.caption(f"{reading.normalisation.title} is assumed because {reading.normalisation_reason}.")
        class_names = _class_names(reading, f"{file}-{index}")
        if class_names is None:
            return
        _try_out(reading, normalisation, class_names)
        title = st.text_input("Name", value=_name(report).rsplit(".", 1)[0][:80], max_chars=80, key=f"title-{file}")
        if st.button("Use this model", type="primary", key="use"):
            _use(report, reading, normalisation, class_names, title)


def _name(report: Report) -> str:
    return report.name.strip("`")


def _measure(report: Report, file: str) -> None:
    """Each reading with each normalisation on labelled pictures, where there are some that fit."""
    first = report.readings[0]
    fitting = trainings.labelled_data(first.spec)
    readings = [
        each
        for each in report.readings
        if (each.spec.input_shape, each.spec.classes, each.class_names)
        == (first.spec.input_shape, first.spec.classes, first.class_names)
    ]
    if not fitting:
        st.caption(
            "With labelled pictures of the same classes at hand, the readings and normalisations can be measured: "
            "download CIFAR-10 or upload a zip on the page Build & train, in the tab Data."
        )
        return
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    data = left.selectbox("Labelled pictures", fitting, format_func=trainings.data_title, key="labelled")
    known = {report.normalisation.name: report.normalisation} | NORMALISATIONS
    if right.button("Measure", key="measure"):
        with st.spinner("Measuring each reading with each normalisation"):
            try:
                split, names = trainings.test_split(data)
                split = numbered(split, names, first.class_names, first.spec.classes)
                with resources.PASSES:
                    trials = self_test(readings, known.values(), split, TRIED)
            except ValueError as error:
                st.error(str(error))
                return
        st.session_state["trials"] = (report, trials)
    kept = st.session_state.get("trials")
    if kept is None or kept[0] is not report:
        return
    best = kept[1][0]
    st.markdown(
        f"Best on {best.n:,} pictures: **{best.reading.title}** with the normalisation **{best.normalisation.title}**, "
        f"{best.accuracy:.1%} right. Differences below {2 * (0.25 / best.n) ** 0.5:.0%} may be chance: where the "
        "assumed normalisation is that near, keep it."
    )
    st.button("Take this reading and normalisation", on_click=_take, args=(report, best, file))
    st.dataframe(
        [
            {"reading": trial.reading.title, "normalisation": trial.normalisation.title, "right": 100 * trial.accuracy}
            for trial in kept[1]
        ],
        hide_index=True,
        column_config={"right": st.column_config.NumberColumn(format="%.1f %%")},
        key="trials_table",
    )


def _take(report: Report, trial: Trial, file: str) -> None:
    index = next(number for number, reading in enumerate(report.readings) if reading is trial.reading)
    st.session_state[f"reading-{file}"] = index
    st.session_state[f"normalisation-{file}-{index}"] = trial.normalisation.name


def _class_names(reading: Reading, key: str) -> tuple[str, ...] | None:
    """The names for the network's classes, or None, and a sentence, while there are too few or too many."""
    count = reading.spec.classes
    fitting = {name: names for name, names in CLASS_LISTS.items() if len(names) == count}
    if reading.class_names:
        known = "of the file" if reading.own else "as the family has them"
        fitting = {known: reading.class_names} | {
            name: names for name, names in fitting.items() if names != reading.class_names
        }
    numbered = tuple(f"class {index}" for index in range(count))
    fitting[OTHER] = numbered
    own = "your own list"
    choice = st.selectbox("Classes", [*fitting, own], key=f"classes-{key}")
    if choice != own:
        return fitting[choice]
    text = st.text_area("One class a line, in the order of the network's outputs", key=f"class_list-{key}")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) != count:
        st.info(f"{len(names):,} names so far; the network has {count:,} classes.")
        return None
    return names


def _try_out(reading: Reading, normalisation: Normalisation, class_names: tuple[str, ...]) -> None:
    """What it says of one picture, at once: the picture of the Explore page, or a drawn one."""
    subject = resources.current_subject()
    best = resources.try_out(reading, normalisation, subject)
    said = ", ".join(f"{as_code(class_names[index])} {share:.1%}" for index, share in best)
    left, right = st.columns([1, 4], vertical_alignment="center")
    left.image(subject.shown, output_format="PNG", alt=subject.title)
    right.markdown(f"Of {subject.title} it says: {said}.")
    right.caption("Change the picture on the page Explore.")


def _use(
    report: Report, reading: Reading, normalisation: Normalisation, class_names: tuple[str, ...], title: str
) -> None:
    try:
        name = models.keep(
            reading, normalisation, class_names, title.strip() or report.name, f"uploaded, {report.family}"
        )
    except ValueError as error:
        st.error(str(error))
        return
    assert NAME.fullmatch(name)
    for key in ("report", "trials"):
        st.session_state.pop(key, None)
    navigation.go("explore", AppState(first=name, second=None).to_query())
