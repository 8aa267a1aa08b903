"""Numbers for JSON and charts: what is not finite is None, the rest is rounded where that is asked."""

import math

import numpy as np
import pytest

from explorer.files import csv_text
from explorer.numbers import finite


def test_what_is_not_finite_is_none_wherever_it_stands():
    value = {"a": [1.0, math.nan, (math.inf, None)], "b": {"c": -math.inf, "d": "nan", "e": True, "f": 7}}
    assert finite(value) == {"a": [1.0, None, [None, None]], "b": {"c": None, "d": "nan", "e": True, "f": 7}}


@pytest.mark.parametrize(("digits", "expected"), [(None, 0.123456789), (4, 0.1235), (6, 0.123457)])
def test_digits_are_significant(digits, expected):
    assert finite(0.123456789, digits) == expected and finite([1234567.8], 4) == [1235000.0]


def test_arrays_and_their_numbers_become_plain_ones():
    found = finite(np.array([[1.5, np.nan], [np.inf, 0.0]], np.float32))
    assert found == [[1.5, None], [None, 0.0]] and type(found[0][0]) is float
    assert finite(np.float32(np.nan)) is None and finite(np.int64(3)) == 3


def test_a_spreadsheet_computes_nothing_of_a_name():
    assert csv_text([["=1+1", "a,b", None, -2, 0.5], ["@x", "-y", "\tz", "w", "+v"]]) == (
        "'=1+1,\"a,b\",,-2,0.5\r\n'@x,'-y,'\tz,w,'+v\r\n"
    )
