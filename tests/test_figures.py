"""Pictures from arrays: colours, tiles and overlays, by hand-computed values."""

import io
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from explorer import figures
from explorer.figures import ColourScale, agreement
from explorer.figures.raster import GAP
from explorer.figures.text_escaping import escape_html

FIGURES = Path(figures.__file__).parent
SCALE = ColourScale.sizes(2.0)


def test_one_scale_gives_one_value_one_colour_wherever_it_stands() -> None:
    values = np.array([[0.0, 0.5], [2.0, 0.5]], dtype=np.float32)
    painted = SCALE.paint(values)
    assert painted.shape == (2, 2, 3) and painted.dtype == np.uint8
    assert (painted[0, 1] == painted[1, 1]).all()
    assert painted[0, 0].sum() < 20 < 500 < painted[1, 0].sum(), "zero is black, the top is bright"


def test_values_outside_take_the_colour_of_the_end() -> None:
    assert (SCALE.paint(np.array([-5.0, 9.0])) == SCALE.paint(np.array([0.0, 2.0]))).all()


def test_brightness_grows_with_the_value() -> None:
    luminance = SCALE.paint(np.linspace(0, 2, 200)) @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(luminance) > -1.5).all() and luminance[-1] > 200


def test_a_signed_scale_is_neutral_at_zero_and_mirrored_in_red_and_blue() -> None:
    below, zero, above = ColourScale.signed(3.0).paint(np.array([-3.0, 0.0, 3.0])).astype(int)
    assert zero.min() > 230 and np.ptp(zero) < 20
    assert below[2] > below[0] and above[0] > above[2]


def test_a_scale_without_extent_paints_everything_as_zero() -> None:
    assert (ColourScale.sizes(0.0).paint(np.zeros((2, 2))) == SCALE.paint(np.zeros((2, 2)))).all()


def test_tiles_lie_in_reading_order_with_gaps() -> None:
    colours = [np.full((2, 2, 3), value, dtype=np.uint8) for value in (10, 20, 30)]
    sheet = figures.tile(colours, columns=2, side=4)
    step = 4 + GAP
    assert sheet.shape == (2 * step - GAP, 2 * step - GAP, 3)
    assert [sheet[1, 1, 0], sheet[1, step + 1, 0], sheet[step + 1, 1, 0]] == [10, 20, 30]
    assert sheet[4, 1, 0] == 128 and sheet[step + 1, step + 1, 0] == 128


def test_nearest_repeats_pixels_and_never_reduces() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = figures.upscale_nearest(pixels, 8)
    assert large.shape == (8, 8, 3) and (large[::4, ::4] == pixels).all() and (large[:4, :4] == pixels[0, 0]).all()
    assert figures.upscale_nearest(large, 2).shape == (8, 8, 3)


@pytest.mark.parametrize("opacity", [0.0, 0.5, 1.0])
def test_an_overlay_leaves_cold_places_as_they_are(opacity: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    heat = np.zeros((6, 6), dtype=np.float32)
    heat[2:4, 2:4] = 1
    result = figures.overlay(pixels, heat, opacity)
    assert result.dtype == np.uint8 and (result[heat == 0] == pixels[heat == 0]).all()
    hot = ColourScale.sizes(1.0).paint(np.ones(()))
    expected = pixels[2, 2] * (1 - opacity) + hot * opacity
    np.testing.assert_allclose(result[2, 2], expected, atol=0.5)


def test_png_keeps_every_pixel() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(figures.png(pixels)))) == pixels).all()


def test_a_sheet_holds_small_pictures_as_they_are_and_large_ones_reduced() -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (5, 2, 3, 3), dtype=np.uint8)
    sheet = figures.sheet(pictures, columns=3, side=10)
    assert sheet.shape == (4, 9, 3)
    assert (sheet[2:4, 3:6] == pictures[4]).all(), "the fifth lies in the second row, second from the left"
    assert (sheet[2:4, 6:] == 128).all(), "an empty place is mid-grey"
    large = np.full((4, 20, 20, 3), 7, np.uint8)
    assert figures.sheet(large, columns=2, side=10).shape == (20, 20, 3)


def test_the_classes_chart_marks_the_explained_class() -> None:
    network = figures.ClassProbabilities(figures.Series("net", "#123456"), [0.9, 0.1], "dog")
    figure = figures.probabilities_chart(["cat", "dog"], [network])
    bars = figure.data[0]
    assert list(bars.x) == [0.9, 0.1]
    assert bars.y[0] == "cat" and bars.y[1] == "<b>▸ dog</b>"
    assert bars.marker.opacity[1] > bars.marker.opacity[0]


def test_names_in_figures_and_reports_neither_mark_up_nor_reorder() -> None:
    evil = "<b>\u202egnp.tac\u2066"
    assert escape_html(evil) == "&lt;b&gt;gnp.tac"
    others = [path.name for path in FIGURES.glob("*.py") if "html.escape" in path.read_text()]
    assert others == ["text_escaping.py"]
    picture = figures.Thumbnail(np.zeros((2, 2, 3), np.uint8), [evil, evil])
    chart = figures.Chart(go.Figure(), evil, evil)
    parts: list[figures.Part] = [evil, figures.Table([evil], [[evil]]), chart, figures.Gallery([picture])]
    parts += [figures.Strip([evil], [(evil, [picture])], 2, figures.SEQUENTIAL, evil), figures.Details(evil, evil)]
    report = figures.report_html(evil, [figures.Chapter(evil, parts)])
    _, body = report.split("</head>")
    assert body.count("&lt;b&gt;gnp.tac") == 22, "every text is there, in one heading, in alternative texts too"
    assert "<b>" not in body and "\u202e" not in body and "\u2066" not in body


def test_only_small_confusion_matrices_are_kept() -> None:
    """Those of a thousand classes would fill the server's memory."""
    kept = agreement._confusion_chart.cache_info
    for classes, more in ((agreement.NAMED_CLASSES, 1), (agreement.NAMED_CLASSES + 1, 0)):
        before = kept().currsize
        counts = np.eye(classes, dtype=np.int64) * 7
        for _ in range(2):
            figures.confusion_chart([counts], ["net"], [f"class {number}" for number in range(classes)])
        assert kept().currsize == before + more
