"""Studies: whatever a file or a link says, it is a study whose runs can be made, or one sentence."""

import argparse
import json
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from explorer.cli.study import run_study
from explorer.errors import is_user_error
from explorer.presets import cifar
from explorer.runs import Request
from explorer.studies import Axis, Study
from explorer.studies.cost import cost
from explorer.training import Speed, TrainingConfig
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.experiments.study import asked, axes_text
from tests.conftest import SPEED
from tests.fuzz.laws import check_sentence, examples
from tests.fuzz.mutations import changed, changed_text, json_values, words

SHORTCUTS = ("none", "identity", "projection", "identity*0.5", "none,identity,identity", "identity*much", "a,b")
STUDY: dict[str, Any] = Study(
    name="A study",
    spec=cifar(8, classes=2, size=16, width=4).to_dict(),
    config=TrainingConfig(epochs=2, batch_size=8, device="cpu").to_dict(),
    data={"kind": "shapes", "size": 16, "classes": ["ring", "star"]},
    axes=(Axis("depth", (8, 14)), Axis("shortcut", ("none", "identity"))),
    device="cpu",
).to_dict()
FIELDS = ("depth", "shortcut", "width", "size", "data", "norm", "init", "learning_rate", "batch_size", "seed", "hidden")
AXES = st.lists(
    st.builds(
        lambda field, values: {"field": field, "values": values},
        st.one_of(st.sampled_from(FIELDS), words()),
        st.lists(st.one_of(st.sampled_from((*SHORTCUTS, 8, 14, 16, 32, "batch", 0.1)), json_values()), max_size=3),
    ),
    max_size=3,
)


def check(study: Study) -> None:
    """Its runs can be made and what they cost is known, or a sentence says why not."""
    study.check_size()
    for trial in study.trials():
        assert len(trial.cells) == len(trial.request.specs) and Request.from_dict(vars(trial.request)) == trial.request
    assert cost(study, Speed.from_dict(SPEED)).runs == study.runs


@given(st.one_of(changed(STUDY), AXES.map(lambda axes: STUDY | {"axes": axes}), json_values()))
@example(STUDY | {"axes": [{"field": "width", "values": ["\x1f"]}]}).via("a value broke the sentence")
@example(STUDY | {"axes": [{"field": "\0", "values": [8]}]}).via("the name of an axis did")
@example(STUDY | {"axes": [{"field": "depth", "values": [8]}, {"field": "hidden", "values": [8]}]}).via("no list")
@examples(60)
def test_any_json_is_a_study_or_a_sentence(values: Any) -> None:
    try:
        check(Study.from_dict(values))
    except ValueError as error:
        check_sentence(str(error))
        assert is_user_error(error), "a page would log it as an incident"


@given(st.one_of(changed_text(STUDY).map(lambda text: text.encode(errors="surrogatepass")), st.binary(max_size=40)))
@example(b"[" * 3000).via("JSON so deep that reading it ends in an error of its own")
@examples(20)
def test_any_file_is_a_study_or_a_sentence(data_folder: Path, content: bytes) -> None:
    path = data_folder / "study.json"
    path.write_bytes(content)
    asked_for = argparse.Namespace(study=str(path), list=False, print=True)
    try:
        document, _ = run_study(asked_for)
    except ValueError as error:
        check_sentence(str(error).replace(str(path), "study.json"))  # in a terminal a path is what was typed
        return
    assert Study.from_dict(document).to_dict() == json.loads(json.dumps(document))


@st.composite
def links(draw: DrawFn) -> dict[str, str]:
    """Fields of a link to a study, each nearly right or any text."""
    parts = st.lists(
        st.builds(
            lambda field, values: f"{field}:{'|'.join(map(str, values))}",
            st.sampled_from((*FIELDS, "milestones", "stages", "")),
            st.lists(
                st.one_of(st.sampled_from((*SHORTCUTS, 8, 14, 0.1, -1, 1e9, "1e999", "NaN", "")), words()), max_size=3
            ),
        ),
        max_size=3,
    ).map(";".join)
    nearly = {
        "axes": parts,
        "ready": st.sampled_from(("norm", "hybrid", "degradation", "x")),
        "seeds": st.sampled_from(("1", "20", "0", "21", "٣")),
        "epochs": st.sampled_from(("1", "1000", "0", "1001", "1" + "0" * 400)),
        "places": st.sampled_from(("1", "64", "0", "65")),
        "engine": st.sampled_from(("local", "ray", "slurm")),
        "study": st.sampled_from(("0" * 32, "0" * 31, "../" + "0" * 29)),
    }
    names = draw(st.lists(st.sampled_from([*nearly]), min_size=1, max_size=4, unique=True))
    return {name: draw(st.one_of(nearly[name], nearly[name], words())) for name in names}


@given(links())
@example({"axes": "width:1e400"}).via("a number that is infinite")
@example({"axes": "depth:8|8;depth:14"}).via("one value twice, and one axis twice")
@examples(40)
def test_every_link_is_a_study_or_a_sentence(link: dict[str, str]) -> None:
    state = ExperimentsState.from_query({"question": "study", **link})
    assert ExperimentsState.from_query(state.to_query()) == state
    try:
        study = asked(state)
        assert not state.axes or len(axes_text(study.axes)) > 0
        check(study)
    except ValueError as error:
        check_sentence(str(error))
        assert is_user_error(error), "a page would log it as an incident"
