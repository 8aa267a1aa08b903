"""Two profiles of the fuzz: the short one of the ordinary tests, the same on every machine, and the long one of
`make fuzz`, which draws from a new seed."""

import faulthandler
import os
import resource
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.configuration import set_hypothesis_home_dir

from tests.fuzz.laws import TIMES

MEMORY = 2**30  # bytes that one test may add to the peak of this process; a picture of 50 million pixels takes 0.8 GB
SECONDS = 60 + 20 * TIMES  # of processor time, of one test with all of its examples

# Nothing is kept between runs: a case that failed is written into the tests, where everybody has it.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "explorer-fuzz")
# One example may take two minutes, since a machine may be busy with other work; most take milliseconds.
settings.register_profile(
    "short" if TIMES == 1 else "long",
    derandomize=TIMES == 1,
    database=None,
    deadline=120_000,
    print_blob=TIMES > 1,
    report_multiple_bugs=TIMES > 1,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    # The fixtures of these tests are a folder and an empty cache, which examples may share.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
settings.load_profile("short" if TIMES == 1 else "long")


class HangError(AssertionError):
    """A test has taken longer than it may."""


def _hangs(number: int, frame: FrameType | None) -> None:
    raise HangError(f"not done within {SECONDS} s of processor time")


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """No hang and no flood of memory: what Python cannot interrupt ends with this process, and says where it was."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Processor time, because a machine that is busy with other work is no hang; the wall clock has more patience.
    earlier = signal.signal(signal.SIGPROF, _hangs)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    faulthandler.dump_traceback_later(20 * SECONDS, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)
        faulthandler.cancel_dump_traceback_later()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MEMORY, f"the peak of memory grew by {grown / 2**20:,.0f} MB"


def pytest_report_header() -> str:
    return f"fuzz: {TIMES} times the examples of the short form" if os.environ.get("FUZZ_TIMES") else ""
