"""Where the time of the tests went, by file."""

from typing import Literal

import pytest

from tests.conftest import seconds_by_file


def report(file: str, when: Literal["setup", "call", "teardown"], seconds: float) -> pytest.TestReport:
    return pytest.TestReport(f"{file}::test", (file, 1, "test"), {}, "passed", None, when, duration=seconds)


def test_the_three_parts_of_every_test_count_for_its_file() -> None:
    one, other = "tests/test_one.py", "tests/e2e/test_other.py"
    reports = [report(one, "setup", 1.0), report(one, "call", 2.0), report(one, "teardown", 4.0)]
    found = seconds_by_file([*reports, report(one, "call", 8.0), report(other, "call", 16.0), "no report"])
    assert found.most_common() == [(other, 16.0), (one, 15.0)]
