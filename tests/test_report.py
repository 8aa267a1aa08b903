"""What is taken away of a comparison: everything that was measured is in it, and no name is taken for markup."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from explorer import figures
from explorer.architectures import build
from explorer.attribution import profile
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split, shapes
from explorer.experiments import agreement, cam_metrics, similarity
from explorer.labels import listed
from explorer.presets import cifar
from explorer.tracing import trace
from explorer.ui import report as writer
from explorer.ui.compare import ensemble, labelled, layer_similarity, report
from explorer.ui.compare.comparison import ComparedNetwork, side_by_side
from explorer.ui.compare.measurements import Measurement, Request
from explorer.ui.services.inference import NetworkResult
from explorer.ui.services.input_images import InputImage
from tests.test_similarity import grams_of

HOSTILE = "</script><img src=x onerror=\"document.title='run'\"><b>"
N = 8


def hostile_twins(name: str = HOSTILE) -> list[ComparedNetwork]:
    """Two untrained networks whose classes and titles are called that, after they have seen one picture."""
    class_names = tuple(f"={name} {index}" for index in range(10))
    results: list[NetworkResult] = []
    for shortcut, stem in (("none", "plain"), ("identity", "residual")):
        network = build(cifar(8, shortcut), seed=1).freeze()  # type: ignore[arg-type]
        own = Checkpoint(network, class_names, (0.5,) * 3, (0.25,) * 3, name, 1, {"epochs": 1}, {"device": name})
        traced = trace(network, np.zeros((3, 32, 32), np.float32))
        title = f"{name} {'AB'[len(results)]}"
        results.append(NetworkResult(stem, own, "#C2540A", unique_title=title, trace=traced, profiles=profile(traced)))
    return side_by_side(results)


def measured(compared: list[ComparedNetwork]) -> dict[str, Measurement]:
    """All that can be measured of them, on eight pictures."""
    drawn = shapes.draw(N, seed=2)
    split = Split(drawn.images, drawn.labels, drawn.masks)
    kept: dict[str, Measurement] = {}
    names = tuple(network.name for network in compared)

    def keep(request: Request, asked: tuple[str, ...], result: object) -> None:
        kept[request.key(*asked)] = Measurement(request, asked, result)

    class_names = compared[0].checkpoint.class_names
    for network in compared:
        (*_, (_, said)) = agreement.predictions(network.checkpoint, split, class_names)
        (*_, (_, shares)) = cam_metrics.object_shares(network.checkpoint, split, class_names)
        keep(Request("said", "shapes-32", N), (network.name,), said)
        keep(Request("shares", "shapes-32", N), (network.name,), shares)
    grams = [grams_of(network.checkpoint, split.images) for network in compared]
    keep(Request("cka", "shapes-32", N), names, similarity.cka(*grams))
    pictures = {3: split.images[3].transpose(1, 2, 0)}
    keep(Request("pictures", "shapes-32", N), names, (pictures, np.arange(N)))
    return kept


@pytest.fixture(scope="module")
def twins() -> tuple[list[ComparedNetwork], dict[str, Measurement]]:
    compared = hostile_twins()
    return compared, measured(compared)


def html_report(
    compared: list[ComparedNetwork], kept: dict[str, Measurement], subject: InputImage | None = None
) -> str:
    """The file that the Compare page offers."""
    titles = listed([network.title for network in compared])
    chapters = report.chapters(compared, kept, subject)
    return writer.html(f"Comparison of {titles}", chapters, f"compare?networks=plain,{HOSTILE}").decode()


def with_checkpoint(network: ComparedNetwork, **changes: Any) -> ComparedNetwork:
    return replace(network, checkpoint=replace(network.checkpoint, **changes))


class Markup(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_report_holds_all_that_was_measured_and_nothing_of_a_name_is_markup(twins) -> None:
    compared, kept = twins
    pixels = np.zeros((64, 64, 3), np.uint8)
    picture = InputImage(pixels, pixels, "0", f"image {HOSTILE}", (f"note {HOSTILE}",))
    text = html_report(compared, kept, picture)
    tags = Markup(text).tags
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == [
        "The networks",
        "One image",
        "Where they look",
        "Predictions on labelled images",
        "As an ensemble",
        "Similarity of their representations",
        "How much of the Grad-CAM lies on the object",
        "This view",
        "Made with",
    ]
    charts = [attributes for tag, attributes in tags if tag == "div" and attributes.get("class") == "chart"]
    # Probabilities, how alike the maps are, sizes; accuracies, confusions, pairs, the ensemble, CKA debiased and plain,
    # shares.
    assert len(charts) == 10
    images = [attributes for tag, attributes in tags if tag == "img"]
    # The picture, and as each sees it; strips of 12 depths, overlays, a difference, their scales; one disagreed on.
    assert len(images) == 3 + 2 * 12 + 2 + 1 + 3 + 1
    assert all((image["src"] or "").startswith("data:image/png") for image in images)
    assert not [attributes for _, attributes in tags if "onerror" in attributes]
    assert {tag for tag, _ in tags} <= set(
        "html head meta title style script body section h1 h2 p div table thead tbody tr th td figure figcaption img "
        "br details summary pre b".split()
    ) - {"b"}
    assert not [
        value for _, each in tags for key, value in each.items() if key in ("src", "href") and "data:" != str(value)[:5]
    ]
    assert f"{N:,} test images of Shapes" in text and "<td>torch</td>" in text
    assert "document.title" in text, "the names are there, as text"


def test_nothing_measured_is_said(twins) -> None:
    compared, _ = twins
    text = html_report(compared, {})
    assert "Nothing was measured on many images before this report was made." in text
    assert len(re.findall('class="chart"', text)) == 3, "what is known of the one image is there"


def test_every_question_has_its_chapter_and_its_arrays(twins, monkeypatch: pytest.MonkeyPatch) -> None:
    compared, kept = twins
    more = dict(kept)
    for network in compared:
        same = kept[Request("shares", "shapes-32", N).key(network.name)]
        other = Request("shares", "shapes-32", N, "prediction")
        more[other.key(network.name)] = replace(same, request=other)
    cka = kept[Request("cka", "shapes-32", N).key("plain", "residual")]
    alone = Request("cka", "shapes-64", N)
    more[alone.key("plain", "plain")] = Measurement(alone, ("plain", "plain"), cka.result)
    more[Request("cka", "shapes-32", N).key("residual", "plain")] = replace(cka, names=("residual", "plain"))
    text = html_report(compared, more)
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings[5:-2] == [
        f"Similarity of their representations: {N} images of Shapes",
        f"Similarity of their representations: {N} images of Shapes 64×64",
        f"How much of the Grad-CAM lies on the object: {N} images of Shapes, label explained",
        f"How much of the Grad-CAM lies on the object: {N} images of Shapes, prediction explained",
    ]
    assert text.count("<figcaption>Linear CKA (debiased)") == text.count("<figcaption>Linear CKA (plain)") == 3
    monkeypatch.setattr(layer_similarity, "MOST_CELLS", 100)
    text = html_report(compared, more)
    assert text.count("<figcaption>Linear CKA (debiased)") == 3 and "Linear CKA (plain)" not in text
    assert "only the debiased estimate is drawn" in text
    with np.load(io.BytesIO(report.arrays_npz(compared, more)), allow_pickle=False) as arrays:
        for under in ("cka/shapes-32-8/0-1", "cka/shapes-32-8/1-0", "cka/shapes-64-8/0-0"):
            assert f"{under}/plain" in arrays and f"{under}/debiased" in arrays
        for target in ("label", "prediction"):
            assert f"shares/shapes-32-8-{target}/1/mean" in arrays


@pytest.mark.parametrize(
    "wrong", [{"test": 5}, {"test": {"n": 3}}, {"accuracy": "x"}, {"test": None}, {"torchvision": {}}]
)
def test_figures_that_are_none_are_not_measured(twins, wrong: dict[str, object]) -> None:
    compared, _ = twins
    odd = with_checkpoint(compared[0], metrics=wrong)
    assert "<td>not measured</td>" in html_report([odd, compared[1]], {})


def test_the_one_picture_of_networks_that_know_different_classes(twins) -> None:
    compared, _ = twins
    other = with_checkpoint(compared[1], class_names=tuple(f"other {HOSTILE} {index}" for index in range(10)))
    text = html_report([compared[0], other], {})
    assert text.count("its most probable classes. n = 1 image.") == 2
    assert "The networks explain different classes" in text
    assert not [attributes for _, attributes in Markup(text).tags if "onerror" in attributes]


def test_a_report_needs_no_weights(twins) -> None:
    compared, kept = twins
    light = report.without_weights(compared)
    assert {parameter.device.type for each in light for parameter in each.checkpoint.network.parameters()} == {"meta"}
    assert html_report(light, kept) == html_report(compared, kept)


def test_four_deep_networks_make_no_huge_file() -> None:
    layers = tuple(f"stages.{index // 28}.{index % 28}.conv1" for index in range(84))
    values = np.ma.array(np.random.default_rng(1).random((84, 84)))
    chart = figures.similarity_chart(values, (layers, layers), ("A", "B"))
    assert len(chart.to_json()) < 600_000


def test_of_many_classes_the_most_frequent_mistakes_stand_in_a_table(twins) -> None:
    compared, _ = twins
    class_names = tuple(f"{HOSTILE} {index}" for index in range(300))
    labels = np.arange(300)
    probabilities = np.full((300, 300), 1 / 300, np.float32)
    request = Request("said", "shapes-32", 300)
    kept = {}
    for network, wrong in zip(compared, ((7, 7, 7), (7, 9)), strict=True):
        predicted = labels.copy()
        predicted[: len(wrong)] = wrong
        said = agreement.Predictions(class_names, labels, predicted, probabilities)
        kept[request.key(network.name)] = Measurement(request, (network.name,), said)
    mistakes = labelled.frequent_mistakes(compared, {each.names[0]: each.result for each in kept.values()})
    assert mistakes.columns == ["label", "predicted instead", *(network.title for network in compared)]
    assert mistakes.rows[0] == [class_names[0], class_names[7], "1", "1"]
    assert sorted(list(row[2:]) for row in mistakes.rows[1:]) == [["0", "1"], ["1", "0"], ["1", "0"]]
    text = html_report(compared, kept)
    assert '<th scope="col">predicted instead</th>' in text and len(text) < 8_000_000
    assert not [attributes for _, attributes in Markup(text).tags if "onerror" in attributes]


def test_a_report_of_other_networks_holds_nothing_of_these(twins) -> None:
    compared, kept = twins
    other = [replace(each, name=name) for each, name in zip(compared, "xy", strict=True)]
    assert "Nothing was measured" in html_report(other, kept)


def test_the_csv_has_a_line_for_each_picture_and_no_formula(twins) -> None:
    compared, kept = twins
    said = {answer.names[0]: answer.result for answer in kept.values() if answer.request.kind == "said"}
    names = {network.name: network.title for network in compared}
    content = labelled.predictions_csv(names, said, range(100, 100 + N))
    heads, *lines = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    assert len(lines) == N and [line[0] for line in lines] == [str(100 + index) for index in range(N)]
    of = said["plain"]
    for index, line in enumerate(lines):
        assert line[1] == f"'{of.class_names[of.labels[index]]}"
        assert line[2] == f"'{of.class_names[of.predicted[index]]}"
        assert float(line[3]) == pytest.approx(of.probabilities[index].max(), rel=1e-5)
        assert line[5] == ("yes" if of.right[index] else "no")
    assert not [cell for line in [heads, *lines] for cell in line if cell[:1] in "=+-@" and cell]


def test_the_arrays_are_those_that_were_measured(twins) -> None:
    compared, kept = twins
    with np.load(io.BytesIO(report.arrays_npz(compared, kept)), allow_pickle=False) as arrays:
        assert arrays["networks"].tolist() == [network.title for network in compared]
        for place, network in enumerate(compared):
            said = kept[Request("said", "shapes-32", N).key(network.name)].result
            assert np.array_equal(arrays[f"said/shapes-32-8/{place}/probabilities"], said.probabilities)
            assert arrays[f"said/shapes-32-8/{place}/confusion"].sum() == N
            layer = network.profiles[-1]
            assert np.array_equal(arrays[f"{place}/cam/{layer.name}"], layer.cam)
            assert np.array_equal(arrays[f"{place}/logits"], network.trace.logits)
            under = f"shares/shapes-32-8-label/{place}"
            assert len(arrays[f"{under}/mean"]) == len(arrays[f"{under}/layers"])
        alike = kept[Request("cka", "shapes-32", N).key("plain", "residual")].result
        assert np.array_equal(arrays["cka/shapes-32-8/0-1/plain"], alike.cka.filled(np.nan), equal_nan=True)


def test_confusions_share_one_scale_of_mistakes() -> None:
    few, many = np.array([[9, 1], [0, 10]]), np.array([[5, 5], [10, 0]])
    drawn = json.loads(figures.confusion_chart([few, many], ["a", "b"], [HOSTILE, "y"]).to_json())
    assert drawn["layout"]["coloraxis"]["cmax"] == 1.0  # all of the second network's second class
    coloured = [trace for trace in drawn["data"] if trace.get("coloraxis")]
    assert [trace["z"] for trace in coloured] == [[[None, 0.1], [0.0, None]], [[None, 0.5], [1.0, None]]]
    assert "<img" not in json.dumps(drawn)


def test_what_is_undefined_is_grey_with_its_reason() -> None:
    values = np.ma.array([[0.5, -0.2], [0.0, 0.0]], mask=[[False, False], [True, True]])
    drawn = json.loads(
        figures.similarity_chart(
            values, (["stem.conv", "stages.0.0"], ["stem.conv", "stages.0.0"]), ("A", "B"), ({"stages.0.0": "Why."}, {})
        ).to_json()
    )
    coloured, grey = drawn["data"]
    assert coloured["z"] == [[0.5, -0.2], [None, None]] and grey["z"] == [[None, None], [1.0, 1.0]]
    assert (drawn["layout"]["coloraxis"]["cmin"], drawn["layout"]["coloraxis"]["cmax"]) == (0, 1)
    assert grey["hovertext"][1][0] == "stages.0.0 | stem.conv: not defined. Why."
    assert drawn["layout"]["xaxis"]["ticktext"] == ["stem", "stages.0"]


def test_a_layer_without_maps_leaves_a_gap_in_its_line() -> None:
    mean, error = (np.ma.masked_invalid([value, np.nan, other]) for value, other in ((0.2, 0.4), (0.01, 0.02)))
    counts = np.array([5, 0, 5, 5]), np.array([0, 5, 0, 0])
    mean, error = (np.ma.append(values, 0.1) for values in (mean, error))  # and a shortcut, which has no depth
    found = cam_metrics.ObjectShares(("a", "b", "c", "s"), mean, error, *counts, chance=0.15, pictures=5)
    line = (figures.Series("<b>n", "#123456", "dash"), found, {"a": 0.1, "b": 0.5, "c": 0.9})
    drawn = json.loads(figures.object_share_chart([line]).to_json())
    band, shares = drawn["data"]
    assert shares["y"] == [0.2, None, 0.4] and shares["line"]["dash"] == "dash"
    assert band["y"] == pytest.approx([0.21, 0.42, 0.38, 0.19])
    assert shares["name"] == "&lt;b&gt;n" and drawn["layout"]["shapes"][0]["y0"] == 0.15


def test_the_ensemble_is_in_it_where_all_networks_are_measured(
    twins: tuple[list[ComparedNetwork], dict[str, Measurement]],
) -> None:
    compared, kept = twins
    (chapter,) = ensemble.chapters(compared, kept)
    assert chapter.heading == "As an ensemble" and f"{N} images right" in str(chapter.parts[1])
    one = {key: each for key, each in kept.items() if each.names != (compared[1].name,)}
    assert ensemble.chapters(compared, one) == []
