"""The form that is an `ArchitectureSpec` and a `TrainingConfig`: widgets that edit a `BuildState` in the URL."""

from collections.abc import Callable, Sequence
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
    Shortcut,
    StemPooling,
)
from explorer.presets import PRESETS
from explorer.training.config import Optimizer, Precision, Schedule
from explorer.ui.state import LIMITS, QUICK, BuildState

KERNELS = tuple(range(1, MAXIMUM["kernel_size"] + 1, 2))
WIDTHS = (4, 256)  # of the first of three stages of equal length
DEEPEST = 18  # blocks a stage: 6 · 18 + 2 = 110 layers, the deepest network of the paper's table 6 but one
SHORTCUTS: dict[Shortcut, str] = {
    "none": "plain CNN",
    "identity": "ResNet, identity (A)",
    "projection": "ResNet, projection (B)",
}
BLOCKS: dict[BlockKind, str] = {
    "conv": "one convolution",
    "basic": "basic: two 3×3",
    "bottleneck": "bottleneck: 1×1, 3×3, 1×1",
    "pointwise": "1×1, then 3×3",
    "separable": "depthwise, then pointwise",
}
WORDS = {
    "batch": "BatchNorm",
    "none": "none",
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "he": "He",
    "pytorch": "PyTorch",
    "conv": "strided convolution",
    "max": "max pooling",
    "average": "average pooling",
    "flatten": "none: every pixel",
    "same": "same",
    "valid": "valid",
    "sgd": "SGD",
    "adam": "Adam",
    "constant": "constant",
    "step": "steps",
    "cosine": "cosine",
    "one_cycle": "one cycle",
    "auto": "fastest here",
    "float32": "float32",
    "bfloat16": "bfloat16",
}


def read() -> BuildState:
    """The state in the URL."""
    return BuildState.from_query(st.query_params.to_dict())


def write(state: BuildState) -> None:
    st.query_params.from_dict(state.to_query())


def _edit(key: str, new: Callable[[BuildState, Any], BuildState]) -> Callable[[], None]:
    """A callback that puts the widget's value into the state of that moment."""
    return lambda: write(new(read(), st.session_state[key]))


def _select(
    label: str, key: str, options: Sequence[Any], value: Any, new: Callable[[BuildState, Any], BuildState], **more: Any
) -> None:
    st.session_state[key] = value
    words = more.pop("format_func", lambda option: WORDS.get(option, str(option)))
    st.selectbox(label, options, key=key, format_func=words, on_change=_edit(key, new), **more)


def _number(
    label: str,
    key: str,
    low: float,
    high: float,
    value: float,
    new: Callable[[BuildState, Any], BuildState],
    **more: Any,
) -> None:
    kind = float if isinstance(low, float) else int
    st.session_state[key] = kind(value)
    st.number_input(label, low, high, key=key, on_change=_edit(key, new), **more)


def _limited(label: str, field: str, value: float, new: Callable[[BuildState, Any], BuildState], **more: Any) -> None:
    """A number with the limits of its field."""
    low, high = LIMITS[field]
    _number(label, field, low, high, value, new, **({"format": "%g"} if isinstance(low, float) else {}), **more)


def _toggle(label: str, key: str, value: bool, new: Callable[[BuildState, Any], BuildState]) -> None:
    st.session_state[key] = value
    st.toggle(label, key=key, on_change=_edit(key, new))


def _spec(field: str) -> Callable[[BuildState, Any], BuildState]:
    return lambda state, value: state.with_spec(**{field: value})


def _config(field: str) -> Callable[[BuildState, Any], BuildState]:
    return lambda state, value: state.with_config(**{field: value})


# --- the network -----------------------------------------------------------------------------------------------------


def choose_preset(state: BuildState) -> None:
    _select(
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
    st.session_state["shortcut"] = fields["shortcut"]
    st.pills(
        "Family",
        list(SHORTCUTS),
        key="shortcut",
        format_func=lambda kind: SHORTCUTS[kind],
        on_change=_edit("shortcut", _spec("shortcut")),
        required=True,
        help="Identity shortcuts have no parameters (He et al. 2015, option A). Projections put a 1×1 convolution "
        "where shapes change (option B).",
    )
    _choose_depth(state, fields)
    left, right = st.columns([2, 1])
    with left:
        block_words = BLOCKS.__getitem__
        _select("Block", "block", get_args(BlockKind), fields["block"], _spec("block"), format_func=block_words)
    with right:
        weights = get_args(Initialisation)
        _select("First weights", "initialisation", weights, fields["initialisation"], _spec("initialisation"))
    left, right = st.columns(2)
    with left:
        _select("Norm", "norm", get_args(Norm), fields["norm"], _spec("norm"))
        _select("Downsampling", "downsampling", get_args(Downsampling), fields["downsampling"], _spec("downsampling"))
    with right:
        _select("Activation", "activation", get_args(Activation), fields["activation"], _spec("activation"))
        _select("Head pooling", "head_pooling", get_args(HeadPooling), fields["head_pooling"], _spec("head_pooling"))
    _choose_stem(fields)
    _choose_classifier(fields)


def blocks_a_stage(fields: dict[str, Any]) -> int | None:
    """n, where the stages are those of a 6n + 2 network: three of n blocks that double channels and halve the side."""
    stages = fields["stages"]
    if len(stages) != 3 or not fields["stem"]:
        return None
    n, width = stages[0]["blocks"], stages[0]["channels"]
    expected = [{**stages[0], "channels": width * 2**index, "stride": 1 + (index > 0)} for index in range(3)]
    fits = stages == expected and stages[0]["kernel_size"] == 3 and stages[0]["padding"] == "same"
    fits = fits and n <= DEEPEST and WIDTHS[0] <= width <= WIDTHS[1]
    return n if fits and fields["stem"]["channels"] == width else None


def _stages(blocks: int, width: int) -> list[dict[str, Any]]:
    return [
        {"blocks": blocks, "channels": width * 2**index, "stride": 1 + (index > 0), "kernel_size": 3, "padding": "same"}
        for index in range(3)
    ]


def _choose_depth(state: BuildState, fields: dict[str, Any]) -> None:
    blocks = blocks_a_stage(fields)
    free = state.free or blocks is None
    st.session_state["stages_mode"] = "free" if free else "regular"
    st.pills(
        "Stages",
        ["regular", "free"],
        key="stages_mode",
        format_func=lambda mode: "three of equal length (6n + 2)" if mode == "regular" else "one by one",
        on_change=_edit("stages_mode", _with_mode),
        required=True,
    )
    if free or blocks is None:
        _choose_stages(fields)
        return
    convolutions = CONVOLUTIONS_IN_BLOCK[fields["block"]]
    width = fields["stages"][0]["channels"]
    st.session_state["depth"] = blocks
    st.select_slider(
        "Depth, weighted layers",
        list(range(1, DEEPEST + 1)),
        key="depth",
        format_func=lambda n: str(3 * convolutions * n + 2 + len(fields["hidden"])),
        on_change=_edit("depth", lambda before, n: before.with_spec(stages=_stages(n, width))),
    )
    _number(
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
    return state.with_spec(stages=_stages(fields["stages"][0]["blocks"], channels), stem=stem)


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
                _number(labels[place], f"{field}_{index}", 1, MAXIMUM[field], stage[field], new, **more)
        with columns[3]:
            new = _stage(index, "kernel_size")
            _select(labels[3], f"kernel_{index}", KERNELS, stage["kernel_size"], new, **more)
        with columns[4]:
            new = _stage(index, "padding")
            _select(labels[4], f"padding_{index}", get_args(Padding), stage["padding"], new, **more)
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
    _toggle(
        "Stem: a convolution before the first stage",
        "has_stem",
        stem is not None,
        lambda before, on: before.with_spec(stem=_default_stem(first) if on else None),
    )
    if stem is None:
        return
    columns = st.columns([4, 4, 3, 5], gap="xsmall")
    with columns[0]:
        _number("Channels", "stem_channels", 1, MAXIMUM["channels"], stem["channels"], _stem("channels"))
    with columns[1]:
        _select("Kernel", "stem_kernel", KERNELS, stem["kernel_size"], _stem("kernel_size"))
    with columns[2]:
        _number("Stride", "stem_stride", 1, MAXIMUM["stride"], stem["stride"], _stem("stride"))
    with columns[3]:
        _select("Pooling", "stem_pooling", get_args(StemPooling), stem["pooling"], _stem("pooling"))


def _default_stem(channels: int) -> dict[str, Any]:
    return {"channels": channels, "kernel_size": 3, "stride": 1, "pooling": "none"}


def _stem(field: str) -> Callable[[BuildState, Any], BuildState]:
    return lambda state, value: state.with_spec(stem={**(state.spec_fields()["stem"] or {}), field: value})


def _choose_classifier(fields: dict[str, Any]) -> None:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        st.session_state["hidden"] = ", ".join(map(str, fields["hidden"]))
        st.text_input(
            "Hidden layers of the classifier",
            key="hidden",
            on_change=_on_hidden,
            placeholder="none",
            help="Units of fully connected layers before the last one, with commas: 120, 84.",
        )
    with right:
        _limited("Dropout there", "dropout", fields["dropout"], _spec("dropout"), step=0.05)
    if "hidden_error" in st.session_state:
        st.error(st.session_state.pop("hidden_error"))


def _on_hidden() -> None:
    text = st.session_state["hidden"]
    try:
        units = [int(part) for part in text.replace(";", ",").split(",") if part.strip()]
        state = read().with_spec(hidden=units)
        write(state)
    except ValueError:
        st.session_state["hidden_error"] = (
            f"Hidden layers must be at most 8 whole numbers from 1 to {MAXIMUM['units']} with commas, such as 120, 84."
        )


# --- the training ----------------------------------------------------------------------------------------------------


def choose_training(state: BuildState) -> None:
    """Every field of the config but those that follow from the machine."""
    fields = state.config_fields()
    budget = "epochs" if fields["epochs"] else "seconds"
    left, right = st.columns(2)
    with left:
        st.session_state["budget"] = budget
        st.segmented_control(
            "Budget", ["seconds", "epochs"], key="budget", on_change=_edit("budget", _with_budget), required=True
        )
    with right:
        _limited(budget.capitalize(), budget, fields[budget], _config(budget), step=30.0 if budget == "seconds" else 1)
    left, right = st.columns(2)
    with left:
        _select("Optimiser", "optimizer", get_args(Optimizer), fields["optimizer"], _with_optimizer)
        _select("Schedule", "schedule", get_args(Schedule), fields["schedule"], _config("schedule"))
        _limited("Batch size", "batch_size", fields["batch_size"], _config("batch_size"), step=16)
        smoothing = fields["label_smoothing"]
        _limited("Label smoothing", "label_smoothing", smoothing, _config("label_smoothing"), step=0.05)
        _limited("Seed", "seed", fields["seed"], _config("seed"))
    with right:
        _limited(
            "Learning rate, highest", "learning_rate", fields["learning_rate"], _config("learning_rate"), step=0.01
        )
        _limited("Weight decay", "weight_decay", fields["weight_decay"], _config("weight_decay"), step=1e-4)
        if fields["optimizer"] == "sgd":
            _limited("Momentum", "momentum", fields["momentum"], _config("momentum"), step=0.05)
        _limited(
            "Clipping, 0 is none",
            "clip",
            fields["clip"] or 0.0,
            lambda before, value: before.with_config(clip=value or None),
            step=0.5,
        )
        _select("Precision", "precision", get_args(Precision), fields["precision"], _config("precision"))
    if fields["schedule"] == "step":
        shares = " and ".join(f"{share:.0%}" for share in fields["milestones"])
        st.caption(f"The rate is multiplied by {fields['step_factor']:g} after {shares} of the training.")
    if fields["optimizer"] == "sgd":
        _toggle("Nesterov's momentum", "nesterov", fields["nesterov"], _config("nesterov"))
    augment = "Augmentation: random crops of the picture padded by 4, and flips"
    _toggle(augment, "augment", fields["augment"], _config("augment"))


def offer_settings(state: BuildState) -> None:
    """A minute, or what the textbook says."""
    with st.container(horizontal=True):
        st.button(
            "Textbook settings",
            key="textbook",
            on_click=lambda: write(read().with_textbook()),
            disabled=state.with_textbook().config == state.config,
            help=f"{PRESETS[state.preset].training}. What the source leaves open stays as it is in the quick settings.",
        )
        st.button(
            "Quick settings",
            key="quick",
            on_click=lambda: write(replace(read(), config="{}")),
            disabled=state.config == "{}",
            help=f"{QUICK['seconds']:g} seconds with a one-cycle schedule.",
        )
    st.caption(f"Textbook: {PRESETS[state.preset].training}.")


def _with_budget(state: BuildState, budget: str) -> BuildState:
    if budget == "epochs":
        return state.with_config(seconds=None, epochs=5)
    return state.with_config(seconds=QUICK["seconds"], epochs=None)


def _with_optimizer(state: BuildState, optimizer: str) -> BuildState:
    """Each with a rate that it usually learns with: Adam's steps are as large as its rate, whatever the gradient."""
    rates = {"sgd": QUICK["learning_rate"], "adam": 0.001}
    return state.with_config(optimizer=optimizer, learning_rate=rates[optimizer])
