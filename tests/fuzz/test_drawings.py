"""Whatever a browser asks for without a run of the page: the overview of a drawn shape, or a refusal."""

from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from explorer import checkpoints
from explorer.datasets import shapes
from explorer.ui.explore.drawings import another
from explorer.ui.explore.explained import Explained
from explorer.ui.explore.overview import Desk
from explorer.ui.passes import Passes, sample_subject
from explorer.ui.state import AppState
from tests.depth import unpack
from tests.fuzz.laws import examples
from tests.fuzz.mutations import changed, json_values

QUESTION = {"token": "0" * 32, "picture": "sample-3-41", "layer": "stages.1.0", "channel": 2}
NAME = "shapes-resnet-8"


@cache
def desk() -> Desk:
    passes, state, subject = Passes(), AppState(first=NAME, second=None), sample_subject(6, 6)
    looked = passes.look(NAME, checkpoints.load_pretrained(NAME), state, subject, "#123456", False)
    return Desk(passes, {"explained": Explained(state, subject, False, [looked])})


@given(st.one_of(changed(QUESTION), json_values()))
@example(QUESTION | {"channel": 1.5}).via("half a channel was taken for one")
@example(QUESTION | {"channel": True}).via("a link could not say it")
@examples(60)
def test_a_question_is_answered_or_refused(asked: Any) -> None:
    here = desk()
    before = here.last["explained"]
    try:
        header, _ = unpack(another(here, asked))
    except (ValueError, TypeError):
        assert here.last["explained"] is before
        return
    state = here.last["explained"].state
    assert header["picture"] == state.picture and state.sample is not None
    assert 0 <= state.sample[0] < len(shapes.CLASS_NAMES)
    assert replace(state) == state and AppState.from_query(state.to_query()) == state, "a link can show it too"
