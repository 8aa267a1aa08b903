"""The short form of `make load` and of the search for leaks: visitors for some seconds, all their ways, no error, and
nothing of them left. How long they waited is printed; what is fast enough is for `benchmarks/` to say."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.films import write_films
from benchmarks.isolation import VIEWS, Owner, embedded, isolate, search
from benchmarks.load import Watch, kept_rows, settle, time_rows, warm_up
from benchmarks.visitors import MIX, PAGES, Tab, Tally, Visitor, crowd
from driving.protocol_client import Session, SessionError
from driving.server_process import logged_errors, served, wait_for
from tests.conftest import keep_speed

SESSIONS, SECONDS, TABS, TTL = 6, 7, 2, 5
THINK = (0.3, 1.0)  # seconds
IN_TABS = {f"tab, {kind}" for kind in ("first view", "upload", "reload", "page", "picture")}
GROWTH_BOUND = 150.0  # MB that stay; the soaks of `make load`, which are longer, have narrower ones
OWNERS, ANSWERS = 3, 45


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int, Path, Path]]:
    """URL, process id, data folder and log of one app for all tests of this file."""
    data = tmp_path_factory.mktemp("served")
    keep_speed(data)
    log = tmp_path_factory.mktemp("log") / "log.txt"
    with served(data, f"--server.disconnectedSessionTTL={TTL}", log=log) as (url, process):
        yield url, process, data, log


def test_visitors_of_all_kinds_leave_no_error_and_nothing_behind(app: tuple[str, int, Path, Path]) -> None:
    url, process, data, log = app
    watch, tally = Watch(process), Tally()
    films = write_films(data, SESSIONS + 1)
    warm_up(url)
    before = settle(url, watch, TTL)
    with watch.watching():
        crowd(url, SESSIONS, SECONDS, tally, think=THINK, tabs=TABS, each_kind=True, films=films)
    peak = watch.peak
    # A slow machine may not have come to all of them in that time.
    visitor = Visitor(url, SESSIONS, film=films[SESSIONS])
    visitor.explore({})
    for kind in MIX.keys() - tally.taken.keys():
        tally.add(kind, visitor.act(kind))
    visitor.session.close()
    after = settle(url, watch, TTL)
    rows = [*time_rows(f"{SESSIONS} sessions", tally, None), *kept_rows(f"{SESSIONS} sessions", before, peak, after)]
    print(*rows, sep="\n")
    assert tally.errors == []
    assert logged_errors(log) == []
    assert [str(row) for row in rows if row.bound and not row.bound.met] == []
    assert after.megabytes - before.megabytes <= GROWTH_BOUND
    assert len(tally.taken["tab, upload"]) == TABS
    assert {"first view", *MIX, *IN_TABS} <= tally.taken.keys()


def test_a_token_ends_with_its_session(app: tuple[str, int, Path, Path]) -> None:
    """Whoever kept one gets nothing once Streamlit has forgotten the session, which it does when it stores the next."""
    url, *_ = app
    session = Session(url)
    session.rerun()
    session.explain(picture="sample-1-1")
    kept = Session(url)
    kept.rerun("models")
    kept.token, kept.viewer = session.token, session.viewer
    kept.explain(picture="sample-2-2")
    session.close()

    def is_refused() -> bool:
        other = Session(url)
        other.rerun("models")
        other.close()
        try:
            kept.explain(picture="sample-3-3")
        except SessionError as error:
            assert "404" in str(error)
            return True
        return False

    assert wait_for(is_refused, 60, every=0.5)
    kept.close()


def test_nothing_of_a_visitor_reaches_another(
    app: tuple[str, int, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a run that trains and one that is over."""
    url, _, data, log = app
    monkeypatch.setenv("EXPLORER_DATA", str(data))
    found = isolate(url, OWNERS, ANSWERS, write_films(data, OWNERS))
    print(f"{found.reruns} re-runs, {found.drawings} drawings and {found.files} pictures searched")
    assert found.errors == []
    assert logged_errors(log) == []
    assert found.leaks == []
    assert found.answers >= ANSWERS
    assert found.files > 0 and found.drawings > 0


def test_the_search_finds_a_leak(app: tuple[str, int, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two true leaks: somebody who has another's cookie sees their run; who has their session sees all of it."""
    url, _, data, _ = app
    monkeypatch.setenv("EXPLORER_DATA", str(data))
    victim, thief = Owner(url, 1), Tab(url)
    try:
        victim.move_in()
        thief.rerun()
        theirs = victim.belongings(thief.answer)
        victim.explore(victim.query)
        drawn = {*embedded(victim.session.answer)}
        assert drawn & theirs.contents
        for page in PAGES:
            thief.rerun(page)
            assert search(thief.answer, theirs.all) == []
        with_cookie = Session(url, owner=victim.session.owner)
        with_cookie.rerun("build")
        assert victim.word.encode() in search(with_cookie.answer, theirs.all)
        with_cookie.close()
        looked_at = victim.query
        victim.draw_mine()
        victim.query = looked_at
        thief.token, thief.viewer = victim.session.token, victim.session.viewer
        thief.explain(picture="sample-1-1")
        assert victim.word.encode() in search(thief.answer, theirs.all)
        thief.id = victim.session.id
        thief.come_back()
        found: set[bytes] = set()
        for view in VIEWS:
            thief.rerun(**victim.query, **view)
            thief.explain(with_run=True)
            found |= {*search(thief.answer, theirs.contents)}
        names = {each for each in theirs.contents if each.startswith(b"/media/") or each == victim.word.encode()}
        assert found >= names
        assert found & drawn
    finally:
        victim.end_run()
        victim.session.close()
        thief.close()


def test_an_unexpected_error_and_a_lost_server_are_errors(app: tuple[str, int, Path, Path], tmp_path: Path) -> None:
    """The last test here: no other one has a server after it."""
    url, process, *_ = app
    session = Session(url)
    session.rerun("models")
    with pytest.raises(SessionError, match="no 'nowhere' on the page"):
        session.press("nowhere")
    with pytest.raises(SessionError, match="answered with 404"):
        session.file("/media/0000.png")
    os.kill(process, 9)
    with pytest.raises(SessionError):
        session.rerun("models")
    tally = Tally()
    crowd(url, 1, 1, tally, think=(0.0, 0.1))
    assert tally.errors
    log = tmp_path / "log.txt"
    log.write_bytes(b"2026-11-22 incident 0123abcd\n")
    assert len(logged_errors(log)) == 1
