"""What the other tests wait for: that a page has answered is seen, and that it has not is seen too."""

import pytest
from playwright.sync_api import Page
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NewSession_pb2 import NewSession

from driving.verbs import UNANSWERED, visit, wait_until_ready

ASK = "const asked = new XMLHttpRequest(); asked.open('GET', '_stcore/health'); asked.send()"
SOON = """async () => {
    for (let turns = 0; turns < 20 && !unanswered(); turns += 1) await new Promise(done => setTimeout(done, 0));
    return unanswered();
}"""  # React tells the server a moment after the click
BEGUN = {
    "a widget": "[...document.querySelectorAll('[data-testid=stSidebar] [role=radio]')].at(-1).click()",
    "a request": "fetch('_stcore/health')",
    "a request of the old kind": ASK,
    "a timer": "setTimeout(() => {}, 250)",
}


@pytest.mark.parametrize("act", BEGUN.values(), ids=BEGUN)
def test_what_is_begun_is_unanswered_until_it_ends(page: Page, act: str) -> None:
    visit(page)
    page.wait_for_function("() => !unanswered()")  # the page may have begun something by itself since
    assert page.evaluate(f"async () => {{ {act}; return await ({SOON})(); }}") is True
    wait_until_ready(page)
    page.wait_for_function("() => !unanswered()")


ASKED = BackMsg(rerun_script=ClientState(query_string="a=1"))
PING = BackMsg(app_heartbeat=True)
BEGUN_RUN = ForwardMsg(new_session=NewSession(name="a"))
ENDED = ForwardMsg(script_finished=ForwardMsg.FINISHED_SUCCESSFULLY)
FOLLOWED = ForwardMsg(script_finished=ForwardMsg.FINISHED_EARLY_FOR_RERUN)
LOST = "the connection is lost"


@pytest.mark.parametrize(
    "course",
    [
        [(PING, False), (ASKED, True), (BEGUN_RUN, True), (ENDED, False)],
        [(BEGUN_RUN, True), (ENDED, False)],  # the server runs it by itself
        [(ASKED, True), (ENDED, True), (BEGUN_RUN, True), (ENDED, False)],  # first an earlier one ends
        [(ASKED, True), (BEGUN_RUN, True), (FOLLOWED, True), (BEGUN_RUN, True), (ENDED, False)],
        [(BEGUN_RUN, True), (ASKED, True), (FOLLOWED, True), (BEGUN_RUN, True), (PING, True), (ENDED, False)],
        [(ASKED, True), (LOST, False)],
    ],
)
def test_a_run_is_unanswered_until_its_end(page: Page, course: list[tuple[BackMsg | ForwardMsg | str, bool]]) -> None:
    """By Streamlit's own messages, over a socket that says nothing by itself."""
    page.goto("about:blank")
    page.evaluate("() => { globalThis.WebSocket = class extends EventTarget { send() {} }; }")
    page.evaluate(UNANSWERED.read_text())
    page.evaluate("() => { globalThis.socket = new WebSocket(); }")
    for what, unanswered in course:
        if isinstance(what, BackMsg):
            act = f"socket.send(Uint8Array.from({[*what.SerializeToString()]}))"
        elif isinstance(what, ForwardMsg):
            data = f"Uint8Array.from({[*what.SerializeToString()]}).buffer"
            act = f"socket.dispatchEvent(new MessageEvent('message', {{ data: {data} }}))"
        else:
            act = "socket.dispatchEvent(new Event('close'))"
        assert page.evaluate(f"() => {{ {act}; return unanswered(); }}") is unanswered, what
