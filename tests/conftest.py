"""What every test gets: one torch thread, a data folder of its own and Streamlit caches without another test's data."""

import errno
import functools
import gc
import inspect
import json
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from explorer.machine import core_limit
from explorer.machine.system import PORTABLE_ENV

# Read by torch when it is imported, and by every process that a test starts. Several test processes share the cores,
# and threads without a core of their own slow every step (docs/decisions/2026-11-22-threads.md).
os.environ["OMP_NUM_THREADS"] = "1"
# Tests keep all cores busy: a training that gives way would hardly come to its end.
os.environ["EXPLORER_GIVE_WAY"] = "0"


def rewrite_a_share(config: pytest.Config, worker: int, workers: int) -> None:
    """Rewrites the asserts of each so many-th file of tests that is not yet kept rewritten: all workers import all of
    them, and in a fresh checkout each of them would spend three seconds on what another one does."""
    from _pytest.assertion import rewrite

    if sys.dont_write_bytecode:
        return
    files = sorted(path for path in Path(__file__).parent.rglob("*.py") if path.name != "conftest.py")
    for path in files[worker::workers]:
        kept = rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"
        is_test = path.name.startswith("test_")  # only these and plugins are rewritten
        if is_test and not kept.exists() and rewrite.try_makedirs(kept.parent):
            digest, code = rewrite._rewrite_test(path, config)
            rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, digest, kept)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Keeps the garbage collector from all that is imported: it stays, and to look through it takes a tenth of the
    time of every test of a page. What Streamlit's loggers hear passes through the root's: pytest would put handlers on
    each of a hundred that keep it to themselves, six times a test."""
    gc.disable()
    if about := getattr(session.config, "workerinput", None):
        rewrite_a_share(session.config, int(about["workerid"].removeprefix("gw")), about["workercount"])
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        for logger in logging.root.manager.loggerDict.values():
            if isinstance(logger, logging.Logger):
                logger.propagate = True


SPEED = {
    "step": 0.001, "layer": 0.00017, "mac": 5.3e-11, "byte": 5.2e-10, "alone": 0.6, "float32": 1.0, "test": 0.45,
    "start": 4.0, "fit": 2, "device": "CPU (AMD EPYC, 1 thread)", "precision": "float32", "measured": 4e9,
}  # fmt: skip
"""What `python -m explorer speed` found on two cores without bfloat16; it never gets old."""

BROWSER = "tests/e2e/"
HALF = [f"{BROWSER}test_{name}.py" for name in "overview compare form gradients pictures actions".split()]
"""Browser tests that take as long as all others of them."""
LONG = """
    ray_engine runs studies load promises build forecasts downloadable weights_import main torchvision_models
    architectures docs training weights_import_files compare gradient_flow layering hostile_zips difficulty
    code_blocks package site
""".split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts what takes long first, the browser's tests before all: a worker that is left with it at the end would be the
    only busy one."""
    files = [*HALF, *(f"tests/test_{name}.py" for name in LONG)]
    places = {file: place for place, file in enumerate(files)}

    def place(item: pytest.Item) -> int:
        file = item.nodeid.partition("::")[0]
        return places.get(file, 0 if file.startswith(BROWSER) else len(files))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives a worker a file at a time, or one half of the browser's: these share a server and a Chromium, whose start
    takes seconds and whose memory is a gigabyte."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return f"{BROWSER} {file in HALF}" if file.startswith(BROWSER) else file

    return ByFile(config, log)


FILES_LISTED = 25


def seconds_by_file(reports: Iterable[object]) -> Counter[str]:
    """Seconds of set-up, test and teardown by test file, of all workers."""
    seconds: Counter[str] = Counter()
    for report in reports:
        if isinstance(report, pytest.TestReport):
            seconds[report.location[0]] += report.duration  # type: ignore[assignment]
    return seconds


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints where the time went by file."""
    seconds = seconds_by_file(report for reports in terminalreporter.stats.values() for report in reports)
    if len(seconds) < 2:
        return
    terminalreporter.section(f"slowest {min(FILES_LISTED, len(seconds))} of {len(seconds)} files")
    for name, taken in seconds.most_common(FILES_LISTED):
        terminalreporter.write_line(f"{taken:8.1f}s  {name}")
    terminalreporter.write_line(f"{seconds.total():8.1f}s  in all files, summed over all workers")


def keep_speed(folder: Path) -> None:
    """Puts `SPEED` into a data folder; without it the first page that needs it takes seconds to measure it."""
    folder.joinpath("speed.json").write_text(_kept_speed())


@functools.cache
def _kept_speed() -> str:
    """The same for each of thousands of tests, and to ask for the cores takes a millisecond."""
    return json.dumps({"cores": core_limit(), "speed": SPEED})


@pytest.fixture(scope="session")
def data_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def data_folder(data_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs, uploads and downloads of this test lie: never in the repository."""
    folder = Path(tempfile.mkdtemp(dir=data_folders))  # pytest's own would look at the names of thousands for a new one
    monkeypatch.setenv("EXPLORER_DATA", str(folder))
    keep_speed(folder)
    monkeypatch.delenv("EXPLORER_PICTURES", raising=False)
    return folder


APPTEST_SESSION = "test session id"  # every AppTest of a process is this session to Streamlit
WITHOUT_DATA = {"speed.json", "uploads"}  # of a data folder: the first is in each, and uploads have names at random


@pytest.fixture(autouse=True)
def empty_streamlit_caches(request: pytest.FixtureRequest, data_folder: Path) -> Iterator[None]:
    """Empties what the session of an AppTest has in Streamlit's caches. What all sessions share, such as weights, stays
    for the other tests of the file, unless this test patches something or leaves something in its data folder."""
    patches = "monkeypatch" in inspect.signature(request.function).parameters
    if patches:
        empty_all_caches()
    yield
    if patches or {path.name for path in data_folder.iterdir()} - WITHOUT_DATA:
        empty_all_caches()
    elif "streamlit" in sys.modules:
        from streamlit.runtime.caching import clear_session_data_cache, clear_session_resource_cache

        clear_session_data_cache(APPTEST_SESSION)
        clear_session_resource_cache(APPTEST_SESSION)


@pytest.fixture(scope="module", autouse=True)
def caches_of_a_file_are_its_own() -> Iterator[None]:
    yield
    empty_all_caches()


def empty_all_caches() -> None:
    if "streamlit" in sys.modules:
        import streamlit

        streamlit.cache_data.clear()
        streamlit.cache_resource.clear()


@pytest.fixture(scope="session", autouse=True)
def packages_are_scanned_once() -> Iterator[None]:
    """Every run of an AppTest looks into all installed packages for components of theirs, which took a third of its
    time; none has any."""
    if "streamlit" not in sys.modules:
        yield
        return
    from streamlit.components.v2 import manifest_scanner

    with pytest.MonkeyPatch.context() as patch:
        scan = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(scope="module", autouse=True)
def shapes_are_drawn_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """By a worker, which takes a second each time; only the laws of shapes draw them anew."""
    if request.path.name == "test_shapes.py" or "explorer.datasets.shapes" not in sys.modules:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("explorer.datasets.shapes.test_split", kept_shapes("test_split", 4))
        patch.setattr("explorer.datasets.shapes.load", kept_shapes("load", 1))  # of a hundred megabytes
        yield


@functools.cache
def kept_shapes(name: str, most: int) -> Any:
    """That function of `explorer.datasets.shapes`, which keeps its last results."""
    from explorer.datasets import shapes

    draw = getattr(shapes, name)
    keep = functools.lru_cache(most)(draw)

    def kept(seed: int = 0, size: int = 32, **options: Any) -> Any:
        if size == 64 or "threads" in options:
            return draw(seed, size, **options)
        classes = options.get("classes")
        return keep(seed, size, classes=None if classes is None else tuple(classes))

    return kept


@pytest.fixture(scope="session", autouse=True)
def paths_of_plotly_are_parsed_once() -> Iterator[None]:
    """Plotly splits each name like `tickfont_size` anew, which took a tenth of the time of a page with charts."""
    if "plotly.basedatatypes" not in sys.modules:
        yield
        return
    from plotly import basedatatypes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basedatatypes, "_str_to_dict_path_full", functools.cache(basedatatypes._str_to_dict_path_full))
        yield


@pytest.fixture(scope="session", autouse=True)
def garbage_is_collected_as_it_comes() -> Iterator[None]:
    """And not every five seconds at the end of a page too: what many files have imported is looked through then."""
    if "streamlit" not in sys.modules:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("explorer.ui.services.process_tuning.COLLECT_EVERY", 60.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def the_end_of_a_run_is_awaited() -> Iterator[None]:
    """An AppTest looks each millisecond whether its script has ended, and takes Python's lock from it each time."""
    if "streamlit" not in sys.modules:
        yield
        return
    from streamlit.testing.v1 import local_script_runner as runners

    look = runners.require_widgets_deltas

    def wait(runner: runners.LocalScriptRunner, timeout: float = 3) -> None:
        assert runner._script_thread
        runner._script_thread.join(timeout)
        look(runner, timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runners, "require_widgets_deltas", wait)
        yield


@pytest.fixture
def portable_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: this process and those that it starts use only what every system has."""
    monkeypatch.setenv(PORTABLE_ENV, "1")


@pytest.fixture(params=["system", "portable"])
def both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs on the path of this system and on the portable one."""
    monkeypatch.setenv(PORTABLE_ENV, str(int(request.param == "portable")))


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """No file can be removed, as on Windows while another program reads it, such as a virus scanner. The list gets
    those that should be."""
    asked: list[Path] = []

    def refused(path: Path, **_: object) -> None:
        asked.append(path)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("explorer.machine.disk.PAUSES_S", ())
    monkeypatch.setattr(Path, "unlink", refused)
    return asked


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As runs have here. The app may have set more in this process, and the bits of a training depend on how many."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads weights in this process: a child takes seconds to start, and `test_weights_import_files` has its laws."""
    from explorer.weights_import import WeightsError, sandbox

    def answered(file: BinaryIO, answer: BinaryIO, name: str) -> None:
        try:
            sandbox.write(answer, *sandbox.facts_of(file))
        except WeightsError as error:
            sandbox.write(answer, {"refusal": str(error)}, [])

    monkeypatch.setattr(sandbox, "_run", answered)
