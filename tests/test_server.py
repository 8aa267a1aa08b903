"""The server around the pages, without one: what it does while it runs."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from streamlit.runtime.session_manager import ActiveSessionInfo
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager

from explorer import runs
from explorer.ui import server


def test_uploaded_data_that_has_had_its_day_goes_when_the_app_starts_and_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    monkeypatch.setattr(server, "SWEEP_EVERY", 0.01)
    old, fresh = (runs.stored_data(digit * 64) for digit in "12")
    old.parent.mkdir()
    fresh.touch()

    async def is_swept() -> None:
        until = time.monotonic() + 30
        while old.exists() and time.monotonic() < until:
            await asyncio.sleep(0.01)
        assert not old.exists()

    async def run() -> None:
        old.touch()
        os.utime(old, (1e9, 1e9))
        async with server.opened(None):  # type: ignore[arg-type]
            await is_swept()
            old.touch()
            await asyncio.sleep(0.05)
            assert old.exists(), "somebody has just brought it"
            os.utime(old, (1e9, 1e9))
            await is_swept()

    asyncio.run(run())
    assert fresh.exists()


def test_a_disk_that_cannot_be_swept_is_logged_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []

    def fails() -> None:
        tried.append(len(tried))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(runs, "sweep_stored_data", fails)
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    monkeypatch.setattr(server, "SWEEP_EVERY", 0.0)

    async def run() -> None:
        async with server.opened(None):  # type: ignore[arg-type]
            while len(tried) < 2:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert "could not be swept" in caplog.text


@dataclass
class Named:
    id: str


def test_an_answer_goes_to_the_connection_of_its_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's loop waits between two sessions, and meanwhile another one may come back over a new connection."""
    monkeypatch.setattr(WebsocketSessionManager, "list_active_sessions", WebsocketSessionManager.list_active_sessions)
    server.keep_answers()
    manager = WebsocketSessionManager(*([None] * 4))  # type: ignore[arg-type]
    here = manager._active_session_info_by_id
    for name in "abc":
        here[name] = ActiveSessionInfo(f"old {name}", Named(name))  # type: ignore[arg-type]
    assert manager.num_active_sessions() == 3
    sent = []
    for known in manager.list_active_sessions():
        sent.append(known.client)
        if known.session.id == "a":
            here["b"] = ActiveSessionInfo("new b", Named("b"))  # type: ignore[arg-type]
            del here["c"]
            here["d"] = ActiveSessionInfo("d", Named("d"))  # type: ignore[arg-type]
    assert sent == ["old a", "new b"], "who has gone gets nothing, and who has just come is in the next round"
