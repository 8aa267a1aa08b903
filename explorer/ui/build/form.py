"""The form that is an `ArchitectureSpec`: widgets that edit a `BuildState` in the URL."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import streamlit as st

from explorer.architectures import ArchitectureSpec
from explorer.architectures.spec import CONVOLUTIONS_IN_BLOCK, MAXIMUM, Padding, StemPooling
from explorer.labels import FAMILIES
from explorer.presets import PRESETS
from explorer.ui.build.variants import choose_variants
from explorer.ui.build.widgets import New, edit, load_state, number, of_spec, save_state, select, toggle, update_state
from explorer.ui.build_state import MAX_BLOCKS, WIDTHS, BuildState, blocks_a_stage
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.callback_errors import report_errors, show_error

OPTIONS = {field: get_args(hint) for field, hint in get_type_hints(ArchitectureSpec).items()}
KERNELS = tuple(range(1, MAXIMUM["kernel_size"] + 1, 2))
PART_OPTIONS = {"kernel_size": KERNELS, "padding": get_args(Padding), "pooling": get_args(StemPooling)}
STAGE_FIELDS = {
    "blocks": "Blocks",
    "channels": "Channels",
    "stride": "Stride",
    "kernel_size": "Kernel",
    "padding": "Padding",
}
STEM_FIELDS = {"channels": "Channels", "kernel_size": "Kernel", "stride": "Stride", "pooling": "Pooling"}
STAGE_COLUMNS = [0.9, 3, 4, 3, 4, 5]


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
            on_click=lambda: update_state(spec="{}", free=False),
            help="Back to the preset as it is.",
        )


def choose_network(state: BuildState) -> None:
    """Every field of the spec but those that follow from the data."""
    fields = state.spec_fields()

    def choose_option(label: str, field: str) -> None:
        select(label, field, OPTIONS[field], fields[field], of_spec(field))

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
    choose_variants(state)
    _choose_depth(state, fields)
    choose_option("Block", "block")  # its labels are too long for half the width
    choose_option("Initialisation", "initialisation")
    left, right = st.columns(2)
    with left:
        choose_option("Norm", "norm")
        choose_option("Downsampling", "downsampling")
    with right:
        choose_option("Activation", "activation")
        choose_option("Global pooling", "head_pooling")
    toggle(
        "Grey images: the first layer takes one channel, the luminance",
        "grey",
        state.grey,
        lambda before, on: replace(before, grey=on),
    )
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
        format_func=lambda mode: (
            "three of equal length, as in He et al. (6n + 2 layers)" if mode == "regular" else "one by one"
        ),
        required=True,
    )
    if free or blocks is None:
        _choose_stages(fields["stages"])
        return
    convolutions = CONVOLUTIONS_IN_BLOCK[fields["block"]]
    width = fields["stages"][0]["channels"]
    edit(
        st.select_slider,
        "Depth, weighted layers",
        list(range(1, MAX_BLOCKS + 1)),
        key="depth",
        value=blocks,
        new=lambda before, n: before.with_regular_stages(n, width),
        format_func=lambda n: str(3 * convolutions * n + 2 + len(fields["hidden"])),
    )
    about = "The second stage has twice as many, the third four times."
    number("Width: channels of the first stage", "width", width, _with_width, WIDTHS, step=4, help=about)


def _with_width(state: BuildState, channels: int) -> BuildState:
    fields = state.spec_fields()
    stem = fields["stem"] and {**fields["stem"], "channels": channels}
    return state.with_regular_stages(fields["stages"][0]["blocks"], channels, stem=stem)


def _with_mode(state: BuildState, mode: str) -> BuildState:
    if mode == "free":
        return replace(state, free=True)
    if blocks_a_stage(state.spec_fields()) is None:  # the paper's stages, and with them the paper's stem
        paper = PRESETS["resnet-20"].spec.to_dict()
        state = state.with_spec(**{field: paper[field] for field in ("stages", "stem", "block", "downsampling")})
    return replace(state, free=False)


def _choose_stages(stages: list[dict[str, Any]]) -> None:
    for column, name in zip(st.columns(STAGE_COLUMNS, gap="xsmall")[1:], STAGE_FIELDS.values(), strict=True):
        column.caption(name)
    for index, stage in enumerate(stages):
        first, *columns = st.columns(STAGE_COLUMNS, gap="xsmall", vertical_alignment="center")
        first.markdown(f"{index + 1}")
        for column, (field, name) in zip(columns, STAGE_FIELDS.items(), strict=True):
            with column:
                label, new = f"{name}, stage {index + 1}", _stage(index, field)
                _choose_part(label, f"{field}_{index}", field, stage[field], new, label_visibility="collapsed")
    with st.container(horizontal=True):
        if len(stages) < MAXIMUM["stages"]:
            st.button("Add a stage", key="add_stage", on_click=_change_stages, args=(lambda now: [*now, now[-1]],))
        if len(stages) > 1:
            st.button("Remove the last", key="remove_stage", on_click=_change_stages, args=(lambda now: now[:-1],))


def _choose_part(label: str, key: str, field: str, value: Any, new: New, **more: Any) -> None:
    """One field of a stage or of the stem."""
    if field in PART_OPTIONS:
        select(label, key, PART_OPTIONS[field], value, new, **more)
    else:
        number(label, key, value, new, (1, MAXIMUM[field]), **more)


def _change_stages(new: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    state = load_state()
    save_state(replace(state, free=True).with_spec(stages=new(state.spec_fields()["stages"])))


def _stage(index: int, field: str) -> New:
    def new(state: BuildState, value: Any) -> BuildState:
        stages = state.spec_fields()["stages"]
        return state.with_spec(stages=[*stages[:index], {**stages[index], field: value}, *stages[index + 1 :]])

    return new


def _choose_stem(fields: dict[str, Any]) -> None:
    stem = fields["stem"]
    default = {"channels": fields["stages"][0]["channels"], "kernel_size": 3, "stride": 1, "pooling": "none"}
    toggle(
        "Stem: a convolution before the first stage",
        "has_stem",
        stem is not None,
        lambda before, on: before.with_spec(stem=default if on else None),
    )
    if stem is None:
        return
    for column, (field, name) in zip(st.columns([4, 4, 3, 5], gap="xsmall"), STEM_FIELDS.items(), strict=True):
        with column:
            _choose_part(name, f"stem_{field}", field, stem[field], _stem(field))


def _stem(field: str) -> New:
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
        number("Dropout in the head", "dropout", fields["dropout"], of_spec("dropout"), step=0.05)
    show_error()


def _change_hidden(text: str) -> None:
    limits = f"at most 8 whole numbers from 1 to {MAXIMUM['units']} with commas, such as 120, 84"
    with report_errors():
        try:
            units = [int(part) for part in text.replace(";", ",").split(",") if part.strip()]
            save_state(load_state().with_spec(hidden=units))
        except ValueError:
            raise ValueError(f"Hidden layers must be {limits}.") from None
