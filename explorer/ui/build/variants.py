"""The part of the form that changes a residual block: order, shortcut of each stage, gains, and stochastic depth."""

from typing import Any, get_args

import streamlit as st

from explorer.architectures.spec import NEWER_FIELDS, VARIANTS, BranchStart, Shortcut
from explorer.labels import SHORTCUTS
from explorer.ui.build.widgets import New, number, of_spec, select, toggle
from explorer.ui.build_state import BuildState

AS_FAMILY = "as family"
COLUMNS = 2  # of the stages in a row
ABOUT = {
    "preactivation": "Norm and activation stand in front of each convolution (He et al. 2016). No activation follows "
    "the sums, so where shapes stay, an input goes on along the shortcuts as it is.",
    "stages": "Shortcuts in some stages and none in others make a hybrid of a plain network and a ResNet.",
    "shortcut_gain": "Each shortcut is multiplied by this fixed number; 1 is the usual block.",
    "branch_start": "With a gain or a last norm's weight that starts at 0, each block is at first its shortcut alone. "
    "Training then lets the branches in.",
    "stochastic_depth": "The share of steps in which the whole batch goes without the last branch. Earlier branches "
    "are left out less often, in proportion to their place (Huang et al. 2016). In a test all branches work.",
}


def choose_variants(state: BuildState) -> None:
    """In an expander, which is open where something in it is not as usual."""
    fields = {name: default for name, default in NEWER_FIELDS.items() if name != "shortcut"} | state.spec_fields()
    stages = fields["stages"]
    changed = [name for name in ("preactivation", *VARIANTS) if fields[name] != NEWER_FIELDS[name]]
    changed += [stage["shortcut"] for stage in stages if stage.get("shortcut")]
    with st.expander("Residual variants", expanded=bool(changed)):
        toggle("Pre-activation order", "preactivation", fields["preactivation"], of_spec("preactivation"))
        st.caption(ABOUT["preactivation"])
        for start in range(0, len(stages), COLUMNS):
            row = list(enumerate(stages))[start : start + COLUMNS]
            for column, (index, stage) in zip(st.columns(COLUMNS, gap="small"), row, strict=False):
                with column:
                    _choose_shortcut(index, stage)
        st.caption(ABOUT["stages"])
        left, right = st.columns(2)
        with left:
            _choose_number("Shortcut gain α", "shortcut_gain", fields, 0.1)
        with right:
            _choose_number("Stochastic depth", "stochastic_depth", fields, 0.1)
        start = fields["branch_start"]
        select("Start of each branch", "branch_start", get_args(BranchStart), start, of_spec("branch_start"))
        st.caption(ABOUT["branch_start"])


def _choose_number(label: str, field: str, fields: dict[str, Any], step: float) -> None:
    number(label, field, fields[field], of_spec(field), step=step)
    st.caption(ABOUT[field])


def _choose_shortcut(index: int, stage: dict[str, Any]) -> None:
    words = {AS_FAMILY: AS_FAMILY} | {kind: SHORTCUTS[kind].short for kind in get_args(Shortcut)}
    select(
        f"Shortcut, stage {index + 1}",
        f"shortcut_{index}",
        list(words),
        stage.get("shortcut") or AS_FAMILY,
        _of_stage(index),
        format_func=words.__getitem__,
    )


def _of_stage(index: int) -> New:
    def new(state: BuildState, value: str) -> BuildState:
        stages = [dict(stage) for stage in state.spec_fields()["stages"]]
        stages[index].pop("shortcut", None)
        if value != AS_FAMILY:
            stages[index]["shortcut"] = value
        return state.with_spec(stages=stages)

    return new
