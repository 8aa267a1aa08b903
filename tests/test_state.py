"""`AppState` and the URL: a round trip, and nothing harmful from a link."""

import dataclasses
import itertools

import pytest

from explorer.ui.state import NAME, AppState

VIEWS = [
    AppState(first, second, picture, target, layer, channel, scope, opacity, layers)  # type: ignore[arg-type]
    for first, second, picture, target, layer, channel, scope, opacity, layers in itertools.product(
        ["shapes-plain-20", "cifar10jpeg-resnet-20"],
        [None, "shapes-resnet-20"],
        ["sample-6-6", "sample-0-999999", "upload-0123456789abcdef"],
        [None, 0, 9],
        [None, "stages.1.0.conv2"],
        [None, 0, 63],
        ["layer", "network", "both"],
        [0, 70],
        ["main", "all"],
    )
]


def test_every_view_survives_the_url() -> None:
    assert all(AppState.from_query(view.to_query()) == view for view in VIEWS)


def test_different_views_have_different_urls() -> None:
    assert len({tuple(sorted(view.to_query().items())) for view in VIEWS}) == len(VIEWS)


def test_the_first_visit_needs_no_parameters() -> None:
    assert AppState().to_query() == {}
    assert AppState.from_query({}) == AppState()


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AppState)])
@pytest.mark.parametrize(
    "text", ["../x", "a/b", "C:\\x", "<b>", "", "-1", "1e9", "99999999999", "None", "\x00", "sample-1-x", "x" * 500]
)
def test_a_part_that_cannot_be_read_takes_its_default(field: str, text: str) -> None:
    view = AppState.from_query({field: text, "unknown": "1"})
    expected = AppState()
    if field in ("first", "second", "layer") and NAME.fullmatch(text):  # harmless: it could be a name
        expected = dataclasses.replace(expected, **{field: text})  # type: ignore[arg-type]
    assert view == expected
    assert "/" not in repr(view) and "\\" not in repr(view)
