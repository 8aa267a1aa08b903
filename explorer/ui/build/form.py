"""The form that is an `ArchitectureSpec`: widgets that edit a `BuildState` in the URL."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import streamlit as st

from explorer.architectures.spec import (
    CONVOLUTIONS_IN_BLOCK,
    MAXIMUM,
    Activation,
    BlockKind,
    Downsampling,
    HeadPooling,
    Initialisation,
    Norm,
    Padding,
    StemPooling,
)
from explorer.labels import FAMILIES
from explorer.presets import PRESETS
from explorer.ui.build.fields import edit, limited, number, of_spec, read, select, toggle, write
from explorer.ui.build_state import DEEPEST, WIDTHS, BuildState, blocks_a_stage, regular_stages
from explorer.ui.markdown import as_sentence
from explorer.ui.widgets.bound import bound

KERNELS = tuple(range(1, MAXIMUM["kernel_size"] + 1, 2))


def choose_preset(state: BuildState) -> None:
    select(
        "Start from",
        "preset",
        list(PRESETS),
        state.preset,
        lambda before, name: replace(before, preset=name, spec="{}", free=False),
        format_func=lambda name: PRESETS[name].title,
    )
    st.caption(PRESETS[state.preset].note)
    if state.spec != "{}":
        st.button(
            "Undo all changes",
            key="undo",
            on_click=lambda: write(replace(read(), spec="{}", free=False)),
            help="Back to the preset as it is.",
        )


def choose_network(state: BuildState) -> None:
    """Every field of the spec but those that follow from the data."""
    fields = state.spec_fields()
    edit(
        st.pills,
        "Family",
        list(FAMILIES),
        key="shortcut",
        value=fields["shortcut"],
        new=of_spec("shortcut"),
        format_func=FAMILIES.__getitem__,
        required=True,
        help="Identity shortcuts have no parameters (He et al. 2015, option A). Projections put a 1×1 convolution "
        "where shapes change (option B).",
    )
    _choose_depth(state, fields)
    left, right = st.columns([2, 1])
    with left:
        select("Block", "block", get_args(BlockKind), fields["block"], of_spec("block"))
    with right:
        initialisations = get_args(Initialisation)
        value = fields["initialisation"]
        select("Initialisation", "initialisation", initialisations, value, of_spec("initialisation"))
    left, right = st.columns(2)
    with left:
        select("Norm", "norm", get_args(Norm), fields["norm"], of_spec("norm"))
        select("Downsampling", "downsampling", get_args(Downsampling), fields["downsampling"], of_spec("downsampling"))
    with right:
        select("Activation", "activation", get_args(Activation), fields["activation"], of_spec("activation"))
        select("Head pooling", "head_pooling", get_args(HeadPooling), fields["head_pooling"], of_spec("head_pooling"))
    _choose_stem(fields)
    _choose_classifier(fields)


def _choose_depth(state: BuildState, fields: dict[str, Any]) -> None:
    blocks = blocks_a_stage(fields)
    free = state.free or blocks is None
    edit(
        st.pills,
        "Stages",
        ["regular", "free"],
        key="stages_mode",
        value="free" if free else "regular",
        new=_with_mode,
        format_func=lambda mode: "three of equal length (6n + 2)" if mode == "regular" else "one by one",
        required=True,
    )
    if free or blocks is None:
        _choose_stages(fields)
        return
    convolutions = CONVOLUTIONS_IN_BLOCK[fields["block"]]
    width = fields["stages"][0]["channels"]
    edit(
        st.select_slider,
        "Depth, weighted layers",
        list(range(1, DEEPEST + 1)),
        key="depth",
        value=blocks,
        new=lambda before, n: before.with_spec(stages=regular_stages(n, width)),
        format_func=lambda n: str(3 * convolutions * n + 2 + len(fields["hidden"])),
    )
    number(
        "Width: channels of the first stage",
        "width",
        *WIDTHS,
        width,
        _with_width,
        step=4,
        help="The second stage has twice as many, the third four times.",
    )


def _with_width(state: BuildState, channels: int) -> BuildState:
    fields = state.spec_fields()
    stem = fields["stem"] and {**fields["stem"], "channels": channels}
    return state.with_spec(stages=regular_stages(fields["stages"][0]["blocks"], channels), stem=stem)


def _with_mode(state: BuildState, mode: str) -> BuildState:
    if mode == "free":
        return replace(state, free=True)
    if blocks_a_stage(state.spec_fields()) is None:  # the paper's stages, and with them the paper's stem
        paper = PRESETS["resnet-20"].spec.to_dict()
        state = state.with_spec(**{field: paper[field] for field in ("stages", "stem", "block", "downsampling")})
    return replace(state, free=False)


def _choose_stages(fields: dict[str, Any]) -> None:
    stages = fields["stages"]
    names = ("Blocks", "Channels", "Stride", "Kernel", "Padding")
    widths = [0.9, 3, 4, 3, 4, 5]
    for column, name in zip(st.columns(widths, gap="xsmall")[1:], names, strict=True):
        column.caption(name)
    for index, stage in enumerate(stages):
        first, *columns = st.columns(widths, gap="xsmall", vertical_alignment="center")
        first.markdown(f"{index + 1}")
        labels = [f"{name}, stage {index + 1}" for name in names]
        more = {"label_visibility": "collapsed"}
        for place, field in enumerate(("blocks", "channels", "stride")):
            with columns[place]:
                new = _stage(index, field)
                number(labels[place], f"{field}_{index}", 1, MAXIMUM[field], stage[field], new, **more)
        with columns[3]:
            new = _stage(index, "kernel_size")
            select(labels[3], f"kernel_{index}", KERNELS, stage["kernel_size"], new, **more)
        with columns[4]:
            new = _stage(index, "padding")
            select(labels[4], f"padding_{index}", get_args(Padding), stage["padding"], new, **more)
    with st.container(horizontal=True):
        if len(stages) < MAXIMUM["stages"]:
            st.button("Add a stage", key="add_stage", on_click=_change_stages, args=(lambda now: [*now, now[-1]],))
        if len(stages) > 1:
            st.button("Remove the last", key="remove_stage", on_click=_change_stages, args=(lambda now: now[:-1],))


def _change_stages(new: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    state = read()
    write(replace(state, free=True).with_spec(stages=new(state.spec_fields()["stages"])))


def _stage(index: int, field: str) -> Callable[[BuildState, Any], BuildState]:
    def new(state: BuildState, value: Any) -> BuildState:
        stages = state.spec_fields()["stages"]
        return state.with_spec(stages=[*stages[:index], {**stages[index], field: value}, *stages[index + 1 :]])

    return new


def _choose_stem(fields: dict[str, Any]) -> None:
    stem = fields["stem"]
    first = fields["stages"][0]["channels"]
    toggle(
        "Stem: a convolution before the first stage",
        "has_stem",
        stem is not None,
        lambda before, on: before.with_spec(stem=_default_stem(first) if on else None),
    )
    if stem is None:
        return
    columns = st.columns([4, 4, 3, 5], gap="xsmall")
    with columns[0]:
        number("Channels", "stem_channels", 1, MAXIMUM["channels"], stem["channels"], _stem("channels"))
    with columns[1]:
        select("Kernel", "stem_kernel", KERNELS, stem["kernel_size"], _stem("kernel_size"))
    with columns[2]:
        number("Stride", "stem_stride", 1, MAXIMUM["stride"], stem["stride"], _stem("stride"))
    with columns[3]:
        select("Pooling", "stem_pooling", get_args(StemPooling), stem["pooling"], _stem("pooling"))


def _default_stem(channels: int) -> dict[str, Any]:
    return {"channels": channels, "kernel_size": 3, "stride": 1, "pooling": "none"}


def _stem(field: str) -> Callable[[BuildState, Any], BuildState]:
    return lambda state, value: state.with_spec(stem={**(state.spec_fields()["stem"] or {}), field: value})


def _choose_classifier(fields: dict[str, Any]) -> None:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        bound(
            st.text_input,
            "Hidden layers of the classifier",
            key="hidden",
            value=", ".join(map(str, fields["hidden"])),
            write=_change_hidden,
            placeholder="none",
            help="Units of fully connected layers before the last one, with commas: 120, 84.",
        )
    with right:
        limited("Dropout there", "dropout", fields["dropout"], of_spec("dropout"), step=0.05)
    if "hidden_error" in st.session_state:
        st.error(as_sentence(st.session_state.pop("hidden_error")))


def _change_hidden(text: str) -> None:
    try:
        units = [int(part) for part in text.replace(";", ",").split(",") if part.strip()]
        write(read().with_spec(hidden=units))
    except ValueError:
        st.session_state["hidden_error"] = (
            f"Hidden layers must be at most 8 whole numbers from 1 to {MAXIMUM['units']} with commas, such as 120, 84."
        )
