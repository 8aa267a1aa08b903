"""Models: every network that can be looked at, and the way in for other people's weights."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import streamlit as st

from explorer import figures, torchvision_models
from explorer.architectures import GraphSpec, describe
from explorer.architectures.words import variant_words
from explorer.checkpoints import Checkpoint
from explorer.errors import user_message
from explorer.labels import capital, listed
from explorer.onnx_export import to_onnx
from explorer.training.dials import describe_changes, recorded_changes
from explorer.ui import bar, client, navigation, network_registry, url_query, user_models
from explorer.ui.charts import chart
from explorer.ui.markdown import as_code, as_sentence, as_text
from explorer.ui.models import ensembles, model_table, upload_panel
from explorer.ui.services.explore_state import AppState
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.callback_errors import report_errors, show_error
from explorer.ui.widgets.deletion import delete_button
from explorer.ui.widgets.download import download_with_progress
from explorer.weights_import import NORMALISATIONS

COLUMNS: dict[str, Any] = {  # a narrow window shows the first ones
    "model": st.column_config.TextColumn(width=203),
    "data": st.column_config.TextColumn(width=158),
    "depth": st.column_config.NumberColumn(width=52),
    "accuracy": st.column_config.NumberColumn(width=78, format="%.2f%%", help="On test images"),
    "n": st.column_config.NumberColumn(width=66, format="localized", help="Test images"),
    "parameters": st.column_config.NumberColumn(width=94, format="localized"),
    "source": st.column_config.TextColumn(width=108),
}


def show() -> None:
    st.header("Models", anchor=False)
    left, right = st.columns([5, 3], gap="large")
    with left:
        _table()
    with right:
        upload_panel.upload()
    ensembles.section()
    _ending()


def _table() -> None:
    rows = model_table.model_rows()
    names = [row.name for row in rows]
    st.dataframe(
        [asdict(row) for row in rows],
        hide_index=True,
        column_order=list(COLUMNS),
        column_config=COLUMNS,
        placeholder="",
        height=min(620, 38 + 35 * len(rows)),
        key="models_table",
        selection_mode="single-row",
        on_select=lambda: _choose_row(names),
    )
    st.caption(
        "Tick a row to choose it; click a heading to sort; the magnifying glass searches. What is marked ↓ has to be "
        "downloaded first. Accuracies without n are torchvision's own, on the validation images of ImageNet-1K."
    )
    navigation.report_button("Networks to explore", lambda: [model_table.chapter(rows)], "models", "models-report")
    chosen = url_query.read().get("model", "")
    if user_models.SHARED_ID.fullmatch(chosen) and chosen not in names and network_registry.is_network(chosen):
        names.append(chosen)  # somebody else's, by their link
    elif chosen and chosen not in names:
        st.info("The model of this link is not here any more.")
    model = bound(
        st.selectbox,
        "Model",
        names,
        key="model",
        value=chosen if chosen in names else names[0],
        write=lambda name: url_query.write({"model": name}),
        format_func=model_table.labels(rows, names).__getitem__,
    )
    _card(model)


def _ending() -> None:
    """The twins of the table that differ most, and the next question."""
    if found := model_table.most_different():
        twins, data = found
        picture = network_registry.parting_picture(*twins.names) or AppState.picture
        navigation.ending(
            f"At {twins.depth} layers on {data} the twins differ most: {twins.plain:.1%} test accuracy without "
            f"shortcuts, {twins.residual:.1%} with them (n = {twins.n:,}).",
            "explore",
            "Where does each of them look?",
            AppState(*twins.names, picture=picture).to_query(),
        )


def _choose_row(names: list[str]) -> None:
    for row in st.session_state["models_table"]["selection"]["rows"]:
        url_query.write({"model": names[row]})


def _card(name: str) -> None:
    key = network_registry.torchvision_key(name)
    if key and not network_registry.is_network(name):
        _offer_download(key)
        return
    try:
        checkpoint = network_registry.checkpoint(name)
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        if key:
            _offer_download(key)  # which replaces a file that is not the published one
        return
    test = checkpoint.metrics.get("test")
    known = f" Test accuracy {test['accuracy']:.2%} (n = {test['n']:,})." if test else ""
    if "torchvision" in checkpoint.metrics:
        said = checkpoint.metrics["torchvision"]
        known = f" Accuracy {said['accuracy']:.2%}: {as_text(said['note'])}."
    words = variant_words(checkpoint.spec)
    variants = f"{as_text(capital(listed(words)))}. " if words else ""
    mean, std = (" ".join(f"{value:.3g}" for value in values) for values in (checkpoint.mean, checkpoint.std))
    st.markdown(
        f"**{checkpoint.spec.name}**, {checkpoint.spec.depth} weighted layers, {len(checkpoint.class_names)} classes, "
        f"input {' × '.join(map(str, checkpoint.spec.input_shape))}, from {as_code(checkpoint.data)}.{known} "
        f"{variants}Normalised by mean {mean}, standard deviation {std}."
    )
    if turned := describe_changes(recorded_changes(checkpoint.record)):
        st.caption(turned)
    drawing = figures.network_drawing(describe(checkpoint.spec), theme=client.theme())
    chart(drawing, "model_drawing", f"Drawing of {checkpoint.spec.name}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if st.button("Explore", key="explore_model", type="primary"):
            picture = network_registry.sample_for(name)
            navigation.switch_page(
                "explore", AppState(first=name, second=network_registry.twin_name(name), picture=picture).to_query()
            )
        for place in ("first", "second"):
            st.button(f"Use as {place}", key=f"use_{place}", on_click=bar.use, args=("models", name, place))
        navigation.download_button(
            "Download as one file",
            data=lambda: model_table.file_bytes(name),
            file_name=f"{checkpoint.spec.name.lower().replace(' ', '-')}.safetensors",
            mime="application/octet-stream",
            help="Weights, spec, classes, normalisation and figures in one safetensors file.",
        )
        if not isinstance(checkpoint.spec, GraphSpec):
            navigation.download_button(
                "Download as ONNX",
                data=lambda: to_onnx(network_registry.checkpoint(name)),
                file_name=f"{checkpoint.spec.name.lower().replace(' ', '-')}.onnx",
                mime="application/octet-stream",
                help="For other programs: the network for normalised images, up to its logits.",
            )
        if user_models.is_owned(name):
            _own_buttons(name)
    if user_models.SHARED_ID.fullmatch(name):
        st.caption("Whoever has this link can look at it:")
        st.code(navigation.view_url("explore", AppState(first=name, second=None).to_query()), language=None)
    if user_models.UPLOAD_ID.fullmatch(name):
        with st.expander("Classes and normalisation"):
            _changes(name, checkpoint)
    show_error()


def _offer_download(key: str) -> None:
    about = torchvision_models.PUBLISHED[key]
    st.info(f"The published weights are not on this machine: {about.download_bytes / 1e6:,.0f} MB to download.")
    download_with_progress("Download the weights", lambda: torchvision_models.download(key))


def _own_buttons(name: str) -> None:
    if user_models.UPLOAD_ID.fullmatch(name):
        st.button(
            "Share by a link",
            on_click=_apply,
            args=(user_models.share, name),
            help="Keeps it on this server until you delete it, or nobody opens it for "
            f"{user_models.SHARED_DAYS} days; everyone with the link can look at it.",
        )
    whole_run = " the whole run" if user_models.RUN_NETWORK_ID.fullmatch(name) else ""
    delete_button(name, partial(_delete, name), key="delete_model", what=whole_run)
    title = user_models.title_of(name)
    rename = partial(_apply, user_models.rename, name, failure="the name cannot be kept")
    bound(st.text_input, "Name", key="new_title", value=title, write=rename, max_chars=80, width=240)


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
    values = (user_models.update_metadata, name, NORMALISATIONS.get(choice), class_names)
    st.button("Save the changes", on_click=_apply, args=values)


def _apply(change: Callable[..., str | None], name: str, *values: Any, failure: str = "it cannot be kept") -> None:
    """Changes a model, which is meant by its new name everywhere where it gets one. What goes wrong is reported."""
    with report_errors(failure):
        if renamed := change(name, *values):
            bar.rename_network(name, renamed)
            url_query.write({"model": renamed})


def _delete(name: str) -> None:
    with report_errors("it cannot be removed", "try again"):
        user_models.delete(name)
        url_query.write({})  # else the page would miss the model of its own link
