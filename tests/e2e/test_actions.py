"""What the other tests wait for: that a page has answered is seen, and that it has not is seen too."""

import pytest
from playwright.sync_api import Page
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NewSession_pb2 import NewSession

from driving.actions import PENDING_WORK_JS, visit, wait_until_ready
from tests.e2e.exploring import SMALL

ASK = "const asked = new XMLHttpRequest(); asked.open('GET', '_stcore/health'); asked.send()"
SOON = """async () => {
    for (let turns = 0; turns < 20 && !hasPendingWork(); turns += 1) await new Promise(done => setTimeout(done, 0));
    return hasPendingWork();
}"""  # React tells the server a moment after the click
BEGUN = {
    "a widget": "[...document.querySelectorAll('[role=tab]')].at(-1).click()",
    "a request": "fetch('_stcore/health')",
    "a request of the old kind": ASK,
    "a timer": "setTimeout(() => {}, 250)",
}


def test_what_is_begun_is_pending_until_it_ends(page: Page) -> None:
    visit(page, SMALL)
    for what, act in BEGUN.items():
        page.wait_for_function("() => !hasPendingWork()")  # the page may have begun something by itself since
        assert page.evaluate(f"async () => {{ {act}; return await ({SOON})(); }}") is True, what
        wait_until_ready(page)
        page.wait_for_function("() => !hasPendingWork()")


ASKED = BackMsg(rerun_script=ClientState(query_string="a=1"))
PING = BackMsg(app_heartbeat=True)
BEGUN_RUN = ForwardMsg(new_session=NewSession(name="a"))
ENDED = ForwardMsg(script_finished=ForwardMsg.FINISHED_SUCCESSFULLY)
FOLLOWED = ForwardMsg(script_finished=ForwardMsg.FINISHED_EARLY_FOR_RERUN)
LOST = "the connection is lost"
LATER = "a second is over"


@pytest.mark.parametrize(
    "course",
    [
        [(PING, False), (ASKED, True), (BEGUN_RUN, True), (ENDED, False)],
        [(BEGUN_RUN, True), (ENDED, False)],  # the server runs it by itself
        [(ASKED, True), (ENDED, True), (BEGUN_RUN, True), (ENDED, False)],  # first an earlier one ends
        [(ASKED, True), (BEGUN_RUN, True), (FOLLOWED, True), (BEGUN_RUN, True), (ENDED, False)],
        [(BEGUN_RUN, True), (ASKED, True), (FOLLOWED, True), (BEGUN_RUN, True), (PING, True), (ENDED, False)],
        [(ASKED, True), (LOST, False)],
        # Two are asked for before the first begins: each has a run of its own, or one run answers both.
        [(ASKED, True), (ASKED, True), (BEGUN_RUN, True), (ENDED, True), (BEGUN_RUN, True), (ENDED, False)],
        [(ASKED, True), (ASKED, True), (BEGUN_RUN, True), (ENDED, True), (LATER, False), (BEGUN_RUN, True)],
        [(ASKED, True), (ASKED, True), (BEGUN_RUN, True), (ENDED, True), (ASKED, True), (LATER, True)],
        [(ASKED, True), (ASKED, True), (LOST, False), (ASKED, True), (BEGUN_RUN, True), (ENDED, False)],
    ],
)
def test_a_run_is_pending_until_its_end(page: Page, course: list[tuple[BackMsg | ForwardMsg | str, bool]]) -> None:
    """By Streamlit's own messages, over a socket that says nothing by itself, and in a time that does not pass."""
    page.goto("about:blank")
    page.evaluate("() => { globalThis.WebSocket = class extends EventTarget { send() {} }; }")
    page.evaluate(
        """() => {
            globalThis.setTimeout = (call, wait) => { globalThis.due = { call, wait }; };
            globalThis.clearTimeout = () => delete globalThis.due;
        }"""
    )
    page.evaluate(PENDING_WORK_JS.read_text())
    page.evaluate("() => { globalThis.socket = new WebSocket(); }")
    for what, is_pending in course:
        if isinstance(what, BackMsg):
            act = f"socket.send(Uint8Array.from({[*what.SerializeToString()]}))"
        elif isinstance(what, ForwardMsg):
            data = f"Uint8Array.from({[*what.SerializeToString()]}).buffer"
            act = f"socket.dispatchEvent(new MessageEvent('message', {{ data: {data} }}))"
        elif what == LATER:
            act = "if (globalThis.due?.wait === 1000) due.call()"
        else:
            act = "socket.dispatchEvent(new Event('close'))"
        assert page.evaluate(f"() => {{ {act}; return hasPendingWork(); }}") is is_pending, what


CALLS = """async () => {
    const code = "export default () => { globalThis.called = (globalThis.called ?? 0) + 1; }";
    const blob = new Blob([`${code}\n//# sourceURL=st-bidi-a-1.js`], { type: "text/javascript" });
    const address = URL.createObjectURL(blob);
    const turns = new MessageChannel();
    const seen = [];
    for (let times = 1; times <= 3; times += 1) {
        Promise.resolve().then(() => import(address)).then(({ default: call }) => call());
        await null;
        await null;
        seen.push(hasPendingWork());
        while (hasPendingWork()) await new Promise(done => {
            turns.port1.onmessage = done;
            turns.port2.postMessage(null);
        });
        seen.push(globalThis.called);
    }
    return [...seen, typeof URL.createObjectURL(new Blob(["postMessage(1)"], { type: "text/javascript" }))];
}"""  # a timer would itself be pending


def test_a_component_is_pending_until_it_has_been_called(page: Page) -> None:
    """When its code is loaded, and when it is there already and has new data; the code of a worker is no component."""
    page.goto("about:blank")
    assert page.evaluate(CALLS) == [True, 1, True, 2, True, 3, "string"]
    page.add_init_script(
        """const make = URL.createObjectURL;
        globalThis.made = [];
        URL.createObjectURL = what => {
            const address = make(what);
            if (what.type === "text/javascript") made.push(typeof address);
            return address;
        };"""
    )
    visit(page, SMALL)
    assert {*page.evaluate("made")} == {"object"}, "and Streamlit's own are known as such"
