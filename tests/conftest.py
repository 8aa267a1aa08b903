"""What every test gets: one torch thread, a data folder of its own and empty Streamlit caches."""

import functools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from explorer.machine import core_limit

# Read by torch when it is imported, and by every process that a test starts. Several test processes share the cores,
# and threads without a core of their own slow every step (docs/decisions/2026-11-22-threads.md).
os.environ["OMP_NUM_THREADS"] = "1"


SPEED = {
    "step": 0.001, "layer": 0.00017, "mac": 5.3e-11, "byte": 5.2e-10, "alone": 0.6, "float32": 1.0, "test": 0.45,
    "start": 4.0, "fit": 2, "device": "CPU (AMD EPYC, 1 thread)", "precision": "float32", "measured": 4e9,
}  # fmt: skip
"""What `python -m explorer speed` found on two cores without bfloat16; it never gets old."""

LONG = """test_load test_runs test_builtin test_build test_overview test_models test_explore test_names test_form
test_compare""".split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser's tests last, since Playwright leaves an event loop in this thread, which other tests must not meet.
    Files that take long go before others, else one worker would be left with them while the other has nothing."""
    items.sort(
        key=lambda item: ("e2e" in item.path.parts, LONG.index(item.path.stem) if item.path.stem in LONG else 99)
    )


def keep_speed(folder: Path) -> None:
    """Puts `SPEED` into a data folder; without it the first page that needs it takes seconds to measure it."""
    folder.joinpath("speed.json").write_text(json.dumps({"cores": core_limit(), "speed": SPEED}))


@pytest.fixture(autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs, uploads and downloads of this test lie: never in the repository."""
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("EXPLORER_DATA", str(folder))
    keep_speed(folder)
    monkeypatch.delenv("EXPLORER_PICTURES", raising=False)
    return folder


@pytest.fixture(autouse=True)
def empty_streamlit_caches() -> Iterator[None]:
    """AppTests of one process share Streamlit's caches: none may see what another left there."""
    yield
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


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads the weights of others here: a child takes seconds to start, and `test_foreign_files` has its laws."""
    from explorer.foreign import ForeignError, loading

    def answered(file: BinaryIO, answer: BinaryIO, name: str) -> None:
        try:
            loading.write(answer, *loading.facts_of(file))
        except ForeignError as error:
            loading.write(answer, {"refusal": str(error)}, [])

    monkeypatch.setattr(loading, "_run", answered)
